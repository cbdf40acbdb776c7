/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_VM_H
#define TRANSPORT_VM_H

#include <stddef.h>

#include "channel.h"

/*
 * Between a relay on the host, which has a virtual machine's connection, and the host service: a
 * Unix socket of its own ("vm:PATH"), whose sessions are in-band, because the relay passes bytes
 * and the guest has no memory in common with the host.
 *
 * The relay says whose connection it is by the address that it connects from: an abstract name,
 * viaduct-vm/NAME/NUMBER. So the service knows before a byte arrives, and no byte of a guest can
 * change it. A relay is believed as far as its user is (SO_PEERCRED).
 */
#define VM_NAME_BYTES 48 /* with the 0 */

/* Letters, digits, "-", "_", ".": 1 to VM_NAME_BYTES - 1 of them. */
bool vm_name_is_valid(const char *name);

/*
 * Relay: connects to the service at `path` for the machine `name`. The descriptor does not block.
 * 0, -VD_ERR_GONE (nobody serves there), -VD_ERR_BUSY (its queue is full), -VD_ERR_DENIED,
 * -VD_ERR_PARAMETER, -VD_ERR_IO.
 */
int vm_dial(const char *path, const char *name, int *ret_fd);
/* The same without a name, for services that do not ask. */
int vm_dial_unnamed(const char *path, int *ret_fd);

/* Service: whose connection this is; false: whoever connected does not say. */
bool vm_peer(int fd, char ret_name[VM_NAME_BYTES]);
/* A channel over such a connection, which it takes over on success. */
int vm_create(int fd, struct channel **ret_channel);

extern const struct channel_ops vm_ops;

#endif
