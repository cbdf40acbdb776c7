/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "alu_math.h"
#include "flow.h"
#include "view.h"

/* Atomic operations, one lane after the other. Blocks run on different threads: those on device
 * memory are atomic on the host, too. */

static inline uint64_t operate(enum atom_op op, enum atom_type type, uint64_t old, uint64_t b,
                               uint64_t c)
{
    bool is_signed = type == TYPE_S32 || type == TYPE_S64,
         wide = type == TYPE_U64 || type == TYPE_S64 || type == TYPE_F64;
    int64_t so = wide ? (int64_t)old : (int32_t)old, sb = wide ? (int64_t)b : (int32_t)b;

    switch (op) {
    case ATOM_EXCH:
        return b;
    case ATOM_CAS:
        return old == b ? c : old;
    case ATOM_AND:
        return old & b;
    case ATOM_OR:
        return old | b;
    case ATOM_XOR:
        return old ^ b;
    case ATOM_INC:
        return (uint32_t)old >= (uint32_t)b ? 0 : old + 1;
    case ATOM_DEC:
        return !old || (uint32_t)old > (uint32_t)b ? b : old - 1;
    default:
        break;
    }
    switch (type) {
    case TYPE_F32: {
        float x = bits_float((uint32_t)old), y = bits_float((uint32_t)b);

        return float_bits(canonical(op == ATOM_ADD   ? x + y
                                    : op == ATOM_MIN ? minimum(x, y)
                                                     : maximum(x, y)));
    }
    case TYPE_F64:
        return double_bits(op == ATOM_ADD   ? bits_double(old) + bits_double(b)
                           : op == ATOM_MIN ? minimum_f64(bits_double(old), bits_double(b))
                                            : maximum_f64(bits_double(old), bits_double(b)));
    case TYPE_F16:
        return half_plain(half_float((uint16_t)old) + half_float((uint16_t)b));
    case TYPE_F16X2:
        return pair(half_plain(half_float(lo16((uint32_t)old)) + half_float(lo16((uint32_t)b))),
                    half_plain(half_float(hi16((uint32_t)old)) + half_float(hi16((uint32_t)b))));
    case TYPE_BF16:
        return brain_result(brain_float((uint16_t)old) + brain_float((uint16_t)b));
    case TYPE_BF16X2:
        return pair(
            brain_result(brain_float(lo16((uint32_t)old)) + brain_float(lo16((uint32_t)b))),
            brain_result(brain_float(hi16((uint32_t)old)) + brain_float(hi16((uint32_t)b))));
    default:
        break;
    }
    if (op == ATOM_ADD)
        return old + b;
    if (is_signed)
        return op == ATOM_MIN ? (so < sb ? old : b) : (so > sb ? old : b);
    return op == ATOM_MIN ? (old < b ? old : b) : (old > b ? old : b);
}

/* What the processor has an instruction for, and a loop for the rest. */
#define EXCHANGE(T)                                                                          \
    {                                                                                        \
        T *at = (T *)(void *)host, old;                                                      \
                                                                                             \
        if (op == ATOM_ADD && integer)                                                       \
            return __atomic_fetch_add(at, (T)b, __ATOMIC_SEQ_CST);                           \
        if (op == ATOM_EXCH)                                                                 \
            return __atomic_exchange_n(at, (T)b, __ATOMIC_SEQ_CST);                          \
        old = __atomic_load_n(at, __ATOMIC_RELAXED);                                         \
        while (!__atomic_compare_exchange_n(at, &old, (T)operate(op, type, old, (T)b, (T)c), \
                                            false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))      \
            ;                                                                                \
        return old;                                                                          \
    }

static inline uint64_t exchange(uint8_t *host, uint32_t bytes, enum atom_op op, enum atom_type type,
                                uint64_t b, uint64_t c)
{
    bool integer = type <= TYPE_S64;

    if (bytes == 8)
        EXCHANGE(uint64_t)
    if (bytes == 4)
        EXCHANGE(uint32_t)
    EXCHANGE(uint16_t)
}

uint64_t atom_exchange(uint8_t *host, uint32_t bytes, enum atom_op op, enum atom_type type,
                       uint64_t b, uint64_t c)
{
    return exchange(host, bytes, op, type, b, c);
}

