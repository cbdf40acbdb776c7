/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/dispatch.h>
#include <wire/log.h>
#include <wire/trace.h>

#include "fence.h"
#include "mirror.h"
#include "mirror_memory.h"
#include "mirror_words.h"

/* Small uploads wait for each other until so many bytes are there, or a message follows. */
#define MIRROR_BATCH (64u << 10)
/* Milliseconds to wait for the thread to leave a piece of memory. */
#define MIRROR_TRIES 1000

struct mirror_guest {
    struct message_reader *reader; /* the thread's */
    struct channel *channel;
    struct arena *arena;
    bool region; /* both sides see the arena: there are sleepers to wake, and nothing else */
    pthread_t thread;
    pthread_mutex_t send; /* whoever writes to the channel; `batch` */
    uint8_t *batch;
    size_t batched;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t replied;
    struct mirror_memory memory;
    uint32_t surfaces[VD_MAX_SURFACES], contexts[VD_MAX_CONTEXTS]; /* ids expected, by slot */
    uint8_t *reply;
    size_t reply_size, reply_room;
    bool has_reply, gone;
    int (*event)(void *arg, const struct dispatch_message *message); /* of others */
    void *event_arg;
};

static int apply_surface(struct mirror_guest *m, const struct vd_surface_event *e)
{
    uint32_t index = VD_SLOT(e->surface);
    struct vd_surface_slot *slot;

    if (index >= VD_MAX_SURFACES)
        return VD_ERR_PROTOCOL;
    pthread_mutex_lock(&m->lock);
    /* An older surface of this slot may have been complete when this one was made. */
    if (m->surfaces[index] == e->surface) {
        slot = &m->arena->status->surfaces[index];
        if (e->flags & VD_SURFACE_FRESH && !(e->flags & VD_SURFACE_PIXELS))
            mirror_memory_stale(&m->memory, index);
        slot->status = e->status;
        slot->errors = e->errors;
        fence_signal(&slot->done, &slot->waiters, e->done);
    }
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static int apply_context(struct mirror_guest *m, const struct vd_context_event *e)
{
    uint32_t index = VD_SLOT(e->context);
    struct vd_context_slot *slot;

    if (index >= VD_MAX_CONTEXTS)
        return VD_ERR_PROTOCOL;
    pthread_mutex_lock(&m->lock);
    if (m->contexts[index] == e->context) {
        slot = &m->arena->status->contexts[index];
        fence_signal(&slot->done, &slot->waiters, e->done);
    }
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static int apply_pixels(struct mirror_guest *m, const struct vd_pixels_event *e,
                        const uint8_t *bytes, uint64_t size)
{
    uint32_t index = VD_SLOT(e->surface);
    uint8_t *to = NULL;
    int err = 0;

    if (index >= VD_MAX_SURFACES)
        return VD_ERR_PROTOCOL;
    pthread_mutex_lock(&m->lock);
    if (m->surfaces[index] == e->surface)
        err = mirror_memory_fill(&m->memory, index, e->offset, size, e->size, &to);
    pthread_mutex_unlock(&m->lock);
    if (err || !to)
        return err;
    /* Only this thread fills, and what it writes to is given to nobody. */
    memcpy(to, bytes, size);
    pthread_mutex_lock(&m->lock);
    mirror_memory_filled(&m->memory, index, e->offset + size == e->size);
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static int apply_coded(struct mirror_guest *m, const struct vd_coded_event *e, const void *bytes,
                       uint64_t size)
{
    if (arena_check_upload(m->arena, e->offset, size))
        return VD_ERR_PROTOCOL;
    memcpy(m->arena->base + e->offset, bytes, size);
    return 0;
}

static int apply_other(struct mirror_guest *m, const struct dispatch_message *message)
{
    int (*event)(void *arg, const struct dispatch_message *message);
    void *arg;

    pthread_mutex_lock(&m->lock);
    event = m->event;
    arg = m->event_arg;
    pthread_mutex_unlock(&m->lock);
    return event ? event(arg, message) : VD_ERR_PROTOCOL;
}

static int apply_wake(struct mirror_guest *m, const struct vd_wake_event *e)
{
    if (e->offset % 64 || e->offset >= offsetof(struct vd_status_page, backings))
        return VD_ERR_PROTOCOL;
    fence_wake((uint32_t *)(void *)(m->arena->base + e->offset));
    return 0;
}

static int apply(struct mirror_guest *m, const struct dispatch_message *message)
{
    uint64_t size = (uint64_t)message->tail_count * sizeof(struct vd_word);

    if (m->region != (message->event->number == VD_EVENT_wake))
        return VD_ERR_PROTOCOL;
    switch (message->event->number) {
    case VD_EVENT_surface:
        return apply_surface(m, message->fixed);
    case VD_EVENT_context:
        return apply_context(m, message->fixed);
    case VD_EVENT_pixels:
        return apply_pixels(m, message->fixed, message->tail, size);
    case VD_EVENT_coded:
        return apply_coded(m, message->fixed, message->tail, size);
    case VD_EVENT_wake:
        return apply_wake(m, message->fixed);
    default:
        break;
    }
    return apply_other(m, message);
}

/* Keeps a reply for whoever waits: the reader's bytes change with the next message. */
static int keep_reply(struct mirror_guest *m, const void *bytes, size_t size)
{
    int err = 0;

    pthread_mutex_lock(&m->lock);
    if (size > m->reply_room) {
        uint8_t *grown = realloc(m->reply, size);

        if (grown) {
            m->reply = grown;
            m->reply_room = size;
        } else {
            err = VD_ERR_MEMORY;
        }
    }
    /* One call at a time: a second reply answers nothing. */
    if (!err && m->has_reply)
        err = VD_ERR_PROTOCOL;
    if (!err) {
        memcpy(m->reply, bytes, size);
        m->reply_size = size;
        m->has_reply = true;
        pthread_cond_signal(&m->replied);
    }
    pthread_mutex_unlock(&m->lock);
    return err;
}

static void *mirror_run(void *arg)
{
    struct mirror_guest *m = arg;
    int err;

    do {
        struct dispatch_message message;
        struct vd_header header;
        const uint8_t *bytes;
        size_t size;
        int fd = -1;

        err = message_read(m->reader, -1, &bytes, &size, &fd);
        if (fd >= 0)
            close(fd);
        if (err)
            break;
        memcpy(&header, bytes, sizeof(header));
        if (header.op & VD_REPLY) {
            err = keep_reply(m, bytes, size);
            continue;
        }
        if (trace_enabled())
            trace_message("<-", bytes, size);
        err = dispatch_check_event(bytes, size, &message);
        if (!err)
            err = apply(m, &message);
    } while (!err);
    if (err != VD_ERR_GONE)
        log_error("what the host sends is wrong: %s", errors_text(err));
    m->channel->ops->shut(m->channel);
    pthread_mutex_lock(&m->lock);
    m->gone = true;
    pthread_cond_broadcast(&m->replied);
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

static int create(struct message_reader *reader, struct arena *arena, bool region,
                  struct mirror_guest **ret_mirror)
{
    struct mirror_guest *m = calloc(1, sizeof(*m));
    pthread_condattr_t attr;
    int err = VD_ERR_MEMORY;

    if (!m)
        return VD_ERR_MEMORY;
    m->batch = malloc(MIRROR_BATCH);
    if (!m->batch)
        goto fail;
    m->reader = reader;
    m->channel = reader->channel;
    m->arena = arena;
    m->region = region;
    /* A region's frame memory is the host's to give. */
    if (!region)
        mirror_memory_init(&m->memory, arena);
    pthread_mutex_init(&m->send, NULL);
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->replied, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&m->thread, NULL, mirror_run, m))
        goto fail_thread;
    *ret_mirror = m;
    return 0;
fail_thread:
    pthread_cond_destroy(&m->replied);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->send);
    mirror_memory_finish(&m->memory);
fail:
    free(m->batch);
    free(m);
    return err;
}

void mirror_guest_watch(struct mirror_guest *m,
                        int (*event)(void *arg, const struct dispatch_message *message), void *arg)
{
    pthread_mutex_lock(&m->lock);
    m->event = event;
    m->event_arg = arg;
    pthread_mutex_unlock(&m->lock);
}

int mirror_guest_create(struct message_reader *reader, struct arena *arena,
                        struct mirror_guest **ret_mirror)
{
    return create(reader, arena, false, ret_mirror);
}

int mirror_guest_create_region(struct message_reader *reader, struct arena *arena,
                               struct mirror_guest **ret_mirror)
{
    return create(reader, arena, true, ret_mirror);
}

void mirror_guest_destroy(struct mirror_guest *m)
{
    if (!m)
        return;
    m->channel->ops->shut(m->channel);
    pthread_join(m->thread, NULL);
    pthread_cond_destroy(&m->replied);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->send);
    mirror_memory_finish(&m->memory);
    free(m->batch);
    free(m->reply);
    free(m);
}

