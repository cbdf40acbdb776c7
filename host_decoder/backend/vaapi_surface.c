/* SPDX-License-Identifier: MIT */
#include "vaapi.h"

#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

/* Where the planes of an image are, if the image is what the surface needs. */
static int image_layout(const struct surface *surface, const VAImage *image,
                        struct format_layout *ret_layout)
{
    const struct format_info *format = surface->format;

    if (format_find(image->format.fourcc) != format || image->num_planes != format->planes ||
        image->width < surface->width || image->height < surface->height)
        return VD_ERR_UNSUPPORTED;
    return format_layout_given(format, surface->width, surface->height, image->pitches,
                               image->offsets, image->data_size, ret_layout);
}

/* Copies an image to memory laid out like the surface's, or from there, or makes it black. */
static int use_image(struct vaapi_device *device, const struct surface *surface,
                     const VAImage *image, uint8_t *to, const uint8_t *from)
{
    struct format_layout layout;
    void *bytes;
    int err = image_layout(surface, image, &layout);

    if (err)
        return err;
    err = vaapi_error(vaMapBuffer(device->display, image->buf, &bytes));
    if (err)
        return err;
    if (to) {
        format_copy(surface->format, surface->width, surface->height, to, &surface->layout, bytes,
                    &layout);
    } else if (from) {
        format_copy(surface->format, surface->width, surface->height, bytes, &layout, from,
                    &surface->layout);
    } else {
        /* Any one colour does. */
        memset(bytes, 0, image->data_size);
    }
    vaUnmapBuffer(device->display, image->buf);
    return 0;
}

/* An image of the surface's kind that nobody uses; one is made if there is room for it. */
static struct vaapi_image *image_take(struct vaapi_device *device, const struct surface *surface)
{
    const VAImageFormat *format = vaapi_image_format(device, surface->format->fourcc);
    struct vaapi_image *image = NULL;

    if (!format)
        return NULL;
    pthread_mutex_lock(&device->lock);
    for (int i = 0; i < VAAPI_IMAGES; i++) {
        struct vaapi_image *one = &device->images[i];

        if (one->busy)
            continue;
        if (!image)
            image = one;
        if (one->va.image_id != VA_INVALID_ID && one->va.format.fourcc == format->fourcc &&
            one->va.width == surface->width && one->va.height == surface->height) {
            image = one;
            break;
        }
    }
    if (image)
        image->busy = true;
    pthread_mutex_unlock(&device->lock);
    if (!image)
        return NULL;
    if (image->va.image_id != VA_INVALID_ID && image->va.format.fourcc == format->fourcc &&
        image->va.width == surface->width && image->va.height == surface->height)
        return image;
    if (image->va.image_id != VA_INVALID_ID)
        vaDestroyImage(device->display, image->va.image_id);
    if (vaCreateImage(device->display, (VAImageFormat *)(uintptr_t)format, (int)surface->width,
                      (int)surface->height, &image->va))
        image->va.image_id = VA_INVALID_ID;
    return image;
}

static void image_give(struct vaapi_device *device, struct vaapi_image *image)
{
    pthread_mutex_lock(&device->lock);
    if (image)
        image->busy = false;
    pthread_mutex_unlock(&device->lock);
}

/* The surface's own memory, for drivers that cannot copy it. */
static int use_derived(const struct vaapi_surface *native, const struct surface *surface,
                       uint8_t *to, const uint8_t *from)
{
    VADisplay display = native->device->display;
    VAImage image;
    int err = vaapi_error(vaDeriveImage(display, native->id, &image));

    if (err)
        return err;
    err = use_image(native->device, surface, &image, to, from);
    vaDestroyImage(display, image.image_id);
    return err;
}

