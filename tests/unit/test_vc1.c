/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <libavcodec/avcodec.h>
#include <viaduct/errors.h>

#include "bitstream/bitstream.h"
#include "vc1_stream.h"

/*
 * Headers and pictures from the builder, read back by libavcodec's decoder. Pictures of the
 * Simple and Main profile travel as they are; here they are mere bytes.
 */

#define MAX_SLICES 4
#define COLUMNS    5
#define ROWS       6 /* of a frame */

struct fixture {
    void *state;
    VAPictureParameterBufferVC1 param;
    VASliceParameterBufferVC1 param_of[MAX_SLICES];
    struct va_slice slices[MAX_SLICES];
    uint8_t bytes[MAX_SLICES][1024];
    size_t size[MAX_SLICES];
    uint32_t count;
    int profile;
    uint8_t *block;
    struct bitstream_packet packet;
};

static void describe(struct fixture *f)
{
    void *state = f->state;
    uint8_t *block = f->block;

    free(block);
    memset(f, 0, sizeof(*f));
    memset(state, 0, bitstream_vc1.state_size);
    f->state = state;
    f->profile = VAProfileVC1Advanced;
    f->param.sequence_fields.bits.profile = 3;
    f->param.coded_width = COLUMNS * 16;
    f->param.coded_height = ROWS * 16;
    f->param.picture_fields.bits.is_first_field = 1;
    f->param.picture_fields.bits.top_field_first = 1;
    f->param.pic_quantizer_fields.bits.pic_quantizer_scale = 10;
    f->param.pic_quantizer_fields.bits.quantizer = 3;
    f->param.entrypoint_fields.bits.closed_entry = 1;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->state = calloc(1, bitstream_vc1.state_size);
    assert_non_null(f->state);
    describe(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    free(f->block);
    free(f->state);
    free(f);
    return 0;
}

/* Escapes what was written and makes it the next slice, behind `start_code` if there is one. */
static void add_slice(struct fixture *f, struct bits_writer *w, uint64_t header_bits,
                      const char *start_code)
{
    size_t skip = start_code ? 4 : 0;
    uint32_t i = f->count++;

    bits_write_trailing(w);
    assert_false(w->error);
    if (start_code)
        memcpy(f->bytes[i], start_code, 4);
    assert_int_equal(
        bits_escape(w->data, w->used, f->bytes[i] + skip, sizeof(f->bytes[i]) - skip, &f->size[i]),
        0);
    f->size[i] += skip;
    f->param_of[i] = (VASliceParameterBufferVC1){
        .macroblock_offset = (uint32_t)(header_bits + 8 * skip),
    };
}

static uint64_t position(const struct bits_writer *w)
{
    return 8 * w->used + w->count;
}

/* A picture of one slice, the only one or the first one. */
static void add_picture(struct fixture *f, const struct vc1_spec *spec, const char *start_code)
{
    uint8_t raw[512];
    struct bits_writer w;
    uint64_t header;

    f->count = 0;
    bits_write_init(&w, raw, sizeof(raw));
    vc1_put_header(&w, &f->param, spec);
    header = position(&w);
    vc1_put_macroblocks(&w, &f->param, spec);
    add_slice(f, &w, header, start_code);
}

static void add_more(struct fixture *f, const struct vc1_spec *spec, uint32_t row,
                     const char *start_code)
{
    uint8_t raw[512];
    struct bits_writer w;

    bits_write_init(&w, raw, sizeof(raw));
    bits_write(&w, 9, row); /* SLICE_ADDR */
    bits_write(&w, 1, 0);   /* PIC_HEADER_FLAG */
    vc1_put_macroblocks(&w, &f->param, spec);
    add_slice(f, &w, 10, start_code);
}

static int build(struct fixture *f)
{
    size_t size = BITSTREAM_HEAD_ROOM + BITSTREAM_TAIL_ROOM, at = BITSTREAM_HEAD_ROOM;
    struct va_picture picture = {
        .profile = f->profile,
        .width = f->param.coded_width,
        .height = f->param.coded_height,
        .slices = f->slices,
        .slice_count = f->count,
    };

    picture.param[VA_PARAM_PICTURE] = &f->param;
    for (uint32_t i = 0; i < f->count; i++)
        size += bitstream_vc1.gap + f->size[i];
    free(f->block);
    f->block = malloc(size);
    assert_non_null(f->block);
    memset(f->block, 0xee, size);
    for (uint32_t i = 0; i < f->count; i++) {
        at += bitstream_vc1.gap;
        memcpy(f->block + at, f->bytes[i], f->size[i]);
        f->slices[i].param = &f->param_of[i];
        f->slices[i].data = f->block + at;
        f->slices[i].size = (uint32_t)f->size[i];
        at += f->size[i];
    }
    memset(f->block + at, 0, BITSTREAM_TAIL_ROOM);
    picture.head = f->block;
    return bitstream_vc1.build(f->state, &picture, &f->packet);
}

static AVCodecContext *open_decoder(const struct fixture *f, enum AVCodecID id)
{
    AVCodecContext *decoder = avcodec_alloc_context3(avcodec_find_decoder(id));

    assert_non_null(decoder);
    decoder->err_recognition = AV_EF_EXPLODE;
    decoder->width = (int)f->packet.coded_width;
    decoder->height = (int)f->packet.coded_height;
    decoder->extradata = av_mallocz(f->packet.extradata_size + AV_INPUT_BUFFER_PADDING_SIZE);
    assert_non_null(decoder->extradata);
    memcpy(decoder->extradata, f->packet.extradata, f->packet.extradata_size);
    decoder->extradata_size = (int)f->packet.extradata_size;
    assert_int_equal(avcodec_open2(decoder, NULL, NULL), 0);
    return decoder;
}

static AVFrame *decode(AVCodecContext *decoder, const uint8_t *data, size_t size)
{
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();

    assert_true(packet && frame);
    assert_int_equal(av_new_packet(packet, (int)size), 0);
    memcpy(packet->data, data, size);
    assert_int_equal(avcodec_send_packet(decoder, packet), 0);
    avcodec_send_packet(decoder, NULL);
    assert_int_equal(avcodec_receive_frame(decoder, frame), 0);
    assert_int_equal(frame->decode_error_flags, 0);
    av_packet_free(&packet);
    return frame;
}

/* Rows `first`, `first + step`, ... are all of one shade: above or below mid-grey. */
static void expect_shade(const AVFrame *frame, unsigned first, unsigned step, bool darker)
{
    const uint8_t shade = frame->data[0][first * (unsigned)frame->linesize[0]];

    assert_true(darker ? shade < 128 : shade > 128);
    for (unsigned y = first; y < (unsigned)frame->height; y += step)
        for (unsigned x = 0; x < (unsigned)frame->width; x++)
            assert_int_equal(frame->data[0][y * (unsigned)frame->linesize[0] + x], shade);
}

static void expect_picture(const struct fixture *f, bool darker)
{
    AVCodecContext *decoder = open_decoder(f, AV_CODEC_ID_VC1);
    AVFrame *frame = decode(decoder, f->packet.data, f->packet.size);

    assert_int_equal(frame->width, COLUMNS * 16);
    assert_int_equal(frame->height, ROWS * 16);
    expect_shade(frame, 0, 1, darker);
    av_frame_free(&frame);
    avcodec_free_context(&decoder);
}

static const struct vc1_spec whole = {.columns = COLUMNS, .rows = ROWS};

/* STRUCT_C, each field alone. */
static void test_main(void **state)
{
    struct fixture *f = *state;
    const uint32_t base = 4u << 28 | 7u << 25 | 31u << 20 | 1u << 16 | 1;
    static const uint32_t bits[] = {1u << 19, 1u << 17, 1u << 15, 1u << 14, 3u << 12, 1u << 11,
                                    1u << 9,  1u << 8,  1u << 7,  7u << 4,  3u << 2,  1u << 1};

    for (size_t i = 0; i <= COUNT(bits); i++) {
        VAPictureParameterBufferVC1 *p = &f->param;
        uint32_t want = base | (i < COUNT(bits) ? bits[i] : 0);

        describe(f);
        f->profile = VAProfileVC1Main;
        p->sequence_fields.value = 0;
        p->sequence_fields.bits.profile = 1;
        p->pic_quantizer_fields.value = 0;
        p->coded_width = 0x1234;
        p->coded_height = 0x789;
        p->entrypoint_fields.bits.loopfilter = i == 0;
        p->sequence_fields.bits.multires = i == 1;
        p->fast_uvmc_flag = i == 2;
        p->mv_fields.bits.extended_mv_flag = i == 3;
        p->pic_quantizer_fields.bits.dquant = i == 4 ? 3 : 0;
        p->transform_fields.bits.variable_sized_transform_flag = i == 5;
        p->sequence_fields.bits.overlap = i == 6;
        p->sequence_fields.bits.syncmarker = i == 7;
        p->sequence_fields.bits.rangered = i == 8;
        p->sequence_fields.bits.max_b_frames = i == 9 ? 7 : 0;
        p->pic_quantizer_fields.bits.quantizer = i == 10 ? 3 : 0;
        p->sequence_fields.bits.finterpflag = i == 11;
        f->count = 1;
        f->size[0] = 5;
        memcpy(f->bytes[0], "\0\0\1\x0d\x55", 5); /* no start code in this profile */
        assert_int_equal(build(f), 0);
        assert_ptr_equal(f->packet.data, f->slices[0].data);
        assert_int_equal(f->packet.size, 5);
        assert_memory_equal(f->packet.data, "\0\0\1\x0d\x55", 5);
        assert_int_equal(f->packet.extradata_size, 12);
        for (unsigned j = 0; j < 4; j++)
            assert_int_equal(f->packet.extradata[j], (uint8_t)(want >> (24 - 8 * j)));
        assert_memory_equal(f->packet.extradata + 4, "\0\0\x07\x89\0\0\x12\x34", 8);
    }
    /* The decoder takes it, with the size. */
    f->param.fast_uvmc_flag = 1;
    f->param.coded_width = 320;
    f->param.coded_height = 240;
    f->param.sequence_fields.bits.max_b_frames = 1;
    assert_int_equal(build(f), 0);
    {
        AVCodecContext *decoder = open_decoder(f, AV_CODEC_ID_WMV3);

        assert_int_equal(decoder->profile, FF_PROFILE_VC1_MAIN);
        assert_int_equal(decoder->has_b_frames, 1);
        avcodec_free_context(&decoder);
    }
}

/* Sequence layer and entry point, bit by bit. */
static void test_headers(void **state)
{
    struct fixture *f = *state;
    VAPictureParameterBufferVC1 *p = &f->param;

    add_picture(f, &whole, NULL);
    assert_int_equal(build(f), 0);
    assert_int_equal(f->packet.flags, BITSTREAM_KEY);
    assert_int_equal(f->packet.coded_width, COLUMNS * 16);
    /* 11 100 01 1 | 11 11111 0 | 39, 47 | pulldown ... hrd | stop bit */
    assert_memory_equal(f->packet.extradata, "\0\0\1\x0f\xe3\xfe\x02\x70\x2f\x08\x80", 11);
    /* closed entry; quantizer 3, three flags; stop bit */
    assert_memory_equal(f->packet.extradata + 11, "\0\0\1\x0e\x40\x18\x80", 7);
    expect_picture(f, false);

    for (unsigned i = 0; i < 4; i++) {
        static const uint8_t want[4] = {0x88, 0x48, 0x28, 0x18};

        describe(f);
        p->sequence_fields.bits.pulldown = i == 0;
        p->sequence_fields.bits.interlace = i == 1;
        p->sequence_fields.bits.tfcntrflag = i == 2;
        p->sequence_fields.bits.finterpflag = i == 3;
        add_picture(f, &whole, NULL);
        assert_int_equal(build(f), 0);
        assert_int_equal(f->packet.extradata[9], want[i]);
        expect_picture(f, false);
    }
}

/* An entry point alone goes into the stream; the decoder goes on. */
static void test_entry_point(void **state)
{
    struct fixture *f = *state;
    VAPictureParameterBufferVC1 *p = &f->param;
    uint8_t extradata[64];
    AVCodecContext *decoder;
    AVFrame *frame;
    size_t size;

    add_picture(f, &whole, NULL);
    assert_int_equal(build(f), 0);
    decoder = open_decoder(f, AV_CODEC_ID_VC1);
    size = f->packet.extradata_size;
    memcpy(extradata, f->packet.extradata, size);
    assert_memory_equal(f->packet.data, "\0\0\1\x0d", 4);
    assert_int_equal(build(f), 0);
    assert_memory_equal(f->packet.data, "\0\0\1\x0d", 4);
    for (unsigned i = 0; i < 12; i++) {
        p->entrypoint_fields.bits.broken_link = i == 0;
        p->entrypoint_fields.bits.closed_entry = i == 1;
        p->entrypoint_fields.bits.panscan_flag = i == 2;
        p->reference_fields.bits.reference_distance_flag = i == 3;
        p->entrypoint_fields.bits.loopfilter = i == 4;
        p->fast_uvmc_flag = i == 5;
        p->mv_fields.bits.extended_mv_flag = i == 6 || i == 11;
        p->mv_fields.bits.extended_dmv_flag = i == 11;
        p->pic_quantizer_fields.bits.dquant = i == 7 ? 2 : 0;
        p->transform_fields.bits.variable_sized_transform_flag = i == 8;
        p->range_mapping_fields.bits.luma_flag = i == 9;
        p->range_mapping_fields.bits.luma = 5;
        p->range_mapping_fields.bits.chroma_flag = i == 10;
        p->range_mapping_fields.bits.chroma = 2;
        add_picture(f, &whole, NULL);
        assert_int_equal(build(f), 0);
        assert_int_equal(f->packet.extradata_size, size);
        assert_memory_equal(f->packet.extradata, extradata, size);
        assert_memory_equal(f->packet.data, "\0\0\1\x0e", 4);
        if (i < 7)
            assert_int_equal(f->packet.data[4] & 0xfe, 0x80 >> i);
        if (i == 11) /* extended_mv; quantizer 3, extended_dmv, stop bit */
            assert_memory_equal(f->packet.data + 4, "\x02\x1a\x40", 3);
        if (i == 9) /* quantizer 3, no size, 1 1 | 01, 0, stop bit */
            assert_memory_equal(f->packet.data + 5, "\x1b\x50", 2);
        assert_int_equal(build(f), 0);
        assert_memory_equal(f->packet.data, "\0\0\1\x0d", 4);
    }
    /* The quantizer of the last one is needed to read what follows it. */
    p->pic_quantizer_fields.bits.quantizer = 1;
    add_picture(f, &whole, NULL);
    assert_int_equal(build(f), 0);
    assert_memory_equal(f->packet.data, "\0\0\1\x0e", 4);
    frame = decode(decoder, f->packet.data, f->packet.size);
    expect_shade(frame, 0, 1, false);
    av_frame_free(&frame);
    avcodec_free_context(&decoder);
    /* Another size is another sequence. */
    p->coded_width += 16;
    assert_int_equal(build(f), 0);
    assert_memory_not_equal(f->packet.extradata, extradata, 11);
    assert_memory_equal(f->packet.data, "\0\0\1\x0d", 4);
}

/* POSTPROCFLAG comes out right whatever the header contains. */
static void test_postprocflag(void **state)
{
    struct fixture *f = *state;
    VAPictureParameterBufferVC1 *p = &f->param;

    for (unsigned i = 0; i < VC1_IMODES * 2 * 9; i++) {
        struct vc1_spec spec = whole;
        unsigned kind = i / VC1_IMODES / 2;

        describe(f);
        spec.acpred = i % VC1_IMODES;
        spec.postprocflag = i / VC1_IMODES % 2;
        p->sequence_fields.bits.tfcntrflag = kind == 1;
        p->sequence_fields.bits.pulldown = kind == 2 || kind == 3;
        p->sequence_fields.bits.interlace = kind == 3 || kind == 4;
        p->picture_fields.bits.frame_coding_mode = kind == 4 ? VC1_FRAME : VC1_PROGRESSIVE;
        p->pic_quantizer_fields.bits.quantizer = kind == 5 ? 1 : 3;
        p->pic_quantizer_fields.bits.pic_quantizer_scale = kind == 6 ? 8 : 10;
        p->sequence_fields.bits.overlap = kind == 6;
        p->pic_quantizer_fields.bits.dquant = kind == 7 ? 1 : kind == 8 ? 2 : 0;
        spec.darker = kind & 1;
        if (kind == 8) {
            /* Macroblocks say their quantizer then, which these do not: headers only. */
            p->coded_width = p->coded_height = 16 + 16 * (i % 7);
            spec.columns = spec.rows = p->coded_width / 16;
        }
        add_picture(f, &spec, NULL);
        assert_int_equal(build(f), 0);
        assert_int_equal(f->packet.extradata[5] & 1, spec.postprocflag ? 1 : 0);
        if (kind != 8)
            expect_picture(f, spec.darker);
    }
    /* A hint on the quality is proof. */
    describe(f);
    p->post_processing = 1;
    add_picture(f, &whole, NULL);
    assert_int_equal(build(f), 0);
    assert_int_equal(f->packet.extradata[5] & 1, 1);
    /* If nothing fits, the flag is what is usual. */
    describe(f);
    add_picture(f, &whole, NULL);
    f->param_of[0].macroblock_offset = 7;
    assert_int_equal(build(f), 0);
    assert_int_equal(f->packet.extradata[5] & 1, 0);
}

/* With or without start codes. */
static void test_slices(void **state)
{
    struct fixture *f = *state;
    struct vc1_spec part = whole;

    part.rows = 2;
    for (unsigned i = 0; i < 4; i++) {
        struct vc1_spec header = part;
        uint8_t raw[512];
        struct bits_writer w;
        uint64_t bits;

        describe(f);
        bits_write_init(&w, raw, sizeof(raw));
        header.rows = ROWS; /* its bit planes are the picture's */
        vc1_put_header(&w, &f->param, &header);
        bits = position(&w);
        vc1_put_macroblocks(&w, &f->param, &part);
        add_slice(f, &w, bits, i & 1 ? "\0\0\1\x0d" : NULL);
        add_more(f, &part, 2, i & 2 ? "\0\0\1\x0b" : NULL);
        add_more(f, &part, 4, NULL);
        assert_int_equal(build(f), 0);
        assert_memory_equal(f->packet.data, "\0\0\1\x0d", 4);
        expect_picture(f, false);
    }
}

/* Both fields in one packet, as the back end joins them. */
static void test_fields(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 8; i++) {
        struct vc1_spec field = {.columns = COLUMNS, .rows = ROWS / 2};
        bool top_first = i & 1;
        uint8_t both[1024];
        AVCodecContext *decoder;
        AVFrame *frame;
        size_t size;

        describe(f);
        f->param.sequence_fields.bits.interlace = 1;
        f->param.sequence_fields.bits.pulldown = 1; /* or top_field_first is not told */
        f->param.picture_fields.bits.frame_coding_mode = VC1_FIELD;
        f->param.picture_fields.bits.top_field_first = top_first;
        f->param.reference_fields.bits.reference_distance_flag = i >> 1 & 1;
        field.postprocflag = i >> 2;
        add_picture(f, &field, NULL);
        assert_int_equal(build(f), 0);
        assert_int_equal(f->packet.flags, BITSTREAM_KEY | (top_first ? BITSTREAM_TOP_FIELD
                                                                     : BITSTREAM_BOTTOM_FIELD));
        assert_int_equal(f->packet.coded_height, ROWS * 16);
        decoder = open_decoder(f, AV_CODEC_ID_VC1);
        size = f->packet.size;
        memcpy(both, f->packet.data, size);

        f->param.picture_fields.bits.is_first_field = 0;
        f->param.entrypoint_fields.bits.loopfilter = 1; /* cannot change here */
        field.second_field = field.darker = true;
        add_picture(f, &field, NULL);
        assert_int_equal(build(f), 0);
        assert_int_equal(f->packet.flags, top_first ? BITSTREAM_BOTTOM_FIELD : BITSTREAM_TOP_FIELD);
        assert_int_equal(f->packet.extradata_size, decoder->extradata_size);
        assert_memory_equal(f->packet.extradata, decoder->extradata, f->packet.extradata_size);
        assert_memory_equal(f->packet.data, "\0\0\1\x0c", 4);
        memcpy(both + size, f->packet.data, f->packet.size);
        frame = decode(decoder, both, size + f->packet.size);
        expect_shade(frame, 0, 2, !top_first);
        expect_shade(frame, 1, 2, top_first);
        av_frame_free(&frame);
        avcodec_free_context(&decoder);
    }
}

