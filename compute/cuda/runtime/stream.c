/* SPDX-License-Identifier: MIT */
#include "runtime.h"

/* Streams, events, capture and graphs: handles of the driver API. */

#define FORWARD(name, call, ...)            \
    RT cudaError_t cuda##name(__VA_ARGS__); \
    RT cudaError_t cuda##name(__VA_ARGS__)  \
    {                                       \
        RT_RETURN(call);                    \
    }

FORWARD(StreamCreate, cuStreamCreate(stream, 0), CUstream *stream)
FORWARD(StreamCreateWithFlags, cuStreamCreate(stream, flags), CUstream *stream, unsigned flags)
FORWARD(StreamCreateWithPriority, cuStreamCreateWithPriority(stream, flags, priority),
        CUstream *stream, unsigned flags, int priority)
FORWARD(StreamDestroy, cuStreamDestroy_v2(stream), CUstream stream)
FORWARD(StreamSynchronize, cuStreamSynchronize(stream), CUstream stream)
FORWARD(StreamSynchronize_ptsz, cuStreamSynchronize(RT_STREAM_PT(stream)), CUstream stream)
FORWARD(StreamQuery, cuStreamQuery(stream), CUstream stream)
FORWARD(StreamQuery_ptsz, cuStreamQuery(RT_STREAM_PT(stream)), CUstream stream)
FORWARD(StreamWaitEvent, cuStreamWaitEvent(stream, event, flags), CUstream stream, CUevent event,
        unsigned flags)
FORWARD(StreamWaitEvent_ptsz, cuStreamWaitEvent(RT_STREAM_PT(stream), event, flags),
        CUstream stream, CUevent event, unsigned flags)
FORWARD(StreamGetFlags, cuStreamGetFlags(stream, flags), CUstream stream, unsigned *flags)
FORWARD(StreamGetPriority, cuStreamGetPriority(stream, priority), CUstream stream, int *priority)
FORWARD(StreamGetId, cuStreamGetId(stream, id), CUstream stream, unsigned long long *id)
FORWARD(StreamAddCallback, cuStreamAddCallback(stream, callback, user, flags), CUstream stream,
        CUstreamCallback callback, void *user, unsigned flags)
FORWARD(StreamGetDevice, cuStreamGetDevice(stream, device), CUstream stream, int *device)
FORWARD(StreamGetAttribute, cuStreamGetAttribute(stream, (CUlaunchAttributeID)attribute, value),
        CUstream stream, int attribute, CUlaunchAttributeValue *value)
FORWARD(StreamSetAttribute, cuStreamSetAttribute(stream, (CUlaunchAttributeID)attribute, value),
        CUstream stream, int attribute, const CUlaunchAttributeValue *value)
FORWARD(StreamCopyAttributes, cuStreamCopyAttributes(to, from), CUstream to, CUstream from)
FORWARD(StreamCopyAttributes_ptsz, cuStreamCopyAttributes(RT_STREAM_PT(to), RT_STREAM_PT(from)),
        CUstream to, CUstream from)
FORWARD(LaunchHostFunc, cuLaunchHostFunc(stream, function, user), CUstream stream,
        CUhostFn function, void *user)
FORWARD(StreamAttachMemAsync,
        cuStreamAttachMemAsync(stream, (CUdeviceptr)(uintptr_t)memory, length, flags),
        CUstream stream, void *memory, size_t length, unsigned flags)

FORWARD(EventCreate, cuEventCreate(event, 0), CUevent *event)
FORWARD(EventCreateWithFlags, cuEventCreate(event, flags), CUevent *event, unsigned flags)
FORWARD(EventDestroy, cuEventDestroy_v2(event), CUevent event)
FORWARD(EventRecord, cuEventRecord(event, stream), CUevent event, CUstream stream)
FORWARD(EventRecord_ptsz, cuEventRecord(event, RT_STREAM_PT(stream)), CUevent event,
        CUstream stream)
FORWARD(EventRecordWithFlags, cuEventRecordWithFlags(event, stream, flags), CUevent event,
        CUstream stream, unsigned flags)
FORWARD(EventQuery, cuEventQuery(event), CUevent event)
FORWARD(EventSynchronize, cuEventSynchronize(event), CUevent event)
FORWARD(EventElapsedTime, cuEventElapsedTime(ms, start, end), float *ms, CUevent start, CUevent end)
FORWARD(EventElapsedTime_v2, cuEventElapsedTime(ms, start, end), float *ms, CUevent start,
        CUevent end)

