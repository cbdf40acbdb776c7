/* SPDX-License-Identifier: MIT */
#ifndef HOST_SANDBOX_H
#define HOST_SANDBOX_H

#include <stdint.h>

/*
 * What a worker gives up before it reads the first byte of a guest: root (if it has it), new
 * privileges, core dumps, memory beyond `max_memory`, further descriptors, and by a seccomp
 * filter every system call but those for memory, threads, time and its one socket. There is no
 * way back. The process must be single-threaded.
 *
 * 0, or -VD_ERR_IO with a log line that says what failed. Built without libseccomp the rest still
 * happens; sandbox_has_filter tells.
 */
int sandbox_enter(uint64_t max_memory);
/* Whether a seccomp filter is part of this build. */
int sandbox_has_filter(void);

#endif
