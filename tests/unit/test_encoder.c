/* SPDX-License-Identifier: MIT */
#include "encoder_fixture.h"

/* Every codec: pictures come back at once, look right, and are intra only when asked for. */
static void test_round_trip(void **state)
{
    (void)state;
    FOR_KINDS(kind)
    {
        if (!start(kind, VA_RC_CQP, VA_FOURCC_NV12)) {
            skipped(name_of(kind));
            continue;
        }
        for (int i = 0; i < 16; i++) {
            bool want = i == 0 || i == 9;

            step(want ? ENCODE_IDR : ENCODE_P);
            assert_int_equal(f.key, want);
            assert_int_equal(f.told_key, want);
            assert_true(f.psnr > kind->psnr);
        }
        stop();
    }
}

/* Each picture has the QP that it was asked for, intra or not. */
static void test_cqp(void **state)
{
    static const struct {
        enum encode_type type;
        double scale; /* of the kind's qp */
    } pictures[] = {
        {ENCODE_IDR, 1}, {ENCODE_P, 1},   {ENCODE_P, 1.3}, {ENCODE_P, 1.3},   {ENCODE_P, 0.8},
        {ENCODE_IDR, 1}, {ENCODE_P, 1.2}, {ENCODE_I, 0.9}, {ENCODE_IDR, 0.9}, {ENCODE_IDR, 1.4},
    };

    (void)state;
    FOR_KINDS(kind)
    {
        bool live;
        double step_size = 0.01;

        if (!start(kind, VA_RC_CQP, VA_FOURCC_NV12))
            continue;
        live = encoder_list_find(kind->codec, 8, 1, NULL, NULL)->flags & ENCODER_LIVE_QP;
        if (kind->codec == VD_CODEC_VP9)
            step_size = 2.01; /* libvpx has steps of four */
        for (size_t i = 0; i < COUNT(pictures); i++) {
            bool intra = pictures[i].type != ENCODE_P;
            double want = f.request.qp = (uint32_t)(kind->qp * pictures[i].scale);

            step(pictures[i].type);
            assert_int_equal(f.key, intra);
            if (kind->codec == VD_CODEC_HEVC)
                f.qp = f.told_qp;
            if (kind->codec == VD_CODEC_MPEG2)
                f.qp /= 2; /* the scale, not its code */
            if (f.qp >= 0 && (intra || live) && fabs(f.qp - want) > step_size)
                fail_msg("%s, picture %zu: QP %.2f, not %.0f", name_of(kind), i, f.qp, want);
        }
        stop();
    }
}

/* As an app's headers may have them. */
static void set_hevc_sizes(void)
{
    f.request.tools.hevc.log2_ctb = 5;
    f.request.tools.hevc.log2_min_cb = 3;
    f.request.tools.hevc.log2_min_tb = 2;
    f.request.tools.hevc.log2_max_tb = 5;
}

/*
 * HEVC: two QPs, which x265 has to be opened with, cost one intra picture, and then no more. With
 * deltas under the app's headers each picture has its own, and none is intra for it.
 */
static void test_two_qps(void **state)
{
    double psnr[2][12];

    (void)state;
    for (int deltas = 0; deltas < 2; deltas++) {
        int keys = 0;

        if (!start(&kinds[1], VA_RC_CQP, VA_FOURCC_NV12))
            return;
        set_hevc_sizes();
        f.request.tools.hevc.cu_qp_delta = deltas;
        for (int i = 0; i < 12; i++) {
            bool intra = i % 4 == 0;

            f.request.qp = intra ? 18 : 30;
            step(intra ? ENCODE_IDR : ENCODE_P);
            keys += f.key && !intra;
            if (!deltas)
                assert_int_equal(f.told_qp, f.key ? 18 : 30);
            psnr[deltas][i] = f.psnr;
        }
        assert_int_equal(keys, !deltas);
        stop();
    }
    for (int i = 4; i < 12; i++)
        assert_true(fabs(psnr[0][i] - psnr[1][i]) < 1);
}

