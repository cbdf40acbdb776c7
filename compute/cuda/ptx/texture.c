/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "alu_math.h"
#include "cube.h"
#include "source.h"

/*
 * Textures, after "Texture Fetching" of the CUDA C++ Programming Guide. Which level of a mipmap,
 * which the Guide leaves open, is as in OpenGL 4.6, 8.14: the base two logarithm of how many texels
 * a pixel covers. Several samples along a line ("anisotropy") are those of the example of
 * EXT_texture_filter_anisotropic.
 */

#define MOST_ANISOTROPY 16

/* Where something is read, of one lane. */
struct point {
    float x[3];
    int32_t index[3]; /* instead, with TEXTURE_INTEGER */
    unsigned dimensions;
    bool normalized;
    int64_t layer; /* the third dimension of layered ones; -1: it is a coordinate */
    /* Of a cube map: its vector, the face it points to, and whether filters see others. */
    bool cube, seamless;
    float vector[3];
    unsigned face;
};

static void point_of(const struct source *s, struct point *ret)
{
    const struct insn *in = s->in;
    const struct cuda_texture *t = &s->t;
    struct point p = {.dimensions = TEXTURE_DIMENSIONS(in->flags),
                      .normalized = t->flags & CU_TRSF_NORMALIZED_COORDINATES,
                      .layer = -1};

    for (unsigned i = 0; i < p.dimensions; i++) {
        uint32_t bits = source_slot(s, s->form->at[i]);

        p.index[i] = (int32_t)bits;
        p.x[i] = bits_float(bits);
    }
    if (in->flags & TEXTURE_LAYERED)
        p.layer = source_slot(s, s->form->layer);
    if (in->flags & TEXTURE_CUBE) {
        int64_t cubes = t->depth < 6 ? 1 : t->depth / 6;

        memcpy(p.vector, p.x, sizeof(p.vector));
        p.cube = p.normalized = true;
        p.seamless = t->flags & CU_TRSF_SEAMLESS_CUBEMAP;
        p.dimensions = 2;
        p.face = cube_face(p.vector);
        cube_project(p.vector, p.face, p.x);
        p.layer = (p.layer < 0 ? 0 : p.layer < cubes ? p.layer : cubes - 1) * 6 + p.face;
    }
    if (p.layer >= t->depth)
        p.layer = t->depth - 1;
    *ret = p;
}

/* Where texel i of n is; -1: outside. */
static int64_t address_mode(int64_t i, int64_t n, uint32_t mode)
{
    int64_t turn;

    switch (mode) {
    case CU_TR_ADDRESS_MODE_WRAP:
        i %= n;
        return i < 0 ? i + n : i;
    case CU_TR_ADDRESS_MODE_MIRROR:
        turn = i % (2 * n);
        if (turn < 0)
            turn += 2 * n;
        return turn < n ? turn : 2 * n - 1 - turn;
    case CU_TR_ADDRESS_MODE_BORDER:
        return i < 0 || i >= n ? -1 : i;
    default:
        return i < 0 ? 0 : i >= n ? n - 1 : i;
    }
}

/* The texels of one dimension that a coordinate is between, and the weight of the second. */
struct axis {
    int64_t at[2];
    float weight; /* 8 fractional bits */
};

static float fraction(float v)
{
    return v >= 0 && v <= 1 ? floorf(v * 256 + 0.5f) / 256 : 0;
}

