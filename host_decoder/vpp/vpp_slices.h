/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_SLICES_H
#define HOST_VPP_SLICES_H

/* Threads that share the rows of a picture, for loops of our own. */
struct vpp_slices;

/* `threads` of them work, the caller included. NULL: no memory, or no threads. */
struct vpp_slices *vpp_slices_create(int threads);
/* NULL is fine. */
void vpp_slices_destroy(struct vpp_slices *slices);
/*
 * Runs `work` for parts 0 to count - 1, in any order and at the same time, and waits for all. A
 * part's `worker` is below the number of threads, and nobody else has it meanwhile.
 */
void vpp_slices_run(struct vpp_slices *slices, void (*work)(void *argument, int part, int worker),
                    void *argument, int count);
int vpp_slices_threads(const struct vpp_slices *slices);

#endif
