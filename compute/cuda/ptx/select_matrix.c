/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "matrix.h"
#include "select.h"

/*
 * mma, wmma, ldmatrix, stmatrix, movmatrix. Which element a register of a lane holds is defined for
 * mma (PTX ISA, "Matrix Fragments for mma"), and the compiler's own business for wmma: there
 * element `i` of lane `l` is the one of number l * count + i, by rows.
 */

enum role { ROLE_A, ROLE_B, ROLE_C };

/* Where element `i` of a lane is. */
typedef void (*locate)(const struct matrix *x, const struct fragment *f, enum role role,
                       uint32_t lane, uint32_t i, uint32_t *ret_row, uint32_t *ret_column);

static const struct {
    const char *name;
    enum matrix_type type;
} types[] = {{"f16", MATRIX_F16}, {"bf16", MATRIX_BF16}, {"tf32", MATRIX_TF32}, {"f32", MATRIX_F32},
             {"f64", MATRIX_F64}, {"e4m3", MATRIX_E4M3}, {"e5m2", MATRIX_E5M2}, {"s32", MATRIX_S32},
             {"s8", MATRIX_S8},   {"u8", MATRIX_U8},     {"s4", MATRIX_S4},     {"u4", MATRIX_U4},
             {"b1", MATRIX_B1}};

static bool find_type(const char *name, enum matrix_type *ret)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (!strcmp(types[i].name, name)) {
            *ret = types[i].type;
            return true;
        }
    return false;
}

/* What a shape may multiply: types of A and B, and of C and D. */
static const struct {
    bool wmma;
    uint16_t m, n, k;
    uint32_t inputs, results;
} shapes[] = {
#define T(name) (1u << MATRIX_##name)
#define SMALL   (T(S8) | T(U8))
#define TINY    (T(S4) | T(U4))
#define HALVES  (T(F16) | T(F32))
    {false, 8, 8, 4, T(F16), HALVES},
    {false, 16, 8, 8, T(F16), HALVES},
    {false, 16, 8, 16, T(F16), HALVES},
    {false, 16, 8, 8, T(BF16) | T(TF32), T(F32)},
    {false, 16, 8, 16, T(BF16), T(F32)},
    {false, 16, 8, 4, T(TF32), T(F32)},
    {false, 16, 8, 16, T(E4M3) | T(E5M2), HALVES},
    {false, 16, 8, 32, T(E4M3) | T(E5M2), HALVES},
    {false, 8, 8, 4, T(F64), T(F64)},
    {false, 16, 8, 4, T(F64), T(F64)},
    {false, 16, 8, 8, T(F64), T(F64)},
    {false, 16, 8, 16, T(F64), T(F64)},
    {false, 8, 8, 16, SMALL, T(S32)},
    {false, 16, 8, 16, SMALL, T(S32)},
    {false, 16, 8, 32, SMALL | TINY, T(S32)},
    {false, 8, 8, 32, TINY, T(S32)},
    {false, 16, 8, 64, TINY, T(S32)},
    {false, 8, 8, 128, T(B1), T(S32)},
    {false, 16, 8, 128, T(B1), T(S32)},
    {false, 16, 8, 256, T(B1), T(S32)},
    {true, 16, 16, 16, T(F16), HALVES},
    {true, 32, 8, 16, T(F16), HALVES},
    {true, 8, 32, 16, T(F16), HALVES},
    {true, 16, 16, 16, T(BF16), T(F32)},
    {true, 32, 8, 16, T(BF16), T(F32)},
    {true, 8, 32, 16, T(BF16), T(F32)},
    {true, 16, 16, 8, T(TF32), T(F32)},
    {true, 8, 8, 4, T(F64), T(F64)},
    {true, 16, 16, 16, SMALL, T(S32)},
    {true, 32, 8, 16, SMALL, T(S32)},
    {true, 8, 32, 16, SMALL, T(S32)},
    {true, 8, 8, 32, TINY, T(S32)},
    {true, 8, 8, 128, T(B1), T(S32)},
};

