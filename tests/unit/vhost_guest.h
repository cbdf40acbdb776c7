/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_VHOST_GUEST_H
#define VIADUCT_TEST_VHOST_GUEST_H

#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vhost/vhost.h>

/*
 * The other side of a vhost-user device: front end and guest driver in one, in the test's thread.
 * Guest memory is one memfd in two regions with a hole between; queues lie at its start, the rest
 * is for buffers.
 */
#define GUEST_BYTES   (1u << 20)
#define GUEST_HALF    (GUEST_BYTES / 2)
#define GUEST_BASE    0x40000000ull  /* of the first region, as the guest's drivers see it */
#define GUEST_SECOND  0x100000000ull /* of the second */
#define GUEST_USER    0x7f0000000000ull
#define GUEST_QUEUE   0x4000u  /* bytes that a queue has for itself */
#define GUEST_BUFFERS 0x20000u /* where buffers start */

enum { GUEST_NEED_REPLY = 8 };

struct guest_queue {
    unsigned size;
    uint32_t at; /* in memory */
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    int kick, call;
    uint16_t seen; /* of used */
    uint16_t next; /* free descriptor */
};

struct vhost_guest {
    int fd, device_fd, memory_fd;
    uint8_t *memory;
    struct guest_queue queue[VHOST_MAX_QUEUES];
};

static inline void guest_must(bool what)
{
    if (!what)
        abort();
}

static inline void vhost_guest_init(struct vhost_guest *g)
{
    int pair[2];

    memset(g, 0, sizeof(*g));
    guest_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    g->fd = pair[0];
    g->device_fd = pair[1];
    g->memory_fd = memfd_create("guest", MFD_CLOEXEC);
    guest_must(g->memory_fd >= 0 && !ftruncate(g->memory_fd, GUEST_BYTES));
    g->memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, g->memory_fd, 0);
    guest_must(g->memory != MAP_FAILED);
    for (unsigned i = 0; i < VHOST_MAX_QUEUES; i++)
        g->queue[i].kick = g->queue[i].call = -1;
}

/* The device's end of the socket is the device's. */
static inline void vhost_guest_finish(struct vhost_guest *g)
{
    for (unsigned i = 0; i < VHOST_MAX_QUEUES; i++) {
        if (g->queue[i].kick >= 0)
            close(g->queue[i].kick);
        if (g->queue[i].call >= 0)
            close(g->queue[i].call);
    }
    munmap(g->memory, GUEST_BYTES);
    close(g->memory_fd);
    close(g->fd);
}

/* The guest's address of a byte of its memory. */
static inline uint64_t vhost_guest_address(uint32_t at)
{
    return at < GUEST_HALF ? GUEST_BASE + at : GUEST_SECOND + (at - GUEST_HALF);
}

static inline void vhost_guest_send(struct vhost_guest *g, uint32_t request, uint32_t flags,
                                    const void *body, uint32_t size, const int *fds, unsigned count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(VHOST_MAX_REGIONS * sizeof(int))];
    } control;
    uint32_t header[3] = {request, 1 | flags, size};
    struct iovec iov[2] = {{header, sizeof(header)}, {(void *)(uintptr_t)body, size}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

    if (count) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof(control));
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    guest_must(sendmsg(g->fd, &msg, MSG_NOSIGNAL) == (ssize_t)(sizeof(header) + size));
}

/* One turn of the device's loop, without waiting. */
static inline int vhost_guest_turn(struct vhost *vhost)
{
    struct pollfd polls[VHOST_POLL];
    unsigned n = vhost_poll(vhost, polls);

    guest_must(poll(polls, n, 0) >= 0);
    return vhost_handle(vhost, polls, n);
}

/* Sends a message without a descriptor or with one (-1: none) and lets the device see it. */
static inline int vhost_guest_say(struct vhost_guest *g, struct vhost *vhost, uint32_t request,
                                  uint32_t flags, const void *body, uint32_t size, int fd)
{
    vhost_guest_send(g, request, flags, body, size, &fd, fd >= 0);
    return vhost_guest_turn(vhost);
}

/* The device's answer: its size, or -1 if there is none. */
static inline int vhost_guest_answer(struct vhost_guest *g, void *body, size_t room)
{
    uint32_t header[3];

    if (recv(g->fd, header, sizeof(header), MSG_DONTWAIT) != sizeof(header))
        return -1;
    guest_must(header[1] == 5 && header[2] <= room);
    if (header[2])
        guest_must(recv(g->fd, body, header[2], MSG_DONTWAIT) == (ssize_t)header[2]);
    return (int)header[2];
}

static inline int vhost_guest_say_u64(struct vhost_guest *g, struct vhost *vhost, uint32_t request,
                                      uint64_t value)
{
    return vhost_guest_say(g, vhost, request, 0, &value, sizeof(value), -1);
}

