/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "alu.h"
#include "view.h"

/*
 * Loads and stores, 32 lanes each. Mostly all lanes are in one allocation: it is looked up once,
 * and one loop over the offsets says whether all are inside, aligned, and next to each other.
 * Compiled once for each instruction set, as PTX_MEM.
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
#define RACY __attribute__((no_sanitize("thread")))

struct access {
    uint64_t offset[LANES]; /* into the window, those of lanes that are masked: as the first's */
    struct window window;
    bool contiguous, uniform;
};

static inline __attribute__((always_inline)) void addresses(struct warp *w, const struct insn *in,
                                                            uint64_t *ret)
{
    if (in->flags & F_ADDRESS32) {
        const uint32_t *a = __builtin_assume_aligned(SLOT(w, in->a), 64);

        EACH_LANE
        {
            ret[i] = (uint64_t)a[i] + in->bits;
        }
    } else {
        const uint64_t *a = __builtin_assume_aligned(SLOT(w, in->a), 64);

        EACH_LANE
        {
            ret[i] = a[i] + in->bits;
        }
    }
}

/* The elements of a vector: in->d, b, c, e. */
static inline __attribute__((always_inline)) uint32_t part(const struct insn *in, unsigned n)
{
    return n == 0 ? in->d : n == 1 ? in->b : n == 2 ? in->c : in->e;
}

/* Whether the whole access is plain: one window, inside, aligned. */
static inline __attribute__((always_inline)) bool prepare(struct warp *w, const struct insn *in,
                                                          enum ptx_space space, uint32_t element,
                                                          uint32_t bytes, bool write,
                                                          struct access *x)
{
    unsigned first = (unsigned)__builtin_ctz(w->mask);
    uint64_t bad = 0, line = 0, same = 0, start, last;

    if (!view_find(w, in, space, x->offset[first], &x->window) || (write && x->window.constant) ||
        x->window.size < bytes)
        return false;
    start = x->offset[first];
    if (!w->full) {
        const uint32_t *m = w->lanes;

        EACH_LANE
        {
            x->offset[i] = m[i] ? x->offset[i] : start;
        }
    }
    start = x->window.address;
    last = x->window.size - bytes;
    EACH_LANE
    {
        uint64_t offset = x->offset[i] - start;

        bad |= offset > last ? 1 : 0;
        bad |= x->offset[i] & (bytes - 1);
        x->offset[i] = offset;
    }
    if (bad)
        return false;
    start = x->offset[0];
    EACH_LANE
    {
        same |= x->offset[i] ^ start;
        line |= x->offset[i] ^ (start + (uint64_t)i * element);
    }
    x->uniform = !same && !x->window.lane_stride;
    x->contiguous = !line && w->full && !x->window.lane_stride && element == bytes;
    return true;
}

#define GATHER(element, slot)                                   \
    EACH_LANE                                                   \
    {                                                           \
        element v;                                              \
                                                                \
        memcpy(&v, host + x.offset[i] + i * stride, sizeof(v)); \
        got[i] = (slot)v;                                       \
    }
