/* SPDX-License-Identifier: MIT */
#ifndef DRIVER_UPLOAD_H
#define DRIVER_UPLOAD_H

#include <stddef.h>
#include <stdint.h>
#include <transport/arena.h>

/*
 * Memory for VA buffers out of the arena's upload zone, which the guest manages alone.
 *
 * Pieces come in size classes (four a power of two) from free lists, so the steady state takes
 * and gives without searching and stays in the same cache-warm pages. A piece that is part of a
 * picture on its way is given with the submission's number and reused once the host has copied
 * it (`consumed` of the status page). Not thread-safe: the driver's lock.
 */
#define UPLOAD_CLASSES 96

struct upload_piece; /* upload.c */

struct upload {
    struct arena *arena;
    uint64_t next; /* of the zone that was never used, offset in the arena */
    struct upload_piece *free[UPLOAD_CLASSES];
    struct upload_piece *busy_first, *busy_last; /* in order of submission */
    struct upload_piece *idle;                   /* nodes without memory */
};

void upload_init(struct upload *upload, struct arena *arena);
void upload_finish(struct upload *upload);
/* Offset in the arena of at least `size` bytes, multiple of 64. -VD_ERR_MEMORY if full. */
int upload_get(struct upload *upload, uint64_t size, uint64_t *ret_offset);
/* Gives a piece of `size` bytes back; `submission`: as above, with busy not 0. */
void upload_give(struct upload *upload, uint64_t offset, uint64_t size, int busy,
                 uint32_t submission);

#endif
