/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <va/va.h>
#include <wire/format.h>

#include "convert.h"
#include "convert_rows.h"

/*
 * All ways from a decoder's samples into surfaces. What is expected is written down here again:
 * where a format has each sample, and which formats there are for which samples. The test is the
 * decoder: it writes direct planes into the surface and the others into memory of just their size.
 */

#define GUARD 0xa5

/* A component: in words of `bytes` at `step` bytes from each other, `bits` from bit `low` on. */
struct locator {
    int plane, first, step, bytes, low, bits, shift_w, shift_h;
};

/* Components are in the order of the decoder's planes, Y U V or G B R; the fourth is alpha. */
struct expected {
    uint32_t fourcc;
    struct locator at[4];
};

/* clang-format off */
#define PLANAR(n, w, h) {VA_FOURCC_##n, {{0, 0, 1, 1, 0, 8, 0, 0}, {1, 0, 1, 1, 0, 8, w, h}, \
                                         {2, 0, 1, 1, 0, 8, w, h}, {0}}}
#define SEMI(n, bits) {VA_FOURCC_##n, {{0, 0, 2, 2, 16 - (bits), bits, 0, 0}, \
                                       {1, 0, 4, 2, 16 - (bits), bits, 1, 1}, \
                                       {1, 2, 4, 2, 16 - (bits), bits, 1, 1}, {0}}}
#define Y21X(n, bits) {VA_FOURCC_##n, {{0, 0, 4, 2, 16 - (bits), bits, 0, 0}, \
                                       {0, 2, 8, 2, 16 - (bits), bits, 1, 0}, \
                                       {0, 6, 8, 2, 16 - (bits), bits, 1, 0}, {0}}}
#define Y41X(n, bits) {VA_FOURCC_##n, {{0, 2, 8, 2, 16 - (bits), bits, 0, 0}, \
                                       {0, 0, 8, 2, 16 - (bits), bits, 0, 0}, \
                                       {0, 4, 8, 2, 16 - (bits), bits, 0, 0}, \
                                       {0, 6, 8, 2, 16 - (bits), bits, 0, 0}}}
#define BYTES(n, y, u, v, a) {VA_FOURCC_##n, {{0, y, 4, 1, 0, 8, 0, 0}, {0, u, 4, 1, 0, 8, 0, 0}, \
                                              {0, v, 4, 1, 0, 8, 0, 0}, {0, a, 4, 1, 0, 8, 0, 0}}}
static const struct expected table[] = {
    PLANAR(I420, 1, 1), PLANAR(422H, 1, 0), PLANAR(422V, 0, 1), PLANAR(411P, 2, 0), PLANAR(444P, 0, 0),
    {VA_FOURCC_RGBP, {{1, 0, 1, 1, 0, 8, 0, 0}, {2, 0, 1, 1, 0, 8, 0, 0}, {0, 0, 1, 1, 0, 8, 0, 0}, {0}}},
    {VA_FOURCC_Y800, {{0, 0, 1, 1, 0, 8, 0, 0}, {0}, {0}, {0}}},
    {VA_FOURCC_NV12, {{0, 0, 1, 1, 0, 8, 0, 0}, {1, 0, 2, 1, 0, 8, 1, 1}, {1, 1, 2, 1, 0, 8, 1, 1}, {0}}},
    {VA_FOURCC_I010, {{0, 0, 2, 2, 0, 10, 0, 0}, {1, 0, 2, 2, 0, 10, 1, 1}, {2, 0, 2, 2, 0, 10, 1, 1}, {0}}},
    SEMI(P010, 10), SEMI(P012, 12), SEMI(P016, 16),
    {VA_FOURCC_YUY2, {{0, 0, 2, 1, 0, 8, 0, 0}, {0, 1, 4, 1, 0, 8, 1, 0}, {0, 3, 4, 1, 0, 8, 1, 0}, {0}}},
    {VA_FOURCC_UYVY, {{0, 1, 2, 1, 0, 8, 0, 0}, {0, 0, 4, 1, 0, 8, 1, 0}, {0, 2, 4, 1, 0, 8, 1, 0}, {0}}},
    Y21X(Y210, 10), Y21X(Y212, 12), Y21X(Y216, 16), Y41X(Y412, 12), Y41X(Y416, 16),
    {VA_FOURCC_Y410, {{0, 0, 4, 4, 10, 10, 0, 0}, {0, 0, 4, 4, 0, 10, 0, 0}, {0, 0, 4, 4, 20, 10, 0, 0},
                      {0, 0, 4, 4, 30, 2, 0, 0}}},
    BYTES(AYUV, 2, 1, 0, 3), BYTES(XYUV, 2, 1, 0, 3),
    BYTES(BGRA, 1, 0, 2, 3), BYTES(BGRX, 1, 0, 2, 3), BYTES(RGBA, 1, 2, 0, 3), BYTES(RGBX, 1, 2, 0, 3),
    BYTES(ARGB, 2, 3, 1, 0), BYTES(XRGB, 2, 3, 1, 0),
};
/* clang-format on */

