/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include <compute/cuda/texture.h>

#include "alu_math.h"
#include "flow.h"
#include "view.h"

/*
 * Textures and surfaces, after "Texture Fetching" of the CUDA C++ Programming Guide. What a handle
 * stands for is in device memory, where anybody may have written anything: it is copied and checked
 * for each instruction, and each texel is looked for like the address of a load.
 */

/* Kernels may race on texels; that is their business. */
#define RACY __attribute__((no_sanitize("thread")))

struct source {
    struct warp *w;
    const struct insn *in;
    struct cuda_texture t;
    uint32_t texel;       /* bytes */
    struct window window; /* where the last texel was */
    unsigned lane;
    bool failed; /* the warp has */
};

static uint32_t slot32(const struct warp *w, uint32_t slot, unsigned lane)
{
    return ((const uint32_t *)(const void *)SLOT(w, slot))[lane];
}

static uint64_t handle_of(const struct warp *w, const struct insn *in, unsigned lane)
{
    return ((const uint64_t *)(const void *)SLOT(w, in->a))[lane];
}

static void fail(struct source *s, enum ptx_fault fault, uint64_t address)
{
    if (!s->failed)
        warp_fault(s->w, s->in, fault, s->lane, address);
    s->failed = true;
}

/* What the handle of a lane stands for; no magic: either. */
static bool source_open(struct source *s, uint64_t handle, uint32_t magic)
{
    const struct region *r = memory_find(&s->w->launch->context->memory, handle);
    struct cuda_texture *t = &s->t;

    if (!r || sizeof(*t) > r->size - (handle - r->address))
        goto bad;
    memcpy(t, r->host + (handle - r->address), sizeof(*t));
    s->texel = cuda_texture_bytes(t->format) * t->channels;
    if (!s->texel || t->channels == 3 || t->channels > 4)
        goto bad;
    if ((magic ? t->magic != magic
               : t->magic != CUDA_TEXTURE_MAGIC && t->magic != CUDA_SURFACE_MAGIC) ||
        !t->width || !t->height || !t->depth || t->width > INT32_MAX || t->height > INT32_MAX ||
        t->depth > INT32_MAX || t->filter > 1)
        goto bad;
    for (unsigned i = 0; i < 3; i++)
        if (t->modes[i] > CU_TR_ADDRESS_MODE_BORDER)
            goto bad;
    return true;
bad:
    fail(s, PTX_FAULT_ADDRESS, handle);
    return false;
}

/* Host memory of bytes of device memory; NULL: the warp has failed. */
static uint8_t *reach(struct source *s, uint64_t address, uint32_t bytes, bool write)
{
    if (address - s->window.address >= s->window.size &&
        !view_find(s->w, s->in, SPACE_GLOBAL, address, &s->window)) {
        fail(s, PTX_FAULT_ADDRESS, address);
        return NULL;
    }
    if (bytes > s->window.size - (address - s->window.address)) {
        fail(s, PTX_FAULT_ADDRESS, address);
        return NULL;
    }
    if (write && s->window.constant) {
        fail(s, PTX_FAULT_READ_ONLY, address);
        return NULL;
    }
    return s->window.host + (address - s->window.address);
}

/* The four values of a texel, as bits: integers, or floats where floats are read. */
struct texel {
    uint32_t bits[4];
};

static bool reads_floats(const struct cuda_texture *t)
{
    return t->format == CU_AD_FORMAT_FLOAT || t->format == CU_AD_FORMAT_HALF ||
           (cuda_texture_bytes(t->format) < 4 && !(t->flags & CU_TRSF_READ_AS_INTEGER));
}

