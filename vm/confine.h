/* SPDX-License-Identifier: MIT */
#ifndef VM_CONFINE_H
#define VM_CONFINE_H

#include <stdbool.h>

/*
 * Gives up what a relay of a virtual machine does not need before it looks at the first byte of
 * its guest: capabilities, new privileges, core dumps, descriptors beyond `descriptors`, and all
 * system calls but those for memory, waiting, and Unix sockets. 0 or -VD_ERR_IO, said on the log.
 */
int confine_enter(unsigned descriptors);
/* Whether this build has a system call filter. */
bool confine_has_filter(void);

#endif
