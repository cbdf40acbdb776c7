/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <stdio.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <transport/fence.h>
#include <transport/message.h>
#include <unistd.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <wire/dispatch.h>
#include <wire/log.h>
#include <wire/trace.h>

#include "budget.h"
#include "collect.h"
#include "context.h"
#include "engine.h"
#include "work.h"

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

struct session {
    struct channel *channel;
    const struct backend_set *set;
    const struct backend_options *options;
    const struct session_limits *limits;
    struct stats_counters *stats;
    uint32_t state;
    struct arena arena;
    struct pool *pool;
    struct block_pool *blocks;
    struct collect collect;
    struct collect_encode collect_encode;
    struct vd_cap caps[VD_MAX_CAPS];
    uint8_t cap_engine[VD_MAX_CAPS]; /* index into the set */
    uint32_t cap_count;
    void *devices[BACKEND_SET_MAX]; /* of the set's engines that were opened */
    uint32_t context_count, surface_count;
    struct context *contexts[VD_MAX_CONTEXTS];
    struct surface *surfaces[VD_MAX_SURFACES];
    uint32_t consumed;
    uint64_t decoder_count; /* ever opened */
    uint32_t engine;        /* of the newest context; index into the set */
    struct decoder_park park;
    /* Of the picture that is being collected: its surface, and the parked decoder it refers to. */
    uint32_t target, wanted;
    struct budget budget;
};

static struct context *find_context(struct session *s, uint32_t id)
{
    struct context *c = VD_SLOT(id) < VD_MAX_CONTEXTS ? s->contexts[VD_SLOT(id)] : NULL;

    return c && context_id(c) == id ? c : NULL;
}

static struct surface *find_surface(struct session *s, uint32_t id)
{
    struct surface *f = VD_SLOT(id) < VD_MAX_SURFACES ? s->surfaces[VD_SLOT(id)] : NULL;

    return f && f->id == id ? f : NULL;
}

/* backend_context_info.find_surface */
static struct surface *surface_of(void *arg, uint32_t id)
{
    return find_surface(arg, id);
}

/* collect.c asks for each surface id of a picture. */
static bool surface_known(void *arg, uint32_t id)
{
    struct session *s = arg;
    const struct surface *f = find_surface(s, id);
    uint32_t place = f && id != s->target ? decoder_park_find(&s->park, f->decoder) : 0;

    if (place > s->wanted)
        s->wanted = place;
    return f != NULL;
}

