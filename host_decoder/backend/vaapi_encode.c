/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "coded.h"
#include "vaapi_work.h"

/*
 * Encoding: the app's buffers in the order in which they came. Ids of surfaces and of the coded
 * buffer become the host's. Structs with pointers are rebuilt, those that are not known are
 * dropped: a driver would follow what a guest wrote there.
 */

static const struct {
    const char *name; /* of the struct */
    uint32_t offset, bytes, most;
    uint32_t id_count, id_stride; /* id_count 0: a maximum */
} encode_fields[] = {
#define VD_VA_MAX(s, field, most) {#s, offsetof(s, field), sizeof(((s *)0)->field), (most), 0, 0},
#define VD_VA_ID(s, field, count, stride) \
    {#s, offsetof(s, field), sizeof(((s *)0)->field), 0, (count), (stride)},
#include <viaduct/va_encode_fields.def>
};

static const struct {
    enum vd_codec codec;
    uint32_t type;
    const char *name;
} encode_structs[] = {
#define VD_VA_ENCODE(codec, type, kind, name, size, slot) {VD_CODEC_##codec, type, #name},
#define VD_VA_CODED(codec, name, field)
#include <viaduct/va_encode.def>
};

static const struct {
    enum vd_codec codec;
    uint32_t offset;
} encode_coded[] = {
#define VD_VA_ENCODE(codec, type, kind, name, size, slot)
#define VD_VA_CODED(codec, name, field) {VD_CODEC_##codec, offsetof(name, field)},
#include <viaduct/va_encode.def>
};

/* Misc parameters without a pointer: shorter ones of older apps get zeros behind. */
static const struct {
    uint32_t type, size;
} encode_misc[] = {
    {VAEncMiscParameterTypeFrameRate, sizeof(VAEncMiscParameterFrameRate)},
    {VAEncMiscParameterTypeRateControl, sizeof(VAEncMiscParameterRateControl)},
    {VAEncMiscParameterTypeMaxSliceSize, sizeof(VAEncMiscParameterMaxSliceSize)},
    {VAEncMiscParameterTypeAIR, sizeof(VAEncMiscParameterAIR)},
    {VAEncMiscParameterTypeMaxFrameSize, sizeof(VAEncMiscParameterBufferMaxFrameSize)},
    {VAEncMiscParameterTypeHRD, sizeof(VAEncMiscParameterHRD)},
    {VAEncMiscParameterTypeQualityLevel, sizeof(VAEncMiscParameterBufferQualityLevel)},
    {VAEncMiscParameterTypeRIR, sizeof(VAEncMiscParameterRIR)},
    {VAEncMiscParameterTypeQuantization, sizeof(VAEncMiscParameterQuantization)},
    {VAEncMiscParameterTypeSkipFrame, sizeof(VAEncMiscParameterSkipFrame)},
    {VAEncMiscParameterTypeTemporalLayerStructure,
     sizeof(VAEncMiscParameterTemporalLayerStructure)},
    {VAEncMiscParameterTypeParallelBRC, sizeof(VAEncMiscParameterParallelRateControl)},
    {VAEncMiscParameterTypeEncQuality, sizeof(VAEncMiscParameterEncQuality)},
    {VAEncMiscParameterTypeCustomRoundingControl, sizeof(VAEncMiscParameterCustomRoundingControl)},
};
#define MISC_LARGEST 512

/* Layers have an array of fixed size. */
#define MISC_LAYERS 32

static const char *struct_name(enum vd_codec codec, uint32_t type)
{
    for (size_t i = 0; i < sizeof(encode_structs) / sizeof(encode_structs[0]); i++) {
        if (encode_structs[i].codec == codec && encode_structs[i].type == type)
            return encode_structs[i].name;
    }
    return NULL;
}

static int prepare_buffer(struct vaapi_work *self, const struct backend_buffer *buffer)
{
    const char *name = struct_name(self->info.codec, buffer->type);

    for (size_t i = 0; name && i < sizeof(encode_fields) / sizeof(encode_fields[0]); i++) {
        uint8_t *at = buffer->bytes + encode_fields[i].offset;
        uint32_t value = 0;

        if (strcmp(encode_fields[i].name, name))
            continue;
        if (!encode_fields[i].id_count) {
            memcpy(&value, at, encode_fields[i].bytes);
            if (value > encode_fields[i].most)
                return VD_ERR_PARAMETER;
        }
        for (uint32_t j = 0; j < encode_fields[i].id_count; j++, at += encode_fields[i].id_stride) {
            memcpy(&value, at, sizeof(value));
            value = vaapi_params_id(self->device, &self->info, value);
            memcpy(at, &value, sizeof(value));
        }
    }
    return 0;
}

static int encode_prepare(struct vaapi_work *self, struct vaapi_task *task)
{
    const struct backend_work *work = task->job->work;
    int err = 0;

    for (uint32_t i = 0; i < work->buffer_count && !err; i++)
        err = prepare_buffer(self, &work->buffers[i]);
    return err;
}

/* The coded buffer of the host's, as large as the guest's. */
static int make_coded(struct vaapi_work *self, struct vaapi_task *task)
{
    uint32_t size = task->job->work->coded_room - VD_CODED_HEAD;
    int err = pool_take(self->info.pool, size);

    if (err)
        return err;
    task->coded_bytes = size;
    return vaapi_error(vaCreateBuffer(self->device->display, self->id, VAEncCodedBufferType, size,
                                      1, NULL, &task->coded));
}

static int add_roi(struct vaapi_work *self, const struct backend_buffer *buffer)
{
    const uint32_t type = VAEncMiscParameterTypeROI;
    uint8_t bytes[sizeof(type) + sizeof(VAEncMiscParameterBufferROI)];
    VAEncMiscParameterBufferROI roi = {0};
    struct vd_enc_roi twin = {0};
    VAEncROI *regions = self->state;
    uint32_t size = buffer->size - (uint32_t)sizeof(type);

    memcpy(&twin, buffer->bytes + sizeof(type), size < sizeof(twin) ? size : sizeof(twin));
    if (twin.count > VD_MAX_ROI)
        return VD_ERR_PARAMETER;
    for (uint32_t i = 0; i < twin.count; i++) {
        const uint32_t *v = &twin.roi[i * (size_t)5];

        regions[i] = (VAEncROI){
            .roi_rectangle = {(int16_t)v[0], (int16_t)v[1], (uint16_t)v[2], (uint16_t)v[3]},
            .roi_value = (int8_t)v[4],
        };
    }
    roi.num_roi = twin.count;
    roi.max_delta_qp = (int8_t)twin.max_delta_qp;
    roi.min_delta_qp = (int8_t)twin.min_delta_qp;
    roi.roi = twin.count ? regions : NULL;
    roi.roi_flags.value = twin.roi_flags & 1;
    memcpy(bytes, &type, sizeof(type));
    memcpy(bytes + sizeof(type), &roi, sizeof(roi));
    return vaapi_work_buffer(self, VAEncMiscParameterBufferType, sizeof(bytes), 1, bytes);
}

static int add_misc(struct vaapi_work *self, const struct backend_buffer *buffer)
{
    VAEncMiscParameterTemporalLayerStructure layers;
    uint8_t bytes[MISC_LARGEST] = {0};
    uint32_t type, size = 0;

    memcpy(&type, buffer->bytes, sizeof(type));
    if (type == VAEncMiscParameterTypeROI)
        return add_roi(self, buffer);
    for (size_t i = 0; i < sizeof(encode_misc) / sizeof(encode_misc[0]); i++) {
        if (encode_misc[i].type == type)
            size = (uint32_t)sizeof(type) + encode_misc[i].size;
    }
    if (!size)
        return 0; /* a hint that only libvas to come know */
    memcpy(bytes, buffer->bytes, buffer->size < size ? buffer->size : size);
    if (type == VAEncMiscParameterTypeTemporalLayerStructure) {
        memcpy(&layers, bytes + sizeof(type), sizeof(layers));
        if (layers.number_of_layers > MISC_LAYERS || layers.periodicity > MISC_LAYERS)
            return VD_ERR_PARAMETER;
    }
    return vaapi_work_buffer(self, VAEncMiscParameterBufferType, size, 1, bytes);
}

/* The picture's parameters say where the stream goes. */
static void set_coded(const struct vaapi_work *self, const struct vaapi_task *task,
                      const struct backend_buffer *buffer)
{
    for (size_t i = 0; i < sizeof(encode_coded) / sizeof(encode_coded[0]); i++) {
        if (encode_coded[i].codec == self->info.codec)
            memcpy(buffer->bytes + encode_coded[i].offset, &task->coded, sizeof(task->coded));
    }
}

static int encode_render(struct vaapi_work *self, struct vaapi_task *task, VASurfaceID *ret_target)
{
    const struct backend_work *work = task->job->work;
    int err = make_coded(self, task);

    for (uint32_t i = 0; i < work->buffer_count && !err; i++) {
        const struct backend_buffer *buffer = &work->buffers[i];

        if (buffer->type == VAEncPictureParameterBufferType)
            set_coded(self, task, buffer);
        if (buffer->type == VAEncMiscParameterBufferType)
            err = add_misc(self, buffer);
        else
            err =
                vaapi_work_buffer(self, (VABufferType)buffer->type, buffer->size, 1, buffer->bytes);
    }
    *ret_target = task->inputs[0].id;
    return err;
}

/* The stream, from the host's buffer to the guest's. */
static int copy_coded(struct vaapi_work *self, const struct vaapi_task *task, uint32_t *ret_size,
                      uint32_t *ret_status)
{
    const struct backend_work *work = task->job->work;
    const uint32_t room = work->coded_room - VD_CODED_HEAD;
    uint32_t size = 0, status = 0;
    VACodedBufferSegment *segment;
    void *list;
    int err = 0;

    if (vaMapBuffer(self->device->display, task->coded, &list))
        return VD_ERR_ENCODE;
    for (segment = list; segment && !err; segment = segment->next) {
        status |= segment->status;
        if (segment->status & VA_CODED_BUF_STATUS_SLICE_OVERFLOW_MASK ||
            segment->size > room - size) {
            err = VD_ERR_ROOM;
        } else if (segment->size) {
            memcpy(work->coded + VD_CODED_HEAD + size, segment->buf, segment->size);
            size += segment->size;
        }
    }
    vaUnmapBuffer(self->device->display, task->coded);
    *ret_size = size;
    *ret_status = status;
    return err;
}

/* Any error of the driver's is one of this picture; the next may be fine. */
static int encode_finish(struct vaapi_work *self, struct vaapi_task *task)
{
    VADisplay display = self->device->display;
    struct backend_job *job = task->job;
    uint32_t size = 0, status = 0;
    int err = job->status ? VD_ERR_ENCODE : 0;

    if (!err) {
        VAStatus sync = vaSyncBuffer(display, task->coded, VA_TIMEOUT_INFINITE);

        /* Drivers from before it was there. */
        if (sync == VA_STATUS_ERROR_UNIMPLEMENTED)
            sync = vaSyncSurface(display, task->inputs[0].id);
        /* Where it did not fit, the buffer tells; else there is nothing in it. */
        err = copy_coded(self, task, &size, &status);
        if (sync && !err)
            err = VD_ERR_ENCODE;
    }
    coded_head(job->work, size, status, err);
    job->coded_size = err ? 0 : size;
    return err;
}

static void encode_release(struct vaapi_work *self, struct vaapi_task *task)
{
    if (task->coded != VA_INVALID_ID)
        vaDestroyBuffer(self->device->display, task->coded);
    task->coded = VA_INVALID_ID;
    if (task->coded_bytes)
        pool_give(self->info.pool, task->coded_bytes);
    task->coded_bytes = 0;
}

/* Regions that a driver looks at: one picture is rendered at a time. */
static int encode_create(struct vaapi_work *self)
{
    self->state = calloc(VD_MAX_ROI, sizeof(VAEncROI));
    return self->state ? 0 : VD_ERR_MEMORY;
}

static void encode_destroy(struct vaapi_work *self)
{
    free(self->state);
}

const struct vaapi_work_kind vaapi_encode_kind = {
    .create = encode_create,
    .destroy = encode_destroy,
    .prepare = encode_prepare,
    .render = encode_render,
    .finish = encode_finish,
    .release = encode_release,
};
