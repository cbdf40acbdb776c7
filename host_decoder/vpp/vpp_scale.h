/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_SCALE_H
#define HOST_VPP_SCALE_H

#include "vpp_color.h"
#include "vpp_frame.h"

enum vpp_quality { VPP_QUALITY_FAST, VPP_QUALITY_DEFAULT, VPP_QUALITY_HIGH };

/*
 * Scales and converts `from` into `to`, both in the same matrix and light; ranges may differ. A
 * plain copy where nothing is to be done. `to` may be part of a picture: nothing beside it is
 * written. 0, -VD_ERR_UNSUPPORTED, -VD_ERR_MEMORY.
 */
int vpp_scale(struct vpp *vpp, const AVFrame *from, const struct vpp_color *from_color, AVFrame *to,
              const struct vpp_color *to_color, enum vpp_quality quality);
void vpp_scale_finish(struct vpp *vpp);

#endif
