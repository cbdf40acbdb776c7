/* SPDX-License-Identifier: MIT */
#include "mpeg_fixture.h"

#include <viaduct/errors.h>

#define BYTES 24

struct fixture {
    struct mpeg_fixture m;
    VAPictureParameterBufferMPEG4 param;
    VASliceParameterBufferMPEG4 slice[2];
    uint8_t bytes[BYTES];
};

struct header {
    uint32_t reference, format, plus_format, type, advanced, rounding, width, height, quant;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    uint64_t seed = 1;

    assert_non_null(f);
    mpeg_setup(&f->m, &bitstream_h263);
    f->m.param = &f->param;
    f->m.count = 1;
    f->param.vop_width = 352;
    f->param.vop_height = 288;
    f->param.vol_fields.bits.short_video_header = 1;
    f->param.vol_fields.bits.obmc_disable = 1;
    for (unsigned j = 0; j < BYTES; j++)
        f->bytes[j] = (uint8_t)check_random(&seed);
    for (unsigned i = 0; i < 2; i++) {
        f->slice[i].quant_scale = 21;
        f->m.slices[i] = (struct va_slice){&f->slice[i], f->bytes, BYTES};
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

static void read_plus(struct mpeg_fixture *m, struct header *h)
{
    mpeg_expect(m, 3, 1);
    h->plus_format = mpeg_read(m, 3);
    mpeg_expect(m, 3, 0);
    h->advanced = mpeg_read(m, 1);
    mpeg_expect(m, 7, 0);
    mpeg_expect(m, 4, 8);
    h->type = mpeg_read(m, 3);
    mpeg_expect(m, 2, 0);
    h->rounding = mpeg_read(m, 1);
    mpeg_expect(m, 4, 2);
    if (h->plus_format == 6) {
        mpeg_expect(m, 4, 1);
        h->width = (mpeg_read(m, 9) + 1) * 4;
        mpeg_expect(m, 1, 1);
        h->height = mpeg_read(m, 9) * 4;
    }
    h->quant = mpeg_read(m, 5);
}

/* Builds and reads back; the macroblocks must follow bit by bit. */
static struct header build(struct fixture *f)
{
    struct mpeg_fixture *m = &f->m;
    struct header h = {0};

    assert_int_equal(mpeg_build(m), 0);
    mpeg_expect(m, 22, 0x20);
    h.reference = mpeg_read(m, 8);
    mpeg_expect(m, 5, 16);
    h.format = mpeg_read(m, 3);
    if (h.format == 7) {
        read_plus(m, &h);
    } else {
        h.type = mpeg_read(m, 1);
        mpeg_expect(m, 2, 0);
        h.advanced = mpeg_read(m, 1);
        mpeg_expect(m, 1, 0);
        h.quant = mpeg_read(m, 5);
        mpeg_expect(m, 1, 0);
    }
    while (mpeg_read(m, 1))
        mpeg_read(m, 8);
    for (size_t i = f->slice[0].macroblock_offset; i < BYTES * 8; i++)
        mpeg_expect(m, 1, f->bytes[i / 8] >> (7 - i % 8) & 1u);
    assert_int_equal(m->reader.position, m->packet.size * 8);
    return h;
}

static void test_formats(void **state)
{
    struct fixture *f = *state;
    static const uint16_t sizes[][2] = {
        {128, 96}, {176, 144}, {352, 288}, {704, 576}, {1408, 1152}};
    struct header h;

    for (uint32_t i = 0; i < COUNT(sizes); i++) {
        f->param.vop_width = sizes[i][0];
        f->param.vop_height = sizes[i][1];
        f->param.vop_fields.bits.vop_coding_type = i % 2;
        h = build(f);
        assert_int_equal(h.format, i + 1);
        assert_int_equal(h.type, i % 2);
        assert_int_equal(h.quant, 21);
        assert_int_equal(h.advanced, 0);
        assert_int_equal(h.reference, i);
        assert_int_equal(f->m.packet.flags, i % 2 ? 0 : BITSTREAM_KEY);
    }
    f->param.vol_fields.bits.obmc_disable = 0;
    assert_int_equal(build(f).advanced, 1);
}

static void test_plus(void **state)
{
    struct fixture *f = *state;
    struct header h;

    assert_int_equal(build(f).format, 3);
    f->param.vop_fields.bits.vop_coding_type = 1;
    f->param.vop_fields.bits.vop_rounding_type = 1;
    h = build(f);
    assert_int_equal(h.format, 7);
    assert_int_equal(h.plus_format, 3);
    assert_int_equal(h.rounding, 1);
    assert_int_equal(h.type, 1);
    /* From now on: only such a header can say that it is over. */
    f->param.vop_fields.bits.vop_rounding_type = 0;
    h = build(f);
    assert_int_equal(h.format, 7);
    assert_int_equal(h.rounding, 0);
    f->param.vop_width = 2048;
    f->param.vop_height = 1152;
    h = build(f);
    assert_int_equal(h.plus_format, 6);
    assert_int_equal(h.width, 2048);
    assert_int_equal(h.height, 1152);
    mpeg_reset(&f->m);
    f->param.vop_width = f->param.vop_height = 4;
    h = build(f);
    assert_int_equal(h.width, 4);
    assert_int_equal(h.height, 4);
    assert_int_equal(h.quant, 21);
}

static void test_alignment(void **state)
{
    struct fixture *f = *state;

    for (int plus = 0; plus < 2; plus++) {
        for (uint32_t offset = 0; offset < 24; offset++) {
            f->slice[0].macroblock_offset = offset;
            build(f);
        }
        f->param.vop_width = 320;
    }
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    static const uint16_t sizes[][2] = {{0, 288},  {352, 0},    {350, 288},
                                        {352, 90}, {2052, 288}, {352, 1156}};

    for (size_t i = 0; i < COUNT(sizes); i++) {
        f->param.vop_width = sizes[i][0];
        f->param.vop_height = sizes[i][1];
        assert_int_equal(mpeg_build(&f->m), VD_ERR_RESOLUTION);
    }
    f->param.vop_width = 352;
    f->param.vop_height = 288;
    f->param.vop_fields.bits.vop_coding_type = 2;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
    f->param.vop_fields.bits.vop_coding_type = 0;
    f->slice[0].quant_scale = 0;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
    f->slice[0].quant_scale = 32;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
    f->slice[0].quant_scale = 1;
    f->slice[0].slice_data_flag = VA_SLICE_DATA_FLAG_BEGIN;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_UNSUPPORTED);
    f->slice[0].slice_data_flag = 0;
    f->slice[0].macroblock_offset = BYTES * 8;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_DECODE);
    f->slice[0].macroblock_offset = 0;
    f->m.count = 2;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_UNSUPPORTED);
    f->m.count = 0;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
    f->m.count = 1;
    build(f);
    f->m.param = NULL;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_formats, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plus, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alignment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
