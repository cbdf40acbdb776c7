/* SPDX-License-Identifier: MIT */
#include "doctor_picture.h"

#include <stdbool.h>
#include <stdint.h>

#define PICTURE_SIZE 64

/*
 * A gradient, 64x64, one IDR slice with CAVLC. Made with
 *   ffmpeg -f lavfi -i gradients=s=64x64:c0=0x204080:c1=0xe0c020:x0=0:y0=0:x1=63:y1=63:d=1:r=1
 *     -frames:v 1 -pix_fmt yuv420p -c:v libx264 -profile:v baseline -qp 30
 *     -x264-params keyint=1:ref=1:bframes=0:cabac=0:8x8dct=0:weightp=0:slices=1 -f h264
 * The numbers in picture_decode's structs are those of its SPS, PPS and slice header
 * (ffmpeg -bsf:v trace_headers).
 */
static const uint8_t slice_data[] = {
    0x65, 0x88, 0x84, 0x3f, 0x19, 0x80, 0x75, 0x8d, 0xc0, 0x00, 0x40, 0xb6, 0xb0, 0x3a, 0x00, 0x02,
    0x82, 0xc0, 0x00, 0x9c, 0x9d, 0x9e, 0x59, 0xfc, 0x5a, 0x81, 0xd1, 0x84, 0x40, 0x24, 0x1c, 0x69,
    0xca, 0xca, 0xf8, 0xb5, 0x03, 0xa3, 0x08, 0x80, 0x48, 0x38, 0xd3, 0x55, 0x55, 0xf1, 0x6a, 0x07,
    0x46, 0x11, 0x00, 0x90, 0xe3, 0x4d, 0x55, 0x57, 0xcc, 0xe0, 0x74, 0x61, 0x19, 0x07, 0xc0, 0xe3,
    0x4a, 0x12, 0x48, 0xa6, 0x55, 0x44, 0x92, 0xad, 0x29, 0x2b, 0x22, 0x29, 0x16, 0x52, 0xfb, 0x05,
    0x3e, 0xb5, 0xa8, 0x90, 0x1a, 0x1a, 0x50, 0x92, 0x7e, 0x89, 0x27, 0xd2, 0x93, 0xc8, 0xbe, 0x52,
    0xfb, 0x05, 0x3e, 0xb5, 0x55, 0x12, 0x03, 0x43, 0x4a, 0x12, 0x4a, 0xf4, 0xa4, 0xc4, 0x93, 0xec,
};

/* FNV-1a of all samples as software decoders put them out: Y, then U, then V. */
#define PICTURE_SUM 0x2b9cea6au

static uint32_t sum_samples(uint32_t sum, const uint8_t *bytes, uint32_t pitch, uint32_t step,
                            uint32_t size)
{
    for (uint32_t y = 0; y < size; y++) {
        for (uint32_t x = 0; x < size; x++)
            sum = (sum ^ bytes[y * pitch + x * step]) * 16777619u;
    }
    return sum;
}

static bool picture_right(const VAImage *image, const uint8_t *bytes)
{
    const uint8_t *y = bytes + image->offsets[0];
    const uint8_t *u = bytes + image->offsets[1];
    const uint8_t *v = u + 1;
    uint32_t step = 2, sum = 2166136261u;

    if (image->format.fourcc != VA_FOURCC_NV12) {
        bool swapped = image->format.fourcc == VA_FOURCC_YV12;

        if (image->format.fourcc != VA_FOURCC_I420 && !swapped)
            return false;
        u = bytes + image->offsets[swapped ? 2 : 1];
        v = bytes + image->offsets[swapped ? 1 : 2];
        step = 1;
    }
    sum = sum_samples(sum, y, image->pitches[0], 1, PICTURE_SIZE);
    sum = sum_samples(sum, u, image->pitches[1], step, PICTURE_SIZE / 2);
    sum = sum_samples(sum, v, image->pitches[step == 2 ? 1 : 2], step, PICTURE_SIZE / 2);
    return sum == PICTURE_SUM;
}

