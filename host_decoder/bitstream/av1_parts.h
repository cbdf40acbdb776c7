/* SPDX-License-Identifier: MIT */
#ifndef BITSTREAM_AV1_PARTS_H
#define BITSTREAM_AV1_PARTS_H

#include "av1_header.h"

/*
 * The parts of an AV1 frame header, for av1_header_frame alone: each writes its syntax structure,
 * in the order in which they are listed. All values were checked (av1_header_check).
 */

#define AV1_MAX_TILES_A_SIDE 64u

/* A frame header while it is written: what its parts need of each other. */
struct av1_writing {
    struct av1_frame *frame;
    const VADecPictureParameterBufferAV1 *param;
    struct bits_writer *writer;
    bool intra; /* FrameIsIntra */
    bool mono, order_hints;
    uint32_t frame_width, upscaled_width, frame_height;
    bool intrabc; /* allow_intrabc, where it may be coded */
};

/* su(n) */
static inline void av1_parts_signed(struct bits_writer *writer, unsigned n, int value)
{
    bits_write(writer, n, (uint32_t)value & ((UINT32_C(1) << n) - 1));
}

/* ns(n) of 4.10.7; `value` is below n. */
static inline void av1_parts_non_symmetric(struct bits_writer *writer, uint32_t n, uint32_t value)
{
    unsigned w = 0;
    uint32_t m;

    while (n >> w)
        w++;
    m = (UINT32_C(1) << w) - n;
    if (value < m)
        bits_write(writer, w - 1, value);
    else
        bits_write(writer, w, value + m);
}

/* primary_ref_frame; AV1_PRIMARY_REF_NONE where it is implied. */
unsigned av1_header_primary(const VADecPictureParameterBufferAV1 *param);

/* tile_info() (5.9.15). VD_ERR_PARAMETER for tiles that cannot be coded. */
int av1_tile_write(struct av1_writing *h);
/* quantization_params() (5.9.12) */
void av1_quant_write(struct av1_writing *h);
/* segmentation_params() (5.9.14) */
void av1_quant_segmentation(struct av1_writing *h);
/* delta_q_params() and delta_lf_params() (5.9.17, 5.9.18) */
void av1_quant_deltas(struct av1_writing *h);
/* CodedLossless (5.9.2), known behind the segmentation. */
bool av1_quant_lossless(const struct av1_writing *h);
/* loop_filter_params() (5.9.11) */
void av1_filter_loop(struct av1_writing *h);
/* cdef_params() (5.9.19) */
void av1_filter_cdef(struct av1_writing *h);
/* lr_params() (5.9.20) */
void av1_filter_restoration(struct av1_writing *h);
/* skipModeAllowed (5.9.22): one reference on each side, or two in the past. */
bool av1_motion_skip(const struct av1_writing *h);
/* global_motion_params() (5.9.24). VD_ERR_PARAMETER for parameters that cannot be coded. */
int av1_motion_write(struct av1_writing *h);
/* What film_grain_params() can say: part of av1_header_check. */
int av1_grain_check(const VAFilmGrainStructAV1 *grain);
/* film_grain_params() (5.9.30) */
void av1_grain_write(struct av1_writing *h);

#endif