/* Whether a surface that this decoder decoded is left. */
static bool decoder_needed(void *arg, uint64_t number)
{
    const struct session *s = arg;

    for (size_t i = 0; i < VD_MAX_SURFACES; i++) {
        if (s->surfaces[i] && s->surfaces[i]->decoder == number)
            return true;
    }
    return false;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static int session_hello(void *self, const struct vd_hello_req *req, const struct vd_none *tail,
                         uint32_t tail_count, struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_hello_rep *rep = reply->fixed;

    (void)tail, (void)tail_count;
    if (req->magic != VD_MAGIC)
        return VD_ERR_PROTOCOL;
    rep->major = VD_MAJOR;
    rep->minor = smaller(req->minor, VD_MINOR);
    rep->va_version = VA_MAJOR_VERSION << 16 | VA_MINOR_VERSION;
    if (req->major != VD_MAJOR || !(req->features & VD_FEATURE_SHARED_ARENA)) {
        log_warn("client %s speaks protocol %u.%u, this host %u.%u", req->name, req->major,
                 req->minor, VD_MAJOR, VD_MINOR);
        rep->status = (uint32_t)-VD_ERR_VERSION;
        return 0;
    }
    rep->features = req->features & VD_FEATURES;
    rep->arena_size = s->arena.size;
    rep->upload_offset = s->arena.upload_offset;
    rep->upload_size = s->arena.upload_size;
    rep->frame_offset = s->arena.frame_offset;
    rep->frame_size = s->arena.frame_size;
    rep->max_bytes = s->limits->bytes;
    rep->max_contexts = s->limits->contexts;
    rep->max_surfaces = s->limits->surfaces;
    memcpy(rep->backend, s->stats->backend, sizeof(rep->backend));
    memcpy(s->stats->name, req->name, sizeof(s->stats->name));
    memcpy(reply->tail, s->caps, s->cap_count * sizeof(s->caps[0]));
    reply->tail_count = s->cap_count;
    reply->fd = s->arena.fd;
    s->state = VD_STATE_READY;
    return 0;
}

static const struct vd_cap *find_cap(const struct session *s, uint32_t profile, uint32_t entrypoint)
{
    for (uint32_t i = 0; i < s->cap_count; i++) {
        if (s->caps[i].profile == profile && s->caps[i].entrypoint == entrypoint)
            return &s->caps[i];
    }
    return NULL;
}

/* Whether these bits are among those that a cap's attribute offers; no bits always are. */
static bool attribute_allows(const struct vd_cap *cap, uint32_t type, uint32_t bits)
{
    for (uint32_t i = 0; i < cap->attribute_count && i < VD_MAX_CAP_ATTRIBUTES; i++) {
        if (cap->attributes[i] == type)
            return !(bits & ~cap->values[i]);
    }
    return !bits;
}

static int session_context_create(void *self, const struct vd_context_create_req *req,
                                  const struct vd_none *tail, uint32_t tail_count,
                                  struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_context_create_rep *rep = reply->fixed;
    struct backend_context_traits traits = {0};
    const struct vd_cap *cap = find_cap(s, req->profile, req->entrypoint);
    struct context_setup setup = {
        .id = req->context,
        .arena = &s->arena,
        .info = {.profile = req->profile,
                 .entrypoint = req->entrypoint,
                 .rate_control = req->rate_control,
                 .packed_headers = req->packed_headers,
                 .width = req->width,
                 .height = req->height,
                 .codec = codecs_of_profile((int)req->profile),
                 .options = s->options,
                 .pool = s->pool,
                 .find_surface = surface_of,
                 .find_arg = s,
                 .surfaces = s->surface_count},
        .stats = s->stats,
    };
    int err = 0;

    (void)tail, (void)tail_count;
    if (VD_SLOT(req->context) >= VD_MAX_CONTEXTS || s->contexts[VD_SLOT(req->context)])
        return VD_ERR_PROTOCOL;
    /* A guest whose first session offered more asks for more. */
    if (cap)
        setup.info.rt_formats = cap->rt_formats & req->rt_formats;
    if (!setup.info.rt_formats)
        err = VD_ERR_UNSUPPORTED;
    else if (req->width < cap->min_width || req->width > cap->max_width ||
             req->height < cap->min_height || req->height > cap->max_height)
        err = VD_ERR_RESOLUTION;
    else if (!attribute_allows(cap, VAConfigAttribRateControl, req->rate_control) ||
             !attribute_allows(cap, VAConfigAttribEncPackedHeaders, req->packed_headers))
        err = VD_ERR_PARAMETER;
    else if (s->context_count >= s->limits->contexts)
        err = VD_ERR_LIMIT;
    if (!err) {
        const struct engine *engine = &s->set->at[s->cap_engine[cap - s->caps]];

        s->engine = s->cap_engine[cap - s->caps];
        setup.backend = engine->backend;
        setup.info.device = s->devices[s->engine];
        memcpy(s->stats->engine, cap->engine, sizeof(s->stats->engine));
        setup.decoder = ++s->decoder_count;
        err = context_create(&setup, &s->contexts[VD_SLOT(req->context)], &traits);
    }
    if (!err) {
        s->stats->contexts = ++s->context_count;
        rep->flags = traits.flags;
        rep->depth = traits.depth;
    }
    rep->status = (uint32_t)-err;
    return 0;
}

static int session_context_destroy(void *self, const struct vd_context_destroy_req *req,
                                   const struct vd_none *tail, uint32_t tail_count,
                                   struct dispatch_reply *reply)
{
    struct session *s = self;
    struct context *context = find_context(s, req->context);

    (void)tail, (void)tail_count, (void)reply;
    if (!context)
        return VD_ERR_PROTOCOL;
    s->contexts[VD_SLOT(req->context)] = NULL;
    s->stats->contexts = --s->context_count;
    decoder_park_put(&s->park, context_leave(context));
    decoder_park_sweep(&s->park, decoder_needed, s);
    if (!s->context_count)
        block_pool_trim(s->blocks);
    pool_trim(s->pool);
    stats_set(&s->stats->frame_bytes, pool_bytes(s->pool));
    return 0;
}

static void forget_surface(struct session *s, uint32_t slot)
{
    surface_retire(s->surfaces[slot]);
    surface_unref(&s->surfaces[slot]);
    s->stats->surfaces = --s->surface_count;
}

static int session_surface_create(void *self, const struct vd_surface_create_req *req,
                                  const struct vd_id *tail, uint32_t tail_count,
                                  struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_surface_create_rep *rep = reply->fixed;
    const struct format_info *format = format_find(req->fourcc);
    uint32_t made = 0;
    int err = 0;

    if (!format)
        err = VD_ERR_UNSUPPORTED;
    else if (tail_count > s->limits->surfaces - s->surface_count)
        err = VD_ERR_LIMIT;
    for (; made < tail_count && !err; made++) {
        uint32_t slot = VD_SLOT(tail[made].id);

        if (slot >= VD_MAX_SURFACES || s->surfaces[slot])
            return VD_ERR_PROTOCOL;
        err = surface_create(s->pool, tail[made].id, format, req->width, req->height,
                             &s->surfaces[slot]);
        if (err)
            break;
        s->stats->surfaces = ++s->surface_count;
    }
    while (err && made > 0)
        forget_surface(s, VD_SLOT(tail[--made].id));
    rep->status = (uint32_t)-err;
    return 0;
}

static int session_surface_destroy(void *self, const struct vd_surface_destroy_req *req,
                                   const struct vd_id *tail, uint32_t tail_count,
                                   struct dispatch_reply *reply)
{
    struct session *s = self;

    (void)req, (void)reply;
    for (uint32_t i = 0; i < tail_count; i++) {
        if (!find_surface(s, tail[i].id))
            return VD_ERR_PROTOCOL;
        forget_surface(s, VD_SLOT(tail[i].id));
    }
    decoder_park_sweep(&s->park, decoder_needed, s);
    if (!s->context_count)
        block_pool_trim(s->blocks);
    pool_trim(s->pool);
    stats_set(&s->stats->frame_bytes, pool_bytes(s->pool));
#ifdef __GLIBC__
    /* Decoders' threads leave their heaps behind: a client that pauses should not hold them. */
    if (!s->context_count && !s->surface_count)
        malloc_trim(0);
#endif
    return 0;
}

static int session_surface_back(void *self, const struct vd_surface_back_req *req,
                                const struct vd_none *tail, uint32_t tail_count,
                                struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_surface_back_rep *rep = reply->fixed;
    struct surface *surface = find_surface(s, req->surface);

    (void)tail, (void)tail_count;
    if (!surface)
        return VD_ERR_PROTOCOL;
    rep->backing = VD_NO_BACKING;
    rep->status = (uint32_t)-surface_back(surface, &rep->backing);
    stats_set(&s->stats->frame_bytes, pool_bytes(s->pool));
    return 0;
}

static int session_surface_import(void *self, const struct vd_surface_import_req *req,
                                  const struct vd_none *tail, uint32_t tail_count,
                                  struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_surface_import_rep *rep = reply->fixed;
    struct surface *surface = find_surface(s, req->surface);

    (void)tail, (void)tail_count;
    if (!surface || reply->request_fd < 0)
        return VD_ERR_PROTOCOL;
    rep->status = (uint32_t)-surface_import(surface, reply->request_fd, req);
    return 0;
}

static int collect_decode(struct session *s, struct context *context, const struct surface *surface,
                          const struct vd_buffer_ref *refs, uint32_t count,
                          struct block **ret_block)
{
    int err;

    s->target = surface->id;
    s->wanted = 0;
    err = collect_picture(&s->collect, &s->arena, refs, count, context_codec(context),
                          context_gap(context), s->blocks, surface_known, s, ret_block);
    for (uint32_t i = 0; !err && i < s->collect.picture.slice_count; i++)
        stats_add(&s->stats->bytes_in, s->collect.picture.slices[i].size);
    return err;
}

/* A first picture may go on with the decoder of the pictures it refers to. */
static void choose_decoder(struct session *s, struct context *context, struct surface *surface)
{
    if (context_fresh(context))
        context_adopt(context, &s->park, s->wanted);
    if (surface->decoder != context_decoder(context)) {
        surface->decoder = context_decoder(context);
        decoder_park_sweep(&s->park, decoder_needed, s);
    }
}

static bool has_format(const struct session *s, uint32_t engine, const struct format_info *format)
{
    for (uint32_t i = 0; i < s->cap_count; i++) {
        for (uint32_t j = 0; j < s->caps[i].format_count && s->cap_engine[i] == engine; j++) {
            if (format_find(s->caps[i].formats[j]) == format)
                return true;
        }
    }
    return false;
}

/*
 * Memory of a device for a surface that no picture has come to yet: programs export surfaces
 * before they decode into them, and before they have a context. The device that pictures are
 * likely to come from is that of the newest context, or the first one.
 */
static int make_native(struct session *s, struct surface *surface)
{
    if (surface->native || surface->submitted)
        return 0;
    for (uint32_t i = 0; i < s->set->count; i++) {
        const struct backend *backend = s->set->at[i].backend;

        if ((s->decoder_count && i != s->engine) || !s->devices[i] || !backend->surface_native ||
            !has_format(s, i, surface->format))
            continue;
        return backend->surface_native(s->devices[i], surface);
    }
    return VD_ERR_UNSUPPORTED;
}

static int session_surface_export(void *self, const struct vd_surface_export_req *req,
                                  const struct vd_none *tail, uint32_t tail_count,
                                  struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_surface_export_rep *rep = reply->fixed;
    struct surface *surface = find_surface(s, req->surface);
    struct device_export export = {.fd = -1};
    int err;

    (void)tail, (void)tail_count;
    if (!surface)
        return VD_ERR_PROTOCOL;
    err = s->channel->ops->shares_memory ? make_native(s, surface) : VD_ERR_UNSUPPORTED;
    if (!err)
        err = surface_export(surface, req->flags, req->object, &export);
    stats_set(&s->stats->frame_bytes, pool_bytes(s->pool));
    rep->status = (uint32_t)-err;
    if (err)
        return 0;
    rep->objects = export.objects;
    rep->size = export.size;
    rep->modifier = export.modifier;
    memcpy(reply->tail, export.planes, export.plane_count * sizeof(export.planes[0]));
    reply->tail_count = export.plane_count;
    reply->fd = export.fd;
    reply->close_fd = true;
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Holds a client back that wants more than its share: nothing of it is read meanwhile. */
static void keep_budget(struct session *s, const struct surface *surface)
{
    uint64_t wait;

    if (!s->limits->pixels)
        return;
    wait = budget_take(&s->budget, (uint64_t)surface->width * surface->height, now_ns());
    if (wait)
        nanosleep(&(struct timespec){(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)},
                  NULL);
}

static int session_submit(void *self, const struct vd_submit_req *req,
                          const struct vd_buffer_ref *tail, uint32_t tail_count,
                          struct dispatch_reply *reply)
{
    struct session *s = self;
    struct context *context = find_context(s, req->context);
    struct surface *surface = find_surface(s, req->surface);
    struct surface *display = req->display ? find_surface(s, req->display) : NULL;
    struct vd_status_page *status = s->arena.status;
    struct work_setup work_setup = {
        .arena = &s->arena,
        .blocks = s->blocks,
        .collect = &s->collect_encode,
        .find = surface_of,
        .find_arg = s,
    };
    struct backend_work *work = NULL;
    struct context_target target;
    struct block *block = NULL;
    int err, refused;

    (void)reply;
    if (!context || !surface || (req->display && (!display || display == surface)) ||
        req->submission != s->consumed + 1)
        return VD_ERR_PROTOCOL;
    keep_budget(s, surface);
    refused = context_decodes(context)
                  ? collect_decode(s, context, surface, tail, tail_count, &block)
                  : work_collect(&work_setup, context, surface, tail, tail_count, &block, &work);
    if (refused == VD_ERR_PROTOCOL)
        return refused;
    fence_signal(&status->consumed, &status->consumed_waiters, ++s->consumed);
    if (refused)
        log_debug("picture refused: %s", errors_text(refused));
    if (context_decodes(context))
        choose_decoder(s, context, surface);
    if (!context_encodes(context)) {
        /* Who reads the surface from now on means this picture. */
        surface->written = req->sequence;
        surface->writer = req->context;
        surface->writer_picture = context_submitted(context) + 1;
    }
    surface->submitted = true;
    surface->sequence = req->sequence;
    target = (struct context_target){
        .surface = surface_ref(surface),
        .sequence = req->sequence,
        .flags = req->flags,
        .work = work,
    };
    if (display) {
        display->submitted = true;
        target.display = surface_ref(display);
        target.display_sequence = ++display->sequence;
    }
    err = context_submit(context, &target, block, &s->collect.picture, refused);
    if (err) {
        work_drop(work);
        surface_unref(&target.surface);
        surface_unref(&target.display);
        block_unref(&block);
    }
    return err;
}

/*
 * A picture that is waited for may itself wait for one of another context, which is held back
 * there until somebody wants it. Each picture needs older ones only, so this ends.
 */
static void kick(struct session *s, const struct context *context, uint32_t picture)
{
    struct context_need needs[VD_MAX_CONTEXTS] = {{context_id(context), picture}};
    uint32_t wanted[VD_MAX_CONTEXTS], count = 1;
    uint64_t seen = 0, open = 0; /* contexts, by slot */

    _Static_assert(VD_MAX_CONTEXTS <= 64, "slots are bits");
    for (;;) {
        unsigned slot;

        for (uint32_t i = 0; i < count; i++) {
            slot = VD_SLOT(needs[i].context);
            if (!find_context(s, needs[i].context) ||
                (seen >> slot & 1 && (int32_t)(needs[i].picture - wanted[slot]) <= 0))
                continue;
            wanted[slot] = needs[i].picture;
            seen |= UINT64_C(1) << slot;
            open |= UINT64_C(1) << slot;
        }
        if (!open)
            return;
        slot = (unsigned)__builtin_ctzll(open);
        open &= open - 1;
        count = context_needs(s->contexts[slot], wanted[slot], needs, VD_MAX_CONTEXTS);
        context_kick(s->contexts[slot], wanted[slot]);
    }
}

static int session_kick(void *self, const struct vd_kick_req *req, const struct vd_none *tail,
                        uint32_t tail_count, struct dispatch_reply *reply)
{
    struct session *s = self;
    struct context *context = find_context(s, req->context);

    (void)tail, (void)tail_count, (void)reply;
    if (!context)
        return VD_ERR_PROTOCOL;
    kick(s, context, req->picture);
    return 0;
}

static const struct dispatch_handlers session_handlers = {
#define VD_CALL(number, name, since, kind, states, rt, rn, pt, pn) .name = session_##name,
#include <viaduct/calls.def>
};

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
        err = message_send(s->channel, call->number | VD_REPLY, message->serial, reply.fixed,
                           call->rep->size, reply.tail, reply.tail_count,
                           call->rep_tail ? call->rep_tail->size : 0, reply.fd, SESSION_SEND_MS);
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
    int err;

    message_init(&reader, s->channel);
    do {
        struct dispatch_message message;
        const uint8_t *bytes;
        size_t size;
        int fd = -1;

        err = message_read(&reader, s->state == VD_STATE_NEW ? SESSION_HELLO_MS : -1, &bytes, &size,
                           &fd);
        if (err)
            break;
        if (trace_enabled())
            trace_message("->", bytes, size);
        err = dispatch_check_request(bytes, size, s->state, &message);
        if (!err)
            err = session_handle(s, &message, fd, room);
        else if (fd >= 0)
            close(fd);
    } while (!err);
    /* Pictures that it looked at after the last one was made. */
    stats_set(&s->stats->mapped, __atomic_load_n(&s->arena.status->mapped, __ATOMIC_RELAXED));
    s->state = VD_STATE_CLOSED;
    message_finish(&reader);
    return err;
}

/* Takes all other surface formats, and what is left without one, out of the offer. */
static void keep_format(struct session *s, uint32_t fourcc)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < s->cap_count; i++) {
        struct vd_cap cap = s->caps[i];
        bool has = false;

        for (uint32_t j = 0; j < cap.format_count; j++)
            has = has || cap.formats[j] == fourcc;
        memset(cap.formats, 0, sizeof(cap.formats));
        cap.formats[0] = fourcc;
        cap.format_count = 1;
        if (!has)
            continue;
        s->cap_engine[kept] = s->cap_engine[i];
        s->caps[kept++] = cap;
    }
    s->cap_count = kept;
}

