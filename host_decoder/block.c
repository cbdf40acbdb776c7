/* SPDX-License-Identifier: MIT */
#include "block.h"

#include <stdlib.h>
#include <viaduct/errors.h>

#include "pool.h"

/* Blocks kept for reuse; more are freed when they come back. */
#define BLOCK_KEPT 96

struct block_pool {
    struct pool *account;
    pthread_mutex_t lock;
    struct block *idle;
    int idle_count;
    int refs; /* the owner and every block in use */
};

struct block_pool *block_pool_create(struct pool *account)
{
    struct block_pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pool->account = account;
    pool->refs = 1;
    return pool;
}

static void block_free(struct block *block)
{
    pool_free(block->bytes);
    free(block);
}

/* Called with the lock held; releases it. */
static void pool_unref_locked(struct block_pool *pool)
{
    int refs = --pool->refs;

    pthread_mutex_unlock(&pool->lock);
    if (refs)
        return;
    while (pool->idle) {
        struct block *next = pool->idle->next;

        block_free(pool->idle);
        pool->idle = next;
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void block_pool_destroy(struct block_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool_unref_locked(pool);
}

void block_pool_trim(struct block_pool *pool)
{
    struct block *idle;

    pthread_mutex_lock(&pool->lock);
    idle = pool->idle;
    pool->idle = NULL;
    pool->idle_count = 0;
    pthread_mutex_unlock(&pool->lock);
    while (idle) {
        struct block *next = idle->next;

        block_free(idle);
        idle = next;
    }
}

static int block_grow(struct block_pool *pool, struct block *block, size_t size)
{
    /* A quarter more, so that a stream of growing pictures settles soon. */
    size_t room = (size + size / 4 + 4095) & ~(size_t)4095;
    void *bytes;
    int err;

    pool_free(block->bytes);
    block->bytes = NULL;
    block->room = 0;
    err = pool_alloc(pool->account, room, &bytes);
    if (err == VD_ERR_LIMIT) {
        /* What is kept counts, too: a client at its limit keeps nothing. */
        block_pool_trim(pool);
        err = pool_alloc(pool->account, room, &bytes);
    }
    if (err)
        return err;
    block->bytes = bytes;
    block->room = room;
    return 0;
}

int block_get(struct block_pool *pool, size_t size, struct block **ret_block)
{
    struct block *block;
    int err = 0;

    pthread_mutex_lock(&pool->lock);
    block = pool->idle;
    if (block) {
        pool->idle = block->next;
        pool->idle_count--;
    }
    pool->refs++;
    pthread_mutex_unlock(&pool->lock);
    if (!block)
        block = calloc(1, sizeof(*block));
    if (!block)
        err = VD_ERR_MEMORY;
    else if (block->room < size)
        err = block_grow(pool, block, size);
    if (err) {
        free(block);
        pthread_mutex_lock(&pool->lock);
        pool_unref_locked(pool);
        return err;
    }
    block->pool = pool;
    atomic_store(&block->refs, 1);
    *ret_block = block;
    return 0;
}

struct block *block_ref(struct block *block)
{
    atomic_fetch_add(&block->refs, 1);
    return block;
}

void block_unref(struct block **ref)
{
    struct block *block = *ref;
    struct block_pool *pool;

    *ref = NULL;
    if (!block || atomic_fetch_sub(&block->refs, 1) != 1)
        return;
    pool = block->pool;
    pthread_mutex_lock(&pool->lock);
    if (pool->idle_count < BLOCK_KEPT) {
        block->next = pool->idle;
        pool->idle = block;
        pool->idle_count++;
        block = NULL;
    }
    pool_unref_locked(pool);
    if (block)
        block_free(block);
}
