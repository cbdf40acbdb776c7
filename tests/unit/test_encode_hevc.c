/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <stdio.h>

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <viaduct/errors.h>

#include "encode/hevc_attributes.h"
#include "encode/hevc_unit.h"
#include "hevc_app.h"

/*
 * Slices of libx265 under parameter sets that an app made: what is written decodes, bit by bit, to
 * what the encoder's own packets do.
 */

#define PICTURES 8
#define OUTPUT   (1 << 20)

static const AVCodec *encoder;

/* x265 does not free all of what it parses. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libx265";
}

struct test {
    const char *name;
    struct app_config app;
    const char *more;  /* for x265, after what follows from the request */
    int bitrate;       /* 0: constant quantiser */
    unsigned i_at;     /* a picture that is I, but no IDR picture */
    unsigned split_at; /* the picture before ends a sequence, but this one is P in the app's mind */
    unsigned idr_at;   /* another IDR picture */
    unsigned own_idr_at; /* the encoder makes an IDR picture, and the app expects P */
    unsigned not_idr_at; /* the other way round */
    unsigned lost_at;    /* a picture of the encoder that is not written */
    unsigned lost;       /* pictures that are missing for that reason */
    bool cra;
    bool end;      /* the app says which picture is the last */
    bool no_idr;   /* the encoder's I pictures are no IDR pictures */
    int expect;    /* of `write`, for some picture */
    bool extra;    /* a second PPS is sent */
    bool late_pps; /* by a P picture only */
    bool fade;
};

/* What a test says nothing of. */
static struct app_config complete(struct app_config app)
{
    app.width = app.width ? app.width : 192;
    app.height = app.height ? app.height : 128;
    app.depth = app.depth ? app.depth : 8;
    app.chroma = app.chroma ? app.chroma : 1;
    app.log2_ctb = app.log2_ctb ? app.log2_ctb : 5;
    app.log2_min_cb = app.log2_min_cb ? app.log2_min_cb : 3;
    app.log2_max_tb = app.log2_max_tb ? app.log2_max_tb : 5;
    app.slices = app.slices ? app.slices : 1;
    app.dpb = app.dpb ? app.dpb : 1;
    app.init_qp = app.init_qp ? app.init_qp : 26;
    app.poc_step = app.still ? 0 : app.poc_step ? app.poc_step : 1;
    return app;
}

/* What the encoder is told, from the request alone. */
static void x265_options(const struct test *test, const struct encode_request *r, char *text,
                         size_t room)
{
    const struct encode_tools *t = &r->tools;

    snprintf(text, room,
             "log-level=none:info=0:ctu=%u:min-cu-size=%u:max-tu-size=%u:tu-inter-depth=%u:"
             "tu-intra-depth=%u:amp=%d:rect=%d:sao=%d:strong-intra-smoothing=%d:signhide=%d:"
             "tskip=%d:temporal-mvp=0:wpp=%d:pools=%s:frame-threads=1:bframes=0:ref=1:open-gop=0:"
             "keyint=-1:scenecut=0:weightp=0:repeat-headers=1:rc-lookahead=0:cutree=0:aq-mode=%d:"
             "aq-strength=1:ipratio=1:qg-size=%u:slices=%u:cbqpoffs=%d:crqpoffs=%d%s%s%s",
             1u << t->hevc.log2_ctb, 1u << t->hevc.log2_min_cb, 1u << t->hevc.log2_max_tb,
             t->hevc.depth_inter + 1u, t->hevc.depth_intra + 1u, t->hevc.amp, t->hevc.amp,
             t->hevc.sao, t->hevc.strong_intra, t->hevc.sign_hiding, t->hevc.transform_skip,
             t->slices > 1, t->slices > 1 ? "2" : "none", t->hevc.cu_qp_delta ? 1 : 0,
             t->hevc.cu_qp_delta ? 1u << (t->hevc.log2_ctb - t->hevc.diff_cu_qp_delta_depth)
                                 : 1u << t->hevc.log2_ctb,
             t->slices, t->hevc.cb_qp_offset, t->hevc.cr_qp_offset,
             t->chroma == 3 ? ":psy-rd=0" : "", test->more ? ":" : "",
             test->more ? test->more : "");
}

