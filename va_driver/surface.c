/* SPDX-License-Identifier: MIT */
#include <drm_fourcc.h>
#include <string.h>
#include <transport/fence.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "driver.h"

/*
 * Surfaces. The guest holds a description; pixels are in the host's frame zone, at a place that
 * changes with every picture (the status page tells where). A surface outlives a lost session:
 * it is made known to the next one when it is next used, without its pixels.
 */

static void unpin(struct host *host, uint32_t backing)
{
    __atomic_sub_fetch(&host->arena.status->backings[backing].pins, 1, __ATOMIC_SEQ_CST);
}

/* Not destroyed one by one on the wire when the session is gone anyway. */
void surface_finish(void *owner, struct object *object)
{
    struct surface *surface = (struct surface *)object;
    struct vd_surface_destroy_req req = {0};
    struct vd_id tail = {object->id};

    (void)owner;
    if (surface->exported)
        unpin(surface->host, surface->export_backing);
    import_destroy(&surface->import);
    if (surface->host && surface->host->mirror)
        mirror_guest_forget(surface->host->mirror, object->id);
    if (surface->host && !surface->host->dead)
        host_send(surface->host, VD_OP_surface_destroy, &req, &tail, 1);
    host_unref(&surface->host);
}

/* Tells the host of `count` surfaces of one kind. */
static int register_many(struct host *host, const struct surface *like, const struct vd_id *ids,
                         uint32_t count)
{
    struct vd_surface_create_req req = {
        .fourcc = like->format->fourcc,
        .width = like->width,
        .height = like->height,
    };
    struct vd_surface_create_rep rep;
    int err;

    for (uint32_t i = 0; host->mirror && i < count; i++)
        mirror_guest_expect_surface(host->mirror, ids[i].id, like->layout.size);
    err = host_call(host, VD_OP_surface_create, &req, ids, count, &rep, NULL, NULL);
    return err ? err : errors_from_wire(rep.status);
}

static void bind(struct surface *surface, struct host *host)
{
    if (surface->host && surface->sequence && surface->host != host)
        surface->lost = VD_ERR_GONE;
    if (surface->host != host)
        surface->exported = surface->exported_device = false; /* importers keep the memory alive */
    host_unref(&surface->host);
    surface->host = host_ref(host);
    surface->sequence = 0;
    surface->kicked = 0;
    if (surface->import) {
        surface->import->here = surface->import->made;
        surface->import->exchanged = false;
    }
}

int surface_register(struct driver *driver, struct surface *surface)
{
    struct host *host = driver_host(driver, false);
    struct vd_id id = {surface->object.id};
    int err;

    if (!host)
        return VD_ERR_GONE;
    if (surface->host == host)
        return 0;
    err = register_many(host, surface, &id, 1);
    if (err)
        return err;
    bind(surface, host);
    if (surface->import && host_passes(host))
        err = import_register(host, id.id, surface->format, surface->import);
    return err;
}

/* Frame memory is linear: an app that cannot take that gets no surface. */
static bool offers_linear(const VADRMFormatModifierList *list)
{
    bool found = false;

    for (uint32_t i = 0; list && i < list->num_modifiers; i++)
        found = found || list->modifiers[i] == DRM_FORMAT_MOD_LINEAR;
    return found;
}

/* A surface format that some profile of the host decodes into; images may have others. */
static bool format_offered(const struct driver *driver, uint32_t fourcc)
{
    for (uint32_t i = 0; i < driver->cap_count; i++) {
        for (uint32_t j = 0; j < driver->caps[i].format_count; j++) {
            const struct format_info *format = format_find(driver->caps[i].formats[j]);

            if (format && format == format_find(fourcc))
                return true;
        }
    }
    return false;
}

