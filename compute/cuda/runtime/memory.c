/* SPDX-License-Identifier: MIT */
#include <compute/cuda/texture.h>

#include "runtime.h"

/* Memory, copies, symbols. */

#define ADDRESS(pointer) ((CUdeviceptr)(uintptr_t)(pointer))

/* Zero bytes are fine here, not for the driver API. */
static cudaError_t memory_alloc(void **memory, size_t size)
{
    CUdeviceptr address = 0;
    cudaError_t err = runtime_enter();

    if (!err && !memory)
        err = RT_INVALID_VALUE;
    if (!err && size)
        err = (int)cuMemAlloc_v2(&address, size);
    if (!err)
        *memory = (void *)(uintptr_t)address;
    return runtime_leave(err);
}

RT cudaError_t cudaMalloc(void **memory, size_t size);
RT cudaError_t cudaMalloc(void **memory, size_t size)
{
    return memory_alloc(memory, size);
}

RT cudaError_t cudaFree(void *memory);
RT cudaError_t cudaFree(void *memory)
{
    cudaError_t err = runtime_enter();

    /* cudaFree(NULL) is how programs make the context. */
    if (!err && memory)
        err = (int)cuMemFree_v2(ADDRESS(memory));
    return runtime_leave(err);
}

RT cudaError_t cudaMallocManaged(void **memory, size_t size, unsigned flags);
RT cudaError_t cudaMallocManaged(void **memory, size_t size, unsigned flags)
{
    RT_RETURN(cuMemAllocManaged((CUdeviceptr *)memory, size, flags));
}

/* Nothing of nothing, as with cudaMalloc; the driver API refuses that. */
RT cudaError_t cudaHostAlloc(void **memory, size_t size, unsigned flags);
RT cudaError_t cudaHostAlloc(void **memory, size_t size, unsigned flags)
{
    cudaError_t err = runtime_enter();

    if (!err && (size || !memory))
        err = (int)cuMemHostAlloc(memory, size, flags);
    else if (!err)
        *memory = NULL;
    return runtime_leave(err);
}

RT cudaError_t cudaMallocHost(void **memory, size_t size);
RT cudaError_t cudaMallocHost(void **memory, size_t size)
{
    return cudaHostAlloc(memory, size, 0);
}

RT cudaError_t cudaFreeHost(void *memory);
RT cudaError_t cudaFreeHost(void *memory)
{
    cudaError_t err = runtime_enter();

    if (!err && memory)
        err = (int)cuMemFreeHost(memory);
    return runtime_leave(err);
}

RT cudaError_t cudaHostRegister(void *memory, size_t size, unsigned flags);
RT cudaError_t cudaHostRegister(void *memory, size_t size, unsigned flags)
{
    RT_RETURN(cuMemHostRegister_v2(memory, size, flags));
}

RT cudaError_t cudaHostUnregister(void *memory);
RT cudaError_t cudaHostUnregister(void *memory)
{
    RT_RETURN(cuMemHostUnregister(memory));
}

RT cudaError_t cudaHostGetDevicePointer(void **device, void *memory, unsigned flags);
RT cudaError_t cudaHostGetDevicePointer(void **device, void *memory, unsigned flags)
{
    RT_RETURN(cuMemHostGetDevicePointer_v2((CUdeviceptr *)device, memory, flags));
}

RT cudaError_t cudaHostGetFlags(unsigned *flags, void *memory);
RT cudaError_t cudaHostGetFlags(unsigned *flags, void *memory)
{
    RT_RETURN(cuMemHostGetFlags(flags, memory));
}

RT cudaError_t cudaMemGetInfo(size_t *left, size_t *total);
RT cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    RT_RETURN(cuMemGetInfo_v2(left, total));
}

/* Nothing of nothing, which the driver API refuses. */
static cudaError_t pitched(void **memory, size_t *pitch, size_t width, size_t height, size_t depth)
{
    CUdeviceptr address = 0;
    cudaError_t err = 0;

    if (!memory || !pitch)
        return RT_INVALID_VALUE;
    *pitch = 0;
    if (width && height && depth > SIZE_MAX / height)
        err = width > SIZE_MAX / 2 ? RT_INVALID_VALUE : (int)CUDA_ERROR_OUT_OF_MEMORY;
    else if (width && height && depth)
        err = (int)cuMemAllocPitch_v2(&address, pitch, width, height * depth, 4);
    if (!err)
        *memory = (void *)(uintptr_t)address;
    return err;
}

