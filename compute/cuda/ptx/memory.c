/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <viaduct/errors.h>

/* Between two allocations lies nothing, so that running over one is seen. */
#define GRANULE 512u
#define GUARD   65536u
#define PAGE    4096u

int memory_init(struct memory *m, uint64_t most)
{
    memset(m, 0, sizeof(*m));
    m->most = most ? most : UINT64_MAX;
    return pthread_rwlock_init(&m->lock, NULL) ? VD_ERR_MEMORY : 0;
}

static void release(struct region *r)
{
    if (!r->mapped)
        munmap(r->host, r->size);
}

void memory_finish(struct memory *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        release(&m->regions[i]);
    virtual_finish(m);
    free(m->regions);
    pthread_rwlock_destroy(&m->lock);
}

uint32_t memory_behind(const struct memory *m, uint64_t address)
{
    uint32_t low = 0, high = m->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (m->regions[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* First address behind every allocation, or a hole that fits. Mapped regions may lie elsewhere. */
static uint64_t place(const struct memory *m, uint64_t room, uint32_t *ret_index)
{
    uint32_t first = memory_behind(m, DEVICE_BASE), end = memory_behind(m, VIRTUAL_BASE), i;
    uint64_t at = DEVICE_BASE;

    /* Mostly at the end; holes are looked for once the end is far away. */
    if (end > first) {
        const struct region *last = &m->regions[end - 1];

        at = last->address + last->room;
        if (at <= VIRTUAL_BASE - room) {
            *ret_index = end;
            return at;
        }
        at = DEVICE_BASE;
    }
    for (i = first; i < end; i++) {
        if (m->regions[i].address - at >= room)
            break;
        at = m->regions[i].address + m->regions[i].room;
    }
    *ret_index = i;
    return at <= VIRTUAL_BASE - room ? at : 0;
}

int memory_grow(struct memory *m, uint32_t more)
{
    uint32_t room = m->room ? m->room * 2 : 64;
    struct region *grown;

    if (m->room - m->count >= more)
        return 0;
    grown = realloc(m->regions, room * sizeof(*grown));
    if (!grown)
        return VD_ERR_MEMORY;
    m->regions = grown;
    m->room = room;
    return 0;
}

/* Where a region of a given place goes; false: something is there. */
static bool place_at(const struct memory *m, const struct region *r, uint32_t *ret_index)
{
    uint32_t i = memory_behind(m, r->address);

    *ret_index = i;
    if (r->address + r->size < r->address ||
        (i < m->count && m->regions[i].address - r->address < r->size))
        return false;
    return !i || r->address - m->regions[i - 1].address >= m->regions[i - 1].size;
}

/* `counted` of the bytes were asked for. */
static int create(struct memory *m, uint64_t size, uint64_t counted, void *mapped, bool constant,
                  uint64_t at, uint64_t *ret_address)
{
    struct region r = {.address = at,
                       .size = size,
                       .counted = counted,
                       .host = mapped,
                       .mapped = mapped != NULL,
                       .constant = constant};
    uint32_t index;
    int err = VD_ERR_MEMORY;

    if (!size || size > (uint64_t)1 << 40)
        return VD_ERR_PARAMETER;
    r.room = (size + GRANULE - 1) / GRANULE * GRANULE + GUARD;
    if (!mapped) {
        void *host = mmap(NULL, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (host == MAP_FAILED)
            return VD_ERR_MEMORY;
        r.host = host;
    }
    pthread_rwlock_wrlock(&m->lock);
    if (!mapped && (counted > m->most || m->used > m->most - counted))
        goto out;
    if (memory_grow(m, 1))
        goto out;
    if (at) {
        r.room = size;
        if (!place_at(m, &r, &index)) {
            err = VD_ERR_PARAMETER;
            goto out;
        }
    } else {
        r.address = place(m, r.room, &index);
        if (!r.address)
            goto out;
    }
    memmove(m->regions + index + 1, m->regions + index, (m->count - index) * sizeof(r));
    m->regions[index] = r;
    m->count++;
    if (!mapped)
        m->used += counted;
    *ret_address = r.address;
    err = 0;
out:
    pthread_rwlock_unlock(&m->lock);
    if (err && !mapped)
        munmap(r.host, size);
    return err;
}

int memory_create(struct memory *m, uint64_t size, void *mapped, bool constant,
                  uint64_t *ret_address)
{
    return create(m, size, size, mapped, constant, 0, ret_address);
}

const struct region *memory_find(const struct memory *m, uint64_t address)
{
    uint32_t low = 0, high = m->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct region *r = &m->regions[middle];

        if (address < r->address)
            high = middle;
        else if (address - r->address >= r->size)
            low = middle + 1;
        else
            return r;
    }
    return NULL;
}

uint64_t memory_past(const struct memory *m, uint64_t address)
{
    uint32_t next = memory_behind(m, address);
    const struct region *r = next ? &m->regions[next - 1] : NULL;

    if (!r || address - r->address < r->size || address - r->address - r->size >= GUARD)
        return 0;
    return address - r->address - r->size + 1;
}

int memory_destroy(struct memory *m, uint64_t address)
{
    const struct region *r;
    int err = VD_ERR_ID;

    pthread_rwlock_wrlock(&m->lock);
    r = memory_find(m, address);
    if (r && r->address == address && !r->shown) {
        uint32_t index = (uint32_t)(r - m->regions);

        if (!r->mapped)
            m->used -= r->counted;
        release(&m->regions[index]);
        m->count--;
        memmove(m->regions + index, m->regions + index + 1, (m->count - index) * sizeof(*r));
        err = 0;
    }
    pthread_rwlock_unlock(&m->lock);
    return err;
}

int ptx_memory_create(struct ptx_context *context, uint64_t size, uint64_t *ret_address)
{
    uint64_t all = size;

    if (context->options.slack && size && size <= (uint64_t)1 << 39)
        all = (size + context->options.slack + PAGE - 1) / PAGE * PAGE;
    return create(&context->memory, all, size, NULL, false, 0, ret_address);
}

int ptx_memory_map(struct ptx_context *context, void *memory, uint64_t size, uint64_t *ret_address)
{
    if (!memory)
        return VD_ERR_PARAMETER;
    return memory_create(&context->memory, size, memory, false, ret_address);
}

int ptx_memory_map_at(struct ptx_context *context, void *memory, uint64_t size)
{
    return ptx_memory_map_as(context, memory, size, (uintptr_t)memory);
}

int ptx_memory_map_as(struct ptx_context *context, void *memory, uint64_t size, uint64_t address)
{
    if (!memory || address < PARAM_BASE * 2 ||
        (address < DEVICE_BASE * 2 && address + size > DEVICE_BASE))
        return VD_ERR_PARAMETER;
    return create(&context->memory, size, size, memory, false, address, &address);
}

void ptx_memory_usage(struct ptx_context *context, uint64_t *ret_used)
{
    pthread_rwlock_rdlock(&context->memory.lock);
    *ret_used = context->memory.used;
    pthread_rwlock_unlock(&context->memory.lock);
}

int ptx_context_set_heap(struct ptx_context *context, uint64_t bytes)
{
    int err = 0;

    pthread_mutex_lock(&context->launching);
    if (context->heap && bytes != context->options.heap)
        err = VD_ERR_PARAMETER;
    else
        context->options.heap = bytes;
    pthread_mutex_unlock(&context->launching);
    return err;
}

int ptx_memory_destroy(struct ptx_context *context, uint64_t address)
{
    return memory_destroy(&context->memory, address);
}

int ptx_memory_find(struct ptx_context *context, uint64_t address, uint64_t *ret_base,
                    uint64_t *ret_size)
{
    const struct region *r;
    int err = VD_ERR_ID;

    pthread_rwlock_rdlock(&context->memory.lock);
    r = memory_find(&context->memory, address);
    if (r) {
        *ret_base = r->address;
        *ret_size = r->size;
        err = 0;
    }
    pthread_rwlock_unlock(&context->memory.lock);
    return err;
}

/*
 * With the lock held: where an address is, and how many of `size` bytes are there. NULL: they are
 * not all in one allocation, nor in mappings next to each other (virtual.c).
 */
static uint8_t *range(const struct memory *m, uint64_t address, uint64_t size, uint64_t *ret_there)
{
    const struct region *r = memory_find(m, address), *end = m->regions + m->count;
    uint64_t there = r ? r->size - (address - r->address) : 0;
    uint8_t *host = r ? r->host + (address - r->address) : NULL;

    *ret_there = there < size ? there : size;
    while (there < size) {
        if (!r || !r->shown || r + 1 == end || !r[1].shown || r[1].address != r->address + r->size)
            return NULL;
        r++;
        there += r->size;
    }
    return host;
}

/*
 * Words are taken and put as one, in order with what else a thread does: streams wait for values
 * that other streams write (cuStreamWaitValue32).
 */
typedef uint32_t __attribute__((may_alias)) word32;
typedef uint64_t __attribute__((may_alias)) word64;

static void put(uint8_t *to, const void *from, uint64_t size)
{
    if (size == 4 && !((uintptr_t)to & 3)) {
        word32 v;

        memcpy(&v, from, 4);
        __atomic_store_n((word32 *)(void *)to, v, __ATOMIC_RELEASE);
    } else if (size == 8 && !((uintptr_t)to & 7)) {
        word64 v;

        memcpy(&v, from, 8);
        __atomic_store_n((word64 *)(void *)to, v, __ATOMIC_RELEASE);
    } else {
        memcpy(to, from, size);
    }
}

static void get(void *to, const uint8_t *from, uint64_t size)
{
    if (size == 4 && !((uintptr_t)from & 3)) {
        word32 v = __atomic_load_n((const word32 *)(const void *)from, __ATOMIC_ACQUIRE);

        memcpy(to, &v, 4);
    } else if (size == 8 && !((uintptr_t)from & 7)) {
        word64 v = __atomic_load_n((const word64 *)(const void *)from, __ATOMIC_ACQUIRE);

        memcpy(to, &v, 8);
    } else {
        memcpy(to, from, size);
    }
}

int ptx_memory_write(struct ptx_context *context, uint64_t address, const void *data, uint64_t size)
{
    const uint8_t *from = data;
    uint64_t there;
    int err = 0;

    pthread_rwlock_rdlock(&context->memory.lock);
    while (size && !err) {
        uint8_t *host = range(&context->memory, address, size, &there);

        if (host) {
            put(host, from, there);
            address += there;
            from += there;
            size -= there;
        } else {
            err = VD_ERR_PARAMETER;
        }
    }
    pthread_rwlock_unlock(&context->memory.lock);
    return err;
}

int ptx_memory_read(struct ptx_context *context, uint64_t address, void *data, uint64_t size)
{
    uint8_t *to = data;
    uint64_t there;
    int err = 0;

    pthread_rwlock_rdlock(&context->memory.lock);
    while (size && !err) {
        const uint8_t *host = range(&context->memory, address, size, &there);

        if (host) {
            get(to, host, there);
            address += there;
            to += there;
            size -= there;
        } else {
            err = VD_ERR_PARAMETER;
        }
    }
    pthread_rwlock_unlock(&context->memory.lock);
    return err;
}

int ptx_memory_copy(struct ptx_context *context, uint64_t to, uint64_t from, uint64_t size)
{
    uint64_t there, here;
    int err = 0;

    pthread_rwlock_rdlock(&context->memory.lock);
    while (size && !err) {
        const uint8_t *source = range(&context->memory, from, size, &there);
        uint8_t *target = range(&context->memory, to, size, &here);

        if (source && target) {
            there = there < here ? there : here;
            memmove(target, source, there);
            to += there;
            from += there;
            size -= there;
        } else {
            err = VD_ERR_PARAMETER;
        }
    }
    pthread_rwlock_unlock(&context->memory.lock);
    return err;
}

int ptx_memory_set(struct ptx_context *context, uint64_t address, uint32_t value, unsigned width,
                   uint64_t count)
{
    uint64_t size = count * width, there;
    int err = 0;

    if ((width != 1 && width != 2 && width != 4) || address % width || count > UINT64_MAX / 4)
        return VD_ERR_PARAMETER;
    pthread_rwlock_rdlock(&context->memory.lock);
    while (size && !err) {
        uint8_t *host = range(&context->memory, address, size, &there);

        if (!host)
            err = VD_ERR_PARAMETER;
        else if (width == 1)
            memset(host, (int)(value & 255), there);
        else if (there == width)
            put(host, &value, width);
        else
            for (uint64_t i = 0; i < there; i += width)
                memcpy(host + i, &value, width);
        address += there;
        size -= there;
    }
    pthread_rwlock_unlock(&context->memory.lock);
    return err;
}
