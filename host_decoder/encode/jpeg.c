/* SPDX-License-Identifier: MIT */
#include "jpeg.h"

#include <string.h>
#include <va/va.h>
#include <va/va_enc_jpeg.h>
#include <viaduct/errors.h>

#include "encode_attribute.h"

/*
 * JPEG: a complete file of the encoder's, with the app's quantisers. Of the header that the app
 * packed its application and comment segments are kept; the rest says what the file says itself.
 */

/* Where the k-th coefficient of the zig-zag scan stands in a block. */
static const uint8_t zigzag[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                                   12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                                   35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                                   58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

/* Tables K.1 and K.2 in zig-zag order: for apps that send none. */
static const uint8_t standard[2][64] = {
    {16, 11, 12,  14,  12,  10, 16, 14,  13,  14,  18,  17,  16, 19,  24,  40,
     26, 24, 22,  22,  24,  49, 35, 37,  29,  40,  58,  51,  61, 60,  57,  51,
     56, 55, 64,  72,  92,  78, 64, 68,  87,  69,  55,  56,  80, 109, 81,  87,
     95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99},
    {17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, 99, 99, 99, 99, 99, 99, 99, 99,
     99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
     99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99},
};

struct jpeg_state {
    struct encode_misc_state misc;
    uint8_t table[2][64];
    bool loaded[2];
};

/* Quality 1 to 100 as the Independent JPEG Group scales by it: 50 leaves a table as it is. */
static void scale(const uint8_t table[64], uint32_t quality, uint8_t ret_table[64])
{
    uint32_t percent;

    quality = quality < 1 ? 1 : quality > 100 ? 100 : quality;
    percent = quality < 50 ? 5000 / quality : 200 - 2 * quality;
    for (int i = 0; i < 64; i++) {
        uint32_t value = (table[i] * percent + 50) / 100;

        ret_table[zigzag[i]] = (uint8_t)(value < 1 ? 1 : value > 255 ? 255 : value);
    }
}

static int jpeg_read(void *state, const struct encode_picture *picture,
                     struct encode_request *ret_request)
{
    struct jpeg_state *self = state;
    const VAEncPictureParameterBufferJPEG *param = picture->param[ENCODE_PARAM_PICTURE];
    const VAQMatrixBufferJPEG *matrix = picture->param[ENCODE_PARAM_MATRIX];
    struct jpeg_request *own = (void *)ret_request->own;

    if (!param)
        return VD_ERR_PARAMETER;
    if (param->pic_flags.bits.profile || param->pic_flags.bits.progressive ||
        (param->sample_bit_depth && param->sample_bit_depth != 8))
        return VD_ERR_UNSUPPORTED;
    if (matrix && matrix->load_lum_quantiser_matrix) {
        memcpy(self->table[0], matrix->lum_quantiser_matrix, sizeof(self->table[0]));
        self->loaded[0] = true;
    }
    if (matrix && matrix->load_chroma_quantiser_matrix) {
        memcpy(self->table[1], matrix->chroma_quantiser_matrix, sizeof(self->table[1]));
        self->loaded[1] = true;
    }
    encode_misc_read(&self->misc, picture, ret_request);
    for (int i = 0; i < 2; i++)
        scale(self->loaded[i] ? self->table[i] : standard[i], param->quality, own->quantiser[i]);
    own->components = param->num_components == 1 ? 1 : 3;
    for (int i = 0; i < 3; i++)
        own->selector[i] = param->quantiser_table_selector[i] & 1;
    if (picture->slice_count) {
        const VAEncSliceParameterBufferJPEG *slice = picture->slices[0];

        own->restart_interval = slice->restart_interval;
    }
    ret_request->type = ENCODE_IDR;
    ret_request->tools.profile = (uint32_t)picture->profile;
    ret_request->tools.width = param->picture_width;
    ret_request->tools.height = param->picture_height;
    ret_request->tools.bit_depth = 8;
    ret_request->tools.slices = 1;
    for (uint32_t i = 0; i < picture->header_count; i++)
        ret_request->headers[i] = picture->headers[i];
    ret_request->header_count = picture->header_count;
    return 0;
}

/* Size of the segment at `at`, its marker included; 0: none, or one without a length. */
static size_t segment(const uint8_t *bytes, size_t size, size_t at)
{
    size_t length;

    if (at + 4 > size || bytes[at] != 0xff || bytes[at + 1] < 0xc0 ||
        (bytes[at + 1] >= 0xd0 && bytes[at + 1] <= 0xd9))
        return 0;
    length = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
    return length >= 2 && length + 2 <= size - at ? length + 2 : 0;
}

static bool is_application(uint8_t marker)
{
    return (marker >= 0xe0 && marker <= 0xef) || marker == 0xfe;
}

/* The app's application and comment segments; true if there was one. */
static bool put_segments(const struct encode_header *header, struct encode_output *output)
{
    size_t size = header->bits / 8, at = 2, length;
    bool any = false;

    if (size < 4 || header->bytes[0] != 0xff || header->bytes[1] != 0xd8)
        return false;
    while ((length = segment(header->bytes, size, at)) != 0) {
        if (is_application(header->bytes[at + 1])) {
            encode_put(output, header->bytes + at, length);
            any = true;
        }
        at += length;
    }
    return any;
}

static int jpeg_write(void *state, const struct encode_request *request,
                      const struct encode_packet *packet, struct encode_output *output)
{
    size_t at = 2, length;
    bool replaced = false;

    (void)state;
    if (packet->size < 4)
        return VD_ERR_DECODE;
    encode_put(output, packet->data, 2);
    for (uint32_t i = 0; i < request->header_count && !replaced; i++)
        replaced = put_segments(&request->headers[i], output);
    /* Then not the encoder's JFIF, which has to be the first segment. */
    while (replaced && (length = segment(packet->data, packet->size, at)) != 0 &&
           is_application(packet->data[at + 1]))
        at += length;
    encode_put(output, packet->data + at, packet->size - at);
    return 0;
}

static uint32_t jpeg_attributes(int profile, uint32_t *ret_types, uint32_t *ret_values,
                                uint32_t room)
{
    static const struct encode_attribute table[] = {
        {VAConfigAttribEncPackedHeaders, VA_ENC_PACKED_HEADER_RAW_DATA},
    };

    (void)profile;
    return encode_attributes(table, sizeof(table) / sizeof(table[0]), ret_types, ret_values, room);
}

const struct encode_codec encode_jpeg = {
    .codec = VD_CODEC_JPEG,
    .read_state_size = sizeof(struct jpeg_state),
    .read = jpeg_read,
    .write = jpeg_write,
    .attributes = jpeg_attributes,
};
