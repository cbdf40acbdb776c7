/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <viaduct/errors.h>

#include "child.h"

/*
 * The device runtime as kernels call it ("CUDA C++ Programming Guide", CUDA Dynamic Parallelism;
 * cuda_device_runtime_api.h). Compilers put "__cudaCDP2" in the place of "cuda", older ones do not.
 */

enum error {
    NO_ERROR = 0,
    INVALID_VALUE = 1,
    MEMORY_ALLOCATION = 2,
    INVALID_CONFIGURATION = 9,
    INVALID_PITCH = 12,
    INVALID_DIRECTION = 21,
    TOO_DEEP = 65,
    TOO_MANY = 69,
    INVALID_FUNCTION = 98,
    INVALID_DEVICE = 101,
    INVALID_HANDLE = 400,
    OUT_OF_RESOURCES = 701,
};

#define VERSION 13000

/* Handles of streams and events mean nothing: see child.h. */
#define STREAM_TAIL      3
#define STREAM_FORGET    4
#define STREAM_HANDLE    ((uint64_t)0x5354 << 48)
#define EVENT_HANDLE     ((uint64_t)0x4556 << 48)
#define HANDLE_MASK      ((uint64_t)0xffff << 48)
#define EVENT_NO_TIMING  2u /* the only kind of event that kernels can make */
#define STREAM_NO_BLOCK  1u
#define COPY_ON_DEVICE   3u
#define COPY_DEFAULT     4u
#define PRINT_BYTES      (1u << 20)
#define LIMIT_SYNC_DEPTH 2u
#define LIMIT_PENDING    2048u

/* One lane's call. */
struct one {
    struct warp *w;
    const struct insn *in;
    uint8_t *(*arguments)[LANES];
    unsigned lane;
    struct children *children;
    uint16_t *error; /* what cudaGetLastError will say */
    uint64_t value;  /* of functions that give no error */
    bool failed;     /* the launch is to end */
};

struct row {
    struct ptx_builtin builtin;
    enum error (*call)(struct one *o);
    bool value; /* gives `value` */
};

static uint64_t argument(const struct one *o, unsigned n, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, o->arguments[n][o->lane], bytes);
    return value;
}

static void triple(const struct one *o, unsigned n, uint32_t *ret)
{
    memcpy(ret, o->arguments[n][o->lane], 3 * sizeof(*ret));
}

/* To where argument `n` points. */
static enum error give(struct one *o, unsigned n, const void *value, unsigned bytes, unsigned align)
{
    uint8_t *at =
        access_lane(o->w, o->in, SPACE_GENERIC, argument(o, n, 8), o->lane, bytes, align, true);

    o->failed = !at;
    if (at)
        memcpy(at, value, bytes);
    return NO_ERROR;
}

static enum error give_int(struct one *o, unsigned n, int32_t value)
{
    return give(o, n, &value, sizeof(value), 4);
}

static bool is_stream(uint64_t stream)
{
    return stream <= STREAM_FORGET || (stream & HANDLE_MASK) == STREAM_HANDLE;
}

static struct ptx_function *kernel_of(const struct one *o, uint64_t address)
{
    const struct ptx_module *m = o->w->launch->kernel->module;
    uint64_t index = (address - FUNCTION_BASE) / FUNCTION_STRIDE;

    if (address < FUNCTION_BASE || address % FUNCTION_STRIDE || index >= m->function_count ||
        !m->functions[index]->kernel || !m->functions[index]->defined)
        return NULL;
    return m->functions[index];
}

static enum error check(const struct ptx_function *f, const struct ptx_launch *r)
{
    uint64_t threads = (uint64_t)r->block[0] * r->block[1] * r->block[2];

    if (!launch_check(f, r))
        return NO_ERROR;
    return threads > f->max_threads && threads <= PTX_MAX_BLOCK ? OUT_OF_RESOURCES
                                                                : INVALID_CONFIGURATION;
}

static enum error set_launch(struct child *one, struct ptx_function *f, const uint32_t *grid,
                             const uint32_t *block, uint32_t shared)
{
    one->function = f;
    memcpy(one->request.grid, grid, sizeof(one->request.grid));
    memcpy(one->request.block, block, sizeof(one->request.block));
    one->request.shared_bytes = shared;
    one->request.parameter_bytes = f->param_bytes;
    return check(f, &one->request);
}

/* What a caller without a look at the last error sees is that its launch does nothing. */
static enum error get_buffer_2(struct one *o)
{
    struct ptx_function *f = kernel_of(o, argument(o, 0, 8));
    uint32_t grid[3], block[3];
    struct child *one;
    enum error err;

