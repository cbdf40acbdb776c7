/* SPDX-License-Identifier: MIT */
#include "bitstream.h"

#include <string.h>

#include <va/va.h>

#include <viaduct/errors.h>

#include "vc1_header.h"
#include "vc1_picture.h"

/*
 * VC-1 (SMPTE 421M): slice data starts with the picture's or the slice's header, so the decoder
 * reads all of it again. Missing are the headers of sequence and entry point, and in the Advanced
 * profile start codes (GStreamer leaves them in, FFmpeg does not). Data of that profile is escaped.
 *
 * Sequence headers go beside the stream. A new one starts the decoder anew and costs it its
 * references, so in the Advanced profile entry points that change go into the stream.
 *
 * VA does not tell POSTPROCFLAG, on which the length of picture headers depends. VA does tell the
 * length, so the flag is what makes the header of an intra picture that long.
 */

#define SLICE_START_BYTES 4

enum picture_type { TYPE_I, TYPE_P };
enum frame_coding_mode { MODE_PROGRESSIVE, MODE_FRAME, MODE_FIELD };

struct state {
    uint8_t extradata[2 * VC1_HEADER_ROOM];
    size_t extradata_size;
    uint8_t sequence[VC1_HEADER_ROOM]; /* as last sent, with POSTPROCFLAG */
    size_t sequence_size;
    uint8_t entry_point[VC1_HEADER_ROOM]; /* as last sent */
    size_t entry_point_size;
    bool postprocflag;
    bool postprocflag_known; /* for sure, for the present sequence */
};

static const VASliceParameterBufferVC1 *slice_param(const struct va_picture *picture, uint32_t i)
{
    return picture->slices[i].param;
}

static bool has_start_code(const struct va_slice *slice)
{
    return slice->size >= SLICE_START_BYTES && slice->data[0] == 0 && slice->data[1] == 0 &&
           slice->data[2] == 1;
}

static bool header_fits(const struct va_picture *picture, bool postprocflag)
{
    const struct va_slice *slice = &picture->slices[0];
    uint32_t skip = has_start_code(slice) ? SLICE_START_BYTES : 0;
    uint64_t bits;

    return vc1_picture_header_bits(picture->param[VA_PARAM_PICTURE], postprocflag,
                                   slice->data + skip, slice->size - skip, &bits) == 0 &&
           bits + 8 * skip == slice_param(picture, 0)->macroblock_offset;
}

/*
 * Learns POSTPROCFLAG. It is looked at until one picture allows only one answer: after that it
 * cannot change without a new sequence.
 */
static void learn_postprocflag(struct state *state, const struct va_picture *picture)
{
    const VAPictureParameterBufferVC1 *param = picture->param[VA_PARAM_PICTURE];
    bool without, with;

    if (state->postprocflag_known)
        return;
    if (param->post_processing) {
        /* Without the flag there is nothing to be other than 0. */
        state->postprocflag = state->postprocflag_known = true;
        return;
    }
    without = header_fits(picture, false);
    with = header_fits(picture, true);
    if (without != with) {
        state->postprocflag = with;
        state->postprocflag_known = true;
    }
}

/*
 * Sequence header beside the stream; an entry point in the stream if only that changed. Returns
 * the size of the latter.
 */
static size_t write_advanced(struct state *state, const struct va_picture *picture,
                             bool second_field, uint8_t *ret_entry_point)
{
    const VAPictureParameterBufferVC1 *param = picture->param[VA_PARAM_PICTURE];
    uint8_t sequence[VC1_HEADER_ROOM], entry_point[VC1_HEADER_ROOM];
    size_t sequence_size, entry_point_size, changed = 0;

    if (second_field && state->sequence_size)
        return 0; /* in the same frame nothing can change */
    sequence_size = vc1_header_write_sequence(param, state->postprocflag, sequence);
    if (sequence_size != state->sequence_size ||
        memcmp(sequence, state->sequence, sequence_size) != 0)
        state->postprocflag_known = false;
    learn_postprocflag(state, picture);
    sequence_size = vc1_header_write_sequence(param, state->postprocflag, sequence);
    entry_point_size = vc1_header_write_entry_point(param, entry_point);
    if (sequence_size != state->sequence_size ||
        memcmp(sequence, state->sequence, sequence_size) != 0) {
        memcpy(state->sequence, sequence, sequence_size);
        state->sequence_size = sequence_size;
        memcpy(state->extradata, sequence, sequence_size);
        memcpy(state->extradata + sequence_size, entry_point, entry_point_size);
        state->extradata_size = sequence_size + entry_point_size;
    } else if (entry_point_size != state->entry_point_size ||
               memcmp(entry_point, state->entry_point, entry_point_size) != 0) {
        memcpy(ret_entry_point, entry_point, entry_point_size);
        changed = entry_point_size;
    }
    memcpy(state->entry_point, entry_point, entry_point_size);
    state->entry_point_size = entry_point_size;
    return changed;
}

