/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <fcntl.h>
#include <viaduct/errors.h>

#include "vhost_guest.h"

/* A device that answers each buffer with its bytes, turned. */

#define FEATURE_PROTOCOL  (1ull << 30)
#define FEATURE_INDIRECT  (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define FEATURE_EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define FEATURE_1         (1ull << 32)
#define FEATURES          (FEATURE_1 | FEATURE_INDIRECT)

#define OUT   GUEST_BUFFERS
#define IN    (GUEST_BUFFERS + 0x1000)
#define TABLE (GUEST_BUFFERS + 0x2000)

struct device {
    struct vhost *vhost;
    struct vhost_element element;
    struct vhost_token held;
    bool hold; /* keeps the next instead of answering */
    int echoes, starts, resets, stops, memories, gpu_fd;
    uint8_t config[16];
};

static void device_kicked(void *arg, unsigned queue)
{
    struct device *d = arg;

    while (vhost_queue_pop(d->vhost, queue, &d->element)) {
        const struct vhost_element *e = &d->element;
        uint8_t bytes[4096];
        size_t n = vhost_iov_get(e->iov, e->out_count, 0, bytes, sizeof(bytes));

        assert_int_equal(n, e->out_size < sizeof(bytes) ? e->out_size : sizeof(bytes));
        if (d->hold) {
            d->held = e->token;
            d->hold = false;
            continue;
        }
        for (size_t i = 0; i < n / 2; i++) {
            uint8_t byte = bytes[i];

            bytes[i] = bytes[n - 1 - i];
            bytes[n - 1 - i] = byte;
        }
        n = vhost_iov_put(vhost_element_in(e), e->in_count, 0, bytes, n);
        vhost_queue_push(d->vhost, queue, e->token, (uint32_t)n);
        d->echoes++;
    }
    vhost_queue_notify(d->vhost, queue);
}

static void device_started(void *arg, unsigned queue, bool anew)
{
    (void)queue;
    ((struct device *)arg)->starts++;
    ((struct device *)arg)->resets += anew;
}

static void device_stopped(void *arg, unsigned queue)
{
    (void)queue;
    ((struct device *)arg)->stops++;
}

static void device_memory(void *arg)
{
    ((struct device *)arg)->memories++;
}

static void device_get_config(void *arg, void *config)
{
    memcpy(config, ((struct device *)arg)->config, 16);
}

static int device_set_config(void *arg, uint32_t offset, uint32_t size, const void *bytes)
{
    memcpy(((struct device *)arg)->config + offset, bytes, size);
    return 0;
}

static int device_gpu_socket(void *arg, int fd)
{
    ((struct device *)arg)->gpu_fd = fd;
    return 0;
}

static const struct vhost_ops device_ops = {
    .name = "echo",
    .features = 1,
    .queues = 3,
    .config_size = 16,
    .get_config = device_get_config,
    .set_config = device_set_config,
    .kicked = device_kicked,
    .started = device_started,
    .stopped = device_stopped,
    .memory = device_memory,
    .gpu_socket = device_gpu_socket,
};

struct rig {
    struct vhost_guest guest;
    struct device device;
    int descriptors;
};

static struct rig *rig_open(uint64_t features)
{
    struct rig *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    r->descriptors = check_descriptors();
    vhost_guest_init(&r->guest);
    r->device.gpu_fd = -1;
    assert_int_equal(vhost_create(r->guest.device_fd, &device_ops, &r->device, &r->device.vhost),
                     0);
    vhost_guest_begin(&r->guest, r->device.vhost, features);
    return r;
}

static void rig_close(struct rig *r)
{
    vhost_destroy(&r->device.vhost);
    vhost_guest_finish(&r->guest);
    if (r->device.gpu_fd >= 0)
        close(r->device.gpu_fd);
    assert_int_equal(check_descriptors(), r->descriptors);
    free(r);
}

static void expect_used(struct rig *r, unsigned queue, uint32_t head, uint32_t written)
{
    uint32_t h, w;

    assert_true(vhost_guest_used(&r->guest, queue, &h, &w));
    assert_int_equal(h, head);
    assert_int_equal(w, written);
}

