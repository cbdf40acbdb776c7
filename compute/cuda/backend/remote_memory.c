/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <compute/cuda/texture.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "remote.h"

/* Memory of devices, and of the program that devices reach. */

/* Addresses of device memory that nobody here may get. */
struct remote_reserved {
    struct remote_reserved *next;
    uint64_t address, size;
};

void remote_memory_finish(struct remote *r)
{
    while (r->reserved) {
        struct remote_reserved *next = r->reserved->next;

        munmap((void *)(uintptr_t)r->reserved->address, r->reserved->size);
        free(r->reserved);
        r->reserved = next;
    }
}

/* Where the executor has its memory no program's is. */
static bool is_apart(uint64_t address)
{
    return address >= (uint64_t)0x10 << 40 && address < (uint64_t)0x20 << 40;
}

bool remote_reserve(struct remote *r, uint64_t address, uint64_t size)
{
    void *want = (void *)(uintptr_t)address, *got;
    struct remote_reserved *one;

    if (is_apart(address))
        return true;
    one = malloc(sizeof(*one));
    if (!one)
        return false;
    got = mmap(want, size, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != want) {
        if (got != MAP_FAILED)
            munmap(got, size);
        free(one);
        return false;
    }
    pthread_mutex_lock(&r->lock);
    *one = (struct remote_reserved){r->reserved, address, size};
    r->reserved = one;
    pthread_mutex_unlock(&r->lock);
    return true;
}

void remote_unreserve(struct remote *r, uint64_t address)
{
    struct remote_reserved *found;

    if (is_apart(address))
        return;
    pthread_mutex_lock(&r->lock);
    for (struct remote_reserved **at = &r->reserved; (found = *at); at = &found->next)
        if (found->address == address) {
            *at = found->next;
            break;
        }
    pthread_mutex_unlock(&r->lock);
    if (found)
        munmap((void *)(uintptr_t)address, found->size);
    free(found);
}

/* `shape`: an array. */
static int memory_create_one(struct remote *r, unsigned device, uint32_t context, uint64_t size,
                             const struct cuda_array_shape *shape, uint64_t *ret_address)
{
    if (shape) {
        struct vd_cuda_array_create_req array = {.device = device,
                                                 .context = context,
                                                 .width = shape->width,
                                                 .height = shape->height,
                                                 .depth = shape->depth,
                                                 .format = shape->format,
                                                 .channels = shape->channels,
                                                 .flags = shape->flags,
                                                 .levels = shape->levels};
        struct vd_cuda_array_create_rep made;
        int failed = remote_call(r, VD_OP_cuda_array_create, &array, &made, NULL, NULL);

        if (!failed)
            failed = (int)made.result;
        if (!failed)
            *ret_address = made.address;
        return failed;
    }
    struct vd_cuda_memory_create_req req = {.device = device, .context = context, .size = size};
    struct vd_cuda_memory_create_rep rep;
    int err = remote_call(r, VD_OP_cuda_memory_create, &req, &rep, NULL, NULL);

    if (!err)
        err = (int)rep.result;
    if (!err)
        *ret_address = rep.address;
    return err;
}

static void memory_destroy_one(struct remote *r, uint64_t address)
{
    struct vd_cuda_memory_destroy_req req = {.address = address};

    remote_post(r, VD_OP_cuda_memory_destroy, &req, sizeof(req));
}

static int create(struct cuda_device *device, struct cuda_context *context, uint64_t size,
                  const struct cuda_array_shape *shape, uint64_t *ret_address)
{
    const struct remote_context *c = (struct remote_context *)context;
    struct remote *r = remote_current();
    uint64_t taken[8];
    unsigned n = 0;
    int err = CUDA_ERROR_LAUNCH_FAILED;

    if (!r)
        return err;
    for (;;) {
        err = memory_create_one(r, device->index, c->slot, size, shape, ret_address);
        if (err || remote_reserve(r, *ret_address, size))
            break;
        /* Something of this process is there: another, while that one is kept. */
        taken[n++] = *ret_address;
        err = CUDA_ERROR_OUT_OF_MEMORY;
        if (n == 8)
            break;
    }
    while (n)
        memory_destroy_one(r, taken[--n]);
    return err;
}

int remote_memory_create(struct cuda_device *device, struct cuda_context *context, uint64_t size,
                         uint64_t *ret_address)
{
    return create(device, context, size, NULL, ret_address);
}

int remote_array_create(struct cuda_device *device, struct cuda_context *context,
                        const struct cuda_array_shape *shape, uint64_t *ret_address)
{
    struct cuda_texture t;

    return create(device, context, cuda_texture_lay_out(shape, &t), shape, ret_address);
}

int remote_memory_destroy(struct cuda_device *device, uint64_t address)
{
    struct remote *r = remote_current();

    (void)device;
    if (!r)
        return CUDA_SUCCESS;
    remote_unreserve(r, address);
    memory_destroy_one(r, address);
    return CUDA_SUCCESS;
}

