/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ptx_fixture.h"

#include <compute/cuda/texture.h>

/*
 * Mipmaps, gradients, cube maps, gathers, offsets, results of 16 bits, samplers of their own,
 * formatted surfaces and reductions, against plain C. What formats and address modes do is in
 * test_ptx_texture.c.
 */

#define THREADS 64
#define WIDTH   16
#define HEIGHT  8
#define LEVELS  5

/* Twelve words in as %f0 to %f11 and %i0 to %i11, four out from %r0 to %r3. */
static const char head[] =
    PTX_HEAD ".global .samplerref nearest;\n"
             ".global .samplerref smooth = { filter_mode = linear, addr_mode_0 = mirror,\n"
             "  addr_mode_1 = clamp_to_border, force_unnormalized_coords = 1 };\n"
             ".global .texref begun = { width = 4, filter_mode = linear, addr_mode_2 = clamp_ogl,\n"
             "  normalized_coords = 1 };\n";
static const char kernel_text[] =
    ".visible .entry %s(.param .u64 t, .param .u64 in, .param .u64 out)\n{\n"
    ".reg .b32 %%r<8>; .reg .b64 %%d<8>; .reg .f32 %%f<12>; .reg .b32 %%i<12>; .reg .b16 %%h<4>;\n"
    ".reg .pred %%p<2>;\n"
    "ld.param.u64 %%d0, [t]; ld.param.u64 %%d1, [in]; ld.param.u64 %%d2, [out];\n"
    "mov.u32 %%r4, %%tid.x; mul.wide.u32 %%d3, %%r4, 48; add.s64 %%d1, %%d1, %%d3;\n"
    "mul.wide.u32 %%d3, %%r4, 16; add.s64 %%d2, %%d2, %%d3;\n"
    "ld.global.v4.f32 {%%f0, %%f1, %%f2, %%f3}, [%%d1];\n"
    "ld.global.v4.f32 {%%f4, %%f5, %%f6, %%f7}, [%%d1+16];\n"
    "ld.global.v4.f32 {%%f8, %%f9, %%f10, %%f11}, [%%d1+32];\n"
    "ld.global.v4.u32 {%%i0, %%i1, %%i2, %%i3}, [%%d1];\n"
    "ld.global.v4.u32 {%%i4, %%i5, %%i6, %%i7}, [%%d1+16];\n"
    "ld.global.v4.u32 {%%r0, %%r1, %%r2, %%r3}, [%%d2];\n%s"
    "st.global.v4.u32 [%%d2], {%%r0, %%r1, %%r2, %%r3};\nret; }\n";
#define OUT "{%r0, %r1, %r2, %r3}"
static const struct {
    const char *name, *code;
} kernels[] = {
    {"level", "tex.level.2d.v4.u32.f32 " OUT ", [%d0, {%f0, %f1}], %f4;\n"},
    {"base", "tex.base.2d.v4.u32.f32 " OUT ", [%d0, {%f0, %f1}];\n"},
    {"level_1d", "tex.level.1d.v4.u32.f32 " OUT ", [%d0, {%f0}], %f4;\n"},
    {"level_3d", "tex.level.3d.v4.u32.f32 " OUT ", [%d0, {%f0, %f1, %f2, %f2}], %f4;\n"},
    {"level_a2d", "tex.level.a2d.v4.u32.f32 " OUT ", [%d0, {%i3, %f0, %f1, %f1}], %f4;\n"},
    {"level_int", "tex.level.2d.v4.u32.s32 " OUT ", [%d0, {%i0, %i1}], %i4;\n"},
    {"grad", "tex.grad.2d.v4.u32.f32 " OUT ", [%d0, {%f0, %f1}], {%f4, %f5}, {%f6, %f7};\n"},
    {"cube", "tex.cube.v4.u32.f32 " OUT ", [%d0, {%f0, %f1, %f2, %f2}];\n"},
    {"acube", "tex.level.acube.v4.u32.f32 " OUT ", [%d0, {%i3, %f0, %f1, %f2}], %f4;\n"},
    {"grad_cube", "tex.grad.cube.v4.u32.f32 " OUT ", [%d0, {%f0, %f1, %f2, %f2}],\n"
                  "  {%f4, %f5, %f6, %f6}, {%f7, %f8, %f9, %f9};\n"},
    {"offset", "tex.2d.v4.u32.f32 " OUT ", [%d0, {%f0, %f1}], {%i4, %i5};\n"},
    {"gather_offset", "tld4.r.2d.v4.u32.f32 " OUT ", [%d0, {%f0, %f1}], {%i4, %i5};\n"},
    {"gather_a2d", "tld4.g.a2d.v4.u32.f32 " OUT ", [%d0, {%i3, %f0, %f1, %f1}];\n"},
    {"gather_acube", "tld4.r.acube.v4.u32.f32 " OUT ", [%d0, {%i3, %f0, %f1, %f2}];\n"},
    {"half", "tex.2d.v4.f16.f32 {%h0, %h1, %h2, %h3}, [%d0, {%f0, %f1}];\n"
             "mov.b32 %r0, {%h0, %h1}; mov.b32 %r1, {%h2, %h3};\n"},
    {"pairs", "tex.2d.v2.f16x2.f32 {%r0, %r1}|%p0, [%d0, {%f0, %f1}];\n"
              "selp.u32 %r2, 1, 0, %p0;\n"},
    {"sampled", "tex.2d.v4.u32.f32 " OUT ", [%d0, smooth, {%f0, %f1}];\n"},
    {"sampled_near", "mov.u64 %d4, nearest;\n"
                     "tex.2d.v4.u32.f32 " OUT ", [%d0, %d4, {%f0, %f1}];\n"},
    {"ask", "txq.level.width.b32 %r0, [%d0], %i0; txq.level.height.b32 %r1, [%d0], %i0;\n"
            "txq.num_mipmap_levels.b32 %r2, [%d0]; txq.level.depth.b32 %r3, [%d0], %i0;\n"},
    {"ask_more", "txq.channel_data_type.b32 %r0, [%d0]; txq.channel_order.b32 %r1, [%d0];\n"
                 "txq.normalized_coords.b32 %r2, [%d0]; txq.addr_mode_1.b32 %r3, [%d0];\n"},
    {"ask_sampler", "txq.filter_mode.b32 %r0, [smooth]; txq.addr_mode_0.b32 %r1, [smooth];\n"
                    "txq.addr_mode_1.b32 %r2, [smooth];\n"
                    "txq.force_unnormalized_coords.b32 %r3, [smooth];\n"},
    {"ask_surface", "suq.width.b32 %r0, [%d0]; suq.channel_data_type.b32 %r1, [%d0];\n"
                    "suq.memory_layout.b32 %r2, [%d0]; suq.array_size.b32 %r3, [%d0];\n"},
    {"store", "sust.p.2d.v4.b32.zero [%d0, {%i4, %i5}], {%i0, %i1, %i2, %i3};\n"},
    {"store_layer", "sust.p.a2d.v2.b32.trap [%d0, {%i6, %i4, %i5, %i5}], {%i0, %i1};\n"},
    {"store_one", "sust.p.3d.b32.clamp [%d0, {%i4, %i5, %i6, %i6}], {%i0};\n"},
    {"add", "sured.b.add.2d.u32.trap [%d0, {%i4, %i5}], %i0;\n"},
    {"most", "sured.p.max.2d.b32.clamp [%d0, {%i4, %i5}], %i0;\n"},
    {"bits", "sured.b.or.1d.b32.zero [%d0, {%i4}], {%i0};\n"},
    {"wide", "cvt.s64.s32 %d5, %i0; sured.b.min.3d.s64.trap [%d0, {%i4, %i5, %i6, %i6}], %d5;\n"},
};

