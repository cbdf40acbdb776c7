/* SPDX-License-Identifier: MIT */
#ifndef BACKEND_AVCODEC_DEVICE_H
#define BACKEND_AVCODEC_DEVICE_H

#include <libavutil/hwcontext.h>

#include "avcodec.h"

/*
 * libavcodec with a device: any AVHWDeviceContext whose hwaccels the software decoders of
 * libavcodec have. avcodec_device.c: devices and what they serve. avcodec_device_frame.c: pictures.
 *
 * Pictures are bound to surfaces when the decoder asks for a frame, as in software, so also those
 * arrive that it never hands out. NVDEC fills frames only when they are handed out
 * (`output_only`): there only codecs are served that libavcodec hands out in decoding order.
 */

struct avcodec_device {
    AVBufferRef *ref;
    enum AVHWDeviceType type;
    bool output_only;
    void *display; /* VADisplay of VA-API, else NULL */
};

/* The decoder of a codec that works with this device, NULL if there is none. */
const AVCodec *avcodec_device_decoder(const struct avcodec_device *device, enum AVCodecID id,
                                      enum AVPixelFormat *ret_format);
/* Formats of libavcodec and of surfaces that are the same bytes; 0 if there is none. */
uint32_t avcodec_device_fourcc(enum AVPixelFormat format);

/* Frames that surfaces hold of one context's; the frames may outlive it. */
struct avcodec_budget {
    atomic_int refs, out;
    int most;
};

/* Sets up a decoder to work on the device of its context. */
int avcodec_device_open(struct avcodec_context *self, AVCodecContext *decoder);
/* Takes a frame the decoder hands out. */
void avcodec_device_output(struct avcodec_context *self, AVFrame *frame);
/* The picture is sent: waits for it where that is possible and says what became of it. */
void avcodec_device_finish(struct avcodec_context *self, struct backend_job *job);
/* What is left of a context. */
void avcodec_device_leave(struct avcodec_context *self);

#endif
