/* SPDX-License-Identifier: MIT */
#include "avcodec_device.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <wire/log.h>

/*
 * libavcodec, in software and, with avcodec_device_frame.c, on a device.
 *
 * When is a picture complete? Without frame threads, when the decoder asks for more input. With
 * T frame threads, at most T - 1 packets later; packets without a picture push it out when
 * somebody waits and nothing follows. H.264: a NAL unit of type 10 (end of sequence) alone in a
 * packet is such a packet, silent and without effect on the reference buffer, but never between
 * the two fields of a frame, which therefore travel as one packet.
 */

#define AVCODEC_MAX_THREADS 16
/* Pictures that wait for a thread. */
#define AVCODEC_QUEUE 6

/* libavcodec's own messages are about guests' streams: details for who looks for them. */
void avcodec_log(void *avcl, int level, const char *format, va_list args)
{
    char line[512];
    int prefix = 1;

    if (level > AV_LOG_WARNING || !log_enabled(LOG_LEVEL_DEBUG))
        return;
    av_log_format_line(avcl, level, format, args, line, sizeof(line), &prefix);
    line[strcspn(line, "\n")] = 0;
    log_debug("libavcodec: %s", line);
}

static int avcodec_probe(const struct backend_options *options)
{
    struct vd_cap cap;

    (void)options;
    av_log_set_callback(avcodec_log);
    return avcodec_codecs_caps(&cap, 1) ? 0 : VD_ERR_UNSUPPORTED;
}

const struct bitstream_builder *avcodec_builder(enum vd_codec codec)
{
    const struct avcodec_codec *c = avcodec_codecs_find(codec);

    return c ? c->builder : NULL;
}

static int thread_count(const struct backend_options *options)
{
    long n = options->threads ? options->threads : sysconf(_SC_NPROCESSORS_ONLN);

    if (n < 1)
        n = 1;
    return n > AVCODEC_MAX_THREADS ? AVCODEC_MAX_THREADS : (int)n;
}

void avcodec_context_destroy(void *context)
{
    struct avcodec_context *self = context;

    av1_feed_finish(&self->feed);
    avcodec_device_leave(self);
    avcodec_free_context(&self->decoder);
    av_packet_free(&self->packet);
    av_frame_free(&self->frame);
    free(self);
}

/* Older versions route get_buffer2 through the thread that sends packets otherwise. */
static void call_from_threads(AVCodecContext *decoder)
{
#if LIBAVCODEC_VERSION_MAJOR < 60
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    decoder->thread_safe_callbacks = 1;
#pragma GCC diagnostic pop
#else
    (void)decoder;
#endif
}

/* A decoder that has seen nothing, with the headers beside `packet`, which may be NULL. */
static int open_decoder(struct avcodec_context *self, const struct bitstream_packet *packet)
{
    const AVCodec *codec =
        self->device ? avcodec_device_decoder(self->device, self->codec->id, &self->device_format)
                     : avcodec_find_decoder(self->codec->id);
    AVCodecContext *decoder = codec ? avcodec_alloc_context3(codec) : NULL;

    if (!decoder)
        return codec ? VD_ERR_MEMORY : VD_ERR_UNSUPPORTED;
    call_from_threads(decoder);
    decoder->opaque = self;
    decoder->get_buffer2 = avcodec_frame_get;
    decoder->apply_cropping = 0;
    decoder->thread_count = thread_count(self->info.options);
    decoder->thread_type = self->codec->threads;
    if (packet) {
        /* Others have the size in their stream (and JPEG takes a lower picture for a field). */
        decoder->width = (int)packet->coded_width;
        decoder->height = (int)packet->coded_height;
    }
    if (packet && packet->extradata_size > 0) {
        size_t size = packet->extradata_size;

        decoder->extradata = av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE);
        if (!decoder->extradata)
            goto fail;
        memcpy(decoder->extradata, packet->extradata, size);
        decoder->extradata_size = (int)size;
    }
    if (self->device && avcodec_device_open(self, decoder))
        goto fail;
    if (avcodec_open2(decoder, NULL, NULL) < 0)
        goto fail;
    avcodec_free_context(&self->decoder);
    self->decoder = decoder;
    if (!self->device)
        self->delay = decoder->active_thread_type & FF_THREAD_FRAME ? decoder->thread_count - 1 : 0;
    return 0;