/* Encodes for some seconds: bits a second. */
static double run_rate(uint32_t target, uint32_t seconds, bool *ret_key)
{
    uint32_t count = seconds * FRAME_HZ;
    double bytes = 0;

    f.request.rate.bits_per_second = target;
    f.request.rate.peak = f.request.rate.mode == VA_RC_VBR ? 2 * target : target;
    *ret_key = false;
    for (uint32_t i = 0; i < count; i++) {
        bool first = f.number == 0;

        assert_int_equal(encode(first ? ENCODE_IDR : ENCODE_P), 0);
        bytes += (double)f.size;
        *ret_key |= f.told_key && !first;
    }
    return bytes * 8 / seconds;
}

static void assert_rate(const struct kind *kind, double rate, double target, double tolerance)
{
    if (fabs(rate - target) > tolerance * target)
        fail_msg("%s, mode %u: %.0f bits per second, not %.0f", name_of(kind), f.request.rate.mode,
                 rate, target);
}

static void check_rate(const struct kind *kind, uint32_t mode)
{
    bool key, live;

    if (!start(kind, mode, VA_FOURCC_NV12))
        return;
    live = encoder_list_find(kind->codec, 8, 1, NULL, NULL)->flags & ENCODER_LIVE_RATE;
    /* libx265 with deltas, which these requests without headers have. */
    live |= kind->codec == VD_CODEC_HEVC && mode == VA_RC_VBR;
    /* A variable rate is a looser one where the encoder's own control follows it. */
    assert_rate(kind, run_rate(150000, 10, &key), 150000, live || mode == VA_RC_CBR ? 0.10 : 0.25);
    assert_false(key);
    /* Others than those that can begin anew. */
    assert_rate(kind, run_rate(80000, 5, &key), 80000, live ? 0.10 : 0.35);
    assert_int_equal(key, !live);
    if (live) {
        assert_rate(kind, run_rate(240000, 5, &key), 240000, 0.10);
        assert_false(key);
    }
    stop();
}

static void test_cbr(void **state)
{
    (void)state;
    FOR_KINDS(kind)
    {
        check_rate(kind, VA_RC_CBR);
    }
}

static void test_vbr(void **state)
{
    (void)state;
    FOR_KINDS(kind)
    {
        check_rate(kind, VA_RC_VBR);
    }
}

/* Every other picture is a repeated one, as in film at twice its rate: quantisers do not follow. */
static void test_repeated(void **state)
{
    static const uint32_t modes[] = {VA_RC_CBR, VA_RC_VBR};

    (void)state;
    for (size_t m = 0; m < COUNT(modes); m++) {
        int least = 51, most = 0;

        if (!start(&kinds[0], modes[m], VA_FOURCC_NV12))
            return;
        f.request.rate.bits_per_second = f.request.rate.peak = 200000;
        for (int i = 0; i < 80; i++) {
            bool repeated = i % 2;

            f.number -= repeated;
            step(i ? ENCODE_P : ENCODE_IDR);
            if (repeated || i < 40 || f.told_qp < 0)
                continue;
            least = f.told_qp < least ? f.told_qp : least;
            most = f.told_qp > most ? f.told_qp : most;
        }
        stop();
        assert_true(most - least <= 4);
    }
}

/* A fade: where the app's PPS has weights, they are used. */
static void test_weights(void **state)
{
    size_t size[2] = {0};

    (void)state;
    for (int weighted = 0; weighted < 2; weighted++) {
        if (!start(&kinds[0], VA_RC_CQP, VA_FOURCC_NV12))
            return;
        if (strcmp(encoder_list_find(VD_CODEC_H264, 8, 1, NULL, NULL)->name, "libx264") != 0) {
            stop();
            skip();
        }
        f.request.tools.h264.weighted = weighted;
        f.fade = 20;
        for (int i = 0; i < 8; i++) {
            step(i ? ENCODE_P : ENCODE_IDR);
            size[weighted] += f.size;
            assert_true(f.psnr > 33);
        }
        stop();
    }
    assert_true(size[1] * 10 < size[0] * 9);
}

