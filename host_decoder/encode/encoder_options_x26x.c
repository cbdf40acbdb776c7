/* SPDX-License-Identifier: MIT */
#include <libavutil/opt.h>
#include <math.h>
#include <string.h>
#include <va/va.h>

#include "encoder_options.h"

/*
 * libx264 and libx265: their pictures have to be legal under the SPS and PPS that the app wrote,
 * so all that these say is said here again.
 */

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

#define X264_MAX_THREADS 16

static double x264_crf(const struct encode_request *request, const struct encoder_rates *rates)
{
    double qp = rates->quality;

    if (request->rate.mode == VA_RC_CQP)
        qp = rates->qp;
    else if (request->rate.mode == VA_RC_CBR || request->rate.mode == VA_RC_VBR)
        qp = rates->chosen;
    return qp >= 1 ? qp : 1;
}

/*
 * A thread a slice: only where the app has several, all of a size, so that x264 cuts them alike,
 * and a PPS that allows what they need: deblocking that stops at slices (idc 2). To fewer than four
 * rows x264 gives no thread.
 */
static bool x264_threads(const struct encoder_setup *setup)
{
    const struct encode_tools *tools = &setup->request->tools;
    uint32_t rows = (tools->height + 15) / 16;

    return setup->threads > 1 && tools->h264.deblocking_control && !tools->intra_refresh &&
           tools->slices > 1 && tools->slices <= X264_MAX_THREADS && tools->slice_rows >= 4 &&
           tools->slice_rows <= rows && tools->slices * tools->slice_rows == rows;
}

void encoder_options_x264(struct encoder_setup *setup)
{
    static const char *const presets[] = {"veryfast", "medium",    "fast",      "faster",
                                          "veryfast", "superfast", "superfast", "ultrafast"};
    const struct encode_request *request = setup->request;
    const struct encode_tools *tools = &request->tools;
    const struct encoder_rates *rates = setup->rates;
    bool threads = x264_threads(setup);

    encoder_options_put(setup, "preset", "%s", presets[rates->level]);
    encoder_options_put(setup, "tune", "zerolatency");
    encoder_options_put(setup, "forced-idr", "1");
    /* Frame threads have a delay. */
    encoder_options_put(
        setup, "x264-params",
        "scenecut=0:weightp=%d:ref=1:bframes=0:keyint=%d:sliced-threads=%d:aud=0:"
        "cabac=%d:8x8dct=%d:chroma-qp-offset=%d:psy=0:deblock=0,0:mbtree=0:rc-lookahead=0:"
        "open-gop=0:no-deblock=0",
        tools->h264.weighted, tools->intra_refresh ? (int)tools->intra_refresh : ENCODER_NO_PERIOD,
        threads, tools->h264.cabac, tools->h264.transform_8x8,
        (int)encoder_clamp(tools->h264.cb_qp_offset, -12, 12));
    if (tools->slice_rows && !threads)
        encoder_options_add(setup, "x264-params", "slice-max-mbs=%u",
                            tools->slice_rows * ((tools->width + 15) / 16));
    else if (!threads)
        encoder_options_add(
            setup, "x264-params", "slices=%u",
            (unsigned)encoder_clamp(encoder_clamp(tools->slices, 1, ENCODER_MAX_SLICES), 1,
                                    (tools->height + 15) / 16));
    if (tools->intra_refresh)
        encoder_options_add(setup, "x264-params", "intra-refresh=1");
    setup->context->level = level_h264(tools->h264.level_idc);
    setup->context->thread_count = threads ? (int)tools->slices : 1;
    /*
     * Its own bit rate control keeps the rate that it was opened with (ratecontrol.c: "We don't
     * support changing the ABR bitrate right now"); its buffer model does not.
     */
    encoder_options_put(setup, "crf", "%.3f", x264_crf(request, rates));
    if (encoder_options_mode(setup) != VA_RC_CQP && encoder_options_mode(setup) != VA_RC_ICQ)
        encoder_options_rate(setup);
    setup->context->bit_rate = 0;
    if (encoder_options_mode(setup) == VA_RC_CQP) {
        encoder_options_add(setup, "x264-params", X264_CQP);
        return;
    }
    encoder_options_add(setup, "x264-params", "aq-mode=1:qcomp=0.6");
    encoder_options_limits(setup);
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

    if (codecs_of((int)tools->profile, VAEntrypointEncSlice) != VD_CODEC_HEVC ||
        tools->hevc.cu_qp_delta)
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
    qg = (uint8_t)encoder_clamp(ctb - tools->hevc.diff_cu_qp_delta_depth, min_cb, ctb);
    encoder_options_add(
        setup, "x265-params",
        "ctu=%d:min-cu-size=%d:max-tu-size=%d:tu-inter-depth=%d:tu-intra-depth=%d:qg-size=%d",
        1 << ctb, 1 << min_cb, 1 << max_tb, tools->hevc.depth_inter + 1,
        tools->hevc.depth_intra + 1, 1 << qg);
    /* Without rectangles x265 takes the asymmetric ones back. */
    encoder_options_add(setup, "x265-params",
                        "rect=%d:amp=%d:sao=%d:signhide=%d:tskip=%d:cu-lossless=%d",
                        tools->hevc.amp, tools->hevc.amp, tools->hevc.sao, tools->hevc.sign_hiding,
                        tools->hevc.transform_skip, tools->hevc.transquant_bypass);
    encoder_options_add(
        setup, "x265-params", "strong-intra-smoothing=%d:temporal-mvp=%d:constrained-intra=%d",
        tools->hevc.strong_intra, tools->hevc.temporal_mvp, tools->hevc.constrained_intra);
    encoder_options_add(setup, "x265-params", "cbqpoffs=%d:crqpoffs=%d",
                        (int)encoder_clamp(tools->hevc.cb_qp_offset, -12, 12),
                        (int)encoder_clamp(tools->hevc.cr_qp_offset, -12, 12));
    /* In 4:4:4 x265 makes six of no offsets, if it looks for detail. */
    if (tools->chroma == 3 && !tools->hevc.cb_qp_offset && !tools->hevc.cr_qp_offset)
        encoder_options_add(setup, "x265-params", "psy-rd=0");
    /* Below it these are silently left out. */
    if (tools->hevc.transform_skip || tools->hevc.transquant_bypass)
        encoder_options_add(setup, "x265-params", "rd=3");
}

