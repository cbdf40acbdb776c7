/* SPDX-License-Identifier: MIT */
#include "av1_header.h"

#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <viaduct/limits.h>

/*
 * Names are those of the specification. What VA leaves out of the sequence header is chosen so
 * that every frame header can be written under one and the same sequence header, since a decoder
 * forgets its references when that changes: tools are enabled where the frame header then says
 * whether they are used, and sizes are always coded in the frame.
 */

#define SELECT_SCREEN_CONTENT_TOOLS 1 /* seq_choose_screen_content_tools */
#define MAX_TILE_WIDTH              4096u
#define MAX_TILE_AREA               (4096u * 2304u)
#define MAX_TILES_A_SIDE            64u
#define SUPERRES_NUM                8u
#define SUPERRES_DENOM_MIN          9u
#define MATRIX_IDENTITY             0
#define UNSPECIFIED                 2 /* color_primaries and others */
#define WARPEDMODEL_PREC_BITS       16

enum { SEG_LVL_ALT_Q };

static const uint8_t feature_bits[AV1_SEGMENT_FEATURES] = {8, 6, 6, 6, 6, 3, 0, 0};
static const bool feature_signed[AV1_SEGMENT_FEATURES] = {1, 1, 1, 1, 1, 0, 0, 0};

/* A frame header while it is written: what its parts need of each other. */
struct header {
    struct av1_frame *frame;
    const VADecPictureParameterBufferAV1 *param;
    struct bits_writer *writer;
    bool intra; /* FrameIsIntra */
    bool mono, order_hints;
    uint32_t frame_width, upscaled_width, frame_height;
    bool intrabc; /* allow_intrabc, where it may be coded */
};

static int order_hint_bits(const VADecPictureParameterBufferAV1 *param)
{
    return param->seq_info_fields.fields.enable_order_hint ? param->order_hint_bits_minus_1 + 1 : 0;
}

static bool is_intra(const VADecPictureParameterBufferAV1 *param)
{
    return param->pic_info_fields.bits.frame_type == AV1_KEY_FRAME ||
           param->pic_info_fields.bits.frame_type == AV1_INTRA_ONLY_FRAME;
}

bool av1_header_refreshes_all(const VADecPictureParameterBufferAV1 *param)
{
    return param->pic_info_fields.bits.frame_type == AV1_SWITCH_FRAME ||
           (param->pic_info_fields.bits.frame_type == AV1_KEY_FRAME &&
            param->pic_info_fields.bits.show_frame);
}

/* error_resilient_mode is implied for the same frames; apps may or may not say so. */
static bool is_error_resilient(const VADecPictureParameterBufferAV1 *param)
{
    return av1_header_refreshes_all(param) || param->pic_info_fields.bits.error_resilient_mode;
}

static unsigned primary_ref_frame(const VADecPictureParameterBufferAV1 *param)
{
    return is_intra(param) || is_error_resilient(param) ? AV1_PRIMARY_REF_NONE
                                                        : param->primary_ref_frame;
}

static bool delta_fits(int value)
{
    return value >= -64 && value <= 63;
}

static int check_grain(const VAFilmGrainStructAV1 *grain)
{
    if (grain->num_y_points > 14 || grain->num_cb_points > 10 || grain->num_cr_points > 10 ||
        grain->cb_offset > 511 || grain->cr_offset > 511)
        return VD_ERR_PARAMETER;
    for (int i = 1; i < grain->num_y_points; i++) {
        if (grain->point_y_value[i] <= grain->point_y_value[i - 1])
            return VD_ERR_PARAMETER;
    }
    for (int i = 1; i < grain->num_cb_points; i++) {
        if (grain->point_cb_value[i] <= grain->point_cb_value[i - 1])
            return VD_ERR_PARAMETER;
    }
    for (int i = 1; i < grain->num_cr_points; i++) {
        if (grain->point_cr_value[i] <= grain->point_cr_value[i - 1])
            return VD_ERR_PARAMETER;
    }
    return 0;
}

