/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_DEVICE_H
#define VIADUCT_CUDA_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <compute/cuda/backend/vmm.h>
#include <compute/cuda/constants.h>

/*
 * What libcuda needs of whatever runs its work: one table of operations. Functions return 0 or a
 * CUresult, and may be called on any thread.
 *
 * Work goes one way. A queue takes commands and numbers them from 1; submitting never waits, nor
 * does it tell whether a command will succeed. What goes wrong later poisons the context: its
 * `error` becomes the CUresult, the rest of its commands is dropped (their numbers still come to
 * pass), and it stays so until the context is destroyed. Waiting is for a number of a queue.
 *
 * All that is known of a module's kernels and variables comes with the answer to its load, and all
 * that is known of a device when it is looked up, so that questions need no way to the device.
 */

struct cuda_array_shape;
struct cuda_device;
struct cuda_texture;
struct cuda_queue;
struct cuda_stamp;
struct cuda_physical;

struct cuda_properties {
    int index;
    char name[64];
    uint8_t uuid[16];
    uint64_t memory; /* bytes */
    unsigned multiprocessors;
    int clock_khz, l2_bytes;
    int local;    /* 1: device and host share memory in one process, without copies */
    int coherent; /* 1: memory of host_create is the same memory for both at all times */
    int apart;    /* 1: kernels do not reach memory of the host: it is good for copies alone */
    /* 1: what stands for textures and surfaces here (texture.h) means nothing to its kernels, which
     * want arrays and objects of the backend's. */
    int textureless;
    int virtual_memory; /* 1: it has addresses and memory apart (virtual_reserve, ...) */
    int imports;        /* 1: memory by a descriptor may be such memory, too */
};

/* What the executor is, where programs ask. */
#define CUDA_CAPABILITY        80 /* 8.0 */
#define CUDA_THREADS_PER_SM    2048
#define CUDA_REGISTERS_PER_SM  65536
#define CUDA_BLOCKS_PER_SM(sm) ((sm) > 32 ? 1024 / (sm) : 32)

/* The head of what context_create gives; backends have more behind it. */
struct cuda_context {
    _Atomic int error; /* CUresult that poisoned it */
};

struct cuda_kernel_info {
    const char *name;
    void *kernel; /* for cuda_command.launch */
    uint32_t parameter_count, parameter_bytes;
    const struct cuda_parameter {
        uint32_t offset, size, align;
    } * parameters;
    uint32_t registers, shared_bytes, const_bytes, local_bytes;
    uint32_t max_threads, ptx_version;
};

struct cuda_global_info {
    const char *name;
    uint64_t address, size;
};

/* Everything belongs to the module. */
struct cuda_module {
    const struct cuda_kernel_info *kernels;
    unsigned kernel_count;
    const struct cuda_global_info *globals;
    unsigned global_count;
};

enum cuda_command_kind {
    CUDA_LAUNCH,
    CUDA_COPY,
    CUDA_SET,
    CUDA_CALL,        /* a function of the program, on a thread of the backend */
    CUDA_WAIT,        /* for a number of another queue */
    CUDA_STAMP,       /* takes the time */
    CUDA_WRITE_VALUE, /* of 32 or 64 bits */
    CUDA_WAIT_VALUE,
    CUDA_FREE, /* device memory */
    CUDA_NOTHING,
};

/* One side of a copy: of the host's memory, or device memory by its address. */
struct cuda_side {
    bool host;
    uint64_t address;
    uint64_t pitch, slice; /* bytes from row to row, from image to image */
    bool locked; /* pinned or registered: read when the queue comes to it, not by submit */
};

struct cuda_command {
    enum cuda_command_kind kind;
    union {
        struct {
            void *kernel;
            uint32_t grid[3], block[3], shared_bytes;
            bool cooperative;
            const void *parameters; /* copied by submit */
            uint32_t parameter_bytes;
        } launch;
        struct {
            struct cuda_side to, from;
            uint64_t width, height, depth; /* bytes, rows, images */
            void *staged;                  /* freed after the copy; may be NULL */
        } copy;
        struct {
            uint64_t address, pitch; /* pitch: bytes from row to row */
            uint32_t value, element; /* bytes: 1, 2, 4 */
            uint64_t width, height;  /* elements, rows */
        } set;
        struct {
            void (*run)(void *user, int error); /* error: of the context, 0 mostly */
            void *user;
        } call;
        struct {
            struct cuda_queue *queue; /* held until then */
            uint64_t number;
        } wait;
        struct {
            struct cuda_stamp *stamp; /* held until then; may be NULL */
            uint64_t *time;           /* gets the time, too, before the command counts as done;
                                       * lives as long as the queue; may be NULL */
        } stamp;
        struct {
            uint64_t address, value;
            uint32_t bytes;   /* 4, 8 */
            uint32_t compare; /* CU_STREAM_WAIT_VALUE_… */
        } value;
        uint64_t free;
    };
};