/* Better quality for a better quality factor. */
static void test_quality(void **state)
{
    static const uint32_t modes[] = {VA_RC_ICQ, VA_RC_QVBR};

    (void)state;
    FOR_KINDS(kind)
    {
        for (size_t m = 0; m < COUNT(modes); m++) {
            double psnr[2];

            for (int i = 0; i < 2; i++) {
                if (!start(kind, modes[m], VA_FOURCC_NV12))
                    break;
                if (!(encoder_list_find(kind->codec, 8, 1, NULL, NULL)->rates & modes[m])) {
                    stop();
                    break;
                }
                f.request.rate.quality = i ? 36 : 18;
                f.request.rate.bits_per_second = f.request.rate.peak = 2000000;
                for (int n = 0; n < 4; n++)
                    step(n ? ENCODE_P : ENCODE_IDR);
                psnr[i] = f.psnr;
                stop();
                if (i)
                    assert_true(psnr[0] > psnr[1] + 2);
            }
        }
    }
}

/* A region of the picture is coded better, and the rest is not. */
static void test_regions(void **state)
{
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        if (!start(&kinds[0], mode ? VA_RC_CBR : VA_RC_CQP, VA_FOURCC_NV12))
            return;
        f.request.rate.bits_per_second = f.request.rate.peak = 400000;
        for (int i = 0; i < 6; i++) {
            f.request.region_count = i >= 2;
            f.request.regions[0] =
                (struct encode_region){.width = WIDTH / 2, .height = HEIGHT / 2, .delta_qp = -8};
            step(i ? ENCODE_P : ENCODE_IDR);
            if (i >= 3)
                assert_true(f.qp_in < f.qp_out - 5);
        }
        stop();
    }
}

/* Regions that come late, go, and lie outside. */
static void test_regions_anywhere(void **state)
{
    static const struct encode_region wild[] = {
        {-32768, -32768, 65535, 65535, -51},
        {32767, 32767, 65535, 65535, 51},
        {0, 0, 0, 0, 5},
        {100, 100, 60000, 60000, 51},
        {-5, 3, 40, 40, -3},
        {170, 140, 1, 1, 1},
    };

    (void)state;
    FOR_KINDS(kind)
    {
        if (!start(kind, VA_RC_CBR, VA_FOURCC_NV12))
            continue;
        f.request.rate.bits_per_second = f.request.rate.peak = 400000;
        memcpy(f.request.regions, wild, sizeof(wild));
        for (int i = 0; i < 8; i++) {
            f.request.region_count = i % 3 ? COUNT(wild) : 0;
            step(i ? ENCODE_P : ENCODE_IDR);
        }
        stop();
    }
}

/* What has no room is lost: the app is told how much it was, and the next picture is intra. */
static void test_no_room(void **state)
{
    (void)state;
    FOR_KINDS(kind)
    {
        struct encode_output output = {.bytes = f.room, .room = 16};

        if (!start(kind, VA_RC_CQP, VA_FOURCC_NV12))
            continue;
        step(ENCODE_IDR);
        output.bytes = f.room;
        f.request.type = ENCODE_P;
        memset(f.room, 0xee, 64);
        f.number++;
        draw_8();
        assert_int_equal(encoder_run(f.encoder, &f.request, &f.pixels, &output), VD_ERR_LIMIT);
        assert_true(output.size > 16);
        assert_int_equal(f.room[16], 0xee);
        step(ENCODE_P);
        assert_true(f.key);
        step(ENCODE_P);
        assert_false(f.key);
        stop();
    }
}

/* An encoder that `write` refuses at once: the next in the list, and if there is none, an error. */
static int refuse(void *state, const struct encode_request *request,
                  const struct encode_packet *packet, struct encode_output *output)
{
    pass(state, request, packet, output);
    return f.number < 3 ? VD_ERR_DECODE : 0;
}

static void test_refused(void **state)
{
    (void)state;
    FOR_KINDS(kind)
    {
        if (!start(kind, VA_RC_CQP, VA_FOURCC_NV12))
            continue;
        encoder_destroy(f.encoder);
        f.codec.write = refuse;
        assert_int_equal(encoder_create(&f.codec, NULL, 1, &f.encoder), 0);
        assert_int_equal(encode(ENCODE_IDR), VD_ERR_DECODE);
        assert_int_equal(encode(ENCODE_P), VD_ERR_DECODE);
        step(ENCODE_P);
        assert_true(f.key);
        step(ENCODE_P);
        assert_false(f.key);
        stop();
    }
}