int av1_header_check(const VADecPictureParameterBufferAV1 *param)
{
    unsigned ss_x = param->seq_info_fields.fields.subsampling_x;
    unsigned ss_y = param->seq_info_fields.fields.subsampling_y;
    bool mono = param->seq_info_fields.fields.mono_chrome;

    if (param->pic_info_fields.bits.large_scale_tile)
        return VD_ERR_UNSUPPORTED;
    if (param->frame_width_minus1 >= VD_MAX_WIDTH || param->frame_height_minus1 >= VD_MAX_HEIGHT)
        return VD_ERR_RESOLUTION;
    /* 6.4.1: what each profile may hold. 12 bits are profile 2, which VA has not. */
    if (param->profile > 1 || param->bit_depth_idx > 1)
        return VD_ERR_UNSUPPORTED;
    if (param->profile == 1 ? mono || ss_x || ss_y : !mono && (!ss_x || !ss_y))
        return VD_ERR_UNSUPPORTED;
    /* GStreamer leaves 255, 0 minus 1, where there are no order hints. */
    if ((param->seq_info_fields.fields.enable_order_hint && param->order_hint_bits_minus_1 > 7) ||
        param->primary_ref_frame > 7)
        return VD_ERR_PARAMETER;
    /* GStreamer leaves 255 in those of intra frames, which have none. */
    for (int i = 0; i < AV1_REFS; i++) {
        if (!is_intra(param) && param->ref_frame_idx[i] >= AV1_SLOTS)
            return VD_ERR_PARAMETER;
    }
    if (param->tile_cols < 1 || param->tile_cols > MAX_TILES_A_SIDE || param->tile_rows < 1 ||
        param->tile_rows > MAX_TILES_A_SIDE)
        return VD_ERR_PARAMETER;
    if (param->pic_info_fields.bits.use_superres &&
        (param->superres_scale_denominator < SUPERRES_DENOM_MIN ||
         param->superres_scale_denominator >= SUPERRES_DENOM_MIN + 8))
        return VD_ERR_PARAMETER;
    if (param->interp_filter > 4 || param->filter_level[0] > 63 || param->filter_level[1] > 63 ||
        param->filter_level_u > 63 || param->filter_level_v > 63 ||
        param->cdef_damping_minus_3 > 3 || param->cdef_bits > 3)
        return VD_ERR_PARAMETER;
    if (!delta_fits(param->y_dc_delta_q) || !delta_fits(param->u_dc_delta_q) ||
        !delta_fits(param->u_ac_delta_q) || !delta_fits(param->v_dc_delta_q) ||
        !delta_fits(param->v_ac_delta_q))
        return VD_ERR_PARAMETER;
    if (param->film_grain_info.film_grain_info_fields.bits.apply_grain)
        return check_grain(&param->film_grain_info);
    return 0;
}

/* color_config() of 5.5.2 */
static void write_color_config(const VADecPictureParameterBufferAV1 *param,
                               struct bits_writer *writer)
{
    bool mono = param->seq_info_fields.fields.mono_chrome;
    bool full = param->profile == 1; /* 4:4:4 */
    /* Identity is only allowed with 4:4:4; the decoder looks at it for film grain. */
    unsigned matrix = full || param->matrix_coefficients != MATRIX_IDENTITY
                          ? param->matrix_coefficients
                          : UNSPECIFIED;

    bits_write(writer, 1, param->bit_depth_idx > 0); /* high_bitdepth */
    if (!full)
        bits_write(writer, 1, mono);
    bits_write(writer, 1, 1);           /* color_description_present_flag */
    bits_write(writer, 8, UNSPECIFIED); /* color_primaries */
    bits_write(writer, 8, UNSPECIFIED); /* transfer_characteristics */
    bits_write(writer, 8, matrix);
    bits_write(writer, 1, param->seq_info_fields.fields.color_range);
    if (mono)
        return;
    if (!full)
        bits_write(writer, 2, 0); /* chroma_sample_position */
    bits_write(writer, 1, 1);     /* separate_uv_delta_q */
}

void av1_header_sequence(const VADecPictureParameterBufferAV1 *param, uint32_t max_width,
                         uint32_t max_height, struct bits_writer *writer)
{
    bool order_hints = param->seq_info_fields.fields.enable_order_hint;

    bits_write(writer, 3, param->profile);
    bits_write(writer, 1, 0);  /* still_picture */
    bits_write(writer, 1, 0);  /* reduced_still_picture_header */
    bits_write(writer, 1, 0);  /* timing_info_present_flag */
    bits_write(writer, 1, 0);  /* initial_display_delay_present_flag */
    bits_write(writer, 5, 0);  /* operating_points_cnt_minus_1 */
    bits_write(writer, 12, 0); /* operating_point_idc: all layers */
    bits_write(writer, 5, 31); /* seq_level_idx: no limits */
    bits_write(writer, 1, 0);  /* seq_tier */
    bits_write(writer, 4, 15); /* frame_width_bits_minus_1 */
    bits_write(writer, 4, 15); /* frame_height_bits_minus_1 */
    bits_write(writer, 16, max_width - 1);
    bits_write(writer, 16, max_height - 1);
    bits_write(writer, 1, 0); /* frame_id_numbers_present_flag */
    bits_write(writer, 1, param->seq_info_fields.fields.use_128x128_superblock);
    bits_write(writer, 1, param->seq_info_fields.fields.enable_filter_intra);
    bits_write(writer, 1, param->seq_info_fields.fields.enable_intra_edge_filter);
    bits_write(writer, 1, param->seq_info_fields.fields.enable_interintra_compound);
    bits_write(writer, 1, param->seq_info_fields.fields.enable_masked_compound);
    bits_write(writer, 1, 1); /* enable_warped_motion */
    bits_write(writer, 1, param->seq_info_fields.fields.enable_dual_filter);
    bits_write(writer, 1, order_hints);
    if (order_hints) {
        bits_write(writer, 1, param->seq_info_fields.fields.enable_jnt_comp);
        bits_write(writer, 1, 1); /* enable_ref_frame_mvs */
    }
    bits_write(writer, 1, SELECT_SCREEN_CONTENT_TOOLS);
    bits_write(writer, 1, 1); /* seq_choose_integer_mv */
    if (order_hints)
        bits_write(writer, 3, param->order_hint_bits_minus_1);
    bits_write(writer, 1, 1); /* enable_superres */
    bits_write(writer, 1, param->seq_info_fields.fields.enable_cdef);
    bits_write(writer, 1, 1); /* enable_restoration */
    write_color_config(param, writer);
    bits_write(writer, 1, 1); /* film_grain_params_present */
    bits_write_trailing(writer);
}

