/* SPDX-License-Identifier: MIT */
#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <stdio.h>

#include "encode/h264_nal.h"
#include "h264_app.h"

/*
 * Pictures encoded by libx264 and put under an app's headers decode to the very same pixels as
 * what libx264 wrote.
 */

#define PICTURES   16
#define MOST_BYTES (4u << 20)
#define USUAL                                                                                  \
    "scenecut=0:weightp=0:ref=1:bframes=0:deblock=0,0:keyint=infinite:sliced-threads=0:psy=0:" \
    "threads=1:annexb=1:aq-mode=0:mbtree=0"

struct stream {
    uint8_t bytes[MOST_BYTES];
    size_t size;
    size_t end[PICTURES]; /* of each access unit */
    unsigned count;
};

static struct stream theirs, ours;

/* --- libavcodec */

static AVCodecContext *open_encoder(const struct app_config *c, const struct encode_tools *tools)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    AVCodecContext *avctx = codec ? avcodec_alloc_context3(codec) : NULL;
    char params[1024];

    if (!avctx)
        return NULL;
    avctx->width = (int)tools->width;
    avctx->height = (int)tools->height;
    avctx->pix_fmt = c->extra_depth ? AV_PIX_FMT_YUV420P10 : AV_PIX_FMT_YUV420P;
    avctx->time_base = (AVRational){1, 25};
    avctx->max_b_frames = 0;
    avctx->gop_size = -1;
    snprintf(params, sizeof(params), "%s:cabac=%d:8x8dct=%d:slices=%u:chroma-qp-offset=%d%s%s",
             USUAL, tools->h264.cabac, tools->h264.transform_8x8, tools->slices,
             tools->h264.cb_qp_offset, c->x264 ? ":" : "", c->x264 ? c->x264 : "");
    av_opt_set(avctx->priv_data, "preset", "veryfast", 0);
    av_opt_set(avctx->priv_data, "tune", "zerolatency", 0);
    av_opt_set(avctx->priv_data, "forced-idr", "1", 0);
    av_opt_set_int(avctx->priv_data, "qp", c->qp, 0);
    av_opt_set(avctx->priv_data, "x264-params", params, 0);
    /* Not every libx264 has ten bits. */
    if (avcodec_open2(avctx, codec, NULL)) {
        assert_true(c->extra_depth);
        avcodec_free_context(&avctx);
    }
    return avctx;
}

/* Something that moves, with noise: all kinds of macroblocks, and zeros to be escaped. */
static void draw(AVFrame *frame, unsigned n)
{
    uint64_t seed = n;

    for (int plane = 0; plane < 3; plane++) {
        int shift = plane ? 1 : 0;

        for (int y = 0; y < (frame->height + shift) >> shift; y++) {
            uint8_t *row = frame->data[plane] + y * frame->linesize[plane];

            for (int x = 0; x < (frame->width + shift) >> shift; x++) {
                int value =
                    (x + (int)n * 3) * 5 + y * (plane + 2) + ((x + (int)n) / 16 ^ y / 8) * 9;

                if (y % 48 > 24)
                    value += (int)(check_random(&seed) & 31);
                if (frame->format == AV_PIX_FMT_YUV420P10)
                    ((uint16_t *)(void *)row)[x] = (uint16_t)(value & 1023);
                else
                    row[x] = (uint8_t)value;
            }
        }
    }
}

/* One picture in, its packet out. */
static void encode(AVCodecContext *avctx, unsigned n, bool key, AVPacket *packet)
{
    AVFrame *frame = av_frame_alloc();

    assert_non_null(frame);
    frame->format = avctx->pix_fmt;
    frame->width = avctx->width;
    frame->height = avctx->height;
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    draw(frame, n);
    frame->pts = n;
    frame->pict_type = key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    assert_int_equal(avcodec_send_frame(avctx, frame), 0);
    assert_int_equal(avcodec_receive_packet(avctx, packet), 0);
    av_frame_free(&frame);
}

