/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <string.h>
#include <viaduct/codecs.h>
#include <viaduct/errors.h>

#include "driver.h"

/*
 * Encoding: coded buffers, and parameters whose structs have pointers.
 *
 * A coded buffer lies in the upload zone: the host writes a head (struct vd_coded) and the stream
 * into it. It is complete when its picture is, which the context's `done` in the status page tells.
 */

/* Where the picture parameters of a codec name the coded buffer. */
static const struct encode_coded_field {
    enum vd_codec codec;
    size_t offset;
} encode_coded_fields[] = {
#define VD_VA_ENCODE(codec, type, kind, name, size, slot)
#define VD_VA_CODED(codec, name, field) {VD_CODEC_##codec, offsetof(name, field)},
#include <viaduct/va_encode.def>
};

struct buffer *encode_coded(struct driver *driver, const struct context *context)
{
    enum vd_codec codec = codecs_of(context->profile, context->entrypoint);

    if (context->entrypoint == VAEntrypointVLD || context->entrypoint == VAEntrypointVideoProc)
        return NULL;
    for (size_t i = 0; i < sizeof(encode_coded_fields) / sizeof(encode_coded_fields[0]); i++) {
        for (uint32_t j = 0; encode_coded_fields[i].codec == codec && j < context->pending_count;
             j++) {
            struct buffer *buffer = context->pending[j];
            VABufferID id;

            if (buffer->type != VAEncPictureParameterBufferType)
                continue;
            memcpy(&id, buffer->host->arena.base + buffer->offset + encode_coded_fields[i].offset,
                   sizeof(id));
            buffer = object_find(&driver->buffers, id);
            return buffer && buffer->memory == BUFFER_CODED ? buffer : NULL;
        }
    }
    return NULL;
}

void encode_begin(struct buffer *buffer, const struct context *context)
{
    struct vd_coded head = {.error = (uint32_t)-VD_ERR_ENCODE};

    /* Until the host says better: a picture that is refused leaves no head. */
    memcpy(buffer->host->arena.base + buffer->offset, &head, sizeof(head));
    buffer->context = context->object.id;
    buffer->picture = context->submitted + 1;
}

static struct vd_coded read_head(const struct buffer *buffer)
{
    struct vd_coded head;

    memcpy(&head, buffer->host->arena.base + buffer->offset, sizeof(head));
    return head;
}

VAStatus encode_wait(struct driver *driver, struct buffer *buffer, uint64_t timeout_ns)
{
    int err;

    if (!buffer->context)
        return VA_STATUS_SUCCESS; /* nothing was ever encoded into it */
    err = context_wait(driver, buffer->context, buffer->picture, timeout_ns);
    if (err == VD_ERR_TIMEOUT)
        return VA_STATUS_ERROR_TIMEDOUT;
    if (err)
        return driver_status(err);
    return read_head(buffer).error ? VA_STATUS_ERROR_ENCODING_ERROR : VA_STATUS_SUCCESS;
}

VAStatus encode_segment(struct buffer *buffer)
{
    struct vd_coded head = read_head(buffer);

    if (head.size > buffer->bytes - VD_CODED_HEAD)
        return VA_STATUS_ERROR_OPERATION_FAILED; /* a host that lies */
    buffer->segment = (VACodedBufferSegment){
        .size = head.size,
        .status = head.status,
        .buf = buffer->host->arena.base + buffer->offset + VD_CODED_HEAD,
    };
    if (head.error && buffer->context)
        buffer->segment.status |= VA_CODED_BUF_STATUS_BAD_BITSTREAM;
    return VA_STATUS_SUCCESS;
}

/* A list of regions, which the app may free or change as soon as vaRenderPicture returns. */
static VAStatus render_roi(struct driver *driver, struct context *context,
                           const struct buffer *buffer, const uint8_t *bytes)
{
    const uint32_t type = VAEncMiscParameterTypeROI;
    VAEncMiscParameterBufferROI roi = {0};
    struct vd_enc_roi twin = {0};
    struct buffer *own;
    uint64_t size = (uint64_t)buffer->size * buffer->count - sizeof(VAEncMiscParameterBuffer);
    uint8_t *to;

    memcpy(&roi, bytes + sizeof(VAEncMiscParameterBuffer), size < sizeof(roi) ? size : sizeof(roi));
    if (roi.num_roi > VD_MAX_ROI)
        return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
    if (roi.num_roi && !roi.roi)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    twin.count = roi.num_roi;
    twin.max_delta_qp = (uint32_t)roi.max_delta_qp;
    twin.min_delta_qp = (uint32_t)roi.min_delta_qp;
    twin.roi_flags = roi.roi_flags.value & 1;
    for (uint32_t i = 0; i < roi.num_roi; i++) {
        uint32_t *v = &twin.roi[i * (size_t)5];

        v[0] = (uint32_t)roi.roi[i].roi_rectangle.x;
        v[1] = (uint32_t)roi.roi[i].roi_rectangle.y;
        v[2] = roi.roi[i].roi_rectangle.width;
        v[3] = roi.roi[i].roi_rectangle.height;
        v[4] = (uint32_t)roi.roi[i].roi_value;
    }
    own = context_own_buffer(driver, context, VAEncMiscParameterBufferType,
                             sizeof(type) + sizeof(twin));
    if (!own)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    to = own->host->arena.base + own->offset;
    memcpy(to, &type, sizeof(type));
    memcpy(to + sizeof(type), &twin, sizeof(twin));
    return VA_STATUS_SUCCESS;
}

bool encode_render_misc(struct driver *driver, struct context *context, const struct buffer *buffer,
                        VAStatus *ret_status)
{
    const uint8_t *bytes = buffer->host->arena.base + buffer->offset;
    uint32_t type;

    memcpy(&type, bytes, sizeof(type));
    *ret_status = VA_STATUS_SUCCESS;
    switch (type) {
    case VAEncMiscParameterTypeROI:
        *ret_status = render_roi(driver, context, buffer, bytes);
        return true;
    case VAEncMiscParameterTypeDirtyRect:
    case VAEncMiscParameterTypeMultiPassFrameSize:
        return true; /* hints with pointers, which are not offered */
    default:
        return false;
    }
}