fail:
    avcodec_free_context(&decoder);
    return VD_ERR_UNSUPPORTED;
}

static struct backend_job **flight_at(struct avcodec_context *self, uint64_t number)
{
    return &self->in_flight[number % (2 * VD_MAX_IN_FLIGHT)];
}

/* What became of a picture that was decoded in software. */
static void judge(struct backend_job *job, int result)
{
    if (!job->status && avcodec_frame_damaged(job)) {
        job->status = VD_ERR_DECODE;
        job->errors = 1;
    }
    if (!job->status && result < 0)
        job->status = VD_ERR_DECODE;
    if (!job->status && !job->frame) {
        /* A second field that came late: the decoder put it into the first one's frame. */
        if (job->packet.flags & (BITSTREAM_TOP_FIELD | BITSTREAM_BOTTOM_FIELD))
            job->backing = surface_current(job->surface);
        if (!job->backing)
            job->status = VD_ERR_DECODE;
    }
}

/* Completes the oldest packet; `result` is what the decoder returned when it gave it back. */
static void finish_oldest(struct avcodec_context *self, int result)
{
    struct backend_job **slot = flight_at(self, ++self->finished);
    struct backend_job *job = *slot;

    *slot = NULL;
    if (!job)
        return;
    /* Without memory of the arena, unless the device left a stream to software. */
    if (self->device && !job->backing)
        avcodec_device_finish(self, job);
    else
        judge(job, result);
    avcodec_frame_finish(job);
    if (job->pair) {
        struct backend_job *first = job->pair;

        first->status = job->status;
        first->backing = job->backing ? pool_ref(job->backing) : NULL;
        first->device = job->device ? device_frame_ref(job->device) : NULL;
        self->info.done(self->info.done_arg, first);
    }
    self->info.done(self->info.done_arg, job);
}

static void packet_release(void *opaque, uint8_t *data)
{
    struct block *block = opaque;

    (void)data;
    block_unref(&block);
}

/* Sends one packet (job NULL: without a picture) and completes what comes out of the pipeline. */
static void send_packet(struct avcodec_context *self, struct backend_job *job, AVPacket *packet)
{
    int result, err;

    packet->pts = (int64_t)++self->sent;
    *flight_at(self, self->sent) = job;
    result = avcodec_send_packet(self->decoder, packet);
    av_packet_unref(packet);
    /* Output frames are not wanted: the surfaces have the pictures already. */
    do {
        err = avcodec_receive_frame(self->decoder, self->frame);
        if (!err)
            avcodec_device_output(self, self->frame);
        av_frame_unref(self->frame);
    } while (!err);
    if (err != AVERROR(EAGAIN) && result >= 0)
        result = err;
    /* Without threads of its own the decoder speaks of this packet. */
    if (self->device && job && !job->status && result < 0)
        job->status = VD_ERR_DECODE;
    while (self->sent - self->finished > (uint64_t)self->delay)
        finish_oldest(self, result);
}

/*
 * Ends the stream and starts another one: completes all, and the references are lost. For
 * decoders that nothing pushes out; VP9 has no such packet only while it has no references.
 */
static void drain(struct avcodec_context *self)
{
    int result = 0, err = avcodec_send_packet(self->decoder, NULL);

    /* Which picture an error belongs to is not told. */
    for (int i = 0; i < 4 * AVCODEC_MAX_THREADS && err != AVERROR_EOF; i++) {
        err = avcodec_receive_frame(self->decoder, self->frame);
        av_frame_unref(self->frame);
        if (err < 0 && err != AVERROR_EOF)
            result = err;
    }
    while (self->finished < self->sent)
        finish_oldest(self, result);
    avcodec_flush_buffers(self->decoder);
}

