/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "graph.h"

/* What nodes do: one row a kind, at the end. */

struct node_kind {
    const char *name;
    /* Takes parameters; on failure the node is as before. */
    CUresult (*set)(struct CUgraphNode_st *n, CUgraphNodeParams *p);
    CUresult (*submit)(const struct CUgraphNode_st *n, struct CUstream_st *s);
    bool again;    /* parameters can be set again */
    bool body;     /* may be in a body of a condition */
    bool disables; /* can be disabled */
    bool update;   /* an instantiated graph takes other parameters */
};

/* Pointers to what is packed behind them, which moves. */
static void *pack(const struct cuda_kernel_info *info, const struct cuda_command *c)
{
    size_t head = info->parameter_count * sizeof(void *);
    uint8_t *owned = malloc(head + c->launch.parameter_bytes + 1);
    void **values = (void **)(void *)owned;

    if (!owned)
        return NULL;
    if (c->launch.parameter_bytes)
        memcpy(owned + head, c->launch.parameters, c->launch.parameter_bytes);
    for (uint32_t i = 0; i < info->parameter_count; i++)
        values[i] = owned + head + info->parameters[i].offset;
    return owned;
}

/* `c` has the parameters, which are copied. */
static CUresult keep_launch(struct CUgraphNode_st *n, const struct cuda_kernel_info *info,
                            const struct cuda_command *c, CUDA_KERNEL_NODE_PARAMS p)
{
    void *owned = pack(info, c);

    if (!owned)
        return CUDA_ERROR_OUT_OF_MEMORY;
    free(n->owned);
    n->owned = owned;
    n->value_count = info->parameter_count;
    n->command = *c;
    n->command.launch.parameters = (uint8_t *)owned + n->value_count * sizeof(void *);
    n->params.kernel = p;
    n->params.kernel.kernelParams = n->value_count ? owned : NULL;
    n->params.kernel.extra = NULL;
    return CUDA_SUCCESS;
}

static CUresult set_kernel(struct CUgraphNode_st *n, CUgraphNodeParams *node)
{
    const CUDA_KERNEL_NODE_PARAMS *p = &node->kernel;
    CUlaunchConfig g = {.gridDimX = p->gridDimX,
                        .gridDimY = p->gridDimY,
                        .gridDimZ = p->gridDimZ,
                        .blockDimX = p->blockDimX,
                        .blockDimY = p->blockDimY,
                        .blockDimZ = p->blockDimZ,
                        .sharedMemBytes = p->sharedMemBytes};
    CUfunction function = p->func ? p->func : (CUfunction)(void *)p->kern;
    bool cooperative = n->command.kind == CUDA_LAUNCH && n->command.launch.cooperative;
    struct CUctx_st *context = p->ctx;
    struct CUfunc_st *f;
    struct cuda_command c;
    void *owned = NULL;
    CUresult err = CUDA_SUCCESS;

    if (!context)
        err = context_any(&context);
    else if (!handle_is(context, CONTEXT))
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err)
        err = function_find(function, context, &f);
    if (!err)
        err = launch_prepare(function, &g, cooperative, p->kernelParams, p->extra, context, &c,
                             &owned);
    if (!err)
        err = keep_launch(n, f->info, &c, *p);
    free(owned);
    return err;
}

CUresult graph_node_set_launch(struct CUgraphNode_st *n, CUfunction function,
                               struct CUctx_st *context, const struct cuda_command *c)
{
    CUDA_KERNEL_NODE_PARAMS p = {.func = function,
                                 .gridDimX = c->launch.grid[0],
                                 .gridDimY = c->launch.grid[1],
                                 .gridDimZ = c->launch.grid[2],
                                 .blockDimX = c->launch.block[0],
                                 .blockDimY = c->launch.block[1],
                                 .blockDimZ = c->launch.block[2],
                                 .sharedMemBytes = c->launch.shared_bytes,
                                 .ctx = context};
    struct CUfunc_st *f;
    CUresult err = function_find(function, context, &f);

