/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "kernels.h"

/* Built with the flags of one instruction set, under the name ONNX_KERNELS. */

#if defined(__AVX512F__)
#define LANES 16
#define MR    12
#elif defined(__AVX2__)
#define LANES 8
#define MR    6
#else
#define LANES 4
#define MR    4
#endif
#define NR (2 * LANES)

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef float loose __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

static void gemm_tile(int64_t k, const float *a, const float *b, float *c, int64_t c_row)
{
    vec sum[MR][2];

#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
        sum[r][0] = *(const loose *)(c + r * c_row);
        sum[r][1] = *(const loose *)(c + r * c_row + LANES);
    }
    for (int64_t i = 0; i < k; i++) {
        vec b0 = *(const loose *)(b + i * NR), b1 = *(const loose *)(b + i * NR + LANES);

#pragma GCC unroll 16
        for (int r = 0; r < MR; r++) {
            float x = a[i * MR + r];

            sum[r][0] += b0 * x;
            sum[r][1] += b1 * x;
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
        *(loose *)(c + r * c_row) = sum[r][0];
        *(loose *)(c + r * c_row + LANES) = sum[r][1];
    }
}

static void add_scaled(float *to, const float *from, int64_t step, float by, int64_t n)
{
    if (step == 1) {
        for (int64_t i = 0; i < n; i++)
            to[i] += from[i] * by;
        return;
    }
    for (int64_t i = 0; i < n; i++)
        to[i] += from[i * step] * by;
}

const struct onnx_kernels ONNX_KERNELS = {MR, NR, gemm_tile, add_scaled};
