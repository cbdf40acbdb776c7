/* SPDX-License-Identifier: MIT */
#include "h264_fixture.h"

#include <viaduct/errors.h>

static void test_fields(void **state)
{
    struct fixture *f = *state;
    const struct headers *h = &f->headers;

    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(h->sps_count, 1);
    assert_int_equal(h->sps.profile, 100);
    assert_int_equal(h->sps.level, 62);
    assert_int_equal(h->sps.id, 0);
    assert_int_equal(h->sps.chroma, 1);
    assert_int_equal(h->sps.depth, 0);
    assert_int_equal(h->sps.log2_frame_num, 6);
    assert_int_equal(h->sps.poc_type, 0);
    assert_int_equal(h->sps.log2_lsb, 7);
    assert_int_equal(h->sps.ref_frames, 5);
    assert_int_equal(h->sps.gaps, 0);
    assert_int_equal(h->sps.width, 21);
    assert_int_equal(h->sps.height, 17);
    assert_int_equal(h->sps.mbs_only, 1);
    assert_int_equal(h->sps.direct, 1);
    assert_int_equal(h->sps.reorder, 0);
    assert_int_equal(h->sps.buffering, 5);
    assert_int_equal(h->pps_count, 1);
    assert_int_equal(h->pps[0].id, 0);
    assert_int_equal(h->pps[0].bipred, 2);
    assert_int_equal(h->pps[0].qp, -13);
    assert_int_equal(h->pps[0].qs, 8);
    assert_int_equal(h->pps[0].chroma, -2);
    assert_int_equal(h->pps[0].chroma2, 4);
    assert_int_equal(h->pps[0].t8x8, 1);
    assert_int_equal(h->pps[0].scaling, 0);
    assert_int_equal(f->packet.flags, BITSTREAM_KEY);
    assert_int_equal(f->packet.coded_width, 352);
    assert_int_equal(f->packet.coded_height, 288);
    /* The slice follows behind its start code, untouched. */
    assert_memory_equal(f->packet.data + h->slices, "\0\0\0\1\x65", 5);
}

/* Each flag alone: it must come out at its own place and nowhere else. */
static void test_single_flags(void **state)
{
    struct fixture *f = *state;
    struct slice_spec spec = p;

    spec.delta_bottom = -6;

    for (unsigned i = 0; i < 9; i++) {
        const struct headers *h = &f->headers;
        VAPictureParameterBufferH264 *param = &f->param;

        param->seq_fields.bits.gaps_in_frame_num_value_allowed_flag = i == 0;
        param->seq_fields.bits.direct_8x8_inference_flag = i == 1;
        param->pic_fields.bits.entropy_coding_mode_flag = i == 2;
        param->pic_fields.bits.weighted_pred_flag = i == 3;
        param->pic_fields.bits.transform_8x8_mode_flag = i == 4;
        param->pic_fields.bits.constrained_intra_pred_flag = i == 5;
        param->pic_fields.bits.pic_order_present_flag = i == 6;
        param->pic_fields.bits.deblocking_filter_control_present_flag = i == 7;
        param->pic_fields.bits.redundant_pic_cnt_present_flag = i == 8;
        memset(f->state, 0, bitstream_h264.state_size);
        assert_int_equal(build_one(f, spec), 0);
        assert_int_equal(h->pps[0].l0, 2); /* the slice header was read to its end */
        assert_int_equal(h->sps.gaps, i == 0);
        assert_int_equal(h->sps.direct, i == 1);
        assert_int_equal(h->pps[0].cabac, i == 2);
        assert_int_equal(h->pps[0].weighted, i == 3);
        assert_int_equal(h->pps[0].t8x8, i == 4);
        assert_int_equal(h->pps[0].intra, i == 5);
        assert_int_equal(h->pps[0].pic_order, i == 6);
        assert_int_equal(h->pps[0].deblocking, i == 7);
        assert_int_equal(h->pps[0].redundant, i == 8);
    }
}

