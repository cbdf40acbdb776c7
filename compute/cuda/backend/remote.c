/* SPDX-License-Identifier: MIT */
#include "remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <transport/fence.h>
#include <viaduct/errors.h>
#include <wire/dispatch.h>
#include <wire/log.h>
#include <wire/trace.h>

/* The session, devices, contexts and memory. */

struct cuda_device {
    unsigned index;
};

/* Addresses of device memory that nobody here may get. */
struct remote_reserved {
    struct remote_reserved *next;
    uint64_t address, size;
};

static struct cuda_device devices[VD_MAX_CUDA_DEVICES];
static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static struct remote *current;
static bool prepared;

/* In the child of a process with a session: the host must see the parent's end as the end. */
static void forked(void)
{
    if (current) {
        struct host *host = current->host;

        host->channel->ops->destroy(host->channel);
        host->channel = NULL;
    }
    current = NULL;
    pthread_mutex_init(&current_lock, NULL);
}

void remote_hold(struct remote *r)
{
    atomic_fetch_add(&r->references, 1);
}

static void remote_free(struct remote *r)
{
    if (r->has_caller)
        remote_calls_finish(r);
    for (struct remote_staged *s = r->staged_idle, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    while (r->reserved) {
        struct remote_reserved *next = r->reserved->next;

        munmap((void *)(uintptr_t)r->reserved->address, r->reserved->size);
        free(r->reserved);
        r->reserved = next;
    }
    remote_zone_finish(&r->staging);
    remote_zone_finish(&r->frames);
    if (r->pinned && r->pinned != r->host->arena.base + r->host->arena.frame_offset)
        munmap(r->pinned, r->host->arena.frame_size);
    if (r->host)
        host_unref(&r->host);
    pthread_mutex_destroy(&r->call);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->send);
    pthread_cond_destroy(&r->called);
    free(r->stamp_free);
    free(r);
}

void remote_drop(struct remote *r)
{
    if (r && atomic_fetch_sub(&r->references, 1) == 1)
        remote_free(r);
}

bool remote_alive(void *arg)
{
    struct remote *r = arg;

    if (!atomic_load(&r->dead) && !host_alive(r->host))
        remote_lost(r);
    return !atomic_load(&r->dead);
}

void remote_lost(struct remote *r)
{
    if (!atomic_exchange(&r->dead, true))
        log_error("cuda: lost the host %s; its contexts are lost with it", r->host->uri);
}

static int call_with(struct remote *r, uint32_t op, const void *req, int send_fd, void *rep,
                     void *ret_tail, uint32_t *ret_count)
{
    const struct dispatch_call *call = dispatch_find(op);
    struct dispatch_message message;
    const uint8_t *bytes;
    size_t size;
    int fd = -1, err;

    pthread_mutex_lock(&r->call);
    err = atomic_load(&r->dead) ? VD_ERR_GONE : 0;
    if (!err) {
        if (!++r->host->serial)
            r->host->serial = 1;
        pthread_mutex_lock(&r->send);
        err = message_send(r->host->channel, op, r->host->serial, req, call->req->size, NULL, 0, 0,
                           send_fd, HOST_CALL_MS);
        pthread_mutex_unlock(&r->send);
    }
    if (!err)
        err = message_read(&r->host->reader, REMOTE_CALL_MS, &bytes, &size, &fd);
    if (!err && trace_enabled())
        trace_message("<-", bytes, size);
    if (!err)
        err = dispatch_check_reply(bytes, size, call, r->host->serial, &message);
    if (!err) {
        memcpy(rep, message.fixed, call->rep->size);
        if (ret_tail)
            memcpy(ret_tail, message.tail, (size_t)message.tail_count * call->rep_tail->size);
        if (ret_count)
            *ret_count = message.tail_count;
    }
    pthread_mutex_unlock(&r->call);
    if (fd >= 0)
        close(fd);
    if (err) {
        remote_lost(r);
        return CUDA_ERROR_LAUNCH_FAILED;
    }
    /* All replies start with it. */
    memcpy(&err, rep, sizeof(err));
    return err ? CUDA_ERROR_UNKNOWN : CUDA_SUCCESS;
}