RT cudaError_t cudaMallocPitch(void **memory, size_t *pitch, size_t width, size_t height);
RT cudaError_t cudaMallocPitch(void **memory, size_t *pitch, size_t width, size_t height)
{
    cudaError_t err = runtime_enter();

    if (!err)
        err = pitched(memory, pitch, width, height, 1);
    return runtime_leave(err);
}

RT cudaError_t cudaMalloc3D(struct pitched *memory, struct extent extent);
RT cudaError_t cudaMalloc3D(struct pitched *memory, struct extent extent)
{
    void *address = NULL;
    size_t pitch = 0;
    cudaError_t err = runtime_enter();

    if (!err)
        err = memory ? pitched(&address, &pitch, extent.width, extent.height, extent.depth)
                     : RT_INVALID_VALUE;
    if (!err)
        *memory = (struct pitched){address, pitch, extent.width, extent.height};
    return runtime_leave(err);
}

RT cudaError_t cudaMallocAsync(void **memory, size_t size, CUstream stream);
RT cudaError_t cudaMallocAsync(void **memory, size_t size, CUstream stream)
{
    RT_RETURN(cuMemAllocAsync((CUdeviceptr *)memory, size, stream));
}

RT cudaError_t cudaFreeAsync(void *memory, CUstream stream);
RT cudaError_t cudaFreeAsync(void *memory, CUstream stream)
{
    RT_RETURN(cuMemFreeAsync(ADDRESS(memory), stream));
}

static CUresult memory_copy(void *to, const void *from, size_t size, int kind)
{
    switch (kind) {
    case RT_HOST_TO_DEVICE:
        return cuMemcpyHtoD_v2(ADDRESS(to), from, size);
    case RT_DEVICE_TO_HOST:
        return cuMemcpyDtoH_v2(to, ADDRESS(from), size);
    case RT_DEVICE_TO_DEVICE:
        return cuMemcpyDtoD_v2(ADDRESS(to), ADDRESS(from), size);
    case RT_HOST_TO_HOST:
    case RT_DEFAULT:
        return cuMemcpy(ADDRESS(to), ADDRESS(from), size);
    default:
        return (CUresult)RT_INVALID_MEMCPY_DIRECTION;
    }
}

static CUresult memory_copy_async(void *to, const void *from, size_t size, int kind,
                                  CUstream stream)
{
    switch (kind) {
    case RT_HOST_TO_DEVICE:
        return cuMemcpyHtoDAsync_v2(ADDRESS(to), from, size, stream);
    case RT_DEVICE_TO_HOST:
        return cuMemcpyDtoHAsync_v2(to, ADDRESS(from), size, stream);
    case RT_DEVICE_TO_DEVICE:
        return cuMemcpyDtoDAsync_v2(ADDRESS(to), ADDRESS(from), size, stream);
    case RT_HOST_TO_HOST:
    case RT_DEFAULT:
        return cuMemcpyAsync(ADDRESS(to), ADDRESS(from), size, stream);
    default:
        return (CUresult)RT_INVALID_MEMCPY_DIRECTION;
    }
}

RT cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int kind);
RT cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int kind)
{
    RT_RETURN(size ? memory_copy(to, from, size, kind) : CUDA_SUCCESS);
}

RT cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, CUstream stream);
RT cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, CUstream stream)
{
    RT_RETURN(size ? memory_copy_async(to, from, size, kind, stream) : CUDA_SUCCESS);
}

static CUmemorytype memory_side(int kind, bool to)
{
    if (kind == RT_DEFAULT)
        return CU_MEMORYTYPE_UNIFIED;
    if (to)
        return kind == RT_HOST_TO_DEVICE || kind == RT_DEVICE_TO_DEVICE ? CU_MEMORYTYPE_DEVICE
                                                                        : CU_MEMORYTYPE_HOST;
    return kind == RT_DEVICE_TO_HOST || kind == RT_DEVICE_TO_DEVICE ? CU_MEMORYTYPE_DEVICE
                                                                    : CU_MEMORYTYPE_HOST;
}

