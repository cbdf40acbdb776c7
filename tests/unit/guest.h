/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_GUEST_H
#define VIADUCT_TEST_GUEST_H

#include "check.h"

#include <pthread.h>
#include <transport/channel.h>
#include <transport/fence.h>
#include <transport/message.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/dispatch.h>

#include "engine.h"
#include "picture.h"
#include "session.h"

/*
 * A scripted guest and a session that serves it on a thread, over a mem channel. As a general
 * rule functions return an error code; names with `must` assert.
 */
#define GUEST_MS 20000

struct guest {
    struct channel *channel, *host_end;
    struct backend_set backends;
    struct backend_options options;
    struct session_limits limits;
    struct stats_counters stats;
    pthread_t thread;
    bool running;
    int result; /* of session_serve */
    struct message_reader reader;
    struct arena arena;
    struct vd_hello_rep hello;
    struct vd_cap caps[VD_MAX_CAPS];
    uint32_t cap_count;
    uint32_t serial, submission;
    uint64_t at; /* in the upload zone */
};

static void *guest_serve(void *arg)
{
    struct guest *g = arg;

    g->result =
        session_serve(g->host_end, &g->backends, &g->options, &g->limits, &g->stats, NULL, NULL);
    channel_destroy(&g->host_end);
    return NULL;
}

static inline int guest_start(struct guest *g, const struct backend *backend)
{
    int err;

    memset(g, 0, sizeof(*g));
    g->arena.fd = -1;
    g->backends = (struct backend_set){.at = {{.backend = backend}}, .count = 1};
    strncpy(g->backends.name, backend->name, sizeof(g->backends.name) - 1);
    g->options.threads = 2;
    g->limits = (struct session_limits){.contexts = 4, .surfaces = 40, .bytes = 64 << 20};
    err = mem_create_pair(&g->channel, &g->host_end);
    if (err)
        return err;
    message_init(&g->reader, g->channel);
    g->running = pthread_create(&g->thread, NULL, guest_serve, g) == 0;
    return g->running ? 0 : VD_ERR_MEMORY;
}

static inline void guest_join(struct guest *g)
{
    if (g->running)
        pthread_join(g->thread, NULL);
    g->running = false;
}

/* Leaves; the result of the session. */
static inline int guest_stop(struct guest *g)
{
    channel_destroy(&g->channel);
    guest_join(g);
    channel_destroy(&g->host_end);
    message_finish(&g->reader);
    arena_finish(&g->arena);
    return g->result;
}

/* A round trip; the error also where the reply breaks the protocol. */
static inline int guest_call(struct guest *g, uint32_t op, const void *req, const void *tail,
                             uint32_t tail_count, void *rep)
{
    const struct dispatch_call *call = dispatch_find(op);
    struct dispatch_message message;
    const uint8_t *bytes;
    size_t size;
    int err, fd = -1;

    err = message_send(g->channel, op, ++g->serial, req, call->req->size, tail, tail_count,
                       call->req_tail ? call->req_tail->size : 0, -1, GUEST_MS);
    if (!err)
        err = message_read(&g->reader, GUEST_MS, &bytes, &size, &fd);
    if (!err)
        err = dispatch_check_reply(bytes, size, call, g->serial, &message);
    if (!err)
        memcpy(rep, message.fixed, call->rep->size);
    if (!err && op == VD_OP_hello && message.tail_count) {
        memcpy(g->caps, message.tail, message.tail_count * sizeof(g->caps[0]));
        g->cap_count = message.tail_count;
    }
    if (!err && op == VD_OP_hello && !((struct vd_hello_rep *)rep)->status) {
        err = arena_open(&g->arena, fd, rep);
        fd = -1;
        g->at = g->arena.upload_offset;
    }
    if (fd >= 0)
        close(fd);
    return err;
}

static inline int guest_oneway(struct guest *g, uint32_t op, const void *req, const void *tail,
                               uint32_t tail_count)
{
    const struct dispatch_call *call = dispatch_find(op);

    return message_send(g->channel, op, 0, req, call->req->size, tail, tail_count,
                        call->req_tail ? call->req_tail->size : 0, -1, GUEST_MS);
}

static inline struct vd_hello_req guest_hello_req(void)
{
    return (struct vd_hello_req){
        .magic = VD_MAGIC,
        .major = VD_MAJOR,
        .minor = VD_MINOR,
        .va_version = 1 << 16 | 20,
        .features = VD_FEATURES,
        .pid = 4711,
        .name = "test",
    };
}

static inline int guest_hello(struct guest *g)
{
    struct vd_hello_req req = guest_hello_req();
    int err = guest_call(g, VD_OP_hello, &req, NULL, 0, &g->hello);

    return err ? err : -(int)g->hello.status;
}

