/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_VIRTGPU_H
#define VIADUCT_VIRTGPU_H

/*
 * What a guest says to viaduct-gpu inside a virtio-gpu device (virtio 1.2, 5.7), and the memory
 * both see: a stream of bytes each way, which carries a session of protocol.h.
 *
 * The guest creates a resource, whose pages are the guest's own, and maps it: the *window*. It
 * holds a page of counters and a ring each way. Commands (SUBMIT_3D, one vd_virtgpu_command each)
 * only open and close it, and wake the other side. Status never comes as an answer to a command,
 * since the guest's kernel shows those to nobody: it is in the page.
 *
 * Counters count bytes and wrap; each has one writer. Who reads one copies it, then checks that no
 * more bytes are under way than the ring holds; else the session ends.
 */

#include <assert.h>
#include <stdint.h>

/* The capability set that says: this virtio-gpu is Viaduct's. Not one that others have taken. */
#define VD_VIRTGPU_CAPSET  56u
#define VD_VIRTGPU_MAGIC   0x55504756u /* "VGPU" */
#define VD_VIRTGPU_VERSION 1u

/* Content of the capability set. */
struct vd_virtgpu_caps {
    uint32_t magic;
    uint32_t version;
    uint32_t max_ring; /* bytes of a ring at most */
    uint32_t reserved;
};

/* Rings are powers of two between these. */
#define VD_VIRTGPU_MIN_RING 4096u
#define VD_VIRTGPU_MAX_RING (16u << 20)
/* Bytes in front of the rings. */
#define VD_VIRTGPU_PAGE 4096u

enum vd_virtgpu_state {
    VD_VIRTGPU_NEW,    /* not opened */
    VD_VIRTGPU_OPEN,   /* bytes flow */
    VD_VIRTGPU_CLOSED, /* what is in the ring to the guest is the last */
};

/* Start of the window; the ring to the host is at VD_VIRTGPU_PAGE, that to the guest behind it. */
struct vd_virtgpu_page {
    /* Written by the host. */
    uint32_t state;       /* enum vd_virtgpu_state */
    uint32_t error;       /* CLOSED: error code, positive; 0: the service ended it */
    uint32_t taken;       /* bytes taken from the ring to the host */
    uint32_t filled;      /* bytes put into the ring to the guest */
    uint32_t host_sleeps; /* not 0: KICK after writing `sent` */
    uint32_t host_full;   /* not 0: KICK after writing `read`, once half of the ring is free */
    uint32_t reserved[10];
    /* Written by the guest. */
    uint32_t sent; /* bytes put into the ring to the host */
    uint32_t read; /* bytes taken from the ring to the guest */
    uint32_t reserved2[14];
};

static_assert(sizeof(struct vd_virtgpu_page) == 128, "a cache line for each writer");

enum vd_virtgpu_op {
    VD_VIRTGPU_CMD_OPEN =
        1,               /* resource, to_host, to_guest: begins; its answer comes after `state` */
    VD_VIRTGPU_CMD_KICK, /* `sent` or `read` has changed */
    /*
     * As a futex: is answered when `filled` (VD_VIRTGPU_FOR_DATA) or `taken` (VD_VIRTGPU_FOR_ROOM)
     * is not `seen`, or the session has ended; at once if that is so already. It may be answered
     * without reason, and is after some seconds. Another of the same kind answers the one before.
     */
    VD_VIRTGPU_CMD_WAIT,
    VD_VIRTGPU_CMD_CLOSE, /* ends the session; destroying the context does as well */
};

enum vd_virtgpu_wait { VD_VIRTGPU_FOR_DATA, VD_VIRTGPU_FOR_ROOM, VD_VIRTGPU_WAITS };

struct vd_virtgpu_command {
    uint32_t op;       /* enum vd_virtgpu_op */
    uint32_t resource; /* OPEN: the window, a resource of the context */
    uint32_t to_host;  /* OPEN: bytes of the rings */
    uint32_t to_guest;
    uint32_t wait; /* WAIT: enum vd_virtgpu_wait */
    uint32_t seen; /* WAIT */
    uint32_t reserved[2];
};

static_assert(sizeof(struct vd_virtgpu_command) == 32, "command");

#endif
