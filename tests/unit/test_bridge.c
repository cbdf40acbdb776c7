/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <linux/virtio_vsock.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <transport/unix.h>
#include <transport/vm.h>
#include <viaduct/errors.h>
#include <vm/bridge.h>

#include "vhost_guest.h"

/* A guest's vsock driver, written out, and services behind the device. */

#define RX         0
#define TX         1
#define CID        5
#define PLAIN      7 /* ports */
#define NAMED      8
#define NOBODY     9
#define GUEST_PORT 1000

#define BUFFER_SIZE 4096u
#define BUFFERS     16u /* of the guest to receive into */
#define OUT_AT      (GUEST_BUFFERS + BUFFERS * BUFFER_SIZE)

struct rig {
    struct vhost_guest guest;
    struct bridge_options options;
    struct bridge *bridge;
    char folder[32], path[2][48], nobody[48];
    int listener[2]; /* plain, named */
    uint32_t taken;  /* bytes this guest has taken, of its only connection that counts */
    uint32_t room;   /* what it says about its buffer */
    uint32_t heads[64];
    int descriptors;
};

struct packet {
    struct virtio_vsock_hdr h;
    uint8_t bytes[BUFFER_SIZE];
};

static int turn(struct rig *r)
{
    static struct pollfd polls[BRIDGE_POLL];
    bool busy;
    int err = 0;

    for (int i = 0; i < 1000 && !err; i++) {
        unsigned n = bridge_poll(r->bridge, polls, &busy);

        if (!poll(polls, n, 0) && !busy)
            return 0;
        err = bridge_handle(r->bridge, polls, n);
    }
    return err ? err : 1; /* it finds no end */
}

static void give(struct rig *r, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint16_t index = r->guest.queue[RX].avail->idx;

        vhost_guest_offer(&r->guest, RX, 0, 0, GUEST_BUFFERS + (index % BUFFERS) * BUFFER_SIZE,
                          BUFFER_SIZE);
    }
    assert_int_equal(write(r->guest.queue[RX].kick, &(uint64_t){1}, 8), 8);
    assert_int_equal(turn(r), 0);
}

static void start(struct rig *r, uint16_t rx, uint16_t tx)
{
    vhost_guest_start(&r->guest, bridge_vhost(r->bridge), RX, BUFFERS, rx);
    vhost_guest_start(&r->guest, bridge_vhost(r->bridge), TX, 64, tx);
}

static struct rig *rig_open(void)
{
    struct rig *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    r->descriptors = check_descriptors();
    strcpy(r->folder, "/tmp/viaduct-bridge-XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    for (int i = 0; i < 2; i++) {
        snprintf(r->path[i], sizeof(r->path[i]), "%s/%d", r->folder, i);
        assert_int_equal(unix_listen(r->path[i], 0600, &r->listener[i]), 0);
    }
    snprintf(r->nobody, sizeof(r->nobody), "%s/none", r->folder);
    r->options = (struct bridge_options){
        .cid = CID,
        .name = "green",
        .port = {{PLAIN, false, r->path[0]}, {NAMED, true, r->path[1]}, {NOBODY, true, r->nobody}},
        .ports = 3,
        .max_connections = 4,
    };
    r->room = 65536;
    vhost_guest_init(&r->guest);
    assert_int_equal(bridge_create(r->guest.device_fd, &r->options, &r->bridge), 0);
    vhost_guest_begin(&r->guest, bridge_vhost(r->bridge), 1ull << 32);
    start(r, 0, 0);
    return r;
}

static void rig_close(struct rig *r)
{
    bridge_destroy(&r->bridge);
    vhost_guest_finish(&r->guest);
    for (int i = 0; i < 2; i++) {
        close(r->listener[i]);
        unlink(r->path[i]);
    }
    rmdir(r->folder);
    assert_int_equal(check_descriptors(), r->descriptors);
    free(r);
}

