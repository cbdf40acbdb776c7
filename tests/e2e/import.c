/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <va/va.h>
#include <va/va_drm.h>
#include <va/va_drmcommon.h>
#include <va/va_vpp.h>

/*
 * import: surfaces in memory of the program's own as sources and targets of video processing,
 * over whatever channel VIADUCT_HOST names. What a copy makes must be the bytes that went in. With
 * "own" the memory is a dma-buf that another surface was exported as.
 */

#define WIDTH  100u
#define HEIGHT 62u
#define PITCH  128u
#define CHROMA (PITCH * 64 + 4096)
#define SIZE   (CHROMA + PITCH * 32)

static int failures;

#define CHECK(condition)                                            \
    do {                                                            \
        if (!(condition)) {                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            failures++;                                             \
        }                                                           \
    } while (0)

struct picture {
    uint8_t *bytes;
    uint32_t pitch, chroma;
};

static uint8_t sample(uint32_t seed, uint32_t x, uint32_t y)
{
    return (uint8_t)(16 + (seed * 31 + x * 7 + y * 13) % 200);
}

/* Rows of luma, then of chroma. */
static uint8_t *row(const struct picture *p, uint32_t y)
{
    return p->bytes + (y < HEIGHT ? y * p->pitch : p->chroma + (y - HEIGHT) * p->pitch);
}

static void paint(const struct picture *p, uint32_t seed)
{
    for (uint32_t y = 0; y < HEIGHT + HEIGHT / 2; y++) {
        for (uint32_t x = 0; x < WIDTH; x++)
            row(p, y)[x] = sample(seed, x, y);
    }
}

static uint32_t differences(const struct picture *p, uint32_t seed)
{
    uint32_t count = 0;

    for (uint32_t y = 0; y < HEIGHT + HEIGHT / 2; y++) {
        for (uint32_t x = 0; x < WIDTH; x++)
            count += row(p, y)[x] != sample(seed, x, y);
    }
    return count;
}

/* One picture from another, by the host. */
static VAStatus process(VADisplay d, VAContextID context, VASurfaceID from, VASurfaceID to,
                        const VARectangle *where)
{
    VAProcPipelineParameterBuffer p = {.surface = from, .output_region = where};
    VABufferID buffer;
    VAStatus status =
        vaCreateBuffer(d, context, VAProcPipelineParameterBufferType, sizeof(p), 1, &p, &buffer);

    if (!status)
        status = vaBeginPicture(d, context, to);
    if (!status)
        status = vaRenderPicture(d, context, &buffer, 1);
    if (!status)
        status = vaEndPicture(d, context);
    return status;
}

/* What a surface holds, as another program would get it. */
static uint32_t wrong(VADisplay d, VASurfaceID surface, uint32_t seed)
{
    struct picture p;
    uint32_t count = ~0u;
    VAImage image;
    void *bytes;

    if (vaDeriveImage(d, surface, &image))
        return count;
    if (!vaMapBuffer(d, image.buf, &bytes)) {
        p = (struct picture){(uint8_t *)bytes + image.offsets[0], image.pitches[0],
                             image.offsets[1] - image.offsets[0]};
        count = differences(&p, seed);
        vaUnmapBuffer(d, image.buf);
    }
    vaDestroyImage(d, image.image_id);
    return count;
}

static VAStatus surface_of(VADisplay d, VADRMPRIMESurfaceDescriptor *descriptor,
                           VASurfaceID *ret_surface)
{
    VASurfaceAttrib a[3] = {
        {.type = VASurfaceAttribMemoryType,
         .flags = VA_SURFACE_ATTRIB_SETTABLE,
         .value = {VAGenericValueTypeInteger, {.i = VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2}}},
        {.type = VASurfaceAttribExternalBufferDescriptor,
         .flags = VA_SURFACE_ATTRIB_SETTABLE,
         .value = {VAGenericValueTypePointer, {.p = descriptor}}},
        {.type = VASurfaceAttribPixelFormat,
         .flags = VA_SURFACE_ATTRIB_SETTABLE,
         .value = {VAGenericValueTypeInteger, {.i = VA_FOURCC_NV12}}},
    };

    return vaCreateSurfaces(d, VA_RT_FORMAT_YUV420, WIDTH, HEIGHT, ret_surface, 1,
                            descriptor ? a : a + 2, descriptor ? 3 : 1);
}

/* A memfd, or the dma-buf that `owner` is exported as. */
static bool memory(VADisplay d, bool own, VASurfaceID *owner, VADRMPRIMESurfaceDescriptor *ret_d,
                   struct picture *ret_picture)
{
    uint64_t size = SIZE;

