/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_INTERNAL_H
#define VIADUCT_CUDA_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>

#include <compute/cuda/cuda.h>
#include <compute/cuda/device.h>

/*
 * The guest's libcuda: objects of the API over the table of device.h.
 *
 * One lock guards all objects; it is never held while something is waited for. Each entry starts
 * with an enter_… function, which takes it, and ends with leave(). Handles are pointers that are
 * looked up in a set before they are followed, so that a stale one is an error and no crash.
 */

#define API __attribute__((visibility("default"))) CUresult

enum kind {
    GRAPH = 1,
    NODE,
    EXEC,
    CONTEXT,
    MODULE,
    FUNCTION,
    LIBRARY,
    KERNEL,
    STREAM,
    EVENT,
    LINK,
    POOL,
    ARRAY,
    REFERENCE,
    EXTERNAL,
    MIPMAP,
    USER_OBJECT,
    PHYSICAL
};

#define MAX_DEVICES    16
#define MAX_STACK      64 /* contexts that a thread has pushed */
#define DRIVER_VERSION 13000

struct capture;
struct ipc_event;

struct CUstream_st {
    struct CUctx_st *context;
    struct cuda_queue *queue;
    unsigned flags;
    int priority;
    uint64_t id, last; /* number of its last command */
    uint64_t ordered;  /* legacy's last number that it waited for */
    uint64_t joined;   /* its last number that legacy waited for */
    struct capture *capture;
    CUlaunchAttributeValue attributes[4]; /* hints.c: those that mean nothing here */
    struct CUstream_st *next;
};

struct CUctx_st {
    int device;
    struct cuda_device *open;
    struct cuda_context *backend;
    unsigned flags, references; /* of a primary context */
    bool primary, active;
    uint64_t id;
    size_t limits[CU_LIMIT_MAX];
    CUfunc_cache cache;
    struct CUstream_st *streams; /* all, legacy last */
    struct CUstream_st *legacy;
    struct CUmod_st *modules;
    struct CUarray_st *arrays;
    struct CUmipmappedArray_st *mipmaps;
    struct CUtexref_st *texrefs;      /* those that are no module's */
    struct CUtextures_st *textures;   /* objects, in blocks */
    struct cuda_queue *texture_queue; /* NULL before the first object */
    struct CUctx_st *next;
};

struct CUevent_st {
    struct CUctx_st *context;
    unsigned flags;
    struct cuda_queue *queue; /* where it was recorded last; NULL: never */
    uint64_t number;
    struct cuda_stamp *stamp;
    struct ipc_event *shared;         /* CU_EVENT_INTERPROCESS, else NULL */
    struct CUgraphNode_st **captured; /* recorded in a capture: behind these, which may be none */
    size_t captured_count;
    uint64_t capture; /* of which it is */
};

struct CUfunc_st {
    struct CUmod_st *module;
    const struct cuda_kernel_info *info;
    int dynamic_shared, carveout;
    struct old_launch *old; /* old_launch.c */
};

struct CUmod_st {
    struct CUctx_st *context;
    struct cuda_module *loaded;
    struct CUfunc_st *functions;
    struct CUlib_st *library; /* whose module it is, or NULL */
    struct CUtexref_st *references;
    uint64_t managed; /* memory of its managed variables, or 0 */
    struct CUmod_st *next;
};

struct CUkern_st {
    struct CUlib_st *library;
    char *name;
    struct CUkern_st *next;
};

struct CUlib_st {
    char *text;
    size_t size;
    struct CUkern_st *kernels;
};

/* A piece of memory that the API knows; variables are their module's. */
enum range_kind {
    RANGE_DEVICE,
    RANGE_POOL,
    RANGE_PINNED,
    RANGE_REGISTERED,
    RANGE_MANAGED,
    RANGE_VARIABLE,
    RANGE_IMPORTED,
    RANGE_IPC,     /* another process's */
    RANGE_VIRTUAL, /* a mapping; of no context */
    RANGE_HIDDEN,  /* of arrays and textures */
    RANGE_GRAPH    /* graph_memory.c */
};

/* A flag of managed memory: not the program's to free. */
#define RANGE_OF_MODULE 0x100u

struct range {
    uint64_t address, size, id;
    enum range_kind kind;
    struct CUctx_st *context; /* NULL: a device's */
    int device;
    unsigned flags;
    bool copies; /* registered for copies alone: kernels do not reach it */
    struct CUmemPoolHandle_st *pool;
    struct graph_block *block; /* RANGE_GRAPH */
    struct advice *advice;     /* managed memory: advice.c */
    int shared;                /* descriptor that ipc.c made it, and one; 0: none */
    bool syncs;                /* CU_POINTER_ATTRIBUTE_SYNC_MEMOPS */
};

