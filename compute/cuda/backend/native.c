/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <wire/log.h>

/* Devices, what kernels print, and the backend's table. */

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
_Noreturn void native_leave(const char *why)
{
    log_warn("cuda: the worker ends: %s", why);
    _exit(1);
}

static const char too_long[] = "a kernel took longer than --max-cuda-seconds";

int native_enter(CUcontext context)
{
    /* Whatever is next would wait for it. */
    if (atomic_load(&hung))
        native_leave(too_long);
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
    ret->textureless = 1;
    ret->virtual_memory = native_virtual_there(device);
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
int native_make_home(struct cuda_device *d)
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

int native_open(unsigned index, struct cuda_device **ret_device)
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
        err = native_make_home(d);
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
            native_leave(too_long);
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
        native_leave("what its client has left does not end");
    pthread_mutex_unlock(&native_lock);
}

/* A device that is open, with a whole context being current. Errors: there is none. */
int native_enter_any(void)
{
    int err = CUDA_ERROR_INVALID_CONTEXT;

    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < 16 && err; i++)
        if (opened[i])
            err = native_enter(opened[i]->home);
    pthread_mutex_unlock(&lock);
    return err;
}

const struct cuda_backend cuda_backend_native = {
    .name = "cuda",
    .count = count,
    .properties = properties,
    .open = native_open,
    .context_create = native_context_create,
    .context_destroy = native_context_destroy,
    .memory_create = native_memory_create,
    .host_create = native_host_create,
    .host_destroy = native_host_destroy,
    .memory_map = native_memory_map,
    .memory_lock = native_memory_lock,
    .memory_map_as = native_memory_map_as,
    .memory_unmap = native_memory_unmap,
    .memory_destroy = native_memory_destroy,
    .memory_info = native_memory_info,
    .array_create = native_array_create,
    .texture_create = native_texture_create,
    .texture_destroy = native_texture_destroy,
    .virtual_reserve = native_virtual_reserve,
    .virtual_release = native_virtual_release,
    .physical_create = native_physical_create,
    .physical_destroy = native_physical_destroy,
    .virtual_map = native_virtual_map,
    .virtual_unmap = native_virtual_unmap,
    .virtual_allow = native_virtual_allow,
    .module_create = native_module_create,
    .module_destroy = native_module_destroy,
    .heap = native_context_heap,
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
    .abort = native_context_abort,
};
