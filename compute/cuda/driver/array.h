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
    bool level;     /* of a mipmapped array, whose memory it is */
    struct CUarray_st *next;
};

/* Of an array, or all levels of a mipmapped one: each of them is an array, too. */
struct CUmipmappedArray_st {
    struct CUctx_st *context;
    struct cuda_texture texture; /* where it is, and its shape */
    struct CUarray_st levels[CUDA_TEXTURE_LEVELS];
    unsigned count;
    struct CUmipmappedArray_st *next;
};

/* Whether such an array can be; how it is laid out, without an address, and its bytes. */
CUresult array_check(const CUDA_ARRAY3D_DESCRIPTOR *d, const struct CUctx_st *c, bool mipmapped);
static inline struct cuda_array_shape array_shape(const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned levels)
{
    return (struct cuda_array_shape){(uint32_t)d->Width,
                                     (uint32_t)d->Height,
                                     (uint32_t)d->Depth,
                                     d->Format,
                                     d->NumChannels,
                                     d->Flags,
                                     levels};
}
uint64_t array_lay_out(const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned levels,
                       struct cuda_texture *ret_texture);
void array_drop_context(struct CUctx_st *c);

/* mipmap.c */
void mipmap_drop_context(struct CUctx_st *c);

/* view.c: what a view makes of an array of this shape. */
CUresult view_apply(const CUDA_RESOURCE_VIEW_DESC *v, const CUDA_ARRAY3D_DESCRIPTOR *shape,
                    struct cuda_texture *t);

/* texture.c */
void texture_drop_context(struct CUctx_st *c);
/* What a resource and a sampler say; errors are those of the API. `view` may be NULL. */
CUresult texture_describe(const CUDA_RESOURCE_DESC *r, const CUDA_RESOURCE_VIEW_DESC *view,
                          struct CUctx_st *c, struct cuda_texture *t);
CUresult texture_set_sampler(struct cuda_texture *t, const CUDA_TEXTURE_DESC *d);
/* Both give up the lock while they wait. */
CUresult texture_write(struct CUctx_st *c, uint64_t address, const struct cuda_texture *t);
CUresult texture_read(struct CUctx_st *c, uint64_t address, struct cuda_texture *t);

/* reference.c */
void reference_drop_module(struct CUmod_st *m);
void reference_drop_context(struct CUctx_st *c);

/* memory.c: device memory that the program has no address of, gone with its context at the latest.
 * Gives up the lock meanwhile. */
CUresult memory_hidden(struct CUctx_st *c, size_t size, uint64_t *ret_address);
/* The same for an array, of levels if there are any: the backend may have arrays of its own. */
CUresult memory_array(struct CUctx_st *c, const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned levels,
                      size_t size, uint64_t *ret_address);
void memory_hidden_free(uint64_t address);

#endif
