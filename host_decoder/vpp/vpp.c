/* SPDX-License-Identifier: MIT */
#include "vpp.h"

#include <stdio.h>
#include <stdlib.h>
#include <va/va.h>
#include <va/va_vpp.h>
#include <viaduct/errors.h>

#include "vpp_blend.h"
#include "vpp_deinterlace.h"
#include "vpp_filters.h"
#include "vpp_graph.h"
#include "vpp_input.h"
#include "vpp_lut.h"
#include "vpp_plan.h"
#include "vpp_scale.h"
#include "vpp_slices.h"
#include "vpp_state.h"

#define MAX_THREADS 64

/* Stands for the memory of all frames that are not ours. */
static uint8_t lent[1];

static void give_back(void *opaque, uint8_t *data)
{
    (void)opaque;
    (void)data;
}

void vpp_destroy(struct vpp *vpp)
{
    if (!vpp)
        return;
    vpp_deinterlace_finish(vpp);
    vpp_graph_finish(vpp);
    vpp_scale_finish(vpp);
    vpp_lut_finish(vpp);
    vpp_filters_finish(vpp);
    vpp_slices_destroy(vpp->slices);
    for (int i = 0; i < VPP_WRAPS; i++)
        av_frame_free(&vpp->wrap[i]);
    for (int i = 0; i < VPP_SCRATCHES; i++)
        av_frame_free(&vpp->scratch[i]);
    av_buffer_unref(&vpp->lender);
    free(vpp);
}

int vpp_create(int threads, struct vpp **ret_vpp)
{
    struct vpp *vpp = calloc(1, sizeof(*vpp));

    if (!vpp)
        return VD_ERR_MEMORY;
    vpp->threads = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
    vpp->lender = av_buffer_create(lent, sizeof(lent), give_back, NULL, AV_BUFFER_FLAG_READONLY);
    vpp->slices = vpp_slices_create(vpp->threads);
    if (!vpp->lender || !vpp->slices)
        goto fail;
    for (int i = 0; i < VPP_SCRATCHES; i++) {
        vpp->scratch[i] = av_frame_alloc();
        if (!vpp->scratch[i])
            goto fail;
    }
    for (int i = 0; i < VPP_WRAPS; i++) {
        vpp->wrap[i] = av_frame_alloc();
        if (!vpp->wrap[i])
            goto fail;
        /* The libraries keep references to frames, and copy what has none. */
        vpp->wrap[i]->buf[0] = i == VPP_WRAP_FIELD ? NULL : av_buffer_ref(vpp->lender);
        if (i != VPP_WRAP_FIELD && !vpp->wrap[i]->buf[0])
            goto fail;
    }
    *ret_vpp = vpp;
    return 0;
fail:
    vpp_destroy(vpp);
    return VD_ERR_MEMORY;
}

static bool needs_planes(const struct vpp_plan *plan)
{
    return plan->denoise > 0 || plan->sharpen > 0 || plan->balanced;
}

/* The input, deinterlaced if that is asked for; in planes if filters want them. */
static int take_input(struct vpp *vpp, const struct vpp_plan *plan,
                      const struct vpp_pipeline *pipeline, AVFrame **ret_frame)
{
    AVFrame *frame = NULL;
    int err = 0;

    if (plan->deinterlace != VAProcDeinterlacingNone &&
        plan->deinterlace != VAProcDeinterlacingWeave)
        err = vpp_deinterlace(vpp, plan, pipeline, &frame);
    else if (needs_planes(plan) || plan->from->direct == AV_PIX_FMT_NONE ||
             vpp_format_loose(plan->from))
        err = vpp_input_planes(vpp, VPP_SCRATCH_CURRENT, VPP_WRAP_INPUT, plan->from,
                               &pipeline->input, &plan->from_color, &frame);
    else
        frame = vpp_frame_wrap(vpp, VPP_WRAP_INPUT, plan->from, &pipeline->input);
    if (!err && needs_planes(plan))
        err = vpp_input_frame_planes(vpp, VPP_SCRATCH_WORK, frame, plan->from->planar,
                                     &plan->from_color, &frame);
    if (err)
        return err;
    if (plan->source.width != frame->width || plan->source.height != frame->height)
        frame = vpp_frame_part(vpp, VPP_WRAP_CROP, frame, &plan->source);
    *ret_frame = frame;
    return 0;
}