/* A hash of each picture, in the order they come. */
static unsigned decode(const struct stream *stream, uint64_t *ret_hashes)
{
    AVCodecContext *avctx = avcodec_alloc_context3(avcodec_find_decoder(AV_CODEC_ID_H264));
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    unsigned count = 0;

    assert_true(avctx && packet && frame);
    avctx->err_recognition = AV_EF_EXPLODE | AV_EF_BITSTREAM | AV_EF_BUFFER;
    avctx->thread_count = 1;
    assert_int_equal(avcodec_open2(avctx, avctx->codec, NULL), 0);
    for (unsigned i = 0; i <= stream->count; i++) {
        size_t begin = i && i < stream->count ? stream->end[i - 1] : 0;

        if (i < stream->count) {
            assert_int_equal(av_new_packet(packet, (int)(stream->end[i] - begin)), 0);
            memcpy(packet->data, stream->bytes + begin, stream->end[i] - begin);
        }
        assert_int_equal(avcodec_send_packet(avctx, i < stream->count ? packet : NULL), 0);
        av_packet_unref(packet);
        while (avcodec_receive_frame(avctx, frame) == 0) {
            uint64_t hash = 14695981039346656037u;
            int bytes = frame->format == AV_PIX_FMT_YUV420P10 ? 2 : 1;

            assert_int_equal(frame->decode_error_flags, 0);
            assert_int_equal(frame->flags & AV_FRAME_FLAG_CORRUPT, 0);
            for (int plane = 0; plane < 3; plane++) {
                int shift = plane ? 1 : 0;

                for (int y = 0; y < (frame->height + shift) >> shift; y++) {
                    for (int x = 0; x < ((frame->width + shift) >> shift) * bytes; x++) {
                        hash ^= frame->data[plane][y * frame->linesize[plane] + x];
                        hash *= 1099511628211u;
                    }
                }
            }
            assert_in_range(count, 0, PICTURES - 1);
            ret_hashes[count++] = hash;
            av_frame_unref(frame);
        }
    }
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&avctx);
    return count;
}

/* --- what the output has to be */

static void check_unit(const struct app_config *c, const uint8_t *data, size_t size, bool idr,
                       bool last, bool *spare)
{
    struct h264_nals nals = {.data = data, .size = size, .escaped = true};
    struct h264_nal nal;
    unsigned sps = 0, pps = 0, sei = 0, slices = 0, aud = 0, end = 0, count = 0;

    while (h264_nal_next(&nals, &nal)) {
        unsigned type = h264_nal_type(&nal);

        assert_memory_equal(nal.data - 4, "\0\0\0\1", 4);
        assert_true(type == 9 || count || !c->aud);
        aud += type == 9;
        sps += type == 7;
        pps += type == 8;
        sei += type == 6;
        slices += type == 1 || type == 5;
        if (type == 7 || type == 8)
            assert_int_equal(slices + sei, 0);
        if (type == 8 && idr)
            assert_true(sps);
        end += type == 11;
        if (type == 6)
            assert_int_equal(slices, 0);
        if (type == 1 || type == 5)
            assert_int_equal(type == 5, idr);
        count++;
    }
    assert_int_equal(aud, c->aud);
    assert_int_equal(sei, c->sei && c->style != APP_NO_HEADERS);
    if (c->style == APP_NO_HEADERS || c->style == APP_ONLY_PPS)
        assert_true(sps || !idr);
    else
        assert_int_equal(sps, idr);

    assert_true(slices >= 1);
    assert_int_equal(end, last);
    *spare |= pps > 1;
}

