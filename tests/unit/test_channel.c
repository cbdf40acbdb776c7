/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <transport/channel.h>
#include <unistd.h>
#include <viaduct/errors.h>

/* The same questions to every kind that has two ends. */
struct ends {
    const char *kind;
    struct channel *a, *b;
    int log_fd, before;
};

static void unix_pair(struct channel **a, struct channel **b)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(unix_create(pair[0], a), 0);
    assert_int_equal(unix_create(pair[1], b), 0);
}

static int setup_unix(void **state)
{
    struct ends *e = calloc(1, sizeof(*e));

    assert_non_null(e);
    e->kind = "unix";
    e->log_fd = -1;
    e->before = check_descriptors();
    unix_pair(&e->a, &e->b);
    *state = e;
    return 0;
}

static int setup_mem(void **state)
{
    struct ends *e = calloc(1, sizeof(*e));

    assert_non_null(e);
    e->kind = "mem";
    e->log_fd = -1;
    e->before = check_descriptors();
    assert_int_equal(mem_create_pair(&e->a, &e->b), 0);
    *state = e;
    return 0;
}

static int setup_record(void **state)
{
    struct ends *e = calloc(1, sizeof(*e));
    struct channel *inner;

    assert_non_null(e);
    e->kind = "record";
    e->before = check_descriptors();
    e->log_fd = memfd_create("log", MFD_CLOEXEC);
    unix_pair(&inner, &e->b);
    assert_int_equal(record_create(inner, e->log_fd, &e->a), 0);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    struct ends *e = *state;

    channel_destroy(&e->a);
    channel_destroy(&e->b);
    if (e->log_fd >= 0)
        close(e->log_fd);
    assert_int_equal(check_descriptors(), e->before);
    free(e);
    return 0;
}

static int put(struct channel *channel, const char *text, int fd)
{
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};

    return channel->ops->send(channel, &iov, 1, fd, 1000);
}

static void expect(struct channel *channel, const char *text)
{
    char bytes[64] = "";
    size_t used = 0, size = 0;
    int fd;

    while (used < strlen(text)) {
        assert_int_equal(
            channel->ops->recv(channel, bytes + used, strlen(text) - used, &size, &fd, 1000), 0);
        assert_true(size > 0);
        assert_int_equal(fd, -1);
        used += size;
    }
    assert_string_equal(bytes, text);
}

static void test_both_ways(void **state)
{
    struct ends *e = *state;
    struct iovec iov[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};

    assert_string_equal(e->a->ops->scheme, e->kind);
    assert_true(e->a->ops->shares_memory);
    assert_true(e->a->ops->alive(e->a) && e->b->ops->alive(e->b));
    assert_int_equal(put(e->a, "hello", -1), 0);
    assert_int_equal(put(e->b, "there", -1), 0);
    expect(e->b, "hello");
    expect(e->a, "there");
    assert_int_equal(e->a->ops->send(e->a, iov, 3, -1, 1000), 0);
    expect(e->b, "a");
    expect(e->b, "bcde");
}

static void test_timeout(void **state)
{
    struct ends *e = *state;
    char byte;
    size_t size;
    int fd;

    for (int ms = 0; ms <= 60; ms += 30) {
        double start = check_seconds(), took;

        assert_int_equal(e->a->ops->recv(e->a, &byte, 1, &size, &fd, ms), VD_ERR_TIMEOUT);
        took = check_seconds() - start;
        assert_true(took * 1000 >= ms * 0.9 && took < 5);
    }
    assert_true(e->a->ops->alive(e->a));
}

/* Bytes sent before the end still arrive; then GONE, for sending, too. */
static void test_gone(void **state)
{
    struct ends *e = *state;
    char byte;
    size_t size;
    int fd;

    assert_int_equal(put(e->b, "last", -1), 0);
    channel_destroy(&e->b);
    assert_null(e->b);
    assert_false(e->a->ops->alive(e->a));
    expect(e->a, "last");
    assert_int_equal(e->a->ops->recv(e->a, &byte, 1, &size, &fd, 1000), VD_ERR_GONE);
    assert_int_equal(put(e->a, "anybody", -1), VD_ERR_GONE);
    assert_false(e->a->ops->alive(e->a));
}

