/* SPDX-License-Identifier: MIT */
#include "cuda_engine.h"

#include <stdbool.h>
#include <string.h>

#include <viaduct/errors.h>
#include <wire/log.h>

#include "config.h"

#if HAVE_CUDA
#include <compute/cuda/device.h>
#endif

int cuda_engine_select(const char *name, uint64_t bytes, uint32_t seconds,
                       const struct cuda_backend **ret_backend)
{
#if HAVE_CUDA
    struct cuda_limits limits = {.bytes = bytes, .seconds = seconds};
    struct cuda_properties look;
    unsigned count;
#endif

    *ret_backend = NULL;
    if (!strcmp(name, "none"))
        return 0;
#if HAVE_CUDA
    if (!*name || !strcmp(name, "auto") || !strcmp(name, "ptx") || !strcmp(name, "idle")) {
        limits.idle = !strcmp(name, "idle");
        ptx_set_limits(&limits);
        /* What a sandboxed worker could not ask the machine any more. */
        if (!cuda_backend_ptx.count(&count) && !cuda_backend_ptx.properties(0, &look))
            *ret_backend = &cuda_backend_ptx;
        return 0;
    }
#else
    (void)bytes, (void)seconds;
    if (!*name || !strcmp(name, "auto"))
        return 0;
#endif
    log_error("--cuda %s: there is no such thing in this build", name);
    return VD_ERR_UNSUPPORTED;
}