/* Shared and local memory are one thread's. */
static inline uint64_t plain(uint8_t *host, uint32_t bytes, enum atom_op op, enum atom_type type,
                             uint64_t b, uint64_t c)
{
    uint64_t old = 0, value;

    memcpy(&old, host, bytes);
    if (bytes < 8) {
        uint64_t mask = ((uint64_t)1 << bytes * 8) - 1;

        b &= mask;
        c &= mask;
    }
    value = operate(op, type, old, b, c);
    memcpy(host, &value, bytes);
    return old;
}

static inline uint64_t value_of(struct warp *w, uint32_t slot, unsigned lane, bool wide)
{
    return wide ? ((const uint64_t *)(const void *)SLOT(w, slot))[lane]
                : ((const uint32_t *)(const void *)SLOT(w, slot))[lane];
}

static inline void result(struct warp *w, const struct insn *in, unsigned lane, bool wide,
                          uint64_t value)
{
    if (in->d == NO_SLOT)
        return;
    if (wide)
        ((uint64_t *)(void *)SLOT(w, in->d))[lane] = value;
    else
        ((uint32_t *)(void *)SLOT(w, in->d))[lane] = (uint32_t)value;
}

/* Where all lanes add to the same number their sum is added once; each gets what it would have. */
static inline void sum(struct warp *w, const struct insn *in, uint8_t *host, bool shared, bool wide)
{
    uint64_t all = 0, old, own[LANES];

    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);

        own[i] = all;
        all += value_of(w, in->b, i, wide);
    }
    old = shared ? plain(host, wide ? 8 : 4, ATOM_ADD, TYPE_U64, all, 0)
                 : exchange(host, wide ? 8 : 4, ATOM_ADD, TYPE_U64, all, 0);
    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);

        result(w, in, i, wide, old + own[i]);
    }
}

/*
 * Whether what all lanes that run change is in one window, so that none of them fails; `offset` is
 * where in it.
 */
static inline bool inside(const struct warp *w, const struct window *window,
                          const uint64_t *address, uint32_t bytes, uint64_t *offset)
{
    const uint64_t last = window->size - bytes;
    uint64_t bad = 0;

    if (window->size < bytes || window->constant || window->lane_stride)
        return false;
    /* No comparisons, which SSE2 has none of for 64 bits. */
    for (unsigned i = 0; i < LANES; i++) {
        offset[i] = address[i] - window->address;
        bad |= (((offset[i] | (last - offset[i])) >> 63) | (address[i] & (bytes - 1))) &
               (uint64_t)(int64_t)(int32_t)w->lanes[i];
    }
    return !bad;
}

/* One lane after the other. T: of a slot. What lanes get goes elsewhere where nobody wants it. */
#define EACH_IN_WINDOW(T)                                                            \
    {                                                                                \
        const T *b = (const T *)(const void *)SLOT(w, in->b);                        \
        const T *c = in->c == NO_SLOT ? b : (const T *)(const void *)SLOT(w, in->c); \
        T lost[LANES], *d = in->d == NO_SLOT ? lost : (T *)(void *)SLOT(w, in->d);   \
        uint32_t left = w->mask;                                                     \
                                                                                     \
        for (unsigned n = 0; full ? n < LANES : left; n++) {                         \
            unsigned i = full ? n : (unsigned)__builtin_ctz(left);                   \
            uint8_t *at = host + offset[i];                                          \
                                                                                     \
            d[i] = (T)(shared ? plain(at, bytes, op, type, b[i], c[i])               \
                              : exchange(at, bytes, op, type, b[i], c[i]));          \
            left &= left - 1;                                                        \
        }                                                                            \
    }

static inline __attribute__((always_inline)) void
in_window(struct warp *w, const struct insn *in, enum atom_op op, enum atom_type type,
          uint32_t bytes, uint8_t *host, const uint64_t *offset, bool shared, bool full)
{
    if (bytes == 8)
        EACH_IN_WINDOW(uint64_t)
    else
        EACH_IN_WINDOW(uint32_t)
}
#undef EACH_IN_WINDOW

