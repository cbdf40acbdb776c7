/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <transport/mirror.h>
#include <transport/virtgpu.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <viaduct/protocol.h>

#include "virtgpu_loop.h"

/* The guest's end over the device, without a virtual machine (virtgpu_loop.h). */

#define NODE "virtgpu:/dev/dri/renderD128"

static int descriptors;

static int start(const struct loop_options *options)
{
    descriptors = check_descriptors();
    if (loop_start(options))
        return -1;
    loop_install();
    return 0;
}

/* Both kinds of kernel. */
static int setup_old(void **state)
{
    struct loop_options options = {.one_time_line = true};

    (void)state;
    return start(&options);
}

static int setup_new(void **state)
{
    struct loop_options options = {0};

    (void)state;
    return start(&options);
}

static int teardown(void **state)
{
    (void)state;
    loop_stop();
    assert_int_equal(check_descriptors(), descriptors);
    return 0;
}

/* A session, and its end at viaductd. */
static struct channel *open_one(struct channel **ret_far)
{
    struct channel *near;
    int fd;

    assert_int_equal(channel_connect(NODE, &near), 0);
    assert_false(near->ops->shares_memory);
    fd = loop_accept();
    assert_true(fd >= 0);
    assert_int_equal(unix_create(fd, ret_far), 0);
    return near;
}

static void sessions_are(unsigned count)
{
    double start = check_seconds();

    while (loop_sessions() != count && check_seconds() - start < 10)
        usleep(1000);
    assert_int_equal(loop_sessions(), count);
}

static void put(struct channel *channel, const char *text)
{
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};

    assert_int_equal(channel->ops->send(channel, &iov, 1, -1, 5000), 0);
}

static void expect(struct channel *channel, const char *text)
{
    char bytes[64] = "";
    size_t used = 0, size = 0;
    int fd;

    while (used < strlen(text)) {
        assert_int_equal(
            channel->ops->recv(channel, bytes + used, strlen(text) - used, &size, &fd, 5000), 0);
        assert_true(size > 0);
        assert_int_equal(fd, -1);
        used += size;
    }
    assert_string_equal(bytes, text);
}

static void test_both_ways(void **state)
{
    struct channel *far, *near = open_one(&far);
    struct iovec iov[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};

    (void)state;
    assert_true(near->ops->alive(near));
    put(near, "hello");
    put(far, "there");
    expect(far, "hello");
    expect(near, "there");
    assert_int_equal(near->ops->send(near, iov, 3, -1, 1000), 0);
    expect(far, "abcde");
    /* Descriptors cannot pass. */
    assert_int_equal(near->ops->send(near, iov, 3, 0, 1000), VD_ERR_UNSUPPORTED);
    channel_destroy(&near);
    sessions_are(0);
    channel_destroy(&far);
}

/* More than a ring holds, in both directions at once, the content checked byte by byte. */
#define BULK (24u << 20)

struct bulk {
    struct channel *channel;
    uint64_t seed;
    int err;
};

static void *bulk_send(void *arg)
{
    struct bulk *b = arg;
    static const size_t sizes[] = {1, 4095, 65536, 300001, 7, 1 << 20};
    uint64_t state = b->seed;
    uint8_t *bytes = malloc(1 << 20);
    size_t sent = 0;

    for (size_t i = 0; sent < BULK && !b->err; i++) {
        size_t n = sizes[i % COUNT(sizes)];
        struct iovec iov = {bytes, n < BULK - sent ? n : BULK - sent};

        for (size_t j = 0; j < iov.iov_len; j++)
            bytes[j] = (uint8_t)((sent + j) * 7 + ((sent + j) >> 12) + state);
        b->err = b->channel->ops->send(b->channel, &iov, 1, -1, 20000);
        sent += iov.iov_len;
    }
    free(bytes);
    return NULL;
}

