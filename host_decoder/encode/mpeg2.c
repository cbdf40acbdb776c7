/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <string.h>
#include <va/va.h>
#include <va/va_enc_mpeg2.h>
#include <viaduct/errors.h>

#include "encode.h"
#include "encode_attribute.h"

/*
 * MPEG-2: the encoder's pictures under its own picture headers, which its slices need. The app's
 * sequence header takes the place of the encoder's where both describe the same pictures: it has
 * the aspect ratio, the display extension, the bit rate.
 */

struct mpeg2_state {
    struct encode_misc_state misc;
    uint32_t width, height;
    uint32_t intra_period;
    uint32_t qp;
};

/* Of any real app: a sequence header and its extension have 150 bytes at most, if both matrices
 * are there. */
#define MPEG2_MAX_SEQUENCE 1024

/* The app's sequence header: it packs it once, the encoder has one at each intra picture. */
struct mpeg2_headers {
    uint8_t sequence[MPEG2_MAX_SEQUENCE];
    size_t size; /* 0: the app packs none */
};

/* quantiser_scale_code of the linear scale that is nearest to one of the other (7.4.2.2). */
static uint32_t linear_scale(uint32_t code, bool nonlinear)
{
    static const uint8_t scale[32] = {1,  1,  2,  3,  4,  5,  6,  7,  8,   10, 12,
                                      14, 16, 18, 20, 22, 24, 28, 32, 36,  40, 44,
                                      48, 52, 56, 64, 72, 80, 88, 96, 104, 112};
    uint32_t linear = code > 31 ? 31 : code;

    if (nonlinear)
        linear = (scale[linear] + 1u) / 2;
    return !linear ? 1 : linear > 31 ? 31 : linear;
}

static void read_sequence(struct mpeg2_state *self, const VAEncSequenceParameterBufferMPEG2 *s)
{
    uint32_t milli = 0;

    /* The comparison is false for what is no number. */
    if (s->frame_rate > 0.1f && s->frame_rate < 1000.0f)
        milli = (uint32_t)(s->frame_rate * 1000 + 0.5f);
    self->width = s->picture_width;
    self->height = s->picture_height;
    self->intra_period = s->intra_period;
    encode_misc_sequence(&self->misc, s->bits_per_second, milli, 1000);
}

static int mpeg2_read(void *state, const struct encode_picture *picture,
                      struct encode_request *ret_request)
{
    struct mpeg2_state *self = state;
    const VAEncSequenceParameterBufferMPEG2 *sequence = picture->param[ENCODE_PARAM_SEQUENCE];
    const VAEncPictureParameterBufferMPEG2 *param = picture->param[ENCODE_PARAM_PICTURE];
    struct encode_tools *tools = &ret_request->tools;

    if (!param)
        return VD_ERR_PARAMETER;
    /* There is no list 1: as a P picture it would be shown out of order. */
    if (param->picture_type == VAEncPictureTypeBidirectional)
        return VD_ERR_UNSUPPORTED;
    if (sequence)
        read_sequence(self, sequence);
    if (picture->slice_count) {
        const VAEncSliceParameterBufferMPEG2 *slice = picture->slices[0];

        self->qp = linear_scale((uint32_t)slice->quantiser_scale_code,
                                param->picture_coding_extension.bits.q_scale_type);
    }
    encode_misc_read(&self->misc, picture, ret_request);
    ret_request->type = param->picture_type != VAEncPictureTypeIntra ? ENCODE_P
                        : sequence                                   ? ENCODE_IDR
                                                                     : ENCODE_I;
    ret_request->reference = true;
    ret_request->qp = self->qp;
    tools->profile = (uint32_t)picture->profile;
    tools->width = self->width ? self->width : picture->width;
    tools->height = self->height ? self->height : picture->height;
    tools->bit_depth = 8;
    tools->slices = 1;
    tools->intra_period = self->intra_period;
    /* Main and Simple profile end at 10 bits. */
    tools->mpeg2.intra_dc_precision = param->picture_coding_extension.bits.intra_dc_precision > 2
                                          ? 2
                                          : param->picture_coding_extension.bits.intra_dc_precision;
    for (uint32_t i = 0; i < picture->header_count; i++)
        ret_request->headers[i] = picture->headers[i];
    ret_request->header_count = picture->header_count;
    return 0;
}

