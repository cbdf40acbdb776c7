/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_INTERNAL_H
#define VIADUCT_PTX_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <compute/cuda/ptx/ptx.h>

/*
 * From text to execution:
 *
 *   lex.c → module.c (declarations) → body.c (statements, operands) → select.c (opcode → handler)
 *   launch.c (threads, blocks) → warp.c (which lanes run) → ops*.c (handlers, 32 lanes each)
 *
 * A register is a slot of 32 values: of 32 bits each (also for 16-bit registers, whose upper bits
 * mean nothing, and for predicates, all ones or zero) or of 64. Constants are slots, too, so that a
 * handler has one way to read. All offsets into a frame's slots are bytes.
 */

#define LANES          32
#define SLOT32         (LANES * 4u)
#define SLOT64         (LANES * 8u)
#define ALL_LANES      0xffffffffu
#define NO_SLOT        0xffffffffu
#define BARRIERS       16
#define MAX_REGISTER   (16u << 20) /* bytes of slots of one function */
#define MAX_DEPTH      4096u       /* frames in one another */
#define MAX_FRAMES     (64u << 20) /* bytes of slots of one warp's frames */
#define MAX_TEXT       (64u << 20)
#define MAX_INSNS      (1u << 22) /* of one function */
#define MAX_VARIABLE   ((uint64_t)1 << 32)
#define MAX_PARAMETERS 4352u /* bytes, 4 KiB before sm_70; the newest limit is 32764 */
#define MAX_SCOPE      64

/* Generic addresses. What lies elsewhere is device memory. */
#define SHARED_BASE ((uint64_t)1 << 40)
/*
 * Bytes of shared memory that are the system's, behind a block's own, and zero when it starts:
 * cooperative groups of several warps meet in its second half (%reserved_smem_offset_1).
 */
#define RESERVED_SHARED 1024u
#define LOCAL_BASE      ((uint64_t)2 << 40)
#define PARAM_BASE      ((uint64_t)3 << 40)
#define WINDOW          ((uint64_t)1 << 24)
/* Of device memory: where no system puts memory of programs. */
#define DEVICE_BASE ((uint64_t)0x10 << 40)
/* To DEVICE_BASE * 2: reservations. */
#define VIRTUAL_BASE (DEVICE_BASE + DEVICE_BASE / 2)

enum ptx_space {
    SPACE_GENERIC,
    SPACE_GLOBAL, /* and const */
    SPACE_SHARED,
    SPACE_LOCAL, /* and .param of functions */
    SPACE_PARAM, /* of a kernel */
};

struct warp;
struct insn;
typedef const struct insn *(*ptx_handler)(struct warp *w, const struct insn *in);

struct insn {
    ptx_handler fn;
    uint32_t d, a, b, c; /* slots */
    union {
        int64_t imm;
        uint64_t bits;
        const struct insn *target;
        const void *data; /* struct call, struct targets */
    };
    uint32_t e, f; /* more slots */
    uint32_t flags, line;
};

/* struct insn.flags: float modifiers, address forms */
enum {
    F_FTZ = 1 << 0,
    F_SAT = 1 << 1,
    F_RZ = 1 << 2, /* none: to nearest even */
    F_RM = 1 << 3,
    F_RP = 1 << 4,
    F_APPROX = 1 << 5,
    F_ROUND = F_RZ | F_RM | F_RP,
    F_ADDRESS32 = 1 << 8, /* the address slot is one of 32 bits */
    F_UNLESS = 1 << 9,    /* a guard that is negated */
    F_SPIN = 1 << 10,     /* may wait for another thread: other lanes get their turn earlier */
    F_KEEP = 1 << 11,
};

/* A slot whose lanes all hold a value that never changes. */
struct ptx_constant {
    uint32_t slot;
    bool wide;
    uint64_t value;
};

/* A variable, parameter or register argument of a function. */
struct ptx_argument {
    uint32_t offset, size, align; /* in its storage */
    uint32_t slot;                /* .reg: the register, else NO_SLOT */
};

