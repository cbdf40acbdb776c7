/* SPDX-License-Identifier: MIT */
#ifndef BACKEND_DMABUF_H
#define BACKEND_DMABUF_H

#include <stdint.h>

/*
 * How many references there are to the dma-buf that `fd` names: descriptors in any process,
 * mappings, imports into devices. At least 1, which is `fd` itself; 0 if the kernel does not tell.
 */
uint32_t dmabuf_holders(int fd);

#endif
