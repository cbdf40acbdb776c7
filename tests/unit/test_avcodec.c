/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <stdio.h>
#include <viaduct/va_newer.h>
#include <wire/format.h>

/* Real pictures through the avcodec back end: what goes in as I_PCM comes out as it was. */

#define CONTEXT 0x20000001u
#define SURFACE 0x30000000u

static struct guest g;
static const struct backend *backend;

static int setup(void **state)
{
    (void)state;
    return guest_start(&g, backend) || guest_hello(&g) || guest_context(&g, CONTEXT, 16, 16);
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(guest_stop(&g), 0);
    return 0;
}

static void check_pixels(uint32_t surface, uint32_t fourcc)
{
    const uint8_t *bytes = guest_pixels(&g, surface);
    struct format_layout l;

    assert_int_equal(format_layout(format_find(fourcc), 16, 16, &l), 0);
    for (unsigned y = 0; y < 16; y++) {
        for (unsigned x = 0; x < 16; x++)
            assert_int_equal(bytes[l.offset[0] + y * l.pitch[0] + x], picture_luma(x, y));
    }
    for (unsigned i = 0; i < 128; i++) {
        unsigned x = i % 8, y = i % 64 / 8;
        int v = i >= 64;

        if (fourcc == VA_FOURCC_NV12)
            assert_int_equal(bytes[l.offset[1] + y * l.pitch[1] + 2 * x + (unsigned)v],
                             picture_chroma(v, x, y));
        else
            assert_int_equal(bytes[l.offset[1 + v] + y * l.pitch[1 + v] + x],
                             picture_chroma(v, x, y));
    }
}

/* One IDR picture and P pictures behind it that repeat it, waited for one by one or at the end. */
static void decode(uint32_t fourcc, bool each)
{
    struct picture p;

    assert_int_equal(guest_surfaces(&g, fourcc, SURFACE, 4), 0);
    for (uint32_t i = 0; i < 12; i++) {
        if (i)
            picture_p(&p, SURFACE + i % 4, SURFACE + (i - 1) % 4, i);
        else
            picture_idr(&p, SURFACE);
        assert_int_equal(guest_submit(&g, CONTEXT, SURFACE + i % 4, i / 4 + 1, &p), 0);
        if (!each && i < 11)
            continue;
        assert_int_equal(guest_kick(&g, CONTEXT, i + 1), 0);
        assert_int_equal(guest_wait(&g, SURFACE + i % 4, i / 4 + 1), 0);
        check_pixels(SURFACE + i % 4, fourcc);
    }
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(guest_wait(&g, SURFACE + i, 3), 0);
        check_pixels(SURFACE + i, fourcc);
        assert_int_equal(guest_surface_destroy(&g, SURFACE + i), 0);
    }
    assert_int_equal(guest_context_destroy(&g, CONTEXT), 0);
    assert_int_equal(STATS_GET(g.stats, decoded), 12);
}

static void test_i420(void **state)
{
    (void)state;
    decode(VA_FOURCC_I420, true);
}

static void test_i420_pipelined(void **state)
{
    (void)state;
    decode(VA_FOURCC_I420, false);
}

static void test_nv12(void **state)
{
    (void)state;
    decode(VA_FOURCC_NV12, true);
}

static void test_nv12_pipelined(void **state)
{
    (void)state;
    decode(VA_FOURCC_NV12, false);
}

/* Samples of ten bits, in the upper ones of words (P010) or the lower ones (I010). */
static void decode_deep(uint32_t fourcc)
{
    const bool p010 = fourcc == VA_FOURCC_P010;
    struct format_layout l;
    const uint8_t *bytes;
    struct picture p;

    assert_int_equal(
        guest_context_of(&g, CONTEXT + 1, VAProfileH264High10, VA_RT_FORMAT_YUV420_10, 16, 16), 0);
    assert_int_equal(guest_surfaces(&g, fourcc, SURFACE, 1), 0);
    picture_idr_deep(&p, SURFACE, 10);
    assert_int_equal(guest_submit(&g, CONTEXT + 1, SURFACE, 1, &p), 0);
    assert_int_equal(guest_kick(&g, CONTEXT + 1, 1), 0);
    assert_int_equal(guest_wait(&g, SURFACE, 1), 0);
    bytes = guest_pixels(&g, SURFACE);
    assert_int_equal(format_layout(format_find(fourcc), 16, 16, &l), 0);
    for (unsigned i = 0; i < 384; i++) {
        unsigned c = i < 256 ? 0 : i < 320 ? 1 : 2;
        unsigned x = c ? i % 8 : i % 16, y = c ? i % 64 / 8 : i / 16;
        unsigned plane = c == 2 && p010 ? 1 : c, at = c && p010 ? 2 * x + (c - 1) : x;
        uint16_t want = picture_deep(c ? picture_chroma((int)c - 1, x, y) : picture_luma(x, y), 10);
        uint16_t got;

        memcpy(&got, bytes + l.offset[plane] + y * l.pitch[plane] + 2 * at, 2);
        assert_int_equal(got, p010 ? want << 6 : want);
    }
    assert_int_equal(guest_context_destroy(&g, CONTEXT + 1), 0);
    assert_int_equal(STATS_GET(g.stats, decoded), 1);
}