/* Formats of surfaces, and surfaces that are larger and a little smaller than the picture. */
static void test_input(void **state)
{
    static const uint32_t fourccs[] = {VA_FOURCC_NV12, VA_FOURCC_I420, VA_FOURCC_YV12};
    static const struct {
        uint32_t width, height;
    } sizes[] = {{WIDTH, HEIGHT}, {WIDTH + 16, HEIGHT + 40}, {WIDTH - 12, HEIGHT - 8}};

    (void)state;
    FOR_KINDS(kind)
    {
        for (size_t i = 0; i < COUNT(fourccs) * COUNT(sizes); i++) {
            if (!start(kind, VA_RC_CQP, fourccs[i / COUNT(sizes)]))
                continue;
            surface(fourccs[i / COUNT(sizes)], sizes[i % COUNT(sizes)].width,
                    sizes[i % COUNT(sizes)].height);
            step(ENCODE_IDR);
            assert_true(i % COUNT(sizes) == 2 || f.psnr > kind->psnr);
            surface(fourccs[i / COUNT(sizes)], WIDTH - 64, HEIGHT);
            assert_int_equal(encode(ENCODE_P), VD_ERR_UNSUPPORTED);
            stop();
        }
    }
}

/* Odd sizes, of the codecs that have them, and threads with something to do. */
static void test_odd_size(void **state)
{
    (void)state;
    FOR_KINDS(kind)
    {
        if (kind->codec == VD_CODEC_H264 || kind->codec == VD_CODEC_HEVC ||
            !start(kind, VA_RC_CQP, VA_FOURCC_NV12))
            continue;
        encoder_destroy(f.encoder);
        assert_int_equal(encoder_create(&f.codec, NULL, 4, &f.encoder), 0);
        surface(VA_FOURCC_NV12, 721, 405);
        f.request.tools.width = 721;
        f.request.tools.height = 405;
        for (int i = 0; i < 3; i++) {
            step(i ? ENCODE_P : ENCODE_IDR);
            assert_true(f.psnr > kind->psnr);
        }
        stop();
    }
}

/* Red is red, whatever the order of the samples. */
static void test_rgb(void **state)
{
    static const uint32_t fourccs[] = {VA_FOURCC_BGRX, VA_FOURCC_BGRA, VA_FOURCC_RGBX,
                                       VA_FOURCC_RGBA, VA_FOURCC_YUY2, VA_FOURCC_UYVY};

    (void)state;
    for (size_t i = 0; i < COUNT(fourccs); i++) {
        if (!start(&kinds[0], VA_RC_CQP, fourccs[i]))
            return;
        for (uint64_t at = 0; at < f.layout.size; at += 4) {
            static const uint8_t red[6][4] = {{0, 0, 255, 7}, {0, 0, 255, 7},    {255, 0, 0, 7},
                                              {255, 0, 0, 7}, {82, 90, 82, 240}, {90, 82, 240, 82}};

            memcpy(f.bytes + at, red[i], 4);
        }
        assert_int_equal(encode(ENCODE_IDR), 0);
        decode();
        assert_in_range(f.frame->data[0][0], 79, 84);
        assert_in_range(f.frame->data[1][0], 87, 93);
        assert_in_range(f.frame->data[2][0], 237, 243);
        stop();
    }
}

/* Ten bits in, ten bits out. */
static void test_ten_bits(void **state)
{
    static const struct kind ten[] = {
        {VD_CODEC_HEVC, VAProfileHEVCMain10, AV_CODEC_ID_HEVC, 20, 40},
        {VD_CODEC_VP9, VAProfileVP9Profile2, AV_CODEC_ID_VP9, 30, 40},
        {VD_CODEC_AV1, VAProfileAV1Profile0, AV_CODEC_ID_AV1, 30, 40},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(ten); i++) {
        if (!encoder_list_find(ten[i].codec, 10, 1, NULL, NULL) ||
            !start(&ten[i], VA_RC_CQP, VA_FOURCC_P010)) {
            skipped(name_of(&ten[i]));
            continue;
        }
        f.request.tools.bit_depth = 10;
        for (uint64_t at = 0; at < f.layout.size; at += 2) {
            uint16_t sample = 601 << 6;

            memcpy(f.bytes + at, &sample, 2);
        }
        assert_int_equal(encode(ENCODE_IDR), 0);
        decode();
        assert_int_equal(av_pix_fmt_desc_get(f.frame->format)->comp[0].depth, 10);
        assert_in_range(((uint16_t *)(void *)f.frame->data[0])[0], 599, 603);
        assert_in_range(((uint16_t *)(void *)f.frame->data[2])[0], 599, 603);
        stop();
    }
}

