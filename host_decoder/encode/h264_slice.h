/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODE_H264_SLICE_H
#define HOST_ENCODE_H264_SLICE_H

#include <stdbool.h>
#include <stdint.h>

#include "../bitstream/bits.h"
#include "h264_sets.h"

/* Slice headers of H.264: I and P slices of frames, read and written. */

#define H264_MAX_REFS  32
#define H264_MAX_MODS  33 /* reference picture list modifications */
#define H264_MAX_MMCOS 32 /* memory management control operations */

struct h264_mmco {
    uint8_t op;          /* 1 to 6 */
    uint8_t index;       /* long_term_pic_num, long_term_frame_idx, max_long_term_frame_idx_plus1 */
    uint16_t difference; /* difference_of_pic_nums_minus1 */
};

/* What all slices of a picture have in common. */
struct h264_picture {
    bool idr;
    uint8_t ref_idc;
    uint8_t mmco_count;                      /* 0: sliding window */
    bool no_output_of_prior_pics, long_term; /* of an IDR picture */
    uint16_t frame_num, idr_pic_id, poc_lsb;
    int32_t delta_bottom, delta_poc[2];
    struct h264_mmco mmco[H264_MAX_MMCOS];
};

struct h264_mod {
    uint8_t op;     /* 0 and 1: nearer and farther short-term, 2: long-term */
    uint32_t value; /* abs_diff_pic_num_minus1 or long_term_pic_num */
};

struct h264_slice {
    struct h264_picture picture;
    uint32_t first_mb, type; /* 0 to 9 */
    uint8_t pps_id;
    uint8_t ref_count; /* num_ref_idx_l0_active, of a P slice */
    uint8_t mod_count;
    struct h264_mod mod[H264_MAX_MODS];
    uint8_t cabac_init_idc, deblocking_idc; /* disable_deblocking_filter_idc */
    int8_t qp;                              /* of the slice */
    int8_t alpha, beta;
    bool weights; /* there is a pred_weight_table */
    struct bits_reader weights_at;
    uint64_t weights_bits;
    uint64_t bits; /* NAL header and slice header */
    bool payload;  /* something follows them */
};

static inline bool h264_slice_is_p(const struct h264_slice *slice)
{
    return slice->type % 5 == 0;
}

/*
 * VD_ERR_UNSUPPORTED for fields, B and switching slices, VD_ERR_PARAMETER if it breaks the
 * standard or refers to sets that are not there. `nal` is to outlive the result.
 */
int h264_slice_read(const struct h264_sets *sets, const struct h264_nal *nal,
                    struct h264_slice *ret_slice);

/* NAL header and slice header, for these sets; an error is the writer's. */
void h264_slice_write(struct bits_writer *writer, const struct h264_sps *sps,
                      const struct h264_pps *pps, const struct h264_slice *slice);

#endif
