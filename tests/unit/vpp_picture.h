/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_VPP_PICTURE_H
#define VIADUCT_TEST_VPP_PICTURE_H

/* Pictures for the tests of the video processor, and FFmpeg's own filters to compare with. */

#include "check.h"

#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <stdio.h>
#include <va/va.h>
#include <va/va_vpp.h>

#include "vpp/vpp.h"
#include "vpp/vpp_format.h"

struct picture {
    struct pixels pixels;
    struct format_layout layout;
};

static inline struct picture *picture_new(uint32_t fourcc, uint32_t width, uint32_t height)
{
    struct picture *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    p->pixels = (struct pixels){.format = format_find(fourcc), .width = width, .height = height};
    assert_non_null(p->pixels.format);
    assert_int_equal(format_layout(p->pixels.format, width, height, &p->layout), 0);
    p->pixels.layout = &p->layout;
    assert_int_equal(posix_memalign((void **)&p->pixels.bytes, 4096, p->layout.size), 0);
    memset(p->pixels.bytes, 0x77, p->layout.size);
    return p;
}

static inline void picture_free(struct picture *p)
{
    free(p->pixels.bytes);
    free(p);
}

static inline uint8_t *picture_row(const struct picture *p, int plane, uint32_t y)
{
    return p->pixels.bytes + p->layout.offset[plane] + (size_t)y * p->layout.pitch[plane];
}

/* A frame over the picture's memory; its format has a `direct`. */
static inline AVFrame *picture_frame(const struct picture *p)
{
    const struct vpp_format *format = vpp_format_find(p->pixels.format->fourcc);
    AVFrame *frame = av_frame_alloc();

    assert_non_null(frame);
    frame->format = format->direct;
    frame->width = (int)p->pixels.width;
    frame->height = (int)p->pixels.height;
    for (int i = 0; i < p->pixels.format->planes; i++) {
        frame->data[i] = picture_row(p, format->order[i], 0);
        frame->linesize[i] = (int)p->layout.pitch[format->order[i]];
    }
    return frame;
}

/* Smooth waves with some noise that move with `time`; samples in video range. */
static inline void picture_draw(struct picture *p, int time)
{
    const struct format_info *format = p->pixels.format;
    const int bytes = format->sample_bytes == 1 ? 1 : 2;
    const int word = format->sample_bytes == 4; /* Y410: all bits are samples */
    const int low = !strcmp(format->name, "I010") ? 6 : 0;
    uint64_t seed = 7;

    for (int i = 0; i < format->planes; i++) {
        uint32_t n = format_row_bytes(format, i, p->pixels.width) / (uint32_t)bytes;
        uint32_t step = format->plane[i].samples;

        for (uint32_t y = 0; y < format_rows(format, i, p->pixels.height); y++) {
            for (uint32_t x = 0; x < n; x++) {
                double column = (double)(x / step) + 2.0 * time, channel = x % step + 2.0 * i;
                double wave = sin(column / 17 + channel) * cos((double)y / 13 + channel / 2);
                int value = (int)(126 * 256 + wave * 80 * 256) + (int)(check_random(&seed) % 2048);
                uint16_t v = (uint16_t)value;

                if (bytes == 1) {
                    picture_row(p, i, y)[x] = (uint8_t)(v >> 8);
                    continue;
                }
                if (!word)
                    v = (uint16_t)((!strcmp(format->name, "P012") ? v & 0xfff0 : v & 0xffc0) >>
                                   low);
                memcpy(picture_row(p, i, y) + 2 * x, &v, 2);
            }
        }
    }
}

/* A pipeline with nothing but its picture. */
static inline struct vpp_pipeline pipeline_of(const struct picture *input,
                                              struct vd_proc_pipeline *params)
{
    memset(params, 0, sizeof(*params));
    params->background = 0xff000000;
    return (struct vpp_pipeline){.params = params, .input = input->pixels};
}

static inline void pipeline_dest(struct vd_proc_pipeline *params, int x, int y, int w, int h)
{
    params->flags |= VD_PROC_DEST;
    params->dest[0] = (uint32_t)x;
    params->dest[1] = (uint32_t)y;
    params->dest[2] = (uint32_t)w;
    params->dest[3] = (uint32_t)h;
}

