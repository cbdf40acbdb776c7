/* SPDX-License-Identifier: MIT */
#include <va/va.h>

#include "builder.h"

/* The first byte chooses between MPEG-4 and H.263, which have the same structs. */

static void sane_picture(void *picture)
{
    VAPictureParameterBufferMPEG4 *param = picture;

    param->vop_width = param->vop_width % 512 * 4 + 4;
    param->vop_height = param->vop_height % 256 * 4 + 4;
    param->vol_fields.bits.short_video_header = 0;
    param->vol_fields.bits.sprite_enable &= 2;
    param->no_of_sprite_warping_points %= 4;
    param->quant_precision = 5;
    param->vop_fcode_forward = param->vop_fcode_forward % 7 + 1;
    param->vop_fcode_backward = param->vop_fcode_backward % 7 + 1;
    for (unsigned i = 0; i < 3; i++) {
        param->sprite_trajectory_du[i] /= 2;
        param->sprite_trajectory_dv[i] /= 2;
    }
}

static void sane_slice(void *slice, uint32_t bytes)
{
    VASliceParameterBufferMPEG4 *param = slice;

    param->slice_data_flag = 0;
    param->macroblock_offset %= bytes * 8 + 1;
    param->macroblock_number %= 16;
    param->quant_scale = (param->quant_scale & 0xff) % 31 + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_codec codec = {
        .builder = &bitstream_mpeg4,
        .picture_size = sizeof(VAPictureParameterBufferMPEG4),
        .matrix_size = sizeof(VAIQMatrixBufferMPEG4),
        .slice_size = sizeof(VASliceParameterBufferMPEG4),
        .picture_used = offsetof(VAPictureParameterBufferMPEG4, va_reserved),
        .matrix_used = offsetof(VAIQMatrixBufferMPEG4, va_reserved),
        .slice_used = offsetof(VASliceParameterBufferMPEG4, va_reserved),
        .sane_picture = sane_picture,
        .sane_slice = sane_slice,
    };

    if (size == 0)
        return 0;
    if (data[0] & 1)
        codec.builder = &bitstream_h263;
    fuzz_builder(&codec, data + 1, size - 1);
    return 0;
}
