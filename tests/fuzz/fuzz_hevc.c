/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <va/va.h>

#include "bitstream/bitstream.h"
#include "fuzz.h"

/*
 * Runs the H.265 builder over a few pictures with the state kept between them, as the dispatcher
 * would: every struct and the block with the slices are heap memory of exactly their size.
 *
 * Input, a picture: flags, number of slices, then structs and slices, each cut short where the
 * input ends (the rest is zero). Surfaces are few, so that pictures refer to each other.
 */

#define MAX_PICTURES    8
#define MAX_SLICES      8
#define MAX_SLICE_BYTES 96

enum {
    WITH_MATRIX = 1,
    RESET = 2,
    SANE = 4, /* the fields that are refused most often are put right */
    EXTENDED = 8,
    FEW_FLAGS = 16,
};

static void *exact(const void *data, size_t size)
{
    void *copy = malloc(size);

    if (!copy)
        abort();
    memcpy(copy, data, size);
    return copy;
}

static void take_frame(struct fuzz_input *input, VAPictureHEVC *frame)
{
    uint8_t what = fuzz_byte(input);

    frame->picture_id = what & 8 ? what & 7u : VA_INVALID_SURFACE;
    frame->flags = what & 0xf0 ? what & 0xf0u : VA_PICTURE_HEVC_INVALID;
    frame->pic_order_cnt = (int8_t)fuzz_byte(input);
    if (what == 0xff)
        fuzz_take(input, &frame->pic_order_cnt, sizeof(frame->pic_order_cnt));
}

static void make_sane(VAPictureParameterBufferHEVC *p, uint8_t flags)
{
    p->pic_width_in_luma_samples = (uint16_t)((p->pic_width_in_luma_samples % 512 + 1) * 8);
    p->pic_height_in_luma_samples = (uint16_t)((p->pic_height_in_luma_samples % 512 + 1) * 8);
    p->bit_depth_luma_minus8 %= 5;
    p->bit_depth_chroma_minus8 = p->bit_depth_luma_minus8;
    p->pic_fields.bits.separate_colour_plane_flag = 0;
    p->pic_fields.bits.pcm_enabled_flag = 0;
    p->log2_min_luma_coding_block_size_minus3 = 0;
    p->log2_diff_max_min_luma_coding_block_size =
        p->log2_diff_max_min_luma_coding_block_size % 3 + 1;
    p->log2_min_transform_block_size_minus2 = 0;
    p->log2_diff_max_min_transform_block_size %= 3;
    p->max_transform_hierarchy_depth_inter %= 2;
    p->max_transform_hierarchy_depth_intra %= 2;
    p->init_qp_minus26 %= 26;
    p->diff_cu_qp_delta_depth %= 2;
    p->pps_cb_qp_offset %= 13;
    p->pps_cr_qp_offset %= 13;
    p->pps_beta_offset_div2 %= 7;
    p->pps_tc_offset_div2 %= 7;
    p->log2_parallel_merge_level_minus2 %= 3;
    p->num_ref_idx_l0_default_active_minus1 %= 15;
    p->num_ref_idx_l1_default_active_minus1 %= 15;
    p->num_extra_slice_header_bits %= 3;
    p->log2_max_pic_order_cnt_lsb_minus4 %= 13;
    p->num_short_term_ref_pic_sets %= 65;
    p->num_long_term_ref_pic_sps %= 33;
    p->num_tile_columns_minus1 %= 2;
    p->num_tile_rows_minus1 %= 2;
    p->column_width_minus1[0] = p->row_height_minus1[0] = 0;
    if (flags & FEW_FLAGS)
        p->pic_fields.bits.tiles_enabled_flag = 0;
}

/* Only the fields that the builder can look at. */
static void take_picture(struct fuzz_input *input, uint8_t flags,
                         VAPictureParameterBufferHEVCExtension *param)
{
    VAPictureParameterBufferHEVC *p = &param->base;

    memset(param, 0, sizeof(*param));
    take_frame(input, &p->CurrPic);
    for (unsigned i = 0; i < 15; i++)
        p->ReferenceFrames[i].flags = VA_PICTURE_HEVC_INVALID;
    for (unsigned i = fuzz_byte(input) % 16; i-- > 0;)
        take_frame(input, &p->ReferenceFrames[i]);
    fuzz_take(input, &p->pic_width_in_luma_samples,
              offsetof(VAPictureParameterBufferHEVC, va_reserved) -
                  offsetof(VAPictureParameterBufferHEVC, pic_width_in_luma_samples));
    if (flags & SANE)
        make_sane(p, flags);
    if (flags & EXTENDED)
        fuzz_take(input, &param->rext, sizeof(param->rext));
}

/* The packet must lie in the block, with all its bytes. */
static void check(const struct bitstream_packet *packet, const uint8_t *block, size_t block_size)
{
    if (packet->data < block || packet->data + packet->size != block + block_size ||
        packet->coded_width == 0 || packet->coded_height == 0 || packet->coded_width > 16384 ||
        packet->coded_height > 16384)
        abort();
    free(exact(packet->data, packet->size));
}