static void expect_none(struct rig *r, unsigned queue)
{
    uint32_t h, w;

    assert_false(vhost_guest_used(&r->guest, queue, &h, &w));
}

/* QEMU's own bits come along; what counts is what was offered. */
static void test_features(void **state)
{
    struct rig *r = rig_open(FEATURES | 1ull << 24 | 1ull << 27 | 1ull << 35);

    (void)state;
    assert_true(vhost_features(r->device.vhost) == FEATURES);
    rig_close(r);
}

static void test_echo(void **state)
{
    /* Indices that wrap at 65536 and at the queue's size. */
    static const uint16_t bases[] = {0, 7, 65533};

    (void)state;
    for (size_t b = 0; b < COUNT(bases); b++) {
        struct rig *r = rig_open(FEATURES | (b == 1 ? FEATURE_EVENT_IDX : 0));
        struct vhost_guest *g = &r->guest;

        vhost_guest_start(g, r->device.vhost, 1, 4, bases[b]);
        for (int i = 0; i < 9; i++) {
            uint16_t head;

            memcpy(g->memory + OUT, "abcdef", 6);
            head = vhost_guest_offer(g, 1, OUT, 6, IN, 64);
            vhost_guest_kick(g, r->device.vhost, 1);
            expect_used(r, 1, head, 6);
            assert_memory_equal(g->memory + IN, "fedcba", 6);
            assert_int_equal(vhost_guest_calls(g, 1), 1);
            if (b == 1)
                *(uint16_t *)(void *)(g->queue[1].avail->ring + 4) = g->queue[1].seen;
        }
        assert_int_equal(vhost_guest_stop(g, r->device.vhost, 1), (uint16_t)(bases[b] + 9));
        assert_int_equal(r->device.stops, 1);
        rig_close(r);
    }
}

/* Parts: several, in both regions, in a table of their own. */
static void test_parts(void **state)
{
    struct rig *r = rig_open(FEATURES);
    struct vhost_guest *g = &r->guest;
    struct vring_desc *table = (void *)(g->memory + TABLE), *desc;

    (void)state;
    vhost_guest_start(g, r->device.vhost, 0, 8, 0);
    desc = g->queue[0].desc;
    memcpy(g->memory + OUT, "abc", 3);
    memcpy(g->memory + GUEST_HALF, "def", 3);
    desc[0] = (struct vring_desc){vhost_guest_address(OUT), 3, VRING_DESC_F_NEXT, 5};
    desc[5] = (struct vring_desc){vhost_guest_address(GUEST_HALF), 3, VRING_DESC_F_NEXT, 2};
    desc[2] =
        (struct vring_desc){vhost_guest_address(IN), 4, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1};
    desc[1] = (struct vring_desc){vhost_guest_address(GUEST_BYTES - 2), 2, VRING_DESC_F_WRITE, 0};
    vhost_guest_avail(g, 0, 0);
    memcpy(table, desc, 6 * sizeof(*desc));
    desc[7] = (struct vring_desc){vhost_guest_address(TABLE), 6 * 16, VRING_DESC_F_INDIRECT, 0};
    vhost_guest_avail(g, 0, 7);
    vhost_guest_kick(g, r->device.vhost, 0);
    for (int i = 0; i < 2; i++)
        expect_used(r, 0, i ? 7 : 0, 6);
    assert_memory_equal(g->memory + IN, "fedc", 4);
    assert_memory_equal(g->memory + GUEST_BYTES - 2, "ba", 2);
    rig_close(r);
}

