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
    g.backends.count = 2;
    g.backends.at[1] = (struct engine){.backend = &backend_null, .name = "null"};
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

static void submit_to(uint32_t context, uint32_t surface, uint32_t sequence)
{
    struct picture p;

    picture_idr(&p, surface);
    assert_int_equal(guest_submit(&g, context, surface, sequence, &p), 0);
    assert_int_equal(guest_kick(&g, context, g.submission), 0);
    assert_int_equal(guest_wait(&g, surface, sequence), 0);
}

static void submit(uint32_t surface, uint32_t sequence)
{
    submit_to(CONTEXT, surface, sequence);
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

/* What came with the last export. */
static struct exported {
    struct vd_surface_export_rep rep;
    struct vd_export_plane planes[VD_MAX_PLANES];
    uint32_t count;
    int fd;
} e;

static int export(uint32_t surface, uint32_t flags, uint32_t object)
{
    const struct dispatch_call *call = dispatch_find(VD_OP_surface_export);
    struct vd_surface_export_req req = {surface, flags, object, 0};
    struct dispatch_message message;
    const uint8_t *bytes;
    size_t size;
    int err;

    err = message_send(g.channel, VD_OP_surface_export, ++g.serial, &req, sizeof(req), NULL, 0, 0,
                       -1, GUEST_MS);
    if (!err)
        err = message_read(&g.reader, GUEST_MS, &bytes, &size, &e.fd);
    if (err)
        return err;
    assert_int_equal(dispatch_check_reply(bytes, size, call, g.serial, &message), 0);
    memcpy(&e.rep, message.fixed, sizeof(e.rep));
    e.count = message.tail_count;
    memcpy(e.planes, message.tail, e.count * sizeof(e.planes[0]));
    assert_int_equal(e.fd >= 0, e.rep.status == 0);
    return -(int)e.rep.status;
}

/* First byte of the exported memory. */
static uint8_t peek(int fd)
{
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    return byte;
}

static uint8_t look(uint32_t surface)
{
    struct vd_surface_back_req req = {.surface = surface};
    struct vd_surface_back_rep rep;

    assert_int_equal(guest_call(&g, VD_OP_surface_back, &req, NULL, 0, &rep), 0);
    assert_int_equal(rep.status, 0);
    return guest_pixels(&g, surface)[0];
}

/* What is exported is decoded into for good, and is what the guest maps. */
static void test_export(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(guest_context(&g, CONTEXT, 16, 16), 0);
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_NV12, SURFACE, 2), 0);
    submit(SURFACE, 1);
    assert_int_equal(export(SURFACE, VD_EXPORT_READ, 0), 0);
    assert_int_equal(fake_va.export_flags,
                     VA_EXPORT_SURFACE_READ_ONLY | VA_EXPORT_SURFACE_COMPOSED_LAYERS);
    assert_int_equal(e.rep.objects, 1);
    assert_int_equal(e.rep.modifier, DRM_FORMAT_MOD_LINEAR);
    assert_int_equal(e.count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(e.planes[i].format, DRM_FORMAT_NV12);
        assert_int_equal(e.planes[i].layer, 0);
        assert_int_equal(e.planes[i].object, 0);
        assert_int_equal(e.planes[i].pitch, 256);
        assert_int_equal(e.planes[i].offset, i * 256 * 16);
    }
    fd = e.fd;
    assert_int_equal(peek(fd), 1);
    assert_int_equal(look(SURFACE), 1);
    submit(SURFACE, 2);
    assert_int_equal(peek(fd), 2);
    assert_int_equal(look(SURFACE), 2);
    submit(SURFACE + 1, 1);
    submit(SURFACE, 3);
    assert_int_equal(look(SURFACE), 4);
    assert_int_equal(peek(fd), 4);
    /* Once more: the same memory. */
    assert_int_equal(export(SURFACE, VD_EXPORT_WRITE | VD_EXPORT_SEPARATE, 0), 0);
    assert_int_equal(fake_va.export_flags,
                     VA_EXPORT_SURFACE_WRITE_ONLY | VA_EXPORT_SURFACE_SEPARATE_LAYERS);
    assert_int_equal(e.planes[0].format, DRM_FORMAT_R8);
    assert_int_equal(e.planes[1].format, DRM_FORMAT_GR88);
    assert_int_equal(e.planes[1].layer, 1);
    assert_int_equal(peek(e.fd), 4);
    close(e.fd);
    close(fd);
    assert_int_equal(export(SURFACE, 0, 1), VD_ERR_PARAMETER);
    assert_int_equal(export(SURFACE, 0, UINT32_MAX), VD_ERR_PARAMETER);
    /* Importers keep the memory, the host keeps nothing. */
    assert_int_equal(guest_surface_destroy(&g, SURFACE), 0);
    assert_int_equal(look(SURFACE + 1), 3);
    assert_int_equal(fake_va.surfaces, 1);
}

