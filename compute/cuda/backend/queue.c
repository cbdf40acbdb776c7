/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "queue.h"

#define MAX_WORKERS 32
#define POLL_NS     100000 /* how often values that are waited for are looked at */
#define KEPT        256    /* items that are kept for later */

struct cuda_stamp {
    _Atomic uint64_t time;
    atomic_uint references;
};

struct item {
    struct item *next;
    struct cuda_command command;
    size_t room; /* bytes behind it */
    unsigned char parameters[];
};

enum queue_state {
    QUEUE_IDLE,
    QUEUE_READY,   /* in the list of those that can go on */
    QUEUE_RUNNING, /* a thread has its first command */
    QUEUE_BLOCKED, /* among the waiters of another queue */
    QUEUE_POLLING, /* its value is looked at again and again */
};

struct cuda_queue {
    struct queue_pool *pool;
    struct cuda_context *context;
    int priority;
    /* under the pool's lock */
    enum queue_state state;
    unsigned references;
    struct item *first, **last;
    uint64_t submitted;
    _Atomic uint64_t completed;
    struct cuda_queue *next;    /* in the list that its state names */
    struct cuda_queue *waiters; /* queues whose first command waits for this one */
    void (*passed)(void *arg, uint64_t number);
    void *passed_arg;
    struct cuda_queue *older, **newer; /* all of the pool */
};

struct queue_pool {
    queue_run run;
    pthread_mutex_t lock; /* guards all queues */
    pthread_cond_t work, done;
    struct cuda_queue *ready, *polling, *all;
    struct item *kept;
    unsigned kept_count, workers, idle, sleepers;
};

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int stamp_create(struct cuda_stamp **ret_stamp)
{
    struct cuda_stamp *s = calloc(1, sizeof(*s));

    if (!s)
        return CUDA_ERROR_OUT_OF_MEMORY;
    atomic_init(&s->references, 1);
    *ret_stamp = s;
    return 0;
}

void stamp_release(struct cuda_stamp *s)
{
    if (s && atomic_fetch_sub(&s->references, 1) == 1)
        free(s);
}

uint64_t stamp_time(struct cuda_stamp *s)
{
    return atomic_load(&s->time);
}

static struct item *item_take(struct queue_pool *p, size_t room)
{
    struct item *i = p->kept;

    if (i && i->room >= room) {
        p->kept = i->next;
        p->kept_count--;
        return i;
    }
    if (room < 256)
        room = 256;
    i = malloc(sizeof(*i) + room);
    if (i)
        i->room = room;
    return i;
}

static void queue_drop(struct cuda_queue *q)
{
    if (--q->references)
        return;
    *q->newer = q->older;
    if (q->older)
        q->older->newer = q->newer;
    free(q);
}

static void item_give(struct queue_pool *p, struct item *i)
{
    if (i->command.kind == CUDA_WAIT)
        queue_drop(i->command.wait.queue);
    else if (i->command.kind == CUDA_STAMP)
        stamp_release(i->command.stamp.stamp);
    if (p->kept_count < KEPT) {
        i->next = p->kept;
        p->kept = i;
        p->kept_count++;
    } else {
        free(i);
    }
}

static void *worker(void *argument);

static void make_ready(struct cuda_queue *q)
{
    struct queue_pool *p = q->pool;
    struct cuda_queue **at = &p->ready;

    while (*at && (*at)->priority <= q->priority)
        at = &(*at)->next;
    q->next = *at;
    *at = q;
    q->state = QUEUE_READY;
    if (p->idle) {
        pthread_cond_signal(&p->work);
    } else if (p->workers < MAX_WORKERS) {
        pthread_t thread;

        /* One of the threads that are there serves it, if there cannot be more. */
        if (!pthread_create(&thread, NULL, worker, p)) {
            pthread_detach(thread);
            p->workers++;
        }
    }
}

/* Its first command is over. */
static void advance(struct cuda_queue *q)
{
    struct queue_pool *p = q->pool;
    struct item *i = q->first;
    struct cuda_queue **at = &q->waiters;

    q->first = i->next;
    if (!q->first)
        q->last = &q->first;
    atomic_store(&q->completed, q->completed + 1);
    if (q->passed)
        q->passed(q->passed_arg, q->completed);
    while (*at) {
        struct cuda_queue *w = *at;

        if (w->first->command.wait.number <= q->completed) {
            *at = w->next;
            make_ready(w);
        } else {
            at = &w->next;
        }
    }
    item_give(p, i);
    if (p->sleepers)
        pthread_cond_broadcast(&p->done);
}

/* Whether the queue goes on by itself; otherwise it is in a list that somebody looks at. */
static bool step(struct cuda_queue *q)
{
    struct queue_pool *p = q->pool;
    struct cuda_command *c = &q->first->command;
    int error = atomic_load(&q->context->error), result = 0;

    switch (c->kind) {
    case CUDA_WAIT:
        if (!error && c->wait.queue->completed < c->wait.number) {
            q->state = QUEUE_BLOCKED;
            q->next = c->wait.queue->waiters;
            c->wait.queue->waiters = q;
            return false;
        }
        break;
    case CUDA_STAMP:
        if (c->stamp.stamp)
            atomic_store(&c->stamp.stamp->time, now());
        if (c->stamp.time)
            __atomic_store_n(c->stamp.time, now(), __ATOMIC_RELEASE);
        break;
    case CUDA_CALL:
        pthread_mutex_unlock(&p->lock);
        c->call.run(c->call.user, error);
        pthread_mutex_lock(&p->lock);
        break;
    case CUDA_NOTHING:
        break;
    default:
        pthread_mutex_unlock(&p->lock);
        /* What is freed or staged goes all the same. */
        if (!error || c->kind == CUDA_FREE)
            result = p->run(q->context, c);
        if (c->kind == CUDA_COPY)
            free(c->copy.staged);
        if (result > 0)
            atomic_compare_exchange_strong(&q->context->error, &(int){0}, result);
        pthread_mutex_lock(&p->lock);
        if (result < 0) {
            q->state = QUEUE_POLLING;
            q->next = p->polling;
            p->polling = q;
            return false;
        }
    }
    advance(q);
    return true;
}

