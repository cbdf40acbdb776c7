/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <viaduct/errors.h>

#include "encoder_jpeg.h"

/* Built without libjpeg-turbo: encode.c has no row that leads here. */

struct encoder_jpeg *encoder_jpeg_create(void)
{
    return NULL;
}

void encoder_jpeg_destroy(struct encoder_jpeg *jpeg)
{
    (void)jpeg;
}

int encoder_jpeg_run(struct encoder_jpeg *jpeg, const struct encode_request *request,
                     const struct pixels *pixels, struct encode_packet *ret_packet)
{
    (void)jpeg;
    (void)request;
    (void)pixels;
    (void)ret_packet;
    return VD_ERR_UNSUPPORTED;
}