static void run(const struct app_config *config)
{
    static uint64_t hashes[2][PICTURES];
    static struct app app;
    void *read_state = calloc(1, encode_h264.read_state_size);
    void *write_state = calloc(1, encode_h264.write_state_size);
    struct encode_request *request = malloc(sizeof(*request));
    AVPacket *packet = av_packet_alloc();
    AVCodecContext *avctx = NULL;
    bool spare = false;

    assert_true(read_state && write_state && request && packet);
    theirs.size = ours.size = 0;
    theirs.count = ours.count = 0;
    app_start(&app, config);
    for (unsigned n = 0; n < PICTURES; n++) {
        struct encode_output output = {.bytes = ours.bytes + ours.size,
                                       .room = sizeof(ours.bytes) - ours.size};
        struct encode_packet coded = {0};
        int err;

        memset(request, 0, sizeof(*request));
        app.pic.last_picture = app.c.end && n == PICTURES - 1 ? H264_LAST_PICTURE_EOSTREAM : 0;
        assert_int_equal(encode_h264.read(read_state, app_next(&app), request), 0);
        assert_int_equal(request->tools.width, app.c.width);
        assert_int_equal(request->tools.height, app.c.height);
        assert_int_equal(request->tools.slices, app.c.slices);
        assert_int_equal(request->tools.h264.cabac, app.c.cabac);
        assert_int_equal(request->qp, app.c.qp);
        avctx = avctx ? avctx : open_encoder(&app.c, &request->tools);
        if (!avctx && app.c.extra_depth)
            goto out;
        if (!avctx)
            skip();
        encode(avctx, n, request->type != ENCODE_P, packet);
        assert_true(theirs.size + (size_t)packet->size <= sizeof(theirs.bytes));
        memcpy(theirs.bytes + theirs.size, packet->data, (size_t)packet->size);
        theirs.end[theirs.count++] = theirs.size += (size_t)packet->size;
        coded.data = check_exact(packet->data, (size_t)packet->size);
        coded.size = (size_t)packet->size;
        err = encode_h264.write(write_state, request, &coded, &output);
        free((void *)(uintptr_t)coded.data);
        av_packet_unref(packet);
        if (err && config->fails) {
            assert_int_equal(err, VD_ERR_DECODE);
            assert_int_equal(output.size, 0);
            goto out;
        }
        assert_int_equal(err, 0);
        assert_true(output.size <= output.room);
        check_unit(&app.c, output.bytes, output.size, app.pic.pic_fields.bits.idr_pic_flag,
                   app.pic.last_picture, &spare);
        ours.end[ours.count++] = ours.size += output.size;
    }
    assert_false(config->fails);
    assert_int_equal(decode(&theirs, hashes[0]), PICTURES);
    assert_int_equal(decode(&ours, hashes[1]), PICTURES);
    assert_memory_equal(hashes[0], hashes[1], sizeof(hashes[0]));
    assert_int_equal(spare, app.c.spare);
out:
    avcodec_free_context(&avctx);
    av_packet_free(&packet);
    free(request);
    free(write_state);
    free(read_state);
}

#define HIGH .idc = 100, .cabac = true, .transform_8x8 = true
#define MAIN .idc = 77, .cabac = true

