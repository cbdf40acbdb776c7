/* SPDX-License-Identifier: MIT */
#ifndef HOST_CONVERT_ROWS_H
#define HOST_CONVERT_ROWS_H

#include <stddef.h>
#include <stdint.h>

/*
 * The loops of convert.c, one row a call: plain C that the compiler turns into vector code, once
 * for any processor and once for those with AVX2. Rows need no alignment and must not overlap.
 * `up` shifts samples to the left.
 */
struct convert_rows {
    /* to[i] = from[i] << up */
    void (*shift16)(uint8_t *to, const uint8_t *from, size_t n, int up);
    /* Two rows into one of pairs. */
    void (*pair8)(uint8_t *to, const uint8_t *a, const uint8_t *b, size_t n);
    void (*pair16)(uint8_t *to, const uint8_t *a, const uint8_t *b, size_t n, int up);
    /*
     * Packed 4:2:2: n pairs of pixels. `luma_at` is the place in bits of the first luma sample, 0
     * for Y U Y V, 8 for U Y V Y.
     */
    void (*quad8)(uint8_t *to, const uint8_t *y, const uint8_t *u, const uint8_t *v, size_t n,
                  int luma_at);
    /* Y U Y V only. */
    void (*quad16)(uint8_t *to, const uint8_t *y, const uint8_t *u, const uint8_t *v, size_t n,
                   int up);
    /*
     * Three samples a pixel into one word of 32 or 64 bits: at[i] is the place in bits of the
     * i-th, `ones` are bits to set.
     */
    void (*word8)(uint8_t *to, const uint8_t *a, const uint8_t *b, const uint8_t *c, size_t n,
                  const int at[3], uint32_t ones);
    void (*word16)(uint8_t *to, const uint8_t *a, const uint8_t *b, const uint8_t *c, size_t n,
                   const int at[3], uint32_t ones);
    void (*long16)(uint8_t *to, const uint8_t *a, const uint8_t *b, const uint8_t *c, size_t n,
                   const int at[3], uint64_t ones);
    /* Averages, rounded up: of two rows; of neighbours in a row (2 * n samples). */
    void (*mean_rows)(uint8_t *to, const uint8_t *a, const uint8_t *b, size_t n);
    void (*mean_neighbours)(uint8_t *to, const uint8_t *from, size_t n);
};

/* Those for this processor. */
const struct convert_rows *convert_rows(void);
/* Those for any. */
extern const struct convert_rows convert_rows_any;

#endif
