/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <va/va.h>
#include <viaduct/errors.h>

#include "collect_encode.h"

/*
 * A picture to be encoded in the upload zone, valid until one thing in it is broken.
 */

#define MAX_REFS   96
#define CODED_ROOM (1u << 16)

enum { REF_CODED, REF_SEQUENCE, REF_MISC, REF_PICTURE, REF_HEADER, REF_DATA, REF_SLICE };

static struct fixture {
    struct arena arena;
    struct block_pool *blocks;
    struct collect_encode collect;
    struct vd_buffer_ref refs[MAX_REFS];
    uint32_t count;
    uint64_t at;
    enum vd_codec codec;
} f;

static const uint8_t header_bytes[] = {0, 0, 0, 1, 0x67, 100, 0, 31, 0xac};

static struct vd_buffer_ref *add(uint32_t type, const void *bytes, uint32_t size, uint32_t count)
{
    struct vd_buffer_ref *ref = &f.refs[f.count++];

    assert_true(f.count <= MAX_REFS);
    *ref = (struct vd_buffer_ref){.type = type, .size = size, .count = count, .offset = f.at};
    if (bytes)
        memcpy(f.arena.base + f.at, bytes, (size_t)size * count);
    f.at += ((uint64_t)size * count + 63) / 64 * 64;
    assert_true(f.at <= f.arena.upload_offset + f.arena.upload_size);
    return ref;
}

static void add_header(uint32_t type, uint32_t bits)
{
    VAEncPackedHeaderParameterBuffer param = {
        .type = type, .bit_length = bits, .has_emulation_bytes = 1};

    add(VAEncPackedHeaderParameterBufferType, &param, sizeof(param), 1);
    add(VAEncPackedHeaderDataBufferType, header_bytes, sizeof(header_bytes), 1);
}

static void add_misc(uint32_t type, uint32_t value)
{
    struct {
        uint32_t type, value[5];
    } misc = {type, {value}};

    add(VAEncMiscParameterBufferType, &misc, sizeof(misc), 1);
}

