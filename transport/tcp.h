/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_TCP_H
#define TRANSPORT_TCP_H

#include <stdbool.h>

/*
 * "HOST:PORT", "[v6]:PORT": connects within `timeout_ms`. `loopback`: other addresses are refused
 * (-VD_ERR_DENIED). The socket is the caller's. -VD_ERR_PARAMETER, -VD_ERR_GONE, -VD_ERR_TIMEOUT.
 */
int tcp_dial(const char *address, bool loopback, int timeout_ms, int *ret_fd);
/* The same for a listening socket. "*:PORT" is every address. */
int tcp_listen(const char *address, bool loopback, int *ret_fd);
/* Small messages at once, and a peer that vanished is noticed within a minute. */
void tcp_tune(int fd);

#endif
