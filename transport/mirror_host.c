/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "mirror.h"
#include "mirror_words.h"

/* A guest that does not read for this long is given up, as with replies. */
#define MIRROR_SEND_MS 10000
/*
 * Whether a picture's pixels are sent unasked: each that was mapped counts up, each that was not
 * counts down. One of MIRROR_SAMPLE is held back, to see whether they are still wanted.
 */
#define MIRROR_MAPPED 4
#define MIRROR_EAGER  2
#define MIRROR_SAMPLE 16

struct mirror_slot {
    uint32_t id;
    bool listed; /* in `dirty` of the mirror */
    bool dirty;  /* `picture` is not sent yet */
    bool fixed;
    bool unseen; /* its last picture went without pixels, and nobody asked */
    uint8_t score, sample;
    struct mirror_picture picture;
};

struct mirror_range {
    uint64_t offset;
    uint32_t size;
};

struct mirror_host {
    struct channel *channel;
    struct arena *arena;
    void (*release)(void *hold);
    pthread_t thread;
    /*
     * `send` covers taking what is to be sent and sending it, so the order on the wire is that of
     * taking. `lock` covers all below, and is never held while something is sent.
     */
    pthread_mutex_t send, lock;
    pthread_cond_t wake;
    bool quit, broken;
    struct mirror_slot surfaces[VD_MAX_SURFACES];
    uint32_t dirty[VD_MAX_SURFACES], dirty_count; /* slots, in the order they became so */
    struct vd_context_event contexts[VD_MAX_CONTEXTS];
    uint64_t dirty_contexts; /* bits by slot */
    struct mirror_range *ranges;
    uint32_t range_count, range_room;
    /* What is being sent; under `send`. */
    uint32_t taken[VD_MAX_SURFACES];
    struct mirror_range *sending;
    uint32_t sending_room;
};

static bool mirror_idle(const struct mirror_host *m)
{
    return !m->dirty_count && !m->dirty_contexts && !m->range_count;
}

/* Under `send`. */
static int send_event(struct mirror_host *m, uint32_t op, const void *fixed, size_t size)
{
    return message_send(m->channel, op, 0, fixed, size, NULL, 0, 0, -1, MIRROR_SEND_MS);
}

static int send_pixels(struct mirror_host *m, uint32_t surface, const uint8_t *bytes, uint32_t size)
{
    struct vd_pixels_event event = {.surface = surface, .size = (size + 7u) & ~7u};
    uint32_t at = 0;
    int err = 0;

    while (at < size && !err) {
        uint32_t n = size - at < MIRROR_PIECE ? size - at : MIRROR_PIECE;

        event.offset = at;
        err = mirror_words_send(m->channel, VD_EVENT_pixels, &event, sizeof(event), bytes + at, n,
                                MIRROR_SEND_MS);
        at += n;
    }
    return err;
}

static int send_coded(struct mirror_host *m, const struct mirror_range *range)
{
    struct vd_coded_event event;
    uint32_t at = 0;
    int err = 0;

    while (at < range->size && !err) {
        uint32_t n = range->size - at < MIRROR_PIECE ? range->size - at : MIRROR_PIECE;

        event.offset = range->offset + at;
        err = mirror_words_send(m->channel, VD_EVENT_coded, &event, sizeof(event),
                                m->arena->base + event.offset, n, MIRROR_SEND_MS);
        at += n;
    }
    return err;
}

static int send_picture(struct mirror_host *m, const struct mirror_picture *p)
{
    struct vd_surface_event event = {
        .surface = p->surface,
        .done = p->done,
        .status = p->status,
        .errors = p->errors,
        .flags = (p->fresh ? VD_SURFACE_FRESH : 0) | (p->bytes ? VD_SURFACE_PIXELS : 0),
    };
    int err = p->bytes ? send_pixels(m, p->surface, p->bytes, p->size) : 0;

    return err ? err : send_event(m, VD_EVENT_surface, &event, sizeof(event));
}

/* Takes the picture of a dirty slot; under both locks. */
static struct mirror_picture take_picture(struct mirror_slot *slot)
{
    struct mirror_picture picture = slot->picture;

    slot->dirty = false;
    slot->picture = (struct mirror_picture){.surface = slot->id};
    return picture;
}

static int send_and_release(struct mirror_host *m, const struct mirror_picture *picture)
{
    int err = send_picture(m, picture);

    if (picture->hold)
        m->release(picture->hold);
    return err;
}

/*
 * Sends all there is: coded bytes and contexts are taken together, so a context is never ahead of
 * what it wrote; its surfaces were published before it was.
 */
