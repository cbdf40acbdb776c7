/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "graph.h"
#include "internal.h"

/*
 * Streams: one queue of the backend each. What the default stream promises is made of waits for
 * numbers of other queues: its work waits for all that streams were given which are not
 * CU_STREAM_NON_BLOCKING, and what those are given later waits for it.
 */

CUresult stream_make(struct CUctx_st *c, unsigned flags, int priority,
                     struct CUstream_st **ret_stream)
{
    struct CUstream_st *s = calloc(1, sizeof(*s));
    CUresult err = CUDA_ERROR_OUT_OF_MEMORY;

    if (!s)
        return err;
    s->context = c;
    s->flags = flags;
    s->priority = priority < -5 ? -5 : priority > 0 ? 0 : priority;
    err = (CUresult)backend->queue_create(c->backend, s->priority, &s->queue);
    if (!err && !handle_add(s, STREAM)) {
        backend->queue_release(s->queue);
        err = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (err) {
        free(s);
        return err;
    }
    s->id = unique();
    s->next = c->streams;
    c->streams = s;
    *ret_stream = s;
    return CUDA_SUCCESS;
}

static CUresult submit(struct CUstream_st *s, const struct cuda_command *command)
{
    uint64_t number = backend->submit(s->queue, command);

    if (!number)
        return CUDA_ERROR_OUT_OF_MEMORY;
    s->last = number;
    return CUDA_SUCCESS;
}

static CUresult after(struct CUstream_st *s, struct cuda_queue *queue, uint64_t number)
{
    struct cuda_command wait = {.kind = CUDA_WAIT, .wait = {queue, number}};

    return backend->done(queue, number) ? CUDA_SUCCESS : submit(s, &wait);
}

/* Its work is not lost: the default stream waits for it, as it would have. */
void stream_end(struct CUstream_st *s)
{
    struct CUctx_st *c = s->context;

    capture_drop(s);
    if (s != c->legacy && c->legacy && !backend->done(s->queue, s->last))
        after(c->legacy, s->queue, s->last);
    for (struct CUstream_st **at = &c->streams; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
    backend->queue_release(s->queue);
    handle_remove(s);
    free(s);
}

static CUresult per_thread(struct CUctx_st *c, struct CUstream_st **ret_stream)
{
    struct thread *t = thread_self();
    unsigned place = 0;
    CUresult err;

    for (unsigned i = 0; i < 8; i++) {
        struct CUstream_st *s = t->streams[i].stream;

        if (!s || !handle_is(s, STREAM) || s->id != t->streams[i].context) {
            place = i;
            continue;
        }
        if (s->context == c) {
            *ret_stream = s;
            return CUDA_SUCCESS;
        }
    }
    err = stream_make(c, 0, 0, ret_stream);
    if (!err) {
        /* Ids tell a stream from a later one at the same place. */
        t->streams[place].stream = *ret_stream;
        t->streams[place].context = (*ret_stream)->id;
    }
    return err;
}

CUresult stream_find(CUstream handle, struct CUstream_st **ret_stream)
{
    struct CUctx_st *c = context_current();

    if (handle == NULL || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
        if (!c || !c->active)
            return CUDA_ERROR_INVALID_CONTEXT;
        if (handle == CU_STREAM_PER_THREAD)
            return per_thread(c, ret_stream);
        *ret_stream = c->legacy;
        return CUDA_SUCCESS;
    }
    if (!handle_is(handle, STREAM))
        return CUDA_ERROR_INVALID_HANDLE;
    *ret_stream = handle;
    return context_error(handle->context);
}

bool stream_blocks_capture(const struct CUstream_st *s)
{
    if (s == s->context->legacy)
        for (const struct CUstream_st *o = s->context->streams; o; o = o->next)
            if (o->capture && !(o->flags & CU_STREAM_NON_BLOCKING))
                return true;
    return false;
}

CUresult stream_submit(struct CUstream_st *s, const struct cuda_command *command)
{
    struct CUstream_st *legacy = s->context->legacy;
    CUresult err = CUDA_SUCCESS;

    if (s->capture)
        return capture_command(s, command);
    if (s == legacy) {
        if (stream_blocks_capture(s))
            return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
        for (struct CUstream_st *o = s->context->streams; o && !err; o = o->next)
            if (o != s && !(o->flags & CU_STREAM_NON_BLOCKING) && o->last > o->joined) {
                err = after(s, o->queue, o->last);
                o->joined = o->last;
            }
    } else if (!(s->flags & CU_STREAM_NON_BLOCKING) && legacy->last > s->ordered) {
        err = after(s, legacy->queue, legacy->last);
        s->ordered = legacy->last;
    }
    return err ? err : submit(s, command);
}

CUresult stream_wait(struct CUstream_st *s)
{
    struct cuda_queue *queue = s->queue;
    struct cuda_context *b = s->context->backend;
    struct cuda_device *open = s->context->open;
    uint64_t number = s->last;

    backend->queue_hold(queue);
    unlock();
    backend->wait(queue, number);
    backend->queue_release(queue);
    backend->print(open);
    lock();
    return (CUresult)atomic_load(&b->error);
}

CUresult stream_behind_all(struct CUctx_st *c, const struct cuda_command *command)
{
    CUresult err = CUDA_SUCCESS;

    for (struct CUstream_st *o = c->streams; o && !err; o = o->next)
        if (o != c->legacy)
            err = after(c->legacy, o->queue, o->last);
    return err ? err : submit(c->legacy, command);
}

bool stream_all_done(const struct CUctx_st *c)
{
    bool done = true;

    for (const struct CUstream_st *o = c->streams; o; o = o->next)
        done &= backend->done(o->queue, o->last);
    return done;
}

CUresult enter_stream(CUstream handle, struct CUstream_st **ret_stream)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    err = stream_find(handle, ret_stream);
    if (err)
        unlock();
    return err;
}

API cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!stream || flags & ~(unsigned)CU_STREAM_NON_BLOCKING)
        return leave(CUDA_ERROR_INVALID_VALUE);
    return leave(stream_make(c, flags, priority, stream));
}

