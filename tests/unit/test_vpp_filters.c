/* SPDX-License-Identifier: MIT */
#include "vpp_picture.h"

#include <viaduct/errors.h>

/* The video processor's filters, next to those of FFmpeg that do the same. */

#define WIDTH  352
#define HEIGHT 288

static struct vpp *vpp;

static int setup(void **state)
{
    (void)state;
    av_log_set_level(AV_LOG_ERROR);
    return vpp_create(2, &vpp);
}

static int teardown(void **state)
{
    (void)state;
    vpp_destroy(vpp);
    return 0;
}

static void run(struct vpp_pipeline *pipeline, struct picture *target)
{
    assert_int_equal(vpp_run(vpp, &target->pixels, NULL, pipeline, 1), 0);
}

static void set_fields(AVFrame *frame, bool top_first)
{
#ifdef AV_FRAME_FLAG_INTERLACED
    frame->flags |= AV_FRAME_FLAG_INTERLACED | (top_first ? AV_FRAME_FLAG_TOP_FIELD_FIRST : 0);
#else
    frame->interlaced_frame = 1;
    frame->top_field_first = top_first;
#endif
}

/* Lines of both fields, from pictures of different times. */
static void draw_interlaced(struct picture *p, int time, bool top_first)
{
    struct picture *other =
        picture_new(p->pixels.format->fourcc, p->pixels.width, p->pixels.height);

    picture_draw(p, 2 * time + !top_first);
    picture_draw(other, 2 * time + top_first);
    for (int i = 0; i < p->pixels.format->planes; i++) {
        for (uint32_t y = 1; y < format_rows(p->pixels.format, i, p->pixels.height); y += 2)
            memcpy(picture_row(p, i, y), picture_row(other, i, y), p->layout.pitch[i]);
    }
    picture_free(other);
}

/*
 * What FFmpeg makes of picture `at` of a sequence, in planes. With both fields, the last that
 * comes of two more is the second field of the last, so frames are taken up to the next one.
 */
static AVFrame *native_field(const char *filter, const char *convert, struct picture **pictures,
                             int count, int at, bool top_first, bool second)
{
    AVFrame *frames[8], *result;
    char text[200];

    for (int i = 0; i < count; i++) {
        frames[i] = picture_frame(pictures[i]);
        set_fields(frames[i], top_first);
    }
    snprintf(text, sizeof(text), "%s,%s=mode=send_field:parity=auto,select=eq(n\\,%d)", convert,
             filter, 2 * at + second);
    result = native_run(text, frames, count);
    for (int i = 0; i < count; i++)
        av_frame_free(&frames[i]);
    return result;
}

/*
 * A stream as FFmpeg's deinterlace_vaapi sends it, frame by frame and field by field: the same
 * bits as yadif and bwdif, which see all of it.
 */
static void check_deinterlace(uint32_t fourcc, uint32_t planar, const char *convert, int algorithm,
                              bool top_first, bool fields)
{
    enum { PICTURES = 6 };
    struct picture *pictures[PICTURES];
    struct picture *to = picture_new(planar, WIDTH, HEIGHT);
    struct vd_proc_filter filter = {.type = VAProcFilterDeinterlacing,
                                    .algorithm = (uint32_t)algorithm};
    struct vd_proc_pipeline params;

    for (int i = 0; i < PICTURES; i++) {
        pictures[i] = picture_new(fourcc, WIDTH, HEIGHT);
        draw_interlaced(pictures[i], i, top_first);
    }
    for (int i = 1; i + 1 < PICTURES; i++) {
        for (int second = 0; second <= fields; second++) {
            struct vpp_pipeline pipeline = pipeline_of(pictures[i], &params);
            bool bottom = top_first == (second == 1);
            AVFrame *native;
            double psnr;

            filter.filter_flags = (top_first ? 0 : VA_DEINTERLACING_BOTTOM_FIELD_FIRST) |
                                  (bottom ? VA_DEINTERLACING_BOTTOM_FIELD : 0);
            params.filter_count = 1;
            pipeline.filters = &filter;
            params.forward_count = params.backward_count = 1;
            pipeline.forward[0] = pictures[i - 1]->pixels;
            pipeline.backward[0] = pictures[i + 1]->pixels;
            run(&pipeline, to);
            native =
                native_field(algorithm == VAProcDeinterlacingMotionAdaptive ? "yadif" : "bwdif",
                             convert, pictures, PICTURES, i, top_first, second);
            psnr = picture_psnr(to, native);
            if (psnr < 900)
                fail_msg("%.4s algorithm %d, top first %d, picture %d, second %d: %.2f dB",
                         (const char *)&fourcc, algorithm, top_first, i, second, psnr);
            av_frame_free(&native);
        }
    }
    for (int i = 0; i < PICTURES; i++)
        picture_free(pictures[i]);
    picture_free(to);
}

