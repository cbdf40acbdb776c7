/* SPDX-License-Identifier: MIT */
#include "vpp_picture.h"

#include <viaduct/errors.h>

/* The video processor: sizes, formats, places, and what it refuses. */

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

static bool same_pixels(const struct picture *a, const struct picture *b)
{
    for (int i = 0; i < a->pixels.format->planes; i++) {
        uint32_t bytes = format_row_bytes(a->pixels.format, i, a->pixels.width);

        for (uint32_t y = 0; y < format_rows(a->pixels.format, i, a->pixels.height); y++) {
            if (memcmp(picture_row(a, i, y), picture_row(b, i, y), bytes))
                return false;
        }
    }
    return true;
}

static void test_copy(void **state)
{
    struct vd_proc_pipeline params;

    (void)state;
    for (unsigned i = 0; vpp_format_at(i); i++) {
        struct picture *from = picture_new(vpp_format_at(i)->fourcc, 67, 35);
        struct picture *to = picture_new(vpp_format_at(i)->fourcc, 67, 35);
        struct vpp_pipeline pipeline = pipeline_of(from, &params);

        picture_draw(from, 0);
        run(&pipeline, to);
        assert_true(same_pixels(from, to));
        picture_free(from);
        picture_free(to);
    }
}

/* The same bits as FFmpeg's scale filter makes with its own flags. */
static void test_scale_as_ffmpeg(void **state)
{
    static const uint32_t fourccs[] = {VA_FOURCC_I420, VA_FOURCC_NV12, VA_FOURCC_P010,
                                       VA_FOURCC_444P, VA_FOURCC_YUY2, VA_FOURCC_BGRA,
                                       VA_FOURCC_RGBP};
    static const struct {
        uint32_t width, height, flags;
        const char *text;
    } cases[] = {
        {320, 180, 0, "bicubic"},
        {964, 540, 0, "bicubic"},
        {320, 180, VA_FILTER_SCALING_FAST, "bilinear"},
        {322, 402, VA_FILTER_SCALING_HQ, "bicubic+accurate_rnd+full_chroma_int"},
    };
    struct vd_proc_pipeline params;

    (void)state;
    for (size_t f = 0; f < COUNT(fourccs); f++) {
        struct picture *from = picture_new(fourccs[f], 640, 360);
        AVFrame *frame = picture_frame(from);

        picture_draw(from, 0);
        for (size_t i = 0; i < COUNT(cases); i++) {
            struct picture *to = picture_new(fourccs[f], cases[i].width, cases[i].height);
            struct vpp_pipeline pipeline = pipeline_of(from, &params);
            char text[128];
            AVFrame *native;

            snprintf(text, sizeof(text), "scale=%u:%u:flags=%s", cases[i].width, cases[i].height,
                     cases[i].text);
            native = native_run(text, &frame, 1);
            params.filter_flags = cases[i].flags;
            run(&pipeline, to);
            assert_true(picture_psnr(to, native) > 900);
            av_frame_free(&native);
            picture_free(to);
        }
        av_frame_free(&frame);
        picture_free(from);
    }
}

