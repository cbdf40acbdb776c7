/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_BLEND_H
#define HOST_VPP_BLEND_H

#include "vpp_plan.h"

/* The format with samples like the target's, all of them at each pixel, and alpha. */
enum AVPixelFormat vpp_blend_layer(enum AVPixelFormat target);
/*
 * Draws a layer over the target, its left upper corner at (x, y), which may be outside. Alpha of
 * pixels counts if plan->pixel_alpha says so.
 */
void vpp_blend_draw(struct vpp *vpp, const struct vpp_plan *plan, const AVFrame *layer,
                    const AVFrame *target, int x, int y);
/* Fills a frame with a colour, ARGB as VAProcPipelineParameterBuffer has it. */
void vpp_blend_fill(const AVFrame *target, const struct vpp_color *color, uint32_t argb);

#endif
