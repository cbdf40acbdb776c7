/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <va/va.h>

#include "encoder_options.h"

/* libvpx, libaom and MPEG-2: what is in the stream is the encoder's own choice. */

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
    return (int)encoder_clamp((qp + 2) / 4, 0, 61);
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

/* Threads that have something to do: idle ones of libvpx spin. */
static int threads_for(const struct encoder_setup *setup)
{
    uint64_t pixels = (uint64_t)setup->request->tools.width * setup->request->tools.height;
    int useful = pixels < 640 * 360 ? 1 : pixels < 1280 * 720 ? 2 : pixels < 1920 * 1080 ? 4 : 8;

    return setup->threads < useful ? setup->threads : useful;
}

/* log2 of the columns of tiles that the threads can share; none is narrower than 256 pixels. */
static int tile_columns(const struct encoder_setup *setup)
{
    int columns = 0;

    while (columns < 4 && (2 << columns) <= threads_for(setup) &&
           setup->request->tools.width >> (columns + 1) >= 256)
        columns++;
    return columns;
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

    encoder_options_put(setup, "deadline", "realtime");
    /* Speeds of VP8 above zero depend on the clock. */
    encoder_options_put(setup, "cpu-used", "%d",
                        is_vp9 ? vp9[setup->rates->level] : vp8[setup->rates->level]);
    encoder_options_put(setup, "lag-in-frames", "0");
    encoder_options_put(setup, "auto-alt-ref", "0");
    context->thread_count = threads_for(setup);
    if (is_vp9) {
        encoder_options_put(setup, "row-mt", "1");
        encoder_options_put(setup, "tile-columns", "%d", tile_columns(setup));
        encoder_options_put(setup, "aq-mode", "0");
    }
    /* Contexts of the entropy coder and motion vectors of pictures that may be missing. */
    if (setup->request->tools.layered)
        encoder_options_put(setup, "error-resilient", "default");
    /* Equal: no key frames of its own, where scenes change. */
    context->keyint_min = context->gop_size;
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

/* vpx_enc_frame_flags_t of vp8cx.h, which VP9 has, too. */
#define VPX_NO_REF_LAST    (1u << 16)
#define VPX_NO_REF_GOLDEN  (1u << 17)
#define VPX_NO_UPD_LAST    (1u << 18)
#define VPX_FORCE_GOLDEN   (1u << 19)
#define VPX_NO_UPD_ENTROPY (1u << 20)
#define VPX_NO_REF_ALT     (1u << 21)
#define VPX_NO_UPD_GOLDEN  (1u << 22)
#define VPX_NO_UPD_ALT     (1u << 23)
#define VPX_FORCE_ALT      (1u << 24)

/* A P picture's references, as the app has them; to none at all it cannot refer. */
static void vpx_references(AVFrame *frame, const struct encode_request *request)
{
    uint8_t refer = request->refer ? request->refer : ENCODE_LAST, refresh = request->refresh;
    unsigned flags = 0;
    char text[16];

    flags |= refer & ENCODE_LAST ? 0 : VPX_NO_REF_LAST;
    flags |= refer & ENCODE_GOLDEN ? 0 : VPX_NO_REF_GOLDEN;
    flags |= refer & ENCODE_ALTERNATE ? 0 : VPX_NO_REF_ALT;
    flags |= refresh & ENCODE_LAST ? 0 : VPX_NO_UPD_LAST;
    flags |= refresh & ENCODE_GOLDEN ? VPX_FORCE_GOLDEN : VPX_NO_UPD_GOLDEN;
    flags |= refresh & ENCODE_ALTERNATE ? VPX_FORCE_ALT : VPX_NO_UPD_ALT;
    if (request->layer || !refresh)
        flags |= VPX_NO_UPD_ENTROPY;
    snprintf(text, sizeof(text), "%u", flags);
    av_dict_set(&frame->metadata, "vp8-flags", text, 0);
}

void encoder_live_vpx(AVCodecContext *context, AVFrame *frame, const struct encode_request *request,
                      const struct encoder_rates *rates)
{
    uint32_t mode = request->rate.mode;

    if (request->tools.layered && frame->pict_type != AV_PICTURE_TYPE_I)
        vpx_references(frame, request);
    if (mode == VA_RC_CQP)
        context->qmax = quantizer(context->codec_id, rates->qp);
    else if (mode == VA_RC_CBR || mode == VA_RC_VBR)
        context->qmax = quantizer_chosen(context->codec_id, rates->chosen);
}

/*
 * libaom fills the buffer with its first picture, and never gets back what that took: with one of a
 * third of a second it does not matter. A smaller buffer than the app's is as good for a decoder.
 */
static void aom_buffer(struct encoder_setup *setup)
{
    const struct encoder_rates *rates = setup->rates;
    int64_t pictures = av_rescale(3 * rates->target, rates->frame_rate.den, rates->frame_rate.num);
    int64_t size = rates->target / 3 > pictures ? rates->target / 3 : pictures;

    if (size >= setup->context->rc_buffer_size)
        return;
    setup->context->rc_buffer_size = (int)size;
    if (setup->context->rc_initial_buffer_occupancy > size)
        setup->context->rc_initial_buffer_occupancy = (int)size;
}

/* Only tools that the app's sequence header has, or frames could not be brought under it. */
static void aom_tools(struct encoder_setup *setup)
{
    const struct encode_tools *tools = &setup->request->tools;
    const struct {
        const char *option;
        bool on;
    } rows[] = {
        {"enable-cdef", tools->av1.cdef},
        {"enable-restoration", tools->av1.restoration},
        {"enable-filter-intra", tools->av1.filter_intra},
        {"enable-intra-edge-filter", tools->av1.intra_edge_filter},
        {"enable-interintra-comp", tools->av1.interintra_compound},
        {"enable-masked-comp", tools->av1.masked_compound},
        {"enable-dual-filter", tools->av1.dual_filter},
        {"enable-dist-wtd-comp", tools->av1.jnt_comp},
        /* Order hints of another size would make other vectors of them. */
        {"enable-ref-frame-mvs", false},
        {"enable-global-motion", false},
        {"enable-intrabc", false},
        {"enable-palette", false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        encoder_options_put(setup, rows[i].option, "%d", rows[i].on);
    encoder_options_add(setup, "aom-params", "enable-warped-motion=%d", tools->av1.warped_motion);
    encoder_options_add(setup, "aom-params", "enable-order-hint=%d", tools->av1.order_hint);
    encoder_options_add(setup, "aom-params", "sb-size=%d", tools->av1.superblock_128 ? 128 : 64);
}

void encoder_options_aom(struct encoder_setup *setup)
{
    static const uint8_t speeds[] = {8, 5, 6, 7, 7, 8, 8, 8};
    AVCodecContext *context = setup->context;

    encoder_options_put(setup, "usage", "realtime");
    context->keyint_min = context->gop_size;
    encoder_options_put(setup, "cpu-used", "%d", speeds[setup->rates->level]);
    encoder_options_put(setup, "lag-in-frames", "0");
    encoder_options_put(setup, "row-mt", "1");
    encoder_options_put(setup, "tile-columns", "%d", tile_columns(setup));
    context->thread_count = threads_for(setup);
    if (setup->request->tools.av1.header)
        aom_tools(setup);
    if (encoder_options_mode(setup) != VA_RC_CQP) {
        quantizer_limits(setup);
        encoder_options_rate(setup);
        aom_buffer(setup);
        if (encoder_options_mode(setup) == VA_RC_CBR)
            context->rc_min_rate = context->rc_max_rate;
        return;
    }
    context->qmin = context->qmax = quantizer(context->codec_id, setup->rates->qp_p);
    encoder_options_put(setup, "crf", "%d", context->qmin);
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
    encoder_options_put(setup, "sc_threshold", "1000000000");
    /*
     * Its own control of the bit rate is loose and keeps the first one; the buffer model works with
     * quantisers that are given, too. No least rate: delays would be computed from it.
     */
    context->flags |= AV_CODEC_FLAG_QSCALE;
    context->qmin = 1;
    context->qmax = 31;
    context->global_quality = FF_QP2LAMBDA;
    if (encoder_options_mode(setup) != VA_RC_CQP)
        encoder_options_rate(setup);
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
