/* SPDX-License-Identifier: MIT */
#include "guest.h"

/*
 * Sessions with the null back end and a scripted guest. What breaks the protocol ends the
 * session with PROTOCOL; what an app can do wrong is an error in the reply.
 */

#define CONTEXT 0x20000001u
#define SURFACE 0x30000000u

static struct guest g;
static int descriptors;

static int setup_new(void **state)
{
    (void)state;
    descriptors = check_descriptors();
    return guest_start(&g, &backend_null);
}

static int setup(void **state)
{
    return setup_new(state) || guest_hello(&g);
}

/* A context and four surfaces. */
static int setup_ready(void **state)
{
    return setup(state) || guest_context(&g, CONTEXT, 16, 16) ||
           guest_surfaces(&g, VA_FOURCC_I420, SURFACE, 4);
}

static int teardown(void **state)
{
    (void)state;
    guest_stop(&g);
    assert_int_equal(check_descriptors(), descriptors);
    return 0;
}

/* The session ended by itself, for this reason. */
static void ended(int reason)
{
    guest_join(&g);
    assert_int_equal(g.result, reason);
}

/* The session still answers. */
static void alive(void)
{
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_NV12, SURFACE + 39, 1), 0);
    assert_int_equal(guest_surface_destroy(&g, SURFACE + 39), 0);
}

static void test_hello(void **state)
{
    bool found = false;

    (void)state;
    assert_int_equal(guest_hello(&g), 0);
    assert_int_equal(g.hello.major, VD_MAJOR);
    assert_int_equal(g.hello.minor, VD_MINOR);
    assert_int_equal(g.hello.features, VD_FEATURE_SHARED_ARENA);
    assert_int_equal(g.hello.max_contexts, g.limits.contexts);
    assert_int_equal(g.hello.max_surfaces, g.limits.surfaces);
    assert_true(g.hello.frame_size >= g.limits.bytes);
    assert_string_equal(g.hello.backend, "null");
    assert_string_equal(g.stats.name, "test");
    assert_in_range(g.cap_count, 1, VD_MAX_CAPS);
    for (uint32_t i = 0; i < g.cap_count; i++) {
        found = found || g.caps[i].profile == VAProfileH264High;
        assert_in_range(g.caps[i].format_count, 1, VD_MAX_CAP_FORMATS);
        assert_in_range(g.caps[i].max_width, g.caps[i].min_width, VD_MAX_WIDTH);
        assert_in_range(g.caps[i].max_height, g.caps[i].min_height, VD_MAX_HEIGHT);
    }
    assert_true(found);
    alive();
    assert_int_equal(guest_stop(&g), 0);
}

static void test_hello_newer_minor(void **state)
{
    struct vd_hello_req req = guest_hello_req();

    (void)state;
    req.minor = VD_MINOR + 7;
    req.features = UINT64_MAX;
    assert_int_equal(guest_call(&g, VD_OP_hello, &req, NULL, 0, &g.hello), 0);
    assert_int_equal(g.hello.status, 0);
    assert_int_equal(g.hello.minor, VD_MINOR);
    assert_int_equal(g.hello.features, VD_FEATURE_SHARED_ARENA);
}

static void test_wrong_magic(void **state)
{
    struct vd_hello_req req = guest_hello_req();

    (void)state;
    req.magic++;
    assert_int_equal(guest_call(&g, VD_OP_hello, &req, NULL, 0, &g.hello), VD_ERR_GONE);
    ended(VD_ERR_PROTOCOL);
}

/* Told, not cut off: the guest's log can name both versions. */
static void test_wrong_version(void **state)
{
    struct vd_hello_req req = guest_hello_req();

    (void)state;
    req.major++;
    assert_int_equal(guest_call(&g, VD_OP_hello, &req, NULL, 0, &g.hello), 0);
    assert_int_equal(g.hello.status, -VD_ERR_VERSION);
    assert_int_equal(g.hello.major, VD_MAJOR);
    assert_int_equal(g.cap_count, 0);
    req.major--;
    req.features = 0;
    assert_int_equal(guest_call(&g, VD_OP_hello, &req, NULL, 0, &g.hello), 0);
    assert_int_equal(g.hello.status, -VD_ERR_VERSION);
    assert_int_equal(g.arena.fd, -1);
    /* The session is still new. */
    assert_int_equal(guest_context(&g, CONTEXT, 16, 16), VD_ERR_GONE);
    ended(VD_ERR_PROTOCOL);
}

static void test_nothing_before_hello(void **state)
{
    (void)state;
    assert_int_equal(guest_kick(&g, CONTEXT, 1), 0);
    ended(VD_ERR_PROTOCOL);
}

