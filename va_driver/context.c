/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <transport/fence.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "driver.h"

/* Contexts and the path of a picture: begin, render, end. */

void context_reset(struct driver *driver, struct context *context)
{
    for (uint32_t i = 0; i < context->pending_count; i++)
        object_unref(&driver->buffers, context->pending[i]);
    context->pending_count = 0;
    for (uint32_t i = 0; i < context->input_count; i++)
        object_unref(&driver->surfaces, context->inputs[i]);
    context->input_count = 0;
    if (context->target)
        object_unref(&driver->surfaces, context->target);
    context->target = NULL;
}

void context_finish(void *owner, struct object *object)
{
    struct context *context = (struct context *)object;
    struct vd_context_destroy_req req = {.context = object->id};
    struct vd_context_destroy_rep rep;

    context_reset(owner, context);
    if (context->host && !context->host->dead)
        host_call(context->host, VD_OP_context_destroy, &req, NULL, 0, &rep, NULL, NULL);
    host_unref(&context->host);
    free(context->pending);
    free(context->refs);
    free(context->inputs);
}

VAStatus driver_CreateContext(VADriverContextP ctx, VAConfigID config_id, int width, int height,
                              int flag, VASurfaceID *targets, int target_count, VAContextID *id)
{
    struct vd_context_create_req req = {0};
    struct vd_context_create_rep rep;
    const struct vd_cap *cap;
    struct driver *driver;
    struct config *config;
    struct context *context;
    struct host *host;
    VAStatus status = driver_enter(ctx, &driver);
    int err;

    (void)flag;
    if (status)
        return status;
    config = object_find(&driver->configs, config_id);
    if (!config)
        status = VA_STATUS_ERROR_INVALID_CONFIG;
    else if (!id || target_count < 0 || (target_count && !targets))
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
    for (int i = 0; i < target_count && !status; i++) {
        if (!object_find(&driver->surfaces, targets[i]))
            status = VA_STATUS_ERROR_INVALID_SURFACE;
    }
    if (status)
        goto out;
    cap = config_cap(driver, config->profile, config->entrypoint);
    /* Processing has no picture size: apps pass 0, or anything. */
    if (config->entrypoint == VAEntrypointVideoProc)
        width = height = (int)cap->max_width;
    if (width < (int)cap->min_width || width > (int)cap->max_width ||
        height < (int)cap->min_height || height > (int)cap->max_height) {
        status = VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED;
        goto out;
    }
    host = driver_host(driver, true);
    if (!host) {
        status = VA_STATUS_ERROR_HW_BUSY;
        goto out;
    }
    context = object_create(&driver->contexts);
    if (!context) {
        status = VA_STATUS_ERROR_ALLOCATION_FAILED;
        goto out;
    }
    req.context = context->object.id;
    req.profile = (uint32_t)config->profile;
    req.entrypoint = (uint32_t)config->entrypoint;
    req.rt_formats = config->rt_format;
    req.width = (uint32_t)width;
    req.height = (uint32_t)height;
    req.rate_control = config->rate_control;
    req.packed_headers = config->packed_headers;
    if (host->mirror)
        mirror_guest_expect_context(host->mirror, req.context);
    err = host_call(host, VD_OP_context_create, &req, NULL, 0, &rep, NULL, NULL);
    if (!err)
        err = errors_from_wire(rep.status);
    if (err) {
        log_warn("the host refuses a context: %s", errors_text(err));
        object_remove(&driver->contexts, context);
        status = driver_status(err);
        goto out;
    }
    context->host = host_ref(host);
    context->profile = config->profile;
    context->entrypoint = config->entrypoint;
    context->width = req.width;
    context->height = req.height;
    context->flags = rep.flags;
    context->depth = rep.depth < 1 ? 1 : rep.depth;
    if (context->depth > VD_MAX_IN_FLIGHT)
        context->depth = VD_MAX_IN_FLIGHT;
    *id = context->object.id;
out:
    driver_leave(driver);
    return status;
}

/*
 * Waits for picture `picture`, with the lock released inside. `kick`: the host may hold it back.
 * `context` is only looked at before.
 */
