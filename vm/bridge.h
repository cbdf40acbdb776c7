/* SPDX-License-Identifier: MIT */
#ifndef VM_BRIDGE_H
#define VM_BRIDGE_H

#include <vhost/vhost.h>

/*
 * A vsock device (virtio 1.2, 5.10): the guest's AF_VSOCK connections to its host become
 * connections to Unix sockets. One virtual machine, one thread; nothing of the guest is believed.
 *
 * Connections do not wait for each other: each has a buffer of BRIDGE_BUFFER for what its service
 * has not taken yet, which the guest knows (credit), and the guest's buffers are given out in
 * turns.
 */
#define BRIDGE_MAX_PORTS       16
#define BRIDGE_MAX_CONNECTIONS 256
#define BRIDGE_BUFFER          (256u << 10)

/* The guest's port, and the service behind it. */
struct bridge_port {
    uint32_t port;
    bool named;       /* the service is told whose connection it is (transport/vm.h) */
    const char *path; /* not owned */
};

struct bridge_options {
    uint64_t cid;     /* of the guest */
    const char *name; /* of the machine, for services and the log; not owned */
    struct bridge_port port[BRIDGE_MAX_PORTS];
    unsigned ports;
    unsigned max_connections; /* 1 to BRIDGE_MAX_CONNECTIONS */
};

struct bridge;

#define BRIDGE_POLL (VHOST_POLL + BRIDGE_MAX_CONNECTIONS)

/* For the front end behind this connected socket, taken over on success. Options must live on. */
int bridge_create(int fd, const struct bridge_options *options, struct bridge **ret_bridge);
/* Closes all connections. Clears; NULL is fine. */
void bridge_destroy(struct bridge **bridge);

/*
 * What to wait for: up to BRIDGE_POLL entries; returns how many. ret_busy: there is work, look
 * without waiting.
 */
unsigned bridge_poll(struct bridge *bridge, struct pollfd *polls, bool *ret_busy);
/* After poll(): 0, or the front end has left or broken the protocol, as vhost_handle says. */
int bridge_handle(struct bridge *bridge, const struct pollfd *polls, unsigned count);

/* For tests. */
struct vhost *bridge_vhost(struct bridge *bridge);

#endif