static AVCodecContext *open_encoder(const struct test *test, const struct encode_request *r)
{
    static const enum AVPixelFormat formats[3][2] = {
        {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV420P10},
        {AV_PIX_FMT_YUV422P, AV_PIX_FMT_YUV422P10},
        {AV_PIX_FMT_YUV444P, AV_PIX_FMT_YUV444P10},
    };
    AVCodecContext *c = avcodec_alloc_context3(encoder);
    char options[1024], qp[8];

    assert_non_null(c);
    x265_options(test, r, options, sizeof(options));
    c->width = (int)r->tools.width;
    c->height = (int)r->tools.height;
    assert_in_range(r->tools.chroma, 1, 3);
    c->pix_fmt = formats[r->tools.chroma - 1][r->tools.bit_depth == 10];
    c->time_base = (AVRational){1, 30};
    c->bit_rate = test->bitrate;
    c->rc_max_rate = test->bitrate;
    c->rc_buffer_size = test->bitrate;
    snprintf(qp, sizeof(qp), "%u", r->qp);
    av_opt_set(c->priv_data, "preset", "ultrafast", 0);
    av_opt_set(c->priv_data, "tune", "zerolatency", 0);
    av_opt_set(c->priv_data, "forced-idr", test->no_idr ? "0" : "1", 0);
    if (!test->bitrate)
        av_opt_set(c->priv_data, "qp", qp, 0);
    assert_int_equal(av_opt_set(c->priv_data, "x265-params", options, 0), 0);
    assert_int_equal(avcodec_open2(c, encoder, NULL), 0);
    return c;
}

static int plane_side(const AVFrame *frame, int plane, int side, bool width)
{
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(frame->format);
    int shift = !plane ? 0 : width ? format->log2_chroma_w : format->log2_chroma_h;

    return (side + (1 << shift) - 1) >> shift;
}

/* Detail that moves, and some noise. */
static void draw(AVFrame *frame, unsigned number, unsigned depth, bool fade)
{
    uint64_t random = number;

    for (int plane = 0; plane < 3; plane++) {
        int width = plane_side(frame, plane, frame->width, true);
        int height = plane_side(frame, plane, frame->height, false);

        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                int block = ((x + 3 * (int)number) / 24 ^ (y + (int)number) / 20) & 7;
                int value = plane ? 96 + 8 * block + (x + y) / 16
                                  : 30 + 20 * block + (int)(check_random(&random) % 5);

                if (fade)
                    value = value * (10 + (int)number) / 20;
                if (depth == 10)
                    ((uint16_t *)(void *)(frame->data[plane] + y * frame->linesize[plane]))[x] =
                        (uint16_t)(value * 4 + (x & 3));
                else
                    frame->data[plane][y * frame->linesize[plane] + x] = (uint8_t)value;
            }
        }
    }
}

/* Decodes packets one by one; pictures become rows of numbers. */
struct decoding {
    AVCodecContext *context;
    AVFrame *frame;
    AVPacket *packet;
    unsigned count;
    uint64_t sum[PICTURES + 1];
    int width, height;
};

static void decoding_open(struct decoding *d)
{
    memset(d, 0, sizeof(*d));
    d->context = avcodec_alloc_context3(avcodec_find_decoder(AV_CODEC_ID_HEVC));
    d->frame = av_frame_alloc();
    d->packet = av_packet_alloc();
    assert_true(d->context && d->frame && d->packet);
    d->context->thread_count = 1;
    d->context->err_recognition = AV_EF_EXPLODE | AV_EF_BITSTREAM;
    assert_int_equal(avcodec_open2(d->context, NULL, NULL), 0);
}

static void decoding_receive(struct decoding *d)
{
    while (avcodec_receive_frame(d->context, d->frame) == 0) {
        AVFrame *f = d->frame;
        int bytes = f->format == AV_PIX_FMT_YUV420P10 ? 2 : 1;
        uint64_t sum = 14695981039346656037u;

        assert_int_equal(f->decode_error_flags, 0);
        assert_true(d->count < PICTURES);
        for (int plane = 0; plane < 3; plane++) {
            int width = plane_side(f, plane, f->width, true) * bytes;
            int height = plane_side(f, plane, f->height, false);

            for (int y = 0; y < height; y++) {
                for (int x = 0; x < width; x++)
                    sum = (sum ^ f->data[plane][y * f->linesize[plane] + x]) * 1099511628211u;
            }
        }
        d->sum[d->count++] = sum;
        d->width = f->width;
        d->height = f->height;
    }
}

static void decoding_put(struct decoding *d, const uint8_t *data, size_t size)
{
    assert_int_equal(av_new_packet(d->packet, (int)size), 0);
    memcpy(d->packet->data, data, size);
    assert_int_equal(avcodec_send_packet(d->context, d->packet), 0);
    av_packet_unref(d->packet);
    decoding_receive(d);
}

static void decoding_close(struct decoding *d)
{
    assert_int_equal(avcodec_send_packet(d->context, NULL), 0);
    decoding_receive(d);
    av_packet_free(&d->packet);
    av_frame_free(&d->frame);
    avcodec_free_context(&d->context);
}

