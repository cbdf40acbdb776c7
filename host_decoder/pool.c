/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "pool_private.h"

/* Large frames start on huge pages, small ones on pages. */
#define POOL_HUGE (2ull << 20)

int pool_create(struct arena *arena, uint64_t max_bytes, struct pool **ret_pool)
{
    struct pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        return VD_ERR_MEMORY;
    pool->range_room = 16;
    pool->ranges = calloc(pool->range_room, sizeof(*pool->ranges));
    if (!pool->ranges) {
        free(pool);
        return VD_ERR_MEMORY;
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->ready, NULL);
    pool->arena = arena;
    pool->account.most = max_bytes < arena->frame_size ? max_bytes : arena->frame_size;
    pool->ranges[0] = (struct range){arena->frame_offset, arena->frame_size};
    pool->range_count = 1;
    *ret_pool = pool;
    return 0;
}

void pool_destroy(struct pool *pool)
{
    if (!pool)
        return;
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pool->backings[i])
            pool_free(pool->backings[i]->side);
        free(pool->backings[i]);
    }
    free(pool->ranges);
    pthread_cond_destroy(&pool->ready);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

uint64_t pool_bytes(struct pool *pool)
{
    return atomic_load(&pool->account.bytes);
}

int pool_take(struct pool *pool, uint64_t bytes)
{
    int err = account_take(&pool->account, bytes);

    if (err) {
        pool_trim(pool);
        err = account_take(&pool->account, bytes);
    }
    return err;
}

void pool_give(struct pool *pool, uint64_t bytes)
{
    account_give(&pool->account, bytes);
}

int pool_alloc(struct pool *pool, size_t size, void **ret_memory)
{
    int err = account_alloc(pool ? &pool->account : NULL, size, ret_memory);

    if (err == VD_ERR_LIMIT) {
        pool_trim(pool);
        err = account_alloc(&pool->account, size, ret_memory);
    }
    return err;
}

void pool_free(void *memory)
{
    account_free(memory);
}

/* First fit. The lock is held here and below in all static functions. */
static int range_take(struct pool *pool, uint64_t size, uint64_t *ret_offset)
{
    uint64_t align = size >= POOL_HUGE ? POOL_HUGE : 4096;

    for (size_t i = 0; i < pool->range_count; i++) {
        struct range *r = &pool->ranges[i];
        uint64_t start = (r->offset + align - 1) / align * align;
        uint64_t skip = start - r->offset;
        uint64_t behind;

        if (skip > r->size || size > r->size - skip)
            continue;
        behind = r->size - skip - size;
        if (skip && behind) {
            if (pool->range_count == pool->range_room) {
                struct range *grown = realloc(pool->ranges, 2 * pool->range_room * sizeof(*grown));

                if (!grown)
                    return VD_ERR_MEMORY;
                pool->ranges = grown;
                pool->range_room *= 2;
                r = &pool->ranges[i];
            }
            memmove(r + 2, r + 1, (pool->range_count - i - 1) * sizeof(*r));
            r[1] = (struct range){start + size, behind};
            r->size = skip;
            pool->range_count++;
        } else if (skip) {
            r->size = skip;
        } else if (behind) {
            *r = (struct range){start + size, behind};
        } else {
            memmove(r, r + 1, (pool->range_count - i - 1) * sizeof(*r));
            pool->range_count--;
        }
        *ret_offset = start;
        return 0;
    }
    return VD_ERR_LIMIT;
}

static void range_give(struct pool *pool, uint64_t offset, uint64_t size)
{
    size_t i = 0;
    struct range *r;

    while (i < pool->range_count && pool->ranges[i].offset < offset)
        i++;
    r = &pool->ranges[i];
    if (i > 0 && r[-1].offset + r[-1].size == offset) {
        r[-1].size += size;
        if (i < pool->range_count && r[-1].offset + r[-1].size == r->offset) {
            r[-1].size += r->size;
            memmove(r, r + 1, (pool->range_count - i - 1) * sizeof(*r));
            pool->range_count--;
        }
        return;
    }
    if (i < pool->range_count && offset + size == r->offset) {
        r->offset = offset;
        r->size += size;
        return;
    }
    if (pool->range_count == pool->range_room) {
        struct range *grown = realloc(pool->ranges, 2 * pool->range_room * sizeof(*grown));

        if (!grown)
            return; /* this piece of the zone stays unused until the client ends */
        pool->ranges = grown;
        pool->range_room *= 2;
        r = &pool->ranges[i];
    }
    memmove(r + 1, r, (pool->range_count - i) * sizeof(*r));
    *r = (struct range){offset, size};
    pool->range_count++;
}

