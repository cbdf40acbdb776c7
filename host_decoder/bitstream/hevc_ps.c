/* SPDX-License-Identifier: MIT */
#include "hevc_ps.h"

#include <stdbool.h>
#include <string.h>

#include <viaduct/errors.h>
#include <viaduct/limits.h>

#include "bits.h"

/*
 * Missing in VA, and what is written instead: ids of VPS and SPS (0), the level (6.2), sub-layers
 * (7, as slices may be of any), buffering (the most there can be) and reordering (none, so that a
 * decoder gives pictures back at once), cropping and VUI (none), reference picture sets of the
 * SPS (none: slice headers are rewritten, hevc_slice.c).
 *
 * Decoders forget all references when the SPS changes. So it holds only what cannot change within
 * a sequence, and fields that mean nothing are not looked at: apps leave anything there.
 */

#define LEVEL_IDC      186 /* A.4.1: 30 times the level */
#define MAX_SUB_LAYERS 7
#define DPB_SIZE       16 /* MaxDpbSize of A.4.2 at most */

enum {
    NAL_VPS = 32,
    NAL_SPS = 33,
    NAL_PPS = 34,
};

/* general_profile_idc, A.3 */
enum {
    PROFILE_MAIN = 1,
    PROFILE_MAIN10 = 2,
    PROFILE_REXT = 4,
};

static bool outside(int value, int min, int max)
{
    return value < min || value > max;
}

static uint32_t log2_min_cb(const VAPictureParameterBufferHEVC *picture)
{
    return picture->log2_min_luma_coding_block_size_minus3 + 3u;
}

static uint32_t log2_ctb(const VAPictureParameterBufferHEVC *picture)
{
    return log2_min_cb(picture) + picture->log2_diff_max_min_luma_coding_block_size;
}

uint32_t hevc_ps_ctb_size(const VAPictureParameterBufferHEVC *picture)
{
    return UINT32_C(1) << log2_ctb(picture);
}

static uint32_t ctbs(const VAPictureParameterBufferHEVC *picture, uint32_t samples)
{
    return (samples + hevc_ps_ctb_size(picture) - 1) >> log2_ctb(picture);
}

/* 7.4.3.2.1: sizes of blocks, and of pictures in them. */
static int check_blocks(const VAPictureParameterBufferHEVC *picture)
{
    uint32_t min_cb = log2_min_cb(picture), ctb = log2_ctb(picture);
    uint32_t min_tb = picture->log2_min_transform_block_size_minus2 + 2u;
    uint32_t max_tb = min_tb + picture->log2_diff_max_min_transform_block_size;
    uint32_t most = ctb < 5 ? ctb : 5;

    if (ctb < 4 || ctb > 6 || min_tb >= min_cb || max_tb > most ||
        picture->max_transform_hierarchy_depth_inter > ctb - min_tb ||
        picture->max_transform_hierarchy_depth_intra > ctb - min_tb)
        return VD_ERR_PARAMETER;
    if (picture->pic_width_in_luma_samples == 0 || picture->pic_height_in_luma_samples == 0 ||
        picture->pic_width_in_luma_samples > VD_MAX_WIDTH ||
        picture->pic_height_in_luma_samples > VD_MAX_HEIGHT ||
        picture->pic_width_in_luma_samples % (1u << min_cb) != 0 ||
        picture->pic_height_in_luma_samples % (1u << min_cb) != 0)
        return VD_ERR_PARAMETER;
    if (picture->pic_fields.bits.pcm_enabled_flag) {
        uint32_t min_pcm = picture->log2_min_pcm_luma_coding_block_size_minus3 + 3u;
        uint32_t max_pcm = min_pcm + picture->log2_diff_max_min_pcm_luma_coding_block_size;

        if (picture->pcm_sample_bit_depth_luma_minus1 >= picture->bit_depth_luma_minus8 + 8 ||
            picture->pcm_sample_bit_depth_chroma_minus1 >= picture->bit_depth_luma_minus8 + 8 ||
            min_pcm < (min_cb < 5 ? min_cb : 5) || max_pcm > most)
            return VD_ERR_PARAMETER;
    }
    return 0;
}

