/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <va/va.h>
#include <va/va_drm.h>
#include <va/va_drmcommon.h>
#include <viaduct/viaduct.h>

#include <stats.h>

/*
 * The VA-API surface as an app meets it: the real libva, the real driver, a real service with the
 * null back end. Run by `viaduct exec --private --backend null -- test_va`.
 */

#define NODE "/dev/dri/renderD128"
#define BAD  0x7fffffffu

struct va {
    int fd;
    VADisplay display;
    VAConfigID config;
};

static void va_open(struct va *va)
{
    int major, minor;

    va->fd = open(NODE, O_RDWR);
    assert_true(va->fd >= 0);
    va->display = vaGetDisplayDRM(va->fd);
    assert_non_null(va->display);
    assert_int_equal(vaInitialize(va->display, &major, &minor), VA_STATUS_SUCCESS);
    assert_int_equal(
        vaCreateConfig(va->display, VAProfileH264High, VAEntrypointVLD, NULL, 0, &va->config),
        VA_STATUS_SUCCESS);
}

static void va_close(struct va *va)
{
    vaDestroyConfig(va->display, va->config);
    assert_int_equal(vaTerminate(va->display), VA_STATUS_SUCCESS);
    close(va->fd);
}

static int setup(void **state)
{
    struct va *va = calloc(1, sizeof(*va));

    va_open(va);
    *state = va;
    return 0;
}

static int teardown(void **state)
{
    va_close(*state);
    free(*state);
    return 0;
}

static void make_surfaces(VADisplay d, uint32_t fourcc, unsigned w, unsigned h, VASurfaceID *ids,
                          unsigned n)
{
    VASurfaceAttrib a = {.type = VASurfaceAttribPixelFormat,
                         .flags = VA_SURFACE_ATTRIB_SETTABLE,
                         .value = {VAGenericValueTypeInteger, {.i = (int)fourcc}}};

    assert_int_equal(vaCreateSurfaces(d, VA_RT_FORMAT_YUV420, w, h, ids, n, &a, 1),
                     VA_STATUS_SUCCESS);
}

/* A picture the null back end takes: everything an app sends, contents do not matter. */
static VAStatus picture(VADisplay d, VAContextID context, VASurfaceID surface)
{
    VAPictureParameterBufferH264 pic = {.num_ref_frames = 1};
    VAIQMatrixBufferH264 iq = {0};
    VASliceParameterBufferH264 slice = {.slice_data_size = 64};
    uint8_t data[64] = {0x65};
    VABufferID b[4];
    VAStatus status;

    status = vaCreateBuffer(d, context, VAPictureParameterBufferType, sizeof(pic), 1, &pic, &b[0]);
    if (status)
        return status;
    vaCreateBuffer(d, context, VAIQMatrixBufferType, sizeof(iq), 1, &iq, &b[1]);
    vaCreateBuffer(d, context, VASliceParameterBufferType, sizeof(slice), 1, &slice, &b[2]);
    vaCreateBuffer(d, context, VASliceDataBufferType, sizeof(data), 1, data, &b[3]);
    status = vaBeginPicture(d, context, surface);
    if (!status)
        status = vaRenderPicture(d, context, b, 4);
    if (!status)
        status = vaEndPicture(d, context);
    for (int i = 0; i < 4; i++)
        vaDestroyBuffer(d, b[i]);
    return status;
}

