/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <va/va.h>
#include <viaduct/errors.h>

#include "planes.h"

/* Where a decoder may write a picture for a surface, and what becomes of it. */

#define ZONE (64ull << 20)

static struct arena arena;
static struct pool *pool;

static const struct convert_samples yuv420 = {8, 3, 1, 1, false};
static const struct convert_samples yuv420_10 = {10, 3, 1, 1, false};
static const struct convert_samples yuv444 = {8, 3, 0, 0, false};
static const struct convert_samples gbr = {8, 3, 0, 0, true};
static const struct convert_samples grey = {8, 1, 0, 0, false};

static int setup(void **state)
{
    (void)state;
    assert_int_equal(arena_create(&arena, ZONE), 0);
    return pool_create(&arena, ZONE, &pool);
}

static int teardown(void **state)
{
    (void)state;
    pool_destroy(pool);
    arena_finish(&arena);
    return 0;
}

/* A surface with memory. */
static struct surface *make(uint32_t fourcc, uint32_t width, uint32_t height,
                            struct backing **ret_backing)
{
    struct surface *surface;

    assert_int_equal(surface_create(pool, 1, format_find(fourcc), width, height, &surface), 0);
    assert_int_equal(pool_get(surface, ret_backing), 0);
    return surface;
}

static void drop(struct surface *surface, struct backing *backing)
{
    pool_unref(&backing);
    surface_unref(&surface);
}

/* All that the decoder may touch lies in the backing, or all beside it. */
static void check_room(const struct surface *s, const struct backing *b,
                       const struct convert_samples *samples, const struct planes *p,
                       uint32_t width, uint32_t height, bool inside)
{
    const uint8_t *start = inside ? b->bytes : b->side;
    uint64_t size = inside ? s->layout.size : b->side_size;
    const uint8_t *end[3];

    for (int i = 0; i < samples->planes; i++) {
        uint32_t w = i ? (width + samples->shift_w) >> samples->shift_w : width;
        uint32_t h = i ? (height + samples->shift_h) >> samples->shift_h : height;

        assert_int_equal(p->pitch[i] % 64, 0);
        assert_int_equal((uintptr_t)p->data[i] % 64, 0);
        assert_true(p->pitch[i] >= w * (samples->bits > 8 ? 2 : 1));
        end[i] = p->data[i] + (size_t)p->pitch[i] * h;
        assert_true(p->data[i] >= start && end[i] + 64 <= start + size);
        for (int j = 0; j < i; j++)
            assert_true(p->data[i] >= end[j] || p->data[j] >= end[i]);
    }
}

