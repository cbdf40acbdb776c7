/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <transport/fence.h>
#include <viaduct/codecs.h>
#include <viaduct/errors.h>

#include "driver.h"

/*
 * VA buffers. Parameters and bitstreams lie in the upload zone from the start: the app's copy
 * into the buffer is the only one on this side.
 */

/* Most bytes of one buffer: more than any picture of VD_MAX_WIDTH x VD_MAX_HEIGHT needs. */
#define BUFFER_MAX_BYTES VD_MAX_PICTURE_BYTES

struct buffer_kind {
    enum vd_codec codec;
    VABufferType type;
    uint32_t size;
};

static const struct buffer_kind buffer_kinds[] = {
#define VD_VA_STRUCT(codec, type, kind, name, size, slot) {VD_CODEC_##codec, (type), (size)},
#include <viaduct/va_structs.def>
};

static VAStatus check_kind(const struct context *context, VABufferType type, unsigned size)
{
    enum vd_codec codec = codecs_of_profile(context->profile);

    if (type == VASliceDataBufferType && context->entrypoint == VAEntrypointVLD)
        return VA_STATUS_SUCCESS;
    for (size_t i = 0; i < sizeof(buffer_kinds) / sizeof(buffer_kinds[0]); i++) {
        if (buffer_kinds[i].codec == codec && buffer_kinds[i].type == type)
            return size >= buffer_kinds[i].size ? VA_STATUS_SUCCESS
                                                : VA_STATUS_ERROR_INVALID_PARAMETER;
    }
    return VA_STATUS_ERROR_UNSUPPORTED_BUFFERTYPE;
}

void buffer_finish(void *owner, struct object *object)
{
    struct buffer *buffer = (struct buffer *)object;

    (void)owner;
    if (buffer->memory == BUFFER_UPLOAD && buffer->host) {
        upload_give(&buffer->host->upload, buffer->offset,
                    (uint64_t)buffer->size * buffer->max_count, buffer->busy, buffer->submission);
        host_unref(&buffer->host);
    }
}

VAStatus driver_CreateBuffer(VADriverContextP ctx, VAContextID context_id, VABufferType type,
                             unsigned size, unsigned count, void *data, VABufferID *id)
{
    struct driver *driver;
    struct context *context;
    struct buffer *buffer;
    uint64_t bytes = (uint64_t)size * count, offset;
    uint8_t *to = NULL;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    context = object_find(&driver->contexts, context_id);
    if (!context)
        status = VA_STATUS_ERROR_INVALID_CONTEXT;
    else if (!id || !bytes || bytes > BUFFER_MAX_BYTES)
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
    else
        status = check_kind(context, type, size);
    if (!status && context->host->dead)
        status = VA_STATUS_ERROR_HW_BUSY;
    if (status)
        goto out;
    if (upload_get(&context->host->upload, bytes, &offset)) {
        status = VA_STATUS_ERROR_ALLOCATION_FAILED;
        goto out;
    }
    buffer = object_create(&driver->buffers);
    if (!buffer) {
        upload_give(&context->host->upload, offset, bytes, 0, 0);
        status = VA_STATUS_ERROR_ALLOCATION_FAILED;
        goto out;
    }
    buffer->type = type;
    buffer->size = size;
    buffer->count = buffer->max_count = count;
    buffer->memory = BUFFER_UPLOAD;
    buffer->host = host_ref(context->host);
    buffer->offset = offset;
    to = buffer->host->arena.base + offset;
    *id = buffer->object.id;
    if (!data) {
        /* Recycled memory; apps fill in parts and expect zeros in reserved fields. */
        memset(to, 0, bytes);
    } else {
        /* The copy is the app's picture: not under the lock. */
        object_ref(buffer);
        driver_leave(driver);
        memcpy(to, data, bytes);
        pthread_mutex_lock(&driver->lock);
        object_unref(&driver->buffers, buffer);
    }
out:
    driver_leave(driver);
    return status;
}

