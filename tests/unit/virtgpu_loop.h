/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_VIRTGPU_LOOP_H
#define VIADUCT_TEST_VIRTGPU_LOOP_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A virtual machine without one: a kernel's virtio_gpu driver, as far as transport/virtgpu.c asks
 * it, over the device that viaduct-gpu has (gpu/device.h), which runs on a thread. Memory objects
 * consist of pages from all over the guest's memory, in no order, as real ones do.
 *
 * Any thread; start and stop before and after all others.
 */
struct loop_options {
    /* Where the device finds viaductd. NULL: each session's far end is given to loop_accept. */
    const char *socket;
    unsigned max_sessions; /* 0: 64 */
    /* Of the kernel: a fence's answer counts for all earlier fences, whoever's (before 6.4). */
    bool one_time_line;
    bool foreign;      /* the render node belongs to another driver */
    bool no_3d;        /* the device has no contexts */
    bool no_caps;      /* it is somebody else's */
    bool no_memory;    /* no memory object can be made */
    bool short_object; /* objects have a page less than was asked for */
    bool short_pages;  /* the device is told of a page less than the program has */
    bool no_object;    /* the device is told of none */
    bool small_rings;  /* the device has no room for this driver's */
};

int loop_start(const struct loop_options *options);
void loop_stop(void);
/* Puts itself in the kernel's place for the guest's end; loop_stop takes it back. */
void loop_install(void);
/* The far end of the next session, within 10 s; -1: none. */
int loop_accept(void);
/* Sessions that the device has now. */
unsigned loop_sessions(void);
/* The machine is paused and goes on: all held requests are answered. */
void loop_pause(void);
/* The machine's memory is mapped elsewhere. */
void loop_move(void);
/* Reads the memory object behind a descriptor that the kernel passed on. */
void loop_peek(int fd, size_t offset, void *bytes, size_t size);
/* Memory objects there are now. */
unsigned loop_objects(void);
/* Commands that the guest has sent so far. */
unsigned loop_commands(void);

#endif
