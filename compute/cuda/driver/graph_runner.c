/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "graph.h"

/*
 * Launches of graphs with conditions. Queues take work one way and know no branches, so a thread
 * gives the nodes to a stream of its own: up to a condition, waits for its word, goes on. The
 * stream of the launch waits for a word, too, that is written when all is done.
 */

struct job {
    struct CUgraph_st *graph; /* held */
    struct cuda_queue *queue; /* held: where the launch was */
    uint64_t number;          /* what it comes behind there */
    uint64_t ticket;          /* what is written when it is done */
    struct CUctx_st *context;
    uint64_t context_id;
    struct job *next;
};

/* With the lock of all objects, but for the last fields. */
struct graph_runner {
    struct CUstream_st *stream; /* NULL or gone before the first launch in a context */
    uint64_t stream_id;
    struct graph_block *done; /* tickets; of the stream's context */
    uint64_t tickets;
    uint32_t word; /* a condition as it was read */
    pthread_mutex_t mutex;
    pthread_cond_t work, idle;
    struct job *first, **last; /* with the mutex, as what follows */
    bool busy, quit;
};

static bool stream_lives(const struct graph_runner *r)
{
    return r->stream && handle_is(r->stream, STREAM) && r->stream->id == r->stream_id;
}

/* Waits until the stream is done; the lock is given up meanwhile. */
static CUresult wait(struct graph_runner *r)
{
    struct cuda_queue *queue = r->stream->queue;
    uint64_t number = r->stream->last;

    backend->queue_hold(queue);
    unlock();
    backend->wait(queue, number);
    backend->queue_release(queue);
    lock();
    return stream_lives(r) ? context_error(r->stream->context) : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

static CUresult read_word(struct graph_runner *r, uint64_t address)
{
    uint64_t bytes = sizeof(r->word);
    struct cuda_command copy = {
        .kind = CUDA_COPY,
        .copy = {
            .to = {.host = true, .address = (uintptr_t)&r->word, .pitch = bytes, .slice = bytes},
            .from = {.address = address, .pitch = bytes, .slice = bytes},
            .width = bytes,
            .height = 1,
            .depth = 1}};
    CUresult err = stream_submit(r->stream, &copy);

    return err ? err : wait(r);
}

static CUresult run(struct graph_runner *r, const struct CUgraph_st *g);

static CUresult run_condition(struct graph_runner *r, const struct CUgraphNode_st *n)
{
    CUresult err = read_word(r, n->block->address);
    uint32_t which = r->word;

    switch (n->params.conditional.type) {
    case CU_GRAPH_COND_TYPE_WHILE:
        while (!err && r->word) {
            err = run(r, n->bodies[0]);
            if (!err)
                err = read_word(r, n->block->address);
        }
        return err;
    case CU_GRAPH_COND_TYPE_IF: /* the second is for else */
        which = r->word ? 0 : 1;
        break;
    default:
        break;
    }
    return !err && which < n->body_count ? run(r, n->bodies[which]) : err;
}

static CUresult run(struct graph_runner *r, const struct CUgraph_st *g)
{
    CUresult err = CUDA_SUCCESS;

    for (size_t i = 0; i < g->count && !err; i++) {
        const struct CUgraphNode_st *n = g->order[i];

        if (n->type == CU_GRAPH_NODE_TYPE_CONDITIONAL)
            err = run_condition(r, n);
        else if (n->type == CU_GRAPH_NODE_TYPE_GRAPH)
            err = run(r, n->bodies[0]);
        else
            err = graph_node_submit(n, r->stream);
    }
    return err;
}

static void run_job(struct graph_runner *r, const struct job *job)
{
    struct cuda_command behind = {.kind = CUDA_WAIT, .wait = {job->queue, job->number}};
    struct cuda_command done = {.kind = CUDA_WRITE_VALUE,
                                .value = {.value = job->ticket, .bytes = sizeof(job->ticket)}};
    CUresult err;

    if (!stream_lives(r))
        return;
    done.value.address = r->done->address;
    err = stream_submit(r->stream, &behind);
    if (!err)
        err = graph_condition_reset(job->graph, r->stream);
    if (!err)
        err = run(r, job->graph);
    if (!err)
        err = stream_submit(r->stream, &done);
    /* Else the stream of the launch would wait for ever. */
    if (err && backend->abort && handle_is(job->context, CONTEXT) &&
        job->context->id == job->context_id && job->context->active)
        backend->abort(job->context->backend, err);
}

static void end(struct graph_runner *r)
{
    lock();
    if (stream_lives(r))
        stream_end(r->stream);
    if (r->done)
        graph_block_release(r->done);
    unlock();
    pthread_cond_destroy(&r->work);
    pthread_cond_destroy(&r->idle);
    pthread_mutex_destroy(&r->mutex);
    free(r);
}

static void *thread(void *argument)
{
    struct graph_runner *r = argument;

    pthread_mutex_lock(&r->mutex);
    for (;;) {
        struct job *job;

        while (!r->first && !r->quit)
            pthread_cond_wait(&r->work, &r->mutex);
        job = r->first;
        if (!job)
            break;
        r->first = job->next;
        if (!r->first)
            r->last = &r->first;
        r->busy = true;
        pthread_mutex_unlock(&r->mutex);
        lock();
        run_job(r, job);
        graph_destroy(job->graph);
        unlock();
        backend->queue_release(job->queue);
        free(job);
        pthread_mutex_lock(&r->mutex);
        r->busy = false;
        pthread_cond_broadcast(&r->idle);
    }
    pthread_mutex_unlock(&r->mutex);
    end(r);
    return NULL;
}

CUresult graph_runner_create(struct graph_runner **ret_runner)
{
    struct graph_runner *r = calloc(1, sizeof(*r));
    pthread_t id;

    if (!r)
        return CUDA_ERROR_OUT_OF_MEMORY;
    r->last = &r->first;
    pthread_mutex_init(&r->mutex, NULL);
    pthread_cond_init(&r->work, NULL);
    pthread_cond_init(&r->idle, NULL);
    if (pthread_create(&id, NULL, thread, r)) {
        pthread_cond_destroy(&r->work);
        pthread_cond_destroy(&r->idle);
        pthread_mutex_destroy(&r->mutex);
        free(r);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    pthread_detach(id);
    *ret_runner = r;
    return CUDA_SUCCESS;
}

void graph_runner_destroy(struct graph_runner *r)
{
    pthread_mutex_lock(&r->mutex);
    r->quit = true;
    pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->mutex);
}

void graph_runner_settle(struct graph_runner *r)
{
    unlock();
    pthread_mutex_lock(&r->mutex);
    while (r->first || r->busy)
        pthread_cond_wait(&r->idle, &r->mutex);
    pthread_mutex_unlock(&r->mutex);
    lock();
}

/* A stream and a word for tickets in the context of the launch. */
static CUresult prepare(struct graph_runner *r, struct CUctx_st *c)
{
    struct graph_block *word;
    CUresult err;

    if (stream_lives(r) && r->stream->context == c)
        return CUDA_SUCCESS;
    err = graph_block_create(c, sizeof(r->tickets), &word);
    if (err)
        return err;
    if (stream_lives(r)) {
        /* Of another context: what was launched there comes first. */
        graph_runner_settle(r);
        if (stream_lives(r))
            stream_end(r->stream);
    }
    if (r->done)
        graph_block_release(r->done);
    r->done = word;
    r->tickets = 0;
    err = stream_make(c, CU_STREAM_NON_BLOCKING, 0, &r->stream);
    if (err)
        r->stream = NULL;
    else
        r->stream_id = r->stream->id;
    return err;
}

CUresult graph_runner_launch(struct graph_runner *r, struct CUgraph_st *g, struct CUstream_st *s)
{
    struct cuda_command nothing = {.kind = CUDA_NOTHING};
    struct cuda_command wait_done = {
        .kind = CUDA_WAIT_VALUE,
        .value = {.bytes = sizeof(r->tickets), .compare = CU_STREAM_WAIT_VALUE_GEQ}};
    struct job *job = calloc(1, sizeof(*job));
    CUresult err = job ? prepare(r, s->context) : CUDA_ERROR_OUT_OF_MEMORY;

    if (!err)
        err = stream_submit(s, &nothing);
    if (err) {
        free(job);
        return err;
    }
    *job = (struct job){.graph = g,
                        .queue = s->queue,
                        .number = s->last,
                        .ticket = ++r->tickets,
                        .context = s->context,
                        .context_id = s->context->id};
    backend->queue_hold(s->queue);
    g->references++;
    wait_done.value.address = r->done->address;
    wait_done.value.value = job->ticket;
    err = stream_submit(s, &wait_done);
    pthread_mutex_lock(&r->mutex);
    *r->last = job;
    r->last = &job->next;
    pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->mutex);
    return err;
}