/* Features, and both regions of memory. */
static inline void vhost_guest_begin(struct vhost_guest *g, struct vhost *vhost, uint64_t features)
{
    struct {
        uint32_t count, zero;
        uint64_t rows[2][4];
    } table = {2,
               0,
               {{GUEST_BASE, GUEST_HALF, GUEST_USER, 0},
                {GUEST_SECOND, GUEST_HALF, GUEST_USER + 0x10000000, GUEST_HALF}}};
    int fds[2] = {g->memory_fd, g->memory_fd};

    guest_must(!vhost_guest_say(g, vhost, 3, 0, NULL, 0, -1));
    /* Protocol features: replies to those who ask. */
    guest_must(!vhost_guest_say_u64(g, vhost, 16, 1 << 3));
    guest_must(!vhost_guest_say_u64(g, vhost, 2, features));
    vhost_guest_send(g, 5, 0, &table, sizeof(table), fds, 2);
    guest_must(!vhost_guest_turn(vhost));
}

/* Sets a queue up and starts it; `next` of both rings begins at `base`. */
static inline void vhost_guest_start(struct vhost_guest *g, struct vhost *vhost, unsigned queue,
                                     unsigned size, uint16_t base)
{
    struct guest_queue *q = &g->queue[queue];
    uint32_t at = queue * GUEST_QUEUE, state[2] = {queue, size};
    uint64_t number = queue;
    struct {
        uint32_t index, flags;
        uint64_t desc, used, avail, log;
    } address;

    if (q->kick >= 0) {
        close(q->kick);
        close(q->call);
    }
    *q = (struct guest_queue){.size = size, .at = at, .seen = base};
    q->desc = (struct vring_desc *)(void *)(g->memory + at);
    q->avail = (struct vring_avail *)(void *)(g->memory + at + size * 16);
    q->used = (struct vring_used *)(void *)(g->memory + at + (size * 18 + 6 + 3) / 4 * 4);
    memset(g->memory + at, 0, GUEST_QUEUE);
    q->avail->idx = q->used->idx = q->avail->ring[size] = base;
    q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    guest_must(q->kick >= 0 && q->call >= 0);
    guest_must(!vhost_guest_say(g, vhost, 8, 0, state, 8, -1));
    state[1] = base;
    guest_must(!vhost_guest_say(g, vhost, 10, 0, state, 8, -1));
    address.index = queue;
    address.flags = 0;
    address.desc = GUEST_USER + at;
    address.avail = GUEST_USER + (uint32_t)((uint8_t *)q->avail - g->memory);
    address.used = GUEST_USER + (uint32_t)((uint8_t *)q->used - g->memory);
    address.log = 0;
    guest_must(!vhost_guest_say(g, vhost, 9, 0, &address, sizeof(address), -1));
    guest_must(!vhost_guest_say(g, vhost, 13, 0, &number, 8, q->call));
    guest_must(!vhost_guest_say(g, vhost, 12, 0, &number, 8, q->kick));
}

/* Stops a queue; returns the index that the device says. */
static inline uint32_t vhost_guest_stop(struct vhost_guest *g, struct vhost *vhost, unsigned queue)
{
    uint32_t state[2] = {queue, 0};

    guest_must(!vhost_guest_say(g, vhost, 11, 0, state, 8, -1));
    guest_must(vhost_guest_answer(g, state, sizeof(state)) == 8 && state[0] == queue);
    return state[1];
}

/* Makes the chain that starts at descriptor `head` available. */
static inline void vhost_guest_avail(struct vhost_guest *g, unsigned queue, uint16_t head)
{
    struct guest_queue *q = &g->queue[queue];
    uint16_t at = q->avail->idx;

    q->avail->ring[at % q->size] = head;
    __atomic_store_n(&q->avail->idx, (uint16_t)(at + 1), __ATOMIC_RELEASE);
}

/* A chain of one part to read and one to write (0 bytes: none), at places in memory. */
static inline uint16_t vhost_guest_offer(struct vhost_guest *g, unsigned queue, uint32_t out,
                                         uint32_t out_size, uint32_t in, uint32_t in_size)
{
    struct guest_queue *q = &g->queue[queue];
    uint16_t head = q->next % (uint16_t)q->size;

    if (out_size)
        q->desc[q->next++ % q->size] =
            (struct vring_desc){vhost_guest_address(out), out_size, in_size ? VRING_DESC_F_NEXT : 0,
                                (uint16_t)(q->next % q->size)};
    if (in_size)
        q->desc[q->next++ % q->size] =
            (struct vring_desc){vhost_guest_address(in), in_size, VRING_DESC_F_WRITE, 0};
    vhost_guest_avail(g, queue, head);
    return head;
}

static inline void vhost_guest_kick(struct vhost_guest *g, struct vhost *vhost, unsigned queue)
{
    uint64_t one = 1;

    guest_must(write(g->queue[queue].kick, &one, 8) == 8);
    guest_must(!vhost_guest_turn(vhost));
}

/* The next element that the device gave back; false: none. */
static inline bool vhost_guest_used(struct vhost_guest *g, unsigned queue, uint32_t *ret_head,
                                    uint32_t *ret_written)
{
    struct guest_queue *q = &g->queue[queue];

    if (__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) == q->seen)
        return false;
    *ret_head = q->used->ring[q->seen % q->size].id;
    *ret_written = q->used->ring[q->seen % q->size].len;
    q->seen++;
    return true;
}

/* How often the device has called since the last time. */
static inline uint64_t vhost_guest_calls(struct vhost_guest *g, unsigned queue)
{
    uint64_t n = 0;

    return read(g->queue[queue].call, &n, 8) == 8 ? n : 0;
}

#endif