/* What the attributes of vaCreateSurfaces ask for. */
static VAStatus read_attributes(const struct driver *driver, const VASurfaceAttrib *list,
                                unsigned count, uint32_t *fourcc,
                                const VADRMPRIMESurfaceDescriptor **ret_external)
{
    const VADRMPRIMESurfaceDescriptor *external = NULL;
    bool prime = false;

    for (unsigned i = 0; i < count; i++) {
        const VASurfaceAttrib *a = &list[i];

        switch (a->type) {
        case VASurfaceAttribPixelFormat:
            /* ffmpeg leaves the value's type unset. */
            *fourcc = (uint32_t)a->value.value.i;
            if (!format_offered(driver, *fourcc))
                return VA_STATUS_ERROR_INVALID_IMAGE_FORMAT;
            break;
        case VASurfaceAttribMemoryType:
            prime = a->value.value.i == VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2;
            if (!prime && a->value.value.i != VA_SURFACE_ATTRIB_MEM_TYPE_VA)
                return VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
            break;
        case VASurfaceAttribExternalBufferDescriptor:
            external = a->value.value.p;
            break;
        case VASurfaceAttribDRMFormatModifiers:
            if (!offers_linear(a->value.value.p))
                return VA_STATUS_ERROR_ATTR_NOT_SUPPORTED;
            break;
        case VASurfaceAttribMinWidth:
        case VASurfaceAttribMaxWidth:
        case VASurfaceAttribMinHeight:
        case VASurfaceAttribMaxHeight:
        case VASurfaceAttribUsageHint:
        case VASurfaceAttribNone:
            break;
        default:
            return VA_STATUS_ERROR_ATTR_NOT_SUPPORTED;
        }
    }
    if (prime && !external)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    /* Without a memory type that needs it a descriptor describes nothing. */
    *ret_external = prime ? external : NULL;
    if (*ret_external) {
        *fourcc = external->fourcc;
        if (!format_offered(driver, *fourcc))
            return VA_STATUS_ERROR_INVALID_IMAGE_FORMAT;
    }
    return VA_STATUS_SUCCESS;
}

static bool rt_format_served(const struct driver *driver, uint32_t rt_format)
{
    for (uint32_t i = 0; i < driver->cap_count; i++) {
        if (driver->caps[i].rt_formats & rt_format)
            return true;
    }
    return false;
}

/*
 * What apps that name no pixel format get from most drivers and so expect; any other that the host
 * has after those. Of several bits in `rt_format` the first here counts.
 */
static uint32_t default_fourcc(const struct driver *driver, uint32_t rt_format)
{
    static const uint32_t usual[] = {
        VA_FOURCC_NV12, VA_FOURCC_BGRA, VA_FOURCC_P010, VA_FOURCC_P012,
        VA_FOURCC_YUY2, VA_FOURCC_422H, VA_FOURCC_444P, VA_FOURCC_Y210,
        VA_FOURCC_Y410, VA_FOURCC_Y212, VA_FOURCC_Y412,
    };
    const struct format_info *format;

    for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
        format = format_find(usual[i]);
        if (format->rt_format & rt_format && format_offered(driver, format->fourcc))
            return format->fourcc;
    }
    for (size_t i = 0; (format = format_at(i)); i++) {
        if (format->rt_format & rt_format && format_offered(driver, format->fourcc))
            return format->fourcc;
    }
    return 0;
}

VAStatus driver_CreateSurfaces2(VADriverContextP ctx, unsigned rt_format, unsigned width,
                                unsigned height, VASurfaceID *ids, unsigned count,
                                VASurfaceAttrib *list, unsigned list_count)
{
    const struct format_info *format;
    struct format_layout layout;
    const VADRMPRIMESurfaceDescriptor *external = NULL;
    struct driver *driver;
    struct host *host;
    uint32_t fourcc = 0;
    unsigned made = 0, told = 0;
    VAStatus status = driver_enter(ctx, &driver);
    int err = 0;

    if (status)
        return status;
    if (!count || !ids || (list_count && !list) || !width || !height)
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
    else if (!rt_format_served(driver, rt_format))
        status = VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT;
    if (!status)
        status = read_attributes(driver, list, list_count, &fourcc, &external);
    if (status)
        goto out;
    format = format_find(fourcc ? fourcc : default_fourcc(driver, rt_format));
    if (!format) {
        status = VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT;
        goto out;
    }
    /* As other drivers have it: who names a pixel format may give any render-target format. */
    if (!(format->rt_format & rt_format))
        rt_format = format->rt_format;
    if (format_layout(format, width, height, &layout)) {
        status = VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED;
        goto out;
    }
    host = driver_host(driver, true);
    if (!host) {
        status = VA_STATUS_ERROR_HW_BUSY;
        goto out;
    }
    for (; made < count; made++) {
        struct surface *surface = object_create(&driver->surfaces);

        if (!surface) {
            err = VD_ERR_LIMIT;
            break;
        }
        surface->format = format;
        surface->layout = layout;
        surface->width = width;
        surface->height = height;
        surface->rt_format = rt_format;
        ids[made] = surface->object.id;
        if (external)
            status = import_create(&external[made], format, width, height, &surface->import);
        if (status) {
            err = VD_ERR_PARAMETER;
            made++;
            break;
        }
    }
    while (!err && told < count) {
        struct vd_id tail[VD_MAX_CREATE];
        uint32_t n = 0;

        while (n < VD_MAX_CREATE && told + n < count) {
            tail[n] = (struct vd_id){ids[told + n]};
            n++;
        }
        err = register_many(host, object_find(&driver->surfaces, ids[told]), tail, n);
        for (uint32_t i = 0; i < n && !err; i++)
            bind(object_find(&driver->surfaces, ids[told + i]), host);
        told += n;
    }
    /* The host may not be able to have it: then pixels are copied (inband.c). */
    for (unsigned i = 0; i < count && external && host_passes(host) && !err; i++) {
        struct surface *surface = object_find(&driver->surfaces, ids[i]);

        err = import_register(host, ids[i], format, surface->import);
    }
    while (err && made > 0) {
        struct surface *surface = object_find(&driver->surfaces, ids[--made]);

        object_remove(&driver->surfaces, surface);
        ids[made] = VA_INVALID_SURFACE;
    }
    if (!status)
        status = driver_status(err);
out:
    driver_leave(driver);
    return status;
}

