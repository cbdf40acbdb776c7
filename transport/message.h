/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_MESSAGE_H
#define TRANSPORT_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "channel.h"

/*
 * Whole messages over a channel: framing by header.size, nothing else is looked at here.
 *
 * A reader owns one buffer that grows to the largest message seen (VD_MAX_MESSAGE at most) and
 * never shrinks; no allocation in the steady state. One thread a reader.
 */
struct message_reader {
    struct channel *channel; /* not owned */
    uint8_t *buffer;
    size_t room, start, end;
    int fd; /* came with the bytes in the buffer, -1 if none */
};

void message_init(struct message_reader *reader, struct channel *channel);
void message_finish(struct message_reader *reader);
/*
 * Waits for the next whole message. ret_bytes stays valid and is 8-byte aligned until the next
 * call. ret_fd: a descriptor that came with it, owned by the caller, or -1.
 * -VD_ERR_PROTOCOL for impossible sizes, -VD_ERR_TIMEOUT, -VD_ERR_GONE.
 */
int message_read(struct message_reader *reader, int timeout_ms, const uint8_t **ret_bytes,
                 size_t *ret_size, int *ret_fd);
/* True if message_read would not have to wait for more bytes. */
int message_pending(const struct message_reader *reader);
/* Sends one message: header, fixed part, tail (NULL if tail_count is 0). */
int message_send(struct channel *channel, uint32_t op, uint32_t serial, const void *fixed,
                 size_t fixed_size, const void *tail, uint32_t tail_count, size_t tail_element,
                 int fd, int timeout_ms);

#endif
