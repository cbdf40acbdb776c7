/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_STREAM_H
#define TRANSPORT_STREAM_H

#include "channel.h"

/*
 * What all kinds of channel over a connected stream socket have in common: each has a file of its
 * own for its addresses, and names these functions in its ops. Descriptors pass where the family
 * passes them.
 */

/* Takes ownership of a connected socket. 0 or -VD_ERR_MEMORY; then it stays the caller's. */
int stream_create(int fd, const struct channel_ops *ops, struct channel **ret_channel);

int stream_send(struct channel *channel, const struct iovec *iov, int count, int fd,
                int timeout_ms);
int stream_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size, int *ret_fd,
                int timeout_ms);
bool stream_alive(struct channel *channel);
void stream_shut(struct channel *channel);
void stream_destroy(struct channel *channel);

#endif
