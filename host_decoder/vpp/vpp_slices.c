/* SPDX-License-Identifier: MIT */
#include "vpp_slices.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct slices_worker {
    struct vpp_slices *slices;
    pthread_t thread;
    int number;
};

struct vpp_slices {
    pthread_mutex_t lock; /* guards all below but workers and threads */
    pthread_cond_t start, finished;
    void (*work)(void *argument, int part, int worker);
    void *argument;
    int next, count, busy;
    bool quit;
    int threads, started;
    struct slices_worker *workers;
};

/* Takes parts until there are no more. With the lock held. */
static void take_parts(struct vpp_slices *slices, int worker)
{
    while (slices->next < slices->count) {
        int part = slices->next++;

        slices->busy++;
        pthread_mutex_unlock(&slices->lock);
        slices->work(slices->argument, part, worker);
        pthread_mutex_lock(&slices->lock);
        slices->busy--;
    }
}

static void *worker_run(void *argument)
{
    struct slices_worker *worker = argument;
    struct vpp_slices *slices = worker->slices;

    pthread_mutex_lock(&slices->lock);
    while (!slices->quit) {
        take_parts(slices, worker->number);
        if (!slices->busy)
            pthread_cond_signal(&slices->finished);
        if (!slices->quit)
            pthread_cond_wait(&slices->start, &slices->lock);
    }
    pthread_mutex_unlock(&slices->lock);
    return NULL;
}

struct vpp_slices *vpp_slices_create(int threads)
{
    struct vpp_slices *slices = calloc(1, sizeof(*slices));

    if (!slices)
        return NULL;
    pthread_mutex_init(&slices->lock, NULL);
    pthread_cond_init(&slices->start, NULL);
    pthread_cond_init(&slices->finished, NULL);
    slices->threads = threads;
    slices->workers = calloc((size_t)threads, sizeof(*slices->workers));
    if (!slices->workers)
        goto fail;
    for (int i = 1; i < threads; i++) {
        slices->workers[i] = (struct slices_worker){.slices = slices, .number = i};
        if (pthread_create(&slices->workers[i].thread, NULL, worker_run, &slices->workers[i]))
            goto fail;
        slices->started = i;
    }
    return slices;
fail:
    vpp_slices_destroy(slices);
    return NULL;
}

void vpp_slices_destroy(struct vpp_slices *slices)
{
    if (!slices)
        return;
    pthread_mutex_lock(&slices->lock);
    slices->quit = true;
    pthread_cond_broadcast(&slices->start);
    pthread_mutex_unlock(&slices->lock);
    for (int i = 1; i <= slices->started; i++)
        pthread_join(slices->workers[i].thread, NULL);
    pthread_cond_destroy(&slices->finished);
    pthread_cond_destroy(&slices->start);
    pthread_mutex_destroy(&slices->lock);
    free(slices->workers);
    free(slices);
}

int vpp_slices_threads(const struct vpp_slices *slices)
{
    return slices->threads;
}

void vpp_slices_run(struct vpp_slices *slices, void (*work)(void *argument, int part, int worker),
                    void *argument, int count)
{
    pthread_mutex_lock(&slices->lock);
    slices->work = work;
    slices->argument = argument;
    slices->next = 0;
    slices->count = count;
    pthread_cond_broadcast(&slices->start);
    take_parts(slices, 0);
    while (slices->busy)
        pthread_cond_wait(&slices->finished, &slices->lock);
    slices->count = 0;
    pthread_mutex_unlock(&slices->lock);
}
