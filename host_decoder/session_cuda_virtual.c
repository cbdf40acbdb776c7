/* SPDX-License-Identifier: MIT */
#include "session_cuda.h"

#include <stdlib.h>

#include <transport/memory.h>
#include <viaduct/errors.h>

/*
 * Addresses and memory apart. What is where is in the session's account (vmm.h), which says what a
 * guest may ask for; a backend's own checks, and a driver's, are not relied on.
 */

_Static_assert(VD_CUDA_GRANULARITY == VMM_GRANULARITY, "one number");

static bool is_multiple(uint64_t value)
{
    return value % VMM_GRANULARITY == 0;
}

/* One device has them all: which, is in the memory's slot. */
static const struct cuda_session_physical *physical_at(const struct cuda_session *c,
                                                       uint64_t address)
{
    const struct vmm_stretch *m = vmm_mapping(&c->vmm, address);

    return m ? m->of : NULL;
}

/* Reservations say no device, nor do drivers ask for one: the first that is open does. */
static struct cuda_device *any_device(const struct cuda_session *c)
{
    struct cuda_device *device = NULL;

    for (uint32_t i = 0; i < c->device_count && !device; i++)
        device = c->devices[i];
    return device;
}

int session_cuda_virtual_reserve(void *self, const struct vd_cuda_virtual_reserve_req *req,
                                 const struct vd_none *tail, uint32_t tail_count,
                                 struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_virtual_reserve_rep *rep = reply->fixed;
    struct cuda_device *device = cuda_session_device(c, req->device);
    uint64_t address;
    int err = CUDA_SUCCESS;

    (void)tail, (void)tail_count;
    if (req->device >= c->device_count)
        return VD_ERR_PROTOCOL;
    if (!device)
        err = CUDA_ERROR_DEVICE_UNAVAILABLE;
    else if (!c->backend->virtual_reserve)
        err = CUDA_ERROR_NOT_SUPPORTED;
    else if (!req->size || !is_multiple(req->size) || req->align & (req->align - 1) ||
             req->align > VD_MAX_CUDA_RESERVED)
        err = CUDA_ERROR_INVALID_VALUE;
    else if (req->size > VD_MAX_CUDA_RESERVED - c->reserved_bytes ||
             c->vmm.reservations.count == VD_MAX_CUDA_RESERVES)
        err = CUDA_ERROR_OUT_OF_MEMORY;
    if (!err)
        err = c->backend->virtual_reserve(device, req->size, req->align, req->wanted, &address);
    if (!err) {
        err = vmm_reserve(&c->vmm, address, req->size);
        if (err)
            c->backend->virtual_release(device, address, req->size);
    }
    rep->result = (uint32_t)err;
    if (!err) {
        c->reserved_bytes += req->size;
        rep->address = address;
    }
    return 0;
}

int session_cuda_virtual_release(void *self, const struct vd_cuda_virtual_release_req *req,
                                 const struct vd_none *tail, uint32_t tail_count,
                                 struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_virtual_release_rep *rep = reply->fixed;

    (void)tail, (void)tail_count;
    rep->result = (uint32_t)vmm_release(&c->vmm, req->address, req->size);
    if (rep->result)
        return 0;
    c->reserved_bytes -= req->size;
    rep->result = (uint32_t)c->backend->virtual_release(any_device(c), req->address, req->size);
    return 0;
}

int session_cuda_physical_create(void *self, const struct vd_cuda_physical_create_req *req,
                                 const struct vd_none *tail, uint32_t tail_count,
                                 struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_physical_create_rep *rep = reply->fixed;
    struct cuda_device *device = cuda_session_device(c, req->device);
    struct cuda_session_physical *p;
    int err = CUDA_SUCCESS;

    (void)tail, (void)tail_count;
    if (!c->physicals)
        c->physicals = calloc(VD_MAX_CUDA_PHYSICAL, sizeof(*c->physicals));
    if (!c->physicals)
        return VD_ERR_MEMORY;
    if (req->device >= c->device_count || req->physical >= VD_MAX_CUDA_PHYSICAL ||
        c->physicals[req->physical].physical)
        return VD_ERR_PROTOCOL;
    p = &c->physicals[req->physical];
    cuda_session_freed(c);
    if (!device)
        err = CUDA_ERROR_DEVICE_UNAVAILABLE;
    else if (!c->backend->physical_create)
        err = CUDA_ERROR_NOT_SUPPORTED;
    else if (!req->size || !is_multiple(req->size))
        err = CUDA_ERROR_INVALID_VALUE;
    else if (req->size > c->max_bytes - c->used_bytes)
        err = CUDA_ERROR_OUT_OF_MEMORY;
    else if (reply->request_fd >= 0 && memory_check(reply->request_fd, req->size))
        err = CUDA_ERROR_INVALID_HANDLE;
    if (!err)
        err = c->backend->physical_create(device, req->size, reply->request_fd, &p->physical);
    rep->result = (uint32_t)err;
    if (err)
        return 0;
    p->device = req->device;
    p->mappings = 0;
    p->size = req->size;
    cuda_session_use(c, p->size);
    return 0;
}

