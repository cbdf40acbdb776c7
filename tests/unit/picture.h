/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_PICTURE_H
#define VIADUCT_TEST_PICTURE_H

#include <stdint.h>
#include <string.h>

#include <va/va.h>

#include "bitstream/bits.h"

/*
 * The smallest real H.264: pictures of one macroblock. An IDR picture whose samples stand in the
 * stream as they are (I_PCM), and a P picture that skips and so repeats it. No assertions here:
 * fuzz targets use it, too.
 */

#define PICTURE_SIDE 16

struct picture {
    VAPictureParameterBufferH264 param;
    VAIQMatrixBufferH264 matrix;
    VASliceParameterBufferH264 slice;
    uint8_t data[512];
    uint32_t data_size;
};

/* The samples of an IDR picture; none is 0, so nothing needs escaping. */
static inline uint8_t picture_luma(unsigned x, unsigned y)
{
    return (uint8_t)(16 + y * 13 + x * 3 % 17);
}

static inline uint8_t picture_chroma(int v, unsigned x, unsigned y)
{
    return (uint8_t)(40 + v * 90 + y * 5 + x);
}

static inline void picture_common(struct picture *p, uint32_t surface)
{
    memset(p, 0, sizeof(*p));
    p->param.CurrPic.picture_id = surface;
    for (int i = 0; i < 16; i++) {
        p->param.ReferenceFrames[i].picture_id = VA_INVALID_ID;
        p->param.ReferenceFrames[i].flags = VA_PICTURE_H264_INVALID;
    }
    for (int i = 0; i < 32; i++) {
        p->slice.RefPicList0[i].picture_id = p->slice.RefPicList1[i].picture_id = VA_INVALID_ID;
        p->slice.RefPicList0[i].flags = p->slice.RefPicList1[i].flags = VA_PICTURE_H264_INVALID;
    }
    p->param.num_ref_frames = 1;
    p->param.seq_fields.bits.chroma_format_idc = 1;
    p->param.seq_fields.bits.frame_mbs_only_flag = 1;
    p->param.seq_fields.bits.direct_8x8_inference_flag = 1;
    p->param.pic_fields.bits.reference_pic_flag = 1;
    memset(p->matrix.ScalingList4x4, 16, sizeof(p->matrix.ScalingList4x4));
    memset(p->matrix.ScalingList8x8, 16, sizeof(p->matrix.ScalingList8x8));
}

static inline void picture_finish(struct picture *p, struct bits_writer *w)
{
    bits_write_trailing(w);
    p->data_size = (uint32_t)w->used;
    p->slice.slice_data_size = p->data_size;
    p->slice.slice_data_flag = VA_SLICE_DATA_FLAG_ALL;
}

/* A sample of more than 8 bits; one with more bits below it, none of them 0. */
static inline uint16_t picture_deep(uint8_t sample, uint32_t bits)
{
    uint32_t more = bits - 8;

    return (uint16_t)((uint32_t)sample << more | ((1u << more) - 1));
}

/* The picture with samples of `bits` bits. */
static inline void picture_idr_deep(struct picture *p, uint32_t surface, uint32_t bits)
{
    struct bits_writer w;

    picture_common(p, surface);
    p->param.bit_depth_luma_minus8 = p->param.bit_depth_chroma_minus8 = (uint8_t)(bits - 8);
    p->slice.slice_type = 7;
    bits_write_init(&w, p->data, sizeof(p->data));
    bits_write(&w, 8, 0x65);
    bits_write_ue(&w, 0);  /* first_mb_in_slice */
    bits_write_ue(&w, 7);  /* slice_type I */
    bits_write_ue(&w, 0);  /* pic_parameter_set_id */
    bits_write(&w, 4, 0);  /* frame_num */
    bits_write_ue(&w, 0);  /* idr_pic_id */
    bits_write(&w, 4, 0);  /* pic_order_cnt_lsb */
    bits_write(&w, 2, 0);  /* no_output_of_prior_pics_flag, long_term_reference_flag */
    bits_write_se(&w, 0);  /* slice_qp_delta */
    bits_write_ue(&w, 25); /* mb_type I_PCM */
    while (w.count % 8)
        bits_write(&w, 1, 0);
    for (unsigned i = 0; i < 256; i++)
        bits_write(&w, bits, picture_deep(picture_luma(i % 16, i / 16), bits));
    for (unsigned i = 0; i < 128; i++)
        bits_write(&w, bits, picture_deep(picture_chroma(i / 64, i % 8, i % 64 / 8), bits));
    picture_finish(p, &w);
}

static inline void picture_idr(struct picture *p, uint32_t surface)
{
    picture_idr_deep(p, surface, 8);
}

static inline void picture_p(struct picture *p, uint32_t surface, uint32_t reference, uint32_t n)
{
    struct bits_writer w;

    picture_common(p, surface);
    p->slice.slice_type = 5;
    p->param.frame_num = (uint16_t)(n % 16);
    p->param.CurrPic.frame_idx = n % 16;
    p->param.CurrPic.TopFieldOrderCnt = p->param.CurrPic.BottomFieldOrderCnt = (int32_t)(2 * n);
    p->param.ReferenceFrames[0] = (VAPictureH264){
        .picture_id = reference,
        .frame_idx = (n - 1) % 16,
        .flags = VA_PICTURE_H264_SHORT_TERM_REFERENCE,
        .TopFieldOrderCnt = (int32_t)(2 * n - 2),
        .BottomFieldOrderCnt = (int32_t)(2 * n - 2),
    };
    p->slice.RefPicList0[0] = p->param.ReferenceFrames[0];
    bits_write_init(&w, p->data, sizeof(p->data));
    bits_write(&w, 8, 0x41);
    bits_write_ue(&w, 0);          /* first_mb_in_slice */
    bits_write_ue(&w, 5);          /* slice_type P */
    bits_write_ue(&w, 0);          /* pic_parameter_set_id */
    bits_write(&w, 4, n % 16);     /* frame_num */
    bits_write(&w, 4, 2 * n % 16); /* pic_order_cnt_lsb */
    bits_write(&w, 1, 0);          /* num_ref_idx_active_override_flag */
    bits_write(&w, 1, 0);          /* ref_pic_list_modification_flag_l0 */
    bits_write(&w, 1, 0);          /* adaptive_ref_pic_marking_mode_flag */
    bits_write_se(&w, 0);          /* slice_qp_delta */
    bits_write_ue(&w, 1);          /* mb_skip_run */
    picture_finish(p, &w);
}

#endif
