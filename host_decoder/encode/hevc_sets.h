/* SPDX-License-Identifier: MIT */
#ifndef HOST_HEVC_SETS_H
#define HOST_HEVC_SETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../bitstream/bits.h"
#include "../bitstream/hevc_rps.h"

/*
 * H.265 parameter sets of Main and Main 10, read: those of the app, which the written slices have
 * to be legal under, and those of the encoder, which its slices are read with. Kept is what the
 * syntax and the decoding of slices depend on.
 */

#define HEVC_SETS_RPS    64 /* num_short_term_ref_pic_sets at most */
#define HEVC_SETS_RPS_LT 32 /* num_long_term_ref_pics_sps at most */
#define HEVC_SETS_PPS    64 /* ids of PPS */

struct hevc_sps {
    uint8_t id, level_idc;
    uint8_t chroma_format_idc, bit_depth_luma, bit_depth_chroma;
    uint16_t width, height;             /* coded, luma samples */
    uint16_t shown_width, shown_height; /* without what the conformance window cuts off */
    uint8_t log2_poc_lsb;
    uint8_t dpb; /* sps_max_dec_pic_buffering_minus1 of the highest sub-layer */
    uint8_t log2_min_cb, log2_ctb, log2_min_tb, log2_max_tb;
    uint8_t depth_inter, depth_intra; /* max_transform_hierarchy_depth_* */
    uint8_t rps_count;                /* num_short_term_ref_pic_sets */
    uint8_t rps_lt_count;             /* num_long_term_ref_pics_sps */
    bool separate_planes, extension, scaling_lists, amp, sao, pcm, long_term, temporal_mvp,
        strong_intra;
};

struct hevc_pps {
    uint8_t id, sps_id, extra_header_bits;
    uint8_t active[2]; /* num_ref_idx_lX_default_active_minus1 + 1 */
    int8_t init_qp;    /* init_qp_minus26 + 26 */
    uint8_t diff_cu_qp_delta_depth, log2_merge_level;
    int8_t cb_qp_offset, cr_qp_offset, beta_offset_div2, tc_offset_div2;
    bool dependent_slices, output_flag, sign_hiding, cabac_init, constrained_intra, transform_skip;
    bool cu_qp_delta, slice_chroma_offsets, weighted_pred, weighted_bipred, transquant_bypass;
    bool tiles, entropy_sync, loop_filter_across, deblocking_override, deblocking_disabled;
    bool scaling_lists, lists_modification, header_extension, extension;
};

/* One short-term reference picture set: what is before the picture, closest first, then after. */
struct hevc_set {
    uint8_t before, after;
    bool used[16];
    int32_t delta[16]; /* POC, less that of the picture */
};

/*
 * Both begin with a NAL unit header; `escaped`: they have emulation prevention bytes. VD_ERR_DECODE
 * if they are not legal. `sets`: where the short-term sets of the SPS go, HEVC_SETS_RPS of them.
 */
int hevc_sets_read_sps(const uint8_t *nal, size_t size, bool escaped, struct hevc_set *sets,
                       struct hevc_sps *ret_sps);
int hevc_sets_read_pps(const uint8_t *nal, size_t size, bool escaped, struct hevc_pps *ret_pps);

/*
 * 7.3.7: set `index` of `count`, which the first `index` ones were read of already; index == count
 * in a slice header.
 */
int hevc_sets_read_set(struct bits_reader *reader, const struct hevc_set *sets, unsigned index,
                       unsigned count, struct hevc_set *ret_set);

/*
 * The PPS `nal`, escaped, anew with another id and for another SPS. Writes its RBSP with the NAL
 * unit header, without emulation prevention.
 */
int hevc_sets_rename_pps(const uint8_t *nal, size_t size, uint32_t id, uint32_t sps_id,
                         struct bits_writer *writer);

/* Coding tree blocks of a picture. */
uint32_t hevc_sets_ctbs(const struct hevc_sps *sps);

/*
 * Whether what an SPS says is within the limits of Main 10 (A.3.3) and 7.4.3.2.1. VD_ERR_PARAMETER
 * if a value breaks the standard, VD_ERR_UNSUPPORTED for tools that no encoder here has.
 */
int hevc_sets_check(const struct hevc_sps *sps);

#endif
