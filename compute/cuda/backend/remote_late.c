/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "remote.h"

/*
 * Pinned and registered memory is read when a stream comes to the copy, whatever was written to it
 * since the copy was submitted: by an earlier copy, by a function of the program, or by the
 * program, which then tells the stream by a value. Where the queue waits for none of these it is
 * read at once: what else writes there has no order with the copy. Else a function in the queue
 * (remote_calls.c) reads it, and the copy waits for that.
 */

struct late {
    struct remote *remote; /* the queue that calls holds it */
    struct remote_rows rows;
    uint64_t offset; /* of the piece */
};

bool remote_late(struct cuda_queue *q, uint64_t first, uint64_t end)
{
    struct remote *r = q->remote;
    bool late;

    if (atomic_load(&r->staged_count))
        remote_land(r);
    if (!remote_queue_passed(q, atomic_load(&q->held)))
        return true;
    /* What came before it in this queue and comes there, too. */
    late = false;
    pthread_mutex_lock(&r->lock);
    for (const struct remote_staged *s = r->staged; s && !late; s = s->next) {
        uint64_t start, behind;

        if (!s->lands)
            continue;
        remote_rows_span(&s->rows, &start, &behind);
        late = start < end && first < behind;
    }
    pthread_mutex_unlock(&r->lock);
    return late;
}

static void run(void *user, int error)
{
    struct late *l = user;
    struct remote *r = l->remote;

    if (!error) {
        remote_rows_take(&l->rows, r->host->arena.base + l->offset);
        remote_upload(r, l->offset, l->rows.count * l->rows.bytes);
    }
    free(l);
}

uint64_t remote_late_submit(struct cuda_queue *q, const struct remote_rows *rows,
                            const struct remote_piece *piece)
{
    struct late *l = malloc(sizeof(*l));
    struct cuda_command call = {.kind = CUDA_CALL, .call = {run, l}};
    uint64_t number = 0;

    if (!l)
        return 0;
    *l = (struct late){q->remote, *rows, piece->offset};
    number = remote_calls_submit(q, &call);
    if (!number)
        free(l);
    return number;
}
