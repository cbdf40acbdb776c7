/* SPDX-License-Identifier: MIT */
#include "runtime.h"

/*
 * What programs call that are compiled for a default stream per thread: no stream is that of the
 * thread (_ptsz), and calls without a stream wait for it alone (_ptds).
 */

struct copy_3d;
struct launch_config;

#define ASYNC(name, parameters, arguments)       \
    cudaError_t cuda##name parameters;           \
    RT cudaError_t cuda##name##_ptsz parameters; \
    RT cudaError_t cuda##name##_ptsz parameters  \
    {                                            \
        stream = RT_STREAM_PT(stream);           \
        return cuda##name arguments;             \
    }

/* By way of the asynchronous form. */
#define WAITING(name, parameters, async, arguments)                                \
    RT cudaError_t cuda##name##_ptds parameters;                                   \
    RT cudaError_t cuda##name##_ptds parameters                                    \
    {                                                                              \
        cudaError_t err = cuda##async arguments;                                   \
                                                                                   \
        return err ? err : runtime_leave((int)cuStreamSynchronize(RT_PER_THREAD)); \
    }

ASYNC(MemcpyAsync, (void *to, const void *from, size_t size, int kind, CUstream stream),
      (to, from, size, kind, stream))
ASYNC(Memcpy2DAsync,
      (void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
       int kind, CUstream stream),
      (to, to_pitch, from, from_pitch, width, height, kind, stream))
ASYNC(Memcpy3DAsync, (const struct copy_3d *p, CUstream stream), (p, stream))
ASYNC(Memcpy2DToArrayAsync,
      (CUarray to, size_t x, size_t y, const void *from, size_t pitch, size_t width, size_t height,
       int kind, CUstream stream),
      (to, x, y, from, pitch, width, height, kind, stream))
ASYNC(Memcpy2DFromArrayAsync,
      (void *to, size_t pitch, CUarray from, size_t x, size_t y, size_t width, size_t height,
       int kind, CUstream stream),
      (to, pitch, from, x, y, width, height, kind, stream))
ASYNC(MemcpyToArrayAsync,
      (CUarray to, size_t x, size_t y, const void *from, size_t count, int kind, CUstream stream),
      (to, x, y, from, count, kind, stream))
ASYNC(MemcpyFromArrayAsync,
      (void *to, CUarray from, size_t x, size_t y, size_t count, int kind, CUstream stream),
      (to, from, x, y, count, kind, stream))
ASYNC(MemcpyToSymbolAsync,
      (const void *host, const void *from, size_t count, size_t offset, int kind, CUstream stream),
      (host, from, count, offset, kind, stream))
ASYNC(MemcpyFromSymbolAsync,
      (void *to, const void *host, size_t count, size_t offset, int kind, CUstream stream),
      (to, host, count, offset, kind, stream))
ASYNC(MemsetAsync, (void *memory, int value, size_t size, CUstream stream),
      (memory, value, size, stream))
ASYNC(Memset2DAsync,
      (void *memory, size_t pitch, int value, size_t width, size_t height, CUstream stream),
      (memory, pitch, value, width, height, stream))
ASYNC(MallocAsync, (void **memory, size_t size, CUstream stream), (memory, size, stream))
ASYNC(FreeAsync, (void *memory, CUstream stream), (memory, stream))
ASYNC(StreamGetFlags, (CUstream stream, unsigned *flags), (stream, flags))
ASYNC(StreamGetPriority, (CUstream stream, int *priority), (stream, priority))
ASYNC(StreamGetId, (CUstream stream, unsigned long long *id), (stream, id))
ASYNC(StreamAddCallback, (CUstream stream, CUstreamCallback callback, void *user, unsigned flags),
      (stream, callback, user, flags))
ASYNC(LaunchHostFunc, (CUstream stream, CUhostFn function, void *user), (stream, function, user))
ASYNC(StreamAttachMemAsync, (CUstream stream, void *memory, size_t length, unsigned flags),
      (stream, memory, length, flags))
ASYNC(EventRecordWithFlags, (CUevent event, CUstream stream, unsigned flags),
      (event, stream, flags))
