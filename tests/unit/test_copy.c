/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <va/va.h>

#include "driver.h"

/*
 * Against a model that knows samples only: where libva's va.h says that Y, U and V of a format lie,
 * written down here again. All formats, and all pairs between which there is a way.
 */

#define SIDE 40

/* Rows of samples of one kind: plane, first byte, bytes a sample, bytes to the next one. */
struct rows {
    int plane, first, bytes, step, shift_w, shift_h;
};

struct model {
    uint32_t fourcc;
    int family; /* formats of one family are copied into each other; 0: none */
    int low;    /* zero bits below a sample */
    int count;
    struct rows rows[3];
};

#define PIXELS(name, bytes)              \
    {                                    \
        VA_FOURCC_##name, 0, 0, 1,       \
        {                                \
            {                            \
                0, 0, bytes, bytes, 0, 0 \
            }                            \
        }                                \
    }
#define PLANES(name, w, h)                          \
    {                                               \
        VA_FOURCC_##name, 0, 0, 3,                  \
        {                                           \
            {0, 0, 1, 1, 0, 0}, {1, 0, 1, 1, w, h}, \
            {                                       \
                2, 0, 1, 1, w, h                    \
            }                                       \
        }                                           \
    }
#define PACKED(name, bytes, y, u, v)                          \
    {                                                         \
        VA_FOURCC_##name, 0, 0, 3,                            \
        {                                                     \
            {0, (y) * (bytes), bytes, 2 * (bytes), 0, 0},     \
                {0, (u) * (bytes), bytes, 4 * (bytes), 1, 0}, \
                {0, (v) * (bytes), bytes, 4 * (bytes), 1, 0}, \
        }                                                     \
    }

/* clang-format off */
static const struct model models[] = {
    {VA_FOURCC_I420, 1, 0, 3, {{0, 0, 1, 1, 0, 0}, {1, 0, 1, 1, 1, 1}, {2, 0, 1, 1, 1, 1}}},
    {VA_FOURCC_YV12, 1, 0, 3, {{0, 0, 1, 1, 0, 0}, {2, 0, 1, 1, 1, 1}, {1, 0, 1, 1, 1, 1}}},
    {VA_FOURCC_NV12, 1, 0, 3, {{0, 0, 1, 1, 0, 0}, {1, 0, 1, 2, 1, 1}, {1, 1, 1, 2, 1, 1}}},
    {VA_FOURCC_I010, 2, 0, 3, {{0, 0, 2, 2, 0, 0}, {1, 0, 2, 2, 1, 1}, {2, 0, 2, 2, 1, 1}}},
    {VA_FOURCC_P010, 2, 6, 3, {{0, 0, 2, 2, 0, 0}, {1, 0, 2, 4, 1, 1}, {1, 2, 2, 4, 1, 1}}},
    {VA_FOURCC_P012, 0, 0, 3, {{0, 0, 2, 2, 0, 0}, {1, 0, 2, 4, 1, 1}, {1, 2, 2, 4, 1, 1}}},
    {VA_FOURCC_P016, 0, 0, 3, {{0, 0, 2, 2, 0, 0}, {1, 0, 2, 4, 1, 1}, {1, 2, 2, 4, 1, 1}}},
    PLANES(422H, 1, 0), PLANES(422V, 0, 1), PLANES(411P, 2, 0), PLANES(444P, 0, 0), PLANES(RGBP, 0, 0),
    PACKED(YUY2, 1, 0, 1, 3), PACKED(UYVY, 1, 1, 0, 2),
    PACKED(Y210, 2, 0, 1, 3), PACKED(Y212, 2, 0, 1, 3), PACKED(Y216, 2, 0, 1, 3),
    PIXELS(AYUV, 4), PIXELS(XYUV, 4), PIXELS(Y410, 4), PIXELS(Y412, 8), PIXELS(Y416, 8),
    PIXELS(Y800, 1), PIXELS(BGRA, 4), PIXELS(BGRX, 4), PIXELS(RGBA, 4), PIXELS(RGBX, 4),
    PIXELS(ARGB, 4), PIXELS(XRGB, 4),
};
/* clang-format on */

static const struct model *model_of(const struct format_info *format)
{
    for (size_t i = 0; i < COUNT(models); i++) {
        if (models[i].fourcc == format->fourcc)
            return &models[i];
    }
    fail_msg("%s is in no model", format->name);
    return NULL;
}

/* A picture by sample, in memory of exactly its layout. */
struct picture {
    struct copy_picture p;
    struct format_layout layout;
};

static uint8_t *sample(const struct picture *c, const struct rows *r, uint32_t x, uint32_t y)
{
    return c->p.bytes + c->layout.offset[r->plane] + (size_t)y * c->layout.pitch[r->plane] +
           r->first + (size_t)x * (size_t)r->step;
}