/* Chroma of more samples, from planes, packed formats and RGB: what goes in comes out. */
static void test_chroma(void **state)
{
    static const struct {
        struct kind kind;
        uint32_t fourcc, depth, chroma;
        uint32_t word; /* a pixel, or two of 4:2:2, in memory */
        uint32_t want[3];
    } cases[] = {
        {{VD_CODEC_HEVC, VAProfileHEVCMain422_10, AV_CODEC_ID_HEVC, 10, 40},
         VA_FOURCC_YUY2,
         8,
         2,
         0x50c8a0c8,
         {200, 160, 80}},
        {{VD_CODEC_HEVC, VAProfileHEVCMain444, AV_CODEC_ID_HEVC, 10, 40},
         VA_FOURCC_XYUV,
         8,
         3,
         0xffc8a050,
         {200, 160, 80}},
        {{VD_CODEC_HEVC, VAProfileHEVCMain444, AV_CODEC_ID_HEVC, 10, 40},
         VA_FOURCC_BGRX,
         8,
         3,
         0x00ff0000,
         {81, 90, 240}},
        {{VD_CODEC_HEVC, VAProfileHEVCMain444_10, AV_CODEC_ID_HEVC, 10, 40},
         VA_FOURCC_Y410,
         10,
         3,
         601u << 10 | 333u | 222u << 20,
         {601, 333, 222}},
        /* The surface has more than the stream's headers have room for. */
        {{VD_CODEC_HEVC, VAProfileHEVCMain444_10, AV_CODEC_ID_HEVC, 10, 40},
         VA_FOURCC_Y410,
         8,
         3,
         600u << 10 | 332u | 224u << 20,
         {150, 83, 56}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (!encoder_list_find(VD_CODEC_HEVC, cases[i].depth, cases[i].chroma, NULL, NULL) ||
            !start(&cases[i].kind, VA_RC_CQP, cases[i].fourcc)) {
            skipped(name_of(&cases[i].kind));
            continue;
        }
        f.request.tools.bit_depth = cases[i].depth;
        f.request.tools.chroma = cases[i].chroma;
        for (uint64_t at = 0; at + 4 <= f.layout.size; at += 4)
            memcpy(f.bytes + at, &cases[i].word, 4);
        assert_int_equal(encode(ENCODE_IDR), 0);
        decode();
        assert_int_equal(av_pix_fmt_desc_get(f.frame->format)->comp[0].depth, cases[i].depth);
        assert_int_equal(av_pix_fmt_desc_get(f.frame->format)->log2_chroma_w, cases[i].chroma == 2);
        assert_int_equal(av_pix_fmt_desc_get(f.frame->format)->log2_chroma_h, 0);
        for (int plane = 0; plane < 3; plane++) {
            uint8_t *row = f.frame->data[plane] + 17 * (ptrdiff_t)f.frame->linesize[plane];
            uint32_t got = cases[i].depth > 8 ? ((uint16_t *)(void *)row)[33] : row[33];

            assert_in_range(got, cases[i].want[plane] - 2, cases[i].want[plane] + 2);
        }
        stop();
    }
}

/* New tools, sizes and modes: another encoder, which begins with an intra picture. */
static void test_changes(void **state)
{
    (void)state;
    FOR_KINDS(kind)
    {
        if (!start(kind, VA_RC_CQP, VA_FOURCC_NV12))
            continue;
        step(ENCODE_IDR);
        step(ENCODE_P);
        f.request.tools.width = WIDTH - 16;
        step(ENCODE_P);
        assert_true(f.key);
        step(ENCODE_P);
        assert_false(f.key);
        f.request.rate.mode = VA_RC_VBR;
        step(ENCODE_P);
        assert_true(f.key);
        for (uint32_t level = 0; level <= ENCODE_QUALITY_LEVELS + 1; level++) {
            f.request.rate.quality_level = level;
            step(ENCODE_IDR);
        }
        stop();
    }
}

/* Slices, and a refresh that makes no picture intra as a whole. */
static void test_slices_and_refresh(void **state)
{
    int slices = 0;

    (void)state;
    if (!start(&kinds[0], VA_RC_CQP, VA_FOURCC_NV12))
        return;
    f.request.tools.slices = 3;
    f.request.tools.intra_refresh = 5;
    for (int i = 0; i < 12; i++) {
        step(i ? ENCODE_P : ENCODE_IDR);
        assert_int_equal(f.told_key, i == 0);
    }
    for (size_t i = 0; i + 4 < f.size; i++)
        slices +=
            f.room[i] == 0 && f.room[i + 1] == 0 && f.room[i + 2] == 1 && (f.room[i + 3] & 31) == 1;
    assert_int_equal(slices, 3);
    stop();
}

/* Slices that threads can share are where the app has them, with threads and without. */
static void test_slice_threads(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads += 3) {
        int slices = 0, where[2] = {-1, -1};

        if (!start(&kinds[0], VA_RC_CBR, VA_FOURCC_NV12))
            return;
        encoder_destroy(f.encoder);
        assert_int_equal(encoder_create(&f.codec, NULL, threads, &f.encoder), 0);
        surface(VA_FOURCC_NV12, WIDTH, 128);
        f.request.rate.bits_per_second = f.request.rate.peak = 400000;
        f.request.tools.height = 128;
        f.request.tools.slices = 2;
        f.request.tools.slice_rows = 4;
        f.request.tools.h264.deblocking_control = true;
        for (int i = 0; i < 12; i++) {
            step(i ? ENCODE_P : ENCODE_IDR);
            assert_true(f.psnr > 25);
        }
        for (size_t i = 0; i + 6 < f.size; i++) {
            uint32_t bits =
                (uint32_t)f.room[i + 4] << 16 | (uint32_t)f.room[i + 5] << 8 | f.room[i + 6];
            int zeros = 0;

            if (f.room[i] || f.room[i + 1] || f.room[i + 2] != 1 || (f.room[i + 3] & 31) != 1)
                continue;
            /* first_mb_in_slice, ue(v) */
            while (zeros < 11 && !(bits >> (23 - zeros) & 1))
                zeros++;
            if (slices < 2)
                where[slices] = (int)(bits >> (23 - 2 * zeros)) - 1;
            slices++;
        }
        stop();
        assert_int_equal(slices, 2);
        assert_int_equal(where[0], 0);
        assert_int_equal(where[1], 4 * WIDTH / 16);
    }
}

