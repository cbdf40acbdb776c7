/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_H
#define VIADUCT_PTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Runs PTX on the host's processors. A context has device memory of its own; a module is PTX text
 * compiled against a context, and lives no longer than it.
 *
 * Functions return 0 or a negative VD_ERR_* code. All may be called on any thread. Launches of one
 * context run one after the other, each over all of the context's threads; copies may run beside
 * a launch, what frees or allocates memory waits for it.
 *
 * Nothing a kernel or its text does reaches the host's memory: addresses are those of the context
 * and every access is checked.
 */

struct ptx_context;
struct ptx_module;
struct ptx_kernel;
struct ptx_attributes;
struct ptx_physical;

struct ptx_options {
    unsigned threads;      /* 0: one a processor */
    uint64_t memory;       /* most bytes of device memory; 0: no limit but the host's */
    uint64_t heap;         /* bytes for the kernels' malloc; 0: 8 MiB */
    uint64_t instructions; /* most warp instructions of one launch; 0: no limit */
    unsigned seconds;      /* most seconds of one launch; 0: no limit */
    uint64_t slack; /* bytes behind memory of ptx_memory_create that are there, too, at least */
    unsigned stack; /* bytes of local memory a thread; 0: 64 KiB */
    /* Text of the kernels' printf, whole calls, never two at a time, on any thread. May be NULL. */
    void (*print)(void *user, const char *text, size_t size);
    /* For kernels that ask what they run on; may be NULL. An attribute of the device by CUDA's
     * number (not 0: there is none), and how many blocks a multiprocessor has room for. */
    int (*attribute)(void *user, int number, int *ret_value);
    int (*occupancy)(void *user, const struct ptx_attributes *kernel, int threads,
                     uint64_t dynamic_bytes);
    void *user;
};

/* What ended a launch, for the error of CUDA it becomes. */
enum ptx_fault {
    PTX_FAULT_NONE,
    PTX_FAULT_ADDRESS,     /* an access outside every allocation */
    PTX_FAULT_MISALIGNED,  /* an address that is no multiple of the access */
    PTX_FAULT_READ_ONLY,   /* a write to constant memory or parameters */
    PTX_FAULT_TRAP,        /* trap, or a function that is not there */
    PTX_FAULT_ASSERT,      /* __assertfail */
    PTX_FAULT_LIMIT,       /* instructions or time used up */
    PTX_FAULT_CANCELLED,   /* ptx_cancel */
    PTX_FAULT_DEADLOCK,    /* every thread of a block waits for another */
    PTX_FAULT_STACK,       /* local memory or frames used up */
    PTX_FAULT_INSTRUCTION, /* operands with which the instruction has no meaning */
    PTX_FAULT_MEMORY,      /* the host has no memory */
};

/* How a launch ended. */
struct ptx_result {
    enum ptx_fault fault;
    uint64_t address;      /* of a memory fault */
    uint32_t line;         /* of the instruction in its module's text */
    uint32_t block[3];     /* which block */
    uint32_t thread;       /* the first thread of it that failed */
    uint64_t instructions; /* warp instructions, about */
    char text[192];        /* for people */
};

int ptx_context_create(const struct ptx_options *options, struct ptx_context **ret_context);
/* No launch may run, and its modules are gone. NULL is fine. */
void ptx_context_destroy(struct ptx_context *context);

/* Device memory: zeroed, at a multiple of 512. VD_ERR_MEMORY if there is no room. */
int ptx_memory_create(struct ptx_context *context, uint64_t size, uint64_t *ret_address);
/* Memory of the caller (pinned, shared) as device memory; it stays his and must outlive its use. */
int ptx_memory_map(struct ptx_context *context, void *memory, uint64_t size, uint64_t *ret_address);
/* The same at the address it has in this process. VD_ERR_PARAMETER: something is mapped there, or
 * it lies where the context has addresses of its own. */
int ptx_memory_map_at(struct ptx_context *context, void *memory, uint64_t size);
/* At an address of the caller's choice, with the same rules. */
int ptx_memory_map_as(struct ptx_context *context, void *memory, uint64_t size, uint64_t address);
/* Bytes that are allocated, maps not counted. */
void ptx_memory_usage(struct ptx_context *context, uint64_t *ret_used);
/* Another options.heap. VD_ERR_PARAMETER: a kernel has already used malloc. */
int ptx_context_set_heap(struct ptx_context *context, uint64_t bytes);
/* VD_ERR_ID: no allocation starts there. */
int ptx_memory_destroy(struct ptx_context *context, uint64_t address);
/* The allocation an address is in. */
int ptx_memory_find(struct ptx_context *context, uint64_t address, uint64_t *ret_base,
                    uint64_t *ret_size);

/*
 * Addresses and memory apart. Memory of its own, zeroed, or that behind `fd` (which stays the
 * caller's, and must be sealed against shrinking); -1: none. VD_ERR_MEMORY: no room, or no such fd.
 */
int ptx_physical_create(struct ptx_context *context, uint64_t size, int fd,
                        struct ptx_physical **ret_physical);
/* It is mapped nowhere. NULL is fine. */
void ptx_physical_destroy(struct ptx_context *context, struct ptx_physical *physical);
/* An allocation's bytes go to `fd` (its size at least, sealed against shrinking), and are there
 * from now on. VD_ERR_ID: none of ptx_memory_create starts there. */
