/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <fcntl.h>
#include <gpu/device.h>
#include <linux/virtio_gpu.h>
#include <sys/socket.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <viaduct/virtgpu.h>

/* The device against a guest's kernel that says what the test wants. */

#define MEMORY (1u << 20)
#define BASE   0x40000000ull

static struct {
    struct gpu_device *device;
    uint8_t *memory;
    bool gone;         /* memory is not the guest's any more */
    int far;           /* of the session connected last */
    int refused;       /* what connect says, 0: it connects */
    uint32_t answered; /* by the callback */
    uint16_t token;    /* of the last request */
    int descriptors;
} t;

static void *translate(void *arg, uint64_t address, uint64_t size)
{
    (void)arg;
    if (t.gone || address < BASE || address - BASE > MEMORY || size > MEMORY - (address - BASE))
        return NULL;
    return t.memory + (address - BASE);
}

static int connect_to(void *arg, int *ret_fd)
{
    int pair[2];

    (void)arg;
    if (t.refused)
        return t.refused;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    if (t.far >= 0)
        close(t.far);
    t.far = pair[1];
    *ret_fd = pair[0];
    return 0;
}

static void answer(void *arg, struct vhost_token token, uint32_t written)
{
    (void)arg, (void)token;
    assert_true(written >= sizeof(struct virtio_gpu_ctrl_hdr));
    t.answered++;
}

static int setup(void **state)
{
    static const struct gpu_device_ops ops = {translate, connect_to, answer};

    (void)state;
    memset(&t, 0, sizeof(t));
    t.descriptors = check_descriptors();
    t.far = -1;
    t.memory = aligned_alloc(4096, MEMORY);
    memset(t.memory, 0, MEMORY);
    return gpu_device_create(&ops, NULL, 2, &t.device);
}

static int teardown(void **state)
{
    (void)state;
    gpu_device_destroy(&t.device);
    if (t.far >= 0)
        close(t.far);
    free(t.memory);
    assert_int_equal(check_descriptors(), t.descriptors);
    return 0;
}

#define HELD 1u

/* Type of the answer; HELD: none yet. The request is exactly as large as it is said to be. */
static uint32_t ask_with(uint32_t type, uint32_t context, uint32_t flags, void *fixed, size_t size,
                         const void *tail, size_t tail_size, void *ret_answer, size_t room)
{
    struct virtio_gpu_ctrl_hdr header = {.type = type, .ctx_id = context, .flags = flags};
    struct vhost_token token = {.head = ++t.token};
    struct iovec out[3], in;
    uint8_t answer[512];
    uint32_t written;
    void *copy, *more;
    bool done;

    header.fence_id = flags & VIRTIO_GPU_FLAG_FENCE ? 77 : 0;
    memcpy(fixed, &header, size < sizeof(header) ? size : sizeof(header));
    copy = check_exact(fixed, size);
    more = check_exact(tail, tail_size);
    /* In three pieces, the first of which ends in the middle of the header. */
    out[0] = (struct iovec){copy, size < 10 ? size : 10};
    out[1] = (struct iovec){(uint8_t *)copy + out[0].iov_len, size - out[0].iov_len};
    out[2] = (struct iovec){more, tail_size};
    in = (struct iovec){answer, sizeof(answer)};
    done = gpu_device_request(t.device, token, out, 3, &in, 1, &written);
    free(copy);
    free(more);
    assert_true(written >= sizeof(header));
    memcpy(&header, answer, sizeof(header));
    if (size >= sizeof(header)) {
        assert_int_equal(header.flags, flags & VIRTIO_GPU_FLAG_FENCE);
        assert_int_equal(header.fence_id, flags & VIRTIO_GPU_FLAG_FENCE ? 77 : 0);
    }
    if (ret_answer)
        memcpy(ret_answer, answer, room);
    return done ? header.type : HELD;
}

#define ASK(type, context, fixed) \
    ask_with(type, context, 0, &(fixed), sizeof(fixed), NULL, 0, NULL, 0)