/* The last of `count` sizes is what the others leave: at least one coding tree block. */
static bool tiles_fit(const uint16_t *size_minus1, uint32_t count_minus1, uint32_t total)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < count_minus1; i++)
        sum += size_minus1[i] + 1u;
    return sum < total;
}

/* 7.4.3.3.1 */
static int check_pps(const VAPictureParameterBufferHEVC *picture)
{
    if (outside(picture->init_qp_minus26, -26 - 6 * picture->bit_depth_luma_minus8, 25) ||
        outside(picture->pps_cb_qp_offset, -12, 12) ||
        outside(picture->pps_cr_qp_offset, -12, 12) ||
        outside(picture->pps_beta_offset_div2, -6, 6) ||
        outside(picture->pps_tc_offset_div2, -6, 6) ||
        picture->num_ref_idx_l0_default_active_minus1 > 14 ||
        picture->num_ref_idx_l1_default_active_minus1 > 14 ||
        picture->num_extra_slice_header_bits > 7 ||
        picture->log2_parallel_merge_level_minus2 > log2_ctb(picture) - 2)
        return VD_ERR_PARAMETER;
    if (picture->pic_fields.bits.cu_qp_delta_enabled_flag &&
        picture->diff_cu_qp_delta_depth > picture->log2_diff_max_min_luma_coding_block_size)
        return VD_ERR_PARAMETER;
    if (picture->pic_fields.bits.tiles_enabled_flag &&
        (picture->num_tile_columns_minus1 > 19 || picture->num_tile_rows_minus1 > 21 ||
         !tiles_fit(picture->column_width_minus1, picture->num_tile_columns_minus1,
                    ctbs(picture, picture->pic_width_in_luma_samples)) ||
         !tiles_fit(picture->row_height_minus1, picture->num_tile_rows_minus1,
                    ctbs(picture, picture->pic_height_in_luma_samples))))
        return VD_ERR_PARAMETER;
    return 0;
}

static int check_rext(const VAPictureParameterBufferHEVC *picture,
                      const VAPictureParameterBufferHEVCRext *rext)
{
    int scale = picture->bit_depth_luma_minus8 > 2 ? picture->bit_depth_luma_minus8 - 2 : 0;

    /* libavcodec reads these flags, and decodes as if they were 0. */
    if (rext->range_extension_pic_fields.bits.extended_precision_processing_flag ||
        rext->range_extension_pic_fields.bits.cabac_bypass_alignment_enabled_flag)
        return VD_ERR_UNSUPPORTED;
    /* 7.4.7.3: with 8 bits offsets have the same range either way. */
    if (rext->range_extension_pic_fields.bits.high_precision_offsets_enabled_flag &&
        picture->bit_depth_luma_minus8 > 0 &&
        (picture->pic_fields.bits.weighted_pred_flag ||
         picture->pic_fields.bits.weighted_bipred_flag))
        return VD_ERR_UNSUPPORTED;
    /* 7.4.3.3.2 */
    if (picture->pic_fields.bits.transform_skip_enabled_flag &&
        rext->log2_max_transform_skip_block_size_minus2 > 3)
        return VD_ERR_PARAMETER;
    if (rext->range_extension_pic_fields.bits.chroma_qp_offset_list_enabled_flag) {
        if (rext->chroma_qp_offset_list_len_minus1 > 5 ||
            rext->diff_cu_chroma_qp_offset_depth >
                picture->log2_diff_max_min_luma_coding_block_size)
            return VD_ERR_PARAMETER;
        for (unsigned i = 0; i <= rext->chroma_qp_offset_list_len_minus1; i++) {
            if (outside(rext->cb_qp_offset_list[i], -12, 12) ||
                outside(rext->cr_qp_offset_list[i], -12, 12))
                return VD_ERR_PARAMETER;
        }
    }
    if (rext->log2_sao_offset_scale_luma > scale || rext->log2_sao_offset_scale_chroma > scale)
        return VD_ERR_PARAMETER;
    return 0;
}

