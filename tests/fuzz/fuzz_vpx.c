/* SPDX-License-Identifier: MIT */
#include <va/va.h>

#include "bitstream/bitstream.h"
#include "fuzz.h"

/*
 * The VP8 and VP9 builders over a few pictures, with state, structs and the block in heap memory of
 * exactly their size. Input, a picture: flags, size, the fields that are looked at, bytes.
 */

#define MAX_PICTURES 16
#define MAX_BYTES    64

static void *zeros(size_t size)
{
    void *memory = calloc(1, size);

    if (!memory)
        abort();
    return memory;
}

/* The packet must lie in the block, with all its bytes. */
static void check(const struct bitstream_packet *packet, const uint8_t *block, size_t size)
{
    volatile uint8_t sum = 0;

    if (packet->data < block || packet->size > size || packet->data + packet->size > block + size ||
        packet->coded_width - 1 > 16383 || packet->coded_height - 1 > 16383 ||
        packet->no_op_size > sizeof(packet->no_op))
        abort();
    for (size_t i = 0; i < packet->size; i++)
        sum = (uint8_t)(sum + packet->data[i]);
}

static void run_picture(struct fuzz_input *input, const struct bitstream_builder *builder,
                        void *state, uint8_t profile)
{
    uint32_t bytes = fuzz_byte(input) % (MAX_BYTES + 1);
    size_t size = BITSTREAM_HEAD_ROOM + builder->gap + bytes + BITSTREAM_TAIL_ROOM;
    uint8_t *block = zeros(size);
    VAPictureParameterBufferVP8 *vp8 = zeros(sizeof(*vp8));
    VASliceParameterBufferVP8 *part = zeros(sizeof(*part));
    VADecPictureParameterBufferVP9 *vp9 = zeros(sizeof(*vp9));
    struct va_slice *slice = zeros(sizeof(*slice));
    struct va_picture picture = {
        .profile =
            builder == &bitstream_vp9 ? VAProfileVP9Profile0 + profile % 4 : VAProfileVP8Version0_3,
        .slices = slice,
        .slice_count = 1,
        .head = block,
    };
    struct bitstream_packet packet;

    picture.param[VA_PARAM_PICTURE] = builder == &bitstream_vp9 ? (void *)vp9 : (void *)vp8;
    if (builder == &bitstream_vp8) {
        vp8->frame_width = fuzz_word(input);
        vp8->frame_height = fuzz_word(input);
        vp8->pic_fields.value = fuzz_byte(input);
        fuzz_take(input, &part->macroblock_offset, sizeof(part->macroblock_offset));
        fuzz_take(input, &part->partition_size[0], sizeof(part->partition_size[0]));
    }
    slice->param = part;
    slice->data = block + BITSTREAM_HEAD_ROOM + builder->gap;
    slice->size = bytes;
    fuzz_take(input, slice->data, bytes);
    if (builder->build(state, &picture, &packet) == 0)
        check(&packet, block, size);
    free(block);
    free(vp8);
    free(part);
    free(vp9);
    free(slice);
}

/* A key frame and an inter frame of VP9. */
size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    static const uint8_t seed[] = {1, 11, 0x82, 0x49, 0x83, 0x42, 0x20, 0x01, 0x5f, 0x01, 0x1f, 0,
                                   0, 9,  0x86, 0x01, 0x00, 0x20, 0x80, 0,    0,    0,    0};

    if (index || room < sizeof(seed))
        return 0;
    memcpy(buffer, seed, sizeof(seed));
    return sizeof(seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {.data = data, .size = size};
    uint8_t flags = fuzz_byte(&input);
    const struct bitstream_builder *builder = flags & 1 ? &bitstream_vp9 : &bitstream_vp8;
    void *state = zeros(builder->state_size);

    for (unsigned i = 0; i < MAX_PICTURES && input.size > 0; i++)
        run_picture(&input, builder, state, flags >> 1);
    free(state);
    return 0;
}
