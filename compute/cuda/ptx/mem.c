/* SPDX-License-Identifier: MIT */
#include <string.h>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "alu.h"
#include "view.h"

/*
 * Loads and stores, 32 lanes each. Mostly all lanes are in one allocation: it is looked up once.
 * Then what matters is the shape of the addresses. Eight lanes' elements next to each other are one
 * vector; their same address is one value; both need bounds of their ends only. Anything else is a
 * loop. Compiled once for each instruction set, as PTX_MEM.
 *
 * Kernels may race on their memory; that is their business and not reported.
 */

#ifdef __clang__
#define EACH_LANE \
    _Pragma("clang loop vectorize(assume_safety)") for (unsigned i = 0; i < LANES; i++)
#pragma clang diagnostic ignored "-Wpass-failed"
#else
#define EACH_LANE _Pragma("GCC ivdep") for (unsigned i = 0; i < LANES; i++)
#endif
/* Not taken apart into single lanes, which keeps GCC from making vectors. */
#ifdef __clang__
#define EACH_IN_ROW for (unsigned i = 0; i < ROW; i++)
#else
#define EACH_IN_ROW _Pragma("GCC unroll 1") _Pragma("GCC ivdep") for (unsigned i = 0; i < ROW; i++)
#endif
#define RACY __attribute__((no_sanitize("thread")))

#define ROW \
    16u /* lanes: a vector of AVX-512, and what blocks of 16 x 16 threads have side by side */
#define ROWS (LANES / ROW)

enum shape {
    SHAPE_ODD,     /* a lane is outside, or elsewhere: lane by lane, and the fault is told */
    SHAPE_ROWS,    /* lane i's is at host + row[i / ROW] + i % ROW * bytes; all may be read */
    SHAPE_SAME,    /* lane i's is at host + row[i / ROW] */
    SHAPE_SCATTER, /* lane i's is at host + offset[i], those of masked lanes at the first one's */
};

struct access {
    uint8_t *host;
    uint64_t row[ROWS];
    uint64_t offset[LANES] __attribute__((aligned(64)));
};

/* The elements of a vector: in->d, b, c, e. */
static inline __attribute__((always_inline)) uint32_t part(const struct insn *in, unsigned n)
{
    return n == 0 ? in->d : n == 1 ? in->b : n == 2 ? in->c : in->e;
}

/* Whether lanes of a row that run are elsewhere than at start + i * step. */
static inline __attribute__((always_inline)) bool off_row(const struct warp *w, bool full,
                                                          unsigned lane, const uint64_t *a,
                                                          uint64_t start, uint64_t step)
{
#ifdef __AVX512F__
    const __m512i steps =
        _mm512_set_epi64((int64_t)step * 7, (int64_t)step * 6, (int64_t)step * 5, (int64_t)step * 4,
                         (int64_t)step * 3, (int64_t)step * 2, (int64_t)step, 0);
    __m512i low = _mm512_add_epi64(_mm512_set1_epi64((int64_t)start), steps);
    __m512i high = _mm512_add_epi64(_mm512_set1_epi64((int64_t)(start + step * 8)), steps);
    uint32_t off = (uint32_t)_mm512_cmpneq_epi64_mask(_mm512_load_si512(a + lane), low) |
                   (uint32_t)_mm512_cmpneq_epi64_mask(_mm512_load_si512(a + lane + 8), high) << 8;

    return full ? off : off & (w->mask >> lane);
#else
    const uint32_t *m = w->lanes + lane;
    uint64_t off = 0;

    for (unsigned i = 0; i < ROW; i++)
        off |= (a[lane + i] ^ (start + i * step)) &
               (full ? UINT64_MAX : (uint64_t)(int64_t)(int32_t)m[i]);
    return off;
#endif
}

/* Whether each row's addresses rise by `step`; offsets of the rows, whose ends are inside. */
static inline __attribute__((always_inline)) bool
in_rows(const struct warp *w, bool full, const uint64_t *a, const struct window *window,
        uint64_t base, uint32_t bytes, uint64_t step, uint64_t *row)
{
    const uint64_t reach = step * (ROW - 1) + bytes;
    uint64_t odd = 0;

    if (window->size < reach)
        return false;
    for (unsigned n = 0; n < ROWS; n++) {
        uint32_t lanes = full ? 0xffff : w->mask >> n * ROW & 0xffff, own;
        uint64_t start;

        row[n] = n ? row[0] : 0;
        if (!lanes)
            continue;
        own = full ? 0 : (unsigned)__builtin_ctz(lanes);
        start = a[n * ROW + own] - own * step;
        if (off_row(w, full, n * ROW, a, start, step))
            return false;
        row[n] = start - base;
        odd |= row[n];
        if (row[n] > window->size - reach)
            return false;
    }
    return !((odd | (window->address & (bytes - 1) ? 1 : 0)) & (bytes - 1));
}

