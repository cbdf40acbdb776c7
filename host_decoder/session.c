/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <transport/message.h>
#include <transport/waker.h>
#include <unistd.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <wire/log.h>
#include <wire/trace.h>

#include "session_private.h"

/*
 * Security model: the guest on the other side may be hostile. wire/dispatch.c has checked each
 * message against the tables before a handler here runs; what is left for the handlers is to
 * look ids up in this session's own tables. An id that names nothing is a violation where the
 * guest driver knows better, since every object is created by the guest's own ordered messages.
 */

/* A guest that does not read its replies for this long is given up. */
#define SESSION_SEND_MS 10000
/* Who connects and says nothing does not keep a worker from others. */
#define SESSION_HELLO_MS 10000

struct context *session_find_context(struct session *s, uint32_t id)
{
    struct context *c = VD_SLOT(id) < VD_MAX_CONTEXTS ? s->contexts[VD_SLOT(id)] : NULL;

    return c && context_id(c) == id ? c : NULL;
}

struct surface *session_find_surface(struct session *s, uint32_t id)
{
    struct surface *f = VD_SLOT(id) < VD_MAX_SURFACES ? s->surfaces[VD_SLOT(id)] : NULL;

    return f && f->id == id ? f : NULL;
}

/* backend_context_info.find_surface */
struct surface *session_surface_of(void *arg, uint32_t id)
{
    return session_find_surface(arg, id);
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* How this guest and its host see what is in the arena. */
static int choose_way(struct session *s, const struct vd_hello_req *req, uint64_t *ret_way)
{
    int err = 0;

    if (req->major == VD_MAJOR && req->features & VD_FEATURE_REGION &&
        !(req->features & VD_FEATURE_CUDA))
        err = session_region_start(s);
    session_region_close(s);
    if (!err && !s->channel->ops->shares_memory && !s->arena.waker && !s->arena.mirror)
        err = mirror_host_create(s->channel, &s->arena, session_release, &s->arena.mirror);
    *ret_way = s->arena.mirror  ? VD_FEATURE_IN_BAND
               : s->arena.waker ? VD_FEATURE_REGION
                                : VD_FEATURE_SHARED_ARENA;
    return err;
}

int session_hello(void *self, const struct vd_hello_req *req, const struct vd_none *tail,
                  uint32_t tail_count, struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_hello_rep *rep = reply->fixed;
    uint64_t way;
    int err;

    (void)tail, (void)tail_count;
    if (req->magic != VD_MAGIC)
        return VD_ERR_PROTOCOL;
    err = choose_way(s, req, &way);
    if (err)
        return err;
    rep->major = VD_MAJOR;
    rep->minor = smaller(req->minor, VD_MINOR);
    rep->va_version = VA_MAJOR_VERSION << 16 | VA_MINOR_VERSION;
    if (req->major != VD_MAJOR || !(req->features & way)) {
        log_warn("client %s speaks protocol %u.%u, this host %u.%u", req->name, req->major,
                 req->minor, VD_MAJOR, VD_MINOR);
        rep->status = (uint32_t)-VD_ERR_VERSION;
        return 0;
    }
    s->state = VD_STATE_READY;
    if (req->features & VD_FEATURE_CUDA && !session_cuda_start(s))
        s->state = VD_STATE_CUDA;
    rep->features = way | (s->state == VD_STATE_CUDA ? VD_FEATURE_CUDA : 0);
    rep->arena_size = s->arena.size;
    rep->upload_offset = s->arena.upload_offset;
    rep->upload_size = s->arena.upload_size;
    rep->frame_offset = s->arena.frame_offset;
    rep->frame_size = s->arena.frame_size;
    /* A region is no larger for all that. */
    rep->max_bytes =
        s->limits->bytes < s->arena.frame_size ? s->limits->bytes : s->arena.frame_size;
    rep->max_contexts = s->limits->contexts;
    rep->max_surfaces = s->limits->surfaces;
    memcpy(rep->backend, s->stats->backend, sizeof(rep->backend));
    memcpy(s->stats->name, req->name, sizeof(s->stats->name));
    memcpy(reply->tail, s->caps, s->cap_count * sizeof(s->caps[0]));
    reply->tail_count = s->cap_count;
    if (way == VD_FEATURE_SHARED_ARENA)
        reply->fd = s->arena.fd;
    return 0;
}

static const struct dispatch_handlers session_handlers = {
#define VD_CALL(number, name, since, kind, states, rt, rn, pt, pn) .name = session_##name,
#include <viaduct/calls.def>
};

static int session_reply(struct session *s, const struct dispatch_call *call, uint32_t serial,
                         const struct dispatch_reply *reply)
{
    uint32_t op = call->number | VD_REPLY;
    size_t element = call->rep_tail ? call->rep_tail->size : 0;

    if (s->arena.mirror)
        return mirror_host_reply(s->arena.mirror, op, serial, reply->fixed, call->rep->size,
                                 reply->tail, reply->tail_count, element);
    if (s->arena.waker)
        return waker_reply(s->arena.waker, op, serial, reply->fixed, call->rep->size, reply->tail,
                           reply->tail_count, element);
    return message_send(s->channel, op, serial, reply->fixed, call->rep->size, reply->tail,
                        reply->tail_count, element, reply->fd, SESSION_SEND_MS);
}

/* Runs one checked message and sends its reply. `room` has space for the largest reply. */
static int session_handle(struct session *s, const struct dispatch_message *message, int fd,
                          void *room)
{
    const struct dispatch_call *call = message->call;
    struct dispatch_reply reply = {.fixed = room, .fd = -1, .request_fd = fd};
    int err;

    if (call->rep) {
        memset(room, 0, call->rep->size);
        reply.tail = (uint8_t *)room + call->rep->size;
    }
    err = dispatch_run(&session_handlers, s, message, &reply);
    if (reply.request_fd >= 0)
        close(reply.request_fd);
    if (!err && call->rep)
        err = session_reply(s, call, message->serial, &reply);
    if (reply.close_fd)
        close(reply.fd);
    return err;
}

uint64_t session_frame_zone(const struct session_limits *limits)
{
    return limits->bytes + limits->bytes / 2;
}

static int session_loop(struct session *s, void *room)
{
    struct message_reader reader;
    int held = -1, err;

    message_init(&reader, s->channel);
    do {
        struct dispatch_message message;
        const uint8_t *bytes;
        size_t size;
        int fd = -1;

        if (s->cuda)
            err = session_cuda_idle(s, &reader, &bytes, &size, &fd);
        else
            err = message_read(&reader, s->state == VD_STATE_NEW ? SESSION_HELLO_MS : -1, &bytes,
                               &size, &fd);
        /* It was sent behind what stands in the ring. */
        if (!err && s->cuda)
            err = session_cuda_drain(s, &(bool){0});
        if (err)
            break;
        if (trace_enabled())
            trace_message("->", bytes, size);
        err = dispatch_check_request(bytes, size, s->state, &message);
        /* A descriptor comes with the bytes that are read together. Only calls bring one, so one
         * that seems a one-way message's is the call's behind it. */
        if (!err && message.call->kind == DISPATCH_ONEWAY && fd >= 0) {
            if (held >= 0)
                close(held);
            held = fd;
            fd = -1;
        } else if (!err && message.call->kind != DISPATCH_ONEWAY && fd < 0) {
            fd = held;
            held = -1;
        }
        if (!err)
            err = session_handle(s, &message, fd, room);
        else if (fd >= 0)
            close(fd);
    } while (!err);
    /* Pictures that it looked at after the last one was made. */
    stats_set(&s->stats->mapped, __atomic_load_n(&s->arena.status->mapped, __ATOMIC_RELAXED));
    s->state = VD_STATE_CLOSED;
    if (held >= 0)
        close(held);
    message_finish(&reader);
    return err;
}

void session_release(void *hold)
{
    struct backing *backing = hold;

    pool_unref(&backing);
}

int session_serve(struct channel *channel, const struct backend_set *set,
                  const struct backend_options *options, const struct session_limits *limits,
                  struct stats_counters *stats, int (*ready)(void *arg, bool devices), void *arg)
{
    struct session *s = calloc(1, sizeof(*s));
    size_t room_size = 0;
    uint32_t devices;
    void *room = NULL;
    int err = VD_ERR_MEMORY;
    bool emptied = false;

