/* SPDX-License-Identifier: MIT */
#include "encoder_input.h"

#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>

#include "../unpack.h"

/* Alpha says nothing to an encoder. `packed`: unpack.c makes `format` of it. */
static const struct input_format {
    uint32_t fourcc;
    enum AVPixelFormat format;
    bool packed;
} input_formats[] = {
    {VA_FOURCC_NV12, AV_PIX_FMT_NV12, false},      {VA_FOURCC_I420, AV_PIX_FMT_YUV420P, false},
    {VA_FOURCC_YV12, AV_PIX_FMT_YUV420P, false},   {VA_FOURCC_P010, AV_PIX_FMT_P010LE, false},
    {VA_FOURCC_I010, AV_PIX_FMT_YUV420P10, false}, {VA_FOURCC_YUY2, AV_PIX_FMT_YUYV422, false},
    {VA_FOURCC_UYVY, AV_PIX_FMT_UYVY422, false},   {VA_FOURCC_422H, AV_PIX_FMT_YUV422P, false},
    {VA_FOURCC_444P, AV_PIX_FMT_YUV444P, false},   {VA_FOURCC_Y800, AV_PIX_FMT_GRAY8, false},
    {VA_FOURCC_BGRA, AV_PIX_FMT_BGR0, false},      {VA_FOURCC_BGRX, AV_PIX_FMT_BGR0, false},
    {VA_FOURCC_RGBA, AV_PIX_FMT_RGB0, false},      {VA_FOURCC_RGBX, AV_PIX_FMT_RGB0, false},
    {VA_FOURCC_ARGB, AV_PIX_FMT_0RGB, false},      {VA_FOURCC_XRGB, AV_PIX_FMT_0RGB, false},
    {VA_FOURCC_AYUV, AV_PIX_FMT_YUV444P, true},    {VA_FOURCC_XYUV, AV_PIX_FMT_YUV444P, true},
    {VA_FOURCC_Y410, AV_PIX_FMT_YUV444P10, true},  {VA_FOURCC_Y210, AV_PIX_FMT_YUV422P10, true},
};

static const struct input_format *find_input(uint32_t fourcc)
{
    for (size_t i = 0; i < sizeof(input_formats) / sizeof(input_formats[0]); i++) {
        if (input_formats[i].fourcc == fourcc)
            return &input_formats[i];
    }
    return NULL;
}

enum AVPixelFormat encoder_input_format(uint32_t fourcc)
{
    const struct input_format *input = find_input(fourcc);

    return input ? input->format : AV_PIX_FMT_NONE;
}

static void keep(void *opaque, uint8_t *data)
{
    (void)opaque;
    (void)data;
}

/* Planes of a surface in the order that libavutil has them. */
static void planes_of(const struct pixels *pixels, uint8_t *planes[4], int pitches[4])
{
    for (int i = 0; i < pixels->format->planes; i++) {
        int at = pixels->format->swap_uv && i ? 3 - i : i;

        planes[at] = pixels->bytes + pixels->layout->offset[i];
        pitches[at] = (int)pixels->layout->pitch[i];
    }
}

static int wrap(struct encoder_input *input, const struct pixels *pixels, uint32_t width,
                uint32_t height, enum AVPixelFormat format)
{
    AVFrame *frame = input->direct;

    if (!frame)
        frame = input->direct = av_frame_alloc();
    if (!frame)
        return VD_ERR_MEMORY;
    av_frame_unref(frame);
    frame->width = (int)width;
    frame->height = (int)height;
    frame->format = format;
    planes_of(pixels, frame->data, frame->linesize);
    frame->buf[0] = av_buffer_create(pixels->bytes, (size_t)pixels->layout->size, keep, NULL,
                                     AV_BUFFER_FLAG_READONLY);
    return frame->buf[0] ? 0 : VD_ERR_MEMORY;
}

/* A frame of `input`'s own in *frame. An encoder that still holds the last one gets another. */
static int make_frame(AVFrame **frame, int width, int height, enum AVPixelFormat format)
{
    AVFrame *old = *frame;

    if (old && old->width == width && old->height == height && old->format == format &&
        av_frame_is_writable(old))
        return 0;
    av_frame_free(frame);
    *frame = av_frame_alloc();
    if (!*frame)
        return VD_ERR_MEMORY;
    (*frame)->width = width;
    (*frame)->height = height;
    (*frame)->format = format;
    return av_frame_get_buffer(*frame, 0) < 0 ? VD_ERR_MEMORY : 0;
}