static int filter(struct vpp *vpp, const struct vpp_plan *plan, AVFrame *frame, AVFrame **ret_frame)
{
    int err = 0;

    if (plan->denoise > 0)
        err = vpp_filters_denoise(vpp, plan, frame, &frame);
    if (!err && plan->sharpen > 0)
        err = vpp_filters_sharpen(vpp, plan, frame, &frame);
    if (!err && plan->balanced)
        err = vpp_filters_balance(vpp, plan, plan->from_color.full_range, frame, &frame);
    if (!err && (plan->transpose || plan->flip_x || plan->flip_y))
        err = vpp_filters_turn(vpp, plan, frame, &frame);
    *ret_frame = frame;
    return err;
}

/* Planes that hold all that the target can show, for the table of colours. */
static enum AVPixelFormat middle_format(const struct vpp_plan *plan)
{
    const enum AVPixelFormat target = plan->to->planar;
    const int bits = vpp_format_bits(plan->from->planar);
    const bool fine = plan->to->rgb || plan->blend;

    if (plan->pixel_alpha)
        return vpp_blend_layer(target);
    if (bits > 10 || vpp_format_bits(target) > 10)
        return fine ? AV_PIX_FMT_YUV444P16LE : AV_PIX_FMT_YUV420P16LE;
    if (bits > 8 || vpp_format_bits(target) > 8) {
        if (fine || !vpp_format_shift_w(target))
            return AV_PIX_FMT_YUV444P10LE;
        return vpp_format_shift_h(target) ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV422P10LE;
    }
    return fine ? AV_PIX_FMT_YUV444P : target;
}

/* Fine samples that become bytes do so in the table. */
static enum AVPixelFormat narrowed(const struct vpp_plan *plan, enum AVPixelFormat format)
{
    if (plan->blend || vpp_format_bits(plan->to->planar) > 8)
        return format;
    switch (format) {
    case AV_PIX_FMT_YUV420P10LE:
    case AV_PIX_FMT_YUV420P16LE:
        return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUV422P10LE:
        return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUV444P10LE:
        return AV_PIX_FMT_YUV444P;
    default:
        return format;
    }
}

/* Another matrix alone is faster with zimg than with a table. */
static int rematrix(struct vpp *vpp, const struct vpp_plan *plan, AVFrame *from,
                    AVFrame **ret_frame)
{
    const int mask_x = (1 << vpp_format_shift_w(from->format)) - 1;
    const int mask_y = (1 << vpp_format_shift_h(from->format)) - 1;
    char text[96];

    /* zimg wants whole samples of chroma. */
    if (!vpp_graph_have("zscale") || from->width & mask_x || from->height & mask_y)
        return VD_ERR_UNSUPPORTED;
    snprintf(text, sizeof(text), "zscale=min=%d:m=%d:rin=%s:r=%s", plan->from_color.matrix,
             plan->to_color.matrix, plan->from_color.full_range ? "full" : "limited",
             plan->to_color.full_range ? "full" : "limited");
    return vpp_graph_run(vpp, text, from, plan->stream, ret_frame);
}

/* Scales to the size of the destination and converts the colours there. */
static int recolor(struct vpp *vpp, const struct vpp_plan *plan, AVFrame *from, AVFrame **ret_frame)
{
    const enum AVPixelFormat format = middle_format(plan);
    AVFrame *middle, *to;
    int err;

    middle =
        vpp_frame_scratch(vpp, VPP_SCRATCH_MIDDLE, format, plan->dest.width, plan->dest.height);
    to = vpp_frame_scratch(vpp, VPP_SCRATCH_COLOR, narrowed(plan, format), plan->dest.width,
                           plan->dest.height);
    if (!middle || !to)
        return VD_ERR_MEMORY;
    if (from->format != (int)format || from->width != middle->width ||
        from->height != middle->height) {
        err = vpp_scale(vpp, from, &plan->from_color, middle, &plan->from_color, plan->quality);
        if (err)
            return err;
        from = middle;
    }
    if (!plan->light && !rematrix(vpp, plan, from, ret_frame))
        return 0;
    *ret_frame = to;
    return vpp_lut_run(vpp, plan, &plan->from_color, from, to);
}

