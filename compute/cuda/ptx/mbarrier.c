/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "flow.h"

/*
 * Barriers in shared memory (PTX ISA, "mbarrier"). The object is a word of 64 bits whose form is
 * the implementation's: pending arrivals, those of the next phase, bytes that are still to come,
 * and the parity of the phase. Its state, as arrive gives it, is that word before the arrival. A
 * block's shared memory is one thread's: no atomics.
 */

#define COUNT_BITS  21
#define COUNT_MASK  ((1ull << COUNT_BITS) - 1)
#define MOST_COUNT  ((1u << 20) - 1)
#define PHASE       (1ull << 63)
#define PENDING(v)  ((uint32_t)((v)&COUNT_MASK))
#define EXPECTED(v) ((uint32_t)((v) >> COUNT_BITS & COUNT_MASK))

static int32_t bytes_left(uint64_t v)
{
    return (int32_t)((int64_t)(v << 1) >> (1 + 2 * COUNT_BITS));
}

static uint64_t word(bool phase, int32_t bytes, uint32_t expected, uint32_t pending)
{
    return (phase ? PHASE : 0) | ((uint64_t)(uint32_t)bytes & COUNT_MASK) << 2 * COUNT_BITS |
           (uint64_t)expected << COUNT_BITS | pending;
}

/* False: more arrived than were to. */
static bool advance(uint64_t *v, int32_t more_bytes, uint32_t arrived, uint32_t dropped)
{
    bool phase = *v & PHASE;
    uint32_t pending = PENDING(*v), expected = EXPECTED(*v);
    int32_t bytes = bytes_left(*v) + more_bytes;

    if (arrived > pending || dropped > expected || bytes > (int32_t)MOST_COUNT ||
        bytes < -(int32_t)MOST_COUNT)
        return false;
    pending -= arrived;
    expected -= dropped;
    if (!pending && !bytes) {
        phase = !phase;
        pending = expected;
    }
    *v = word(phase, bytes, expected, pending);
    return true;
}

static uint32_t value32(struct warp *w, uint32_t slot, unsigned lane)
{
    return ((const uint32_t *)(const void *)SLOT(w, slot))[lane];
}

static uint64_t value64(struct warp *w, uint32_t slot, unsigned lane)
{
    return ((const uint64_t *)(const void *)SLOT(w, slot))[lane];
}

HANDLER(mbarrier_run)
{
    enum mbarrier_op op = in->flags >> 16 & 15;
    enum ptx_space space = in->flags & MBARRIER_GENERIC ? SPACE_GENERIC : SPACE_SHARED;

    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned lane = (unsigned)__builtin_ctz(left);
        uint64_t address =
            (in->flags & F_ADDRESS32 ? value32(w, in->a, lane) : value64(w, in->a, lane)) +
            in->bits;
        uint32_t n = in->b == NO_SLOT || op == MBARRIER_TEST ? 1 : value32(w, in->b, lane);
        uint8_t *host = access_lane(w, in, space, address, lane, 8, 8, true);
        uint64_t v, before;
        bool fine = true, done;

        if (!host)
            return NULL;
        memcpy(&v, host, 8);
        before = v;
        switch (op) {
        case MBARRIER_INIT:
            fine = n && n <= MOST_COUNT;
            v = word(false, 0, n, n);
            break;
        case MBARRIER_INVAL:
            v = 0;
            break;
        case MBARRIER_EXPECT:
            fine = n <= MOST_COUNT && PENDING(v) && advance(&v, (int32_t)n, 0, 0);
            break;
        case MBARRIER_COMPLETE:
            fine = n <= MOST_COUNT && advance(&v, -(int32_t)n, 0, 0);
            break;
        case MBARRIER_ARRIVE:
            fine = n && advance(&v, 0, n, 0);
            break;
        case MBARRIER_ARRIVE_EXPECT:
            fine = n <= MOST_COUNT && PENDING(v) && advance(&v, (int32_t)n, 1, 0);
            break;
        case MBARRIER_DROP:
            fine = n && advance(&v, 0, n, n);
            break;
        case MBARRIER_TEST:
        case MBARRIER_PARITY:
            done = op == MBARRIER_TEST ? !(value64(w, in->b, lane) & PHASE) != !(v & PHASE)
                                       : !(n & 1) != !(v & PHASE);
            ((uint32_t *)(void *)SLOT(w, in->d))[lane] = done ? ALL_LANES : 0;
            continue;
        }
        if (!fine)
            return warp_fault(w, in, PTX_FAULT_INSTRUCTION, lane, address);
        memcpy(host, &v, 8);
        if (in->d != NO_SLOT)
            ((uint64_t *)(void *)SLOT(w, in->d))[lane] = before;
    }
    return in + 1;
}

HANDLER(mbarrier_pending)
{
    for (unsigned i = 0; i < LANES; i++)
        if (w->mask >> i & 1)
            ((uint32_t *)(void *)SLOT(w, in->d))[i] = PENDING(value64(w, in->a, i));
    return in + 1;
}
