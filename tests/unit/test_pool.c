/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <pthread.h>
#include <transport/fence.h>
#include <va/va.h>
#include <viaduct/errors.h>

#include "pool.h"

#define ZONE (16ull << 20)

static struct arena arena;
static struct pool *pool;

static int setup_bytes(uint64_t bytes, uint64_t most)
{
    assert_int_equal(arena_create(&arena, bytes), 0);
    assert_int_equal(pool_create(&arena, most, &pool), 0);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_bytes(ZONE, ZONE);
}

static int teardown(void **state)
{
    (void)state;
    pool_destroy(pool);
    arena_finish(&arena);
    return 0;
}

static struct surface *make(uint32_t id, uint32_t width, uint32_t height)
{
    struct surface *surface;

    assert_int_equal(surface_create(pool, id, format_find(VA_FOURCC_I420), width, height, &surface),
                     0);
    return surface;
}

/* A surface whose frame has just this size: I420 needs 64-byte pitches and 2 more rows. */
static struct surface *make_bytes(uint32_t id, uint64_t bytes)
{
    struct surface *surface = make(id, 16, 16);

    surface->layout.size = bytes;
    return surface;
}

static struct backing *get(struct surface *surface)
{
    struct backing *backing;

    assert_int_equal(pool_get(surface, &backing), 0);
    assert_int_equal(backing->refs, 1);
    assert_true(backing->size >= surface->layout.size);
    assert_in_range(backing->offset, arena.frame_offset,
                    arena.frame_offset + arena.frame_size - backing->size);
    assert_ptr_equal(backing->bytes, arena.base + backing->offset);
    assert_int_equal(backing->offset % 4096, 0);
    assert_int_equal(arena.status->backings[backing->index].offset, backing->offset);
    return backing;
}

static void test_recycle(void **state)
{
    struct surface *s = make(1, 320, 240), *same = make(2, 320, 240), *other = make(3, 640, 480);
    struct backing *a = get(s), *b = get(s), *first = a;

    (void)state;
    assert_ptr_not_equal(a, b);
    assert_true(a->offset + a->size <= b->offset || b->offset + b->size <= a->offset);
    pool_ref(a);
    pool_unref(&a);
    assert_null(a);
    a = get(s);
    assert_ptr_not_equal(a, first);
    pool_unref(&first);
    first = get(same);
    assert_true(pool_bytes(pool) == 3 * s->layout.size);
    pool_unref(&first);
    /* Another size takes no such piece. */
    first = get(other);
    assert_true(pool_bytes(pool) == 3 * s->layout.size + other->layout.size);
    pool_unref(&first);
    pool_unref(&a);
    pool_unref(&b);
    surface_unref(&s);
    assert_null(s);
    surface_unref(&s);
    surface_unref(&same);
    surface_unref(&other);
}

static void test_pins(void **state)
{
    struct surface *s = make(1, 320, 240);
    struct backing *a = get(s), *b;
    uint32_t index = a->index;

    (void)state;
    arena.status->backings[index].pins = 1;
    a->bytes[7] = 77;
    pool_unref(&a);
    b = get(s);
    assert_int_not_equal(b->index, index);
    pool_trim(pool);
    assert_int_equal(arena.base[arena.status->backings[index].offset + 7], 77);
    assert_int_equal(pool_bytes(pool), 2 * s->layout.size);
    arena.status->backings[index].pins = 0;
    a = get(s);
    assert_int_equal(a->index, index);
    pool_unref(&a);
    pool_unref(&b);
    surface_unref(&s);
}

static void test_limit(void **state)
{
    struct surface *s = make_bytes(1, 1 << 20), *large = make_bytes(2, 3 << 20);
    struct backing *a, *b, *c = NULL;

    (void)state;
    pool_destroy(pool);
    assert_int_equal(pool_create(&arena, 3 << 20, &pool), 0);
    s->pool = large->pool = pool;
    a = get(s);
    b = get(s);
    assert_int_equal(pool_get(large, &c), VD_ERR_LIMIT);
    assert_int_equal(pool_bytes(pool), 2 << 20);
    /* Pinned memory counts although nobody refers to it. */
    arena.status->backings[a->index].pins = 1;
    pool_unref(&a);
    pool_unref(&b);
    assert_int_equal(pool_get(large, &c), VD_ERR_LIMIT);
    memset(arena.status->backings, 0, sizeof(arena.status->backings[0]) * 8);
    /* Idle memory of the wrong size makes room. */
    c = get(large);
    assert_int_equal(pool_bytes(pool), 3 << 20);
    assert_int_equal(pool_get(s, &a), VD_ERR_LIMIT);
    pool_unref(&c);
    a = get(s);
    pool_unref(&a);
    surface_unref(&s);
    surface_unref(&large);
}

