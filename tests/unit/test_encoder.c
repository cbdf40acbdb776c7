/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
#include <libavutil/video_enc_params.h>
#include <math.h>
#include <stdio.h>
#include <va/va.h>
#include <viaduct/errors.h>

#include "encode/encoder.h"
#include "encode/encoder_list.h"
#include "encode/jpeg.h"

/*
 * The encoders of the host's libavcodec, one picture in and one out, decoded again. Codecs here
 * pass packets through: what the real ones make of them is tested at their side.
 */

#define WIDTH    176
#define HEIGHT   144
#define ROOM     (4u << 20)
#define FRAME_HZ 10

/* One encoder, its decoder, and what came out. */
static struct fixture {
    struct encode_codec codec;
    struct encoder *encoder;
    struct encode_request request;
    const AVCodec *decoder_codec;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    struct format_layout layout;
    struct pixels pixels;
    uint8_t *bytes, *room;
    size_t size;          /* of the last packet */
    bool key;             /* what the decoder says of it */
    double qp;            /* its average, -1: the decoder does not tell */
    double qp_in, qp_out; /* inside and outside of the left upper quarter */
    double psnr;          /* of luma */
    uint32_t number;
    int told_qp; /* by the encoder */
    bool told_key;
} f;

static int pass(void *state, const struct encode_request *request,
                const struct encode_packet *packet, struct encode_output *output)
{
    (void)state;
    (void)request;
    f.told_qp = packet->qp;
    f.told_key = packet->key;
    encode_put(output, packet->data, packet->size);
    return 0;
}

struct kind {
    enum vd_codec codec;
    uint32_t profile;
    enum AVCodecID id;
    uint32_t qp; /* a middling one */
    double psnr; /* that it must reach there */
};

static const struct kind kinds[] = {
    {VD_CODEC_H264, VAProfileH264High, AV_CODEC_ID_H264, 26, 35},
    {VD_CODEC_HEVC, VAProfileHEVCMain, AV_CODEC_ID_HEVC, 26, 35},
    {VD_CODEC_VP8, VAProfileVP8Version0_3, AV_CODEC_ID_VP8, 30, 34},
    {VD_CODEC_VP9, VAProfileVP9Profile0, AV_CODEC_ID_VP9, 80, 34},
    {VD_CODEC_AV1, VAProfileAV1Profile0, AV_CODEC_ID_AV1, 80, 34},
    {VD_CODEC_MPEG2, VAProfileMPEG2Main, AV_CODEC_ID_MPEG2VIDEO, 6, 32},
};

static void surface(uint32_t fourcc, uint32_t width, uint32_t height)
{
    const struct format_info *format = format_find(fourcc);

    free(f.bytes);
    assert_non_null(format);
    assert_int_equal(format_layout(format, width, height, &f.layout), 0);
    f.bytes = calloc(1, f.layout.size);
    assert_non_null(f.bytes);
    f.pixels = (struct pixels){
        .format = format, .layout = &f.layout, .bytes = f.bytes, .width = width, .height = height};
}

static void start_decoder(const struct kind *kind, uint32_t mode, uint32_t fourcc)
{
    memset(&f, 0, sizeof(f));
    f.decoder_codec = avcodec_find_decoder(kind->id);
    assert_non_null(f.decoder_codec);
    f.decoder = avcodec_alloc_context3(f.decoder_codec);
    f.packet = av_packet_alloc();
    f.frame = av_frame_alloc();
    f.decoder->thread_count = 1;
    f.decoder->flags |= AV_CODEC_FLAG_LOW_DELAY;
    f.decoder->export_side_data |= AV_CODEC_EXPORT_DATA_VIDEO_ENC_PARAMS;
    assert_int_equal(avcodec_open2(f.decoder, f.decoder_codec, NULL), 0);
    f.room = malloc(ROOM);
    f.request.tools = (struct encode_tools){.profile = kind->profile,
                                            .width = WIDTH,
                                            .height = HEIGHT,
                                            .bit_depth = 8,
                                            .slices = 1,
                                            .h264 = {.cabac = true, .transform_8x8 = true}};
    f.request.rate =
        (struct encode_rate){.mode = mode, .frame_rate_num = FRAME_HZ, .frame_rate_den = 1};
    f.request.qp = kind->qp;
    surface(fourcc, WIDTH, HEIGHT);
}

