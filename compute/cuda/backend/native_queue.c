/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Queues: streams, and a thread each that tells how far they are. */

#define STACK_BYTES (256u << 10)
/*
 * Commands that a stream has at a time. A driver whose queues are full (NVIDIA's take about a
 * thousand launches) lets the caller wait, which may be what the stream waits for. More stay here,
 * and are given by the queue's thread.
 */
#define GIVEN_MOST 256u

/* A command that is not over. */
struct item {
    struct item *next;
    uint64_t number;
    enum cuda_command_kind kind;
    struct native_event *event; /* behind it; NULL: nothing went to the device */
    bool given, giving;         /* to the stream; that goes on right now */
    struct cuda_command *kept;  /* until then, with its parameters; NULL: the caller has it */
    /* By kind. */
    struct cuda_queue *other; /* held */
    uint64_t other_number;
    struct cuda_stamp *stamp; /* held */
    uint64_t *time;
    void (*run)(void *user, int error);
    void *user;
    uint64_t free;
    void *staged;
    struct native_bounce *bounce;
};

struct cuda_queue {
    struct cuda_device *device;
    struct native_context *context;
    CUstream stream;
    pthread_mutex_t submit;
    /* native_lock guards the rest. */
    pthread_cond_t work, done;
    uint32_t word;
    unsigned references;
    bool threaded, ended; /* ended: nobody has it any more */
    struct item *first, **last;
    struct item *ungiven;         /* the first that waits to be given */
    unsigned given;               /* and not over */
    uint64_t submitted, began_ns; /* of the first item */
    _Atomic uint64_t completed;
    void (*passed)(void *arg, uint64_t number);
    void *passed_arg;
    struct cuda_queue *next;
};

static void drop(struct cuda_queue *q);

/* With native_lock: lets streams go that wait for it to come so far. */
static void word_write(struct cuda_queue *q, uint64_t number)
{
    __atomic_store_n(&q->device->words[q->word], (uint32_t)number, __ATOMIC_RELEASE);
}

void native_queue_fail(struct native_context *c, int error)
{
    atomic_compare_exchange_strong(&c->head.error, &(int){0}, error);
    for (struct cuda_queue *q = c->device->queues; q; q = q->next)
        for (struct item *i = q->context == c ? q->first : NULL; i; i = i->next)
            if (i->kind == CUDA_WAIT && i->event && i->other->completed < i->other_number) {
                word_write(i->other, i->other_number);
                pthread_cond_broadcast(&i->other->done);
            }
}

bool native_queue_busy(struct cuda_device *d, uint64_t *ret_since_ns)
{
    bool busy = false;

    for (struct cuda_queue *q = d->queues; q; q = q->next) {
        /* Those that wait for others take no time of the device. */
        if (!q->first || !q->first->event || q->first->kind == CUDA_WAIT ||
            q->first->kind == CUDA_WAIT_VALUE)
            continue;
        if (!busy || q->began_ns < *ret_since_ns)
            *ret_since_ns = q->began_ns;
        busy = true;
    }
    return busy;
}

/* With native_lock; its first item is over on the device. */
static void advance(struct cuda_queue *q)
{
    struct native_context *c = q->context;
    struct item *i = q->first;
    int error = atomic_load(&c->head.error);
    uint64_t time;

    switch (i->kind) {
    case CUDA_STAMP:
        time = i->event && !error ? native_event_time(c, i->event) : native_now();
        if (i->stamp)
            native_stamp_set(i->stamp, time);
        if (i->time)
            __atomic_store_n(i->time, time, __ATOMIC_RELEASE);
        native_stamp_release(i->stamp);
        break;
    case CUDA_CALL:
        pthread_mutex_unlock(&native_lock);
        i->run(i->user, error);
        pthread_mutex_lock(&native_lock);
        break;
    case CUDA_FREE:
        native_free(q->device, i->free, true);
        break;
    case CUDA_COPY:
        if (i->bounce)
            native_bounce_give(q->device, i->bounce);
        free(i->staged);
        break;
    default:
        break;
    }
    q->first = i->next;
    if (!q->first)
        q->last = &q->first;
    if (q->ungiven == i)
        q->ungiven = i->next;
    q->given -= i->given;
    q->began_ns = native_now();
    atomic_store(&q->completed, i->number);
    word_write(q, i->number);
    if (q->passed)
        q->passed(q->passed_arg, i->number);
    pthread_cond_broadcast(&q->done);
    native_event_give(c, i->event);
    if (i->other)
        drop(i->other);
    free(i->kept);
    free(i);
}

