/* SPDX-License-Identifier: MIT */
#include "runtime.h"

/* Nodes of graphs that programs add by hand, and memory pools. */

/* cudaKernelNodeParams */
struct kernel_node {
    const void *func;
    struct dim3 grid, block;
    unsigned shared;
    void **args, **extra;
};

static cudaError_t kernel_params(const struct kernel_node *p, CUDA_KERNEL_NODE_PARAMS *ret)
{
    CUfunction function = NULL;
    cudaError_t err = runtime_enter();

    if (!err && !p)
        err = RT_INVALID_VALUE;
    if (!err)
        err = register_function(p->func, &function);
    if (!err)
        *ret = (CUDA_KERNEL_NODE_PARAMS){
            .func = function,
            .gridDimX = p->grid.x,
            .gridDimY = p->grid.y,
            .gridDimZ = p->grid.z,
            .blockDimX = p->block.x,
            .blockDimY = p->block.y,
            .blockDimZ = p->block.z,
            .sharedMemBytes = p->shared,
            .kernelParams = p->args,
            .extra = p->extra,
        };
    return err;
}

RT cudaError_t cudaGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                      size_t count, const struct kernel_node *p);
RT cudaError_t cudaGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                      size_t count, const struct kernel_node *p)
{
    CUDA_KERNEL_NODE_PARAMS params;
    cudaError_t err = kernel_params(p, &params);

    return runtime_leave(err ? err
                             : (int)cuGraphAddKernelNode_v2(node, graph, needs, count, &params));
}

RT cudaError_t cudaGraphKernelNodeSetParams(CUgraphNode node, const struct kernel_node *p);
RT cudaError_t cudaGraphKernelNodeSetParams(CUgraphNode node, const struct kernel_node *p)
{
    CUDA_KERNEL_NODE_PARAMS params;
    cudaError_t err = kernel_params(p, &params);

    return runtime_leave(err ? err : (int)cuGraphKernelNodeSetParams_v2(node, &params));
}

RT cudaError_t cudaGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                                const struct kernel_node *p);
RT cudaError_t cudaGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                                const struct kernel_node *p)
{
    CUDA_KERNEL_NODE_PARAMS params;
    cudaError_t err = kernel_params(p, &params);

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

static struct copy_3d copy_1d(void *to, const void *from, size_t size, int kind)
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
    struct copy_3d p = copy_1d(to, from, size, kind);

    RT_RETURN(kind < 0 || kind > RT_DEFAULT ? (CUresult)RT_INVALID_MEMCPY_DIRECTION
                                            : add_copy(node, graph, needs, count, &p));
}

/* A part of a variable that is registered under this host address. */
static cudaError_t part_of(const void *host, size_t offset, size_t size, void **ret)
{
    CUdeviceptr address = 0;
    size_t bytes = 0;
    cudaError_t err = runtime_enter();

    if (!err)
        err = register_variable(host, &address, &bytes);
    if (!err && (offset > bytes || size > bytes - offset))
        err = RT_INVALID_VALUE;
    *ret = (void *)(uintptr_t)(address + offset);
    return err;
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
    void *to;
    cudaError_t err = part_of(host, offset, size, &to);

    return runtime_leave(
        err ? err : cudaGraphAddMemcpyNode1D(node, graph, needs, count, to, from, size, kind));
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
    void *from;
    cudaError_t err = part_of(host, offset, size, &from);

    return runtime_leave(
        err ? err : cudaGraphAddMemcpyNode1D(node, graph, needs, count, to, from, size, kind));
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
    struct copy_3d p = copy_1d(to, from, size, kind);

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

/* Edges carry no data here. */
static CUresult plain_edges(const CUgraphEdgeData *edges, size_t count)
{
    for (size_t i = 0; edges && i < count; i++)
        if (edges[i].from_port || edges[i].to_port || edges[i].type)
            return CUDA_ERROR_NOT_SUPPORTED;
    return CUDA_SUCCESS;
}

static CUresult add_needs(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                          const CUgraphEdgeData *edges, size_t count)
{
    CUresult err = plain_edges(edges, count);

    return err ? err : cuGraphAddDependencies(graph, from, to, count);
}

static CUresult get_needs(CUgraphNode node, CUgraphNode *needs, CUgraphEdgeData *edges,
                          size_t *count)
{
    CUresult err = cuGraphNodeGetDependencies(node, needs, count);

    for (size_t i = 0; edges && needs && count && !err && i < *count; i++)
        edges[i] = (CUgraphEdgeData){0};
    return err;
}

#if CUDART_MAJOR == 12
FORWARD(GraphAddDependencies, cuGraphAddDependencies(graph, from, to, count), CUgraph graph,
        const CUgraphNode *from, const CUgraphNode *to, size_t count)
FORWARD(GraphAddDependencies_v2, add_needs(graph, from, to, edges, count), CUgraph graph,
        const CUgraphNode *from, const CUgraphNode *to, const CUgraphEdgeData *edges, size_t count)
FORWARD(GraphNodeGetDependencies, cuGraphNodeGetDependencies(node, needs, count), CUgraphNode node,
        CUgraphNode *needs, size_t *count)
FORWARD(GraphNodeGetDependencies_v2, get_needs(node, needs, edges, count), CUgraphNode node,
        CUgraphNode *needs, CUgraphEdgeData *edges, size_t *count)
#else
FORWARD(GraphAddDependencies, add_needs(graph, from, to, edges, count), CUgraph graph,
        const CUgraphNode *from, const CUgraphNode *to, const CUgraphEdgeData *edges, size_t count)
FORWARD(GraphNodeGetDependencies, get_needs(node, needs, edges, count), CUgraphNode node,
        CUgraphNode *needs, CUgraphEdgeData *edges, size_t *count)
#endif

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