/* NAL unit types of a byte stream whose start codes have four bytes. */
static size_t units(const uint8_t *data, size_t size, uint8_t *types, size_t room)
{
    size_t count = 0;

    assert_true(size > 4 && !data[0] && !data[1] && !data[2] && data[3] == 1);
    for (size_t i = 0; i + 3 < size; i++) {
        if (data[i] || data[i + 1] || data[i + 2] != 1)
            continue;
        assert_true(i > 0 && data[i - 1] == 0);
        assert_true(count < room);
        types[count++] = data[i + 3] >> 1;
    }
    return count;
}

/* SEI of the app come out as they are, escaped by whoever. */
static void check_sei(const uint8_t *data, size_t size)
{
    uint8_t rbsp[64] = {HEVC_NAL_PREFIX_SEI << 1, 1}, nal[96];
    size_t nal_size;

    memcpy(rbsp + 2, app_sei, sizeof(app_sei));
    assert_int_equal(bits_escape(rbsp, 2 + sizeof(app_sei), nal, sizeof(nal), &nal_size), 0);
    assert_int_equal(nal_size, 2 + sizeof(app_sei) + 1);
    assert_non_null(memmem(data, size, nal, nal_size));
}

static void check_units(const struct test *test, unsigned number, bool key, const uint8_t *data,
                        size_t size, bool *late_pps)
{
    uint8_t types[32];
    size_t count = units(data, size, types, COUNT(types)), at = 0, pps = 0;

    if (test->app.style == APP_GSTREAMER)
        assert_int_equal(types[at++], HEVC_NAL_AUD);
    if (key) {
        assert_int_equal(types[at++], HEVC_NAL_VPS);
        assert_int_equal(types[at++], HEVC_NAL_SPS);
        while (types[at] == HEVC_NAL_PPS)
            at++, pps++;
        assert_int_equal(pps, test->extra ? 2 : 1);
        if (test->app.style != APP_NONE) {
            assert_int_equal(types[at++], HEVC_NAL_PREFIX_SEI);
            assert_int_equal(types[count - 1], HEVC_NAL_SUFFIX_SEI);
            count--;
        }
    } else if (types[at] == HEVC_NAL_PPS) {
        *late_pps = true;
        at++;
    }
    if (key && test->app.style != APP_NONE)
        check_sei(data, size);
    if (test->split_at && number == test->split_at - 1)
        assert_int_equal(types[--count], HEVC_NAL_EOS);
    if (test->end && number == PICTURES - 1) {
        assert_int_equal(types[--count], HEVC_NAL_EOB);
        assert_int_equal(types[--count], HEVC_NAL_EOS);
    }
    assert_true(at < count);
    for (; at < count; at++) {
        assert_int_equal(types[at], key                                  ? HEVC_NAL_IDR_W_RADL
                                    : number == test->i_at && test->cra  ? HEVC_NAL_CRA
                                    : number && number == test->split_at ? HEVC_NAL_CRA
                                                                         : HEVC_NAL_TRAIL_R);
    }
}

/* Everything of one test. */
struct run {
    const struct test *test;
    void *read_state, *write_state;
    struct app app[PICTURES];
    struct encode_request request[PICTURES];
    struct encode_output output;
    struct decoding own, written;
    AVCodecContext *context;
    AVFrame *frame;
    AVPacket *packet;
    unsigned in, out;
    int err;       /* the last one of `write` */
    size_t needed; /* bytes of the packet when it is written */
    bool late_pps;
    unsigned lost;
};

static bool is_key(const struct test *test, unsigned number)
{
    return number == 0 || (test->idr_at && number == test->idr_at);
}

static bool is_intra(const struct test *test, unsigned number)
{
    return is_key(test, number) || (test->i_at && number == test->i_at);
}

/* The app is wrong in what follows the end of its sequence. */
static bool is_split(const struct test *test, unsigned number)
{
    return number && number == test->split_at;
}

static void read_picture(struct run *r)
{
    const struct test *test = r->test;
    bool key = is_key(test, r->in), intra = is_intra(test, r->in);
    struct encode_request *request = &r->request[r->in];
    struct app *app = &r->app[r->in];
    enum hevc_nal nal = key                  ? HEVC_NAL_IDR_W_RADL
                        : intra && test->cra ? HEVC_NAL_CRA
                                             : HEVC_NAL_TRAIL_R;

    if (r->in)
        *app = r->app[r->in - 1];
    else
        app_init(app, &test->app);
    if (test->end && r->in == PICTURES - 1)
        app->pic.last_picture = HEVC_LAST_PICTURE_EOSEQ | HEVC_LAST_PICTURE_EOSTREAM;
    else
        app->pic.last_picture = is_split(test, r->in + 1) ? HEVC_LAST_PICTURE_EOSEQ : 0;
    intra = intra || is_split(test, r->in);
    assert_int_equal(
        encode_hevc.read(r->read_state, app_picture(app, nal, is_intra(test, r->in)), request), 0);
    assert_int_equal(request->type, key ? ENCODE_IDR : intra ? ENCODE_I : ENCODE_P);
    assert_int_equal(request->tools.width, test->app.width);
    assert_int_equal(request->tools.height, test->app.height);
    assert_int_equal(request->tools.bit_depth, test->app.depth);
}