/* With native_lock: what is left of a device whose work was given up. */
static void advance_all(struct cuda_queue *q)
{
    while (q->first && !q->first->giving)
        advance(q);
}

void native_queue_give_up(struct cuda_device *d, int error)
{
    d->hung = true;
    for (struct native_context *c = d->contexts; c; c = c->next)
        native_queue_fail(c, error);
    for (struct cuda_queue *q = d->queues; q; q = q->next)
        advance_all(q);
}

/* With native_lock: whoever sees that a wait is over sees what was waited for, too; its queue's
 * thread may come a moment later. */
static void settle(struct cuda_queue *q)
{
    const struct item *i = q->first;

    while (i->kind == CUDA_WAIT && i->event && !atomic_load(&q->context->head.error) &&
           atomic_load(&i->other->completed) < i->other_number)
        pthread_cond_wait(&i->other->done, &native_lock);
}

static void give_more(struct cuda_queue *q);

static void *follow(void *argument)
{
    struct cuda_queue *q = argument;
    struct cuda_device *d = q->device;
    struct native_context *c = q->context;
    int entered = native_enter(c->handle), err;

    pthread_mutex_lock(&native_lock);
    for (;;) {
        while (!q->first && !q->ended)
            pthread_cond_wait(&q->work, &native_lock);
        if (!q->first)
            break;
        if (!q->first->given || (q->ungiven && q->given <= GIVEN_MOST / 2)) {
            pthread_mutex_unlock(&native_lock);
            give_more(q);
            pthread_mutex_lock(&native_lock);
            continue;
        }
        if (q->first->event) {
            CUevent event = q->first->event->event;

            pthread_mutex_unlock(&native_lock);
            err = entered ? entered : (int)native.cuEventSynchronize(event);
            pthread_mutex_lock(&native_lock);
            while (d->hung)
                pthread_cond_wait(&q->work, &native_lock);
            if (err)
                native_queue_fail(c, err);
        }
        settle(q);
        advance(q);
    }
    for (struct cuda_queue **at = &d->queues; *at; at = &(*at)->next)
        if (*at == q) {
            *at = q->next;
            break;
        }
    d->word_free[d->word_free_count++] = q->word;
    pthread_mutex_unlock(&native_lock);
    native.cuStreamDestroy_v2(q->stream);
    pthread_mutex_lock(&native_lock);
    c->queues--;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&native_lock);
    pthread_cond_destroy(&q->work);
    pthread_cond_destroy(&q->done);
    pthread_mutex_destroy(&q->submit);
    free(q);
    return NULL;
}

int native_queue_create(struct cuda_context *context, int priority, struct cuda_queue **ret_queue)
{
    struct native_context *c = (struct native_context *)context;
    struct cuda_device *d = c->device;
    struct cuda_queue *q = calloc(1, sizeof(*q));
    pthread_attr_t small;
    pthread_t thread;
    bool has_word;
    int err = q ? native_enter(c->handle) : CUDA_ERROR_OUT_OF_MEMORY;

    if (priority < d->priority_greatest)
        priority = d->priority_greatest;
    if (priority > d->priority_least)
        priority = d->priority_least;
    if (!err)
        err = (int)native.cuStreamCreateWithPriority(&q->stream, CU_STREAM_NON_BLOCKING, priority);
    if (err) {
        free(q);
        return err;
    }
    q->device = d;
    q->context = c;
    q->references = 1;
    q->last = &q->first;
    pthread_mutex_init(&q->submit, NULL);
    pthread_cond_init(&q->work, NULL);
    pthread_cond_init(&q->done, NULL);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK_BYTES);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    pthread_mutex_lock(&native_lock);
    has_word = d->word_free_count > 0;
    if (has_word) {
        q->word = d->word_free[--d->word_free_count];
        word_write(q, 0);
        q->next = d->queues;
        d->queues = q;
        c->queues++;
        if (pthread_create(&thread, &small, follow, q)) {
            d->queues = q->next;
            c->queues--;
            d->word_free[d->word_free_count++] = q->word;
            has_word = false;
        }
    }
    pthread_mutex_unlock(&native_lock);
    pthread_attr_destroy(&small);
    if (!has_word) {
        native.cuStreamDestroy_v2(q->stream);
        pthread_mutex_destroy(&q->submit);
        pthread_cond_destroy(&q->work);
        pthread_cond_destroy(&q->done);
        free(q);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *ret_queue = q;
    return 0;
}

