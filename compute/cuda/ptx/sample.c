/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "alu.h"
#include "alu_math.h"
#include "source.h"

/*
 * Fetches of 32 lanes at once, for what kernels mostly do: one texture, whose bytes are in one
 * allocation, of one level, with coordinates of one to three dimensions. The rest, and what is
 * wrong, is texture.c's, and so is what a fetch means: results are the same, bit by bit.
 *
 * Compiled once for each instruction set, as PTX_SAMPLE. Lanes that do not run are computed with
 * what they have, read the first texel, and are not stored.
 */

#ifdef __clang__
#define EACH_LANE \
    _Pragma("clang loop vectorize(assume_safety)") for (unsigned i = 0; i < LANES; i++)
#pragma clang diagnostic ignored "-Wpass-failed"
#else
#define EACH_LANE _Pragma("GCC ivdep") for (unsigned i = 0; i < LANES; i++)
#endif
#define INLINE static inline __attribute__((always_inline))

#define MOST_TEXELS (1u << 28) /* of a dimension: numbers stay within 32 bits */
#define FAR_TEXEL   0x1p30f    /* is outside of all of those */

/* The texels of one dimension that each lane's coordinate is between: -1 outside. */
struct span {
    int32_t at[2][LANES] __attribute__((aligned(64)));
    float weight[LANES] __attribute__((aligned(64))); /* of the second */
    bool linear;
};

/* As address_mode() of texture.c, of numbers that are at most one turn away. */
INLINE int32_t place(int32_t i, int32_t n, uint32_t mode)
{
    switch (mode) {
    case CU_TR_ADDRESS_MODE_WRAP:
        i = i < 0 ? i + n : i;
        i = i >= n ? i - n : i;
        return i >= n ? i - n : i;
    case CU_TR_ADDRESS_MODE_MIRROR:
        i = i < 0 ? i + 2 * n : i;
        i = i >= 2 * n ? i - 2 * n : i;
        return i < n ? i : 2 * n - 1 - i;
    case CU_TR_ADDRESS_MODE_BORDER:
        return i < 0 || i >= n ? -1 : i;
    default:
        i = i < 0 ? 0 : i;
        return i >= n ? n - 1 : i;
    }
}

INLINE void span_floats(const float *given, int32_t n, uint32_t mode, bool normalized, bool linear,
                        struct span *s)
{
    const float *x = __builtin_assume_aligned(given, 64);

    EACH_LANE
    {
        float v = x[i], floor, weight;
        int32_t first;

        if (normalized) {
            if (mode == CU_TR_ADDRESS_MODE_WRAP)
                v -= floorf(v);
            else if (mode == CU_TR_ADDRESS_MODE_MIRROR)
                v -= 2 * floorf(v / 2);
            v *= (float)n;
        }
        if (linear)
            v -= 0.5f;
        floor = floorf(v);
        /* What is no number, or far outside. */
        floor = floor >= -FAR_TEXEL ? floor : v < 0 ? -FAR_TEXEL : 0;
        floor = floor > FAR_TEXEL ? FAR_TEXEL : floor;
        first = (int32_t)floor;
        s->at[0][i] = place(first, n, mode);
        if (!linear)
            continue;
        weight = v - floor;
        s->at[1][i] = place(first + 1, n, mode);
        s->weight[i] = weight >= 0 && weight <= 1 ? floorf(weight * 256 + 0.5f) / 256 : 0;
    }
}

/* With the numbers that do not change a loop as constants. */
static void span_of(const float *x, int32_t n, uint32_t mode, bool normalized, bool linear,
                    struct span *s)
{
#define SPAN(mode)                               \
    if (normalized && linear)                    \
        span_floats(x, n, mode, true, true, s);  \
    else if (normalized)                         \
        span_floats(x, n, mode, true, false, s); \
    else if (linear)                             \
        span_floats(x, n, mode, false, true, s); \
    else                                         \
        span_floats(x, n, mode, false, false, s);
    s->linear = linear;
    switch (mode) {
    case CU_TR_ADDRESS_MODE_WRAP:
        SPAN(CU_TR_ADDRESS_MODE_WRAP)
        break;
    case CU_TR_ADDRESS_MODE_MIRROR:
        SPAN(CU_TR_ADDRESS_MODE_MIRROR)
        break;
    case CU_TR_ADDRESS_MODE_BORDER:
        SPAN(CU_TR_ADDRESS_MODE_BORDER)
        break;
    default:
        SPAN(CU_TR_ADDRESS_MODE_CLAMP)
        break;
    }
#undef SPAN
}

