/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_REFERENCE_H
#define VIADUCT_CUDA_REFERENCE_H

#include "array.h"

struct CUtexref_st {
    struct CUctx_st *context;
    struct CUmod_st *module; /* NULL: one of cuTexRefCreate, which no kernel reads */
    uint64_t address;        /* of the variable */
    uint32_t magic;
    bool bound;
    CUDA_RESOURCE_DESC resource;
    CUDA_TEXTURE_DESC texture;
    CUarray_format format; /* for memory; 0: not yet said */
    unsigned channels;
    struct CUtexref_st *next;
};

/* Takes the lock if it is CUDA_SUCCESS. */
CUresult reference_enter(const struct CUtexref_st *r, uint32_t magic);
/* With the lock, which is given up meanwhile. Tells the variable what has changed. */
CUresult reference_apply(struct CUtexref_st *r);
/* The same, with a new resource; the old one stays when the new one cannot be. */
CUresult reference_bind(struct CUtexref_st *r, const CUDA_RESOURCE_DESC *resource);
/* The same of how it is read. */
CUresult reference_describe(struct CUtexref_st *r, const CUDA_TEXTURE_DESC *how);

#endif
