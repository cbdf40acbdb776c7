/* SPDX-License-Identifier: MIT */
#include "vmm.h"

#include <stdlib.h>
#include <string.h>

#include <compute/cuda/constants.h>

void vmm_finish(struct vmm *v)
{
    free(v->reservations.stretches);
    free(v->mappings.stretches);
    memset(v, 0, sizeof(*v));
}

/* Index of the first that ends behind an address. */
static uint32_t at(const struct vmm_list *l, uint64_t address)
{
    uint32_t low = 0, high = l->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (l->stretches[middle].address + l->stretches[middle].size <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct vmm_stretch *find(const struct vmm_list *l, uint64_t address)
{
    uint32_t i = at(l, address);

    return i < l->count && l->stretches[i].address <= address ? &l->stretches[i] : NULL;
}

static int grow(struct vmm_list *l)
{
    uint32_t room = l->room ? l->room * 2 : 16;
    struct vmm_stretch *grown;

    if (l->count < l->room)
        return 0;
    grown = realloc(l->stretches, room * sizeof(*grown));
    if (!grown)
        return CUDA_ERROR_OUT_OF_MEMORY;
    l->stretches = grown;
    l->room = room;
    return 0;
}

static void insert(struct vmm_list *l, struct vmm_stretch s)
{
    uint32_t i = at(l, s.address);

    memmove(l->stretches + i + 1, l->stretches + i, (l->count - i) * sizeof(s));
    l->stretches[i] = s;
    l->count++;
}

static void take_out(struct vmm_list *l, uint32_t first, uint32_t end)
{
    memmove(l->stretches + first, l->stretches + end, (l->count - end) * sizeof(*l->stretches));
    l->count -= end - first;
}

int vmm_reserve(struct vmm *v, uint64_t address, uint64_t size)
{
    int err = grow(&v->reservations);

    if (!err)
        insert(&v->reservations, (struct vmm_stretch){.address = address, .size = size});
    return err;
}

int vmm_release(struct vmm *v, uint64_t address, uint64_t size)
{
    const struct vmm_stretch *r = find(&v->reservations, address);
    uint32_t i = at(&v->mappings, address), own;

    if (!r || r->address != address || r->size != size ||
        (i < v->mappings.count && v->mappings.stretches[i].address - address < size))
        return CUDA_ERROR_INVALID_VALUE;
    own = (uint32_t)(r - v->reservations.stretches);
    take_out(&v->reservations, own, own + 1);
    return 0;
}

int vmm_can_map(struct vmm *v, uint64_t address, uint64_t size)
{
    const struct vmm_stretch *r = find(&v->reservations, address);
    uint32_t i = at(&v->mappings, address);

    if (!r || !size || address % VMM_GRANULARITY || size % VMM_GRANULARITY ||
        size > r->size - (address - r->address) ||
        (i < v->mappings.count && v->mappings.stretches[i].address < address + size))
        return CUDA_ERROR_INVALID_VALUE;
    return grow(&v->mappings);
}

void vmm_map(struct vmm *v, uint64_t address, uint64_t size, void *of, uint64_t offset)
{
    insert(&v->mappings,
           (struct vmm_stretch){.address = address, .size = size, .offset = offset, .of = of});
}

/* Mappings without gaps from the i-th on that have all of it: the index behind the last; 0: no. */
static uint32_t through(const struct vmm_list *l, uint32_t i, uint64_t address, uint64_t size,
                        enum vmm_access access)
{
    uint64_t next = address, end = address + size;

    if (end < address)
        return 0;
    for (; i < l->count && l->stretches[i].address <= next; i++) {
        if (l->stretches[i].access < access)
            return 0;
        next = l->stretches[i].address + l->stretches[i].size;
        if (next >= end)
            return i + 1;
    }
    return 0;
}

bool vmm_is_whole(const struct vmm *v, uint64_t address, uint64_t size)
{
    const struct vmm_list *l = &v->mappings;
    uint32_t first = at(l, address), end = through(l, first, address, size, VMM_NONE);

    return size && end && l->stretches[first].address == address &&
           l->stretches[end - 1].address + l->stretches[end - 1].size == address + size;
}

void vmm_unmap(struct vmm *v, uint64_t address, uint64_t size,
               void (*dropped)(void *arg, const struct vmm_stretch *mapping), void *arg)
{
    struct vmm_list *l = &v->mappings;
    uint32_t first = at(l, address), end = through(l, first, address, size, VMM_NONE);

    for (uint32_t i = first; i < end; i++)
        dropped(arg, &l->stretches[i]);
    take_out(l, first, end);
}

void vmm_allow(struct vmm *v, uint64_t address, uint64_t size, enum vmm_access access)
{
    struct vmm_list *l = &v->mappings;
    uint32_t first = at(l, address), end = through(l, first, address, size, VMM_NONE);

    for (uint32_t i = first; i < end; i++)
        l->stretches[i].access = access;
}

bool vmm_has(const struct vmm *v, uint64_t address, uint64_t size, enum vmm_access access)
{
    const struct vmm_list *l = &v->mappings;

    return through(l, at(l, address), address, size ? size : 1, access) != 0;
}

const struct vmm_stretch *vmm_mapping(const struct vmm *v, uint64_t address)
{
    return find(&v->mappings, address);
}

const struct vmm_stretch *vmm_reservation(const struct vmm *v, uint64_t address)
{
    return find(&v->reservations, address);
}
