/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <stdlib.h>
#include <string.h>

/*
 * Copies whose side in the host's memory is not registered. The driver would wait for the stream
 * before it returned, and the stream may be waiting for what its client sends next. So they go by
 * memory of the driver's, between which and the program's the stream calls a function that copies:
 * what the program writes until the stream comes there counts, and what comes is there for what
 * follows.
 */

#define LEAST_BYTES 65536u

struct native_bounce {
    struct native_bounce *next;
    uint8_t *memory;
    uint64_t room;
    struct cuda_side side, other; /* of the host; other: where both are */
    uint64_t width, height, depth;
};

/* Where a row of the packed copy is in the program's memory. */
static uint8_t *row(const struct cuda_side *side, uint64_t y, uint64_t z)
{
    return (uint8_t *)(uintptr_t)(side->address + z * side->slice + y * side->pitch);
}

static void each_row(const struct native_bounce *b, bool in)
{
    uint8_t *at = b->memory;

    for (uint64_t z = 0; z < b->depth; z++)
        for (uint64_t y = 0; y < b->height; y++, at += b->width) {
            if (in)
                memcpy(at, row(&b->side, y, z), b->width);
            else
                memcpy(row(&b->side, y, z), at, b->width);
        }
}

static void fetch(void *user)
{
    each_row(user, true);
}

static void move(void *user)
{
    const struct native_bounce *b = user;

    for (uint64_t z = 0; z < b->depth; z++)
        for (uint64_t y = 0; y < b->height; y++)
            memmove(row(&b->side, y, z), row(&b->other, y, z), b->width);
}

static void land(void *user)
{
    each_row(user, false);
}

/* One with so much room, or none at all. The thread has entered a context. */
static struct native_bounce *take(struct cuda_device *d, uint64_t bytes)
{
    struct native_bounce **at, *b;
    uint64_t room = LEAST_BYTES;
    void *memory = NULL;

    while (room < bytes)
        room *= 2;
    pthread_mutex_lock(&native_lock);
    for (at = &d->bounces; (b = *at) && (bytes ? b->room != room : b->memory != NULL);)
        at = &b->next;
    if (b)
        *at = b->next;
    pthread_mutex_unlock(&native_lock);
    if (b)
        return b;
    b = calloc(1, sizeof(*b));
    if (b && bytes && native.cuMemHostAlloc(&memory, room, CU_MEMHOSTALLOC_PORTABLE)) {
        free(b);
        return NULL;
    }
    if (b) {
        b->memory = memory;
        b->room = bytes ? room : 0;
    }
    return b;
}

void native_bounce_give(struct cuda_device *d, struct native_bounce *b)
{
    b->next = d->bounces;
    d->bounces = b;
}

void native_bounce_drop_all(struct cuda_device *d)
{
    while (d->bounces) {
        struct native_bounce *next = d->bounces->next;

        if (d->bounces->memory)
            native.cuMemFreeHost(d->bounces->memory);
        free(d->bounces);
        d->bounces = next;
    }
}

static bool is_reached(const struct cuda_side *side, const struct cuda_command *c)
{
    uint64_t bytes =
        (c->copy.depth - 1) * side->slice + (c->copy.height - 1) * side->pitch + c->copy.width;

    return !side->host || native_is_registered(side->address, bytes);
}

int native_bounce_copy(struct cuda_device *d, CUstream stream, const struct cuda_command *c,
                       struct native_bounce **ret_bounce)
{
    const struct cuda_side *to = &c->copy.to, *from = &c->copy.from;
    bool both = to->host && from->host;
    struct cuda_command device = *c;
    struct cuda_side *mine = to->host ? &device.copy.to : &device.copy.from;
    struct native_bounce *b;
    int err = 0;

    *ret_bounce = NULL;
    if (!both && is_reached(to, c) && is_reached(from, c))
        return native_command(stream, c);
    if (c->copy.height > UINT64_MAX / c->copy.depth ||
        c->copy.width > (UINT64_MAX >> 1) / (c->copy.height * c->copy.depth))
        return CUDA_ERROR_INVALID_VALUE;
    b = take(d, both ? 0 : c->copy.width * c->copy.height * c->copy.depth);
    if (!b)
        return CUDA_ERROR_OUT_OF_MEMORY;
    b->side = *(to->host ? to : from);
    b->other = *from;
    b->width = c->copy.width;
    b->height = c->copy.height;
    b->depth = c->copy.depth;
    /* In any case until the command is over. */
    *ret_bounce = b;
    if (both)
        return (int)native.cuLaunchHostFunc(stream, move, b);
    mine->address = (uintptr_t)b->memory;
    mine->pitch = b->width;
    mine->slice = b->width * b->height;
    if (from->host)
        err = (int)native.cuLaunchHostFunc(stream, fetch, b);
    if (!err)
        err = native_command(stream, &device);
    if (!err && to->host)
        err = (int)native.cuLaunchHostFunc(stream, land, b);
    return err;
}
