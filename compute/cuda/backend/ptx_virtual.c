/* SPDX-License-Identifier: MIT */
#include <viaduct/errors.h>

#include "ptx_device.h"

/* Addresses and memory apart, of the executor. */

_Static_assert((int)VMM_READ == PTX_ACCESS_READ && (int)VMM_WRITE == PTX_ACCESS_WRITE, "one enum");

static int error_of(int err)
{
    return !err ? 0 : err == VD_ERR_MEMORY ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
}

int ptx_device_share(struct cuda_device *d, uint64_t address, int fd)
{
    return error_of(ptx_memory_share(d->ptx, address, fd));
}

int ptx_device_reserve(struct cuda_device *d, uint64_t size, uint64_t align, uint64_t wanted,
                       uint64_t *ret_address)
{
    uint64_t least = align > VMM_GRANULARITY ? align : VMM_GRANULARITY;

    return error_of(ptx_virtual_reserve(d->ptx, size, least, wanted, ret_address));
}

int ptx_device_release(struct cuda_device *d, uint64_t address, uint64_t size)
{
    (void)size;
    return error_of(ptx_virtual_release(d->ptx, address));
}

int ptx_device_physical(struct cuda_device *d, uint64_t size, int fd,
                        struct cuda_physical **ret_physical)
{
    return error_of(
        ptx_physical_create(d->ptx, size, fd, (struct ptx_physical **)(void *)ret_physical));
}

void ptx_device_forget(struct cuda_device *d, struct cuda_physical *physical)
{
    ptx_physical_destroy(d->ptx, (struct ptx_physical *)physical);
}

int ptx_device_map(struct cuda_device *d, uint64_t address, uint64_t size,
                   struct cuda_physical *physical, uint64_t offset)
{
    return error_of(
        ptx_virtual_map(d->ptx, address, size, (struct ptx_physical *)physical, offset));
}

int ptx_device_unmap(struct cuda_device *d, uint64_t address, uint64_t size)
{
    return error_of(ptx_virtual_unmap(d->ptx, address, size));
}

int ptx_device_allow(struct cuda_device *d, uint64_t address, uint64_t size, enum vmm_access access)
{
    return error_of(ptx_virtual_allow(d->ptx, address, size, (enum ptx_access)access));
}
