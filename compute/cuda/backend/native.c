/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <wire/log.h>

/* Devices, contexts and memory. */

/* Programs are told that a device can do what the executor can. */
#define LEAST_CAPABILITY 80
/* How long work may go on that nobody wants any more. */
#define CANCEL_NS 2000000000ull
/* How long a client that does not look is waited for. */
#define HUNG_SECONDS 5
#define PRINT_MOST   (1u << 20) /* bytes; of more the oldest are dropped, as CUDA does */

pthread_mutex_t native_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static struct cuda_device *opened[16];
static int ordinals[16];
static unsigned device_count;
static bool counted;
static struct cuda_limits limits;
static int print_file = -1;
static off_t print_at; /* how far it was read */

static _Atomic bool hung; /* a device's work was given up */

void native_set_limits(const struct cuda_limits *l)
{
    limits = *l;
}

uint64_t native_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/*
 * There is no other way to stop a kernel, nor to go on after most of its faults: the driver ends
 * both with the process. The client finds its session lost, and may open another.
 */
static _Noreturn void leave(const char *why)
{
    log_warn("cuda: the worker ends: %s", why);
    _exit(1);
}

static const char too_long[] = "a kernel took longer than --max-cuda-seconds";

int native_enter(CUcontext context)
{
    /* Whatever is next would wait for it. */
    if (atomic_load(&hung))
        leave(too_long);
    return (int)native.cuCtxSetCurrent(context);
}

static int attribute(CUdevice device, CUdevice_attribute what)
{
    int value = 0;

    return native.cuDeviceGetAttribute(&value, what, device) ? 0 : value;
}

static bool is_capable(CUdevice device, unsigned ordinal)
{
    int capability = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                     attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);

    if (capability < LEAST_CAPABILITY)
        log_info("cuda: device %u has compute capability %d.%d, which is below %d.%d", ordinal,
                 capability / 10, capability % 10, LEAST_CAPABILITY / 10, LEAST_CAPABILITY % 10);
    else if (!attribute(device, CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING))
        log_info("cuda: device %u has addresses of its own", ordinal);
    else
        return true;
    return false;
}

/* With the lock. */
static int look(void)
{
    int err = native_load(), n = 0;

    if (err || counted)
        return err;
    err = (int)native.cuDeviceGetCount(&n);
    for (int i = 0; i < n && !err && device_count < 16; i++) {
        CUdevice device;

        err = (int)native.cuDeviceGet(&device, i);
        if (!err && is_capable(device, (unsigned)i))
            ordinals[device_count++] = i;
    }
    counted = !err;
    return err;
}

static int count(unsigned *ret_count)
{
    int err;

    pthread_mutex_lock(&lock);
    err = look();
    if (!err)
        *ret_count = device_count;
    pthread_mutex_unlock(&lock);
    return err;
}