/* Integers of 8 and 16 bits become [0, 1] or [-1, 1] unless they are read as integers. */
RACY static uint32_t channel(const struct cuda_texture *t, const uint8_t *at)
{
    bool integer = t->flags & CU_TRSF_READ_AS_INTEGER;
    uint16_t narrow = 0;
    uint32_t word = 0;

    switch (cuda_texture_bytes(t->format)) {
    case 1:
        word = *at;
        break;
    case 2:
        memcpy(&narrow, at, 2);
        word = narrow;
        break;
    default:
        memcpy(&word, at, 4);
        break;
    }
    switch (t->format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
        return integer ? word : float_bits((float)word / 255);
    case CU_AD_FORMAT_UNSIGNED_INT16:
        return integer ? word : float_bits((float)word / 65535);
    case CU_AD_FORMAT_SIGNED_INT8:
        return integer ? (uint32_t)(int8_t)word : float_bits(fmaxf((float)(int8_t)word / 127, -1));
    case CU_AD_FORMAT_SIGNED_INT16:
        return integer ? (uint32_t)(int16_t)word
                       : float_bits(fmaxf((float)(int16_t)word / 32767, -1));
    case CU_AD_FORMAT_HALF:
        return float_bits(half_float((uint16_t)word));
    default:
        return word;
    }
}

/* A texel; -1 of a dimension: outside of it. */
static struct texel texel_at(struct source *s, const int64_t *at)
{
    const struct cuda_texture *t = &s->t;
    struct texel v = {{0, 0, 0, reads_floats(t) ? float_bits(1) : 1}};
    uint32_t bytes = cuda_texture_bytes(t->format);
    const uint8_t *host;

