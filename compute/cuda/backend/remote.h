/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_REMOTE_H
#define VIADUCT_CUDA_REMOTE_H

#include <pthread.h>

#include <compute/cuda/device.h>
#include <transport/message.h>
#include <va_driver/host.h>
#include <viaduct/protocol.h>

/*
 * The backend whose devices are a host's: each operation of the table is a message. What is one-way
 * goes through a ring in shared memory, completions come back as numbers in the arena.
 *
 * A session serves one process. If it is lost, its contexts are poisoned, all that is waited for
 * counts as done, and the next context opens another session once those of the lost one are gone:
 * addresses of the two must not be mixed up.
 *
 * Locks, in this order; none is held while the device is waited for:
 *   call  one round trip at a time
 *   lock  slots, pieces of the arena, functions to call
 *   send  the ring, numbers of queues
 *
 * Never trust the host: its numbers say when, never where or how much; descriptions of modules are
 * copied before they are looked at.
 */

#define REMOTE_CALL_MS  600000         /* a module may be compiled meanwhile */
#define REMOTE_STAGE_NS 60000000000ull /* for room in the staging memory */
#define REMOTE_CHUNK    (4u << 20)     /* bytes of a copy that are staged at a time */

/* Pieces of a zone of the arena, by address, without gaps. */
struct remote_piece {
    struct remote_piece *next;
    uint64_t offset, size;
    bool used, mapped;
};

struct remote_zone {
    uint64_t offset, size, align;
    struct remote_piece *first, *idle;
};

/* Rows of the program's memory; a staged chunk holds some of them one after the other. */
struct remote_rows {
    uint64_t address, pitch, slice, height;
    uint64_t first, count; /* of all images' rows, in order */
    uint64_t x, bytes;     /* of each row */
};

/* A staged chunk on its way. */
struct remote_staged {
    struct remote_staged *next;
    struct remote_piece *piece;
    struct cuda_queue *queue; /* held */
    uint64_t number;
    bool lands; /* `rows` get what is in the piece */
    struct remote_rows rows;
};

/* A function of the program that a queue comes to. */
struct remote_call {
    struct remote_call *next;
    uint64_t number; /* of the command that stands for it */
    void (*run)(void *user, int error);
    void *user;
};

struct cuda_device {
    unsigned index;
};

struct remote_context {
    struct cuda_context head;
    struct remote *remote; /* counted */
    uint32_t slot;
};

struct cuda_queue {
    struct remote *remote; /* counted */
    struct remote_context *context;
    uint32_t slot;
    atomic_uint references;
    uint64_t submitted;         /* send */
    _Atomic uint64_t completed; /* as last seen */
    _Atomic uint64_t held;      /* the last that waits for others, functions or values */
    /* Functions: the queue waits for `gate`, which gets a command when the function has returned.
     */
    struct cuda_queue *gate;
    uint64_t gated;
    struct remote_call *first_call, **last_call;
    _Atomic uint64_t call_number; /* of the first; UINT64_MAX: none */
    struct cuda_queue *next_calling;
    struct cuda_queue *next_left; /* released, but not done */
};

struct cuda_stamp {
    atomic_uint references;
    struct cuda_queue *queue; /* held; NULL: not submitted, or its time is known */
    uint64_t number;
    uint32_t slot;
    _Atomic uint64_t time;
    struct cuda_stamp *next;
};

struct remote {
    atomic_uint references;
    struct host *host;
    struct vd_cuda_status *status;
    uint8_t *pinned; /* where the frame zone is, at the host's address if that was free */
    _Atomic bool dead;
    unsigned device_count;
    struct vd_cuda_device devices[VD_MAX_CUDA_DEVICES];
    bool apart; /* kernels reach no memory of this side: pinned memory is good for copies */

    pthread_mutex_t call;
    uint32_t serial;

    pthread_mutex_t lock;
    pthread_cond_t called;
    struct remote_context *contexts[VD_MAX_CUDA_CONTEXTS];
    struct remote_reserved *reserved;
    uint64_t queue_used[VD_MAX_CUDA_QUEUES / 64];
    uint64_t module_used[VD_MAX_CUDA_MODULES / 64];
    uint64_t physical_used[VD_MAX_CUDA_PHYSICAL / 64];
    struct remote_zone staging, frames;
    struct remote_staged *staged, *staged_idle;
    _Atomic uint32_t staged_count;
    struct cuda_queue *left;
    uint32_t stamp_next, stamp_free_count;
    uint32_t *stamp_free;
    struct cuda_stamp *limbo, **limbo_last; /* released, but their slots are still written */
    struct cuda_queue *calling;             /* queues with functions to call */
    pthread_t caller;
    bool has_caller, stop;

