/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "graph.h"

/*
 * Memory of graphs. The node that allocates has it from its beginning, since its address is known
 * then; launches allocate and free it by the count alone. It goes when no graph has it any more and
 * it was freed.
 */

static struct {
    uint64_t used, used_high, reserved, reserved_high;
} usage[MAX_DEVICES];

static void raise_to(uint64_t *high, uint64_t value)
{
    if (*high < value)
        *high = value;
}

CUresult graph_block_create(struct CUctx_st *c, uint64_t size, struct graph_block **ret_block)
{
    struct graph_block *b = calloc(1, sizeof(*b));
    uint64_t address;
    CUresult err;

    if (!b)
        return CUDA_ERROR_OUT_OF_MEMORY;
    /* May wait for a kernel that runs. Graphs are one thread's at a time, says the API. */
    unlock();
    err = (CUresult)backend->memory_create(c->open, c->backend, size, &address);
    lock();
    if (!err) {
        err = range_add(c, RANGE_GRAPH, address, size, 0);
        if (err)
            backend->memory_destroy(c->open, address);
    }
    if (err) {
        free(b);
        return err;
    }
    range_find(address)->block = b;
    b->context = c;
    b->device = c->device;
    b->address = address;
    b->size = size;
    b->references = 1;
    *ret_block = b;
    return CUDA_SUCCESS;
}

void graph_block_hold(struct graph_block *b)
{
    b->references++;
}

/* NULL: its context is gone, and the memory with it. */
static struct range *range_of(const struct graph_block *b)
{
    struct range *r = range_find(b->address);

    return r && r->kind == RANGE_GRAPH && r->block == b ? r : NULL;
}

static void drop(struct graph_block *b)
{
    struct cuda_command command = {.kind = CUDA_FREE, .free = b->address};
    struct range *r = range_of(b);

    if (b->reserved)
        usage[b->device].reserved -= b->size;
    if (r) {
        /* Copies of it may go on: it goes behind all work. */
        if (stream_behind_all(b->context, &command))
            backend->memory_destroy(b->context->open, b->address);
        range_remove(r);
    }
    free(b);
}

static void count_free(struct graph_block *b)
{
    b->live = false;
    usage[b->device].used -= b->size;
}

void graph_block_release(struct graph_block *b)
{
    if (--b->references)
        return;
    if (!range_of(b) && b->live)
        count_free(b);
    /* What lives is the program's to free. */
    if (!b->live)
        drop(b);
}

void graph_block_lost(struct graph_block *b)
{
    if (b->live)
        count_free(b);
    if (b->references)
        return;
    usage[b->device].reserved -= b->size;
    free(b);
}

CUresult graph_block_take(struct graph_block *b)
{
    if (b->live || !range_of(b))
        return CUDA_ERROR_INVALID_VALUE;
    if (!b->reserved) {
        b->reserved = true;
        usage[b->device].reserved += b->size;
        raise_to(&usage[b->device].reserved_high, usage[b->device].reserved);
    }
    b->live = true;
    usage[b->device].used += b->size;
    raise_to(&usage[b->device].used_high, usage[b->device].used);
    return CUDA_SUCCESS;
}

CUresult graph_block_give(struct graph_block *b)
{
    if (!b->live)
        return CUDA_ERROR_INVALID_VALUE;
    count_free(b);
    if (!b->references)
        drop(b);
    return CUDA_SUCCESS;
}

struct graph_block *graph_block_at(uint64_t address)
{
    const struct range *r = range_find(address);

    return r && r->kind == RANGE_GRAPH && r->address == address ? r->block : NULL;
}

CUresult graph_memory_prepare(const struct CUgraph_st *g, bool again)
{
    CUresult err = CUDA_SUCCESS;

    for (size_t i = 0; i < g->count && !err; i++) {
        const struct CUgraphNode_st *n = g->nodes[i];

        if (n->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC && n->block->live) {
            if (again)
                count_free(n->block);
            else
                err = CUDA_ERROR_INVALID_VALUE;
        }
        for (unsigned b = 0; b < n->body_count && !err; b++)
            err = graph_memory_prepare(n->bodies[b], again);
    }
    return err;
}

CUresult graph_memory_check(const CUDA_MEM_ALLOC_NODE_PARAMS *p)
{
    const CUmemPoolProps *pool = &p->poolProps;

    if (pool->allocType != CU_MEM_ALLOCATION_TYPE_PINNED ||
        pool->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
        !device_properties(pool->location.id) || !p->bytesize ||
        (p->accessDescCount && !p->accessDescs))
        return CUDA_ERROR_INVALID_VALUE;
    /* Memory of graphs cannot be shared, says the API. */
    if (pool->handleTypes != CU_MEM_HANDLE_TYPE_NONE)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < p->accessDescCount; i++)
        if (p->accessDescs[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
            p->accessDescs[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
            return CUDA_ERROR_INVALID_VALUE;
        else if (p->accessDescs[i].location.id != pool->location.id)
            return CUDA_ERROR_NOT_SUPPORTED;
    if (p->bytesize > device_properties(pool->location.id)->memory)
        return CUDA_ERROR_OUT_OF_MEMORY;
    return CUDA_SUCCESS;
}

static CUresult enter_device(CUdevice device)
{
    CUresult err = enter();

    if (err)
        return err;
    return device_properties(device) ? CUDA_SUCCESS : leave(CUDA_ERROR_INVALID_DEVICE);
}

/* Nothing is kept that graphs do not have. */
API cuDeviceGraphMemTrim(CUdevice device)
{
    CUresult err = enter_device(device);

    return err ? err : leave(CUDA_SUCCESS);
}

API cuDeviceGetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attribute, void *value)
{
    CUresult err = enter_device(device);

    if (err)
        return err;
    if (!value)
        return leave(CUDA_ERROR_INVALID_VALUE);
    switch (attribute) {
    case CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT:
        *(cuuint64_t *)value = usage[device].used;
        break;
    case CU_GRAPH_MEM_ATTR_USED_MEM_HIGH:
        *(cuuint64_t *)value = usage[device].used_high;
        break;
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT:
        *(cuuint64_t *)value = usage[device].reserved;
        break;
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH:
        *(cuuint64_t *)value = usage[device].reserved_high;
        break;
    default:
        err = CUDA_ERROR_INVALID_VALUE;
    }
    return leave(err);
}

API cuDeviceSetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attribute, void *value)
{
    CUresult err = enter_device(device);

    if (err)
        return err;
    if (!value || *(cuuint64_t *)value)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (attribute == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH)
        usage[device].used_high = usage[device].used;
    else if (attribute == CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH)
        usage[device].reserved_high = usage[device].reserved;
    else
        err = CUDA_ERROR_INVALID_VALUE;
    return leave(err);
}