static struct axis axis_of(const struct source *s, const struct point *p, unsigned dimension,
                           bool linear)
{
    const struct cuda_texture *t = &s->t;
    int64_t n = dimension == 0 ? s->level.width : dimension == 1 ? s->level.height : s->level.depth;
    int64_t first, offset = 0;
    uint32_t mode = t->modes[dimension];
    float x = p->x[dimension], floor;
    struct axis a = {.weight = 0};

    if (s->form->offsets[dimension] != NO_SLOT)
        offset = (int32_t)source_slot(s, s->form->offsets[dimension]);
    /* These are only for normalised coordinates. */
    if (!p->normalized && (mode == CU_TR_ADDRESS_MODE_WRAP || mode == CU_TR_ADDRESS_MODE_MIRROR))
        mode = CU_TR_ADDRESS_MODE_CLAMP;
    if (t->layout & CUDA_TEXTURE_LINEAR)
        mode = CU_TR_ADDRESS_MODE_BORDER;
    if (p->seamless)
        mode = CU_TR_ADDRESS_MODE_CLAMP;
    if (s->in->flags & TEXTURE_INTEGER) {
        a.at[0] = a.at[1] = address_mode(p->index[dimension] + offset, n, mode);
        return a;
    }
    if (p->normalized) {
        if (mode == CU_TR_ADDRESS_MODE_WRAP)
            x -= floorf(x);
        else if (mode == CU_TR_ADDRESS_MODE_MIRROR)
            x -= 2 * floorf(x / 2);
        x *= (float)n;
    }
    if (linear)
        x -= 0.5f;
    floor = floorf(x);
    /* What is no number, or far outside. */
    if (!(floor >= -0x1p40f))
        floor = x < 0 ? -0x1p40f : 0;
    else if (floor > 0x1p40f)
        floor = 0x1p40f;
    first = (int64_t)floor + offset;
    a.at[0] = address_mode(first, n, mode);
    if (!linear)
        return a;
    a.at[1] = address_mode(first + 1, n, mode);
    a.weight = fraction(x - floor);
    if (p->seamless) {
        /* -1 and n are other faces' texels. */
        a.at[0] = first < -1 ? -1 : first < n ? first : n - 1;
        a.at[1] = a.at[0] + 1;
    }
    return a;
}

static bool reads_floats(const struct source *s)
{
    return cuda_texture_floats(s->t.format, s->t.flags);
}

static bool is_linear(const struct source *s)
{
    return s->t.filter == CU_TR_FILTER_MODE_LINEAR && reads_floats(s) &&
           !(s->in->flags & TEXTURE_INTEGER) && !(s->t.layout & CUDA_TEXTURE_LINEAR);
}

static void add(float *sum, float weight, const struct texel *v)
{
    for (unsigned i = 0; i < 4; i++)
        sum[i] += weight * bits_float(v->bits[i]);
}

static struct texel total(const float *sum)
{
    struct texel v;

    for (unsigned i = 0; i < 4; i++)
        v.bits[i] = float_bits(sum[i]);
    return v;
}

static struct texel texel_of_face(struct source *s, const struct point *p, unsigned face, int64_t x,
                                  int64_t y)
{
    int64_t layer = p->layer - p->face + face;
    const int64_t at[3] = {x, y, layer < s->t.depth ? layer : s->t.depth - 1};

    return source_texel(s, at);
}

/* A texel of a cube map, at most one row or column off its face. */
static struct texel texel_across(struct source *s, const struct point *p, int64_t x, int64_t y)
{
    int64_t n = s->level.width, in_x = x < 0 ? 0 : x < n ? x : n - 1;
    int64_t in_y = y < 0 ? 0 : y < s->level.height ? y : s->level.height - 1;
    float sum[4] = {0};
    struct texel v;

    if ((x == in_x && y == in_y) || s->level.width != s->level.height)
        return texel_of_face(s, p, p->face, in_x, in_y);
    if (x != in_x && y != in_y) {
        /* There is none at a corner: the mean of the three around it (OpenGL 4.6, 8.14.1). */
        v = texel_of_face(s, p, p->face, in_x, in_y);
        if (!reads_floats(s))
            return v;
        add(sum, 1.0f / 3, &v);
        v = texel_across(s, p, x, in_y);
        add(sum, 1.0f / 3, &v);
        v = texel_across(s, p, in_x, y);
        add(sum, 1.0f / 3, &v);
        return total(sum);
    }
    {
        unsigned face = p->face;

        cube_cross(n, &face, &x, &y);
        return texel_of_face(s, p, face, x, y);
    }
}