/* The guest sends a packet. */
static void send_packet(struct rig *r, const struct virtio_vsock_hdr *h, const void *bytes,
                        uint32_t size)
{
    uint32_t head, written;

    memcpy(r->guest.memory + OUT_AT, h, sizeof(*h));
    if (size)
        memcpy(r->guest.memory + OUT_AT + sizeof(*h), bytes, size);
    vhost_guest_offer(&r->guest, TX, OUT_AT, (uint32_t)sizeof(*h) + size, 0, 0);
    assert_int_equal(write(r->guest.queue[TX].kick, &(uint64_t){1}, 8), 8);
    assert_int_equal(turn(r), 0);
    while (vhost_guest_used(&r->guest, TX, &head, &written))
        assert_int_equal(written, 0);
}

static struct virtio_vsock_hdr header(const struct rig *r, uint32_t guest_port, uint32_t port,
                                      uint16_t op)
{
    return (struct virtio_vsock_hdr){
        .src_cid = CID,
        .dst_cid = 2,
        .src_port = guest_port,
        .dst_port = port,
        .type = VIRTIO_VSOCK_TYPE_STREAM,
        .op = op,
        .buf_alloc = r->room,
        .fwd_cnt = r->taken,
    };
}

static void say(struct rig *r, uint32_t guest_port, uint32_t port, uint16_t op, uint32_t flags,
                const void *bytes, uint32_t size)
{
    struct virtio_vsock_hdr h = header(r, guest_port, port, op);

    h.flags = flags;
    h.len = size;
    send_packet(r, &h, bytes, size);
}

/* What the guest gets next. False: nothing. */
static bool next(struct rig *r, struct packet *ret_packet)
{
    uint32_t head, written;
    uint16_t at = r->guest.queue[RX].seen;

    memset(ret_packet, 0, sizeof(*ret_packet));
    if (!vhost_guest_used(&r->guest, RX, &head, &written))
        return false;
    assert_in_range(written, sizeof(ret_packet->h), BUFFER_SIZE);
    /* Buffers come back in their order. */
    memcpy(ret_packet, r->guest.memory + GUEST_BUFFERS + (at % BUFFERS) * BUFFER_SIZE, written);
    assert_int_equal(ret_packet->h.src_cid, 2);
    assert_int_equal(ret_packet->h.dst_cid, CID);
    assert_int_equal(ret_packet->h.len, written - sizeof(ret_packet->h));
    return true;
}

static struct packet expect(struct rig *r, uint16_t op)
{
    struct packet p;

    if (!next(r, &p))
        fail_msg("nothing came, expected op %d", op);
    assert_int_equal(p.h.op, op);
    return p;
}

static void expect_nothing(struct rig *r)
{
    struct packet p;

    if (next(r, &p))
        fail_msg("op %d came", p.h.op);
}

