/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "graph.h"

/* Handles of conditions: words of device memory, which kernels set (cudaGraphSetConditional). */

struct graph_block *graph_condition_at(const struct CUgraph_st *g, CUgraphConditionalHandle handle)
{
    for (size_t i = 0; i < g->condition_count; i++)
        if (g->conditions[i]->address == handle)
            return g->conditions[i];
    return NULL;
}

CUresult graph_condition_reset(const struct CUgraph_st *g, struct CUstream_st *s)
{
    CUresult err = CUDA_SUCCESS;

    for (size_t i = 0; i < g->condition_count && !err; i++) {
        const struct graph_block *b = g->conditions[i];
        struct cuda_command command = {
            .kind = CUDA_WRITE_VALUE,
            .value = {.address = b->address, .value = b->value, .bytes = sizeof(uint32_t)}};

        if (b->flags & CU_GRAPH_COND_ASSIGN_DEFAULT)
            err = stream_submit(s, &command);
    }
    for (size_t i = 0; i < g->count && !err; i++)
        for (unsigned b = 0; b < g->nodes[i]->body_count && !err; b++)
            err = graph_condition_reset(g->nodes[i]->bodies[b], s);
    return err;
}

API cuGraphConditionalHandleCreate(CUgraphConditionalHandle *handle, CUgraph graph,
                                   CUcontext context, unsigned value, unsigned flags)
{
    struct graph_block **grown, *b;
    CUresult err = graph_enter(graph);

    if (err)
        return err;
    if (!handle || flags & ~CU_GRAPH_COND_ASSIGN_DEFAULT ||
        (context && !handle_is(context, CONTEXT)))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (!context)
        err = context_any(&context);
    if (err)
        return leave(err);
    grown = realloc(graph->conditions, (graph->condition_count + 1) * sizeof(struct graph_block *));
    if (!grown)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    graph->conditions = grown;
    err = graph_block_create(context, sizeof(uint32_t), &b);
    if (err)
        return leave(err);
    b->value = value;
    b->flags = flags;
    grown[graph->condition_count++] = b;
    *handle = b->address;
    return leave(CUDA_SUCCESS);
}