struct ptx_function {
    char *name;
    struct ptx_module *module;
    bool kernel, defined, visible;
    uint32_t index;
    const struct ptx_builtin *builtin; /* vprintf and the like: no text */
    struct ptx_argument *in, *out;
    uint32_t in_count, out_count;
    struct insn *insns;
    uint32_t insn_count;
    uint32_t slots; /* bytes */
    struct ptx_constant *constants;
    uint32_t constant_count;
    uint32_t local_bytes; /* of a frame, with its parameters */
    uint32_t param_bytes; /* of a kernel's parameters */
    uint32_t registers;
    uint32_t *shared_uses, shared_use_count; /* variables */
    uint32_t *calls, call_count;             /* functions */
    bool calls_any;                          /* indirectly */
    bool spills;                             /* has local memory, or calls */
    /* kernels: what layout() made of it */
    uint32_t *shared_at; /* offset of each of the module's shared variables */
    uint32_t shared_static, shared_dynamic_at;
    struct ptx_parameter *parameters;
    uint32_t max_threads, required[3];
    struct ptx_kernel *as_kernel;
};

struct ptx_builtin {
    const char *name;
    int (*run)(struct warp *w, const struct insn *in, const struct ptx_function *f,
               uint8_t *(*arguments)[LANES], uint8_t **result);
    uint8_t in_count, in_bytes[8];
    uint8_t out_bytes; /* the least */
    bool allocates;    /* needs the heap */
    bool launches;     /* needs child.h */
};

struct shared_variable {
    uint64_t size;
    uint32_t align;
    bool dynamic;
};

struct ptx_global {
    char *name;
    uint64_t address, size;
    bool placed; /* in memory of the caller's */
};

struct ptx_kernel {
    struct ptx_function *function;
};

struct ptx_module {
    struct ptx_context *context;
    struct ptx_function **functions;
    uint32_t function_count, function_room;
    struct ptx_global *globals;
    uint32_t global_count, global_room;
    struct shared_variable *shared;
    uint32_t shared_count, shared_room;
    struct targets **targets;
    uint32_t target_count, target_room;
    struct call **calls;
    uint32_t call_count, call_room;
    struct matrix **matrices;
    uint32_t matrix_count, matrix_room;
    struct texture_form **forms;
    uint32_t form_count, form_room;
    uint64_t const_bytes;
    bool allocates;   /* calls malloc */
    bool launches;    /* calls the device runtime: child.h */
    bool reserves;    /* uses the system's part of shared memory, RESERVED_SHARED */
    uint32_t version; /* sm_NN */
};

/* Labels of brx. */
struct targets {
    uint32_t count;
    const struct insn *at[];
};

struct call {
    struct ptx_function *callee; /* NULL: by the address in slot `a` */
    uint32_t in_count, out_count;
    struct ptx_argument *in, *out; /* of the caller; freed with the call */
};

/* Addresses of functions: the module's functions, in device address space, never readable. */
#define FUNCTION_BASE   ((uint64_t)4 << 40)
#define FUNCTION_STRIDE 16u

/* memory.c */
struct region {
    uint64_t address, size, room; /* room: bytes of address space taken */
    uint64_t counted;             /* of size: what was asked for */
    uint8_t *host;
    bool mapped, constant;
    bool shown; /* a mapping's: virtual.c */
};

/* By address. */
struct stretches {
    struct stretch *at;
    uint32_t count, room;
};

struct memory {
    pthread_rwlock_t lock;
    struct region *regions; /* by address */
    uint32_t count, room;
    uint64_t used, most;
    struct stretches reserved, mappings; /* virtual.c */
};

int memory_init(struct memory *m, uint64_t most);
void memory_finish(struct memory *m);
int memory_create(struct memory *m, uint64_t size, void *mapped, bool constant,
                  uint64_t *ret_address);
int memory_destroy(struct memory *m, uint64_t address);
/* With the lock held, for reading at least. NULL: nothing there. */
const struct region *memory_find(const struct memory *m, uint64_t address);
/* Index of the first region at or behind an address. With the lock. */
uint32_t memory_behind(const struct memory *m, uint64_t address);
/* Room for more regions. With the lock held for writing. 0 or VD_ERR_MEMORY. */
int memory_grow(struct memory *m, uint32_t more);
/* The same. Bytes from the end of an allocation to an address in the gap behind it, and one; 0: it
 * is in none. */
