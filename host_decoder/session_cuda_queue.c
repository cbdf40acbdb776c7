/* SPDX-License-Identifier: MIT */
#include "session_cuda.h"

#include <stdlib.h>
#include <string.h>

#include <transport/fence.h>
#include <viaduct/errors.h>
#include <wire/log.h>

/* Queues, and a handler for each command. */

/* Extents beyond this are nobody's memory, and below it sums of them do not wrap. */
#define EXTENT_MOST ((uint64_t)1 << 46)
/* Of staging memory, which a driver has for itself from then on: eight pieces of a large copy. */
#define LOCKED_BYTES (32u << 20)

/* A command is over; on a thread of the backend. */
static void passed(void *arg, uint64_t number)
{
    struct cuda_session_queue *q = arg;
    struct cuda_session *c = q->owner;
    struct vd_cuda_status *status = c->status;
    struct vd_cuda_queue_slot *slot = &status->queues[q->slot];
    bool printed = false;

    for (unsigned i = 0; i < c->device_count && c->backend->printed; i++)
        printed = printed || (c->devices[i] && c->backend->printed(c->devices[i], NULL, 0));
    if (c->mirror) {
        cuda_mirror_passed(c->mirror, q->slot, number,
                           (uint32_t)atomic_load(&c->contexts[q->context]->error), printed);
        atomic_store(&q->passed, number);
        return;
    }
    if (printed)
        __atomic_store_n(&status->printed, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&status->errors[q->context],
                     (uint32_t)atomic_load(&c->contexts[q->context]->error), __ATOMIC_RELEASE);
    atomic_store(&q->passed, number);
    fence_signal(&slot->done, &slot->waiters, (uint32_t)number);
    /* Queues come to their ends on threads of their own. */
    fence_count(&status->progress, &status->progress_waiters);
}

static struct cuda_session_queue *find(struct cuda_session *c, uint32_t slot)
{
    struct cuda_session_queue *q = slot < VD_MAX_CUDA_QUEUES ? c->queues[slot] : NULL;

    return q && q->queue ? q : NULL;
}

/* 0 or the reason to end the session. */
static int submit(struct cuda_session *c, struct cuda_session_queue *q,
                  const struct cuda_command *command)
{
    uint64_t number;

    if (q->submitted - atomic_load(&q->passed) >= VD_MAX_CUDA_QUEUED)
        return VD_ERR_PROTOCOL;
    number = c->backend->submit(q->queue, command);
    if (!number)
        return VD_ERR_MEMORY;
    q->submitted = number;
    return 0;
}

/* What was asked cannot be: the context ends as after a fault, and the number still comes. */
static int refuse(struct cuda_session *c, struct cuda_session_queue *q, int result)
{
    struct cuda_command nothing = {.kind = CUDA_NOTHING};

    cuda_session_fail(c, q->context, result);
    return submit(c, q, &nothing);
}

void cuda_session_queue_end(struct cuda_session *c, uint32_t slot)
{
    struct cuda_session_queue *q = c->queues[slot];

    if (q->submitted)
        c->backend->wait(q->queue, q->submitted);
    /* Another queue will have its slot. */
    cuda_session_freed(c);
    c->backend->queue_release(q->queue);
    q->queue = NULL;
    if (c->mirror)
        cuda_mirror_end(c->mirror, slot);
}

int session_cuda_queue_create(void *self, const struct vd_cuda_queue_create_req *req,
                              const struct vd_none *tail, uint32_t tail_count,
                              struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct cuda_session_queue *q;

    (void)tail, (void)tail_count, (void)reply;
    if (req->queue >= VD_MAX_CUDA_QUEUES || req->context >= VD_MAX_CUDA_CONTEXTS ||
        !c->contexts[req->context] || find(c, req->queue))
        return VD_ERR_PROTOCOL;
    q = c->queues[req->queue];
    if (!q)
        q = c->queues[req->queue] = calloc(1, sizeof(*q));
    if (!q || (c->mirror && cuda_mirror_begin(c->mirror, req->queue, req->context)))
        return VD_ERR_MEMORY;
    if (c->backend->queue_create(c->contexts[req->context], (int32_t)req->priority, &q->queue)) {
        q->queue = NULL;
        return VD_ERR_MEMORY;
    }
    q->owner = c;
    q->slot = req->queue;
    q->context = req->context;
    q->submitted = 0;
    atomic_store(&q->passed, 0);
    __atomic_store_n(&c->status->queues[req->queue].done, 0, __ATOMIC_RELEASE);
    c->backend->watch(q->queue, passed, q);
    return 0;
}

int session_cuda_queue_destroy(void *self, const struct vd_cuda_queue_destroy_req *req,
                               const struct vd_none *tail, uint32_t tail_count,
                               struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct cuda_session_queue *q = find(c, req->queue);

    (void)tail, (void)tail_count, (void)reply;
    if (!q || atomic_load(&q->passed) != q->submitted)
        return VD_ERR_PROTOCOL;
    cuda_session_queue_end(c, req->queue);
    return 0;
}