/* su(n) */
static void write_signed(struct bits_writer *writer, unsigned n, int value)
{
    bits_write(writer, n, (uint32_t)value & ((UINT32_C(1) << n) - 1));
}

/* ns(n) of 4.10.7; `value` is below n. */
static void write_non_symmetric(struct bits_writer *writer, uint32_t n, uint32_t value)
{
    unsigned w = 0;
    uint32_t m;

    while (n >> w)
        w++;
    m = (UINT32_C(1) << w) - n;
    if (value < m)
        bits_write(writer, w - 1, value);
    else
        bits_write(writer, w, value + m);
}

/* frame_size(), superres_params() and render_size(), with frame_size_override_flag */
static void write_size(struct header *h)
{
    bool superres = h->param->pic_info_fields.bits.use_superres;
    uint32_t denominator = superres ? h->param->superres_scale_denominator : SUPERRES_NUM;

    bits_write(h->writer, 16, h->param->frame_width_minus1);
    bits_write(h->writer, 16, h->param->frame_height_minus1);
    bits_write(h->writer, 1, superres);
    if (superres)
        bits_write(h->writer, 3, denominator - SUPERRES_DENOM_MIN);
    bits_write(h->writer, 1, 0); /* render_and_frame_size_different */
    h->upscaled_width = h->param->frame_width_minus1 + 1u;
    h->frame_height = h->param->frame_height_minus1 + 1u;
    h->frame_width = (h->upscaled_width * SUPERRES_NUM + denominator / 2) / denominator;
}

/* The branch of frames that refer to others. */
static void write_inter(struct header *h)
{
    const VADecPictureParameterBufferAV1 *param = h->param;
    bool resilient = is_error_resilient(param);

    if (h->order_hints)
        bits_write(h->writer, 1, 0); /* frame_refs_short_signaling */
    for (int i = 0; i < AV1_REFS; i++)
        bits_write(h->writer, 3, h->frame->ref_frame_idx[i]);
    if (!resilient)
        bits_write(h->writer, AV1_REFS, 0); /* found_ref: the size follows */
    write_size(h);
    if (!param->pic_info_fields.bits.allow_screen_content_tools ||
        !param->pic_info_fields.bits.force_integer_mv)
        bits_write(h->writer, 1, param->pic_info_fields.bits.allow_high_precision_mv);
    bits_write(h->writer, 1, param->interp_filter == 4); /* is_filter_switchable */
    if (param->interp_filter != 4)
        bits_write(h->writer, 2, param->interp_filter);
    bits_write(h->writer, 1, param->pic_info_fields.bits.is_motion_mode_switchable);
    if (!resilient && h->order_hints)
        bits_write(h->writer, 1, param->pic_info_fields.bits.use_ref_frame_mvs);
}

/* tile_log2() of 5.9.16 */
static unsigned tile_log2(uint32_t block, uint32_t target)
{
    unsigned k = 0;

    while (block << k < target)
        k++;
    return k;
}

/* The log2 that gives `count` tiles along a side of `size` superblocks. */
static int write_uniform(struct bits_writer *writer, uint32_t size, uint32_t count, unsigned min,
                         unsigned *ret_log2)
{
    unsigned max = tile_log2(1, size < MAX_TILES_A_SIDE ? size : MAX_TILES_A_SIDE);

    for (unsigned k = min; k <= max || k == min; k++) {
        uint32_t tile = (size + (UINT32_C(1) << k) - 1) >> k;

        if ((size + tile - 1) / tile == count) {
            if (k < max)
                bits_write(writer, 1, 0);
            *ret_log2 = k;
            return 0;
        }
        if (k < max)
            bits_write(writer, 1, 1);
    }
    return VD_ERR_PARAMETER;
}

/* Sizes one by one; the last is what is left. */
static int write_sizes(struct bits_writer *writer, uint32_t size, uint32_t count, uint32_t most,
                       const uint16_t *minus1, uint32_t *ret_widest)
{
    uint32_t widest = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t room = size < most ? size : most;
        uint32_t tile = i + 1 < count ? minus1[i] + 1u : size;

        if (size == 0 || tile > room || (i + 1 < count && tile == size))
            return VD_ERR_PARAMETER;
        write_non_symmetric(writer, room, tile - 1);
        if (tile > widest)
            widest = tile;
        size -= tile;
    }
    *ret_widest = widest;
    return 0;
}

