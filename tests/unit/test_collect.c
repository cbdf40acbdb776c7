/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <viaduct/errors.h>

#include "collect.h"
#include "picture.h"

/*
 * A guest's picture in the upload zone, valid until one thing in it is broken.
 */

#define MAX_REFS 16
#define KNOWN    0x30000007u

static struct fixture {
    struct arena arena;
    struct block_pool *blocks;
    struct collect collect;
    struct picture picture;
    struct vd_buffer_ref refs[MAX_REFS];
    uint32_t count;
    uint64_t at; /* next free place in the upload zone */
    enum vd_codec codec;
} f;

static bool known(void *arg, uint32_t id)
{
    assert_ptr_equal(arg, &f);
    return id == KNOWN;
}

/* Puts bytes into the zone and a reference to them into the picture. */
static struct vd_buffer_ref *add(uint32_t type, const void *bytes, uint32_t size, uint32_t count)
{
    struct vd_buffer_ref *ref = &f.refs[f.count++];

    assert_true(f.count <= MAX_REFS);
    *ref = (struct vd_buffer_ref){.type = type, .size = size, .count = count, .offset = f.at};
    if (bytes)
        memcpy(f.arena.base + f.at, bytes, (size_t)size * count);
    f.at += ((uint64_t)size * count + 63) / 64 * 64;
    return ref;
}

static void add_picture(void)
{
    f.at = f.arena.upload_offset;
    f.count = 0;
    picture_idr(&f.picture, KNOWN);
    add(VAPictureParameterBufferType, &f.picture.param, sizeof(f.picture.param), 1);
    add(VAIQMatrixBufferType, &f.picture.matrix, sizeof(f.picture.matrix), 1);
}

static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof(f));
    f.codec = VD_CODEC_H264;
    assert_int_equal(arena_create(&f.arena, 1 << 20), 0);
    f.blocks = block_pool_create(NULL);
    assert_non_null(f.blocks);
    add_picture();
    add(VASliceParameterBufferType, &f.picture.slice, sizeof(f.picture.slice), 1);
    add(VASliceDataBufferType, f.picture.data, f.picture.data_size, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    collect_finish(&f.collect);
    block_pool_destroy(f.blocks);
    arena_finish(&f.arena);
    return 0;
}

/* References in memory of exactly their size. */
static int run(struct block **ret_block)
{
    struct vd_buffer_ref *refs = check_exact(f.refs, f.count * sizeof(f.refs[0]));
    int err = collect_picture(&f.collect, &f.arena, refs, f.count, f.codec, BITSTREAM_SLICE_GAP,
                              f.blocks, known, &f, ret_block);

    free(refs);
    return err;
}

static int run_only(void)
{
    struct block *block = NULL;
    int err = run(&block);

    assert_true(!err == (block != NULL));
    block_unref(&block);
    return err;
}

static void *zone(uint32_t ref)
{
    return f.arena.base + f.refs[ref].offset;
}

/* Layout as bitstream.h promises it. */
static void check_layout(const struct block *block)
{
    const struct va_picture *p = &f.collect.picture;
    const uint8_t *at = block->bytes + BITSTREAM_HEAD_ROOM;

    assert_ptr_equal(p->head, block->bytes);
    for (uint32_t i = 0; i < p->slice_count; i++) {
        assert_ptr_equal(p->slices[i].data, at + BITSTREAM_SLICE_GAP);
        at += BITSTREAM_SLICE_GAP + p->slices[i].size;
    }
    assert_true((size_t)(at - block->bytes) + BITSTREAM_TAIL_ROOM <= block->room);
    for (int i = 0; i < BITSTREAM_TAIL_ROOM; i++)
        assert_int_equal(at[i], 0);
}

