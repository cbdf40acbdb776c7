/* SPDX-License-Identifier: MIT */
#include "session_cuda_mirror.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <transport/mirror.h>
#include <transport/mirror_words.h>
#include <viaduct/errors.h>

/* Small events are sent together, up to so many bytes. */
#define BATCH 32768u
/* How long the thread looks for more before it sleeps. */
#define LINGER_NS 50000u

/* What is sent before the number is: bytes of the arena, or a stamp. */
struct kept {
    uint64_t number, at, bytes; /* bytes 0: a stamp's slot */
};

struct mirrored {
    struct kept *kept; /* a ring */
    uint32_t first, count, room;
    uint32_t context, error, flags;
    uint64_t done, told; /* `told`: under `sending` */
    bool listed, dirty;  /* in the mirror's list; there is something to tell */
};

/*
 * Locks: `sending`, then `lock`. The first covers taking what is told and telling it, so that what
 * a queue was is told before its slot begins anew; the second all below, never while anything is
 * sent.
 */
struct cuda_mirror {
    struct mirror_host *mirror;
    struct channel *channel;
    const struct arena *arena;
    pthread_t thread;
    pthread_mutex_t sending, lock;
    pthread_cond_t wake, moved;
    bool stop, broken;
    struct mirrored *queues[VD_MAX_CUDA_QUEUES];
    uint32_t list[VD_MAX_CUDA_QUEUES], list_first, list_count;
    struct vd_cuda_queue_event events[VD_MAX_CUDA_QUEUES]; /* under `sending`, as the batch */
    uint8_t batch[BATCH];
    uint32_t batched;
};

static int flush(struct cuda_mirror *m)
{
    int err = m->batched ? mirror_host_write(m->mirror, m->batch, m->batched) : 0;

    m->batched = 0;
    return err;
}

static int tell(struct cuda_mirror *m, uint32_t op, const void *fixed, uint32_t size)
{
    struct vd_header header = {.size = (uint32_t)sizeof(header) + size, .op = op};
    int err = header.size > BATCH - m->batched ? flush(m) : 0;

    if (err)
        return err;
    memcpy(m->batch + m->batched, &header, sizeof(header));
    memcpy(m->batch + m->batched + sizeof(header), fixed, size);
    m->batched += header.size;
    return 0;
}

/* A small one waits for what is told of its queue. */
static int tell_bytes(struct cuda_mirror *m, uint64_t offset, uint64_t bytes)
{
    struct vd_cuda_bytes_event event = {.offset = offset};
    uint32_t n = (uint32_t)bytes;
    struct vd_header header = mirror_words_header(VD_EVENT_cuda_bytes, sizeof(event), n);
    int err = header.size > BATCH - m->batched ? flush(m) : 0;

    if (err)
        return err;
    if (header.size > BATCH)
        return mirror_host_bytes(m->mirror, VD_EVENT_cuda_bytes, &event, sizeof(event),
                                 m->arena->base + offset, n);
    memcpy(m->batch + m->batched, &header, sizeof(header));
    m->batched += (uint32_t)sizeof(header);
    memcpy(m->batch + m->batched, &event, sizeof(event));
    m->batched += (uint32_t)sizeof(event);
    memcpy(m->batch + m->batched, m->arena->base + offset, n);
    memset(m->batch + m->batched + n, 0, header.tail * 8 - n);
    m->batched += header.tail * 8;
    return 0;
}

static int tell_kept(struct cuda_mirror *m, const struct kept *k)
{
    const struct vd_cuda_status *status =
        (const struct vd_cuda_status *)(m->arena->base + m->arena->upload_offset);
    int err = 0;

    if (!k->bytes) {
        struct vd_cuda_stamp_event event = {
            .stamp = (uint32_t)k->at,
            .time = __atomic_load_n(&status->stamps[k->at], __ATOMIC_ACQUIRE)};

        return tell(m, VD_EVENT_cuda_stamp, &event, sizeof(event));
    }
    for (uint64_t at = 0; at < k->bytes && !err; at += MIRROR_PIECE) {
        uint64_t left = k->bytes - at;

        err = tell_bytes(m, k->at + at, left < MIRROR_PIECE ? left : MIRROR_PIECE);
    }
    return err;
}

