/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "runtime.h"

/* Libraries and kernels that programs load by hand, entry points of the driver, external memory. */

#define FORWARD(name, call, ...)            \
    RT cudaError_t cuda##name(__VA_ARGS__); \
    RT cudaError_t cuda##name(__VA_ARGS__)  \
    {                                       \
        RT_RETURN(call);                    \
    }

/* The newest release of this major version: functions that came later are not found. */
#define ENTRY_VERSION (CUDART_MAJOR == 12 ? 12090 : CUDART_MAJOR * 1000)

FORWARD(LibraryLoadData,
        cuLibraryLoadData(library, code, jit, jit_values, jit_count, options, values, count),
        CUlibrary *library, const void *code, CUjit_option *jit, void **jit_values,
        unsigned jit_count, CUlibraryOption *options, void **values, unsigned count)
FORWARD(LibraryLoadFromFile,
        cuLibraryLoadFromFile(library, path, jit, jit_values, jit_count, options, values, count),
        CUlibrary *library, const char *path, CUjit_option *jit, void **jit_values,
        unsigned jit_count, CUlibraryOption *options, void **values, unsigned count)
FORWARD(LibraryUnload, cuLibraryUnload(library), CUlibrary library)
FORWARD(LibraryGetKernel, cuLibraryGetKernel(kernel, library, name), CUkernel *kernel,
        CUlibrary library, const char *name)
FORWARD(LibraryGetKernelCount, cuLibraryGetKernelCount(count, library), unsigned *count,
        CUlibrary library)
FORWARD(LibraryEnumerateKernels, cuLibraryEnumerateKernels(kernels, count, library),
        CUkernel *kernels, unsigned count, CUlibrary library)
FORWARD(LibraryGetGlobal, cuLibraryGetGlobal((CUdeviceptr *)address, bytes, library, name),
        void **address, size_t *bytes, CUlibrary library, const char *name)
FORWARD(LibraryGetManaged, cuLibraryGetManaged((CUdeviceptr *)address, bytes, library, name),
        void **address, size_t *bytes, CUlibrary library, const char *name)
FORWARD(KernelSetAttributeForDevice,
        cuKernelSetAttribute((CUfunction_attribute)attribute, value, kernel, device),
        CUkernel kernel, int attribute, int value, int device)

FORWARD(GetDriverEntryPoint,
        cuGetProcAddress_v2(name, function, ENTRY_VERSION, flags,
                            (CUdriverProcAddressQueryResult *)status),
        const char *name, void **function, unsigned long long flags, int *status)
FORWARD(GetDriverEntryPointByVersion,
        cuGetProcAddress_v2(name, function, (int)version, flags,
                            (CUdriverProcAddressQueryResult *)status),
        const char *name, void **function, unsigned version, unsigned long long flags, int *status)

/* Without a wish for one of the two default streams, that of the thread is meant. */
#define PER_THREAD(flags) ((flags) ? (flags) : CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM)

FORWARD(GetDriverEntryPoint_ptsz,
        cuGetProcAddress_v2(name, function, ENTRY_VERSION, PER_THREAD(flags),
                            (CUdriverProcAddressQueryResult *)status),
        const char *name, void **function, unsigned long long flags, int *status)
FORWARD(GetDriverEntryPointByVersion_ptsz,
        cuGetProcAddress_v2(name, function, (int)version, PER_THREAD(flags),
                            (CUdriverProcAddressQueryResult *)status),
        const char *name, void **function, unsigned version, unsigned long long flags, int *status)

/* A kernel's handle is its host address, as for the stubs of compilers. */
RT cudaError_t cudaGetKernel(const void **ret_kernel, const void *host);
RT cudaError_t cudaGetKernel(const void **ret_kernel, const void *host)
{
    CUfunction function;
    cudaError_t err = runtime_enter();

    if (!err && !ret_kernel)
        err = RT_INVALID_VALUE;
    if (!err)
        err = register_function(host, &function);
    if (!err)
        *ret_kernel = host;
    return runtime_leave(err);
}

RT cudaError_t cudaFuncGetName(const char **name, const void *host);
RT cudaError_t cudaFuncGetName(const char **name, const void *host)
{
    CUfunction function = NULL;
    cudaError_t err = runtime_enter();

    if (!err)
        err = register_function(host, &function);
    return runtime_leave(err ? err : (int)cuFuncGetName(name, function));
}

RT cudaError_t cudaFuncGetParamInfo(const void *host, size_t index, size_t *offset, size_t *size);
RT cudaError_t cudaFuncGetParamInfo(const void *host, size_t index, size_t *offset, size_t *size)
{
    CUfunction function = NULL;
    cudaError_t err = runtime_enter();

    if (!err)
        err = register_function(host, &function);
    return runtime_leave(err ? err : (int)cuFuncGetParamInfo(function, index, offset, size));
}

RT cudaError_t cudaFuncSetSharedMemConfig(const void *host, int config);
RT cudaError_t cudaFuncSetSharedMemConfig(const void *host, int config)
{
    CUfunction function = NULL;
    cudaError_t err = runtime_enter();

    if (!err)
        err = register_function(host, &function);
    return runtime_leave(err ? err
                             : (int)cuFuncSetSharedMemConfig(function, (CUsharedconfig)config));
}

RT cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, const void *host,
                                                         int blocks, int threads);
RT cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, const void *host,
                                                         int blocks, int threads)
{
    CUfunction function = NULL;
    cudaError_t err = runtime_enter();

    if (!err)
        err = register_function(host, &function);
    return runtime_leave(
        err ? err : (int)cuOccupancyAvailableDynamicSMemPerBlock(bytes, function, blocks, threads));
}

/* The driver API's structs begin like the runtime's, and have more at their end. */
struct memory_handle {
    CUexternalMemoryHandleType type;
    union {
        int fd;
        void *pair[2];
    } handle;
    unsigned long long size;
    unsigned flags;
};
struct memory_buffer {
    unsigned long long offset, size;
    unsigned flags;
};

RT cudaError_t cudaImportExternalMemory(CUexternalMemory *memory, const struct memory_handle *d);
RT cudaError_t cudaImportExternalMemory(CUexternalMemory *memory, const struct memory_handle *d)
{
    CUDA_EXTERNAL_MEMORY_HANDLE_DESC driver = {0};
    cudaError_t err = runtime_enter();

    if (!err && !d)
        err = RT_INVALID_VALUE;
    if (err)
        return runtime_leave(err);
    driver.type = d->type;
    memcpy(&driver.handle, &d->handle, sizeof(d->handle));
    driver.size = d->size;
    driver.flags = d->flags;
    return runtime_leave((int)cuImportExternalMemory(memory, &driver));
}

RT cudaError_t cudaExternalMemoryGetMappedBuffer(void **address, CUexternalMemory memory,
                                                 const struct memory_buffer *d);
RT cudaError_t cudaExternalMemoryGetMappedBuffer(void **address, CUexternalMemory memory,
                                                 const struct memory_buffer *d)
{
    CUDA_EXTERNAL_MEMORY_BUFFER_DESC driver = {0};
    cudaError_t err = runtime_enter();

    if (!err && !d)
        err = RT_INVALID_VALUE;
    if (err)
        return runtime_leave(err);
    driver.offset = d->offset;
    driver.size = d->size;
    driver.flags = d->flags;
    return runtime_leave(
        (int)cuExternalMemoryGetMappedBuffer((CUdeviceptr *)address, memory, &driver));
}

FORWARD(DestroyExternalMemory, cuDestroyExternalMemory(memory), CUexternalMemory memory)