int hevc_ps_check(const struct hevc_params *params)
{
    const VAPictureParameterBufferHEVC *picture = params->picture;
    uint32_t chroma_format_idc = picture->pic_fields.bits.chroma_format_idc;
    int err;

    if (picture->bit_depth_luma_minus8 > 8 || picture->bit_depth_chroma_minus8 > 8 ||
        picture->log2_min_luma_coding_block_size_minus3 > 3 ||
        picture->log2_diff_max_min_luma_coding_block_size > 3 ||
        picture->log2_min_transform_block_size_minus2 > 3 ||
        picture->log2_diff_max_min_transform_block_size > 3 ||
        picture->log2_max_pic_order_cnt_lsb_minus4 > 12 ||
        picture->num_short_term_ref_pic_sets > 64 || picture->num_long_term_ref_pic_sps > 32)
        return VD_ERR_PARAMETER;
    /* Planes that are coded apart need a decoder that puts them together. */
    if (chroma_format_idc == 3 && picture->pic_fields.bits.separate_colour_plane_flag)
        return VD_ERR_UNSUPPORTED;
    if (chroma_format_idc != 0 &&
        picture->bit_depth_luma_minus8 != picture->bit_depth_chroma_minus8)
        return VD_ERR_UNSUPPORTED;
    err = check_blocks(picture);
    if (!err)
        err = check_pps(picture);
    if (!err && params->rext)
        err = check_rext(picture, params->rext);
    for (unsigned i = 0; !err && params->matrix && i < 6; i++) {
        /* 7.4.5: scaling_list_dc_coef_minus8 cannot say 0. */
        if (params->matrix->ScalingListDC16x16[i] == 0 ||
            (i < 2 && params->matrix->ScalingListDC32x32[i] == 0))
            err = VD_ERR_PARAMETER;
    }
    return err;
}

/* 7.3.1.2: layer 0, TemporalId 0. */
static void write_nal_header(struct bits_writer *writer, uint32_t type)
{
    bits_write(writer, 16, type << 9 | 1);
}

/* The limits of the VAProfile, as constraint flags of A.3.5. */
static uint32_t rext_constraints(int profile)
{
    uint32_t depth = 12, chroma = 3;

    switch (profile) {
    case VAProfileHEVCMain12:
        chroma = 1;
        break;
    case VAProfileHEVCMain422_10:
        depth = 10;
        chroma = 2;
        break;
    case VAProfileHEVCMain422_12:
        chroma = 2;
        break;
    case VAProfileHEVCMain444:
        depth = 8;
        break;
    case VAProfileHEVCMain444_10:
        depth = 10;
        break;
    default:
        break;
    }
    /* max_12bit, 10bit, 8bit, 422chroma, 420chroma; not monochrome, intra or one picture only */
    return 1u << 8 | (uint32_t)(depth <= 10) << 7 | (uint32_t)(depth <= 8) << 6 |
           (uint32_t)(chroma <= 2) << 5 | (uint32_t)(chroma <= 1) << 4 |
           1u; /* lower_bit_rate_constraint_flag */
}

/* 7.3.3 */
static void write_profile_tier_level(struct bits_writer *writer, const struct hevc_params *params)
{
    uint32_t idc = PROFILE_MAIN;

    if (params->rext)
        idc = PROFILE_REXT;
    else if (params->picture->bit_depth_luma_minus8 > 0 || params->profile == VAProfileHEVCMain10)
        idc = PROFILE_MAIN10;
    bits_write(writer, 2, 0); /* general_profile_space */
    bits_write(writer, 1, 0); /* general_tier_flag */
    bits_write(writer, 5, idc);
    bits_write(writer, 32, UINT32_C(1) << (31 - idc)); /* general_profile_compatibility_flag[] */
    bits_write(writer, 4, 9);                          /* progressive source, frames only */
    bits_write(writer, 9, params->rext ? rext_constraints(params->profile) : 0);
    bits_write(writer, 32, 0);
    bits_write(writer, 3, 0);
    bits_write(writer, 8, LEVEL_IDC);
    /* Nothing about sub-layers, and filled up to 8 of them with reserved_zero_2bits. */
    bits_write(writer, 2 * 8, 0);
}

