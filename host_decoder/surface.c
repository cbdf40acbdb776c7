/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/mman.h>
#include <transport/fence.h>
#include <transport/memory.h>
#include <transport/mirror.h>
#include <viaduct/errors.h>

#include "pool_private.h"

/*
 * Pictures on a device are brought into the arena when the guest maps them. If it maps nearly all,
 * doing so at once saves a round trip each. Each picture that was mapped counts up to POOL_MAPPED,
 * each that was not counts down; from POOL_EAGER on they are fetched when they are complete, but
 * one of POOL_SAMPLE, which shows whether that is still wanted.
 */
#define POOL_MAPPED 16
#define POOL_EAGER  12
#define POOL_SAMPLE 16

int surface_create(struct pool *pool, uint32_t id, const struct format_info *format, uint32_t width,
                   uint32_t height, struct surface **ret_surface)
{
    struct vd_surface_slot *slot = &pool->arena->status->surfaces[VD_SLOT(id)];
    struct surface *surface = calloc(1, sizeof(*surface));
    int err;

    if (!surface)
        return VD_ERR_MEMORY;
    err = format_layout(format, width, height, &surface->layout);
    if (err) {
        free(surface);
        return err;
    }
    surface->pool = pool;
    surface->id = id;
    surface->format = format;
    surface->width = width;
    surface->height = height;
    surface->refs = 1;
    slot->status = 0;
    slot->errors = 0;
    slot->backing = VD_NO_BACKING;
    __atomic_store_n(&slot->done, 0, __ATOMIC_RELEASE);
    *ret_surface = surface;
    return 0;
}

struct surface *surface_ref(struct surface *surface)
{
    pthread_mutex_lock(&surface->pool->lock);
    surface->refs++;
    pthread_mutex_unlock(&surface->pool->lock);
    return surface;
}

struct device_frame *device_frame_ref(struct device_frame *frame)
{
    atomic_fetch_add(&frame->refs, 1);
    return frame;
}

void device_frame_unref(struct device_frame **ref)
{
    struct device_frame *frame = *ref;

    *ref = NULL;
    if (frame && atomic_fetch_sub(&frame->refs, 1) == 1)
        frame->ops->free(frame);
}

void surface_unref(struct surface **ref)
{
    struct surface *surface = *ref;
    int refs;

    *ref = NULL;
    if (!surface)
        return;
    pthread_mutex_lock(&surface->pool->lock);
    refs = --surface->refs;
    if (!refs && surface->current)
        surface->current->refs--;
    pthread_mutex_unlock(&surface->pool->lock);
    if (refs)
        return;
    device_frame_unref(&surface->frame);
    device_frame_unref(&surface->exported);
    device_frame_unref(&surface->native);
    if (surface->external)
        munmap(surface->external, surface->external_layout.size);
    free(surface);
}

void surface_set_native(struct surface *surface, struct device_frame *native)
{
    struct device_frame *old;

    pthread_mutex_lock(&surface->pool->lock);
    old = surface->native;
    surface->native = native;
    surface->native_current = false;
    pthread_mutex_unlock(&surface->pool->lock);
    device_frame_unref(&old);
}

