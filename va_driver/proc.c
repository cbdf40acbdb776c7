/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "driver.h"

/*
 * Video processing: from libva's structs, which are full of pointers, to their twins in the upload
 * zone. All is read in vaRenderPicture: apps point to their stack and reuse buffers as soon as it
 * returns (vacompositor, gstreamer-vaapi).
 */

_Static_assert(sizeof(float) == sizeof(uint32_t), "floats travel as their bits");

static uint32_t float_bits(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static void put_rectangle(uint32_t *to, const VARectangle *r)
{
    to[0] = (uint32_t)(int32_t)r->x;
    to[1] = (uint32_t)(int32_t)r->y;
    to[2] = r->width;
    to[3] = r->height;
}

static void put_color(uint32_t *to, const VAProcColorProperties *c)
{
    to[0] = c->chroma_sample_location;
    to[1] = c->color_range;
    to[2] = c->colour_primaries;
    to[3] = c->transfer_characteristics;
    to[4] = c->matrix_coefficients;
}

/* False: no metadata of this kind. */
static bool put_hdr(uint32_t *to, const VAHdrMetaData *data)
{
    VAHdrMetaDataHDR10 hdr = {0};

    if (!data || data->metadata_type != VAProcHighDynamicRangeMetadataHDR10 || !data->metadata ||
        !data->metadata_size)
        return false;
    memcpy(&hdr, data->metadata,
           data->metadata_size < sizeof(hdr) ? data->metadata_size : sizeof(hdr));
    for (int i = 0; i < 3; i++) {
        to[i] = hdr.display_primaries_x[i];
        to[3 + i] = hdr.display_primaries_y[i];
    }
    to[6] = hdr.white_point_x;
    to[7] = hdr.white_point_y;
    to[8] = hdr.max_display_mastering_luminance;
    to[9] = hdr.min_display_mastering_luminance;
    to[10] = hdr.max_content_light_level;
    to[11] = hdr.max_pic_average_light_level;
    return true;
}

/* A struct from the start of one element; what an older app's lacks is zero. */
#define FILTER_GET(type, name, bytes, size) \
    type name = {0};                        \
    memcpy(&name, bytes, (size) < sizeof(name) ? (size) : sizeof(name))

static VAStatus put_filter(struct vd_proc_filter *to, const uint8_t *bytes, uint32_t size)
{
    FILTER_GET(VAProcFilterParameterBufferBase, base, bytes, size);
    *to = (struct vd_proc_filter){.type = (uint32_t)base.type};

    switch (base.type) {
    case VAProcFilterDeinterlacing: {
        FILTER_GET(VAProcFilterParameterBufferDeinterlacing, f, bytes, size);
        to->algorithm = (uint32_t)f.algorithm;
        to->filter_flags = f.flags;
        return VA_STATUS_SUCCESS;
    }
    case VAProcFilterColorBalance: {
        FILTER_GET(VAProcFilterParameterBufferColorBalance, f, bytes, size);
        to->algorithm = (uint32_t)f.attrib;
        to->value = float_bits(f.value);
        return VA_STATUS_SUCCESS;
    }
    case VAProcFilterHighDynamicRangeToneMapping: {
        FILTER_GET(VAProcFilterParameterBufferHDRToneMapping, f, bytes, size);
        put_hdr(to->hdr, &f.data);
        return VA_STATUS_SUCCESS;
    }
    case VAProcFilterNoiseReduction:
    case VAProcFilterSharpening: {
        FILTER_GET(VAProcFilterParameterBuffer, f, bytes, size);
        to->value = float_bits(f.value);
        return VA_STATUS_SUCCESS;
    }
    default:
        return VA_STATUS_ERROR_UNSUPPORTED_FILTER;
    }
}

/* All elements of all filter buffers of a pipeline. */
static VAStatus put_filters(struct driver *driver, const VAProcPipelineParameterBuffer *p,
                            struct vd_proc_filter *filters, uint32_t *ret_count)
{
    VAStatus status = VA_STATUS_SUCCESS;
    uint32_t n = 0;

    if (p->num_filters && !p->filters)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    for (uint32_t i = 0; i < p->num_filters && !status; i++) {
        struct buffer *buffer = object_find(&driver->buffers, p->filters[i]);

        if (!buffer || buffer->type != VAProcFilterParameterBufferType || !buffer->heap)
            return VA_STATUS_ERROR_INVALID_BUFFER;
        for (uint32_t j = 0; j < buffer->count && !status; j++) {
            if (n == VD_MAX_PROC_FILTERS)
                return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
            status =
                put_filter(&filters[n++], buffer->heap + (size_t)j * buffer->size, buffer->size);
        }
    }
    *ret_count = n;
    return status;
}

/* A surface that is read: known to the host, and noted for surface_wait_readers. */
static VAStatus add_input(struct driver *driver, struct context *context, VASurfaceID id)
{
    struct surface *surface = object_find(&driver->surfaces, id);
    int err;

    if (!surface)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    if (context->input_count == context->input_room) {
        uint32_t room = context->input_room ? 2 * context->input_room : 8;
        struct surface **inputs = realloc(context->inputs, room * sizeof(*inputs));

        if (!inputs)
            return VA_STATUS_ERROR_ALLOCATION_FAILED;
        context->inputs = inputs;
        context->input_room = room;
    }
    err = surface->host == context->host ? 0 : surface_register(driver, surface);
    if (err)
        return driver_status(err);
    context->inputs[context->input_count++] = object_ref(surface);
    return VA_STATUS_SUCCESS;
}

static VAStatus put_references(struct driver *driver, struct context *context,
                               const VASurfaceID *from, uint32_t count, uint32_t *to,
                               uint32_t *ret_count)
{
    VAStatus status = VA_STATUS_SUCCESS;
    uint32_t n = 0;

    if (count && !from)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    /* At the ends of a stream apps leave out, or pad with, what is not there. */
    for (uint32_t i = 0; i < count && n < VD_MAX_PROC_REFS && !status; i++) {
        if (from[i] == VA_INVALID_SURFACE)
            continue;
        status = add_input(driver, context, from[i]);
        to[n++] = from[i];
    }
    *ret_count = n;
    return status;
}

static VAStatus translate(struct driver *driver, struct context *context,
                          const VAProcPipelineParameterBuffer *p, struct vd_proc_pipeline *to)
{
    VAStatus status = add_input(driver, context, p->surface);

    *to = (struct vd_proc_pipeline){
        .surface = p->surface,
        .surface_standard = (uint32_t)p->surface_color_standard,
        .output_standard = (uint32_t)p->output_color_standard,
        .background = p->output_background_color,
        .pipeline_flags = p->pipeline_flags,
        .filter_flags = p->filter_flags,
        .rotation = p->rotation_state,
        .mirror = p->mirror_state,
    };
    if (p->num_additional_outputs)
        return VA_STATUS_ERROR_UNIMPLEMENTED; /* the caps say there are none */
    if (p->surface_region) {
        put_rectangle(to->source, p->surface_region);
        to->flags |= VD_PROC_SOURCE;
    }
    if (p->output_region) {
        put_rectangle(to->dest, p->output_region);
        to->flags |= VD_PROC_DEST;
    }
    if (p->blend_state) {
        to->blend_flags = p->blend_state->flags;
        to->global_alpha = float_bits(p->blend_state->global_alpha);
        to->min_luma = float_bits(p->blend_state->min_luma);
        to->max_luma = float_bits(p->blend_state->max_luma);
        to->flags |= VD_PROC_BLEND;
    }
    put_color(to->input_color, &p->input_color_properties);
    put_color(to->output_color, &p->output_color_properties);
    if (put_hdr(to->output_hdr, p->output_hdr_metadata))
        to->flags |= VD_PROC_OUTPUT_HDR;
    if (!status)
        status = put_references(driver, context, p->forward_references, p->num_forward_references,
                                to->forward, &to->forward_count);
    if (!status)
        status = put_references(driver, context, p->backward_references, p->num_backward_references,
                                to->backward, &to->backward_count);
    return status;
}

VAStatus proc_render(struct driver *driver, struct context *context, const struct buffer *buffer)
{
    struct vd_proc_filter filters[VD_MAX_PROC_FILTERS];
    VAProcPipelineParameterBuffer p = {0};
    struct vd_proc_pipeline twin;
    struct buffer *own;
    uint32_t size;
    uint8_t *to;
    VAStatus status;

    /* Filters belong to the pipelines that name them; some apps render them, too. */
    if (buffer->type == VAProcFilterParameterBufferType)
        return VA_STATUS_SUCCESS;
    if (context->pending_count >= VD_MAX_PIPELINES)
        return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
    memcpy(&p, buffer->heap, buffer->size < sizeof(p) ? buffer->size : sizeof(p));
    status = translate(driver, context, &p, &twin);
    if (!status)
        status = put_filters(driver, &p, filters, &twin.filter_count);
    if (status)
        return status;
    size = (uint32_t)(sizeof(twin) + twin.filter_count * sizeof(filters[0]));
    own = context_own_buffer(driver, context, VAProcPipelineParameterBufferType, size);
    if (!own)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    to = own->host->arena.base + own->offset;
    memcpy(to, &twin, sizeof(twin));
    memcpy(to + sizeof(twin), filters, twin.filter_count * sizeof(filters[0]));
    return VA_STATUS_SUCCESS;
}
