/* SPDX-License-Identifier: MIT */
#include "vaapi_work.h"

#include <stdlib.h>
#include <viaduct/errors.h>
#include <wire/log.h>

/*
 * Where all pictures that a job reads are on this device, complete or handed to its driver, the job
 * goes to the driver at once, on the session's thread: drivers keep the order, and programs use
 * surfaces again on the strength of that. Else it waits, with all that follow it in its context,
 * for the thread, which waits for the pictures and copies those that lie elsewhere to surfaces of
 * its own. Meanwhile nothing is written to surfaces that the job names (vaapi_surface_target).
 *
 * The same thread waits for the device. What can be handed over goes first; but it never waits for
 * a picture to read while one is left that the guest may be waiting for.
 */

#define WORK_DEPTH 4

static struct vaapi_task *task_at(struct vaapi_work *self, uint64_t number)
{
    return &self->tasks[number % VD_MAX_IN_FLIGHT];
}

static int add_buffer(struct vaapi_work *self, struct vaapi_buffers *b, VABufferType type,
                      uint32_t size, uint32_t count, const void *bytes)
{
    int err;

    if (b->count == b->room) {
        uint32_t room = b->room ? 2 * b->room : 32;
        VABufferID *ids = realloc(b->ids, room * sizeof(*ids));

        if (!ids)
            return VD_ERR_MEMORY;
        b->ids = ids;
        b->room = room;
    }
    err = vaapi_error(vaCreateBuffer(self->device->display, self->id, type, size, count,
                                     (void *)(uintptr_t)bytes, &b->ids[b->count]));
    if (!err)
        b->count++;
    return err;
}

int vaapi_work_buffer(struct vaapi_work *self, VABufferType type, uint32_t size, uint32_t count,
                      const void *bytes)
{
    return add_buffer(self, &self->buffers, type, size, count, bytes);
}

int vaapi_work_aside(struct vaapi_work *self, VABufferType type, uint32_t size, uint32_t count,
                     const void *bytes)
{
    return add_buffer(self, &self->aside, type, size, count, bytes);
}

void vaapi_work_drop(struct vaapi_surface **ref)
{
    struct device_frame *frame = *ref ? &(*ref)->frame : NULL;

    *ref = NULL;
    device_frame_unref(&frame);
}

static void count_waiting(const struct vaapi_task *task, int by)
{
    struct vaapi_surface *target = (struct vaapi_surface *)task->job->device;

    for (uint32_t i = 0; i < task->input_count; i++) {
        if (task->inputs[i].own)
            atomic_fetch_add(&task->inputs[i].own->waiting, by);
    }
    if (target)
        atomic_fetch_add(&target->waiting, by);
}

static void task_release(struct vaapi_work *self, struct vaapi_task *task)
{
    if (task->waits)
        count_waiting(task, -1);
    task->waits = false;
    if (self->kind->release)
        self->kind->release(self, task);
    for (uint32_t i = 0; i < task->input_count; i++) {
        struct vaapi_input *input = &task->inputs[i];

        for (size_t j = 0; j < VAAPI_SPARE && input->copy; j++) {
            if (!self->spare[j]) {
                self->spare[j] = input->copy;
                input->copy = NULL;
            }
        }
        vaapi_work_drop(&input->copy);
        vaapi_work_drop(&input->own);
    }
    task->input_count = 0;
}

/* Where a picture that is complete lies on this device, or NULL. */
static struct vaapi_surface *place(const struct vaapi_work *self, const struct vaapi_input *input,
                                   const struct surface_read *read)
{
    struct vaapi_surface *frame = vaapi_surface_of(self->device, read->frame);

    /* Memory of the app's own: only there is what the app wrote. */
    if (read->surface->external)
        return NULL;
    if (!frame && !read->backing && input->exported)
        return input->own;
    return frame;
}

/* Session's thread. Whether the picture is on this device, or will be when what was handed over is
 * done. */
static bool find_input(const struct vaapi_work *self, struct vaapi_input *input,
                       struct surface_read *read)
{
    const struct surface *surface = read->surface;
    struct vaapi_surface *own = vaapi_surface_of(self->device, surface->native), *here = NULL;

    *input = (struct vaapi_input){.id = VA_INVALID_SURFACE, .own = own};
    if (own) {
        device_frame_ref(&own->frame);
        input->exported = surface->exported == surface->native;
    }
    if (surface_read_ready(read))
        here = place(self, input, read);
    else if (own && own->has_handed && own->handed == read->sequence && !surface->external)
        here = own;
    if (here)
        input->id = here->id;
    return here;
}