int remote_call(struct remote *r, uint32_t op, const void *req, void *rep, void *ret_tail,
                uint32_t *ret_count)
{
    return call_with(r, op, req, -1, rep, ret_tail, ret_count);
}

static uint32_t put_bytes(struct vd_cuda_status *status, uint32_t at, const void *bytes,
                          size_t size)
{
    size_t start = at % VD_CUDA_RING_BYTES, first = VD_CUDA_RING_BYTES - start;

    if (!size)
        return at;
    if (first > size)
        first = size;
    memcpy(status->ring + start, bytes, first);
    memcpy(status->ring, (const uint8_t *)bytes + first, size - first);
    return at + (uint32_t)size;
}

int remote_put(struct remote *r, uint32_t op, const void *req, size_t req_size, const void *tail,
               size_t tail_bytes)
{
    static const uint8_t zeros[8];
    struct vd_cuda_status *status = r->status;
    uint32_t words = (uint32_t)((tail_bytes + 7) / 8), at = r->filled;
    struct vd_header header = {
        .size = (uint32_t)(sizeof(header) + req_size + words * 8), .op = op, .tail = words};
    int err = 0;

    if (atomic_load(&r->dead))
        return VD_ERR_GONE;
    /* The host looks after the ring whatever its devices do, but for calls of other threads. */
    if (at + header.size - fence_load(&status->taken) > VD_CUDA_RING_BYTES)
        err = fence_wait(&status->taken, &status->taken_waiters,
                         at + header.size - VD_CUDA_RING_BYTES, UINT64_MAX, remote_alive, r);
    if (err)
        return err;
    at = put_bytes(status, at, &header, sizeof(header));
    at = put_bytes(status, at, req, req_size);
    at = put_bytes(status, at, tail, tail_bytes);
    at = put_bytes(status, at, zeros, words * 8 - tail_bytes);
    r->filled = at;
    __atomic_store_n(&status->filled, at, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&status->sleeping, __ATOMIC_SEQ_CST) &&
        __atomic_exchange_n(&status->sleeping, 0, __ATOMIC_SEQ_CST)) {
        struct vd_cuda_kick_req kick = {0};

        err = message_send(r->host->channel, VD_OP_cuda_kick, 0, &kick, sizeof(kick), NULL, 0, 0,
                           -1, HOST_CALL_MS);
        if (err)
            remote_lost(r);
    }
    return err;
}

int remote_post(struct remote *r, uint32_t op, const void *req, size_t req_size)
{
    int err;

    pthread_mutex_lock(&r->send);
    err = remote_put(r, op, req, req_size, NULL, 0);
    pthread_mutex_unlock(&r->send);
    return err;
}

/* Frame memory where the host has it, so that an address of it means the same to both. */
static void map_frames(struct remote *r, uint64_t base)
{
    const struct arena *a = &r->host->arena;
    uint8_t *wanted = (uint8_t *)(uintptr_t)(base + a->frame_offset), *got;

    r->pinned = a->base + a->frame_offset;
    if (!base || base % 4096 || base > UINTPTR_MAX / 2)
        return;
    got = mmap(wanted, a->frame_size, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, a->fd, (off_t)a->frame_offset);
    if (got == MAP_FAILED)
        return;
    if (got != wanted) {
        munmap(got, a->frame_size);
        return;
    }
    madvise(got, a->frame_size, MADV_DONTFORK);
    r->pinned = got;
}