/* Offsets of lanes that are here and there in a window. */
static inline __attribute__((always_inline)) enum shape
scattered(const struct warp *w, bool full, const uint64_t *a, const struct window *window,
          uint64_t base, uint64_t own, uint32_t bytes, uint64_t *offsets)
{
    const uint64_t last = window->size - bytes, odd = window->address & (bytes - 1),
                   stride = window->lane_stride;
    uint64_t bad = 0;

    if (full) {
        EACH_LANE
        {
            uint64_t offset = a[i] - base;

            bad |= (offset > last ? 1 : 0) | ((offset + odd) & (bytes - 1));
            offsets[i] = offset + i * stride;
        }
    } else {
        const uint32_t *m = __builtin_assume_aligned(w->lanes, 64);

        EACH_LANE
        {
            uint64_t offset = m[i] ? a[i] - base : own;

            bad |= (offset > last ? 1 : 0) | ((offset + odd) & (bytes - 1));
            offsets[i] = offset + i * stride;
        }
    }
    return bad ? SHAPE_ODD : SHAPE_SCATTER;
}

/* `bytes` a lane, a power of two. */
static inline __attribute__((always_inline)) enum shape
prepare(struct warp *w, bool full, const struct insn *in, enum ptx_space space, uint32_t bytes,
        bool write, struct access *x)
{
    unsigned first = full ? 0 : (unsigned)__builtin_ctz(w->mask);
    const uint64_t *a = __builtin_assume_aligned(SLOT(w, in->a), 64);
    struct window window;
    uint64_t own, base;

    if (in->flags & F_ADDRESS32) {
        const uint32_t *narrow = (const uint32_t *)(const void *)a;

        EACH_LANE
        {
            x->offset[i] = narrow[i];
        }
        a = x->offset;
    }
    own = a[first] + in->bits;
    if (!view_find(w, in, space, own, &window) || (write && window.constant))
        return SHAPE_ODD;
    base = window.address - in->bits;
    x->host = window.host;
    if (!window.lane_stride) {
        /* The first two say what is worth a look. */
        uint64_t step = full ? a[1] - a[0] : bytes;

        if (step == bytes && in_rows(w, full, a, &window, base, bytes, bytes, x->row))
            return SHAPE_ROWS;
        if ((!full || !step) && in_rows(w, full, a, &window, base, bytes, 0, x->row))
            return SHAPE_SAME;
    }
    if (window.size < bytes)
        return SHAPE_ODD;
    return scattered(w, full, a, &window, base, own - window.address, bytes, x->offset);
}

/*
 * The quick way for all lanes and one element each: whether both rows rise by `step`, and where
 * they are. An address of 32 bits is `narrow`.
 */
static inline __attribute__((always_inline)) bool quick(struct warp *w, const struct insn *in,
                                                        enum ptx_space space, uint32_t bytes,
                                                        uint64_t step, bool write, bool narrow,
                                                        uint8_t *row[ROWS])
{
    const uint64_t *a = __builtin_assume_aligned(SLOT(w, in->a), 64);
    const uint32_t *word = (const uint32_t *)(const void *)a;
    const uint64_t reach = step * (ROW - 1) + bytes;
    uint64_t first = narrow ? word[0] : a[0], second = narrow ? word[ROW] : a[ROW], low, high;
    struct window window;

    if (!view_find(w, in, space, first + in->bits, &window) || (write && window.constant) ||
        window.lane_stride || window.size < reach)
        return false;
    low = first + in->bits - window.address;
    high = second + in->bits - window.address;
    if (low > window.size - reach || high > window.size - reach ||
        ((low | high | window.address) & (bytes - 1)))
        return false;
    if (narrow) {
        uint32_t off = 0;

        /* No address may pass 32 bits within a row. */
        if ((first | second) >> 31)
            return false;
        EACH_IN_ROW
        {
            off |= (word[i] ^ (uint32_t)(first + i * step)) |
                   (word[ROW + i] ^ (uint32_t)(second + i * step));
        }
        if (off)
            return false;
    } else if (off_row(w, true, 0, a, first, step) || off_row(w, true, ROW, a, second, step)) {
        return false;
    }
    row[0] = window.host + low;
    row[1] = window.host + high;
    return true;
}