static struct ptx_run run;
static struct {
    uint64_t texture, in, out;
} parameters;
static uint64_t texels;
static float plain[16384];
static union {
    float f[12];
    int32_t i[12];
} at[THREADS];
static uint32_t out[THREADS][4];

static int setup(void **state)
{
    static char text[65536];
    size_t used = (size_t)snprintf(text, sizeof(text), "%s", head);

    (void)state;
    for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, kernel_text, kernels[i].name,
                                 kernels[i].code);
    ptx_open(&run, text, "level");
    parameters.texture = ptx_buffer(&run, NULL, CUDA_TEXTURE_BYTES);
    parameters.in = ptx_buffer(&run, NULL, sizeof(at));
    parameters.out = ptx_buffer(&run, NULL, sizeof(out));
    texels = ptx_buffer(&run, NULL, sizeof(plain));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ptx_close(&run);
    return 0;
}

static int try(const char *kernel, const struct cuda_texture *t)
{
    int err;

    assert_int_equal(ptx_module_kernel(run.module, kernel, &run.kernel), 0);
    assert_int_equal(ptx_memory_write(run.context, parameters.texture, t, sizeof(*t)), 0);
    assert_int_equal(ptx_memory_write(run.context, parameters.in, at, sizeof(at)), 0);
    assert_int_equal(ptx_memory_write(run.context, parameters.out, out, sizeof(out)), 0);
    err = ptx_go(&run, 1, THREADS, &parameters, sizeof(parameters));
    assert_int_equal(ptx_memory_read(run.context, parameters.out, out, sizeof(out)), 0);
    return err;
}

static void go(const char *kernel, const struct cuda_texture *t)
{
    if (try(kernel, t))
        fail_msg("%s: %s", kernel, run.result.text);
}

static double result(unsigned thread, unsigned n)
{
    float v;

    memcpy(&v, &out[thread][n], 4);
    return (double)v;
}

#define NEAR(thread, want) near(thread, want, __LINE__)
static void near(unsigned thread, double want, int line)
{
    if (fabs(result(thread, 0) - want) > 2e-6 * fmax(1, fabs(want)))
        fail_msg("line %d, thread %u: %.9g instead of %.9g", line, thread, result(thread, 0), want);
}

/* One float a texel. */
static struct cuda_texture texture(uint32_t width, uint32_t height, uint32_t depth)
{
    uint32_t pitch = (width * 4 + CUDA_TEXTURE_ROW - 1) / CUDA_TEXTURE_ROW * CUDA_TEXTURE_ROW;

    for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        plain[i] = (float)(i * 7919 % 4093);
    assert_int_equal(ptx_memory_write(run.context, texels, plain, sizeof(plain)), 0);
    return (struct cuda_texture){
        .magic = CUDA_TEXTURE_MAGIC,
        .address = texels,
        .pitch = pitch,
        .slice = (uint64_t)pitch * height,
        .width = width,
        .height = height,
        .depth = depth,
        .format = CU_AD_FORMAT_FLOAT,
        .channels = 1,
        .flags = CU_TRSF_NORMALIZED_COORDINATES,
        .modes = {CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP},
    };
}

/* With levels; layers have all of theirs together. */
static struct cuda_texture mipmap(uint32_t width, uint32_t height, uint32_t depth, bool layered)
{
    struct cuda_texture t = texture(width, height, depth);

