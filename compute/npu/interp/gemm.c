/* SPDX-License-Identifier: MIT */
#include <pthread.h>

#include "gemm.h"
#include "kernels.h"

/*
 * Products of matrices of floats, blocked for the caches as in Goto and van de Geijn, "Anatomy of
 * High-Performance Matrix Multiplication": panels of B stay in the second cache, strips of A in the
 * first.
 */

#define KC 256
#define NC 512
#define MC 96

static const struct onnx_kernels *chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    chosen = &onnx_kernels_base;
#ifdef ONNX_X86
    const char *most = getenv("VIADUCT_ONNX_SIMD");
    bool wide = !most || (strcmp(most, "avx2") && strcmp(most, "base"));

    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        (!most || strcmp(most, "base")))
        chosen = &onnx_kernels_avx2;
    if (wide && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        chosen = &onnx_kernels_avx512;
#endif
}

const struct onnx_kernels *onnx_kernels(void)
{
    pthread_once(&once, choose);
    return chosen;
}

static void pack_a(const struct gemm *g, int mr, int64_t row, int64_t rows, int64_t k, int64_t kc,
                   float *to)
{
    for (int64_t r = 0; r < rows; r += mr)
        for (int64_t i = 0; i < kc; i++) {
            const float *from = g->a + (row + r) * g->a_row + (k + i) * g->a_col;
            int64_t n = rows - r < mr ? rows - r : mr;
            int64_t j = 0;

            for (; j < n; j++)
                *to++ = from[j * g->a_row];
            for (; j < mr; j++)
                *to++ = 0;
        }
}

static void pack_b(const struct gemm *g, int nr, int64_t column, int64_t columns, int64_t k,
                   int64_t kc, float *to)
{
    for (int64_t c = 0; c < columns; c += nr) {
        int64_t n = columns - c < nr ? columns - c : nr;

        if (g->pack) {
            g->pack(g->pack_arg, k, kc, column + c, n, nr, to);
            to += kc * nr;
            continue;
        }
        for (int64_t i = 0; i < kc; i++) {
            const float *from = g->b + (k + i) * g->b_row + (column + c) * g->b_col;
            int64_t j = 0;

            if (g->b_col == 1)
                for (; j < n; j++)
                    to[j] = from[j];
            else
                for (; j < n; j++)
                    to[j] = from[j * g->b_col];
            for (; j < nr; j++)
                to[j] = 0;
            to += nr;
        }
    }
}

/* The tile at the edge of C is computed beside it. */
static void edge(const struct onnx_kernels *kernels, int64_t kc, const float *a, const float *b,
                 float *c, int64_t c_row, int64_t rows, int64_t columns)
{
    float tile[16 * 32];

    memset(tile, 0, sizeof(tile));
    kernels->gemm_tile(kc, a, b, tile, kernels->nr);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < columns; j++)
            c[r * c_row + j] += tile[r * kernels->nr + j];
}

/* One row times a matrix: reads B once, in order. */
static void row_times(const struct gemm *g)
{
    const struct onnx_kernels *kernels = onnx_kernels();

    if (g->b_col == 1) {
        for (int64_t i = 0; i < g->k; i++)
            kernels->add_scaled(g->c, g->b + i * g->b_row, 1, g->a[i * g->a_col], g->n);
        return;
    }
    for (int64_t j = 0; j < g->n; j++) {
        const float *b = g->b + j * g->b_col;
        float part[8] = {0}, sum = 0;
        int64_t i = 0;

        if (g->b_row == 1 && g->a_col == 1)
            for (; i + 8 <= g->k; i += 8)
                for (int p = 0; p < 8; p++)
                    part[p] += g->a[i + p] * b[i + p];
        for (; i < g->k; i++)
            sum += g->a[i * g->a_col] * b[i * g->b_row];
        for (int p = 0; p < 8; p++)
            sum += part[p];
        g->c[j] += sum;
    }
}

int onnx_gemm(struct call *call, const struct gemm *g)
{
    const struct onnx_kernels *kernels = onnx_kernels();
    int mr = kernels->mr, nr = kernels->nr;
    float *a, *b;

    TRY(onnx_work(call, (double)g->m * (double)g->n * (double)g->k));
    for (int64_t r = 0; g->beta != 1 && r < g->m; r++) {
        float *c = g->c + r * g->c_row;

        if (g->beta == 0)
            memset(c, 0, (size_t)g->n * sizeof(*c));
        else
            for (int64_t j = 0; j < g->n; j++)
                c[j] *= g->beta;
    }
    if (g->m == 1 && !g->pack) {
        row_times(g);
        return 0;
    }
    a = onnx_memory_get(call->run, (MC + 16) * KC * sizeof(*a));
    b = onnx_memory_get(call->run, (NC + 32) * KC * sizeof(*b));
    for (int64_t n = 0; a && b && n < g->n; n += NC) {
        int64_t nc = g->n - n < NC ? g->n - n : NC;

        for (int64_t k = 0; k < g->k; k += KC) {
            int64_t kc = g->k - k < KC ? g->k - k : KC;

            if (onnx_work(call, 0) < 0)
                goto out;
            pack_b(g, nr, n, nc, k, kc, b);
            for (int64_t m = 0; m < g->m; m += MC) {
                int64_t mc = g->m - m < MC ? g->m - m : MC;

                pack_a(g, mr, m, mc, k, kc, a);
                for (int64_t j = 0; j < nc; j += nr)
                    for (int64_t r = 0; r < mc; r += mr) {
                        float *c = g->c + (m + r) * g->c_row + n + j;

                        if (mc - r >= mr && nc - j >= nr)
                            kernels->gemm_tile(kc, a + r * kc, b + j * kc, c, g->c_row);
                        else
                            edge(kernels, kc, a + r * kc, b + j * kc, c, g->c_row,
                                 mc - r < mr ? mc - r : mr, nc - j < nr ? nc - j : nr);
                    }
            }
        }
    }
out:
    onnx_memory_put(call->run, a);
    onnx_memory_put(call->run, b);
    return call->run->error.status;
}
