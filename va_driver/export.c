/* SPDX-License-Identifier: MIT */
#include <drm_fourcc.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <va/va_drmcommon.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "driver.h"

/*
 * Surfaces as dma-bufs. The arena is a memfd sealed against shrinking, so where the guest's
 * kernel has udmabuf a surface's pages become a dma-buf without a copy. Where it has not, the
 * answer is UNSUPPORTED_MEMORY_TYPE and apps take another way.
 *
 * An exported surface keeps its memory for good: the host decodes into it in place from then on.
 */

#define EXPORT_DEVICE "/dev/udmabuf"

/* A dma-buf over one range of the arena, or -VD_ERR_UNSUPPORTED. */
static int make_dmabuf(const struct host *host, uint64_t offset, uint64_t size, int *ret_fd)
{
    struct udmabuf_create create = {
        .memfd = (uint32_t)host->arena.fd,
        .flags = UDMABUF_FLAGS_CLOEXEC,
        .offset = offset,
        .size = size,
    };
    int device = open(EXPORT_DEVICE, O_RDWR | O_CLOEXEC), fd;

    if (device < 0) {
        log_info("no dma-buf export: %s: %s", EXPORT_DEVICE, strerror(errno));
        return VD_ERR_UNSUPPORTED;
    }
    fd = ioctl(device, UDMABUF_CREATE, &create);
    if (fd < 0)
        log_warn("no dma-buf export: udmabuf refuses %llu bytes: %s", (unsigned long long)size,
                 strerror(errno));
    close(device);
    if (fd < 0)
        return VD_ERR_UNSUPPORTED;
    *ret_fd = fd;
    return 0;
}

static uint32_t composed_format(uint32_t fourcc)
{
    switch (fourcc) {
    case VA_FOURCC_NV12:
        return DRM_FORMAT_NV12;
    case VA_FOURCC_YV12:
        return DRM_FORMAT_YVU420;
    default:
        return DRM_FORMAT_YUV420;
    }
}

static void describe(const struct surface *surface, const struct format_layout *layout,
                     uint32_t flags, int fd, VADRMPRIMESurfaceDescriptor *d)
{
    const struct format_info *format = surface->format;

    memset(d, 0, sizeof(*d));
    d->fourcc = format->fourcc;
    d->width = surface->width;
    d->height = surface->height;
    d->num_objects = 1;
    d->objects[0].fd = fd;
    d->objects[0].size = (uint32_t)layout->size;
    d->objects[0].drm_format_modifier = DRM_FORMAT_MOD_LINEAR;
    if (flags & VA_EXPORT_SURFACE_SEPARATE_LAYERS) {
        d->num_layers = format->planes;
        for (int i = 0; i < format->planes; i++) {
            d->layers[i].drm_format =
                format->plane[i].samples == 2 ? DRM_FORMAT_GR88 : DRM_FORMAT_R8;
            d->layers[i].num_planes = 1;
            d->layers[i].offset[0] = layout->offset[i];
            d->layers[i].pitch[0] = layout->pitch[i];
        }
        return;
    }
    d->num_layers = 1;
    d->layers[0].drm_format = composed_format(format->fourcc);
    d->layers[0].num_planes = format->planes;
    for (int i = 0; i < format->planes; i++) {
        d->layers[0].offset[i] = layout->offset[i];
        d->layers[0].pitch[i] = layout->pitch[i];
    }
}

VAStatus driver_ExportSurfaceHandle(VADriverContextP ctx, VASurfaceID id, uint32_t memory_type,
                                    uint32_t flags, void *descriptor)
{
    struct driver *driver;
    struct surface *surface;
    struct surface_view view;
    VAStatus status = driver_enter(ctx, &driver);
    int fd = -1, err;

    if (status)
        return status;
    surface = object_find(&driver->surfaces, id);
    if (!surface || !descriptor) {
        status = surface ? VA_STATUS_ERROR_INVALID_PARAMETER : VA_STATUS_ERROR_INVALID_SURFACE;
        goto out;
    }
    if (memory_type != VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2) {
        status = VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
        goto out;
    }
    err = surface_view(driver, surface, &view);
    if (err) {
        status = driver_status(err);
        goto out;
    }
    if (surface->import) {
        fd = fcntl(surface->import->fd, F_DUPFD_CLOEXEC, 3);
        err = fd < 0 ? VD_ERR_LIMIT : 0;
    } else {
        err = make_dmabuf(view.host, view.offset, surface->layout.size, &fd);
    }
    if (err) {
        status = err == VD_ERR_UNSUPPORTED ? VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE
                                           : driver_status(err);
    } else {
        describe(surface, view.layout, flags, fd, descriptor);
        /* The importer has no way to say that it is done: the pin lasts as long as the surface. */
        if (view.host && !surface->exported) {
            surface->exported = true;
            surface->export_backing = view.backing;
            host_unref(&view.host);
        }
    }
    surface_view_end(&view);
out:
    driver_leave(driver);
    return status;
}

/* Image buffers as dma-bufs would need a copy of their own; surfaces are what apps export. */
VAStatus driver_AcquireBufferHandle(VADriverContextP ctx, VABufferID id, VABufferInfo *info)
{
    struct driver *driver;
    struct buffer *buffer;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    buffer = object_find(&driver->buffers, id);
    if (!buffer)
        status = VA_STATUS_ERROR_INVALID_BUFFER;
    else if (!info)
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
    else if (buffer->type != VAImageBufferType)
        status = VA_STATUS_ERROR_UNSUPPORTED_BUFFERTYPE;
    else
        status = VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
    driver_leave(driver);
    return status;
}

VAStatus driver_ReleaseBufferHandle(VADriverContextP ctx, VABufferID id)
{
    struct driver *driver;
    struct buffer *buffer;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    buffer = object_find(&driver->buffers, id);
    driver_leave(driver);
    /* Nothing was acquired. */
    return buffer ? VA_STATUS_ERROR_INVALID_VALUE : VA_STATUS_ERROR_INVALID_BUFFER;
}
