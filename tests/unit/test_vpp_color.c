/* SPDX-License-Identifier: MIT */
#include "vpp_picture.h"

#include <viaduct/errors.h>

/* The video processor's colours: matrices, ranges, light, tone mapping and blending. */

#define WIDTH  320
#define HEIGHT 240

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

static void run(struct vpp_pipeline *pipeline, uint32_t count, struct picture *target)
{
    assert_int_equal(vpp_run(vpp, &target->pixels, NULL, pipeline, count), 0);
}

static int clip(double value)
{
    return value < 0 ? 0 : value > 255 ? 255 : (int)lrint(value);
}

struct matrix {
    uint32_t standard;
    double red, blue;
};

static const struct matrix matrices[] = {
    {VAProcColorStandardBT601, 0.299, 0.114},
    {VAProcColorStandardBT709, 0.2126, 0.0722},
    {VAProcColorStandardBT2020, 0.2627, 0.0593},
};

static void to_rgb(const struct matrix *m, bool full, const int yuv[3], int ret[3])
{
    double y = full ? yuv[0] : (yuv[0] - 16) * 255.0 / 219;
    double u = (yuv[1] - 128) * (full ? 1 : 255.0 / 224);
    double v = (yuv[2] - 128) * (full ? 1 : 255.0 / 224);
    double r = y + 2 * (1 - m->red) * v, b = y + 2 * (1 - m->blue) * u;

    ret[0] = clip(r);
    ret[1] = clip((y - m->red * r - m->blue * b) / (1 - m->red - m->blue));
    ret[2] = clip(b);
}

static void to_yuv(const struct matrix *m, bool full, const int rgb[3], int ret[3])
{
    double y = m->red * rgb[0] + (1 - m->red - m->blue) * rgb[1] + m->blue * rgb[2];
    double u = (rgb[2] - y) / (2 * (1 - m->blue)), v = (rgb[0] - y) / (2 * (1 - m->red));

    ret[0] = clip(full ? y : y * 219 / 255 + 16);
    ret[1] = clip(u * (full ? 1 : 224.0 / 255) + 128);
    ret[2] = clip(v * (full ? 1 : 224.0 / 255) + 128);
}

static void fill_plane(struct picture *p, int plane, int value)
{
    for (uint32_t y = 0; y < format_rows(p->pixels.format, plane, p->pixels.height); y++)
        memset(picture_row(p, plane, y), value, p->layout.pitch[plane]);
}

/* Single colours there and back in all matrices and ranges, by the formulas of the standards. */
static void test_matrices(void **state)
{
    struct picture *yuv = picture_new(VA_FOURCC_444P, 32, 32);
    struct picture *rgb = picture_new(VA_FOURCC_RGBP, 32, 32);
    struct vd_proc_pipeline params;
    struct vpp_pipeline pipeline;
    uint64_t seed = 3;

    (void)state;
    for (size_t i = 0; i < 300; i++) {
        const struct matrix *m = &matrices[i % COUNT(matrices)];
        bool full = i / 3 % 2, explicit = i % 7 == 0;
        int a[3], want[3];

        for (int c = 0; c < 3; c++) {
            a[c] = (int)(check_random(&seed) % 256);
            fill_plane(rgb, c, a[c]);
        }
        pipeline = pipeline_of(rgb, &params);
        params.surface_standard = VAProcColorStandardSRGB;
        params.output_standard = explicit ? VAProcColorStandardExplicit : m->standard;
        if (explicit) {
            params.surface_standard = VAProcColorStandardNone;
            params.output_color[4] = m->standard == VAProcColorStandardBT601   ? 6
                                     : m->standard == VAProcColorStandardBT709 ? 1
                                                                               : 9;
        } else if (m->standard == VAProcColorStandardBT2020) {
            /* sRGB has other primaries than this. */
            params.surface_standard = VAProcColorStandardNone;
        }
        params.output_color[1] = full ? VA_SOURCE_RANGE_FULL : VA_SOURCE_RANGE_REDUCED;
        params.filter_flags = VA_FILTER_SCALING_HQ;
        run(&pipeline, 1, yuv);
        to_yuv(m, full, a, want);
        for (int c = 0; c < 3; c++)
            assert_true(abs(picture_row(yuv, c, 8)[8] - want[c]) <= 2);
        /* And back: what it is in RGB, now that it is rounded. */
        for (int c = 0; c < 3; c++)
            a[c] = picture_row(yuv, c, 8)[8];
        pipeline = pipeline_of(yuv, &params);
        params.surface_standard = m->standard;
        params.input_color[1] = full ? VA_SOURCE_RANGE_FULL : VA_SOURCE_RANGE_REDUCED;
        params.filter_flags = VA_FILTER_SCALING_HQ;
        run(&pipeline, 1, rgb);
        to_rgb(m, full, a, want);
        for (int c = 0; c < 3; c++)
            assert_true(abs(picture_row(rgb, c, 8)[8] - want[c]) <= 2);
    }
    picture_free(yuv);
    picture_free(rgb);
}