cudaError_t memory_refuse_2d(int kind, size_t width, size_t to_pitch, size_t from_pitch)
{
    if (kind < 0 || kind > RT_DEFAULT)
        return RT_INVALID_MEMCPY_DIRECTION;
    return width > to_pitch || width > from_pitch ? RT_INVALID_PITCH : 0;
}

static CUDA_MEMCPY2D copy_2d(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                             size_t width, size_t height, int kind)
{
    return (CUDA_MEMCPY2D){
        .srcMemoryType = memory_side(kind, false),
        .srcHost = from,
        .srcDevice = ADDRESS(from),
        .srcPitch = from_pitch,
        .dstMemoryType = memory_side(kind, true),
        .dstHost = to,
        .dstDevice = ADDRESS(to),
        .dstPitch = to_pitch,
        .WidthInBytes = width,
        .Height = height,
    };
}

RT cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                            size_t width, size_t height, int kind);
RT cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                            size_t width, size_t height, int kind)
{
    CUDA_MEMCPY2D c = copy_2d(to, to_pitch, from, from_pitch, width, height, kind);
    cudaError_t err = memory_refuse_2d(kind, width, to_pitch, from_pitch);

    RT_RETURN(err ? (CUresult)err : cuMemcpy2DUnaligned_v2(&c));
}

RT cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                                 size_t width, size_t height, int kind, CUstream stream);
RT cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                                 size_t width, size_t height, int kind, CUstream stream)
{
    CUDA_MEMCPY2D c = copy_2d(to, to_pitch, from, from_pitch, width, height, kind);
    cudaError_t err = memory_refuse_2d(kind, width, to_pitch, from_pitch);

    RT_RETURN(err ? (CUresult)err : cuMemcpy2DAsync_v2(&c, stream));
}

/* Whether a copy names one source and one target; arrays of both sides have elements of one size.
 */
static bool sides_3d(const struct copy_3d *p)
{
    CUDA_ARRAY3D_DESCRIPTOR from, to;

    if ((p->srcArray && p->srcPtr.ptr) || (p->dstArray && p->dstPtr.ptr))
        return false;
    /* What is no array, the copy refuses. */
    return !p->srcArray || !p->dstArray || cuArray3DGetDescriptor_v2(&from, p->srcArray) ||
           cuArray3DGetDescriptor_v2(&to, p->dstArray) ||
           cuda_texture_bytes(from.Format) * from.NumChannels ==
               cuda_texture_bytes(to.Format) * to.NumChannels;
}

/* Bytes of what widths and positions count: texels where an array takes part. */
static size_t unit_3d(const struct copy_3d *p)
{
    CUDA_ARRAY3D_DESCRIPTOR d;
    CUarray array = p->srcArray ? p->srcArray : p->dstArray;

    /* What is no array, the copy refuses. */
    if (!array || cuArray3DGetDescriptor_v2(&d, array))
        return 1;
    return cuda_texture_bytes(d.Format) * d.NumChannels;
}

CUDA_MEMCPY3D memory_copy_3d(const struct copy_3d *p)
{
    size_t unit = unit_3d(p);

    if (!sides_3d(p))
        return (CUDA_MEMCPY3D){.srcLOD = 1}; /* which the driver API refuses, too */
    return (CUDA_MEMCPY3D){
        .srcXInBytes = p->srcPos[0] * (p->srcArray ? unit : 1),
        .srcY = p->srcPos[1],
        .srcZ = p->srcPos[2],
        .srcMemoryType = p->srcArray ? CU_MEMORYTYPE_ARRAY : memory_side(p->kind, false),
        .srcHost = p->srcPtr.ptr,
        .srcDevice = ADDRESS(p->srcPtr.ptr),
        .srcArray = p->srcArray,
        .srcPitch = p->srcPtr.pitch,
        .srcHeight = p->srcPtr.ysize,
        .dstXInBytes = p->dstPos[0] * (p->dstArray ? unit : 1),
        .dstY = p->dstPos[1],
        .dstZ = p->dstPos[2],
        .dstMemoryType = p->dstArray ? CU_MEMORYTYPE_ARRAY : memory_side(p->kind, true),
        .dstHost = p->dstPtr.ptr,
        .dstDevice = ADDRESS(p->dstPtr.ptr),
        .dstArray = p->dstArray,
        .dstPitch = p->dstPtr.pitch,
        .dstHeight = p->dstPtr.ysize,
        .WidthInBytes = p->extent.width * unit,
        .Height = p->extent.height,
        .Depth = p->extent.depth,
    };
}