static void *destroy_later(void *arg)
{
    usleep(30000);
    channel_destroy(arg);
    return NULL;
}

/* The end wakes who waits without limit. */
static void test_gone_while_waiting(void **state)
{
    struct ends *e = *state;
    pthread_t thread;
    char byte;
    size_t size;
    int fd;

    assert_int_equal(pthread_create(&thread, NULL, destroy_later, &e->b), 0);
    assert_int_equal(e->a->ops->recv(e->a, &byte, 1, &size, &fd, -1), VD_ERR_GONE);
    pthread_join(thread, NULL);
}

static void test_descriptor(void **state)
{
    struct ends *e = *state;
    int file = memfd_create("test", MFD_CLOEXEC), fd = -1;
    size_t size;
    char byte;

    assert_int_equal(write(file, "x", 1), 1);
    assert_int_equal(put(e->b, "y", file), 0);
    assert_int_equal(e->a->ops->recv(e->a, &byte, 1, &size, &fd, 1000), 0);
    assert_true(fd >= 0 && fd != file);
    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    assert_int_equal(byte, 'x');
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(fd);
    /* One that is never received. */
    assert_int_equal(put(e->b, "z", file), 0);
    close(file);
}

/* Nobody reads: sending ends in time. */
static void test_full(void **state)
{
    struct ends *e = *state;
    static char bytes[1 << 20];
    struct iovec iov = {bytes, sizeof(bytes)};
    double start = check_seconds();
    int err = 0;

    for (int i = 0; i < 16 && !err; i++)
        err = e->b->ops->send(e->b, &iov, 1, -1, 50);
    assert_int_equal(err, VD_ERR_TIMEOUT);
    assert_true(check_seconds() - start < 5);
}

struct flood {
    struct channel *channel;
    int err;
};

static void *send_flood(void *arg)
{
    struct flood *flood = arg;
    static uint8_t bytes[100000];
    struct iovec iov[2] = {{bytes, 7}, {bytes + 7, sizeof(bytes) - 7}};

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i % 251);
    for (int i = 0; i < 20 && !flood->err; i++)
        flood->err = flood->channel->ops->send(flood->channel, iov, 2, -1, 10000);
    return NULL;
}

