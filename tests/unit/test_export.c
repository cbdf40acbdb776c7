/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <va/va_backend.h>

#include "fake_va.h"

/*
 * The guest's driver, a session and the vaapi back end over a driver of ours, in one process: what
 * a program gets that exports surfaces. Linked with channel_connect wrapped, which leads the driver
 * to the session through a channel that can change what the host says.
 */

#define PRIME VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2
#define WIDTH 64

VAStatus __vaDriverInit_1_0(VADriverContextP ctx);
int __wrap_channel_connect(const char *uri, struct channel **ret_channel);

/* Passes everything on; a reply to surface_export is changed first. */
static struct liar {
    struct channel base;
    struct channel *inner;
    bool shares_memory;
    void (*change)(struct vd_surface_export_rep *rep, struct vd_export_plane *planes, int *fd);
} liar;

static int liar_send(struct channel *channel, const struct iovec *iov, int count, int fd,
                     int timeout_ms)
{
    (void)channel;
    return liar.inner->ops->send(liar.inner, iov, count, fd, timeout_ms);
}

static int liar_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size,
                     int *ret_fd, int timeout_ms)
{
    int err = liar.inner->ops->recv(liar.inner, bytes, room, ret_size, ret_fd, timeout_ms);
    struct vd_header header;

    (void)channel;
    if (err || !liar.change || *ret_size < sizeof(header))
        return err;
    memcpy(&header, bytes, sizeof(header));
    if (header.op == (VD_OP_surface_export | VD_REPLY) && header.size == *ret_size) {
        struct vd_surface_export_rep *rep =
            (struct vd_surface_export_rep *)((uint8_t *)bytes + sizeof(header));

        liar.change(rep, (struct vd_export_plane *)(rep + 1), ret_fd);
    }
    return 0;
}

static bool liar_alive(struct channel *channel)
{
    (void)channel;
    return liar.inner->ops->alive(liar.inner);
}

static void liar_destroy(struct channel *channel)
{
    (void)channel;
    channel_destroy(&liar.inner);
}

static struct channel_ops liar_ops = {
    .scheme = "liar",
    .send = liar_send,
    .recv = liar_recv,
    .alive = liar_alive,
    .destroy = liar_destroy,
};

static struct guest g;
static struct VADriverContext va;
static struct VADriverVTable v;
static int descriptors;

int __wrap_channel_connect(const char *uri, struct channel **ret_channel)
{
    (void)uri;
    liar_ops.shares_memory = true;
    liar.base.ops = &liar_ops;
    liar.inner = g.channel;
    liar.change = NULL;
    g.channel = NULL;
    *ret_channel = &liar.base;
    return 0;
}

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
    g.reader.fd = -1;
    g.backends.count = 1;
    g.backends.at[0] = (struct engine){.backend = &backend_vaapi,
                                       .name = "vaapi:fake",
                                       .device = "/dev/null",
                                       .caps = {cap_of(VAProfileH264High)},
                                       .cap_count = 1};
    g.limits = (struct session_limits){.contexts = 4, .surfaces = 40, .bytes = 64 << 20};
    if (mem_create_pair(&g.channel, &g.host_end))
        return 1;
    g.running = pthread_create(&g.thread, NULL, guest_serve, &g) == 0;
    setenv("VIADUCT_HOST", "liar:", 1);
    memset(&v, 0, sizeof(v));
    va = (struct VADriverContext){.vtable = &v};
    return __vaDriverInit_1_0(&va);
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(v.vaTerminate(&va), 0);
    assert_int_equal(guest_stop(&g), 0);
    assert_int_equal(check_descriptors(), descriptors);
    fake_va_reset();
    return 0;
}

static VASurfaceID create(uint32_t fourcc)
{
    VASurfaceAttrib format = {
        .type = VASurfaceAttribPixelFormat,
        .flags = VA_SURFACE_ATTRIB_SETTABLE,
        .value = {.type = VAGenericValueTypeInteger, .value = {.i = (int)fourcc}},
    };
    uint32_t rt = fourcc == VA_FOURCC_P010 ? VA_RT_FORMAT_YUV420_10 : VA_RT_FORMAT_YUV420;
    VASurfaceID id;

    assert_int_equal(v.vaCreateSurfaces2(&va, rt, WIDTH, 32, &id, 1, &format, 1), 0);
    return id;
}

