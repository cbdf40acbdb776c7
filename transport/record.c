/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "channel.h"

/* Passes everything on and writes it to a file, for a look or as a fuzzing seed. */

struct record_channel {
    struct channel base;
    struct channel *inner;
    int log_fd;
};

static void record_write(struct record_channel *self, uint32_t direction, const struct iovec *iov,
                         int count)
{
    uint32_t head[2] = {direction, 0};

    for (int i = 0; i < count; i++)
        head[1] += (uint32_t)iov[i].iov_len;
    /* A full disk must not stop the session that is recorded. */
    if (write(self->log_fd, head, sizeof(head)) < 0 || writev(self->log_fd, iov, count) < 0)
        return;
}

static int record_send(struct channel *channel, const struct iovec *iov, int count, int fd,
                       int timeout_ms)
{
    struct record_channel *self = (struct record_channel *)channel;

    record_write(self, 0, iov, count);
    return self->inner->ops->send(self->inner, iov, count, fd, timeout_ms);
}

static int record_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size,
                       int *ret_fd, int timeout_ms)
{
    struct record_channel *self = (struct record_channel *)channel;
    int err = self->inner->ops->recv(self->inner, bytes, room, ret_size, ret_fd, timeout_ms);

    if (!err) {
        struct iovec iov = {bytes, *ret_size};

        record_write(self, 1, &iov, 1);
    }
    return err;
}

static bool record_alive(struct channel *channel)
{
    struct record_channel *self = (struct record_channel *)channel;

    return self->inner->ops->alive(self->inner);
}

static void record_shut(struct channel *channel)
{
    struct record_channel *self = (struct record_channel *)channel;

    self->inner->ops->shut(self->inner);
}

static void record_destroy(struct channel *channel)
{
    struct record_channel *self = (struct record_channel *)channel;

    channel_destroy(&self->inner);
    free(self);
}

int record_create(struct channel *inner, int log_fd, struct channel **ret_channel)
{
    struct record_channel *self = calloc(1, sizeof(*self));

    if (!self)
        return VD_ERR_MEMORY;
    self->base.ops = &record_ops;
    self->inner = inner;
    self->log_fd = log_fd;
    *ret_channel = &self->base;
    return 0;
}

const struct channel_ops record_ops = {
    .scheme = "record",
    .shares_memory = true,
    .send = record_send,
    .recv = record_recv,
    .alive = record_alive,
    .shut = record_shut,
    .destroy = record_destroy,
};