/* Says how the first two addresses lie, which is worth a look. */
static inline __attribute__((always_inline)) uint64_t step_of(struct warp *w, const struct insn *in,
                                                              bool narrow)
{
    const uint64_t *a = __builtin_assume_aligned(SLOT(w, in->a), 64);
    const uint32_t *word = (const uint32_t *)(const void *)a;

    return narrow ? word[1] - word[0] : a[1] - a[0];
}

/* The address of one lane. */
static uint64_t address_of(struct warp *w, const struct insn *in, unsigned lane)
{
    uint64_t a = in->flags & F_ADDRESS32 ? ((const uint32_t *)(const void *)SLOT(w, in->a))[lane]
                                         : ((const uint64_t *)(const void *)SLOT(w, in->a))[lane];

    return a + in->bits;
}

/*
 * Elements in memory, wherever it begins. Rows are read and written in place: a copy of them on the
 * stack is made of smaller vectors than it is read by, which processors do not forward.
 */
#define LOOSE(element)      loose_##element
#define LOOSE_TYPE(element) typedef element LOOSE(element) __attribute__((aligned(1), may_alias));
LOOSE_TYPE(uint8_t)
LOOSE_TYPE(int8_t)
LOOSE_TYPE(uint16_t)
LOOSE_TYPE(int16_t)
LOOSE_TYPE(uint32_t)
LOOSE_TYPE(uint64_t)
#undef LOOSE_TYPE

/* An element each of all lanes side by side, or the same for a row; else `any`. */
#define QUICK_LOAD(id, space, element, slot, narrow)                                     \
    {                                                                                    \
        const uint64_t step = step_of(w, in, narrow);                                    \
        slot *d = __builtin_assume_aligned(SLOT(w, in->d), 64);                          \
        uint8_t *row[ROWS];                                                              \
                                                                                         \
        if (step == sizeof(element) &&                                                   \
            quick(w, in, space, sizeof(element), sizeof(element), false, narrow, row)) { \
            for (unsigned r = 0; r < ROWS; r++) {                                        \
                const LOOSE(element) *v = (const void *)row[r];                          \
                                                                                         \
                EACH_IN_ROW                                                              \
                {                                                                        \
                    d[r * ROW + i] = (slot)v[i];                                         \
                }                                                                        \
            }                                                                            \
            return in + 1;                                                               \
        }                                                                                \
        if (!step && quick(w, in, space, sizeof(element), 0, false, narrow, row)) {      \
            for (unsigned r = 0; r < ROWS; r++) {                                        \
                element v;                                                               \
                                                                                         \
                memcpy(&v, row[r], sizeof(v));                                           \
                EACH_IN_ROW                                                              \
                {                                                                        \
                    d[r * ROW + i] = (slot)v;                                            \
                }                                                                        \
            }                                                                            \
            return in + 1;                                                               \
        }                                                                                \
        return any_##id(w, in);                                                          \
    }
#define QUICK_STORE(id, space, element, slot, narrow)                                   \
    {                                                                                   \
        const slot *d = __builtin_assume_aligned(SLOT(w, in->d), 64);                   \
        uint8_t *row[ROWS];                                                             \
                                                                                        \
        if (step_of(w, in, narrow) == sizeof(element) &&                                \
            quick(w, in, space, sizeof(element), sizeof(element), true, narrow, row)) { \
            for (unsigned r = 0; r < ROWS; r++) {                                       \
                LOOSE(element) *v = (void *)row[r];                                     \
                                                                                        \
                EACH_IN_ROW                                                             \
                {                                                                       \
                    v[i] = (element)d[r * ROW + i];                                     \
                }                                                                       \
            }                                                                           \
            return in + 1;                                                              \
        }                                                                               \
        return any_##id(w, in);                                                         \
    }
/* Vectors of all lanes side by side: `count` elements a lane, which is a constant here. */
#define TAKE_VECTORS(count, element, slot)                            \
    for (unsigned r = 0; r < ROWS; r++) {                             \
        const LOOSE(element) *v = (const void *)(x.host + x.row[r]);  \
        for (unsigned n = 0; n < count; n++) {                        \
            slot *d = (slot *)(void *)SLOT(w, part(in, n)) + r * ROW; \
                                                                      \
            EACH_IN_ROW                                               \
            {                                                         \
                d[i] = (slot)v[i * count + n];                        \
            }                                                         \
        }                                                             \
    }                                                                 \
    return in + 1;
#define GIVE_VECTORS(count, element, slot)                                              \
    for (unsigned r = 0; r < ROWS; r++) {                                               \
        LOOSE(element) *v = (void *)(x.host + x.row[r]);                                \
                                                                                        \
        for (unsigned n = 0; n < count; n++) {                                          \
            const slot *d = (const slot *)(const void *)SLOT(w, part(in, n)) + r * ROW; \
                                                                                        \
            EACH_IN_ROW                                                                 \
            {                                                                           \
                v[i * count + n] = (element)d[i];                                       \
            }                                                                           \
        }                                                                               \
    }                                                                                   \
    return in + 1;