static const struct app_config configs[] = {
    {.name = "high", HIGH, .qp = 26},
    {.name = "main", MAIN, .qp = 26},
    {.name = "baseline", .idc = 66, .qp = 26},
    {.name = "high, CAVLC", .idc = 100, .transform_8x8 = true, .qp = 26},
    {.name = "four slices", HIGH, .qp = 30, .slices = 4},
    {.name = "four slices, CAVLC", .idc = 66, .qp = 30, .slices = 4},
    {.name = "low QP, filter off", HIGH, .qp = 8, .init_qp = 8},
    {.name = "low QP, filter control", HIGH, .qp = 8, .deblocking_control = true},
    {.name = "low QP, CAVLC", .idc = 66, .qp = 2, .init_qp = 40},
    {.name = "high QP", HIGH, .qp = 48, .init_qp = 1},
    {.name = "high QP, CAVLC", .idc = 66, .qp = 51, .init_qp = 51},
    {.name = "intra refresh", HIGH, .x264 = "intra-refresh=1:keyint=8", .qp = 28},
    {.name = "IDR period", HIGH, .qp = 26, .idr_period = 7},
    {.name = "I pictures", HIGH, .qp = 26, .idr_period = 12, .i_period = 5},
    {.name = "I pictures, CAVLC", .idc = 66, .qp = 26, .i_period = 5, .ref_frames = 2},
    {.name = "odd size", HIGH, .qp = 26, .width = 178, .height = 146},
    {.name = "odd size, CAVLC", .idc = 66, .qp = 26, .width = 190, .height = 130},
    {.name = "POC type 2", HIGH, .qp = 26, .poc_type = 2},
    {.name = "long numbers", HIGH, .qp = 26, .log2_frame_num = 16, .log2_poc = 16},
    {.name = "POC type 2, baseline", .idc = 66, .qp = 26, .poc_type = 2, .log2_frame_num = 7},
    {.name = "GStreamer", HIGH, .qp = 26, .style = APP_GSTREAMER, .aud = true, .sei = true},
    {.name = "GStreamer, CAVLC", .idc = 66, .qp = 26, .style = APP_GSTREAMER, .slices = 2},
    {.name = "delimiters and SEI", HIGH, .qp = 26, .aud = true, .sei = true, .idr_period = 9},
    {.name = "delimiters, long-term",
     HIGH,
     .qp = 26,
     .aud = true,
     .ref_frames = 2,
     .list_size = 2,
     .long_term = 4,
     .end = true},
    {.name = "no slice headers", HIGH, .qp = 26, .style = APP_NO_SLICE_HEADERS},
    {.name = "no headers", HIGH, .qp = 26, .style = APP_NO_HEADERS, .idr_period = 9},
    {.name = "no headers, main", MAIN, .qp = 12, .style = APP_NO_HEADERS, .poc_type = 2},
    {.name = "no headers, baseline",
     .idc = 66,
     .qp = 26,
     .style = APP_NO_HEADERS,
     .slices = 2,
     .width = 200,
     .height = 104},
    {.name = "only an SPS", HIGH, .qp = 26, .style = APP_ONLY_SPS, .idr_period = 9, .i_period = 4},
    {.name = "only a PPS", HIGH, .qp = 26, .style = APP_ONLY_PPS, .idr_period = 9, .i_period = 4},
    {.name = "ten bits",
     .idc = 110,
     .cabac = true,
     .transform_8x8 = true,
     .extra_depth = 2,
     .qp = 30},
    {.name = "ten bits, no headers",
     .idc = 110,
     .extra_depth = 2,
     .qp = 30,
     .style = APP_NO_HEADERS,
     .slices = 2},
    {.name = "two references in the app", HIGH, .qp = 26, .ref_frames = 2, .list_size = 2},
    {.name = "four references in the app", HIGH, .qp = 26, .ref_frames = 4, .list_size = 1},
    {.name = "references of the encoder",
     HIGH,
     .x264 = "ref=3",
     .qp = 26,
     .ref_frames = 4,
     .list_size = 4},
    {.name = "references that the app has not", HIGH, .x264 = "ref=3", .qp = 26, .fails = true},
    {.name = "long-term", HIGH, .qp = 26, .ref_frames = 2, .list_size = 2, .long_term = 4},
    {.name = "long-term, CAVLC",
     .idc = 66,
     .qp = 26,
     .ref_frames = 2,
     .list_size = 2,
     .long_term = 3,
     .slices = 2},
    {.name = "not all are references", HIGH, .qp = 26, .skip_every = 3},
    {.name = "weights in the app", MAIN, .qp = 26, .weighted = true},
    {.name = "weights in both", MAIN, .x264 = "weightp=1", .qp = 26, .weighted = true},
    {.name = "chroma offset", HIGH, .qp = 26, .cb_offset = -3, .cr_offset = -3},
    /* What the app's PPS cannot say. */
    {.name = "extra: psychovisual", HIGH, .x264 = "psy=1:subme=7", .qp = 26, .spare = true},
    {.name = "extra: one more offset",
     HIGH,
     .qp = 26,
     .cb_offset = 2,
     .cr_offset = 4,
     .spare = true},
    {.name = "extra: weights",
     HIGH,
     .x264 = "weightp=2",
     .qp = 26,
     .ref_frames = 4,
     .list_size = 4,
     .spare = true},
    {.name = "extra: weights, CAVLC",
     .idc = 77,
     .x264 = "weightp=1",
     .qp = 26,
     .ref_frames = 2,
     .spare = true},
    {.name = "extra: filter", MAIN, .x264 = "deblock=2,-1", .qp = 26, .spare = true},
    {.name = "extra: no filter",
     MAIN,
     .x264 = "no-deblock=1",
     .qp = 26,
     .spare = true,
     .idr_period = 7},
    {.name = "extra: filter within slices",
     HIGH,
     .x264 = "sliced-threads=1:threads=2",
     .slices = 2,
     .qp = 26,
     .spare = true},
    {.name = "filter within slices",
     HIGH,
     .x264 = "sliced-threads=1:threads=2",
     .slices = 2,
     .qp = 26,
     .deblocking_control = true},
    {.name = "extra: 8x8", HIGH, .x264 = "8x8dct=0", .qp = 26, .spare = true},
    {.name = "extra: entropy", HIGH, .x264 = "cabac=0", .qp = 26, .spare = true},
    {.name = "extra: scaling", HIGH, .qp = 26, .scaling = true, .spare = true},
    {.name = "extra: constrained intra", HIGH, .qp = 26, .constrained_intra = true, .spare = true},
    {.name = "extra: GStreamer",
     HIGH,
     .x264 = "psy=1:subme=7:deblock=1,1",
     .qp = 26,
     .spare = true,
     .style = APP_GSTREAMER,
     .i_period = 5},
    /* What the profile cannot. */
    {.name = "refused: CABAC", .idc = 66, .x264 = "cabac=1", .qp = 26, .fails = true},
    {.name = "refused: 8x8", MAIN, .x264 = "8x8dct=1", .qp = 26, .fails = true},
    {.name = "refused: lists", HIGH, .x264 = "cqm=jvt", .qp = 26, .fails = true},
};