static void test_second_hello(void **state)
{
    struct vd_hello_req req = guest_hello_req();

    (void)state;
    assert_int_equal(guest_call(&g, VD_OP_hello, &req, NULL, 0, &g.hello), VD_ERR_GONE);
    ended(VD_ERR_PROTOCOL);
}

static void test_contexts(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(guest_context(&g, CONTEXT + i, 16 + i, 16), 0);
        assert_int_equal(STATS_GET(g.stats, contexts), 4);
        assert_int_equal(guest_context(&g, CONTEXT + 9, 16, 16), VD_ERR_LIMIT);
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(guest_context_destroy(&g, CONTEXT + i), 0);
        assert_int_equal(STATS_GET(g.stats, contexts), 0);
    }
    assert_int_equal(guest_context(&g, 0x2ff00000u | (VD_MAX_CONTEXTS - 1), 16, 16), 0);
    assert_int_equal(guest_stop(&g), 0);
}

static void test_context_refusals(void **state)
{
    const struct vd_context_create_req good = {
        CONTEXT, VAProfileH264High, VAEntrypointVLD, VA_RT_FORMAT_YUV420, 64, 64, 0, 0};
    const struct {
        size_t field;
        uint32_t value;
        int err;
    } cases[] = {
        {offsetof(struct vd_context_create_req, profile), 77, VD_ERR_UNSUPPORTED},
        {offsetof(struct vd_context_create_req, profile), UINT32_MAX, VD_ERR_UNSUPPORTED},
        {offsetof(struct vd_context_create_req, entrypoint), VAEntrypointEncSlice,
         VD_ERR_UNSUPPORTED},
        {offsetof(struct vd_context_create_req, rt_formats), 0, VD_ERR_UNSUPPORTED},
        {offsetof(struct vd_context_create_req, rt_formats), VA_RT_FORMAT_YUV444,
         VD_ERR_UNSUPPORTED},
        {offsetof(struct vd_context_create_req, width), 0, VD_ERR_RESOLUTION},
        {offsetof(struct vd_context_create_req, width), VD_MAX_H264_SIZE + 1, VD_ERR_RESOLUTION},
        {offsetof(struct vd_context_create_req, height), 0, VD_ERR_RESOLUTION},
        {offsetof(struct vd_context_create_req, height), UINT32_MAX, VD_ERR_RESOLUTION},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct vd_context_create_req req = good;
        struct vd_context_create_rep rep;

        memcpy((char *)&req + cases[i].field, &cases[i].value, sizeof(uint32_t));
        assert_int_equal(guest_call(&g, VD_OP_context_create, &req, NULL, 0, &rep), 0);
        assert_int_equal(rep.status, -cases[i].err);
    }
    assert_int_equal(STATS_GET(g.stats, contexts), 0);
    assert_int_equal(guest_context(&g, CONTEXT, 64, 64), 0);
}

/* The guest numbers its objects itself: these never come from a guest that works. */
static void test_context_slot_taken(void **state)
{
    (void)state;
    assert_int_equal(guest_context(&g, CONTEXT ^ 0x100000, 16, 16), VD_ERR_GONE);
    ended(VD_ERR_PROTOCOL);
}

static void test_context_slot_outside(void **state)
{
    (void)state;
    assert_int_equal(guest_context(&g, 0x20000000u | VD_MAX_CONTEXTS, 16, 16), VD_ERR_GONE);
    ended(VD_ERR_PROTOCOL);
}

static void test_surfaces(void **state)
{
    struct vd_surface_create_req req = {VA_FOURCC_I420, 0, 16, 0};
    struct vd_surface_create_rep rep;
    struct vd_id id = {SURFACE};

    (void)state;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE, 30), 0);
        assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE + 30, 11), VD_ERR_LIMIT);
        assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE + 30, 10), 0);
        assert_int_equal(STATS_GET(g.stats, surfaces), 40);
        assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE + 40, 1), VD_ERR_LIMIT);
        for (uint32_t i = 0; i < 40; i++)
            assert_int_equal(guest_surface_destroy(&g, SURFACE + i), 0);
    }
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_VYUY, SURFACE, 1), VD_ERR_UNSUPPORTED);
    assert_int_equal(guest_call(&g, VD_OP_surface_create, &req, &id, 1, &rep), 0);
    assert_int_equal(rep.status, -VD_ERR_RESOLUTION);
    /* All or none. */
    assert_int_equal(STATS_GET(g.stats, surfaces), 0);
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE, 40), 0);
    assert_int_equal(guest_stop(&g), 0);
}

static void test_surface_slot_taken(void **state)
{
    (void)state;
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE ^ 0x100000, 1), VD_ERR_GONE);
    ended(VD_ERR_PROTOCOL);
}

