/* SPDX-License-Identifier: MIT */
#include "graph.h"

/* Nodes of graphs that programs add by hand, and memory pools. */

RT cudaError_t cudaGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                      size_t count, const struct kernel_node *p);
RT cudaError_t cudaGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                      size_t count, const struct kernel_node *p)
{
    CUDA_KERNEL_NODE_PARAMS params;
    cudaError_t err = graph_kernel_params(p, &params);

    return runtime_leave(err ? err
                             : (int)cuGraphAddKernelNode_v2(node, graph, needs, count, &params));
}

RT cudaError_t cudaGraphKernelNodeSetParams(CUgraphNode node, const struct kernel_node *p);
RT cudaError_t cudaGraphKernelNodeSetParams(CUgraphNode node, const struct kernel_node *p)
{
    CUDA_KERNEL_NODE_PARAMS params;
    cudaError_t err = graph_kernel_params(p, &params);

    return runtime_leave(err ? err : (int)cuGraphKernelNodeSetParams_v2(node, &params));
}

RT cudaError_t cudaGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                                const struct kernel_node *p);
RT cudaError_t cudaGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                                const struct kernel_node *p)
{
    CUDA_KERNEL_NODE_PARAMS params;
    cudaError_t err = graph_kernel_params(p, &params);

    return runtime_leave(err ? err : (int)cuGraphExecKernelNodeSetParams_v2(exec, node, &params));
}

static CUresult add_copy(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs, size_t count,
                         const struct copy_3d *p)
{
    CUDA_MEMCPY3D c = p ? memory_copy_3d(p) : (CUDA_MEMCPY3D){0};
    CUcontext context;
    CUresult err = p ? cuCtxGetCurrent(&context) : CUDA_ERROR_INVALID_VALUE;

    return err ? err : cuGraphAddMemcpyNode(node, graph, needs, count, &c, context);
}

RT cudaError_t cudaGraphAddMemcpyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                      size_t count, const struct copy_3d *p);
RT cudaError_t cudaGraphAddMemcpyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                      size_t count, const struct copy_3d *p)
{
    RT_RETURN(add_copy(node, graph, needs, count, p));
}

struct copy_3d graph_copy_1d(void *to, const void *from, size_t size, int kind)
{
    return (struct copy_3d){
        .srcPtr = {.ptr = (void *)(uintptr_t)from, .pitch = size, .xsize = size, .ysize = 1},
        .dstPtr = {.ptr = to, .pitch = size, .xsize = size, .ysize = 1},
        .extent = {.width = size, .height = 1, .depth = 1},
        .kind = kind,
    };
}

RT cudaError_t cudaGraphAddMemcpyNode1D(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                        size_t count, void *to, const void *from, size_t size,
                                        int kind);
RT cudaError_t cudaGraphAddMemcpyNode1D(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                        size_t count, void *to, const void *from, size_t size,
                                        int kind)
{
    struct copy_3d p = graph_copy_1d(to, from, size, kind);

    RT_RETURN(kind < 0 || kind > RT_DEFAULT ? (CUresult)RT_INVALID_MEMCPY_DIRECTION
                                            : add_copy(node, graph, needs, count, &p));
}

RT cudaError_t cudaGraphAddMemcpyNodeToSymbol(CUgraphNode *node, CUgraph graph,
                                              const CUgraphNode *needs, size_t count,
                                              const void *host, const void *from, size_t size,
                                              size_t offset, int kind);
RT cudaError_t cudaGraphAddMemcpyNodeToSymbol(CUgraphNode *node, CUgraph graph,
                                              const CUgraphNode *needs, size_t count,
                                              const void *host, const void *from, size_t size,
                                              size_t offset, int kind)
{
    CUdeviceptr to = 0;
    cudaError_t err = memory_symbol(host, offset, size, kind, true, &to);

    return runtime_leave(err ? err
                             : cudaGraphAddMemcpyNode1D(node, graph, needs, count,
                                                        (void *)(uintptr_t)to, from, size, kind));
}