int surface_import(struct surface *surface, int fd, const struct vd_surface_import_req *req)
{
    void *bytes;
    int err;

    /* From the first picture on the context's thread reads what is set here. */
    if (surface->external || surface->submitted || req->planes != surface->format->planes ||
        req->size > VD_MAX_IMPORT_BYTES || memory_check(fd, req->size))
        return VD_ERR_PARAMETER;
    err = format_layout_given(surface->format, surface->width, surface->height, req->pitch,
                              req->offset, req->size, &surface->external_layout);
    if (err)
        return err;
    bytes = mmap(NULL, req->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        return VD_ERR_MEMORY;
    surface->external = bytes;
    return 0;
}

void surface_retire(struct surface *surface)
{
    pthread_mutex_lock(&surface->pool->lock);
    surface->destroyed = true;
    pthread_mutex_unlock(&surface->pool->lock);
}

/* Sequence numbers wrap. */
static bool later(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

/* Binds a backing (reference taken) and tells the guest where it is. */
static void bind_locked(struct surface *surface, struct backing *backing)
{
    struct pool *pool = surface->pool;

    if (backing != surface->current) {
        backing->refs++;
        if (surface->current)
            surface->current->refs--;
        surface->current = backing;
    }
    if (!surface->destroyed)
        pool->arena->status->surfaces[VD_SLOT(surface->id)].backing = backing->index;
}

/* The surface's picture lies in no memory of the arena. */
static void unbind_locked(struct surface *surface)
{
    if (surface->current)
        surface->current->refs--;
    surface->current = NULL;
    if (!surface->destroyed)
        surface->pool->arena->status->surfaces[VD_SLOT(surface->id)].backing = VD_NO_BACKING;
}

/* Counts whether a picture of a device was mapped. */
static void count_mapped(struct pool *pool, bool mapped)
{
    if (mapped && pool->mapped < POOL_MAPPED)
        pool->mapped++;
    else if (!mapped)
        pool->mapped = pool->mapped > 4 ? pool->mapped - 4 : 0;
}

/* The picture is elsewhere from now on: the frame that held it, to be dropped without the lock. */
static struct device_frame *take_frame(struct surface *surface)
{
    struct device_frame *frame = surface->frame;

    surface->frame = NULL;
    return frame;
}

int surface_bring(struct surface *surface, struct device_frame *frame, struct backing **backing)
{
    int err = *backing ? 0 : pool_get(surface, backing);

    if (!err)
        err = frame->ops->fetch(frame, surface, (*backing)->bytes);
    if (err)
        pool_unref(backing);
    return err;
}

/* The guest wants to see a picture that lies on a device. */
static int back_from_device(struct surface *surface, struct device_frame *frame)
{
    struct device_frame *old = NULL;
    struct backing *backing = NULL;
    int err = surface_bring(surface, frame, &backing);

    pthread_mutex_lock(&surface->pool->lock);
    /* A guest that does not wait may have a newer picture by now: that one counts. */
    if (!err && surface->frame == frame) {
        count_mapped(surface->pool, true);
        bind_locked(surface, backing);
        old = take_frame(surface);
    }
    pthread_mutex_unlock(&surface->pool->lock);
    device_frame_unref(&old);
    pool_unref(&backing);
    return err;
}

int surface_back(struct surface *surface, uint32_t *ret_index)
{
    struct device_frame *frame;
    struct backing *backing;
    int err = 0;

    pthread_mutex_lock(&surface->pool->lock);
    frame = surface->frame ? device_frame_ref(surface->frame) : NULL;
    pthread_mutex_unlock(&surface->pool->lock);
    if (frame)
        err = back_from_device(surface, frame);
    device_frame_unref(&frame);
    pthread_mutex_lock(&surface->pool->lock);
    if (!err && !surface->current) {
        err = pool_get_locked(surface, &backing);
        if (!err) {
            /* Recycled memory holds an older picture of this client. */
            arena_discard(surface->pool->arena, backing->offset, backing->size);
            bind_locked(surface, backing);
            backing->refs--;
        }
    }
    if (!err)
        *ret_index = surface->current->index;
    pthread_mutex_unlock(&surface->pool->lock);
    return err;
}

struct backing *surface_current(struct surface *surface)
{
    struct backing *backing;

    pthread_mutex_lock(&surface->pool->lock);
    backing = surface->current;
    if (backing)
        backing->refs++;
    pthread_mutex_unlock(&surface->pool->lock);
    return backing;
}

/* Picture `sequence` is bound, or will never be: those who wait for it, or an older one, go on. */
static void settle_locked(struct surface *surface, uint32_t sequence, int status)
{
    struct surface_read **at = &surface->reads;

    if (later(sequence, surface->bound))
        surface->bound = sequence;
    while (*at) {
        struct surface_read *read = *at;

        if (later(read->sequence, sequence)) {
            at = &read->next;
            continue;
        }
        *at = read->next;
        surface_read_take(read, status);
    }
}

/* The same for a guest that does not see the status page. `fresh`: the surface has another picture.
 */
static void mirror_locked(struct surface *surface, const struct vd_surface_slot *slot, bool fresh)
{
    struct mirror_host *mirror = surface->pool->arena->mirror;
    struct mirror_picture picture = {
        .surface = surface->id,
        .done = slot->done,
        .status = slot->status,
        .errors = slot->errors,
        .fresh = fresh,
    };
    struct backing *old;

    if (fresh && surface->current && mirror_host_wants(mirror, surface->id)) {
        surface->current->refs++;
        picture.bytes = surface->current->bytes;
        picture.size = (uint32_t)surface->layout.size;
        picture.hold = surface->current;
        __atomic_add_fetch(&surface->pool->arena->status->mapped, 1, __ATOMIC_RELAXED);
    }
    old = mirror_host_picture(mirror, &picture);
    if (old)
        old->refs--;
}

/* Tells the guest that a picture is complete. */
static void publish_locked(struct surface *surface, uint32_t sequence, int status, uint32_t errors,
                           bool fresh)
{
    struct vd_surface_slot *slot = &surface->pool->arena->status->surfaces[VD_SLOT(surface->id)];

    /* Contexts that share a surface may complete out of order: `done` never goes back. */
    if (surface->destroyed || !later(sequence, surface->published))
        return;
    surface->published = sequence;
    slot->status = (uint32_t)-status;
    slot->errors = errors;
    arena_signal(surface->pool->arena, &slot->done, &slot->waiters, sequence);
    if (surface->pool->arena->mirror)
        mirror_locked(surface, slot, fresh);
}

/* Set once, before the first picture. */
static void copy_external(struct surface *surface, const struct backing *backing)
{
    if (backing && surface->external)
        format_copy(surface->format, surface->width, surface->height, surface->external,
                    &surface->external_layout, backing->bytes, &surface->layout);
}

/* What others have of the surface, with a reference, or NULL. */
static struct device_frame *exported(struct surface *surface)
{
    struct device_frame *frame;

    pthread_mutex_lock(&surface->pool->lock);
    frame = surface->exported ? device_frame_ref(surface->exported) : NULL;
    pthread_mutex_unlock(&surface->pool->lock);
    return frame;
}

/* A picture that was decoded elsewhere, to the memory that others have. */
static int copy_exported(struct surface *surface, const struct backing *backing)
{
    struct device_frame *to = backing ? exported(surface) : NULL;
    int err = to ? to->ops->store(to, surface, backing->bytes) : 0;

    device_frame_unref(&to);
    return err;
}

int surface_export(struct surface *surface, uint32_t flags, uint32_t object,
                   struct device_export *ret_export)
{
    struct device_frame *frame = exported(surface);
    struct backing *backing = NULL;
    bool fresh = !frame;
    int err = 0;

    pthread_mutex_lock(&surface->pool->lock);
    if (fresh && surface->native && surface->native->ops->export) {
        frame = device_frame_ref(surface->native);
        /* What is in it is older, or nothing yet, and no picture on its way will be there. */
        if (!surface->native_current && surface->bound == surface->written) {
            backing = surface->current;
            if (backing)
                backing->refs++;
        }
    }
    pthread_mutex_unlock(&surface->pool->lock);
    if (!frame)
        return VD_ERR_UNSUPPORTED;
    if (backing)
        err = frame->ops->store(frame, surface, backing->bytes);
    if (!err)
        err = frame->ops->export(frame, surface, flags, object, ret_export);
    if (!err && fresh) {
        pthread_mutex_lock(&surface->pool->lock);
        surface->exported = device_frame_ref(frame);
        pthread_mutex_unlock(&surface->pool->lock);
    }
    pool_unref(&backing);
    device_frame_unref(&frame);
    return err;
}

void surface_complete(struct surface *surface, uint32_t sequence, struct backing *backing,
                      int status, uint32_t errors)
{
    struct device_frame *old = NULL;
    int err = copy_exported(surface, backing);

    if (err && !status)
        status = err;
    copy_external(surface, backing);
    pthread_mutex_lock(&surface->pool->lock);
    if (backing && !later(surface->bound, sequence)) {
        surface->native_current = false;
        bind_locked(surface, backing);
        old = take_frame(surface);
    }
    settle_locked(surface, sequence, status);
    publish_locked(surface, sequence, status, errors, true);
    pthread_mutex_unlock(&surface->pool->lock);
    device_frame_unref(&old);
}

void surface_complete_use(struct surface *surface, uint32_t sequence, int status)
{
    pthread_mutex_lock(&surface->pool->lock);
    publish_locked(surface, sequence, status, 0, false);
    pthread_mutex_unlock(&surface->pool->lock);
}

void surface_give_up(struct surface *surface, uint32_t sequence)
{
    pthread_mutex_lock(&surface->pool->lock);
    settle_locked(surface, sequence, VD_ERR_GONE);
    pthread_mutex_unlock(&surface->pool->lock);
}

/* Whether a picture is to be fetched although nobody asked for it yet. */
static bool eager(struct pool *pool)
{
    bool fetch;

    pthread_mutex_lock(&pool->lock);
    fetch = pool->mapped >= POOL_EAGER && ++pool->fetches % POOL_SAMPLE;
    pthread_mutex_unlock(&pool->lock);
    return fetch;
}

void surface_complete_device(struct surface *surface, uint32_t sequence, struct device_frame *frame,
                             bool fixed, bool now, int status, uint32_t errors)
{
    struct backing *backing = NULL;
    struct device_frame *old = NULL;
    struct device_frame *others = exported(surface);
    bool wanted = fixed || surface->external || (others && others != frame);

    if (frame && (wanted || now || eager(surface->pool))) {
        int err;

        if (fixed)
            backing = surface_current(surface);
        err = surface_bring(surface, frame, &backing);
        if (!err && others && others != frame)
            err = copy_exported(surface, backing);
        if (err && wanted) {
            status = status ? status : err;
            frame = NULL;
        }
        copy_external(surface, backing);
    }
    pthread_mutex_lock(&surface->pool->lock);
    if (later(surface->bound, sequence)) {
        if (backing)
            backing->refs--;
        backing = NULL;
        frame = NULL;
    }
    if (frame) {
        surface->native_current = frame == surface->native;
        old = take_frame(surface);
        if (old)
            count_mapped(surface->pool, false);
    }
    if (backing) {
        bind_locked(surface, backing);
    } else if (frame) {
        surface->frame = device_frame_ref(frame);
        unbind_locked(surface);
    }
    settle_locked(surface, sequence, status);
    publish_locked(surface, sequence, status, errors, true);
    pthread_mutex_unlock(&surface->pool->lock);
    device_frame_unref(&others);
    device_frame_unref(&old);
    pool_unref(&backing);
}