/* The same in VPS and SPS. */
static void write_ordering_info(struct bits_writer *writer)
{
    bits_write(writer, 1, 0);            /* sub_layer_ordering_info_present_flag */
    bits_write_ue(writer, DPB_SIZE - 1); /* max_dec_pic_buffering_minus1 */
    bits_write_ue(writer, 0);            /* max_num_reorder_pics */
    bits_write_ue(writer, 0);            /* max_latency_increase_plus1: no limit */
}

int hevc_ps_write_vps(const struct hevc_params *params, uint8_t *data, size_t room,
                      size_t *ret_size)
{
    uint8_t rbsp[HEVC_VPS_ROOM / 2];
    struct bits_writer writer;

    /* 7.3.2.1 */
    bits_write_init(&writer, rbsp, sizeof(rbsp));
    write_nal_header(&writer, NAL_VPS);
    bits_write(&writer, 4, 0); /* vps_video_parameter_set_id */
    bits_write(&writer, 2, 3); /* vps_base_layer_internal_flag, vps_base_layer_available_flag */
    bits_write(&writer, 6, 0); /* vps_max_layers_minus1 */
    bits_write(&writer, 3, MAX_SUB_LAYERS - 1);
    bits_write(&writer, 1, 0); /* vps_temporal_id_nesting_flag */
    bits_write(&writer, 16, 0xffff);
    write_profile_tier_level(&writer, params);
    write_ordering_info(&writer);
    bits_write(&writer, 6, 0); /* vps_max_layer_id */
    bits_write_ue(&writer, 0); /* vps_num_layer_sets_minus1 */
    bits_write(&writer, 2, 0); /* vps_timing_info_present_flag, vps_extension_flag */
    return bits_write_nal(&writer, data, room, ret_size);
}

static void write_sps_range_extension(struct bits_writer *writer,
                                      const VAPictureParameterBufferHEVCRext *rext)
{
    /* 7.3.2.2.2 */
    bits_write(writer, 1,
               rext->range_extension_pic_fields.bits.transform_skip_rotation_enabled_flag);
    bits_write(writer, 1,
               rext->range_extension_pic_fields.bits.transform_skip_context_enabled_flag);
    bits_write(writer, 1, rext->range_extension_pic_fields.bits.implicit_rdpcm_enabled_flag);
    bits_write(writer, 1, rext->range_extension_pic_fields.bits.explicit_rdpcm_enabled_flag);
    bits_write(writer, 1, rext->range_extension_pic_fields.bits.extended_precision_processing_flag);
    bits_write(writer, 1, rext->range_extension_pic_fields.bits.intra_smoothing_disabled_flag);
    bits_write(writer, 1,
               rext->range_extension_pic_fields.bits.high_precision_offsets_enabled_flag);
    bits_write(writer, 1,
               rext->range_extension_pic_fields.bits.persistent_rice_adaptation_enabled_flag);
    bits_write(writer, 1,
               rext->range_extension_pic_fields.bits.cabac_bypass_alignment_enabled_flag);
}