/* What a guest can write that is wrong: each row is one thing in a chain that is right else. */
static const struct {
    const char *name;
    struct vring_desc desc;  /* in place of the first */
    struct vring_desc inner; /* what a table holds, if there is one */
    uint16_t head, jump;     /* what the driver names; by how much its index is ahead */
} broken_rows[] = {
    {"address outside", {0x1000, 6, 0, 0}, {0}, 0, 0},
    {"end outside", {GUEST_BASE + GUEST_HALF - 5, 6, 0, 0}, {0}, 0, 0},
    {"the last address", {UINT64_MAX, 6, 0, 0}, {0}, 0, 0},
    {"wraps", {UINT64_MAX - 2, 6, 0, 0}, {0}, 0, 0},
    {"length of all", {GUEST_BASE, UINT32_MAX, 0, 0}, {0}, 0, 0},
    {"empty", {GUEST_BASE, 0, 0, 0}, {0}, 0, 0},
    {"next outside", {GUEST_BASE, 6, VRING_DESC_F_NEXT, 8}, {0}, 0, 0},
    {"loop", {GUEST_BASE, 6, VRING_DESC_F_NEXT, 0}, {0}, 0, 0},
    {"writes first", {GUEST_BASE, 6, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 3}, {0}, 0, 0},
    {"head outside", {GUEST_BASE, 6, 0, 0}, {0}, 8, 0},
    {"index too far", {GUEST_BASE, 6, 0, 0}, {0}, 0, 8},
    {"table outside", {0x1000, 16, VRING_DESC_F_INDIRECT, 0}, {0}, 0, 0},
    {"table of part",
     {GUEST_BASE + TABLE, 17, VRING_DESC_F_INDIRECT, 0},
     {GUEST_BASE, 6, 0, 0},
     0,
     0},
    {"table empty", {GUEST_BASE + TABLE, 0, VRING_DESC_F_INDIRECT, 0}, {0}, 0, 0},
    {"table too long",
     {GUEST_BASE + TABLE, 16 * (VHOST_MAX_SEGMENTS + 1), VRING_DESC_F_INDIRECT, 0},
     {GUEST_BASE, 6, 0, 0},
     0,
     0},
    {"table unaligned", {GUEST_BASE + TABLE + 1, 16, VRING_DESC_F_INDIRECT, 0}, {0}, 0, 0},
    {"table and more",
     {GUEST_BASE + TABLE, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 3},
     {GUEST_BASE, 6, 0, 0},
     0,
     0},
    {"table in table",
     {GUEST_BASE + TABLE, 16, VRING_DESC_F_INDIRECT, 0},
     {GUEST_BASE + TABLE, 16, VRING_DESC_F_INDIRECT, 0},
     0,
     0},
    {"loop in table",
     {GUEST_BASE + TABLE, 16, VRING_DESC_F_INDIRECT, 0},
     {GUEST_BASE, 6, VRING_DESC_F_NEXT, 0},
     0,
     0},
};

static void test_broken(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(broken_rows); i++) {
        struct rig *r = rig_open(FEATURES);
        struct vhost_guest *g = &r->guest;

        vhost_guest_start(g, r->device.vhost, 0, 8, 0);
        vhost_guest_start(g, r->device.vhost, 1, 8, 0);
        g->queue[0].desc[3] = (struct vring_desc){vhost_guest_address(OUT), 6, 0, 0};
        g->queue[0].desc[0] = broken_rows[i].desc;
        memcpy(g->memory + TABLE, &broken_rows[i].inner, sizeof(broken_rows[i].inner));
        vhost_guest_avail(g, 0, broken_rows[i].head);
        g->queue[0].avail->idx = (uint16_t)(g->queue[0].avail->idx + broken_rows[i].jump);
        vhost_guest_kick(g, r->device.vhost, 0);
        if (r->device.echoes)
            fail_msg("%s: taken", broken_rows[i].name);
        /* Nothing more of this device until it is reset, and then all again. */
        vhost_guest_offer(g, 1, OUT, 6, IN, 6);
        vhost_guest_kick(g, r->device.vhost, 1);
        assert_int_equal(r->device.echoes, 0);
        vhost_guest_stop(g, r->device.vhost, 0);
        vhost_guest_stop(g, r->device.vhost, 1);
        vhost_guest_start(g, r->device.vhost, 1, 8, 0);
        vhost_guest_offer(g, 1, OUT, 6, IN, 6);
        vhost_guest_kick(g, r->device.vhost, 1);
        assert_int_equal(r->device.echoes, 1);
        rig_close(r);
    }
}

