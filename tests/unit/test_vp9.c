/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <va/va.h>
#include <viaduct/errors.h>

#include "bitstream/bits.h"
#include "bitstream/bitstream.h"

/* VP9 frames as the builder sees them: what goes on, what is refused, what may follow. */

#define DATA 64

enum { KEY, INTRA, INTER, SHOW };

/* An uncompressed header; what is 0 is the usual. */
struct frame {
    int kind, profile;
    unsigned refresh, bits12, rgb, sub_x, sub_y, reserved;
    unsigned width, height; /* inter: 0 takes the first reference's */
    unsigned refs[3];
    bool bad_marker, bad_sync;
};

static struct fixture {
    uint8_t block[BITSTREAM_HEAD_ROOM + BITSTREAM_SLICE_GAP + DATA + BITSTREAM_TAIL_ROOM];
    VADecPictureParameterBufferVP9 param;
    VASliceParameterBufferVP9 part;
    struct va_slice slice;
    struct va_picture picture;
    struct bitstream_packet packet;
    uint8_t state[512];
} f;

static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof(f));
    assert_in_range(bitstream_vp9.state_size, 1, sizeof(f.state));
    f.slice = (struct va_slice){
        .param = &f.part,
        .data = f.block + BITSTREAM_HEAD_ROOM + BITSTREAM_SLICE_GAP,
        .size = DATA,
    };
    f.picture = (struct va_picture){
        .param[VA_PARAM_PICTURE] = &f.param,
        .slices = &f.slice,
        .slice_count = 1,
        .head = f.block,
    };
    return 0;
}

static void write_color(struct bits_writer *w, const struct frame *s)
{
    if (s->profile >= 2)
        bits_write(w, 1, s->bits12);
    bits_write(w, 3, s->rgb ? 7 : 2);
    if (!s->rgb)
        bits_write(w, 1, 0);
    if (s->profile & 1) {
        if (!s->rgb) {
            bits_write(w, 1, s->sub_x);
            bits_write(w, 1, s->sub_y);
        }
        bits_write(w, 1, s->reserved);
    }
}

static void write_size(struct bits_writer *w, const struct frame *s)
{
    bits_write(w, 16, s->width - 1);
    bits_write(w, 16, s->height - 1);
}

/* The header in the first bytes, 0x5a behind it. */
static int build(struct frame s)
{
    struct bits_writer w;

    memset(f.slice.data, 0x5a, DATA);
    bits_write_init(&w, f.slice.data, DATA);
    bits_write(&w, 2, s.bad_marker ? 1 : 2);
    bits_write(&w, 1, (uint32_t)s.profile & 1);
    bits_write(&w, 1, (uint32_t)s.profile >> 1);
    if (s.profile == 3)
        bits_write(&w, 1, 0);
    bits_write(&w, 1, s.kind == SHOW);
    bits_write(&w, 1, s.kind != KEY);
    bits_write(&w, 1, s.kind != INTRA); /* show_frame */
    bits_write(&w, 1, 0);               /* error_resilient_mode */
    if (s.kind == INTRA)
        bits_write(&w, 1, 1);
    if (s.kind != KEY)
        bits_write(&w, 2, 0); /* reset_frame_context */
    if (s.kind != INTER)
        bits_write(&w, 24, s.bad_sync ? 0x498343 : 0x498342);
    if (s.kind == KEY || (s.kind == INTRA && s.profile))
        write_color(&w, &s);
    if (s.kind != KEY)
        bits_write(&w, 8, s.refresh);
    if (s.kind == INTER) {
        for (int i = 0; i < 3; i++)
            bits_write(&w, 4, s.refs[i] << 1);
        if (!s.width)
            bits_write(&w, 1, 1);
        else
            bits_write(&w, 3, 0);
    }
    if (s.width)
        write_size(&w, &s);
    bits_write_trailing(&w);
    f.picture.profile = VAProfileVP9Profile0 + s.profile;
    return bitstream_vp9.build(f.state, &f.picture, &f.packet);
}