    if (at[0] < 0 || at[1] < 0 || at[2] < 0) {
        if (t->layout & CUDA_TEXTURE_LINEAR)
            return (struct texel){{0}};
        memcpy(v.bits, t->border, sizeof(v.bits));
        return v;
    }
    host = reach(s,
                 t->address + (uint64_t)at[2] * t->slice + (uint64_t)at[1] * t->pitch +
                     (uint64_t)at[0] * s->texel,
                 s->texel, false);
    if (!host)
        return v;
    for (uint32_t i = 0; i < t->channels; i++)
        v.bits[i] = channel(t, host + i * bytes);
    return v;
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

static struct axis axis_of(const struct cuda_texture *t, unsigned dimension, float x, bool integer,
                           int32_t index, bool linear, bool normalized)
{
    int64_t n = dimension == 0 ? t->width : dimension == 1 ? t->height : t->depth, first;
    uint32_t mode = t->modes[dimension];
    struct axis a = {.weight = 0};
    float floor;

    /* These are only for normalised coordinates. */
    if (!normalized && (mode == CU_TR_ADDRESS_MODE_WRAP || mode == CU_TR_ADDRESS_MODE_MIRROR))
        mode = CU_TR_ADDRESS_MODE_CLAMP;
    if (t->layout & CUDA_TEXTURE_LINEAR)
        mode = CU_TR_ADDRESS_MODE_BORDER;
    if (integer) {
        a.at[0] = a.at[1] = address_mode(index, n, mode);
        return a;
    }
    if (normalized) {
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
    first = (int64_t)floor;
    a.at[0] = address_mode(first, n, mode);
    if (!linear)
        return a;
    a.at[1] = address_mode(first + 1, n, mode);
    a.weight = x - floor >= 0 && x - floor <= 1 ? floorf((x - floor) * 256 + 0.5f) / 256 : 0;
    return a;
}

/* Coordinates of one lane, brought to axes. */
static void axes_of(const struct source *s, bool linear, struct axis *a)
{
    const struct insn *in = s->in;
    const struct cuda_texture *t = &s->t;
    const uint32_t slots[3] = {in->f, (uint32_t)in->bits, (uint32_t)(in->bits >> 32)};
    unsigned dimensions = TEXTURE_DIMENSIONS(in->flags), skip = in->flags & TEXTURE_LAYERED ? 1 : 0;
    bool normalized = t->flags & CU_TRSF_NORMALIZED_COORDINATES;
    int64_t layer = 0;
    uint32_t bits[3];

    for (unsigned i = 0; i < 3; i++) {
        bits[i] = slot32(s->w, slots[i], s->lane);
        a[i] = (struct axis){.weight = 0};
    }
    if (skip)
        layer = bits[0];
    for (unsigned i = 0; i < dimensions; i++)
        bits[i] = i + skip < 3 ? bits[i + skip] : 0;
    if (in->flags & TEXTURE_CUBE) {
        /* The face the vector points to, and where on it: +x, -x, +y, -y, +z, -z. */
        float v[3], m, sc, tc;

        memcpy(v, bits, sizeof(v));
        if (fabsf(v[0]) >= fabsf(v[1]) && fabsf(v[0]) >= fabsf(v[2])) {
            layer = v[0] < 0;
            m = fabsf(v[0]);
            sc = v[0] < 0 ? v[2] : -v[2];
            tc = -v[1];
        } else if (fabsf(v[1]) >= fabsf(v[2])) {
            layer = 2 + (v[1] < 0);
            m = fabsf(v[1]);
            sc = v[0];
            tc = v[1] < 0 ? -v[2] : v[2];
        } else {
            layer = 4 + (v[2] < 0);
            m = fabsf(v[2]);
            sc = v[2] < 0 ? -v[0] : v[0];
            tc = -v[1];
        }
        bits[0] = float_bits((sc / m + 1) / 2);
        bits[1] = float_bits((tc / m + 1) / 2);
        normalized = true;
        dimensions = 2;
        skip = 1;
    }
    for (unsigned i = 0; i < dimensions; i++)
        a[i] = axis_of(t, i, bits_float(bits[i]), in->flags & TEXTURE_INTEGER, (int32_t)bits[i],
                       linear, normalized);
    if (skip)
        a[2].at[0] = a[2].at[1] = layer < t->depth ? layer : t->depth - 1;
}

static bool is_linear(const struct source *s)
{
    return s->t.filter == CU_TR_FILTER_MODE_LINEAR && reads_floats(&s->t) &&
           !(s->in->flags & TEXTURE_INTEGER) && !(s->t.layout & CUDA_TEXTURE_LINEAR);
}

static struct texel sample(struct source *s)
{
    bool linear = is_linear(s);
    float sum[4] = {0};
    struct axis a[3];
    struct texel v;

    axes_of(s, linear, a);
    if (!linear) {
        const int64_t at[3] = {a[0].at[0], a[1].at[0], a[2].at[0]};

        return texel_at(s, at);
    }
    for (unsigned corner = 0; corner < 8; corner++) {
        float weight = 1;
        int64_t at[3];

        for (unsigned i = 0; i < 3; i++) {
            bool second = corner >> i & 1;

            at[i] = a[i].at[second];
            weight *= second ? a[i].weight : 1 - a[i].weight;
        }
        if (weight == 0)
            continue;
        v = texel_at(s, at);
        for (unsigned i = 0; i < 4; i++)
            sum[i] += weight * bits_float(v.bits[i]);
    }
    for (unsigned i = 0; i < 4; i++)
        v.bits[i] = float_bits(sum[i]);
    return v;
}

/* One component of the four texels that would be filtered, as seen from the last row: (0, 1),
 * (1, 1), (1, 0), (0, 0). */
static struct texel gather(struct source *s)
{
    static const uint8_t corners[4][2] = {{0, 1}, {1, 1}, {1, 0}, {0, 0}};
    struct axis a[3];
    struct texel v = {{0}};

    axes_of(s, true, a);
    for (unsigned i = 0; i < 4; i++) {
        const int64_t at[3] = {a[0].at[corners[i][0]], a[1].at[corners[i][1]], 0};

        v.bits[i] = texel_at(s, at).bits[TEXTURE_CHANNEL(s->in->flags)];
    }
    return v;
}

static inline uint32_t part(const struct insn *in, unsigned n)
{
    return n == 0 ? in->d : n == 1 ? in->b : n == 2 ? in->c : in->e;
}

/* For each lane: opens what its handle stands for, mostly the same for all. */
static bool source_next(struct source *s, uint32_t *left, uint32_t magic)
{
    unsigned lane = (unsigned)__builtin_ctz(*left);
    uint64_t handle = handle_of(s->w, s->in, lane);
    bool same = s->texel && handle == handle_of(s->w, s->in, s->lane);

    *left &= *left - 1;
    s->lane = lane;
    return same || source_open(s, handle, magic);
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
        for (unsigned n = 0; n < 4; n++)
            ((uint32_t *)(void *)SLOT(w, part(in, n)))[s.lane] = v.bits[n];
    }
    return in + 1;
}

HANDLER(texture_fetch)
{
    return fetch(w, in, sample);
}

HANDLER(texture_gather)
{
    return fetch(w, in, gather);
}

HANDLER(texture_query)
{
    struct source s = {.w = w, .in = in};

    for (uint32_t left = w->mask; left;) {
        bool layered;
        uint32_t v;

        if (!source_next(&s, &left, 0))
            return NULL;
        layered = s.t.layout & CUDA_TEXTURE_LAYERED;
        v = in->imm == TEXTURE_QUERY_WIDTH    ? s.t.width
            : in->imm == TEXTURE_QUERY_HEIGHT ? s.t.height
            : in->imm == TEXTURE_QUERY_DEPTH  ? (layered ? 1 : s.t.depth)
                                              : (layered ? s.t.depth : 1);
        ((uint32_t *)(void *)SLOT(w, in->d))[s.lane] = v;
    }
    return in + 1;
}

/* Where a surface's value is. NULL: the warp has failed, or with SURFACE_ZERO it is outside. */
static uint8_t *surface_at(struct source *s, bool write)
{
    const struct insn *in = s->in;
    const struct cuda_texture *t = &s->t;
    const uint32_t slots[3] = {in->f, (uint32_t)in->bits, (uint32_t)(in->bits >> 32)};
    unsigned dimensions = TEXTURE_DIMENSIONS(in->flags), skip = in->flags & TEXTURE_LAYERED ? 1 : 0;
    uint32_t bytes = SURFACE_BYTES(in->flags) * SURFACE_COUNT(in->flags);
    int64_t limits[3] = {(int64_t)t->width * s->texel - bytes, (int64_t)t->height - 1,
                         (int64_t)t->depth - 1};
    int64_t at[3] = {0};

    for (unsigned i = 0; i < dimensions; i++)
        at[i] = (int32_t)slot32(s->w, slots[i + skip], s->lane);
    if (skip)
        at[2] = slot32(s->w, slots[0], s->lane);
    if (at[0] % (int64_t)bytes) {
        fail(s, PTX_FAULT_MISALIGNED, (uint64_t)at[0]);
        return NULL;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (at[i] >= 0 && at[i] <= limits[i])
            continue;
        if (SURFACE_MODE(in->flags) == SURFACE_ZERO)
            return NULL;
        if (SURFACE_MODE(in->flags) == SURFACE_TRAP || limits[i] < 0) {
            fail(s, PTX_FAULT_ADDRESS, t->address + (uint64_t)at[0]);
            return NULL;
        }
        at[i] = at[i] < 0 ? 0 : limits[i];
    }
    return reach(
        s, t->address + (uint64_t)at[2] * t->slice + (uint64_t)at[1] * t->pitch + (uint64_t)at[0],
        bytes, write);
}

RACY static const struct insn *surface(struct warp *w, const struct insn *in, bool store)
{
    uint32_t bytes = SURFACE_BYTES(in->flags), count = SURFACE_COUNT(in->flags);
    struct source s = {.w = w, .in = in};

    for (uint32_t left = w->mask; left;) {
        uint8_t *host;

        if (!source_next(&s, &left, CUDA_SURFACE_MAGIC))
            return NULL;
        host = surface_at(&s, store);
        if (s.failed)
            return NULL;
        for (uint32_t n = 0; n < count; n++) {
            uint8_t *slot = SLOT(w, part(in, n)) + s.lane * (bytes == 8 ? 8 : 4);
            uint64_t v = 0;

            if (store) {
                if (host)
                    memcpy(host + n * bytes, slot, bytes);
                continue;
            }
            if (host)
                memcpy(&v, host + n * bytes, bytes);
            memcpy(slot, &v, bytes == 8 ? 8 : 4);
        }
    }
    return in + 1;
}

HANDLER(surface_load)
{
    return surface(w, in, false);
}

HANDLER(surface_store)
{
    return surface(w, in, true);
}
