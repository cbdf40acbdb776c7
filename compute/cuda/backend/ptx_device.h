/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_PTX_DEVICE_H
#define VIADUCT_CUDA_PTX_DEVICE_H

#include <pthread.h>

#include <compute/cuda/device.h>
#include <compute/cuda/ptx/ptx.h>

/* The device of the executor, for its backend's files: ptx.c, ptx_virtual.c. */

struct cuda_device {
    struct ptx_context *ptx;
    struct queue_pool *pool;
    pthread_mutex_t lock; /* guards what follows */
    char *printed;
    _Atomic size_t print_bytes;
};

/* ptx_virtual.c: the table's */
int ptx_device_share(struct cuda_device *d, uint64_t address, int fd);
int ptx_device_reserve(struct cuda_device *d, uint64_t size, uint64_t align, uint64_t wanted,
                       uint64_t *ret_address);
int ptx_device_release(struct cuda_device *d, uint64_t address, uint64_t size);
int ptx_device_physical(struct cuda_device *d, uint64_t size, int fd,
                        struct cuda_physical **ret_physical);
void ptx_device_forget(struct cuda_device *d, struct cuda_physical *physical);
int ptx_device_map(struct cuda_device *d, uint64_t address, uint64_t size,
                   struct cuda_physical *physical, uint64_t offset);
int ptx_device_unmap(struct cuda_device *d, uint64_t address, uint64_t size);
int ptx_device_allow(struct cuda_device *d, uint64_t address, uint64_t size,
                     enum vmm_access access);

#endif