/* Offset of the next start code at or behind `at`; `size` if there is none. */
static size_t start_code(const uint8_t *bytes, size_t size, size_t at)
{
    for (; at + 4 <= size; at++) {
        if (bytes[at] == 0 && bytes[at + 1] == 0 && bytes[at + 2] == 1)
            return at;
    }
    return size;
}

#define CODE_EXTENSION 0xb5
#define CODE_SEQUENCE  0xb3
#define CODE_USER_DATA 0xb2

/* What a decoder needs from a sequence header and its extension. */
struct mpeg2_sequence {
    uint32_t size;     /* width and height, 12 bits each */
    uint8_t size_high; /* two more bits each */
    bool progressive, matrices;
    uint8_t chroma_format;
    size_t end; /* where something else begins */
};

static bool parse_sequence(const uint8_t *bytes, size_t size, struct mpeg2_sequence *ret_sequence)
{
    struct mpeg2_sequence s = {0};
    bool extension = false;
    size_t at;

    if (size < 12 || start_code(bytes, size, 0) != 0 || bytes[3] != CODE_SEQUENCE)
        return false;
    s.size = (uint32_t)bytes[4] << 16 | (uint32_t)bytes[5] << 8 | bytes[6];
    /* load_intra_quantiser_matrix, load_non_intra_quantiser_matrix */
    s.matrices = (bytes[11] & 3) != 0;
    at = start_code(bytes, size, 4);
    while (at < size && (bytes[at + 3] == CODE_EXTENSION || bytes[at + 3] == CODE_USER_DATA)) {
        if (bytes[at + 3] == CODE_EXTENSION && size - at >= 10 && bytes[at + 4] >> 4 == 1) {
            extension = true;
            s.progressive = bytes[at + 5] >> 3 & 1;
            s.chroma_format = bytes[at + 5] >> 1 & 3;
            s.size_high = (uint8_t)((bytes[at + 5] & 1) << 3 | bytes[at + 6] >> 5);
        }
        at = start_code(bytes, size, at + 4);
    }
    s.end = at;
    *ret_sequence = s;
    return extension;
}

static bool same_pictures(const struct mpeg2_sequence *a, const struct mpeg2_sequence *b)
{
    return a->size == b->size && a->size_high == b->size_high && a->progressive == b->progressive &&
           a->chroma_format == b->chroma_format && !a->matrices && !b->matrices;
}

/* Groups of pictures, which may stand behind it, are the encoder's. */
static void keep_sequence(struct mpeg2_headers *self, const struct encode_header *header)
{
    struct mpeg2_sequence app;

    if (header->type != VAEncPackedHeaderSequence || header->bits % 8 ||
        !parse_sequence(header->bytes, header->bits / 8, &app) || app.end > MPEG2_MAX_SEQUENCE)
        return;
    memcpy(self->sequence, header->bytes, app.end);
    self->size = app.end;
}

static int mpeg2_write(void *state, const struct encode_request *request,
                       const struct encode_packet *packet, struct encode_output *output)
{
    struct mpeg2_headers *self = state;
    struct mpeg2_sequence own, app;
    size_t skip = 0;

    for (uint32_t i = 0; i < request->header_count; i++)
        keep_sequence(self, &request->headers[i]);
    /* All of a stream must be alike (6.1.1.6): the app's takes the place of each of the encoder's.
     */
    if (self->size && parse_sequence(packet->data, packet->size, &own) &&
        parse_sequence(self->sequence, self->size, &app) && same_pictures(&own, &app)) {
        encode_put(output, self->sequence, self->size);
        skip = own.end;
    }
    encode_put(output, packet->data + skip, packet->size - skip);
    return 0;
}

static uint32_t mpeg2_attributes(int profile, uint32_t *ret_types, uint32_t *ret_values,
                                 uint32_t room)
{
    static const struct encode_attribute table[] = {
        {VAConfigAttribEncPackedHeaders,
         VA_ENC_PACKED_HEADER_SEQUENCE | VA_ENC_PACKED_HEADER_PICTURE},
        {VAConfigAttribEncMaxRefFrames, 1},
    };

    (void)profile;
    return encode_attributes(table, sizeof(table) / sizeof(table[0]), ret_types, ret_values, room);
}

const struct encode_codec encode_mpeg2 = {
    .codec = VD_CODEC_MPEG2,
    .read_state_size = sizeof(struct mpeg2_state),
    .write_state_size = sizeof(struct mpeg2_headers),
    .read = mpeg2_read,
    .write = mpeg2_write,
    .attributes = mpeg2_attributes,
};
