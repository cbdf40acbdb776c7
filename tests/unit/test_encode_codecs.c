/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <va/va.h>
#include <va/va_enc_av1.h>
#include <va/va_enc_jpeg.h>
#include <va/va_enc_mpeg2.h>
#include <va/va_enc_vp8.h>
#include <va/va_enc_vp9.h>
#include <viaduct/errors.h>

#include "encode/encode.h"
#include "encode/jpeg.h"

/*
 * From VA-API to requests, and from packets to streams, of the codecs that have little to write.
 */

static struct fixture {
    const struct encode_codec *codec;
    void *state, *write_state;
    struct encode_picture picture;
    struct encode_request request;
    const void *slices[1];
    struct encode_header header;
    uint8_t room[512];
    struct encode_output output;
} f;

static void start(const struct encode_codec *codec, int profile)
{
    memset(&f, 0, sizeof(f));
    f.codec = codec;
    f.state = calloc(1, codec->read_state_size);
    f.write_state = calloc(1, codec->write_state_size + 1);
    assert_true(f.state && f.write_state);
    f.picture = (struct encode_picture){
        .profile = profile,
        .width = 640,
        .height = 384,
        .surface_width = 640,
        .surface_height = 384,
        .rate_control = VA_RC_CQP,
        .slices = f.slices,
        .headers = &f.header,
    };
}

static void stop(void)
{
    free(f.state);
    free(f.write_state);
}

static int read_picture(void)
{
    memset(&f.request, 0, sizeof(f.request));
    return f.codec->read(f.state, &f.picture, &f.request);
}

static void write_packet(const void *bytes, size_t size)
{
    const struct encode_packet packet = {.data = bytes, .size = size, .key = true, .qp = -1};

    f.output = (struct encode_output){.bytes = f.room, .room = sizeof(f.room)};
    assert_int_equal(f.codec->write(f.write_state, &f.request, &packet, &f.output), 0);
    assert_true(f.output.size <= f.output.room);
}

static void assert_tools(uint32_t width, uint32_t height, uint32_t bit_depth)
{
    assert_int_equal(f.request.tools.profile, f.picture.profile);
    assert_int_equal(f.request.tools.width, width);
    assert_int_equal(f.request.tools.height, height);
    assert_int_equal(f.request.tools.bit_depth, bit_depth);
    assert_int_equal(f.request.tools.slices, 1);
}

static void test_vp8(void **state)
{
    VAEncSequenceParameterBufferVP8 sequence = {
        .frame_width = 600, .frame_height = 380, .intra_period = 50, .bits_per_second = 900000};
    VAEncPictureParameterBufferVP8 param = {.ref_flags.bits = {.force_kf = 1, .temporal_id = 2},
                                            .pic_flags.bits = {.refresh_last = 1},
                                            .clamp_qindex_low = 4,
                                            .clamp_qindex_high = 100};
    VAQMatrixBufferVP8 matrix = {.quantization_index = {40, 1, 2, 3}};

    (void)state;
    start(&encode_vp8, VAProfileVP8Version0_3);
    assert_int_equal(read_picture(), VD_ERR_PARAMETER);
    f.picture.param[ENCODE_PARAM_SEQUENCE] = &sequence;
    f.picture.param[ENCODE_PARAM_PICTURE] = &param;
    f.picture.param[ENCODE_PARAM_MATRIX] = &matrix;
    assert_int_equal(read_picture(), 0);
    assert_tools(600, 380, 8);
    assert_int_equal(f.request.type, ENCODE_IDR);
    assert_int_equal(f.request.qp, 40);
    assert_int_equal(f.request.layer, 2);
    assert_true(f.request.reference);
    assert_int_equal(f.request.tools.intra_period, 50);
    assert_int_equal(f.request.rate.bits_per_second, 900000);
    assert_int_equal(f.request.rate.min_qp, 4);
    assert_int_equal(f.request.rate.max_qp, 100);
    assert_int_equal(f.request.rate.frame_rate_num, 30);

    /* What is not sent again stays. */
    f.picture.param[ENCODE_PARAM_SEQUENCE] = f.picture.param[ENCODE_PARAM_MATRIX] = NULL;
    param.ref_flags.bits.force_kf = 0;
    param.pic_flags.bits.frame_type = 1;
    assert_int_equal(read_picture(), 0);
    assert_tools(600, 380, 8);
    assert_int_equal(f.request.type, ENCODE_P);
    assert_int_equal(f.request.qp, 40);
    matrix.quantization_index[0] = 65535;
    f.picture.param[ENCODE_PARAM_MATRIX] = &matrix;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(f.request.qp, 127);
    write_packet("frame", 5);
    assert_memory_equal(f.room, "frame", 5);
    stop();
}

