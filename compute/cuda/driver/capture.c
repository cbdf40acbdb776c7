/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "capture.h"

/*
 * Streams that are captured: a graph grows instead of a queue. A capture has one or more streams;
 * those beside its first join by an event and must be joined again before it ends.
 */

static struct branch *branch_of(struct CUstream_st *s)
{
    struct branch *b = s->capture->branches;

    while (b->stream != s)
        b = b->next;
    return b;
}

/* A node into a set of them. */
static CUresult set_add(struct CUgraphNode_st ***set, size_t *count, struct CUgraphNode_st *n)
{
    struct CUgraphNode_st **grown;

    for (size_t i = 0; i < *count; i++)
        if ((*set)[i] == n)
            return CUDA_SUCCESS;
    grown = realloc(*set, (*count + 1) * sizeof(struct CUgraphNode_st *));
    if (!grown)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *set = grown;
    grown[(*count)++] = n;
    return CUDA_SUCCESS;
}

static CUresult tail_add(struct branch *b, struct CUgraphNode_st *n)
{
    return set_add(&b->tail, &b->count, n);
}

static CUresult join(struct capture *c, struct CUstream_st *s)
{
    struct branch *b = calloc(1, sizeof(*b));

    if (!b)
        return CUDA_ERROR_OUT_OF_MEMORY;
    b->stream = s;
    b->next = c->branches;
    c->branches = b;
    s->capture = c;
    c->streams++;
    return CUDA_SUCCESS;
}

/* All its streams are as before; the graph is what is left. */
static void end(struct capture *c)
{
    while (c->branches) {
        struct branch *b = c->branches;

        c->branches = b->next;
        b->stream->capture = NULL;
        free(b->tail);
        free(b);
    }
    capture_discount(c);
    free(c->left);
    free(c);
}

