/* SPDX-License-Identifier: MIT */
#include "vc1_header.h"

#include "bits.h"

/*
 * What VA does not tell is written so that it has no effect: no display information, no leaky
 * buckets (which also shortens entry points), the highest level, and for the hints on the quality
 * of post-processing their highest values. Reserved bits are as in 6.1 and annex J.
 */

#define LEVEL_HIGHEST    4
#define FRMRTQ_POSTPROC  7
#define BITRTQ_POSTPROC  31
#define CHROMA_FORMAT420 1

size_t vc1_header_write_struct(const VAPictureParameterBufferVC1 *param, uint8_t *room)
{
    struct bits_writer w;

    bits_write_init(&w, room, VC1_HEADER_ROOM);
    bits_write(&w, 2, param->sequence_fields.bits.profile);
    bits_write(&w, 2, 0); /* the other bits of PROFILE */
    bits_write(&w, 3, FRMRTQ_POSTPROC);
    bits_write(&w, 5, BITRTQ_POSTPROC);
    bits_write(&w, 1, param->entrypoint_fields.bits.loopfilter);
    bits_write(&w, 1, 0); /* reserved */
    bits_write(&w, 1, param->sequence_fields.bits.multires);
    bits_write(&w, 1, 1); /* reserved */
    bits_write(&w, 1, param->fast_uvmc_flag != 0);
    bits_write(&w, 1, param->mv_fields.bits.extended_mv_flag);
    bits_write(&w, 2, param->pic_quantizer_fields.bits.dquant);
    bits_write(&w, 1, param->transform_fields.bits.variable_sized_transform_flag);
    bits_write(&w, 1, 0); /* reserved */
    bits_write(&w, 1, param->sequence_fields.bits.overlap);
    bits_write(&w, 1, param->sequence_fields.bits.syncmarker);
    bits_write(&w, 1, param->sequence_fields.bits.rangered);
    bits_write(&w, 3, param->sequence_fields.bits.max_b_frames);
    bits_write(&w, 2, param->pic_quantizer_fields.bits.quantizer);
    bits_write(&w, 1, param->sequence_fields.bits.finterpflag);
    bits_write(&w, 1, 1); /* reserved */
    bits_write(&w, 32, param->coded_height);
    bits_write(&w, 32, param->coded_width);
    return w.used;
}

/* Ends the unit, escapes it and puts its start code in front. */
static size_t finish_unit(struct bits_writer *w, enum vc1_start_code code, uint8_t *room)
{
    size_t size = 0;

    bits_write_trailing(w);
    room[0] = room[1] = 0;
    room[2] = 1;
    room[3] = (uint8_t)code;
    /* Emulation prevention is that of H.264 (annex E.2). The units are too short to fail. */
    return bits_escape(w->data, w->used, room + 4, VC1_HEADER_ROOM - 4, &size) ? 0 : 4 + size;
}

size_t vc1_header_write_sequence(const VAPictureParameterBufferVC1 *param, bool postprocflag,
                                 uint8_t *room)
{
    uint8_t raw[VC1_HEADER_ROOM];
    struct bits_writer w;

    bits_write_init(&w, raw, sizeof(raw));
    bits_write(&w, 2, VC1_PROFILE_ADVANCED);
    bits_write(&w, 3, LEVEL_HIGHEST);
    bits_write(&w, 2, CHROMA_FORMAT420);
    bits_write(&w, 3, FRMRTQ_POSTPROC);
    bits_write(&w, 5, BITRTQ_POSTPROC);
    bits_write(&w, 1, postprocflag);
    bits_write(&w, 12, (param->coded_width + 1u) / 2 - 1);
    bits_write(&w, 12, (param->coded_height + 1u) / 2 - 1);
    bits_write(&w, 1, param->sequence_fields.bits.pulldown);
    bits_write(&w, 1, param->sequence_fields.bits.interlace);
    bits_write(&w, 1, param->sequence_fields.bits.tfcntrflag);
    bits_write(&w, 1, param->sequence_fields.bits.finterpflag);
    bits_write(&w, 1, 1); /* reserved */
    bits_write(&w, 1, param->sequence_fields.bits.psf);
    bits_write(&w, 1, 0); /* DISPLAY_EXT */
    bits_write(&w, 1, 0); /* HRD_PARAM_FLAG */
    return finish_unit(&w, VC1_START_SEQUENCE, room);
}

size_t vc1_header_write_entry_point(const VAPictureParameterBufferVC1 *param, uint8_t *room)
{
    uint8_t raw[VC1_HEADER_ROOM];
    struct bits_writer w;

    bits_write_init(&w, raw, sizeof(raw));
    bits_write(&w, 1, param->entrypoint_fields.bits.broken_link);
    bits_write(&w, 1, param->entrypoint_fields.bits.closed_entry);
    bits_write(&w, 1, param->entrypoint_fields.bits.panscan_flag);
    bits_write(&w, 1, param->reference_fields.bits.reference_distance_flag);
    bits_write(&w, 1, param->entrypoint_fields.bits.loopfilter);
    bits_write(&w, 1, param->fast_uvmc_flag != 0);
    bits_write(&w, 1, param->mv_fields.bits.extended_mv_flag);
    bits_write(&w, 2, param->pic_quantizer_fields.bits.dquant);
    bits_write(&w, 1, param->transform_fields.bits.variable_sized_transform_flag);
    bits_write(&w, 1, param->sequence_fields.bits.overlap);
    bits_write(&w, 2, param->pic_quantizer_fields.bits.quantizer);
    bits_write(&w, 1, 0); /* CODED_SIZE_FLAG: the sequence layer has it */
    if (param->mv_fields.bits.extended_mv_flag)
        bits_write(&w, 1, param->mv_fields.bits.extended_dmv_flag);
    bits_write(&w, 1, param->range_mapping_fields.bits.luma_flag);
    if (param->range_mapping_fields.bits.luma_flag)
        bits_write(&w, 3, param->range_mapping_fields.bits.luma);
    bits_write(&w, 1, param->range_mapping_fields.bits.chroma_flag);
    if (param->range_mapping_fields.bits.chroma_flag)
        bits_write(&w, 3, param->range_mapping_fields.bits.chroma);
    return finish_unit(&w, VC1_START_ENTRY_POINT, room);
}