/* Samples and the formats they can become. */
static const struct {
    struct convert_samples samples;
    const char *formats;
} wanted[] = {
    {{8, 3, 1, 1, false}, "I420 NV12 "},
    {{9, 3, 1, 1, false}, "P010 P012 P016 "},
    {{10, 3, 1, 1, false}, "P010 I010 P012 P016 "},
    {{12, 3, 1, 1, false}, "P010 P012 P016 "},
    {{14, 3, 1, 1, false}, "P016 "},
    {{16, 3, 1, 1, false}, "P016 "},
    {{8, 1, 0, 0, false}, "I420 NV12 Y800 "},
    {{10, 1, 0, 0, false}, "P010 I010 P012 P016 "},
    {{12, 1, 0, 0, false}, "P010 P012 P016 "},
    {{8, 3, 1, 0, false}, "NV12 422H YUY2 UYVY "},
    {{10, 3, 1, 0, false}, "Y210 Y212 Y216 "},
    {{12, 3, 1, 0, false}, "Y210 Y212 Y216 "},
    {{16, 3, 1, 0, false}, "Y216 "},
    {{8, 3, 0, 1, false}, "NV12 422V "},
    {{10, 3, 0, 1, false}, ""},
    {{8, 3, 2, 0, false}, "NV12 411P "},
    {{8, 3, 2, 1, false}, ""},
    {{8, 3, 2, 2, false}, ""},
    {{8, 3, 0, 0, false}, "NV12 444P AYUV XYUV "},
    {{9, 3, 0, 0, false}, "Y410 Y412 Y416 "},
    {{10, 3, 0, 0, false}, "Y410 Y412 Y416 "},
    {{12, 3, 0, 0, false}, "Y412 Y416 "},
    {{16, 3, 0, 0, false}, "Y416 "},
    {{8, 3, 0, 0, true}, "444P AYUV XYUV RGBP BGRA BGRX RGBA RGBX ARGB XRGB "},
    {{10, 3, 0, 0, true}, "Y410 Y412 Y416 "},
    {{12, 3, 0, 0, true}, "Y412 Y416 "},
    {{8, 3, 1, 1, true}, ""},
    {{8, 2, 1, 1, false}, ""},
    {{7, 3, 1, 1, false}, ""},
    {{17, 3, 1, 1, false}, ""},
};

static const struct expected *expected_of(uint32_t fourcc)
{
    for (size_t i = 0; i < COUNT(table); i++) {
        if (table[i].fourcc == fourcc)
            return &table[i];
    }
    return NULL;
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(wanted); i++) {
        char found[256] = "";

        for (size_t j = 0; format_at(j); j++) {
            const struct format_info *f = format_at(j);
            const struct convert_way *way = convert_find(&wanted[i].samples, f->fourcc);

            if (!way)
                continue;
            assert_int_equal(way->fourcc, f->fourcc);
            assert_non_null(expected_of(f->fourcc));
            strcat(strcat(found, f->name), " ");
            for (int p = 0; p < wanted[i].samples.planes; p++)
                assert_in_range(way->plane[p] + 1, way->run ? 0 : 1, f->planes);
        }
        assert_string_equal(found, wanted[i].formats);
    }
    assert_null(convert_find(&wanted[0].samples, 0));
}

static uint32_t up_to(uint32_t n, int shift)
{
    return (n + (1u << shift) - 1) >> shift;
}

static uint64_t get(const uint8_t *at, int bytes)
{
    uint64_t word = 0;

    for (int i = 0; i < bytes; i++)
        word |= (uint64_t)at[i] << (8 * i);
    return word;
}

struct picture {
    const struct format_info *format;
    struct format_layout layout;
    uint8_t *bytes; /* of the surface */
    struct convert_samples samples;
    struct convert_source source; /* all planes, also those the decoder wrote directly */
    uint32_t width, height;
};