RT cudaError_t cudaGraphAddMemcpyNodeFromSymbol(CUgraphNode *node, CUgraph graph,
                                                const CUgraphNode *needs, size_t count, void *to,
                                                const void *host, size_t size, size_t offset,
                                                int kind);
RT cudaError_t cudaGraphAddMemcpyNodeFromSymbol(CUgraphNode *node, CUgraph graph,
                                                const CUgraphNode *needs, size_t count, void *to,
                                                const void *host, size_t size, size_t offset,
                                                int kind)
{
    CUdeviceptr from = 0;
    cudaError_t err = memory_symbol(host, offset, size, kind, false, &from);

    return runtime_leave(err ? err
                             : cudaGraphAddMemcpyNode1D(node, graph, needs, count, to,
                                                        (const void *)(uintptr_t)from, size, kind));
}

static CUresult add_memset(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs, size_t count,
                           const CUDA_MEMSET_NODE_PARAMS *p)
{
    CUcontext context;
    CUresult err = cuCtxGetCurrent(&context);

    return err ? err : cuGraphAddMemsetNode(node, graph, needs, count, p, context);
}

RT cudaError_t cudaGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                      size_t count, const CUDA_MEMSET_NODE_PARAMS *p);
RT cudaError_t cudaGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                      size_t count, const CUDA_MEMSET_NODE_PARAMS *p)
{
    RT_RETURN(add_memset(node, graph, needs, count, p));
}

RT cudaError_t cudaGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                                const struct copy_3d *p);
RT cudaError_t cudaGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                                const struct copy_3d *p)
{
    CUDA_MEMCPY3D c = p ? memory_copy_3d(p) : (CUDA_MEMCPY3D){0};
    CUcontext context = NULL;
    cudaError_t err = runtime_enter();

    if (!err && !p)
        err = RT_INVALID_VALUE;
    if (!err)
        err = (int)cuCtxGetCurrent(&context);
    return runtime_leave(err ? err : (int)cuGraphExecMemcpyNodeSetParams(exec, node, &c, context));
}

RT cudaError_t cudaGraphExecMemcpyNodeSetParams1D(CUgraphExec exec, CUgraphNode node, void *to,
                                                  const void *from, size_t size, int kind);
RT cudaError_t cudaGraphExecMemcpyNodeSetParams1D(CUgraphExec exec, CUgraphNode node, void *to,
                                                  const void *from, size_t size, int kind)
{
    struct copy_3d p = graph_copy_1d(to, from, size, kind);

    return kind < 0 || kind > RT_DEFAULT ? runtime_leave(RT_INVALID_MEMCPY_DIRECTION)
                                         : cudaGraphExecMemcpyNodeSetParams(exec, node, &p);
}

RT cudaError_t cudaGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                                const CUDA_MEMSET_NODE_PARAMS *p);
RT cudaError_t cudaGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                                const CUDA_MEMSET_NODE_PARAMS *p)
{
    CUcontext context = NULL;
    cudaError_t err = runtime_enter();

    if (!err)
        err = (int)cuCtxGetCurrent(&context);
    return runtime_leave(err ? err : (int)cuGraphExecMemsetNodeSetParams(exec, node, p, context));
}

#define FORWARD(name, call, ...)            \
    RT cudaError_t cuda##name(__VA_ARGS__); \
    RT cudaError_t cuda##name(__VA_ARGS__)  \
    {                                       \
        RT_RETURN(call);                    \
    }

/* The signature of 12 and later. */
FORWARD(GraphExecUpdate, cuGraphExecUpdate_v2(exec, graph, info), CUgraphExec exec, CUgraph graph,
        CUgraphExecUpdateResultInfo *info)

FORWARD(GraphInstantiateWithParams, cuGraphInstantiateWithParams(exec, graph, params),
        CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *params)
FORWARD(GraphInstantiateWithParams_ptsz, cuGraphInstantiateWithParams(exec, graph, params),
        CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *params)
FORWARD(GraphExecGetFlags, cuGraphExecGetFlags(exec, (cuuint64_t *)flags), CUgraphExec exec,
        unsigned long long *flags)