/* FFmpeg's contexts are multiples of 64: the size is the picture's. */
/* Once there are layers the app's references count. */
static void test_vp8_layers(void **state)
{
    VAEncPictureParameterBufferVP8 param = {
        .ref_flags.bits = {.no_ref_gf = 1, .no_ref_arf = 1},
        .pic_flags.bits = {.frame_type = 1, .refresh_golden_frame = 1}};

    (void)state;
    start(&encode_vp8, VAProfileVP8Version0_3);
    f.picture.param[ENCODE_PARAM_PICTURE] = &param;
    assert_int_equal(read_picture(), 0);
    assert_false(f.request.tools.layered);
    param.ref_flags.bits.temporal_id = 1;
    assert_int_equal(read_picture(), 0);
    assert_true(f.request.tools.layered);
    assert_int_equal(f.request.refer, ENCODE_LAST);
    assert_int_equal(f.request.refresh, ENCODE_GOLDEN);
    param.ref_flags.bits.temporal_id = 0;
    param.pic_flags.bits.refresh_last = param.pic_flags.bits.refresh_alternate_frame = 1;
    assert_int_equal(read_picture(), 0);
    assert_true(f.request.tools.layered);
    assert_int_equal(f.request.refresh, ENCODE_LAST | ENCODE_GOLDEN | ENCODE_ALTERNATE);
    stop();
}

/* One picture of VP9: what it refers to, by slots of the app, and which slots it goes to. */
static void vp9_step(VAEncPictureParameterBufferVP9 *param, unsigned layer, unsigned from,
                     unsigned slots)
{
    param->ref_flags.bits.temporal_id = layer & 7;
    param->ref_flags.bits.ref_frame_ctrl_l0 = 1;
    param->ref_flags.bits.ref_last_idx = from & 7;
    param->refresh_frame_flags = (uint8_t)slots;
    assert_int_equal(read_picture(), 0);
    assert_true(f.request.tools.layered);
}

/* Eight references of the app's in three of the encoder's. */
static void test_vp9_layers(void **state)
{
    VAEncSequenceParameterBufferVP9 sequence = {.max_frame_width = 640, .max_frame_height = 360};
    VAEncPictureParameterBufferVP9 param = {
        .frame_width_src = 640, .frame_height_src = 360, .pic_flags.bits.show_frame = 1};
    VAEncMiscParameterTemporalLayerStructure layers = {.number_of_layers = 3};
    struct encode_misc misc = {VAEncMiscParameterTypeTemporalLayerStructure, sizeof(layers),
                               &layers};
    uint8_t base, middle;

    (void)state;
    start(&encode_vp9, VAProfileVP9Profile0);
    f.picture.param[ENCODE_PARAM_SEQUENCE] = &sequence;
    f.picture.param[ENCODE_PARAM_PICTURE] = &param;
    f.picture.misc = &misc;
    f.picture.misc_count = 1;
    assert_int_equal(read_picture(), 0);
    assert_true(f.request.tools.layered);
    param.pic_flags.bits.frame_type = 1;
    vp9_step(&param, 2, 0, 0); /* of the top layer: kept by nobody */
    assert_int_equal(f.request.refresh, 0);
    base = f.request.refer;
    vp9_step(&param, 1, 0, 1 << 5);
    assert_int_equal(f.request.refer, base);
    middle = f.request.refresh;
    assert_true(middle && middle != base);
    vp9_step(&param, 2, 5, 1 << 7);
    assert_int_equal(f.request.refer, middle);
    assert_true(f.request.refresh && !(f.request.refresh & (base | middle)));
    vp9_step(&param, 0, 0, 0x1f); /* the base layer goes on; slot 6 still has the key picture */
    assert_int_equal(f.request.refer, base);
    vp9_step(&param, 0, 0, 0xff);
    assert_true(f.request.refer && f.request.refresh);
    stop();
}

