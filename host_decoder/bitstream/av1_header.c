/* SPDX-License-Identifier: MIT */
#include "av1_header.h"

#include <string.h>
#include <viaduct/errors.h>
#include <viaduct/limits.h>

#include "av1_parts.h"

/*
 * Names are those of the specification. What VA leaves out of the sequence header is chosen so
 * that every frame header can be written under one and the same sequence header, since a decoder
 * forgets its references when that changes: tools are enabled where the frame header then says
 * whether they are used, and sizes are always coded in the frame.
 */

#define SELECT_SCREEN_CONTENT_TOOLS 1 /* seq_choose_screen_content_tools */
#define SUPERRES_NUM                8u
#define SUPERRES_DENOM_MIN          9u
#define MATRIX_IDENTITY             0
#define UNSPECIFIED                 2 /* color_primaries and others */

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

unsigned av1_header_primary(const VADecPictureParameterBufferAV1 *param)
{
    return is_intra(param) || is_error_resilient(param) ? AV1_PRIMARY_REF_NONE
                                                        : param->primary_ref_frame;
}

static bool delta_fits(int value)
{
    return value >= -64 && value <= 63;
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
    if (param->tile_cols < 1 || param->tile_cols > AV1_MAX_TILES_A_SIDE || param->tile_rows < 1 ||
        param->tile_rows > AV1_MAX_TILES_A_SIDE)
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
        return av1_grain_check(&param->film_grain_info);
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

/* frame_size(), superres_params() and render_size(), with frame_size_override_flag */
static void write_size(struct av1_writing *h)
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
static void write_inter(struct av1_writing *h)
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

/* From show_existing_frame to the size and the references. */
static void write_start(struct av1_writing *h)
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
    struct av1_writing h = {
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
    err = av1_tile_write(&h);
    if (err)
        return err;
    av1_quant_write(&h);
    av1_quant_segmentation(&h);
    av1_quant_deltas(&h);
    lossless = av1_quant_lossless(&h);
    if (!lossless && !h.intrabc) {
        av1_filter_loop(&h);
        av1_filter_cdef(&h);
    }
    if ((!lossless || h.frame_width != h.upscaled_width) && !h.intrabc)
        av1_filter_restoration(&h);
    if (!lossless)
        bits_write(writer, 1, param->mode_control_fields.bits.tx_mode == 2);
    if (!h.intra)
        bits_write(writer, 1, param->mode_control_fields.bits.reference_select);
    if (av1_motion_skip(&h))
        bits_write(writer, 1, param->mode_control_fields.bits.skip_mode_present);
    if (!h.intra && !is_error_resilient(param))
        bits_write(writer, 1, param->pic_info_fields.bits.allow_warped_motion);
    bits_write(writer, 1, param->mode_control_fields.bits.reduced_tx_set_used);
    err = av1_motion_write(&h);
    if (err)
        return err;
    if (param->pic_info_fields.bits.show_frame || param->pic_info_fields.bits.showable_frame)
        av1_grain_write(&h);
    return writer->error ? VD_ERR_LIMIT : 0;
}