static void span_integers(const int32_t *index, int32_t n, bool border, struct span *s)
{
    s->linear = false;
    EACH_LANE
    {
        int32_t v = index[i], in = v < 0 ? 0 : v >= n ? n - 1 : v;

        s->at[0][i] = border && in != v ? -1 : in;
    }
}

/* Of one corner. */
struct texels {
    uint64_t offset[LANES] __attribute__((aligned(64)));
    uint32_t outside[LANES] __attribute__((aligned(64))); /* all ones, or zero */
    uint32_t bits[4][LANES] __attribute__((aligned(64)));
};

RACY static void words(const uint8_t *host, const uint64_t *offset, uint32_t bytes, uint32_t *v)
{
    if (bytes == 4) {
        EACH_LANE
        {
            memcpy(&v[i], host + offset[i], 4);
        }
    } else if (bytes == 2) {
        for (unsigned i = 0; i < LANES; i++) {
            uint16_t word;

            memcpy(&word, host + offset[i], 2);
            v[i] = word;
        }
    } else {
        for (unsigned i = 0; i < LANES; i++)
            v[i] = host[offset[i]];
    }
}

/* As channel() of source.c, but for sRGB. */
static void convert(uint32_t format, bool integer, uint32_t *v)
{
    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
        if (!integer)
            EACH_LANE
            {
                v[i] = float_bits((float)(int32_t)v[i] / 255);
            }
        break;
    case CU_AD_FORMAT_UNSIGNED_INT16:
        if (!integer)
            EACH_LANE
            {
                v[i] = float_bits((float)(int32_t)v[i] / 65535);
            }
        break;
    case CU_AD_FORMAT_SIGNED_INT8:
        EACH_LANE
        {
            int32_t word = (int8_t)v[i];
            float f = (float)word / 127;

            v[i] = integer ? (uint32_t)word : float_bits(f < -1 ? -1 : f);
        }
        break;
    case CU_AD_FORMAT_SIGNED_INT16:
        EACH_LANE
        {
            int32_t word = (int16_t)v[i];
            float f = (float)word / 32767;

            v[i] = integer ? (uint32_t)word : float_bits(f < -1 ? -1 : f);
        }
        break;
    case CU_AD_FORMAT_HALF:
        EACH_LANE
        {
            v[i] = float_bits(half_float((uint16_t)v[i]));
        }
        break;
    default:
        break;
    }
}

RACY static void read_texels(const struct source *s, const uint8_t *host, bool floats,
                             struct texels *x)
{
    const struct cuda_texture *t = &s->t;
    const uint32_t bytes = cuda_texture_bytes(t->format);

    for (uint32_t n = 0; n < 4; n++) {
        uint32_t *v = x->bits[n], border = 0, none = n < 3 ? 0 : floats ? float_bits(1) : 1;

        if (s->form->values[n] == NO_SLOT)
            continue;
        if (!(t->layout & CUDA_TEXTURE_LINEAR))
            memcpy(&border, &t->border[n], 4);
        if (n < t->channels) {
            words(host + n * bytes, x->offset, bytes, v);
            convert(t->format, t->flags & CU_TRSF_READ_AS_INTEGER, v);
        } else {
            EACH_LANE
            {
                v[i] = none;
            }
        }
        EACH_LANE
        {
            v[i] = x->outside[i] ? border : v[i];
        }
    }
}

