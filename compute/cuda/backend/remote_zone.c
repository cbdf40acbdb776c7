/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "remote.h"

/* Pieces of the arena: the first that fits, so that the same pages are used again and again. */

void remote_zone_init(struct remote_zone *z, uint64_t offset, uint64_t size, uint64_t align)
{
    *z = (struct remote_zone){.offset = offset, .size = size, .align = align};
}

static void free_list(struct remote_piece *p)
{
    while (p) {
        struct remote_piece *next = p->next;

        free(p);
        p = next;
    }
}

void remote_zone_finish(struct remote_zone *z)
{
    free_list(z->first);
    free_list(z->idle);
    z->first = z->idle = NULL;
}

static struct remote_piece *node(struct remote_zone *z)
{
    struct remote_piece *p = z->idle;

    if (p)
        z->idle = p->next;
    else
        p = malloc(sizeof(*p));
    return p;
}

struct remote_piece *remote_zone_take(struct remote_zone *z, uint64_t size)
{
    struct remote_piece *p, *rest;

    if (!size || size > z->size)
        return NULL;
    size = (size + z->align - 1) / z->align * z->align;
    if (!z->first) {
        z->first = node(z);
        if (!z->first)
            return NULL;
        *z->first =
            (struct remote_piece){.offset = z->offset, .size = z->size / z->align * z->align};
    }
    for (p = z->first; p && (p->used || p->size < size);)
        p = p->next;
    if (!p)
        return NULL;
    if (p->size > size) {
        rest = node(z);
        if (!rest)
            return NULL;
        *rest = (struct remote_piece){
            .next = p->next, .offset = p->offset + size, .size = p->size - size};
        p->next = rest;
        p->size = size;
    }
    p->used = true;
    p->mapped = false;
    return p;
}

/* Joins a free piece with the one behind it, if that is free. */
static void join(struct remote_zone *z, struct remote_piece *p)
{
    struct remote_piece *next = p->next;

    if (!next || next->used)
        return;
    p->size += next->size;
    p->next = next->next;
    next->next = z->idle;
    z->idle = next;
}

void remote_zone_give(struct remote_zone *z, struct remote_piece *p)
{
    struct remote_piece *before = z->first;

    p->used = false;
    join(z, p);
    while (before != p && before->next != p)
        before = before->next;
    if (before != p && !before->used)
        join(z, before);
}

struct remote_piece *remote_zone_find(struct remote_zone *z, uint64_t offset)
{
    struct remote_piece *p = z->first;

    while (p && (!p->used || p->offset != offset))
        p = p->next;
    return p;
}