    if (!f)
        return INVALID_FUNCTION;
    one = child_take(o->children, f->param_bytes);
    if (!one)
        return TOO_MANY;
    triple(o, 1, grid);
    triple(o, 2, block);
    err = set_launch(one, f, grid, block, (uint32_t)argument(o, 3, 4));
    if (err) {
        child_give(o->children, one);
        return err;
    }
    o->value = child_address(o->children, one);
    child_offer(o->children, one);
    return NO_ERROR;
}

static enum error get_buffer(struct one *o)
{
    uint64_t align = argument(o, 0, 8), bytes = argument(o, 1, 8);
    struct child *one;

    if (align > 64 || bytes > MAX_PARAMETERS)
        return INVALID_VALUE;
    one = child_take(o->children, (uint32_t)bytes);
    if (!one)
        return TOO_MANY;
    /* What there is room for, until the launch says which kernel. */
    one->request.parameter_bytes = bytes;
    o->value = child_address(o->children, one);
    child_offer(o->children, one);
    return NO_ERROR;
}

/* What is taken, as all that follow. */
static enum error queue(struct one *o, struct child *one, enum child_kind kind, uint64_t stream)
{
    bool tail = stream == STREAM_TAIL;
    enum error err = NO_ERROR;

    if (!is_stream(stream))
        err = INVALID_HANDLE;
    else if (kind == CHILD_LAUNCH && !tail && child_deep(one))
        err = TOO_DEEP;
    if (err)
        child_give(o->children, one);
    else
        child_queue(o->children, one, kind, tail);
    return err;
}

static enum error launch_2(struct one *o)
{
    struct child *one = child_claim(o->children, argument(o, 0, 8));

    if (!one)
        return INVALID_VALUE;
    if (!one->function) {
        child_give(o->children, one);
        return INVALID_VALUE;
    }
    return queue(o, one, CHILD_LAUNCH, argument(o, 1, 8));
}

static enum error launch(struct one *o)
{
    struct ptx_function *f = kernel_of(o, argument(o, 0, 8));
    struct child *one = child_claim(o->children, argument(o, 1, 8));
    uint32_t grid[3], block[3];
    enum error err = f ? NO_ERROR : INVALID_FUNCTION;

    if (!one)
        return INVALID_VALUE;
    if (f && (one->function || one->request.parameter_bytes < f->param_bytes))
        err = INVALID_VALUE;
    triple(o, 2, grid);
    triple(o, 3, block);
    if (!err)
        err = set_launch(one, f, grid, block, (uint32_t)argument(o, 4, 4));
    if (err) {
        child_give(o->children, one);
        return err;
    }
    return queue(o, one, CHILD_LAUNCH, argument(o, 5, 8));
}

static enum error queue_move(struct one *o, const struct child *what, enum child_kind kind,
                             uint64_t stream)
{
    struct child *one;
    uint32_t depth;

    if (what->height > 1 &&
        (what->pitch_to < what->width || (kind == CHILD_COPY && what->pitch_from < what->width)))
        return INVALID_PITCH;
    one = child_take(o->children, 0);
    if (!one)
        return TOO_MANY;
    depth = one->depth;
    *one = *what;
    one->kind = CHILD_TAKEN;
    one->depth = depth;
    return queue(o, one, kind, stream);
}

static bool on_device(uint64_t direction)
{
    return direction == COPY_ON_DEVICE || direction == COPY_DEFAULT;
}

static enum error copy(struct one *o)
{
    struct child c = {.to = argument(o, 0, 8),
                      .from = argument(o, 1, 8),
                      .width = argument(o, 2, 8),
                      .height = 1};

    if (!on_device(argument(o, 3, 4)))
        return INVALID_DIRECTION;
    return queue_move(o, &c, CHILD_COPY, argument(o, 4, 8));
}

static enum error copy_2d(struct one *o)
{
    struct child c = {.to = argument(o, 0, 8),
                      .pitch_to = argument(o, 1, 8),
                      .from = argument(o, 2, 8),
                      .pitch_from = argument(o, 3, 8),
                      .width = argument(o, 4, 8),
                      .height = argument(o, 5, 8)};

    if (!on_device(argument(o, 6, 4)))
        return INVALID_DIRECTION;
    return queue_move(o, &c, CHILD_COPY, argument(o, 7, 8));
}

static enum error set(struct one *o)
{
    struct child c = {.to = argument(o, 0, 8),
                      .value = (uint8_t)argument(o, 1, 4),
                      .width = argument(o, 2, 8),
                      .height = 1};

