/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <viaduct/va_newer.h>

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

/* An access unit delimiter: an end of sequence would take all references with it. */
static size_t no_op_hevc(struct avcodec_context *self, uint8_t *room)
{
    static const uint8_t access_unit_delimiter[] = {0, 0, 0, 1, 0x46, 1, 0x50};

    (void)self;
    memcpy(room, access_unit_delimiter, sizeof(access_unit_delimiter));
    return sizeof(access_unit_delimiter);
}

/* The builder knows what may follow the last picture. */
static size_t no_op_of_packet(struct avcodec_context *self, uint8_t *room)
{
    memcpy(room, self->next_no_op, self->next_no_op_size);
    return self->next_no_op_size;
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
        .codec = VD_CODEC_HEVC,
        .id = AV_CODEC_ID_HEVC,
        .builder = &bitstream_hevc,
        .threads = FF_THREAD_FRAME,
        .no_op = no_op_hevc,
        .extra = AVCODEC_EXTRA_AFTER,
    },
    {
        .codec = VD_CODEC_HEVC_EXT,
        .id = AV_CODEC_ID_HEVC,
        .builder = &bitstream_hevc,
        .threads = FF_THREAD_FRAME,
        .no_op = no_op_hevc,
        .extra = AVCODEC_EXTRA_AFTER,
    },
    {
        .codec = VD_CODEC_VP8,
        .id = AV_CODEC_ID_VP8,
        .builder = &bitstream_vp8,
        /* No packet is without effect on its frame threads. */
        .threads = FF_THREAD_SLICE,
        .extra = AVCODEC_EXTRA_AFTER,
    },
    {
        .codec = VD_CODEC_VP9,
        .id = AV_CODEC_ID_VP9,
        .builder = &bitstream_vp9,
        .threads = FF_THREAD_FRAME,
        .no_op = no_op_of_packet,
        /* Newer versions ask for one more frame where references are missing. */
        .extra = AVCODEC_EXTRA_AFTER,
    },
    {
        .codec = VD_CODEC_MPEG2,
        .id = AV_CODEC_ID_MPEG2VIDEO,
        .builder = &bitstream_mpeg2,
        .threads = FF_THREAD_SLICE,
        .extra = AVCODEC_EXTRA_AFTER,
    },
    {
        .codec = VD_CODEC_MPEG4,
        .id = AV_CODEC_ID_MPEG4,
        .builder = &bitstream_mpeg4,
        .threads = FF_THREAD_SLICE,
        .extra = AVCODEC_EXTRA_AFTER,
    },
    {
        .codec = VD_CODEC_H263,
        .id = AV_CODEC_ID_H263,
        .builder = &bitstream_h263,
        .threads = FF_THREAD_SLICE,
        .extra = AVCODEC_EXTRA_AFTER,
    },
    {
        .codec = VD_CODEC_VC1,
        .id = AV_CODEC_ID_VC1,
        .builder = &bitstream_vc1,
        .extra = AVCODEC_EXTRA_AFTER,
        .extradata = true,
    },
    {
        .codec = VD_CODEC_WMV3,
        .id = AV_CODEC_ID_WMV3,
        .builder = &bitstream_vc1,
        .extra = AVCODEC_EXTRA_AFTER,
        .extradata = true,
    },
    {
        .codec = VD_CODEC_JPEG,
        .id = AV_CODEC_ID_MJPEG,
        .builder = &bitstream_jpeg,
    },
    {
        .codec = VD_CODEC_AV1,
        .id = AV_CODEC_ID_AV1,
        .builder = &bitstream_av1_sized,
        .extra = AVCODEC_EXTRA_DISPLAY,
        .extradata = true,
        .device_only = true,
        .fed = true,
    },
};

struct avcodec_profile {
    uint32_t profile;
    enum vd_codec codec;
    uint32_t min_size, max_size; /* width and height, pixels */
    uint32_t formats[VD_MAX_CAP_FORMATS];
};

