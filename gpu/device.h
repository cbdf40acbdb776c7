/* SPDX-License-Identifier: MIT */
#ifndef GPU_DEVICE_H
#define GPU_DEVICE_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <vhost/vhost.h>

/*
 * A virtio-gpu device without a GPU and without screens (virtio 1.2, 5.7): what the guest's stock
 * driver needs to give its processes a render node, memory and commands. A context with an open
 * window (viaduct/virtgpu.h) is a session with viaductd. Knows nothing of queues: requests come in
 * as segments, and answers leave through a callback; so it is tested without a virtual machine.
 *
 * Everything in a request is hostile. One process uses one guest's device, so whatever it does to
 * itself here reaches neither viaductd's other clients nor other machines. One thread.
 */
struct gpu_device;

#define DEVICE_MAX_CONTEXTS 1024u
#define DEVICE_MAX_SESSIONS 64u

struct gpu_device_ops {
    /* The guest's memory in this process, NULL if it is not wholly the guest's. */
    void *(*translate)(void *arg, uint64_t address, uint64_t size);
    /* A stream to viaductd that does not block; owned by the device. 0 or an error code. */
    int (*connect)(void *arg, int *ret_fd);
    /* The request that `token` names is done, after gpu_device_request held it. */
    void (*answer)(void *arg, struct vhost_token token, uint32_t written);
};

int gpu_device_create(const struct gpu_device_ops *ops, void *arg, unsigned max_sessions,
                      struct gpu_device **ret_device);
/* Ends all sessions. No callback is called. Clears; NULL is fine. */
void gpu_device_destroy(struct gpu_device **device);

/*
 * A request of the control queue. True: it is done, ret_written bytes of the answer are in its
 * segments. False: it is held, and `answer` will be called for it.
 */
bool gpu_device_request(struct gpu_device *device, struct vhost_token token,
                        const struct iovec *out, unsigned out_count, const struct iovec *in,
                        unsigned in_count, uint32_t *ret_written);
/* The guest has reset the device: contexts, resources and sessions go. */
void gpu_device_reset(struct gpu_device *device);
/* All that is held is answered now: the queue stops. Sessions stay. */
void gpu_device_answer_all(struct gpu_device *device);
/* The guest's memory was mapped anew. Sessions whose windows are gone end. */
void gpu_device_moved(struct gpu_device *device);

/* What to wait for: up to DEVICE_MAX_SESSIONS entries; ret_timeout_ms: at most so long, -1: any. */
unsigned gpu_device_poll(struct gpu_device *device, struct pollfd *polls, int *ret_timeout_ms);
/* Does what those entries say. */
void gpu_device_handle(struct gpu_device *device, const struct pollfd *polls, unsigned count);

/* Sessions now. */
unsigned gpu_device_sessions(const struct gpu_device *device);

#endif
