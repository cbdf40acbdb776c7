/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "graph.h"

/*
 * Which nodes of a graph need which. Edges of kernels that let the next one begin early
 * (programmatic ones) are kept, and order as all do.
 */

static bool is_plain(const CUgraphEdgeData *e)
{
    return !e->from_port && !e->to_port && !e->type;
}

bool graph_edge_valid(const struct CUgraphNode_st *from, const CUgraphEdgeData *e)
{
    if (!e || is_plain(e))
        return true;
    for (unsigned i = 0; i < sizeof(e->reserved); i++)
        if (e->reserved[i])
            return false;
    return from->type == CU_GRAPH_NODE_TYPE_KERNEL &&
           e->type <= CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC &&
           e->from_port <= CU_GRAPH_KERNEL_NODE_PORT_MAX && !e->to_port;
}

void graph_edge_forget(struct CUgraphNode_st *n, const struct CUgraphNode_st *need)
{
    for (size_t i = 0; i < n->need_count; i++)
        if (n->needs[i] == need) {
            n->needs[i] = n->needs[--n->need_count];
            n->edges[i] = n->edges[n->need_count];
            return;
        }
}

static bool needs(const struct CUgraphNode_st *n, const struct CUgraphNode_st *need)
{
    for (size_t i = 0; i < n->need_count; i++)
        if (n->needs[i] == need)
            return true;
    return false;
}

static bool fixed(const struct CUgraphNode_st *n)
{
    return n->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || n->type == CU_GRAPH_NODE_TYPE_MEM_FREE;
}

static CUresult add_edge(struct CUgraphNode_st *from, struct CUgraphNode_st *to,
                         const CUgraphEdgeData *edge)
{
    size_t room = to->need_count + 1;
    struct CUgraphNode_st **grown = realloc(to->needs, room * sizeof(struct CUgraphNode_st *));
    CUgraphEdgeData *edges;

    if (!grown)
        return CUDA_ERROR_OUT_OF_MEMORY;
    to->needs = grown;
    edges = realloc(to->edges, room * sizeof(*edges));
    if (!edges)
        return CUDA_ERROR_OUT_OF_MEMORY;
    to->edges = edges;
    to->edges[to->need_count] = edge ? *edge : (CUgraphEdgeData){0};
    to->needs[to->need_count++] = from;
    return CUDA_SUCCESS;
}

/* Adds them or, `remove`, takes them away; all or none. */
static CUresult change(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                       const CUgraphEdgeData *edges, size_t count, bool remove)
{
    CUresult err = graph_enter(graph);

    if (err)
        return err;
    if (count && (!from || !to))
        return leave(CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < count; i++) {
        if (!handle_is(from[i], NODE) || !handle_is(to[i], NODE) || from[i] == to[i] ||
            from[i]->graph != graph || to[i]->graph != graph || needs(to[i], from[i]) != remove ||
            !graph_edge_valid(from[i], edges ? &edges[i] : NULL))
            return leave(CUDA_ERROR_INVALID_VALUE);
        if (remove && (fixed(from[i]) || fixed(to[i])))
            return leave(CUDA_ERROR_NOT_SUPPORTED);
    }
    for (size_t i = 0; i < count && !err; i++)
        if (remove)
            graph_edge_forget(to[i], from[i]);
        else if (!needs(to[i], from[i]))
            err = add_edge(from[i], to[i], edges ? &edges[i] : NULL);
    return leave(err);
}

API cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                           size_t count)
{
    return change(graph, from, to, NULL, count, false);
}

API cuGraphAddDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                              const CUgraphEdgeData *edges, size_t count)
{
    return change(graph, from, to, edges, count, false);
}

API cuGraphRemoveDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                              size_t count)
{
    return change(graph, from, to, NULL, count, true);
}

API cuGraphRemoveDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                 const CUgraphEdgeData *edges, size_t count)
{
    return change(graph, from, to, edges, count, true);
}

/* What is listed: each call says a node, or two, and the edge. Beyond what there is room becomes
 * NULL. */