/* Before the first picture, before there is a context: black, then what comes. */
static void test_export_first(void **state)
{
    (void)state;
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_P010, SURFACE, 1), 0);
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE + 1, 1), 0);
    assert_int_equal(export(SURFACE, VD_EXPORT_SEPARATE, 0), 0);
    assert_int_equal(e.planes[0].format, DRM_FORMAT_R16);
    assert_int_equal(peek(e.fd), 0);
    assert_int_equal(guest_context(&g, CONTEXT, 16, 16), 0);
    submit(SURFACE, 1);
    assert_int_equal(peek(e.fd), 1);
    close(e.fd);
    /* The device has no such format. */
    assert_int_equal(export(SURFACE + 1, 0, 0), VD_ERR_UNSUPPORTED);
}

/* What the guest put into the arena before is what is exported. */
static void test_export_written(void **state)
{
    (void)state;
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_NV12, SURFACE, 1), 0);
    look(SURFACE);
    g.arena.base[g.arena.status->backings[guest_slot(&g, SURFACE)->backing].offset] = 99;
    assert_int_equal(export(SURFACE, 0, 0), 0);
    assert_int_equal(peek(e.fd), 99);
    close(e.fd);
}

/* Pictures that another engine decodes come there, too. */
static void test_export_other_engine(void **state)
{
    int puts;

    (void)state;
    assert_int_equal(guest_context(&g, CONTEXT, 16, 16), 0);
    assert_int_equal(
        guest_context_of(&g, CONTEXT + 1, VAProfileH264Main, VA_RT_FORMAT_YUV420, 16, 16), 0);
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_NV12, SURFACE, 2), 0);
    submit(SURFACE, 1);
    assert_int_equal(export(SURFACE, 0, 0), 0);
    assert_int_equal(look(SURFACE), 1);
    puts = fake_va.puts;
    /* This engine completes pictures with what the memory has. */
    g.arena.base[g.arena.status->backings[guest_slot(&g, SURFACE)->backing].offset] = 55;
    submit_to(CONTEXT + 1, SURFACE, 2);
    assert_int_equal(fake_va.puts, puts + 1);
    assert_int_equal(peek(e.fd), 55);
    assert_int_equal(look(SURFACE), 55);
    submit(SURFACE, 3);
    assert_int_equal(peek(e.fd), 2);
    assert_int_equal(look(SURFACE), 2);
    close(e.fd);
    /* A surface that has pictures in software only is on no device. */
    submit_to(CONTEXT + 1, SURFACE + 1, 1);
    assert_int_equal(export(SURFACE + 1, 0, 0), VD_ERR_UNSUPPORTED);
}

static int spoiled;

/* Drivers have bugs; descriptors must not leak by them. */
static void spoil(VADRMPRIMESurfaceDescriptor *d)
{
    switch (spoiled) {
    case 0:
        d->fourcc = VA_FOURCC_I420;
        break;
    case 1:
        d->num_layers = 5;
        break;
    case 2:
        d->num_layers = 0;
        break;
    case 3:
        d->layers[0].num_planes = 5;
        break;
    case 4:
        d->layers[0].object_index[1] = 1;
        break;
    case 5:
        d->num_layers = 3;
        d->layers[1] = d->layers[2] = d->layers[0];
        break;
    default:
        d->num_objects = 4;
        for (int i = 1; i < 4; i++)
            d->objects[i].fd = fcntl(d->objects[0].fd, F_DUPFD_CLOEXEC, 3);
        d->num_layers = 5;
        break;
    }
}

