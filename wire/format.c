/* SPDX-License-Identifier: MIT */
#include "format.h"

#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <viaduct/limits.h>

#define FORMAT_PAGE 4096u
/* AVX-512 loads of decoders want 64. */
#define FORMAT_PITCH_ALIGN 64u
/* AV1's largest blocks, which dav1d writes whole; HEVC's and VP9's are 64. */
#define FORMAT_BLOCK 128u

static const struct format_info format_table[] = {
#define VD_FORMAT(name, rt, bytes, bpp, planes, s0, w0, h0, s1, w1, h1, s2, w2, h2, swap) \
    {VA_FOURCC_##name,                                                                    \
     VA_RT_FORMAT_##rt,                                                                   \
     (bytes),                                                                             \
     (bpp),                                                                               \
     (planes),                                                                            \
     (swap),                                                                              \
     {{s0, w0, h0}, {s1, w1, h1}, {s2, w2, h2}},                                          \
     #name},
#include <viaduct/formats.def>
};

#define FORMAT_COUNT (sizeof(format_table) / sizeof(format_table[0]))

static uint32_t align_up(uint32_t value, uint32_t to)
{
    return (value + to - 1) / to * to;
}

const struct format_info *format_find(uint32_t fourcc)
{
    /* IYUV is the other name of I420. */
    if (fourcc == VA_FOURCC_IYUV)
        fourcc = VA_FOURCC_I420;
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        if (format_table[i].fourcc == fourcc)
            return &format_table[i];
    }
    return NULL;
}

const struct format_info *format_at(size_t index)
{
    return index < FORMAT_COUNT ? &format_table[index] : NULL;
}

uint32_t format_row_bytes(const struct format_info *format, int plane, uint32_t width)
{
    const struct format_plane *p = &format->plane[plane];

    return ((width + (1u << p->shift_w) - 1) >> p->shift_w) * p->samples * format->sample_bytes;
}

uint32_t format_rows(const struct format_info *format, int plane, uint32_t height)
{
    uint32_t shift = format->plane[plane].shift_h;

    return (height + (1u << shift) - 1) >> shift;
}

uint32_t format_align_width(uint32_t width)
{
    return align_up(width, FORMAT_BLOCK);
}

uint32_t format_align_height(uint32_t height)
{
    return align_up(height, FORMAT_BLOCK) + 2;
}

int format_layout(const struct format_info *format, uint32_t width, uint32_t height,
                  struct format_layout *ret_layout)
{
    struct format_layout layout = {0};
    uint64_t offset = 0;
    uint32_t aligned_w, aligned_h;

    if (!width || !height || width > VD_MAX_SURFACE_SIZE || height > VD_MAX_SURFACE_SIZE)
        return VD_ERR_RESOLUTION;
    aligned_w = format_align_width(width);
    aligned_h = format_align_height(height);
    for (int i = 0; i < format->planes; i++) {
        layout.pitch[i] = align_up(format_row_bytes(format, i, aligned_w), FORMAT_PITCH_ALIGN);
        layout.rows[i] = format_rows(format, i, aligned_h);
        layout.offset[i] = (uint32_t)offset;
        /* Planes start on cache lines; libavcodec may read a little past the last row. */
        offset += (uint64_t)layout.pitch[i] * layout.rows[i] + FORMAT_PITCH_ALIGN;
    }
    layout.size = (offset + FORMAT_PAGE - 1) / FORMAT_PAGE * FORMAT_PAGE;
    *ret_layout = layout;
    return 0;
}

int format_layout_given(const struct format_info *format, uint32_t width, uint32_t height,
                        const uint32_t *pitch, const uint32_t *offset, uint64_t size,
                        struct format_layout *ret_layout)
{
    struct format_layout layout = {.size = size};

    for (int i = 0; i < format->planes; i++) {
        uint32_t bytes = format_row_bytes(format, i, width);
        uint64_t rows = format_rows(format, i, height);

        if (pitch[i] < bytes || offset[i] > size ||
            (rows - 1) * pitch[i] + bytes > size - offset[i])
            return VD_ERR_PARAMETER;
        layout.pitch[i] = pitch[i];
        layout.offset[i] = offset[i];
        layout.rows[i] = (uint32_t)rows;
    }
    *ret_layout = layout;
    return 0;
}

void format_copy(const struct format_info *format, uint32_t width, uint32_t height, uint8_t *to,
                 const struct format_layout *to_layout, const uint8_t *from,
                 const struct format_layout *from_layout)
{
    for (int i = 0; i < format->planes; i++) {
        uint32_t bytes = format_row_bytes(format, i, width);
        uint32_t rows = format_rows(format, i, height);

        for (uint32_t y = 0; y < rows; y++)
            memcpy(to + to_layout->offset[i] + (size_t)y * to_layout->pitch[i],
                   from + from_layout->offset[i] + (size_t)y * from_layout->pitch[i], bytes);
    }
}
