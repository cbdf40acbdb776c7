/* SPDX-License-Identifier: MIT */
#ifndef HOST_CONVERT_H
#define HOST_CONVERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wire/format.h>

/*
 * From what a software decoder writes, planes of samples, to what a surface's format wants. No
 * sample loses a bit; the one exception are the ways from 4:2:2, 4:4:0, 4:1:1 and 4:4:4 to NV12,
 * where chroma is averaged, for programs that know nothing else.
 */

#define CONVERT_MAX_PLANES 3
/* In struct convert_way: this plane of the decoder's lies beside the surface. */
#define CONVERT_BESIDE (-1)

/* What a decoder writes. */
struct convert_samples {
    uint8_t bits;             /* 8: bytes; 9 to 16: words of 16 bits, the sample in the low ones */
    uint8_t planes;           /* 1: grey; 3 */
    uint8_t shift_w, shift_h; /* log2 of the subsampling of planes 1 and 2 */
    bool rgb;                 /* planes are G, B, R, not Y, U, V */
};

/* Where it wrote it. Strides in bytes. */
struct convert_source {
    const uint8_t *plane[CONVERT_MAX_PLANES];
    ptrdiff_t stride[CONVERT_MAX_PLANES];
};

struct convert_job;

/* How samples come into surfaces of one format. */
struct convert_way {
    uint32_t fourcc;
    uint8_t kind, min_bits, max_bits; /* samples it is for */
    /* The plane of the surface that the decoder may write as its plane i, or CONVERT_BESIDE. */
    int8_t plane[CONVERT_MAX_PLANES];
    /* Fills what is not written directly; NULL: nothing is left to do. */
    void (*run)(const struct convert_job *job);
    uint8_t at[CONVERT_MAX_PLANES + 1]; /* packed formats: where samples go, see convert.c */
};

/* NULL if there is no way. */
const struct convert_way *convert_find(const struct convert_samples *samples, uint32_t fourcc);
/*
 * Brings the left upper `width` x `height` pixels of a complete picture into the surface at `to`.
 * Source planes that the decoder wrote directly are not looked at. Reads no more than the visible
 * samples and writes no more than format_row_bytes and format_rows say. Any thread.
 */
void convert_run(const struct convert_way *way, const struct convert_samples *samples,
                 const struct convert_source *from, const struct format_info *format,
                 const struct format_layout *layout, uint8_t *to, uint32_t width, uint32_t height);

#endif
