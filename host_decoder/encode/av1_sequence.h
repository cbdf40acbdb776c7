/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODE_AV1_SEQUENCE_H
#define HOST_ENCODE_AV1_SEQUENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bitstream/bits.h"

/* Section numbers are those of the AV1 bitstream specification, version 1.0.0 with errata 1. */

enum av1_obu_type {
    AV1_OBU_SEQUENCE_HEADER = 1,
    AV1_OBU_TEMPORAL_DELIMITER = 2,
    AV1_OBU_FRAME_HEADER = 3,
    AV1_OBU_TILE_GROUP = 4,
    AV1_OBU_METADATA = 5,
    AV1_OBU_FRAME = 6,
    AV1_OBU_REDUNDANT_FRAME_HEADER = 7,
    AV1_OBU_PADDING = 15,
};

/* One OBU (5.3): all of it, and what is in it. */
struct av1_obu {
    uint32_t type;
    const uint8_t *start;
    size_t size; /* from `start` */
    const uint8_t *payload;
    size_t payload_size;
};

/* Reads the one at `data`; one without a size takes all. 0, or VD_ERR_PARAMETER. */
int av1_obu_read(const uint8_t *data, size_t size, struct av1_obu *ret_obu);
/* Header with a size, as many bytes as it takes, at most AV1_OBU_HEADER. */
size_t av1_obu_header(uint32_t type, size_t payload_size, uint8_t *ret_bytes);
#define AV1_OBU_HEADER 9

/* What steers how frames are read, of sequence_header_obu() (5.5). */
struct av1_sequence {
    uint8_t seq_profile;
    bool still_picture, reduced_still_picture_header, decoder_model_info_present_flag;
    uint8_t frame_width_bits, frame_height_bits;
    uint32_t max_frame_width, max_frame_height;
    bool frame_id_numbers_present_flag;
    bool use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter;
    bool enable_interintra_compound, enable_masked_compound, enable_warped_motion;
    bool enable_dual_filter, enable_order_hint, enable_jnt_comp, enable_ref_frame_mvs;
    uint8_t seq_force_screen_content_tools, seq_force_integer_mv; /* 2: each frame says */
    uint8_t order_hint_bits;                                      /* 0: none */
    bool enable_superres, enable_cdef, enable_restoration;
    uint8_t bit_depth;
    bool mono_chrome, subsampling_x, subsampling_y, separate_uv_delta_q;
    bool film_grain_params_present;
};

/* Reads the payload of an OBU. 0, or VD_ERR_PARAMETER. */
int av1_sequence_read(const uint8_t *payload, size_t size, struct av1_sequence *ret_sequence);

#endif
