/* SPDX-License-Identifier: MIT */
#ifndef GPU_WINDOW_H
#define GPU_WINDOW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <viaduct/virtgpu.h>

#include "resource.h"

/*
 * The device's view of a window (viaduct/virtgpu.h): a guest's pages, wherever they are. All that
 * is in there the guest can change at any time: counters are copied and checked, and those that
 * this side writes are kept here. Bytes of the rings are only passed on, never looked at.
 */
struct window {
    struct iovec *pieces; /* the guest's pages in this process */
    uint64_t *starts;     /* of each piece in the window */
    uint32_t piece_count;
    struct vd_virtgpu_page *page; /* in the first piece */
    uint32_t to_host, to_guest;   /* bytes of the rings */
    uint32_t taken, filled;       /* as in the page */
};

/* Where a guest's address is in this process, or NULL. */
typedef void *window_translate(void *arg, uint64_t address, uint64_t size);

/*
 * Opens the window in a resource, whose backing must not change until window_finish.
 * -VD_ERR_PARAMETER: sizes that cannot be, or pages that are not the guest's; -VD_ERR_MEMORY.
 */
int window_init(struct window *window, const struct gpu_resource *resource, uint32_t to_host,
                uint32_t to_guest, window_translate *translate, void *arg);
/* Says so in the page of a window that cannot be opened, if that is there. */
void window_refuse(const struct gpu_resource *resource, int err, window_translate *translate,
                   void *arg);
/* Fine for one that is all zeros. */
void window_finish(struct window *window);
/* The guest's memory was mapped anew. -VD_ERR_PARAMETER: the window is not in it any more. */
int window_move(struct window *window, const struct gpu_resource *resource,
                window_translate *translate, void *arg);

/*
 * What the guest has sent and is not taken: up to `room` pieces of it, the number in ret_count, 0
 * if there is nothing. -VD_ERR_PROTOCOL: the counters cannot be.
 */
int window_to_host(const struct window *window, struct iovec *iov, unsigned room,
                   unsigned *ret_count);
/* So many bytes of that were taken. */
void window_took(struct window *window, uint32_t bytes);
/* The same for room in the ring to the guest. ret_free: all bytes of it. */
int window_to_guest(const struct window *window, struct iovec *iov, unsigned room,
                    unsigned *ret_count, uint32_t *ret_free);
void window_gave(struct window *window, uint32_t bytes);
/* Tells the guest whether to KICK. Look for news once more after saying yes. */
void window_sleeps(struct window *window, bool sleeps);
void window_full(struct window *window, bool full);
void window_state(struct window *window, enum vd_virtgpu_state state, int err);

#endif
