/* SPDX-License-Identifier: MIT */
#include <va/va.h>

#include "builder.h"

static void sane_picture(void *picture)
{
    VADecPictureParameterBufferAV1 *param = picture;
    VAFilmGrainStructAV1 *grain = &param->film_grain_info;

    param->profile &= 1;
    param->bit_depth_idx &= 1;
    param->seq_info_fields.fields.mono_chrome &= !param->profile;
    param->seq_info_fields.fields.subsampling_x = !param->profile;
    param->seq_info_fields.fields.subsampling_y = !param->profile;
    param->pic_info_fields.bits.large_scale_tile = 0;
    param->order_hint_bits_minus_1 &= 7;
    param->primary_ref_frame &= 7;
    param->frame_width_minus1 %= 500;
    param->frame_height_minus1 %= 500;
    param->tile_cols = param->tile_rows = 1;
    param->context_update_tile_id = 0;
    param->superres_scale_denominator = (uint8_t)(9 + param->superres_scale_denominator % 8);
    param->interp_filter %= 5;
    param->filter_level[0] &= 63;
    param->filter_level[1] &= 63;
    param->filter_level_u &= 63;
    param->filter_level_v &= 63;
    param->cdef_damping_minus_3 &= 3;
    param->cdef_bits &= 3;
    param->y_dc_delta_q /= 2;
    param->u_dc_delta_q /= 2;
    param->u_ac_delta_q /= 2;
    param->v_dc_delta_q /= 2;
    param->v_ac_delta_q /= 2;
    grain->num_y_points &= 1;
    grain->num_cb_points &= 1;
    grain->num_cr_points &= 1;
    grain->cb_offset &= 511;
    grain->cr_offset &= 511;
    /* Few surfaces, so that pictures refer to each other. */
    param->current_frame &= 15;
    for (int i = 0; i < 8; i++)
        param->ref_frame_map[i] &= 15;
    for (int i = 0; i < 7; i++) {
        param->ref_frame_idx[i] &= 7;
        param->wm[i].wmtype = param->wm[i].wmtype & 3;
        for (int j = 0; j < 6; j++)
            param->wm[i].wmmat[j] = param->wm[i].wmmat[j] % 1024 * 1024 + (j % 3 == 2 ? 65536 : 0);
    }
}

static void sane_slice(void *slice, uint32_t bytes)
{
    VASliceParameterBufferAV1 *param = slice;

    (void)bytes;
    param->slice_data_flag = 0;
    param->tile_row = param->tile_column = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_codec codec = {
        .builder = &bitstream_av1,
        .picture_size = sizeof(VADecPictureParameterBufferAV1),
        .matrix_size = 1,
        .slice_size = sizeof(VASliceParameterBufferAV1),
        .picture_used = offsetof(VADecPictureParameterBufferAV1, va_reserved),
        .matrix_used = 1,
        .slice_used = offsetof(VASliceParameterBufferAV1, va_reserved),
        .sane_picture = sane_picture,
        .sane_slice = sane_slice,
    };

    fuzz_builder(&codec, data, size);
    codec.builder = &bitstream_av1_sized;
    fuzz_builder(&codec, data, size);
    return 0;
}
