/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/dma-buf.h>
#include <string.h>
#include <sys/ioctl.h>
#include <transport/fence.h>
#include <viaduct/errors.h>

#include "driver.h"

/*
 * Sessions whose host does not share the arena (transport/mirror.h): what has to be sent beside the
 * messages themselves. With shared memory all of this does nothing, but what is about imports:
 * their pixels are copied wherever descriptors do not reach the host.
 */

int inband_submit(struct context *context, const struct vd_submit_req *req,
                  const struct buffer *coded)
{
    struct host *host = context->host;
    int err = 0;

    if (!host->mirror)
        return 0;
    for (uint32_t i = 0; i < context->pending_count && !err; i++) {
        const struct buffer *buffer = context->pending[i];

        err = mirror_guest_upload(host->mirror, buffer->offset,
                                  (uint64_t)buffer->size * buffer->count, HOST_CALL_MS);
    }
    /* Its head says that nothing was encoded, until the host says better. */
    if (coded && !err)
        err = mirror_guest_upload(host->mirror, coded->offset, VD_CODED_HEAD, HOST_CALL_MS);
    mirror_guest_fix(host->mirror, req->surface, req->flags & VD_SUBMIT_FIXED);
    if (req->display)
        mirror_guest_fix(host->mirror, req->display, req->flags & VD_SUBMIT_DISPLAY_FIXED);
    return err;
}

void inband_submitted(struct host *host)
{
    struct vd_status_page *status = host->arena.status;

    /* The bytes are on their way: the buffers are the app's again. */
    if (host->mirror)
        fence_signal(&status->consumed, &status->consumed_waiters, host->submission);
}