static const struct {
    uint8_t chroma, depth, chroma_depth, profile, written_chroma_depth;
} profiles[] = {
    {1, 0, 0, 100, 0}, {0, 0, 0, 100, 0}, {0, 2, 0, 110, 2}, {1, 2, 2, 110, 2}, {1, 0, 1, 110, 1},
    {2, 0, 0, 122, 0}, {2, 2, 2, 122, 2}, {2, 6, 6, 244, 6}, {1, 3, 3, 244, 3}, {3, 0, 0, 244, 0},
};

static void test_profiles(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(profiles); i++) {
        f->param.seq_fields.bits.chroma_format_idc = profiles[i].chroma;
        f->param.bit_depth_luma_minus8 = profiles[i].depth;
        f->param.bit_depth_chroma_minus8 = profiles[i].chroma_depth;
        memset(f->state, 0, bitstream_h264.state_size);
        assert_int_equal(build_one(f, idr), 0);
        assert_int_equal(f->headers.sps.chroma, profiles[i].chroma);
        assert_int_equal(f->headers.sps.depth, profiles[i].depth);
        assert_int_equal(f->headers.sps.chroma_depth, profiles[i].written_chroma_depth);
        assert_int_equal(f->headers.sps.profile, profiles[i].profile);
    }
}

/* Column: height in VA, of the context, map units; field coding is on. */
static const struct {
    uint16_t mbs;
    uint32_t context, map_units;
} heights[] = {
    {68, 1088, 34},                 /* FFmpeg: the frame */
    {68, 1080, 34}, {67, 1080, 34}, /* GStreamer va: one short */
    {34, 1080, 34},                 /* Chrome: map units */
    {34, 544, 17},  {34, 2160, 17}, /* a smaller picture than its context */
    {2, 32, 1},     {1, 16, 1},
};

static void test_field_heights(void **state)
{
    struct fixture *f = *state;

    f->param.seq_fields.bits.frame_mbs_only_flag = 0;
    f->param.seq_fields.bits.mb_adaptive_frame_field_flag = 1;
    for (size_t i = 0; i < COUNT(heights); i++) {
        f->param.picture_height_in_mbs_minus1 = heights[i].mbs - 1;
        f->context_height = heights[i].context;
        memset(f->state, 0, bitstream_h264.state_size);
        assert_int_equal(build_one(f, idr), 0);
        assert_int_equal(f->headers.sps.mbs_only, 0);
        assert_int_equal(f->headers.sps.mbaff, 1);
        assert_int_equal(f->headers.sps.height + 1, heights[i].map_units);
        assert_int_equal(f->packet.coded_height, heights[i].map_units * 32);
        assert_int_equal(f->packet.flags, BITSTREAM_KEY);
    }
}

static void test_field_flags(void **state)
{
    struct fixture *f = *state;
    struct slice_spec bottom = p;

    f->param.seq_fields.bits.frame_mbs_only_flag = 0;
    f->param.pic_fields.bits.field_pic_flag = 1;
    f->param.CurrPic.flags = VA_PICTURE_H264_TOP_FIELD | VA_PICTURE_H264_SHORT_TERM_REFERENCE;
    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->packet.flags, BITSTREAM_KEY | BITSTREAM_TOP_FIELD);
    bottom.bottom = true;
    f->param.CurrPic.flags = VA_PICTURE_H264_BOTTOM_FIELD;
    assert_int_equal(build_one(f, bottom), 0);
    assert_int_equal(f->packet.flags, BITSTREAM_BOTTOM_FIELD);
    f->param.pic_fields.bits.field_pic_flag = 0;
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(f->packet.flags, 0);
}

/* The raster position that follows `at` in the zig-zag of figure 8-8, `side` entries wide. */
static unsigned zigzag_next(unsigned at, unsigned side)
{
    unsigned x = at % side, y = at / side;

    if ((x + y) % 2 == 0) {
        if (x == side - 1)
            return at + side;
        return y == 0 ? at + 1 : at + 1 - side;
    }
    if (y == side - 1)
        return at + 1;
    return x == 0 ? at + side : at - 1 + side;
}