/*
 * Sends packets without a picture until job `number` and those before it are complete. Not one
 * more: what was sent after them goes on in the decoder's threads.
 */
static void push_out(struct avcodec_context *self, uint64_t number)
{
    uint64_t target = self->finished;

    for (uint64_t n = self->finished + 1; n <= self->sent; n++) {
        const struct backend_job *job = *flight_at(self, n);

        /* Two fields in one packet: it is waited for if the first is. */
        if (job && job->pair)
            job = job->pair;
        if (job && job->number <= number)
            target = n;
    }
    /* A device needs no more input. */
    while (self->device && self->finished < target)
        finish_oldest(self, 0);
    while (self->finished < target) {
        AVPacket *packet = self->packet;

        packet->size = self->codec->no_op ? (int)self->codec->no_op(self, self->no_op) : 0;
        if (packet->size == 0) {
            /* An empty packet would end the stream. */
            drain(self);
            return;
        }
        /* libavcodec copies packets that own no memory. */
        packet->data = self->no_op;
        send_packet(self, NULL, packet);
    }
}

/* A picture that the decoder never sees, complete behind those before it. */
static void fail_job(struct avcodec_context *self, struct backend_job *job, int err)
{
    push_out(self, job->number);
    job->status = err;
    self->info.done(self->info.done_arg, job);
}

/* Opens the decoder anew if the picture comes with other headers than the last one. */
static int take_extradata(struct avcodec_context *self, const struct bitstream_packet *packet)
{
    const AVCodecContext *decoder = self->decoder;

    if (!self->codec->extradata)
        return 0;
    if (decoder && (size_t)decoder->extradata_size == packet->extradata_size &&
        memcmp(decoder->extradata, packet->extradata, packet->extradata_size) == 0)
        return 0;
    push_out(self, UINT64_MAX);
    return open_decoder(self, packet);
}

static void send_job(struct avcodec_context *self, struct backend_job *job)
{
    AVPacket *packet = self->packet;
    int err = take_extradata(self, &job->packet);

    if (err) {
        fail_job(self, job, err);
        return;
    }
    packet->buf = av_buffer_create(job->block->bytes, job->block->room, packet_release,
                                   block_ref(job->block), AV_BUFFER_FLAG_READONLY);
    if (!packet->buf) {
        struct block *extra = job->block;

        block_unref(&extra);
        fail_job(self, job, VD_ERR_MEMORY);
        return;
    }
    packet->data = job->packet.data;
    packet->size = (int)job->packet.size;
    if (job->packet.flags & BITSTREAM_KEY)
        packet->flags |= AV_PKT_FLAG_KEY;
    memcpy(self->next_no_op, job->packet.no_op, sizeof(self->next_no_op));
    self->next_no_op_size = job->packet.no_op_size;
    send_packet(self, job, packet);
}

/* Memory that is seen elsewhere cannot be renamed: waits for those who read it. */
static void wait_if_fixed(struct avcodec_context *self, const struct backend_job *job)
{
    if (job->flags & (VD_SUBMIT_FIXED | VD_SUBMIT_DISPLAY_FIXED))
        push_out(self, job->number);
}

/*
 * struct av1_feed.decode. Without a job the decoder gets the packet like one without a picture, to
 * have its picture as a reference.
 */
static void feed_decode(void *context, struct backend_job *job, struct block *block,
                        const uint8_t *bytes, size_t size)
{
    struct avcodec_context *self = context;
    AVPacket *packet = self->packet;

    if (job) {
        wait_if_fixed(self, job);
        send_job(self, job);
        return;
    }
    if (!self->decoder || av_new_packet(packet, (int)size) < 0)
        return;
    (void)block;
    memcpy(packet->data, bytes, size);
    send_packet(self, NULL, packet);
}