    return queue_move(o, &c, CHILD_SET, argument(o, 3, 8));
}

static enum error set_2d(struct one *o)
{
    struct child c = {.to = argument(o, 0, 8),
                      .pitch_to = argument(o, 1, 8),
                      .value = (uint8_t)argument(o, 2, 4),
                      .width = argument(o, 3, 8),
                      .height = argument(o, 4, 8)};

    return queue_move(o, &c, CHILD_SET, argument(o, 5, 8));
}

static enum error stream_create(struct one *o)
{
    uint64_t handle = STREAM_HANDLE | 1;

    if (argument(o, 1, 4) != STREAM_NO_BLOCK)
        return INVALID_VALUE;
    return give(o, 0, &handle, sizeof(handle), 8);
}

static enum error stream_destroy(struct one *o)
{
    return (argument(o, 0, 8) & HANDLE_MASK) == STREAM_HANDLE ? NO_ERROR : INVALID_HANDLE;
}

static enum error event_create(struct one *o)
{
    uint64_t handle = EVENT_HANDLE | 1;

    if (argument(o, 1, 4) != EVENT_NO_TIMING)
        return INVALID_VALUE;
    return give(o, 0, &handle, sizeof(handle), 8);
}

static enum error event_destroy(struct one *o)
{
    return (argument(o, 0, 8) & HANDLE_MASK) == EVENT_HANDLE ? NO_ERROR : INVALID_HANDLE;
}

/* Of the two, only streams that a kernel names can have events. */
static enum error event_and_stream(uint64_t event, uint64_t stream)
{
    if ((event & HANDLE_MASK) != EVENT_HANDLE || !is_stream(stream))
        return INVALID_HANDLE;
    return stream == STREAM_TAIL || stream == STREAM_FORGET ? INVALID_VALUE : NO_ERROR;
}

static enum error event_record(struct one *o)
{
    return event_and_stream(argument(o, 0, 8), argument(o, 1, 8));
}

static enum error stream_wait(struct one *o)
{
    return event_and_stream(argument(o, 1, 8), argument(o, 0, 8));
}

static enum error last_error(struct one *o)
{
    o->value = *o->error;
    *o->error = NO_ERROR;
    return NO_ERROR;
}

static enum error peek_error(struct one *o)
{
    o->value = *o->error;
    return NO_ERROR;
}

static enum error device_count(struct one *o)
{
    return give_int(o, 0, 1);
}

static enum error get_device(struct one *o)
{
    return give_int(o, 0, 0);
}

static enum error device_attribute(struct one *o)
{
    const struct ptx_options *options = &o->children->context->options;
    int value;

    if (argument(o, 2, 4))
        return INVALID_DEVICE;
    if (!options->attribute || options->attribute(options->user, (int)argument(o, 1, 4), &value))
        return INVALID_VALUE;
    return give_int(o, 0, value);
}

static enum error device_limit(struct one *o)
{
    const struct ptx_options *options = &o->children->context->options;
    uint64_t limits[] = {options->stack, PRINT_BYTES, options->heap, LIMIT_SYNC_DEPTH,
                         LIMIT_PENDING};
    uint64_t which = argument(o, 1, 4);

    if (which >= sizeof(limits) / sizeof(limits[0]))
        return INVALID_VALUE;
    return give(o, 0, &limits[which], 8, 8);
}

static enum error take_memory(struct one *o)
{
    uint64_t address = heap_take(o->children->context->heap, argument(o, 1, 8));

    return address ? give(o, 0, &address, 8, 8) : MEMORY_ALLOCATION;
}

static enum error give_memory(struct one *o)
{
    uint64_t address = argument(o, 0, 8);

    return !address || heap_give(o->children->context->heap, address) ? NO_ERROR : INVALID_VALUE;
}

static enum error version(struct one *o)
{
    return give_int(o, 0, VERSION);
}

/* The head of struct cudaFuncAttributes, which CUDA 12 and 13 share. */
struct attributes {
    uint64_t shared, constants, local;
    int32_t threads, registers, ptx, binary, cached, dynamic;
};

#define DEFAULT_SHARED (48 << 10)

static enum error function_attributes(struct one *o)
{
    struct ptx_function *f = kernel_of(o, argument(o, 1, 8));
    struct ptx_attributes a;
    struct attributes got;

