/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_INPUT_H
#define HOST_VPP_INPUT_H

#include "vpp_plan.h"

/*
 * Planes of YUV of a picture, for filters. Those of RGB are in full range, and in the matrix of
 * `color`. 0, -VD_ERR_MEMORY, -VD_ERR_UNSUPPORTED.
 */
int vpp_input_planes(struct vpp *vpp, enum vpp_scratch scratch, enum vpp_wrap wrap,
                     const struct vpp_format *format, const struct pixels *pixels,
                     const struct vpp_color *color, AVFrame **ret_frame);
/* The same of a frame that may be planes already. */
int vpp_input_frame_planes(struct vpp *vpp, enum vpp_scratch scratch, AVFrame *frame,
                           enum AVPixelFormat format, const struct vpp_color *color,
                           AVFrame **ret_frame);

#endif
