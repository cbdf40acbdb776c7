/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_STATE_H
#define HOST_VPP_STATE_H

#include <libavutil/frame.h>
#include <stdbool.h>
#include <stdint.h>

#include "vpp.h"

/*
 * What a processor keeps from picture to picture. All of it has a bound: scalers, graphs and
 * tables are replaced least recently used first.
 */

#define VPP_SCALERS 16
#define VPP_GRAPHS  8
#define VPP_LUTS    3

/* Frames of the processor's own: one use each, so that steps never overwrite their input. */
enum vpp_scratch {
    VPP_SCRATCH_CURRENT, /* planes of the input */
    VPP_SCRATCH_BEFORE,  /* planes of the reference before */
    VPP_SCRATCH_BEHIND,
    VPP_SCRATCH_BOB,
    VPP_SCRATCH_WORK, /* planes for filters, if not the input's own */
    VPP_SCRATCH_BALANCE,
    VPP_SCRATCH_TURN,      /* what can be turned */
    VPP_SCRATCH_MIDDLE,    /* between scaling and a table of colours */
    VPP_SCRATCH_COLOR,     /* behind it */
    VPP_SCRATCH_LAYER,     /* to be blended */
    VPP_SCRATCH_PLACE,     /* on its way to a place that cannot be scaled into */
    VPP_SCRATCH_STEP,      /* on the way to something very large */
    VPP_SCRATCH_GREY_FROM, /* grey as YUV, for swscale */
    VPP_SCRATCH_GREY_TO,
    VPP_SCRATCH_TARGET, /* planes of a target that FFmpeg does not know */
    VPP_SCRATCHES
};

/* Frames that wrap memory of others. */
enum vpp_wrap {
    VPP_WRAP_INPUT,
    VPP_WRAP_BEFORE,
    VPP_WRAP_BEHIND,
    VPP_WRAP_CURRENT,
    VPP_WRAP_TARGET,
    VPP_WRAP_PLACE,
    VPP_WRAP_CROP,
    VPP_WRAP_PUSH,
    VPP_WRAP_FIELD, /* a filter's, not memory of others */
    VPP_WRAPS
};

struct vpp_scaler;
struct vpp_graph;
struct vpp_lut;
struct vpp_slices;
struct vpp_fields;
struct vpp_levels;

struct vpp {
    int threads;
    uint64_t clock;      /* counts uses: the smallest `used` is the oldest */
    AVBufferRef *lender; /* in buf[0] of frames whose memory is others' */
    AVFrame *wrap[VPP_WRAPS];
    AVFrame *scratch[VPP_SCRATCHES];
    struct vpp_scaler *scalers[VPP_SCALERS];
    struct vpp_graph *graphs[VPP_GRAPHS];
    struct vpp_lut *luts[VPP_LUTS];
    void *lut_rows; /* of the threads that look colours up */
    size_t lut_rows_size;
    struct vpp_slices *slices;
    struct vpp_levels *levels; /* colour balance of luma */
    struct vpp_fields *fields; /* the second field of the last picture */
};

#endif
