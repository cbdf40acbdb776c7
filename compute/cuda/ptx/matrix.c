/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "alu_math.h"
#include "matrix.h"
#include "view.h"

/* Matrices on their way between memory and registers; matrix_multiply.c has their products. */

/*
 * Where an element of the matrix is in memory, in bits from its beginning. Rows have a power of two
 * of elements, 1 << `shift`.
 */
static inline uint64_t place(const struct matrix *x, uint32_t shift, uint32_t bits, uint32_t at,
                             uint64_t stride)
{
    uint32_t row = at >> shift, column = at & ((1u << shift) - 1);

    return (x->by_columns ? column * stride + row : row * stride + column) * bits;
}

/* Elements of 16 or 32 bits side by side, of as many lanes; `upper`: half of their words. */
static inline __attribute__((always_inline)) void
move_row(uint32_t *word, uint8_t *host, uint32_t n, uint32_t bits, bool store, bool upper)
{
    uint16_t half[LANES];

    if (bits == 32 && store) {
        memcpy(host, word, n * 4);
    } else if (bits == 32) {
        memcpy(word, host, n * 4);
    } else if (store) {
        for (uint32_t i = 0; i < n; i++)
            half[i] = (uint16_t)(upper ? word[i] >> 16 : word[i]);
        memcpy(host, half, n * 2);
    } else {
        memcpy(half, host, n * 2);
        for (uint32_t i = 0; i < n; i++)
            word[i] = upper ? (word[i] & 0xffff) | (uint32_t)half[i] << 16 : half[i];
    }
}

/*
 * All lanes, which are to have the same address and stride, with elements of 16 or 32 bits in
 * memory that is all there. false: nothing was done.
 */
static bool move_whole(struct warp *w, const struct insn *in, const struct matrix *x)
{
    const struct fragment *f = &x->a;
    const uint32_t bits = matrix_bits(f->type), bytes = bits / 8,
                   *words = matrix_words(w, x->address),
                   shift = (uint32_t)__builtin_ctz(f->columns), last = f->columns - 1;
    const uint64_t *wide = (const uint64_t *)(const void *)words;
    uint64_t address = x->address32 ? *words : *wide, stride = x->by_columns ? f->rows : f->columns;
    uint64_t other = 0, reach, down, right;
    struct window window;
    uint8_t *host;

    if (!w->full || (bits != 16 && bits != 32))
        return false;
    for (unsigned i = 0; i < LANES; i++)
        other |= (x->address32 ? words[i] : wide[i]) ^ address;
    if (x->stride != NO_SLOT) {
        const uint32_t *strides = matrix_words(w, x->stride);

        stride = *strides;
        for (unsigned i = 0; i < LANES; i++)
            other |= strides[i] ^ (uint32_t)stride;
    }
    address += (uint64_t)x->offset;
    down = (x->by_columns ? 1 : stride) * bytes;
    right = (x->by_columns ? stride : 1) * bytes;
    reach = (f->rows - 1) * down + last * right + bytes;
    if (other || address & (bytes - 1) || !view_find(w, in, x->space, address, &window) ||
        window.lane_stride || (x->store && window.constant) ||
        reach > window.size - (address - window.address))
        return false;
    host = window.host + (address - window.address);
    for (uint32_t i = 0; i < f->count; i++) {
        uint32_t *word = matrix_words(w, f->slots[bits == 16 ? i / 2 : i]);
        const uint16_t *at = f->at + i * LANES;

        if (f->in_order && right == bytes && f->columns >= 8 && f->columns <= LANES) {
            /* Lengths that are constants. */
            for (unsigned lane = 0; lane < LANES; lane += f->columns) {
                uint8_t *to = host + (at[lane] >> shift) * down;

                if (f->columns == 8)
                    move_row(word + lane, to, 8, bits, x->store, i % 2);
                else if (f->columns == 16)
                    move_row(word + lane, to, 16, bits, x->store, i % 2);
                else
                    move_row(word + lane, to, LANES, bits, x->store, i % 2);
            }
            continue;
        }
        for (unsigned lane = 0; lane < LANES; lane++)
            move_row(word + lane, host + (at[lane] >> shift) * down + (at[lane] & last) * right, 1,
                     bits, x->store, i % 2);
    }
    return true;
}

HANDLER(matrix_move)
{
    const struct matrix *x = in->data;
    const struct fragment *f = &x->a;
    uint32_t bits = matrix_bits(f->type), each = bits < 32 ? 32 / bits : 1;
    uint32_t bytes = bits < 8 ? 1 : bits / 8, shift = (uint32_t)__builtin_ctz(f->columns);

    if (!warp_gather(w, in, ALL_LANES))
        return NULL;
    if (move_whole(w, in, x))
        return in + 1;
    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned lane = (unsigned)__builtin_ctz(left);
        uint64_t address =
            (x->address32 ? matrix_words(w, x->address)[lane]
                          : ((const uint64_t *)(const void *)SLOT(w, x->address))[lane]) +
            (uint64_t)x->offset;
        uint64_t stride = x->stride != NO_SLOT ? matrix_words(w, x->stride)[lane]
                          : x->by_columns      ? f->rows
                                               : f->columns;
        uint64_t least = UINT64_MAX, most = 0, at;
        uint8_t *host;

        for (uint32_t i = 0; i < f->count; i++) {
            at = place(x, shift, bits, f->at[i * LANES + lane], stride) / 8;
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
            uint64_t bit = place(x, shift, bits, f->at[i * LANES + lane], stride);

            at = bit / 8 - least;
            if (bits == 64) {
                if (x->store)
                    memcpy(host + at, slot + lane * 8, 8);
                else
                    memcpy(slot + lane * 8, host + at, 8);
                continue;
            }
            if (x->store) {
                v = matrix_raw(*word, bits, i % each);
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
            (in->flags & F_ADDRESS32 ? matrix_words(w, in->a)[lane]
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
            matrix_words(w, part(in, n))[lane] =
                in->flags & MATRIX_TRANSPOSED ? pair(all[n][column][row], all[n][column + 1][row])
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
            uint32_t row = lane / 4, column = lane % 4 * 2, v = matrix_words(w, part(in, n))[lane];
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
        uint32_t v = matrix_words(w, in->a)[lane];

        all[lane / 4][lane % 4 * 2] = lo16(v);
        all[lane / 4][lane % 4 * 2 + 1] = hi16(v);
    }
    for (uint32_t lane = 0; lane < LANES; lane++)
        if (w->mask >> lane & 1)
            matrix_words(w, in->d)[lane] =
                pair(all[lane % 4 * 2][lane / 4], all[lane % 4 * 2 + 1][lane / 4]);
    return in + 1;
}
