/* SPDX-License-Identifier: MIT */
#include <va/va.h>

#include "builder.h"

static void sane_picture(void *picture)
{
    VAPictureParameterBufferMPEG2 *param = picture;

    param->horizontal_size = param->horizontal_size % 16383 + 1;
    param->vertical_size = param->vertical_size % 16383 + 1;
    param->picture_coding_type = (param->picture_coding_type & 0xff) % 3 + 1;
    if (param->picture_coding_extension.bits.picture_structure == 0)
        param->picture_coding_extension.bits.picture_structure = 3;
}

static void sane_slice(void *slice, uint32_t bytes)
{
    VASliceParameterBufferMPEG2 *param = slice;

    (void)bytes;
    param->slice_data_flag = 0;
    param->slice_vertical_position %= 1024;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_codec codec = {
        .builder = &bitstream_mpeg2,
        .picture_size = sizeof(VAPictureParameterBufferMPEG2),
        .matrix_size = sizeof(VAIQMatrixBufferMPEG2),
        .slice_size = sizeof(VASliceParameterBufferMPEG2),
        .picture_used = offsetof(VAPictureParameterBufferMPEG2, va_reserved),
        .matrix_used = offsetof(VAIQMatrixBufferMPEG2, va_reserved),
        .slice_used = offsetof(VASliceParameterBufferMPEG2, va_reserved),
        .sane_picture = sane_picture,
        .sane_slice = sane_slice,
    };

    fuzz_builder(&codec, data, size);
    return 0;
}
