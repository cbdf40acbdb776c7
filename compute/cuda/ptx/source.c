/* SPDX-License-Identifier: MIT */
#include "source.h"

#include <math.h>
#include <string.h>

#include "alu_math.h"

static uint64_t handle_of(const struct source *s, uint32_t slot)
{
    return ((const uint64_t *)(const void *)SLOT(s->w, slot))[s->lane];
}

void source_fail(struct source *s, enum ptx_fault fault, uint64_t address)
{
    if (!s->failed)
        warp_fault(s->w, s->in, fault, s->lane, address);
    s->failed = true;
}

static bool copy(struct source *s, uint64_t handle, struct cuda_texture *ret_texture)
{
    const struct region *r = memory_find(&s->w->launch->context->memory, handle);

    if (!r || sizeof(*ret_texture) > r->size - (handle - r->address))
        return false;
    memcpy(ret_texture, r->host + (handle - r->address), sizeof(*ret_texture));
    return true;
}

/* Of independent mode: how to read it is the sampler's. */
static bool take_sampler(struct source *s)
{
    struct cuda_texture *t = &s->t, sampler;

    if (!copy(s, s->sampler, &sampler) || sampler.magic != CUDA_SAMPLER_MAGIC)
        return false;
    memcpy(t->modes, sampler.modes, sizeof(t->modes));
    memcpy(t->border, sampler.border, sizeof(t->border));
    t->filter = sampler.filter;
    if (sampler.layout & CUDA_SAMPLER_TEXELS)
        t->flags &= ~CU_TRSF_NORMALIZED_COORDINATES;
    return true;
}

static bool is_sane(const struct cuda_texture *t)
{
    if (!cuda_texture_bytes(t->format) || !cuda_texture_channels(t->channels) || !t->width ||
        !t->height || !t->depth || t->width > INT32_MAX || t->height > INT32_MAX ||
        t->depth > INT32_MAX || t->filter > CU_TR_FILTER_MODE_LINEAR ||
        t->mip_filter > CU_TR_FILTER_MODE_LINEAR || t->more_levels >= CUDA_TEXTURE_LEVELS)
        return false;
    for (unsigned i = 0; i < 3; i++)
        if (t->modes[i] > CU_TR_ADDRESS_MODE_BORDER)
            return false;
    return true;
}

/* For questions: as a texture of one texel. */
static void dress_sampler(struct cuda_texture *t)
{
    t->width = t->height = t->depth = t->channels = 1;
    t->format = CU_AD_FORMAT_FLOAT;
    t->more_levels = 0;
}

static bool fits(const struct cuda_texture *t, uint32_t magic)
{
    return magic ? t->magic == magic
                 : t->magic == CUDA_TEXTURE_MAGIC || t->magic == CUDA_SURFACE_MAGIC ||
                       t->magic == CUDA_SAMPLER_MAGIC;
}

/* What the lane's handles stand for. */
static bool take(struct source *s, uint64_t handle, uint64_t sampler, uint32_t magic)
{
    s->handle = handle;
    s->sampler = sampler;
    if (!copy(s, handle, &s->t) || !fits(&s->t, magic))
        return false;
    if (s->t.magic == CUDA_SAMPLER_MAGIC)
        dress_sampler(&s->t);
    if ((s->form->sampler != NO_SLOT && !take_sampler(s)) || !is_sane(&s->t))
        return false;
    s->texel = cuda_texture_bytes(s->t.format) * s->t.channels;
    s->level = cuda_texture_level(&s->t, 0);
    s->number = 0;
    return true;
}

bool source_peek(struct source *s, uint32_t lanes, uint32_t magic)
{
    const struct texture_form *form = s->in->data;

    s->form = form;
    s->lane = (unsigned)__builtin_ctz(lanes);
    return take(s, handle_of(s, form->handle),
                form->sampler == NO_SLOT ? 0 : handle_of(s, form->sampler), magic);
}

bool source_next(struct source *s, uint32_t *left, uint32_t magic)
{
    const struct texture_form *form = s->in->data;
    uint64_t handle, sampler;

    s->form = form;
    s->lane = (unsigned)__builtin_ctz(*left);
    *left &= *left - 1;
    handle = handle_of(s, form->handle);
    sampler = form->sampler == NO_SLOT ? 0 : handle_of(s, form->sampler);
    if (s->texel && handle == s->handle && sampler == s->sampler)
        return true;
    if (!take(s, handle, sampler, magic)) {
        source_fail(s, PTX_FAULT_ADDRESS, handle);
        return false;
    }
    return true;
}

void source_set_level(struct source *s, uint32_t level)
{
    if (level == s->number)
        return;
    s->number = level;
    s->level = cuda_texture_level(&s->t, level);
}

uint8_t *source_reach(struct source *s, uint64_t address, uint32_t bytes, bool write)
{
    if (address - s->window.address >= s->window.size &&
        !view_find(s->w, s->in, SPACE_GLOBAL, address, &s->window)) {
        source_fail(s, PTX_FAULT_ADDRESS, address);
        return NULL;
    }
    if (bytes > s->window.size - (address - s->window.address)) {
        source_fail(s, PTX_FAULT_ADDRESS, address);
        return NULL;
    }
    if (write && s->window.constant) {
        source_fail(s, PTX_FAULT_READ_ONLY, address);
        return NULL;
    }
    return s->window.host + (address - s->window.address);
}

/* IEC 61966-2-1, "sRGB": what is stored becomes what light is. */
static float linear_light(float v)
{
    return v <= 0.04045f ? v / 12.92f : powf((v + 0.055f) / 1.055f, 2.4f);
}

/* Integers of 8 and 16 bits become [0, 1] or [-1, 1] unless they are read as integers. */
RACY static uint32_t channel(const struct cuda_texture *t, const uint8_t *at, unsigned number)
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
        if (integer)
            return word;
        /* The fourth is no colour. */
        return float_bits(t->flags & CU_TRSF_SRGB && number < 3 ? linear_light((float)word / 255)
                                                                : (float)word / 255);
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

struct texel source_texel(struct source *s, const int64_t *at)
{
    const struct cuda_texture *t = &s->t;
    struct texel v = {{0, 0, 0, cuda_texture_floats(t->format, t->flags) ? float_bits(1) : 1}};
    uint32_t bytes = cuda_texture_bytes(t->format);
    const uint8_t *host;

    if (at[0] < 0 || at[1] < 0 || at[2] < 0) {
        if (t->layout & CUDA_TEXTURE_LINEAR)
            return (struct texel){{0}};
        memcpy(v.bits, t->border, sizeof(v.bits));
        return v;
    }
    host = source_reach(s,
                        s->level.address + (uint64_t)at[2] * s->level.slice +
                            (uint64_t)at[1] * s->level.pitch + (uint64_t)at[0] * s->texel,
                        s->texel, false);
    if (!host)
        return v;
    for (uint32_t i = 0; i < t->channels; i++)
        v.bits[i] = channel(t, host + i * bytes, i);
    return v;
}