bool mirror_guest_alive(struct mirror_guest *m)
{
    bool alive;

    pthread_mutex_lock(&m->lock);
    alive = !m->gone;
    pthread_mutex_unlock(&m->lock);
    return alive;
}

/* What waits in the batch; under `send`. */
static int flush(struct mirror_guest *m, int timeout_ms)
{
    struct iovec iov = {m->batch, m->batched};
    int err = m->batched ? m->channel->ops->send(m->channel, &iov, 1, -1, timeout_ms) : 0;

    m->batched = 0;
    return err;
}

int mirror_guest_flush(struct mirror_guest *m, int timeout_ms)
{
    int err;

    pthread_mutex_lock(&m->send);
    err = flush(m, timeout_ms);
    pthread_mutex_unlock(&m->send);
    return err;
}

int mirror_guest_put(struct mirror_guest *m, const void *bytes, size_t size, int timeout_ms)
{
    int err = 0;

    if (size > MIRROR_BATCH)
        return VD_ERR_PARAMETER;
    pthread_mutex_lock(&m->send);
    if (size > MIRROR_BATCH - m->batched)
        err = flush(m, timeout_ms);
    if (!err) {
        memcpy(m->batch + m->batched, bytes, size);
        m->batched += size;
    }
    pthread_mutex_unlock(&m->send);
    return err;
}