static uint32_t plane_width(const struct picture *p, int plane)
{
    return up_to(p->width, plane ? p->samples.shift_w : 0);
}

static uint32_t plane_height(const struct picture *p, int plane)
{
    return up_to(p->height, plane ? p->samples.shift_h : 0);
}

static uint32_t source_at(const struct picture *p, int plane, uint32_t x, uint32_t y)
{
    int bytes = p->samples.bits > 8 ? 2 : 1;

    return (uint32_t)get(p->source.plane[plane] + (ptrdiff_t)y * p->source.stride[plane] +
                             (size_t)x * (size_t)bytes,
                         bytes);
}

static uint32_t surface_at(const struct picture *p, const struct locator *l, uint32_t x, uint32_t y)
{
    const uint8_t *word = p->bytes + p->layout.offset[l->plane] +
                          (size_t)y * p->layout.pitch[l->plane] + l->first +
                          (size_t)x * (size_t)l->step;

    return (uint32_t)(get(word, l->bytes) >> l->low & ((1u << l->bits) - 1));
}

/* Mean of two, rounded up, where there are two. */
static uint32_t mean(uint32_t a, uint32_t b)
{
    return (a + b + 1) / 2;
}

/* Chroma of 4:2:0 from finer chroma: first of rows, then of neighbours. */
static uint32_t mean_at(const struct picture *p, int plane, uint32_t x, uint32_t y)
{
    uint32_t w = plane_width(p, plane), h = plane_height(p, plane), column[2];

    for (uint32_t i = 0; i < 2; i++) {
        uint32_t sx = p->samples.shift_w == 2   ? x / 2
                      : p->samples.shift_w == 1 ? x
                      : 2 * x + i < w           ? 2 * x + i
                                                : 2 * x;
        uint32_t top = p->samples.shift_h ? y : 2 * y;
        uint32_t bottom = p->samples.shift_h ? y : 2 * y + 1 < h ? 2 * y + 1 : 2 * y;

        column[i] = mean(source_at(p, plane, sx, top), source_at(p, plane, sx, bottom));
    }
    return mean(column[0], column[1]);
}

static void check_component(const struct picture *p, const struct expected *e, int c)
{
    const struct locator *l = &e->at[c];
    const uint32_t width = up_to(p->width, l->shift_w), height = up_to(p->height, l->shift_h);
    const bool same =
        c < 3 && (c == 0 || (l->shift_w == p->samples.shift_w && l->shift_h == p->samples.shift_h));

    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < width; x++) {
            uint32_t want;

            if (c == 3)
                want = (1u << l->bits) - 1;
            else if (c >= p->samples.planes)
                want = 1u << (l->bits - 1);
            else if (same && l->bits >= p->samples.bits)
                want = source_at(p, c, x, y) << (l->bits - p->samples.bits);
            else if (same) /* the others lie below those that the format counts */
                want = source_at(p, c, x, y) >> (p->samples.bits - l->bits);
            else
                want = mean_at(p, c, x, y);
            if (surface_at(p, l, x, y) != want)
                fail_msg("%s from %d bits %d planes, %ux%u: component %d at %u,%u is %u, not %u",
                         p->format->name, p->samples.bits, p->samples.planes, p->width, p->height,
                         c, x, y, surface_at(p, l, x, y), want);
        }
    }
}

/* Nothing but the visible part of rows may have been written. */
static void check_guards(const struct picture *p)
{
    uint8_t *rest = check_exact(p->bytes, p->layout.size);

    for (int i = 0; i < p->format->planes; i++) {
        for (uint32_t y = 0; y < format_rows(p->format, i, p->height); y++)
            memset(rest + p->layout.offset[i] + (size_t)y * p->layout.pitch[i], GUARD,
                   format_row_bytes(p->format, i, p->width));
    }
    for (uint64_t i = 0; i < p->layout.size; i++)
        assert_int_equal(rest[i], GUARD);
    free(rest);
}