/* What a queue keeps up to a number, the oldest first. */
static bool take_kept(struct cuda_mirror *m, struct mirrored *q, uint64_t number,
                      struct kept *ret_kept)
{
    bool found;

    pthread_mutex_lock(&m->lock);
    found = q->count && q->kept[q->first].number <= number;
    if (found) {
        *ret_kept = q->kept[q->first];
        q->first = (q->first + 1) % q->room;
        q->count--;
        pthread_cond_signal(&m->moved);
    }
    pthread_mutex_unlock(&m->lock);
    return found;
}

/*
 * What all queues that have something to tell are at this moment: whatever one of them waited for
 * is among it, or was told before. How many.
 */
static uint32_t take_queues(struct cuda_mirror *m)
{
    uint32_t count = 0;

    pthread_mutex_lock(&m->lock);
    for (; m->list_count; __atomic_store_n(&m->list_count, m->list_count - 1, __ATOMIC_RELAXED)) {
        uint32_t slot = m->list[m->list_first];
        struct mirrored *q = m->queues[slot];

        m->list_first = (m->list_first + 1) % VD_MAX_CUDA_QUEUES;
        q->listed = false;
        if (!q->dirty)
            continue;
        q->dirty = false;
        m->events[count++] = (struct vd_cuda_queue_event){.queue = slot,
                                                          .done = (uint32_t)q->done,
                                                          .context = q->context,
                                                          .error = q->error,
                                                          .flags = q->flags};
        q->told = q->done;
        q->flags = 0;
    }
    pthread_mutex_unlock(&m->lock);
    return count;
}

/* With `sending`: of all queues that have something to tell now. */
static int send_round(struct cuda_mirror *m)
{
    uint32_t count = take_queues(m);
    struct kept kept;
    int err = 0;

    for (uint32_t i = 0; i < count && !err; i++) {
        struct mirrored *q = m->queues[m->events[i].queue];

        while (!err && take_kept(m, q, q->told, &kept))
            err = tell_kept(m, &kept);
    }
    for (uint32_t i = 0; i < count && !err; i++) {
        if (i + 1 < count)
            m->events[i].flags |= VD_CUDA_QUEUE_MORE;
        err = tell(m, VD_EVENT_cuda_queue, &m->events[i], sizeof(m->events[i]));
    }
    return err ? err : flush(m);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Behind a guest that waits for one thing after the other there is soon more: waking costs more. */
static void linger(const struct cuda_mirror *m)
{
    uint64_t start = now_ns();

    while (!__atomic_load_n(&m->list_count, __ATOMIC_RELAXED) && now_ns() - start < LINGER_NS)
        sched_yield();
}

static void *run(void *arg)
{
    struct cuda_mirror *m = arg;
    int err = 0;

    for (;;) {
        pthread_mutex_lock(&m->lock);
        while (!m->stop && !m->list_count)
            pthread_cond_wait(&m->wake, &m->lock);
        if (err || m->stop)
            break;
        pthread_mutex_unlock(&m->lock);
        pthread_mutex_lock(&m->sending);
        err = send_round(m);
        pthread_mutex_unlock(&m->sending);
        if (err) {
            /* The session's thread sees the end of the channel. */
            m->channel->ops->shut(m->channel);
            pthread_mutex_lock(&m->lock);
            break;
        }
        linger(m);
    }
    m->broken = true;
    pthread_cond_broadcast(&m->moved);
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

int cuda_mirror_create(struct channel *channel, const struct arena *arena,
                       struct cuda_mirror **ret_mirror)
{
    struct cuda_mirror *m = calloc(1, sizeof(*m));

    if (!m)
        return VD_ERR_MEMORY;
    m->mirror = arena->mirror;
    m->channel = channel;
    m->arena = arena;
    pthread_mutex_init(&m->sending, NULL);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->wake, NULL);
    pthread_cond_init(&m->moved, NULL);
    if (pthread_create(&m->thread, NULL, run, m)) {
        pthread_mutex_destroy(&m->sending);
        pthread_mutex_destroy(&m->lock);
        pthread_cond_destroy(&m->wake);
        pthread_cond_destroy(&m->moved);
        free(m);
        return VD_ERR_MEMORY;
    }
    *ret_mirror = m;
    return 0;
}

void cuda_mirror_destroy(struct cuda_mirror *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->stop = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
    /* It may stand in a send to somebody who does not read. */
    m->channel->ops->shut(m->channel);
    pthread_join(m->thread, NULL);
    for (uint32_t i = 0; i < VD_MAX_CUDA_QUEUES; i++) {
        if (m->queues[i])
            free(m->queues[i]->kept);
        free(m->queues[i]);
    }
    pthread_mutex_destroy(&m->sending);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->wake);
    pthread_cond_destroy(&m->moved);
    free(m);
}