/* tile_info() of 5.9.15 */
static int write_tile_info(struct header *h)
{
    const VADecPictureParameterBufferAV1 *param = h->param;
    unsigned shift = param->seq_info_fields.fields.use_128x128_superblock ? 7 : 6;
    uint32_t cols = (h->frame_width + 7) / 8 * 8, rows = (h->frame_height + 7) / 8 * 8;
    uint32_t sb_cols = (cols + (1u << shift) - 1) >> shift;
    uint32_t sb_rows = (rows + (1u << shift) - 1) >> shift;
    uint32_t max_width = MAX_TILE_WIDTH >> shift, max_area = MAX_TILE_AREA >> (2 * shift);
    unsigned min_cols = tile_log2(max_width, sb_cols);
    unsigned min_tiles = tile_log2(max_area, sb_cols * sb_rows);
    unsigned cols_log2, rows_log2;
    int err;

    if (min_tiles < min_cols)
        min_tiles = min_cols;
    bits_write(h->writer, 1, param->pic_info_fields.bits.uniform_tile_spacing_flag);
    if (param->pic_info_fields.bits.uniform_tile_spacing_flag) {
        err = write_uniform(h->writer, sb_cols, param->tile_cols, min_cols, &cols_log2);
        if (!err)
            err = write_uniform(h->writer, sb_rows, param->tile_rows,
                                min_tiles > cols_log2 ? min_tiles - cols_log2 : 0, &rows_log2);
    } else {
        uint32_t widest, tallest, max_height;

        err = write_sizes(h->writer, sb_cols, param->tile_cols, max_width,
                          param->width_in_sbs_minus_1, &widest);
        if (err)
            return err;
        max_area = sb_cols * sb_rows;
        if (min_tiles > 0)
            max_area >>= min_tiles + 1;
        max_height = max_area / widest > 1 ? max_area / widest : 1;
        err = write_sizes(h->writer, sb_rows, param->tile_rows, max_height,
                          param->height_in_sbs_minus_1, &tallest);
        cols_log2 = tile_log2(1, param->tile_cols);
        rows_log2 = tile_log2(1, param->tile_rows);
    }
    if (err)
        return err;
    h->frame->tile_bits = cols_log2 + rows_log2;
    if (h->frame->tile_bits > 0) {
        if (param->context_update_tile_id >= param->tile_cols * param->tile_rows)
            return VD_ERR_PARAMETER;
        bits_write(h->writer, h->frame->tile_bits, param->context_update_tile_id);
        bits_write(h->writer, 2, 3); /* tile_size_bytes_minus_1 */
    }
    return 0;
}

static void write_delta_q(struct bits_writer *writer, int value)
{
    bits_write(writer, 1, value != 0);
    if (value)
        write_signed(writer, 7, value);
}

/* quantization_params() of 5.9.12 */
static void write_quantization(struct header *h)
{
    const VADecPictureParameterBufferAV1 *param = h->param;

    bits_write(h->writer, 8, param->base_qindex);
    write_delta_q(h->writer, param->y_dc_delta_q);
    if (!h->mono) {
        bool differ = param->u_dc_delta_q != param->v_dc_delta_q ||
                      param->u_ac_delta_q != param->v_ac_delta_q;

        bits_write(h->writer, 1, differ);
        write_delta_q(h->writer, param->u_dc_delta_q);
        write_delta_q(h->writer, param->u_ac_delta_q);
        if (differ) {
            write_delta_q(h->writer, param->v_dc_delta_q);
            write_delta_q(h->writer, param->v_ac_delta_q);
        }
    }
    bits_write(h->writer, 1, param->qmatrix_fields.bits.using_qmatrix);
    if (param->qmatrix_fields.bits.using_qmatrix) {
        bits_write(h->writer, 4, param->qmatrix_fields.bits.qm_y);
        bits_write(h->writer, 4, param->qmatrix_fields.bits.qm_u);
        /* Without chroma separate_uv_delta_q is 0. */
        if (!h->mono)
            bits_write(h->writer, 4, param->qmatrix_fields.bits.qm_v);
    }
}

/* The features of VA's struct, written and kept. */
static void write_features(struct header *h)
{
    const VASegmentationStructAV1 *info = &h->param->seg_info;
    struct av1_reference *reference = &h->frame->reference;

    for (int i = 0; i < AV1_SEGMENTS; i++) {
        reference->feature_mask[i] = info->feature_mask[i];
        for (int j = 0; j < AV1_SEGMENT_FEATURES; j++) {
            int most = (1 << feature_bits[j]) - 1;
            int value = info->feature_data[i][j];

            bits_write(h->writer, 1, info->feature_mask[i] >> j & 1);
            if (!(info->feature_mask[i] >> j & 1))
                continue;
            if (value > most)
                value = most;
            if (value < (feature_signed[j] ? -most : 0))
                value = feature_signed[j] ? -most : 0;
            write_signed(h->writer, feature_bits[j] + feature_signed[j], value);
            reference->feature_data[i][j] = (int16_t)value;
        }
    }
}