/* Idle memory makes room too where the limit is not reached but no gap is large enough. */
static void test_fragmented(void **state)
{
    struct surface *s = make_bytes(1, 3 << 20), *other = make_bytes(2, 2 << 20);
    struct backing *a = get(s), *b = get(s), *c = get(s), *d = get(s), *e;

    (void)state;
    /* Four pieces on huge pages leave gaps of 1 MiB: 4 MiB, none of them whole. */
    assert_int_equal(pool_bytes(pool), 12 << 20);
    pool_unref(&a);
    pool_unref(&b);
    pool_unref(&c);
    pool_unref(&d);
    e = get(other);
    pool_unref(&e);
    surface_unref(&s);
    surface_unref(&other);
}

/* Memory beside frames is the client's, too. */
static void test_alloc(void **state)
{
    struct surface *s = make_bytes(1, 4 << 20);
    struct backing *a = get(s), *b = get(s), *c;
    void *one, *two = NULL;

    (void)state;
    assert_int_equal(pool_alloc(pool, 4 << 20, &one), 0);
    memset(one, 1, 4 << 20);
    assert_int_equal((uintptr_t)one % ACCOUNT_ALIGN, 0);
    assert_in_range(pool_bytes(pool), 12 << 20, (12 << 20) + 4096);
    /* Neither frames nor memory beside them get more than is left of the 16 MiB. */
    assert_int_equal(pool_get(s, &c), VD_ERR_LIMIT);
    assert_int_equal(pool_alloc(pool, 4 << 20, &two), VD_ERR_LIMIT);
    assert_null(two);
    assert_int_equal(pool_take(pool, 4 << 20), VD_ERR_LIMIT);
    /* Overflows are no way around. */
    assert_int_equal(pool_take(pool, UINT64_MAX), VD_ERR_LIMIT);
    assert_true(pool_alloc(pool, SIZE_MAX - 10, &two));
    /* A frame that nobody uses makes room. */
    pool_unref(&a);
    assert_int_equal(pool_alloc(pool, 4 << 20, &two), 0);
    pool_free(two);
    pool_unref(&b);
    assert_int_equal(pool_take(pool, 10 << 20), 0);
    assert_int_equal(pool_get(s, &c), VD_ERR_LIMIT);
    pool_give(pool, 10 << 20);
    pool_free(one);
    pool_free(NULL);
    pool_trim(pool);
    assert_int_equal(pool_bytes(pool), 0);
    /* Nobody's. */
    assert_int_equal(pool_alloc(NULL, 64 << 20, &one), 0);
    assert_int_equal(pool_bytes(pool), 0);
    pool_free(one);
    surface_unref(&s);
}

static void test_trim(void **state)
{
    struct surface *s = make(1, 320, 240);
    struct backing *a = get(s), *b = get(s);
    uint8_t *bytes = a->bytes;

    (void)state;
    memset(a->bytes, 0xab, a->size);
    memset(b->bytes, 0xcd, b->size);
    assert_int_equal(pool_alloc(pool, 10, &a->side), 0);
    a->side_size = 10;
    pool_unref(&a);
    assert_int_equal(bytes[0], 0xab);
    pool_trim(pool);
    assert_int_equal(pool_bytes(pool), b->size);
    for (uint64_t i = 0; i < s->layout.size; i += 512)
        assert_int_equal(bytes[i], 0);
    assert_int_equal(b->bytes[0], 0xcd);
    assert_int_equal(b->bytes[b->size - 1], 0xcd);
    a = get(s);
    assert_null(a->side);
    assert_int_equal(a->side_size, 0);
    pool_unref(&a);
    pool_unref(&b);
    pool_trim(pool);
    assert_int_equal(pool_bytes(pool), 0);
    surface_unref(&s);
}

