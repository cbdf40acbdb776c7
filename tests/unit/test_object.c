/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <viaduct/protocol.h>

#include "object.h"

struct thing {
    struct object object;
    int value;
};

static struct object_table table;
static int finished, owner;

static void finish(void *arg, struct object *object)
{
    assert_ptr_equal(arg, &owner);
    finished++;
    ((struct thing *)object)->value = -1;
}

static int setup(void **state)
{
    (void)state;
    finished = 0;
    object_table_init(&table, OBJECT_SURFACE, sizeof(struct thing), 100, finish, &owner);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    object_table_finish(&table);
    return 0;
}

static void test_life(void **state)
{
    struct thing *a = object_create(&table), *b = object_create(&table);
    uint32_t id = a->object.id;

    (void)state;
    assert_int_equal(id >> 28, OBJECT_SURFACE);
    assert_int_not_equal(a->object.id, b->object.id);
    assert_ptr_equal(object_find(&table, id), a);
    assert_ptr_equal(object_find(&table, b->object.id), b);
    assert_int_equal(a->value, 0);
    a->value = 5;
    object_ref(a);
    object_remove(&table, a);
    assert_null(object_find(&table, id));
    assert_int_equal(finished, 0);
    assert_int_equal(a->value, 5);
    object_unref(&table, a);
    assert_int_equal(finished, 1);
    object_unref(&table, NULL);
    /* The memory and the slot again, under another name, and zeroed. */
    a = object_create(&table);
    assert_int_equal(a->value, 0);
    assert_int_not_equal(a->object.id, id);
    assert_int_equal(VD_SLOT(a->object.id), VD_SLOT(id));
    assert_null(object_find(&table, id));
    object_table_finish(&table);
    assert_int_equal(finished, 3);
    setup(state);
}

static void test_foreign(void **state)
{
    struct thing *a = object_create(&table);
    uint32_t id = a->object.id;

    (void)state;
    for (uint32_t bit = 0; bit < 32; bit++)
        assert_null(object_find(&table, id ^ 1u << bit));
    assert_null(object_find(&table, 0));
    assert_null(object_find(&table, UINT32_MAX));
    assert_null(object_find(&table, VD_SLOT(id)));
    assert_ptr_equal(object_at(&table, VD_SLOT(id)), a);
    assert_null(object_at(&table, table.used));
    assert_null(object_at(&table, UINT32_MAX));
}

static void test_limit(void **state)
{
    struct thing *all[100];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            all[i] = object_create(&table);
            assert_non_null(all[i]);
            all[i]->value = i;
        }
        assert_null(object_create(&table));
        for (int i = 0; i < 100; i++) {
            assert_ptr_equal(object_find(&table, all[i]->object.id), all[i]);
            assert_int_equal(all[i]->value, i);
        }
        for (int i = 0; i < 100; i++)
            object_remove(&table, all[(i * 37) % 100]);
    }
    assert_int_equal(finished, 300);
}

/* Generations wrap; an id only comes back after all the others of its slot. */
static void test_generations(void **state)
{
    struct thing *a = object_create(&table);
    uint32_t id = a->object.id;

    (void)state;
    for (int i = 0; i < 255; i++) {
        object_remove(&table, a);
        assert_null(object_find(&table, id));
        a = object_create(&table);
        assert_int_not_equal(a->object.id, id);
        assert_int_equal(a->object.id >> 28, OBJECT_SURFACE);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_life),
        TEST(test_foreign),
        TEST(test_limit),
        TEST(test_generations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
