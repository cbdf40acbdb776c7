/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "alu_math.h"
#include "source.h"

/*
 * Surfaces: texels as bytes, or (.p) as values in the surface's format (PTX ISA, "Surface
 * Instructions").
 */

/* Where a value of so many bytes is. NULL: the warp has failed, or with SURFACE_ZERO it is outside.
 */
static uint8_t *place(struct source *s, uint32_t bytes, bool write)
{
    const struct insn *in = s->in;
    const struct cuda_texture *t = &s->t;
    int64_t unit = in->flags & SURFACE_FORMATTED ? s->texel : 1;
    int64_t limits[3] = {(int64_t)t->width * s->texel - bytes, (int64_t)t->height - 1,
                         (int64_t)t->depth - 1};
    int64_t at[3] = {0};

    for (unsigned i = 0; i < TEXTURE_DIMENSIONS(in->flags); i++)
        at[i] = (int32_t)source_slot(s, s->form->at[i]);
    if (in->flags & TEXTURE_LAYERED)
        at[2] = source_slot(s, s->form->layer);
    at[0] *= unit;
    if (at[0] % (int64_t)bytes) {
        source_fail(s, PTX_FAULT_MISALIGNED, (uint64_t)at[0]);
        return NULL;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (at[i] >= 0 && at[i] <= limits[i])
            continue;
        if (SURFACE_MODE(in->flags) == SURFACE_ZERO)
            return NULL;
        if (SURFACE_MODE(in->flags) == SURFACE_TRAP || limits[i] < 0) {
            source_fail(s, PTX_FAULT_ADDRESS, t->address + (uint64_t)at[0]);
            return NULL;
        }
        at[i] = at[i] < 0 ? 0 : i ? limits[i] : limits[i] / bytes * bytes;
    }
    return source_reach(
        s, t->address + (uint64_t)at[2] * t->slice + (uint64_t)at[1] * t->pitch + (uint64_t)at[0],
        bytes, write);
}

static uint8_t *value_slot(const struct source *s, unsigned n, bool wide)
{
    return SLOT(s->w, s->form->values[n]) + s->lane * (wide ? 8 : 4);
}

RACY static const struct insn *move(struct warp *w, const struct insn *in, bool store)
{
    uint32_t bytes = SURFACE_BYTES(in->flags), count = SURFACE_COUNT(in->flags);
    struct source s = {.w = w, .in = in};

    for (uint32_t left = w->mask; left;) {
        uint8_t *host;

        if (!source_next(&s, &left, CUDA_SURFACE_MAGIC))
            return NULL;
        host = place(&s, bytes * count, store);
        if (s.failed)
            return NULL;
        for (uint32_t n = 0; n < count; n++) {
            uint8_t *slot = value_slot(&s, n, bytes == 8);
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
    return move(w, in, false);
}

/* A value of 32 bits as one of the format; what does not fit is the nearest. */
static uint32_t encode(uint32_t format, uint32_t bits)
{
    int64_t v = (int32_t)bits, least = 0, most;

    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
        return bits < UINT8_MAX ? bits : UINT8_MAX;
    case CU_AD_FORMAT_UNSIGNED_INT16:
        return bits < UINT16_MAX ? bits : UINT16_MAX;
    case CU_AD_FORMAT_SIGNED_INT8:
        least = INT8_MIN;
        most = INT8_MAX;
        break;
    case CU_AD_FORMAT_SIGNED_INT16:
        least = INT16_MIN;
        most = INT16_MAX;
        break;
    case CU_AD_FORMAT_HALF:
        return half_plain(bits_float(bits));
    default:
        return bits;
    }
    return (uint32_t)(v < least ? least : v > most ? most : v);
}

/* sust.p: what the source does not have is written as zero, which PTX leaves open. */
RACY static const struct insn *store_formatted(struct warp *w, const struct insn *in)
{
    struct source s = {.w = w, .in = in};

    for (uint32_t left = w->mask; left;) {
        uint32_t bytes;
        uint8_t *host;

        if (!source_next(&s, &left, CUDA_SURFACE_MAGIC))
            return NULL;
        host = place(&s, s.texel, true);
        if (s.failed)
            return NULL;
        bytes = cuda_texture_bytes(s.t.format);
        for (uint32_t n = 0; host && n < s.t.channels; n++) {
            uint32_t v = 0;

            if (n < SURFACE_COUNT(in->flags))
                memcpy(&v, value_slot(&s, n, false), 4);
            v = encode(s.t.format, v);
            memcpy(host + n * bytes, &v, bytes);
        }
    }
    return in + 1;
}

HANDLER(surface_store)
{
    return in->flags & SURFACE_FORMATTED ? store_formatted(w, in) : move(w, in, true);
}

/* sured: on elements of 32 or 64 bits. */
HANDLER(surface_reduce)
{
    uint32_t bytes = SURFACE_BYTES(in->flags);
    struct source s = {.w = w, .in = in};

    for (uint32_t left = w->mask; left;) {
        enum atom_type type = SURFACE_TYPE(in->flags);
        uint64_t v = 0;
        uint8_t *host;

        if (!source_next(&s, &left, CUDA_SURFACE_MAGIC))
            return NULL;
        if (in->flags & SURFACE_FORMATTED) {
            /* Signed or not as the surface is, whose texels are one such number. */
            if (s.t.channels != 1 || (s.t.format != CU_AD_FORMAT_SIGNED_INT32 &&
                                      s.t.format != CU_AD_FORMAT_UNSIGNED_INT32)) {
                source_fail(&s, PTX_FAULT_ADDRESS, s.handle);
                return NULL;
            }
            if (s.t.format == CU_AD_FORMAT_SIGNED_INT32)
                type = TYPE_S32;
        }
        host = place(&s, bytes, true);
        if (s.failed)
            return NULL;
        memcpy(&v, value_slot(&s, 0, bytes == 8), bytes);
        if (host && (uintptr_t)host % bytes) {
            source_fail(&s, PTX_FAULT_MISALIGNED, s.handle);
            return NULL;
        }
        if (host)
            atom_exchange(host, bytes, SURFACE_OP(in->flags), type, v, 0);
    }
    return in + 1;
}
