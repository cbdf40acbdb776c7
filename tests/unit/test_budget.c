/* SPDX-License-Identifier: MIT */
#include "check.h"

#include "budget.h"

#define SECOND UINT64_C(1000000000)

/* A client that takes as much as it can gets the rate, whatever its pictures' size. */
static void test_rate(void **state)
{
    static const struct {
        uint64_t rate, pixels;
    } cases[] = {{125000000, 1920 * 1080}, {1 << 16, 16 * 16}, {UINT64_C(1) << 40, 8192 * 8192}};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct budget budget;
        uint64_t now = 5 * SECOND, pictures = 0;

        budget_init(&budget, cases[i].rate, now);
        while (now < 25 * SECOND && pictures < 1000000) {
            now += budget_take(&budget, cases[i].pixels, now) + 1000;
            pictures++;
        }
        /* And the second that was saved up at the start. */
        assert_true(pictures * cases[i].pixels <= cases[i].rate * 21 + 2 * cases[i].pixels);
        if (pictures < 1000000)
            assert_true(pictures * cases[i].pixels >= cases[i].rate * 20);
    }
}

static void test_no_limit(void **state)
{
    struct budget budget;

    (void)state;
    budget_init(&budget, 0, 1);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(budget_take(&budget, UINT64_MAX, 1), 0);
}

/* Saved up is a second, however long nothing was wanted; time that goes back earns nothing. */
static void test_burst(void **state)
{
    struct budget budget;

    (void)state;
    budget_init(&budget, 1000, 0);
    assert_int_equal(budget_take(&budget, 1000, 1000 * SECOND), 0);
    assert_in_range(budget_take(&budget, 500, 1000 * SECOND), SECOND / 2 - 1000, SECOND / 2);
    assert_in_range(budget_take(&budget, 0, 999 * SECOND), SECOND / 2 - 1000, SECOND / 2);
    assert_int_equal(budget_take(&budget, 0, 1001 * SECOND), 0);
}

/* One picture of any size ends some time, and does not stop its client for good. */
static void test_huge(void **state)
{
    struct budget budget;
    uint64_t now = 0;

    (void)state;
    budget_init(&budget, 1 << 16, now);
    assert_int_equal(budget_take(&budget, UINT64_MAX, now), BUDGET_MAX_WAIT_NS);
    now += BUDGET_MAX_WAIT_NS + 2 * SECOND;
    assert_int_equal(budget_take(&budget, 0, now), 0);
    budget_init(&budget, UINT64_MAX, now);
    assert_int_equal(budget_take(&budget, 1 << 20, now), 0);
    assert_true(budget_take(&budget, UINT64_MAX, now) <= BUDGET_MAX_WAIT_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_no_limit),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_huge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
