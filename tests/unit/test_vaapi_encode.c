/* SPDX-License-Identifier: MIT */
#include "vaapi_session.h"

/* Encoding through the vaapi back end. */

#define ROOM 1000

/* What an app sends for a picture. */
struct app {
    VAEncSequenceParameterBufferH264 sequence;
    VAEncPictureParameterBufferH264 picture;
    VAEncSliceParameterBufferH264 slices[2];
    VAEncPackedHeaderParameterBuffer header;
    uint8_t bytes[8];
    struct {
        uint32_t type;
        uint8_t data[sizeof(struct vd_enc_roi)];
    } misc;
    uint32_t misc_size, room;
};

static struct app app;
static struct vd_buffer_ref coded;

static int start(void **state)
{
    int err = setup(state);

    app = (struct app){
        .header = {.type = VAEncPackedHeaderSequence, .bit_length = 60},
        .bytes = {0, 0, 0, 1, 0x67, 1, 2, 3},
        .misc = {.type = VAEncMiscParameterTypeQualityLevel, .data = {3}},
        .misc_size = 4 + sizeof(VAEncMiscParameterBufferQualityLevel),
        .room = ROOM,
    };
    memset(&app.sequence, 0x11, sizeof(app.sequence));
    memset(&app.picture, 0x22, sizeof(app.picture));
    memset(app.slices, 0, sizeof(app.slices));
    for (int i = 0; i < 2; i++) {
        app.slices[i].macroblock_address = 7u + (uint32_t)i;
        app.slices[i].slice_type = 2;
        app.slices[i].RefPicList0[31].picture_id = SURFACE + 1;
        app.slices[i].RefPicList1[0].picture_id = 4711;
    }
    app.picture.CurrPic.picture_id = SURFACE + 1;
    app.picture.ReferenceFrames[15].picture_id = SURFACE + 2;
    app.picture.coded_buf = 99;
    return err ? err : vaapi_context(WORK, VAProfileH264High, VAEntrypointEncSlice, VA_RC_CBR);
}

static void encode(uint32_t surface, uint32_t sequence)
{
    struct vd_coded head = {.error = (uint32_t)-VD_ERR_ENCODE};
    uint8_t memory[VD_CODED_HEAD + ROOM] = {0};
    struct vd_buffer_ref refs[7];

    memcpy(memory, &head, sizeof(head));
    refs[0] =
        guest_buffer(&g, VAEncSequenceParameterBufferType, &app.sequence, sizeof(app.sequence));
    refs[1] = guest_buffer(&g, VAEncMiscParameterBufferType, &app.misc, app.misc_size);
    refs[2] =
        guest_buffer(&g, VAEncPackedHeaderParameterBufferType, &app.header, sizeof(app.header));
    refs[3] = guest_buffer(&g, VAEncPackedHeaderDataBufferType, app.bytes, sizeof(app.bytes));
    refs[4] = guest_buffer(&g, VAEncPictureParameterBufferType, &app.picture, sizeof(app.picture));
    refs[5] = guest_buffer(&g, VAEncSliceParameterBufferType, app.slices, sizeof(app.slices));
    refs[5].size = sizeof(app.slices[0]);
    refs[5].count = 2;
    refs[6] = coded = guest_buffer(&g, VAEncCodedBufferType, memory, VD_CODED_HEAD + app.room);
    submit(surface, sequence, refs, 7);
}

/* Waits for the picture; its error. */
static int result(uint32_t picture, uint32_t *ret_size)
{
    struct vd_coded head;

    await(picture);
    memcpy(&head, g.arena.base + coded.offset, sizeof(head));
    *ret_size = head.size;
    return -(int)head.error;
}

static void assert_fine(uint32_t picture)
{
    uint32_t size;

    assert_int_equal(result(picture, &size), 0);
    assert_int_equal(size, 5);
    assert_memory_equal(g.arena.base + coded.offset + VD_CODED_HEAD, "abcde", 5);
}

static VAConfigAttrib asked(VAConfigAttribType type)
{
    for (int i = 0; i < fake_va.attributes; i++) {
        if (fake_va.asked[i].type == type)
            return fake_va.asked[i];
    }
    fail();
    return fake_va.asked[0];
}

