/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "remote.h"

/* Times of events: slots in the arena that the host writes when a queue comes to them. */

int remote_stamp_create(struct cuda_stamp **ret_stamp)
{
    struct cuda_stamp *s = calloc(1, sizeof(*s));

    if (!s)
        return CUDA_ERROR_OUT_OF_MEMORY;
    atomic_init(&s->references, 1);
    *ret_stamp = s;
    return CUDA_SUCCESS;
}

/* With the lock. */
static void give_slot(struct remote *r, uint32_t slot)
{
    r->stamp_free[r->stamp_free_count++] = slot;
}

/* With the lock: slots of stamps that are gone, once the host has written to them. The queues that
 * can be let go of then are linked by `next`. */
static struct cuda_stamp *sweep(struct remote *r)
{
    struct cuda_stamp *gone = NULL;

    while (r->limbo && remote_queue_passed(r->limbo->queue, r->limbo->number)) {
        struct cuda_stamp *s = r->limbo;

        r->limbo = s->next;
        if (!r->limbo)
            r->limbo_last = &r->limbo;
        give_slot(r, s->slot);
        s->next = gone;
        gone = s;
    }
    return gone;
}

static void let_go(struct cuda_stamp *gone)
{
    while (gone) {
        struct cuda_stamp *next = gone->next;

        remote_queue_release(gone->queue);
        free(gone);
        gone = next;
    }
}

void remote_stamp_sweep(struct remote *r)
{
    struct cuda_stamp *gone;

    pthread_mutex_lock(&r->lock);
    gone = sweep(r);
    pthread_mutex_unlock(&r->lock);
    let_go(gone);
}

/* The time is known, or will never be. */
static void settle(struct cuda_stamp *s)
{
    struct cuda_queue *q = s->queue;
    struct remote *r = q->remote;

    pthread_mutex_lock(&r->lock);
    give_slot(r, s->slot);
    pthread_mutex_unlock(&r->lock);
    s->queue = NULL;
    remote_queue_release(q);
}

void remote_stamp_release(struct cuda_stamp *s)
{
    struct cuda_stamp *gone;
    struct remote *r;

    if (!s || atomic_fetch_sub(&s->references, 1) != 1)
        return;
    if (s->queue && remote_queue_passed(s->queue, s->number))
        settle(s);
    if (!s->queue) {
        free(s);
        return;
    }
    r = s->queue->remote;
    remote_hold(r);
    pthread_mutex_lock(&r->lock);
    s->next = NULL;
    *r->limbo_last = s;
    r->limbo_last = &s->next;
    gone = sweep(r);
    pthread_mutex_unlock(&r->lock);
    let_go(gone);
    remote_drop(r);
}

uint64_t remote_stamp_time(struct cuda_stamp *s)
{
    uint64_t time = atomic_load(&s->time);

    if (time || !s->queue || !remote_queue_passed(s->queue, s->number))
        return time;
    time = __atomic_load_n(&s->queue->remote->status->stamps[s->slot], __ATOMIC_ACQUIRE);
    atomic_store(&s->time, time);
    return time;
}

uint64_t remote_stamp_submit(struct cuda_queue *q, struct cuda_stamp *s)
{
    struct vd_cuda_stamp_req req = {.queue = q->slot};
    struct remote *r = q->remote;
    struct cuda_stamp *gone;
    bool room = true;

    pthread_mutex_lock(&r->lock);
    gone = sweep(r);
    if (!r->stamp_free)
        r->stamp_free = malloc(VD_MAX_CUDA_STAMPS * sizeof(*r->stamp_free));
    if (!r->stamp_free)
        room = false;
    else if (r->stamp_free_count)
        req.stamp = r->stamp_free[--r->stamp_free_count];
    else if (r->stamp_next < VD_MAX_CUDA_STAMPS)
        req.stamp = r->stamp_next++;
    else
        room = false;
    pthread_mutex_unlock(&r->lock);
    let_go(gone);
    if (!room)
        return 0;
    __atomic_store_n(&r->status->stamps[req.stamp], 0, __ATOMIC_RELEASE);
    s->number = remote_queue_put(q, VD_OP_cuda_stamp, &req, sizeof(req), NULL, 0);
    if (!s->number) {
        pthread_mutex_lock(&r->lock);
        give_slot(r, req.stamp);
        pthread_mutex_unlock(&r->lock);
        return 0;
    }
    s->slot = req.stamp;
    remote_queue_hold(q);
    s->queue = q;
    return s->number;
}
