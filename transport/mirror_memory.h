/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_MIRROR_MEMORY_H
#define TRANSPORT_MIRROR_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"

/*
 * Frame memory of a guest whose host does not share it: pieces of the guest's own arena, numbered
 * by the guest as the host numbers its own. A surface has the piece that its slot of the status
 * page names; one whose `pins` are not 0 is shown to the app and not written, unless the surface
 * is fixed to it. The mirror's lock guards all of it; the app's threads pin without it, so a piece
 * is first taken off its surface and then looked at.
 */
struct mirror_piece {
    uint64_t offset, size;
    bool used;  /* belongs to a surface, or is being filled for one */
    bool fresh; /* of the zone, never written */
    int dmabuf; /* it is memory of the channel's, this; -1: it is the arena's own */
};

struct mirror_memory {
    struct arena *arena;
    uint64_t next; /* of the frame zone that was never used */
    struct mirror_piece *pieces;
    uint32_t count;
    uint64_t sizes[VD_MAX_SURFACES];   /* bytes of the surface, 0: there is none */
    bool fixed[VD_MAX_SURFACES];       /* pictures go to the piece it has */
    uint32_t filling[VD_MAX_SURFACES]; /* piece that pixels are put into, or VD_NO_BACKING */
    uint64_t filled[VD_MAX_SURFACES];  /* bytes of it that are there */
    uint32_t writing; /* piece that the mirror's thread writes to right now, or VD_NO_BACKING */
};

void mirror_memory_init(struct mirror_memory *memory, struct arena *arena);
void mirror_memory_finish(struct mirror_memory *memory);
/* A new surface of `size` bytes in this slot, without memory; 0: none. */
void mirror_memory_expect(struct mirror_memory *memory, uint32_t slot, uint64_t size);
void mirror_memory_fix(struct mirror_memory *memory, uint32_t slot, bool fixed);
/* Another picture is in the surface: its memory here is not that. */
void mirror_memory_stale(struct mirror_memory *memory, uint32_t slot);
/*
 * Where `size` bytes at `offset` of a surface with `whole` bytes go; then mirror_memory_filled.
 * -VD_ERR_PROTOCOL if they do not follow the last ones or are not of this surface, -VD_ERR_LIMIT.
 */
int mirror_memory_fill(struct mirror_memory *memory, uint32_t slot, uint64_t offset, uint64_t size,
                       uint64_t whole, uint8_t **ret_to);
/* They are there; `last`: the surface has the piece from now on. */
void mirror_memory_filled(struct mirror_memory *memory, uint32_t slot, bool last);
/*
 * The piece that the surface has, if nothing is being written to it right now, else VD_NO_BACKING;
 * that its memory is the channel's from now on, the descriptor is taken over.
 */
uint32_t mirror_memory_piece(const struct mirror_memory *memory, uint32_t slot);
void mirror_memory_shared(struct mirror_memory *memory, uint32_t piece, int dmabuf);
/* Zeros for a surface that holds nothing, if it has no memory yet. 0 or -VD_ERR_LIMIT. */
int mirror_memory_blank(struct mirror_memory *memory, uint32_t slot);

#endif