    return err ? err : keep_launch(n, f->info, c, p);
}

/* The context that is named, else any. */
static CUresult check_context(CUcontext context)
{
    if (!context)
        return context_any(&context);
    return handle_is(context, CONTEXT) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult set_copy(struct CUgraphNode_st *n, CUgraphNodeParams *p)
{
    struct cuda_command command;
    CUresult err = check_context(p->memcpy.copyCtx);

    if (!err)
        err = copy_prepare(&p->memcpy.copyParams, &command);
    if (err)
        return err;
    n->command = command;
    n->params.memcpy = p->memcpy;
    return CUDA_SUCCESS;
}

static CUresult set_fill(struct CUgraphNode_st *n, CUgraphNodeParams *p)
{
    struct cuda_command command;
    CUresult err = check_context(p->memset.ctx);

    if (!err)
        err = set_prepare((const CUDA_MEMSET_NODE_PARAMS *)&p->memset, &command);
    if (err)
        return err;
    n->command = command;
    n->params.memset = p->memset;
    return CUDA_SUCCESS;
}

static CUresult submit_command(const struct CUgraphNode_st *n, struct CUstream_st *s)
{
    return stream_submit(s, &n->command);
}

static CUresult set_host(struct CUgraphNode_st *n, CUgraphNodeParams *p)
{
    if (!p->host.fn)
        return CUDA_ERROR_INVALID_VALUE;
    n->params.host = p->host;
    return CUDA_SUCCESS;
}

static CUresult submit_host(const struct CUgraphNode_st *n, struct CUstream_st *s)
{
    return stream_call(s, n->params.host.fn, n->params.host.userData);
}

/* One body, in the place of what is there. */
static CUresult set_body(struct CUgraphNode_st *n, struct CUgraph_st *g)
{
    if (!n->bodies) {
        n->bodies = calloc(1, sizeof(struct CUgraph_st *));
        if (!n->bodies)
            return CUDA_ERROR_OUT_OF_MEMORY;
    } else {
        graph_destroy(n->bodies[0]);
    }
    n->bodies[0] = g;
    n->body_count = 1;
    g->owned = true;
    n->params.graph.graph = g;
    return CUDA_SUCCESS;
}

static CUresult set_child(struct CUgraphNode_st *n, CUgraphNodeParams *p)
{
    struct CUgraph_st *child = p->graph.graph, *own = n->graph;
    bool moves = p->graph.ownership == CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE;
    CUresult err = CUDA_SUCCESS;

    if (!handle_is(child, GRAPH) ||
        (unsigned)p->graph.ownership > CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE ||
        (moves && (child->owned || child == own)))
        return CUDA_ERROR_INVALID_VALUE;
    if (child == own) {
        /* As it was before this node, which is the newest: else it would be in itself. */
        if (own->nodes[own->count - 1] != n)
            return CUDA_ERROR_INVALID_VALUE;
        own->count--;
        err = graph_clone(own, false, &child);
        own->count++;
    } else if (!moves) {
        err = graph_clone(child, false, &child);
    }
    if (err)
        return err;
    err = set_body(n, child);
    if (err && child != p->graph.graph)
        graph_destroy(child);
    n->params.graph.ownership = p->graph.ownership;
    return err;
}

static CUresult set_event(struct CUgraphNode_st *n, CUgraphNodeParams *p)
{
    /* Both kinds have the event alone. */
    if (!handle_is(p->eventRecord.event, EVENT))
        return CUDA_ERROR_INVALID_VALUE;
    n->params.eventRecord = p->eventRecord;
    return CUDA_SUCCESS;
}

static CUresult submit_record(const struct CUgraphNode_st *n, struct CUstream_st *s)
{
    return event_record(n->params.eventRecord.event, s);
}

static CUresult submit_wait(const struct CUgraphNode_st *n, struct CUstream_st *s)
{
    return event_wait(n->params.eventWait.event, s);
}

static CUresult set_allocation(struct CUgraphNode_st *n, CUgraphNodeParams *p)
{
    struct CUctx_st *context;
    CUresult err = context_any(&context);

    if (!err)
        err = graph_memory_check(&p->alloc);
    /* The device is the context's: another one's memory nobody reaches from it. */
    if (!err && p->alloc.poolProps.location.id != context->device)
        err = CUDA_ERROR_NOT_SUPPORTED;
    if (!err)
        err = graph_block_create(context, p->alloc.bytesize, &n->block);
    if (err)
        return err;
    p->alloc.dptr = n->block->address;
    n->params.alloc = p->alloc;
    /* They name the device, which has all access. */
    n->params.alloc.accessDescs = NULL;
    n->params.alloc.accessDescCount = 0;
    return CUDA_SUCCESS;
}

static CUresult submit_allocation(const struct CUgraphNode_st *n, struct CUstream_st *s)
{
    (void)s;
    return graph_block_take(n->block);
}

static CUresult set_free(struct CUgraphNode_st *n, CUgraphNodeParams *p)
{
    struct graph_block *b = graph_block_at(p->free.dptr);

    if (!b)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < n->graph->count; i++) {
        const struct CUgraphNode_st *o = n->graph->nodes[i];

        if (o != n && o->type == n->type && o->params.free.dptr == p->free.dptr)
            return CUDA_ERROR_INVALID_VALUE;
    }
    graph_block_hold(b);
    n->block = b;
    n->params.free = p->free;
    return CUDA_SUCCESS;
}