static void test_scaling_lists(void **state)
{
    struct fixture *f = *state;
    const struct pps *pps = &f->headers.pps[0];

    for (unsigned i = 0; i < 6; i++)
        for (unsigned j = 0; j < 16; j++)
            f->matrix.ScalingList4x4[i][j] = (uint8_t)(255 - 16 * i - j);
    for (unsigned i = 0; i < 2; i++)
        for (unsigned j = 0; j < 64; j++)
            f->matrix.ScalingList8x8[i][j] = (uint8_t)(1 + 64 * i + j);
    f->send_matrix = true;
    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(pps->scaling, 1);
    for (unsigned i = 0; i < 6; i++)
        for (unsigned j = 0, at = 0; j < 16; j++, at = zigzag_next(at, 4))
            assert_int_equal(pps->list[i][j], f->matrix.ScalingList4x4[i][at]);
    for (unsigned i = 0; i < 2; i++)
        for (unsigned j = 0, at = 0; j < 64; j++, at = zigzag_next(at, 8))
            assert_int_equal(pps->list[6 + i][j], f->matrix.ScalingList8x8[i][at]);
    assert_int_equal(pps->chroma2, 4);

    /* A matrix stays in force while none comes. */
    f->send_matrix = false;
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(f->headers.pps_count, 1); /* slice P taught a default */
    assert_int_equal(pps->scaling, 1);

    /* Without the 8x8 transform its lists are neither looked at nor written. */
    memset(&f->matrix, 0, sizeof(f->matrix));
    memset(f->matrix.ScalingList4x4, 16, sizeof(f->matrix.ScalingList4x4));
    f->send_matrix = true;
    f->param.pic_fields.bits.transform_8x8_mode_flag = 0;
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(pps->t8x8, 0);
    assert_int_equal(pps->scaling, 0);
    f->matrix.ScalingList4x4[5][15] = 17;
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(pps->scaling, 1);
    assert_int_equal(pps->list[5][15], 17);
}

static void test_flat_444(void **state)
{
    struct fixture *f = *state;

    memset(&f->matrix, 16, sizeof(f->matrix));
    f->send_matrix = true;
    f->param.seq_fields.bits.chroma_format_idc = 3;
    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->headers.pps[0].scaling, 0);
    f->matrix.ScalingList8x8[1][7] = 17;
    assert_int_equal(build_one(f, idr), VD_ERR_UNSUPPORTED);
}

static void test_headers_only_when_changed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->headers.sps_count, 1);
    assert_int_equal(f->headers.pps_count, 1);
    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->headers.sps_count + f->headers.pps_count, 0);
    assert_int_equal(f->packet.size, f->block_size - BITSTREAM_HEAD_ROOM);
    assert_memory_equal(f->packet.data, "\0\0\0\1\x65", 5);
    /* A PPS alone. */
    f->param.pic_init_qp_minus26 = -12;
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(f->headers.sps_count, 0);
    assert_int_equal(f->headers.pps_count, 1);
    assert_int_equal(f->headers.pps[0].qp, -12);
    /* An SPS takes its PPSs with it. */
    f->param.num_ref_frames = 6;
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(f->headers.sps_count, 1);
    assert_int_equal(f->headers.pps_count, 1);
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(f->headers.sps_count + f->headers.pps_count, 0);
    /* A refused picture changes nothing. */
    f->param.num_ref_frames = 17;
    assert_int_equal(build_one(f, p), VD_ERR_PARAMETER);
    f->param.num_ref_frames = 6;
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(f->headers.sps_count + f->headers.pps_count, 0);
    memset(f->state, 0, bitstream_h264.state_size);
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(f->headers.sps_count + f->headers.pps_count, 2);
}