static void test_valid(void **state)
{
    const struct va_picture *p = &f.collect.picture;
    struct block *block;

    (void)state;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(run(&block), 0);
        check_layout(block);
        assert_memory_equal(p->param[VA_PARAM_PICTURE], &f.picture.param, sizeof(f.picture.param));
        assert_memory_equal(p->param[VA_PARAM_IQ_MATRIX], &f.picture.matrix,
                            sizeof(f.picture.matrix));
        assert_null(p->param[VA_PARAM_HUFFMAN]);
        assert_int_equal(p->copy_count, 2);
        for (uint32_t i = 0; i < 2; i++) {
            assert_int_equal(p->copies[i].slot, i ? VA_PARAM_IQ_MATRIX : VA_PARAM_PICTURE);
            assert_ptr_equal(p->copies[i].param, p->param[p->copies[i].slot]);
        }
        assert_int_equal(p->slice_count, 1);
        assert_memory_equal(p->slices[0].param, &f.picture.slice, sizeof(f.picture.slice));
        assert_int_equal(p->slices[0].size, f.picture.data_size);
        assert_memory_equal(p->slices[0].data, f.picture.data, f.picture.data_size);
        block_unref(&block);
    }
    /* The matrix is optional. */
    f.refs[1] = f.refs[2];
    f.refs[2] = f.refs[3];
    f.count = 3;
    assert_int_equal(run(&block), 0);
    assert_null(p->param[VA_PARAM_IQ_MATRIX]);
    block_unref(&block);
}

/* The guest writes on while the host works: nothing it sees changes. */
static void test_private(void **state)
{
    const struct va_picture *p = &f.collect.picture;
    struct block *block;

    (void)state;
    assert_int_equal(run(&block), 0);
    memset(f.arena.base + f.arena.upload_offset, 0xff, 16384);
    assert_memory_equal(p->param[VA_PARAM_PICTURE], &f.picture.param, sizeof(f.picture.param));
    assert_memory_equal(p->param[VA_PARAM_IQ_MATRIX], &f.picture.matrix, sizeof(f.picture.matrix));
    assert_memory_equal(p->slices[0].param, &f.picture.slice, sizeof(f.picture.slice));
    assert_memory_equal(p->slices[0].data, f.picture.data, f.picture.data_size);
    block_unref(&block);
}

/* Each reference, each way to leave the zone: the guest driver never does that. */
static void test_outside(void **state)
{
    const uint64_t begin = f.arena.upload_offset, end = begin + f.arena.upload_size;
    const uint64_t offsets[] = {
        0,
        8,
        begin - 8,
        end,
        end + 8,
        end - 8,
        f.arena.frame_offset,
        UINT64_MAX - 7,
        UINT64_MAX - 0x1000 + 1,
        1ull << 63,
    };

    (void)state;
    for (uint32_t i = 0; i < f.count; i++) {
        struct vd_buffer_ref good = f.refs[i];

        for (size_t j = 0; j < COUNT(offsets); j++) {
            f.refs[i].offset = offsets[j];
            assert_int_equal(run_only(), VD_ERR_PROTOCOL);
        }
        for (uint64_t odd = 1; odd < 8; odd++) {
            f.refs[i].offset = good.offset + odd;
            assert_int_equal(run_only(), VD_ERR_PROTOCOL);
        }
        f.refs[i] = good;
        f.refs[i].count = UINT32_MAX;
        f.refs[i].size = UINT32_MAX;
        assert_int_equal(run_only(), VD_ERR_PROTOCOL);
        f.refs[i].count = (uint32_t)((end - good.offset) / good.size) + 1;
        f.refs[i].size = good.size;
        assert_int_equal(run_only(), VD_ERR_PROTOCOL);
        f.refs[i] = good;
    }
    assert_int_equal(run_only(), 0);
    /* Also behind something that is only the app's mistake. */
    f.refs[0].type = 12345;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    f.refs[3].offset = end + 64;
    assert_int_equal(run_only(), VD_ERR_PROTOCOL);
}

/* The last byte of the zone is the guest's, too. */
static void test_end_of_zone(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < f.count; i++) {
        struct vd_buffer_ref good = f.refs[i];
        uint32_t bytes = good.size * good.count;

        f.refs[i].offset = (f.arena.upload_offset + f.arena.upload_size - bytes) / 8 * 8;
        memcpy(zone(i), f.arena.base + good.offset, bytes);
        assert_int_equal(run_only(), 0);
        f.refs[i] = good;
    }
}

