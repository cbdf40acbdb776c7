/* SPDX-License-Identifier: MIT */
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "avcodec_device.h"
#include "config.h"

#if HAVE_VAAPI
#include <va/va.h>
#endif

/*
 * Pictures of libavcodec on a device: bound to surfaces as AVFrames, brought into the arena when
 * the guest wants to see them.
 *
 * The frames come from a pool whose size libavcodec fixes when it sees the stream. It is made to
 * hold a frame for each of the guest's surfaces; when those are out, further pictures go into the
 * arena at once.
 */

/* Frames for surfaces; a guest may have a thousand surfaces, but looks at few. */
#define DEVICE_MAX_SURFACES 32
/* Sent and not complete. */
#define DEVICE_QUEUE 4

struct picture {
    struct device_frame frame;
    struct avcodec_budget *budget;
    AVFrame *av;
    struct pool *pool; /* where `bytes` count */
    uint64_t bytes;
};

static void budget_unref(struct avcodec_budget *budget)
{
    if (budget && atomic_fetch_sub(&budget->refs, 1) == 1)
        free(budget);
}

static void picture_free(struct device_frame *frame)
{
    struct picture *picture = (struct picture *)frame;

    av_frame_free(&picture->av);
    atomic_fetch_sub(&picture->budget->out, 1);
    budget_unref(picture->budget);
    pool_give(picture->pool, picture->bytes);
    free(picture);
}

/* Keeps what is the caller's. */
static void keep(void *opaque, uint8_t *data)
{
    (void)opaque, (void)data;
}

/* Straight into the surface's memory, which the format allows. */
static int fetch_direct(const AVFrame *from, AVFrame *to, const struct surface *surface,
                        uint8_t *bytes)
{
    const AVHWFramesContext *frames = (const AVHWFramesContext *)from->hw_frames_ctx->data;
    const struct format_info *format = surface->format;

    for (int i = 0; i < format->planes; i++) {
        /* Some devices copy all rows they have, whatever is asked for. */
        if (format_rows(format, i, (uint32_t)frames->height) > surface->layout.rows[i])
            return VD_ERR_RESOLUTION;
        to->data[i] = bytes + surface->layout.offset[i];
        to->linesize[i] = (int)surface->layout.pitch[i];
    }
    to->buf[0] = av_buffer_create(bytes, surface->layout.size, keep, NULL, 0);
    if (!to->buf[0])
        return VD_ERR_MEMORY;
    return av_hwframe_transfer_data(to, from, 0) < 0 ? VD_ERR_IO : 0;
}

static int fetch_converted(const AVFrame *from, AVFrame *to, const struct surface *surface,
                           uint8_t *bytes)
{
    struct convert_source source = {0};
    struct convert_samples samples;
    const struct convert_way *way;
    int err = avcodec_frame_samples(to->format, &samples);

    if (err)
        return err;
    way = convert_find(&samples, surface->format->fourcc);
    if (!way)
        return VD_ERR_UNSUPPORTED;
    if (av_frame_get_buffer(to, 0) < 0)
        return VD_ERR_MEMORY;
    if (av_hwframe_transfer_data(to, from, 0) < 0)
        return VD_ERR_IO;
    for (int i = 0; i < samples.planes; i++) {
        source.plane[i] = to->data[i];
        source.stride[i] = to->linesize[i];
        /* What the decoder could have written itself is a copy here. */
        if (way->plane[i] >= 0) {
            uint32_t plane = (uint32_t)way->plane[i];
            uint8_t *at = bytes + surface->layout.offset[plane];
            uint32_t row = format_row_bytes(surface->format, (int)plane, (uint32_t)to->width);
            uint32_t rows = format_rows(surface->format, (int)plane, (uint32_t)to->height);

            for (uint32_t y = 0; y < rows; y++)
                memcpy(at + (size_t)y * surface->layout.pitch[plane],
                       to->data[i] + (ptrdiff_t)y * to->linesize[i], row);
        }
    }
    if (way->run)
        convert_run(way, &samples, &source, surface->format, &surface->layout, bytes,
                    (uint32_t)to->width, (uint32_t)to->height);
    return 0;
}

/* The format to read a frame in: the surface's own if the device has it. */
static enum AVPixelFormat pick_format(const AVFrame *from, const struct surface *surface)
{
    enum AVPixelFormat *list = NULL, picked = AV_PIX_FMT_NONE;
    struct convert_samples samples;

    if (av_hwframe_transfer_get_formats(from->hw_frames_ctx, AV_HWFRAME_TRANSFER_DIRECTION_FROM,
                                        &list, 0) < 0)
        return AV_PIX_FMT_NONE;
    for (int i = 0; list[i] != AV_PIX_FMT_NONE; i++) {
        if (avcodec_device_fourcc(list[i]) == surface->format->fourcc) {
            picked = list[i];
            break;
        }
        if (picked == AV_PIX_FMT_NONE && !avcodec_frame_samples(list[i], &samples) &&
            convert_find(&samples, surface->format->fourcc))
            picked = list[i];
    }
    av_free(list);
    return picked;
}

