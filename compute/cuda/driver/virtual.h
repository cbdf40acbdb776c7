/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_VIRTUAL_H
#define VIADUCT_CUDA_VIRTUAL_H

#include <stdbool.h>
#include <stdint.h>

#include <compute/cuda/backend/vmm.h>

/* virtual.c; with the lock: addresses that cuMemAddressReserve gave, mapped or not. */
bool virtual_is_reserved(uint64_t address);
/* Whether all of it may be accessed. */
bool virtual_has(uint64_t address, uint64_t size, enum vmm_access access);

#endif
