/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <compute/cuda/backend/remote.h>
#include <wire/log.h>

#include "internal.h"
#include "symbols.h"

/* What the whole process has: initialisation, the lock, handles, devices. */

const struct cuda_backend *backend = &cuda_backend_ptx;
struct CUctx_st *primaries[MAX_DEVICES];

static pthread_mutex_t the_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int initialised; /* 1: yes; -1: in the child of a process that was */
static struct cuda_properties devices[MAX_DEVICES];
static unsigned count;
static uint64_t last_id;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

void lock(void)
{
    pthread_mutex_lock(&the_lock);
}

void unlock(void)
{
    pthread_mutex_unlock(&the_lock);
}

uint64_t unique(void)
{
    return ++last_id;
}

/* Open addressing; a removed place keeps its mark until the table is made anew. */
#define REMOVED ((const void *)1)
static struct handle {
    const void *object;
    enum kind kind;
} * handles;
static size_t handle_room, handle_used;

static size_t place(const void *object)
{
    return (size_t)(((uintptr_t)object >> 4) * 0x9e3779b97f4a7c15ull >> 20) & (handle_room - 1);
}

static size_t handle_at(const void *object)
{
    size_t i;

    if (!handle_room)
        return SIZE_MAX;
    for (i = place(object); handles[i].object; i = (i + 1) & (handle_room - 1))
        if (handles[i].object == object)
            return i;
    return SIZE_MAX;
}

static bool handle_grow(void)
{
    struct handle *old = handles;
    size_t room = handle_room, live = 0;

    for (size_t i = 0; i < room; i++)
        live += old[i].object && old[i].object != REMOVED;
    handle_room = 256;
    while (handle_room < live * 4)
        handle_room *= 2;
    handles = calloc(handle_room, sizeof(*handles));
    if (!handles) {
        handles = old;
        handle_room = room;
        return false;
    }
    handle_used = live;
    for (size_t i = 0; i < room; i++) {
        size_t at;

        if (!old[i].object || old[i].object == REMOVED)
            continue;
        at = place(old[i].object);
        while (handles[at].object)
            at = (at + 1) & (handle_room - 1);
        handles[at] = old[i];
    }
    free(old);
    return true;
}

bool handle_add(const void *object, enum kind kind)
{
    size_t at;

    if (handle_used * 2 >= handle_room && !handle_grow())
        return false;
    at = place(object);
    while (handles[at].object)
        at = (at + 1) & (handle_room - 1);
    handles[at].object = object;
    handles[at].kind = kind;
    handle_used++;
    return true;
}

void handle_remove(const void *object)
{
    size_t at = handle_at(object);

    if (at != SIZE_MAX)
        handles[at].object = REMOVED;
}

bool handle_is(const void *object, enum kind kind)
{
    size_t at = (uintptr_t)object > 16 ? handle_at(object) : SIZE_MAX;

    return at != SIZE_MAX && handles[at].kind == kind;
}

/* A thread's default streams end with it. */
static void thread_end(void *argument)
{
    struct thread *t = argument;

    if (initialised > 0) {
        lock();
        for (unsigned i = 0; i < 8; i++)
            if (t->streams[i].stream && handle_is(t->streams[i].stream, STREAM) &&
                t->streams[i].stream->id == t->streams[i].context)
                stream_end(t->streams[i].stream);
        unlock();
    }
    free(t);
}

static void forked(void)
{
    /* The threads that ran its work are not in the child. */
    if (initialised)
        initialised = -1;
    pthread_mutex_init(&the_lock, NULL);
}

static void prepare(void)
{
    pthread_key_create(&key, thread_end);
    pthread_atfork(lock, unlock, forked);
}

struct thread *thread_self(void)
{
    struct thread *t;

    pthread_once(&once, prepare);
    t = pthread_getspecific(key);
    if (!t) {
        t = calloc(1, sizeof(*t));
        if (!t)
            abort();
        pthread_setspecific(key, t);
    }
    return t;
}

CUresult enter(void)
{
    if (initialised <= 0)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (thread_self()->calling)
        return CUDA_ERROR_NOT_PERMITTED;
    lock();
    return CUDA_SUCCESS;
}

CUresult leave(CUresult result)
{
    unlock();
    return result;
}

CUresult context_error(const struct CUctx_st *c)
{
    return (CUresult)atomic_load(&c->backend->error);
}