VAStatus driver_BufferSetNumElements(VADriverContextP ctx, VABufferID id, unsigned count)
{
    struct driver *driver;
    struct buffer *buffer;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    buffer = object_find(&driver->buffers, id);
    if (!buffer)
        status = VA_STATUS_ERROR_INVALID_BUFFER;
    else if (!count || count > buffer->max_count)
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
    else
        buffer->count = count;
    driver_leave(driver);
    return status;
}

void *buffer_bytes(struct driver *driver, struct buffer *buffer)
{
    (void)driver;
    if (buffer->memory == BUFFER_IMAGE)
        return image_bytes(buffer->image);
    return buffer->host->arena.base + buffer->offset;
}

VAStatus driver_MapBuffer(VADriverContextP ctx, VABufferID id, void **ret_bytes)
{
    struct driver *driver;
    struct buffer *buffer;
    VAStatus status = driver_enter(ctx, &driver);
    int err = 0;

    if (status)
        return status;
    buffer = object_find(&driver->buffers, id);
    if (!buffer || !ret_bytes) {
        status = buffer ? VA_STATUS_ERROR_INVALID_PARAMETER : VA_STATUS_ERROR_INVALID_BUFFER;
        goto out;
    }
    if (buffer->busy) {
        /* The host may still read what the app is about to change: microseconds. */
        struct vd_status_page *page = buffer->host->arena.status;

        object_ref(buffer);
        driver_leave(driver);
        err = fence_wait(&page->consumed, &page->consumed_waiters, buffer->submission,
                         HOST_PICTURE_NS, host_alive, buffer->host);
        pthread_mutex_lock(&driver->lock);
        buffer->busy = false;
        object_unref(&driver->buffers, buffer);
    }
    /* With the host gone nobody reads any more: the app may have its bytes. */
    if (err && err != VD_ERR_GONE) {
        status = VA_STATUS_ERROR_TIMEDOUT;
        goto out;
    }
    *ret_bytes = buffer_bytes(driver, buffer);
    if (!*ret_bytes)
        status = VA_STATUS_ERROR_ALLOCATION_FAILED;
    else
        buffer->mapped++;
out:
    driver_leave(driver);
    return status;
}

VAStatus driver_UnmapBuffer(VADriverContextP ctx, VABufferID id)
{
    struct driver *driver;
    struct buffer *buffer;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    buffer = object_find(&driver->buffers, id);
    if (!buffer)
        status = VA_STATUS_ERROR_INVALID_BUFFER;
    else if (buffer->mapped)
        buffer->mapped--;
    driver_leave(driver);
    return status;
}

VAStatus driver_DestroyBuffer(VADriverContextP ctx, VABufferID id)
{
    struct driver *driver;
    struct buffer *buffer;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    buffer = object_find(&driver->buffers, id);
    /* An image's buffer goes with vaDestroyImage. */
    if (!buffer || buffer->memory == BUFFER_IMAGE)
        status = VA_STATUS_ERROR_INVALID_BUFFER;
    else
        object_remove(&driver->buffers, buffer);
    driver_leave(driver);
    return status;
}

VAStatus driver_BufferInfo(VADriverContextP ctx, VABufferID id, VABufferType *type, unsigned *size,
                           unsigned *count)
{
    struct driver *driver;
    struct buffer *buffer;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    buffer = object_find(&driver->buffers, id);
    if (!buffer) {
        status = VA_STATUS_ERROR_INVALID_BUFFER;
    } else {
        *type = buffer->type;
        *size = buffer->size;
        *count = buffer->count;
    }
    driver_leave(driver);
    return status;
}

/* Only coded buffers are ever written by the host, and there is no encoder. */
VAStatus driver_SyncBuffer(VADriverContextP ctx, VABufferID id, uint64_t timeout_ns)
{
    struct driver *driver;
    struct buffer *buffer;
    VAStatus status = driver_enter(ctx, &driver);

    (void)timeout_ns;
    if (status)
        return status;
    buffer = object_find(&driver->buffers, id);
    driver_leave(driver);
    return buffer ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_BUFFER;
}
