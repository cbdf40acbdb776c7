/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <libavutil/opt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <va/va.h>

#include "encoder_list.h"

/*
 * From requests to the options of each encoder. What all have in common: no delay, no B pictures,
 * one reference, no key picture that nobody asked for.
 */

#define MIN_BITRATE        8000
#define MAX_BITRATE        1000000000
#define MIN_BITS_A_PICTURE 64
#define NO_INTRA_PERIOD    (1 << 24)

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static AVRational frame_rate(const struct encode_rate *rate)
{
    uint32_t num = rate->frame_rate_num, den = rate->frame_rate_den;
    AVRational result = {30, 1};

    if (!num || !den)
        return result;
    if (num / den >= 1000)
        return (AVRational){1000, 1};
    /* libaom takes no less. */
    if (num < den)
        return (AVRational){1, 1};
    av_reduce(&result.num, &result.den, num, den, 100000);
    return result;
}

/* The largest QP of a codec's own scale. */
static int qp_limit(enum vd_codec codec)
{
    switch (codec) {
    case VD_CODEC_VP8:
        return 127;
    case VD_CODEC_VP9:
    case VD_CODEC_AV1:
        return 255;
    case VD_CODEC_MPEG2:
        return 31;
    default:
        return 51;
    }
}

void encoder_rates_read(const struct encode_request *request, struct encoder_rates *ret_rates)
{
    const struct encode_rate *rate = &request->rate;
    int limit = qp_limit(codecs_of_profile((int)request->tools.profile));
    int64_t target = rate->bits_per_second, low;
    struct encoder_rates rates = {
        .frame_rate = frame_rate(rate),
        .qp = (int)clamp(request->qp, 0, limit),
        .min_qp = (int)clamp(rate->min_qp, 0, limit),
        .max_qp = (int)clamp(rate->max_qp, 0, limit),
        .quality = (uint32_t)clamp(rate->quality ? rate->quality : 26, 1, 51),
        .level = rate->quality_level <= ENCODE_QUALITY_LEVELS ? rate->quality_level : 0,
    };

    /* An app that tells no bit rate gets what a picture of this size needs. */
    if (!target)
        target = av_rescale((int64_t)request->tools.width * request->tools.height,
                            rates.frame_rate.num, 10 * (int64_t)rates.frame_rate.den);
    low = MIN_BITS_A_PICTURE * (int64_t)rates.frame_rate.num / rates.frame_rate.den;
    target = clamp(target, low > MIN_BITRATE ? low : MIN_BITRATE, MAX_BITRATE);
    rates.target = target;
    rates.peak = rate->mode == VA_RC_CBR ? target : clamp(rate->peak, target, MAX_BITRATE);
    /* Less than two pictures is no buffer, more than a minute no control. */
    low = 2 * rates.peak * rates.frame_rate.den / rates.frame_rate.num;
    rates.vbv = (int)clamp(rate->vbv_bits ? rate->vbv_bits : rates.peak, clamp(low, 1000, INT_MAX),
                           clamp(60 * rates.peak, clamp(low, 1000, INT_MAX), INT_MAX));
    rates.initial = (int)clamp(rate->vbv_initial, 0, rates.vbv);
    if (!rates.max_qp && rates.min_qp)
        rates.max_qp = limit;
    if (rates.max_qp < rates.min_qp)
        rates.max_qp = rates.min_qp;
    *ret_rates = rates;
}

static void put(struct encoder_setup *setup, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put(struct encoder_setup *setup, const char *key, const char *format, ...)
{
    char value[1024];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(value) || av_dict_set(&setup->options, key, value, 0) < 0)
        setup->failed = true;
}

