/* SPDX-License-Identifier: MIT */
#include "session_cuda.h"

#include <sys/mman.h>

#include <transport/memory.h>
#include <viaduct/errors.h>

/* Below it no program has memory, and a worker of root's that had some would not see its own
 * faults. */
#define LEAST_ADDRESS 65536u

/* Memory of the guest's, or of another of its sessions (surfaces), by a descriptor. */

int session_cuda_memory_import(void *self, const struct vd_cuda_memory_import_req *req,
                               const struct vd_none *tail, uint32_t tail_count,
                               struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_memory_import_rep *rep = reply->fixed;
    struct cuda_session_range range = {
        .address = req->address, .size = req->size, .kind = CUDA_RANGE_MAPPED};
    void *wanted = (void *)(uintptr_t)req->address;

    (void)tail, (void)tail_count;
    if (reply->request_fd < 0 || req->offset % 4096 || req->address % 4096 ||
        req->address < LEAST_ADDRESS || !req->size || req->address + req->size < req->address ||
        req->offset + req->size < req->offset)
        return VD_ERR_PROTOCOL;
    cuda_session_freed(c);
    if (cuda_session_overlaps(c, req->address, req->size)) {
        rep->result = CUDA_ERROR_INVALID_VALUE;
        return 0;
    }
    if (req->size > c->max_bytes - c->used_bytes) {
        rep->result = CUDA_ERROR_OUT_OF_MEMORY;
        return 0;
    }
    if (memory_check(reply->request_fd, req->offset + req->size)) {
        rep->result = CUDA_ERROR_INVALID_HANDLE;
        return 0;
    }
    /* A device that has the host's addresses can have it at that address alone: there, if that is
     * free. */
    range.mapping = mmap(wanted, req->size, PROT_READ | PROT_WRITE, MAP_SHARED, reply->request_fd,
                         (off_t)req->offset);
    if (range.mapping == MAP_FAILED) {
        rep->result = CUDA_ERROR_INVALID_HANDLE;
        return 0;
    }
    rep->result = (uint32_t)c->backend->memory_map_as(range.mapping, req->size, req->address);
    if (!rep->result && cuda_session_add(c, &range)) {
        c->backend->memory_unmap(req->address);
        rep->result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (rep->result)
        munmap(range.mapping, req->size);
    else
        cuda_session_use(c, req->size);
    return 0;
}

int session_cuda_memory_share(void *self, const struct vd_cuda_memory_share_req *req,
                              const struct vd_none *tail, uint32_t tail_count,
                              struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_memory_share_rep *rep = reply->fixed;
    const struct cuda_session_range *r = cuda_session_find(c, req->address);

    (void)tail, (void)tail_count;
    if (reply->request_fd < 0 || !r || r->address != req->address || r->kind != CUDA_RANGE_DEVICE)
        return VD_ERR_PROTOCOL;
    if (!c->backend->memory_share)
        rep->result = CUDA_ERROR_NOT_SUPPORTED;
    else if (memory_check(reply->request_fd, r->size))
        rep->result = CUDA_ERROR_INVALID_HANDLE;
    else
        rep->result = (uint32_t)c->backend->memory_share(c->devices[r->device], r->address,
                                                         reply->request_fd);
    return 0;
}

void cuda_session_unmap(struct cuda_session *c, const struct cuda_session_range *r)
{
    c->backend->memory_unmap(r->address);
    if (!r->mapping)
        return;
    munmap(r->mapping, r->size);
    cuda_session_unuse(c, r->size);
}