static int remote_open(bool quiet, struct remote **ret_remote)
{
    struct vd_cuda_open_req req = {0};
    struct vd_cuda_open_rep rep;
    struct remote *r = calloc(1, sizeof(*r));
    uint64_t status = (sizeof(struct vd_cuda_status) + 4095) / 4096 * 4096;
    int err = VD_ERR_MEMORY;

    if (!r)
        return err;
    atomic_init(&r->references, 1);
    pthread_mutex_init(&r->call, NULL);
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->send, NULL);
    pthread_cond_init(&r->called, NULL);
    r->limbo_last = &r->limbo;
    err = host_open_for(VD_FEATURE_CUDA, quiet, 0, &r->host);
    if (err)
        goto out;
    err = VD_ERR_PROTOCOL;
    if (r->host->mirror || r->host->arena.upload_size < 2 * status)
        goto out;
    r->status = (struct vd_cuda_status *)(r->host->arena.base + r->host->arena.upload_offset);
    if (remote_call(r, VD_OP_cuda_open, &req, &rep, r->devices, &r->device_count))
        goto out;
    remote_zone_init(&r->staging, r->host->arena.upload_offset + status,
                     r->host->arena.upload_size - status, 64);
    remote_zone_init(&r->frames, r->host->arena.frame_offset, r->host->arena.frame_size, 4096);
    map_frames(r, rep.base);
    *ret_remote = r;
    return 0;
out:
    if (err == VD_ERR_UNSUPPORTED)
        log_info("cuda: the host serves no CUDA, or shares no memory with this machine");
    remote_drop(r);
    return err;
}

struct remote *remote_current(void)
{
    struct remote *r;

    pthread_mutex_lock(&current_lock);
    r = current && remote_alive(current) ? current : NULL;
    pthread_mutex_unlock(&current_lock);
    return r;
}

static bool has_contexts(struct remote *r)
{
    bool any = false;

    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < VD_MAX_CUDA_CONTEXTS; i++)
        any = any || r->contexts[i];
    pthread_mutex_unlock(&r->lock);
    return any;
}

static int get(bool quiet, struct remote **ret_remote)
{
    struct remote *made;
    int err = 0;

    pthread_mutex_lock(&current_lock);
    if (!prepared) {
        pthread_atfork(NULL, NULL, forked);
        prepared = true;
    }
    /* One whose contexts are all gone makes room for another. */
    if (current && !remote_alive(current) && !has_contexts(current)) {
        remote_drop(current);
        current = NULL;
    }
    if (current && atomic_load(&current->dead)) {
        err = VD_ERR_GONE;
    } else if (!current) {
        err = remote_open(quiet, &made);
        if (!err)
            current = made;
    }
    if (!err) {
        remote_hold(current);
        *ret_remote = current;
    }
    pthread_mutex_unlock(&current_lock);
    return err;
}

int remote_get(struct remote **ret_remote)
{
    return get(false, ret_remote) ? CUDA_ERROR_DEVICE_UNAVAILABLE : CUDA_SUCCESS;
}

/* cuInit asks this first; no host is no error, since there is another backend. */
static int count(unsigned *ret_count)
{
    struct remote *r;

    if (get(true, &r))
        return CUDA_ERROR_NO_DEVICE;
    *ret_count = r->device_count;
    remote_drop(r);
    return CUDA_SUCCESS;
}

static int properties(unsigned index, struct cuda_properties *ret)
{
    const struct vd_cuda_device *d;
    struct remote *r;
    int err = remote_get(&r);

    if (err)
        return err;
    d = &r->devices[index];
    if (index >= r->device_count) {
        err = CUDA_ERROR_INVALID_DEVICE;
    } else {
        memset(ret, 0, sizeof(*ret));
        ret->index = (int)index;
        memcpy(ret->name, d->name, sizeof(ret->name));
        ret->name[sizeof(ret->name) - 1] = '\0';
        memcpy(ret->uuid, d->uuid, sizeof(ret->uuid));
        ret->memory = d->memory;
        /* Programs divide by it. */
        ret->multiprocessors = d->multiprocessors ? d->multiprocessors : 1;
        ret->clock_khz = (int)(d->clock_khz & INT32_MAX);
        ret->l2_bytes = (int)(d->l2_bytes & INT32_MAX);
        ret->local = 0;
        ret->coherent = d->flags & VD_CUDA_DEVICE_LOCAL ? 1 : 0;
        ret->textureless = d->flags & VD_CUDA_DEVICE_TEXTURELESS ? 1 : 0;
    }
    remote_drop(r);
    return err;
}

