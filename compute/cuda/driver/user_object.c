/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "graph.h"

/* Objects of the program that graphs hold: a count, and what is called when nobody has it any more.
 */

struct CUuserObject_st {
    void *pointer;
    CUhostFn destroy;
    unsigned count;
};

static void call(void *argument, int error)
{
    struct CUuserObject_st *o = argument;
    struct thread *t = thread_self();

    (void)error;
    /* It may not call the API. */
    t->calling = true;
    o->destroy(o->pointer);
    t->calling = false;
    free(o);
}

/* Graphs that go may still run: behind what their context was given. */
static void destroy(struct CUuserObject_st *o)
{
    struct cuda_command command = {.kind = CUDA_CALL, .call = {.run = call, .user = o}};
    struct CUctx_st *c = NULL;

    handle_remove(o);
    if (context_any(&c) || stream_all_done(c) || stream_behind_all(c, &command)) {
        unlock();
        call(o, 0);
        lock();
    }
}

CUresult user_object_hold(CUuserObject o, unsigned count)
{
    if (!handle_is(o, USER_OBJECT) || !count || count > UINT32_MAX - o->count)
        return CUDA_ERROR_INVALID_VALUE;
    o->count += count;
    return CUDA_SUCCESS;
}

CUresult user_object_drop(CUuserObject o, unsigned count)
{
    if (!handle_is(o, USER_OBJECT) || !count || count > o->count)
        return CUDA_ERROR_INVALID_VALUE;
    o->count -= count;
    if (!o->count)
        destroy(o);
    return CUDA_SUCCESS;
}

API cuUserObjectCreate(CUuserObject *object, void *pointer, CUhostFn destroy_fn, unsigned count,
                       unsigned flags)
{
    struct CUuserObject_st *o;
    CUresult err = enter();

    if (err)
        return err;
    /* The flag has to be given: nothing can wait for the call. */
    if (!object || !destroy_fn || !count || flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC)
        return leave(CUDA_ERROR_INVALID_VALUE);
    o = calloc(1, sizeof(*o));
    if (!o || !handle_add(o, USER_OBJECT)) {
        free(o);
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    }
    *o = (struct CUuserObject_st){pointer, destroy_fn, count};
    *object = o;
    return leave(CUDA_SUCCESS);
}

API cuUserObjectRetain(CUuserObject object, unsigned count)
{
    CUresult err = enter();

    return err ? err : leave(user_object_hold(object, count));
}

API cuUserObjectRelease(CUuserObject object, unsigned count)
{
    CUresult err = enter();

    return err ? err : leave(user_object_drop(object, count));
}

static struct graph_user **user_of(struct CUgraph_st *g, CUuserObject object)
{
    struct graph_user **at = &g->users;

    while (*at && (*at)->object != object)
        at = &(*at)->next;
    return at;
}

API cuGraphRetainUserObject(CUgraph graph, CUuserObject object, unsigned count, unsigned flags)
{
    struct graph_user **at, *u;
    CUresult err = graph_enter(graph);

    if (err)
        return err;
    if (!handle_is(object, USER_OBJECT) || !count || flags & ~CU_GRAPH_USER_OBJECT_MOVE ||
        (flags && count > object->count))
        return leave(CUDA_ERROR_INVALID_VALUE);
    at = user_of(graph, object);
    u = *at;
    if (!u) {
        u = calloc(1, sizeof(*u));
        if (!u)
            return leave(CUDA_ERROR_OUT_OF_MEMORY);
        u->object = object;
        *at = u;
    }
    /* References that are moved were the caller's. */
    if (!flags)
        err = user_object_hold(object, count);
    if (!err)
        u->count += count;
    return leave(err);
}

API cuGraphReleaseUserObject(CUgraph graph, CUuserObject object, unsigned count)
{
    struct graph_user **at, *u;
    CUresult err = graph_enter(graph);

    if (err)
        return err;
    at = user_of(graph, object);
    u = *at;
    if (!u || !count || count > u->count)
        return leave(CUDA_ERROR_INVALID_VALUE);
    u->count -= count;
    if (!u->count) {
        *at = u->next;
        free(u);
    }
    return leave(user_object_drop(object, count));
}