/* device_frame_ops.fetch. Copies first: derived memory is slow to read on most GPUs. */
static int surface_fetch(struct device_frame *frame, const struct surface *surface, uint8_t *bytes)
{
    struct vaapi_surface *native = (struct vaapi_surface *)frame;
    VADisplay display = native->device->display;
    struct vaapi_image *image;
    int err = VD_ERR_UNSUPPORTED;

    vaSyncSurface(display, native->id);
    image = image_take(native->device, surface);
    if (image && image->va.image_id != VA_INVALID_ID) {
        err = vaapi_error(vaGetImage(display, native->id, 0, 0, surface->width, surface->height,
                                     image->va.image_id));
        if (!err)
            err = use_image(native->device, surface, &image->va, bytes, NULL);
    }
    image_give(native->device, image);
    if (err)
        err = use_derived(native, surface, bytes, NULL);
    if (err)
        log_debug("vaapi: surface %#x cannot be read: %s", (unsigned)surface->id, errors_text(err));
    return err;
}

static void surface_free(struct device_frame *frame)
{
    struct vaapi_surface *native = (struct vaapi_surface *)frame;
    struct vaapi_lent lent;

    vaapi_lent_open(native, &lent);
    vaDestroySurfaces(native->device->display, &native->id, 1);
    vaapi_lent_close(native->device, &lent);
    free(native);
}

/* Writes a picture, or black (`from` NULL). */
static int put(const struct vaapi_surface *native, const struct surface *surface,
               const uint8_t *from)
{
    VADisplay display = native->device->display;
    struct vaapi_image *image = image_take(native->device, surface);
    int err = VD_ERR_UNSUPPORTED;

    if (image && image->va.image_id != VA_INVALID_ID) {
        err = use_image(native->device, surface, &image->va, NULL, from);
        if (!err)
            err = vaapi_error(vaPutImage(display, native->id, image->va.image_id, 0, 0,
                                         surface->width, surface->height, 0, 0, surface->width,
                                         surface->height));
    }
    image_give(native->device, image);
    return err ? use_derived(native, surface, NULL, from) : 0;
}

/* device_frame_ops.store */
static int surface_store(struct device_frame *frame, const struct surface *surface,
                         const uint8_t *bytes)
{
    return put((const struct vaapi_surface *)frame, surface, bytes);
}

static const struct device_frame_ops surface_ops = {
    .fetch = surface_fetch,
    .free = surface_free,
    .store = surface_store,
    .export = vaapi_surface_export,
};

int vaapi_surface_get(struct vaapi_device *device, struct surface *surface,
                      struct vaapi_surface **ret_surface)
{
    struct vaapi_surface *native = (struct vaapi_surface *)surface->native;
    VASurfaceAttrib format = {
        .type = VASurfaceAttribPixelFormat,
        .flags = VA_SURFACE_ATTRIB_SETTABLE,
        .value = {.type = VAGenericValueTypeInteger, .value = {.i = (int)surface->format->fourcc}},
    };
    int err;

    if (native && native->frame.ops == &surface_ops && native->device == device) {
        *ret_surface = native;
        return 0;
    }
    native = calloc(1, sizeof(*native));
    if (!native)
        return VD_ERR_MEMORY;
    native->pool = surface->pool;
    vaapi_lent_sweep(device, false);
    /* What a driver takes is not told; it is no less than what we would take. */
    err = pool_take(surface->pool, surface->layout.size);
    if (err)
        goto fail_native;
    native->bytes = surface->layout.size;
    err = vaapi_error(vaCreateSurfaces(device->display, surface->format->rt_format, surface->width,
                                       surface->height, &native->id, 1, &format, 1));
    if (err)
        goto fail_memory;
    native->device = device;
    native->frame.ops = &surface_ops;
    atomic_store(&native->frame.refs, 1);
    /* Drivers that write no surface show whole pictures of the decoder only (nvidia's). */
    if (put(native, surface, NULL))
        log_debug("vaapi: a new surface cannot be cleared");
    surface_set_native(surface, &native->frame);
    *ret_surface = native;
    return 0;
fail_memory:
    pool_give(native->pool, native->bytes);
fail_native:
    free(native);
    return err;
}

int vaapi_surface_native(void *device, struct surface *surface)
{
    struct vaapi_surface *native;

    return vaapi_surface_get(device, surface, &native);
}

void vaapi_surface_finish(struct vaapi_device *device)
{
    for (int i = 0; i < VAAPI_IMAGES; i++) {
        if (device->images[i].va.image_id != VA_INVALID_ID)
            vaDestroyImage(device->display, device->images[i].va.image_id);
        device->images[i].va.image_id = VA_INVALID_ID;
    }
}
