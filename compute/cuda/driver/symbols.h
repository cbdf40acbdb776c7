/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_SYMBOLS_H
#define VIADUCT_CUDA_SYMBOLS_H

#include <stdbool.h>

#include <compute/cuda/constants.h>

/* The newest form of a function of the API that `version` of CUDA knows; NULL: see the status. */
int (*symbols_find(const char *name, int version, bool per_thread,
                   CUdriverProcAddressQueryResult *ret_status))(void);

#endif
