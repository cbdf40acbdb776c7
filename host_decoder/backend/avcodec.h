/* SPDX-License-Identifier: MIT */
#ifndef BACKEND_AVCODEC_H
#define BACKEND_AVCODEC_H

#include <libavcodec/avcodec.h>

#include "../backend.h"

/*
 * The libavcodec back end: avcodec.c feeds packets and decides what is complete,
 * avcodec_frame.c gives the decoder the surfaces' memory.
 */

struct avcodec_context {
    struct backend_context_info info;
    AVCodecContext *decoder;
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
};

/* AVCodecContext.get_buffer2: memory of the surface the packet's job decodes into. */
int avcodec_frame_get(AVCodecContext *decoder, AVFrame *frame, int flags);
/* Brings decoded samples into the surface's own format, where the decoder could not. */
void avcodec_frame_finish(struct backend_job *job);
/* Whether the decoder marked the picture as damaged. */
bool avcodec_frame_damaged(const struct backend_job *job);

#endif
