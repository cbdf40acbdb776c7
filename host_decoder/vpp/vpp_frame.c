/* SPDX-License-Identifier: MIT */
#include "vpp_frame.h"

#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <string.h>
#include <va/va.h>

#include "../convert.h"
#include "../convert_rows.h"
#include "../unpack.h"
#include "vpp_rows.h"

#define SCRATCH_ALIGN 64

static void set_shape(AVFrame *frame, enum AVPixelFormat format, int width, int height)
{
    frame->format = format;
    frame->width = width;
    frame->height = height;
    frame->opaque = NULL;
    memset(frame->data, 0, sizeof(frame->data));
    memset(frame->linesize, 0, sizeof(frame->linesize));
}

AVFrame *vpp_frame_wrap(struct vpp *vpp, enum vpp_wrap which, const struct vpp_format *format,
                        const struct pixels *pixels)
{
    AVFrame *frame = vpp->wrap[which];

    set_shape(frame, format->direct, (int)pixels->width, (int)pixels->height);
    for (int i = 0; i < pixels->format->planes; i++) {
        int from = format->order[i];

        frame->data[i] = pixels->bytes + pixels->layout->offset[from];
        frame->linesize[i] = (int)pixels->layout->pitch[from];
    }
    return frame;
}

AVFrame *vpp_frame_part(struct vpp *vpp, enum vpp_wrap which, const AVFrame *from,
                        const struct vpp_rect *part)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(from->format);
    AVFrame *frame = vpp->wrap[which];

    set_shape(frame, from->format, part->width, part->height);
    if (part->x + part->width < from->width || from->opaque)
        frame->opaque = frame;
    for (int i = 0; i < 4 && from->data[i]; i++) {
        const bool chroma = i == 1 || i == 2;
        /* Packed 4:2:2: places are those of pairs. */
        const int shift_w = chroma || !from->data[1] ? desc->log2_chroma_w : 0;
        const int y = part->y >> (chroma ? desc->log2_chroma_h : 0);

        frame->data[i] = from->data[i] + (ptrdiff_t)y * from->linesize[i] +
                         av_image_get_linesize(from->format, part->x >> shift_w << shift_w, i);
        frame->linesize[i] = from->linesize[i];
    }
    return frame;
}

AVFrame *vpp_frame_scratch(struct vpp *vpp, enum vpp_scratch which, enum AVPixelFormat format,
                           int width, int height)
{
    AVFrame *frame = vpp->scratch[which];

    if (frame->buf[0] && frame->format == (int)format && frame->width == width &&
        frame->height == height)
        return frame;
    av_frame_unref(frame);
    frame->format = format;
    frame->width = width;
    frame->height = height;
    if (av_frame_get_buffer(frame, SCRATCH_ALIGN) < 0) {
        av_frame_unref(frame);
        return NULL;
    }
    return frame;
}

int vpp_frame_row_bytes(const AVFrame *frame, int plane)
{
    return av_image_get_linesize(frame->format, frame->width, plane);
}

int vpp_frame_rows(const AVFrame *frame, int plane)
{
    int shift = plane == 1 || plane == 2 ? vpp_format_shift_h(frame->format) : 0;

    return AV_CEIL_RSHIFT(frame->height, shift);
}

static int chroma_columns(const AVFrame *frame)
{
    return AV_CEIL_RSHIFT(frame->width, vpp_format_shift_w(frame->format));
}

static uint8_t *row_of(const AVFrame *frame, int plane, int y)
{
    return frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane];
}

void vpp_frame_copy_plane(const AVFrame *to, const AVFrame *from, int plane)
{
    size_t bytes = (size_t)vpp_frame_row_bytes(to, plane);
    int rows = vpp_frame_rows(to, plane);

    if (to->data[plane] == from->data[plane])
        return;
    for (int y = 0; y < rows; y++)
        memcpy(row_of(to, plane, y), row_of(from, plane, y), bytes);
}

void vpp_frame_copy(const AVFrame *to, const AVFrame *from)
{
    for (int i = 0; i < 4 && to->data[i] && from->data[i]; i++)
        vpp_frame_copy_plane(to, from, i);
}

