/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <wire/log.h>

/* What a call prints on standard error. */
static char out[4096];
static int out_fd, saved_fd;

static void begin(void)
{
    out_fd = memfd_create("log", MFD_CLOEXEC);
    saved_fd = dup(STDERR_FILENO);
    dup2(out_fd, STDERR_FILENO);
}

static const char *end(void)
{
    ssize_t n;

    dup2(saved_fd, STDERR_FILENO);
    n = pread(out_fd, out, sizeof(out) - 1, 0);
    out[n < 0 ? 0 : n] = 0;
    close(saved_fd);
    close(out_fd);
    return out;
}

static void test_levels(void **state)
{
    (void)state;
    for (int level = LOG_LEVEL_NONE; level <= LOG_LEVEL_DEBUG; level++) {
        log_set_level((enum log_level)level);
        begin();
        log_error("e%d", 1);
        log_warn("w%d", 2);
        log_info("i%d", 3);
        log_debug("d%d", 4);
        end();
        assert_int_equal(!strstr(out, "viaduct: error: e1\n"), level < LOG_LEVEL_ERROR);
        assert_int_equal(!strstr(out, "viaduct: warn: w2\n"), level < LOG_LEVEL_WARN);
        assert_int_equal(!strstr(out, "viaduct: info: i3\n"), level < LOG_LEVEL_INFO);
        assert_int_equal(!strstr(out, "viaduct: debug: d4\n"), level < LOG_LEVEL_DEBUG);
        assert_int_equal(log_enabled(LOG_LEVEL_WARN), level >= LOG_LEVEL_WARN);
    }
}

/* Longer than a line may be: cut, still one line. */
static void test_long(void **state)
{
    char longer[3000];

    (void)state;
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = 0;
    log_set_level(LOG_LEVEL_ERROR);
    for (size_t n = 900; n < sizeof(longer); n += n < 1100 ? 1 : 500) {
        begin();
        log_error("%s", longer + sizeof(longer) - 1 - n);
        end();
        assert_in_range(strlen(out), 900, 1024);
        assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
    }
}

static void test_name(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_INFO);
    log_set_name("somebody");
    begin();
    log_info("here");
    assert_string_equal(end(), "somebody: info: here\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