/* What is to be shown later cannot be: the app would name it by a slot of its own. */
static void test_vp9_hidden(void **state)
{
    VAEncPictureParameterBufferVP9 param = {.frame_width_src = 640, .frame_height_src = 360};
    uint32_t types[16], values[16];
    uint32_t count = encode_vp9.attributes(VAProfileVP9Profile0, types, values, 16);

    (void)state;
    start(&encode_vp9, VAProfileVP9Profile0);
    f.picture.param[ENCODE_PARAM_PICTURE] = &param;
    assert_int_equal(read_picture(), VD_ERR_UNSUPPORTED);
    param.pic_flags.bits.show_frame = 1;
    assert_int_equal(read_picture(), 0);
    stop();
    /* With three references GStreamer hides pictures. */
    for (uint32_t i = 0; i < count; i++) {
        if (types[i] == VAConfigAttribEncMaxRefFrames)
            assert_int_equal(values[i], 2);
    }
}

/* Regions are told in steps of the codec's scale, or of importance. */
static void test_regions(void **state)
{
    VAEncPictureParameterBufferVP9 param = {
        .frame_width_src = 640, .frame_height_src = 360, .pic_flags.bits.show_frame = 1};
    struct vd_enc_roi roi = {
        .count = 3,
        .roi_flags = 1,
        .roi = {0, 0, 64, 64, 100, 0, 0, 8, 8, 999, 0, 0, 8, 8, (uint32_t)-1000}};
    struct encode_misc misc = {VAEncMiscParameterTypeROI, sizeof(roi), &roi};

    (void)state;
    start(&encode_vp9, VAProfileVP9Profile0);
    f.picture.param[ENCODE_PARAM_PICTURE] = &param;
    f.picture.misc = &misc;
    f.picture.misc_count = 1;
    f.picture.rate_control = VA_RC_CBR;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(f.request.region_count, 3);
    assert_int_equal(f.request.regions[0].delta_qp, 100);
    assert_int_equal(f.request.regions[1].delta_qp, 255);
    assert_int_equal(f.request.regions[2].delta_qp, -255);
    roi.roi_flags = 0;
    roi.roi[4] = 3;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(f.request.regions[0].delta_qp, -15);
    assert_int_equal(f.request.regions[1].delta_qp, -255);
    stop();
}

static void test_skipped(void **state)
{
    VAEncPictureParameterBufferVP9 param = {
        .frame_width_src = 640, .frame_height_src = 360, .pic_flags.bits.show_frame = 1};
    VAEncMiscParameterSkipFrame skip = {
        .skip_frame_flag = 1, .num_skip_frames = 3, .size_skip_frames = 4000};
    struct encode_misc misc = {VAEncMiscParameterTypeSkipFrame, sizeof(skip), &skip};

    (void)state;
    start(&encode_vp9, VAProfileVP9Profile0);
    f.picture.param[ENCODE_PARAM_PICTURE] = &param;
    f.picture.misc = &misc;
    f.picture.misc_count = 1;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(f.request.skipped, 3);
    assert_int_equal(f.request.skipped_bits, 4000);
    assert_false(f.request.coded_by_app);
    skip.skip_frame_flag = 0;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(f.request.skipped, 0);
    skip.skip_frame_flag = 2;
    assert_int_equal(read_picture(), 0);
    assert_true(f.request.coded_by_app);
    assert_int_equal(f.request.skipped, 0);
    stop();
}