/* All in order and as it came, but ids. */
static void test_buffers(void **state)
{
    static const VABufferType order[] = {
        VAEncSequenceParameterBufferType,     VAEncMiscParameterBufferType,
        VAEncPackedHeaderParameterBufferType, VAEncPackedHeaderDataBufferType,
        VAEncPictureParameterBufferType,      VAEncSliceParameterBufferType,
        VAEncSliceParameterBufferType,
    };
    VAEncPictureParameterBufferH264 picture;
    VAEncSliceParameterBufferH264 slice;

    (void)state;
    assert_int_equal(asked(VAConfigAttribRateControl).value, VA_RC_CBR);
    assert_int_equal(asked(VAConfigAttribEncPackedHeaders).value, VA_ENC_PACKED_HEADER_SEQUENCE);
    decode(DECODE, SURFACE, 1);
    encode(SURFACE, 2);
    assert_fine(1);
    assert_int_equal(fake_va.input, 1);
    assert_int_equal(fake_va.gets + fake_va.puts, 3); /* new surfaces are cleared */
    assert_int_equal(fake_va.rendered_count, COUNT(order));
    for (size_t i = 0; i < COUNT(order); i++)
        assert_int_equal(fake_va.rendered[i].type, order[i]);
    assert_int_equal(fake_va.rendered[0].size, sizeof(app.sequence));
    assert_memory_equal(fake_va.rendered[0].bytes, &app.sequence, sizeof(app.sequence));
    assert_memory_equal(fake_va.rendered[1].bytes, &app.misc, app.misc_size);
    assert_memory_equal(fake_va.rendered[2].bytes, &app.header, sizeof(app.header));
    assert_memory_equal(fake_va.rendered[3].bytes, app.bytes, sizeof(app.bytes));
    memcpy(&picture, fake_va.rendered[4].bytes, sizeof(picture));
    assert_int_equal(picture.CurrPic.picture_id, FAKE_ID + 1);
    assert_int_equal(picture.ReferenceFrames[15].picture_id, FAKE_ID + 2);
    assert_int_equal(picture.ReferenceFrames[0].picture_id, VA_INVALID_SURFACE);
    assert_in_range(picture.coded_buf, FAKE_BUFFER, FAKE_BUFFER + FAKE_BUFFERS - 1);
    assert_int_equal(picture.pic_fields.value, 0x22222222);
    for (uint32_t i = 0; i < 2; i++) {
        memcpy(&slice, fake_va.rendered[5 + i].bytes, sizeof(slice));
        assert_int_equal(fake_va.rendered[5 + i].count, 1);
        assert_int_equal(slice.macroblock_address, 7 + i);
        assert_int_equal(slice.RefPicList0[31].picture_id, FAKE_ID + 1);
        assert_int_equal(slice.RefPicList1[0].picture_id, VA_INVALID_SURFACE);
    }
    assert_int_equal(STATS_GET(g.stats, encoded), 1);
    assert_int_equal(STATS_GET(g.stats, bytes_out), 5);
}

/* Pictures of the app and of other engines are brought to the device. */
static void test_inputs(void **state)
{
    (void)state;
    paint(SURFACE, 77);
    encode(SURFACE, 1);
    assert_fine(1);
    assert_int_equal(fake_va.input, 77);
    paint(SURFACE, 78);
    decode(OTHER, SURFACE, 2);
    encode(SURFACE, 3);
    assert_fine(2);
    assert_int_equal(fake_va.input, 78);
    /* A later picture on the device does not disturb one that waits. */
    decode(OTHER, SURFACE, 4);
    encode(SURFACE, 5);
    decode(DECODE, SURFACE, 6);
    assert_fine(3);
    assert_int_equal(fake_va.input, 78);
    encode(SURFACE, 7);
    assert_fine(4);
    assert_int_equal(fake_va.input, 1);
    /* Mapped, and written to. */
    assert_int_equal(guest_wait(&g, SURFACE, 7), 0);
    paint(SURFACE, 79);
    encode(SURFACE, 8);
    assert_fine(5);
    assert_int_equal(fake_va.input, 79);
}

/* What software decodes into is no format of the device's. */
static void test_planes(void **state)
{
    const uint32_t planar = SURFACE + 8;
    const struct format_info *format = format_find(VA_FOURCC_YV12);
    struct format_layout layout;
    uint8_t *bytes;

    (void)state;
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_YV12, planar, 1), 0);
    paint(planar, 50);
    assert_int_equal(format_layout(format, 16, 16, &layout), 0);
    bytes = (uint8_t *)(uintptr_t)guest_pixels(&g, planar);
    bytes[layout.offset[1]] = 60; /* V */
    bytes[layout.offset[2]] = 61;
    encode(planar, 1);
    assert_fine(1);
    assert_int_equal(fake_va.input, 50);
    assert_int_equal(fake_va.chroma, 60);
}

static void test_room(void **state)
{
    uint32_t size;

    (void)state;
    paint(SURFACE, 1);
    for (app.room = 0; app.room < 5; app.room++) {
        encode(SURFACE, app.room + 1);
        assert_int_equal(result(app.room + 1, &size), VD_ERR_ROOM);
        assert_int_equal(size, 0);
    }
    encode(SURFACE, 6);
    assert_fine(6);
    fake_va.overflow = VA_CODED_BUF_STATUS_SLICE_OVERFLOW_MASK;
    encode(SURFACE, 7);
    assert_int_equal(result(7, &size), VD_ERR_ROOM);
}