/* What the runtime says of a copy in other words than the driver API. A pitch of 0 is for one row.
 */
static cudaError_t refuse_3d(const struct copy_3d *p)
{
    size_t width = p ? p->extent.width * unit_3d(p) : 0;

    if (!p)
        return RT_INVALID_VALUE;
    return memory_refuse_2d(p->kind, width,
                            p->dstArray || !p->dstPtr.pitch ? width : p->dstPtr.pitch,
                            p->srcArray || !p->srcPtr.pitch ? width : p->srcPtr.pitch);
}

RT cudaError_t cudaMemcpy3D(const struct copy_3d *p);
RT cudaError_t cudaMemcpy3D(const struct copy_3d *p)
{
    CUDA_MEMCPY3D c = p ? memory_copy_3d(p) : (CUDA_MEMCPY3D){0};
    cudaError_t err = refuse_3d(p);

    RT_RETURN(err ? (CUresult)err : cuMemcpy3D_v2(&c));
}

RT cudaError_t cudaMemcpy3DAsync(const struct copy_3d *p, CUstream stream);
RT cudaError_t cudaMemcpy3DAsync(const struct copy_3d *p, CUstream stream)
{
    CUDA_MEMCPY3D c = p ? memory_copy_3d(p) : (CUDA_MEMCPY3D){0};
    cudaError_t err = refuse_3d(p);

    RT_RETURN(err ? (CUresult)err : cuMemcpy3DAsync_v2(&c, stream));
}

RT cudaError_t cudaMemset(void *memory, int value, size_t size);
RT cudaError_t cudaMemset(void *memory, int value, size_t size)
{
    RT_RETURN(size ? cuMemsetD8_v2(ADDRESS(memory), (unsigned char)value, size) : CUDA_SUCCESS);
}

RT cudaError_t cudaMemsetAsync(void *memory, int value, size_t size, CUstream stream);
RT cudaError_t cudaMemsetAsync(void *memory, int value, size_t size, CUstream stream)
{
    RT_RETURN(size ? cuMemsetD8Async(ADDRESS(memory), (unsigned char)value, size, stream)
                   : CUDA_SUCCESS);
}

RT cudaError_t cudaMemset2D(void *memory, size_t pitch, int value, size_t width, size_t height);
RT cudaError_t cudaMemset2D(void *memory, size_t pitch, int value, size_t width, size_t height)
{
    RT_RETURN(cuMemsetD2D8_v2(ADDRESS(memory), pitch, (unsigned char)value, width, height));
}

RT cudaError_t cudaMemset2DAsync(void *memory, size_t pitch, int value, size_t width, size_t height,
                                 CUstream stream);
RT cudaError_t cudaMemset2DAsync(void *memory, size_t pitch, int value, size_t width, size_t height,
                                 CUstream stream)
{
    RT_RETURN(
        cuMemsetD2D8Async(ADDRESS(memory), pitch, (unsigned char)value, width, height, stream));
}

cudaError_t memory_symbol(const void *host, size_t offset, size_t count, int kind, bool to,
                          CUdeviceptr *ret_address)
{
    size_t size = 0;
    cudaError_t err = runtime_enter();

    if (!err && kind != RT_DEVICE_TO_DEVICE && kind != RT_DEFAULT &&
        kind != (to ? RT_HOST_TO_DEVICE : RT_DEVICE_TO_HOST))
        err = RT_INVALID_MEMCPY_DIRECTION;
    if (!err)
        err = register_variable(host, ret_address, &size);
    if (!err && (offset > size || count > size - offset))
        err = RT_INVALID_VALUE;
    *ret_address += offset;
    return err;
}

RT cudaError_t cudaMemcpyToSymbol(const void *host, const void *from, size_t count, size_t offset,
                                  int kind);
RT cudaError_t cudaMemcpyToSymbol(const void *host, const void *from, size_t count, size_t offset,
                                  int kind)
{
    CUdeviceptr address = 0;
    cudaError_t err = memory_symbol(host, offset, count, kind, true, &address);

    return runtime_leave(err ? err
                             : (int)memory_copy((void *)(uintptr_t)address, from, count, kind));
}

