/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include <viaduct/errors.h>

#include "remote.h"

/* Addresses and memory apart, at a host. */

struct cuda_physical {
    struct remote *remote; /* counted: another session has other slots */
    uint32_t slot;
};

/* A call whose reply has nothing but a CUresult. */
static int call(struct remote *r, uint32_t op, const void *req, int fd)
{
    struct vd_cuda_virtual_map_rep rep = {0};
    int err = r ? remote_call_fd(r, op, req, fd, &rep, NULL, NULL) : CUDA_ERROR_LAUNCH_FAILED;

    return err ? err : (int)rep.result;
}

static int reserve_one(struct remote *r, const struct vd_cuda_virtual_reserve_req *req,
                       uint64_t *ret_address)
{
    struct vd_cuda_virtual_reserve_rep rep = {0};
    int err = remote_call(r, VD_OP_cuda_virtual_reserve, req, &rep, NULL, NULL);

    if (!err)
        err = (int)rep.result;
    if (!err)
        *ret_address = rep.address;
    return err;
}

static int release_one(struct remote *r, uint64_t address, uint64_t size)
{
    struct vd_cuda_virtual_release_req req = {.address = address, .size = size};

    return call(r, VD_OP_cuda_virtual_release, &req, -1);
}

int remote_virtual_reserve(struct cuda_device *device, uint64_t size, uint64_t align,
                           uint64_t wanted, uint64_t *ret_address)
{
    struct vd_cuda_virtual_reserve_req req = {
        .device = device->index, .size = size, .align = align, .wanted = wanted};
    struct remote *r = remote_current();
    uint64_t taken[8];
    unsigned n = 0;
    int err = CUDA_ERROR_LAUNCH_FAILED;

    if (!r)
        return err;
    for (;;) {
        err = reserve_one(r, &req, ret_address);
        if (err || remote_reserve(r, *ret_address, size))
            break;
        /* As for memory_create: something of this process is there. */
        taken[n++] = *ret_address;
        err = CUDA_ERROR_OUT_OF_MEMORY;
        if (n == 8)
            break;
    }
    while (n)
        release_one(r, taken[--n], size);
    return err;
}

int remote_virtual_release(struct cuda_device *device, uint64_t address, uint64_t size)
{
    struct remote *r = remote_current();
    int err = release_one(r, address, size);

    (void)device;
    if (r)
        remote_unreserve(r, address);
    return err;
}

static int take_slot(struct remote *r, uint32_t *ret_slot)
{
    int err = CUDA_ERROR_OUT_OF_MEMORY;

    pthread_mutex_lock(&r->lock);
    for (uint32_t i = 0; i < VD_MAX_CUDA_PHYSICAL / 64 && err; i++) {
        unsigned free_bit;

        if (!~r->physical_used[i])
            continue;
        free_bit = (unsigned)__builtin_ctzll(~r->physical_used[i]);
        r->physical_used[i] |= 1ull << free_bit;
        *ret_slot = i * 64 + free_bit;
        err = CUDA_SUCCESS;
    }
    pthread_mutex_unlock(&r->lock);
    return err;
}

static void give_slot(struct remote *r, uint32_t slot)
{
    pthread_mutex_lock(&r->lock);
    r->physical_used[slot / 64] &= ~(1ull << slot % 64);
    pthread_mutex_unlock(&r->lock);
}

int remote_physical_create(struct cuda_device *device, uint64_t size, int fd,
                           struct cuda_physical **ret_physical)
{
    struct vd_cuda_physical_create_req req = {.device = device->index, .size = size};
    struct cuda_physical *p = malloc(sizeof(*p));
    struct remote *r = NULL;
    int err = p ? remote_get(&r) : CUDA_ERROR_OUT_OF_MEMORY;

    if (!err && fd >= 0 && r->pump)
        err = CUDA_ERROR_NOT_SUPPORTED;
    if (!err)
        err = take_slot(r, &req.physical);
    if (err)
        goto failed;
    err = call(r, VD_OP_cuda_physical_create, &req, fd);
    if (err) {
        give_slot(r, req.physical);
        goto failed;
    }
    *p = (struct cuda_physical){r, req.physical};
    *ret_physical = p;
    return CUDA_SUCCESS;
failed:
    remote_drop(r);
    free(p);
    return err;
}

void remote_physical_destroy(struct cuda_device *device, struct cuda_physical *p)
{
    struct vd_cuda_physical_destroy_req req = {.physical = p->slot};

    (void)device;
    remote_post(p->remote, VD_OP_cuda_physical_destroy, &req, sizeof(req));
    give_slot(p->remote, p->slot);
    remote_drop(p->remote);
    free(p);
}

int remote_virtual_map(struct cuda_device *device, uint64_t address, uint64_t size,
                       struct cuda_physical *physical, uint64_t offset)
{
    struct vd_cuda_virtual_map_req req = {
        .physical = physical->slot, .offset = offset, .address = address, .size = size};

    (void)device;
    return remote_current() == physical->remote
               ? call(physical->remote, VD_OP_cuda_virtual_map, &req, -1)
               : CUDA_ERROR_LAUNCH_FAILED;
}

int remote_virtual_unmap(struct cuda_device *device, uint64_t address, uint64_t size)
{
    struct vd_cuda_virtual_unmap_req req = {.address = address, .size = size};

    (void)device;
    return call(remote_current(), VD_OP_cuda_virtual_unmap, &req, -1);
}

int remote_virtual_allow(struct cuda_device *device, uint64_t address, uint64_t size,
                         enum vmm_access access)
{
    struct vd_cuda_virtual_allow_req req = {
        .address = address, .size = size, .access = (uint32_t)access};

    (void)device;
    return call(remote_current(), VD_OP_cuda_virtual_allow, &req, -1);
}