/* With the lock held; takes commands of the first queue that is ready, until another one is. */
static void serve(struct queue_pool *p)
{
    struct cuda_queue *q = p->ready;
    bool on;

    p->ready = q->next;
    q->state = QUEUE_RUNNING;
    q->references++;
    do {
        on = step(q);
    } while (on && q->first && !p->ready);
    if (on) {
        if (q->first)
            make_ready(q);
        else
            q->state = QUEUE_IDLE;
    }
    queue_drop(q);
}

static void *worker(void *argument)
{
    struct queue_pool *p = argument;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->ready) {
            p->idle++;
            if (p->polling) {
                struct timespec t;

                clock_gettime(CLOCK_REALTIME, &t);
                t.tv_nsec += POLL_NS;
                t.tv_sec += t.tv_nsec / 1000000000;
                t.tv_nsec %= 1000000000;
                pthread_cond_timedwait(&p->work, &p->lock, &t);
            } else {
                pthread_cond_wait(&p->work, &p->lock);
            }
            p->idle--;
            while (p->polling) {
                struct cuda_queue *q = p->polling;

                p->polling = q->next;
                make_ready(q);
            }
        }
        serve(p);
    }
    return NULL;
}

int queue_pool_create(queue_run run, struct queue_pool **ret_pool)
{
    struct queue_pool *p = calloc(1, sizeof(*p));

    if (!p)
        return CUDA_ERROR_OUT_OF_MEMORY;
    p->run = run;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->done, NULL);
    *ret_pool = p;
    return 0;
}

int queue_create(struct queue_pool *pool, struct cuda_context *context, int priority,
                 struct cuda_queue **ret_queue)
{
    struct cuda_queue *q = calloc(1, sizeof(*q));

    if (!q)
        return CUDA_ERROR_OUT_OF_MEMORY;
    q->pool = pool;
    q->context = context;
    q->priority = priority;
    q->references = 1;
    q->last = &q->first;
    pthread_mutex_lock(&pool->lock);
    q->older = pool->all;
    q->newer = &pool->all;
    if (q->older)
        q->older->newer = &q->older;
    pool->all = q;
    pthread_mutex_unlock(&pool->lock);
    *ret_queue = q;
    return 0;
}

void queue_abort(struct queue_pool *p, struct cuda_context *context, int error)
{
    pthread_mutex_lock(&p->lock);
    atomic_compare_exchange_strong(&context->error, &(int){0}, error);
    for (struct cuda_queue *q = p->all; q; q = q->older) {
        struct cuda_queue **at;

        if (q->context != context || q->state != QUEUE_BLOCKED)
            continue;
        for (at = &q->first->command.wait.queue->waiters; *at != q;)
            at = &(*at)->next;
        *at = q->next;
        make_ready(q);
    }
    pthread_mutex_unlock(&p->lock);
}

void queue_hold(struct cuda_queue *q)
{
    pthread_mutex_lock(&q->pool->lock);
    q->references++;
    pthread_mutex_unlock(&q->pool->lock);
}

void queue_release(struct cuda_queue *q)
{
    struct queue_pool *p = q->pool;

    pthread_mutex_lock(&p->lock);
    queue_drop(q);
    pthread_mutex_unlock(&p->lock);
}

uint64_t queue_submit(struct cuda_queue *q, const struct cuda_command *command)
{
    struct queue_pool *p = q->pool;
    size_t bytes = command->kind == CUDA_LAUNCH ? command->launch.parameter_bytes : 0;
    uint64_t number = 0;
    struct item *i;

    pthread_mutex_lock(&p->lock);
    i = item_take(p, bytes);
    if (i) {
        i->next = NULL;
        i->command = *command;
        if (bytes) {
            memcpy(i->parameters, command->launch.parameters, bytes);
            i->command.launch.parameters = i->parameters;
        } else if (command->kind == CUDA_WAIT) {
            command->wait.queue->references++;
        } else if (command->kind == CUDA_STAMP && command->stamp.stamp) {
            atomic_fetch_add(&command->stamp.stamp->references, 1);
        }
        *q->last = i;
        q->last = &i->next;
        number = ++q->submitted;
        if (q->state == QUEUE_IDLE)
            make_ready(q);
    }
    pthread_mutex_unlock(&p->lock);
    return number;
}

void queue_watch(struct cuda_queue *q, void (*passed)(void *arg, uint64_t number), void *arg)
{
    q->passed = passed;
    q->passed_arg = arg;
}

bool queue_done(struct cuda_queue *q, uint64_t number)
{
    return atomic_load(&q->completed) >= number;
}

void queue_wait(struct cuda_queue *q, uint64_t number)
{
    struct queue_pool *p = q->pool;

    if (queue_done(q, number))
        return;
    pthread_mutex_lock(&p->lock);
    p->sleepers++;
    while (q->completed < number)
        pthread_cond_wait(&p->done, &p->lock);
    p->sleepers--;
    pthread_mutex_unlock(&p->lock);
}
