/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_ROWS_H
#define HOST_VPP_ROWS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Loops over rows that convert_rows.h has not: from surfaces to planes. Rows do not overlap and
 * need no alignment.
 */
struct vpp_rows {
    /* Pairs into two rows. */
    void (*split8)(uint8_t *a, uint8_t *b, const uint8_t *from, size_t n);
    void (*split16)(uint8_t *a, uint8_t *b, const uint8_t *from, size_t n, int down);
    void (*down16)(uint8_t *to, const uint8_t *from, size_t n, int down);
    void (*mask16)(uint8_t *to, const uint8_t *from, size_t n, int mask);
    /* Words of `bits` bits at the upper end, to bytes, rounded. */
    void (*narrow)(uint8_t *to, const uint8_t *from, size_t n, int bits);
    /* Bytes to words: the byte twice, of which the mask takes some bits. */
    void (*widen)(uint8_t *to, const uint8_t *from, size_t n, int mask);
    void (*mean8)(uint8_t *to, const uint8_t *a, const uint8_t *b, size_t n);
    void (*mean16)(uint8_t *to, const uint8_t *a, const uint8_t *b, size_t n);
    /* Words of four bytes, V U Y A, and of 10 bits, U Y V. */
    void (*unpack8)(uint8_t *y, uint8_t *u, uint8_t *v, const uint8_t *from, size_t n);
    void (*unpack10)(uint8_t *y, uint8_t *u, uint8_t *v, const uint8_t *from, size_t n);
    /* Y U Y V in words, shifted down: n pairs of pixels. U Y V A in words, as they are. */
    void (*unpack21x)(uint8_t *y, uint8_t *u, uint8_t *v, const uint8_t *from, size_t n, int down);
    void (*unpack41x)(uint8_t *y, uint8_t *u, uint8_t *v, const uint8_t *from, size_t n);
    /* Samples through a table; those of words are masked first. */
    void (*look8)(uint8_t *to, const uint8_t *from, size_t n, const uint16_t *table);
    void (*look16)(uint8_t *to, const uint8_t *from, size_t n, const uint16_t *table, int mask);
    /* Chroma turned and stretched: (u, v) = matrix * (u - middle, v - middle) + middle, in 2^-14.
     */
    void (*turn8)(uint8_t *u_to, uint8_t *v_to, const uint8_t *u, const uint8_t *v, size_t n,
                  const int32_t matrix[4]);
    void (*turn16)(uint8_t *u_to, uint8_t *v_to, const uint8_t *u, const uint8_t *v, size_t n,
                   const int32_t matrix[4], int bits);
};

/* Those for this processor. */
const struct vpp_rows *vpp_rows(void);
/* Those for any. */
extern const struct vpp_rows vpp_rows_any;

#endif