/* segmentation_params() of 5.9.14 */
static void write_segmentation(struct header *h)
{
    const VASegmentationStructAV1 *info = &h->param->seg_info;
    unsigned primary = primary_ref_frame(h->param);
    bool update_data = true;

    bits_write(h->writer, 1, info->segment_info_fields.bits.enabled);
    if (!info->segment_info_fields.bits.enabled)
        return;
    if (primary != AV1_PRIMARY_REF_NONE) {
        update_data = info->segment_info_fields.bits.update_data;
        bits_write(h->writer, 1, info->segment_info_fields.bits.update_map);
        if (info->segment_info_fields.bits.update_map)
            bits_write(h->writer, 1, info->segment_info_fields.bits.temporal_update);
        bits_write(h->writer, 1, update_data);
    }
    if (update_data) {
        write_features(h);
    } else {
        const struct av1_reference *from = &h->frame->slots[h->frame->ref_frame_idx[primary]];
        struct av1_reference *to = &h->frame->reference;

        memcpy(to->feature_mask, from->feature_mask, sizeof(to->feature_mask));
        memcpy(to->feature_data, from->feature_data, sizeof(to->feature_data));
    }
}

/* delta_q_params() and delta_lf_params(), 5.9.17 and 5.9.18 */
static void write_deltas(struct header *h)
{
    const VADecPictureParameterBufferAV1 *param = h->param;

    if (param->base_qindex == 0)
        return;
    bits_write(h->writer, 1, param->mode_control_fields.bits.delta_q_present_flag);
    if (!param->mode_control_fields.bits.delta_q_present_flag)
        return;
    bits_write(h->writer, 2, param->mode_control_fields.bits.log2_delta_q_res);
    if (h->intrabc)
        return;
    bits_write(h->writer, 1, param->mode_control_fields.bits.delta_lf_present_flag);
    if (param->mode_control_fields.bits.delta_lf_present_flag) {
        bits_write(h->writer, 2, param->mode_control_fields.bits.log2_delta_lf_res);
        bits_write(h->writer, 1, param->mode_control_fields.bits.delta_lf_multi);
    }
}

/* CodedLossless of 5.9.2 */
static bool is_lossless(const struct header *h)
{
    const VADecPictureParameterBufferAV1 *param = h->param;
    const struct av1_reference *reference = &h->frame->reference;

    if (param->y_dc_delta_q || (!h->mono && (param->u_dc_delta_q || param->u_ac_delta_q ||
                                             param->v_dc_delta_q || param->v_ac_delta_q)))
        return false;
    for (int i = 0; i < AV1_SEGMENTS; i++) {
        int qindex = param->base_qindex;

        if (reference->feature_mask[i] >> SEG_LVL_ALT_Q & 1)
            qindex += reference->feature_data[i][SEG_LVL_ALT_Q];
        if (qindex > 0)
            return false;
    }
    return true;
}

/* loop_filter_params() of 5.9.11 */
static void write_loop_filter(struct header *h)
{
    const VADecPictureParameterBufferAV1 *param = h->param;
    bool enabled = param->loop_filter_info_fields.bits.mode_ref_delta_enabled;
    bool update = param->loop_filter_info_fields.bits.mode_ref_delta_update;

    bits_write(h->writer, 6, param->filter_level[0]);
    bits_write(h->writer, 6, param->filter_level[1]);
    if (!h->mono && (param->filter_level[0] || param->filter_level[1])) {
        bits_write(h->writer, 6, param->filter_level_u);
        bits_write(h->writer, 6, param->filter_level_v);
    }
    bits_write(h->writer, 3, param->loop_filter_info_fields.bits.sharpness_level);
    bits_write(h->writer, 1, enabled);
    if (!enabled)
        return;
    bits_write(h->writer, 1, update);
    if (!update)
        return; /* those of primary_ref_frame, which the decoder has */
    for (int i = 0; i < AV1_REFS + 1; i++) {
        bits_write(h->writer, 1, 1);
        write_signed(h->writer, 7, param->ref_deltas[i]);
    }
    for (int i = 0; i < 2; i++) {
        bits_write(h->writer, 1, 1);
        write_signed(h->writer, 7, param->mode_deltas[i]);
    }
}

/* cdef_params() of 5.9.19 */
static void write_cdef(struct header *h)
{
    const VADecPictureParameterBufferAV1 *param = h->param;

    if (!param->seq_info_fields.fields.enable_cdef)
        return;
    bits_write(h->writer, 2, param->cdef_damping_minus_3);
    bits_write(h->writer, 2, param->cdef_bits);
    for (int i = 0; i < 1 << param->cdef_bits; i++) {
        bits_write(h->writer, 6, param->cdef_y_strengths[i]);
        if (!h->mono)
            bits_write(h->writer, 6, param->cdef_uv_strengths[i]);
    }
}

