/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <va/va.h>

#include "bitstream/bitstream.h"

/*
 * Runs the VC-1 builder over a few pictures with the state kept between them, in memory of exactly
 * the size that the dispatcher gives it.
 *
 * Input, a picture: flags, number of slices, then structs and slices.
 */

#define MAX_PICTURES    8
#define MAX_SLICES      6
#define MAX_SLICE_BYTES 64

enum {
    RESET = 1,
    SANE = 2, /* the fields that are refused most often are put right */
    ADVANCED = 4,
};

static void *zeroed(size_t size)
{
    void *memory = calloc(1, size ? size : 1);

    if (!memory)
        abort();
    return memory;
}

static void check(const struct bitstream_packet *packet, const uint8_t *block, size_t size)
{
    const uint8_t *end = packet->data + packet->size;
    uint8_t *copy;

    if (packet->data < block || end > block + size || packet->coded_width == 0 ||
        packet->coded_height == 0)
        abort();
    /* The headers beside it lie in the block, too, and not in its way. */
    if (packet->extradata != block || packet->extradata_size < 12 ||
        block + packet->extradata_size > packet->data)
        abort();
    copy = zeroed(packet->size + packet->extradata_size);
    memcpy(copy, packet->extradata, packet->extradata_size);
    memcpy(copy + packet->extradata_size, packet->data, packet->size);
    free(copy);
}

static void run_picture(struct fuzz_input *input, void *state)
{
    uint8_t flags = fuzz_byte(input), count = fuzz_byte(input) % (MAX_SLICES + 1);
    struct va_slice *slices = zeroed(count * sizeof(*slices));
    VAPictureParameterBufferVC1 *param = zeroed(sizeof(*param));
    struct va_picture picture = {.slices = slices, .slice_count = count};
    size_t size = BITSTREAM_HEAD_ROOM + BITSTREAM_TAIL_ROOM, at = BITSTREAM_HEAD_ROOM;
    struct bitstream_packet packet;
    uint8_t *block;

    if (flags & RESET)
        memset(state, 0, bitstream_vc1.state_size);
    picture.profile = flags & ADVANCED ? VAProfileVC1Advanced : VAProfileVC1Main;
    fuzz_take(input, param, sizeof(*param) - sizeof(param->va_reserved));
    if (flags & SANE) {
        param->coded_width = (uint16_t)(1 + param->coded_width % 512);
        param->coded_height = (uint16_t)(1 + param->coded_height % 512);
        param->sequence_fields.bits.profile = flags & ADVANCED ? 3 : 1;
        param->entrypoint_fields.bits.panscan_flag = 0;
        param->post_processing = 0;
    }
    picture.param[VA_PARAM_PICTURE] = param;
    for (uint8_t i = 0; i < count; i++) {
        VASliceParameterBufferVC1 *slice = zeroed(sizeof(*slice));

        slice->macroblock_offset = fuzz_byte(input);
        slice->slice_data_flag = flags & SANE ? VA_SLICE_DATA_FLAG_ALL : fuzz_byte(input) >> 7;
        slices[i].param = slice;
        slices[i].size = fuzz_byte(input) % (MAX_SLICE_BYTES + 1);
        size += bitstream_vc1.gap + slices[i].size;
    }
    block = zeroed(size);
    memset(block, 0xee, size);
    for (uint8_t i = 0; i < count; i++) {
        at += bitstream_vc1.gap;
        slices[i].data = block + at;
        fuzz_take(input, block + at, slices[i].size);
        at += slices[i].size;
    }
    picture.head = block;
    if (bitstream_vc1.build(state, &picture, &packet) == 0)
        check(&packet, block, size);
    for (uint8_t i = 0; i < count; i++)
        free((void *)(uintptr_t)slices[i].param);
    free(slices);
    free(param);
    free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {.data = data, .size = size};
    void *state = zeroed(bitstream_vc1.state_size);

    for (unsigned i = 0; i < MAX_PICTURES && input.size > 0; i++)
        run_picture(&input, state);
    free(state);
    return 0;
}
