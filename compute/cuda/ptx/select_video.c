/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "select.h"
#include "video.h"

/* Video instructions: their name, and the parts of registers that their operands name. */

static const struct {
    const char *name;
    uint8_t op, lanes;
} ops[] = {
    {"vadd", VIDEO_ADD, 1},          {"vsub", VIDEO_SUB, 1},
    {"vabsdiff", VIDEO_ABSDIFF, 1},  {"vmin", VIDEO_MIN, 1},
    {"vmax", VIDEO_MAX, 1},          {"vshl", VIDEO_SHL, 1},
    {"vshr", VIDEO_SHR, 1},          {"vmad", VIDEO_MAD, 1},
    {"vset", VIDEO_SET, 1},          {"vadd2", VIDEO_ADD, 2},
    {"vsub2", VIDEO_SUB, 2},         {"vavrg2", VIDEO_AVERAGE, 2},
    {"vabsdiff2", VIDEO_ABSDIFF, 2}, {"vmin2", VIDEO_MIN, 2},
    {"vmax2", VIDEO_MAX, 2},         {"vset2", VIDEO_SET, 2},
    {"vadd4", VIDEO_ADD, 4},         {"vsub4", VIDEO_SUB, 4},
    {"vavrg4", VIDEO_AVERAGE, 4},    {"vabsdiff4", VIDEO_ABSDIFF, 4},
    {"vmin4", VIDEO_MIN, 4},         {"vmax4", VIDEO_MAX, 4},
    {"vset4", VIDEO_SET, 4},
};

/* "u32", "s32" at place n of the name. */
static bool is_signed(struct compile *c, const struct statement *s, uint32_t n)
{
    if (n >= s->part_count || (strcmp(s->parts[n], "u32") && strcmp(s->parts[n], "s32")))
        select_unknown(c, s);
    return s->parts[n][0] == 's';
}

/* The part of a register that a scalar operand names. */
static uint32_t part_of(struct compile *c, const struct statement *s, const struct operand *o)
{
    const char *part = o->part;

    if (!part)
        return VIDEO_WHOLE;
    if (strlen(part) != 2 || part[1] > (part[0] == 'h' ? '1' : '3'))
        select_mismatch(c, s);
    return (uint32_t)(part[1] - '0') + (part[0] == 'h' ? VIDEO_HALF : 0);
}

/* Which part each lane takes, three bits each: the letter and then the lanes, the last one first.
 */
static uint32_t lanes_of(struct compile *c, const struct statement *s, const struct operand *o,
                         unsigned lanes, unsigned first)
{
    const char *part = o->part;
    uint32_t all = 0;

    for (unsigned i = 0; i < lanes; i++) {
        unsigned n = first + i;

        if (part) {
            if (strlen(part) != lanes + 1 || part[0] != (lanes == 2 ? 'h' : 'b'))
                select_mismatch(c, s);
            n = (unsigned)(part[lanes - i] - '0');
        }
        if (n >= lanes * 2)
            select_mismatch(c, s);
        all |= n << i * 3;
    }
    return all;
}

/* The lanes that are written, a bit each; they are named in falling order. */
static uint32_t mask_of(struct compile *c, const struct statement *s, const struct operand *o,
                        unsigned lanes)
{
    const char *part = o->part;
    uint32_t mask = 0;

    if (!part)
        return (1u << lanes) - 1;
    if (part[0] != (lanes == 2 ? 'h' : 'b') || !part[1])
        select_mismatch(c, s);
    for (const char *at = part + 1; *at; at++) {
        unsigned n = (unsigned)(*at - '0');

        if (n >= lanes || (at > part + 1 && at[0] >= at[-1]))
            select_mismatch(c, s);
        mask |= 1u << n;
    }
    return mask;
}

/* What follows the types in the name. */
static void read_modifiers(struct compile *c, const struct statement *s, uint32_t from,
                           struct video_form *f)
{
    static const char *const compares[] = {"eq", "ne", "lt", "le", "gt", "ge"};
    bool is_shift = f->op == VIDEO_SHL || f->op == VIDEO_SHR, mode = false, compared = false;

