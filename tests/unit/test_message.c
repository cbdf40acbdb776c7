/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <transport/message.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <viaduct/protocol.h>

#define SHORT_MS 20

/* A message of `size` bytes; `fill` tells it from others. */
static uint8_t *make(uint32_t size, uint8_t fill)
{
    struct vd_header header = {.size = size, .op = fill, .serial = fill + 1u, .tail = fill + 2u};
    uint8_t *bytes = malloc(size);

    assert_non_null(bytes);
    memset(bytes, fill, size);
    memcpy(bytes, &header, sizeof(header));
    return bytes;
}

static void expect(struct message_reader *reader, const uint8_t *want, size_t want_size)
{
    const uint8_t *bytes;
    size_t size;
    int fd;

    assert_int_equal(message_read(reader, SHORT_MS, &bytes, &size, &fd), 0);
    assert_int_equal(size, want_size);
    assert_memory_equal(bytes, want, size);
    assert_int_equal((uintptr_t)bytes % 8, 0);
    assert_int_equal(fd, -1);
}

static void send_bytes(struct channel *channel, const void *bytes, size_t size, int fd)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, size};

    assert_int_equal(channel->ops->send(channel, &iov, 1, fd, 1000), 0);
}

/* Three messages, the second of odd length, arriving in two parts cut at every place. */
static void test_every_split(void **state)
{
    static const uint32_t sizes[] = {16, 37, 24};
    uint8_t all[16 + 37 + 24];
    size_t total = 0;

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        uint8_t *one = make(sizes[i], (uint8_t)(i + 1));

        memcpy(all + total, one, sizes[i]);
        total += sizes[i];
        free(one);
    }
    for (size_t cut = 0; cut <= total; cut++) {
        struct channel *a, *b;
        struct message_reader reader;
        const uint8_t *bytes;
        size_t size, at = 0, done = 0;
        int fd;

        assert_int_equal(mem_create_pair(&a, &b), 0);
        message_init(&reader, b);
        if (cut)
            send_bytes(a, all, cut, -1);
        while (done < COUNT(sizes) && at + sizes[done] <= cut) {
            expect(&reader, all + at, sizes[done]);
            at += sizes[done++];
        }
        assert_false(message_pending(&reader));
        assert_int_equal(message_read(&reader, SHORT_MS / 10, &bytes, &size, &fd), VD_ERR_TIMEOUT);
        if (cut < total)
            send_bytes(a, all + cut, total - cut, -1);
        for (; done < COUNT(sizes); at += sizes[done++])
            expect(&reader, all + at, sizes[done]);
        channel_destroy(&a);
        assert_int_equal(message_read(&reader, SHORT_MS, &bytes, &size, &fd), VD_ERR_GONE);
        message_finish(&reader);
        channel_destroy(&b);
    }
}

/* The same in pieces of every size. */
static void test_pieces(void **state)
{
    uint8_t all[100 * 40];
    size_t total = 0;

    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        uint8_t *one = make(16 + i % 24, (uint8_t)i);

        memcpy(all + total, one, 16 + i % 24);
        total += 16 + i % 24;
        free(one);
    }
    for (size_t piece = 1; piece < 64; piece++) {
        struct channel *channel;
        struct message_reader reader;
        size_t at = 0;

        assert_int_equal(fuzz_create(all, total, piece, -1, &channel), 0);
        message_init(&reader, channel);
        for (uint32_t i = 0; i < 100; at += 16 + i++ % 24)
            expect(&reader, all + at, 16 + i % 24);
        message_finish(&reader);
        channel_destroy(&channel);
    }
}

static void test_impossible_sizes(void **state)
{
    static const uint32_t sizes[] = {0, 1, 15, VD_MAX_MESSAGE + 1, 0x80000000u, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct vd_header header = {.size = sizes[i], .op = 1, .serial = 1};
        struct message_reader reader;
        struct channel *channel;
        const uint8_t *bytes;
        size_t size;
        int fd;

        assert_int_equal(fuzz_create(&header, sizeof(header), 16, -1, &channel), 0);
        message_init(&reader, channel);
        assert_int_equal(message_read(&reader, SHORT_MS, &bytes, &size, &fd), VD_ERR_PROTOCOL);
        /* Nothing was made ready for a size that is refused. */
        assert_true(reader.room < VD_MAX_MESSAGE);
        message_finish(&reader);
        channel_destroy(&channel);
    }
}

/* Larger than the first buffer, up to the largest; small ones between them. */
static void test_large(void **state)
{
    static const uint32_t sizes[] = {16, 16384, 40, 16385, 17, 65536, VD_MAX_MESSAGE, 32};

    (void)state;
    for (size_t piece = 1000; piece < 4000000; piece *= 10) {
        size_t total = 0, at = 0;
        struct message_reader reader;
        struct channel *channel;
        uint8_t *all;

        for (size_t i = 0; i < COUNT(sizes); i++)
            total += sizes[i];
        all = malloc(total);
        assert_non_null(all);
        for (size_t i = 0; i < COUNT(sizes); at += sizes[i++]) {
            uint8_t *one = make(sizes[i], (uint8_t)(i + 1));

            memcpy(all + at, one, sizes[i]);
            free(one);
        }
        assert_int_equal(fuzz_create(all, total, piece, -1, &channel), 0);
        message_init(&reader, channel);
        at = 0;
        for (size_t i = 0; i < COUNT(sizes); at += sizes[i++])
            expect(&reader, all + at, sizes[i]);
        assert_in_range(reader.room, VD_MAX_MESSAGE, 2 * VD_MAX_MESSAGE);
        message_finish(&reader);
        channel_destroy(&channel);
        free(all);
    }
}