static struct cuda_session_physical *find(const struct cuda_session *c, uint32_t slot)
{
    return c->physicals && slot < VD_MAX_CUDA_PHYSICAL && c->physicals[slot].physical
               ? &c->physicals[slot]
               : NULL;
}

static void destroy(struct cuda_session *c, struct cuda_session_physical *p)
{
    c->backend->physical_destroy(c->devices[p->device], p->physical);
    p->physical = NULL;
    cuda_session_unuse(c, p->size);
}

int session_cuda_physical_destroy(void *self, const struct vd_cuda_physical_destroy_req *req,
                                  const struct vd_none *tail, uint32_t tail_count,
                                  struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct cuda_session_physical *p = find(c, req->physical);

    (void)tail, (void)tail_count, (void)reply;
    if (!p || p->mappings)
        return VD_ERR_PROTOCOL;
    destroy(c, p);
    return 0;
}

int session_cuda_virtual_map(void *self, const struct vd_cuda_virtual_map_req *req,
                             const struct vd_none *tail, uint32_t tail_count,
                             struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_virtual_map_rep *rep = reply->fixed;
    struct cuda_session_physical *p = find(c, req->physical);
    int err;

    (void)tail, (void)tail_count;
    if (!p)
        return VD_ERR_PROTOCOL;
    err = vmm_can_map(&c->vmm, req->address, req->size);
    if (!is_multiple(req->offset) || req->offset > p->size || req->size > p->size - req->offset)
        err = CUDA_ERROR_INVALID_VALUE;
    else if (c->vmm.mappings.count == VD_MAX_CUDA_RANGES)
        err = CUDA_ERROR_OUT_OF_MEMORY;
    if (!err)
        err = c->backend->virtual_map(c->devices[p->device], req->address, req->size, p->physical,
                                      req->offset);
    if (!err) {
        vmm_map(&c->vmm, req->address, req->size, p, req->offset);
        p->mappings++;
    }
    rep->result = (uint32_t)err;
    return 0;
}

static void dropped(void *arg, const struct vmm_stretch *mapping)
{
    struct cuda_session_physical *p = mapping->of;

    (void)arg;
    p->mappings--;
}

int session_cuda_virtual_unmap(void *self, const struct vd_cuda_virtual_unmap_req *req,
                               const struct vd_none *tail, uint32_t tail_count,
                               struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_virtual_unmap_rep *rep = reply->fixed;
    int err = CUDA_ERROR_INVALID_VALUE;

    (void)tail, (void)tail_count;
    if (vmm_is_whole(&c->vmm, req->address, req->size))
        err = c->backend->virtual_unmap(c->devices[physical_at(c, req->address)->device],
                                        req->address, req->size);
    if (!err)
        vmm_unmap(&c->vmm, req->address, req->size, dropped, NULL);
    rep->result = (uint32_t)err;
    return 0;
}

int session_cuda_virtual_allow(void *self, const struct vd_cuda_virtual_allow_req *req,
                               const struct vd_none *tail, uint32_t tail_count,
                               struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_virtual_allow_rep *rep = reply->fixed;
    int err = CUDA_ERROR_INVALID_VALUE;

    (void)tail, (void)tail_count;
    if (req->access <= VMM_WRITE && vmm_is_whole(&c->vmm, req->address, req->size))
        err = c->backend->virtual_allow(c->devices[physical_at(c, req->address)->device],
                                        req->address, req->size, (enum vmm_access)req->access);
    if (!err)
        vmm_allow(&c->vmm, req->address, req->size, (enum vmm_access)req->access);
    rep->result = (uint32_t)err;
    return 0;
}

void cuda_session_virtual_end(struct cuda_session *c)
{
    const struct vmm_list *mappings = &c->vmm.mappings, *reservations = &c->vmm.reservations;

    for (uint32_t i = 0; i < mappings->count; i++) {
        const struct vmm_stretch *m = &mappings->stretches[i];

        c->backend->virtual_unmap(c->devices[physical_at(c, m->address)->device], m->address,
                                  m->size);
        dropped(NULL, m);
    }
    for (uint32_t i = 0; i < reservations->count; i++)
        c->backend->virtual_release(any_device(c), reservations->stretches[i].address,
                                    reservations->stretches[i].size);
    for (uint32_t i = 0; c->physicals && i < VD_MAX_CUDA_PHYSICAL; i++)
        if (c->physicals[i].physical)
            destroy(c, &c->physicals[i]);
    free(c->physicals);
    vmm_finish(&c->vmm);
}
