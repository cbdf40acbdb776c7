/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include <transport/fence.h>
#include <viaduct/errors.h>

#include "remote.h"

/*
 * Functions of the program in streams. For the host such a command is a wait: for a queue of its
 * own, the gate, which gets a command when the function has returned here. That a function is due
 * is seen by the number of the command before it. One thread runs them all.
 */

#define CALLS_LOOK_NS 1000000000ull /* how often it looks whether it is to end */

static int error_of(struct cuda_queue *q)
{
    int error =
        (int)__atomic_load_n(&q->remote->status->errors[q->context->slot], __ATOMIC_ACQUIRE);

    return error || !atomic_load(&q->remote->dead) ? error : CUDA_ERROR_LAUNCH_FAILED;
}

/* With the lock: a queue that has come to a function. */
static struct cuda_queue *due(struct remote *r)
{
    struct cuda_queue *q = r->calling;

    while (q && !remote_queue_passed(q, q->first_call->number - 1))
        q = q->next_calling;
    return q;
}

/* With the lock, which is given up meanwhile. */
static void run(struct remote *r, struct cuda_queue *q)
{
    struct remote_call *c = q->first_call;
    struct vd_cuda_nothing_req req = {.queue = q->gate->slot};

    pthread_mutex_unlock(&r->lock);
    /* It may look at what was copied before. */
    if (atomic_load(&r->staged_count))
        remote_land(r);
    c->run(c->user, error_of(q));
    /* Nobody's number changes by it but the gate's, which nobody else submits to. */
    remote_queue_put(q->gate, VD_OP_cuda_nothing, &req, sizeof(req), NULL, 0);
    pthread_mutex_lock(&r->lock);
    q->first_call = c->next;
    if (!q->first_call) {
        struct cuda_queue **at = &r->calling;

        q->last_call = &q->first_call;
        while (*at != q)
            at = &(*at)->next_calling;
        *at = q->next_calling;
    }
    atomic_store(&q->call_number, q->first_call ? q->first_call->number : UINT64_MAX);
    pthread_cond_broadcast(&r->called);
    free(c);
}

static void *caller(void *argument)
{
    struct remote *r = argument;
    struct vd_cuda_status *status = r->status;

    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        uint32_t progress = fence_load(&status->progress);
        struct cuda_queue *q = due(r);

        if (q) {
            run(r, q);
            continue;
        }
        if (!r->calling) {
            pthread_cond_wait(&r->called, &r->lock);
            continue;
        }
        pthread_mutex_unlock(&r->lock);
        fence_wait(&status->progress, &status->progress_waiters, progress + 1, CALLS_LOOK_NS,
                   remote_alive, r);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

uint64_t remote_calls_submit(struct cuda_queue *q, const struct cuda_command *command)
{
    struct remote *r = q->remote;
    struct vd_cuda_wait_req req = {.queue = q->slot};
    struct remote_call *c = malloc(sizeof(*c));
    uint64_t number = 0;

    if (!c)
        return 0;
    *c = (struct remote_call){.run = command->call.run, .user = command->call.user};
    if (!q->gate && remote_queue_create(&q->context->head, 0, &q->gate)) {
        q->gate = NULL;
        free(c);
        return 0;
    }
    req.other = q->gate->slot;
    pthread_mutex_lock(&r->lock);
    req.number = q->gated + 1;
    number = remote_queue_put(q, VD_OP_cuda_wait, &req, sizeof(req), NULL, 0);
    if (!number) {
        free(c);
        goto out;
    }
    q->gated++;
    atomic_store(&q->held, number);
    c->number = number;
    if (!q->first_call) {
        q->next_calling = r->calling;
        r->calling = q;
        atomic_store(&q->call_number, number);
    }
    *q->last_call = c;
    q->last_call = &c->next;
    if (!r->has_caller)
        r->has_caller = !pthread_create(&r->caller, NULL, caller, r);
    /* Whether it is due already, or an earlier one comes first: the thread looks. */
    pthread_cond_broadcast(&r->called);
out:
    pthread_mutex_unlock(&r->lock);
    return number;
}

void remote_calls_wait(struct cuda_queue *q, uint64_t number)
{
    while (atomic_load(&q->call_number) <= number && q->remote->has_caller)
        pthread_cond_wait(&q->remote->called, &q->remote->lock);
}

void remote_calls_finish(struct remote *r)
{
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->called);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->caller, NULL);
}