int hevc_ps_write_sps(const struct hevc_params *params, uint8_t *data, size_t room,
                      size_t *ret_size)
{
    const VAPictureParameterBufferHEVC *picture = params->picture;
    uint32_t chroma_format_idc = picture->pic_fields.bits.chroma_format_idc;
    uint8_t rbsp[HEVC_SPS_ROOM / 2];
    struct bits_writer writer;

    /* 7.3.2.2.1 */
    bits_write_init(&writer, rbsp, sizeof(rbsp));
    write_nal_header(&writer, NAL_SPS);
    bits_write(&writer, 4, 0); /* sps_video_parameter_set_id */
    bits_write(&writer, 3, MAX_SUB_LAYERS - 1);
    bits_write(&writer, 1, 0); /* sps_temporal_id_nesting_flag */
    write_profile_tier_level(&writer, params);
    bits_write_ue(&writer, 0); /* sps_seq_parameter_set_id */
    bits_write_ue(&writer, chroma_format_idc);
    if (chroma_format_idc == 3)
        bits_write(&writer, 1, 0); /* separate_colour_plane_flag */
    bits_write_ue(&writer, picture->pic_width_in_luma_samples);
    bits_write_ue(&writer, picture->pic_height_in_luma_samples);
    bits_write(&writer, 1, 0); /* conformance_window_flag */
    bits_write_ue(&writer, picture->bit_depth_luma_minus8);
    /* Monochrome pictures have no chroma. */
    bits_write_ue(&writer, picture->bit_depth_luma_minus8);
    bits_write_ue(&writer, HEVC_POC_LSB_BITS - 4);
    write_ordering_info(&writer);
    bits_write_ue(&writer, picture->log2_min_luma_coding_block_size_minus3);
    bits_write_ue(&writer, picture->log2_diff_max_min_luma_coding_block_size);
    bits_write_ue(&writer, picture->log2_min_transform_block_size_minus2);
    bits_write_ue(&writer, picture->log2_diff_max_min_transform_block_size);
    bits_write_ue(&writer, picture->max_transform_hierarchy_depth_inter);
    bits_write_ue(&writer, picture->max_transform_hierarchy_depth_intra);
    bits_write(&writer, 1, picture->pic_fields.bits.scaling_list_enabled_flag);
    if (picture->pic_fields.bits.scaling_list_enabled_flag)
        bits_write(&writer, 1, 0); /* sps_scaling_list_data_present_flag: the PPS has them */
    bits_write(&writer, 1, picture->pic_fields.bits.amp_enabled_flag);
    bits_write(&writer, 1, picture->slice_parsing_fields.bits.sample_adaptive_offset_enabled_flag);
    bits_write(&writer, 1, picture->pic_fields.bits.pcm_enabled_flag);
    if (picture->pic_fields.bits.pcm_enabled_flag) {
        bits_write(&writer, 4, picture->pcm_sample_bit_depth_luma_minus1);
        bits_write(&writer, 4, picture->pcm_sample_bit_depth_chroma_minus1);
        bits_write_ue(&writer, picture->log2_min_pcm_luma_coding_block_size_minus3);
        bits_write_ue(&writer, picture->log2_diff_max_min_pcm_luma_coding_block_size);
        bits_write(&writer, 1, picture->pic_fields.bits.pcm_loop_filter_disabled_flag);
    }
    bits_write_ue(&writer, 0); /* num_short_term_ref_pic_sets */
    bits_write(&writer, 1, 1); /* long_term_ref_pics_present_flag */
    bits_write_ue(&writer, 0); /* num_long_term_ref_pics_sps */
    bits_write(&writer, 1, picture->slice_parsing_fields.bits.sps_temporal_mvp_enabled_flag);
    bits_write(&writer, 1, picture->pic_fields.bits.strong_intra_smoothing_enabled_flag);
    bits_write(&writer, 1, 0);                    /* vui_parameters_present_flag */
    bits_write(&writer, 1, params->rext != NULL); /* sps_extension_present_flag */
    if (params->rext) {
        bits_write(&writer, 8, 0x80); /* sps_range_extension_flag, nothing else */
        write_sps_range_extension(&writer, params->rext);
    }
    return bits_write_nal(&writer, data, room, ret_size);
}

