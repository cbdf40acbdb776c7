/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "../backend.h"

/*
 * Decodes nothing: every picture is complete at once and its pixels are whatever the memory
 * holds. For measuring the bridge itself and for tests of everything around a decoder; never
 * chosen unless asked for.
 */

struct null_context {
    struct backend_context_info info;
    uint64_t pictures;
};

static uint32_t null_caps(struct vd_cap *ret_caps, uint32_t room)
{
    static const uint32_t profiles[] = {
        VAProfileH264Main,
        VAProfileH264High,
        VAProfileH264ConstrainedBaseline,
    };
    uint32_t n = 0;

    for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]) && n < room; i++) {
        ret_caps[n++] = (struct vd_cap){
            .profile = profiles[i],
            .entrypoint = VAEntrypointVLD,
            .rt_formats = VA_RT_FORMAT_YUV420,
            .min_width = 16,
            .min_height = 16,
            .max_width = VD_MAX_H264_SIZE,
            .max_height = VD_MAX_H264_SIZE,
            .format_count = 2,
            .formats = {VA_FOURCC_I420, VA_FOURCC_NV12},
        };
    }
    return n;
}

static int null_context_create(const struct backend_context_info *info, void **ret_context,
                               struct backend_context_traits *ret_traits)
{
    struct null_context *self = calloc(1, sizeof(*self));

    if (!self)
        return VD_ERR_MEMORY;
    self->info = *info;
    *ret_context = self;
    *ret_traits = (struct backend_context_traits){.depth = VD_MAX_IN_FLIGHT};
    return 0;
}

static void null_submit(void *context, struct backend_job *job)
{
    struct null_context *self = context;

    self->pictures++;
    log_debug("null: picture %llu, surface %#x, sequence %u", (unsigned long long)self->pictures,
              (unsigned)job->surface->id, (unsigned)job->sequence);
    job->status = job->refused;
    if (!job->refused && !job->backing) {
        job->backing = surface_current(job->surface);
        if (!job->backing)
            job->status = pool_get(job->surface, &job->backing);
    }
    self->info.done(self->info.done_arg, job);
}

static void null_flush(void *context, uint64_t number)
{
    (void)context, (void)number;
}

static void null_context_destroy(void *context)
{
    free(context);
}

const struct backend backend_null = {
    .name = "null",
    .immediate = true,
    .caps = null_caps,
    .context_create = null_context_create,
    .submit = null_submit,
    .flush = null_flush,
    .context_destroy = null_context_destroy,
};