static bool start(const struct kind *kind, uint32_t mode, uint32_t fourcc)
{
    if (!encoder_list_find(kind->codec, 8, NULL, NULL))
        return false;
    start_decoder(kind, mode, fourcc);
    f.codec = (struct encode_codec){.codec = kind->codec, .write = pass};
    assert_int_equal(encoder_create(&f.codec, NULL, 1, &f.encoder), 0);
    return true;
}

static void stop(void)
{
    encoder_destroy(f.encoder);
    avcodec_free_context(&f.decoder);
    av_packet_free(&f.packet);
    av_frame_free(&f.frame);
    free(f.bytes);
    free(f.room);
    memset(&f, 0, sizeof(f));
}

/* Moves, has edges, and texture that costs bits. */
static uint8_t luma_at(uint32_t x, uint32_t y)
{
    uint32_t u = x + 3 * f.number, v = y + f.number;
    uint32_t noise = (u / 2 * 2654435761u ^ v / 2 * 2246822519u) >> 27;
    uint32_t flicker = (x * 2654435761u ^ y * 2246822519u ^ f.number * 3266489917u) >> 30;

    return (uint8_t)(60 + 40 * ((u / 32 ^ v / 32) & 1) + (u + 2 * v) % 64 + noise / 2 + flicker);
}

static void draw_8(void)
{
    const struct format_layout *l = &f.layout;
    uint32_t cw = (f.pixels.width + 1) / 2, ch = (f.pixels.height + 1) / 2;

    for (uint32_t y = 0; y < f.pixels.height; y++) {
        for (uint32_t x = 0; x < f.pixels.width; x++)
            f.bytes[l->offset[0] + y * l->pitch[0] + x] = luma_at(x, y);
    }
    for (uint32_t y = 0; y < ch; y++) {
        for (uint32_t x = 0; x < cw; x++) {
            uint8_t u = (uint8_t)(100 + (x + f.number) % 50), v = (uint8_t)(110 + y % 40);

            if (f.pixels.format->planes == 2) {
                f.bytes[l->offset[1] + y * l->pitch[1] + 2 * x] = u;
                f.bytes[l->offset[1] + y * l->pitch[1] + 2 * x + 1] = v;
            } else {
                f.bytes[l->offset[1] + y * l->pitch[1] + x] = u;
                f.bytes[l->offset[2] + y * l->pitch[2] + x] = v;
            }
        }
    }
}

static double psnr_of(double error, double samples)
{
    return error > 0 ? 10 * log10(255.0 * 255.0 * samples / error) : 99;
}

/* Of 8 bits, against what draw_8 drew. */
static void measure(void)
{
    const AVFrame *frame = f.frame;
    double error = 0;

    assert_int_equal(frame->width, f.request.tools.width);
    assert_int_equal(frame->height, f.request.tools.height);
    for (int y = 0; y < frame->height; y++) {
        for (int x = 0; x < frame->width; x++) {
            double d = (double)luma_at((uint32_t)x, (uint32_t)y) -
                       frame->data[0][y * frame->linesize[0] + x];

            error += d * d;
        }
    }
    f.psnr = psnr_of(error, (double)frame->width * frame->height);
}