/* A random walk never overlaps, and whatever it did, the zone is one piece again at the end. */
static void test_coalesce(void **state)
{
    struct surface *all = make_bytes(9, ZONE), *sizes[6];
    struct backing *held[40] = {NULL}, *b;
    uint64_t random = 5;

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++)
        sizes[i] = make_bytes((uint32_t)i, 4096ull << (2 * i));
    for (int step = 0; step < 20000; step++) {
        size_t at = check_random(&random) % COUNT(held);
        struct surface *s = sizes[check_random(&random) % COUNT(sizes)];
        uint64_t bytes = 0;

        if (held[at])
            pool_unref(&held[at]);
        else if (pool_get(s, &held[at]))
            held[at] = NULL;
        if (check_random(&random) % 4 == 0)
            pool_trim(pool);
        if (step % 100)
            continue;
        for (size_t i = 0; i < COUNT(held); i++) {
            bytes += held[i] ? held[i]->size : 0;
            for (size_t j = 0; j < i && held[i]; j++)
                assert_true(!held[j] || held[i]->offset >= held[j]->offset + held[j]->size ||
                            held[j]->offset >= held[i]->offset + held[i]->size);
        }
        assert_in_range(pool_bytes(pool), bytes, ZONE);
        pool_trim(pool);
        assert_int_equal(pool_bytes(pool), bytes);
    }
    for (size_t i = 0; i < COUNT(held); i++)
        pool_unref(&held[i]);
    for (size_t i = 0; i < COUNT(sizes); i++)
        surface_unref(&sizes[i]);
    pool_trim(pool);
    assert_int_equal(pool_bytes(pool), 0);
    b = get(all);
    pool_unref(&b);
    surface_unref(&all);
}

static int setup_many(void **state)
{
    (void)state;
    return setup_bytes((VD_MAX_BACKINGS + 16) * 4096ull, UINT64_MAX);
}

static void test_most_backings(void **state)
{
    struct backing **held = calloc(VD_MAX_BACKINGS, sizeof(*held)), *more;
    struct surface *s = make_bytes(1, 4096);

    (void)state;
    assert_non_null(held);
    for (int i = 0; i < VD_MAX_BACKINGS; i++)
        assert_int_equal(pool_get(s, &held[i]), 0);
    assert_int_equal(pool_get(s, &more), VD_ERR_LIMIT);
    for (int i = 0; i < VD_MAX_BACKINGS; i++)
        pool_unref(&held[i]);
    free(held);
    surface_unref(&s);
}

static void test_slot_reset(void **state)
{
    struct vd_surface_slot *slot = &arena.status->surfaces[5];
    struct surface *s;

    (void)state;
    memset(slot, 0x5a, sizeof(*slot));
    s = make(0x30000005, 100, 50);
    assert_int_equal(slot->done, 0);
    assert_int_equal(slot->status, 0);
    assert_int_equal(slot->errors, 0);
    assert_int_equal(slot->backing, VD_NO_BACKING);
    assert_null(surface_current(s));
    surface_unref(&s);
    assert_int_equal(surface_create(pool, 1, format_find(VA_FOURCC_NV12), 0, 5, &s),
                     VD_ERR_RESOLUTION);
    assert_int_equal(
        surface_create(pool, 1, format_find(VA_FOURCC_NV12), 5, VD_MAX_SURFACE_SIZE + 1, &s),
        VD_ERR_RESOLUTION);
}

static void test_back(void **state)
{
    struct surface *s = make(1, 320, 240), *t = make(2, 320, 240);
    struct backing *b = get(s), *current;
    uint32_t index = 99, again = 98;

    (void)state;
    memset(b->bytes, 0xee, b->size);
    pool_unref(&b);
    assert_int_equal(surface_back(s, &index), 0);
    assert_int_equal(arena.status->surfaces[1].backing, index);
    assert_int_equal(arena.status->surfaces[1].done, 0);
    current = surface_current(s);
    assert_int_equal(current->index, index);
    /* No older picture shows through. */
    for (uint64_t i = 0; i < current->size; i += 512)
        assert_int_equal(current->bytes[i], 0);
    current->bytes[3] = 33;
    assert_int_equal(surface_back(s, &again), 0);
    assert_int_equal(again, index);
    assert_int_equal(current->bytes[3], 33);
    assert_int_equal(surface_back(t, &again), 0);
    assert_int_not_equal(again, index);
    pool_unref(&current);
    surface_unref(&s);
    surface_unref(&t);
    pool_trim(pool);
    assert_int_equal(pool_bytes(pool), 0);
}

