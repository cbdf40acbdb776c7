/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_ONNX_SPATIAL_H
#define VIADUCT_ONNX_SPATIAL_H

#include "internal.h"

/* Windows over up to three dimensions; those in front are 1 wide. */
struct spatial {
    int rank; /* of the window */
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], before[3], after[3];
    int64_t in_count, out_count, kernel_count;
};

/* Attributes of a node; the kernel is `kernel` if that is not NULL. */
int onnx_spatial_read(struct call *call, const struct value *x, const int64_t *kernel,
                      struct spatial *s);
/* The shape of a window's output: [n][c] and out. */
void onnx_spatial_dims(const struct spatial *s, int64_t n, int64_t c, int64_t *dims);

#endif
