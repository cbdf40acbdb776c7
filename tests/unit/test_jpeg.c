/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <libavcodec/avcodec.h>
#include <viaduct/errors.h>

#include "bitstream/bitstream.h"
#include "bitstream/jpeg_tables.h"
#include "jpeg_stream.h"

/* Pictures through the builder and libavcodec's decoder: every block must have its colour. */

#define MAX_SCANS  JPEG_MAX_COMPONENTS
#define MAX_COPIES 16

struct fixture {
    void *state;
    struct jpeg_stream stream;
    VAPictureParameterBufferJPEGBaseline param;
    VAIQMatrixBufferJPEGBaseline matrix;
    VAHuffmanTableBufferJPEGBaseline huffman[MAX_SCANS];
    struct va_copy copies[MAX_COPIES];
    uint32_t copy_count;
    VASliceParameterBufferJPEGBaseline param_of[MAX_SCANS];
    struct va_slice slices[MAX_SCANS];
    struct jpeg_scan scan[MAX_SCANS];
    uint32_t scans, context_width, context_height;
    size_t trail; /* bytes behind each scan, as FFmpeg leaves them */
    uint8_t *block;
    struct bitstream_packet packet;
};

static void reset(struct fixture *f)
{
    void *state = f->state;
    uint8_t *block = f->block;

    memset(f, 0, sizeof(*f));
    memset(state, 0, bitstream_jpeg.state_size);
    free(block);
    f->state = state;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->state = calloc(1, bitstream_jpeg.state_size);
    assert_non_null(f->state);
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

static void add_copy(struct fixture *f, enum va_param slot, const void *param)
{
    assert_true(f->copy_count < MAX_COPIES);
    f->copies[f->copy_count++] = (struct va_copy){.slot = slot, .param = param};
}

/* A stream's parameters; sampling as digits, "221111". The tables are those of annex K. */
static void describe(struct fixture *f, unsigned width, unsigned height, const char *sampling)
{
    struct jpeg_stream *s = &f->stream;

    reset(f);
    s->width = f->context_width = width;
    s->height = f->context_height = height;
    s->components = (unsigned)strlen(sampling) / 2;
    f->param.picture_width = (uint16_t)width;
    f->param.picture_height = (uint16_t)height;
    f->param.num_components = (uint8_t)s->components;
    for (unsigned i = 0; i < s->components; i++) {
        s->h[i] = (unsigned)(sampling[2 * i] - '0');
        s->v[i] = (unsigned)(sampling[2 * i + 1] - '0');
        f->param.components[i].component_id = (uint8_t)(10 * i);
        f->param.components[i].h_sampling_factor = (uint8_t)s->h[i];
        f->param.components[i].v_sampling_factor = (uint8_t)s->v[i];
        f->param.components[i].quantiser_table_selector = (uint8_t)(3 - i);
    }
    memset(f->matrix.load_quantiser_table, 1, 4);
    memset(f->matrix.quantiser_table, 8, sizeof(f->matrix.quantiser_table));
    for (unsigned i = 0; i < MAX_SCANS; i++) {
        f->huffman[i] = jpeg_tables_default;
        memset(f->huffman[i].load_huffman_table, 1, 2);
    }
}

static void write_scan(struct fixture *f, unsigned first, unsigned count)
{
    uint32_t n = f->scans++;
    VASliceParameterBufferJPEGBaseline *p = &f->param_of[n];

    *p = (VASliceParameterBufferJPEGBaseline){
        .num_components = (uint8_t)count,
        .restart_interval = (uint16_t)f->stream.restart_interval,
    };
    p->num_mcus = jpeg_write_scan(&f->stream, first, count, &f->huffman[n], &f->scan[n]);
    for (unsigned i = 0; i < count; i++) {
        p->components[i].component_selector = f->param.components[first + i].component_id;
        p->components[i].dc_table_selector = p->components[i].ac_table_selector = first + i != 0;
    }
}

/* As collect.c lays it out, in exact memory; behind the scans what FFmpeg leaves there. */
static int run(struct fixture *f)
{
    static const uint8_t trailing[] = {0xff, 0xff, 0xc0, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0};
    size_t size = BITSTREAM_HEAD_ROOM + BITSTREAM_TAIL_ROOM, at = BITSTREAM_HEAD_ROOM;
    struct va_picture picture = {
        .profile = VAProfileJPEGBaseline,
        .width = f->context_width,
        .height = f->context_height,
        .copies = f->copies,
        .copy_count = f->copy_count,
        .slices = f->slices,
        .slice_count = f->scans,
    };

    picture.param[VA_PARAM_PICTURE] = &f->param;
    for (uint32_t i = 0; i < f->copy_count; i++)
        picture.param[f->copies[i].slot] = f->copies[i].param;
    assert_true(f->trail <= sizeof(trailing));
    for (uint32_t i = 0; i < f->scans; i++)
        size += bitstream_jpeg.gap + f->scan[i].used + f->trail;
    free(f->block);
    f->block = malloc(size);
    assert_non_null(f->block);
    memset(f->block, 0xee, size);
    for (uint32_t i = 0; i < f->scans; i++) {
        at += bitstream_jpeg.gap;
        memcpy(f->block + at, f->scan[i].bytes, f->scan[i].used);
        memcpy(f->block + at + f->scan[i].used, trailing, f->trail);
        f->slices[i].param = &f->param_of[i];
        f->slices[i].data = f->block + at;
        f->slices[i].size = (uint32_t)(f->scan[i].used + f->trail);
        at += f->slices[i].size;
    }
    memset(f->block + at, 0, BITSTREAM_TAIL_ROOM);
    picture.head = f->block;
    return bitstream_jpeg.build(f->state, &picture, &f->packet);
}

static int run_with_tables(struct fixture *f)
{
    f->copy_count = 0;
    add_copy(f, VA_PARAM_PICTURE, &f->param);
    add_copy(f, VA_PARAM_IQ_MATRIX, &f->matrix);
    add_copy(f, VA_PARAM_HUFFMAN, &f->huffman[0]);
    return run(f);
}

/* Decodes and compares; `plane_of` is the decoder's plane of a component. */
static void expect(const struct fixture *f, const uint8_t *data, size_t size,
                   enum AVPixelFormat format, const unsigned *plane_of)
{
    AVCodecContext *decoder = avcodec_alloc_context3(avcodec_find_decoder(AV_CODEC_ID_MJPEG));
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    const struct jpeg_stream *s = &f->stream;
    unsigned hmax = jpeg_max(s, s->h), vmax = jpeg_max(s, s->v);

    assert_true(decoder && packet && frame);
    decoder->err_recognition = AV_EF_EXPLODE;
    assert_int_equal(avcodec_open2(decoder, NULL, NULL), 0);
    assert_int_equal(av_new_packet(packet, (int)size), 0);
    memcpy(packet->data, data, size);
    assert_int_equal(avcodec_send_packet(decoder, packet), 0);
    assert_int_equal(avcodec_receive_frame(decoder, frame), 0);
    assert_int_equal(frame->width, s->width);
    assert_int_equal(frame->height, s->height);
    assert_int_equal(frame->format, format);
    assert_int_equal(frame->decode_error_flags, 0);
    for (unsigned c = 0; c < s->components; c++) {
        unsigned plane = plane_of ? plane_of[c] : c;
        unsigned width = jpeg_div(s->width * s->h[c], hmax);
        unsigned height = jpeg_div(s->height * s->v[c], vmax);

        for (unsigned y = 0; y < height; y++)
            for (unsigned x = 0; x < width; x++)
                assert_int_equal(frame->data[plane][y * (unsigned)frame->linesize[plane] + x],
                                 128 + jpeg_value(c, x / 8, y / 8));
    }
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&decoder);
}