FORWARD(GraphDestroyNode, cuGraphDestroyNode(node), CUgraphNode node)
FORWARD(GraphNodeGetType, cuGraphNodeGetType(node, (CUgraphNodeType *)type), CUgraphNode node,
        int *type)
FORWARD(GraphChildGraphNodeGetGraph, cuGraphChildGraphNodeGetGraph(node, graph), CUgraphNode node,
        CUgraph *graph)

#define NODES  CUgraphNode *nodes
#define GRAPH  CUgraph graph
#define PAIRS  const CUgraphNode *from, const CUgraphNode *to
#define BOTH   CUgraphNode *from, CUgraphNode *to
#define GIVEN  const CUgraphEdgeData *edges
#define WANTED CUgraphEdgeData *edges

/* With what edges carry: of 12 the second version, later the only one. */
#define EDGES(suffix)                                                                              \
    FORWARD(GraphAddDependencies##suffix,                                                          \
            cuGraphAddDependencies_v2(graph, from, to, edges, count), GRAPH, PAIRS, GIVEN,         \
            size_t count)                                                                          \
    FORWARD(GraphRemoveDependencies##suffix,                                                       \
            cuGraphRemoveDependencies_v2(graph, from, to, edges, count), GRAPH, PAIRS, GIVEN,      \
            size_t count)                                                                          \
    FORWARD(GraphGetEdges##suffix, cuGraphGetEdges_v2(graph, from, to, edges, count), GRAPH, BOTH, \
            WANTED, size_t *count)                                                                 \
    FORWARD(GraphNodeGetDependencies##suffix,                                                      \
            cuGraphNodeGetDependencies_v2(node, nodes, edges, count), CUgraphNode node, NODES,     \
            WANTED, size_t *count)                                                                 \
    FORWARD(GraphNodeGetDependentNodes##suffix,                                                    \
            cuGraphNodeGetDependentNodes_v2(node, nodes, edges, count), CUgraphNode node, NODES,   \
            WANTED, size_t *count)                                                                 \
    FORWARD(StreamUpdateCaptureDependencies##suffix,                                               \
            cuStreamUpdateCaptureDependencies_v2(stream, nodes, edges, count, flags),              \
            CUstream stream, NODES, GIVEN, size_t count, unsigned flags)                           \
    FORWARD(                                                                                       \
        StreamUpdateCaptureDependencies##suffix##_ptsz,                                            \
        cuStreamUpdateCaptureDependencies_v2(RT_STREAM_PT(stream), nodes, edges, count, flags),    \
        CUstream stream, NODES, GIVEN, size_t count, unsigned flags)

#if CUDART_MAJOR == 12
EDGES(_v2)
FORWARD(GraphAddDependencies, cuGraphAddDependencies(graph, from, to, count), GRAPH, PAIRS,
        size_t count)
FORWARD(GraphRemoveDependencies, cuGraphRemoveDependencies(graph, from, to, count), GRAPH, PAIRS,
        size_t count)
FORWARD(GraphGetEdges, cuGraphGetEdges(graph, from, to, count), GRAPH, BOTH, size_t *count)
FORWARD(GraphNodeGetDependencies, cuGraphNodeGetDependencies(node, nodes, count), CUgraphNode node,
        NODES, size_t *count)
FORWARD(GraphNodeGetDependentNodes, cuGraphNodeGetDependentNodes(node, nodes, count),
        CUgraphNode node, NODES, size_t *count)
FORWARD(StreamUpdateCaptureDependencies,
        cuStreamUpdateCaptureDependencies(stream, nodes, count, flags), CUstream stream, NODES,
        size_t count, unsigned flags)
FORWARD(StreamUpdateCaptureDependencies_ptsz,
        cuStreamUpdateCaptureDependencies(RT_STREAM_PT(stream), nodes, count, flags),
        CUstream stream, NODES, size_t count, unsigned flags)
#else
EDGES()
#endif

