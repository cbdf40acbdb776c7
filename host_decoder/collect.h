/* SPDX-License-Identifier: MIT */
#ifndef HOST_COLLECT_H
#define HOST_COLLECT_H

#include <stdbool.h>
#include <stdint.h>
#include <transport/arena.h>
#include <viaduct/codecs.h>

#include "bitstream/bitstream.h"
#include "block.h"

/*
 * From the buffer references of SUBMIT to private, checked parameter structs and slices: the only
 * place that reads the upload zone. It copies first, then checks the copies, so a guest that
 * changes the memory meanwhile gains nothing.
 */

/* Reused from picture to picture; grows to the largest seen. */
struct collect {
    struct va_picture picture;
    uint8_t *params;
    size_t param_room;
    struct va_copy *copies;
    uint32_t copy_room;
    struct va_slice *slices;
    uint32_t slice_room;
    struct collect_data *data;
    uint32_t data_room;
};

/* Whether a surface id names a surface of this client. */
typedef bool (*collect_surface_known)(void *arg, uint32_t id);

/*
 * Fills collect->picture (head, slices, params, copies) in memory of `collect` and of `*ret_block`
 * (one reference, the caller's), with `gap` bytes free in front of every slice.
 * -VD_ERR_PROTOCOL: a reference lies outside the upload zone, end the session.
 * -VD_ERR_PARAMETER, -VD_ERR_LIMIT: what the app sent makes no picture; this one is lost.
 */
int collect_picture(struct collect *collect, const struct arena *arena,
                    const struct vd_buffer_ref *refs, uint32_t count, enum vd_codec codec,
                    size_t gap, struct block_pool *blocks, collect_surface_known known,
                    void *known_arg, struct block **ret_block);
void collect_finish(struct collect *collect);

#endif
