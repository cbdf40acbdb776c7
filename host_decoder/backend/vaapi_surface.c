/* SPDX-License-Identifier: MIT */
#include "vaapi.h"

#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

enum direction { FROM_DEVICE, TO_DEVICE };

/* The picture of a surface in memory laid out like the surface; NULL: black. */
static struct pixels pixels_of(const struct surface *surface, const uint8_t *bytes)
{
    return (struct pixels){
        .format = surface->format,
        .layout = &surface->layout,
        .bytes = (uint8_t *)(uintptr_t)bytes,
        .width = surface->width,
        .height = surface->height,
    };
}

/* Where the planes of an image are, if the image is what the picture needs. */
static int image_layout(const struct pixels *p, const VAImage *image,
                        struct format_layout *ret_layout)
{
    if (format_find(image->format.fourcc) != p->format || image->num_planes != p->format->planes ||
        image->width < p->width || image->height < p->height)
        return VD_ERR_UNSUPPORTED;
    return format_layout_given(p->format, p->width, p->height, image->pitches, image->offsets,
                               image->data_size, ret_layout);
}

/* Copies an image to memory, or from there, or makes it black. */
static int use_image(struct vaapi_device *device, const struct pixels *p, const VAImage *image,
                     enum direction direction)
{
    struct format_layout layout;
    void *bytes;
    int err = image_layout(p, image, &layout);

    if (err)
        return err;
    err = vaapi_error(vaMapBuffer(device->display, image->buf, &bytes));
    if (err)
        return err;
    if (direction == FROM_DEVICE) {
        format_copy(p->format, p->width, p->height, p->bytes, p->layout, bytes, &layout);
    } else if (p->bytes) {
        format_copy(p->format, p->width, p->height, bytes, &layout, p->bytes, p->layout);
    } else {
        /* Any one colour does. */
        memset(bytes, 0, image->data_size);
    }
    vaUnmapBuffer(device->display, image->buf);
    return 0;
}

/* An image of the picture's kind that nobody uses; one is made if there is room for it. */
static struct vaapi_image *image_take(struct vaapi_device *device, const struct pixels *p)
{
    const VAImageFormat *format = vaapi_image_format(device, p->format->fourcc);
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
            one->va.width == p->width && one->va.height == p->height) {
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
        image->va.width == p->width && image->va.height == p->height)
        return image;
    if (image->va.image_id != VA_INVALID_ID)
        vaDestroyImage(device->display, image->va.image_id);
    if (vaCreateImage(device->display, (VAImageFormat *)(uintptr_t)format, (int)p->width,
                      (int)p->height, &image->va))
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
static int use_derived(const struct vaapi_surface *native, const struct pixels *p,
                       enum direction direction)
{
    VADisplay display = native->device->display;
    VAImage image;
    int err = vaapi_error(vaDeriveImage(display, native->id, &image));

    if (err)
        return err;
    err = use_image(native->device, p, &image, direction);
    vaDestroyImage(display, image.image_id);
    return err;
}

