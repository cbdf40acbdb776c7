/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <transport/serial.h>
#include <transport/serial_marks.h>
#include <transport/unix.h>
#include <transport/vm.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <vm/relay.h>

/* Both ends of a virtio-serial port, over a socket pair instead of the port. */

/* Signs, starts of signs, and marks, as a stream may have them. */
static const char *const streams[] = {
    "",
    "plain",
    "\xd9",
    "\xd9\xa7\xe5\x93\xbb\xf1\x8d",
    "\xd9\xa7\xe5\x93\xbb\xf1\x8d\xc3",
    "\xd9\xd9\xa7\xe5\x93\xbb\xf1\x8d\xc3\xc3",
    "\xd9\xa7\xe5\x93\xd9\xa7\xe5\x93\xbb\xf1\x8d\xc3L",
    "\xd9\xa7\xe5\x93\xbb\xf1\x8d\xc3\xd9\xa7\xe5\x93\xbb\xf1\x8d\xc3O0123456789abcdef",
    "x\xd9\xa7\xe5\x93\xbb\xf1\x8d\xc3\1030000000000000000y",
};

/* As senders do it; ends with N where that is due. */
static size_t stuff(const char *bytes, size_t size, uint8_t *out)
{
    unsigned matched = 0;
    size_t used = 0;

    while (size) {
        bool due;
        size_t n = serial_marks_scan(&matched, (const uint8_t *)bytes, size, &due);

        memcpy(out + used, bytes, n);
        used += n;
        if (due)
            out[used++] = 'L';
        bytes += n;
        size -= n;
    }
    if (matched) {
        memcpy(out + used, serial_nothing, sizeof(serial_nothing));
        used += sizeof(serial_nothing);
    }
    return used;
}

/* Any stream between garbage and marks, in pieces of any size, comes out as it went in. */
static void test_marks(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(streams); i++) {
        for (size_t piece = 1; piece < 12; piece++) {
            uint8_t line[256], out[256], part[256 + SERIAL_SIGN_BYTES];
            size_t size = 0, got = 0;
            struct serial_marks marks = {0};
            char seen[8] = "";

            /* A sign that its writer did not get to the end of. */
            memcpy(line, serial_sign, SERIAL_SIGN_BYTES);
            size = SERIAL_SIGN_BYTES + 1;
            line[SERIAL_SIGN_BYTES] = 'O';
            serial_marks_make(line + size, 'O', "00112233445566ff");
            size += SERIAL_MARK_BYTES;
            size += stuff(streams[i], strlen(streams[i]), line + size);
            serial_marks_make(line + size, 'C', NULL);
            size += SERIAL_MARK_BYTES;
            for (size_t at = 0; at < size;) {
                size_t some = size - at < piece ? size - at : piece, n;
                char mark;

                at += serial_marks_read(&marks, line + at, some, part, &n, &mark);
                memcpy(out + got, part, n);
                got += n;
                if (mark) {
                    seen[strlen(seen)] = mark;
                    assert_string_equal(marks.number,
                                        mark == 'O' ? "00112233445566ff" : "0000000000000000");
                }
            }
            assert_string_equal(seen, "OC");
            assert_int_equal(got, strlen(streams[i]));
            assert_memory_equal(out, streams[i], got);
        }
    }
}

static void test_marks_broken(void **state)
{
    static const char *const rows[] = {"X", "l", "Og", "O000000000000000A"};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t line[64], out[64];
        struct serial_marks marks = {0};
        size_t size = SERIAL_SIGN_BYTES + strlen(rows[i]), n;
        char mark;

        memcpy(line, serial_sign, SERIAL_SIGN_BYTES);
        memcpy(line + SERIAL_SIGN_BYTES, rows[i], strlen(rows[i]));
        serial_marks_read(&marks, line, size, out, &n, &mark);
        assert_int_equal(mark, '?');
    }
}

/* A relay in a thread, a service behind it, and the port of a guest. */
struct rig {
    char folder[40], path[56];
    int port, far, listener, stop[2];
    struct relay_options options;
    pthread_t thread;
    int ended;
    int descriptors;
};

static void *relay_run(void *arg)
{
    struct rig *r = arg;
    struct relay *relay;

    if (relay_create(r->far, &r->options, &relay))
        abort();
    for (;;) {
        struct pollfd polls[RELAY_POLL + 1];

        relay_poll(relay, polls);
        polls[RELAY_POLL] = (struct pollfd){.fd = r->stop[0], .events = POLLIN};
        if (poll(polls, RELAY_POLL + 1, -1) < 0 || polls[RELAY_POLL].revents)
            break;
        r->ended = relay_handle(relay, polls);
        if (r->ended)
            break;
    }
    relay_destroy(&relay);
    return NULL;
}

static void rig_relay(struct rig *r)
{
    assert_int_equal(pthread_create(&r->thread, NULL, relay_run, r), 0);
}