#define BEGIN_CAPTURE(suffix, stream_of)                                       \
    FORWARD(StreamBeginCaptureToGraph##suffix,                                 \
            cuStreamBeginCaptureToGraph(stream_of, graph, needs, edges, count, \
                                        (CUstreamCaptureMode)mode),            \
            CUstream stream, GRAPH, const CUgraphNode *needs, GIVEN, size_t count, int mode)
BEGIN_CAPTURE(, stream)
BEGIN_CAPTURE(_ptsz, RT_STREAM_PT(stream))

#define NEEDS CUgraphNode *node, CUgraph graph, const CUgraphNode *needs, size_t count

#define EVENT_NODE(name)                                                                           \
    FORWARD(GraphAdd##name##Node, cuGraphAdd##name##Node(node, graph, needs, count, event), NEEDS, \
            CUevent event)                                                                         \
    FORWARD(Graph##name##NodeGetEvent, cuGraph##name##NodeGetEvent(node, event), CUgraphNode node, \
            CUevent *event)                                                                        \
    FORWARD(Graph##name##NodeSetEvent, cuGraph##name##NodeSetEvent(node, event), CUgraphNode node, \
            CUevent event)                                                                         \
    FORWARD(GraphExec##name##NodeSetEvent, cuGraphExec##name##NodeSetEvent(exec, node, event),     \
            CUgraphExec exec, CUgraphNode node, CUevent event)
EVENT_NODE(EventRecord)
EVENT_NODE(EventWait)

FORWARD(GraphAddMemAllocNode, cuGraphAddMemAllocNode(node, graph, needs, count, params), NEEDS,
        CUDA_MEM_ALLOC_NODE_PARAMS *params)
FORWARD(GraphMemAllocNodeGetParams, cuGraphMemAllocNodeGetParams(node, params), CUgraphNode node,
        CUDA_MEM_ALLOC_NODE_PARAMS *params)
FORWARD(GraphAddMemFreeNode,
        cuGraphAddMemFreeNode(node, graph, needs, count, (CUdeviceptr)(uintptr_t)memory), NEEDS,
        void *memory)
FORWARD(GraphMemFreeNodeGetParams, cuGraphMemFreeNodeGetParams(node, (CUdeviceptr *)memory),
        CUgraphNode node, void *memory)
FORWARD(DeviceGraphMemTrim, cuDeviceGraphMemTrim(device), int device)
FORWARD(DeviceGetGraphMemAttribute,
        cuDeviceGetGraphMemAttribute(device, (CUgraphMem_attribute)attribute, value), int device,
        int attribute, void *value)
FORWARD(DeviceSetGraphMemAttribute,
        cuDeviceSetGraphMemAttribute(device, (CUgraphMem_attribute)attribute, value), int device,
        int attribute, void *value)
FORWARD(GraphConditionalHandleCreate,
        cuGraphConditionalHandleCreate(handle, graph, NULL, value, flags),
        CUgraphConditionalHandle *handle, GRAPH, unsigned value, unsigned flags)
FORWARD(GraphDebugDotPrint, cuGraphDebugDotPrint(graph, path, flags), GRAPH, const char *path,
        unsigned flags)
FORWARD(GraphExecChildGraphNodeSetParams, cuGraphExecChildGraphNodeSetParams(exec, node, child),
        CUgraphExec exec, CUgraphNode node, CUgraph child)
FORWARD(GraphHostNodeGetParams, cuGraphHostNodeGetParams(node, params), CUgraphNode node,
        CUDA_HOST_NODE_PARAMS *params)
FORWARD(GraphHostNodeSetParams, cuGraphHostNodeSetParams(node, params), CUgraphNode node,
        const CUDA_HOST_NODE_PARAMS *params)
FORWARD(GraphMemsetNodeGetParams, cuGraphMemsetNodeGetParams(node, params), CUgraphNode node,
        CUDA_MEMSET_NODE_PARAMS *params)
FORWARD(GraphMemsetNodeSetParams, cuGraphMemsetNodeSetParams(node, params), CUgraphNode node,
        const CUDA_MEMSET_NODE_PARAMS *params)