static void test_send(void **state)
{
    struct vd_submit_req req = {1, 2, 3, 4, VD_SUBMIT_FIXED, 0};
    struct vd_buffer_ref tail[3] = {{1, 2, 3, 0, 4}, {5, 6, 7, 0, 8}, {9, 10, 11, 0, 12}};
    struct message_reader reader;
    struct channel *a, *b;
    struct vd_header header;
    const uint8_t *bytes;
    size_t size;
    int fd;

    (void)state;
    assert_int_equal(mem_create_pair(&a, &b), 0);
    message_init(&reader, b);
    for (uint32_t count = 0; count <= 3; count++) {
        assert_int_equal(message_send(a, VD_OP_submit, 9, &req, sizeof(req), tail, count,
                                      sizeof(tail[0]), -1, SHORT_MS),
                         0);
        assert_int_equal(message_read(&reader, SHORT_MS, &bytes, &size, &fd), 0);
        memcpy(&header, bytes, sizeof(header));
        assert_int_equal(size, 16 + sizeof(req) + count * sizeof(tail[0]));
        assert_int_equal(header.size, size);
        assert_int_equal(header.op, VD_OP_submit);
        assert_int_equal(header.serial, 9);
        assert_int_equal(header.tail, count);
        assert_memory_equal(bytes + 16, &req, sizeof(req));
        assert_memory_equal(bytes + 16 + sizeof(req), tail, count * sizeof(tail[0]));
    }
    message_finish(&reader);
    channel_destroy(&a);
    channel_destroy(&b);
}

/* Too much is refused before a byte leaves, also where the size wraps in 32 bits. */
static void test_send_limit(void **state)
{
    static const uint32_t counts[] = {VD_MAX_MESSAGE / 8, 0x10000000u, UINT32_MAX};
    struct vd_kick_req req = {0};
    uint8_t byte = 0;
    struct channel *channel;

    (void)state;
    assert_int_equal(fuzz_create(NULL, 0, 1, -1, &channel), 0);
    for (size_t i = 0; i < COUNT(counts); i++)
        assert_int_equal(message_send(channel, VD_OP_kick, 0, &req, sizeof(req), &byte, counts[i],
                                      16, -1, SHORT_MS),
                         VD_ERR_LIMIT);
    channel_destroy(&channel);
}

static bool same_file(int a, int b)
{
    struct stat sa, sb;

    return !fstat(a, &sa) && !fstat(b, &sb) && sa.st_ino == sb.st_ino && sa.st_dev == sb.st_dev;
}

/* A descriptor travels with its message; none is lost or left behind. */
static void test_descriptor(void **state)
{
    int before = check_descriptors(), pair[2], file, fd;
    struct vd_kick_req req = {1, 2};
    struct message_reader reader;
    struct channel *a, *b;
    const uint8_t *bytes;
    size_t size;

    (void)state;
    file = memfd_create("test", MFD_CLOEXEC);
    for (int kind = 0; kind < 2; kind++) {
        if (kind) {
            assert_int_equal(mem_create_pair(&a, &b), 0);
        } else {
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
            assert_int_equal(unix_create(pair[0], &a), 0);
            assert_int_equal(unix_create(pair[1], &b), 0);
        }
        message_init(&reader, b);
        assert_int_equal(message_send(a, 8, 1, &req, sizeof(req), NULL, 0, 0, file, SHORT_MS), 0);
        assert_int_equal(message_read(&reader, SHORT_MS, &bytes, &size, &fd), 0);
        assert_true(fd >= 0 && fd != file);
        assert_true(same_file(fd, file));
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        close(fd);
        assert_int_equal(message_send(a, 8, 2, &req, sizeof(req), NULL, 0, 0, -1, SHORT_MS), 0);
        assert_int_equal(message_read(&reader, SHORT_MS, &bytes, &size, &fd), 0);
        assert_int_equal(fd, -1);
        /* Two that nobody fetches, one half arrived. */
        for (int i = 0; i < 2; i++)
            assert_int_equal(message_send(a, 8, 3, &req, sizeof(req), NULL, 0, 0, file, SHORT_MS),
                             0);
        send_bytes(a, "\x20\0\0\0", 4, file);
        assert_int_equal(message_read(&reader, SHORT_MS, &bytes, &size, &fd), 0);
        if (fd >= 0)
            close(fd);
        message_finish(&reader);
        channel_destroy(&a);
        channel_destroy(&b);
    }
    close(file);
    assert_int_equal(check_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_impossible_sizes),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_send),
        cmocka_unit_test(test_send_limit),
        cmocka_unit_test(test_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
