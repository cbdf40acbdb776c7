/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "array.h"
#include "graph.h"
#include "internal.h"
#include "ipc.h"
#include "virtual.h"

/*
 * Memory that the API knows: device memory, and the host's that the device reaches at the same
 * address (pinned, registered, managed).
 */

#define PITCH 512u

static struct range *ranges; /* by address */
static size_t range_count, range_room;

/* The first that ends behind an address. */
static size_t range_at(uint64_t address)
{
    size_t low = 0, high = range_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (ranges[middle].address + ranges[middle].size <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct range *range_find(uint64_t address)
{
    size_t i = range_at(address);

    return i < range_count && ranges[i].address <= address ? &ranges[i] : NULL;
}

CUresult range_add(struct CUctx_st *c, enum range_kind kind, uint64_t address, uint64_t size,
                   unsigned flags)
{
    size_t i = range_at(address);

    if (range_count == range_room) {
        size_t room = range_room ? range_room * 2 : 64;
        struct range *grown = realloc(ranges, room * sizeof(*grown));

        if (!grown)
            return CUDA_ERROR_OUT_OF_MEMORY;
        ranges = grown;
        range_room = room;
    }
    memmove(ranges + i + 1, ranges + i, (range_count - i) * sizeof(*ranges));
    ranges[i] = (struct range){.address = address,
                               .size = size,
                               .id = unique(),
                               .kind = kind,
                               .context = c,
                               .device = c ? c->device : 0,
                               .flags = flags};
    range_count++;
    return CUDA_SUCCESS;
}

void range_remove(struct range *r)
{
    size_t i = (size_t)(r - ranges);

    advice_drop(r);
    ipc_drop(r);
    range_count--;
    memmove(ranges + i, ranges + i + 1, (range_count - i) * sizeof(*ranges));
}

/* Gives the memory back, too. The device does not use it any more. */
static void range_free(struct range *r)
{
    struct range gone = *r;

    range_remove(r);
    switch (gone.kind) {
    case RANGE_DEVICE:
    case RANGE_POOL:
    case RANGE_HIDDEN:
        backend->memory_destroy(gone.context->open, gone.address);
        break;
    case RANGE_GRAPH:
        backend->memory_destroy(gone.context->open, gone.address);
        graph_block_lost(gone.block);
        break;
    case RANGE_PINNED:
    case RANGE_MANAGED:
        backend->host_destroy((void *)(uintptr_t)gone.address, gone.size);
        break;
    case RANGE_REGISTERED:
        if (!gone.copies)
            backend->memory_unmap(gone.address);
        break;
    case RANGE_IPC:
        ipc_closed(gone.address);
        external_unmap(gone.address, gone.size);
        break;
    case RANGE_IMPORTED:
        external_unmap(gone.address, gone.size);
        break;
    case RANGE_VIRTUAL:
    case RANGE_VARIABLE:
        break;
    }
}

void range_drop_context(struct CUctx_st *c)
{
    for (size_t i = range_count; i--;)
        if (ranges[i].context == c)
            range_free(&ranges[i]);
}

bool range_is_hosts(const struct range *r)
{
    return r->kind == RANGE_PINNED || r->kind == RANGE_REGISTERED || r->kind == RANGE_MANAGED;
}

/* Whether kernels reach it. */
static bool is_mapped(const struct range *r)
{
    return !range_is_hosts(r) || (!r->copies && !device_properties(r->context->device)->apart);
}

bool range_is_host(uint64_t address)
{
    const struct range *r = range_find(address);

    return r ? range_is_hosts(r) : !virtual_is_reserved(address);
}

CUresult memory_check(uint64_t address, uint64_t bytes)
{
    const struct range *r = range_find(address);

    /* Mappings next to each other are one piece; the rest of a reservation is nothing. */
    if (virtual_is_reserved(address))
        return virtual_has(address, bytes, VMM_READ) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    return r && bytes <= r->size - (address - r->address) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult memory_check_write(uint64_t address, uint64_t bytes)
{
    CUresult err = memory_check(address, bytes);

    return !err && virtual_is_reserved(address) && !virtual_has(address, bytes, VMM_WRITE)
               ? CUDA_ERROR_INVALID_VALUE
               : err;
}

bool memory_syncs(uint64_t address, CUstream stream)
{
    const struct range *r = !stream || stream == CU_STREAM_PER_THREAD ? range_find(address) : NULL;

    return r && r->syncs;
}

/* `d`: an array, where the backend has such. */
static CUresult device_memory(struct CUctx_st *c, size_t size, enum range_kind kind,
                              const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned levels, uint64_t *ret)
{
    bool array = d && device_properties(c->device)->textureless && backend->array_create;
    uint64_t address;
    CUresult err;

    /* May wait for a kernel that runs. */
    unlock();
    if (array) {
        const struct cuda_array_shape shape = array_shape(d, levels);

        err = (CUresult)backend->array_create(c->open, c->backend, &shape, &address);
    } else {
        err = (CUresult)backend->memory_create(c->open, c->backend, size, &address);
    }
    lock();
    if (err)
        return err;
    err = range_add(c, kind, address, size, 0);
    if (err)
        backend->memory_destroy(c->open, address);
    else
        *ret = address;
    return err;
}

API cuMemAlloc_v2(CUdeviceptr *address, size_t size)
{
    struct CUctx_st *c;
    uint64_t at;
    CUresult err = capture_enter(&c);

    if (err)
        return err;
    if (!address || !size)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (size > device_properties(c->device)->memory)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    err = device_memory(c, size, RANGE_DEVICE, NULL, 0, &at);
    if (!err)
        *address = at;
    return leave(err);
}

CUresult memory_hidden(struct CUctx_st *c, size_t size, uint64_t *ret_address)
{
    return device_memory(c, size, RANGE_HIDDEN, NULL, 0, ret_address);
}

CUresult memory_array(struct CUctx_st *c, const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned levels,
                      size_t size, uint64_t *ret_address)
{
    return device_memory(c, size, RANGE_HIDDEN, d, levels, ret_address);
}

void memory_hidden_free(uint64_t address)
{
    struct range *r = range_find(address);

    if (r && r->address == address && r->kind == RANGE_HIDDEN)
        range_free(r);
}

API cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width, size_t height,
                       unsigned element)
{
    size_t row = (width + PITCH - 1) / PITCH * PITCH;
    CUresult err;

    if (!pitch || !width || !height || (element != 4 && element != 8 && element != 16) ||
        row < width)
        return CUDA_ERROR_INVALID_VALUE;
    if (height > SIZE_MAX / row)
        return CUDA_ERROR_OUT_OF_MEMORY;
    err = cuMemAlloc_v2(address, row * height);
    if (!err)
        *pitch = row;
    return err;
}

/* Waits for the work of its context before it frees, as the API says. */
static CUresult release(uint64_t address, unsigned kinds)
{
    struct CUctx_st *c;
    struct range *r;
    CUresult err = enter();

    if (err)
        return err;
    r = range_find(address);
    if (!r || r->address != address || !(kinds >> r->kind & 1) ||
        (r->kind == RANGE_MANAGED && r->flags & RANGE_OF_MODULE))
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = capture_unsafe();
    if (err)
        return leave(err);
    c = r->context;
    if (c->active)
        err = context_wait(c);
    r = range_find(address);
    if (r && r->address == address) {
        if (r->kind == RANGE_GRAPH) /* which has it for the next launch */
            return leave(graph_block_give(r->block));
        range_free(r);
    }
    return leave(err);
}

API cuMemFree_v2(CUdeviceptr address)
{
    if (!address)
        return CUDA_SUCCESS;
    return release(address, 1u << RANGE_DEVICE | 1u << RANGE_POOL | 1u << RANGE_MANAGED |
                                1u << RANGE_IMPORTED | 1u << RANGE_GRAPH);
}

API cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
    struct CUctx_st *c;
    uint64_t available, all;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    err = (CUresult)backend->memory_info(c->open, &available, &all);
    if (!err && free_bytes)
        *free_bytes = available;
    if (!err && total)
        *total = all;
    return leave(err);
}

API cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address)
{
    CUresult err = enter();
    const struct range *r;

    if (err)
        return err;
    r = range_find(address);
    if (!r)
        return leave(CUDA_ERROR_NOT_FOUND);
    if (base)
        *base = r->address;
    if (size)
        *size = r->size;
    return leave(CUDA_SUCCESS);
}

