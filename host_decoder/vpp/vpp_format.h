/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_FORMAT_H
#define HOST_VPP_FORMAT_H

#include <libavutil/pixfmt.h>
#include <stdbool.h>
#include <stdint.h>

/* How a surface format looks to FFmpeg's libraries. */
struct vpp_format {
    uint32_t fourcc;
    /* The same bytes, for swscale and filters that take any layout; NONE: there is no such. */
    enum AVPixelFormat direct;
    /* Planes of YUV, for the filters that want such; no loss but for RGB. */
    enum AVPixelFormat planar;
    uint8_t order[3]; /* VA plane that is FFmpeg's plane i, for `direct` */
    bool rgb, alpha;
};

/*
 * Samples may have bits set above those that count, which filters look up in tables: they must not
 * get such a picture as it is.
 */
bool vpp_format_loose(const struct vpp_format *format);
/* NULL: not a format of the processor. */
const struct vpp_format *vpp_format_find(uint32_t fourcc);
const struct vpp_format *vpp_format_at(unsigned index);

/* Bits of a sample of an FFmpeg format, log2 of its chroma subsampling, whether it is RGB. */
int vpp_format_bits(enum AVPixelFormat format);
int vpp_format_shift_w(enum AVPixelFormat format);
int vpp_format_shift_h(enum AVPixelFormat format);
bool vpp_format_rgb(enum AVPixelFormat format);
/* Only planes of their own for each component, in FFmpeg's order. */
bool vpp_format_planar(enum AVPixelFormat format);

#endif