static inline void pipeline_source(struct vd_proc_pipeline *params, int x, int y, int w, int h)
{
    params->flags |= VD_PROC_SOURCE;
    params->source[0] = (uint32_t)x;
    params->source[1] = (uint32_t)y;
    params->source[2] = (uint32_t)w;
    params->source[3] = (uint32_t)h;
}

static inline uint32_t float_bits(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* FFmpeg's own filters over frames; returns the frame that comes out last. */
static inline AVFrame *native_run(const char *text, AVFrame *const *frames, int count)
{
    AVFilterGraph *graph = avfilter_graph_alloc();
    AVFilterContext *source, *sink;
    AVFilterInOut *in = avfilter_inout_alloc(), *out = avfilter_inout_alloc();
    AVFrame *last = av_frame_alloc(), *next = av_frame_alloc();
    char args[160];

    snprintf(args, sizeof(args), "video_size=%dx%d:pix_fmt=%d:time_base=1/25:pixel_aspect=1/1",
             frames[0]->width, frames[0]->height, frames[0]->format);
    graph->nb_threads = 1;
    assert_true(avfilter_graph_create_filter(&source, avfilter_get_by_name("buffer"), "in", args,
                                             NULL, graph) >= 0);
    assert_true(avfilter_graph_create_filter(&sink, avfilter_get_by_name("buffersink"), "out", NULL,
                                             NULL, graph) >= 0);
    in->name = av_strdup("in");
    in->filter_ctx = source;
    out->name = av_strdup("out");
    out->filter_ctx = sink;
    assert_true(avfilter_graph_parse_ptr(graph, text, &out, &in, NULL) >= 0);
    assert_true(avfilter_graph_config(graph, NULL) >= 0);
    for (int i = 0; i <= count; i++) {
        AVFrame *copy = NULL;

        if (i < count) {
            copy = av_frame_alloc();
            copy->format = frames[i]->format;
            copy->width = frames[i]->width;
            copy->height = frames[i]->height;
            assert_int_equal(av_frame_get_buffer(copy, 64), 0);
            assert_true(av_frame_copy(copy, frames[i]) >= 0);
            av_frame_copy_props(copy, frames[i]);
            copy->pts = i;
        }
        assert_true(av_buffersrc_add_frame(source, copy) >= 0);
        av_frame_free(&copy);
        while (av_buffersink_get_frame(sink, next) >= 0) {
            av_frame_unref(last);
            av_frame_move_ref(last, next);
        }
    }
    avfilter_inout_free(&in);
    avfilter_inout_free(&out);
    avfilter_graph_free(&graph);
    av_frame_free(&next);
    assert_non_null(last->data[0]);
    return last;
}

static inline double plane_psnr(const AVFrame *a, const AVFrame *b, int plane)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(a->format);
    const int bytes = av_image_get_linesize(a->format, a->width, plane);
    const int rows =
        plane == 1 || plane == 2 ? AV_CEIL_RSHIFT(a->height, desc->log2_chroma_h) : a->height;
    const int wide = desc->comp[0].depth > 8;
    const double most = wide ? (1 << (desc->comp[0].depth + desc->comp[0].shift)) - 1 : 255;
    double sum = 0;
    long n = 0;

    assert_int_equal(a->format, b->format);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    for (int y = 0; y < rows; y++) {
        const uint8_t *p = a->data[plane] + (ptrdiff_t)y * a->linesize[plane];
        const uint8_t *q = b->data[plane] + (ptrdiff_t)y * b->linesize[plane];

        for (int x = 0; x < bytes; x += 1 + wide, n++) {
            uint16_t v = p[x], w = q[x];

            if (wide) {
                memcpy(&v, p + x, 2);
                memcpy(&w, q + x, 2);
            }
            sum += ((double)v - w) * ((double)v - w);
        }
    }
    return sum > 0 ? 10 * log10(most * most * (double)n / sum) : 999;
}

/* The worst of all planes, in dB; 999: identical. */
static inline double frame_psnr(const AVFrame *a, const AVFrame *b)
{
    double worst = 999;

    for (int i = 0; i < 4 && a->data[i]; i++) {
        double psnr = plane_psnr(a, b, i);

        worst = psnr < worst ? psnr : worst;
    }
    return worst;
}

static inline double picture_psnr(const struct picture *a, const AVFrame *b)
{
    AVFrame *frame = picture_frame(a);
    double psnr = frame_psnr(frame, b);

    av_frame_free(&frame);
    return psnr;
}

#endif