int mirror_guest_send(struct mirror_guest *m, uint32_t op, uint32_t serial, const void *fixed,
                      size_t fixed_size, const void *tail, uint32_t tail_count, size_t tail_element,
                      int timeout_ms)
{
    int err;

    pthread_mutex_lock(&m->send);
    err = flush(m, timeout_ms);
    if (!err)
        err = message_send(m->channel, op, serial, fixed, fixed_size, tail, tail_count,
                           tail_element, -1, timeout_ms);
    pthread_mutex_unlock(&m->send);
    return err;
}

int mirror_guest_reply(struct mirror_guest *m, int timeout_ms, const uint8_t **ret_bytes,
                       size_t *ret_size)
{
    struct timespec until;
    int err = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_mutex_lock(&m->lock);
    while (!m->has_reply && !m->gone && !err) {
        if (pthread_cond_timedwait(&m->replied, &m->lock, &until) == ETIMEDOUT)
            err = VD_ERR_TIMEOUT;
    }
    if (m->has_reply) {
        err = 0;
        m->has_reply = false;
        *ret_bytes = m->reply;
        *ret_size = m->reply_size;
    } else if (m->gone) {
        err = VD_ERR_GONE;
    }
    pthread_mutex_unlock(&m->lock);
    return err;
}

void mirror_guest_expect_surface(struct mirror_guest *m, uint32_t surface, uint64_t size)
{
    uint32_t index = VD_SLOT(surface);
    struct vd_surface_slot *slot = &m->arena->status->surfaces[index];

    pthread_mutex_lock(&m->lock);
    m->surfaces[index] = surface;
    mirror_memory_expect(&m->memory, index, size);
    slot->status = slot->errors = 0;
    __atomic_store_n(&slot->done, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&m->lock);
}

void mirror_guest_expect_context(struct mirror_guest *m, uint32_t context)
{
    uint32_t index = VD_SLOT(context);

    pthread_mutex_lock(&m->lock);
    m->contexts[index] = context;
    __atomic_store_n(&m->arena->status->contexts[index].done, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&m->lock);
}

void mirror_guest_forget(struct mirror_guest *m, uint32_t surface)
{
    uint32_t index = VD_SLOT(surface);

    pthread_mutex_lock(&m->lock);
    if (m->surfaces[index] == surface) {
        m->surfaces[index] = 0;
        mirror_memory_expect(&m->memory, index, 0);
    }
    pthread_mutex_unlock(&m->lock);
}

void mirror_guest_fix(struct mirror_guest *m, uint32_t surface, bool fixed)
{
    pthread_mutex_lock(&m->lock);
    if (m->surfaces[VD_SLOT(surface)] == surface)
        mirror_memory_fix(&m->memory, VD_SLOT(surface), fixed);
    pthread_mutex_unlock(&m->lock);
}

int mirror_guest_memory(struct mirror_guest *m, uint32_t surface)
{
    int err = VD_ERR_PARAMETER;

    pthread_mutex_lock(&m->lock);
    if (m->surfaces[VD_SLOT(surface)] == surface)
        err = mirror_memory_blank(&m->memory, VD_SLOT(surface));
    pthread_mutex_unlock(&m->lock);
    return err;
}

