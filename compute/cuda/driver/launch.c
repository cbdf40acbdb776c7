/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <compute/cuda/occupancy.h>
#include <compute/cuda/ptx/ptx.h>

#include "graph.h"
#include "internal.h"

/* Functions: what they are, how many blocks of them fit, and their launches. */

#define MAX_PARAMETERS 32764u /* bytes, the API's limit */

/* Takes the lock. */
static CUresult enter_function(CUfunction handle, struct CUfunc_st **ret_function)
{
    struct CUctx_st *c;
    CUresult err = enter();

    if (err)
        return err;
    err = context_any(&c);
    if (!err)
        err = function_find(handle, c, ret_function);
    return err ? leave(err) : CUDA_SUCCESS;
}

API cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function)
{
    struct CUfunc_st *f;
    CUresult err = enter_function(function, &f);

    if (err)
        return err;
    if (!value)
        return leave(CUDA_ERROR_INVALID_VALUE);
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *value = (int)f->info->max_threads;
        break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
        *value = (int)f->info->shared_bytes;
        break;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
        *value = (int)f->info->const_bytes;
        break;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
        *value = (int)f->info->local_bytes;
        break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *value = (int)f->info->registers;
        break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
        *value = (int)f->info->ptx_version;
        break;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
        *value = CUDA_CAPABILITY;
        break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *value = f->dynamic_shared;
        break;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        *value = f->carveout;
        break;
    default:
        *value = 0;
        if ((unsigned)attribute >= CU_FUNC_ATTRIBUTE_MAX)
            err = CUDA_ERROR_INVALID_VALUE;
    }
    return leave(err);
}

API cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value)
{
    struct CUfunc_st *f;
    CUresult err = enter_function(function, &f);

    if (err)
        return err;
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        if (value < 0 || (unsigned)value + f->info->shared_bytes > PTX_MAX_SHARED)
            err = CUDA_ERROR_INVALID_VALUE;
        else
            f->dynamic_shared = value;
        break;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        if (value < -1 || value > 100)
            err = CUDA_ERROR_INVALID_VALUE;
        else
            f->carveout = value;
        break;
    default:
        err = CUDA_ERROR_INVALID_VALUE;
    }
    return leave(err);
}

API cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config)
{
    struct CUfunc_st *f;
    CUresult err = enter_function(function, &f);

    if (err)
        return err;
    return leave((unsigned)config > 3 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS);
}

API cuFuncSetSharedMemConfig(CUfunction function, CUsharedconfig config)
{
    return cuFuncSetCacheConfig(function, (CUfunc_cache)config);
}

API cuFuncGetModule(CUmodule *module, CUfunction function)
{
    struct CUfunc_st *f;
    CUresult err = enter_function(function, &f);

    if (err)
        return err;
    if (!module)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *module = f->module;
    return leave(CUDA_SUCCESS);
}

API cuFuncGetName(const char **name, CUfunction function)
{
    struct CUfunc_st *f;
    CUresult err = enter_function(function, &f);

    if (err)
        return err;
    if (!name)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *name = f->info->name;
    return leave(CUDA_SUCCESS);
}

API cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *size)
{
    struct CUfunc_st *f;
    CUresult err = enter_function(function, &f);

    if (err)
        return err;
    if (!offset || index >= f->info->parameter_count)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *offset = f->info->parameters[index].offset;
    if (size)
        *size = f->info->parameters[index].size;
    return leave(CUDA_SUCCESS);
}

API cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction function)
{
    struct CUfunc_st *f;
    CUresult err = enter_function(function, &f);

    if (err)
        return err;
    if (!state)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *state = CU_FUNCTION_LOADING_STATE_LOADED;
    return leave(CUDA_SUCCESS);
}

API cuFuncLoad(CUfunction function)
{
    struct CUfunc_st *f;
    CUresult err = enter_function(function, &f);

    return err ? err : leave(CUDA_SUCCESS);
}