static void check_way(const struct convert_way *way, const struct convert_samples *samples,
                      const struct format_info *format, uint32_t width, uint32_t height)
{
    const struct expected *e = expected_of(format->fourcc);
    const int bytes = samples->bits > 8 ? 2 : 1;
    struct picture p = {.format = format, .samples = *samples, .width = width, .height = height};
    struct convert_source beside;
    uint64_t random = width * 1000 + height;
    uint8_t *planes[3] = {NULL};

    /* Tight, and at odd places where the format allows it. */
    for (int i = 0; i < format->planes; i++) {
        p.layout.pitch[i] = format_row_bytes(format, i, width) + (uint32_t)i;
        p.layout.offset[i] = (uint32_t)p.layout.size + 3;
        p.layout.rows[i] = format_rows(format, i, height);
        p.layout.size = p.layout.offset[i] + (uint64_t)p.layout.pitch[i] * p.layout.rows[i];
    }
    p.bytes = check_exact(NULL, p.layout.size);
    memset(p.bytes, GUARD, p.layout.size);
    for (int i = 0; i < samples->planes; i++) {
        uint32_t w = plane_width(&p, i), h = plane_height(&p, i);
        size_t size = (size_t)w * h * (size_t)bytes;

        planes[i] = check_exact(NULL, size);
        p.source.plane[i] = planes[i];
        p.source.stride[i] = (ptrdiff_t)w * bytes;
        for (size_t j = 0; j < size; j += (size_t)bytes) {
            uint16_t sample = (uint16_t)(check_random(&random) & ((1u << samples->bits) - 1));

            memcpy(planes[i] + j, &sample, (size_t)bytes);
        }
    }
    beside = p.source;
    for (int i = 0; i < samples->planes; i++) {
        int to = way->plane[i];

        if (to == CONVERT_BESIDE)
            continue;
        for (uint32_t y = 0; y < plane_height(&p, i); y++)
            memcpy(p.bytes + p.layout.offset[to] + (size_t)y * p.layout.pitch[to],
                   planes[i] + (ptrdiff_t)y * p.source.stride[i], (size_t)p.source.stride[i]);
        /* These are not looked at. */
        beside.plane[i] = NULL;
    }
    convert_run(way, samples, &beside, format, &p.layout, p.bytes, width, height);
    for (int c = 0; c < 4; c++) {
        if (e->at[c].bits)
            check_component(&p, e, c);
    }
    check_guards(&p);
    for (int i = 0; i < 3; i++)
        free(planes[i]);
    free(p.bytes);
}

static void test_ways(void **state)
{
    static const uint32_t widths[] = {1, 2, 3, 4, 5, 15, 16, 17, 33, 64, 131, 511, 512, 513, 1030};
    static const uint32_t heights[] = {1, 2, 3, 6};

    (void)state;
    for (size_t i = 0; i < COUNT(wanted); i++) {
        for (size_t j = 0; format_at(j); j++) {
            const struct convert_way *way = convert_find(&wanted[i].samples, format_at(j)->fourcc);

            for (size_t w = 0; way && w < COUNT(widths); w++) {
                for (size_t h = 0; h < COUNT(heights); h++)
                    check_way(way, &wanted[i].samples, format_at(j), widths[w], heights[h]);
            }
        }
    }
}

/* The processor's rows do what any processor's do. */
static void test_rows(void **state)
{
    const struct convert_rows *a = &convert_rows_any, *b = convert_rows();
    static const int at[3] = {10, 0, 20}, at_long[3] = {16, 0, 32};
    uint8_t in[3][1024], x[4096], y[4096];
    uint64_t random = 5;

    (void)state;
    for (size_t n = 0; n < 128; n++) {
        for (size_t i = 0; i < sizeof(in); i++)
            in[i / 1024][i % 1024] = (uint8_t)check_random(&random);
        memset(x, 0, sizeof(x));
        memset(y, 0, sizeof(y));
#define BOTH(name, ...)                          \
    do {                                         \
        a->name(x + n % 32, in[0], __VA_ARGS__); \
        b->name(y + n % 32, in[0], __VA_ARGS__); \
        assert_memory_equal(x, y, sizeof(x));    \
    } while (0)
        BOTH(shift16, n, 6);
        BOTH(pair8, in[1], n);
        BOTH(pair16, in[1], n, 4);
        BOTH(quad8, in[1], in[2], n, 0);
        BOTH(quad8, in[1], in[2], n, 8);
        BOTH(quad16, in[1], in[2], n, 6);
        BOTH(word8, in[1], in[2], n, at, 0xff000000);
        BOTH(word16, in[1], in[2], n, at, 0xc0000000);
        BOTH(long16, in[1], in[2], n, at_long, UINT64_C(0xffff) << 48);
        BOTH(mean_rows, in[1], n);
        BOTH(mean_neighbours, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