static CUresult submit_free(const struct CUgraphNode_st *n, struct CUstream_st *s)
{
    (void)s;
    return graph_block_give(n->block);
}

static CUresult set_values(struct CUgraphNode_st *n, CUgraphNodeParams *p)
{
    size_t bytes = p->memOp.count * sizeof(*p->memOp.paramArray);
    struct cuda_command command;
    CUresult err = check_context(p->memOp.ctx);
    void *owned;

    if (err)
        return err;
    if (p->memOp.count > VALUE_MOST || (p->memOp.count && !p->memOp.paramArray) || p->memOp.flags)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < p->memOp.count && !err; i++)
        err = value_prepare(&p->memOp.paramArray[i], &command);
    if (err)
        return err;
    owned = malloc(bytes + 1);
    if (!owned)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (bytes)
        memcpy(owned, p->memOp.paramArray, bytes);
    free(n->owned);
    n->owned = owned;
    n->params.memOp = p->memOp;
    n->params.memOp.paramArray = owned;
    return CUDA_SUCCESS;
}

static CUresult submit_values(const struct CUgraphNode_st *n, struct CUstream_st *s)
{
    struct cuda_command command;
    CUresult err = CUDA_SUCCESS;

    for (unsigned i = 0; i < n->params.memOp.count && !err; i++) {
        err = value_prepare(&n->params.memOp.paramArray[i], &command);
        if (!err)
            err = stream_submit(s, &command);
    }
    return err;
}

static CUresult set_condition(struct CUgraphNode_st *n, CUgraphNodeParams *p)
{
    CUDA_CONDITIONAL_NODE_PARAMS *c = &p->conditional;
    static const unsigned most[] = {[CU_GRAPH_COND_TYPE_IF] = 2,
                                    [CU_GRAPH_COND_TYPE_WHILE] = 1,
                                    [CU_GRAPH_COND_TYPE_SWITCH] = MAX_CONDITION_BODIES};
    struct graph_block *b = graph_condition_at(n->graph, c->handle);
    CUresult err = CUDA_SUCCESS;

    if (!b || b->used || (unsigned)c->type > CU_GRAPH_COND_TYPE_SWITCH || !c->size ||
        c->size > most[c->type])
        return CUDA_ERROR_INVALID_VALUE;
    n->bodies = calloc(c->size, sizeof(struct CUgraph_st *));
    if (!n->bodies)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (; n->body_count < c->size && !err; n->body_count += !err) {
        err = graph_create(&n->bodies[n->body_count]);
        if (!err)
            n->bodies[n->body_count]->owned = true;
    }
    if (err)
        return err;
    graph_block_hold(b);
    b->used = true;
    n->block = b;
    c->phGraph_out = n->bodies;
    n->params.conditional = *c;
    return CUDA_SUCCESS;
}

