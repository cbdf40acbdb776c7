/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_ARRAY_H
#define VIADUCT_CUDA_ARRAY_H

#include <compute/cuda/texture.h>

#include "internal.h"

/* What copies and textures need of arrays; with the lock. */

struct CUarray_st {
    struct CUctx_st *context;
    CUDA_ARRAY3D_DESCRIPTOR shape;
    uint64_t address, pitch, slice;
    uint32_t texel; /* bytes */
    struct CUarray_st *next;
};

void array_drop_context(struct CUctx_st *c);

/* texture.c */
void texture_drop_context(struct CUctx_st *c);
/* What a resource and a sampler say; errors are those of the API. */
CUresult texture_describe(const CUDA_RESOURCE_DESC *r, struct CUctx_st *c, struct cuda_texture *t);
CUresult texture_set_sampler(struct cuda_texture *t, const CUDA_TEXTURE_DESC *d);
/* Gives up the lock while it waits. */
CUresult texture_write(struct CUctx_st *c, uint64_t address, const struct cuda_texture *t);

/* reference.c */
void reference_drop_module(struct CUmod_st *m);

/* memory.c: device memory that the program has no address of, gone with its context at the latest.
 * Gives up the lock meanwhile. */
CUresult memory_hidden(struct CUctx_st *c, size_t size, uint64_t *ret_address);
void memory_hidden_free(uint64_t address);

#endif