static void test_wrong_ids(void **state)
{
    struct va *va = *state;
    VADisplay d = va->display;
    VAImageFormat nv12 = {.fourcc = VA_FOURCC_NV12};
    VASurfaceAttrib yv12 = {.type = VASurfaceAttribPixelFormat,
                            .flags = VA_SURFACE_ATTRIB_SETTABLE,
                            .value = {.type = VAGenericValueTypeInteger}};
    VASurfaceStatus surface_status;
    VAContextID context;
    VASurfaceID surface = BAD;
    VABufferID buffer = BAD;
    VAImage image;
    void *p;
    unsigned n = 0;

    assert_int_equal(vaDestroyConfig(d, BAD), VA_STATUS_ERROR_INVALID_CONFIG);
    assert_int_equal(vaQuerySurfaceAttributes(d, BAD, NULL, &n), VA_STATUS_ERROR_INVALID_CONFIG);
    assert_int_equal(vaCreateContext(d, BAD, 64, 64, 0, NULL, 0, &context),
                     VA_STATUS_ERROR_INVALID_CONFIG);
    assert_int_equal(vaCreateContext(d, va->config, 64, 64, 0, &surface, 1, &context),
                     VA_STATUS_ERROR_INVALID_SURFACE);
    assert_int_equal(vaDestroyContext(d, BAD), VA_STATUS_ERROR_INVALID_CONTEXT);
    assert_int_equal(vaDestroySurfaces(d, &surface, 1), VA_STATUS_ERROR_INVALID_SURFACE);
    assert_int_equal(vaSyncSurface(d, BAD), VA_STATUS_ERROR_INVALID_SURFACE);
    assert_int_equal(vaQuerySurfaceStatus(d, BAD, &surface_status),
                     VA_STATUS_ERROR_INVALID_SURFACE);
    assert_int_equal(vaQuerySurfaceError(d, BAD, VA_STATUS_ERROR_DECODING_ERROR, &p),
                     VA_STATUS_ERROR_INVALID_SURFACE);
    assert_int_equal(vaCreateBuffer(d, BAD, VASliceDataBufferType, 16, 1, NULL, &buffer),
                     VA_STATUS_ERROR_INVALID_CONTEXT);
    assert_int_equal(vaMapBuffer(d, BAD, &p), VA_STATUS_ERROR_INVALID_BUFFER);
    assert_int_equal(vaUnmapBuffer(d, BAD), VA_STATUS_ERROR_INVALID_BUFFER);
    assert_int_equal(vaDestroyBuffer(d, BAD), VA_STATUS_ERROR_INVALID_BUFFER);
    assert_int_equal(vaBufferSetNumElements(d, BAD, 1), VA_STATUS_ERROR_INVALID_BUFFER);
    assert_int_equal(vaSyncBuffer(d, BAD, 0), VA_STATUS_ERROR_INVALID_BUFFER);
    assert_int_equal(vaBeginPicture(d, BAD, BAD), VA_STATUS_ERROR_INVALID_CONTEXT);
    assert_int_equal(vaRenderPicture(d, BAD, &buffer, 1), VA_STATUS_ERROR_INVALID_CONTEXT);
    assert_int_equal(vaEndPicture(d, BAD), VA_STATUS_ERROR_INVALID_CONTEXT);
    assert_int_equal(vaDeriveImage(d, BAD, &image), VA_STATUS_ERROR_INVALID_SURFACE);
    assert_int_equal(vaDestroyImage(d, BAD), VA_STATUS_ERROR_INVALID_IMAGE);
    assert_int_equal(vaCreateImage(d, &nv12, 64, 64, &image), VA_STATUS_SUCCESS);
    assert_int_equal(vaGetImage(d, BAD, 0, 0, 64, 64, image.image_id),
                     VA_STATUS_ERROR_INVALID_SURFACE);
    make_surfaces(d, VA_FOURCC_NV12, 64, 64, &surface, 1);
    assert_int_equal(vaGetImage(d, surface, 0, 0, 64, 64, BAD), VA_STATUS_ERROR_INVALID_IMAGE);
    assert_int_equal(vaGetImage(d, surface, 1, 0, 64, 64, image.image_id),
                     VA_STATUS_ERROR_INVALID_PARAMETER);
    /* An id of one type is no id of another, and a destroyed one is none. */
    assert_int_equal(vaSyncSurface(d, image.image_id), VA_STATUS_ERROR_INVALID_SURFACE);
    assert_int_equal(vaDestroyBuffer(d, image.buf), VA_STATUS_ERROR_INVALID_BUFFER);
    assert_int_equal(vaDestroyImage(d, image.image_id), VA_STATUS_SUCCESS);
    assert_int_equal(vaDestroyImage(d, image.image_id), VA_STATUS_ERROR_INVALID_IMAGE);
    assert_int_equal(vaDestroySurfaces(d, &surface, 1), VA_STATUS_SUCCESS);
    assert_int_equal(vaSyncSurface(d, surface), VA_STATUS_ERROR_INVALID_SURFACE);
    /* What no surface format of the driver is. */
    assert_int_equal(vaCreateSurfaces(d, VA_RT_FORMAT_YUV444, 64, 64, &surface, 1, NULL, 0),
                     VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT);
    yv12.value.value.i = VA_FOURCC_YV12; /* an image format, but nothing decodes into it */
    assert_int_equal(vaCreateSurfaces(d, VA_RT_FORMAT_YUV420, 64, 64, &surface, 1, &yv12, 1),
                     VA_STATUS_ERROR_INVALID_IMAGE_FORMAT);
    assert_int_equal(vaCreateSurfaces(d, VA_RT_FORMAT_YUV420, 0, 64, &surface, 1, NULL, 0),
                     VA_STATUS_ERROR_INVALID_PARAMETER);
    assert_int_equal(vaCreateContext(d, va->config, 8193, 64, 0, NULL, 0, &context),
                     VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED);
}