    for (uint32_t i = from; i < s->part_count; i++) {
        const char *part = s->parts[i];
        bool known = false;

        if (!strcmp(part, "sat") && f->op != VIDEO_SET) {
            f->saturate = known = true;
        } else if (f->op == VIDEO_MAD) {
            known = !strcmp(part, "po") || !strcmp(part, "shr7") || !strcmp(part, "shr15");
            if (!strcmp(part, "po"))
                f->plus_one = 1;
            else
                f->shift = strcmp(part, "shr7") ? 15 : 7;
        } else if (is_shift && (!strcmp(part, "clamp") || !strcmp(part, "wrap"))) {
            mode = known = true;
            f->wrap = part[0] == 'w';
        } else if (!strcmp(part, "add")) {
            f->second = VIDEO_PLUS;
            known = true;
        } else if (f->lanes == 1 && (!strcmp(part, "min") || !strcmp(part, "max"))) {
            f->second = part[1] == 'i' ? VIDEO_LEAST : VIDEO_MOST;
            known = true;
        }
        for (unsigned n = 0; f->op == VIDEO_SET && n < 6; n++)
            if (!strcmp(part, compares[n])) {
                f->compare = n & 7;
                compared = known = true;
            }
        if (!known)
            select_unknown(c, s);
    }
    if (is_shift != mode || (f->op == VIDEO_SET) != compared ||
        (f->lanes > 1 && f->saturate && f->second))
        select_unknown(c, s);
}

/* The operand without what is said in the form. */
static uint32_t source(struct compile *c, struct statement *s, const struct operand *o)
{
    struct operand plain = *o;

    plain.part = NULL;
    plain.minus = false;
    return select_source(c, s, &plain, T_u32);
}

void select_video(struct compile *c, struct statement *s)
{
    struct operand *o = s->operands, target = o[0];
    struct video_form f = {0};
    uint32_t types = 1, d, ra, rb, rc;
    struct insn *in;

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (!strcmp(ops[i].name, s->parts[0])) {
            f.op = ops[i].op & 15;
            f.lanes = ops[i].lanes & 7;
        }
    /* Of the commonest there is a vector form. */
    if (s->count == 4 && !o[0].part && !o[1].part && !o[2].part && !o[3].part &&
        (!strcmp(s->name, "vabsdiff4.u32.u32.u32") ||
         !strcmp(s->name, "vabsdiff4.u32.u32.u32.add"))) {
        select_alu(c, s);
        return;
    }
    /* A comparison gives 0 or 1. */
    if (f.op != VIDEO_SET)
        f.d_signed = is_signed(c, s, types++);
    f.a_signed = is_signed(c, s, types);
    f.b_signed = is_signed(c, s, types + 1);
    if ((f.op == VIDEO_SHL || f.op == VIDEO_SHR) && f.b_signed)
        select_unknown(c, s);
    read_modifiers(c, s, types + 2, &f);
    if (f.lanes > 1) {
        /* Those of four bytes have been used without c, which then is 0. */
        select_need(c, s, 3, 4);
        f.a_part = lanes_of(c, s, &o[1], f.lanes, 0) & 0xfff;
        f.b_part = lanes_of(c, s, &o[2], f.lanes, f.lanes) & 0xfff;
        f.d_part = mask_of(c, s, &o[0], f.lanes) & 15;
    } else {
        f.a_part = part_of(c, s, &o[1]) & 0xfff;
        f.b_part = part_of(c, s, &o[2]) & 0xfff;
        f.d_part = part_of(c, s, &o[0]) & 15;
        if (f.d_part != VIDEO_WHOLE) {
            if (f.second || f.op == VIDEO_MAD)
                select_mismatch(c, s);
            f.second = VIDEO_MERGE;
        }
        select_need(c, s, f.second || f.op == VIDEO_MAD ? 4 : 3,
                    f.second || f.op == VIDEO_MAD ? 4 : 3);
    }
    f.minus_product = o[1].minus != o[2].minus;
    f.minus_c = s->count > 3 && o[3].minus;
    if ((o[1].minus || o[2].minus || f.minus_c) &&
        (f.op != VIDEO_MAD || f.plus_one || (f.minus_product && f.minus_c)))
        select_mismatch(c, s);
    if (s->count > 3 && o[3].part)
        select_mismatch(c, s);
    target.part = NULL;
    ra = source(c, s, &o[1]);
    rb = source(c, s, &o[2]);
    rc = s->count > 3 ? source(c, s, &o[3]) : compile_constant(c, 0, false);
    d = select_target(c, s, &target, T_u32);
    in = compile_emit(c, f.lanes > 1 ? video_lanes : video_scalar);
    in->d = d;
    in->a = ra;
    in->b = rb;
    in->c = rc;
    memcpy(&in->bits, &f, sizeof(f));
}
