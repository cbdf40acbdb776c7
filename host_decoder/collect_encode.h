/* SPDX-License-Identifier: MIT */
#ifndef HOST_COLLECT_ENCODE_H
#define HOST_COLLECT_ENCODE_H

#include <transport/arena.h>
#include <viaduct/codecs.h>

#include "backend.h"
#include "block.h"

/*
 * From the buffer references of SUBMIT to what an encoder's codec reads, like collect.h: copies
 * first, then checks the copies.
 */

/* Reused from picture to picture; grows to the largest seen. */
struct collect_encode {
    struct encode_picture picture;
    struct encode_misc misc[VD_MAX_MISC];
    struct encode_header headers[VD_MAX_HEADERS];
    uint8_t *bytes; /* copies of parameters */
    size_t room;
    const void **slices;
    uint32_t slice_room;
};

/*
 * Fills collect->picture but for what the context knows, and makes a block (one reference, the
 * caller's) with the work of the job: its request is zeroed, its one read has no surface yet, the
 * headers' bytes are in it. Errors as in collect_picture.
 */
int collect_encode(struct collect_encode *collect, const struct arena *arena,
                   const struct vd_buffer_ref *refs, uint32_t count, enum vd_codec codec,
                   struct block_pool *blocks, struct block **ret_block,
                   struct backend_work **ret_work, struct encode_request **ret_request);
/*
 * For back ends that take the buffers as they are: a block with the work of the job, and a copy of
 * each buffer but the coded one, in order; elements of slices one by one. Errors as above.
 */
int collect_buffers(const struct arena *arena, const struct vd_buffer_ref *refs, uint32_t count,
                    enum vd_codec codec, struct block_pool *blocks, struct block **ret_block,
                    struct backend_work **ret_work);
void collect_encode_finish(struct collect_encode *collect);

#endif