static void run_picture(struct fuzz_input *input, void *state)
{
    uint8_t flags = fuzz_byte(input), count = fuzz_byte(input) % (MAX_SLICES + 1);
    struct va_slice slices[MAX_SLICES] = {{0}};
    struct va_picture picture = {.slices = slices, .slice_count = count};
    VAPictureParameterBufferHEVCExtension param;
    VAIQMatrixBufferHEVC matrix;
    struct bitstream_packet packet;
    size_t size = BITSTREAM_HEAD_ROOM;
    uint8_t *block = malloc(size + MAX_SLICES * (bitstream_hevc.gap + MAX_SLICE_BYTES));
    uint8_t *shrunk;

    if (!block)
        abort();
    if (flags & RESET)
        memset(state, 0, bitstream_hevc.state_size);
    take_picture(input, flags, &param);
    picture.param_size[VA_PARAM_PICTURE] = flags & EXTENDED ? sizeof(param) : sizeof(param.base);
    picture.param[VA_PARAM_PICTURE] = exact(&param, picture.param_size[VA_PARAM_PICTURE]);
    if (flags & WITH_MATRIX) {
        fuzz_take(input, &matrix, sizeof(matrix));
        picture.param[VA_PARAM_IQ_MATRIX] = exact(&matrix, sizeof(matrix));
    }
    memset(block, 0xee, size);
    for (uint8_t i = 0; i < count; i++) {
        VASliceParameterBufferHEVC slice = {.slice_data_flag = fuzz_byte(input) >> 7};

        fuzz_take(input, slice.RefPicList, sizeof(slice.RefPicList));
        slices[i].param = exact(&slice, sizeof(slice));
        slices[i].size = fuzz_byte(input) % (MAX_SLICE_BYTES + 1);
        memset(block + size, 0xee, bitstream_hevc.gap);
        size += bitstream_hevc.gap;
        fuzz_take(input, block + size, slices[i].size);
        size += slices[i].size;
    }
    shrunk = exact(block, size);
    free(block);
    size = BITSTREAM_HEAD_ROOM;
    for (uint8_t i = 0; i < count; i++) {
        size += bitstream_hevc.gap;
        slices[i].data = shrunk + size;
        size += slices[i].size;
    }
    picture.head = shrunk;
    if (bitstream_hevc.build(state, &picture, &packet) == 0)
        check(&packet, shrunk, size);

    for (uint8_t i = 0; i < count; i++)
        free((void *)(uintptr_t)slices[i].param);
    for (unsigned i = 0; i < VA_PARAM_COUNT; i++)
        free((void *)(uintptr_t)picture.param[i]);
    free(shrunk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {.data = data, .size = size};
    void *state = calloc(1, bitstream_hevc.state_size);

    if (!state)
        abort();
    for (unsigned i = 0; i < MAX_PICTURES && input.size > 0; i++)
        run_picture(&input, state);
    free(state);
    return 0;
}

/* A key picture, then one that refers to it, each with a slice. */
size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    static const uint8_t slices[2][12] = {
        {0x28, 1, 0xaf, 0xff, 0xff, 0xff, 0x80, 1, 2, 3, 4, 5},
        {0x02, 1, 0xd0, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xff, 0x80},
    };
    struct fuzz_writer w = {.at = buffer, .room = room};
    VAPictureParameterBufferHEVC p = {.num_ref_idx_l0_default_active_minus1 = 1};
    uint8_t lists[sizeof(((VASliceParameterBufferHEVC *)0)->RefPicList)] = {0};

    if (index >= 4)
        return 0;
    p.pic_fields.bits.chroma_format_idc = 1;
    p.slice_parsing_fields.bits.long_term_ref_pics_present_flag = index & 1;
    for (unsigned i = 0; i < 4; i++) {
        unsigned inter = i > 0;

        fuzz_put_byte(&w, (uint8_t)(SANE | FEW_FLAGS | (index & 2 ? EXTENDED : 0)));
        fuzz_put_byte(&w, 1);
        fuzz_put_byte(&w, (uint8_t)(8 | i)); /* CurrPic */
        fuzz_put_byte(&w, (uint8_t)i);
        fuzz_put_byte(&w, (uint8_t)inter);
        if (inter) {
            fuzz_put_byte(&w, (uint8_t)(0x10 | 8 | (i - 1)));
            fuzz_put_byte(&w, (uint8_t)(i - 1));
        }
        fuzz_put(&w, &p.pic_width_in_luma_samples,
                 offsetof(VAPictureParameterBufferHEVC, va_reserved) -
                     offsetof(VAPictureParameterBufferHEVC, pic_width_in_luma_samples));
        if (index & 2) {
            VAPictureParameterBufferHEVCRext rext = {.diff_cu_chroma_qp_offset_depth = 0};

            fuzz_put(&w, &rext, sizeof(rext));
        }
        fuzz_put_byte(&w, 0);
        fuzz_put(&w, lists, sizeof(lists));
        fuzz_put_byte(&w, sizeof(slices[inter]));
        fuzz_put(&w, slices[inter], sizeof(slices[inter]));
    }
    return w.used;
}
