/* SPDX-License-Identifier: MIT */
#ifndef HOST_CUDA_ENGINE_H
#define HOST_CUDA_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

struct cuda_backend;

/*
 * Chooses what runs CUDA, once, in the nursery: "cuda" or "cuda:/path/of/libcuda.so.1" (the
 * machine's driver and devices), "ptx" (the executor), "idle" (that, but it does not run kernels),
 * "none"; "" or "auto" is cuda where it works, else ptx. `ret_backend` is NULL for none.
 * -VD_ERR_UNSUPPORTED, with a line in the log, if it is not there.
 *
 * The driver is tried in a child process, which the caller must be able to fork (single thread).
 */
int cuda_engine_select(const char *name, uint64_t bytes, uint32_t seconds,
                       const struct cuda_backend **ret_backend);

/*
 * In a worker, before its sandbox closes: starts the driver if this client is one for CUDA, which
 * it looks at its first message for. The socket is NULL's (-1) where CUDA's clients do not come
 * from. False: there is no CUDA here. `ret_devices`: the sandbox has to let a driver of devices
 * work.
 */
bool cuda_engine_enter(const struct cuda_backend *backend, int socket, bool *ret_devices);

#endif