int remote_host_create(uint64_t size, bool kernels, void **ret_memory)
{
    struct vd_cuda_memory_map_req req = {.size = size};
    struct vd_cuda_memory_map_rep rep = {0};
    struct remote *r = remote_current();
    struct remote_piece *p;
    int err;

    if (!r)
        return CUDA_ERROR_LAUNCH_FAILED;
    if (r->apart && kernels)
        return CUDA_ERROR_NOT_SUPPORTED;
    pthread_mutex_lock(&r->lock);
    p = remote_zone_take(&r->frames, size);
    pthread_mutex_unlock(&r->lock);
    if (!p)
        return CUDA_ERROR_OUT_OF_MEMORY;
    req.offset = p->offset;
    req.address = (uintptr_t)r->pinned + (p->offset - r->frames.offset);
    if (r->apart) {
        *ret_memory = (void *)(uintptr_t)req.address;
        return CUDA_SUCCESS;
    }
    err = remote_call(r, VD_OP_cuda_memory_map, &req, &rep, NULL, NULL);
    p->mapped = !err && !rep.result;
    if (!err && rep.result && !kernels) {
        /* It is good for copies all the same. */
        log_warn("cuda: kernels cannot reach pinned memory here (the host's address is taken)");
    } else if (!err && rep.result) {
        err = CUDA_ERROR_NOT_SUPPORTED;
    }
    if (err) {
        pthread_mutex_lock(&r->lock);
        remote_zone_give(&r->frames, p);
        pthread_mutex_unlock(&r->lock);
        return err;
    }
    *ret_memory = (void *)(uintptr_t)req.address;
    return CUDA_SUCCESS;
}

void remote_host_destroy(void *memory, uint64_t size)
{
    struct vd_cuda_memory_unmap_req req = {.address = (uintptr_t)memory};
    struct remote *r;
    struct remote_piece *p;

    /* Also of a session that is lost: its memory is there as long as its contexts are. */
    r = remote_latest();
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    p = remote_zone_find(&r->frames, r->frames.offset + (uint64_t)((uint8_t *)memory - r->pinned));
    pthread_mutex_unlock(&r->lock);
    if (p && p->mapped)
        remote_post(r, VD_OP_cuda_memory_unmap, &req, sizeof(req));
    if (p) {
        /* The next owner finds zeros. */
        madvise(memory, (size + 4095) / 4096 * 4096, MADV_REMOVE);
        pthread_mutex_lock(&r->lock);
        remote_zone_give(&r->frames, p);
        pthread_mutex_unlock(&r->lock);
    }
    remote_drop(r);
}

/* The host does not see this process's own memory. */
int remote_memory_map(void *memory, uint64_t size)
{
    (void)memory, (void)size;
    return CUDA_ERROR_NOT_SUPPORTED;
}

int remote_memory_map_as(void *memory, uint64_t size, uint64_t address)
{
    (void)memory, (void)size, (void)address;
    return CUDA_ERROR_NOT_SUPPORTED;
}

void remote_memory_unmap(uint64_t address)
{
    struct vd_cuda_memory_unmap_req req = {.address = address};
    struct remote *r = remote_current();

    if (r)
        remote_post(r, VD_OP_cuda_memory_unmap, &req, sizeof(req));
}

int remote_memory_import(int fd, uint64_t offset, void *memory, uint64_t size)
{
    struct vd_cuda_memory_import_req req = {
        .offset = offset, .size = size, .address = (uintptr_t)memory};
    struct vd_cuda_memory_import_rep rep;
    struct remote *r = remote_current();
    int err = !r        ? CUDA_ERROR_LAUNCH_FAILED
              : r->pump ? CUDA_ERROR_NOT_SUPPORTED
                        : remote_call_fd(r, VD_OP_cuda_memory_import, &req, fd, &rep, NULL, NULL);

    return err ? err : (int)rep.result;
}

int remote_memory_share(struct cuda_device *device, uint64_t address, int fd)
{
    struct vd_cuda_memory_share_req req = {.address = address};
    struct vd_cuda_memory_share_rep rep = {0};
    struct remote *r = remote_current();
    int err = !r        ? CUDA_ERROR_LAUNCH_FAILED
              : r->pump ? CUDA_ERROR_NOT_SUPPORTED
                        : remote_call_fd(r, VD_OP_cuda_memory_share, &req, fd, &rep, NULL, NULL);

    (void)device;
    return err ? err : (int)rep.result;
}

int remote_memory_info(struct cuda_device *device, uint64_t *ret_free, uint64_t *ret_total)
{
    struct vd_cuda_memory_info_req req = {.device = device->index};
    struct vd_cuda_memory_info_rep rep;
    struct remote *r = remote_current();
    int err = r ? remote_call(r, VD_OP_cuda_memory_info, &req, &rep, NULL, NULL)
                : CUDA_ERROR_LAUNCH_FAILED;

    if (!err)
        err = (int)rep.result;
    if (!err) {
        *ret_free = rep.free;
        *ret_total = rep.total;
    }
    return err;
}
