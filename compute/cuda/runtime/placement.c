/* SPDX-License-Identifier: MIT */
#include "runtime.h"

/* Where memory should be, copies between devices, three-dimensional memset. */

#define ADDRESS(pointer) ((CUdeviceptr)(uintptr_t)(pointer))

#define FORWARD(name, call, ...)            \
    RT cudaError_t cuda##name(__VA_ARGS__); \
    RT cudaError_t cuda##name(__VA_ARGS__)  \
    {                                       \
        RT_RETURN(call);                    \
    }

#if CUDART_MAJOR == 12
FORWARD(MemAdvise, cuMemAdvise(ADDRESS(memory), count, (CUmem_advise)advice, device),
        const void *memory, size_t count, int advice, int device)
FORWARD(MemAdvise_v2, cuMemAdvise_v2(ADDRESS(memory), count, (CUmem_advise)advice, place),
        const void *memory, size_t count, int advice, CUmemLocation place)
FORWARD(MemPrefetchAsync, cuMemPrefetchAsync(ADDRESS(memory), count, device, stream),
        const void *memory, size_t count, int device, CUstream stream)
FORWARD(MemPrefetchAsync_ptsz,
        cuMemPrefetchAsync(ADDRESS(memory), count, device, RT_STREAM_PT(stream)),
        const void *memory, size_t count, int device, CUstream stream)
FORWARD(MemPrefetchAsync_v2, cuMemPrefetchAsync_v2(ADDRESS(memory), count, place, flags, stream),
        const void *memory, size_t count, CUmemLocation place, unsigned flags, CUstream stream)
FORWARD(MemPrefetchAsync_v2_ptsz,
        cuMemPrefetchAsync_v2(ADDRESS(memory), count, place, flags, RT_STREAM_PT(stream)),
        const void *memory, size_t count, CUmemLocation place, unsigned flags, CUstream stream)
#else
FORWARD(MemAdvise, cuMemAdvise_v2(ADDRESS(memory), count, (CUmem_advise)advice, place),
        const void *memory, size_t count, int advice, CUmemLocation place)
FORWARD(MemPrefetchAsync, cuMemPrefetchAsync_v2(ADDRESS(memory), count, place, flags, stream),
        const void *memory, size_t count, CUmemLocation place, unsigned flags, CUstream stream)
FORWARD(MemPrefetchAsync_ptsz,
        cuMemPrefetchAsync_v2(ADDRESS(memory), count, place, flags, RT_STREAM_PT(stream)),
        const void *memory, size_t count, CUmemLocation place, unsigned flags, CUstream stream)

#define BATCH                                                                                \
    CUdeviceptr *memory, size_t *sizes, size_t count, CUmemLocation *places, size_t *firsts, \
        size_t place_count, unsigned long long flags, CUstream stream
FORWARD(MemPrefetchBatchAsync,
        cuMemPrefetchBatchAsync(memory, sizes, count, places, firsts, place_count, flags, stream),
        BATCH)
FORWARD(MemPrefetchBatchAsync_ptsz,
        cuMemPrefetchBatchAsync(memory, sizes, count, places, firsts, place_count, flags,
                                RT_STREAM_PT(stream)),
        BATCH)
FORWARD(MemDiscardAndPrefetchBatchAsync,
        cuMemDiscardAndPrefetchBatchAsync(memory, sizes, count, places, firsts, place_count, flags,
                                          stream),
        BATCH)
FORWARD(MemDiscardAndPrefetchBatchAsync_ptsz,
        cuMemDiscardAndPrefetchBatchAsync(memory, sizes, count, places, firsts, place_count, flags,
                                          RT_STREAM_PT(stream)),
        BATCH)
FORWARD(MemDiscardBatchAsync, cuMemDiscardBatchAsync(memory, sizes, count, flags, stream),
        CUdeviceptr *memory, size_t *sizes, size_t count, unsigned long long flags, CUstream stream)
FORWARD(MemDiscardBatchAsync_ptsz,
        cuMemDiscardBatchAsync(memory, sizes, count, flags, RT_STREAM_PT(stream)),
        CUdeviceptr *memory, size_t *sizes, size_t count, unsigned long long flags, CUstream stream)
FORWARD(MemGetDefaultMemPool, cuMemGetDefaultMemPool(pool, place, (CUmemAllocationType)type),
        CUmemoryPool *pool, CUmemLocation *place, int type)
FORWARD(MemGetMemPool, cuMemGetMemPool(pool, place, (CUmemAllocationType)type), CUmemoryPool *pool,
        CUmemLocation *place, int type)
FORWARD(MemSetMemPool, cuMemSetMemPool(place, (CUmemAllocationType)type, pool),
        CUmemLocation *place, int type, CUmemoryPool pool)
#endif

FORWARD(MemRangeGetAttribute,
        cuMemRangeGetAttribute(data, size, (CUmem_range_attribute)attribute, ADDRESS(memory),
                               count),
        void *data, size_t size, int attribute, const void *memory, size_t count)