/* struct av1_feed.done: jobs that were decoded are completed when they come out. */
static void feed_done(void *context, struct backend_job *job)
{
    if (job->refused)
        fail_job(context, job, job->refused);
}

int avcodec_context_create(const struct backend_context_info *info, void **ret_context,
                           struct backend_context_traits *ret_traits)
{
    const struct avcodec_codec *codec = avcodec_codecs_find(info->codec);
    struct avcodec_context *self;
    int err = VD_ERR_MEMORY;

    if (!codec)
        return VD_ERR_UNSUPPORTED;
    self = calloc(1, sizeof(*self));
    if (!self)
        return VD_ERR_MEMORY;
    self->info = *info;
    self->device = info->device;
    self->codec = codec;
    self->feed = (struct av1_feed){.decode = feed_decode, .done = feed_done, .arg = self};
    self->packet = av_packet_alloc();
    self->frame = av_frame_alloc();
    if (!self->packet || !self->frame)
        goto fail;
    /* The others' headers come with the first picture. */
    err = codec->extradata ? 0 : open_decoder(self, NULL);
    if (err)
        goto fail;
    /*
     * A queue that bridges the guest's pauses, behind what the threads hold. Each picture in flight
     * has memory of its own: a deeper queue leaves the caches.
     */
    *ret_traits = (struct backend_context_traits){
        .flags = VD_CONTEXT_KICK,
        .depth = (uint32_t)self->delay + AVCODEC_QUEUE,
    };
    *ret_context = self;
    return 0;
fail:
    avcodec_context_destroy(self);
    return err;
}

static void send_held(struct avcodec_context *self)
{
    struct backend_job *job = self->held;

    self->held = NULL;
    if (job)
        send_job(self, job);
}

/*
 * The second field of the held frame: both leave as one packet under the second job, the first
 * job completes right before it with the same result.
 */
static bool join_fields(struct avcodec_context *self, struct backend_job *second)
{
    const uint32_t both = BITSTREAM_TOP_FIELD | BITSTREAM_BOTTOM_FIELD;
    struct backend_job *first = self->held;
    AVPacket *packet = self->packet;

    if (!first || second->refused || second->surface != first->surface ||
        ((first->packet.flags ^ second->packet.flags) & both) != both ||
        take_extradata(self, &first->packet))
        return false;
    if (av_new_packet(packet, (int)(first->packet.size + second->packet.size)) < 0)
        return false;
    memcpy(packet->data, first->packet.data, first->packet.size);
    memcpy(packet->data + first->packet.size, second->packet.data, second->packet.size);
    self->held = NULL;
    second->pair = first;
    send_packet(self, second, packet);
    return true;
}

void avcodec_submit(void *context, struct backend_job *job)
{
    struct avcodec_context *self = context;

    if (self->codec->fed) {
        av1_feed_submit(&self->feed, job);
        return;
    }
    if (self->held && join_fields(self, job))
        return;
    send_held(self);
    if (job->refused) {
        fail_job(self, job, job->refused);
        return;
    }
    wait_if_fixed(self, job);
    if (job->packet.flags & (BITSTREAM_TOP_FIELD | BITSTREAM_BOTTOM_FIELD)) {
        self->held = job;
        return;
    }
    send_job(self, job);
}

void avcodec_flush(void *context, uint64_t number)
{
    struct avcodec_context *self = context;

    if (self->held && self->held->number <= number)
        send_held(self);
    if (self->codec->fed)
        av1_feed_flush(&self->feed, number);
    push_out(self, number);
}

void avcodec_context_adopt(void *context, const struct backend_context_info *info)
{
    struct avcodec_context *self = context;

    self->info = *info;
}

const struct backend backend_avcodec = {
    .name = "avcodec",
    .probe = avcodec_probe,
    .caps = avcodec_codecs_caps,
    .builder = avcodec_builder,
    .context_create = avcodec_context_create,
    .context_adopt = avcodec_context_adopt,
    .submit = avcodec_submit,
    .flush = avcodec_flush,
    .context_destroy = avcodec_context_destroy,
};
