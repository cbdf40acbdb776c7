/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <va/va.h>
#include <viaduct/errors.h>

#include "bitstream/bitstream.h"

/* The uncompressed data chunk in front of VP8 frames, read back as RFC 6386 9.1 says. */

#define DATA 64

static struct fixture {
    uint8_t block[BITSTREAM_HEAD_ROOM + 16 + DATA + BITSTREAM_TAIL_ROOM];
    VAPictureParameterBufferVP8 param;
    VASliceParameterBufferVP8 part;
    struct va_slice slice;
    struct va_picture picture;
    struct bitstream_packet packet;
    uint8_t state[64];
} f;

static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof(f));
    assert_in_range(bitstream_vp8.state_size, 1, sizeof(f.state));
    assert_in_range(bitstream_vp8.gap, 10, 16);
    f.param.frame_width = 175;
    f.param.frame_height = 16383;
    f.part.macroblock_offset = 33;
    f.part.partition_size[0] = 20;
    f.part.num_of_partitions = 2;
    f.slice = (struct va_slice){
        .param = &f.part,
        .data = f.block + BITSTREAM_HEAD_ROOM + bitstream_vp8.gap,
        .size = DATA,
    };
    memset(f.slice.data, 0xa5, DATA);
    f.picture = (struct va_picture){
        .profile = VAProfileVP8Version0_3,
        .param[VA_PARAM_PICTURE] = &f.param,
        .slices = &f.slice,
        .slice_count = 1,
        .head = f.block,
    };
    return 0;
}

static int build(void)
{
    return bitstream_vp8.build(f.state, &f.picture, &f.packet);
}

static uint32_t tag(void)
{
    return f.packet.data[0] | (uint32_t)f.packet.data[1] << 8 | (uint32_t)f.packet.data[2] << 16;
}

static void test_key(void **state)
{
    static const uint8_t rest[] = {0x9d, 0x01, 0x2a, 175, 0, 0xff, 0x3f};

    (void)state;
    assert_int_equal(build(), 0);
    assert_int_equal(f.packet.flags, BITSTREAM_KEY);
    assert_int_equal(f.packet.size, 10 + DATA);
    assert_ptr_equal(f.packet.data + 10, f.slice.data);
    assert_int_equal(tag(), 0 | 1 << 4 | 25 << 5);
    assert_memory_equal(f.packet.data + 3, rest, sizeof(rest));
    assert_int_equal(f.packet.coded_width, 175);
    assert_int_equal(f.packet.coded_height, 16383);
    assert_int_equal(f.slice.data[0], 0xa5);
}

static void test_inter(void **state)
{
    (void)state;
    assert_int_equal(build(), 0);
    f.param.pic_fields.bits.key_frame = 1;
    f.param.frame_width = 0; /* does not matter here */
    for (uint32_t version = 0; version < 8; version++) {
        f.param.pic_fields.bits.version = version;
        f.part.macroblock_offset = version;
        assert_int_equal(build(), 0);
        assert_int_equal(f.packet.flags, 0);
        assert_int_equal(f.packet.size, 3 + DATA);
        assert_int_equal(tag(), 1 | version << 1 | 1 << 4 | (version ? 21u : 20u) << 5);
        assert_int_equal(f.packet.coded_width, 175);
    }
}

/* GStreamer 1.22 counts like this where the first partition is hardly more than the header. */
static void test_wrapped(void **state)
{
    (void)state;
    f.part.macroblock_offset = 86u - 0x40000000u;
    f.part.partition_size[0] = 13u - (86u - 0x40000000u + 7) / 8;
    assert_int_equal(build(), 0);
    assert_int_equal(tag() >> 5, 13);
}

static void test_refused(void **state)
{
    (void)state;
    f.param.pic_fields.bits.key_frame = 1;
    assert_int_equal(build(), VD_ERR_DECODE); /* nothing to predict from */
    f.param.pic_fields.bits.key_frame = 0;
    f.param.frame_width = 0;
    assert_int_equal(build(), VD_ERR_RESOLUTION);
    f.param.frame_width = 16384;
    assert_int_equal(build(), VD_ERR_RESOLUTION);
    f.param.frame_width = 16;
    f.part.partition_size[0] = DATA - 4; /* 5 more bytes are before it */
    assert_int_equal(build(), VD_ERR_PARAMETER);
    f.part.partition_size[0] = UINT32_MAX;
    f.part.macroblock_offset = UINT32_MAX;
    assert_int_equal(build(), VD_ERR_PARAMETER);
    f.part.partition_size[0] = 0;
    f.part.macroblock_offset = 0;
    f.slice.size = 0;
    assert_int_equal(build(), 0);
    f.picture.slice_count = 2;
    assert_int_equal(build(), VD_ERR_PARAMETER);
    f.picture.slice_count = 1;
    f.picture.param[VA_PARAM_PICTURE] = NULL;
    assert_int_equal(build(), VD_ERR_PARAMETER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_key, setup),
        cmocka_unit_test_setup(test_inter, setup),
        cmocka_unit_test_setup(test_wrapped, setup),
        cmocka_unit_test_setup(test_refused, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
