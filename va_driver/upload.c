/* SPDX-License-Identifier: MIT */
#include "upload.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <transport/fence.h>
#include <viaduct/errors.h>

/* Pieces from this size on go back to the system when they are free. */
#define UPLOAD_LARGE (8ull << 20)

struct upload_piece {
    struct upload_piece *next;
    uint64_t offset;
    uint32_t class;
    uint32_t submission;
};

/* Class i holds 64 * 2^(i/4) * (1 + i%4 / 4) bytes, rounded to cache lines. */
static uint64_t class_size(uint32_t class)
{
    uint64_t base = 64ull << (class / 4);
    uint64_t size = base + base / 4 * (class % 4);

    return (size + 63) & ~63ull;
}

static uint32_t class_of(uint64_t size)
{
    uint32_t class = 0;

    while (class < UPLOAD_CLASSES && class_size(class) < size)
        class ++;
    return class;
}

void upload_init(struct upload *upload, struct arena *arena)
{
    memset(upload, 0, sizeof(*upload));
    upload->arena = arena;
    upload->next = arena->upload_offset;
}

static void free_list(struct upload_piece *piece)
{
    while (piece) {
        struct upload_piece *next = piece->next;

        free(piece);
        piece = next;
    }
}

void upload_finish(struct upload *upload)
{
    for (int i = 0; i < UPLOAD_CLASSES; i++)
        free_list(upload->free[i]);
    free_list(upload->busy_first);
    free_list(upload->idle);
    memset(upload, 0, sizeof(*upload));
}

/* Nobody reads it any more. */
static void make_free(struct upload *upload, struct upload_piece *piece)
{
    uint64_t size = class_size(piece->class);

    if (size >= UPLOAD_LARGE)
        madvise(upload->arena->base + piece->offset, size, MADV_REMOVE);
    piece->next = upload->free[piece->class];
    upload->free[piece->class] = piece;
}

static void reclaim(struct upload *upload)
{
    uint32_t consumed;

    if (!upload->busy_first)
        return;
    consumed = fence_load(&upload->arena->status->consumed);
    while (upload->busy_first && fence_passed(consumed, upload->busy_first->submission)) {
        struct upload_piece *piece = upload->busy_first;

        upload->busy_first = piece->next;
        if (!upload->busy_first)
            upload->busy_last = NULL;
        make_free(upload, piece);
    }
}

int upload_get(struct upload *upload, uint64_t size, uint64_t *ret_offset)
{
    uint32_t class = class_of(size);
    struct upload_piece *piece;

    if (class >= UPLOAD_CLASSES)
        return VD_ERR_MEMORY;
    reclaim(upload);
    piece = upload->free[class];
    if (piece) {
        upload->free[class] = piece->next;
        *ret_offset = piece->offset;
        piece->next = upload->idle;
        upload->idle = piece;
        return 0;
    }
    if (class_size(class) >
        upload->arena->upload_offset + upload->arena->upload_size - upload->next)
        return VD_ERR_MEMORY;
    *ret_offset = upload->next;
    upload->next += class_size(class);
    return 0;
}

void upload_give(struct upload *upload, uint64_t offset, uint64_t size, int busy,
                 uint32_t submission)
{
    struct upload_piece *piece = upload->idle;

    if (piece)
        upload->idle = piece->next;
    else
        piece = malloc(sizeof(*piece));
    if (!piece)
        return; /* this piece of the zone stays unused until the session ends */
    piece->offset = offset;
    piece->class = class_of(size);
    piece->submission = submission;
    if (busy) {
        piece->next = NULL;
        if (upload->busy_last)
            upload->busy_last->next = piece;
        else
            upload->busy_first = piece;
        upload->busy_last = piece;
        return;
    }
    make_free(upload, piece);
}