/* Any number: a packet or an error, and the encoder goes on after it. */
static void test_hostile(void **state)
{
    static const uint32_t modes[] = {VA_RC_CQP, VA_RC_CBR, VA_RC_VBR, VA_RC_ICQ, VA_RC_QVBR};
    static const uint32_t wild[] = {0, 1, 2, 51, 63, 255, 65535, 1000000, 2000000000, 0xffffffff};
    uint64_t seed = 1;

    (void)state;
    FOR_KINDS(kind)
    {
        if (!start(kind, VA_RC_CBR, VA_FOURCC_NV12))
            continue;
        for (int i = 0; i < 12; i++) {
            struct encode_rate *rate = &f.request.rate;
            uint32_t *fields[] = {
                &rate->bits_per_second, &rate->peak,          &rate->vbv_bits,
                &rate->vbv_initial,     &rate->min_qp,        &rate->max_qp,
                &rate->quality,         &f.request.qp,        &rate->frame_rate_num,
                &rate->frame_rate_den,  &rate->quality_level, &rate->temporal_layers,
                &rate->max_frame_bits};

            rate->mode = modes[i % COUNT(modes)];
            for (size_t j = 0; j < COUNT(fields); j++)
                *fields[j] = wild[check_random(&seed) % COUNT(wild)];
            f.request.tools.slices = wild[check_random(&seed) % COUNT(wild)];
            f.request.tools.intra_period = wild[check_random(&seed) % COUNT(wild)];
            f.request.tools.h264.level_idc = (uint8_t)check_random(&seed);
            f.request.tools.h264.cb_qp_offset = (int8_t)check_random(&seed);
            encode(i % 3 ? ENCODE_P : ENCODE_IDR);
            encode(ENCODE_P);
        }
        for (size_t j = 0; j < COUNT(wild); j++) {
            f.request.tools.width = wild[j];
            f.request.tools.height = 0xffffffff;
            assert_true(encode(ENCODE_P) < 0);
        }
        f.request = (struct encode_request){
            .qp = kind->qp,
            .tools = {.profile = kind->profile, .width = WIDTH, .height = HEIGHT, .bit_depth = 8},
            .rate = {.mode = VA_RC_CQP},
        };
        step(ENCODE_P);
        assert_true(f.key);
        stop();
    }
}

