/* SPDX-License-Identifier: MIT */
#include <compute/cuda/texture.h>

#include "graph.h"

/* Parameters of nodes: the runtime's forms of kernels and copies, and the one of all kinds. */

cudaError_t graph_kernel_params(const struct kernel_node *p, CUDA_KERNEL_NODE_PARAMS *ret)
{
    CUfunction function = NULL, own;
    CUkernel kernel = NULL;
    cudaError_t err = runtime_enter();

    if (!err && !p)
        err = RT_INVALID_VALUE;
    if (!err)
        err = register_function(p->func, &function);
    /* The handle of a library's kernel is what the program reads back. */
    if (!err && !cuKernelGetFunction(&own, (CUkernel)(uintptr_t)p->func)) {
        kernel = (CUkernel)(uintptr_t)p->func;
        function = NULL;
    }
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
            .kern = kernel,
        };
    return err;
}

static struct kernel_node kernel_back(const CUDA_KERNEL_NODE_PARAMS *p)
{
    return (struct kernel_node){
        .func = register_host(p->func ? p->func : (CUfunction)(void *)p->kern),
        .grid = {p->gridDimX, p->gridDimY, p->gridDimZ},
        .block = {p->blockDimX, p->blockDimY, p->blockDimZ},
        .shared = p->sharedMemBytes,
        .args = p->kernelParams,
        .extra = p->extra,
    };
}

static size_t unit(CUarray array)
{
    CUDA_ARRAY3D_DESCRIPTOR d;

    if (!array || cuArray3DGetDescriptor_v2(&d, array))
        return 1;
    return cuda_texture_bytes(d.Format) * d.NumChannels;
}

static bool on_host(CUmemorytype type)
{
    return type == CU_MEMORYTYPE_HOST;
}

static struct copy_3d copy_back(const CUDA_MEMCPY3D *c)
{
    CUarray from = c->srcMemoryType == CU_MEMORYTYPE_ARRAY ? c->srcArray : NULL;
    CUarray to = c->dstMemoryType == CU_MEMORYTYPE_ARRAY ? c->dstArray : NULL;
    size_t bytes = unit(from ? from : to);
    bool unified =
        c->srcMemoryType == CU_MEMORYTYPE_UNIFIED || c->dstMemoryType == CU_MEMORYTYPE_UNIFIED;
    struct copy_3d p = {
        .srcArray = from,
        .srcPos = {c->srcXInBytes / (from ? bytes : 1), c->srcY, c->srcZ},
        .dstArray = to,
        .dstPos = {c->dstXInBytes / (to ? bytes : 1), c->dstY, c->dstZ},
        .extent = {c->WidthInBytes / bytes, c->Height, c->Depth},
        .kind = unified ? RT_DEFAULT
                : on_host(c->srcMemoryType)
                    ? (on_host(c->dstMemoryType) ? RT_HOST_TO_HOST : RT_HOST_TO_DEVICE)
                : on_host(c->dstMemoryType) ? RT_DEVICE_TO_HOST
                                            : RT_DEVICE_TO_DEVICE,
    };

    if (!from)
        p.srcPtr = (struct pitched){on_host(c->srcMemoryType) ? (void *)(uintptr_t)c->srcHost
                                                              : (void *)(uintptr_t)c->srcDevice,
                                    c->srcPitch, c->WidthInBytes, c->srcHeight};
    if (!to)
        p.dstPtr = (struct pitched){on_host(c->dstMemoryType) ? c->dstHost
                                                              : (void *)(uintptr_t)c->dstDevice,
                                    c->dstPitch, c->WidthInBytes, c->dstHeight};
    return p;
}

RT cudaError_t cudaGraphKernelNodeGetParams(CUgraphNode node, struct kernel_node *p);
RT cudaError_t cudaGraphKernelNodeGetParams(CUgraphNode node, struct kernel_node *p)
{
    CUDA_KERNEL_NODE_PARAMS params;
    cudaError_t err = runtime_enter();

    if (!err && !p)
        err = RT_INVALID_VALUE;
    if (!err)
        err = (int)cuGraphKernelNodeGetParams_v2(node, &params);
    if (!err)
        *p = kernel_back(&params);
    return runtime_leave(err);
}

