/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_BLEND_ROWS_H
#define HOST_VPP_BLEND_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows of a layer: where samples are, and what they are worth. */
struct blend_source {
    const uint8_t *alpha, *value;
    int step;   /* bytes from pixel to pixel, of both */
    bool wide;  /* words, not bytes */
    bool weigh; /* values count by their alpha; else they are premultiplied */
    int black;  /* of premultiplied values */
    float most; /* alpha that hides all */
    int pixels; /* of a cell: 1, or 2 that lie over one sample of chroma */
};

/* Samples of the target. */
struct blend_target {
    uint8_t *first;
    int step, shift, bits;
    bool wide;
    int black;   /* as above; 0 if values count by alpha */
    float scale; /* of sums */
};

/* The loops of vpp_blend.c, over n cells. */
struct vpp_blend_rows {
    /* Adds what one row of the layer has to sums of alpha and of values. */
    void (*add)(float *alphas, float *values, const struct blend_source *source, size_t n);
    /* sample += scale * (value - alpha * (sample - black)) */
    void (*apply)(const struct blend_target *target, const float *alphas, const float *values,
                  size_t n);
};

/* Those for this processor. */
const struct vpp_blend_rows *vpp_blend_rows(void);
/* Those for any. */
extern const struct vpp_blend_rows vpp_blend_rows_any;

#endif