/* A table that was not agreed on. */
static void test_no_indirect(void **state)
{
    struct rig *r = rig_open(FEATURE_1);
    struct vhost_guest *g = &r->guest;
    struct vring_desc inner = {vhost_guest_address(OUT), 6, 0, 0};

    (void)state;
    vhost_guest_start(g, r->device.vhost, 0, 8, 0);
    memcpy(g->memory + TABLE, &inner, sizeof(inner));
    g->queue[0].desc[0] =
        (struct vring_desc){vhost_guest_address(TABLE), 16, VRING_DESC_F_INDIRECT, 0};
    vhost_guest_avail(g, 0, 0);
    vhost_guest_kick(g, r->device.vhost, 0);
    assert_int_equal(r->device.echoes, 0);
    rig_close(r);
}

/* Who wants to be told, when, with and without the index of events. */
static void test_notifications(void **state)
{
    (void)state;
    for (int event = 0; event < 2; event++) {
        struct rig *r = rig_open(FEATURES | (event ? FEATURE_EVENT_IDX : 0));
        struct vhost_guest *g = &r->guest;
        struct guest_queue *q;
        uint16_t *used_event, *avail_event;

        vhost_guest_start(g, r->device.vhost, 0, 8, 0);
        q = &g->queue[0];
        used_event = q->avail->ring + 8;
        avail_event = (uint16_t *)(void *)(q->used->ring + 8);
        if (event)
            *used_event = 2; /* the third */
        else
            q->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
        for (int i = 0; i < 2; i++)
            vhost_guest_offer(g, 0, OUT, 6, IN, 6);
        vhost_guest_kick(g, r->device.vhost, 0);
        assert_int_equal(r->device.echoes, 2);
        assert_int_equal(vhost_guest_calls(g, 0), 0);
        if (event)
            assert_int_equal(*avail_event, 2);
        else
            assert_int_equal(q->used->flags, 0);
        q->avail->flags = 0;
        vhost_guest_offer(g, 0, OUT, 6, IN, 6);
        vhost_guest_kick(g, r->device.vhost, 0);
        assert_int_equal(vhost_guest_calls(g, 0), 1);
        rig_close(r);
    }
}

/* What is held when its queue stops is not given back to the next driver. */
static void test_held(void **state)
{
    struct rig *r = rig_open(FEATURES);
    struct vhost_guest *g = &r->guest;
    struct vhost_token old;

    (void)state;
    r->device.hold = true;
    vhost_guest_start(g, r->device.vhost, 0, 8, 0);
    vhost_guest_offer(g, 0, OUT, 6, IN, 6);
    vhost_guest_kick(g, r->device.vhost, 0);
    old = r->device.held;
    assert_int_equal(vhost_guest_stop(g, r->device.vhost, 0), 1);
    vhost_guest_start(g, r->device.vhost, 0, 8, 0);
    vhost_queue_push(r->device.vhost, 0, old, 6);
    expect_none(r, 0);
    r->device.hold = true;
    vhost_guest_offer(g, 0, OUT, 6, IN, 6);
    vhost_guest_kick(g, r->device.vhost, 0);
    vhost_queue_push(r->device.vhost, 0, r->device.held, 3);
    expect_used(r, 0, 0, 3);
    /* And one that is put back comes again. */
    vhost_guest_offer(g, 0, OUT, 6, IN, 6);
    assert_true(vhost_queue_pop(r->device.vhost, 0, &r->device.element));
    old = r->device.element.token;
    assert_false(vhost_queue_available(r->device.vhost, 0));
    vhost_queue_unpop(r->device.vhost, 0);
    assert_true(vhost_queue_pop(r->device.vhost, 0, &r->device.element));
    assert_int_equal(r->device.element.token.head, old.head);
    rig_close(r);
}