/* What a driver says loses its picture only. */
static void test_errors(void **state)
{
    uint32_t size;

    (void)state;
    paint(SURFACE, 1);
    fake_va.end_status = VA_STATUS_ERROR_HW_BUSY;
    encode(SURFACE, 1);
    assert_int_equal(result(1, &size), VD_ERR_ENCODE);
    fake_va.end_status = VA_STATUS_SUCCESS;
    encode(SURFACE, 2);
    assert_fine(2);
    fake_va.sync_status = VA_STATUS_ERROR_ENCODING_ERROR;
    encode(SURFACE, 3);
    assert_int_equal(result(3, &size), VD_ERR_ENCODE);
    /* Drivers from before the call waits for a surface. */
    fake_va.sync_status = VA_STATUS_ERROR_UNIMPLEMENTED;
    encode(SURFACE, 4);
    assert_fine(4);
    fake_va.sync_status = VA_STATUS_SUCCESS;
    /* On the session's thread, too. */
    decode(DECODE, SURFACE, 5);
    encode(SURFACE, 6);
    assert_fine(5);
    fake_va.end_status = VA_STATUS_ERROR_OPERATION_FAILED;
    encode(SURFACE, 7);
    assert_int_equal(result(6, &size), VD_ERR_ENCODE);
    fake_va.end_status = VA_STATUS_SUCCESS;
    encode(SURFACE, 8);
    assert_fine(7);
}

static void test_regions(void **state)
{
    struct vd_enc_roi roi = {.count = 2, .max_delta_qp = 5, .min_delta_qp = (uint32_t)-5};
    VAEncMiscParameterBufferROI seen;

    (void)state;
    roi.roi_flags = 0xff;
    roi.roi[5] = (uint32_t)-3;
    roi.roi[9] = (uint32_t)-7;
    app.misc.type = VAEncMiscParameterTypeROI;
    memcpy(app.misc.data, &roi, sizeof(roi));
    app.misc_size = sizeof(app.misc);
    paint(SURFACE, 1);
    encode(SURFACE, 1);
    assert_fine(1);
    memcpy(&seen, fake_va.rendered[1].bytes + 4, sizeof(seen));
    assert_int_equal(seen.num_roi, 2);
    assert_int_equal(seen.max_delta_qp, 5);
    assert_int_equal(seen.min_delta_qp, -5);
    assert_int_equal(seen.roi_flags.value, 1);
    assert_int_equal(seen.roi[1].roi_rectangle.x, -3);
    assert_int_equal(seen.roi[1].roi_value, -7);
}

static void refuse(uint32_t picture)
{
    uint32_t size;

    encode(SURFACE, picture);
    assert_int_equal(result(picture, &size), VD_ERR_ENCODE);
}

/* What a driver would follow is not passed on. */
static void test_hostile(void **state)
{
    const struct app fine = app;
    const uint32_t many = 1000;

    (void)state;
    paint(SURFACE, 1);
    app.slices[1].slice_type = 10;
    refuse(1);
    app = fine;
    app.slices[0].num_ref_idx_l1_active_minus1 = 32;
    refuse(2);
    app = fine;
    app.header.bit_length = 65;
    refuse(3);
    app = fine;
    app.misc.type = VAEncMiscParameterTypeROI;
    memcpy(app.misc.data, &many, sizeof(many));
    app.misc_size = sizeof(app.misc);
    refuse(4);
    app = fine;
    app.misc.type = VAEncMiscParameterTypeTemporalLayerStructure;
    memcpy(app.misc.data, &many, sizeof(many));
    refuse(5);
    /* Structs with pointers, and what nobody knows, are left out. */
    app = fine;
    for (uint32_t i = 0; i < 4; i++) {
        app.misc.type = (const uint32_t[]){VAEncMiscParameterTypeDirtyRect,
                                           VAEncMiscParameterTypeMultiPassFrameSize, 4711,
                                           VAEncMiscParameterTypeExtensionData}[i];
        encode(SURFACE, 6 + i);
        assert_fine(6 + i);
        assert_int_equal(fake_va.rendered[1].type, VAEncPackedHeaderParameterBufferType);
    }
    /* One that is cut short is filled up. */
    app.misc = fine.misc;
    app.misc_size = 5;
    encode(SURFACE, 10);
    assert_fine(10);
    assert_int_equal(fake_va.rendered[1].size, 4 + sizeof(VAEncMiscParameterBufferQualityLevel));
}

/* Pictures that nobody waits for any more. */
static void test_leave(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        decode(i % 2 ? DECODE : OTHER, SURFACE, 2 * i + 1);
        encode(SURFACE, 2 * i + 2);
    }
    assert_int_equal(guest_context_destroy(&g, WORK), 0);
    assert_int_equal(guest_context_destroy(&g, DECODE), 0);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_buffers), TEST(test_inputs),  TEST(test_room),  TEST(test_errors),
        TEST(test_regions), TEST(test_hostile), TEST(test_leave), TEST(test_planes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
