/* SPDX-License-Identifier: MIT */
#include "encoder_fixture.h"

/* What programs tell encoders beyond bits: regions, layers, pictures that they leave out. */

/* VP9 has segments for them; the encoder's live quantizer stays that of the rest. */
static void test_regions_vp9(void **state)
{
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        if (!start(&kinds[3], mode ? VA_RC_CBR : VA_RC_CQP, VA_FOURCC_NV12))
            return;
        f.request.rate.bits_per_second = f.request.rate.peak = 400000;
        f.request.qp = 120;
        for (int i = 0; i < 6; i++) {
            f.request.region_count = i >= 2;
            f.request.regions[0] =
                (struct encode_region){.width = WIDTH / 2, .height = HEIGHT / 2, .delta_qp = -50};
            step(i ? ENCODE_P : ENCODE_IDR);
            if (i >= 3)
                assert_true(f.qp_in < f.qp_out - 20);
        }
        stop();
    }
}

/* Pictures that were left out leave their bits to those that follow. */
static void test_skipped(void **state)
{
    (void)state;
    FOR_KINDS(kind)
    {
        double size[2] = {0};

        for (int skip = 0; skip < 2; skip++) {
            if (!start(kind, VA_RC_CBR, VA_FOURCC_NV12))
                break;
            if (!(encoder_list_find(kind->codec, 8, 1, NULL, NULL)->flags & ENCODER_RATE)) {
                stop();
                break;
            }
            f.request.rate.bits_per_second = f.request.rate.peak = 100000;
            for (int i = 0; i < 3 * FRAME_HZ; i++) {
                /* Every other picture. */
                f.request.skipped = skip && i ? 1 : 0;
                step(i ? ENCODE_P : ENCODE_IDR);
                size[skip] += i >= FRAME_HZ ? (double)f.size : 0;
            }
            stop();
        }
        if (size[0] > 0)
            print_message("%s: %.0f bytes, %.0f\n", name_of(kind), size[0], size[1]);
        if (size[0] > 0)
            assert_true(size[1] > 1.6 * size[0] && size[1] < 2.4 * size[0]);
    }
    /* One that the app wants wrapped cannot be. */
    if (!start(&kinds[0], VA_RC_CBR, VA_FOURCC_NV12))
        return;
    f.request.coded_by_app = true;
    assert_int_equal(encode(ENCODE_IDR), VD_ERR_UNSUPPORTED);
    stop();
}

/*
 * Two temporal layers: pictures of the upper one are dropped, and those of the lower one are what
 * they would be with them. Without the app's references an encoder uses all that it has.
 */
static void test_layers(void **state)
{
    (void)state;
    for (int kind = 2; kind < 4; kind++) {
        for (int golden = 0; golden < 2; golden++) {
            if (!start(&kinds[kind], VA_RC_CBR, VA_FOURCC_NV12)) {
                skipped(name_of(&kinds[kind]));
                break;
            }
            f.request.rate.bits_per_second = f.request.rate.peak = 800000;
            f.request.rate.temporal_layers = 2;
            f.request.tools.layered = true;
            for (int i = 0; i < 24; i++) {
                f.request.layer = i & 1;
                f.request.refer = golden && !f.request.layer ? ENCODE_GOLDEN : ENCODE_LAST;
                /* The upper layer may refer to itself: to the picture that it put into LAST. */
                f.request.refresh = f.request.layer ? (golden ? ENCODE_LAST : 0)
                                    : golden        ? ENCODE_GOLDEN
                                                    : ENCODE_LAST;
                if (f.request.layer) {
                    assert_int_equal(encode(ENCODE_P), 0);
                    continue;
                }
                step(i ? ENCODE_P : ENCODE_IDR);
                assert_int_equal(f.key, i == 0);
                assert_true(f.psnr > 30);
            }
            stop();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regions_vp9),
        cmocka_unit_test(test_skipped),
        cmocka_unit_test(test_layers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
