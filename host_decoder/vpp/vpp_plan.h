/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_PLAN_H
#define HOST_VPP_PLAN_H

#include "vpp_color.h"
#include "vpp_frame.h"
#include "vpp_scale.h"

/* Colour balance. */
struct vpp_balance {
    float hue, saturation, brightness, contrast;
};

/* What one pipeline asks for, with all values checked. */
struct vpp_plan {
    const struct vpp_format *from, *to;
    struct vpp_rect source; /* inside the input */
    struct vpp_rect dest;   /* may reach beyond the target */
    bool nothing;           /* no pixel of it is visible */
    int stream;             /* tells states of filters apart: the place of the pipeline */
    /* Turning: x and y change places first, then mirrors. */
    bool transpose, flip_x, flip_y;
    struct vpp_color from_color, to_color;
    bool recolor; /* more than swscale can: another matrix, other light */
    bool light;   /* light is converted, so a table is needed */
    /* Tone mapping, in units of 100 cd/m2: of the input, 0: none; of the output, 0: it is SDR. */
    double peak, to_peak;
    enum vpp_quality quality;
    int deinterlace; /* VAProcDeinterlacingType */
    bool bottom;     /* deinterlacing: the field to be seen is the bottom one */
    bool second;     /* it is the second in time */
    float denoise, sharpen;
    struct vpp_balance balance;
    bool balanced;
    bool blend, premultiplied, pixel_alpha;
    float alpha;
};

/* 0, -VD_ERR_PARAMETER, -VD_ERR_UNSUPPORTED. */
int vpp_plan_make(const struct vpp_pipeline *pipeline, const struct pixels *target, int index,
                  struct vpp_plan *ret_plan);

#endif