/* 7.3.4, one list of `side` * `side` entries in the up-right diagonal scan of 6.5.3. */
static void write_scaling_list(struct bits_writer *writer, const uint8_t *raster, unsigned side,
                               const uint8_t *dc)
{
    uint8_t last = 8;

    bits_write(writer, 1, 1); /* scaling_list_pred_mode_flag: coded, not predicted */
    if (dc) {
        bits_write_se(writer, *dc - 8); /* scaling_list_dc_coef_minus8 */
        last = *dc;
    }
    for (unsigned diagonal = 0; diagonal < 2 * side - 1; diagonal++) {
        for (unsigned x = 0; x <= diagonal; x++) {
            unsigned y = diagonal - x;

            if (x >= side || y >= side)
                continue;
            bits_write_se(writer, (int8_t)(raster[y * side + x] - last));
            last = raster[y * side + x];
        }
    }
}

static void write_scaling_lists(struct bits_writer *writer, const VAIQMatrixBufferHEVC *matrix)
{
    for (unsigned i = 0; i < 6; i++)
        write_scaling_list(writer, matrix->ScalingList4x4[i], 4, NULL);
    for (unsigned i = 0; i < 6; i++)
        write_scaling_list(writer, matrix->ScalingList8x8[i], 8, NULL);
    for (unsigned i = 0; i < 6; i++) {
        write_scaling_list(writer, matrix->ScalingList16x16[i], 8, &matrix->ScalingListDC16x16[i]);
    }
    /* Chroma of 4:4:4 takes the lists of 16x16 (7.3.4). */
    for (unsigned i = 0; i < 2; i++) {
        write_scaling_list(writer, matrix->ScalingList32x32[i], 8, &matrix->ScalingListDC32x32[i]);
    }
}

static void write_tiles(struct bits_writer *writer, const VAPictureParameterBufferHEVC *picture)
{
    bits_write_ue(writer, picture->num_tile_columns_minus1);
    bits_write_ue(writer, picture->num_tile_rows_minus1);
    bits_write(writer, 1, 0); /* uniform_spacing_flag: VA has the sizes in any case */
    for (unsigned i = 0; i < picture->num_tile_columns_minus1; i++)
        bits_write_ue(writer, picture->column_width_minus1[i]);
    for (unsigned i = 0; i < picture->num_tile_rows_minus1; i++)
        bits_write_ue(writer, picture->row_height_minus1[i]);
    bits_write(writer, 1, picture->pic_fields.bits.loop_filter_across_tiles_enabled_flag);
}

static void write_pps_range_extension(struct bits_writer *writer,
                                      const VAPictureParameterBufferHEVC *picture,
                                      const VAPictureParameterBufferHEVCRext *rext)
{
    /* 7.3.2.3.2 */
    if (picture->pic_fields.bits.transform_skip_enabled_flag)
        bits_write_ue(writer, rext->log2_max_transform_skip_block_size_minus2);
    bits_write(writer, 1,
               picture->pic_fields.bits.chroma_format_idc == 3 &&
                   rext->range_extension_pic_fields.bits.cross_component_prediction_enabled_flag);
    bits_write(writer, 1, rext->range_extension_pic_fields.bits.chroma_qp_offset_list_enabled_flag);
    if (rext->range_extension_pic_fields.bits.chroma_qp_offset_list_enabled_flag) {
        bits_write_ue(writer, rext->diff_cu_chroma_qp_offset_depth);
        bits_write_ue(writer, rext->chroma_qp_offset_list_len_minus1);
        for (unsigned i = 0; i <= rext->chroma_qp_offset_list_len_minus1; i++) {
            bits_write_se(writer, rext->cb_qp_offset_list[i]);
            bits_write_se(writer, rext->cr_qp_offset_list[i]);
        }
    }
    bits_write_ue(writer, rext->log2_sao_offset_scale_luma);
    bits_write_ue(writer, rext->log2_sao_offset_scale_chroma);
}

