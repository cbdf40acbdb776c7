/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <stdlib.h>

/* Events of the driver, and the times that are read from them. */

struct cuda_stamp {
    _Atomic uint64_t time;
    atomic_uint references;
};

int native_stamp_create(struct cuda_stamp **ret_stamp)
{
    struct cuda_stamp *s = calloc(1, sizeof(*s));

    if (!s)
        return CUDA_ERROR_OUT_OF_MEMORY;
    atomic_init(&s->references, 1);
    *ret_stamp = s;
    return 0;
}

void native_stamp_hold(struct cuda_stamp *s)
{
    atomic_fetch_add(&s->references, 1);
}

void native_stamp_set(struct cuda_stamp *s, uint64_t time)
{
    atomic_store(&s->time, time);
}

void native_stamp_release(struct cuda_stamp *s)
{
    if (s && atomic_fetch_sub(&s->references, 1) == 1)
        free(s);
}

uint64_t native_stamp_time(struct cuda_stamp *s)
{
    return atomic_load(&s->time);
}

int native_event_take(struct native_context *c, bool timed, struct native_event **ret_event)
{
    struct native_event *e = c->events[timed];
    unsigned flags = CU_EVENT_BLOCKING_SYNC | (timed ? 0 : CU_EVENT_DISABLE_TIMING);
    int err;

    if (e) {
        c->events[timed] = e->next;
    } else {
        e = calloc(1, sizeof(*e));
        err = e ? (int)native.cuEventCreate(&e->event, flags) : CUDA_ERROR_OUT_OF_MEMORY;
        if (err) {
            free(e);
            return err;
        }
        e->timed = timed;
    }
    e->references = 1;
    *ret_event = e;
    return 0;
}

void native_event_give(struct native_context *c, struct native_event *e)
{
    if (!e || --e->references)
        return;
    e->next = c->events[e->timed];
    c->events[e->timed] = e;
}

/* Milliseconds of a float are exact for a short time alone, so the base moves. */
uint64_t native_event_time(struct native_context *c, struct native_event *e)
{
    uint64_t now = native_now();
    float ms;

    if (c->base && native.cuEventElapsedTime(&ms, c->base->event, e->event))
        return now;
    if (c->base) {
        now = c->base_ns + (uint64_t)(int64_t)((double)ms * 1e6);
        if (ms >= 0 && ms < 1000)
            return now;
    }
    native_event_give(c, c->base);
    c->base = e;
    c->base_ns = now;
    e->references++;
    return now;
}