/* Waves around grey, whose colours exist in every gamut. */
static void draw_calm(struct picture *p)
{
    const bool wide = p->pixels.format->sample_bytes == 2;
    const int up = wide && p->pixels.format->planes == 2 ? 8 : 2;

    for (int i = 0; i < p->pixels.format->planes; i++) {
        uint32_t n = format_row_bytes(p->pixels.format, i, p->pixels.width) >> wide;

        for (uint32_t y = 0; y < format_rows(p->pixels.format, i, p->pixels.height); y++) {
            for (uint32_t x = 0; x < n; x++) {
                double wave = sin(x / 23.0 + i) * cos(y / 31.0);
                double value = i ? 128 + 12 * wave : 110 + 60 * wave + 20 * sin(x / 3.0);
                uint16_t word = (uint16_t)(lrint(value * 4) << (up - 2));

                if (wide)
                    memcpy(picture_row(p, i, y) + 2 * x, &word, 2);
                else
                    picture_row(p, i, y)[x] = (uint8_t)lrint(value);
            }
        }
    }
}

/*
 * YUV to YUV in another matrix, other primaries, other light: near to zimg, whose own short cut for
 * curves (agamma) loses 8 dB and more on processors with AVX-512.
 */
static void test_recolor(void **state)
{
    static const struct {
        uint32_t from, to;
        const char *text;
        double least; /* dB: what one step of rounding in 8 bits leaves, and chroma's filters */
    } cases[] = {
        {VAProcColorStandardBT601, VAProcColorStandardBT709, "zscale=min=170m:m=709", 47},
        {VAProcColorStandardBT709, VAProcColorStandardBT601, "zscale=min=709:m=170m", 47},
        {VAProcColorStandardBT2020, VAProcColorStandardBT709,
         "zscale=min=2020_ncl:pin=2020:tin=2020_10:m=709:p=709:t=709:agamma=false", 43},
        {VAProcColorStandardBT709, VAProcColorStandardBT2020,
         "zscale=min=709:pin=709:tin=709:m=2020_ncl:p=2020:t=2020_10:agamma=false", 43},
    };
    struct picture *from = picture_new(VA_FOURCC_I420, WIDTH, HEIGHT);
    struct picture *to = picture_new(VA_FOURCC_I420, WIDTH, HEIGHT);
    struct vd_proc_pipeline params;
    AVFrame *frame = picture_frame(from);

    (void)state;
    draw_calm(from);
    for (size_t i = 0; i < COUNT(cases) && avfilter_get_by_name("zscale"); i++) {
        struct vpp_pipeline pipeline = pipeline_of(from, &params);
        AVFrame *native = native_run(cases[i].text, &frame, 1);

        params.surface_standard = cases[i].from;
        params.output_standard = cases[i].to;
        run(&pipeline, 1, to);
        if (picture_psnr(to, native) < cases[i].least)
            fail_msg("%s: %.2f dB", cases[i].text, picture_psnr(to, native));
        if (getenv("VPP_FIGURES"))
            print_message("%s: %.2f dB\n", cases[i].text, picture_psnr(to, native));
        av_frame_free(&native);
    }
    av_frame_free(&frame);
    picture_free(from);
    picture_free(to);
}

