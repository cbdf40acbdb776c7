/* SPDX-License-Identifier: MIT */
#ifndef VM_REGION_DEVICE_H
#define VM_REGION_DEVICE_H

#include <stdint.h>

/*
 * Guest, as root: opens the /dev/dax whose memory has `token` at its start (status page, region)
 * for one program.
 *
 * The kernel keeps programs apart: each device is one region, and its descriptor is all that a
 * program gets. A program that had the device before could still have it mapped, so the device is
 * taken off its driver and given back: mappings and descriptors from before are dead then, for good
 * (drivers/dax: kill_dev_dax). One that is honest holds a lock as long as it uses the memory; it is
 * not disturbed.
 *
 * 0 and a descriptor, locked; -VD_ERR_UNSUPPORTED (no device has that), -VD_ERR_BUSY (it is
 * locked), -VD_ERR_IO, said on the log.
 */
int region_device_open(const uint64_t token[2], int *ret_fd);

#endif
