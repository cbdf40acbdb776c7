/* SPDX-License-Identifier: MIT */
#include "hosted.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <transport/fence.h>
#include <transport/mirror.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

#include "hosted_private.h"

/* So many quick runs in a row, and the next one like them is done at once. */
#define HOSTED_QUICK_RUNS 4

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static struct timespec as_time(uint64_t ns)
{
    return (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
}

bool hosted_job_left(struct hosted *m, const struct job *job)
{
    bool left;

    pthread_mutex_lock(&m->lock);
    left = m->left || job->cancelled;
    pthread_mutex_unlock(&m->lock);
    return left;
}

/* Ends what takes longer than it may. */
static void *watch_run(void *arg)
{
    struct hosted *m = arg;

    pthread_mutex_lock(&m->lock);
    while (!m->left) {
        struct timespec until = as_time(m->deadline);

        m->watch_until = m->deadline ? m->deadline : UINT64_MAX;
        if (!m->deadline) {
            pthread_cond_wait(&m->watched, &m->lock);
        } else if (now_ns() < m->deadline) {
            pthread_cond_timedwait(&m->watched, &m->lock, &until);
        } else {
            m->deadline = 0;
            m->running->late = true;
            hosted_job_cancel(m);
            hosted_extra_cancel(m, m->running);
        }
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* The job is in nobody's hands any more; tells the guest. */
static void publish(struct hosted *m, struct job *job)
{
    struct vd_context_slot *slot = &m->setup.arena->status->contexts[VD_SLOT(m->setup.id)];

    pthread_mutex_lock(&m->lock);
    m->done = job->number;
    /* Under the lock: a slot whose model has left may be another's. */
    if (!m->left) {
        arena_signal(m->setup.arena, &slot->done, &slot->waiters, job->number);
        if (m->setup.arena->mirror)
            mirror_host_context(m->setup.arena->mirror, m->setup.id, job->number);
    }
    pthread_mutex_unlock(&m->lock);
}

/* The lock is held and let go meanwhile. */
static void execute(struct hosted *m, struct job *job)
{
    bool interrupted, cancelled = job->cancelled;

    m->running = job;
    if (job->kind == JOB_RUN && job->limit) {
        m->deadline = now_ns() + job->limit * UINT64_C(1000000);
        /* Limits of the host are all alike: who waits for an earlier one's is awake in time. */
        if (m->deadline < m->watch_until)
            pthread_cond_signal(&m->watched);
    }
    pthread_mutex_unlock(&m->lock);
    hosted_job_do(m, job);
    pthread_mutex_lock(&m->lock);
    m->running = NULL;
    m->deadline = 0;
    interrupted = (job->cancelled && !cancelled) || job->late;
    pthread_mutex_unlock(&m->lock);
    if (interrupted && m->current)
        m->model->provider->resume(m->current);
    hosted_extra_end(m, job);
    publish(m, job);
    pthread_mutex_lock(&m->lock);
}

static void *hosted_thread(void *arg)
{
    struct hosted *m = arg;

    pthread_mutex_lock(&m->lock);
    for (;;) {
        /* One may be running on the session's thread. */
        while (!m->left && (m->running || m->done == m->submitted))
            pthread_cond_wait(&m->wake, &m->lock);
        if (m->left)
            break;
        execute(m, &m->jobs[(m->done + 1) % VD_MAX_NPU_JOBS]);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

int hosted_create(const struct hosted_setup *setup, struct hosted **ret_model)
{
    struct hosted *m = calloc(1, sizeof(*m));
    pthread_condattr_t attr;
    void *bytes = NULL;
    int err;

    if (!m)
        return VD_ERR_MEMORY;
    m->setup = *setup;
    err = setup->alloc(setup->owner, setup->size, &bytes);
    if (err) {
        free(m);
        return err;
    }
    m->bytes = bytes;
    m->key = (struct shelf_key){
        .size = setup->size, .threads = setup->threads, .require = setup->require};
    memcpy(m->key.devices, setup->devices, strnlen(setup->devices, sizeof(m->key.devices) - 1));
    /* Nobody waits yet; whoever had the slot has left. */
    __atomic_store_n(&setup->arena->status->contexts[VD_SLOT(setup->id)].done, 0, __ATOMIC_RELEASE);
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->wake, &attr);
    pthread_cond_init(&m->watched, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&m->thread, NULL, hosted_thread, m)) {
        setup->free(m->bytes);
        pthread_cond_destroy(&m->watched);
        pthread_cond_destroy(&m->wake);
        pthread_mutex_destroy(&m->lock);
        free(m);
        return VD_ERR_MEMORY;
    }
    *ret_model = m;
    return 0;
}

uint32_t hosted_id(const struct hosted *m)
{
    return m->setup.id;
}

int hosted_data(struct hosted *m, const struct vd_npu_data_req *req)
{
    if (m->loading || req->size > m->setup.size - m->filled ||
        arena_check_upload(m->setup.arena, req->offset, req->size))
        return VD_ERR_PROTOCOL;
    memcpy(m->bytes + m->filled, m->setup.arena->base + req->offset, req->size);
    m->filled += req->size;
    return 0;
}

int hosted_have(struct hosted *m, const struct vd_npu_have_req *req, bool *ret_known)
{
    _Static_assert(sizeof(req->hash) == SHA256_BYTES, "the wire has room for a hash");

    if (m->loading || m->filled)
        return VD_ERR_PROTOCOL;
    memcpy(m->key.hash, req->hash, sizeof(m->key.hash));
    m->model = shelf_find(m->setup.shelf, &m->key);
    *ret_known = m->model;
    if (m->model) {
        m->filled = m->setup.size;
        m->setup.free(m->bytes);
        m->bytes = NULL;
    }
    return 0;
}

/* A free job of this number whose result may go there. `inputs` of `count` values are. */
static int take_job(struct hosted *m, enum job_kind kind, uint32_t number, uint64_t result,
                    uint64_t room, uint32_t inputs, uint32_t count, struct job **ret_job)
{
    struct job *job = &m->jobs[number % VD_MAX_NPU_JOBS];
    uint32_t done;

    pthread_mutex_lock(&m->lock);
    done = m->done;
    pthread_mutex_unlock(&m->lock);
    if (number != m->submitted + 1 || number - done > VD_MAX_NPU_JOBS ||
        room < sizeof(struct vd_npu_result) + (count - inputs) * sizeof(struct vd_npu_value) ||
        arena_check_upload(m->setup.arena, result, room))
        return VD_ERR_PROTOCOL;
    /* Also a job of nothing has a place to point to. */
    if (!job->values || count > job->value_room) {
        uint32_t wanted = count ? count : 1;
        struct vd_npu_value *grown = realloc(job->values, wanted * sizeof(*grown));

        if (!grown)
            return VD_ERR_MEMORY;
        job->values = grown;
        job->value_room = wanted;
    }
    job->kind = kind;
    job->number = number;
    job->result = result;
    job->room = room;
    job->count = count;
    job->inputs = inputs;
    job->milliseconds = job->limit = job->source = 0;
    job->cancelled = job->late = job->extras = false;
    *ret_job = job;
    return 0;
}

/* `ret_extras`: there are pictures, or outputs that something is made of. */
static int check_values(const struct hosted *m, const struct vd_npu_value *values, uint32_t inputs,
                        uint32_t count, bool *ret_extras)
{
    for (uint32_t i = 0; i < count; i++) {
        bool nothing = i < inputs && values[i].kind == VD_NPU_NONE;
        bool picture = i < inputs && values[i].kind == VD_NPU_PICTURE;

        if ((i < inputs && !picture && npu_value_check(&values[i])) ||
            (!nothing && arena_check_upload(m->setup.arena, values[i].offset, values[i].size)))
            return VD_ERR_PROTOCOL;
        *ret_extras = *ret_extras || picture || (i >= inputs && values[i].kind == VD_NPU_POST);
    }
    return 0;
}

static uint64_t input_bytes(const struct job *job)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < job->inputs; i++)
        sum += job->values[i].size;
    return sum;
}

static void submit(struct hosted *m, struct job *job)
{
    pthread_mutex_lock(&m->lock);
    m->submitted = job->number;
    /* `quick` is the executor's, and there is none. */
    if (!m->running && m->done + 1 == job->number && job->kind == JOB_RUN && !job->milliseconds &&
        !job->extras && m->quick >= HOSTED_QUICK_RUNS && m->quick_bytes == input_bytes(job))
        execute(m, job);
    else
        pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
}

int hosted_load(struct hosted *m, const struct vd_npu_load_req *req)
{
    struct job *job;
    int err;

    if (m->loading || m->filled != m->setup.size)
        return VD_ERR_PROTOCOL;
    err = take_job(m, JOB_LOAD, req->job, req->result, req->room, 0, 0, &job);
    if (err)
        return err;
    m->loading = true;
    submit(m, job);
    return 0;
}

/* Starts the thread that looks at the clock, once there is a limit. */
static int need_watch(struct hosted *m)
{
    int err = 0;

    if (!m->watching)
        err = pthread_create(&m->watch, NULL, watch_run, m) ? VD_ERR_MEMORY : 0;
    m->watching = m->watching || !err;
    return err;
}

int hosted_run(struct hosted *m, const struct vd_npu_run_req *req,
               const struct vd_npu_value *values, uint32_t count)
{
    uint32_t most = m->setup.milliseconds, limit = req->milliseconds;
    struct job *job;
    bool extras = false;
    int err;

    if (!limit || (most && most < limit))
        limit = most;
    if (!m->loading || req->inputs > count || check_values(m, values, req->inputs, count, &extras))
        return VD_ERR_PROTOCOL;
    err = limit ? need_watch(m) : 0;
    if (!err)
        err = take_job(m, JOB_RUN, req->job, req->result, req->room, req->inputs, count, &job);
    if (err)
        return err;
    job->milliseconds = req->milliseconds;
    job->limit = limit;
    if (count)
        memcpy(job->values, values, count * sizeof(*values));
    job->extras = extras;
    if (extras)
        err = hosted_extra_take(m, job);
    if (err)
        return err;
    submit(m, job);
    return 0;
}

int hosted_fetch(struct hosted *m, const struct vd_npu_fetch_req *req,
                 const struct vd_npu_value *values, uint32_t count)
{
    struct job *job;
    int err;

    if (!m->loading || check_values(m, values, 0, count, &(bool){false}))
        return VD_ERR_PROTOCOL;
    err = take_job(m, JOB_FETCH, req->job, req->result, req->room, 0, count, &job);
    if (err)
        return err;
    job->source = req->source;
    if (count)
        memcpy(job->values, values, count * sizeof(*values));
    submit(m, job);
    return 0;
}

void hosted_cancel(struct hosted *m, uint32_t number)
{
    struct job *job = &m->jobs[number % VD_MAX_NPU_JOBS];

    pthread_mutex_lock(&m->lock);
    if (number - m->done - 1 < m->submitted - m->done && job->number == number) {
        job->cancelled = true;
        if (m->running == job && job->kind == JOB_RUN)
            hosted_job_cancel(m);
        hosted_extra_cancel(m, job);
    }
    pthread_mutex_unlock(&m->lock);
}

void hosted_kick(struct hosted *m, uint32_t number)
{
    const struct pictures_ops *ops = m->setup.pictures;
    uint32_t done;

    pthread_mutex_lock(&m->lock);
    done = m->done;
    pthread_mutex_unlock(&m->lock);
    /* Reads begin on this thread; one that ends meanwhile needs nothing any more. */
    for (uint32_t i = done + 1; i - done - 1 < m->submitted - done && i != number + 1; i++) {
        struct job *job = &m->jobs[i % VD_MAX_NPU_JOBS];

        for (uint32_t j = 0; job->extras && j < job->extra->picture_count; j++)
            ops->kick(m->setup.pictures_owner, job->extra->pictures[j].read);
    }
}

void hosted_leave(struct hosted *m)
{
    pthread_mutex_lock(&m->lock);
    m->left = true;
    if (m->running && m->running->kind == JOB_RUN)
        hosted_job_cancel(m);
    for (uint32_t i = 0; i < VD_MAX_NPU_JOBS; i++)
        hosted_extra_cancel(m, &m->jobs[i]);
    pthread_cond_broadcast(&m->wake);
    pthread_cond_broadcast(&m->watched);
    pthread_mutex_unlock(&m->lock);
}

bool hosted_reap(struct hosted *m, int milliseconds)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += milliseconds % 1000 * 1000000l;
    if (until.tv_nsec >= 1000000000l) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000l;
    }
    if (pthread_timedjoin_np(m->thread, NULL, &until) == ETIMEDOUT)
        return false;
    if (m->watching)
        pthread_join(m->watch, NULL);
    hosted_extra_finish(m);
    hosted_job_finish(m);
    for (uint32_t i = 0; i < VD_MAX_NPU_JOBS; i++)
        free(m->jobs[i].values);
    pthread_cond_destroy(&m->watched);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    free(m);
    return true;
}