/* Sizes that zimg refuses, where the table steps in. */
static void test_recolor_odd(void **state)
{
    struct picture *from = picture_new(VA_FOURCC_I420, 35, 21);
    struct picture *to = picture_new(VA_FOURCC_I420, 35, 21);
    const int yuv[3] = {90, 110, 150};
    struct vd_proc_pipeline params;
    struct vpp_pipeline pipeline = pipeline_of(from, &params);
    int rgb[3], want[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        fill_plane(from, i, yuv[i]);
    params.surface_standard = VAProcColorStandardBT601;
    params.output_standard = VAProcColorStandardBT709;
    run(&pipeline, 1, to);
    to_rgb(&matrices[0], false, yuv, rgb);
    to_yuv(&matrices[1], false, rgb, want);
    for (int i = 0; i < 3; i++) {
        uint32_t last = format_row_bytes(to->pixels.format, i, 35) - 1;

        assert_true(abs(picture_row(to, i, 0)[0] - want[i]) <= 1);
        assert_true(abs(picture_row(to, i, format_rows(to->pixels.format, i, 21) - 1)[last] -
                        want[i]) <= 1);
    }
    picture_free(from);
    picture_free(to);
}

static void test_range(void **state)
{
    struct picture *from = picture_new(VA_FOURCC_NV12, WIDTH, HEIGHT);
    struct picture *to = picture_new(VA_FOURCC_NV12, WIDTH, HEIGHT);
    struct vd_proc_pipeline params;
    struct vpp_pipeline pipeline = pipeline_of(from, &params);

    (void)state;
    picture_draw(from, 0);
    params.input_color[1] = VA_SOURCE_RANGE_FULL;
    params.output_color[1] = VA_SOURCE_RANGE_REDUCED;
    run(&pipeline, 1, to);
    for (uint32_t x = 0; x < WIDTH; x++)
        assert_true(abs(picture_row(to, 0, 9)[x] -
                        clip(picture_row(from, 0, 9)[x] * 219 / 255.0 + 16)) <= 1);
    picture_free(from);
    picture_free(to);
}

/* Structural similarity of luma, of blocks of 8 x 8. */
static double ssim(const AVFrame *a, const AVFrame *b)
{
    double sum = 0;
    int n = 0;

    for (int y = 0; y + 8 <= a->height; y += 4) {
        for (int x = 0; x + 8 <= a->width; x += 4, n++) {
            double sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0, va, vb, cov;

            for (int j = 0; j < 64; j++) {
                double p = a->data[0][(y + j / 8) * a->linesize[0] + x + j % 8];
                double q = b->data[0][(y + j / 8) * b->linesize[0] + x + j % 8];

                sa += p;
                sb += q;
                saa += p * p;
                sbb += q * q;
                sab += p * q;
            }
            va = saa / 64 - sa * sa / 4096;
            vb = sbb / 64 - sb * sb / 4096;
            cov = sab / 64 - sa * sb / 4096;
            sum += (2 * sa * sb / 4096 + 6.5025) * (2 * cov + 58.5225) /
                   ((sa * sa / 4096 + sb * sb / 4096 + 6.5025) * (va + vb + 58.5225));
        }
    }
    return sum / n;
}

/*
 * HDR to SDR, next to FFmpeg's chain with the same curve. 0.97 is what vaapi-fits asks for; the
 * table reaches more, and PSNR shows that colours are the same, too.
 */
static void test_tone_map(void **state)
{
    static const char chain[] =
        "zscale=t=linear:npl=100:agamma=false,format=gbrpf32le,tonemap=hable:peak=%s,"
        "zscale=p=709:t=709:m=709:r=limited:agamma=false,format=yuv420p";
    static const struct {
        const char *name, *peak;
        uint32_t transfer, max_cll, max_luminance;
    } cases[] = {{"smpte2084", "10", 16, 0, 0},
                 {"smpte2084", "40", 16, 4000, 0},
                 {"smpte2084", "20", 16, 0, 20000000},
                 {"arib-std-b67", "10", 18, 0, 0}};
    struct picture *from = picture_new(VA_FOURCC_P010, WIDTH, HEIGHT);
    struct picture *planes = picture_new(VA_FOURCC_I010, WIDTH, HEIGHT);
    struct picture *to = picture_new(VA_FOURCC_I420, WIDTH, HEIGHT);
    struct vd_proc_filter filter = {.type = VAProcFilterHighDynamicRangeToneMapping};
    struct vd_proc_pipeline params;
    struct vpp_pipeline first;
    AVFrame *frame = picture_frame(planes), *result = picture_frame(to);

    (void)state;
    draw_calm(planes);
    first = pipeline_of(planes, &params);
    run(&first, 1, from);
    for (size_t i = 0; i < COUNT(cases) && avfilter_get_by_name("zscale"); i++) {
        struct vpp_pipeline pipeline = pipeline_of(from, &params);
        char text[400];
        AVFrame *native;

        snprintf(text, sizeof(text), chain, cases[i].peak);
        frame->color_primaries = AVCOL_PRI_BT2020;
        frame->color_trc = (enum AVColorTransferCharacteristic)cases[i].transfer;
        frame->colorspace = AVCOL_SPC_BT2020_NCL;
        frame->color_range = AVCOL_RANGE_MPEG;
        native = native_run(text, &frame, 1);
        params.filter_count = 1;
        pipeline.filters = &filter;
        filter.hdr[10] = cases[i].max_cll;
        filter.hdr[8] = cases[i].max_luminance;
        params.surface_standard = VAProcColorStandardExplicit;
        params.input_color[2] = 9;
        params.input_color[3] = cases[i].transfer;
        params.input_color[4] = 9;
        params.output_standard = VAProcColorStandardBT709;
        run(&pipeline, 1, to);
        if (getenv("VPP_FIGURES"))
            print_message("%s peak %s: SSIM %.4f, PSNR %.2f %.2f %.2f dB\n", cases[i].name,
                          cases[i].peak, ssim(result, native), plane_psnr(result, native, 0),
                          plane_psnr(result, native, 1), plane_psnr(result, native, 2));
        if (ssim(result, native) < 0.99 || frame_psnr(result, native) < 38)
            fail_msg("%s %s: SSIM %.4f, PSNR %.2f dB", cases[i].name, text, ssim(result, native),
                     frame_psnr(result, native));
        av_frame_free(&native);
    }
    av_frame_free(&frame);
    av_frame_free(&result);
    picture_free(from);
    picture_free(planes);
    picture_free(to);
}

/* SMPTE ST 2084, in cd/m2. */
static double pq_signal(double light)
{
    double p = pow(light / 10000, 2610.0 / 16384);

    return pow((3424.0 / 4096 + 2413.0 / 128 * p) / (1 + 2392.0 / 128 * p), 2523.0 / 32);
}

/* ITU-R BT.2390, 5.4.1, for a signal of PQ: mastered at `from`, shown at `to` cd/m2. */
static double eetf(double signal, double from, double to)
{
    double top = pq_signal(from), most = pq_signal(to) / top, knee = 1.5 * most - 0.5;
    double e = signal / top, t;

    if (e < knee)
        return signal;
    t = (fmin(e, 1) - knee) / (1 - knee);
    return top * ((2 * pow(t, 3) - 3 * t * t + 1) * knee +
                  (pow(t, 3) - 2 * t * t + t) * (1 - knee) + (3 * t * t - 2 * pow(t, 3)) * most);
}

static int word_at(struct picture *p, int plane, uint32_t x, uint32_t y)
{
    uint16_t word;

    memcpy(&word, picture_row(p, plane, y) + 2 * x, 2);
    return word >> 6;
}

/* HDR for a display that shows less: greys by the formula; nothing is done where it shows all. */
static void test_hdr_to_hdr(void **state)
{
    static const struct {
        uint32_t from, to; /* cd/m2 */
    } cases[] = {{4000, 1000}, {1000, 400}, {1000, 1000}, {600, 1000}, {1000, 0}};
    struct picture *from = picture_new(VA_FOURCC_P010, 1024, 16);
    struct picture *to = picture_new(VA_FOURCC_P010, 1024, 16);
    struct vd_proc_filter filter = {.type = VAProcFilterHighDynamicRangeToneMapping};
    struct vd_proc_pipeline params;
    struct vpp_pipeline pipeline = pipeline_of(from, &params);

    (void)state;
    for (uint32_t y = 0; y < 16; y++) {
        for (uint32_t x = 0; x < 1024; x++) {
            uint16_t luma = (uint16_t)((64 + x * 876 / 1023) << 6), grey = 512 << 6;

            memcpy(picture_row(from, 0, y) + 2 * x, &luma, 2);
            memcpy(picture_row(from, 1, y / 2) + 2 * x, &grey, 2);
        }
    }
    params.filter_count = 1;
    pipeline.filters = &filter;
    params.flags |= VD_PROC_OUTPUT_HDR;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const bool same = !cases[i].to || cases[i].to >= cases[i].from;

        filter.hdr[8] = cases[i].from * 10000;
        params.output_hdr[8] = cases[i].to * 10000;
        run(&pipeline, 1, to);
        for (uint32_t x = 0; x < 1024; x++) {
            int old = word_at(from, 0, x, 8), got = word_at(to, 0, x, 8);
            double want = 64 + 876 * eetf((old - 64) / 876.0, cases[i].from, cases[i].to);

            if (same)
                assert_int_equal(got, old);
            else if (fabs(got - want) > 3)
                fail_msg("%u to %u: %d becomes %d, not %.1f", cases[i].from, cases[i].to, old, got,
                         want);
            assert_true(abs(word_at(to, 1, x, 4) - 512) <= 1);
        }
    }
    picture_free(from);
    picture_free(to);
}

