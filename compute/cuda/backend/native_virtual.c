/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <stdlib.h>

/* Addresses and memory apart: the driver's own. */

struct cuda_physical {
    CUmemGenericAllocationHandle handle;
};

static CUmemAllocationProp kind(const struct cuda_device *d)
{
    return (CUmemAllocationProp){.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                 .location = {CU_MEM_LOCATION_TYPE_DEVICE, d->handle}};
}

bool native_virtual_there(CUdevice device)
{
    struct cuda_device d = {.handle = device};
    CUmemAllocationProp p = kind(&d);
    size_t granularity = 0;
    int has = 0;

    return !native.cuDeviceGetAttribute(
               &has, CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED, device) &&
           has &&
           !native.cuMemGetAllocationGranularity(&granularity, &p,
                                                 CU_MEM_ALLOC_GRANULARITY_MINIMUM) &&
           granularity && VMM_GRANULARITY % granularity == 0;
}

int native_virtual_reserve(struct cuda_device *d, uint64_t size, uint64_t align, uint64_t wanted,
                           uint64_t *ret_address)
{
    CUdeviceptr address = 0;
    uint64_t least = align > VMM_GRANULARITY ? align : VMM_GRANULARITY;
    int err = native_enter(d->home);

    if (!err)
        err = (int)native.cuMemAddressReserve(&address, size, least, wanted, 0);
    if (!err)
        *ret_address = address;
    return err;
}

int native_virtual_release(struct cuda_device *d, uint64_t address, uint64_t size)
{
    int err = native_enter(d->home);

    return err ? err : (int)native.cuMemAddressFree(address, size);
}

int native_virtual_map(struct cuda_device *d, uint64_t address, uint64_t size,
                       struct cuda_physical *physical, uint64_t offset)
{
    int err = native_enter(d->home);

    return err ? err : (int)native.cuMemMap(address, size, offset, physical->handle, 0);
}

int native_virtual_unmap(struct cuda_device *d, uint64_t address, uint64_t size)
{
    int err = native_enter(d->home);

    return err ? err : (int)native.cuMemUnmap(address, size);
}

int native_virtual_allow(struct cuda_device *d, uint64_t address, uint64_t size,
                         enum vmm_access access)
{
    CUmemAccessDesc a = {.location = {CU_MEM_LOCATION_TYPE_DEVICE, d->handle},
                         .flags = access == VMM_WRITE  ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
                                  : access == VMM_READ ? CU_MEM_ACCESS_FLAGS_PROT_READ
                                                       : CU_MEM_ACCESS_FLAGS_PROT_NONE};
    int err = native_enter(d->home);

    return err ? err : (int)native.cuMemSetAccess(address, size, &a, 1);
}

/* Of others nothing is left in it. */
static int wipe(struct cuda_device *d, struct cuda_physical *p, uint64_t size)
{
    uint64_t address;
    int err = native_virtual_reserve(d, size, 0, 0, &address);

    if (err)
        return err;
    err = native_virtual_map(d, address, size, p, 0);
    if (!err) {
        err = native_virtual_allow(d, address, size, VMM_WRITE);
        if (!err)
            err = (int)native.cuMemsetD8Async(address, 0, size, NULL);
        if (!err)
            err = (int)native.cuStreamSynchronize(NULL);
        native_virtual_unmap(d, address, size);
    }
    native_virtual_release(d, address, size);
    return err;
}

int native_physical_create(struct cuda_device *d, uint64_t size, int fd,
                           struct cuda_physical **ret_physical)
{
    CUmemAllocationProp prop = kind(d);
    struct cuda_physical *p;
    int err = native_enter(d->home);

    if (fd >= 0)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (err)
        return err;
    p = malloc(sizeof(*p));
    if (!p)
        return CUDA_ERROR_OUT_OF_MEMORY;
    err = (int)native.cuMemCreate(&p->handle, size, &prop, 0);
    if (err)
        goto failed;
    err = wipe(d, p, size);
    if (!err) {
        *ret_physical = p;
        return 0;
    }
    native.cuMemRelease(p->handle);
failed:
    free(p);
    return err;
}

void native_physical_destroy(struct cuda_device *d, struct cuda_physical *p)
{
    if (!native_enter(d->home))
        native.cuMemRelease(p->handle);
    free(p);
}