static void test_p010(void **state)
{
    (void)state;
    decode_deep(VA_FOURCC_P010);
}

static void test_i010(void **state)
{
    (void)state;
    decode_deep(VA_FOURCC_I010);
}

/* A surface that another picture's size does not fit, a format that no decoder writes. */
static void test_does_not_fit(void **state)
{
    struct picture p;

    (void)state;
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE, 1), 0);
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_YV12, SURFACE + 1, 1), 0);
    picture_idr(&p, SURFACE);
    p.param.picture_width_in_mbs_minus1 = 99;
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, 1, &p), 0);
    picture_idr(&p, SURFACE + 1);
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE + 1, 1, &p), 0);
    picture_idr(&p, SURFACE);
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, 2, &p), 0);
    assert_int_equal(guest_kick(&g, CONTEXT, 3), 0);
    assert_true(guest_wait(&g, SURFACE + 1, 1) != 0);
    assert_int_equal(guest_wait(&g, SURFACE, 2), 0);
    check_pixels(SURFACE, VA_FOURCC_I420);
    assert_int_equal(guest_context_destroy(&g, CONTEXT), 0);
    assert_int_equal(STATS_GET(g.stats, decoded), 1);
}

/* As VP8 whose key frames grow: an error, the surface as it was, and good pictures after it. */
static void test_grows(void **state)
{
    struct picture p;

    (void)state;
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE, 1), 0);
    for (uint32_t i = 1; i <= 3; i++) {
        picture_idr(&p, SURFACE);
        if (i == 2)
            p.param.picture_width_in_mbs_minus1 = 99;
        assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, i, &p), 0);
        assert_int_equal(guest_kick(&g, CONTEXT, i), 0);
        assert_int_equal(guest_wait(&g, SURFACE, i), i == 2 ? VD_ERR_RESOLUTION : 0);
        check_pixels(SURFACE, VA_FOURCC_I420);
    }
    assert_int_equal(guest_context_destroy(&g, CONTEXT), 0);
    assert_int_equal(STATS_GET(g.stats, decoded), 2);
    assert_int_equal(STATS_GET(g.stats, failed), 1);
}

/* Slices of noise: told, and the next good picture is good. */
static void test_garbage(void **state)
{
    uint64_t random = 3;
    struct picture p;

    (void)state;
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE, 4), 0);
    for (uint32_t i = 0; i < 60; i++) {
        picture_idr(&p, SURFACE + i % 4);
        for (uint32_t j = 1 + i % 4; j < p.data_size; j++)
            p.data[j] = (uint8_t)check_random(&random);
        if (i % 3 == 0)
            p.data_size = p.slice.slice_data_size = i;
        assert_int_equal(guest_submit(&g, CONTEXT, SURFACE + i % 4, i / 4 + 1, &p), 0);
        assert_int_equal(guest_kick(&g, CONTEXT, i + 1), 0);
        /* Good or bad, but complete. */
        guest_wait(&g, SURFACE + i % 4, i / 4 + 1);
        assert_true(fence_passed(guest_slot(&g, SURFACE + i % 4)->done, i / 4 + 1));
    }
    picture_idr(&p, SURFACE);
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, 16, &p), 0);
    assert_int_equal(guest_kick(&g, CONTEXT, 61), 0);
    assert_int_equal(guest_wait(&g, SURFACE, 16), 0);
    check_pixels(SURFACE, VA_FOURCC_I420);
}

/* Leaves in the middle. */
static void test_leave(void **state)
{
    struct picture p;

    (void)state;
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_NV12, SURFACE, 4), 0);
    picture_idr(&p, SURFACE);
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(guest_submit(&g, CONTEXT, SURFACE + i % 4, i / 4 + 1, &p), 0);
    assert_int_equal(guest_surface_destroy(&g, SURFACE), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* AV1 needs a device: in software it is another back end's. */
static void test_caps(void **state)
{
    struct vd_cap caps[VD_MAX_CAPS];
    uint32_t count = backend->caps(caps, VD_MAX_CAPS);

    (void)state;
    for (uint32_t i = 0; i < count; i++)
        assert_int_not_equal(codecs_of_profile((int)caps[i].profile), VD_CODEC_AV1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_caps),    TEST(test_i420),           TEST(test_i420_pipelined),
        TEST(test_nv12),    TEST(test_nv12_pipelined), TEST(test_does_not_fit),
        TEST(test_garbage), TEST(test_leave),          TEST(test_p010),
        TEST(test_i010),    TEST(test_grows),
    };
    static const struct backend_options options = {.threads = 2};

    static struct backend_set set;

    if (!engine_select("avcodec:software", &options, &set))
        backend = set.at[0].backend;
    if (!backend) {
        puts("built without libavcodec or it has no decoder: skipped");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
