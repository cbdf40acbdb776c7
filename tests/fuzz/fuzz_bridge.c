/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <transport/unix.h>
#include <vm/bridge.h>

#include "../unit/vhost_guest.h"

/*
 * A hostile guest of the vsock device, with queues that are right: any packets, with a service that
 * reads, writes and leaves now and then. What is wrong with queues is fuzz_vhost's.
 */
#define CID    3u
#define OUT_AT (GUEST_BUFFERS + 8 * 4096)

static void turn(struct bridge *bridge)
{
    static struct pollfd polls[BRIDGE_POLL];
    bool busy = true;

    for (int i = 0; i < 64 && busy; i++) {
        unsigned n = bridge_poll(bridge, polls, &busy);

        if (poll(polls, n, 0) < 0 || bridge_handle(bridge, polls, n))
            abort();
    }
}

/* The service: takes whoever comes, says something, leaves. */
static void serve(int listener, int *fd, uint8_t what)
{
    static uint8_t bytes[8192];

    if (*fd < 0)
        *fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (*fd < 0)
        return;
    if (what & 1 && read(*fd, bytes, sizeof(bytes)) < 0 && errno != EAGAIN && errno != ECONNRESET)
        abort();
    if (what & 2)
        send(*fd, bytes, what * 32u, MSG_NOSIGNAL);
    if (what & 4)
        shutdown(*fd, what & 8 ? SHUT_RD : SHUT_WR);
    if ((what & 0x30) == 0x30) {
        close(*fd);
        *fd = -1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    char path[48];
    struct bridge_options options = {
        .cid = CID, .name = "fuzz", .port = {{7, true, path}}, .ports = 1, .max_connections = 3};
    struct vhost_guest g;
    struct bridge *bridge;
    int before = fuzz_descriptors(), listener, fd = -1;
    uint64_t one = 1;

    snprintf(path, sizeof(path), "/tmp/viaduct-fuzz-bridge-%d", (int)getpid());
    if (unix_listen(path, 0600, &listener))
        abort();
    vhost_guest_init(&g);
    if (bridge_create(g.device_fd, &options, &bridge))
        abort();
    vhost_guest_begin(&g, bridge_vhost(bridge), 1ull << 32);
    vhost_guest_start(&g, bridge_vhost(bridge), 0, 8, 0);
    vhost_guest_start(&g, bridge_vhost(bridge), 1, 8, 0);
    for (int steps = 0; input.size && steps < 48; steps++) {
        uint8_t what = fuzz_byte(&input);
        struct virtio_vsock_hdr h = {.src_cid = CID, .dst_cid = 2, .dst_port = 7, .type = 1};

        /* Mostly packets of connections that are there. */
        h.src_port = what & 3;
        h.op = fuzz_byte(&input);
        h.len = fuzz_byte(&input) * 4u;
        h.buf_alloc = fuzz_word(&input) * 2u;
        h.fwd_cnt = fuzz_word(&input);
        h.flags = what >> 2 & 3;
        if (what & 0x40)
            fuzz_take(&input, &h, sizeof(h));
        memcpy(g.memory + OUT_AT, &h, sizeof(h));
        vhost_guest_offer(&g, 1, OUT_AT, what & 0x80 ? 44u + (h.len & 0x3fff) : 1500, 0, 0);
        if (what & 0x10)
            vhost_guest_offer(&g, 0, 0, 0, GUEST_BUFFERS + (steps % 8u) * 4096u, 4096);
        if (write(g.queue[0].kick, &one, 8) < 0 || write(g.queue[1].kick, &one, 8) < 0)
            abort();
        turn(bridge);
        serve(listener, &fd, fuzz_byte(&input));
        turn(bridge);
    }
    bridge_destroy(&bridge);
    vhost_guest_finish(&g);
    if (fd >= 0)
        close(fd);
    close(listener);
    unlink(path);
    if (fuzz_descriptors() != before)
        abort();
    return 0;
}

/* Connects, sends, receives, ends. */
size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    static const uint8_t ops[] = {VIRTIO_VSOCK_OP_REQUEST,
                                  VIRTIO_VSOCK_OP_RW,
                                  VIRTIO_VSOCK_OP_RW,
                                  VIRTIO_VSOCK_OP_CREDIT_REQUEST,
                                  VIRTIO_VSOCK_OP_CREDIT_UPDATE,
                                  VIRTIO_VSOCK_OP_SHUTDOWN,
                                  VIRTIO_VSOCK_OP_RST};
    struct fuzz_writer w = {buffer, 0, room};

    if (index >= 3)
        return 0;
    for (size_t i = 0; i < sizeof(ops); i++) {
        fuzz_put_byte(&w, (uint8_t)(0x90 | (i == 5 ? 4 * (index + 1) : 0)));
        fuzz_put_byte(&w, ops[i]);
        fuzz_put_byte(&w, ops[i] == VIRTIO_VSOCK_OP_RW ? 200 : 0);
        fuzz_put_word(&w, 4096);
        fuzz_put_word(&w, 0);
        fuzz_put_byte(&w, (uint8_t)(i + 2 * (unsigned)index));
    }
    return w.used;
}
