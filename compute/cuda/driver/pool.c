/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "graph.h"
#include "internal.h"

/*
 * Memory in the order of streams. An allocation is made at once; it is freed when its stream
 * comes to that. Pools count; they keep nothing back.
 */

struct CUmemPoolHandle_st {
    int device;
    bool standard; /* the device's own */
    uint64_t used, high, threshold;
    int reuse[3];
};

static struct CUmemPoolHandle_st standards[MAX_DEVICES];
static struct CUmemPoolHandle_st *current[MAX_DEVICES];

/* With the lock. */
static struct CUmemPoolHandle_st *standard(CUdevice device)
{
    struct CUmemPoolHandle_st *p = &standards[device];

    if (!p->standard) {
        p->device = device;
        p->standard = handle_add(p, POOL);
        p->reuse[0] = p->reuse[1] = p->reuse[2] = 1;
        current[device] = p;
    }
    return p;
}

static CUresult allocate(CUdeviceptr *address, size_t size, CUmemoryPool pool, CUstream stream)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);
    struct CUctx_st *c;
    uint64_t at;

    if (err)
        return err;
    c = s->context;
    if (s->capture) {
        CUgraphNodeParams node = {
            .type = CU_GRAPH_NODE_TYPE_MEM_ALLOC,
            .alloc = {.poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                    .location = {CU_MEM_LOCATION_TYPE_DEVICE, c->device}},
                      .bytesize = size}};

        if (!address || (pool && !handle_is(pool, POOL)))
            return leave(CUDA_ERROR_INVALID_VALUE);
        err = capture_node(s, &node);
        if (!err)
            *address = node.alloc.dptr;
        return leave(err);
    }
    standard(c->device);
    if (!pool)
        pool = current[c->device];
    if (!address || !size || !handle_is(pool, POOL))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (size > device_properties(c->device)->memory)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    unlock();
    err = (CUresult)backend->memory_create(c->open, c->backend, size, &at);
    lock();
    if (err)
        return leave(err);
    err = range_add(c, RANGE_POOL, at, size, 0);
    if (err) {
        backend->memory_destroy(c->open, at);
        return leave(err);
    }
    range_find(at)->pool = pool;
    pool->used += size;
    if (pool->used > pool->high)
        pool->high = pool->used;
    *address = at;
    return leave(CUDA_SUCCESS);
}

API cuMemAllocAsync(CUdeviceptr *address, size_t size, CUstream stream)
{
    return allocate(address, size, NULL, stream);
}

API cuMemAllocFromPoolAsync(CUdeviceptr *address, size_t size, CUmemoryPool pool, CUstream stream)
{
    return pool ? allocate(address, size, pool, stream) : CUDA_ERROR_INVALID_VALUE;
}

API cuMemFreeAsync(CUdeviceptr address, CUstream stream)
{
    struct cuda_command command = {.kind = CUDA_FREE, .free = address};
    struct CUstream_st *s;
    struct range *r;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (s->capture) {
        CUgraphNodeParams node = {.type = CU_GRAPH_NODE_TYPE_MEM_FREE, .free = {address}};

        return leave(capture_node(s, &node));
    }
    r = range_find(address);
    if (r && r->kind == RANGE_GRAPH && r->address == address)
        return leave(graph_block_give(r->block));
    if (!r || r->address != address || (r->kind != RANGE_POOL && r->kind != RANGE_DEVICE))
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = stream_submit(s, &command);
    if (!err) {
        if (r->pool && handle_is(r->pool, POOL))
            r->pool->used -= r->size;
        range_remove(r);
    }
    return leave(err);
}

API cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!device_properties(device))
        return leave(CUDA_ERROR_INVALID_DEVICE);
    if (!pool)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *pool = standard(device);
    return leave(CUDA_SUCCESS);
}

API cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!device_properties(device))
        return leave(CUDA_ERROR_INVALID_DEVICE);
    if (!pool)
        return leave(CUDA_ERROR_INVALID_VALUE);
    standard(device);
    *pool = current[device];
    return leave(CUDA_SUCCESS);
}

API cuDeviceSetMemPool(CUdevice device, CUmemoryPool pool)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!device_properties(device))
        return leave(CUDA_ERROR_INVALID_DEVICE);
    if (!handle_is(pool, POOL) || pool->device != device)
        return leave(CUDA_ERROR_INVALID_VALUE);
    standard(device);
    current[device] = pool;
    return leave(CUDA_SUCCESS);
}

API cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *props)
{
    struct CUmemPoolHandle_st *p;
    CUresult err = enter();

    if (err)
        return err;
    if (!pool || !props || props->allocType != CU_MEM_ALLOCATION_TYPE_PINNED ||
        props->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
        !device_properties(props->location.id))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (props->handleTypes != CU_MEM_HANDLE_TYPE_NONE)
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    p = calloc(1, sizeof(*p));
    if (!p || !handle_add(p, POOL)) {
        free(p);
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    }
    p->device = props->location.id;
    p->reuse[0] = p->reuse[1] = p->reuse[2] = 1;
    *pool = p;
    return leave(CUDA_SUCCESS);
}

API cuMemPoolDestroy(CUmemoryPool pool)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(pool, POOL) || pool->standard)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (current[pool->device] == pool)
        current[pool->device] = standard(pool->device);
    handle_remove(pool);
    free(pool);
    return leave(CUDA_SUCCESS);
}

static CUresult enter_pool(CUmemoryPool pool)
{
    CUresult err = enter();

    if (err)
        return err;
    return handle_is(pool, POOL) ? CUDA_SUCCESS : leave(CUDA_ERROR_INVALID_VALUE);
}

API cuMemPoolTrimTo(CUmemoryPool pool, size_t keep)
{
    CUresult err = enter_pool(pool);

    (void)keep;
    return err ? err : leave(CUDA_SUCCESS);
}

API cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    CUresult err = enter_pool(pool);

    if (err)
        return err;
    if (!value)
        return leave(CUDA_ERROR_INVALID_VALUE);
    switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
        *(int *)value = pool->reuse[attribute - 1];
        break;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        *(cuuint64_t *)value = pool->threshold;
        break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
        *(cuuint64_t *)value = pool->used;
        break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        *(cuuint64_t *)value = pool->high;
        break;
    default:
        err = CUDA_ERROR_INVALID_VALUE;
    }
    return leave(err);
}

API cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    CUresult err = enter_pool(pool);

    if (err)
        return err;
    if (!value)
        return leave(CUDA_ERROR_INVALID_VALUE);
    switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
        pool->reuse[attribute - 1] = *(int *)value;
        break;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        pool->threshold = *(cuuint64_t *)value;
        break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        if (*(cuuint64_t *)value)
            err = CUDA_ERROR_INVALID_VALUE;
        else
            pool->high = pool->used;
        break;
    default:
        err = CUDA_ERROR_INVALID_VALUE;
    }
    return leave(err);
}

API cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *access, size_t count)
{
    CUresult err = enter_pool(pool);

    if (err)
        return err;
    for (size_t i = 0; access && i < count && !err; i++)
        if (access[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
            access[i].location.id != pool->device ||
            access[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
            err = CUDA_ERROR_INVALID_VALUE;
    return leave(err);
}

API cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool pool, CUmemLocation *location)
{
    CUresult err = enter_pool(pool);

    if (err)
        return err;
    if (!flags || !location || location->type != CU_MEM_LOCATION_TYPE_DEVICE)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *flags = location->id == pool->device ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
                                          : CU_MEM_ACCESS_FLAGS_PROT_NONE;
    return leave(CUDA_SUCCESS);
}

/* CUDA 13's names: pools of devices, of pinned memory, are all there are. */
static CUresult check_place(const CUmemLocation *place, CUmemAllocationType type)
{
    if (!place)
        return CUDA_ERROR_INVALID_VALUE;
    switch ((int)place->type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
        return type == CU_MEM_ALLOCATION_TYPE_PINNED    ? CUDA_SUCCESS
               : type == CU_MEM_ALLOCATION_TYPE_MANAGED ? CUDA_ERROR_NOT_SUPPORTED
                                                        : CUDA_ERROR_INVALID_VALUE;
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
        return CUDA_ERROR_NOT_SUPPORTED;
    case CU_MEM_LOCATION_TYPE_NONE:
        return type == CU_MEM_ALLOCATION_TYPE_MANAGED ? CUDA_ERROR_NOT_SUPPORTED
                                                      : CUDA_ERROR_INVALID_VALUE;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

API cuMemGetDefaultMemPool(CUmemoryPool *pool, CUmemLocation *place, CUmemAllocationType type)
{
    CUresult err = check_place(place, type);

    return err ? err : cuDeviceGetDefaultMemPool(pool, place->id);
}

API cuMemGetMemPool(CUmemoryPool *pool, CUmemLocation *place, CUmemAllocationType type)
{
    CUresult err = check_place(place, type);

    return err ? err : cuDeviceGetMemPool(pool, place->id);
}

API cuMemSetMemPool(CUmemLocation *place, CUmemAllocationType type, CUmemoryPool pool)
{
    CUresult err = check_place(place, type);

    return err ? err : cuDeviceSetMemPool(place->id, pool);
}
