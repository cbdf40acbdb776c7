/* SPDX-License-Identifier: MIT */
#include <va/va.h>

#include "encoder_options.h"

/*
 * Options of encoders that are hardware and take frames in memory. None of them lets the quality
 * of a running encoder be changed without side effects: a change opens a new one.
 */

/* Bit rate and buffer, or neither; true for the modes that have a bit rate. */
static bool rate_control(struct encoder_setup *setup)
{
    uint32_t mode = setup->request->rate.mode;

    /* Intra pictures have a share of the others' QP unless told otherwise. */
    setup->context->i_quant_factor = 1;
    setup->context->i_quant_offset = (float)(setup->rates->qp_i - setup->rates->qp_p);
    if (mode != VA_RC_CBR && mode != VA_RC_VBR)
        return false;
    encoder_options_rate(setup);
    encoder_options_limits(setup);
    return true;
}

void encoder_options_nvenc(struct encoder_setup *setup)
{
    static const char *const presets[] = {"p4", "p7", "p6", "p5", "p4", "p3", "p2", "p1"};
    const struct encode_tools *tools = &setup->request->tools;

    encoder_options_put(setup, "preset", "%s", presets[setup->rates->level]);
    encoder_options_put(setup, "tune", "ull");
    encoder_options_put(setup, "zerolatency", "1");
    encoder_options_put(setup, "delay", "0");
    encoder_options_put(setup, "forced-idr", "1");
    encoder_options_put(setup, "no-scenecut", "1");
    if (setup->context->codec_id == AV_CODEC_ID_H264)
        encoder_options_put(setup, "coder", "%s", tools->h264.cabac ? "cabac" : "cavlc");
    if (setup->context->codec_id == AV_CODEC_ID_H264 && !tools->h264.transform_8x8)
        encoder_options_put(setup, "profile", "%s", tools->h264.cabac ? "main" : "baseline");
    if (rate_control(setup)) {
        encoder_options_put(setup, "rc", "%s",
                            setup->request->rate.mode == VA_RC_CBR ? "cbr" : "vbr");
    } else {
        encoder_options_put(setup, "rc", "constqp");
        encoder_options_put(setup, "qp", "%d", setup->rates->qp_p);
    }
}

void encoder_options_qsv(struct encoder_setup *setup)
{
    static const char *const presets[] = {"medium", "veryslow", "slower", "slow",
                                          "medium", "fast",     "faster", "veryfast"};

    encoder_options_put(setup, "preset", "%s", presets[setup->rates->level]);
    encoder_options_put(setup, "async_depth", "1");
    encoder_options_put(setup, "look_ahead", "0");
    encoder_options_put(setup, "forced_idr", "1");
    if (!rate_control(setup)) {
        setup->context->flags |= AV_CODEC_FLAG_QSCALE;
        setup->context->global_quality = setup->rates->qp_p * FF_QP2LAMBDA;
    }
}

void encoder_options_amf(struct encoder_setup *setup)
{
    encoder_options_put(setup, "usage", "ultralowlatency");
    encoder_options_put(setup, "quality", "%s",
                        setup->rates->level == 1   ? "quality"
                        : setup->rates->level >= 5 ? "speed"
                                                   : "balanced");
    if (rate_control(setup)) {
        encoder_options_put(setup, "rc", "%s",
                            setup->request->rate.mode == VA_RC_CBR ? "cbr" : "vbr_peak");
    } else {
        encoder_options_put(setup, "rc", "cqp");
        encoder_options_put(setup, "qp_i", "%d", setup->rates->qp_i);
        encoder_options_put(setup, "qp_p", "%d", setup->rates->qp_p);
    }
}