/* A program that says nothing but "map this" means HDR10 to SDR. */
static void test_tone_map_defaults(void **state)
{
    struct picture *from = picture_new(VA_FOURCC_P010, 64, 64);
    struct picture *to = picture_new(VA_FOURCC_NV12, 64, 64);
    struct picture *again = picture_new(VA_FOURCC_NV12, 64, 64);
    struct vd_proc_filter filter = {.type = VAProcFilterHighDynamicRangeToneMapping};
    struct vd_proc_pipeline params;
    struct vpp_pipeline pipeline = pipeline_of(from, &params);

    (void)state;
    draw_calm(from);
    params.filter_count = 1;
    pipeline.filters = &filter;
    run(&pipeline, 1, to);
    params.surface_standard = params.output_standard = VAProcColorStandardExplicit;
    params.input_color[2] = 9;
    params.input_color[3] = 16;
    params.input_color[4] = 9;
    for (int i = 2; i < 5; i++)
        params.output_color[i] = 1;
    run(&pipeline, 1, again);
    for (uint32_t y = 0; y < 64; y++)
        assert_memory_equal(picture_row(to, 0, y), picture_row(again, 0, y), 64);
    picture_free(from);
    picture_free(to);
    picture_free(again);
}

/* Blending, sample by sample, by its formula: RGB over RGB. */
static void test_blend_rgb(void **state)
{
    struct picture *below = picture_new(VA_FOURCC_BGRA, 64, 48);
    struct picture *above = picture_new(VA_FOURCC_BGRA, 40, 30);
    struct picture *to = picture_new(VA_FOURCC_BGRA, 64, 48);
    struct vd_proc_pipeline params[2];
    struct vpp_pipeline pipelines[2];
    uint64_t seed = 9;

    (void)state;
    picture_draw(below, 0);
    for (uint32_t y = 0; y < 30; y++) {
        for (uint32_t x = 0; x < 160; x++)
            picture_row(above, 0, y)[x] = (uint8_t)check_random(&seed);
    }
    for (int mode = 0; mode < 4; mode++) {
        bool premultiplied = mode & 1;
        double global = mode & 2 ? 0.25 : 1;

        pipelines[0] = pipeline_of(below, &params[0]);
        pipelines[1] = pipeline_of(above, &params[1]);
        /* Partly outside. */
        pipeline_dest(&params[1], 33, -7, 40, 30);
        params[1].flags |= VD_PROC_BLEND;
        params[1].blend_flags = (premultiplied ? VA_BLEND_PREMULTIPLIED_ALPHA : 0) |
                                (mode & 2 ? VA_BLEND_GLOBAL_ALPHA : 0);
        params[1].global_alpha = float_bits((float)global);
        run(pipelines, 2, to);
        for (int y = 0; y < 48; y++) {
            for (int x = 0; x < 64; x++) {
                const uint8_t *old = picture_row(below, 0, (uint32_t)y) + 4 * x;
                const uint8_t *got = picture_row(to, 0, (uint32_t)y) + 4 * x;
                const uint8_t *over;
                double alpha;

                if (x < 33 || y >= 23) {
                    assert_memory_equal(got, old, 4);
                    continue;
                }
                over = picture_row(above, 0, (uint32_t)(y + 7)) + 4 * (x - 33);
                alpha = over[3] / 255.0 * global;
                for (int c = 0; c < 3; c++) {
                    double value = premultiplied ? global * over[c] : alpha * over[c];

                    value += (1 - alpha) * old[c];
                    assert_true(fabs(got[c] - (value > 255 ? 255 : value)) <= 0.501);
                }
                assert_true(fabs(got[3] - (255 * alpha + (1 - alpha) * old[3])) <= 0.501);
            }
        }
    }
    picture_free(below);
    picture_free(above);
    picture_free(to);
}

