/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_TEXTURE_H
#define VIADUCT_CUDA_TEXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include <compute/cuda/constants.h>

/*
 * What a kernel's texture or surface instruction has to know. It lies in device memory, where
 * libcuda writes it as it writes all else, and the handle that kernels have is its address: so a
 * back end needs no operation for textures. Whoever reads it copies and checks it first, as kernels
 * and programs may write what they like there; each texel is checked as any load of the kernel is.
 * Little endian; the same in one process and at a host.
 */

#define CUDA_TEXTURE_BYTES 128 /* room for one; also of a variable of type .texref or .surfref */
#define CUDA_TEXTURE_MAGIC 0x58545456u
#define CUDA_SURFACE_MAGIC 0x46535456u
#define CUDA_SAMPLER_MAGIC 0x4d535456u /* .samplerref: no more than modes, filter, flags */

#define CUDA_TEXTURE_ROW    32u /* rows of arrays begin at multiples of it */
#define CUDA_TEXTURE_LEVELS 18u /* 1 + log2 of the widest that there is */

/* Where texels lie, what a dimension is. */
enum {
    CUDA_TEXTURE_LINEAR = 1 << 0,  /* memory of one dimension: outside of it lies zero */
    CUDA_TEXTURE_LAYERED = 1 << 1, /* depth counts layers, of a cube map faces */
    CUDA_SAMPLER_TEXELS = 1 << 2,  /* of a sampler: coordinates are not normalised */
    CUDA_TEXTURE_CUBE = 1 << 3,    /* a cube map's array, for libcuda alone */
};

struct cuda_texture {
    uint32_t magic, layout;
    uint64_t address, pitch, slice; /* of the first texel; bytes from row to row, image to image */
    uint32_t width, height, depth;  /* texels, rows, images; at least 1 each */
    uint32_t format, channels;      /* CU_AD_FORMAT_…; 1, 2, 4 */
    uint32_t flags;                 /* CU_TRSF_… */
    uint32_t modes[3], filter;      /* CU_TR_ADDRESS_MODE_…, CU_TR_FILTER_MODE_… */
    float border[4];
    /* Mipmaps: levels behind the first, where cuda_texture_level says; of a texture with one level
     * all zero. */
    uint32_t more_levels, mip_filter;
    float mip_bias, mip_least, mip_most;
    uint32_t anisotropy; /* at most; 0 as 1 */
    uint32_t reserved[4];
};

_Static_assert(sizeof(struct cuda_texture) == CUDA_TEXTURE_BYTES, "the layout is shared");

/* Bytes of a channel; 0: a format that there is not. */
static inline uint32_t cuda_texture_bytes(uint32_t format)
{
    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8:
        return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF:
        return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT:
        return 4;
    default:
        return 0;
    }
}

/* Channels that an element has. */
static inline bool cuda_texture_channels(uint32_t channels)
{
    return channels == 1 || channels == 2 || channels == 4;
}

/* Whether what is read of it are floats: integers of 8 and 16 bits become such unless they are
 * read as integers. */
static inline bool cuda_texture_floats(uint32_t format, uint32_t flags)
{
    return format == CU_AD_FORMAT_FLOAT || format == CU_AD_FORMAT_HALF ||
           (cuda_texture_bytes(format) < 4 && !(flags & CU_TRSF_READ_AS_INTEGER));
}

struct cuda_texture_level {
    uint64_t address, pitch, slice;
    uint32_t width, height, depth;
};

/*
 * Where a level of a mipmap is: behind the one before, half as large in each dimension. Layers do
 * not get fewer, each has all of its levels together: so a slice is as large in all of them.
 */
static inline struct cuda_texture_level cuda_texture_level(const struct cuda_texture *t,
                                                           uint32_t level)
{
    uint32_t texel = cuda_texture_bytes(t->format) * t->channels;
    bool layered = t->layout & CUDA_TEXTURE_LAYERED;
    struct cuda_texture_level l = {t->address, t->pitch, t->slice, t->width, t->height, t->depth};

    while (level--) {
        l.address += l.pitch * l.height * (layered ? 1 : l.depth);
        l.width = l.width > 1 ? l.width / 2 : 1;
        l.height = l.height > 1 ? l.height / 2 : 1;
        l.pitch = ((uint64_t)l.width * texel + CUDA_TEXTURE_ROW - 1) / CUDA_TEXTURE_ROW *
                  CUDA_TEXTURE_ROW;
        if (!layered) {
            l.depth = l.depth > 1 ? l.depth / 2 : 1;
            l.slice = l.pitch * l.height;
        }
    }
    return l;
}

/* An array. Extents are 0 for dimensions that are not there. */
struct cuda_array_shape {
    uint32_t width, height, depth;
    uint32_t format, channels; /* CU_AD_FORMAT_… */
    uint32_t flags;            /* CUDA_ARRAY3D_… */
    uint32_t levels;           /* 0: not mipmapped */
};

/* Its layout, without an address; the bytes of all of it. Extents are at most 2^18. */
static inline uint64_t cuda_texture_lay_out(const struct cuda_array_shape *s,
                                            struct cuda_texture *ret_texture)
{
    struct cuda_texture t = {.width = s->width,
                             .height = s->height ? s->height : 1,
                             .depth = s->depth ? s->depth : 1,
                             .format = s->format,
                             .channels = s->channels,
                             .more_levels = s->levels ? s->levels - 1 : 0};
    struct cuda_texture_level last;

    if (s->flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP))
        t.layout |= CUDA_TEXTURE_LAYERED;
    if (s->flags & CUDA_ARRAY3D_CUBEMAP)
        t.layout |= CUDA_TEXTURE_CUBE;
    t.pitch =
        ((uint64_t)t.width * cuda_texture_bytes(t.format) * t.channels + CUDA_TEXTURE_ROW - 1) /
        CUDA_TEXTURE_ROW * CUDA_TEXTURE_ROW;
    t.slice = t.pitch * t.height;
    last = cuda_texture_level(&t, t.more_levels);
    if (t.layout & CUDA_TEXTURE_LAYERED)
        t.slice = last.address + last.pitch * last.height;
    *ret_texture = t;
    return t.layout & CUDA_TEXTURE_LAYERED ? t.slice * t.depth
                                           : last.address + last.pitch * last.height * last.depth;
}

#endif
