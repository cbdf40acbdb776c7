/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include <transport/fence.h>
#include <viaduct/errors.h>

#include "remote.h"

/* Queues: commands become messages, completions are read from the queue's slot in the arena. */

static int take_slot(struct remote *r, uint32_t *ret_slot)
{
    for (uint32_t i = 0; i < VD_MAX_CUDA_QUEUES / 64; i++)
        if (~r->queue_used[i]) {
            uint32_t bit = (uint32_t)__builtin_ctzll(~r->queue_used[i]);

            r->queue_used[i] |= (uint64_t)1 << bit;
            *ret_slot = i * 64 + bit;
            return 0;
        }
    return CUDA_ERROR_OUT_OF_MEMORY;
}

static void give_slot(struct remote *r, uint32_t slot)
{
    r->queue_used[slot / 64] &= ~((uint64_t)1 << slot % 64);
}

static struct cuda_queue *make(struct remote_context *c, uint32_t slot)
{
    struct cuda_queue *q = calloc(1, sizeof(*q));

    if (!q)
        return NULL;
    q->remote = c->remote;
    remote_hold(c->remote);
    q->context = c;
    q->slot = slot;
    atomic_init(&q->references, 1);
    atomic_init(&q->call_number, UINT64_MAX);
    q->last_call = &q->first_call;
    return q;
}