VAStatus driver_CreateSurfaces(VADriverContextP ctx, int width, int height, int rt_format,
                               int count, VASurfaceID *ids)
{
    if (width <= 0 || height <= 0 || count <= 0)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    return driver_CreateSurfaces2(ctx, (unsigned)rt_format, (unsigned)width, (unsigned)height, ids,
                                  (unsigned)count, NULL, 0);
}

VAStatus driver_DestroySurfaces(VADriverContextP ctx, VASurfaceID *ids, int count)
{
    struct driver *driver;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    if (count < 0 || (count && !ids))
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
    /* All or none. */
    for (int i = 0; i < count && !status; i++) {
        if (!object_find(&driver->surfaces, ids[i]))
            status = VA_STATUS_ERROR_INVALID_SURFACE;
    }
    for (int i = 0; i < count && !status; i++) {
        struct surface *surface = object_find(&driver->surfaces, ids[i]);

        if (surface)
            object_remove(&driver->surfaces, surface);
    }
    driver_leave(driver);
    return status;
}

/* Lets the host finish pictures that it holds back for more input. */
static void kick(struct driver *driver, struct surface *surface)
{
    struct context *context = object_find(&driver->contexts, surface->context);
    struct vd_kick_req req = {.context = surface->context, .picture = surface->picture};

    if (!context || context->host != surface->host || !(context->flags & VD_CONTEXT_KICK) ||
        surface->kicked == surface->sequence)
        return;
    surface->kicked = surface->sequence;
    host_send(surface->host, VD_OP_kick, &req, NULL, 0);
}

/* A damaged picture that is there, if the user wants those to pass. */
static bool passes_concealed(const struct driver *driver, const struct surface *surface,
                             VAStatus status)
{
    const struct vd_surface_slot *slot =
        surface->host ? &surface->host->arena.status->surfaces[VD_SLOT(surface->object.id)] : NULL;

    return driver->conceal && status == VA_STATUS_ERROR_DECODING_ERROR && slot && slot->errors;
}