/* HEVC's tools as an app's headers may have them: what x265 has not is refused. */
static void test_hevc_tools(void **state)
{
    uint64_t seed = 2;

    (void)state;
    for (int i = 0; i < 10; i++) {
        if (!start(&kinds[1], i % 2 ? VA_RC_CQP : VA_RC_CBR, VA_FOURCC_NV12))
            return;
        f.request.tools.hevc.log2_ctb = (uint8_t)(4 + check_random(&seed) % 3);
        f.request.tools.hevc.log2_min_cb = 3;
        f.request.tools.hevc.log2_min_tb = 2;
        f.request.tools.hevc.log2_max_tb = f.request.tools.hevc.log2_ctb > 4 ? 5 : 4;
        f.request.tools.hevc.depth_inter = (uint8_t)(check_random(&seed) % 3);
        f.request.tools.hevc.amp = check_random(&seed) & 1;
        f.request.tools.hevc.sao = check_random(&seed) & 1;
        f.request.tools.hevc.sign_hiding = check_random(&seed) & 1;
        f.request.tools.hevc.strong_intra = check_random(&seed) & 1;
        f.request.tools.hevc.cu_qp_delta = check_random(&seed) & 1;
        step(ENCODE_IDR);
        step(ENCODE_P);
        assert_true(f.psnr > 30);
        f.request.tools.hevc.log2_ctb = (uint8_t)(check_random(&seed) | 7);
        assert_int_equal(encode(ENCODE_IDR), VD_ERR_UNSUPPORTED);
        stop();
    }
}

/* Of a JPEG file: what its tables of quantisers say, in zig-zag order; NULL: none. */
static const uint8_t *find_table(int which)
{
    for (size_t i = 0; i + 69 <= f.size; i++) {
        if (f.room[i] == 0xff && f.room[i + 1] == 0xdb && f.room[i + 4] == which)
            return f.room + i + 5;
    }
    return NULL;
}

static void start_jpeg(uint32_t fourcc)
{
    static const struct kind jpeg = {VD_CODEC_JPEG, VAProfileJPEGBaseline, AV_CODEC_ID_MJPEG, 0, 0};
    struct jpeg_request *own = (void *)f.request.own;

    start_decoder(&jpeg, VA_RC_CQP, fourcc);
    f.codec = encode_jpeg;
    f.codec.write = pass;
    assert_int_equal(encoder_create(&f.codec, NULL, 1, &f.encoder), 0);
    for (int i = 0; i < 64; i++) {
        own->quantiser[0][i] = (uint8_t)(3 + i % 8);
        own->quantiser[1][i] = 5;
    }
    own->selector[1] = own->selector[2] = 1;
    own->components = 3;
}