void encoder_options_x265(struct encoder_setup *setup)
{
    /* One thread has to do: the fastest, unless the app asks for better ones. */
    static const char *const presets[] = {"ultrafast", "medium",    "faster",    "superfast",
                                          "ultrafast", "ultrafast", "ultrafast", "ultrafast"};
    const struct encoder_rates *rates = setup->rates;
    bool deltas = encoder_has_deltas(setup->request);

    encoder_options_put(setup, "preset", "%s", presets[rates->level]);
    encoder_options_put(setup, "tune", "zerolatency");
    encoder_options_put(setup, "forced-idr", "1");
    encoder_options_put(
        setup, "x265-params",
        "log-level=none:wpp=0:frame-threads=1:pools=none:bframes=0:ref=1:open-gop=0:scenecut=0:"
        "keyint=-1:weightp=0:cutree=0:rc-lookahead=0:aud=0:hrd=0:info=0:deblock=0,0");
    x265_tools(setup);
    switch (encoder_options_mode(setup)) {
    case VA_RC_VBR:
        /* Its own is a fifth off after ten seconds: encoder_rate.c, by one region a picture. */
        if (deltas) {
            encoder_options_add(setup, "x265-params", "qcomp=0.6:aq-mode=1:aq-strength=1");
            encoder_options_put(setup, "crf", "%d", ENCODER_BASE_QP);
            return;
        }
        encoder_options_rate(setup);
        break;
    case VA_RC_CBR:
        encoder_options_rate(setup);
        break;
    case VA_RC_ICQ:
    case VA_RC_QVBR:
        if (encoder_options_mode(setup) == VA_RC_QVBR)
            encoder_options_rate(setup);
        setup->context->bit_rate = 0;
        encoder_options_put(setup, "crf", "%u", rates->quality);
        break;
    default:
        if (deltas) {
            /* CQP of x265 would write no deltas, for which the app's PPS has a place. */
            encoder_options_add(setup, "x265-params",
                                "qcomp=1:aq-mode=1:aq-strength=0.001:ipratio=1");
            encoder_options_put(setup, "crf", "%d", ENCODER_BASE_QP);
        } else {
            encoder_options_add(setup, "x265-params", "aq-mode=0:ipratio=%.6f",
                                exp2((rates->qp_p - rates->qp_i) / 6.0));
            encoder_options_put(setup, "qp", "%d", rates->qp_p);
        }
        return;
    }
    /* Deltas come from adaptive quantisation and from the buffer model. */
    if (deltas) {
        encoder_options_add(setup, "x265-params", "aq-mode=1:aq-strength=1");
    } else {
        encoder_options_add(setup, "x265-params", "aq-mode=0");
        setup->context->rc_max_rate = 0;
        setup->context->rc_buffer_size = 0;
    }
    encoder_options_limits(setup);
}
