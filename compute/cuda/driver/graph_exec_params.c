/* SPDX-License-Identifier: MIT */
#include "graph.h"

/* Parameters of nodes of an instantiated graph, named by the nodes that it was made from. */

#define PARAMS(kind, member, value) \
    CUgraphNodeParams p = {.type = CU_GRAPH_NODE_TYPE_##kind, .member = value}

/*
 * The kind of memory that one side of a copy is in: what the program says, else what the address
 * is. UNIFIED is managed memory, which may be said to be of either kind. With the lock.
 */
static CUmemorytype side_type(CUmemorytype type, uint64_t address)
{
    const struct range *r = type == CU_MEMORYTYPE_ARRAY ? NULL : range_find(address);

    if (r && r->kind == RANGE_MANAGED)
        return CU_MEMORYTYPE_UNIFIED;
    if (r && r->kind == RANGE_HIDDEN) /* of a captured copy */
        return CU_MEMORYTYPE_ARRAY;
    if (type != CU_MEMORYTYPE_UNIFIED)
        return type;
    return range_is_host(address) ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
}

static bool same_type(CUmemorytype a, CUmemorytype b)
{
    return a == b || a == CU_MEMORYTYPE_UNIFIED || b == CU_MEMORYTYPE_UNIFIED;
}

#define SIDE(p, side)                                                            \
    side_type((p)->side##MemoryType, (p)->side##MemoryType == CU_MEMORYTYPE_HOST \
                                         ? (uint64_t)(uintptr_t)(p)->side##Host  \
                                         : (p)->side##Device)

bool graph_copy_fits(const CUDA_MEMCPY3D *now, const CUDA_MEMCPY3D *then)
{
    return same_type(SIDE(now, src), SIDE(then, src)) && same_type(SIDE(now, dst), SIDE(then, dst));
}

bool graph_memset_fits(const CUDA_MEMSET_NODE_PARAMS_v2 *now,
                       const CUDA_MEMSET_NODE_PARAMS_v2 *then)
{
    return now->height == then->height &&
           (now->height <= 1 || (now->width == then->width && now->pitch == then->pitch &&
                                 now->elementSize == then->elementSize));
}

/* The node of an instantiated graph that a node of the graph it was made from became. */
static struct CUgraphNode_st *find(const struct CUgraph_st *g, uint64_t id)
{
    struct CUgraphNode_st *found = NULL;

    for (size_t i = 0; i < g->count && !found; i++) {
        const struct CUgraphNode_st *n = g->nodes[i];

        if (n->origin == id)
            found = g->nodes[i];
        for (unsigned b = 0; b < n->body_count && !found; b++)
            found = find(n->bodies[b], id);
    }
    return found;
}

static CUresult enter_exec(CUgraphExec exec, CUgraphNode node, int type,
                           struct CUgraphNode_st **ret_node)
{
    CUresult err = graph_enter_node(node, type);

    if (err)
        return err;
    if (!handle_is(exec, EXEC))
        return leave(CUDA_ERROR_INVALID_VALUE);
    /* What was launched has the nodes as they were. */
    if (exec->runner) {
        uint64_t id = node->id;

        graph_runner_settle(exec->runner);
        if (!handle_is(exec, EXEC) || !handle_is(node, NODE) || node->id != id)
            return leave(CUDA_ERROR_INVALID_VALUE);
    }
    *ret_node = find(exec->graph, node->id);
    return *ret_node ? CUDA_SUCCESS : leave(CUDA_ERROR_INVALID_VALUE);
}

static CUresult set_exec(CUgraphExec exec, CUgraphNode node, CUgraphNodeParams *p)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_exec(exec, node, (int)p->type, &n);

    if (err)
        return err;
    if (!graph_node_can_set(p->type))
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    if ((p->type == CU_GRAPH_NODE_TYPE_MEMCPY &&
         !graph_copy_fits(&n->params.memcpy.copyParams, &p->memcpy.copyParams)) ||
        (p->type == CU_GRAPH_NODE_TYPE_MEMSET && !graph_memset_fits(&n->params.memset, &p->memset)))
        return leave(CUDA_ERROR_INVALID_VALUE);
    return leave(graph_node_set(n, p));
}

API cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                   const CUDA_KERNEL_NODE_PARAMS_v1 *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(KERNEL, kernel, graph_params_kernel(params));
    return set_exec(exec, node, &p);
}

API cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                      const CUDA_KERNEL_NODE_PARAMS *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(KERNEL, kernel, *params);
    return set_exec(exec, node, &p);
}

API cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D *params,
                                   CUcontext context)
{
    if (!params || !context)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(MEMCPY, memcpy, ((CUDA_MEMCPY_NODE_PARAMS){0, 0, context, *params}));
    return set_exec(exec, node, &p);
}

API cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                   const CUDA_MEMSET_NODE_PARAMS *params, CUcontext context)
{
    if (!params || !context)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(MEMSET, memset, graph_params_memset(params, context));
    return set_exec(exec, node, &p);
}

API cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                 const CUDA_HOST_NODE_PARAMS *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(HOST, host, *params);
    return set_exec(exec, node, &p);
}

API cuGraphExecEventRecordNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event)
{
    PARAMS(EVENT_RECORD, eventRecord.event, event);
    return set_exec(exec, node, &p);
}

API cuGraphExecEventWaitNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event)
{
    PARAMS(WAIT_EVENT, eventWait.event, event);
    return set_exec(exec, node, &p);
}

API cuGraphExecBatchMemOpNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                       const CUDA_BATCH_MEM_OP_NODE_PARAMS *params)
{
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    PARAMS(BATCH_MEM_OP, memOp, *params);
    return set_exec(exec, node, &p);
}

API cuGraphExecChildGraphNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraph child)
{
    struct CUgraphNode_st *n, *at;
    CUresult err = enter_exec(exec, node, CU_GRAPH_NODE_TYPE_GRAPH, &n);

    if (err)
        return err;
    if (!handle_is(child, GRAPH))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (graph_exec_compare(n->bodies[0], child, &at))
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = graph_exec_replace(child, &n->bodies[0]);
    if (!err)
        n->params.graph.graph = n->bodies[0];
    return leave(err);
}

API cuGraphExecNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraphNodeParams *params)
{
    if (!graph_params_plain(params))
        return CUDA_ERROR_INVALID_VALUE;
    if (params->type == CU_GRAPH_NODE_TYPE_GRAPH)
        return cuGraphExecChildGraphNodeSetParams(exec, node, params->graph.graph);
    return set_exec(exec, node, params);
}

API cuGraphNodeSetEnabled(CUgraphExec exec, CUgraphNode node, unsigned enabled)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_exec(exec, node, -1, &n);

    if (err)
        return err;
    if (!graph_node_can_disable(n->type))
        return leave(CUDA_ERROR_INVALID_VALUE);
    n->disabled = !enabled;
    return leave(CUDA_SUCCESS);
}

API cuGraphNodeGetEnabled(CUgraphExec exec, CUgraphNode node, unsigned *enabled)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_exec(exec, node, -1, &n);

    if (err)
        return err;
    if (!graph_node_can_disable(n->type) || !enabled)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *enabled = !n->disabled;
    return leave(CUDA_SUCCESS);
}