RT cudaError_t cudaGraphMemcpyNodeGetParams(CUgraphNode node, struct copy_3d *p);
RT cudaError_t cudaGraphMemcpyNodeGetParams(CUgraphNode node, struct copy_3d *p)
{
    CUDA_MEMCPY3D params;
    cudaError_t err = runtime_enter();

    if (!err && !p)
        err = RT_INVALID_VALUE;
    if (!err)
        err = (int)cuGraphMemcpyNodeGetParams(node, &params);
    if (!err)
        *p = copy_back(&params);
    return runtime_leave(err);
}

RT cudaError_t cudaGraphMemcpyNodeSetParams(CUgraphNode node, const struct copy_3d *p);
RT cudaError_t cudaGraphMemcpyNodeSetParams(CUgraphNode node, const struct copy_3d *p)
{
    CUDA_MEMCPY3D c = p ? memory_copy_3d(p) : (CUDA_MEMCPY3D){0};

    RT_RETURN(p ? cuGraphMemcpyNodeSetParams(node, &c) : CUDA_ERROR_INVALID_VALUE);
}

RT cudaError_t cudaGraphMemcpyNodeSetParams1D(CUgraphNode node, void *to, const void *from,
                                              size_t size, int kind);
RT cudaError_t cudaGraphMemcpyNodeSetParams1D(CUgraphNode node, void *to, const void *from,
                                              size_t size, int kind)
{
    struct copy_3d p = graph_copy_1d(to, from, size, kind);

    return kind < 0 || kind > RT_DEFAULT ? runtime_leave(RT_INVALID_MEMCPY_DIRECTION)
                                         : cudaGraphMemcpyNodeSetParams(node, &p);
}

cudaError_t cudaGraphExecMemcpyNodeSetParams1D(CUgraphExec exec, CUgraphNode node, void *to,
                                               const void *from, size_t size, int kind);

/* To or from a variable: the node's forms and the instantiated graph's. */
#define SYMBOL(name, writes, parameters, call)                                    \
    RT cudaError_t cudaGraph##name parameters;                                    \
    RT cudaError_t cudaGraph##name parameters                                     \
    {                                                                             \
        CUdeviceptr at = 0;                                                       \
        cudaError_t err = memory_symbol(symbol, offset, size, kind, writes, &at); \
        void *part = (void *)(uintptr_t)at;                                       \
                                                                                  \
        return err ? runtime_leave(err) : call;                                   \
    }

SYMBOL(MemcpyNodeSetParamsToSymbol, true,
       (CUgraphNode node, const void *symbol, const void *from, size_t size, size_t offset,
        int kind),
       cudaGraphMemcpyNodeSetParams1D(node, part, from, size, kind))
SYMBOL(MemcpyNodeSetParamsFromSymbol, false,
       (CUgraphNode node, void *to, const void *symbol, size_t size, size_t offset, int kind),
       cudaGraphMemcpyNodeSetParams1D(node, to, part, size, kind))
SYMBOL(ExecMemcpyNodeSetParamsToSymbol, true,
       (CUgraphExec exec, CUgraphNode node, const void *symbol, const void *from, size_t size,
        size_t offset, int kind),
       cudaGraphExecMemcpyNodeSetParams1D(exec, node, part, from, size, kind))
SYMBOL(ExecMemcpyNodeSetParamsFromSymbol, false,
       (CUgraphExec exec, CUgraphNode node, void *to, const void *symbol, size_t size,
        size_t offset, int kind),
       cudaGraphExecMemcpyNodeSetParams1D(exec, node, to, part, size, kind))

/* cudaGraphNodeParams */
struct node_params {
    int type, reserved0[3];
    union {
        long long reserved1[29];
        struct kernel_node kernel;
        struct {
            int flags, reserved[3];
            struct copy_3d copy;
        } memcpy;
        CUDA_MEMSET_NODE_PARAMS memset;
        CUDA_HOST_NODE_PARAMS host;
        CUDA_CHILD_GRAPH_NODE_PARAMS graph;
        CUDA_EVENT_RECORD_NODE_PARAMS event; /* record and wait */
        CUDA_MEM_ALLOC_NODE_PARAMS alloc;
        CUDA_MEM_FREE_NODE_PARAMS free;
        struct {
            CUgraphConditionalHandle handle;
            CUgraphConditionalNodeType type;
            unsigned size;
            CUgraph *bodies;
        } conditional;
    };
    long long reserved2;
};

