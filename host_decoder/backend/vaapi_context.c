/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "vaapi.h"

/*
 * Contexts that decode. Pictures are handed to the driver on the session's thread, while their
 * parameters and the guest's surface ids are at hand; a thread of the context waits for them in
 * order, one picture behind: a driver that is asked for the first field of a frame, and is a bridge
 * as we are, gives up waiting for the second. The last picture is waited for when somebody else
 * does.
 */

/* Enough that the device never waits for us. */
#define CONTEXT_DEPTH 12

struct vaapi_context {
    const struct vaapi_context_ops *ops;
    struct backend_context_info info;
    struct vaapi_device *device;
    VAConfigID config;
    VAContextID id;
    struct vaapi_buffers buffers;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct backend_job *jobs[VD_MAX_IN_FLIGHT];
    /* Under the lock: numbers of jobs; `kicked`: wait for those up to this one, too. */
    uint64_t queued, taken, kicked;
    bool quit;
};

/* Waits for one picture of the device. */
static void finish(struct vaapi_context *self, struct backend_job *job)
{
    if (!job->status) {
        struct vaapi_surface *target = (struct vaapi_surface *)job->device;
        VAStatus status = vaSyncSurface(self->device->display, target->id);
        struct vaapi_surface *shown = (struct vaapi_surface *)job->display_device;

        if (!status && shown)
            status = vaSyncSurface(self->device->display, shown->id);

        job->status = vaapi_error(status);
        /* The picture is there, with damage that was concealed. */
        if (status == VA_STATUS_ERROR_DECODING_ERROR)
            job->errors = 1;
    }
    if (job->status && !job->errors) {
        log_debug("vaapi: picture lost: %s", errors_text(job->status));
        device_frame_unref(&job->device);
        device_frame_unref(&job->display_device);
    }
    self->info.done(self->info.done_arg, job);
}

static void *context_run(void *arg)
{
    struct vaapi_context *self = arg;

    pthread_mutex_lock(&self->lock);
    while (!self->quit) {
        if (self->taken + 1 < self->queued ||
            (self->taken < self->queued && self->taken < self->kicked)) {
            struct backend_job *job = self->jobs[++self->taken % VD_MAX_IN_FLIGHT];

            pthread_mutex_unlock(&self->lock);
            finish(self, job);
            pthread_mutex_lock(&self->lock);
        } else {
            pthread_cond_wait(&self->wake, &self->lock);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static void context_destroy(void *context)
{
    struct vaapi_context *self = context;

    if (self->started) {
        pthread_mutex_lock(&self->lock);
        self->quit = true;
        pthread_cond_signal(&self->wake);
        pthread_mutex_unlock(&self->lock);
        pthread_join(self->thread, NULL);
    }
    if (self->id != VA_INVALID_ID)
        vaDestroyContext(self->device->display, self->id);
    if (self->config != VA_INVALID_ID)
        vaDestroyConfig(self->device->display, self->config);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
    free(self->buffers.ids);
    free(self);
}

/* Hands one picture to the driver. */
static int render(struct vaapi_context *self, struct backend_job *job)
{
    VADisplay display = self->device->display;
    struct vaapi_surface *target, *shown;
    VAStatus status;
    int err = vaapi_surface_target(self->device, job->surface, &target);

    if (err)
        return err;
    job->device = device_frame_ref(&target->frame);
    if (job->display) {
        err = vaapi_surface_target(self->device, job->display, &shown);
        if (err)
            return err;
        job->display_device = device_frame_ref(&shown->frame);
    }
    err = vaapi_params_create(self->device, self->id, &self->info, job->picture, &self->buffers);
    if (err)
        return err;
    status = vaBeginPicture(display, self->id, target->id);
    if (status)
        return vaapi_error(status);
    status = vaRenderPicture(display, self->id, self->buffers.ids, (int)self->buffers.count);
    if (status) {
        /* Drivers want each begin to have its end. */
        vaEndPicture(display, self->id);
        return vaapi_error(status);
    }
    err = vaapi_error(vaEndPicture(display, self->id));
    if (err)
        return err;
    /* Who reads the surface means the one that is shown. */
    target->has_handed = true;
    target->handed = job->sequence;
    if (job->display) {
        shown->has_handed = true;
        shown->handed = job->display_sequence;
    }
    return 0;
}

static void context_submit(void *context, struct backend_job *job)
{
    struct vaapi_context *self = context;

    job->status = job->refused ? job->refused : render(self, job);
    vaapi_params_destroy(self->device, &self->buffers);
    pthread_mutex_lock(&self->lock);
    self->jobs[++self->queued % VD_MAX_IN_FLIGHT] = job;
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
}

static void context_flush(void *context, uint64_t number)
{
    struct vaapi_context *self = context;

    pthread_mutex_lock(&self->lock);
    if (number > self->kicked)
        self->kicked = number;
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
}

static const struct vaapi_context_ops context_ops = {context_submit, context_flush,
                                                     context_destroy};

int vaapi_context_create(const struct backend_context_info *info, void **ret_context,
                         struct backend_context_traits *ret_traits)
{
    struct vaapi_device *device = info->device;
    struct vaapi_context *self = calloc(1, sizeof(*self));
    VAConfigAttrib rt = {VAConfigAttribRTFormat, info->rt_formats};
    /*
     * Surfaces come later, and which of several formats they have only the app knows. Drivers
     * read several bits in several ways (the first one, all); without the attribute all take what
     * the profile can have.
     */
    const int attributes = __builtin_popcount(info->rt_formats) == 1;
    VAStatus status;

    if (!self)
        return VD_ERR_MEMORY;
    self->ops = &context_ops;
    self->info = *info;
    self->device = device;
    self->config = VA_INVALID_ID;
    self->id = VA_INVALID_ID;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->wake, NULL);
    status = vaCreateConfig(device->display, (VAProfile)info->profile,
                            (VAEntrypoint)info->entrypoint, &rt, attributes, &self->config);
    /* Render targets come later: surfaces are made when they are first used. */
    if (!status)
        status = vaCreateContext(device->display, self->config, (int)info->width, (int)info->height,
                                 VA_PROGRESSIVE, NULL, 0, &self->id);
    if (!status && pthread_create(&self->thread, NULL, context_run, self))
        status = VA_STATUS_ERROR_ALLOCATION_FAILED;
    if (status) {
        log_warn("vaapi: no context for profile %u, %ux%u: %s", info->profile, info->width,
                 info->height, vaErrorStr(status));
        context_destroy(self);
        return vaapi_error(status);
    }
    self->started = true;
    *ret_traits = (struct backend_context_traits){.flags = VD_CONTEXT_KICK, .depth = CONTEXT_DEPTH};
    *ret_context = self;
    return 0;
}