static inline int guest_context_of(struct guest *g, uint32_t id, VAProfile profile,
                                   uint32_t rt_formats, uint32_t width, uint32_t height)
{
    struct vd_context_create_req req = {
        .context = id,
        .profile = profile,
        .entrypoint = VAEntrypointVLD,
        .rt_formats = rt_formats,
        .width = width,
        .height = height,
    };
    struct vd_context_create_rep rep;
    int err = guest_call(g, VD_OP_context_create, &req, NULL, 0, &rep);

    return err ? err : -(int)rep.status;
}

static inline int guest_context(struct guest *g, uint32_t id, uint32_t width, uint32_t height)
{
    return guest_context_of(g, id, VAProfileH264High, VA_RT_FORMAT_YUV420, width, height);
}

static inline int guest_context_destroy(struct guest *g, uint32_t id)
{
    struct vd_context_destroy_req req = {.context = id};
    struct vd_context_destroy_rep rep;
    int err = guest_call(g, VD_OP_context_destroy, &req, NULL, 0, &rep);

    return err ? err : -(int)rep.status;
}

/* Surfaces first, first + 1, ... */
static inline int guest_surfaces_of(struct guest *g, uint32_t fourcc, uint32_t width,
                                    uint32_t height, uint32_t first, uint32_t count)
{
    struct vd_surface_create_req req = {.fourcc = fourcc, .width = width, .height = height};
    struct vd_surface_create_rep rep;
    struct vd_id ids[VD_MAX_CREATE];
    int err;

    for (uint32_t i = 0; i < count; i++)
        ids[i].id = first + i;
    err = guest_call(g, VD_OP_surface_create, &req, ids, count, &rep);
    return err ? err : -(int)rep.status;
}

static inline int guest_surfaces(struct guest *g, uint32_t fourcc, uint32_t first, uint32_t count)
{
    return guest_surfaces_of(g, fourcc, 16, 16, first, count);
}

static inline int guest_surface_destroy(struct guest *g, uint32_t id)
{
    struct vd_surface_destroy_req req = {0};
    struct vd_id tail = {id};

    return guest_oneway(g, VD_OP_surface_destroy, &req, &tail, 1);
}

static inline int guest_kick(struct guest *g, uint32_t context, uint32_t picture)
{
    struct vd_kick_req req = {.context = context, .picture = picture};

    return guest_oneway(g, VD_OP_kick, &req, NULL, 0);
}

static inline struct vd_buffer_ref guest_buffer(struct guest *g, uint32_t type, const void *bytes,
                                                uint32_t size)
{
    struct vd_buffer_ref ref = {.type = type, .size = size, .count = 1, .offset = g->at};

    memcpy(g->arena.base + g->at, bytes, size);
    g->at += (size + 63) & ~63u;
    return ref;
}

/* Submits as `sequence` of the surface. */
static inline int guest_submit(struct guest *g, uint32_t context, uint32_t surface,
                               uint32_t sequence, const struct picture *p)
{
    struct vd_submit_req req = {
        .context = context,
        .surface = surface,
        .sequence = sequence,
        .submission = ++g->submission,
    };
    struct vd_buffer_ref refs[4] = {
        guest_buffer(g, VAPictureParameterBufferType, &p->param, sizeof(p->param)),
        guest_buffer(g, VAIQMatrixBufferType, &p->matrix, sizeof(p->matrix)),
        guest_buffer(g, VASliceParameterBufferType, &p->slice, sizeof(p->slice)),
        guest_buffer(g, VASliceDataBufferType, p->data, p->data_size),
    };

    return guest_oneway(g, VD_OP_submit, &req, refs, 4);
}

static inline bool guest_host_alive(void *arg)
{
    struct guest *g = arg;

    return g->channel->ops->alive(g->channel);
}

static inline struct vd_surface_slot *guest_slot(struct guest *g, uint32_t surface)
{
    return &g->arena.status->surfaces[VD_SLOT(surface)];
}

/* Waits for a picture of a surface; its status, or an error of the wait. */
static inline int guest_wait(struct guest *g, uint32_t surface, uint32_t sequence)
{
    struct vd_surface_slot *slot = guest_slot(g, surface);
    int err = fence_wait(&slot->done, &slot->waiters, sequence, GUEST_MS * 1000000ull,
                         guest_host_alive, g);

    return err ? err : -(int)slot->status;
}

static inline const uint8_t *guest_pixels(struct guest *g, uint32_t surface)
{
    uint32_t backing = guest_slot(g, surface)->backing;

    assert_in_range(backing, 0, VD_MAX_BACKINGS - 1);
    return g->arena.base + g->arena.status->backings[backing].offset;
}

#endif
