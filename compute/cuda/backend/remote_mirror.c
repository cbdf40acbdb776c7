/* SPDX-License-Identifier: MIT */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <transport/fence.h>
#include <transport/mirror.h>
#include <viaduct/errors.h>
#include <wire/dispatch.h>

#include "remote.h"

/*
 * A host that shares no memory. The ring is in this process's own arena, as all else that is shared
 * elsewhere: a pump, which is a thread, or whoever is about to wait, sends what stands there. What
 * the host says is put where it would have written it. So queues, stamps and copies are the same.
 *
 * Bytes of the arena that the host is to read are noted in the ring, where the command that reads
 * them follows, and sent from where they lie.
 */

/* How often the thread looks, and without finding anything, before it has to be woken. */
#define PUMP_LOOK_NS 50000
#define PUMP_LOOKS   10

/* Events that belong together follow each other: how often one looks for the next, and pauses. */
#define SETTLE_YIELDS   1000
#define SETTLE_PAUSES   5000
#define SETTLE_PAUSE_NS 1000000

struct remote_pump {
    pthread_t thread;
    /* Who sends: `taken`, `message`. Taken before the mirror's own locks. */
    pthread_mutex_t lock;
    uint32_t taken;
    uint64_t message[(VD_MAX_CUDA_PARAMETERS * 8 + 512) / 8];
    /* Whether the thread is to look. */
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    bool stop;
    atomic_bool applying; /* the mirror's thread is between events that belong together */
};

/* What a note in the ring says; its op is that of what is sent for it. */
struct note {
    uint64_t offset, size;
};

static void copy_out(const struct vd_cuda_status *status, uint32_t at, void *to, uint32_t size)
{
    uint32_t start = at % VD_CUDA_RING_BYTES, first = VD_CUDA_RING_BYTES - start;

    if (first > size)
        first = size;
    memcpy(to, status->ring + start, first);
    memcpy((uint8_t *)to + first, status->ring, size - first);
}

/* With `lock`. One message of the ring, which is this process's own. */
static int pump_one(struct remote *r)
{
    struct remote_pump *p = r->pump;
    struct mirror_guest *m = r->host->mirror;
    struct vd_header header;
    struct note note;
    int err;

    copy_out(r->status, p->taken, &header, sizeof(header));
    if (header.op == VD_OP_arena_write) {
        copy_out(r->status, p->taken + (uint32_t)sizeof(header), &note, sizeof(note));
        err = mirror_guest_upload(m, note.offset, note.size, REMOTE_CALL_MS);
    } else {
        copy_out(r->status, p->taken, p->message, header.size);
        err = mirror_guest_put(m, p->message, header.size, REMOTE_CALL_MS);
    }
    p->taken += header.size;
    fence_signal(&r->status->taken, &r->status->taken_waiters, p->taken);
    return err;
}

void remote_mirror_drain(struct remote *r)
{
    struct remote_pump *p = r->pump;
    int err = 0;

    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    while (!err && p->taken != fence_load(&r->status->filled))
        err = pump_one(r);
    if (!err)
        err = mirror_guest_flush(r->host->mirror, REMOTE_CALL_MS);
    pthread_mutex_unlock(&p->lock);
    if (err)
        remote_lost(r);
}

/* Sleeps until somebody wakes it. True: it is to end. */
static bool sleep_long(struct remote *r)
{
    struct remote_pump *p = r->pump;
    struct vd_cuda_status *status = r->status;
    bool stop;

    pthread_mutex_lock(&p->wake_lock);
    __atomic_store_n(&status->sleeping, 1, __ATOMIC_SEQ_CST);
    /* Others move `taken`, too, but only to what is filled. */
    while (!p->stop && __atomic_load_n(&status->sleeping, __ATOMIC_SEQ_CST) &&
           __atomic_load_n(&status->filled, __ATOMIC_SEQ_CST) ==
               __atomic_load_n(&status->taken, __ATOMIC_SEQ_CST))
        pthread_cond_wait(&p->wake, &p->wake_lock);
    __atomic_store_n(&status->sleeping, 0, __ATOMIC_SEQ_CST);
    stop = p->stop;
    pthread_mutex_unlock(&p->wake_lock);
    return stop;
}

/*
 * While much is submitted it looks now and then, so that nobody has to wake it: what is sent
 * together costs less, and who waits sends what stands there himself.
 */
static void *pump(void *argument)
{
    struct remote *r = argument;
    uint32_t seen = 0;
    unsigned idle = PUMP_LOOKS;
    bool stop = false;

    while (!stop && !atomic_load(&r->dead)) {
        uint32_t taken;

        remote_mirror_drain(r);
        taken = fence_load(&r->status->taken);
        idle = taken == seen ? idle + 1 : 0;
        seen = taken;
        if (idle < PUMP_LOOKS)
            nanosleep(&(struct timespec){.tv_nsec = PUMP_LOOK_NS}, NULL);
        else
            stop = sleep_long(r);
    }
    return NULL;
}

