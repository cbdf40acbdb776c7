/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_NATIVE_H
#define VIADUCT_CUDA_NATIVE_H

#include <pthread.h>

#include <compute/cuda/cuda.h>
#include <compute/cuda/device.h>
#include <compute/cuda/texture.h>

/*
 * The backend on a libcuda.so.1 of this machine. It is loaded and initialised in the process that
 * uses it, after its last fork: CUDA does not survive one.
 *
 * A context here is one there. The first of a device is its home, which is kept for the next: it
 * has what belongs to none of them (registered memory, words).
 *
 * A queue is a stream. Each command is followed by an event, and a thread a queue waits for them in
 * order: functions that a stream calls would hold it up. Numbers that were not submitted yet can be
 * waited for, too, which events do not do: each queue has a word of registered memory that its
 * thread writes the last number to, and streams wait for the value.
 *
 * Locks: a queue's `submit` (its commands have an order), then native_lock, since queues of several
 * devices wait for each other. Neither the latter nor a queue's thread may stand in a call that
 * waits for a device, since streams may be waiting for what the thread does next.
 */

/* The functions that are used; drivers from CUDA 12 on have them. */
#define NATIVE_FUNCTIONS(HAVE)          \
    HAVE(cuInit)                        \
    HAVE(cuDriverGetVersion)            \
    HAVE(cuGetErrorName)                \
    HAVE(cuDeviceGetCount)              \
    HAVE(cuDeviceGet)                   \
    HAVE(cuDeviceGetName)               \
    HAVE(cuDeviceGetUuid)               \
    HAVE(cuDeviceTotalMem_v2)           \
    HAVE(cuDeviceGetAttribute)          \
    HAVE(cuCtxCreate_v2)                \
    HAVE(cuCtxDestroy_v2)               \
    HAVE(cuCtxSetCurrent)               \
    HAVE(cuCtxSynchronize)              \
    HAVE(cuCtxSetLimit)                 \
    HAVE(cuCtxGetStreamPriorityRange)   \
    HAVE(cuMemAlloc_v2)                 \
    HAVE(cuMemFree_v2)                  \
    HAVE(cuMemGetInfo_v2)               \
    HAVE(cuMemHostAlloc)                \
    HAVE(cuMemFreeHost)                 \
    HAVE(cuMemHostRegister_v2)          \
    HAVE(cuMemHostUnregister)           \
    HAVE(cuMemHostGetDevicePointer_v2)  \
    HAVE(cuMemAddressReserve)           \
    HAVE(cuMemAddressFree)              \
    HAVE(cuMemCreate)                   \
    HAVE(cuMemRelease)                  \
    HAVE(cuMemMap)                      \
    HAVE(cuMemUnmap)                    \
    HAVE(cuMemSetAccess)                \
    HAVE(cuMemGetAllocationGranularity) \
    HAVE(cuMemcpyHtoD_v2)               \
    HAVE(cuMemcpyDtoH_v2)               \
    HAVE(cuMemcpyAsync)                 \
    HAVE(cuMemcpyHtoDAsync_v2)          \
    HAVE(cuMemcpyDtoHAsync_v2)          \
    HAVE(cuMemcpyDtoDAsync_v2)          \
    HAVE(cuMemcpy2DAsync_v2)            \
    HAVE(cuMemcpy3DAsync_v2)            \
    HAVE(cuArray3DCreate_v2)            \
    HAVE(cuArrayDestroy)                \
    HAVE(cuMipmappedArrayCreate)        \
    HAVE(cuMipmappedArrayGetLevel)      \
    HAVE(cuMipmappedArrayDestroy)       \
    HAVE(cuTexObjectCreate)             \
    HAVE(cuTexObjectDestroy)            \
    HAVE(cuSurfObjectCreate)            \
    HAVE(cuSurfObjectDestroy)           \
    HAVE(cuMemsetD8Async)               \
    HAVE(cuMemsetD16Async)              \
    HAVE(cuMemsetD32Async)              \
    HAVE(cuMemsetD2D8Async)             \
    HAVE(cuMemsetD2D16Async)            \
    HAVE(cuMemsetD2D32Async)            \
    HAVE(cuStreamCreateWithPriority)    \
    HAVE(cuStreamDestroy_v2)            \
    HAVE(cuStreamSynchronize)           \
    HAVE(cuStreamWaitEvent)             \
    HAVE(cuStreamWaitValue32_v2)        \
    HAVE(cuStreamWaitValue64_v2)        \
    HAVE(cuStreamWriteValue32_v2)       \
    HAVE(cuStreamWriteValue64_v2)       \
    HAVE(cuEventCreate)                 \
    HAVE(cuEventRecord)                 \
    HAVE(cuEventSynchronize)            \
    HAVE(cuEventElapsedTime)            \
    HAVE(cuEventDestroy_v2)             \
    HAVE(cuLaunchHostFunc)              \
    HAVE(cuLaunchKernel)                \
    HAVE(cuLaunchCooperativeKernel)     \
    HAVE(cuLinkCreate_v2)               \
    HAVE(cuLinkAddData_v2)              \
    HAVE(cuLinkComplete)                \
    HAVE(cuLinkDestroy)                 \
    HAVE(cuModuleLoadDataEx)            \
    HAVE(cuModuleUnload)                \
    HAVE(cuModuleGetFunction)           \
    HAVE(cuModuleGetGlobal_v2)          \
    HAVE(cuFuncGetAttribute)            \
    HAVE(cuFuncSetAttribute)