int hevc_ps_write_pps(const struct hevc_params *params, uint32_t id, uint8_t *data, size_t room,
                      size_t *ret_size)
{
    const VAPictureParameterBufferHEVC *picture = params->picture;
    bool lists = params->matrix && picture->pic_fields.bits.scaling_list_enabled_flag;
    uint8_t rbsp[HEVC_PPS_ROOM * 2 / 3];
    struct bits_writer writer;

    /* 7.3.2.3.1 */
    bits_write_init(&writer, rbsp, sizeof(rbsp));
    write_nal_header(&writer, NAL_PPS);
    bits_write_ue(&writer, id);
    bits_write_ue(&writer, 0); /* pps_seq_parameter_set_id */
    bits_write(&writer, 1,
               picture->slice_parsing_fields.bits.dependent_slice_segments_enabled_flag);
    bits_write(&writer, 1, picture->slice_parsing_fields.bits.output_flag_present_flag);
    bits_write(&writer, 3, picture->num_extra_slice_header_bits);
    bits_write(&writer, 1, picture->pic_fields.bits.sign_data_hiding_enabled_flag);
    bits_write(&writer, 1, picture->slice_parsing_fields.bits.cabac_init_present_flag);
    bits_write_ue(&writer, picture->num_ref_idx_l0_default_active_minus1);
    bits_write_ue(&writer, picture->num_ref_idx_l1_default_active_minus1);
    bits_write_se(&writer, picture->init_qp_minus26);
    bits_write(&writer, 1, picture->pic_fields.bits.constrained_intra_pred_flag);
    bits_write(&writer, 1, picture->pic_fields.bits.transform_skip_enabled_flag);
    bits_write(&writer, 1, picture->pic_fields.bits.cu_qp_delta_enabled_flag);
    if (picture->pic_fields.bits.cu_qp_delta_enabled_flag)
        bits_write_ue(&writer, picture->diff_cu_qp_delta_depth);
    bits_write_se(&writer, picture->pps_cb_qp_offset);
    bits_write_se(&writer, picture->pps_cr_qp_offset);
    bits_write(&writer, 1,
               picture->slice_parsing_fields.bits.pps_slice_chroma_qp_offsets_present_flag);
    bits_write(&writer, 1, picture->pic_fields.bits.weighted_pred_flag);
    bits_write(&writer, 1, picture->pic_fields.bits.weighted_bipred_flag);
    bits_write(&writer, 1, picture->pic_fields.bits.transquant_bypass_enabled_flag);
    bits_write(&writer, 1, picture->pic_fields.bits.tiles_enabled_flag);
    bits_write(&writer, 1, picture->pic_fields.bits.entropy_coding_sync_enabled_flag);
    if (picture->pic_fields.bits.tiles_enabled_flag)
        write_tiles(&writer, picture);
    bits_write(&writer, 1, picture->pic_fields.bits.pps_loop_filter_across_slices_enabled_flag);
    bits_write(&writer, 1, 1); /* deblocking_filter_control_present_flag: VA has what follows */
    bits_write(&writer, 1,
               picture->slice_parsing_fields.bits.deblocking_filter_override_enabled_flag);
    bits_write(&writer, 1, picture->slice_parsing_fields.bits.pps_disable_deblocking_filter_flag);
    if (!picture->slice_parsing_fields.bits.pps_disable_deblocking_filter_flag) {
        bits_write_se(&writer, picture->pps_beta_offset_div2);
        bits_write_se(&writer, picture->pps_tc_offset_div2);
    }
    bits_write(&writer, 1, lists); /* pps_scaling_list_data_present_flag */
    if (lists)
        write_scaling_lists(&writer, params->matrix);
    bits_write(&writer, 1, picture->slice_parsing_fields.bits.lists_modification_present_flag);
    bits_write_ue(&writer, picture->log2_parallel_merge_level_minus2);
    bits_write(&writer, 1,
               picture->slice_parsing_fields.bits.slice_segment_header_extension_present_flag);
    bits_write(&writer, 1, params->rext != NULL); /* pps_extension_present_flag */
    if (params->rext) {
        bits_write(&writer, 8, 0x80); /* pps_range_extension_flag, nothing else */
        write_pps_range_extension(&writer, picture, params->rext);
    }
    return bits_write_nal(&writer, data, room, ret_size);
}
