/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_FAKE_VA_H
#define VIADUCT_TEST_FAKE_VA_H

#include "check.h"

#include <drm_fourcc.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>
#include <va/va.h>
#include <va/va_drm.h>
#include <va/va_drmcommon.h>

/*
 * A libva with a driver of ours below it, for the vaapi back end: what a test program defines
 * comes before what libraries have. It decodes nothing: a picture's samples are all its number,
 * counted from 1. Surfaces lie in memfds, so they can be exported. NV12 and P010.
 */

#define FAKE_SURFACES 64
#define FAKE_SEALS    (F_SEAL_SHRINK | F_SEAL_GROW)
#define FAKE_ID       1000 /* of the first surface */
#define FAKE_IMAGE    2000
#define FAKE_IMAGES   8
#define FAKE_CONFIG   3000
#define FAKE_CONTEXT  4000
#define FAKE_BUFFER   5000
#define FAKE_BUFFERS  128
#define FAKE_BYTES    4096 /* of a buffer that are kept */

struct fake_buffer {
    bool used;
    VABufferType type;
    unsigned size, count;
    uint8_t bytes[FAKE_BYTES];
};

struct fake_surface {
    bool used;
    int fd;
    uint8_t *bytes;
    size_t size;
    uint32_t fourcc, width, height, pitch;
};

static struct fake_va {
    pthread_mutex_t lock;
    /* What was called last. */
    VAConfigAttrib attribute;
    int attributes;
    VASurfaceID target;       /* of the last picture that was made from others */
    VASurfaceID targets[100]; /* by context */
    uint32_t export_flags;
    VAConfigAttrib asked[4]; /* for the last config */
    int width;               /* of the last context */
    /* The last one of those: what was rendered, and the filters that its first pipeline names. */
    struct fake_buffer rendered[32], filters[8];
    uint32_t rendered_count, filter_count;
    VARectangle source, dest; /* of that pipeline */
    uint8_t input, chroma;    /* first samples of what was encoded or processed */
    VACodedBufferSegment segments[2];
    /* How often; the fences that tests wait for are in memory that sanitizers see twice. */
    atomic_int surfaces, pictures, exports, gets, puts;
    struct fake_surface surface[FAKE_SURFACES];
    struct fake_buffer buffer[FAKE_BUFFERS];
    bool image_used[FAKE_IMAGES];
    uint8_t image[FAKE_IMAGES][2 << 20];
    /* What the test wants to happen. */
    VAStatus export_status, end_status, sync_status;
    uint32_t overflow; /* VA_CODED_BUF_STATUS_* of coded buffers */
    float most;        /* of what filters take; 0: as the guest */
    void (*spoil)(VADRMPRIMESurfaceDescriptor *descriptor);
    atomic_int holders; /* of all that was exported */
} fake_va = {.lock = PTHREAD_MUTEX_INITIALIZER, .holders = 1};

static void fake_va_reset(void)
{
    assert_int_equal(fake_va.surfaces, 0);
    for (int i = 0; i < FAKE_BUFFERS; i++)
        assert_false(fake_va.buffer[i].used);
    fake_va = (struct fake_va){.lock = PTHREAD_MUTEX_INITIALIZER, .holders = 1};
}

/* A memfd does not tell (linked with this function wrapped). */
uint32_t __wrap_dmabuf_holders(int fd);

uint32_t __wrap_dmabuf_holders(int fd)
{
    assert_true(fcntl(fd, F_GETFD) >= 0);
    return (uint32_t)fake_va.holders;
}

static struct fake_surface *fake_va_find(VASurfaceID id)
{
    struct fake_surface *s = &fake_va.surface[(id - FAKE_ID) % FAKE_SURFACES];

    assert_in_range(id, FAKE_ID, FAKE_ID + FAKE_SURFACES - 1);
    assert_true(s->used);
    return s;
}

static void fake_va_layout(uint32_t fourcc, uint32_t width, uint32_t height, uint32_t *ret_pitch,
                           size_t *ret_size)
{
    *ret_pitch = (width * (fourcc == VA_FOURCC_P010 ? 2 : 1) + 255) & ~255u;
    *ret_size = ((size_t)*ret_pitch * (height + (height + 1) / 2) + 4095) & ~(size_t)4095;
}

