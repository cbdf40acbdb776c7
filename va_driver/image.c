/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "driver.h"

/*
 * Images.
 *
 * vaDeriveImage shows a surface's memory itself. vaGetImage of a whole surface in its own format
 * copies nothing either: the image becomes a private view of the surface's memory
 * (copy-on-write pages), pinned so that the next picture goes elsewhere. What the app writes
 * into such an image is its own; before the surface's memory is written in place (vaPutImage,
 * vaDeriveImage), views of it get a copy.
 */

/*
 * Whether the app wrote into its private view: then some page of it is no longer the file's
 * (Documentation/admin-guide/mm/pagemap.rst: bit 63 present, bit 62 swapped, bit 61 file page).
 * Asking costs a few microseconds; dropping the view costs a page fault a page at the next one.
 */
static bool snapshot_written(const struct image *image)
{
    uint64_t entries[512];
    uint64_t page = (uintptr_t)image->bytes / 4096, left = image->layout.size / 4096;

    if (image->view.host->pagemap < 0)
        return true;
    while (left) {
        uint64_t n = left < 512 ? left : 512;
        size_t bytes = n * sizeof(entries[0]);

        if (pread(image->view.host->pagemap, entries, bytes, (off_t)(page * sizeof(entries[0]))) !=
            (ssize_t)bytes)
            return true;
        for (uint64_t i = 0; i < n; i++) {
            if (entries[i] >> 62 && !(entries[i] >> 61 & 1))
                return true;
        }
        page += n;
        left -= n;
    }
    return false;
}

static void drop_memory(struct image *image)
{
    switch (image->memory) {
    case IMAGE_HEAP:
        free(image->bytes);
        break;
    case IMAGE_SNAPSHOT:
        /* Pages the app wrote to are its own: drop them, or the next view shows them. */
        if (image->touched && snapshot_written(image))
            madvise(image->bytes, image->layout.size, MADV_DONTNEED);
        surface_view_end(&image->view);
        break;
    case IMAGE_DERIVED:
        surface_view_end(&image->view);
        break;
    case IMAGE_NONE:
        break;
    }
    image->memory = IMAGE_NONE;
    image->bytes = NULL;
    image->touched = false;
}

void image_finish(void *owner, struct object *object)
{
    struct driver *driver = owner;
    struct image *image = (struct image *)object;

    drop_memory(image);
    if (image->surface) {
        image->surface->derived--;
        object_unref(&driver->surfaces, image->surface);
    }
}

uint8_t *image_bytes(struct image *image)
{
    if (image->memory == IMAGE_NONE) {
        /* Aligned like frame memory, and zero: an image never shows old heap. */
        if (posix_memalign((void **)&image->bytes, 4096, image->layout.size)) {
            image->bytes = NULL;
            return NULL;
        }
        memset(image->bytes, 0, image->layout.size);
        image->memory = IMAGE_HEAP;
    }
    image->touched = true;
    return image->bytes;
}

int image_separate(struct driver *driver, struct host *host, uint32_t backing)
{
    for (uint32_t i = 0; i < driver->images.used; i++) {
        struct image *image = object_at(&driver->images, i);
        uint8_t *copy;

        if (!image || image->memory != IMAGE_SNAPSHOT || image->view.host != host ||
            image->view.backing != backing)
            continue;
        if (image->buffer->mapped)
            continue; /* the app holds the pointer: it must stay */
        if (posix_memalign((void **)&copy, 4096, image->layout.size))
            return VD_ERR_MEMORY;
        memcpy(copy, image->bytes, image->layout.size);
        drop_memory(image);
        image->bytes = copy;
        image->memory = IMAGE_HEAP;
    }
    return 0;
}

