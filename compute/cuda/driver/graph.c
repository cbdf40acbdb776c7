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
    graph_node_clear(n);
    handle_remove(n);
    free(n->needs);
    free(n->edges);
    free(n);
}

void graph_destroy(struct CUgraph_st *g)
{
    struct graph_user *users = g->users;

    if (g->references) {
        g->references--;
        return;
    }
    handle_remove(g);
    for (size_t i = 0; i < g->count; i++)
        node_free(g->nodes[i]);
    for (size_t i = 0; i < g->condition_count; i++)
        graph_block_release(g->conditions[i]);
    free(g->conditions);
    free(g->order);
    free(g->nodes);
    free(g);
    /* May give up the lock. */
    for (struct graph_user *u = users, *next; u; u = next) {
        next = u->next;
        user_object_drop(u->object, u->count);
        free(u);
    }
}

/* Room for so many needs. */
static CUresult make_room(struct CUgraphNode_st *n, size_t count)
{
    n->needs = calloc(count + 1, sizeof(struct CUgraphNode_st *));
    n->edges = calloc(count + 1, sizeof(*n->edges));
    return n->needs && n->edges ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult graph_add(struct CUgraph_st *g, CUgraphNodeType type, struct CUgraphNode_st *const *needs,
                   const CUgraphEdgeData *edges, size_t count, struct CUgraphNode_st **ret_node)
{
    struct CUgraphNode_st *n;

    if (count && !needs)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++)
        if (!handle_is(needs[i], NODE) || needs[i]->graph != g ||
            !graph_edge_valid(needs[i], edges ? &edges[i] : NULL))
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
    if (!n)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (make_room(n, count) || !handle_add(n, NODE)) {
        free(n->needs);
        free(n->edges);
        free(n);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    n->graph = g;
    n->id = unique();
    n->type = type;
    n->params.type = type;
    for (size_t i = 0; i < count; i++) {
        bool twice = false;

        for (size_t j = 0; j < n->need_count; j++)
            twice |= n->needs[j] == needs[i];
        if (twice)
            continue;
        if (edges)
            n->edges[n->need_count] = edges[i];
        n->needs[n->need_count++] = needs[i];
    }
    g->nodes[g->count++] = n;
    *ret_node = n;
    return CUDA_SUCCESS;
}

void graph_remove(struct CUgraphNode_st *n)
{
    struct CUgraph_st *g = n->graph;
    size_t at = 0;

    for (size_t i = 0; i < g->count; i++) {
        graph_edge_forget(g->nodes[i], n);
        if (g->nodes[i] == n)
            at = i;
    }
    memmove(g->nodes + at, g->nodes + at + 1, (--g->count - at) * sizeof(struct CUgraphNode_st *));
    node_free(n);
}

static CUresult clone_node(const struct CUgraphNode_st *n, struct CUgraph_st *copy)
{
    struct CUgraphNode_st *to;
    CUresult err = graph_add(copy, n->type, NULL, NULL, 0, &to);

    if (err)
        return err;
    to->origin = n->id;
    to->disabled = n->disabled;
    free(to->needs);
    free(to->edges);
    err = make_room(to, n->need_count);
    return err ? err : graph_node_copy(n, to);
}

/* Places are the same in both. */
static void clone_needs(const struct CUgraph_st *g, struct CUgraph_st *copy)
{
    for (size_t i = 0; i < g->count; i++)
        g->nodes[i]->place = i;
    for (size_t i = 0; i < g->count; i++) {
        const struct CUgraphNode_st *n = g->nodes[i];
        struct CUgraphNode_st *to = copy->nodes[i];

        for (size_t j = 0; j < n->need_count; j++) {
            to->edges[j] = n->edges[j];
            to->needs[j] = copy->nodes[n->needs[j]->place];
        }
        to->need_count = n->need_count;
    }
}

static CUresult clone_users(const struct CUgraph_st *g, struct CUgraph_st *copy)
{
    for (const struct graph_user *u = g->users; u; u = u->next) {
        struct graph_user *to = malloc(sizeof(*to));

        if (!to)
            return CUDA_ERROR_OUT_OF_MEMORY;
        *to = (struct graph_user){u->object, 1, copy->users};
        user_object_hold(u->object, 1);
        copy->users = to;
    }
    return CUDA_SUCCESS;
}

static CUresult clone_conditions(const struct CUgraph_st *g, struct CUgraph_st *copy)
{
    if (!g->condition_count)
        return CUDA_SUCCESS;
    copy->conditions = calloc(g->condition_count, sizeof(struct graph_block *));
    if (!copy->conditions)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < g->condition_count; i++) {
        graph_block_hold(g->conditions[i]);
        copy->conditions[copy->condition_count++] = g->conditions[i];
    }
    return CUDA_SUCCESS;
}