static int open_device(unsigned index, struct cuda_device **ret_device)
{
    if (index >= VD_MAX_CUDA_DEVICES)
        return CUDA_ERROR_INVALID_DEVICE;
    devices[index].index = index;
    *ret_device = &devices[index];
    return CUDA_SUCCESS;
}

/* `ret_lost`: by the session's end. */
static int context_create_once(struct cuda_device *device, struct cuda_context **ret_context,
                               bool *ret_lost)
{
    struct vd_cuda_context_create_req req = {.device = device->index};
    struct vd_cuda_context_create_rep rep = {0};
    struct remote_context *c = calloc(1, sizeof(*c));
    struct remote *r = NULL;
    int err = c ? remote_get(&r) : CUDA_ERROR_OUT_OF_MEMORY;

    if (err)
        goto failed;
    c->remote = r;
    pthread_mutex_lock(&r->lock);
    while (c->slot < VD_MAX_CUDA_CONTEXTS && r->contexts[c->slot])
        c->slot++;
    if (c->slot < VD_MAX_CUDA_CONTEXTS)
        r->contexts[c->slot] = c;
    pthread_mutex_unlock(&r->lock);
    err = CUDA_ERROR_OUT_OF_MEMORY;
    if (c->slot == VD_MAX_CUDA_CONTEXTS)
        goto failed;
    req.context = c->slot;
    err = remote_call(r, VD_OP_cuda_context_create, &req, &rep, NULL, NULL);
    if (!err)
        err = (int)rep.result;
    if (!err) {
        *ret_context = &c->head;
        return CUDA_SUCCESS;
    }
    pthread_mutex_lock(&r->lock);
    r->contexts[c->slot] = NULL;
    pthread_mutex_unlock(&r->lock);
failed:
    *ret_lost = r && atomic_load(&r->dead);
    remote_drop(r);
    free(c);
    return err;
}

static int context_create(struct cuda_device *device, struct cuda_context **ret_context)
{
    bool lost = false;
    int err = context_create_once(device, ret_context, &lost);

    /* A worker may end with its last context, if that had a fault that its device does not get
     * over. */
    return err && lost ? context_create_once(device, ret_context, &lost) : err;
}

static void context_destroy(struct cuda_context *context)
{
    struct remote_context *c = (struct remote_context *)context;
    struct vd_cuda_context_destroy_req req = {.context = c->slot};
    struct remote *r = c->remote;

    /* All its work is over, as was waited for. */
    remote_land(r);
    remote_stamp_sweep(r);
    pthread_mutex_lock(&r->lock);
    remote_queue_sweep(r);
    pthread_mutex_unlock(&r->lock);
    remote_post(r, VD_OP_cuda_context_destroy, &req, sizeof(req));
    pthread_mutex_lock(&r->lock);
    r->contexts[c->slot] = NULL;
    pthread_mutex_unlock(&r->lock);
    remote_drop(r);
    free(c);
}

/* Where the executor has its memory no program's is. */
static bool is_apart(uint64_t address)
{
    return address >= (uint64_t)0x10 << 40 && address < (uint64_t)0x20 << 40;
}

/* Keeps addresses of a device that is like a process's own from being given to anybody here. */
static bool reserve(struct remote *r, uint64_t address, uint64_t size)
{
    void *want = (void *)(uintptr_t)address, *got;
    struct remote_reserved *one;

    if (is_apart(address))
        return true;
    one = malloc(sizeof(*one));
    if (!one)
        return false;
    got = mmap(want, size, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != want) {
        if (got != MAP_FAILED)
            munmap(got, size);
        free(one);
        return false;
    }
    pthread_mutex_lock(&r->lock);
    *one = (struct remote_reserved){r->reserved, address, size};
    r->reserved = one;
    pthread_mutex_unlock(&r->lock);
    return true;
}

void remote_unreserve(struct remote *r, uint64_t address)
{
    struct remote_reserved *found;

    if (is_apart(address))
        return;
    pthread_mutex_lock(&r->lock);
    for (struct remote_reserved **at = &r->reserved; (found = *at); at = &found->next)
        if (found->address == address) {
            *at = found->next;
            break;
        }
    pthread_mutex_unlock(&r->lock);
    if (found)
        munmap((void *)(uintptr_t)address, found->size);
    free(found);
}

