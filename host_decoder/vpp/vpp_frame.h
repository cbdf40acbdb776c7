/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_FRAME_H
#define HOST_VPP_FRAME_H

#include "vpp_format.h"
#include "vpp_state.h"

/* Part of a picture, in pixels. */
struct vpp_rect {
    int x, y, width, height;
};

/* The frame that stands for `pixels` as they lie in memory. The format has a `direct`. */
AVFrame *vpp_frame_wrap(struct vpp *vpp, enum vpp_wrap which, const struct vpp_format *format,
                        const struct pixels *pixels);
/*
 * A part of a frame, which stays where it is. The part is inside; `from` must not be wrap[which].
 * `opaque` of the part says that pixels of the whole are to the right of it.
 */
AVFrame *vpp_frame_part(struct vpp *vpp, enum vpp_wrap which, const AVFrame *from,
                        const struct vpp_rect *part);
/* A frame of the processor's own. NULL: no memory. */
AVFrame *vpp_frame_scratch(struct vpp *vpp, enum vpp_scratch which, enum AVPixelFormat format,
                           int width, int height);
/* Bytes of a row, and rows, of a plane. */
int vpp_frame_row_bytes(const AVFrame *frame, int plane);
int vpp_frame_rows(const AVFrame *frame, int plane);
/* Copies between frames of one format and size. */
void vpp_frame_copy_plane(const AVFrame *to, const AVFrame *from, int plane);
void vpp_frame_copy(const AVFrame *to, const AVFrame *from);

/*
 * Planes of `pixels` in their format's `planar`: the memory itself where it is planes already,
 * else a scratch frame, of which luma may still be the memory itself. NULL: no memory.
 */
AVFrame *vpp_frame_planes(struct vpp *vpp, enum vpp_scratch scratch, enum vpp_wrap wrap,
                          const struct vpp_format *format, const struct pixels *pixels);
/* Brings planes, of format->planar, into pixels that have no `direct`. */
void vpp_frame_pack(const struct vpp_format *format, const AVFrame *from,
                    const struct pixels *pixels);
/*
 * From one arrangement of the same samples, or of more bits, to another at the same size, without
 * a scaler. False: not one of those that are known.
 */
bool vpp_frame_shuffle(const AVFrame *to, const AVFrame *from, bool full_range);

#endif
