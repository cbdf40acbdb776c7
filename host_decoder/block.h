/* SPDX-License-Identifier: MIT */
#ifndef HOST_BLOCK_H
#define HOST_BLOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

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

/* `account`: whose memory blocks count as (pool.h), NULL: nobody's. NULL if out of memory. */
struct block_pool *block_pool_create(struct pool *account);
/* Blocks in use keep the pool alive until the last is returned; `account` must be there as long. */
void block_pool_destroy(struct block_pool *pool);
/* Frees what is kept for reuse. */
void block_pool_trim(struct block_pool *pool);
/* A block with at least `size` bytes and one reference. 0, -VD_ERR_LIMIT, -VD_ERR_MEMORY. */
int block_get(struct block_pool *pool, size_t size, struct block **ret_block);
struct block *block_ref(struct block *block);
/* Drops a reference and clears the pointer; NULL is fine. */
void block_unref(struct block **block);

#endif