FORWARD(MemRangeGetAttributes,
        cuMemRangeGetAttributes(data, sizes, attributes, n, ADDRESS(memory), count), void **data,
        size_t *sizes, CUmem_range_attribute *attributes, size_t n, const void *memory,
        size_t count)
FORWARD(DeviceGetP2PAttribute,
        cuDeviceGetP2PAttribute(value, (CUdevice_P2PAttribute)attribute, from, to), int *value,
        int attribute, int from, int to)

static CUresult copy_peer(void *to, int to_device, const void *from, int from_device, size_t count,
                          CUstream stream, bool async)
{
    CUcontext to_context, from_context;
    CUresult err = cuDevicePrimaryCtxRetain(&to_context, to_device);

    if (err)
        return err;
    err = cuDevicePrimaryCtxRetain(&from_context, from_device);
    if (!err) {
        if (count)
            err = async ? cuMemcpyPeerAsync(ADDRESS(to), to_context, ADDRESS(from), from_context,
                                            count, stream)
                        : cuMemcpyPeer(ADDRESS(to), to_context, ADDRESS(from), from_context, count);
        cuDevicePrimaryCtxRelease_v2(from_device);
    }
    cuDevicePrimaryCtxRelease_v2(to_device);
    return err;
}

FORWARD(MemcpyPeer, copy_peer(to, to_device, from, from_device, count, NULL, false), void *to,
        int to_device, const void *from, int from_device, size_t count)
FORWARD(MemcpyPeerAsync, copy_peer(to, to_device, from, from_device, count, stream, true), void *to,
        int to_device, const void *from, int from_device, size_t count, CUstream stream)

/* Devices do not reach each other's memory (cudaDeviceCanAccessPeer): copies work all the same. */
static CUresult check_peer(int peer, CUresult reachable)
{
    CUdevice current, found;
    CUresult err = cuCtxGetDevice(&current);

    if (!err && (cuDeviceGet(&found, peer) || peer == current))
        err = (CUresult)RT_INVALID_DEVICE;
    return err ? err : reachable;
}

FORWARD(DeviceEnablePeerAccess,
        flags ? CUDA_ERROR_INVALID_VALUE : check_peer(peer, CUDA_ERROR_PEER_ACCESS_UNSUPPORTED),
        int peer, unsigned flags)
FORWARD(DeviceDisablePeerAccess, check_peer(peer, CUDA_ERROR_PEER_ACCESS_NOT_ENABLED), int peer)

static CUresult set_3d(struct pitched memory, int value, struct extent extent, CUstream stream,
                       bool async)
{
    size_t slices = extent.depth, rows = extent.height, slice = memory.pitch * memory.ysize;
    CUresult err = CUDA_SUCCESS;

    if (!extent.width || !rows || !slices)
        return CUDA_SUCCESS;
    /* Whole slices lie behind each other. */
    if (rows == memory.ysize && rows <= SIZE_MAX / slices) {
        rows *= slices;
        slices = 1;
    }
    for (size_t z = 0; z < slices && !err; z++) {
        CUdeviceptr at = ADDRESS(memory.ptr) + z * slice;

        err = async ? cuMemsetD2D8Async(at, memory.pitch, (unsigned char)value, extent.width, rows,
                                        stream)
                    : cuMemsetD2D8_v2(at, memory.pitch, (unsigned char)value, extent.width, rows);
    }
    return err;
}

FORWARD(Memset3D, set_3d(memory, value, extent, NULL, false), struct pitched memory, int value,
        struct extent extent)
FORWARD(Memset3DAsync, set_3d(memory, value, extent, stream, true), struct pitched memory,
        int value, struct extent extent, CUstream stream)

FORWARD(DeviceGetSharedMemConfig, cuCtxGetSharedMemConfig((CUsharedconfig *)config), int *config)
FORWARD(DeviceSetSharedMemConfig, cuCtxSetSharedMemConfig((CUsharedconfig)config), int config)
FORWARD(CtxResetPersistingL2Cache, cuCtxResetPersistingL2Cache(), void)

FORWARD(IpcGetMemHandle, cuIpcGetMemHandle(handle, ADDRESS(memory)), CUipcMemHandle *handle,
        void *memory)
FORWARD(IpcOpenMemHandle, cuIpcOpenMemHandle_v2((CUdeviceptr *)memory, handle, flags),
        void **memory, CUipcMemHandle handle, unsigned flags)
FORWARD(IpcCloseMemHandle, cuIpcCloseMemHandle(ADDRESS(memory)), void *memory)
FORWARD(IpcGetEventHandle, cuIpcGetEventHandle(handle, event), CUipcEventHandle *handle,
        CUevent event)
FORWARD(IpcOpenEventHandle, cuIpcOpenEventHandle(event, handle), CUevent *event,
        CUipcEventHandle handle)
