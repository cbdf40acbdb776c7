/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_SOURCE_H
#define VIADUCT_PTX_SOURCE_H

#include <compute/cuda/texture.h>

#include "flow.h"
#include "view.h"

/*
 * What instructions on textures and surfaces share: what their handles stand for, and texels.
 * Descriptors are in device memory, where anybody may have written anything: they are copied and
 * checked for each instruction, and each texel is looked for like the address of a load.
 */

/* Of an instruction, its `data`, which the module owns: slots, NO_SLOT where there is none. */
struct texture_form {
    uint32_t handle, sampler; /* sampler: independent mode */
    uint32_t values[4];
    uint32_t resident; /* a predicate */
    uint32_t layer, at[3];
    uint32_t level, gradients[2][3]; /* TEXTURE_LEVEL, TEXTURE_GRADIENT */
    uint32_t offsets[3];
    uint32_t query;
    /* struct isa's; NULL: it does none of these. */
    bool (*sample)(struct warp *w, const struct insn *in);
};

/* texture.c */
HANDLER(texture_fetch);
HANDLER(texture_gather); /* of TEXTURE_CHANNEL */
HANDLER(texture_query);  /* the first value = TEXTURE_QUERY_… */
/* surface.c */
HANDLER(surface_load);
HANDLER(surface_store);
HANDLER(surface_reduce);

enum texture_query {
    TEXTURE_QUERY_WIDTH,
    TEXTURE_QUERY_HEIGHT,
    TEXTURE_QUERY_DEPTH,
    TEXTURE_QUERY_LAYERS,
    TEXTURE_QUERY_LEVELS,
    TEXTURE_QUERY_SAMPLES,
    TEXTURE_QUERY_TYPE,
    TEXTURE_QUERY_ORDER,
    TEXTURE_QUERY_NORMALIZED,
    TEXTURE_QUERY_FORCED, /* not normalised, by the sampler */
    TEXTURE_QUERY_FILTER,
    TEXTURE_QUERY_MODE_0,
    TEXTURE_QUERY_MODE_1,
    TEXTURE_QUERY_MODE_2,
    TEXTURE_QUERY_LAYOUT,
};
enum { SURFACE_TRAP, SURFACE_CLAMP, SURFACE_ZERO };

/* struct insn.flags: dimensions without the layer */
#define TEXTURE_DIMENSIONS(flags) ((flags)&3)
#define TEXTURE_LAYERED           (1u << 2)
#define TEXTURE_INTEGER           (1u << 3) /* coordinates */
#define TEXTURE_CUBE              (1u << 4)
#define TEXTURE_LEVEL             (1u << 5)
#define TEXTURE_GRADIENT          (1u << 6)
#define TEXTURE_CHANNEL(flags)    ((flags) >> 8 & 3)
#define TEXTURE_HALF              (1u << 20) /* results of 16 bits */
#define TEXTURE_PAIRS             (1u << 21) /* two in a register */
#define SURFACE_MODE(flags)       ((flags) >> 8 & 3)
#define SURFACE_BYTES(flags)      ((flags) >> 12 & 15) /* of a value */
#define SURFACE_COUNT(flags)      ((flags) >> 16 & 7)
#define SURFACE_FORMATTED         (1u << 20)
#define SURFACE_OP(flags)         ((flags) >> 24 & 15) /* enum atom_op */
#define SURFACE_TYPE(flags)       ((flags) >> 28 & 15) /* enum atom_type */

/* Kernels may race on texels; that is their business. */
#define RACY __attribute__((no_sanitize("thread")))

struct source {
    struct warp *w;
    const struct insn *in;
    const struct texture_form *form;
    struct cuda_texture t;
    struct cuda_texture_level level; /* whose texels are read */
    uint32_t number;                 /* of that level */
    uint64_t handle, sampler;        /* what is open */
    uint32_t texel;                  /* bytes; 0: nothing is open */
    struct window window;            /* where the last texel was */
    unsigned lane;
    bool failed; /* the warp has */
};

/* The four values of a texel, as bits: integers, or floats where floats are read. */
struct texel {
    uint32_t bits[4];
};

static inline uint32_t source_slot(const struct source *s, uint32_t slot)
{
    return ((const uint32_t *)(const void *)SLOT(s->w, slot))[s->lane];
}

static inline float source_float(const struct source *s, uint32_t slot)
{
    return ((const float *)(const void *)SLOT(s->w, slot))[s->lane];
}

void source_fail(struct source *s, enum ptx_fault fault, uint64_t address);
/* For each lane of `left`: opens what its handle stands for, mostly the same for all. Magic 0: a
 * texture, a surface or a sampler. */
bool source_next(struct source *s, uint32_t *left, uint32_t magic);
/* Opens what the first lane's handle stands for. Not there: nothing has happened. */
bool source_peek(struct source *s, uint32_t lanes, uint32_t magic);
/* Which level texels are read of: one that there is. */
void source_set_level(struct source *s, uint32_t level);
/* Host memory of bytes of device memory; NULL: the warp has failed. */
uint8_t *source_reach(struct source *s, uint64_t address, uint32_t bytes, bool write);
/* A texel; -1 of a dimension: outside of it. */
struct texel source_texel(struct source *s, const int64_t *at);

#endif
