/* SPDX-License-Identifier: MIT */
#include "encoder_list.h"

#include <libavutil/pixdesc.h>
#include <pthread.h>
#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "../backend/avcodec.h"
#include "encoder_options.h"

#define ALL   (VA_RC_CQP | VA_RC_CBR | VA_RC_VBR | VA_RC_ICQ | VA_RC_QVBR)
#define PLAIN (VA_RC_CQP | VA_RC_CBR | VA_RC_VBR)

/* What encoders take: AV_PIX_FMT_<...>. */
static const enum AVPixelFormat i420[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_NONE},
                                i420_i010[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV420P10,
                                               AV_PIX_FMT_NONE},
                                nv12[] = {AV_PIX_FMT_NV12, AV_PIX_FMT_NONE},
                                nv12_p010[] = {AV_PIX_FMT_NV12, AV_PIX_FMT_P010LE, AV_PIX_FMT_NONE},
                                nv12_i420[] = {AV_PIX_FMT_NV12, AV_PIX_FMT_YUV420P,
                                               AV_PIX_FMT_NONE},
                                nv12_i420_p010[] = {AV_PIX_FMT_NV12, AV_PIX_FMT_YUV420P,
                                                    AV_PIX_FMT_P010LE, AV_PIX_FMT_NONE},
                                x265_formats[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV420P10,
                                                  AV_PIX_FMT_YUV422P, AV_PIX_FMT_YUV422P10,
                                                  AV_PIX_FMT_YUV444P, AV_PIX_FMT_YUV444P10,
                                                  AV_PIX_FMT_NONE};

/*
 * The preference list: for each codec the first that opens here serves. Hardware first; of the
 * software ones those that give a picture back at once (libsvtav1 and librav1e do not).
 *
 * Quality instead of a bit rate (ICQ, QVBR) is H.264's and HEVC's: VA-API has 1 to 51 for it, and
 * FFmpeg passes quantisers of VP9's scale once it is offered.
 *
 * *_vaapi is not here: it is a driver's
 * own interface, without the detour through libavcodec.
 */
static const struct encoder_row encoder_rows[] = {
    /* name, codec, flags, rate control, sizes, formats, options, live */
    {"h264_nvenc", VD_CODEC_H264, ENCODER_SLICES, PLAIN, 160, 4096, nv12_i420,
     encoder_options_nvenc, NULL},
    {"h264_qsv", VD_CODEC_H264, ENCODER_QP_I, PLAIN, 64, 4096, nv12, encoder_options_qsv, NULL},
    {"h264_amf", VD_CODEC_H264, ENCODER_QP_I, PLAIN, 128, 4096, nv12_i420, encoder_options_amf,
     NULL},
    {"libx264", VD_CODEC_H264,
     ENCODER_LIVE_RATE | ENCODER_LIVE_QP | ENCODER_REOPEN_I | ENCODER_ROI | ENCODER_REFRESH |
         ENCODER_SLICES | ENCODER_RATE,
     ALL, 16, 4096, nv12_i420, encoder_options_x264, encoder_live_x264},

    {"hevc_nvenc", VD_CODEC_HEVC, ENCODER_QP_I, PLAIN, 160, 8192, nv12_i420_p010,
     encoder_options_nvenc, NULL},
    {"hevc_qsv", VD_CODEC_HEVC, ENCODER_QP_I, PLAIN, 128, 8192, nv12_p010, encoder_options_qsv,
     NULL},
    {"hevc_amf", VD_CODEC_HEVC, ENCODER_QP_I, PLAIN, 256, 8192, nv12_i420, encoder_options_amf,
     NULL},
    {"libx265", VD_CODEC_HEVC, ENCODER_ROI | ENCODER_ROI_ALWAYS | ENCODER_QP_I, ALL, 64, 8192,
     x265_formats, encoder_options_x265, NULL},

    {"libvpx", VD_CODEC_VP8,
     ENCODER_LIVE_RATE | ENCODER_LIVE_QP | ENCODER_ROI | ENCODER_LAYERS | ENCODER_RATE, PLAIN, 16,
     8192, i420, encoder_options_vpx, encoder_live_vpx},

    {"vp9_qsv", VD_CODEC_VP9, ENCODER_QP_I, PLAIN, 128, 8192, nv12_p010, encoder_options_qsv, NULL},
    {"libvpx-vp9", VD_CODEC_VP9,
     ENCODER_LIVE_RATE | ENCODER_LIVE_QP | ENCODER_ROI | ENCODER_LAYERS | ENCODER_RATE, PLAIN, 16,
     8192, i420_i010, encoder_options_vpx, encoder_live_vpx},

    {"av1_nvenc", VD_CODEC_AV1, ENCODER_QP_I, PLAIN, 192, 8192, nv12_i420_p010,
     encoder_options_nvenc, NULL},
    {"av1_qsv", VD_CODEC_AV1, ENCODER_QP_I, PLAIN, 128, 8192, nv12_p010, encoder_options_qsv, NULL},
    {"av1_amf", VD_CODEC_AV1, ENCODER_QP_I, PLAIN, 128, 8192, nv12_i420, encoder_options_amf, NULL},
    {"libaom-av1", VD_CODEC_AV1, 0, PLAIN, 16, 8192, i420_i010, encoder_options_aom, NULL},

    /* The least vertical size with more than one slice, the largest of ten bits of slice codes. */
    {"mpeg2video", VD_CODEC_MPEG2,
     ENCODER_LIVE_RATE | ENCODER_LIVE_QP | ENCODER_COPY | ENCODER_RATE,
     VA_RC_CQP | VA_RC_CBR | VA_RC_VBR, 16, 2800, i420, encoder_options_mpeg2, encoder_live_mpeg2},
};

