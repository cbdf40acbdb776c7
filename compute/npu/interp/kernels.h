/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_ONNX_KERNELS_H
#define VIADUCT_ONNX_KERNELS_H

#include <stdint.h>

/* What is built once for each instruction set (kernels.c). */
struct onnx_kernels {
    int mr, nr; /* the tile of gemm_tile: rows, columns */
    /*
     * c[mr][nr] += a * b over k; a is packed [k][mr], b [k][nr], c has rows of `c_row` floats and
     * need not be aligned.
     */
    void (*gemm_tile)(int64_t k, const float *a, const float *b, float *c, int64_t c_row);
    /* to[i] += from[i * step] * by */
    void (*add_scaled)(float *to, const float *from, int64_t step, float by, int64_t n);
};

extern const struct onnx_kernels onnx_kernels_base, onnx_kernels_avx2, onnx_kernels_avx512;

/* The best this processor has; VIADUCT_ONNX_SIMD=base|avx2 lowers it. */
const struct onnx_kernels *onnx_kernels(void);

#endif