static void test_buffers(void **state)
{
    struct vd_buffer_ref good;

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        good = f.refs[i];
        f.refs[i].size--;
        assert_int_equal(run_only(), VD_ERR_PARAMETER);
        f.refs[i].size = good.size + 16; /* apps with a newer libva */
        assert_int_equal(run_only(), 0);
        f.refs[i] = good;
        f.refs[i].count = 0;
        assert_int_equal(run_only(), VD_ERR_PARAMETER);
        f.refs[i] = good;
        f.refs[i].type = VAHuffmanTableBufferType;
        assert_int_equal(run_only(), VD_ERR_PARAMETER);
        f.refs[i].type = UINT32_MAX;
        assert_int_equal(run_only(), VD_ERR_PARAMETER);
        f.refs[i] = good;
    }
    f.refs[0].count = 2;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    f.refs[0].count = 1;
    f.refs[1].count = 2;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    f.refs[1].count = 1;
    assert_int_equal(run_only(), 0);
    f.count = 3; /* no data */
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    f.count = 2; /* no slices */
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    f.count = 0;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    f.refs[2] = f.refs[3]; /* data only */
    f.count = 3;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
}

static void test_slice_ranges(void **state)
{
    VASliceParameterBufferH264 *slice = zone(2);
    const uint32_t size = f.picture.data_size;
    const struct {
        uint32_t offset, size;
        int err;
    } cases[] = {
        {0, size, 0},
        {0, size + 1, VD_ERR_PARAMETER},
        {1, size - 1, 0},
        {1, size, 0}, /* of the whole data: GStreamer's VP8 */
        {1, size + 1, VD_ERR_PARAMETER},
        {size, size, 0},
        {size + 1, size, VD_ERR_PARAMETER},
        {2, size - 1, VD_ERR_PARAMETER},
        {size, 0, 0},
        {size + 1, 0, VD_ERR_PARAMETER},
        {UINT32_MAX, 2, VD_ERR_PARAMETER},
        {2, UINT32_MAX, VD_ERR_PARAMETER},
        {UINT32_MAX - 1, UINT32_MAX, VD_ERR_PARAMETER},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        slice->slice_data_offset = cases[i].offset;
        slice->slice_data_size = cases[i].size;
        assert_int_equal(run_only(), cases[i].err);
    }
}

/* Every row of va_fields.def. */
static void set_field(uint32_t ref, size_t offset, size_t bytes, uint64_t value)
{
    memcpy((uint8_t *)zone(ref) + offset, &value, bytes);
}

/*
 * A picture of zeros of the first codec that knows the struct, with all its parameters, one slice
 * and its data. Returns the reference of the struct.
 */
static uint32_t add_zeros(const char *name)
{
    static const struct {
        enum vd_codec codec;
        uint32_t type, size;
        const char *name;
    } rows[] = {
#define VD_VA_STRUCT(codec, type, kind, name, size, slot) {VD_CODEC_##codec, type, size, #name},
#include <viaduct/va_structs.def>
    };
    uint32_t found = MAX_REFS;

    f.at = f.arena.upload_offset;
    f.count = 0;
    f.codec = VD_CODEC_NONE;
    for (size_t i = 0; i < COUNT(rows) && f.codec == VD_CODEC_NONE; i++) {
        if (strcmp(rows[i].name, name) == 0)
            f.codec = rows[i].codec;
    }
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].codec != f.codec)
            continue;
        if (strcmp(rows[i].name, name) == 0)
            found = f.count;
        memset(f.arena.base + f.at, 0, rows[i].size);
        add(rows[i].type, NULL, rows[i].size, 1);
    }
    add(VASliceDataBufferType, "data", 4, 1);
    assert_int_not_equal(found, MAX_REFS);
    return found;
}

