/* SPDX-License-Identifier: MIT */
#include "vpp_deinterlace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <va/va.h>
#include <va/va_vpp.h>
#include <viaduct/errors.h>

#include "vpp_graph.h"
#include "vpp_input.h"
#include "vpp_rows.h"

/* Samples that tell whether a picture is still the same: places in both directions. */
#define PRINT_PLACES 32

/* The filter needs at least as many rows and columns. */
#define LEAST_SIZE 8

/* What the pictures of a call were. Compared as bytes. */
struct fields_key {
    const uint8_t *pictures[3];
    uint64_t prints[3];
    int stream, algorithm, width, height;
    int top_first;
};

/*
 * Programs that want both fields ask twice, with the same pictures. FFmpeg's filters make the
 * first field on the way to the second: once a program is known to want both, both are made at
 * the first call and the second is kept.
 */
struct vpp_fields {
    struct fields_key key; /* of the last call */
    bool both;             /* the program wants both */
    bool ready;            /* `second` belongs to `key` */
    AVFrame *second;
};

void vpp_deinterlace_finish(struct vpp *vpp)
{
    if (vpp->fields)
        av_frame_free(&vpp->fields->second);
    free(vpp->fields);
    vpp->fields = NULL;
}

static struct vpp_fields *fields_get(struct vpp *vpp)
{
    if (!vpp->fields) {
        vpp->fields = calloc(1, sizeof(*vpp->fields));
        if (!vpp->fields)
            return NULL;
        vpp->fields->second = av_frame_alloc();
        if (!vpp->fields->second)
            vpp_deinterlace_finish(vpp);
    }
    return vpp->fields;
}

static uint8_t *row_of(const AVFrame *frame, int plane, int y)
{
    return frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane];
}

/* Lines of the other field are means of their neighbours. */
static int bob(struct vpp *vpp, const struct vpp_plan *plan, AVFrame *from, AVFrame **ret_frame)
{
    AVFrame *to = vpp_frame_scratch(vpp, VPP_SCRATCH_BOB, from->format, from->width, from->height);
    const bool wide = vpp_format_bits(from->format) > 8;

    if (!to)
        return VD_ERR_MEMORY;
    for (int i = 0; i < 4 && to->data[i]; i++) {
        int bytes = vpp_frame_row_bytes(to, i), rows = vpp_frame_rows(to, i);

        for (int y = 0; y < rows; y++) {
            int above = y - 1, below = y + 1;

            if (y % 2 == plan->bottom || rows < 2) {
                memcpy(row_of(to, i, y), row_of(from, i, y), (size_t)bytes);
                continue;
            }
            above = above < 0 ? below : above;
            below = below >= rows ? above : below;
            if (wide)
                vpp_rows()->mean16(row_of(to, i, y), row_of(from, i, above), row_of(from, i, below),
                                   (size_t)bytes / 2);
            else
                vpp_rows()->mean8(row_of(to, i, y), row_of(from, i, above), row_of(from, i, below),
                                  (size_t)bytes);
        }
    }
    *ret_frame = to;
    return 0;
}

static uint64_t print_of(const struct pixels *pixels)
{
    uint32_t bytes = format_row_bytes(pixels->format, 0, pixels->width);
    const uint8_t *first = pixels->bytes + pixels->layout->offset[0];
    uint64_t print = 0;

    for (uint32_t i = 0; i < PRINT_PLACES; i++) {
        const uint8_t *row =
            first + (size_t)(pixels->height * i / PRINT_PLACES) * pixels->layout->pitch[0];

        for (uint32_t j = 0; j < PRINT_PLACES; j++)
            print = print * 0x9e3779b97f4a7c15ull + row[(uint64_t)bytes * j / PRINT_PLACES];
    }
    return print;
}

/* A reference that cannot be one is as good as none. */
static const struct pixels *reference(const struct pixels *input, const struct pixels *refs,
                                      uint32_t count)
{
    if (!count || !refs->bytes || !refs->format || refs->format->fourcc != input->format->fourcc ||
        refs->width != input->width || refs->height != input->height)
        return input;
    return refs;
}

static void set_key(const struct vpp_plan *plan, const struct pixels *const pictures[3],
                    struct fields_key *ret_key)
{
    memset(ret_key, 0, sizeof(*ret_key));
    for (int i = 0; i < 3; i++) {
        ret_key->pictures[i] = pictures[i]->bytes;
        ret_key->prints[i] = print_of(pictures[i]);
    }
    ret_key->stream = plan->stream;
    ret_key->algorithm = plan->deinterlace;
    ret_key->width = (int)pictures[1]->width;
    ret_key->height = (int)pictures[1]->height;
    ret_key->top_first = plan->bottom == plan->second;
}

static void drain(struct vpp_graph *graph)
{
    AVFrame *frame;

    while (!vpp_graph_pull(graph, &frame))
        ;
}

/*
 * Only the middle picture is marked as interlaced: the filter lets the others pass, so that three
 * go in and one gets worked on, and nothing depends on what was there before.
 */