/* A machine that is paused goes on where it was; one that is reset starts over. */
static void test_pause(void **state)
{
    struct rig *r = rig_open(FEATURES);
    struct vhost_guest *g = &r->guest;

    (void)state;
    for (int i = 0; i < 2; i++) {
        vhost_guest_start(g, r->device.vhost, 0, 8, (uint16_t)i);
        vhost_guest_offer(g, 0, OUT, 6, IN, 6);
        vhost_guest_kick(g, r->device.vhost, 0);
        assert_int_equal(vhost_guest_stop(g, r->device.vhost, 0), i + 1);
    }
    assert_int_equal(r->device.starts, 2);
    assert_int_equal(r->device.resets, 1);
    vhost_guest_start(g, r->device.vhost, 0, 8, 0);
    assert_int_equal(r->device.resets, 2);
    rig_close(r);
}

/* A queue waits for being enabled if that was agreed on, and stops with it. */
static void test_enable(void **state)
{
    struct rig *r = rig_open(FEATURES | FEATURE_PROTOCOL);
    struct vhost_guest *g = &r->guest;
    uint32_t on[2] = {0, 1}, off[2] = {0, 0};

    (void)state;
    vhost_guest_start(g, r->device.vhost, 0, 8, 0);
    vhost_guest_offer(g, 0, OUT, 6, IN, 6);
    vhost_guest_turn(r->device.vhost);
    assert_int_equal(r->device.echoes, 0);
    vhost_guest_say(g, r->device.vhost, 18, 0, on, 8, -1);
    assert_int_equal(r->device.echoes, 1);
    vhost_guest_say(g, r->device.vhost, 18, 0, off, 8, -1);
    vhost_guest_offer(g, 0, OUT, 6, IN, 6);
    vhost_guest_kick(g, r->device.vhost, 0);
    assert_int_equal(r->device.echoes, 1);
    vhost_guest_say(g, r->device.vhost, 18, 0, on, 8, -1);
    assert_int_equal(r->device.echoes, 2);
    rig_close(r);
}

static void test_questions(void **state)
{
    struct rig *r = rig_open(FEATURES);
    struct vhost_guest *g = &r->guest;
    uint8_t part[12 + VHOST_MAX_CONFIG] = {4, 0, 0, 0, 8};
    uint64_t value;

    (void)state;
    vhost_guest_say(g, r->device.vhost, 1, 0, NULL, 0, -1);
    assert_int_equal(vhost_guest_answer(g, &value, 8), 8);
    assert_true(value == (FEATURE_1 | FEATURE_INDIRECT | FEATURE_EVENT_IDX | FEATURE_PROTOCOL | 1));
    vhost_guest_say(g, r->device.vhost, 15, 0, NULL, 0, -1);
    assert_int_equal(vhost_guest_answer(g, &value, 8), 8);
    assert_int_equal(value, 1 << 0 | 1 << 3 | 1 << 5 | 1 << 9);
    vhost_guest_say(g, r->device.vhost, 17, 0, NULL, 0, -1);
    assert_int_equal(vhost_guest_answer(g, &value, 8), 8);
    assert_int_equal(value, 3);
    /* Four bytes from the fourth on, set and read. */
    memcpy(part + 12, "12345678", 8);
    vhost_guest_say(g, r->device.vhost, 25, GUEST_NEED_REPLY, part, 20, -1);
    assert_int_equal(vhost_guest_answer(g, &value, 8), 8);
    assert_int_equal(value, 0);
    memset(part + 12, 0, 8);
    vhost_guest_say(g, r->device.vhost, 24, 0, part, 20, -1);
    assert_int_equal(vhost_guest_answer(g, part, sizeof(part)), 20);
    assert_memory_equal(part + 12, "12345678", 8);
    assert_memory_equal(r->device.config + 4, "12345678", 8);
    /* Beyond the end: an answer of nothing, and a no. */
    part[0] = 255;
    vhost_guest_say(g, r->device.vhost, 24, 0, part, 20, -1);
    assert_int_equal(vhost_guest_answer(g, part, sizeof(part)), 0);
    part[0] = 9;
    vhost_guest_say(g, r->device.vhost, 25, GUEST_NEED_REPLY, part, 20, -1);
    assert_int_equal(vhost_guest_answer(g, &value, 8), 8);
    assert_int_equal(value, 1);
    /* A GPU's socket. */
    vhost_guest_say(g, r->device.vhost, 33, GUEST_NEED_REPLY, NULL, 0, g->memory_fd);
    assert_int_equal(vhost_guest_answer(g, &value, 8), 8);
    assert_int_equal(value, 0);
    assert_true(r->device.gpu_fd >= 0);
    rig_close(r);
}