    t.more_levels = LEVELS - 1;
    t.mip_most = LEVELS - 1;
    if (layered) {
        t.layout = CUDA_TEXTURE_LAYERED;
        t.slice = 0;
        for (uint32_t i = 0; i < LEVELS; i++)
            t.slice += ((width >> i ? width >> i : 1) * 4 + 31) / 32 * 32 *
                       (uint64_t)(height >> i ? height >> i : 1);
    }
    return t;
}

/* The reference: a texel of a level, by the rule of texture.h written down again. */
static double value(const struct cuda_texture *t, unsigned level, long x, long y, long z)
{
    uint64_t offset = 0, pitch = t->pitch, slice = t->slice;
    uint32_t w = t->width, h = t->height, d = t->depth;
    bool layered = t->layout & CUDA_TEXTURE_LAYERED;

    for (unsigned i = 0; i < level; i++) {
        offset += pitch * h * (layered ? 1 : d);
        w = w > 1 ? w / 2 : 1;
        h = h > 1 ? h / 2 : 1;
        pitch = (w * 4 + 31) / 32 * 32;
        if (!layered) {
            d = d > 1 ? d / 2 : 1;
            slice = pitch * h;
        }
    }
    x = x < 0 ? 0 : x >= (long)w ? (long)w - 1 : x;
    y = y < 0 ? 0 : y >= (long)h ? (long)h - 1 : y;
    z = z < 0 ? 0 : z >= (long)d ? (long)d - 1 : z;
    return (
        double)plain[(offset + (uint64_t)z * slice + (uint64_t)y * pitch + (uint64_t)x * 4) / 4];
}

static long extent(uint32_t n, unsigned level)
{
    return n >> level ? (long)(n >> level) : 1;
}

/* One level, filtered or not, where texels are clamped; z is a layer. */
static double filtered(const struct cuda_texture *t, unsigned level, double x, double y, long z)
{
    double fx = x * (double)extent(t->width, level), fy = y * (double)extent(t->height, level);
    double a, b;
    long i, j;

    if (t->filter == CU_TR_FILTER_MODE_POINT)
        return value(t, level, (long)floor(fx), (long)floor(fy), z);
    i = (long)floor(fx - 0.5);
    j = (long)floor(fy - 0.5);
    a = floor((fx - 0.5 - (double)i) * 256 + 0.5) / 256;
    b = floor((fy - 0.5 - (double)j) * 256 + 0.5) / 256;
    return (1 - a) * (1 - b) * value(t, level, i, j, z) +
           a * (1 - b) * value(t, level, i + 1, j, z) + (1 - a) * b * value(t, level, i, j + 1, z) +
           a * b * value(t, level, i + 1, j + 1, z);
}

static double levels(const struct cuda_texture *t, double lod, double x, double y, long z)
{
    double weight;
    unsigned first;

    lod += (double)t->mip_bias;
    lod = fmin(fmax(lod, (double)t->mip_least), (double)t->mip_most);
    lod = fmin(fmax(lod, 0), t->more_levels);
    if (t->mip_filter == CU_TR_FILTER_MODE_POINT)
        return filtered(t, (unsigned)floor(lod + 0.5), x, y, z);
    first = (unsigned)floor(lod);
    weight = floor((lod - first) * 256 + 0.5) / 256;
    return (1 - weight) * filtered(t, first, x, y, z) +
           (weight > 0 ? weight * filtered(t, first + 1, x, y, z) : 0);
}

static void scatter(float most_level)
{
    for (unsigned i = 0; i < THREADS; i++) {
        at[i].f[0] = floorf((float)(i * 613 % 997) / 997 * 1024) / 1024;
        at[i].f[1] = floorf((float)(i * 389 % 983) / 983 * 1024) / 1024;
        at[i].f[2] = floorf((float)(i * 211 % 977) / 977 * 1024) / 1024;
        at[i].i[3] = (int)(i % 4);
        at[i].f[4] = floorf(((float)i / THREADS * (most_level + 2) - 1) * 64) / 64;
    }
}

static void test_levels(void **state)
{
    static const struct {
        float bias, least, most;
    } ranges[] = {{0, 0, LEVELS - 1}, {0.75f, 0, 99}, {-1.25f, 0.5f, 2.25f}, {0, 0, 0}};
    struct cuda_texture t = mipmap(WIDTH, HEIGHT, 1, false);

    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        t.filter = i & 1;
        t.mip_filter = i >> 1 & 1;
        t.mip_bias = ranges[i >> 2].bias;
        t.mip_least = ranges[i >> 2].least;
        t.mip_most = ranges[i >> 2].most;
        scatter(LEVELS);
        go("level", &t);
        for (unsigned n = 0; n < THREADS; n++)
            NEAR(n, levels(&t, (double)at[n].f[4], (double)at[n].f[0], (double)at[n].f[1], 0));
        go("base", &t);
        for (unsigned n = 0; n < THREADS; n++)
            NEAR(n, filtered(&t, 0, (double)at[n].f[0], (double)at[n].f[1], 0));
    }
    /* By whole texels; no sampler takes part. */
    for (int i = 0; i < THREADS; i++) {
        at[i].i[0] = i % 4;
        at[i].i[1] = i / 4 % 4;
        at[i].i[4] = i / 8 - 1;
    }
    go("level_int", &t);
    for (int i = 0; i < THREADS; i++) {
        int level = i / 8 - 1 < 0 ? 0 : i / 8 - 1 < LEVELS ? i / 8 - 1 : LEVELS - 1;

        NEAR((unsigned)i, value(&t, (unsigned)level, i % 4, i / 4 % 4, 0));
    }
}