VAStatus surface_wait(struct driver *driver, struct surface *surface, uint64_t timeout_ns)
{
    struct vd_surface_slot *slot;
    struct host *host = surface->host;
    uint32_t sequence = surface->sequence;
    bool bounded = timeout_ns > HOST_PICTURE_NS, encoding;
    int err = 0, pulled;

    if (!host || !sequence)
        return driver_status(surface->lost);
    slot = &host->arena.status->surfaces[VD_SLOT(surface->object.id)];
    /* It may be destroyed while the lock is released. */
    object_ref(surface);
    host_ref(host);
    if (!fence_passed(fence_load(&slot->done), sequence)) {
        kick(driver, surface);
        driver_leave(driver);
        err = fence_wait(&slot->done, &slot->waiters, sequence,
                         bounded ? HOST_PICTURE_NS : timeout_ns, host_alive, host);
        pthread_mutex_lock(&driver->lock);
    }
    if (!err) {
        err = errors_from_wire(slot->status);
        pulled = inband_pull(driver, surface);
        err = err ? err : pulled;
    } else if (err == VD_ERR_GONE) {
        host_lost(host);
    } else if (err == VD_ERR_TIMEOUT && bounded) {
        log_error("surface %#x: no picture after %d s", (unsigned)surface->object.id,
                  (int)(HOST_PICTURE_NS / 1000000000ull));
    }
    encoding = surface->encoding;
    object_unref(&driver->surfaces, surface);
    host_unref(&host);
    if (err == VD_ERR_TIMEOUT)
        return VA_STATUS_ERROR_TIMEDOUT;
    if (encoding && err != VD_ERR_GONE && err)
        return VA_STATUS_ERROR_ENCODING_ERROR;
    /* The picture's own error, or that there is nobody left to make it. */
    return err == VD_ERR_UNSUPPORTED || err == VD_ERR_PARAMETER || err == VD_ERR_RESOLUTION ||
                   err == VD_ERR_LIMIT
               ? VA_STATUS_ERROR_DECODING_ERROR
               : driver_status(err);
}

VAStatus surface_wait_readers(struct driver *driver, struct surface *surface)
{
    int err = 0;

    if (surface->reader) {
        object_ref(surface);
        err = context_wait(driver, surface->reader, surface->reader_picture, HOST_PICTURE_NS);
        object_unref(&driver->surfaces, surface);
    }
    return err == VD_ERR_TIMEOUT ? VA_STATUS_ERROR_TIMEDOUT : VA_STATUS_SUCCESS;
}

VAStatus driver_SyncSurface2(VADriverContextP ctx, VASurfaceID id, uint64_t timeout_ns)
{
    struct driver *driver;
    struct surface *surface;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    surface = object_find(&driver->surfaces, id);
    status = surface ? surface_wait(driver, surface, timeout_ns) : VA_STATUS_ERROR_INVALID_SURFACE;
    if (surface && passes_concealed(driver, surface, status))
        status = VA_STATUS_SUCCESS;
    driver_leave(driver);
    return status;
}

VAStatus driver_SyncSurface(VADriverContextP ctx, VASurfaceID id)
{
    return driver_SyncSurface2(ctx, id, VA_TIMEOUT_INFINITE);
}

VAStatus driver_QuerySurfaceStatus(VADriverContextP ctx, VASurfaceID id,
                                   VASurfaceStatus *ret_status)
{
    struct driver *driver;
    struct surface *surface;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    surface = object_find(&driver->surfaces, id);
    if (!surface) {
        status = VA_STATUS_ERROR_INVALID_SURFACE;
    } else if (!surface->host || !surface->sequence ||
               fence_passed(fence_load(&surface->host->arena.status->surfaces[VD_SLOT(id)].done),
                            surface->sequence)) {
        *ret_status = VASurfaceReady;
        status = driver_status(inband_pull(driver, surface));
    } else if (!host_alive(surface->host)) {
        status = VA_STATUS_ERROR_HW_BUSY;
    } else {
        /* Who polls waits, too. */
        kick(driver, surface);
        *ret_status = VASurfaceRendering;
    }
    driver_leave(driver);
    return status;
}

VAStatus driver_QuerySurfaceError(VADriverContextP ctx, VASurfaceID id, VAStatus error,
                                  void **ret_info)
{
    struct driver *driver;
    struct surface *surface;
    VAStatus status = driver_enter(ctx, &driver), found;

    if (status)
        return status;
    surface = object_find(&driver->surfaces, id);
    if (!surface || !ret_info) {
        status = surface ? VA_STATUS_ERROR_INVALID_PARAMETER : VA_STATUS_ERROR_INVALID_SURFACE;
        goto out;
    }
    if (error != VA_STATUS_ERROR_DECODING_ERROR) {
        status = VA_STATUS_ERROR_UNKNOWN; /* libva has details for decoding errors only */
        goto out;
    }
    found = surface_wait(driver, surface, 0);
    memset(surface->errors, 0, sizeof(surface->errors));
    if (found == VA_STATUS_ERROR_DECODING_ERROR) {
        /* Which macroblocks is not known: the whole picture is in doubt. */
        surface->errors[0].status = 1;
        surface->errors[0].start_mb = 0;
        surface->errors[0].end_mb = (surface->width + 15) / 16 * ((surface->height + 15) / 16) - 1;
        surface->errors[0].decode_error_type = VADecodeMBError;
        surface->errors[1].status = -1;
    } else {
        surface->errors[0].status = -1;
    }
    *ret_info = surface->errors;
out:
    driver_leave(driver);
    return status;
}

