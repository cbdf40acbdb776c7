/* SPDX-License-Identifier: MIT */
#include "mpeg_fixture.h"

#include <viaduct/errors.h>

#define BYTES 48

enum { I, P, B, S };

/* What a decoder knows of time, as 6.3.5 has it. */
struct clock {
    int64_t base, last_base, time, last;
};

struct fixture {
    struct mpeg_fixture m;
    VAPictureParameterBufferMPEG4 param;
    VAIQMatrixBufferMPEG4 matrix;
    VASliceParameterBufferMPEG4 slice[MPEG_SLICES];
    uint8_t bytes[MPEG_SLICES][BYTES];
    struct clock clock;
    bool gmc, interlaced;
    unsigned time_bits, resolution, precision;
};

struct headers {
    bool sequence;
    uint32_t width, height, interlaced, obmc_disable, sprite, points, accuracy, quant_type;
    uint32_t quarter, resync_disable, partitioned, reversible;
    uint32_t loaded[2], values[2]; /* matrices, and values that were written of them */
    uint8_t matrix[2][64];
    uint32_t type, rounding, thr, top, alternate, quant, forward, backward;
    int du[3], dv[3];
    int64_t pp, pb; /* distances as the decoder computes them */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    uint64_t seed = 1;

    assert_non_null(f);
    mpeg_setup(&f->m, &bitstream_mpeg4);
    f->m.param = &f->param;
    f->m.count = 1;
    f->param.vop_width = 352;
    f->param.vop_height = 288;
    f->param.vol_fields.bits.chroma_format = 1;
    f->param.vol_fields.bits.obmc_disable = 1;
    f->param.vol_fields.bits.resync_marker_disable = 1;
    f->param.vop_fields.bits.intra_dc_vlc_thr = 5;
    f->param.vop_fcode_forward = 2;
    f->param.vop_fcode_backward = 3;
    f->param.vop_time_increment_resolution = 30000;
    f->param.TRB = 1001;
    f->param.TRD = 3003;
    for (unsigned i = 0; i < MPEG_SLICES; i++) {
        f->slice[i].quant_scale = 9;
        f->slice[i].macroblock_number = i;
        for (unsigned j = 0; j < BYTES; j++)
            f->bytes[i][j] = (uint8_t)(check_random(&seed) | 16);
        f->bytes[i][BYTES - 1] = 0x37; /* four bits, then stuffing */
        f->m.slices[i] = (struct va_slice){&f->slice[i], f->bytes[i], BYTES};
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

static void read_matrix(struct mpeg_fixture *m, struct headers *h, int i)
{
    h->loaded[i] = mpeg_read(m, 1);
    for (unsigned j = 0; h->loaded[i] && j < 64; j++) {
        h->matrix[i][j] = (uint8_t)mpeg_read(m, 8);
        h->values[i]++;
        if (h->matrix[i][j] == 0)
            break;
    }
}

/* From visual_object_sequence_start_code to the VOL. */
static void read_sequence(struct fixture *f, struct headers *h)
{
    struct mpeg_fixture *m = &f->m;

    h->sequence = true;
    mpeg_expect(m, 8, 0xf5);
    mpeg_expect(m, 32, 0x1b5);
    mpeg_expect(m, 6, 2);
    mpeg_stuffing(m);
    mpeg_expect(m, 32, 0x100);
    mpeg_expect(m, 32, 0x120);
    mpeg_expect(m, 9, 17);
    mpeg_expect(m, 8, 0x91); /* verid 2, priority 1 */
    mpeg_expect(m, 4, 1);
    mpeg_expect(m, 5, 0x14); /* vol_control_parameters: 4:2:0, no low_delay, no VBV */
    mpeg_expect(m, 3, 1);    /* rectangular, marker */
    f->resolution = mpeg_read(m, 16);
    for (f->time_bits = 1; (f->resolution - 1) >> f->time_bits; f->time_bits++)
        ;
    mpeg_expect(m, 3, 5); /* marker, fixed_vop_rate, marker */
    h->width = mpeg_read(m, 13);
    mpeg_expect(m, 1, 1);
    h->height = mpeg_read(m, 13);
    mpeg_expect(m, 1, 1);
    h->interlaced = mpeg_read(m, 1);
    h->obmc_disable = mpeg_read(m, 1);
    h->sprite = mpeg_read(m, 2);
    if (h->sprite) {
        h->points = mpeg_read(m, 6);
        h->accuracy = mpeg_read(m, 2);
        mpeg_expect(m, 1, 0);
    }
    f->precision = 5;
    if (mpeg_read(m, 1)) {
        f->precision = mpeg_read(m, 4);
        mpeg_expect(m, 4, 8);
    }
    h->quant_type = mpeg_read(m, 1);
    for (int i = 0; h->quant_type && i < 2; i++)
        read_matrix(m, h, i);
    h->quarter = mpeg_read(m, 1);
    mpeg_expect(m, 1, 1);
    h->resync_disable = mpeg_read(m, 1);
    h->partitioned = mpeg_read(m, 1);
    if (h->partitioned)
        h->reversible = mpeg_read(m, 1);
    mpeg_expect(m, 3, 0);
    mpeg_stuffing(m);
    f->gmc = h->sprite == 2;
    f->interlaced = h->interlaced;
}

static void read_time(struct fixture *f, struct headers *h)
{
    struct clock *c = &f->clock;
    int64_t seconds = 0, increment;

    while (mpeg_read(&f->m, 1))
        seconds++;
    mpeg_expect(&f->m, 1, 1);
    increment = mpeg_read(&f->m, f->time_bits);
    mpeg_expect(&f->m, 2, 3); /* marker, vop_coded */
    assert_in_range(increment, 0, f->resolution - 1);
    if (h->type == B) {
        h->pp = c->time - c->last;
        h->pb = (c->last_base + seconds) * f->resolution + increment - c->last;
        return;
    }
    c->last_base = c->base;
    c->base += seconds;
    c->last = c->time;
    c->time = c->base * f->resolution + increment;
    h->pp = c->time - c->last;
}

static int read_warping(struct mpeg_fixture *m)
{
    static const uint8_t lengths[8] = {0, 0, 1, 2, 3, 4, 5, 6};
    unsigned length, code = mpeg_read(m, 2);
    int value;

    if (code == 0)
        length = 0;
    else
        length = lengths[code << 1 | mpeg_read(m, 1)];
    if (length == 6) {
        while (mpeg_read(m, 1))
            length++;
    }
    value = (int)mpeg_read(m, length);
    if (length && !(value >> (length - 1)))
        value -= (1 << length) - 1;
    mpeg_expect(m, 1, 1);
    return value;
}

static struct headers build(struct fixture *f)
{
    struct mpeg_fixture *m = &f->m;
    struct headers h = {0};
    uint32_t code;

    assert_int_equal(mpeg_build(m), 0);
    code = mpeg_read(m, 32);
    if (code == 0x1b0) {
        read_sequence(f, &h);
        code = mpeg_read(m, 32);
    }
    assert_int_equal(code, 0x1b6);
    h.type = mpeg_read(m, 2);
    read_time(f, &h);
    if (h.type == P || (h.type == S && f->gmc))
        h.rounding = mpeg_read(m, 1);
    h.thr = mpeg_read(m, 3);
    if (f->interlaced) {
        h.top = mpeg_read(m, 1);
        h.alternate = mpeg_read(m, 1);
    }
    for (unsigned i = 0; h.type == S && f->gmc && i < f->param.no_of_sprite_warping_points; i++) {
        h.du[i] = read_warping(m);
        h.dv[i] = read_warping(m);
    }
    h.quant = mpeg_read(m, f->precision);
    if (h.type != I)
        h.forward = mpeg_read(m, 3);
    if (h.type == B)
        h.backward = mpeg_read(m, 3);
    assert_false(m->reader.error);
    return h;
}

/* The reader is at a copy of `size` bytes' bits from `skip` on, but for `less` bits at the end. */
static void expect_bits(struct fixture *f, const uint8_t *bytes, size_t size, size_t skip,
                        size_t less)
{
    for (size_t i = skip; i < size * 8 - less; i++)
        mpeg_expect(&f->m, 1, bytes[i / 8] >> (7 - i % 8) & 1u);
}

static void expect_end(const struct fixture *f)
{
    assert_int_equal(f->m.reader.position, f->m.packet.size * 8);
}

static void test_fields(void **state)
{
    struct fixture *f = *state;
    struct headers h = build(f);

    assert_true(h.sequence);
    assert_int_equal(f->resolution, 30000);
    assert_int_equal(h.width, 352);
    assert_int_equal(h.height, 288);
    assert_int_equal(h.obmc_disable, 1);
    assert_int_equal(h.resync_disable, 1);
    assert_int_equal(h.interlaced + h.sprite + h.quant_type + h.quarter + h.partitioned, 0);
    assert_int_equal(f->precision, 5);
    assert_int_equal(h.type, I);
    assert_int_equal(h.thr, 5);
    assert_int_equal(h.quant, 9);
    assert_int_equal(f->m.packet.flags, BITSTREAM_KEY);
    assert_int_equal(f->m.packet.coded_width, 352);
    assert_int_equal(f->m.packet.coded_height, 288);

    f->param.vop_fields.bits.vop_coding_type = P;
    f->param.vop_fields.bits.vop_rounding_type = 1;
    h = build(f);
    assert_false(h.sequence);
    assert_int_equal(h.type, P);
    assert_int_equal(h.rounding, 1);
    assert_int_equal(h.forward, 2);
    assert_int_equal(f->m.packet.flags, 0);
    f->param.vop_fields.bits.vop_coding_type = B;
    h = build(f);
    assert_int_equal(h.type, B);
    assert_int_equal(h.backward, 3);

    f->param.vol_fields.bits.interlaced = 1;
    f->param.vop_fields.bits.alternate_vertical_scan_flag = 1;
    f->param.vop_fields.bits.vop_coding_type = I;
    f->param.vol_fields.bits.data_partitioned = 1;
    f->param.vol_fields.bits.reversible_vlc = 1;
    f->param.vol_fields.bits.resync_marker_disable = 0;
    f->param.quant_precision = 7;
    f->slice[0].quant_scale = 100;
    h = build(f);
    assert_true(h.sequence && h.interlaced && h.partitioned && h.reversible);
    assert_false(h.resync_disable || h.top || h.quarter);
    assert_true(h.alternate);
    assert_int_equal(f->precision, 7);
    assert_int_equal(h.quant, 100);
    f->param.vop_fields.bits.top_field_first = 1;
    f->param.vop_fields.bits.alternate_vertical_scan_flag = 0;
    f->param.vol_fields.bits.quarter_sample = 1;
    h = build(f);
    assert_true(h.sequence && h.quarter && h.top);
    assert_false(h.alternate);
}

static void test_matrices(void **state)
{
    struct fixture *f = *state;
    struct headers h;

    f->param.vol_fields.bits.quant_type = 1;
    h = build(f);
    assert_true(h.quant_type && !h.loaded[0] && !h.loaded[1]);
    for (int i = 0; i < 64; i++) {
        f->matrix.intra_quant_mat[i] = (uint8_t)(i + 8);
        f->matrix.non_intra_quant_mat[i] = i < 10 ? 77 : 0;
    }
    f->matrix.load_intra_quant_mat = f->matrix.load_non_intra_quant_mat = 1;
    f->m.matrix = &f->matrix;
    h = build(f);
    assert_true(h.sequence && h.loaded[0] && h.loaded[1]);
    assert_int_equal(h.values[0], 64);
    assert_memory_equal(h.matrix[0], f->matrix.intra_quant_mat, 64);
    assert_int_equal(h.values[1], 11);
    f->m.matrix = NULL;
    assert_false(build(f).sequence);
}

static void test_warping(void **state)
{
    struct fixture *f = *state;
    static const int16_t values[] = {0,   1,   -1,   2,    -3,    7,    -15,   31,
                                     -40, 127, -255, 1000, -2047, 4096, -8192, 16383};
    struct headers h;

    f->param.vol_fields.bits.sprite_enable = 2;
    f->param.vol_fields.bits.sprite_warping_accuracy = 3;
    f->param.no_of_sprite_warping_points = 3;
    f->param.vop_fields.bits.vop_coding_type = S;
    f->param.vop_fields.bits.vop_rounding_type = 1;
    for (size_t i = 0; i < COUNT(values); i++) {
        for (int j = 0; j < 3; j++) {
            f->param.sprite_trajectory_du[j] = values[(i + (size_t)j) % COUNT(values)];
            f->param.sprite_trajectory_dv[j] = values[(i + 5 + (size_t)j) % COUNT(values)];
        }
        h = build(f);
        assert_int_equal(h.rounding, 1);
        for (int j = 0; j < 3; j++) {
            assert_int_equal(h.du[j], f->param.sprite_trajectory_du[j]);
            assert_int_equal(h.dv[j], f->param.sprite_trajectory_dv[j]);
        }
        assert_int_equal(h.quant, 9);
    }
    assert_false(h.sequence);
    f->param.sprite_trajectory_dv[2] = 16384;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
}

/* The macroblocks follow bit by bit, wherever in their byte they start. */
static void test_alignment(void **state)
{
    struct fixture *f = *state;

    for (uint32_t offset = 0; offset < 24; offset++) {
        for (int with_sequence = 1; with_sequence >= 0; with_sequence--) {
            f->slice[0].macroblock_offset = offset;
            if (with_sequence)
                mpeg_reset(&f->m);
            memset(&f->clock, 0, sizeof(f->clock));
            build(f);
            expect_bits(f, f->bytes[0], BYTES, offset, 4);
            mpeg_stuffing(&f->m);
            expect_end(f);
        }
    }
    /* No stuffing, only zeros, nothing behind the offset but stuffing. */
    f->bytes[0][BYTES - 1] = 0xff;
    build(f);
    memset(f->bytes[0], 0, BYTES);
    build(f);
    f->m.slices[0].size = 1;
    for (uint32_t offset = 0; offset < 8; offset++) {
        f->slice[0].macroblock_offset = offset;
        f->bytes[0][0] = 0x7f;
        build(f);
    }
    f->slice[0].macroblock_offset = 8;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_DECODE);
}

/* Columns: type and f_codes of the VOP, three bytes of the marker that fits. */
static const struct {
    uint8_t type, forward, backward, marker;
} markers[] = {{I, 0, 0, 0x80}, {P, 1, 0, 0xff}, {P, 2, 0, 0x40}, {P, 7, 0, 2},
               {B, 1, 1, 0x40}, {B, 3, 2, 0x20}, {B, 1, 4, 0x10}, {S, 1, 0, 0x80}};

/* What follows a marker, or a start code, stays on its byte boundary. */
static void test_markers(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(markers); i++) {
        f->param.vop_fields.bits.vop_coding_type = P;
        f->param.vop_fcode_forward = 1;
        build(f);
        f->param.vop_fields.bits.vop_coding_type = markers[i].type & 3u;
        f->param.vop_fcode_forward = markers[i].forward;
        f->param.vop_fcode_backward = markers[i].backward;
        for (uint32_t offset = 0; offset < 8; offset++) {
            uint8_t *packet = f->bytes[0] + 20;

            memcpy(packet - 1, "\x5f\0\0", 3); /* two bits, then stuffing */
            packet[2] = i % 2 && offset % 2 ? 1 : markers[i].marker;
            f->slice[0].macroblock_offset = offset;
            build(f);
            expect_bits(f, f->bytes[0], 20, offset, 6);
            mpeg_stuffing(&f->m);
            expect_bits(f, packet, BYTES - 20, 0, 0);
            expect_end(f);
        }
    }
}

