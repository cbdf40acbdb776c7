/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <va/va.h>

#include "avcodec.h"

/*
 * What the libavcodec back end can decode: its codecs and VA profiles, one row each, and the
 * packets without a picture that push pictures out of frame threads.
 */

static size_t no_op_h264(struct avcodec_context *self, uint8_t *room)
{
    static const uint8_t end_of_sequence[] = {0, 0, 0, 1, 0x0a};

    (void)self;
    memcpy(room, end_of_sequence, sizeof(end_of_sequence));
    return sizeof(end_of_sequence);
}

/* The decoders, by codec: every one a row. Those without a no-op must not have frame threads. */
static const struct avcodec_codec avcodec_codecs[] = {
    {
        .codec = VD_CODEC_H264,
        .id = AV_CODEC_ID_H264,
        .builder = &bitstream_h264,
        .threads = FF_THREAD_FRAME,
        .no_op = no_op_h264,
        .extra = AVCODEC_EXTRA_BEFORE,
    },
    {
        .codec = VD_CODEC_MPEG2,
        .id = AV_CODEC_ID_MPEG2VIDEO,
        .builder = &bitstream_mpeg2,
        .threads = FF_THREAD_SLICE,
        .extra = AVCODEC_EXTRA_ALIKE,
    },
    {
        .codec = VD_CODEC_MPEG4,
        .id = AV_CODEC_ID_MPEG4,
        .builder = &bitstream_mpeg4,
        .threads = FF_THREAD_SLICE,
        .extra = AVCODEC_EXTRA_ALIKE,
    },
    {
        .codec = VD_CODEC_H263,
        .id = AV_CODEC_ID_H263,
        .builder = &bitstream_h263,
        .threads = FF_THREAD_SLICE,
        .extra = AVCODEC_EXTRA_ALIKE,
    },
};

struct avcodec_profile {
    uint32_t profile;
    enum vd_codec codec;
    uint32_t rt_formats;
    uint32_t min_size, max_size; /* width and height, pixels */
    uint32_t formats[VD_MAX_CAP_FORMATS];
};

/* What the decoders write comes first: no copy. NV12 and P010 for clients that know nothing else.
 */
static const struct avcodec_profile avcodec_profiles[] = {
    {VAProfileH264ConstrainedBaseline,
     VD_CODEC_H264,
     VA_RT_FORMAT_YUV420,
     16,
     VD_MAX_H264_SIZE,
     {VA_FOURCC_I420, VA_FOURCC_NV12}},
    {VAProfileH264Main,
     VD_CODEC_H264,
     VA_RT_FORMAT_YUV420,
     16,
     VD_MAX_H264_SIZE,
     {VA_FOURCC_I420, VA_FOURCC_NV12}},
    {VAProfileH264High,
     VD_CODEC_H264,
     VA_RT_FORMAT_YUV420,
     16,
     VD_MAX_H264_SIZE,
     {VA_FOURCC_I420, VA_FOURCC_NV12}},
    {VAProfileMPEG2Simple,
     VD_CODEC_MPEG2,
     VA_RT_FORMAT_YUV420,
     1,
     16383,
     {VA_FOURCC_I420, VA_FOURCC_NV12}},
    {VAProfileMPEG2Main,
     VD_CODEC_MPEG2,
     VA_RT_FORMAT_YUV420,
     1,
     16383,
     {VA_FOURCC_I420, VA_FOURCC_NV12}},
    {VAProfileMPEG4Simple,
     VD_CODEC_MPEG4,
     VA_RT_FORMAT_YUV420,
     1,
     8191,
     {VA_FOURCC_I420, VA_FOURCC_NV12}},
    {VAProfileMPEG4AdvancedSimple,
     VD_CODEC_MPEG4,
     VA_RT_FORMAT_YUV420,
     1,
     8191,
     {VA_FOURCC_I420, VA_FOURCC_NV12}},
    {VAProfileMPEG4Main,
     VD_CODEC_MPEG4,
     VA_RT_FORMAT_YUV420,
     1,
     8191,
     {VA_FOURCC_I420, VA_FOURCC_NV12}},
    {VAProfileH263Baseline,
     VD_CODEC_H263,
     VA_RT_FORMAT_YUV420,
     4,
     2048,
     {VA_FOURCC_I420, VA_FOURCC_NV12}},
};

const struct avcodec_codec *avcodec_codecs_find(enum vd_codec codec)
{
    for (size_t i = 0; i < sizeof(avcodec_codecs) / sizeof(avcodec_codecs[0]); i++) {
        if (avcodec_codecs[i].codec == codec && avcodec_find_decoder(avcodec_codecs[i].id))
            return &avcodec_codecs[i];
    }
    return NULL;
}

uint32_t avcodec_codecs_caps(struct vd_cap *ret_caps, uint32_t room)
{
    uint32_t n = 0;

    for (size_t i = 0; i < sizeof(avcodec_profiles) / sizeof(avcodec_profiles[0]); i++) {
        const struct avcodec_profile *p = &avcodec_profiles[i];

        if (n == room || !avcodec_codecs_find(p->codec))
            continue;
        ret_caps[n] = (struct vd_cap){
            .profile = p->profile,
            .entrypoint = VAEntrypointVLD,
            .rt_formats = p->rt_formats,
            .min_width = p->min_size,
            .min_height = p->min_size,
            .max_width = p->max_size,
            .max_height = p->max_size,
        };
        for (uint32_t j = 0; j < VD_MAX_CAP_FORMATS && p->formats[j]; j++)
            ret_caps[n].formats[ret_caps[n].format_count++] = p->formats[j];
        n++;
    }
    return n;
}
