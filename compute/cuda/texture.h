/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_TEXTURE_H
#define VIADUCT_CUDA_TEXTURE_H

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

/* Where texels lie, what a dimension is. */
enum {
    CUDA_TEXTURE_LINEAR = 1 << 0,  /* memory of one dimension: outside of it lies zero */
    CUDA_TEXTURE_LAYERED = 1 << 1, /* depth counts layers, of a cube map faces */
};

struct cuda_texture {
    uint32_t magic, layout;
    uint64_t address, pitch, slice; /* of the first texel; bytes from row to row, image to image */
    uint32_t width, height, depth;  /* texels, rows, images; at least 1 each */
    uint32_t format, channels;      /* CU_AD_FORMAT_…; 1, 2, 4 */
    uint32_t flags;                 /* CU_TRSF_… */
    uint32_t modes[3], filter;      /* CU_TR_ADDRESS_MODE_…, CU_TR_FILTER_MODE_… */
    float border[4];
    uint32_t reserved[10];
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

#endif