struct native_functions {
#define NATIVE_FUNCTION(name) __typeof__(name) *name;
    NATIVE_FUNCTIONS(NATIVE_FUNCTION)
#undef NATIVE_FUNCTION
};

/* native_library.c */
extern struct native_functions native;
/* Loads and initialises it, once a process. 0 or a CUresult, with a line in the log. */
int native_load(void);

#define NATIVE_WORDS 8192

struct native_event {
    CUevent event;
    bool timed;
    unsigned references; /* native_lock */
    struct native_event *next;
};

struct native_context {
    struct cuda_context head;
    struct cuda_device *device;
    CUcontext handle;
    bool home;
    unsigned queues;                /* that live, released or not; native_lock */
    struct native_event *events[2]; /* idle ones, timed last; native_lock */
    struct native_event *base;      /* times are counted from; native_lock */
    uint64_t base_ns;               /* its time */
    struct native_context *next;
};

/* Guards what is below, but for what never changes. */
extern pthread_mutex_t native_lock;

struct cuda_device {
    CUdevice handle;
    unsigned index;
    int priority_least, priority_greatest;
    pthread_cond_t changed; /* queues have ended, memory was freed */
    CUcontext home;
    bool home_used, home_broken;
    struct native_context *contexts;
    struct cuda_queue *queues; /* all */
    /* A word a queue. */
    uint32_t *words;
    CUdeviceptr words_address;
    uint32_t word_free[NATIVE_WORDS], word_free_count;
    void *memory;                  /* tree of struct native_memory by address */
    struct native_bounce *bounces; /* idle ones */
    /* What queues have freed: freeing waits for the device. */
    struct native_memory *frees;
    bool freeing, has_freer;
    bool hung;             /* its work was given up: the worker is about to end */
    uint64_t cancelled_ns; /* when somebody began to want what runs to end */
};

struct native_memory {
    CUdeviceptr address;
    CUcontext context;
    struct native_memory *next;
};

/* native.c */
/* Makes the context the calling thread's. 0 or a CUresult. */
int native_enter(CUcontext context);
/* The same with any whole context of a device that is open. */
int native_enter_any(void);
int native_open(unsigned index, struct cuda_device **ret_device);
/* With native_lock, or before anybody has it: the context that all else belongs to. */
int native_make_home(struct cuda_device *d);
/* Ends the worker: its device does not go on. */
_Noreturn void native_leave(const char *why);
uint64_t native_now(void);