FORWARD(StreamBeginCapture, cuStreamBeginCapture_v2(stream, (CUstreamCaptureMode)mode),
        CUstream stream, int mode)
FORWARD(StreamEndCapture, cuStreamEndCapture(stream, graph), CUstream stream, CUgraph *graph)
FORWARD(StreamIsCapturing, cuStreamIsCapturing(stream, (CUstreamCaptureStatus *)status),
        CUstream stream, int *status)
/* 12 has three of them; since 13 the last is the only one. */
#if CUDART_MAJOR == 12
FORWARD(StreamGetCaptureInfo,
        cuStreamGetCaptureInfo(stream, (CUstreamCaptureStatus *)status, (cuuint64_t *)id),
        CUstream stream, int *status, unsigned long long *id)
FORWARD(StreamGetCaptureInfo_v2,
        cuStreamGetCaptureInfo_v2(stream, (CUstreamCaptureStatus *)status, (cuuint64_t *)id, graph,
                                  needs, count),
        CUstream stream, int *status, unsigned long long *id, CUgraph *graph,
        const CUgraphNode **needs, size_t *count)
FORWARD(StreamGetCaptureInfo_v3,
        cuStreamGetCaptureInfo_v3(stream, (CUstreamCaptureStatus *)status, (cuuint64_t *)id, graph,
                                  needs, edges, count),
        CUstream stream, int *status, unsigned long long *id, CUgraph *graph,
        const CUgraphNode **needs, const CUgraphEdgeData **edges, size_t *count)
#else
FORWARD(StreamGetCaptureInfo,
        cuStreamGetCaptureInfo_v3(stream, (CUstreamCaptureStatus *)status, (cuuint64_t *)id, graph,
                                  needs, edges, count),
        CUstream stream, int *status, unsigned long long *id, CUgraph *graph,
        const CUgraphNode **needs, const CUgraphEdgeData **edges, size_t *count)
#endif
FORWARD(ThreadExchangeStreamCaptureMode,
        cuThreadExchangeStreamCaptureMode((CUstreamCaptureMode *)mode), int *mode)
FORWARD(GraphCreate, cuGraphCreate(graph, flags), CUgraph *graph, unsigned flags)
FORWARD(GraphDestroy, cuGraphDestroy(graph), CUgraph graph)
FORWARD(GraphClone, cuGraphClone(copy, graph), CUgraph *copy, CUgraph graph)
/* The signature of 12 and later. */
FORWARD(GraphInstantiate, cuGraphInstantiateWithFlags(exec, graph, flags), CUgraphExec *exec,
        CUgraph graph, unsigned long long flags)
FORWARD(GraphInstantiateWithFlags, cuGraphInstantiateWithFlags(exec, graph, flags),
        CUgraphExec *exec, CUgraph graph, unsigned long long flags)
FORWARD(GraphLaunch, cuGraphLaunch(exec, stream), CUgraphExec exec, CUstream stream)
FORWARD(GraphLaunch_ptsz, cuGraphLaunch(exec, RT_STREAM_PT(stream)), CUgraphExec exec,
        CUstream stream)
FORWARD(GraphUpload, cuGraphUpload(exec, stream), CUgraphExec exec, CUstream stream)
FORWARD(GraphExecDestroy, cuGraphExecDestroy(exec), CUgraphExec exec)
FORWARD(GraphGetNodes, cuGraphGetNodes(graph, nodes, count), CUgraph graph, CUgraphNode *nodes,
        size_t *count)
FORWARD(GraphGetRootNodes, cuGraphGetRootNodes(graph, nodes, count), CUgraph graph,
        CUgraphNode *nodes, size_t *count)
FORWARD(GraphAddEmptyNode, cuGraphAddEmptyNode(node, graph, needs, count), CUgraphNode *node,
        CUgraph graph, const CUgraphNode *needs, size_t count)
FORWARD(GraphAddChildGraphNode, cuGraphAddChildGraphNode(node, graph, needs, count, child),
        CUgraphNode *node, CUgraph graph, const CUgraphNode *needs, size_t count, CUgraph child)
FORWARD(GraphAddHostNode, cuGraphAddHostNode(node, graph, needs, count, params), CUgraphNode *node,
        CUgraph graph, const CUgraphNode *needs, size_t count, const CUDA_HOST_NODE_PARAMS *params)