static void make(struct picture *c, const struct format_info *format, uint32_t width,
                 uint32_t height, uint64_t random)
{
    const int low = model_of(format)->low;

    assert_int_equal(format_layout(format, width, height, &c->layout), 0);
    c->p = (struct copy_picture){format, &c->layout, malloc(c->layout.size), width, height};
    assert_non_null(c->p.bytes);
    for (uint64_t i = 0; i < c->layout.size; i++)
        c->p.bytes[i] = (uint8_t)check_random(&random);
    /* Words of ten bits. */
    for (uint64_t i = 0; model_of(format)->family == 2 && i < c->layout.size; i += 2) {
        uint16_t word;

        memcpy(&word, c->p.bytes + i, 2);
        word = (uint16_t)((word & 0x3ff) << low);
        memcpy(c->p.bytes + i, &word, 2);
    }
}

static uint32_t up_to(uint32_t n, int shift)
{
    return (n + (1u << shift) - 1) >> shift;
}

static void copy_sample(const struct picture *to, const struct rows *t, uint32_t tx, uint32_t ty,
                        const struct picture *from, const struct rows *f, uint32_t fx, uint32_t fy)
{
    uint8_t *a = sample(to, t, tx, ty);
    const uint8_t *b = sample(from, f, fx, fy);
    uint16_t word;

    if (model_of(to->p.format)->family != 2) {
        memcpy(a, b, (size_t)t->bytes);
        return;
    }
    memcpy(&word, b, 2);
    word = (uint16_t)(word >> model_of(from->p.format)->low << model_of(to->p.format)->low);
    memcpy(a, &word, 2);
}

/*
 * Luma is copied sample by sample. Chroma of the pixels touched comes from the source's chroma
 * beginning at the one of its first pixel; nothing else may change.
 */
static void check_pair(const struct format_info *to_format, const struct format_info *from_format,
                       const uint32_t *c)
{
    const struct model *tm = model_of(to_format), *fm = model_of(from_format);
    const uint32_t tx = c[0], ty = c[1], fx = c[2], fy = c[3], w = c[4], h = c[5];
    struct picture to, from, before;

    make(&to, to_format, SIDE - 1, SIDE, 1);
    make(&before, to_format, SIDE - 1, SIDE, 1);
    make(&from, from_format, SIDE, SIDE - 3, 2);
    for (int i = 0; i < tm->count; i++) {
        const struct rows *t = &tm->rows[i], *f = &fm->rows[i];
        uint32_t columns = up_to(tx % (1u << t->shift_w) + w, t->shift_w);
        uint32_t rows = up_to(ty % (1u << t->shift_h) + h, t->shift_h);

        if (columns > up_to(SIDE, f->shift_w) - (fx >> f->shift_w))
            columns = up_to(SIDE, f->shift_w) - (fx >> f->shift_w);
        if (rows > up_to(SIDE - 3, f->shift_h) - (fy >> f->shift_h))
            rows = up_to(SIDE - 3, f->shift_h) - (fy >> f->shift_h);
        for (uint32_t y = 0; y < rows; y++) {
            for (uint32_t x = 0; x < columns; x++)
                copy_sample(&before, t, (tx >> t->shift_w) + x, (ty >> t->shift_h) + y, &from, f,
                            (fx >> f->shift_w) + x, (fy >> f->shift_h) + y);
        }
    }
    copy_rectangle(&to.p, tx, ty, &from.p, fx, fy, w, h);
    assert_memory_equal(to.p.bytes, before.p.bytes, to.layout.size);
    free(to.p.bytes);
    free(from.p.bytes);
    free(before.p.bytes);
}

static void check_rectangles(const struct format_info *to, const struct format_info *from)
{
    static const uint32_t fixed[][6] = {
        {0, 0, 0, 0, SIDE - 1, SIDE - 3}, /* all */
        {0, 0, 0, 0, SIDE - 2, SIDE - 4}, /* even */
        {0, 0, 0, 0, 1, 1},
        {1, 1, 0, 0, 1, 1},
        {0, 0, 1, 1, 2, 2},
        {SIDE - 2, SIDE - 1, SIDE - 1, SIDE - 4, 1, 1}, /* the corner */
        {3, 5, 3, 5, 7, 9},
        {4, 5, 8, 5, 6, 9},
    };
    uint64_t random = 9;

    for (size_t k = 0; k < COUNT(fixed); k++)
        check_pair(to, from, fixed[k]);
    for (int k = 0; k < 50; k++) {
        uint32_t c[6];

        c[4] = 1 + (uint32_t)(check_random(&random) % (SIDE - 1));
        c[5] = 1 + (uint32_t)(check_random(&random) % (SIDE - 3));
        c[0] = (uint32_t)(check_random(&random) % (SIDE - 1 - c[4] + 1));
        c[1] = (uint32_t)(check_random(&random) % (SIDE - c[5] + 1));
        c[2] = (uint32_t)(check_random(&random) % (SIDE - c[4] + 1));
        c[3] = (uint32_t)(check_random(&random) % (SIDE - 3 - c[5] + 1));
        check_pair(to, from, c);
    }
}

static void test_pairs(void **state)
{
    (void)state;
    for (size_t i = 0; format_at(i); i++) {
        for (size_t j = 0; format_at(j); j++) {
            const struct model *a = model_of(format_at(i)), *b = model_of(format_at(j));
            bool possible = a == b || (a->family && a->family == b->family);

            assert_int_equal(copy_possible(format_at(i), format_at(j)), possible);
            if (possible)
                check_rectangles(format_at(j), format_at(i));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
