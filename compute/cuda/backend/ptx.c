/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <compute/cuda/occupancy.h>
#include <compute/cuda/ptx/ptx.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "ptx_device.h"
#include "queue.h"

/* The backend on the executor for PTX: one device, in this process. */

#define PRINT_FIFO (1u << 20) /* bytes; what is printed beyond drops the oldest, as CUDA does */

struct context {
    struct cuda_context head;
    struct cuda_device *device;
    /* On its first fault, which is the one that poisons it. */
    char fault[192];
    atomic_int fault_state; /* 1: is being written, 2: is there */
};

struct module {
    struct cuda_module head;
    struct ptx_module *ptx;
    struct cuda_kernel_info *kernels;
    struct cuda_global_info *globals;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the_device being made */
static struct cuda_device *the_device;
static struct cuda_limits limits;
/* Of the machine, asked once: a sandbox may refuse later. */
static struct cuda_properties known;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int error_of(int err)
{
    switch (err) {
    case 0:
        return 0;
    case VD_ERR_MEMORY:
        return CUDA_ERROR_OUT_OF_MEMORY;
    case VD_ERR_LIMIT:
        return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static int error_of_fault(enum ptx_fault fault)
{
    switch (fault) {
    case PTX_FAULT_ADDRESS:
    case PTX_FAULT_READ_ONLY:
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    case PTX_FAULT_MISALIGNED:
        return CUDA_ERROR_MISALIGNED_ADDRESS;
    case PTX_FAULT_ASSERT:
        return CUDA_ERROR_ASSERT;
    case PTX_FAULT_LIMIT:
    case PTX_FAULT_CANCELLED:
    case PTX_FAULT_DEADLOCK:
        return CUDA_ERROR_LAUNCH_TIMEOUT;
    case PTX_FAULT_STACK:
        return CUDA_ERROR_HARDWARE_STACK_ERROR;
    case PTX_FAULT_INSTRUCTION:
        return CUDA_ERROR_ILLEGAL_INSTRUCTION;
    case PTX_FAULT_MEMORY:
        return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    default:
        return CUDA_ERROR_LAUNCH_FAILED;
    }
}

static int count(unsigned *ret_count)
{
    *ret_count = 1;
    return 0;
}

void ptx_set_limits(const struct cuda_limits *l)
{
    limits = *l;
}

static void look(void)
{
    struct cuda_properties *ret = &known;
    long processors = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES);
    static const uint8_t uuid[16] = {'V', 'i',  'a',  'd', 'u', 'c', 't', ' ',
                                     'P', 0x54, 0x58, 0,   0,   0,   0,   1};

    snprintf(ret->name, sizeof(ret->name), "Viaduct PTX executor");
    memcpy(ret->uuid, uuid, sizeof(uuid));
    ret->memory = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    ret->multiprocessors = processors < 1 ? 1 : processors > 256 ? 256 : (unsigned)processors;
    ret->clock_khz = 1000000; /* %clock counts nanoseconds */
    ret->l2_bytes = (int)sysconf(_SC_LEVEL2_CACHE_SIZE);
    ret->virtual_memory = 1;
    ret->imports = 1;
    ret->local = 1;
    ret->coherent = 1;
}

static int properties(unsigned index, struct cuda_properties *ret)
{
    if (index)
        return CUDA_ERROR_INVALID_DEVICE;
    pthread_once(&once, look);
    *ret = known;
    if (limits.bytes && limits.bytes < ret->memory)
        ret->memory = limits.bytes;
    return 0;
}

/* Keeps what kernels print until the program synchronises. */
static void keep(void *user, const char *text, size_t size)
{
    struct cuda_device *d = user;

    pthread_mutex_lock(&d->lock);
    if (size <= PRINT_FIFO) {
        if (d->print_bytes + size > PRINT_FIFO) {
            size_t drop = d->print_bytes + size - PRINT_FIFO;

            memmove(d->printed, d->printed + drop, d->print_bytes - drop);
            d->print_bytes -= drop;
        }
        memcpy(d->printed + d->print_bytes, text, size);
        d->print_bytes += size;
    }
    pthread_mutex_unlock(&d->lock);
}

static void print(struct cuda_device *d)
{
    pthread_mutex_lock(&d->lock);
    if (d->print_bytes) {
        fwrite(d->printed, 1, d->print_bytes, stdout);
        fflush(stdout);
        d->print_bytes = 0;
    }
    pthread_mutex_unlock(&d->lock);
}

static size_t printed(struct cuda_device *d, char *text, size_t room)
{
    size_t n = atomic_load(&d->print_bytes);

    if (!room || !n)
        return n;
    pthread_mutex_lock(&d->lock);
    n = d->print_bytes < room ? d->print_bytes : room;
    memcpy(text, d->printed, n);
    memmove(d->printed, d->printed + n, d->print_bytes - n);
    d->print_bytes -= n;
    pthread_mutex_unlock(&d->lock);
    return n;
}

static int attribute(void *user, int number, int *ret_value)
{
    const struct cuda_properties *p = &known;

    (void)user;
    switch (number) {
#define CUDA_ATTRIBUTE(name, number, is) \
    case number:                         \
        *ret_value = is;                 \
        return 0;
#include <compute/cuda/attributes.def>
#undef CUDA_ATTRIBUTE
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static int occupancy(void *user, const struct ptx_attributes *a, int threads, uint64_t dynamic)
{
    const struct occupancy_kernel k = {a->registers, a->shared_bytes, a->max_threads};

    (void)user;
    return threads < 1 ? -1 : occupancy_blocks(known.multiprocessors, &k, threads, dynamic);
}

static void cancel(struct cuda_device *d)
{
    ptx_cancel(d->ptx);
}

/* Of one side, a row's bytes within the device; NULL host sides are those of the device. */
static int copy_row(struct ptx_context *p, const struct cuda_side *to, uint64_t to_at,
                    const struct cuda_side *from, uint64_t from_at, uint64_t bytes)
{
    if (to->host && from->host) {
        memmove((void *)(uintptr_t)(to->address + to_at),
                (const void *)(uintptr_t)(from->address + from_at), bytes);
        return 0;
    }
    if (to->host)
        return ptx_memory_read(p, from->address + from_at, (void *)(uintptr_t)(to->address + to_at),
                               bytes);
    if (from->host)
        return ptx_memory_write(p, to->address + to_at,
                                (const void *)(uintptr_t)(from->address + from_at), bytes);
    return ptx_memory_copy(p, to->address + to_at, from->address + from_at, bytes);
}

static int run_copy(struct ptx_context *p, const struct cuda_command *c)
{
    uint64_t width = c->copy.width, height = c->copy.height, depth = c->copy.depth;
    const struct cuda_side *to = &c->copy.to, *from = &c->copy.from;
    int err = 0;

    if (to->pitch == width && from->pitch == width &&
        (depth < 2 || (to->slice == from->slice && to->slice == width * height))) {
        width *= height * depth;
        height = depth = 1;
    }
    for (uint64_t z = 0; z < depth && !err; z++)
        for (uint64_t y = 0; y < height && !err; y++)
            err = copy_row(p, to, z * to->slice + y * to->pitch, from,
                           z * from->slice + y * from->pitch, width);
    return err ? CUDA_ERROR_ILLEGAL_ADDRESS : 0;
}

static int run_set(struct ptx_context *p, const struct cuda_command *c)
{
    uint64_t width = c->set.width, height = c->set.height;
    int err = 0;

    if (c->set.pitch == width * c->set.element) {
        width *= height;
        height = 1;
    }
    for (uint64_t y = 0; y < height && !err; y++)
        err = ptx_memory_set(p, c->set.address + y * c->set.pitch, c->set.value, c->set.element,
                             width);
    return err ? CUDA_ERROR_ILLEGAL_ADDRESS : 0;
}

static void keep_fault(struct context *context, const char *text)
{
    int none = 0;

    if (!atomic_compare_exchange_strong(&context->fault_state, &none, 1))
        return;
    snprintf(context->fault, sizeof(context->fault), "%s", text);
    atomic_store(&context->fault_state, 2);
}

static size_t fault(struct cuda_context *context, char *text, size_t room)
{
    struct context *c = (struct context *)context;
    size_t n = atomic_load(&c->fault_state) == 2 ? strlen(c->fault) : 0;

    n = n < room ? n : room;
    memcpy(text, c->fault, n);
    return n;
}

static int run_launch(struct context *context, const struct cuda_command *c)
{
    struct ptx_launch l = {.shared_bytes = c->launch.shared_bytes,
                           .cooperative = c->launch.cooperative,
                           .parameters = c->launch.parameters,
                           .parameter_bytes = c->launch.parameter_bytes};
    struct ptx_result result = {.fault = PTX_FAULT_NONE};
    int err;

    if (limits.idle)
        return 0;
    memcpy(l.grid, c->launch.grid, sizeof(l.grid));
    memcpy(l.block, c->launch.block, sizeof(l.block));
    err = ptx_launch(c->launch.kernel, &l, &result);
    if (err == VD_ERR_DECODE) {
        log_error("cuda: %s", result.text);
        keep_fault(context, result.text);
        return error_of_fault(result.fault);
    }
    return error_of(err);
}

static bool holds(uint64_t is, const struct cuda_command *c)
{
    uint64_t mask = c->value.bytes == 4 ? UINT32_MAX : UINT64_MAX, value = c->value.value & mask;

    switch (c->value.compare & 3) {
    case CU_STREAM_WAIT_VALUE_GEQ:
        return c->value.bytes == 4 ? (int32_t)((uint32_t)is - (uint32_t)value) >= 0
                                   : (int64_t)(is - value) >= 0;
    case CU_STREAM_WAIT_VALUE_EQ:
        return is == value;
    case CU_STREAM_WAIT_VALUE_AND:
        return is & value;
    default:
        return ~(is | value) & mask;
    }
}

static int run(struct cuda_context *context, const struct cuda_command *c)
{
    struct ptx_context *p = ((struct context *)context)->device->ptx;
    uint64_t value = 0;

    switch (c->kind) {
    case CUDA_LAUNCH:
        return run_launch((struct context *)context, c);
    case CUDA_COPY:
        return run_copy(p, c);
    case CUDA_SET:
        return run_set(p, c);
    case CUDA_WRITE_VALUE:
        return ptx_memory_write(p, c->value.address, &c->value.value, c->value.bytes)
                   ? CUDA_ERROR_ILLEGAL_ADDRESS
                   : 0;
    case CUDA_WAIT_VALUE:
        if (ptx_memory_read(p, c->value.address, &value, c->value.bytes))
            return CUDA_ERROR_ILLEGAL_ADDRESS;
        return holds(value, c) ? 0 : -1;
    case CUDA_FREE:
        ptx_memory_destroy(p, c->free);
        return 0;
    default:
        return 0;
    }
}

static int open_device(unsigned index, struct cuda_device **ret_device)
{
    struct ptx_options options = {.print = keep,
                                  .attribute = attribute,
                                  .occupancy = occupancy,
                                  .memory = limits.bytes,
                                  .seconds = limits.seconds};
    const char *slack = getenv("VIADUCT_PTX_SLACK");
    struct cuda_device *d;
    int err = CUDA_ERROR_OUT_OF_MEMORY;

    if (index)
        return CUDA_ERROR_INVALID_DEVICE;
    /* GPUs see to pages, not to allocations: programs that read a little too far run there. */
    options.slack = slack && !strcmp(slack, "1") ? 65536 : 0;
    pthread_once(&once, look);
    options.threads = known.multiprocessors;
    pthread_mutex_lock(&lock);
    d = the_device;
    if (d) {
        err = 0;
        goto out;
    }
    d = calloc(1, sizeof(*d));
    if (!d)
        goto out;
    pthread_mutex_init(&d->lock, NULL);
    d->printed = malloc(PRINT_FIFO);
    options.user = d;
    if (!d->printed || ptx_context_create(&options, &d->ptx))
        goto failed;
    err = queue_pool_create(run, &d->pool);
    if (err)
        goto failed;
    the_device = d;
    goto out;
failed:
    ptx_context_destroy(d->ptx);
    free(d->printed);
    free(d);
    d = NULL;
out:
    pthread_mutex_unlock(&lock);
    if (!err)
        *ret_device = d;
    return err;
}

static int context_create(struct cuda_device *device, struct cuda_context **ret_context)
{
    struct context *c = calloc(1, sizeof(*c));

    if (!c)
        return CUDA_ERROR_OUT_OF_MEMORY;
    c->device = device;
    *ret_context = &c->head;
    return 0;
}

static void context_destroy(struct cuda_context *context)
{
    free(context);
}

static int memory_create(struct cuda_device *d, struct cuda_context *context, uint64_t size,
                         uint64_t *ret_address)
{
    (void)context;
    return ptx_memory_create(d->ptx, size, ret_address) ? CUDA_ERROR_OUT_OF_MEMORY : 0;
}

static int memory_map(void *memory, uint64_t size)
{
    struct cuda_device *d;
    int err = open_device(0, &d);

    return err ? err : error_of(ptx_memory_map_at(d->ptx, memory, size));
}

static int memory_map_as(void *memory, uint64_t size, uint64_t address)
{
    struct cuda_device *d;
    int err = open_device(0, &d);

    return err ? err : error_of(ptx_memory_map_as(d->ptx, memory, size, address));
}

static void memory_unmap(uint64_t address)
{
    if (the_device)
        ptx_memory_destroy(the_device->ptx, address);
}

static int host_create(uint64_t size, bool kernels, void **ret_memory)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    int err;

    (void)kernels;
    if (p == MAP_FAILED)
        return CUDA_ERROR_OUT_OF_MEMORY;
    err = memory_map(p, size);
    if (err)
        munmap(p, size);
    else
        *ret_memory = p;
    return err;
}

static void host_destroy(void *memory, uint64_t size)
{
    memory_unmap((uintptr_t)memory);
    munmap(memory, size);
}

static int memory_destroy(struct cuda_device *d, uint64_t address)
{
    return error_of(ptx_memory_destroy(d->ptx, address));
}

static int memory_info(struct cuda_device *d, uint64_t *ret_free, uint64_t *ret_total)
{
    long available = limits.bytes ? -1 : sysconf(_SC_AVPHYS_PAGES);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), used;
    struct cuda_properties p;

    properties(0, &p);
    ptx_memory_usage(d->ptx, &used);
    *ret_total = p.memory;
    *ret_free = available < 0 ? p.memory : (uint64_t)available * page;
    /* Memory that is allocated and was never touched is not there for others. */
    if (used >= *ret_total || *ret_free > *ret_total - used)
        *ret_free = used >= *ret_total ? 0 : *ret_total - used;
    return 0;
}

static int heap(struct cuda_device *d, uint64_t bytes)
{
    return ptx_context_set_heap(d->ptx, bytes) ? CUDA_ERROR_INVALID_VALUE : 0;
}

static void module_destroy(struct cuda_module *module)
{
    struct module *m = (struct module *)module;

    ptx_module_destroy(m->ptx);
    free(m->kernels);
    free(m->globals);
    free(m);
}

_Static_assert(sizeof(struct cuda_parameter) == sizeof(struct ptx_parameter), "one layout");

static int module_create(struct cuda_context *context, const char *text, size_t size, char *log,
                         size_t log_size, struct cuda_module **ret_module)
{
    struct module *m = calloc(1, sizeof(*m));
    struct cuda_device *d = ((struct context *)context)->device;
    struct ptx_kernel *k;
    unsigned n = 0;
    int err;

    if (!m)
        return CUDA_ERROR_OUT_OF_MEMORY;
    err = ptx_module_create(d->ptx, text, size, log, log_size, &m->ptx);
    if (err) {
        free(m);
        return err == VD_ERR_MEMORY ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_PTX;
    }
    while (ptx_module_kernel_at(m->ptx, n))
        n++;
    m->kernels = calloc(n + 1, sizeof(*m->kernels));
    m->globals = calloc(ptx_module_global_count(m->ptx) + 1, sizeof(*m->globals));
    if (!m->kernels || !m->globals) {
        module_destroy(&m->head);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    for (n = 0; (k = ptx_module_kernel_at(m->ptx, n)); n++) {
        struct ptx_attributes a;

        ptx_kernel_attributes(k, &a);
        m->kernels[n] = (struct cuda_kernel_info){
            .name = a.name,
            .kernel = k,
            .parameter_count = a.parameter_count,
            .parameter_bytes = a.parameter_bytes,
            .parameters = (const struct cuda_parameter *)a.parameters,
            .registers = a.registers,
            .shared_bytes = a.shared_bytes,
            .const_bytes = a.const_bytes,
            .local_bytes = a.local_bytes,
            .max_threads = a.max_threads,
            .ptx_version = a.version,
        };
    }
    m->head.kernels = m->kernels;
    m->head.kernel_count = n;
    for (n = 0; n < ptx_module_global_count(m->ptx); n++)
        ptx_module_global_at(m->ptx, n, &m->globals[n].name, &m->globals[n].address,
                             &m->globals[n].size);
    m->head.globals = m->globals;
    m->head.global_count = n;
    *ret_module = &m->head;
    return 0;
}

static int create_queue(struct cuda_context *context, int priority, struct cuda_queue **ret_queue)
{
    return queue_create(((struct context *)context)->device->pool, context, priority, ret_queue);
}

static void abort_context(struct cuda_context *context, int error)
{
    queue_abort(((struct context *)context)->device->pool, context, error);
}

const struct cuda_backend cuda_backend_ptx = {
    .name = "ptx",
    .count = count,
    .properties = properties,
    .open = open_device,
    .context_create = context_create,
    .context_destroy = context_destroy,
    .memory_create = memory_create,
    .host_create = host_create,
    .host_destroy = host_destroy,
    .memory_map = memory_map,
    .memory_map_as = memory_map_as,
    .memory_unmap = memory_unmap,
    .memory_destroy = memory_destroy,
    .memory_share = ptx_device_share,
    .memory_info = memory_info,
    .virtual_reserve = ptx_device_reserve,
    .virtual_release = ptx_device_release,
    .physical_create = ptx_device_physical,
    .physical_destroy = ptx_device_forget,
    .virtual_map = ptx_device_map,
    .virtual_unmap = ptx_device_unmap,
    .virtual_allow = ptx_device_allow,
    .module_create = module_create,
    .module_destroy = module_destroy,
    .heap = heap,
    .queue_create = create_queue,
    .queue_hold = queue_hold,
    .queue_release = queue_release,
    .submit = queue_submit,
    .done = queue_done,
    .wait = queue_wait,
    .watch = queue_watch,
    .stamp_create = stamp_create,
    .stamp_release = stamp_release,
    .stamp_time = stamp_time,
    .print = print,
    .printed = printed,
    .fault = fault,
    .cancel = cancel,
    .abort = abort_context,
};
