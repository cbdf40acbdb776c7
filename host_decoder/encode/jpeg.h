/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODE_JPEG_H
#define HOST_ENCODE_JPEG_H

#include <stdint.h>

#include "encode.h"

/* encode_request.own of JPEG. */
struct jpeg_request {
    uint8_t quantiser[2][64]; /* in raster order, never 0 */
    uint8_t selector[3];      /* of the components: 0 or 1 */
    uint8_t components;       /* 1: grey; 3 */
    uint16_t restart_interval;
};

_Static_assert(sizeof(struct jpeg_request) <= ENCODE_PRIVATE, "a request has room for it");

#endif
