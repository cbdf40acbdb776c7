/* SPDX-License-Identifier: MIT */
#ifndef VHOST_VHOST_H
#define VHOST_VHOST_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * The back end of a vhost-user device: a virtio device of a virtual machine whose work another
 * process than the virtual machine monitor does. The front end (QEMU, User Mode Linux) connects to
 * a Unix socket, hands over the guest's memory and event descriptors, and from then on guest and
 * device talk through queues in that memory. (QEMU: docs/interop/vhost-user; virtio 1.2, 2.7 "Split
 * Virtqueues".)
 *
 * Nothing is believed. The guest can write anything into its queues at any time: indices, lengths,
 * addresses are copied, then checked, and every range must lie in one region that the front end
 * has shared. What breaks the rules ends the device, with one line on the log, until the guest has
 * reset it; work on a queue is bounded by its size. The front end's messages are checked as well;
 * it could, however, cut the memory it shared short, which ends this process with SIGBUS: so one
 * process serves one virtual machine.
 *
 * One thread for all functions of a device. Results: 0 or a negative VD_ERR_….
 */
struct vhost;

#define VHOST_MAX_QUEUES     8
#define VHOST_MAX_QUEUE_SIZE 1024 /* entries of a queue */
#define VHOST_MAX_REGIONS    8    /* of memory */
#define VHOST_MAX_SEGMENTS   1024 /* descriptors of one element */
#define VHOST_MAX_CONFIG     256  /* bytes of a device's configuration space */

/* Descriptors that a call of vhost_poll may need. */
#define VHOST_POLL (1 + VHOST_MAX_QUEUES)

/* What a kind of device is. All functions are optional, and called with vhost_create's `arg`. */
struct vhost_ops {
    const char *name;   /* for the log */
    uint64_t features;  /* the kind's own, bits 0 to 23; the library adds those of queues */
    unsigned queues;    /* that the driver may use */
    size_t config_size; /* of its configuration space */
    /* Writes all config_size bytes. */
    void (*get_config)(void *arg, void *config);
    /* The driver writes a part of it: offset + size <= config_size. Not 0: refused. */
    int (*set_config)(void *arg, uint32_t offset, uint32_t size, const void *bytes);
    /* Something may be in this queue: take it out with vhost_queue_pop. */
    void (*kicked)(void *arg, unsigned queue);
    /*
     * The queue starts; `kicked` follows. `anew`: elsewhere than it stopped, so it is the first
     * time, or the guest has reset the device. Else the machine was only paused.
     */
    void (*started)(void *arg, unsigned queue, bool anew);
    /*
     * The queue stops: the guest's driver goes, or the machine is reset or paused. Elements that
     * are held may still be pushed in here, later pushes are ignored. Pointers into guest memory
     * stay valid until `memory`.
     */
    void (*stopped)(void *arg, unsigned queue);
    /* Memory was exchanged: every pointer into guest memory so far is dead when this is called. */
    void (*memory)(void *arg);
    /* VHOST_USER_GPU_SET_SOCKET: takes `fd` over. Without it that message is refused. */
    int (*gpu_socket)(void *arg, int fd);
};

/* unix_listen for a front end: mode 0600. The descriptor does not block. */
int vhost_listen(const char *path, int *ret_fd);

/* A device for the front end behind this connected socket, which is taken over on success. */
int vhost_create(int fd, const struct vhost_ops *ops, void *arg, struct vhost **ret_vhost);
/* Unmaps and closes everything; no callback is called. Clears; NULL is fine. */
void vhost_destroy(struct vhost **vhost);

/* What to wait for: fills in up to VHOST_POLL entries, returns how many. */
unsigned vhost_poll(const struct vhost *vhost, struct pollfd *polls);
/*
 * Does what those entries say after poll(): handles a message of the front end, or calls `kicked`.
 * -VD_ERR_GONE: the front end has left; others: it broke the protocol. Then destroy the device.
 */
int vhost_handle(struct vhost *vhost, const struct pollfd *polls, unsigned count);

/* What driver and device agreed on; only bits that were offered. */
uint64_t vhost_features(const struct vhost *vhost);

/*
 * A part of guest memory, or NULL if it does not lie in one region. Valid until ops->memory is
 * called. The guest can change it at any time: copy, then check.
 */
void *vhost_memory_at(const struct vhost *vhost, uint64_t address, uint64_t size);
/* The same for those who pass memory on: the region's descriptor (not owned) and place in it. */
int vhost_memory_fd(const struct vhost *vhost, uint64_t address, uint64_t size, int *ret_fd,
                    uint64_t *ret_offset);

/* Names a buffer that was taken out of a queue until it is pushed back. */
struct vhost_token {
    uint16_t head;
    uint32_t generation; /* of the queue: starts over when that is stopped */
};

/* A buffer of the driver: segments to read, then segments to write. */
struct vhost_element {
    struct vhost_token token;
    unsigned out_count, in_count;
    uint64_t out_size, in_size;           /* bytes */
    struct iovec iov[VHOST_MAX_SEGMENTS]; /* out_count to read, then in_count to write */
};

static inline const struct iovec *vhost_element_in(const struct vhost_element *element)
{
    return element->iov + element->out_count;
}

/*
 * Takes the next buffer out of a queue. True: there was one. After false `kicked` will be called
 * for the next; who stops earlier comes back without that. False also for a queue that is stopped
 * and a device that is broken.
 */
bool vhost_queue_pop(struct vhost *vhost, unsigned queue, struct vhost_element *ret_element);
/* Puts the element that was taken last from this queue back, before any other call for it. */
void vhost_queue_unpop(struct vhost *vhost, unsigned queue);
/* Whether pop would find one; false has the meaning it has there. */
bool vhost_queue_available(struct vhost *vhost, unsigned queue);
/* Gives a buffer back, of which `written` bytes were written. Any order. */
void vhost_queue_push(struct vhost *vhost, unsigned queue, struct vhost_token token,
                      uint32_t written);
/* Tells the driver about what was pushed, if it wants to know: once after a batch. */
void vhost_queue_notify(struct vhost *vhost, unsigned queue);

/*
 * The device cannot go on with what the guest has written: says so on the log, and ignores all
 * queues until they are stopped and started again.
 */
void vhost_break(struct vhost *vhost, unsigned queue, const char *why);

/* vhost_iov.c: copies between segments and memory; return how many bytes there were. */
size_t vhost_iov_get(const struct iovec *iov, unsigned count, uint64_t offset, void *bytes,
                     size_t size);
size_t vhost_iov_put(const struct iovec *iov, unsigned count, uint64_t offset, const void *bytes,
                     size_t size);
/* The segments of a part: at most `room` of them go to ret_iov; returns how many. */
unsigned vhost_iov_slice(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t size,
                         struct iovec *ret_iov, unsigned room);

#endif