static int setup(void **state)
{
    VAEncSequenceParameterBufferH264 sequence = {.picture_width_in_mbs = 11};
    VAEncPictureParameterBufferH264 picture = {.frame_num = 12};
    VAEncSliceParameterBufferH264 slices[2] = {{.num_macroblocks = 50}, {.num_macroblocks = 49}};

    (void)state;
    memset(&f, 0, sizeof(f));
    f.codec = VD_CODEC_H264;
    assert_int_equal(arena_create(&f.arena, 1 << 20), 0);
    f.at = f.arena.upload_offset;
    f.blocks = block_pool_create(NULL);
    assert_non_null(f.blocks);
    add(VAEncCodedBufferType, NULL, CODED_ROOM + VD_CODED_HEAD, 1);
    add(VAEncSequenceParameterBufferType, &sequence, sizeof(sequence), 1);
    add_misc(VAEncMiscParameterTypeRateControl, 500000);
    add(VAEncPictureParameterBufferType, &picture, sizeof(picture), 1);
    add_header(VAEncPackedHeaderSequence, 8 * sizeof(header_bytes));
    add(VAEncSliceParameterBufferType, slices, sizeof(slices[0]), 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    collect_encode_finish(&f.collect);
    block_pool_destroy(f.blocks);
    arena_finish(&f.arena);
    return 0;
}

/* References in memory of exactly their size. */
static int run(struct block **ret_block, struct backend_work **ret_work,
               struct encode_request **ret_request)
{
    struct vd_buffer_ref *refs = check_exact(f.refs, f.count * sizeof(f.refs[0]));
    int err = collect_encode(&f.collect, &f.arena, refs, f.count, f.codec, f.blocks, ret_block,
                             ret_work, ret_request);

    free(refs);
    return err;
}

static int run_only(void)
{
    struct encode_request *request = NULL;
    struct backend_work *work = NULL;
    struct block *block = NULL;
    int err = run(&block, &work, &request);

    /* Results stay untouched on failure. */
    assert_true(!err == (block != NULL));
    assert_true(!err == (work != NULL));
    assert_true(!err == (request != NULL));
    block_unref(&block);
    return err;
}

static void test_valid(void **state)
{
    const struct encode_picture *p = &f.collect.picture;
    struct encode_request *request;
    struct backend_work *work;
    struct block *block;

    (void)state;
    for (int round = 0; round < 3; round++) {
        const VAEncSequenceParameterBufferH264 *sequence;
        const VAEncPictureParameterBufferH264 *picture;

        assert_int_equal(run(&block, &work, &request), 0);
        sequence = p->param[ENCODE_PARAM_SEQUENCE];
        picture = p->param[ENCODE_PARAM_PICTURE];
        assert_int_equal(sequence->picture_width_in_mbs, 11);
        assert_int_equal(picture->frame_num, 12);
        assert_null(p->param[ENCODE_PARAM_MATRIX]);
        assert_int_equal(p->slice_count, 2);
        for (uint32_t i = 0; i < 2; i++) {
            const VAEncSliceParameterBufferH264 *slice = p->slices[i];

            assert_int_equal(slice->num_macroblocks, i ? 49 : 50);
            assert_int_equal((uintptr_t)slice % 8, 0);
        }
        assert_int_equal(p->misc_count, 1);
        assert_int_equal(p->misc[0].type, VAEncMiscParameterTypeRateControl);
        assert_int_equal(p->misc[0].size, 20);
        assert_int_equal((uintptr_t)p->misc[0].data % 8, 0);
        assert_int_equal(*(const uint32_t *)p->misc[0].data, 500000);
        assert_int_equal(p->header_count, 1);
        assert_int_equal(p->headers[0].type, VAEncPackedHeaderSequence);
        assert_int_equal(p->headers[0].bits, 8 * sizeof(header_bytes));
        assert_true(p->headers[0].escaped);
        assert_memory_equal(p->headers[0].bytes, header_bytes, sizeof(header_bytes));
        assert_ptr_equal(work->coded, f.arena.base + f.refs[REF_CODED].offset);
        assert_int_equal(work->coded_room, CODED_ROOM + VD_CODED_HEAD);
        assert_ptr_equal(work->request, request);
        assert_int_equal(work->read_count, 1);
        assert_null(work->reads[0].surface);
        assert_int_equal(request->header_count, 0);
        block_unref(&block);
    }
}

/* The guest may change its memory at any time: copies are what counts. */
static void test_private(void **state)
{
    const struct encode_picture *p = &f.collect.picture;
    const VAEncSliceParameterBufferH264 *slice;
    struct encode_request *request;
    struct backend_work *work;
    struct block *block;

    (void)state;
    assert_int_equal(run(&block, &work, &request), 0);
    memset(f.arena.base + f.arena.upload_offset, 0xff, (size_t)(f.at - f.arena.upload_offset));
    slice = p->slices[1];
    assert_int_equal(slice->num_macroblocks, 49);
    assert_int_equal(*(const uint32_t *)p->misc[0].data, 500000);
    assert_memory_equal(p->headers[0].bytes, header_bytes, sizeof(header_bytes));
    block_unref(&block);
}

static void test_outside(void **state)
{
    const uint64_t end = f.arena.upload_offset + f.arena.upload_size;

    (void)state;
    for (uint32_t i = 0; i < f.count; i++) {
        const struct vd_buffer_ref good = f.refs[i];
        const struct vd_buffer_ref bad[] = {
            {good.type, good.size, good.count, 0, f.arena.upload_offset - 64},
            {good.type, good.size, good.count, 0, end},
            {good.type, good.size, good.count, 0, end - (uint64_t)good.size * good.count + 8},
            {good.type, good.size, good.count, 0, UINT64_MAX - 7},
            {good.type, UINT32_MAX, UINT32_MAX, 0, good.offset},
            {good.type, UINT32_MAX, good.count, 0, good.offset},
            {good.type, good.size, UINT32_MAX, 0, good.offset},
        };

        for (size_t j = 0; j < COUNT(bad); j++) {
            f.refs[i] = bad[j];
            assert_int_equal(run_only(), VD_ERR_PROTOCOL);
        }
        f.refs[i] = good;
    }
    assert_int_equal(run_only(), 0);
}

/* Each buffer missing, too small, too many. */
static void test_buffers(void **state)
{
    const struct {
        int ref;
        uint32_t size, count;
        int err;
    } rows[] = {
        {REF_CODED, VD_CODED_HEAD - 1, 1, VD_ERR_PARAMETER},
        {REF_CODED, VD_CODED_HEAD, 1, 0},
        {REF_CODED, 0, 0, VD_ERR_PARAMETER},
        {REF_SEQUENCE, sizeof(VAEncSequenceParameterBufferH264) - 1, 1, VD_ERR_PARAMETER},
        {REF_SEQUENCE, sizeof(VAEncSequenceParameterBufferH264) + 1, 1, 0},
        {REF_SEQUENCE, sizeof(VAEncSequenceParameterBufferH264), 2, VD_ERR_PARAMETER},
        {REF_SEQUENCE, sizeof(VAEncSequenceParameterBufferH264), 0, VD_ERR_PARAMETER},
        {REF_PICTURE, sizeof(VAEncPictureParameterBufferH264), 2, VD_ERR_PARAMETER},
        {REF_MISC, 3, 1, VD_ERR_PARAMETER},
        {REF_MISC, 4, 1, 0},
        {REF_MISC, 0, 0, VD_ERR_PARAMETER},
        {REF_MISC, VD_MAX_HEADER_BYTES + 1, 1, VD_ERR_PARAMETER},
        {REF_HEADER, sizeof(VAEncPackedHeaderParameterBuffer) - 1, 1, VD_ERR_PARAMETER},
        {REF_HEADER, sizeof(VAEncPackedHeaderParameterBuffer), 2, VD_ERR_PARAMETER},
        {REF_DATA, sizeof(header_bytes) - 1, 1, VD_ERR_PARAMETER},
        {REF_SLICE, sizeof(VAEncSliceParameterBufferH264) - 1, 2, VD_ERR_PARAMETER},
        {REF_SLICE, sizeof(VAEncSliceParameterBufferH264), 0, VD_ERR_PARAMETER},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct vd_buffer_ref *ref = &f.refs[rows[i].ref], good = *ref;

        ref->size = rows[i].size;
        ref->count = rows[i].count;
        assert_int_equal(run_only(), rows[i].err);
        *ref = good;
    }
    /* A decoder's, or nobody's. */
    f.refs[REF_SLICE].type = VASliceDataBufferType;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    f.refs[REF_SLICE].type = UINT32_MAX;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    f.refs[REF_SLICE].type = VAEncSliceParameterBufferType;
    f.codec = VD_CODEC_NONE;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    /* VP8 has no slices. */
    f.codec = VD_CODEC_VP8;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
}

static void test_coded(void **state)
{
    (void)state;
    /* Two of them. */
    add(VAEncCodedBufferType, NULL, CODED_ROOM, 1);
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    f.count--;
    /* None. */
    f.refs[REF_CODED] = f.refs[--f.count];
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    f.count = 0;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
}

/* Data needs its description before it, and not less than that says. */
static void test_headers(void **state)
{
    VAEncPackedHeaderParameterBuffer *param = (void *)(f.arena.base + f.refs[REF_HEADER].offset);
    struct vd_buffer_ref header = f.refs[REF_HEADER];

    (void)state;
    param->bit_length = 8 * sizeof(header_bytes) + 1;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    param->bit_length = UINT32_MAX;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    param->bit_length = 0;
    assert_int_equal(run_only(), 0);
    f.refs[REF_HEADER] = f.refs[REF_DATA];
    f.refs[REF_DATA] = header;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    f.refs[REF_HEADER] = header;
    assert_int_equal(run_only(), 0); /* described twice, without data */
    assert_int_equal(f.collect.picture.header_count, 0);
}

static void test_limits(void **state)
{
    const uint32_t before = f.count;
    const uint64_t at = f.at;

    (void)state;
    for (uint32_t i = 1; i < VD_MAX_MISC; i++)
        add_misc(VAEncMiscParameterTypeFrameRate, i);
    assert_int_equal(run_only(), 0);
    assert_int_equal(f.collect.picture.misc_count, VD_MAX_MISC);
    add_misc(VAEncMiscParameterTypeFrameRate, 0);
    assert_int_equal(run_only(), VD_ERR_LIMIT);
    f.count = before;
    f.at = at;
    /* Many small headers, by data without a description: the count is looked at first. */
    for (uint32_t i = 1; i < VD_MAX_HEADERS; i++)
        add(VAEncPackedHeaderDataBufferType, header_bytes, sizeof(header_bytes), 1);
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    add(VAEncPackedHeaderDataBufferType, header_bytes, sizeof(header_bytes), 1);
    assert_int_equal(run_only(), VD_ERR_LIMIT);
    f.count = before;
    f.at = at;
    f.refs[REF_DATA].offset = f.at;
    f.refs[REF_DATA].size = VD_MAX_HEADER_BYTES;
    assert_int_equal(run_only(), 0);
    f.refs[REF_DATA].size++;
    assert_int_equal(run_only(), VD_ERR_LIMIT);
    f.refs[REF_DATA].size = sizeof(header_bytes);
    f.refs[REF_SLICE].offset = f.at;
    f.refs[REF_SLICE].count = VD_MAX_SLICES + 1;
    assert_int_equal(run_only(), VD_ERR_LIMIT);
}

/* Elements further apart than the struct is long. */
static void test_stride(void **state)
{
    struct {
        VAEncSliceParameterBufferH264 slice;
        uint32_t more[3];
    } slices[2] = {{.slice = {.macroblock_address = 1}}, {.slice = {.macroblock_address = 2}}};
    const VAEncSliceParameterBufferH264 *second;

    (void)state;
    f.count--;
    add(VAEncSliceParameterBufferType, slices, sizeof(slices[0]), 2);
    assert_int_equal(run_only(), 0);
    second = f.collect.picture.slices[1];
    assert_int_equal(second->macroblock_address, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_valid), TEST(test_private), TEST(test_outside), TEST(test_buffers),
        TEST(test_coded), TEST(test_headers), TEST(test_limits),  TEST(test_stride),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