static void write_start_code(uint8_t *at, enum vc1_start_code code)
{
    at[0] = at[1] = 0;
    at[2] = 1;
    at[3] = (uint8_t)code;
}

/* Returns where the picture starts. */
static uint8_t *write_start_codes(const struct va_picture *picture, bool second_field)
{
    struct va_slice *slices = picture->slices;

    for (uint32_t i = 0; i < picture->slice_count; i++) {
        uint8_t *gap = slices[i].data - SLICE_START_BYTES;

        if (has_start_code(&slices[i])) /* zeros may stand in front of it */
            memset(gap, 0, SLICE_START_BYTES);
        else if (i != 0)
            write_start_code(gap, VC1_START_SLICE);
        else
            write_start_code(gap, second_field ? VC1_START_FIELD : VC1_START_FRAME);
    }
    return has_start_code(&slices[0]) ? slices[0].data : slices[0].data - SLICE_START_BYTES;
}

static int check_picture(const struct va_picture *picture)
{
    const VAPictureParameterBufferVC1 *param = picture->param[VA_PARAM_PICTURE];
    bool advanced = picture->profile == VAProfileVC1Advanced;

    if (!param || picture->slice_count == 0)
        return VD_ERR_PARAMETER;
    if (advanced != (param->sequence_fields.bits.profile == VC1_PROFILE_ADVANCED) ||
        param->sequence_fields.bits.profile == VC1_PROFILE_COMPLEX)
        return VD_ERR_UNSUPPORTED;
    if (param->coded_width == 0 || param->coded_height == 0 || param->coded_width > VC1_SIZE_MOST ||
        param->coded_height > VC1_SIZE_MOST)
        return VD_ERR_RESOLUTION;
    if (!advanced && picture->slice_count != 1)
        return VD_ERR_UNSUPPORTED;
    for (uint32_t i = 0; i < picture->slice_count; i++) {
        if (slice_param(picture, i)->slice_data_flag != VA_SLICE_DATA_FLAG_ALL)
            return VD_ERR_UNSUPPORTED;
    }
    return 0;
}

static uint32_t packet_flags(const VAPictureParameterBufferVC1 *param, bool second_field)
{
    bool field = param->picture_fields.bits.frame_coding_mode == MODE_FIELD;
    uint32_t type = param->picture_fields.bits.picture_type, flags = 0;

    /* FPTYPE 0 and 1 (table 105): the first field is intra. */
    if (!second_field && (type == TYPE_I || (field && type == 1)))
        flags = BITSTREAM_KEY;
    if (field) {
        flags |= (bool)param->picture_fields.bits.top_field_first != second_field
                     ? BITSTREAM_TOP_FIELD
                     : BITSTREAM_BOTTOM_FIELD;
    }
    return flags;
}

static int build(void *opaque, const struct va_picture *picture,
                 struct bitstream_packet *ret_packet)
{
    const VAPictureParameterBufferVC1 *param = picture->param[VA_PARAM_PICTURE];
    struct state *state = opaque;
    const struct va_slice *last;
    uint8_t entry_point[VC1_HEADER_ROOM], *data;
    bool second_field;
    size_t size;
    int err = check_picture(picture);

    if (err)
        return err;
    second_field = param->picture_fields.bits.frame_coding_mode == MODE_FIELD &&
                   !param->picture_fields.bits.is_first_field;
    if (picture->profile == VAProfileVC1Advanced) {
        size = write_advanced(state, picture, second_field, entry_point);
        data = write_start_codes(picture, second_field) - size;
        memcpy(data, entry_point, size);
    } else {
        state->extradata_size = vc1_header_write_struct(param, state->extradata);
        data = picture->slices[0].data;
    }
    memcpy(picture->head, state->extradata, state->extradata_size);
    last = &picture->slices[picture->slice_count - 1];
    *ret_packet = (struct bitstream_packet){
        .data = data,
        .size = (size_t)(last->data + last->size - data),
        .flags = packet_flags(param, second_field),
        .coded_width = param->coded_width,
        .coded_height = param->coded_height,
        .extradata = picture->head,
        .extradata_size = state->extradata_size,
    };
    return 0;
}

const struct bitstream_builder bitstream_vc1 = {
    .name = "vc1",
    .state_size = sizeof(struct state),
    .gap = BITSTREAM_SLICE_GAP,
    .build = build,
};
