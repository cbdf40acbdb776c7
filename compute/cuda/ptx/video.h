/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_VIDEO_H
#define VIADUCT_PTX_VIDEO_H

#include "flow.h"

/* Video instructions of PTX ("Scalar Video Instructions", "SIMD Video Instructions"). */

enum video_op {
    VIDEO_ADD,
    VIDEO_SUB,
    VIDEO_ABSDIFF,
    VIDEO_MIN,
    VIDEO_MAX,
    VIDEO_AVERAGE,
    VIDEO_SHL,
    VIDEO_SHR,
    VIDEO_MAD,
    VIDEO_SET,
};

enum video_second {
    VIDEO_NONE,
    VIDEO_PLUS,
    VIDEO_LEAST,
    VIDEO_MOST,
    VIDEO_MERGE, /* into the part `d_part` of c, scalar */
};

enum video_compare { VIDEO_EQ, VIDEO_NE, VIDEO_LT, VIDEO_LE, VIDEO_GT, VIDEO_GE };

/* A part of a register: its bytes 0 to 3, its halves 4 and 5, all of it. */
#define VIDEO_HALF  4u
#define VIDEO_WHOLE 6u

/* What an instruction does, in its 64 bits. */
struct video_form {
    uint64_t op : 4, lanes : 3; /* parts at a time: 1, 2, 4 */
    uint64_t a_signed : 1, b_signed : 1, d_signed : 1, saturate : 1;
    uint64_t second : 3, compare : 3;
    uint64_t a_part : 12, b_part : 12; /* scalar: one; else three bits a lane, from the first on */
    uint64_t d_part : 4;               /* scalar: one; else a bit a lane */
    uint64_t wrap : 1;                 /* shifts */
    uint64_t plus_one : 1, minus_product : 1, minus_c : 1, shift : 4; /* vmad */
};

HANDLER(video_scalar); /* d; a, b, c */
HANDLER(video_lanes);

#endif