/* Video packets that come as slices of their own get their headers back. */
static void test_packets(void **state)
{
    struct fixture *f = *state;

    f->m.count = MPEG_SLICES;
    f->slice[3].macroblock_number = 395;
    f->slice[3].quant_scale = 31;
    f->param.vop_fields.bits.vop_coding_type = P;
    for (uint32_t offset = 0; offset < 64; offset++) {
        for (unsigned i = 0; i < MPEG_SLICES; i++)
            f->slice[i].macroblock_offset = (offset * (i + 3)) % 16;
        build(f);
        for (unsigned i = 0; i < MPEG_SLICES; i++) {
            if (i > 0) {
                mpeg_expect(&f->m, 18, 1);
                mpeg_expect(&f->m, 9, f->slice[i].macroblock_number);
                mpeg_expect(&f->m, 5, (uint32_t)f->slice[i].quant_scale);
                mpeg_expect(&f->m, 1, 0);
            }
            expect_bits(f, f->bytes[i], BYTES, f->slice[i].macroblock_offset, 4);
            mpeg_stuffing(&f->m);
        }
        expect_end(f);
    }
    f->slice[3].macroblock_number = 396;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
    f->slice[3].macroblock_number = 0;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
}

static void build_times(struct fixture *f, unsigned type, int trb, int trd, int64_t pb, int64_t pp)
{
    struct headers h;

    f->param.vop_fields.bits.vop_coding_type = type & 3;
    f->param.TRB = (int16_t)trb;
    f->param.TRD = (int16_t)trd;
    h = build(f);
    assert_int_equal(h.pp, pp);
    if (type == B)
        assert_int_equal(h.pb, pb);
}