/*
 * What the decoders write needs no copy; NV12, P010 and YUY2 are for clients that ask for them.
 * I010 is not offered: FFmpeg's decoders choose it where it is, and its surfaces have no such
 * format (vaapi_format_map in libavcodec/vaapi_decode.c and libavutil/hwcontext_vaapi.c, 5.1). Of
 * formats that suit a stream as well (those of full range have none of their own) FFmpeg takes the
 * last one: that must be the one without a copy.
 */
#define YUV420    VA_FOURCC_NV12, VA_FOURCC_I420
#define YUV420_10 VA_FOURCC_P010
#define YUV420_12 VA_FOURCC_P012, VA_FOURCC_P016
#define YUV422    VA_FOURCC_YUY2, VA_FOURCC_422H
#define YUV440    VA_FOURCC_422V
#define YUV411    VA_FOURCC_411P
#define YUV422_10 VA_FOURCC_Y210
#define YUV422_12 VA_FOURCC_Y212, VA_FOURCC_Y216
#define YUV444    VA_FOURCC_444P, VA_FOURCC_AYUV, VA_FOURCC_XYUV
#define YUV444_10 VA_FOURCC_Y410
#define YUV444_12 VA_FOURCC_Y412, VA_FOURCC_Y416
#define YUV400    VA_FOURCC_Y800
#define RGB       VA_FOURCC_RGBP, VA_FOURCC_BGRA, VA_FOURCC_BGRX

/*
 * The limits of sizes are those of the fields in the streams; H.264's are of its levels. HEVC's
 * range extensions have one profile for all that has no more bits and no finer chroma (A.3.5);
 * screen content coding is nothing that libavcodec decodes.
 */
static const struct avcodec_profile avcodec_profiles[] = {
    {VAProfileH264ConstrainedBaseline, VD_CODEC_H264, 16, VD_MAX_H264_SIZE, {YUV420}},
    {VAProfileH264Main, VD_CODEC_H264, 16, VD_MAX_H264_SIZE, {YUV420}},
    {VAProfileH264High, VD_CODEC_H264, 16, VD_MAX_H264_SIZE, {YUV420}},
    {VAProfileH264High10, VD_CODEC_H264, 16, VD_MAX_H264_SIZE, {YUV420_10, YUV420}},
    {VAProfileHEVCMain, VD_CODEC_HEVC, 8, VD_MAX_WIDTH, {YUV420}},
    {VAProfileHEVCMain10, VD_CODEC_HEVC, 8, VD_MAX_WIDTH, {YUV420_10, YUV420}},
    {VAProfileHEVCMain12, VD_CODEC_HEVC_EXT, 8, VD_MAX_WIDTH, {YUV420_12, YUV420_10, YUV420}},
    {VAProfileHEVCMain422_10,
     VD_CODEC_HEVC_EXT,
     8,
     VD_MAX_WIDTH,
     {YUV422_10, YUV422, YUV420_10, YUV420}},
    {VAProfileHEVCMain422_12,
     VD_CODEC_HEVC_EXT,
     8,
     VD_MAX_WIDTH,
     {YUV422_12, YUV422_10, YUV422, YUV420_12, YUV420_10, YUV420}},
    {VAProfileHEVCMain444, VD_CODEC_HEVC_EXT, 8, VD_MAX_WIDTH, {YUV444, YUV422, YUV420}},
    {VAProfileHEVCMain444_10,
     VD_CODEC_HEVC_EXT,
     8,
     VD_MAX_WIDTH,
     {YUV444_10, YUV444, YUV422_10, YUV422, YUV420_10, YUV420}},
    {VAProfileHEVCMain444_12,
     VD_CODEC_HEVC_EXT,
     8,
     VD_MAX_WIDTH,
     {YUV444_12, YUV444_10, YUV444, YUV422_12, YUV422_10, YUV422, VA_FOURCC_P012, YUV420_10,
      YUV420}},
    {VAProfileVP8Version0_3, VD_CODEC_VP8, 1, 16383, {YUV420}},
    {VAProfileVP9Profile0, VD_CODEC_VP9, 1, VD_MAX_WIDTH, {YUV420}},
    {VAProfileVP9Profile1, VD_CODEC_VP9, 1, VD_MAX_WIDTH, {YUV444, YUV422, YUV440, RGB}},
    {VAProfileVP9Profile2, VD_CODEC_VP9, 1, VD_MAX_WIDTH, {YUV420_10, YUV420_12}},
    {VAProfileVP9Profile3,
     VD_CODEC_VP9,
     1,
     VD_MAX_WIDTH,
     {YUV422_10, YUV422_12, YUV444_10, YUV444_12}},
    {VAProfileMPEG2Simple, VD_CODEC_MPEG2, 1, 16383, {YUV420}},
    {VAProfileMPEG2Main, VD_CODEC_MPEG2, 1, 16383, {YUV420}},
    {VAProfileMPEG4Simple, VD_CODEC_MPEG4, 1, 8191, {YUV420}},
    {VAProfileMPEG4AdvancedSimple, VD_CODEC_MPEG4, 1, 8191, {YUV420}},
    {VAProfileMPEG4Main, VD_CODEC_MPEG4, 1, 8191, {YUV420}},
    {VAProfileH263Baseline, VD_CODEC_H263, 4, 2048, {YUV420}},
    {VAProfileJPEGBaseline,
     VD_CODEC_JPEG,
     1,
     VD_MAX_WIDTH,
     {YUV420, YUV422, YUV440, YUV411, YUV444, YUV400, RGB}},
    {VAProfileVC1Simple, VD_CODEC_WMV3, 1, VD_MAX_VC1_SIZE, {YUV420}},
    {VAProfileVC1Main, VD_CODEC_WMV3, 1, VD_MAX_VC1_SIZE, {YUV420}},
    /* 4:4:4 and gray have no hwaccel (get_pixel_format in libavcodec/av1dec.c). */
    {VAProfileAV1Profile0, VD_CODEC_AV1, 1, VD_MAX_WIDTH, {YUV420_10, YUV420}},
    {VAProfileVC1Advanced, VD_CODEC_VC1, 2, VD_MAX_VC1_SIZE, {YUV420}},
};