/* Chroma of a place that begins between two samples has to be mixed, too. */
static bool needs_blend(const struct vpp_plan *plan, const AVFrame *target)
{
    const struct vpp_rect *dest = &plan->dest;
    const int mask_x = (1 << vpp_format_shift_w(target->format)) - 1;
    const int mask_y = (1 << vpp_format_shift_h(target->format)) - 1;

    return plan->blend || dest->x < 0 || dest->y < 0 || dest->x + dest->width > target->width ||
           dest->y + dest->height > target->height || dest->x & mask_x || dest->y & mask_y ||
           (dest->width & mask_x && dest->x + dest->width < target->width) ||
           (dest->height & mask_y && dest->y + dest->height < target->height);
}

static int place(struct vpp *vpp, const struct vpp_plan *plan, const struct vpp_color *color,
                 AVFrame *from, AVFrame *target)
{
    AVFrame *layer;
    int err;

    if (!needs_blend(plan, target)) {
        if (plan->dest.width != target->width || plan->dest.height != target->height)
            target = vpp_frame_part(vpp, VPP_WRAP_PLACE, target, &plan->dest);
        return vpp_scale(vpp, from, color, target, &plan->to_color, plan->quality);
    }
    layer = vpp_frame_scratch(vpp, VPP_SCRATCH_LAYER, vpp_blend_layer(target->format),
                              plan->dest.width, plan->dest.height);
    if (!layer)
        return VD_ERR_MEMORY;
    err = vpp_scale(vpp, from, color, layer, &plan->to_color, plan->quality);
    if (!err)
        vpp_blend_draw(vpp, plan, layer, target, plan->dest.x, plan->dest.y);
    return err;
}

/* Whether no pixel of the target keeps the background. */
static bool covers_all(const struct vpp_plan *plan, const struct pixels *target)
{
    return !plan->nothing && !plan->blend && plan->dest.x <= 0 && plan->dest.y <= 0 &&
           plan->dest.x + plan->dest.width >= (int)target->width &&
           plan->dest.y + plan->dest.height >= (int)target->height;
}

/* Nothing is asked for: the memory is copied, with what no filter knows, like alpha of AYUV. */
static bool is_copy(const struct vpp_plan *plan, const struct vpp_pipeline *pipeline,
                    const struct pixels *target)
{
    const struct pixels *input = &pipeline->input;

    return plan->from == plan->to && covers_all(plan, target) &&
           plan->source.width == (int)input->width && plan->source.height == (int)input->height &&
           plan->dest.width == (int)input->width && plan->dest.height == (int)input->height &&
           !plan->blend && !plan->recolor && !needs_planes(plan) && !plan->transpose &&
           !plan->flip_x && !plan->flip_y &&
           plan->from_color.full_range == plan->to_color.full_range &&
           (plan->deinterlace == VAProcDeinterlacingNone ||
            plan->deinterlace == VAProcDeinterlacingWeave);
}

static int draw(struct vpp *vpp, const struct vpp_plan *plan, const struct vpp_pipeline *pipeline,
                AVFrame *target)
{
    struct vpp_color color = plan->from_color;
    AVFrame *frame;
    int err;

    if (plan->nothing)
        return 0;
    err = take_input(vpp, plan, pipeline, &frame);
    if (!err)
        err = filter(vpp, plan, frame, &frame);
    if (!err && plan->recolor) {
        err = recolor(vpp, plan, frame, &frame);
        color = plan->to_color;
    }
    return err ? err : place(vpp, plan, &color, frame, target);
}

