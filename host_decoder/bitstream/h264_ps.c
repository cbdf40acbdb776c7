/* SPDX-License-Identifier: MIT */
#include "h264_ps.h"

#include <string.h>

#include <viaduct/errors.h>

#include "bits.h"

/*
 * Missing in VA, and what is written instead: sequence parameter set id (0), level (6.2, which
 * admits everything), constraint flags (none), cropping (none), VUI (only the promise that
 * pictures are not reordered, so that a decoder gives them back at once), and POC type 1 offsets
 * (h264_poc.c). FMO, lossless transform bypass and data partitioning cannot be expressed in VA.
 */

#define LEVEL_IDC    62
#define MAX_SIDE_MBS 512 /* VD_MAX_WIDTH in macroblocks */
#define NAL_SPS      0x67
#define NAL_PPS      0x68
#define FLAT         16

/* 8.5.6 and 8.5.7: lists are always sent in the frame zig-zag, in field pictures as well. */
static const uint8_t zigzag4x4[16] = {0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15};
static const uint8_t zigzag8x8[64] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

static bool outside(int value, int min, int max)
{
    return value < min || value > max;
}

int h264_ps_check(const VAPictureParameterBufferH264 *picture)
{
    bool frame_mbs_only = picture->seq_fields.bits.frame_mbs_only_flag;
    int depth_offset = 6 * picture->bit_depth_luma_minus8;

    /* 7.4.2.1.1 */
    if (picture->picture_width_in_mbs_minus1 >= MAX_SIDE_MBS ||
        picture->picture_height_in_mbs_minus1 >= MAX_SIDE_MBS ||
        picture->bit_depth_luma_minus8 > 6 || picture->bit_depth_chroma_minus8 > 6 ||
        picture->num_ref_frames > 16 || picture->seq_fields.bits.log2_max_frame_num_minus4 > 12 ||
        picture->seq_fields.bits.pic_order_cnt_type > 2)
        return VD_ERR_PARAMETER;
    if (picture->seq_fields.bits.pic_order_cnt_type == 0 &&
        picture->seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4 > 12)
        return VD_ERR_PARAMETER;
    /* 7.4.3: there are no field pictures in such a stream. */
    if (frame_mbs_only && picture->pic_fields.bits.field_pic_flag)
        return VD_ERR_PARAMETER;
    /* 7.4.2.2 */
    if (picture->pic_fields.bits.weighted_bipred_idc > 2 ||
        outside(picture->pic_init_qp_minus26, -26 - depth_offset, 25) ||
        outside(picture->pic_init_qs_minus26, -26, 25) ||
        outside(picture->chroma_qp_index_offset, -12, 12) ||
        outside(picture->second_chroma_qp_index_offset, -12, 12))
        return VD_ERR_PARAMETER;
    /* The slices of separate planes carry a colour_plane_id: nothing we feed decodes that. */
    if (picture->seq_fields.bits.chroma_format_idc == 3 &&
        picture->seq_fields.bits.residual_colour_transform_flag)
        return VD_ERR_UNSUPPORTED;
    return 0;
}

/* Copies `size` list entries in zig-zag order; notes in `scaling` whether one is not flat. */
static int collect_list(const uint8_t *raster, const uint8_t *scan, size_t size, uint8_t *list,
                        uint8_t *scaling)
{
    for (size_t i = 0; i < size; i++) {
        /* 7.3.2.1.1.1: a zero cannot be coded, it would end the list. */
        if (raster[scan[i]] == 0)
            return VD_ERR_PARAMETER;
        if (raster[scan[i]] != FLAT)
            *scaling = 1;
        list[i] = raster[scan[i]];
    }
    return 0;
}

int h264_ps_collect(const VAPictureParameterBufferH264 *picture, const VAIQMatrixBufferH264 *matrix,
                    struct h264_pps *ret_pps)
{
    struct h264_pps pps = {
        .entropy_coding_mode_flag = picture->pic_fields.bits.entropy_coding_mode_flag,
        .pic_order_present_flag = picture->pic_fields.bits.pic_order_present_flag,
        .weighted_pred_flag = picture->pic_fields.bits.weighted_pred_flag,
        .weighted_bipred_idc = picture->pic_fields.bits.weighted_bipred_idc,
        .pic_init_qp_minus26 = picture->pic_init_qp_minus26,
        .pic_init_qs_minus26 = picture->pic_init_qs_minus26,
        .chroma_qp_index_offset = picture->chroma_qp_index_offset,
        .second_chroma_qp_index_offset = picture->second_chroma_qp_index_offset,
        .deblocking_filter_control_present_flag =
            picture->pic_fields.bits.deblocking_filter_control_present_flag,
        .constrained_intra_pred_flag = picture->pic_fields.bits.constrained_intra_pred_flag,
        .redundant_pic_cnt_present_flag = picture->pic_fields.bits.redundant_pic_cnt_present_flag,
        .transform_8x8_mode_flag = picture->pic_fields.bits.transform_8x8_mode_flag,
    };
    int err = 0;

