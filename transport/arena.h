/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_ARENA_H
#define TRANSPORT_ARENA_H

#include <stdbool.h>
#include <stdint.h>
#include <viaduct/protocol.h>

/*
 * The memory both sides see: status page, upload zone, frame zone, in this order. The host makes
 * it, a sparse memfd sealed against shrinking and growing, so neither side can fault the other
 * by truncating it. Pages exist once they are touched. With VD_FEATURE_REGION it is a piece of a
 * file of the host's, and a device of the guest's machine shows that piece.
 */
struct mirror_host;
struct waker;

struct arena {
    int fd;
    uint64_t fd_offset; /* of the arena in it: a region's file has a head */
    uint64_t size;
    uint8_t *base;
    uint64_t upload_offset, upload_size;
    uint64_t frame_offset, frame_size;
    struct vd_status_page *status; /* at base */
    struct mirror_host *mirror; /* host: tells a guest that does not see it (mirror.h); or NULL */
    struct waker
        *waker; /* host: wakes a guest that sees it under another kernel (waker.h); or NULL */
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
/* The least and the most bytes of a region that are used. */
#define ARENA_REGION_LEAST (48ull << 20)
#define ARENA_REGION_MOST  (64ull << 30)
/*
 * Host: an arena of `bytes` bytes at `offset` of `fd` (owned by the arena afterwards, also on
 * failure): both multiples of 2 MiB. What was there is gone, zeros are there, and the system has
 * the memory back. -VD_ERR_UNSUPPORTED if the file cannot do that, -VD_ERR_LIMIT if it is too
 * small.
 */
int arena_region(struct arena *arena, int fd, uint64_t offset, uint64_t bytes);
/*
 * Guest: maps the arena of such a session. The descriptor is as in arena_open, but one of a device
 * whose memory this is, from its start on; -VD_ERR_LIMIT if the device is smaller than the host
 * says.
 */
int arena_open_region(struct arena *arena, int fd, const struct vd_hello_rep *hello);
/* Guest: bytes that can be mapped of what a region's descriptor is; 0: it is nothing of that kind.
 */
uint64_t arena_region_bytes(int fd);
/*
 * Host: gives a word of the status page another value, and wakes who sleeps on it, wherever he is.
 * As fence_signal.
 */
void arena_signal(struct arena *arena, uint32_t *word, uint32_t *waiters, uint32_t value);
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
