/* SPDX-License-Identifier: MIT */
#include "mpeg_fixture.h"

#include <viaduct/errors.h>

struct fixture {
    struct mpeg_fixture m;
    VAPictureParameterBufferMPEG2 param;
    VAIQMatrixBufferMPEG2 matrix;
    VASliceParameterBufferMPEG2 slice[MPEG_SLICES];
    uint8_t bytes[MPEG_SLICES][8];
};

/* What a packet starts with. */
struct headers {
    bool sequence, group;
    uint32_t width, height, progressive;
    uint32_t type, f_code, precision, structure, flags;
    bool matrix[2];
    uint8_t value[2][64];
    size_t slices; /* offset of the first slice's start code */
};

/* A picture of three slices, progressive, distinct values where they are free. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    mpeg_setup(&f->m, &bitstream_mpeg2);
    f->m.param = &f->param;
    f->m.count = 3;
    f->param.horizontal_size = 720;
    f->param.vertical_size = 48;
    f->param.picture_coding_type = 1;
    f->param.f_code = 0x1234;
    f->param.picture_coding_extension.bits.intra_dc_precision = 2;
    f->param.picture_coding_extension.bits.picture_structure = 3;
    f->param.picture_coding_extension.bits.frame_pred_frame_dct = 1;
    f->param.picture_coding_extension.bits.progressive_frame = 1;
    f->param.picture_coding_extension.bits.is_first_field = 1;
    for (uint32_t i = 0; i < MPEG_SLICES; i++) {
        f->slice[i].slice_vertical_position = i;
        memcpy(f->bytes[i], "\0\0\1\0\x12\x34\x56\x78", 8);
        f->bytes[i][3] = (uint8_t)(i + 1);
        f->m.slices[i] = (struct va_slice){&f->slice[i], f->bytes[i], 8};
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    mpeg_teardown(&f->m);
    free(f);
    return 0;
}

static void read_sequence(struct mpeg_fixture *m, struct headers *h)
{
    h->sequence = true;
    h->width = mpeg_read(m, 12);
    h->height = mpeg_read(m, 12);
    assert_in_range(mpeg_read(m, 4), 1, 4);    /* aspect_ratio_information */
    assert_in_range(mpeg_read(m, 4), 1, 8);    /* frame_rate_code */
    assert_int_not_equal(mpeg_read(m, 18), 0); /* bit_rate_value */
    mpeg_expect(m, 1, 1);
    mpeg_read(m, 10);
    mpeg_expect(m, 3, 0); /* constrained_parameters_flag, no matrices */
    mpeg_expect(m, 32, 0x1b5);
    mpeg_expect(m, 4, 1);
    mpeg_expect(m, 8, 0x44);
    h->progressive = mpeg_read(m, 1);
    mpeg_expect(m, 2, 1);
    h->width |= mpeg_read(m, 2) << 12;
    h->height |= mpeg_read(m, 2) << 12;
    mpeg_read(m, 12);
    mpeg_expect(m, 1, 1);
    mpeg_read(m, 8);
    mpeg_expect(m, 1, 0); /* low_delay: there may be B pictures */
    mpeg_expect(m, 7, 0);
    mpeg_align(m);
}

static void read_picture(struct mpeg_fixture *m, struct headers *h)
{
    mpeg_read(m, 10);
    h->type = mpeg_read(m, 3);
    mpeg_expect(m, 16, 0xffff);
    if (h->type > 1)
        mpeg_expect(m, 4, 7);
    if (h->type > 2)
        mpeg_expect(m, 4, 7);
    mpeg_expect(m, 1, 0);
    mpeg_align(m);
    mpeg_expect(m, 32, 0x1b5);
    mpeg_expect(m, 4, 8);
    h->f_code = mpeg_read(m, 16);
    h->precision = mpeg_read(m, 2);
    h->structure = mpeg_read(m, 2);
    h->flags = mpeg_read(m, 9); /* top_field_first to progressive_frame */
    mpeg_expect(m, 1, 0);
    mpeg_align(m);
}

static void read_matrices(struct mpeg_fixture *m, struct headers *h)
{
    mpeg_expect(m, 4, 3);
    for (int i = 0; i < 2; i++) {
        h->matrix[i] = mpeg_read(m, 1);
        for (int j = 0; h->matrix[i] && j < 64; j++)
            h->value[i][j] = (uint8_t)mpeg_read(m, 8);
    }
    mpeg_expect(m, 2, 0);
    mpeg_align(m);
}

static struct headers build(struct fixture *f)
{
    struct headers h = {0};