static void test_several_pps(void **state)
{
    struct fixture *f = *state;
    struct slice_spec slices[3] = {p, p, p};

    slices[0].pps_id = 255;
    slices[0].va_l0 = 3;
    slices[1].pps_id = 31;
    slices[1].type = 6;
    slices[1].va_l0 = 1;
    slices[1].va_l1 = 4;
    slices[2].pps_id = 255;
    slices[2].override = true; /* teaches nothing */
    slices[2].va_l0 = 7;
    assert_int_equal(build(f, slices, 3), 0);
    assert_int_equal(f->headers.sps_count, 1);
    assert_int_equal(f->headers.pps_count, 2);
    assert_int_equal(f->headers.pps[0].id, 31);
    assert_int_equal(f->headers.pps[0].l0, 1);
    assert_int_equal(f->headers.pps[0].l1, 4);
    assert_int_equal(f->headers.pps[1].id, 255);
    assert_int_equal(f->headers.pps[1].l0, 3);
    assert_int_equal(f->headers.pps[1].l1, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_memory_equal(f->slices[i].data - BITSTREAM_SLICE_GAP, "\0\0\0\1\x41", 5);

    /* Of a P slice's numbers only the first counts; known PPSs are not sent again. */
    slices[0].va_l1 = 9;
    assert_int_equal(build(f, slices, 1), 0);
    assert_int_equal(f->headers.pps_count, 0);
    slices[0].va_l0 = 5;
    assert_int_equal(build(f, slices, 3), 0);
    assert_int_equal(f->headers.pps_count, 1);
    assert_int_equal(f->headers.pps[0].id, 255);
    assert_int_equal(f->headers.pps[0].l0, 5);

    /* After a new SPS each PPS is sent when it is next used, with what was learned. */
    f->param.num_ref_frames = 4;
    assert_int_equal(build(f, slices, 1), 0);
    assert_int_equal(f->headers.pps_count, 1);
    slices[1].override = true;
    assert_int_equal(build(f, slices + 1, 1), 0);
    assert_int_equal(f->headers.sps_count, 0);
    assert_int_equal(f->headers.pps_count, 1);
    assert_int_equal(f->headers.pps[0].id, 31);
    assert_int_equal(f->headers.pps[0].l0, 1);
    assert_int_equal(f->headers.pps[0].l1, 4);

    /* One number alone is a change, too. */
    slices[1].override = false;
    slices[1].va_l1 = 6;
    assert_int_equal(build(f, slices + 1, 1), 0);
    assert_int_equal(f->headers.pps_count, 1);
    assert_int_equal(f->headers.pps[0].l1, 6);

    /* Streams that switch between two PPSs do not pay for it. */
    for (unsigned i = 0; i < 6; i++) {
        f->param.pic_fields.bits.weighted_pred_flag = i & 1;
        assert_int_equal(build(f, slices + (i & 1), 1), 0);
        assert_int_equal(f->headers.pps_count, i == 1);
    }
}

/* Header bits full of zeros get emulation prevention bytes, which the parser must not count. */
static void test_escaped_slice_header(void **state)
{
    struct fixture *f = *state;
    struct slice_spec spec = {
        .nal_header = 0x41, .type = 0, .pps_id = 0, .frame_num = 0, .va_l0 = 11};

    f->param.seq_fields.bits.log2_max_frame_num_minus4 = 12;
    f->param.seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4 = 12;
    assert_int_equal(build_one(f, spec), 0);
    assert_memory_equal(f->slices[0].data, "\x41\xe0\0\0\3", 5);
    assert_int_equal(f->headers.pps[0].l0, 11);
}

/* Emulation prevention in what the builder itself writes, and lists that need it. */
static void test_escaped_pps(void **state)
{
    struct fixture *f = *state;

    memset(&f->matrix, 8, sizeof(f->matrix));
    f->matrix.ScalingList4x4[2][0] = 136; /* +128, -128: the longest codes, many zeros */
    f->send_matrix = true;
    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->headers.pps[0].list[2][0], 136);
    assert_int_equal(f->headers.pps[0].list[2][1], 8);
}

static void test_start_codes_in_data(void **state)
{
    struct fixture *f = *state;
    struct slice_spec slices[2] = {idr, idr};

    slices[0].prefix = "\0\0\1";
    slices[0].prefix_size = 3;
    slices[1].prefix = "\0\0\0\1";
    slices[1].prefix_size = 4;
    assert_int_equal(build(f, slices, 2), 0);
    assert_int_equal(f->packet.flags, BITSTREAM_KEY);
    assert_memory_equal(f->slices[0].data - BITSTREAM_SLICE_GAP, "\0\0\0\0\0\0\1\x65", 8);
    assert_memory_equal(f->slices[1].data - BITSTREAM_SLICE_GAP, "\0\0\0\0\0\0\0\1\x65", 9);
}