static void test_picture_states(void **state)
{
    struct va *va = *state;
    VADisplay d = va->display;
    VASurfaceStatus surface_status;
    VASurfaceDecodeMBErrors *errors;
    VAContextID context;
    VASurfaceID surface;
    VABufferID buffer;
    uint32_t *words;

    make_surfaces(d, VA_FOURCC_I420, 64, 64, &surface, 1);
    assert_int_equal(vaCreateContext(d, va->config, 64, 64, VA_PROGRESSIVE, &surface, 1, &context),
                     VA_STATUS_SUCCESS);
    assert_int_equal(vaEndPicture(d, context), VA_STATUS_ERROR_OPERATION_FAILED);
    assert_int_equal(vaRenderPicture(d, context, NULL, 0), VA_STATUS_ERROR_OPERATION_FAILED);
    assert_int_equal(vaBeginPicture(d, context, BAD), VA_STATUS_ERROR_INVALID_SURFACE);
    assert_int_equal(vaBeginPicture(d, context, surface), VA_STATUS_SUCCESS);
    buffer = BAD;
    assert_int_equal(vaRenderPicture(d, context, &buffer, 1), VA_STATUS_ERROR_INVALID_BUFFER);
    /* What encoders are given may be made here, but is nothing to decode with. */
    assert_int_equal(vaCreateBuffer(d, context, VAQMatrixBufferType, 64, 1, NULL, &buffer),
                     VA_STATUS_SUCCESS);
    assert_int_equal(vaMapBuffer(d, buffer, (void **)&words), VA_STATUS_SUCCESS);
    assert_int_equal(words[15], 0);
    assert_int_equal(vaUnmapBuffer(d, buffer), VA_STATUS_SUCCESS);
    assert_int_equal(vaRenderPicture(d, context, &buffer, 1), VA_STATUS_ERROR_INVALID_BUFFER);
    assert_int_equal(vaDestroyBuffer(d, buffer), VA_STATUS_SUCCESS);
    assert_int_equal(vaEndPicture(d, context), VA_STATUS_ERROR_OPERATION_FAILED);
    /* Types and sizes. */
    assert_int_equal(vaCreateBuffer(d, context, VAEncCodedBufferType, 4096, 1, NULL, &buffer),
                     VA_STATUS_ERROR_UNSUPPORTED_BUFFERTYPE);
    assert_int_equal(
        vaCreateBuffer(d, context, VAPictureParameterBufferType, 100, 1, NULL, &buffer),
        VA_STATUS_ERROR_INVALID_PARAMETER);
    assert_int_equal(vaCreateBuffer(d, context, VASliceDataBufferType, 16, 4, NULL, &buffer),
                     VA_STATUS_SUCCESS);
    assert_int_equal(vaBufferSetNumElements(d, buffer, 5), VA_STATUS_ERROR_INVALID_PARAMETER);
    assert_int_equal(vaBufferSetNumElements(d, buffer, 3), VA_STATUS_SUCCESS);
    assert_int_equal(vaMapBuffer(d, buffer, (void **)&words), VA_STATUS_SUCCESS);
    for (int i = 0; i < 16; i++)
        assert_int_equal(words[i], 0);
    assert_int_equal(vaUnmapBuffer(d, buffer), VA_STATUS_SUCCESS);
    assert_int_equal(vaDestroyBuffer(d, buffer), VA_STATUS_SUCCESS);
    /* A picture whose slice lies outside its data is lost, and the app is told. */
    {
        VAPictureParameterBufferH264 pic = {.num_ref_frames = 1};
        VASliceParameterBufferH264 slice = {.slice_data_size = 65};
        VABufferID b[3];

        vaCreateBuffer(d, context, VAPictureParameterBufferType, sizeof(pic), 1, &pic, &b[0]);
        vaCreateBuffer(d, context, VASliceParameterBufferType, sizeof(slice), 1, &slice, &b[1]);
        vaCreateBuffer(d, context, VASliceDataBufferType, 64, 1, NULL, &b[2]);
        assert_int_equal(vaBeginPicture(d, context, surface), VA_STATUS_SUCCESS);
        assert_int_equal(vaRenderPicture(d, context, b, 3), VA_STATUS_SUCCESS);
        assert_int_equal(vaEndPicture(d, context), VA_STATUS_SUCCESS);
        assert_int_equal(vaSyncSurface(d, surface), VA_STATUS_ERROR_DECODING_ERROR);
        assert_int_equal(
            vaQuerySurfaceError(d, surface, VA_STATUS_ERROR_DECODING_ERROR, (void **)&errors),
            VA_STATUS_SUCCESS);
        assert_int_equal(errors[0].status, 1);
        assert_int_equal(errors[1].status, -1);
        for (int i = 0; i < 3; i++)
            vaDestroyBuffer(d, b[i]);
    }
    /* The next one is fine again. */
    assert_int_equal(picture(d, context, surface), VA_STATUS_SUCCESS);
    assert_int_equal(vaSyncSurface2(d, surface, VA_TIMEOUT_INFINITE), VA_STATUS_SUCCESS);
    assert_int_equal(vaQuerySurfaceStatus(d, surface, &surface_status), VA_STATUS_SUCCESS);
    assert_int_equal(surface_status, VASurfaceReady);
    assert_int_equal(
        vaQuerySurfaceError(d, surface, VA_STATUS_ERROR_DECODING_ERROR, (void **)&errors),
        VA_STATUS_SUCCESS);
    assert_int_equal(errors[0].status, -1);
    assert_int_equal(vaDestroyContext(d, context), VA_STATUS_SUCCESS);
    assert_int_equal(vaSyncSurface(d, surface), VA_STATUS_SUCCESS);
    vaDestroySurfaces(d, &surface, 1);
}