static void test_vp9(void **state)
{
    VAEncSequenceParameterBufferVP9 sequence = {.max_frame_width = 640, .max_frame_height = 360};
    VAEncPictureParameterBufferVP9 param = {.frame_width_src = 640,
                                            .frame_height_src = 360,
                                            .frame_width_dst = 638,
                                            .frame_height_dst = 358,
                                            .pic_flags.bits.show_frame = 1,
                                            .luma_ac_qindex = 93};

    (void)state;
    start(&encode_vp9, VAProfileVP9Profile0);
    assert_int_equal(read_picture(), VD_ERR_PARAMETER);
    f.picture.param[ENCODE_PARAM_SEQUENCE] = &sequence;
    f.picture.param[ENCODE_PARAM_PICTURE] = &param;
    assert_int_equal(read_picture(), 0);
    assert_tools(638, 358, 8);
    assert_int_equal(f.request.type, ENCODE_IDR);
    assert_int_equal(f.request.qp, 93);
    param.pic_flags.bits.frame_type = 1;
    param.frame_width_dst = param.frame_height_dst = 0;
    f.picture.profile = VAProfileVP9Profile2;
    assert_int_equal(read_picture(), 0);
    assert_tools(640, 360, 10);
    assert_int_equal(f.request.type, ENCODE_P);
    param.pic_flags.bits.intra_only = 1;
    param.frame_width_src = 0;
    assert_int_equal(read_picture(), 0);
    assert_tools(640, 360, 10);
    assert_int_equal(f.request.type, ENCODE_I);
    stop();
}

static void test_av1(void **state)
{
    VAEncSequenceParameterBufferAV1 sequence = {.seq_fields.bits = {.bit_depth_minus8 = 2},
                                                .bits_per_second = 500000};
    VAEncPictureParameterBufferAV1 param = {.frame_width_minus_1 = 319,
                                            .frame_height_minus_1 = 199,
                                            .base_qindex = 120,
                                            .min_base_qindex = 10,
                                            .max_base_qindex = 200};

    (void)state;
    start(&encode_av1, VAProfileAV1Profile0);
    assert_int_equal(read_picture(), VD_ERR_PARAMETER);
    f.picture.param[ENCODE_PARAM_PICTURE] = &param;
    assert_int_equal(read_picture(), 0);
    assert_tools(320, 200, 8);
    f.picture.param[ENCODE_PARAM_SEQUENCE] = &sequence;
    assert_int_equal(read_picture(), 0);
    assert_tools(320, 200, 10);
    assert_int_equal(f.request.type, ENCODE_IDR);
    assert_int_equal(f.request.qp, 120);
    assert_int_equal(f.request.rate.min_qp, 10);
    assert_int_equal(f.request.rate.max_qp, 200);
    assert_int_equal(f.request.rate.bits_per_second, 500000);
    param.picture_flags.bits.frame_type = 1;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(f.request.type, ENCODE_P);
    param.picture_flags.bits.frame_type = 3;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(f.request.type, ENCODE_I);
    sequence.seq_profile = 1;
    assert_int_equal(read_picture(), VD_ERR_UNSUPPORTED);
    stop();
}

static void test_mpeg2(void **state)
{
    VAEncSequenceParameterBufferMPEG2 sequence = {.picture_width = 352,
                                                  .picture_height = 288,
                                                  .frame_rate = 29.97f,
                                                  .bits_per_second = 4000000,
                                                  .intra_period = 12};
    VAEncPictureParameterBufferMPEG2 param = {.picture_type = VAEncPictureTypeIntra};
    VAEncSliceParameterBufferMPEG2 slice = {.quantiser_scale_code = 9};

    (void)state;
    start(&encode_mpeg2, VAProfileMPEG2Main);
    assert_int_equal(read_picture(), VD_ERR_PARAMETER);
    f.slices[0] = &slice;
    f.picture.slice_count = 1;
    f.picture.param[ENCODE_PARAM_SEQUENCE] = &sequence;
    f.picture.param[ENCODE_PARAM_PICTURE] = &param;
    assert_int_equal(read_picture(), 0);
    assert_tools(352, 288, 8);
    assert_int_equal(f.request.type, ENCODE_IDR);
    assert_int_equal(f.request.qp, 9);
    assert_int_equal(f.request.rate.frame_rate_num, 29970);
    assert_int_equal(f.request.rate.frame_rate_den, 1000);
    f.picture.param[ENCODE_PARAM_SEQUENCE] = NULL;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(f.request.type, ENCODE_I);
    param.picture_type = VAEncPictureTypePredictive;
    /* The other scale: code 24 stands for 52, as 26 does in the linear one. */
    param.picture_coding_extension.bits.q_scale_type = 1;
    slice.quantiser_scale_code = 23;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(f.request.type, ENCODE_P);
    assert_int_equal(f.request.qp, 26);
    slice.quantiser_scale_code = -7;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(f.request.qp, 31);
    /* There are no B pictures: shown in the order of coding they would be wrong. */
    param.picture_type = VAEncPictureTypeBidirectional;
    assert_int_equal(read_picture(), VD_ERR_UNSUPPORTED);
    stop();
}