/* Memory for a surface that has none: its picture, or nothing yet. `ret_backing`: the host's. */
static int back(struct surface *surface, uint32_t *ret_backing)
{
    struct vd_surface_back_req req = {.surface = surface->object.id};
    struct vd_surface_back_rep rep;
    int err;

    /* Nothing to be fetched: this side's memory is enough. */
    if (surface->host->mirror && !surface->sequence)
        return mirror_guest_memory(surface->host->mirror, req.surface);
    err = host_call(surface->host, VD_OP_surface_back, &req, NULL, 0, &rep, NULL, NULL);
    if (!err)
        err = errors_from_wire(rep.status);
    if (!err)
        *ret_backing = rep.backing;
    return err;
}

/*
 * Pins what the surface's slot names. Without shared memory the mirror may put the next picture
 * there until the pin is seen, so who pinned looks again.
 */
static int pin(struct surface *surface, uint32_t *ret_backing)
{
    struct vd_status_page *status = surface->host->arena.status;
    struct vd_surface_slot *slot = &status->surfaces[VD_SLOT(surface->object.id)];

    for (int tries = 0; tries < 100; tries++) {
        uint32_t backing = __atomic_load_n(&slot->backing, __ATOMIC_SEQ_CST);
        int err = backing == VD_NO_BACKING ? back(surface, &backing) : 0;

        if (err)
            return err;
        if (surface->host->mirror)
            backing = __atomic_load_n(&slot->backing, __ATOMIC_SEQ_CST);
        if (surface->host->mirror && backing == VD_NO_BACKING)
            continue; /* there is a newer picture already */
        if (backing >= VD_MAX_BACKINGS)
            return VD_ERR_PROTOCOL;
        __atomic_add_fetch(&status->backings[backing].pins, 1, __ATOMIC_SEQ_CST);
        *ret_backing = backing;
        if (!surface->host->mirror || __atomic_load_n(&slot->backing, __ATOMIC_SEQ_CST) == backing)
            return 0;
        unpin(surface->host, backing);
    }
    return VD_ERR_TIMEOUT;
}

int surface_view(struct driver *driver, struct surface *surface, struct surface_view *ret_view)
{
    if (!surface->import)
        return surface_view_arena(driver, surface, ret_view);
    *ret_view =
        (struct surface_view){.bytes = surface->import->bytes, .layout = &surface->import->layout};
    return 0;
}

int surface_view_arena(struct driver *driver, struct surface *surface,
                       struct surface_view *ret_view)
{
    struct host *host;
    uint64_t offset, end;
    uint32_t backing;
    int err;

    /* A surface that has never been used in this session may still belong to an older one. */
    if (!surface->host || (surface->host->dead && !surface->sequence)) {
        err = surface_register(driver, surface);
        if (err)
            return err;
    }
    host = surface->host;
    err = pin(surface, &backing);
    if (err)
        return err;
    offset = __atomic_load_n(&host->arena.status->backings[backing].offset, __ATOMIC_RELAXED);
    end = host->arena.frame_offset + host->arena.frame_size;
    if (offset < host->arena.frame_offset || offset % 4096 || offset > end ||
        surface->layout.size > end - offset) {
        unpin(host, backing);
        return VD_ERR_PROTOCOL;
    }
    *ret_view = (struct surface_view){
        .bytes = host->arena.base + offset,
        .layout = &surface->layout,
        .host = host_ref(host),
        .backing = backing,
        .offset = offset,
    };
    return 0;
}

void surface_view_seen(const struct surface_view *view)
{
    if (view->host)
        __atomic_add_fetch(&view->host->arena.status->mapped, 1, __ATOMIC_RELAXED);
}

void surface_view_end(struct surface_view *view)
{
    if (view->host)
        unpin(view->host, view->backing);
    host_unref(&view->host);
    *view = (struct surface_view){0};
}