ASYNC(StreamBeginCapture, (CUstream stream, int mode), (stream, mode))
ASYNC(StreamEndCapture, (CUstream stream, CUgraph *graph), (stream, graph))
ASYNC(StreamIsCapturing, (CUstream stream, int *status), (stream, status))
ASYNC(StreamGetDevice, (CUstream stream, int *device), (stream, device))
ASYNC(StreamGetAttribute, (CUstream stream, int attribute, CUlaunchAttributeValue *value),
      (stream, attribute, value))
ASYNC(StreamSetAttribute, (CUstream stream, int attribute, const CUlaunchAttributeValue *value),
      (stream, attribute, value))
#if CUDART_MAJOR == 12
ASYNC(StreamGetCaptureInfo, (CUstream stream, int *status, unsigned long long *id),
      (stream, status, id))
ASYNC(StreamGetCaptureInfo_v2,
      (CUstream stream, int *status, unsigned long long *id, CUgraph *graph,
       const CUgraphNode **needs, size_t *count),
      (stream, status, id, graph, needs, count))
ASYNC(StreamGetCaptureInfo_v3,
      (CUstream stream, int *status, unsigned long long *id, CUgraph *graph,
       const CUgraphNode **needs, const CUgraphEdgeData **edges, size_t *count),
      (stream, status, id, graph, needs, edges, count))
#else
ASYNC(StreamGetCaptureInfo,
      (CUstream stream, int *status, unsigned long long *id, CUgraph *graph,
       const CUgraphNode **needs, const CUgraphEdgeData **edges, size_t *count),
      (stream, status, id, graph, needs, edges, count))
#endif
ASYNC(MallocFromPoolAsync, (void **memory, size_t size, CUmemoryPool pool, CUstream stream),
      (memory, size, pool, stream))
ASYNC(Memset3DAsync, (struct pitched memory, int value, struct extent extent, CUstream stream),
      (memory, value, extent, stream))
ASYNC(GraphUpload, (CUgraphExec exec, CUstream stream), (exec, stream))
ASYNC(LaunchCooperativeKernel,
      (const void *host, struct dim3 grid, struct dim3 block, void **args, size_t shared,
       CUstream stream),
      (host, grid, block, args, shared, stream))

WAITING(Memcpy, (void *to, const void *from, size_t size, int kind), MemcpyAsync,
        (to, from, size, kind, RT_PER_THREAD))
WAITING(Memcpy2D,
        (void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
         size_t height, int kind),
        Memcpy2DAsync, (to, to_pitch, from, from_pitch, width, height, kind, RT_PER_THREAD))
WAITING(Memcpy2DToArray,
        (CUarray to, size_t x, size_t y, const void *from, size_t pitch, size_t width,
         size_t height, int kind),
        Memcpy2DToArrayAsync, (to, x, y, from, pitch, width, height, kind, RT_PER_THREAD))
WAITING(Memcpy2DFromArray,
        (void *to, size_t pitch, CUarray from, size_t x, size_t y, size_t width, size_t height,
         int kind),
        Memcpy2DFromArrayAsync, (to, pitch, from, x, y, width, height, kind, RT_PER_THREAD))
WAITING(MemcpyToArray, (CUarray to, size_t x, size_t y, const void *from, size_t count, int kind),
        MemcpyToArrayAsync, (to, x, y, from, count, kind, RT_PER_THREAD))
WAITING(MemcpyFromArray, (void *to, CUarray from, size_t x, size_t y, size_t count, int kind),
        MemcpyFromArrayAsync, (to, from, x, y, count, kind, RT_PER_THREAD))
WAITING(Memcpy3D, (const struct copy_3d *p), Memcpy3DAsync, (p, RT_PER_THREAD))
WAITING(MemcpyToSymbol, (const void *host, const void *from, size_t count, size_t offset, int kind),
        MemcpyToSymbolAsync, (host, from, count, offset, kind, RT_PER_THREAD))
WAITING(MemcpyFromSymbol, (void *to, const void *host, size_t count, size_t offset, int kind),
        MemcpyFromSymbolAsync, (to, host, count, offset, kind, RT_PER_THREAD))
WAITING(Memset, (void *memory, int value, size_t size), MemsetAsync,
        (memory, value, size, RT_PER_THREAD))
WAITING(Memset3D, (struct pitched memory, int value, struct extent extent), Memset3DAsync,
        (memory, value, extent, RT_PER_THREAD))
WAITING(Memset2D, (void *memory, size_t pitch, int value, size_t width, size_t height),
        Memset2DAsync, (memory, pitch, value, width, height, RT_PER_THREAD))
