/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_ADVICE_H
#define VIADUCT_CUDA_ADVICE_H

#include "internal.h"

/* advice.c; with the lock. All of managed memory, within one range, was checked. */

/* Keeps what cuMemAdvise said. */
CUresult advice_set(struct range *r, uint64_t address, uint64_t count, CUmem_advise advice,
                    CUmemLocation place);
/* Keeps where it was prefetched to last. */
CUresult advice_prefetched(struct range *r, uint64_t address, uint64_t count, CUmemLocation place);

#endif