static void split_nv12(const AVFrame *to, const AVFrame *from)
{
    for (int y = 0; y < vpp_frame_rows(to, 1); y++)
        vpp_rows()->split8(row_of(to, 1, y), row_of(to, 2, y), row_of(from, 1, y),
                           (size_t)chroma_columns(to));
}

static void split_p01x(const AVFrame *to, const AVFrame *from)
{
    int down = 16 - vpp_format_bits(to->format);

    for (int y = 0; y < to->height; y++)
        vpp_rows()->down16(row_of(to, 0, y), row_of(from, 0, y), (size_t)to->width, down);
    for (int y = 0; y < vpp_frame_rows(to, 1); y++)
        vpp_rows()->split16(row_of(to, 1, y), row_of(to, 2, y), row_of(from, 1, y),
                            (size_t)chroma_columns(to), down);
}

static void merge_nv12(const AVFrame *to, const AVFrame *from)
{
    vpp_frame_copy_plane(to, from, 0);
    for (int y = 0; y < vpp_frame_rows(to, 1); y++)
        convert_rows()->pair8(row_of(to, 1, y), row_of(from, 1, y), row_of(from, 2, y),
                              (size_t)chroma_columns(to));
}

static void merge_p01x(const AVFrame *to, const AVFrame *from)
{
    int up = 16 - vpp_format_bits(from->format);

    for (int y = 0; y < to->height; y++)
        convert_rows()->shift16(row_of(to, 0, y), row_of(from, 0, y), (size_t)to->width, up);
    for (int y = 0; y < vpp_frame_rows(to, 1); y++)
        convert_rows()->pair16(row_of(to, 1, y), row_of(from, 1, y), row_of(from, 2, y),
                               (size_t)chroma_columns(to), up);
}

/* Words with the sample at the upper end to bytes, and back: NV12 and its wider kin. */
static void narrow(const AVFrame *to, const AVFrame *from)
{
    int bits = vpp_format_bits(from->format);

    for (int i = 0; i < 2; i++) {
        size_t n = (size_t)vpp_frame_row_bytes(to, i);

        for (int y = 0; y < vpp_frame_rows(to, i); y++)
            vpp_rows()->narrow(row_of(to, i, y), row_of(from, i, y), n, bits);
    }
}

static void widen(const AVFrame *to, const AVFrame *from, bool full_range)
{
    int mask = full_range ? 0xffff << (16 - vpp_format_bits(to->format)) & 0xffff : 0xff00;

    for (int i = 0; i < 2; i++) {
        size_t n = (size_t)vpp_frame_row_bytes(from, i);

        for (int y = 0; y < vpp_frame_rows(to, i); y++)
            vpp_rows()->widen(row_of(to, i, y), row_of(from, i, y), n, mask);
    }
}

static void grey_chroma(const AVFrame *to)
{
    for (int i = 1; i < 3 && to->data[i]; i++) {
        for (int y = 0; y < vpp_frame_rows(to, i); y++)
            memset(row_of(to, i, y), 128, (size_t)vpp_frame_row_bytes(to, i));
    }
}

static bool is_wide(int format)
{
    return format == AV_PIX_FMT_P010LE || format == AV_PIX_FMT_P016LE;
}