static int push_all(struct vpp *vpp, struct vpp_graph *graph, AVFrame *const frames[3],
                    bool top_first)
{
    for (int i = 0; i < 3; i++) {
        int err = vpp_graph_push(vpp, graph, frames[i], i == 1, top_first);

        if (err)
            return err;
        if (i < 2)
            drain(graph);
    }
    return 0;
}

static int run_filter(struct vpp *vpp, const struct vpp_plan *plan, AVFrame *const frames[3],
                      bool both, AVFrame **ret_first, AVFrame *ret_second)
{
    bool top_first = plan->bottom == plan->second, fresh;
    struct vpp_graph *graph;
    AVFrame *frame;
    char text[96];
    int err;

    snprintf(text, sizeof(text), "%s=mode=%s:parity=auto:deint=interlaced",
             plan->deinterlace == VAProcDeinterlacingMotionCompensated ? "bwdif" : "yadif",
             both ? "send_field" : "send_frame");
    err = vpp_graph_get(vpp, text, frames[1], plan->stream, &graph, &fresh);
    /* What is first in a stream is treated as if it had no neighbours. */
    if (!err && fresh) {
        err = push_all(vpp, graph, frames, top_first);
        drain(graph);
    }
    if (!err)
        err = push_all(vpp, graph, frames, top_first);
    if (err)
        return err;
    err = vpp_graph_pull(graph, &frame);
    if (!err && both) {
        /* The first one stays in the scratch frame's place until it is used. */
        av_frame_unref(vpp->wrap[VPP_WRAP_FIELD]);
        av_frame_move_ref(vpp->wrap[VPP_WRAP_FIELD], frame);
        *ret_first = vpp->wrap[VPP_WRAP_FIELD];
        err = vpp_graph_pull(graph, &frame);
        if (!err) {
            av_frame_unref(ret_second);
            av_frame_move_ref(ret_second, frame);
        }
        return err;
    }
    *ret_first = frame;
    return err;
}

static int adapt(struct vpp *vpp, const struct vpp_plan *plan, const struct vpp_pipeline *pipeline,
                 AVFrame **ret_frame)
{
    const struct pixels *input = &pipeline->input;
    const struct pixels *const pictures[3] = {
        reference(input, pipeline->forward, pipeline->params->forward_count),
        input,
        reference(input, pipeline->backward, pipeline->params->backward_count),
    };
    static const enum vpp_scratch scratches[3] = {VPP_SCRATCH_BEFORE, VPP_SCRATCH_CURRENT,
                                                  VPP_SCRATCH_BEHIND};
    static const enum vpp_wrap wraps[3] = {VPP_WRAP_BEFORE, VPP_WRAP_CURRENT, VPP_WRAP_BEHIND};
    struct vpp_fields *fields = fields_get(vpp);
    struct fields_key key;
    AVFrame *frames[3], *first = NULL;
    bool again;
    int err;

    if (!fields)
        return VD_ERR_MEMORY;
    set_key(plan, pictures, &key);
    again = !memcmp(&key, &fields->key, sizeof(key));
    if (again && plan->second && fields->ready) {
        fields->ready = false;
        *ret_frame = fields->second;
        return 0;
    }
    if (plan->second && again)
        fields->both = true;
    /* The last second field was made for nothing: the program wants one field only. */
    if (!plan->second && fields->ready)
        fields->both = false;
    fields->ready = false;
    fields->key = key;
    for (int i = 0; i < 3; i++) {
        if (i == 2 && pictures[2] == pictures[1]) {
            frames[2] = frames[1];
            continue;
        }
        if (i == 1 && pictures[1] == pictures[0]) {
            frames[1] = frames[0];
            continue;
        }
        err = vpp_input_planes(vpp, scratches[i], wraps[i], plan->from, pictures[i],
                               &plan->from_color, &frames[i]);
        if (err)
            return err;
    }
    /* The filter wants all of one shape. */
    for (int i = 0; i < 3; i += 2) {
        for (int j = 0; j < 3; j++) {
            if (frames[i]->linesize[j] != frames[1]->linesize[j])
                frames[i] = frames[1];
        }
    }
    err = run_filter(vpp, plan, frames, plan->second || fields->both, &first, fields->second);
    if (err)
        return err;
    if (plan->second) {
        *ret_frame = fields->second;
    } else {
        fields->ready = fields->both;
        *ret_frame = first;
    }
    return 0;
}

int vpp_deinterlace(struct vpp *vpp, const struct vpp_plan *plan,
                    const struct vpp_pipeline *pipeline, AVFrame **ret_frame)
{
    AVFrame *frame;
    int err;

    if (plan->deinterlace != VAProcDeinterlacingBob && pipeline->input.width >= LEAST_SIZE &&
        pipeline->input.height >= LEAST_SIZE)
        return adapt(vpp, plan, pipeline, ret_frame);
    if (plan->from->direct != AV_PIX_FMT_NONE && !vpp_format_loose(plan->from)) {
        frame = vpp_frame_wrap(vpp, VPP_WRAP_CURRENT, plan->from, &pipeline->input);
    } else {
        err = vpp_input_planes(vpp, VPP_SCRATCH_CURRENT, VPP_WRAP_CURRENT, plan->from,
                               &pipeline->input, &plan->from_color, &frame);
        if (err)
            return err;
    }
    return bob(vpp, plan, frame, ret_frame);
}