/* Same samples, other arrangement: nothing may be lost, there and back. */
static void test_lossless(void **state)
{
    static const uint32_t pairs[][2] = {
        {VA_FOURCC_NV12, VA_FOURCC_I420}, {VA_FOURCC_NV12, VA_FOURCC_YV12},
        {VA_FOURCC_I420, VA_FOURCC_YV12}, {VA_FOURCC_NV12, VA_FOURCC_P010},
        {VA_FOURCC_P010, VA_FOURCC_I010}, {VA_FOURCC_P010, VA_FOURCC_P012},
        {VA_FOURCC_YUY2, VA_FOURCC_422H}, {VA_FOURCC_UYVY, VA_FOURCC_YUY2},
        {VA_FOURCC_BGRX, VA_FOURCC_RGBX}, {VA_FOURCC_BGRX, VA_FOURCC_XRGB},
        {VA_FOURCC_BGRA, VA_FOURCC_ARGB}, {VA_FOURCC_RGBA, VA_FOURCC_BGRA},
        {VA_FOURCC_RGBP, VA_FOURCC_BGRX}, {VA_FOURCC_444P, VA_FOURCC_AYUV},
        {VA_FOURCC_444P, VA_FOURCC_XYUV},
    };
    struct vd_proc_pipeline params;

    (void)state;
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct picture *from = picture_new(pairs[i][0], 130, 66);
        struct picture *middle = picture_new(pairs[i][1], 130, 66);
        struct picture *to = picture_new(pairs[i][0], 130, 66);
        struct vpp_pipeline pipeline = pipeline_of(from, &params);
        AVFrame *a, *b;

        picture_draw(from, 0);
        run(&pipeline, middle);
        pipeline = pipeline_of(middle, &params);
        run(&pipeline, to);
        if (pairs[i][0] == VA_FOURCC_BGRX) {
            /* X is nobody's. */
            for (uint32_t y = 0; y < 66; y++) {
                for (uint32_t x = 3; x < 130 * 4; x += 4)
                    picture_row(from, 0, y)[x] = picture_row(to, 0, y)[x] = 0;
            }
        }
        a = picture_frame(from);
        b = picture_frame(to);
        if (frame_psnr(a, b) < 900)
            fail_msg("%.4s %.4s: %.2f dB", (const char *)&pairs[i][0], (const char *)&pairs[i][1],
                     frame_psnr(a, b));
        av_frame_free(&a);
        av_frame_free(&b);
        picture_free(from);
        picture_free(middle);
        picture_free(to);
    }
}

/*
 * Every format into every other, and from there into 4:4:4: at least as near to the direct way as
 * chroma of half the resolution, once averaged, can be. Luma counts alone for grey.
 */
static void test_all_formats(void **state)
{
    struct vd_proc_pipeline params;

    (void)state;
    for (unsigned i = 0; vpp_format_at(i); i++) {
        struct picture *from = picture_new(vpp_format_at(i)->fourcc, 64, 48);
        struct picture *direct = picture_new(VA_FOURCC_444P, 64, 48);
        struct vpp_pipeline pipeline = pipeline_of(from, &params);
        AVFrame *a = picture_frame(direct);

        picture_draw(direct, 0);
        picture_draw(from, 0);
        if (vpp_format_at(i)->fourcc == VA_FOURCC_Y410) {
            /* Its words are no waves. */
            pipeline = pipeline_of(direct, &params);
            run(&pipeline, from);
            pipeline = pipeline_of(from, &params);
        }
        run(&pipeline, direct);
        for (unsigned j = 0; vpp_format_at(j); j++) {
            struct picture *middle = picture_new(vpp_format_at(j)->fourcc, 64, 48);
            struct picture *to = picture_new(VA_FOURCC_444P, 64, 48);
            AVFrame *b = picture_frame(to);
            double luma, chroma;
            bool clipped = vpp_format_at(j)->rgb;

            pipeline = pipeline_of(from, &params);
            run(&pipeline, middle);
            pipeline = pipeline_of(middle, &params);
            run(&pipeline, to);
            luma = plane_psnr(a, b, 0);
            chroma = plane_psnr(a, b, 1);
            /* What is no colour in RGB gets clipped; there PSNR says little. */
            if (!clipped &&
                (luma < 40 || (chroma < 24 && vpp_format_at(j)->fourcc != VA_FOURCC_Y800)))
                fail_msg("%.4s to %.4s: %.2f %.2f dB", (const char *)&vpp_format_at(i)->fourcc,
                         (const char *)&vpp_format_at(j)->fourcc, luma, chroma);
            av_frame_free(&b);
            picture_free(middle);
            picture_free(to);
        }
        av_frame_free(&a);
        picture_free(from);
        picture_free(direct);
    }
}

