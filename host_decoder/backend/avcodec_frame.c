/* SPDX-License-Identifier: MIT */
#include <libavutil/pixdesc.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "../planes.h"
#include "avcodec.h"

/*
 * Frame memory for libavcodec: the surface's, or planes beside it (planes.c).
 */

static void frame_release(void *opaque, uint8_t *data)
{
    struct backing *backing = opaque;

    (void)data;
    pool_unref(&backing);
}

int avcodec_frame_samples(int format, struct convert_samples *ret_samples)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    const uint64_t strange = AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM |
                             AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_ALPHA |
                             AV_PIX_FMT_FLAG_BAYER | AV_PIX_FMT_FLAG_FLOAT;
    bool rgb = d && d->flags & AV_PIX_FMT_FLAG_RGB;

    if (!d || d->flags & strange || (d->nb_components != 1 && d->nb_components != 3))
        return VD_ERR_UNSUPPORTED;
    for (int i = 0; i < d->nb_components; i++) {
        const AVComponentDescriptor *c = &d->comp[i];

        /* Components are R, G, B or Y, U, V; planes are G, B, R or Y, U, V. */
        if (c->plane != (rgb ? (i + 2) % 3 : i) || c->offset || c->shift ||
            c->depth != d->comp[0].depth || c->depth < 8 || c->depth > 16 ||
            c->step != (c->depth > 8 ? 2 : 1))
            return VD_ERR_UNSUPPORTED;
    }
    *ret_samples = (struct convert_samples){
        .bits = (uint8_t)d->comp[0].depth,
        .planes = d->nb_components,
        .shift_w = d->log2_chroma_w,
        .shift_h = d->log2_chroma_h,
        .rgb = rgb,
    };
    return 0;
}

/*
 * Points the frame's planes at the backing, or beside it. libavcodec refuses nothing here, so
 * this must: it writes what avcodec_align_dimensions2 says.
 */
static int place_planes(struct backend_job *job, AVCodecContext *decoder, AVFrame *frame)
{
    int align[AV_NUM_DATA_POINTERS] = {0};
    int width = frame->width, height = frame->height;
    struct convert_samples samples;
    struct planes planes;
    int err;

    avcodec_align_dimensions2(decoder, &width, &height, align);
    err = avcodec_frame_samples(frame->format, &samples);
    if (err)
        return err;
    err = planes_place(job->surface, job->backing, &samples, (uint32_t)frame->width,
                       (uint32_t)frame->height, (uint32_t)width, (uint32_t)height, &planes);
    for (int i = 0; i < samples.planes && !err; i++) {
        frame->data[i] = planes.data[i];
        frame->linesize[i] = (int)planes.pitch[i];
        if (align[i] && frame->linesize[i] % align[i])
            err = VD_ERR_UNSUPPORTED;
    }
    frame->extended_data = frame->data;
    return err;
}

static void beside_free(void *opaque, uint8_t *memory)
{
    (void)opaque;
    pool_free(memory);
}

/*
 * Memory for a frame that is no surface's picture. With the pitches that pictures in surfaces
 * have: MPEG decoders refuse frames whose pitches differ from the first one's. `like` may be NULL.
 */
static int get_beside(AVCodecContext *decoder, AVFrame *frame, int flags,
                      const struct surface *like)
{
    const struct avcodec_context *self = decoder->opaque;
    int align[AV_NUM_DATA_POINTERS] = {0};
    int width = frame->width, height = frame->height;
    struct convert_samples samples;
    struct format_layout layout;
    void *memory;

    memset(frame->data, 0, sizeof(frame->data));
    memset(frame->linesize, 0, sizeof(frame->linesize));
    if (avcodec_frame_samples(frame->format, &samples))
        return avcodec_default_get_buffer2(decoder, frame, flags);
    avcodec_align_dimensions2(decoder, &width, &height, align);
    if (like && (uint32_t)width < like->width)
        width = (int)like->width;
    planes_layout(&samples, (uint32_t)width, (uint32_t)height, &layout);
    if (pool_alloc(self->info.pool, (size_t)layout.size, &memory))
        return AVERROR(ENOMEM);
    memset(memory, 0, (size_t)layout.size);
    frame->buf[0] = av_buffer_create(memory, (size_t)layout.size, beside_free, NULL, 0);
    if (!frame->buf[0]) {
        pool_free(memory);
        return AVERROR(ENOMEM);
    }
    for (int i = 0; i < samples.planes; i++) {
        frame->data[i] = (uint8_t *)memory + layout.offset[i];
        frame->linesize[i] = (int)layout.pitch[i];
    }
    frame->extended_data = frame->data;
    return 0;
}

int avcodec_frame_get(AVCodecContext *decoder, AVFrame *frame, int flags)
{
    struct avcodec_context *self = decoder->opaque;
    struct backend_job *job = NULL;
    int err = VD_ERR_INTERNAL;

    /* Packets carry their number as pts; it is the frame's by now (ff_decode_frame_props). */
    if (frame->pts > 0)
        job = self->in_flight[(uint64_t)frame->pts % (2 * VD_MAX_IN_FLIGHT)];
    if (job && job->frame && self->codec->extra != AVCODEC_EXTRA_BEFORE)
        return get_beside(decoder, frame, flags, job->surface);
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
            log_debug("surface %#x (%ux%u) cannot take the %s picture (%dx%d): %s",
                      (unsigned)job->surface->id, job->surface->width, job->surface->height,
                      decoder->codec->name, frame->width, frame->height, errors_text(err));
            job->status = err;
            /* Nothing of this picture gets into it: the surface stays as it was. */
            if (job->backing)
                planes_forget(job->backing);
            pool_unref(&job->backing);
        }
        return get_beside(decoder, frame, flags, job ? job->surface : NULL);
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

void avcodec_frame_finish(struct backend_job *job)
{
    if (job->backing)
        planes_finish(job->surface, job->backing);
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
