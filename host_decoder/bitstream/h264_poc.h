/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_H264_POC_H
#define VIADUCT_H264_POC_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Offsets for pic_order_cnt_type 1. They are in the SPS, VA does not have them; VA has the order
 * counts that they lead to, from which an SPS is solved for every frame.
 */

/*
 * The offsets of an SPS (7.4.2.1.1). Those for reference frames are `ref` for the first and
 * `-ref` for the last one of a cycle of `cycle` frames, and zero in between.
 */
struct h264_poc {
    int32_t non_ref;
    int32_t top_to_bottom;
    int32_t ref;
    uint8_t cycle;
};

/* What is known about one picture. */
struct h264_poc_picture {
    int64_t top, bottom; /* from VAPictureH264; a field has only its own */
    int64_t delta[2];    /* delta_pic_order_cnt of the slice header */
    uint32_t frame_num;
    uint32_t max_frame_num;
    bool idr, reference;
    bool field, bottom_field;
};

/* What is remembered from picture to picture; starts zeroed. */
struct h264_poc_state {
    uint64_t frame_num_offset; /* best guess of FrameNumOffset (8.2.1.2) */
    uint32_t frame_num;
    int64_t top_to_bottom; /* the stream's own, once it is known */
    bool top_to_bottom_known;
    /* The last picture was a first field: its second one has to do with the same SPS. */
    bool first_field;
    struct h264_poc_picture first;
    struct h264_poc poc;
};

/*
 * Finds offsets that make a decoder compute the order counts of `picture`. VD_ERR_PARAMETER if
 * there are none because numbers are out of range.
 */
int h264_poc_solve(struct h264_poc_state *state, const struct h264_poc_picture *picture,
                   struct h264_poc *ret_poc);

#endif
