/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "graph.h"

/* Graphs as objects: nodes and what each needs. */

CUresult graph_create(struct CUgraph_st **ret_graph)
{
    struct CUgraph_st *g = calloc(1, sizeof(*g));

    if (!g || !handle_add(g, GRAPH)) {
        free(g);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *ret_graph = g;
    return CUDA_SUCCESS;
}

static void node_free(struct CUgraphNode_st *n)
{
    if (n->type == CU_GRAPH_NODE_TYPE_KERNEL)
        free((void *)(uintptr_t)n->command.launch.parameters);
    if (n->child)
        graph_destroy(n->child);
    handle_remove(n);
    free(n->needs);
    free(n);
}

void graph_destroy(struct CUgraph_st *g)
{
    for (size_t i = 0; i < g->count; i++)
        node_free(g->nodes[i]);
    handle_remove(g);
    free(g->nodes);
    free(g);
}

CUresult graph_add(struct CUgraph_st *g, CUgraphNodeType type, struct CUgraphNode_st *const *needs,
                   size_t count, struct CUgraphNode_st **ret_node)
{
    struct CUgraphNode_st *n;

    if (count && !needs)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++)
        if (!handle_is(needs[i], NODE) || needs[i]->graph != g)
            return CUDA_ERROR_INVALID_VALUE;
    if (g->count == g->room) {
        size_t room = g->room ? g->room * 2 : 16;
        struct CUgraphNode_st **grown = realloc(g->nodes, room * sizeof(struct CUgraphNode_st *));

        if (!grown)
            return CUDA_ERROR_OUT_OF_MEMORY;
        g->nodes = grown;
        g->room = room;
    }
    n = calloc(1, sizeof(*n));
    if (n)
        n->needs = calloc(count + 1, sizeof(struct CUgraphNode_st *));
    if (!n || !n->needs || !handle_add(n, NODE)) {
        if (n)
            free(n->needs);
        free(n);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    n->graph = g;
    n->id = unique();
    n->type = type;
    for (size_t i = 0; i < count; i++) {
        bool twice = false;

        for (size_t j = 0; j < n->need_count; j++)
            twice |= n->needs[j] == needs[i];
        if (!twice)
            n->needs[n->need_count++] = needs[i];
    }
    g->nodes[g->count++] = n;
    *ret_node = n;
    return CUDA_SUCCESS;
}

static void forget(struct CUgraphNode_st *n, const struct CUgraphNode_st *need)
{
    for (size_t i = 0; i < n->need_count; i++)
        if (n->needs[i] == need) {
            n->needs[i] = n->needs[--n->need_count];
            return;
        }
}

void graph_remove(struct CUgraphNode_st *n)
{
    struct CUgraph_st *g = n->graph;
    size_t at = 0;

    for (size_t i = 0; i < g->count; i++) {
        forget(g->nodes[i], n);
        if (g->nodes[i] == n)
            at = i;
    }
    memmove(g->nodes + at, g->nodes + at + 1, (--g->count - at) * sizeof(struct CUgraphNode_st *));
    node_free(n);
}

CUresult graph_set_launch(struct CUgraphNode_st *n, CUfunction function,
                          const struct cuda_command *c)
{
    void *copy = malloc(c->launch.parameter_bytes + 1);

    if (!copy)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (c->launch.parameter_bytes)
        memcpy(copy, c->launch.parameters, c->launch.parameter_bytes);
    free((void *)(uintptr_t)n->command.launch.parameters);
    n->command = *c;
    n->command.launch.parameters = copy;
    n->function = function;
    return CUDA_SUCCESS;
}

/* By numbers of places, as both have the same order. */
CUresult graph_clone(const struct CUgraph_st *g, struct CUgraph_st **ret_graph)
{
    struct CUgraph_st *copy = NULL;
    CUresult err = graph_create(&copy);

    if (err)
        return err;
    for (size_t i = 0; i < g->count && !err; i++) {
        const struct CUgraphNode_st *n = g->nodes[i];
        struct CUgraphNode_st *to;

        err = graph_add(copy, n->type, NULL, 0, &to);
        if (err)
            break;
        to->origin = n->id;
        free(to->needs);
        to->needs = calloc(n->need_count + 1, sizeof(struct CUgraphNode_st *));
        if (!to->needs) {
            err = CUDA_ERROR_OUT_OF_MEMORY;
            break;
        }
        if (n->type == CU_GRAPH_NODE_TYPE_KERNEL)
            err = graph_set_launch(to, n->function, &n->command);
        else
            to->command = n->command;
        to->host = n->host;
        to->event = n->event;
        if (n->child && !err) {
            err = graph_clone(n->child, &to->child);
            if (!err)
                to->child->owned = true;
        }
    }
    for (size_t i = 0; i < g->count && !err; i++)
        for (size_t j = 0; j < g->nodes[i]->need_count; j++)
            for (size_t k = 0; k < g->count; k++)
                if (g->nodes[k] == g->nodes[i]->needs[j])
                    copy->nodes[i]->needs[copy->nodes[i]->need_count++] = copy->nodes[k];
    if (err)
        graph_destroy(copy);
    else
        *ret_graph = copy;
    return err;
}

CUresult graph_order(const struct CUgraph_st *g, struct CUgraphNode_st ***ret_nodes)
{
    struct CUgraphNode_st **order = calloc(g->count + 1, sizeof(struct CUgraphNode_st *));
    size_t n = 0, before;

    if (!order)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < g->count; i++)
        g->nodes[i]->done = false;
    do {
        before = n;
        for (size_t i = 0; i < g->count; i++) {
            struct CUgraphNode_st *node = g->nodes[i];
            bool ready = !node->done;

            for (size_t j = 0; j < node->need_count && ready; j++)
                ready = node->needs[j]->done;
            if (ready) {
                node->done = true;
                order[n++] = node;
            }
        }
    } while (n > before);
    if (n < g->count) {
        free(order);
        return CUDA_ERROR_INVALID_VALUE;
    }
    *ret_nodes = order;
    return CUDA_SUCCESS;
}

