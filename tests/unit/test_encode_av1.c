/* SPDX-License-Identifier: MIT */
#include "encoder_fixture.h"

#include <va/va_enc_av1.h>

#include "encode/av1_rewrite.h"

/*
 * Programs' sequence headers and the encoder's frames under them: what a decoder makes of the
 * written stream is, sample by sample, what it makes of the encoder's own.
 */

/* A sequence header in the order of 5.5.1, for what programs and encoders differ in. */
struct header {
    uint32_t width, height, order_hint_bits;
    bool timing, model, delays, high_bitdepth, description, separate_uv, grain, frame_ids, choose;
    bool superblock_128, filter_intra, intra_edge, interintra, masked, warped, dual, jnt, mvs;
    bool superres, cdef, restoration, reduced;
};

static unsigned bits_of(uint32_t value)
{
    unsigned n = 1;

    while (value >> n)
        n++;
    return n;
}

static void put_points(struct bits_writer *w, const struct header *h)
{
    bits_write(w, 1, h->timing);
    if (h->timing) {
        bits_write(w, 32, 1);
        bits_write(w, 32, 25);
        bits_write(w, 1, 1);
        bits_write(w, 5, 4); /* uvlc: 001 00 */
        bits_write(w, 1, h->model);
        if (h->model) {
            bits_write(w, 5, 9);
            bits_write(w, 32, 1);
            bits_write(w, 10, 0);
        }
    }
    bits_write(w, 1, h->delays);
    bits_write(w, 5, 1); /* two operating points */
    for (int i = 0; i < 2; i++) {
        bits_write(w, 12, 0);
        bits_write(w, 5, i ? 9 : 5);
        if (i)
            bits_write(w, 1, 0);
        if (h->timing && h->model) {
            bits_write(w, 1, i);
            if (i)
                bits_write(w, 21, 0);
        }
        if (h->delays) {
            bits_write(w, 1, i);
            if (i)
                bits_write(w, 4, 3);
        }
    }
}

static void put_tools(struct bits_writer *w, const struct header *h)
{
    bits_write(w, 1, h->interintra);
    bits_write(w, 1, h->masked);
    bits_write(w, 1, h->warped);
    bits_write(w, 1, h->dual);
    bits_write(w, 1, h->order_hint_bits > 0);
    if (h->order_hint_bits) {
        bits_write(w, 1, h->jnt);
        bits_write(w, 1, h->mvs);
    }
    bits_write(w, 1, h->choose);
    if (h->choose)
        bits_write(w, 1, 1);
    else
        bits_write(w, 1, 0);
    if (h->order_hint_bits)
        bits_write(w, 3, h->order_hint_bits - 1);
}

/* An OBU with a size; returns its bytes. */
static size_t put_header(const struct header *h, uint8_t *bytes)
{
    uint8_t payload[128];
    struct bits_writer w;
    size_t at;

    bits_write_init(&w, payload, sizeof(payload));
    bits_write(&w, 3, 0);
    bits_write(&w, 1, h->reduced);
    bits_write(&w, 1, h->reduced);
    if (h->reduced)
        bits_write(&w, 5, 4);
    else
        put_points(&w, h);
    bits_write(&w, 4, bits_of(h->width - 1) - 1);
    bits_write(&w, 4, bits_of(h->height - 1) - 1);
    bits_write(&w, bits_of(h->width - 1), h->width - 1);
    bits_write(&w, bits_of(h->height - 1), h->height - 1);
    if (!h->reduced) {
        bits_write(&w, 1, h->frame_ids);
        if (h->frame_ids)
            bits_write(&w, 7, 0);
    }
    bits_write(&w, 1, h->superblock_128);
    bits_write(&w, 1, h->filter_intra);
    bits_write(&w, 1, h->intra_edge);
    if (!h->reduced)
        put_tools(&w, h);
    bits_write(&w, 1, h->superres);
    bits_write(&w, 1, h->cdef);
    bits_write(&w, 1, h->restoration);
    bits_write(&w, 1, h->high_bitdepth);
    bits_write(&w, 1, 0);
    bits_write(&w, 1, h->description);
    if (h->description)
        bits_write(&w, 24, 1 << 16 | 1 << 8 | 1);
    bits_write(&w, 1, 0);
    bits_write(&w, 2, 1);
    bits_write(&w, 1, h->separate_uv);
    bits_write(&w, 1, h->grain);
    bits_write_trailing(&w);
    assert_false(w.error);
    at = av1_obu_header(AV1_OBU_SEQUENCE_HEADER, w.used, bytes);
    memcpy(bytes + at, payload, w.used);
    return at + w.used;
}