/* The app's sequence header instead of the encoder's where both mean the same pictures. */
static void test_mpeg2_header(void **state)
{
    static const uint8_t own[] = {0,    0,    1, 0xb3, 0x16, 0x01, 0x20, 0x13, 0xff, 0xff,
                                  0xe0, 0x18, 0, 0,    1,    0xb5, 0x14, 0x8a, 0x00, 0x01,
                                  0x00, 0x00, 0, 0,    1,    0xb8, 1,    2,    3};
    static const uint8_t app[] = {0,    0, 1, 0xb3, 0x16, 0x01, 0x20, 0x33, 0x11, 0x22, 0x20,
                                  0x18, 0, 0, 1,    0xb5, 0x14, 0x8a, 0x00, 0x01, 0x00, 0x00,
                                  0,    0, 1, 0xb5, 0x23, 5,    0,    0,    1,    0xb8, 9};
    uint8_t other[sizeof(app)];

    (void)state;
    start(&encode_mpeg2, VAProfileMPEG2Main);
    f.request.headers[0] = (struct encode_header){
        .type = VAEncPackedHeaderSequence, .bits = sizeof(app) * 8, .bytes = app};
    f.request.header_count = 1;
    write_packet(own, sizeof(own));
    /* All up to the group of pictures, which is the encoder's. */
    assert_int_equal(f.output.size, 28 + 7);
    assert_memory_equal(f.room, app, 28);
    assert_memory_equal(f.room + 28, own + 22, 7);
    /* The app packs it once. */
    f.request.header_count = 0;
    write_packet(own, sizeof(own));
    assert_int_equal(f.output.size, 28 + 7);
    assert_memory_equal(f.room, app, 28);
    f.request.header_count = 1;

    memcpy(other, app, sizeof(app));
    other[5] = 0x02; /* wider */
    f.request.headers[0].bytes = other;
    write_packet(own, sizeof(own));
    assert_int_equal(f.output.size, sizeof(own));
    assert_memory_equal(f.room, own, sizeof(own));
    other[5] = 0x01;
    other[11] |= 2; /* a matrix that the encoder does not know */
    write_packet(own, sizeof(own));
    assert_memory_equal(f.room, own, sizeof(own));
    memset(f.write_state, 0, encode_mpeg2.write_state_size);
    for (uint32_t size = 0; size < sizeof(app); size++) {
        void *copy = check_exact(app, size);

        f.request.headers[0] = (struct encode_header){
            .type = VAEncPackedHeaderSequence, .bits = size * 8, .bytes = copy};
        write_packet(own, sizeof(own));
        free(copy);
    }
    stop();
}

static const struct jpeg_request *jpeg(void)
{
    return (const void *)f.request.own;
}

static void test_jpeg(void **state)
{
    VAEncPictureParameterBufferJPEG param = {.picture_width = 321,
                                             .picture_height = 123,
                                             .num_components = 3,
                                             .sample_bit_depth = 8,
                                             .quality = 50,
                                             .quantiser_table_selector = {0, 1, 1}};
    VAQMatrixBufferJPEG matrix = {.load_lum_quantiser_matrix = 1};
    VAEncSliceParameterBufferJPEG slice = {.restart_interval = 7};

    (void)state;
    start(&encode_jpeg, VAProfileJPEGBaseline);
    assert_int_equal(read_picture(), VD_ERR_PARAMETER);
    f.picture.param[ENCODE_PARAM_PICTURE] = &param;
    f.slices[0] = &slice;
    f.picture.slice_count = 1;
    assert_int_equal(read_picture(), 0);
    assert_tools(321, 123, 8);
    /* Tables K.1 and K.2, row by row. */
    assert_int_equal(jpeg()->quantiser[0][0], 16);
    assert_int_equal(jpeg()->quantiser[0][1], 11);
    assert_int_equal(jpeg()->quantiser[0][8], 12);
    assert_int_equal(jpeg()->quantiser[0][63], 99);
    assert_int_equal(jpeg()->quantiser[1][0], 17);
    assert_int_equal(jpeg()->quantiser[1][9], 21);
    assert_int_equal(jpeg()->components, 3);
    assert_int_equal(jpeg()->selector[2], 1);
    assert_int_equal(jpeg()->restart_interval, 7);

    for (int i = 0; i < 64; i++)
        matrix.lum_quantiser_matrix[i] = (uint8_t)(i + 1);
    f.picture.param[ENCODE_PARAM_MATRIX] = &matrix;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(jpeg()->quantiser[0][8], 3); /* third of the zig-zag scan */
    assert_int_equal(jpeg()->quantiser[0][1], 2);
    assert_int_equal(jpeg()->quantiser[1][0], 17);
    param.quality = 75;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(jpeg()->quantiser[0][63], 32);
    param.quality = 100;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(jpeg()->quantiser[0][63], 1);
    param.quality = 0;
    assert_int_equal(read_picture(), 0);
    assert_int_equal(jpeg()->quantiser[0][63], 255);
    param.pic_flags.bits.progressive = 1;
    assert_int_equal(read_picture(), VD_ERR_UNSUPPORTED);
    stop();
}