static int active_blocks(const struct CUfunc_st *f, int threads, size_t dynamic)
{
    const struct occupancy_kernel k = {f->info->registers, f->info->shared_bytes,
                                       f->info->max_threads};

    return occupancy_blocks(device_properties(f->module->context->device)->multiprocessors, &k,
                            threads, dynamic);
}

API cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function,
                                                         int threads, size_t dynamic,
                                                         unsigned flags)
{
    struct CUfunc_st *f;
    CUresult err = enter_function(function, &f);

    if (err)
        return err;
    if (!blocks || threads < 1 || flags & ~1u)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *blocks = active_blocks(f, threads, dynamic);
    return leave(CUDA_SUCCESS);
}

API cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads,
                                                size_t dynamic)
{
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads, dynamic,
                                                                0);
}

API cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *block, CUfunction function,
                                              CUoccupancyB2DSize dynamic_of, size_t dynamic,
                                              int limit, unsigned flags)
{
    int best = 0, best_blocks = 0;
    struct CUfunc_st *f;
    CUresult err = enter_function(function, &f);

    if (err)
        return err;
    if (!grid || !block || limit < 0 || flags & ~1u)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (!limit || limit > (int)f->info->max_threads)
        limit = (int)f->info->max_threads;
    for (int threads = (limit + 31) / 32 * 32; threads > 0; threads -= 32) {
        int n = threads > limit ? limit : threads;
        int blocks = active_blocks(f, n, dynamic_of ? dynamic_of(n) : dynamic);

        if (blocks * n > best_blocks * best) {
            best = n;
            best_blocks = blocks;
        }
    }
    *block = best;
    *grid = best_blocks * (int)device_properties(f->module->context->device)->multiprocessors;
    return leave(CUDA_SUCCESS);
}

API cuOccupancyMaxPotentialBlockSize(int *grid, int *block, CUfunction function,
                                     CUoccupancyB2DSize dynamic_of, size_t dynamic, int limit)
{
    return cuOccupancyMaxPotentialBlockSizeWithFlags(grid, block, function, dynamic_of, dynamic,
                                                     limit, 0);
}

API cuOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, CUfunction function, int blocks,
                                            int threads)
{
    struct CUfunc_st *f;
    size_t room;
    CUresult err = enter_function(function, &f);

    if (err)
        return err;
    if (!bytes || blocks < 1 || threads < 1 || blocks > active_blocks(f, threads, 0))
        return leave(CUDA_ERROR_INVALID_VALUE);
    room = (size_t)(228 << 10) / (size_t)blocks;
    if (room > PTX_MAX_SHARED)
        room = PTX_MAX_SHARED;
    *bytes = room - f->info->shared_bytes;
    return leave(CUDA_SUCCESS);
}

/* `ret_owned` is to be freed; parameters that come in one buffer need none. */
static CUresult gather(const struct cuda_kernel_info *k, void **parameters, void **extra,
                       struct cuda_command *c, void **ret_owned)
{
    const void *buffer = NULL;
    size_t size = 0;
    uint8_t *packed;

    if (extra) {
        if (parameters)
            return CUDA_ERROR_INVALID_VALUE;
        for (; *extra != CU_LAUNCH_PARAM_END; extra += 2)
            if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
                buffer = extra[1];
            else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE)
                size = *(const size_t *)extra[1];
            else
                return CUDA_ERROR_INVALID_VALUE;
        if (size < k->parameter_bytes || (k->parameter_bytes && !buffer))
            return CUDA_ERROR_INVALID_VALUE;
        c->launch.parameters = buffer;
        c->launch.parameter_bytes = k->parameter_bytes;
        return CUDA_SUCCESS;
    }
    if (!k->parameter_count)
        return CUDA_SUCCESS;
    if (!parameters || k->parameter_bytes > MAX_PARAMETERS)
        return CUDA_ERROR_INVALID_VALUE;
    packed = calloc(1, k->parameter_bytes);
    if (!packed)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < k->parameter_count; i++)
        memcpy(packed + k->parameters[i].offset, parameters[i], k->parameters[i].size);
    c->launch.parameters = packed;
    c->launch.parameter_bytes = k->parameter_bytes;
    *ret_owned = packed;
    return CUDA_SUCCESS;
}