/* A connection of the guest, and the service's end of it. */
static int connected(struct rig *r, uint32_t guest_port, uint32_t port)
{
    struct packet p;
    int fd;

    give(r, 1);
    say(r, guest_port, port, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
    p = expect(r, VIRTIO_VSOCK_OP_RESPONSE);
    assert_int_equal(p.h.dst_port, guest_port);
    assert_int_equal(p.h.src_port, port);
    assert_int_equal(p.h.buf_alloc, BRIDGE_BUFFER);
    fd = accept4(r->listener[port == NAMED], NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void test_connect(void **state)
{
    struct rig *r = rig_open();
    char name[VM_NAME_BYTES], bytes[16];
    struct packet p;
    int fd = connected(r, GUEST_PORT, NAMED), other, third;

    (void)state;
    assert_true(vm_peer(fd, name));
    assert_string_equal(name, "green");
    say(r, GUEST_PORT, NAMED, VIRTIO_VSOCK_OP_RW, 0, "hello", 5);
    assert_int_equal(read(fd, bytes, sizeof(bytes)), 5);
    assert_memory_equal(bytes, "hello", 5);
    give(r, 1);
    assert_int_equal(write(fd, "there", 5), 5);
    assert_int_equal(turn(r), 0);
    p = expect(r, VIRTIO_VSOCK_OP_RW);
    assert_int_equal(p.h.len, 5);
    assert_int_equal(p.h.fwd_cnt, 5);
    assert_memory_equal(p.bytes, "there", 5);
    /* A second of the same name; a third at a service that is told none. */
    other = connected(r, GUEST_PORT + 1, NAMED);
    assert_true(vm_peer(other, name));
    third = connected(r, GUEST_PORT + 2, PLAIN);
    assert_false(vm_peer(third, name));
    close(third);
    close(other);
    close(fd);
    rig_close(r);
}

/* What has no connection is answered with RST, but RST itself and what is not from here. */
static void test_refused(void **state)
{
    static const struct {
        uint64_t from, to;
        uint32_t port;
        uint16_t type, op;
        bool answered;
    } rows[] = {
        {CID, 2, 4711, VIRTIO_VSOCK_TYPE_STREAM, VIRTIO_VSOCK_OP_REQUEST, true},
        {CID, 2, NOBODY, VIRTIO_VSOCK_TYPE_STREAM, VIRTIO_VSOCK_OP_REQUEST, true},
        {CID, 2, PLAIN, VIRTIO_VSOCK_TYPE_SEQPACKET, VIRTIO_VSOCK_OP_REQUEST, true},
        {CID, 2, PLAIN, VIRTIO_VSOCK_TYPE_STREAM, VIRTIO_VSOCK_OP_RW, true},
        {CID, 2, PLAIN, VIRTIO_VSOCK_TYPE_STREAM, VIRTIO_VSOCK_OP_RESPONSE, true},
        {CID, 2, PLAIN, VIRTIO_VSOCK_TYPE_STREAM, 99, true},
        {CID, 2, PLAIN, VIRTIO_VSOCK_TYPE_STREAM, VIRTIO_VSOCK_OP_RST, false},
        {CID + 1, 2, PLAIN, VIRTIO_VSOCK_TYPE_STREAM, VIRTIO_VSOCK_OP_REQUEST, false},
        {CID, 3, PLAIN, VIRTIO_VSOCK_TYPE_STREAM, VIRTIO_VSOCK_OP_REQUEST, false},
    };
    struct rig *r = rig_open();

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct virtio_vsock_hdr h = header(r, GUEST_PORT, rows[i].port, rows[i].op);
        struct packet p;

        h.src_cid = rows[i].from;
        h.dst_cid = rows[i].to;
        h.type = rows[i].type;
        give(r, 1);
        send_packet(r, &h, NULL, 0);
        if (!rows[i].answered) {
            expect_nothing(r);
            continue;
        }
        p = expect(r, VIRTIO_VSOCK_OP_RST);
        assert_int_equal(p.h.src_port, rows[i].port);
        assert_int_equal(p.h.dst_port, GUEST_PORT);
        assert_int_equal(p.h.type, rows[i].type);
    }
    rig_close(r);
}

/* Each side ends by itself; the other may go on. */
static void test_ends(void **state)
{
    struct rig *r = rig_open();
    int fd = connected(r, GUEST_PORT, PLAIN), before;
    char bytes[8];
    struct packet p;

    (void)state;
    /* The guest says no more, and hears the answer. */
    give(r, 4);
    say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_RW, 0, "ask", 3);
    say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND, NULL, 0);
    assert_int_equal(read(fd, bytes, 8), 3);
    assert_int_equal(read(fd, bytes, 8), 0);
    assert_int_equal(write(fd, "tell", 4), 4);
    assert_int_equal(turn(r), 0);
    p = expect(r, VIRTIO_VSOCK_OP_RW);
    assert_memory_equal(p.bytes, "tell", 4);
    /* The service says no more, and then is gone. */
    shutdown(fd, SHUT_WR);
    assert_int_equal(turn(r), 0);
    p = expect(r, VIRTIO_VSOCK_OP_SHUTDOWN);
    assert_int_equal(p.h.flags, VIRTIO_VSOCK_SHUTDOWN_SEND | VIRTIO_VSOCK_SHUTDOWN_RCV);
    before = check_descriptors();
    say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
    assert_int_equal(check_descriptors(), before - 1);
    close(fd);
    /* The service ends one side only; the guest then all. */
    fd = connected(r, GUEST_PORT, PLAIN);
    shutdown(fd, SHUT_WR);
    assert_int_equal(turn(r), 0);
    p = expect(r, VIRTIO_VSOCK_OP_SHUTDOWN);
    assert_int_equal(p.h.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
    say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_RW, 0, "more", 4);
    assert_int_equal(read(fd, bytes, 8), 4);
    say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_SHUTDOWN, 3, NULL, 0);
    expect(r, VIRTIO_VSOCK_OP_RST);
    assert_int_equal(read(fd, bytes, 8), 0);
    close(fd);
    /* What the service said last is heard, though the guest was just speaking. */
    fd = connected(r, GUEST_PORT, PLAIN);
    assert_int_equal(write(fd, "no", 2), 2);
    close(fd);
    say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_RW, 0, "hello", 5);
    give(r, 4);
    p = expect(r, VIRTIO_VSOCK_OP_RW);
    assert_memory_equal(p.bytes, "no", 2);
    p = expect(r, VIRTIO_VSOCK_OP_SHUTDOWN);
    assert_int_equal(p.h.flags, 3);
    /* A packet of two ends of one connection. */
    fd = connected(r, GUEST_PORT + 1, PLAIN);
    give(r, 1);
    say(r, GUEST_PORT + 1, PLAIN, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
    expect(r, VIRTIO_VSOCK_OP_RST);
    close(fd);
    rig_close(r);
}