#define HANDLER(id, kind, space, element, slot)                                        \
    RACY static const struct insn *mem_##id(struct warp *w, const struct insn *in)     \
    {                                                                                  \
        if (space > SPACE_SHARED || in->f != 1 || !w->full)                            \
            return any_##id(w, in);                                                    \
        if (space != SPACE_SHARED)                                                     \
            QUICK_##kind(id, space, element, slot, false) if (in->flags & F_ADDRESS32) \
                QUICK_##kind(id, space, element, slot, true)                           \
                    QUICK_##kind(id, space, element, slot, false)                      \
    }
#define LOAD(id, space, element, slot)                                                           \
    RACY static __attribute__((noinline))                                                        \
    const struct insn *mem_odd_##id(struct warp *w, const struct insn *in)                       \
    {                                                                                            \
        const uint32_t bytes = (uint32_t)sizeof(element) * in->f;                                \
        uint64_t address[LANES];                                                                 \
                                                                                                 \
        /* A target may be the address, too. */                                                  \
        for (unsigned i = 0; i < LANES; i++)                                                     \
            address[i] = address_of(w, in, i);                                                   \
        for (uint32_t left = w->mask; left; left &= left - 1) {                                  \
            unsigned i = (unsigned)__builtin_ctz(left);                                          \
            const uint8_t *host = access_lane(w, in, space, address[i], i, bytes, bytes, false); \
                                                                                                 \
            if (!host)                                                                           \
                return NULL;                                                                     \
            for (unsigned n = 0; n < in->f; n++) {                                               \
                element v;                                                                       \
                                                                                                 \
                memcpy(&v, host + n * sizeof(v), sizeof(v));                                     \
                ((slot *)(void *)SLOT(w, part(in, n)))[i] = (slot)v;                             \
            }                                                                                    \
        }                                                                                        \
        return in + 1;                                                                           \
    }                                                                                            \
    RACY static __attribute__((noinline))                                                        \
    const struct insn *any_##id(struct warp *w, const struct insn *in)                           \
    {                                                                                            \
        const uint32_t count = in->f, bytes = (uint32_t)sizeof(element) * count;                 \
        const bool full = w->full;                                                               \
        struct access x;                                                                         \
        enum shape shape = prepare(w, full, in, space, bytes, false, &x);                        \
                                                                                                 \
        if (shape == SHAPE_ODD)                                                                  \
            return mem_odd_##id(w, in);                                                          \
        if (shape == SHAPE_ROWS && full && count == 4) {                                         \
            TAKE_VECTORS(4, element, slot)                                                       \
        }                                                                                        \
        if (shape == SHAPE_ROWS && full && count == 2) {                                         \
            TAKE_VECTORS(2, element, slot)                                                       \
        }                                                                                        \
        for (unsigned n = 0; n < count; n++) {                                                   \
            slot *d = __builtin_assume_aligned(SLOT(w, part(in, n)), 64);                        \
            const uint8_t *host = x.host + n * sizeof(element);                                  \
            slot kept[LANES] __attribute__((aligned(64))), *got = full ? d : kept;               \
                                                                                                 \
            if (shape == SHAPE_ROWS && count == 1) {                                             \
                for (unsigned r = 0; r < ROWS; r++) {                                            \
                    const LOOSE(element) *row = (const void *)(host + x.row[r]);                 \
                                                                                                 \
                    EACH_IN_ROW                                                                  \
                    {                                                                            \
                        got[r * ROW + i] = (slot)row[i];                                         \
                    }                                                                            \
                }                                                                                \
            } else if (shape == SHAPE_SAME) {                                                    \
                for (unsigned r = 0; r < ROWS; r++) {                                            \
                    element v;                                                                   \
                                                                                                 \
                    memcpy(&v, host + x.row[r], sizeof(v));                                      \
                    EACH_IN_ROW                                                                  \
                    {                                                                            \
                        got[r * ROW + i] = (slot)v;                                              \
                    }                                                                            \
                }                                                                                \
            } else {                                                                             \
                if (shape == SHAPE_ROWS && !n)                                                   \
                    for (unsigned r = 0; r < ROWS; r++)                                          \
                        EACH_IN_ROW                                                              \
                        {                                                                        \
                            x.offset[r * ROW + i] = x.row[r] + i * bytes;                        \
                        }                                                                        \
                EACH_LANE                                                                        \
                {                                                                                \
                    element v;                                                                   \
                                                                                                 \
                    memcpy(&v, host + x.offset[i], sizeof(v));                                   \
                    got[i] = (slot)v;                                                            \
                }                                                                                \
            }                                                                                    \
            if (!full) {                                                                         \
                const uint32_t *m = __builtin_assume_aligned(w->lanes, 64);                      \
                EACH_LANE                                                                        \
                {                                                                                \
                    d[i] = m[i] ? got[i] : d[i];                                                 \
                }                                                                                \
            }                                                                                    \
        }                                                                                        \
        return in + 1;                                                                           \
    }                                                                                            \
    HANDLER(id, LOAD, space, element, slot)