struct thread {
    struct CUctx_st *stack[MAX_STACK];
    unsigned depth;
    bool calling; /* in a function that the program gave to a stream */
    CUstreamCaptureMode capture;
    uint64_t id; /* 0: none needed yet */
    struct {
        uint64_t context;
        struct CUstream_st *stream;
    } streams[8]; /* the per-thread default streams */
};

/* library.c */
/* Chosen by cuInit. */
extern const struct cuda_backend *backend;
extern struct CUctx_st *primaries[MAX_DEVICES];
struct thread *thread_self(void);
void lock(void);
void unlock(void);
/* Takes the lock. Not CUDA_SUCCESS: not initialised, forked, within a host function; not locked. */
CUresult enter(void);
/* With a context that is current and whole. */
CUresult enter_context(struct CUctx_st **ret_context);
CUresult leave(CUresult result);
uint64_t unique(void);
bool handle_add(const void *object, enum kind kind);
void handle_remove(const void *object);
bool handle_is(const void *object, enum kind kind);
unsigned device_count(void);
const struct cuda_properties *device_properties(CUdevice device);
/* device.c: of a device that there is. */
CUresult device_attribute(int *value, CUdevice_attribute attribute, CUdevice device);

/* context.c; with the lock */
struct CUctx_st *context_current(void);
/* The current one, else the primary context of device 0 if there is one. */
CUresult context_any(struct CUctx_st **ret_context);
/* All that live, one after the other; NULL starts and ends. */
struct CUctx_st *context_next(struct CUctx_st *c);
/* Waits for all its streams: with the lock, which is given up meanwhile. */
CUresult context_wait(struct CUctx_st *c);
CUresult context_error(const struct CUctx_st *c);

/* stream.c; with the lock */
CUresult stream_find(CUstream handle, struct CUstream_st **ret_stream);
CUresult stream_make(struct CUctx_st *c, unsigned flags, int priority,
                     struct CUstream_st **ret_stream);
void stream_end(struct CUstream_st *s);
/* Behind all that the semantics of default streams want it behind. */
/* The legacy stream, which would have to wait for what is captured in one that it waits for. */
bool stream_blocks_capture(const struct CUstream_st *s);
CUresult stream_submit(struct CUstream_st *s, const struct cuda_command *command);
/* A function of the program. */
CUresult stream_call(struct CUstream_st *s, CUhostFn function, void *user);
/* Waits for what was submitted; gives up the lock meanwhile. */
CUresult stream_wait(struct CUstream_st *s);
/* Behind all that all streams of a context were given, also those that do not wait for each other.
 */
CUresult stream_behind_all(struct CUctx_st *c, const struct cuda_command *command);
/* Whether all of that is done. */
bool stream_all_done(const struct CUctx_st *c);
/* enter_context() and stream_find(). */
CUresult enter_stream(CUstream handle, struct CUstream_st **ret_stream);

/* event.c; with the lock, outside of captures */
CUresult event_record(CUevent event, struct CUstream_st *s);
CUresult event_wait(CUevent event, struct CUstream_st *s);

/* module.c; with the lock */
void module_destroy(struct CUmod_st *m);
/* A function or a kernel, as a function of this context. */
CUresult function_find(CUfunction handle, struct CUctx_st *c, struct CUfunc_st **ret_function);

/* image.c: the PTX of an image: text, fatbin, or what cudart wraps around one. `ret_text` is to be
 * freed. */
CUresult image_ptx(const void *image, char **ret_text, size_t *ret_size, const char **ret_why);

/* memory.c; with the lock */
struct range *range_find(uint64_t address);
CUresult range_add(struct CUctx_st *c, enum range_kind kind, uint64_t address, uint64_t size,
                   unsigned flags);
void range_remove(struct range *r);
void range_drop_context(struct CUctx_st *c);
/* Whether the host may touch it without a copy: it is no device memory. */
bool range_is_host(uint64_t address);
bool range_is_hosts(const struct range *range);

/* Whether copies and memset that take no stream wait for themselves there, too. */
bool memory_syncs(uint64_t address, CUstream stream);

/* advice.c; with the lock: forgets what was said of a range. */
void advice_drop(struct range *r);

/* event.c; with the lock. `shared` becomes the event's; may be NULL. */
CUresult event_make(struct CUctx_st *c, unsigned flags, struct ipc_event *shared,
                    CUevent *ret_event);

/* ipc.c; with the lock: what was opened there is gone. */
void ipc_closed(uint64_t address);

/* external.c; with the lock: memory that was imported, from any address of its first page on. */
#define IMPORT_PAGE 4096
void external_unmap(uint64_t address, uint64_t size);

/* Whether all of it is one allocation's, or memory of the host. */
CUresult memory_check(uint64_t address, uint64_t bytes);
/* The same, and it may be written. */
CUresult memory_check_write(uint64_t address, uint64_t bytes);

#endif
