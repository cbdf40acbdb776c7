/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "graph.h"

/* Instantiated graphs: a copy, whose nodes are given to a stream one after the other. */

struct CUgraphExec_st {
    struct CUgraph_st *graph;
    struct CUgraphNode_st **order;
    unsigned long long flags;
};

static CUresult instantiate(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
    struct CUgraphExec_st *e;
    CUresult err = enter();

    if (err)
        return err;
    if (!exec || !handle_is(graph, GRAPH))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH)
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    e = calloc(1, sizeof(*e));
    if (!e)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    e->flags = flags;
    err = graph_clone(graph, &e->graph);
    if (!err) {
        e->graph->owned = true;
        err = graph_order(e->graph, &e->order);
        if (!err && !handle_add(e, EXEC))
            err = CUDA_ERROR_OUT_OF_MEMORY;
        if (err)
            graph_destroy(e->graph);
    }
    if (err) {
        free(e->order);
        free(e);
        return leave(err);
    }
    *exec = e;
    return leave(CUDA_SUCCESS);
}

API cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
    return instantiate(exec, graph, flags);
}

API cuGraphInstantiate(CUgraphExec *exec, CUgraph graph, CUgraphNode *error_node, char *log,
                       size_t size)
{
    if (error_node)
        *error_node = NULL;
    if (log && size)
        log[0] = '\0';
    return instantiate(exec, graph, 0);
}

API cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *error_node, char *log,
                          size_t size)
{
    return cuGraphInstantiate(exec, graph, error_node, log, size);
}

API cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph,
                                 CUDA_GRAPH_INSTANTIATE_PARAMS *params)
{
    CUresult err;

    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    err = instantiate(exec, graph, params->flags);
    params->hErrNode_out = NULL;
    params->result_out = err ? CUDA_GRAPH_INSTANTIATE_ERROR : CUDA_GRAPH_INSTANTIATE_SUCCESS;
    return err;
}

API cuGraphExecDestroy(CUgraphExec exec)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(exec, EXEC))
        return leave(CUDA_ERROR_INVALID_VALUE);
    handle_remove(exec);
    graph_destroy(exec->graph);
    free(exec->order);
    free(exec);
    return leave(CUDA_SUCCESS);
}

API cuGraphExecGetFlags(CUgraphExec exec, cuuint64_t *flags)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(exec, EXEC) || !flags)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *flags = exec->flags;
    return leave(CUDA_SUCCESS);
}

static CUresult run(struct CUgraphNode_st *const *order, size_t count, struct CUstream_st *s)
{
    CUresult err = CUDA_SUCCESS;

    for (size_t i = 0; i < count && !err; i++) {
        struct CUgraphNode_st *n = order[i], **inner;

        switch (n->type) {
        case CU_GRAPH_NODE_TYPE_KERNEL:
        case CU_GRAPH_NODE_TYPE_MEMCPY:
        case CU_GRAPH_NODE_TYPE_MEMSET:
        case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
            err = stream_submit(s, &n->command);
            break;
        case CU_GRAPH_NODE_TYPE_HOST:
            err = stream_call(s, n->host.fn, n->host.userData);
            break;
        case CU_GRAPH_NODE_TYPE_GRAPH:
            err = graph_order(n->child, &inner);
            if (!err) {
                err = run(inner, n->child->count, s);
                free(inner);
            }
            break;
        default:
            break;
        }
    }
    return err;
}

API cuGraphLaunch(CUgraphExec exec, CUstream stream)
{
    struct cuda_command nothing = {.kind = CUDA_NOTHING};
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!handle_is(exec, EXEC))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (s->capture)
        return leave(capture_refuse(s));
    err = exec->graph->count ? run(exec->order, exec->graph->count, s) : stream_submit(s, &nothing);
    return leave(err);
}

API cuGraphUpload(CUgraphExec exec, CUstream stream)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    return leave(handle_is(exec, EXEC) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}