struct cuda_backend {
    const char *name;
    /*
     * Memory of the program that the device does not reach (neither host_create's nor mapped) may
     * be a side of a copy: `submit` has read what is copied from when it returns, unless it is
     * `locked`, and what is copied to has arrived when `done` or `wait` says so. Otherwise such
     * memory has to stay until then.
     */
    bool stages;
    /* How many devices there are. */
    int (*count)(unsigned *ret_count);
    int (*properties)(unsigned index, struct cuda_properties *ret);
    /* A device for use: made with the first, one a process. */
    int (*open)(unsigned index, struct cuda_device **ret_device);

    int (*context_create)(struct cuda_device *device, struct cuda_context **ret_context);
    /* Its queues and modules are gone. */
    void (*context_destroy)(struct cuda_context *context);

    /* For kernels of this context at least. It goes with memory_destroy alone, or the context if
     * that is the first to be destroyed. */
    int (*memory_create)(struct cuda_device *device, struct cuda_context *context, uint64_t size,
                         uint64_t *ret_address);
    /* Memory of the host that all devices reach at its own address, zeroed. `kernels`: refuse where
     * only copies could use it. */
    int (*host_create)(uint64_t size, bool kernels, void **ret_memory);
    void (*host_destroy)(void *memory, uint64_t size);
    /* The host's memory as device memory at its own address, on all devices, now and later. */
    int (*memory_map)(void *memory, uint64_t size);
    /* Optional: the host's memory, for copies alone: they are made without another. Undone by
     * memory_unmap. */
    int (*memory_lock)(void *memory, uint64_t size);
    /* The same at an address of the caller's choice. */
    int (*memory_map_as)(void *memory, uint64_t size, uint64_t address);
    /* Optional: a descriptor's memory, which the caller has mapped there; else memory_map does. Of
     * the caller the mapping stays. CUDA_ERROR_NOT_SUPPORTED: another address may do. */
    int (*memory_import)(int fd, uint64_t offset, void *memory, uint64_t size);
    /* Of any, by the address that kernels use. */
    void (*memory_unmap)(uint64_t address);
    int (*memory_destroy)(struct cuda_device *device, uint64_t address);
    /* Optional: memory of memory_create becomes what is behind `fd`, which is as large, with its
     * bytes. May wait for a kernel. */
    int (*memory_share)(struct cuda_device *device, uint64_t address, int fd);
    int (*memory_info)(struct cuda_device *device, uint64_t *ret_free, uint64_t *ret_total);
    /*
     * Optional, for devices that are `textureless`. An array, mipmapped if there are levels. Its
     * address and those behind it, as texture.h lays it out, are names for copies and
     * texture_create; nothing need be there. memory_destroy ends it.
     */
    int (*array_create)(struct cuda_device *device, struct cuda_context *context,
                        const struct cuda_array_shape *shape, uint64_t *ret_address);
    /* An object over an array or memory, by its magic a texture or a surface: what kernels get. */
    int (*texture_create)(struct cuda_context *context, const struct cuda_texture *texture,
                          uint64_t *ret_handle);
    void (*texture_destroy)(struct cuda_context *context, uint64_t handle, bool surface);

