/* SPDX-License-Identifier: MIT */
#ifdef __AVX2__
#include <immintrin.h>
#endif
#include <string.h>

#include "alu.h"
#include "alu_math.h"
#include "matrix.h"

/*
 * Products of matrices: the registers of all lanes are gathered into plain matrices, multiplied,
 * and the result is spread again. Products of floats are summed in double and rounded once, which
 * is at least as exact as a processor; integers wrap, or saturate if they are asked to. Compiled
 * once for each instruction set, as PTX_MATRIX.
 */

static double as_float(enum matrix_type type, uint32_t v)
{
    switch (type) {
    case MATRIX_F16:
        return (double)half_float((uint16_t)v);
    case MATRIX_BF16:
        return (double)brain_float((uint16_t)v);
    case MATRIX_TF32:
        return (double)bits_float(v & 0xffffe000u);
    case MATRIX_E4M3:
        return (double)e4m3_float((uint8_t)v);
    case MATRIX_E5M2:
        return (double)e5m2_float((uint8_t)v);
    default:
        return (double)bits_float(v);
    }
}

static int32_t as_int(enum matrix_type type, uint32_t v)
{
    switch (type) {
    case MATRIX_S8:
        return (int8_t)v;
    case MATRIX_S4:
        return (int32_t)(v << 28) >> 28;
    default:
        return (int32_t)v;
    }
}

/* The type is a constant where this is used: no choice is made for each element. */
static inline __attribute__((always_inline)) void
gather_as(struct warp *w, const struct fragment *f, enum matrix_type type, double *to)
{
    uint32_t bits = matrix_bits(type), each = bits < 32 ? 32 / bits : 1;

    for (uint32_t i = 0; i < f->needed; i++) {
        const uint32_t *slot = matrix_words(w, f->slots[i / each]);
        double v[LANES], *row = f->in_order ? to + i * LANES : v;

        for (uint32_t lane = 0; lane < LANES; lane++)
            row[lane] = as_float(type, matrix_raw(slot[lane], bits, i % each));
        if (f->in_order)
            continue;
        for (uint32_t lane = 0; lane < LANES; lane++)
            to[f->at[i * LANES + lane]] = v[lane];
    }
}

static void gather_floats(struct warp *w, const struct fragment *f, double *to)
{
    switch (f->type) {
    case MATRIX_F64:
        for (uint32_t i = 0; i < f->count; i++) {
            const double *slot = (const double *)(const void *)SLOT(w, f->slots[i]);

            for (uint32_t lane = 0; lane < LANES; lane++)
                to[f->at[i * LANES + lane]] = slot[lane];
        }
        break;
    case MATRIX_F16:
        gather_as(w, f, MATRIX_F16, to);
        break;
    case MATRIX_BF16:
        gather_as(w, f, MATRIX_BF16, to);
        break;
    case MATRIX_TF32:
        gather_as(w, f, MATRIX_TF32, to);
        break;
    case MATRIX_F32:
        gather_as(w, f, MATRIX_F32, to);
        break;
    default:
        gather_as(w, f, f->type, to);
        break;
    }
}

static inline __attribute__((always_inline)) void
gather_ints_as(struct warp *w, const struct fragment *f, enum matrix_type type, int32_t *to)
{
    uint32_t bits = matrix_bits(type), each = bits < 32 ? 32 / bits : 1;

    for (uint32_t i = 0; i < f->count; i++) {
        const uint32_t *slot = matrix_words(w, f->slots[i / each]);

        for (uint32_t lane = 0; lane < LANES; lane++)
            to[f->at[i * LANES + lane]] = as_int(type, matrix_raw(slot[lane], bits, i % each));
    }
}

static void gather_ints(struct warp *w, const struct fragment *f, int32_t *to)
{
    if (f->type == MATRIX_S8)
        gather_ints_as(w, f, MATRIX_S8, to);
    else if (f->type == MATRIX_U8)
        gather_ints_as(w, f, MATRIX_U8, to);
    else
        gather_ints_as(w, f, f->type, to);
}

static void spread_floats(struct warp *w, const struct fragment *f, const double *from)
{
    if (w->full && f->type == MATRIX_F32 && f->in_order) {
        for (uint32_t i = 0; i < f->count; i++) {
            uint32_t *slot = matrix_words(w, f->slots[i]);

            for (uint32_t lane = 0; lane < LANES; lane++)
                slot[lane] = float_bits(canonical((float)from[i * LANES + lane]));
        }
        return;
    }
    for (uint32_t i = 0; i < f->count; i++) {
        uint32_t *slot = matrix_words(w, f->slots[f->type == MATRIX_F16 ? i / 2 : i]);

        for (uint32_t lane = 0; lane < LANES; lane++) {
            double v = from[f->at[i * LANES + lane]];

            if (!(w->mask >> lane & 1))
                continue;
            if (f->type == MATRIX_F64) {
                ((double *)(void *)slot)[lane] = v;
            } else if (f->type == MATRIX_F32) {
                slot[lane] = float_bits(canonical((float)v));
            } else {
                uint32_t half = half_from(0, v);

                slot[lane] = i % 2 ? (slot[lane] & 0xffff) | half << 16 : half;
            }
        }
    }
}

