/* SPDX-License-Identifier: MIT */
#include "internal.h"

/* The forms for programs built with a default stream per thread: no stream means that one. */

#define OWN(stream) ((stream) ? (stream) : CU_STREAM_PER_THREAD)

API cuEventRecord_ptsz(CUevent event, CUstream stream)
{
    return cuEventRecord(event, OWN(stream));
}

API cuEventRecordWithFlags_ptsz(CUevent event, CUstream stream, unsigned flags)
{
    return cuEventRecordWithFlags(event, OWN(stream), flags);
}

API cuGraphInstantiateWithParams_ptsz(CUgraphExec *exec, CUgraph graph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS *params)
{
    return cuGraphInstantiateWithParams(exec, graph, params);
}

API cuGraphLaunch_ptsz(CUgraphExec exec, CUstream stream)
{
    return cuGraphLaunch(exec, OWN(stream));
}

API cuGraphUpload_ptsz(CUgraphExec exec, CUstream stream)
{
    return cuGraphUpload(exec, OWN(stream));
}

API cuLaunchCooperativeKernel_ptsz(CUfunction function, unsigned grid_x, unsigned grid_y,
                                   unsigned grid_z, unsigned block_x, unsigned block_y,
                                   unsigned block_z, unsigned shared, CUstream stream,
                                   void **parameters)
{
    return cuLaunchCooperativeKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                                     shared, OWN(stream), parameters);
}

API cuLaunchHostFunc_ptsz(CUstream stream, CUhostFn function, void *user)
{
    return cuLaunchHostFunc(OWN(stream), function, user);
}

API cuLaunchKernel_ptsz(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                        CUstream stream, void **parameters, void **extra)
{
    return cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared,
                          OWN(stream), parameters, extra);
}

API cuMemAllocAsync_ptsz(CUdeviceptr *address, size_t size, CUstream stream)
{
    return cuMemAllocAsync(address, size, OWN(stream));
}

API cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *address, size_t size, CUmemoryPool pool,
                                 CUstream stream)
{
    return cuMemAllocFromPoolAsync(address, size, pool, OWN(stream));
}

API cuMemFreeAsync_ptsz(CUdeviceptr address, CUstream stream)
{
    return cuMemFreeAsync(address, OWN(stream));
}

API cuMemcpy2DAsync_v2_ptsz(const CUDA_MEMCPY2D *c, CUstream stream)
{
    return cuMemcpy2DAsync_v2(c, OWN(stream));
}

API cuMemcpy3DAsync_v2_ptsz(const CUDA_MEMCPY3D *c, CUstream stream)
{
    return cuMemcpy3DAsync_v2(c, OWN(stream));
}

API cuMemcpy3DPeerAsync_ptsz(const CUDA_MEMCPY3D_PEER *c, CUstream stream)
{
    return cuMemcpy3DPeerAsync(c, OWN(stream));
}

API cuMemcpyAsync_ptsz(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream)
{
    return cuMemcpyAsync(to, from, size, OWN(stream));
}

API cuMemcpyDtoDAsync_v2_ptsz(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream)
{
    return cuMemcpyDtoDAsync_v2(to, from, size, OWN(stream));
}

API cuMemcpyDtoHAsync_v2_ptsz(void *to, CUdeviceptr from, size_t size, CUstream stream)
{
    return cuMemcpyDtoHAsync_v2(to, from, size, OWN(stream));
}

API cuMemcpyHtoDAsync_v2_ptsz(CUdeviceptr to, const void *from, size_t size, CUstream stream)
{
    return cuMemcpyHtoDAsync_v2(to, from, size, OWN(stream));
}

API cuMemcpyPeerAsync_ptsz(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                           CUcontext from_context, size_t size, CUstream stream)
{
    return cuMemcpyPeerAsync(to, to_context, from, from_context, size, OWN(stream));
}

API cuMemsetD16Async_ptsz(CUdeviceptr to, unsigned short value, size_t n, CUstream stream)
{
    return cuMemsetD16Async(to, value, n, OWN(stream));
}

API cuMemsetD2D16Async_ptsz(CUdeviceptr to, size_t pitch, unsigned short value, size_t width,
                            size_t height, CUstream stream)
{
    return cuMemsetD2D16Async(to, pitch, value, width, height, OWN(stream));
}

