/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "advice.h"

/*
 * What was said of managed memory, for cuMemRangeGetAttribute: pieces of a range, in order and
 * without gaps, each of which was advised alike.
 */

#define PAGE 4096u

struct advice {
    struct advice *next;
    uint64_t end; /* of the piece; it starts where the one before ends */
    bool read_mostly, by_host;
    uint32_t by_devices; /* a bit a device */
    CUmemLocation preferred, prefetched;
};

_Static_assert(MAX_DEVICES <= 32, "bits of by_devices");

void advice_drop(struct range *r)
{
    while (r->advice) {
        struct advice *next = r->advice->next;

        free(r->advice);
        r->advice = next;
    }
}

/* A piece ends at an address of the range, which may be its end. NULL: there is no memory. */
static struct advice *split(struct range *r, uint64_t at)
{
    struct advice *a = r->advice, *rest;

    if (!a) {
        a = r->advice = calloc(1, sizeof(*a));
        if (!a)
            return NULL;
        a->end = r->address + r->size;
    }
    while (a->end < at)
        a = a->next;
    if (a->end == at)
        return a;
    rest = malloc(sizeof(*rest));
    if (!rest)
        return NULL;
    *rest = *a;
    a->end = at;
    a->next = rest;
    return a;
}

/* The first piece of a stretch, with pieces that end where it does. NULL: there is no memory. */
static struct advice *pieces(struct range *r, uint64_t address, uint64_t count)
{
    struct advice *before = address == r->address ? NULL : split(r, address);

    if ((!before && address != r->address) || !split(r, address + count))
        return NULL;
    return before ? before->next : r->advice;
}

static void apply(struct advice *a, CUmem_advise advice, CUmemLocation place)
{
    bool device = place.type == CU_MEM_LOCATION_TYPE_DEVICE;
    uint32_t bit = device ? 1u << (place.id & 31) : 0;

    switch (advice) {
    case CU_MEM_ADVISE_SET_READ_MOSTLY:
    case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
        a->read_mostly = advice == CU_MEM_ADVISE_SET_READ_MOSTLY;
        break;
    case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
        a->preferred = place;
        break;
    case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
        a->preferred = (CUmemLocation){CU_MEM_LOCATION_TYPE_INVALID, 0};
        break;
    case CU_MEM_ADVISE_SET_ACCESSED_BY:
        a->by_devices |= bit;
        a->by_host = a->by_host || !device;
        break;
    case CU_MEM_ADVISE_UNSET_ACCESSED_BY:
        a->by_devices &= ~bit;
        a->by_host = a->by_host && device;
        break;
    }
}

/* The pages that a stretch is in, as far as they are the range's: what is said, is said of them. */
static struct advice *pages(struct range *r, uint64_t address, uint64_t count, uint64_t *ret_end)
{
    uint64_t start = address - address % PAGE, end = address + count;

    end += (PAGE - end % PAGE) % PAGE;
    if (start < r->address)
        start = r->address;
    *ret_end = end < r->address + r->size ? end : r->address + r->size;
    return pieces(r, start, *ret_end - start);
}

CUresult advice_set(struct range *r, uint64_t address, uint64_t count, CUmem_advise advice,
                    CUmemLocation place)
{
    uint64_t end;
    struct advice *a = pages(r, address, count, &end);

    if (!a)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (; a && a->end <= end; a = a->next)
        apply(a, advice, place);
    return CUDA_SUCCESS;
}

CUresult advice_prefetched(struct range *r, uint64_t address, uint64_t count, CUmemLocation place)
{
    uint64_t end;
    struct advice *a = pages(r, address, count, &end);

    if (!a)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (; a && a->end <= end; a = a->next)
        a->prefetched = place;
    return CUDA_SUCCESS;
}

/* What all pieces of a stretch have in common. */
static struct advice common(const struct range *r, uint64_t address, uint64_t count)
{
    struct advice all = {0};
    bool first = true;

    for (const struct advice *a = r->advice; a; a = a->next) {
        if (a->end <= address)
            continue;
        if (first)
            all = *a;
        all.read_mostly &= a->read_mostly;
        all.by_host &= a->by_host;
        all.by_devices &= a->by_devices;
        if (all.preferred.type != a->preferred.type || all.preferred.id != a->preferred.id)
            all.preferred = (CUmemLocation){CU_MEM_LOCATION_TYPE_INVALID, 0};
        if (all.prefetched.type != a->prefetched.type || all.prefetched.id != a->prefetched.id)
            all.prefetched = (CUmemLocation){CU_MEM_LOCATION_TYPE_INVALID, 0};
        first = false;
        if (a->end >= address + count)
            break;
    }
    return all;
}

/* A device's number, that of the host, or none. */
static int number(CUmemLocation place)
{
    return place.type == CU_MEM_LOCATION_TYPE_DEVICE    ? place.id
           : place.type == CU_MEM_LOCATION_TYPE_INVALID ? CU_DEVICE_INVALID
                                                        : CU_DEVICE_CPU;
}

static void accessed_by(const struct advice *a, int *data, size_t room)
{
    size_t n = 0;

    for (int i = 0; i < MAX_DEVICES && n < room; i++)
        if (a->by_devices >> i & 1)
            data[n++] = i;
    if (a->by_host && n < room)
        data[n++] = CU_DEVICE_CPU;
    while (n < room)
        data[n++] = CU_DEVICE_INVALID;
}

static CUresult attribute(const struct advice *a, void *data, size_t size,
                          CUmem_range_attribute attribute)
{
    int *value = data;

    if (!data || !size || size % sizeof(int) ||
        (attribute != CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY && size != sizeof(int)))
        return CUDA_ERROR_INVALID_VALUE;
    switch (attribute) {
    case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
        *value = a->read_mostly;
        break;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
        *value = number(a->preferred);
        break;
    case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY:
        accessed_by(a, value, size / sizeof(int));
        break;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
        *value = number(a->prefetched);
        break;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE:
        *value = (int)a->preferred.type;
        break;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID:
        *value = a->preferred.id;
        break;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE:
        *value = (int)a->prefetched.type;
        break;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID:
        *value = a->prefetched.id;
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

API cuMemRangeGetAttributes(void **data, size_t *sizes, CUmem_range_attribute *attributes, size_t n,
                            CUdeviceptr address, size_t count)
{
    CUresult err = enter();
    const struct range *r;
    struct advice all;

    if (err)
        return err;
    r = range_find(address);
    if (!data || !sizes || !attributes || !n || !r || r->kind != RANGE_MANAGED || !count ||
        count > r->size - (address - r->address))
        return leave(CUDA_ERROR_INVALID_VALUE);
    all = common(r, address, count);
    for (size_t i = 0; i < n && !err; i++)
        err = attribute(&all, data[i], sizes[i], attributes[i]);
    return leave(err);
}

API cuMemRangeGetAttribute(void *data, size_t size, CUmem_range_attribute attribute,
                           CUdeviceptr address, size_t count)
{
    return cuMemRangeGetAttributes(&data, &size, &attribute, 1, address, count);
}
