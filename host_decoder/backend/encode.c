/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
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

/* Encoders of hardware by family, best first, and a file without which trying is no use. */
static const struct encode_family {
    const char *name, *file;
} encode_families[] = {
    {"nvenc", "/dev/nvidiactl"},
    {"qsv", "/dev/dri/renderD128"},
    {"amf", "/dev/dri/renderD128"},
};

static uint32_t software_caps(struct vd_cap *ret_caps, uint32_t room)
{
    return encoder_caps(NULL, ret_caps, room);
}

static int encode_probe(const struct backend_options *options)
{
    struct vd_cap cap;

    (void)options;
    return software_caps(&cap, 1) ? 0 : VD_ERR_UNSUPPORTED;
}

static uint32_t encode_devices(bool asked, char (*ret_devices)[BACKEND_DEVICE_BYTES], uint32_t room)
{
    uint32_t count = 0;

    for (size_t i = 0; i < sizeof(encode_families) / sizeof(encode_families[0]); i++) {
        if (count < room && (asked || !access(encode_families[i].file, F_OK)))
            snprintf(ret_devices[count++], BACKEND_DEVICE_BYTES, "%s", encode_families[i].name);
    }
    return count;
}

/* Opens an encoder of the family, which loads what it needs while files can be found. */
static int encode_open(const char *device, const struct backend_options *options, void **ret_device)
{
    struct vd_cap cap;

    (void)options;
    for (size_t i = 0; i < sizeof(encode_families) / sizeof(encode_families[0]); i++) {
        if (strcmp(encode_families[i].name, device))
            continue;
        if (!encoder_caps(device, &cap, 1))
            break;
        *ret_device = (void *)&encode_families[i];
        return 0;
    }
    return VD_ERR_UNSUPPORTED;
}

static uint32_t encode_device_caps(void *device, struct vd_cap *ret_caps, uint32_t room)
{
    return encoder_caps(((const struct encode_family *)device)->name, ret_caps, room);
}

static void encode_close(void *device)
{
    (void)device;
}

static int encode_context_create(const struct backend_context_info *info, void **ret_context,
                                 struct backend_context_traits *ret_traits)
{
    const struct encode_codec *codec = encode_codec_find(info->codec);
    struct encode_context *self;
    const char *family;
    int err;

    if (!codec)
        return VD_ERR_UNSUPPORTED;
    self = calloc(1, sizeof(*self));
    if (!self)
        return VD_ERR_MEMORY;
    self->info = *info;
    family = info->device ? ((const struct encode_family *)info->device)->name : NULL;
    err = encoder_create(codec, family, info->options->threads, &self->encoder);
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

const struct backend backend_encode_device = {
    .name = "encode",
    .devices = encode_devices,
    .open = encode_open,
    .device_caps = encode_device_caps,
    .close = encode_close,
    .encode_codec = encode_codec_find,
    .context_create = encode_context_create,
    .submit = encode_submit,
    .flush = encode_flush,
    .context_destroy = encode_context_destroy,
};

const struct backend backend_encode = {
    .name = "encode",
    .probe = encode_probe,
    .caps = software_caps,
    .encode_codec = encode_codec_find,
    .context_create = encode_context_create,
    .submit = encode_submit,
    .flush = encode_flush,
    .context_destroy = encode_context_destroy,
};