/* Without room nothing is written, and the size tells how much was needed. */
static void check_room(struct run *r, const struct encode_packet *packet)
{
    void *state = check_exact(r->write_state, encode_hevc.write_state_size);
    struct encode_output none = {.bytes = NULL};
    int err = encode_hevc.write(state, &r->request[r->out], packet, &none);

    free(state);
    r->needed = err ? 0 : none.size;
}

static void write_packet(struct run *r)
{
    size_t size = (size_t)r->packet->size;
    struct encode_packet packet = {
        .data = check_exact(r->packet->data, size),
        .size = size,
        .key = r->packet->flags & AV_PKT_FLAG_KEY,
        .qp = -1,
    };
    int err;

    check_room(r, &packet);
    r->output.size = 0;
    if (r->test->lost_at && r->out == r->test->lost_at)
        err = VD_ERR_DECODE;
    else
        err = encode_hevc.write(r->write_state, &r->request[r->out], &packet, &r->output);
    if (err && r->test->lost) {
        r->lost++;
    } else if (err) {
        r->err = err;
    } else if (!r->test->expect) {
        assert_int_equal(r->output.size, r->needed);
        assert_true(r->output.size <= r->output.room);
        check_units(r->test, r->out, is_key(r->test, r->out), r->output.bytes, r->output.size,
                    &r->late_pps);
        decoding_put(&r->own, packet.data, size);
        decoding_put(&r->written, r->output.bytes, r->output.size);
    }
    free((void *)(uintptr_t)packet.data);
    r->out++;
}

static void encode_picture(struct run *r)
{
    AVFrame *frame = r->frame;

    if (!r->context)
        r->context = open_encoder(r->test, &r->request[0]);
    frame->width = r->context->width;
    frame->height = r->context->height;
    frame->format = r->context->pix_fmt;
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    draw(frame, r->in, r->test->app.depth, r->test->fade);
    frame->pts = r->in;
    if (is_intra(r->test, r->in) || is_split(r->test, r->in) ||
        (r->test->own_idr_at && r->in == r->test->own_idr_at))
        frame->pict_type = AV_PICTURE_TYPE_I;
    if (r->test->not_idr_at && r->in == r->test->not_idr_at)
        frame->pict_type = AV_PICTURE_TYPE_NONE;
    assert_int_equal(avcodec_send_frame(r->context, frame), 0);
    av_frame_unref(frame);
}

static void take_packets(struct run *r)
{
    while (avcodec_receive_packet(r->context, r->packet) == 0) {
        assert_true(r->out < PICTURES);
        write_packet(r);
        av_packet_unref(r->packet);
    }
}

static void run(const struct test *test)
{
    struct run *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    r->test = test;
    r->read_state = calloc(1, encode_hevc.read_state_size);
    r->write_state = calloc(1, encode_hevc.write_state_size);
    r->output = (struct encode_output){.bytes = malloc(OUTPUT), .room = OUTPUT};
    r->frame = av_frame_alloc();
    r->packet = av_packet_alloc();
    assert_true(r->read_state && r->write_state && r->output.bytes && r->frame && r->packet);
    decoding_open(&r->own);
    decoding_open(&r->written);
    for (; r->in < PICTURES; r->in++) {
        read_picture(r);
        encode_picture(r);
        take_packets(r);
        /* One in, one out. But x265 holds a picture back if it makes slices. */
        assert_int_equal(r->in + 1 - r->out, test->app.slices > 1 ? 1 : 0);
    }
    assert_int_equal(avcodec_send_frame(r->context, NULL), 0);
    take_packets(r);
    assert_int_equal(r->err, test->expect);
    assert_int_equal(r->late_pps, test->late_pps);
    decoding_close(&r->own);
    decoding_close(&r->written);
    if (!test->expect) {
        assert_int_equal(r->lost, test->lost);
        assert_int_equal(r->own.count, PICTURES - test->lost);
        assert_int_equal(r->written.count, PICTURES - test->lost);
        assert_int_equal(r->written.width, test->app.width);
        assert_int_equal(r->written.height, test->app.height);
        assert_memory_equal(r->own.sum, r->written.sum, sizeof(r->own.sum));
    }
    avcodec_free_context(&r->context);
    av_packet_free(&r->packet);
    av_frame_free(&r->frame);
    free(r->read_state);
    free(r->write_state);
    free(r->output.bytes);
    free(r);
}

