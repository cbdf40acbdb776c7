/* SPDX-License-Identifier: MIT */
#ifndef HOST_SURFACE_READ_H
#define HOST_SURFACE_READ_H

#include "pixels.h"
#include "pool.h"

/*
 * The picture of a surface as another context wants it: the one that was submitted last when the
 * read began. Memory of its own is needed for nothing: the backing stays what it is while it is
 * held.
 */
struct surface_read {
    struct surface *surface; /* a reference */
    uint32_t sequence;       /* of the picture */
    struct surface_read *next;
    struct backing *backing;    /* when it is ready: references, or both NULL */
    struct device_frame *frame; /* it lies on a device: surface_read_pixels brings it here */
    int status;                 /* of the picture, 0 or negative */
    bool ready;                 /* under the lock */
};

/*
 * Begins to read what was submitted last to the surface (dispatcher's thread). `read` stays in
 * place until surface_read_end.
 */
void surface_read_begin(struct surface *surface, struct surface_read *read);
/* Waits for the picture. 0, or an error: the picture's own, or that of who cancelled. */
int surface_read_wait(struct surface_read *read);
/* Whether the wait would return at once. */
bool surface_read_ready(const struct surface_read *read);
/* Wakes who waits, any thread. */
void surface_read_cancel(struct surface_read *read, int status);
/*
 * Where the pixels are, when it is ready; fetches them from a device. A surface without a picture
 * reads as zeros. -VD_ERR_*. The memory is valid until surface_read_end.
 */
int surface_read_pixels(struct surface_read *read, struct pixels *ret_pixels);
/* Drops what the read holds. A zeroed read is fine. */
void surface_read_end(struct surface_read *read);
/* A read that waits gets the surface's picture and is ready. The pool's lock is held (pool.c). */
void surface_read_take(struct surface_read *read, int status);

#endif
