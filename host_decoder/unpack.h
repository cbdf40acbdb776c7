/* SPDX-License-Identifier: MIT */
#ifndef HOST_UNPACK_H
#define HOST_UNPACK_H

#include <stdint.h>

#include "pixels.h"

/*
 * From packed YUV formats that FFmpeg's libraries (5.1) do not know, or are slow with, to planes:
 * AYUV, XYUV (to 4:4:4 of 8 bits), Y410 (4:4:4 of 10 bits, in words), Y210 (4:2:2, likewise), Y212
 * and Y412 (4:2:2 and 4:4:4 of 16 bits, of which the lower four say nothing). Alpha is left behind.
 * Planes have room for the whole picture, strides are in bytes. Any thread.
 */
void unpack_run(const struct pixels *pixels, uint8_t *const planes[3], const int strides[3]);

#endif
