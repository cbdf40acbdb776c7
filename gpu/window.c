/* SPDX-License-Identifier: MIT */
#include "window.h"

#include <stdlib.h>
#include <viaduct/errors.h>

/* The guest's kernel gives whole pages; who makes smaller pieces wants to cost memory. */
#define WINDOW_MAX_PIECES ((2 * VD_VIRTGPU_MAX_RING + VD_VIRTGPU_PAGE) / 4096 + 1)

static bool ring_size(uint32_t size)
{
    return size >= VD_VIRTGPU_MIN_RING && size <= VD_VIRTGPU_MAX_RING && !(size & (size - 1));
}

static uint64_t window_size(const struct window *window)
{
    return (uint64_t)VD_VIRTGPU_PAGE + window->to_host + window->to_guest;
}

/* The page in the first piece, which is at `here`; NULL: it cannot be there. */
static struct vd_virtgpu_page *page_in(void *here, uint64_t size)
{
    /* Counters are read and written as words. */
    return size < sizeof(struct vd_virtgpu_page) || (uintptr_t)here % 64 ? NULL : here;
}

int window_move(struct window *window, const struct gpu_resource *resource,
                window_translate *translate, void *arg)
{
    uint64_t at = 0;

    for (uint32_t i = 0; i < window->piece_count; i++) {
        const struct gpu_segment *segment = &resource->segments[i];
        void *here = translate(arg, segment->address, segment->size);

        if (!here)
            return VD_ERR_PARAMETER;
        window->pieces[i] = (struct iovec){here, segment->size};
        window->starts[i] = at;
        at += segment->size;
    }
    window->page = page_in(window->pieces[0].iov_base, window->pieces[0].iov_len);
    return window->page ? 0 : VD_ERR_PARAMETER;
}

int window_init(struct window *window, const struct gpu_resource *resource, uint32_t to_host,
                uint32_t to_guest, window_translate *translate, void *arg)
{
    int err;

    *window = (struct window){.to_host = to_host, .to_guest = to_guest};
    if (!ring_size(to_host) || !ring_size(to_guest) || !resource->segment_count ||
        resource->segment_count > WINDOW_MAX_PIECES || resource->size < window_size(window))
        return VD_ERR_PARAMETER;
    window->piece_count = resource->segment_count;
    window->pieces = calloc(window->piece_count, sizeof(window->pieces[0]));
    window->starts = calloc(window->piece_count, sizeof(window->starts[0]));
    err = window->pieces && window->starts ? window_move(window, resource, translate, arg)
                                           : VD_ERR_MEMORY;
    if (err)
        window_finish(window);
    return err;
}

void window_refuse(const struct gpu_resource *resource, int err, window_translate *translate,
                   void *arg)
{
    const struct gpu_segment *first = resource->segments;
    void *here = resource->segment_count ? translate(arg, first->address, first->size) : NULL;
    struct window window = {.page = here ? page_in(here, first->size) : NULL};

    if (window.page)
        window_state(&window, VD_VIRTGPU_CLOSED, err);
}

void window_finish(struct window *window)
{
    free(window->pieces);
    free(window->starts);
    *window = (struct window){0};
}

/* The piece that has byte `at` of the window. */
static uint32_t piece_at(const struct window *window, uint64_t at)
{
    uint32_t low = 0, high = window->piece_count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (window->starts[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Adds [at, at + size) of the window to the list, as far as there is room. */
static unsigned slice(const struct window *window, uint64_t at, uint32_t size, struct iovec *iov,
                      unsigned count, unsigned room)
{
    uint32_t piece = size ? piece_at(window, at) : 0;

    while (size && count < room) {
        uint64_t skip = at - window->starts[piece];
        uint64_t n = window->pieces[piece].iov_len - skip;

        if (n > size)
            n = size;
        iov[count++] = (struct iovec){(uint8_t *)window->pieces[piece].iov_base + skip, n};
        at += n;
        size -= (uint32_t)n;
        piece++;
    }
    return count;
}

/* `size` bytes behind counter `from` of a ring, which may end in between. */
static unsigned ring(const struct window *window, uint64_t start, uint32_t ring_bytes,
                     uint32_t from, uint32_t size, struct iovec *iov, unsigned room)
{
    uint32_t at = from & (ring_bytes - 1);
    uint32_t first = size < ring_bytes - at ? size : ring_bytes - at;
    unsigned count = slice(window, start + at, first, iov, 0, room);

    return slice(window, start, size - first, iov, count, room);
}

int window_to_host(const struct window *window, struct iovec *iov, unsigned room,
                   unsigned *ret_count)
{
    uint32_t size = __atomic_load_n(&window->page->sent, __ATOMIC_SEQ_CST) - window->taken;

    if (size > window->to_host)
        return VD_ERR_PROTOCOL;
    *ret_count = ring(window, VD_VIRTGPU_PAGE, window->to_host, window->taken, size, iov, room);
    return 0;
}

void window_took(struct window *window, uint32_t bytes)
{
    window->taken += bytes;
    __atomic_store_n(&window->page->taken, window->taken, __ATOMIC_RELEASE);
}

int window_to_guest(const struct window *window, struct iovec *iov, unsigned room,
                    unsigned *ret_count, uint32_t *ret_free)
{
    uint32_t used = window->filled - __atomic_load_n(&window->page->read, __ATOMIC_SEQ_CST);

    if (used > window->to_guest)
        return VD_ERR_PROTOCOL;
    *ret_free = window->to_guest - used;
    *ret_count = ring(window, (uint64_t)VD_VIRTGPU_PAGE + window->to_host, window->to_guest,
                      window->filled, *ret_free, iov, room);
    return 0;
}

void window_gave(struct window *window, uint32_t bytes)
{
    window->filled += bytes;
    __atomic_store_n(&window->page->filled, window->filled, __ATOMIC_RELEASE);
}

void window_sleeps(struct window *window, bool sleeps)
{
    __atomic_store_n(&window->page->host_sleeps, sleeps, __ATOMIC_SEQ_CST);
}

void window_full(struct window *window, bool full)
{
    __atomic_store_n(&window->page->host_full, full, __ATOMIC_SEQ_CST);
}

void window_state(struct window *window, enum vd_virtgpu_state state, int err)
{
    window->page->error = (uint32_t)-err;
    __atomic_store_n(&window->page->state, (uint32_t)state, __ATOMIC_RELEASE);
}