static const struct test tests[] = {
    {.name = "plain"},
    {.name = "strong intra smoothing", .app = {.strong = true}},
    {.name = "init_qp", .app = {.init_qp = 40}},
    {.name = "low qp", .app = {.init_qp = 6}},
    {.name = "ctu 16", .app = {.log2_ctb = 4, .log2_max_tb = 4}},
    {.name = "ctu 64", .app = {.log2_ctb = 6}},
    {.name = "ctu 64, min cb 16", .app = {.log2_ctb = 6, .log2_min_cb = 4}},
    {.name = "tu depths", .app = {.inter = 2, .intra = 3}},
    {.name = "max tu 16", .app = {.log2_max_tb = 4}},
    {.name = "sao", .app = {.sao = true}},
    {.name = "sao not used", .app = {.sao = true}, .more = "sao=0"},
    {.name = "amp", .app = {.amp = true}, .more = "rd=3"},
    {.name = "sign hiding", .app = {.sign = true}, .more = "rd=3"},
    {.name = "transform skip", .app = {.tskip = true}, .more = "rd=3"},
    {.name = "10 bits", .app = {.depth = 10, .sao = true, .strong = true}},
    {.name = "4:2:2", .app = {.chroma = 2, .sao = true}},
    {.name = "4:2:2, 10 bits", .app = {.chroma = 2, .depth = 10, .width = 214, .height = 147}},
    {.name = "4:4:4", .app = {.chroma = 3, .sao = true, .strong = true}},
    {.name = "4:4:4, odd size, gstreamer",
     .app = {.style = APP_GSTREAMER, .chroma = 3, .width = 213, .height = 147, .cb = 3},
     .more = "rd=3"},
    {.name = "4:4:4, 10 bits, cbr",
     .app = {.chroma = 3, .depth = 10, .cu_qp_delta = true, .vui = true},
     .bitrate = 400000},
    {.name = "4:4:4, no headers", .app = {.style = APP_NONE, .chroma = 3}},
    {.name = "cbr", .app = {.cu_qp_delta = true, .qp_depth = 2}, .bitrate = 400000},
    {.name = "cbr, depth 0", .app = {.cu_qp_delta = true}, .bitrate = 400000},
    {.name = "cbr, ctu 64",
     .app = {.log2_ctb = 6, .cu_qp_delta = true, .qp_depth = 3},
     .bitrate = 400000},
    {.name = "odd size", .app = {.width = 214, .height = 146}},
    {.name = "odd size, min cb 16", .app = {.width = 214, .height = 146, .log2_min_cb = 4}},
    {.name = "gstreamer", .app = {.style = APP_GSTREAMER, .cu_qp_delta = true}, .bitrate = 300000},
    {.name = "gstreamer-vaapi",
     .app = {.style = APP_GSTREAMER,
             .amp = true,
             .tskip = true,
             .inter = 2,
             .intra = 2,
             .strong = true},
     .more = "rd=3"},
    {.name = "no headers", .app = {.style = APP_NONE}},
    {.name = "no headers, cbr, odd size",
     .app = {.style = APP_NONE, .cu_qp_delta = true, .width = 214, .height = 150},
     .bitrate = 300000},
    {.name = "no pps", .app = {.style = APP_NO_PPS}},
    {.name = "poc by two", .app = {.poc_step = 2}},
    {.name = "poc by many", .app = {.poc_step = 700}},
    {.name = "poc stands still", .app = {.still = true}},
    {.name = "poc backwards", .app = {.poc_step = -3}},
    {.name = "second idr", .idr_at = 4},
    {.name = "i", .i_at = 4},
    {.name = "cra", .i_at = 4, .cra = true},
    {.name = "end of sequence before p", .split_at = 4},
    {.name = "i that is no idr", .i_at = 4, .no_idr = true},
    {.name = "cra that is no idr", .i_at = 4, .cra = true, .no_idr = true},
    {.name = "idr that is i", .idr_at = 4, .no_idr = true},
    {.name = "i and idr, gstreamer", .app = {.style = APP_GSTREAMER}, .i_at = 3, .idr_at = 6},
    {.name = "odd headers", .app = {.odd = true, .sao = true, .tmvp = true}, .i_at = 6},
    {.name = "deblocking", .app = {.deblock_override = true}},
    {.name = "deblocking off", .app = {.deblock_override = true}, .more = "deblock=0"},
    {.name = "weighted", .app = {.weighted = true}},
    {.name = "extra pps", .app = {.cb = 3}, .more = "cbqpoffs=0", .extra = true},
    {.name = "extra pps, gstreamer",
     .app = {.style = APP_GSTREAMER},
     .more = "signhide=1:rd=3",
     .idr_at = 4,
     .extra = true},
    {.name = "extra pps, deblocking", .more = "deblock=2,-2", .extra = true},
    {.name = "weights", .more = "weightp=1", .late_pps = true, .fade = true},
    {.name = "weights wanted", .app = {.weighted = true}, .more = "weightp=1", .fade = true},
    {.name = "wavefront", .more = "pools=2:wpp=1", .extra = true},
    {.name = "slices", .app = {.slices = 4}, .extra = true},
    {.name = "slices, no headers", .app = {.style = APP_NONE, .slices = 4}},
    {.name = "slices, sao", .app = {.sao = true, .slices = 4}, .extra = true},
    {.name = "other ctu", .more = "ctu=64", .expect = VD_ERR_DECODE},
    {.name = "other smoothing",
     .app = {0},
     .more = "strong-intra-smoothing=1",
     .expect = VD_ERR_DECODE},
    {.name = "other sao", .more = "sao=1", .expect = VD_ERR_DECODE},
    {.name = "temporal vectors", .app = {.tmvp = true}, .more = "temporal-mvp=1"},
    {.name = "temporal vectors, other steps",
     .app = {.tmvp = true, .poc_step = 3},
     .more = "temporal-mvp=1"},
    {.name = "temporal vectors, uneven counts",
     .app = {.tmvp = true, .uneven = true},
     .more = "temporal-mvp=1",
     .expect = VD_ERR_DECODE},
    {.name = "end of sequence", .end = true},
    {.name = "uneven counts", .app = {.uneven = true}},
    {.name = "idr of the encoder's own", .own_idr_at = 3},
    {.name = "p where idr should be", .idr_at = 4, .not_idr_at = 4, .expect = VD_ERR_DECODE},
    {.name = "lost picture", .lost_at = 3, .idr_at = 6, .lost = 3},
    {.name = "two references", .app = {.dpb = 2}, .more = "ref=2"},
    {.name = "two references, room for one", .more = "ref=2", .expect = VD_ERR_DECODE},
    {.name = "room for more references", .app = {.dpb = 5}},
    {.name = "cbr, no cu_qp_delta", .bitrate = 400000, .extra = true},
};