/* A picture of one colour and alpha over all kinds of targets, at odd places, and global alpha. */
static void test_blend_yuv(void **state)
{
    struct picture *above = picture_new(VA_FOURCC_RGBA, 32, 32);
    struct picture *below = picture_new(VA_FOURCC_444P, 64, 64);
    struct picture *result = picture_new(VA_FOURCC_444P, 64, 64);
    struct vd_proc_pipeline params[2];
    struct vpp_pipeline pipelines[2], back;

    (void)state;
    for (int i = 0; i < 3; i++)
        fill_plane(below, i, i ? 128 : 60);
    for (uint32_t y = 0; y < 32; y++) {
        for (uint32_t x = 0; x < 32; x++)
            memcpy(picture_row(above, 0, y) + 4 * x, "\xff\xff\xff\x80", 4);
    }
    for (unsigned i = 0; vpp_format_at(i); i++) {
        struct picture *to = picture_new(vpp_format_at(i)->fourcc, 64, 64);
        const int want = (int)lrint(60 + (235 - 60) * 128 / 255.0);

        pipelines[0] = pipeline_of(below, &params[0]);
        pipelines[1] = pipeline_of(above, &params[1]);
        pipeline_dest(&params[1], 13, 11, 32, 32);
        run(pipelines, 2, to);
        back = pipeline_of(to, params);
        run(&back, 1, result);
        for (int y = 0; y < 64; y++) {
            for (int x = 0; x < 64; x++) {
                bool inside = x >= 13 && x < 45 && y >= 11 && y < 43;

                if (abs(picture_row(result, 0, (uint32_t)y)[x] - (inside ? want : 60)) > 2 ||
                    abs(picture_row(result, 1, (uint32_t)y)[x] - 128) > 2)
                    fail_msg("%.4s at %d,%d: %d %d", (const char *)&vpp_format_at(i)->fourcc, x, y,
                             picture_row(result, 0, (uint32_t)y)[x],
                             picture_row(result, 1, (uint32_t)y)[x]);
            }
        }
        picture_free(to);
    }
    picture_free(above);
    picture_free(below);
    picture_free(result);
}