static void test_fields(void **state)
{
    (void)state;
#define VD_VA_MAX(s, field, most)                                                  \
    {                                                                              \
        const uint64_t top = (1ull << (8 * sizeof(((s *)0)->field) - 1) << 1) - 1; \
        const uint32_t in = add_zeros(#s);                                         \
                                                                                   \
        set_field(in, offsetof(s, field), sizeof(((s *)0)->field), (most));        \
        assert_int_equal(run_only(), 0);                                           \
        assert_true((uint64_t)(most) < top);                                       \
        set_field(in, offsetof(s, field), sizeof(((s *)0)->field), (most) + 1);    \
        assert_int_equal(run_only(), VD_ERR_PARAMETER);                            \
        set_field(in, offsetof(s, field), sizeof(((s *)0)->field), top);           \
        assert_int_equal(run_only(), VD_ERR_PARAMETER);                            \
    }
#define VD_VA_ID(s, field, count, stride)                                                     \
    for (uint32_t i = 0; i < (count); i++) {                                                  \
        static const uint32_t ids[] = {KNOWN, 0, KNOWN + 1, 0xfffffffeu, VA_INVALID_ID};      \
        const uint32_t in = add_zeros(#s);                                                    \
                                                                                              \
        for (size_t j = 0; j < COUNT(ids); j++) {                                             \
            const uint32_t want = ids[j] == KNOWN ? KNOWN : VA_INVALID_ID;                    \
            struct block *block;                                                              \
            uint32_t got;                                                                     \
                                                                                              \
            set_field(in, offsetof(s, field) + (size_t)i * (stride), 4, ids[j]);              \
            assert_int_equal(run(&block), 0);                                                 \
            memcpy(&got,                                                                      \
                   (const uint8_t *)f.collect.picture.param[VA_PARAM_PICTURE] +               \
                       offsetof(s, field) + (size_t)i * (stride),                             \
                   4);                                                                        \
            assert_int_equal(got, want);                                                      \
            /* The zone is the guest's: only the copy changed. */                             \
            memcpy(&got, (uint8_t *)zone(in) + offsetof(s, field) + (size_t)i * (stride), 4); \
            assert_int_equal(got, ids[j]);                                                    \
            block_unref(&block);                                                              \
        }                                                                                     \
    }
#include <viaduct/va_fields.def>
}

/* Slice parameters for parts of `data`, in the order of the letters: P parameters, D data. */
static void orders(const char *order, uint32_t per_param, const uint32_t *want_data)
{
    uint8_t data[8][64];
    VASliceParameterBufferH264 slices[8];
    struct block *block;
    uint32_t n = 0, d = 0;

    add_picture();
    memset(slices, 0, sizeof(slices));
    for (int i = 0; i < 8; i++) {
        memset(data[i], 0x10 + i, sizeof(data[i]));
        slices[i].slice_data_size = 5 + (uint32_t)i;
        slices[i].slice_data_offset = (uint32_t)i;
        slices[i].first_mb_in_slice = (uint16_t)i;
    }
    for (; *order; order++) {
        if (*order == 'D') {
            add(VASliceDataBufferType, data[d], sizeof(data[d]), 1);
            d++;
        } else {
            add(VASliceParameterBufferType, &slices[n], sizeof(slices[0]), per_param);
            n += per_param;
        }
    }
    assert_int_equal(run(&block), 0);
    check_layout(block);
    assert_int_equal(f.collect.picture.slice_count, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct va_slice *slice = &f.collect.picture.slices[i];

        assert_int_equal(slice->size, 5 + i);
        assert_int_equal(((const VASliceParameterBufferH264 *)slice->param)->first_mb_in_slice, i);
        for (uint32_t j = 0; j < slice->size; j++)
            assert_int_equal(slice->data[j], 0x10 + want_data[i]);
    }
    block_unref(&block);
}

static void test_orders(void **state)
{
    (void)state;
    orders("PD", 1, (const uint32_t[]){0});
    orders("PDPD", 1, (const uint32_t[]){0, 1});     /* ffmpeg, GStreamer */
    orders("PPDD", 1, (const uint32_t[]){0, 0});     /* the next data after it */
    orders("PD", 4, (const uint32_t[]){0, 0, 0, 0}); /* one buffer, several elements */
    orders("PDPD", 2, (const uint32_t[]){0, 0, 1, 1});
    orders("DPPP", 1, (const uint32_t[]){0, 0, 0}); /* Chrome */
    orders("DPPDPP", 1, (const uint32_t[]){0, 0, 1, 1});
    orders("DP", 3, (const uint32_t[]){0, 0, 0});
    /* Parameters without data behind them. */
    add_picture();
    add(VASliceParameterBufferType, &f.picture.slice, sizeof(f.picture.slice), 1);
    add(VASliceDataBufferType, f.picture.data, f.picture.data_size, 1);
    add(VASliceParameterBufferType, &f.picture.slice, sizeof(f.picture.slice), 1);
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
}

/* Elements further apart than the struct is long. */
static void test_stride(void **state)
{
    struct {
        VASliceParameterBufferH264 slice;
        uint32_t more[2];
    } elements[2];
    struct block *block;

    (void)state;
    add_picture();
    memset(elements, 0xff, sizeof(elements));
    elements[0].slice = elements[1].slice = f.picture.slice;
    elements[1].slice.slice_data_offset = 3;
    elements[1].slice.slice_data_size = 7;
    add(VASliceParameterBufferType, elements, sizeof(elements[0]), 2);
    add(VASliceDataBufferType, f.picture.data, f.picture.data_size, 1);
    assert_int_equal(run(&block), 0);
    check_layout(block);
    assert_int_equal(f.collect.picture.slice_count, 2);
    assert_int_equal(f.collect.picture.slices[1].size, 7);
    assert_memory_equal(f.collect.picture.slices[1].data, f.picture.data + 3, 7);
    block_unref(&block);
}

static void test_limits(void **state)
{
    VASliceParameterBufferH264 *slice;

    (void)state;
    add_picture();
    memset(f.arena.base + f.at, 0, 3ull * sizeof(*slice)); /* what setup() left there */
    add(VASliceParameterBufferType, NULL, sizeof(f.picture.slice), VD_MAX_SLICES);
    add(VASliceDataBufferType, f.picture.data, f.picture.data_size, 1);
    assert_int_equal(run_only(), 0);
    f.refs[2].count = VD_MAX_SLICES + 1;
    assert_int_equal(run_only(), VD_ERR_LIMIT);
    /* Many slices that all show the same data: more than a picture may have. */
    f.refs[2].count = 70;
    f.refs[3].size = 1 << 20;
    slice = zone(2);
    for (int i = 0; i < 70; i++)
        slice[i].slice_data_size = 1 << 20;
    assert_int_equal(run_only(), VD_ERR_LIMIT);
    f.refs[2].count = 3;
    assert_int_equal(run_only(), 0);
    f.refs[3].size = VD_MAX_PICTURE_BYTES;
    assert_int_equal(run_only(), 0);
    f.refs[3].size++;
    assert_int_equal(run_only(), VD_ERR_LIMIT);
}

static void test_codec(void **state)
{
    struct block *block = NULL;

    (void)state;
    assert_int_equal(collect_picture(&f.collect, &f.arena, f.refs, f.count, VD_CODEC_NONE,
                                     BITSTREAM_SLICE_GAP, f.blocks, known, &f, &block),
                     VD_ERR_PARAMETER);
    assert_null(block);
}

/* Structs of range extensions in a context of a profile without them, and ids in them. */
static void test_longer_struct(void **state)
{
    VAPictureParameterBufferHEVCExtension param = {.rext.diff_cu_chroma_qp_offset_depth = 2};
    VASliceParameterBufferHEVCExtension slice = {.base.slice_data_size = 4};
    const VAPictureParameterBufferHEVCExtension *got;
    struct block *block = NULL;

    (void)state;
    f.codec = VD_CODEC_HEVC;
    f.at = f.arena.upload_offset;
    f.count = 0;
    param.base.CurrPic.picture_id = KNOWN + 1;
    add(VAPictureParameterBufferType, &param, sizeof(param), 1);
    add(VASliceParameterBufferType, &slice, sizeof(slice), 1);
    add(VASliceDataBufferType, "data", 4, 1);
    assert_int_equal(run(&block), 0);
    got = f.collect.picture.param[VA_PARAM_PICTURE];
    assert_int_equal(f.collect.picture.param_size[VA_PARAM_PICTURE], sizeof(param));
    assert_int_equal(got->rext.diff_cu_chroma_qp_offset_depth, 2);
    assert_int_equal(got->base.CurrPic.picture_id, VA_INVALID_ID);
    block_unref(&block);
    f.refs[0].size = sizeof(param) - 1;
    assert_int_equal(run(&block), 0);
    assert_int_equal(f.collect.picture.param_size[VA_PARAM_PICTURE], sizeof(param.base));
    block_unref(&block);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_valid),   TEST(test_private),      TEST(test_outside), TEST(test_end_of_zone),
        TEST(test_buffers), TEST(test_slice_ranges), TEST(test_fields),  TEST(test_orders),
        TEST(test_stride),  TEST(test_limits),       TEST(test_codec),   TEST(test_longer_struct),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