static void test_all(void **state)
{
    const char *only = getenv("TEST_ONLY");
    struct test test;

    (void)state;
    if (!encoder)
        skip();
    for (size_t i = 0; i < COUNT(tests); i++) {
        if (only && strcmp(only, tests[i].name) != 0)
            continue;
        print_message("%s\n", tests[i].name);
        test = tests[i];
        test.app = complete(test.app);
        run(&test);
    }
}

/* A picture that is refused, or not, once `change` was done to the app's structs. */
static int read_changed(void (*change)(struct app *app), struct encode_request *request)
{
    void *state = calloc(1, encode_hevc.read_state_size);
    const struct encode_picture *picture;
    struct app app;
    int err;

    assert_non_null(state);
    app_init(&app, &(const struct app_config){.style = APP_NONE,
                                              .width = 1920,
                                              .height = 1080,
                                              .depth = 8,
                                              .chroma = 1,
                                              .log2_ctb = 5,
                                              .log2_min_cb = 4,
                                              .log2_max_tb = 5,
                                              .slices = 2,
                                              .init_qp = 30});
    picture = app_picture(&app, HEVC_NAL_IDR_W_RADL, true);
    if (change)
        change(&app);
    memset(request, 0, sizeof(*request));
    err = encode_hevc.read(state, picture, request);
    free(state);
    return err;
}

static void make_b(struct app *app)
{
    app->slice[1].slice_type = HEVC_SLICE_B;
}

/* List 1 has what list 0 has: the picture before. */
static void make_low_delay_b(struct app *app)
{
    app->pic.pic_fields.bits.idr_pic_flag = 0;
    app->pic.decoded_curr_pic.pic_order_cnt = 8;
    make_b(app);
    app->slice[1].num_ref_idx_l1_active_minus1 = 1;
    app->slice[1].ref_pic_list1[0] = (VAPictureHEVC){.picture_id = 1, .pic_order_cnt = 7};
    app->slice[1].ref_pic_list1[1] =
        (VAPictureHEVC){.picture_id = VA_INVALID_SURFACE, .flags = VA_PICTURE_HEVC_INVALID};
}