    for (unsigned i = 0; matrix && i < 6 && !err; i++)
        err = collect_list(matrix->ScalingList4x4[i], zigzag4x4, 16, pps.list4x4[i], &pps.scaling);
    /* Without the 8x8 transform apps leave these lists empty, and they are not written. */
    for (unsigned i = 0; matrix && pps.transform_8x8_mode_flag && i < 2 && !err; i++)
        err = collect_list(matrix->ScalingList8x8[i], zigzag8x8, 64, pps.list8x8[i], &pps.scaling);
    if (err)
        return err;
    /* 4:4:4 has six 8x8 lists, VA two. */
    if (pps.scaling && picture->seq_fields.bits.chroma_format_idc == 3)
        return VD_ERR_UNSUPPORTED;
    *ret_pps = pps;
    return 0;
}

uint32_t h264_ps_map_units(const VAPictureParameterBufferH264 *picture, uint32_t context_height)
{
    uint32_t mbs = picture->picture_height_in_mbs_minus1 + 1u;
    uint32_t map_units;

    if (picture->seq_fields.bits.frame_mbs_only_flag)
        return mbs;
    /*
     * 7.4.2.1.1: a map unit is two macroblocks high here. VA wants the height of the frame, and
     * FFmpeg gives it. GStreamer's va plug-in doubles pic_height_in_map_units_minus1, which is
     * one macroblock short: hence the rounding. Chrome passes that field as it is; no picture
     * is then half as high as its context by chance.
     */
    map_units = (mbs + 1) / 2;
    if (mbs == context_height / 32 + (context_height % 32 != 0))
        map_units = mbs;
    return map_units;
}

/* Annex A: the smallest profile that can say what the picture needs. */
static uint32_t profile_idc(const VAPictureParameterBufferH264 *picture)
{
    uint8_t depth = picture->bit_depth_luma_minus8;

    if (depth < picture->bit_depth_chroma_minus8)
        depth = picture->bit_depth_chroma_minus8;
    if (picture->seq_fields.bits.chroma_format_idc == 3 || depth > 2)
        return 244;
    if (picture->seq_fields.bits.chroma_format_idc == 2)
        return 122;
    return depth > 0 ? 110 : 100;
}

static void write_poc_type(struct bits_writer *writer, const VAPictureParameterBufferH264 *picture,
                           const struct h264_poc *poc)
{
    uint32_t type = picture->seq_fields.bits.pic_order_cnt_type;

    bits_write_ue(writer, type);
    if (type == 0) {
        bits_write_ue(writer, picture->seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4);
    } else if (type == 1) {
        bits_write(writer, 1, picture->seq_fields.bits.delta_pic_order_always_zero_flag);
        bits_write_se(writer, poc->non_ref);
        bits_write_se(writer, poc->top_to_bottom);
        bits_write_ue(writer, poc->cycle);
        for (unsigned i = 0; i < poc->cycle; i++)
            bits_write_se(writer, i == 0 ? poc->ref : i == poc->cycle - 1u ? -poc->ref : 0);
    }
}

/* E.1.1, with bitstream_restriction_flag only. */
static void write_vui(struct bits_writer *writer, const VAPictureParameterBufferH264 *picture)
{
    bits_write(writer, 4, 0);  /* no aspect ratio, overscan, video signal type, chroma location */
    bits_write(writer, 4, 0);  /* no timing, NAL HRD, VCL HRD, pic_struct_present_flag */
    bits_write(writer, 1, 1);  /* bitstream_restriction_flag */
    bits_write(writer, 1, 1);  /* motion_vectors_over_pic_boundaries_flag */
    bits_write_ue(writer, 0);  /* max_bytes_per_pic_denom: no limit */
    bits_write_ue(writer, 0);  /* max_bits_per_mb_denom: no limit */
    bits_write_ue(writer, 15); /* log2_max_mv_length_horizontal */
    bits_write_ue(writer, 15); /* log2_max_mv_length_vertical */
    bits_write_ue(writer, 0);  /* max_num_reorder_frames */
    bits_write_ue(writer, picture->num_ref_frames); /* max_dec_frame_buffering */
}

