/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODE_H264_SETS_H
#define HOST_ENCODE_H264_SETS_H

#include <stdbool.h>
#include <stdint.h>

#include "h264_nal.h"

/* Parameter sets of H.264, as far as slices depend on them. */

struct h264_sps {
    bool valid;
    bool scaling, flat; /* there are scaling lists; all of them are 16, as if there were none */
    bool frame_mbs_only, transform_bypass, delta_always_zero;
    uint8_t profile_idc, level_idc, chroma_format, depth_luma, depth_chroma;
    uint8_t log2_frame_num, poc_type, log2_poc_lsb, ref_frames;
    uint16_t width, height;            /* macroblocks of a frame */
    uint16_t left, right, top, bottom; /* cropping in pixels, less than the size */
};

struct h264_pps {
    bool valid;
    bool flat; /* together with its SPS */
    bool cabac, pic_order, weighted, deblocking_control, constrained_intra, redundant;
    bool transform_8x8;
    uint8_t sps_id, ref_count, ref_count_l1, weighted_bipred;
    int8_t init_qp; /* 26 added */
    int8_t cb_offset, cr_offset;
};

#define H264_SPS_COUNT 32
#define H264_PPS_COUNT 256

/* What one side has sent so far. All zero: nothing. */
struct h264_sets {
    struct h264_sps sps[H264_SPS_COUNT];
    struct h264_pps pps[H264_PPS_COUNT];
};

/*
 * Takes up an SPS or a PPS; other NAL units are left alone. VD_ERR_PARAMETER if it breaks the
 * standard, VD_ERR_UNSUPPORTED if it says what no slice here follows (slice groups, separate
 * colour planes). `ret_id`: of the set, may be NULL.
 */
int h264_sets_read(struct h264_sets *sets, const struct h264_nal *nal, uint32_t *ret_id);

#endif