static void measure_qp(void)
{
    const AVFrameSideData *data = av_frame_get_side_data(f.frame, AV_FRAME_DATA_VIDEO_ENC_PARAMS);
    const AVVideoEncParams *params;
    double in = 0, out = 0;
    int count_in = 0, count_out = 0;

    f.qp = -1;
    if (!data)
        return;
    params = (const void *)data->data;
    for (unsigned i = 0; i < params->nb_blocks; i++) {
        const AVVideoBlockParams *block = av_video_enc_params_block((void *)data->data, i);
        double qp = params->qp + block->delta_qp;

        if (block->src_x < f.frame->width / 2 && block->src_y < f.frame->height / 2) {
            in += qp;
            count_in++;
        } else {
            out += qp;
            count_out++;
        }
    }
    if (!params->nb_blocks) {
        f.qp = params->qp;
        return;
    }
    f.qp = (in + out) / params->nb_blocks;
    f.qp_in = count_in ? in / count_in : -1;
    f.qp_out = count_out ? out / count_out : -1;
}

/* What was encoded last, through the decoder. */
static void decode(void)
{
    int err;

    assert_int_equal(av_new_packet(f.packet, (int)f.size), 0);
    memcpy(f.packet->data, f.room, f.size);
    assert_int_equal(avcodec_send_packet(f.decoder, f.packet), 0);
    av_packet_unref(f.packet);
    err = avcodec_receive_frame(f.decoder, f.frame);
    if (err == AVERROR(EAGAIN)) {
        /* A decoder that waits for another picture. */
        avcodec_send_packet(f.decoder, NULL);
        err = avcodec_receive_frame(f.decoder, f.frame);
        avcodec_flush_buffers(f.decoder);
    }
    assert_int_equal(err, 0);
    f.key = f.frame->pict_type == AV_PICTURE_TYPE_I;
    measure_qp();
}

static int encode(enum encode_type type)
{
    struct encode_output output = {.bytes = f.room, .room = ROOM};
    int err;

    f.number++;
    if (f.pixels.format->rt_format == VA_RT_FORMAT_YUV420)
        draw_8();
    f.request.type = type;
    err = encoder_run(f.encoder, &f.request, &f.pixels, &output);
    f.size = output.size;
    return err;
}

static void step(enum encode_type type)
{
    assert_int_equal(encode(type), 0);
    assert_in_range(f.size, 1, ROOM);
    decode();
    measure();
}

static void skipped(const char *name)
{
    print_message("no encoder of %s in this libavcodec\n", name);
}

#define FOR_KINDS(kind) for (const struct kind *kind = kinds; kind < kinds + COUNT(kinds); kind++)

static const char *name_of(const struct kind *kind)
{
    return codecs_profile_name((int)kind->profile);
}

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
        live = encoder_list_find(kind->codec, 8, NULL, NULL)->flags & ENCODER_LIVE_QP;
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
    live = encoder_list_find(kind->codec, 8, NULL, NULL)->flags & ENCODER_LIVE_RATE;
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
                if (!(encoder_list_find(kind->codec, 8, NULL, NULL)->rates & modes[m])) {
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
        if (!encoder_list_find(ten[i].codec, 10, NULL, NULL) ||
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

        assert_non_null(encoder_name(codecs_of_profile((int)cap->profile), NULL));
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
        enum vd_codec codec = codecs_of_profile((int)caps[i].profile);

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
        cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_cqp),
        cmocka_unit_test(test_two_qps),     cmocka_unit_test(test_cbr),
        cmocka_unit_test(test_vbr),         cmocka_unit_test(test_quality),
        cmocka_unit_test(test_regions),     cmocka_unit_test(test_regions_anywhere),
        cmocka_unit_test(test_no_room),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_input),       cmocka_unit_test(test_odd_size),
        cmocka_unit_test(test_rgb),         cmocka_unit_test(test_ten_bits),
        cmocka_unit_test(test_changes),     cmocka_unit_test(test_slices_and_refresh),
        cmocka_unit_test(test_hostile),     cmocka_unit_test(test_hevc_tools),
        cmocka_unit_test(test_jpeg),        cmocka_unit_test(test_caps),
        cmocka_unit_test(test_entrypoints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