API cuMemsetD2D32Async_ptsz(CUdeviceptr to, size_t pitch, unsigned value, size_t width,
                            size_t height, CUstream stream)
{
    return cuMemsetD2D32Async(to, pitch, value, width, height, OWN(stream));
}

API cuMemsetD2D8Async_ptsz(CUdeviceptr to, size_t pitch, unsigned char value, size_t width,
                           size_t height, CUstream stream)
{
    return cuMemsetD2D8Async(to, pitch, value, width, height, OWN(stream));
}

API cuMemsetD32Async_ptsz(CUdeviceptr to, unsigned value, size_t n, CUstream stream)
{
    return cuMemsetD32Async(to, value, n, OWN(stream));
}

API cuMemsetD8Async_ptsz(CUdeviceptr to, unsigned char value, size_t n, CUstream stream)
{
    return cuMemsetD8Async(to, value, n, OWN(stream));
}

API cuStreamAddCallback_ptsz(CUstream stream, CUstreamCallback callback, void *user, unsigned flags)
{
    return cuStreamAddCallback(OWN(stream), callback, user, flags);
}

API cuStreamAttachMemAsync_ptsz(CUstream stream, CUdeviceptr address, size_t length, unsigned flags)
{
    return cuStreamAttachMemAsync(OWN(stream), address, length, flags);
}

API cuStreamBeginCapture_ptsz(CUstream stream)
{
    return cuStreamBeginCapture(OWN(stream));
}

API cuStreamBeginCapture_v2_ptsz(CUstream stream, CUstreamCaptureMode mode)
{
    return cuStreamBeginCapture_v2(OWN(stream), mode);
}

API cuStreamEndCapture_ptsz(CUstream stream, CUgraph *graph)
{
    return cuStreamEndCapture(OWN(stream), graph);
}

API cuStreamGetCaptureInfo_ptsz(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id)
{
    return cuStreamGetCaptureInfo(OWN(stream), status, id);
}

API cuStreamGetCtx_ptsz(CUstream stream, CUcontext *context)
{
    return cuStreamGetCtx(OWN(stream), context);
}

API cuStreamGetDevice_ptsz(CUstream stream, CUdevice *device)
{
    return cuStreamGetDevice(OWN(stream), device);
}

API cuStreamGetFlags_ptsz(CUstream stream, unsigned *flags)
{
    return cuStreamGetFlags(OWN(stream), flags);
}

API cuStreamGetId_ptsz(CUstream stream, unsigned long long *id)
{
    return cuStreamGetId(OWN(stream), id);
}

API cuStreamGetPriority_ptsz(CUstream stream, int *priority)
{
    return cuStreamGetPriority(OWN(stream), priority);
}

API cuStreamIsCapturing_ptsz(CUstream stream, CUstreamCaptureStatus *status)
{
    return cuStreamIsCapturing(OWN(stream), status);
}

API cuStreamQuery_ptsz(CUstream stream)
{
    return cuStreamQuery(OWN(stream));
}

API cuStreamSynchronize_ptsz(CUstream stream)
{
    return cuStreamSynchronize(OWN(stream));
}

API cuStreamWaitEvent_ptsz(CUstream stream, CUevent event, unsigned flags)
{
    return cuStreamWaitEvent(OWN(stream), event, flags);
}

API cuStreamWaitValue32_v2_ptsz(CUstream stream, CUdeviceptr address, cuuint32_t value,
                                unsigned flags)
{
    return cuStreamWaitValue32_v2(OWN(stream), address, value, flags);
}

API cuStreamWaitValue64_v2_ptsz(CUstream stream, CUdeviceptr address, cuuint64_t value,
                                unsigned flags)
{
    return cuStreamWaitValue64_v2(OWN(stream), address, value, flags);
}

API cuStreamWriteValue32_v2_ptsz(CUstream stream, CUdeviceptr address, cuuint32_t value,
                                 unsigned flags)
{
    return cuStreamWriteValue32_v2(OWN(stream), address, value, flags);
}

API cuStreamWriteValue64_v2_ptsz(CUstream stream, CUdeviceptr address, cuuint64_t value,
                                 unsigned flags)
{
    return cuStreamWriteValue64_v2(OWN(stream), address, value, flags);
}

API cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, CUfunction function, void **parameters,
                          void **extra)
{
    CUlaunchConfig own;

    if (!config)
        return CUDA_ERROR_INVALID_VALUE;
    own = *config;
    own.hStream = OWN(own.hStream);
    return cuLaunchKernelEx(&own, function, parameters, extra);
}

API cuMemPrefetchAsync_ptsz(CUdeviceptr address, size_t count, CUdevice device, CUstream stream)
{
    return cuMemPrefetchAsync(address, count, device, OWN(stream));
}

API cuMemPrefetchAsync_v2_ptsz(CUdeviceptr address, size_t count, CUmemLocation place,
                               unsigned flags, CUstream stream)
{
    return cuMemPrefetchAsync_v2(address, count, place, flags, OWN(stream));
}

API cuStreamGetAttribute_ptsz(CUstream stream, CUlaunchAttributeID id,
                              CUlaunchAttributeValue *value)
{
    return cuStreamGetAttribute(OWN(stream), id, value);
}

API cuStreamSetAttribute_ptsz(CUstream stream, CUlaunchAttributeID id,
                              const CUlaunchAttributeValue *value)
{
    return cuStreamSetAttribute(OWN(stream), id, value);
}

API cuStreamCopyAttributes_ptsz(CUstream to, CUstream from)
{
    return cuStreamCopyAttributes(OWN(to), OWN(from));
}

API cuStreamGetCaptureInfo_v2_ptsz(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                                   CUgraph *graph, const CUgraphNode **needs, size_t *count)
{
    return cuStreamGetCaptureInfo_v2(OWN(stream), status, id, graph, needs, count);
}

API cuStreamGetCaptureInfo_v3_ptsz(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                                   CUgraph *graph, const CUgraphNode **needs,
                                   const CUgraphEdgeData **edges, size_t *count)
{
    return cuStreamGetCaptureInfo_v3(OWN(stream), status, id, graph, needs, edges, count);
}

API cuStreamBatchMemOp_v2_ptsz(CUstream stream, unsigned count,
                               CUstreamBatchMemOpParams *operations, unsigned flags)
{
    return cuStreamBatchMemOp_v2(OWN(stream), count, operations, flags);
}

API cuStreamBeginCaptureToGraph_ptsz(CUstream stream, CUgraph graph, const CUgraphNode *needs,
                                     const CUgraphEdgeData *edges, size_t count,
                                     CUstreamCaptureMode mode)
{
    return cuStreamBeginCaptureToGraph(OWN(stream), graph, needs, edges, count, mode);
}

API cuStreamUpdateCaptureDependencies_ptsz(CUstream stream, CUgraphNode *needs, size_t count,
                                           unsigned flags)
{
    return cuStreamUpdateCaptureDependencies(OWN(stream), needs, count, flags);
}

API cuStreamUpdateCaptureDependencies_v2_ptsz(CUstream stream, CUgraphNode *needs,
                                              const CUgraphEdgeData *edges, size_t count,
                                              unsigned flags)
{
    return cuStreamUpdateCaptureDependencies_v2(OWN(stream), needs, edges, count, flags);
}

API cuMemPrefetchBatchAsync_ptsz(CUdeviceptr *addresses, size_t *sizes, size_t count,
                                 CUmemLocation *places, size_t *firsts, size_t place_count,
                                 unsigned long long flags, CUstream stream)
{
    return cuMemPrefetchBatchAsync(addresses, sizes, count, places, firsts, place_count, flags,
                                   OWN(stream));
}

API cuMemDiscardBatchAsync_ptsz(CUdeviceptr *addresses, size_t *sizes, size_t count,
                                unsigned long long flags, CUstream stream)
{
    return cuMemDiscardBatchAsync(addresses, sizes, count, flags, OWN(stream));
}

API cuMemDiscardAndPrefetchBatchAsync_ptsz(CUdeviceptr *addresses, size_t *sizes, size_t count,
                                           CUmemLocation *places, size_t *firsts,
                                           size_t place_count, unsigned long long flags,
                                           CUstream stream)
{
    return cuMemDiscardAndPrefetchBatchAsync(addresses, sizes, count, places, firsts, place_count,
                                             flags, OWN(stream));
}