static uint8_t *map_image(VADisplay d, const VAImage *image)
{
    void *p;

    assert_int_equal(vaMapBuffer(d, image->buf, &p), VA_STATUS_SUCCESS);
    return p;
}

/* Fills the visible samples with a pattern that differs by plane and place. */
static void paint(VADisplay d, const VAImage *image, int salt)
{
    uint8_t *p = map_image(d, image);

    for (uint32_t i = 0; i < image->num_planes; i++) {
        uint32_t rows = i ? (image->height + 1) / 2 : image->height;
        uint32_t bytes = i == 0                   ? image->width
                         : image->num_planes == 2 ? (image->width + 1) / 2 * 2
                                                  : (image->width + 1) / 2;

        for (uint32_t y = 0; y < rows; y++)
            for (uint32_t x = 0; x < bytes; x++)
                p[image->offsets[i] + y * image->pitches[i] + x] =
                    (uint8_t)(x * 3 + y * 5 + i * 77 + (uint32_t)salt);
    }
    vaUnmapBuffer(d, image->buf);
}

/* One sample of Y, U or V of an image of any 4:2:0 format. */
static uint8_t sample(const VAImage *image, const uint8_t *p, int component, uint32_t x, uint32_t y)
{
    int plane = component;

    if (!component)
        return p[image->offsets[0] + y * image->pitches[0] + x];
    if (image->format.fourcc == VA_FOURCC_NV12)
        return p[image->offsets[1] + y * image->pitches[1] + 2 * x + (uint32_t)component - 1];
    if (image->format.fourcc == VA_FOURCC_YV12)
        plane = 3 - component;
    return p[image->offsets[plane] + y * image->pitches[plane] + x];
}

static void assert_same(VADisplay d, const VAImage *a, const VAImage *b)
{
    uint8_t *pa = map_image(d, a), *pb = map_image(d, b);

    for (int c = 0; c < 3; c++) {
        uint32_t w = c ? (a->width + 1u) / 2 : a->width, h = c ? (a->height + 1u) / 2 : a->height;

        for (uint32_t y = 0; y < h; y++)
            for (uint32_t x = 0; x < w; x++)
                assert_int_equal(sample(a, pa, c, x, y), sample(b, pb, c, x, y));
    }
    vaUnmapBuffer(d, a->buf);
    vaUnmapBuffer(d, b->buf);
}

static void test_images(void **state)
{
    static const uint32_t formats[] = {VA_FOURCC_I420, VA_FOURCC_NV12, VA_FOURCC_YV12};
    struct va *va = *state;
    VADisplay d = va->display;

    for (int s = 0; s < 2; s++) {
        for (int f = 0; f < 3; f++) {
            for (int g = 0; g < 3; g++) {
                VAImageFormat from = {.fourcc = formats[f]}, to = {.fourcc = formats[g]};
                VAImage a, b;
                VASurfaceID surface;

                make_surfaces(d, formats[s], 98, 51, &surface, 1);
                assert_int_equal(vaCreateImage(d, &from, 98, 51, &a), VA_STATUS_SUCCESS);
                assert_int_equal(vaCreateImage(d, &to, 98, 51, &b), VA_STATUS_SUCCESS);
                paint(d, &a, s * 9 + f * 3 + g);
                assert_int_equal(vaPutImage(d, surface, a.image_id, 0, 0, 98, 51, 0, 0, 98, 51),
                                 VA_STATUS_SUCCESS);
                assert_int_equal(vaGetImage(d, surface, 0, 0, 98, 51, b.image_id),
                                 VA_STATUS_SUCCESS);
                assert_same(d, &a, &b);
                assert_int_equal(vaPutImage(d, surface, a.image_id, 0, 0, 98, 51, 0, 0, 49, 51),
                                 VA_STATUS_ERROR_UNIMPLEMENTED);
                vaDestroyImage(d, a.image_id);
                vaDestroyImage(d, b.image_id);
                vaDestroySurfaces(d, &surface, 1);
            }
        }
    }
}

