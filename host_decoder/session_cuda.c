/* SPDX-License-Identifier: MIT */
#include "session_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <viaduct/errors.h>
#include <wire/log.h>

/* The life of a session's CUDA part, contexts and memory. */

#define WATCH_MS 500

/* With the lock: ends whatever runs or waits in some contexts. What runs on devices in others ends,
 * too, as there is no telling whose it is. */
static void abort_contexts(struct cuda_session *c, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++)
        if (c->contexts[i] && c->backend->abort)
            c->backend->abort(c->contexts[i], CUDA_ERROR_CONTEXT_IS_DESTROYED);
    for (unsigned i = 0; i < c->device_count; i++)
        if (c->devices[i] && c->backend->cancel)
            c->backend->cancel(c->devices[i]);
}

static void *watch(void *arg)
{
    struct cuda_session *c = arg;
    bool gone = false;

    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        struct timespec t;

        /* A kernel may start between two looks. */
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += gone ? 1000000 : WATCH_MS * 1000000;
        t.tv_sec += t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&c->wake, &c->lock, &t);
        gone = gone || !c->channel->ops->alive(c->channel);
        if (gone && !c->stop)
            abort_contexts(c, 0, VD_MAX_CUDA_CONTEXTS);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

int session_cuda_start(struct session *s)
{
    struct cuda_session *c;
    unsigned count = 0;

    if (!s->limits->cuda || s->arena.waker ||
        s->arena.upload_size < 2 * sizeof(struct vd_cuda_status))
        return VD_ERR_UNSUPPORTED;
    if (s->limits->cuda->count(&count) || !count)
        return VD_ERR_UNSUPPORTED;
    c = calloc(1, sizeof(*c));
    if (!c)
        return VD_ERR_MEMORY;
    c->backend = s->limits->cuda;
    c->arena = &s->arena;
    c->status = (struct vd_cuda_status *)(s->arena.base + s->arena.upload_offset);
    c->max_bytes = s->limits->cuda_bytes;
    c->stats = s->stats;
    c->device_count = count < VD_MAX_CUDA_DEVICES ? count : VD_MAX_CUDA_DEVICES;
    c->channel = s->channel;
    if (s->arena.mirror && cuda_mirror_create(s->channel, &s->arena, &c->mirror)) {
        free(c);
        return VD_ERR_MEMORY;
    }
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    s->cuda = c;
    return 0;
}

struct cuda_device *cuda_session_device(struct cuda_session *c, uint32_t index)
{
    struct cuda_device *device = NULL;

    if (index >= c->device_count)
        return NULL;
    if (!c->devices[index] && !c->backend->open(index, &device)) {
        pthread_mutex_lock(&c->lock);
        c->devices[index] = device;
        pthread_mutex_unlock(&c->lock);
    }
    return c->devices[index];
}

/* Its work is over, or is ended: the guest that means well has waited for it. */
static void settle(struct cuda_session *c, uint32_t slot)
{
    for (uint32_t i = 0; i < VD_MAX_CUDA_QUEUES; i++) {
        const struct cuda_session_queue *q = c->queues[i];

        while (q && q->queue && q->context == slot && atomic_load(&q->passed) < q->submitted) {
            pthread_mutex_lock(&c->lock);
            abort_contexts(c, slot, slot + 1);
            pthread_mutex_unlock(&c->lock);
            usleep(1000);
        }
    }
}

static void context_end(struct cuda_session *c, uint32_t slot)
{
    struct cuda_context *context = c->contexts[slot];

    if (!context)
        return;
    settle(c, slot);
    for (uint32_t i = 0; i < VD_MAX_CUDA_QUEUES; i++)
        if (c->queues[i] && c->queues[i]->queue && c->queues[i]->context == slot)
            cuda_session_queue_end(c, i);
    for (uint32_t i = 0; i < VD_MAX_CUDA_MODULES; i++)
        if (c->modules[i].module && c->modules[i].context == slot)
            cuda_session_module_end(c, &c->modules[i]);
    pthread_mutex_lock(&c->lock);
    c->contexts[slot] = NULL;
    pthread_mutex_unlock(&c->lock);
    c->backend->context_destroy(context);
}

