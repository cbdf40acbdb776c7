/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_HEVC_PS_H
#define VIADUCT_HEVC_PS_H

#include <stddef.h>
#include <stdint.h>

#include <va/va.h>

/*
 * H.265 parameter sets as bytes, written from VA structs. No state: what was sent before is the
 * business of hevc.c.
 */

/* Bytes that hold any NAL unit written here, start code and emulation prevention included. */
#define HEVC_VPS_ROOM 64
#define HEVC_SPS_ROOM 256
#define HEVC_PPS_ROOM 4096

/* log2_max_pic_order_cnt_lsb_minus4 + 4 of every SPS written: the most there can be. */
#define HEVC_POC_LSB_BITS 16

/* What the structs of a picture say. */
struct hevc_params {
    int profile; /* VAProfile */
    const VAPictureParameterBufferHEVC *picture;
    const VAPictureParameterBufferHEVCRext *rext; /* NULL: no range extensions */
    const VAIQMatrixBufferHEVC *matrix;           /* NULL: the standard's default lists, if any */
};

/*
 * Whether legal parameter sets can be made of `params`. VD_ERR_PARAMETER if a value breaks the
 * standard, VD_ERR_UNSUPPORTED for tools that no decoder here has.
 */
int hevc_ps_check(const struct hevc_params *params);

/* Samples of a coding tree block's side, of a picture that has passed hevc_ps_check. */
uint32_t hevc_ps_ctb_size(const VAPictureParameterBufferHEVC *picture);

/*
 * Write a NAL unit with a four-byte start code; `params` have passed hevc_ps_check. VD_ERR_LIMIT
 * if it does not fit into `room`.
 */
int hevc_ps_write_vps(const struct hevc_params *params, uint8_t *data, size_t room,
                      size_t *ret_size);
int hevc_ps_write_sps(const struct hevc_params *params, uint8_t *data, size_t room,
                      size_t *ret_size);
int hevc_ps_write_pps(const struct hevc_params *params, uint32_t id, uint8_t *data, size_t room,
                      size_t *ret_size);

#endif
