/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_SELECT_H
#define VIADUCT_PTX_SELECT_H

#include "compile.h"

/*
 * What the files that turn statements into instructions share: select.c (operands, arithmetic, the
 * table of statements), select_memory.c, select_flow.c. Errors do not return (compile_fail).
 */

/* What an operand is read or written as; _in: an immediate of a statement's other form. */
enum type {
    T_NONE,
    T_u16,
    T_s16,
    T_u32,
    T_s32,
    T_u64,
    T_s64,
    T_f32,
    T_f64,
    T_pred,
    T_u8_in,
    T_s8_in,
    T_u16_in,
    T_s16_in,
    T_u32_in,
    T_s32_in,
    T_u64_in,
    T_s64_in
};

/* The statement, or a part of its name, is not one that is known; does not fit its operands. */
_Noreturn void select_unknown(struct compile *c, const struct statement *s);
_Noreturn void select_mismatch(struct compile *c, const struct statement *s);
/* Appends an instruction of alu.def. */
struct insn *select_emit(struct compile *c, unsigned op, uint32_t d, uint32_t a, uint32_t b);
/* A slot with the address of a variable. */
uint32_t select_symbol_address(struct compile *c, struct statement *s, const struct symbol *y,
                               int64_t offset);
/* A slot that nobody reads. */
uint32_t select_trash(struct compile *c);
/* Where a result of 64 bits goes, and how it gets from there to a narrower register. */
uint32_t select_wide_target(struct compile *c, struct statement *s, struct operand *o,
                            unsigned type);
void select_finish_wide(struct compile *c, struct operand *o, uint32_t slot, bool is_signed);
/* Whether a part of the name is there; the last part; the number of operands. */
bool select_has(const struct statement *s, const char *part);
const char *select_last(const struct statement *s);
void select_need(struct compile *c, struct statement *s, uint32_t least, uint32_t most);

/* A function each for statements: select_alu.c, select_memory.c, select_flow.c. */
void select_alu(struct compile *c, struct statement *s);
void select_bits(struct compile *c, struct statement *s);
void select_lop3(struct compile *c, struct statement *s);
void select_mov(struct compile *c, struct statement *s);
void select_setp(struct compile *c, struct statement *s);
void select_set(struct compile *c, struct statement *s);
void select_cvt(struct compile *c, struct statement *s);
void select_load_store(struct compile *c, struct statement *s);
void select_cvta(struct compile *c, struct statement *s);
void select_isspacep(struct compile *c, struct statement *s);
void select_atom(struct compile *c, struct statement *s);
void select_bra(struct compile *c, struct statement *s);
void select_brx(struct compile *c, struct statement *s);
void select_flow(struct compile *c, struct statement *s);
void select_nothing(struct compile *c, struct statement *s);
void select_fence(struct compile *c, struct statement *s);
void select_sleep(struct compile *c, struct statement *s);
void select_bar(struct compile *c, struct statement *s);
void select_shfl(struct compile *c, struct statement *s);
void select_vote(struct compile *c, struct statement *s);
void select_match(struct compile *c, struct statement *s);
void select_redux(struct compile *c, struct statement *s);
void select_active(struct compile *c, struct statement *s);
/* select_matrix.c */
void select_mma(struct compile *c, struct statement *s);
void select_wmma(struct compile *c, struct statement *s);
void select_ldmatrix(struct compile *c, struct statement *s);
void select_movmatrix(struct compile *c, struct statement *s);
/* select_async.c */
void select_cp(struct compile *c, struct statement *s);
void select_mbarrier(struct compile *c, struct statement *s);
void select_policy(struct compile *c, struct statement *s);
void select_elect(struct compile *c, struct statement *s);
/* select_video.c */
void select_video(struct compile *c, struct statement *s);
/* select_texture.c */
void select_tex(struct compile *c, struct statement *s);
void select_surface(struct compile *c, struct statement *s);
void select_reduce(struct compile *c, struct statement *s);
void select_query(struct compile *c, struct statement *s);

#endif
