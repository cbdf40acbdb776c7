/* SPDX-License-Identifier: MIT */
#include <compute/cuda/texture.h>

#include "runtime.h"

/* Batches of copies, whose structures are the driver API's; copies between devices; and between
 * arrays by rows. */

#if CUDART_MAJOR == 12
#define FAILED_TYPE , size_t *failed
#define FAILED      , failed
#define BATCH       cuMemcpyBatchAsync
#define BATCH_3D    cuMemcpy3DBatchAsync
#else
#define FAILED_TYPE
#define FAILED
#define BATCH    cuMemcpyBatchAsync_v2
#define BATCH_3D cuMemcpy3DBatchAsync_v2
#endif

#define LINES                                                                                 \
    CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count, CUmemcpyAttributes *how, \
        size_t *firsts, size_t kinds FAILED_TYPE, CUstream stream
#define BOXES                                                                         \
    size_t count, CUDA_MEMCPY3D_BATCH_OP *list FAILED_TYPE, unsigned long long flags, \
        CUstream stream

RT cudaError_t cudaMemcpyBatchAsync(LINES);
RT cudaError_t cudaMemcpyBatchAsync(LINES)
{
    RT_RETURN(BATCH(to, from, sizes, count, how, firsts, kinds FAILED, stream));
}

RT cudaError_t cudaMemcpyBatchAsync_ptsz(LINES);
RT cudaError_t cudaMemcpyBatchAsync_ptsz(LINES)
{
    return cudaMemcpyBatchAsync(to, from, sizes, count, how, firsts, kinds FAILED,
                                RT_STREAM_PT(stream));
}

RT cudaError_t cudaMemcpy3DBatchAsync(BOXES);
RT cudaError_t cudaMemcpy3DBatchAsync(BOXES)
{
    RT_RETURN(BATCH_3D(count, list FAILED, flags, stream));
}

RT cudaError_t cudaMemcpy3DBatchAsync_ptsz(BOXES);
RT cudaError_t cudaMemcpy3DBatchAsync_ptsz(BOXES)
{
    return cudaMemcpy3DBatchAsync(count, list FAILED, flags, RT_STREAM_PT(stream));
}

struct copy_peer {
    CUarray from_array;
    size_t from_at[3];
    struct pitched from;
    int from_device;
    CUarray to_array;
    size_t to_at[3];
    struct pitched to;
    int to_device;
    struct extent extent;
};

static cudaError_t peer(const struct copy_peer *p, CUDA_MEMCPY3D *ret_copy)
{
    struct copy_3d plain = {.kind = RT_DEFAULT};
    CUdevice device;

    if (!p)
        return RT_INVALID_VALUE;
    if (cuDeviceGet(&device, p->from_device) || cuDeviceGet(&device, p->to_device))
        return RT_INVALID_DEVICE;
    plain.srcArray = p->from_array;
    plain.srcPtr = p->from;
    plain.dstArray = p->to_array;
    plain.dstPtr = p->to;
    plain.extent = p->extent;
    for (unsigned i = 0; i < 3; i++) {
        plain.srcPos[i] = p->from_at[i];
        plain.dstPos[i] = p->to_at[i];
    }
    *ret_copy = memory_copy_3d(&plain);
    return 0;
}

/* Contexts of one device share its memory; what is another device's is refused by its address. */
RT cudaError_t cudaMemcpy3DPeerAsync(const struct copy_peer *p, CUstream stream);
RT cudaError_t cudaMemcpy3DPeerAsync(const struct copy_peer *p, CUstream stream)
{
    CUDA_MEMCPY3D c;
    cudaError_t err = runtime_enter();

    if (!err)
        err = peer(p, &c);
    return runtime_leave(err ? err : (int)cuMemcpy3DAsync_v2(&c, stream));
}

RT cudaError_t cudaMemcpy3DPeerAsync_ptsz(const struct copy_peer *p, CUstream stream);
RT cudaError_t cudaMemcpy3DPeerAsync_ptsz(const struct copy_peer *p, CUstream stream)
{
    return cudaMemcpy3DPeerAsync(p, RT_STREAM_PT(stream));
}

RT cudaError_t cudaMemcpy3DPeer(const struct copy_peer *p);
RT cudaError_t cudaMemcpy3DPeer(const struct copy_peer *p)
{
    return cudaMemcpy3DPeerAsync(p, NULL);
}

RT cudaError_t cudaMemcpy3DPeer_ptds(const struct copy_peer *p);
RT cudaError_t cudaMemcpy3DPeer_ptds(const struct copy_peer *p)
{
    return cudaMemcpy3DPeerAsync(p, RT_PER_THREAD);
}

static size_t row_of(CUarray array)
{
    CUDA_ARRAY3D_DESCRIPTOR d;

    return cuArray3DGetDescriptor_v2(&d, array)
               ? 0
               : d.Width * cuda_texture_bytes(d.Format) * d.NumChannels;
}

#define ROWS \
    CUarray to, size_t to_x, size_t to_y, CUarray from, size_t x, size_t y, size_t count, int kind

/* So many bytes, row after row of both; within a device copies do not wait. */
static cudaError_t copy_rows(ROWS, CUstream stream)
{
    cudaError_t err = runtime_enter();
    size_t to_row, row;

    if (err)
        return runtime_leave(err);
    if (kind != RT_DEVICE_TO_DEVICE && kind != RT_DEFAULT)
        return runtime_leave(RT_INVALID_MEMCPY_DIRECTION);
    to_row = row_of(to);
    row = row_of(from);
    if (to_x >= to_row || x >= row)
        return runtime_leave(RT_INVALID_VALUE);
    while (!err && count) {
        size_t left = row - x < to_row - to_x ? row - x : to_row - to_x;
        CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                           .srcArray = from,
                           .srcXInBytes = x,
                           .srcY = y,
                           .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                           .dstArray = to,
                           .dstXInBytes = to_x,
                           .dstY = to_y,
                           .WidthInBytes = count < left ? count : left,
                           .Height = 1};

        err = (int)cuMemcpy2DAsync_v2(&c, stream);
        count -= c.WidthInBytes;
        x += c.WidthInBytes;
        to_x += c.WidthInBytes;
        y += x / row;
        to_y += to_x / to_row;
        x %= row;
        to_x %= to_row;
    }
    return runtime_leave(err);
}

RT cudaError_t cudaMemcpyArrayToArray(ROWS);
RT cudaError_t cudaMemcpyArrayToArray(ROWS)
{
    return copy_rows(to, to_x, to_y, from, x, y, count, kind, NULL);
}

RT cudaError_t cudaMemcpyArrayToArray_ptds(ROWS);
RT cudaError_t cudaMemcpyArrayToArray_ptds(ROWS)
{
    return copy_rows(to, to_x, to_y, from, x, y, count, kind, RT_PER_THREAD);
}
