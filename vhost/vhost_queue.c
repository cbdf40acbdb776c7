/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <wire/log.h>

#include "vhost_private.h"

/*
 * Split virtqueues (virtio 1.2, 2.7). The rings are in guest memory: each value is read once, into
 * a variable of ours, and that is checked and used.
 */

/* The driver's index, and what it wrote before it. */
static uint16_t load_index(const uint16_t *at)
{
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static uint16_t load(const uint16_t *at)
{
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void store(uint16_t *at, uint16_t value)
{
    __atomic_store_n(at, value, __ATOMIC_RELAXED);
}

/* Behind each ring is the index of the other side's event (2.7.7, 2.7.10). */
static uint16_t *used_event(const struct vhost_queue *q)
{
    return (uint16_t *)(void *)(q->avail->ring + q->size);
}

static uint16_t *avail_event(const struct vhost_queue *q)
{
    return (uint16_t *)(void *)((struct vring_used_elem *)q->used->ring + q->size);
}

bool vhost_queue_ready(const struct vhost *vhost, const struct vhost_queue *q)
{
    return q->size && q->has_addresses && q->kick >= 0 &&
           (q->enabled || !(vhost->features & VHOST_F_PROTOCOL));
}

void vhost_queue_start(struct vhost *vhost, unsigned queue)
{
    struct vhost_queue *q = &vhost->queue[queue];
    uint64_t n = q->size;
    const void *desc =
        vhost_memory_user(&vhost->memory, q->desc_user, n * sizeof(struct vring_desc));
    void *avail = vhost_memory_user(&vhost->memory, q->avail_user, 6 + n * 2);
    void *used = vhost_memory_user(&vhost->memory, q->used_user, 6 + n * 8);

    /* 2.7: their alignments. */
    if (!desc || !avail || !used || (uintptr_t)desc % 16 || (uintptr_t)avail % 2 ||
        (uintptr_t)used % 4) {
        log_warn("%s: queue %u lies outside the guest's memory; it is not served", vhost->ops->name,
                 queue);
        q->has_addresses = false;
        return;
    }
    q->desc = desc;
    q->avail = avail;
    q->used = used;
    /* `used` goes on where a device before this one ended. */
    q->pushed = q->signalled = load(&q->used->idx);
    q->kicked = true;
    if (vhost->ops->started)
        vhost->ops->started(vhost->arg, queue, !q->ran);
    q->ran = true;
}

void vhost_queue_stop(struct vhost *vhost, unsigned queue)
{
    struct vhost_queue *q = &vhost->queue[queue];

    if (!vhost_queue_running(q))
        return;
    if (vhost->ops->stopped)
        vhost->ops->stopped(vhost->arg, queue);
    q->desc = NULL;
    q->avail = NULL;
    q->used = NULL;
    q->generation++;
    for (unsigned i = 0; i < VHOST_MAX_QUEUES; i++) {
        if (vhost_queue_running(&vhost->queue[i]))
            return;
    }
    /* The driver starts over. */
    vhost->broken = false;
}

void vhost_break(struct vhost *vhost, unsigned queue, const char *why)
{
    const uint64_t one = 1;
    int err = vhost->queue[queue].err;

    if (vhost->broken)
        return;
    vhost->broken = true;
    log_warn("%s: queue %u: %s; the device stops until the guest resets it", vhost->ops->name,
             queue, why);
    if (err >= 0 && write(err, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_debug("%s: nobody to tell", vhost->ops->name);
}

/* How many elements wait, without asking for kicks. */
static uint16_t waiting(struct vhost *vhost, unsigned queue)
{
    struct vhost_queue *q = &vhost->queue[queue];
    uint16_t n = (uint16_t)(load_index(&q->avail->idx) - q->taken);

    if (n > q->size) {
        vhost_break(vhost, queue, "the driver offers more buffers than there are");
        return 0;
    }
    return n;
}

bool vhost_queue_available(struct vhost *vhost, unsigned queue)
{
    struct vhost_queue *q = &vhost->queue[queue];

    if (!vhost_queue_running(q) || vhost->broken)
        return false;
    if (waiting(vhost, queue)) {
        /* No kicks while there is work; with the index of events it stays where it is. */
        if (!(vhost->features & VHOST_F_EVENT_IDX))
            store(&q->used->flags, VRING_USED_F_NO_NOTIFY);
        return true;
    }
    if (vhost->broken)
        return false;
    if (vhost->features & VHOST_F_EVENT_IDX)
        store(avail_event(q), q->taken);
    else
        store(&q->used->flags, 0);
    /* The driver may have looked for that just before; then nobody kicks. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return waiting(vhost, queue);
}

/* Adds what one descriptor names. NULL or what is wrong. */
static const char *add(struct vhost *vhost, const struct vring_desc *desc,
                       struct vhost_element *element)
{
    unsigned n = element->out_count + element->in_count;
    void *at;

    if (n == VHOST_MAX_SEGMENTS)
        return "a buffer has too many parts";
    if (!desc->len)
        return "a part of a buffer is empty";
    at = vhost_memory_at(vhost, desc->addr, desc->len);
    if (!at)
        return "a buffer lies outside the guest's memory";
    if (desc->flags & VRING_DESC_F_WRITE) {
        element->in_count++;
        element->in_size += desc->len;
    } else if (element->in_count) {
        return "parts to read come behind parts to write";
    } else {
        element->out_count++;
        element->out_size += desc->len;
    }
    element->iov[n] = (struct iovec){at, desc->len};
    return NULL;
}

/* A chain in a table of `count` descriptors; it ends, or it is longer than the table. */
static const char *walk(struct vhost *vhost, const struct vring_desc *table, uint32_t count,
                        uint32_t at, bool indirect, struct vhost_element *element)
{
    for (uint32_t steps = 0; steps < count; steps++) {
        struct vring_desc desc;
        const char *wrong;

        if (at >= count)
            return "a descriptor is not in its table";
        desc.addr = __atomic_load_n(&table[at].addr, __ATOMIC_RELAXED);
        desc.len = __atomic_load_n(&table[at].len, __ATOMIC_RELAXED);
        desc.flags = __atomic_load_n(&table[at].flags, __ATOMIC_RELAXED);
        desc.next = __atomic_load_n(&table[at].next, __ATOMIC_RELAXED);
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            const struct vring_desc *inner;

            /* 2.7.5.3: not in a table itself, not with others behind it. */
            if (indirect || steps || desc.flags & VRING_DESC_F_NEXT ||
                !(vhost->features & VHOST_F_INDIRECT) || !desc.len || desc.len % sizeof(desc) ||
                desc.len / sizeof(desc) > VHOST_MAX_SEGMENTS)
                return "a table of descriptors is none";
            inner = vhost_memory_at(vhost, desc.addr, desc.len);
            if (!inner)
                return "a table of descriptors lies outside the guest's memory";
            /* No rule, but no driver has them elsewhere. */
            if ((uintptr_t)inner % 8)
                return "a table of descriptors is not aligned";
            return walk(vhost, inner, desc.len / sizeof(desc), 0, true, element);
        }
        wrong = add(vhost, &desc, element);
        if (wrong)
            return wrong;
        if (!(desc.flags & VRING_DESC_F_NEXT))
            return NULL;
        at = desc.next;
    }
    return "a chain of descriptors has no end";
}

bool vhost_queue_pop(struct vhost *vhost, unsigned queue, struct vhost_element *ret_element)
{
    struct vhost_queue *q = &vhost->queue[queue];
    const char *wrong;

    if (!vhost_queue_available(vhost, queue))
        return false;
    ret_element->token.head = load(&q->avail->ring[q->taken % q->size]);
    ret_element->token.generation = q->generation;
    ret_element->out_count = ret_element->in_count = 0;
    ret_element->out_size = ret_element->in_size = 0;
    wrong = walk(vhost, q->desc, q->size, ret_element->token.head, false, ret_element);
    if (wrong) {
        vhost_break(vhost, queue, wrong);
        return false;
    }
    q->taken++;
    return true;
}

void vhost_queue_unpop(struct vhost *vhost, unsigned queue)
{
    vhost->queue[queue].taken--;
}

void vhost_queue_push(struct vhost *vhost, unsigned queue, struct vhost_token token,
                      uint32_t written)
{
    struct vhost_queue *q = &vhost->queue[queue];
    struct vring_used_elem *slot;

    if (!vhost_queue_running(q) || vhost->broken || token.generation != q->generation)
        return;
    slot = (struct vring_used_elem *)q->used->ring + q->pushed % q->size;
    slot->id = token.head;
    slot->len = written;
    q->pushed++;
    __atomic_store_n(&q->used->idx, q->pushed, __ATOMIC_RELEASE);
}

void vhost_queue_notify(struct vhost *vhost, unsigned queue)
{
    struct vhost_queue *q = &vhost->queue[queue];
    const uint64_t one = 1;
    uint16_t since;

    if (!vhost_queue_running(q) || vhost->broken || q->pushed == q->signalled)
        return;
    /* The index first, then look whether the driver waits for it (2.7.7.2). */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    since = (uint16_t)(q->pushed - q->signalled);
    q->signalled = q->pushed;
    if (vhost->features & VHOST_F_EVENT_IDX) {
        if ((uint16_t)(q->pushed - load(used_event(q)) - 1) >= since)
            return;
    } else if (load(&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT) {
        return;
    }
    /* Full: the driver has been told already. */
    if (q->call >= 0 && write(q->call, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_debug("%s: queue %u: the guest cannot be told", vhost->ops->name, queue);
}