/* What an app does to an image is not seen in the surface, nor the other way round. */
static void test_image_is_a_copy(void **state)
{
    struct va *va = *state;
    VADisplay d = va->display;
    VAImageFormat format = {.fourcc = VA_FOURCC_NV12};
    VAImage first, second, got, derived;
    VASurfaceID surface;

    make_surfaces(d, VA_FOURCC_NV12, 320, 180, &surface, 1);
    vaCreateImage(d, &format, 320, 180, &first);
    vaCreateImage(d, &format, 320, 180, &second);
    vaCreateImage(d, &format, 320, 180, &got);
    paint(d, &first, 1);
    paint(d, &second, 2);
    vaPutImage(d, surface, first.image_id, 0, 0, 320, 180, 0, 0, 320, 180);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(vaGetImage(d, surface, 0, 0, 320, 180, got.image_id), VA_STATUS_SUCCESS);
        assert_same(d, &got, &first);
        paint(d, &got, 3 + round); /* stays in the image */
        assert_int_equal(vaDeriveImage(d, surface, &derived), VA_STATUS_SUCCESS);
        assert_same(d, &derived, &first);
        vaDestroyImage(d, derived.image_id);
    }
    vaGetImage(d, surface, 0, 0, 320, 180, got.image_id);
    vaPutImage(d, surface, second.image_id, 0, 0, 320, 180, 0, 0, 320, 180);
    assert_same(d, &got, &first);
    vaGetImage(d, surface, 0, 0, 320, 180, got.image_id);
    assert_same(d, &got, &second);
    /* A derived image is the surface. */
    vaDeriveImage(d, surface, &derived);
    paint(d, &derived, 7);
    assert_same(d, &got, &second);
    vaGetImage(d, surface, 0, 0, 320, 180, got.image_id);
    assert_same(d, &got, &derived);
    vaDestroyImage(d, derived.image_id);
    vaDestroyImage(d, got.image_id);
    vaDestroyImage(d, first.image_id);
    vaDestroyImage(d, second.image_id);
    vaDestroySurfaces(d, &surface, 1);
}

static void test_export(void **state)
{
    struct va *va = *state;
    VADRMPRIMESurfaceDescriptor descriptor;
    VASurfaceID surface;
    VAStatus status;

    make_surfaces(va->display, VA_FOURCC_NV12, 64, 64, &surface, 1);
    status = vaExportSurfaceHandle(va->display, surface, VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2,
                                   VA_EXPORT_SURFACE_READ_ONLY | VA_EXPORT_SURFACE_SEPARATE_LAYERS,
                                   &descriptor);
    if (access("/dev/udmabuf", R_OK | W_OK)) {
        assert_int_equal(status, VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE);
    } else {
        assert_int_equal(status, VA_STATUS_SUCCESS);
        assert_int_equal(descriptor.num_objects, 1);
        assert_int_equal(descriptor.num_layers, 2);
        close(descriptor.objects[0].fd);
    }
    assert_int_equal(vaExportSurfaceHandle(va->display, surface, 0x80000000, 0, &descriptor),
                     VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE);
    vaDestroySurfaces(va->display, &surface, 1);
}