int h264_ps_write_sps(const VAPictureParameterBufferH264 *picture, uint32_t map_units,
                      const struct h264_poc *poc, uint8_t *data, size_t room, size_t *ret_size)
{
    uint32_t chroma_format_idc = picture->seq_fields.bits.chroma_format_idc;
    uint8_t chroma_depth = picture->bit_depth_chroma_minus8;
    uint8_t rbsp[H264_SPS_ROOM / 2];
    struct bits_writer writer;

    /* Monochrome pictures have no chroma; decoders want to see the luma depth nevertheless. */
    if (chroma_format_idc == 0)
        chroma_depth = picture->bit_depth_luma_minus8;
    /* 7.3.2.1.1 */
    bits_write_init(&writer, rbsp, sizeof(rbsp));
    bits_write(&writer, 8, NAL_SPS);
    bits_write(&writer, 8, profile_idc(picture));
    bits_write(&writer, 8, 0); /* constraint flags */
    bits_write(&writer, 8, LEVEL_IDC);
    bits_write_ue(&writer, 0); /* seq_parameter_set_id */
    bits_write_ue(&writer, chroma_format_idc);
    if (chroma_format_idc == 3)
        bits_write(&writer, 1, 0); /* separate_colour_plane_flag */
    bits_write_ue(&writer, picture->bit_depth_luma_minus8);
    bits_write_ue(&writer, chroma_depth);
    bits_write(&writer, 1, 0); /* qpprime_y_zero_transform_bypass_flag */
    bits_write(&writer, 1, 0); /* seq_scaling_matrix_present_flag: the PPS has the lists */
    bits_write_ue(&writer, picture->seq_fields.bits.log2_max_frame_num_minus4);
    write_poc_type(&writer, picture, poc);
    bits_write_ue(&writer, picture->num_ref_frames);
    bits_write(&writer, 1, picture->seq_fields.bits.gaps_in_frame_num_value_allowed_flag);
    bits_write_ue(&writer, picture->picture_width_in_mbs_minus1);
    bits_write_ue(&writer, map_units - 1);
    bits_write(&writer, 1, picture->seq_fields.bits.frame_mbs_only_flag);
    if (!picture->seq_fields.bits.frame_mbs_only_flag)
        bits_write(&writer, 1, picture->seq_fields.bits.mb_adaptive_frame_field_flag);
    bits_write(&writer, 1, picture->seq_fields.bits.direct_8x8_inference_flag);
    bits_write(&writer, 1, 0); /* frame_cropping_flag */
    bits_write(&writer, 1, 1); /* vui_parameters_present_flag */
    write_vui(&writer, picture);
    return bits_write_nal(&writer, data, room, ret_size);
}

/* 7.3.2.1.1.1: differences modulo 256; no entry is zero, so the list never ends early. */
static void write_scaling_list(struct bits_writer *writer, const uint8_t *list, size_t size)
{
    uint8_t last = 8;

    bits_write(writer, 1, 1); /* pic_scaling_list_present_flag */
    for (size_t i = 0; i < size; i++) {
        bits_write_se(writer, (int8_t)(list[i] - last));
        last = list[i];
    }
}

int h264_ps_write_pps(const struct h264_pps *pps, uint32_t id, uint32_t default_l0,
                      uint32_t default_l1, uint8_t *data, size_t room, size_t *ret_size)
{
    uint8_t rbsp[H264_PPS_ROOM / 2 + 64];
    struct bits_writer writer;

    /* 7.3.2.2 */
    bits_write_init(&writer, rbsp, sizeof(rbsp));
    bits_write(&writer, 8, NAL_PPS);
    bits_write_ue(&writer, id);
    bits_write_ue(&writer, 0); /* seq_parameter_set_id */
    bits_write(&writer, 1, pps->entropy_coding_mode_flag);
    bits_write(&writer, 1, pps->pic_order_present_flag);
    bits_write_ue(&writer, 0); /* num_slice_groups_minus1 */
    bits_write_ue(&writer, default_l0);
    bits_write_ue(&writer, default_l1);
    bits_write(&writer, 1, pps->weighted_pred_flag);
    bits_write(&writer, 2, pps->weighted_bipred_idc);
    bits_write_se(&writer, pps->pic_init_qp_minus26);
    bits_write_se(&writer, pps->pic_init_qs_minus26);
    bits_write_se(&writer, pps->chroma_qp_index_offset);
    bits_write(&writer, 1, pps->deblocking_filter_control_present_flag);
    bits_write(&writer, 1, pps->constrained_intra_pred_flag);
    bits_write(&writer, 1, pps->redundant_pic_cnt_present_flag);
    bits_write(&writer, 1, pps->transform_8x8_mode_flag);
    bits_write(&writer, 1, pps->scaling);
    for (unsigned i = 0; pps->scaling && i < 6; i++)
        write_scaling_list(&writer, pps->list4x4[i], 16);
    for (unsigned i = 0; pps->scaling && pps->transform_8x8_mode_flag && i < 2; i++)
        write_scaling_list(&writer, pps->list8x8[i], 64);
    bits_write_se(&writer, pps->second_chroma_qp_index_offset);
    return bits_write_nal(&writer, data, room, ret_size);
}
