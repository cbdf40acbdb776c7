/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "runtime.h"

/* Launches, what kernels are like, occupancy. */

#define LAUNCH_NESTED 8

/* What `<<<>>>` says, until the stub of the kernel takes it; nested in arguments of a launch. */
static _Thread_local struct {
    struct dim3 grid, block;
    size_t shared;
    CUstream stream;
} launch_stack[LAUNCH_NESTED];
static _Thread_local unsigned launch_depth;

RT unsigned __cudaPushCallConfiguration(struct dim3 grid, struct dim3 block, size_t shared,
                                        CUstream stream);
RT unsigned __cudaPushCallConfiguration(struct dim3 grid, struct dim3 block, size_t shared,
                                        CUstream stream)
{
    if (launch_depth == LAUNCH_NESTED)
        return 1;
    launch_stack[launch_depth].grid = grid;
    launch_stack[launch_depth].block = block;
    launch_stack[launch_depth].shared = shared;
    launch_stack[launch_depth++].stream = stream;
    return 0;
}

RT cudaError_t __cudaPopCallConfiguration(struct dim3 *grid, struct dim3 *block, size_t *shared,
                                          CUstream *stream);
RT cudaError_t __cudaPopCallConfiguration(struct dim3 *grid, struct dim3 *block, size_t *shared,
                                          CUstream *stream)
{
    if (!launch_depth)
        return runtime_leave(52); /* cudaErrorMissingConfiguration */
    launch_depth--;
    *grid = launch_stack[launch_depth].grid;
    *block = launch_stack[launch_depth].block;
    *shared = launch_stack[launch_depth].shared;
    *stream = launch_stack[launch_depth].stream;
    return 0;
}

static cudaError_t launch(const void *host, struct dim3 grid, struct dim3 block, void **args,
                          size_t shared, CUstream stream, bool cooperative)
{
    CUfunction function = NULL;
    cudaError_t err = runtime_enter();

    if (!err)
        err = register_function(host, &function);
    if (!err)
        err = cooperative
                  ? (int)cuLaunchCooperativeKernel(function, grid.x, grid.y, grid.z, block.x,
                                                   block.y, block.z, (unsigned)shared, stream, args)
                  : (int)cuLaunchKernel(function, grid.x, grid.y, grid.z, block.x, block.y, block.z,
                                        (unsigned)shared, stream, args, NULL);
    /* The driver API calls a size that cannot be a value, this one a configuration. */
    if (err == RT_INVALID_VALUE)
        err = RT_INVALID_CONFIGURATION;
    return runtime_leave(err);
}

RT cudaError_t cudaLaunchKernel(const void *host, struct dim3 grid, struct dim3 block, void **args,
                                size_t shared, CUstream stream);
RT cudaError_t cudaLaunchKernel(const void *host, struct dim3 grid, struct dim3 block, void **args,
                                size_t shared, CUstream stream)
{
    return launch(host, grid, block, args, shared, stream, false);
}

RT cudaError_t cudaLaunchKernel_ptsz(const void *host, struct dim3 grid, struct dim3 block,
                                     void **args, size_t shared, CUstream stream);
RT cudaError_t cudaLaunchKernel_ptsz(const void *host, struct dim3 grid, struct dim3 block,
                                     void **args, size_t shared, CUstream stream)
{
    return launch(host, grid, block, args, shared, RT_STREAM_PT(stream), false);
}

RT cudaError_t cudaLaunchCooperativeKernel(const void *host, struct dim3 grid, struct dim3 block,
                                           void **args, size_t shared, CUstream stream);
RT cudaError_t cudaLaunchCooperativeKernel(const void *host, struct dim3 grid, struct dim3 block,
                                           void **args, size_t shared, CUstream stream)
{
    return launch(host, grid, block, args, shared, stream, true);
}

/*
 * Stubs of newer compilers ask for a handle once and launch that: it is the host address, which
 * holds for every device and after a reset.
 */
RT cudaError_t __cudaGetKernel(const void **ret_kernel, const void *host);
RT cudaError_t __cudaGetKernel(const void **ret_kernel, const void *host)
{
    *ret_kernel = host;
    return 0;
}

RT cudaError_t __cudaLaunchKernel(const void *kernel, struct dim3 grid, struct dim3 block,
                                  void **args, size_t shared, CUstream stream);
RT cudaError_t __cudaLaunchKernel(const void *kernel, struct dim3 grid, struct dim3 block,
                                  void **args, size_t shared, CUstream stream)
{
    return launch(kernel, grid, block, args, shared, stream, false);
}

RT cudaError_t __cudaLaunchKernel_ptsz(const void *kernel, struct dim3 grid, struct dim3 block,
                                       void **args, size_t shared, CUstream stream);
RT cudaError_t __cudaLaunchKernel_ptsz(const void *kernel, struct dim3 grid, struct dim3 block,
                                       void **args, size_t shared, CUstream stream)
{
    return launch(kernel, grid, block, args, shared, RT_STREAM_PT(stream), false);
}

struct launch_config { /* cudaLaunchConfig_t */
    struct dim3 grid, block;
    size_t shared;
    CUstream stream;
    CUlaunchAttribute *attributes;
    unsigned count;
};