/* A complete file with the quantisers that were asked for, of DC, too. */
static void test_jpeg(void **state)
{
    static const struct {
        uint32_t fourcc;
        enum AVPixelFormat format;
    } formats[] = {
        {VA_FOURCC_NV12, AV_PIX_FMT_YUVJ420P}, {VA_FOURCC_I420, AV_PIX_FMT_YUVJ420P},
        {VA_FOURCC_422H, AV_PIX_FMT_YUVJ422P}, {VA_FOURCC_YUY2, AV_PIX_FMT_YUVJ422P},
        {VA_FOURCC_444P, AV_PIX_FMT_YUVJ444P}, {VA_FOURCC_Y800, AV_PIX_FMT_GRAY8},
        {VA_FOURCC_BGRX, AV_PIX_FMT_YUVJ420P},
    };

    (void)state;
    if (!encoder_name(VD_CODEC_JPEG, NULL)) {
        print_message("no libjpeg-turbo in this build\n");
        return;
    }
    for (size_t i = 0; i < COUNT(formats); i++) {
        struct encode_output output = {.bytes = f.room, .room = 16};
        struct jpeg_request *own = (void *)f.request.own;

        start_jpeg(formats[i].fourcc);
        f.request.tools.width = WIDTH - 7;
        f.request.tools.height = HEIGHT - 5;
        own->restart_interval = i & 1 ? 5 : 0;
        if (i >= 2)
            memset(f.bytes, 77, f.layout.size);
        assert_int_equal(encode(ENCODE_IDR), 0);
        assert_non_null(find_table(0));
        assert_int_equal(find_table(0)[0], 3);
        assert_int_equal(find_table(0)[1], 4);
        assert_int_equal(find_table(0)[2], 3); /* row 1, column 0 */
        decode();
        assert_int_equal(f.frame->format, formats[i].format);
        assert_int_equal(f.frame->width, WIDTH - 7);
        assert_int_equal(f.frame->height, HEIGHT - 5);
        if (i < 2) {
            measure();
            assert_true(f.psnr > 40);
        } else {
            assert_in_range(f.frame->data[0][0], 75, 79);
        }
        output.bytes = f.room;
        assert_int_equal(encoder_run(f.encoder, &f.request, &f.pixels, &output), VD_ERR_LIMIT);
        surface(formats[i].fourcc, WIDTH / 2, HEIGHT);
        output.size = 0;
        assert_int_equal(encoder_run(f.encoder, &f.request, &f.pixels, &output),
                         VD_ERR_UNSUPPORTED);
        stop();
    }
}

/* What is told to guests is what was seen to work. */
static void test_caps(void **state)
{
    struct vd_cap caps[VD_MAX_CAPS];
    uint32_t count = encoder_caps(NULL, caps, VD_MAX_CAPS);

    (void)state;
    assert_int_equal(encoder_caps(NULL, caps, 0), 0);
    for (uint32_t i = 0; i < count; i++) {
        const struct vd_cap *cap = &caps[i];
        bool rates = false, packed = false;

        assert_non_null(encoder_name(codecs_of((int)cap->profile, VAEntrypointEncSlice), NULL));
        assert_true(cap->format_count > 0 && cap->rt_formats && cap->engine[0]);
        assert_true(cap->min_width && cap->max_width > cap->min_width);
        for (uint32_t j = 0; j < cap->attribute_count; j++) {
            rates |= cap->attributes[j] == VAConfigAttribRateControl && cap->values[j];
            packed |= cap->attributes[j] == VAConfigAttribEncPackedHeaders;
        }
        assert_true(rates && packed);
    }
}

/* Both entry points are one encoder, with the same attributes. */
static void test_entrypoints(void **state)
{
    struct vd_cap caps[VD_MAX_CAPS];
    uint32_t count = encoder_caps(NULL, caps, VD_MAX_CAPS);

    (void)state;
    for (uint32_t i = 0; i < count; i++) {
        enum vd_codec codec = codecs_of((int)caps[i].profile, VAEntrypointEncSlice);

        if (caps[i].entrypoint == VAEntrypointEncSliceLP) {
            assert_true(i > 0 && caps[i - 1].entrypoint == VAEntrypointEncSlice);
            caps[i].entrypoint = VAEntrypointEncSlice;
            assert_memory_equal(&caps[i], &caps[i - 1], sizeof(caps[i]));
        } else if (codec == VD_CODEC_H264 || codec == VD_CODEC_HEVC || codec == VD_CODEC_VP9 ||
                   codec == VD_CODEC_AV1) {
            assert_true(i + 1 < count && caps[i + 1].profile == caps[i].profile);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_cqp),
        cmocka_unit_test(test_two_qps),
        cmocka_unit_test(test_cbr),
        cmocka_unit_test(test_vbr),
        cmocka_unit_test(test_quality),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_repeated),
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_regions_anywhere),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_input),
        cmocka_unit_test(test_odd_size),
        cmocka_unit_test(test_rgb),
        cmocka_unit_test(test_ten_bits),
        cmocka_unit_test(test_chroma),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_slices_and_refresh),
        cmocka_unit_test(test_slice_threads),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_hevc_tools),
        cmocka_unit_test(test_jpeg),
        cmocka_unit_test(test_caps),
        cmocka_unit_test(test_entrypoints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
