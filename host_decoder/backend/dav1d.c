/* SPDX-License-Identifier: MIT */
#include "dav1d.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "../planes.h"

/*
 * AV1 with dav1d. libavcodec cannot stand in between: its own AV1 decoder needs hardware, and its
 * wrapper of dav1d lets nobody else provide memory.
 *
 * Frame threads are off: each packet is one picture and gives it back at once, tiles and rows of
 * it are decoded in parallel. What is decoded when is said in av1_feed.h.
 */

#define DAV1D_MAX_WORKERS 16
/* Pictures that wait for the thread, as in the libavcodec back end. */
#define DAV1D_QUEUE 6

static const struct vd_cap dav1d_profiles[] = {
    {
        .profile = VAProfileAV1Profile0,
        .entrypoint = VAEntrypointVLD,
        .rt_formats = VA_RT_FORMAT_YUV420 | VA_RT_FORMAT_YUV420_10 | VA_RT_FORMAT_YUV400,
        .min_width = 1,
        .min_height = 1,
        .max_width = VD_MAX_WIDTH,
        .max_height = VD_MAX_HEIGHT,
        .format_count = 4,
        .formats = {VA_FOURCC_I420, VA_FOURCC_NV12, VA_FOURCC_P010, VA_FOURCC_Y800},
    },
    {
        .profile = VAProfileAV1Profile1,
        .entrypoint = VAEntrypointVLD,
        .rt_formats = VA_RT_FORMAT_YUV444 | VA_RT_FORMAT_YUV444_10,
        .min_width = 1,
        .min_height = 1,
        .max_width = VD_MAX_WIDTH,
        .max_height = VD_MAX_HEIGHT,
        .format_count = 3,
        .formats = {VA_FOURCC_444P, VA_FOURCC_XYUV, VA_FOURCC_Y410},
    },
};

static void dav1d_say(void *cookie, const char *format, va_list args)
{
    char line[512];

    (void)cookie;
    if (!log_enabled(LOG_LEVEL_DEBUG))
        return;
    vsnprintf(line, sizeof(line), format, args);
    line[strcspn(line, "\n")] = 0;
    log_debug("dav1d: %s", line);
}

static uint32_t dav1d_caps(struct vd_cap *ret_caps, uint32_t room)
{
    uint32_t n = sizeof(dav1d_profiles) / sizeof(dav1d_profiles[0]);

    if (n > room)
        n = room;
    memcpy(ret_caps, dav1d_profiles, n * sizeof(*ret_caps));
    return n;
}

static const struct bitstream_builder *dav1d_builder(enum vd_codec codec)
{
    return codec == VD_CODEC_AV1 ? &bitstream_av1 : NULL;
}

static int thread_count(const struct backend_options *options)
{
    long n = options->threads ? options->threads : sysconf(_SC_NPROCESSORS_ONLN);

    if (n < 1)
        n = 1;
    return n > DAV1D_MAX_WORKERS ? DAV1D_MAX_WORKERS : (int)n;
}

static void packet_release(const uint8_t *data, void *cookie)
{
    struct block *block = cookie;

    (void)data;
    block_unref(&block);
}

/* A picture with film grain for the display surface, from the one without. */
static void make_grain(struct dav1d_context *self, struct backend_job *job,
                       const Dav1dPicture *picture)
{
    Dav1dPicture grain = {0};

    self->target = (struct dav1d_target){
        .surface = job->display,
        .fixed = job->flags & VD_SUBMIT_DISPLAY_FIXED,
        .backing = &job->display_backing,
        .status = &job->status,
    };
    if (dav1d_apply_grain(self->decoder, &grain, picture)) {
        job->status = VD_ERR_DECODE;
    } else if (self->target.surface) {
        /* There is no grain in it: the decoder gave back what it got. */
        Dav1dPicture copy = {.p = picture->p};

        if (dav1d_frame_get(&copy, self) == 0) {
            dav1d_frame_copy(picture, &copy);
            dav1d_frame_release(&copy, self);
        } else {
            job->status = VD_ERR_MEMORY;
        }
    }
    self->target = (struct dav1d_target){0};
    if (grain.data[0])
        dav1d_picture_unref(&grain);
    if (job->display_backing)
        planes_finish(job->display, job->display_backing);
}

