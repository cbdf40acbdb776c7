/* SPDX-License-Identifier: MIT */
#include "bitstream.h"

#include <string.h>

#include <va/va.h>

#include <viaduct/errors.h>

#include "bits.h"

/*
 * MPEG-2 video (ISO/IEC 13818-2): slices arrive whole, with their start codes; everything above
 * them is written anew. Sequence headers are sent when their bytes change, matrices in an
 * extension of the first picture that uses them, and a picture header with each picture.
 *
 * VA does not have progressive_sequence. It matters where it changes the number of macroblock
 * rows (6.3.3), and there the number of rows tells it.
 */

#define SIZE_MAX_PIXELS 16383 /* 14 bits, 6.3.3 and 6.3.5 */
#define HEADER_ROOM     512   /* all headers of a picture */
#define SEQUENCE_ROOM   32

enum {
    CODE_PICTURE = 0x00,
    CODE_SLICE_FIRST = 0x01,
    CODE_SLICE_LAST = 0xaf,
    CODE_SEQUENCE = 0xb3,
    CODE_EXTENSION = 0xb5,
    CODE_GROUP = 0xb8,
};

enum {
    EXTENSION_SEQUENCE = 1,
    EXTENSION_QUANT_MATRIX = 3,
    EXTENSION_PICTURE_CODING = 8,
};

enum { TYPE_I = 1, TYPE_P = 2, TYPE_B = 3 };
enum { STRUCTURE_TOP = 1, STRUCTURE_BOTTOM = 2, STRUCTURE_FRAME = 3 };

/* One of the two quantiser matrices of 4:2:0 video. */
struct matrix {
    uint8_t value[64]; /* in zig-zag order */
    bool known;        /* the app has given one: it holds until another one comes */
    bool sent;         /* the decoder has it */
};

struct state {
    uint8_t sequence[SEQUENCE_ROOM]; /* as last sent */
    size_t sequence_size;
    uint16_t width, height;
    bool interlaced; /* pictures of this size were seen that a progressive sequence cannot have */
    bool half;       /* the decoder has a first field and waits for the second */
    struct matrix intra, non_intra;
};

static void write_code(struct bits_writer *w, uint32_t code)
{
    bits_write(w, 32, 0x100 | code);
}

/* next_start_code(): zero bits up to the byte boundary. */
static void write_align(struct bits_writer *w)
{
    bits_write(w, (8 - w->count) & 7, 0);
}

/* What VA has none of are values that forbid a decoder nothing: Main profile at High level. */
static size_t write_sequence(const VAPictureParameterBufferMPEG2 *param, bool progressive,
                             uint8_t *data)
{
    struct bits_writer w;

    bits_write_init(&w, data, SEQUENCE_ROOM);
    write_code(&w, CODE_SEQUENCE);
    bits_write(&w, 12, param->horizontal_size);
    bits_write(&w, 12, param->vertical_size);
    bits_write(&w, 4, 1);        /* aspect_ratio_information: square samples */
    bits_write(&w, 4, 3);        /* frame_rate_code: 25 Hz */
    bits_write(&w, 18, 0x3ffff); /* bit_rate_value */
    bits_write(&w, 1, 1);
    bits_write(&w, 10, 0x3ff); /* vbv_buffer_size_value */
    bits_write(&w, 1, 0);      /* constrained_parameters_flag */
    bits_write(&w, 1, 0);      /* load_intra_quantiser_matrix */
    bits_write(&w, 1, 0);      /* load_non_intra_quantiser_matrix */

    write_code(&w, CODE_EXTENSION);
    bits_write(&w, 4, EXTENSION_SEQUENCE);
    bits_write(&w, 8, 0x44); /* profile_and_level_indication */
    bits_write(&w, 1, progressive);
    bits_write(&w, 2, 1); /* chroma_format: 4:2:0 */
    bits_write(&w, 2, param->horizontal_size >> 12);
    bits_write(&w, 2, param->vertical_size >> 12);
    bits_write(&w, 12, 0); /* bit_rate_extension */
    bits_write(&w, 1, 1);
    bits_write(&w, 8, 0); /* vbv_buffer_size_extension */
    bits_write(&w, 1, 0); /* low_delay */
    bits_write(&w, 7, 0); /* frame_rate_extension_n, frame_rate_extension_d */
    write_align(&w);
    return w.used;
}

/*
 * A closed group: decoders leave out B pictures behind an open one if they lack a reference. The
 * app has decided which pictures it wants.
 */
static void write_group(struct bits_writer *w)
{
    write_code(w, CODE_GROUP);
    bits_write(w, 25, 1 << 12); /* time_code: zero, with its marker */
    bits_write(w, 1, 1);        /* closed_gop */
    bits_write(w, 1, 0);        /* broken_link */
    write_align(w);
}

