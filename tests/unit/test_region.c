/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <transport/broker.h>
#include <va_driver/host.h>

#include "../../host_decoder/region.h"
#include "../../vm/region_file.h"

/*
 * Sessions in memory that a machine has in common with its host. Here a memfd is both, the host's
 * file and the guest's device, and a thread is the broker. What wakes across kernels is looked at
 * on the wire: within one kernel the futex alone would do.
 */
#define SURFACE 0x30000002u
#define CONTEXT 0x20000001u
#define BYTES   (64ull << 20)

static struct test {
    struct guest guests[3];
    int count;
    int file; /* the region */
    uint64_t bytes;
    int regions;
    uint8_t *memory;
    int listener, refusal;
    int other; /* what the broker gives instead, or -1 */
    uint64_t asked[2];
    int questions;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the guests' host_end */
    int descriptors;
    char folder[32], broker[48];
} t;

/* A file in the test's folder; valid until the next but one. */
static const char *in_folder(const char *name)
{
    static char paths[2][64];
    static int last;

    last = !last;
    snprintf(paths[last], sizeof(paths[last]), "%s/%s", t.folder, name);
    return paths[last];
}

/* Another open file of the same memory, as the service opens one a client. */
static int open_again(int fd)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_RDWR | O_CLOEXEC);
}

/* As guest_serve, but the teardown may look whether it is still there. */
static void *serve(void *arg)
{
    struct guest *g = arg;

    g->result =
        session_serve(g->host_end, &g->backends, &g->options, &g->limits, &g->stats, NULL, NULL);
    pthread_mutex_lock(&t.lock);
    channel_destroy(&g->host_end);
    pthread_mutex_unlock(&t.lock);
    return NULL;
}

int __wrap_channel_connect(const char *uri, struct channel **ret_channel);

int __wrap_channel_connect(const char *uri, struct channel **ret_channel)
{
    struct guest *g = &t.guests[t.count];

    assert_string_equal(uri, "test:");
    memset(g, 0, sizeof(*g));
    g->backends = (struct backend_set){.at = {{.backend = &backend_null}}, .count = 1};
    g->options.threads = 1;
    g->limits = (struct session_limits){.contexts = 4, .surfaces = 40, .bytes = 1 << 30};
    for (int i = 0; i < t.regions; i++)
        g->limits.regions[i] = (struct session_region){open_again(t.file), 0, t.bytes};
    g->limits.region_count = (uint32_t)t.regions;
    g->arena.fd = -1;
    assert_int_equal(mem_create_pair_in_band(&g->channel, &g->host_end), 0);
    g->running = !pthread_create(&g->thread, NULL, serve, g);
    *ret_channel = g->channel;
    t.count++;
    return g->running ? 0 : VD_ERR_MEMORY;
}

