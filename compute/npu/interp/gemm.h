/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_ONNX_GEMM_H
#define VIADUCT_ONNX_GEMM_H

#include "internal.h"

/* C[m][n] = A * B + beta * C; strides of rows and columns in elements. */
struct gemm {
    int64_t m, n, k;
    const float *a;
    int64_t a_row, a_col;
    const float *b;
    int64_t b_row, b_col;
    float *c;
    int64_t c_row;
    float beta; /* 0: C is not read */
    /*
     * Writes rows k..k+kc, columns n..n+count of B to `to`, as kc rows of nr floats, zeros behind
     * count. NULL: from b.
     */
    void (*pack)(void *arg, int64_t k, int64_t kc, int64_t n, int64_t count, int nr, float *to);
    void *pack_arg;
};

int onnx_gemm(struct call *call, const struct gemm *gemm);

#endif
