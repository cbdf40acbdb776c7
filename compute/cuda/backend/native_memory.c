/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <search.h>
#include <stdlib.h>

/* Memory of devices, and of the host that they reach. */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what is registered */
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

void native_memory_unregister(void)
{
    pthread_mutex_lock(&lock);
    while (registrations) {
        struct registered *next = registrations->next;

        native.cuMemHostUnregister((void *)(uintptr_t)registrations->address);
        free(registrations);
        registrations = next;
    }
    pthread_mutex_unlock(&lock);
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
void native_memory_forget(struct cuda_device *d, CUcontext context)
{
    struct search s = {.context = context};

    native_array_forget(context);
    twalk_r(d->memory, find_of, &s);
    while (s.found) {
        struct native_memory *m = s.found;

        s.found = m->next;
        tdelete(m, &d->memory, by_address);
        free(m);
    }
}

int native_memory_create(struct cuda_device *d, struct cuda_context *context, uint64_t size,
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

int native_memory_destroy(struct cuda_device *d, uint64_t address)
{
    if (native_array_destroy(address))
        return 0;
    pthread_mutex_lock(&native_lock);
    native_free(d, address, false);
    pthread_mutex_unlock(&native_lock);
    return 0;
}

static int keep_registered(void *memory, uint64_t size, struct registered *r)
{
    pthread_mutex_lock(&lock);
    *r = (struct registered){(uintptr_t)memory, size, registrations};
    registrations = r;
    pthread_mutex_unlock(&lock);
    return 0;
}

int native_memory_lock(void *memory, uint64_t size)
{
    struct registered *r = malloc(sizeof(*r));
    struct cuda_device *d;
    int err = r ? native_open(0, &d) : CUDA_ERROR_OUT_OF_MEMORY;

    if (!err)
        err = native_enter_any();
    if (!err)
        err = (int)native.cuMemHostRegister_v2(memory, size, CU_MEMHOSTREGISTER_PORTABLE);
    if (err)
        free(r);
    return err ? err : keep_registered(memory, size, r);
}

/* What is registered has its own address on all devices that are taken (unified addressing). */
int native_memory_map(void *memory, uint64_t size)
{
    CUdeviceptr address = 0;
    struct registered *r = malloc(sizeof(*r));
    struct cuda_device *d;
    int err = r ? native_open(0, &d) : CUDA_ERROR_OUT_OF_MEMORY;

    if (!err)
        err = native_enter_any();
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
    return keep_registered(memory, size, r);
out:
    free(r);
    return err;
}

int native_memory_map_as(void *memory, uint64_t size, uint64_t address)
{
    return address == (uintptr_t)memory ? native_memory_map(memory, size)
                                        : CUDA_ERROR_NOT_SUPPORTED;
}

void native_memory_unmap(uint64_t address)
{
    struct registered *found;

    pthread_mutex_lock(&lock);
    for (struct registered **at = &registrations; (found = *at); at = &found->next)
        if (found->address == address) {
            *at = found->next;
            break;
        }
    pthread_mutex_unlock(&lock);
    if (found && !native_enter_any())
        native.cuMemHostUnregister((void *)(uintptr_t)address);
    free(found);
}

int native_host_create(uint64_t size, bool kernels, void **ret_memory)
{
    struct cuda_device *d;
    int err = native_open(0, &d);

    (void)kernels;
    if (!err)
        err = native_enter_any();
    return err ? err
               : (int)native.cuMemHostAlloc(ret_memory, size,
                                            CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
}

void native_host_destroy(void *memory, uint64_t size)
{
    (void)size;
    if (!native_enter_any())
        native.cuMemFreeHost(memory);
}

int native_memory_info(struct cuda_device *d, uint64_t *ret_free, uint64_t *ret_total)
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