#define ROWS (sizeof(encoder_rows) / sizeof(encoder_rows[0]))

/* What opened here, by bit depth and chroma_format_idc, under found_lock. */
#define DEPTHS  2
#define CHROMAS 3
static enum found { FOUND_UNKNOWN, FOUND_WORKS, FOUND_FAILS } found[ROWS][DEPTHS][CHROMAS];
static pthread_mutex_t found_lock = PTHREAD_MUTEX_INITIALIZER;

static uint32_t chroma_of(const AVPixFmtDescriptor *format)
{
    return format->log2_chroma_h ? 1 : format->log2_chroma_w ? 2 : 3;
}

enum AVPixelFormat encoder_list_format(const struct encoder_row *row, uint32_t bit_depth,
                                       uint32_t chroma, enum AVPixelFormat have)
{
    enum AVPixelFormat best = AV_PIX_FMT_NONE;

    for (const enum AVPixelFormat *format = row->formats; *format != AV_PIX_FMT_NONE; format++) {
        const AVPixFmtDescriptor *samples = av_pix_fmt_desc_get(*format);

        if ((uint32_t)samples->comp[0].depth != bit_depth || chroma_of(samples) != chroma)
            continue;
        if (*format == have)
            return have;
        if (best == AV_PIX_FMT_NONE)
            best = *format;
    }
    return best;
}

int encoder_list_open(const struct encoder_row *row, const struct encode_request *request,
                      const struct encoder_rates *rates, int threads, enum AVPixelFormat format,
                      AVCodecContext **ret_context)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(row->name);
    AVCodecContext *context = codec ? avcodec_alloc_context3(codec) : NULL;
    struct encoder_setup setup = {
        .request = request, .rates = rates, .context = context, .threads = threads};
    int err = VD_ERR_UNSUPPORTED;

    if (!context)
        return codec ? VD_ERR_MEMORY : VD_ERR_UNSUPPORTED;
    if (request->tools.width < row->min_size || request->tools.width > row->max_size ||
        request->tools.height < row->min_size || request->tools.height > row->max_size)
        goto end;
    context->width = (int)request->tools.width;
    context->height = (int)request->tools.height;
    context->pix_fmt = format;
    context->time_base = av_inv_q(rates->frame_rate);
    context->framerate = rates->frame_rate;
    context->gop_size = ENCODER_NO_PERIOD;
    context->max_b_frames = 0;
    context->refs = 1;
    row->options(&setup);
    if (!setup.failed && avcodec_open2(context, codec, &setup.options) >= 0) {
        const AVDictionaryEntry *left = av_dict_get(setup.options, "", NULL, AV_DICT_IGNORE_SUFFIX);

        if (left)
            log_debug("%s does not know its option %s", row->name, left->key);
        *ret_context = context;
        context = NULL;
        err = 0;
    }
end:
    av_dict_free(&setup.options);
    avcodec_free_context(&context);
    return err;
}

/* Opens a small encoder. */
static bool works(const struct encoder_row *row, uint32_t bit_depth, uint32_t chroma)
{
    static const uint32_t profiles[VD_CODEC_COUNT] = {
        [VD_CODEC_H264] = VAProfileH264ConstrainedBaseline,
        [VD_CODEC_HEVC] = VAProfileHEVCMain,
        [VD_CODEC_VP8] = VAProfileVP8Version0_3,
        [VD_CODEC_VP9] = VAProfileVP9Profile0,
        [VD_CODEC_AV1] = VAProfileAV1Profile0,
        [VD_CODEC_MPEG2] = VAProfileMPEG2Main,
    };
    enum AVPixelFormat format = encoder_list_format(row, bit_depth, chroma, AV_PIX_FMT_NONE);
    struct encode_request request = {
        .tools = {.profile = profiles[row->codec],
                  .width = 320,
                  .height = 240,
                  .bit_depth = bit_depth,
                  .chroma = chroma,
                  .slices = 1},
        .rate = {.mode = VA_RC_CBR,
                 .bits_per_second = 1000000,
                 .frame_rate_num = 30,
                 .frame_rate_den = 1},
    };
    struct encoder_rates rates;
    AVCodecContext *context = NULL;

    if (format == AV_PIX_FMT_NONE)
        return false;
    encoder_rates_read(&request, &rates);
    if (encoder_list_open(row, &request, &rates, 1, format, &context))
        return false;
    avcodec_free_context(&context);
    return true;
}

const char *encoder_list_family(const struct encoder_row *row)
{
    const char *end = strrchr(row->name, '_');

    return end ? end + 1 : NULL;
}

static bool in_family(const struct encoder_row *row, const char *family)
{
    const char *own = encoder_list_family(row);

    return !own || (family && !strcmp(own, family));
}

const struct encoder_row *encoder_list_find(enum vd_codec codec, uint32_t bit_depth,
                                            uint32_t chroma, const char *family,
                                            const struct encoder_row *after)
{
    const struct encoder_row *row = NULL;

    if (chroma < 1 || chroma > CHROMAS)
        return NULL;
    pthread_mutex_lock(&found_lock);
    av_log_set_callback(avcodec_log);
    for (size_t i = after ? (size_t)(after - encoder_rows) + 1 : 0; i < ROWS && !row; i++) {
        enum found *seen = &found[i][bit_depth > 8][chroma - 1];

        if (encoder_rows[i].codec != codec || !in_family(&encoder_rows[i], family))
            continue;
        if (*seen == FOUND_UNKNOWN)
            *seen = works(&encoder_rows[i], bit_depth, chroma) ? FOUND_WORKS : FOUND_FAILS;
        if (*seen == FOUND_WORKS)
            row = &encoder_rows[i];
    }
    pthread_mutex_unlock(&found_lock);
    return row;
}