/* A source rectangle is what a picture of just that part would be. */
static void test_crop(void **state)
{
    struct picture *from = picture_new(VA_FOURCC_NV12, 320, 240);
    struct picture *to = picture_new(VA_FOURCC_NV12, 128, 96);
    struct vd_proc_pipeline params;
    struct vpp_pipeline pipeline = pipeline_of(from, &params);
    AVFrame *frame = picture_frame(from), *native;

    (void)state;
    picture_draw(from, 0);
    pipeline_source(&params, 64, 48, 128, 96);
    run(&pipeline, to);
    native = native_run("crop=128:96:64:48", &frame, 1);
    assert_true(picture_psnr(to, native) > 900);
    av_frame_free(&native);
    /* Clipped to the surface: as overlay_vaapi sends it, and with negative places. */
    pipeline_source(&params, 0, 0, 1280, 720);
    run(&pipeline, to);
    native = native_run("scale=128:96:flags=bicubic", &frame, 1);
    assert_true(picture_psnr(to, native) > 900);
    av_frame_free(&native);
    pipeline_source(&params, -64, -48, 192, 144);
    run(&pipeline, to);
    native = native_run("crop=128:96:0:0", &frame, 1);
    assert_true(picture_psnr(to, native) > 900);
    av_frame_free(&native);
    av_frame_free(&frame);
    picture_free(from);
    picture_free(to);
}

/* Pixels outside of the destination have the background's colour, inside the picture's. */
static void test_place(void **state)
{
    static const struct {
        int x, y, w, h;
    } places[] = {{32, 16, 64, 48},    {30, 18, 50, 40}, {33, 17, 51, 41}, {-20, -10, 100, 80},
                  {100, 80, 200, 200}, {0, 0, 1, 1},     {159, 119, 1, 1}, {500, 0, 10, 10}};
    struct picture *from = picture_new(VA_FOURCC_I420, 100, 80);
    struct vd_proc_pipeline params;

    (void)state;
    for (unsigned f = 0; vpp_format_at(f); f++) {
        const struct vpp_format *format = vpp_format_at(f);
        struct picture *to = picture_new(format->fourcc, 160, 120);
        struct picture *luma = picture_new(VA_FOURCC_Y800, 160, 120);

        for (int plane = 0; plane < 3; plane++) {
            for (uint32_t y = 0; y < format_rows(from->pixels.format, plane, 80); y++)
                memset(picture_row(from, plane, y), plane ? 128 : 235, plane ? 50 : 100);
        }
        for (size_t i = 0; i < COUNT(places); i++) {
            struct vpp_pipeline pipeline = pipeline_of(from, &params);

            pipeline_dest(&params, places[i].x, places[i].y, places[i].w, places[i].h);
            run(&pipeline, to);
            pipeline = pipeline_of(to, &params);
            run(&pipeline, luma);
            for (int y = 0; y < 120; y++) {
                for (int x = 0; x < 160; x++) {
                    bool inside = x >= places[i].x && x < places[i].x + places[i].w &&
                                  y >= places[i].y && y < places[i].y + places[i].h;
                    int got = picture_row(luma, 0, (uint32_t)y)[x], want = inside ? 235 : 16;

                    if (abs(got - want) > 2)
                        fail_msg("%.4s place %zu at %d,%d: %d, not %d",
                                 (const char *)&format->fourcc, i, x, y, got, want);
                }
            }
        }
        picture_free(to);
        picture_free(luma);
    }
    picture_free(from);
}

static void test_background(void **state)
{
    /* Red in BT.601: Y 81, U 90, V 240. */
    struct picture *from = picture_new(VA_FOURCC_NV12, 64, 64);
    struct picture *to = picture_new(VA_FOURCC_NV12, 64, 64);
    struct vd_proc_pipeline params;
    struct vpp_pipeline pipeline = pipeline_of(from, &params);

    (void)state;
    params.background = 0xffff0000;
    pipeline_dest(&params, 0, 0, 0, 0);
    run(&pipeline, to);
    assert_int_equal(picture_row(to, 0, 5)[5], 81);
    assert_int_equal(picture_row(to, 1, 5)[4], 90);
    assert_int_equal(picture_row(to, 1, 5)[5], 240);
    picture_free(from);
    picture_free(to);
}

