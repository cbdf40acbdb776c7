/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "host.h"

/*
 * The guest's end against a host that says what the test wants. Everything the guest can be told
 * at HELLO is broken once, in an answer that is fine otherwise.
 */

static struct script {
    struct channel *host_end, *guest_end;
    struct arena arena;
    struct vd_header header;
    struct vd_hello_rep rep;
    struct vd_cap caps[2];
    size_t cut; /* bytes of the answer that are sent */
    int fd;
    int descriptors;
} s;

static int setup(void **state)
{
    (void)state;
    memset(&s, 0, sizeof(s));
    s.descriptors = check_descriptors();
    if (arena_create(&s.arena, 1 << 20) || mem_create_pair(&s.host_end, &s.guest_end))
        return 1;
    s.fd = s.arena.fd;
    s.rep = (struct vd_hello_rep){
        .major = VD_MAJOR,
        .minor = VD_MINOR,
        .features = VD_FEATURE_SHARED_ARENA,
        .arena_size = s.arena.size,
        .upload_offset = s.arena.upload_offset,
        .upload_size = s.arena.upload_size,
        .frame_offset = s.arena.frame_offset,
        .frame_size = s.arena.frame_size,
        .max_contexts = 3,
        .max_surfaces = 9,
        .backend = "script",
    };
    s.caps[0] = (struct vd_cap){.profile = 6, .format_count = VD_MAX_CAP_FORMATS};
    s.caps[1] = (struct vd_cap){.profile = 7, .format_count = 1};
    s.header = (struct vd_header){
        .size = sizeof(s.header) + sizeof(s.rep) + sizeof(s.caps),
        .op = VD_OP_hello | VD_REPLY,
        .serial = 1,
        .tail = 2,
    };
    s.cut = s.header.size;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    channel_destroy(&s.host_end);
    channel_destroy(&s.guest_end);
    arena_finish(&s.arena);
    assert_int_equal(check_descriptors(), s.descriptors);
    return 0;
}

/* Reads the question, then ends. */
static void *hang_up(void *arg)
{
    uint8_t bytes[256];
    size_t size;
    int fd;

    (void)arg;
    s.host_end->ops->recv(s.host_end, bytes, sizeof(bytes), &size, &fd, 10000);
    channel_destroy(&s.host_end);
    return NULL;
}

/* The answer waits before the question is asked: mem channels hold any number of bytes. */
static int answer(struct host **ret_host)
{
    uint8_t bytes[sizeof(s.header) + sizeof(s.rep) + sizeof(s.caps)];
    struct iovec iov = {bytes, s.cut};
    struct channel *channel = s.guest_end;
    bool ends = s.cut < sizeof(bytes);
    pthread_t thread;
    int err;

    memcpy(bytes, &s.header, sizeof(s.header));
    memcpy(bytes + sizeof(s.header), &s.rep, sizeof(s.rep));
    memcpy(bytes + sizeof(s.header) + sizeof(s.rep), s.caps, sizeof(s.caps));
    assert_int_equal(s.host_end->ops->send(s.host_end, &iov, 1, s.fd, 1000), 0);
    /* Nothing comes behind it. */
    if (ends)
        assert_int_equal(pthread_create(&thread, NULL, hang_up, NULL), 0);
    s.guest_end = NULL;
    err = host_open_channel(channel, "test:", 7, ret_host);
    if (ends)
        pthread_join(thread, NULL);
    return err;
}

static void test_good(void **state)
{
    struct host *host, *again;

    (void)state;
    assert_int_equal(answer(&host), 0);
    assert_false(host->dead);
    assert_true(host_alive(host));
    assert_false(host_alive(NULL));
    assert_int_equal(host->generation, 7);
    assert_int_equal(host->max_contexts, 3);
    assert_int_equal(host->max_surfaces, 9);
    assert_int_equal(host->cap_count, 2);
    assert_int_equal(host->caps[1].profile, 7);
    assert_string_equal(host->backend, "script");
    assert_int_equal(host->arena.size, s.arena.size);
    s.arena.status->consumed = 5;
    assert_int_equal(host->arena.status->consumed, 5);
    again = host_ref(host);
    host_unref(&again);
    assert_null(again);
    /* Gone: the next call says so at once, and so do all after it. */
    channel_destroy(&s.host_end);
    assert_false(host_alive(host));
    for (int i = 0; i < 2; i++) {
        struct vd_surface_back_req req = {1, 0};
        struct vd_surface_back_rep rep;

        assert_int_equal(host_call(host, VD_OP_surface_back, &req, NULL, 0, &rep, NULL, NULL),
                         VD_ERR_GONE);
        assert_true(host->dead);
    }
    host_unref(&host);
    host_unref(&host);
}

/* A host that allows more than the protocol has. */
static void test_limits(void **state)
{
    struct host *host;

    (void)state;
    s.rep.max_contexts = s.rep.max_surfaces = UINT32_MAX;
    assert_int_equal(answer(&host), 0);
    assert_int_equal(host->max_contexts, VD_MAX_CONTEXTS);
    assert_int_equal(host->max_surfaces, VD_MAX_SURFACES);
    host_unref(&host);
}

static void refused(int err)
{
    struct host *host = NULL;

    assert_int_equal(answer(&host), err);
    assert_null(host);
}

#define REFUSE(name, change, err)         \
    static void test_##name(void **state) \
    {                                     \
        (void)state;                      \
        change;                           \
        refused(err);                     \
    }