_Static_assert(sizeof(struct node_params) == sizeof(CUgraphNodeParams), "the same size");

static cudaError_t to_driver(const struct node_params *p, CUgraphNodeParams *ret)
{
    CUgraphNodeParams q = {.type = (CUgraphNodeType)(p ? p->type : 0)};
    cudaError_t err = p ? 0 : RT_INVALID_VALUE;

    if (err)
        return err;
    for (unsigned i = 0; i < 3; i++)
        q.reserved0[i] = p->reserved0[i];
    q.reserved2 = p->reserved2;
    switch (q.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        err = graph_kernel_params(&p->kernel, &q.kernel);
        break;
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        q.memcpy.flags = p->memcpy.flags;
        q.memcpy.copyParams = memory_copy_3d(&p->memcpy.copy);
        break;
    case CU_GRAPH_NODE_TYPE_MEMSET:
        q.memset = (CUDA_MEMSET_NODE_PARAMS_v2){p->memset.dst,
                                                p->memset.pitch,
                                                p->memset.value,
                                                p->memset.elementSize,
                                                p->memset.width,
                                                p->memset.height,
                                                NULL};
        break;
    case CU_GRAPH_NODE_TYPE_HOST:
        q.host = p->host;
        break;
    case CU_GRAPH_NODE_TYPE_GRAPH:
        q.graph = p->graph;
        break;
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        q.eventRecord = p->event;
        break;
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
        q.alloc = p->alloc;
        break;
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
        q.free = p->free;
        break;
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        q.conditional = (CUDA_CONDITIONAL_NODE_PARAMS){p->conditional.handle, p->conditional.type,
                                                       p->conditional.size, NULL, NULL};
        break;
    default: /* what there is none of, the driver refuses */
        break;
    }
    *ret = q;
    return err;
}

static cudaError_t add_node(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                            const CUgraphEdgeData *edges, size_t count, struct node_params *p)
{
    CUgraphNodeParams params;
    cudaError_t err = runtime_enter();

    if (!err)
        err = to_driver(p, &params);
    if (!err)
        err = (int)cuGraphAddNode_v2(node, graph, needs, edges, count, &params);
    if (!err && params.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC)
        p->alloc.dptr = params.alloc.dptr;
    if (!err && params.type == CU_GRAPH_NODE_TYPE_CONDITIONAL)
        p->conditional.bodies = params.conditional.phGraph_out;
    return runtime_leave(err);
}

#if CUDART_MAJOR == 12
RT cudaError_t cudaGraphAddNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                size_t count, struct node_params *p);
RT cudaError_t cudaGraphAddNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                size_t count, struct node_params *p)
{
    return add_node(node, graph, needs, NULL, count, p);
}
#define ADD_NODE cudaGraphAddNode_v2
#else
#define ADD_NODE cudaGraphAddNode
#endif

RT cudaError_t ADD_NODE(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                        const CUgraphEdgeData *edges, size_t count, struct node_params *p);
RT cudaError_t ADD_NODE(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                        const CUgraphEdgeData *edges, size_t count, struct node_params *p)
{
    return add_node(node, graph, needs, edges, count, p);
}

RT cudaError_t cudaGraphNodeSetParams(CUgraphNode node, struct node_params *p);
RT cudaError_t cudaGraphNodeSetParams(CUgraphNode node, struct node_params *p)
{
    CUgraphNodeParams params;
    cudaError_t err = runtime_enter();

    if (!err)
        err = to_driver(p, &params);
    return runtime_leave(err ? err : (int)cuGraphNodeSetParams(node, &params));
}

RT cudaError_t cudaGraphExecNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                          struct node_params *p);
RT cudaError_t cudaGraphExecNodeSetParams(CUgraphExec exec, CUgraphNode node, struct node_params *p)
{
    CUgraphNodeParams params;
    cudaError_t err = runtime_enter();

    if (!err)
        err = to_driver(p, &params);
    return runtime_leave(err ? err : (int)cuGraphExecNodeSetParams(exec, node, &params));
}
