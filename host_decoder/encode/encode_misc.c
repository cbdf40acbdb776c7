/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <va/va.h>
#include <viaduct/codecs.h>

#include "encode.h"

/* What the encoders here can be given: beyond it nothing sensible follows. */
#define MISC_MAX_BITRATE  2000000000u
#define MISC_MAX_PERIOD   1000u
#define MISC_DEFAULT_RATE 30u

/* A struct of libva's from a misc buffer; apps with older headers send shorter ones. */
#define MISC_GET(type, name, misc) \
    type name = {0};               \
    memcpy(&name, (misc)->data, (misc)->size < sizeof(name) ? (misc)->size : sizeof(name))

static uint32_t at_most(uint64_t value, uint32_t most)
{
    return value > most ? most : (uint32_t)value;
}

/*
 * bits_per_second is the maximum and the target a percentage of it (va.h); CBR has no percentage.
 * Encoders of several layers send one each: the last, which is the sum, counts.
 */
static void read_rate(struct encode_rate *rate, const struct encode_misc *misc)
{
    MISC_GET(VAEncMiscParameterRateControl, rc, misc);
    uint32_t percentage = rc.target_percentage;

    if (!percentage || percentage > 100 || rate->mode == VA_RC_CBR)
        percentage = 100;
    if (rc.bits_per_second) {
        rate->peak = at_most(rc.bits_per_second, MISC_MAX_BITRATE);
        rate->bits_per_second = (uint32_t)((uint64_t)rate->peak * percentage / 100);
    }
    rate->min_qp = rc.min_qp;
    rate->max_qp = rc.max_qp;
    if (rate->mode == VA_RC_ICQ)
        rate->quality = rc.ICQ_quality_factor;
    else if (rate->mode == VA_RC_QVBR)
        rate->quality = rc.quality_factor;
}

/* Numerator in the lower, denominator in the upper 16 bits, 0 for 1. */
static void read_frame_rate(struct encode_rate *rate, const struct encode_misc *misc)
{
    MISC_GET(VAEncMiscParameterFrameRate, rates, misc);
    uint32_t num = rates.framerate & 0xffff, den = rates.framerate >> 16;

    if (!num)
        return;
    rate->frame_rate_num = num;
    rate->frame_rate_den = den ? den : 1;
}

static void read_hrd(struct encode_rate *rate, const struct encode_misc *misc)
{
    MISC_GET(VAEncMiscParameterHRD, hrd, misc);

    rate->vbv_bits = at_most(hrd.buffer_size, MISC_MAX_BITRATE);
    rate->vbv_initial = at_most(hrd.initial_buffer_fullness, rate->vbv_bits);
}

/* Columns or rows a picture: how many pictures until all were intra coded. */
static void read_refresh(struct encode_misc_state *state, const struct encode_picture *picture,
                         const struct encode_misc *misc)
{
    MISC_GET(VAEncMiscParameterRIR, rir, misc);
    uint32_t units = (picture->surface_width + 15) / 16, step = rir.intra_insert_size;

    if (rir.rir_flags.bits.enable_rir_row)
        units = (picture->surface_height + 15) / 16;
    state->intra_refresh =
        rir.rir_flags.value && step ? at_most((units + step - 1) / step, MISC_MAX_PERIOD) : 0;
}

int encode_qp_limit(int profile)
{
    switch (codecs_of_profile(profile)) {
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

static void read_regions(const struct encode_misc *misc, int limit, struct encode_request *request)
{
    MISC_GET(struct vd_enc_roi, roi, misc);
    uint32_t count = at_most(roi.count, VD_MAX_ROI);

    for (uint32_t i = 0; i < count; i++) {
        const uint32_t *v = &roi.roi[i * (size_t)5];
        int64_t delta = (int32_t)v[4];

        /*
         * A priority is the more important the larger; a QP delta makes it better if negative, and
         * with CQP it always is one (va.h). A priority is a step of H.264's scale.
         */
        if (!(roi.roi_flags & 1) && request->rate.mode != VA_RC_CQP)
            delta = -delta * limit / 51;
        request->regions[i] = (struct encode_region){
            .x = (int16_t)v[0],
            .y = (int16_t)v[1],
            .width = (uint16_t)v[2],
            .height = (uint16_t)v[3],
            .delta_qp = (int32_t)(delta > limit    ? limit
                                  : delta < -limit ? -limit
                                                   : delta),
        };
    }
    request->region_count = count;
}

/*
 * Pictures that the app left out are told with the next one (flag 1). One that it coded itself
 * (flag 2) would have to be copied from its packed headers: no encoder here does that.
 */
static void read_skipped(const struct encode_misc *misc, struct encode_request *request)
{
    MISC_GET(VAEncMiscParameterSkipFrame, skip, misc);

    request->coded_by_app = skip.skip_frame_flag > 1;
    if (skip.skip_frame_flag != 1)
        return;
    request->skipped = skip.num_skip_frames;
    request->skipped_bits = at_most(skip.size_skip_frames, MISC_MAX_BITRATE);
}

void encode_misc_sequence(struct encode_misc_state *state, uint32_t bits_per_second,
                          uint32_t frame_rate_num, uint32_t frame_rate_den)
{
    struct encode_rate *rate = &state->rate;

    if (bits_per_second && !rate->bits_per_second)
        rate->bits_per_second = rate->peak = at_most(bits_per_second, MISC_MAX_BITRATE);
    if (frame_rate_num && frame_rate_den && !rate->frame_rate_num) {
        rate->frame_rate_num = frame_rate_num;
        rate->frame_rate_den = frame_rate_den;
    }
}

void encode_misc_read(struct encode_misc_state *state, const struct encode_picture *picture,
                      struct encode_request *request)
{
    struct encode_rate *rate = &state->rate;

    rate->mode = request->rate.mode = picture->rate_control;
    for (uint32_t i = 0; i < picture->misc_count; i++) {
        const struct encode_misc *misc = &picture->misc[i];

        switch (misc->type) {
        case VAEncMiscParameterTypeRateControl:
            read_rate(rate, misc);
            break;
        case VAEncMiscParameterTypeFrameRate:
            read_frame_rate(rate, misc);
            break;
        case VAEncMiscParameterTypeHRD:
            read_hrd(rate, misc);
            break;
        case VAEncMiscParameterTypeQualityLevel: {
            MISC_GET(VAEncMiscParameterBufferQualityLevel, level, misc);
            rate->quality_level = at_most(level.quality_level, ENCODE_QUALITY_LEVELS);
            break;
        }
        case VAEncMiscParameterTypeMaxFrameSize: {
            MISC_GET(VAEncMiscParameterBufferMaxFrameSize, most, misc);
            rate->max_frame_bits = most.max_frame_size;
            break;
        }
        case VAEncMiscParameterTypeTemporalLayerStructure: {
            MISC_GET(VAEncMiscParameterTemporalLayerStructure, layers, misc);
            rate->temporal_layers = at_most(layers.number_of_layers, 8);
            break;
        }
        case VAEncMiscParameterTypeRIR:
            read_refresh(state, picture, misc);
            break;
        case VAEncMiscParameterTypeROI:
            read_regions(misc, encode_qp_limit(picture->profile), request);
            break;
        case VAEncMiscParameterTypeSkipFrame:
            read_skipped(misc, request);
            break;
        default:
            break; /* a hint that nothing here can follow */
        }
    }
    request->rate = *rate;
    request->tools.intra_refresh = state->intra_refresh;
    if (!request->rate.frame_rate_num) {
        request->rate.frame_rate_num = MISC_DEFAULT_RATE;
        request->rate.frame_rate_den = 1;
    }
}
