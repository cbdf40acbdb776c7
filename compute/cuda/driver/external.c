/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "external.h"

/*
 * Memory of others by a descriptor: a memfd, or a dma-buf that vaExportSurfaceHandle gave. It is
 * mapped here and at the host, at one address, and none of it is copied. Whoever wrote it before
 * has to have finished (vaSyncSurface), as with all handles that are opaque.
 */

/* Another place where a host has something of its own at an address. */
#define TRIES 4

struct CUextMemory_st {
    int fd;
    uint64_t size;
};

API cuImportExternalMemory(CUexternalMemory *ret_memory, const CUDA_EXTERNAL_MEMORY_HANDLE_DESC *d)
{
    struct CUextMemory_st *m;
    struct CUctx_st *c;
    CUresult err = enter_context(&c);
    off_t end;

    if (err)
        return err;
    if (!ret_memory || !d || !d->size || d->flags & ~CUDA_EXTERNAL_MEMORY_DEDICATED)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (d->type != CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD)
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    end = lseek(d->handle.fd, 0, SEEK_END);
    if (end < 0)
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if ((uint64_t)end < d->size)
        return leave(CUDA_ERROR_INVALID_VALUE);
    m = calloc(1, sizeof(*m));
    if (!m || !handle_add(m, EXTERNAL)) {
        free(m);
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    }
    /* The program's until here. */
    m->fd = d->handle.fd;
    m->size = d->size;
    *ret_memory = m;
    return leave(CUDA_SUCCESS);
}

CUresult external_map(int fd, uint64_t offset, uint64_t size, void **ret_memory)
{
    void *places[TRIES] = {0}, *p = MAP_FAILED;
    CUresult err = CUDA_ERROR_NOT_SUPPORTED;
    unsigned n = 0;

    unlock();
    while (n < TRIES && err == CUDA_ERROR_NOT_SUPPORTED) {
        p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
        if (p == MAP_FAILED) {
            err = CUDA_ERROR_INVALID_HANDLE;
            break;
        }
        err = (CUresult)(backend->memory_import ? backend->memory_import(fd, offset, p, size)
                                                : backend->memory_map(p, size));
        if (err)
            places[n++] = p;
    }
    while (n)
        munmap(places[--n], size);
    lock();
    if (!err)
        *ret_memory = p;
    return err;
}

API cuExternalMemoryGetMappedBuffer(CUdeviceptr *address, CUexternalMemory memory,
                                    const CUDA_EXTERNAL_MEMORY_BUFFER_DESC *d)
{
    uint64_t before, size;
    struct CUctx_st *c;
    CUresult err = enter_context(&c);
    void *p = NULL;
    int fd;

    if (err)
        return err;
    if (!handle_is(memory, EXTERNAL))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if (!address || !d || d->flags || !d->size || d->offset > memory->size ||
        d->size > memory->size - d->offset)
        return leave(CUDA_ERROR_INVALID_VALUE);
    before = d->offset % IMPORT_PAGE;
    size = before + d->size;
    /* It may be destroyed meanwhile. */
    fd = dup(memory->fd);
    if (fd < 0)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    err = external_map(fd, d->offset - before, size, &p);
    close(fd);
    if (err)
        return leave(err);
    err = range_add(c, RANGE_IMPORTED, (uintptr_t)p + before, d->size, 0);
    if (err)
        external_unmap((uintptr_t)p + before, d->size);
    else
        *address = (uintptr_t)p + before;
    return leave(err);
}

void external_unmap(uint64_t address, uint64_t size)
{
    uint64_t start = address / IMPORT_PAGE * IMPORT_PAGE;

    backend->memory_unmap(start);
    munmap((void *)(uintptr_t)start, size + (address - start));
}

API cuDestroyExternalMemory(CUexternalMemory memory)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(memory, EXTERNAL))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    handle_remove(memory);
    close(memory->fd);
    free(memory);
    return leave(CUDA_SUCCESS);
}