    if (!f)
        return INVALID_FUNCTION;
    ptx_kernel_attributes(f->as_kernel, &a);
    got = (struct attributes){
        .shared = a.shared_bytes,
        .constants = a.const_bytes,
        .local = a.local_bytes,
        .threads = (int32_t)a.max_threads,
        .registers = (int32_t)a.registers,
        .ptx = (int32_t)a.version,
        .binary = (int32_t)a.version,
        .dynamic = a.shared_bytes < DEFAULT_SHARED ? DEFAULT_SHARED - (int32_t)a.shared_bytes : 0,
    };
    return give(o, 0, &got, sizeof(got), 8);
}

/* As the host counts: cuOccupancyMaxActiveBlocksPerMultiprocessor. */
static enum error occupancy(struct one *o)
{
    const struct ptx_options *options = &o->children->context->options;
    struct ptx_function *f = kernel_of(o, argument(o, 1, 8));
    struct ptx_attributes a;
    int blocks;

    if (!f)
        return INVALID_FUNCTION;
    if (!options->occupancy)
        return INVALID_VALUE;
    ptx_kernel_attributes(f->as_kernel, &a);
    blocks = options->occupancy(options->user, &a, (int)argument(o, 2, 4), argument(o, 3, 8));
    return blocks < 0 ? INVALID_VALUE : give_int(o, 0, blocks);
}

static enum error set_conditional(struct one *o)
{
    uint32_t value = (uint32_t)argument(o, 1, 4);

    /* What the handle is, the driver has chosen: the address of a word. */
    return give(o, 0, &value, sizeof(value), 4);
}

struct text {
    int error;
    const char *name, *text;
};

