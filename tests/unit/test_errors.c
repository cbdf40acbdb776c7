/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <limits.h>
#include <viaduct/codecs.h>
#include <viaduct/errors.h>

static void test_texts(void **state)
{
    static const int codes[] = {
#define VD_ERROR(name, value, text) VD_ERR_##name,
#include <viaduct/errors.def>
    };

    (void)state;
    assert_string_equal(errors_text(0), "success");
    for (size_t i = 0; i < COUNT(codes); i++) {
        assert_true(codes[i] < 0);
        assert_string_equal(errors_text(codes[i]), errors_text(-codes[i]));
        assert_string_not_equal(errors_text(codes[i]), "unknown error");
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(codes[i], codes[j]);
            assert_string_not_equal(errors_text(codes[i]), errors_text(codes[j]));
        }
        assert_int_equal(errors_from_wire((uint32_t)-codes[i]), codes[i]);
    }
    assert_string_equal(errors_text(9999), "unknown error");
    assert_string_equal(errors_text(-9999), "unknown error");
    assert_string_equal(errors_text(INT_MIN), "unknown error");
    assert_string_equal(errors_text(INT_MAX), "unknown error");
}

/* Whatever the other side wrote: only 0 is success. */
static void test_from_wire(void **state)
{
    static const uint32_t values[] = {1,          9999,        0xffff,      0x10000,
                                      0x7fffffff, 0x80000000u, 0x80000001u, UINT32_MAX};

    (void)state;
    assert_int_equal(errors_from_wire(0), 0);
    for (size_t i = 0; i < COUNT(values); i++)
        assert_true(errors_from_wire(values[i]) < 0);
}

static void test_profiles(void **state)
{
    (void)state;
#define VD_PROFILE(profile, codec, number, name)                   \
    assert_int_equal(codecs_of_profile(number), VD_CODEC_##codec); \
    assert_string_equal(codecs_profile_name(number), name);
#include <viaduct/profiles.def>
    assert_int_equal(codecs_of_profile(-2), VD_CODEC_NONE);
    assert_int_equal(codecs_of_profile(12345), VD_CODEC_NONE);
    assert_string_equal(codecs_profile_name(12345), "unknown");
    assert_string_equal(codecs_entrypoint_name(1), "VLD");
    assert_string_equal(codecs_entrypoint_name(-1), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_from_wire),
        cmocka_unit_test(test_profiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