static uint32_t context_create(uint32_t id)
{
    struct virtio_gpu_ctx_create cmd = {.nlen = 0};

    return ASK(VIRTIO_GPU_CMD_CTX_CREATE, id, cmd);
}

static uint32_t context_destroy(uint32_t id)
{
    struct virtio_gpu_ctx_destroy cmd = {{0}};

    return ASK(VIRTIO_GPU_CMD_CTX_DESTROY, id, cmd);
}

static uint32_t create_one(uint32_t id)
{
    struct virtio_gpu_resource_create_3d cmd = {.resource_id = id};

    return ASK(VIRTIO_GPU_CMD_RESOURCE_CREATE_3D, 0, cmd);
}

static uint32_t unref(uint32_t id)
{
    struct virtio_gpu_resource_unref cmd = {.resource_id = id};

    return ASK(VIRTIO_GPU_CMD_RESOURCE_UNREF, 0, cmd);
}

static uint32_t back(uint32_t id, const struct virtio_gpu_mem_entry *entries, uint32_t count,
                     uint32_t said)
{
    struct virtio_gpu_resource_attach_backing cmd = {.resource_id = id, .nr_entries = said};

    return ask_with(VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, 0, 0, &cmd, sizeof(cmd), entries,
                    count * sizeof(*entries), NULL, 0);
}

static uint32_t unback(uint32_t id)
{
    struct virtio_gpu_resource_detach_backing cmd = {.resource_id = id};

    return ASK(VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, 0, cmd);
}

static uint32_t attach(uint32_t type, uint32_t context, uint32_t id)
{
    struct virtio_gpu_ctx_resource cmd = {.resource_id = id};

    return ASK(type, context, cmd);
}

static uint32_t submit(uint32_t context, uint32_t flags, const struct vd_virtgpu_command *command)
{
    struct virtio_gpu_cmd_submit cmd = {.size = sizeof(*command)};

    return ask_with(VIRTIO_GPU_CMD_SUBMIT_3D, context, flags, &cmd, sizeof(cmd), command,
                    sizeof(*command), NULL, 0);
}

#define RING   8192u
#define WINDOW (VD_VIRTGPU_PAGE + 2 * RING)