API cuStreamCreate(CUstream *stream, unsigned flags)
{
    return cuStreamCreateWithPriority(stream, flags, 0);
}

API cuStreamDestroy_v2(CUstream stream)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(stream, STREAM) || stream == stream->context->legacy)
        return leave(CUDA_ERROR_INVALID_HANDLE);
    stream_end(stream);
    return leave(CUDA_SUCCESS);
}

API cuStreamDestroy(CUstream stream)
{
    return cuStreamDestroy_v2(stream);
}

/* The default stream is done when all that it would wait for is. */
static CUresult settle(struct CUstream_st *s)
{
    struct cuda_command nothing = {.kind = CUDA_NOTHING};

    return s == s->context->legacy ? stream_submit(s, &nothing) : CUDA_SUCCESS;
}

API cuStreamSynchronize(CUstream stream)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (s->capture)
        return leave(capture_refuse(s));
    err = capture_unsafe();
    if (!err)
        err = settle(s);
    return leave(err ? err : stream_wait(s));
}

API cuStreamQuery(CUstream stream)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);
    bool done = true;

    if (err)
        return err;
    if (s->capture)
        return leave(capture_refuse(s));
    err = capture_unsafe();
    if (err)
        return leave(err);
    done = backend->done(s->queue, s->last);
    if (s == s->context->legacy)
        for (struct CUstream_st *o = s->context->streams; o; o = o->next)
            if (!(o->flags & CU_STREAM_NON_BLOCKING))
                done &= backend->done(o->queue, o->last);
    err = context_error(s->context);
    return leave(err ? err : done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY);
}

API cuStreamGetPriority(CUstream stream, int *priority)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!priority)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *priority = s->priority;
    return leave(CUDA_SUCCESS);
}

API cuStreamGetFlags(CUstream stream, unsigned *flags)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!flags)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *flags = s->flags;
    return leave(CUDA_SUCCESS);
}

API cuStreamGetId(CUstream stream, unsigned long long *id)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!id)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *id = s->id;
    return leave(CUDA_SUCCESS);
}

API cuStreamGetCtx(CUstream stream, CUcontext *context)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!context)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *context = s->context;
    return leave(CUDA_SUCCESS);
}

API cuStreamGetDevice(CUstream stream, CUdevice *device)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!device)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *device = s->context->device;
    return leave(CUDA_SUCCESS);
}

API cuStreamAttachMemAsync(CUstream stream, CUdeviceptr address, size_t length, unsigned flags)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);
    struct range *r;

    if (err)
        return err;
    r = range_find(address);
    /* Managed memory is everybody's at all times. */
    if (!r || r->kind != RANGE_MANAGED || (length && length != r->size) ||
        (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST &&
         flags != CU_MEM_ATTACH_SINGLE) ||
        (flags == CU_MEM_ATTACH_SINGLE && s == s->context->legacy))
        err = CUDA_ERROR_INVALID_VALUE;
    return leave(err);
}

/* Functions of the program in a stream: they may not call the API. */
struct call {
    CUhostFn function;
    CUstreamCallback callback;
    CUstream stream;
    void *user;
};

static void call(void *argument, int error)
{
    struct call c = *(struct call *)argument;
    struct thread *t = thread_self();

    free(argument);
    t->calling = true;
    if (c.callback)
        c.callback(c.stream, (CUresult)error, c.user);
    else if (!error)
        c.function(c.user);
    t->calling = false;
}

static CUresult submit_call(struct CUstream_st *s, struct call one)
{
    struct cuda_command command = {.kind = CUDA_CALL, .call = {.run = call}};
    struct call *copy = malloc(sizeof(*copy));
    CUresult err;

    if (!copy)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *copy = one;
    command.call.user = copy;
    err = stream_submit(s, &command);
    if (err)
        free(copy);
    return err;
}

CUresult stream_call(struct CUstream_st *s, CUhostFn function, void *user)
{
    return submit_call(s, (struct call){.function = function, .user = user});
}

static CUresult add_call(CUstream stream, struct call one)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!one.function && !one.callback)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (s->capture) {
        CUgraphNodeParams node = {.type = CU_GRAPH_NODE_TYPE_HOST,
                                  .host = {one.function, one.user}};

        return leave(one.callback ? capture_refuse(s) : capture_node(s, &node));
    }
    return leave(submit_call(s, one));
}

API cuLaunchHostFunc(CUstream stream, CUhostFn function, void *user)
{
    return add_call(stream, (struct call){.function = function, .user = user});
}

API cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void *user, unsigned flags)
{
    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    return add_call(stream, (struct call){.callback = callback, .stream = stream, .user = user});
}
