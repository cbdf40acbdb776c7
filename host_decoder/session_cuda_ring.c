/* SPDX-License-Identifier: MIT */
#include "session_cuda.h"

#include <sched.h>
#include <string.h>
#include <time.h>

#include <transport/fence.h>
#include <viaduct/errors.h>
#include <wire/trace.h>

/*
 * One-way messages in shared memory: a guest that submits much pays no system call a message. Each
 * is copied out before anything of it is looked at, and then checked as one of the channel.
 */

/* How long an empty ring is watched before the guest has to kick. */
#define RING_WATCH_NS 30000

static const struct dispatch_handlers handlers = {
#define VD_CALL(number, name, since, kind, states, rt, rn, pt, pn) .name = session_##name,
#include <viaduct/calls.def>
};

static void copy_out(const struct cuda_session *c, uint32_t at, void *to, uint32_t size)
{
    uint32_t start = at % VD_CUDA_RING_BYTES, first = VD_CUDA_RING_BYTES - start;

    if (first > size)
        first = size;
    memcpy(to, c->status->ring + start, first);
    memcpy((uint8_t *)to + first, c->status->ring, size - first);
}

static int one(struct session *s, uint32_t filled)
{
    struct cuda_session *c = s->cuda;
    uint32_t there = filled - c->taken;
    struct dispatch_message message;
    struct dispatch_reply none = {.fd = -1, .request_fd = -1};
    struct vd_header header;
    int err;

    if (there > VD_CUDA_RING_BYTES || there < sizeof(header))
        return VD_ERR_PROTOCOL;
    copy_out(c, c->taken, &header, sizeof(header));
    if (header.size % 8 || header.size < sizeof(header) || header.size > there ||
        header.size > sizeof(c->message))
        return VD_ERR_PROTOCOL;
    copy_out(c, c->taken, c->message, header.size);
    /* The guest may have changed it in between. */
    memcpy(c->message, &header, sizeof(header));
    if (trace_enabled())
        trace_message("->", c->message, header.size);
    err = dispatch_check_request(c->message, header.size, s->state, &message);
    if (!err && message.call->kind != DISPATCH_ONEWAY)
        err = VD_ERR_PROTOCOL;
    if (err)
        return err;
    c->taken += header.size;
    err = dispatch_run(&handlers, s, &message, &none);
    fence_signal(&c->status->taken, &c->status->taken_waiters, c->taken);
    return err;
}

int session_cuda_drain(struct session *s, bool *ret_any)
{
    struct cuda_session *c = s->cuda;
    /* No further than now, so that a guest that goes on submitting gets its answers, too. */
    uint32_t filled = fence_load(&c->status->filled);
    int err = 0;

    /* Commands come by the channel, and nobody writes there. */
    if (c->mirror) {
        *ret_any = false;
        return 0;
    }
    *ret_any = filled != c->taken;
    while (filled != c->taken && !err)
        err = one(s, filled);
    return err;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int session_cuda_idle(struct session *s, struct message_reader *reader, const uint8_t **ret_bytes,
                      size_t *ret_size, int *ret_fd)
{
    struct cuda_session *c = s->cuda;
    uint64_t since = now_ns();
    unsigned rounds = 0;
    bool any;
    int err;

    if (c->mirror)
        return message_read(reader, -1, ret_bytes, ret_size, ret_fd);
    for (;;) {
        err = session_cuda_drain(s, &any);
        if (err)
            return err;
        /* Calls come between, however busy the ring is. */
        if (any && rounds++ % 16 == 15) {
            err = message_read(reader, 0, ret_bytes, ret_size, ret_fd);
            if (err != VD_ERR_TIMEOUT)
                return err;
        }
        if (any) {
            since = now_ns();
            continue;
        }
        err = message_read(reader, 0, ret_bytes, ret_size, ret_fd);
        if (err != VD_ERR_TIMEOUT)
            return err;
        if (now_ns() - since < RING_WATCH_NS) {
            sched_yield();
            continue;
        }
        __atomic_store_n(&c->status->sleeping, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&c->status->filled, __ATOMIC_SEQ_CST) == c->taken) {
            err = message_read(reader, -1, ret_bytes, ret_size, ret_fd);
            __atomic_store_n(&c->status->sleeping, 0, __ATOMIC_SEQ_CST);
            return err;
        }
        __atomic_store_n(&c->status->sleeping, 0, __ATOMIC_SEQ_CST);
    }
}

int session_cuda_kick(void *self, const struct vd_cuda_kick_req *req, const struct vd_none *tail,
                      uint32_t tail_count, struct dispatch_reply *reply)
{
    /* That it came is all: the ring is looked at after each message. */
    (void)self, (void)req, (void)tail, (void)tail_count, (void)reply;
    return 0;
}