/* "m16n8k16" */
static bool parse_shape(const char *part, uint32_t *m, uint32_t *n, uint32_t *k)
{
    int end = 0;

    return sscanf(part, "m%un%uk%u%n", m, n, k, &end) == 3 && !part[end] && *m <= 32 && *n <= 32 &&
           *k <= 256;
}

/* Whether there is such a shape, for `inputs` that are one of these or `results`. */
static bool known_shape(bool wmma, const struct matrix *x, uint32_t inputs, uint32_t results)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        if (shapes[i].wmma == wmma && shapes[i].m == x->m && shapes[i].n == x->n &&
            shapes[i].k == x->k && (!inputs || shapes[i].inputs & inputs) &&
            (!results || shapes[i].results & results))
            return true;
    return false;
}

static void locate_mma(const struct matrix *x, const struct fragment *f, enum role role,
                       uint32_t lane, uint32_t i, uint32_t *ret_row, uint32_t *ret_column)
{
    uint32_t bits = matrix_bits(f->type), each = bits < 32 ? 32 / bits : 1;
    uint32_t group = lane / 4, in_group = lane % 4, r = i / each, e = i % each;

    switch (role) {
    case ROLE_A:
        *ret_row = x->m == 8 ? group : group + 8 * (r & 1);
        *ret_column = in_group * each + e + (x->m == 8 ? r : r >> 1) * 4 * each;
        return;
    case ROLE_B:
        *ret_row = in_group * each + e + r * 4 * each;
        *ret_column = group;
        return;
    default:
        *ret_row = group + 8 * (i >> 1);
        *ret_column = in_group * 2 + (i & 1);
        return;
    }
}

/* m8n8k4 on f16: lanes 4q to 4q + 3 and 16 + 4q to 19 + 4q have product q. */
static void locate_quads(const struct matrix *x, const struct fragment *f, enum role role,
                         uint32_t lane, uint32_t i, uint32_t *ret_row, uint32_t *ret_column)
{
    uint32_t quad = lane / 4 % 4, high = lane >= 16 ? 4 : 0, in_quad = lane % 4;

    switch (role) {
    case ROLE_A:
        *ret_row = x->by_columns ? i + high : in_quad + high;
        *ret_column = x->by_columns ? in_quad : i;
        break;
    case ROLE_B:
        *ret_row = x->b_by_rows ? in_quad : i;
        *ret_column = x->b_by_rows ? i + high : in_quad + high;
        break;
    default:
        *ret_row = f->type == MATRIX_F16 ? in_quad + high : (lane & 1) + (i & 2) + high;
        *ret_column = f->type == MATRIX_F16 ? i : (i & 4) + (lane & 2) + (i & 1);
        break;
    }
    *ret_row += quad * f->rows / x->batch;
}

/* Which is ours to choose: what lanes have side by side is side by side in a row, too. */
static void locate_wmma(const struct matrix *x, const struct fragment *f, enum role role,
                        uint32_t lane, uint32_t i, uint32_t *ret_row, uint32_t *ret_column)
{
    uint32_t at = (i * LANES + lane) % (f->rows * f->columns);

    (void)x;
    (void)role;
    *ret_row = at / f->columns;
    *ret_column = at % f->columns;
}

static struct matrix *new_matrix(struct compile *c)
{
    struct ptx_module *m = c->module;
    struct matrix *x;

    m->matrices =
        compile_grow(c, m->matrices, m->matrix_count, &m->matrix_room, sizeof(*m->matrices));
    x = calloc(1, sizeof(*x));
    if (!x)
        compile_memory(c);
    m->matrices[m->matrix_count++] = x;
    x->batch = 1;
    return x;
}

