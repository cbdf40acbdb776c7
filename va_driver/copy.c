/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "driver.h"

/*
 * Copies between images and surfaces: of one format, or between those 4:2:0 formats that differ in
 * the order of samples only. A picture is a few components, each rows of samples `step` bytes
 * apart: planar Y has step 1, the U of NV12 has step 2. Packed pixels with all their samples in
 * them are one component.
 */

#define COPY_MAX_COMPONENTS 3

struct component {
    uint8_t plane, offset, bytes, step; /* offset of the first sample, sizes in bytes */
    uint8_t shift_w, shift_h;           /* log2 of the subsampling */
};

static bool packed_422(const struct format_info *format)
{
    return format->planes == 1 && format->plane[0].shift_w == 1;
}

/* Y, U, V, or all in one. Returns how many. */
static int components_of(const struct format_info *format, struct component *c)
{
    const uint8_t bytes = format->sample_bytes;

    if (packed_422(format)) {
        /* U Y V Y, or Y U Y V. */
        uint8_t y = format->fourcc == VA_FOURCC_UYVY ? bytes : 0, u = (uint8_t)(bytes - y);

        c[0] = (struct component){0, y, bytes, (uint8_t)(2 * bytes), 0, 0};
        c[1] = (struct component){0, u, bytes, (uint8_t)(4 * bytes), 1, 0};
        c[2] = (struct component){0, (uint8_t)(u + 2 * bytes), bytes, (uint8_t)(4 * bytes), 1, 0};
        return 3;
    }
    if (format->planes == 1) {
        uint8_t pixel = (uint8_t)(format->plane[0].samples * bytes);

        c[0] = (struct component){0, 0, pixel, pixel, 0, 0};
        return 1;
    }
    for (uint8_t i = 0; i < 3; i++) {
        uint8_t plane = format->planes == 2 && i == 2 ? 1 : i;
        const struct format_plane *p;

        if (format->swap_uv && i > 0)
            plane = 3 - i;
        p = &format->plane[plane];
        c[i] = (struct component){.plane = plane,
                                  .offset = (uint8_t)(i == 2 && format->planes == 2 ? bytes : 0),
                                  .bytes = bytes,
                                  .step = (uint8_t)(p->samples * bytes),
                                  .shift_w = p->shift_w,
                                  .shift_h = p->shift_h};
    }
    return 3;
}

/* Zero bits below a sample: P010 has its ten bits at the top of the word, I010 at the bottom. */
static int low_bits(const struct format_info *format)
{
    return format->fourcc == VA_FOURCC_P010 ? 6 : 0;
}

static bool is_420(const struct format_info *format)
{
    return format->rt_format == VA_RT_FORMAT_YUV420 || format->rt_format == VA_RT_FORMAT_YUV420_10;
}

bool copy_possible(const struct format_info *from, const struct format_info *to)
{
    return from == to || (is_420(from) && from->rt_format == to->rt_format);
}

/* Samples that stand alone: `bytes` is 1 or 2 here. `up` shifts them, to the right if negative. */
static void copy_samples(uint8_t *to, const uint8_t *from, const struct component *t,
                         const struct component *f, uint32_t count, int up)
{
    if (t->bytes == 1) {
        for (uint32_t i = 0; i < count; i++)
            to[(size_t)i * t->step] = from[(size_t)i * f->step];
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint16_t sample;

        memcpy(&sample, from + (size_t)i * f->step, 2);
        sample = (uint16_t)(up < 0 ? sample >> -up : sample << up);
        memcpy(to + (size_t)i * t->step, &sample, 2);
    }
}

/* Part of one component: the first sample in samples, how many, how many rows. */
struct part {
    uint32_t to_x, to_y, from_x, from_y, columns, rows;
};

static void copy_component(const struct copy_picture *to, const struct component *t,
                           const struct copy_picture *from, const struct component *f,
                           const struct part *part)
{
    const bool whole = t->step == t->bytes && f->step == f->bytes;
    const int up = low_bits(to->format) - low_bits(from->format);
    const struct format_layout *tl = to->layout, *fl = from->layout;
    uint8_t *to_row = to->bytes + tl->offset[t->plane] + t->offset +
                      (size_t)part->to_y * tl->pitch[t->plane] + (size_t)part->to_x * t->step;
    const uint8_t *from_row = from->bytes + fl->offset[f->plane] + f->offset +
                              (size_t)part->from_y * fl->pitch[f->plane] +
                              (size_t)part->from_x * f->step;

    for (uint32_t y = 0; y < part->rows; y++) {
        if (whole && !up)
            memmove(to_row, from_row, (size_t)part->columns * t->bytes);
        else
            copy_samples(to_row, from_row, t, f, part->columns, up);
        to_row += tl->pitch[t->plane];
        from_row += fl->pitch[f->plane];
    }
}

/* A plane of interleaved samples is copied as it is if its columns are not torn apart. */
static int join(const struct format_info *format, const struct part *luma, struct component *c)
{
    const uint8_t bytes = format->sample_bytes;

    if (packed_422(format) && (luma->to_x | luma->from_x | luma->columns) % 2 == 0) {
        c[0] = (struct component){0, 0, (uint8_t)(4 * bytes), (uint8_t)(4 * bytes), 1, 0};
        return 1;
    }
    if (format->planes == 2) {
        c[1].bytes = c[1].step;
        return 2;
    }
    return 3;
}

static uint32_t shifted(uint32_t size, uint8_t shift)
{
    return (size + (1u << shift) - 1) >> shift;
}

void copy_rectangle(const struct copy_picture *to, uint32_t to_x, uint32_t to_y,
                    const struct copy_picture *from, uint32_t from_x, uint32_t from_y,
                    uint32_t width, uint32_t height)
{
    const struct part whole = {to_x, to_y, from_x, from_y, width, height};
    struct component t[COPY_MAX_COMPONENTS], f[COPY_MAX_COMPONENTS];
    int count = components_of(to->format, t);

    components_of(from->format, f);
    if (to->format == from->format && count == 3) {
        count = join(to->format, &whole, t);
        join(from->format, &whole, f);
    }
    for (int i = 0; i < count; i++) {
        /* Chroma of the pixels touched; a rectangle at odd places shares its border samples. */
        const uint32_t mask_w = (1u << t[i].shift_w) - 1, mask_h = (1u << t[i].shift_h) - 1;
        struct part part = {
            .to_x = to_x >> t[i].shift_w,
            .to_y = to_y >> t[i].shift_h,
            .from_x = from_x >> f[i].shift_w,
            .from_y = from_y >> f[i].shift_h,
            .columns = shifted((to_x & mask_w) + width, t[i].shift_w),
            .rows = shifted((to_y & mask_h) + height, t[i].shift_h),
        };
        uint32_t limit_x = shifted(from->width, f[i].shift_w) - part.from_x;
        uint32_t limit_y = shifted(from->height, f[i].shift_h) - part.from_y;

        if (part.columns > limit_x)
            part.columns = limit_x;
        if (part.rows > limit_y)
            part.rows = limit_y;
        copy_component(to, &t[i], from, &f[i], &part);
    }
}
