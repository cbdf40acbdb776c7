/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <viaduct/errors.h>
#include <viaduct/va_newer.h>

#include "h264.h"

#define EXTENDED_SAR     255
#define PROFILE_BASELINE 5 /* VAProfileH264Baseline, which libva has deprecated */

/* E.1.1: what VA has of it. There is no HRD in VA's structs: it would need SEI in every picture. */
static void write_vui(struct bits_writer *w, const VAEncSequenceParameterBufferH264 *seq,
                      uint32_t ref_frames)
{
    bool given = seq->vui_parameters_present_flag;
    bool aspect = given && seq->vui_fields.bits.aspect_ratio_info_present_flag;
    bool timing = given && seq->vui_fields.bits.timing_info_present_flag &&
                  seq->num_units_in_tick && seq->time_scale;
    bool restriction = given && seq->vui_fields.bits.bitstream_restriction_flag;
    uint32_t horizontal = seq->vui_fields.bits.log2_max_mv_length_horizontal;
    uint32_t vertical = seq->vui_fields.bits.log2_max_mv_length_vertical;

    bits_write(w, 1, aspect);
    if (aspect) {
        bits_write(w, 8, seq->aspect_ratio_idc);
        if (seq->aspect_ratio_idc == EXTENDED_SAR) {
            bits_write(w, 16, seq->sar_width);
            bits_write(w, 16, seq->sar_height);
        }
    }
    bits_write(w, 3, 0); /* overscan, video signal type, chroma location */
    bits_write(w, 1, timing);
    if (timing) {
        bits_write(w, 32, seq->num_units_in_tick);
        bits_write(w, 32, seq->time_scale);
        bits_write(w, 1, seq->vui_fields.bits.fixed_frame_rate_flag);
    }
    bits_write(w, 3, 0); /* HRD of NAL, HRD of VCL, pic_struct */
    /* Always there: it is what lets a decoder give pictures back at once. */
    bits_write(w, 1, 1);
    bits_write(w, 1,
               restriction ? seq->vui_fields.bits.motion_vectors_over_pic_boundaries_flag : 1);
    bits_write_ue(w, 0); /* no limits */
    bits_write_ue(w, 0);
    bits_write_ue(w, restriction && horizontal <= 16 ? horizontal : 16);
    bits_write_ue(w, restriction && vertical <= 16 ? vertical : 16);
    bits_write_ue(w, 0); /* max_num_reorder_frames */
    bits_write_ue(w, ref_frames);
}

static void write_cropping(struct bits_writer *w, const VAEncSequenceParameterBufferH264 *seq)
{
    bits_write(w, 1, seq->frame_cropping_flag != 0);
    if (!seq->frame_cropping_flag)
        return;
    bits_write_ue(w, seq->frame_crop_left_offset);
    bits_write_ue(w, seq->frame_crop_right_offset);
    bits_write_ue(w, seq->frame_crop_top_offset);
    bits_write_ue(w, seq->frame_crop_bottom_offset);
}

/* profile_idc, and the constraint flags behind it. */
static void write_profile(struct bits_writer *w, int profile, bool *ret_high)
{
    static const struct {
        int profile;
        uint8_t idc, constraints;
    } profiles[] = {
        {VAProfileH264High, 100, 0}, /* and whatever is not known */
        {VAProfileH264High10, 110, 0},
        {VAProfileH264Main, 77, 0x40},
        {VAProfileH264ConstrainedBaseline, 66, 0xc0},
        {PROFILE_BASELINE, 66, 0xc0}, /* without what only Baseline has */
    };
    unsigned row = 0;

    for (unsigned i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
        if (profiles[i].profile == profile)
            row = i;
    }
    bits_write(w, 8, profiles[row].idc);
    bits_write(w, 8, profiles[row].constraints);
    *ret_high = profiles[row].idc >= 100;
}