static int wait_picture(struct driver *driver, const struct context *context, uint32_t picture,
                        bool kick, uint64_t timeout_ns)
{
    struct host *host = host_ref(context->host);
    struct vd_context_slot *slot = &host->arena.status->contexts[VD_SLOT(context->object.id)];
    int err = 0;

    if (!fence_passed(fence_load(&slot->done), picture)) {
        struct vd_kick_req req = {.context = context->object.id, .picture = picture};

        if (kick && context->flags & VD_CONTEXT_KICK)
            host_send(host, VD_OP_kick, &req, NULL, 0);
        driver_leave(driver);
        err = fence_wait(&slot->done, &slot->waiters, picture, timeout_ns, host_alive, host);
        pthread_mutex_lock(&driver->lock);
        if (err == VD_ERR_GONE)
            host_lost(host);
    }
    host_unref(&host);
    return err;
}

int context_wait(struct driver *driver, uint32_t id, uint32_t picture, uint64_t timeout_ns)
{
    const struct context *context = object_find(&driver->contexts, id);

    if (timeout_ns > HOST_PICTURE_NS)
        timeout_ns = HOST_PICTURE_NS;
    return context ? wait_picture(driver, context, picture, true, timeout_ns) : 0;
}

/* Until all but `left` pictures are complete. */
static int wait_pictures(struct driver *driver, struct context *context, uint32_t left, bool kick)
{
    return wait_picture(driver, context, context->submitted - left, kick, HOST_PICTURE_NS);
}

/* Until one more picture may be in flight; another thread may take the room meanwhile. */
static int wait_room(struct driver *driver, struct context *context)
{
    const uint32_t *done = &context->host->arena.status->contexts[VD_SLOT(context->object.id)].done;
    /* Only decoders need no KICK for the oldest: others may wait for another context's picture. */
    bool kick = context->entrypoint != VAEntrypointVLD;
    int err;

    do {
        err = wait_pictures(driver, context, context->depth - 1, kick);
    } while (!err && !fence_passed(fence_load(done), context->submitted - (context->depth - 1)));
    return err;
}

VAStatus driver_DestroyContext(VADriverContextP ctx, VAContextID id)
{
    struct driver *driver;
    struct context *context;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    context = object_find(&driver->contexts, id);
    if (!context) {
        driver_leave(driver);
        return VA_STATUS_ERROR_INVALID_CONTEXT;
    }
    /* Surfaces of pictures on their way must still get them: apps sync after this call. */
    object_ref(context);
    wait_pictures(driver, context, 0, true);
    if (object_find(&driver->contexts, id) == context)
        object_remove(&driver->contexts, context);
    object_unref(&driver->contexts, context);
    driver_leave(driver);
    return VA_STATUS_SUCCESS;
}

VAStatus driver_BeginPicture(VADriverContextP ctx, VAContextID id, VASurfaceID target)
{
    struct driver *driver;
    struct context *context;
    struct surface *surface;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    context = object_find(&driver->contexts, id);
    surface = object_find(&driver->surfaces, target);
    if (!context) {
        status = VA_STATUS_ERROR_INVALID_CONTEXT;
    } else if (!surface) {
        status = VA_STATUS_ERROR_INVALID_SURFACE;
    } else if (context->host->dead) {
        status = VA_STATUS_ERROR_HW_BUSY;
    } else {
        context_reset(driver, context);
        context->target = object_ref(surface);
    }
    driver_leave(driver);
    return status;
}

int context_room(struct context *context, uint32_t count)
{
    uint32_t room = context->pending_room ? context->pending_room : 16;
    uint32_t want = context->pending_count + count;
    struct buffer **pending;
    struct vd_buffer_ref *refs;

    while (room < want)
        room *= 2;
    if (room == context->pending_room)
        return 0;
    pending = realloc(context->pending, room * sizeof(*pending));
    if (!pending)
        return VD_ERR_MEMORY;
    context->pending = pending;
    refs = realloc(context->refs, (room + 1) * sizeof(*refs));
    if (!refs)
        return VD_ERR_MEMORY;
    context->refs = refs;
    context->pending_room = room;
    return 0;
}

struct buffer *context_own_buffer(struct driver *driver, struct context *context, VABufferType type,
                                  uint32_t bytes)
{
    struct buffer *buffer;
    uint64_t offset;

    if (context_room(context, 1) || upload_get(&context->host->upload, bytes, &offset))
        return NULL;
    buffer = object_create(&driver->buffers);
    if (!buffer) {
        upload_give(&context->host->upload, offset, bytes, 0, 0);
        return NULL;
    }
    buffer->type = type;
    buffer->size = bytes;
    buffer->count = buffer->max_count = 1;
    buffer->memory = BUFFER_UPLOAD;
    buffer->host = host_ref(context->host);
    buffer->offset = offset;
    buffer->bytes = bytes;
    context->pending[context->pending_count++] = object_ref(buffer);
    object_remove(&driver->buffers, buffer);
    return buffer;
}