int ptx_memory_share(struct ptx_context *context, uint64_t address, int fd);
/* Addresses without memory: multiples of `align`, a power of two, and of 4096. At `wanted`, if that
 * is free. VD_ERR_MEMORY: there is no room. */
int ptx_virtual_reserve(struct ptx_context *context, uint64_t size, uint64_t align, uint64_t wanted,
                        uint64_t *ret_address);
/* With all that is mapped. VD_ERR_ID: no reservation starts there. */
int ptx_virtual_release(struct ptx_context *context, uint64_t address);
/* Multiples of 4096, free and within one reservation and the memory, else VD_ERR_PARAMETER. It may
 * not be accessed yet. The memory stays until it is unmapped. */
int ptx_virtual_map(struct ptx_context *context, uint64_t address, uint64_t size,
                    const struct ptx_physical *physical, uint64_t offset);
/* Whole mappings, here and below; of others nothing happens. */
int ptx_virtual_unmap(struct ptx_context *context, uint64_t address, uint64_t size);
enum ptx_access { PTX_ACCESS_NONE, PTX_ACCESS_READ, PTX_ACCESS_WRITE };
int ptx_virtual_allow(struct ptx_context *context, uint64_t address, uint64_t size,
                      enum ptx_access access);

/* VD_ERR_PARAMETER: not all within one allocation. */
int ptx_memory_write(struct ptx_context *context, uint64_t address, const void *data,
                     uint64_t size);
int ptx_memory_read(struct ptx_context *context, uint64_t address, void *data, uint64_t size);
int ptx_memory_copy(struct ptx_context *context, uint64_t to, uint64_t from, uint64_t size);
/* `count` values of `width` bytes (1, 2, 4). */
int ptx_memory_set(struct ptx_context *context, uint64_t address, uint32_t value, unsigned width,
                   uint64_t count);

/*
 * Compiles PTX. Text needs no zero at its end, and is not kept. VD_ERR_PARAMETER: not PTX, or
 * PTX this does not know; `log` (may be NULL) says where and what, as lines
 * "ptxas application ptx input, line N; error : ...". Functions that kernels call and are not there
 * are an error, too, but in a text that says `.pragma "viaduct.partial";`: such a call ends the
 * launch.
 */
#define PTX_PARTIAL "viaduct.partial"
int ptx_module_create(struct ptx_context *context, const char *text, size_t size, char *log,
                      size_t log_size, struct ptx_module **ret_module);
/* Frees its globals. No launch of it may run. */
void ptx_module_destroy(struct ptx_module *module);

/* Kernels belong to the module. VD_ERR_ID: no such name. */
int ptx_module_kernel(struct ptx_module *module, const char *name, struct ptx_kernel **ret_kernel);
/* The i-th kernel, NULL behind the last. */
struct ptx_kernel *ptx_module_kernel_at(struct ptx_module *module, unsigned index);
int ptx_module_global(struct ptx_module *module, const char *name, uint64_t *ret_address,
                      uint64_t *ret_size);
unsigned ptx_module_global_count(const struct ptx_module *module);
/* The i-th variable, below the count. The name belongs to the module. */
void ptx_module_global_at(const struct ptx_module *module, unsigned index, const char **ret_name,
                          uint64_t *ret_address, uint64_t *ret_size);

struct ptx_parameter {
    uint32_t offset, size, align;
};

struct ptx_attributes {
    const char *name;
    uint32_t parameter_count, parameter_bytes;
    const struct ptx_parameter *parameters;
    uint32_t registers;    /* 32-bit registers a thread, at most 255, as occupancy counts them */
    uint32_t shared_bytes; /* static */
    uint32_t const_bytes;
    uint32_t local_bytes; /* a thread, of its own frame */
    uint32_t max_threads; /* of .maxntid, else 1024 */
    uint32_t required[3]; /* of .reqntid, else 0 */
    uint32_t version;     /* target: 70 for sm_70 */
};

void ptx_kernel_attributes(const struct ptx_kernel *kernel, struct ptx_attributes *ret);

struct ptx_launch {
    uint32_t grid[3], block[3];
    uint32_t shared_bytes;  /* dynamic */
    bool cooperative;       /* all blocks at once: the grid may wait for itself */
    const void *parameters; /* laid out as the attributes say */
    size_t parameter_bytes;
};

/*
 * Runs a kernel to its end, on the caller's thread and those of the context. VD_ERR_PARAMETER:
 * a size is out of range, parameters are missing; VD_ERR_LIMIT: a cooperative grid is too large;
 * VD_ERR_DECODE: a fault ended it, `ret_result` (may be NULL) says which.
 */
int ptx_launch(struct ptx_kernel *kernel, const struct ptx_launch *launch,
               struct ptx_result *ret_result);
/* Ends the launch that runs, if one does. */
void ptx_cancel(struct ptx_context *context);

#define PTX_MAX_BLOCK       1024u
#define PTX_MAX_SHARED      (227u << 10)
#define PTX_MAX_COOPERATIVE 1024u  /* blocks */
#define PTX_MAX_CHILDREN    16384u /* launches, copies and fills of kernels that wait */

#endif