/* A service that reads nothing: bytes wait, others do not; then the guest hears of room in time. */
static void test_slow_service(void **state)
{
    struct rig *r = rig_open();
    int fd = connected(r, GUEST_PORT, PLAIN), other = connected(r, GUEST_PORT + 1, NAMED);
    uint8_t block[4000], bytes[4000];
    uint32_t sent = 0, told = 0, got = 0, most = 0;
    struct packet p;

    (void)state;
    give(r, BUFFERS);
    /* As much as the guest may without hearing more. */
    while (sent + sizeof(block) - told <= BRIDGE_BUFFER) {
        for (size_t i = 0; i < sizeof(block); i++)
            block[i] = (uint8_t)((sent + i) * 7 >> 3);
        say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_RW, 0, block, sizeof(block));
        sent += sizeof(block);
        while (next(r, &p)) {
            assert_int_equal(p.h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
            told = p.h.fwd_cnt;
            give(r, 1);
        }
    }
    assert_true(sent > BRIDGE_BUFFER);
    say(r, GUEST_PORT + 1, NAMED, VIRTIO_VSOCK_OP_RW, 0, "quick", 5);
    assert_int_equal(read(other, bytes, sizeof(bytes)), 5);
    while (got < sent) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        assert_true(n > 0);
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(bytes[i], (uint8_t)((got + (uint32_t)i) * 7 >> 3));
        got += (uint32_t)n;
        assert_int_equal(turn(r), 0);
        while (next(r, &p)) {
            most = p.h.fwd_cnt - told > most ? p.h.fwd_cnt - told : most;
            told = p.h.fwd_cnt;
            give(r, 1);
        }
    }
    assert_true(sent - told < 65536);
    assert_true(most >= 65536 && most < BRIDGE_BUFFER);
    /* Asked, it says at once. */
    say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0, NULL, 0);
    p = expect(r, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    assert_int_equal(p.h.fwd_cnt, sent);
    /* More than there is room for ends the connection, and no other. */
    for (int i = 0; i < 200; i++) {
        say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_RW, 0, block, sizeof(block));
        if (next(r, &p)) {
            give(r, 1);
            if (p.h.op == VIRTIO_VSOCK_OP_RST)
                break;
        }
    }
    assert_int_equal(p.h.op, VIRTIO_VSOCK_OP_RST);
    say(r, GUEST_PORT + 1, NAMED, VIRTIO_VSOCK_OP_RW, 0, "still", 5);
    assert_int_equal(read(other, bytes, sizeof(bytes)), 5);
    close(fd);
    close(other);
    rig_close(r);
}