/* A transparent background is what the target held before, in all formats, also in place. */
static void test_keeps(void **state)
{
    struct picture *from = picture_new(VA_FOURCC_NV12, 48, 32);
    struct vd_proc_pipeline params;

    (void)state;
    picture_draw(from, 3);
    for (unsigned f = 0; vpp_format_at(f); f++) {
        const uint32_t fourcc = vpp_format_at(f)->fourcc;
        struct picture *under = picture_new(fourcc, 96, 64), *to = picture_new(fourcc, 96, 64);
        struct picture *want = picture_new(fourcc, 96, 64);
        struct vpp_pipeline pipelines[2];
        struct vd_proc_pipeline both[2];

        picture_draw(under, 0);
        /* The same with the old picture as the lowest of two. */
        pipelines[0] = pipeline_of(under, &both[0]);
        pipelines[1] = pipeline_of(from, &both[1]);
        pipeline_dest(&both[1], 16, 8, 48, 32);
        assert_int_equal(vpp_run(vpp, &want->pixels, NULL, pipelines, 2), 0);
        pipelines[0] = pipeline_of(from, &params);
        params.background = 0;
        pipeline_dest(&params, 16, 8, 48, 32);
        assert_int_equal(vpp_run(vpp, &to->pixels, &under->pixels, pipelines, 1), 0);
        assert_memory_equal(to->pixels.bytes, want->pixels.bytes, to->layout.size);
        assert_int_equal(vpp_run(vpp, &under->pixels, &under->pixels, pipelines, 1), 0);
        assert_memory_equal(under->pixels.bytes, want->pixels.bytes, to->layout.size);
        /* An opaque one covers it. */
        params.background = 0xff000000;
        assert_int_equal(vpp_run(vpp, &to->pixels, &want->pixels, pipelines, 1), 0);
        assert_memory_not_equal(to->pixels.bytes, want->pixels.bytes, to->layout.size);
        picture_free(under);
        picture_free(to);
        picture_free(want);
    }
    picture_free(from);
}

/* Sizes at the ends of what surfaces can have, up and down. */
static void test_sizes(void **state)
{
    static const uint32_t sizes[][4] = {
        {1, 1, 64, 64},    {64, 64, 1, 1},    {1, 1, 1, 1},      {3, 5, 333, 7},
        {16384, 2, 16, 2}, {2, 16384, 2, 16}, {2, 2, 16384, 2},  {2, 2, 2, 16384},
        {16384, 16, 1, 1}, {1, 1, 16384, 16}, {1919, 3, 641, 5}, {16, 16384, 1, 1},
    };
    static const uint32_t fourccs[] = {VA_FOURCC_NV12, VA_FOURCC_BGRA, VA_FOURCC_P010,
                                       VA_FOURCC_YUY2};
    struct vd_proc_pipeline params;

    (void)state;
    for (size_t f = 0; f < COUNT(fourccs); f++) {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            struct picture *from = picture_new(fourccs[f], sizes[i][0], sizes[i][1]);
            struct picture *to = picture_new(fourccs[f], sizes[i][2], sizes[i][3]);
            struct vpp_pipeline pipeline = pipeline_of(from, &params);
            int err;

            memset(from->pixels.bytes, 128, from->layout.size);
            err = vpp_run(vpp, &to->pixels, NULL, &pipeline, 1);
            if (err)
                fail_msg("%.4s %ux%u to %ux%u: %d", (const char *)&fourccs[f], sizes[i][0],
                         sizes[i][1], sizes[i][2], sizes[i][3], err);
            /* swscale's rounding of filters with hundreds of taps. */
            if (abs(picture_row(to, 0, 0)[from->pixels.format->sample_bytes - 1] - 128) > 4)
                fail_msg("%.4s %ux%u to %ux%u: %d", (const char *)&fourccs[f], sizes[i][0],
                         sizes[i][1], sizes[i][2], sizes[i][3], picture_row(to, 0, 0)[0]);
            picture_free(from);
            picture_free(to);
        }
    }
}

