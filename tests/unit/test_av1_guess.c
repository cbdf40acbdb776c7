/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <string.h>

#include "bitstream/av1_guess.h"

/* Encoders as the rules see them: which reference each frame replaces, and what was said of it. */

static struct av1_guess guess;
static VADecPictureParameterBufferAV1 param;
static uint32_t surface;
static int said;

static int setup(void **state)
{
    (void)state;
    memset(&guess, 0, sizeof(guess));
    memset(&param, 0, sizeof(param));
    param.order_hint_bits_minus_1 = 6;
    param.seq_info_fields.fields.enable_order_hint = 1;
    surface = 100;
    return 0;
}

/* A frame that is shown at `order`; it goes where `replaced` says, or nowhere if that is -1. */
static void frame(unsigned type, bool shown, uint32_t order, int replaced)
{
    uint32_t map[8];

    param.current_frame = surface++;
    param.order_hint = (uint8_t)(order & 127);
    param.pic_info_fields.bits.frame_type = type & 3;
    param.pic_info_fields.bits.show_frame = shown;
    memcpy(map, param.ref_frame_map, sizeof(map));
    if (type == 0)
        memset(param.ref_frame_map, 0xff, sizeof(map));
    said = av1_guess_next(&guess, &param);
    memcpy(param.ref_frame_map, map, sizeof(map));
    for (int i = 0; i < 8; i++) {
        if (type == 0 || i == replaced)
            param.ref_frame_map[i] = param.current_frame;
    }
}

/* A key frame and seven more, so that all references differ. */
static void fill(uint32_t order)
{
    frame(0, true, order, -1);
    for (int i = 1; i < 8; i++)
        frame(1, true, order + (uint32_t)i, i);
}

static void test_unsure(void **state)
{
    (void)state;
    frame(0, true, 0, -1);
    assert_int_equal(said, AV1_GUESS_UNSURE);
    for (int i = 1; i < 8; i++) {
        frame(1, true, (uint32_t)i, i);
        assert_int_equal(said, AV1_GUESS_UNSURE);
    }
    /* Nothing was seen of this encoder yet. */
    frame(1, true, 8, 0);
    assert_int_equal(said, AV1_GUESS_UNSURE);
}

/* The oldest is replaced, in low delay: all rules know that soon, and across the hints' wrap. */
static void test_oldest(void **state)
{
    unsigned right = 0;

    (void)state;
    fill(0);
    for (uint32_t i = 8; i < 408; i++) {
        frame(1, true, i, (int)(i % 8));
        assert_true(said == (int)(i % 8) || said == AV1_GUESS_UNSURE);
        right += said == (int)(i % 8);
    }
    assert_true(right > 370);
}

/*
 * libaom's pyramid of 8 frames, with slots of its own choice: hidden frames first, what was shown
 * first is replaced, but not the last frames, nor key frames and starts of groups.
 */
static void test_libaom(void **state)
{
    /* Distances in a group, negative if hidden; every hidden one is shown later as it is. */
    static const int group[] = {-8, -4, -2, 1, 3, -6, 5, 7};
    struct {
        uint32_t order;
        bool base;
    } slots[8];
    unsigned right = 0;
    uint32_t start = 8;

    (void)state;
    fill(0);
    for (uint32_t i = 0; i < 8; i++) {
        slots[i].order = i;
        slots[i].base = i == 0;
    }
    for (unsigned n = 0; n < 40; n++, start += 8) {
        for (unsigned i = 0; i < 8; i++) {
            uint32_t order = start + (uint32_t)(group[i] < 0 ? -group[i] : group[i]) - 1;
            int victim = -1, bases = 0, oldest_base = -1;

            for (int j = 0; j < 8; j++) {
                if (slots[j].order + 3 > order)
                    continue;
                bases += slots[j].base;
                if (slots[j].base) {
                    if (oldest_base < 0 || slots[j].order < slots[oldest_base].order)
                        oldest_base = j;
                } else if (victim < 0 || slots[j].order < slots[victim].order) {
                    victim = j;
                }
            }
            if (victim < 0 || (i == 0 && bases > 2))
                victim = oldest_base;
            assert_true(victim >= 0);
            /* The newest one of the lowest layer is golden. */
            for (int j = 0, best = -1; j < 8; j++) {
                if (slots[j].base && slots[j].order < order &&
                    (best < 0 || slots[j].order > slots[best].order))
                    param.ref_frame_idx[3] = (uint8_t)(best = j);
            }
            frame(1, group[i] > 0, order, victim);
            if (group[i] > 0) {
                assert_true(said == victim || said == AV1_GUESS_UNSURE);
                right += said == victim;
            }
            slots[victim].order = order;
            slots[victim].base = i == 0;
        }
    }
    assert_true(right > 145);
}

/* Overlays show again what a hidden frame had, and are not kept. */
static void test_overlay(void **state)
{
    (void)state;
    fill(0);
    for (uint32_t i = 8; i < 40; i++)
        frame(1, true, i, (int)(i % 8));
    frame(1, false, 44, 0);
    frame(1, true, 40, 1);
    frame(1, true, 44, -1);
    assert_true(said < 0);
}

/* SVT-AV1: which shown frames are kept, and where, repeats after some frames. */
static void test_pattern(void **state)
{
    static const int replaced[] = {7, -1, 4, -1, 7, -1, 5, 6};
    unsigned right = 0, kept = 0;

    (void)state;
    fill(0);
    for (uint32_t i = 0; i < 400; i++) {
        int victim = replaced[i % 8];

        frame(1, i % 8 != 2 && i % 8 != 6, 8 + i, victim);
        if (i < 80)
            continue;
        assert_true(said == victim || said == AV1_GUESS_UNSURE);
        kept += victim >= 0;
        right += victim >= 0 && said == victim;
    }
    assert_true(right > kept / 10 * 9);
}

/* An encoder without rules is left alone, and rules that fail lose their trust. */
static void test_noise(void **state)
{
    unsigned wrong = 0, seed = 1;

    (void)state;
    fill(0);
    for (uint32_t i = 8; i < 200; i++)
        frame(1, true, i, (int)(i % 8));
    for (uint32_t i = 200; i < 1200; i++) {
        int victim;

        seed = seed * 1664525u + 1013904223u;
        victim = (int)(seed >> 16) % 8;
        frame(1, true, i, victim);
        wrong += said >= 0 && said != victim;
    }
    assert_true(wrong < 10);
}

/* The map of a key frame is empty and says nothing of the frame before it. */
static void test_key_frames(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 30; i++) {
        fill(i * 20);
        for (uint32_t j = 8; j < 20; j++) {
            frame(1, true, i * 20 + j, (int)(j % 8));
            assert_true(said == (int)(j % 8) || said == AV1_GUESS_UNSURE);
            assert_true(i < 2 || said == (int)(j % 8));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_unsure, setup),     cmocka_unit_test_setup(test_oldest, setup),
        cmocka_unit_test_setup(test_libaom, setup),     cmocka_unit_test_setup(test_overlay, setup),
        cmocka_unit_test_setup(test_pattern, setup),    cmocka_unit_test_setup(test_noise, setup),
        cmocka_unit_test_setup(test_key_frames, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
