/* SPDX-License-Identifier: MIT */
#include "graph.h"

/* Nodes that are added, and their parameters: every kind by the one form that all have. */

static bool has_twice(const CUgraphNode *needs, size_t count)
{
    for (size_t i = 0; needs && i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (needs[i] == needs[j])
                return true;
    return false;
}

static CUresult add(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                    const CUgraphEdgeData *edges, size_t count, CUgraphNodeParams *p)
{
    struct CUgraphNode_st *n;
    CUresult err = graph_enter(graph);

    if (err)
        return err;
    /* More than there are nodes cannot all be different ones. */
    if (!node || count > graph->count || has_twice(needs, count))
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = graph_add(graph, p->type, needs, edges, count, &n);
    if (err)
        return leave(err);
    err = graph_node_set(n, p);
    if (err)
        graph_remove(n);
    else
        *node = n;
    return leave(err);
}

static CUresult set(CUgraphNode node, CUgraphNodeParams *p)
{
    CUresult err = graph_enter_node(node, (int)p->type);

    if (err)
        return err;
    return leave(graph_node_can_set(p->type) ? graph_node_set(node, p) : CUDA_ERROR_NOT_SUPPORTED);
}

static CUresult get(CUgraphNode node, CUgraphNodeType type, const void *there,
                    CUgraphNodeParams *ret)
{
    CUresult err = graph_enter_node(node, (int)type);

    if (err)
        return err;
    if (!there)
        return leave(CUDA_ERROR_INVALID_VALUE);
    graph_node_get(node, ret);
    return leave(CUDA_SUCCESS);
}

/* Parameters of type `kind`, whose part is `member`, as what all have. `Set` and `Add` forms. */
#define PARAMS(kind, member, value) \
    CUgraphNodeParams p = {.type = CU_GRAPH_NODE_TYPE_##kind, .member = value}

#define NEEDS CUgraphNode *node, CUgraph graph, const CUgraphNode *needs, size_t count

CUDA_KERNEL_NODE_PARAMS graph_params_kernel(const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
    return (CUDA_KERNEL_NODE_PARAMS){.func = p->func,
                                     .gridDimX = p->gridDimX,
                                     .gridDimY = p->gridDimY,
                                     .gridDimZ = p->gridDimZ,
                                     .blockDimX = p->blockDimX,
                                     .blockDimY = p->blockDimY,
                                     .blockDimZ = p->blockDimZ,
                                     .sharedMemBytes = p->sharedMemBytes,
                                     .kernelParams = p->kernelParams,
                                     .extra = p->extra};
}

CUDA_MEMSET_NODE_PARAMS_v2 graph_params_memset(const CUDA_MEMSET_NODE_PARAMS *p, CUcontext context)
{
    return (CUDA_MEMSET_NODE_PARAMS_v2){p->dst,   p->pitch,  p->value, p->elementSize,
                                        p->width, p->height, context};
}

API cuGraphAddKernelNode(NEEDS, const CUDA_KERNEL_NODE_PARAMS_v1 *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(KERNEL, kernel, graph_params_kernel(params));
    return add(node, graph, needs, NULL, count, &p);
}

API cuGraphAddKernelNode_v2(NEEDS, const CUDA_KERNEL_NODE_PARAMS *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(KERNEL, kernel, *params);
    return add(node, graph, needs, NULL, count, &p);
}

API cuGraphKernelNodeGetParams(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v1 *params)
{
    CUgraphNodeParams p;
    CUresult err = get(node, CU_GRAPH_NODE_TYPE_KERNEL, params, &p);

    if (!err) {
        CUDA_KERNEL_NODE_PARAMS *k = &p.kernel;

        *params = (CUDA_KERNEL_NODE_PARAMS_v1){
            k->func ? k->func : (CUfunction)(void *)k->kern,
            k->gridDimX,
            k->gridDimY,
            k->gridDimZ,
            k->blockDimX,
            k->blockDimY,
            k->blockDimZ,
            k->sharedMemBytes,
            k->kernelParams,
            k->extra,
        };
    }
    return err;
}

API cuGraphKernelNodeGetParams_v2(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS *params)
{
    CUgraphNodeParams p;
    CUresult err = get(node, CU_GRAPH_NODE_TYPE_KERNEL, params, &p);

    if (!err)
        *params = p.kernel;
    return err;
}

API cuGraphKernelNodeSetParams(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1 *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(KERNEL, kernel, graph_params_kernel(params));
    return set(node, &p);
}

API cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(KERNEL, kernel, *params);
    return set(node, &p);
}

API cuGraphAddMemcpyNode(NEEDS, const CUDA_MEMCPY3D *params, CUcontext context)
{
    if (!params || !context)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(MEMCPY, memcpy, ((CUDA_MEMCPY_NODE_PARAMS){0, 0, context, *params}));
    return add(node, graph, needs, NULL, count, &p);
}

API cuGraphMemcpyNodeGetParams(CUgraphNode node, CUDA_MEMCPY3D *params)
{
    CUgraphNodeParams p;
    CUresult err = get(node, CU_GRAPH_NODE_TYPE_MEMCPY, params, &p);

    if (!err)
        *params = p.memcpy.copyParams;
    return err;
}

API cuGraphMemcpyNodeSetParams(CUgraphNode node, const CUDA_MEMCPY3D *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(MEMCPY, memcpy, ((CUDA_MEMCPY_NODE_PARAMS){0, 0, NULL, *params}));
    return set(node, &p);
}

API cuGraphAddMemsetNode(NEEDS, const CUDA_MEMSET_NODE_PARAMS *params, CUcontext context)
{
    if (!params || !context)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(MEMSET, memset, graph_params_memset(params, context));
    return add(node, graph, needs, NULL, count, &p);
}

API cuGraphMemsetNodeGetParams(CUgraphNode node, CUDA_MEMSET_NODE_PARAMS *params)
{
    CUgraphNodeParams p;
    CUresult err = get(node, CU_GRAPH_NODE_TYPE_MEMSET, params, &p);

    if (!err)
        *params = (CUDA_MEMSET_NODE_PARAMS){p.memset.dst,         p.memset.pitch, p.memset.value,
                                            p.memset.elementSize, p.memset.width, p.memset.height};
    return err;
}

API cuGraphMemsetNodeSetParams(CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(MEMSET, memset, graph_params_memset(params, NULL));
    return set(node, &p);
}

API cuGraphAddHostNode(NEEDS, const CUDA_HOST_NODE_PARAMS *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(HOST, host, *params);
    return add(node, graph, needs, NULL, count, &p);
}

API cuGraphHostNodeGetParams(CUgraphNode node, CUDA_HOST_NODE_PARAMS *params)
{
    CUgraphNodeParams p;
    CUresult err = get(node, CU_GRAPH_NODE_TYPE_HOST, params, &p);

    if (!err)
        *params = p.host;
    return err;
}

API cuGraphHostNodeSetParams(CUgraphNode node, const CUDA_HOST_NODE_PARAMS *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(HOST, host, *params);
    return set(node, &p);
}

API cuGraphAddEmptyNode(NEEDS)
{
    CUgraphNodeParams p = {.type = CU_GRAPH_NODE_TYPE_EMPTY};

    return add(node, graph, needs, NULL, count, &p);
}

API cuGraphAddChildGraphNode(NEEDS, CUgraph child)
{
    PARAMS(GRAPH, graph.graph, child);
    return add(node, graph, needs, NULL, count, &p);
}

#define EVENT_NODE(Name, KIND, member)                                  \
    API cuGraphAdd##Name##Node(NEEDS, CUevent event)                    \
    {                                                                   \
        PARAMS(KIND, member.event, event);                              \
        return add(node, graph, needs, NULL, count, &p);                \
    }                                                                   \
    API cuGraph##Name##NodeGetEvent(CUgraphNode node, CUevent *event)   \
    {                                                                   \
        CUgraphNodeParams p;                                            \
        CUresult err = get(node, CU_GRAPH_NODE_TYPE_##KIND, event, &p); \
                                                                        \
        if (!err)                                                       \
            *event = p.member.event;                                    \
        return err;                                                     \
    }                                                                   \
    API cuGraph##Name##NodeSetEvent(CUgraphNode node, CUevent event)    \
    {                                                                   \
        PARAMS(KIND, member.event, event);                              \
        return set(node, &p);                                           \
    }

EVENT_NODE(EventRecord, EVENT_RECORD, eventRecord)
EVENT_NODE(EventWait, WAIT_EVENT, eventWait)

API cuGraphAddMemAllocNode(NEEDS, CUDA_MEM_ALLOC_NODE_PARAMS *params)
{
    CUresult err;

    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(MEM_ALLOC, alloc, *params);
    err = add(node, graph, needs, NULL, count, &p);
    if (!err)
        params->dptr = p.alloc.dptr;
    return err;
}

API cuGraphMemAllocNodeGetParams(CUgraphNode node, CUDA_MEM_ALLOC_NODE_PARAMS *params)
{
    CUgraphNodeParams p;
    CUresult err = get(node, CU_GRAPH_NODE_TYPE_MEM_ALLOC, params, &p);

    if (!err)
        *params = p.alloc;
    return err;
}

API cuGraphAddMemFreeNode(NEEDS, CUdeviceptr address)
{
    PARAMS(MEM_FREE, free.dptr, address);
    return add(node, graph, needs, NULL, count, &p);
}

API cuGraphMemFreeNodeGetParams(CUgraphNode node, CUdeviceptr *address)
{
    CUgraphNodeParams p;
    CUresult err = get(node, CU_GRAPH_NODE_TYPE_MEM_FREE, address, &p);

    if (!err)
        *address = p.free.dptr;
    return err;
}

API cuGraphAddBatchMemOpNode(NEEDS, const CUDA_BATCH_MEM_OP_NODE_PARAMS *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(BATCH_MEM_OP, memOp, *params);
    return add(node, graph, needs, NULL, count, &p);
}

API cuGraphBatchMemOpNodeGetParams(CUgraphNode node, CUDA_BATCH_MEM_OP_NODE_PARAMS *params)
{
    CUgraphNodeParams p;
    CUresult err = get(node, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, params, &p);

    if (!err)
        *params = p.memOp;
    return err;
}

API cuGraphBatchMemOpNodeSetParams(CUgraphNode node, const CUDA_BATCH_MEM_OP_NODE_PARAMS *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(BATCH_MEM_OP, memOp, *params);
    return set(node, &p);
}

bool graph_params_plain(const CUgraphNodeParams *p)
{
    return p && !p->reserved0[0] && !p->reserved0[1] && !p->reserved0[2] && !p->reserved2;
}

API cuGraphAddNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                      const CUgraphEdgeData *edges, size_t count, CUgraphNodeParams *params)
{
    return graph_params_plain(params) ? add(node, graph, needs, edges, count, params)
                                      : CUDA_ERROR_INVALID_VALUE;
}

API cuGraphAddNode(NEEDS, CUgraphNodeParams *params)
{
    return cuGraphAddNode_v2(node, graph, needs, NULL, count, params);
}

API cuGraphNodeSetParams(CUgraphNode node, CUgraphNodeParams *params)
{
    return graph_params_plain(params) ? set(node, params) : CUDA_ERROR_INVALID_VALUE;
}