/* Slices that hold no header; the second one is good, or missing. */
static const struct {
    const char *data;
    size_t size;
    const char *becomes; /* its gap and itself */
} broken[] = {
    {"", 0, "\0\0\0\0"},
    {"\x41", 1, "\0\0\0\1\x0c"},
    {"\x41\xe0", 2, "\0\0\0\1\x0c\xe0"},
    {"\x67\x64\0\x3e\xac\xff\xff\xff", 8, "\0\0\0\1\x0c\x64\0\x3e"}, /* an SPS */
    {"\xc1\xff\xff\xff\xff\xff\xff\xff", 8, "\0\0\0\1\x0c\xff"},     /* forbidden_zero_bit */
    {"\x41\x85\0\1\xff\xff\xff\xff", 8, "\0\0\0\1\x0c\x85"},         /* slice_type 10 or more */
    {"\x41\xe0\0\0\1\xff\xff\xff\xff", 9, "\0\0\0\1\x0c\xe0"},       /* a start code inside */
    {"\0\0\1", 3, "\0\0\0\0\0\0\0"},
    {"\0\0\0\1\x41", 5, "\0\0\0\0\0\0\0\1\x0c"},
    {"\0\0\0", 3, "\0\0\0\1\x0c\0\0"},
};

static void test_broken_slices(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(broken); i++) {
        struct slice_spec slices[2] = {{.prefix_only = true}, p};

        slices[0].prefix = broken[i].data;
        slices[0].prefix_size = broken[i].size;
        assert_int_equal(build(f, slices, 1), VD_ERR_DECODE);
        assert_int_equal(build(f, slices, 2), 0);
        assert_memory_equal(f->slices[0].data - BITSTREAM_SLICE_GAP, broken[i].becomes,
                            4 + (broken[i].size < 2 ? broken[i].size : 2));
        assert_memory_equal(f->slices[1].data - BITSTREAM_SLICE_GAP, "\0\0\0\1\x41", 5);
        assert_int_equal(f->packet.flags, 0);
    }
    /* A PPS id that does not exist. */
    struct slice_spec far = p;
    far.pps_id = 256;
    assert_int_equal(build_one(f, far), VD_ERR_DECODE);
    assert_int_equal(build(f, NULL, 0), VD_ERR_PARAMETER);
}

/* One thing that is wrong a row: where, and with what error the picture is refused. */
#define REFUSAL(number, assignment, error) \
    case number:                           \
        assignment;                        \
        return VD_ERR_##error

static int break_one(struct fixture *f, unsigned which)
{
    switch (which) {
        REFUSAL(0, f->param.picture_width_in_mbs_minus1 = 512, PARAMETER);
        REFUSAL(1, f->param.picture_width_in_mbs_minus1 = 0xffff, PARAMETER);
        REFUSAL(2, f->param.picture_height_in_mbs_minus1 = 512, PARAMETER);
        REFUSAL(3, f->param.bit_depth_luma_minus8 = 7, PARAMETER);
        REFUSAL(4, f->param.bit_depth_chroma_minus8 = 7, PARAMETER);
        REFUSAL(5, f->param.num_ref_frames = 17, PARAMETER);
        REFUSAL(6, f->param.seq_fields.bits.log2_max_frame_num_minus4 = 13, PARAMETER);
        REFUSAL(7, f->param.seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4 = 13, PARAMETER);
        REFUSAL(8, f->param.seq_fields.bits.pic_order_cnt_type = 3, PARAMETER);
        REFUSAL(9, f->param.pic_fields.bits.field_pic_flag = 1, PARAMETER);
        REFUSAL(10, f->param.pic_fields.bits.weighted_bipred_idc = 3, PARAMETER);
        REFUSAL(11, f->param.pic_init_qp_minus26 = -27, PARAMETER);
        REFUSAL(12, f->param.pic_init_qp_minus26 = 26, PARAMETER);
        REFUSAL(13, f->param.pic_init_qs_minus26 = -27, PARAMETER);
        REFUSAL(14, f->param.pic_init_qs_minus26 = 26, PARAMETER);
        REFUSAL(15, f->param.chroma_qp_index_offset = -13, PARAMETER);
        REFUSAL(16, f->param.chroma_qp_index_offset = 13, PARAMETER);
        REFUSAL(17, f->param.second_chroma_qp_index_offset = -13, PARAMETER);
        REFUSAL(18, f->param.second_chroma_qp_index_offset = 13, PARAMETER);
        REFUSAL(19, f->param.seq_fields.value |= 7, UNSUPPORTED); /* 4:4:4, separate planes */
        REFUSAL(20, f->matrix.ScalingList4x4[3][4] = 0, PARAMETER);
        REFUSAL(21, f->matrix.ScalingList8x8[1][63] = 0, PARAMETER);
        REFUSAL(22, f->slice_param[0].slice_data_flag = VA_SLICE_DATA_FLAG_BEGIN, UNSUPPORTED);
    }
    return 0;
}

