/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODER_INPUT_H
#define HOST_ENCODER_INPUT_H

#include <libavutil/frame.h>
#include <stdbool.h>

#include "../pixels.h"

/* From surfaces to frames that an encoder takes. Zeroed: empty. One thread at a time. */
struct encoder_input {
    struct SwsContext *scaler;
    AVFrame *direct; /* around the surface's memory */
    AVFrame *copy;
    AVFrame *planes; /* of a packed surface, before they are converted */
};

/* Columns and rows that a surface may have less than the picture: a block, which is padded. */
#define ENCODER_INPUT_PADDING 64

/* libavutil's name of a surface format, AV_PIX_FMT_NONE if nothing here reads it. */
enum AVPixelFormat encoder_input_format(uint32_t fourcc);
/*
 * The left upper `width` x `height` pixels as a frame of `format`, the surface's own memory where
 * the format is the same and `own` is not asked for. Columns and rows that the surface has not are
 * those at its edge. RGB becomes BT.601, from 720p on BT.709, of limited range, of full range for
 * `full`, then always BT.601. The frame is the input's and valid until the next call.
 * -VD_ERR_UNSUPPORTED: no way into the format, or the surface is too small. -VD_ERR_MEMORY.
 */
int encoder_input_take(struct encoder_input *input, const struct pixels *pixels, uint32_t width,
                       uint32_t height, enum AVPixelFormat format, bool own, bool full,
                       AVFrame **ret_frame);
/* The surface's memory is used no more. */
void encoder_input_drop(struct encoder_input *input);
void encoder_input_finish(struct encoder_input *input);

#endif
