/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <transport/fence.h>
#include <unistd.h>
#include <viaduct/errors.h>

struct page {
    uint32_t word, waiters, other, other_waiters;
};

static const uint64_t second = 1000000000ull;

static bool always(void *arg)
{
    (void)arg;
    return true;
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

/* Alive as often as *arg says; the last time it signals `word` behind it. */
struct dying {
    int left;
    uint32_t *last_word;
    uint32_t last_value;
};

static bool dying(void *arg)
{
    struct dying *d = arg;

    if (d->left-- > 0)
        return true;
    if (d->last_word)
        __atomic_store_n(d->last_word, d->last_value, __ATOMIC_SEQ_CST);
    return false;
}

static int setup(void **state)
{
    struct page *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(page != MAP_FAILED);
    *state = page;
    return 0;
}

static int teardown(void **state)
{
    munmap(*state, 4096);
    return 0;
}

static void test_passed(void **state)
{
    (void)state;
    assert_true(fence_passed(0, 0));
    assert_true(fence_passed(1, 0));
    assert_false(fence_passed(0, 1));
    assert_true(fence_passed(0, UINT32_MAX));
    assert_false(fence_passed(UINT32_MAX, 0));
    assert_true(fence_passed(5, UINT32_MAX - 5));
    assert_true(fence_passed(0x7fffffff, 0));
    assert_false(fence_passed(0x80000000u, 0));
}

static void test_at_once(void **state)
{
    struct page *p = *state;

    fence_signal(&p->word, &p->waiters, 7);
    assert_int_equal(fence_load(&p->word), 7);
    assert_int_equal(fence_wait(&p->word, &p->waiters, 7, 0, always, NULL), 0);
    assert_int_equal(fence_wait(&p->word, &p->waiters, 3, UINT64_MAX, never, NULL), 0);
    fence_signal(&p->word, &p->waiters, 1);
    assert_int_equal(fence_wait(&p->word, &p->waiters, UINT32_MAX, UINT64_MAX, never, NULL), 0);
    assert_int_equal(p->waiters, 0);
}

static void test_timeout(void **state)
{
    static const uint64_t timeouts[] = {0, 1, 1000000, 70000000};
    struct page *p = *state;

    for (size_t i = 0; i < COUNT(timeouts); i++) {
        double start = check_seconds(), took;

        assert_int_equal(fence_wait(&p->word, &p->waiters, 1, timeouts[i], always, NULL),
                         VD_ERR_TIMEOUT);
        took = check_seconds() - start;
        assert_true(took * 1e9 >= (double)timeouts[i]);
        assert_true(took < 5);
        assert_int_equal(p->waiters, 0);
    }
}

static void test_dead_producer(void **state)
{
    struct page *p = *state;
    struct dying soon = {.left = 2};
    double start = check_seconds();

    assert_int_equal(fence_wait(&p->word, &p->waiters, 1, 0, never, NULL), VD_ERR_GONE);
    assert_int_equal(fence_wait(&p->word, &p->waiters, 1, UINT64_MAX, never, NULL), VD_ERR_GONE);
    assert_int_equal(fence_wait(&p->word, &p->waiters, 1, UINT64_MAX, dying, &soon), VD_ERR_GONE);
    assert_true(check_seconds() - start < 10);
    assert_int_equal(p->waiters, 0);
}

/* What was finished before the death counts. */
static void test_last_words(void **state)
{
    struct page *p = *state;
    struct dying last = {.left = 1, .last_word = &p->word, .last_value = 1};

    assert_int_equal(fence_wait(&p->word, &p->waiters, 1, UINT64_MAX, dying, &last), 0);
    assert_int_equal(p->waiters, 0);
}

/* Another process wakes the sleeper, over the wrap, long before the slice ends. */
static void test_other_process(void **state)
{
    struct page *p = *state;
    int status;
    pid_t child;

    p->word = UINT32_MAX - 2;
    child = fork();
    assert_true(child >= 0);
    if (!child) {
        for (uint32_t i = 0; i < 6; i++) {
            int err = fence_wait(&p->other, &p->other_waiters, i + 1, 30 * second, always, NULL);

            if (err)
                _exit(1);
            fence_signal(&p->word, &p->waiters, UINT32_MAX - 2 + i + 1);
        }
        _exit(0);
    }
    for (uint32_t i = 0; i < 6; i++) {
        fence_signal(&p->other, &p->other_waiters, i + 1);
        assert_int_equal(
            fence_wait(&p->word, &p->waiters, UINT32_MAX - 2 + i + 1, 30 * second, always, NULL),
            0);
    }
    assert_int_equal(p->word, 3);
    assert_int_equal(p->waiters, 0);
    assert_int_equal(p->other_waiters, 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A signal wakes: many short rounds would take FENCE_SLICE_MS each otherwise. */
static void test_wakes(void **state)
{
    enum { ROUNDS = 200 };
    struct page *p = *state;
    double start = check_seconds();
    pid_t child = fork();

    assert_true(child >= 0);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        uint32_t *mine = child ? &p->word : &p->other;
        uint32_t *theirs = child ? &p->other : &p->word;
        uint32_t *mine_waiters = child ? &p->waiters : &p->other_waiters;
        uint32_t *their_waiters = child ? &p->other_waiters : &p->waiters;

        if (child)
            fence_signal(theirs, their_waiters, i);
        if (fence_wait(mine, mine_waiters, i, 30 * second, always, NULL)) {
            if (!child)
                _exit(1);
            fail();
        }
        if (!child) {
            usleep(100); /* the other side is asleep by now */
            fence_signal(theirs, their_waiters, i);
        }
    }
    if (!child)
        _exit(0);
    waitpid(child, NULL, 0);
    assert_true(check_seconds() - start < ROUNDS * FENCE_SLICE_MS / 1000.0 / 2);
}

static void *sleep_on(void *arg)
{
    struct page *p = arg;

    return fence_wait(&p->word, &p->waiters, 1, 30 * second, always, NULL) ? arg : NULL;
}

/* One signal wakes all, and at once: sleepers that only the slice woke would be late. */
static void test_several(void **state)
{
    struct page *p = *state;
    double took = 0;

    for (int round = 0; round < 20; round++) {
        pthread_t threads[4];
        double start;
        void *failed;

        p->word = 0;
        for (size_t i = 0; i < COUNT(threads); i++)
            assert_int_equal(pthread_create(&threads[i], NULL, sleep_on, p), 0);
        while (__atomic_load_n(&p->waiters, __ATOMIC_SEQ_CST) < COUNT(threads))
            usleep(100);
        usleep(1000);
        start = check_seconds();
        fence_signal(&p->word, &p->waiters, 1);
        for (size_t i = 0; i < COUNT(threads); i++) {
            pthread_join(threads[i], &failed);
            assert_null(failed);
        }
        took += check_seconds() - start;
        assert_int_equal(p->waiters, 0);
    }
    assert_true(took < 20 * FENCE_SLICE_MS / 1000.0 / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_passed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead_producer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_process, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wakes, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