/* The guest's own buffer is never sent more than it holds. */
static void test_slow_guest(void **state)
{
    struct rig *r = rig_open();
    uint8_t block[5000] = {1};
    struct packet p;
    int fd;

    (void)state;
    r->room = 1000;
    fd = connected(r, GUEST_PORT, PLAIN);
    give(r, 8);
    assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
    for (uint32_t got = 0; got < sizeof(block);) {
        assert_int_equal(turn(r), 0);
        p = expect(r, VIRTIO_VSOCK_OP_RW);
        assert_int_equal(p.h.len, 1000);
        got += p.h.len;
        expect(r, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
        expect_nothing(r);
        r->taken += p.h.len;
        give(r, 2);
        say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
    }
    /* One that made its buffer smaller than what it has: nothing. */
    assert_int_equal(write(fd, block, 10), 10);
    r->room = 100;
    r->taken -= 500;
    say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
    expect_nothing(r);
    close(fd);
    rig_close(r);
}

/* Without buffers of the guest nothing is lost, and the device stops to read it in time. */
static void test_no_buffers(void **state)
{
    struct rig *r = rig_open();
    int fd = connected(r, GUEST_PORT, PLAIN);
    struct packet p;
    unsigned answers = 0;
    struct virtio_vsock_hdr h = header(r, 1, 4711, VIRTIO_VSOCK_OP_REQUEST);

    (void)state;
    assert_int_equal(write(fd, "wait", 4), 4);
    assert_int_equal(turn(r), 0);
    expect_nothing(r);
    memcpy(r->guest.memory + OUT_AT, &h, sizeof(h));
    for (int i = 0; i < 100; i++) {
        uint32_t head, written;

        if (i < 64) {
            vhost_guest_offer(&r->guest, TX, OUT_AT, sizeof(h), 0, 0);
            assert_int_equal(write(r->guest.queue[TX].kick, &(uint64_t){1}, 8), 8);
        } else {
            /* The queue is full until some were read. */
            give(r, 1);
            if (next(r, &p))
                answers++;
            while (vhost_guest_used(&r->guest, TX, &head, &written))
                ;
        }
        assert_int_equal(turn(r), 0);
    }
    while (answers < 64) {
        give(r, 1);
        p = expect(r, VIRTIO_VSOCK_OP_RST);
        answers++;
    }
    give(r, 1);
    p = expect(r, VIRTIO_VSOCK_OP_RW);
    assert_memory_equal(p.bytes, "wait", 4);
    close(fd);
    rig_close(r);
}

/* A machine that is paused has its connections afterwards; one that is reset has none. */
static void test_pause(void **state)
{
    struct rig *r = rig_open();
    int fd = connected(r, GUEST_PORT, PLAIN);
    uint32_t rx, tx;
    char bytes[8];

    (void)state;
    rx = vhost_guest_stop(&r->guest, bridge_vhost(r->bridge), RX);
    tx = vhost_guest_stop(&r->guest, bridge_vhost(r->bridge), TX);
    assert_int_equal(write(fd, "later", 5), 5);
    assert_int_equal(turn(r), 0);
    start(r, (uint16_t)rx, (uint16_t)tx);
    give(r, 1);
    expect(r, VIRTIO_VSOCK_OP_RW);
    say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_RW, 0, "on", 2);
    assert_int_equal(read(fd, bytes, 8), 2);
    vhost_guest_stop(&r->guest, bridge_vhost(r->bridge), RX);
    vhost_guest_stop(&r->guest, bridge_vhost(r->bridge), TX);
    start(r, 0, 0);
    assert_int_equal(read(fd, bytes, 8), 0);
    close(fd);
    rig_close(r);
}

