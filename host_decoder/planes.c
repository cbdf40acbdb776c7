/* SPDX-License-Identifier: MIT */
#include "planes.h"

#include <string.h>
#include <viaduct/errors.h>

/* A coded size is a surface's size in whole coding blocks, HEVC's largest at most. */
#define PLANES_BLOCK 64u

/* What backing->side holds; the planes are behind it. */
struct side {
    const struct convert_way *way; /* NULL: nothing to convert */
    struct convert_samples samples;
    struct format_layout layout; /* offsets from the start of the side memory */
    uint32_t width, height;      /* of the picture */
};

#define SIDE_HEADER ((uint32_t)(sizeof(struct side) + 63) & ~63u)

static uint32_t align_up(uint32_t value, uint32_t to)
{
    return (value + to - 1) / to * to;
}

static uint32_t row_bytes(const struct convert_samples *samples, int plane, uint32_t width)
{
    uint8_t shift = plane ? samples->shift_w : 0;

    return ((width + (1u << shift) - 1) >> shift) * (samples->bits > 8 ? 2 : 1);
}

static uint32_t row_count(const struct convert_samples *samples, int plane, uint32_t height)
{
    uint8_t shift = plane ? samples->shift_h : 0;

    return (height + (1u << shift) - 1) >> shift;
}

/* As format_layout does it, for planes that are no VA format. `skip` leaves planes out. */
static void lay_out(const struct convert_samples *samples, uint32_t width, uint32_t height,
                    const bool *skip, struct format_layout *ret_layout)
{
    struct format_layout layout = {0};

    for (int i = 0; i < samples->planes; i++) {
        if (skip && skip[i])
            continue;
        layout.pitch[i] = align_up(row_bytes(samples, i, format_align_width(width)), 64);
        layout.rows[i] = row_count(samples, i, format_align_height(height));
        layout.offset[i] = (uint32_t)layout.size;
        layout.size += (uint64_t)layout.pitch[i] * layout.rows[i] + 64;
    }
    *ret_layout = layout;
}

void planes_layout(const struct convert_samples *samples, uint32_t width, uint32_t height,
                   struct format_layout *ret_layout)
{
    lay_out(samples, width, height, NULL, ret_layout);
}

/* Room for the header and `bytes` of planes. What a broken picture leaves out is grey or black. */
static int side_make(struct backing *backing, uint64_t bytes, struct side **ret_side)
{
    size_t size = SIDE_HEADER + (size_t)bytes;
    void *memory;
    int err;

    if (backing->side_size < size) {
        pool_free(backing->side);
        backing->side = NULL;
        backing->side_size = 0;
        err = pool_alloc(backing->pool, size, &memory);
        if (err)
            return err;
        memset(memory, 0, SIDE_HEADER);
        memset((uint8_t *)memory + SIDE_HEADER, 128, size - SIDE_HEADER);
        backing->side = memory;
        backing->side_size = size;
    }
    *ret_side = backing->side;
    return 0;
}

void planes_forget(struct backing *backing)
{
    struct side *side = backing->side;

    if (side)
        side->way = NULL;
}

int planes_place(const struct surface *surface, struct backing *backing,
                 const struct convert_samples *samples, uint32_t width, uint32_t height,
                 uint32_t room_width, uint32_t room_height, struct planes *ret_planes)
{
    const struct convert_way *way = convert_find(samples, surface->format->fourcc);
    const struct format_layout *layout = &surface->layout;
    bool direct[CONVERT_MAX_PLANES] = {false};
    struct planes planes = {0};
    struct format_layout beside;
    struct side *side;
    int err;

    planes_forget(backing);
    if (!way)
        return VD_ERR_UNSUPPORTED;
    if (width > align_up(surface->width, PLANES_BLOCK) ||
        height > align_up(surface->height, PLANES_BLOCK) || room_width < width ||
        room_height < height || room_width > VD_MAX_SURFACE_SIZE + PLANES_BLOCK ||
        room_height > VD_MAX_SURFACE_SIZE + PLANES_BLOCK)
        return VD_ERR_RESOLUTION;
    for (int i = 0; i < samples->planes; i++) {
        int to = way->plane[i];

        if (to == CONVERT_BESIDE)
            continue;
        if (row_bytes(samples, i, room_width) > layout->pitch[to] ||
            row_count(samples, i, room_height) > layout->rows[to])
            return VD_ERR_RESOLUTION;
        direct[i] = true;
        planes.data[i] = backing->bytes + layout->offset[to];
        planes.pitch[i] = layout->pitch[to];
    }
    if (way->run) {
        /* Pitches follow the surface, as those of direct planes do. */
        lay_out(samples, room_width > surface->width ? room_width : surface->width, room_height,
                direct, &beside);
        err = side_make(backing, beside.size, &side);
        if (err)
            return err;
        *side = (struct side){way, *samples, beside, width, height};
        for (int i = 0; i < samples->planes; i++) {
            if (direct[i])
                continue;
            planes.data[i] = (uint8_t *)side + SIDE_HEADER + beside.offset[i];
            planes.pitch[i] = beside.pitch[i];
        }
    }
    *ret_planes = planes;
    return 0;
}

void planes_finish(const struct surface *surface, const struct backing *backing)
{
    const struct side *side = backing->side;
    struct convert_source from = {0};
    uint32_t width, height;

    if (!side || !side->way || side->way->fourcc != surface->format->fourcc)
        return;
    for (int i = 0; i < side->samples.planes; i++) {
        from.plane[i] = (const uint8_t *)side + SIDE_HEADER + side->layout.offset[i];
        from.stride[i] = side->layout.pitch[i];
    }
    width = side->width < surface->width ? side->width : surface->width;
    height = side->height < surface->height ? side->height : surface->height;
    convert_run(side->way, &side->samples, &from, surface->format, &surface->layout, backing->bytes,
                width, height);
}
