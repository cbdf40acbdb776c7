/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <stdlib.h>

/* Contexts: their beginning, end and what is set for all of them. */

void native_context_abort(struct cuda_context *context, int error)
{
    struct native_context *c = (struct native_context *)context;

    pthread_mutex_lock(&native_lock);
    native_queue_fail(c, error);
    pthread_mutex_unlock(&native_lock);
}

int native_context_create(struct cuda_device *d, struct cuda_context **ret_context)
{
    struct native_context *c = calloc(1, sizeof(*c));
    int err = 0;

    if (!c)
        return CUDA_ERROR_OUT_OF_MEMORY;
    c->device = d;
    pthread_mutex_lock(&native_lock);
    c->home = !d->home_used && !d->home_broken;
    if (c->home) {
        d->home_used = true;
        c->handle = d->home;
    } else {
        err = (int)native.cuCtxCreate_v2(&c->handle, CU_CTX_MAP_HOST | CU_CTX_SCHED_BLOCKING_SYNC,
                                         d->handle);
        native.cuCtxSetCurrent(NULL);
    }
    if (!err) {
        c->next = d->contexts;
        d->contexts = c;
    }
    pthread_mutex_unlock(&native_lock);
    if (err) {
        free(c);
        return err;
    }
    *ret_context = &c->head;
    return 0;
}

/* With native_lock, nothing being left of the last context. What was registered is not any more. */
static void renew_home(struct cuda_device *d)
{
    native_memory_unregister();
    if (!native_enter(d->home))
        native_bounce_drop_all(d);
    native_memory_forget(d, d->home);
    native.cuCtxDestroy_v2(d->home);
    if (native_make_home(d))
        native_leave("its device is not usable after a fault");
}

void native_context_destroy(struct cuda_context *context)
{
    struct native_context *c = (struct native_context *)context;
    struct cuda_device *d = c->device;
    bool broken;

    broken = native_enter(c->handle) || native.cuCtxSynchronize();
    native_texture_forget(c->handle);
    pthread_mutex_lock(&native_lock);
    while (c->queues || d->frees || d->freeing)
        pthread_cond_wait(&d->changed, &native_lock);
    for (struct native_context **at = &d->contexts; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    if (c->base)
        native.cuEventDestroy_v2(c->base->event);
    free(c->base);
    for (int i = 0; i < 2; i++)
        for (struct native_event *e = c->events[i], *next; e; e = next) {
            next = e->next;
            native.cuEventDestroy_v2(e->event);
            free(e);
        }
    native.cuCtxSetCurrent(NULL);
    if (!c->home)
        native_memory_forget(d, c->handle);
    if (c->home) {
        d->home_used = false;
        d->home_broken = broken;
    } else {
        native.cuCtxDestroy_v2(c->handle);
    }
    if (!d->contexts && d->home_broken)
        renew_home(d);
    pthread_mutex_unlock(&native_lock);
    free(c);
}

int native_context_heap(struct cuda_device *d, uint64_t bytes)
{
    int err = 0;

    pthread_mutex_lock(&native_lock);
    for (struct native_context *c = d->contexts; c && !err; c = c->next) {
        err = native_enter(c->handle);
        if (!err)
            err = (int)native.cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, bytes);
    }
    pthread_mutex_unlock(&native_lock);
    return err;
}