uint64_t memory_past(const struct memory *m, uint64_t address);

/* virtual.c: forgets all of it. */
void virtual_finish(struct memory *m);

/* Threads of a context and what they run. */
struct ptx_context {
    struct ptx_options options;
    struct memory memory;
    pthread_mutex_t launching; /* one launch at a time */
    atomic_bool cancel;
    atomic_bool running;
    pthread_mutex_t print_lock;
    struct heap *heap;
    struct children *children; /* NULL before the first kernel that may launch others */
    pthread_t *threads;
    unsigned thread_count;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake, idle;
    struct launch *launch;
    uint64_t generation;
    unsigned busy, started;
    uint64_t launches; /* under launching */
    bool quit;
};

struct launch {
    struct ptx_context *context;
    struct ptx_function *kernel;
    const struct ptx_launch *request;
    const uint8_t *parameters;
    uint64_t block_count;
    uint32_t threads, warps;              /* of a block */
    uint32_t shared_bytes;                /* of a block, with the system's */
    uint32_t shared_own, shared_reserved; /* without; where that begins */
    uint32_t share;                       /* blocks a thread runs at once, of a cooperative grid */
    uint64_t environment;                 /* cooperative: address of the grid's workspace */
    uint64_t deadline;                    /* nanoseconds, 0: none */
    uint64_t identity;
    atomic_uint_fast64_t next_block, instructions;
    atomic_bool stop;     /* a block failed or the launch was cancelled */
    pthread_mutex_t lock; /* result */
    struct ptx_result result;
};

/* One call of a function by some lanes of a warp. */
struct frame {
    struct frame *caller, *next_free;
    const struct ptx_function *function;
    const struct insn *back; /* where the caller goes on */
    const struct call *call;
    uint32_t lanes; /* still in here or in what it called */
    uint32_t depth;
    uint32_t local; /* offset of its local memory */
    uint8_t *slots;
};

enum group_state {
    GROUP_READY,
    GROUP_SYNC,     /* waits for lanes of `member` */
    GROUP_BARRIER,  /* waits for the block's barrier `barrier` */
    GROUP_RELEASED, /* its barrier or warp operation may go on: the handler runs again */
};

struct group {
    uint32_t mask, member;
    struct frame *frame;
    const struct insn *pc;
    enum group_state state;
    uint32_t barrier, result; /* what bar.red found */
    uint64_t ran;             /* when it ran last, in turns */
};

/* Why a handler returned NULL. */
enum stop {
    STOP_NONE,
    STOP_SPLIT, /* groups changed: choose again */
    STOP_WAIT,
    STOP_YIELD, /* fuel is used up */
    STOP_EXIT,
    STOP_FAULT,
};

/* The last allocation an instruction touched. */
struct view {
    const struct insn *insn;
    uint64_t address, size;
    uint8_t *host;
    bool constant;
};

#define VIEWS 64

struct block;

struct warp {
    /* what handlers read all the time */
    uint8_t *slots; /* of the group that runs */
    uint32_t mask;
    bool full;
    bool resuming; /* the handler at hand runs again after its wait */
    int64_t fuel;
    uint32_t lanes[LANES] __attribute__((aligned(64))); /* mask as slot */
    uint8_t *shared;
    uint64_t shared_bytes;
    uint8_t *local; /* lane i's at i * local_stride */
    uint64_t local_stride;
    struct frame *frame;
    struct view *views; /* of the thread */

    struct block *block;
    struct launch *launch;
    const struct insn *pc; /* where the group stops */
    enum stop stop;
    uint32_t index; /* in the block */
    uint32_t live, all;
    struct group groups[LANES];
    uint32_t group_count, current;
    uint64_t turn;
    uint64_t frame_bytes;
    struct frame *root, *free_frames;
    bool fair; /* the group that ran longest ago is next */
    uint32_t tid[3][LANES];
    uint8_t *local_memory;
};

struct barrier {
    uint32_t warps;        /* that have arrived, all or in part */
    uint32_t lanes[LANES]; /* which of theirs */
    uint32_t arrived;      /* how many lanes */
    uint32_t expected;     /* threads; 0: all live ones */
    uint32_t popc, all, any;
};

