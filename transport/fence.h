/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_FENCE_H
#define TRANSPORT_FENCE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Fences: 32-bit sequence numbers in shared memory. The producer stores with release order and
 * wakes sleepers; a waiter looks, spins briefly, then sleeps on the futex in short slices and
 * asks between them whether the other side is still there. Numbers wrap: a fence has passed
 * `target` when value - target, as a signed number, is not negative.
 */

static inline uint32_t fence_load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline bool fence_passed(uint32_t value, uint32_t target)
{
    return (int32_t)(value - target) >= 0;
}

/* Producer: publishes `value`; wakes only if `waiters` says that somebody sleeps. */
void fence_signal(uint32_t *word, uint32_t *waiters, uint32_t value);
/* The same for a fence of several producers: the next number, none is lost. */
void fence_count(uint32_t *word, uint32_t *waiters);
/*
 * Wakes who sleeps on the word in this process, which somebody elsewhere has changed already: a
 * producer under another kernel.
 */
void fence_wake(uint32_t *word);
/*
 * Waits until the fence has passed `target`. `alive` is asked every FENCE_SLICE_MS and must not
 * block. 0, -VD_ERR_TIMEOUT, or -VD_ERR_GONE if the producer died first. timeout_ns
 * UINT64_MAX: no limit but the producer's life.
 */
int fence_wait(uint32_t *word, uint32_t *waiters, uint32_t target, uint64_t timeout_ns,
               bool (*alive)(void *arg), void *arg);

#define FENCE_SLICE_MS 50

#endif