static void test_limit(void **state)
{
    struct rig *r = rig_open();
    int fd[4];

    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        fd[i] = connected(r, GUEST_PORT + i, PLAIN);
    give(r, 1);
    say(r, GUEST_PORT + 9, PLAIN, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
    expect(r, VIRTIO_VSOCK_OP_RST);
    say(r, GUEST_PORT, PLAIN, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
    close(fd[0]);
    fd[0] = connected(r, GUEST_PORT + 9, PLAIN);
    for (int i = 0; i < 4; i++)
        close(fd[i]);
    rig_close(r);
}

/* Packets that are none end the device, not the process. */
static void test_broken(void **state)
{
    static const struct {
        uint32_t size, len, in;
    } rows[] = {
        {43, 0, BUFFER_SIZE}, /* no header */
        {44, 1, BUFFER_SIZE}, /* fewer bytes than it says */
        {50, UINT32_MAX, BUFFER_SIZE},
        {44, 0, 43}, /* no room for an answer */
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rig *r = rig_open();
        struct virtio_vsock_hdr h = header(r, 1, PLAIN, VIRTIO_VSOCK_OP_REQUEST);
        uint32_t head, written;

        h.len = rows[i].len;
        memcpy(r->guest.memory + OUT_AT, &h, sizeof(h));
        vhost_guest_offer(&r->guest, RX, 0, 0, GUEST_BUFFERS, rows[i].in);
        vhost_guest_offer(&r->guest, TX, OUT_AT, rows[i].size, 0, 0);
        assert_int_equal(write(r->guest.queue[TX].kick, &(uint64_t){1}, 8), 8);
        assert_int_equal(turn(r), 0);
        assert_false(vhost_guest_used(&r->guest, RX, &head, &written));
        rig_close(r);
    }
}

static void test_names(void **state)
{
    static const char *const good[] = {"3", "a.b-c_D9"};
    static const char *const bad[] = {"", "a/b", "a b", "\n",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    char path[] = "/tmp/viaduct-vm-XXXXXX", socket_path[40], name[VM_NAME_BYTES];
    int listener, fd;
    struct stat st;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(vm_name_is_valid(good[i]));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(vm_name_is_valid(bad[i]));
    assert_non_null(mkdtemp(path));
    snprintf(socket_path, sizeof(socket_path), "%s/s", path);
    assert_int_equal(vm_dial(socket_path, "3", &fd), VD_ERR_GONE);
    assert_int_equal(unix_listen(socket_path, 0640, &listener), 0);
    assert_int_equal(stat(socket_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(unix_listen(socket_path, 0640, &fd), VD_ERR_BUSY);
    close(accept(listener, NULL, NULL)); /* the one that looked */
    assert_int_equal(vm_dial(socket_path, "a/b", &fd), VD_ERR_PARAMETER);
    assert_int_equal(vm_dial(socket_path, "3", &fd), 0);
    close(fd);
    /* Others than relays: addresses that only look like theirs. */
    for (size_t i = 0; i < 4; i++) {
        static const char *const addresses[] = {"viaduct-vm/", "viaduct-vm/x", "other/x/1",
                                                "viaduct-vm/x y/1"};
        struct sockaddr_un own = {.sun_family = AF_UNIX}, to = {.sun_family = AF_UNIX};
        int far;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        strcpy(own.sun_path + 1, addresses[i]);
        strcpy(to.sun_path, socket_path);
        assert_int_equal(bind(fd, (struct sockaddr *)&own, (socklen_t)(3 + strlen(addresses[i]))),
                         0);
        assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
        far = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (i == 0)
            far = (close(far), accept4(listener, NULL, NULL, SOCK_CLOEXEC));
        assert_false(vm_peer(far, name));
        close(far);
        close(fd);
    }
    close(listener);
    assert_int_equal(unix_listen(socket_path, 0600, &listener), 0);
    close(listener);
    unlink(socket_path);
    rmdir(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_ends),       cmocka_unit_test(test_slow_service),
        cmocka_unit_test(test_slow_guest), cmocka_unit_test(test_no_buffers),
        cmocka_unit_test(test_pause),      cmocka_unit_test(test_limit),
        cmocka_unit_test(test_broken),     cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
