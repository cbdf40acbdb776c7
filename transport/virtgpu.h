/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_VIRTGPU_H
#define TRANSPORT_VIRTGPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel.h"

/*
 * "virtgpu:/dev/dri/renderD128": the guest's end of viaduct/virtgpu.h, by the kernel's own
 * virtio_gpu driver. Each channel opens the render node anew: a context of its own, whose memory
 * other processes' contexts do not reach.
 */

/* How the kernel is asked: the system calls themselves, or a test's. As open(2), ... */
struct virtgpu_drm {
    int (*open)(const char *path, int flags);
    int (*ioctl)(int fd, unsigned long request, void *arg);
    void *(*mmap)(void *at, size_t size, int prot, int flags, int fd, off_t offset);
    int (*close)(int fd);
};

/* For tests, before anything is opened; NULL: the kernel. */
void virtgpu_set_drm(const struct virtgpu_drm *drm);
/*
 * Looks for a render node that is Viaduct's; asks the kernel alone, which knows since it started.
 * False: there is none.
 */
bool virtgpu_find(char *path, size_t room);

#endif