/* Size of a fragment, and where its elements are. */
static void shape_fragment(struct compile *c, struct matrix *x, struct fragment *f, bool wmma,
                           enum role role, locate where)
{
    uint32_t bits = matrix_bits(f->type), each = bits < 32 ? 32 / bits : 1, total;

    f->rows = (role == ROLE_B ? x->k : x->m) * x->batch;
    f->columns = role == ROLE_A ? x->k : x->n;
    total = f->rows * f->columns;
    f->count = wmma && role != ROLE_C && f->type == MATRIX_F16 ? 16 : total / LANES;
    f->registers = f->count / each;
    f->in_order = wmma;
    /* Those behind are the same once more. */
    f->needed = f->count < total / LANES ? f->count : total / LANES;
    f->at = calloc((size_t)LANES * f->count, sizeof(*f->at));
    if (!f->at)
        compile_memory(c);
    for (uint32_t lane = 0; lane < LANES; lane++)
        for (uint32_t i = 0; i < f->count; i++) {
            uint32_t row, column;

            where(x, f, role, lane, i, &row, &column);
            f->at[i * LANES + lane] = (uint16_t)(row * f->columns + column);
        }
}

/* The registers of a fragment: {…}, or one without braces. */
static void take_registers(struct compile *c, struct statement *s, struct operand *o,
                           struct fragment *f, bool target)
{
    bool wide = f->type == MATRIX_F64;
    struct operand *items = o->kind == OPERAND_VECTOR ? o->items : o;
    uint32_t count = o->kind == OPERAND_VECTOR ? o->count : 1;

    if (count != f->registers || count > MATRIX_REGISTERS)
        select_mismatch(c, s);
    for (uint32_t i = 0; i < count; i++)
        f->slots[i] = target ? select_target(c, s, &items[i], wide ? T_u64 : T_u32)
                             : select_source(c, s, &items[i], wide ? T_u64 : T_u32);
}

static void finish(struct compile *c, struct statement *s, struct matrix *x, bool wmma,
                   locate where)
{
    uint32_t first = 1u << x->a.type;

    /* Signs may differ, and the two kinds of 8-bit floats. */
    if (x->c.type != x->d.type && !((x->c.type == MATRIX_F16 || x->c.type == MATRIX_F32) &&
                                    (x->d.type == MATRIX_F16 || x->d.type == MATRIX_F32)))
        select_unknown(c, s);
    if (!known_shape(wmma, x, first, 1u << x->c.type) ||
        !known_shape(wmma, x, 1u << x->b.type, 1u << x->d.type) ||
        (matrix_bits(x->a.type) != matrix_bits(x->b.type)) ||
        (matrix_bits(x->a.type) >= 16 && x->a.type != x->b.type))
        select_unknown(c, s);
    select_need(c, s, 4, 4);
    shape_fragment(c, x, &x->a, wmma, ROLE_A, where);
    shape_fragment(c, x, &x->b, wmma, ROLE_B, where);
    shape_fragment(c, x, &x->c, wmma, ROLE_C, where);
    shape_fragment(c, x, &x->d, wmma, ROLE_C, where);
    take_registers(c, s, &s->operands[1], &x->a, false);
    take_registers(c, s, &s->operands[2], &x->b, false);
    take_registers(c, s, &s->operands[3], &x->c, false);
    take_registers(c, s, &s->operands[0], &x->d, true);
    compile_emit(c, c->isa->multiply)->data = x;
    c->complex = true;
}