static void test_refused(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 11; i++) {
        int err = VD_ERR_UNSUPPORTED;

        describe(f);
        add_picture(f, &whole, NULL);
        if (i == 0)
            f->param.sequence_fields.bits.profile = 1;
        if (i == 1 || i == 2)
            f->profile = i == 1 ? VAProfileVC1Main : VAProfileVC1Simple;
        if (i == 3) {
            f->profile = VAProfileVC1Main;
            f->param.sequence_fields.bits.profile = 2;
        }
        if (i == 4)
            f->param_of[0].slice_data_flag = VA_SLICE_DATA_FLAG_BEGIN;
        if (i == 5) {
            f->profile = VAProfileVC1Main;
            f->param.sequence_fields.bits.profile = 1;
            f->count = 2;
        }
        if (i == 6) {
            f->count = 0;
            err = VD_ERR_PARAMETER;
        }
        if (i >= 7)
            err = VD_ERR_RESOLUTION;
        if (i == 7)
            f->param.coded_width = 0;
        if (i == 8)
            f->param.coded_height = 0;
        if (i == 9)
            f->param.coded_width = 8193;
        if (i == 10)
            f->param.coded_height = 65535;
        assert_int_equal(build(f), err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_main, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_entry_point, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postprocflag, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };

    av_log_set_level(AV_LOG_FATAL); /* range mapping is decoded and complained about */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
