/* SPDX-License-Identifier: MIT */
#include "av1_parts.h"

void av1_filter_loop(struct av1_writing *h)
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
        av1_parts_signed(h->writer, 7, param->ref_deltas[i]);
    }
    for (int i = 0; i < 2; i++) {
        bits_write(h->writer, 1, 1);
        av1_parts_signed(h->writer, 7, param->mode_deltas[i]);
    }
}

void av1_filter_cdef(struct av1_writing *h)
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

void av1_filter_restoration(struct av1_writing *h)
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