static int send_round(struct mirror_host *m)
{
    struct vd_context_event contexts[VD_MAX_CONTEXTS];
    uint32_t context_count = 0, range_count, room, taken;
    struct mirror_range *ranges;
    int err = 0;

    pthread_mutex_lock(&m->lock);
    taken = m->dirty_count;
    memcpy(m->taken, m->dirty, taken * sizeof(m->taken[0]));
    for (uint32_t i = 0; i < taken; i++)
        m->surfaces[m->taken[i]].listed = false;
    m->dirty_count = 0;
    for (uint64_t bits = m->dirty_contexts; bits; bits &= bits - 1)
        contexts[context_count++] = m->contexts[__builtin_ctzll(bits)];
    m->dirty_contexts = 0;
    /* The two lists change places: neither is allocated in the steady state. */
    ranges = m->ranges;
    range_count = m->range_count;
    room = m->range_room;
    m->ranges = m->sending;
    m->range_room = m->sending_room;
    m->range_count = 0;
    m->sending = ranges;
    m->sending_room = room;
    pthread_mutex_unlock(&m->lock);
    for (uint32_t i = 0; i < range_count && !err; i++)
        err = send_coded(m, &ranges[i]);
    for (uint32_t i = 0; i < taken; i++) {
        struct mirror_slot *slot = &m->surfaces[m->taken[i]];
        struct mirror_picture picture;
        bool dirty;

        pthread_mutex_lock(&m->lock);
        dirty = slot->dirty;
        picture = take_picture(slot);
        pthread_mutex_unlock(&m->lock);
        if (!dirty)
            continue;
        if (!err)
            err = send_and_release(m, &picture);
        else if (picture.hold)
            m->release(picture.hold);
    }
    for (uint32_t i = 0; i < context_count && !err; i++)
        err = send_event(m, VD_EVENT_context, &contexts[i], sizeof(contexts[i]));
    return err;
}

static void *mirror_run(void *arg)
{
    struct mirror_host *m = arg;

    for (;;) {
        int err;

        pthread_mutex_lock(&m->lock);
        while (!m->quit && mirror_idle(m))
            pthread_cond_wait(&m->wake, &m->lock);
        if (m->quit) {
            pthread_mutex_unlock(&m->lock);
            return NULL;
        }
        pthread_mutex_unlock(&m->lock);
        pthread_mutex_lock(&m->send);
        err = send_round(m);
        pthread_mutex_unlock(&m->send);
        if (err) {
            if (err != VD_ERR_GONE)
                log_warn("nothing reaches the client any more: %s", errors_text(err));
            /* The session's thread sees the end of the channel. */
            m->channel->ops->shut(m->channel);
            pthread_mutex_lock(&m->lock);
            m->broken = true;
            pthread_mutex_unlock(&m->lock);
            return NULL;
        }
    }
}

int mirror_host_create(struct channel *channel, struct arena *arena, void (*release)(void *hold),
                       struct mirror_host **ret_mirror)
{
    struct mirror_host *m = calloc(1, sizeof(*m));

    if (!m)
        return VD_ERR_MEMORY;
    m->channel = channel;
    m->arena = arena;
    m->release = release;
    pthread_mutex_init(&m->send, NULL);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->wake, NULL);
    if (pthread_create(&m->thread, NULL, mirror_run, m)) {
        pthread_cond_destroy(&m->wake);
        pthread_mutex_destroy(&m->lock);
        pthread_mutex_destroy(&m->send);
        free(m);
        return VD_ERR_MEMORY;
    }
    *ret_mirror = m;
    return 0;
}

void mirror_host_destroy(struct mirror_host *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->quit = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
    m->channel->ops->shut(m->channel);
    pthread_join(m->thread, NULL);
    for (uint32_t i = 0; i < VD_MAX_SURFACES; i++) {
        if (m->surfaces[i].picture.hold)
            m->release(m->surfaces[i].picture.hold);
    }
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->send);
    free(m->ranges);
    free(m->sending);
    free(m);
}

int mirror_host_reply(struct mirror_host *m, uint32_t op, uint32_t serial, const void *fixed,
                      size_t fixed_size, const void *tail, uint32_t tail_count, size_t tail_element)
{
    int err;

    pthread_mutex_lock(&m->send);
    err = message_send(m->channel, op, serial, fixed, fixed_size, tail, tail_count, tail_element,
                       -1, MIRROR_SEND_MS);
    pthread_mutex_unlock(&m->send);
    return err;
}

int mirror_host_write(struct mirror_host *m, const void *bytes, size_t size)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, size};
    int err;

    pthread_mutex_lock(&m->send);
    err = m->channel->ops->send(m->channel, &iov, 1, -1, MIRROR_SEND_MS);
    pthread_mutex_unlock(&m->send);
    return err;
}