static void test_surface_twice_in_one(void **state)
{
    struct vd_surface_create_req req = {VA_FOURCC_I420, 16, 16, 0};
    struct vd_surface_create_rep rep;
    struct vd_id ids[2] = {{SURFACE + 5}, {SURFACE + 5}};

    (void)state;
    assert_int_equal(guest_call(&g, VD_OP_surface_create, &req, ids, 2, &rep), VD_ERR_GONE);
    ended(VD_ERR_PROTOCOL);
}

static void test_surface_slot_outside(void **state)
{
    (void)state;
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, 0x30000000u | VD_MAX_SURFACES, 1),
                     VD_ERR_GONE);
    ended(VD_ERR_PROTOCOL);
}

static void test_surface_back(void **state)
{
    struct vd_surface_back_req req = {SURFACE + 1, 0};
    struct vd_surface_back_rep rep, again;

    (void)state;
    assert_int_equal(guest_call(&g, VD_OP_surface_back, &req, NULL, 0, &rep), 0);
    assert_int_equal(rep.status, 0);
    assert_int_equal(guest_slot(&g, SURFACE + 1)->backing, rep.backing);
    assert_int_equal(guest_slot(&g, SURFACE)->backing, VD_NO_BACKING);
    assert_int_equal(guest_pixels(&g, SURFACE + 1)[0], 0);
    assert_int_equal(guest_call(&g, VD_OP_surface_back, &req, NULL, 0, &again), 0);
    assert_int_equal(again.backing, rep.backing);
    assert_true(STATS_GET(g.stats, frame_bytes) > 0);
}

/* Ids that name nothing, in every message that names something. */
static void foreign(int which)
{
    const uint32_t id = which % 2 ? SURFACE ^ 0x100000 : SURFACE + 30;
    struct vd_surface_back_req back = {id, 0};
    struct vd_surface_back_rep rep;
    struct picture p;

    picture_idr(&p, SURFACE);
    switch (which / 2) {
    case 0:
        assert_int_equal(guest_surface_destroy(&g, id), 0);
        break;
    case 1:
        assert_int_equal(guest_call(&g, VD_OP_surface_back, &back, NULL, 0, &rep), VD_ERR_GONE);
        break;
    case 2:
        assert_int_equal(guest_submit(&g, CONTEXT, id, 1, &p), 0);
        break;
    case 3:
        assert_int_equal(
            guest_submit(&g, which % 2 ? CONTEXT ^ 0x100000 : CONTEXT + 1, SURFACE, 1, &p), 0);
        break;
    case 4:
        assert_int_equal(guest_kick(&g, which % 2 ? CONTEXT ^ 0x100000 : UINT32_MAX, 1), 0);
        break;
    default:
        assert_int_equal(guest_context_destroy(&g, which % 2 ? CONTEXT ^ 0x100000 : 0),
                         VD_ERR_GONE);
        break;
    }
    ended(VD_ERR_PROTOCOL);
}

static void test_foreign_ids(void **state)
{
    for (int which = 0; which < 12; which++) {
        foreign(which);
        teardown(state);
        assert_int_equal(setup_ready(state), 0);
    }
}

static void test_submission_number(void **state)
{
    struct picture p;

    (void)state;
    picture_idr(&p, SURFACE);
    g.submission = 5;
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, 1, &p), 0);
    ended(VD_ERR_PROTOCOL);
}

static void test_submit(void **state)
{
    struct vd_context_slot *context = &g.arena.status->contexts[VD_SLOT(CONTEXT)];
    struct picture p;

    (void)state;
    picture_idr(&p, SURFACE);
    for (uint32_t i = 1; i <= 200; i++) {
        assert_int_equal(guest_submit(&g, CONTEXT, SURFACE + i % 4, (i + 3) / 4, &p), 0);
        if (i % 32)
            continue;
        assert_int_equal(guest_wait(&g, SURFACE + i % 4, (i + 3) / 4), 0);
        assert_int_equal(g.arena.status->consumed, i);
    }
    assert_int_equal(guest_wait(&g, SURFACE, 50), 0);
    assert_int_equal(fence_wait(&context->done, &context->waiters, 200, GUEST_MS * 1000000ull,
                                guest_host_alive, &g),
                     0);
    assert_int_equal(guest_slot(&g, SURFACE)->status, 0);
    assert_true(guest_slot(&g, SURFACE)->backing < VD_MAX_BACKINGS);
    assert_int_equal(guest_stop(&g), 0);
    assert_int_equal(STATS_GET(g.stats, decoded), 200);
    assert_int_equal(STATS_GET(g.stats, bytes_in), 200 * p.data_size);
    assert_int_equal(STATS_GET(g.stats, failed), 0);
}