    assert_int_equal(mpeg_build(&f->m), 0);
    for (;;) {
        uint32_t code = mpeg_read(&f->m, 32);

        assert_int_equal(code >> 8, 1);
        if (code == 0x1b3)
            read_sequence(&f->m, &h);
        else if (code == 0x1b8) {
            h.group = true;
            mpeg_read(&f->m, 12);
            mpeg_expect(&f->m, 1, 1);
            mpeg_read(&f->m, 12);
            mpeg_expect(&f->m, 2, 2); /* closed_gop, not broken_link */
            mpeg_align(&f->m);
        } else if (code == 0x100)
            read_picture(&f->m, &h);
        else if (code == 0x1b5)
            read_matrices(&f->m, &h);
        assert_false(f->m.reader.error);
        h.slices = f->m.reader.position / 8;
        /* Slices have zeros in front, the gap, or a start code there. */
        if (h.slices + 4 > f->m.packet.size || f->m.packet.data[h.slices + 2] == 0 ||
            (f->m.packet.data[h.slices + 3] > 0 && f->m.packet.data[h.slices + 3] < 0xb0))
            return h;
    }
}

static void test_fields(void **state)
{
    struct fixture *f = *state;
    struct headers h = build(f);

    assert_true(h.sequence && h.group);
    assert_int_equal(h.width, 720);
    assert_int_equal(h.height, 48);
    assert_int_equal(h.type, 1);
    assert_int_equal(h.f_code, 0x1234);
    assert_int_equal(h.precision, 2);
    assert_int_equal(h.structure, 3);
    assert_int_equal(h.flags, 0x83); /* frame_pred_frame_dct, chroma_420_type, progressive_frame */
    assert_int_equal(f->m.packet.flags, BITSTREAM_KEY);
    assert_int_equal(f->m.packet.coded_width, 720);
    assert_memory_equal(f->m.packet.data + h.slices,
                        "\0\0\0\0\0\0\1\1\x12\x34\x56\x78\0\0\0\0\0\0\1\2", 20);
    assert_int_equal(f->m.packet.size, h.slices + 36);

    /* Nothing changed: the picture header alone. */
    f->param.picture_coding_type = 3;
    h = build(f);
    assert_false(h.sequence || h.group || h.matrix[0]);
    assert_int_equal(h.type, 3);
    assert_int_equal(f->m.packet.flags, 0);

    f->param.horizontal_size = 4096;
    f->param.vertical_size = 16383;
    h = build(f);
    assert_true(h.sequence && h.group);
    assert_int_equal(h.width, 4096);
    assert_int_equal(h.height, 16383);
}

/* Each flag alone: it must come out at its own place and nowhere else. */
static void test_single_flags(void **state)
{
    struct fixture *f = *state;
    static const uint32_t places[] = {0x100, 0x80, 0x40, 0x20, 0x10, 8, 4, 3};

    for (unsigned i = 0; i < COUNT(places); i++) {
        f->param.picture_coding_extension.bits.top_field_first = i == 0;
        f->param.picture_coding_extension.bits.frame_pred_frame_dct = i == 1;
        f->param.picture_coding_extension.bits.concealment_motion_vectors = i == 2;
        f->param.picture_coding_extension.bits.q_scale_type = i == 3;
        f->param.picture_coding_extension.bits.intra_vlc_format = i == 4;
        f->param.picture_coding_extension.bits.alternate_scan = i == 5;
        f->param.picture_coding_extension.bits.repeat_first_field = i == 6;
        f->param.picture_coding_extension.bits.progressive_frame = i == 7;
        assert_int_equal(build(f).flags, places[i]);
    }
}

/* Columns: height, last row with a slice, progressive_frame, then what comes out. */
static const struct {
    uint16_t height;
    uint32_t row;
    bool progressive_frame, progressive;
} heights[] = {
    {720, 44, true, true}, /* 45 rows: there would be 46 if it were interlaced */
    {720, 45, true, false}, {720, 44, false, false},
    {576, 35, true, false}, /* 36 rows in both: the careful choice */
    {16, 0, true, true},    {16, 1, true, false},
};

static void test_progressive(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(heights); i++) {
        mpeg_reset(&f->m);
        f->param.vertical_size = heights[i].height;
        f->param.picture_coding_extension.bits.progressive_frame = heights[i].progressive_frame;
        f->m.count = 1;
        f->slice[0].slice_vertical_position = heights[i].row;
        assert_int_equal(build(f).progressive, heights[i].progressive);
    }
}

/* A picture that has lost its last row does not make an interlaced sequence progressive. */
static void test_progressive_stays(void **state)
{
    struct fixture *f = *state;

    f->m.count = 1;
    f->slice[0].slice_vertical_position = 3;
    assert_int_equal(build(f).progressive, 0);
    f->slice[0].slice_vertical_position = 2;
    assert_false(build(f).sequence);
    f->param.vertical_size = 16;
    f->slice[0].slice_vertical_position = 0;
    assert_int_equal(build(f).progressive, 1);
}