/* Libraries that call libva meet this one, too. */
#pragma GCC visibility push(default)

VADisplay vaGetDisplayDRM(int fd)
{
    (void)fd;
    return &fake_va;
}

VAStatus vaInitialize(VADisplay display, int *major, int *minor)
{
    (void)display;
    *major = VA_MAJOR_VERSION;
    *minor = VA_MINOR_VERSION;
    return VA_STATUS_SUCCESS;
}

VAStatus vaTerminate(VADisplay display)
{
    (void)display;
    return VA_STATUS_SUCCESS;
}

VAMessageCallback vaSetInfoCallback(VADisplay display, VAMessageCallback callback, void *context)
{
    (void)display, (void)callback, (void)context;
    return NULL;
}

VAMessageCallback vaSetErrorCallback(VADisplay display, VAMessageCallback callback, void *context)
{
    (void)display, (void)callback, (void)context;
    return NULL;
}

const char *vaQueryVendorString(VADisplay display)
{
    (void)display;
    return "fake";
}

int vaMaxNumImageFormats(VADisplay display)
{
    (void)display;
    return 2;
}

VAStatus vaQueryImageFormats(VADisplay display, VAImageFormat *list, int *count)
{
    (void)display;
    list[0] = (VAImageFormat){.fourcc = VA_FOURCC_NV12, .bits_per_pixel = 12};
    list[1] = (VAImageFormat){.fourcc = VA_FOURCC_P010, .bits_per_pixel = 24};
    *count = 2;
    return VA_STATUS_SUCCESS;
}

VAStatus vaCreateConfig(VADisplay display, VAProfile profile, VAEntrypoint entrypoint,
                        VAConfigAttrib *attributes, int count, VAConfigID *id)
{
    (void)display, (void)profile;
    fake_va.attributes = count;
    if (count)
        fake_va.attribute = attributes[0];
    assert_in_range(count, 0, 4);
    for (int i = 0; i < count; i++)
        fake_va.asked[i] = attributes[i];
    *id = FAKE_CONFIG + entrypoint;
    return VA_STATUS_SUCCESS;
}

VAStatus vaQuerySurfaceAttributes(VADisplay display, VAConfigID id, VASurfaceAttrib *list,
                                  unsigned *count)
{
    (void)display, (void)id;
    *count = 1;
    if (list)
        list[0] = (VASurfaceAttrib){
            .type = VASurfaceAttribPixelFormat,
            .value = {.type = VAGenericValueTypeInteger, .value = {.i = VA_FOURCC_NV12}}};
    return VA_STATUS_SUCCESS;
}

VAStatus vaDestroyConfig(VADisplay display, VAConfigID id)
{
    (void)display;
    assert_in_range(id, FAKE_CONFIG, FAKE_CONFIG + 99);
    return VA_STATUS_SUCCESS;
}

VAStatus vaCreateContext(VADisplay display, VAConfigID config, int width, int height, int flag,
                         VASurfaceID *targets, int count, VAContextID *id)
{
    (void)display, (void)height, (void)flag, (void)targets, (void)count;
    fake_va.width = width;
    *id = FAKE_CONTEXT + (config - FAKE_CONFIG);
    return VA_STATUS_SUCCESS;
}

VAStatus vaDestroyContext(VADisplay display, VAContextID id)
{
    (void)display;
    assert_in_range(id, FAKE_CONTEXT, FAKE_CONTEXT + 99);
    return VA_STATUS_SUCCESS;
}