/* Where a corner's texels are, of level `l`. */
static void place_texels(const struct source *s, const struct span *spans, unsigned dimensions,
                         const int32_t *layer, unsigned corner, struct texels *x)
{
    const struct cuda_texture_level *l = &s->level;
    const uint64_t steps[3] = {s->texel, l->pitch, l->slice};

    EACH_LANE
    {
        x->offset[i] = (uint64_t)(uint32_t)layer[i] * l->slice;
        x->outside[i] = 0;
    }
    for (unsigned n = 0; n < dimensions; n++) {
        const int32_t *at = spans[n].at[corner >> n & 1];
        const uint64_t step = steps[n];

        EACH_LANE
        {
            x->outside[i] |= at[i] < 0 ? ALL_LANES : 0;
            x->offset[i] += (uint64_t)(uint32_t)(at[i] < 0 ? 0 : at[i]) * step;
        }
    }
    if (!s->w->full) {
        const uint32_t *m = __builtin_assume_aligned(s->w->lanes, 64);

        EACH_LANE
        {
            x->offset[i] = m[i] ? x->offset[i] : 0;
        }
    }
}

static void store(const struct source *s, uint32_t slot, const uint32_t *v)
{
    const uint32_t *m = __builtin_assume_aligned(s->w->lanes, 64);
    uint32_t *d;

    if (slot == NO_SLOT)
        return;
    d = __builtin_assume_aligned((uint32_t *)(void *)SLOT(s->w, slot), 64);
    EACH_LANE
    {
        d[i] = m[i] ? v[i] : d[i];
    }
}

/* The sum of the corners by their weights, those without one left out. */
static void blend(struct source *s, const uint8_t *host, const struct span *spans,
                  unsigned dimensions, const int32_t *layer, struct texels *x)
{
    float sum[4][LANES] __attribute__((aligned(64))), weight[LANES] __attribute__((aligned(64)));

    memset(sum, 0, sizeof(sum));
    for (unsigned corner = 0; corner < 1u << dimensions; corner++) {
        uint32_t any = 0;

        EACH_LANE
        {
            weight[i] = 1;
        }
        for (unsigned n = 0; n < dimensions; n++) {
            const float *w = spans[n].weight;

            if (corner >> n & 1)
                EACH_LANE
                {
                    weight[i] *= w[i];
                }
            else
                EACH_LANE
                {
                    weight[i] *= 1 - w[i];
                }
        }
        EACH_LANE
        {
            any |= float_bits(weight[i]);
        }
        if (!any)
            continue;
        place_texels(s, spans, dimensions, layer, corner, x);
        read_texels(s, host, true, x);
        for (uint32_t n = 0; n < 4; n++) {
            const uint32_t *v = x->bits[n];
            float *to = sum[n];

            if (s->form->values[n] == NO_SLOT)
                continue;
            EACH_LANE
            {
                to[i] += weight[i] != 0 ? weight[i] * bits_float(v[i]) : 0;
            }
        }
    }
    for (uint32_t n = 0; n < 4; n++)
        memcpy(x->bits[n], sum[n], sizeof(sum[n]));
}

/* Whether all lanes that run have the same word in a slot of 64 bits. */
static bool is_uniform(const struct warp *w, uint32_t slot)
{
    const uint64_t *a = __builtin_assume_aligned((const uint64_t *)(const void *)SLOT(w, slot), 64);
    const uint64_t first = a[__builtin_ctz(w->mask)];
    uint64_t other = 0;

    EACH_LANE
    {
        other |= w->lanes[i] ? a[i] ^ first : 0;
    }
    return !other;
}

/* The host's memory of all texels of the level; NULL: not in one piece. */
static const uint8_t *whole(const struct source *s)
{
    const struct cuda_texture_level *l = &s->level;
    uint64_t rows, images, end;
    struct window window;

    if (l->width > MOST_TEXELS || l->height > MOST_TEXELS || l->depth > MOST_TEXELS ||
        __builtin_mul_overflow((uint64_t)l->height - 1, l->pitch, &rows) ||
        __builtin_mul_overflow((uint64_t)l->depth - 1, l->slice, &images) ||
        __builtin_add_overflow(rows, images, &end) ||
        __builtin_add_overflow(end, (uint64_t)l->width * s->texel, &end) ||
        !view_find(s->w, s->in, SPACE_GLOBAL, l->address, &window) ||
        end > window.size - (l->address - window.address))
        return NULL;
    return window.host + (l->address - window.address);
}

