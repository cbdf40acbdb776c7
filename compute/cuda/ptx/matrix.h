/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_MATRIX_H
#define VIADUCT_PTX_MATRIX_H

#include "flow.h"

/* Matrices whose elements lie in registers of all lanes of a warp: mma and wmma. */

enum matrix_type {
    MATRIX_F16,
    MATRIX_BF16,
    MATRIX_TF32,
    MATRIX_F32,
    MATRIX_F64,
    MATRIX_E4M3,
    MATRIX_E5M2,
    MATRIX_S32,
    MATRIX_S8,
    MATRIX_U8,
    MATRIX_S4,
    MATRIX_U4,
    MATRIX_B1,
};

#define MATRIX_REGISTERS 8

/* An operand: which registers, and where each lane's elements are in the matrix, which is kept by
 * rows: element `i` of lane `l` is at[i * LANES + l]. */
struct fragment {
    enum matrix_type type;
    uint32_t rows, columns;
    uint32_t count;  /* elements a lane */
    uint32_t needed; /* of these, to have the whole matrix */
    bool in_order;   /* at[n] is n, for those */
    uint32_t registers;
    uint32_t slots[MATRIX_REGISTERS];
    uint16_t *at; /* freed with it */
};

/* One statement; hangs on its module. */
struct matrix {
    uint32_t m, n, k;
    uint32_t batch; /* 4: m8n8k4 on f16 are four products, each of eight lanes */
    struct fragment a, b, c, d;
    bool saturate;    /* .satfinite, of integers */
    bool bits_and;    /* .and.popc, else .xor.popc */
    uint32_t address; /* slots of loads and stores */
    uint32_t stride;  /* NO_SLOT: as dense as it can be */
    int64_t offset;
    enum ptx_space space;
    bool address32, store;
    bool by_columns; /* the matrix in memory; of m8n8k4 on f16 A */
    bool b_by_rows;
};

static inline uint32_t matrix_bits(enum matrix_type type)
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

static inline uint32_t *matrix_words(struct warp *w, uint32_t slot)
{
    return (uint32_t *)(void *)SLOT(w, slot);
}

/* An element of a register as it is. */
static inline uint32_t matrix_raw(uint32_t word, uint32_t bits, uint32_t index)
{
    return bits == 32 ? word : word >> bits * index & ((1u << bits) - 1);
}

/* Products (struct matrix as data) are struct isa's. */
HANDLER(matrix_move);  /* wmma.load, wmma.store */
HANDLER(matrix_load);  /* ldmatrix: [a + imm] to d, b, c, e; f: how many, flags: MATRIX_… */
HANDLER(matrix_store); /* stmatrix */
HANDLER(matrix_turn);  /* movmatrix: d = a, transposed */
#define MATRIX_TRANSPOSED (1u << 16)
#define MATRIX_GENERIC    (1u << 17)

#endif