VAStatus vaCreateSurfaces(VADisplay display, unsigned rt_format, unsigned width, unsigned height,
                          VASurfaceID *ids, unsigned count, VASurfaceAttrib *list, unsigned n)
{
    struct fake_surface *s = fake_va.surface;

    (void)display, (void)rt_format;
    assert_int_equal(count, 1);
    assert_int_equal(n, 1);
    assert_int_equal(list[0].type, VASurfaceAttribPixelFormat);
    pthread_mutex_lock(&fake_va.lock);
    while (s->used)
        assert_true(++s < fake_va.surface + FAKE_SURFACES);
    *s = (struct fake_surface){
        .used = true, .fourcc = (uint32_t)list[0].value.value.i, .width = width, .height = height};
    fake_va.surfaces++;
    pthread_mutex_unlock(&fake_va.lock);
    fake_va_layout(s->fourcc, width, height, &s->pitch, &s->size);
    s->fd = memfd_create("fake", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(s->fd >= 0);
    assert_int_equal(ftruncate(s->fd, (off_t)s->size), 0);
    assert_int_equal(fcntl(s->fd, F_ADD_SEALS, FAKE_SEALS), 0);
    s->bytes = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    assert_true(s->bytes != MAP_FAILED);
    /* As a GPU's memory: what others left there. */
    memset(s->bytes, 0xdd, s->size);
    ids[0] = FAKE_ID + (VASurfaceID)(s - fake_va.surface);
    return VA_STATUS_SUCCESS;
}

VAStatus vaDestroySurfaces(VADisplay display, VASurfaceID *ids, int count)
{
    struct fake_surface *s = fake_va_find(ids[0]);

    (void)display;
    assert_int_equal(count, 1);
    munmap(s->bytes, s->size);
    close(s->fd);
    pthread_mutex_lock(&fake_va.lock);
    s->used = false;
    fake_va.surfaces--;
    pthread_mutex_unlock(&fake_va.lock);
    return VA_STATUS_SUCCESS;
}

VAStatus vaCreateBuffer(VADisplay display, VAContextID context, VABufferType type, unsigned size,
                        unsigned count, void *bytes, VABufferID *id)
{
    struct fake_buffer *b = fake_va.buffer;

    (void)display, (void)context;
    pthread_mutex_lock(&fake_va.lock);
    while (b->used)
        assert_true(++b < fake_va.buffer + FAKE_BUFFERS);
    *b = (struct fake_buffer){.used = true, .type = type, .size = size, .count = count};
    pthread_mutex_unlock(&fake_va.lock);
    if (bytes)
        memcpy(b->bytes, bytes, size * count < FAKE_BYTES ? size * count : FAKE_BYTES);
    *id = FAKE_BUFFER + (VABufferID)(b - fake_va.buffer);
    return VA_STATUS_SUCCESS;
}

static struct fake_buffer *fake_va_buffer(VABufferID id)
{
    struct fake_buffer *b = &fake_va.buffer[(id - FAKE_BUFFER) % FAKE_BUFFERS];

    assert_in_range(id, FAKE_BUFFER, FAKE_BUFFER + FAKE_BUFFERS - 1);
    assert_true(b->used);
    return b;
}

VAStatus vaDestroyBuffer(VADisplay display, VABufferID id)
{
    struct fake_buffer *b = fake_va_buffer(id);

    (void)display;
    pthread_mutex_lock(&fake_va.lock);
    b->used = false;
    pthread_mutex_unlock(&fake_va.lock);
    return VA_STATUS_SUCCESS;
}

VAStatus vaBeginPicture(VADisplay display, VAContextID context, VASurfaceID target)
{
    (void)display;
    fake_va.targets[context - FAKE_CONTEXT] = target;
    if (context != FAKE_CONTEXT + VAEntrypointVLD)
        fake_va.target = target;
    return VA_STATUS_SUCCESS;
}

/* What only lives as long as the picture is rendered. */
static void fake_va_pipeline(const struct fake_buffer *b)
{
    VAProcPipelineParameterBuffer p;

    memcpy(&p, b->bytes, sizeof(p));
    fake_va.input = fake_va_find(p.surface)->bytes[0];
    for (fake_va.filter_count = 0; fake_va.filter_count < p.num_filters; fake_va.filter_count++) {
        assert_true(fake_va.filter_count < COUNT(fake_va.filters));
        fake_va.filters[fake_va.filter_count] = *fake_va_buffer(p.filters[fake_va.filter_count]);
    }
    if (p.surface_region)
        fake_va.source = *p.surface_region;
    if (p.output_region)
        fake_va.dest = *p.output_region;
}

VAStatus vaRenderPicture(VADisplay display, VAContextID context, VABufferID *ids, int count)
{
    (void)display;
    if (context == FAKE_CONTEXT + VAEntrypointVLD)
        return VA_STATUS_SUCCESS;
    fake_va.rendered_count = 0;
    for (int i = 0; i < count; i++) {
        const struct fake_buffer *b = fake_va_buffer(ids[i]);

        if (b->type == VAProcPipelineParameterBufferType && i == 0)
            fake_va_pipeline(b);
        if (fake_va.rendered_count < COUNT(fake_va.rendered))
            fake_va.rendered[fake_va.rendered_count++] = *b;
    }
    return VA_STATUS_SUCCESS;
}

VAStatus vaEndPicture(VADisplay display, VAContextID context)
{
    struct fake_surface *s = fake_va_find(fake_va.targets[context - FAKE_CONTEXT]);

    (void)display;
    if (fake_va.end_status)
        return fake_va.end_status;
    if (context == FAKE_CONTEXT + VAEntrypointEncSlice) {
        fake_va.input = s->bytes[0];
        fake_va.chroma = s->bytes[s->pitch * s->height + 1];
        assert_int_equal(s->fourcc, VA_FOURCC_NV12);
    }
    if (context == FAKE_CONTEXT + VAEntrypointVideoProc)
        memset(s->bytes, fake_va.input + 100, s->size);
    else if (context == FAKE_CONTEXT + VAEntrypointVLD)
        memset(s->bytes, ++fake_va.pictures, s->size);
    return VA_STATUS_SUCCESS;
}

VAStatus vaSyncBuffer(VADisplay display, VABufferID id, uint64_t timeout)
{
    (void)display, (void)timeout;
    assert_int_equal(fake_va_buffer(id)->type, VAEncCodedBufferType);
    return fake_va.sync_status;
}

VAStatus vaQueryVideoProcFilterCaps(VADisplay display, VAContextID context, VAProcFilterType type,
                                    void *caps, unsigned *count)
{
    VAProcFilterCap *cap = caps;

    (void)display, (void)context;
    if (type != VAProcFilterNoiseReduction || fake_va.most == 0)
        return VA_STATUS_ERROR_UNSUPPORTED_FILTER;
    cap->range = (VAProcFilterValueRange){.max_value = fake_va.most};
    *count = 1;
    return VA_STATUS_SUCCESS;
}

VAStatus vaSyncSurface(VADisplay display, VASurfaceID id)
{
    (void)display;
    fake_va_find(id);
    return fake_va.sync_status == VA_STATUS_ERROR_UNIMPLEMENTED ? VA_STATUS_SUCCESS
                                                                : fake_va.sync_status;
}

VAStatus vaCreateImage(VADisplay display, VAImageFormat *format, int width, int height,
                       VAImage *image)
{
    uint32_t pitch, i = 0;
    size_t size;

    (void)display;
    fake_va_layout(format->fourcc, (uint32_t)width, (uint32_t)height, &pitch, &size);
    assert_true(size <= sizeof(fake_va.image[0]));
    pthread_mutex_lock(&fake_va.lock);
    while (fake_va.image_used[i])
        assert_true(++i < FAKE_IMAGES);
    fake_va.image_used[i] = true;
    pthread_mutex_unlock(&fake_va.lock);
    *image = (VAImage){.image_id = FAKE_IMAGE + i,
                       .format = *format,
                       .buf = FAKE_IMAGE + i,
                       .width = (uint16_t)width,
                       .height = (uint16_t)height,
                       .data_size = (uint32_t)size,
                       .num_planes = 2,
                       .pitches = {pitch, pitch},
                       .offsets = {0, pitch * (uint32_t)height}};
    return VA_STATUS_SUCCESS;
}

VAStatus vaDestroyImage(VADisplay display, VAImageID id)
{
    (void)display;
    assert_in_range(id, FAKE_IMAGE, FAKE_IMAGE + FAKE_IMAGES - 1);
    pthread_mutex_lock(&fake_va.lock);
    fake_va.image_used[id - FAKE_IMAGE] = false;
    pthread_mutex_unlock(&fake_va.lock);
    return VA_STATUS_SUCCESS;
}

VAStatus vaDeriveImage(VADisplay display, VASurfaceID id, VAImage *image)
{
    (void)display, (void)id, (void)image;
    return VA_STATUS_ERROR_OPERATION_FAILED;
}

VAStatus vaGetImage(VADisplay display, VASurfaceID id, int x, int y, unsigned width,
                    unsigned height, VAImageID image)
{
    const struct fake_surface *s = fake_va_find(id);

    (void)display, (void)x, (void)y, (void)width, (void)height;
    fake_va.gets++;
    memcpy(fake_va.image[image - FAKE_IMAGE], s->bytes, s->size);
    return VA_STATUS_SUCCESS;
}

VAStatus vaPutImage(VADisplay display, VASurfaceID id, VAImageID image, int from_x, int from_y,
                    unsigned from_width, unsigned from_height, int x, int y, unsigned width,
                    unsigned height)
{
    const struct fake_surface *s = fake_va_find(id);

    (void)display, (void)from_x, (void)from_y, (void)from_width, (void)from_height;
    (void)x, (void)y, (void)width, (void)height;
    fake_va.puts++;
    memcpy(s->bytes, fake_va.image[image - FAKE_IMAGE], s->size);
    return VA_STATUS_SUCCESS;
}

VAStatus vaMapBuffer(VADisplay display, VABufferID id, void **bytes)
{
    (void)display;
    if (id >= FAKE_BUFFER) {
        assert_int_equal(fake_va_buffer(id)->type, VAEncCodedBufferType);
        fake_va.segments[0] = (VACodedBufferSegment){
            .size = 3, .buf = (void *)(uintptr_t) "abc", .next = &fake_va.segments[1]};
        fake_va.segments[1] = (VACodedBufferSegment){
            .size = 2, .buf = (void *)(uintptr_t) "de", .status = fake_va.overflow};
        *bytes = fake_va.segments;
        return VA_STATUS_SUCCESS;
    }
    *bytes = fake_va.image[id - FAKE_IMAGE];
    return VA_STATUS_SUCCESS;
}

VAStatus vaUnmapBuffer(VADisplay display, VABufferID id)
{
    (void)display, (void)id;
    return VA_STATUS_SUCCESS;
}

/* As most drivers do: one object, a layer for all planes or one for each. */
VAStatus vaExportSurfaceHandle(VADisplay display, VASurfaceID id, uint32_t type, uint32_t flags,
                               void *ret_descriptor)
{
    const struct fake_surface *s = fake_va_find(id);
    const bool separate = flags & VA_EXPORT_SURFACE_SEPARATE_LAYERS,
               deep = s->fourcc != VA_FOURCC_NV12;
    VADRMPRIMESurfaceDescriptor d = {.fourcc = s->fourcc,
                                     .width = s->width,
                                     .height = s->height,
                                     .num_objects = 1,
                                     .num_layers = separate ? 2 : 1};

    (void)display;
    assert_int_equal(type, VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2);
    fake_va.exports++;
    fake_va.export_flags = flags;
    if (fake_va.export_status)
        return fake_va.export_status;
    d.objects[0].fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
    d.objects[0].size = (uint32_t)s->size;
    d.objects[0].drm_format_modifier = DRM_FORMAT_MOD_LINEAR;
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t layer = separate ? i : 0, plane = separate ? 0 : i;

        d.layers[layer].drm_format = deep ? DRM_FORMAT_P010 : DRM_FORMAT_NV12;
        if (separate && deep)
            d.layers[layer].drm_format = i ? DRM_FORMAT_GR1616 : DRM_FORMAT_R16;
        else if (separate)
            d.layers[layer].drm_format = i ? DRM_FORMAT_GR88 : DRM_FORMAT_R8;
        d.layers[layer].num_planes = plane + 1;
        d.layers[layer].offset[plane] = i * s->pitch * s->height;
        d.layers[layer].pitch[plane] = s->pitch;
    }
    if (fake_va.spoil)
        fake_va.spoil(&d);
    *(VADRMPRIMESurfaceDescriptor *)ret_descriptor = d;
    return VA_STATUS_SUCCESS;
}

#pragma GCC visibility pop

#endif