CUresult enter_context(struct CUctx_st **ret_context)
{
    CUresult err = enter();
    struct CUctx_st *c;

    if (err)
        return err;
    c = context_current();
    err = !c           ? CUDA_ERROR_INVALID_CONTEXT
          : !c->active ? CUDA_ERROR_CONTEXT_IS_DESTROYED
                       : context_error(c);
    if (err) {
        unlock();
        return err;
    }
    *ret_context = c;
    return CUDA_SUCCESS;
}

unsigned device_count(void)
{
    return count;
}

const struct cuda_properties *device_properties(CUdevice device)
{
    return device >= 0 && (unsigned)device < count ? &devices[device] : NULL;
}

/*
 * With the lock. VIADUCT_CUDA: "local" is this process, "remote" is a host's service, else the
 * service if there is one that has CUDA.
 */
static CUresult choose(void)
{
    const char *how = getenv("VIADUCT_CUDA");
    CUresult err;

    if (how && !strcmp(how, "local")) {
        backend = &cuda_backend_ptx;
        return (CUresult)backend->count(&count);
    }
    if (how && *how && strcmp(how, "remote") && strcmp(how, "auto"))
        log_warn("cuda: VIADUCT_CUDA is %s; it may be local, remote or auto", how);
    backend = &cuda_backend_remote;
    err = (CUresult)backend->count(&count);
    if (err && how && !strcmp(how, "remote")) {
        log_error("cuda: no host service with CUDA: start viaductd, set VIADUCT_HOST, or run the "
                  "program with `viaduct exec -- ...`");
        return err;
    }
    if (err) {
        backend = &cuda_backend_ptx;
        err = (CUresult)backend->count(&count);
    }
    log_info("cuda: kernels run %s",
             backend == &cuda_backend_remote ? "at the host" : "in this process");
    return err;
}

/* Only by its being there: a service tells this library from the machine's driver. */
__attribute__((visibility("default"))) int viaduct_libcuda(void);

int viaduct_libcuda(void)
{
    return 1;
}

API cuInit(unsigned flags)
{
    CUresult err = CUDA_SUCCESS;

    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    thread_self();
    lock();
    if (initialised < 0) {
        err = CUDA_ERROR_NOT_INITIALIZED;
    } else if (!initialised) {
        err = choose();
        if (count > MAX_DEVICES)
            count = MAX_DEVICES;
        for (unsigned i = 0; i < count && !err; i++)
            err = (CUresult)backend->properties(i, &devices[i]);
        if (!err && !count)
            err = CUDA_ERROR_NO_DEVICE;
        if (!err)
            initialised = 1;
    }
    return leave(err);
}

API cuDriverGetVersion(int *version)
{
    if (!version)
        return CUDA_ERROR_INVALID_VALUE;
    *version = DRIVER_VERSION;
    return CUDA_SUCCESS;
}

static const struct {
    CUresult value;
    const char *name, *text;
} errors[] = {
#define CUDA_ERROR(name, value, text) {name, #name, text},
#include <compute/cuda/errors.def>
#undef CUDA_ERROR
};

static CUresult error_find(CUresult error, size_t *ret_index)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (errors[i].value == error) {
            *ret_index = i;
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_INVALID_VALUE;
}

API cuGetErrorName(CUresult error, const char **name)
{
    size_t i;

    if (!name)
        return CUDA_ERROR_INVALID_VALUE;
    *name = NULL;
    if (error_find(error, &i))
        return CUDA_ERROR_INVALID_VALUE;
    *name = errors[i].name;
    return CUDA_SUCCESS;
}

API cuGetErrorString(CUresult error, const char **text)
{
    size_t i;

    if (!text)
        return CUDA_ERROR_INVALID_VALUE;
    *text = NULL;
    if (error_find(error, &i))
        return CUDA_ERROR_INVALID_VALUE;
    *text = errors[i].text;
    return CUDA_SUCCESS;
}

API cuGetProcAddress_v2(const char *symbol, void **function, int version, cuuint64_t flags,
                        CUdriverProcAddressQueryResult *status)
{
    bool per_thread = flags == CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
    CUdriverProcAddressQueryResult found;
    int (*is)(void);

    if (!symbol || !function || flags > CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM)
        return CUDA_ERROR_INVALID_VALUE;
    is = symbols_find(symbol, version, per_thread, &found);
    memcpy(function, &is, sizeof(is));
    if (status)
        *status = found;
    return is || status ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

API cuGetProcAddress(const char *symbol, void **function, int version, cuuint64_t flags)
{
    return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}