static void expect_packet(const struct fixture *f, enum AVPixelFormat format)
{
    expect(f, f->packet.data, f->packet.size, format, NULL);
}

static const struct {
    const char *sampling;
    enum AVPixelFormat format;
} samplings[] = {
    {"11", AV_PIX_FMT_GRAY8},        {"111111", AV_PIX_FMT_YUVJ444P},
    {"211111", AV_PIX_FMT_YUVJ422P}, {"121111", AV_PIX_FMT_YUVJ440P},
    {"221111", AV_PIX_FMT_YUVJ420P}, {"411111", AV_PIX_FMT_YUVJ411P},
};

/* Interleaved, each component a scan, and both with restart markers; sizes around the block's. */
static void test_samplings(void **state)
{
    static const unsigned sizes[][2] = {{1, 1}, {8, 8}, {16, 24}, {33, 17}, {150, 103}};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(samplings); i++) {
        for (size_t j = 0; j < COUNT(sizes); j++) {
            for (unsigned kind = 0; kind < 8; kind++) {
                describe(f, sizes[j][0], sizes[j][1], samplings[i].sampling);
                f->stream.restart_interval = kind & 2 ? 3 : 0;
                f->trail = kind & 4 ? 14 : 0;
                if (kind & 1) {
                    for (unsigned c = 0; c < f->stream.components; c++)
                        write_scan(f, c, 1);
                } else {
                    write_scan(f, 0, f->stream.components);
                }
                assert_int_equal(run_with_tables(f), 0);
                assert_int_equal(f->packet.flags, BITSTREAM_KEY);
                assert_int_equal(f->packet.coded_width, sizes[j][0]);
                assert_int_equal(f->packet.coded_height, sizes[j][1]);
                assert_true(f->packet.data + f->packet.size <= f->slices[f->scans - 1].data +
                                                                   f->slices[f->scans - 1].size +
                                                                   BITSTREAM_TAIL_ROOM);
                expect_packet(f, samplings[i].format);
            }
        }
    }
}