struct rows {
    uint32_t count, zero;
    uint64_t row[3][4];
};

/* What user-mode Linux sends: an answer wanted to what makes answers possible, rows without
 * content. */
static void test_user_mode(void **state)
{
    struct rig *r = rig_open(FEATURES);
    struct vhost_guest *g = &r->guest;
    const struct rows rows = {1, 0, {{GUEST_BASE, GUEST_BYTES, GUEST_BASE, 0}, {0}}};
    uint64_t none = 0, replies = 1 << 3, value = 9;

    (void)state;
    vhost_guest_say(g, r->device.vhost, 16, 0, &none, 8, -1);
    vhost_guest_say(g, r->device.vhost, 16, GUEST_NEED_REPLY, &replies, 8, -1);
    assert_int_equal(vhost_guest_answer(g, &value, 8), 8);
    assert_int_equal(value, 0);
    value = 9;
    vhost_guest_send(g, 5, GUEST_NEED_REPLY, &rows, 8 + 2 * 32, &g->memory_fd, 1);
    assert_int_equal(vhost_guest_turn(r->device.vhost), 0);
    assert_int_equal(vhost_guest_answer(g, &value, 8), 8);
    assert_int_equal(value, 0);
    rig_close(r);
}

/* Tables of memory that are wrong, and that leave the device without any. */
static void test_memory(void **state)
{
    static const struct {
        const char *name;
        struct rows rows;
        unsigned fds;
    } wrong[] = {
        {"none", {0, 0, {{0}}}, 0},
        {"too few descriptors", {2, 0, {{0x1000, 4096, 0x1000, 0}, {0x9000, 4096, 0x9000, 0}}}, 1},
        {"too many descriptors", {1, 0, {{0x1000, 4096, 0x1000, 0}}}, 2},
        {"empty", {1, 0, {{0x1000, 0, 0x1000, 0}}}, 1},
        {"longer than the file", {1, 0, {{0x1000, GUEST_BYTES + 4096, 0x1000, 0}}}, 1},
        {"behind the file", {1, 0, {{0x1000, 4096, 0x1000, GUEST_BYTES}}}, 1},
        {"offset wraps", {1, 0, {{0x1000, 4096, 0x1000, UINT64_MAX - 4095}}}, 1},
        {"guest wraps", {1, 0, {{UINT64_MAX - 4094, 4096, 0x1000, 0}}}, 1},
        {"user wraps", {1, 0, {{0x1000, 4096, UINT64_MAX - 4094, 0}}}, 1},
        {"guest twice", {2, 0, {{0x1000, 8192, 0x1000, 0}, {0x2000, 4096, 0x9000, 0}}}, 2},
        {"user twice", {2, 0, {{0x1000, 4096, 0x9fff, 0}, {0x2000, 4096, 0x9000, 0}}}, 2},
        {"count", {9, 0, {{0x1000, 4096, 0x1000, 0}}}, 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct rig *r = rig_open(FEATURES);
        struct vhost_guest *g = &r->guest;
        int fds[3] = {g->memory_fd, g->memory_fd, g->memory_fd};
        uint32_t count = wrong[i].rows.count;
        uint64_t value;

        vhost_guest_start(g, r->device.vhost, 0, 8, 0);
        vhost_guest_send(g, 5, GUEST_NEED_REPLY, &wrong[i].rows, 8 + (count > 3 ? 3 : count) * 32,
                         fds, wrong[i].fds);
        assert_int_equal(vhost_guest_turn(r->device.vhost), 0);
        assert_int_equal(vhost_guest_answer(g, &value, 8), 8);
        if (value != 1)
            fail_msg("%s: taken", wrong[i].name);
        vhost_guest_offer(g, 0, OUT, 6, IN, 6);
        vhost_guest_turn(r->device.vhost);
        rig_close(r);
    }
}

/* Memory is exchanged under a queue that runs: it goes on, what was held is given up. */
static void test_memory_exchange(void **state)
{
    struct rig *r = rig_open(FEATURES);
    struct vhost_guest *g = &r->guest;
    int fd;
    uint64_t at;

    (void)state;
    r->device.hold = true;
    vhost_guest_start(g, r->device.vhost, 0, 8, 0);
    vhost_guest_offer(g, 0, OUT, 6, IN, 6);
    vhost_guest_kick(g, r->device.vhost, 0);
    assert_int_equal(r->device.memories, 1);
    vhost_guest_begin(g, r->device.vhost, FEATURES);
    assert_int_equal(r->device.memories, 2);
    assert_int_equal(r->device.stops, 1);
    vhost_queue_push(r->device.vhost, 0, r->device.held, 6);
    expect_none(r, 0);
    vhost_guest_offer(g, 0, OUT, 6, IN, 6);
    vhost_guest_kick(g, r->device.vhost, 0);
    expect_used(r, 0, 2, 6);
    assert_non_null(vhost_memory_at(r->device.vhost, GUEST_SECOND + GUEST_HALF - 1, 1));
    assert_null(vhost_memory_at(r->device.vhost, GUEST_SECOND + GUEST_HALF, 1));
    assert_int_equal(vhost_memory_fd(r->device.vhost, GUEST_SECOND + 5, 9, &fd, &at), 0);
    assert_int_equal(at, GUEST_HALF + 5);
    assert_int_equal(vhost_memory_fd(r->device.vhost, 5, 9, &fd, &at), VD_ERR_PARAMETER);
    rig_close(r);
}

/* Messages that ask for what is not there; each is answered with a no, and the device lives. */
static void test_refusals(void **state)
{
    static const struct {
        const char *name;
        uint32_t request, size;
        uint64_t body[5];
        bool fd;
    } rows[] = {
        {"a feature that was not offered", 2, 8, {1ull << 34}, false},
        {"features while a queue runs", 2, 8, {FEATURE_1}, false},
        {"a protocol feature that was not offered", 16, 8, {1ull << 2}, false},
        {"a queue that is not there", 8, 8, {3 | 8ull << 32}, false},
        {"a size that is no power of two", 8, 8, {1 | 6ull << 32}, false},
        {"no size", 8, 8, {1}, false},
        {"too large a size", 8, 8, {1 | 2048ull << 32}, false},
        {"a size while it runs", 8, 8, {0 | 16ull << 32}, false},
        {"a base while it runs", 10, 8, {0}, false},
        {"addresses while it runs", 9, 40, {0}, false},
        {"a base beyond 16 bits", 10, 8, {1 | 65536ull << 32}, false},
        {"a kick of no queue", 12, 8, {3}, true},
        {"a kick without descriptor", 12, 8, {1 | 0x100}, false},
        {"a kick whose descriptor is missing", 12, 8, {1}, false},
        {"a call with one too many", 13, 8, {1 | 0x100}, true},
        {"a call with unknown bits", 13, 8, {1 | 0x200}, true},
        {"an enable of two", 18, 8, {1 | 2ull << 32}, false},
        {"an unknown message", 7, 0, {0}, true},
        {"a message beyond the list", 4711, 8, {0}, true},
        {"too short", 8, 4, {0}, false},
        {"too long", 8, 16, {0}, false},
    };
    struct rig *r = rig_open(FEATURES);
    struct vhost_guest *g = &r->guest;

    (void)state;
    vhost_guest_start(g, r->device.vhost, 0, 8, 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t value = 0;

        assert_int_equal(vhost_guest_say(g, r->device.vhost, rows[i].request, GUEST_NEED_REPLY,
                                         rows[i].body, rows[i].size,
                                         rows[i].fd ? g->memory_fd : -1),
                         0);
        if (vhost_guest_answer(g, &value, 8) != 8 || value != 1)
            fail_msg("%s: taken", rows[i].name);
    }
    vhost_guest_offer(g, 0, OUT, 6, IN, 6);
    vhost_guest_kick(g, r->device.vhost, 0);
    assert_int_equal(r->device.echoes, 1);
    rig_close(r);
}

/* Messages after which there is no going on. */
static void test_ends(void **state)
{
    static const struct {
        uint32_t header[3];
        int err;
    } rows[] = {
        {{1, 0, 0}, VD_ERR_PROTOCOL},       /* no version */
        {{1, 2, 0}, VD_ERR_PROTOCOL},       /* another */
        {{1, 5, 0}, VD_ERR_PROTOCOL},       /* a reply */
        {{1, 1, 1 << 20}, VD_ERR_PROTOCOL}, /* larger than any */
        {{11, 1, 8}, VD_ERR_PROTOCOL},      /* base of a queue that is not there */
        {{1, 1, 8}, VD_ERR_PROTOCOL},       /* a question with a body */
    };

    (void)state;
    for (size_t i = 0; i <= COUNT(rows); i++) {
        struct rig *r = rig_open(FEATURES);
        uint8_t body[8] = {200};
        int err = VD_ERR_GONE;

        if (i < COUNT(rows)) {
            err = rows[i].err;
            /* In pieces: the device never waits for the rest. */
            for (unsigned at = 0; at < 12; at += 3) {
                assert_int_equal(vhost_guest_turn(r->device.vhost), 0);
                assert_int_equal(send(r->guest.fd, (const uint8_t *)rows[i].header + at, 3, 0), 3);
            }
            assert_int_equal(send(r->guest.fd, body, 8, 0), 8);
        } else {
            shutdown(r->guest.fd, SHUT_RDWR);
        }
        assert_int_equal(vhost_guest_turn(r->device.vhost), err);
        rig_close(r);
    }
}

/* An event descriptor at its end does not keep the device busy. */
static void test_broken_kick(void **state)
{
    struct rig *r = rig_open(FEATURES);
    uint64_t queue = 0;
    struct pollfd polls[VHOST_POLL];
    int pipe_fds[2];

    (void)state;
    vhost_guest_start(&r->guest, r->device.vhost, 0, 8, 0);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    vhost_guest_say(&r->guest, r->device.vhost, 12, 0, &queue, 8, pipe_fds[0]);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    assert_int_equal(vhost_guest_turn(r->device.vhost), 0);
    vhost_poll(r->device.vhost, polls);
    assert_int_equal(polls[1].fd, -1);
    rig_close(r);
}

static void test_iov(void **state)
{
    uint8_t a[3] = "abc", b[5] = "defgh", bytes[16];
    struct iovec iov[3] = {{a, 3}, {NULL, 0}, {b, 5}}, part[3];

    (void)state;
    assert_int_equal(vhost_iov_get(iov, 3, 2, bytes, 4), 4);
    assert_memory_equal(bytes, "cdef", 4);
    assert_int_equal(vhost_iov_get(iov, 3, 6, bytes, 16), 2);
    assert_int_equal(vhost_iov_get(iov, 3, 8, bytes, 16), 0);
    assert_int_equal(vhost_iov_put(iov, 3, 1, "12345678", 8), 7);
    assert_memory_equal(a, "a12", 3);
    assert_memory_equal(b, "34567", 5);
    assert_int_equal(vhost_iov_slice(iov, 3, 1, 4, part, 3), 2);
    assert_int_equal(part[0].iov_len, 2);
    assert_int_equal(part[1].iov_len, 2);
    assert_ptr_equal(part[1].iov_base, b);
    assert_int_equal(vhost_iov_slice(iov, 3, 1, 4, part, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_no_indirect),
        cmocka_unit_test(test_notifications),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_enable),
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_user_mode),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_memory_exchange),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_broken_kick),
        cmocka_unit_test(test_iov),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_features),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