static int memory_create_one(struct remote *r, unsigned device, uint32_t context, uint64_t size,
                             uint64_t *ret_address)
{
    struct vd_cuda_memory_create_req req = {.device = device, .context = context, .size = size};
    struct vd_cuda_memory_create_rep rep;
    int err = remote_call(r, VD_OP_cuda_memory_create, &req, &rep, NULL, NULL);

    if (!err)
        err = (int)rep.result;
    if (!err)
        *ret_address = rep.address;
    return err;
}

static void memory_destroy_one(struct remote *r, uint64_t address)
{
    struct vd_cuda_memory_destroy_req req = {.address = address};

    remote_post(r, VD_OP_cuda_memory_destroy, &req, sizeof(req));
}

static int memory_create(struct cuda_device *device, struct cuda_context *context, uint64_t size,
                         uint64_t *ret_address)
{
    const struct remote_context *c = (struct remote_context *)context;
    struct remote *r = remote_current();
    uint64_t taken[8];
    unsigned n = 0;
    int err = CUDA_ERROR_LAUNCH_FAILED;

    if (!r)
        return err;
    for (;;) {
        err = memory_create_one(r, device->index, c->slot, size, ret_address);
        if (err || reserve(r, *ret_address, size))
            break;
        /* Something of this process is there: another, while that one is kept. */
        taken[n++] = *ret_address;
        err = CUDA_ERROR_OUT_OF_MEMORY;
        if (n == 8)
            break;
    }
    while (n)
        memory_destroy_one(r, taken[--n]);
    return err;
}

static int memory_destroy(struct cuda_device *device, uint64_t address)
{
    struct remote *r = remote_current();

    (void)device;
    if (!r)
        return CUDA_SUCCESS;
    remote_unreserve(r, address);
    memory_destroy_one(r, address);
    return CUDA_SUCCESS;
}

static int host_create(uint64_t size, bool kernels, void **ret_memory)
{
    struct vd_cuda_memory_map_req req = {.size = size};
    struct vd_cuda_memory_map_rep rep = {0};
    struct remote *r = remote_current();
    struct remote_piece *p;
    int err;

    if (!r)
        return CUDA_ERROR_LAUNCH_FAILED;
    pthread_mutex_lock(&r->lock);
    p = remote_zone_take(&r->frames, size);
    pthread_mutex_unlock(&r->lock);
    if (!p)
        return CUDA_ERROR_OUT_OF_MEMORY;
    req.offset = p->offset;
    req.address = (uintptr_t)r->pinned + (p->offset - r->frames.offset);
    err = remote_call(r, VD_OP_cuda_memory_map, &req, &rep, NULL, NULL);
    p->mapped = !err && !rep.result;
    if (!err && rep.result && !kernels) {
        /* It is good for copies all the same. */
        log_warn("cuda: kernels cannot reach pinned memory here (the host's address is taken)");
    } else if (!err && rep.result) {
        err = CUDA_ERROR_NOT_SUPPORTED;
    }
    if (err) {
        pthread_mutex_lock(&r->lock);
        remote_zone_give(&r->frames, p);
        pthread_mutex_unlock(&r->lock);
        return err;
    }
    *ret_memory = (void *)(uintptr_t)req.address;
    return CUDA_SUCCESS;
}

static void host_destroy(void *memory, uint64_t size)
{
    struct vd_cuda_memory_unmap_req req = {.address = (uintptr_t)memory};
    struct remote *r;
    struct remote_piece *p;

    /* Also of a session that is lost: its memory is there as long as its contexts are. */
    pthread_mutex_lock(&current_lock);
    r = current;
    if (r)
        remote_hold(r);
    pthread_mutex_unlock(&current_lock);
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    p = remote_zone_find(&r->frames, r->frames.offset + (uint64_t)((uint8_t *)memory - r->pinned));
    pthread_mutex_unlock(&r->lock);
    if (p && p->mapped)
        remote_post(r, VD_OP_cuda_memory_unmap, &req, sizeof(req));
    if (p) {
        /* The next owner finds zeros. */
        madvise(memory, (size + 4095) / 4096 * 4096, MADV_REMOVE);
        pthread_mutex_lock(&r->lock);
        remote_zone_give(&r->frames, p);
        pthread_mutex_unlock(&r->lock);
    }
    remote_drop(r);
}