struct block {
    struct launch *launch;
    struct warp *warps;
    uint32_t warp_count;
    uint32_t id[3];
    uint8_t *shared;
    struct barrier barriers[BARRIERS];
    uint32_t live;    /* threads */
    uint32_t running; /* warps with live threads */
    bool active;
    uint32_t thread; /* of the context: %smid */
    struct view *views;
    uint16_t *errors; /* of each thread: cudaGetLastError; NULL: no kernel asks */
};

/* warp.c */
void warp_set_mask(struct warp *w, uint32_t mask);
/* Runs until all groups wait, its fuel is used up or the warp has ended. STOP_EXIT, STOP_WAIT,
 * STOP_YIELD, STOP_FAULT. */
enum stop warp_run(struct warp *w);
/* Lanes of `taken` go on at `target`, the others at `next`. */
const struct insn *warp_branch(struct warp *w, uint32_t taken, const struct insn *target,
                               const struct insn *next);
const struct insn *warp_stop(struct warp *w, enum stop why, const struct insn *pc);
const struct insn *warp_fault(struct warp *w, const struct insn *in, enum ptx_fault fault,
                              uint32_t lane, uint64_t address);
/* Whether all of the lanes of `member` that live are in the group that runs; otherwise it waits. */
bool warp_gather(struct warp *w, const struct insn *in, uint32_t member);
/* Wakes what waits for lanes that are gone. */
void warp_exited(struct warp *w, uint32_t lanes);
int warp_start(struct warp *w, struct block *b, uint32_t index);
void warp_finish(struct warp *w);
struct frame *warp_frame(struct warp *w, const struct ptx_function *f, struct frame *caller);
void warp_leave(struct warp *w, struct frame *frame, uint32_t lanes);

/* Runs a builtin for the lanes of w->mask: what it takes and gives, of each lane. Not 0: the warp
 * has failed. */
int builtin_run(struct warp *w, const struct insn *in, const struct ptx_function *f,
                uint8_t *(*arguments)[LANES], uint8_t **result);

/* Complete barriers release who waits for them. */
void block_barrier_check(struct block *b, uint32_t barrier);

/* Host memory of an access; NULL and the warp has failed. For handlers of rare operations. */
uint8_t *access_lane(struct warp *w, const struct insn *in, enum ptx_space space, uint64_t address,
                     uint32_t lane, uint32_t bytes, uint32_t align, bool write);

const struct ptx_builtin *builtin_find(const char *name, size_t size);

/* The kernels' heap, in one allocation of device memory; with its own lock. */
struct heap;
int heap_create(uint64_t address, uint64_t size, struct heap **ret_heap);
void heap_destroy(struct heap *heap);
uint64_t heap_take(struct heap *heap, uint64_t size); /* 0: no room */
bool heap_give(struct heap *heap, uint64_t address);

/* Time of the monotonic clock in nanoseconds. */
uint64_t launch_now(void);
/* Whether a kernel can run so; of the parameters the size counts. 0, VD_ERR_PARAMETER, ... */
int launch_check(const struct ptx_function *f, const struct ptx_launch *r);
/* `l` has its context. `request` and the parameters stay; the latter at a multiple of 64, with room
 * for 64 bytes more. */
void launch_init(struct launch *l, struct ptx_function *f, const struct ptx_launch *request,
                 const void *parameters);
void launch_finish(struct launch *l);
/* All blocks of the grid. */
void launch_blocks(struct launch *l);

/* The lanes whose predicate is set. */
static inline uint32_t slot_bits(const uint32_t *p)
{
#ifdef __SSE2__
    const __m128i *v = (const __m128i *)(const void *)p;
    __m128i low = _mm_packs_epi16(_mm_packs_epi32(v[0], v[1]), _mm_packs_epi32(v[2], v[3])),
            high = _mm_packs_epi16(_mm_packs_epi32(v[4], v[5]), _mm_packs_epi32(v[6], v[7]));

    return (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;
#else
    uint32_t bits = 0;

    for (unsigned i = 0; i < LANES; i++)
        bits |= (p[i] & 1) << i;
    return bits;
#endif
}

#define SLOT(w, offset) ((w)->slots + (offset))

#endif
