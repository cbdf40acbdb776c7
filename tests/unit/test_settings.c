/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <viaduct/errors.h>
#include <wire/settings.h>

static void test_lines(void **state)
{
    static const struct {
        const char *line;
        int result;
        const char *key, *value;
    } cases[] = {
        {"", 0, NULL, NULL},
        {" \t\n", 0, NULL, NULL},
        {"# a = b\n", 0, NULL, NULL},
        {"  # a = b", 0, NULL, NULL},
        {"a=b", 1, "a", "b"},
        {"  a\t =  b c \r\n", 1, "a", "b c"},
        {"a = b = c", 1, "a", "b = c"},
        {"a =", 1, "a", ""},
        {"a b", VD_ERR_PARAMETER, NULL, NULL},
        {"= b", VD_ERR_PARAMETER, NULL, NULL},
        {" =", VD_ERR_PARAMETER, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char line[64], *key, *value;

        strcpy(line, cases[i].line);
        assert_int_equal(settings_line(line, &key, &value), cases[i].result);
        if (cases[i].result > 0) {
            assert_string_equal(key, cases[i].key);
            assert_string_equal(value, cases[i].value);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
