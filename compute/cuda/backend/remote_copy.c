/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "remote.h"

/*
 * Copies. Memory of the arena is named as it is; of the program's other memory a chunk after the
 * other goes through staging memory: what is copied from is read before submit returns, or, of
 * memory that is locked and may still be written to, when the queue comes there (remote_late.c);
 * what is copied to lands when somebody has waited for it.
 */

static uint64_t row_at(const struct remote_rows *rows, uint64_t row)
{
    return rows->address + row / rows->height * rows->slice + row % rows->height * rows->pitch +
           rows->x;
}

/* Copies rows between the program's memory and a staged chunk. */
static void move_rows(const struct remote_rows *rows, uint8_t *packed, bool out)
{
    for (uint64_t i = 0; i < rows->count; i++) {
        uint64_t row = rows->first + i;
        uint8_t *own = (uint8_t *)(uintptr_t)row_at(rows, row);

        if (out)
            memcpy(own, packed, rows->bytes);
        else
            memcpy(packed, own, rows->bytes);
        packed += rows->bytes;
    }
}

void remote_rows_take(const struct remote_rows *rows, uint8_t *packed)
{
    move_rows(rows, packed, false);
}

void remote_rows_span(const struct remote_rows *rows, uint64_t *ret_first, uint64_t *ret_end)
{
    /* Rows of a chunk are of one image, so the first is the lowest. */
    *ret_first = row_at(rows, rows->first);
    *ret_end = row_at(rows, rows->first + rows->count - 1) + rows->bytes;
}

void remote_land(struct remote *r)
{
    struct cuda_queue *queues[64];
    bool more = true;

    while (more) {
        unsigned n = 0;

        more = false;
        pthread_mutex_lock(&r->lock);
        for (struct remote_staged **at = &r->staged; *at;) {
            struct remote_staged *s = *at;

            if (!remote_queue_passed(s->queue, s->number)) {
                at = &s->next;
                continue;
            }
            if (n == sizeof(queues) / sizeof(queues[0])) {
                more = true;
                break;
            }
            /* What was dropped with its context did not come. */
            if (s->lands && !atomic_load(&r->dead) &&
                !__atomic_load_n(&r->status->errors[s->queue->context->slot], __ATOMIC_ACQUIRE))
                move_rows(&s->rows, r->host->arena.base + s->piece->offset, true);
            *at = s->next;
            remote_zone_give(&r->staging, s->piece);
            queues[n++] = s->queue;
            s->next = r->staged_idle;
            r->staged_idle = s;
            atomic_fetch_sub(&r->staged_count, 1);
        }
        pthread_mutex_unlock(&r->lock);
        while (n)
            remote_queue_release(queues[--n]);
    }
}

struct remote_piece *remote_stage(struct remote *r, uint64_t size)
{
    struct cuda_queue *oldest;
    struct remote_piece *p;
    uint64_t number;
    int err = 0;

    for (;;) {
        pthread_mutex_lock(&r->lock);
        p = remote_zone_take(&r->staging, size);
        oldest = NULL;
        if (!p && r->staged) {
            struct remote_staged *s = r->staged;

            while (s->next)
                s = s->next;
            oldest = s->queue;
            number = s->number;
            remote_queue_hold(oldest);
        }
        pthread_mutex_unlock(&r->lock);
        if (!oldest)
            return p;
        /* Who never lets it come so far gets no memory rather than a hang. */
        err = remote_queue_reach(oldest, number, REMOTE_STAGE_NS);
        remote_queue_release(oldest);
        if (err)
            return NULL;
        remote_land(r);
    }
}

void remote_unstage(struct remote *r, struct remote_piece *p)
{
    pthread_mutex_lock(&r->lock);
    remote_zone_give(&r->staging, p);
    pthread_mutex_unlock(&r->lock);
}

/* The piece stays until the queue has come to this number. False: there is no memory. */
static bool keep(struct cuda_queue *q, struct remote_piece *p, uint64_t number,
                 const struct remote_rows *lands)
{
    struct remote *r = q->remote;
    struct remote_staged *s;

    pthread_mutex_lock(&r->lock);
    s = r->staged_idle;
    if (s)
        r->staged_idle = s->next;
    else
        s = malloc(sizeof(*s));
    if (s) {
        *s = (struct remote_staged){
            .next = r->staged, .piece = p, .queue = q, .number = number, .lands = lands};
        if (lands)
            s->rows = *lands;
        remote_queue_hold(q);
        r->staged = s;
        atomic_fetch_add(&r->staged_count, 1);
    }
    pthread_mutex_unlock(&r->lock);
    return s;
}

/* Whether all of a side is in frame memory; then where. */
static bool in_arena(struct remote *r, const struct cuda_side *s, uint64_t bytes,
                     uint64_t *ret_offset)
{
    uint64_t base = (uintptr_t)r->pinned, size = r->host->arena.frame_size;

    /* Of this side alone if the host shares none. */
    if (r->pump)
        return false;
    if (s->address < base || s->address - base > size || bytes > size - (s->address - base))
        return false;
    *ret_offset = s->address - base + r->host->arena.frame_offset;
    return true;
}

/* A copy whose sides are the device's or the arena's. */
static uint64_t put(struct cuda_queue *q, struct vd_cuda_copy_req *req)
{
    req->queue = q->slot;
    return remote_queue_put(q, VD_OP_cuda_copy, req, sizeof(*req), NULL, 0);
}

/* One side of a copy in chunks. */
struct side {
    struct cuda_side s;
    uint64_t offset; /* in the arena */
    bool arena, staged;
};

