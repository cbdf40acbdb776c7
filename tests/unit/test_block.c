/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <pthread.h>
#include <viaduct/errors.h>

#include "block.h"
#include "pool.h"

static struct block *must_get(struct block_pool *pool, size_t size)
{
    struct block *block = NULL;

    assert_int_equal(block_get(pool, size, &block), 0);
    assert_non_null(block);
    return block;
}

static void test_reuse(void **state)
{
    struct block_pool *pool = block_pool_create(NULL);
    struct block *a, *b, *none = NULL;
    uint8_t *bytes;

    (void)state;
    assert_non_null(pool);
    a = must_get(pool, 10000);
    assert_non_null(a);
    assert_true(a->room >= 10000);
    memset(a->bytes, 1, a->room);
    bytes = a->bytes;
    assert_ptr_equal(block_ref(a), a);
    b = a;
    block_unref(&b);
    assert_null(b);
    /* Still in use. */
    b = must_get(pool, 10000);
    assert_ptr_not_equal(a->bytes, b->bytes);
    block_unref(&a);
    a = must_get(pool, 9000);
    assert_ptr_equal(a->bytes, bytes);
    block_unref(&a);
    /* Larger ones grow. */
    a = must_get(pool, 100000);
    assert_true(a->room >= 100000);
    memset(a->bytes, 2, a->room);
    block_unref(&a);
    block_unref(&b);
    block_unref(&none);
    block_pool_destroy(pool);
    block_pool_destroy(NULL);
}

/* Blocks in use outlive the pool. */
static void test_outlive(void **state)
{
    struct block_pool *pool = block_pool_create(NULL);
    struct block *a = must_get(pool, 100), *b = must_get(pool, 200), *idle = must_get(pool, 5);

    (void)state;
    block_unref(&idle);
    block_pool_destroy(pool);
    memset(a->bytes, 1, 100);
    memset(b->bytes, 2, 200);
    block_unref(&b);
    memset(a->bytes, 3, 100);
    block_unref(&a);
}

/* More than are kept. */
static void test_many(void **state)
{
    struct block_pool *pool = block_pool_create(NULL);
    struct block *blocks[300];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT(blocks); i++) {
            blocks[i] = must_get(pool, 100 + i);
            assert_non_null(blocks[i]);
            memset(blocks[i]->bytes, (int)i, 100 + i);
        }
        for (size_t i = 0; i < COUNT(blocks); i++) {
            assert_int_equal(blocks[i]->bytes[99 + i], (uint8_t)i);
            block_unref(&blocks[i]);
        }
    }
    block_pool_destroy(pool);
}

/* Bitstreams on their way and those kept for reuse are the client's memory. */
static void test_limit(void **state)
{
    struct arena arena;
    struct pool *account;
    struct block_pool *pool;
    struct block *blocks[64], *more;
    size_t count = 0;
    int err = 0;

    (void)state;
    assert_int_equal(arena_create(&arena, 16 << 20), 0);
    assert_int_equal(pool_create(&arena, 16 << 20, &account), 0);
    pool = block_pool_create(account);
    while (count < COUNT(blocks) && !err) {
        err = block_get(pool, 1 << 20, &blocks[count]);
        if (!err)
            count++;
    }
    assert_int_equal(err, VD_ERR_LIMIT);
    assert_in_range(count, 8, 15);
    assert_true(pool_bytes(account) <= 16 << 20);
    while (count)
        block_unref(&blocks[--count]);
    /* They are kept, and make room for another size. */
    assert_true(pool_bytes(account) > 8 << 20);
    assert_int_equal(block_get(pool, 12 << 20, &more), 0);
    block_unref(&more);
    block_pool_trim(pool);
    assert_int_equal(pool_bytes(account), 0);
    more = must_get(pool, 100);
    block_pool_destroy(pool);
    assert_true(pool_bytes(account) > 0);
    block_unref(&more);
    assert_int_equal(pool_bytes(account), 0);
    pool_destroy(account);
    arena_finish(&arena);
}

static void *drop(void *arg)
{
    struct block **blocks = arg;

    for (int i = 0; i < 500; i++)
        block_unref(&blocks[i]);
    return NULL;
}

/* References dropped on two threads at once. */
static void test_threads(void **state)
{
    static struct block *mine[500], *theirs[500];
    struct block_pool *pool = block_pool_create(NULL);
    pthread_t thread;

    (void)state;
    for (int i = 0; i < 500; i++) {
        mine[i] = must_get(pool, 64);
        theirs[i] = block_ref(mine[i]);
    }
    assert_int_equal(pthread_create(&thread, NULL, drop, theirs), 0);
    block_pool_destroy(pool);
    drop(mine);
    pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reuse), cmocka_unit_test(test_outlive), cmocka_unit_test(test_many),
        cmocka_unit_test(test_limit), cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
