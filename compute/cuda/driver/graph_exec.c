/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "graph.h"

/* Instantiated graphs: a copy, whose nodes are given to a stream one after the other. */

#define FLAGS                                                                               \
    (CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD | \
     CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY)

/* One instantiated graph has the memory that nodes allocate, at a time. False: another has it. */
static bool claim(const struct CUgraph_st *g)
{
    for (size_t i = 0; i < g->count; i++) {
        const struct CUgraphNode_st *n = g->nodes[i];

        if (n->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC && n->block->executables++)
            return false;
        for (unsigned b = 0; b < n->body_count; b++)
            if (!claim(n->bodies[b]))
                return false;
    }
    return true;
}

static void disclaim(const struct CUgraph_st *g)
{
    for (size_t i = 0; i < g->count; i++) {
        const struct CUgraphNode_st *n = g->nodes[i];

        if (n->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC && n->block->executables)
            n->block->executables--;
        for (unsigned b = 0; b < n->body_count; b++)
            disclaim(n->bodies[b]);
    }
}

/* What a graph cannot have, and where. */
static CUgraphInstantiateResult check(const struct CUgraph_st *g, bool body, CUgraphNode *ret_node)
{
    CUgraphInstantiateResult result = CUDA_GRAPH_INSTANTIATE_SUCCESS;

    for (size_t i = 0; i < g->condition_count; i++)
        if (!g->conditions[i]->used)
            return CUDA_GRAPH_INSTANTIATE_CONDITIONAL_HANDLE_UNUSED;
    for (size_t i = 0; i < g->count && !result; i++) {
        struct CUgraphNode_st *n = g->nodes[i];
        bool inner = body || n->type == CU_GRAPH_NODE_TYPE_CONDITIONAL;

        if (body && !graph_node_in_body(n->type)) {
            *ret_node = n;
            return CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED;
        }
        for (unsigned b = 0; b < n->body_count && !result; b++)
            result = check(n->bodies[b], inner, ret_node);
    }
    return result;
}

static CUresult make(struct CUgraphExec_st *e, const struct CUgraph_st *graph,
                     CUgraphInstantiateResult *ret_result)
{
    CUresult err = graph_clone(graph, true, &e->graph);

    if (err)
        return err;
    e->graph->owned = true;
    err = graph_settle(e->graph);
    if (err == CUDA_ERROR_INVALID_VALUE)
        *ret_result = CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE;
    if (!err && !claim(e->graph))
        err = CUDA_ERROR_NOT_SUPPORTED;
    else if (!err && graph_has(e->graph, CU_GRAPH_NODE_TYPE_CONDITIONAL))
        err = graph_runner_create(&e->runner);
    if (!err && !handle_add(e, EXEC))
        err = CUDA_ERROR_OUT_OF_MEMORY;
    return err;
}

static void unmake(struct CUgraphExec_st *e)
{
    if (e->runner)
        graph_runner_destroy(e->runner);
    if (e->graph) {
        disclaim(e->graph);
        graph_destroy(e->graph);
    }
    free(e);
}

static CUresult instantiate(CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *p)
{
    struct CUgraphExec_st *e;
    CUresult err = enter();

    p->result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
    p->hErrNode_out = NULL;
    if (err)
        return err;
    if (!exec || !handle_is(graph, GRAPH) || p->flags & ~(cuuint64_t)FLAGS)
        return leave(CUDA_ERROR_INVALID_VALUE);
    /* Kernels cannot launch graphs. */
    if (p->flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH)
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    p->result_out = check(graph, false, &p->hErrNode_out);
    if (p->result_out == CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED)
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    if (p->result_out)
        return leave(CUDA_ERROR_INVALID_VALUE);
    e = calloc(1, sizeof(*e));
    if (!e)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    e->flags = p->flags;
    err = make(e, graph, &p->result_out);
    if (err) {
        unmake(e);
        if (!p->result_out)
            p->result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
        return leave(err);
    }
    *exec = e;
    return leave(CUDA_SUCCESS);
}

API cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
    CUDA_GRAPH_INSTANTIATE_PARAMS p = {.flags = flags};

    /* That needs a stream, which only the form with parameters names. */
    return flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD ? CUDA_ERROR_INVALID_VALUE
                                                      : instantiate(exec, graph, &p);
}

API cuGraphInstantiate(CUgraphExec *exec, CUgraph graph, CUgraphNode *error_node, char *log,
                       size_t size)
{
    if (error_node)
        *error_node = NULL;
    if (log && size)
        log[0] = '\0';
    return cuGraphInstantiateWithFlags(exec, graph, 0);
}

API cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *error_node, char *log,
                          size_t size)
{
    return cuGraphInstantiate(exec, graph, error_node, log, size);
}

API cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph,
                                 CUDA_GRAPH_INSTANTIATE_PARAMS *params)
{
    return params ? instantiate(exec, graph, params) : CUDA_ERROR_INVALID_VALUE;
}

/* What was launched goes on. */
API cuGraphExecDestroy(CUgraphExec exec)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(exec, EXEC))
        return leave(CUDA_ERROR_INVALID_VALUE);
    handle_remove(exec);
    unmake(exec);
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

CUresult graph_exec_submit(const struct CUgraph_st *g, struct CUstream_st *s)
{
    CUresult err = CUDA_SUCCESS;

    for (size_t i = 0; i < g->count && !err; i++) {
        const struct CUgraphNode_st *n = g->order[i];

        err = n->type == CU_GRAPH_NODE_TYPE_GRAPH ? graph_exec_submit(n->bodies[0], s)
                                                  : graph_node_submit(n, s);
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
    if (s->capture) {
        CUgraphNodeParams node = {.type = CU_GRAPH_NODE_TYPE_GRAPH,
                                  .graph = {.graph = exec->graph}};

        return leave(capture_node(s, &node));
    }
    err = graph_memory_prepare(exec->graph,
                               exec->flags & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH);
    if (err)
        return leave(err);
    if (exec->runner)
        err = graph_runner_launch(exec->runner, exec->graph, s);
    else
        err = exec->graph->count ? graph_exec_submit(exec->graph, s) : stream_submit(s, &nothing);
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

CUgraphExecUpdateResult graph_exec_compare(const struct CUgraph_st *a, const struct CUgraph_st *b,
                                           CUgraphNode *ret_node)
{
    CUgraphExecUpdateResult result;

    *ret_node = NULL;
    if (a->count != b->count)
        return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    for (size_t i = 0; i < a->count; i++) {
        const struct CUgraphNode_st *m = a->nodes[i], *n = b->nodes[i];

        *ret_node = b->nodes[i];
        if (m->need_count != n->need_count)
            return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
        for (size_t j = 0; j < m->need_count; j++) {
            bool same = false;

            for (size_t k = 0; k < a->count; k++)
                same |= a->nodes[k] == m->needs[j] && b->nodes[k] == n->needs[j];
            if (!same)
                return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
        }
    }
    for (size_t i = 0; i < a->count; i++) {
        const struct CUgraphNode_st *m = a->nodes[i], *n = b->nodes[i];

        *ret_node = b->nodes[i];
        result = graph_node_compare(m, n);
        if (result)
            return result;
        for (unsigned body = 0; body < m->body_count; body++) {
            result = graph_exec_compare(m->bodies[body], n->bodies[body], ret_node);
            if (result)
                return result;
        }
    }
    *ret_node = NULL;
    return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

/* The program goes on to name the nodes that it was instantiated from. */
static void take_names(const struct CUgraph_st *from, struct CUgraph_st *to)
{
    for (size_t i = 0; i < to->count; i++) {
        to->nodes[i]->origin = from->nodes[i]->origin;
        to->nodes[i]->disabled = from->nodes[i]->disabled;
        for (unsigned b = 0; b < to->nodes[i]->body_count; b++)
            take_names(from->nodes[i]->bodies[b], to->nodes[i]->bodies[b]);
    }
}

CUresult graph_exec_replace(const struct CUgraph_st *graph, struct CUgraph_st **at)
{
    struct CUgraph_st *copy;
    CUresult err = graph_clone(graph, true, &copy);

    if (err)
        return err;
    err = graph_settle(copy);
    if (err) {
        graph_destroy(copy);
        return err;
    }
    copy->owned = true;
    take_names(*at, copy);
    graph_destroy(*at);
    *at = copy;
    return CUDA_SUCCESS;
}

API cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo *info)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(exec, EXEC) || !handle_is(graph, GRAPH) || !info)
        return leave(CUDA_ERROR_INVALID_VALUE);
    info->errorFromNode = NULL;
    info->result = graph_exec_compare(exec->graph, graph, &info->errorNode);
    if (info->result)
        return leave(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    /* Launches that go on hold the graph that was. The memory of both is the same. */
    err = graph_exec_replace(graph, &exec->graph);
    if (err)
        info->result = CU_GRAPH_EXEC_UPDATE_ERROR;
    return leave(err);
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