/* Resource `id` with a window's pages from `first` on, backwards; context 1, 2 exist. */
static void make_window(uint32_t id, uint32_t context, uint32_t first)
{
    struct virtio_gpu_mem_entry entries[WINDOW / 4096];

    for (uint32_t i = 0; i < COUNT(entries); i++)
        entries[i] = (struct virtio_gpu_mem_entry){
            .addr = BASE + (first + COUNT(entries) - 1 - i) * 4096ull,
            .length = 4096,
        };
    assert_int_equal(create_one(id), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(back(id, entries, COUNT(entries), COUNT(entries)), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(attach(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, context, id),
                     VIRTIO_GPU_RESP_OK_NODATA);
}

static struct vd_virtgpu_page *page_of(uint32_t first)
{
    return (void *)(t.memory + (first + WINDOW / 4096 - 1) * 4096u);
}

static uint32_t open_window(uint32_t context, uint32_t id)
{
    struct vd_virtgpu_command command = {
        .op = VD_VIRTGPU_CMD_OPEN,
        .resource = id,
        .to_host = RING,
        .to_guest = RING,
    };

    return submit(context, 0, &command);
}

static uint32_t say(uint32_t context, uint32_t op)
{
    struct vd_virtgpu_command command = {.op = op};

    return submit(context, VIRTIO_GPU_FLAG_FENCE, &command);
}

static void session_of(uint32_t context, uint32_t id, uint32_t first)
{
    assert_int_equal(context_create(context), VIRTIO_GPU_RESP_OK_NODATA);
    make_window(id, context, first);
    assert_int_equal(open_window(context, id), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(page_of(first)->state, VD_VIRTGPU_OPEN);
}

/* What the driver asks when it starts. */
static void test_start(void **state)
{
    struct virtio_gpu_ctrl_hdr display = {0};
    struct virtio_gpu_get_capset_info info = {.capset_index = 0};
    struct virtio_gpu_get_capset get = {.capset_id = VD_VIRTGPU_CAPSET, .capset_version = 1};
    struct virtio_gpu_resp_display_info screens;
    struct virtio_gpu_resp_capset_info set;
    struct {
        struct virtio_gpu_ctrl_hdr header;
        struct vd_virtgpu_caps caps;
    } caps;

    (void)state;
    assert_int_equal(ask_with(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 0, 0, &display, sizeof(display),
                              NULL, 0, &screens, sizeof(screens)),
                     VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
    for (size_t i = 0; i < COUNT(screens.pmodes); i++)
        assert_int_equal(screens.pmodes[i].enabled, 0);
    assert_int_equal(ask_with(VIRTIO_GPU_CMD_GET_CAPSET_INFO, 0, 0, &info, sizeof(info), NULL, 0,
                              &set, sizeof(set)),
                     VIRTIO_GPU_RESP_OK_CAPSET_INFO);
    assert_int_equal(set.capset_id, VD_VIRTGPU_CAPSET);
    assert_int_equal(set.capset_max_size, sizeof(caps.caps));
    assert_int_equal(
        ask_with(VIRTIO_GPU_CMD_GET_CAPSET, 0, 0, &get, sizeof(get), NULL, 0, &caps, sizeof(caps)),
        VIRTIO_GPU_RESP_OK_CAPSET);
    assert_int_equal(caps.caps.magic, VD_VIRTGPU_MAGIC);
    info.capset_index = 1;
    assert_int_equal(ASK(VIRTIO_GPU_CMD_GET_CAPSET_INFO, 0, info),
                     VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    get.capset_id = 1;
    assert_int_equal(ASK(VIRTIO_GPU_CMD_GET_CAPSET, 0, get), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
}

/* Each request one byte too short, and types that nobody offered. */
static void test_short(void **state)
{
    static const struct {
        uint32_t type;
        size_t size;
    } rows[] = {
        {VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, sizeof(struct virtio_gpu_resource_create_2d)},
        {VIRTIO_GPU_CMD_RESOURCE_CREATE_3D, sizeof(struct virtio_gpu_resource_create_3d)},
        {VIRTIO_GPU_CMD_RESOURCE_UNREF, sizeof(struct virtio_gpu_resource_unref)},
        {VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, sizeof(struct virtio_gpu_resource_attach_backing)},
        {VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, sizeof(struct virtio_gpu_resource_detach_backing)},
        {VIRTIO_GPU_CMD_GET_CAPSET_INFO, sizeof(struct virtio_gpu_get_capset_info)},
        {VIRTIO_GPU_CMD_GET_CAPSET, sizeof(struct virtio_gpu_get_capset)},
        {VIRTIO_GPU_CMD_CTX_CREATE, sizeof(struct virtio_gpu_ctx_create)},
        {VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, sizeof(struct virtio_gpu_ctx_resource)},
        {VIRTIO_GPU_CMD_SUBMIT_3D, sizeof(struct virtio_gpu_cmd_submit)},
        {VIRTIO_GPU_CMD_SET_SCANOUT, sizeof(struct virtio_gpu_set_scanout)},
    };
    uint8_t bytes[256] = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(ask_with(rows[i].type, 1, 0, bytes, rows[i].size - 1, NULL, 0, NULL, 0),
                         VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    for (size_t size = 0; size < sizeof(struct virtio_gpu_ctrl_hdr); size++)
        assert_int_equal(
            ask_with(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 0, 0, bytes, size, NULL, 0, NULL, 0),
            VIRTIO_GPU_RESP_ERR_UNSPEC);
    for (uint32_t type = 0; type < 0x400; type += 0x10f)
        assert_int_equal(ask_with(type, 1, 0, bytes, sizeof(bytes), NULL, 0, NULL, 0),
                         VIRTIO_GPU_RESP_ERR_UNSPEC);
}

static void test_objects(void **state)
{
    struct virtio_gpu_mem_entry one = {.addr = BASE, .length = 4096};
    struct virtio_gpu_mem_entry odd[] = {{.addr = BASE, .length = 0},
                                         {.addr = UINT64_MAX - 100, .length = 4096}};
    struct virtio_gpu_set_scanout off = {.resource_id = 0}, on = {.resource_id = 5};
    const uint32_t no_resource = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    const uint32_t no_context = VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    const uint32_t wrong = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;

    (void)state;
    assert_int_equal(context_create(0), no_context);
    assert_int_equal(context_create(1), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(context_create(1), no_context);
    assert_int_equal(context_destroy(2), no_context);
    assert_int_equal(create_one(0), wrong);
    assert_int_equal(create_one(5), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(create_one(5), wrong);
    assert_int_equal(unref(6), no_resource);
    assert_int_equal(back(6, &one, 1, 1), no_resource);
    assert_int_equal(back(5, &one, 1, 0), wrong);
    assert_int_equal(back(5, &one, 1, 2), wrong);
    assert_int_equal(back(5, &one, 1, UINT32_MAX), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
    for (size_t i = 0; i < COUNT(odd); i++)
        assert_int_equal(back(5, &odd[i], 1, 1), wrong);
    assert_int_equal(back(5, &one, 1, 1), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(back(5, &one, 1, 1), wrong);
    assert_int_equal(unback(5), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(unback(6), no_resource);
    assert_int_equal(attach(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 2, 5), no_context);
    assert_int_equal(attach(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 6), no_resource);
    assert_int_equal(attach(VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, 1, 6), no_resource);
    assert_int_equal(ASK(VIRTIO_GPU_CMD_SET_SCANOUT, 0, off), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(ASK(VIRTIO_GPU_CMD_SET_SCANOUT, 0, on),
                     VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID);
    for (uint32_t i = 2; i < 20; i++) {
        bool fits = i < 10;

        assert_int_equal(context_create(i), VIRTIO_GPU_RESP_OK_NODATA);
        assert_int_equal(attach(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, i, 5),
                         fits ? VIRTIO_GPU_RESP_OK_NODATA : VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
    }
    assert_int_equal(unref(5), VIRTIO_GPU_RESP_OK_NODATA);
    for (uint32_t i = 20; i <= DEVICE_MAX_CONTEXTS; i++)
        assert_int_equal(context_create(i), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(context_create(DEVICE_MAX_CONTEXTS + 1), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
}

/* Only the context that has a resource can make it its window; and not any resource. */
static void test_open(void **state)
{
    static const uint32_t sizes[] = {0, 1, 4095, 5000, 12288, 2 * RING, 32u << 20, 0x80000000u};
    struct virtio_gpu_mem_entry outside = {.addr = BASE + MEMORY - 4096, .length = WINDOW};
    struct virtio_gpu_mem_entry small = {.addr = BASE + MEMORY / 2, .length = WINDOW - 4096};
    struct virtio_gpu_mem_entry crooked = {.addr = BASE + 4, .length = WINDOW};
    struct vd_virtgpu_command command = {.op = VD_VIRTGPU_CMD_OPEN, .resource = 5};

    (void)state;
    assert_int_equal(open_window(1, 5), VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID);
    assert_int_equal(context_create(1), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(context_create(2), VIRTIO_GPU_RESP_OK_NODATA);
    make_window(5, 1, 0);
    assert_int_equal(open_window(2, 5), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(open_window(1, 6), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (int which = 0; which < 2; which++) {
            command.to_host = which ? RING : sizes[i];
            command.to_guest = which ? sizes[i] : RING;
            assert_int_equal(submit(1, 0, &command), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
        }
    }
    /* A guest's kernel shows nobody the answers: the page says it. */
    assert_int_equal(page_of(0)->state, VD_VIRTGPU_CLOSED);
    assert_int_equal(page_of(0)->error, -VD_ERR_PARAMETER);
    /* A page less than the rings take. */
    create_one(9);
    assert_int_equal(back(9, &small, 1, 1), VIRTIO_GPU_RESP_OK_NODATA);
    attach(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 9);
    assert_int_equal(open_window(1, 9), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(((struct vd_virtgpu_page *)(t.memory + MEMORY / 2))->error, -VD_ERR_PARAMETER);
    /* Not even its page is there. */
    create_one(10);
    attach(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 10);
    assert_int_equal(open_window(1, 10), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    /* Memory that is not there, and a page that is no page. */
    create_one(7);
    assert_int_equal(back(7, &outside, 1, 1), VIRTIO_GPU_RESP_OK_NODATA);
    attach(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 7);
    assert_int_equal(open_window(1, 7), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    create_one(8);
    assert_int_equal(back(8, &crooked, 1, 1), VIRTIO_GPU_RESP_OK_NODATA);
    attach(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 8);
    assert_int_equal(open_window(1, 8), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(gpu_device_sessions(t.device), 0);
    /* The service's reason is in the page. */
    t.refused = VD_ERR_DENIED;
    assert_int_equal(open_window(1, 5), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(page_of(0)->state, VD_VIRTGPU_CLOSED);
    assert_int_equal(page_of(0)->error, -VD_ERR_DENIED);
    t.refused = 0;
    assert_int_equal(open_window(1, 5), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(page_of(0)->state, VD_VIRTGPU_OPEN);
    assert_int_equal(open_window(1, 5), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(gpu_device_sessions(t.device), 1);
    /* A context's number is used again, by another process. */
    context_destroy(1);
    assert_int_equal(page_of(0)->state, VD_VIRTGPU_CLOSED);
    context_create(1);
    assert_int_equal(open_window(1, 5), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
}

/* Everything that takes a window's memory away ends its session first. */
static void test_taken_away(void **state)
{
    (void)state;
    for (int how = 0; how < 6; how++) {
        char byte;

        session_of(1, 5, 0);
        if (how == 0)
            assert_int_equal(unref(5), VIRTIO_GPU_RESP_OK_NODATA);
        else if (how == 1)
            assert_int_equal(unback(5), VIRTIO_GPU_RESP_OK_NODATA);
        else if (how == 2)
            attach(VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, 1, 5);
        else if (how == 3)
            context_destroy(1);
        else if (how == 4)
            gpu_device_reset(t.device);
        else
            say(1, VD_VIRTGPU_CMD_CLOSE);
        assert_int_equal(gpu_device_sessions(t.device), 0);
        assert_int_equal(page_of(0)->state, VD_VIRTGPU_CLOSED);
        assert_int_equal(read(t.far, &byte, 1), 0);
        gpu_device_reset(t.device);
        memset(t.memory, 0, MEMORY);
    }
}

/* Bytes go through, around the end of the ring, and only that session's. */
static void test_bytes(void **state)
{
    uint8_t *ring = t.memory + 2 * 4096, got[64]; /* of the window at 0: pages lie backwards */
    struct vd_virtgpu_page *page = page_of(0);

    (void)state;
    session_of(1, 5, 0);
    page = page_of(0);
    ring = t.memory + 3 * 4096;
    memcpy(ring, "hello", 5);
    page->sent = 5;
    assert_int_equal(page->host_sleeps, 1);
    assert_int_equal(say(1, VD_VIRTGPU_CMD_KICK), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(read(t.far, got, sizeof(got)), 5);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(page->taken, 5);
    assert_int_equal(write(t.far, "there", 5), 5);
    assert_int_equal(say(1, VD_VIRTGPU_CMD_KICK), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(page->filled, 5);
    assert_memory_equal(t.memory + 1 * 4096, "there", 5);
}

/* Counters that cannot be end the session, not the device. */
static void test_counters(void **state)
{
    static const uint32_t sent[] = {RING + 1, 0x80000000u, 0xffff0000u};

    (void)state;
    session_of(2, 6, 10);
    for (size_t i = 0; i < 2 * COUNT(sent); i++) {
        session_of(1, 5, 0);
        if (i % 2)
            page_of(0)->sent = sent[i / 2];
        else
            page_of(0)->read = sent[i / 2];
        say(1, VD_VIRTGPU_CMD_KICK);
        assert_int_equal(page_of(0)->state, VD_VIRTGPU_CLOSED);
        assert_int_equal(page_of(0)->error, -VD_ERR_PROTOCOL);
        assert_int_equal(gpu_device_sessions(t.device), 1);
        assert_int_equal(page_of(10)->state, VD_VIRTGPU_OPEN);
        context_destroy(1);
        unref(5);
        memset(t.memory, 0, WINDOW);
    }
}

static void test_waits(void **state)
{
    struct vd_virtgpu_command wait = {.op = VD_VIRTGPU_CMD_WAIT, .wait = VD_VIRTGPU_FOR_DATA};
    struct pollfd polls[DEVICE_MAX_SESSIONS];
    int timeout;

    (void)state;
    session_of(1, 5, 0);
    /* Something is there already. */
    wait.seen = 1;
    assert_int_equal(submit(1, VIRTIO_GPU_FLAG_FENCE, &wait), VIRTIO_GPU_RESP_OK_NODATA);
    wait.seen = 0;
    assert_int_equal(submit(1, VIRTIO_GPU_FLAG_FENCE, &wait), HELD);
    /* A second one takes its place. */
    assert_int_equal(submit(1, VIRTIO_GPU_FLAG_FENCE, &wait), HELD);
    assert_int_equal(t.answered, 1);
    assert_int_equal(gpu_device_poll(t.device, polls, &timeout), 1);
    assert_in_range(timeout, 1, 5001);
    /* Kicks with fences wait with it, four of them. */
    for (int i = 0; i < 4; i++)
        assert_int_equal(say(1, VD_VIRTGPU_CMD_KICK), HELD);
    assert_int_equal(t.answered, 1);
    assert_int_equal(say(1, VD_VIRTGPU_CMD_KICK), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(t.answered, 5);
    assert_int_equal(write(t.far, "x", 1), 1);
    polls[0].revents = POLLIN;
    gpu_device_handle(t.device, polls, 1);
    assert_int_equal(t.answered, 6);
    assert_int_equal(page_of(0)->filled, 1);
    wait.wait = VD_VIRTGPU_WAITS;
    assert_int_equal(submit(1, 0, &wait), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    wait.op = 99;
    assert_int_equal(submit(1, 0, &wait), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    /* The end answers, and what comes after it is answered at once. */
    wait = (struct vd_virtgpu_command){.op = VD_VIRTGPU_CMD_WAIT, .seen = 1};
    assert_int_equal(submit(1, VIRTIO_GPU_FLAG_FENCE, &wait), HELD);
    shutdown(t.far, SHUT_RDWR);
    polls[0].revents = POLLIN;
    gpu_device_handle(t.device, polls, 1);
    assert_int_equal(t.answered, 7);
    assert_int_equal(submit(1, VIRTIO_GPU_FLAG_FENCE, &wait), VIRTIO_GPU_RESP_OK_NODATA);
}

/* Memory is mapped anew, and is not there any more. */
static void test_moved(void **state)
{
    uint8_t *old = t.memory;

    (void)state;
    session_of(1, 5, 0);
    t.memory = aligned_alloc(4096, MEMORY);
    memcpy(t.memory, old, MEMORY);
    free(old);
    gpu_device_moved(t.device);
    assert_int_equal(write(t.far, "y", 1), 1);
    say(1, VD_VIRTGPU_CMD_KICK);
    assert_int_equal(page_of(0)->filled, 1);
    t.gone = true;
    gpu_device_moved(t.device);
    assert_int_equal(gpu_device_sessions(t.device), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_start), TEST(test_short),    TEST(test_objects),
        TEST(test_open),  TEST(test_bytes),    TEST(test_taken_away),
        TEST(test_waits), TEST(test_counters), TEST(test_moved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