/* mma.sync.aligned.shape.alayout.blayout{.satfinite}.d.a.b.c{.op.popc} */
void select_mma(struct compile *c, struct statement *s)
{
    struct matrix *x = new_matrix(c);
    uint32_t n = 0;
    enum matrix_type *const wanted[] = {&x->d.type, &x->a.type, &x->b.type, &x->c.type};
    bool shaped = false, rows[2] = {true, false};
    uint32_t layouts = 0;

    x->bits_and = select_has(s, "and");
    for (uint32_t i = 1; i < s->part_count; i++) {
        const char *p = s->parts[i];

        if (!shaped && parse_shape(p, &x->m, &x->n, &x->k))
            shaped = true;
        else if (n < 4 && find_type(p, wanted[n]))
            n++;
        else if (layouts < 2 && (!strcmp(p, "row") || !strcmp(p, "col")))
            rows[layouts++] = p[0] == 'r';
        else if (!strcmp(p, "satfinite"))
            x->saturate = true;
        else if (strcmp(p, "sync") && strcmp(p, "aligned") && strcmp(p, "xor") &&
                 strcmp(p, "and") && strcmp(p, "popc"))
            select_unknown(c, s);
    }
    if (!shaped || n < 4 || layouts < 2)
        select_unknown(c, s);
    if (x->k == 4 && x->m == 8 && x->a.type == MATRIX_F16) {
        x->batch = 4;
        x->by_columns = !rows[0];
        x->b_by_rows = rows[1];
        finish(c, s, x, false, locate_quads);
        return;
    }
    if (!rows[0] || rows[1])
        select_unknown(c, s);
    finish(c, s, x, false, locate_mma);
}

/* wmma.mma{.op.popc}.sync.aligned.alayout.blayout.shape.types{.satfinite}: of f16 d and c, of the
 * others d, a, b, c */
static void wmma_multiply(struct compile *c, struct statement *s, struct matrix *x)
{
    enum matrix_type found[4] = {0};
    uint32_t n = 0;
    bool shaped = false;

    x->bits_and = select_has(s, "and");
    for (uint32_t i = 2; i < s->part_count; i++) {
        const char *p = s->parts[i];

        if (!shaped && parse_shape(p, &x->m, &x->n, &x->k))
            shaped = true;
        else if (n < 4 && find_type(p, &found[n]))
            n++;
        else if (!strcmp(p, "satfinite"))
            x->saturate = true;
        else if (strcmp(p, "sync") && strcmp(p, "aligned") && strcmp(p, "xor") &&
                 strcmp(p, "and") && strcmp(p, "popc") && strcmp(p, "row") && strcmp(p, "col") &&
                 strcmp(p, "rn"))
            select_unknown(c, s);
    }
    if (!shaped || (n != 2 && n != 4))
        select_unknown(c, s);
    x->d.type = found[0];
    x->a.type = n == 2 ? MATRIX_F16 : found[1];
    x->b.type = n == 2 ? MATRIX_F16 : found[2];
    x->c.type = found[n - 1];
    finish(c, s, x, true, locate_wmma);
}

/* wmma.load.{a,b,c}.sync.aligned.layout.shape{.space}.type r, [p]{, stride};
 * wmma.store.d.… [p], r{, stride} */
static void wmma_move(struct compile *c, struct statement *s, struct matrix *x)
{
    bool shaped = false, typed = false, laid_out = false;
    enum role role = select_has(s, "a") ? ROLE_A : select_has(s, "b") ? ROLE_B : ROLE_C;
    struct fragment *f = &x->a;
    struct insn form = {0};
    int space = SPACE_GENERIC;

    x->store = !strcmp(s->parts[1], "store");
    for (uint32_t i = 2; i < s->part_count; i++) {
        const char *p = s->parts[i];

        if (!shaped && parse_shape(p, &x->m, &x->n, &x->k)) {
            shaped = true;
        } else if (!typed && find_type(p, &f->type)) {
            typed = true;
        } else if (!strcmp(p, "row") || !strcmp(p, "col")) {
            x->by_columns = p[0] == 'c';
            laid_out = true;
        } else if (!strcmp(p, "global")) {
            space = SPACE_GLOBAL;
        } else if (!strcmp(p, "shared") || !strcmp(p, "shared::cta")) {
            space = SPACE_SHARED;
        } else if (strcmp(p, "sync") && strcmp(p, "aligned") && strcmp(p, "a") && strcmp(p, "b") &&
                   strcmp(p, "c") && strcmp(p, "d")) {
            select_unknown(c, s);
        }
    }
    if (!shaped || !typed || !laid_out || (x->store && role != ROLE_C) ||
        !known_shape(true, x, role == ROLE_C ? 0 : 1u << f->type,
                     role == ROLE_C ? 1u << f->type : 0))
        select_unknown(c, s);
    select_need(c, s, 2, 3);
    shape_fragment(c, x, f, true, role, locate_wmma);
    select_address(c, s, &s->operands[x->store ? 0 : 1], &space, &form);
    x->stride = s->count == 3 ? select_source(c, s, &s->operands[2], T_u32) : NO_SLOT;
    take_registers(c, s, &s->operands[x->store ? 1 : 0], f, !x->store);
    x->space = (enum ptx_space)space;
    x->address = form.a;
    x->address32 = form.flags & F_ADDRESS32;
    x->offset = form.imm;
    compile_emit(c, matrix_move)->data = x;
    c->complex = true;
}

