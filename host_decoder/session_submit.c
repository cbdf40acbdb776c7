/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <time.h>
#include <transport/fence.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "session_private.h"
#include "work.h"

/* collect.c asks for each surface id of a picture. */
static bool surface_known(void *arg, uint32_t id)
{
    struct session *s = arg;
    const struct surface *f = session_find_surface(s, id);
    uint32_t place = f && id != s->target ? decoder_park_find(&s->park, f->decoder) : 0;

    if (place > s->wanted)
        s->wanted = place;
    return f != NULL;
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
        decoder_park_sweep(&s->park, session_decoder_needed, s);
    }
}

/* Holds a client back that wants more than its share: nothing of it is read meanwhile. */
static void keep_budget(struct session *s, const struct surface *surface)
{
    uint64_t wait;

    if (!s->limits->pixels)
        return;
    wait = budget_take(&s->budget, (uint64_t)surface->width * surface->height, budget_now());
    if (wait)
        nanosleep(&(struct timespec){(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)},
                  NULL);
}

int session_submit(void *self, const struct vd_submit_req *req, const struct vd_buffer_ref *tail,
                   uint32_t tail_count, struct dispatch_reply *reply)
{
    struct session *s = self;
    struct context *context = session_find_context(s, req->context);
    struct surface *surface = session_find_surface(s, req->surface);
    struct surface *display = req->display ? session_find_surface(s, req->display) : NULL;
    struct vd_status_page *status = s->arena.status;
    struct work_setup work_setup = {
        .arena = &s->arena,
        .blocks = s->blocks,
        .collect = &s->collect_encode,
        .find = session_surface_of,
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
    arena_signal(&s->arena, &status->consumed, &status->consumed_waiters, ++s->consumed);
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
    if (s->arena.mirror)
        mirror_host_fix(s->arena.mirror, surface->id, req->flags & VD_SUBMIT_FIXED);
    if (s->arena.mirror && display)
        mirror_host_fix(s->arena.mirror, display->id, req->flags & VD_SUBMIT_DISPLAY_FIXED);
    err = context_submit(context, &target, block, &s->collect.picture, refused);
    if (err) {
        work_drop(work);
        surface_unref(&target.surface);
        surface_unref(&target.display);
        block_unref(&block);
    }
    return err;
}

int session_arena_write(void *self, const struct vd_arena_write_req *req,
                        const struct vd_word *tail, uint32_t tail_count,
                        struct dispatch_reply *reply)
{
    struct session *s = self;
    uint64_t size = (uint64_t)tail_count * sizeof(*tail);

    (void)reply;
    if (!s->arena.mirror || arena_check_upload(&s->arena, req->offset, size))
        return VD_ERR_PROTOCOL;
    /* There is what this side keeps. */
    if (s->cuda && req->offset < s->arena.upload_offset + sizeof(struct vd_cuda_status))
        return VD_ERR_PROTOCOL;
    memcpy(s->arena.base + req->offset, tail, size);
    return 0;
}