static void *bulk_recv(void *arg)
{
    struct bulk *b = arg;
    uint8_t *bytes = malloc(1 << 20);
    size_t got = 0;
    int fd;

    while (got < BULK && !b->err) {
        size_t size, room = got % 3 ? 1 << 20 : 5000;

        b->err = b->channel->ops->recv(b->channel, bytes, room, &size, &fd, got % 2 ? -1 : 20000);
        if (b->err)
            break;
        for (size_t j = 0; j < size && !b->err; j++) {
            if (bytes[j] != (uint8_t)((got + j) * 7 + ((got + j) >> 12) + b->seed))
                b->err = VD_ERR_INTERNAL;
        }
        got += size;
    }
    free(bytes);
    return NULL;
}

static void test_bulk(void **state)
{
    struct channel *far, *near = open_one(&far);
    struct bulk b[4] = {{near, 1, 0}, {far, 1, 0}, {far, 2, 0}, {near, 2, 0}};
    pthread_t thread[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, i % 2 ? bulk_recv : bulk_send, &b[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(b[i].err, 0);
    }
    channel_destroy(&near);
    channel_destroy(&far);
}

static void test_timeouts(void **state)
{
    struct channel *far, *near = open_one(&far);
    uint8_t *bytes = calloc(1, 1 << 20);
    struct iovec iov = {bytes, 1 << 20};
    double start = check_seconds();
    size_t size;
    int fd, err = 0;

    (void)state;
    assert_int_equal(near->ops->recv(near, bytes, 16, &size, &fd, 0), VD_ERR_TIMEOUT);
    assert_int_equal(near->ops->recv(near, bytes, 16, &size, &fd, 50), VD_ERR_TIMEOUT);
    assert_true(check_seconds() - start >= 0.04);
    /* Nobody reads: ring and sockets are full at last. */
    for (int i = 0; i < 64 && !err; i++)
        err = near->ops->send(near, &iov, 1, -1, 50);
    assert_int_equal(err, VD_ERR_TIMEOUT);
    assert_true(near->ops->alive(near));
    free(bytes);
    channel_destroy(&far);
    channel_destroy(&near);
}

static void *recv_forever(void *arg)
{
    struct bulk *b = arg;
    uint8_t bytes[16];
    size_t size;
    int fd;

    b->err = b->channel->ops->recv(b->channel, bytes, sizeof(bytes), &size, &fd, -1);
    return NULL;
}

/* Whoever waits learns that one's own side, or the other, has ended. */
static void test_end(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        struct channel *far, *near = open_one(&far);
        struct bulk b = {near, 0, 0};
        pthread_t thread;
        uint8_t byte;
        struct iovec iov = {&byte, 1};

        assert_int_equal(pthread_create(&thread, NULL, recv_forever, &b), 0);
        usleep(20000);
        if (own)
            near->ops->shut(near);
        else
            channel_destroy(&far);
        pthread_join(thread, NULL);
        assert_int_equal(b.err, VD_ERR_GONE);
        assert_false(near->ops->alive(near));
        assert_int_equal(near->ops->send(near, &iov, 1, -1, 1000), VD_ERR_GONE);
        sessions_are(0);
        if (own) {
            b = (struct bulk){far, 0, 0};
            recv_forever(&b);
            assert_int_equal(b.err, VD_ERR_GONE);
        }
        channel_destroy(&near);
        channel_destroy(&far);
    }
}

/* What the host said before it left is read, then the end. */
static void test_last_words(void **state)
{
    struct channel *far, *near = open_one(&far);
    uint8_t byte;
    size_t size;
    int fd;

    (void)state;
    put(far, "refused");
    channel_destroy(&far);
    expect(near, "refused");
    assert_int_equal(near->ops->recv(near, &byte, 1, &size, &fd, 5000), VD_ERR_GONE);
    channel_destroy(&near);
}

/* Several processes: each has its own bytes, and one that ends disturbs nobody. */
static void test_several(void **state)
{
    struct channel *near[8], *far[8];
    char text[16];

    (void)state;
    for (int i = 0; i < 8; i++)
        near[i] = open_one(&far[i]);
    sessions_are(8);
    for (int i = 0; i < 8; i++) {
        snprintf(text, sizeof(text), "I am %d", i);
        put(near[i], text);
        put(far[i], text);
    }
    channel_destroy(&near[3]);
    channel_destroy(&far[5]);
    for (int i = 0; i < 8; i++) {
        snprintf(text, sizeof(text), "I am %d", i);
        if (i != 5)
            expect(far[i], text);
        if (i != 3)
            expect(near[i], text);
    }
    for (int i = 0; i < 8; i++) {
        channel_destroy(&near[i]);
        channel_destroy(&far[i]);
    }
    sessions_are(0);
}