/* lr_params() of 5.9.20 */
static void write_restoration(struct header *h)
{
    /* FrameRestorationType to lr_type: Remap_Lr_Type the other way round. */
    static const uint8_t lr_type[] = {0, 2, 3, 1};
    const VADecPictureParameterBufferAV1 *param = h->param;
    const unsigned type[] = {
        param->loop_restoration_fields.bits.yframe_restoration_type,
        param->loop_restoration_fields.bits.cbframe_restoration_type,
        param->loop_restoration_fields.bits.crframe_restoration_type,
    };
    unsigned shift = param->loop_restoration_fields.bits.lr_unit_shift;
    bool used = false, chroma = false;

    for (int i = 0; i < (h->mono ? 1 : 3); i++) {
        bits_write(h->writer, 2, lr_type[type[i]]);
        used |= type[i] != 0;
        chroma |= i > 0 && type[i] != 0;
    }
    if (!used)
        return;
    if (param->seq_info_fields.fields.use_128x128_superblock) {
        bits_write(h->writer, 1, shift > 1);
    } else {
        bits_write(h->writer, 1, shift > 0);
        if (shift > 0)
            bits_write(h->writer, 1, shift > 1);
    }
    if (chroma && param->seq_info_fields.fields.subsampling_x &&
        param->seq_info_fields.fields.subsampling_y)
        bits_write(h->writer, 1, param->loop_restoration_fields.bits.lr_uv_shift);
}

/* get_relative_dist() of 5.9.3 */
static int relative_dist(const struct header *h, int a, int b)
{
    int m = 1 << h->param->order_hint_bits_minus_1;
    int diff = a - b;

    return (diff & (m - 1)) - (diff & m);
}

/* skipModeAllowed of 5.9.22: one reference on each side, or two in the past. */
static bool allows_skip_mode(const struct header *h)
{
    int forward = -1, backward = -1;

    if (h->intra || !h->param->mode_control_fields.bits.reference_select || !h->order_hints)
        return false;
    for (int i = 0; i < AV1_REFS; i++) {
        int hint = h->frame->slots[h->frame->ref_frame_idx[i]].order_hint;
        int dist = relative_dist(h, hint, h->param->order_hint);

        if (dist < 0 && (forward < 0 || relative_dist(h, hint, forward) > 0))
            forward = hint;
        else if (dist > 0 && (backward < 0 || relative_dist(h, hint, backward) < 0))
            backward = hint;
    }
    if (forward < 0 || backward >= 0)
        return forward >= 0;
    for (int i = 0; i < AV1_REFS; i++) {
        int hint = h->frame->slots[h->frame->ref_frame_idx[i]].order_hint;

        if (relative_dist(h, hint, forward) < 0)
            return true;
    }
    return false;
}

/* What decode_subexp() of 5.9.26 reads back as `value`, which is below num_syms. */
static void write_subexp(struct bits_writer *writer, uint32_t num_syms, uint32_t value)
{
    uint32_t mk = 0;

    for (unsigned i = 0;; i++) {
        unsigned b2 = i ? 3 + i - 1 : 3;
        uint32_t a = UINT32_C(1) << b2;

        if (num_syms <= mk + 3 * a) {
            write_non_symmetric(writer, num_syms - mk, value - mk);
            return;
        }
        bits_write(writer, 1, value >= mk + a);
        if (value < mk + a) {
            bits_write(writer, b2, value - mk);
            return;
        }
        mk += a;
    }
}

/* inverse_recenter() of 5.9.29 the other way round */
static uint32_t recenter(uint32_t r, uint32_t value)
{
    if (value > 2 * r)
        return value;
    return value >= r ? 2 * (value - r) : 2 * (r - value) - 1;
}

/* read_global_param() of 5.9.25 the other way round */
static int write_global_param(struct header *h, unsigned type, int idx, int32_t value, int32_t prev)
{
    unsigned abs_bits = 12, prec_bits = 15;
    int32_t round = 0, sub = 0, mx, coded, r;
    uint32_t span;
    unsigned prec_diff;

    if (idx < 2) {
        abs_bits = 12;
        prec_bits = 6;
        if (type == VAAV1TransformationTranslation) {
            unsigned less = !h->param->pic_info_fields.bits.allow_high_precision_mv;

            abs_bits = 9 - less;
            prec_bits = 3 - less;
        }
    }
    prec_diff = WARPEDMODEL_PREC_BITS - prec_bits;
    if (idx % 3 == 2) {
        round = 1 << WARPEDMODEL_PREC_BITS;
        sub = 1 << prec_bits;
    }
    mx = 1 << abs_bits;
    /* Kept values came through here or are defaults, so they are in range, too. */
    r = (prev >> prec_diff) - sub;
    if (r < -mx)
        r = -mx;
    if (r > mx)
        r = mx;
    if (value < INT32_MIN / 2 || value > INT32_MAX / 2)
        return VD_ERR_PARAMETER;
    coded = (value - round) >> prec_diff;
    if (coded < -mx || coded > mx || (value - round) & ((1 << prec_diff) - 1))
        return VD_ERR_PARAMETER;
    span = 2u * (uint32_t)mx + 1;
    r += mx;
    coded += mx;
    if (2 * (uint32_t)r <= span)
        write_subexp(h->writer, span, recenter((uint32_t)r, (uint32_t)coded));
    else
        write_subexp(h->writer, span, recenter(span - 1 - (uint32_t)r, span - 1 - (uint32_t)coded));
    return 0;
}

