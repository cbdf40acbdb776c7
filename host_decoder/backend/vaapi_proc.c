/* SPDX-License-Identifier: MIT */
#include "vaapi_proc.h"

#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

/* Video processing: libva's structs again, with all that they point to. */

/* A pipeline, and what its pointers point to until the picture was handed over. */
struct pipeline {
    VAProcPipelineParameterBuffer param;
    VARectangle source, dest;
    VABlendState blend;
    VABufferID filters[VD_MAX_PROC_FILTERS];
    VAHdrMetaDataHDR10 input_hdr[VD_MAX_PROC_FILTERS], output_hdr;
    VAHdrMetaData output;
    VASurfaceID forward[VD_MAX_PROC_REFS], backward[VD_MAX_PROC_REFS];
};

struct proc_state {
    struct vaapi_range ranges[VAAPI_RANGES];
    struct pipeline pipelines[VD_MAX_PIPELINES];
};

static float bits_float(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static VARectangle get_rectangle(const uint32_t *v)
{
    return (VARectangle){(int16_t)v[0], (int16_t)v[1], (uint16_t)v[2], (uint16_t)v[3]};
}

static VAProcColorProperties get_color(const uint32_t *v)
{
    return (VAProcColorProperties){
        .chroma_sample_location = (uint8_t)v[0],
        .color_range = (uint8_t)v[1],
        .colour_primaries = (uint8_t)v[2],
        .transfer_characteristics = (uint8_t)v[3],
        .matrix_coefficients = (uint8_t)v[4],
    };
}

static VAHdrMetaData get_hdr(const uint32_t *v, VAHdrMetaDataHDR10 *hdr)
{
    *hdr = (VAHdrMetaDataHDR10){
        .white_point_x = (uint16_t)v[6],
        .white_point_y = (uint16_t)v[7],
        .max_display_mastering_luminance = v[8],
        .min_display_mastering_luminance = v[9],
        .max_content_light_level = (uint16_t)v[10],
        .max_pic_average_light_level = (uint16_t)v[11],
    };
    for (int i = 0; i < 3; i++) {
        hdr->display_primaries_x[i] = (uint16_t)v[i];
        hdr->display_primaries_y[i] = (uint16_t)v[3 + i];
    }
    return (VAHdrMetaData){
        .metadata_type = VAProcHighDynamicRangeMetadataHDR10,
        .metadata = hdr,
        .metadata_size = sizeof(*hdr),
    };
}

/* Elements of colour balance that follow each other are one buffer's, as the API wants it. */
static int add_balance(struct vaapi_work *self, const struct vd_proc_filter *filters,
                       uint32_t count, uint32_t *ret_used)
{
    VAProcFilterParameterBufferColorBalance list[VD_MAX_PROC_FILTERS] = {{0}};
    const struct proc_state *state = self->state;
    uint32_t n = 0;

    for (; n < count && filters[n].type == VAProcFilterColorBalance; n++) {
        list[n].type = VAProcFilterColorBalance;
        list[n].attrib = (VAProcColorBalanceType)filters[n].algorithm;
        list[n].value = vaapi_proc_value(state->ranges, filters[n].type, filters[n].algorithm,
                                         bits_float(filters[n].value));
    }
    *ret_used = n;
    return vaapi_work_aside(self, VAProcFilterParameterBufferType, sizeof(list[0]), n, list);
}

static int add_filter(struct vaapi_work *self, const struct vd_proc_filter *filter,
                      VAHdrMetaDataHDR10 *hdr)
{
    const struct proc_state *state = self->state;

    switch (filter->type) {
    case VAProcFilterDeinterlacing: {
        VAProcFilterParameterBufferDeinterlacing f = {
            .type = VAProcFilterDeinterlacing,
            .algorithm = (VAProcDeinterlacingType)filter->algorithm,
            .flags = filter->filter_flags,
        };

        return vaapi_work_aside(self, VAProcFilterParameterBufferType, sizeof(f), 1, &f);
    }
    case VAProcFilterHighDynamicRangeToneMapping: {
        VAProcFilterParameterBufferHDRToneMapping f = {
            .type = VAProcFilterHighDynamicRangeToneMapping,
            .data = get_hdr(filter->hdr, hdr),
        };

        return vaapi_work_aside(self, VAProcFilterParameterBufferType, sizeof(f), 1, &f);
    }
    case VAProcFilterNoiseReduction:
    case VAProcFilterSharpening: {
        VAProcFilterParameterBuffer f = {
            .type = (VAProcFilterType)filter->type,
            .value = vaapi_proc_value(state->ranges, filter->type, VAProcColorBalanceNone,
                                      bits_float(filter->value)),
        };

        return vaapi_work_aside(self, VAProcFilterParameterBufferType, sizeof(f), 1, &f);
    }
    default:
        return VD_ERR_PARAMETER;
    }
}

static int add_filters(struct vaapi_work *self, const struct vd_proc_pipeline *from,
                       struct pipeline *to)
{
    const struct vd_proc_filter *filters = (const struct vd_proc_filter *)(from + 1);
    uint32_t used, n = 0;
    int err = 0;

    for (uint32_t i = 0; i < from->filter_count && !err; i += used) {
        used = 1;
        if (filters[i].type == VAProcFilterColorBalance)
            err = add_balance(self, &filters[i], from->filter_count - i, &used);
        else
            err = add_filter(self, &filters[i], &to->input_hdr[i]);
        if (!err)
            to->filters[n++] = self->aside.ids[self->aside.count - 1];
    }
    to->param.filters = n ? to->filters : NULL;
    to->param.num_filters = n;
    return err;
}

/* `inputs`: the picture, then its references. */
static void set_inputs(const struct vd_proc_pipeline *from, const struct vaapi_input *inputs,
                       struct pipeline *to)
{
    to->param.surface = (inputs++)->id;
    for (uint32_t i = 0; i < from->forward_count; i++)
        to->forward[i] = (inputs++)->id;
    for (uint32_t i = 0; i < from->backward_count; i++)
        to->backward[i] = (inputs++)->id;
    to->param.forward_references = from->forward_count ? to->forward : NULL;
    to->param.num_forward_references = from->forward_count;
    to->param.backward_references = from->backward_count ? to->backward : NULL;
    to->param.num_backward_references = from->backward_count;
}

static void set_param(const struct vd_proc_pipeline *from, struct pipeline *to)
{
    to->source = get_rectangle(from->source);
    to->dest = get_rectangle(from->dest);
    to->blend = (VABlendState){
        .flags = from->blend_flags,
        .global_alpha = bits_float(from->global_alpha),
        .min_luma = bits_float(from->min_luma),
        .max_luma = bits_float(from->max_luma),
    };
    to->output = get_hdr(from->output_hdr, &to->output_hdr);
    to->param = (VAProcPipelineParameterBuffer){
        .surface_region = from->flags & VD_PROC_SOURCE ? &to->source : NULL,
        .surface_color_standard = (VAProcColorStandardType)from->surface_standard,
        .output_region = from->flags & VD_PROC_DEST ? &to->dest : NULL,
        .output_background_color = from->background,
        .output_color_standard = (VAProcColorStandardType)from->output_standard,
        .pipeline_flags = from->pipeline_flags,
        .filter_flags = from->filter_flags,
        .rotation_state = from->rotation,
        .mirror_state = from->mirror,
        .blend_state = from->flags & VD_PROC_BLEND ? &to->blend : NULL,
        .input_color_properties = get_color(from->input_color),
        .output_color_properties = get_color(from->output_color),
        .output_hdr_metadata = from->flags & VD_PROC_OUTPUT_HDR ? &to->output : NULL,
    };
}

static int proc_prepare(struct vaapi_work *self, struct vaapi_task *task)
{
    struct vaapi_surface *target;
    int err = vaapi_surface_target(self->device, task->job->surface, &target);

    if (!err)
        task->job->device = device_frame_ref(&target->frame);
    return err;
}

static int proc_render(struct vaapi_work *self, struct vaapi_task *task, VASurfaceID *ret_target)
{
    const struct backend_work *work = task->job->work;
    const struct vaapi_input *input = task->inputs;
    struct proc_state *state = self->state;
    int err = 0;

    for (uint32_t i = 0; i < work->pipeline_count && !err; i++) {
        const struct vd_proc_pipeline *from = work->pipelines[i];
        struct pipeline *to = &state->pipelines[i];

        set_param(from, to);
        set_inputs(from, input, to);
        input += 1 + from->forward_count + from->backward_count;
        err = add_filters(self, from, to);
        if (!err)
            err = vaapi_work_buffer(self, VAProcPipelineParameterBufferType, sizeof(to->param), 1,
                                    &to->param);
    }
    *ret_target = ((struct vaapi_surface *)task->job->device)->id;
    return err;
}

static int proc_finish(struct vaapi_work *self, struct vaapi_task *task)
{
    const struct vaapi_surface *target = (struct vaapi_surface *)task->job->device;

    return task->job->status ? task->job->status
                             : vaapi_error(vaSyncSurface(self->device->display, target->id));
}

static int proc_create(struct vaapi_work *self)
{
    struct proc_state *state = calloc(1, sizeof(*state));

    if (!state)
        return VD_ERR_MEMORY;
    vaapi_proc_ranges(self->device, self->id, state->ranges);
    self->state = state;
    return 0;
}

static void proc_destroy(struct vaapi_work *self)
{
    free(self->state);
}

const struct vaapi_work_kind vaapi_proc_kind = {
    .create = proc_create,
    .destroy = proc_destroy,
    .prepare = proc_prepare,
    .render = proc_render,
    .finish = proc_finish,
};