    pthread_mutex_t send;
    uint32_t filled;
    struct remote_pump *pump; /* the host shares no memory; else NULL */
};

/* remote.c: the session */

/* The session of new contexts, made if there is none; a reference. */
int remote_get(struct remote **ret_remote);
/* The same with a VD_ERR; `quiet`: without a word in the log where nobody serves. */
int remote_find(bool quiet, struct remote **ret_remote);
/* The newest one, lost or not; a reference. NULL: none. */
struct remote *remote_latest(void);
/* The one that lives; no reference. NULL: none. */
struct remote *remote_current(void);
void remote_hold(struct remote *r);
void remote_drop(struct remote *r);
/* fence_wait's `alive`. */
bool remote_alive(void *arg);
/* The session is lost. Any locks. */
void remote_lost(struct remote *r);
/* A round trip; CUDA_SUCCESS, or what the loss of the session means. `ret_tail` has room for the
 * table's most elements, or is NULL. */
int remote_call(struct remote *r, uint32_t op, const void *req, void *rep, void *ret_tail,
                uint32_t *ret_count);
/* The same with a descriptor, which stays the caller's; -1: none. */
int remote_call_fd(struct remote *r, uint32_t op, const void *req, int fd, void *rep,
                   void *ret_tail, uint32_t *ret_count);
/* A one-way message, with `send` held. The tail is padded to words with zeros. */
int remote_put(struct remote *r, uint32_t op, const void *req, size_t req_size, const void *tail,
               size_t tail_bytes);
/* With the lock taken meanwhile. */
int remote_post(struct remote *r, uint32_t op, const void *req, size_t req_size);

/* remote_device.c */
/* Says in the log what the host knows of the fault that poisoned a context. No locks. */
void remote_fault(struct remote_context *c);

/* remote_memory.c: the table's, and */
int remote_memory_create(struct cuda_device *device, struct cuda_context *context, uint64_t size,
                         uint64_t *ret_address);
int remote_memory_destroy(struct cuda_device *device, uint64_t address);
int remote_array_create(struct cuda_device *device, struct cuda_context *context,
                        const struct cuda_array_shape *shape, uint64_t *ret_address);
int remote_host_create(uint64_t size, bool kernels, void **ret_memory);
void remote_host_destroy(void *memory, uint64_t size);
int remote_memory_map(void *memory, uint64_t size);
int remote_memory_map_as(void *memory, uint64_t size, uint64_t address);
int remote_memory_import(int fd, uint64_t offset, void *memory, uint64_t size);
void remote_memory_unmap(uint64_t address);
int remote_memory_share(struct cuda_device *device, uint64_t address, int fd);
int remote_memory_info(struct cuda_device *device, uint64_t *ret_free, uint64_t *ret_total);
/* Keeps addresses of a device from being given to anybody here; false: somebody has them. */
bool remote_reserve(struct remote *r, uint64_t address, uint64_t size);
/* Lets go of the addresses of device memory that is freed; of all. */
void remote_unreserve(struct remote *r, uint64_t address);
void remote_memory_finish(struct remote *r);

/* remote_virtual.c: the table's */
int remote_virtual_reserve(struct cuda_device *device, uint64_t size, uint64_t align,
                           uint64_t wanted, uint64_t *ret_address);
int remote_virtual_release(struct cuda_device *device, uint64_t address, uint64_t size);
int remote_physical_create(struct cuda_device *device, uint64_t size, int fd,
                           struct cuda_physical **ret_physical);
void remote_physical_destroy(struct cuda_device *device, struct cuda_physical *physical);
int remote_virtual_map(struct cuda_device *device, uint64_t address, uint64_t size,
                       struct cuda_physical *physical, uint64_t offset);
int remote_virtual_unmap(struct cuda_device *device, uint64_t address, uint64_t size);
int remote_virtual_allow(struct cuda_device *device, uint64_t address, uint64_t size,
                         enum vmm_access access);
/* remote_texture.c: the table's */
int remote_texture_create(struct cuda_context *context, const struct cuda_texture *t,
                          uint64_t *ret_handle);
void remote_texture_destroy(struct cuda_context *context, uint64_t handle, bool surface);