static struct side look(struct remote *r, const struct cuda_side *s, uint64_t extent)
{
    struct side side = {.s = *s};

    if (s->host)
        side.arena = in_arena(r, s, extent, &side.offset);
    side.staged = s->host && !side.arena;
    return side;
}

/* Where a side that is not staged has this row. */
static uint64_t at(const struct side *side, uint64_t row, uint64_t height, uint64_t x)
{
    return (side->arena ? side->offset : side->s.address) + row / height * side->s.slice +
           row % height * side->s.pitch + x;
}

static struct remote_rows rows_of(const struct side *side, uint64_t height, uint64_t first,
                                  uint64_t count, uint64_t x, uint64_t bytes)
{
    return (struct remote_rows){
        side->s.address, side->s.pitch, side->s.slice, height, first, count, x, bytes};
}

static bool is_late(struct cuda_queue *q, const struct side *from, const struct remote_rows *rows)
{
    uint64_t first, end;

    if (!from->s.locked)
        return false;
    remote_rows_span(rows, &first, &end);
    return remote_late(q, first, end);
}

/* Rows of one image, or a part of one row. */
static uint64_t chunk(struct cuda_queue *q, const struct side *to, const struct side *from,
                      uint64_t height, uint64_t first, uint64_t count, uint64_t x, uint64_t bytes)
{
    struct remote *r = q->remote;
    struct vd_cuda_copy_req req = {.width = bytes, .height = count, .depth = 1};
    struct remote_piece *in = NULL, *out = NULL;
    struct remote_rows lands = rows_of(to, height, first, count, x, bytes);
    uint64_t number = 0;
    bool late = false;

    if (from->staged) {
        struct remote_rows rows = rows_of(from, height, first, count, x, bytes);

        in = remote_stage(r, count * bytes);
        if (!in)
            return 0;
        if (is_late(q, from, &rows)) {
            /* Then the piece is the function's until it has run. */
            if (!remote_late_submit(q, &rows, in))
                goto failed;
            late = true;
        } else {
            move_rows(&rows, r->host->arena.base + in->offset, false);
            if (remote_upload(r, in->offset, count * bytes))
                goto failed;
        }
    }
    if (to->staged) {
        out = remote_stage(r, count * bytes);
        if (!out)
            goto failed;
    }
    req.flags =
        (to->s.host ? VD_CUDA_COPY_TO_HOST : 0) | (from->s.host ? VD_CUDA_COPY_FROM_HOST : 0);
    req.to = out ? out->offset : at(to, first, height, x);
    req.to_pitch = out ? bytes : to->s.pitch;
    req.from = in ? in->offset : at(from, first, height, x);
    req.from_pitch = in ? bytes : from->s.pitch;
    req.to_slice = req.to_pitch * count;
    req.from_slice = req.from_pitch * count;
    number = put(q, &req);
    if (!number)
        goto failed;
    /* A piece that cannot be noted is the host's for good. */
    if (in && !keep(q, in, number, NULL))
        return 0;
    if (out && !keep(q, out, number, &lands))
        return 0;
    return number;
failed:
    if (in && !late)
        remote_unstage(r, in);
    if (out)
        remote_unstage(r, out);
    return 0;
}

uint64_t remote_copy(struct cuda_queue *q, const struct cuda_command *c)
{
    uint64_t width = c->copy.width, height = c->copy.height, depth = c->copy.depth, number = 0;
    struct side to, from;
    uint64_t to_bytes, from_bytes, rows, most;

    to_bytes = (depth - 1) * c->copy.to.slice + (height - 1) * c->copy.to.pitch + width;
    from_bytes = (depth - 1) * c->copy.from.slice + (height - 1) * c->copy.from.pitch + width;
    to = look(q->remote, &c->copy.to, to_bytes);
    from = look(q->remote, &c->copy.from, from_bytes);
    if (!to.staged && !from.staged) {
        struct vd_cuda_copy_req req = {
            .flags =
                (to.arena ? VD_CUDA_COPY_TO_HOST : 0) | (from.arena ? VD_CUDA_COPY_FROM_HOST : 0),
            .to = to.arena ? to.offset : to.s.address,
            .to_pitch = to.s.pitch,
            .to_slice = to.s.slice,
            .from = from.arena ? from.offset : from.s.address,
            .from_pitch = from.s.pitch,
            .from_slice = from.s.slice,
            .width = width,
            .height = height,
            .depth = depth,
        };

        number = put(q, &req);
        goto out;
    }
    /* Without gaps it is one long row. */
    if (to.s.pitch == width && from.s.pitch == width &&
        (depth < 2 || (to.s.slice == from.s.slice && to.s.slice == width * height))) {
        width *= height * depth;
        height = depth = 1;
    }
    if (width >= REMOTE_CHUNK) {
        for (uint64_t row = 0; row < height * depth; row++)
            for (uint64_t x = 0; x < width; x += REMOTE_CHUNK) {
                uint64_t bytes = width - x < REMOTE_CHUNK ? width - x : REMOTE_CHUNK;

                number = chunk(q, &to, &from, height, row, 1, x, bytes);
                if (!number)
                    goto out;
            }
        goto out;
    }
    most = REMOTE_CHUNK / width;
    rows = height * depth;
    for (uint64_t row = 0; row < rows;) {
        /* Not over the end of an image: the other side may lie anywhere. */
        uint64_t left = height - row % height, count = left < most ? left : most;

        number = chunk(q, &to, &from, height, row, count, 0, width);
        if (!number)
            break;
        row += count;
    }
out:
    if (number)
        free(c->copy.staged);
    return number;
}
