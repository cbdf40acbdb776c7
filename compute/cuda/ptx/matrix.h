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
 * rows: element `i` of lane `l` is at[l * count + i]. */
struct fragment {
    enum matrix_type type;
    uint32_t rows, columns;
    uint32_t count; /* elements a lane */
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

uint32_t matrix_bits(enum matrix_type type);

HANDLER(matrix_multiply); /* data: struct matrix */
HANDLER(matrix_move);     /* wmma.load, wmma.store */
HANDLER(matrix_load);     /* ldmatrix: [a + imm] to d, b, c, e; f: how many, flags: MATRIX_… */
HANDLER(matrix_store);    /* stmatrix */
HANDLER(matrix_turn);     /* movmatrix: d = a, transposed */
#define MATRIX_TRANSPOSED (1u << 16)
#define MATRIX_GENERIC    (1u << 17)

#endif