/* device_frame_ops.fetch */
static int picture_fetch(struct device_frame *frame, const struct surface *surface, uint8_t *bytes)
{
    const AVFrame *from = ((struct picture *)frame)->av;
    AVFrame *to = av_frame_alloc();
    int err;

    if (!to)
        return VD_ERR_MEMORY;
    to->format = pick_format(from, surface);
    to->width = from->width < (int)surface->width ? from->width : (int)surface->width;
    to->height = from->height < (int)surface->height ? from->height : (int)surface->height;
    if (to->format == AV_PIX_FMT_NONE)
        err = VD_ERR_UNSUPPORTED;
    else if (avcodec_device_fourcc(to->format) == surface->format->fourcc)
        err = fetch_direct(from, to, surface, bytes);
    else
        err = fetch_converted(from, to, surface, bytes);
    av_frame_free(&to);
    if (err)
        log_debug("surface %#x cannot be read from its device: %s", (unsigned)surface->id,
                  errors_text(err));
    return err;
}

static const struct device_frame_ops picture_ops = {
    .fetch = picture_fetch,
    .free = picture_free,
};

/* The frame as a picture of a job. */
static int bind(struct avcodec_context *self, const struct surface *surface, const AVFrame *frame,
                struct device_frame **ret_frame)
{
    struct picture *picture = calloc(1, sizeof(*picture));
    int err;

    if (!picture)
        return VD_ERR_MEMORY;
    picture->pool = surface->pool;
    picture->bytes = surface->layout.size;
    err = pool_take(picture->pool, picture->bytes);
    if (err)
        goto fail_picture;
    picture->av = av_frame_clone(frame);
    if (!picture->av) {
        err = VD_ERR_MEMORY;
        goto fail_memory;
    }
    picture->frame.ops = &picture_ops;
    atomic_store(&picture->frame.refs, 1);
    picture->budget = self->budget;
    atomic_fetch_add(&self->budget->refs, 1);
    atomic_fetch_add(&self->budget->out, 1);
    device_frame_unref(ret_frame);
    *ret_frame = &picture->frame;
    return 0;
fail_memory:
    pool_give(picture->pool, picture->bytes);
fail_picture:
    free(picture);
    return err;
}

/*
 * Memory of a device that is used for the first time may hold what others left there, and a
 * picture need not cover it: it is made black.
 */
static void make_black(struct avcodec_context *self, AVFrame *frame)
{
    const AVHWFramesContext *frames = (const AVHWFramesContext *)frame->hw_frames_ctx->data;
    const uint8_t *memory = frame->buf[0]->data;
    AVFrame *black;

    for (uint32_t i = 0; i < self->seen_count; i++) {
        if (self->seen[i] == memory)
            return;
    }
    if (self->seen_count < AVCODEC_MAX_SEEN)
        self->seen[self->seen_count++] = memory;
    black = av_frame_alloc();
    if (!black)
        return;
    black->format = frames->sw_format;
    black->width = frames->width;
    black->height = frames->height;
    if (av_frame_get_buffer(black, 0) >= 0) {
        for (int i = 0; i < AV_NUM_DATA_POINTERS && black->buf[i]; i++)
            memset(black->buf[i]->data, 0, black->buf[i]->size);
        if (av_hwframe_transfer_data(frame, black, 0) < 0)
            log_debug("a new frame of the device cannot be cleared");
    }
    av_frame_free(&black);
}

/* AVCodecContext.get_buffer2 */
static int frame_get(AVCodecContext *decoder, AVFrame *frame, int flags)
{
    struct avcodec_context *self = decoder->opaque;
    struct backend_job *job = NULL;
    bool display = false;
    int err;

    if (frame->format != self->device_format)
        return avcodec_frame_get(decoder, frame, flags);
    err = avcodec_default_get_buffer2(decoder, frame, flags);
    if (err < 0)
        return err;
    if (!self->device->output_only)
        make_black(self, frame);
    if (frame->pts > 0)
        job = self->in_flight[(uint64_t)frame->pts % (2 * VD_MAX_IN_FLIGHT)];
    if (!job || (job->frame && self->codec->extra == AVCODEC_EXTRA_AFTER))
        return 0;
    if (!job->frame && job->display)
        display = true;
    job->frame = frame;
    if ((uint32_t)frame->width > ((job->surface->width + 31) & ~31u) ||
        (uint32_t)frame->height > ((job->surface->height + 31) & ~31u))
        job->status = VD_ERR_RESOLUTION;
    else
        job->status = bind(self, job->surface, frame, &job->device);
    if (display && job->device)
        job->display_device = device_frame_ref(job->device);
    return 0;
}

/* AVCodecContext.get_format: called again without the device's where the device cannot. */
static enum AVPixelFormat format_get(AVCodecContext *decoder, const enum AVPixelFormat *list)
{
    struct avcodec_context *self = decoder->opaque;

