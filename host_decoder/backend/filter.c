/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>

#include "../backend.h"
#include "../vpp/vpp.h"

/* Video processing in software (vpp/): a picture is complete when submit returns. */

#define FILTER_DEPTH 4

struct filter_context {
    struct backend_context_info info;
    struct vpp *vpp;
    struct vpp_pipeline pipelines[VD_MAX_PIPELINES];
};

static uint32_t filter_caps(struct vd_cap *ret_caps, uint32_t room)
{
    struct vd_cap cap = {
        .profile = (uint32_t)VAProfileNone,
        .entrypoint = VAEntrypointVideoProc,
        .min_width = 1,
        .min_height = 1,
        .max_width = VD_MAX_SURFACE_SIZE,
        .max_height = VD_MAX_SURFACE_SIZE,
    };

    if (!room)
        return 0;
    cap.format_count = vpp_formats(cap.formats, VD_MAX_CAP_FORMATS);
    cap.attribute_count = vpp_attributes(cap.attributes, cap.values, VD_MAX_CAP_ATTRIBUTES);
    for (uint32_t i = 0; i < cap.format_count; i++)
        cap.rt_formats |= format_find(cap.formats[i])->rt_format;
    *ret_caps = cap;
    return cap.format_count > 0;
}

static int filter_probe(const struct backend_options *options)
{
    struct vd_cap cap;

    (void)options;
    return filter_caps(&cap, 1) ? 0 : VD_ERR_UNSUPPORTED;
}

static int filter_context_create(const struct backend_context_info *info, void **ret_context,
                                 struct backend_context_traits *ret_traits)
{
    struct filter_context *self = calloc(1, sizeof(*self));
    int err;

    if (!self)
        return VD_ERR_MEMORY;
    self->info = *info;
    err = vpp_create(info->options->threads, &self->vpp);
    if (err) {
        free(self);
        return err;
    }
    *ret_traits = (struct backend_context_traits){.flags = VD_CONTEXT_KICK, .depth = FILTER_DEPTH};
    *ret_context = self;
    return 0;
}

static void filter_context_destroy(void *context)
{
    struct filter_context *self = context;

    vpp_destroy(self->vpp);
    free(self);
}

/* The pictures of all pipelines, in the order of the reads. */
static int set_pipelines(struct filter_context *self, const struct backend_work *work)
{
    struct surface_read *read = work->reads;
    int err = 0;

    for (uint32_t i = 0; i < work->pipeline_count && !err; i++) {
        const struct vd_proc_pipeline *params = work->pipelines[i];
        struct vpp_pipeline *p = &self->pipelines[i];

        *p = (struct vpp_pipeline){
            .params = params,
            .filters = (const struct vd_proc_filter *)(params + 1),
        };
        err = surface_read_pixels(read++, &p->input);
        for (uint32_t j = 0; j < params->forward_count && !err; j++)
            err = surface_read_pixels(read++, &p->forward[j]);
        for (uint32_t j = 0; j < params->backward_count && !err; j++)
            err = surface_read_pixels(read++, &p->backward[j]);
    }
    return err;
}

static bool reads_memory(const struct backend_work *work, const struct backing *backing)
{
    for (uint32_t i = 0; i < work->read_count - work->under; i++) {
        if (work->reads[i].backing == backing)
            return true;
    }
    return false;
}

static int process(struct filter_context *self, struct backend_job *job)
{
    const struct surface *surface = job->surface;
    struct backing *fixed = job->flags & VD_SUBMIT_FIXED ? surface_current(job->surface) : NULL;
    struct backing *backing = NULL;
    struct surface_read *before =
        job->work->under ? &job->work->reads[job->work->read_count - 1] : NULL;
    struct pixels target, under;
    int err = set_pipelines(self, job->work);

    /* A surface that never had a picture is black, not what zeros are in its format. */
    if (before && !before->backing && !before->frame && !before->surface->external)
        before = NULL;
    if (!err && before)
        err = surface_read_pixels(before, &under);

    /* Memory that is seen elsewhere is written at once, unless the picture is made from it. */
    if (!err && fixed && !reads_memory(job->work, fixed))
        backing = pool_ref(fixed);
    else if (!err)
        err = pool_get(job->surface, &backing);
    if (!err) {
        target = (struct pixels){surface->format, &surface->layout, backing->bytes, surface->width,
                                 surface->height};
        err = vpp_run(self->vpp, &target, before ? &under : NULL, self->pipelines,
                      job->work->pipeline_count);
    }
    if (!err && fixed && fixed != backing) {
        format_copy(surface->format, surface->width, surface->height, fixed->bytes,
                    &surface->layout, backing->bytes, &surface->layout);
        pool_unref(&backing);
        backing = pool_ref(fixed);
    }
    pool_unref(&fixed);
    if (err)
        pool_unref(&backing);
    job->backing = backing;
    return err;
}

static void filter_submit(void *context, struct backend_job *job)
{
    struct filter_context *self = context;

    job->status = job->refused ? job->refused : process(self, job);
    self->info.done(self->info.done_arg, job);
}

static void filter_flush(void *context, uint64_t number)
{
    (void)context, (void)number;
}

const struct backend backend_filter = {
    .name = "filter",
    .probe = filter_probe,
    .caps = filter_caps,
    .context_create = filter_context_create,
    .submit = filter_submit,
    .flush = filter_flush,
    .context_destroy = filter_context_destroy,
};