/* NV12 over NV12 with global alpha, exactly; chroma of pairs of lines. */
static void test_blend_global(void **state)
{
    struct picture *below = picture_new(VA_FOURCC_NV12, 64, 64);
    struct picture *above = picture_new(VA_FOURCC_NV12, 64, 64);
    struct picture *to = picture_new(VA_FOURCC_NV12, 64, 64);
    struct vd_proc_pipeline params[2];
    struct vpp_pipeline pipelines[2] = {pipeline_of(below, &params[0]),
                                        pipeline_of(above, &params[1])};

    (void)state;
    picture_draw(below, 0);
    picture_draw(above, 40);
    params[1].flags |= VD_PROC_BLEND;
    params[1].blend_flags = VA_BLEND_GLOBAL_ALPHA;
    params[1].global_alpha = float_bits(0.5f);
    run(pipelines, 2, to);
    for (uint32_t y = 0; y < 64; y++) {
        for (uint32_t x = 0; x < 64; x++)
            assert_int_equal(picture_row(to, 0, y)[x],
                             (picture_row(below, 0, y)[x] + picture_row(above, 0, y)[x] + 1) / 2);
    }
    /* Nothing of it, and all of it. */
    params[1].global_alpha = 0;
    run(pipelines, 2, to);
    assert_memory_equal(picture_row(to, 0, 9), picture_row(below, 0, 9), 64);
    params[1].global_alpha = float_bits(1);
    run(pipelines, 2, to);
    assert_memory_equal(picture_row(to, 1, 9), picture_row(above, 1, 9), 64);
    params[1].global_alpha = 0x7fc00000; /* no number */
    assert_int_equal(vpp_run(vpp, &to->pixels, NULL, pipelines, 2), VD_ERR_PARAMETER);
    picture_free(below);
    picture_free(above);
    picture_free(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrices),    cmocka_unit_test(test_recolor),
        cmocka_unit_test(test_recolor_odd), cmocka_unit_test(test_range),
        cmocka_unit_test(test_tone_map),    cmocka_unit_test(test_tone_map_defaults),
        cmocka_unit_test(test_hdr_to_hdr),  cmocka_unit_test(test_blend_rgb),
        cmocka_unit_test(test_blend_yuv),   cmocka_unit_test(test_blend_global),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
