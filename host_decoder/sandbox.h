/* SPDX-License-Identifier: MIT */
#ifndef HOST_SANDBOX_H
#define HOST_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What a worker gives up before it reads the first byte of a guest: root (if it has it), new
 * privileges, core dumps, memory beyond `max_memory`, further descriptors, and by a seccomp
 * filter every system call but those for memory, threads, time and its one socket. There is no
 * way back.
 *
 * `devices`: the worker has a GPU's driver loaded. That needs ioctl, files, more descriptors and
 * address space without a bound, and threads of the driver may exist: these are allowed in
 * addition. Starting programs, other processes and the network stay out.
 *
 * 0, or -VD_ERR_IO with a log line that says what failed. Built without libseccomp the rest still
 * happens; sandbox_has_filter tells.
 */
int sandbox_enter(uint64_t max_memory, bool devices);
/* Whether a seccomp filter is part of this build. */
int sandbox_has_filter(void);

#endif
