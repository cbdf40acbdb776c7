/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "flow.h"
#include "select.h"

/*
 * Textures and surfaces, in unified mode (PTX ISA, "Texture Instructions", "Surface
 * Instructions"): one handle, in a register or by the name of a variable.
 */

/* {a, b, …} or one alone. */
static struct operand *item(struct operand *o, uint32_t index)
{
    if (o->kind == OPERAND_VECTOR)
        return index < o->count ? &o->items[index] : NULL;
    return index ? NULL : o;
}

static uint32_t handle(struct compile *c, struct statement *s, struct operand *o, uint32_t items)
{
    struct operand *base;

    /* Three items: a texture and a sampler, of independent mode. */
    if (o->kind != OPERAND_ADDRESS || o->count != items)
        select_mismatch(c, s);
    base = &o->items[0];
    if (base->offset || base->negated)
        select_mismatch(c, s);
    if (base->kind == OPERAND_REGISTER && base->bits == 64)
        return base->slot;
    if (base->kind != OPERAND_SYMBOL || base->symbol->kind != SYMBOL_GLOBAL)
        select_mismatch(c, s);
    return select_symbol_address(c, s, base->symbol, 0);
}

static const struct geometry {
    const char *name;
    uint32_t dimensions, flags;
} geometries[] = {{"1d", 1, 0},
                  {"2d", 2, 0},
                  {"3d", 3, 0},
                  {"a1d", 1, TEXTURE_LAYERED},
                  {"a2d", 2, TEXTURE_LAYERED},
                  {"cube", 3, TEXTURE_CUBE}};

static const struct geometry *geometry(struct compile *c, struct statement *s, const char *name)
{
    for (size_t i = 0; i < sizeof(geometries) / sizeof(geometries[0]); i++)
        if (!strcmp(name, geometries[i].name))
            return &geometries[i];
    select_unknown(c, s);
}

/* Slots of the coordinates; those that only fill up the vector are not read. */
static void coordinates(struct compile *c, struct statement *s, struct operand *o,
                        const struct geometry *g, unsigned type, uint32_t *ret_slots)
{
    bool layered = g->flags & TEXTURE_LAYERED;
    uint32_t count = g->dimensions + layered;

    for (uint32_t i = 0; i < count; i++) {
        struct operand *one = item(o, i);

        if (!one)
            select_mismatch(c, s);
        ret_slots[i] = select_source(c, s, one, layered && !i ? T_u32 : type);
    }
    for (uint32_t i = count; i < 3; i++)
        ret_slots[i] = ret_slots[0];
}

static void fill(struct insn *in, const uint32_t *values, uint32_t handle, const uint32_t *at,
                 uint32_t flags)
{
    in->d = values[0];
    in->b = values[1];
    in->c = values[2];
    in->e = values[3];
    in->a = handle;
    in->f = at[0];
    in->bits = at[1] | (uint64_t)at[2] << 32;
    in->flags = flags;
}

/*
 * tex{.base, .level, .grad}.GEOMETRY.v4.TYPE.TYPE d, [a, c]{, level | dx, dy}
 * tld4.COMPONENT.2d.v4.TYPE.f32 d, [a, c]
 * As textures have one level here, which one is asked for makes no difference.
 */
void select_tex(struct compile *c, struct statement *s)
{
    static const char *const types[] = {"f32", "s32", "u32"};
    static const char *const channels[] = {"r", "g", "b", "a"};
    bool gather = !strcmp(s->parts[0], "tld4"), known = false;
    uint32_t extra = 0, at = 1, flags = 0, values[4], slots[3], base;
    const struct geometry *g;
    struct operand *d = &s->operands[0];

    if (s->part_count < 5)
        select_unknown(c, s);
    if (gather) {
        for (uint32_t i = 0; i < 4; i++)
            if (!strcmp(s->parts[1], channels[i])) {
                flags = i << 8;
                known = true;
            }
        if (!known)
            select_unknown(c, s);
        at++;
    } else if (!strcmp(s->parts[1], "level")) {
        extra = 1;
        at++;
    } else if (!strcmp(s->parts[1], "grad")) {
        extra = 2;
        at++;
    } else if (!strcmp(s->parts[1], "base")) {
        at++;
    }
    if (s->part_count != at + 4 || strcmp(s->parts[at + 1], "v4"))
        select_unknown(c, s);
    g = geometry(c, s, s->parts[at]);
    known = false;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        known |= !strcmp(s->parts[at + 2], types[i]);
    if (!strcmp(select_last(s), "s32"))
        flags |= TEXTURE_INTEGER;
    else if (strcmp(select_last(s), "f32"))
        known = false;
    if (!known || (flags & TEXTURE_INTEGER && (gather || g->flags & TEXTURE_CUBE)) ||
        (gather && (g->dimensions != 2 || g->flags)))
        select_unknown(c, s);
    /* An offset or a depth to compare with, behind these, is not known. */
    select_need(c, s, 2 + extra, 2 + extra);
    base = handle(c, s, &s->operands[1], 2);
    if (d->kind != OPERAND_VECTOR || d->count != 4)
        select_mismatch(c, s);
    for (uint32_t i = 0; i < 4; i++)
        values[i] = select_target(c, s, &d->items[i], T_u32);
    coordinates(c, s, &s->operands[1].items[1], g, flags & TEXTURE_INTEGER ? T_s32 : T_f32, slots);
    fill(compile_emit(c, gather ? texture_gather : texture_fetch), values, base, slots,
         flags | g->flags | g->dimensions);
}