int h264_make_sps(const VAEncSequenceParameterBufferH264 *seq, int profile, uint8_t *data,
                  size_t room, size_t *ret_size)
{
    uint32_t ref_frames = seq->max_num_ref_frames ? seq->max_num_ref_frames : 1;
    unsigned depth = profile == VAProfileH264High10 && seq->bit_depth_luma_minus8 ? 2 : 0;
    uint8_t rbsp[H264_SETS_ROOM];
    struct bits_writer w;
    bool high;

    if (!seq->picture_width_in_mbs || !seq->picture_height_in_mbs ||
        seq->seq_fields.bits.log2_max_frame_num_minus4 > 12 ||
        seq->seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4 > 12)
        return VD_ERR_PARAMETER;
    /* Type 1 says something only where pictures are reordered. */
    if (!seq->seq_fields.bits.frame_mbs_only_flag || seq->seq_fields.bits.chroma_format_idc != 1 ||
        seq->bit_depth_luma_minus8 != depth || seq->bit_depth_chroma_minus8 != depth ||
        (seq->seq_fields.bits.pic_order_cnt_type != 0 &&
         seq->seq_fields.bits.pic_order_cnt_type != 2))
        return VD_ERR_UNSUPPORTED;
    if (ref_frames > H264_DPB_ROOM)
        ref_frames = H264_DPB_ROOM;
    /* 7.3.2.1.1 */
    bits_write_init(&w, rbsp, sizeof(rbsp));
    bits_write(&w, 8, 0x60 | H264_NAL_SPS);
    write_profile(&w, profile, &high);
    bits_write(&w, 8, seq->level_idc ? seq->level_idc : 51);
    bits_write_ue(&w, seq->seq_parameter_set_id);
    if (high) {
        bits_write_ue(&w, 1); /* chroma_format_idc */
        bits_write_ue(&w, seq->bit_depth_luma_minus8);
        bits_write_ue(&w, seq->bit_depth_chroma_minus8);
        bits_write(&w, 1, 0);
        bits_write(&w, 1, 0); /* flat, as the encoder's are */
    }
    bits_write_ue(&w, seq->seq_fields.bits.log2_max_frame_num_minus4);
    bits_write_ue(&w, seq->seq_fields.bits.pic_order_cnt_type);
    if (seq->seq_fields.bits.pic_order_cnt_type == 0)
        bits_write_ue(&w, seq->seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4);
    bits_write_ue(&w, ref_frames);
    bits_write(&w, 1, 0); /* gaps_in_frame_num_value_allowed_flag */
    bits_write_ue(&w, seq->picture_width_in_mbs - 1u);
    bits_write_ue(&w, seq->picture_height_in_mbs - 1u);
    bits_write(&w, 1, 1); /* frame_mbs_only_flag */
    bits_write(&w, 1, seq->seq_fields.bits.direct_8x8_inference_flag);
    write_cropping(&w, seq);
    bits_write(&w, 1, 1); /* vui_parameters_present_flag */
    write_vui(&w, seq, ref_frames);
    return bits_write_nal(&w, data, room, ret_size);
}

/* 7.3.2.1.1.1: 16, and no difference from it. */
static void write_flat_lists(struct bits_writer *w, bool transform_8x8)
{
    for (unsigned i = 0; i < (transform_8x8 ? 8u : 6u); i++) {
        bits_write(w, 1, 1);
        bits_write_se(w, 8);
        for (unsigned j = 1; j < (i < 6 ? 16u : 64u); j++)
            bits_write_se(w, 0);
    }
}

/* A.2: what the profile of the SPS lets a PPS have. */
static bool allowed(const struct h264_pps *pps, const struct h264_sps *sps)
{
    if (sps->profile_idc == 66 && (pps->cabac || pps->weighted))
        return false;
    return sps->profile_idc >= 100 ||
           (!pps->transform_8x8 && pps->cb_offset == pps->cr_offset && sps->flat);
}

int h264_make_pps(const struct h264_pps *pps, uint32_t id, const struct h264_sps *sps,
                  uint8_t *data, size_t room, size_t *ret_size)
{
    uint8_t rbsp[H264_SETS_ROOM];
    struct bits_writer w;

    if (!allowed(pps, sps))
        return VD_ERR_PARAMETER;
    /* 7.3.2.2 */
    bits_write_init(&w, rbsp, sizeof(rbsp));
    bits_write(&w, 8, 0x60 | H264_NAL_PPS);
    bits_write_ue(&w, id);
    bits_write_ue(&w, pps->sps_id);
    bits_write(&w, 1, pps->cabac);
    bits_write(&w, 1, pps->pic_order);
    bits_write_ue(&w, 0); /* num_slice_groups_minus1 */
    bits_write_ue(&w, pps->ref_count - 1u);
    bits_write_ue(&w, pps->ref_count_l1 - 1u);
    bits_write(&w, 1, pps->weighted);
    bits_write(&w, 2, pps->weighted_bipred);
    bits_write_se(&w, pps->init_qp - 26);
    bits_write_se(&w, 0);
    bits_write_se(&w, pps->cb_offset);
    bits_write(&w, 1, pps->deblocking_control);
    bits_write(&w, 1, pps->constrained_intra);
    bits_write(&w, 1, pps->redundant);
    if (sps->profile_idc >= 100) {
        bits_write(&w, 1, pps->transform_8x8);
        bits_write(&w, 1, !sps->flat);
        if (!sps->flat)
            write_flat_lists(&w, pps->transform_8x8);
        bits_write_se(&w, pps->cr_offset);
    }
    return bits_write_nal(&w, data, room, ret_size);
}