/* Any change shows, up to one in 2^64: four sums of products, as in hashes for tables. */
static uint64_t hash(const uint8_t *bytes, uint64_t size)
{
    uint64_t lane[4] = {1, 2, 3, 4}, word[4];
    uint64_t i = 0;

    for (; i + sizeof(word) <= size; i += sizeof(word)) {
        memcpy(word, bytes + i, sizeof(word));
        for (int j = 0; j < 4; j++)
            lane[j] = (lane[j] ^ word[j]) * UINT64_C(0x9e3779b97f4a7c15);
        for (int j = 0; j < 4; j++)
            lane[j] ^= lane[j] >> 29;
    }
    for (; i < size; i++)
        lane[i % 4] = (lane[i % 4] ^ bytes[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return lane[0] ^ (lane[1] << 1 | lane[1] >> 63) ^ (lane[2] << 2 | lane[2] >> 62) ^
           (lane[3] << 3 | lane[3] >> 61);
}

void inband_mapped(struct driver *driver, struct image *image)
{
    if (image->memory != IMAGE_DERIVED || !image->view.host || !image->view.host->mirror ||
        image->buffer->mapped)
        return;
    /* Who wrote to it last, or has nothing to read there, most likely writes again. */
    image->writes = image->surface->uploaded || !image->surface->sequence;
    if (image->writes)
        return;
    object_ref(image);
    driver_leave(driver);
    image->hash = hash(image->bytes, image->layout.size);
    pthread_mutex_lock(&driver->lock);
    object_unref(&driver->images, image);
}

int inband_unmapped(struct driver *driver, struct image *image)
{
    int err = 0;

    if (image->memory != IMAGE_DERIVED || !image->view.host || !image->view.host->mirror ||
        image->buffer->mapped)
        return 0;
    object_ref(image);
    driver_leave(driver);
    if (!image->writes)
        image->writes = hash(image->bytes, image->layout.size) != image->hash;
    pthread_mutex_lock(&driver->lock);
    if (image->writes) {
        err = inband_wrote(driver, image->surface, &image->view);
        image->surface->uploaded = true;
    }
    object_unref(&driver->images, image);
    return err;
}

int inband_wrote(struct driver *driver, struct surface *surface, const struct surface_view *view)
{
    struct host *host = view->host;
    int err;

    if (!host || !host->mirror)
        return 0;
    if (host->dead || surface->host != host)
        return VD_ERR_GONE;
    object_ref(surface);
    host_ref(host);
    driver_leave(driver);
    err = mirror_guest_write(host->mirror, surface->object.id, view->bytes, surface->layout.size,
                             HOST_CALL_MS);
    pthread_mutex_lock(&driver->lock);
    if (err)
        host_lost(host);
    host_unref(&host);
    object_unref(&driver->surfaces, surface);
    return err;
}

/*
 * Processors' caches and a device's: dma-bufs want to be told who looks at them. A memfd does not
 * know the question, and a failure leaves the pixels as they are.
 */
static void look(const struct import *import, uint64_t what)
{
    struct dma_buf_sync sync = {.flags = what};

    while (ioctl(import->fd, DMA_BUF_IOCTL_SYNC, &sync) < 0 && errno == EINTR)
        ;
}

/* What is kept while the lock is released. */
static void keep(struct surface *surface, struct host *host)
{
    object_ref(surface);
    host_ref(host);
}

static void let_go(struct driver *driver, struct surface *surface, struct host *host)
{
    host_unref(&host);
    object_unref(&driver->surfaces, surface);
}

static bool is_copied(const struct surface *surface)
{
    return surface->import && surface->host && !host_passes(surface->host);
}

int inband_pull(struct driver *driver, struct surface *surface)
{
    struct import *import = surface->import;
    struct host *host = surface->host;
    struct surface_view view;
    uint32_t made;
    int err;

    if (!is_copied(surface) || import->here == import->made)
        return 0;
    made = import->made;
    keep(surface, host);
    err = surface_view_arena(driver, surface, &view);
    if (err)
        goto out;
    surface_view_seen(&view);
    driver_leave(driver);
    look(import, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
    format_copy(surface->format, surface->width, surface->height, import->bytes, &import->layout,
                view.bytes, view.layout);
    look(import, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
    pthread_mutex_lock(&driver->lock);
    surface_view_end(&view);
    if (surface->host == host) {
        import->here = made;
        import->exchanged = true;
    }
out:
    let_go(driver, surface, host);
    return err;
}

static bool same_pixels(const struct surface *surface, const struct surface_view *view)
{
    const struct format_info *format = surface->format;
    const struct import *import = surface->import;

    for (int i = 0; i < format->planes; i++) {
        const uint8_t *a = import->bytes + import->layout.offset[i];
        const uint8_t *b = view->bytes + view->layout->offset[i];
        size_t bytes = format_row_bytes(format, i, surface->width);

        for (uint32_t y = format_rows(format, i, surface->height); y; y--) {
            if (memcmp(a, b, bytes))
                return false;
            a += import->layout.pitch[i];
            b += view->layout->pitch[i];
        }
    }
    return true;
}

VAStatus inband_push(struct driver *driver, struct surface *surface)
{
    struct import *import = surface->import;
    VAStatus status = VA_STATUS_SUCCESS;
    struct surface_view view;
    struct host *host;
    bool same;
    int err = 0;

    if (import && (!surface->host || surface->host != driver->host))
        err = surface_register(driver, surface);
    if (err)
        return driver_status(err);
    /* A picture of the host's that nobody waited for is the newest. */
    if (!is_copied(surface) || import->here != import->made)
        return VA_STATUS_SUCCESS;
    host = surface->host;
    keep(surface, host);
    /* What is sent takes the place of what pictures before this one may still be made from. */
    status = surface_wait_readers(driver, surface);
    if (!status && surface->encoding)
        status = surface_wait(driver, surface, VA_TIMEOUT_INFINITE);
    if (status != VA_STATUS_ERROR_TIMEDOUT)
        status = driver_status(surface_view_arena(driver, surface, &view));
    if (status)
        goto out;
    driver_leave(driver);
    look(import, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
    same = import->exchanged && same_pixels(surface, &view);
    if (!same)
        format_copy(surface->format, surface->width, surface->height, view.bytes, view.layout,
                    import->bytes, &import->layout);
    look(import, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);
    pthread_mutex_lock(&driver->lock);
    if (!same && surface->host == host && !inband_wrote(driver, surface, &view))
        import->exchanged = true;
    surface_view_end(&view);
out:
    let_go(driver, surface, host);
    return status;
}