static CUresult set_nothing(struct CUgraphNode_st *n, CUgraphNodeParams *p)
{
    (void)n;
    (void)p;
    return CUDA_SUCCESS;
}

static const struct node_kind kinds[] = {
    [CU_GRAPH_NODE_TYPE_KERNEL] = {"KERNEL", set_kernel, submit_command, true, true, true, true},
    [CU_GRAPH_NODE_TYPE_MEMCPY] = {"MEMCPY", set_copy, submit_command, true, true, true, true},
    [CU_GRAPH_NODE_TYPE_MEMSET] = {"MEMSET", set_fill, submit_command, true, true, true, true},
    [CU_GRAPH_NODE_TYPE_HOST] = {"HOST", set_host, submit_host, true, false, false, true},
    [CU_GRAPH_NODE_TYPE_GRAPH] = {"CHILD_GRAPH", set_child, NULL, false, true, false, true},
    [CU_GRAPH_NODE_TYPE_EMPTY] = {"EMPTY", set_nothing, NULL, false, true, false, true},
    [CU_GRAPH_NODE_TYPE_WAIT_EVENT] = {"EVENT_WAIT", set_event, submit_wait, true, false, false,
                                       true},
    [CU_GRAPH_NODE_TYPE_EVENT_RECORD] = {"EVENT_RECORD", set_event, submit_record, true, false,
                                         false, true},
    [CU_GRAPH_NODE_TYPE_MEM_ALLOC] = {"MEM_ALLOC", set_allocation, submit_allocation, false, false,
                                      false, false},
    [CU_GRAPH_NODE_TYPE_MEM_FREE] = {"MEM_FREE", set_free, submit_free, false, false, false, false},
    [CU_GRAPH_NODE_TYPE_BATCH_MEM_OP] = {"BATCH_MEM_OP", set_values, submit_values, true, false,
                                         false, true},
    [CU_GRAPH_NODE_TYPE_CONDITIONAL] = {"CONDITIONAL", set_condition, NULL, false, true, false,
                                        true},
};

/* NULL: semaphores of others, and what nobody knows. */
static const struct node_kind *kind_of(CUgraphNodeType type)
{
    bool known = (unsigned)type < sizeof(kinds) / sizeof(kinds[0]);

    return known && kinds[type].name ? &kinds[type] : NULL;
}

CUresult graph_node_set(struct CUgraphNode_st *n, CUgraphNodeParams *p)
{
    const struct node_kind *k = kind_of(n->type);

    return k ? k->set(n, p) : CUDA_ERROR_NOT_SUPPORTED;
}

void graph_node_get(const struct CUgraphNode_st *n, CUgraphNodeParams *ret)
{
    *ret = n->params;
}

CUresult graph_node_submit(const struct CUgraphNode_st *n, struct CUstream_st *s)
{
    const struct node_kind *k = kind_of(n->type);

    return k && k->submit && !n->disabled ? k->submit(n, s) : CUDA_SUCCESS;
}