/* The packet without a picture shows this slot, -1: there is none. */
static void check_no_op(int profile, int slot)
{
    struct bits_reader r;

    if (slot < 0) {
        assert_int_equal(f.packet.no_op_size, 0);
        return;
    }
    assert_int_equal(f.packet.no_op_size, profile == 3 ? 2 : 1);
    bits_read_init(&r, f.packet.no_op, f.packet.no_op_size, false);
    assert_int_equal(bits_read(&r, 2), 2);
    assert_int_equal(bits_read(&r, 1) | bits_read(&r, 1) << 1, profile);
    if (profile == 3)
        assert_int_equal(bits_read(&r, 1), 0);
    assert_int_equal(bits_read(&r, 1), 1);
    assert_int_equal(bits_read(&r, 3), slot);
    /* Never the last byte of a superframe. */
    assert_int_not_equal(f.packet.no_op[f.packet.no_op_size - 1] & 0xe0, 0xc0);
}

static const struct frame key = {.kind = KEY, .width = 352, .height = 287};

static void test_key(void **state)
{
    (void)state;
    assert_int_equal(build(key), 0);
    assert_ptr_equal(f.packet.data, f.slice.data);
    assert_int_equal(f.packet.size, DATA);
    assert_int_equal(f.packet.flags, BITSTREAM_KEY);
    assert_int_equal(f.packet.coded_width, 352);
    assert_int_equal(f.packet.coded_height, 287);
    check_no_op(0, 0);
    assert_int_equal(f.packet.no_op[0], 0x88);
}

static void test_profiles(void **state)
{
    struct frame s = key;

    (void)state;
    for (s.profile = 0; s.profile < 4; s.profile++) {
        assert_int_equal(build(s), 0);
        check_no_op(s.profile, 0);
    }
    for (s.profile = 1; s.profile < 4; s.profile += 2) {
        s.sub_x = s.sub_y = 1;
        assert_int_equal(build(s), VD_ERR_DECODE);
        s.sub_x = 0;
        assert_int_equal(build(s), 0);
        s.rgb = 1;
        assert_int_equal(build(s), 0);
        s.reserved = 1;
        assert_int_equal(build(s), VD_ERR_DECODE);
        s.rgb = 0;
        assert_int_equal(build(s), VD_ERR_DECODE);
        s.reserved = 0;
    }
    for (s.profile = 0; s.profile < 4; s.profile += 2) {
        s.rgb = 1;
        assert_int_equal(build(s), VD_ERR_DECODE);
    }
    /* The stream is of another profile than the context. */
    assert_int_equal(build(key), 0);
    f.picture.profile = VAProfileVP9Profile2;
    assert_int_equal(bitstream_vp9.build(f.state, &f.picture, &f.packet), VD_ERR_UNSUPPORTED);
}

/* Slots fill one by one after an intra-only start. */
static void test_intra_only_start(void **state)
{
    struct frame intra = {.kind = INTRA, .width = 64, .height = 64};
    struct frame inter = {.kind = INTER, .refs = {5, 5, 5}};

    (void)state;
    assert_int_equal(build(inter), VD_ERR_DECODE);
    assert_int_equal(build(intra), 0); /* refreshes nothing */
    assert_int_equal(f.packet.flags, 0);
    check_no_op(0, -1);
    assert_int_equal(build(inter), VD_ERR_DECODE);
    intra.refresh = 0x60;
    assert_int_equal(build(intra), 0);
    check_no_op(0, 5);
    assert_int_equal(build(inter), 0);
    check_no_op(0, 5);
    inter.refs[2] = 4;
    assert_int_equal(build(inter), VD_ERR_DECODE);
    intra.refresh = 0x12;
    assert_int_equal(build(intra), 0);
    check_no_op(0, 1);
    assert_int_equal(build(inter), 0);
}

