/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "av1_parts.h"

enum { SEG_LVL_ALT_Q };

static const uint8_t feature_bits[AV1_SEGMENT_FEATURES] = {8, 6, 6, 6, 6, 3, 0, 0};
static const bool feature_signed[AV1_SEGMENT_FEATURES] = {1, 1, 1, 1, 1, 0, 0, 0};

static void write_delta_q(struct bits_writer *writer, int value)
{
    bits_write(writer, 1, value != 0);
    if (value)
        av1_parts_signed(writer, 7, value);
}

void av1_quant_write(struct av1_writing *h)
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
static void write_features(struct av1_writing *h)
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
            av1_parts_signed(h->writer, feature_bits[j] + feature_signed[j], value);
            reference->feature_data[i][j] = (int16_t)value;
        }
    }
}

void av1_quant_segmentation(struct av1_writing *h)
{
    const VASegmentationStructAV1 *info = &h->param->seg_info;
    unsigned primary = av1_header_primary(h->param);
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

void av1_quant_deltas(struct av1_writing *h)
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

bool av1_quant_lossless(const struct av1_writing *h)
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
