/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_LUT_H
#define HOST_VPP_LUT_H

#include "vpp_plan.h"

/*
 * Conversion of colour that is more than a range: another matrix, other primaries, another
 * transfer, HDR to SDR. One table of three dimensions, made once for a pair of colours, stands for
 * all the arithmetic.
 *
 * Both frames are planes of YUV of one size and subsampling; with alpha, of one format. 0,
 * -VD_ERR_MEMORY.
 */
int vpp_lut_run(struct vpp *vpp, const struct vpp_plan *plan, const struct vpp_color *from_color,
                const AVFrame *from, AVFrame *to);
void vpp_lut_finish(struct vpp *vpp);

#endif