RT cudaError_t cudaMemcpyFromSymbol(void *to, const void *host, size_t count, size_t offset,
                                    int kind);
RT cudaError_t cudaMemcpyFromSymbol(void *to, const void *host, size_t count, size_t offset,
                                    int kind)
{
    CUdeviceptr address = 0;
    cudaError_t err = memory_symbol(host, offset, count, kind, false, &address);

    return runtime_leave(err ? err
                             : (int)memory_copy(to, (const void *)(uintptr_t)address, count, kind));
}

RT cudaError_t cudaMemcpyToSymbolAsync(const void *host, const void *from, size_t count,
                                       size_t offset, int kind, CUstream stream);
RT cudaError_t cudaMemcpyToSymbolAsync(const void *host, const void *from, size_t count,
                                       size_t offset, int kind, CUstream stream)
{
    CUdeviceptr address = 0;
    cudaError_t err = memory_symbol(host, offset, count, kind, true, &address);

    return runtime_leave(
        err ? err : (int)memory_copy_async((void *)(uintptr_t)address, from, count, kind, stream));
}

RT cudaError_t cudaMemcpyFromSymbolAsync(void *to, const void *host, size_t count, size_t offset,
                                         int kind, CUstream stream);
RT cudaError_t cudaMemcpyFromSymbolAsync(void *to, const void *host, size_t count, size_t offset,
                                         int kind, CUstream stream)
{
    CUdeviceptr address = 0;
    cudaError_t err = memory_symbol(host, offset, count, kind, false, &address);

    return runtime_leave(
        err ? err
            : (int)memory_copy_async(to, (const void *)(uintptr_t)address, count, kind, stream));
}

RT cudaError_t cudaGetSymbolAddress(void **ret_address, const void *host);
RT cudaError_t cudaGetSymbolAddress(void **ret_address, const void *host)
{
    CUdeviceptr address = 0;
    cudaError_t err = memory_symbol(host, 0, 0, RT_DEFAULT, true, &address);

    if (!err)
        *ret_address = (void *)(uintptr_t)address;
    return runtime_leave(err);
}

RT cudaError_t cudaGetSymbolSize(size_t *ret_size, const void *host);
RT cudaError_t cudaGetSymbolSize(size_t *ret_size, const void *host)
{
    CUdeviceptr address;
    cudaError_t err = runtime_enter();

    return runtime_leave(err ? err : register_variable(host, &address, ret_size));
}

struct pointer_attributes {
    int type; /* 0 unregistered, 1 host, 2 device, 3 managed */
    int device;
    void *devicePointer, *hostPointer;
#if CUDART_MAJOR >= 13
    long reserved[8];
#endif
};

RT cudaError_t cudaPointerGetAttributes(struct pointer_attributes *attributes, const void *memory);
RT cudaError_t cudaPointerGetAttributes(struct pointer_attributes *attributes, const void *memory)
{
    CUdeviceptr device = 0;
    void *host = NULL;
    unsigned type = 0, managed = 0;
    int ordinal = 0;
    CUpointer_attribute wanted[] = {
        CU_POINTER_ATTRIBUTE_MEMORY_TYPE,    CU_POINTER_ATTRIBUTE_IS_MANAGED,
        CU_POINTER_ATTRIBUTE_DEVICE_POINTER, CU_POINTER_ATTRIBUTE_HOST_POINTER,
        CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
    };
    void *values[] = {&type, &managed, &device, &host, &ordinal};
    cudaError_t err = runtime_enter();

    if (!err && !attributes)
        err = RT_INVALID_VALUE;
    if (!err)
        err = (int)cuPointerGetAttributes(5, wanted, values, ADDRESS(memory));
    if (err)
        return runtime_leave(err);
    *attributes = (struct pointer_attributes){.device = -2};
    if (type) {
        attributes->type = managed ? 3 : (int)type;
        attributes->device = ordinal;
        attributes->devicePointer = (void *)(uintptr_t)device;
        attributes->hostPointer = host;
    } else {
        attributes->hostPointer = (void *)(uintptr_t)memory;
    }
    return 0;
}