static void test_shapes(void **state)
{
    struct cuda_texture t = mipmap(WIDTH, 1, 1, false);

    (void)state;
    scatter(LEVELS);
    go("level_1d", &t);
    for (unsigned n = 0; n < THREADS; n++)
        NEAR(n, levels(&t, (double)at[n].f[4], (double)at[n].f[0], 0, 0));
    t = mipmap(WIDTH, HEIGHT, 4, true);
    t.filter = t.mip_filter = CU_TR_FILTER_MODE_LINEAR;
    go("level_a2d", &t);
    for (unsigned n = 0; n < THREADS; n++)
        NEAR(n, levels(&t, (double)at[n].f[4], (double)at[n].f[0], (double)at[n].f[1], at[n].i[3]));
    t = mipmap(WIDTH, HEIGHT, 4, false);
    go("level_3d", &t);
    for (unsigned n = 0; n < THREADS; n++) {
        unsigned level = (unsigned)fmin(fmax(floor((double)at[n].f[4] + 0.5), 0), LEVELS - 1);
        double w = (double)extent(WIDTH, level), h = (double)extent(HEIGHT, level);

        NEAR(n, value(&t, level, (long)floor((double)at[n].f[0] * w),
                      (long)floor((double)at[n].f[1] * h),
                      (long)floor((double)at[n].f[2] * (double)extent(4, level))));
    }
    at[0].i[0] = 1;
    go("ask", &t);
    assert_int_equal(out[0][0], WIDTH / 2);
    assert_int_equal(out[0][1], HEIGHT / 2);
    assert_int_equal(out[0][2], LEVELS);
    assert_int_equal(out[0][3], 2);
}

/* The level is the logarithm of the longer way; with anisotropy that of the shorter one. */
static void test_gradients(void **state)
{
    struct cuda_texture t = mipmap(WIDTH, HEIGHT, 1, false);

    (void)state;
    t.filter = t.mip_filter = CU_TR_FILTER_MODE_LINEAR;
    scatter(0);
    for (unsigned n = 0; n < THREADS; n++) {
        at[n].f[4] = (float)(n % 8) / 16;
        at[n].f[5] = 0;
        at[n].f[6] = 0;
        at[n].f[7] = (float)(n / 8) / 32;
    }
    go("grad", &t);
    for (unsigned n = 0; n < THREADS; n++) {
        double longer = fmax(n % 8, (double)(n / 8) / 4);

        NEAR(n, levels(&t, longer > 0 ? log2(longer) : -99, (double)at[n].f[0], (double)at[n].f[1],
                       0));
    }
    t.anisotropy = 4;
    for (unsigned n = 0; n < THREADS; n++) {
        at[n].f[4] = 0;
        at[n].f[5] = 6.0f / HEIGHT; /* six texels down, two to the right: three samples */
        at[n].f[6] = 2.0f / WIDTH;
        at[n].f[7] = 0;
    }
    go("grad", &t);
    for (unsigned n = 0; n < THREADS; n++) {
        double sum = 0;

        for (int i = 1; i <= 3; i++)
            sum += levels(&t, 1, (double)at[n].f[0],
                          (double)(at[n].f[1] + ((float)i / 4 - 0.5f) * at[n].f[5]), 0) /
                   3;
        NEAR(n, sum);
    }
    /* Hostile numbers. */
    t.anisotropy = UINT32_MAX;
    t.mip_bias = t.mip_least = t.mip_most = NAN;
    for (unsigned n = 0; n < THREADS; n++)
        for (unsigned i = 0; i < 12; i++)
            at[n].f[i] = (n >> i % 6 & 1) ? NAN : i & 1 ? -INFINITY : 1e38f;
    go("grad", &t);
    go("level", &t);
    go("grad_cube", &t);
    t.more_levels = CUDA_TEXTURE_LEVELS;
    assert_int_not_equal(try("level", &t), 0);
    t.more_levels = UINT32_MAX;
    assert_int_not_equal(try("level", &t), 0);
    t.more_levels = CUDA_TEXTURE_LEVELS - 1;
    t.mip_filter = 2;
    assert_int_not_equal(try("level", &t), 0);
}

#define FACE 4
/* Texel of the cube: where its middle is, in a plain walk over the faces. */
static void middle(unsigned face, double s, double t, float *ret)
{
    const double v[6][3] = {{1, -t, -s}, {-1, -t, s}, {s, 1, t},
                            {s, -1, -t}, {s, -t, 1},  {-s, -t, -1}};

    for (unsigned i = 0; i < 3; i++)
        ret[i] = (float)v[face][i];
}