CUresult graph_clone(const struct CUgraph_st *g, bool instantiate, struct CUgraph_st **ret_graph)
{
    struct CUgraph_st *copy = NULL;
    CUresult err;

    /* An allocation has one address, which two graphs cannot give. */
    if (!instantiate &&
        (graph_has(g, CU_GRAPH_NODE_TYPE_MEM_ALLOC) || graph_has(g, CU_GRAPH_NODE_TYPE_MEM_FREE)))
        return CUDA_ERROR_NOT_SUPPORTED;
    err = graph_create(&copy);
    if (err)
        return err;
    for (size_t i = 0; i < g->count && !err; i++)
        err = clone_node(g->nodes[i], copy);
    if (!err)
        err = clone_users(g, copy);
    if (!err)
        err = clone_conditions(g, copy);
    if (err) {
        graph_destroy(copy);
        return err;
    }
    clone_needs(g, copy);
    *ret_graph = copy;
    return CUDA_SUCCESS;
}

CUresult graph_settle(struct CUgraph_st *g)
{
    struct CUgraphNode_st **order = calloc(g->count + 1, sizeof(struct CUgraphNode_st *));
    size_t n = 0, before;
    CUresult err = CUDA_SUCCESS;

    if (!order)
        return CUDA_ERROR_OUT_OF_MEMORY;
    free(g->order);
    g->order = order;
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
    if (n < g->count)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < n; i++)
        for (unsigned b = 0; b < order[i]->body_count && !err; b++)
            err = graph_settle(order[i]->bodies[b]);
    return err;
}

bool graph_has(const struct CUgraph_st *g, CUgraphNodeType type)
{
    for (size_t i = 0; i < g->count; i++) {
        if (g->nodes[i]->type == type)
            return true;
        for (unsigned b = 0; b < g->nodes[i]->body_count; b++)
            if (graph_has(g->nodes[i]->bodies[b], type))
                return true;
    }
    return false;
}

CUresult graph_enter(CUgraph graph)
{
    CUresult err = enter();

    if (err)
        return err;
    return handle_is(graph, GRAPH) ? CUDA_SUCCESS : leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult graph_enter_node(CUgraphNode node, int type)
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
    CUresult err = graph_enter(graph);

    if (err)
        return err;
    if (graph->owned)
        return leave(CUDA_ERROR_INVALID_VALUE);
    graph_destroy(graph);
    return leave(CUDA_SUCCESS);
}

API cuGraphClone(CUgraph *copy, CUgraph graph)
{
    CUresult err = graph_enter(graph);

    if (err)
        return err;
    return leave(copy ? graph_clone(graph, false, copy) : CUDA_ERROR_INVALID_VALUE);
}

API cuGraphDestroyNode(CUgraphNode node)
{
    CUresult err = graph_enter_node(node, -1);

    if (err)
        return err;
    if (node->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || node->type == CU_GRAPH_NODE_TYPE_MEM_FREE)
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    graph_remove(node);
    return leave(CUDA_SUCCESS);
}

API cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type)
{
    CUresult err = graph_enter_node(node, -1);

    if (err)
        return err;
    if (!type)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *type = node->type;
    return leave(CUDA_SUCCESS);
}

API cuGraphNodeFindInClone(CUgraphNode *node, CUgraphNode original, CUgraph clone)
{
    CUresult err = graph_enter(clone);

    if (err)
        return err;
    if (node && handle_is(original, NODE))
        for (size_t i = 0; i < clone->count; i++)
            if (clone->nodes[i]->origin == original->id) {
                *node = clone->nodes[i];
                return leave(CUDA_SUCCESS);
            }
    return leave(CUDA_ERROR_INVALID_VALUE);
}

API cuGraphChildGraphNodeGetGraph(CUgraphNode node, CUgraph *graph)
{
    CUresult err = graph_enter_node(node, CU_GRAPH_NODE_TYPE_GRAPH);

    if (err)
        return err;
    if (!graph)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *graph = node->bodies[0];
    return leave(CUDA_SUCCESS);
}