static inline __attribute__((always_inline)) const struct insn *
run(struct warp *w, const struct insn *in, enum atom_op op, enum atom_type type)
{
    enum ptx_space space = in->flags >> 24;
    uint32_t bytes = type == TYPE_U64 || type == TYPE_S64 || type == TYPE_F64    ? 8
                     : type == TYPE_F16 || type == TYPE_BF16 || type == TYPE_B16 ? 2
                                                                                 : 4;
    unsigned first = (unsigned)__builtin_ctz(w->mask);
    uint64_t address[LANES], offset[LANES], other = 0;
    struct window window;

    for (unsigned i = 0; i < LANES; i++)
        address[i] = value_of(w, in->a, i, !(in->flags & F_ADDRESS32)) + in->bits;
    if (!view_find(w, in, space, address[first], &window))
        window = (struct window){0};
    if (op == ATOM_ADD && type <= TYPE_S64) {
        for (unsigned i = 0; i < LANES; i++)
            other |= (address[i] ^ address[first]) & (uint64_t)(int64_t)(int32_t)w->lanes[i];
        if (!other && !window.lane_stride) {
            uint8_t *host =
                view_lane(w, in, space, &window, address[first], first, bytes, bytes, true);

            if (!host)
                return NULL;
            sum(w, in, host, window.host == w->shared, bytes == 8);
            return in + 1;
        }
    }
    if (inside(w, &window, address, bytes, offset)) {
        if (window.host == w->shared && w->full)
            in_window(w, in, op, type, bytes, window.host, offset, true, true);
        else if (window.host == w->shared)
            in_window(w, in, op, type, bytes, window.host, offset, true, false);
        else
            in_window(w, in, op, type, bytes, window.host, offset, false, false);
        return in + 1;
    }
    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);
        uint8_t *host = view_lane(w, in, space, &window, address[i], i, bytes, bytes, true);
        uint64_t b, c;

        if (!host)
            return NULL;
        b = value_of(w, in->b, i, bytes == 8);
        c = in->c == NO_SLOT ? 0 : value_of(w, in->c, i, bytes == 8);
        result(w, in, i, bytes == 8,
               (uint64_t)(host - w->shared) < w->shared_bytes
                   ? plain(host, bytes, op, type, b, c)
                   : exchange(host, bytes, op, type, b, c));
    }
    return in + 1;
}

HANDLER(atom_run)
{
    enum atom_op op = in->flags >> 16 & 15;
    enum atom_type type = in->flags >> 20 & 15;

    if (w->group_count > 1 || w->block->running > 1)
        w->fuel -= 32;
        /* Those that programs use most have a loop of their own. */
#define OWN(o, t)                 \
    if (op == (o) && type == (t)) \
        return run(w, in, o, t);
    OWN(ATOM_ADD, TYPE_U32)
    OWN(ATOM_ADD, TYPE_S32)
    OWN(ATOM_ADD, TYPE_F32)
    OWN(ATOM_ADD, TYPE_U64)
    OWN(ATOM_CAS, TYPE_U32)
    OWN(ATOM_EXCH, TYPE_U32)
#undef OWN
    return run(w, in, op, type);
}

HANDLER(copy_async)
{
    const struct window shared = {0, w->shared_bytes, w->shared, 0, false};
    uint32_t most = in->e;

    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);
        uint64_t to =
            (in->flags & F_ADDRESS32 ? ((const uint32_t *)(const void *)SLOT(w, in->d))[i]
                                     : ((const uint64_t *)(const void *)SLOT(w, in->d))[i]) +
            (uint64_t)(in->imm >> 32);
        uint64_t from = ((const uint64_t *)(const void *)SLOT(w, in->a))[i] +
                        (uint64_t)(int64_t)(int32_t)in->imm;
        uint32_t size =
            in->b == NO_SLOT ? most : ((const uint32_t *)(const void *)SLOT(w, in->b))[i];
        uint8_t *target = view_lane(w, in, SPACE_SHARED, &shared, to, i, most, most, true), *source;
        struct window from_window;

        if (!target)
            return NULL;
        if (size > most)
            size = most;
        if (size < most)
            memset(target, 0, most);
        if (!size)
            continue;
        if (!view_find(w, in, SPACE_GLOBAL, from, &from_window))
            from_window = (struct window){0};
        source = view_lane(w, in, SPACE_GLOBAL, &from_window, from, i, size, 1, false);
        if (!source)
            return NULL;
        if (size == 16)
            memcpy(target, memcpy((uint8_t[16]){0}, source, 16), 16);
        else
            memmove(target, source, size);
    }
    return in + 1;
}