/* Adds to an option that is a list, "a=1:b=2". */
static void add(struct encoder_setup *setup, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add(struct encoder_setup *setup, const char *key, const char *format, ...)
{
    const AVDictionaryEntry *have = av_dict_get(setup->options, key, NULL, 0);
    char value[256];
    va_list args;

    va_start(args, format);
    if ((size_t)vsnprintf(value, sizeof(value), format, args) >= sizeof(value))
        setup->failed = true;
    va_end(args);
    if (have)
        put(setup, key, "%s:%s", have->value, value);
    else
        put(setup, key, "%s", value);
}

static uint32_t mode_of(const struct encoder_setup *setup)
{
    return setup->request->rate.mode;
}

/* Bit rate, peak and buffer, as all encoders of libavcodec are told. */
static void rate_control(struct encoder_setup *setup)
{
    const struct encoder_rates *rates = setup->rates;
    AVCodecContext *context = setup->context;

    context->bit_rate = rates->target;
    context->rc_max_rate = rates->peak;
    context->rc_buffer_size = rates->vbv;
    if (rates->initial)
        context->rc_initial_buffer_occupancy = rates->initial;
}

static void qp_limits(struct encoder_setup *setup)
{
    if (!setup->rates->max_qp)
        return;
    setup->context->qmin = setup->rates->min_qp;
    setup->context->qmax = setup->rates->max_qp;
}

/* The level limits motion vectors; what is none would not open. */
static int level_h264(uint8_t level_idc)
{
    static const uint8_t levels[] = {9,  10, 11, 12, 13, 20, 21, 22, 30, 31,
                                     32, 40, 41, 42, 50, 51, 52, 60, 61, 62};

    return level_idc && memchr(levels, level_idc, sizeof(levels)) ? level_idc : FF_LEVEL_UNKNOWN;
}

/*
 * CQP is CRF with all that adapts switched off: CRF changes from picture to picture through
 * libavcodec, QP does not. Adaptive quantisation stays on with no strength, for the regions.
 * CRF 0 would be lossless and another profile.
 */
#define X264_CQP "qcomp=1:aq-mode=1:aq-strength=0.001:ipratio=1"

static double x264_crf(const struct encode_request *request, const struct encoder_rates *rates)
{
    double qp = rates->quality;

    if (request->rate.mode == VA_RC_CQP)
        qp = rates->qp;
    else if (request->rate.mode == VA_RC_CBR || request->rate.mode == VA_RC_VBR)
        qp = rates->chosen;
    return qp >= 1 ? qp : 1;
}

void encoder_options_x264(struct encoder_setup *setup)
{
    static const char *const presets[] = {"veryfast", "medium",    "fast",      "faster",
                                          "veryfast", "superfast", "superfast", "ultrafast"};
    const struct encode_request *request = setup->request;
    const struct encode_tools *tools = &request->tools;
    const struct encoder_rates *rates = setup->rates;

    put(setup, "preset", "%s", presets[rates->level]);
    put(setup, "tune", "zerolatency");
    put(setup, "forced-idr", "1");
    /* Frame threads have a delay, and threads of slices a deblocking that the app's PPS may not. */
    put(setup, "x264-params",
        "scenecut=0:weightp=0:ref=1:bframes=0:keyint=%d:sliced-threads=0:slices=%u:aud=0:"
        "cabac=%d:8x8dct=%d:chroma-qp-offset=%d:psy=0:deblock=0,0:mbtree=0:rc-lookahead=0:"
        "open-gop=0:no-deblock=0",
        tools->intra_refresh ? (int)tools->intra_refresh : NO_INTRA_PERIOD,
        (unsigned)clamp(clamp(tools->slices, 1, ENCODER_MAX_SLICES), 1, (tools->height + 15) / 16),
        tools->h264.cabac, tools->h264.transform_8x8,
        (int)clamp(tools->h264.cb_qp_offset, -12, 12));
    if (tools->intra_refresh)
        add(setup, "x264-params", "intra-refresh=1");
    setup->context->level = level_h264(tools->h264.level_idc);
    setup->context->thread_count = 1;
    /*
     * Its own bit rate control keeps the rate that it was opened with (ratecontrol.c: "We don't
     * support changing the ABR bitrate right now"); its buffer model does not.
     */
    put(setup, "crf", "%.3f", x264_crf(request, rates));
    if (mode_of(setup) != VA_RC_CQP && mode_of(setup) != VA_RC_ICQ)
        rate_control(setup);
    setup->context->bit_rate = 0;
    if (mode_of(setup) == VA_RC_CQP) {
        add(setup, "x264-params", X264_CQP);
        return;
    }
    add(setup, "x264-params", "aq-mode=1:qcomp=1");
    qp_limits(setup);
}

void encoder_live_x264(AVCodecContext *context, AVFrame *frame,
                       const struct encode_request *request, const struct encoder_rates *rates)
{
    uint32_t mode = request->rate.mode;

    (void)frame;
    av_opt_set_double(context->priv_data, "crf", x264_crf(request, rates), 0);
    if (mode == VA_RC_CBR || mode == VA_RC_VBR || mode == VA_RC_QVBR) {
        context->rc_max_rate = rates->peak;
        context->rc_buffer_size = rates->vbv;
    }
}

bool encoder_has_deltas(const struct encode_request *request)
{
    const struct encode_tools *tools = &request->tools;

    if (codecs_of_profile((int)tools->profile) != VD_CODEC_HEVC || tools->hevc.cu_qp_delta)
        return true;
    /* Without headers of the app's: as x265 does it. */
    return !tools->hevc.log2_ctb && request->rate.mode != VA_RC_CQP;
}

/* The SPS and PPS that the app wrote, in x265's words. Zeroes: there are none. */
static void x265_tools(struct encoder_setup *setup)
{
    const struct encode_tools *tools = &setup->request->tools;
    uint8_t ctb = tools->hevc.log2_ctb, min_cb = tools->hevc.log2_min_cb;
    uint8_t max_tb = tools->hevc.log2_max_tb, qg;

    if (!ctb)
        return;
    if (ctb < 4 || ctb > 6 || min_cb < 3 || min_cb > ctb || max_tb < 3 || max_tb > 5 ||
        max_tb > ctb || tools->hevc.depth_inter > 3 || tools->hevc.depth_intra > 3) {
        setup->failed = true;
        return;
    }
    qg = (uint8_t)clamp(ctb - tools->hevc.diff_cu_qp_delta_depth, min_cb, ctb);
    add(setup, "x265-params",
        "ctu=%d:min-cu-size=%d:max-tu-size=%d:tu-inter-depth=%d:tu-intra-depth=%d:qg-size=%d",
        1 << ctb, 1 << min_cb, 1 << max_tb, tools->hevc.depth_inter + 1,
        tools->hevc.depth_intra + 1, 1 << qg);
    /* Without rectangles x265 takes the asymmetric ones back. */
    add(setup, "x265-params", "rect=%d:amp=%d:sao=%d:signhide=%d:tskip=%d:cu-lossless=%d",
        tools->hevc.amp, tools->hevc.amp, tools->hevc.sao, tools->hevc.sign_hiding,
        tools->hevc.transform_skip, tools->hevc.transquant_bypass);
    add(setup, "x265-params", "strong-intra-smoothing=%d:temporal-mvp=%d:constrained-intra=%d",
        tools->hevc.strong_intra, tools->hevc.temporal_mvp, tools->hevc.constrained_intra);
    add(setup, "x265-params", "cbqpoffs=%d:crqpoffs=%d",
        (int)clamp(tools->hevc.cb_qp_offset, -12, 12),
        (int)clamp(tools->hevc.cr_qp_offset, -12, 12));
    /* Below it these are silently left out. */
    if (tools->hevc.transform_skip || tools->hevc.transquant_bypass)
        add(setup, "x265-params", "rd=3");
}

void encoder_options_x265(struct encoder_setup *setup)
{
    static const char *const presets[] = {"superfast", "medium",    "fast",      "faster",
                                          "veryfast",  "superfast", "ultrafast", "ultrafast"};
    const struct encoder_rates *rates = setup->rates;
    bool deltas = encoder_has_deltas(setup->request);

    put(setup, "preset", "%s", presets[rates->level]);
    put(setup, "tune", "zerolatency");
    put(setup, "forced-idr", "1");
    put(setup, "x265-params",
        "log-level=none:wpp=0:frame-threads=1:pools=none:bframes=0:ref=1:open-gop=0:scenecut=0:"
        "keyint=-1:weightp=0:cutree=0:rc-lookahead=0:aud=0:hrd=0:info=0:deblock=0,0");
    x265_tools(setup);
    switch (mode_of(setup)) {
    case VA_RC_CBR:
    case VA_RC_VBR:
        rate_control(setup);
        break;
    case VA_RC_ICQ:
    case VA_RC_QVBR:
        if (mode_of(setup) == VA_RC_QVBR)
            rate_control(setup);
        setup->context->bit_rate = 0;
        put(setup, "crf", "%u", rates->quality);
        break;
    default:
        if (deltas) {
            /* CQP of x265 would write no deltas, for which the app's PPS has a place. */
            add(setup, "x265-params", "qcomp=1:aq-mode=1:aq-strength=0.001:ipratio=1");
            put(setup, "crf", "%d", ENCODER_BASE_QP);
        } else {
            add(setup, "x265-params", "aq-mode=0:ipratio=%.6f",
                exp2((rates->qp_p - rates->qp_i) / 6.0));
            put(setup, "qp", "%d", rates->qp_p);
        }
        return;
    }
    /* Deltas come from adaptive quantisation and from the buffer model. */
    if (deltas) {
        add(setup, "x265-params", "aq-mode=1:aq-strength=1");
    } else {
        add(setup, "x265-params", "aq-mode=0");
        setup->context->rc_max_rate = 0;
        setup->context->rc_buffer_size = 0;
    }
    qp_limits(setup);
}

/* libvpx's scale of 0 to 63, from the QP that VP8 has in its headers. */
static int quantizer_vp8(int qp)
{
    static const uint8_t index[64] = {0,  1,  2,   3,   4,   5,   7,   8,   9,   10,  12,  13, 15,
                                      17, 18, 19,  20,  21,  23,  24,  25,  26,  27,  28,  29, 30,
                                      31, 33, 35,  37,  39,  41,  43,  45,  47,  49,  51,  53, 55,
                                      57, 59, 61,  64,  67,  70,  73,  76,  79,  82,  85,  88, 91,
                                      94, 97, 100, 103, 106, 109, 112, 115, 118, 121, 124, 127};
    int i = 0;

    /* The nearest one. */
    while (i < 63 && 2 * qp > index[i] + index[i + 1])
        i++;
    return i;
}

/* The same for VP9 and AV1: steps of four, the last two are 249 and 255. */
static int quantizer_index(int qp)
{
    if (qp >= 247)
        return qp >= 252 ? 63 : 62;
    return (int)clamp((qp + 2) / 4, 0, 61);
}

static int quantizer(enum AVCodecID id, int qp)
{
    return id == AV_CODEC_ID_VP8 ? quantizer_vp8(qp) : quantizer_index(qp);
}

static void quantizer_limits(struct encoder_setup *setup)
{
    const struct encoder_rates *rates = setup->rates;

    setup->context->qmin = quantizer(setup->context->codec_id, rates->min_qp);
    setup->context->qmax = rates->max_qp ? quantizer(setup->context->codec_id, rates->max_qp) : 63;
}

/* log2 of the columns of tiles that the threads can share; none is narrower than 256 pixels. */
static int tile_columns(const struct encoder_setup *setup)
{
    int columns = 0;

    while (columns < 4 && (2 << columns) <= setup->threads &&
           setup->request->tools.width >> (columns + 1) >= 256)
        columns++;
    return columns;
}

/* CBR, VBR, ICQ and QVBR of libvpx and libaom. */
static void rate_control_vpx(struct encoder_setup *setup)
{
    AVCodecContext *context = setup->context;

    quantizer_limits(setup);
    if (mode_of(setup) == VA_RC_ICQ) {
        /* VP8 knows no quality without a bit rate. */
        if (context->codec_id == AV_CODEC_ID_VP8)
            context->bit_rate = MAX_BITRATE;
    } else {
        rate_control(setup);
        if (mode_of(setup) == VA_RC_CBR)
            context->rc_min_rate = context->rc_max_rate;
    }
    if (mode_of(setup) == VA_RC_ICQ || mode_of(setup) == VA_RC_QVBR) {
        int crf = (int)setup->rates->quality * 63 / 51;

        put(setup, "crf", "%d", (int)clamp(crf, context->qmin, context->qmax));
    }
}

/*
 * libvpx with a bit rate that nothing fits into takes the largest quantizer, which is the one
 * setting that libavcodec changes from picture to picture: so QPs are given, by the app or by
 * encoder_rate.c, as a bit rate would stay for good.
 */
#define VPX_STARVED 1000

void encoder_options_vpx(struct encoder_setup *setup)
{
    static const int8_t vp8[] = {-8, -4, -5, -6, -8, -10, -12, -14};
    static const int8_t vp9[] = {8, 5, 5, 6, 7, 7, 8, 8};
    AVCodecContext *context = setup->context;
    bool is_vp9 = context->codec_id == AV_CODEC_ID_VP9;

    put(setup, "deadline", "realtime");
    /* Speeds of VP8 above zero depend on the clock. */
    put(setup, "cpu-used", "%d", is_vp9 ? vp9[setup->rates->level] : vp8[setup->rates->level]);
    put(setup, "lag-in-frames", "0");
    put(setup, "auto-alt-ref", "0");
    context->thread_count = setup->threads;
    if (is_vp9) {
        put(setup, "row-mt", "1");
        put(setup, "tile-columns", "%d", tile_columns(setup));
        put(setup, "aq-mode", "0");
    }
    /* Equal: no key frames of its own, where scenes change. */
    context->keyint_min = context->gop_size;
    if (mode_of(setup) == VA_RC_ICQ || mode_of(setup) == VA_RC_QVBR) {
        rate_control_vpx(setup);
        return;
    }
    context->bit_rate = context->rc_min_rate = context->rc_max_rate = VPX_STARVED;
    context->qmin = 0;
    context->qmax = quantizer(context->codec_id, setup->rates->qp);
}

/*
 * Rate control speaks of H.264's QPs. VP9's quantizers have as many steps a doubling; VP8's are
 * finer and fewer; MPEG-2's scale is linear: what QP 10 is in H.264 is 1 there.
 */
#define VPX_OF_QP     (63.0 / 51)
#define VP8_QP_OF_0   10
#define VP8_OF_QP     2.0
#define MPEG2_QP_OF_1 10

static int quantizer_chosen(enum AVCodecID id, double qp)
{
    double quantizer = id == AV_CODEC_ID_VP8 ? VP8_OF_QP * (qp - VP8_QP_OF_0) : VPX_OF_QP * qp;

    return (int)(quantizer < 0 ? 0 : quantizer > 63 ? 63 : quantizer + 0.5);
}

void encoder_chosen_range(enum vd_codec codec, const struct encoder_rates *rates, double *ret_least,
                          double *ret_most)
{
    double least = rates->min_qp, most = rates->max_qp;

    switch (codec) {
    case VD_CODEC_VP8:
        least = VP8_QP_OF_0 + quantizer_vp8(rates->min_qp) / VP8_OF_QP;
        most = VP8_QP_OF_0 + (rates->max_qp ? quantizer_vp8(rates->max_qp) : 63) / VP8_OF_QP;
        break;
    case VD_CODEC_VP9:
        least = quantizer_index(rates->min_qp) / VPX_OF_QP;
        most = (rates->max_qp ? quantizer_index(rates->max_qp) : 63) / VPX_OF_QP;
        break;
    case VD_CODEC_MPEG2:
        least = MPEG2_QP_OF_1 + (least > 1 ? 6 * log2(least) : 0);
        most = MPEG2_QP_OF_1 + 6 * log2(most >= 1 ? most : 31);
        break;
    default:
        most = most >= 1 ? most : 51;
        break;
    }
    *ret_least = least;
    *ret_most = most;
}

void encoder_live_vpx(AVCodecContext *context, AVFrame *frame, const struct encode_request *request,
                      const struct encoder_rates *rates)
{
    uint32_t mode = request->rate.mode;

    (void)frame;
    if (mode == VA_RC_CQP)
        context->qmax = quantizer(context->codec_id, rates->qp);
    else if (mode == VA_RC_CBR || mode == VA_RC_VBR)
        context->qmax = quantizer_chosen(context->codec_id, rates->chosen);
}

void encoder_options_aom(struct encoder_setup *setup)
{
    static const uint8_t speeds[] = {8, 5, 6, 7, 7, 8, 8, 8};
    AVCodecContext *context = setup->context;

    put(setup, "usage", "realtime");
    context->keyint_min = context->gop_size;
    put(setup, "cpu-used", "%d", speeds[setup->rates->level]);
    put(setup, "lag-in-frames", "0");
    put(setup, "row-mt", "1");
    put(setup, "tile-columns", "%d", tile_columns(setup));
    context->thread_count = setup->threads;
    if (mode_of(setup) != VA_RC_CQP) {
        rate_control_vpx(setup);
        return;
    }
    context->qmin = context->qmax = quantizer(context->codec_id, setup->rates->qp_p);
    put(setup, "crf", "%d", context->qmin);
}

void encoder_options_mpeg2(struct encoder_setup *setup)
{
    const struct encode_tools *tools = &setup->request->tools;
    AVCodecContext *context = setup->context;
    int precision = tools->mpeg2.intra_dc_precision;

    context->flags |= AV_CODEC_FLAG_LOW_DELAY;
    /* Any frame rate, the nearest that has a code, and pictures without end before the next I. */
    context->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;
    context->profile =
        tools->profile == VAProfileMPEG2Simple ? FF_PROFILE_MPEG2_SIMPLE : FF_PROFILE_MPEG2_MAIN;
    context->intra_dc_precision = precision <= 3 ? precision : 0;
    context->thread_count = setup->threads;
    context->thread_type = FF_THREAD_SLICE;
    put(setup, "sc_threshold", "1000000000");
    /*
     * Its own control of the bit rate is loose and keeps the first one; the buffer model works with
     * quantisers that are given, too. No least rate: delays would be computed from it.
     */
    context->flags |= AV_CODEC_FLAG_QSCALE;
    context->qmin = 1;
    context->qmax = 31;
    context->global_quality = FF_QP2LAMBDA;
    if (mode_of(setup) != VA_RC_CQP)
        rate_control(setup);
}

void encoder_live_mpeg2(AVCodecContext *context, AVFrame *frame,
                        const struct encode_request *request, const struct encoder_rates *rates)
{
    double scale = rates->qp;

    if (request->rate.mode != VA_RC_CQP) {
        scale = exp2((rates->chosen - MPEG2_QP_OF_1) / 6);
        /* The buffer keeps its size: what no longer fits into it would be stuffed at once. */
        context->rc_max_rate = rates->peak;
    }
    frame->quality = (int)(FF_QP2LAMBDA * (scale < 1 ? 1 : scale > 31 ? 31 : scale));
}