/* One buffer of vaRenderPicture. */
static VAStatus render(struct driver *driver, struct context *context, struct buffer *buffer)
{
    VAStatus status;

    if (context->entrypoint == VAEntrypointVideoProc)
        return proc_render(driver, context, buffer);
    if (buffer->type == VAEncMiscParameterBufferType &&
        encode_render_misc(driver, context, buffer, &status))
        return status;
    if (context_room(context, 1))
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    context->pending[context->pending_count++] = object_ref(buffer);
    return VA_STATUS_SUCCESS;
}

/* What a context takes: processing has structs with pointers, which never leave the guest. */
static bool renderable(const struct context *context, const struct buffer *buffer)
{
    if (context->entrypoint == VAEntrypointVideoProc)
        return buffer->memory == BUFFER_HEAP;
    return buffer->memory == BUFFER_UPLOAD && buffer->host == context->host;
}

VAStatus driver_RenderPicture(VADriverContextP ctx, VAContextID id, VABufferID *ids, int count)
{
    struct driver *driver;
    struct context *context;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    context = object_find(&driver->contexts, id);
    if (!context)
        status = VA_STATUS_ERROR_INVALID_CONTEXT;
    else if (!context->target)
        status = VA_STATUS_ERROR_OPERATION_FAILED; /* not between Begin and End */
    else if (count < 0 || (count && !ids))
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
    else if ((uint32_t)count > VD_MAX_BUFFERS - context->pending_count)
        status = VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
    for (int i = 0; i < count && !status; i++) {
        struct buffer *buffer = object_find(&driver->buffers, ids[i]);

        if (!buffer || !renderable(context, buffer))
            status = VA_STATUS_ERROR_INVALID_BUFFER;
    }
    if (!status && context_room(context, (uint32_t)count))
        status = VA_STATUS_ERROR_ALLOCATION_FAILED;
    for (int i = 0; i < count && !status; i++)
        status = render(driver, context, object_find(&driver->buffers, ids[i]));
    driver_leave(driver);
    return status;
}

/*
 * The second surface of an AV1 picture with film grain: the render target gets the one without it,
 * as a reference, current_display_picture the one that apps show, sync and read.
 */
static struct surface *find_display(struct driver *driver, const struct context *context)
{
    if ((context->profile != VAProfileAV1Profile0 && context->profile != VAProfileAV1Profile1) ||
        context->entrypoint != VAEntrypointVLD)
        return NULL;
    for (uint32_t i = 0; i < context->pending_count; i++) {
        const struct buffer *buffer = context->pending[i];
        const VADecPictureParameterBufferAV1 *param;
        struct surface *display;

        if (buffer->type != VAPictureParameterBufferType || buffer->size < sizeof(*param) ||
            !buffer->count)
            continue;
        param = (const void *)(context->host->arena.base + buffer->offset);
        if (!param->film_grain_info.film_grain_info_fields.bits.apply_grain)
            return NULL;
        display = object_find(&driver->surfaces, param->current_display_picture);
        return display == context->target ? NULL : display;
    }
    return NULL;
}

static bool encodes(const struct context *context)
{
    return context->entrypoint != VAEntrypointVLD && context->entrypoint != VAEntrypointVideoProc;
}

/* A picture was sent that will be in this surface. */
static void count_picture(const struct context *context, struct surface *surface)
{
    surface->sequence++;
    surface->lost = 0;
    surface->uploaded = false;
    surface->context = context->object.id;
    surface->picture = context->submitted;
    surface->encoding = encodes(context);
    if (surface->import && !surface->encoding)
        surface->import->made++;
}

/* The surfaces that a processed picture is made from. */
static void count_inputs(const struct context *context)
{
    for (uint32_t i = 0; i < context->input_count; i++) {
        context->inputs[i]->reader = context->object.id;
        context->inputs[i]->reader_picture = context->submitted;
    }
}

