/* SPDX-License-Identifier: MIT */
#ifndef HOST_PLANES_H
#define HOST_PLANES_H

#include "convert.h"
#include "pool.h"

/*
 * Where a software decoder writes a picture: into the surface's backing where the surface's
 * format is what it writes, else into private planes that stay with the backing (the picture may
 * be a reference for long) and are converted when the picture is complete.
 */
struct planes {
    uint8_t *data[CONVERT_MAX_PLANES];
    uint32_t pitch[CONVERT_MAX_PLANES]; /* multiples of 64 */
};

/*
 * Planes for a picture of `width` x `height` samples (coded size) in `backing`. The decoder may
 * touch `room_width` x `room_height`: never less than the size aligned to 64. Plane starts are
 * aligned to 64. Any thread; the backing is the caller's.
 * -VD_ERR_UNSUPPORTED: no way from these samples into the surface's format. -VD_ERR_RESOLUTION:
 * the surface is too small. -VD_ERR_LIMIT, -VD_ERR_MEMORY.
 */
int planes_place(const struct surface *surface, struct backing *backing,
                 const struct convert_samples *samples, uint32_t width, uint32_t height,
                 uint32_t room_width, uint32_t room_height, struct planes *ret_planes);
/* The picture is complete: brings it into the surface's format, as often as it is called. */
void planes_finish(const struct surface *surface, const struct backing *backing);
/* planes_place failed, or the picture goes elsewhere: nothing is left to convert. */
void planes_forget(struct backing *backing);
/*
 * How planes lie that are no surface's. Pitches are those of a surface of this width, since some
 * decoders want the same for all pictures.
 */
void planes_layout(const struct convert_samples *samples, uint32_t width, uint32_t height,
                   struct format_layout *ret_layout);

#endif
