/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "select.h"

/* Loads, stores, addresses, atomics. */

void select_address(struct compile *c, struct statement *s, struct operand *o, int *space,
                    struct insn *form)
{
    struct operand *base;

    if (o->kind != OPERAND_ADDRESS || o->count != 1)
        select_mismatch(c, s);
    base = &o->items[0];
    form->flags = 0;
    form->imm = base->offset;
    switch (base->kind) {
    case OPERAND_REGISTER:
        if (base->bits != 64 && base->bits != 32)
            select_mismatch(c, s);
        form->a = base->slot;
        form->flags = base->bits == 32 ? F_ADDRESS32 : 0;
        if (*space == SPACE_PARAM && !c->function->kernel)
            *space = SPACE_LOCAL;
        return;
    case OPERAND_INT:
        form->a = compile_constant(c, base->value + (uint64_t)base->offset, true);
        form->imm = 0;
        return;
    case OPERAND_SYMBOL:
        form->a = select_symbol_address(c, s, base->symbol, base->offset);
        form->imm = 0;
        /* A name says its space. */
        switch (base->symbol->kind) {
        case SYMBOL_GLOBAL:
            *space = SPACE_GLOBAL;
            return;
        case SYMBOL_SHARED:
            *space = SPACE_SHARED;
            return;
        case SYMBOL_LOCAL:
            *space = SPACE_LOCAL;
            return;
        case SYMBOL_PARAM:
            *space = SPACE_PARAM;
            return;
        default:
            select_mismatch(c, s);
        }
    default:
        select_mismatch(c, s);
    }
}

static int space_of(const struct statement *s)
{
    for (uint32_t i = 1; i < s->part_count; i++) {
        const char *p = s->parts[i];

        if (!strcmp(p, "global") || !strcmp(p, "const"))
            return SPACE_GLOBAL;
        if (!strncmp(p, "shared", 6))
            return SPACE_SHARED;
        if (!strcmp(p, "local"))
            return SPACE_LOCAL;
        if (!strncmp(p, "param", 5))
            return SPACE_PARAM;
    }
    return SPACE_GENERIC;
}

static bool memory_modifier(const char *p)
{
    static const char *const known[] = {
        "global",      "const",    "shared",  "shared::cta", "local",   "param",   "param::entry",
        "param::func", "volatile", "relaxed", "acquire",     "release", "acq_rel", "weak",
        "cta",         "gpu",      "sys",     "cluster",     "nc",      "ca",      "cg",
        "cs",          "lu",       "cv",      "wb",          "wt",      "v2",      "v4",
        "v8",          "mmio",     "unified", "noftz"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (!strcmp(p, known[i]))
            return true;
    return !strncmp(p, "L1::", 4) || !strncmp(p, "L2::", 4);
}

/* Up to four elements from the first on, at `imm`. */
static void move_elements(struct compile *c, struct statement *s, const struct insn *form,
                          unsigned op, unsigned type, struct operand *list, uint32_t count,
                          int64_t imm, bool store, bool is_signed)
{
    uint32_t slots[4] = {0};
    struct insn *in;

    for (uint32_t i = 0; i < count; i++)
        slots[i] =
            store ? select_source(c, s, &list[i], type) : select_wide_target(c, s, &list[i], type);
    in = compile_emit(c, c->isa->mem[op]);
    in->a = form->a;
    in->imm = imm;
    in->flags = form->flags;
    in->d = slots[0];
    in->b = slots[1];
    in->c = slots[2];
    in->e = slots[3];
    in->f = count;
    if (!store)
        for (uint32_t i = 0; i < count; i++)
            select_finish_wide(c, &list[i], slots[i], is_signed);
}

/* A kernel's parameter, where the place is known: all lanes have the same. */
static void load_parameter(struct compile *c, struct statement *s, struct operand *list,
                           uint32_t count, uint32_t bits, uint64_t offset, bool is_signed)
{
    unsigned type = bits == 64 ? T_u64 : T_u32;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = select_wide_target(c, s, &list[i], type);
        struct insn *in = compile_emit(c, flow_parameter);

        in->d = slot;
        in->imm = (int64_t)(offset + i * (bits / 8));
        in->e = bits;
        in->f = is_signed;
        select_finish_wide(c, &list[i], slot, is_signed);
    }
}