/* What makes no picture is lost, told, and nothing else happens. */
static void test_refused_picture(void **state)
{
    struct picture good, bad;

    (void)state;
    picture_idr(&good, SURFACE);
    bad = good;
    bad.slice.slice_data_size++;
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, 1, &good), 0);
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, 2, &bad), 0);
    assert_int_equal(guest_wait(&g, SURFACE, 2), VD_ERR_PARAMETER);
    assert_int_equal(g.arena.status->consumed, 2);
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, 3, &good), 0);
    assert_int_equal(guest_wait(&g, SURFACE, 3), 0);
    assert_int_equal(guest_stop(&g), 0);
    assert_int_equal(STATS_GET(g.stats, decoded), 2);
    assert_int_equal(STATS_GET(g.stats, failed), 1);
}

static void test_buffer_outside(void **state)
{
    struct picture p;

    (void)state;
    picture_idr(&p, SURFACE);
    g.at = g.arena.frame_offset;
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, 1, &p), 0);
    ended(VD_ERR_PROTOCOL);
    assert_int_equal(g.arena.status->consumed, 0);
}

static void test_destroy_in_use(void **state)
{
    struct picture p;

    (void)state;
    picture_idr(&p, SURFACE);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, 1, &p), 0);
        assert_int_equal(guest_surface_destroy(&g, SURFACE), 0);
        /* The slot at once belongs to another, which knows nothing of the old picture. */
        assert_int_equal(guest_surfaces(&g, VA_FOURCC_NV12, SURFACE + ((i + 1) << 20), 1), 0);
        assert_int_equal(guest_slot(&g, SURFACE)->done, 0);
        assert_int_equal(guest_surface_destroy(&g, SURFACE + ((i + 1) << 20)), 0);
        assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE, 1), 0);
    }
    for (uint32_t i = 1; i <= 10; i++)
        assert_int_equal(guest_submit(&g, CONTEXT, SURFACE + 1, i, &p), 0);
    assert_int_equal(guest_context_destroy(&g, CONTEXT), 0);
    alive();
    assert_int_equal(guest_stop(&g), 0);
}

/* Whatever happens: whoever submits to surfaces beyond the frame memory gets told. */
static void test_bytes_limit(void **state)
{
    struct vd_surface_create_req req = {VA_FOURCC_I420, 4096, 4096, 0};
    struct vd_surface_back_rep back = {0};
    struct vd_surface_create_rep rep;
    struct vd_id ids[8];
    uint32_t made = 0;

    (void)state;
    for (uint32_t i = 0; i < 8; i++)
        ids[i].id = SURFACE + i;
    assert_int_equal(guest_call(&g, VD_OP_surface_create, &req, ids, 8, &rep), 0);
    assert_int_equal(rep.status, 0);
    for (; made < 8; made++) {
        struct vd_surface_back_req one = {ids[made].id, 0};

        assert_int_equal(guest_call(&g, VD_OP_surface_back, &one, NULL, 0, &back), 0);
        if (back.status)
            break;
    }
    assert_int_equal(back.status, -VD_ERR_LIMIT);
    assert_in_range(made, 1, 3);
    assert_true(STATS_GET(g.stats, frame_bytes) <= g.limits.bytes);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(guest_surface_destroy(&g, ids[i].id), 0);
    alive();
    assert_int_equal(STATS_GET(g.stats, frame_bytes), 0);
}

static int not_ready(void *arg, bool devices)
{
    (void)arg;
    assert_false(devices);
    return VD_ERR_DENIED;
}

static void test_not_ready(void **state)
{
    struct stats_counters stats = {0};

    (void)state;
    assert_int_equal(
        session_serve(g.channel, &g.backends, &g.options, &g.limits, &stats, not_ready, NULL),
        VD_ERR_DENIED);
}

#define TEST(name, with) cmocka_unit_test_setup_teardown(name, with, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hello, setup_new),
        TEST(test_hello_newer_minor, setup_new),
        TEST(test_wrong_magic, setup_new),
        TEST(test_wrong_version, setup_new),
        TEST(test_nothing_before_hello, setup_new),
        TEST(test_not_ready, setup_new),
        TEST(test_second_hello, setup),
        TEST(test_contexts, setup),
        TEST(test_context_refusals, setup),
        TEST(test_context_slot_taken, setup_ready),
        TEST(test_context_slot_outside, setup),
        TEST(test_surfaces, setup),
        TEST(test_surface_slot_taken, setup_ready),
        TEST(test_surface_twice_in_one, setup_ready),
        TEST(test_surface_slot_outside, setup),
        TEST(test_surface_back, setup_ready),
        TEST(test_foreign_ids, setup_ready),
        TEST(test_submission_number, setup_ready),
        TEST(test_submit, setup_ready),
        TEST(test_refused_picture, setup_ready),
        TEST(test_buffer_outside, setup_ready),
        TEST(test_destroy_in_use, setup_ready),
        TEST(test_bytes_limit, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
