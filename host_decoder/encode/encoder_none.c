/* SPDX-License-Identifier: MIT */
#include <viaduct/errors.h>

#include "encoder.h"

/* Built without libavcodec or libswscale: nothing encodes. */

int encoder_create(const struct encode_codec *codec, const char *family, int threads,
                   struct encoder **ret_encoder)
{
    (void)codec;
    (void)family;
    (void)threads;
    (void)ret_encoder;
    return VD_ERR_UNSUPPORTED;
}

void encoder_destroy(struct encoder *encoder)
{
    (void)encoder;
}

int encoder_run(struct encoder *encoder, const struct encode_request *request,
                const struct pixels *input, struct encode_output *output)
{
    (void)encoder;
    (void)request;
    (void)input;
    (void)output;
    return VD_ERR_UNSUPPORTED;
}

uint32_t encoder_caps(const char *family, struct vd_cap *ret_caps, uint32_t room)
{
    (void)family;
    (void)ret_caps;
    (void)room;
    return 0;
}

const char *encoder_name(enum vd_codec codec, const char *family)
{
    (void)family;
    (void)codec;
    return NULL;
}