void session_cuda_finish(struct session *s)
{
    struct cuda_session *c = s->cuda;

    s->cuda = NULL;
    if (!c)
        return;
    for (uint32_t i = 0; i < VD_MAX_CUDA_CONTEXTS; i++)
        context_end(c, i);
    if (c->watching) {
        pthread_mutex_lock(&c->lock);
        c->stop = true;
        pthread_cond_signal(&c->wake);
        pthread_mutex_unlock(&c->lock);
        pthread_join(c->watch, NULL);
    }
    for (uint32_t i = 0; i < c->range_count; i++) {
        const struct cuda_session_range *r = &c->ranges[i];

        if (r->kind == CUDA_RANGE_DEVICE)
            c->backend->memory_destroy(c->devices[r->device], r->address);
        else if (r->kind == CUDA_RANGE_MAPPED)
            cuda_session_unmap(c, r);
    }
    cuda_session_virtual_end(c);
    cuda_mirror_destroy(c->mirror);
    for (uint32_t i = 0; i < VD_MAX_CUDA_QUEUES; i++)
        free(c->queues[i]);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->wake);
    free(c->frees);
    free(c->ranges);
    free(c);
}

/* Index of the first range that ends behind an address. */
static uint32_t range_at(const struct cuda_session *c, uint64_t address)
{
    uint32_t low = 0, high = c->range_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (c->ranges[middle].address + c->ranges[middle].size <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct cuda_session_range *cuda_session_find(struct cuda_session *c, uint64_t address)
{
    uint32_t i = range_at(c, address);

    return i < c->range_count && c->ranges[i].address <= address ? &c->ranges[i] : NULL;
}

int cuda_session_add(struct cuda_session *c, const struct cuda_session_range *range)
{
    uint32_t i = range_at(c, range->address);

    if (c->range_count == VD_MAX_CUDA_RANGES)
        return VD_ERR_LIMIT;
    if (c->range_count == c->range_room) {
        uint32_t room = c->range_room ? c->range_room * 2 : 64;
        struct cuda_session_range *grown = realloc(c->ranges, room * sizeof(*grown));

        if (!grown)
            return VD_ERR_MEMORY;
        c->ranges = grown;
        c->range_room = room;
    }
    memmove(c->ranges + i + 1, c->ranges + i, (c->range_count - i) * sizeof(*range));
    c->ranges[i] = *range;
    c->range_count++;
    return 0;
}

void cuda_session_remove(struct cuda_session *c, struct cuda_session_range *range)
{
    uint32_t i = (uint32_t)(range - c->ranges);

    c->range_count--;
    memmove(c->ranges + i, c->ranges + i + 1, (c->range_count - i) * sizeof(*range));
}

int cuda_session_freed(struct cuda_session *c)
{
    uint32_t room = c->free_room ? c->free_room * 2 : 64;
    struct cuda_session_free *grown;

    for (uint32_t i = 0; i < c->free_count;) {
        const struct cuda_session_free *f = &c->frees[i];

        if (atomic_load(&c->queues[f->queue]->passed) < f->number) {
            i++;
            continue;
        }
        cuda_session_unuse(c, f->size);
        c->frees[i] = c->frees[--c->free_count];
    }
    if (c->free_count < c->free_room)
        return 0;
    grown = realloc(c->frees, room * sizeof(*grown));
    if (!grown)
        return VD_ERR_MEMORY;
    c->frees = grown;
    c->free_room = room;
    return 0;
}

bool cuda_session_overlaps(struct cuda_session *c, uint64_t address, uint64_t size)
{
    uint32_t i = range_at(c, address);

    return i < c->range_count && c->ranges[i].address < address + size;
}

bool cuda_session_has(struct cuda_session *c, uint64_t address, uint64_t size)
{
    const struct cuda_session_range *r = cuda_session_find(c, address);

    return r ? size <= r->size - (address - r->address)
             : vmm_has(&c->vmm, address, size, VMM_WRITE);
}

bool cuda_session_may_read(struct cuda_session *c, uint64_t address, uint64_t size)
{
    return cuda_session_has(c, address, size) || vmm_has(&c->vmm, address, size, VMM_READ);
}

void cuda_session_fail(struct cuda_session *c, uint32_t context, int result)
{
    atomic_compare_exchange_strong(&c->contexts[context]->error, &(int){0}, result);
    __atomic_store_n(&c->status->errors[context],
                     (uint32_t)atomic_load(&c->contexts[context]->error), __ATOMIC_RELEASE);
}

/* The handlers. What is not a CUresult's business is the reply's `status`. */

int session_cuda_open(void *self, const struct vd_cuda_open_req *req, const struct vd_none *tail,
                      uint32_t tail_count, struct dispatch_reply *reply)
{
    struct session *s = self;
    struct cuda_session *c = s->cuda;
    struct vd_cuda_open_rep *rep = reply->fixed;
    struct vd_cuda_device *devices = reply->tail;

    (void)req, (void)tail, (void)tail_count;
    for (unsigned i = 0; i < c->device_count; i++) {
        struct cuda_properties p;

        if (c->backend->properties(i, &p)) {
            rep->status = (uint32_t)-VD_ERR_INTERNAL;
            return 0;
        }
        memset(&devices[i], 0, sizeof(devices[i]));
        snprintf(devices[i].name, sizeof(devices[i].name), "%s", p.name);
        memcpy(devices[i].uuid, p.uuid, sizeof(devices[i].uuid));
        devices[i].memory = p.memory < c->max_bytes ? p.memory : c->max_bytes;
        devices[i].multiprocessors = p.multiprocessors;
        devices[i].clock_khz = (uint32_t)p.clock_khz;
        devices[i].l2_bytes = (uint32_t)p.l2_bytes;
        devices[i].flags = (p.local && !c->mirror ? VD_CUDA_DEVICE_LOCAL : 0) |
                           (p.textureless ? VD_CUDA_DEVICE_TEXTURELESS : 0) |
                           (p.apart || c->mirror ? VD_CUDA_DEVICE_APART : 0) |
                           (p.virtual_memory ? VD_CUDA_DEVICE_VIRTUAL : 0) |
                           (p.imports && !c->mirror ? VD_CUDA_DEVICE_IMPORTS : 0);
    }
    reply->tail_count = c->device_count;
    rep->max_bytes = c->max_bytes;
    rep->base = c->mirror ? 0 : (uintptr_t)s->arena.base;
    return 0;
}

int session_cuda_context_create(void *self, const struct vd_cuda_context_create_req *req,
                                const struct vd_none *tail, uint32_t tail_count,
                                struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_context_create_rep *rep = reply->fixed;
    struct cuda_context *context;
    struct cuda_device *device;

    (void)tail, (void)tail_count;
    if (req->context >= VD_MAX_CUDA_CONTEXTS || c->contexts[req->context] ||
        req->device >= c->device_count)
        return VD_ERR_PROTOCOL;
    device = cuda_session_device(c, req->device);
    if (!device) {
        rep->result = CUDA_ERROR_DEVICE_UNAVAILABLE;
        return 0;
    }
    __atomic_store_n(&c->status->errors[req->context], 0, __ATOMIC_RELEASE);
    rep->result = (uint32_t)c->backend->context_create(device, &context);
    if (rep->result)
        return 0;
    pthread_mutex_lock(&c->lock);
    c->contexts[req->context] = context;
    c->context_device[req->context] = req->device;
    pthread_mutex_unlock(&c->lock);
    /* Threads are made here, behind the sandbox's door. */
    if (!c->watching)
        c->watching = !pthread_create(&c->watch, NULL, watch, c);
    return 0;
}

int session_cuda_context_destroy(void *self, const struct vd_cuda_context_destroy_req *req,
                                 const struct vd_none *tail, uint32_t tail_count,
                                 struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;

    (void)tail, (void)tail_count, (void)reply;
    if (req->context >= VD_MAX_CUDA_CONTEXTS || !c->contexts[req->context])
        return VD_ERR_PROTOCOL;
    context_end(c, req->context);
    return 0;
}

int session_cuda_memory_create(void *self, const struct vd_cuda_memory_create_req *req,
                               const struct vd_none *tail, uint32_t tail_count,
                               struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_memory_create_rep *rep = reply->fixed;
    struct cuda_session_range range = {.kind = CUDA_RANGE_DEVICE, .device = req->device};
    struct cuda_device *device = cuda_session_device(c, req->device);

    (void)tail, (void)tail_count;
    if (req->device >= c->device_count || !req->size || req->context >= VD_MAX_CUDA_CONTEXTS ||
        !c->contexts[req->context] || c->context_device[req->context] != req->device)
        return VD_ERR_PROTOCOL;
    if (!device) {
        rep->result = CUDA_ERROR_DEVICE_UNAVAILABLE;
        return 0;
    }
    cuda_session_freed(c);
    if (req->size > c->max_bytes - c->used_bytes) {
        rep->result = CUDA_ERROR_OUT_OF_MEMORY;
        return 0;
    }
    rep->result = (uint32_t)c->backend->memory_create(device, c->contexts[req->context], req->size,
                                                      &range.address);
    if (rep->result)
        return 0;
    range.size = req->size;
    if (cuda_session_add(c, &range)) {
        c->backend->memory_destroy(device, range.address);
        rep->result = CUDA_ERROR_OUT_OF_MEMORY;
        return 0;
    }
    cuda_session_use(c, req->size);
    rep->address = range.address;
    return 0;
}

/* The range that starts there and is of this kind, or NULL. */
static struct cuda_session_range *find_start(struct cuda_session *c, uint64_t address,
                                             enum cuda_range_kind kind)
{
    struct cuda_session_range *r = cuda_session_find(c, address);

    return r && r->address == address && r->kind == kind ? r : NULL;
}

int session_cuda_memory_destroy(void *self, const struct vd_cuda_memory_destroy_req *req,
                                const struct vd_none *tail, uint32_t tail_count,
                                struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct cuda_session_range *r = find_start(c, req->address, CUDA_RANGE_DEVICE);

    (void)tail, (void)tail_count, (void)reply;
    if (!r)
        return VD_ERR_PROTOCOL;
    c->backend->memory_destroy(c->devices[r->device], r->address);
    cuda_session_unuse(c, r->size);
    cuda_session_remove(c, r);
    return 0;
}

int session_cuda_memory_map(void *self, const struct vd_cuda_memory_map_req *req,
                            const struct vd_none *tail, uint32_t tail_count,
                            struct dispatch_reply *reply)
{
    struct session *s = self;
    struct cuda_session *c = s->cuda;
    struct vd_cuda_memory_map_rep *rep = reply->fixed;
    struct cuda_session_range range = {
        .address = req->address, .size = req->size, .kind = CUDA_RANGE_MAPPED};
    uint64_t end = s->arena.frame_offset + s->arena.frame_size;

    (void)tail, (void)tail_count;
    if (req->offset % 4096 || req->offset < s->arena.frame_offset || req->offset > end ||
        !req->size || req->size > end - req->offset || req->address + req->size < req->address)
        return VD_ERR_PROTOCOL;
    /* What the guest has there is not what is here. */
    if (c->mirror)
        return VD_ERR_PROTOCOL;
    if (cuda_session_overlaps(c, req->address, req->size)) {
        rep->result = CUDA_ERROR_INVALID_VALUE;
        return 0;
    }
    rep->result =
        (uint32_t)c->backend->memory_map_as(s->arena.base + req->offset, req->size, req->address);
    if (!rep->result && cuda_session_add(c, &range)) {
        c->backend->memory_unmap(req->address);
        rep->result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    return 0;
}

int session_cuda_memory_unmap(void *self, const struct vd_cuda_memory_unmap_req *req,
                              const struct vd_none *tail, uint32_t tail_count,
                              struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct cuda_session_range *r = find_start(c, req->address, CUDA_RANGE_MAPPED);

    (void)tail, (void)tail_count, (void)reply;
    if (!r)
        return VD_ERR_PROTOCOL;
    cuda_session_unmap(c, r);
    cuda_session_remove(c, r);
    return 0;
}

int session_cuda_memory_info(void *self, const struct vd_cuda_memory_info_req *req,
                             const struct vd_none *tail, uint32_t tail_count,
                             struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_memory_info_rep *rep = reply->fixed;
    struct cuda_device *device = cuda_session_device(c, req->device);

    (void)tail, (void)tail_count;
    if (req->device >= c->device_count)
        return VD_ERR_PROTOCOL;
    if (!device) {
        rep->result = CUDA_ERROR_DEVICE_UNAVAILABLE;
        return 0;
    }
    cuda_session_freed(c);
    rep->result = (uint32_t)c->backend->memory_info(device, &rep->free, &rep->total);
    if (rep->total > c->max_bytes)
        rep->total = c->max_bytes;
    if (rep->free > c->max_bytes - c->used_bytes)
        rep->free = c->max_bytes - c->used_bytes;
    return 0;
}

int session_cuda_heap(void *self, const struct vd_cuda_heap_req *req, const struct vd_none *tail,
                      uint32_t tail_count, struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_heap_rep *rep = reply->fixed;
    struct cuda_device *device = cuda_session_device(c, req->device);

    (void)tail, (void)tail_count;
    if (req->device >= c->device_count)
        return VD_ERR_PROTOCOL;
    rep->result = !device                     ? CUDA_ERROR_DEVICE_UNAVAILABLE
                  : req->bytes > c->max_bytes ? CUDA_ERROR_INVALID_VALUE
                                              : (uint32_t)c->backend->heap(device, req->bytes);
    return 0;
}

int session_cuda_print(void *self, const struct vd_cuda_print_req *req, const struct vd_none *tail,
                       uint32_t tail_count, struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_print_rep *rep = reply->fixed;
    uint8_t *text = reply->tail;
    size_t n = 0;

    (void)tail, (void)tail_count;
    if (req->device >= c->device_count)
        return VD_ERR_PROTOCOL;
    /* Before it is taken: what comes after that sets it again. */
    __atomic_store_n(&c->status->printed, 0, __ATOMIC_SEQ_CST);
    if (c->devices[req->device] && c->backend->printed)
        n = c->backend->printed(c->devices[req->device], (char *)text, VD_MAX_CUDA_TEXT * 8);
    memset(text + n, 0, (8 - n % 8) % 8);
    rep->bytes = (uint32_t)n;
    reply->tail_count = (uint32_t)((n + 7) / 8);
    return 0;
}

int session_cuda_fault(void *self, const struct vd_cuda_fault_req *req, const struct vd_none *tail,
                       uint32_t tail_count, struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_fault_rep *rep = reply->fixed;
    uint8_t *text = reply->tail;
    size_t n = 0;

    (void)tail, (void)tail_count;
    if (req->context >= VD_MAX_CUDA_CONTEXTS || !c->contexts[req->context])
        return VD_ERR_PROTOCOL;
    if (c->backend->fault && atomic_load(&c->contexts[req->context]->error))
        n = c->backend->fault(c->contexts[req->context], (char *)text, VD_MAX_CUDA_FAULT * 8);
    memset(text + n, 0, (8 - n % 8) % 8);
    rep->bytes = (uint32_t)n;
    reply->tail_count = (uint32_t)((n + 7) / 8);
    return 0;
}
