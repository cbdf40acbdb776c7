/* SPDX-License-Identifier: MIT */
#include "message.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <viaduct/protocol.h>
#include <wire/trace.h>

#define MESSAGE_FIRST_ROOM 16384u

void message_init(struct message_reader *reader, struct channel *channel)
{
    *reader = (struct message_reader){.channel = channel, .fd = -1};
}

void message_finish(struct message_reader *reader)
{
    free(reader->buffer);
    if (reader->fd >= 0)
        close(reader->fd);
    *reader = (struct message_reader){.fd = -1};
}

/* Size of the message at the front, 0 if not even its header is there. */
static size_t front_size(const struct message_reader *reader)
{
    struct vd_header header;

    if (reader->end - reader->start < sizeof(header))
        return 0;
    memcpy(&header, reader->buffer + reader->start, sizeof(header));
    return header.size;
}

int message_pending(const struct message_reader *reader)
{
    size_t size = front_size(reader);

    return size && reader->end - reader->start >= size;
}

/* Makes room for a message of `size` bytes at the start of the buffer. */
static int make_room(struct message_reader *reader, size_t size)
{
    size_t room = reader->room ? reader->room : MESSAGE_FIRST_ROOM;

    if (reader->start) {
        memmove(reader->buffer, reader->buffer + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->start = 0;
    }
    while (room < size)
        room *= 2;
    if (room > reader->room) {
        uint8_t *grown = realloc(reader->buffer, room);

        if (!grown)
            return VD_ERR_MEMORY;
        reader->buffer = grown;
        reader->room = room;
    }
    return 0;
}

int message_read(struct message_reader *reader, int timeout_ms, const uint8_t **ret_bytes,
                 size_t *ret_size, int *ret_fd)
{
    for (;;) {
        size_t size = front_size(reader), got;
        int fd, err;

        if (reader->end - reader->start >= sizeof(struct vd_header) &&
            (size < sizeof(struct vd_header) || size > VD_MAX_MESSAGE))
            return VD_ERR_PROTOCOL;
        if (size && reader->end - reader->start >= size && reader->start % 8 == 0) {
            *ret_bytes = reader->buffer + reader->start;
            *ret_size = size;
            *ret_fd = reader->fd;
            reader->fd = -1;
            reader->start += size;
            return 0;
        }
        if (size > reader->room - reader->start || reader->end == reader->room ||
            reader->start % 8) {
            err = make_room(reader, size > MESSAGE_FIRST_ROOM ? size : MESSAGE_FIRST_ROOM);
            if (err)
                return err;
            continue;
        }
        if (reader->start == reader->end)
            reader->start = reader->end = 0;
        err = reader->channel->ops->recv(reader->channel, reader->buffer + reader->end,
                                         reader->room - reader->end, &got, &fd, timeout_ms);
        if (err)
            return err;
        reader->end += got;
        if (fd >= 0) {
            if (reader->fd >= 0)
                close(reader->fd);
            reader->fd = fd;
        }
    }
}

int message_send(struct channel *channel, uint32_t op, uint32_t serial, const void *fixed,
                 size_t fixed_size, const void *tail, uint32_t tail_count, size_t tail_element,
                 int fd, int timeout_ms)
{
    uint64_t size = sizeof(struct vd_header) + fixed_size + (uint64_t)tail_count * tail_element;
    struct vd_header header = {
        .size = (uint32_t)size,
        .op = op,
        .serial = serial,
        .tail = tail_count,
    };
    struct iovec iov[3] = {
        {&header, sizeof(header)},
        {(void *)(uintptr_t)fixed, fixed_size},
        {(void *)(uintptr_t)tail, tail_count * tail_element},
    };

    if (size > VD_MAX_MESSAGE)
        return VD_ERR_LIMIT;
    if (trace_enabled()) {
        uint8_t *whole = malloc(header.size);

        if (whole) {
            size_t at = 0;

            for (int i = 0; i < 3; i++) {
                if (iov[i].iov_len)
                    memcpy(whole + at, iov[i].iov_base, iov[i].iov_len);
                at += iov[i].iov_len;
            }
            trace_message(op & VD_REPLY ? "<-" : "->", whole, header.size);
            free(whole);
        }
    }
    return channel->ops->send(channel, iov, tail_count ? 3 : 2, fd, timeout_ms);
}
