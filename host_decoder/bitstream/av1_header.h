/* SPDX-License-Identifier: MIT */
#ifndef BITSTREAM_AV1_HEADER_H
#define BITSTREAM_AV1_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <va/va.h>

#include "bits.h"

/*
 * AV1 sequence and frame headers (5.5 and 5.9 of the specification), written from VA's structs.
 */

#define AV1_SLOTS            8
#define AV1_REFS             7
#define AV1_PRIMARY_REF_NONE 7
#define AV1_SEGMENTS         8
#define AV1_SEGMENT_FEATURES 8
#define AV1_ALL_SLOTS        0xff
#define AV1_MAX_SIZE         65536 /* width or height that a sequence header can say */
/* More than the longest header of either kind needs, in bytes. */
#define AV1_SEQUENCE_ROOM 64
#define AV1_FRAME_ROOM    2048

enum av1_frame_type {
    AV1_KEY_FRAME,
    AV1_INTER_FRAME,
    AV1_INTRA_ONLY_FRAME,
    AV1_SWITCH_FRAME,
};

/* What a frame leaves for the headers of those that refer to it (7.20). */
struct av1_reference {
    uint8_t order_hint;
    uint8_t feature_mask[AV1_SEGMENTS];
    int16_t feature_data[AV1_SEGMENTS][AV1_SEGMENT_FEATURES];
    int32_t gm_params[AV1_REFS][6];
};

/* A frame header to write. */
struct av1_frame {
    const VADecPictureParameterBufferAV1 *param;
    const struct av1_reference *slots; /* AV1_SLOTS of them */
    uint8_t ref_frame_idx[AV1_REFS];   /* slots the frame refers to */
    uint8_t refresh_frame_flags;
    /* Results of av1_header_frame. */
    struct av1_reference reference; /* what it leaves */
    size_t refresh_bit; /* where refresh_frame_flags was written, if it is not implied */
    unsigned tile_bits; /* TileColsLog2 + TileRowsLog2 */
};

/* Whether all values are in their range: what the functions below rely on. */
int av1_header_check(const VADecPictureParameterBufferAV1 *param);
/* Whether refresh_frame_flags is implied: all slots (5.9.2). */
bool av1_header_refreshes_all(const VADecPictureParameterBufferAV1 *param);
/*
 * sequence_header_obu() with its trailing bits, for frames of at most that size. Errors are the
 * writer's.
 */
void av1_header_sequence(const VADecPictureParameterBufferAV1 *param, uint32_t max_width,
                         uint32_t max_height, struct bits_writer *writer);
/*
 * uncompressed_header(), not aligned. VD_ERR_PARAMETER if VA's values cannot be coded; errors of
 * the writer besides.
 */
int av1_header_frame(struct av1_frame *frame, struct bits_writer *writer);

#endif
