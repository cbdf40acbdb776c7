/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_MANAGED_H
#define VIADUCT_CUDA_MANAGED_H

#include "internal.h"

/* Variables of modules in managed memory. With the lock. */

struct managed {
    char *text; /* to be compiled instead, to be freed; NULL: the module has no such variables */
    size_t size;
    uint64_t memory; /* theirs, for managed_free; 0: none */
};

/* Takes memory for what a text defines. */
CUresult managed_place(struct CUctx_st *c, const char *text, size_t size, struct managed *ret);
/* The module is gone. */
void managed_free(uint64_t memory);

#endif