/* Masks of packed RGB are those of the pixel as a word; the fourcc spells its bytes in memory. */
static void fill_format(const struct format_info *format, VAImageFormat *ret_format)
{
    VAImageFormat f = {
        .fourcc = format->fourcc,
        .byte_order = VA_LSB_FIRST,
        .bits_per_pixel = format->bits_per_pixel,
    };

    for (int i = 0; i < 4 && format->rt_format == VA_RT_FORMAT_RGB32; i++) {
        uint32_t mask = UINT32_C(0xff) << (8 * i);

        switch (format->fourcc >> (8 * i) & 0xff) {
        case 'R':
            f.red_mask = mask;
            break;
        case 'G':
            f.green_mask = mask;
            break;
        case 'B':
            f.blue_mask = mask;
            break;
        case 'A':
            f.alpha_mask = mask;
            break;
        }
        f.depth = f.alpha_mask ? 32 : 24;
    }
    *ret_format = f;
}

VAStatus driver_QueryImageFormats(VADriverContextP ctx, VAImageFormat *list, int *count)
{
    int n = 0;

    (void)ctx;
    if (!list || !count)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    for (; format_at((size_t)n); n++)
        fill_format(format_at((size_t)n), &list[n]);
    *count = n;
    return VA_STATUS_SUCCESS;
}

/* An image object with its buffer object, shaped `like` a surface if given. Lock held. */
static VAStatus make_image(struct driver *driver, const struct format_info *format, uint32_t width,
                           uint32_t height, const struct format_layout *like,
                           struct image **ret_image)
{
    struct format_layout layout;
    struct image *image;
    struct buffer *buffer;