static struct rig *rig_open(void)
{
    struct rig *r = calloc(1, sizeof(*r));
    int pair[2];

    assert_non_null(r);
    r->descriptors = check_descriptors();
    strcpy(r->folder, "/tmp/viaduct-serial-XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    snprintf(r->path, sizeof(r->path), "%s/vm", r->folder);
    assert_int_equal(unix_listen(r->path, 0600, &r->listener), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pipe(r->stop), 0);
    r->port = pair[0];
    r->far = pair[1];
    r->options = (struct relay_options){.name = "blue", .service = r->path};
    return r;
}

static void rig_close(struct rig *r)
{
    assert_int_equal(write(r->stop[1], "", 1), 1);
    if (r->thread)
        pthread_join(r->thread, NULL);
    close(r->port);
    close(r->stop[0]);
    close(r->stop[1]);
    close(r->listener);
    unlink(r->path);
    rmdir(r->folder);
    assert_int_equal(check_descriptors(), r->descriptors);
    free(r);
}

/* The guest's side: a copy of the port, as a program that opens it gets. */
static struct channel *guest_open(struct rig *r)
{
    struct channel *channel;
    int fd = dup(r->port);

    assert_int_equal(serial_create(fd, 5000, &channel), 0);
    return channel;
}

static int service_accept(struct rig *r)
{
    struct pollfd p = {.fd = r->listener, .events = POLLIN};
    int fd;

    assert_int_equal(poll(&p, 1, 5000), 1);
    fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void put(struct channel *channel, const void *bytes, size_t size)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, size};

    assert_int_equal(channel->ops->send(channel, &iov, 1, -1, 5000), 0);
}

static void get(struct channel *channel, const void *want, size_t size)
{
    uint8_t bytes[4096];
    size_t got = 0, n;
    int fd;

    while (got < size) {
        assert_int_equal(channel->ops->recv(channel, bytes,
                                            size - got < sizeof(bytes) ? size - got : sizeof(bytes),
                                            &n, &fd, 5000),
                         0);
        assert_int_equal(fd, -1);
        assert_memory_equal(bytes, (const uint8_t *)want + got, n);
        got += n;
    }
}

static int gone(struct channel *channel)
{
    uint8_t byte;
    size_t n;
    int fd;

    return channel->ops->recv(channel, &byte, 1, &n, &fd, 5000);
}

static void test_session(void **state)
{
    struct rig *r = rig_open();
    struct channel *channel;
    char name[VM_NAME_BYTES], bytes[64];
    int fd;

    (void)state;
    /* What somebody left on the line, both ways. */
    assert_int_equal(write(r->port, "rest of \xd9\xa7\xe5\x93", 12), 12);
    assert_int_equal(write(r->far, "an answer\xd9\xa7\xe5\x93\xbb\xf1\x8d\xc3", 17), 17);
    rig_relay(r);
    channel = guest_open(r);
    fd = service_accept(r);
    assert_true(vm_peer(fd, name));
    assert_string_equal(name, "blue");
    assert_false(channel->ops->shares_memory);
    assert_true(channel->ops->alive(channel));
    for (size_t i = 0; i < COUNT(streams); i++) {
        size_t size = strlen(streams[i]);

        if (!size)
            continue;
        put(channel, streams[i], size);
        assert_int_equal(recv(fd, bytes, size, MSG_WAITALL), size);
        assert_memory_equal(bytes, streams[i], size);
        assert_int_equal(write(fd, streams[i], size), size);
        get(channel, streams[i], size);
    }
    channel_destroy(&channel);
    /* The service hears of the end, also of one that is shut. */
    assert_int_equal(read(fd, bytes, 1), 0);
    close(fd);
    channel = guest_open(r);
    fd = service_accept(r);
    channel->ops->shut(channel);
    assert_int_equal(read(fd, bytes, 1), 0);
    channel_destroy(&channel);
    close(fd);
    rig_close(r);
}

