/* SPDX-License-Identifier: MIT */
#ifndef HOST_SESSION_CUDA_H
#define HOST_SESSION_CUDA_H

#include <pthread.h>

#include <compute/cuda/device.h>
#include <transport/arena.h>
#include <transport/message.h>

#include "session_cuda_mirror.h"
#include "session_private.h"

/*
 * A session's CUDA part: the guest's libcuda on the other side of the table in device.h. Its files:
 * session_cuda.c (its life, contexts, memory), session_cuda_import.c, session_cuda_module.c,
 * session_cuda_queue.c (commands), session_cuda_ring.c (messages in shared memory),
 * session_cuda_mirror.c (the guest shares no memory), session_cuda_virtual.c (addresses and memory
 * apart).
 *
 * The session's thread owns everything but the slots of the status, which are written on the
 * backend's threads, too (cuda_queue_passed).
 *
 * Security model: ids are looked up in the tables below on each use, sizes and offsets are compared
 * with the arena, and device addresses with what this session allocated, since a driver may take
 * any address of the process for one. What only a guest that lies can send ends the session; what
 * an app's own race can cause (memory that is gone) poisons its context, as a GPU would.
 */

struct cuda_session_queue {
    struct cuda_queue *queue; /* NULL: the slot is free */
    struct cuda_session *owner;
    uint32_t slot, context;
    uint64_t submitted;
    _Atomic uint64_t passed;
};

struct cuda_session_module {
    struct cuda_module *module; /* NULL: free */
    uint32_t context;
};

/* Memory that the guest may name, by address. */
struct cuda_session_range {
    uint64_t address, size;
    uint32_t kind; /* enum cuda_range_kind */
    uint32_t device;
    void *mapping; /* imported: where it is here, and counts; else NULL */
};

/* Memory that a queue frees when it comes so far: until then it counts as the guest's. */
struct cuda_session_free {
    uint32_t queue;
    uint64_t number, size;
};

enum cuda_range_kind { CUDA_RANGE_DEVICE, CUDA_RANGE_MAPPED, CUDA_RANGE_GLOBAL };

/* Memory without an address. */
struct cuda_session_physical {
    struct cuda_physical *physical; /* NULL: the slot is free */
    uint32_t device, mappings;
    uint64_t size;
};

struct cuda_session {
    const struct cuda_backend *backend;
    struct arena *arena;
    struct vd_cuda_status *status;
    uint64_t max_bytes, used_bytes;
    struct stats_counters *stats;
    unsigned device_count;
    struct channel *channel;
    struct cuda_mirror *mirror; /* the guest does not see the status; else NULL */
    /* Looks whether the guest is still there, since the session's thread may have to wait for a
     * kernel; what guards what it shares with that thread: contexts and devices coming and going.
     */
    pthread_t watch;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool watching, stop;
    struct cuda_device *devices[VD_MAX_CUDA_DEVICES]; /* opened when first used */
    struct cuda_context *contexts[VD_MAX_CUDA_CONTEXTS];
    uint32_t context_device[VD_MAX_CUDA_CONTEXTS];
    struct cuda_session_queue *queues[VD_MAX_CUDA_QUEUES];
    struct cuda_session_module modules[VD_MAX_CUDA_MODULES];
    struct cuda_session_range *ranges;
    uint32_t range_count, range_room;
    struct cuda_session_free *frees;
    uint32_t free_count, free_room;
    struct vmm vmm;
    struct cuda_session_physical *physicals; /* VD_MAX_CUDA_PHYSICAL; NULL: none yet */
    uint64_t reserved_bytes;
    bool locked;                                    /* staging memory, for copies */
    uint32_t taken;                                 /* of the ring; the status has a copy */
    uint64_t message[(VD_CUDA_RING_BYTES / 2) / 8]; /* the ring's message that is looked at */
};

/* session_cuda.c */
struct cuda_device *cuda_session_device(struct cuda_session *c, uint32_t index);
struct cuda_session_range *cuda_session_find(struct cuda_session *c, uint64_t address);
/* 0 or -VD_ERR_MEMORY, -VD_ERR_LIMIT. */
int cuda_session_add(struct cuda_session *c, const struct cuda_session_range *range);
void cuda_session_remove(struct cuda_session *c, struct cuda_session_range *range);
/* Whether all of it is memory that this session has, and of one piece. */
bool cuda_session_has(struct cuda_session *c, uint64_t address, uint64_t size);
/* The same for what is only read. */
bool cuda_session_may_read(struct cuda_session *c, uint64_t address, uint64_t size);
/* Whether any of it is. */
bool cuda_session_overlaps(struct cuda_session *c, uint64_t address, uint64_t size);
/* Undoes a range's mapping; the range is removed by the caller. */
void cuda_session_unmap(struct cuda_session *c, const struct cuda_session_range *r);
/* Poisons a context. */
void cuda_session_fail(struct cuda_session *c, uint32_t context, int result);
/* Takes a module's variables out of the ranges, and destroys it. */
void cuda_session_module_end(struct cuda_session *c, struct cuda_session_module *m);
/* Counts what was freed by now. Room for one more, or -VD_ERR_MEMORY. */
int cuda_session_freed(struct cuda_session *c);
/* Waits for what it was given and releases it. */
void cuda_session_queue_end(struct cuda_session *c, uint32_t slot);

/* session_cuda_virtual.c: gives everything back. */
void cuda_session_virtual_end(struct cuda_session *c);

/* Device memory that is taken, or given back. */
static inline void cuda_session_use(struct cuda_session *c, uint64_t bytes)
{
    c->used_bytes += bytes;
    stats_set(&c->stats->cuda_bytes, c->used_bytes);
}

static inline void cuda_session_unuse(struct cuda_session *c, uint64_t bytes)
{
    c->used_bytes -= bytes;
    stats_set(&c->stats->cuda_bytes, c->used_bytes);
}

#endif