static void test_cubes(void **state)
{
    struct cuda_texture t = mipmap(FACE, FACE, 18, true);

    (void)state;
    t.mip_most = 0;
    /* The middle of each texel, of several cubes. */
    for (unsigned cube = 0; cube < 4; cube++) {
        for (unsigned face = 0; face < 6; face++) {
            for (unsigned i = 0; i < FACE * FACE; i++) {
                middle(face, (i % FACE + 0.5) / FACE * 2 - 1, (i / FACE + 0.5) / FACE * 2 - 1,
                       at[i].f);
                at[i].i[3] = (int)cube;
                at[i].f[4] = 0;
            }
            go("acube", &t);
            for (unsigned i = 0; i < FACE * FACE; i++)
                NEAR(i, value(&t, 0, i % FACE, i / FACE, (cube < 3 ? cube : 2) * 6 + face));
            go("cube", &t);
            for (unsigned i = 0; i < FACE * FACE; i++)
                NEAR(i, value(&t, 0, i % FACE, i / FACE, face));
        }
    }
    /* A level: four texels, then one. */
    t.mip_most = LEVELS - 1;
    middle(4, -0.5, 0.5, at[0].f);
    at[0].i[3] = 1;
    at[0].f[4] = 1;
    middle(4, -0.5, 0.5, at[1].f);
    at[1].i[3] = 2;
    at[1].f[4] = 2;
    go("acube", &t);
    NEAR(0, value(&t, 1, 0, 1, 10));
    NEAR(1, value(&t, 2, 0, 0, 16));
    /* A step over a quarter of a face is a texel of the first level, over half of it two. */
    t.depth = 6;
    for (unsigned n = 0; n < 2; n++) {
        middle(2, 0.5, -0.5, at[n].f);
        memset(at[n].f + 4, 0, 8 * sizeof(float));
        at[n].f[4] = n ? 1 : 0.5f;
    }
    go("grad_cube", &t);
    NEAR(0, value(&t, 0, 3, 1, 2));
    NEAR(1, value(&t, 1, 1, 0, 2));
}

/* Filters see the neighbours of a face; how they lie is found by brute force. */
static void test_seamless(void **state)
{
    struct cuda_texture t = mipmap(FACE, FACE, 6, true);

    (void)state;
    t.mip_most = 0;
    t.filter = CU_TR_FILTER_MODE_LINEAR;
    for (unsigned seamless = 0; seamless < 2; seamless++) {
        t.flags = seamless ? CU_TRSF_SEAMLESS_CUBEMAP : 0;
        for (unsigned face = 0; face < 6; face++) {
            /* In the middle of the left border, between two rows of it, and at a corner. */
            middle(face, -0.999999, 0, at[0].f);
            middle(face, -0.999999, -0.999999, at[1].f);
            go("cube", &t);
            if (!seamless) {
                NEAR(0, (value(&t, 0, 0, 1, face) + value(&t, 0, 0, 2, face)) / 2);
                NEAR(1, value(&t, 0, 0, 0, face));
                continue;
            }
            {
                /* Across the border: the nearest middles of texels of other faces. */
                double best[2] = {9, 9}, found[2] = {0};
                float way[2][3], p[3];

                middle(face, -1.25, -0.25, way[0]);
                middle(face, -1.25, 0.25, way[1]);
                for (unsigned i = 0; i < 6 * FACE * FACE; i++)
                    for (unsigned k = 0; k < 2; k++) {
                        double d = 0, a = 0, b = 0;

                        middle(i / FACE / FACE, (i % FACE + 0.5) / FACE * 2 - 1,
                               (i / FACE % FACE + 0.5) / FACE * 2 - 1, p);
                        for (unsigned n = 0; n < 3; n++) {
                            d += (double)(p[n] * way[k][n]);
                            a += (double)(p[n] * p[n]);
                            b += (double)(way[k][n] * way[k][n]);
                        }
                        d = 1 - d / sqrt(a * b);
                        if (i / FACE / FACE != face && d < best[k]) {
                            best[k] = d;
                            found[k] = value(&t, 0, i % FACE, i / FACE % FACE, i / FACE / FACE);
                        }
                    }
                NEAR(0,
                     (value(&t, 0, 0, 1, face) + value(&t, 0, 0, 2, face) + found[0] + found[1]) /
                         4);
                /* At the corner other faces take part. */
                assert_true(fabs(result(1, 0) - value(&t, 0, 0, 0, face)) > 0);
            }
        }
    }
    /* The eight corners, each seen from three faces. */
    for (unsigned i = 0; i < 24; i++) {
        const float corner[3] = {i & 1 ? 1 : -1, i & 2 ? 1 : -1, i & 4 ? 1 : -1};

        memcpy(at[i].f, corner, sizeof(corner));
        at[i].f[i / 8] *= 1.000001f;
    }
    go("cube", &t);
    for (unsigned i = 0; i < 8; i++)
        for (unsigned k = 1; k < 3; k++)
            assert_true(fabs(result(i, 0) - result(i + 8 * k, 0)) < 0.01);
}

