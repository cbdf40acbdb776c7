/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <va/va.h>
#include <viaduct/errors.h>

#include "../backend.h"
#include "../encode/encoder.h"
#include "coded.h"

/*
 * Encodes with the best encoder that libavcodec has for a codec (encode/encoder_list.c). A picture
 * is complete when submit returns: one in, one out.
 */

/* One picture is encoded while the guest prepares the next ones. */
#define ENCODE_DEPTH 4

struct encode_context {
    struct backend_context_info info;
    struct encoder *encoder;
};

static int encode_probe(const struct backend_options *options)
{
    struct vd_cap cap;

    (void)options;
    return encoder_caps(&cap, 1) ? 0 : VD_ERR_UNSUPPORTED;
}

static int encode_context_create(const struct backend_context_info *info, void **ret_context,
                                 struct backend_context_traits *ret_traits)
{
    const struct encode_codec *codec = encode_codec_find(info->codec);
    struct encode_context *self;
    int err;

    if (!codec)
        return VD_ERR_UNSUPPORTED;
    self = calloc(1, sizeof(*self));
    if (!self)
        return VD_ERR_MEMORY;
    self->info = *info;
    err = encoder_create(codec, info->options->threads, &self->encoder);
    if (err) {
        free(self);
        return err;
    }
    *ret_traits = (struct backend_context_traits){.flags = VD_CONTEXT_KICK, .depth = ENCODE_DEPTH};
    *ret_context = self;
    return 0;
}

static void encode_context_destroy(void *context)
{
    struct encode_context *self = context;

    encoder_destroy(self->encoder);
    free(self);
}

static int encode_picture(struct encode_context *self, struct backend_job *job)
{
    struct backend_work *work = job->work;
    struct encode_output output = {
        .bytes = work->coded + VD_CODED_HEAD,
        .room = work->coded_room - VD_CODED_HEAD,
    };
    struct pixels pixels;
    int err = surface_read_pixels(&work->reads[0], &pixels);

    if (!err)
        err = encoder_run(self->encoder, work->request, &pixels, &output);
    /* What the app asks for is too much for its buffer, or for the encoder. */
    if (err == VD_ERR_LIMIT)
        err = VD_ERR_ROOM;
    else if (err == VD_ERR_DECODE)
        err = VD_ERR_ENCODE;
    coded_head(work, (uint32_t)output.size, output.status, err);
    job->coded_size = err ? 0 : (uint32_t)output.size;
    return err;
}

static void encode_submit(void *context, struct backend_job *job)
{
    struct encode_context *self = context;

    job->status = job->refused ? job->refused : encode_picture(self, job);
    self->info.done(self->info.done_arg, job);
}

/* Nothing is ever held back here: what a picture waits for is kicked by the session. */
static void encode_flush(void *context, uint64_t number)
{
    (void)context, (void)number;
}

const struct backend backend_encode = {
    .name = "encode",
    .probe = encode_probe,
    .caps = encoder_caps,
    .encode_codec = encode_codec_find,
    .context_create = encode_context_create,
    .submit = encode_submit,
    .flush = encode_flush,
    .context_destroy = encode_context_destroy,
};
