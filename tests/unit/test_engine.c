/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <stdio.h>
#include <viaduct/errors.h>

#include "engine.h"

/* What --backend means. No test needs a device: what is there may answer, too. */

static const struct backend_options options;
static struct backend_set set;

static bool built(const char *name)
{
    for (size_t i = 0; backend_at(i); i++) {
        if (!strcmp(backend_at(i)->name, name))
            return true;
    }
    return false;
}

static void test_one(void **state)
{
    (void)state;
    assert_int_equal(engine_select("null", &options, &set), 0);
    assert_int_equal(set.count, 1);
    assert_ptr_equal(set.at[0].backend, &backend_null);
    assert_string_equal(set.at[0].name, "null");
    assert_string_equal(set.at[0].device, "");
    assert_string_equal(set.name, "null");
}

static void test_unknown(void **state)
{
    static const char *const unknown[] = {
        "nul",
        "nulll",
        "bogus",
        "null:x",
        ",",
        "null,",
        "null,,avcodec",
        ":",
        "Null",
        "avcodec:a-name-that-is-longer-than-any-device-has-ever-had-in-this-world",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(unknown); i++)
        assert_int_equal(engine_select(unknown[i], &options, &set), VD_ERR_PARAMETER);
}

static void test_order(void **state)
{
    (void)state;
    if (!built("avcodec"))
        skip();
    assert_int_equal(engine_select("null,avcodec:software", &options, &set), 0);
    assert_int_equal(set.count, 2);
    assert_string_equal(set.at[0].name, "null");
    assert_string_equal(set.at[1].name, "avcodec:software");
    assert_string_equal(set.at[1].device, "");
    assert_string_equal(set.name, "null+avcodec");
    assert_int_equal(engine_select("avcodec:software,null,avcodec:software", &options, &set), 0);
    assert_int_equal(set.count, 2);
    assert_string_equal(set.at[0].name, "avcodec:software");
    assert_string_equal(set.name, "avcodec+null");
}

/* Software comes behind what devices there are. */
static void test_whole_back_end(void **state)
{
    (void)state;
    if (!built("avcodec"))
        skip();
    assert_int_equal(engine_select("avcodec", &options, &set), 0);
    assert_in_range(set.count, 1, BACKEND_SET_MAX);
    assert_string_equal(set.at[set.count - 1].name, "avcodec:software");
    assert_string_equal(set.name, "avcodec");
}

/* Never null; all others once, each with what it serves. */
static void test_default(void **state)
{
    int err;

    (void)state;
    err = engine_select(NULL, &options, &set);
    if (!built("avcodec"))
        skip();
    assert_int_equal(err, 0);
    for (uint32_t i = 0; i < set.count; i++) {
        struct vd_cap caps[VD_MAX_CAPS];

        assert_ptr_not_equal(set.at[i].backend, &backend_null);
        assert_in_range(engine_caps(&set.at[i], caps), 1, VD_MAX_CAPS);
        for (uint32_t j = 0; j < i; j++)
            assert_string_not_equal(set.at[i].name, set.at[j].name);
    }
    assert_int_equal(engine_select("", &options, &set), 0);
}

static void test_no_device(void **state)
{
    int before = check_descriptors();

    (void)state;
    if (built("vaapi"))
        assert_int_equal(engine_select("vaapi:/dev/null", &options, &set), VD_ERR_UNSUPPORTED);
    if (built("avcodec")) {
        assert_int_equal(engine_select("avcodec:no-such", &options, &set), VD_ERR_UNSUPPORTED);
        assert_int_equal(engine_select("avcodec:vaapi:/dev/null", &options, &set),
                         VD_ERR_UNSUPPORTED);
        /* The rest of the list serves. */
        assert_int_equal(engine_select("avcodec:no-such,null", &options, &set), 0);
        assert_string_equal(set.name, "null");
    }
    assert_int_equal(check_descriptors(), before);
}

/* The service's own driver is not looked for behind the service, unless asked. */
static void test_no_loop(void **state)
{
    char devices[4][BACKEND_DEVICE_BYTES];

    (void)state;
    setenv("LIBVA_DRIVER_NAME", "viaduct", 1);
    for (size_t i = 0; backend_at(i); i++) {
        const struct backend *b = backend_at(i);
        uint32_t count = b->devices ? b->devices(false, devices, 4) : 0;

        for (uint32_t j = 0; j < count; j++) {
            assert_string_not_equal(b->name, "vaapi");
            assert_false(!strncmp(devices[j], "vaapi", 5));
        }
    }
    unsetenv("LIBVA_DRIVER_NAME");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one),     cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_order),   cmocka_unit_test(test_whole_back_end),
        cmocka_unit_test(test_default), cmocka_unit_test(test_no_device),
        cmocka_unit_test(test_no_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