static void write_picture(struct bits_writer *w, const VAPictureParameterBufferMPEG2 *param)
{
    write_code(w, CODE_PICTURE);
    /* temporal_reference: VA does not have the display order, and the output is not used. */
    bits_write(w, 10, 0);
    bits_write(w, 3, (uint32_t)param->picture_coding_type);
    bits_write(w, 16, 0xffff); /* vbv_delay */
    if (param->picture_coding_type != TYPE_I)
        bits_write(w, 4, 7); /* full_pel_forward_vector, forward_f_code */
    if (param->picture_coding_type == TYPE_B)
        bits_write(w, 4, 7); /* full_pel_backward_vector, backward_f_code */
    bits_write(w, 1, 0);     /* extra_bit_picture */
    write_align(w);

    write_code(w, CODE_EXTENSION);
    bits_write(w, 4, EXTENSION_PICTURE_CODING);
    bits_write(w, 16, (uint32_t)param->f_code);
    bits_write(w, 2, param->picture_coding_extension.bits.intra_dc_precision);
    bits_write(w, 2, param->picture_coding_extension.bits.picture_structure);
    bits_write(w, 1, param->picture_coding_extension.bits.top_field_first);
    bits_write(w, 1, param->picture_coding_extension.bits.frame_pred_frame_dct);
    bits_write(w, 1, param->picture_coding_extension.bits.concealment_motion_vectors);
    bits_write(w, 1, param->picture_coding_extension.bits.q_scale_type);
    bits_write(w, 1, param->picture_coding_extension.bits.intra_vlc_format);
    bits_write(w, 1, param->picture_coding_extension.bits.alternate_scan);
    bits_write(w, 1, param->picture_coding_extension.bits.repeat_first_field);
    /* chroma_420_type: the same as progressive_frame (6.3.10). */
    bits_write(w, 1, param->picture_coding_extension.bits.progressive_frame);
    bits_write(w, 1, param->picture_coding_extension.bits.progressive_frame);
    bits_write(w, 1, 0); /* composite_display_flag */
    write_align(w);
}

static void write_matrix(struct bits_writer *w, struct matrix *matrix)
{
    bool load = matrix->known && !matrix->sent;

    bits_write(w, 1, load);
    for (unsigned i = 0; load && i < 64; i++)
        bits_write(w, 8, matrix->value[i]);
    matrix->sent |= load;
}

static void write_matrices(struct state *state, struct bits_writer *w)
{
    if ((!state->intra.known || state->intra.sent) &&
        (!state->non_intra.known || state->non_intra.sent))
        return;
    write_code(w, CODE_EXTENSION);
    bits_write(w, 4, EXTENSION_QUANT_MATRIX);
    write_matrix(w, &state->intra);
    write_matrix(w, &state->non_intra);
    bits_write(w, 1, 0); /* load_chroma_intra_quantiser_matrix */
    bits_write(w, 1, 0); /* load_chroma_non_intra_quantiser_matrix */
    write_align(w);
}

static int take_matrix(struct matrix *matrix, int32_t load, const uint8_t *value)
{
    if (!load)
        return 0;
    if (matrix->known && memcmp(matrix->value, value, sizeof(matrix->value)) == 0)
        return 0;
    if (memchr(value, 0, sizeof(matrix->value))) /* forbidden, 6.3.11 */
        return VD_ERR_PARAMETER;
    memcpy(matrix->value, value, sizeof(matrix->value));
    matrix->known = true;
    matrix->sent = false;
    return 0;
}

static int take_matrices(struct state *state, const VAIQMatrixBufferMPEG2 *matrix)
{
    int err;

    if (!matrix)
        return 0;
    err = take_matrix(&state->intra, matrix->load_intra_quantiser_matrix,
                      matrix->intra_quantiser_matrix);
    if (err)
        return err;
    return take_matrix(&state->non_intra, matrix->load_non_intra_quantiser_matrix,
                       matrix->non_intra_quantiser_matrix);
}

static int check_param(const VAPictureParameterBufferMPEG2 *param)
{
    if (param->horizontal_size == 0 || param->horizontal_size > SIZE_MAX_PIXELS ||
        param->vertical_size == 0 || param->vertical_size > SIZE_MAX_PIXELS)
        return VD_ERR_RESOLUTION;
    if (param->picture_coding_type < TYPE_I || param->picture_coding_type > TYPE_B ||
        param->picture_coding_extension.bits.picture_structure == 0)
        return VD_ERR_PARAMETER;
    return 0;
}

/* Slices start with their start codes; where an app left one out it goes into the gap. */
static int check_slices(const struct va_picture *picture, uint32_t *ret_rows)
{
    uint32_t rows = 0;

    for (uint32_t i = 0; i < picture->slice_count; i++) {
        const struct va_slice *slice = &picture->slices[i];
        const VASliceParameterBufferMPEG2 *param = slice->param;
        uint8_t *gap = slice->data - BITSTREAM_SLICE_GAP;

        /* Slices in pieces would have to be moved together; no known app sends them. */
        if (param->slice_data_flag != VA_SLICE_DATA_FLAG_ALL)
            return VD_ERR_UNSUPPORTED;
        memset(gap, 0, BITSTREAM_SLICE_GAP);
        if (slice->size == 0)
            continue;
        if (param->slice_vertical_position < SIZE_MAX_PIXELS / 16 + 1 &&
            param->slice_vertical_position >= rows)
            rows = param->slice_vertical_position + 1;
        if (slice->size >= 4 && slice->data[0] == 0 && slice->data[1] == 0 && slice->data[2] == 1 &&
            slice->data[3] >= CODE_SLICE_FIRST && slice->data[3] <= CODE_SLICE_LAST)
            continue;
        gap[2] = 1;
        /* Pictures of more than 2800 rows have the upper bits behind the code (6.2.4). */
        gap[3] = (uint8_t)((param->slice_vertical_position & 127) + CODE_SLICE_FIRST);
    }
    if (rows == 0)
        return VD_ERR_DECODE;
    *ret_rows = rows;
    return 0;
}

