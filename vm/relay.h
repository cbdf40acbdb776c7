/* SPDX-License-Identifier: MIT */
#ifndef VM_RELAY_H
#define VM_RELAY_H

#include <poll.h>
#include <stdbool.h>

/*
 * The host's end of one virtio-serial port of a virtual machine (transport/serial_marks.h): each
 * session that a program in the guest begins becomes a connection to the host service. Buffers of
 * fixed size; who does not read is not read from. One thread.
 */
struct relay_options {
    const char *name;    /* of the machine, for the service and the log; not owned */
    const char *service; /* path of its socket; not owned */
};

struct relay;

#define RELAY_POLL 2

/* For the port behind this connected socket (QEMU's chardev), which is taken over on success. */
int relay_create(int fd, const struct relay_options *options, struct relay **ret_relay);
/* Clears; NULL is fine. */
void relay_destroy(struct relay **relay);
/* Fills in RELAY_POLL entries. */
void relay_poll(const struct relay *relay, struct pollfd *polls);
/* After poll(): 0, or -VD_ERR_GONE: QEMU has left. */
int relay_handle(struct relay *relay, const struct pollfd *polls);

#endif
