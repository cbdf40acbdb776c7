/* SPDX-License-Identifier: MIT */
#ifndef HOST_WORK_H
#define HOST_WORK_H

#include "collect_encode.h"
#include "collect_proc.h"
#include "context.h"

/*
 * SUBMIT to a context that encodes or processes: from buffer references to a job's work whose reads
 * have begun. The session's thread.
 */

struct work_setup {
    const struct arena *arena;
    struct block_pool *blocks;
    struct collect_encode *collect; /* reused from picture to picture */
    collect_find_surface find;
    void *find_arg;
};

/*
 * Errors as in collect_picture; the block's reference is the caller's. A picture that an encoder
 * refuses has a block and work, too, if there is memory: it waits for its input.
 */
int work_collect(const struct work_setup *setup, struct context *context, struct surface *surface,
                 const struct vd_buffer_ref *refs, uint32_t count, struct block **ret_block,
                 struct backend_work **ret_work);
/* A job that is not submitted after all: ends its reads. */
void work_drop(struct backend_work *work);

#endif
