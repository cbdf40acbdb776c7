/* SPDX-License-Identifier: MIT */
#include "encode.h"

#include "config.h"

/* One row a codec. */
static const struct encode_codec *const encode_codecs[] = {
    &encode_h264, &encode_hevc, &encode_vp8, &encode_vp9, &encode_av1, &encode_mpeg2,
#if HAVE_TURBOJPEG
    &encode_jpeg,
#endif
};

const struct encode_codec *encode_codec_find(enum vd_codec codec)
{
    for (size_t i = 0; i < sizeof(encode_codecs) / sizeof(encode_codecs[0]); i++) {
        if (encode_codecs[i]->codec == codec)
            return encode_codecs[i];
    }
    return NULL;
}