/* What the lowest picture does not cover, at least. */
static void fill_background(struct vpp *vpp, const struct vpp_plan *plan, AVFrame *frame,
                            uint32_t argb)
{
    const int width = frame->width, height = frame->height;
    /* In whole samples of chroma. */
    const int x0 = (plan->dest.x + 1) & ~1, x1 = (plan->dest.x + plan->dest.width) & ~1;
    const int y0 = (plan->dest.y + 1) & ~1, y1 = (plan->dest.y + plan->dest.height) & ~1;
    const struct vpp_rect bands[] = {
        {0, 0, width, y0},
        {0, y1, width, height - y1},
        {0, y0, x0, y1 - y0},
        {x1, y0, width - x1, y1 - y0},
    };

    if (plan->nothing || plan->blend || x0 < 0 || y0 < 0 || x1 > width || y1 > height || x0 >= x1 ||
        y0 >= y1) {
        vpp_blend_fill(frame, &plan->to_color, argb);
        return;
    }
    for (size_t i = 0; i < sizeof(bands) / sizeof(bands[0]); i++) {
        if (bands[i].width && bands[i].height)
            vpp_blend_fill(vpp_frame_part(vpp, VPP_WRAP_PLACE, frame, &bands[i]), &plan->to_color,
                           argb);
    }
}

bool vpp_keeps(const struct vd_proc_pipeline *lowest)
{
    return VD_PROC_KEEPS(lowest->background);
}

/* What the target held before, as if it was the lowest picture. */
static int draw_under(struct vpp *vpp, const struct pixels *target, const struct pixels *under,
                      AVFrame *frame)
{
    const struct vd_proc_pipeline params = {0};
    const struct vpp_pipeline pipeline = {.params = &params, .input = *under};
    struct vpp_plan plan;
    int err = vpp_plan_make(&pipeline, target, 0, &plan);

    /* In place: it is there. */
    if (!err && (under->bytes != target->bytes || plan.to->direct == AV_PIX_FMT_NONE))
        err = draw(vpp, &plan, &pipeline, frame);
    return err;
}

int vpp_run(struct vpp *vpp, const struct pixels *target, const struct pixels *under,
            const struct vpp_pipeline *pipelines, uint32_t count)
{
    struct vpp_plan plan;
    AVFrame *frame;
    int err;

    if (!count || count > VD_MAX_PIPELINES)
        return VD_ERR_PARAMETER;
    for (uint32_t i = 0; i < count; i++) {
        err = vpp_plan_make(&pipelines[i], target, (int)i, &plan);
        if (err)
            return err;
        if (i)
            continue;
        if (count == 1 && is_copy(&plan, &pipelines[0], target)) {
            format_copy(target->format, target->width, target->height, target->bytes,
                        target->layout, pipelines[0].input.bytes, pipelines[0].input.layout);
            return 0;
        }
        if (plan.to->direct != AV_PIX_FMT_NONE)
            frame = vpp_frame_wrap(vpp, VPP_WRAP_TARGET, plan.to, target);
        else
            frame = vpp_frame_scratch(vpp, VPP_SCRATCH_TARGET, plan.to->planar, (int)target->width,
                                      (int)target->height);
        if (!frame)
            return VD_ERR_MEMORY;
        if (covers_all(&plan, target))
            continue;
        if (!under || !vpp_keeps(pipelines[0].params))
            fill_background(vpp, &plan, frame, pipelines[0].params->background);
        else
            err = draw_under(vpp, target, under, frame);
        if (err)
            return err;
    }
    for (uint32_t i = 0; i < count; i++) {
        err = vpp_plan_make(&pipelines[i], target, (int)i, &plan);
        if (!err)
            err = draw(vpp, &plan, &pipelines[i], frame);
        if (err)
            return err;
    }
    if (plan.to->direct == AV_PIX_FMT_NONE)
        vpp_frame_pack(plan.to, frame, target);
    return 0;
}