static int properties(unsigned index, struct cuda_properties *ret)
{
    CUdevice device;
    CUuuid uuid;
    size_t bytes = 0;
    unsigned n;
    int err = count(&n);

    if (!err && index >= n)
        err = CUDA_ERROR_INVALID_DEVICE;
    if (!err)
        err = (int)native.cuDeviceGet(&device, ordinals[index]);
    if (err)
        return err;
    memset(ret, 0, sizeof(*ret));
    ret->index = (int)index;
    if (native.cuDeviceGetName(ret->name, sizeof(ret->name), device))
        snprintf(ret->name, sizeof(ret->name), "CUDA device");
    if (!native.cuDeviceGetUuid(&uuid, device))
        memcpy(ret->uuid, uuid.bytes, sizeof(ret->uuid));
    native.cuDeviceTotalMem_v2(&bytes, device);
    ret->memory = limits.bytes && limits.bytes < bytes ? limits.bytes : bytes;
    ret->multiprocessors = (unsigned)attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    ret->clock_khz = attribute(device, CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
    ret->l2_bytes = attribute(device, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
    ret->coherent = attribute(device, CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS);
    ret->local = ret->coherent;
    /* The guest's pinned memory is registered, and named by its own address. */
    ret->apart = !attribute(device, CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM);
    /* What stands for a texture is the executor's form, in memory. */
    ret->textureless = !native_is_own();
    return 0;
}

/* The driver prints to the standard output: into a file in memory, from which it is taken. */
static void catch_prints(void)
{
    int flags;

    print_file = memfd_create("cuda-printf", MFD_CLOEXEC);
    if (print_file < 0)
        return;
    flags = fcntl(print_file, F_GETFL);
    fflush(stdout);
    if (flags < 0 || fcntl(print_file, F_SETFL, flags | O_APPEND) < 0 ||
        dup2(print_file, STDOUT_FILENO) < 0) {
        close(print_file);
        print_file = -1;
    }
}

int native_prepare(void)
{
    unsigned n;
    int err = count(&n);

    if (err)
        return err;
    if (!n)
        return CUDA_ERROR_NO_DEVICE;
    pthread_mutex_lock(&lock);
    if (print_file < 0)
        catch_prints();
    pthread_mutex_unlock(&lock);
    return 0;
}

static size_t printed(struct cuda_device *d, char *text, size_t room)
{
    struct stat st;
    size_t n = 0;

    (void)d;
    pthread_mutex_lock(&lock);
    if (print_file >= 0 && !fstat(print_file, &st) && st.st_size > print_at) {
        n = (size_t)(st.st_size - print_at);
        if (n > PRINT_MOST) {
            print_at = st.st_size - PRINT_MOST;
            n = PRINT_MOST;
        }
        if (room) {
            ssize_t got = pread(print_file, text, n < room ? n : room, print_at);

            n = got > 0 ? (size_t)got : 0;
            print_at += (off_t)n;
            /* What was taken is gone; appending goes on behind it. */
            fallocate(print_file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                      print_at / 4096 * 4096);
        }
    }
    pthread_mutex_unlock(&lock);
    return n;
}

static void print(struct cuda_device *d)
{
    (void)d;
}

/* With native_lock, or before anybody has it: the context that all else belongs to. */
static int make_home(struct cuda_device *d)
{
    CUcontext home;
    void *words = NULL;
    CUdeviceptr address = 0;
    int err =
        (int)native.cuCtxCreate_v2(&home, CU_CTX_MAP_HOST | CU_CTX_SCHED_BLOCKING_SYNC, d->handle);

    if (err)
        return err;
    native.cuCtxGetStreamPriorityRange(&d->priority_least, &d->priority_greatest);
    err = (int)native.cuMemHostAlloc(&words, NATIVE_WORDS * sizeof(uint32_t),
                                     CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
    if (!err)
        err = (int)native.cuMemHostGetDevicePointer_v2(&address, words, 0);
    native.cuCtxSetCurrent(NULL);
    if (err) {
        native.cuCtxDestroy_v2(home);
        return err;
    }
    d->home = home;
    d->home_used = d->home_broken = false;
    d->words = words;
    d->words_address = address;
    d->word_free_count = 0;
    for (uint32_t i = NATIVE_WORDS; i--;)
        d->word_free[d->word_free_count++] = i;
    return 0;
}

static void *guard(void *argument);

static int open_device(unsigned index, struct cuda_device **ret_device)
{
    struct cuda_device *d = NULL;
    pthread_t thread;
    int err;

    pthread_mutex_lock(&lock);
    err = look();
    if (!err && index >= device_count)
        err = CUDA_ERROR_INVALID_DEVICE;
    if (!err && opened[index])
        d = opened[index];
    if (err || d)
        goto out;
    err = CUDA_ERROR_OUT_OF_MEMORY;
    d = calloc(1, sizeof(*d));
    if (!d)
        goto out;
    d->index = index;
    pthread_cond_init(&d->changed, NULL);
    err = (int)native.cuDeviceGet(&d->handle, ordinals[index]);
    if (!err)
        err = make_home(d);
    if (!err && limits.seconds) {
        if (pthread_create(&thread, NULL, guard, d))
            log_warn("cuda: no thread to watch how long kernels take");
        else
            pthread_detach(thread);
    }
    if (err) {
        log_warn("cuda: device %u cannot be used: error %d", index, err);
        pthread_cond_destroy(&d->changed);
        free(d);
        goto out;
    }
    opened[index] = d;
out:
    pthread_mutex_unlock(&lock);
    if (!err)
        *ret_device = d;
    return err;
}

static void *guard(void *argument)
{
    struct cuda_device *d = argument;

    for (;;) {
        uint64_t since;

        sleep(1);
        pthread_mutex_lock(&native_lock);
        if (native_queue_busy(d, &since) && native_now() - since > limits.seconds * 1000000000ull)
            native_queue_give_up(d, CUDA_ERROR_LAUNCH_TIMEOUT);
        atomic_store(&hung, d->hung);
        pthread_mutex_unlock(&native_lock);
        if (atomic_load(&hung)) {
            /* Its client has learnt why, by then. */
            sleep(HUNG_SECONDS);
            leave(too_long);
        }
    }
    return NULL;
}

static void cancel(struct cuda_device *d)
{
    uint64_t since, now = native_now();

    pthread_mutex_lock(&native_lock);
    if (!d->cancelled_ns || now - d->cancelled_ns > 2 * CANCEL_NS)
        d->cancelled_ns = now;
    if (native_queue_busy(d, &since) && now - d->cancelled_ns > CANCEL_NS)
        leave("what its client has left does not end");
    pthread_mutex_unlock(&native_lock);
}

static void abort_context(struct cuda_context *context, int error)
{
    struct native_context *c = (struct native_context *)context;

    pthread_mutex_lock(&native_lock);
    native_queue_fail(c, error);
    pthread_mutex_unlock(&native_lock);
}

static int context_create(struct cuda_device *d, struct cuda_context **ret_context)
{
    struct native_context *c = calloc(1, sizeof(*c));
    int err = 0;

    if (!c)
        return CUDA_ERROR_OUT_OF_MEMORY;
    c->device = d;
    pthread_mutex_lock(&native_lock);
    c->home = !d->home_used && !d->home_broken;
    if (c->home) {
        d->home_used = true;
        c->handle = d->home;
    } else {
        err = (int)native.cuCtxCreate_v2(&c->handle, CU_CTX_MAP_HOST | CU_CTX_SCHED_BLOCKING_SYNC,
                                         d->handle);
        native.cuCtxSetCurrent(NULL);
    }
    if (!err) {
        c->next = d->contexts;
        d->contexts = c;
    }
    pthread_mutex_unlock(&native_lock);
    if (err) {
        free(c);
        return err;
    }
    *ret_context = &c->head;
    return 0;
}

/* Registered memory, under the lock. */
static struct registered {
    uint64_t address, size;
    struct registered *next;
} * registrations;

bool native_is_registered(uint64_t address, uint64_t bytes)
{
    bool is = false;

    pthread_mutex_lock(&lock);
    for (const struct registered *r = registrations; r && !is; r = r->next)
        is = address >= r->address && address - r->address < r->size &&
             bytes <= r->size - (address - r->address);
    pthread_mutex_unlock(&lock);
    return is;
}

static int by_address(const void *a, const void *b)
{
    const struct native_memory *x = a, *y = b;

    return x->address < y->address ? -1 : x->address > y->address;
}

/* With native_lock: takes what is known of memory out. */
static struct native_memory *forget(struct cuda_device *d, CUdeviceptr address)
{
    struct native_memory key = {.address = address}, **found = tfind(&key, &d->memory, by_address),
                         *m;

    if (!found)
        return NULL;
    m = *found;
    tdelete(&key, &d->memory, by_address);
    return m;
}

struct search {
    CUcontext context;
    struct native_memory *found;
};

static void find_of(const void *node, VISIT visit, void *argument)
{
    struct native_memory *m = *(struct native_memory *const *)node;
    struct search *s = argument;

    if ((visit == postorder || visit == leaf) && m->context == s->context) {
        m->next = s->found;
        s->found = m;
    }
}

/* With native_lock: memory that goes with its context. */
static void forget_all(struct cuda_device *d, CUcontext context)
{
    struct search s = {.context = context};

    twalk_r(d->memory, find_of, &s);
    while (s.found) {
        struct native_memory *m = s.found;

        s.found = m->next;
        tdelete(m, &d->memory, by_address);
        free(m);
    }
}

/* With native_lock, nothing being left of the last context. What was registered is not any more. */
static void renew_home(struct cuda_device *d)
{
    pthread_mutex_lock(&lock);
    while (registrations) {
        struct registered *next = registrations->next;

        native.cuMemHostUnregister((void *)(uintptr_t)registrations->address);
        free(registrations);
        registrations = next;
    }
    pthread_mutex_unlock(&lock);
    if (!native_enter(d->home))
        native_bounce_drop_all(d);
    forget_all(d, d->home);
    native.cuCtxDestroy_v2(d->home);
    if (make_home(d))
        leave("its device is not usable after a fault");
}

static void context_destroy(struct cuda_context *context)
{
    struct native_context *c = (struct native_context *)context;
    struct cuda_device *d = c->device;
    bool broken;

    broken = native_enter(c->handle) || native.cuCtxSynchronize();
    pthread_mutex_lock(&native_lock);
    while (c->queues || d->frees || d->freeing)
        pthread_cond_wait(&d->changed, &native_lock);
    for (struct native_context **at = &d->contexts; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    if (c->base)
        native.cuEventDestroy_v2(c->base->event);
    free(c->base);
    for (int i = 0; i < 2; i++)
        for (struct native_event *e = c->events[i], *next; e; e = next) {
            next = e->next;
            native.cuEventDestroy_v2(e->event);
            free(e);
        }
    native.cuCtxSetCurrent(NULL);
    if (!c->home)
        forget_all(d, c->handle);
    if (c->home) {
        d->home_used = false;
        d->home_broken = broken;
    } else {
        native.cuCtxDestroy_v2(c->handle);
    }
    if (!d->contexts && d->home_broken)
        renew_home(d);
    pthread_mutex_unlock(&native_lock);
    free(c);
}

static int memory_create(struct cuda_device *d, struct cuda_context *context, uint64_t size,
                         uint64_t *ret_address)
{
    struct native_context *c = (struct native_context *)context;
    struct native_memory *m = calloc(1, sizeof(*m));
    int err = m ? native_enter(c->handle) : CUDA_ERROR_OUT_OF_MEMORY;

    if (!err)
        err = (int)native.cuMemAlloc_v2(&m->address, size);
    /* Of others nothing is left in it. No queue waits for this stream, nor it for one. */
    if (!err) {
        err = (int)native.cuMemsetD8Async(m->address, 0, size, NULL);
        if (!err)
            err = (int)native.cuStreamSynchronize(NULL);
        if (err)
            native.cuMemFree_v2(m->address);
    }
    if (!err) {
        m->context = c->handle;
        pthread_mutex_lock(&native_lock);
        if (!tsearch(m, &d->memory, by_address))
            err = CUDA_ERROR_OUT_OF_MEMORY;
        pthread_mutex_unlock(&native_lock);
        if (err)
            native.cuMemFree_v2(m->address);
    }
    if (err)
        free(m);
    else
        *ret_address = m->address;
    return err;
}

/* Frees what queues let go of. */
static void *freer(void *argument)
{
    struct cuda_device *d = argument;

    pthread_mutex_lock(&native_lock);
    for (;;) {
        struct native_memory *m = d->frees;

        if (!m) {
            pthread_cond_wait(&d->changed, &native_lock);
            continue;
        }
        d->frees = m->next;
        d->freeing = true;
        pthread_mutex_unlock(&native_lock);
        if (!native_enter(m->context))
            native.cuMemFree_v2(m->address);
        native.cuCtxSetCurrent(NULL);
        free(m);
        pthread_mutex_lock(&native_lock);
        d->freeing = false;
        pthread_cond_broadcast(&d->changed);
    }
    return NULL;
}

void native_free(struct cuda_device *d, CUdeviceptr address, bool later)
{
    struct native_memory *m = forget(d, address);
    pthread_t thread;

    if (!m)
        return;
    if (later && !d->has_freer && !pthread_create(&thread, NULL, freer, d)) {
        pthread_detach(thread);
        d->has_freer = true;
    }
    if (later && d->has_freer) {
        m->next = d->frees;
        d->frees = m;
        pthread_cond_broadcast(&d->changed);
        return;
    }
    pthread_mutex_unlock(&native_lock);
    if (!native_enter(m->context))
        native.cuMemFree_v2(m->address);
    free(m);
    pthread_mutex_lock(&native_lock);
}

static int memory_destroy(struct cuda_device *d, uint64_t address)
{
    pthread_mutex_lock(&native_lock);
    native_free(d, address, false);
    pthread_mutex_unlock(&native_lock);
    return 0;
}

/* A device that is open, with a whole context being current. Errors: there is none. */
static int enter_any(void)
{
    int err = CUDA_ERROR_INVALID_CONTEXT;

    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < 16 && err; i++)
        if (opened[i])
            err = native_enter(opened[i]->home);
    pthread_mutex_unlock(&lock);
    return err;
}

/* What is registered has its own address on all devices that are taken (unified addressing). */
static int memory_map(void *memory, uint64_t size)
{
    CUdeviceptr address = 0;
    struct registered *r = malloc(sizeof(*r));
    struct cuda_device *d;
    int err = r ? open_device(0, &d) : CUDA_ERROR_OUT_OF_MEMORY;

    if (!err)
        err = enter_any();
    if (!err)
        err = (int)native.cuMemHostRegister_v2(
            memory, size, CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP);
    if (err)
        goto out;
    err = (int)native.cuMemHostGetDevicePointer_v2(&address, memory, 0);
    if (!err && address != (uintptr_t)memory)
        err = CUDA_ERROR_NOT_SUPPORTED;
    if (err) {
        native.cuMemHostUnregister(memory);
        goto out;
    }
    pthread_mutex_lock(&lock);
    *r = (struct registered){(uintptr_t)memory, size, registrations};
    registrations = r;
    pthread_mutex_unlock(&lock);
    return 0;
out:
    free(r);
    return err;
}

static int memory_map_as(void *memory, uint64_t size, uint64_t address)
{
    return address == (uintptr_t)memory ? memory_map(memory, size) : CUDA_ERROR_NOT_SUPPORTED;
}

static void memory_unmap(uint64_t address)
{
    struct registered *found;

    pthread_mutex_lock(&lock);
    for (struct registered **at = &registrations; (found = *at); at = &found->next)
        if (found->address == address) {
            *at = found->next;
            break;
        }
    pthread_mutex_unlock(&lock);
    if (found && !enter_any())
        native.cuMemHostUnregister((void *)(uintptr_t)address);
    free(found);
}

static int host_create(uint64_t size, bool kernels, void **ret_memory)
{
    struct cuda_device *d;
    int err = open_device(0, &d);

    (void)kernels;
    if (!err)
        err = enter_any();
    return err ? err
               : (int)native.cuMemHostAlloc(ret_memory, size,
                                            CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
}

static void host_destroy(void *memory, uint64_t size)
{
    (void)size;
    if (!enter_any())
        native.cuMemFreeHost(memory);
}

static int memory_info(struct cuda_device *d, uint64_t *ret_free, uint64_t *ret_total)
{
    size_t left, total;
    int err = native_enter(d->home);

    if (!err)
        err = (int)native.cuMemGetInfo_v2(&left, &total);
    if (!err) {
        *ret_free = left;
        *ret_total = total;
    }
    return err;
}

static int heap(struct cuda_device *d, uint64_t bytes)
{
    int err = 0;

    pthread_mutex_lock(&native_lock);
    for (struct native_context *c = d->contexts; c && !err; c = c->next) {
        err = native_enter(c->handle);
        if (!err)
            err = (int)native.cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, bytes);
    }
    pthread_mutex_unlock(&native_lock);
    return err;
}

const struct cuda_backend cuda_backend_native = {
    .name = "cuda",
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
    .memory_info = memory_info,
    .module_create = native_module_create,
    .module_destroy = native_module_destroy,
    .heap = heap,
    .queue_create = native_queue_create,
    .queue_hold = native_queue_hold,
    .queue_release = native_queue_release,
    .submit = native_queue_submit,
    .done = native_queue_done,
    .wait = native_queue_wait,
    .watch = native_queue_watch,
    .stamp_create = native_stamp_create,
    .stamp_release = native_stamp_release,
    .stamp_time = native_stamp_time,
    .print = print,
    .printed = printed,
    .cancel = cancel,
    .abort = abort_context,
};
