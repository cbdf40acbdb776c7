/* SPDX-License-Identifier: MIT */
#ifndef HOST_REGION_H
#define HOST_REGION_H

#include <stdint.h>
#include <transport/arena.h>

#include "session.h"

/*
 * Regions: memory that a virtual machine has in common with this host (VD_FEATURE_REGION). Each is
 * a file, *.region, in a folder that is one machine's; QEMU shows it to the guest as a virtio-pmem
 * device. Its first REGION_HEAD bytes tell the guest's kernel to make a /dev/dax of the rest
 * (viaduct-region makes such files).
 */
#define REGION_HEAD (2u << 20)

/*
 * Listener: opens the files of a folder anew, so that they can be locked for one client. What
 * cannot be opened is said on the log and left out. Returns how many of `room` were; the caller's.
 */
int region_open(const char *folder, int *ret_fds, int room);
/*
 * Worker, before its sandbox: what the descriptors (SESSION_MAX_REGIONS of them, -1: none) are
 * memory of. Closes those that are no files of a region's size. Returns how many are left.
 */
uint32_t region_list(const int *fds, struct session_region *ret_regions);

#endif