static VAContextID open_context(VAConfigAttrib *attribute)
{
    VAContextID context;
    VAConfigID config;

    assert_int_equal(v.vaCreateConfig(&va, VAProfileH264High, VAEntrypointVLD, attribute,
                                      attribute ? 1 : 0, &config),
                     0);
    assert_int_equal(v.vaCreateContext(&va, config, WIDTH, 32, 0, NULL, 0, &context), 0);
    return context;
}

static void decode(VAContextID context, VASurfaceID surface)
{
    struct picture p;
    VABufferID ids[4];

    picture_idr(&p, surface);
    assert_int_equal(v.vaCreateBuffer(&va, context, VAPictureParameterBufferType, sizeof(p.param),
                                      1, &p.param, &ids[0]),
                     0);
    assert_int_equal(v.vaCreateBuffer(&va, context, VAIQMatrixBufferType, sizeof(p.matrix), 1,
                                      &p.matrix, &ids[1]),
                     0);
    assert_int_equal(v.vaCreateBuffer(&va, context, VASliceParameterBufferType, sizeof(p.slice), 1,
                                      &p.slice, &ids[2]),
                     0);
    assert_int_equal(
        v.vaCreateBuffer(&va, context, VASliceDataBufferType, p.data_size, 1, p.data, &ids[3]), 0);
    assert_int_equal(v.vaBeginPicture(&va, context, surface), 0);
    assert_int_equal(v.vaRenderPicture(&va, context, ids, 4), 0);
    assert_int_equal(v.vaEndPicture(&va, context), 0);
    assert_int_equal(v.vaSyncSurface(&va, surface), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(v.vaDestroyBuffer(&va, ids[i]), 0);
}

static VADRMPRIMESurfaceDescriptor d;

static VAStatus export(VASurfaceID surface, uint32_t flags)
{
    memset(&d, 0x5a, sizeof(d));
    return v.vaExportSurfaceHandle(&va, surface, PRIME, flags, &d);
}

static void drop(void)
{
    for (uint32_t i = 0; i < d.num_objects; i++)
        close(d.objects[i].fd);
}

static uint8_t peek(int fd)
{
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    return byte;
}

/* First byte of the surface as the program sees it. */
static uint8_t look(VASurfaceID surface)
{
    VAImage image;
    void *bytes;
    uint8_t byte;

    assert_int_equal(v.vaDeriveImage(&va, surface, &image), 0);
    assert_int_equal(v.vaMapBuffer(&va, image.buf, &bytes), 0);
    byte = *(uint8_t *)bytes;
    assert_int_equal(v.vaUnmapBuffer(&va, image.buf), 0);
    assert_int_equal(v.vaDestroyImage(&va, image.image_id), 0);
    return byte;
}

/* A pixel format that is named decides; programs give the most usual render-target format to all.
 */
static void test_named_format(void **state)
{
    VASurfaceAttrib format = {
        .type = VASurfaceAttribPixelFormat,
        .flags = VA_SURFACE_ATTRIB_SETTABLE,
        .value = {.type = VAGenericValueTypeInteger, .value = {.i = VA_FOURCC_P010}},
    };
    VASurfaceID id;
    VAImage image;

    (void)state;
    assert_int_equal(v.vaCreateSurfaces2(&va, VA_RT_FORMAT_YUV420, WIDTH, 32, &id, 1, &format, 1),
                     0);
    assert_int_equal(v.vaDeriveImage(&va, id, &image), 0);
    assert_int_equal(image.format.fourcc, VA_FOURCC_P010);
    assert_int_equal(v.vaDestroyImage(&va, image.image_id), 0);
    assert_int_equal(v.vaDestroySurfaces(&va, &id, 1), 0);
}

/* What an encoder alone has cannot be asked of a decoder. */
static void test_foreign_attributes(void **state)
{
    VAConfigAttrib attributes[] = {{VAConfigAttribEncPackedHeaders, 0},
                                   {VAConfigAttribEncInterlaced, 0},
                                   {VAConfigAttribRateControl, VA_RC_CQP}};
    VAConfigID config;

    (void)state;
    for (size_t i = 0; i < COUNT(attributes); i++)
        assert_int_equal(
            v.vaCreateConfig(&va, VAProfileH264High, VAEntrypointVLD, &attributes[i], 1, &config),
            VA_STATUS_ERROR_INVALID_VALUE);
}

/* The config's formats reach the host's driver. */
static void test_rt_formats(void **state)
{
    VAConfigAttrib deep = {VAConfigAttribRTFormat, VA_RT_FORMAT_YUV420_10};
    VAConfigAttrib none = {VAConfigAttribRTFormat, 0};
    VAConfigAttrib foreign = {VAConfigAttribRTFormat, VA_RT_FORMAT_YUV400};
    VAConfigID config;

    (void)state;
    open_context(NULL);
    assert_int_equal(fake_va.attributes, 0);
    open_context(&none);
    assert_int_equal(fake_va.attributes, 0);
    assert_int_equal(
        v.vaCreateConfig(&va, VAProfileH264High, VAEntrypointVLD, &foreign, 1, &config),
        VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT);
    open_context(&deep);
    assert_int_equal(fake_va.attributes, 1);
    assert_int_equal(fake_va.attribute.value, VA_RT_FORMAT_YUV420_10);
}

static void test_composed(void **state)
{
    VASurfaceID surface = create(VA_FOURCC_NV12);
    VAContextID context = open_context(NULL);
    int fd;

    (void)state;
    decode(context, surface);
    assert_int_equal(export(surface, VA_EXPORT_SURFACE_READ_ONLY), 0);
    assert_int_equal(fake_va.export_flags,
                     VA_EXPORT_SURFACE_READ_ONLY | VA_EXPORT_SURFACE_COMPOSED_LAYERS);
    assert_int_equal(d.fourcc, VA_FOURCC_NV12);
    assert_int_equal(d.width, WIDTH);
    assert_int_equal(d.height, 32);
    assert_int_equal(d.num_objects, 1);
    assert_int_equal(d.objects[0].size, 256 * 48);
    assert_int_equal(d.objects[0].drm_format_modifier, DRM_FORMAT_MOD_LINEAR);
    assert_int_equal(d.num_layers, 1);
    assert_int_equal(d.layers[0].drm_format, DRM_FORMAT_NV12);
    assert_int_equal(d.layers[0].num_planes, 2);
    assert_int_equal(d.layers[0].pitch[1], 256);
    assert_int_equal(d.layers[0].offset[1], 256 * 32);
    assert_int_equal(fcntl(d.objects[0].fd, F_GETFD), FD_CLOEXEC);
    fd = d.objects[0].fd;
    assert_int_equal(peek(fd), 1);
    /* Mapped or not, content agrees, and the memory stays the same. */
    assert_int_equal(look(surface), 1);
    decode(context, surface);
    assert_int_equal(peek(fd), 2);
    assert_int_equal(look(surface), 2);
    decode(context, surface);
    assert_int_equal(peek(fd), 3);
    assert_int_equal(export(surface, VA_EXPORT_SURFACE_READ_WRITE), 0);
    assert_int_equal(peek(d.objects[0].fd), 3);
    drop();
    close(fd);
}

/* An image that shows the surface live does so, too. */
static void test_derived(void **state)
{
    VASurfaceID surface = create(VA_FOURCC_NV12);
    VAContextID context = open_context(NULL);
    const uint8_t *bytes;
    VAImage image;

    (void)state;
    decode(context, surface);
    assert_int_equal(export(surface, VA_EXPORT_SURFACE_READ_ONLY), 0);
    assert_int_equal(v.vaDeriveImage(&va, surface, &image), 0);
    assert_int_equal(v.vaMapBuffer(&va, image.buf, (void **)&bytes), 0);
    assert_int_equal(bytes[0], 1);
    decode(context, surface);
    assert_int_equal(bytes[0], 2);
    assert_int_equal(peek(d.objects[0].fd), 2);
    /* Nobody but the decoder writes there. */
    assert_int_equal(v.vaPutImage(&va, surface, image.image_id, 0, 0, 16, 16, 0, 0, 16, 16),
                     VA_STATUS_ERROR_UNIMPLEMENTED);
    assert_int_equal(v.vaDestroyImage(&va, image.image_id), 0);
    drop();
}

static void test_separate(void **state)
{
    VASurfaceID surface = create(VA_FOURCC_P010);

    (void)state;
    /* Before the first picture, before there is a context. */
    assert_int_equal(export(surface, VA_EXPORT_SURFACE_SEPARATE_LAYERS), 0);
    assert_int_equal(d.num_layers, 2);
    assert_int_equal(d.layers[0].drm_format, DRM_FORMAT_R16);
    assert_int_equal(d.layers[1].drm_format, DRM_FORMAT_GR1616);
    assert_int_equal(d.layers[1].num_planes, 1);
    assert_int_equal(peek(d.objects[0].fd), 0);
    decode(open_context(NULL), surface);
    assert_int_equal(peek(d.objects[0].fd), 1);
    assert_int_equal(look(surface), 1);
    drop();
}

/* Two objects, as some drivers have them. */
static void two_objects(VADRMPRIMESurfaceDescriptor *descriptor)
{
    descriptor->num_objects = 2;
    descriptor->objects[1] = descriptor->objects[0];
    descriptor->objects[1].fd = fcntl(descriptor->objects[0].fd, F_DUPFD_CLOEXEC, 3);
    descriptor->layers[0].object_index[1] = 1;
    descriptor->layers[0].offset[1] = 0;
}

static void test_objects(void **state)
{
    VASurfaceID surface = create(VA_FOURCC_NV12);

    (void)state;
    decode(open_context(NULL), surface);
    fake_va.spoil = two_objects;
    assert_int_equal(export(surface, 0), 0);
    assert_int_equal(fake_va.exports, 2);
    assert_int_equal(d.num_objects, 2);
    assert_int_not_equal(d.objects[0].fd, d.objects[1].fd);
    assert_int_equal(d.layers[0].object_index[0], 0);
    assert_int_equal(d.layers[0].object_index[1], 1);
    assert_int_equal(peek(d.objects[1].fd), 1);
    drop();
}

/* Where the host's driver refuses, the guest's own memory is exported, or nothing. */
static void test_fallback(void **state)
{
    VASurfaceID surface = create(VA_FOURCC_NV12);
    VAContextID context = open_context(NULL);
    VAStatus status;

    (void)state;
    decode(context, surface);
    fake_va.export_status = VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
    status = export(surface, VA_EXPORT_SURFACE_READ_ONLY);
    assert_int_equal(fake_va.exports, 1);
    if (!status)
        drop();
    else
        assert_int_equal(status, VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE);
    decode(context, surface);
    assert_int_equal(look(surface), 2);
    /* Over some channels no descriptor can come: nobody is asked. */
    liar_ops.shares_memory = false;
    fake_va.export_status = 0;
    surface = create(VA_FOURCC_NV12);
    decode(context, surface);
    status = export(surface, VA_EXPORT_SURFACE_READ_ONLY);
    assert_int_equal(fake_va.exports, 1);
    if (!status)
        drop();
}

/* What the program wrote lies in the arena: a device has an older picture. */
static void test_uploaded(void **state)
{
    VASurfaceID surface = create(VA_FOURCC_NV12);
    VAContextID context = open_context(NULL);
    VAImageFormat format = {.fourcc = VA_FOURCC_NV12};
    VAImage image;

    (void)state;
    assert_int_equal(v.vaCreateImage(&va, &format, WIDTH, 32, &image), 0);
    decode(context, surface);
    assert_int_equal(v.vaPutImage(&va, surface, image.image_id, 0, 0, 16, 16, 0, 0, 16, 16), 0);
    if (!export(surface, 0))
        drop();
    assert_int_equal(fake_va.exports, 0);
    assert_int_equal(v.vaDestroyImage(&va, image.image_id), 0);
}

/* Lies of the host. */

static int lie;

/* A memfd in place of what came. */
static void replace(int *fd, unsigned seals, off_t size)
{
    close(*fd);
    *fd = memfd_create("lie", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(*fd, size), 0);
    assert_int_equal(fcntl(*fd, F_ADD_SEALS, seals), 0);
}

static void change(struct vd_surface_export_rep *rep, struct vd_export_plane *planes, int *fd)
{
    switch (lie) {
    case 0:
        rep->objects = 0;
        break;
    case 1:
        rep->objects = 5;
        break;
    case 2:
        rep->objects = UINT32_MAX;
        break;
    case 3: /* smaller than the picture */
        rep->size = 256 * 32;
        break;
    case 4: /* larger than it is */
        rep->size = 256 * 48 + 1;
        break;
    case 5:
        rep->size = UINT64_MAX;
        break;
    case 6:
        rep->size = 0;
        break;
    case 7:
        planes[0].layer = 1;
        break;
    case 8:
        planes[1].layer = 1;
        break;
    case 9:
        planes[1].layer = UINT32_MAX;
        break;
    case 10:
        planes[0].format = DRM_FORMAT_P010;
        break;
    case 11:
        planes[1].format = DRM_FORMAT_R8;
        break;
    case 12:
        planes[1].object = 1;
        break;
    case 13:
        planes[0].object = UINT32_MAX;
        break;
    case 14:
        planes[1].offset = 256 * 33;
        break;
    case 15:
        planes[0].offset = UINT32_MAX;
        break;
    case 16:
        planes[0].pitch = WIDTH - 1;
        break;
    case 17:
        planes[0].pitch = 0;
        break;
    case 18:
        planes[1].pitch = UINT32_MAX;
        break;
    case 19: /* tiled memory has its planes in it, too */
        rep->modifier = I915_FORMAT_MOD_Y_TILED;
        planes[1].offset = (uint32_t)rep->size;
        break;
    case 20: /* none came */
        close(*fd);
        *fd = -1;
        break;
    case 21: /* memory that can be taken away */
        replace(fd, F_SEAL_GROW, 256 * 48);
        break;
    case 22:
        replace(fd, FAKE_SEALS, 256 * 48 - 1);
        break;
    case 23: /* a second object that is not the first one's sibling */
        if (rep->objects == 1) {
            rep->objects = 2;
            planes[1].object = 1;
        }
        break;
    case 24: /* an error, and a descriptor with it */
        rep->status = -VD_ERR_LIMIT;
        break;
    default:
        lie = -1;
    }
}

static void test_lies(void **state)
{
    VASurfaceID surface = create(VA_FOURCC_NV12);
    VAContextID context = open_context(NULL);
    int before;

    (void)state;
    decode(context, surface);
    before = check_descriptors();
    liar.change = change;
    for (lie = 0; lie >= 0; lie++) {
        int one = lie;
        VAStatus status = export(surface, VA_EXPORT_SURFACE_READ_ONLY);

        if (lie < 0)
            break;
        if (!status)
            fail_msg("lie %d was believed", one);
        /* The host, in this process, too, closes its own when it has sent them. */
        for (int i = 0; i < 1000 && check_descriptors() != before; i++)
            usleep(1000);
        assert_int_equal(check_descriptors(), before);
        /* Nothing was written. */
        assert_int_equal(d.num_objects, 0x5a5a5a5a);
    }
    drop();
    liar.change = NULL;
    assert_int_equal(export(surface, VA_EXPORT_SURFACE_READ_ONLY), 0);
    drop();
    decode(context, surface);
    assert_int_equal(look(surface), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_named_format), TEST(test_foreign_attributes),
        TEST(test_rt_formats),   TEST(test_composed),
        TEST(test_derived),      TEST(test_separate),
        TEST(test_objects),      TEST(test_fallback),
        TEST(test_uploaded),     TEST(test_lies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
