/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_SERIAL_H
#define TRANSPORT_SERIAL_H

#include "channel.h"

/*
 * A guest's end of a virtio-serial port (serial_marks.h): begins a session on an open descriptor
 * that can be read, written and polled, which it takes over on success. Waits up to timeout_ms for
 * the host. 0, -VD_ERR_GONE: the host serves nobody there, -VD_ERR_TIMEOUT: it says nothing, ...
 */
int serial_create(int fd, int timeout_ms, struct channel **ret_channel);

extern const struct channel_ops serial_ops;

#endif
