/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "avcodec.h"

/*
 * Frame memory for libavcodec.
 *
 * The decoder writes straight into the surface's backing in the arena. An I420 surface takes all
 * planes; an NV12 surface takes luma, and chroma goes to private planes beside it that are
 * interleaved into the surface when the picture is complete (the decoder needs planar chroma as
 * long as the picture is a reference).
 */

static void frame_release(void *opaque, uint8_t *data)
{
    struct backing *backing = opaque;

    (void)data;
    pool_unref(&backing);
}

/* What a plane must offer: rows and pitch of the aligned coded size. */
static bool plane_fits(const struct format_layout *layout, int plane, int row_bytes, int rows)
{
    return (uint32_t)row_bytes <= layout->pitch[plane] && (uint32_t)rows <= layout->rows[plane];
}

static bool is_yuv420(int format)
{
    return format == AV_PIX_FMT_YUV420P || format == AV_PIX_FMT_YUVJ420P;
}

/* Private chroma planes beside an NV12 backing, kept while the backing exists. */
static int side_planes(struct backing *backing, uint32_t pitch, uint32_t rows)
{
    size_t size = (size_t)pitch * rows * 2 + 64;

    if (backing->side_size >= size)
        return 0;
    free(backing->side);
    backing->side_size = 0;
    if (posix_memalign(&backing->side, 64, size)) {
        backing->side = NULL;
        return VD_ERR_MEMORY;
    }
    memset(backing->side, 128, size);
    backing->side_size = size;
    return 0;
}

static uint32_t side_pitch(const struct format_layout *layout)
{
    return (layout->pitch[1] / 2 + 63) & ~63u;
}

/*
 * Points the frame's planes at the backing. Sizes: coded, then aligned by what the codec wants
 * (avcodec_align_dimensions2); libavcodec refuses nothing here, so this must.
 */
static int place_planes(struct backend_job *job, AVCodecContext *decoder, AVFrame *frame)
{
    const struct surface *surface = job->surface;
    const struct format_layout *layout = &surface->layout;
    uint32_t fourcc = surface->format->fourcc;
    int align[AV_NUM_DATA_POINTERS] = {0};
    int width = frame->width, height = frame->height;

    avcodec_align_dimensions2(decoder, &width, &height, align);
    if (!is_yuv420(frame->format) || (fourcc != VA_FOURCC_I420 && fourcc != VA_FOURCC_NV12))
        return VD_ERR_UNSUPPORTED;
    /* The decoder writes coded rows; the alignment beyond is room for its own reads. */
    if ((uint32_t)frame->width > ((surface->width + 31) & ~31u) ||
        (uint32_t)frame->height > ((surface->height + 31) & ~31u) ||
        !plane_fits(layout, 0, frame->width, frame->height))
        return VD_ERR_RESOLUTION;
    frame->data[0] = job->backing->bytes + layout->offset[0];
    frame->linesize[0] = (int)layout->pitch[0];
    if (fourcc == VA_FOURCC_I420) {
        for (int i = 1; i < 3; i++) {
            frame->data[i] = job->backing->bytes + layout->offset[i];
            frame->linesize[i] = (int)layout->pitch[i];
        }
    } else {
        uint32_t pitch = side_pitch(layout);

        if (side_planes(job->backing, pitch, layout->rows[1]))
            return VD_ERR_MEMORY;
        frame->data[1] = job->backing->side;
        frame->data[2] = frame->data[1] + (size_t)pitch * layout->rows[1];
        frame->linesize[1] = frame->linesize[2] = (int)pitch;
    }
    for (int i = 0; i < 3; i++) {
        if (align[i] && frame->linesize[i] % align[i])
            return VD_ERR_UNSUPPORTED;
    }
    frame->extended_data = frame->data;
    return 0;
}

/* Memory like the picture's that no surface gets, for a reference that is missing. */
static int get_alike(struct backend_job *job, AVCodecContext *decoder, AVFrame *frame)
{
    struct backing *picture = job->backing, *extra = NULL;
    int err;

    if (pool_get(job->surface, &extra))
        return AVERROR(ENOMEM);
    job->backing = extra;
    err = place_planes(job, decoder, frame);
    job->backing = picture;
    if (!err)
        frame->buf[0] = av_buffer_create(extra->bytes, extra->size, frame_release, extra, 0);
    if (frame->buf[0])
        return 0;
    pool_unref(&extra);
    return AVERROR(ENOMEM);
}