static int find_inputs(const struct vaapi_work *self, struct vaapi_task *task, bool *ret_here)
{
    struct backend_work *work = task->job->work;
    /* What the target held before, the driver has in its surface. */
    const uint32_t count = work->read_count - work->under;

    *ret_here = true;
    if (count > task->input_room) {
        struct vaapi_input *inputs = realloc(task->inputs, count * sizeof(*task->inputs));

        if (!inputs)
            return VD_ERR_MEMORY;
        task->inputs = inputs;
        task->input_room = count;
    }
    task->input_count = count;
    for (uint32_t i = 0; i < task->input_count; i++)
        *ret_here = find_input(self, &task->inputs[i], &work->reads[i]) && *ret_here;
    return 0;
}

/* The thread: waits for a picture, and brings it to the device. */
static int await_input(struct vaapi_work *self, struct vaapi_input *input,
                       struct surface_read *read)
{
    const struct vaapi_surface *here;
    struct pixels pixels;
    int err = surface_read_wait(read);

    /* A damaged one is read all the same. */
    if (err == VD_ERR_GONE)
        return err;
    here = place(self, input, read);
    if (!here) {
        err = surface_read_pixels(read, &pixels);
        if (!err)
            err = vaapi_copy(self, &pixels, &input->copy);
        if (err)
            return err;
        here = input->copy;
    }
    input->id = here->id;
    return 0;
}

/* Hands one picture to the driver. */
static int render(struct vaapi_work *self, struct vaapi_task *task)
{
    VADisplay display = self->device->display;
    VASurfaceID target;
    VAStatus status;
    int err = self->kind->render(self, task, &target);

    if (!err)
        err = vaapi_error(vaBeginPicture(display, self->id, target));
    if (!err) {
        status = vaRenderPicture(display, self->id, self->buffers.ids, (int)self->buffers.count);
        /* Drivers want each begin to have its end. */
        err = vaapi_error(vaEndPicture(display, self->id));
        if (status)
            err = vaapi_error(status);
    }
    vaapi_params_destroy(self->device, &self->buffers);
    vaapi_params_destroy(self->device, &self->aside);
    return err;
}

/* The thread: one that had to wait. */
static void render_late(struct vaapi_work *self, struct vaapi_task *task)
{
    struct backend_job *job = task->job;

    for (uint32_t i = 0; !job->status && i < task->input_count; i++)
        job->status = await_input(self, &task->inputs[i], &job->work->reads[i]);
    if (!job->status)
        job->status = render(self, task);
    if (task->waits)
        count_waiting(task, -1);
    task->waits = false;
}

static void finish(struct vaapi_work *self, struct vaapi_task *task)
{
    struct backend_job *job = task->job;
    const struct backend_work *work = job->work;

    /* The driver may be done before the thread of its decoder has seen to the picture it read. */
    for (uint32_t i = 0; work && i < work->read_count; i++)
        surface_read_wait(&work->reads[i]);
    if (!job->refused)
        job->status = self->kind->finish(self, task);
    if (job->status) {
        log_debug("vaapi: picture lost: %s", errors_text(job->status));
        device_frame_unref(&job->device);
    }
    task_release(self, task);
    self->info.done(self->info.done_arg, job);
}

static bool ready(const struct vaapi_task *task)
{
    for (uint32_t i = 0; i < task->input_count; i++) {
        if (!surface_read_ready(&task->job->work->reads[i]))
            return false;
    }
    return true;
}