/* Takes the lock. */
static CUresult enter_graph(CUgraph graph)
{
    CUresult err = enter();

    if (err)
        return err;
    return handle_is(graph, GRAPH) ? CUDA_SUCCESS : leave(CUDA_ERROR_INVALID_VALUE);
}

static CUresult enter_node(CUgraphNode node, int type)
{
    CUresult err = enter();

    if (err)
        return err;
    return handle_is(node, NODE) && (type < 0 || node->type == (CUgraphNodeType)type)
               ? CUDA_SUCCESS
               : leave(CUDA_ERROR_INVALID_VALUE);
}

API cuGraphCreate(CUgraph *graph, unsigned flags)
{
    CUresult err = enter();

    if (err)
        return err;
    return leave(!graph || flags ? CUDA_ERROR_INVALID_VALUE : graph_create(graph));
}

API cuGraphDestroy(CUgraph graph)
{
    CUresult err = enter_graph(graph);

    if (err)
        return err;
    if (graph->owned)
        return leave(CUDA_ERROR_INVALID_VALUE);
    graph_destroy(graph);
    return leave(CUDA_SUCCESS);
}

API cuGraphClone(CUgraph *copy, CUgraph graph)
{
    CUresult err = enter_graph(graph);

    if (err)
        return err;
    return leave(copy ? graph_clone(graph, copy) : CUDA_ERROR_INVALID_VALUE);
}

API cuGraphDestroyNode(CUgraphNode node)
{
    CUresult err = enter_node(node, -1);

    if (err)
        return err;
    graph_remove(node);
    return leave(CUDA_SUCCESS);
}

/* A node whose filling failed is none. */
static CUresult finish(CUgraphNode *ret_node, struct CUgraphNode_st *n, CUresult err)
{
    if (err)
        graph_remove(n);
    else
        *ret_node = n;
    return leave(err);
}

CUresult graph_set_kernel(struct CUgraphNode_st *n, const CUDA_KERNEL_NODE_PARAMS_v1 *p,
                          CUkernel kernel)
{
    CUlaunchConfig g = {.gridDimX = p->gridDimX,
                        .gridDimY = p->gridDimY,
                        .gridDimZ = p->gridDimZ,
                        .blockDimX = p->blockDimX,
                        .blockDimY = p->blockDimY,
                        .blockDimZ = p->blockDimZ,
                        .sharedMemBytes = p->sharedMemBytes};
    CUfunction function = p->func ? p->func : (CUfunction)(void *)kernel;
    struct cuda_command c;
    struct CUctx_st *context;
    void *owned = NULL;
    CUresult err = context_any(&context);

    if (!err)
        err = launch_prepare(function, &g, false, p->kernelParams, p->extra, context, &c, &owned);
    if (!err)
        err = graph_set_launch(n, function, &c);
    free(owned);
    return err;
}

API cuGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs, size_t count,
                         const CUDA_KERNEL_NODE_PARAMS_v1 *params)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_graph(graph);

    if (err)
        return err;
    if (!node || !params)
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = graph_add(graph, CU_GRAPH_NODE_TYPE_KERNEL, needs, count, &n);
    return err ? leave(err) : finish(node, n, graph_set_kernel(n, params, NULL));
}

API cuGraphAddKernelNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                            size_t count, const CUDA_KERNEL_NODE_PARAMS *params)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_graph(graph);

    if (err)
        return err;
    if (!node || !params)
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = graph_add(graph, CU_GRAPH_NODE_TYPE_KERNEL, needs, count, &n);
    return err ? leave(err)
               : finish(
                     node, n,
                     graph_set_kernel(n, (const CUDA_KERNEL_NODE_PARAMS_v1 *)params, params->kern));
}

API cuGraphKernelNodeSetParams(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1 *params)
{
    CUresult err = enter_node(node, CU_GRAPH_NODE_TYPE_KERNEL);

    if (err)
        return err;
    return leave(params ? graph_set_kernel(node, params, NULL) : CUDA_ERROR_INVALID_VALUE);
}

API cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *params)
{
    CUresult err = enter_node(node, CU_GRAPH_NODE_TYPE_KERNEL);

    if (err)
        return err;
    return leave(
        params ? graph_set_kernel(node, (const CUDA_KERNEL_NODE_PARAMS_v1 *)params, params->kern)
               : CUDA_ERROR_INVALID_VALUE);
}

API cuGraphAddMemcpyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs, size_t count,
                         const CUDA_MEMCPY3D *params, CUcontext context)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_graph(graph);

    if (err)
        return err;
    if (!node || !params || !handle_is(context, CONTEXT))
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = graph_add(graph, CU_GRAPH_NODE_TYPE_MEMCPY, needs, count, &n);
    if (err)
        return leave(err);
    return finish(node, n, copy_prepare(params, &n->command));
}

API cuGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs, size_t count,
                         const CUDA_MEMSET_NODE_PARAMS *params, CUcontext context)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_graph(graph);

    if (err)
        return err;
    if (!node || !params || !handle_is(context, CONTEXT))
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = graph_add(graph, CU_GRAPH_NODE_TYPE_MEMSET, needs, count, &n);
    if (err)
        return leave(err);
    return finish(node, n, set_prepare(params, &n->command));
}

API cuGraphAddHostNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs, size_t count,
                       const CUDA_HOST_NODE_PARAMS *params)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_graph(graph);

    if (err)
        return err;
    if (!node || !params || !params->fn)
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = graph_add(graph, CU_GRAPH_NODE_TYPE_HOST, needs, count, &n);
    if (err)
        return leave(err);
    n->host = *params;
    return finish(node, n, CUDA_SUCCESS);
}

API cuGraphAddEmptyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs, size_t count)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_graph(graph);

    if (err)
        return err;
    if (!node)
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = graph_add(graph, CU_GRAPH_NODE_TYPE_EMPTY, needs, count, &n);
    return err ? leave(err) : finish(node, n, CUDA_SUCCESS);
}

API cuGraphAddChildGraphNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                             size_t count, CUgraph child)
{
    struct CUgraphNode_st *n;
    CUresult err = enter_graph(graph);

    if (err)
        return err;
    if (!node || !handle_is(child, GRAPH))
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = graph_add(graph, CU_GRAPH_NODE_TYPE_GRAPH, needs, count, &n);
    if (err)
        return leave(err);
    err = graph_clone(child, &n->child);
    if (!err)
        n->child->owned = true;
    return finish(node, n, err);
}

API cuGraphChildGraphNodeGetGraph(CUgraphNode node, CUgraph *graph)
{
    CUresult err = enter_node(node, CU_GRAPH_NODE_TYPE_GRAPH);

    if (err)
        return err;
    if (!graph)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *graph = node->child;
    return leave(CUDA_SUCCESS);
}

API cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type)
{
    CUresult err = enter_node(node, -1);

    if (err)
        return err;
    if (!type)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *type = node->type;
    return leave(CUDA_SUCCESS);
}

/* `nodes` may be NULL; what it has room for beyond becomes NULL. */
static CUresult list(struct CUgraphNode_st *const *from, size_t have, bool roots,
                     CUgraphNode *nodes, size_t *count)
{
    size_t n = 0;

    if (!count)
        return leave(CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < have; i++) {
        if (roots && from[i]->need_count)
            continue;
        if (nodes && n < *count)
            nodes[n] = from[i];
        n++;
    }
    for (size_t i = n; nodes && i < *count; i++)
        nodes[i] = NULL;
    if (!nodes || n < *count)
        *count = n;
    return leave(CUDA_SUCCESS);
}

API cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
    CUresult err = enter_graph(graph);

    return err ? err : list(graph->nodes, graph->count, false, nodes, count);
}

API cuGraphGetRootNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
    CUresult err = enter_graph(graph);

    return err ? err : list(graph->nodes, graph->count, true, nodes, count);
}

API cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode *nodes, size_t *count)
{
    CUresult err = enter_node(node, -1);

    return err ? err : list(node->needs, node->need_count, false, nodes, count);
}

API cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                           size_t count)
{
    CUresult err = enter_graph(graph);

    if (err)
        return err;
    if (count && (!from || !to))
        return leave(CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < count && !err; i++) {
        struct CUgraphNode_st **grown;

        if (!handle_is(from[i], NODE) || !handle_is(to[i], NODE) || from[i] == to[i] ||
            from[i]->graph != graph || to[i]->graph != graph)
            return leave(CUDA_ERROR_INVALID_VALUE);
        forget(to[i], from[i]);
        grown = realloc(to[i]->needs, (to[i]->need_count + 1) * sizeof(struct CUgraphNode_st *));
        if (!grown)
            return leave(CUDA_ERROR_OUT_OF_MEMORY);
        to[i]->needs = grown;
        grown[to[i]->need_count++] = from[i];
    }
    return leave(CUDA_SUCCESS);
}
