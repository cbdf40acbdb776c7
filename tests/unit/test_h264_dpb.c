/* SPDX-License-Identifier: MIT */
#include <viaduct/errors.h>

#include "check.h"
#include "encode/h264_dpb.h"

/* Reference pictures of H.264: 8.2.4 and 8.2.5, for frames. */

static const struct h264_sps sps = {.valid = true, .log2_frame_num = 4, .ref_frames = 4};

static void code(struct h264_dpb *dpb, struct h264_picture picture, uint32_t serial)
{
    h264_dpb_begin(dpb, &sps, &picture);
    h264_dpb_end(dpb, &sps, &picture, serial);
}

static struct h264_picture reference(unsigned frame_num)
{
    return (struct h264_picture){.ref_idc = 1, .frame_num = (uint16_t)(frame_num & 15)};
}

static unsigned list_of(const struct h264_dpb *dpb, unsigned frame_num, unsigned count,
                        uint32_t list[H264_MAX_REFS])
{
    struct h264_slice slice = {.picture = reference(frame_num), .ref_count = (uint8_t)count};

    return h264_dpb_list(dpb, &sps, &slice, list);
}

static void test_sliding_window(void **state)
{
    struct h264_dpb dpb = {0};
    uint32_t list[H264_MAX_REFS];

    (void)state;
    code(&dpb, (struct h264_picture){.idr = true, .ref_idc = 1}, 1);
    for (unsigned n = 1; n < 40; n++) {
        unsigned there = list_of(&dpb, n, 8, list);

        assert_int_equal(there, n < 4 ? n : 4);
        for (unsigned i = 0; i < there; i++)
            assert_int_equal(list[i], n - i); /* the latest first, also where numbers wrap */
        code(&dpb, reference(n), n + 1);
        /* What is no reference leaves no trace. */
        code(&dpb, (struct h264_picture){.frame_num = (uint16_t)((n + 1) & 15)}, 99);
    }
    assert_int_equal(list_of(&dpb, 40, 2, list), 2);
    code(&dpb, (struct h264_picture){.idr = true, .ref_idc = 1}, 50);
    assert_int_equal(list_of(&dpb, 1, 4, list), 1);
    assert_int_equal(list[0], 50);
}

static void test_gap(void **state)
{
    struct h264_dpb dpb = {0};
    struct h264_slice slice = {.picture = reference(4), .ref_count = 1};
    uint32_t list[H264_MAX_REFS], wanted = 1;

    (void)state;
    code(&dpb, (struct h264_picture){.idr = true, .ref_idc = 1}, 1);
    h264_dpb_begin(&dpb, &sps, &slice.picture);
    assert_int_equal(list_of(&dpb, 4, 4, list), 4);
    assert_memory_equal(list, ((uint32_t[]){0, 0, 0, 1}), 16);
    /* What exists is still found. */
    assert_int_equal(h264_dpb_modify(&dpb, &sps, &wanted, 1, &slice), 0);
    assert_int_equal(slice.mod_count, 1);
    assert_int_equal(slice.mod[0].op, 0);
    assert_int_equal(slice.mod[0].value, 3);
    wanted = 0;
    slice.picture = reference(9);
    h264_dpb_begin(&dpb, &sps, &slice.picture);
    wanted = 1;
    assert_int_equal(h264_dpb_modify(&dpb, &sps, &wanted, 1, &slice), VD_ERR_DECODE);
}

static void test_marking(void **state)
{
    struct h264_dpb dpb = {0};
    struct h264_picture picture;
    uint32_t list[H264_MAX_REFS];

    (void)state;
    code(&dpb, (struct h264_picture){.idr = true, .ref_idc = 1, .long_term = true}, 1);
    code(&dpb, reference(1), 2);
    code(&dpb, reference(2), 3);
    assert_int_equal(list_of(&dpb, 3, 4, list), 3);
    assert_memory_equal(list, ((uint32_t[]){3, 2, 1}), 12); /* long-term ones last */
    picture = reference(3);
    picture.mmco_count = 2;
    picture.mmco[0] = (struct h264_mmco){.op = 1, .difference = 0};
    picture.mmco[1] = (struct h264_mmco){.op = 3, .difference = 1, .index = 1};
    code(&dpb, picture, 4);
    assert_int_equal(list_of(&dpb, 4, 4, list), 3);
    assert_memory_equal(list, ((uint32_t[]){4, 1, 2}), 12);
    picture = reference(4);
    picture.mmco_count = 2;
    picture.mmco[0] = (struct h264_mmco){.op = 2, .index = 0};
    picture.mmco[1] = (struct h264_mmco){.op = 6, .index = 3};
    code(&dpb, picture, 5);
    assert_int_equal(list_of(&dpb, 5, 4, list), 3);
    assert_memory_equal(list, ((uint32_t[]){4, 2, 5}), 12);
    picture = reference(5);
    picture.mmco_count = 1;
    picture.mmco[0] = (struct h264_mmco){.op = 4, .index = 2};
    code(&dpb, picture, 6);
    assert_int_equal(list_of(&dpb, 6, 4, list), 3);
    assert_memory_equal(list, ((uint32_t[]){6, 4, 2}), 12);
    picture = reference(6);
    picture.mmco_count = 1;
    picture.mmco[0] = (struct h264_mmco){.op = 5};
    code(&dpb, picture, 7);
    assert_int_equal(list_of(&dpb, 1, 4, list), 1);
    assert_int_equal(list[0], 7);
}

/* Whatever is marked: a list that was asked for is the list that a decoder gets. */
static void test_random_lists(void **state)
{
    struct h264_dpb dpb = {0};
    uint64_t seed = 1;
    uint32_t serial = 0;
    unsigned frame_num = 0, checked = 0;

    (void)state;
    code(&dpb, (struct h264_picture){.idr = true, .ref_idc = 1}, ++serial);
    for (unsigned n = 0; n < 20000; n++) {
        struct h264_picture picture = reference(++frame_num);
        struct h264_slice slice = {.picture = picture};
        uint32_t wanted[H264_MAX_REFS], list[H264_MAX_REFS];
        unsigned count = 1 + (unsigned)(check_random(&seed) % 6);

        if (dpb.count == 0) {
            code(&dpb, (struct h264_picture){.idr = true, .ref_idc = 1}, ++serial);
            frame_num = 0;
            continue;
        }
        for (unsigned i = 0; i < count; i++)
            wanted[i] = dpb.ref[check_random(&seed) % dpb.count].serial;
        slice.ref_count = (uint8_t)count;
        assert_int_equal(h264_dpb_modify(&dpb, &sps, wanted, count, &slice), 0);
        assert_int_equal(h264_dpb_list(&dpb, &sps, &slice, list), count);
        assert_memory_equal(list, wanted, count * sizeof(list[0]));
        checked++;
        if (check_random(&seed) % 2) {
            picture.mmco_count = (uint8_t)(1 + check_random(&seed) % 3);
            for (unsigned i = 0; i < picture.mmco_count; i++)
                picture.mmco[i] = (struct h264_mmco){
                    .op = (uint8_t)(1 + check_random(&seed) % 4),
                    .index = (uint8_t)(check_random(&seed) % 3),
                    .difference = (uint16_t)(check_random(&seed) % 4),
                };
            if (dpb.count == 4)
                picture.mmco_count = 0;
        }
        code(&dpb, picture, ++serial);
        assert_in_range(dpb.count, 1, 5);
    }
    assert_true(checked > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sliding_window),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_marking),
        cmocka_unit_test(test_random_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
