/* SPDX-License-Identifier: MIT */
#ifndef VM_REGION_FILE_H
#define VM_REGION_FILE_H

#include <stdint.h>

/*
 * Host: makes a file that QEMU shows to a machine as a virtio-pmem device, and that the machine's
 * kernel makes a /dev/dax of by itself: behind a head of 2 MiB are `bytes` bytes (a multiple of
 * 2 MiB), all holes. `group`: who may open it beside this user, (gid_t)-1: nobody. -VD_ERR_BUSY if
 * it is there already, -VD_ERR_DENIED, -VD_ERR_LIMIT (no room), -VD_ERR_IO with errno.
 */
int region_file_make(const char *path, uint64_t bytes, uint32_t group);

#endif