static void test_offsets_gathers(void **state)
{
    struct cuda_texture t = texture(WIDTH, HEIGHT, 4);

    (void)state;
    scatter(0);
    for (int i = 0; i < THREADS; i++) {
        at[i].f[0] = ((float)(i % WIDTH) + 0.5f) / WIDTH;
        at[i].f[1] = ((float)(i / WIDTH) + 0.5f) / HEIGHT;
        at[i].i[4] = i % 16 - 8;
        at[i].i[5] = 7 - i % 16;
    }
    go("offset", &t);
    for (int i = 0; i < THREADS; i++)
        NEAR((unsigned)i, value(&t, 0, i % WIDTH + i % 16 - 8, i / WIDTH + 7 - i % 16, 0));
    for (int i = 0; i < THREADS; i++) {
        at[i].f[0] = (float)(i % WIDTH) / WIDTH;
        at[i].f[1] = (float)(i / WIDTH) / HEIGHT;
    }
    go("gather_offset", &t);
    for (int i = 0; i < THREADS; i++) {
        long x = i % WIDTH + i % 16 - 8, y = i / WIDTH + 7 - i % 16;

        assert_true(result((unsigned)i, 0) == value(&t, 0, x - 1, y, 0));
        assert_true(result((unsigned)i, 1) == value(&t, 0, x, y, 0));
        assert_true(result((unsigned)i, 2) == value(&t, 0, x, y - 1, 0));
        assert_true(result((unsigned)i, 3) == value(&t, 0, x - 1, y - 1, 0));
    }
    /* Two channels are every second float. */
    t.layout = CUDA_TEXTURE_LAYERED;
    t.width = WIDTH / 2;
    t.channels = 2;
    at[9].f[0] = 4.0f / 8;
    at[9].f[1] = 3.0f / 8;
    at[9].i[3] = 2;
    go("gather_a2d", &t);
    assert_true(result(9, 0) == (double)plain[2 * WIDTH * HEIGHT + 3 * WIDTH + 3 * 2 + 1]);
    assert_true(result(9, 2) == (double)plain[2 * WIDTH * HEIGHT + 2 * WIDTH + 4 * 2 + 1]);
    t = texture(8, 8, 12);
    t.layout = CUDA_TEXTURE_LAYERED;
    middle(5, 0, 0, at[0].f);
    at[0].i[3] = 1;
    go("gather_acube", &t);
    assert_true(result(0, 0) == value(&t, 0, 3, 4, 11) && result(0, 1) == value(&t, 0, 4, 4, 11));
    assert_true(result(0, 2) == value(&t, 0, 4, 3, 11) && result(0, 3) == value(&t, 0, 3, 3, 11));
}

static void test_halves_samplers(void **state)
{
    const float border[4] = {-5, 0, 0, 0};
    struct cuda_texture t = texture(WIDTH, HEIGHT, 1), begun;
    uint64_t address, size;

    (void)state;
    t.flags = 0;
    at[0].f[0] = 3;
    at[0].f[1] = 2;
    /* 1.5 and 2049, which is rounded to even. */
    plain[2 * WIDTH + 3] = 1.5f;
    plain[2 * WIDTH + 4] = 2049;
    assert_int_equal(ptx_memory_write(run.context, texels, plain, sizeof(plain)), 0);
    at[1].f[0] = 4;
    at[1].f[1] = 2;
    go("half", &t);
    assert_int_equal(out[0][0], 0x3e00);
    assert_int_equal(out[0][1], 0x3c000000);
    assert_int_equal(out[1][0], 0x6800);
    go("pairs", &t);
    assert_int_equal(out[1][0], 0x6800);
    assert_int_equal(out[1][1], 0x3c000000);
    assert_int_equal(out[1][2], 1);
    /* The sampler says linear, mirror and border, of texels. */
    memcpy(t.border, border, sizeof(border));
    t.flags = CU_TRSF_NORMALIZED_COORDINATES;
    at[0].f[0] = 3;
    at[0].f[1] = 2;
    at[1].f[1] = -7;
    go("sampled", &t);
    NEAR(0, (value(&t, 0, 2, 1, 0) + value(&t, 0, 3, 1, 0) + value(&t, 0, 2, 2, 0) + 1.5) / 4);
    NEAR(1, 0); /* the border is the sampler's, too */
    at[0].f[0] = 3.5f / WIDTH;
    at[0].f[1] = 2.5f / HEIGHT;
    go("sampled_near", &t);
    NEAR(0, 1.5);
    go("ask_sampler", &t);
    assert_int_equal(out[0][0], 1);
    assert_int_equal(out[0][1], 1);
    assert_int_equal(out[0][2], 4);
    assert_int_equal(out[0][3], 1);
    t.modes[1] = CU_TR_ADDRESS_MODE_CLAMP;
    go("ask_more", &t);
    assert_int_equal(out[0][0], 0x10de);
    assert_int_equal(out[0][1], 0x10b0);
    assert_int_equal(out[0][2], 1);
    assert_int_equal(out[0][3], 3);
    /* What a reference begins with. */
    assert_int_equal(ptx_module_global(run.module, "begun", &address, &size), 0);
    assert_int_equal(ptx_memory_read(run.context, address, &begun, sizeof(begun)), 0);
    assert_int_equal(begun.magic, 0);
    assert_int_equal(begun.filter, CU_TR_FILTER_MODE_LINEAR);
    assert_int_equal(begun.modes[2], CU_TR_ADDRESS_MODE_CLAMP);
    assert_int_equal(begun.flags, CU_TRSF_NORMALIZED_COORDINATES);
    /* A texture is no sampler. */
    assert_int_equal(ptx_module_global(run.module, "nearest", &address, &size), 0);
    assert_int_equal(ptx_memory_write(run.context, address, &t, sizeof(t)), 0);
    assert_int_not_equal(try("sampled_near", &t), 0);
}

