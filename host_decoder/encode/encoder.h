/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODER_H
#define HOST_ENCODER_H

#include <stdint.h>
#include <viaduct/protocol.h>

#include "../pixels.h"
#include "encode.h"

/*
 * An encoder of one context: the best one of the host for the codec (encoder_list.c: hardware
 * first, else software), set up as the requests say, and the codec's `write` behind it. One picture
 * in, one coded buffer out, without delay.
 */
struct encoder;

/*
 * `family`: of hardware encoders, "nvenc" for h264_nvenc and hevc_nvenc; NULL: those in software.
 * `threads`: of the encoder, 0: as many as the machine has. One thread at a time uses it.
 */
int encoder_create(const struct encode_codec *codec, const char *family, int threads,
                   struct encoder **ret_encoder);
/* NULL is fine. */
void encoder_destroy(struct encoder *encoder);
/*
 * Encodes one picture. The input is only read, and not after the return. 0, or -VD_ERR_UNSUPPORTED
 * (no encoder does what the app's headers demand), -VD_ERR_LIMIT (the output has no room: its
 * `size` tells how much was needed), -VD_ERR_MEMORY, -VD_ERR_DECODE. After an error the next
 * picture must be an IDR picture; the encoder makes it one.
 */
int encoder_run(struct encoder *encoder, const struct encode_request *request,
                const struct pixels *input, struct encode_output *output);
/*
 * Profiles, entry points, formats and attributes of what can be encoded here, as HELLO tells them:
 * only what works (an encoder is opened to see). Returns how many rows were written.
 */
uint32_t encoder_caps(const char *family, struct vd_cap *ret_caps, uint32_t room);
/* Name of the encoder that serves a codec, for people; NULL: none. */
const char *encoder_name(enum vd_codec codec, const char *family);

#endif