/* The host does not see this process's own memory. */
static int memory_map(void *memory, uint64_t size)
{
    (void)memory, (void)size;
    return CUDA_ERROR_NOT_SUPPORTED;
}

static int memory_map_as(void *memory, uint64_t size, uint64_t address)
{
    (void)memory, (void)size, (void)address;
    return CUDA_ERROR_NOT_SUPPORTED;
}

static void memory_unmap(uint64_t address)
{
    struct vd_cuda_memory_unmap_req req = {.address = address};
    struct remote *r = remote_current();

    if (r)
        remote_post(r, VD_OP_cuda_memory_unmap, &req, sizeof(req));
}

static int memory_import(int fd, uint64_t offset, void *memory, uint64_t size)
{
    struct vd_cuda_memory_import_req req = {
        .offset = offset, .size = size, .address = (uintptr_t)memory};
    struct vd_cuda_memory_import_rep rep;
    struct remote *r = remote_current();
    int err = r ? call_with(r, VD_OP_cuda_memory_import, &req, fd, &rep, NULL, NULL)
                : CUDA_ERROR_LAUNCH_FAILED;

    return err ? err : (int)rep.result;
}

static int memory_info(struct cuda_device *device, uint64_t *ret_free, uint64_t *ret_total)
{
    struct vd_cuda_memory_info_req req = {.device = device->index};
    struct vd_cuda_memory_info_rep rep;
    struct remote *r = remote_current();
    int err = r ? remote_call(r, VD_OP_cuda_memory_info, &req, &rep, NULL, NULL)
                : CUDA_ERROR_LAUNCH_FAILED;

    if (!err)
        err = (int)rep.result;
    if (!err) {
        *ret_free = rep.free;
        *ret_total = rep.total;
    }
    return err;
}

static int heap(struct cuda_device *device, uint64_t bytes)
{
    struct vd_cuda_heap_req req = {.device = device->index, .bytes = bytes};
    struct vd_cuda_heap_rep rep;
    struct remote *r = remote_current();
    int err =
        r ? remote_call(r, VD_OP_cuda_heap, &req, &rep, NULL, NULL) : CUDA_ERROR_LAUNCH_FAILED;

    return err ? err : (int)rep.result;
}

static void print(struct cuda_device *device)
{
    struct vd_cuda_print_req req = {.device = device->index};
    struct vd_cuda_print_rep rep;
    struct remote *r = remote_current();
    char *text;

    if (!r || !__atomic_load_n(&r->status->printed, __ATOMIC_ACQUIRE))
        return;
    text = malloc(VD_MAX_CUDA_TEXT * 8);
    while (text) {
        uint32_t words = 0;

        if (remote_call(r, VD_OP_cuda_print, &req, &rep, text, &words) || !rep.bytes ||
            rep.bytes > words * 8)
            break;
        fwrite(text, 1, rep.bytes, stdout);
    }
    fflush(stdout);
    free(text);
}

const struct cuda_backend cuda_backend_remote = {
    .name = "remote",
    .stages = true,
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
    .memory_import = memory_import,
    .memory_unmap = memory_unmap,
    .memory_destroy = memory_destroy,
    .memory_info = memory_info,
    .module_create = remote_module_create,
    .module_destroy = remote_module_destroy,
    .heap = heap,
    .queue_create = remote_queue_create,
    .queue_hold = remote_queue_hold,
    .queue_release = remote_queue_release,
    .submit = remote_queue_submit,
    .done = remote_queue_done,
    .wait = remote_queue_wait,
    .stamp_create = remote_stamp_create,
    .stamp_release = remote_stamp_release,
    .stamp_time = remote_stamp_time,
    .print = print,
};
