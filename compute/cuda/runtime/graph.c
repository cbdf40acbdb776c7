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

RT cudaError_t cudaGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                      size_t count, const struct kernel_node *p);
RT cudaError_t cudaGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                      size_t count, const struct kernel_node *p)
{
    CUDA_KERNEL_NODE_PARAMS params = {0};
    cudaError_t err = runtime_enter();

    if (!err && !p)
        err = RT_INVALID_VALUE;
    if (!err)
        err = register_function(p->func, &params.func);
    if (err)
        return runtime_leave(err);
    params.gridDimX = p->grid.x;
    params.gridDimY = p->grid.y;
    params.gridDimZ = p->grid.z;
    params.blockDimX = p->block.x;
    params.blockDimY = p->block.y;
    params.blockDimZ = p->block.z;
    params.sharedMemBytes = p->shared;
    params.kernelParams = p->args;
    params.extra = p->extra;
    return runtime_leave((int)cuGraphAddKernelNode_v2(node, graph, needs, count, &params));
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

RT cudaError_t cudaGraphAddMemcpyNode1D(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                        size_t count, void *to, const void *from, size_t size,
                                        int kind);
RT cudaError_t cudaGraphAddMemcpyNode1D(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                        size_t count, void *to, const void *from, size_t size,
                                        int kind)
{
    struct copy_3d p = {
        .srcPtr = {.ptr = (void *)(uintptr_t)from, .pitch = size, .xsize = size, .ysize = 1},
        .dstPtr = {.ptr = to, .pitch = size, .xsize = size, .ysize = 1},
        .extent = {.width = size, .height = 1, .depth = 1},
        .kind = kind,
    };

    RT_RETURN(kind < 0 || kind > RT_DEFAULT ? (CUresult)RT_INVALID_MEMCPY_DIRECTION
                                            : add_copy(node, graph, needs, count, &p));
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

#define FORWARD(name, call, ...)            \
    RT cudaError_t cuda##name(__VA_ARGS__); \
    RT cudaError_t cuda##name(__VA_ARGS__)  \
    {                                       \
        RT_RETURN(call);                    \
    }

/* The signature of 12 and later. */
FORWARD(GraphExecUpdate, cuGraphExecUpdate_v2(exec, graph, info), CUgraphExec exec, CUgraph graph,
        CUgraphExecUpdateResultInfo *info)

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