    self->seen_count = 0;
    for (int i = 0; list[i] != AV_PIX_FMT_NONE; i++) {
        if (list[i] == self->device_format)
            return list[i];
    }
    log_warn("the device refuses a %s stream of %dx%d: it is decoded in software",
             avcodec_get_name(decoder->codec_id), decoder->coded_width, decoder->coded_height);
    for (int i = 0; list[i] != AV_PIX_FMT_NONE; i++) {
        const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(list[i]);

        if (d && !(d->flags & AV_PIX_FMT_FLAG_HWACCEL))
            return list[i];
    }
    return AV_PIX_FMT_NONE;
}

int avcodec_device_open(struct avcodec_context *self, AVCodecContext *decoder)
{
    uint32_t surfaces =
        self->info.surfaces < DEVICE_MAX_SURFACES ? self->info.surfaces : DEVICE_MAX_SURFACES;

    if (!self->budget) {
        self->budget = calloc(1, sizeof(*self->budget));
        if (!self->budget)
            return VD_ERR_MEMORY;
        atomic_store(&self->budget->refs, 1);
        self->budget->most = (int)surfaces;
    }
    decoder->hw_device_ctx = av_buffer_ref(self->device->ref);
    if (!decoder->hw_device_ctx)
        return VD_ERR_MEMORY;
    /* This family opens its device before it sees the stream. */
    if (!decoder->width &&
        (decoder->codec_id == AV_CODEC_ID_MPEG4 || decoder->codec_id == AV_CODEC_ID_H263)) {
        decoder->width = (int)self->info.width;
        decoder->height = (int)self->info.height;
    }
    decoder->get_format = format_get;
    decoder->get_buffer2 = frame_get;
    decoder->extra_hw_frames = (int)surfaces + DEVICE_QUEUE + 2;
    /* The guest chose the profile; levels in our headers are the least. */
    decoder->hwaccel_flags = AV_HWACCEL_FLAG_IGNORE_LEVEL | AV_HWACCEL_FLAG_ALLOW_PROFILE_MISMATCH;
    decoder->thread_count = 1;
    if (self->device->output_only)
        decoder->flags |= AV_CODEC_FLAG_LOW_DELAY;
    self->delay = DEVICE_QUEUE;
    return 0;
}

void avcodec_device_output(struct avcodec_context *self, AVFrame *frame)
{
    struct backend_job *job;

    if (!self->device || !self->device->output_only || frame->format != self->device_format ||
        frame->pts <= 0)
        return;
    job = self->in_flight[(uint64_t)frame->pts % (2 * VD_MAX_IN_FLIGHT)];
    if (job && !job->status)
        job->status = bind(self, job->surface, frame, &job->device);
    if (job)
        job->output = true;
}

#if HAVE_VAAPI
static void sync_va(const struct avcodec_device *device, struct backend_job *job,
                    const struct device_frame *picture)
{
    const AVFrame *frame = ((const struct picture *)picture)->av;
    VAStatus status = vaSyncSurface(device->display, (VASurfaceID)(uintptr_t)frame->data[3]);

    if (!status)
        return;
    job->status = status == VA_STATUS_ERROR_DECODING_ERROR ? VD_ERR_DECODE : VD_ERR_IO;
    job->errors = status == VA_STATUS_ERROR_DECODING_ERROR;
}
#endif

void avcodec_device_finish(struct avcodec_context *self, struct backend_job *job)
{
    const AVFrame *frame = job->frame;

    /* A second field that came late: the decoder put it into the first one's frame. */
    if (!job->status && !job->frame && self->last && job->surface == self->last_surface &&
        job->packet.flags & (BITSTREAM_TOP_FIELD | BITSTREAM_BOTTOM_FIELD))
        job->device = device_frame_ref(self->last);
    if (!job->device) {
        if (!job->status && !job->backing)
            job->status = VD_ERR_DECODE;
        return;
    }
    if (!job->status && self->device->output_only && !job->output)
        job->status = VD_ERR_DECODE;
#if HAVE_VAAPI
    if (!job->status && self->device->display)
        sync_va(self->device, job, job->device);
    if (!job->status && self->device->display && job->display_device &&
        job->display_device != job->device)
        sync_va(self->device, job, job->display_device);
#endif
    /* See avcodec_frame_damaged. */
    if (!job->status && frame && frame->buf[0] &&
        frame->buf[0]->data == ((struct picture *)job->device)->av->buf[0]->data &&
        frame->decode_error_flags) {
        job->status = VD_ERR_DECODE;
        job->errors = 1;
    }
    if (job->status && !job->errors) {
        device_frame_unref(&job->device);
        device_frame_unref(&job->display_device);
        return;
    }
    device_frame_unref(&self->last);
    self->last = device_frame_ref(job->device);
    self->last_surface = job->surface;
    job->fetch = atomic_load(&self->budget->out) > self->budget->most;
}

void avcodec_device_leave(struct avcodec_context *self)
{
    device_frame_unref(&self->last);
    budget_unref(self->budget);
    self->budget = NULL;
}