int remote_queue_create(struct cuda_context *context, int priority, struct cuda_queue **ret_queue)
{
    struct remote_context *c = (struct remote_context *)context;
    struct remote *r = c->remote;
    struct vd_cuda_queue_create_req req = {.context = c->slot, .priority = (uint32_t)priority};
    struct cuda_queue *q;
    int err;

    pthread_mutex_lock(&r->lock);
    remote_queue_sweep(r);
    err = take_slot(r, &req.queue);
    pthread_mutex_unlock(&r->lock);
    if (err)
        return err;
    q = make(c, req.queue);
    if (!q) {
        pthread_mutex_lock(&r->lock);
        give_slot(r, req.queue);
        pthread_mutex_unlock(&r->lock);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    /* The slot is the host's: it starts at 0 once the host has seen this. */
    __atomic_store_n(&r->status->queues[req.queue].done, 0, __ATOMIC_RELEASE);
    if (remote_post(r, VD_OP_cuda_queue_create, &req, sizeof(req))) {
        remote_queue_release(q);
        return CUDA_ERROR_LAUNCH_FAILED;
    }
    *ret_queue = q;
    return CUDA_SUCCESS;
}

void remote_queue_hold(struct cuda_queue *q)
{
    atomic_fetch_add(&q->references, 1);
}

/* With the lock. */
static void end(struct cuda_queue *q)
{
    struct vd_cuda_queue_destroy_req req = {.queue = q->slot};
    struct remote *r = q->remote;

    remote_post(r, VD_OP_cuda_queue_destroy, &req, sizeof(req));
    give_slot(r, q->slot);
}

void remote_queue_sweep(struct remote *r)
{
    struct cuda_queue **at = &r->left;

    while (*at) {
        struct cuda_queue *q = *at;

        if (!remote_queue_passed(q, q->submitted) || q->first_call ||
            (q->gate && !remote_queue_passed(q->gate, q->gate->submitted))) {
            at = &q->next_left;
            continue;
        }
        *at = q->next_left;
        /* Somebody else holds the session: who called. */
        if (q->gate) {
            end(q->gate);
            free(q->gate);
            remote_drop(r);
        }
        end(q);
        free(q);
        remote_drop(r);
    }
}

void remote_queue_release(struct cuda_queue *q)
{
    struct remote *r = q->remote;

    if (atomic_fetch_sub(&q->references, 1) != 1)
        return;
    remote_hold(r);
    pthread_mutex_lock(&r->lock);
    q->next_left = r->left;
    r->left = q;
    remote_queue_sweep(r);
    pthread_mutex_unlock(&r->lock);
    remote_drop(r);
}

uint64_t remote_queue_put(struct cuda_queue *q, uint32_t op, const void *req, size_t req_size,
                          const void *tail, size_t tail_bytes)
{
    struct remote *r = q->remote;
    uint64_t number = 0;

    /* More than that the host does not take. */
    if (q->submitted - atomic_load(&q->completed) >= VD_MAX_CUDA_QUEUED - 1 &&
        !remote_queue_passed(q, q->submitted - VD_MAX_CUDA_QUEUED / 2))
        remote_queue_reach(q, q->submitted - VD_MAX_CUDA_QUEUED / 2, UINT64_MAX);
    pthread_mutex_lock(&r->send);
    if (!remote_put(r, op, req, req_size, tail, tail_bytes) || atomic_load(&r->dead))
        number = ++q->submitted;
    pthread_mutex_unlock(&r->send);
    return number;
}

static bool passed(struct cuda_queue *q, uint64_t number)
{
    struct remote *r = q->remote;
    uint64_t seen = atomic_load(&q->completed), now;
    uint32_t ahead;

    if (seen >= number)
        return true;
    ahead = fence_load(&r->status->queues[q->slot].done) - (uint32_t)seen;
    if (ahead <= VD_MAX_CUDA_QUEUED) {
        now = seen + ahead;
        while (now > seen && !atomic_compare_exchange_weak(&q->completed, &seen, now))
            ;
    }
    return atomic_load(&q->completed) >= number || atomic_load(&r->dead);
}

bool remote_queue_passed(struct cuda_queue *q, uint64_t number)
{
    bool over = passed(q, number);

    /* What it waited for is over, too. */
    if (over && q->remote->pump)
        remote_mirror_settle(q->remote);
    return over;
}

int remote_queue_reach(struct cuda_queue *q, uint64_t number, uint64_t timeout_ns)
{
    struct remote *r = q->remote;
    struct vd_cuda_queue_slot *slot = &r->status->queues[q->slot];
    int err = 0;

    if (!remote_queue_passed(q, number))
        remote_mirror_drain(r);
    while (!remote_queue_passed(q, number) && !err)
        err =
            fence_wait(&slot->done, &slot->waiters, (uint32_t)number, timeout_ns, remote_alive, r);
    return err == VD_ERR_TIMEOUT ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

/* What became of the context meanwhile. */
static void take_error(struct cuda_queue *q)
{
    struct remote *r = q->remote;
    int error = (int)__atomic_load_n(&r->status->errors[q->context->slot], __ATOMIC_ACQUIRE);
    int none = 0;

    if (atomic_load(&r->dead) && !error)
        error = CUDA_ERROR_LAUNCH_FAILED;
    if (error && atomic_compare_exchange_strong(&q->context->head.error, &none, error))
        remote_fault(q->context);
}

bool remote_queue_done(struct cuda_queue *q, uint64_t number)
{
    struct remote *r = q->remote;

    if (!remote_queue_passed(q, number) || atomic_load(&q->call_number) <= number)
        return false;
    if (number)
        take_error(q);
    if (atomic_load(&r->staged_count))
        remote_land(r);
    return true;
}

void remote_queue_wait(struct cuda_queue *q, uint64_t number)
{
    struct remote *r = q->remote;

    if (!number)
        return;
    remote_queue_reach(q, number, UINT64_MAX);
    if (atomic_load(&q->call_number) <= number) {
        pthread_mutex_lock(&r->lock);
        remote_calls_wait(q, number);
        pthread_mutex_unlock(&r->lock);
    }
    take_error(q);
    if (atomic_load(&r->staged_count))
        remote_land(r);
}

static uint64_t submit_launch(struct cuda_queue *q, const struct cuda_command *c)
{
    const struct remote_kernel *k = c->launch.kernel;
    struct vd_cuda_launch_req req = {
        .queue = q->slot,
        .module = k->module,
        .kernel = k->index,
        .shared_bytes = c->launch.shared_bytes,
        .grid = {c->launch.grid[0], c->launch.grid[1], c->launch.grid[2]},
        .block = {c->launch.block[0], c->launch.block[1], c->launch.block[2]},
        .flags = c->launch.cooperative ? VD_CUDA_LAUNCH_COOPERATIVE : 0,
        .parameter_bytes = c->launch.parameter_bytes,
    };

    return remote_queue_put(q, VD_OP_cuda_launch, &req, sizeof(req), c->launch.parameters,
                            c->launch.parameter_bytes);
}

static uint64_t submit_set(struct cuda_queue *q, const struct cuda_command *c)
{
    struct vd_cuda_set_req req = {.queue = q->slot,
                                  .element = c->set.element,
                                  .value = c->set.value,
                                  .address = c->set.address,
                                  .pitch = c->set.pitch,
                                  .width = c->set.width,
                                  .height = c->set.height};

    return remote_queue_put(q, VD_OP_cuda_set, &req, sizeof(req), NULL, 0);
}

static uint64_t submit_nothing(struct cuda_queue *q)
{
    struct vd_cuda_nothing_req req = {.queue = q->slot};

    return remote_queue_put(q, VD_OP_cuda_nothing, &req, sizeof(req), NULL, 0);
}

static uint64_t submit_wait(struct cuda_queue *q, const struct cuda_command *c)
{
    struct vd_cuda_wait_req req = {
        .queue = q->slot, .other = c->wait.queue->slot, .number = c->wait.number};
    uint64_t number;

    /* A function of the program that stands for the number is waited for by its gate. */
    if (c->wait.queue == q || c->wait.queue->remote != q->remote)
        return submit_nothing(q);
    number = remote_queue_put(q, VD_OP_cuda_wait, &req, sizeof(req), NULL, 0);
    atomic_store(&q->held, number);
    return number;
}

static uint64_t submit_value(struct cuda_queue *q, const struct cuda_command *c)
{
    struct vd_cuda_value_req req = {.queue = q->slot,
                                    .flags = c->kind == CUDA_WAIT_VALUE ? VD_CUDA_VALUE_WAIT : 0,
                                    .bytes = c->value.bytes,
                                    .compare = c->value.compare & 3,
                                    .address = c->value.address,
                                    .value = c->value.value};

    uint64_t number = remote_queue_put(q, VD_OP_cuda_value, &req, sizeof(req), NULL, 0);

    if (c->kind == CUDA_WAIT_VALUE)
        atomic_store(&q->held, number);
    return number;
}

static uint64_t submit_free(struct cuda_queue *q, const struct cuda_command *c)
{
    struct vd_cuda_free_req req = {.queue = q->slot, .address = c->free};

    remote_unreserve(q->remote, c->free);
    return remote_queue_put(q, VD_OP_cuda_free, &req, sizeof(req), NULL, 0);
}

uint64_t remote_queue_submit(struct cuda_queue *q, const struct cuda_command *command)
{
    switch (command->kind) {
    case CUDA_LAUNCH:
        return submit_launch(q, command);
    case CUDA_COPY:
        return remote_copy(q, command);
    case CUDA_SET:
        return submit_set(q, command);
    case CUDA_CALL:
        return remote_calls_submit(q, command);
    case CUDA_WAIT:
        return submit_wait(q, command);
    case CUDA_STAMP:
        return remote_stamp_submit(q, command->stamp.stamp);
    case CUDA_WRITE_VALUE:
    case CUDA_WAIT_VALUE:
        return submit_value(q, command);
    case CUDA_FREE:
        return submit_free(q, command);
    case CUDA_NOTHING:
        break;
    }
    return submit_nothing(q);
}
