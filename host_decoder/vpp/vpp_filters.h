/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_FILTERS_H
#define HOST_VPP_FILTERS_H

#include "vpp_plan.h"

/*
 * Filters from a frame to another, which stays until the same filter runs again. 0,
 * -VD_ERR_MEMORY, -VD_ERR_UNSUPPORTED.
 */

/* Noise reduction and sharpening, on planes of YUV. */
int vpp_filters_denoise(struct vpp *vpp, const struct vpp_plan *plan, AVFrame *from,
                        AVFrame **ret_frame);
int vpp_filters_sharpen(struct vpp *vpp, const struct vpp_plan *plan, AVFrame *from,
                        AVFrame **ret_frame);
/* Colour balance, on planes of YUV. */
int vpp_filters_balance(struct vpp *vpp, const struct vpp_plan *plan, bool full_range,
                        AVFrame *from, AVFrame **ret_frame);
/* Rotation and mirrors, on any frame of FFmpeg's. */
int vpp_filters_turn(struct vpp *vpp, const struct vpp_plan *plan, AVFrame *from,
                     AVFrame **ret_frame);
void vpp_filters_finish(struct vpp *vpp);

#endif