static void copy_rows(uint8_t *to, int to_pitch, const uint8_t *from, int from_pitch, size_t bytes,
                      uint32_t rows)
{
    for (uint32_t y = 0; y < rows; y++)
        memcpy(to + (size_t)y * (size_t)to_pitch, from + (size_t)y * (size_t)from_pitch, bytes);
}

/* NV12 to I420: swscale does the same in more time. */
static void split_8(AVFrame *to, uint8_t *const planes[4], const int pitches[4], uint32_t width,
                    uint32_t height)
{
    uint32_t columns = (width + 1) / 2;

    copy_rows(to->data[0], to->linesize[0], planes[0], pitches[0], width, height);
    for (uint32_t y = 0; y < (height + 1) / 2; y++) {
        const uint8_t *restrict uv = planes[1] + (size_t)y * (size_t)pitches[1];
        uint8_t *restrict u = to->data[1] + (size_t)y * (size_t)to->linesize[1];
        uint8_t *restrict v = to->data[2] + (size_t)y * (size_t)to->linesize[2];

        for (uint32_t x = 0; x < columns; x++) {
            u[x] = uv[2 * x];
            v[x] = uv[2 * x + 1];
        }
    }
}

/* P010 to I010: samples are in the upper ten bits there, in the lower ones here. */
static void split_10(AVFrame *to, uint8_t *const planes[4], const int pitches[4], uint32_t width,
                     uint32_t height)
{
    uint32_t columns = (width + 1) / 2;

    for (uint32_t y = 0; y < height; y++) {
        const uint16_t *restrict from = (const void *)(planes[0] + (size_t)y * (size_t)pitches[0]);
        uint16_t *restrict luma = (void *)(to->data[0] + (size_t)y * (size_t)to->linesize[0]);

        for (uint32_t x = 0; x < width; x++)
            luma[x] = from[x] >> 6;
    }
    for (uint32_t y = 0; y < (height + 1) / 2; y++) {
        const uint16_t *restrict uv = (const void *)(planes[1] + (size_t)y * (size_t)pitches[1]);
        uint16_t *restrict u = (void *)(to->data[1] + (size_t)y * (size_t)to->linesize[1]);
        uint16_t *restrict v = (void *)(to->data[2] + (size_t)y * (size_t)to->linesize[2]);

        for (uint32_t x = 0; x < columns; x++) {
            u[x] = uv[2 * x] >> 6;
            v[x] = uv[2 * x + 1] >> 6;
        }
    }
}

