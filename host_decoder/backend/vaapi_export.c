/* SPDX-License-Identifier: MIT */
#include <sys/stat.h>
#include <unistd.h>
#include <va/va_drmcommon.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "dmabuf.h"
#include "vaapi.h"

/*
 * Surfaces of the device as dma-bufs. The driver describes them with each call and opens new
 * descriptors for the same memory; the guest asks for one object a call.
 *
 * Who has such a descriptor has the memory, also when the surface is gone. A guest that exports,
 * keeps and destroys again and again would have more than it may, so memory stays on its account
 * until the kernel says that nobody else holds it. Where the kernel does not say, nothing is
 * exported.
 */

static uint32_t flags_of(uint32_t flags)
{
    return (flags & VD_EXPORT_READ ? VA_EXPORT_SURFACE_READ_ONLY : 0) |
           (flags & VD_EXPORT_WRITE ? VA_EXPORT_SURFACE_WRITE_ONLY : 0) |
           (flags & VD_EXPORT_SEPARATE ? VA_EXPORT_SURFACE_SEPARATE_LAYERS
                                       : VA_EXPORT_SURFACE_COMPOSED_LAYERS);
}

/* The driver's description in the protocol's words. */
static int translate(const VADRMPRIMESurfaceDescriptor *d, const struct surface *surface,
                     struct device_export *export)
{
    if (format_find(d->fourcc) != surface->format || !d->num_objects ||
        d->num_objects > VAAPI_MAX_OBJECTS || !d->num_layers || d->num_layers > VAAPI_MAX_OBJECTS)
        return VD_ERR_UNSUPPORTED;
    export->objects = d->num_objects;
    for (uint32_t i = 0; i < d->num_layers; i++) {
        if (d->layers[i].num_planes > VAAPI_MAX_OBJECTS)
            return VD_ERR_UNSUPPORTED;
        for (uint32_t j = 0; j < d->layers[i].num_planes; j++) {
            if (export->plane_count == VD_MAX_PLANES ||
                d->layers[i].object_index[j] >= d->num_objects)
                return VD_ERR_UNSUPPORTED;
            export->planes[export->plane_count++] = (struct vd_export_plane){
                .layer = i,
                .format = d->layers[i].drm_format,
                .object = d->layers[i].object_index[j],
                .offset = d->layers[i].offset[j],
                .pitch = d->layers[i].pitch[j],
            };
        }
    }
    return 0;
}

int vaapi_surface_export(struct device_frame *frame, const struct surface *surface, uint32_t flags,
                         uint32_t object, struct device_export *ret_export)
{
    struct vaapi_surface *native = (struct vaapi_surface *)frame;
    struct device_export export = {.fd = -1};
    VADRMPRIMESurfaceDescriptor d = {0};
    VAStatus status =
        vaExportSurfaceHandle(native->device->display, native->id,
                              VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2, flags_of(flags), &d);
    int err;

    if (status) {
        log_debug("vaapi: surface %#x is not exported: %s", (unsigned)surface->id,
                  vaErrorStr(status));
        return VD_ERR_UNSUPPORTED;
    }
    err = translate(&d, surface, &export);
    if (!err && object >= d.num_objects)
        err = VD_ERR_PARAMETER;
    if (!err && !dmabuf_holders(d.objects[object].fd)) {
        log_debug("vaapi: the kernel does not tell who holds a dma-buf: nothing is exported");
        err = VD_ERR_UNSUPPORTED;
    }
    for (uint32_t i = 0; i < d.num_objects && i < VAAPI_MAX_OBJECTS; i++) {
        if (!err && i == object)
            export.fd = d.objects[i].fd;
        else
            close(d.objects[i].fd);
    }
    if (err)
        return err;
    export.size = d.objects[object].size;
    export.modifier = d.objects[object].drm_format_modifier;
    atomic_store(&native->exported, true);
    *ret_export = export;
    return 0;
}

void vaapi_lent_open(const struct vaapi_surface *native, struct vaapi_lent *ret_lent)
{
    struct vaapi_lent lent = {.pool = native->pool, .bytes = native->bytes};
    VADRMPRIMESurfaceDescriptor d = {0};

    if (atomic_load(&native->exported)) {
        lent.blind = vaExportSurfaceHandle(
            native->device->display, native->id, VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2,
            VA_EXPORT_SURFACE_READ_ONLY | VA_EXPORT_SURFACE_SEPARATE_LAYERS, &d);
        for (; lent.count < d.num_objects && lent.count < VAAPI_MAX_OBJECTS; lent.count++)
            lent.fds[lent.count] = d.objects[lent.count].fd;
    }
    *ret_lent = lent;
}

/* Some drivers call one memory two objects: then each of our descriptors counts. */
static uint32_t own_holders(const struct vaapi_lent *lent, int fd)
{
    struct stat this, other;
    uint32_t count = 0;

    if (fstat(fd, &this))
        return 0;
    for (uint32_t i = 0; i < lent->count; i++)
        count += !fstat(lent->fds[i], &other) && this.st_dev == other.st_dev &&
                 this.st_ino == other.st_ino;
    return count;
}

static bool held(const struct vaapi_lent *lent)
{
    bool others = lent->blind;

    for (uint32_t i = 0; i < lent->count && !others; i++) {
        uint32_t holders = dmabuf_holders(lent->fds[i]);

        others = !holders || holders > own_holders(lent, lent->fds[i]);
    }
    return others;
}

static void lent_finish(struct vaapi_lent *lent, bool give)
{
    while (lent->count > 0)
        close(lent->fds[--lent->count]);
    if (give)
        pool_give(lent->pool, lent->bytes);
}

void vaapi_lent_close(struct vaapi_device *device, struct vaapi_lent *lent)
{
    bool keep = held(lent);

    pthread_mutex_lock(&device->lock);
    if (keep && !lent->blind && device->lent_count < VAAPI_LENT)
        device->lent[device->lent_count++] = *lent;
    else
        /* More than can be watched stays on the account as long as the session. */
        lent_finish(lent, !keep);
    pthread_mutex_unlock(&device->lock);
}

void vaapi_lent_sweep(struct vaapi_device *device, bool all)
{
    uint32_t kept = 0;

    pthread_mutex_lock(&device->lock);
    for (uint32_t i = 0; i < device->lent_count; i++) {
        if (!all && held(&device->lent[i]))
            device->lent[kept++] = device->lent[i];
        else
            lent_finish(&device->lent[i], true);
    }
    device->lent_count = kept;
    pthread_mutex_unlock(&device->lock);
}
