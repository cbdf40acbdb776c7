/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "select.h"

/* Arithmetic, moves, comparisons and conversions: what becomes rows of alu.def. */

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
    d = extend ? select_wide_target(c, s, target, r->target)
               : select_target(c, s, target, r->target);
    in = compile_emit(c, c->isa->alu[row + (r->modified && flags ? 1 : 0)]);
    in->d = d;
    in->a = slots[0];
    in->b = slots[1];
    in->c = slots[2];
    in->e = slots[3];
    in->flags = flags;
    if (extend)
        select_finish_wide(c, target, d, is_signed);
}

static bool is_float(const char *type)
{
    return type[0] == 'f' || !strncmp(type, "bf", 2) || !strcmp(type, "tf32") ||
           !strncmp(type, "e4m3", 4) || !strncmp(type, "e5m2", 4);
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

void select_alu(struct compile *c, struct statement *s)
{
    static const char *const carried[] = {"add", "addc", "sub", "subc", "mad", "madc"};
    bool floating = s->part_count > 1 && is_float(select_last(s));
    uint32_t flags = 0;
    char name[96] = "";
    int row;

    if (!strcmp(s->parts[0], "copysign"))
        floating = false;
    append(name, sizeof(name), s->parts[0]);
    if (floating && select_has(s, "approx") && select_has(s, "ftz") &&
        !strcmp(select_last(s), "f64")) {
        append(name, sizeof(name), "approx.ftz.f64");
    } else {
        for (uint32_t i = 1; i < s->part_count; i++) {
            if (floating && flag(s->parts[i], &flags))
                continue;
            append(name, sizeof(name), s->parts[i]);
        }
    }
    row = find_row(name);
    if (row < 0 && s->part_count == 2 && !strcmp(s->parts[0], "shr") && s->parts[1][0] == 'b') {
        /* Of bits: the shift that fills with zeros. */
        name[4] = 'u';
        row = find_row(name);
    }
    if (row < 0) {
        /* Extended precision: without .cc, signed or not. */
        for (size_t i = 0; i < sizeof(carried) / sizeof(carried[0]); i++)
            if (!strcmp(s->parts[0], carried[i]) &&
                (select_has(s, "cc") || s->parts[0][strlen(s->parts[0]) - 1] == 'c')) {
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
            select_unknown(c, s);
    }
    select_need(c, s, rows[row].count + 1u, rows[row].count + 1u);
    emit_row(c, s, row, flags, &s->operands[0], &s->operands[1], false);
    if (rows[row].carry) {
        struct insn *in = &c->function->insns[c->function->insn_count - 1];
        bool out = select_has(s, "cc");

        if (c->carry == NO_SLOT)
            c->carry = compile_slot(c, 32);
        select_trash(c);
        in->f = c->carry;
        in->e = out ? c->carry : c->trash;
    }
}

void select_bits(struct compile *c, struct statement *s)
{
    char name[64] = "";
    int row;

    append(name, sizeof(name), s->parts[0]);
    for (uint32_t i = 1; i < s->part_count; i++)
        if (strcmp(s->parts[i], "ftz"))
            append(name, sizeof(name), i == 1 ? bits_of(s->parts[i]) : s->parts[i]);
    row = find_row(name);
    if (row < 0)
        select_unknown(c, s);
    select_need(c, s, rows[row].count + 1u, rows[row].count + 1u);
    emit_row(c, s, row, select_has(s, "ftz") ? F_FTZ : 0, &s->operands[0], &s->operands[1], false);
}

void select_lop3(struct compile *c, struct statement *s)
{
    int row = find_row("lop3.b32");

    if (s->part_count != 2 || strcmp(s->parts[1], "b32"))
        select_unknown(c, s);
    select_need(c, s, 5, 5);
    if (s->operands[4].kind != OPERAND_INT || s->operands[4].value > 255)
        select_mismatch(c, s);
    emit_row(c, s, row, 0, &s->operands[0], &s->operands[1], false);
    c->function->insns[c->function->insn_count - 1].imm = (int64_t)s->operands[4].value;
}

static unsigned mov_row(const struct operand *o)
{
    return o->bits == 1 ? ALU_mov_pred : o->bits == 64 ? ALU_mov_b64 : ALU_mov_b32;
}

static void move(struct compile *c, uint32_t d, uint32_t a, uint32_t bits)
{
    select_emit(c, bits == 64 ? ALU_mov_b64 : ALU_mov_b32, d, a, 0);
}

static void need_register(struct compile *c, struct statement *s, const struct operand *o,
                          uint32_t bits)
{
    if (o->kind == OPERAND_SINK)
        return;
    if (o->kind != OPERAND_REGISTER || o->bits != bits)
        select_mismatch(c, s);
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
                select_emit(c, i ? ALU_high32 : ALU_low32, v->items[i].slot, source, 0);
    } else {
        /* The source may be overwritten by the first part of it. */
        for (uint32_t half = 0; half < v->count / 2; half++) {
            t = compile_slot(c, 32);
            if (bits == 64)
                select_emit(c, half ? ALU_high32 : ALU_low32, t, source, 0);
            else
                move(c, t, source, 32);
            for (uint32_t i = 0; i < 2; i++)
                if (v->items[half * 2 + i].kind == OPERAND_REGISTER)
                    select_emit(c, i ? ALU_high16 : ALU_low16, v->items[half * 2 + i].slot, t, 0);
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
        select_emit(c, bits == 64 ? ALU_pack32 : ALU_pack16, slot, parts[0], parts[1]);
        return slot;
    }
    for (uint32_t i = 0; i < 2; i++) {
        t[i] = compile_slot(c, 32);
        select_emit(c, ALU_pack16, t[i], parts[2 * i], parts[2 * i + 1]);
    }
    select_emit(c, ALU_pack32, slot, t[0], t[1]);
    return slot;
}

static bool splits(const struct operand *v, uint32_t bits)
{
    return v->kind == OPERAND_VECTOR && (v->count == 2 ? bits > 16 : v->count == 4 && bits == 64);
}

/* mov.v4.u16 {…}, {…}: all is read before anything is written */
static void move_vector(struct compile *c, struct statement *s)
{
    struct operand *d = &s->operands[0], *a = &s->operands[1];
    uint32_t count = (uint32_t)(s->parts[1][1] - '0'), slots[8];

    select_need(c, s, 2, 2);
    if (d->kind != OPERAND_VECTOR || a->kind != OPERAND_VECTOR || d->count != count ||
        a->count != count)
        select_mismatch(c, s);
    for (uint32_t i = 0; i < count; i++) {
        const struct operand *o = &d->items[i];
        bool wide = o->kind == OPERAND_REGISTER && o->bits == 64;
        uint32_t slot = select_source(c, s, &a->items[i], wide ? T_u64 : T_u32);

        slots[i] = compile_slot(c, wide ? 64 : 32);
        move(c, slots[i], slot, wide ? 64 : 32);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct operand *o = &d->items[i];
        bool wide = o->kind == OPERAND_REGISTER && o->bits == 64;

        move(c, select_target(c, s, o, wide ? T_u64 : T_u32), slots[i], wide ? 64 : 32);
    }
    c->complex = true;
}

void select_mov(struct compile *c, struct statement *s)
{
    struct operand *d = &s->operands[0], *a = &s->operands[1];
    const char *type = s->part_count == 2 ? bits_of(s->parts[1]) : "";
    uint32_t bits = !strcmp(type, "b64")   ? 64
                    : !strcmp(type, "b32") ? 32
                    : !strcmp(type, "b16") ? 16
                                           : 1;
    unsigned t = bits == 64 ? T_u64 : bits == 32 ? T_u32 : bits == 16 ? T_u16 : T_pred;
    uint32_t slot;

    if (s->part_count == 3 &&
        (!strcmp(s->parts[1], "v2") || !strcmp(s->parts[1], "v4") || !strcmp(s->parts[1], "v8"))) {
        move_vector(c, s);
        return;
    }
    if (bits == 1 && strcmp(type, "pred"))
        select_unknown(c, s);
    select_need(c, s, 2, 2);
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
    select_emit(c, d->kind == OPERAND_REGISTER ? mov_row(d) : ALU_mov_b32,
                select_target(c, s, d, t), slot, 0);
}

void select_setp(struct compile *c, struct statement *s)
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
        select_unknown(c, s);
    select_need(c, s, boolean ? 4 : 3, boolean ? 4 : 3);
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
            select_emit(c, ALU_not_pred, value, first.slot, 0);
        }
        if (o->second && boolean && d == combined) {
            uint32_t kept = compile_slot(c, 32);

            select_emit(c, ALU_mov_pred, kept, combined, 0);
            combined = kept;
        }
        if (!boolean)
            select_emit(c, ALU_mov_pred, d, value, 0);
        else
            select_emit(c,
                        boolean[0] == 'a'   ? ALU_and_pred
                        : boolean[0] == 'o' ? ALU_or_pred
                                            : ALU_xor_pred,
                        d, value, combined);
        if (o != p)
            break;
    }
}