    *ret_d = (VADRMPRIMESurfaceDescriptor){.fourcc = VA_FOURCC_NV12,
                                           .width = WIDTH,
                                           .height = HEIGHT,
                                           .num_objects = 1,
                                           .objects = {{.size = SIZE}},
                                           .num_layers = 1};
    ret_d->layers[0].num_planes = 2;
    ret_d->layers[0].pitch[0] = ret_d->layers[0].pitch[1] = PITCH;
    ret_d->layers[0].offset[1] = CHROMA;
    if (own) {
        if (surface_of(d, NULL, owner) ||
            vaExportSurfaceHandle(d, *owner, VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2,
                                  VA_EXPORT_SURFACE_READ_WRITE | VA_EXPORT_SURFACE_COMPOSED_LAYERS,
                                  ret_d))
            return false;
        size = ret_d->objects[0].size;
    } else {
        int fd = memfd_create("import", MFD_ALLOW_SEALING);

        if (fd < 0 || ftruncate(fd, SIZE) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
            return false;
        ret_d->objects[0].fd = fd;
    }
    ret_picture->bytes =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ret_d->objects[0].fd, 0);
    ret_picture->bytes += ret_d->layers[0].offset[0];
    ret_picture->pitch = ret_d->layers[0].pitch[0];
    ret_picture->chroma = ret_d->layers[0].offset[1] - ret_d->layers[0].offset[0];
    return ret_picture->bytes != MAP_FAILED;
}

static void check(VADisplay d, VAContextID context, bool own)
{
    const VARectangle corner = {0, 0, WIDTH / 2, HEIGHT / 2};
    VADRMPRIMESurfaceDescriptor descriptor;
    VASurfaceID owner = VA_INVALID_SURFACE, external, plain;
    VASurfaceStatus ready = VASurfaceRendering;
    struct picture p;
    uint32_t changed;

    CHECK(memory(d, own, &owner, &descriptor, &p));
    if (failures)
        return;
    CHECK(!surface_of(d, &descriptor, &external));
    CHECK(!surface_of(d, NULL, &plain));
    if (failures)
        return;

    /* A source: what is in it when the call is made, each time. */
    for (uint32_t seed = 1; seed < 4; seed++) {
        paint(&p, seed);
        CHECK(!process(d, context, external, plain, NULL));
        CHECK(!vaSyncSurface(d, plain));
        CHECK(!wrong(d, plain, seed));
    }
    /* Another program's change of a single sample is seen, too. */
    *row(&p, HEIGHT + HEIGHT / 2 - 1) ^= 0x40;
    CHECK(!process(d, context, external, plain, NULL));
    CHECK(!vaSyncSurface(d, plain));
    CHECK(wrong(d, plain, 3) == 1);

    /* A target: the picture is there when a wait ends, and what the program sees is it. */
    paint(&p, 9);
    CHECK(!process(d, context, external, plain, NULL));
    CHECK(!vaSyncSurface(d, plain));
    paint(&p, 10);
    CHECK(!process(d, context, plain, external, NULL));
    CHECK(!vaSyncSurface(d, external));
    CHECK(!differences(&p, 9));
    CHECK(!wrong(d, external, 9));
    /* Whoever asks instead of waiting. */
    paint(&p, 11);
    CHECK(!process(d, context, plain, external, NULL));
    for (int i = 0; i < 30000 && ready != VASurfaceReady; i++) {
        CHECK(!vaQuerySurfaceStatus(d, external, &ready));
        usleep(1000);
    }
    CHECK(!differences(&p, 9));
    /* A picture that nobody waited for is a source all the same. */
    paint(&p, 12);
    CHECK(!process(d, context, plain, external, NULL));
    CHECK(!process(d, context, external, plain, NULL));
    CHECK(!vaSyncSurface(d, plain));
    CHECK(!wrong(d, plain, 9));
    CHECK(!vaSyncSurface(d, external));

    /* Where processing leaves the target alone, what the program wrote stays. */
    paint(&p, 13);
    CHECK(!process(d, context, plain, external, &corner));
    CHECK(!vaSyncSurface(d, external));
    changed = differences(&p, 13);
    CHECK(changed > WIDTH * HEIGHT / 4 && changed <= WIDTH * HEIGHT * 3 / 8 + HEIGHT);
    for (uint32_t y = HEIGHT / 2 + 2; y < HEIGHT; y++)
        CHECK(row(&p, y)[WIDTH - 1] == sample(13, WIDTH - 1, y));

    CHECK(!vaDestroySurfaces(d, &external, 1));
    CHECK(!vaDestroySurfaces(d, &plain, 1));
    if (own)
        CHECK(!vaDestroySurfaces(d, &owner, 1));
    close(descriptor.objects[0].fd);
}

int main(int argc, char **argv)
{
    int node = open(argc > 2 ? argv[2] : "/dev/dri/renderD128", O_RDWR | O_CLOEXEC), major, minor;
    VADisplay d = node >= 0 ? vaGetDisplayDRM(node) : NULL;
    VAContextID context;
    VAConfigID config;

    if (!d || vaInitialize(d, &major, &minor)) {
        fprintf(stderr, "no VA-API device\n");
        return 1;
    }
    if (vaCreateConfig(d, VAProfileNone, VAEntrypointVideoProc, NULL, 0, &config) ||
        vaCreateContext(d, config, WIDTH, HEIGHT, 0, NULL, 0, &context)) {
        fprintf(stderr, "no video processing\n");
        return 77;
    }
    check(d, context, argc > 1 && !strcmp(argv[1], "own"));
    vaDestroyContext(d, context);
    vaDestroyConfig(d, config);
    vaTerminate(d);
    printf("%s\n", failures ? "wrong" : "right");
    return failures ? 1 : 0;
}