void select_wmma(struct compile *c, struct statement *s)
{
    if (s->part_count < 3)
        select_unknown(c, s);
    if (!strcmp(s->parts[1], "mma"))
        wmma_multiply(c, s, new_matrix(c));
    else if (!strcmp(s->parts[1], "load") || !strcmp(s->parts[1], "store"))
        wmma_move(c, s, new_matrix(c));
    else
        select_unknown(c, s);
}

/* ldmatrix.sync.aligned.m8n8.x4{.trans}{.shared}.b16 r, [p]; stmatrix likewise [p], r */
void select_ldmatrix(struct compile *c, struct statement *s)
{
    bool store = s->parts[0][0] == 's';
    uint32_t count = select_has(s, "x4") ? 4 : select_has(s, "x2") ? 2 : 1, slots[4] = {0};
    struct operand *o = &s->operands[store ? 1 : 0], *items = o;
    int space = SPACE_GENERIC;
    struct insn form = {0}, *in;

    if (!select_has(s, "m8n8") || strcmp(select_last(s), "b16") ||
        (count == 1 && !select_has(s, "x1")))
        select_unknown(c, s);
    if (select_has(s, "shared") || select_has(s, "shared::cta"))
        space = SPACE_SHARED;
    select_need(c, s, 2, 2);
    select_address(c, s, &s->operands[store ? 0 : 1], &space, &form);
    if (o->kind == OPERAND_VECTOR) {
        items = o->items;
        if (o->count != count)
            select_mismatch(c, s);
    } else if (count != 1) {
        select_mismatch(c, s);
    }
    for (uint32_t i = 0; i < count; i++)
        slots[i] =
            store ? select_source(c, s, &items[i], T_u32) : select_target(c, s, &items[i], T_u32);
    in = compile_emit(c, store ? matrix_store : matrix_load);
    in->a = form.a;
    in->imm = form.imm;
    in->flags = form.flags | (select_has(s, "trans") ? MATRIX_TRANSPOSED : 0) |
                (space == SPACE_SHARED ? 0 : MATRIX_GENERIC);
    in->d = slots[0];
    in->b = slots[1];
    in->c = slots[2];
    in->e = slots[3];
    in->f = count;
    c->complex = true;
}

void select_movmatrix(struct compile *c, struct statement *s)
{
    uint32_t a, d;
    struct insn *in;

    if (!select_has(s, "m8n8") || !select_has(s, "trans") || strcmp(select_last(s), "b16"))
        select_unknown(c, s);
    select_need(c, s, 2, 2);
    a = select_source(c, s, &s->operands[1], T_u32);
    d = select_target(c, s, &s->operands[0], T_u32);
    in = compile_emit(c, matrix_turn);
    in->d = d;
    in->a = a;
    c->complex = true;
}
