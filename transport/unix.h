/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_UNIX_H
#define TRANSPORT_UNIX_H

#include <sys/types.h>

/*
 * Listens on a Unix socket at `path`, which gets that mode; a socket that nobody answers on is
 * replaced. The descriptor is non-blocking and close-on-exec. Changes the process's umask for a
 * moment. 0, -VD_ERR_PARAMETER (too long a path), -VD_ERR_BUSY (somebody serves there) or
 * -VD_ERR_IO with errno.
 */
int unix_listen(const char *path, mode_t mode, int *ret_fd);

#endif
