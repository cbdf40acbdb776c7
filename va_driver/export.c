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
#include <viaduct/viaduct.h>
#include <wire/log.h>

#include "driver.h"

/*
 * Surfaces as dma-bufs. Where the host decodes on a device whose driver exports its surfaces, those
 * are passed on (export_device.c). Else a virtual machine's virtio-gpu gives memory that is one
 * (channel_ops.share). Else: the arena is a memfd sealed against shrinking, so where
 * the guest's kernel has udmabuf a surface's pages become a dma-buf without a copy. Where it has
 * not, the answer is UNSUPPORTED_MEMORY_TYPE and apps take another way.
 *
 * The program may also ask where in the arena a surface lies (viaduct.h).
 *
 * An exported surface keeps its memory for good, of one kind or the other: the host decodes into it
 * in place from then on.
 */

#define EXPORT_DEVICE "/dev/udmabuf"

/* A dma-buf over one range of the arena, or -VD_ERR_UNSUPPORTED. */
static int udmabuf(const struct host *host, uint64_t offset, uint64_t size, int *ret_fd)
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

/* A dma-buf of the memory that is pinned in the view. */
static int make_dmabuf(const struct surface *surface, const struct surface_view *view, int *ret_fd)
{
    struct host *host = view->host;
    int err;

    /* What a device shows is no memfd. */
    if (host->link && !host->mirror)
        return VD_ERR_UNSUPPORTED;
    err = host->mirror ? mirror_guest_share(host->mirror, surface->object.id, ret_fd)
                       : VD_ERR_UNSUPPORTED;

    return err == VD_ERR_UNSUPPORTED ? udmabuf(host, view->offset, surface->layout.size, ret_fd)
                                     : err;
}

/*
 * One layer with all planes, DRM_FORMAT_INVALID where DRM has no name for it. VA spells bytes in
 * memory, DRM the word they make.
 */
uint32_t export_composed(uint32_t fourcc)
{
    static const struct {
        uint32_t va, drm;
    } names[] = {
        {VA_FOURCC_I420, DRM_FORMAT_YUV420},   {VA_FOURCC_YV12, DRM_FORMAT_YVU420},
        {VA_FOURCC_NV12, DRM_FORMAT_NV12},     {VA_FOURCC_P010, DRM_FORMAT_P010},
        {VA_FOURCC_P012, DRM_FORMAT_P012},     {VA_FOURCC_P016, DRM_FORMAT_P016},
        {VA_FOURCC_422H, DRM_FORMAT_YUV422},   {VA_FOURCC_411P, DRM_FORMAT_YUV411},
        {VA_FOURCC_444P, DRM_FORMAT_YUV444},   {VA_FOURCC_Y800, DRM_FORMAT_R8},
        {VA_FOURCC_YUY2, DRM_FORMAT_YUYV},     {VA_FOURCC_UYVY, DRM_FORMAT_UYVY},
        {VA_FOURCC_Y210, DRM_FORMAT_Y210},     {VA_FOURCC_Y212, DRM_FORMAT_Y212},
        {VA_FOURCC_Y216, DRM_FORMAT_Y216},     {VA_FOURCC_AYUV, DRM_FORMAT_AYUV},
        {VA_FOURCC_XYUV, DRM_FORMAT_XYUV8888}, {VA_FOURCC_Y410, DRM_FORMAT_Y410},
        {VA_FOURCC_Y412, DRM_FORMAT_Y412},     {VA_FOURCC_Y416, DRM_FORMAT_Y416},
        {VA_FOURCC_BGRA, DRM_FORMAT_ARGB8888}, {VA_FOURCC_BGRX, DRM_FORMAT_XRGB8888},
        {VA_FOURCC_RGBA, DRM_FORMAT_ABGR8888}, {VA_FOURCC_RGBX, DRM_FORMAT_XBGR8888},
        {VA_FOURCC_ARGB, DRM_FORMAT_BGRA8888}, {VA_FOURCC_XRGB, DRM_FORMAT_BGRX8888},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].va == fourcc)
            return names[i].drm;
    }
    return DRM_FORMAT_INVALID;
}

/* One plane as a layer of its own. */
uint32_t export_layer(const struct format_info *format, int plane)
{
    if (format->planes == 1)
        return export_composed(format->fourcc);
    if (format->plane[plane].samples == 2)
        return format->sample_bytes == 2 ? DRM_FORMAT_GR1616 : DRM_FORMAT_GR88;
    return format->sample_bytes == 2 ? DRM_FORMAT_R16 : DRM_FORMAT_R8;
}

static int describe(const struct surface *surface, const struct format_layout *layout,
                    uint32_t flags, int fd, VADRMPRIMESurfaceDescriptor *ret_descriptor)
{
    const struct format_info *format = surface->format;
    const bool separate = flags & VA_EXPORT_SURFACE_SEPARATE_LAYERS;
    VADRMPRIMESurfaceDescriptor d = {
        .fourcc = format->fourcc,
        .width = surface->width,
        .height = surface->height,
        .num_objects = 1,
        .num_layers = separate ? format->planes : 1,
    };

    if (!separate && export_composed(format->fourcc) == DRM_FORMAT_INVALID)
        return VD_ERR_UNSUPPORTED;
    d.objects[0].fd = fd;
    d.objects[0].size = (uint32_t)layout->size;
    d.objects[0].drm_format_modifier = DRM_FORMAT_MOD_LINEAR;
    for (int i = 0; i < format->planes; i++) {
        int layer = separate ? i : 0, plane = separate ? 0 : i;

        d.layers[layer].drm_format =
            separate ? export_layer(format, i) : export_composed(format->fourcc);
        d.layers[layer].num_planes = (uint32_t)plane + 1;
        d.layers[layer].offset[plane] = layout->offset[i];
        d.layers[layer].pitch[plane] = layout->pitch[i];
    }
    *ret_descriptor = d;
    return 0;
}

