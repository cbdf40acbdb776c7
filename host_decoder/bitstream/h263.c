/* SPDX-License-Identifier: MIT */
#include "bitstream.h"

#include <string.h>

#include <va/va.h>

#include <viaduct/errors.h>

#include "bits.h"

/*
 * H.263: VA passes the picture from its first macroblock on, which may start inside a byte, in the
 * structs of MPEG-4. The picture header is written anew, filled up with supplemental information
 * (5.1.9) until it ends at the bit where the macroblocks start: nothing has to be moved.
 *
 * VA has no word on the optional modes of the annexes but for advanced prediction.
 */

#define HEADER_ROOM 64

enum { FORMAT_CUSTOM = 6, FORMAT_EXTENDED = 7 };
enum { TYPE_I, TYPE_P };

struct state {
    uint8_t temporal_reference;
    bool plus; /* an extended header was needed: rounding types hold until the next one */
};

/* Source formats 1 to 5 (table 5/H.263). */
static const struct {
    uint16_t width, height;
} formats[] = {{128, 96}, {176, 144}, {352, 288}, {704, 576}, {1408, 1152}};

/* Its number, FORMAT_CUSTOM if the size is none of them, 0 if H.263 cannot have it (5.1.5). */
static uint32_t source_format(const VAPictureParameterBufferMPEG4 *param)
{
    for (uint32_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (formats[i].width == param->vop_width && formats[i].height == param->vop_height)
            return i + 1;
    }
    if (param->vop_width == 0 || param->vop_width > 2048 || param->vop_width % 4 ||
        param->vop_height == 0 || param->vop_height > 1152 || param->vop_height % 4)
        return 0;
    return FORMAT_CUSTOM;
}

/* PTYPE, PQUANT and CPM (5.1.3 to 5.1.20). */
static void write_baseline(struct bits_writer *w, const VAPictureParameterBufferMPEG4 *param,
                           uint32_t format, uint32_t quant)
{
    bits_write(w, 3, format);
    bits_write(w, 1, param->vop_fields.bits.vop_coding_type);
    bits_write(w, 1, 0); /* unrestricted motion vectors */
    bits_write(w, 1, 0); /* arithmetic coding */
    bits_write(w, 1, !param->vol_fields.bits.obmc_disable);
    bits_write(w, 1, 0); /* PB frames */
    bits_write(w, 5, quant);
    bits_write(w, 1, 0); /* CPM */
}

/* PLUSPTYPE, CPM, CPFMT and PQUANT. */
static void write_plus(struct bits_writer *w, const VAPictureParameterBufferMPEG4 *param,
                       uint32_t format, uint32_t quant)
{
    bits_write(w, 3, FORMAT_EXTENDED);
    bits_write(w, 3, 1); /* UFEP: with OPPTYPE */
    bits_write(w, 3, format);
    bits_write(w, 1, 0); /* custom clock */
    bits_write(w, 2, 0); /* unrestricted motion vectors, arithmetic coding */
    bits_write(w, 1, !param->vol_fields.bits.obmc_disable);
    bits_write(w, 7, 0); /* annexes I, J, K, N, R, S, T */
    bits_write(w, 4, 8);
    bits_write(w, 3, param->vop_fields.bits.vop_coding_type);
    bits_write(w, 2, 0); /* resampling, reduced resolution */
    bits_write(w, 1, param->vop_fields.bits.vop_rounding_type);
    bits_write(w, 3, 1);
    bits_write(w, 1, 0); /* CPM */
    if (format == FORMAT_CUSTOM) {
        bits_write(w, 4, 1); /* square samples */
        bits_write(w, 9, param->vop_width / 4 - 1u);
        bits_write(w, 1, 1);
        bits_write(w, 9, param->vop_height / 4);
    }
    bits_write(w, 5, quant);
}

static void write_header(struct state *state, const VAPictureParameterBufferMPEG4 *param,
                         uint32_t format, const VASliceParameterBufferMPEG4 *slice,
                         struct bits_writer *w)
{
    if (format == FORMAT_CUSTOM || param->vop_fields.bits.vop_rounding_type)
        state->plus = true;
    bits_write(w, 22, 0x20); /* PSC */
    bits_write(w, 8, state->temporal_reference++);
    bits_write(w, 2, 2);
    bits_write(w, 3, 0); /* split screen, document camera, freeze picture release */
    if (state->plus)
        write_plus(w, param, format, (uint32_t)slice->quant_scale);
    else
        write_baseline(w, param, format, (uint32_t)slice->quant_scale);
    /* Each byte comes with a bit in front, so eight of them reach any bit of a byte. */
    while ((w->count + 1) % 8 != slice->macroblock_offset % 8)
        bits_write(w, 9, 0x100); /* PEI, PSUPP */
    bits_write(w, 1, 0);         /* PEI */
}

static int check(const struct va_picture *picture, const VAPictureParameterBufferMPEG4 *param,
                 const VASliceParameterBufferMPEG4 *slice)
{
    if (picture->slice_count > 1 || slice->slice_data_flag != VA_SLICE_DATA_FLAG_ALL)
        return VD_ERR_UNSUPPORTED;
    if (source_format(param) == 0)
        return VD_ERR_RESOLUTION;
    if (param->vop_fields.bits.vop_coding_type > TYPE_P || slice->quant_scale <= 0 ||
        slice->quant_scale > 31)
        return VD_ERR_PARAMETER;
    if (slice->macroblock_offset / 8 >= picture->slices[0].size)
        return VD_ERR_DECODE;
    return 0;
}

static int build(void *opaque, const struct va_picture *picture,
                 struct bitstream_packet *ret_packet)
{
    struct state *state = opaque;
    const VAPictureParameterBufferMPEG4 *param = picture->param[VA_PARAM_PICTURE];
    const VASliceParameterBufferMPEG4 *slice;
    struct bits_writer w;
    uint8_t *start, *data;
    unsigned skip;
    int err;

    if (!param || picture->slice_count == 0)
        return VD_ERR_PARAMETER;
    slice = picture->slices[0].param;
    err = check(picture, param, slice);
    if (err)
        return err;
    bits_write_init(&w, picture->head, HEADER_ROOM);
    write_header(state, param, source_format(param), slice, &w);
    if (w.error)
        return VD_ERR_INTERNAL;

    /* The header ends in the byte in which the macroblocks start, at the same bit. */
    start = picture->slices[0].data + slice->macroblock_offset / 8;
    skip = slice->macroblock_offset % 8;
    *start = (uint8_t)((unsigned)w.cache << (8 - skip) | (*start & 0xffu >> skip));
    data = start - w.used;
    memmove(data, picture->head, w.used);
    *ret_packet = (struct bitstream_packet){
        .data = data,
        .size = (size_t)(picture->slices[0].data + picture->slices[0].size - data),
        .flags = param->vop_fields.bits.vop_coding_type == TYPE_I ? BITSTREAM_KEY : 0,
        .coded_width = (param->vop_width + 15u) / 16 * 16,
        .coded_height = (param->vop_height + 15u) / 16 * 16,
    };
    return 0;
}

const struct bitstream_builder bitstream_h263 = {
    .name = "h263",
    .state_size = sizeof(struct state),
    .gap = BITSTREAM_SLICE_GAP,
    .build = build,
};