static void test_deinterlace(void **state)
{
    (void)state;
    for (int algorithm = VAProcDeinterlacingMotionAdaptive;
         algorithm <= VAProcDeinterlacingMotionCompensated; algorithm++) {
        for (int i = 0; i < 4; i++) {
            bool top_first = i & 1, fields = i & 2;

            check_deinterlace(VA_FOURCC_I420, VA_FOURCC_I420, "null", algorithm, top_first, fields);
            check_deinterlace(VA_FOURCC_NV12, VA_FOURCC_I420, "format=yuv420p", algorithm,
                              top_first, fields);
        }
        check_deinterlace(VA_FOURCC_P010, VA_FOURCC_I010, "format=yuv420p10le", algorithm, true,
                          true);
        check_deinterlace(VA_FOURCC_YUY2, VA_FOURCC_422H, "format=yuv422p", algorithm, true, false);
    }
}

/* A picture without neighbours, and one whose neighbours have another size. */
static void test_deinterlace_alone(void **state)
{
    struct picture *from = picture_new(VA_FOURCC_I420, WIDTH, HEIGHT);
    struct picture *small = picture_new(VA_FOURCC_I420, 16, 16);
    struct picture *to = picture_new(VA_FOURCC_I420, WIDTH, HEIGHT);
    struct picture *again = picture_new(VA_FOURCC_I420, WIDTH, HEIGHT);
    struct vd_proc_filter filter = {.type = VAProcFilterDeinterlacing,
                                    .algorithm = VAProcDeinterlacingMotionAdaptive};
    struct vd_proc_pipeline params;
    struct vpp_pipeline pipeline = pipeline_of(from, &params);
    AVFrame *a;

    (void)state;
    draw_interlaced(from, 0, true);
    params.filter_count = 1;
    pipeline.filters = &filter;
    run(&pipeline, to);
    params.forward_count = params.backward_count = 1;
    pipeline.forward[0] = pipeline.backward[0] = small->pixels;
    run(&pipeline, again);
    a = picture_frame(again);
    assert_true(picture_psnr(to, a) > 900);
    /* The field that is kept is kept exactly. */
    for (uint32_t y = 0; y < HEIGHT; y += 2)
        assert_memory_equal(picture_row(to, 0, y), picture_row(from, 0, y), WIDTH);
    av_frame_free(&a);
    picture_free(from);
    picture_free(small);
    picture_free(to);
    picture_free(again);
}

static void test_bob(void **state)
{
    static const uint32_t fourccs[] = {VA_FOURCC_NV12, VA_FOURCC_P010, VA_FOURCC_YUY2,
                                       VA_FOURCC_BGRA};
    struct vd_proc_filter filter = {.type = VAProcFilterDeinterlacing,
                                    .algorithm = VAProcDeinterlacingBob};
    struct vd_proc_pipeline params;

    (void)state;
    for (size_t f = 0; f < COUNT(fourccs); f++) {
        struct picture *from = picture_new(fourccs[f], 64, 64),
                       *to = picture_new(fourccs[f], 64, 64);
        struct vpp_pipeline pipeline = pipeline_of(from, &params);
        uint32_t bytes = format_row_bytes(from->pixels.format, 0, 64);

        draw_interlaced(from, 0, true);
        params.filter_count = 1;
        pipeline.filters = &filter;
        for (uint32_t bottom = 0; bottom < 2; bottom++) {
            filter.filter_flags = bottom ? VA_DEINTERLACING_BOTTOM_FIELD : 0;
            run(&pipeline, to);
            for (uint32_t y = bottom; y < 64; y += 2)
                assert_memory_equal(picture_row(to, 0, y), picture_row(from, 0, y), bytes);
            /* The lines between are means. */
            if (from->pixels.format->sample_bytes == 1)
                assert_int_equal(picture_row(to, 0, 21 - bottom)[9],
                                 (picture_row(from, 0, 20 - bottom)[9] +
                                  picture_row(from, 0, 22 - bottom)[9] + 1) /
                                     2);
        }
        filter.algorithm = VAProcDeinterlacingWeave;
        run(&pipeline, to);
        for (uint32_t y = 0; y < 64; y++)
            assert_memory_equal(picture_row(to, 0, y), picture_row(from, 0, y), bytes);
        filter.algorithm = VAProcDeinterlacingBob;
        picture_free(from);
        picture_free(to);
    }
}

