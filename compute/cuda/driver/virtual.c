/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "virtual.h"

/*
 * Addresses and memory apart. The account of what is where says what a program may ask for; each
 * mapping is a range, too, so that pointers can be asked about.
 *
 * Memory that is to be shared is a memfd, which backends take instead of memory of their own: its
 * descriptor is the shareable handle, and any process that has it may import it.
 */

struct physical {
    CUmemAllocationProp prop;
    struct cuda_device *device;
    struct cuda_physical *memory;
    uint64_t size;
    unsigned handles, mappings; /* it stays as long as there are any */
    int fd;                     /* -1: it is not to be shared */
    struct physical *next_gone;
};

/* One of these calls at a time: the lock is given up while a backend does its part. */
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static struct vmm vmm; /* guarded by the lock, changed with both */

static CUresult begin(void)
{
    CUresult err = enter();

    if (err)
        return err;
    unlock();
    pthread_mutex_lock(&order);
    lock();
    return CUDA_SUCCESS;
}

static CUresult end(CUresult result)
{
    unlock();
    pthread_mutex_unlock(&order);
    return result;
}

bool virtual_is_reserved(uint64_t address)
{
    return vmm_reservation(&vmm, address) != NULL;
}

bool virtual_has(uint64_t address, uint64_t size, enum vmm_access access)
{
    return vmm_has(&vmm, address, size, access);
}

/* With the lock. */
static struct physical *find(CUmemGenericAllocationHandle handle)
{
    struct physical *p = (struct physical *)(uintptr_t)handle;

    return handle_is(p, PHYSICAL) && p->handles ? p : NULL;
}

/* With the lock, which is given up meanwhile: gone, if nothing holds it. */
static void drop(struct physical *p)
{
    if (p->handles || p->mappings)
        return;
    handle_remove(p);
    unlock();
    backend->physical_destroy(p->device, p->memory);
    if (p->fd >= 0)
        close(p->fd);
    free(p);
    lock();
}

static uint64_t rounded(uint64_t size)
{
    return (size + VMM_GRANULARITY - 1) / VMM_GRANULARITY * VMM_GRANULARITY;
}

/* 0, or why there cannot be such memory. */
static CUresult check_prop(const CUmemAllocationProp *prop)
{
    const struct cuda_properties *device;

    if (!prop || prop->type != CU_MEM_ALLOCATION_TYPE_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    if (prop->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return prop->location.type == CU_MEM_LOCATION_TYPE_INVALID ? CUDA_ERROR_INVALID_VALUE
                                                                   : CUDA_ERROR_NOT_SUPPORTED;
    device = device_properties(prop->location.id);
    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!device->virtual_memory)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (prop->requestedHandleTypes & ~CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ||
        (prop->requestedHandleTypes && !device->imports) || prop->allocFlags.usage)
        return CUDA_ERROR_NOT_SUPPORTED;
    return CUDA_SUCCESS;
}

API cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *prop,
                                  CUmemAllocationGranularity_flags option)
{
    CUresult err = enter();

    if (err)
        return err;
    err = check_prop(prop);
    if (!granularity || (unsigned)option > CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err)
        *granularity = VMM_GRANULARITY;
    return leave(err);
}

API cuMemAddressReserve(CUdeviceptr *address, size_t size, size_t align, CUdeviceptr wanted,
                        unsigned long long flags)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct cuda_device *device = NULL;
    uint64_t at = 0;
    CUresult err = begin();

    if (err)
        return err;
    if (!device_count() || !device_properties(0)->virtual_memory)
        return end(CUDA_ERROR_NOT_SUPPORTED);
    if (!address || !size || size % page || wanted % page || align & (align - 1) || flags ||
        size > SIZE_MAX - VMM_GRANULARITY)
        return end(CUDA_ERROR_INVALID_VALUE);
    unlock();
    err = (CUresult)backend->open(0, &device);
    if (!err)
        err = (CUresult)backend->virtual_reserve(device, rounded(size), align, wanted, &at);
    lock();
    if (err)
        return end(err);
    err = (CUresult)vmm_reserve(&vmm, at, size);
    if (err) {
        backend->virtual_release(device, at, rounded(size));
        return end(err);
    }
    *address = at;
    return end(CUDA_SUCCESS);
}

API cuMemAddressFree(CUdeviceptr address, size_t size)
{
    struct cuda_device *device;
    CUresult err = begin();

    if (err)
        return err;
    err = (CUresult)vmm_release(&vmm, address, size);
    if (err)
        return end(err);
    unlock();
    err = (CUresult)backend->open(0, &device);
    if (!err)
        err = (CUresult)backend->virtual_release(device, address, rounded(size));
    lock();
    return end(err);
}