/* Under `lock`. -VD_ERR_BUSY: the mirror's thread writes to it. */
static int share(struct mirror_guest *m, uint32_t slot, int *ret_fd)
{
    uint32_t index = mirror_memory_piece(&m->memory, slot);
    struct mirror_piece *piece;
    int fd, err;

    if (index == VD_NO_BACKING)
        return VD_ERR_BUSY;
    piece = &m->memory.pieces[index];
    if (piece->dmabuf < 0) {
        err = m->channel->ops->share(m->channel, m->arena->base + piece->offset, piece->size, &fd);
        if (err)
            return err;
        mirror_memory_shared(&m->memory, index, fd);
    }
    *ret_fd = fcntl(piece->dmabuf, F_DUPFD_CLOEXEC, 3);
    return *ret_fd < 0 ? VD_ERR_LIMIT : 0;
}

int mirror_guest_share(struct mirror_guest *m, uint32_t surface, int *ret_fd)
{
    int err;

    if (!m->channel->ops->share)
        return VD_ERR_UNSUPPORTED;
    /* A picture on its way comes in pieces of MIRROR_PIECE: the thread is soon done with one. */
    for (int tries = 0; tries < MIRROR_TRIES; tries++) {
        pthread_mutex_lock(&m->lock);
        err = m->surfaces[VD_SLOT(surface)] == surface ? share(m, VD_SLOT(surface), ret_fd)
                                                       : VD_ERR_PARAMETER;
        pthread_mutex_unlock(&m->lock);
        if (err != VD_ERR_BUSY)
            return err;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return err;
}

bool mirror_guest_shared(struct mirror_guest *m, uint32_t backing)
{
    bool shared;

    pthread_mutex_lock(&m->lock);
    shared = backing < m->memory.count && m->memory.pieces[backing].dmabuf >= 0;
    pthread_mutex_unlock(&m->lock);
    return shared;
}

/* A message that waits for others; under `send`. */
static int put(struct mirror_guest *m, const struct vd_arena_write_req *req, const uint8_t *bytes,
               uint32_t size, int timeout_ms)
{
    struct vd_header header = mirror_words_header(VD_OP_arena_write, sizeof(*req), size);
    uint8_t *at;
    int err = 0;

    if (header.size > MIRROR_BATCH - m->batched)
        err = flush(m, timeout_ms);
    if (err)
        return err;
    at = m->batch + m->batched;
    m->batched += header.size;
    memcpy(at, &header, sizeof(header));
    memcpy(at + sizeof(header), req, sizeof(*req));
    at += sizeof(header) + sizeof(*req);
    memcpy(at, bytes, size);
    memset(at + size, 0, header.tail * (size_t)8 - size);
    return 0;
}

int mirror_guest_upload(struct mirror_guest *m, uint64_t offset, uint64_t size, int timeout_ms)
{
    uint64_t at = 0;
    int err = 0;

    pthread_mutex_lock(&m->send);
    while (at < size && !err) {
        uint32_t n = size - at < MIRROR_PIECE ? (uint32_t)(size - at) : MIRROR_PIECE;
        struct vd_arena_write_req req = {.offset = offset + at};
        const uint8_t *bytes = m->arena->base + req.offset;

        if (n <= MIRROR_BATCH / 2) {
            err = put(m, &req, bytes, n, timeout_ms);
        } else {
            err = flush(m, timeout_ms);
            if (!err)
                err = mirror_words_send(m->channel, VD_OP_arena_write, &req, sizeof(req), bytes, n,
                                        timeout_ms);
        }
        at += n;
    }
    pthread_mutex_unlock(&m->send);
    return err;
}

int mirror_guest_write(struct mirror_guest *m, uint32_t surface, const uint8_t *bytes,
                       uint64_t size, int timeout_ms)
{
    uint64_t at = 0;
    int err;

    pthread_mutex_lock(&m->send);
    err = flush(m, timeout_ms);
    while (at < size && !err) {
        uint32_t n = size - at < MIRROR_PIECE ? (uint32_t)(size - at) : MIRROR_PIECE;
        struct vd_surface_write_req req = {.surface = surface, .offset = (uint32_t)at};

        err = mirror_words_send(m->channel, VD_OP_surface_write, &req, sizeof(req), bytes + at, n,
                                timeout_ms);
        at += n;
    }
    pthread_mutex_unlock(&m->send);
    return err;
}