static void test_many(void **state)
{
    struct picture *from = picture_new(VA_FOURCC_NV12, 64, 64);
    struct picture *to = picture_new(VA_FOURCC_NV12, 256, 256);
    struct vd_proc_pipeline params[VD_MAX_PIPELINES];
    struct vpp_pipeline pipelines[VD_MAX_PIPELINES + 1];

    (void)state;
    picture_draw(from, 0);
    for (int i = 0; i < VD_MAX_PIPELINES; i++) {
        pipelines[i] = pipeline_of(from, &params[i]);
        pipeline_dest(&params[i], i % 8 * 32, i / 8 * 32, 32, 32);
    }
    assert_int_equal(vpp_run(vpp, &to->pixels, NULL, pipelines, VD_MAX_PIPELINES), 0);
    /* All tiles are the same. */
    for (uint32_t y = 0; y < 256; y++)
        assert_memory_equal(picture_row(to, 0, y) + 224, picture_row(to, 0, y % 32), 32);
    assert_int_equal(vpp_run(vpp, &to->pixels, NULL, pipelines, 0), VD_ERR_PARAMETER);
    assert_int_equal(vpp_run(vpp, &to->pixels, NULL, pipelines, VD_MAX_PIPELINES + 1),
                     VD_ERR_PARAMETER);
    picture_free(from);
    picture_free(to);
}

static void test_refused(void **state)
{
    struct picture *from = picture_new(VA_FOURCC_NV12, 64, 64);
    struct picture *to = picture_new(VA_FOURCC_NV12, 64, 64);
    struct vd_proc_pipeline params;
    struct vd_proc_filter filter = {0};
    struct vpp_pipeline pipeline;

    (void)state;
    for (int i = 0; i < 9; i++) {
        pipeline = pipeline_of(from, &params);
        pipeline.filters = &filter;
        memset(&filter, 0, sizeof(filter));
        params.filter_count = i < 6;
        switch (i) {
        case 0:
            filter.type = VAProcFilterSkinToneEnhancement;
            break;
        case 1:
            filter.type = 0xffffffff;
            break;
        case 2:
            filter.type = VAProcFilterDeinterlacing;
            filter.algorithm = 77;
            break;
        case 3:
            filter.type = VAProcFilterSharpening;
            filter.value = 0x7fc00000;
            break;
        case 4:
            filter.type = VAProcFilterColorBalance;
            filter.algorithm = VAProcColorBalanceAutoContrast;
            break;
        case 5:
            filter.type = VAProcFilter3DLUT;
            break;
        case 6:
            params.rotation = 4;
            break;
        case 7:
            params.flags |= VD_PROC_BLEND;
            params.blend_flags = VA_BLEND_LUMA_KEY;
            break;
        default:
            pipeline_dest(&params, 0, 0, 65535, 16);
            break;
        }
        assert_true(vpp_run(vpp, &to->pixels, NULL, &pipeline, 1) < 0);
    }
    picture_free(from);
    picture_free(to);
}

static void test_caps(void **state)
{
    uint32_t formats[VD_MAX_CAP_FORMATS], types[VD_MAX_CAP_ATTRIBUTES];
    uint32_t values[VD_MAX_CAP_ATTRIBUTES], count = vpp_formats(formats, VD_MAX_CAP_FORMATS);

    (void)state;
    assert_int_equal(formats[0], VA_FOURCC_NV12);
    for (uint32_t i = 0; i < count; i++)
        assert_non_null(format_find(formats[i]));
    /* None was left out for lack of room. */
    assert_null(vpp_format_at(count));
    assert_int_equal(vpp_formats(formats, 3), 3);
    assert_int_equal(vpp_attributes(types, values, VD_MAX_CAP_ATTRIBUTES), 10);
    assert_int_equal(vpp_attributes(types, values, 1), 1);
    vpp_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy),       cmocka_unit_test(test_scale_as_ffmpeg),
        cmocka_unit_test(test_lossless),   cmocka_unit_test(test_all_formats),
        cmocka_unit_test(test_crop),       cmocka_unit_test(test_place),
        cmocka_unit_test(test_background), cmocka_unit_test(test_keeps),
        cmocka_unit_test(test_sizes),      cmocka_unit_test(test_many),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_caps),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
