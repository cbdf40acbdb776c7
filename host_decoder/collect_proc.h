/* SPDX-License-Identifier: MIT */
#ifndef HOST_COLLECT_PROC_H
#define HOST_COLLECT_PROC_H

#include <transport/arena.h>

#include "backend.h"
#include "block.h"

/*
 * From the buffer references of SUBMIT to pipelines of video processing, like collect.h: copies
 * first, then checks the copies. One reference is one struct vd_proc_pipeline with its filters.
 */

/* The surface of this id or NULL. */
typedef struct surface *(*collect_find_surface)(void *arg, uint32_t id);

/*
 * A block (one reference, the caller's) with the work of the job: the pipelines, and a read for
 * each picture (and for what `target` holds, if that may show through), whose surface is set but
 * which has not begun (no reference is taken). Errors as in collect_picture; -VD_ERR_ID: a surface
 * that is not there.
 */
int collect_proc(const struct arena *arena, const struct vd_buffer_ref *refs, uint32_t count,
                 struct block_pool *blocks, struct surface *target, collect_find_surface find,
                 void *find_arg, struct block **ret_block, struct backend_work **ret_work);

#endif