static void test_refusals(void **state)
{
    struct fixture *f = *state;

    memset(&f->matrix, 16, sizeof(f->matrix));
    f->send_matrix = true;
    for (unsigned i = 0;; i++) {
        struct fixture saved = *f;
        struct bitstream_packet untouched;
        int err = break_one(f, i);

        if (err == 0)
            break;
        memset(&untouched, 0x5a, sizeof(untouched));
        assert_int_equal(build_one(f, idr), err);
        assert_memory_equal(&f->packet, &untouched, sizeof(untouched));
        saved.block = f->block;
        *f = saved;
        assert_int_equal(build_one(f, idr), 0);
    }
    /* A number of references that no list has. */
    struct slice_spec many = p;
    many.va_l0 = 32;
    assert_int_equal(build_one(f, many), VD_ERR_PARAMETER);
    many.va_l0 = 0;
    many.va_l1 = 32;
    assert_int_equal(build_one(f, many), VD_ERR_PARAMETER);
}

/* 8.2.1.2, forwards: what a decoder computes with the SPS it was sent. */
static void decode_poc(const struct sps *s, const struct slice_spec *spec, int64_t offset,
                       int64_t *ret_top, int64_t *ret_bottom, bool field)
{
    bool reference = spec->nal_header & 0x60;
    int64_t absolute = s->cycle ? offset + spec->frame_num : 0;
    int64_t expected = 0, sum = 0;

    if (!reference && absolute > 0)
        absolute--;
    for (uint32_t i = 0; i < s->cycle; i++)
        sum += s->offset[i];
    if (absolute > 0) {
        expected = (absolute - 1) / s->cycle * sum;
        for (uint32_t i = 0; i <= (absolute - 1) % s->cycle; i++)
            expected += s->offset[i];
    }
    if (!reference)
        expected += s->non_ref;
    *ret_top = expected + spec->delta[0];
    *ret_bottom = *ret_top + s->top_to_bottom + (field ? 0 : spec->delta[1]);
}

/*
 * A stream of POC type 1: frames and pairs of fields, some not referenced, some bottom first, an
 * IDR now and then. The SPS never changes between two fields.
 */