/* With native_lock. Its thread ends it once what was submitted is done. */
static void drop(struct cuda_queue *q)
{
    if (--q->references)
        return;
    q->ended = true;
    pthread_cond_signal(&q->work);
}

void native_queue_hold(struct cuda_queue *q)
{
    pthread_mutex_lock(&native_lock);
    q->references++;
    pthread_mutex_unlock(&native_lock);
}

void native_queue_release(struct cuda_queue *q)
{
    pthread_mutex_lock(&native_lock);
    drop(q);
    pthread_mutex_unlock(&native_lock);
}

/* With native_lock: an event of another queue that stands behind a number; NULL: the word is what
 * there is. A reference. */
static struct native_event *event_find(struct cuda_queue *q, uint64_t number)
{
    for (struct item *i = q->first; i && i->number <= number; i = i->next)
        if (i->number == number && i->event) {
            i->event->references++;
            return i->event;
        }
    return NULL;
}

/* With `submit`. */
static int wait_for(struct cuda_queue *q, struct cuda_queue *other, uint64_t number)
{
    struct cuda_device *d = other->device;
    struct native_event *e = NULL;
    bool over;
    int err = 0;

    pthread_mutex_lock(&native_lock);
    over = atomic_load(&other->completed) >= number;
    if (!over)
        e = event_find(other, number);
    pthread_mutex_unlock(&native_lock);
    if (over)
        return 0;
    if (!e)
        return (int)native.cuStreamWaitValue32_v2(q->stream,
                                                  d->words_address + other->word * sizeof(uint32_t),
                                                  (uint32_t)number, CU_STREAM_WAIT_VALUE_GEQ);
    err = (int)native.cuStreamWaitEvent(q->stream, e->event, 0);
    pthread_mutex_lock(&native_lock);
    native_event_give(other->context, e);
    pthread_mutex_unlock(&native_lock);
    return err;
}

/* With `submit`: what a command is on the stream. */
static int give(struct cuda_queue *q, const struct cuda_command *c, struct item *i)
{
    int err = native_enter(q->context->handle);

    if (err)
        return err;
    if (c->kind == CUDA_WAIT)
        return wait_for(q, c->wait.queue, c->wait.number);
    if (c->kind == CUDA_COPY)
        return native_bounce_copy(q->device, q->stream, c, &i->bounce);
    return native_command(q->stream, c);
}

/* With native_lock: keeps what a command needs until it is over. */
static void fill(struct item *i, const struct cuda_command *c)
{
    switch (c->kind) {
    case CUDA_WAIT:
        i->other = c->wait.queue;
        i->other_number = c->wait.number;
        i->other->references++;
        break;
    case CUDA_STAMP:
        i->stamp = c->stamp.stamp;
        i->time = c->stamp.time;
        if (i->stamp)
            native_stamp_hold(i->stamp);
        break;
    case CUDA_CALL:
        i->run = c->call.run;
        i->user = c->call.user;
        break;
    case CUDA_FREE:
        i->free = c->free;
        break;
    case CUDA_COPY:
        i->staged = c->copy.staged;
        break;
    default:
        break;
    }
}