/* One of list 1 is shown later. */
static void make_true_b(struct app *app)
{
    make_low_delay_b(app);
    app->slice[1].ref_pic_list1[1] = (VAPictureHEVC){.picture_id = 2, .pic_order_cnt = 9};
}

static void make_b_picture(struct app *app)
{
    app->pic.pic_fields.bits.coding_type = 3;
}

static void make_monochrome(struct app *app)
{
    app->seq.seq_fields.bits.chroma_format_idc = 0;
}

static void make_444(struct app *app)
{
    app->seq.seq_fields.bits.chroma_format_idc = 3;
}

static void make_deep(struct app *app)
{
    app->seq.seq_fields.bits.bit_depth_luma_minus8 = 2;
    app->seq.seq_fields.bits.bit_depth_chroma_minus8 = 2;
}

static void make_pcm(struct app *app)
{
    app->seq.seq_fields.bits.pcm_enabled_flag = 1;
}

static void make_scaling(struct app *app)
{
    app->seq.seq_fields.bits.scaling_list_enabled_flag = 1;
}

static void make_large_ctu(struct app *app)
{
    app->seq.log2_diff_max_min_luma_coding_block_size = 3;
}

static void make_ctu_16_tu_32(struct app *app)
{
    app->seq.log2_diff_max_min_luma_coding_block_size = 0;
}

static void make_uneven_size(struct app *app)
{
    app->seq.pic_width_in_luma_samples = 1912;
}

static void make_empty(struct app *app)
{
    app->picture.slice_count = 0;
}

static void make_no_sequence(struct app *app)
{
    app->picture.param[ENCODE_PARAM_SEQUENCE] = NULL;
}

static void make_no_picture(struct app *app)
{
    app->picture.param[ENCODE_PARAM_PICTURE] = NULL;
}

static void make_qp(struct app *app)
{
    app->slice[0].slice_qp_delta = -4;
}

static void make_wild_qp(struct app *app)
{
    app->pic.pic_init_qp = 255;
    app->slice[0].slice_qp_delta = 127;
}

static void test_read(void **state)
{
    static const struct {
        void (*change)(struct app *app);
        int err;
    } refused[] = {
        {make_b, VD_ERR_UNSUPPORTED},          {make_b_picture, VD_ERR_UNSUPPORTED},
        {make_true_b, VD_ERR_UNSUPPORTED},     {make_monochrome, VD_ERR_UNSUPPORTED},
        {make_deep, VD_ERR_UNSUPPORTED},       {make_pcm, VD_ERR_UNSUPPORTED},
        {make_scaling, VD_ERR_UNSUPPORTED},    {make_large_ctu, VD_ERR_PARAMETER},
        {make_ctu_16_tu_32, VD_ERR_PARAMETER}, {make_uneven_size, VD_ERR_PARAMETER},
        {make_empty, VD_ERR_PARAMETER},        {make_no_sequence, VD_ERR_PARAMETER},
        {make_no_picture, VD_ERR_PARAMETER},   {make_444, VD_ERR_UNSUPPORTED},
    };
    struct encode_request *request = malloc(sizeof(*request));

    (void)state;
    assert_non_null(request);
    for (size_t i = 0; i < COUNT(refused); i++)
        assert_int_equal(read_changed(refused[i].change, request), refused[i].err);
    assert_int_equal(read_changed(NULL, request), 0);
    assert_int_equal(request->tools.width, 1920);
    assert_int_equal(request->tools.height, 1080);
    assert_int_equal(request->tools.slices, 2);
    assert_int_equal(request->tools.intra_period, 30);
    assert_int_equal(request->tools.hevc.level_idc, 93);
    assert_int_equal(request->tools.hevc.log2_ctb, 5);
    assert_int_equal(request->tools.hevc.log2_min_cb, 4);
    assert_int_equal(request->tools.hevc.log2_min_tb, 2);
    assert_int_equal(request->tools.hevc.log2_max_tb, 5);
    assert_int_equal(request->rate.bits_per_second, 400000);
    assert_int_equal(request->qp, 30);
    assert_true(request->reference);
    assert_int_equal(read_changed(make_low_delay_b, request), 0);
    assert_int_equal(request->type, ENCODE_P);
    assert_int_equal(read_changed(make_qp, request), 0);
    assert_int_equal(request->qp, 26);
    assert_int_equal(read_changed(make_wild_qp, request), 0);
    assert_int_equal(request->qp, 51);
    free(request);
}