static void read_back(const struct header *h)
{
    uint8_t bytes[160];
    size_t size = put_header(h, bytes);
    struct av1_sequence s;
    struct av1_obu obu;

    assert_int_equal(av1_obu_read(bytes, size, &obu), 0);
    assert_int_equal(obu.type, AV1_OBU_SEQUENCE_HEADER);
    assert_int_equal(obu.size, size);
    assert_int_equal(av1_sequence_read(obu.payload, obu.payload_size, &s), 0);
    assert_int_equal(s.max_frame_width, h->width);
    assert_int_equal(s.max_frame_height, h->height);
    assert_int_equal(s.order_hint_bits, h->order_hint_bits);
    assert_int_equal(s.enable_order_hint, h->order_hint_bits > 0);
    assert_int_equal(s.decoder_model_info_present_flag, h->timing && h->model);
    assert_int_equal(s.bit_depth, h->high_bitdepth ? 10 : 8);
    assert_int_equal(s.separate_uv_delta_q, h->separate_uv);
    assert_int_equal(s.film_grain_params_present, h->grain);
    assert_int_equal(s.frame_id_numbers_present_flag, h->frame_ids);
    assert_int_equal(s.enable_interintra_compound, h->interintra);
    assert_int_equal(s.enable_masked_compound, h->masked);
    assert_int_equal(s.enable_warped_motion, h->warped);
    assert_int_equal(s.enable_dual_filter, h->dual);
    assert_int_equal(s.enable_jnt_comp, h->jnt);
    assert_int_equal(s.enable_ref_frame_mvs, h->mvs);
    assert_int_equal(s.enable_superres, h->superres);
    assert_int_equal(s.enable_cdef, h->cdef);
    assert_int_equal(s.enable_restoration, h->restoration);
    assert_int_equal(s.use_128x128_superblock, h->superblock_128);
    assert_int_equal(s.enable_filter_intra, h->filter_intra);
    assert_int_equal(s.enable_intra_edge_filter, h->intra_edge);
    assert_int_equal(s.seq_force_screen_content_tools, h->choose || h->reduced ? 2 : 0);
    assert_int_equal(s.reduced_still_picture_header, h->reduced);
    /* The last bits are the trailing ones. */
    for (size_t less = 2; less < size; less++)
        assert_true(av1_obu_read(bytes, size - less, &obu) ||
                    av1_sequence_read(obu.payload, obu.payload_size - less, &s));
}