struct list {
    CUgraphNode *from, *to;
    CUgraphEdgeData *edges;
    size_t room, count;
    bool lossy; /* an edge that says more than the caller asks for */
};

static void put(struct list *l, CUgraphNode from, CUgraphNode to, const CUgraphEdgeData *edge)
{
    if (l->count < l->room) {
        if (l->from)
            l->from[l->count] = from;
        if (l->to)
            l->to[l->count] = to;
        if (l->edges && edge)
            l->edges[l->count] = *edge;
        l->lossy |= !l->edges && edge && !is_plain(edge);
    }
    l->count++;
}

static CUresult finish(struct list *l, size_t *count)
{
    for (size_t i = l->count; i < l->room; i++) {
        if (l->from)
            l->from[i] = NULL;
        if (l->to)
            l->to[i] = NULL;
    }
    if (!l->room || l->count < l->room)
        *count = l->count;
    return leave(l->lossy ? CUDA_ERROR_LOSSY_QUERY : CUDA_SUCCESS);
}

static struct list list_of(CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *edges,
                           const size_t *count)
{
    return (struct list){from, to, edges, count && (from || to) ? *count : 0, 0, false};
}

API cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
    struct list l = list_of(nodes, NULL, NULL, count);
    CUresult err = graph_enter(graph);

    if (err)
        return err;
    if (!count)
        return leave(CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < graph->count; i++)
        put(&l, graph->nodes[i], NULL, NULL);
    return finish(&l, count);
}

API cuGraphGetRootNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
    struct list l = list_of(nodes, NULL, NULL, count);
    CUresult err = graph_enter(graph);

    if (err)
        return err;
    if (!count)
        return leave(CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < graph->count; i++)
        if (!graph->nodes[i]->need_count)
            put(&l, graph->nodes[i], NULL, NULL);
    return finish(&l, count);
}

API cuGraphGetEdges_v2(CUgraph graph, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *edges,
                       size_t *count)
{
    struct list l = list_of(from, to, edges, count);
    CUresult err = graph_enter(graph);

    if (err)
        return err;
    if (!count || !from != !to || (edges && !from))
        return leave(CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < graph->count; i++)
        for (size_t j = 0; j < graph->nodes[i]->need_count; j++)
            put(&l, graph->nodes[i]->needs[j], graph->nodes[i], &graph->nodes[i]->edges[j]);
    return finish(&l, count);
}

API cuGraphGetEdges(CUgraph graph, CUgraphNode *from, CUgraphNode *to, size_t *count)
{
    return cuGraphGetEdges_v2(graph, from, to, NULL, count);
}

API cuGraphNodeGetDependencies_v2(CUgraphNode node, CUgraphNode *nodes, CUgraphEdgeData *edges,
                                  size_t *count)
{
    struct list l = list_of(nodes, NULL, edges, count);
    CUresult err = graph_enter_node(node, -1);

    if (err)
        return err;
    if (!count || (edges && !nodes))
        return leave(CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < node->need_count; i++)
        put(&l, node->needs[i], NULL, &node->edges[i]);
    return finish(&l, count);
}

API cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode *nodes, size_t *count)
{
    return cuGraphNodeGetDependencies_v2(node, nodes, NULL, count);
}

API cuGraphNodeGetDependentNodes_v2(CUgraphNode node, CUgraphNode *nodes, CUgraphEdgeData *edges,
                                    size_t *count)
{
    struct list l = list_of(nodes, NULL, edges, count);
    CUresult err = graph_enter_node(node, -1);

    if (err)
        return err;
    if (!count || (edges && !nodes))
        return leave(CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < node->graph->count; i++) {
        CUgraphNode other = node->graph->nodes[i];

        for (size_t j = 0; j < other->need_count; j++)
            if (other->needs[j] == node)
                put(&l, other, NULL, &other->edges[j]);
    }
    return finish(&l, count);
}

API cuGraphNodeGetDependentNodes(CUgraphNode node, CUgraphNode *nodes, size_t *count)
{
    return cuGraphNodeGetDependentNodes_v2(node, nodes, NULL, count);
}