static void test_complete(void **state)
{
    struct vd_surface_slot *slot = &arena.status->surfaces[4];
    struct surface *s = make(0x30000004, 320, 240);
    struct backing *a = get(s), *b = get(s), *current;

    (void)state;
    surface_complete(s, 1, a, 0, 0);
    assert_int_equal(slot->done, 1);
    assert_int_equal(slot->status, 0);
    assert_int_equal(slot->backing, a->index);
    assert_int_equal(a->refs, 2);
    surface_complete(s, 2, b, VD_ERR_DECODE, 17);
    assert_int_equal(slot->done, 2);
    assert_int_equal(slot->status, -VD_ERR_DECODE);
    assert_int_equal(slot->errors, 17);
    assert_int_equal(slot->backing, b->index);
    assert_int_equal(a->refs, 1);
    /* A lost picture leaves the memory where it was. */
    surface_complete(s, 3, NULL, VD_ERR_PARAMETER, 0);
    assert_int_equal(slot->done, 3);
    assert_int_equal(slot->status, -VD_ERR_PARAMETER);
    assert_int_equal(slot->backing, b->index);
    surface_complete(s, 4, b, 0, 0);
    assert_int_equal(b->refs, 2);
    current = surface_current(s);
    assert_ptr_equal(current, b);
    pool_unref(&current);
    pool_unref(&a);
    pool_unref(&b);
    surface_unref(&s);
    pool_trim(pool);
    assert_int_equal(pool_bytes(pool), 0);
}

/* The slot may be another surface's by the time. */
static void test_retired(void **state)
{
    struct vd_surface_slot *slot = &arena.status->surfaces[4], before;
    struct surface *old = make(0x30000004, 320, 240), *now;
    struct backing *a = get(old);
    uint32_t index;

    (void)state;
    surface_retire(old);
    now = make(0x30100004, 64, 64);
    before = *slot;
    surface_complete(old, 5, a, VD_ERR_DECODE, 3);
    assert_memory_equal(slot, &before, sizeof(before));
    assert_int_equal(surface_back(old, &index), 0);
    assert_memory_equal(slot, &before, sizeof(before));
    pool_unref(&a);
    surface_unref(&old);
    surface_unref(&now);
    pool_trim(pool);
    assert_int_equal(pool_bytes(pool), 0);
}

/* What belongs to a picture is there when its number is. */
enum { ORDER_ROUNDS = 5000 };
static uint32_t order_ack;

static void *order_writer(void *arg)
{
    struct surface *s = arg;
    struct backing *b[2] = {NULL, NULL};

    if (pool_get(s, &b[0]) || pool_get(s, &b[1]))
        return NULL;
    for (uint32_t i = 1; i <= ORDER_ROUNDS; i++) {
        surface_complete(s, i, b[i % 2], -(int)(i % 7), i * 3);
        while (fence_load(&order_ack) != i)
            ;
    }
    pool_unref(&b[0]);
    pool_unref(&b[1]);
    return NULL;
}

static bool order_alive(void *arg)
{
    (void)arg;
    return true;
}

static void test_order(void **state)
{
    struct vd_surface_slot *slot = &arena.status->surfaces[1];
    struct surface *s = make(1, 64, 64);
    uint32_t last = VD_NO_BACKING;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, order_writer, s), 0);
    for (uint32_t i = 1; i <= ORDER_ROUNDS; i++) {
        assert_int_equal(
            fence_wait(&slot->done, &slot->waiters, i, 20000000000ull, order_alive, NULL), 0);
        assert_int_equal(slot->done, i);
        assert_int_equal(slot->status, i % 7);
        assert_int_equal(slot->errors, i * 3);
        assert_int_not_equal(slot->backing, last);
        last = slot->backing;
        __atomic_store_n(&order_ack, i, __ATOMIC_RELEASE);
    }
    pthread_join(thread, NULL);
    surface_unref(&s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_recycle),
        TEST(test_pins),
        TEST(test_limit),
        TEST(test_fragmented),
        TEST(test_alloc),
        TEST(test_alloc),
        TEST(test_trim),
        TEST(test_coalesce),
        TEST(test_slot_reset),
        TEST(test_back),
        TEST(test_complete),
        TEST(test_retired),
        TEST(test_order),
        cmocka_unit_test_setup_teardown(test_most_backings, setup_many, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
