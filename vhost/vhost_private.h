/* SPDX-License-Identifier: MIT */
#ifndef VHOST_VHOST_PRIVATE_H
#define VHOST_VHOST_PRIVATE_H

#include <linux/virtio_ring.h>

#include "vhost.h"

/* Messages: QEMU, docs/interop/vhost-user, "Message types". */
enum vhost_request {
    VHOST_GET_FEATURES = 1,
    VHOST_SET_FEATURES = 2,
    VHOST_SET_OWNER = 3,
    VHOST_RESET_OWNER = 4,
    VHOST_SET_MEM_TABLE = 5,
    VHOST_SET_VRING_NUM = 8,
    VHOST_SET_VRING_ADDR = 9,
    VHOST_SET_VRING_BASE = 10,
    VHOST_GET_VRING_BASE = 11,
    VHOST_SET_VRING_KICK = 12,
    VHOST_SET_VRING_CALL = 13,
    VHOST_SET_VRING_ERR = 14,
    VHOST_GET_PROTOCOL_FEATURES = 15,
    VHOST_SET_PROTOCOL_FEATURES = 16,
    VHOST_GET_QUEUE_NUM = 17,
    VHOST_SET_VRING_ENABLE = 18,
    VHOST_SET_BACKEND_REQ_FD = 21,
    VHOST_GET_CONFIG = 24,
    VHOST_SET_CONFIG = 25,
    VHOST_GPU_SET_SOCKET = 33,
};

#define VHOST_VERSION    0x1u /* of header.flags */
#define VHOST_REPLY      0x4u
#define VHOST_NEED_REPLY 0x8u

#define VHOST_P_MQ          (1ull << 0)
#define VHOST_P_REPLY_ACK   (1ull << 3)
#define VHOST_P_BACKEND_REQ (1ull << 5)
#define VHOST_P_CONFIG      (1ull << 9)

#define VHOST_F_INDIRECT  (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define VHOST_F_EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define VHOST_F_PROTOCOL  (1ull << 30)
#define VHOST_F_VERSION_1 (1ull << 32)

struct vhost_region {
    uint64_t guest, size; /* addresses of the guest's drivers */
    uint64_t user;        /* the same, in the front end's process: queues are named so */
    uint64_t offset;      /* in the descriptor */
    uint8_t *map;         /* of offset + size bytes */
    int fd;
};

struct vhost_memory {
    struct vhost_region region[VHOST_MAX_REGIONS];
    unsigned count;
};

/* vhost_memory.c */
struct vhost_memory_row {
    uint64_t guest, size, user, offset;
};
/* Maps the regions in place of those before. Takes the descriptors over, also on failure. */
int vhost_memory_set(struct vhost_memory *memory, const struct vhost_memory_row *rows,
                     const int *fds, unsigned count);
void vhost_memory_clear(struct vhost_memory *memory);
/* Memory at an address of the front end's process. */
void *vhost_memory_user(const struct vhost_memory *memory, uint64_t address, uint64_t size);

struct vhost_queue {
    /* As the front end said. */
    uint32_t size;
    uint64_t desc_user, avail_user, used_user;
    int kick, call, err;
    bool has_addresses, enabled;
    /* In guest memory; NULL unless running. */
    const struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint32_t generation;
    uint16_t taken;     /* index of the next element in `avail` */
    uint16_t pushed;    /* index of the next in `used` */
    uint16_t signalled; /* `pushed` when the driver was last told */
    bool kicked;        /* started: look without a kick */
    bool ran;           /* before, and has not been moved since */
};

#define VHOST_MESSAGE_BYTES 512
#define VHOST_MESSAGE_FDS   VHOST_MAX_REGIONS

struct vhost_header {
    uint32_t request, flags, size;
};

struct vhost {
    const struct vhost_ops *ops;
    void *arg;
    int fd;
    int backend_fd; /* a channel to the front end: kept open, not used */
    uint64_t features, protocol;
    struct vhost_memory memory;
    struct vhost_queue queue[VHOST_MAX_QUEUES];
    bool broken;
    /* The message that is being received. */
    size_t got;
    int fds[VHOST_MESSAGE_FDS];
    unsigned fd_count;
    struct vhost_header header;
    uint8_t body[VHOST_MESSAGE_BYTES];
};

/* vhost_queue.c: finds the queue's parts in guest memory. */
void vhost_queue_start(struct vhost *vhost, unsigned queue);
void vhost_queue_stop(struct vhost *vhost, unsigned queue);
static inline bool vhost_queue_running(const struct vhost_queue *queue)
{
    return queue->desc;
}
/* Whether everything for a start is there. */
bool vhost_queue_ready(const struct vhost *vhost, const struct vhost_queue *queue);

/* vhost_message.c: receives what there is of a message, and does it when it is complete. */
int vhost_message_receive(struct vhost *vhost);
void vhost_message_close_fds(struct vhost *vhost);

#endif
