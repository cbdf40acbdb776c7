/* SPDX-License-Identifier: MIT */
#ifndef VM_BRIDGE_CONN_H
#define VM_BRIDGE_CONN_H

#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * One connection of a guest, without the queues: what came from the guest and goes to the service's
 * socket, and what is to be said to the guest. The device (bridge.c) carries packets.
 *
 * Counters of bytes wrap at 32 bits (virtio 1.2, 5.10.6.3).
 */

/* What the guest is to be told, as bits of bridge_conn.pending. */
enum {
    BRIDGE_SAY_RESPONSE = 1 << 0,
    BRIDGE_SAY_CREDIT = 1 << 1,
    BRIDGE_ASK_CREDIT = 1 << 2,
    BRIDGE_SAY_SHUTDOWN = 1 << 3,
    BRIDGE_SAY_RST = 1 << 4, /* and the connection is gone */
};

struct bridge_conn {
    bool used;
    int fd;
    uint32_t guest_port, host_port;
    /* To the guest. */
    uint32_t sent;                    /* bytes so far */
    uint32_t guest_room, guest_taken; /* its buffer, and what it has taken out */
    bool readable;                    /* the socket may have bytes */
    bool host_ended;                  /* and will have no more */
    bool guest_deaf;                  /* the guest wants none */
    uint32_t shutdown;                /* flags for the guest */
    /* From the guest. */
    uint32_t taken, told; /* bytes the service has taken; of which the guest knows */
    uint8_t *bytes;       /* ring of what it has not */
    uint32_t start, held;
    bool guest_ended; /* the guest sends no more */
    bool host_deaf;   /* the service takes no more: the rest is dropped */
    unsigned pending;
};

/* Takes the socket over on success. 0 or -VD_ERR_MEMORY. */
int bridge_conn_open(struct bridge_conn *conn, int fd, const struct virtio_vsock_hdr *request);
/* Also for one that is not in use. */
void bridge_conn_close(struct bridge_conn *conn);

/* What a packet of the guest says about its buffer. */
void bridge_conn_credit(struct bridge_conn *conn, const struct virtio_vsock_hdr *header);
/* How many bytes the guest has room for. */
uint32_t bridge_conn_room(const struct bridge_conn *conn);

/* Bytes of the guest, in segments of its memory: to the service, else into the ring. */
void bridge_conn_data(struct bridge_conn *conn, const struct iovec *iov, unsigned count,
                      uint64_t offset, uint32_t size);
/* VIRTIO_VSOCK_SHUTDOWN_* of the guest. */
void bridge_conn_shutdown(struct bridge_conn *conn, uint32_t flags);
/* The service takes bytes again. */
void bridge_conn_flush(struct bridge_conn *conn);
/* Fills these segments from the service; 0: nothing now, or for ever. */
size_t bridge_conn_read(struct bridge_conn *conn, const struct iovec *iov, unsigned count);

/* What poll is to wait for; 0: nothing. `room`: the guest has buffers. */
short bridge_conn_events(const struct bridge_conn *conn, bool room);
/* Whether it would read if there were buffers. */
bool bridge_conn_wants(const struct bridge_conn *conn);

#endif
