/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "graph.h"

/*
 * Streams that are captured: a graph grows instead of a queue. A capture has one or more streams;
 * those beside its first join by an event and must be joined again before it ends.
 */

struct capture {
    struct CUgraph_st *graph;
    struct CUstream_st *origin;
    uint64_t id;
    bool broken;
    unsigned streams;
    struct branch {
        struct CUstream_st *stream;
        struct CUgraphNode_st **tail; /* what its next node needs */
        size_t count;
        struct branch *next;
    } * branches;
};

static struct branch *branch_of(struct CUstream_st *s)
{
    struct branch *b = s->capture->branches;

    while (b->stream != s)
        b = b->next;
    return b;
}

static CUresult tail_add(struct branch *b, struct CUgraphNode_st *n)
{
    struct CUgraphNode_st **grown;

    for (size_t i = 0; i < b->count; i++)
        if (b->tail[i] == n)
            return CUDA_SUCCESS;
    grown = realloc(b->tail, (b->count + 1) * sizeof(struct CUgraphNode_st *));
    if (!grown)
        return CUDA_ERROR_OUT_OF_MEMORY;
    b->tail = grown;
    grown[b->count++] = n;
    return CUDA_SUCCESS;
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
    free(c);
}

CUresult capture_refuse(struct CUstream_st *s)
{
    s->capture->broken = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

void capture_drop(struct CUstream_st *s)
{
    struct capture *c = s->capture;

    if (!c)
        return;
    c->broken = true;
    if (s == c->origin) {
        graph_destroy(c->graph);
        end(c);
        return;
    }
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

/* A node behind all that its stream has. */
static CUresult add(struct CUstream_st *s, CUgraphNodeType type, struct CUgraphNode_st **ret_node)
{
    struct branch *b = branch_of(s);
    CUresult err;

    if (s->capture->broken)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    err = graph_add(s->capture->graph, type, b->tail, b->count, ret_node);
    if (!err) {
        b->count = 0;
        err = tail_add(b, *ret_node);
    }
    if (err)
        s->capture->broken = true;
    return err;
}

CUresult capture_command(struct CUstream_st *s, const struct cuda_command *c)
{
    struct CUgraphNode_st *n;
    CUresult err;

    switch (c->kind) {
    case CUDA_COPY:
        err = add(s, CU_GRAPH_NODE_TYPE_MEMCPY, &n);
        break;
    case CUDA_SET:
        err = add(s, CU_GRAPH_NODE_TYPE_MEMSET, &n);
        break;
    case CUDA_WRITE_VALUE:
    case CUDA_WAIT_VALUE:
        err = add(s, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, &n);
        break;
    default:
        return capture_refuse(s);
    }
    if (!err)
        n->command = *c;
    return err;
}

CUresult capture_launch(struct CUstream_st *s, const struct cuda_command *c, CUfunction function)
{
    struct CUgraphNode_st *n;
    CUresult err = add(s, CU_GRAPH_NODE_TYPE_KERNEL, &n);

    return err ? err : graph_set_launch(n, function, c);
}

CUresult capture_host(struct CUstream_st *s, CUhostFn function, void *user)
{
    struct CUgraphNode_st *n;
    CUresult err = add(s, CU_GRAPH_NODE_TYPE_HOST, &n);

    if (!err)
        n->host = (CUDA_HOST_NODE_PARAMS){function, user};
    return err;
}

CUresult capture_record(struct CUstream_st *s, CUevent event)
{
    struct branch *b = branch_of(s);
    struct CUgraphNode_st *n = NULL;
    CUresult err = CUDA_SUCCESS;

    if (s->capture->broken)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    /* An event stands for one node. */
    if (b->count != 1)
        err = add(s, CU_GRAPH_NODE_TYPE_EMPTY, &n);
    if (err)
        return err;
    event->captured = b->tail[0];
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
    if (!err)
        err = tail_add(branch_of(s), event->captured);
    return err;
}

/* Whether the first stream is behind all that another one got. */
static bool joined(const struct capture *c, const struct branch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct branch *o = branch_of(c->origin);
        bool found = false;

        for (size_t j = 0; j < o->count; j++)
            found |= o->tail[j] == b->tail[i];
        for (size_t j = 0; j < c->graph->count && !found; j++)
            for (size_t k = 0; k < c->graph->nodes[j]->need_count; k++)
                found |= c->graph->nodes[j]->needs[k] == b->tail[i];
        if (!found)
            return false;
    }
    return true;
}

API cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode)
{
    struct CUstream_st *s;
    struct capture *c;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if ((unsigned)mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (s == s->context->legacy)
        return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    if (s->capture)
        return leave(CUDA_ERROR_ILLEGAL_STATE);
    c = calloc(1, sizeof(*c));
    err = c ? graph_create(&c->graph) : CUDA_ERROR_OUT_OF_MEMORY;
    if (!err) {
        c->graph->owned = true;
        c->origin = s;
        c->id = unique();
        err = join(c, s);
        if (err)
            graph_destroy(c->graph);
    }
    if (err)
        free(c);
    return leave(err);
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
    if (!graph)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *graph = NULL;
    c = s->capture;
    if (!c)
        return leave(CUDA_ERROR_ILLEGAL_STATE);
    if (s != c->origin)
        return leave(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    if (c->broken)
        err = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    for (struct branch *b = c->branches; b && !err; b = b->next)
        if (b->stream != s && !joined(c, b))
            err = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    if (err) {
        graph_destroy(c->graph);
    } else {
        c->graph->owned = false;
        *graph = c->graph;
    }
    end(c);
    return leave(err);
}

API cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!status)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *status = !s->capture          ? CU_STREAM_CAPTURE_STATUS_NONE
              : s->capture->broken ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                   : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return leave(CUDA_SUCCESS);
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

API cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
    struct thread *t = thread_self();
    CUstreamCaptureMode before = t->capture;
    CUresult err = enter();

    if (err)
        return err;
    if (!mode || (unsigned)*mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return leave(CUDA_ERROR_INVALID_VALUE);
    t->capture = *mode;
    *mode = before;
    return leave(CUDA_SUCCESS);
}