void remote_mirror_wake(struct remote *r)
{
    pthread_mutex_lock(&r->pump->wake_lock);
    pthread_cond_signal(&r->pump->wake);
    pthread_mutex_unlock(&r->pump->wake_lock);
}

int remote_upload(struct remote *r, uint64_t offset, uint64_t size)
{
    struct note note = {offset, size};

    return r->pump ? remote_post(r, VD_OP_arena_write, &note, sizeof(note)) : 0;
}

void remote_mirror_settle(struct remote *r)
{
    for (unsigned tries = 0; atomic_load(&r->pump->applying) && remote_alive(r); tries++)
        if (tries < SETTLE_YIELDS)
            sched_yield();
        else if (tries < SETTLE_YIELDS + SETTLE_PAUSES)
            nanosleep(&(struct timespec){.tv_nsec = SETTLE_PAUSE_NS}, NULL);
        else
            /* A host that ends in the middle of them does not mean it well. */
            remote_lost(r);
}

static int apply_queue(struct remote *r, const struct vd_cuda_queue_event *e)
{
    struct vd_cuda_status *status = r->status;
    struct vd_cuda_queue_slot *slot;

    if (e->queue >= VD_MAX_CUDA_QUEUES || e->context >= VD_MAX_CUDA_CONTEXTS)
        return VD_ERR_PROTOCOL;
    slot = &status->queues[e->queue];
    if (e->flags & VD_CUDA_QUEUE_MORE)
        atomic_store(&r->pump->applying, true);
    if (e->flags & VD_CUDA_QUEUE_PRINTED)
        __atomic_store_n(&status->printed, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&status->errors[e->context], e->error, __ATOMIC_RELEASE);
    fence_signal(&slot->done, &slot->waiters, e->done);
    if (!(e->flags & VD_CUDA_QUEUE_MORE))
        atomic_store(&r->pump->applying, false);
    fence_count(&status->progress, &status->progress_waiters);
    return 0;
}

/* Only what is staging memory: which piece of it, and when, is the host's to lie about. */
static int apply_bytes(struct remote *r, const struct vd_cuda_bytes_event *e, const void *bytes,
                       uint64_t size)
{
    if (arena_check_upload(&r->host->arena, e->offset, size) || e->offset < r->staging.offset)
        return VD_ERR_PROTOCOL;
    memcpy(r->host->arena.base + e->offset, bytes, size);
    return 0;
}

/* On the mirror's thread. */
static int apply(void *arg, const struct dispatch_message *message)
{
    struct remote *r = arg;
    const struct vd_cuda_stamp_event *stamp = message->fixed;

    switch (message->event->number) {
    case VD_EVENT_cuda_queue:
        return apply_queue(r, message->fixed);
    case VD_EVENT_cuda_stamp:
        if (stamp->stamp >= VD_MAX_CUDA_STAMPS)
            return VD_ERR_PROTOCOL;
        __atomic_store_n(&r->status->stamps[stamp->stamp], stamp->time, __ATOMIC_RELEASE);
        return 0;
    case VD_EVENT_cuda_bytes:
        return apply_bytes(r, message->fixed, message->tail,
                           (uint64_t)message->tail_count * sizeof(struct vd_word));
    default:
        return VD_ERR_PROTOCOL;
    }
}

int remote_mirror_start(struct remote *r)
{
    struct remote_pump *p = calloc(1, sizeof(*p));

    if (!p)
        return VD_ERR_MEMORY;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->wake_lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    r->pump = p;
    mirror_guest_watch(r->host->mirror, apply, r);
    if (pthread_create(&p->thread, NULL, pump, r)) {
        mirror_guest_watch(r->host->mirror, NULL, NULL);
        pthread_mutex_destroy(&p->lock);
        pthread_mutex_destroy(&p->wake_lock);
        pthread_cond_destroy(&p->wake);
        free(p);
        r->pump = NULL;
        return VD_ERR_MEMORY;
    }
    return 0;
}

void remote_mirror_finish(struct remote *r)
{
    struct remote_pump *p = r->pump;

    if (!p)
        return;
    pthread_mutex_lock(&p->wake_lock);
    p->stop = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->wake_lock);
    /* It may stand in a send to a host that does not read. */
    r->host->channel->ops->shut(r->host->channel);
    pthread_join(p->thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->wake_lock);
    pthread_cond_destroy(&p->wake);
    free(p);
    r->pump = NULL;
}
