/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "select.h"
#include "source.h"

/*
 * Textures and surfaces (PTX ISA, "Texture Instructions", "Surface Instructions"): a handle, in a
 * register or by the name of a variable, and in independent mode a sampler's behind it.
 */

/* {a, b, …} or one alone. */
static struct operand *item(struct operand *o, uint32_t index)
{
    if (o->kind == OPERAND_VECTOR)
        return index < o->count ? &o->items[index] : NULL;
    return index ? NULL : o;
}

static uint32_t handle(struct compile *c, struct statement *s, const struct operand *base)
{
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
    bool gather, reduce;
} geometries[] = {{"1d", 1, 0, false, true},
                  {"2d", 2, 0, true, true},
                  {"3d", 3, 0, false, true},
                  {"a1d", 1, TEXTURE_LAYERED, false, false},
                  {"a2d", 2, TEXTURE_LAYERED, true, false},
                  {"cube", 3, TEXTURE_CUBE, true, false},
                  {"acube", 3, TEXTURE_CUBE | TEXTURE_LAYERED, true, false}};

static const struct geometry *geometry(struct compile *c, struct statement *s, const char *name)
{
    for (size_t i = 0; i < sizeof(geometries) / sizeof(geometries[0]); i++)
        if (!strcmp(name, geometries[i].name))
            return &geometries[i];
    select_unknown(c, s);
}

static struct texture_form *new_form(struct compile *c)
{
    struct ptx_module *m = c->module;
    struct texture_form *f;

    m->forms = compile_grow(c, m->forms, m->form_count, &m->form_room, sizeof(*m->forms));
    f = malloc(sizeof(*f));
    if (!f)
        compile_memory(c);
    memset(f, 0xff, sizeof(*f)); /* NO_SLOT */
    f->sample = NULL;
    m->forms[m->form_count++] = f;
    return f;
}

static void emit(struct compile *c, ptx_handler fn, const struct texture_form *f, uint32_t flags)
{
    struct insn *in = compile_emit(c, fn);

    in->data = f;
    in->flags = flags;
}

/* Slots of the elements of a vector; those that only fill it up are not read. */
static void elements(struct compile *c, struct statement *s, struct operand *o, uint32_t first,
                     uint32_t count, unsigned type, uint32_t *ret_slots)
{
    for (uint32_t i = 0; i < count; i++) {
        struct operand *one = item(o, first + i);

        if (!one)
            select_mismatch(c, s);
        ret_slots[i] = select_source(c, s, one, type);
    }
}

/* [handle, {layer, x, y, z}] */
static void address(struct compile *c, struct statement *s, struct operand *o,
                    const struct geometry *g, unsigned type, struct texture_form *f)
{
    uint32_t layered = g->flags & TEXTURE_LAYERED ? 1 : 0;
    struct operand *at = &o->items[o->count - 1];

    f->handle = handle(c, s, &o->items[0]);
    if (layered)
        elements(c, s, at, 0, 1, T_u32, &f->layer);
    elements(c, s, at, layered, g->dimensions, type, f->at);
}

/* A part that is one of some names; -1: it is none of them. */
static int part_of(const struct statement *s, uint32_t part, const char *const *names, int count)
{
    for (int i = 0; part < s->part_count && i < count; i++)
        if (!strcmp(s->parts[part], names[i]))
            return i;
    return -1;
}

static void values(struct compile *c, struct statement *s, struct operand *d, uint32_t count,
                   unsigned type, struct texture_form *f)
{
    if (d->kind != OPERAND_VECTOR || d->count != count)
        select_mismatch(c, s);
    for (uint32_t i = 0; i < count; i++)
        f->values[i] = select_target(c, s, &d->items[i], type);
    if (d->second)
        f->resident = select_target(c, s, d->second, T_pred);
}

/*
 * tex{.base, .level, .grad}.GEOMETRY.v4.TYPE.TYPE d{|p}, [a, {b,} c]{, level | dx, dy}{, offset}
 * tex….GEOMETRY.v2.f16x2.TYPE …
 * tld4.COMPONENT.GEOMETRY.v4.TYPE.f32 d{|p}, [a, {b,} c]{, offset}
 * A depth to compare with, behind these, is not known.
 */
