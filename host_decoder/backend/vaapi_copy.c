/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <viaduct/errors.h>

#include "../convert.h"
#include "vaapi_work.h"

/*
 * Pictures from elsewhere, on the device. Software decodes into planes of samples, which GPUs
 * rarely read: there they become what those read instead.
 */

static const struct {
    uint32_t fourcc, instead;
    struct convert_samples samples;
} copy_formats[] = {
    {VA_FOURCC_I420, VA_FOURCC_NV12, {.bits = 8, .planes = 3, .shift_w = 1, .shift_h = 1}},
    {VA_FOURCC_YV12, VA_FOURCC_NV12, {.bits = 8, .planes = 3, .shift_w = 1, .shift_h = 1}},
    {VA_FOURCC_I010, VA_FOURCC_P010, {.bits = 10, .planes = 3, .shift_w = 1, .shift_h = 1}},
};
#define COPY_FORMATS (sizeof(copy_formats) / sizeof(copy_formats[0]))

/* A driver that lists nothing is asked by making a surface. */
static bool takes(const struct vaapi_work *self, uint32_t fourcc)
{
    for (uint32_t i = 0; i < self->format_count; i++) {
        if (format_find(self->formats[i]) == format_find(fourcc))
            return true;
    }
    return !self->format_count;
}

/* A surface that was used before, if there is one of this shape. */
static int take(struct vaapi_work *self, const struct pixels *shape, struct vaapi_surface **ret)
{
    for (size_t i = 0; i < VAAPI_SPARE; i++) {
        struct vaapi_surface *spare = self->spare[i];

        if (!spare || spare->format != shape->format || spare->width != shape->width ||
            spare->height != shape->height)
            continue;
        self->spare[i] = NULL;
        *ret = spare;
        return 0;
    }
    for (size_t i = 0; i < VAAPI_SPARE; i++)
        vaapi_work_drop(&self->spare[i]);
    return vaapi_surface_make(self->device, self->info.pool, shape, ret);
}

static int write_as(struct vaapi_work *self, const struct pixels *pixels,
                    struct vaapi_surface **ret_copy)
{
    int err = take(self, pixels, ret_copy);

    return err ? err : vaapi_surface_write(*ret_copy, pixels);
}

static void copy_rows(const struct pixels *from, int plane, const struct pixels *to, int to_plane)
{
    const uint32_t rows = format_rows(from->format, plane, from->height);
    const uint32_t bytes = format_row_bytes(from->format, plane, from->width);

    for (uint32_t y = 0; y < rows; y++)
        memcpy(to->bytes + to->layout->offset[to_plane] + (size_t)y * to->layout->pitch[to_plane],
               from->bytes + from->layout->offset[plane] + (size_t)y * from->layout->pitch[plane],
               bytes);
}

static int convert(const struct pixels *from, const struct convert_samples *samples,
                   const struct pixels *to)
{
    const struct convert_way *way = convert_find(samples, to->format->fourcc);
    struct convert_source source;

    if (!way)
        return VD_ERR_UNSUPPORTED;
    for (int i = 0; i < CONVERT_MAX_PLANES; i++) {
        int plane = i && from->format->swap_uv ? CONVERT_MAX_PLANES - i : i;

        source.plane[i] = from->bytes + from->layout->offset[plane];
        source.stride[i] = from->layout->pitch[plane];
        if (way->plane[i] != CONVERT_BESIDE)
            copy_rows(from, plane, to, way->plane[i]);
    }
    convert_run(way, samples, &source, to->format, to->layout, to->bytes, to->width, to->height);
    return 0;
}

int vaapi_copy(struct vaapi_work *self, const struct pixels *pixels,
               struct vaapi_surface **ret_copy)
{
    struct format_layout layout;
    struct pixels other = *pixels;
    void *memory;
    size_t i = 0;
    int err;

    while (i < COPY_FORMATS && copy_formats[i].fourcc != pixels->format->fourcc)
        i++;
    if (i == COPY_FORMATS || takes(self, pixels->format->fourcc) ||
        !takes(self, copy_formats[i].instead))
        return write_as(self, pixels, ret_copy);
    other.format = format_find(copy_formats[i].instead);
    other.layout = &layout;
    err = format_layout(other.format, other.width, other.height, &layout);
    if (!err)
        err = pool_alloc(self->info.pool, layout.size, &memory);
    if (err)
        return err;
    other.bytes = memory;
    err = convert(pixels, &copy_formats[i].samples, &other);
    if (!err)
        err = write_as(self, &other, ret_copy);
    pool_free(memory);
    return err;
}