REFUSE(serial, s.header.serial = 2, VD_ERR_PROTOCOL)
REFUSE(operation, s.header.op = VD_OP_context_create | VD_REPLY, VD_ERR_PROTOCOL)
REFUSE(request, s.header.op = VD_OP_hello, VD_ERR_PROTOCOL)
REFUSE(tail, s.header.tail = 1, VD_ERR_PROTOCOL)
REFUSE(tail_count, s.header.tail = UINT32_MAX, VD_ERR_PROTOCOL)
REFUSE(size, s.header.size--, VD_ERR_PROTOCOL)
REFUSE(size_huge, s.header.size = VD_MAX_MESSAGE + 1, VD_ERR_PROTOCOL)
REFUSE(short_fixed, s.header.size = s.cut = sizeof(s.header) + 8, VD_ERR_PROTOCOL)
REFUSE(cut_header, s.cut = 7, VD_ERR_GONE)
REFUSE(cut_body, s.cut = 40, VD_ERR_GONE)
REFUSE(backend_text, memset(s.rep.backend, 'x', sizeof(s.rep.backend)), VD_ERR_PROTOCOL)
REFUSE(status, s.rep.status = -VD_ERR_DENIED, VD_ERR_DENIED)
REFUSE(major, s.rep.major++, VD_ERR_VERSION)
REFUSE(minor, s.rep.minor = VD_MINOR + 1, VD_ERR_VERSION)
REFUSE(features, s.rep.features = 0, VD_ERR_VERSION)
REFUSE(features_more, s.rep.features |= 1ull << 63, VD_ERR_VERSION)
REFUSE(formats, s.caps[1].format_count = VD_MAX_CAP_FORMATS + 1, VD_ERR_PROTOCOL)
REFUSE(no_arena, s.fd = -1, VD_ERR_PROTOCOL)
REFUSE(arena_size, s.rep.arena_size -= 4096, VD_ERR_PROTOCOL)
REFUSE(upload_zone, s.rep.upload_size = UINT64_MAX, VD_ERR_PROTOCOL)
REFUSE(frame_zone, s.rep.frame_offset = 0, VD_ERR_PROTOCOL)

/* Whatever is not 0 is no success. */
static void test_status_high(void **state)
{
    static const uint32_t values[] = {0x80000000u, 0x80000001u, UINT32_MAX, 0x10000};

    for (size_t i = 0; i < COUNT(values); i++) {
        struct host *host = NULL;

        s.rep.status = values[i];
        assert_true(answer(&host) < 0);
        assert_null(host);
        teardown(state);
        setup(state);
    }
}

static void test_unsealed_arena(void **state)
{
    int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    (void)state;
    assert_int_equal(ftruncate(fd, (off_t)s.arena.size), 0);
    s.fd = fd;
    refused(VD_ERR_PROTOCOL);
    close(fd);
}

/* Replies to a later call: wrong ones end the session. */
static void test_call(void **state)
{
    struct vd_surface_back_req req = {1, 0};
    struct vd_surface_back_rep rep = {0, 42}, got;
    struct host *host;

    (void)state;
    assert_int_equal(answer(&host), 0);
    assert_int_equal(message_send(s.host_end, VD_OP_surface_back | VD_REPLY, 2, &rep, sizeof(rep),
                                  NULL, 0, 0, s.arena.fd, 1000),
                     0);
    assert_int_equal(host_call(host, VD_OP_surface_back, &req, NULL, 0, &got, NULL, NULL), 0);
    assert_int_equal(got.backing, 42);
    host->serial = UINT32_MAX;
    assert_int_equal(message_send(s.host_end, VD_OP_surface_back | VD_REPLY, 1, &rep, sizeof(rep),
                                  NULL, 0, 0, -1, 1000),
                     0);
    assert_int_equal(host_call(host, VD_OP_surface_back, &req, NULL, 0, &got, NULL, NULL), 0);
    assert_int_equal(message_send(s.host_end, VD_OP_surface_back | VD_REPLY, 3, &rep, sizeof(rep),
                                  NULL, 0, 0, -1, 1000),
                     0);
    assert_int_equal(host_call(host, VD_OP_surface_back, &req, NULL, 0, &got, NULL, NULL),
                     VD_ERR_PROTOCOL);
    assert_true(host->dead);
    assert_int_equal(host_send(host, VD_OP_kick, &(struct vd_kick_req){1, 1}, NULL, 0),
                     VD_ERR_GONE);
    host_unref(&host);
}

/* Who refuses a client answers and closes before the client has asked: it still hears why. */
static void test_refused_early(void **state)
{
    struct vd_hello_rep rep = {.status = (uint32_t)-VD_ERR_BUSY, .major = VD_MAJOR};
    struct channel *refusing, *asking;
    struct host *host = NULL;
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(unix_create(pair[0], &refusing), 0);
    assert_int_equal(unix_create(pair[1], &asking), 0);
    assert_int_equal(
        message_send(refusing, VD_OP_hello | VD_REPLY, 1, &rep, sizeof(rep), NULL, 0, 0, -1, 1000),
        0);
    channel_destroy(&refusing);
    assert_int_equal(host_open_channel(asking, "unix:test", 1, &host), VD_ERR_BUSY);
    assert_null(host);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(good),           TEST(limits),        TEST(serial),        TEST(operation),
        TEST(request),        TEST(tail),          TEST(tail_count),    TEST(size),
        TEST(size_huge),      TEST(short_fixed),   TEST(cut_header),    TEST(cut_body),
        TEST(backend_text),   TEST(status),        TEST(major),         TEST(minor),
        TEST(features),       TEST(features_more), TEST(formats),       TEST(no_arena),
        TEST(arena_size),     TEST(upload_zone),   TEST(frame_zone),    TEST(status_high),
        TEST(unsealed_arena), TEST(call),          TEST(refused_early),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