int avcodec_frame_get(AVCodecContext *decoder, AVFrame *frame, int flags)
{
    struct avcodec_context *self = decoder->opaque;
    struct backend_job *job = NULL;
    int err = VD_ERR_INTERNAL;

    /* Packets carry their number as pts; it is the frame's by now (ff_decode_frame_props). */
    if (frame->pts > 0)
        job = self->in_flight[(uint64_t)frame->pts % (2 * VD_MAX_IN_FLIGHT)];
    if (job && job->frame && self->codec->extra == AVCODEC_EXTRA_AFTER)
        return avcodec_default_get_buffer2(decoder, frame, flags);
    if (job && job->frame && self->codec->extra == AVCODEC_EXTRA_ALIKE)
        return get_alike(job, decoder, frame);
    if (job) {
        /* Frames that are missing were asked for first: the newest memory is the picture's. */
        if (job->backing && !(job->flags & VD_SUBMIT_FIXED))
            pool_unref(&job->backing);
        job->frame = NULL;
        err = 0;
        if (!job->backing && (job->flags & VD_SUBMIT_FIXED))
            job->backing = surface_current(job->surface);
        if (!job->backing)
            err = pool_get(job->surface, &job->backing);
        if (!err)
            err = place_planes(job, decoder, frame);
    }
    if (err) {
        /* Decode beside the surface, to keep the references right, and tell the app. */
        if (job) {
            log_debug("surface %#x cannot take the picture: %s", (unsigned)job->surface->id,
                      errors_text(err));
            job->status = err;
        }
        memset(frame->data, 0, sizeof(frame->data));
        memset(frame->linesize, 0, sizeof(frame->linesize));
        return avcodec_default_get_buffer2(decoder, frame, flags);
    }
    frame->buf[0] = av_buffer_create(job->backing->bytes, job->backing->size, frame_release,
                                     pool_ref(job->backing), 0);
    if (!frame->buf[0]) {
        struct backing *extra = job->backing;

        pool_unref(&extra);
        return AVERROR(ENOMEM);
    }
    job->frame = frame;
    return 0;
}

/* U and V rows into one row of pairs: plain C that the compiler turns into vector code. */
static inline __attribute__((always_inline)) void
interleave_row(uint8_t *restrict to, const uint8_t *restrict u, const uint8_t *restrict v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[2 * i] = u[i];
        to[2 * i + 1] = v[i];
    }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3")
#endif

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void interleave_avx2(uint8_t *to, const uint8_t *u,
                                                            const uint8_t *v, size_t n)
{
    interleave_row(to, u, v, n);
}
#endif

static void interleave(uint8_t *to, const uint8_t *u, const uint8_t *v, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        interleave_avx2(to, u, v, n);
        return;
    }
#endif
    interleave_row(to, u, v, n);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

void avcodec_frame_finish(struct backend_job *job)
{
    const struct surface *surface = job->surface;
    const struct format_layout *layout = &surface->layout;
    const uint8_t *u, *v;
    uint32_t pitch, rows;

    if (!job->backing || surface->format->fourcc != VA_FOURCC_NV12 || !job->backing->side)
        return;
    pitch = side_pitch(layout);
    rows = format_rows(surface->format, 1, surface->height);
    u = job->backing->side;
    v = u + (size_t)pitch * layout->rows[1];
    for (uint32_t y = 0; y < rows; y++) {
        interleave(job->backing->bytes + layout->offset[1] + (size_t)y * layout->pitch[1],
                   u + (size_t)y * pitch, v + (size_t)y * pitch, (surface->width + 1) / 2);
    }
}

/*
 * libavcodec marks damage in the AVFrame it asked memory for, and hands frames out only in output
 * order, which this use of it does not have. The frame belongs to the decoder and lives as long
 * as it; it still is this picture if it still holds this memory.
 */
bool avcodec_frame_damaged(const struct backend_job *job)
{
    const AVFrame *frame = job->frame;

    return frame && job->backing && frame->buf[0] && frame->buf[0]->data == job->backing->bytes &&
           frame->decode_error_flags;
}