int cuda_mirror_begin(struct cuda_mirror *m, uint32_t slot, uint32_t context)
{
    struct mirrored *q = m->queues[slot];

    if (!q) {
        q = calloc(1, sizeof(*q));
        if (!q)
            return VD_ERR_MEMORY;
    }
    pthread_mutex_lock(&m->lock);
    m->queues[slot] = q;
    q->context = context;
    q->error = q->flags = q->count = 0;
    q->done = 0;
    pthread_mutex_unlock(&m->lock);
    return 0;
}

void cuda_mirror_end(struct cuda_mirror *m, uint32_t slot)
{
    pthread_mutex_lock(&m->sending);
    pthread_mutex_lock(&m->lock);
    m->queues[slot]->dirty = false;
    m->queues[slot]->count = 0;
    pthread_mutex_unlock(&m->lock);
    pthread_mutex_unlock(&m->sending);
}

/* With the lock. */
static int grow(struct mirrored *q)
{
    uint32_t room = q->room ? q->room * 2 : 16;
    struct kept *grown = malloc(room * sizeof(*grown));

    if (!grown)
        return VD_ERR_MEMORY;
    for (uint32_t i = 0; i < q->count; i++)
        grown[i] = q->kept[(q->first + i) % q->room];
    free(q->kept);
    q->kept = grown;
    q->first = 0;
    q->room = room;
    return 0;
}

int cuda_mirror_keep(struct cuda_mirror *m, uint32_t slot, uint64_t number, uint64_t at,
                     uint64_t bytes)
{
    struct mirrored *q = m->queues[slot];
    int err = 0;

    pthread_mutex_lock(&m->lock);
    /* The oldest are over, and on their way to a guest that is slow to read. */
    while (!m->broken && q->count >= VD_MAX_CUDA_QUEUED && q->kept[q->first].number <= q->done)
        pthread_cond_wait(&m->moved, &m->lock);
    if (m->broken)
        err = VD_ERR_GONE;
    else if (q->count >= VD_MAX_CUDA_QUEUED)
        err = VD_ERR_PROTOCOL;
    else if (q->count == q->room)
        err = grow(q);
    if (!err) {
        q->kept[(q->first + q->count) % q->room] = (struct kept){number, at, bytes};
        q->count++;
    }
    pthread_mutex_unlock(&m->lock);
    return err;
}

void cuda_mirror_passed(struct cuda_mirror *m, uint32_t slot, uint64_t number, uint32_t error,
                        bool printed)
{
    struct mirrored *q = m->queues[slot];

    pthread_mutex_lock(&m->lock);
    q->done = number;
    q->error = error;
    q->flags |= printed ? VD_CUDA_QUEUE_PRINTED : 0;
    q->dirty = true;
    if (!q->listed) {
        q->listed = true;
        m->list[(m->list_first + m->list_count) % VD_MAX_CUDA_QUEUES] = slot;
        __atomic_store_n(&m->list_count, m->list_count + 1, __ATOMIC_RELAXED);
        if (m->list_count == 1)
            pthread_cond_signal(&m->wake);
    }
    pthread_mutex_unlock(&m->lock);
}

int cuda_mirror_bytes(struct cuda_mirror *m, uint64_t offset, uint64_t bytes)
{
    struct kept all = {.at = offset, .bytes = bytes};
    int err;

    pthread_mutex_lock(&m->sending);
    err = bytes ? tell_kept(m, &all) : 0;
    if (!err)
        err = flush(m);
    pthread_mutex_unlock(&m->sending);
    return err;
}