void select_load_store(struct compile *c, struct statement *s)
{
    bool store = !strcmp(s->parts[0], "st");
    struct operand *values = &s->operands[store ? 1 : 0], *list = values;
    struct insn form = {0};
    const char *type = select_last(s);
    uint32_t count = select_has(s, "v8")   ? 8
                     : select_has(s, "v4") ? 4
                     : select_has(s, "v2") ? 2
                                           : 1;
    const struct operand *place;
    uint32_t bits;
    uint64_t at = 0;
    int space = space_of(s);
    unsigned op, t;

    for (uint32_t i = 1; i + 1 < s->part_count; i++)
        if (!memory_modifier(s->parts[i]))
            select_unknown(c, s);
    bits = strstr(type, "64")   ? 64
           : strstr(type, "32") ? 32
           : strstr(type, "16") ? 16
           : strstr(type, "8")  ? 8
                                : 0;
    if (!strcmp(type, "f16x2") || !strcmp(type, "bf16x2"))
        bits = 32;
    if (s->part_count < 2 || !bits || !strchr("busf", type[0]) || strlen(type) > 6)
        select_unknown(c, s);
    /* An optional cache policy follows. */
    select_need(c, s, 2, 3);
    select_address(c, s, &s->operands[store ? 0 : 1], &space, &form);
    if (store)
        op = bits == 64   ? MEM_store_64_generic
             : bits == 32 ? MEM_store_32_generic
             : bits == 16 ? MEM_store_16_generic
                          : MEM_store_8_generic;
    else if (bits < 32)
        op = bits == 16 ? (type[0] == 's' ? MEM_load_s16_generic : MEM_load_u16_generic)
                        : (type[0] == 's' ? MEM_load_s8_generic : MEM_load_u8_generic);
    else
        op = bits == 64 ? MEM_load_64_generic : MEM_load_32_generic;
    if (count > 1) {
        if (values->kind != OPERAND_VECTOR || values->count != count)
            select_mismatch(c, s);
        list = values->items;
    }
    place = s->operands[store ? 0 : 1].items;
    if (place->kind == OPERAND_SYMBOL)
        at = place->symbol->value + (uint64_t)place->offset;
    t = bits == 64 ? (store ? T_u64_in : T_u64) : store ? T_u32_in : T_u32;
    if (select_has(s, "volatile") || select_has(s, "acquire") || select_has(s, "relaxed")) {
        /* A loop that waits for a value gives way to others sooner. */
        if (!store)
            compile_emit(c, flow_spin);
    }
    if (select_has(s, "acquire") || select_has(s, "release"))
        compile_emit(c, flow_fence);
    if (count == 8 && !store) {
        /* The address is read twice. */
        uint32_t kept = compile_slot(c, form.flags & F_ADDRESS32 ? 32 : 64);

        select_emit(c, form.flags & F_ADDRESS32 ? ALU_mov_b32 : ALU_mov_b64, kept, form.a, 0);
        form.a = kept;
    }
    if (!store && space == SPACE_PARAM && place->kind == OPERAND_SYMBOL &&
        !(at % (bits / 8 * count)) && at <= MAX_PARAMETERS * 8u &&
        at + bits / 8 * count <= c->function->param_bytes) {
        load_parameter(c, s, list, count, bits, at, type[0] == 's');
        return;
    }
    for (uint32_t from = 0; from < count; from += 4)
        move_elements(c, s, &form, op + (unsigned)space, t, list + from,
                      count - from < 4 ? count - from : 4, form.imm + from * (bits / 8), store,
                      type[0] == 's');
}