/* remote_zone.c; with the lock */
void remote_zone_init(struct remote_zone *z, uint64_t offset, uint64_t size, uint64_t align);
void remote_zone_finish(struct remote_zone *z);
struct remote_piece *remote_zone_take(struct remote_zone *z, uint64_t size);
void remote_zone_give(struct remote_zone *z, struct remote_piece *p);
struct remote_piece *remote_zone_find(struct remote_zone *z, uint64_t offset);

/* remote_copy.c */
/* A piece of staging memory; waits for room. NULL: there is none. */
struct remote_piece *remote_stage(struct remote *r, uint64_t size);
void remote_unstage(struct remote *r, struct remote_piece *p);
/* Lets what has come land in the program's memory, and gives its pieces back. */
void remote_land(struct remote *r);
/* Copies rows from the program's memory to a packed piece. */
void remote_rows_take(const struct remote_rows *rows, uint8_t *packed);
/* Where the program has them: from the first to behind the last byte. */
void remote_rows_span(const struct remote_rows *rows, uint64_t *ret_first, uint64_t *ret_end);
/* The number of the last command it became; 0: there is no memory. */
uint64_t remote_copy(struct cuda_queue *q, const struct cuda_command *command);

/* remote_late.c: copies from memory that may still be written to */
/* Whether what a copy reads there may not be there yet. */
bool remote_late(struct cuda_queue *q, uint64_t first, uint64_t end);
/* The queue waits until a piece of staging memory has these rows. Its number, or 0. */
uint64_t remote_late_submit(struct cuda_queue *q, const struct remote_rows *rows,
                            const struct remote_piece *piece);

/* remote_mirror.c: hosts that share no memory */
/* `status` and `host` are there. 0 or -VD_ERR_MEMORY. */
int remote_mirror_start(struct remote *r);
/* Nobody calls any more. Ends the channel. */
void remote_mirror_finish(struct remote *r);
/* Sends what stands in the ring. Without a pump there is nothing to do. Locks: none but `call`. */
void remote_mirror_drain(struct remote *r);
/* Somebody found it asleep. */
void remote_mirror_wake(struct remote *r);
/* A completion was seen: what came with it is seen, too, from now on. Any lock. */
void remote_mirror_settle(struct remote *r);
/* The host is to see these bytes of the arena, before what is sent next. 0 or a VD_ERR. */
int remote_upload(struct remote *r, uint64_t offset, uint64_t size);

/* remote_queue.c */
int remote_queue_create(struct cuda_context *context, int priority, struct cuda_queue **ret_queue);
void remote_queue_hold(struct cuda_queue *q);
void remote_queue_release(struct cuda_queue *q);
uint64_t remote_queue_submit(struct cuda_queue *q, const struct cuda_command *command);
bool remote_queue_done(struct cuda_queue *q, uint64_t number);
void remote_queue_wait(struct cuda_queue *q, uint64_t number);
/* Sends a command; its number, or 0. */
uint64_t remote_queue_put(struct cuda_queue *q, uint32_t op, const void *req, size_t req_size,
                          const void *tail, size_t tail_bytes);
/* Whether the host is past it, whatever has to be done here. */
bool remote_queue_passed(struct cuda_queue *q, uint64_t number);
/* Waits for that; a CUresult where the wait is too long. */
int remote_queue_reach(struct cuda_queue *q, uint64_t number, uint64_t timeout_ns);
/* Frees the slots of queues that were released and are done. With the lock. */
void remote_queue_sweep(struct remote *r);
/* remote_stamp.c */
int remote_stamp_create(struct cuda_stamp **ret_stamp);
void remote_stamp_release(struct cuda_stamp *s);
uint64_t remote_stamp_time(struct cuda_stamp *s);
/* Lets go of what released stamps still hold. */
void remote_stamp_sweep(struct remote *r);
uint64_t remote_stamp_submit(struct cuda_queue *q, struct cuda_stamp *s);

/* remote_calls.c */
uint64_t remote_calls_submit(struct cuda_queue *q, const struct cuda_command *command);
/* With the lock: waits until no function up to this number is left. */
void remote_calls_wait(struct cuda_queue *q, uint64_t number);
/* Ends the thread. */
void remote_calls_finish(struct remote *r);

/* remote_module.c */
struct remote_kernel {
    uint32_t module, index;
};
int remote_module_create(struct cuda_context *context, const char *text, size_t size, char *log,
                         size_t log_size, struct cuda_module **ret_module);
void remote_module_destroy(struct cuda_module *module);

extern const struct cuda_backend cuda_backend_remote;

#endif