    if (!s)
        return VD_ERR_MEMORY;
    s->channel = channel;
    s->set = set;
    s->options = options;
    s->limits = limits;
    s->stats = stats;
    memcpy(s->regions, limits->regions, sizeof(s->regions));
    s->region_count = limits->region_count;
    budget_init(&s->budget, limits->pixels, budget_now());
    s->state = VD_STATE_NEW;
    s->arena.fd = -1;
    for (size_t i = 0; dispatch_at(i); i++) {
        if (dispatch_reply_room(dispatch_at(i)) > room_size)
            room_size = dispatch_reply_room(dispatch_at(i));
    }
    room = malloc(room_size);
    if (!room)
        goto out;
    err = arena_create(&s->arena, session_frame_zone(limits));
    if (!err)
        err = pool_create(&s->arena, limits->bytes, &s->pool);
    if (err)
        goto out;
    s->blocks = block_pool_create(s->pool);
    if (!s->blocks) {
        err = VD_ERR_MEMORY;
        goto out;
    }
    memcpy(stats->backend, set->name, sizeof(stats->backend));
    devices = session_offer(s);
    if (options->surface_format)
        session_offer_keep(s, options->surface_format);
    if (ready)
        err = ready(arg, devices > 0);
    if (!err)
        err = session_loop(s, room);
    if (err == VD_ERR_GONE)
        err = 0;
    emptied = !err && s->arena.waker;
    if (err)
        log_warn("session of %s ends: %s", stats->name[0] ? stats->name : "a client",
                 errors_text(err));
out:
    session_cuda_finish(s);
    for (size_t i = 0; i < VD_MAX_CONTEXTS; i++)
        context_destroy(s->contexts[i]);
    decoder_park_finish(&s->park);
    if (!session_npu_finish(s)) {
        free(room);
        return err;
    }
    mirror_host_destroy(s->arena.mirror);
    s->arena.mirror = NULL;
    waker_destroy(s->arena.waker);
    s->arena.waker = NULL;
    for (size_t i = 0; i < VD_MAX_SURFACES; i++)
        surface_unref(&s->surfaces[i]);
    for (uint32_t i = 0; i < set->count; i++) {
        if (s->devices[i])
            set->at[i].backend->close(s->devices[i]);
    }
    block_pool_destroy(s->blocks);
    pool_destroy(s->pool);
    collect_finish(&s->collect);
    collect_encode_finish(&s->collect_encode);
    /* A region's file stays: its pages go. A client that is put out may still look at pictures. */
    if (emptied)
        arena_discard(&s->arena, 0, s->arena.size);
    arena_finish(&s->arena);
    session_region_close(s);
    free(room);
    free(s);
    return err;
}