bool vpp_frame_shuffle(const AVFrame *to, const AVFrame *from, bool full_range)
{
    const int t = to->format, f = from->format;

    if (to->width != from->width || to->height != from->height)
        return false;
    if (t == f) {
        vpp_frame_copy(to, from);
    } else if (f == AV_PIX_FMT_NV12 && t == AV_PIX_FMT_YUV420P) {
        vpp_frame_copy_plane(to, from, 0);
        split_nv12(to, from);
    } else if (f == AV_PIX_FMT_YUV420P && t == AV_PIX_FMT_NV12) {
        merge_nv12(to, from);
    } else if ((f == AV_PIX_FMT_P010LE && t == AV_PIX_FMT_YUV420P10LE) ||
               (f == AV_PIX_FMT_P016LE && t == AV_PIX_FMT_YUV420P16LE)) {
        split_p01x(to, from);
    } else if ((f == AV_PIX_FMT_YUV420P10LE || f == AV_PIX_FMT_YUV420P16LE) && is_wide(t)) {
        if (f == AV_PIX_FMT_YUV420P16LE && t == AV_PIX_FMT_P010LE)
            return false;
        merge_p01x(to, from);
    } else if (is_wide(f) && t == AV_PIX_FMT_NV12) {
        narrow(to, from);
    } else if (f == AV_PIX_FMT_NV12 && is_wide(t)) {
        widen(to, from, full_range);
    } else if ((f == AV_PIX_FMT_NV12 || f == AV_PIX_FMT_YUV420P || f == AV_PIX_FMT_YUV422P ||
                f == AV_PIX_FMT_YUV444P) &&
               t == AV_PIX_FMT_GRAY8) {
        vpp_frame_copy_plane(to, from, 0);
    } else if (f == AV_PIX_FMT_GRAY8 && (t == AV_PIX_FMT_NV12 || t == AV_PIX_FMT_YUV420P ||
                                         t == AV_PIX_FMT_YUV422P || t == AV_PIX_FMT_YUV444P)) {
        vpp_frame_copy_plane(to, from, 0);
        grey_chroma(to);
    } else {
        return false;
    }
    return true;
}

/* Only the bits that count. */
static void tighten(const AVFrame *to, const AVFrame *from)
{
    const int mask = (1 << vpp_format_bits(from->format)) - 1;

    for (int i = 0; i < 3; i++) {
        for (int y = 0; y < vpp_frame_rows(to, i); y++)
            vpp_rows()->mask16(row_of(to, i, y), row_of(from, i, y),
                               (size_t)vpp_frame_row_bytes(to, i) / 2, mask);
    }
}

static AVFrame *alias(AVFrame *wrap, const AVFrame *scratch, const AVFrame *luma)
{
    set_shape(wrap, scratch->format, scratch->width, scratch->height);
    for (int i = 0; i < 4; i++) {
        wrap->data[i] = i ? scratch->data[i] : luma->data[0];
        wrap->linesize[i] = i ? scratch->linesize[i] : luma->linesize[0];
    }
    return wrap;
}

AVFrame *vpp_frame_planes(struct vpp *vpp, enum vpp_scratch scratch, enum vpp_wrap wrap,
                          const struct vpp_format *format, const struct pixels *pixels)
{
    AVFrame *frame = NULL, *planes, luma;

    if (format->direct != AV_PIX_FMT_NONE) {
        frame = vpp_frame_wrap(vpp, wrap, format, pixels);
        if (format->direct == format->planar && !vpp_format_loose(format))
            return frame;
    }
    planes =
        vpp_frame_scratch(vpp, scratch, format->planar, (int)pixels->width, (int)pixels->height);
    if (!planes)
        return NULL;
    if (!frame) {
        unpack_run(pixels, planes->data, planes->linesize);
    } else if (format->direct == AV_PIX_FMT_NV12) {
        split_nv12(planes, frame);
        luma = *frame;
        return alias(frame, planes, &luma);
    } else if (vpp_format_loose(format)) {
        tighten(planes, frame);
    } else if (!vpp_frame_shuffle(planes, frame, false)) {
        return NULL;
    }
    return planes;
}

void vpp_frame_pack(const struct vpp_format *format, const AVFrame *from,
                    const struct pixels *pixels)
{
    const struct convert_samples samples = {
        .bits = (uint8_t)vpp_format_bits(from->format),
        .planes = 3,
        .shift_w = (uint8_t)vpp_format_shift_w(from->format),
        .shift_h = (uint8_t)vpp_format_shift_h(from->format),
    };
    /* Words of 16 bits, whatever counts of them. */
    uint32_t fourcc = format->fourcc == VA_FOURCC_Y212   ? VA_FOURCC_Y216
                      : format->fourcc == VA_FOURCC_Y412 ? VA_FOURCC_Y416
                                                         : format->fourcc;
    const struct convert_way *way = convert_find(&samples, fourcc);
    struct convert_source source = {0};

    for (int i = 0; i < 3; i++) {
        source.plane[i] = from->data[i];
        source.stride[i] = from->linesize[i];
    }
    if (way)
        convert_run(way, &samples, &source, pixels->format, pixels->layout, pixels->bytes,
                    pixels->width, pixels->height);
}
