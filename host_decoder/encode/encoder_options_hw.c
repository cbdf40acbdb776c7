/* SPDX-License-Identifier: MIT */
#include <libavutil/dict.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <va/va.h>

#include "encoder_list.h"

/*
 * Options of encoders that are hardware and take frames in memory. None of them lets the quality
 * of a running encoder be changed without side effects: a change opens a new one.
 */

static void put(struct encoder_setup *setup, const char *key, const char *value)
{
    if (av_dict_set(&setup->options, key, value, 0) < 0)
        setup->failed = true;
}

static void put_number(struct encoder_setup *setup, const char *key, int number)
{
    if (av_dict_set_int(&setup->options, key, number, 0) < 0)
        setup->failed = true;
}

/* Bit rate and buffer, or neither; true for the modes that have a bit rate. */
static bool rate_control(struct encoder_setup *setup)
{
    uint32_t mode = setup->request->rate.mode;

    /* Intra pictures have a share of the others' QP unless told otherwise. */
    setup->context->i_quant_factor = 1;
    setup->context->i_quant_offset = (float)(setup->rates->qp_i - setup->rates->qp_p);
    if (mode != VA_RC_CBR && mode != VA_RC_VBR)
        return false;
    setup->context->bit_rate = setup->rates->target;
    setup->context->rc_max_rate = setup->rates->peak;
    setup->context->rc_buffer_size = setup->rates->vbv;
    if (setup->rates->max_qp) {
        setup->context->qmin = setup->rates->min_qp;
        setup->context->qmax = setup->rates->max_qp;
    }
    return true;
}

void encoder_options_nvenc(struct encoder_setup *setup)
{
    static const char *const presets[] = {"p4", "p7", "p6", "p5", "p4", "p3", "p2", "p1"};
    const struct encode_tools *tools = &setup->request->tools;

    put(setup, "preset", presets[setup->rates->level]);
    put(setup, "tune", "ull");
    put(setup, "zerolatency", "1");
    put(setup, "delay", "0");
    put(setup, "forced-idr", "1");
    put(setup, "no-scenecut", "1");
    if (setup->context->codec_id == AV_CODEC_ID_H264)
        put(setup, "coder", tools->h264.cabac ? "cabac" : "cavlc");
    if (setup->context->codec_id == AV_CODEC_ID_H264 && !tools->h264.transform_8x8)
        put(setup, "profile", tools->h264.cabac ? "main" : "baseline");
    if (rate_control(setup)) {
        put(setup, "rc", setup->request->rate.mode == VA_RC_CBR ? "cbr" : "vbr");
    } else {
        put(setup, "rc", "constqp");
        put_number(setup, "qp", setup->rates->qp_p);
    }
}

void encoder_options_qsv(struct encoder_setup *setup)
{
    static const char *const presets[] = {"medium", "veryslow", "slower", "slow",
                                          "medium", "fast",     "faster", "veryfast"};

    put(setup, "preset", presets[setup->rates->level]);
    put(setup, "async_depth", "1");
    put(setup, "look_ahead", "0");
    put(setup, "forced_idr", "1");
    if (!rate_control(setup)) {
        setup->context->flags |= AV_CODEC_FLAG_QSCALE;
        setup->context->global_quality = setup->rates->qp_p * FF_QP2LAMBDA;
    }
}

void encoder_options_amf(struct encoder_setup *setup)
{
    put(setup, "usage", "ultralowlatency");
    put(setup, "quality",
        setup->rates->level == 1   ? "quality"
        : setup->rates->level >= 5 ? "speed"
                                   : "balanced");
    if (rate_control(setup)) {
        put(setup, "rc", setup->request->rate.mode == VA_RC_CBR ? "cbr" : "vbr_peak");
    } else {
        put(setup, "rc", "cqp");
        put_number(setup, "qp_i", setup->rates->qp_i);
        put_number(setup, "qp_p", setup->rates->qp_p);
    }
}