/* Whether both have nodes of one kind, that need one another alike. */
static CUgraphExecUpdateResult compare(const struct CUgraph_st *a, const struct CUgraph_st *b,
                                       CUgraphNode *ret_node)
{
    if (a->count != b->count)
        return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    for (size_t i = 0; i < a->count; i++) {
        *ret_node = b->nodes[i];
        if (a->nodes[i]->type != b->nodes[i]->type)
            return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
        if (a->nodes[i]->need_count != b->nodes[i]->need_count)
            return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
        for (size_t j = 0; j < a->nodes[i]->need_count; j++) {
            bool same = false;

            for (size_t k = 0; k < a->count; k++)
                same |=
                    a->nodes[k] == a->nodes[i]->needs[j] && b->nodes[k] == b->nodes[i]->needs[j];
            if (!same)
                return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
        }
    }
    *ret_node = NULL;
    return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

API cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo *info)
{
    struct CUgraphNode_st **order;
    struct CUgraph_st *copy;
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(exec, EXEC) || !handle_is(graph, GRAPH) || !info)
        return leave(CUDA_ERROR_INVALID_VALUE);
    info->errorFromNode = NULL;
    info->result = compare(exec->graph, graph, &info->errorNode);
    if (info->result)
        return leave(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    err = graph_clone(graph, &copy);
    if (err)
        return leave(err);
    err = graph_order(copy, &order);
    if (err) {
        graph_destroy(copy);
        return leave(err);
    }
    copy->owned = true;
    /* The program goes on to name the nodes that it was instantiated from. */
    for (size_t i = 0; i < copy->count; i++)
        copy->nodes[i]->origin = exec->graph->nodes[i]->origin;
    graph_destroy(exec->graph);
    free(exec->order);
    exec->graph = copy;
    exec->order = order;
    return leave(CUDA_SUCCESS);
}

API cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode *node,
                      CUgraphExecUpdateResult *result)
{
    CUgraphExecUpdateResultInfo info = {CU_GRAPH_EXEC_UPDATE_ERROR, NULL, NULL};
    CUresult err = cuGraphExecUpdate_v2(exec, graph, &info);

    if (node)
        *node = info.errorNode;
    if (result)
        *result = info.result;
    return err;
}

/* The node of an instantiated graph that a node of the graph it was made from became. */
static CUresult enter_exec(CUgraphExec exec, CUgraphNode node, CUgraphNodeType type,
                           struct CUgraphNode_st **ret_node)
{
    CUresult err = enter();

    if (err)
        return err;
    if (handle_is(exec, EXEC) && handle_is(node, NODE) && node->type == type)
        for (size_t i = 0; i < exec->graph->count; i++)
            if (exec->graph->nodes[i]->origin == node->id) {
                *ret_node = exec->graph->nodes[i];
                return CUDA_SUCCESS;
            }
    return leave(CUDA_ERROR_INVALID_VALUE);
}

API cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                   const CUDA_KERNEL_NODE_PARAMS_v1 *params)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_exec(exec, node, CU_GRAPH_NODE_TYPE_KERNEL, &n);

    if (err)
        return err;
    return leave(params ? graph_set_kernel(n, params, NULL) : CUDA_ERROR_INVALID_VALUE);
}

API cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                      const CUDA_KERNEL_NODE_PARAMS *params)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_exec(exec, node, CU_GRAPH_NODE_TYPE_KERNEL, &n);

    if (err)
        return err;
    return leave(params
                     ? graph_set_kernel(n, (const CUDA_KERNEL_NODE_PARAMS_v1 *)params, params->kern)
                     : CUDA_ERROR_INVALID_VALUE);
}

API cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D *params,
                                   CUcontext context)
{
    struct cuda_command command;
    struct CUgraphNode_st *n;
    CUresult err = enter_exec(exec, node, CU_GRAPH_NODE_TYPE_MEMCPY, &n);

    if (err)
        return err;
    if (!params || !handle_is(context, CONTEXT))
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = copy_prepare(params, &command);
    if (!err)
        n->command = command;
    return leave(err);
}

API cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                   const CUDA_MEMSET_NODE_PARAMS *params, CUcontext context)
{
    struct cuda_command command;
    struct CUgraphNode_st *n;
    CUresult err = enter_exec(exec, node, CU_GRAPH_NODE_TYPE_MEMSET, &n);

    if (err)
        return err;
    if (!params || !handle_is(context, CONTEXT))
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = set_prepare(params, &command);
    if (!err)
        n->command = command;
    return leave(err);
}

API cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                 const CUDA_HOST_NODE_PARAMS *params)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_exec(exec, node, CU_GRAPH_NODE_TYPE_HOST, &n);

    if (err)
        return err;
    if (!params || !params->fn)
        return leave(CUDA_ERROR_INVALID_VALUE);
    n->host = *params;
    return leave(CUDA_SUCCESS);
}