static void test_export_spoiled(void **state)
{
    (void)state;
    assert_int_equal(guest_context(&g, CONTEXT, 16, 16), 0);
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_NV12, SURFACE, 1), 0);
    submit(SURFACE, 1);
    fake_va.export_status = VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
    assert_int_equal(export(SURFACE, 0, 0), VD_ERR_UNSUPPORTED);
    fake_va.export_status = 0;
    fake_va.spoil = spoil;
    for (spoiled = 0; spoiled < 7; spoiled++)
        assert_int_equal(export(SURFACE, 0, 0), VD_ERR_UNSUPPORTED);
    assert_int_equal(fake_va.exports, 8);
    fake_va.spoil = NULL;
    assert_int_equal(export(SURFACE, 0, 0), 0);
    close(e.fd);
    /* Twice as many calls as a process may have descriptors. */
    for (int i = 0; i < 2048; i++) {
        assert_int_equal(export(SURFACE, 0, 0), 0);
        close(e.fd);
    }
}

/* Memory that others still have is the client's, whatever became of the surface. */
static void test_export_kept(void **state)
{
    uint64_t before;
    int fds[3];

    (void)state;
    assert_int_equal(guest_context(&g, CONTEXT, 16, 16), 0);
    fake_va.holders = 2;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(guest_surfaces_of(&g, VA_FOURCC_NV12, 1280, 1024, SURFACE, 1), 0);
        assert_int_equal(export(SURFACE, 0, 0), 0);
        fds[i] = e.fd;
        assert_int_equal(guest_surface_destroy(&g, SURFACE), 0);
    }
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_NV12, SURFACE, 1), 0);
    submit(SURFACE, 1);
    assert_int_equal(fake_va.surfaces, 1);
    before = STATS_GET(g.stats, frame_bytes);
    assert_in_range(before, 3 * 1280 * 1024 * 3 / 2, 4 * 1280 * 1024 * 3 / 2);
    /* Until the limit; then nothing more is to be had. */
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(guest_surfaces_of(&g, VA_FOURCC_NV12, 1280, 1024, SURFACE + 1, 1), 0);
        if (export(SURFACE + 1, 0, 0))
            break;
        close(e.fd);
        assert_int_equal(guest_surface_destroy(&g, SURFACE + 1), 0);
    }
    assert_int_equal(e.rep.status, -VD_ERR_LIMIT);
    assert_int_equal(fake_va.surfaces, 1);
    /* All of it is back as soon as nobody has it. */
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    fake_va.holders = 1;
    assert_int_equal(export(SURFACE + 1, 0, 0), 0);
    close(e.fd);
    assert_in_range(STATS_GET(g.stats, frame_bytes), 1, before / 2);
    /* What cannot be looked at when its surface goes stays on the account. */
    before = STATS_GET(g.stats, frame_bytes);
    fake_va.export_status = VA_STATUS_ERROR_OPERATION_FAILED;
    assert_int_equal(guest_surface_destroy(&g, SURFACE + 1), 0);
    assert_int_equal(look(SURFACE), fake_va.pictures);
    assert_in_range(STATS_GET(g.stats, frame_bytes), before, before + (64 << 10));
    fake_va.export_status = 0;
    /* Where the kernel does not tell, nothing is exported. */
    fake_va.holders = 0;
    assert_int_equal(export(SURFACE, 0, 0), VD_ERR_UNSUPPORTED);
}

static void test_export_unknown(void **state)
{
    (void)state;
    assert_true(export(SURFACE, 0, 0));
    guest_join(&g);
    assert_int_equal(g.result, VD_ERR_PROTOCOL);
    g.result = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rt_formats),
        TEST(test_picture),
        TEST(test_limit),
        TEST(test_export),
        TEST(test_export_first),
        TEST(test_export_written),
        TEST(test_export_other_engine),
        TEST(test_export_spoiled),
        TEST(test_export_kept),
        TEST(test_export_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