#define STORE(id, space, element, slot)                                                       \
    RACY static __attribute__((noinline))                                                     \
    const struct insn *mem_odd_##id(struct warp *w, const struct insn *in)                    \
    {                                                                                         \
        const uint32_t bytes = (uint32_t)sizeof(element) * in->f;                             \
                                                                                              \
        for (uint32_t left = w->mask; left; left &= left - 1) {                               \
            unsigned i = (unsigned)__builtin_ctz(left);                                       \
            uint8_t *host =                                                                   \
                access_lane(w, in, space, address_of(w, in, i), i, bytes, bytes, true);       \
                                                                                              \
            if (!host)                                                                        \
                return NULL;                                                                  \
            for (unsigned n = 0; n < in->f; n++) {                                            \
                element v = (element)((const slot *)(const void *)SLOT(w, part(in, n)))[i];   \
                                                                                              \
                memcpy(host + n * sizeof(v), &v, sizeof(v));                                  \
            }                                                                                 \
        }                                                                                     \
        return in + 1;                                                                        \
    }                                                                                         \
    RACY static __attribute__((noinline))                                                     \
    const struct insn *any_##id(struct warp *w, const struct insn *in)                        \
    {                                                                                         \
        const uint32_t count = in->f, bytes = (uint32_t)sizeof(element) * count;              \
        const bool full = w->full;                                                            \
        struct access x;                                                                      \
        enum shape shape = prepare(w, full, in, space, bytes, true, &x);                      \
                                                                                              \
        if (shape == SHAPE_ODD)                                                               \
            return mem_odd_##id(w, in);                                                       \
        if (shape == SHAPE_ROWS && full && count == 4) {                                      \
            GIVE_VECTORS(4, element, slot)                                                    \
        }                                                                                     \
        if (shape == SHAPE_ROWS && full && count == 2) {                                      \
            GIVE_VECTORS(2, element, slot)                                                    \
        }                                                                                     \
        for (unsigned n = 0; n < count; n++) {                                                \
            const slot *d = __builtin_assume_aligned(SLOT(w, part(in, n)), 64);               \
            uint8_t *host = x.host + n * sizeof(element);                                     \
                                                                                              \
            if (shape == SHAPE_ROWS && count == 1 && full) {                                  \
                for (unsigned r = 0; r < ROWS; r++) {                                         \
                    LOOSE(element) *row = (void *)(host + x.row[r]);                          \
                                                                                              \
                    EACH_IN_ROW                                                               \
                    {                                                                         \
                        row[i] = (element)d[r * ROW + i];                                     \
                    }                                                                         \
                }                                                                             \
            } else if (shape == SHAPE_SCATTER && full) {                                      \
                for (unsigned i = 0; i < LANES; i++) {                                        \
                    element v = (element)d[i];                                                \
                                                                                              \
                    memcpy(host + x.offset[i], &v, sizeof(v));                                \
                }                                                                             \
            } else {                                                                          \
                const uint64_t step = shape == SHAPE_ROWS ? bytes : 0;                        \
                                                                                              \
                for (uint32_t left = w->mask; left; left &= left - 1) {                       \
                    unsigned i = (unsigned)__builtin_ctz(left);                               \
                    element v = (element)d[i];                                                \
                                                                                              \
                    memcpy(host + (shape == SHAPE_SCATTER ? x.offset[i]                       \
                                                          : x.row[i / ROW] + i % ROW * step), \
                           &v, sizeof(v));                                                    \
                }                                                                             \
            }                                                                                 \
        }                                                                                     \
        return in + 1;                                                                        \
    }                                                                                         \
    HANDLER(id, STORE, space, element, slot)
#define MEM(id, kind, space, element, slot) kind(id, space, element, slot)
#include "mem.def"

const ptx_handler PTX_MEM[MEM_COUNT] = {
#define MEM(id, kind, space, element, slot) [MEM_##id] = mem_##id,
#include "mem.def"
};
