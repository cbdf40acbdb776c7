/* SPDX-License-Identifier: MIT */
#include <malloc.h>
#include <string.h>
#include <viaduct/errors.h>

#include "session_private.h"

static void forget_surface(struct session *s, uint32_t slot)
{
    surface_retire(s->surfaces[slot]);
    surface_unref(&s->surfaces[slot]);
    s->stats->surfaces = --s->surface_count;
}

int session_surface_create(void *self, const struct vd_surface_create_req *req,
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
        if (s->arena.mirror)
            session_release(mirror_host_reset(s->arena.mirror, tail[made].id));
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

int session_surface_destroy(void *self, const struct vd_surface_destroy_req *req,
                            const struct vd_id *tail, uint32_t tail_count,
                            struct dispatch_reply *reply)
{
    struct session *s = self;

    (void)req, (void)reply;
    for (uint32_t i = 0; i < tail_count; i++) {
        if (!session_find_surface(s, tail[i].id))
            return VD_ERR_PROTOCOL;
        forget_surface(s, VD_SLOT(tail[i].id));
    }
    decoder_park_sweep(&s->park, session_decoder_needed, s);
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

/* Without shared memory the reply comes behind the pixels themselves. */
static int send_pixels(struct session *s, struct surface *surface)
{
    struct backing *backing = surface_current(surface);
    int err = backing ? mirror_host_pixels(s->arena.mirror, surface->id, backing->bytes,
                                           (uint32_t)surface->layout.size)
                      : VD_ERR_PROTOCOL;

    pool_unref(&backing);
    __atomic_add_fetch(&s->arena.status->mapped, 1, __ATOMIC_RELAXED);
    return err;
}

int session_surface_back(void *self, const struct vd_surface_back_req *req,
                         const struct vd_none *tail, uint32_t tail_count,
                         struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_surface_back_rep *rep = reply->fixed;
    struct surface *surface = session_find_surface(s, req->surface);

    (void)tail, (void)tail_count;
    if (!surface)
        return VD_ERR_PROTOCOL;
    rep->backing = VD_NO_BACKING;
    rep->status = (uint32_t)-surface_back(surface, &rep->backing);
    if (!rep->status && s->arena.mirror) {
        int err = send_pixels(s, surface);

        if (err)
            return err;
    }
    stats_set(&s->stats->frame_bytes, pool_bytes(s->pool));
    return 0;
}

int session_surface_import(void *self, const struct vd_surface_import_req *req,
                           const struct vd_none *tail, uint32_t tail_count,
                           struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_surface_import_rep *rep = reply->fixed;
    struct surface *surface = session_find_surface(s, req->surface);

    (void)tail, (void)tail_count;
    if (!surface || reply->request_fd < 0)
        return VD_ERR_PROTOCOL;
    rep->status = (uint32_t)-surface_import(surface, reply->request_fd, req);
    return 0;
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
            !session_offer_has_format(s, i, surface->format))
            continue;
        return backend->surface_native(s->devices[i], surface);
    }
    return VD_ERR_UNSUPPORTED;
}

int session_surface_export(void *self, const struct vd_surface_export_req *req,
                           const struct vd_none *tail, uint32_t tail_count,
                           struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_surface_export_rep *rep = reply->fixed;
    struct surface *surface = session_find_surface(s, req->surface);
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

int session_surface_write(void *self, const struct vd_surface_write_req *req,
                          const struct vd_word *tail, uint32_t tail_count,
                          struct dispatch_reply *reply)
{
    struct session *s = self;
    struct surface *surface = session_find_surface(s, req->surface);
    uint64_t size = (uint64_t)tail_count * sizeof(*tail), whole;
    struct backing *backing;
    uint32_t index;

    (void)reply;
    if (!s->arena.mirror || !surface || req->offset % 8)
        return VD_ERR_PROTOCOL;
    whole = (surface->layout.size + 7) & ~UINT64_C(7);
    if (size > whole || req->offset > whole - size)
        return VD_ERR_PROTOCOL;
    /* Without memory for it the surface stays as it was; who encodes from it is told. */
    if (surface_back(surface, &index))
        return 0;
    backing = surface_current(surface);
    if (backing) {
        memcpy(backing->bytes + req->offset, tail,
               size < surface->layout.size - req->offset ? size
                                                         : surface->layout.size - req->offset);
        __atomic_add_fetch(&s->arena.status->mapped, !req->offset, __ATOMIC_RELAXED);
    }
    pool_unref(&backing);
    stats_set(&s->stats->frame_bytes, pool_bytes(s->pool));
    return 0;
}