/* Memory that others may get: its pages stay as long as any of them has it. */
static int make_shareable(uint64_t size)
{
    int fd = memfd_create("viaduct-cuda", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* With the lock, which is given up meanwhile. `fd` becomes the memory's. */
static CUresult create(const CUmemAllocationProp *prop, uint64_t size, int fd,
                       CUmemGenericAllocationHandle *ret_handle)
{
    struct physical *p = calloc(1, sizeof(*p));
    CUresult err = CUDA_ERROR_OUT_OF_MEMORY;

    if (!p)
        return err;
    *p = (struct physical){.prop = *prop, .size = size, .handles = 1, .fd = fd};
    unlock();
    err = (CUresult)backend->open((unsigned)prop->location.id, &p->device);
    if (!err)
        err = (CUresult)backend->physical_create(p->device, size, fd, &p->memory);
    lock();
    if (err)
        goto failed;
    err = handle_add(p, PHYSICAL) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    if (!err) {
        *ret_handle = (uintptr_t)p;
        return CUDA_SUCCESS;
    }
    backend->physical_destroy(p->device, p->memory);
failed:
    free(p);
    return err;
}

API cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *prop,
                unsigned long long flags)
{
    int fd = -1;
    CUresult err = begin();

    if (err)
        return err;
    err = check_prop(prop);
    if (!handle || !size || size % VMM_GRANULARITY || flags)
        err = CUDA_ERROR_INVALID_VALUE;
    if (err)
        return end(err);
    if (size > device_properties(prop->location.id)->memory)
        return end(CUDA_ERROR_OUT_OF_MEMORY);
    if (prop->requestedHandleTypes) {
        fd = make_shareable(size);
        if (fd < 0)
            return end(CUDA_ERROR_OUT_OF_MEMORY);
    }
    err = create(prop, size, fd, handle);
    if (err && fd >= 0)
        close(fd);
    return end(err);
}

API cuMemRelease(CUmemGenericAllocationHandle handle)
{
    struct physical *p;
    CUresult err = begin();

    if (err)
        return err;
    p = find(handle);
    if (!p)
        return end(CUDA_ERROR_INVALID_VALUE);
    p->handles--;
    drop(p);
    return end(CUDA_SUCCESS);
}

API cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address)
{
    const struct vmm_stretch *m;
    struct physical *p;
    CUresult err = begin();

    if (err)
        return err;
    m = vmm_mapping(&vmm, (uintptr_t)address);
    if (!handle || !m)
        return end(CUDA_ERROR_INVALID_VALUE);
    p = m->of;
    p->handles++;
    *handle = (uintptr_t)p;
    return end(CUDA_SUCCESS);
}

API cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop,
                                           CUmemGenericAllocationHandle handle)
{
    const struct physical *p;
    CUresult err = enter();

    if (err)
        return err;
    p = find(handle);
    if (!prop || !p)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *prop = p->prop;
    return leave(CUDA_SUCCESS);
}

API cuMemExportToShareableHandle(void *shared, CUmemGenericAllocationHandle handle,
                                 CUmemAllocationHandleType type, unsigned long long flags)
{
    const struct physical *p;
    CUresult err = enter();
    int fd;

    if (err)
        return err;
    p = find(handle);
    if (!shared || !p || flags)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    if (p->fd < 0)
        return leave(CUDA_ERROR_INVALID_VALUE);
    fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return leave(CUDA_ERROR_OPERATING_SYSTEM);
    *(int *)shared = fd;
    return leave(CUDA_SUCCESS);
}

/* The device is the first: a descriptor says none. */
API cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *shared,
                                   CUmemAllocationHandleType type)
{
    CUmemAllocationProp prop = {
        .type = CU_MEM_ALLOCATION_TYPE_PINNED,
        .requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
        .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0},
    };
    int own = (int)(intptr_t)shared, fd, seals;
    struct stat s;
    CUresult err = begin();

    if (err)
        return err;
    err = type == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ? check_prop(&prop)
                                                           : CUDA_ERROR_NOT_SUPPORTED;
    if (!handle)
        err = CUDA_ERROR_INVALID_VALUE;
    if (err)
        return end(err);
    /* What may shrink under a kernel is nobody's device memory. */
    seals = fcntl(own, F_GET_SEALS);
    if (fstat(own, &s) || seals < 0 || !(seals & F_SEAL_SHRINK) || s.st_size <= 0 ||
        (uint64_t)s.st_size % VMM_GRANULARITY)
        return end(CUDA_ERROR_INVALID_VALUE);
    fd = fcntl(own, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return end(CUDA_ERROR_OPERATING_SYSTEM);
    err = create(&prop, (uint64_t)s.st_size, fd, handle);
    if (err)
        close(fd);
    return end(err);
}

