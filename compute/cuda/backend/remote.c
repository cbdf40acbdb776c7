/* SPDX-License-Identifier: MIT */
#include "remote.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <transport/fence.h>
#include <viaduct/errors.h>
#include <wire/dispatch.h>
#include <wire/log.h>
#include <wire/trace.h>

/* The session: its life, calls and the ring. */

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
    remote_mirror_finish(r);
    for (struct remote_staged *s = r->staged_idle, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    remote_memory_finish(r);
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

/* With `call`: sends a question, reads what is answered. */
static int exchange(struct remote *r, const struct dispatch_call *call, const void *req,
                    int send_fd, const uint8_t **ret_bytes, size_t *ret_size, int *ret_fd)
{
    struct host *host = r->host;
    int err;

    if (!++host->serial)
        host->serial = 1;
    if (r->pump) {
        remote_mirror_drain(r);
        err = mirror_guest_send(host->mirror, call->number, host->serial, req, call->req->size,
                                NULL, 0, 0, REMOTE_CALL_MS);
        return err ? err : mirror_guest_reply(host->mirror, REMOTE_CALL_MS, ret_bytes, ret_size);
    }
    pthread_mutex_lock(&r->send);
    err = message_send(host->channel, call->number, host->serial, req, call->req->size, NULL, 0, 0,
                       send_fd, HOST_CALL_MS);
    pthread_mutex_unlock(&r->send);
    return err ? err : message_read(&host->reader, REMOTE_CALL_MS, ret_bytes, ret_size, ret_fd);
}

int remote_call_fd(struct remote *r, uint32_t op, const void *req, int send_fd, void *rep,
                   void *ret_tail, uint32_t *ret_count)
{
    const struct dispatch_call *call = dispatch_find(op);
    struct dispatch_message message;
    const uint8_t *bytes;
    size_t size;
    int fd = -1, err;

    pthread_mutex_lock(&r->call);
    err = atomic_load(&r->dead) ? VD_ERR_GONE : 0;
    if (!err)
        err = exchange(r, call, req, send_fd, &bytes, &size, &fd);
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
    return remote_call_fd(r, op, req, -1, rep, ret_tail, ret_count);
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

        if (r->pump) {
            remote_mirror_wake(r);
            return 0;
        }
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
    if (r->pump || !base || base % 4096 || base > UINTPTR_MAX / 2)
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
    if (r->host->arena.upload_size < 2 * status)
        goto out;
    r->status = (struct vd_cuda_status *)(r->host->arena.base + r->host->arena.upload_offset);
    remote_zone_init(&r->staging, r->host->arena.upload_offset + status,
                     r->host->arena.upload_size - status, 64);
    if (r->host->mirror) {
        err = remote_mirror_start(r);
        if (err)
            goto out;
        err = VD_ERR_PROTOCOL;
    }
    if (remote_call(r, VD_OP_cuda_open, &req, &rep, r->devices, &r->device_count))
        goto out;
    r->apart = r->pump;
    for (unsigned i = 0; i < r->device_count; i++)
        r->apart = r->apart || r->devices[i].flags & VD_CUDA_DEVICE_APART;
    remote_zone_init(&r->frames, r->host->arena.frame_offset, r->host->arena.frame_size, 4096);
    map_frames(r, rep.base);
    *ret_remote = r;
    return 0;
out:
    if (err == VD_ERR_UNSUPPORTED)
        log_info("cuda: the host serves no CUDA");
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

struct remote *remote_latest(void)
{
    struct remote *r;

    pthread_mutex_lock(&current_lock);
    r = current;
    if (r)
        remote_hold(r);
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

int remote_find(bool quiet, struct remote **ret_remote)
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
    return remote_find(false, ret_remote) ? CUDA_ERROR_DEVICE_UNAVAILABLE : CUDA_SUCCESS;
}
