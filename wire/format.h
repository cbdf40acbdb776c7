/* SPDX-License-Identifier: MIT */
#ifndef WIRE_FORMAT_H
#define WIRE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Surface formats and the layout of frame memory, which is part of the protocol: both ends
 * compute it from (fourcc, width, height) and never tell each other.
 */

#define FORMAT_MAX_PLANES 3

struct format_plane {
    uint8_t samples; /* interleaved samples a pixel column: 2 for the UV plane of NV12 */
    uint8_t shift_w; /* log2 of the horizontal subsampling */
    uint8_t shift_h; /* log2 of the vertical subsampling */
};

struct format_info {
    uint32_t fourcc;
    uint32_t rt_format;
    uint8_t sample_bytes;
    uint8_t bits_per_pixel;
    uint8_t planes;
    uint8_t swap_uv; /* V comes before U */
    struct format_plane plane[FORMAT_MAX_PLANES];
    const char *name;
};

/*
 * Where the planes of a frame lie, in bytes from its start. `rows` counts allocated rows, which
 * leave room for a decoder that writes whole blocks and two rows more (format_align_height).
 */
struct format_layout {
    uint32_t pitch[FORMAT_MAX_PLANES];
    uint32_t offset[FORMAT_MAX_PLANES];
    uint32_t rows[FORMAT_MAX_PLANES];
    uint64_t size; /* multiple of the page size */
};

/* NULL if the protocol does not know the fourcc. */
const struct format_info *format_find(uint32_t fourcc);
/* The i-th row of the table, NULL behind the last. */
const struct format_info *format_at(size_t index);
/* Layout of a frame. 0, or -VD_ERR_RESOLUTION for sizes outside 1..VD_MAX_SURFACE_SIZE. */
int format_layout(const struct format_info *format, uint32_t width, uint32_t height,
                  struct format_layout *ret_layout);
/*
 * Layout of memory that somebody else shaped. 0, or -VD_ERR_PARAMETER unless every plane has room
 * for its rows inside `size` bytes.
 */
int format_layout_given(const struct format_info *format, uint32_t width, uint32_t height,
                        const uint32_t *pitch, const uint32_t *offset, uint64_t size,
                        struct format_layout *ret_layout);
/*
 * The size that a layout has memory for, in pixels: whole blocks of any codec, and the two rows
 * more that libavcodec asks for (avcodec_align_dimensions2).
 */
uint32_t format_align_width(uint32_t width);
uint32_t format_align_height(uint32_t height);
/* Copies the visible rows of all planes between two layouts of one format. */
void format_copy(const struct format_info *format, uint32_t width, uint32_t height, uint8_t *to,
                 const struct format_layout *to_layout, const uint8_t *from,
                 const struct format_layout *from_layout);
/* Bytes of one row, and rows, of a plane of a picture of this size, without padding. */
uint32_t format_row_bytes(const struct format_info *format, int plane, uint32_t width);
uint32_t format_rows(const struct format_info *format, int plane, uint32_t height);

#endif
