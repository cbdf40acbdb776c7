/* SPDX-License-Identifier: MIT */
#include <stddef.h>
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

/* What encoders of a codec take, and what all of them do. */
static const struct buffer_kind encode_kinds[] = {
#define VD_VA_ENCODE(codec, type, kind, name, size, slot) {VD_CODEC_##codec, (type), (size)},
#define VD_VA_CODED(codec, name, field)
#include <viaduct/va_encode.def>
};

static const struct buffer_kind encode_common[] = {
    {VD_CODEC_NONE, VAEncCodedBufferType, 1},
    {VD_CODEC_NONE, VAEncPackedHeaderParameterBufferType, sizeof(VAEncPackedHeaderParameterBuffer)},
    {VD_CODEC_NONE, VAEncPackedHeaderDataBufferType, 1},
    {VD_CODEC_NONE, VAEncMiscParameterBufferType, sizeof(VAEncMiscParameterBuffer)},
};

/* Apps may have older headers with shorter structs: what is missing counts as zero. */
static const struct buffer_kind proc_kinds[] = {
    {VD_CODEC_PROC, VAProcPipelineParameterBufferType,
     offsetof(VAProcPipelineParameterBuffer, rotation_state)},
    {VD_CODEC_PROC, VAProcFilterParameterBufferType, sizeof(VAProcFilterParameterBufferBase)},
};

static VAStatus find_kind(const struct buffer_kind *kinds, size_t count, enum vd_codec codec,
                          VABufferType type, unsigned size)
{
    for (size_t i = 0; i < count; i++) {
        if (kinds[i].codec == codec && kinds[i].type == type)
            return size >= kinds[i].size ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_PARAMETER;
    }
    return VA_STATUS_ERROR_UNSUPPORTED_BUFFERTYPE;
}

#define FIND_KIND(kinds, codec, type, size) \
    find_kind(kinds, sizeof(kinds) / sizeof((kinds)[0]), codec, type, size)

/*
 * Buffers that drivers let programs make (libva's test_va_api does), but no picture of this kind
 * can carry: memory of the guest's own, which vaRenderPicture refuses.
 */
static bool is_idle(const struct context *context, VABufferType type)
{
    return context->entrypoint == VAEntrypointVLD &&
           (type == VAMacroblockParameterBufferType || type == VAQMatrixBufferType);
}

static VAStatus check_kind(const struct context *context, VABufferType type, unsigned size)
{
    enum vd_codec codec = codecs_of(context->profile, context->entrypoint);

    VAStatus status;

    switch (context->entrypoint) {
    case VAEntrypointVLD:
        return type == VASliceDataBufferType || is_idle(context, type)
                   ? VA_STATUS_SUCCESS
                   : FIND_KIND(buffer_kinds, codec, type, size);
    case VAEntrypointVideoProc:
        return FIND_KIND(proc_kinds, VD_CODEC_PROC, type, size);
    default:
        status = FIND_KIND(encode_common, VD_CODEC_NONE, type, size);
        return status == VA_STATUS_ERROR_UNSUPPORTED_BUFFERTYPE
                   ? FIND_KIND(encode_kinds, codec, type, size)
                   : status;
    }
}

void buffer_finish(void *owner, struct object *object)
{
    struct buffer *buffer = (struct buffer *)object;

    (void)owner;
    free(buffer->heap);
    buffer->heap = NULL;
    if (buffer->host) {
        upload_give(&buffer->host->upload, buffer->offset, buffer->bytes, buffer->busy,
                    buffer->submission);
        host_unref(&buffer->host);
    }
}

/* Gives a new buffer its memory; returns where the app's bytes go, NULL: there is none. */
static uint8_t *place(struct context *context, struct buffer *buffer, uint64_t bytes)
{
    if (context->entrypoint == VAEntrypointVideoProc || is_idle(context, buffer->type)) {
        buffer->memory = BUFFER_HEAP;
        buffer->heap = malloc(bytes);
        return buffer->heap;
    }
    buffer->memory = buffer->type == VAEncCodedBufferType ? BUFFER_CODED : BUFFER_UPLOAD;
    /* Apps ask for the worst that can be; the memory is this driver's. */
    if (buffer->memory == BUFFER_CODED)
        bytes = (bytes < VD_MAX_CODED_BYTES ? bytes : VD_MAX_CODED_BYTES) + VD_CODED_HEAD;
    if (upload_get(&context->host->upload, bytes, &buffer->offset))
        return NULL;
    buffer->host = host_ref(context->host);
    buffer->bytes = bytes;
    return buffer->host->arena.base + buffer->offset;
}

