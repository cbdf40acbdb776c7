/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_JPEG_STREAM_H
#define VIADUCT_TEST_JPEG_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <va/va.h>
#include <va/va_dec_jpeg.h>

#include "bitstream/bits.h"

/*
 * The smallest real JPEG: every block has one colour, that is a DC coefficient and an end of
 * block, so what must come out can be told without a transform.
 */

#define JPEG_MAX_COMPONENTS 4

struct jpeg_stream {
    unsigned width, height, components;
    unsigned h[JPEG_MAX_COMPONENTS], v[JPEG_MAX_COMPONENTS];
    unsigned restart_interval;
};

/* Bits of one scan, with stuffed zeros. */
struct jpeg_scan {
    uint8_t bytes[8192];
    size_t used;
    uint32_t cache;
    unsigned count;
};

/* Difference from mid-grey: a quantiser of 8 cancels the scale of the transform. */
static inline int jpeg_value(unsigned component, unsigned x, unsigned y)
{
    return (int)((component * 50 + x * 7 + y * 13) % 200) - 100;
}

static inline unsigned jpeg_max(const struct jpeg_stream *s, const unsigned *factor)
{
    unsigned max = 1;

    for (unsigned i = 0; i < s->components; i++)
        max = factor[i] > max ? factor[i] : max;
    return max;
}

static inline unsigned jpeg_div(unsigned a, unsigned b)
{
    return (a + b - 1) / b;
}

static inline void jpeg_put(struct jpeg_scan *scan, unsigned n, uint32_t value)
{
    for (unsigned i = n; i-- > 0;) {
        scan->cache = scan->cache << 1 | (value >> i & 1);
        if (++scan->count < 8)
            continue;
        scan->bytes[scan->used++] = (uint8_t)scan->cache;
        if ((uint8_t)scan->cache == 0xff)
            scan->bytes[scan->used++] = 0;
        scan->count = 0;
    }
}

/* Fills the byte up with ones (F.1.2.3). */
static inline void jpeg_align(struct jpeg_scan *scan)
{
    while (scan->count)
        jpeg_put(scan, 1, 1);
}

/* The code of a value (C.2); VA's tables: `counts` by length, `values` by code. */
static inline void jpeg_put_symbol(struct jpeg_scan *scan, const uint8_t *counts,
                                   const uint8_t *values, uint8_t symbol)
{
    uint32_t code = 0;
    unsigned k = 0;

    for (unsigned length = 1; length <= 16; length++, code <<= 1) {
        for (unsigned i = 0; i < counts[length - 1]; i++, k++, code++) {
            if (values[k] == symbol) {
                jpeg_put(scan, length, code);
                return;
            }
        }
    }
}

static inline void jpeg_put_block(struct jpeg_scan *scan,
                                  const VAHuffmanTableBufferJPEGBaseline *tables, unsigned table,
                                  int difference)
{
    unsigned size = 0, magnitude = (unsigned)(difference < 0 ? -difference : difference);

    while (magnitude >> size)
        size++;
    jpeg_put_symbol(scan, tables->huffman_table[table].num_dc_codes,
                    tables->huffman_table[table].dc_values, (uint8_t)size);
    jpeg_put(scan, size, (uint32_t)(difference < 0 ? difference - 1 : difference));
    jpeg_put_symbol(scan, tables->huffman_table[table].num_ac_codes,
                    tables->huffman_table[table].ac_values, 0);
}

/* A scan of components `first` to `first + count - 1`; returns its MCUs. */
static inline uint32_t jpeg_write_scan(const struct jpeg_stream *s, unsigned first, unsigned count,
                                       const VAHuffmanTableBufferJPEGBaseline *tables,
                                       struct jpeg_scan *scan)
{
    unsigned hmax = jpeg_max(s, s->h), vmax = jpeg_max(s, s->v);
    unsigned columns = jpeg_div(s->width, 8 * hmax), rows = jpeg_div(s->height, 8 * vmax);
    int last[JPEG_MAX_COMPONENTS] = {0};
    unsigned restarts = 0;

    if (count == 1) { /* A.2.2: not interleaved, an MCU is a block */
        columns = jpeg_div(jpeg_div(s->width * s->h[first], hmax), 8);
        rows = jpeg_div(jpeg_div(s->height * s->v[first], vmax), 8);
    }
    memset(scan, 0, sizeof(*scan));
    for (unsigned mcu = 0; mcu < columns * rows; mcu++) {
        if (s->restart_interval && mcu && mcu % s->restart_interval == 0) {
            jpeg_align(scan);
            scan->bytes[scan->used++] = 0xff;
            scan->bytes[scan->used++] = (uint8_t)(0xd0 + restarts++ % 8);
            memset(last, 0, sizeof(last));
        }
        for (unsigned c = first; c < first + count; c++) {
            unsigned h = count == 1 ? 1 : s->h[c], v = count == 1 ? 1 : s->v[c];

            for (unsigned i = 0; i < h * v; i++) {
                int value = jpeg_value(c, mcu % columns * h + i % h, mcu / columns * v + i / h);

                jpeg_put_block(scan, tables, c != 0, value - last[c]);
                last[c] = value;
            }
        }
    }
    jpeg_align(scan);
    return columns * rows;
}

#endif
