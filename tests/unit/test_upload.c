/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <transport/fence.h>
#include <viaduct/errors.h>

#include "upload.h"

static struct arena arena;
static struct upload upload;

static int setup(void **state)
{
    (void)state;
    if (arena_create(&arena, 1 << 20))
        return 1;
    upload_init(&upload, &arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    upload_finish(&upload);
    arena_finish(&arena);
    return 0;
}

static uint64_t get(uint64_t size)
{
    uint64_t offset = 0;

    assert_int_equal(upload_get(&upload, size, &offset), 0);
    assert_int_equal(offset % 64, 0);
    assert_in_range(offset, arena.upload_offset, arena.upload_offset + arena.upload_size - size);
    return offset;
}

static void test_reuse(void **state)
{
    uint64_t a = get(1000), b = get(1000), c;

    (void)state;
    assert_true(a + 1000 <= b || b + 1000 <= a);
    upload_give(&upload, a, 1000, 0, 0);
    c = get(1000);
    assert_int_equal(c, a);
    upload_give(&upload, b, 1000, 0, 0);
    upload_give(&upload, c, 1000, 0, 0);
    /* Never the same piece twice. */
    assert_int_not_equal(get(1000), get(1000));
}

/* A piece under way comes back once the host has copied it, also over the wrap. */
static void test_busy(void **state)
{
    static const uint32_t starts[] = {1, 0x7fffffff, UINT32_MAX - 1};

    (void)state;
    for (size_t i = 0; i < COUNT(starts); i++) {
        uint32_t n = starts[i];
        uint64_t a = get(5000), b = get(5000), c;

        arena.status->consumed = n - 1;
        upload_give(&upload, a, 5000, 1, n);
        upload_give(&upload, b, 5000, 1, n + 1);
        c = get(5000);
        assert_true(c != a && c != b);
        arena.status->consumed = n;
        assert_int_equal(get(5000), a);
        arena.status->consumed = n + 1;
        assert_int_equal(get(5000), b);
        upload_finish(&upload);
        upload_init(&upload, &arena);
    }
}

static void test_full(void **state)
{
    uint64_t offset, taken = 0, count = 0;

    (void)state;
    assert_int_equal(upload_get(&upload, arena.upload_size + 1, &offset), VD_ERR_MEMORY);
    assert_int_equal(upload_get(&upload, UINT64_MAX, &offset), VD_ERR_MEMORY);
    while (!upload_get(&upload, 20 << 20, &offset)) {
        taken += 20 << 20;
        count++;
        assert_true(offset + (20 << 20) <= arena.upload_offset + arena.upload_size);
    }
    /* Little is lost to classes. */
    assert_true(taken >= arena.upload_size / 4 * 3);
    upload_give(&upload, offset, 20 << 20, 0, 0);
    assert_int_equal(upload_get(&upload, 20 << 20, &offset), 0);
}

/* Large pieces that are free hold no memory. */
static void test_large_given_back(void **state)
{
    uint64_t a = get(16 << 20);

    (void)state;
    memset(arena.base + a, 0xaa, 16 << 20);
    upload_give(&upload, a, 16 << 20, 0, 0);
    assert_int_equal(arena.base[a], 0);
    assert_int_equal(arena.base[a + (16 << 20) - 1], 0);
    assert_int_equal(get(16 << 20), a);
}

/* Sizes at random: pieces in use never overlap. */
static void test_walk(void **state)
{
    struct {
        uint64_t offset, size;
        bool used;
    } held[64];
    uint64_t random = 1;
    uint32_t submission = 0;

    (void)state;
    memset(held, 0, sizeof(held));
    for (int step = 0; step < 50000; step++) {
        size_t i = check_random(&random) % COUNT(held);

        if (held[i].used) {
            bool busy = check_random(&random) % 2;

            upload_give(&upload, held[i].offset, held[i].size, busy, submission + busy);
            submission += busy;
            held[i].used = false;
            if (check_random(&random) % 4 == 0)
                arena.status->consumed = submission;
            continue;
        }
        held[i].size = 1 + check_random(&random) % (1u << check_random(&random) % 20);
        held[i].offset = get(held[i].size);
        held[i].used = true;
        for (size_t j = 0; j < COUNT(held); j++)
            assert_true(j == i || !held[j].used ||
                        held[i].offset >= held[j].offset + held[j].size ||
                        held[j].offset >= held[i].offset + held[i].size);
    }
    /* A steady state does not eat the zone. */
    assert_true(upload.next - arena.upload_offset < 256ull << 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reuse), TEST(test_busy), TEST(test_full), TEST(test_large_given_back),
        TEST(test_walk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