/* device_frame_ops.fetch. Copies first: derived memory is slow to read on most GPUs. */
static int surface_fetch(struct device_frame *frame, const struct surface *surface, uint8_t *bytes)
{
    struct vaapi_surface *native = (struct vaapi_surface *)frame;
    const struct pixels p = pixels_of(surface, bytes);
    VADisplay display = native->device->display;
    struct vaapi_image *image;
    int err = VD_ERR_UNSUPPORTED;

    vaSyncSurface(display, native->id);
    image = image_take(native->device, &p);
    if (image && image->va.image_id != VA_INVALID_ID) {
        err = vaapi_error(
            vaGetImage(display, native->id, 0, 0, p.width, p.height, image->va.image_id));
        if (!err)
            err = use_image(native->device, &p, &image->va, FROM_DEVICE);
    }
    image_give(native->device, image);
    if (err)
        err = use_derived(native, &p, FROM_DEVICE);
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

int vaapi_surface_write(const struct vaapi_surface *native, const struct pixels *p)
{
    VADisplay display = native->device->display;
    struct vaapi_image *image = image_take(native->device, p);
    int err = VD_ERR_UNSUPPORTED;

    if (image && image->va.image_id != VA_INVALID_ID) {
        err = use_image(native->device, p, &image->va, TO_DEVICE);
        if (!err)
            err = vaapi_error(vaPutImage(display, native->id, image->va.image_id, 0, 0, p->width,
                                         p->height, 0, 0, p->width, p->height));
    }
    image_give(native->device, image);
    return err ? use_derived(native, p, TO_DEVICE) : 0;
}

/* device_frame_ops.store */
static int surface_store(struct device_frame *frame, const struct surface *surface,
                         const uint8_t *bytes)
{
    const struct pixels p = pixels_of(surface, bytes);

    return vaapi_surface_write((const struct vaapi_surface *)frame, &p);
}

static const struct device_frame_ops surface_ops = {
    .fetch = surface_fetch,
    .free = surface_free,
    .store = surface_store,
    .export = vaapi_surface_export,
};

struct vaapi_surface *vaapi_surface_of(const struct vaapi_device *device,
                                       struct device_frame *frame)
{
    struct vaapi_surface *native = (struct vaapi_surface *)frame;

    return native && native->frame.ops == &surface_ops && native->device == device ? native : NULL;
}

int vaapi_surface_make(struct vaapi_device *device, struct pool *pool, const struct pixels *shape,
                       struct vaapi_surface **ret_surface)
{
    struct vaapi_surface *native = calloc(1, sizeof(*native));
    VASurfaceAttrib format = {
        .type = VASurfaceAttribPixelFormat,
        .flags = VA_SURFACE_ATTRIB_SETTABLE,
        .value = {.type = VAGenericValueTypeInteger, .value = {.i = (int)shape->format->fourcc}},
    };
    int err;

    if (!native)
        return VD_ERR_MEMORY;
    native->pool = pool;
    vaapi_lent_sweep(device, false);
    /* What a driver takes is not told; it is no less than what we would take. */
    err = pool_take(pool, shape->layout->size);
    if (err)
        goto fail_native;
    native->bytes = shape->layout->size;
    err = vaapi_error(vaCreateSurfaces(device->display, shape->format->rt_format, shape->width,
                                       shape->height, &native->id, 1, &format, 1));
    if (err)
        goto fail_memory;
    native->device = device;
    native->format = shape->format;
    native->width = shape->width;
    native->height = shape->height;
    native->frame.ops = &surface_ops;
    atomic_store(&native->frame.refs, 1);
    *ret_surface = native;
    return 0;
fail_memory:
    pool_give(pool, native->bytes);
fail_native:
    free(native);
    return err;
}

int vaapi_surface_get(struct vaapi_device *device, struct surface *surface,
                      struct vaapi_surface **ret_surface)
{
    struct vaapi_surface *native = vaapi_surface_of(device, surface->native);
    const struct pixels black = pixels_of(surface, NULL);
    int err = native ? 0 : vaapi_surface_make(device, surface->pool, &black, &native);

    if (err)
        return err;
    if (&native->frame != surface->native) {
        /* Drivers that write no surface show whole pictures of the decoder only (nvidia's). */
        if (vaapi_surface_write(native, &black))
            log_debug("vaapi: a new surface cannot be cleared");
        surface_set_native(surface, &native->frame);
    }
    *ret_surface = native;
    return 0;
}

int vaapi_surface_target(struct vaapi_device *device, struct surface *surface,
                         struct vaapi_surface **ret_surface)
{
    const struct vaapi_surface *native = vaapi_surface_of(device, surface->native);

    if (native && atomic_load(&native->waiting) && surface->exported != surface->native)
        surface_set_native(surface, NULL);
    return vaapi_surface_get(device, surface, ret_surface);
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
