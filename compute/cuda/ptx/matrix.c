/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "alu_math.h"
#include "matrix.h"

/*
 * Products of matrices: the registers of all lanes are gathered into plain matrices, multiplied,
 * and the result is spread again. Products of floats are summed in double and rounded once, which
 * is at least as exact as a processor; integers wrap, or saturate if they are asked to.
 */

uint32_t matrix_bits(enum matrix_type type)
{
    switch (type) {
    case MATRIX_F16:
    case MATRIX_BF16:
        return 16;
    case MATRIX_F64:
        return 64;
    case MATRIX_E4M3:
    case MATRIX_E5M2:
    case MATRIX_S8:
    case MATRIX_U8:
        return 8;
    case MATRIX_S4:
    case MATRIX_U4:
        return 4;
    case MATRIX_B1:
        return 1;
    default:
        return 32;
    }
}

static uint32_t *words(struct warp *w, uint32_t slot)
{
    return (uint32_t *)(void *)SLOT(w, slot);
}

/* An element of a register as it is. */
static uint32_t raw(uint32_t word, uint32_t bits, uint32_t index)
{
    return bits == 32 ? word : word >> bits * index & ((1u << bits) - 1);
}

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
        const uint32_t *slot = words(w, f->slots[i / each]);
        double v[LANES];

        for (uint32_t lane = 0; lane < LANES; lane++)
            v[lane] = as_float(type, raw(slot[lane], bits, i % each));
        for (uint32_t lane = 0; lane < LANES; lane++)
            to[f->at[lane * f->count + i]] = v[lane];
    }
}

