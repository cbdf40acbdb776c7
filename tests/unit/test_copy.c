/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <va/va.h>

#include "driver.h"

/* Against a model that knows samples only, for all pairs of formats. */

#define SIDE 40

/* A picture by sample, in memory of exactly its layout. */
struct picture {
    struct copy_picture p;
    struct format_layout layout;
};

static uint8_t *sample(const struct picture *c, int component, uint32_t x, uint32_t y)
{
    const struct format_info *f = c->p.format;

    if (!component)
        return c->p.bytes + c->layout.offset[0] + (size_t)y * c->layout.pitch[0] + x;
    if (f->planes == 2)
        return c->p.bytes + c->layout.offset[1] + (size_t)y * c->layout.pitch[1] + 2 * x +
               (component - 1);
    if (f->swap_uv)
        component = 3 - component;
    return c->p.bytes + c->layout.offset[component] + (size_t)y * c->layout.pitch[component] + x;
}

static void make(struct picture *c, const struct format_info *format, uint32_t width,
                 uint32_t height, uint64_t random)
{
    assert_int_equal(format_layout(format, width, height, &c->layout), 0);
    c->p = (struct copy_picture){format, &c->layout, malloc(c->layout.size), width, height};
    assert_non_null(c->p.bytes);
    for (uint64_t i = 0; i < c->layout.size; i++)
        c->p.bytes[i] = (uint8_t)check_random(&random);
}

static uint32_t half(uint32_t n)
{
    return (n + 1) / 2;
}

/*
 * Luma is copied sample by sample. Chroma of the pixels touched comes from the source's chroma
 * beginning at the one of its first pixel; nothing else may change.
 */
static void check_pair(const struct format_info *to_format, const struct format_info *from_format,
                       const uint32_t *c)
{
    const uint32_t tx = c[0], ty = c[1], fx = c[2], fy = c[3], w = c[4], h = c[5];
    uint32_t columns = half(tx % 2 + w), rows = half(ty % 2 + h);
    struct picture to, from, before;

    make(&to, to_format, SIDE - 1, SIDE, 1);
    make(&before, to_format, SIDE - 1, SIDE, 1);
    make(&from, from_format, SIDE, SIDE - 3, 2);
    if (columns > half(SIDE) - fx / 2)
        columns = half(SIDE) - fx / 2;
    if (rows > half(SIDE - 3) - fy / 2)
        rows = half(SIDE - 3) - fy / 2;
    for (uint32_t y = 0; y < h; y++) {
        for (uint32_t x = 0; x < w; x++)
            *sample(&before, 0, tx + x, ty + y) = *sample(&from, 0, fx + x, fy + y);
    }
    for (int v = 1; v < 3; v++) {
        for (uint32_t y = 0; y < rows; y++) {
            for (uint32_t x = 0; x < columns; x++)
                *sample(&before, v, tx / 2 + x, ty / 2 + y) =
                    *sample(&from, v, fx / 2 + x, fy / 2 + y);
        }
    }
    copy_rectangle(&to.p, tx, ty, &from.p, fx, fy, w, h);
    assert_memory_equal(to.p.bytes, before.p.bytes, to.layout.size);
    free(to.p.bytes);
    free(from.p.bytes);
    free(before.p.bytes);
}

static void test_pairs(void **state)
{
    const uint32_t fixed[][6] = {
        {0, 0, 0, 0, SIDE - 1, SIDE - 3}, /* all */
        {0, 0, 0, 0, 1, 1},
        {1, 1, 0, 0, 1, 1},
        {0, 0, 1, 1, 2, 2},
        {SIDE - 2, SIDE - 1, SIDE - 1, SIDE - 4, 1, 1}, /* the corner */
        {3, 5, 3, 5, 7, 9},
    };
    uint64_t random = 9;

    (void)state;
    for (size_t i = 0; format_at(i); i++) {
        for (size_t j = 0; format_at(j); j++) {
            assert_true(copy_possible(format_at(i), format_at(j)));
            for (size_t k = 0; k < COUNT(fixed); k++)
                check_pair(format_at(i), format_at(j), fixed[k]);
            for (int k = 0; k < 100; k++) {
                uint32_t c[6];

                c[4] = 1 + (uint32_t)(check_random(&random) % (SIDE - 1));
                c[5] = 1 + (uint32_t)(check_random(&random) % (SIDE - 3));
                c[0] = (uint32_t)(check_random(&random) % (SIDE - 1 - c[4] + 1));
                c[1] = (uint32_t)(check_random(&random) % (SIDE - c[5] + 1));
                c[2] = (uint32_t)(check_random(&random) % (SIDE - c[4] + 1));
                c[3] = (uint32_t)(check_random(&random) % (SIDE - 3 - c[5] + 1));
                check_pair(format_at(i), format_at(j), c);
            }
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