/* Where a surface lies: what is written there is the surface's, and the other way round. */
static void test_locate(void **state)
{
    struct va *va = *state;
    struct viaduct_surface where = {.fd = -1};
    VASurfaceID surfaces[2];
    VAImage image;
    uint8_t *mapped, *memory;
    uint64_t page;

    make_surfaces(va->display, VA_FOURCC_NV12, 100, 62, surfaces, 2);
    assert_int_equal(vaExportSurfaceHandle(va->display, surfaces[1], VIADUCT_SURFACE_MEMFD,
                                           VA_EXPORT_SURFACE_READ_WRITE, &where),
                     VA_STATUS_SUCCESS);
    assert_int_equal(where.fourcc, VA_FOURCC_NV12);
    assert_int_equal(where.width, 100);
    assert_int_equal(where.height, 62);
    assert_int_equal(where.planes, 2);
    page = where.offset % 4096;
    memory = mmap(NULL, page + where.size, PROT_READ | PROT_WRITE, MAP_SHARED, where.fd,
                  (off_t)(where.offset - page));
    assert_true(memory != MAP_FAILED);
    assert_int_equal(vaDeriveImage(va->display, surfaces[1], &image), VA_STATUS_SUCCESS);
    assert_int_equal(vaMapBuffer(va->display, image.buf, (void **)&mapped), VA_STATUS_SUCCESS);
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t *row = memory + page + where.plane_offset[i] + 30 * where.pitch[i];

        assert_int_equal(where.pitch[i], image.pitches[i]);
        row[99] = (uint8_t)(0x5a + i);
        assert_int_equal(mapped[image.offsets[i] + 30 * image.pitches[i] + 99], 0x5a + i);
        mapped[image.offsets[i] + 30 * image.pitches[i] + 98] = (uint8_t)(0xa5 + i);
        assert_int_equal(row[98], 0xa5 + i);
    }
    vaUnmapBuffer(va->display, image.buf);
    vaDestroyImage(va->display, image.image_id);
    munmap(memory, page + where.size);
    close(where.fd);
    vaDestroySurfaces(va->display, surfaces, 2);
}

/* Memory of the app's own: pictures and images end up in it; unsealed memory is refused. */
static void test_import(void **state)
{
    const uint32_t size = 128 * 64 + 128 * 32 + 4096;
    struct va *va = *state;
    VADisplay d = va->display;
    VADRMPRIMESurfaceDescriptor descriptor = {.fourcc = VA_FOURCC_NV12,
                                              .width = 100,
                                              .height = 62,
                                              .num_objects = 1,
                                              .objects = {{.size = size}},
                                              .num_layers = 2};
    VASurfaceAttrib a[2] = {
        {.type = VASurfaceAttribMemoryType,
         .flags = VA_SURFACE_ATTRIB_SETTABLE,
         .value = {VAGenericValueTypeInteger, {.i = VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2}}},
        {.type = VASurfaceAttribExternalBufferDescriptor,
         .flags = VA_SURFACE_ATTRIB_SETTABLE,
         .value = {VAGenericValueTypePointer, {.p = &descriptor}}},
    };
    VAImageFormat format = {.fourcc = VA_FOURCC_NV12};
    VADRMPRIMESurfaceDescriptor out;
    VAImage image, derived, got;
    VASurfaceID surface;
    VAContextID context;
    uint8_t *memory, *painted;
    int fd = memfd_create("import", MFD_ALLOW_SEALING);

    assert_true(fd >= 0 && ftruncate(fd, size) == 0);
    descriptor.objects[0].fd = fd;
    for (uint32_t i = 0; i < 2; i++) {
        descriptor.layers[i].num_planes = 1;
        descriptor.layers[i].pitch[0] = 128;
        descriptor.layers[i].offset[0] = i ? 128 * 64 + 4096 : 0;
    }
    assert_int_equal(vaCreateSurfaces(d, VA_RT_FORMAT_YUV420, 100, 62, &surface, 1, a, 2),
                     VA_STATUS_ERROR_INVALID_PARAMETER);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    descriptor.layers[1].offset[0] = size; /* rows outside */
    assert_int_equal(vaCreateSurfaces(d, VA_RT_FORMAT_YUV420, 100, 62, &surface, 1, a, 2),
                     VA_STATUS_ERROR_INVALID_PARAMETER);
    descriptor.layers[1].offset[0] = 128 * 64 + 4096;
    assert_int_equal(vaCreateSurfaces(d, VA_RT_FORMAT_YUV420, 100, 62, &surface, 1, a, 2),
                     VA_STATUS_SUCCESS);
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    close(fd);
    vaCreateImage(d, &format, 100, 62, &image);
    vaCreateImage(d, &format, 100, 62, &got);
    paint(d, &image, 5);
    assert_int_equal(vaPutImage(d, surface, image.image_id, 0, 0, 100, 62, 0, 0, 100, 62),
                     VA_STATUS_SUCCESS);
    painted = map_image(d, &image);
    for (int y = 0; y < 62; y++)
        assert_memory_equal(memory + y * 128, painted + image.offsets[0] + y * image.pitches[0],
                            100);
    for (int y = 0; y < 31; y++)
        assert_memory_equal(memory + 128 * 64 + 4096 + y * 128,
                            painted + image.offsets[1] + y * image.pitches[1], 100);
    vaUnmapBuffer(d, image.buf);
    assert_int_equal(vaGetImage(d, surface, 0, 0, 100, 62, got.image_id), VA_STATUS_SUCCESS);
    assert_same(d, &got, &image);
    assert_int_equal(vaDeriveImage(d, surface, &derived), VA_STATUS_SUCCESS);
    assert_int_equal(derived.pitches[0], 128);
    assert_same(d, &derived, &image);
    vaDestroyImage(d, derived.image_id);
    /* The host writes into it, too. */
    memset(memory, 0xaa, size);
    assert_int_equal(vaCreateContext(d, va->config, 100, 62, 0, &surface, 1, &context),
                     VA_STATUS_SUCCESS);
    assert_int_equal(picture(d, context, surface), VA_STATUS_SUCCESS);
    assert_int_equal(vaSyncSurface(d, surface), VA_STATUS_SUCCESS);
    assert_int_not_equal(memory[0], 0xaa);
    assert_int_equal(memory[127], 0xaa); /* but not between the rows */
    assert_int_equal(vaExportSurfaceHandle(
                         d, surface, VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2,
                         VA_EXPORT_SURFACE_READ_ONLY | VA_EXPORT_SURFACE_COMPOSED_LAYERS, &out),
                     VA_STATUS_SUCCESS);
    assert_int_equal(out.layers[0].offset[1], 128 * 64 + 4096);
    close(out.objects[0].fd);
    vaDestroyContext(d, context);
    vaDestroyImage(d, image.image_id);
    vaDestroyImage(d, got.image_id);
    vaDestroySurfaces(d, &surface, 1);
    munmap(memory, size);
}