static void test_sequence(void **state)
{
    static const struct header headers[] = {
        {.width = 176, .height = 144, .order_hint_bits = 8},
        {.width = 1,
         .height = 65536,
         .order_hint_bits = 7,
         .choose = true,
         .jnt = true,
         .mvs = true},
        {.width = 65536, .height = 1, .timing = true, .model = true, .delays = true, .cdef = true},
        {.width = 1920,
         .height = 1080,
         .order_hint_bits = 1,
         .timing = true,
         .superres = true,
         .high_bitdepth = true,
         .description = true,
         .separate_uv = true,
         .grain = true},
        {.width = 640,
         .height = 360,
         .frame_ids = true,
         .superblock_128 = true,
         .dual = true,
         .filter_intra = true,
         .intra_edge = true,
         .interintra = true,
         .masked = true,
         .warped = true,
         .restoration = true},
        {.width = 64, .height = 64, .reduced = true, .cdef = true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(headers); i++)
        read_back(&headers[i]);
}

static void test_obu(void **state)
{
    static const uint8_t good[] = {0x0a, 0x81, 0x00, 0xff}; /* a size that is longer than it is */
    static const uint8_t extended[] = {0x36, 0x08, 0x02, 1, 2}; /* with an extension */
    static const uint8_t open[] = {0x30, 1, 2, 3};              /* no size */
    static const uint8_t forbidden[] = {0x8a, 0};
    static const uint8_t large[] = {0x0a, 0x05, 0};
    static const uint8_t endless[] = {0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0};
    uint8_t header[AV1_OBU_HEADER];
    struct av1_obu obu;

    (void)state;
    assert_int_equal(av1_obu_read(good, sizeof(good), &obu), 0);
    assert_int_equal(obu.size, 4);
    assert_int_equal(obu.payload_size, 1);
    assert_int_equal(av1_obu_read(extended, sizeof(extended), &obu), 0);
    assert_int_equal(obu.type, AV1_OBU_FRAME);
    assert_int_equal(obu.payload[1], 2);
    assert_int_equal(av1_obu_read(open, sizeof(open), &obu), 0);
    assert_int_equal(obu.payload_size, 3);
    assert_int_not_equal(av1_obu_read(good, 0, &obu), 0);
    assert_int_not_equal(av1_obu_read(good, 2, &obu), 0);
    assert_int_not_equal(av1_obu_read(extended, 1, &obu), 0);
    assert_int_not_equal(av1_obu_read(forbidden, sizeof(forbidden), &obu), 0);
    assert_int_not_equal(av1_obu_read(large, sizeof(large), &obu), 0);
    assert_int_not_equal(av1_obu_read(endless, sizeof(endless), &obu), 0);
    assert_int_equal(av1_obu_header(AV1_OBU_FRAME, 300, header), 3);
    assert_memory_equal(header, "\x32\xac\x02", 3);
}

static void test_agree(void **state)
{
    const struct av1_sequence same = {
        .order_hint_bits = 7, .enable_order_hint = true, .bit_depth = 8, .max_frame_width = 64};
    struct av1_sequence from = same, to = same;
    const char *why = NULL;

    (void)state;
    to.order_hint_bits = 8;
    to.enable_cdef = to.enable_restoration = to.enable_superres = to.enable_warped_motion = true;
    assert_true(av1_frame_agree(&from, &to, &why));
    from.enable_ref_frame_mvs = true;
    assert_false(av1_frame_agree(&from, &to, &why));
    assert_string_equal(why, "enable_ref_frame_mvs");
    from = same;
    from.enable_cdef = true;
    to = same;
    assert_false(av1_frame_agree(&from, &to, &why));
    assert_string_equal(why, "enable_cdef");
    from = to = same;
    to.order_hint_bits = 6;
    assert_false(av1_frame_agree(&from, &to, &why));
    assert_string_equal(why, "order_hint_bits");
    to = same;
    to.frame_id_numbers_present_flag = true;
    assert_false(av1_frame_agree(&from, &to, &why));
    to = same;
    to.enable_dual_filter = true;
    assert_false(av1_frame_agree(&from, &to, &why));
    to = same;
    to.max_frame_width = 65;
    assert_false(av1_frame_agree(&from, &to, &why));
}

/* ---- through an encoder ---- */

static struct {
    AVCodecContext *decoder; /* of the encoder's own stream */
    AVFrame *frame;
    bool rewritten; /* else the encoder's units came as they are */
    bool bare;      /* its sequence headers are taken away */
} own;

static void drop_sequence(AVPacket *packet)
{
    const uint8_t *at = packet->data;
    size_t left = (size_t)packet->size, kept = 0;
    struct av1_obu obu;

    while (left && !av1_obu_read(at, left, &obu)) {
        at += obu.size;
        left -= obu.size;
        if (obu.type == AV1_OBU_SEQUENCE_HEADER)
            continue;
        memmove(packet->data + kept, obu.start, obu.size);
        kept += obu.size;
    }
    av_shrink_packet(packet, (int)kept);
}

/* Decodes the encoder's packet beside. */
static int both(void *state, const struct encode_request *request,
                const struct encode_packet *packet, struct encode_output *output)
{
    const struct av1_rewrite *rw = state;
    AVPacket *copy = av_packet_alloc();
    struct encode_packet given = *packet;
    int err;

    assert_int_equal(av_new_packet(copy, (int)packet->size), 0);
    memcpy(copy->data, packet->data, packet->size);
    if (own.bare)
        drop_sequence(copy);
    given.data = copy->data;
    given.size = (size_t)copy->size;
    assert_int_equal(avcodec_send_packet(own.decoder, copy), 0);
    assert_int_equal(avcodec_receive_frame(own.decoder, own.frame), 0);
    err = av1_rewrite_write(state, request, &given, output);
    av_packet_free(&copy);
    own.rewritten = rw->app_size && !rw->foreign;
    return err;
}

static void take_tools(const struct header *h)
{
    f.request.tools.av1.header = true;
    f.request.tools.av1.superblock_128 = h->superblock_128;
    f.request.tools.av1.filter_intra = h->filter_intra;
    f.request.tools.av1.intra_edge_filter = h->intra_edge;
    f.request.tools.av1.warped_motion = h->warped;
    f.request.tools.av1.order_hint = h->order_hint_bits > 0;
    f.request.tools.av1.cdef = h->cdef;
    f.request.tools.av1.restoration = h->restoration;
}

static bool open_both(uint32_t mode, uint32_t fourcc, uint32_t width, uint32_t height)
{
    static const struct kind kind = {VD_CODEC_AV1, VAProfileAV1Profile0, AV_CODEC_ID_AV1, 80, 30};

    if (!encoder_list_find(VD_CODEC_AV1, 8, 1, NULL, NULL))
        return false;
    start_decoder(&kind, mode, fourcc);
    f.codec = (struct encode_codec){
        .codec = VD_CODEC_AV1, .write = both, .write_state_size = sizeof(struct av1_rewrite)};
    assert_int_equal(encoder_create(&f.codec, NULL, 2, &f.encoder), 0);
    own.decoder = avcodec_alloc_context3(f.decoder_codec);
    own.decoder->thread_count = 1;
    own.decoder->flags |= AV_CODEC_FLAG_LOW_DELAY;
    assert_int_equal(avcodec_open2(own.decoder, f.decoder_codec, NULL), 0);
    own.frame = av_frame_alloc();
    f.request.tools.width = width;
    f.request.tools.height = height;
    surface(fourcc, width, height);
    return true;
}

static void close_both(void)
{
    avcodec_free_context(&own.decoder);
    av_frame_free(&own.frame);
    stop();
}

static void assert_same_frames(void)
{
    int deep = f.frame->format == AV_PIX_FMT_YUV420P10 ? 2 : 1;

    assert_int_equal(f.frame->format, own.frame->format);
    assert_int_equal(f.frame->width, own.frame->width);
    for (int plane = 0; plane < 3; plane++) {
        int width = plane ? (f.frame->width + 1) / 2 : f.frame->width;
        int height = plane ? (f.frame->height + 1) / 2 : f.frame->height;

        for (int y = 0; y < height; y++)
            assert_memory_equal(f.frame->data[plane] + (ptrdiff_t)y * f.frame->linesize[plane],
                                own.frame->data[plane] + (ptrdiff_t)y * own.frame->linesize[plane],
                                (size_t)(width * deep));
    }
}

/* Whether the coded bytes have this OBU in them. */
static bool has_obu(const uint8_t *bytes, size_t size)
{
    const uint8_t *at = f.room;
    size_t left = f.size;
    struct av1_obu obu;

    while (left && !av1_obu_read(at, left, &obu)) {
        if (obu.size == size && !memcmp(obu.start, bytes, size))
            return true;
        at += obu.size;
        left -= obu.size;
    }
    return false;
}

struct run {
    const char *name;
    struct header header;
    uint32_t mode, fourcc, width, height, qp, bits_per_second, pictures;
};

static void run(const struct run *r)
{
    struct header header = r->header;
    uint8_t bytes[160];
    size_t size;

    header.width = r->width;
    header.height = r->height;
    header.high_bitdepth = r->fourcc == VA_FOURCC_P010;
    size = put_header(&header, bytes);
    if (!open_both(r->mode, r->fourcc, r->width, r->height))
        skip();
    take_tools(&header);
    f.request.tools.bit_depth = header.high_bitdepth ? 10 : 8;
    f.request.qp = r->qp;
    f.request.rate.bits_per_second = f.request.rate.peak = r->bits_per_second;
    for (uint32_t i = 0; i < r->pictures; i++) {
        bool key = !i || i == r->pictures - 5;

        /* Programs send their headers with key frames, and may do so once only. */
        f.request.headers[0] =
            (struct encode_header){VAEncPackedHeaderSequence, false, (uint32_t)size * 8, bytes};
        f.request.header_count = i ? 0 : 1;
        assert_int_equal(encode(key ? ENCODE_IDR : ENCODE_P), 0);
        assert_true(own.rewritten);
        assert_int_equal(has_obu(bytes, size), key);
        decode();
        assert_same_frames();
    }
    close_both();
}

static void test_rewrite(void **state)
{
    static const struct run runs[] = {
        /* As FFmpeg has it: eight bits of order hint, no tools. More than 64 pictures: golden
         * frames are older than half of the encoder's numbers. */
        {"ffmpeg", {.order_hint_bits = 8}, VA_RC_CQP, VA_FOURCC_NV12, 176, 144, 100, 0, 170},
        {"rate",
         {.order_hint_bits = 8, .description = true},
         VA_RC_CBR,
         VA_FOURCC_NV12,
         176,
         144,
         0,
         100000,
         150},
        {"tools",
         {.order_hint_bits = 7,
          .cdef = true,
          .restoration = true,
          .superres = true,
          .warped = true,
          .choose = true,
          .separate_uv = true,
          .grain = true,
          .intra_edge = true,
          .filter_intra = true,
          .timing = true},
         VA_RC_CBR,
         VA_FOURCC_NV12,
         178,
         146,
         0,
         200000,
         40},
        {"no hints", {.cdef = true}, VA_RC_CQP, VA_FOURCC_NV12, 64, 66, 60, 0, 20},
        {"large blocks",
         {.order_hint_bits = 8, .superblock_128 = true},
         VA_RC_CQP,
         VA_FOURCC_NV12,
         320,
         192,
         120,
         0,
         10},
        {"lossless",
         {.order_hint_bits = 8, .cdef = true, .restoration = true},
         VA_RC_CQP,
         VA_FOURCC_NV12,
         64,
         64,
         0,
         0,
         10},
        {"deep",
         {.order_hint_bits = 8, .cdef = true},
         VA_RC_CQP,
         VA_FOURCC_P010,
         96,
         80,
         80,
         0,
         20},
        {"tiles", {.order_hint_bits = 8}, VA_RC_CBR, VA_FOURCC_NV12, 1280, 720, 0, 2000000, 8},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(runs); i++) {
        print_message("%s\n", runs[i].name);
        run(&runs[i]);
    }
}

/* What the program puts in front of a frame is there; what cannot be read is no header. */
static void test_metadata(void **state)
{
    static const uint8_t light[] = {0x2a, 0x06, 0x01, 0x03, 0xe8, 0x00, 0x64, 0x80};
    static const uint8_t ivf[] = "DKIF";
    uint8_t bytes[160];
    const struct header header = {.width = 96, .height = 80, .order_hint_bits = 8};
    const struct header other = {.width = 96, .height = 80, .order_hint_bits = 7, .cdef = true};
    const struct header short_hints = {.width = 96, .height = 80, .order_hint_bits = 5};
    size_t size = put_header(&header, bytes);

    (void)state;
    if (!open_both(VA_RC_CQP, VA_FOURCC_NV12, 96, 80))
        skip();
    take_tools(&header);
    f.request.headers[0] =
        (struct encode_header){VAEncPackedHeaderSequence, false, (uint32_t)size * 8, bytes};
    f.request.headers[1] =
        (struct encode_header){VAEncPackedHeaderRawData, false, sizeof(light) * 8, light};
    f.request.header_count = 2;
    assert_int_equal(encode(ENCODE_IDR), 0);
    assert_true(own.rewritten);
    assert_true(has_obu(light, sizeof(light)));
    decode();
    assert_same_frames();
    /* A sequence header in the middle of a sequence does not change how its frames are written. */
    size = put_header(&other, bytes);
    f.request.headers[0].bits = (uint32_t)size * 8;
    assert_int_equal(encode(ENCODE_P), 0);
    assert_false(has_obu(bytes, size));
    decode();
    assert_same_frames();
    /* What is no OBU comes first. */
    f.request.headers[2] = (struct encode_header){VAEncPackedHeaderRawData, false, 32, ivf};
    f.request.header_count = 3;
    assert_int_equal(encode(ENCODE_P), 0);
    assert_memory_equal(f.room, ivf, 4);
    /* Nor does one with a key frame that has none of the encoder's: fewer bits of order hint. */
    size = put_header(&short_hints, bytes);
    f.request.headers[0].bits = (uint32_t)size * 8;
    f.request.header_count = 1;
    own.bare = true;
    assert_int_equal(encode(ENCODE_IDR), 0);
    own.bare = false;
    assert_true(own.rewritten);
    assert_false(has_obu(bytes, size));
    decode();
    assert_same_frames();
    close_both();
    open_both(VA_RC_CQP, VA_FOURCC_NV12, 96, 80);
    f.request.headers[0] = (struct encode_header){VAEncPackedHeaderSequence, false, 24, bytes};
    f.request.header_count = 1;
    assert_int_equal(encode(ENCODE_IDR), 0);
    assert_false(own.rewritten);
    decode();
    assert_same_frames();
    close_both();
}

/* An encoder that does otherwise than it was told: its own headers stay. */
static void test_foreign(void **state)
{
    uint8_t bytes[160];
    const struct header header = {
        .width = 96, .height = 80, .order_hint_bits = 8, .frame_ids = true};
    size_t size = put_header(&header, bytes);

    (void)state;
    if (!open_both(VA_RC_CQP, VA_FOURCC_NV12, 96, 80))
        skip();
    take_tools(&header);
    f.request.headers[0] =
        (struct encode_header){VAEncPackedHeaderSequence, false, (uint32_t)size * 8, bytes};
    f.request.header_count = 1;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(encode(i ? ENCODE_P : ENCODE_IDR), 0);
        assert_false(own.rewritten);
        assert_false(has_obu(bytes, size));
        decode();
        assert_same_frames();
    }
    close_both();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequence), cmocka_unit_test(test_obu),
        cmocka_unit_test(test_agree),    cmocka_unit_test(test_rewrite),
        cmocka_unit_test(test_metadata), cmocka_unit_test(test_foreign),
    };

    return cmocka_run_group_tests_name("encode_av1", tests, NULL, NULL);
}
