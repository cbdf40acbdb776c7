/* SPDX-License-Identifier: MIT */
#ifndef HOST_BLOCK_H
#define HOST_BLOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Reference-counted private memory for one picture's bitstream, recycled: no allocation in the
 * steady state. References may be dropped on any thread (decoder threads keep packets).
 */
struct block_pool;

struct block {
    struct block_pool *pool;
    struct block *next;
    atomic_int refs;
    uint8_t *bytes;
    size_t room;
};

/* NULL if out of memory. */
struct block_pool *block_pool_create(void);
/* Blocks in use keep the pool alive until the last is returned. */
void block_pool_destroy(struct block_pool *pool);
/* A block with at least `size` bytes and one reference, or NULL. */
struct block *block_get(struct block_pool *pool, size_t size);
struct block *block_ref(struct block *block);
/* Drops a reference and clears the pointer; NULL is fine. */
void block_unref(struct block **block);

#endif