static void default_gm_params(int32_t params[6])
{
    for (int i = 0; i < 6; i++)
        params[i] = i % 3 == 2 ? 1 << WARPEDMODEL_PREC_BITS : 0;
}

/* global_motion_params() of 5.9.24 */
static int write_global_motion(struct header *h)
{
    unsigned primary = primary_ref_frame(h->param);
    int err = 0;

    for (int i = 0; i < AV1_REFS; i++)
        default_gm_params(h->frame->reference.gm_params[i]);
    if (h->intra)
        return 0;
    for (int i = 0; i < AV1_REFS && !err; i++) {
        const VAWarpedMotionParamsAV1 *wm = &h->param->wm[i];
        int32_t *to = h->frame->reference.gm_params[i];
        unsigned type = wm->wmtype;
        int32_t prev[6];

        if (type > VAAV1TransformationAffine)
            return VD_ERR_PARAMETER;
        default_gm_params(prev);
        if (primary != AV1_PRIMARY_REF_NONE)
            memcpy(prev, h->frame->slots[h->frame->ref_frame_idx[primary]].gm_params[i],
                   sizeof(prev));
        bits_write(h->writer, 1, type != VAAV1TransformationIdentity);
        if (type == VAAV1TransformationIdentity)
            continue;
        bits_write(h->writer, 1, type == VAAV1TransformationRotzoom);
        if (type != VAAV1TransformationRotzoom)
            bits_write(h->writer, 1, type == VAAV1TransformationTranslation);
        memcpy(to, wm->wmmat, 6 * sizeof(*to));
        if (type >= VAAV1TransformationRotzoom) {
            err = write_global_param(h, type, 2, to[2], prev[2]);
            if (!err)
                err = write_global_param(h, type, 3, to[3], prev[3]);
            if (!err && type == VAAV1TransformationAffine) {
                err = write_global_param(h, type, 4, to[4], prev[4]);
                if (!err)
                    err = write_global_param(h, type, 5, to[5], prev[5]);
            } else if (!err) {
                to[4] = -to[3];
                to[5] = to[2];
            }
        } else {
            to[2] = to[5] = 1 << WARPEDMODEL_PREC_BITS;
            to[3] = to[4] = 0;
        }
        if (!err)
            err = write_global_param(h, type, 0, to[0], prev[0]);
        if (!err)
            err = write_global_param(h, type, 1, to[1], prev[1]);
    }
    return err;
}

static void write_points(struct bits_writer *writer, unsigned count, const uint8_t *value,
                         const uint8_t *scaling)
{
    bits_write(writer, 4, count);
    for (unsigned i = 0; i < count; i++) {
        bits_write(writer, 8, value[i]);
        bits_write(writer, 8, scaling[i]);
    }
}

static void write_coefficients(struct bits_writer *writer, unsigned count, const int8_t *coeffs)
{
    for (unsigned i = 0; i < count; i++)
        bits_write(writer, 8, (uint32_t)(coeffs[i] + 128));
}

/* film_grain_params() of 5.9.30 */
static void write_film_grain(struct header *h)
{
    const VAFilmGrainStructAV1 *grain = &h->param->film_grain_info;
    bool from_luma = grain->film_grain_info_fields.bits.chroma_scaling_from_luma && !h->mono;
    unsigned lag = grain->film_grain_info_fields.bits.ar_coeff_lag;
    unsigned luma = 2 * lag * (lag + 1), chroma = luma + (grain->num_y_points > 0);
    unsigned cb = 0, cr = 0;

    bits_write(h->writer, 1, grain->film_grain_info_fields.bits.apply_grain);
    if (!grain->film_grain_info_fields.bits.apply_grain)
        return;
    bits_write(h->writer, 16, grain->grain_seed);
    if (h->param->pic_info_fields.bits.frame_type == AV1_INTER_FRAME)
        bits_write(h->writer, 1, 1); /* update_grain: VA has all values */
    write_points(h->writer, grain->num_y_points, grain->point_y_value, grain->point_y_scaling);
    if (!h->mono)
        bits_write(h->writer, 1, from_luma);
    if (!h->mono && !from_luma && (h->param->profile == 1 || grain->num_y_points > 0)) {
        cb = grain->num_cb_points;
        cr = grain->num_cr_points;
        write_points(h->writer, cb, grain->point_cb_value, grain->point_cb_scaling);
        write_points(h->writer, cr, grain->point_cr_value, grain->point_cr_scaling);
    }
    bits_write(h->writer, 2, grain->film_grain_info_fields.bits.grain_scaling_minus_8);
    bits_write(h->writer, 2, lag);
    if (grain->num_y_points > 0)
        write_coefficients(h->writer, luma, grain->ar_coeffs_y);
    if (from_luma || cb > 0)
        write_coefficients(h->writer, chroma, grain->ar_coeffs_cb);
    if (from_luma || cr > 0)
        write_coefficients(h->writer, chroma, grain->ar_coeffs_cr);
    bits_write(h->writer, 2, grain->film_grain_info_fields.bits.ar_coeff_shift_minus_6);
    bits_write(h->writer, 2, grain->film_grain_info_fields.bits.grain_scale_shift);
    if (cb > 0) {
        bits_write(h->writer, 8, grain->cb_mult);
        bits_write(h->writer, 8, grain->cb_luma_mult);
        bits_write(h->writer, 9, grain->cb_offset);
    }
    if (cr > 0) {
        bits_write(h->writer, 8, grain->cr_mult);
        bits_write(h->writer, 8, grain->cr_luma_mult);
        bits_write(h->writer, 9, grain->cr_offset);
    }
    bits_write(h->writer, 1, grain->film_grain_info_fields.bits.overlap_flag);
    bits_write(h->writer, 1, grain->film_grain_info_fields.bits.clip_to_restricted_range);
}

