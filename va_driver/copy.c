/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "driver.h"

/*
 * Copies between images and surfaces of the 8-bit 4:2:0 formats. A chroma plane is a sequence of
 * rows of samples `step` bytes apart; planar has step 1, NV12 has step 2.
 */

struct chroma {
    uint8_t *row;
    uint32_t pitch, step;
};

static bool is_420(const struct format_info *format)
{
    return format->rt_format == VA_RT_FORMAT_YUV420 && format->sample_bytes == 1;
}

bool copy_possible(const struct format_info *from, const struct format_info *to)
{
    return from == to || (is_420(from) && is_420(to));
}

static struct chroma chroma_of(const struct copy_picture *p, int v, uint32_t x, uint32_t y)
{
    struct chroma c;

    if (p->format->planes == 2) {
        c.step = 2;
        c.pitch = p->layout->pitch[1];
        c.row = p->bytes + p->layout->offset[1] + v;
    } else {
        int plane = 1 + (p->format->swap_uv ? !v : v);

        c.step = 1;
        c.pitch = p->layout->pitch[plane];
        c.row = p->bytes + p->layout->offset[plane];
    }
    c.row += (size_t)y * c.pitch + (size_t)x * c.step;
    return c;
}

static void copy_rows(uint8_t *to, uint32_t to_pitch, const uint8_t *from, uint32_t from_pitch,
                      uint32_t bytes, uint32_t rows)
{
    for (uint32_t y = 0; y < rows; y++)
        memmove(to + (size_t)y * to_pitch, from + (size_t)y * from_pitch, bytes);
}

static void copy_samples(const struct chroma *to, const struct chroma *from, uint32_t count,
                         uint32_t rows)
{
    for (uint32_t y = 0; y < rows; y++) {
        uint8_t *t = to->row + (size_t)y * to->pitch;
        const uint8_t *f = from->row + (size_t)y * from->pitch;

        for (uint32_t i = 0; i < count; i++)
            t[(size_t)i * to->step] = f[(size_t)i * from->step];
    }
}

void copy_rectangle(const struct copy_picture *to, uint32_t to_x, uint32_t to_y,
                    const struct copy_picture *from, uint32_t from_x, uint32_t from_y,
                    uint32_t width, uint32_t height)
{
    /* Chroma of the pixels touched; a rectangle at odd places shares its border samples. */
    uint32_t columns = (to_x % 2 + width + 1) / 2;
    uint32_t rows = (to_y % 2 + height + 1) / 2;
    uint32_t limit_x = (from->width + 1) / 2 - from_x / 2;
    uint32_t limit_y = (from->height + 1) / 2 - from_y / 2;

    copy_rows(to->bytes + to->layout->offset[0] + (size_t)to_y * to->layout->pitch[0] + to_x,
              to->layout->pitch[0],
              from->bytes + from->layout->offset[0] + (size_t)from_y * from->layout->pitch[0] +
                  from_x,
              from->layout->pitch[0], width, height);
    if (columns > limit_x)
        columns = limit_x;
    if (rows > limit_y)
        rows = limit_y;
    for (int v = 0; v < 2; v++) {
        struct chroma t = chroma_of(to, v, to_x / 2, to_y / 2);
        struct chroma f = chroma_of(from, v, from_x / 2, from_y / 2);

        if (t.step == 1 && f.step == 1)
            copy_rows(t.row, t.pitch, f.row, f.pitch, columns, rows);
        else if (t.step == 2 && f.step == 2 && v == 0)
            copy_rows(t.row, t.pitch, f.row, f.pitch, columns * 2, rows);
        else if (t.step != f.step)
            copy_samples(&t, &f, columns, rows);
    }
}