/* Where it lies, for VIADUCT_SURFACE_MEMFD. */
static int locate(const struct surface *surface, const struct surface_view *view,
                  struct viaduct_surface *ret_where)
{
    const struct format_layout *layout = view->layout;
    const struct import *import = surface->import;
    struct viaduct_surface where = {
        .fourcc = surface->format->fourcc,
        .width = surface->width,
        .height = surface->height,
        .size = layout->size,
        .planes = surface->format->planes,
    };

    if (!import && !host_passes(view->host))
        return VD_ERR_UNSUPPORTED;
    where.offset = import ? 0 : view->offset;
    for (uint32_t i = 0; i < where.planes; i++) {
        where.plane_offset[i] = layout->offset[i];
        where.pitch[i] = layout->pitch[i];
    }
    where.fd = fcntl(import ? import->fd : view->host->arena.fd, F_DUPFD_CLOEXEC, 3);
    if (where.fd < 0)
        return VD_ERR_LIMIT;
    *ret_where = where;
    return 0;
}

/* A dma-buf, for DRM_PRIME_2. */
static int share(const struct surface *surface, const struct surface_view *view, uint32_t flags,
                 VADRMPRIMESurfaceDescriptor *ret_descriptor)
{
    int fd = -1, err;

    if (surface->import) {
        fd = fcntl(surface->import->fd, F_DUPFD_CLOEXEC, 3);
        err = fd < 0 ? VD_ERR_LIMIT : 0;
    } else {
        err = make_dmabuf(surface, view, &fd);
    }
    if (!err)
        err = describe(surface, view->layout, flags, fd, ret_descriptor);
    if (err && fd >= 0)
        close(fd);
    return err;
}

bool export_offered(const struct driver *driver)
{
    for (uint32_t i = 0; i < driver->cap_count; i++) {
        if (!strncmp((const char *)driver->caps[i].engine, "vaapi", 5))
            return true;
    }
    if (driver->host && driver->host->channel->ops->share)
        return true;
    if (driver->host && driver->host->link && !driver->host->mirror)
        return false;
    return !access(EXPORT_DEVICE, R_OK | W_OK);
}

/*
 * A picture on its way may have been submitted before the memory became fixed, and be elsewhere
 * then. And programs count on a device's fences where they export each picture (FFmpeg before it
 * reads one), which this memory has not.
 */
static VAStatus settle(struct driver *driver, struct surface *surface)
{
    VAStatus status = surface_wait(driver, surface, VA_TIMEOUT_INFINITE);

    if (status == VA_STATUS_ERROR_DECODING_ERROR || status == VA_STATUS_ERROR_ENCODING_ERROR)
        status = VA_STATUS_SUCCESS;
    return status;
}

VAStatus driver_ExportSurfaceHandle(VADriverContextP ctx, VASurfaceID id, uint32_t memory_type,
                                    uint32_t flags, void *descriptor)
{
    struct driver *driver;
    struct surface *surface;
    struct surface_view view;
    VAStatus status = driver_enter(ctx, &driver);
    const bool local = memory_type == VIADUCT_SURFACE_MEMFD;
    int err;

    if (status)
        return status;
    surface = object_find(&driver->surfaces, id);
    if (!surface || !descriptor) {
        status = surface ? VA_STATUS_ERROR_INVALID_PARAMETER : VA_STATUS_ERROR_INVALID_SURFACE;
        goto out;
    }
    if ((memory_type != VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2 && !local) ||
        (local && surface->exported_device)) {
        status = VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
        goto out;
    }
    /* What the program wrote or may write lies in the arena: only that is what it sees. */
    if (surface->exported_device || (!local && !surface->import && !surface->exported &&
                                     !surface->derived && !surface->uploaded)) {
        err = export_device(driver, surface, flags, descriptor);
        if (!err)
            surface->exported_device = true;
        if (err != VD_ERR_UNSUPPORTED || surface->exported_device) {
            status = driver_status(err);
            goto out;
        }
    }
    object_ref(surface);
    status = settle(driver, surface);
    if (status)
        goto out_ref;
    err = surface_view(driver, surface, &view);
    if (err) {
        status = driver_status(err);
        goto out_ref;
    }
    surface_view_seen(&view);
    err = local ? locate(surface, &view, descriptor) : share(surface, &view, flags, descriptor);
    if (err) {
        status = err == VD_ERR_UNSUPPORTED ? VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE
                                           : driver_status(err);
    } else {
        /* The importer has no way to say that it is done: the pin lasts as long as the surface. */
        if (view.host && !surface->exported) {
            surface->exported = true;
            surface->export_backing = view.backing;
            host_unref(&view.host);
        }
    }
    surface_view_end(&view);
out_ref:
    object_unref(&driver->surfaces, surface);
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
