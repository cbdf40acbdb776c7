/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "flow.h"

/*
 * From a statement to instructions. Arithmetic is found in the table of alu.def by its name; what
 * only says how to round and the like becomes flags first. The rest has a function each, in the
 * table at the end.
 */

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

struct row {
    const char *text;
    uint8_t target, sources[4], count;
    bool modified, carry;
};

static const struct row rows[ALU_COUNT] = {
#define OP1(id, text, D, A, e)    [ALU_##id] = {text, T_##D, {T_##A}, 1, false, false},
#define OP2(id, text, D, A, B, e) [ALU_##id] = {text, T_##D, {T_##A, T_##B}, 2, false, false},
#define OP3(id, text, D, A, B, C, e) \
    [ALU_##id] = {text, T_##D, {T_##A, T_##B, T_##C}, 3, false, false},
#define OP4(id, text, D, A, B, C, Q, e) \
    [ALU_##id] = {text, T_##D, {T_##A, T_##B, T_##C, T_##Q}, 4, false, false},
#define OP1F(id, text, D, A, e)    [ALU_##id] = {text, T_##D, {T_##A}, 1, true, false},
#define OP2F(id, text, D, A, B, e) [ALU_##id] = {text, T_##D, {T_##A, T_##B}, 2, true, false},
#define OP3F(id, text, D, A, B, C, e) \
    [ALU_##id] = {text, T_##D, {T_##A, T_##B, T_##C}, 3, true, false},
#define OPC2(id, text, T, e, carry) [ALU_##id] = {text, T_##T, {T_##T, T_##T}, 2, false, true},
#define OPC3(id, text, T, e, carry) \
    [ALU_##id] = {text, T_##T, {T_##T, T_##T, T_##T}, 3, false, true},
#include "alu.def"
};

#define HASHES 4096

static uint16_t row_index[HASHES];
static pthread_once_t row_once = PTHREAD_ONCE_INIT;

static uint32_t hash(const char *text)
{
    uint32_t h = 2166136261u;

    while (*text)
        h = (h ^ (unsigned char)*text++) * 16777619u;
    return h;
}

static void index_rows(void)
{
    for (unsigned i = 0; i < ALU_COUNT; i++) {
        uint32_t at;

        if (!rows[i].text)
            continue;
        at = hash(rows[i].text) % HASHES;
        while (row_index[at])
            at = (at + 1) % HASHES;
        row_index[at] = (uint16_t)(i + 1);
    }
}

static int find_row(const char *text)
{
    pthread_once(&row_once, index_rows);
    for (uint32_t at = hash(text) % HASHES; row_index[at]; at = (at + 1) % HASHES)
        if (!strcmp(rows[row_index[at] - 1].text, text))
            return row_index[at] - 1;
    return -1;
}

static _Noreturn void unknown(struct compile *c, const struct statement *s)
{
    compile_fail(c, s->line, "Not a name of any known instruction: '%.80s'", s->name);
}

static _Noreturn void mismatch(struct compile *c, const struct statement *s)
{
    compile_fail(c, s->line, "Arguments mismatch for instruction '%.32s'", s->parts[0]);
}

static const struct {
    const char *name;
    enum special special;
    bool wide;
} specials[] = {
    {"%tid.x", SPECIAL_TID_X, 0},
    {"%tid.y", SPECIAL_TID_Y, 0},
    {"%tid.z", SPECIAL_TID_Z, 0},
    {"%ntid.x", SPECIAL_NTID_X, 0},
    {"%ntid.y", SPECIAL_NTID_Y, 0},
    {"%ntid.z", SPECIAL_NTID_Z, 0},
    {"%ctaid.x", SPECIAL_CTAID_X, 0},
    {"%ctaid.y", SPECIAL_CTAID_Y, 0},
    {"%ctaid.z", SPECIAL_CTAID_Z, 0},
    {"%nctaid.x", SPECIAL_NCTAID_X, 0},
    {"%nctaid.y", SPECIAL_NCTAID_Y, 0},
    {"%nctaid.z", SPECIAL_NCTAID_Z, 0},
    {"%laneid", SPECIAL_LANEID, 0},
    {"%warpid", SPECIAL_WARPID, 0},
    {"%nwarpid", SPECIAL_NWARPID, 0},
    {"%smid", SPECIAL_SMID, 0},
    {"%nsmid", SPECIAL_NSMID, 0},
    {"%gridid", SPECIAL_GRIDID, 1},
    {"%lanemask_eq", SPECIAL_LANEMASK_EQ, 0},
    {"%lanemask_le", SPECIAL_LANEMASK_LE, 0},
    {"%lanemask_lt", SPECIAL_LANEMASK_LT, 0},
    {"%lanemask_ge", SPECIAL_LANEMASK_GE, 0},
    {"%lanemask_gt", SPECIAL_LANEMASK_GT, 0},
    {"%clock", SPECIAL_CLOCK, 0},
    {"%clock_hi", SPECIAL_CLOCK_HI, 0},
    {"%clock64", SPECIAL_CLOCK64, 1},
    {"%globaltimer", SPECIAL_TIMER, 1},
    {"%globaltimer_lo", SPECIAL_TIMER_LO, 0},
    {"%globaltimer_hi", SPECIAL_TIMER_HI, 0},
    {"%total_smem_size", SPECIAL_SHARED, 0},
    {"%dynamic_smem_size", SPECIAL_DYNAMIC, 0},
};

bool special_find(const char *name, size_t size, uint32_t *ret_index)
{
    uint32_t number = 0;

    for (uint32_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++)
        if (strlen(specials[i].name) == size && !memcmp(specials[i].name, name, size)) {
            *ret_index = (uint32_t)specials[i].special | (specials[i].wide ? 1u << 16 : 0);
            return true;
        }
    if (size < 8 || size > 9 || memcmp(name, "%envreg", 7))
        return false;
    for (size_t i = 7; i < size; i++) {
        if (name[i] < '0' || name[i] > '9')
            return false;
        number = number * 10 + (uint32_t)(name[i] - '0');
    }
    if (number > 31)
        return false;
    *ret_index = SPECIAL_ENVREG0 + number;
    return true;
}

static struct insn *emit_alu(struct compile *c, unsigned op, uint32_t d, uint32_t a, uint32_t b)
{
    struct insn *in = compile_emit(c, c->isa->alu[op]);

    in->d = d;
    in->a = a;
    in->b = b;
    return in;
}

static bool is_wide(unsigned type)
{
    return type == T_u64 || type == T_s64 || type == T_f64 || type == T_u64_in || type == T_s64_in;
}

static uint32_t type_bits(unsigned type)
{
    switch (type) {
    case T_pred:
        return 1;
    case T_u16:
    case T_s16:
        return 16;
    case T_u64:
    case T_s64:
    case T_f64:
    case T_u64_in:
    case T_s64_in:
        return 64;
    default:
        return 32;
    }
}

/* What an immediate of the text is in a type. */
static uint64_t immediate(struct compile *c, struct statement *s, const struct operand *o,
                          unsigned type)
{
    uint64_t value = o->value;
    uint32_t narrow = (uint32_t)value;
    double wide;
    float single;

    if (o->kind == OPERAND_INT) {
        if (type == T_pred)
            return value ? ALL_LANES : 0;
        if (type == T_f32 || type == T_f64)
            mismatch(c, s);
        value += (uint64_t)o->offset;
        return is_wide(type)                    ? value
               : type == T_u16 || type == T_s16 ? value & 0xffff
                                                : (uint32_t)value;
    }
    if (type == T_pred)
        mismatch(c, s);
    if (o->kind == OPERAND_F64) {
        memcpy(&wide, &value, 8);
        if (is_wide(type))
            return value;
        single = (float)wide;
        memcpy(&narrow, &single, 4);
        return narrow;
    }
    if (!is_wide(type))
        return narrow;
    memcpy(&single, &narrow, 4);
    wide = (double)single;
    memcpy(&value, &wide, 8);
    return value;
}

static void use_shared(struct compile *c, uint32_t index)
{
    struct ptx_function *f = c->function;
    uint32_t *grown;

    for (uint32_t i = 0; i < f->shared_use_count; i++)
        if (f->shared_uses[i] == index)
            return;
    grown = realloc(f->shared_uses, (f->shared_use_count + 1) * sizeof(*grown));
    if (!grown)
        compile_memory(c);
    f->shared_uses = grown;
    f->shared_uses[f->shared_use_count++] = index;
}

/* The address of a symbol, 64 bits, in its own space. */
static uint32_t symbol_address(struct compile *c, struct statement *s, const struct symbol *y,
                               int64_t offset)
{
    struct insn *in;
    uint32_t slot;

    switch (y->kind) {
    case SYMBOL_GLOBAL:
    case SYMBOL_PARAM:
        return compile_constant(c, y->value + (uint64_t)offset, true);
    case SYMBOL_FUNCTION:
        c->function->calls_any = true;
        return compile_constant(c, FUNCTION_BASE + (uint64_t)y->function->index * FUNCTION_STRIDE,
                                true);
    case SYMBOL_SHARED:
        use_shared(c, (uint32_t)y->value);
        slot = compile_slot(c, 64);
        in = compile_emit(c, flow_shared_address);
        in->d = slot;
        in->imm = (int64_t)y->value;
        if (offset)
            emit_alu(c, ALU_offset, slot, slot, compile_constant(c, (uint64_t)offset, true));
        return slot;
    case SYMBOL_LOCAL:
        slot = compile_slot(c, 64);
        in = compile_emit(c, flow_local_address);
        in->d = slot;
        in->bits = y->value + (uint64_t)offset;
        return slot;
    default:
        mismatch(c, s);
    }
}

static uint32_t special_slot(struct compile *c, uint64_t which, bool wide)
{
    uint32_t slot = compile_slot(c, wide ? 64 : 32);
    struct insn *in = compile_emit(c, flow_special);

    in->d = slot;
    in->imm = (int64_t)(which & 0xffff);
    in->b = wide;
    return slot;
}

uint32_t select_source(struct compile *c, struct statement *s, struct operand *o, unsigned type)
{
    bool relaxed = type >= T_u8_in;
    uint32_t bits = type_bits(type), slot;

    if (o->negated) {
        if (o->kind != OPERAND_REGISTER || o->bits != 1 || type != T_pred)
            mismatch(c, s);
        slot = compile_slot(c, 32);
        emit_alu(c, ALU_not_pred, slot, o->slot, 0);
        return slot;
    }
    switch (o->kind) {
    case OPERAND_REGISTER:
        if ((o->bits == 1) != (type == T_pred))
            mismatch(c, s);
        if ((o->bits == 64) == (bits == 64))
            return o->slot;
        if (o->bits == 64 && relaxed) {
            slot = compile_slot(c, 32);
            emit_alu(c, ALU_low32, slot, o->slot, 0);
            return slot;
        }
        mismatch(c, s);
    case OPERAND_INT:
    case OPERAND_F32:
    case OPERAND_F64:
        return compile_constant(c, immediate(c, s, o, type), bits == 64);
    case OPERAND_SPECIAL:
        if (type == T_pred)
            mismatch(c, s);
        return special_slot(c, o->value, bits == 64);
    case OPERAND_SYMBOL:
        slot = symbol_address(c, s, o->symbol, o->offset);
        if (bits != 64) {
            uint32_t narrow = compile_slot(c, 32);

            if (bits != 32)
                mismatch(c, s);
            emit_alu(c, ALU_low32, narrow, slot, 0);
            return narrow;
        }
        return slot;
    default:
        mismatch(c, s);
    }
}

static uint32_t trash(struct compile *c)
{
    if (c->trash == NO_SLOT)
        c->trash = compile_slot(c, 64);
    return c->trash;
}

uint32_t select_target(struct compile *c, struct statement *s, struct operand *o, unsigned type)
{
    if (o->kind == OPERAND_SINK)
        return trash(c);
    if (o->kind != OPERAND_REGISTER || o->negated || (o->bits == 1) != (type == T_pred) ||
        (o->bits == 64) != (type_bits(type) == 64))
        mismatch(c, s);
    return o->slot;
}

/*
 * The target of an instruction that may write a wider register: the slot it writes, and then
 * finish_wide() once it is emitted.
 */
static uint32_t wide_target(struct compile *c, struct statement *s, struct operand *o,
                            unsigned type)
{
    if (o->kind == OPERAND_REGISTER && o->bits == 64 && type_bits(type) != 64)
        return compile_slot(c, 32);
    return select_target(c, s, o, type);
}

static void finish_wide(struct compile *c, struct operand *o, uint32_t slot, bool is_signed)
{
    if (o->kind != OPERAND_REGISTER || o->slot == slot)
        return;
    emit_alu(c, is_signed ? ALU_extend32 : ALU_widen, o->slot, slot, 0);
}

static bool has(const struct statement *s, const char *part)
{
    for (uint32_t i = 1; i < s->part_count; i++)
        if (!strcmp(s->parts[i], part))
            return true;
    return false;
}

static const char *last(const struct statement *s)
{
    return s->parts[s->part_count - 1];
}

static void need(struct compile *c, struct statement *s, uint32_t least, uint32_t most)
{
    if (s->count < least || s->count > most)
        mismatch(c, s);
}

/* Emits a row of the table with the operands from `from` on. */
static void emit_row(struct compile *c, struct statement *s, int row, uint32_t flags,
                     struct operand *target, struct operand *sources, bool extend)
{
    const struct row *r = &rows[row];
    uint32_t slots[4] = {0}, d;
    struct insn *in;
    bool is_signed = r->target == T_s32;

    for (unsigned i = 0; i < r->count; i++)
        slots[i] = select_source(c, s, &sources[i], r->sources[i]);
    d = extend ? wide_target(c, s, target, r->target) : select_target(c, s, target, r->target);
    in = compile_emit(c, c->isa->alu[row + (r->modified && flags ? 1 : 0)]);
    in->d = d;
    in->a = slots[0];
    in->b = slots[1];
    in->c = slots[2];
    in->e = slots[3];
    in->flags = flags;
    if (extend)
        finish_wide(c, target, d, is_signed);
}

static bool is_float(const char *type)
{
    return type[0] == 'f' || !strncmp(type, "bf", 2) || !strcmp(type, "tf32");
}

static void append(char *text, size_t room, const char *part)
{
    size_t n = strlen(text);

    snprintf(text + n, room - n, "%s%s", n ? "." : "", part);
}

/* Modifiers that are flags; false: it is part of the name. */
static bool flag(const char *part, uint32_t *flags)
{
    static const struct {
        const char *name;
        uint32_t flag;
    } names[] = {{"rn", 0},      {"rz", F_RZ},  {"rm", F_RM}, {"rp", F_RP}, {"ftz", F_FTZ},
                 {"sat", F_SAT}, {"approx", 0}, {"full", 0},  {"noftz", 0}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (!strcmp(part, names[i].name)) {
            *flags |= names[i].flag;
            return true;
        }
    return false;
}

/* Types that are only so many bits to mov, selp and the like. */
static const char *bits_of(const char *type)
{
    if (!strcmp(type, "pred"))
        return type;
    if (!strcmp(type, "f16x2") || !strcmp(type, "bf16x2"))
        return "b32";
    if (strstr(type, "64"))
        return "b64";
    if (strstr(type, "32"))
        return "b32";
    return strstr(type, "16") ? "b16" : type;
}

static void select_alu(struct compile *c, struct statement *s)
{
    static const char *const carried[] = {"add", "addc", "sub", "subc", "mad", "madc"};
    bool floating = s->part_count > 1 && is_float(last(s));
    uint32_t flags = 0;
    char name[96] = "";
    int row;

    if (!strcmp(s->parts[0], "copysign"))
        floating = false;
    append(name, sizeof(name), s->parts[0]);
    if (floating && has(s, "approx") && has(s, "ftz") && !strcmp(last(s), "f64")) {
        append(name, sizeof(name), "approx.ftz.f64");
    } else {
        for (uint32_t i = 1; i < s->part_count; i++) {
            if (floating && flag(s->parts[i], &flags))
                continue;
            append(name, sizeof(name), s->parts[i]);
        }
    }
    row = find_row(name);
    if (row < 0) {
        /* Extended precision: without .cc, signed or not. */
        for (size_t i = 0; i < sizeof(carried) / sizeof(carried[0]); i++)
            if (!strcmp(s->parts[0], carried[i]) &&
                (has(s, "cc") || s->parts[0][strlen(s->parts[0]) - 1] == 'c')) {
                char *type;

                name[0] = '\0';
                for (uint32_t n = 0; n < s->part_count; n++)
                    if (strcmp(s->parts[n], "cc") || s->parts[0][strlen(s->parts[0]) - 1] != 'c')
                        append(name, sizeof(name), s->parts[n]);
                row = find_row(name);
                type = strrchr(name, '.');
                if (row < 0 && type && type[1] == 's') {
                    type[1] = 'u';
                    row = find_row(name);
                }
            }
        if (row < 0)
            unknown(c, s);
    }
    need(c, s, rows[row].count + 1u, rows[row].count + 1u);
    emit_row(c, s, row, flags, &s->operands[0], &s->operands[1], false);
    if (rows[row].carry) {
        struct insn *in = &c->function->insns[c->function->insn_count - 1];
        bool out = has(s, "cc");

        if (c->carry == NO_SLOT)
            c->carry = compile_slot(c, 32);
        trash(c);
        in->f = c->carry;
        in->e = out ? c->carry : c->trash;
    }
}

static void select_bits(struct compile *c, struct statement *s)
{
    char name[64] = "";
    int row;

    append(name, sizeof(name), s->parts[0]);
    for (uint32_t i = 1; i < s->part_count; i++)
        if (strcmp(s->parts[i], "ftz"))
            append(name, sizeof(name), i == 1 ? bits_of(s->parts[i]) : s->parts[i]);
    row = find_row(name);
    if (row < 0)
        unknown(c, s);
    need(c, s, rows[row].count + 1u, rows[row].count + 1u);
    emit_row(c, s, row, has(s, "ftz") ? F_FTZ : 0, &s->operands[0], &s->operands[1], false);
}

/* prmt.b32{.mode}: one row each */
static void select_lop3(struct compile *c, struct statement *s)
{
    int row = find_row("lop3.b32");

    if (s->part_count != 2 || strcmp(s->parts[1], "b32"))
        unknown(c, s);
    need(c, s, 5, 5);
    if (s->operands[4].kind != OPERAND_INT || s->operands[4].value > 255)
        mismatch(c, s);
    emit_row(c, s, row, 0, &s->operands[0], &s->operands[1], false);
    c->function->insns[c->function->insn_count - 1].imm = (int64_t)s->operands[4].value;
}

static unsigned mov_row(const struct operand *o)
{
    return o->bits == 1 ? ALU_mov_pred : o->bits == 64 ? ALU_mov_b64 : ALU_mov_b32;
}

static void move(struct compile *c, uint32_t d, uint32_t a, uint32_t bits)
{
    emit_alu(c, bits == 64 ? ALU_mov_b64 : ALU_mov_b32, d, a, 0);
}

static void need_register(struct compile *c, struct statement *s, const struct operand *o,
                          uint32_t bits)
{
    if (o->kind == OPERAND_SINK)
        return;
    if (o->kind != OPERAND_REGISTER || o->bits != bits)
        mismatch(c, s);
}

static void unpack(struct compile *c, struct statement *s, struct operand *v, uint32_t source,
                   uint32_t bits)
{
    uint32_t part = bits / v->count, t;

    for (uint32_t i = 0; i < v->count; i++)
        need_register(c, s, &v->items[i], part);
    if (bits == 64 && v->count == 2) {
        for (uint32_t i = 0; i < 2; i++)
            if (v->items[i].kind == OPERAND_REGISTER)
                emit_alu(c, i ? ALU_high32 : ALU_low32, v->items[i].slot, source, 0);
    } else {
        /* The source may be overwritten by the first part of it. */
        for (uint32_t half = 0; half < v->count / 2; half++) {
            t = compile_slot(c, 32);
            if (bits == 64)
                emit_alu(c, half ? ALU_high32 : ALU_low32, t, source, 0);
            else
                move(c, t, source, 32);
            for (uint32_t i = 0; i < 2; i++)
                if (v->items[half * 2 + i].kind == OPERAND_REGISTER)
                    emit_alu(c, i ? ALU_high16 : ALU_low16, v->items[half * 2 + i].slot, t, 0);
        }
    }
    c->complex = true;
}

static uint32_t pack(struct compile *c, struct statement *s, struct operand *v, uint32_t bits)
{
    uint32_t parts[4], slot = compile_slot(c, bits), t[2];
    unsigned type = bits / v->count == 32 ? T_u32 : T_u16;

    for (uint32_t i = 0; i < v->count; i++)
        parts[i] = select_source(c, s, &v->items[i], type);
    if (v->count == 2) {
        emit_alu(c, bits == 64 ? ALU_pack32 : ALU_pack16, slot, parts[0], parts[1]);
        return slot;
    }
    for (uint32_t i = 0; i < 2; i++) {
        t[i] = compile_slot(c, 32);
        emit_alu(c, ALU_pack16, t[i], parts[2 * i], parts[2 * i + 1]);
    }
    emit_alu(c, ALU_pack32, slot, t[0], t[1]);
    return slot;
}

static bool splits(const struct operand *v, uint32_t bits)
{
    return v->kind == OPERAND_VECTOR && (v->count == 2 ? bits > 16 : v->count == 4 && bits == 64);
}

static void select_mov(struct compile *c, struct statement *s)
{
    struct operand *d = &s->operands[0], *a = &s->operands[1];
    const char *type = s->part_count == 2 ? bits_of(s->parts[1]) : "";
    uint32_t bits = !strcmp(type, "b64")   ? 64
                    : !strcmp(type, "b32") ? 32
                    : !strcmp(type, "b16") ? 16
                                           : 1;
    unsigned t = bits == 64 ? T_u64 : bits == 32 ? T_u32 : bits == 16 ? T_u16 : T_pred;
    uint32_t slot;

    if (bits == 1 && strcmp(type, "pred"))
        unknown(c, s);
    need(c, s, 2, 2);
    if (splits(a, bits)) {
        slot = pack(c, s, a, bits);
    } else {
        /* A label here is a function that comes later, which PTX has declared. */
        slot = select_source(c, s, a, t);
    }
    if (splits(d, bits)) {
        unpack(c, s, d, slot, bits);
        return;
    }
    emit_alu(c, d->kind == OPERAND_REGISTER ? mov_row(d) : ALU_mov_b32, select_target(c, s, d, t),
             slot, 0);
}

static void select_setp(struct compile *c, struct statement *s)
{
    static const char *const booleans[] = {"and", "or", "xor"};
    struct operand *p = &s->operands[0], first;
    uint32_t flags = 0, combined = 0;
    char name[64] = "setp";
    const char *boolean = NULL;
    int row;

    for (uint32_t i = 1; i < s->part_count; i++) {
        bool is = false;

        for (unsigned n = 0; n < 3; n++)
            if (i == 2 && !strcmp(s->parts[i], booleans[n])) {
                boolean = booleans[n];
                is = true;
            }
        if (!strcmp(s->parts[i], "ftz")) {
            flags |= F_FTZ;
            is = true;
        }
        if (!is)
            append(name, sizeof(name), s->parts[i]);
    }
    row = find_row(name);
    if (row < 0)
        unknown(c, s);
    need(c, s, boolean ? 4 : 3, boolean ? 4 : 3);
    first = *p;
    first.second = NULL;
    if (!boolean && !p->second) {
        emit_row(c, s, row, flags, &first, &s->operands[1], false);
        return;
    }
    first.kind = OPERAND_REGISTER;
    first.bits = 1;
    first.negated = false;
    first.slot = compile_slot(c, 32);
    if (boolean)
        combined = select_source(c, s, &s->operands[3], T_pred);
    emit_row(c, s, row, flags, &first, &s->operands[1], false);
    c->complex = true;
    for (struct operand *o = p; o; o = o->second) {
        uint32_t d = select_target(c, s, o, T_pred), value = first.slot;

        if (o != p) {
            value = compile_slot(c, 32);
            emit_alu(c, ALU_not_pred, value, first.slot, 0);
        }
        if (o->second && boolean && d == combined) {
            uint32_t kept = compile_slot(c, 32);

            emit_alu(c, ALU_mov_pred, kept, combined, 0);
            combined = kept;
        }
        if (!boolean)
            emit_alu(c, ALU_mov_pred, d, value, 0);
        else
            emit_alu(c,
                     boolean[0] == 'a'   ? ALU_and_pred
                     : boolean[0] == 'o' ? ALU_or_pred
                                         : ALU_xor_pred,
                     d, value, combined);
        if (o != p)
            break;
    }
}

/* set.cmp{.bool}{.ftz}.dtype.stype: as setp, then a choice */
static void select_set(struct compile *c, struct statement *s)
{
    struct statement p = *s;
    struct operand target = {.kind = OPERAND_REGISTER, .bits = 1, .slot = compile_slot(c, 32)};
    const char *type;
    uint32_t yes;
    struct insn *in;

    if (s->part_count < 4)
        unknown(c, s);
    type = s->parts[s->part_count - 2];
    if (strcmp(type, "u32") && strcmp(type, "s32") && strcmp(type, "f32"))
        unknown(c, s);
    p.parts[s->part_count - 2] = last(s);
    p.part_count--;
    p.operands[0] = target;
    select_setp(c, &p);
    yes = compile_constant(c, type[0] == 'f' ? 0x3f800000 : 0xffffffff, false);
    in = emit_alu(c, ALU_selp_b32, select_target(c, s, &s->operands[0], T_u32), yes,
                  compile_constant(c, 0, false));
    c->function->insns[c->function->insn_count - 1].c = target.slot;
    (void)in;
    c->complex = true;
}

static void select_cvt(struct compile *c, struct statement *s)
{
    const char *to, *from;
    bool integers;
    uint32_t flags = 0;
    char name[64] = "cvt";
    int row;

    if (s->part_count < 3)
        unknown(c, s);
    to = s->parts[s->part_count - 2];
    from = last(s);
    integers = !is_float(to) && !is_float(from);
    for (uint32_t i = 1; i < s->part_count; i++) {
        if (!integers && flag(s->parts[i], &flags))
            continue;
        append(name, sizeof(name), s->parts[i]);
    }
    /* To integers every conversion saturates; widening conversions do not round. */
    if (!integers && !is_float(to))
        flags &= F_FTZ;
    row = find_row(name);
    if (row < 0)
        unknown(c, s);
    need(c, s, rows[row].count + 1u, rows[row].count + 1u);
    emit_row(c, s, row, flags, &s->operands[0], &s->operands[1], true);
}

void select_address(struct compile *c, struct statement *s, struct operand *o, int *space,
                    struct insn *form)
{
    struct operand *base;

    if (o->kind != OPERAND_ADDRESS || o->count != 1)
        mismatch(c, s);
    base = &o->items[0];
    form->flags = 0;
    form->imm = base->offset;
    switch (base->kind) {
    case OPERAND_REGISTER:
        if (base->bits != 64 && base->bits != 32)
            mismatch(c, s);
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
        form->a = symbol_address(c, s, base->symbol, base->offset);
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
            mismatch(c, s);
        }
    default:
        mismatch(c, s);
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
        "mmio",        "unified",  "noftz"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (!strcmp(p, known[i]))
            return true;
    return !strncmp(p, "L1::", 4) || !strncmp(p, "L2::", 4);
}

static void select_load_store(struct compile *c, struct statement *s)
{
    bool store = !strcmp(s->parts[0], "st");
    struct operand *values = &s->operands[store ? 1 : 0], *list = values;
    struct insn form = {0}, *in;
    const char *type = last(s);
    uint32_t count = has(s, "v4") ? 4 : has(s, "v2") ? 2 : 1, bits, slots[4];
    int space = space_of(s);
    unsigned op, t;

    for (uint32_t i = 1; i + 1 < s->part_count; i++)
        if (!memory_modifier(s->parts[i]))
            unknown(c, s);
    bits = strstr(type, "64")   ? 64
           : strstr(type, "32") ? 32
           : strstr(type, "16") ? 16
           : strstr(type, "8")  ? 8
                                : 0;
    if (!strcmp(type, "f16x2") || !strcmp(type, "bf16x2"))
        bits = 32;
    if (s->part_count < 2 || !bits || !strchr("busf", type[0]) || strlen(type) > 6)
        unknown(c, s);
    /* An optional cache policy follows. */
    need(c, s, 2, 3);
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
            mismatch(c, s);
        list = values->items;
    }
    t = bits == 64 ? (store ? T_u64_in : T_u64) : store ? T_u32_in : T_u32;
    for (uint32_t i = 0; i < count; i++)
        slots[i] = store ? select_source(c, s, &list[i], t) : wide_target(c, s, &list[i], t);
    if (has(s, "volatile") || has(s, "acquire") || has(s, "relaxed")) {
        /* A loop that waits for a value gives way to others sooner. */
        if (!store)
            compile_emit(c, flow_spin);
    }
    if (has(s, "acquire") || has(s, "release"))
        compile_emit(c, flow_fence);
    in = compile_emit(c, c->isa->mem[op + (unsigned)space]);
    in->a = form.a;
    in->imm = form.imm;
    in->flags = form.flags;
    in->d = slots[0];
    in->b = count > 1 ? slots[1] : 0;
    in->c = count > 2 ? slots[2] : 0;
    in->e = count > 3 ? slots[3] : 0;
    in->f = count;
    if (!store)
        for (uint32_t i = 0; i < count; i++)
            finish_wide(c, &list[i], slots[i], type[0] == 's');
}

static void select_cvta(struct compile *c, struct statement *s)
{
    bool to = has(s, "to");
    int space = space_of(s);
    uint64_t base = space == SPACE_SHARED  ? SHARED_BASE
                    : space == SPACE_LOCAL ? LOCAL_BASE
                    : space == SPACE_PARAM ? PARAM_BASE
                                           : 0;
    uint32_t a;

    need(c, s, 2, 2);
    if (space == SPACE_GENERIC || strcmp(last(s), "u64"))
        unknown(c, s);
    if (space == SPACE_PARAM && !c->function->kernel)
        base = LOCAL_BASE;
    a = select_source(c, s, &s->operands[1], T_u64);
    emit_alu(c, ALU_offset, select_target(c, s, &s->operands[0], T_u64), a,
             compile_constant(c, to ? 0 - base : base, true));
}

static void select_isspacep(struct compile *c, struct statement *s)
{
    struct insn *in;
    uint32_t d, a;

    need(c, s, 2, 2);
    d = select_target(c, s, &s->operands[0], T_pred);
    a = select_source(c, s, &s->operands[1], T_u64);
    in = compile_emit(c, flow_is_space);
    in->d = d;
    in->a = a;
    in->imm = space_of(s);
}

static void select_atom(struct compile *c, struct statement *s)
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
            unknown(c, s);
    }
    for (size_t n = 0; n < sizeof(types) / sizeof(types[0]); n++)
        if (!strcmp(last(s), types[n].name))
            type = (int)n;
    if (op < 0 || type < 0 ||
        (types[type].type >= TYPE_F16 && types[type].type <= TYPE_BF16X2 && ops[op].op != ATOM_ADD))
        unknown(c, s);
    need(c, s, ops[op].operands + (reduce ? 1 : 2), ops[op].operands + (reduce ? 1 : 2) + 1);
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

static void select_bra(struct compile *c, struct statement *s)
{
    struct insn *in;

    need(c, s, 1, 1);
    if (s->operands[0].kind != OPERAND_NAME && !(s->operands[0].kind == OPERAND_SYMBOL))
        mismatch(c, s);
    in = compile_emit(c, s->guarded ? flow_branch_if : flow_branch);
    in->a = s->guard;
    in->flags = s->unless ? F_UNLESS : 0;
    compile_label(c, &s->operands[0].token, c->function->insn_count - 1, NULL, 0);
}

static void select_brx(struct compile *c, struct statement *s)
{
    struct insn *in;
    uint32_t a;

    need(c, s, 2, 2);
    if (s->operands[1].kind != OPERAND_SYMBOL || s->operands[1].symbol->kind != SYMBOL_TARGETS)
        mismatch(c, s);
    a = select_source(c, s, &s->operands[0], T_u32);
    in = compile_emit(c, flow_switch);
    in->a = a;
    in->data = s->operands[1].symbol->targets;
    c->complex = true;
}

static void plain(struct compile *c, ptx_handler fn, bool complex)
{
    compile_emit(c, fn);
    c->complex |= complex;
}

static void select_flow(struct compile *c, struct statement *s)
{
    const char *name = s->parts[0];

    if (!strcmp(name, "call"))
        compile_call(c, s);
    else if (!strcmp(name, "ret"))
        compile_emit(c, flow_return);
    else if (!strcmp(name, "exit"))
        compile_emit(c, flow_exit);
    else
        compile_emit(c, flow_trap);
    c->complex = true;
}

/* What needs no doing here: hints, and waits for what is done at once. */
static void select_nothing(struct compile *c, struct statement *s)
{
    (void)s;
    plain(c, flow_nothing, false);
}

static void select_fence(struct compile *c, struct statement *s)
{
    (void)s;
    plain(c, flow_fence, false);
}

static void select_sleep(struct compile *c, struct statement *s)
{
    (void)s;
    plain(c, flow_spin, true);
}

static void select_bar(struct compile *c, struct statement *s)
{
    uint32_t d = trash(c), a, b = NO_SLOT, predicate = 0, next = 0;
    int mode = has(s, "sync") ? BARRIER_SYNC : has(s, "arrive") ? BARRIER_ARRIVE : -1;
    struct insn *in;

    c->complex = true;
    if (has(s, "warp")) {
        need(c, s, 1, 1);
        a = select_source(c, s, &s->operands[0], T_u32);
        in = compile_emit(c, sync_warp);
        in->a = a;
        return;
    }
    if (has(s, "cluster"))
        unknown(c, s);
    if (has(s, "red"))
        mode = has(s, "popc")  ? BARRIER_POPC
               : has(s, "and") ? BARRIER_AND
               : has(s, "or")  ? BARRIER_OR
                               : -1;
    if (mode < 0)
        unknown(c, s);
    if (mode >= BARRIER_POPC) {
        need(c, s, 3, 4);
        d = select_target(c, s, &s->operands[next++], mode == BARRIER_POPC ? T_u32 : T_pred);
        predicate = select_source(c, s, &s->operands[s->count - 1], T_pred);
    } else {
        need(c, s, 1, 2);
    }
    a = select_source(c, s, &s->operands[next++], T_u32);
    if (next < s->count - (mode >= BARRIER_POPC ? 1u : 0u))
        b = select_source(c, s, &s->operands[next], T_u32);
    in = compile_emit(c, sync_barrier);
    in->d = d;
    in->a = a;
    in->b = b;
    in->c = predicate;
    in->imm = mode;
}

static void select_shfl(struct compile *c, struct statement *s)
{
    bool sync = has(s, "sync");
    struct operand *o = s->operands;
    uint32_t d, p = NO_SLOT, a, b, clamp, members = NO_SLOT;
    int mode = has(s, "up")     ? SHUFFLE_UP
               : has(s, "down") ? SHUFFLE_DOWN
               : has(s, "bfly") ? SHUFFLE_XOR
               : has(s, "idx")  ? SHUFFLE_IDX
                                : -1;
    struct insn *in;

    if (mode < 0 || strcmp(last(s), "b32"))
        unknown(c, s);
    need(c, s, sync ? 5 : 4, sync ? 5 : 4);
    d = select_target(c, s, &o[0], T_u32);
    if (o[0].second)
        p = select_target(c, s, o[0].second, T_pred);
    a = select_source(c, s, &o[1], T_u32);
    b = select_source(c, s, &o[2], T_u32);
    clamp = select_source(c, s, &o[3], T_u32);
    if (sync)
        members = select_source(c, s, &o[4], T_u32);
    in = compile_emit(c, sync_shuffle);
    in->d = d;
    in->e = p;
    in->a = a;
    in->b = b;
    in->c = clamp;
    in->f = members;
    in->imm = mode;
    c->complex = true;
}

static void select_vote(struct compile *c, struct statement *s)
{
    bool sync = has(s, "sync");
    int mode = has(s, "all")      ? VOTE_ALL
               : has(s, "any")    ? VOTE_ANY
               : has(s, "uni")    ? VOTE_UNI
               : has(s, "ballot") ? VOTE_BALLOT
                                  : -1;
    uint32_t d, a, members = NO_SLOT;
    struct insn *in;

    if (mode < 0)
        unknown(c, s);
    need(c, s, sync ? 3 : 2, sync ? 3 : 2);
    d = select_target(c, s, &s->operands[0], mode == VOTE_BALLOT ? T_u32 : T_pred);
    a = select_source(c, s, &s->operands[1], T_pred);
    if (sync)
        members = select_source(c, s, &s->operands[2], T_u32);
    in = compile_emit(c, sync_vote);
    in->d = d;
    in->a = a;
    in->f = members;
    in->imm = mode;
    c->complex = true;
}

static void select_match(struct compile *c, struct statement *s)
{
    bool all = has(s, "all"), wide = !strcmp(last(s), "b64");
    uint32_t d, p = NO_SLOT, a, members;
    struct insn *in;

    if ((!all && !has(s, "any")) || (!wide && strcmp(last(s), "b32")))
        unknown(c, s);
    need(c, s, 3, 3);
    d = select_target(c, s, &s->operands[0], T_u32);
    if (s->operands[0].second)
        p = select_target(c, s, s->operands[0].second, T_pred);
    a = select_source(c, s, &s->operands[1], wide ? T_u64 : T_u32);
    members = select_source(c, s, &s->operands[2], T_u32);
    in = compile_emit(c, sync_match);
    in->d = d;
    in->e = p;
    in->a = a;
    in->f = members;
    in->imm = (all ? MATCH_ALL : 0) | (wide ? MATCH_WIDE : 0);
    c->complex = true;
}

static void select_redux(struct compile *c, struct statement *s)
{
    bool is_signed = !strcmp(last(s), "s32");
    int op = has(s, "add")   ? REDUCE_ADD
             : has(s, "min") ? (is_signed ? REDUCE_MIN : REDUCE_UMIN)
             : has(s, "max") ? (is_signed ? REDUCE_MAX : REDUCE_UMAX)
             : has(s, "and") ? REDUCE_AND
             : has(s, "or")  ? REDUCE_OR
             : has(s, "xor") ? REDUCE_XOR
                             : -1;
    uint32_t d, a, members;
    struct insn *in;

    if (op < 0 || strlen(last(s)) != 3 || last(s)[0] == 'f')
        unknown(c, s);
    need(c, s, 3, 3);
    d = select_target(c, s, &s->operands[0], T_u32);
    a = select_source(c, s, &s->operands[1], T_u32);
    members = select_source(c, s, &s->operands[2], T_u32);
    in = compile_emit(c, sync_reduce);
    in->d = d;
    in->a = a;
    in->f = members;
    in->imm = op;
    c->complex = true;
}

static void select_active(struct compile *c, struct statement *s)
{
    uint32_t d;

    need(c, s, 1, 1);
    d = select_target(c, s, &s->operands[0], T_u32);
    compile_emit(c, sync_active)->d = d;
}

/* cp.async.{ca,cg}.shared.global [to], [from], size{, bytes}; groups complete at once */
static void select_cp(struct compile *c, struct statement *s)
{
    int to_space = SPACE_SHARED, from_space = SPACE_GLOBAL;
    struct insn to = {0}, from = {0}, *in;
    uint32_t size, bytes = NO_SLOT;

    if (s->part_count < 2 || strcmp(s->parts[1], "async") || has(s, "bulk") || has(s, "mbarrier"))
        unknown(c, s);
    if (has(s, "commit_group") || has(s, "wait_group") || has(s, "wait_all")) {
        plain(c, flow_nothing, false);
        return;
    }
    need(c, s, 3, 5);
    select_address(c, s, &s->operands[0], &to_space, &to);
    select_address(c, s, &s->operands[1], &from_space, &from);
    size = (uint32_t)s->operands[2].value;
    if (s->operands[2].kind != OPERAND_INT || (size != 4 && size != 8 && size != 16) ||
        from.flags & F_ADDRESS32 || to.imm != (int32_t)to.imm || from.imm != (int32_t)from.imm)
        mismatch(c, s);
    if (s->count > 3 && (s->operands[3].kind == OPERAND_INT || s->operands[3].bits == 32))
        bytes = select_source(c, s, &s->operands[3], T_u32);
    in = compile_emit(c, copy_async);
    in->d = to.a;
    in->a = from.a;
    in->b = bytes;
    in->e = size;
    in->flags = to.flags;
    in->imm = (int64_t)((uint64_t)to.imm << 32 | (uint32_t)from.imm);
}

static const struct {
    const char *name;
    void (*select)(struct compile *c, struct statement *s);
} selectors[] = {
    {"mov", select_mov},
    {"ld", select_load_store},
    {"ldu", select_load_store},
    {"st", select_load_store},
    {"setp", select_setp},
    {"set", select_set},
    {"cvt", select_cvt},
    {"cvta", select_cvta},
    {"selp", select_bits},
    {"slct", select_bits},
    {"lop3", select_lop3},
    {"isspacep", select_isspacep},
    {"atom", select_atom},
    {"red", select_atom},
    {"bra", select_bra},
    {"brx", select_brx},
    {"call", select_flow},
    {"ret", select_flow},
    {"exit", select_flow},
    {"trap", select_flow},
    {"brkpt", select_nothing},
    {"pmevent", select_nothing},
    {"prefetch", select_nothing},
    {"prefetchu", select_nothing},
    {"discard", select_nothing},
    {"applypriority", select_nothing},
    {"membar", select_fence},
    {"fence", select_fence},
    {"nanosleep", select_sleep},
    {"bar", select_bar},
    {"barrier", select_bar},
    {"shfl", select_shfl},
    {"vote", select_vote},
    {"match", select_match},
    {"redux", select_redux},
    {"activemask", select_active},
    {"cp", select_cp},
};

void select_statement(struct compile *c, struct statement *s)
{
    for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++)
        if (!strcmp(s->parts[0], selectors[i].name)) {
            selectors[i].select(c, s);
            return;
        }
    select_alu(c, s);
}