/* A comparison of one half of f16x2 or bf16x2, as 0xffff or 0. */
static void set_half(struct compile *c, struct statement *s, bool high, const char *type,
                     uint32_t ones, uint32_t target)
{
    struct statement one = *s;
    struct operand p = {.kind = OPERAND_REGISTER, .bits = 1, .slot = compile_slot(c, 32)};

    for (uint32_t i = 1; i < 3; i++) {
        struct operand half = {.kind = OPERAND_REGISTER, .bits = 16, .slot = compile_slot(c, 32)};

        select_emit(c, high ? ALU_high16 : ALU_low16, half.slot,
                    select_source(c, s, &s->operands[i], T_u32), 0);
        one.operands[i] = half;
    }
    one.parts[s->part_count - 2] = type;
    one.part_count--;
    one.operands[0] = p;
    select_setp(c, &one);
    select_emit(c, ALU_selp_b32, target, compile_constant(c, ones, false),
                compile_constant(c, 0, false));
    c->function->insns[c->function->insn_count - 1].c = p.slot;
}

/* set.cmp{.bool}{.ftz}.dtype.stype: as setp, then a choice */
void select_set(struct compile *c, struct statement *s)
{
    struct statement p = *s;
    struct operand target = {.kind = OPERAND_REGISTER, .bits = 1, .slot = 0};
    const char *type, *from = select_last(s);
    bool narrow;
    uint32_t yes;

    if (s->part_count < 4)
        select_unknown(c, s);
    type = s->parts[s->part_count - 2];
    narrow = !strcmp(type, "u16") || !strcmp(type, "s16") || !strcmp(type, "f16") ||
             !strcmp(type, "bf16");
    c->complex = true;
    if (!strcmp(from, "f16x2") || !strcmp(from, "bf16x2")) {
        const char *one = from[0] == 'b' ? "bf16" : "f16";
        uint32_t halves[2] = {compile_slot(c, 32), compile_slot(c, 32)}, ones = 0xffff;

        if (!strcmp(type, from))
            ones = from[0] == 'b' ? 0x3f80 : 0x3c00;
        else if (strcmp(type, "u32") && strcmp(type, "s32"))
            select_unknown(c, s);
        select_need(c, s, 3, 4);
        set_half(c, s, false, one, ones, halves[0]);
        set_half(c, s, true, one, ones, halves[1]);
        select_emit(c, ALU_pack16, select_target(c, s, &s->operands[0], T_u32), halves[0],
                    halves[1]);
        return;
    }
    if (strcmp(type, "u32") && strcmp(type, "s32") && strcmp(type, "f32") && !narrow)
        select_unknown(c, s);
    if (narrow && strcmp(from, "f16") && strcmp(from, "bf16"))
        select_unknown(c, s);
    target.slot = compile_slot(c, 32);
    p.parts[s->part_count - 2] = select_last(s);
    p.part_count--;
    p.operands[0] = target;
    select_setp(c, &p);
    yes = compile_constant(c,
                           !strcmp(type, "f32")    ? 0x3f800000
                           : !strcmp(type, "f16")  ? 0x3c00
                           : !strcmp(type, "bf16") ? 0x3f80
                           : narrow                ? 0xffff
                                                   : 0xffffffff,
                           false);
    select_emit(c, ALU_selp_b32, select_target(c, s, &s->operands[0], narrow ? T_u16 : T_u32), yes,
                compile_constant(c, 0, false));
    c->function->insns[c->function->insn_count - 1].c = target.slot;
}

void select_cvt(struct compile *c, struct statement *s)
{
    const char *to, *from;
    bool integers;
    uint32_t flags = 0;
    char name[64] = "cvt";
    int row;

    if (s->part_count < 3)
        select_unknown(c, s);
    to = s->parts[s->part_count - 2];
    from = select_last(s);
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
        select_unknown(c, s);
    select_need(c, s, rows[row].count + 1u, rows[row].count + 1u);
    emit_row(c, s, row, flags, &s->operands[0], &s->operands[1], true);
}