static void axes_of(const struct source *s, const struct point *p, bool linear, struct axis *a)
{
    for (unsigned i = 0; i < 3; i++) {
        a[i] = (struct axis){.weight = 0};
        if (i < p->dimensions)
            a[i] = axis_of(s, p, i, linear);
    }
    if (p->layer >= 0)
        a[2].at[0] = a[2].at[1] = p->layer;
}

static struct texel texel_at(struct source *s, const struct point *p, const struct axis *a,
                             unsigned x, unsigned y, unsigned z)
{
    const int64_t at[3] = {a[0].at[x], a[1].at[y], a[2].at[z]};

    return p->seamless ? texel_across(s, p, at[0], at[1]) : source_texel(s, at);
}

/* Of the level at hand. */
static struct texel filter(struct source *s, const struct point *p)
{
    bool linear = is_linear(s);
    float sum[4] = {0};
    struct axis a[3];

    axes_of(s, p, linear, a);
    if (!linear)
        return texel_at(s, p, a, 0, 0, 0);
    for (unsigned corner = 0; corner < 8; corner++) {
        float weight = 1;
        struct texel v;

        for (unsigned i = 0; i < 3; i++)
            weight *= corner >> i & 1 ? a[i].weight : 1 - a[i].weight;
        if (weight == 0)
            continue;
        v = texel_at(s, p, a, corner & 1, corner >> 1 & 1, corner >> 2);
        add(sum, weight, &v);
    }
    return total(sum);
}

/* The two levels that a place is between are filtered, too. */
static struct texel filter_levels(struct source *s, const struct point *p, float lod)
{
    const struct cuda_texture *t = &s->t;
    float sum[4] = {0}, most = (float)t->more_levels, weight;
    struct texel v;

    if (!t->more_levels)
        return filter(s, p);
    lod += t->mip_bias;
    lod = lod > t->mip_least ? lod : t->mip_least;
    lod = lod < t->mip_most ? lod : t->mip_most;
    lod = lod > 0 ? lod : 0; /* also what is no number */
    lod = lod < most ? lod : most;
    if (t->mip_filter == CU_TR_FILTER_MODE_POINT || !reads_floats(s)) {
        source_set_level(s, (uint32_t)(lod + 0.5f));
        return filter(s, p);
    }
    weight = fraction(lod - floorf(lod));
    source_set_level(s, (uint32_t)lod);
    v = filter(s, p);
    if (weight == 0)
        return v;
    add(sum, 1 - weight, &v);
    source_set_level(s, (uint32_t)lod + 1);
    v = filter(s, p);
    add(sum, weight, &v);
    return total(sum);
}

/* By how a place changes from pixel to pixel, to the right and downwards. */
static struct texel filter_gradient(struct source *s, const struct point *p)
{
    const float size[3] = {(float)s->t.width, (float)s->t.height, (float)s->t.depth};
    float step[2][3] = {{0}}, length[2], lod, sum[4] = {0};
    unsigned count = 1, longer;

    for (unsigned k = 0; k < 2; k++) {
        float given[3] = {0}, squares = 0;

        for (unsigned i = 0; i < TEXTURE_DIMENSIONS(s->in->flags); i++)
            given[i] = source_float(s, s->form->gradients[k][i]);
        if (p->cube)
            cube_slope(p->vector, given, p->face, step[k]);
        else
            memcpy(step[k], given, sizeof(given));
        for (unsigned i = 0; i < p->dimensions; i++) {
            float texels = step[k][i] * (p->normalized ? size[i] : 1);

            squares += texels * texels;
        }
        length[k] = sqrtf(squares);
    }
    longer = length[1] > length[0];
    if (s->t.anisotropy > 1 && is_linear(s) && !p->cube && length[longer] > length[!longer]) {
        float most = (float)(s->t.anisotropy < MOST_ANISOTROPY ? s->t.anisotropy : MOST_ANISOTROPY);
        float ratio = ceilf(length[longer] / length[!longer]);

        count = (unsigned)(ratio < most ? ratio : most);
    }
    lod = log2f(length[longer] / (float)count);
    if (count == 1)
        return filter_levels(s, p, lod);
    for (unsigned i = 1; i <= count; i++) {
        float along = (float)i / (float)(count + 1) - 0.5f;
        struct point q = *p;
        struct texel v;

        for (unsigned k = 0; k < p->dimensions; k++)
            q.x[k] += along * step[longer][k];
        v = filter_levels(s, &q, lod);
        add(sum, 1 / (float)count, &v);
    }
    return total(sum);
}