static void test_times(void **state)
{
    struct fixture *f = *state;

    build_times(f, I, 0, 0, 0, 0);
    for (int i = 0; i < 100; i++) {
        build_times(f, P, 0, 3003, 0, 3003);
        build_times(f, B, 1001, 3003, 1001, 3003);
        build_times(f, B, 2002, 3003, 2002, 3003);
    }
    build_times(f, P, 0, 60000, 0, 60000); /* two seconds; negative in VA */
    build_times(f, B, 59999, 60000, 59999, 60000);
    /* GStreamer: an I-VOP without. The last distance is as good as any. */
    build_times(f, P, 0, 3003, 0, 3003);
    build_times(f, I, 0, 0, 0, 3003);
    build_times(f, B, 1001, 3003, 1001, 3003);
    /* A B-VOP that contradicts: in proportion, and always in between. */
    build_times(f, B, 1, 2, 1502, 3003);
    build_times(f, B, 0, 3003, 1, 3003);
    build_times(f, B, 3003, 3003, 3002, 3003);
    build_times(f, B, 500, 0, 500, 3003);

    /* Distances of less than two ticks have nothing in between. */
    f->param.vop_time_increment_resolution = 1;
    f->param.vop_fields.bits.vop_coding_type = P;
    build(f);
    build_times(f, P, 0, 1, 0, 1);
    f->param.vop_fields.bits.vop_coding_type = B;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
    build_times(f, P, 0, 300, 0, 300);
    build_times(f, B, 299, 300, 299, 300);
    f->param.vop_fields.bits.vop_coding_type = P;
    f->param.TRD = -1;
    build(f);
}