/* native_context.c */
int native_context_create(struct cuda_device *d, struct cuda_context **ret_context);
void native_context_destroy(struct cuda_context *context);
void native_context_abort(struct cuda_context *context, int error);
int native_context_heap(struct cuda_device *d, uint64_t bytes);

/* native_memory.c */
int native_memory_create(struct cuda_device *d, struct cuda_context *context, uint64_t size,
                         uint64_t *ret_address);
int native_memory_destroy(struct cuda_device *d, uint64_t address);
int native_memory_info(struct cuda_device *d, uint64_t *ret_free, uint64_t *ret_total);
int native_memory_map(void *memory, uint64_t size);
int native_memory_lock(void *memory, uint64_t size);
int native_memory_map_as(void *memory, uint64_t size, uint64_t address);
void native_memory_unmap(uint64_t address);
int native_host_create(uint64_t size, bool kernels, void **ret_memory);
void native_host_destroy(void *memory, uint64_t size);
/* With native_lock: frees device memory, at once or when `later`. */
void native_free(struct cuda_device *d, CUdeviceptr address, bool later);
/* With native_lock: memory that goes with its context. */
void native_memory_forget(struct cuda_device *d, CUcontext context);
/* The device that has it goes; nothing is registered any more. */
void native_memory_unregister(void);
/* Whether the driver reaches all of that memory of the host without copies. */
bool native_is_registered(uint64_t address, uint64_t bytes);

/* native_virtual.c: the table's, and */
int native_virtual_reserve(struct cuda_device *d, uint64_t size, uint64_t align, uint64_t wanted,
                           uint64_t *ret_address);
int native_virtual_release(struct cuda_device *d, uint64_t address, uint64_t size);
int native_physical_create(struct cuda_device *d, uint64_t size, int fd,
                           struct cuda_physical **ret_physical);
void native_physical_destroy(struct cuda_device *d, struct cuda_physical *p);
int native_virtual_map(struct cuda_device *d, uint64_t address, uint64_t size,
                       struct cuda_physical *physical, uint64_t offset);
int native_virtual_unmap(struct cuda_device *d, uint64_t address, uint64_t size);
int native_virtual_allow(struct cuda_device *d, uint64_t address, uint64_t size,
                         enum vmm_access access);
/* Whether a device has it, in pieces of VMM_GRANULARITY. */
bool native_virtual_there(CUdevice device);

/* native_array.c */
struct native_array {
    struct cuda_texture shape;  /* how its addresses are laid out */
    struct cuda_array_shape as; /* what the driver made */
    uint64_t size;
    CUcontext context;
    CUmipmappedArray mipmap;             /* NULL: it is none */
    CUarray levels[CUDA_TEXTURE_LEVELS]; /* or the array itself */
    struct native_array *next;
};
/* What an address of an array means: bytes, rows, images of a level. */
struct native_spot {
    const struct native_array *array;
    struct cuda_texture_level level;
    uint32_t number; /* of the level */
    uint64_t bytes;  /* of it */
    uint64_t x, y, z;
};
int native_array_create(struct cuda_device *d, struct cuda_context *context,
                        const struct cuda_array_shape *shape, uint64_t *ret_address);
/* false: it is no array's. */
bool native_array_destroy(uint64_t address);
/* A context has gone, with its arrays. */
void native_array_forget(CUcontext context);
/* Only the session's thread destroys arrays: on it the array stays. */
bool native_array_find(uint64_t address, struct native_spot *ret_spot);
/* Whether a copy is one of an array; such a copy, for a stream. */
bool native_array_copies(const struct cuda_command *c);
int native_array_copy(CUstream stream, const struct cuda_command *c);

/* native_texture.c */
int native_texture_create(struct cuda_context *context, const struct cuda_texture *t,
                          uint64_t *ret_handle);
void native_texture_destroy(struct cuda_context *context, uint64_t handle, bool surface);
/* Destroys those of a context, which is current. */
void native_texture_forget(CUcontext context);

