/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_H264_PS_H
#define VIADUCT_H264_PS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <va/va.h>

#include "h264_poc.h"

/*
 * H.264 parameter sets as bytes, written from VA structs. No state: what was sent before is the
 * business of h264.c.
 */

/* Bytes that hold any NAL unit written here, start code and emulation prevention included. */
#define H264_SPS_ROOM 512
#define H264_PPS_ROOM 1024

/*
 * A PPS without its id and its num_ref_idx_default_active: what all PPSs of a picture share, as
 * VA has only one. Bytes only, so that equal ones can be found with memcmp.
 */
struct h264_pps {
    uint8_t entropy_coding_mode_flag;
    uint8_t pic_order_present_flag;
    uint8_t weighted_pred_flag;
    uint8_t weighted_bipred_idc;
    int8_t pic_init_qp_minus26;
    int8_t pic_init_qs_minus26;
    int8_t chroma_qp_index_offset;
    int8_t second_chroma_qp_index_offset;
    uint8_t deblocking_filter_control_present_flag;
    uint8_t constrained_intra_pred_flag;
    uint8_t redundant_pic_cnt_present_flag;
    uint8_t transform_8x8_mode_flag;
    uint8_t scaling; /* whether the lists are not flat */
    uint8_t list4x4[6][16];
    uint8_t list8x8[2][64];
};

/*
 * Whether legal parameter sets can be made of `picture`. VD_ERR_PARAMETER if a value breaks the
 * standard, VD_ERR_UNSUPPORTED if VA cannot express what it asks for.
 */
int h264_ps_check(const VAPictureParameterBufferH264 *picture);

/*
 * Fills `ret_pps` from `picture`, which has passed h264_ps_check, and `matrix`; NULL is flat.
 * Errors as h264_ps_check.
 */
int h264_ps_collect(const VAPictureParameterBufferH264 *picture, const VAIQMatrixBufferH264 *matrix,
                    struct h264_pps *ret_pps);

/* pic_height_in_map_units of the SPS; `context_height` in pixels settles what apps mean. */
uint32_t h264_ps_map_units(const VAPictureParameterBufferH264 *picture, uint32_t context_height);

/*
 * Write a NAL unit with a four-byte start code; `poc` matters for pic_order_cnt_type 1 only.
 * VD_ERR_LIMIT if it does not fit into `room`.
 */
int h264_ps_write_sps(const VAPictureParameterBufferH264 *picture, uint32_t map_units,
                      const struct h264_poc *poc, uint8_t *data, size_t room, size_t *ret_size);
int h264_ps_write_pps(const struct h264_pps *pps, uint32_t id, uint32_t default_l0,
                      uint32_t default_l1, uint8_t *data, size_t room, size_t *ret_size);

#endif