static void test_matrices(void **state)
{
    struct fixture *f = *state;
    struct headers h;

    for (int i = 0; i < 64; i++) {
        f->matrix.intra_quantiser_matrix[i] = (uint8_t)(i + 8);
        f->matrix.non_intra_quantiser_matrix[i] = (uint8_t)(200 - i);
    }
    f->m.matrix = &f->matrix;
    h = build(f);
    assert_false(h.matrix[0] || h.matrix[1]);
    f->matrix.load_non_intra_quantiser_matrix = 1;
    h = build(f);
    assert_true(!h.matrix[0] && h.matrix[1]);
    assert_memory_equal(h.value[1], f->matrix.non_intra_quantiser_matrix, 64);
    /* Sent once; it holds without a buffer, and is sent again behind a new sequence header. */
    h = build(f);
    assert_false(h.matrix[0] || h.matrix[1]);
    f->m.matrix = NULL;
    f->param.horizontal_size = 352;
    h = build(f);
    assert_true(h.sequence && !h.matrix[0] && h.matrix[1]);
    f->m.matrix = &f->matrix;
    f->matrix.load_intra_quantiser_matrix = 1;
    h = build(f);
    assert_true(!h.sequence && h.matrix[0] && !h.matrix[1]);
    assert_memory_equal(h.value[0], f->matrix.intra_quantiser_matrix, 64);
    f->matrix.intra_quantiser_matrix[63] = 0;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
}

static struct headers build_field(struct fixture *f, uint32_t structure, bool first)
{
    f->param.picture_coding_extension.bits.picture_structure = structure;
    f->param.picture_coding_extension.bits.is_first_field = first;
    f->param.picture_coding_extension.bits.progressive_frame = 0;
    return build(f);
}

static void test_field_pictures(void **state)
{
    struct fixture *f = *state;
    struct headers h = build_field(f, 1, true);

    assert_true(h.sequence && h.group);
    assert_int_equal(h.progressive, 0);
    assert_int_equal(h.structure, 1);
    assert_int_equal(f->m.packet.flags, BITSTREAM_KEY | BITSTREAM_TOP_FIELD);
    f->param.picture_coding_type = 2;
    h = build_field(f, 2, false);
    assert_false(h.sequence || h.group);
    assert_int_equal(f->m.packet.flags, BITSTREAM_BOTTOM_FIELD);

    /* A first field without its second one: the next first field must not become it. */
    assert_false(build_field(f, 2, true).group);
    assert_true(build_field(f, 2, true).group);
    assert_false(build_field(f, 1, false).group);
    /* A second one without its first counts as one. */
    assert_false(build_field(f, 1, false).group);
    assert_true(build_field(f, 2, true).group);
    /* A frame ends the matter. */
    assert_false(build_field(f, 3, true).group);
    assert_false(build_field(f, 2, true).group);
}

static void test_start_codes(void **state)
{
    struct fixture *f = *state;
    struct headers h;

    /* Without one, and with something else in its place. */
    f->bytes[0][2] = 7;
    f->slice[0].slice_vertical_position = 130;
    f->bytes[1][3] = 0xb3;
    f->m.slices[2].size = 0;
    h = build(f);
    assert_memory_equal(f->m.packet.data + h.slices, "\0\0\1\3\0\0\7\1", 8);
    assert_memory_equal(f->m.packet.data + h.slices + 12, "\0\0\1\2\0\0\1\xb3", 8);
    assert_memory_equal(f->m.packet.data + h.slices + 24, "\0\0\0\0", 4);
    assert_int_equal(f->m.packet.size, h.slices + 28);
    f->m.count = 1;
    for (uint32_t size = 0; size < 8; size++) {
        f->m.slices[0].size = size;
        assert_int_equal(mpeg_build(&f->m), size ? 0 : VD_ERR_DECODE);
    }
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    VAPictureParameterBufferMPEG2 good = f->param;

    f->param.horizontal_size = 0;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_RESOLUTION);
    f->param.horizontal_size = 16384;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_RESOLUTION);
    f->param = good;
    f->param.vertical_size = 0;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_RESOLUTION);
    f->param = good;
    for (int type = -1; type <= 4; type++) {
        f->param.picture_coding_type = type;
        assert_int_equal(mpeg_build(&f->m), type >= 1 && type <= 3 ? 0 : VD_ERR_PARAMETER);
    }
    f->param = good;
    f->param.picture_coding_extension.bits.picture_structure = 0;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
    f->param = good;
    f->slice[1].slice_data_flag = VA_SLICE_DATA_FLAG_BEGIN;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_UNSUPPORTED);
    f->slice[1].slice_data_flag = VA_SLICE_DATA_FLAG_ALL;
    f->m.count = 0;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
    f->m.count = 1;
    f->m.param = NULL;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(test_single_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(test_progressive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_progressive_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_matrices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_field_pictures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_codes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