/* A machine that is paused, and one whose memory is mapped anew, goes on where it was. */
static void test_pause(void **state)
{
    struct channel *far, *near = open_one(&far);
    struct bulk b = {near, 0, 0};
    pthread_t thread;

    (void)state;
    put(near, "one");
    assert_int_equal(pthread_create(&thread, NULL, recv_forever, &b), 0);
    usleep(5000);
    loop_pause();
    expect(far, "one");
    loop_move();
    put(near, "two");
    expect(far, "two");
    put(far, "three");
    pthread_join(thread, NULL);
    assert_int_equal(b.err, 0);
    channel_destroy(&near);
    channel_destroy(&far);
}

/* A child drops the channel that it has inherited; its parent's goes on. */
static void test_fork(void **state)
{
    struct channel *far, *near = open_one(&far);
    int status;
    pid_t child;

    (void)state;
    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (!child) {
        /* The loop's threads have stayed behind: its files are closed as files. */
        virtgpu_set_drm(NULL);
        channel_destroy(&near);
        _exit(near != NULL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    put(near, "still");
    put(far, "here");
    expect(far, "still");
    expect(near, "here");
    channel_destroy(&near);
    channel_destroy(&far);
}

/* Pieces of the guest's arena become memory objects, with what they hold, and back. */
static void test_share(void **state)
{
    struct vd_hello_rep layout = {
        .arena_size = 64 << 20,
        .upload_offset = 8 << 20,
        .upload_size = 8 << 20,
        .frame_offset = 16 << 20,
        .frame_size = 48 << 20,
    };
    struct channel *far, *near = open_one(&far);
    struct message_reader reader;
    struct mirror_guest *mirror;
    struct arena arena;
    uint32_t backing;
    uint8_t *bytes, got[3];
    int fd[2];

    (void)state;
    message_init(&reader, near);
    assert_int_equal(arena_twin(&arena, &layout), 0);
    assert_int_equal(mirror_guest_create(&reader, &arena, &mirror), 0);
    mirror_guest_expect_surface(mirror, 5, 10000);
    assert_int_equal(mirror_guest_share(mirror, 6, &fd[0]), VD_ERR_PARAMETER);
    assert_int_equal(mirror_guest_memory(mirror, 5), 0);
    backing = arena.status->surfaces[5].backing;
    bytes = arena.base + arena.status->backings[backing].offset;
    arena.status->backings[backing].pins = 1;
    memcpy(bytes + 9997, "abc", 3);
    assert_false(mirror_guest_shared(mirror, backing));
    for (int i = 0; i < 2; i++)
        assert_int_equal(mirror_guest_share(mirror, 5, &fd[i]), 0);
    assert_true(mirror_guest_shared(mirror, backing));
    assert_int_equal(loop_objects(), 2);
    assert_memory_equal(bytes + 9997, "abc", 3);
    loop_peek(fd[0], 9997, got, 3);
    assert_memory_equal(got, "abc", 3);
    /* One memory, whichever way. */
    bytes[5000] = 77;
    loop_peek(fd[1], 5000, got, 1);
    assert_int_equal(got[0], 77);
    /* The surface goes, its memory is used again: who has the object sees nothing of that. */
    arena.status->backings[backing].pins = 0;
    mirror_guest_forget(mirror, 5);
    mirror_guest_expect_surface(mirror, 7, 10000);
    assert_int_equal(mirror_guest_memory(mirror, 7), 0);
    assert_int_equal(arena.status->surfaces[7].backing, backing);
    assert_false(mirror_guest_shared(mirror, backing));
    assert_int_equal(bytes[5000], 0);
    bytes[5000] = 78;
    loop_peek(fd[0], 5000, got, 1);
    assert_int_equal(got[0], 77);
    for (int i = 0; i < 2; i++)
        close(fd[i]);
    mirror_guest_destroy(mirror);
    message_finish(&reader);
    arena_finish(&arena);
    channel_destroy(&near);
    channel_destroy(&far);
}

/* A thread that only waits costs no commands; one message costs a bounded number of them. */
static void test_commands(void **state)
{
    struct channel *far, *near = open_one(&far);
    unsigned before, after;
    uint8_t byte;
    size_t size;
    int fd;

    (void)state;
    assert_int_equal(near->ops->recv(near, &byte, 1, &size, &fd, 200), VD_ERR_TIMEOUT);
    before = loop_commands();
    assert_int_equal(near->ops->recv(near, &byte, 1, &size, &fd, 200), VD_ERR_TIMEOUT);
    assert_int_equal(loop_commands(), before + 1);
    for (int i = 0; i < 100; i++) {
        put(near, "a");
        expect(far, "a");
        put(far, "b");
        expect(near, "b");
    }
    after = loop_commands();
    assert_in_range(after - before, 1, 450);
    channel_destroy(&near);
    channel_destroy(&far);
}

/* Refusals: soon, and with their reason. */
static void test_refusals(void **state)
{
    static const struct {
        struct loop_options options;
        const char *uri;
        int err;
    } rows[] = {
        {{.foreign = true}, NODE, VD_ERR_GONE},
        {{.no_3d = true}, NODE, VD_ERR_GONE},
        {{.no_caps = true}, NODE, VD_ERR_GONE},
        {{.no_memory = true}, NODE, VD_ERR_MEMORY},
        {{.short_object = true}, NODE, VD_ERR_MEMORY},
        {{.short_pages = true}, NODE, VD_ERR_PARAMETER},
        {{.no_object = true}, NODE, VD_ERR_PROTOCOL},
        {{.small_rings = true}, NODE, VD_ERR_GONE},
        {{.socket = "/nowhere/at/all.sock"}, NODE, VD_ERR_GONE},
        {{0}, "virtgpu:/dev/dri/renderD129", VD_ERR_GONE},
        {{0}, "virtgpu:", VD_ERR_PARAMETER},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct channel *channel = NULL;
        char path[64];
        bool ours = !rows[i].options.foreign && !rows[i].options.no_3d &&
                    !rows[i].options.no_caps && !rows[i].options.small_rings;
        double begin = check_seconds();

        assert_int_equal(start(&rows[i].options), 0);
        assert_int_equal(channel_connect(rows[i].uri, &channel), rows[i].err);
        assert_true(check_seconds() - begin < 10);
        assert_null(channel);
        assert_int_equal(virtgpu_find(path, sizeof(path)), ours);
        if (ours)
            assert_string_equal(path, "/dev/dri/renderD128");
        teardown(NULL);
    }
}

static void test_too_many(void **state)
{
    struct loop_options options = {.max_sessions = 2};
    struct channel *near[2], *far[2], *third = NULL;

    (void)state;
    assert_int_equal(start(&options), 0);
    for (int i = 0; i < 2; i++)
        near[i] = open_one(&far[i]);
    assert_int_equal(channel_connect(NODE, &third), VD_ERR_BUSY);
    channel_destroy(&near[0]);
    sessions_are(1);
    channel_destroy(&far[0]);
    near[0] = open_one(&far[0]);
    for (int i = 0; i < 2; i++) {
        channel_destroy(&near[i]);
        channel_destroy(&far[i]);
    }
    teardown(NULL);
}

#define KINDS(test)                                             \
    cmocka_unit_test_setup_teardown(test, setup_new, teardown), \
    {                                                           \
#test " (before 6.4)", test, setup_old, teardown, NULL  \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        KINDS(test_both_ways),
        KINDS(test_bulk),
        KINDS(test_timeouts),
        KINDS(test_end),
        KINDS(test_last_words),
        KINDS(test_several),
        KINDS(test_pause),
        KINDS(test_fork),
        KINDS(test_share),
        KINDS(test_commands),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