void select_cvta(struct compile *c, struct statement *s)
{
    bool to = select_has(s, "to");
    int space = space_of(s);
    uint64_t base = space == SPACE_SHARED  ? SHARED_BASE
                    : space == SPACE_LOCAL ? LOCAL_BASE
                    : space == SPACE_PARAM ? PARAM_BASE
                                           : 0;
    uint32_t a;

    select_need(c, s, 2, 2);
    if (space == SPACE_GENERIC || strcmp(select_last(s), "u64"))
        select_unknown(c, s);
    if (space == SPACE_PARAM && !c->function->kernel)
        base = LOCAL_BASE;
    a = select_source(c, s, &s->operands[1], T_u64);
    select_emit(c, ALU_offset, select_target(c, s, &s->operands[0], T_u64), a,
                compile_constant(c, to ? 0 - base : base, true));
}

void select_isspacep(struct compile *c, struct statement *s)
{
    struct insn *in;
    uint32_t d, a;

    select_need(c, s, 2, 2);
    d = select_target(c, s, &s->operands[0], T_pred);
    a = select_source(c, s, &s->operands[1], T_u64);
    in = compile_emit(c, flow_is_space);
    in->d = d;
    in->a = a;
    in->imm = space_of(s);
}

void select_atom(struct compile *c, struct statement *s)
{
    static const struct {
        const char *name;
        enum atom_op op;
        uint32_t operands;
    } ops[] = {{"add", ATOM_ADD, 1},   {"min", ATOM_MIN, 1}, {"max", ATOM_MAX, 1},
               {"and", ATOM_AND, 1},   {"or", ATOM_OR, 1},   {"xor", ATOM_XOR, 1},
               {"exch", ATOM_EXCH, 1}, {"cas", ATOM_CAS, 2}, {"inc", ATOM_INC, 1},
               {"dec", ATOM_DEC, 1}};
    static const struct {
        const char *name;
        enum atom_type type;
        unsigned source;
    } types[] = {
        {"u32", TYPE_U32, T_u32},     {"b32", TYPE_U32, T_u32},   {"s32", TYPE_S32, T_s32},
        {"u64", TYPE_U64, T_u64},     {"b64", TYPE_U64, T_u64},   {"s64", TYPE_S64, T_s64},
        {"f32", TYPE_F32, T_f32},     {"f64", TYPE_F64, T_f64},   {"f16", TYPE_F16, T_u16},
        {"f16x2", TYPE_F16X2, T_u32}, {"bf16", TYPE_BF16, T_u16}, {"bf16x2", TYPE_BF16X2, T_u32},
        {"b16", TYPE_B16, T_u16}};
    bool reduce = !strcmp(s->parts[0], "red");
    struct operand *o = &s->operands[reduce ? 0 : 1];
    struct insn form = {0}, *in;
    int space = space_of(s), op = -1, type = -1;
    uint32_t d = NO_SLOT, b, second = NO_SLOT;

    for (uint32_t i = 1; i < s->part_count; i++) {
        bool known = i + 1 == s->part_count || memory_modifier(s->parts[i]);

        for (size_t n = 0; n < sizeof(ops) / sizeof(ops[0]); n++)
            if (!strcmp(s->parts[i], ops[n].name)) {
                op = (int)n;
                known = true;
            }
        if (!known)
            select_unknown(c, s);
    }
    for (size_t n = 0; n < sizeof(types) / sizeof(types[0]); n++)
        if (!strcmp(select_last(s), types[n].name))
            type = (int)n;
    if (op < 0 || type < 0 ||
        (types[type].type >= TYPE_F16 && types[type].type <= TYPE_BF16X2 && ops[op].op != ATOM_ADD))
        select_unknown(c, s);
    select_need(c, s, ops[op].operands + (reduce ? 1 : 2), ops[op].operands + (reduce ? 1 : 2) + 1);
    select_address(c, s, o, &space, &form);
    b = select_source(c, s, &o[1], types[type].source);
    if (ops[op].operands == 2)
        second = select_source(c, s, &o[2], types[type].source);
    if (!reduce)
        d = select_target(c, s, &s->operands[0], types[type].source);
    in = compile_emit(c, atom_run);
    in->d = d;
    in->a = form.a;
    in->b = b;
    in->c = second;
    in->imm = form.imm;
    in->flags = form.flags | ATOM_FLAGS(ops[op].op, types[type].type, space);
}
