/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_HEVC_RPS_H
#define VIADUCT_HEVC_RPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <va/va.h>

#include "bits.h"

/*
 * H.265 picture order counts and reference picture sets (8.3.1, 8.3.2), in the decoder's terms.
 *
 * The decoder finds references by their picture order count, and derives that of a picture from
 * its lower bits and from the pictures before. The app did the same, but not always on the same
 * pictures: it may have seeked, met an end of sequence, or dropped pictures, and then counts
 * differently. So what the decoder has is kept here by both counts, and sets are written with the
 * decoder's.
 */

#define HEVC_REFS 15 /* ReferenceFrames of VA */

/* nal_unit_type, table 7-1 */
enum hevc_nal {
    HEVC_NAL_TRAIL_N = 0,
    HEVC_NAL_TRAIL_R = 1,
    HEVC_NAL_RADL_N = 6,
    HEVC_NAL_RASL_N = 8,
    HEVC_NAL_RASL_R = 9,
    HEVC_NAL_BLA_W_LP = 16,
    HEVC_NAL_BLA_N_LP = 18,
    HEVC_NAL_IDR_W_RADL = 19,
    HEVC_NAL_IDR_N_LP = 20,
    HEVC_NAL_CRA = 21,
    HEVC_NAL_VPS = 32,
    HEVC_NAL_SPS = 33,
    HEVC_NAL_PPS = 34,
    HEVC_NAL_AUD = 35,
    HEVC_NAL_EOS = 36,
    HEVC_NAL_EOB = 37,
    HEVC_NAL_FD = 38,
    HEVC_NAL_PREFIX_SEI = 39,
    HEVC_NAL_SUFFIX_SEI = 40,
};

/* A picture that the decoder keeps, or has filled in because it was missing. */
struct hevc_dpb_entry {
    VASurfaceID surface;
    int32_t app_poc; /* VA's */
    int32_t poc;     /* the decoder's */
    bool missing;
};

/* All zero: nothing was decoded yet. */
struct hevc_dpb {
    struct hevc_dpb_entry entry[HEVC_REFS + 1];
    unsigned count;
    int32_t prev_tid0_poc; /* POC of prevTid0Pic, the decoder's */
    int32_t base;          /* what VA's counts are more than those that are written */
};

/* One reference of a picture. */
struct hevc_ref {
    unsigned index; /* in ReferenceFrames */
    int32_t poc;    /* the decoder's */
    bool used;      /* by the current picture: Curr, not Foll */
    bool long_term;
    bool msb;     /* long term: the lower bits alone would be ambiguous */
    bool missing; /* the decoder does not have it */
};

struct hevc_rps {
    int32_t poc;  /* of the current picture, the decoder's */
    int32_t base; /* of hevc_dpb, from this picture on */
    /*
     * In the order of the bits: short-term ones before the current picture, closest first, then
     * those after it, closest first, then long-term ones.
     */
    struct hevc_ref ref[HEVC_REFS];
    unsigned before, after, long_term; /* counts */
    unsigned total_curr;               /* NumPicTotalCurr */
    /*
     * Nothing of what the decoder has is a reference any more. Unless the picture itself says so
     * (IDR, BLA), an end of sequence before it keeps old counts from getting into its way.
     */
    bool new_sequence;
};

/*
 * The set of a picture whose slices are of type `nal`. VD_ERR_PARAMETER if it cannot be written.
 */
int hevc_rps_derive(const struct hevc_dpb *dpb, const VAPictureParameterBufferHEVC *picture,
                    enum hevc_nal nal, struct hevc_rps *ret_rps);

/*
 * VA does not tell the order of long-term references. `order[i]` is the index in ReferenceFrames
 * of the i-th one that is used, as far as known, else HEVC_REFS or more.
 */
void hevc_rps_order_long_term(struct hevc_rps *rps, const unsigned *order);

/* Writes slice_pic_order_cnt_lsb up to the last bit of long-term pictures (7.3.6.1). */
void hevc_rps_write(const struct hevc_rps *rps, struct bits_writer *writer);

/* The picture has been handed to the decoder. */
void hevc_rps_commit(struct hevc_dpb *dpb, const VAPictureParameterBufferHEVC *picture,
                     enum hevc_nal nal, unsigned temporal_id, const struct hevc_rps *rps);

#endif
