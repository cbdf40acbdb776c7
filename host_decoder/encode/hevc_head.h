/* SPDX-License-Identifier: MIT */
#ifndef HOST_HEVC_HEAD_H
#define HOST_HEVC_HEAD_H

#include "hevc_sets.h"

/*
 * H.265 slice segment headers (7.3.6.1): an encoder's, read under its parameter sets, and written
 * under others. The slice segment data behind a header stays as it is: it starts at a byte, and as
 * byte_alignment() ends with a byte that is not zero, its emulation prevention bytes are right
 * behind any header. Entry points count bytes of the data only.
 */

/* Bytes of a header without emulation prevention: 600 entry points of 4 bytes, weights, a set. */
#define HEVC_HEAD_ROOM 4096

enum hevc_slice_type { HEVC_SLICE_B, HEVC_SLICE_P, HEVC_SLICE_I };

struct hevc_head {
    enum hevc_nal nal;
    bool first, no_output, dependent;
    uint8_t pps_id;
    uint32_t address;
    enum hevc_slice_type type;
    uint32_t poc_lsb;
    struct hevc_set set;
    bool temporal_mvp, sao_luma, sao_chroma, mvd_l1_zero, cabac_init, collocated_from_l0;
    uint8_t active[2]; /* num_ref_idx_lX_active_minus1 + 1; 0: the slice has no such list */
    uint8_t collocated, five_minus_merge;
    int8_t qp, cb_qp_offset, cr_qp_offset; /* qp: SliceQpY */
    bool deblocking_disabled, loop_filter_across;
    int8_t beta_offset_div2, tc_offset_div2;
    uint64_t weights, weights_end; /* bits of pred_weight_table(), if there is one */
    uint64_t points, points_end;   /* bits from num_entry_point_offsets, if there are any */
    size_t data;                   /* where slice_segment_data() starts, a byte of the NAL unit */
};

/* The sets a slice is read with, by their ids. */
struct hevc_head_sets {
    const struct hevc_pps *pps; /* HEVC_SETS_PPS of them */
    uint64_t pps_known;         /* a bit each */
    const struct hevc_sps *sps;
    const struct hevc_set *sets; /* of the SPS */
};

static inline bool hevc_head_is_irap(enum hevc_nal nal)
{
    return nal >= HEVC_NAL_BLA_W_LP && nal <= HEVC_NAL_CRA;
}

static inline bool hevc_head_is_idr(enum hevc_nal nal)
{
    return nal == HEVC_NAL_IDR_W_RADL || nal == HEVC_NAL_IDR_N_LP;
}

/* NumPicTotalCurr, if no picture is a long-term one. */
unsigned hevc_head_used(const struct hevc_set *set);

/* VD_ERR_DECODE if the header is not legal, or has what cannot be written anew. */
int hevc_head_read(const uint8_t *nal, size_t size, const struct hevc_head_sets *sets,
                   struct hevc_head *ret_head);

/*
 * Whether `head`, read under `from`, can be written under `to`, and the data decodes to the same.
 * `slices`: the picture has more than one.
 */
bool hevc_head_fits(const struct hevc_head *head, const struct hevc_pps *from,
                    const struct hevc_pps *to, bool slices);

/*
 * Writes the NAL unit header and the slice segment header, without emulation prevention. `head`
 * has the new NAL unit type, PPS, POC and set; `source` is what it was read from.
 */
int hevc_head_write(const struct hevc_head *head, const struct hevc_sps *sps,
                    const struct hevc_pps *pps, const uint8_t *source, struct bits_writer *writer);

#endif
