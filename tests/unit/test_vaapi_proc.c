/* SPDX-License-Identifier: MIT */
#include "vaapi_session.h"

/* Video processing through the vaapi back end. */

#define TARGET (SURFACE + 3)

static int start(void **state)
{
    int err = setup(state);

    return err ? err : vaapi_context(WORK, VAProfileNone, VAEntrypointVideoProc, 0);
}

static uint32_t bits(float value)
{
    uint32_t v;

    memcpy(&v, &value, sizeof(v));
    return v;
}

static void process(const struct vd_proc_pipeline *pipeline, const struct vd_proc_filter *filters,
                    uint32_t sequence)
{
    uint8_t bytes[sizeof(*pipeline) + VD_MAX_PROC_FILTERS * sizeof(*filters)];
    uint32_t size =
        (uint32_t)(sizeof(*pipeline) + pipeline->filter_count * sizeof(struct vd_proc_filter));
    struct vd_buffer_ref ref;

    memcpy(bytes, pipeline, sizeof(*pipeline));
    if (filters)
        memcpy(bytes + sizeof(*pipeline), filters, size - sizeof(*pipeline));
    ref = guest_buffer(&g, VAProcPipelineParameterBufferType, bytes, size);
    submit(TARGET, sequence, &ref, 1);
}

static uint8_t look(uint32_t surface)
{
    struct vd_surface_back_req req = {.surface = surface};
    struct vd_surface_back_rep rep;

    assert_int_equal(guest_call(&g, VD_OP_surface_back, &req, NULL, 0, &rep), 0);
    assert_int_equal(rep.status, 0);
    return guest_pixels(&g, surface)[0];
}

static VAProcPipelineParameterBuffer seen(void)
{
    VAProcPipelineParameterBuffer p;

    assert_int_equal(fake_va.rendered_count, 1);
    assert_int_equal(fake_va.rendered[0].size, sizeof(p));
    memcpy(&p, fake_va.rendered[0].bytes, sizeof(p));
    return p;
}

/* From pictures of the device to one, and nothing is copied. */
static void test_device(void **state)
{
    struct vd_proc_pipeline p = {.surface = SURFACE,
                                 .flags = VD_PROC_SOURCE | VD_PROC_DEST,
                                 .source = {(uint32_t)-1, 2, 3, 4},
                                 .dest = {5, 6, 7, 8},
                                 .rotation = VA_ROTATION_90,
                                 .mirror = VA_MIRROR_VERTICAL,
                                 .background = 0xff112233,
                                 .forward_count = 1,
                                 .forward = {SURFACE + 1}};
    VAProcPipelineParameterBuffer s;
    int puts;

    (void)state;
    decode(DECODE, SURFACE, 1);
    decode(DECODE, SURFACE + 1, 1);
    process(&p, NULL, 1);
    await(1);
    puts = fake_va.puts;
    assert_int_equal(puts, 3); /* new surfaces are cleared */
    s = seen();
    assert_int_equal(s.surface, FAKE_ID);
    assert_int_equal(fake_va.target, FAKE_ID + 2);
    assert_int_equal(s.num_forward_references, 1);
    assert_int_equal(s.rotation_state, VA_ROTATION_90);
    assert_int_equal(s.mirror_state, VA_MIRROR_VERTICAL);
    assert_int_equal(s.output_background_color, 0xff112233);
    assert_null(s.blend_state);
    assert_int_equal(fake_va.source.x, -1);
    assert_int_equal(fake_va.source.height, 4);
    assert_int_equal(fake_va.dest.y, 6);
    assert_int_equal(fake_va.gets, 0);
    assert_int_equal(guest_slot(&g, TARGET)->backing, VD_NO_BACKING);
    assert_int_equal(look(TARGET), 101);
    assert_int_equal(STATS_GET(g.stats, processed), 1);
}