/* Whether nothing of the texture asks for more than is done here. */
static bool is_plain(const struct source *s)
{
    const struct cuda_texture *t = &s->t;
    const uint32_t flags = s->in->flags;

    if (t->more_levels && flags & TEXTURE_LEVEL)
        return false;
    if (t->flags & CU_TRSF_SRGB)
        return false;
    /* Numbers of texels may be any number of turns away. */
    if (flags & TEXTURE_INTEGER && t->flags & CU_TRSF_NORMALIZED_COORDINATES)
        for (unsigned i = 0; i < TEXTURE_DIMENSIONS(flags); i++)
            if (t->modes[i] == CU_TR_ADDRESS_MODE_WRAP || t->modes[i] == CU_TR_ADDRESS_MODE_MIRROR)
                return false;
    return true;
}

bool PTX_SAMPLE(struct warp *w, const struct insn *in)
{
    const struct texture_form *form = in->data;
    const unsigned dimensions = TEXTURE_DIMENSIONS(in->flags);
    struct source s = {.w = w, .in = in};
    int32_t layer[LANES] __attribute__((aligned(64))) = {0};
    uint32_t left = w->mask, size[3];
    struct span spans[3];
    struct texels x;
    const uint8_t *host;
    bool floats, linear, normalized;

    if (!is_uniform(w, form->handle) ||
        (form->sampler != NO_SLOT && !is_uniform(w, form->sampler)) ||
        !source_peek(&s, left, CUDA_TEXTURE_MAGIC) || !is_plain(&s))
        return false;
    host = whole(&s);
    if (!host)
        return false;
    floats = cuda_texture_floats(s.t.format, s.t.flags);
    normalized = s.t.flags & CU_TRSF_NORMALIZED_COORDINATES;
    linear = s.t.filter == CU_TR_FILTER_MODE_LINEAR && floats && !(in->flags & TEXTURE_INTEGER) &&
             !(s.t.layout & CUDA_TEXTURE_LINEAR);
    size[0] = s.level.width;
    size[1] = s.level.height;
    size[2] = s.level.depth;
    for (unsigned n = 0; n < dimensions; n++) {
        uint32_t mode = s.t.modes[n];
        const uint8_t *slot = SLOT(w, form->at[n]);

        if (!normalized && mode != CU_TR_ADDRESS_MODE_BORDER)
            mode = CU_TR_ADDRESS_MODE_CLAMP;
        if (s.t.layout & CUDA_TEXTURE_LINEAR)
            mode = CU_TR_ADDRESS_MODE_BORDER;
        if (in->flags & TEXTURE_INTEGER)
            span_integers((const int32_t *)(const void *)slot, (int32_t)size[n],
                          mode == CU_TR_ADDRESS_MODE_BORDER, &spans[n]);
        else
            span_of((const float *)(const void *)slot, (int32_t)size[n], mode, normalized, linear,
                    &spans[n]);
    }
    if (in->flags & TEXTURE_LAYERED) {
        const uint32_t *number = (const uint32_t *)(const void *)SLOT(w, form->layer);

        EACH_LANE
        {
            layer[i] = (int32_t)(number[i] < size[2] ? number[i] : size[2] - 1);
        }
    }
    if (linear) {
        blend(&s, host, spans, dimensions, layer, &x);
    } else {
        place_texels(&s, spans, dimensions, layer, 0, &x);
        read_texels(&s, host, floats, &x);
    }
    for (unsigned n = 0; n < 4; n++)
        store(&s, form->values[n], x.bits[n]);
    if (form->resident != NO_SLOT)
        store(&s, form->resident, w->lanes);
    return true;
}