static void *work_run(void *arg)
{
    struct vaapi_work *self = arg;

    pthread_mutex_lock(&self->lock);
    while (!self->quit) {
        struct vaapi_task *late =
            self->rendered < self->queued ? task_at(self, self->rendered + 1) : NULL;
        struct vaapi_task *oldest =
            self->done < self->rendered ? task_at(self, self->done + 1) : NULL;

        if (!late && !oldest) {
            pthread_cond_wait(&self->wake, &self->lock);
            continue;
        }
        pthread_mutex_unlock(&self->lock);
        if (late && (!oldest || ready(late))) {
            render_late(self, late);
            pthread_mutex_lock(&self->lock);
            self->rendered++;
        } else {
            finish(self, oldest);
            pthread_mutex_lock(&self->lock);
            self->done++;
        }
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* Session's thread. Whether it went to the driver, or failed: the thread only waits for it. */
static bool submit(struct vaapi_work *self, struct vaapi_task *task, bool first)
{
    struct backend_job *job = task->job;
    struct vaapi_surface *target;
    bool here;

    job->status = job->refused;
    if (job->refused)
        return first;
    job->status = find_inputs(self, task, &here);
    if (job->status) {
        job->refused = job->status;
        return first;
    }
    job->status = self->kind->prepare(self, task);
    if (!job->status && first && here) {
        job->status = render(self, task);
        target = (struct vaapi_surface *)job->device;
        if (!job->status && target) {
            target->has_handed = true;
            target->handed = job->sequence;
        }
        return true;
    }
    if (first && job->status)
        return true;
    task->waits = true;
    count_waiting(task, 1);
    return false;
}

static void work_submit(void *context, struct backend_job *job)
{
    struct vaapi_work *self = context;
    struct vaapi_task *task = task_at(self, self->queued + 1);
    bool first, rendered;

    /* Only this thread adds: what nothing waits in front of now nothing will. */
    pthread_mutex_lock(&self->lock);
    first = self->rendered == self->queued;
    pthread_mutex_unlock(&self->lock);
    task->job = job;
    task->coded = VA_INVALID_ID;
    rendered = submit(self, task, first);
    pthread_mutex_lock(&self->lock);
    self->queued++;
    if (rendered)
        self->rendered++;
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
}

/* Nothing is held back here: what a picture waits for is kicked by the session. */
static void work_flush(void *context, uint64_t number)
{
    (void)context, (void)number;
}

static void work_destroy(void *context)
{
    struct vaapi_work *self = context;

    if (self->started) {
        pthread_mutex_lock(&self->lock);
        self->quit = true;
        pthread_cond_signal(&self->wake);
        pthread_mutex_unlock(&self->lock);
        pthread_join(self->thread, NULL);
    }
    for (uint64_t n = self->done + 1; n <= self->queued; n++)
        task_release(self, task_at(self, n));
    if (self->kind->destroy)
        self->kind->destroy(self);
    if (self->id != VA_INVALID_ID)
        vaDestroyContext(self->device->display, self->id);
    if (self->config != VA_INVALID_ID)
        vaDestroyConfig(self->device->display, self->config);
    for (size_t i = 0; i < VAAPI_SPARE; i++)
        vaapi_work_drop(&self->spare[i]);
    for (size_t i = 0; i < VD_MAX_IN_FLIGHT; i++)
        free(self->tasks[i].inputs);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
    free(self->buffers.ids);
    free(self->aside.ids);
    free(self);
}

/* As the app's config was made: what it did not say is not said here either. */
static VAStatus create_config(struct vaapi_work *self)
{
    const struct backend_context_info *info = &self->info;
    VAConfigAttrib attributes[3];
    int count = 0;

    if (__builtin_popcount(info->rt_formats) == 1)
        attributes[count++] = (VAConfigAttrib){VAConfigAttribRTFormat, info->rt_formats};
    if (info->rate_control)
        attributes[count++] = (VAConfigAttrib){VAConfigAttribRateControl, info->rate_control};
    if (info->packed_headers)
        attributes[count++] =
            (VAConfigAttrib){VAConfigAttribEncPackedHeaders, info->packed_headers};
    return vaCreateConfig(self->device->display, (VAProfile)info->profile,
                          (VAEntrypoint)info->entrypoint, attributes, count, &self->config);
}

static const struct vaapi_context_ops work_ops = {work_submit, work_flush, work_destroy};

int vaapi_work_create(const struct backend_context_info *info, void **ret_context,
                      struct backend_context_traits *ret_traits)
{
    struct vaapi_device *device = info->device;
    struct vaapi_work *self = calloc(1, sizeof(*self));
    VAStatus status;
    int err = 0;

    if (!self)
        return VD_ERR_MEMORY;
    self->ops = &work_ops;
    self->kind = info->entrypoint == VAEntrypointVideoProc ? &vaapi_proc_kind : &vaapi_encode_kind;
    self->info = *info;
    self->device = device;
    self->config = VA_INVALID_ID;
    self->id = VA_INVALID_ID;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->wake, NULL);
    self->format_count = vaapi_caps_formats(device, (VAProfile)info->profile,
                                            (VAEntrypoint)info->entrypoint, self->formats);
    status = create_config(self);
    if (!status)
        status = vaCreateContext(device->display, self->config, (int)info->width, (int)info->height,
                                 VA_PROGRESSIVE, NULL, 0, &self->id);
    if (status) {
        log_warn("vaapi: no context for profile %d, entry point %u, %ux%u: %s", (int)info->profile,
                 info->entrypoint, info->width, info->height, vaErrorStr(status));
        err = vaapi_error(status);
    } else if (self->kind->create) {
        err = self->kind->create(self);
    }
    if (!err && pthread_create(&self->thread, NULL, work_run, self))
        err = VD_ERR_MEMORY;
    if (err) {
        work_destroy(self);
        return err;
    }
    self->started = true;
    *ret_traits = (struct backend_context_traits){.flags = VD_CONTEXT_KICK, .depth = WORK_DEPTH};
    *ret_context = self;
    return 0;
}
