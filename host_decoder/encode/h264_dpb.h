/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODE_H264_DPB_H
#define HOST_ENCODE_H264_DPB_H

#include <stdbool.h>
#include <stdint.h>

#include "h264_slice.h"

/*
 * The reference pictures that a decoder holds (8.2.4, 8.2.5), frames only. There are two: of a
 * decoder that is given the encoder's stream, and of one that is given the app's. A picture has
 * the same serial number in both: that says which pictures of the one are which of the other.
 */

#define H264_DPB_ROOM 16

struct h264_reference {
    uint32_t serial; /* 0: a frame that does not exist (a gap in frame_num) */
    uint16_t frame_num;
    bool long_term;
    uint8_t index; /* LongTermFrameIdx */
};

/* All zero: nothing in it. */
struct h264_dpb {
    struct h264_reference ref[H264_DPB_ROOM];
    unsigned count;
    uint16_t last_frame_num; /* PrevRefFrameNum */
};

/* Before a picture: fills a gap in frame_num. */
void h264_dpb_begin(struct h264_dpb *dpb, const struct h264_sps *sps,
                    const struct h264_picture *picture);

/*
 * RefPicList0 of a P slice as serials; entries without a picture are 0. Returns how many of
 * slice->ref_count entries there are pictures for.
 */
unsigned h264_dpb_list(const struct h264_dpb *dpb, const struct h264_sps *sps,
                       const struct h264_slice *slice, uint32_t ret_list[H264_MAX_REFS]);

/*
 * Sets the modifications of `slice` so that its list begins with `list`; none if it does anyway.
 * VD_ERR_DECODE if a picture of `list` is not there.
 */
int h264_dpb_modify(const struct h264_dpb *dpb, const struct h264_sps *sps, const uint32_t *list,
                    unsigned count, struct h264_slice *slice);

/* After a picture: marks it and the others. */
void h264_dpb_end(struct h264_dpb *dpb, const struct h264_sps *sps,
                  const struct h264_picture *picture, uint32_t serial);

#endif