int session_cuda_launch(void *self, const struct vd_cuda_launch_req *req,
                        const struct vd_word *tail, uint32_t tail_count,
                        struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct cuda_session_queue *q = find(c, req->queue);
    const struct cuda_session_module *m =
        req->module < VD_MAX_CUDA_MODULES ? &c->modules[req->module] : NULL;
    struct cuda_command command = {
        .kind = CUDA_LAUNCH,
        .launch = {.shared_bytes = req->shared_bytes,
                   .cooperative = req->flags & VD_CUDA_LAUNCH_COOPERATIVE,
                   .parameters = tail,
                   .parameter_bytes = req->parameter_bytes},
    };
    const struct cuda_kernel_info *kernel;

    (void)reply;
    if (!q || !m || !m->module || m->context != q->context ||
        req->kernel >= m->module->kernel_count || req->parameter_bytes > tail_count * 8u)
        return VD_ERR_PROTOCOL;
    kernel = &m->module->kernels[req->kernel];
    if (req->parameter_bytes < kernel->parameter_bytes)
        return VD_ERR_PROTOCOL;
    command.launch.kernel = kernel->kernel;
    memcpy(command.launch.grid, req->grid, sizeof(req->grid));
    memcpy(command.launch.block, req->block, sizeof(req->block));
    stats_add(&c->stats->launches, 1);
    return submit(c, q, &command);
}

/* Bytes from the first to behind the last of a side; false: nobody has so many. */
static bool extent(uint64_t pitch, uint64_t slice, uint64_t width, uint64_t height, uint64_t depth,
                   uint64_t *ret_bytes)
{
    if (!width || !height || !depth || width >= EXTENT_MOST ||
        (height > 1 && (pitch >= EXTENT_MOST || (pitch && height - 1 >= EXTENT_MOST / pitch))) ||
        (depth > 1 && (slice >= EXTENT_MOST || (slice && depth - 1 >= EXTENT_MOST / slice))) ||
        height >= EXTENT_MOST || depth >= EXTENT_MOST)
        return false;
    *ret_bytes = (depth - 1) * slice + (height - 1) * pitch + width;
    return true;
}

/* Memory of the arena that the guest may name in a copy: behind the status and the ring. */
static bool arena_has(const struct arena *a, uint64_t offset, uint64_t bytes)
{
    uint64_t first = a->upload_offset + sizeof(struct vd_cuda_status);
    uint64_t end = a->frame_offset + a->frame_size;

    return offset >= first && offset <= end && bytes <= end - offset;
}

/*
 * The guest takes staging memory from its start, so what is there is used again and again: a driver
 * copies from and to that itself. Where it cannot, it makes copies of its own.
 */
static void lock_staging(struct session *s)
{
    struct cuda_session *c = s->cuda;
    uint64_t first = (sizeof(struct vd_cuda_status) + 4095) / 4096 * 4096;
    int err = 0;

    c->locked = true;
    if (c->backend->memory_lock)
        err = c->backend->memory_lock(s->arena.base + s->arena.upload_offset + first, LOCKED_BYTES);
    if (err)
        log_info("cuda: staging memory cannot be registered: error %d", err);
}

/* What a copy brings to a guest that does not see it is told when the copy is over. */
static int keep_bytes(struct session *s, struct cuda_session_queue *q,
                      const struct vd_cuda_copy_req *req, uint64_t bytes)
{
    struct cuda_session *c = s->cuda;

    if (bytes != req->width * req->height * req->depth ||
        arena_check_upload(&s->arena, req->to, bytes))
        return VD_ERR_PROTOCOL;
    return cuda_mirror_keep(c->mirror, q->slot, q->submitted + 1, req->to, bytes);
}

int session_cuda_copy(void *self, const struct vd_cuda_copy_req *req, const struct vd_none *tail,
                      uint32_t tail_count, struct dispatch_reply *reply)
{
    struct session *s = self;
    struct cuda_session *c = s->cuda;
    struct cuda_session_queue *q = find(c, req->queue);
    struct cuda_command command = {
        .kind = CUDA_COPY,
        .copy = {.to = {.host = req->flags & VD_CUDA_COPY_TO_HOST,
                        .address = req->to,
                        .pitch = req->to_pitch,
                        .slice = req->to_slice},
                 .from = {.host = req->flags & VD_CUDA_COPY_FROM_HOST,
                          .address = req->from,
                          .pitch = req->from_pitch,
                          .slice = req->from_slice},
                 .width = req->width,
                 .height = req->height,
                 .depth = req->depth},
    };
    struct cuda_side *sides[] = {&command.copy.to, &command.copy.from};
    uint64_t bytes[2];
    int err = 0;

    (void)tail, (void)tail_count, (void)reply;
    if (!q)
        return VD_ERR_PROTOCOL;
    for (int i = 0; i < 2; i++) {
        struct cuda_side *side = sides[i];

        if (!extent(side->pitch, side->slice, req->width, req->height, req->depth, &bytes[i]) ||
            (side->host && !arena_has(&s->arena, side->address, bytes[i])))
            return VD_ERR_PROTOCOL;
        if (side->host)
            side->address += (uintptr_t)s->arena.base;
        else if (i ? !cuda_session_may_read(c, side->address, bytes[i])
                   : !cuda_session_has(c, side->address, bytes[i]))
            return refuse(c, q, CUDA_ERROR_ILLEGAL_ADDRESS);
    }
    if (!c->locked && (command.copy.to.host || command.copy.from.host))
        lock_staging(s);
    if (c->mirror && command.copy.to.host)
        err = keep_bytes(s, q, req, bytes[0]);
    return err ? err : submit(c, q, &command);
}

