/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_LUT_ROWS_H
#define HOST_VPP_LUT_ROWS_H

#include <stddef.h>
#include <stdint.h>

/* Intervals of luma, of U and of V. */
#define LUT_LUMA   64
#define LUT_CHROMA 32
/* A table has words for all but the last place of luma and of U. */
#define LUT_NEXT_V (LUT_CHROMA * LUT_LUMA)
#define LUT_WORDS  ((LUT_CHROMA + 1) * LUT_NEXT_V)
/* 1.0, log2: there is room for values a little above and below. */
#define LUT_ONE 13

/*
 * The loops of vpp_lut.c. Samples on the way are words with their bits at the upper end. Rows of
 * words have room for two more than n.
 */
struct vpp_lut_rows {
    /* Samples of `bits` bits from two rows, `weight` quarters from the second. */
    void (*mix)(uint16_t *to, const uint8_t *a, const uint8_t *b, size_t n, int weight, int bits);
    /* 2 * n samples from n: each, and the mean with the next. */
    void (*spread)(uint16_t *to, uint16_t *from, size_t n);
    /* Every second of `width` samples, with half of its neighbours. */
    void (*thin)(uint16_t *to, const uint16_t *from, size_t n, size_t width);
    /*
     * Values of the table between its places, linear in all three directions, as samples of
     * `bits` bits.
     */
    void (*look)(uint8_t *to, const uint16_t *y, const uint16_t *u, const uint16_t *v, size_t n,
                 const uint64_t *table, int bits);
};

/*
 * The word of a place. It has four values of 16 bits, from the lowest: at (y, u), (y + 1, u),
 * (y, u + 1) and (y + 1, u + 1).
 */
static inline size_t lut_place(uint16_t y, uint16_t u, uint16_t v)
{
    return (size_t)(v >> 11) * LUT_NEXT_V + (size_t)(u >> 11) * LUT_LUMA + (y >> 10);
}

/* Those for this processor. */
const struct vpp_lut_rows *vpp_lut_rows(void);
/* Those for any. */
extern const struct vpp_lut_rows vpp_lut_rows_any;

#endif