    if (like)
        layout = *like;
    else if (format_layout(format, width, height, &layout))
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    image = object_create(&driver->images);
    if (!image)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    buffer = object_create(&driver->buffers);
    if (!buffer) {
        object_remove(&driver->images, image);
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    buffer->type = VAImageBufferType;
    buffer->size = (uint32_t)layout.size;
    buffer->count = buffer->max_count = 1;
    buffer->memory = BUFFER_IMAGE;
    buffer->image = image;
    image->buffer = buffer;
    image->format = format;
    image->layout = layout;
    image->va.image_id = image->object.id;
    fill_format(format, &image->va.format);
    image->va.buf = buffer->object.id;
    image->va.width = (uint16_t)width;
    image->va.height = (uint16_t)height;
    image->va.data_size = (uint32_t)layout.size;
    image->va.num_planes = format->planes;
    for (int i = 0; i < format->planes; i++) {
        image->va.pitches[i] = layout.pitch[i];
        image->va.offsets[i] = layout.offset[i];
    }
    *ret_image = image;
    return VA_STATUS_SUCCESS;
}

static void destroy_image(struct driver *driver, struct image *image)
{
    object_remove(&driver->buffers, image->buffer);
    object_remove(&driver->images, image);
}

VAStatus driver_CreateImage(VADriverContextP ctx, VAImageFormat *va_format, int width, int height,
                            VAImage *ret_image)
{
    const struct format_info *format;
    struct driver *driver;
    struct image *image;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    if (!va_format || !ret_image || width <= 0 || height <= 0) {
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
    } else {
        format = format_find(va_format->fourcc);
        status = format
                     ? make_image(driver, format, (uint32_t)width, (uint32_t)height, NULL, &image)
                     : VA_STATUS_ERROR_INVALID_IMAGE_FORMAT;
    }
    if (!status)
        *ret_image = image->va;
    driver_leave(driver);
    return status;
}

VAStatus driver_DestroyImage(VADriverContextP ctx, VAImageID id)
{
    struct driver *driver;
    struct image *image;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    image = object_find(&driver->images, id);
    if (image)
        destroy_image(driver, image);
    else
        status = VA_STATUS_ERROR_INVALID_IMAGE;
    driver_leave(driver);
    return status;
}

/* Errors of a picture that is not there do not keep an app from looking at the surface. */
static VAStatus settle(struct driver *driver, struct surface *surface)
{
    VAStatus status = surface_wait(driver, surface, VA_TIMEOUT_INFINITE);

    if (status == VA_STATUS_ERROR_DECODING_ERROR || status == VA_STATUS_ERROR_ENCODING_ERROR)
        status = VA_STATUS_SUCCESS;
    return status;
}

VAStatus driver_DeriveImage(VADriverContextP ctx, VASurfaceID id, VAImage *ret_image)
{
    struct driver *driver;
    struct surface *surface;
    struct image *image;
    struct surface_view view;
    VAStatus status = driver_enter(ctx, &driver);
    int err;

    if (status)
        return status;
    surface = object_find(&driver->surfaces, id);
    if (!surface || !ret_image) {
        status = surface ? VA_STATUS_ERROR_INVALID_PARAMETER : VA_STATUS_ERROR_INVALID_SURFACE;
        goto out;
    }
    object_ref(surface);
    status = settle(driver, surface);
    /* The app may write through it. */
    if (!status)
        status = surface_wait_readers(driver, surface);
    if (status)
        goto out_surface;
    err = surface_view(driver, surface, &view);
    if (err) {
        status = driver_status(err);
        goto out_surface;
    }
    status =
        make_image(driver, surface->format, surface->width, surface->height, view.layout, &image);
    if (status) {
        surface_view_end(&view);
        goto out_surface;
    }
    image->memory = IMAGE_DERIVED;
    image->view = view;
    image->bytes = view.bytes;
    image->surface = object_ref(surface);
    surface->derived++;
    /* The app may write through it. */
    image_separate(driver, view.host, view.backing);
    *ret_image = image->va;
out_surface:
    object_unref(&driver->surfaces, surface);
out:
    driver_leave(driver);
    return status;
}

/* The private mapping of the frame zone that views of surfaces lie in. */
static uint8_t *snapshot_base(struct host *host)
{
    /* A device's memory cannot be mapped so that it is copied when it is written to. */
    if (host->link && !host->mirror)
        return NULL;
    if (!host->snapshot) {
        void *base =
            arena_view(host->arena.fd, host->arena.frame_offset, host->arena.frame_size, true);

        if (!base)
            return NULL;
        madvise(base, host->arena.frame_size, MADV_HUGEPAGE);
        /* Without it every view is dropped after use: slower, not wrong. */
        host->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        madvise(base, host->arena.frame_size, MADV_DONTFORK);
        host->snapshot = base;
    }
    return host->snapshot;
}

static bool whole_surface(const struct surface *surface, const struct image *image, int x, int y,
                          uint32_t width, uint32_t height)
{
    return !x && !y && width == surface->width && height == surface->height &&
           image->va.width == width && image->va.height == height &&
           image->format == surface->format && image->memory != IMAGE_DERIVED &&
           !image->buffer->mapped;
}

VAStatus driver_GetImage(VADriverContextP ctx, VASurfaceID surface_id, int x, int y, unsigned width,
                         unsigned height, VAImageID image_id)
{
    struct copy_picture from, to;
    struct driver *driver;
    struct surface *surface;
    struct image *image;
    struct surface_view view;
    VAStatus status = driver_enter(ctx, &driver);
    int err;

    if (status)
        return status;
    surface = object_find(&driver->surfaces, surface_id);
    image = object_find(&driver->images, image_id);
    if (!surface || !image) {
        status = surface ? VA_STATUS_ERROR_INVALID_IMAGE : VA_STATUS_ERROR_INVALID_SURFACE;
        goto out;
    }
    if (x < 0 || y < 0 || !width || !height || width > surface->width || height > surface->height ||
        (uint32_t)x > surface->width - width || (uint32_t)y > surface->height - height ||
        width > image->va.width || height > image->va.height) {
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
        goto out;
    }
    if (!copy_possible(surface->format, image->format)) {
        status = VA_STATUS_ERROR_INVALID_IMAGE_FORMAT;
        goto out;
    }
    object_ref(surface);
    object_ref(image);
    status = settle(driver, surface);
    if (status)
        goto out_refs;
    err = surface_view(driver, surface, &view);
    if (err) {
        status = driver_status(err);
        goto out_refs;
    }
    surface_view_seen(&view);
    if (view.host && whole_surface(surface, image, x, y, width, height) &&
        !(view.host->mirror && mirror_guest_shared(view.host->mirror, view.backing)) &&
        snapshot_base(view.host)) {
        drop_memory(image);
        image->memory = IMAGE_SNAPSHOT;
        image->bytes = view.host->snapshot + (view.offset - view.host->arena.frame_offset);
        image->view = view; /* with its pin */
        goto out_refs;
    }
    to = (struct copy_picture){image->format, &image->layout, image_bytes(image), image->va.width,
                               image->va.height};
    from = (struct copy_picture){surface->format, view.layout, view.bytes, surface->width,
                                 surface->height};
    if (!to.bytes) {
        status = VA_STATUS_ERROR_ALLOCATION_FAILED;
    } else {
        driver_leave(driver);
        copy_rectangle(&to, 0, 0, &from, (uint32_t)x, (uint32_t)y, width, height);
        pthread_mutex_lock(&driver->lock);
    }
    surface_view_end(&view);
out_refs:
    object_unref(&driver->images, image);
    object_unref(&driver->surfaces, surface);
out:
    driver_leave(driver);
    return status;
}

VAStatus driver_PutImage(VADriverContextP ctx, VASurfaceID surface_id, VAImageID image_id,
                         int src_x, int src_y, unsigned src_width, unsigned src_height, int dest_x,
                         int dest_y, unsigned dest_width, unsigned dest_height)
{
    struct copy_picture from, to;
    struct driver *driver;
    struct surface *surface;
    struct image *image;
    struct surface_view view;
    VAStatus status = driver_enter(ctx, &driver);
    int err;

    if (status)
        return status;
    surface = object_find(&driver->surfaces, surface_id);
    image = object_find(&driver->images, image_id);
    if (!surface || !image)
        status = surface ? VA_STATUS_ERROR_INVALID_IMAGE : VA_STATUS_ERROR_INVALID_SURFACE;
    else if (src_width != dest_width || src_height != dest_height)
        status = VA_STATUS_ERROR_UNIMPLEMENTED; /* scaling is video processing */
    else if (surface->exported_device)
        status = VA_STATUS_ERROR_UNIMPLEMENTED; /* what others see is no memory of ours */
    else if (src_x < 0 || src_y < 0 || dest_x < 0 || dest_y < 0 || !src_width || !src_height ||
             src_width > image->va.width || src_height > image->va.height ||
             (uint32_t)src_x > image->va.width - src_width ||
             (uint32_t)src_y > image->va.height - src_height || dest_width > surface->width ||
             dest_height > surface->height || (uint32_t)dest_x > surface->width - dest_width ||
             (uint32_t)dest_y > surface->height - dest_height)
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
    else if (!copy_possible(image->format, surface->format))
        status = VA_STATUS_ERROR_INVALID_IMAGE_FORMAT;
    if (status)
        goto out;
    object_ref(surface);
    object_ref(image);
    status = settle(driver, surface);
    if (!status)
        status = surface_wait_readers(driver, surface);
    if (status)
        goto out_refs;
    err = surface_view(driver, surface, &view);
    if (err) {
        status = driver_status(err);
        goto out_refs;
    }
    surface_view_seen(&view);
    if (image_separate(driver, view.host, view.backing) || !image_bytes(image)) {
        status = VA_STATUS_ERROR_ALLOCATION_FAILED;
        goto out_pin;
    }
    from = (struct copy_picture){image->format, &image->layout, image->bytes, image->va.width,
                                 image->va.height};
    to = (struct copy_picture){surface->format, view.layout, view.bytes, surface->width,
                               surface->height};
    driver_leave(driver);
    copy_rectangle(&to, (uint32_t)dest_x, (uint32_t)dest_y, &from, (uint32_t)src_x, (uint32_t)src_y,
                   src_width, src_height);
    pthread_mutex_lock(&driver->lock);
    surface->uploaded = true;
    status = driver_status(inband_wrote(driver, surface, &view));
out_pin:
    surface_view_end(&view);
out_refs:
    object_unref(&driver->images, image);
    object_unref(&driver->surfaces, surface);
out:
    driver_leave(driver);
    return status;
}