/* Takes what an engine alone serves into the offer; returns whether there was something. */
static bool offer_engine(struct session *s, uint32_t index)
{
    const struct engine *engine = &s->set->at[index];
    struct vd_cap caps[VD_MAX_CAPS];
    uint32_t count = engine_caps(engine, caps), before = s->cap_count;

    for (uint32_t i = 0; i < count && s->cap_count < VD_MAX_CAPS; i++) {
        struct vd_cap *cap = &s->caps[s->cap_count];

        if (find_cap(s, caps[i].profile, caps[i].entrypoint))
            continue;
        *cap = caps[i];
        /* Encoders say which one they are. */
        if (!cap->engine[0])
            snprintf(cap->engine, sizeof(cap->engine), "%s",
                     engine->name[0] ? engine->name : engine->backend->name);
        s->cap_engine[s->cap_count++] = (uint8_t)index;
    }
    return s->cap_count > before;
}

/*
 * What the engines offer together: for each profile and entry point the first one that has it.
 * Devices are opened here, if they have something to do; returns how many.
 */
static uint32_t offer(struct session *s)
{
    uint32_t opened = 0;

    for (uint32_t i = 0; i < s->set->count; i++) {
        const struct engine *engine = &s->set->at[i];
        uint32_t before = s->cap_count;

        if (!offer_engine(s, i) || !engine->backend->open)
            continue;
        if (engine->backend->open(engine->device, s->options, &s->devices[i])) {
            log_warn("engine %s is gone; others take its place", engine->name);
            s->cap_count = before;
            s->devices[i] = NULL;
        } else {
            opened++;
        }
    }
    return opened;
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

    if (!s)
        return VD_ERR_MEMORY;
    s->channel = channel;
    s->set = set;
    s->options = options;
    s->limits = limits;
    s->stats = stats;
    budget_init(&s->budget, limits->pixels, now_ns());
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
    devices = offer(s);
    if (options->surface_format)
        keep_format(s, options->surface_format);
    if (ready)
        err = ready(arg, devices > 0);
    if (!err)
        err = session_loop(s, room);
    if (err == VD_ERR_GONE)
        err = 0;
    if (err)
        log_warn("session of %s ends: %s", stats->name[0] ? stats->name : "a client",
                 errors_text(err));
out:
    for (size_t i = 0; i < VD_MAX_CONTEXTS; i++)
        context_destroy(s->contexts[i]);
    decoder_park_finish(&s->park);
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
    arena_finish(&s->arena);
    free(room);
    free(s);
    return err;
}