/* The host's memory that devices reach. */
static CUresult shared_memory(size_t size, enum range_kind kind, unsigned flags, void **ret)
{
    struct CUctx_st *c;
    void *p;
    CUresult err = capture_enter(&c);

    if (err)
        return err;
    if (!size)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (size > device_properties(c->device)->memory)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    unlock();
    err = (CUresult)backend->host_create(size, kind == RANGE_MANAGED, &p);
    lock();
    if (err)
        return leave(err);
    err = range_add(c, kind, (uintptr_t)p, size, flags);
    if (err)
        backend->host_destroy(p, size);
    else
        *ret = p;
    return leave(err);
}

API cuMemHostAlloc(void **memory, size_t size, unsigned flags)
{
    if (!memory || flags & ~7u)
        return CUDA_ERROR_INVALID_VALUE;
    return shared_memory(size, RANGE_PINNED, flags | CU_MEMHOSTALLOC_DEVICEMAP, memory);
}

API cuMemAllocHost_v2(void **memory, size_t size)
{
    return cuMemHostAlloc(memory, size, 0);
}

API cuMemFreeHost(void *memory)
{
    return release((uintptr_t)memory, 1u << RANGE_PINNED);
}

API cuMemAllocManaged(CUdeviceptr *address, size_t size, unsigned flags)
{
    void *p;
    CUresult err;

    if (!address || (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST))
        return CUDA_ERROR_INVALID_VALUE;
    err = shared_memory(size, RANGE_MANAGED, flags, &p);
    if (!err)
        *address = (uintptr_t)p;
    return err;
}