VAStatus driver_CreateBuffer(VADriverContextP ctx, VAContextID context_id, VABufferType type,
                             unsigned size, unsigned count, void *data, VABufferID *id)
{
    struct driver *driver;
    struct context *context;
    struct buffer *buffer;
    uint64_t bytes = (uint64_t)size * count;
    uint64_t most = type == VAEncCodedBufferType ? UINT32_MAX : BUFFER_MAX_BYTES;
    uint8_t *to = NULL;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    context = object_find(&driver->contexts, context_id);
    if (!context)
        status = VA_STATUS_ERROR_INVALID_CONTEXT;
    else if (!id || !bytes || bytes > most)
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
    else
        status = check_kind(context, type, size);
    if (!status && context->host->dead)
        status = VA_STATUS_ERROR_HW_BUSY;
    if (status)
        goto out;
    buffer = object_create(&driver->buffers);
    if (!buffer) {
        status = VA_STATUS_ERROR_ALLOCATION_FAILED;
        goto out;
    }
    buffer->type = type;
    buffer->size = size;
    buffer->count = buffer->max_count = count;
    to = place(context, buffer, bytes);
    if (!to) {
        object_remove(&driver->buffers, buffer);
        status = VA_STATUS_ERROR_ALLOCATION_FAILED;
        goto out;
    }
    *id = buffer->object.id;
    if (buffer->memory == BUFFER_CODED) {
        memset(to, 0, VD_CODED_HEAD);
    } else if (!data) {
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
    if (buffer->memory == BUFFER_HEAP)
        return buffer->heap;
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
    if (buffer->memory == BUFFER_CODED) {
        object_ref(buffer);
        status = encode_wait(driver, buffer, VA_TIMEOUT_INFINITE);
        /* A picture that failed has a segment that says so. */
        if (status == VA_STATUS_ERROR_ENCODING_ERROR)
            status = VA_STATUS_SUCCESS;
        if (!status)
            status = encode_segment(buffer);
        if (!status) {
            *ret_bytes = &buffer->segment;
            buffer->mapped++;
        }
        object_unref(&driver->buffers, buffer);
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
    if (buffer->memory == BUFFER_IMAGE) {
        object_ref(buffer);
        inband_mapped(driver, buffer->image);
        object_unref(&driver->buffers, buffer);
    }
    *ret_bytes = buffer_bytes(driver, buffer);
    /* Some programs derive an image only to see whether that works. */
    if (buffer->memory == BUFFER_IMAGE && buffer->image->memory == IMAGE_DERIVED)
        surface_view_seen(&buffer->image->view);
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
    else if (buffer->mapped && !--buffer->mapped && buffer->memory == BUFFER_IMAGE)
        status = driver_status(inband_unmapped(driver, buffer->image));
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
    if (!buffer || buffer->memory == BUFFER_IMAGE) {
        status = VA_STATUS_ERROR_INVALID_BUFFER;
        goto out;
    }
    object_ref(buffer);
    /* The host may still write to it; nothing else may have the memory before. */
    if (buffer->memory == BUFFER_CODED)
        encode_wait(driver, buffer, VA_TIMEOUT_INFINITE);
    if (object_find(&driver->buffers, id) == buffer)
        object_remove(&driver->buffers, buffer);
    object_unref(&driver->buffers, buffer);
out:
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

/* Only coded buffers are ever written by the host. */
VAStatus driver_SyncBuffer(VADriverContextP ctx, VABufferID id, uint64_t timeout_ns)
{
    struct driver *driver;
    struct buffer *buffer;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    buffer = object_find(&driver->buffers, id);
    if (!buffer) {
        status = VA_STATUS_ERROR_INVALID_BUFFER;
    } else if (buffer->memory == BUFFER_CODED) {
        object_ref(buffer);
        status = encode_wait(driver, buffer, timeout_ns);
        object_unref(&driver->buffers, buffer);
    }
    driver_leave(driver);
    return status;
}
