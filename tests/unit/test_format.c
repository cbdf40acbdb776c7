/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <va/va.h>
#include <viaduct/errors.h>
#include <viaduct/limits.h>
#include <wire/format.h>

static const uint32_t sizes[] = {
    1,    2,    3,    15,   16,   17,   31,   32,   33,   63,   64,    65,
    127,  128,  320,  352,  640,  719,  720,  721,  800,  854,  1080,  1088,
    1280, 1366, 1920, 2160, 3840, 4096, 4097, 7680, 8191, 8192, 16383, VD_MAX_SURFACE_SIZE};

/* What both ends compute and never tell each other. */
static void test_layouts(void **state)
{
    const struct format_info *f;

    (void)state;
    for (size_t i = 0; (f = format_at(i)); i++) {
        for (size_t w = 0; w < COUNT(sizes); w++) {
            for (size_t h = 0; h < COUNT(sizes); h++) {
                struct format_layout l;
                uint64_t end = 0;

                assert_int_equal(format_layout(f, sizes[w], sizes[h], &l), 0);
                for (int p = 0; p < f->planes; p++) {
                    assert_int_equal(l.pitch[p] % 64, 0);
                    assert_int_equal(l.offset[p] % 64, 0);
                    assert_true(l.offset[p] >= end);
                    /* A decoder writes whole blocks, and two rows. */
                    assert_true(l.pitch[p] >= format_row_bytes(f, p, (sizes[w] + 127) & ~127u));
                    assert_true(l.rows[p] >= format_rows(f, p, ((sizes[h] + 127) & ~127u) + 2));
                    end = l.offset[p] + (uint64_t)l.pitch[p] * l.rows[p];
                }
                assert_true(l.size >= end);
                assert_int_equal(l.size % 4096, 0);
                assert_true(l.size < end + 4096 + 64 * 4);
            }
        }
    }
}

static void test_limits(void **state)
{
    const struct format_info *f;

    (void)state;
    for (size_t i = 0; (f = format_at(i)); i++) {
        struct format_layout l, before;

        memset(&l, 0x5a, sizeof(l));
        before = l;
        assert_int_equal(format_layout(f, 0, 16, &l), VD_ERR_RESOLUTION);
        assert_int_equal(format_layout(f, 16, 0, &l), VD_ERR_RESOLUTION);
        assert_int_equal(format_layout(f, VD_MAX_SURFACE_SIZE + 1, 16, &l), VD_ERR_RESOLUTION);
        assert_int_equal(format_layout(f, 16, UINT32_MAX, &l), VD_ERR_RESOLUTION);
        assert_memory_equal(&l, &before, sizeof(l));
    }
}

static void test_table(void **state)
{
    const struct format_info *f;

    (void)state;
    for (size_t i = 0; (f = format_at(i)); i++) {
        uint32_t bits = 0;

        assert_ptr_equal(format_find(f->fourcc), f);
        assert_in_range(f->planes, 1, FORMAT_MAX_PLANES);
        for (int p = 0; p < f->planes; p++)
            bits += format_row_bytes(f, p, 64) * format_rows(f, p, 64) * 8;
        assert_int_equal(bits, 64 * 64 * f->bits_per_pixel);
        for (size_t j = 0; j < i; j++)
            assert_true(format_at(j)->fourcc != f->fourcc);
    }
    assert_ptr_equal(format_find(VA_FOURCC_IYUV), format_find(VA_FOURCC_I420));
    assert_null(format_find(0));
    assert_null(format_find(VA_FOURCC_VYUY));
    assert_null(format_at(SIZE_MAX));
}

static void test_rows(void **state)
{
    const struct format_info *i420 = format_find(VA_FOURCC_I420);
    const struct format_info *nv12 = format_find(VA_FOURCC_NV12);

    (void)state;
    assert_int_equal(format_row_bytes(i420, 0, 5), 5);
    assert_int_equal(format_row_bytes(i420, 1, 5), 3);
    assert_int_equal(format_row_bytes(nv12, 1, 5), 6);
    assert_int_equal(format_rows(i420, 0, 5), 5);
    assert_int_equal(format_rows(i420, 2, 5), 3);
    assert_int_equal(format_rows(nv12, 1, 1), 1);
}

/* Layouts that the other side or the app gives. */
static void test_given(void **state)
{
    const struct format_info *f = format_find(VA_FOURCC_NV12);
    const uint32_t pitch[] = {20, 18, 0, 0}, offset[] = {0, 200, 0, 0};
    const uint64_t size = 200 + 4 * 18 + 18;
    struct format_layout l;

    (void)state;
    assert_int_equal(format_layout_given(f, 17, 10, pitch, offset, size, &l), 0);
    assert_int_equal(l.pitch[1], 18);
    assert_int_equal(l.offset[1], 200);
    assert_int_equal(format_layout_given(f, 17, 10, pitch, offset, size - 1, &l), VD_ERR_PARAMETER);
    assert_int_equal(format_layout_given(f, 19, 10, pitch, offset, size, &l), VD_ERR_PARAMETER);
    assert_int_equal(format_layout_given(f, 17, 12, pitch, offset, size, &l), VD_ERR_PARAMETER);
    assert_int_equal(format_layout_given(f, 17, 10, (const uint32_t[]){20, 17}, offset, size, &l),
                     VD_ERR_PARAMETER);
    assert_int_equal(
        format_layout_given(f, 17, 10, (const uint32_t[]){UINT32_MAX, 18}, offset, size, &l),
        VD_ERR_PARAMETER);
    assert_int_equal(
        format_layout_given(f, 17, 10, pitch, (const uint32_t[]){0, UINT32_MAX}, size, &l),
        VD_ERR_PARAMETER);
    assert_int_equal(
        format_layout_given(f, 17, 10, pitch, (const uint32_t[]){201 + 80, 200}, size, &l),
        VD_ERR_PARAMETER);
}

static void test_copy(void **state)
{
    const struct format_info *f;

    (void)state;
    for (size_t i = 0; (f = format_at(i)); i++) {
        struct format_layout from, to;
        uint8_t *a, *b;

        assert_int_equal(format_layout(f, 33, 17, &from), 0);
        memset(&to, 0, sizeof(to));
        for (int p = 0; p < f->planes; p++) {
            to.pitch[p] = format_row_bytes(f, p, 33) + (uint32_t)p;
            to.offset[p] = (uint32_t)to.size;
            to.size +=
                (uint64_t)to.pitch[p] * (format_rows(f, p, 17) - 1) + format_row_bytes(f, p, 33);
        }
        a = check_exact(NULL, from.size);
        b = check_exact(NULL, to.size);
        for (uint64_t j = 0; j < from.size; j++)
            a[j] = (uint8_t)(j * 31 >> 3);
        format_copy(f, 33, 17, b, &to, a, &from);
        for (int p = 0; p < f->planes; p++) {
            for (uint32_t y = 0; y < format_rows(f, p, 17); y++)
                assert_memory_equal(b + to.offset[p] + y * to.pitch[p],
                                    a + from.offset[p] + y * from.pitch[p],
                                    format_row_bytes(f, p, 33));
        }
        free(a);
        free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts), cmocka_unit_test(test_limits), cmocka_unit_test(test_table),
        cmocka_unit_test(test_rows),    cmocka_unit_test(test_given),  cmocka_unit_test(test_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
