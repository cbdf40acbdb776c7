/* SPDX-License-Identifier: MIT */
#include <unistd.h>
#include <va/va_drmcommon.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "vaapi.h"

/*
 * Surfaces of the device as dma-bufs. The driver describes them with each call and opens new
 * descriptors for the same memory; the guest asks for one object a call.
 */

#define EXPORT_MAX 4 /* arrays of VADRMPRIMESurfaceDescriptor */

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
        d->num_objects > EXPORT_MAX || !d->num_layers || d->num_layers > EXPORT_MAX)
        return VD_ERR_UNSUPPORTED;
    export->objects = d->num_objects;
    for (uint32_t i = 0; i < d->num_layers; i++) {
        if (d->layers[i].num_planes > EXPORT_MAX)
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
    const struct vaapi_surface *native = (const struct vaapi_surface *)frame;
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
    for (uint32_t i = 0; i < d.num_objects && i < EXPORT_MAX; i++) {
        if (!err && i == object)
            export.fd = d.objects[i].fd;
        else
            close(d.objects[i].fd);
    }
    if (err)
        return err;
    export.size = d.objects[object].size;
    export.modifier = d.objects[object].drm_format_modifier;
    *ret_export = export;
    return 0;
}