static struct texel sample(struct source *s)
{
    struct point p;

    point_of(s, &p);
    if (s->in->flags & TEXTURE_GRADIENT)
        return filter_gradient(s, &p);
    if (s->in->flags & TEXTURE_LEVEL && s->in->flags & TEXTURE_INTEGER) {
        int32_t level = (int32_t)source_slot(s, s->form->level);

        source_set_level(s, level < 0                            ? 0
                            : (uint32_t)level < s->t.more_levels ? (uint32_t)level
                                                                 : s->t.more_levels);
        return filter(s, &p);
    }
    if (s->in->flags & TEXTURE_LEVEL)
        return filter_levels(s, &p, source_float(s, s->form->level));
    source_set_level(s, 0);
    return filter(s, &p);
}

/* One component of the four texels that would be filtered, as seen from the last row: (0, 1),
 * (1, 1), (1, 0), (0, 0). */
static struct texel gather(struct source *s)
{
    static const uint8_t corners[4][2] = {{0, 1}, {1, 1}, {1, 0}, {0, 0}};
    struct texel v = {{0}};
    struct axis a[3];
    struct point p;

    point_of(s, &p);
    source_set_level(s, 0);
    axes_of(s, &p, true, a);
    for (unsigned i = 0; i < 4; i++)
        v.bits[i] =
            texel_at(s, &p, a, corners[i][0], corners[i][1], 0).bits[TEXTURE_CHANNEL(s->in->flags)];
    return v;
}

static void store(const struct source *s, unsigned n, uint32_t value)
{
    if (s->form->values[n] != NO_SLOT)
        ((uint32_t *)(void *)SLOT(s->w, s->form->values[n]))[s->lane] = value;
}

static void store_texel(const struct source *s, struct texel v)
{
    if (s->in->flags & TEXTURE_HALF)
        for (unsigned i = 0; i < 4; i++)
            v.bits[i] = reads_floats(s) ? half_plain(bits_float(v.bits[i])) : v.bits[i] & 0xffff;
    if (s->in->flags & TEXTURE_PAIRS) {
        store(s, 0, v.bits[0] | v.bits[1] << 16);
        store(s, 1, v.bits[2] | v.bits[3] << 16);
    } else {
        for (unsigned i = 0; i < 4; i++)
            store(s, i, v.bits[i]);
    }
    if (s->form->resident != NO_SLOT)
        ((uint32_t *)(void *)SLOT(s->w, s->form->resident))[s->lane] = ALL_LANES;
}

static const struct insn *fetch(struct warp *w, const struct insn *in,
                                struct texel (*get)(struct source *))
{
    struct source s = {.w = w, .in = in};

    for (uint32_t left = w->mask; left;) {
        struct texel v;

        if (!source_next(&s, &left, CUDA_TEXTURE_MAGIC))
            return NULL;
        v = get(&s);
        if (s.failed)
            return NULL;
        store_texel(&s, v);
    }
    return in + 1;
}

HANDLER(texture_fetch)
{
    const struct texture_form *form = in->data;

    if (form->sample && form->sample(w, in))
        return in + 1;
    return fetch(w, in, sample);
}

