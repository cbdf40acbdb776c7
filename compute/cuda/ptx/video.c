/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "video.h"

/*
 * The arithmetic of video instructions, after the semantics that the PTX ISA gives of them: parts
 * are extended by their operand's type, results clamped by the destination's. Sums of two parts
 * need 34 bits, vmad needs more than 64.
 */

_Static_assert(sizeof(struct video_form) == sizeof(uint64_t), "as wide as struct insn's bits");

__extension__ typedef __int128 wide;

static uint32_t *words(struct warp *w, uint32_t slot)
{
    return (uint32_t *)(void *)SLOT(w, slot);
}

static struct video_form form_of(const struct insn *in)
{
    struct video_form f;

    memcpy(&f, &in->bits, sizeof(f));
    return f;
}

static int64_t part_of(uint32_t value, unsigned part, bool is_signed)
{
    if (part == VIDEO_WHOLE)
        return is_signed ? (int32_t)value : (int64_t)value;
    if (part >= VIDEO_HALF) {
        uint16_t half = (uint16_t)(value >> (part - VIDEO_HALF) * 16);

        return is_signed ? (int16_t)half : (int64_t)half;
    }
    value = value >> part * 8 & 0xff;
    return is_signed ? (int8_t)value : (int64_t)value;
}

static int64_t clamp(wide value, unsigned bits, bool is_signed)
{
    int64_t least = is_signed ? -(INT64_C(1) << (bits - 1)) : 0;
    int64_t most = (INT64_C(1) << (is_signed ? bits - 1 : bits)) - 1;

    return value < least ? least : value > most ? most : (int64_t)value;
}

static int64_t compare(const struct video_form *f, int64_t a, int64_t b)
{
    switch ((enum video_compare)f->compare) {
    case VIDEO_EQ:
        return a == b;
    case VIDEO_NE:
        return a != b;
    case VIDEO_LT:
        return a < b;
    case VIDEO_LE:
        return a <= b;
    case VIDEO_GT:
        return a > b;
    case VIDEO_GE:
        return a >= b;
    }
    return 0;
}

/* What scalar forms and those of several parts have in common. */
static int64_t operate(const struct video_form *f, int64_t a, int64_t b)
{
    switch ((enum video_op)f->op) {
    case VIDEO_ADD:
        return a + b;
    case VIDEO_SUB:
        return a - b;
    case VIDEO_ABSDIFF:
        return a < b ? b - a : a - b;
    case VIDEO_MIN:
        return a < b ? a : b;
    case VIDEO_MAX:
        return a > b ? a : b;
    case VIDEO_AVERAGE:
        return (a + b + (a + b >= 0)) >> 1;
    case VIDEO_SET:
        return compare(f, a, b);
    default:
        return 0;
    }
}

static wide shift(const struct video_form *f, int64_t a, int64_t b)
{
    if (f->wrap)
        b &= 31;
    else if (b > 32)
        b = 32;
    return f->op == VIDEO_SHL ? (wide)a * ((wide)1 << b) : (wide)(a >> b);
}

static uint32_t multiply(const struct video_form *f, int64_t a, int64_t b, uint32_t c)
{
    bool is_signed = f->a_signed || f->b_signed || f->minus_product || f->minus_c;
    /* c has the sign of the product. */
    wide sum = f->a_signed || f->b_signed || f->minus_product ? (int32_t)c : (int64_t)c;
    wide product = (wide)a * b;

    if (f->minus_c)
        sum = -sum;
    sum += (f->minus_product ? -product : product) + f->plus_one;
    sum >>= f->shift;
    return (uint32_t)(f->saturate ? clamp(sum, 32, is_signed) : (int64_t)sum);
}

/* The secondary operation, or the part of c that the result takes the place of. */
static uint32_t finish(const struct video_form *f, int64_t value, uint32_t c)
{
    unsigned bits = f->d_part == VIDEO_WHOLE ? 32 : f->d_part >= VIDEO_HALF ? 16 : 8;
    uint32_t result = (uint32_t)value, mask, at;
    bool less = f->d_signed ? (int32_t)result < (int32_t)c : result < c;

    switch ((enum video_second)f->second) {
    case VIDEO_PLUS:
        return result + c;
    case VIDEO_LEAST:
        return less ? result : c;
    case VIDEO_MOST:
        return less ? c : result;
    case VIDEO_MERGE:
        at = f->d_part >= VIDEO_HALF ? (f->d_part - VIDEO_HALF) * 16 : f->d_part * 8u;
        mask = (bits == 16 ? 0xffffu : 0xffu) << at;
        return (result << at & mask) | (c & ~mask);
    default:
        return result;
    }
}

static uint32_t scalar(const struct video_form *f, uint32_t ra, uint32_t rb, uint32_t c)
{
    int64_t a = part_of(ra, f->a_part, f->a_signed), b = part_of(rb, f->b_part, f->b_signed);
    unsigned bits = f->second != VIDEO_MERGE ? 32 : f->d_part >= VIDEO_HALF ? 16 : 8;
    wide value;

    if (f->op == VIDEO_MAD)
        return multiply(f, a, b, c);
    value = f->op == VIDEO_SHL || f->op == VIDEO_SHR ? shift(f, a, b) : operate(f, a, b);
    return finish(f, f->saturate ? clamp(value, bits, f->d_signed) : (int64_t)value, c);
}

/* A part of those of a, and then of b. */
static int64_t lane_of(const struct video_form *f, uint32_t a, uint32_t b, unsigned part,
                       bool is_signed)
{
    uint32_t value = part < f->lanes ? a : b;

    part %= f->lanes;
    return part_of(value, f->lanes == 2 ? VIDEO_HALF + part : part, is_signed);
}

static uint32_t lanes(const struct video_form *f, uint32_t a, uint32_t b, uint32_t c)
{
    unsigned bits = 32 / f->lanes;
    uint32_t merged = c, sum = c, mask = (1u << bits) - 1;

    for (unsigned i = 0; i < f->lanes; i++) {
        int64_t value;

        if (!(f->d_part >> i & 1))
            continue;
        value = operate(f, lane_of(f, a, b, f->a_part >> i * 3 & 7, f->a_signed),
                        lane_of(f, a, b, f->b_part >> i * 3 & 7, f->b_signed));
        if (f->saturate)
            value = clamp(value, bits, f->d_signed);
        sum += (uint32_t)value;
        merged = (merged & ~(mask << i * bits)) | ((uint32_t)value & mask) << i * bits;
    }
    return f->second == VIDEO_PLUS ? sum : merged;
}

#define VIDEO(name, one)                                                                 \
    HANDLER(name)                                                                        \
    {                                                                                    \
        const struct video_form f = form_of(in);                                         \
        const uint32_t *a = words(w, in->a), *b = words(w, in->b), *c = words(w, in->c); \
        uint32_t *d = words(w, in->d);                                                   \
                                                                                         \
        for (unsigned i = 0; i < LANES; i++)                                             \
            if (w->mask >> i & 1)                                                        \
                d[i] = one(&f, a[i], b[i], c[i]);                                        \
        return in + 1;                                                                   \
    }

VIDEO(video_scalar, scalar)
VIDEO(video_lanes, lanes)
