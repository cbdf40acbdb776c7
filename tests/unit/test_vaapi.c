/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include "fake_va.h"

/* The vaapi back end in a session, over a driver of ours. */

#define CONTEXT 0x20000001u
#define SURFACE 0x30000002u

static struct guest g;
static int descriptors;

static struct vd_cap cap_of(VAProfile profile)
{
    return (struct vd_cap){
        .profile = profile,
        .entrypoint = VAEntrypointVLD,
        .rt_formats = VA_RT_FORMAT_YUV420 | VA_RT_FORMAT_YUV420_10,
        .min_width = 16,
        .min_height = 16,
        .max_width = 64,
        .max_height = 64,
        .format_count = 2,
        .formats = {VA_FOURCC_NV12, VA_FOURCC_P010},
    };
}

static int setup(void **state)
{
    (void)state;
    descriptors = check_descriptors();
    memset(&g, 0, sizeof(g));
    g.arena.fd = -1;
    g.backends.count = 1;
    g.backends.at[0] =
        (struct engine){.backend = &backend_vaapi,
                        .name = "vaapi:fake",
                        .device = "/dev/null",
                        .caps = {cap_of(VAProfileH264High), cap_of(VAProfileHEVCMain10)},
                        .cap_count = 2};
    g.limits = (struct session_limits){.contexts = 4, .surfaces = 40, .bytes = 64 << 20};
    if (mem_create_pair(&g.channel, &g.host_end))
        return 1;
    message_init(&g.reader, g.channel);
    g.running = pthread_create(&g.thread, NULL, guest_serve, &g) == 0;
    return guest_hello(&g);
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(guest_stop(&g), 0);
    assert_int_equal(check_descriptors(), descriptors);
    fake_va_reset();
    return 0;
}

static int create(uint32_t rt_formats)
{
    int err = guest_context_of(&g, CONTEXT, VAProfileHEVCMain10, rt_formats, 64, 64);

    return err ? err : guest_context_destroy(&g, CONTEXT);
}

/* The driver is told a format only where there is but one. */
static void test_rt_formats(void **state)
{
    (void)state;
    assert_int_equal(create(VA_RT_FORMAT_YUV420 | VA_RT_FORMAT_YUV420_10), 0);
    assert_int_equal(fake_va.attributes, 0);
    assert_int_equal(create(VA_RT_FORMAT_YUV420_10), 0);
    assert_int_equal(fake_va.attributes, 1);
    assert_int_equal(fake_va.attribute.type, VAConfigAttribRTFormat);
    assert_int_equal(fake_va.attribute.value, VA_RT_FORMAT_YUV420_10);
    /* What this host has not is not asked for. */
    assert_int_equal(create(VA_RT_FORMAT_YUV420_10 | VA_RT_FORMAT_YUV444), 0);
    assert_int_equal(fake_va.attributes, 1);
    assert_int_equal(fake_va.attribute.value, VA_RT_FORMAT_YUV420_10);
    assert_int_equal(create(VA_RT_FORMAT_YUV444), VD_ERR_UNSUPPORTED);
}

static void submit(uint32_t surface, uint32_t sequence)
{
    struct picture p;

    picture_idr(&p, surface);
    assert_int_equal(guest_submit(&g, CONTEXT, surface, sequence, &p), 0);
    assert_int_equal(guest_kick(&g, CONTEXT, g.submission), 0);
    assert_int_equal(guest_wait(&g, surface, sequence), 0);
}

/* Pictures stay on the device until somebody looks. */
static void test_picture(void **state)
{
    struct vd_surface_back_req req = {.surface = SURFACE};
    struct vd_surface_back_rep rep;

    (void)state;
    assert_int_equal(guest_context(&g, CONTEXT, 16, 16), 0);
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_NV12, SURFACE, 1), 0);
    submit(SURFACE, 1);
    assert_int_equal(fake_va.surfaces, 1);
    assert_int_equal(fake_va.gets, 0);
    assert_int_equal(guest_slot(&g, SURFACE)->backing, VD_NO_BACKING);
    assert_int_equal(guest_call(&g, VD_OP_surface_back, &req, NULL, 0, &rep), 0);
    assert_int_equal(rep.status, 0);
    assert_int_equal(guest_pixels(&g, SURFACE)[0], 1);
    assert_int_equal(fake_va.gets, 1);
    submit(SURFACE, 2);
    assert_int_equal(fake_va.surfaces, 1);
    assert_int_equal(guest_call(&g, VD_OP_surface_back, &req, NULL, 0, &rep), 0);
    assert_int_equal(guest_pixels(&g, SURFACE)[0], 2);
}

/* A device's surfaces are memory of the client, too. */
static void test_limit(void **state)
{
    uint32_t made = 0;
    struct picture p;
    int err = 0;

    (void)state;
    assert_int_equal(guest_context(&g, CONTEXT, 16, 16), 0);
    assert_int_equal(guest_surfaces_of(&g, VA_FOURCC_NV12, 1280, 1024, SURFACE, 40), 0);
    for (; !err && made < 40; made++) {
        picture_idr(&p, SURFACE + made);
        assert_int_equal(guest_submit(&g, CONTEXT, SURFACE + made, 1, &p), 0);
        assert_int_equal(guest_kick(&g, CONTEXT, g.submission), 0);
        err = guest_wait(&g, SURFACE + made, 1);
    }
    assert_int_equal(err, VD_ERR_LIMIT);
    assert_in_range(fake_va.surfaces, 20, 39);
    assert_in_range(STATS_GET(g.stats, frame_bytes), 32 << 20, g.limits.bytes);
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(guest_surface_destroy(&g, SURFACE + i), 0);
    assert_int_equal(guest_context_destroy(&g, CONTEXT), 0);
    assert_int_equal(fake_va.surfaces, 0);
    assert_int_equal(STATS_GET(g.stats, frame_bytes), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rt_formats),
        TEST(test_picture),
        TEST(test_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
