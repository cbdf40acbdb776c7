/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <unistd.h>

#include "graph.h"
#include "internal.h"
#include "ipc.h"

/* Events: a number of a queue, and the time when it came to pass. */

#define LOOK_US 50 /* how often an event of several processes is looked at */

static void forget(struct CUevent_st *e)
{
    if (e->queue)
        backend->queue_release(e->queue);
    backend->stamp_release(e->stamp);
    e->queue = NULL;
    e->stamp = NULL;
    e->capture = 0;
    free(e->captured);
    e->captured = NULL;
    e->captured_count = 0;
}

CUresult event_make(struct CUctx_st *c, unsigned flags, struct ipc_event *shared,
                    CUevent *ret_event)
{
    struct CUevent_st *e = calloc(1, sizeof(*e));

    if (!e || !handle_add(e, EVENT)) {
        free(e);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    e->context = c;
    e->flags = flags;
    e->shared = shared;
    *ret_event = e;
    return CUDA_SUCCESS;
}

API cuEventCreate(CUevent *event, unsigned flags)
{
    struct ipc_event *shared = NULL;
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!event || flags & ~7u ||
        (flags & CU_EVENT_INTERPROCESS && !(flags & CU_EVENT_DISABLE_TIMING)))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (flags & CU_EVENT_INTERPROCESS)
        err = ipc_event_create(c, &shared);
    if (!err)
        err = event_make(c, flags, shared, event);
    if (err)
        ipc_event_destroy(shared);
    return leave(err);
}

API cuEventDestroy_v2(CUevent event)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(event, EVENT))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    forget(event);
    ipc_event_destroy(event->shared);
    handle_remove(event);
    free(event);
    return leave(CUDA_SUCCESS);
}

API cuEventDestroy(CUevent event)
{
    return cuEventDestroy_v2(event);
}

CUresult event_record(CUevent event, struct CUstream_st *s)
{
    struct cuda_command command = {.kind = CUDA_NOTHING};
    struct cuda_stamp *stamp = NULL;
    CUresult err = CUDA_SUCCESS;

    if (!handle_is(event, EVENT))
        return CUDA_ERROR_INVALID_HANDLE;
    if (!(event->flags & CU_EVENT_DISABLE_TIMING)) {
        err = (CUresult)backend->stamp_create(&stamp);
        command.kind = CUDA_STAMP;
        command.stamp.stamp = stamp;
    }
    if (!err && event->shared)
        err = ipc_event_record(event->shared, s);
    if (!err)
        err = stream_submit(s, &command);
    if (err) {
        backend->stamp_release(stamp);
        return err;
    }
    forget(event);
    backend->queue_hold(s->queue);
    event->queue = s->queue;
    event->number = s->last;
    event->stamp = stamp;
    return CUDA_SUCCESS;
}

CUresult event_wait(CUevent event, struct CUstream_st *s)
{
    struct cuda_command wait = {.kind = CUDA_WAIT};

    if (!handle_is(event, EVENT))
        return CUDA_ERROR_INVALID_HANDLE;
    if (event->shared)
        return ipc_event_wait(event->shared, s);
    if (!event->queue || backend->done(event->queue, event->number))
        return CUDA_SUCCESS;
    wait.wait.queue = event->queue;
    wait.wait.number = event->number;
    return stream_submit(s, &wait);
}

/* What is external to a capture is a node. */
static CUresult capture_event(struct CUstream_st *s, CUevent event, CUgraphNodeType type)
{
    CUgraphNodeParams node = {.type = type, .eventRecord = {event}};

    return capture_node(s, &node);
}

API cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!handle_is(event, EVENT))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if (flags & ~(unsigned)CU_EVENT_RECORD_EXTERNAL)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (!s->capture)
        return leave(event_record(event, s));
    return leave(flags ? capture_event(s, event, CU_GRAPH_NODE_TYPE_EVENT_RECORD)
                       : capture_record(s, event));
}

API cuEventRecord(CUevent event, CUstream stream)
{
    return cuEventRecordWithFlags(event, stream, 0);
}

API cuEventQuery(CUevent event)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(event, EVENT))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    err = capture_has(event) ? CUDA_ERROR_CAPTURED_EVENT : capture_unsafe();
    if (err)
        return leave(err);
    if (event->shared ? !ipc_event_done(event->shared)
                      : event->queue && !backend->done(event->queue, event->number))
        return leave(CUDA_ERROR_NOT_READY);
    return leave(event->queue && handle_is(event->context, CONTEXT) && event->context->active
                     ? context_error(event->context)
                     : CUDA_SUCCESS);
}

API cuEventSynchronize(CUevent event)
{
    CUresult err = enter();
    struct cuda_device *open;
    struct CUctx_st *c;

    if (err)
        return err;
    if (!handle_is(event, EVENT))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    err = capture_has(event) ? CUDA_ERROR_CAPTURED_EVENT : capture_unsafe();
    if (err)
        return leave(err);
    c = event->context;
    /* Another process may have recorded it: then there is nothing here to wait for. */
    while (event->shared && !ipc_event_done(event->shared)) {
        unlock();
        usleep(LOOK_US);
        lock();
        if (!handle_is(event, EVENT))
            return leave(CUDA_ERROR_INVALID_HANDLE);
        if (handle_is(c, CONTEXT) && c->active && context_error(c))
            return leave(context_error(c));
    }
    if (event->queue) {
        struct cuda_queue *queue = event->queue;
        uint64_t number = event->number;

        open = c->open;
        backend->queue_hold(queue);
        unlock();
        backend->wait(queue, number);
        backend->queue_release(queue);
        backend->print(open);
        lock();
        if (handle_is(c, CONTEXT) && c->active)
            err = context_error(c);
    }
    return leave(err);
}

API cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end)
{
    CUresult err = enter();
    uint64_t from, to;

    if (err)
        return err;
    if (!milliseconds)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (!handle_is(start, EVENT) || !handle_is(end, EVENT))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if (!start->stamp || !end->stamp)
        return leave(CUDA_ERROR_INVALID_HANDLE);
    from = backend->stamp_time(start->stamp);
    to = backend->stamp_time(end->stamp);
    if (!from || !to)
        return leave(CUDA_ERROR_NOT_READY);
    *milliseconds = (float)((double)(int64_t)(to - from) / 1e6);
    return leave(CUDA_SUCCESS);
}

API cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end)
{
    return cuEventElapsedTime_v2(milliseconds, start, end);
}

API cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!handle_is(event, EVENT))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if (flags & ~(unsigned)CU_EVENT_WAIT_EXTERNAL)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (flags && s->capture)
        return leave(capture_event(s, event, CU_GRAPH_NODE_TYPE_WAIT_EVENT));
    if (event->capture || s->capture)
        return leave(capture_wait(s, event));
    return leave(event_wait(event, s));
}