static void fill_parameters(VASurfaceID surface, VAPictureParameterBufferH264 *picture,
                            VASliceParameterBufferH264 *slice)
{
    *picture = (VAPictureParameterBufferH264){
        .CurrPic = {.picture_id = surface, .flags = VA_PICTURE_H264_SHORT_TERM_REFERENCE},
        .picture_width_in_mbs_minus1 = PICTURE_SIZE / 16 - 1,
        .picture_height_in_mbs_minus1 = PICTURE_SIZE / 16 - 1,
        .num_ref_frames = 1,
        .pic_init_qp_minus26 = 4,
        .chroma_qp_index_offset = -2,
        .second_chroma_qp_index_offset = -2,
    };
    picture->seq_fields.bits.chroma_format_idc = 1;
    picture->seq_fields.bits.frame_mbs_only_flag = 1;
    picture->seq_fields.bits.direct_8x8_inference_flag = 1;
    picture->seq_fields.bits.pic_order_cnt_type = 2;
    picture->pic_fields.bits.deblocking_filter_control_present_flag = 1;
    picture->pic_fields.bits.reference_pic_flag = 1;
    *slice = (VASliceParameterBufferH264){
        .slice_data_size = sizeof(slice_data),
        .slice_data_bit_offset = 32,
        .slice_type = 7,
        .slice_qp_delta = -3,
    };
    for (int i = 0; i < 16; i++) {
        picture->ReferenceFrames[i].picture_id = VA_INVALID_ID;
        picture->ReferenceFrames[i].flags = VA_PICTURE_H264_INVALID;
    }
    for (int i = 0; i < 32; i++) {
        slice->RefPicList0[i] = picture->ReferenceFrames[0];
        slice->RefPicList1[i] = picture->ReferenceFrames[0];
    }
}

/* Everything from the context on; what is made here goes with the context. */
static VAStatus submit(const struct va *va, VADisplay display, VAContextID context,
                       VASurfaceID surface, const char **call)
{
    VAPictureParameterBufferH264 picture;
    VASliceParameterBufferH264 slice;
    VAIQMatrixBufferH264 matrix;
    const struct {
        VABufferType type;
        unsigned size;
        const void *bytes;
    } buffers[] = {
        {VAPictureParameterBufferType, sizeof(picture), &picture},
        {VAIQMatrixBufferType, sizeof(matrix), &matrix},
        {VASliceParameterBufferType, sizeof(slice), &slice},
        {VASliceDataBufferType, sizeof(slice_data), slice_data},
    };
    enum { COUNT = sizeof(buffers) / sizeof(buffers[0]) };
    VABufferID ids[COUNT];
    VAStatus status = VA_STATUS_SUCCESS;
    int made = 0;

    fill_parameters(surface, &picture, &slice);
    /* Flat: no scaling. */
    for (size_t i = 0; i < sizeof(matrix); i++)
        ((uint8_t *)&matrix)[i] = 16;
    *call = "vaCreateBuffer";
    for (; made < COUNT && !status; made += !status)
        status = va->vaCreateBuffer(display, context, buffers[made].type, buffers[made].size, 1,
                                    (void *)(uintptr_t)buffers[made].bytes, &ids[made]);
    if (status)
        goto out;
    *call = "vaBeginPicture";
    status = va->vaBeginPicture(display, context, surface);
    if (status)
        goto out;
    *call = "vaRenderPicture";
    status = va->vaRenderPicture(display, context, ids, COUNT);
    if (status)
        goto out;
    *call = "vaEndPicture";
    status = va->vaEndPicture(display, context);
    if (status)
        goto out;
    *call = "vaSyncSurface";
    status = va->vaSyncSurface(display, surface);
out:
    while (made--)
        va->vaDestroyBuffer(display, ids[made]);
    return status;
}

static VAStatus look(const struct va *va, VADisplay display, VASurfaceID surface, int *ret_right,
                     const char **call)
{
    VAImage image;
    VAStatus status;
    void *bytes;

    *call = "vaDeriveImage";
    status = va->vaDeriveImage(display, surface, &image);
    if (status)
        return status;
    *call = "vaMapBuffer";
    status = va->vaMapBuffer(display, image.buf, &bytes);
    if (!status) {
        *ret_right = picture_right(&image, bytes);
        va->vaUnmapBuffer(display, image.buf);
    }
    va->vaDestroyImage(display, image.image_id);
    return status;
}

VAStatus doctor_picture_decode(const struct va *va, VADisplay display, int *ret_right,
                               const char **ret_call)
{
    VASurfaceID surface;
    VAContextID context;
    VAConfigID config;
    VAStatus status;

    *ret_call = "vaCreateConfig";
    status = va->vaCreateConfig(display, VAProfileH264ConstrainedBaseline, VAEntrypointVLD, NULL, 0,
                                &config);
    if (status)
        return status;
    *ret_call = "vaCreateSurfaces";
    status = va->vaCreateSurfaces(display, VA_RT_FORMAT_YUV420, PICTURE_SIZE, PICTURE_SIZE,
                                  &surface, 1, NULL, 0);
    if (status)
        goto no_surface;
    *ret_call = "vaCreateContext";
    status = va->vaCreateContext(display, config, PICTURE_SIZE, PICTURE_SIZE, VA_PROGRESSIVE,
                                 &surface, 1, &context);
    if (status)
        goto no_context;
    status = submit(va, display, context, surface, ret_call);
    if (!status)
        status = look(va, display, surface, ret_right, ret_call);
    va->vaDestroyContext(display, context);
no_context:
    va->vaDestroySurfaces(display, &surface, 1);
no_surface:
    va->vaDestroyConfig(display, config);
    return status;
}
