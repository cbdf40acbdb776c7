/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <va/va.h>

#include "bitstream/bitstream.h"

/*
 * Runs the H.264 builder over a few pictures with the state kept between them, as the dispatcher
 * would: every struct and the block with the slices are heap memory of exactly their size.
 *
 * Input, a picture: flags, number of slices, then structs and slices, each cut short where the
 * input ends (the rest is zero). A slice is VA's numbers of references, flags, size and bytes.
 */

#define MAX_PICTURES    8
#define MAX_SLICES      16
#define MAX_SLICE_BYTES 64

enum {
    WITH_MATRIX = 1,
    RESET = 2,
    SANE = 4, /* the fields that are refused most often are put right */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static void take(struct input *input, void *target, size_t size)
{
    size_t have = size < input->size ? size : input->size;

    memset(target, 0, size);
    if (have == 0)
        return;
    memcpy(target, input->data, have);
    input->data += have;
    input->size -= have;
}

static uint8_t take_byte(struct input *input)
{
    uint8_t byte;

    take(input, &byte, 1);
    return byte;
}

/* Copies to heap memory of just this size. */
static void *exact(const void *data, size_t size)
{
    void *copy = malloc(size);

    if (!copy)
        abort();
    memcpy(copy, data, size);
    return copy;
}

/* Only the fields that the builder can look at, 40 bytes instead of 672. */
static void take_picture(struct input *input, uint8_t flags, VAPictureParameterBufferH264 *param)
{
    memset(param, 0, sizeof(*param));
    take(input, &param->CurrPic.flags, sizeof(param->CurrPic.flags));
    take(input, &param->CurrPic.TopFieldOrderCnt, sizeof(int32_t));
    take(input, &param->CurrPic.BottomFieldOrderCnt, sizeof(int32_t));
    take(input, &param->picture_width_in_mbs_minus1,
         sizeof(*param) - offsetof(VAPictureParameterBufferH264, picture_width_in_mbs_minus1) -
             sizeof(param->va_reserved));
    if (!(flags & SANE))
        return;
    param->picture_width_in_mbs_minus1 %= 512;
    param->picture_height_in_mbs_minus1 %= 512;
    param->bit_depth_luma_minus8 %= 7;
    param->bit_depth_chroma_minus8 %= 7;
    param->num_ref_frames %= 17;
    param->seq_fields.bits.residual_colour_transform_flag = 0;
    param->seq_fields.bits.log2_max_frame_num_minus4 %= 13;
    param->seq_fields.bits.pic_order_cnt_type %= 3;
    param->seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4 %= 13;
    param->pic_fields.bits.field_pic_flag &= !param->seq_fields.bits.frame_mbs_only_flag;
    param->pic_fields.bits.weighted_bipred_idc %= 3;
    param->pic_init_qp_minus26 %= 26;
    param->pic_init_qs_minus26 %= 26;
    param->chroma_qp_index_offset %= 13;
    param->second_chroma_qp_index_offset %= 13;
}

/* The packet must lie in the block, with all its bytes. */
static void check(const struct bitstream_packet *packet, const uint8_t *block, size_t block_size)
{
    if (packet->data < block || packet->data + packet->size != block + block_size ||
        packet->coded_width == 0 || packet->coded_height == 0 || packet->coded_width > 8192 ||
        packet->coded_height > 16384)
        abort();
    free(exact(packet->data, packet->size));
}

static void run_picture(struct input *input, void *state)
{
    uint8_t flags = take_byte(input), count = take_byte(input) % (MAX_SLICES + 1);
    struct va_slice *slices = calloc(count ? count : 1, sizeof(*slices));
    struct va_picture picture = {.slices = slices, .slice_count = count};
    VAPictureParameterBufferH264 param;
    VAIQMatrixBufferH264 matrix;
    struct bitstream_packet packet;
    size_t block_size = BITSTREAM_HEAD_ROOM;
    uint8_t *block = malloc(BITSTREAM_HEAD_ROOM + MAX_SLICES * (4 + MAX_SLICE_BYTES));
    uint8_t *shrunk;

    if (!slices || !block)
        abort();
    if (flags & RESET)
        memset(state, 0, bitstream_h264.state_size);
    picture.width = take_byte(input) * 32u;
    picture.height = take_byte(input) * 32u;
    take_picture(input, flags, &param);
    picture.param[VA_PARAM_PICTURE] = exact(&param, sizeof(param));
    if (flags & WITH_MATRIX) {
        take(input, &matrix, sizeof(matrix) - sizeof(matrix.va_reserved));
        picture.param[VA_PARAM_IQ_MATRIX] = exact(&matrix, sizeof(matrix));
    }
    memset(block, 0xee, BITSTREAM_HEAD_ROOM);
    for (uint8_t i = 0; i < count; i++) {
        VASliceParameterBufferH264 slice = {.num_ref_idx_l0_active_minus1 = take_byte(input)};

        slice.num_ref_idx_l1_active_minus1 = take_byte(input);
        slice.slice_data_flag = take_byte(input) >> 7;
        slices[i].param = exact(&slice, sizeof(slice));
        slices[i].size = take_byte(input) % (MAX_SLICE_BYTES + 1);
        memset(block + block_size, 0xee, BITSTREAM_SLICE_GAP);
        block_size += BITSTREAM_SLICE_GAP;
        take(input, block + block_size, slices[i].size);
        block_size += slices[i].size;
    }
    shrunk = exact(block, block_size);
    free(block);
    block_size = BITSTREAM_HEAD_ROOM;
    for (uint8_t i = 0; i < count; i++) {
        slices[i].data = shrunk + block_size + BITSTREAM_SLICE_GAP;
        block_size += BITSTREAM_SLICE_GAP + slices[i].size;
    }
    picture.head = shrunk;
    if (bitstream_h264.build(state, &picture, &packet) == 0)
        check(&packet, shrunk, block_size);

    for (uint8_t i = 0; i < count; i++)
        free((void *)(uintptr_t)slices[i].param);
    for (unsigned i = 0; i < VA_PARAM_COUNT; i++)
        free((void *)(uintptr_t)picture.param[i]);
    free(slices);
    free(shrunk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {.data = data, .size = size};
    void *state = calloc(1, bitstream_h264.state_size);

    if (!state)
        abort();
    for (unsigned i = 0; i < MAX_PICTURES && input.size > 0; i++)
        run_picture(&input, state);
    free(state);
    return 0;
}
