/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_VSOCK_H
#define TRANSPORT_VSOCK_H

#include <stdint.h>

/* A listening socket for "any:PORT" or "CID:PORT". -VD_ERR_PARAMETER, -VD_ERR_UNSUPPORTED (the
 * kernel has no vsock), -VD_ERR_IO. */
int vsock_listen(const char *address, int *ret_fd);
/* Context id of who is connected. */
uint32_t vsock_peer(int fd);

#endif