static void test_sizes(void **state)
{
    struct frame inter = {.kind = INTER, .refresh = 2, .refs = {0, 1, 2}};

    (void)state;
    assert_int_equal(build(key), 0);
    assert_int_equal(build(inter), 0);
    assert_int_equal(f.packet.coded_width, 352);
    assert_int_equal(f.packet.coded_height, 287);
    inter.width = 176; /* half: the least that scaling can do */
    inter.height = 144;
    assert_int_equal(build(inter), 0);
    assert_int_equal(f.packet.coded_width, 176);
    inter.refs[1] = 0;
    inter.width = 175;
    assert_int_equal(build(inter), VD_ERR_DECODE);
    inter.refs[1] = 1; /* which is 176 wide: one that fits is enough */
    assert_int_equal(build(inter), 0);
    inter.refs[1] = 0;
    inter.width = 352 * 16;
    inter.height = 287 * 16;
    assert_int_equal(build(inter), 0);
    inter.width++;
    assert_int_equal(build(inter), VD_ERR_DECODE);
    inter.width = 0;
    inter.refs[0] = 1;
    assert_int_equal(build(inter), 0);
    assert_int_equal(f.packet.coded_width, 352 * 16);
}

/* References of another format than the last intra frame's. */
static void test_formats(void **state)
{
    struct frame first = key;
    struct frame other = {
        .kind = INTRA, .profile = 2, .refresh = 1, .bits12 = 1, .width = 352, .height = 287};
    struct frame inter = {.kind = INTER, .profile = 2, .refs = {1, 1, 1}};

    (void)state;
    first.profile = 2;
    assert_int_equal(build(first), 0);
    assert_int_equal(build(inter), 0);
    assert_int_equal(build(other), 0);
    assert_int_equal(build(inter), VD_ERR_DECODE);
    inter.refs[0] = inter.refs[1] = inter.refs[2] = 0;
    assert_int_equal(build(inter), 0);
}

/* Data that ends like a superframe gets one more byte, since it is none. */
static void test_superframe(void **state)
{
    (void)state;
    assert_int_equal(build(key), 0);
    for (unsigned last = 0; last < 256; last++) {
        f.slice.data[DATA - 1] = (uint8_t)last;
        assert_int_equal(bitstream_vp9.build(f.state, &f.picture, &f.packet), 0);
        assert_int_equal(f.packet.size, last >= 0xc0 && last < 0xe0 ? DATA + 1 : DATA);
    }
}

static void test_refused(void **state)
{
    struct frame s = key;

    (void)state;
    s.bad_marker = true;
    assert_int_equal(build(s), VD_ERR_DECODE);
    s = key;
    s.bad_sync = true;
    assert_int_equal(build(s), VD_ERR_DECODE);
    s = key;
    s.kind = SHOW;
    assert_int_equal(build(s), VD_ERR_PARAMETER);
    s = key;
    s.width = 16385;
    assert_int_equal(build(s), VD_ERR_RESOLUTION);
    /* Cut anywhere in the header. */
    assert_int_equal(build(key), 0);
    for (f.slice.size = 0; f.slice.size < 9; f.slice.size++)
        assert_int_equal(bitstream_vp9.build(f.state, &f.picture, &f.packet), VD_ERR_DECODE);
    f.slice.size = DATA;
    f.picture.slice_count = 0;
    assert_int_equal(build(key), VD_ERR_PARAMETER);
    f.picture.slice_count = 2;
    assert_int_equal(build(key), VD_ERR_PARAMETER);
    f.picture.slice_count = 1;
    f.picture.param[VA_PARAM_PICTURE] = NULL;
    assert_int_equal(build(key), VD_ERR_PARAMETER);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_key),     TEST(test_profiles),   TEST(test_intra_only_start), TEST(test_sizes),
        TEST(test_formats), TEST(test_superframe), TEST(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
