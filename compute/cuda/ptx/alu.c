/* SPDX-License-Identifier: MIT */
#include <fenv.h>

#include "alu.h"
#include "alu_math.h"

/*
 * The handlers of alu.def. This file is compiled once for each instruction set, as PTX_ALU.
 *
 * A loop over 32 lanes without a condition becomes vector instructions. With some lanes masked all
 * are computed and the result is blended, which no row may mind: none traps.
 */

#ifdef __clang__
#define EACH_LANE \
    _Pragma("clang loop vectorize(assume_safety)") for (unsigned i = 0; i < LANES; i++)
#pragma clang diagnostic ignored "-Wtautological-constant-out-of-range-compare"
#pragma clang diagnostic ignored "-Wtautological-compare"
#pragma clang diagnostic ignored "-Wpass-failed"
#else
#define EACH_LANE _Pragma("GCC ivdep") for (unsigned i = 0; i < LANES; i++)
#endif
#pragma GCC diagnostic ignored "-Wtype-limits"
#pragma GCC diagnostic ignored "-Wunused-variable"

/* Of each type: element of a slot, value, from one to the other and back. */
#define TYPE(name, slot, value) \
    typedef slot name##_s;      \
    typedef value name##_t;

TYPE(u16, uint32_t, uint16_t)
TYPE(s16, uint32_t, int16_t)
TYPE(u32, uint32_t, uint32_t)
TYPE(s32, uint32_t, int32_t)
TYPE(u64, uint64_t, uint64_t)
TYPE(s64, uint64_t, int64_t)
TYPE(f32, float, float)
TYPE(f64, double, double)
TYPE(pred, uint32_t, uint32_t)
TYPE(u8_in, uint32_t, uint8_t)
TYPE(s8_in, uint32_t, int8_t)
TYPE(u16_in, uint32_t, uint16_t)
TYPE(s16_in, uint32_t, int16_t)
TYPE(u32_in, uint32_t, uint32_t)
TYPE(s32_in, uint32_t, int32_t)
TYPE(u64_in, uint64_t, uint64_t)
TYPE(s64_in, uint64_t, int64_t)

#define PUT_u16(v)  ((uint32_t)(uint16_t)(v))
#define PUT_s16(v)  ((uint32_t)(uint16_t)(v))
#define PUT_u32(v)  ((uint32_t)(v))
#define PUT_s32(v)  ((uint32_t)(int32_t)(v))
#define PUT_u64(v)  ((uint64_t)(v))
#define PUT_s64(v)  ((uint64_t)(int64_t)(v))
#define PUT_f32(v)  (v)
#define PUT_f64(v)  (v)
#define PUT_pred(v) (0u - (uint32_t)((v) != 0))

#define SAME(v, flags)      (v)
#define FLUSH_u16           SAME
#define FLUSH_u32           SAME
#define FLUSH_s32           SAME
#define FLUSH_u64           SAME
#define FLUSH_s64           SAME
#define FLUSH_f64           SAME
#define FLUSH_pred          SAME
#define FLUSH_u8_in         SAME
#define FLUSH_s8_in         SAME
#define FLUSH_u16_in        SAME
#define FLUSH_s16_in        SAME
#define FLUSH_u32_in        SAME
#define FLUSH_s32_in        SAME
#define FLUSH_u64_in        SAME
#define FLUSH_s64_in        SAME
#define FLUSH_f32(v, flags) ((flags)&F_FTZ ? flush(v) : (v))

#define END_u16           SAME
#define END_u32           SAME
#define END_s32           SAME
#define END_u64           SAME
#define END_s64           SAME
#define END_pred          SAME
#define END_f64(v, flags) ((flags)&F_SAT ? ((v) > 0 ? ((v) < 1 ? (v) : 1) : 0) : (v))
#define END_f32(v, flags) end_f32(v, flags)