/* The marker segments of a one-scan picture, byte by byte where nothing else tests them. */
static void test_headers(void **state)
{
    struct fixture *f = *state;
    const uint8_t *p;

    describe(f, 300, 200, "221111");
    f->stream.restart_interval = 0x1234;
    for (unsigned i = 0; i < 64; i++)
        f->matrix.quantiser_table[2][i] = (uint8_t)(100 + i);
    write_scan(f, 0, 3);
    assert_int_equal(run_with_tables(f), 0);
    p = f->packet.data;
    assert_memory_equal(p, "\xff\xd8\xff\xc0\0\x11\x08\0\xc8\x01\x2c\x03", 12);
    assert_memory_equal(p + 12, "\x01\x22\x03\x02\x11\x02\x03\x11\x01", 9);
    assert_memory_equal(p + 21, "\xff\xdb\0\x43\x03\x08\x08", 7);
    p += 21 + 69;
    assert_memory_equal(p, "\xff\xc4\0\x1f\0", 5); /* DC 0 */
    p += 33;
    assert_memory_equal(p, "\xff\xc4\0\xb5\x10", 5); /* AC 0 */
    p += 183;
    assert_memory_equal(p, "\xff\xdb\0\x43\x02\x64\x65\x66", 8);
    p += 69;
    assert_memory_equal(p, "\xff\xc4\0\x1f\x01", 5);
    p += 33;
    assert_memory_equal(p, "\xff\xc4\0\xb5\x11", 5);
    p += 183;
    assert_memory_equal(p, "\xff\xdb\0\x43\x01", 5);
    p += 69;
    assert_memory_equal(p, "\xff\xdd\0\x04\x12\x34", 6);
    assert_memory_equal(p + 6, "\xff\xda\0\x0c\x03\x01\0\x02\x11\x03\x11\0\x3f\0", 14);
    assert_ptr_equal(p + 20, f->slices[0].data); /* data that need not be moved is not */
    p = f->packet.data + f->packet.size - 2;
    assert_memory_equal(p, "\xff\xd9", 2);
    assert_ptr_equal(p, f->slices[0].data + f->scan[0].used);
}

