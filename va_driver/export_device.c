/* SPDX-License-Identifier: MIT */
#include <drm_fourcc.h>
#include <string.h>
#include <transport/memory.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "driver.h"

/*
 * Surfaces whose pictures lie on a device of the host's: its driver's dma-bufs, which the host
 * passes on. What it says of them is checked as all it says, since apps hand it to their kernel,
 * and some map it: the planes must be those of the surface's format, and lie inside memory that
 * stays.
 */

/* What came in one reply, but for its descriptor. */
struct export_reply {
    struct vd_surface_export_rep rep;
    struct vd_export_plane planes[VD_MAX_PLANES];
    uint32_t plane_count;
};

/* One name for two orders of U and V, which drivers mix up. */
static uint32_t layer_name(uint32_t drm)
{
    if (drm == DRM_FORMAT_RG88)
        return DRM_FORMAT_GR88;
    return drm == DRM_FORMAT_RG1616 ? DRM_FORMAT_GR1616 : drm;
}

/*
 * The planes of the picture are the first of their layers: all of one layer, or one of each.
 * Behind them there may be planes that only the device understands (compression).
 */
static bool planes_ok(const struct format_info *format, bool separate,
                      const struct export_reply *reply)
{
    uint32_t layers = separate ? format->planes : 1, layer = 0;

    if (reply->plane_count < format->planes || reply->plane_count > VD_MAX_PLANES)
        return false;
    for (uint32_t i = 0; i < reply->plane_count; i++) {
        const struct vd_export_plane *p = &reply->planes[i];
        uint32_t want;

        if (p->layer != layer && (!i || p->layer != layer + 1))
            return false;
        layer = p->layer;
        if (layer >= layers || p->object >= reply->rep.objects || !p->pitch)
            return false;
        want = separate ? export_layer(format, (int)layer) : export_composed(format->fourcc);
        if (want == DRM_FORMAT_INVALID || layer_name(p->format) != want)
            return false;
    }
    return layer + 1 == layers;
}

/* A plane of the picture in an object that lies as memory does; of others the start is known. */
static bool inside(const struct surface *surface, int plane, const struct vd_export_plane *p,
                   uint64_t size, uint64_t modifier)
{
    uint64_t row = format_row_bytes(surface->format, plane, surface->width);
    uint64_t rows = format_rows(surface->format, plane, surface->height);

    if (modifier != DRM_FORMAT_MOD_LINEAR)
        return p->offset < size;
    return p->pitch >= row && p->offset <= size && (rows - 1) * p->pitch + row <= size - p->offset;
}

/* The picture's planes against the objects they lie in, when those are known. */
static bool layout_ok(const struct surface *surface, bool separate,
                      const struct export_reply *reply, const VADRMPRIMESurfaceDescriptor *d)
{
    uint32_t in_layer = 0;

    for (uint32_t i = 0; i < reply->plane_count; i++) {
        const struct vd_export_plane *p = &reply->planes[i];
        uint32_t plane = separate ? p->layer : i;
        uint64_t modifier = d->objects[p->object].drm_format_modifier;

        in_layer = i && reply->planes[i - 1].layer == p->layer ? in_layer + 1 : 0;
        if (separate ? in_layer > 0 : i >= surface->format->planes) {
            if (modifier == DRM_FORMAT_MOD_LINEAR || p->offset >= d->objects[p->object].size)
                return false;
        } else if (!inside(surface, (int)plane, p, d->objects[p->object].size, modifier)) {
            return false;
        }
    }
    return true;
}

static void describe(const struct surface *surface, const struct export_reply *reply,
                     VADRMPRIMESurfaceDescriptor *d)
{
    d->fourcc = surface->format->fourcc;
    d->width = surface->width;
    d->height = surface->height;
    d->num_objects = reply->rep.objects;
    for (uint32_t i = 0; i < reply->plane_count; i++) {
        const struct vd_export_plane *p = &reply->planes[i];
        uint32_t n = d->layers[p->layer].num_planes++;

        d->num_layers = p->layer + 1;
        d->layers[p->layer].drm_format = p->format;
        d->layers[p->layer].object_index[n] = p->object;
        d->layers[p->layer].offset[n] = p->offset;
        d->layers[p->layer].pitch[n] = p->pitch;
    }
}

/* Asks for one object. */
static int ask(struct host *host, const struct vd_surface_export_req *req,
               struct export_reply *ret_reply, int *ret_fd)
{
    const void *tail;
    uint32_t count;
    int err =
        host_call_take(host, VD_OP_surface_export, req, &ret_reply->rep, &tail, &count, ret_fd);

    if (err)
        return err;
    ret_reply->plane_count = count;
    memcpy(ret_reply->planes, tail, count * sizeof(ret_reply->planes[0]));
    return errors_from_wire(ret_reply->rep.status);
}

int export_device(struct driver *driver, struct surface *surface, uint32_t flags,
                  VADRMPRIMESurfaceDescriptor *ret_descriptor)
{
    const bool separate = flags & VA_EXPORT_SURFACE_SEPARATE_LAYERS;
    struct vd_surface_export_req req = {
        .surface = surface->object.id,
        .flags = (flags & VA_EXPORT_SURFACE_READ_ONLY ? VD_EXPORT_READ : 0) |
                 (flags & VA_EXPORT_SURFACE_WRITE_ONLY ? VD_EXPORT_WRITE : 0) |
                 (separate ? VD_EXPORT_SEPARATE : 0),
    };
    VADRMPRIMESurfaceDescriptor d = {0};
    struct export_reply first = {0}, reply = {0};
    uint32_t taken = 0;
    int err;

    if (!surface->host || (surface->host->dead && !surface->sequence)) {
        err = surface_register(driver, surface);
        if (err)
            return err;
    }
    if (!surface->host->channel->ops->shares_memory)
        return VD_ERR_UNSUPPORTED;
    do {
        int fd = -1;

        req.object = taken;
        err = ask(surface->host, &req, &reply, &fd);
        if (fd >= 0)
            d.objects[taken].fd = fd;
        taken += fd >= 0;
        if (err)
            goto fail;
        if (!req.object)
            first = reply;
        err = VD_ERR_PROTOCOL;
        if (fd < 0 || !reply.rep.objects || reply.rep.objects > VD_MAX_PLANES ||
            reply.rep.objects != first.rep.objects || reply.plane_count != first.plane_count ||
            memcmp(reply.planes, first.planes, sizeof(reply.planes)) ||
            reply.rep.size > VD_MAX_IMPORT_BYTES || memory_check(fd, reply.rep.size))
            goto fail;
        d.objects[req.object].size = (uint32_t)reply.rep.size;
        d.objects[req.object].drm_format_modifier = reply.rep.modifier;
    } while (taken < first.rep.objects);
    if (!planes_ok(surface->format, separate, &first) || !layout_ok(surface, separate, &first, &d))
        goto fail;
    describe(surface, &first, &d);
    *ret_descriptor = d;
    return 0;
fail:
    if (err == VD_ERR_PROTOCOL)
        log_error("surface %#x: what the host exports is not the surface",
                  (unsigned)surface->object.id);
    while (taken > 0)
        close(d.objects[--taken].fd);
    return err;
}
