/* SPDX-License-Identifier: MIT */
#include "vpp_input.h"

#include <viaduct/errors.h>

int vpp_input_frame_planes(struct vpp *vpp, enum vpp_scratch scratch, AVFrame *frame,
                           enum AVPixelFormat format, const struct vpp_color *color,
                           AVFrame **ret_frame)
{
    AVFrame *planes;

    if (frame->format == (int)format) {
        *ret_frame = frame;
        return 0;
    }
    planes = vpp_frame_scratch(vpp, scratch, format, frame->width, frame->height);
    if (!planes)
        return VD_ERR_MEMORY;
    *ret_frame = planes;
    return vpp_scale(vpp, frame, color, planes, color, VPP_QUALITY_HIGH);
}

int vpp_input_planes(struct vpp *vpp, enum vpp_scratch scratch, enum vpp_wrap wrap,
                     const struct vpp_format *format, const struct pixels *pixels,
                     const struct vpp_color *color, AVFrame **ret_frame)
{
    AVFrame *frame = vpp_frame_planes(vpp, scratch, wrap, format, pixels);

    if (frame) {
        *ret_frame = frame;
        return 0;
    }
    if (format->direct == AV_PIX_FMT_NONE)
        return VD_ERR_MEMORY;
    return vpp_input_frame_planes(vpp, scratch, vpp_frame_wrap(vpp, wrap, format, pixels),
                                  format->planar, color, ret_frame);
}