void select_tex(struct compile *c, struct statement *s)
{
    static const char *const types[] = {"f32", "s32", "u32", "f16"};
    static const char *const channels[] = {"r", "g", "b", "a"};
    static const char *const levels[] = {"base", "level", "grad"};
    bool gather = !strcmp(s->parts[0], "tld4"), pairs, half;
    struct operand *from = &s->operands[1], *more = &s->operands[2];
    uint32_t at = 1, flags = 0, extra;
    const struct geometry *g;
    struct texture_form *f;
    int which = part_of(s, 1, gather ? channels : levels, gather ? 4 : 3), type;
    unsigned coordinate = T_f32;

    if (gather)
        flags = which < 0 ? 0 : (uint32_t)which << 8;
    else
        flags = which == 1 ? TEXTURE_LEVEL : which == 2 ? TEXTURE_GRADIENT : 0;
    if (which >= 0)
        at++;
    if ((gather && which < 0) || s->part_count != at + 4)
        select_unknown(c, s);
    g = geometry(c, s, s->parts[at]);
    pairs = !strcmp(s->parts[at + 1], "v2") && !strcmp(s->parts[at + 2], "f16x2");
    type = part_of(s, at + 2, types, gather ? 3 : 4);
    half = type == 3;
    if ((!pairs && (type < 0 || strcmp(s->parts[at + 1], "v4"))) || (pairs && gather))
        select_unknown(c, s);
    if (!strcmp(select_last(s), "s32")) {
        flags |= TEXTURE_INTEGER;
        coordinate = T_s32;
    } else if (strcmp(select_last(s), "f32")) {
        select_unknown(c, s);
    }
    if ((flags & TEXTURE_INTEGER && (gather || g->flags & TEXTURE_CUBE)) || (gather && !g->gather))
        select_unknown(c, s);
    extra = flags & TEXTURE_LEVEL ? 1 : flags & TEXTURE_GRADIENT ? 2 : 0;
    if (gather)
        extra = 0;
    select_need(c, s, 2 + extra, 3 + extra);
    if (from->kind != OPERAND_ADDRESS || from->count < 2 || from->count > 3)
        select_mismatch(c, s);
    f = new_form(c);
    if (from->count == 3)
        f->sampler = handle(c, s, &from->items[1]);
    address(c, s, from, g, coordinate, f);
    if (extra == 1)
        f->level = select_source(c, s, more, coordinate);
    if (extra == 2)
        for (uint32_t i = 0; i < 2; i++)
            elements(c, s, &more[i], 0, g->dimensions, T_f32, f->gradients[i]);
    if (s->count == 3 + extra) {
        /* Of cube maps there are none. */
        if (more[extra].kind != OPERAND_VECTOR || g->flags & TEXTURE_CUBE)
            select_mismatch(c, s);
        elements(c, s, &more[extra], 0, g->dimensions, T_s32, f->offsets);
    }
    values(c, s, &s->operands[0], pairs ? 2 : 4, half ? T_u16 : T_u32, f);
    if (!gather && !pairs && !half && !(g->flags & TEXTURE_CUBE) && !(flags & TEXTURE_GRADIENT) &&
        s->count == 2 + extra)
        f->sample = c->isa->sample;
    emit(c, gather ? texture_gather : texture_fetch, f,
         flags | g->flags | g->dimensions | (pairs || half ? TEXTURE_HALF : 0) |
             (pairs ? TEXTURE_PAIRS : 0));
}

static uint32_t surface_mode(struct compile *c, struct statement *s)
{
    static const char *const modes[] = {
        [SURFACE_TRAP] = "trap", [SURFACE_CLAMP] = "clamp", [SURFACE_ZERO] = "zero"};
    int mode = part_of(s, s->part_count - 1, modes, 3);

    if (mode < 0)
        select_unknown(c, s);
    return (uint32_t)mode << 8;
}

static void surface_address(struct compile *c, struct statement *s, struct operand *o,
                            const struct geometry *g, struct texture_form *f)
{
    if (o->kind != OPERAND_ADDRESS || o->count != 2)
        select_mismatch(c, s);
    address(c, s, o, g, T_s32, f);
}

/*
 * suld.b.GEOMETRY{.cache}{.vec}.TYPE.CLAMP d, [a, b]
 * sust.b… [a, b], c;  sust.p.GEOMETRY{.vec}.b32.CLAMP [a, b], c
 */
void select_surface(struct compile *c, struct statement *s)
{
    static const char *const caches[] = {"ca", "cg", "cs", "cv", "wb", "wt"};
    static const char *const types[] = {"b8", "b16", "b32", "b64"};
    bool store = !strcmp(s->parts[0], "sust"), formatted;
    struct operand *list = &s->operands[store ? 1 : 0];
    uint32_t at = 3, count = 1, bytes;
    const struct geometry *g;
    struct texture_form *f;
    unsigned type;
    int which;

    if (s->part_count < 5)
        select_unknown(c, s);
    formatted = store && !strcmp(s->parts[1], "p");
    if (!formatted && strcmp(s->parts[1], "b"))
        select_unknown(c, s);
    g = geometry(c, s, s->parts[2]);
    if (!formatted && part_of(s, 3, caches, 6) >= 0)
        at = 4;
    if (!strcmp(s->parts[at], "v2") || !strcmp(s->parts[at], "v4"))
        count = s->parts[at++][1] == '2' ? 2 : 4;
    which = part_of(s, at, types, 4);
    if (s->part_count != at + 2 || g->flags & TEXTURE_CUBE || which < 0 ||
        (formatted && which != 2))
        select_unknown(c, s);
    bytes = 1u << which;
    if (bytes * count > 16)
        select_unknown(c, s);
    select_need(c, s, 2, 2);
    f = new_form(c);
    surface_address(c, s, &s->operands[store ? 0 : 1], g, f);
    if (list->kind == OPERAND_VECTOR && list->count != count)
        select_mismatch(c, s);
    type = bytes == 8 ? T_u64 : bytes == 4 ? T_u32 : T_u16;
    for (uint32_t i = 0; i < count; i++) {
        struct operand *one = item(list, i);

        if (!one)
            select_mismatch(c, s);
        f->values[i] = store ? select_source(c, s, one, type) : select_target(c, s, one, type);
    }
    emit(c, store ? surface_store : surface_load, f,
         surface_mode(c, s) | bytes << 12 | count << 16 | g->flags | g->dimensions |
             (formatted ? SURFACE_FORMATTED : 0));
}