/* Whether all of it is the program's: msync says which is not, and does nothing else (MS_ASYNC). A
 * sandbox may not let it: viaductd's has this library as the host's own in chains. */
static bool is_there(uint64_t address, uint64_t size)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start = address & ~(page - 1);

    return !msync((void *)(uintptr_t)start, address + size - start, MS_ASYNC) || errno != ENOMEM;
}

API cuMemHostRegister_v2(void *memory, size_t size, unsigned flags)
{
    uint64_t address = (uintptr_t)memory;
    struct CUctx_st *c;
    CUresult err = capture_enter(&c);
    bool copies;
    size_t i;

    if (err)
        return err;
    if (!memory || !size || flags & ~15u || address + size < address)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (flags & CU_MEMHOSTREGISTER_IOMEMORY)
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    if (!is_there(address, size))
        return leave(CUDA_ERROR_INVALID_VALUE);
    i = range_at(address);
    if (i < range_count && ranges[i].address < address + size)
        return leave(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    unlock();
    err = (CUresult)backend->memory_map(memory, size);
    lock();
    /* Kernels at a host do not reach it; copies need no more than that it stays. */
    copies = err == CUDA_ERROR_NOT_SUPPORTED && backend->stages &&
             !(flags & CU_MEMHOSTREGISTER_DEVICEMAP);
    if (copies)
        err = CUDA_SUCCESS;
    if (!err) {
        err = range_add(c, RANGE_REGISTERED, address, size, flags);
        if (!err)
            range_find(address)->copies = copies;
        else if (!copies)
            backend->memory_unmap(address);
    }
    return leave(err);
}

API cuMemHostRegister(void *memory, size_t size, unsigned flags)
{
    return cuMemHostRegister_v2(memory, size, flags);
}

API cuMemHostUnregister(void *memory)
{
    CUresult err = release((uintptr_t)memory, 1u << RANGE_REGISTERED);

    return memory && err == CUDA_ERROR_INVALID_VALUE ? CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED : err;
}

API cuMemHostGetDevicePointer_v2(CUdeviceptr *address, void *memory, unsigned flags)
{
    CUresult err = enter();
    const struct range *r;

    if (err)
        return err;
    r = range_find((uintptr_t)memory);
    if (!address || flags || !r || !range_is_hosts(r))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (!is_mapped(r))
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    *address = (uintptr_t)memory;
    return leave(CUDA_SUCCESS);
}

API cuMemHostGetFlags(unsigned *flags, void *memory)
{
    CUresult err = enter();
    const struct range *r;

    if (err)
        return err;
    r = range_find((uintptr_t)memory);
    if (!flags || !r || (r->kind != RANGE_PINNED && r->kind != RANGE_REGISTERED))
        return leave(CUDA_ERROR_INVALID_VALUE);
    *flags = r->flags;
    return leave(CUDA_SUCCESS);
}

/* With the lock. What is known of all pointers comes for those that are not, too. */
static CUresult pointer_attribute(void *data, CUpointer_attribute attribute, uint64_t address,
                                  const struct range *r)
{
    bool host = r && range_is_hosts(r);

    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        *(CUcontext *)data = r->context;
        break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(unsigned *)data =
            host && r->kind != RANGE_MANAGED ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
        break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        if (!is_mapped(r))
            return CUDA_ERROR_INVALID_VALUE;
        *(CUdeviceptr *)data = address;
        break;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        if (!host)
            return CUDA_ERROR_INVALID_VALUE;
        *(void **)data = (void *)(uintptr_t)address;
        break;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
        *(unsigned char *)data = r->syncs;
        break;
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
        *(unsigned char *)data = r->kind == RANGE_DEVICE && device_properties(r->device)->imports;
        break;
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
        *(unsigned char *)data = 0;
        break;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        *(unsigned long long *)data = r->id;
        break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        *(unsigned char *)data = r->kind == RANGE_MANAGED;
        break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)data = r->device;
        break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        *(CUdeviceptr *)data = r->address;
        break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        *(size_t *)data = r->size;
        break;
    case CU_POINTER_ATTRIBUTE_MAPPED:
        *(unsigned char *)data = is_mapped(r);
        break;
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
        *(unsigned long long *)data = 0;
        break;
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
        *(int *)data = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
        break;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
        *(CUmemoryPool *)data = r->pool;
        break;
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    return CUDA_SUCCESS;
}

API cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address)
{
    CUresult err = enter();
    const struct range *r;

    if (err)
        return err;
    r = range_find(address);
    if (!data || !r)
        return leave(CUDA_ERROR_INVALID_VALUE);
    return leave(pointer_attribute(data, attribute, address, r));
}

API cuPointerGetAttributes(unsigned count, CUpointer_attribute *attributes, void **data,
                           CUdeviceptr address)
{
    CUresult err = enter();
    const struct range *r;

    if (err)
        return err;
    if (!count || !attributes || !data)
        return leave(CUDA_ERROR_INVALID_VALUE);
    r = range_find(address);
    for (unsigned i = 0; i < count; i++) {
        bool set = r && !pointer_attribute(data[i], attributes[i], address, r);

        if (set)
            continue;
        switch (attributes[i]) {
        case CU_POINTER_ATTRIBUTE_CONTEXT:
        case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
        case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
            memset(data[i], 0, 8);
            break;
        case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
            memset(data[i], 0, 4);
            break;
        case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
            *(int *)data[i] = CU_DEVICE_INVALID;
            break;
        default:
            memset(data[i], 0, 1);
        }
    }
    return leave(CUDA_SUCCESS);
}

API cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr address)
{
    CUresult err = enter();
    struct range *r;

    if (err)
        return err;
    r = range_find(address);
    if (!value || !r || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS)
        return leave(CUDA_ERROR_INVALID_VALUE);
    r->syncs = *(const unsigned *)value != 0;
    return leave(CUDA_SUCCESS);
}