struct job {
    struct va *va;
    int pictures;
    VAStatus status;
};

static void *decode_some(void *arg)
{
    struct job *job = arg;
    VADisplay d = job->va->display;
    VASurfaceID surfaces[4];
    VAContextID context;

    job->status = vaCreateSurfaces(d, VA_RT_FORMAT_YUV420, 64, 64, surfaces, 4, NULL, 0);
    if (!job->status)
        job->status = vaCreateContext(d, job->va->config, 64, 64, 0, surfaces, 4, &context);
    for (int i = 0; i < job->pictures && !job->status; i++) {
        job->status = picture(d, context, surfaces[i % 4]);
        if (!job->status && i % 3 == 0)
            job->status = vaSyncSurface(d, surfaces[i % 4]);
    }
    if (!job->status)
        job->status = vaDestroyContext(d, context);
    if (!job->status)
        job->status = vaDestroySurfaces(d, surfaces, 4);
    return NULL;
}

static void test_threads(void **state)
{
    struct va other;
    struct job jobs[8];
    pthread_t threads[8];

    va_open(&other);
    for (int i = 0; i < 8; i++) {
        jobs[i] = (struct job){i % 3 ? *state : &other, 300, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, decode_some, &jobs[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(jobs[i].status, VA_STATUS_SUCCESS);
    }
    va_close(&other);
}

static void test_fork(void **state)
{
    struct va *va = *state;
    VASurfaceID surface;
    int status;
    pid_t pid;

    make_surfaces(va->display, VA_FOURCC_NV12, 64, 64, &surface, 1);
    pid = fork();
    if (!pid) {
        VAImage image;

        alarm(10); /* a hang is a failure */
        if (vaSyncSurface(va->display, surface) != VA_STATUS_ERROR_OPERATION_FAILED ||
            vaDeriveImage(va->display, surface, &image) != VA_STATUS_ERROR_OPERATION_FAILED ||
            vaTerminate(va->display) != VA_STATUS_SUCCESS)
            _exit(1);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(vaSyncSurface(va->display, surface), VA_STATUS_SUCCESS);
    vaDestroySurfaces(va->display, &surface, 1);
}

/* The workers that serve this process, from the service's statistics; *worker is one of them, and
 * not `other`. */
static int look_for_workers(pid_t other, pid_t *worker)
{
    const char *host = getenv("VIADUCT_HOST");
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct stats_reply reply;
    struct stats_row row;
    int found = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_non_null(host);
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%.90s.stats", host + 5);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(recv(fd, &reply, sizeof(reply), MSG_WAITALL), sizeof(reply));
    for (uint32_t i = 0; i < reply.rows; i++) {
        assert_int_equal(recv(fd, &row, sizeof(row), MSG_WAITALL), sizeof(row));
        if (row.client_pid == (uint32_t)getpid() && row.pid != (uint32_t)other) {
            *worker = (pid_t)row.pid;
            found++;
        }
    }
    close(fd);
    return found;
}

/* The listener hears of starts and ends a moment later: those of the test before may still be
 * there, and the one that is looked for may not be there yet. */
static pid_t find_worker(pid_t other)
{
    pid_t worker = 0;
    int found = look_for_workers(other, &worker);

    for (int i = 0; i < 1500 && found != 1; i++) {
        usleep(10000);
        found = look_for_workers(other, &worker);
    }
    assert_int_equal(found, 1);
    return worker;
}

/* Signals take their time: until all threads have stopped. */
static void stop_worker(pid_t pid)
{
    char path[64], stat[256];
    bool running = true;

    kill(pid, SIGSTOP);
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    for (int i = 0; i < 500 && running; i++) {
        DIR *tasks = opendir(path);
        const struct dirent *task;

        assert_non_null(tasks);
        running = false;
        while ((task = readdir(tasks))) {
            char name[400];
            const char *state;
            FILE *file;

            snprintf(name, sizeof(name), "%s/%s/stat", path, task->d_name);
            file = task->d_name[0] == '.' ? NULL : fopen(name, "re");
            if (!file)
                continue;
            /* pid (name) state */
            state = fgets(stat, sizeof(stat), file) ? strrchr(stat, ')') : NULL;
            running = running || !state || state[2] != 'T';
            fclose(file);
        }
        closedir(tasks);
        if (running)
            usleep(10000);
    }
    assert_false(running);
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_worker_dies(void **state)
{
    struct va *va = *state;
    VADisplay d = va->display;
    VAContextID context, fresh;
    VASurfaceID surfaces[2];
    VAImage image;
    pid_t worker;
    double start;

    make_surfaces(d, VA_FOURCC_NV12, 64, 64, surfaces, 2);
    assert_int_equal(vaCreateContext(d, va->config, 64, 64, 0, surfaces, 2, &context),
                     VA_STATUS_SUCCESS);
    assert_int_equal(picture(d, context, surfaces[0]), VA_STATUS_SUCCESS);
    assert_int_equal(vaSyncSurface(d, surfaces[0]), VA_STATUS_SUCCESS);
    worker = find_worker(0);
    /* Stopped first: a picture is on its way when the worker dies. */
    stop_worker(worker);
    assert_int_equal(picture(d, context, surfaces[1]), VA_STATUS_SUCCESS);
    assert_int_equal(vaSyncSurface2(d, surfaces[1], 20000000), VA_STATUS_ERROR_TIMEDOUT);
    kill(worker, SIGKILL);
    start = seconds();
    assert_int_equal(vaSyncSurface(d, surfaces[1]), VA_STATUS_ERROR_HW_BUSY);
    assert_int_equal(picture(d, context, surfaces[0]), VA_STATUS_ERROR_HW_BUSY);
    assert_true(seconds() - start < 5);
    /* A new context gets a new worker, and old surfaces work with it. */
    assert_int_equal(vaCreateContext(d, va->config, 64, 64, 0, surfaces, 2, &fresh),
                     VA_STATUS_SUCCESS);
    assert_int_equal(picture(d, fresh, surfaces[0]), VA_STATUS_SUCCESS);
    assert_int_equal(vaSyncSurface(d, surfaces[0]), VA_STATUS_SUCCESS);
    assert_int_equal(vaDeriveImage(d, surfaces[0], &image), VA_STATUS_SUCCESS);
    vaDestroyImage(d, image.image_id);
    find_worker(worker);
    assert_int_equal(vaDestroyContext(d, context), VA_STATUS_SUCCESS);
    assert_int_equal(vaDestroyContext(d, fresh), VA_STATUS_SUCCESS);
    assert_int_equal(vaDestroySurfaces(d, surfaces, 2), VA_STATUS_SUCCESS);
}

/* Descriptors and objects come back: nothing is left after many displays. */
static void test_no_leak_of_descriptors(void **state)
{
    int before, after;

    (void)state;
    before = dup(0);
    close(before);
    for (int i = 0; i < 20; i++) {
        struct va va;
        VASurfaceID surface;
        VAImage image;

        va_open(&va);
        make_surfaces(va.display, VA_FOURCC_NV12, 64, 64, &surface, 1);
        assert_int_equal(vaDeriveImage(va.display, surface, &image), VA_STATUS_SUCCESS);
        va_close(&va); /* the rest is the driver's to clean up */
    }
    after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_wrong_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_picture_states, setup, teardown),
        cmocka_unit_test_setup_teardown(test_images, setup, teardown),
        cmocka_unit_test_setup_teardown(test_image_is_a_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_export, setup, teardown),
        cmocka_unit_test_setup_teardown(test_locate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_import, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fork, setup, teardown),
        cmocka_unit_test_setup_teardown(test_worker_dies, setup, teardown),
        cmocka_unit_test(test_no_leak_of_descriptors),
    };

    return cmocka_run_group_tests_name("va", tests, NULL, NULL);
}