static void test_direct(void **state)
{
    static const struct {
        uint32_t fourcc;
        const struct convert_samples *samples;
        int plane[3];
    } cases[] = {
        {VA_FOURCC_I420, &yuv420, {0, 1, 2}}, {VA_FOURCC_444P, &yuv444, {0, 1, 2}},
        {VA_FOURCC_444P, &gbr, {0, 1, 2}},    {VA_FOURCC_RGBP, &gbr, {1, 2, 0}},
        {VA_FOURCC_Y800, &grey, {0}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct backing *b;
        struct surface *s = make(cases[i].fourcc, 1919, 1079, &b);
        struct planes p;

        /* The size in blocks of 64, and what libavcodec adds. */
        assert_int_equal(planes_place(s, b, cases[i].samples, 1920, 1088, 1920, 1090, &p), 0);
        for (int j = 0; j < cases[i].samples->planes; j++)
            assert_ptr_equal(p.data[j], b->bytes + s->layout.offset[cases[i].plane[j]]);
        assert_null(b->side);
        check_room(s, b, cases[i].samples, &p, 1920, 1090, true);
        drop(s, b);
    }
}

static void test_beside(void **state)
{
    struct backing *b;
    struct surface *s = make(VA_FOURCC_P010, 35, 21, &b);
    const uint8_t *luma = b->bytes + s->layout.offset[0];
    const uint16_t one = 0x155;
    struct planes p;
    uint16_t got;

    (void)state;
    assert_int_equal(planes_place(s, b, &yuv420_10, 64, 64, 64, 66, &p), 0);
    check_room(s, b, &yuv420_10, &p, 64, 66, false);
    memcpy(p.data[0] + 20 * p.pitch[0] + 34 * 2, &one, 2);
    memcpy(p.data[2] + 10 * p.pitch[2] + 17 * 2, &one, 2);
    for (int i = 0; i < 2; i++) {
        planes_finish(s, b);
        memcpy(&got, luma + 20 * s->layout.pitch[0] + 34 * 2, 2);
        assert_int_equal(got, one << 6);
        memcpy(&got, b->bytes + s->layout.offset[1] + 10 * s->layout.pitch[1] + 17 * 4 + 2, 2);
        assert_int_equal(got, one << 6);
        memset(b->bytes, 0, s->layout.size);
    }
    planes_forget(b);
    planes_finish(s, b);
    memcpy(&got, luma + 20 * s->layout.pitch[0] + 34 * 2, 2);
    assert_int_equal(got, 0);
    drop(s, b);
}

/* Memory that had planes beside it and now is another surface's: nothing of them may show. */
static void test_recycled(void **state)
{
    struct backing *b, *again;
    struct surface *s = make(VA_FOURCC_NV12, 64, 64, &b),
                   *other = make(VA_FOURCC_I420, 64, 64, &again);
    struct planes p;

    (void)state;
    assert_int_equal(planes_place(s, b, &yuv420, 64, 64, 64, 64, &p), 0);
    memset(p.data[1], 77, 32);
    assert_int_equal(planes_place(other, b, &yuv420, 64, 64, 64, 64, &p), 0);
    memset(b->bytes, 5, other->layout.size);
    planes_finish(other, b);
    for (uint64_t i = 0; i < other->layout.size; i++)
        assert_int_equal(b->bytes[i], 5);
    /* A failure forgets, too. */
    assert_int_equal(planes_place(s, b, &yuv420, 64, 64, 64, 64, &p), 0);
    assert_int_equal(planes_place(s, b, &yuv444, 999, 64, 999, 64, &p), VD_ERR_RESOLUTION);
    planes_finish(s, b);
    for (uint64_t i = 0; i < s->layout.size; i++)
        assert_int_equal(b->bytes[i], 5);
    drop(other, again);
    drop(s, b);
}

static void test_refused(void **state)
{
    struct backing *b;
    struct surface *s = make(VA_FOURCC_NV12, 100, 50, &b);
    struct planes p, before;

    (void)state;
    memset(&p, 0x5a, sizeof(p));
    before = p;
    assert_int_equal(planes_place(s, b, &yuv420_10, 100, 50, 100, 50, &p), VD_ERR_UNSUPPORTED);
    assert_int_equal(planes_place(s, b, &gbr, 100, 50, 100, 50, &p), VD_ERR_UNSUPPORTED);
    assert_int_equal(planes_place(s, b, &yuv420, 129, 50, 129, 50, &p), VD_ERR_RESOLUTION);
    assert_int_equal(planes_place(s, b, &yuv420, 100, 65, 100, 65, &p), VD_ERR_RESOLUTION);
    /* More room than there is; less than the picture needs. */
    assert_int_equal(planes_place(s, b, &yuv420, 100, 50, 129, 50, &p), VD_ERR_RESOLUTION);
    assert_int_equal(planes_place(s, b, &yuv420, 100, 50, 100, 131, &p), VD_ERR_RESOLUTION);
    assert_int_equal(planes_place(s, b, &yuv420, 100, 50, 99, 50, &p), VD_ERR_RESOLUTION);
    assert_int_equal(planes_place(s, b, &yuv420, 100, 50, UINT32_MAX, 50, &p), VD_ERR_RESOLUTION);
    assert_memory_equal(&p, &before, sizeof(p));
    assert_int_equal(planes_place(s, b, &yuv420, 128, 64, 128, 130, &p), 0);
    drop(s, b);
}

/* Planes beside frames count as the frames do, and no more of them come than of those. */
static void test_limit(void **state)
{
    struct backing *backings[20];
    struct surface *s = make(VA_FOURCC_P010, 1920, 1080, &backings[0]);
    uint64_t frame = s->layout.size;
    struct planes p;
    size_t count = 0;
    int err = 0;

    (void)state;
    while (!err && count < COUNT(backings)) {
        err = count ? pool_get(s, &backings[count]) : 0;
        if (err)
            break;
        assert_in_range(pool_bytes(pool), frame, ZONE);
        err = planes_place(s, backings[count++], &yuv420_10, 1920, 1080, 1920, 1088, &p);
    }
    assert_int_equal(err, VD_ERR_LIMIT);
    /* Without planes there were room for twice as many. */
    assert_in_range(count, ZONE / frame / 2, ZONE / frame / 2 + 1);
    assert_true(pool_bytes(pool) <= ZONE);
    while (count)
        pool_unref(&backings[--count]);
    pool_trim(pool);
    assert_int_equal(pool_bytes(pool), 0);
    surface_unref(&s);
}

/* All planes of a width have one pitch, wherever they lie: mpegvideo insists. */
static void test_pitches(void **state)
{
    (void)state;
    for (uint32_t width = 16; width < 700; width += 16) {
        struct backing *a, *b;
        struct surface *i420 = make(VA_FOURCC_I420, width, 32, &a);
        struct surface *nv12 = make(VA_FOURCC_NV12, width, 32, &b);
        struct format_layout l;
        struct planes p, q;

        assert_int_equal(planes_place(i420, a, &yuv420, width, 32, width, 34, &p), 0);
        assert_int_equal(planes_place(nv12, b, &yuv420, width, 32, width, 34, &q), 0);
        planes_layout(&yuv420, width, 34, &l);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(p.pitch[i], q.pitch[i]);
            assert_int_equal(p.pitch[i], l.pitch[i]);
        }
        drop(i420, a);
        drop(nv12, b);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_direct),  TEST(test_beside), TEST(test_recycled),
        TEST(test_refused), TEST(test_limit),  TEST(test_pitches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