#define LOAD(id, space, element, slot)                                                           \
    RACY static const struct insn *mem_##id(struct warp *w, const struct insn *in)               \
    {                                                                                            \
        const uint32_t count = in->f;                                                            \
        struct access x;                                                                         \
                                                                                                 \
        addresses(w, in, x.offset);                                                              \
        if (!prepare(w, in, space, sizeof(element), (uint32_t)sizeof(element) * count, false,    \
                     &x)) {                                                                      \
            addresses(w, in, x.offset);                                                          \
            for (unsigned i = 0; i < LANES; i++) {                                               \
                uint8_t *host;                                                                   \
                                                                                                 \
                if (!(w->mask >> i & 1))                                                         \
                    continue;                                                                    \
                host =                                                                           \
                    access_lane(w, in, space, x.offset[i], i, (uint32_t)sizeof(element) * count, \
                                (uint32_t)sizeof(element) * count, false);                       \
                if (!host)                                                                       \
                    return NULL;                                                                 \
                for (unsigned n = 0; n < count; n++) {                                           \
                    element v;                                                                   \
                                                                                                 \
                    memcpy(&v, host + n * sizeof(v), sizeof(v));                                 \
                    ((slot *)(void *)SLOT(w, part(in, n)))[i] = (slot)v;                         \
                }                                                                                \
            }                                                                                    \
            return in + 1;                                                                       \
        }                                                                                        \
        for (unsigned n = 0; n < count; n++) {                                                   \
            const uint8_t *host = x.window.host + n * sizeof(element);                           \
            slot *d = __builtin_assume_aligned(SLOT(w, part(in, n)), 64);                        \
            const uint64_t stride = x.window.lane_stride;                                        \
            slot got[LANES] __attribute__((aligned(64)));                                        \
                                                                                                 \
            if (x.contiguous && w->full) {                                                       \
                element line[LANES];                                                             \
                                                                                                 \
                memcpy(line, host + x.offset[0], sizeof(line));                                  \
                EACH_LANE                                                                        \
                {                                                                                \
                    d[i] = (slot)line[i];                                                        \
                }                                                                                \
                continue;                                                                        \
            }                                                                                    \
            if (x.uniform) {                                                                     \
                element v;                                                                       \
                                                                                                 \
                memcpy(&v, host + x.offset[0], sizeof(v));                                       \
                EACH_LANE                                                                        \
                {                                                                                \
                    got[i] = (slot)v;                                                            \
                }                                                                                \
            } else {                                                                             \
                GATHER(element, slot)                                                            \
            }                                                                                    \
            if (w->full) {                                                                       \
                memcpy(d, got, sizeof(got));                                                     \
            } else {                                                                             \
                const uint32_t *m = w->lanes;                                                    \
                                                                                                 \
                EACH_LANE                                                                        \
                {                                                                                \
                    d[i] = m[i] ? got[i] : d[i];                                                 \
                }                                                                                \
            }                                                                                    \
        }                                                                                        \
        return in + 1;                                                                           \
    }
#define STORE(id, space, element, slot)                                                          \
    RACY static const struct insn *mem_##id(struct warp *w, const struct insn *in)               \
    {                                                                                            \
        const uint32_t count = in->f;                                                            \
        struct access x;                                                                         \
        bool plain;                                                                              \
                                                                                                 \
        addresses(w, in, x.offset);                                                              \
        plain =                                                                                  \
            prepare(w, in, space, sizeof(element), (uint32_t)sizeof(element) * count, true, &x); \
        if (plain && x.contiguous) {                                                             \
            const slot *d = __builtin_assume_aligned(SLOT(w, in->d), 64);                        \
            element line[LANES];                                                                 \
                                                                                                 \
            EACH_LANE                                                                            \
            {                                                                                    \
                line[i] = (element)d[i];                                                         \
            }                                                                                    \
            memcpy(x.window.host + x.offset[0], line, sizeof(line));                             \
            return in + 1;                                                                       \
        }                                                                                        \
        if (!plain)                                                                              \
            addresses(w, in, x.offset);                                                          \
        for (uint32_t left = w->mask; left; left &= left - 1) {                                  \
            unsigned i = (unsigned)__builtin_ctz(left);                                          \
            uint8_t *host = plain ? x.window.host + x.offset[i] + i * x.window.lane_stride       \
                                  : access_lane(w, in, space, x.offset[i], i,                    \
                                                (uint32_t)sizeof(element) * count,               \
                                                (uint32_t)sizeof(element) * count, true);        \
                                                                                                 \
            if (!host)                                                                           \
                return NULL;                                                                     \
            for (unsigned n = 0; n < count; n++) {                                               \
                element v = (element)((const slot *)(const void *)SLOT(w, part(in, n)))[i];      \
                                                                                                 \
                memcpy(host + n * sizeof(v), &v, sizeof(v));                                     \
            }                                                                                    \
        }                                                                                        \
        return in + 1;                                                                           \
    }
#define MEM(id, kind, space, element, slot) kind(id, space, element, slot)
#include "mem.def"

const ptx_handler PTX_MEM[MEM_COUNT] = {
#define MEM(id, kind, space, element, slot) [MEM_##id] = mem_##id,
#include "mem.def"
};