static void test_filters(void **state)
{
    const struct vd_proc_filter filters[] = {
        {.type = VAProcFilterNoiseReduction, .value = bits(16)},
        {.type = VAProcFilterColorBalance, .algorithm = VAProcColorBalanceHue, .value = bits(-20)},
        {.type = VAProcFilterColorBalance,
         .algorithm = VAProcColorBalanceContrast,
         .value = bits(1000)},
        {.type = VAProcFilterDeinterlacing,
         .algorithm = VAProcDeinterlacingBob,
         .filter_flags = VA_DEINTERLACING_BOTTOM_FIELD},
    };
    const struct vd_proc_pipeline p = {.surface = SURFACE, .filter_count = 4};
    VAProcFilterParameterBuffer noise;
    VAProcFilterParameterBufferColorBalance balance[2];
    VAProcFilterParameterBufferDeinterlacing bob;

    (void)state;
    /* A driver that takes up to 128: values are stretched. */
    assert_int_equal(guest_context_destroy(&g, WORK), 0);
    fake_va.most = 128;
    assert_int_equal(vaapi_context(WORK, VAProfileNone, VAEntrypointVideoProc, 0), 0);
    paint(SURFACE, 9);
    process(&p, filters, 1);
    await(1);
    assert_int_equal(fake_va.input, 9);
    assert_int_equal(fake_va.filter_count, 3);
    memcpy(&noise, fake_va.filters[0].bytes, sizeof(noise));
    assert_true(noise.value == 32);
    assert_int_equal(fake_va.filters[1].count, 2);
    memcpy(balance, fake_va.filters[1].bytes, sizeof(balance));
    assert_int_equal(balance[0].attrib, VAProcColorBalanceHue);
    assert_true(balance[0].value == -20);
    assert_true(balance[1].value == 10);
    memcpy(&bob, fake_va.filters[2].bytes, sizeof(bob));
    assert_int_equal(bob.algorithm, VAProcDeinterlacingBob);
    assert_int_equal(bob.flags, VA_DEINTERLACING_BOTTOM_FIELD);
    assert_int_equal(look(TARGET), 109);
}

/* Pictures of other engines, and results that the next job reads. */
static void test_inputs(void **state)
{
    struct vd_proc_pipeline p = {.surface = SURFACE};

    (void)state;
    paint(SURFACE, 20);
    decode(OTHER, SURFACE, 1);
    process(&p, NULL, 1);
    /* What waits keeps its target, too. */
    decode(DECODE, TARGET, 2);
    await(1);
    assert_int_equal(fake_va.input, 20);
    assert_int_equal(guest_kick(&g, DECODE, 1), 0);
    assert_int_equal(guest_wait(&g, TARGET, 2), 0);
    assert_int_equal(look(TARGET), 1);
    process(&p, NULL, 3);
    p.surface = TARGET;
    process(&p, NULL, 4);
    await(3);
    assert_int_equal(fake_va.input, 120);
    assert_int_equal(look(TARGET), 220);
}

static void test_errors(void **state)
{
    const struct vd_proc_filter unknown = {.type = VAProcFilterSkinToneEnhancement};
    struct vd_proc_pipeline p = {.surface = SURFACE};

    (void)state;
    paint(SURFACE, 1);
    fake_va.end_status = VA_STATUS_ERROR_HW_BUSY;
    process(&p, NULL, 1);
    await(1);
    assert_int_equal(guest_wait(&g, TARGET, 1), VD_ERR_IO);
    fake_va.end_status = VA_STATUS_SUCCESS;
    p.filter_count = 1;
    process(&p, &unknown, 2);
    await(2);
    assert_int_equal(guest_wait(&g, TARGET, 2), VD_ERR_PARAMETER);
    p.filter_count = 0;
    process(&p, NULL, 3);
    await(3);
    assert_int_equal(guest_wait(&g, TARGET, 3), 0);
    assert_int_equal(look(TARGET), 101);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_device),
        TEST(test_filters),
        TEST(test_inputs),
        TEST(test_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
