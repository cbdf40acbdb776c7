/* SPDX-License-Identifier: MIT */
#include "proto_writer.h"

#include <stdlib.h>
#include <string.h>

/* Protobuf's limit of a message. */
#define MOST ((size_t)INT32_MAX)
/* Of the length of a message that is not known yet: longer than it must be, but a varint. */
#define LENGTH_BYTES 5

enum { VARINT = 0, LENGTH = 2, FIXED32 = 5 };

static bool grow(struct proto_writer *w, size_t room)
{
    uint8_t *more = realloc(w->data, room);

    if (!more) {
        w->failed = true;
        return false;
    }
    w->data = more;
    w->room = room;
    return true;
}

static uint8_t *extend(struct proto_writer *w, size_t size)
{
    size_t room = w->room ? w->room : 4096;

    if (w->failed || size > MOST - w->size) {
        w->failed = true;
        return NULL;
    }
    while (room < w->size + size)
        room *= 2;
    if (room > w->room && !grow(w, room))
        return NULL;
    w->size += size;
    return w->data + w->size - size;
}

void proto_writer_expect(struct proto_writer *w, size_t size)
{
    if (!w->failed && size <= MOST - w->size && w->size + size > w->room)
        grow(w, w->size + size);
}

static void varint(struct proto_writer *w, uint64_t value)
{
    uint8_t bytes[10], *at;
    size_t size = 0;

    do {
        bytes[size++] = (uint8_t)(value & 0x7f) | (value > 0x7f ? 0x80 : 0);
        value >>= 7;
    } while (value);
    at = extend(w, size);
    if (at)
        memcpy(at, bytes, size);
}

static void key(struct proto_writer *w, uint32_t field, uint32_t type)
{
    varint(w, (uint64_t)field << 3 | type);
}

void proto_writer_number(struct proto_writer *w, uint32_t field, uint64_t value)
{
    key(w, field, VARINT);
    varint(w, value);
}

void proto_writer_float(struct proto_writer *w, uint32_t field, float value)
{
    uint8_t *at;

    key(w, field, FIXED32);
    at = extend(w, sizeof(value));
    if (at)
        memcpy(at, &value, sizeof(value));
}

void proto_writer_bytes(struct proto_writer *w, uint32_t field, const void *bytes, size_t size)
{
    uint8_t *at = proto_writer_room(w, field, size);

    if (at && size)
        memcpy(at, bytes, size);
}

uint8_t *proto_writer_room(struct proto_writer *w, uint32_t field, size_t size)
{
    key(w, field, LENGTH);
    varint(w, size);
    return extend(w, size);
}

void proto_writer_raw(struct proto_writer *w, const void *bytes, size_t size)
{
    uint8_t *at = extend(w, size);

    if (at && size)
        memcpy(at, bytes, size);
}

void proto_writer_text(struct proto_writer *w, uint32_t field, const char *text)
{
    proto_writer_bytes(w, field, text, strlen(text));
}

size_t proto_writer_open(struct proto_writer *w, uint32_t field)
{
    key(w, field, LENGTH);
    extend(w, LENGTH_BYTES);
    return w->size;
}

void proto_writer_close(struct proto_writer *w, size_t opened)
{
    uint64_t size = w->size - opened;

    if (w->failed)
        return;
    for (size_t i = 0; i < LENGTH_BYTES; i++, size >>= 7)
        w->data[opened - LENGTH_BYTES + i] =
            (uint8_t)(size & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0);
}

void proto_writer_finish(struct proto_writer *w)
{
    free(w->data);
    *w = (struct proto_writer){0};
}