static int scale(struct encoder_input *input, AVFrame *to, enum AVPixelFormat from,
                 uint8_t *const planes[4], const int pitches[4], uint32_t width, uint32_t height,
                 bool full)
{
    bool rgb = av_pix_fmt_desc_get(from)->flags & AV_PIX_FMT_FLAG_RGB;
    bool large = !full && (width >= 1280 || height >= 720);
    const int *table = sws_getCoefficients(large ? SWS_CS_ITU709 : SWS_CS_ITU601);
    const uint8_t *sources[4] = {planes[0], planes[1], planes[2], planes[3]};

    input->scaler =
        sws_getCachedContext(input->scaler, (int)width, (int)height, from, (int)width, (int)height,
                             to->format, SWS_BILINEAR | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (!input->scaler)
        return VD_ERR_UNSUPPORTED;
    /* YUV keeps the range that it has. */
    if (sws_setColorspaceDetails(input->scaler, table, rgb || full, table, full, 0, 1 << 16,
                                 1 << 16) < 0 &&
        rgb)
        return VD_ERR_UNSUPPORTED;
    if (sws_scale(input->scaler, sources, pitches, 0, (int)height, to->data, to->linesize) < 0)
        return VD_ERR_UNSUPPORTED;
    return 0;
}

/* Repeats the last column and row of what was filled. */
static void pad(AVFrame *frame, uint32_t width, uint32_t height)
{
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(frame->format);

    for (int i = 0; i < av_pix_fmt_count_planes(frame->format); i++) {
        int shift_w = i ? format->log2_chroma_w : 0, shift_h = i ? format->log2_chroma_h : 0;
        /* Bytes of a column: both samples of interleaved chroma. */
        size_t step = (size_t)format->comp[i].step;
        size_t have = (width + (1u << shift_w) - 1) >> shift_w;
        size_t want = ((size_t)frame->width + (1u << shift_w) - 1) >> shift_w;
        size_t rows = (height + (1u << shift_h) - 1) >> shift_h;
        size_t all_rows = ((size_t)frame->height + (1u << shift_h) - 1) >> shift_h;
        size_t pitch = (size_t)frame->linesize[i];

        for (size_t y = 0; y < rows; y++) {
            uint8_t *row = frame->data[i] + y * pitch;

            for (size_t x = have; x < want; x++)
                memcpy(row + x * step, row + (have - 1) * step, step);
        }
        for (size_t y = rows; y < all_rows; y++)
            memcpy(frame->data[i] + y * pitch, frame->data[i] + (rows - 1) * pitch, want * step);
    }
}

/* Planes of what is packed, in the copy itself where the encoder takes such. */
static int unpack(struct encoder_input *input, const struct pixels *pixels,
                  enum AVPixelFormat planar, uint8_t *planes[4], int pitches[4])
{
    AVFrame *to = input->copy;
    int err = 0;

    if (to->format != planar) {
        err = make_frame(&input->planes, (int)pixels->width, (int)pixels->height, planar);
        to = input->planes;
    }
    if (err)
        return err;
    unpack_run(pixels, to->data, to->linesize);
    for (int i = 0; i < 3; i++) {
        planes[i] = to->data[i];
        pitches[i] = to->linesize[i];
    }
    return 0;
}

int encoder_input_take(struct encoder_input *input, const struct pixels *pixels, uint32_t width,
                       uint32_t height, enum AVPixelFormat format, bool own, bool full,
                       AVFrame **ret_frame)
{
    const struct input_format *kind = find_input(pixels->format->fourcc);
    struct pixels have = *pixels;
    uint8_t *planes[4] = {NULL};
    int pitches[4] = {0}, err;

    have.width = width < pixels->width ? width : pixels->width;
    have.height = height < pixels->height ? height : pixels->height;
    if (!kind || !have.width || !have.height || width - have.width >= ENCODER_INPUT_PADDING ||
        height - have.height >= ENCODER_INPUT_PADDING)
        return VD_ERR_UNSUPPORTED;
    if (kind->format == format && !kind->packed && have.width == width && have.height == height &&
        !own) {
        err = wrap(input, pixels, width, height, format);
        if (!err)
            *ret_frame = input->direct;
        return err;
    }
    err = make_frame(&input->copy, (int)width, (int)height, format);
    if (!err && kind->packed)
        err = unpack(input, &have, kind->format, planes, pitches);
    else if (!err)
        planes_of(pixels, planes, pitches);
    if (err)
        return err;
    if (kind->format == AV_PIX_FMT_NV12 && format == AV_PIX_FMT_YUV420P)
        split_8(input->copy, planes, pitches, have.width, have.height);
    else if (kind->format == AV_PIX_FMT_P010LE && format == AV_PIX_FMT_YUV420P10)
        split_10(input->copy, planes, pitches, have.width, have.height);
    else if (kind->format != format)
        err =
            scale(input, input->copy, kind->format, planes, pitches, have.width, have.height, full);
    else if (!kind->packed)
        av_image_copy(input->copy->data, input->copy->linesize, (const uint8_t **)planes, pitches,
                      format, (int)have.width, (int)have.height);
    if (err)
        return err;
    if (have.width < width || have.height < height)
        pad(input->copy, have.width, have.height);
    *ret_frame = input->copy;
    return 0;
}

void encoder_input_drop(struct encoder_input *input)
{
    if (input->direct)
        av_frame_unref(input->direct);
    /* The next picture's are its own. */
    if (input->copy)
        av_frame_remove_side_data(input->copy, AV_FRAME_DATA_REGIONS_OF_INTEREST);
}

void encoder_input_finish(struct encoder_input *input)
{
    av_frame_free(&input->direct);
    av_frame_free(&input->copy);
    av_frame_free(&input->planes);
    sws_freeContext(input->scaler);
    *input = (struct encoder_input){0};
}