/* No encoder here has the tools of range extensions: what stands behind a VUI counts. */
static void test_extension(void **state)
{
    struct hevc_set *sets = calloc(HEVC_SETS_RPS, sizeof(*sets));
    struct app_config config = complete((struct app_config){.chroma = 3, .vui = true});
    struct bits_writer w;
    struct hevc_sps sps;
    uint8_t bytes[256];

    (void)state;
    assert_non_null(sets);
    for (int i = 0; i < 2; i++) {
        config.extension = i;
        bits_write_init(&w, bytes, sizeof(bytes));
        app_sps(&w, &config);
        assert_false(w.error);
        assert_int_equal(hevc_sets_read_sps(bytes, w.used, false, sets, &sps), 0);
        assert_int_equal(sps.chroma_format_idc, 3);
        assert_int_equal(sps.extension, i);
        assert_int_equal(hevc_sets_check(&sps), i ? VD_ERR_UNSUPPORTED : 0);
        /* Cut anywhere, it is not taken for less. */
        for (size_t size = 0; size + 1 < w.used; size++) {
            uint8_t *cut = check_exact(bytes, size);

            assert_int_not_equal(hevc_sets_read_sps(cut, size, false, sets, &sps), 0);
            free(cut);
        }
    }
    free(sets);
}

static void test_attributes(void **state)
{
    uint32_t types[16], values[16];
    uint32_t count = encode_hevc.attributes(VAProfileHEVCMain, types, values, 16);
    VAConfigAttribValEncHEVCBlockSizes sizes = {.value = 0};

    (void)state;
    assert_int_equal(count, 7);
    for (uint32_t i = 0; i < count; i++) {
        if (types[i] == VAConfigAttribEncMaxRefFrames)
            assert_int_equal(values[i], 1);
        if (types[i] == VAConfigAttribEncHEVCBlockSizes)
            sizes.value = values[i];
    }
    /* What ffmpeg makes of it has to be legal. */
    assert_true(sizes.bits.log2_max_luma_transform_block_size_minus2 + 2 <=
                sizes.bits.log2_min_coding_tree_block_size_minus3 + 3);
    assert_int_equal(encode_hevc.attributes(VAProfileHEVCMain10, types, values, 2), 2);
    assert_int_equal(encode_hevc.attributes(VAProfileHEVCMain10, types, values, 0), 0);
}

static void check_unit(const char *stream, size_t size, bool escaped, const char *want,
                       size_t want_size)
{
    struct hevc_unit_reader reader = {
        .data = check_exact(stream, size),
        .size = size,
        .escaped = escaped,
    };
    struct encode_output output = {.bytes = malloc(64), .room = 64};
    struct hevc_unit unit;

    assert_non_null(output.bytes);
    while (hevc_unit_next(&reader, &unit))
        hevc_unit_put(&output, &unit);
    assert_int_equal(output.size, want_size);
    assert_memory_equal(output.bytes, want, want_size);
    free(output.bytes);
    free((void *)(uintptr_t)reader.data);
}

#define UNIT(stream, escaped, want) \
    check_unit(stream, sizeof(stream) - 1, escaped, want, sizeof(want) - 1)

static void test_units(void **state)
{
    (void)state;
    UNIT("", true, "");
    UNIT("\0\0\1", true, "");
    UNIT("\0\0\1\x40", true, "");
    UNIT("\0\0\1\x40\1", true, "\0\0\0\1\x40\1");
    UNIT("\0\0\0\0\1\x40\1\0\0\0\1\x42\1\2\0\0\1\x44\1", true,
         "\0\0\0\1\x40\1\0\0\0\1\x42\1\2\0\0\0\1\x44\1");
    /* Zeros at the end are the stream's, not the unit's. */
    UNIT("\0\0\1\x40\1\0\0\0", true, "\0\0\0\1\x40\1");
    /* No start code. */
    UNIT("\x40\1\2\3", true, "\0\0\0\1\x40\1\2\3");
    UNIT("\x40\1\0\0\3\1", true, "\0\0\0\1\x40\1\0\0\3\1");
    /* A single one that has what looks like a start code. */
    UNIT("\0\0\0\1\x4e\1\0\0\1\5\0\0\0\0\0\4\x80", false,
         "\0\0\0\1\x4e\1\0\0\3\1\5\0\0\3\0\0\3\0\4\x80");
    UNIT("\0\0\1\x4e\1\0\0\3", false, "\0\0\0\1\x4e\1\0\0\3\3");
}

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(test_all),        cmocka_unit_test(test_units),
        cmocka_unit_test(test_read),       cmocka_unit_test(test_extension),
        cmocka_unit_test(test_attributes),
    };

    av_log_set_level(AV_LOG_ERROR);
    encoder = avcodec_find_encoder_by_name("libx265");
    return cmocka_run_group_tests(all, NULL, NULL);
}
