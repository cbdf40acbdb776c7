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

#define WIDTH    320
#define HEIGHT   240
#define ROOM     (4u << 20)
#define FRAME_HZ 30

static int pass(void *state, const struct encode_request *request,
                const struct encode_packet *packet, struct encode_output *output)
{
    (void)state;
    (void)request;
    encode_put(output, packet->data, packet->size);
    return 0;
}

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
} f;

struct kind {
    enum vd_codec codec;
    uint32_t profile;
    enum AVCodecID id;
    uint32_t qp; /* a middling one */
    double psnr; /* that it must reach there */
};

static const struct kind kinds[] = {
    {VD_CODEC_H264, VAProfileH264High, AV_CODEC_ID_H264, 26, 36},
    {VD_CODEC_HEVC, VAProfileHEVCMain, AV_CODEC_ID_HEVC, 26, 36},
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

static bool start(const struct kind *kind, uint32_t mode, uint32_t fourcc)
{
    memset(&f, 0, sizeof(f));
    if (!encoder_list_find(kind->codec, 8, NULL))
        return false;
    f.codec = (struct encode_codec){.codec = kind->codec, .write = pass};
    assert_int_equal(encoder_create(&f.codec, 1, &f.encoder), 0);
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

    return (uint8_t)(60 + 40 * ((u / 32 ^ v / 32) & 1) + (u + 2 * v) % 64 + noise / 2);
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
    if (f.pixels.format->sample_bytes == 1 && f.pixels.format->planes > 1)
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
        for (int i = 0; i < 30; i++) {
            bool want = i == 0 || i == 17;

            step(want ? ENCODE_IDR : ENCODE_P);
            if (getenv("SHOW"))
                print_message("%s %d: size %zu key %d qp %.2f psnr %.2f\n", name_of(kind), i,
                              f.size, f.key, f.qp, f.psnr);
            assert_int_equal(f.key, want);
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
        {ENCODE_IDR, 1},  {ENCODE_P, 1},   {ENCODE_P, 1.3}, {ENCODE_P, 1.3}, {ENCODE_P, 0.8},
        {ENCODE_IDR, 1},  {ENCODE_P, 1.2}, {ENCODE_P, 1.2}, {ENCODE_I, 0.9}, {ENCODE_P, 0.9},
        {ENCODE_IDR, 0.9}, {ENCODE_IDR, 1.4},
    };

    (void)state;
    FOR_KINDS(kind)
    {
        if (!start(kind, VA_RC_CQP, VA_FOURCC_NV12))
            continue;
        for (size_t i = 0; i < COUNT(pictures); i++) {
            f.request.qp = (uint32_t)(kind->qp * pictures[i].scale);
            step(pictures[i].type);
            if (getenv("SHOW"))
                print_message("%s %zu: want %u got %.2f key %d size %zu\n", name_of(kind), i, f.request.qp, f.qp, f.key, f.size);
        }
        stop();
    }
}

static double run_rate(const struct kind *kind, uint32_t mode, uint32_t target, uint32_t seconds, uint32_t *ret_worst)
{
    double bytes = 0;

    f.request.rate.bits_per_second = target;
    f.request.rate.peak = mode == VA_RC_VBR ? 2 * target : target;
    *ret_worst = 0;
    for (uint32_t i = 0; i < seconds * FRAME_HZ; i++) {
        assert_int_equal(encode(f.number ? ENCODE_P : ENCODE_IDR), 0);
        bytes += (double)f.size;
        if (getenv("SHOW")) {
            static double per;

            per += (double)f.size;
            if (i % FRAME_HZ == FRAME_HZ - 1) {
                print_message("sec %u: %.0f kb/s\n", i / FRAME_HZ, per * 8 / 1000);
                per = 0;
            }
        }
        *ret_worst = f.size > *ret_worst ? (uint32_t)f.size : *ret_worst;
    }
    (void)kind;
    return bytes * 8 / seconds / target;
}

static void test_rate(void **state)
{
    (void)state;
    FOR_KINDS(kind)
    {
        if (getenv("ONLY") && atoi(getenv("ONLY")) != (int)kind->codec) continue;
        for (int m = 0; m < 2; m++) {
            uint32_t mode = m ? VA_RC_VBR : VA_RC_CBR, worst;
            double first, half, more;

            if (!start(kind, mode, VA_FOURCC_NV12))
                continue;
            first = run_rate(kind, mode, 400000, 10, &worst);
            half = run_rate(kind, mode, 200000, 6, &worst);
            more = run_rate(kind, mode, 600000, 6, &worst);
            if (getenv("SHOW"))
                print_message("%s mode %d: %.3f %.3f %.3f\n", name_of(kind), m, first, half, more);
            stop();
        }
    }
}

int main(void)
{
    if (getenv("T")) cmocka_set_test_filter(getenv("T"));

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_cqp),
        cmocka_unit_test(test_rate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