static void poc_stream(struct fixture *f, unsigned frames, uint8_t log2, bool fields_first)
{
    static const int32_t top_to_bottom = -5;
    struct sps sps = {0};
    int64_t offset = 0;
    uint32_t frame_num = 0;

    f->param.seq_fields.bits.pic_order_cnt_type = 1;
    f->param.seq_fields.bits.log2_max_frame_num_minus4 = log2 - 4u;
    f->param.seq_fields.bits.frame_mbs_only_flag = 0;
    f->param.pic_fields.bits.pic_order_present_flag = 1;
    for (unsigned i = 0; i < frames; i++) {
        bool is_idr = i % 30000 == 0, reference = is_idr || i % 3 != 2;
        bool fields = (i & 2) != fields_first * 2, bottom_first = i % 5 == 1;
        int32_t expected = is_idr ? 0 : (int32_t)(2 * i - i % 11);

        if (is_idr) {
            frame_num = 0;
            offset = 0;
        } else if (++frame_num == 1u << log2) {
            frame_num = 0;
            offset += 1 << log2;
        }
        for (unsigned j = 0; j <= fields; j++) {
            bool bottom = fields && bottom_first != (j == 1);
            struct slice_spec spec = {.type = 5, .frame_num = frame_num, .bottom = bottom};
            int32_t top_poc, bottom_poc;
            int64_t top, below;

            spec.nal_header = is_idr && j == 0 ? 0x65 : reference ? 0x41 : 0x01;
            spec.delta[0] = (int32_t)((i + j) % 7) - 3;
            spec.delta[1] = (int32_t)(i % 5) - 2;
            top_poc = expected + spec.delta[0];
            bottom_poc = top_poc + top_to_bottom + (fields ? 0 : spec.delta[1]);
            /* As FFmpeg has it, a field does not know the other one. */
            f->param.CurrPic.TopFieldOrderCnt = bottom ? 0 : top_poc;
            f->param.CurrPic.BottomFieldOrderCnt = fields && !bottom ? 0 : bottom_poc;
            f->param.pic_fields.bits.field_pic_flag = fields;
            assert_int_equal(build_one(f, spec), 0);
            if (f->headers.sps_count)
                sps = f->headers.sps;
            assert_false(f->headers.sps_count && j == 1);
            decode_poc(&sps, &spec, offset, &top, &below, fields);
            if (!bottom)
                assert_int_equal(top, top_poc);
            /* The first pair can know nothing of the distance. */
            if ((!fields || bottom) && !(fields_first && i == 0 && j == 1))
                assert_int_equal(below, bottom_poc);
        }
    }
}

static void test_poc_type_1(void **state)
{
    struct fixture *f = *state;

    poc_stream(f, 20000, 4, false);
    memset(f->state, 0, bitstream_h264.state_size);
    poc_stream(f, 2000, 9, false);
    memset(f->state, 0, bitstream_h264.state_size);
    poc_stream(f, 100, 4, true);
}

/* Two fields are no pair if only one is referenced: the second one gets its own SPS. */
static void test_poc_unpaired(void **state)
{
    struct fixture *f = *state;
    struct slice_spec spec = p;

    f->param.seq_fields.bits.pic_order_cnt_type = 1;
    f->param.seq_fields.bits.frame_mbs_only_flag = 0;
    f->param.pic_fields.bits.field_pic_flag = 1;
    f->param.CurrPic.TopFieldOrderCnt = 20;
    assert_int_equal(build_one(f, spec), 0);
    assert_int_equal(f->headers.sps.offset[0], 20);
    spec.nal_header = 0x01;
    spec.bottom = true;
    f->param.CurrPic.BottomFieldOrderCnt = 90;
    assert_int_equal(build_one(f, spec), 0);
    assert_int_equal(f->headers.sps_count, 1);
    assert_int_equal(f->headers.sps.cycle, 0);
    assert_int_equal(f->headers.sps.non_ref + f->headers.sps.top_to_bottom, 90);
}

static void test_poc_out_of_range(void **state)
{
    struct fixture *f = *state;
    struct slice_spec spec = p;

    f->param.seq_fields.bits.pic_order_cnt_type = 1;
    f->param.CurrPic.TopFieldOrderCnt = INT32_MAX;
    f->param.CurrPic.BottomFieldOrderCnt = INT32_MAX;
    assert_int_equal(build_one(f, spec), 0);
    spec.delta[0] = -1;
    assert_int_equal(build_one(f, spec), VD_ERR_PARAMETER);
    spec.delta[0] = 0;
    f->param.CurrPic.BottomFieldOrderCnt = INT32_MIN;
    assert_int_equal(build_one(f, spec), VD_ERR_PARAMETER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(test_single_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(test_profiles, setup, teardown),
        cmocka_unit_test_setup_teardown(test_field_heights, setup, teardown),
        cmocka_unit_test_setup_teardown(test_field_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scaling_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flat_444, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headers_only_when_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several_pps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_escaped_slice_header, setup, teardown),
        cmocka_unit_test_setup_teardown(test_escaped_pps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_codes_in_data, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_poc_type_1, setup, teardown),
        cmocka_unit_test_setup_teardown(test_poc_unpaired, setup, teardown),
        cmocka_unit_test_setup_teardown(test_poc_out_of_range, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