/* From show_existing_frame to the size and the references. */
static void write_start(struct header *h)
{
    const VADecPictureParameterBufferAV1 *param = h->param;
    unsigned type = param->pic_info_fields.bits.frame_type;
    bool all = av1_header_refreshes_all(param);
    int hint_bits = order_hint_bits(param);

    bits_write(h->writer, 1, 0); /* show_existing_frame */
    bits_write(h->writer, 2, type);
    bits_write(h->writer, 1, param->pic_info_fields.bits.show_frame);
    if (!param->pic_info_fields.bits.show_frame)
        bits_write(h->writer, 1, param->pic_info_fields.bits.showable_frame);
    if (!all)
        bits_write(h->writer, 1, param->pic_info_fields.bits.error_resilient_mode);
    bits_write(h->writer, 1, param->pic_info_fields.bits.disable_cdf_update);
    bits_write(h->writer, 1, param->pic_info_fields.bits.allow_screen_content_tools);
    if (param->pic_info_fields.bits.allow_screen_content_tools)
        bits_write(h->writer, 1, param->pic_info_fields.bits.force_integer_mv);
    if (type != AV1_SWITCH_FRAME)
        bits_write(h->writer, 1, 1); /* frame_size_override_flag */
    bits_write(h->writer, (unsigned)hint_bits, param->order_hint);
    if (!h->intra && !is_error_resilient(param))
        bits_write(h->writer, 3, param->primary_ref_frame);
    h->frame->refresh_bit = h->writer->used * 8 + h->writer->count;
    if (!all)
        bits_write(h->writer, 8, h->frame->refresh_frame_flags);
    /* Key frames that are not shown never refresh all slots here. */
    if ((!h->intra || !all) && is_error_resilient(param) && h->order_hints) {
        for (int i = 0; i < AV1_SLOTS; i++)
            bits_write(h->writer, (unsigned)hint_bits, h->frame->slots[i].order_hint);
    }
    if (!h->intra) {
        write_inter(h);
        return;
    }
    write_size(h);
    if (param->pic_info_fields.bits.allow_screen_content_tools &&
        h->frame_width == h->upscaled_width) {
        h->intrabc = param->pic_info_fields.bits.allow_intrabc;
        bits_write(h->writer, 1, h->intrabc);
    }
}

int av1_header_frame(struct av1_frame *frame, struct bits_writer *writer)
{
    const VADecPictureParameterBufferAV1 *param = frame->param;
    struct header h = {
        .frame = frame,
        .param = param,
        .writer = writer,
        .intra = is_intra(param),
        .mono = param->seq_info_fields.fields.mono_chrome,
        .order_hints = param->seq_info_fields.fields.enable_order_hint,
    };
    bool lossless;
    int err;

    memset(&frame->reference, 0, sizeof(frame->reference));
    frame->reference.order_hint =
        (uint8_t)(param->order_hint & ((1u << order_hint_bits(param)) - 1));
    write_start(&h);
    if (!param->pic_info_fields.bits.disable_cdf_update)
        bits_write(writer, 1, param->pic_info_fields.bits.disable_frame_end_update_cdf);
    err = write_tile_info(&h);
    if (err)
        return err;
    write_quantization(&h);
    write_segmentation(&h);
    write_deltas(&h);
    lossless = is_lossless(&h);
    if (!lossless && !h.intrabc) {
        write_loop_filter(&h);
        write_cdef(&h);
    }
    if ((!lossless || h.frame_width != h.upscaled_width) && !h.intrabc)
        write_restoration(&h);
    if (!lossless)
        bits_write(writer, 1, param->mode_control_fields.bits.tx_mode == 2);
    if (!h.intra)
        bits_write(writer, 1, param->mode_control_fields.bits.reference_select);
    if (allows_skip_mode(&h))
        bits_write(writer, 1, param->mode_control_fields.bits.skip_mode_present);
    if (!h.intra && !is_error_resilient(param))
        bits_write(writer, 1, param->pic_info_fields.bits.allow_warped_motion);
    bits_write(writer, 1, param->mode_control_fields.bits.reduced_tx_set_used);
    err = write_global_motion(&h);
    if (err)
        return err;
    if (param->pic_info_fields.bits.show_frame || param->pic_info_fields.bits.showable_frame)
        write_film_grain(&h);
    return writer->error ? VD_ERR_LIMIT : 0;
}