    /*
     * Optional, all or none: addresses and memory apart, for all contexts of a device. What is
     * asked is right by the rules of vmm.h: of sizes, places and what is mapped nothing else is
     * checked. Sizes are multiples of VMM_GRANULARITY.
     */
    /* At `wanted` if that can be, else elsewhere; `align` is a power of two, or 0. */
    int (*virtual_reserve)(struct cuda_device *device, uint64_t size, uint64_t align,
                           uint64_t wanted, uint64_t *ret_address);
    /* Nothing is mapped there. */
    int (*virtual_release)(struct cuda_device *device, uint64_t address, uint64_t size);
    /* Zeroed, of the device; or what is behind `fd`, which stays the caller's; -1: none. */
    int (*physical_create)(struct cuda_device *device, uint64_t size, int fd,
                           struct cuda_physical **ret_physical);
    /* It is mapped nowhere. */
    void (*physical_destroy)(struct cuda_device *device, struct cuda_physical *physical);
    int (*virtual_map)(struct cuda_device *device, uint64_t address, uint64_t size,
                       struct cuda_physical *physical, uint64_t offset);
    int (*virtual_unmap)(struct cuda_device *device, uint64_t address, uint64_t size);
    int (*virtual_allow)(struct cuda_device *device, uint64_t address, uint64_t size,
                         enum vmm_access access);

    /* PTX. `log` (may be NULL) is a text for people, also when it is refused. */
    int (*module_create)(struct cuda_context *context, const char *text, size_t size, char *log,
                         size_t log_size, struct cuda_module **ret_module);
    void (*module_destroy)(struct cuda_module *module);
    /* Bytes of the kernels' malloc, for the first launch that needs them. */
    int (*heap)(struct cuda_device *device, uint64_t bytes);

    /* Lower priorities are served first. With one reference. */
    int (*queue_create)(struct cuda_context *context, int priority, struct cuda_queue **ret_queue);
    void (*queue_hold)(struct cuda_queue *queue);
    /* What was submitted is still done. */
    void (*queue_release)(struct cuda_queue *queue);
    /* 0: there is no memory. */
    uint64_t (*submit)(struct cuda_queue *queue, const struct cuda_command *command);
    bool (*done)(struct cuda_queue *queue, uint64_t number);
    void (*wait)(struct cuda_queue *queue, uint64_t number);
    /* Optional. Calls `passed` on each completion, on any thread and with locks held, once the
     * context's error is set. Before the first command. */
    void (*watch)(struct cuda_queue *queue, void (*passed)(void *arg, uint64_t number), void *arg);

    int (*stamp_create)(struct cuda_stamp **ret_stamp); /* with one reference */
    void (*stamp_release)(struct cuda_stamp *stamp);
    uint64_t (*stamp_time)(struct cuda_stamp *stamp); /* ns; 0: not yet */

    /* Writes what kernels printed to the standard output. */
    void (*print)(struct cuda_device *device);
    /* Optional: instead of that, takes so many bytes of it; with no room tells how many there are.
     */
    size_t (*printed)(struct cuda_device *device, char *text, size_t room);
    /* Optional: ends the kernel that runs, as if it had used up its time. */
    void (*cancel)(struct cuda_device *device);
    /* Optional: a sentence on the fault that poisoned a context; its bytes, 0: there is none. */
    size_t (*fault)(struct cuda_context *context, char *text, size_t room);
    /* Optional: poisons a context; what waits in its queues for others does not any more. */
    void (*abort)(struct cuda_context *context, int error);
};

/* Limits for backends in this process. Before the first device is opened. */
struct cuda_limits {
    uint64_t bytes;   /* device memory; 0: what the machine has */
    unsigned seconds; /* of a launch; 0: no limit */
    bool idle;        /* kernels are not run: to measure the way to them */
};

/* The executor for PTX in this process. */
extern const struct cuda_backend cuda_backend_ptx;
void ptx_set_limits(const struct cuda_limits *limits);

/*
 * The machine's own libcuda.so.1: NVIDIA's. It must be initialised in the process that uses it,
 * after the last fork.
 */
extern const struct cuda_backend cuda_backend_native;
/* `idle` means nothing to it. */
void native_set_limits(const struct cuda_limits *limits);
/* Which one, by its path; NULL or "" for the one that the linker finds, unless it is Viaduct's. */
void native_set_library(const char *path);
/* Loads it, in a process that will use it, before a sandbox closes. What kernels print is caught
 * from now on: the standard output is taken. 0 or a CUresult. */
int native_prepare(void);
/* Runs a kernel in a child process, which must be able to fork (single thread). 0: devices can be
 * used, and `ret_text` says which; else a CUresult. */
int native_probe(char *ret_text, size_t size);

#endif