/* native_module.c */
struct native_kernel {
    CUfunction function;
    uint32_t parameter_count, parameter_bytes, static_shared;
    int dynamic_shared; /* that is allowed by now */
    const struct cuda_parameter *parameters;
};
int native_module_create(struct cuda_context *context, const char *text, size_t size, char *log,
                         size_t log_size, struct cuda_module **ret_module);
void native_module_destroy(struct cuda_module *module);

/* native_link.c */
/* Whether a text, which ends with a zero, is several, or a piece of a module (PTX_PARTIAL). */
bool native_link_wanted(const char *text, size_t size);
/*
 * Links it. 0 or a CUresult; options and values as in cuLinkCreate. `*ret_module`: NULL for a
 * piece.
 */
int native_link(const char *text, size_t size, unsigned count, CUjit_option *options, void **values,
                CUmodule *ret_module);

/* native_ptx.c: what a driver does not tell of a module in all its versions */
struct native_ptx_kernel {
    char *name;
    uint32_t parameter_first, parameter_count, parameter_bytes;
};
struct native_ptx {
    struct native_ptx_kernel *kernels;
    struct cuda_parameter *parameters;
    char **globals; /* variables of .global and .const, with a definition */
    unsigned kernel_count, parameter_count, global_count;
    unsigned kernel_room, parameter_room, global_room;
};
/* 0 or a CUresult. Finish it in any case. */
int native_ptx_scan(const char *text, size_t size, struct native_ptx *ret_ptx);
void native_ptx_finish(struct native_ptx *p);

/* native_event.c */
int native_stamp_create(struct cuda_stamp **ret_stamp);
void native_stamp_hold(struct cuda_stamp *s);
void native_stamp_release(struct cuda_stamp *s);
void native_stamp_set(struct cuda_stamp *s, uint64_t time);
uint64_t native_stamp_time(struct cuda_stamp *s);
/* With native_lock. An idle event, or a new one, with one reference. 0 or a CUresult. */
int native_event_take(struct native_context *c, bool timed, struct native_event **ret_event);
/* With native_lock. NULL is fine. */
void native_event_give(struct native_context *c, struct native_event *e);
/* With native_lock: the time of an event that has come to pass. */
uint64_t native_event_time(struct native_context *c, struct native_event *e);

/* native_queue.c */
int native_queue_create(struct cuda_context *context, int priority, struct cuda_queue **ret_queue);
void native_queue_hold(struct cuda_queue *q);
void native_queue_release(struct cuda_queue *q);
uint64_t native_queue_submit(struct cuda_queue *q, const struct cuda_command *command);
bool native_queue_done(struct cuda_queue *q, uint64_t number);
void native_queue_wait(struct cuda_queue *q, uint64_t number);
void native_queue_watch(struct cuda_queue *q, void (*passed)(void *arg, uint64_t number),
                        void *arg);
/* With native_lock: poisons a context; its streams do not wait for others any more. */
void native_queue_fail(struct native_context *c, int error);
/* With native_lock, for good: all work counts as done, and failed. */
void native_queue_give_up(struct cuda_device *d, int error);
/* With native_lock: whether a queue has work, and when the oldest of it began, at most. */
bool native_queue_busy(struct cuda_device *d, uint64_t *ret_since_ns);

/* native_bounce.c: copies from and to memory that the driver does not reach */
/* Gives a copy to a stream. 0 or a CUresult. `ret_bounce` is given back when the command is over;
 * NULL: there is none. */
int native_bounce_copy(struct cuda_device *d, CUstream stream, const struct cuda_command *c,
                       struct native_bounce **ret_bounce);
/* With native_lock. */
void native_bounce_give(struct cuda_device *d, struct native_bounce *b);
/* The same, in a context. */
void native_bounce_drop_all(struct cuda_device *d);

/* native_command.c: gives one to a stream. 0 or a CUresult. */
int native_command(CUstream stream, const struct cuda_command *c);

#endif
