/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "channel.h"

/* Feeds chosen bytes to a receiver and swallows what it sends: one end of a session under test. */

struct fuzz_channel {
    struct channel base;
    const uint8_t *bytes;
    size_t size, piece;
    int fd;
};

static int fuzz_send(struct channel *channel, const struct iovec *iov, int count, int fd,
                     int timeout_ms)
{
    (void)channel, (void)iov, (void)count, (void)fd, (void)timeout_ms;
    return 0;
}

static int fuzz_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size,
                     int *ret_fd, int timeout_ms)
{
    struct fuzz_channel *self = (struct fuzz_channel *)channel;
    size_t n = self->size;

    (void)timeout_ms;
    if (!n)
        return VD_ERR_GONE;
    if (n > self->piece)
        n = self->piece;
    if (n > room)
        n = room;
    memcpy(bytes, self->bytes, n);
    self->bytes += n;
    self->size -= n;
    *ret_size = n;
    *ret_fd = self->fd >= 0 ? fcntl(self->fd, F_DUPFD_CLOEXEC, 0) : -1;
    self->fd = -1;
    return 0;
}

static bool fuzz_alive(struct channel *channel)
{
    return ((struct fuzz_channel *)channel)->size > 0;
}

static void fuzz_shut(struct channel *channel)
{
    (void)channel;
}

static void fuzz_destroy(struct channel *channel)
{
    free(channel);
}

int fuzz_create(const void *bytes, size_t size, size_t piece, int fd, struct channel **ret_channel)
{
    struct fuzz_channel *self = calloc(1, sizeof(*self));

    if (!self)
        return VD_ERR_MEMORY;
    self->base.ops = &fuzz_ops;
    self->bytes = bytes;
    self->size = size;
    self->piece = piece ? piece : 1;
    self->fd = fd;
    *ret_channel = &self->base;
    return 0;
}

const struct channel_ops fuzz_ops = {
    .scheme = "fuzz",
    .shares_memory = true,
    .send = fuzz_send,
    .recv = fuzz_recv,
    .alive = fuzz_alive,
    .shut = fuzz_shut,
    .destroy = fuzz_destroy,
};