CUresult launch_prepare(CUfunction function, const CUlaunchConfig *g, bool cooperative,
                        void **parameters, void **extra, struct CUctx_st *context,
                        struct cuda_command *ret_command, void **ret_owned)
{
    struct cuda_command c = {.kind = CUDA_LAUNCH,
                             .launch = {.grid = {g->gridDimX, g->gridDimY, g->gridDimZ},
                                        .block = {g->blockDimX, g->blockDimY, g->blockDimZ},
                                        .shared_bytes = g->sharedMemBytes,
                                        .cooperative = cooperative}};
    uint64_t threads = (uint64_t)g->blockDimX * g->blockDimY * g->blockDimZ;
    struct CUfunc_st *f;
    CUresult err = function_find(function, context, &f);

    *ret_owned = NULL;
    if (err)
        return err;
    if (!g->gridDimX || !g->gridDimY || !g->gridDimZ || g->gridDimX > INT32_MAX ||
        g->gridDimY > 65535 || g->gridDimZ > 65535 || !threads || g->blockDimX > 1024 ||
        g->blockDimY > 1024 || g->blockDimZ > 64 || threads > 1024 ||
        g->sharedMemBytes > (unsigned)f->dynamic_shared)
        return CUDA_ERROR_INVALID_VALUE;
    if (threads > f->info->max_threads)
        return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    if (cooperative) {
        unsigned sms = device_properties(context->device)->multiprocessors;

        if ((uint64_t)g->gridDimX * g->gridDimY * g->gridDimZ >
            (uint64_t)active_blocks(f, (int)threads, g->sharedMemBytes) * sms)
            return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    }
    c.launch.kernel = f->info->kernel;
    err = gather(f->info, parameters, extra, &c, ret_owned);
    if (!err)
        *ret_command = c;
    return err;
}

static CUresult launch(CUfunction function, const CUlaunchConfig *g, bool cooperative,
                       void **parameters, void **extra)
{
    struct cuda_command c;
    struct CUstream_st *s;
    void *owned;
    CUresult err = enter_stream(g->hStream, &s);

    if (err)
        return err;
    err = launch_prepare(function, g, cooperative, parameters, extra, s->context, &c, &owned);
    if (err)
        return leave(err);
    err = s->capture ? capture_launch(s, &c, function) : stream_submit(s, &c);
    free(owned);
    return leave(err);
}

API cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                   CUstream stream, void **parameters, void **extra)
{
    CUlaunchConfig g = {grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, NULL, 0};

    return launch(function, &g, false, parameters, extra);
}

API cuLaunchCooperativeKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                              unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                              unsigned shared, CUstream stream, void **parameters)
{
    CUlaunchConfig g = {grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, NULL, 0};

    return launch(function, &g, true, parameters, NULL);
}

API cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters,
                     void **extra)
{
    bool cooperative = false;

    if (!config || (config->numAttrs && !config->attrs))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < config->numAttrs; i++) {
        const CUlaunchAttribute *a = &config->attrs[i];

        switch (a->id) {
        case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
            cooperative = a->value.cooperative != 0;
            break;
        case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
            if (a->value.clusterDim.x > 1 || a->value.clusterDim.y > 1 || a->value.clusterDim.z > 1)
                return CUDA_ERROR_NOT_SUPPORTED;
            break;
        case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
        case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
        case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE:
            return CUDA_ERROR_NOT_SUPPORTED;
        default: /* hints */
            break;
        }
    }
    return launch(function, config, cooperative, parameters, extra);
}