/* A graph that is cloned has its nodes' arrays itself. */
static CUresult copy_owned(const struct CUgraphNode_st *from, struct CUgraphNode_st *to)
{
    size_t bytes, head = from->value_count * sizeof(void *);
    uint8_t *owned;

    if (!from->owned)
        return CUDA_SUCCESS;
    bytes = from->type == CU_GRAPH_NODE_TYPE_KERNEL
                ? head + from->command.launch.parameter_bytes
                : from->params.memOp.count * sizeof(*from->params.memOp.paramArray);
    owned = malloc(bytes + 1);
    if (!owned)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(owned, from->owned, bytes);
    to->owned = owned;
    if (from->type != CU_GRAPH_NODE_TYPE_KERNEL) {
        to->params.memOp.paramArray = (CUstreamBatchMemOpParams *)(void *)owned;
        return CUDA_SUCCESS;
    }
    for (size_t i = 0; i < from->value_count; i++) {
        void **values = (void **)(void *)owned;

        values[i] = owned + ((uint8_t *)values[i] - (uint8_t *)from->owned);
    }
    to->params.kernel.kernelParams = from->value_count ? (void **)(void *)owned : NULL;
    to->command.launch.parameters = owned + head;
    return CUDA_SUCCESS;
}

static CUresult copy_bodies(const struct CUgraphNode_st *from, struct CUgraphNode_st *to)
{
    CUresult err = CUDA_SUCCESS;

    if (!from->body_count)
        return CUDA_SUCCESS;
    to->bodies = calloc(from->body_count, sizeof(struct CUgraph_st *));
    if (!to->bodies)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (; to->body_count < from->body_count && !err; to->body_count += !err) {
        err = graph_clone(from->bodies[to->body_count], true, &to->bodies[to->body_count]);
        if (!err)
            to->bodies[to->body_count]->owned = true;
    }
    if (to->type == CU_GRAPH_NODE_TYPE_GRAPH)
        to->params.graph.graph = to->bodies[0];
    else
        to->params.conditional.phGraph_out = to->bodies;
    return err;
}

CUresult graph_node_copy(const struct CUgraphNode_st *from, struct CUgraphNode_st *to)
{
    CUresult err;

    to->params = from->params;
    to->command = from->command;
    to->value_count = from->value_count;
    memcpy(to->attributes, from->attributes, sizeof(to->attributes));
    to->block = from->block;
    if (to->block)
        graph_block_hold(to->block);
    err = copy_owned(from, to);
    return err ? err : copy_bodies(from, to);
}

void graph_node_clear(struct CUgraphNode_st *n)
{
    for (unsigned i = 0; i < n->body_count; i++)
        graph_destroy(n->bodies[i]);
    free(n->bodies);
    free(n->owned);
    if (n->block)
        graph_block_release(n->block);
}

CUgraphExecUpdateResult graph_node_compare(const struct CUgraphNode_st *a,
                                           const struct CUgraphNode_st *b)
{
    const struct node_kind *k = kind_of(a->type);

    if (a->type != b->type)
        return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
    /* Addresses of memory are in kernels' parameters: it is the same, or not there. */
    if (!k || (!k->update && a->block != b->block))
        return CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED;
    if (a->type == CU_GRAPH_NODE_TYPE_CONDITIONAL &&
        (a->params.conditional.type != b->params.conditional.type ||
         a->body_count != b->body_count))
        return CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
    if ((a->type == CU_GRAPH_NODE_TYPE_MEMCPY &&
         !graph_copy_fits(&a->params.memcpy.copyParams, &b->params.memcpy.copyParams)) ||
        (a->type == CU_GRAPH_NODE_TYPE_MEMSET &&
         !graph_memset_fits(&a->params.memset, &b->params.memset)))
        return CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
    return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

bool graph_node_in_body(CUgraphNodeType type)
{
    const struct node_kind *k = kind_of(type);

    return k && k->body;
}

bool graph_node_can_disable(CUgraphNodeType type)
{
    const struct node_kind *k = kind_of(type);

    return k && k->disables;
}

bool graph_node_can_set(CUgraphNodeType type)
{
    const struct node_kind *k = kind_of(type);

    return k && k->again;
}

const char *graph_node_name(CUgraphNodeType type)
{
    const struct node_kind *k = kind_of(type);

    return k ? k->name : "?";
}