/* Another resolution: the clock goes on, forwards. */
static void test_resolutions(void **state)
{
    struct fixture *f = *state;
    static const uint16_t resolutions[] = {25, 1, 65535, 2, 30000, 15, 24000, 3};

    build_times(f, I, 0, 0, 0, 0);
    for (unsigned i = 0; i < 200; i++) {
        f->param.vop_time_increment_resolution = resolutions[i % COUNT(resolutions)];
        f->param.vop_fields.bits.vop_coding_type = P;
        f->param.TRD = (int16_t)(i * 37);
        build(f);
        f->param.vop_fields.bits.vop_coding_type = B;
        f->param.TRB = (int16_t)(i * 13);
        if (mpeg_build(&f->m) == 0) {
            struct headers h = build(f);

            assert_in_range(h.pb, 1, h.pp - 1);
        }
    }
}

static void expect_error(struct fixture *f, int err)
{
    assert_int_equal(mpeg_build(&f->m), err);
    memset(&f->param.vol_fields, 0, sizeof(f->param.vol_fields));
    f->param.vop_width = f->param.vop_height = 64;
    f->param.vop_time_increment_resolution = 25;
    f->param.quant_precision = 5;
    f->param.vop_fcode_forward = f->param.vop_fcode_backward = 1;
    f->param.no_of_sprite_warping_points = 0;
    f->slice[0].quant_scale = 1;
    f->slice[0].slice_data_flag = 0;
    f->param.vop_fields.bits.vop_coding_type = B;
}