/* With `submit`, the item being marked as `giving`. */
static void give_item(struct cuda_queue *q, struct item *i, const struct cuda_command *command)
{
    struct cuda_device *d = q->device;
    struct native_context *c = q->context;
    int err = atomic_load(&c->head.error) ? -1 : give(q, command, i);

    pthread_mutex_lock(&native_lock);
    if (!err)
        err = native_event_take(c, i->kind == CUDA_STAMP, &i->event);
    pthread_mutex_unlock(&native_lock);
    if (!err)
        err = (int)native.cuEventRecord(i->event->event, q->stream);
    /* What comes next waits for the function, which the queue's thread calls. */
    if (!err && command->kind == CUDA_CALL)
        err = (int)native.cuStreamWaitValue32_v2(q->stream,
                                                 d->words_address + q->word * sizeof(uint32_t),
                                                 (uint32_t)i->number, CU_STREAM_WAIT_VALUE_GEQ);
    pthread_mutex_lock(&native_lock);
    if (err) {
        native_event_give(c, i->event);
        i->event = NULL;
    }
    i->given = true;
    i->giving = false;
    q->given++;
    if (err > 0)
        native_queue_fail(c, err);
    /* An abort in between did not see it. */
    else if (atomic_load(&c->head.error) && i->kind == CUDA_WAIT)
        native_queue_fail(c, CUDA_ERROR_UNKNOWN);
    if (d->hung)
        advance_all(q);
    pthread_cond_signal(&q->work);
    pthread_mutex_unlock(&native_lock);
}

/* The queue's thread: gives what waits, as long as there is room. */
static void give_more(struct cuda_queue *q)
{
    struct item *i;

    pthread_mutex_lock(&q->submit);
    do {
        struct cuda_command *kept = NULL;

        pthread_mutex_lock(&native_lock);
        i = q->given < GIVEN_MOST ? q->ungiven : NULL;
        if (i) {
            i->giving = true;
            q->ungiven = i->next;
            kept = i->kept;
            i->kept = NULL;
        }
        pthread_mutex_unlock(&native_lock);
        if (i)
            give_item(q, i, kept);
        free(kept);
    } while (i);
    pthread_mutex_unlock(&q->submit);
}

static struct cuda_command *keep(const struct cuda_command *c)
{
    size_t bytes = c->kind == CUDA_LAUNCH ? c->launch.parameter_bytes : 0;
    struct cuda_command *kept = malloc(sizeof(*kept) + bytes);

    if (!kept)
        return NULL;
    *kept = *c;
    if (bytes) {
        memcpy(kept + 1, c->launch.parameters, bytes);
        kept->launch.parameters = kept + 1;
    }
    return kept;
}

uint64_t native_queue_submit(struct cuda_queue *q, const struct cuda_command *command)
{
    struct item *i = calloc(1, sizeof(*i));
    uint64_t number = 0;
    bool later;

    if (!i)
        return 0;
    i->kind = command->kind;
    pthread_mutex_lock(&q->submit);
    pthread_mutex_lock(&native_lock);
    later = q->ungiven || q->given >= GIVEN_MOST;
    i->giving = !later;
    if (later)
        i->kept = keep(command);
    if (!later || i->kept) {
        fill(i, command);
        number = i->number = ++q->submitted;
        if (!q->first)
            q->began_ns = native_now();
        *q->last = i;
        q->last = &i->next;
        if (later && !q->ungiven)
            q->ungiven = i;
    }
    if (q->device->hung)
        advance_all(q);
    pthread_mutex_unlock(&native_lock);
    if (number && !later)
        give_item(q, i, command);
    else if (!number)
        free(i);
    pthread_mutex_unlock(&q->submit);
    return number;
}

bool native_queue_done(struct cuda_queue *q, uint64_t number)
{
    return atomic_load(&q->completed) >= number;
}

void native_queue_wait(struct cuda_queue *q, uint64_t number)
{
    pthread_mutex_lock(&native_lock);
    while (q->completed < number)
        pthread_cond_wait(&q->done, &native_lock);
    pthread_mutex_unlock(&native_lock);
}

void native_queue_watch(struct cuda_queue *q, void (*passed)(void *arg, uint64_t number), void *arg)
{
    q->passed = passed;
    q->passed_arg = arg;
}
