/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODER_JPEG_H
#define HOST_ENCODER_JPEG_H

#include "../pixels.h"
#include "encode.h"

/* JPEG on libjpeg-turbo: libavcodec's encoder does not take quantisers of the DC. */
struct encoder_jpeg;

/* NULL: no memory, or built without libjpeg-turbo. */
struct encoder_jpeg *encoder_jpeg_create(void);
void encoder_jpeg_destroy(struct encoder_jpeg *jpeg);
/* A complete JPEG file. The packet's bytes are valid until the next call. */
int encoder_jpeg_run(struct encoder_jpeg *jpeg, const struct encode_request *request,
                     const struct pixels *pixels, struct encode_packet *ret_packet);

#endif