static bool backing_free(const struct pool *pool, const struct backing *b)
{
    return b->used && !b->refs &&
           !__atomic_load_n(&pool->arena->status->backings[b->index].pins, __ATOMIC_ACQUIRE);
}

static void backing_drop(struct pool *pool, struct backing *b)
{
    arena_discard(pool->arena, b->offset, b->size);
    range_give(pool, b->offset, b->size);
    pool_give(pool, b->size);
    pool_free(b->side);
    b->side = NULL;
    b->side_size = 0;
    b->used = false;
}

static void trim_locked(struct pool *pool)
{
    for (uint32_t i = 0; i < pool->count; i++) {
        if (backing_free(pool, pool->backings[i]))
            backing_drop(pool, pool->backings[i]);
    }
}

void pool_trim(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    trim_locked(pool);
    pthread_mutex_unlock(&pool->lock);
}

static int backing_make(struct pool *pool, uint64_t size, struct backing **ret_backing)
{
    struct backing *b = NULL;
    uint32_t i;
    int err;

    err = account_take(&pool->account, size);
    if (err) {
        trim_locked(pool);
        err = account_take(&pool->account, size);
    }
    if (err)
        return err;
    for (i = 0; i < pool->count && pool->backings[i]->used; i++)
        ;
    if (i == VD_MAX_BACKINGS)
        err = VD_ERR_LIMIT;
    if (!err && i == pool->count) {
        b = calloc(1, sizeof(*b));
        if (b)
            pool->backings[pool->count++] = b;
        else
            err = VD_ERR_MEMORY;
    }
    if (err)
        goto fail;
    b = pool->backings[i];
    err = range_take(pool, size, &b->offset);
    if (err) {
        /* What is free may lie in pieces. */
        trim_locked(pool);
        err = range_take(pool, size, &b->offset);
    }
    if (err)
        goto fail;
    b->pool = pool;
    b->index = i;
    b->size = size;
    b->bytes = pool->arena->base + b->offset;
    b->refs = 0;
    b->used = true;
    pool->arena->status->backings[i].offset = b->offset;
    *ret_backing = b;
    return 0;
fail:
    pool_give(pool, size);
    return err;
}

int pool_get_locked(struct surface *surface, struct backing **ret_backing)
{
    struct pool *pool = surface->pool;
    int err;

    for (uint32_t i = 0; i < pool->count; i++) {
        struct backing *b = pool->backings[i];

        if (b->used && b->size == surface->layout.size && backing_free(pool, b)) {
            b->refs = 1;
            *ret_backing = b;
            return 0;
        }
    }
    err = backing_make(pool, surface->layout.size, ret_backing);
    if (!err)
        (*ret_backing)->refs = 1;
    return err;
}

int pool_get(struct surface *surface, struct backing **ret_backing)
{
    int err;

    pthread_mutex_lock(&surface->pool->lock);
    err = pool_get_locked(surface, ret_backing);
    pthread_mutex_unlock(&surface->pool->lock);
    return err;
}

struct backing *pool_ref(struct backing *backing)
{
    pthread_mutex_lock(&backing->pool->lock);
    backing->refs++;
    pthread_mutex_unlock(&backing->pool->lock);
    return backing;
}

void pool_unref(struct backing **ref)
{
    struct backing *backing = *ref;

    *ref = NULL;
    if (!backing)
        return;
    pthread_mutex_lock(&backing->pool->lock);
    backing->refs--;
    pthread_mutex_unlock(&backing->pool->lock);
}