API cuMemMap(CUdeviceptr address, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
             unsigned long long flags)
{
    struct physical *p;
    CUresult err = begin();

    if (err)
        return err;
    p = find(handle);
    if (!p || flags || offset % VMM_GRANULARITY || offset > p->size || size > p->size - offset)
        return end(CUDA_ERROR_INVALID_VALUE);
    err = (CUresult)vmm_can_map(&vmm, address, size);
    if (!err)
        err = range_add(NULL, RANGE_VIRTUAL, address, size, 0);
    if (err)
        return end(err);
    range_find(address)->device = p->prop.location.id;
    unlock();
    err = (CUresult)backend->virtual_map(p->device, address, size, p->memory, offset);
    lock();
    if (err) {
        range_remove(range_find(address));
        return end(err);
    }
    vmm_map(&vmm, address, size, p, offset);
    p->mappings++;
    return end(CUDA_SUCCESS);
}

static void dropped(void *arg, const struct vmm_stretch *mapping)
{
    struct physical *p = mapping->of, **gone = arg;
    struct range *r = range_find(mapping->address);

    p->mappings--;
    if (r)
        range_remove(r);
    /* Freed once the account is right. */
    if (!p->mappings && !p->handles) {
        p->next_gone = *gone;
        *gone = p;
    }
}

API cuMemUnmap(CUdeviceptr address, size_t size)
{
    struct physical *gone = NULL;
    CUresult err = begin();
    struct cuda_device *device;

    if (err)
        return err;
    if (!vmm_is_whole(&vmm, address, size))
        return end(CUDA_ERROR_INVALID_VALUE);
    device = ((struct physical *)vmm_mapping(&vmm, address)->of)->device;
    unlock();
    err = (CUresult)backend->virtual_unmap(device, address, size);
    lock();
    if (err)
        return end(err);
    vmm_unmap(&vmm, address, size, dropped, &gone);
    while (gone) {
        struct physical *p = gone;

        gone = p->next_gone;
        drop(p);
    }
    return end(CUDA_SUCCESS);
}

static bool is_device(const CUmemLocation *place)
{
    return place->type == CU_MEM_LOCATION_TYPE_DEVICE && device_properties(place->id);
}

API cuMemSetAccess(CUdeviceptr address, size_t size, const CUmemAccessDesc *access, size_t count)
{
    const struct physical *p;
    CUresult err = begin();

    if (err)
        return err;
    if (!access || !count || !vmm_is_whole(&vmm, address, size))
        return end(CUDA_ERROR_INVALID_VALUE);
    p = vmm_mapping(&vmm, address)->of;
    for (size_t i = 0; i < count && !err; i++) {
        if (access[i].flags != CU_MEM_ACCESS_FLAGS_PROT_NONE &&
            access[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
            access[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
            err = CUDA_ERROR_INVALID_VALUE;
        else if (!is_device(&access[i].location))
            err = access[i].location.type == CU_MEM_LOCATION_TYPE_DEVICE ? CUDA_ERROR_INVALID_DEVICE
                                                                         : CUDA_ERROR_NOT_SUPPORTED;
        /* No device reaches another's memory (cuDeviceCanAccessPeer). */
        else if (access[i].location.id != p->prop.location.id && access[i].flags)
            err = CUDA_ERROR_INVALID_DEVICE;
    }
    for (size_t i = 0; i < count && !err; i++) {
        enum vmm_access is = access[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE ? VMM_WRITE
                             : access[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READ    ? VMM_READ
                                                                                   : VMM_NONE;

        if (access[i].location.id != p->prop.location.id)
            continue;
        unlock();
        err = (CUresult)backend->virtual_allow(p->device, address, size, is);
        lock();
        if (!err)
            vmm_allow(&vmm, address, size, is);
    }
    return end(err);
}

API cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr address)
{
    const struct vmm_stretch *m;
    const struct physical *p;
    CUresult err = enter();

    if (err)
        return err;
    m = vmm_mapping(&vmm, address);
    if (!flags || !location || !m || !is_device(location))
        return leave(CUDA_ERROR_INVALID_VALUE);
    p = m->of;
    *flags = location->id != p->prop.location.id || m->access == VMM_NONE
                 ? CU_MEM_ACCESS_FLAGS_PROT_NONE
             : m->access == VMM_READ ? CU_MEM_ACCESS_FLAGS_PROT_READ
                                     : CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    return leave(CUDA_SUCCESS);
}