CUresult capture_refuse(struct CUstream_st *s)
{
    s->capture->broken = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

/* A node behind all that its stream has. */
static CUresult add(struct CUstream_st *s, CUgraphNodeType type, struct CUgraphNode_st **ret_node)
{
    struct branch *b = branch_of(s);
    CUresult err;

    if (s->capture->broken)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    err = graph_add(s->capture->graph, type, b->tail, NULL, b->count, ret_node);
    if (!err) {
        b->count = 0;
        err = tail_add(b, *ret_node);
    }
    if (err)
        s->capture->broken = true;
    return err;
}

/* A node whose filling failed is none, and nor is the capture. */
static CUresult filled(struct CUstream_st *s, CUresult err)
{
    if (err)
        s->capture->broken = true;
    return err;
}

CUresult capture_node(struct CUstream_st *s, CUgraphNodeParams *p)
{
    struct CUgraphNode_st *n;
    CUresult err = add(s, p->type, &n);

    return err ? err : filled(s, graph_node_set(n, p));
}

static CUDA_MEMCPY3D copy_params(const struct cuda_command *c)
{
    const struct cuda_side *to = &c->copy.to, *from = &c->copy.from;
    CUDA_MEMCPY3D p = {
        .srcMemoryType = from->host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE,
        .srcHost = from->host ? (const void *)(uintptr_t)from->address : NULL,
        .srcDevice = from->host ? 0 : from->address,
        .srcPitch = from->pitch,
        .srcHeight = from->pitch ? from->slice / from->pitch : 0,
        .dstMemoryType = to->host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE,
        .dstHost = to->host ? (void *)(uintptr_t)to->address : NULL,
        .dstDevice = to->host ? 0 : to->address,
        .dstPitch = to->pitch,
        .dstHeight = to->pitch ? to->slice / to->pitch : 0,
        .WidthInBytes = c->copy.width,
        .Height = c->copy.height,
        .Depth = c->copy.depth,
    };

    return p;
}

static CUstreamBatchMemOpParams value_params(const struct cuda_command *c)
{
    bool wait = c->kind == CUDA_WAIT_VALUE, wide = c->value.bytes == 8;
    CUstreamBatchMemOpType operation =
        wait ? (wide ? CU_STREAM_MEM_OP_WAIT_VALUE_64 : CU_STREAM_MEM_OP_WAIT_VALUE_32)
             : (wide ? CU_STREAM_MEM_OP_WRITE_VALUE_64 : CU_STREAM_MEM_OP_WRITE_VALUE_32);
    CUstreamBatchMemOpParams p = {.waitValue = {.operation = operation,
                                                .address = c->value.address,
                                                .value64 = c->value.value,
                                                .flags = c->value.compare}};

    return p;
}

CUresult capture_command(struct CUstream_st *s, const struct cuda_command *c)
{
    CUgraphNodeParams p = {.type = CU_GRAPH_NODE_TYPE_EMPTY};
    CUstreamBatchMemOpParams operation;
    struct CUgraphNode_st *n;
    CUresult err;

    switch (c->kind) {
    case CUDA_COPY:
        err = add(s, CU_GRAPH_NODE_TYPE_MEMCPY, &n);
        if (err)
            return err;
        /* The command knows arrays by their memory: it is kept as it is. */
        n->command = *c;
        n->params.memcpy.copyCtx = s->context;
        n->params.memcpy.copyParams = copy_params(c);
        return CUDA_SUCCESS;
    case CUDA_SET:
        p.type = CU_GRAPH_NODE_TYPE_MEMSET;
        p.memset = (CUDA_MEMSET_NODE_PARAMS_v2){c->set.address, c->set.pitch, c->set.value,
                                                c->set.element, c->set.width, c->set.height,
                                                s->context};
        break;
    case CUDA_WRITE_VALUE:
    case CUDA_WAIT_VALUE:
        operation = value_params(c);
        p.type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP;
        p.memOp = (CUDA_BATCH_MEM_OP_NODE_PARAMS){s->context, 1, &operation, 0};
        break;
    default:
        return capture_refuse(s);
    }
    return capture_node(s, &p);
}

CUresult capture_launch(struct CUstream_st *s, const struct cuda_command *c, CUfunction function)
{
    struct CUgraphNode_st *n;
    CUresult err = add(s, CU_GRAPH_NODE_TYPE_KERNEL, &n);

    return err ? err : filled(s, graph_node_set_launch(n, function, s->context, c));
}

CUresult capture_record(struct CUstream_st *s, CUevent event)
{
    const struct branch *b = branch_of(s);
    struct CUgraphNode_st **nodes = NULL;

    if (s->capture->broken)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (b->count) {
        nodes = malloc(b->count * sizeof(struct CUgraphNode_st *));
        if (!nodes)
            return CUDA_ERROR_OUT_OF_MEMORY;
        memcpy(nodes, b->tail, b->count * sizeof(struct CUgraphNode_st *));
    }
    free(event->captured);
    event->captured = nodes;
    event->captured_count = b->count;
    event->capture = s->capture->id;
    return CUDA_SUCCESS;
}

static struct capture *capture_of(const struct CUevent_st *event)
{
    struct CUctx_st *c = NULL;

    while ((c = context_next(c)))
        for (struct CUstream_st *s = c->streams; s; s = s->next)
            if (s->capture && s->capture->id == event->capture)
                return s->capture;
    return NULL;
}

bool capture_has(const struct CUevent_st *event)
{
    return event->capture && capture_of(event);
}

CUresult capture_wait(struct CUstream_st *s, CUevent event)
{
    struct capture *c = event->capture ? capture_of(event) : NULL;
    CUresult err = CUDA_SUCCESS;

    /* What was recorded outside cannot be waited for within, and the other way round. */
    if (!event->capture) {
        s->capture->broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (!c)
        return CUDA_ERROR_CAPTURED_EVENT;
    if (c->broken)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (!s->capture)
        err = s == s->context->legacy ? CUDA_ERROR_STREAM_CAPTURE_IMPLICIT : join(c, s);
    else if (s->capture != c)
        err = CUDA_ERROR_STREAM_CAPTURE_MERGE;
    /* Nodes may have been destroyed since. */
    for (size_t i = 0; i < event->captured_count && !err; i++)
        if (handle_is(event->captured[i], NODE) && event->captured[i]->graph == c->graph)
            err = tail_add(branch_of(s), event->captured[i]);
    return err;
}

/* Nodes of the graph that is captured; edges that say more than "behind" cannot be. */
static CUresult check_needs(const struct CUgraph_st *g, const CUgraphNode *needs,
                            const CUgraphEdgeData *edges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!handle_is(needs[i], NODE) || needs[i]->graph != g)
            return CUDA_ERROR_INVALID_VALUE;
        else if (edges && (edges[i].from_port || edges[i].to_port || edges[i].type))
            return CUDA_ERROR_NOT_SUPPORTED;
    return CUDA_SUCCESS;
}

/* Whether the first stream is behind all that another one got. */
static bool joined(const struct capture *c, const struct branch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct branch *o = branch_of(c->origin);
        bool found = false;

        for (size_t j = 0; j < o->count; j++)
            found |= o->tail[j] == b->tail[i];
        for (size_t j = 0; j < c->left_count; j++)
            found |= c->left[j] == b->tail[i];
        for (size_t j = 0; j < c->graph->count && !found; j++)
            for (size_t k = 0; k < c->graph->nodes[j]->need_count; k++)
                found |= c->graph->nodes[j]->needs[k] == b->tail[i];
        if (!found)
            return false;
    }
    return true;
}

void capture_drop(struct CUstream_st *s)
{
    struct capture *c = s->capture;

    if (!c)
        return;
    if (s == c->origin) {
        if (!c->given)
            graph_destroy(c->graph);
        end(c);
        return;
    }
    /* What was joined is the first stream's. */
    c->broken |= !joined(c, branch_of(s));
    for (struct branch **at = &c->branches; *at; at = &(*at)->next)
        if ((*at)->stream == s) {
            struct branch *b = *at;

            *at = b->next;
            free(b->tail);
            free(b);
            break;
        }
    s->capture = NULL;
}

