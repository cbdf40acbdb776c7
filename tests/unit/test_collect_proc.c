/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <va/va.h>
#include <va/va_vpp.h>
#include <viaduct/errors.h>

#include "collect_proc.h"

/*
 * Pipelines of video processing in the upload zone, valid until one thing in them is broken.
 */

#define FIRST    0x30000001u /* ids of the surfaces that exist */
#define SURFACES 24

static struct fixture {
    struct surface target;
    struct arena arena;
    struct block_pool *blocks;
    struct vd_buffer_ref refs[VD_MAX_PIPELINES + 1];
    uint32_t count;
    uint64_t at;
    struct surface surfaces[SURFACES];
    uint32_t asked;
} f;

static struct surface *find(void *arg, uint32_t id)
{
    assert_ptr_equal(arg, &f);
    f.asked++;
    return id >= FIRST && id - FIRST < SURFACES ? &f.surfaces[id - FIRST] : NULL;
}

static struct vd_proc_pipeline *add(uint32_t surface, uint32_t filters)
{
    const uint32_t size =
        (uint32_t)(sizeof(struct vd_proc_pipeline) + filters * sizeof(struct vd_proc_filter));
    struct vd_proc_pipeline *p = (void *)(f.arena.base + f.at);

    f.refs[f.count++] = (struct vd_buffer_ref){
        .type = VAProcPipelineParameterBufferType, .size = size, .count = 1, .offset = f.at};
    memset(p, 0, size);
    p->surface = surface;
    p->filter_count = filters;
    for (uint32_t i = 0; i < filters; i++)
        ((struct vd_proc_filter *)(p + 1))[i].type = 100 + i;
    f.at += (size + 63) & ~63u;
    return p;
}

static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof(f));
    assert_int_equal(arena_create(&f.arena, 1 << 20), 0);
    f.at = f.arena.upload_offset;
    f.blocks = block_pool_create(NULL);
    assert_non_null(f.blocks);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    block_pool_destroy(f.blocks);
    arena_finish(&f.arena);
    return 0;
}

static int run(struct block **ret_block, struct backend_work **ret_work)
{
    struct vd_buffer_ref *refs = check_exact(f.refs, f.count * sizeof(f.refs[0]));
    int err =
        collect_proc(&f.arena, refs, f.count, f.blocks, &f.target, find, &f, ret_block, ret_work);

    free(refs);
    return err;
}

static int run_only(void)
{
    struct backend_work *work = NULL;
    struct block *block = NULL;
    int err = run(&block, &work);

    assert_true(!err == (block != NULL));
    assert_true(!err == (work != NULL));
    block_unref(&block);
    return err;
}

static void test_valid(void **state)
{
    struct vd_proc_pipeline *p = add(FIRST, 2);
    const struct vd_proc_filter *filter;
    struct backend_work *work;
    struct block *block;

    (void)state;
    p->forward_count = 1;
    p->forward[0] = FIRST + 1;
    p->backward_count = 2;
    p->backward[0] = FIRST + 2;
    p->backward[1] = FIRST + 2;
    add(FIRST + 3, 0);
    assert_int_equal(run(&block, &work), 0);
    /* What the guest does from here on is of no interest. */
    memset(p, 0xff, sizeof(*p));
    assert_int_equal(work->pipeline_count, 2);
    assert_int_equal(work->pipelines[0]->surface, FIRST);
    assert_int_equal(work->pipelines[0]->backward_count, 2);
    filter = (const struct vd_proc_filter *)(work->pipelines[0] + 1);
    assert_int_equal(filter[0].type, 100);
    assert_int_equal(filter[1].type, 101);
    assert_int_equal(work->pipelines[1]->surface, FIRST + 3);
    assert_int_equal((uintptr_t)work->pipelines[1] % 8, 0);
    /* Reads in the order of inputs, pictures before and pictures behind. */
    assert_int_equal(work->read_count, 5);
    assert_ptr_equal(work->reads[0].surface, &f.surfaces[0]);
    assert_ptr_equal(work->reads[1].surface, &f.surfaces[1]);
    assert_ptr_equal(work->reads[2].surface, &f.surfaces[2]);
    assert_ptr_equal(work->reads[3].surface, &f.surfaces[2]);
    assert_ptr_equal(work->reads[4].surface, &f.surfaces[3]);
    assert_null(work->coded);
    assert_null(work->request);
    block_unref(&block);
}