static void test_refused(void **state)
{
    struct fixture *f = *state;

    expect_error(f, 0);
    f->param.vop_width = 0;
    expect_error(f, VD_ERR_RESOLUTION);
    f->param.vop_height = 8192;
    expect_error(f, VD_ERR_RESOLUTION);
    f->param.vol_fields.bits.short_video_header = 1;
    expect_error(f, VD_ERR_UNSUPPORTED);
    f->param.vol_fields.bits.sprite_enable = 1;
    expect_error(f, VD_ERR_UNSUPPORTED);
    f->param.vol_fields.bits.sprite_enable = 3;
    expect_error(f, VD_ERR_PARAMETER);
    f->param.no_of_sprite_warping_points = 4;
    expect_error(f, VD_ERR_PARAMETER);
    f->param.vop_time_increment_resolution = 0;
    expect_error(f, VD_ERR_PARAMETER);
    f->param.quant_precision = 10;
    expect_error(f, VD_ERR_PARAMETER);
    f->param.vop_fcode_forward = 0;
    expect_error(f, VD_ERR_PARAMETER);
    f->param.vop_fcode_backward = 8;
    expect_error(f, VD_ERR_PARAMETER);
    f->slice[0].quant_scale = 0;
    expect_error(f, VD_ERR_PARAMETER);
    f->slice[0].quant_scale = 32;
    expect_error(f, VD_ERR_PARAMETER);
    f->slice[0].slice_data_flag = VA_SLICE_DATA_FLAG_END;
    expect_error(f, VD_ERR_UNSUPPORTED);
    f->m.slices[0].size = 0;
    expect_error(f, VD_ERR_DECODE);
    f->m.count = 0;
    expect_error(f, VD_ERR_PARAMETER);
    f->m.count = 1;
    f->m.param = NULL;
    expect_error(f, VD_ERR_PARAMETER);
}

/* A picture that is refused takes no sequence header with it. */
static void test_sequence_not_lost(void **state)
{
    struct fixture *f = *state;

    f->param.vop_fields.bits.vop_coding_type = B;
    assert_int_equal(mpeg_build(&f->m), VD_ERR_PARAMETER);
    f->param.vop_fields.bits.vop_coding_type = I;
    assert_true(build(f).sequence);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(test_matrices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_warping, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alignment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_markers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_packets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_times, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resolutions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sequence_not_lost, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
