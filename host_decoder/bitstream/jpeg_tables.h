/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_JPEG_TABLES_H
#define VIADUCT_JPEG_TABLES_H

#include <va/va.h>
#include <va/va_dec_jpeg.h>

/*
 * The Huffman tables of T.81 K.3, 0 for luminance and 1 for chrominance: streams of Motion JPEG
 * contain none, and mean these.
 */
extern const VAHuffmanTableBufferJPEGBaseline jpeg_tables_default;

#endif