/* All turns and mirrors, the same bits as transpose, hflip and vflip. */
static void test_turn(void **state)
{
    static const char *const texts[4][3] = {
        {"null", "hflip", "vflip"},
        {"transpose=clock", "transpose=clock,hflip", "transpose=clock,vflip"},
        {"hflip,vflip", "hflip,vflip,hflip", "hflip,vflip,vflip"},
        {"transpose=cclock", "transpose=cclock,hflip", "transpose=cclock,vflip"},
    };
    static const uint32_t fourccs[] = {VA_FOURCC_NV12, VA_FOURCC_I420, VA_FOURCC_P010,
                                       VA_FOURCC_BGRA, VA_FOURCC_444P};
    struct vd_proc_pipeline params;

    (void)state;
    for (size_t f = 0; f < COUNT(fourccs); f++) {
        struct picture *from = picture_new(fourccs[f], 130, 66);
        AVFrame *frame = picture_frame(from);

        picture_draw(from, 0);
        for (uint32_t turn = 0; turn < 4; turn++) {
            struct picture *to = picture_new(fourccs[f], turn % 2 ? 66 : 130, turn % 2 ? 130 : 66);

            for (uint32_t mirror = 0; mirror < 3; mirror++) {
                struct vpp_pipeline pipeline = pipeline_of(from, &params);
                AVFrame *native = native_run(texts[turn][mirror], &frame, 1);

                params.rotation = turn;
                params.mirror = mirror;
                run(&pipeline, to);
                assert_true(picture_psnr(to, native) > 900);
                av_frame_free(&native);
            }
            picture_free(to);
        }
        av_frame_free(&frame);
        picture_free(from);
    }
}

/* Formats that have to become others to be turned: there and back is near to where it began. */
static void test_turn_packed(void **state)
{
    struct vd_proc_pipeline params;

    (void)state;
    for (unsigned i = 0; vpp_format_at(i); i++) {
        struct picture *from = picture_new(vpp_format_at(i)->fourcc, 64, 32);
        struct picture *to = picture_new(vpp_format_at(i)->fourcc, 32, 64);
        struct picture *back = picture_new(VA_FOURCC_Y800, 64, 32);
        struct picture *luma = picture_new(VA_FOURCC_Y800, 64, 32);
        struct vpp_pipeline pipeline = pipeline_of(from, &params);
        AVFrame *a = picture_frame(luma);

        picture_draw(from, 0);
        run(&pipeline, luma);
        params.rotation = VA_ROTATION_90;
        run(&pipeline, to);
        pipeline = pipeline_of(to, &params);
        params.rotation = VA_ROTATION_270;
        run(&pipeline, back);
        assert_true(picture_psnr(back, a) > 45);
        av_frame_free(&a);
        picture_free(from);
        picture_free(to);
        picture_free(back);
        picture_free(luma);
    }
}

/* Noise reduction over some pictures, and sharpening: FFmpeg's own results. */
static void test_denoise_sharpen(void **state)
{
    struct picture *pictures[4], *to = picture_new(VA_FOURCC_I420, WIDTH, HEIGHT);
    struct vd_proc_filter filter = {.type = VAProcFilterNoiseReduction, .value = float_bits(32)};
    struct vd_proc_pipeline params;
    struct vpp_pipeline pipeline;
    AVFrame *frames[4], *native;

    (void)state;
    for (int i = 0; i < 4; i++) {
        pictures[i] = picture_new(VA_FOURCC_I420, WIDTH, HEIGHT);
        picture_draw(pictures[i], i);
        frames[i] = picture_frame(pictures[i]);
        pipeline = pipeline_of(pictures[i], &params);
        params.filter_count = 1;
        pipeline.filters = &filter;
        run(&pipeline, to);
    }
    native = native_run("hqdn3d", frames, 4);
    assert_true(picture_psnr(to, native) > 900);
    av_frame_free(&native);
    filter = (struct vd_proc_filter){.type = VAProcFilterSharpening, .value = float_bits(44)};
    run(&pipeline, to);
    native = native_run("unsharp=5:5:1:5:5:0", frames + 3, 1);
    assert_true(picture_psnr(to, native) > 900);
    av_frame_free(&native);
    /* At 0 both leave all as it is. */
    for (uint32_t type = VAProcFilterNoiseReduction; type <= VAProcFilterSharpening; type += 2) {
        filter = (struct vd_proc_filter){.type = type};
        run(&pipeline, to);
        assert_true(picture_psnr(to, frames[3]) > 900);
    }
    for (int i = 0; i < 4; i++) {
        av_frame_free(&frames[i]);
        picture_free(pictures[i]);
    }
    picture_free(to);
}

static int clip(double value)
{
    return value < 0 ? 0 : value > 255 ? 255 : (int)lrint(value);
}