const struct avcodec_codec *avcodec_codecs_find(enum vd_codec codec)
{
    for (size_t i = 0; i < sizeof(avcodec_codecs) / sizeof(avcodec_codecs[0]); i++) {
        if (avcodec_codecs[i].codec == codec && avcodec_find_decoder(avcodec_codecs[i].id))
            return &avcodec_codecs[i];
    }
    return NULL;
}

static uint32_t list_caps(bool device, struct vd_cap *ret_caps, uint32_t room)
{
    uint32_t n = 0;

    for (size_t i = 0; i < sizeof(avcodec_profiles) / sizeof(avcodec_profiles[0]); i++) {
        const struct avcodec_profile *p = &avcodec_profiles[i];

        const struct avcodec_codec *codec = avcodec_codecs_find(p->codec);

        if (n == room || !codec || (codec->device_only && !device))
            continue;
        ret_caps[n] = (struct vd_cap){
            .profile = p->profile,
            .entrypoint = VAEntrypointVLD,
            .min_width = p->min_size,
            .min_height = p->min_size,
            .max_width = p->max_size,
            .max_height = p->max_size,
        };
        for (uint32_t j = 0; j < VD_MAX_CAP_FORMATS && p->formats[j]; j++) {
            ret_caps[n].formats[ret_caps[n].format_count++] = p->formats[j];
            ret_caps[n].rt_formats |= format_find(p->formats[j])->rt_format;
        }
        n++;
    }
    return n;
}

uint32_t avcodec_codecs_caps(struct vd_cap *ret_caps, uint32_t room)
{
    return list_caps(false, ret_caps, room);
}

uint32_t avcodec_codecs_device_caps(struct vd_cap *ret_caps, uint32_t room)
{
    return list_caps(true, ret_caps, room);
}