/* suld.b.GEOMETRY{.cache}{.vec}.TYPE.CLAMP d, [a, b];  sust.b… [a, b], c */
void select_surface(struct compile *c, struct statement *s)
{
    static const char *const modes[] = {
        [SURFACE_TRAP] = "trap", [SURFACE_CLAMP] = "clamp", [SURFACE_ZERO] = "zero"};
    static const char *const caches[] = {"ca", "cg", "cs", "cv", "wb", "wt"};
    bool store = !strcmp(s->parts[0], "sust"), known = false;
    struct operand *address = &s->operands[store ? 0 : 1], *list = &s->operands[store ? 1 : 0];
    uint32_t at = 3, count = 1, bytes, flags = 0, values[4] = {0}, slots[3], base;
    const struct geometry *g;
    unsigned type;

    if (s->part_count < 5 || strcmp(s->parts[1], "b"))
        select_unknown(c, s);
    g = geometry(c, s, s->parts[2]);
    for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++)
        if (!strcmp(s->parts[3], caches[i]))
            at = 4;
    if (!strcmp(s->parts[at], "v2") || !strcmp(s->parts[at], "v4"))
        count = s->parts[at++][1] == '2' ? 2 : 4;
    if (s->part_count != at + 2 || g->flags & TEXTURE_CUBE)
        select_unknown(c, s);
    bytes = !strcmp(s->parts[at], "b8")    ? 1
            : !strcmp(s->parts[at], "b16") ? 2
            : !strcmp(s->parts[at], "b32") ? 4
            : !strcmp(s->parts[at], "b64") ? 8
                                           : 0;
    for (uint32_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (!strcmp(select_last(s), modes[i])) {
            flags = i << 8;
            known = true;
        }
    if (!known || !bytes || bytes * count > 16)
        select_unknown(c, s);
    select_need(c, s, 2, 2);
    base = handle(c, s, address, 2);
    coordinates(c, s, &address->items[1], g, T_s32, slots);
    if (list->kind == OPERAND_VECTOR && list->count != count)
        select_mismatch(c, s);
    type = bytes == 8 ? T_u64 : bytes == 4 ? T_u32 : T_u16;
    for (uint32_t i = 0; i < count; i++) {
        struct operand *one = item(list, i);

        if (!one)
            select_mismatch(c, s);
        values[i] = store ? select_source(c, s, one, type) : select_target(c, s, one, type);
    }
    fill(compile_emit(c, store ? surface_store : surface_load), values, base, slots,
         flags | bytes << 12 | count << 16 | g->flags | g->dimensions);
}

/* txq.WHAT.b32 d, [a];  suq.WHAT.b32 d, [a]; */
void select_query(struct compile *c, struct statement *s)
{
    static const char *const names[] = {[TEXTURE_QUERY_WIDTH] = "width",
                                        [TEXTURE_QUERY_HEIGHT] = "height",
                                        [TEXTURE_QUERY_DEPTH] = "depth",
                                        [TEXTURE_QUERY_LAYERS] = "array_size"};
    uint32_t d, base;

    if (s->part_count != 3 || strcmp(s->parts[2], "b32"))
        select_unknown(c, s);
    select_need(c, s, 2, 2);
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (!strcmp(s->parts[1], names[i])) {
            struct insn *in;

            base = handle(c, s, &s->operands[1], 1);
            d = select_target(c, s, &s->operands[0], T_u32);
            in = compile_emit(c, texture_query);
            in->d = d;
            in->a = base;
            in->imm = i;
            return;
        }
    select_unknown(c, s);
}
