/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_ALU_H
#define VIADUCT_PTX_ALU_H

#include "internal.h"

/* The rows of alu.def. A row with an F has a second handler behind it, for modifiers. */
enum alu_op {
#define OP1(id, text, D, A, e)          ALU_##id,
#define OP2(id, text, D, A, B, e)       ALU_##id,
#define OP3(id, text, D, A, B, C, e)    ALU_##id,
#define OP4(id, text, D, A, B, C, Q, e) ALU_##id,
#define OP1F(id, text, D, A, e)         ALU_##id, ALU_##id##_m,
#define OP2F(id, text, D, A, B, e)      ALU_##id, ALU_##id##_m,
#define OP3F(id, text, D, A, B, C, e)   ALU_##id, ALU_##id##_m,
#define OPC2(id, text, T, e, carry)     ALU_##id,
#define OPC3(id, text, T, e, carry)     ALU_##id,
#include "alu.def"
    ALU_COUNT
};

/* Loads and stores by what they move; see mem.c. */
enum mem_op {
#define MEM(id, ...) MEM_##id,
#include "mem.def"
    MEM_COUNT
};

/* Compiled once for each instruction set; the tables are alike. */
struct isa {
    const ptx_handler *alu, *mem;
    ptx_handler multiply; /* matrix_multiply.c */
    /* sample.c: what texture_fetch gives, for lanes that are alike; false: nothing was done. */
    bool (*sample)(struct warp *w, const struct insn *in);
};

extern const ptx_handler alu_base[ALU_COUNT], alu_avx2[ALU_COUNT], alu_avx512[ALU_COUNT];
extern const ptx_handler mem_base[MEM_COUNT], mem_avx2[MEM_COUNT], mem_avx512[MEM_COUNT];
const struct insn *matrix_base(struct warp *w, const struct insn *in);
const struct insn *matrix_avx2(struct warp *w, const struct insn *in);
const struct insn *matrix_avx512(struct warp *w, const struct insn *in);
bool sample_base(struct warp *w, const struct insn *in);
bool sample_avx2(struct warp *w, const struct insn *in);
bool sample_avx512(struct warp *w, const struct insn *in);

#endif
