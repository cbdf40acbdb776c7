/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_ARENA_H
#define TRANSPORT_ARENA_H

#include <stdbool.h>
#include <stdint.h>
#include <viaduct/protocol.h>

/*
 * The memory both sides see: status page, upload zone, frame zone, in this order. The host makes
 * it, a sparse memfd sealed against shrinking and growing, so neither side can fault the other
 * by truncating it. Pages exist once they are touched.
 */
struct mirror_host;

struct arena {
    int fd;
    uint64_t size;
    uint8_t *base;
    uint64_t upload_offset, upload_size;
    uint64_t frame_offset, frame_size;
    struct vd_status_page *status; /* at base */
    struct mirror_host *mirror; /* host: tells a guest that does not see it (mirror.h); or NULL */
};

/* Host: makes an arena with `frame_size` bytes (rounded up to 2 MiB) of frame zone. */
int arena_create(struct arena *arena, uint64_t frame_size);
/*
 * Guest: maps the arena whose descriptor came with HELLO (owned by the arena afterwards, also on
 * failure). Refuses a descriptor that could shrink later and zones that do not fit.
 */
int arena_open(struct arena *arena, int fd, const struct vd_hello_rep *hello);
/* Guest of an in-band session: an arena of its own, laid out as the host's. */
int arena_twin(struct arena *arena, const struct vd_hello_rep *hello);
/* Unmaps and closes; fine for a zeroed arena with fd -1. */
void arena_finish(struct arena *arena);
/*
 * Maps a range of the arena so that its huge pages can be mapped as such. `private`: copy on
 * write. NULL on failure; munmap it.
 */
void *arena_view(int fd, uint64_t offset, uint64_t size, bool private);
/*
 * Whether `bytes` bytes at `offset` are a buffer inside the upload zone, at a multiple of 8. 0, or
 * -VD_ERR_PROTOCOL.
 */
int arena_check_upload(const struct arena *arena, uint64_t offset, uint64_t bytes);
/* Gives the pages of a range back to the system. */
void arena_discard(struct arena *arena, uint64_t offset, uint64_t size);
/* Other memory was mapped over a range: the arena's own is there again. 0 or -VD_ERR_MEMORY. */
int arena_restore(struct arena *arena, uint64_t offset, uint64_t size);

#endif