static void test_streams(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(configs); i++) {
        print_message("%s\n", configs[i].name);
        run(&configs[i]);
    }
}

/* --- without an encoder */

static int read_once(const struct app_config *config, void (*change)(struct app *),
                     struct encode_request *ret_request)
{
    static struct app app;
    void *state = calloc(1, encode_h264.read_state_size);
    int err;

    assert_non_null(state);
    memset(ret_request, 0, sizeof(*ret_request));
    app_start(&app, config);
    app_next(&app);
    if (change)
        change(&app);
    err = encode_h264.read(state, &app.picture, ret_request);
    free(state);
    return err;
}

static void make_b(struct app *app)
{
    app->slice[0].slice_type = 6;
}

static void take_sequence(struct app *app)
{
    app->picture.param[ENCODE_PARAM_SEQUENCE] = NULL;
}

static void take_picture(struct app *app)
{
    app->picture.param[ENCODE_PARAM_PICTURE] = NULL;
}

static void take_slices(struct app *app)
{
    app->picture.slice_count = 0;
}

static void interlace(struct app *app)
{
    app->seq.seq_fields.bits.frame_mbs_only_flag = 0;
}

static void shrink_surface(struct app *app)
{
    app->picture.surface_width = 160;
}

static void trim_surface(struct app *app)
{
    app->picture.surface_width = 170;
}

static void test_refusals(void **state)
{
    static const struct app_config packed = {HIGH, .qp = 30},
                                   bare = {HIGH, .qp = 30, .style = APP_NO_HEADERS};
    static const struct {
        const struct app_config *config;
        void (*change)(struct app *);
        int err;
    } rows[] = {
        {&packed, NULL, 0},
        {&packed, take_sequence, 0},
        {&bare, NULL, 0},
        {&packed, make_b, VD_ERR_UNSUPPORTED},
        {&bare, take_sequence, VD_ERR_PARAMETER},
        {&bare, take_picture, VD_ERR_PARAMETER},
        {&bare, take_slices, VD_ERR_PARAMETER},
        {&bare, interlace, VD_ERR_UNSUPPORTED},
        {&packed, shrink_surface, VD_ERR_RESOLUTION},
        {&packed, trim_surface, 0},
    };
    static struct encode_request request;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(read_once(rows[i].config, rows[i].change, &request), rows[i].err);
    assert_int_equal(request.tools.width, 170);
    assert_int_equal(request.tools.height, 144);
}

/* What the encoder cannot refer to becomes an I picture. */
static void test_other_reference(void **state)
{
    static const struct app_config config = {HIGH, .qp = 30, .ref_frames = 2, .list_size = 1};
    static struct encode_request request;
    static struct app app;
    void *read_state = calloc(1, encode_h264.read_state_size);

    (void)state;
    assert_non_null(read_state);
    app_start(&app, &config);
    for (unsigned n = 0; n < 6; n++) {
        memset(&request, 0, sizeof(request));
        app_next(&app);
        if (n == 3)
            app.slice[0].RefPicList0[0].picture_id = 100; /* the first one */
        assert_int_equal(encode_h264.read(read_state, &app.picture, &request), 0);
        assert_int_equal(request.type, n == 0 ? ENCODE_IDR : n == 3 ? ENCODE_I : ENCODE_P);
        assert_true(request.reference);
        assert_int_equal(request.qp, 30);
    }
    free(read_state);
}

static void test_attributes(void **state)
{
    uint32_t types[16], values[16];

    (void)state;
    assert_int_equal(encode_h264.attributes(VAProfileH264High, types, values, 16), 5);
    assert_int_equal(types[0], VAConfigAttribEncPackedHeaders);
    assert_int_equal(values[0], 0x1f);
    assert_int_equal(encode_h264.attributes(VAProfileH264High, types, values, 2), 2);
    assert_ptr_equal(encode_codec_find(VD_CODEC_H264), &encode_h264);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_other_reference),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_streams),
    };

    av_log_set_level(AV_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
