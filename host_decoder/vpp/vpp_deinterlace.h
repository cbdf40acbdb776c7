/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_DEINTERLACE_H
#define HOST_VPP_DEINTERLACE_H

#include "vpp_plan.h"

/*
 * The whole picture of one field. The frame is in the input's format, or in its planes, and stays
 * until the next call. 0, -VD_ERR_MEMORY, -VD_ERR_UNSUPPORTED.
 */
int vpp_deinterlace(struct vpp *vpp, const struct vpp_plan *plan,
                    const struct vpp_pipeline *pipeline, AVFrame **ret_frame);
void vpp_deinterlace_finish(struct vpp *vpp);

#endif
