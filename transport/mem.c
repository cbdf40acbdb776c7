/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "channel.h"

/* Two ends in one process: a byte queue each way, with at most one descriptor in it. */

struct mem_queue {
    uint8_t *bytes;
    size_t used, room;
    int fd;
    bool closed;
};

struct mem_shared {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int refs;
    struct mem_queue queue[2];
};

struct mem_channel {
    struct channel base;
    struct mem_shared *shared;
    int side; /* receives from queue[side], sends into queue[!side] */
};

static int mem_send(struct channel *channel, const struct iovec *iov, int count, int fd,
                    int timeout_ms)
{
    struct mem_channel *self = (struct mem_channel *)channel;
    struct mem_queue *q = &self->shared->queue[!self->side];
    int err = 0;

    (void)timeout_ms;
    pthread_mutex_lock(&self->shared->lock);
    if (q->closed || self->shared->queue[self->side].closed)
        err = VD_ERR_GONE;
    for (int i = 0; i < count && !err; i++) {
        if (q->used + iov[i].iov_len > q->room) {
            size_t room = (q->used + iov[i].iov_len) * 2;
            uint8_t *grown = realloc(q->bytes, room);

            if (!grown) {
                err = VD_ERR_MEMORY;
                break;
            }
            q->bytes = grown;
            q->room = room;
        }
        memcpy(q->bytes + q->used, iov[i].iov_base, iov[i].iov_len);
        q->used += iov[i].iov_len;
    }
    if (!err && fd >= 0) {
        if (q->fd >= 0)
            close(q->fd);
        q->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    }
    pthread_cond_broadcast(&self->shared->changed);
    pthread_mutex_unlock(&self->shared->lock);
    return err;
}

static int mem_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size,
                    int *ret_fd, int timeout_ms)
{
    struct mem_channel *self = (struct mem_channel *)channel;
    struct mem_queue *q = &self->shared->queue[self->side];
    struct timespec until;
    int err = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms < 0 ? 3600 : timeout_ms / 1000;
    until.tv_nsec += timeout_ms < 0 ? 0 : timeout_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_mutex_lock(&self->shared->lock);
    while (!q->used && !q->closed && !err) {
        if (pthread_cond_timedwait(&self->shared->changed, &self->shared->lock, &until))
            err = VD_ERR_TIMEOUT;
    }
    if (q->used) {
        size_t n = q->used < room ? q->used : room;

        memcpy(bytes, q->bytes, n);
        memmove(q->bytes, q->bytes + n, q->used - n);
        q->used -= n;
        *ret_size = n;
        *ret_fd = q->fd;
        q->fd = -1;
        err = 0;
    } else if (q->closed) {
        err = VD_ERR_GONE;
    }
    pthread_mutex_unlock(&self->shared->lock);
    return err;
}

static bool mem_alive(struct channel *channel)
{
    struct mem_channel *self = (struct mem_channel *)channel;
    bool alive;

    pthread_mutex_lock(&self->shared->lock);
    alive = !self->shared->queue[self->side].closed;
    pthread_mutex_unlock(&self->shared->lock);
    return alive;
}

static void mem_shut(struct channel *channel)
{
    struct mem_channel *self = (struct mem_channel *)channel;

    pthread_mutex_lock(&self->shared->lock);
    self->shared->queue[0].closed = self->shared->queue[1].closed = true;
    pthread_cond_broadcast(&self->shared->changed);
    pthread_mutex_unlock(&self->shared->lock);
}

static void mem_destroy(struct channel *channel)
{
    struct mem_channel *self = (struct mem_channel *)channel;
    struct mem_shared *shared = self->shared;
    int refs;

    pthread_mutex_lock(&shared->lock);
    shared->queue[!self->side].closed = true;
    refs = --shared->refs;
    pthread_cond_broadcast(&shared->changed);
    pthread_mutex_unlock(&shared->lock);
    if (!refs) {
        for (int i = 0; i < 2; i++) {
            free(shared->queue[i].bytes);
            if (shared->queue[i].fd >= 0)
                close(shared->queue[i].fd);
        }
        pthread_cond_destroy(&shared->changed);
        pthread_mutex_destroy(&shared->lock);
        free(shared);
    }
    free(self);
}

static int create_pair(const struct channel_ops *ops, struct channel **ret_a,
                       struct channel **ret_b)
{
    struct mem_shared *shared = calloc(1, sizeof(*shared));
    struct mem_channel *side[2] = {calloc(1, sizeof(*side[0])), calloc(1, sizeof(*side[0]))};

    if (!shared || !side[0] || !side[1]) {
        free(shared);
        free(side[0]);
        free(side[1]);
        return VD_ERR_MEMORY;
    }
    pthread_mutex_init(&shared->lock, NULL);
    pthread_cond_init(&shared->changed, NULL);
    shared->refs = 2;
    for (int i = 0; i < 2; i++) {
        shared->queue[i].fd = -1;
        side[i]->base.ops = ops;
        side[i]->shared = shared;
        side[i]->side = i;
    }
    *ret_a = &side[0]->base;
    *ret_b = &side[1]->base;
    return 0;
}

int mem_create_pair(struct channel **ret_a, struct channel **ret_b)
{
    return create_pair(&mem_ops, ret_a, ret_b);
}

int mem_create_pair_in_band(struct channel **ret_a, struct channel **ret_b)
{
    return create_pair(&mem_in_band_ops, ret_a, ret_b);
}

const struct channel_ops mem_ops = {
    .scheme = "mem",
    .shares_memory = true,
    .send = mem_send,
    .recv = mem_recv,
    .alive = mem_alive,
    .shut = mem_shut,
    .destroy = mem_destroy,
};

const struct channel_ops mem_in_band_ops = {
    .scheme = "mem",
    .send = mem_send,
    .recv = mem_recv,
    .alive = mem_alive,
    .shut = mem_shut,
    .destroy = mem_destroy,
};