/* More than a socket's buffer, in order and complete. */
static void test_bulk(void **state)
{
    struct ends *e = *state;
    struct flood flood = {.channel = e->b};
    uint8_t bytes[3001];
    size_t got = 0, size;
    pthread_t thread;
    int fd;

    assert_int_equal(pthread_create(&thread, NULL, send_flood, &flood), 0);
    while (got < 20 * 100000) {
        assert_int_equal(e->a->ops->recv(e->a, bytes, sizeof(bytes), &size, &fd, 10000), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(bytes[i], (got + i) % 100000 % 251);
        got += size;
    }
    pthread_join(thread, NULL);
    assert_int_equal(flood.err, 0);
}

static void test_record_log(void **state)
{
    struct ends *e = *state;
    uint32_t log[2][2];
    char text[2][8] = {"", ""};

    assert_int_equal(put(e->a, "abc", -1), 0);
    assert_int_equal(put(e->b, "defgh", -1), 0);
    expect(e->a, "defgh");
    assert_int_equal(pread(e->log_fd, log[0], 8, 0), 8);
    assert_int_equal(pread(e->log_fd, text[0], 3, 8), 3);
    assert_int_equal(pread(e->log_fd, log[1], 8, 11), 8);
    assert_int_equal(pread(e->log_fd, text[1], 6, 19), 5);
    assert_int_equal(log[0][0], 0);
    assert_int_equal(log[0][1], 3);
    assert_string_equal(text[0], "abc");
    assert_int_equal(log[1][0], 1);
    assert_int_equal(log[1][1], 5);
    assert_string_equal(text[1], "defgh");
}

static void test_fuzz(void **state)
{
    int file = memfd_create("test", MFD_CLOEXEC), before = check_descriptors(), fd;
    struct channel *channel;
    char bytes[8];
    size_t size;

    (void)state;
    assert_int_equal(fuzz_create("abcde", 5, 2, file, &channel), 0);
    assert_true(channel->ops->alive(channel));
    assert_int_equal(put(channel, "swallowed", -1), 0);
    assert_int_equal(channel->ops->recv(channel, bytes, 8, &size, &fd, 0), 0);
    assert_int_equal(size, 2);
    assert_true(fd >= 0 && fd != file);
    close(fd);
    assert_int_equal(channel->ops->recv(channel, bytes, 1, &size, &fd, 0), 0);
    assert_int_equal(size, 1);
    assert_int_equal(fd, -1);
    assert_int_equal(channel->ops->recv(channel, bytes, 8, &size, &fd, 0), 0);
    assert_memory_equal(bytes, "de", 2);
    assert_false(channel->ops->alive(channel));
    assert_int_equal(channel->ops->recv(channel, bytes, 8, &size, &fd, -1), VD_ERR_GONE);
    channel_destroy(&channel);
    channel_destroy(&channel);
    assert_int_equal(check_descriptors(), before);
    close(file);
}

static void test_connect(void **state)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    char dir[] = "/tmp/viaduct-test-XXXXXX", uri[160], longer[300];
    struct channel *a = NULL, *b;
    int listener, fd, before = check_descriptors();

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/socket", dir);
    snprintf(uri, sizeof(uri), "unix:%s", sun.sun_path);
    memset(longer, 'x', sizeof(longer));
    memcpy(longer, "unix:", 5);
    longer[sizeof(longer) - 1] = 0;
    assert_int_equal(channel_connect("", &a), VD_ERR_PARAMETER);
    assert_int_equal(channel_connect("unix", &a), VD_ERR_PARAMETER);
    assert_int_equal(channel_connect("unix:", &a), VD_ERR_PARAMETER);
    assert_int_equal(channel_connect("unixx:/tmp", &a), VD_ERR_PARAMETER);
    assert_int_equal(channel_connect("carrier-pigeon:1", &a), VD_ERR_PARAMETER);
    assert_int_equal(channel_connect(longer, &a), VD_ERR_PARAMETER);
    assert_int_equal(channel_connect(uri, &a), VD_ERR_GONE);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(channel_connect(uri, &a), VD_ERR_GONE);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(channel_connect(uri, &a), 0);
    fd = accept(listener, NULL, NULL);
    assert_int_equal(unix_create(fd, &b), 0);
    assert_int_equal(put(a, "over", -1), 0);
    expect(b, "over");
    channel_destroy(&a);
    channel_destroy(&b);
    close(listener);
    unlink(sun.sun_path);
    rmdir(dir);
    assert_int_equal(check_descriptors(), before);
}

#define FOR_KIND(kind)                                                                        \
    {#kind " both ways", test_both_ways, setup_##kind, teardown, NULL},                       \
        {#kind " timeout", test_timeout, setup_##kind, teardown, NULL},                       \
        {#kind " gone", test_gone, setup_##kind, teardown, NULL},                             \
        {#kind " gone while waiting", test_gone_while_waiting, setup_##kind, teardown, NULL}, \
        {#kind " descriptor", test_descriptor, setup_##kind, teardown, NULL},                 \
    {                                                                                         \
#kind " bulk", test_bulk, setup_##kind, teardown, NULL                                \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOR_KIND(unix),
        FOR_KIND(mem),
        FOR_KIND(record),
        cmocka_unit_test_setup_teardown(test_full, setup_unix, teardown),
        cmocka_unit_test_setup_teardown(test_record_log, setup_record, teardown),
        cmocka_unit_test(test_fuzz),
        cmocka_unit_test(test_connect),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