/*
 * sured.b.OP.GEOMETRY.TYPE.CLAMP [a, b], c;  sured.p… .b32
 * As PTX has it: add, min, max of numbers, and, or of bits.
 */
void select_reduce(struct compile *c, struct statement *s)
{
    static const char *const names[] = {"add", "min", "max", "and", "or"};
    static const enum atom_op ops[] = {ATOM_ADD, ATOM_MIN, ATOM_MAX, ATOM_AND, ATOM_OR};
    static const char *const types[] = {"b32", "u32", "s32", "u64", "s64"};
    static const enum atom_type kinds[] = {TYPE_U32, TYPE_U32, TYPE_S32, TYPE_U64, TYPE_S64};
    int op = part_of(s, 2, names, 5), type = part_of(s, 4, types, 5);
    const struct geometry *g;
    struct texture_form *f;
    struct operand *value;
    bool formatted, wide;

    if (s->part_count != 6 || op < 0 || type < 0)
        select_unknown(c, s);
    formatted = !strcmp(s->parts[1], "p");
    g = geometry(c, s, s->parts[3]);
    if (!g->reduce || (!formatted && strcmp(s->parts[1], "b")) ||
        (formatted ? type != 0 : (op > 2) != (type == 0)))
        select_unknown(c, s);
    wide = type > 2;
    select_need(c, s, 2, 2);
    f = new_form(c);
    surface_address(c, s, &s->operands[0], g, f);
    value = item(&s->operands[1], 0);
    if (!value)
        select_mismatch(c, s);
    f->values[0] = select_source(c, s, value, wide ? T_u64 : T_u32);
    emit(c, surface_reduce, f,
         surface_mode(c, s) | (wide ? 8u : 4u) << 12 | g->flags | g->dimensions |
             (formatted ? SURFACE_FORMATTED : 0) | (uint32_t)ops[op] << 24 |
             (uint32_t)kinds[type] << 28);
}

/* txq.WHAT.b32 d, [a];  txq.level.WHAT.b32 d, [a], level;  suq.WHAT.b32 d, [a] */
void select_query(struct compile *c, struct statement *s)
{
    static const char *const names[] = {
        [TEXTURE_QUERY_WIDTH] = "width",
        [TEXTURE_QUERY_HEIGHT] = "height",
        [TEXTURE_QUERY_DEPTH] = "depth",
        [TEXTURE_QUERY_LAYERS] = "array_size",
        [TEXTURE_QUERY_LEVELS] = "num_mipmap_levels",
        [TEXTURE_QUERY_SAMPLES] = "num_samples",
        [TEXTURE_QUERY_TYPE] = "channel_data_type",
        [TEXTURE_QUERY_ORDER] = "channel_order",
        [TEXTURE_QUERY_NORMALIZED] = "normalized_coords",
        [TEXTURE_QUERY_FORCED] = "force_unnormalized_coords",
        [TEXTURE_QUERY_FILTER] = "filter_mode",
        [TEXTURE_QUERY_MODE_0] = "addr_mode_0",
        [TEXTURE_QUERY_MODE_1] = "addr_mode_1",
        [TEXTURE_QUERY_MODE_2] = "addr_mode_2",
        [TEXTURE_QUERY_LAYOUT] = "memory_layout",
    };
    bool texture = !strcmp(s->parts[0], "txq");
    bool level = texture && s->part_count == 4 && !strcmp(s->parts[1], "level");
    struct operand *from = &s->operands[1];
    struct texture_form *f;
    int what = part_of(s, level ? 2 : 1, names, level ? TEXTURE_QUERY_LAYERS : 15);

    if (s->part_count != (level ? 4 : 3) || strcmp(select_last(s), "b32") || what < 0 ||
        (texture ? what == TEXTURE_QUERY_LAYOUT
                 : what > TEXTURE_QUERY_LAYERS && what != TEXTURE_QUERY_TYPE &&
                       what != TEXTURE_QUERY_ORDER && what != TEXTURE_QUERY_LAYOUT))
        select_unknown(c, s);
    select_need(c, s, level ? 3 : 2, level ? 3 : 2);
    if (from->kind != OPERAND_ADDRESS || from->count != 1)
        select_mismatch(c, s);
    f = new_form(c);
    f->handle = handle(c, s, &from->items[0]);
    f->query = (uint32_t)what;
    if (level)
        f->level = select_source(c, s, &s->operands[2], T_u32);
    f->values[0] = select_target(c, s, &s->operands[0], T_u32);
    emit(c, texture_query, f, 0);
}