/* A child that lets go of what it inherited does not end the session of its parent. */
static void test_child(void **state)
{
    struct rig *r = rig_open();
    struct channel *channel;
    char bytes[8];
    int fd, status;
    pid_t child;

    (void)state;
    rig_relay(r);
    channel = guest_open(r);
    fd = service_accept(r);
    child = fork();
    if (!child) {
        channel_destroy(&channel);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    put(channel, "go on", 5);
    assert_int_equal(recv(fd, bytes, 5, MSG_WAITALL), 5);
    assert_memory_equal(bytes, "go on", 5);
    channel_destroy(&channel);
    assert_int_equal(read(fd, bytes, 1), 0);
    close(fd);
    rig_close(r);
}

/* A program that is killed says nothing; the next one is not mixed up with it. */
static void test_killed(void **state)
{
    struct rig *r = rig_open();
    struct channel *first, *second;
    char bytes[8];
    int fd, other;

    (void)state;
    rig_relay(r);
    first = guest_open(r);
    fd = service_accept(r);
    assert_int_equal(write(fd, "late", 4), 4);
    put(first, "half a mes", 10);
    second = guest_open(r);
    other = service_accept(r);
    assert_int_equal(recv(fd, bytes, 8, 0), 8);
    assert_int_equal(recv(fd, bytes, 8, 0), 2);
    assert_int_equal(recv(fd, bytes, 8, 0), 0);
    close(fd);
    put(second, "new", 3);
    assert_int_equal(recv(other, bytes, 8, 0), 3);
    assert_int_equal(write(other, "yes", 3), 3);
    get(second, "yes", 3);
    /* The first one's end, late, is not the second's. */
    channel_destroy(&first);
    put(second, "on", 2);
    assert_int_equal(recv(other, bytes, 8, 0), 2);
    channel_destroy(&second);
    close(other);
    rig_close(r);
}

/* The service ends, is not there, and comes back. */
static void test_service(void **state)
{
    struct rig *r = rig_open();
    struct channel *channel, *none;
    int fd, port;

    (void)state;
    rig_relay(r);
    channel = guest_open(r);
    fd = service_accept(r);
    assert_int_equal(write(fd, "no", 2), 2);
    close(fd);
    get(channel, "no", 2);
    assert_int_equal(gone(channel), VD_ERR_GONE);
    assert_false(channel->ops->alive(channel));
    channel_destroy(&channel);
    close(r->listener);
    port = dup(r->port);
    assert_int_equal(serial_create(port, 5000, &none), VD_ERR_GONE);
    assert_int_equal(unix_listen(r->path, 0600, &r->listener), 0);
    close(port);
    channel = guest_open(r);
    close(service_accept(r));
    channel_destroy(&channel);
    rig_close(r);
}

/* A relay that starts again ends what was. */
static void test_relay_again(void **state)
{
    struct rig *r = rig_open();
    struct channel *channel;
    int again = dup(r->far), fd;
    char byte;

    (void)state;
    rig_relay(r);
    channel = guest_open(r);
    fd = service_accept(r);
    assert_int_equal(write(r->stop[1], "", 1), 1);
    pthread_join(r->thread, NULL);
    assert_int_equal(read(r->stop[0], &byte, 1), 1);
    close(fd);
    r->far = again;
    rig_relay(r);
    assert_int_equal(gone(channel), VD_ERR_GONE);
    channel_destroy(&channel);
    rig_close(r);
}

/* A session that has ended does not keep the port, though its channel is still there. */
static void test_release(void **state)
{
    struct rig *r = rig_open();
    struct channel *channel;
    int fd;

    (void)state;
    rig_relay(r);
    assert_int_equal(serial_create(r->port, 5000, &channel), 0);
    r->port = -1;
    close(service_accept(r));
    assert_int_equal(gone(channel), VD_ERR_GONE);
    pthread_join(r->thread, NULL);
    assert_int_equal(r->ended, VD_ERR_GONE);
    assert_int_equal(channel->ops->send(channel, &(struct iovec){"x", 1}, 1, -1, 100), VD_ERR_GONE);
    assert_int_equal(gone(channel), VD_ERR_GONE);
    channel_destroy(&channel);
    fd = dup(0);
    r->port = fd;
    r->thread = 0;
    rig_close(r);
}

static void *shut_later(void *arg)
{
    struct channel *channel = arg;

    usleep(20000);
    channel->ops->shut(channel);
    return NULL;
}

/* No wait is longer than it may be. */
static void test_waits(void **state)
{
    struct rig *r = rig_open();
    struct channel *channel;
    uint8_t block[65536] = {0}, byte;
    struct iovec iov = {block, sizeof(block)};
    size_t n;
    pthread_t thread;
    int fd, err = 0, port = dup(r->port);

    (void)state;
    /* Nobody is at the other end. */
    assert_int_equal(serial_create(port, 50, &channel), VD_ERR_TIMEOUT);
    close(port);
    rig_relay(r);
    channel = guest_open(r);
    fd = service_accept(r);
    assert_int_equal(channel->ops->recv(channel, &byte, 1, &n, &(int){0}, 20), VD_ERR_TIMEOUT);
    /* A service that reads nothing. */
    for (int i = 0; i < 100 && !err; i++)
        err = channel->ops->send(channel, &iov, 1, -1, 20);
    assert_int_equal(err, VD_ERR_TIMEOUT);
    assert_int_equal(pthread_create(&thread, NULL, shut_later, channel), 0);
    assert_int_equal(gone(channel), VD_ERR_GONE);
    pthread_join(thread, NULL);
    channel_destroy(&channel);
    close(fd);
    rig_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks),       cmocka_unit_test(test_marks_broken),
        cmocka_unit_test(test_session),     cmocka_unit_test(test_child),
        cmocka_unit_test(test_killed),      cmocka_unit_test(test_service),
        cmocka_unit_test(test_relay_again), cmocka_unit_test(test_waits),
        cmocka_unit_test(test_release),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