static cudaError_t launch_ex(const struct launch_config *config, const void *host, void **args,
                             bool per_thread)
{
    CUfunction function = NULL;
    CUlaunchConfig driver;
    cudaError_t err = runtime_enter();

    if (!err && !config)
        err = RT_INVALID_VALUE;
    if (!err)
        err = register_function(host, &function);
    if (err)
        return runtime_leave(err);
    driver = (CUlaunchConfig){
        config->grid.x,     config->grid.y,  config->grid.z,           config->block.x,
        config->block.y,    config->block.z, (unsigned)config->shared, config->stream,
        config->attributes, config->count,
    };
    if (per_thread)
        driver.hStream = RT_STREAM_PT(driver.hStream);
    err = (int)cuLaunchKernelEx(&driver, function, args, NULL);
    return runtime_leave(err == RT_INVALID_VALUE ? RT_INVALID_CONFIGURATION : err);
}

RT cudaError_t cudaLaunchKernelExC(const struct launch_config *config, const void *host,
                                   void **args);
RT cudaError_t cudaLaunchKernelExC(const struct launch_config *config, const void *host,
                                   void **args)
{
    return launch_ex(config, host, args, false);
}

RT cudaError_t cudaLaunchKernelExC_ptsz(const struct launch_config *config, const void *host,
                                        void **args);
RT cudaError_t cudaLaunchKernelExC_ptsz(const struct launch_config *config, const void *host,
                                        void **args)
{
    return launch_ex(config, host, args, true);
}

struct function_attributes {
    size_t sharedSizeBytes, constSizeBytes, localSizeBytes;
    int maxThreadsPerBlock, numRegs, ptxVersion, binaryVersion, cacheModeCA;
    int maxDynamicSharedSizeBytes, preferredShmemCarveout;
    int rest[6 + 16]; /* of clusters; reserved */
};

RT cudaError_t cudaFuncGetAttributes(struct function_attributes *attributes, const void *host);
RT cudaError_t cudaFuncGetAttributes(struct function_attributes *attributes, const void *host)
{
    CUfunction function = NULL;
    int value[10] = {0};
    cudaError_t err = runtime_enter();

    if (!err)
        err = register_function(host, &function);
    /* In the order of the driver API's numbers. */
    for (int i = 0; i < 10 && !err; i++)
        err = (int)cuFuncGetAttribute(&value[i], (CUfunction_attribute)i, function);
    if (err)
        return runtime_leave(err);
    memset(attributes, 0, sizeof(*attributes));
    attributes->maxThreadsPerBlock = value[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK];
    attributes->sharedSizeBytes = (size_t)value[CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES];
    attributes->constSizeBytes = (size_t)value[CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES];
    attributes->localSizeBytes = (size_t)value[CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES];
    attributes->numRegs = value[CU_FUNC_ATTRIBUTE_NUM_REGS];
    attributes->ptxVersion = value[CU_FUNC_ATTRIBUTE_PTX_VERSION];
    attributes->binaryVersion = value[CU_FUNC_ATTRIBUTE_BINARY_VERSION];
    attributes->cacheModeCA = value[CU_FUNC_ATTRIBUTE_CACHE_MODE_CA];
    attributes->maxDynamicSharedSizeBytes = value[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES];
    attributes->preferredShmemCarveout = value[CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT];
    return 0;
}

RT cudaError_t cudaFuncSetAttribute(const void *host, int attribute, int value);
RT cudaError_t cudaFuncSetAttribute(const void *host, int attribute, int value)
{
    CUfunction function = NULL;
    cudaError_t err = runtime_enter();

    if (!err)
        err = register_function(host, &function);
    return runtime_leave(
        err ? err : (int)cuFuncSetAttribute(function, (CUfunction_attribute)attribute, value));
}

RT cudaError_t cudaFuncSetCacheConfig(const void *host, int config);
RT cudaError_t cudaFuncSetCacheConfig(const void *host, int config)
{
    CUfunction function = NULL;
    cudaError_t err = runtime_enter();

    if (!err)
        err = register_function(host, &function);
    return runtime_leave(err ? err : (int)cuFuncSetCacheConfig(function, (CUfunc_cache)config));
}

RT cudaError_t cudaGetFuncBySymbol(CUfunction *ret_function, const void *host);
RT cudaError_t cudaGetFuncBySymbol(CUfunction *ret_function, const void *host)
{
    cudaError_t err = runtime_enter();

    return runtime_leave(err ? err : register_function(host, ret_function));
}

RT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *host,
                                                                      int threads, size_t dynamic,
                                                                      unsigned flags);
RT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *host,
                                                                      int threads, size_t dynamic,
                                                                      unsigned flags)
{
    CUfunction function = NULL;
    cudaError_t err = runtime_enter();

    if (!err)
        err = register_function(host, &function);
    return runtime_leave(err ? err
                             : (int)cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
                                   blocks, function, threads, dynamic, flags));
}

RT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *host,
                                                             int threads, size_t dynamic);
RT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *host,
                                                             int threads, size_t dynamic)
{
    return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, host, threads, dynamic,
                                                                  0);
}