static bool is_field(const VAPictureParameterBufferMPEG2 *param)
{
    return param->picture_coding_extension.bits.picture_structure != STRUCTURE_FRAME;
}

/* Best guess of progressive_sequence. A change of mind would cost the decoder its references. */
static bool is_progressive(struct state *state, const VAPictureParameterBufferMPEG2 *param,
                           uint32_t rows)
{
    uint32_t progressive_rows = (param->vertical_size + 15u) / 16;

    if (state->width != param->horizontal_size || state->height != param->vertical_size)
        state->interlaced = false;
    state->width = param->horizontal_size;
    state->height = param->vertical_size;
    /* 6.3.5, 6.3.10: frame pictures and progressive_frame alone, with frame prediction. */
    if (is_field(param) || !param->picture_coding_extension.bits.progressive_frame ||
        !param->picture_coding_extension.bits.frame_pred_frame_dct || rows > progressive_rows)
        state->interlaced = true;
    /* With an even number of rows it decides nothing: then no picture can contradict. */
    return !state->interlaced && progressive_rows % 2 != 0;
}

static void write_headers(struct state *state, const VAPictureParameterBufferMPEG2 *param,
                          uint32_t rows, struct bits_writer *w)
{
    uint8_t sequence[SEQUENCE_ROOM];
    size_t size = write_sequence(param, is_progressive(state, param, rows), sequence);

    if (size != state->sequence_size || memcmp(sequence, state->sequence, size) != 0) {
        memcpy(state->sequence, sequence, size);
        state->sequence_size = size;
        /* The decoder is back at the default matrices now (6.3.11). */
        state->intra.sent = state->non_intra.sent = false;
        state->half = false;
        for (size_t i = 0; i < size; i++)
            bits_write(w, 8, sequence[i]);
        write_group(w);
    } else if (is_field(param) && state->half &&
               param->picture_coding_extension.bits.is_first_field) {
        /* The second field never came. Behind a group header decoders expect a first one. */
        state->half = false;
        write_group(w);
    }
    state->half = is_field(param) && !state->half;
    write_picture(w, param);
    write_matrices(state, w);
}

static uint32_t picture_flags(const VAPictureParameterBufferMPEG2 *param)
{
    uint32_t flags = param->picture_coding_type == TYPE_I ? BITSTREAM_KEY : 0;

    switch (param->picture_coding_extension.bits.picture_structure) {
    case STRUCTURE_TOP:
        return flags | BITSTREAM_TOP_FIELD;
    case STRUCTURE_BOTTOM:
        return flags | BITSTREAM_BOTTOM_FIELD;
    default:
        return flags;
    }
}

static int build(void *opaque, const struct va_picture *picture,
                 struct bitstream_packet *ret_packet)
{
    struct state *state = opaque;
    const VAPictureParameterBufferMPEG2 *param = picture->param[VA_PARAM_PICTURE];
    const struct va_slice *last;
    struct bits_writer w;
    uint32_t rows;
    uint8_t *data;
    int err;

    if (!param || picture->slice_count == 0)
        return VD_ERR_PARAMETER;
    err = check_param(param);
    if (err)
        return err;
    err = check_slices(picture, &rows);
    if (err)
        return err;
    err = take_matrices(state, picture->param[VA_PARAM_IQ_MATRIX]);
    if (err)
        return err;
    bits_write_init(&w, picture->head, HEADER_ROOM);
    write_headers(state, param, rows, &w);
    if (w.error)
        return VD_ERR_INTERNAL;

    /* Their size is known only now: move them to where the slices start. */
    data = picture->head + BITSTREAM_HEAD_ROOM - w.used;
    memmove(data, picture->head, w.used);
    last = &picture->slices[picture->slice_count - 1];
    *ret_packet = (struct bitstream_packet){
        .data = data,
        .size = (size_t)(last->data + last->size - data),
        .flags = picture_flags(param),
        .coded_width = (param->horizontal_size + 15u) / 16 * 16,
        .coded_height = (param->vertical_size + 31u) / 32 * 32,
    };
    return 0;
}

const struct bitstream_builder bitstream_mpeg2 = {
    .name = "mpeg2",
    .state_size = sizeof(struct state),
    .gap = BITSTREAM_SLICE_GAP,
    .build = build,
};