FORWARD(GraphKernelNodeCopyAttributes, cuGraphKernelNodeCopyAttributes(to, from), CUgraphNode to,
        CUgraphNode from)
FORWARD(GraphKernelNodeGetAttribute,
        cuGraphKernelNodeGetAttribute(node, (CUlaunchAttributeID)id, value), CUgraphNode node,
        int id, CUlaunchAttributeValue *value)
FORWARD(GraphKernelNodeSetAttribute,
        cuGraphKernelNodeSetAttribute(node, (CUlaunchAttributeID)id, value), CUgraphNode node,
        int id, const CUlaunchAttributeValue *value)
FORWARD(GraphNodeFindInClone, cuGraphNodeFindInClone(node, original, clone), CUgraphNode *node,
        CUgraphNode original, CUgraph clone)
FORWARD(GraphNodeGetEnabled, cuGraphNodeGetEnabled(exec, node, enabled), CUgraphExec exec,
        CUgraphNode node, unsigned *enabled)
FORWARD(GraphNodeSetEnabled, cuGraphNodeSetEnabled(exec, node, enabled), CUgraphExec exec,
        CUgraphNode node, unsigned enabled)
FORWARD(UserObjectCreate, cuUserObjectCreate(object, pointer, destroy, count, flags),
        CUuserObject *object, void *pointer, CUhostFn destroy, unsigned count, unsigned flags)
FORWARD(UserObjectRetain, cuUserObjectRetain(object, count), CUuserObject object, unsigned count)
FORWARD(UserObjectRelease, cuUserObjectRelease(object, count), CUuserObject object, unsigned count)
FORWARD(GraphRetainUserObject, cuGraphRetainUserObject(graph, object, count, flags), GRAPH,
        CUuserObject object, unsigned count, unsigned flags)
FORWARD(GraphReleaseUserObject, cuGraphReleaseUserObject(graph, object, count), GRAPH,
        CUuserObject object, unsigned count)

FORWARD(GraphExecHostNodeSetParams, cuGraphExecHostNodeSetParams(exec, node, params),
        CUgraphExec exec, CUgraphNode node, const CUDA_HOST_NODE_PARAMS *params)

FORWARD(DeviceGetDefaultMemPool, cuDeviceGetDefaultMemPool(pool, device), CUmemoryPool *pool,
        int device)
FORWARD(DeviceGetMemPool, cuDeviceGetMemPool(pool, device), CUmemoryPool *pool, int device)
FORWARD(DeviceSetMemPool, cuDeviceSetMemPool(device, pool), int device, CUmemoryPool pool)
FORWARD(MemPoolCreate, cuMemPoolCreate(pool, props), CUmemoryPool *pool,
        const CUmemPoolProps *props)
FORWARD(MemPoolDestroy, cuMemPoolDestroy(pool), CUmemoryPool pool)
FORWARD(MemPoolSetAttribute, cuMemPoolSetAttribute(pool, (CUmemPool_attribute)attribute, value),
        CUmemoryPool pool, int attribute, void *value)
FORWARD(MemPoolGetAttribute, cuMemPoolGetAttribute(pool, (CUmemPool_attribute)attribute, value),
        CUmemoryPool pool, int attribute, void *value)
FORWARD(MemPoolSetAccess, cuMemPoolSetAccess(pool, access, count), CUmemoryPool pool,
        const CUmemAccessDesc *access, size_t count)
FORWARD(MemPoolGetAccess, cuMemPoolGetAccess((CUmemAccess_flags *)flags, pool, location),
        int *flags, CUmemoryPool pool, CUmemLocation *location)
FORWARD(MemPoolTrimTo, cuMemPoolTrimTo(pool, keep), CUmemoryPool pool, size_t keep)
FORWARD(MallocFromPoolAsync, cuMemAllocFromPoolAsync((CUdeviceptr *)memory, size, pool, stream),
        void **memory, size_t size, CUmemoryPool pool, CUstream stream)

/* No profiler is there that these would start and stop. */
FORWARD(ProfilerStart, CUDA_SUCCESS, void)
FORWARD(ProfilerStop, CUDA_SUCCESS, void)