/* IEC 61966-2-1; the fourth channel is stored as it is. */
static void test_srgb(void **state)
{
    struct cuda_texture t = texture(WIDTH, HEIGHT, 1);
    uint8_t *bytes = (uint8_t *)plain;

    (void)state;
    for (unsigned i = 0; i < 256; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(ptx_memory_write(run.context, texels, plain, sizeof(plain)), 0);
    t.format = CU_AD_FORMAT_UNSIGNED_INT8;
    t.channels = 4;
    t.flags = CU_TRSF_SRGB;
    t.width = 64;
    t.pitch = 256;
    for (unsigned i = 0; i < THREADS; i++) {
        at[i].f[0] = (float)i;
        at[i].f[1] = 0;
    }
    go("base", &t);
    for (unsigned i = 0; i < 256; i++) {
        double v = i / 255.0;

        if (i % 4 < 3)
            v = v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
        if (fabs(result(i / 4, i % 4) - v) > 1e-6)
            fail_msg("%u: %g instead of %g", i, result(i / 4, i % 4), v);
    }
}

static void test_formatted(void **state)
{
    static const struct {
        uint32_t format;
        int32_t in[4], want[4];
    } rows[] = {
        {CU_AD_FORMAT_UNSIGNED_INT8, {1, 255, 256, -1}, {1, 255, 255, 255}},
        {CU_AD_FORMAT_SIGNED_INT8, {-1, 127, 128, -200}, {255, 127, 127, 128}},
        {CU_AD_FORMAT_UNSIGNED_INT16, {1, 65535, 65536, -1}, {1, 65535, 65535, 65535}},
        {CU_AD_FORMAT_SIGNED_INT16, {-2, 32768, -40000, 5}, {65534, 32767, 32768, 5}},
        {CU_AD_FORMAT_UNSIGNED_INT32, {1, -1, 70000, 0}, {1, -1, 70000, 0}},
        {CU_AD_FORMAT_SIGNED_INT32, {1, -1, 70000, 0}, {1, -1, 70000, 0}},
        {CU_AD_FORMAT_FLOAT, {0x3fc00000, 0, 1, 2}, {0x3fc00000, 0, 1, 2}},
        {CU_AD_FORMAT_HALF, {0x3fc00000, 0x47000000, 0, 0x7f800000}, {0x3e00, 0x7800, 0, 0x7c00}},
    };
    struct cuda_texture t = texture(WIDTH, HEIGHT, 2);

    (void)state;
    t.magic = CUDA_SURFACE_MAGIC;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t bytes = cuda_texture_bytes(rows[i].format);
        uint8_t back[16], want[16];

        t.format = rows[i].format;
        t.channels = 4;
        t.pitch = WIDTH * 16;
        memset(at, 0, sizeof(at));
        for (int n = 0; n < THREADS; n++) {
            memcpy(at[n].i, rows[i].in, sizeof(rows[i].in));
            at[n].i[4] = n ? 99 : 3; /* outside: nothing happens */
            at[n].i[5] = n ? -1 : 2;
        }
        go("store", &t);
        for (unsigned n = 0; n < 4; n++)
            memcpy(want + n * bytes, &rows[i].want[n], bytes);
        assert_int_equal(
            ptx_memory_read(run.context, texels + 2 * t.pitch + 3 * 4 * bytes, back, 4 * bytes), 0);
        if (memcmp(back, want, 4 * bytes))
            fail_msg("format %u", rows[i].format);
    }
    t.channels = 1;
    t.format = CU_AD_FORMAT_UNSIGNED_INT32;
    t.layout = CUDA_TEXTURE_LAYERED;
    t.slice = t.pitch * HEIGHT;
    for (int n = 0; n < THREADS; n++) {
        at[n].i[0] = n + 1;
        at[n].i[4] = n % WIDTH;
        at[n].i[5] = n / WIDTH;
        at[n].i[6] = 1;
    }
    go("store_layer", &t);
    for (unsigned n = 0; n < THREADS; n++) {
        uint32_t v;

        assert_int_equal(ptx_memory_read(run.context,
                                         texels + t.slice + n / WIDTH * t.pitch + n % WIDTH * 4, &v,
                                         4),
                         0);
        assert_int_equal(v, n + 1);
    }
    at[5].i[6] = 2;
    assert_int_not_equal(try("store_layer", &t), 0);
    go("ask_surface", &t);
    assert_int_equal(out[0][0], WIDTH);
    assert_int_equal(out[0][1], 0x10dc);
    assert_int_equal(out[0][2], 0);
    assert_int_equal(out[0][3], 2);
    t.layout = 0;
    for (int n = 0; n < THREADS; n++) {
        at[n].i[0] = 77;
        at[n].i[4] = 1000;
        at[n].i[5] = -3;
        at[n].i[6] = 1000;
    }
    go("store_one", &t);
    {
        uint32_t v;

        assert_int_equal(ptx_memory_read(run.context, texels + t.slice + (WIDTH - 1) * 4, &v, 4),
                         0);
        assert_int_equal(v, 77);
    }
}

static uint64_t word_at(uint64_t address, unsigned bytes)
{
    uint64_t v = 0;

    assert_int_equal(ptx_memory_read(run.context, address, &v, bytes), 0);
    return v;
}