static void *broker(void *arg)
{
    int fd;

    (void)arg;
    while ((fd = accept4(t.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct broker_reply reply = {.magic = BROKER_MAGIC, .status = (uint32_t)-t.refusal};
        struct broker_request request;
        char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
        struct iovec iov = {&reply, sizeof(reply)};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        int device = open_again(t.other >= 0 ? t.other : t.file);

        if (recv(fd, &request, sizeof(request), 0) == sizeof(request)) {
            memcpy(t.asked, request.token, sizeof(t.asked));
            t.questions++;
        }
        if (!t.refusal) {
            struct cmsghdr *c = (void *)control;

            msg.msg_control = control;
            msg.msg_controllen = sizeof(control);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(c), &device, sizeof(int));
        }
        sendmsg(fd, &msg, MSG_NOSIGNAL);
        close(device);
        close(fd);
    }
    return NULL;
}

static int setup(void **state)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};

    (void)state;
    memset(&t, 0, sizeof(t));
    pthread_mutex_init(&t.lock, NULL);
    t.descriptors = check_descriptors();
    t.regions = 1;
    t.bytes = BYTES;
    t.other = -1;
    t.file = memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(t.file, BYTES), 0);
    assert_int_equal(fcntl(t.file, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    t.memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, t.file, 0);
    assert_ptr_not_equal(t.memory, MAP_FAILED);
    memset(t.memory, 0x5a, BYTES); /* of a client before */
    strcpy(t.folder, "/tmp/viaduct-region-XXXXXX");
    assert_non_null(mkdtemp(t.folder));
    snprintf(t.broker, sizeof(t.broker), "%s/broker", t.folder);
    strcpy(sun.sun_path, t.broker);
    t.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(t.listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(listen(t.listener, 8), 0);
    assert_int_equal(pthread_create(&t.thread, NULL, broker, NULL), 0);
    setenv("VIADUCT_HOST", "test:", 1);
    setenv("VIADUCT_REGION", t.broker, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    /* A test that has failed has left its end open: the session would wait for more. */
    pthread_mutex_lock(&t.lock);
    for (int i = 0; i < t.count; i++) {
        if (t.guests[i].host_end)
            t.guests[i].host_end->ops->shut(t.guests[i].host_end);
    }
    pthread_mutex_unlock(&t.lock);
    for (int i = 0; i < t.count; i++)
        guest_join(&t.guests[i]);
    pthread_mutex_destroy(&t.lock);
    shutdown(t.listener, SHUT_RDWR);
    pthread_join(t.thread, NULL);
    close(t.listener);
    munmap(t.memory, BYTES);
    close(t.file);
    unlink(t.broker);
    rmdir(t.folder);
    assert_int_equal(check_descriptors(), t.descriptors);
    return 0;
}

static bool is_region(const struct host *host)
{
    return host->link && !host->mirror;
}

/* A surface with memory, through the driver's end. */
static uint64_t surface_memory(struct host *host)
{
    struct vd_surface_create_req create = {.fourcc = VA_FOURCC_NV12, .width = 64, .height = 64};
    struct vd_surface_create_rep created;
    struct vd_surface_back_req back = {.surface = SURFACE};
    struct vd_surface_back_rep backed;
    struct vd_id id = {SURFACE};

    assert_int_equal(host_call(host, VD_OP_surface_create, &create, &id, 1, &created, NULL, NULL),
                     0);
    assert_int_equal(created.status, 0);
    assert_int_equal(host_call(host, VD_OP_surface_back, &back, NULL, 0, &backed, NULL, NULL), 0);
    assert_int_equal(backed.status, 0);
    assert_in_range(backed.backing, 0, VD_MAX_BACKINGS - 1);
    return host->arena.status->backings[backed.backing].offset;
}

/* One memory for both, empty at first and at last. */
static void test_used(void **state)
{
    struct host *host;
    uint64_t offset;

    (void)state;
    assert_int_equal(host_open(1, &host), 0);
    assert_true(is_region(host));
    assert_false(host_passes(host));
    assert_true(host_alive(host));
    assert_int_equal(t.count, 1);
    assert_int_equal(t.questions, 1);
    assert_int_equal(host->arena.size, BYTES);
    assert_true(host->arena.frame_size < BYTES && host->max_bytes == host->arena.frame_size);
    /* By now it has the guest's own numbers. */
    assert_memory_not_equal(host->arena.status->region, t.asked, sizeof(t.asked));
    assert_true(t.asked[0] || t.asked[1]);
    for (uint64_t i = sizeof(struct vd_status_page); i < BYTES; i++) {
        if (t.memory[i])
            fail_msg("byte %llu is the client's before", (unsigned long long)i);
    }
    offset = surface_memory(host);
    assert_in_range(offset, host->arena.frame_offset, BYTES - 1);
    host->arena.base[offset + 5] = 77;
    assert_int_equal(t.memory[offset + 5], 77);
    host_unref(&host);
    guest_join(&t.guests[0]);
    assert_int_equal(t.guests[0].result, 0);
    assert_int_equal(t.memory[offset + 5], 0);
}

/* What a client has no other one gets; when it leaves, the next does, with another name. */
static void test_taken(void **state)
{
    struct host *first, *second;
    uint64_t token[2];

    (void)state;
    assert_int_equal(host_open(1, &first), 0);
    memcpy(token, t.asked, sizeof(token));
    assert_int_equal(host_open(2, &second), 0);
    assert_true(is_region(first));
    assert_false(is_region(second));
    assert_non_null(second->mirror);
    assert_int_equal(t.questions, 1);
    host_unref(&second);
    host_unref(&first);
    guest_join(&t.guests[0]);
    assert_int_equal(host_open(3, &first), 0);
    assert_true(is_region(first));
    assert_memory_not_equal(token, t.asked, sizeof(token));
    host_unref(&first);
}

/* The broker refuses, is not there, or there is no device: pictures are sent as ever. */
static void test_refused(void **state)
{
    struct host *host;

    (void)state;
    t.refusal = VD_ERR_BUSY;
    assert_int_equal(host_open(1, &host), 0);
    assert_non_null(host->mirror);
    assert_int_equal(t.questions, 1);
    assert_int_equal(t.count, 2);
    host_unref(&host);
    setenv("VIADUCT_REGION", "none", 1);
    assert_int_equal(host_open(2, &host), 0);
    assert_non_null(host->mirror);
    assert_int_equal(t.questions, 1);
    assert_int_equal(t.count, 3);
    host_unref(&host);
}

/* A program of the guest shows its own memory as what the host has named: seen, and not used. */
static void test_swapped(void **state)
{
    struct host *host;
    uint8_t *memory;

    (void)state;
    t.other = memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(t.other, BYTES), 0);
    assert_int_equal(fcntl(t.other, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    assert_int_equal(host_open(1, &host), 0);
    assert_non_null(host->mirror);
    assert_int_equal(t.questions, 1);
    assert_int_equal(t.count, 2);
    host_unref(&host);
    guest_join(&t.guests[0]);
    assert_int_equal(t.guests[0].result, VD_ERR_PROTOCOL);
    /* Nothing but the numbers got there. */
    memory = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, t.other, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    for (uint64_t i = 64; i < BYTES; i++) {
        if (memory[i])
            fail_msg("byte %llu is another program's", (unsigned long long)i);
    }
    munmap(memory, BYTES);
    close(t.other);
}

/* A machine without, and one whose memory is too small for anything. */
static void test_absent(void **state)
{
    struct host *host;

    (void)state;
    t.regions = 0;
    assert_int_equal(host_open(1, &host), 0);
    assert_non_null(host->mirror);
    host_unref(&host);
    t.regions = 2;
    t.bytes = 8 << 20;
    assert_int_equal(host_open(2, &host), 0);
    assert_non_null(host->mirror);
    assert_int_equal(t.questions, 0);
    host_unref(&host);
}

/* Frames that do not fit are refused, and the session goes on. */
static void test_full(void **state)
{
    struct vd_surface_create_req create = {.fourcc = VA_FOURCC_NV12, .width = 4096, .height = 4096};
    struct vd_surface_create_rep created;
    struct vd_surface_back_rep backed = {0};
    struct vd_id ids[4] = {{SURFACE + 1}, {SURFACE + 2}, {SURFACE + 3}, {SURFACE + 4}};
    struct host *host;

    (void)state;
    assert_int_equal(host_open(1, &host), 0);
    assert_int_equal(host_call(host, VD_OP_surface_create, &create, ids, 4, &created, NULL, NULL),
                     0);
    for (int i = 0; i < 4 && !backed.status; i++) {
        struct vd_surface_back_req back = {.surface = ids[i].id};

        assert_int_equal(host_call(host, VD_OP_surface_back, &back, NULL, 0, &backed, NULL, NULL),
                         0);
    }
    assert_int_equal(-(int)backed.status, VD_ERR_LIMIT);
    surface_memory(host);
    host_unref(&host);
}

/* A scripted guest: HELLO with these features; maps the memory itself. */
static void hello(struct guest *g, uint64_t features, uint64_t expect)
{
    struct vd_hello_req req = guest_hello_req();
    struct dispatch_message message;
    const uint8_t *bytes;
    struct channel *channel;
    size_t size;
    int fd;

    assert_int_equal(__wrap_channel_connect("test:", &channel), 0);
    message_init(&g->reader, channel);
    req.features = features;
    assert_int_equal(message_send(channel, VD_OP_hello, ++g->serial, &req, sizeof(req), NULL, 0, 0,
                                  -1, GUEST_MS),
                     0);
    assert_int_equal(message_read(&g->reader, GUEST_MS, &bytes, &size, &fd), 0);
    assert_int_equal(fd, -1);
    assert_int_equal(dispatch_check_reply(bytes, size, dispatch_find(VD_OP_hello), 1, &message), 0);
    memcpy(&g->hello, message.fixed, sizeof(g->hello));
    assert_int_equal(g->hello.status, 0);
    assert_int_equal(g->hello.features, expect);
    if (expect == VD_FEATURE_REGION)
        assert_int_equal(arena_open_region(&g->arena, open_again(t.file), &g->hello), 0);
    g->at = g->arena.upload_offset;
}

static void next_event(struct guest *g, uint32_t offset)
{
    struct dispatch_message message;
    const uint8_t *bytes;
    size_t size;
    int fd;

    assert_int_equal(message_read(&g->reader, GUEST_MS, &bytes, &size, &fd), 0);
    assert_int_equal(dispatch_check_event(bytes, size, &message), 0);
    assert_int_equal(message.event->number, VD_EVENT_wake);
    assert_int_equal(((const struct vd_wake_event *)message.fixed)->offset, offset);
}

/* Looks, and does not sleep: who sleeps is sent events. */
static void look(struct guest *g, uint32_t sequence)
{
    for (int i = 0; i < GUEST_MS && fence_load(&guest_slot(g, SURFACE)->done) != sequence; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(fence_load(&guest_slot(g, SURFACE)->done), sequence);
}

/* Where somebody sleeps there is an event, and where nobody does there is none. */
static void test_wake(void **state)
{
    struct guest *g = &t.guests[0];
    struct vd_status_page *status;
    struct vd_surface_slot *slot;
    struct picture p;

    (void)state;
    hello(g, VD_FEATURES, VD_FEATURE_REGION);
    status = g->arena.status;
    assert_int_equal(guest_context(g, CONTEXT, 16, 16), 0);
    assert_int_equal(guest_surfaces(g, VA_FOURCC_NV12, SURFACE, 2), 0);
    slot = guest_slot(g, SURFACE);
    picture_idr(&p, SURFACE);
    assert_int_equal(guest_submit(g, CONTEXT, SURFACE, 1, &p), 0);
    look(g, 1);
    __atomic_store_n(&status->consumed_waiters, 1, __ATOMIC_SEQ_CST);
    assert_int_equal(guest_submit(g, CONTEXT, SURFACE, 2, &p), 0);
    next_event(g, 0);
    assert_int_equal(status->consumed, 2);
    __atomic_store_n(&status->consumed_waiters, 0, __ATOMIC_SEQ_CST);
    look(g, 2);
    __atomic_store_n(&slot->waiters, 1, __ATOMIC_SEQ_CST);
    assert_int_equal(guest_submit(g, CONTEXT, SURFACE, 3, &p), 0);
    next_event(g, (uint32_t)((uint8_t *)slot - g->arena.base));
    assert_int_equal(slot->done, 3);
    __atomic_store_n(&slot->waiters, 0, __ATOMIC_SEQ_CST);
    /* No event is in front of this reply. */
    assert_int_equal(guest_context_destroy(g, CONTEXT), 0);
    assert_int_equal(guest_stop(g), 0);
}

/* What only the other kind of session has ends this one. */
static void test_violations(void **state)
{
    struct vd_arena_write_req write;
    struct vd_region_req region = {0};
    struct vd_region_rep rep;
    uint64_t word = 0;

    (void)state;
    hello(&t.guests[0], VD_FEATURES, VD_FEATURE_REGION);
    write = (struct vd_arena_write_req){.offset = t.guests[0].arena.upload_offset};
    assert_int_equal(guest_oneway(&t.guests[0], VD_OP_arena_write, &write, &word, 1), 0);
    guest_join(&t.guests[0]);
    assert_int_equal(guest_stop(&t.guests[0]), VD_ERR_PROTOCOL);
    /* CUDA's addresses are the host's: it takes no region, and is refused in-band. */
    hello(&t.guests[1], VD_FEATURES | VD_FEATURE_CUDA, VD_FEATURE_IN_BAND);
    assert_int_equal(guest_call(&t.guests[1], VD_OP_region, &region, NULL, 0, &rep), VD_ERR_GONE);
    assert_int_equal(guest_stop(&t.guests[1]), VD_ERR_PROTOCOL);
}

/* What a host could say that the device does not hold, or that would fault. */
static void test_arena(void **state)
{
    struct arena arena;
    struct vd_hello_rep good, bad;
    int shrinks = memfd_create("shrinks", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    (void)state;
    assert_int_equal(arena_region(&arena, open_again(t.file), 0, BYTES), 0);
    good = (struct vd_hello_rep){
        .arena_size = arena.size,
        .upload_offset = arena.upload_offset,
        .upload_size = arena.upload_size,
        .frame_offset = arena.frame_offset,
        .frame_size = arena.frame_size,
    };
    arena_finish(&arena);
    assert_int_equal(arena_open_region(&arena, open_again(t.file), &good), 0);
    arena_finish(&arena);
    bad = good;
    bad.arena_size += 2 << 20;
    assert_int_equal(arena_open_region(&arena, open_again(t.file), &bad), VD_ERR_LIMIT);
    bad = good;
    bad.frame_size += 4096;
    assert_int_equal(arena_open_region(&arena, open_again(t.file), &bad), VD_ERR_PROTOCOL);
    assert_int_equal(ftruncate(shrinks, BYTES), 0);
    assert_int_equal(arena_open_region(&arena, shrinks, &good), VD_ERR_LIMIT);
    assert_int_equal(arena_open_region(&arena, open("/dev/null", O_RDWR | O_CLOEXEC), &good),
                     VD_ERR_LIMIT);
    assert_int_equal(arena_region(&arena, open_again(t.file), 4096, BYTES), VD_ERR_LIMIT);
    assert_int_equal(arena_region(&arena, open("/dev/null", O_RDWR | O_CLOEXEC), 0, BYTES),
                     VD_ERR_UNSUPPORTED);
}

/* Files as QEMU shows them, and as the service finds them. */
static void test_files(void **state)
{
    int fds[SESSION_MAX_REGIONS];
    struct session_region regions[SESSION_MAX_REGIONS];
    uint8_t head[8192];
    uint64_t sum, data;
    int fd;

    (void)state;
    for (int i = 0; i < SESSION_MAX_REGIONS; i++)
        fds[i] = -1;
    assert_int_equal(region_open(in_folder("none"), fds, SESSION_MAX_REGIONS), 0);
    assert_int_equal(region_open(t.folder, fds, SESSION_MAX_REGIONS), 0);
    assert_int_equal(region_file_make(in_folder("0.region"), BYTES, (uint32_t)-1), 0);
    assert_int_equal(region_file_make(in_folder("0.region"), BYTES, (uint32_t)-1), VD_ERR_BUSY);
    assert_int_equal(region_file_make(in_folder("1.region"), 2 << 20, (uint32_t)-1), 0);
    assert_int_equal(symlink("/etc/passwd", in_folder("2.region")), 0);
    assert_int_equal(region_open(t.folder, fds, SESSION_MAX_REGIONS), 2);
    /* The small one is none. */
    assert_int_equal(region_list(fds, regions), 1);
    assert_int_equal(regions[0].offset, 2 << 20);
    assert_int_equal(regions[0].bytes, BYTES);
    close(regions[0].fd);
    fd = open(in_folder("0.region"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, head, sizeof(head)), sizeof(head));
    close(fd);
    assert_memory_equal(head + 4096, "NVDIMM_DAX_INFO", 16);
    memcpy(&data, head + 4096 + 56, sizeof(data));
    assert_int_equal(data, 2 << 20);
    memcpy(&sum, head + 8184, sizeof(sum));
    assert_true(sum);
    unlink(in_folder("0.region"));
    unlink(in_folder("1.region"));
    unlink(in_folder("2.region"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_used, setup, teardown),
        cmocka_unit_test_setup_teardown(test_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_swapped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wake, setup, teardown),
        cmocka_unit_test_setup_teardown(test_violations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arena, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