int session_cuda_set(void *self, const struct vd_cuda_set_req *req, const struct vd_none *tail,
                     uint32_t tail_count, struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct cuda_session_queue *q = find(c, req->queue);
    struct cuda_command command = {.kind = CUDA_SET,
                                   .set = {.address = req->address,
                                           .pitch = req->pitch,
                                           .value = req->value,
                                           .element = req->element,
                                           .width = req->width,
                                           .height = req->height}};
    uint64_t bytes;

    (void)tail, (void)tail_count, (void)reply;
    if (!q || (req->element != 1 && req->element != 2 && req->element != 4) ||
        req->width >= EXTENT_MOST || req->address % req->element ||
        !extent(req->pitch, 0, req->width * req->element, req->height, 1, &bytes))
        return VD_ERR_PROTOCOL;
    if (!cuda_session_has(c, req->address, bytes))
        return refuse(c, q, CUDA_ERROR_ILLEGAL_ADDRESS);
    return submit(c, q, &command);
}

int session_cuda_wait(void *self, const struct vd_cuda_wait_req *req, const struct vd_none *tail,
                      uint32_t tail_count, struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct cuda_session_queue *q = find(c, req->queue), *other = find(c, req->other);
    struct cuda_command command = {.kind = CUDA_WAIT};

    (void)tail, (void)tail_count, (void)reply;
    if (!q || !other || q == other)
        return VD_ERR_PROTOCOL;
    command.wait.queue = other->queue;
    command.wait.number = req->number;
    return submit(c, q, &command);
}

int session_cuda_stamp(void *self, const struct vd_cuda_stamp_req *req, const struct vd_none *tail,
                       uint32_t tail_count, struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct cuda_session_queue *q = find(c, req->queue);
    struct cuda_command command = {.kind = CUDA_STAMP};
    int err = 0;

    (void)tail, (void)tail_count, (void)reply;
    if (!q || req->stamp >= VD_MAX_CUDA_STAMPS)
        return VD_ERR_PROTOCOL;
    command.stamp.time = &c->status->stamps[req->stamp];
    if (c->mirror)
        err = cuda_mirror_keep(c->mirror, q->slot, q->submitted + 1, req->stamp, 0);
    return err ? err : submit(c, q, &command);
}

int session_cuda_value(void *self, const struct vd_cuda_value_req *req, const struct vd_none *tail,
                       uint32_t tail_count, struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct cuda_session_queue *q = find(c, req->queue);
    struct cuda_command command = {
        .kind = req->flags & VD_CUDA_VALUE_WAIT ? CUDA_WAIT_VALUE : CUDA_WRITE_VALUE,
        .value = {.address = req->address,
                  .value = req->value,
                  .bytes = req->bytes,
                  .compare = req->compare},
    };

    (void)tail, (void)tail_count, (void)reply;
    if (!q || (req->bytes != 4 && req->bytes != 8) || req->address % req->bytes || req->compare > 3)
        return VD_ERR_PROTOCOL;
    if (command.kind == CUDA_WAIT_VALUE ? !cuda_session_may_read(c, req->address, req->bytes)
                                        : !cuda_session_has(c, req->address, req->bytes))
        return refuse(c, q, CUDA_ERROR_ILLEGAL_ADDRESS);
    return submit(c, q, &command);
}

int session_cuda_free(void *self, const struct vd_cuda_free_req *req, const struct vd_none *tail,
                      uint32_t tail_count, struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct cuda_session_queue *q = find(c, req->queue);
    struct cuda_session_range *r = cuda_session_find(c, req->address);
    struct cuda_command command = {.kind = CUDA_FREE, .free = req->address};
    uint64_t size;
    int err;

    (void)tail, (void)tail_count, (void)reply;
    if (!q || !r || r->kind != CUDA_RANGE_DEVICE || r->address != req->address)
        return VD_ERR_PROTOCOL;
    if (c->free_count == c->free_room && cuda_session_freed(c))
        return VD_ERR_MEMORY;
    size = r->size;
    /* Who frees it may not name it any more; the backend still does until then. */
    cuda_session_remove(c, r);
    err = submit(c, q, &command);
    if (!err)
        c->frees[c->free_count++] =
            (struct cuda_session_free){.queue = req->queue, .number = q->submitted, .size = size};
    return err;
}

int session_cuda_nothing(void *self, const struct vd_cuda_nothing_req *req,
                         const struct vd_none *tail, uint32_t tail_count,
                         struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct cuda_session_queue *q = find(c, req->queue);
    struct cuda_command command = {.kind = CUDA_NOTHING};

    (void)tail, (void)tail_count, (void)reply;
    return q ? submit(c, q, &command) : VD_ERR_PROTOCOL;
}