/* The decoder may hold on to the data: it gets a reference of the block, or a copy. */
static int wrap(struct block *block, const uint8_t *bytes, size_t size, Dav1dData *ret_data)
{
    if (!block) {
        uint8_t *copy = dav1d_data_create(ret_data, size);

        if (!copy)
            return VD_ERR_MEMORY;
        memcpy(copy, bytes, size);
        return 0;
    }
    block_ref(block);
    if (dav1d_data_wrap(ret_data, bytes, size, packet_release, block)) {
        block_unref(&block);
        return VD_ERR_MEMORY;
    }
    return 0;
}

/* struct av1_feed.decode */
static void decode(void *context, struct backend_job *job, struct block *block,
                   const uint8_t *bytes, size_t size)
{
    struct dav1d_context *self = context;
    Dav1dPicture picture = {0};
    Dav1dData data = {0};
    bool shown = false;
    int err, result;

    err = wrap(block, bytes, size, &data);
    if (err) {
        if (job)
            job->status = err;
        return;
    }
    self->target = (struct dav1d_target){0};
    if (job)
        self->target = (struct dav1d_target){
            .surface = job->surface,
            .fixed = job->flags & VD_SUBMIT_FIXED,
            .backing = &job->backing,
            .status = &job->status,
        };
    do {
        err = dav1d_send_data(self->decoder, &data);
        while ((result = dav1d_get_picture(self->decoder, &picture)) == 0) {
            if (job && !shown) {
                shown = true;
                if (job->backing)
                    planes_finish(job->surface, job->backing);
                if (job->display && !job->status)
                    make_grain(self, job, &picture);
            }
            dav1d_picture_unref(&picture);
        }
    } while (err == DAV1D_ERR(EAGAIN) && result == DAV1D_ERR(EAGAIN) && data.sz > 0);
    if (data.sz > 0)
        dav1d_data_unref(&data);
    self->target = (struct dav1d_target){0};
    if (job && !shown) {
        if (job->backing)
            planes_forget(job->backing);
        if (!job->status)
            job->status = VD_ERR_DECODE;
        job->errors = 1;
    }
}

static void finish_job(void *context, struct backend_job *job)
{
    struct dav1d_context *self = context;

    self->info.done(self->info.done_arg, job);
}

static int dav1d_context_create(const struct backend_context_info *info, void **ret_context,
                                struct backend_context_traits *ret_traits)
{
    struct dav1d_context *self;
    Dav1dSettings settings;

    if (info->codec != VD_CODEC_AV1)
        return VD_ERR_UNSUPPORTED;
    self = calloc(1, sizeof(*self));
    if (!self)
        return VD_ERR_MEMORY;
    self->info = *info;
    self->feed = (struct av1_feed){.decode = decode, .done = finish_job, .arg = self};
    dav1d_default_settings(&settings);
    settings.n_threads = thread_count(info->options);
    settings.max_frame_delay = 1;
    settings.output_invisible_frames = 1;
    settings.apply_grain = 0;
    settings.frame_size_limit = VD_MAX_WIDTH * VD_MAX_HEIGHT;
    settings.allocator = (Dav1dPicAllocator){
        .cookie = self,
        .alloc_picture_callback = dav1d_frame_get,
        .release_picture_callback = dav1d_frame_release,
    };
    settings.logger = (Dav1dLogger){.callback = dav1d_say};
    if (dav1d_open(&self->decoder, &settings)) {
        free(self);
        return VD_ERR_MEMORY;
    }
    *ret_traits = (struct backend_context_traits){
        .flags = VD_CONTEXT_KICK,
        .depth = DAV1D_QUEUE,
    };
    *ret_context = self;
    return 0;
}

static void dav1d_context_adopt(void *context, const struct backend_context_info *info)
{
    struct dav1d_context *self = context;

    self->info = *info;
}

static void dav1d_submit(void *context, struct backend_job *job)
{
    struct dav1d_context *self = context;

    av1_feed_submit(&self->feed, job);
}

static void dav1d_flush_jobs(void *context, uint64_t number)
{
    struct dav1d_context *self = context;

    av1_feed_flush(&self->feed, number);
}

static void dav1d_context_destroy(void *context)
{
    struct dav1d_context *self = context;

    av1_feed_finish(&self->feed);
    dav1d_close(&self->decoder);
    dav1d_frame_finish(self);
    free(self);
}

const struct backend backend_dav1d = {
    .name = "dav1d",
    .caps = dav1d_caps,
    .builder = dav1d_builder,
    .context_create = dav1d_context_create,
    .context_adopt = dav1d_context_adopt,
    .submit = dav1d_submit,
    .flush = dav1d_flush_jobs,
    .context_destroy = dav1d_context_destroy,
};
