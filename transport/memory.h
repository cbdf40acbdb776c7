/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_MEMORY_H
#define TRANSPORT_MEMORY_H

#include <stdint.h>

/*
 * Whether memory that came from the other side is what it is said to be: at least `size` bytes, and
 * none of its pages can be taken away again. A memfd must be sealed against shrinking; a dma-buf
 * cannot shrink. Moves the descriptor's file position. 0 or -VD_ERR_PARAMETER.
 */
int memory_check(int fd, uint64_t size);

#endif
