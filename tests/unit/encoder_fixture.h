/* SPDX-License-Identifier: MIT */
#ifndef ENCODER_FIXTURE_H
#define ENCODER_FIXTURE_H

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
    uint32_t fade; /* how much darker each picture is than the one before, of 256 */
    int told_qp;   /* by the encoder */
    bool told_key;
} f;

static inline int pass(void *state, const struct encode_request *request,
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

static inline void surface(uint32_t fourcc, uint32_t width, uint32_t height)
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

static inline void start_decoder(const struct kind *kind, uint32_t mode, uint32_t fourcc)
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

static inline bool start(const struct kind *kind, uint32_t mode, uint32_t fourcc)
{
    if (!encoder_list_find(kind->codec, 8, 1, NULL, NULL))
        return false;
    start_decoder(kind, mode, fourcc);
    f.codec = (struct encode_codec){.codec = kind->codec, .write = pass};
    assert_int_equal(encoder_create(&f.codec, NULL, 1, &f.encoder), 0);
    return true;
}

static inline void stop(void)
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
static inline uint8_t luma_at(uint32_t x, uint32_t y)
{
    uint32_t u = x + 3 * f.number, v = y + f.number;
    uint32_t noise = (u / 2 * 2654435761u ^ v / 2 * 2246822519u) >> 27;
    uint32_t flicker = (x * 2654435761u ^ y * 2246822519u ^ f.number * 3266489917u) >> 30;

    return (uint8_t)((60 + 40 * ((u / 32 ^ v / 32) & 1) + (u + 2 * v) % 64 + noise / 2 + flicker) *
                     (256 - f.fade * f.number) / 256);
}

static inline void draw_8(void)
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

static inline double psnr_of(double error, double samples)
{
    return error > 0 ? 10 * log10(255.0 * 255.0 * samples / error) : 99;
}

/* Of 8 bits, against what draw_8 drew. */
static inline void measure(void)
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

static inline void measure_qp(void)
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
static inline void decode(void)
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

static inline int encode(enum encode_type type)
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

static inline void step(enum encode_type type)
{
    assert_int_equal(encode(type), 0);
    assert_in_range(f.size, 1, ROOM);
    decode();
    measure();
}

static inline void skipped(const char *name)
{
    print_message("no encoder of %s in this libavcodec\n", name);
}

#define FOR_KINDS(kind) for (const struct kind *kind = kinds; kind < kinds + COUNT(kinds); kind++)

static inline const char *name_of(const struct kind *kind)
{
    return codecs_profile_name((int)kind->profile);
}

#endif