/* Without Huffman tables those of annex K hold, which libavcodec knows, too. */
static void test_default_tables(void **state)
{
    struct fixture *f = *state;
    uint8_t *without;
    size_t size, header;

    describe(f, 64, 48, "221111");
    write_scan(f, 0, 3);
    add_copy(f, VA_PARAM_PICTURE, &f->param);
    add_copy(f, VA_PARAM_IQ_MATRIX, &f->matrix);
    assert_int_equal(run(f), 0);
    expect_packet(f, AV_PIX_FMT_YUVJ420P);
    /* The same without the builder's. */
    without = malloc(f->packet.size);
    assert_non_null(without);
    header = (size_t)(f->slices[0].data - f->packet.data);
    memcpy(without, f->packet.data, 21 + 69);
    size = 21 + 69;
    memcpy(without + size, f->packet.data + size + 216, 69);
    size += 69;
    memcpy(without + size, f->packet.data + 21 + 69 + 216 + 69 + 216, header - 21 - 69 - 501);
    size += header - 21 - 69 - 501;
    memcpy(without + size, f->packet.data + header, f->packet.size - header);
    size += f->packet.size - header;
    expect(f, without, size, AV_PIX_FMT_YUVJ420P, NULL);
    free(without);
}

/* Tables stay until others come. */
static void test_tables_stay(void **state)
{
    struct fixture *f = *state;

    describe(f, 40, 40, "111111");
    for (unsigned i = 0; i < 12; i++) /* other codes for the same symbols */
        f->huffman[0].huffman_table[1].dc_values[i] = (uint8_t)(11 - i);
    write_scan(f, 0, 3);
    assert_int_equal(run_with_tables(f), 0);
    expect_packet(f, AV_PIX_FMT_YUVJ444P);
    f->copy_count = 1;
    assert_int_equal(run(f), 0);
    expect_packet(f, AV_PIX_FMT_YUVJ444P);
    /* Tables that are not loaded are not looked at. */
    memset(&f->huffman[0], 0xff, sizeof(f->huffman[0]));
    memset(&f->matrix, 0xff, sizeof(f->matrix));
    memset(f->huffman[0].load_huffman_table, 0, 2);
    memset(f->matrix.load_quantiser_table, 0, 4);
    assert_int_equal(run_with_tables(f), 0);
    expect_packet(f, AV_PIX_FMT_YUVJ444P);
    /* Nothing is known of a new stream's quantisers. */
    memset(f->state, 0, bitstream_jpeg.state_size);
    assert_int_equal(run_with_tables(f), VD_ERR_PARAMETER);
}

/* Each scan with tables of its own, in the order FFmpeg and GStreamer send them. */
static void test_tables_of_scans(void **state)
{
    struct fixture *f = *state;

    for (unsigned kind = 0; kind < 2; kind++) {
        describe(f, 70, 50, "221111");
        add_copy(f, VA_PARAM_PICTURE, &f->param);
        for (unsigned c = 0; c < 3; c++) {
            for (unsigned i = 0; i < 12; i++)
                f->huffman[c].huffman_table[c != 0].dc_values[i] = (uint8_t)((i + c * 5) % 12);
            write_scan(f, c, 1);
            add_copy(f, VA_PARAM_HUFFMAN, &f->huffman[c]);
            add_copy(f, VA_PARAM_IQ_MATRIX, &f->matrix);
        }
        /* GStreamer loads only what is new. */
        if (kind)
            f->huffman[1].load_huffman_table[0] = f->huffman[2].load_huffman_table[0] = 0;
        assert_int_equal(run(f), 0);
        expect_packet(f, AV_PIX_FMT_YUVJ420P);
    }
}

/* Some encoders' tables are longer than VA's: their first values are all that scans use. */
static void test_long_tables(void **state)
{
    struct fixture *f = *state;

    describe(f, 64, 64, "11");
    memset(f->huffman[0].huffman_table[0].num_dc_codes + 9, 1, 4);
    f->huffman[0].huffman_table[0].num_ac_codes[15] = 126;
    write_scan(f, 0, 1);
    assert_int_equal(run_with_tables(f), 0);
    expect_packet(f, AV_PIX_FMT_GRAY8);
    f->huffman[0].huffman_table[0].num_dc_codes[13] = 1;
    assert_int_equal(run_with_tables(f), VD_ERR_PARAMETER);
    f->huffman[0] = jpeg_tables_default;
    f->huffman[0].load_huffman_table[0] = 1;
    f->huffman[0].huffman_table[0].num_ac_codes[15] = 250;
    assert_int_equal(run_with_tables(f), VD_ERR_PARAMETER);
    memset(f->huffman[0].huffman_table[0].num_ac_codes, 0, 16);
    assert_int_equal(run_with_tables(f), VD_ERR_PARAMETER);
}