static void gather_floats(struct warp *w, const struct fragment *f, double *to)
{
    switch (f->type) {
    case MATRIX_F64:
        for (uint32_t i = 0; i < f->count; i++) {
            const double *slot = (const double *)(const void *)SLOT(w, f->slots[i]);

            for (uint32_t lane = 0; lane < LANES; lane++)
                to[f->at[lane * f->count + i]] = slot[lane];
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
        const uint32_t *slot = words(w, f->slots[i / each]);

        for (uint32_t lane = 0; lane < LANES; lane++)
            to[f->at[lane * f->count + i]] = as_int(type, raw(slot[lane], bits, i % each));
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
        uint32_t *slot = words(w, f->slots[f->type == MATRIX_F16 ? i / 2 : i]);

        for (uint32_t lane = 0; lane < LANES; lane++) {
            double v = from[f->at[lane * f->count + i]];

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

static void multiply_floats(struct warp *w, const struct matrix *x)
{
    double a[512], b[512], c[1024];

    gather_floats(w, &x->a, a);
    gather_floats(w, &x->b, b);
    gather_floats(w, &x->c, c);
    for (uint32_t t = 0; t < x->batch; t++)
        for (uint32_t i = 0; i < x->m; i++) {
            double *row = c + (t * x->m + i) * x->n;

            for (uint32_t k = 0; k < x->k; k++) {
                double v = a[(t * x->m + i) * x->k + k];
                const double *other = b + (t * x->k + k) * x->n;

                if (x->d.type == MATRIX_F64)
                    for (uint32_t n = 0; n < x->n; n++)
                        row[n] = __builtin_fma(v, other[n], row[n]);
                else
                    for (uint32_t n = 0; n < x->n; n++)
                        row[n] += v * other[n];
            }
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
                words(w, x->d.slots[i])[lane] = (uint32_t)c[x->d.at[lane * x->d.count + i]];
}

HANDLER(matrix_multiply)
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

/* Where an element of the matrix is in memory, in bits from its beginning. */
static uint64_t place(const struct matrix *x, const struct fragment *f, uint32_t at,
                      uint64_t stride)
{
    uint32_t row = at / f->columns, column = at % f->columns;

    return (x->by_columns ? column * stride + row : row * stride + column) * matrix_bits(f->type);
}

HANDLER(matrix_move)
{
    const struct matrix *x = in->data;
    const struct fragment *f = &x->a;
    uint32_t bits = matrix_bits(f->type), each = bits < 32 ? 32 / bits : 1;
    uint32_t bytes = bits < 8 ? 1 : bits / 8;

    if (!warp_gather(w, in, ALL_LANES))
        return NULL;
    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned lane = (unsigned)__builtin_ctz(left);
        uint64_t address =
            (x->address32 ? words(w, x->address)[lane]
                          : ((const uint64_t *)(const void *)SLOT(w, x->address))[lane]) +
            (uint64_t)x->offset;
        uint64_t stride = x->stride != NO_SLOT ? words(w, x->stride)[lane]
                          : x->by_columns      ? f->rows
                                               : f->columns;
        uint64_t least = UINT64_MAX, most = 0, at;
        uint8_t *host;

        for (uint32_t i = 0; i < f->count; i++) {
            at = place(x, f, f->at[lane * f->count + i], stride) / 8;
            least = at < least ? at : least;
            most = at > most ? at : most;
        }
        /* Both ends in one allocation: so is all between. */
        if (most - least > UINT32_MAX / 2)
            return warp_fault(w, in, PTX_FAULT_ADDRESS, lane, address + most);
        host = access_lane(w, in, x->space, address + least, lane, (uint32_t)(most - least) + bytes,
                           bytes, x->store);
        if (!host)
            return NULL;
        for (uint32_t i = 0; i < f->count; i++) {
            uint8_t *slot = SLOT(w, f->slots[i / each]);
            uint32_t *word = (uint32_t *)(void *)slot + lane, v = 0;
            uint64_t bit = place(x, f, f->at[lane * f->count + i], stride);

            at = bit / 8 - least;
            if (bits == 64) {
                if (x->store)
                    memcpy(host + at, slot + lane * 8, 8);
                else
                    memcpy(slot + lane * 8, host + at, 8);
                continue;
            }
            if (x->store) {
                v = raw(*word, bits, i % each);
                memcpy(host + at, &v, bytes);
                continue;
            }
            memcpy(&v, host + at, bytes);
            if (bits < 8)
                v = v >> bit % 8 & ((1u << bits) - 1);
            *word = i % each ? *word | v << bits * (i % each) : v;
        }
    }
    return in + 1;
}

/* The rows of ldmatrix and stmatrix, 16 bytes each: of lane 8 * n + r row r of matrix n. */
static bool rows_of(struct warp *w, const struct insn *in, bool write, uint8_t **rows)
{
    for (uint32_t lane = 0; lane < in->f * 8; lane++) {
        uint64_t address =
            (in->flags & F_ADDRESS32 ? words(w, in->a)[lane]
                                     : ((const uint64_t *)(const void *)SLOT(w, in->a))[lane]) +
            in->bits;

        if (!(w->mask >> lane & 1)) {
            rows[lane] = NULL;
            continue;
        }
        rows[lane] = access_lane(w, in, in->flags & MATRIX_GENERIC ? SPACE_GENERIC : SPACE_SHARED,
                                 address, lane, 16, 16, write);
        if (!rows[lane])
            return false;
    }
    return true;
}

static uint32_t part(const struct insn *in, unsigned n)
{
    return n == 0 ? in->d : n == 1 ? in->b : n == 2 ? in->c : in->e;
}

HANDLER(matrix_load)
{
    uint8_t *rows[LANES];
    uint16_t all[4][8][8] = {0};

    if (!warp_gather(w, in, ALL_LANES))
        return NULL;
    if (!rows_of(w, in, false, rows))
        return NULL;
    for (uint32_t lane = 0; lane < in->f * 8; lane++)
        if (rows[lane])
            memcpy(all[lane / 8][lane % 8], rows[lane], 16);
    for (uint32_t n = 0; n < in->f; n++)
        for (uint32_t lane = 0; lane < LANES; lane++) {
            uint32_t row = lane / 4, column = lane % 4 * 2;

            if (!(w->mask >> lane & 1))
                continue;
            words(w, part(in, n))[lane] = in->flags & MATRIX_TRANSPOSED
                                              ? pair(all[n][column][row], all[n][column + 1][row])
                                              : pair(all[n][row][column], all[n][row][column + 1]);
        }
    return in + 1;
}

HANDLER(matrix_store)
{
    uint8_t *rows[LANES];

    if (!warp_gather(w, in, ALL_LANES))
        return NULL;
    if (!rows_of(w, in, true, rows))
        return NULL;
    for (uint32_t n = 0; n < in->f; n++) {
        uint16_t all[8][8];

        for (uint32_t lane = 0; lane < LANES; lane++) {
            uint32_t row = lane / 4, column = lane % 4 * 2, v = words(w, part(in, n))[lane];
            bool turned = in->flags & MATRIX_TRANSPOSED;

            *(turned ? &all[column][row] : &all[row][column]) = lo16(v);
            *(turned ? &all[column + 1][row] : &all[row][column + 1]) = hi16(v);
        }
        for (uint32_t r = 0; r < 8; r++)
            if (rows[n * 8 + r])
                memcpy(rows[n * 8 + r], all[r], 16);
    }
    return in + 1;
}

HANDLER(matrix_turn)
{
    uint16_t all[8][8];

    if (!warp_gather(w, in, ALL_LANES))
        return NULL;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        uint32_t v = words(w, in->a)[lane];

        all[lane / 4][lane % 4 * 2] = lo16(v);
        all[lane / 4][lane % 4 * 2 + 1] = hi16(v);
    }
    for (uint32_t lane = 0; lane < LANES; lane++)
        if (w->mask >> lane & 1)
            words(w, in->d)[lane] =
                pair(all[lane % 4 * 2][lane / 4], all[lane % 4 * 2 + 1][lane / 4]);
    return in + 1;
}
