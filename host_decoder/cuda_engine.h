/* SPDX-License-Identifier: MIT */
#ifndef HOST_CUDA_ENGINE_H
#define HOST_CUDA_ENGINE_H

#include <stdint.h>

struct cuda_backend;

/*
 * Chooses what runs CUDA, once, in the nursery: "" or "auto" for the best there is, "ptx", "idle"
 * (the executor, which does not run kernels), "none". `ret_backend` is NULL for none.
 * -VD_ERR_UNSUPPORTED, with a line in the log, if it is not there.
 */
int cuda_engine_select(const char *name, uint64_t bytes, uint32_t seconds,
                       const struct cuda_backend **ret_backend);

#endif