static void test_balance(void **state)
{
    static const struct {
        float brightness, contrast, hue, saturation;
    } cases[] = {{0, 1, 0, 1},  {20, 1, 0, 1}, {0, 2.5f, 0, 1},  {-100, 0, 0, 1},
                 {0, 1, 90, 1}, {0, 1, 0, 2},  {0, 1, -180, 10}, {5, 1.5f, 30, 0}};
    struct picture *from = picture_new(VA_FOURCC_NV12, 64, 64);
    struct picture *to = picture_new(VA_FOURCC_NV12, 64, 64);
    struct vd_proc_filter filters[4] = {
        {.type = VAProcFilterColorBalance, .algorithm = VAProcColorBalanceBrightness},
        {.type = VAProcFilterColorBalance, .algorithm = VAProcColorBalanceContrast},
        {.type = VAProcFilterColorBalance, .algorithm = VAProcColorBalanceHue},
        {.type = VAProcFilterColorBalance, .algorithm = VAProcColorBalanceSaturation}};
    struct vd_proc_pipeline params;
    struct vpp_pipeline pipeline = pipeline_of(from, &params);

    (void)state;
    picture_draw(from, 0);
    params.filter_count = 4;
    pipeline.filters = filters;
    for (size_t i = 0; i < COUNT(cases); i++) {
        double angle = (double)cases[i].hue * 3.14159265358979 / 180;
        double c = cos(angle) * (double)cases[i].saturation;
        double s = sin(angle) * (double)cases[i].saturation;

        filters[0].value = float_bits(cases[i].brightness);
        filters[1].value = float_bits(cases[i].contrast);
        filters[2].value = float_bits(cases[i].hue);
        filters[3].value = float_bits(cases[i].saturation);
        run(&pipeline, to);
        for (uint32_t y = 0; y < 64; y++) {
            for (uint32_t x = 0; x < 64; x++) {
                int got = picture_row(to, 0, y)[x], was = picture_row(from, 0, y)[x];

                assert_int_equal(got, clip((was - 16) * (double)cases[i].contrast + 16 +
                                           (double)cases[i].brightness));
                if (y % 2 || x % 2)
                    continue;
                const uint8_t *a = picture_row(from, 1, y / 2) + x;
                const uint8_t *b = picture_row(to, 1, y / 2) + x;

                assert_true(abs(b[0] - clip((a[0] - 128) * c - (a[1] - 128) * s + 128)) <= 1);
                assert_true(abs(b[1] - clip((a[0] - 128) * s + (a[1] - 128) * c + 128)) <= 1);
                if (cases[i].hue == 0 && cases[i].saturation == 1)
                    assert_memory_equal(a, b, 2);
            }
        }
    }
    picture_free(from);
    picture_free(to);
}

/* Each with each other, for all formats: results need only exist. */
static void test_together(void **state)
{
    struct vd_proc_filter filters[4] = {
        {.type = VAProcFilterDeinterlacing, .algorithm = VAProcDeinterlacingMotionCompensated},
        {.type = VAProcFilterNoiseReduction, .value = float_bits(10)},
        {.type = VAProcFilterSharpening, .value = float_bits(10)},
        {.type = VAProcFilterColorBalance,
         .algorithm = VAProcColorBalanceHue,
         .value = float_bits(10)}};
    struct vd_proc_pipeline params;

    (void)state;
    for (unsigned i = 0; vpp_format_at(i); i++) {
        struct picture *from = picture_new(vpp_format_at(i)->fourcc, 67, 45);
        struct picture *to = picture_new(vpp_format_at(i)->fourcc, 54, 90);

        picture_draw(from, 0);
        for (uint32_t mask = 0; mask < 16; mask++) {
            struct vpp_pipeline pipeline = pipeline_of(from, &params);
            struct vd_proc_filter chosen[4];

            for (int j = 0; j < 4; j++) {
                if (mask & 1u << j)
                    chosen[params.filter_count++] = filters[j];
            }
            pipeline.filters = chosen;
            params.rotation = mask % 4;
            pipeline_source(&params, 3, 5, 50, 30);
            if (vpp_run(vpp, &to->pixels, NULL, &pipeline, 1))
                fail_msg("%.4s, filters %x: %d", (const char *)&vpp_format_at(i)->fourcc, mask,
                         vpp_run(vpp, &to->pixels, NULL, &pipeline, 1));
        }
        picture_free(from);
        picture_free(to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deinterlace), cmocka_unit_test(test_deinterlace_alone),
        cmocka_unit_test(test_bob),         cmocka_unit_test(test_turn),
        cmocka_unit_test(test_turn_packed), cmocka_unit_test(test_denoise_sharpen),
        cmocka_unit_test(test_balance),     cmocka_unit_test(test_together),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
