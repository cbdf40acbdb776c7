/* SPDX-License-Identifier: MIT */
#include "fence.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>

/*
 * How long a waiter looks before it sleeps: about a microsecond, since longer only burns a core
 * that the decoder could use; but where sleep and wake-up turned out to cost more than the wait
 * itself, as long as those cost. Learned by all threads of the process together.
 */
#define FENCE_SPIN_LEAST_NS 1000
#define FENCE_SPIN_MOST_NS  50000
#define FENCE_QUICK_NS      100000

static uint32_t fence_spin_ns = FENCE_SPIN_LEAST_NS;

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void fence_wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void wake(uint32_t *word, uint32_t *waiters)
{
    /* Not a FUTEX_PRIVATE: the sleeper is in another process. */
    if (__atomic_load_n(waiters, __ATOMIC_SEQ_CST))
        fence_wake(word);
}

void fence_signal(uint32_t *word, uint32_t *waiters, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
    wake(word, waiters);
}

void fence_count(uint32_t *word, uint32_t *waiters)
{
    __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
    wake(word, waiters);
}

int fence_wait(uint32_t *word, uint32_t *waiters, uint32_t target, uint64_t timeout_ns,
               bool (*alive)(void *arg), void *arg)
{
    uint64_t start, waited = 0, spin;
    int err = 0;

    if (fence_passed(fence_load(word), target))
        return 0;
    start = now_ns();
    spin = timeout_ns ? __atomic_load_n(&fence_spin_ns, __ATOMIC_RELAXED) : 0;
    while (now_ns() - start < spin) {
        for (int i = 0; i < 16; i++) {
            if (fence_passed(fence_load(word), target))
                return 0;
            relax();
        }
        /* The producer may be waiting for this very core. */
        sched_yield();
    }
    if (!timeout_ns)
        return alive(arg) ? VD_ERR_TIMEOUT : VD_ERR_GONE;
    __atomic_add_fetch(waiters, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        uint32_t value = __atomic_load_n(word, __ATOMIC_SEQ_CST);
        uint64_t slice = FENCE_SLICE_MS * 1000000ull;
        struct timespec t;

        if (fence_passed(value, target))
            break;
        if (waited >= timeout_ns) {
            err = VD_ERR_TIMEOUT;
            break;
        }
        if (slice > timeout_ns - waited)
            slice = timeout_ns - waited;
        t.tv_sec = (time_t)(slice / 1000000000ull);
        t.tv_nsec = (long)(slice % 1000000000ull);
        syscall(SYS_futex, word, FUTEX_WAIT, value, &t, NULL, 0);
        waited = now_ns() - start;
        /* Look once more after the death: the last picture may have been finished before. */
        if (!fence_passed(fence_load(word), target) && !alive(arg) &&
            !fence_passed(fence_load(word), target)) {
            err = VD_ERR_GONE;
            break;
        }
    }
    __atomic_sub_fetch(waiters, 1, __ATOMIC_SEQ_CST);
    spin = waited < FENCE_QUICK_NS ? FENCE_SPIN_MOST_NS : FENCE_SPIN_LEAST_NS;
    __atomic_store_n(&fence_spin_ns, (uint32_t)spin, __ATOMIC_RELAXED);
    return err;
}