FUNCTION float end_f32(float v, uint32_t flags)
{
    if (flags & F_FTZ)
        v = flush(v);
    if (flags & F_SAT)
        v = v > 0 ? (v < 1 ? v : 1) : 0;
    return v;
}

#define FN(id)      static const struct insn *alu_##id(struct warp *w, const struct insn *in)
#define AT(T, slot) (T##_s *)__builtin_assume_aligned(SLOT(w, slot), 64)
#define STORE(D, expr, get)                                         \
    if (w->full) {                                                  \
        EACH_LANE                                                   \
        {                                                           \
            get d[i] = (D##_s)PUT_##D(expr);                        \
        }                                                           \
    } else {                                                        \
        const uint32_t *m = __builtin_assume_aligned(w->lanes, 64); \
                                                                    \
        EACH_LANE                                                   \
        {                                                           \
            get D##_s r = (D##_s)PUT_##D(expr);                     \
            d[i] = m[i] ? r : d[i];                                 \
        }                                                           \
    }                                                               \
    return in + 1;

#define OP1(id, text, D, A, expr)               \
    FN(id)                                      \
    {                                           \
        D##_s *d = AT(D, in->d);                \
        const A##_s *pa = AT(A, in->a);         \
        STORE(D, expr, A##_t a = (A##_t)pa[i];) \
    }
#define OP2(id, text, D, A, B, expr)                                    \
    FN(id)                                                              \
    {                                                                   \
        D##_s *d = AT(D, in->d);                                        \
        const A##_s *pa = AT(A, in->a);                                 \
        const B##_s *pb = AT(B, in->b);                                 \
        STORE(D, expr, A##_t a = (A##_t)pa[i]; B##_t b = (B##_t)pb[i];) \
    }
#define OP3(id, text, D, A, B, C, expr)                                                         \
    FN(id)                                                                                      \
    {                                                                                           \
        D##_s *d = AT(D, in->d);                                                                \
        const A##_s *pa = AT(A, in->a);                                                         \
        const B##_s *pb = AT(B, in->b);                                                         \
        const C##_s *pc = AT(C, in->c);                                                         \
        STORE(D, expr, A##_t a = (A##_t)pa[i]; B##_t b = (B##_t)pb[i]; C##_t c = (C##_t)pc[i];) \
    }
#define OP4(id, text, D, A, B, C, Q, expr)                                                     \
    FN(id)                                                                                     \
    {                                                                                          \
        D##_s *d = AT(D, in->d);                                                               \
        const A##_s *pa = AT(A, in->a);                                                        \
        const B##_s *pb = AT(B, in->b);                                                        \
        const C##_s *pc = AT(C, in->c);                                                        \
        const Q##_s *pq = AT(Q, in->e);                                                        \
        STORE(D, expr, A##_t a = (A##_t)pa[i]; B##_t b = (B##_t)pb[i]; C##_t c = (C##_t)pc[i]; \
              Q##_t q = (Q##_t)pq[i];)                                                         \
    }

/* The rounding is that of the processor while the loop runs. */
static int enter_rounding(uint32_t flags)
{
    int old = fegetround();

    fesetround(flags & F_RZ ? FE_TOWARDZERO : flags & F_RM ? FE_DOWNWARD : FE_UPWARD);
    return old;
}

#define MODIFIED(D, expr, get)                                  \
    const uint32_t flags = in->flags;                           \
    int old = flags & F_ROUND ? enter_rounding(flags) : 0;      \
    const uint32_t *m = __builtin_assume_aligned(w->lanes, 64); \
                                                                \
    EACH_LANE                                                   \
    {                                                           \
        get D##_t v = (D##_t)(expr);                            \
        D##_s r = (D##_s)PUT_##D(END_##D(v, flags));            \
        d[i] = m[i] ? r : d[i];                                 \
    }                                                           \
    if (flags & F_ROUND)                                        \
        fesetround(old);                                        \
    return in + 1;
#define OP1F(id, text, D, A, expr)                                   \
    OP1(id, text, D, A, expr)                                        \
    FN(id##_m)                                                       \
    {                                                                \
        D##_s *d = AT(D, in->d);                                     \
        const A##_s *pa = AT(A, in->a);                              \
        MODIFIED(D, expr, A##_t a = FLUSH_##A((A##_t)pa[i], flags);) \
    }
#define OP2F(id, text, D, A, B, expr)                               \
    OP2(id, text, D, A, B, expr)                                    \
    FN(id##_m)                                                      \
    {                                                               \
        D##_s *d = AT(D, in->d);                                    \
        const A##_s *pa = AT(A, in->a);                             \
        const B##_s *pb = AT(B, in->b);                             \
        MODIFIED(D, expr, A##_t a = FLUSH_##A((A##_t)pa[i], flags); \
                 B##_t b = FLUSH_##B((B##_t)pb[i], flags);)         \
    }
#define OP3F(id, text, D, A, B, C, expr)                            \
    OP3(id, text, D, A, B, C, expr)                                 \
    FN(id##_m)                                                      \
    {                                                               \
        D##_s *d = AT(D, in->d);                                    \
        const A##_s *pa = AT(A, in->a);                             \
        const B##_s *pb = AT(B, in->b);                             \
        const C##_s *pc = AT(C, in->c);                             \
        MODIFIED(D, expr, A##_t a = FLUSH_##A((A##_t)pa[i], flags); \
                 B##_t b = FLUSH_##B((B##_t)pb[i], flags);          \
                 C##_t c = FLUSH_##C((C##_t)pc[i], flags);)         \
    }

/* Carry in at in->f, out at in->e (a slot nobody reads without .cc). */
#define WITH_CARRY(T, value, carry, get)                               \
    T##_s *d = AT(T, in->d);                                           \
    const T##_s *pa = AT(T, in->a), *pb = AT(T, in->b);                \
    const uint32_t *pk = AT(u32, in->f), *m = w->lanes;                \
    uint32_t *out = AT(u32, in->e);                                    \
                                                                       \
    for (unsigned i = 0; i < LANES; i++) {                             \
        T##_t a = (T##_t)pa[i], b = (T##_t)pb[i], k = (T##_t)pk[i], r; \
        get(void) k;                                                   \
        if (!m[i])                                                     \
            continue;                                                  \
        r = (T##_t)(value);                                            \
        out[i] = (carry) ? 1 : 0;                                      \
        d[i] = (T##_s)r;                                               \
    }                                                                  \
    return in + 1;
#define OPC2(id, text, T, value, carry) \
    FN(id)                              \
    {                                   \
        WITH_CARRY(T, value, carry, )   \
    }
#define OPC3(id, text, T, value, carry)                      \
    FN(id)                                                   \
    {                                                        \
        const T##_s *pc = AT(T, in->c);                      \
        WITH_CARRY(T, value, carry, T##_t c = (T##_t)pc[i];) \
    }
#include "alu.def"

const ptx_handler PTX_ALU[ALU_COUNT] = {
#define OP1(id, text, D, A, e)          [ALU_##id] = alu_##id,
#define OP2(id, text, D, A, B, e)       [ALU_##id] = alu_##id,
#define OP3(id, text, D, A, B, C, e)    [ALU_##id] = alu_##id,
#define OP4(id, text, D, A, B, C, Q, e) [ALU_##id] = alu_##id,
#define OP1F(id, text, D, A, e)         [ALU_##id] = alu_##id, [ALU_##id##_m] = alu_##id##_m,
#define OP2F(id, text, D, A, B, e)      [ALU_##id] = alu_##id, [ALU_##id##_m] = alu_##id##_m,
#define OP3F(id, text, D, A, B, C, e)   [ALU_##id] = alu_##id, [ALU_##id##_m] = alu_##id##_m,
#define OPC2(id, text, T, e, carry)     [ALU_##id] = alu_##id,
#define OPC3(id, text, T, e, carry)     [ALU_##id] = alu_##id,
#include "alu.def"
};