#if defined(__AVX512F__)
#define WIDE 8u
typedef __m512d wide;
#define WIDE_OF(v)          _mm512_set1_pd(v)
#define WIDE_LOAD(at)       _mm512_loadu_pd(at)
#define WIDE_STORE(at, v)   _mm512_storeu_pd(at, v)
#define WIDE_FUSED(a, b, c) _mm512_fmadd_pd(a, b, c)
#elif defined(__FMA__)
#define WIDE                4u
typedef __m256d wide;
#define WIDE_OF(v)          _mm256_set1_pd(v)
#define WIDE_LOAD(at)       _mm256_loadu_pd(at)
#define WIDE_STORE(at, v)   _mm256_storeu_pd(at, v)
#define WIDE_FUSED(a, b, c) _mm256_fmadd_pd(a, b, c)
#endif

/*
 * `c` += `a` × `b`, a row of `n` at a time, a constant that is a multiple of 8. F64 is fused with
 * the sum; products of what is shorter are exact, so that to fuse them changes nothing but the
 * time.
 */
static inline __attribute__((always_inline)) void add_products(const double *a, const double *b,
                                                               double *c, uint32_t m, uint32_t n,
                                                               uint32_t k, bool fused)
{
#ifdef WIDE
    (void)fused;
    for (uint32_t i = 0; i < m; i++, a += k, c += n) {
        wide sum[4 * 8 / WIDE];

        for (uint32_t x = 0; x < n / WIDE; x++)
            sum[x] = WIDE_LOAD(c + x * WIDE);
        for (uint32_t y = 0; y < k; y++) {
            const wide v = WIDE_OF(a[y]);

            for (uint32_t x = 0; x < n / WIDE; x++)
                sum[x] = WIDE_FUSED(v, WIDE_LOAD(b + y * n + x * WIDE), sum[x]);
        }
        for (uint32_t x = 0; x < n / WIDE; x++)
            WIDE_STORE(c + x * WIDE, sum[x]);
    }
#else
    for (uint32_t i = 0; i < m; i++)
        for (uint32_t y = 0; y < k; y++)
            for (uint32_t x = 0; x < n; x++)
                c[i * n + x] = fused ? __builtin_fma(a[i * k + y], b[y * n + x], c[i * n + x])
                                     : c[i * n + x] + a[i * k + y] * b[y * n + x];
#endif
}

static void multiply_floats(struct warp *w, const struct matrix *x)
{
    double a[512], b[512], c[1024];

    gather_floats(w, &x->a, a);
    gather_floats(w, &x->b, b);
    gather_floats(w, &x->c, c);
    for (uint32_t t = 0; t < x->batch; t++) {
        const double *left = a + t * x->m * x->k, *right = b + t * x->k * x->n;
        double *to = c + t * x->m * x->n;

        const bool fused = x->d.type == MATRIX_F64;

        if (x->n == 8)
            add_products(left, right, to, x->m, 8, x->k, fused);
        else if (x->n == 16)
            add_products(left, right, to, x->m, 16, x->k, fused);
        else
            add_products(left, right, to, x->m, 32, x->k, fused);
    }
    spread_floats(w, &x->d, c);
}

static void multiply_ints(struct warp *w, const struct matrix *x)
{
    int32_t a[4096], b[2048], c[1024];

    gather_ints(w, &x->a, a);
    gather_ints(w, &x->b, b);
    gather_ints(w, &x->c, c);
    for (uint32_t i = 0; i < x->m; i++) {
        int32_t *row = c + i * x->n, products[32] = {0};

        /* A row at a time. Products of 8 bits and their sums are far from 32 bits. */
        for (uint32_t k = 0; k < x->k; k++) {
            const int32_t u = a[i * x->k + k], *v = b + k * x->n;

            if (x->a.type != MATRIX_B1)
                for (uint32_t n = 0; n < x->n; n++)
                    products[n] += u * v[n];
            else if (x->bits_and)
                for (uint32_t n = 0; n < x->n; n++)
                    products[n] += u & v[n];
            else
                for (uint32_t n = 0; n < x->n; n++)
                    products[n] += u ^ v[n];
        }
        for (uint32_t n = 0; n < x->n; n++) {
            int64_t sum = (int64_t)row[n] + products[n];

            if (x->saturate)
                sum = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
            row[n] = (int32_t)sum;
        }
    }
    for (uint32_t i = 0; i < x->d.count; i++)
        for (uint32_t lane = 0; lane < LANES; lane++)
            if (w->mask >> lane & 1)
                matrix_words(w, x->d.slots[i])[lane] = (uint32_t)c[x->d.at[i * LANES + lane]];
}

HANDLER(PTX_MATRIX)
{
    const struct matrix *x = in->data;

    if (!warp_gather(w, in, ALL_LANES))
        return NULL;
    if (x->d.type == MATRIX_S32)
        multiply_ints(w, x);
    else
        multiply_floats(w, x);
    return in + 1;
}
