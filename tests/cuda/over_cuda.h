/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_OVER_CUDA_H
#define VIADUCT_TEST_OVER_CUDA_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <compute/cuda/cuda.h>

/* What the suite of kernels needs of the executor, made of calls of the driver API: the same suite
 * runs through libcuda.so.1. */

struct ptx_context {
    CUcontext cuda;
    void (*print)(void *user, const char *text, size_t size);
};

struct ptx_module {
    CUmodule cuda;
};

struct ptx_kernel {
    CUfunction cuda;
};

struct ptx_options {
    void (*print)(void *user, const char *text, size_t size);
};

struct ptx_result {
    char text[192];
};

struct ptx_launch {
    uint32_t grid[3], block[3], shared_bytes;
    const void *parameters;
    size_t parameter_bytes;
};

static struct ptx_context the_context;
static struct ptx_module the_module;
static struct ptx_kernel the_kernel;

static int ptx_context_create(const struct ptx_options *options, struct ptx_context **ret_context)
{
    the_context.print = options->print;
    *ret_context = &the_context;
    return cuInit(0) || cuCtxCreate_v2(&the_context.cuda, 0, 0) ? -1 : 0;
}

static void ptx_context_destroy(struct ptx_context *context)
{
    cuCtxDestroy_v2(context->cuda);
}

static int ptx_module_create(struct ptx_context *context, const char *text, size_t size, char *log,
                             size_t log_size, struct ptx_module **ret_module)
{
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)log_size};

    (void)context;
    (void)size; /* the suite's buffer ends with zeros */
    *ret_module = &the_module;
    return cuModuleLoadDataEx(&the_module.cuda, text, 2, options, values) ? -1 : 0;
}

static void ptx_module_destroy(struct ptx_module *module)
{
    cuModuleUnload(module->cuda);
}

static int ptx_module_kernel(struct ptx_module *module, const char *name,
                             struct ptx_kernel **ret_kernel)
{
    *ret_kernel = &the_kernel;
    return cuModuleGetFunction(&the_kernel.cuda, module->cuda, name) ? -1 : 0;
}

static int ptx_memory_create(struct ptx_context *context, uint64_t size, uint64_t *ret_address)
{
    CUdeviceptr address;

    (void)context;
    if (cuMemAlloc_v2(&address, size) || cuMemsetD8Async(address, 0, size, NULL))
        return -1;
    *ret_address = address;
    return 0;
}

static int ptx_memory_write(struct ptx_context *context, uint64_t address, const void *data,
                            uint64_t size)
{
    (void)context;
    return cuMemcpyHtoD_v2(address, data, size) ? -1 : 0;
}

static int ptx_memory_read(struct ptx_context *context, uint64_t address, void *data, uint64_t size)
{
    (void)context;
    return cuMemcpyDtoH_v2(data, address, size) ? -1 : 0;
}

static int ptx_memory_destroy(struct ptx_context *context, uint64_t address)
{
    (void)context;
    return cuMemFree_v2(address) ? -1 : 0;
}

/* What a kernel prints goes to the standard output, which is a buffer meanwhile. */
static int ptx_launch(struct ptx_kernel *kernel, const struct ptx_launch *l,
                      struct ptx_result *ret_result)
{
    size_t bytes = l->parameter_bytes, size = 0;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, (void *)(uintptr_t)l->parameters,
                     CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END};
    FILE *real = stdout;
    const char *name;
    char *text = NULL;
    CUresult err;

    stdout = open_memstream(&text, &size);
    if (!stdout)
        abort();
    err = cuLaunchKernel(kernel->cuda, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1],
                         l->block[2], l->shared_bytes, NULL, NULL, extra);
    if (!err)
        err = cuCtxSynchronize();
    fclose(stdout);
    stdout = real;
    the_context.print(NULL, text, size);
    free(text);
    if (err && !cuGetErrorName(err, &name))
        snprintf(ret_result->text, sizeof(ret_result->text), "%s", name);
    return err ? -1 : 0;
}

#endif