/* Into a graph of the program, or, NULL, a new one. */
static CUresult begin(CUstream stream, CUgraph graph, const CUgraphNode *needs,
                      const CUgraphEdgeData *edges, size_t count, CUstreamCaptureMode mode)
{
    struct CUstream_st *s;
    struct capture *c;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if ((unsigned)mode > CU_STREAM_CAPTURE_MODE_RELAXED || (count && !needs) ||
        (graph && !handle_is(graph, GRAPH)))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (s == s->context->legacy)
        return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    if (s->capture)
        return leave(CUDA_ERROR_ILLEGAL_STATE);
    err = check_needs(graph, needs, edges, count);
    if (err)
        return leave(err);
    c = calloc(1, sizeof(*c));
    if (!c)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    c->graph = graph;
    c->given = graph != NULL;
    if (!graph) {
        err = graph_create(&c->graph);
        if (!err)
            c->graph->owned = true;
    }
    if (!err) {
        c->origin = s;
        c->id = unique();
        c->mode = mode;
        err = join(c, s);
        if (err && !graph)
            graph_destroy(c->graph);
    }
    if (err) {
        free(c);
        return leave(err);
    }
    capture_count(c);
    for (size_t i = 0; i < count && !err; i++)
        err = tail_add(c->branches, needs[i]);
    if (err)
        end(c);
    return leave(err);
}

API cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode)
{
    return begin(stream, NULL, NULL, NULL, 0, mode);
}

API cuStreamBeginCaptureToGraph(CUstream stream, CUgraph graph, const CUgraphNode *needs,
                                const CUgraphEdgeData *edges, size_t count,
                                CUstreamCaptureMode mode)
{
    return graph ? begin(stream, graph, needs, edges, count, mode) : CUDA_ERROR_INVALID_VALUE;
}

API cuStreamUpdateCaptureDependencies_v2(CUstream stream, CUgraphNode *needs,
                                         const CUgraphEdgeData *edges, size_t count, unsigned flags)
{
    struct CUstream_st *s;
    struct branch *b;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!s->capture)
        return leave(CUDA_ERROR_ILLEGAL_STATE);
    if (flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES || (count && !needs))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (s->capture->broken)
        return leave(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    err = check_needs(s->capture->graph, needs, edges, count);
    if (err)
        return leave(err);
    b = branch_of(s);
    /* What was joined stays joined. */
    if (flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES) {
        for (size_t i = 0; i < b->count && !err; i++)
            err = set_add(&s->capture->left, &s->capture->left_count, b->tail[i]);
        b->count = err ? b->count : 0;
    }
    for (size_t i = 0; i < count && !err; i++)
        err = tail_add(b, needs[i]);
    return leave(err);
}

API cuStreamUpdateCaptureDependencies(CUstream stream, CUgraphNode *needs, size_t count,
                                      unsigned flags)
{
    return cuStreamUpdateCaptureDependencies_v2(stream, needs, NULL, count, flags);
}

API cuStreamBeginCapture(CUstream stream)
{
    return cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

API cuStreamEndCapture(CUstream stream, CUgraph *graph)
{
    struct CUstream_st *s;
    struct capture *c;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    c = s->capture;
    /* Of a graph of its own, the program needs not be told. */
    if (!graph && !(c && c->given))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (graph)
        *graph = NULL;
    if (!c)
        return leave(CUDA_ERROR_ILLEGAL_STATE);
    if (s != c->origin)
        return leave(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    if (!capture_is_mine(c))
        return leave(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    if (c->broken)
        err = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    for (struct branch *b = c->branches; b && !err; b = b->next)
        if (b->stream != s && !joined(c, b))
            err = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    if (!err && !c->given)
        c->graph->owned = false;
    if (!err && graph)
        *graph = c->graph;
    else if (err && !c->given)
        graph_destroy(c->graph);
    end(c);
    return leave(err);
}

API cuStreamGetCaptureInfo(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id)
{
    struct CUstream_st *s;
    CUresult err = cuStreamIsCapturing(stream, status);

    if (err)
        return err;
    err = enter_stream(stream, &s);
    if (err)
        return err;
    if (id)
        *id = s->capture ? s->capture->id : 0;
    return leave(CUDA_SUCCESS);
}

/* Edges carry no data here. What `needs` points to holds until the stream is given more. */
API cuStreamGetCaptureInfo_v3(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                              CUgraph *graph, const CUgraphNode **needs,
                              const CUgraphEdgeData **edges, size_t *count)
{
    const struct branch *b;
    struct CUstream_st *s;
    CUresult err = cuStreamGetCaptureInfo(stream, status, id);

    if (err)
        return err;
    err = enter_stream(stream, &s);
    if (err)
        return err;
    b = s->capture ? branch_of(s) : NULL;
    if (graph)
        *graph = b ? s->capture->graph : NULL;
    if (needs)
        *needs = b ? b->tail : NULL;
    if (edges)
        *edges = NULL;
    if (count)
        *count = b ? b->count : 0;
    return leave(CUDA_SUCCESS);
}

API cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                              CUgraph *graph, const CUgraphNode **needs, size_t *count)
{
    return cuStreamGetCaptureInfo_v3(stream, status, id, graph, needs, NULL, count);
}
