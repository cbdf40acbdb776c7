/* SPDX-License-Identifier: MIT */
#include <va/va.h>
#include <va/va_enc_av1.h>
#include <va/va_enc_h264.h>
#include <va/va_enc_hevc.h>
#include <va/va_enc_jpeg.h>
#include <va/va_enc_mpeg2.h>
#include <va/va_enc_vp8.h>
#include <va/va_enc_vp9.h>

#include "encode/encode.h"
#include "fuzz.h"

/*
 * `read` of the codecs over a few pictures with the state kept between them, and `write` of those
 * that put the encoder's frames out as they are: structs, headers and packets are heap memory of
 * exactly their size.
 *
 * Input: codec; then a picture: which parameter buffers, slices, misc buffers, headers, and all of
 * them, each cut short where the input ends (the rest is zero).
 */

#define PICTURES     8
#define MOST_SLICES  4
#define MOST_MISC    6
#define MOST_HEADERS 4

struct codec {
    enum vd_codec codec;
    int profile;
    bool writes; /* any packet, not only one that an encoder made */
};

static const struct codec codecs[] = {
    {VD_CODEC_H264, VAProfileH264High, false},    {VD_CODEC_HEVC, VAProfileHEVCMain, false},
    {VD_CODEC_VP8, VAProfileVP8Version0_3, true}, {VD_CODEC_VP9, VAProfileVP9Profile0, true},
    {VD_CODEC_AV1, VAProfileAV1Profile0, true},   {VD_CODEC_MPEG2, VAProfileMPEG2Main, true},
    {VD_CODEC_JPEG, VAProfileJPEGBaseline, true},
};

/* Size of a struct of va_encode.def. */
static size_t size_of(enum vd_codec codec, bool slice, enum encode_param param)
{
    enum { PARAM = false, SLICE = true };
    size_t size = 0;
    uint32_t type;

#define VD_VA_ENCODE(name, va_type, kind, va_struct, bytes, slot) \
    type = va_type;                                               \
    if (type && codec == VD_CODEC_##name && kind == slice &&      \
        (slice || param == ENCODE_PARAM_##slot))                  \
        size = bytes;
#define VD_VA_CODED(codec, name, field)
#include <viaduct/va_encode.def>
    return size;
}

static void *take(struct fuzz_input *input, size_t size)
{
    void *memory = malloc(size ? size : 1);

    if (!memory)
        abort();
    fuzz_take(input, memory, size);
    return memory;
}

static void write_packet(const struct encode_codec *codec, struct fuzz_input *input, void *state,
                         const struct encode_request *request)
{
    size_t size = fuzz_byte(input), room = fuzz_byte(input);
    uint8_t *bytes = take(input, size), *out = take(input, room);
    struct encode_packet packet = {.data = bytes, .size = size, .key = true, .qp = -1};
    struct encode_output output = {.bytes = out, .room = room};

    codec->write(state, request, &packet, &output);
    free(bytes);
    free(out);
}

static void run_picture(const struct encode_codec *codec, const struct codec *kind,
                        struct fuzz_input *input, void *read_state, void *write_state)
{
    uint8_t present = fuzz_byte(input);
    void *params[ENCODE_PARAM_COUNT] = {NULL}, *slices[MOST_SLICES], *data[MOST_MISC];
    void *bytes[MOST_HEADERS];
    struct encode_misc misc[MOST_MISC];
    struct encode_header headers[MOST_HEADERS];
    struct encode_request *request = calloc(1, sizeof(*request));
    struct encode_picture picture = {
        .profile = kind->profile,
        .rate_control = 1u << fuzz_byte(input) % 12,
        .packed_headers = fuzz_byte(input),
        .slices = (const void *const *)slices,
        .slice_count = fuzz_byte(input) % (MOST_SLICES + 1),
        .misc = misc,
        .misc_count = fuzz_byte(input) % (MOST_MISC + 1),
        .headers = headers,
        .header_count = fuzz_byte(input) % (MOST_HEADERS + 1),
    };

    if (!request)
        abort();
    picture.width = picture.surface_width = fuzz_word(input);
    picture.height = picture.surface_height = fuzz_word(input);
    for (int i = 0; i < ENCODE_PARAM_COUNT; i++) {
        size_t size = size_of(kind->codec, false, (enum encode_param)i);

        if (present >> i & 1 && size)
            picture.param[i] = params[i] = take(input, size);
    }
    for (uint32_t i = 0; i < picture.slice_count; i++)
        slices[i] = take(input, size_of(kind->codec, true, ENCODE_PARAM_PICTURE));
    for (uint32_t i = 0; i < picture.misc_count; i++) {
        misc[i].type = fuzz_byte(input) % 20;
        misc[i].size = misc[i].type == VAEncMiscParameterTypeROI ? sizeof(struct vd_enc_roi)
                                                                 : fuzz_byte(input) % 64u;
        misc[i].data = data[i] = take(input, misc[i].size);
    }
    for (uint32_t i = 0; i < picture.header_count; i++) {
        headers[i].type = fuzz_byte(input) % 8;
        headers[i].escaped = fuzz_byte(input) & 1;
        headers[i].bits = fuzz_byte(input) * 4u;
        headers[i].bytes = bytes[i] = take(input, (headers[i].bits + 7) / 8);
    }
    if (codec->read(read_state, &picture, request) == 0 && kind->writes)
        write_packet(codec, input, write_state, request);
    for (int i = 0; i < ENCODE_PARAM_COUNT; i++)
        free(params[i]);
    for (uint32_t i = 0; i < picture.slice_count; i++)
        free(slices[i]);
    for (uint32_t i = 0; i < picture.misc_count; i++)
        free(data[i]);
    for (uint32_t i = 0; i < picture.header_count; i++)
        free(bytes[i]);
    free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {.data = data, .size = size};
    const struct codec *kind = &codecs[fuzz_byte(&input) % (sizeof(codecs) / sizeof(codecs[0]))];
    const struct encode_codec *codec = encode_codec_find(kind->codec);
    void *read_state, *write_state;

    if (!codec)
        return 0;
    read_state = calloc(1, codec->read_state_size + 1);
    write_state = calloc(1, codec->write_state_size + 1);
    if (!read_state || !write_state)
        abort();
    for (int i = 0; i < PICTURES && input.size > 0; i++)
        run_picture(codec, kind, &input, read_state, write_state);
    free(read_state);
    free(write_state);
    return 0;
}