/* What the target held is read where it may show through, behind all others. */
static void test_target(void **state)
{
    static const struct {
        uint32_t background, flags;
        bool read;
    } cases[] = {
        {0, 0, false},
        {0, VD_PROC_SOURCE, false},
        {0, VD_PROC_DEST, true},
        {0xffffff, VD_PROC_BLEND, true},
        {1u << 24, VD_PROC_DEST, false},
        {0xff000000, VD_PROC_DEST | VD_PROC_BLEND, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct backend_work *work;
        struct block *block;
        struct vd_proc_pipeline *p;

        f.count = 0;
        p = add(FIRST, 0);
        p->background = cases[i].background;
        p->flags = cases[i].flags;
        /* Only the lowest one's background counts. */
        add(FIRST + 1, 0)->flags = VD_PROC_DEST;
        assert_int_equal(run(&block, &work), 0);
        assert_int_equal(work->under, cases[i].read);
        assert_int_equal(work->read_count, 2 + cases[i].read);
        if (cases[i].read)
            assert_ptr_equal(work->reads[2].surface, &f.target);
        block_unref(&block);
    }
}

/* As many of everything as there may be. */
static void test_most(void **state)
{
    struct backend_work *work;
    struct block *block;

    (void)state;
    for (uint32_t i = 0; i < VD_MAX_PIPELINES; i++) {
        struct vd_proc_pipeline *p = add(FIRST, VD_MAX_PROC_FILTERS);

        p->forward_count = p->backward_count = VD_MAX_PROC_REFS;
        for (uint32_t j = 0; j < VD_MAX_PROC_REFS; j++)
            p->forward[j] = p->backward[j] = FIRST + j;
    }
    assert_int_equal(run(&block, &work), 0);
    assert_int_equal(work->read_count, VD_MAX_PIPELINES * (1 + 2 * VD_MAX_PROC_REFS));
    for (uint32_t i = 0; i < work->read_count; i++)
        assert_non_null(work->reads[i].surface);
    block_unref(&block);
    add(FIRST, 0);
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    f.count = 0;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
}

static void test_outside(void **state)
{
    const uint64_t end = f.arena.upload_offset + f.arena.upload_size;
    struct vd_buffer_ref good;

    (void)state;
    add(FIRST, 1);
    add(FIRST, 1);
    good = f.refs[1];
    f.refs[1].offset = f.arena.upload_offset - 8;
    assert_int_equal(run_only(), VD_ERR_PROTOCOL);
    f.refs[1].offset = end - good.size + 8;
    assert_int_equal(run_only(), VD_ERR_PROTOCOL);
    f.refs[1].offset = UINT64_MAX - 7;
    assert_int_equal(run_only(), VD_ERR_PROTOCOL);
    f.refs[1] = good;
    f.refs[1].size = UINT32_MAX;
    assert_int_equal(run_only(), VD_ERR_PROTOCOL);
    f.refs[1] = good;
    f.refs[1].count = UINT32_MAX;
    assert_int_equal(run_only(), VD_ERR_PROTOCOL);
    assert_int_equal(f.asked, 0);
}

/* What an app can cause costs its picture. */
static void test_shape(void **state)
{
    struct vd_buffer_ref *ref = &f.refs[0], good;

    (void)state;
    add(FIRST, 1);
    good = *ref;
    ref->type = VAProcFilterParameterBufferType;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    *ref = good;
    ref->count = 2;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    ref->count = 0;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    *ref = good;
    ref->size = sizeof(struct vd_proc_pipeline) - 1;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    ref->size = 0;
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    ref->size =
        sizeof(struct vd_proc_pipeline) + (VD_MAX_PROC_FILTERS + 1) * sizeof(struct vd_proc_filter);
    assert_int_equal(run_only(), VD_ERR_PARAMETER);
    *ref = good;
    assert_int_equal(run_only(), 0);
}

/* What the guest driver never does ends the session. */
static void test_lies(void **state)
{
    struct vd_proc_pipeline *p = add(FIRST, 1);
    const struct vd_proc_pipeline good = *p;
    const uint32_t counts[] = {VD_MAX_PROC_REFS + 1, INT32_MAX, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < COUNT(counts); i++) {
        p->forward_count = counts[i];
        assert_int_equal(run_only(), VD_ERR_PROTOCOL);
        *p = good;
        p->backward_count = counts[i];
        assert_int_equal(run_only(), VD_ERR_PROTOCOL);
        *p = good;
        p->filter_count = counts[i];
        assert_int_equal(run_only(), VD_ERR_PROTOCOL);
        *p = good;
    }
    p->filter_count = 0;
    assert_int_equal(run_only(), VD_ERR_PROTOCOL);
    p->filter_count = 2;
    assert_int_equal(run_only(), VD_ERR_PROTOCOL);
    *p = good;
    f.refs[0].size--;
    assert_int_equal(run_only(), VD_ERR_PROTOCOL);
    f.refs[0].size++;
    p->flags = ~(uint32_t)VD_PROC_FLAGS;
    assert_int_equal(run_only(), VD_ERR_PROTOCOL);
}

static void test_surfaces(void **state)
{
    struct vd_proc_pipeline *p = add(FIRST, 0);
    const uint32_t bad[] = {0, FIRST - 1, FIRST + SURFACES, UINT32_MAX};

    (void)state;
    p->forward_count = p->backward_count = 1;
    p->forward[0] = p->backward[0] = FIRST + 1;
    for (size_t i = 0; i < COUNT(bad); i++) {
        p->surface = bad[i];
        assert_int_equal(run_only(), VD_ERR_ID);
        p->surface = FIRST;
        p->forward[0] = bad[i];
        assert_int_equal(run_only(), VD_ERR_ID);
        p->forward[0] = FIRST;
        p->backward[0] = bad[i];
        assert_int_equal(run_only(), VD_ERR_ID);
        p->backward[0] = FIRST;
    }
    /* Elements that are not used may say anything. */
    p->forward[1] = UINT32_MAX;
    assert_int_equal(run_only(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_valid), TEST(test_target), TEST(test_most),     TEST(test_outside),
        TEST(test_shape), TEST(test_lies),   TEST(test_surfaces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
