/* SPDX-License-Identifier: MIT */
#ifndef BACKEND_AVCODEC_H
#define BACKEND_AVCODEC_H

#include <libavcodec/avcodec.h>

#include "../backend.h"
#include "../convert.h"
#include "av1_feed.h"

/*
 * The libavcodec back end: avcodec.c feeds packets and decides what is complete,
 * avcodec_frame.c gives the decoder the surfaces' memory.
 */

struct avcodec_context;
struct avcodec_device;
struct avcodec_budget;

/*
 * get_buffer2 is called more than once for a packet: H.264 asks for frames that are missing
 * before the picture itself, HEVC for missing references after it.
 */
enum avcodec_extra {
    AVCODEC_EXTRA_BEFORE, /* the last frame asked for is the picture */
    AVCODEC_EXTRA_AFTER,  /* the first one is */
    /* AV1 with film grain: the first one is the picture with it, the last the one without. */
    AVCODEC_EXTRA_DISPLAY,
};

/* One codec: a row of avcodec_codecs.c. */
struct avcodec_codec {
    enum vd_codec codec;
    enum AVCodecID id;
    const struct bitstream_builder *builder;
    int threads; /* FF_THREAD_* it may use */
    /*
     * Writes a packet without a picture, at most BITSTREAM_NO_OP_ROOM bytes, and returns its size;
     * 0 if there is none at this time. NULL: never needed, as there are no frame threads.
     */
    size_t (*no_op)(struct avcodec_context *self, uint8_t *room);
    enum avcodec_extra extra;
    bool extradata;   /* opened with the headers of the first picture */
    bool device_only; /* the decoder does nothing without one */
    bool fed;         /* packets go through av1_feed.h */
};

/* The codec's row, NULL if this libavcodec has no decoder for it. */
const struct avcodec_codec *avcodec_codecs_find(enum vd_codec codec);
/* struct backend.caps of the software decoders. */
uint32_t avcodec_codecs_caps(struct vd_cap *ret_caps, uint32_t room);
/* The same and what libavcodec decodes on devices only. */
uint32_t avcodec_codecs_device_caps(struct vd_cap *ret_caps, uint32_t room);

/* Frames of a device that are told apart: a pool has fewer. */
#define AVCODEC_MAX_SEEN 128

struct avcodec_context {
    struct backend_context_info info;
    const struct avcodec_codec *codec;
    AVCodecContext *decoder; /* NULL until its headers are known */
    AVPacket *packet;
    AVFrame *frame;
    int delay; /* packets that may lie in the decoder: frame threads - 1 */
    /*
     * Packets in the order they were sent, by number; NULL for one without a picture. `sent`
     * counts them; those up to sent - delay are finished.
     */
    struct backend_job *in_flight[VD_MAX_IN_FLIGHT * 2];
    uint64_t sent, finished;
    /* On a device (avcodec_device_frame.c), else NULL and unused. */
    const struct avcodec_device *device;
    enum AVPixelFormat device_format;
    struct avcodec_budget *budget;
    struct device_frame *last; /* of the last complete picture, and its surface (not a reference) */
    const struct surface *last_surface;
    const uint8_t *seen[AVCODEC_MAX_SEEN]; /* memory of the device that was cleared */
    uint32_t seen_count;
    struct av1_feed feed;
    struct backend_job *held; /* a first field that waits for its second */
    uint8_t no_op[BITSTREAM_NO_OP_ROOM + AV_INPUT_BUFFER_PADDING_SIZE];
    /* What the last picture's packet says may follow it. */
    uint8_t next_no_op[BITSTREAM_NO_OP_ROOM];
    size_t next_no_op_size;
};

/* AVCodecContext.get_buffer2: memory of the surface the packet's job decodes into. */
int avcodec_frame_get(AVCodecContext *decoder, AVFrame *frame, int flags);
/* Brings decoded samples into the surface's own format, where the decoder could not. */
void avcodec_frame_finish(struct backend_job *job);
/* Whether the decoder marked the picture as damaged. */
bool avcodec_frame_damaged(const struct backend_job *job);
/* What the decoder is about to write, if it is planes of samples and no alpha. */
int avcodec_frame_samples(int format, struct convert_samples *ret_samples);

/* libavcodec's messages, for av_log_set_callback. */
void avcodec_log(void *avcl, int level, const char *format, va_list args);
/* struct backend's, in software and on a device. */
const struct bitstream_builder *avcodec_builder(enum vd_codec codec);
int avcodec_context_create(const struct backend_context_info *info, void **ret_context,
                           struct backend_context_traits *ret_traits);
void avcodec_context_adopt(void *context, const struct backend_context_info *info);
void avcodec_submit(void *context, struct backend_job *job);
void avcodec_flush(void *context, uint64_t number);
void avcodec_context_destroy(void *context);

#endif