HANDLER(texture_gather)
{
    return fetch(w, in, gather);
}

/* PTX ISA, "Channel Data Type and Channel Order Fields": the numbers are OpenCL's. */
static uint32_t data_type(const struct cuda_texture *t)
{
    bool integer = t->flags & CU_TRSF_READ_AS_INTEGER || t->magic == CUDA_SURFACE_MAGIC;

    switch (t->format) {
    case CU_AD_FORMAT_SIGNED_INT8:
        return integer ? 0x10d7 : 0x10d0;
    case CU_AD_FORMAT_SIGNED_INT16:
        return integer ? 0x10d8 : 0x10d1;
    case CU_AD_FORMAT_UNSIGNED_INT8:
        return integer ? 0x10da : 0x10d2;
    case CU_AD_FORMAT_UNSIGNED_INT16:
        return integer ? 0x10db : 0x10d3;
    case CU_AD_FORMAT_SIGNED_INT32:
        return 0x10d9;
    case CU_AD_FORMAT_UNSIGNED_INT32:
        return 0x10dc;
    case CU_AD_FORMAT_HALF:
        return 0x10dd;
    default:
        return 0x10de;
    }
}

/* The enumeration of addr_mode: wrap, mirror, clamp_ogl, clamp_to_edge, clamp_to_border. */
static uint32_t mode_number(uint32_t mode)
{
    static const uint8_t numbers[] = {[CU_TR_ADDRESS_MODE_WRAP] = 0,
                                      [CU_TR_ADDRESS_MODE_MIRROR] = 1,
                                      [CU_TR_ADDRESS_MODE_CLAMP] = 3,
                                      [CU_TR_ADDRESS_MODE_BORDER] = 4};

    return numbers[mode];
}

static uint32_t query(struct source *s)
{
    const struct cuda_texture *t = &s->t;
    bool layered = t->layout & CUDA_TEXTURE_LAYERED;
    uint32_t which = s->form->query, level = 0;

    if (s->form->level != NO_SLOT) {
        level = source_slot(s, s->form->level);
        level = level < t->more_levels ? level : t->more_levels;
    }
    source_set_level(s, level);
    switch (which) {
    case TEXTURE_QUERY_WIDTH:
        return s->level.width;
    case TEXTURE_QUERY_HEIGHT:
        return s->level.height;
    case TEXTURE_QUERY_DEPTH:
        return layered ? 1 : s->level.depth;
    case TEXTURE_QUERY_LAYERS:
        return layered ? t->depth : 1;
    case TEXTURE_QUERY_LEVELS:
        return t->more_levels + 1;
    case TEXTURE_QUERY_SAMPLES:
        return 1;
    case TEXTURE_QUERY_TYPE:
        return data_type(t);
    case TEXTURE_QUERY_ORDER:
        return t->channels == 1 ? 0x10b0 : t->channels == 2 ? 0x10b2 : 0x10b5;
    case TEXTURE_QUERY_NORMALIZED:
        return t->flags & CU_TRSF_NORMALIZED_COORDINATES ? 1 : 0;
    case TEXTURE_QUERY_FILTER:
        return t->filter;
    case TEXTURE_QUERY_MODE_0:
    case TEXTURE_QUERY_MODE_1:
    case TEXTURE_QUERY_MODE_2:
        return mode_number(t->modes[which - TEXTURE_QUERY_MODE_0]);
    case TEXTURE_QUERY_FORCED:
        return t->magic == CUDA_SAMPLER_MAGIC && t->layout & CUDA_SAMPLER_TEXELS ? 1 : 0;
    default: /* LAYOUT: no memory of one dimension */
        return 0;
    }
}

HANDLER(texture_query)
{
    struct source s = {.w = w, .in = in};

    for (uint32_t left = w->mask; left;) {
        if (!source_next(&s, &left, 0))
            return NULL;
        store(&s, 0, query(&s));
    }
    return in + 1;
}