static const struct text texts[] = {
    {0, "cudaSuccess", "no error"},
    {1, "cudaErrorInvalidValue", "invalid argument"},
    {2, "cudaErrorMemoryAllocation", "out of memory"},
    {9, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {12, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    {21, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {65, "cudaErrorLaunchMaxDepthExceeded", "launch would exceed maximum depth of nested launches"},
    {69, "cudaErrorLaunchPendingCountExceeded",
     "launch failed due to insufficient free space in pending launch buffer"},
    {98, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {101, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {400, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {701, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {-1, "unrecognized error code", "unrecognized error code"},
};

#define TEXTS       (sizeof(texts) / sizeof(texts[0]))
#define TEXT_STRIDE 128u

int child_texts(struct memory *m, uint64_t *ret_address)
{
    int err = memory_create(m, TEXTS * 2 * TEXT_STRIDE, NULL, true, ret_address);
    char *at;

    if (err)
        return err;
    pthread_rwlock_rdlock(&m->lock);
    at = (char *)memory_find(m, *ret_address)->host;
    for (size_t i = 0; i < TEXTS; i++, at += 2 * TEXT_STRIDE) {
        memcpy(at, texts[i].name, strlen(texts[i].name) + 1);
        memcpy(at + TEXT_STRIDE, texts[i].text, strlen(texts[i].text) + 1);
    }
    pthread_rwlock_unlock(&m->lock);
    return 0;
}

static uint64_t text_at(const struct one *o)
{
    size_t i = 0;

    while (i + 1 < TEXTS && texts[i].error != (int)argument(o, 0, 4))
        i++;
    return o->children->texts + (uint64_t)i * 2 * TEXT_STRIDE;
}

static enum error error_name(struct one *o)
{
    o->value = text_at(o);
    return NO_ERROR;
}

static enum error error_text(struct one *o)
{
    o->value = text_at(o) + TEXT_STRIDE;
    return NO_ERROR;
}

static int run(struct warp *w, const struct insn *in, const struct ptx_function *f,
               uint8_t *(*arguments)[LANES], uint8_t **result)
{
    const struct row *row = (const struct row *)(const void *)f->builtin;
    struct one o = {
        .w = w, .in = in, .arguments = arguments, .children = w->launch->context->children};

    for (uint32_t left = w->mask; left && !o.failed; left &= left - 1) {
        enum error err;
        uint32_t code;

        o.lane = (unsigned)__builtin_ctz(left);
        o.error = &w->block->errors[w->index * LANES + o.lane];
        o.value = 0;
        err = row->call(&o);
        if (err)
            *o.error = (uint16_t)err;
        code = row->value ? (uint32_t)o.value : (uint32_t)err;
        if (result[o.lane] && row->builtin.out_bytes == 8)
            memcpy(result[o.lane], &o.value, 8);
        else if (result[o.lane])
            memcpy(result[o.lane], &code, 4);
    }
    return o.failed ? -1 : 0;
}

/* Names without "cuda". */
#define ROW(name, call, count, bytes, out, heap, value)         \
    {                                                           \
        {name, run, count, bytes, out, heap, true}, call, value \
    }
#define BYTES(...)  \
    {               \
        __VA_ARGS__ \
    }

static const struct row rows[] = {
    ROW("GetParameterBufferV2", get_buffer_2, 4, BYTES(8, 12, 12, 4), 8, false, true),
    ROW("GetParameterBuffer", get_buffer, 2, BYTES(8, 8), 8, false, true),
    ROW("LaunchDeviceV2", launch_2, 2, BYTES(8, 8), 4, false, false),
    ROW("LaunchDevice", launch, 6, BYTES(8, 8, 12, 12, 4, 8), 4, false, false),
    ROW("MemcpyAsync", copy, 5, BYTES(8, 8, 8, 4, 8), 4, false, false),
    ROW("Memcpy2DAsync", copy_2d, 8, BYTES(8, 8, 8, 8, 8, 8, 4, 8), 4, false, false),
    ROW("MemsetAsync", set, 4, BYTES(8, 4, 8, 8), 4, false, false),
    ROW("Memset2DAsync", set_2d, 6, BYTES(8, 8, 4, 8, 8, 8), 4, false, false),
    ROW("StreamCreateWithFlags", stream_create, 2, BYTES(8, 4), 4, false, false),
    ROW("StreamDestroy", stream_destroy, 1, BYTES(8), 4, false, false),
    ROW("StreamWaitEvent", stream_wait, 3, BYTES(8, 8, 4), 4, false, false),
    ROW("EventCreateWithFlags", event_create, 2, BYTES(8, 4), 4, false, false),
    ROW("EventRecord", event_record, 2, BYTES(8, 8), 4, false, false),
    ROW("EventRecordWithFlags", event_record, 3, BYTES(8, 8, 4), 4, false, false),
    ROW("EventDestroy", event_destroy, 1, BYTES(8), 4, false, false),
    ROW("GetLastError", last_error, 0, BYTES(0), 4, false, true),
    ROW("PeekAtLastError", peek_error, 0, BYTES(0), 4, false, true),
    ROW("GetErrorName", error_name, 1, BYTES(4), 8, false, true),
    ROW("GetErrorString", error_text, 1, BYTES(4), 8, false, true),
    ROW("GetDeviceCount", device_count, 1, BYTES(8), 4, false, false),
    ROW("GetDevice", get_device, 1, BYTES(8), 4, false, false),
    ROW("DeviceGetAttribute", device_attribute, 3, BYTES(8, 4, 4), 4, false, false),
    ROW("DeviceGetLimit", device_limit, 2, BYTES(8, 4), 4, false, false),
    ROW("Malloc", take_memory, 2, BYTES(8, 8), 4, true, false),
    ROW("Free", give_memory, 1, BYTES(8), 4, true, false),
    ROW("RuntimeGetVersion", version, 1, BYTES(8), 4, false, false),
    ROW("FuncGetAttributes", function_attributes, 2, BYTES(8, 8), 4, false, false),
    ROW("OccupancyMaxActiveBlocksPerMultiprocessor", occupancy, 4, BYTES(8, 8, 4, 8), 4, false,
        false),
    ROW("OccupancyMaxActiveBlocksPerMultiprocessorWithFlags", occupancy, 5, BYTES(8, 8, 4, 8, 4), 4,
        false, false),
    ROW("GraphSetConditional", set_conditional, 2, BYTES(8, 4), 0, false, false),
};

static const char *const begins[] = {"__cudaCDP2", "cuda"};

bool child_replaces(const char *name, size_t size)
{
    static const char conditional[] = "cudaGraphSetConditional";
    size_t skip = strlen(begins[0]);

    return (size > skip && !memcmp(name, begins[0], skip) && child_builtin(name, size)) ||
           (size == sizeof(conditional) - 1 && !memcmp(name, conditional, size));
}

const struct ptx_builtin *child_builtin(const char *name, size_t size)
{
    static const char thread[] = "_ptsz"; /* of a default stream per thread: the same here */
    size_t cut = sizeof(thread) - 1;

    if (size > cut && !memcmp(name + size - cut, thread, cut))
        size -= cut;
    for (size_t b = 0; b < sizeof(begins) / sizeof(begins[0]); b++) {
        size_t skip = strlen(begins[b]);

        if (size <= skip || memcmp(name, begins[b], skip))
            continue;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            if (strlen(rows[i].builtin.name) == size - skip &&
                !memcmp(rows[i].builtin.name, name + skip, size - skip))
                return &rows[i].builtin;
    }
    return NULL;
}
