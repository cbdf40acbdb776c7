/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "graph.h"

/* A graph as a text of Graphviz. */

static const char *name_of(const CUDA_KERNEL_NODE_PARAMS *p)
{
    CUfunction function = p->func ? p->func : (CUfunction)(void *)p->kern;
    struct CUctx_st *context = p->ctx;
    struct CUfunc_st *f;

    if ((!context && context_any(&context)) || !handle_is(context, CONTEXT) ||
        function_find(function, context, &f))
        return "?";
    return f->info->name;
}

static void put_label(FILE *f, const struct CUgraphNode_st *n, unsigned flags)
{
    const CUgraphNodeParams *p = &n->params;

    fprintf(f, "%s\\nID: %llu", graph_node_name(n->type), (unsigned long long)n->id);
    if (flags & CU_GRAPH_DEBUG_DOT_FLAGS_HANDLES)
        fprintf(f, "\\nhandle: %p", (const void *)n);
    switch (n->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        fprintf(f, "\\n%s\\n<<<(%u,%u,%u),(%u,%u,%u),%u>>>", name_of(&p->kernel),
                p->kernel.gridDimX, p->kernel.gridDimY, p->kernel.gridDimZ, p->kernel.blockDimX,
                p->kernel.blockDimY, p->kernel.blockDimZ, p->kernel.sharedMemBytes);
        break;
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        fprintf(f, "\\n%zu x %zu x %zu bytes", p->memcpy.copyParams.WidthInBytes,
                p->memcpy.copyParams.Height, p->memcpy.copyParams.Depth);
        break;
    case CU_GRAPH_NODE_TYPE_MEMSET:
        fprintf(f, "\\n0x%llx: %zu x %zu times 0x%x", p->memset.dst, p->memset.width,
                p->memset.height, p->memset.value);
        break;
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
        fprintf(f, "\\n0x%llx: %zu bytes", p->alloc.dptr, p->alloc.bytesize);
        break;
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
        fprintf(f, "\\n0x%llx", p->free.dptr);
        break;
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        fprintf(f, "\\nhandle 0x%llx, type %u", (unsigned long long)p->conditional.handle,
                (unsigned)p->conditional.type);
        break;
    default:
        break;
    }
}

/* Nodes by their ids, which are those of the whole process. */
static void put_graph(FILE *f, const struct CUgraph_st *g, unsigned flags)
{
    for (size_t i = 0; i < g->count; i++) {
        const struct CUgraphNode_st *n = g->nodes[i];

        fprintf(f, "\"node_%llu\" [shape=\"box\" label=\"", (unsigned long long)n->id);
        put_label(f, n, flags);
        fprintf(f, "\"];\n");
        for (size_t j = 0; j < n->need_count; j++)
            fprintf(f, "\"node_%llu\" -> \"node_%llu\"%s;\n", (unsigned long long)n->needs[j]->id,
                    (unsigned long long)n->id, n->edges[j].type ? " [style=dashed]" : "");
        for (unsigned b = 0; b < n->body_count; b++) {
            fprintf(f, "subgraph \"cluster_%llu_%u\" {\nlabel=\"graph of node %llu\";\n",
                    (unsigned long long)n->id, b, (unsigned long long)n->id);
            put_graph(f, n->bodies[b], flags);
            fprintf(f, "}\n");
        }
    }
}

API cuGraphDebugDotPrint(CUgraph graph, const char *path, unsigned flags)
{
    CUresult err = graph_enter(graph);
    FILE *f;

    if (err)
        return err;
    if (!path)
        return leave(CUDA_ERROR_INVALID_VALUE);
    f = fopen(path, "we");
    if (!f)
        return leave(CUDA_ERROR_OPERATING_SYSTEM);
    fprintf(f, "digraph dot {\n");
    put_graph(f, graph, flags);
    fprintf(f, "}\n");
    if (ferror(f))
        err = CUDA_ERROR_OPERATING_SYSTEM;
    if (fclose(f))
        err = CUDA_ERROR_OPERATING_SYSTEM;
    return leave(err);
}