static void test_reductions(void **state)
{
    static const uint8_t zero[4096];
    struct cuda_texture t = texture(WIDTH, HEIGHT, 2);

    (void)state;
    assert_int_equal(ptx_memory_write(run.context, texels, zero, sizeof(zero)), 0);
    t.magic = CUDA_SURFACE_MAGIC;
    t.format = CU_AD_FORMAT_SIGNED_INT32;
    memset(at, 0, sizeof(at));
    for (int n = 0; n < THREADS; n++) {
        at[n].i[0] = n;
        at[n].i[4] = n % 2 * 8;
        at[n].i[5] = 3;
    }
    go("add", &t);
    assert_int_equal(word_at(texels + 3 * t.pitch, 4), 31 * 32);
    assert_int_equal(word_at(texels + 3 * t.pitch + 8, 4), 32 * 32);
    at[7].i[4] = 2;
    assert_int_not_equal(try("add", &t), 0);
    assert_int_equal(run.result.fault, PTX_FAULT_MISALIGNED);
    at[7].i[4] = WIDTH * 4;
    assert_int_not_equal(try("add", &t), 0);
    /* By texels, signed as the surface is; outside the nearest. */
    for (int n = 0; n < THREADS; n++) {
        at[n].i[0] = -5 - n;
        at[n].i[4] = n % 2 ? 99 : 4;
        at[n].i[5] = 0;
    }
    assert_int_equal(ptx_memory_write(run.context, texels + 4 * 4, "\0\0\0\x80", 4), 0);
    go("most", &t);
    assert_int_equal((int32_t)word_at(texels + 16, 4), -5);
    assert_int_equal((int32_t)word_at(texels + (WIDTH - 1) * 4, 4), 0);
    t.format = CU_AD_FORMAT_UNSIGNED_INT32;
    go("most", &t);
    assert_int_equal((int32_t)word_at(texels + (WIDTH - 1) * 4, 4), -6);
    t.format = CU_AD_FORMAT_FLOAT;
    assert_int_not_equal(try("most", &t), 0);
    for (int n = 0; n < THREADS; n++) {
        at[n].i[0] = 1 << n % 20;
        at[n].i[4] = n % 2 ? 32 : -4; /* outside: nothing */
    }
    go("bits", &t);
    assert_int_equal(word_at(texels + 32, 4), 0xaaaaa);
    for (int n = 0; n < THREADS; n++) {
        at[n].i[0] = -n;
        at[n].i[4] = 16;
        at[n].i[5] = 2;
        at[n].i[6] = 1;
    }
    go("wide", &t);
    assert_int_equal((int64_t)word_at(texels + t.slice + 2 * t.pitch + 16, 8), -63);
}

static void test_refused(void **state)
{
    static const char *const wrong[] = {
        "tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, {%f0, %f1}], %f1;", /* depth */
        "tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, {%f0, %f1}], {%r0, %r1}, %f1;",
        "tex.cube.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, {%f0, %f1, %f2, %f3}], {%r0, %r1, %r2};",
        "tex.cube.v4.f32.s32 {%f0, %f1, %f2, %f3}, [%d0, {%r0, %r1, %r2, %r3}];",
        "tex.acube.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, {%f0, %f1, %f2, %f3}, %f0];",
        "tex.2dms.v4.f32.s32 {%f0, %f1, %f2, %f3}, [%d0, {%r0, %r1, %r2, %r3}];",
        "tex.2d.v4.f16x2.f32 {%r0, %r1, %r2, %r3}, [%d0, {%f0, %f1}];",
        "tex.2d.v2.f16.f32 {%h0, %h1}, [%d0, {%f0, %f1}];",
        "tex.level.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, {%f0, %f1}];",
        "tex.grad.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, {%f0, %f1}], {%f0, %f1}, {%f0};",
        "tld4.r.3d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, {%f0, %f1, %f2, %f3}];",
        "tld4.r.2d.v4.f16.f32 {%h0, %h1, %h2, %h3}, [%d0, {%f0, %f1}];",
        "sust.p.2d.v4.b16.trap [%d0, {%r0, %r1}], {%h0, %h1, %h2, %h3};",
        "sured.b.add.2d.b32.trap [%d0, {%r0, %r1}], %r0;",
        "sured.b.and.2d.u32.trap [%d0, {%r0, %r1}], %r0;",
        "sured.b.add.a2d.u32.trap [%d0, {%r0, %r1, %r2, %r3}], %r0;",
        "sured.p.add.2d.u32.trap [%d0, {%r0, %r1}], %r0;",
        "sured.b.xor.2d.b32.trap [%d0, {%r0, %r1}], %r0;",
        "txq.level.array_size.b32 %r0, [%d0], %r1;",
        "txq.memory_layout.b32 %r0, [%d0];",
        "suq.filter_mode.b32 %r0, [%d0];",
    };
    static const char *const heads[] = {
        ".global .samplerref s = { colour = 1 };",
        ".global .samplerref s = { width = 1 };",
        ".global .samplerref s = { filter_mode = 2 };",
        ".global .samplerref s = { addr_mode_3 = wrap };",
        ".global .texref s = { force_unnormalized_coords = 1 };",
        ".global .texref s[2] = { filter_mode = linear };",
        ".global .surfref s = { filter_mode = linear };",
        ".global .texref s = 5;",
    };
    struct ptx_options options = {.threads = 1};
    struct ptx_context *context;
    struct ptx_module *module;
    char all[512], log[256];
    int n;

    (void)state;
    assert_int_equal(ptx_context_create(&options, &context), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        n = snprintf(all, sizeof(all),
                     PTX_HEAD ".entry k()\n{ .reg .b32 %%r<4>; .reg .b64 %%d<4>; "
                              ".reg .f32 %%f<4>; .reg .b16 %%h<4>;\n%s\nret; }\n",
                     wrong[i]);
        if (!ptx_module_create(context, all, (size_t)n, log, sizeof(log), &module))
            fail_msg("This was taken: %s", wrong[i]);
    }
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        n = snprintf(all, sizeof(all), PTX_HEAD "%s\n.entry k() { ret; }\n", heads[i]);
        if (!ptx_module_create(context, all, (size_t)n, log, sizeof(log), &module))
            fail_msg("This was taken: %s", heads[i]);
    }
    ptx_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),          cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_gradients),       cmocka_unit_test(test_cubes),
        cmocka_unit_test(test_seamless),        cmocka_unit_test(test_offsets_gathers),
        cmocka_unit_test(test_halves_samplers), cmocka_unit_test(test_srgb),
        cmocka_unit_test(test_formatted),       cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests_name("ptx_sampling", tests, setup, teardown);
}
