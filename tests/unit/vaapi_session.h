/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_VAAPI_SESSION_H
#define VIADUCT_TEST_VAAPI_SESSION_H

#include "guest.h"

#include "fake_va.h"

/*
 * A session whose first engine is the vaapi back end over a driver of ours, for what is made from
 * pictures. The second engine completes pictures with what the memory has.
 */

#define DECODE  0x20000001u /* on the device */
#define OTHER   0x20000002u /* decodes in software */
#define WORK    0x20000003u
#define SURFACE 0x30000002u
#define SCRATCH 0x30000030u

static struct guest g;
static int descriptors;

static struct vd_cap vaapi_cap(VAProfile profile, VAEntrypoint entrypoint)
{
    return (struct vd_cap){
        .profile = profile,
        .entrypoint = entrypoint,
        .rt_formats = VA_RT_FORMAT_YUV420,
        .min_width = 16,
        .min_height = 16,
        .max_width = 64,
        .max_height = 64,
        .format_count = 1,
        .formats = {VA_FOURCC_NV12},
        .attribute_count = 2,
        .attributes = {VAConfigAttribRateControl, VAConfigAttribEncPackedHeaders},
        .values = {VA_RC_CQP | VA_RC_CBR, VA_ENC_PACKED_HEADER_SEQUENCE},
    };
}

static int vaapi_context(uint32_t id, VAProfile profile, VAEntrypoint entrypoint, uint32_t rate)
{
    struct vd_context_create_req req = {
        .context = id,
        .profile = profile,
        .entrypoint = entrypoint,
        .rt_formats = VA_RT_FORMAT_YUV420,
        .width = 16,
        .height = 16,
        .rate_control = rate,
        .packed_headers = rate ? VA_ENC_PACKED_HEADER_SEQUENCE : 0,
    };
    struct vd_context_create_rep rep;
    int err = guest_call(&g, VD_OP_context_create, &req, NULL, 0, &rep);

    return err ? err : -(int)rep.status;
}

static int setup(void **state)
{
    (void)state;
    descriptors = check_descriptors();
    memset(&g, 0, sizeof(g));
    g.arena.fd = -1;
    g.backends.count = 2;
    g.backends.at[1] = (struct engine){.backend = &backend_null, .name = "null"};
    g.backends.at[0] = (struct engine){.backend = &backend_vaapi,
                                       .name = "vaapi:fake",
                                       .device = "/dev/null",
                                       .caps = {vaapi_cap(VAProfileH264High, VAEntrypointVLD),
                                                vaapi_cap(VAProfileH264High, VAEntrypointEncSlice),
                                                vaapi_cap(VAProfileNone, VAEntrypointVideoProc)},
                                       .cap_count = 3};
    g.limits = (struct session_limits){.contexts = 4, .surfaces = 40, .bytes = 64 << 20};
    if (mem_create_pair(&g.channel, &g.host_end))
        return 1;
    message_init(&g.reader, g.channel);
    g.running = pthread_create(&g.thread, NULL, guest_serve, &g) == 0;
    if (guest_hello(&g) || guest_surfaces(&g, VA_FOURCC_NV12, SURFACE, 4) ||
        guest_surfaces(&g, VA_FOURCC_NV12, SCRATCH, 1))
        return 1;
    return vaapi_context(DECODE, VAProfileH264High, VAEntrypointVLD, 0) ||
           vaapi_context(OTHER, VAProfileH264Main, VAEntrypointVLD, 0);
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(guest_stop(&g), 0);
    assert_int_equal(check_descriptors(), descriptors);
    fake_va_reset();
    return 0;
}

/* Puts a sample into a surface, as a program does. */
static void paint(uint32_t surface, uint8_t sample)
{
    struct vd_surface_back_req req = {.surface = surface};
    struct vd_surface_back_rep rep;

    assert_int_equal(guest_call(&g, VD_OP_surface_back, &req, NULL, 0, &rep), 0);
    assert_int_equal(rep.status, 0);
    g.arena.base[g.arena.status->backings[rep.backing].offset] = sample;
}

static void decode(uint32_t context, uint32_t surface, uint32_t sequence)
{
    struct picture p;

    picture_idr(&p, surface);
    assert_int_equal(guest_submit(&g, context, surface, sequence, &p), 0);
}

static void submit(uint32_t surface, uint32_t sequence, const struct vd_buffer_ref *refs,
                   uint32_t count)
{
    struct vd_submit_req req = {
        .context = WORK, .surface = surface, .sequence = sequence, .submission = ++g.submission};

    assert_int_equal(guest_oneway(&g, VD_OP_submit, &req, refs, count), 0);
}

/* Waits for a picture of the context that makes them. */
static void await(uint32_t picture)
{
    struct vd_context_slot *slot = &g.arena.status->contexts[VD_SLOT(WORK)];

    assert_int_equal(guest_kick(&g, WORK, picture), 0);
    assert_int_equal(fence_wait(&slot->done, &slot->waiters, picture, GUEST_MS * 1000000ull,
                                guest_host_alive, &g),
                     0);
    /* For sanitizers, which do not know what the status page orders. */
    paint(SCRATCH, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