int mirror_host_bytes(struct mirror_host *m, uint32_t op, const void *fixed, size_t fixed_size,
                      const uint8_t *bytes, uint32_t size)
{
    int err;

    pthread_mutex_lock(&m->send);
    err = mirror_words_send(m->channel, op, fixed, fixed_size, bytes, size, MIRROR_SEND_MS);
    pthread_mutex_unlock(&m->send);
    return err;
}

void *mirror_host_reset(struct mirror_host *m, uint32_t surface)
{
    struct mirror_slot *slot = &m->surfaces[VD_SLOT(surface)];
    void *hold;

    pthread_mutex_lock(&m->lock);
    hold = slot->picture.hold;
    *slot = (struct mirror_slot){.id = surface, .listed = slot->listed};
    pthread_mutex_unlock(&m->lock);
    return hold;
}

void mirror_host_fix(struct mirror_host *m, uint32_t surface, bool fixed)
{
    pthread_mutex_lock(&m->lock);
    m->surfaces[VD_SLOT(surface)].fixed = fixed;
    pthread_mutex_unlock(&m->lock);
}

bool mirror_host_wants(struct mirror_host *m, uint32_t surface)
{
    struct mirror_slot *slot = &m->surfaces[VD_SLOT(surface)];
    bool wants;

    pthread_mutex_lock(&m->lock);
    wants = slot->fixed || (slot->score >= MIRROR_EAGER && ++slot->sample % MIRROR_SAMPLE);
    pthread_mutex_unlock(&m->lock);
    return wants;
}

void *mirror_host_picture(struct mirror_host *m, const struct mirror_picture *picture)
{
    struct mirror_slot *slot = &m->surfaces[VD_SLOT(picture->surface)];
    void *hold = picture->hold;

    pthread_mutex_lock(&m->lock);
    if (slot->id == picture->surface && !m->broken) {
        struct mirror_picture next = *picture;

        hold = slot->picture.hold;
        if (picture->fresh) {
            if (slot->unseen && slot->score)
                slot->score--;
            slot->unseen = !picture->bytes;
        } else {
            /* The picture that the surface holds is still to be sent. */
            next.fresh = slot->picture.fresh;
            next.bytes = slot->picture.bytes;
            next.size = slot->picture.size;
            next.hold = slot->picture.hold;
            hold = NULL;
        }
        slot->picture = next;
        if (!slot->listed)
            m->dirty[m->dirty_count++] = VD_SLOT(picture->surface);
        slot->listed = slot->dirty = true;
        pthread_cond_signal(&m->wake);
    }
    pthread_mutex_unlock(&m->lock);
    return hold;
}

void mirror_host_context(struct mirror_host *m, uint32_t context, uint32_t done)
{
    uint32_t slot = VD_SLOT(context);

    _Static_assert(VD_MAX_CONTEXTS <= 64, "slots are bits");
    pthread_mutex_lock(&m->lock);
    m->contexts[slot] = (struct vd_context_event){.context = context, .done = done};
    m->dirty_contexts |= UINT64_C(1) << slot;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
}

void mirror_host_coded(struct mirror_host *m, uint64_t offset, uint32_t size)
{
    pthread_mutex_lock(&m->lock);
    if (m->range_count == m->range_room) {
        uint32_t room = m->range_room ? 2 * m->range_room : 64;
        struct mirror_range *grown = realloc(m->ranges, room * sizeof(*grown));

        if (grown) {
            m->ranges = grown;
            m->range_room = room;
        }
    }
    /* Without room the guest keeps the head that says that nothing was encoded. */
    if (m->range_count < m->range_room && !m->broken)
        m->ranges[m->range_count++] = (struct mirror_range){offset, size};
    pthread_mutex_unlock(&m->lock);
}

int mirror_host_pixels(struct mirror_host *m, uint32_t surface, const uint8_t *bytes, uint32_t size)
{
    struct mirror_slot *slot = &m->surfaces[VD_SLOT(surface)];
    struct mirror_picture picture;
    bool dirty;
    int err = 0;

    pthread_mutex_lock(&m->send);
    pthread_mutex_lock(&m->lock);
    slot->unseen = false;
    if (slot->score < MIRROR_MAPPED)
        slot->score = slot->score + 2 < MIRROR_MAPPED ? slot->score + 2 : MIRROR_MAPPED;
    dirty = slot->dirty;
    /* The completion first, or the guest would think that these pixels are older. */
    picture = take_picture(slot);
    pthread_mutex_unlock(&m->lock);
    if (dirty) {
        picture.bytes = NULL;
        err = send_and_release(m, &picture);
    }
    if (!err)
        err = send_pixels(m, surface, bytes, size);
    pthread_mutex_unlock(&m->send);
    return err;
}
