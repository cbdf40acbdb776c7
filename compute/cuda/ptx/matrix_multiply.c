/* SPDX-License-Identifier: MIT */
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

    for (uint32_t i = 0; i < f->count; i++) {
        const uint32_t *slot = matrix_words(w, f->slots[i / each]);
        double v[LANES];

        for (uint32_t lane = 0; lane < LANES; lane++)
            v[lane] = as_float(type, matrix_raw(slot[lane], bits, i % each));
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

/* `c` += `a` × `b`; with a constant `n` sums stay in registers. */
static inline __attribute__((always_inline)) void add_products(const double *a, const double *b,
                                                               double *c, uint32_t m, uint32_t n,
                                                               uint32_t k, bool fused)
{
    for (uint32_t i = 0; i < m; i++) {
        double sum[32];

        for (uint32_t x = 0; x < n; x++)
            sum[x] = c[i * n + x];
        for (uint32_t y = 0; y < k; y++)
            for (uint32_t x = 0; x < n; x++)
                sum[x] = fused ? __builtin_fma(a[i * k + y], b[y * n + x], sum[x])
                               : sum[x] + a[i * k + y] * b[y * n + x];
        for (uint32_t x = 0; x < n; x++)
            c[i * n + x] = sum[x];
    }
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

        if (x->d.type == MATRIX_F64)
            add_products(left, right, to, x->m, x->n, x->k, true);
        else if (x->n == 8)
            add_products(left, right, to, x->m, 8, x->k, false);
        else if (x->n == 16)
            add_products(left, right, to, x->m, 16, x->k, false);
        else
            add_products(left, right, to, x->m, x->n, x->k, false);
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