static void test_colours(void **state)
{
    static const unsigned rgb[] = {2, 0, 1}, bgr[] = {1, 0, 2};
    struct fixture *f = *state;

    describe(f, 40, 40, "111111");
    for (unsigned i = 0; i < 3; i++)
        f->param.components[i].component_id = (uint8_t) "RGB"[i];
    write_scan(f, 0, 3);
    /* What VA says counts, not what the numbers spell. */
    assert_int_equal(run_with_tables(f), 0);
    expect_packet(f, AV_PIX_FMT_YUVJ444P);
    f->param.color_space = 1;
    assert_int_equal(run_with_tables(f), 0);
    expect(f, f->packet.data, f->packet.size, AV_PIX_FMT_GBRP, rgb);
    f->param.color_space = 2;
    assert_int_equal(run_with_tables(f), 0);
    expect(f, f->packet.data, f->packet.size, AV_PIX_FMT_GBRP, bgr);
    f->param.color_space = 3;
    assert_int_equal(run_with_tables(f), VD_ERR_PARAMETER);
}

/* FFmpeg passes the visible height of Avid's streams. */
static void test_hidden_lines(void **state)
{
    struct fixture *f = *state;

    describe(f, 64, 54, "211111");
    write_scan(f, 0, 3);
    f->param.picture_height = 46;
    assert_int_equal(run_with_tables(f), 0);
    assert_int_equal(f->packet.coded_height, 54);
    expect_packet(f, AV_PIX_FMT_YUVJ422P);
    f->param_of[0].num_mcus = 24; /* as many as 46 lines have */
    assert_int_equal(run_with_tables(f), 0);
    assert_int_equal(f->packet.coded_height, 46);
}

/* Every field that is refused, alone. */
static void test_refused(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 19; i++) {
        int err = VD_ERR_PARAMETER;

        describe(f, 64, 64, "221111");
        write_scan(f, 0, 3);
        f->param.num_components = i == 0 ? 0 : i == 1 ? 5 : 3;
        f->param.components[1].h_sampling_factor = i == 2 ? 0 : i == 3 ? 5 : 1;
        f->param.components[1].v_sampling_factor = i == 4 ? 0 : i == 5 ? 5 : 1;
        f->param.components[2].quantiser_table_selector = i == 6 ? 4 : 1;
        f->param_of[0].num_components = i == 7 ? 0 : i == 8 ? 5 : 3;
        f->param_of[0].components[2].component_selector = i == 9 ? 99 : 20;
        f->param_of[0].components[2].dc_table_selector = i == 10 ? 2 : 1;
        f->param_of[0].components[2].ac_table_selector = i == 11 ? 255 : 1;
        if (i == 12)
            f->param.picture_width = 0;
        if (i == 13)
            f->param.picture_height = 0;
        if (i == 14)
            f->param.picture_width = 65;
        if (i == 15)
            f->param.picture_height = 65535;
        if (i >= 12 && i <= 15)
            err = VD_ERR_RESOLUTION;
        f->param.rotation = i == 16;
        f->param_of[0].slice_data_flag = i == 17 ? VA_SLICE_DATA_FLAG_BEGIN : 0;
        if (i == 16 || i == 17)
            err = VD_ERR_UNSUPPORTED;
        if (i == 18)
            f->scans = 0;
        assert_int_equal(run_with_tables(f), err);
    }
    describe(f, 64, 64, "11111111");
    write_scan(f, 0, 4);
    assert_int_equal(run_with_tables(f), VD_ERR_UNSUPPORTED);
    describe(f, 64, 64, "221111");
    write_scan(f, 0, 3);
    f->scan[0].used = 0; /* nothing to decode, but legal */
    assert_int_equal(run_with_tables(f), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_samplings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_default_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tables_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tables_of_scans, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_colours, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hidden_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
