/* SPDX-License-Identifier: MIT */
#ifndef HOST_POOL_PRIVATE_H
#define HOST_POOL_PRIVATE_H

#include "pool.h"
#include "surface_read.h"

/* What pool.c (memory) and surface.c (surfaces) share. */

struct range {
    uint64_t offset, size;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t ready; /* a surface_read is */
    struct arena *arena;
    struct account account;
    struct backing *backings[VD_MAX_BACKINGS];
    uint32_t count;   /* entries of backings ever used */
    int mapped;       /* 0 to POOL_MAPPED */
    uint32_t fetches; /* that nobody asked for */
    /* Free ranges of the frame zone, sorted by offset, never adjacent. */
    struct range *ranges;
    size_t range_count, range_room;
};

/* pool_get with the lock held. */
int pool_get_locked(struct surface *surface, struct backing **ret_backing);

#endif