/* One message for the whole picture. */
static int submit(struct driver *driver, struct context *context)
{
    struct host *host = context->host;
    struct surface *surface = context->target;
    struct surface *display = find_display(driver, context);
    struct buffer *coded = encode_coded(driver, context);
    uint32_t count = context->pending_count;
    struct vd_submit_req req;
    int err = surface->host == host ? 0 : surface_register(driver, surface);

    if (!err && display && display->host != host)
        err = surface_register(driver, display);
    if (err)
        return err;
    for (uint32_t i = 0; i < context->pending_count; i++) {
        struct buffer *buffer = context->pending[i];

        context->refs[i] = (struct vd_buffer_ref){
            .type = (uint32_t)buffer->type,
            .size = buffer->size,
            .count = buffer->count,
            .offset = buffer->offset,
        };
        buffer->busy = true;
        buffer->submission = host->submission + 1;
    }
    req = (struct vd_submit_req){
        .context = context->object.id,
        .surface = surface->object.id,
        .sequence = surface->sequence + 1,
        .submission = host->submission + 1,
        .flags = surface->derived || surface->exported ? VD_SUBMIT_FIXED : 0,
        .display = display ? display->object.id : 0,
    };
    if (display && (display->derived || display->exported))
        req.flags |= VD_SUBMIT_DISPLAY_FIXED;
    if (coded) {
        context->refs[count++] = (struct vd_buffer_ref){
            .type = VAEncCodedBufferType,
            .size = (uint32_t)coded->bytes,
            .count = 1,
            .offset = coded->offset,
        };
        encode_begin(coded, context);
    }
    err = inband_submit(context, &req, coded);
    if (err)
        host_lost(host);
    if (!err)
        err = host_send(host, VD_OP_submit, &req, context->refs, count);
    if (err)
        return err;
    host->submission++;
    inband_submitted(host);
    context->submitted++;
    count_picture(context, surface);
    count_inputs(context);
    if (display)
        count_picture(context, display);
    return 0;
}

/* What has to be so before a picture may leave. May release the lock. */
static VAStatus prepare(struct driver *driver, struct context *context)
{
    struct surface *target = context->target;
    struct buffer *coded;
    VAStatus status = VA_STATUS_SUCCESS;

    for (uint32_t i = 0; i < context->input_count && !status; i++)
        status = inband_push(driver, context->inputs[i]);
    /* What processing leaves of it stays. */
    if (!status && context->entrypoint != VAEntrypointVLD && context->target)
        status = inband_push(driver, target);
    if (status || context->target != target)
        return status;
    if (!encodes(context)) {
        /* Memory that stays the surface's is not written while a picture is made from it. */
        bool fixed =
            target->derived || target->exported || target->exported_device || target->import;

        return fixed ? surface_wait_readers(driver, target) : VA_STATUS_SUCCESS;
    }
    coded = encode_coded(driver, context);
    if (!coded || coded->host != context->host)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    /* The host may still write what was encoded into it before. */
    return encode_wait(driver, coded, VA_TIMEOUT_INFINITE) == VA_STATUS_ERROR_TIMEDOUT
               ? VA_STATUS_ERROR_TIMEDOUT
               : VA_STATUS_SUCCESS;
}

VAStatus driver_EndPicture(VADriverContextP ctx, VAContextID id)
{
    struct driver *driver;
    struct context *context;
    VAStatus status = driver_enter(ctx, &driver);
    int err;

    if (status)
        return status;
    context = object_find(&driver->contexts, id);
    if (!context) {
        status = VA_STATUS_ERROR_INVALID_CONTEXT;
        goto out;
    }
    if (!context->target || !context->pending_count) {
        status = VA_STATUS_ERROR_OPERATION_FAILED; /* nothing was begun or nothing rendered */
    } else if (context->host->dead || context->host != driver->host) {
        status = VA_STATUS_ERROR_HW_BUSY;
    } else {
        object_ref(context);
        status = prepare(driver, context);
        err = status ? 0 : wait_room(driver, context);
        if (!status && !err && context->target)
            err = submit(driver, context);
        if (!status)
            status = err == VD_ERR_TIMEOUT ? VA_STATUS_ERROR_TIMEDOUT : driver_status(err);
        context_reset(driver, context);
        object_unref(&driver->contexts, context);
        goto out;
    }
    context_reset(driver, context);
out:
    driver_leave(driver);
    return status;
}