/* The app's comment instead of the encoder's JFIF segment; all else is the encoder's. */
static void test_jpeg_header(void **state)
{
    static const uint8_t own[] = {0xff, 0xd8, 0xff, 0xe0, 0, 4, 'J', 'F', 0xff, 0xdb, 0, 3, 9, 1};
    static const uint8_t app[] = {0xff, 0xd8, 0xff, 0xe1, 0,    3, 'x', 0xff, 0xdb, 0,
                                  3,    8,    0xff, 0xfe, 0,    4, 'h', 'i',  0xff, 0xda,
                                  0,    3,    1,    0xff, 0xe2, 0, 3,   'n'};
    static const uint8_t want[] = {0xff, 0xd8, 0xff, 0xe1, 0,    3, 'x', 0xff, 0xfe, 0,
                                   4,    'h',  'i',  0xff, 0xdb, 0, 3,   9,    1};

    (void)state;
    start(&encode_jpeg, VAProfileJPEGBaseline);
    write_packet(own, sizeof(own));
    assert_int_equal(f.output.size, sizeof(own));
    assert_memory_equal(f.room, own, sizeof(own));
    f.request.headers[0] = (struct encode_header){
        .type = VAEncPackedHeaderRawData, .bits = sizeof(app) * 8 - 5 * 8, .bytes = app};
    f.request.header_count = 1;
    write_packet(own, sizeof(own));
    assert_int_equal(f.output.size, sizeof(want));
    assert_memory_equal(f.room, want, sizeof(want));
    for (uint32_t size = 0; size < sizeof(app); size++) {
        void *copy = check_exact(app, size);

        f.request.headers[0].bits = size * 8;
        f.request.headers[0].bytes = copy;
        write_packet(own, sizeof(own));
        free(copy);
    }
    stop();
}

/* No codec writes more attributes than there is room for, and each is in the table. */
static void test_table(void **state)
{
    static const struct encode_codec *const codecs[] = {&encode_vp8, &encode_vp9, &encode_av1,
                                                        &encode_mpeg2, &encode_jpeg};

    (void)state;
    for (size_t i = 0; i < COUNT(codecs); i++) {
        uint32_t types[VD_MAX_CAP_ATTRIBUTES], values[VD_MAX_CAP_ATTRIBUTES];

        assert_int_equal(codecs[i]->attributes(0, types, values, 0), 0);
        assert_true(codecs[i]->attributes(0, types, values, VD_MAX_CAP_ATTRIBUTES) > 0);
        if (codecs[i] != &encode_jpeg)
            assert_ptr_equal(encode_codec_find(codecs[i]->codec), codecs[i]);
    }
    assert_null(encode_codec_find(VD_CODEC_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vp8),        cmocka_unit_test(test_vp9),
        cmocka_unit_test(test_av1),        cmocka_unit_test(test_mpeg2),
        cmocka_unit_test(test_vp8_layers), cmocka_unit_test(test_vp9_layers),
        cmocka_unit_test(test_vp9_hidden), cmocka_unit_test(test_regions),
        cmocka_unit_test(test_skipped),    cmocka_unit_test(test_mpeg2_header),
        cmocka_unit_test(test_jpeg),       cmocka_unit_test(test_jpeg_header),
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
