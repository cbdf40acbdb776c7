/* SPDX-License-Identifier: MIT */
#ifndef BACKEND_AVCODEC_H
#define BACKEND_AVCODEC_H

#include <libavcodec/avcodec.h>

#include "../backend.h"

/*
 * The libavcodec back end: avcodec.c feeds packets and decides what is complete,
 * avcodec_frame.c gives the decoder the surfaces' memory.
 */

struct avcodec_context;

/*
 * get_buffer2 is called more than once for a packet: H.264 asks for frames that are missing
 * before the picture itself, HEVC for missing references after it.
 */
enum avcodec_extra {
    AVCODEC_EXTRA_BEFORE, /* the last frame asked for is the picture */
    AVCODEC_EXTRA_AFTER,  /* the first one is */
    AVCODEC_EXTRA_ALIKE,  /* the first one is, and the others must have its pitches (mpegvideo) */
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
    bool extradata; /* opened with the headers of the first picture */
};

/* The codec's row, NULL if this libavcodec has no decoder for it. */
const struct avcodec_codec *avcodec_codecs_find(enum vd_codec codec);
/* struct backend.caps of the software decoders. */
uint32_t avcodec_codecs_caps(struct vd_cap *ret_caps, uint32_t room);

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

#endif
