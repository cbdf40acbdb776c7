/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_EXTERNAL_H
#define VIADUCT_CUDA_EXTERNAL_H

#include "internal.h"

/* external.c; with the lock, which is given up meanwhile: pages of a descriptor's memory as device
 * memory. external_unmap undoes it. */
CUresult external_map(int fd, uint64_t offset, uint64_t size, void **ret_memory);

#endif
