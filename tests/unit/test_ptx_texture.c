/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ptx_fixture.h"

#include <compute/cuda/texture.h>

/*
 * Textures and surfaces of the executor, against plain C: each format, address mode, filter and
 * kind of coordinates, over coordinates within and outside. The descriptors are written by hand, as
 * libcuda writes them; and as it does not.
 */

#define THREADS 64
#define WIDTH   8
#define HEIGHT  4
#define DEPTH   2

/* Coordinates in %f0 to %f3, words in and out in %r0 to %r3. */
static const char head[] = PTX_HEAD ".global .texref reference;\n";
static const char kernel_text[] =
    ".visible .entry %s(.param .u64 t, .param .u64 in, .param .u64 out)\n{\n"
    ".reg .b32 %%r<8>; .reg .b64 %%d<8>; .reg .f32 %%f<8>; .reg .b16 %%h<4>;\n"
    "ld.param.u64 %%d0, [t]; ld.param.u64 %%d1, [in]; ld.param.u64 %%d2, [out];\n"
    "mov.u32 %%r4, %%tid.x; mul.wide.u32 %%d3, %%r4, 16; add.s64 %%d1, %%d1, %%d3;\n"
    "add.s64 %%d2, %%d2, %%d3; ld.global.v4.f32 {%%f0, %%f1, %%f2, %%f3}, [%%d1];\n"
    "ld.global.v4.u32 {%%r0, %%r1, %%r2, %%r3}, [%%d2]; ld.global.u32 %%r5, [%%d1+12];\n%s"
    "st.global.v4.u32 [%%d2], {%%r0, %%r1, %%r2, %%r3};\nret; }\n";
static const struct {
    const char *name, *code;
} kernels[] = {
    {"k1d", "tex.1d.v4.u32.f32 {%r0, %r1, %r2, %r3}, [%d0, {%f0}];\n"},
    {"k2d", "tex.2d.v4.u32.f32 {%r0, %r1, %r2, %r3}, [%d0, {%f0, %f1}];\n"},
    {"k3d", "tex.3d.v4.u32.f32 {%r0, %r1, %r2, %r3}, [%d0, {%f0, %f1, %f2, %f2}];\n"},
    {"ka2d", "tex.a2d.v4.u32.f32 {%r0, %r1, %r2, %r3}, [%d0, {%r5, %f0, %f1, %f1}];\n"},
    {"klevel", "tex.level.2d.v4.u32.f32 {%r0, %r1, %r2, %r3}, [%d0, {%f0, %f1}], %f3;\n"},
    {"kfetch", "cvt.rzi.s32.f32 %r6, %f0;\n"
               "tex.1d.v4.u32.s32 {%r0, %r1, %r2, %r3}, [%d0, {%r6}];\n"},
    {"kgather", "tld4.r.2d.v4.u32.f32 {%r0, %r1, %r2, %r3}, [%d0, {%f0, %f1}];\n"},
    {"kname", "tex.2d.v4.u32.f32 {%r0, %r1, %r2, %r3}, [reference, {%f0, %f1}];\n"},
    {"kcube", "tex.cube.v4.u32.f32 {%r0, %r1, %r2, %r3}, [%d0, {%f0, %f1, %f2, %f2}];\n"},
    {"kquery", "txq.width.b32 %r0, [%d0]; txq.height.b32 %r1, [%d0];\n"
               "txq.depth.b32 %r2, [%d0]; txq.array_size.b32 %r3, [%d0];\n"},
    {"kload_trap", "suld.b.2d.b32.trap {%r0}, [%d0, {%r0, %r1}];\n"},
    {"kload_clamp", "suld.b.2d.v2.b16.clamp {%h0, %h1}, [%d0, {%r0, %r1}];\n"
                    "cvt.u32.u16 %r0, %h0; cvt.u32.u16 %r1, %h1;\n"},
    {"kload_zero", "suld.b.2d.b64.zero {%d4}, [%d0, {%r0, %r1}];\n"
                   "mov.b64 {%r0, %r1}, %d4;\n"},
    {"kstore", "sust.b.3d.v2.b32.zero [%d0, {%r0, %r1, %r2, %r2}], {%r3, %r4};\n"},
    {"kstore_byte", "cvt.u16.u32 %h0, %r3;\n"
                    "sust.b.a2d.b8.trap [%d0, {%r2, %r0, %r1, %r1}], {%h0};\n"},
};

struct parameters {
    uint64_t texture, in, out;
};

static struct ptx_run run;
static struct parameters parameters;
static uint64_t texels;
static uint8_t plain[DEPTH * HEIGHT * WIDTH * 16 * 8];
static float at[THREADS][4]; /* coordinates; the layer as an integer */

static int setup(void **state)
{
    static char text[32768];
    size_t used = (size_t)snprintf(text, sizeof(text), "%s", head);

    (void)state;
    for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, kernel_text, kernels[i].name,
                                 kernels[i].code);
    ptx_open(&run, text, "k1d");
    parameters.texture = ptx_buffer(&run, NULL, CUDA_TEXTURE_BYTES);
    parameters.in = ptx_buffer(&run, NULL, sizeof(at));
    parameters.out = ptx_buffer(&run, NULL, sizeof(at));
    texels = ptx_buffer(&run, NULL, sizeof(plain));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ptx_close(&run);
    return 0;
}

static uint32_t bits_of(float v)
{
    uint32_t bits;

    memcpy(&bits, &v, 4);
    return bits;
}

static float float_of(uint32_t bits)
{
    float v;

    memcpy(&v, &bits, 4);
    return v;
}

static int go(const char *kernel, const struct cuda_texture *t, uint32_t (*out)[4])
{
    int err;

    assert_int_equal(ptx_module_kernel(run.module, kernel, &run.kernel), 0);
    assert_int_equal(ptx_memory_write(run.context, parameters.texture, t, sizeof(*t)), 0);
    assert_int_equal(ptx_memory_write(run.context, parameters.in, at, sizeof(at)), 0);
    assert_int_equal(ptx_memory_write(run.context, parameters.out, out, sizeof(at)), 0);
    err = ptx_go(&run, 1, THREADS, &parameters, sizeof(parameters));
    assert_int_equal(ptx_memory_read(run.context, parameters.out, out, sizeof(at)), 0);
    return err;
}

static struct cuda_texture texture(uint32_t format, uint32_t channels)
{
    uint32_t texel = cuda_texture_bytes(format) * channels;

    return (struct cuda_texture){
        .magic = CUDA_TEXTURE_MAGIC,
        .address = texels,
        .pitch = WIDTH * texel + 16, /* so that the pitch counts */
        .slice = (WIDTH * texel + 16) * HEIGHT,
        .width = WIDTH,
        .height = HEIGHT,
        .depth = DEPTH,
        .format = format,
        .channels = channels,
        .modes = {CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP},
        .border = {0.25f, 0.5f, 0.75f, 1},
    };
}

/* Texels of a format; floats are whole numbers, so that what filters make of them is exact. */
static void fill(uint32_t format)
{
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)(i * 37 + i / 11);
    for (size_t i = 0; format == CU_AD_FORMAT_FLOAT && i < sizeof(plain); i += 4) {
        float v = (float)((int)(i * 7 % 512) - 256);

        memcpy(plain + i, &v, 4);
    }
    for (size_t i = 0; format == CU_AD_FORMAT_HALF && i < sizeof(plain); i += 2) {
        /* 1.mm × 2^e, with a sign */
        uint16_t v = (uint16_t)((i & 2) << 14 | (uint16_t)(15 + i % 5) << 10 | (i & 3) << 8);

        memcpy(plain + i, &v, 2);
    }
    assert_int_equal(ptx_memory_write(run.context, texels, plain, sizeof(plain)), 0);
}

/* The reference. A channel of a texel as a number. */
static double number(const struct cuda_texture *t, long x, long y, long z, uint32_t c)
{
    const uint8_t *p = plain + z * (long)t->slice + y * (long)t->pitch +
                       (x * (long)t->channels + c) * (long)cuda_texture_bytes(t->format);
    bool scale = !(t->flags & CU_TRSF_READ_AS_INTEGER);
    int16_t s16;
    uint16_t u16;
    float f;

    memcpy(&s16, p, 2);
    memcpy(&u16, p, 2);
    switch (t->format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
        return scale ? *p / 255.0 : *p;
    case CU_AD_FORMAT_SIGNED_INT8:
        return scale ? fmax((int8_t)*p / 127.0, -1) : (int8_t)*p;
    case CU_AD_FORMAT_UNSIGNED_INT16:
        return scale ? u16 / 65535.0 : u16;
    case CU_AD_FORMAT_SIGNED_INT16:
        return scale ? fmax(s16 / 32767.0, -1) : s16;
    case CU_AD_FORMAT_HALF:
        return (u16 & 0x8000 ? -1 : 1) * ldexp(1 + (u16 & 0x3ff) / 1024.0, (u16 >> 10 & 31) - 15);
    case CU_AD_FORMAT_FLOAT:
        memcpy(&f, p, 4);
        return (double)f;
    default: {
        int32_t s32;

        memcpy(&s32, p, 4);
        return t->format == CU_AD_FORMAT_SIGNED_INT32 ? s32 : (double)(uint32_t)s32;
    }
    }
}

static bool is_float(const struct cuda_texture *t)
{
    return t->format == CU_AD_FORMAT_FLOAT || t->format == CU_AD_FORMAT_HALF ||
           (t->format != CU_AD_FORMAT_SIGNED_INT32 && t->format != CU_AD_FORMAT_UNSIGNED_INT32 &&
            !(t->flags & CU_TRSF_READ_AS_INTEGER));
}

/* Into 0 to n - 1; -1: border. */
static long place(long i, long n, uint32_t mode, bool normalized)
{
    if (mode == CU_TR_ADDRESS_MODE_BORDER)
        return i < 0 || i >= n ? -1 : i;
    if (normalized && mode == CU_TR_ADDRESS_MODE_WRAP) {
        while (i < 0)
            i += n;
        while (i >= n)
            i -= n;
    }
    while (normalized && mode == CU_TR_ADDRESS_MODE_MIRROR && (i < 0 || i >= n))
        i = i < 0 ? -1 - i : 2 * n - 1 - i;
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static double expected(const struct cuda_texture *t, unsigned dimensions, bool layered,
                       const float *c, uint32_t channel)
{
    const long n[3] = {WIDTH, HEIGHT, DEPTH};
    bool normalized = t->flags & CU_TRSF_NORMALIZED_COORDINATES;
    bool linear = t->filter && is_float(t);
    double weights[3] = {0}, sum = 0;
    long first[3] = {0};

    for (unsigned i = 0; i < dimensions; i++) {
        double x = (double)c[i] * (normalized ? (double)n[i] : 1) - (linear ? 0.5 : 0);

        first[i] = (long)floor(x);
        weights[i] = linear ? floor((x - floor(x)) * 256 + 0.5) / 256 : 0;
    }
    for (unsigned corner = 0; corner < 8; corner++) {
        double weight = 1;
        bool border = false;
        long p[3] = {0};

        for (unsigned i = 0; i < dimensions; i++) {
            p[i] = place(first[i] + (corner >> i & 1), n[i], t->modes[i], normalized);
            border |= p[i] < 0;
        }
        for (unsigned i = 0; i < 3; i++)
            weight *= corner >> i & 1 ? weights[i] : 1 - weights[i];
        if (layered)
            p[2] = bits_of(c[3]) < DEPTH ? (long)bits_of(c[3]) : DEPTH - 1;
        sum += weight * (border                  ? (double)t->border[channel]
                         : channel < t->channels ? number(t, p[0], p[1], p[2], channel)
                                                 : channel == 3);
    }
    return sum;
}

static void scatter(const struct cuda_texture *t, unsigned seed)
{
    const float n[3] = {WIDTH, HEIGHT, DEPTH};

    for (unsigned i = 0; i < THREADS; i++) {
        for (unsigned d = 0; d < 3; d++) {
            uint32_t r = (i * 7919 + d * 104729 + seed * 613) % 5003;

            /* From -2n to 3n, in steps of 1/1024, at times whole ones. */
            at[i][d] = (float)r / 5003 * 5 * n[d] - 2 * n[d];
            at[i][d] = i % 4 ? floorf(at[i][d] * 1024) / 1024 : floorf(at[i][d]);
            if (t->flags & CU_TRSF_NORMALIZED_COORDINATES)
                at[i][d] /= n[d];
        }
        at[i][3] = float_of(i % 5);
    }
}

static void compare(const char *kernel, unsigned dimensions, bool layered,
                    const struct cuda_texture *t, unsigned seed)
{
    uint32_t out[THREADS][4] = {{0}};

    scatter(t, seed);
    if (go(kernel, t, out))
        fail_msg("%s: %s", kernel, run.result.text);
    for (unsigned i = 0; i < THREADS; i++)
        for (uint32_t c = 0; c < 4; c++) {
            double want = expected(t, dimensions, layered, at[i], c);
            double got = is_float(t)     ? (double)float_of(out[i][c])
                         : t->format & 8 ? (double)(int32_t)out[i][c]
                                         : (double)out[i][c];

            /* In integers, the border is its bits. */
            if (!is_float(t) && out[i][c] == bits_of(t->border[c]) && want == (double)t->border[c])
                continue;
            if (fabs(got - want) > 2e-7 * fmax(1, fabs(want)))
                fail_msg("%s, format %u, %u channels, flags %u, mode %u, filter %u: texel "
                         "%u.%u at %g, %g, %g is %g instead of %g",
                         kernel, t->format, t->channels, t->flags, t->modes[0], t->filter, i, c,
                         (double)at[i][0], (double)at[i][1], (double)at[i][2], got, want);
        }
}

static void test_formats(void **state)
{
    static const uint32_t formats[] = {CU_AD_FORMAT_UNSIGNED_INT8,  CU_AD_FORMAT_SIGNED_INT8,
                                       CU_AD_FORMAT_UNSIGNED_INT16, CU_AD_FORMAT_SIGNED_INT16,
                                       CU_AD_FORMAT_UNSIGNED_INT32, CU_AD_FORMAT_SIGNED_INT32,
                                       CU_AD_FORMAT_HALF,           CU_AD_FORMAT_FLOAT};
    static const struct {
        const char *kernel;
        unsigned dimensions;
        bool layered;
    } geometries[] = {{"k1d", 1, false},
                      {"k2d", 2, false},
                      {"k3d", 3, false},
                      {"ka2d", 2, true},
                      {"klevel", 2, false}};
    unsigned seed = 0;

    (void)state;
    for (size_t f = 0; f < sizeof(formats) / sizeof(formats[0]); f++) {
        fill(formats[f]);
        /* All flags, modes and filters; channels and geometries take turns. */
        for (uint32_t i = 0; i < 4 * 4 * 2; i++, seed++) {
            struct cuda_texture t = texture(formats[f], 1u << seed % 3);
            size_t k = (seed + seed / 5) % (sizeof(geometries) / sizeof(geometries[0]));

            t.flags = i & 3;
            t.modes[0] = i >> 2 & 3;
            t.modes[1] = (t.modes[0] + seed) & 3;
            t.modes[2] = (t.modes[0] + seed / 2) & 3;
            t.filter = i >> 4;
            if (geometries[k].layered)
                t.layout = CUDA_TEXTURE_LAYERED;
            compare(geometries[k].kernel, geometries[k].dimensions, geometries[k].layered, &t,
                    seed);
        }
    }
}

/* Memory of one dimension, by integers: outside lies zero. */
static void test_linear_memory(void **state)
{
    struct cuda_texture t = texture(CU_AD_FORMAT_SIGNED_INT16, 2);
    uint32_t out[THREADS][4] = {{0}};

    (void)state;
    fill(t.format);
    t.layout = CUDA_TEXTURE_LINEAR;
    t.flags = CU_TRSF_READ_AS_INTEGER;
    t.width = 40;
    t.height = t.depth = 1;
    for (unsigned i = 0; i < THREADS; i++)
        at[i][0] = (float)i - 8;
    assert_int_equal(go("kfetch", &t, out), 0);
    for (long i = 0; i < THREADS; i++)
        for (uint32_t c = 0; c < 2; c++)
            assert_int_equal((int32_t)out[i][c],
                             i < 8 || i >= 48 ? 0 : (int)number(&t, i - 8, 0, 0, c));
}

static void test_gather_cube_query(void **state)
{
    struct cuda_texture t = texture(CU_AD_FORMAT_FLOAT, 1);
    uint32_t out[THREADS][4] = {{0}};
    uint64_t reference, size;
    static const float faces[6][3] = {{1, 0, 0},  {-1, 0, 0}, {0, 1, 0},
                                      {0, -1, 0}, {0, 0, 1},  {0, 0, -1}};

    (void)state;
    fill(t.format);
    for (unsigned i = 0; i < THREADS; i++) {
        at[i][0] = 3;
        at[i][1] = 2;
    }
    assert_int_equal(go("kgather", &t, out), 0);
    assert_true((double)float_of(out[0][0]) == number(&t, 2, 2, 0, 0));
    assert_true((double)float_of(out[0][1]) == number(&t, 3, 2, 0, 0));
    assert_true((double)float_of(out[0][2]) == number(&t, 3, 1, 0, 0));
    assert_true((double)float_of(out[0][3]) == number(&t, 2, 1, 0, 0));
    assert_int_equal(go("kquery", &t, out), 0);
    assert_int_equal(out[5][0], WIDTH);
    assert_int_equal(out[5][1], HEIGHT);
    assert_int_equal(out[5][2], DEPTH);
    assert_int_equal(out[5][3], 1);
    /* Six faces of 4 × 4; the middle of one is its texel 2, 2. */
    t.width = t.height = 4;
    t.depth = 6;
    t.slice = t.pitch * 4;
    t.layout = CUDA_TEXTURE_LAYERED;
    for (unsigned i = 0; i < THREADS; i++)
        memcpy(at[i], faces[i % 6], sizeof(faces[0]));
    assert_int_equal(go("kcube", &t, out), 0);
    for (unsigned i = 0; i < 6; i++)
        assert_true((double)float_of(out[i][0]) == number(&t, 2, 2, (long)i, 0));
    /* By the name of a variable, whose address is the handle. */
    t = texture(CU_AD_FORMAT_FLOAT, 1);
    assert_int_equal(ptx_module_global(run.module, "reference", &reference, &size), 0);
    assert_int_equal(size, CUDA_TEXTURE_BYTES);
    assert_int_equal(ptx_memory_write(run.context, reference, &t, sizeof(t)), 0);
    at[7][0] = 5;
    at[7][1] = 3;
    assert_int_equal(go("kname", &t, out), 0);
    assert_true((double)float_of(out[7][0]) == number(&t, 5, 3, 0, 0));
}

static void test_surfaces(void **state)
{
    struct cuda_texture t = texture(CU_AD_FORMAT_UNSIGNED_INT32, 1);
    uint32_t out[THREADS][4] = {{0}}, word;
    uint8_t byte;

    (void)state;
    fill(t.format);
    t.magic = CUDA_SURFACE_MAGIC;
    for (uint32_t i = 0; i < THREADS; i++) {
        out[i][0] = i % WIDTH * 4;
        out[i][1] = i / WIDTH % HEIGHT;
    }
    assert_int_equal(go("kload_trap", &t, out), 0);
    memcpy(&word, plain + 2 * t.pitch + 3 * 4, 4);
    assert_int_equal(out[2 * WIDTH + 3][0], word);
    /* Outside: an error, the nearest, zero, nothing. */
    for (uint32_t i = 0; i < THREADS; i++) {
        out[i][0] = i == 1 ? (uint32_t)-4 : WIDTH * 4;
        out[i][1] = 9;
    }
    assert_int_not_equal(go("kload_trap", &t, out), 0);
    assert_int_equal(run.result.fault, PTX_FAULT_ADDRESS);
    assert_int_equal(go("kload_clamp", &t, out), 0);
    memcpy(&word, plain + 3 * t.pitch + 7 * 4, 4);
    assert_int_equal(out[0][0] | out[0][1] << 16, word);
    memcpy(&word, plain + 3 * t.pitch, 4);
    assert_int_equal(out[1][0] | out[1][1] << 16, word);
    out[0][0] = WIDTH * 4 - 8; /* one that is inside */
    out[0][1] = 1;
    out[2][0] = WIDTH * 4;
    out[1][0] = 0;
    out[1][1] = 4;
    for (uint32_t i = 3; i < THREADS; i++)
        out[i][0] = 0;
    assert_int_equal(go("kload_zero", &t, out), 0);
    assert_memory_equal(out[0], plain + t.pitch + (WIDTH - 2) * 4, 8);
    assert_int_equal(out[2][0] | out[2][1] | out[1][0], 0);
    out[0][0] = 2; /* no multiple of what is read */
    assert_int_not_equal(go("kload_trap", &t, out), 0);
    assert_int_equal(run.result.fault, PTX_FAULT_MISALIGNED);
    memset(out, 0, sizeof(out));
    for (uint32_t i = 0; i < THREADS; i++) {
        out[i][0] = i == 6 ? 8 : i ? 1 << 20 : 16;
        out[i][1] = i == 6 ? HEIGHT : 1;
        out[i][2] = 1;
        out[i][3] = 0xabcd0000 + i;
    }
    assert_int_equal(go("kstore", &t, out), 0);
    assert_int_equal(ptx_memory_read(run.context, texels + t.slice + t.pitch + 16, &word, 4), 0);
    assert_int_equal(word, 0xabcd0000);
    t.layout = CUDA_TEXTURE_LAYERED;
    for (uint32_t i = 0; i < THREADS; i++) {
        out[i][0] = i % 32;
        out[i][1] = i / 32;
        out[i][2] = 1;
        out[i][3] = i + 1;
    }
    assert_int_equal(go("kstore_byte", &t, out), 0);
    assert_int_equal(ptx_memory_read(run.context, texels + t.slice + t.pitch + 7, &byte, 1), 0);
    assert_int_equal(byte, 40);
}

/* Handles and descriptors that are wrong poison the launch, and nothing else. */
static void test_hostile(void **state)
{
    static const struct {
        const char *what;
        size_t offset;
        uint32_t value;
    } changes[] = {
        {"magic", offsetof(struct cuda_texture, magic), CUDA_SURFACE_MAGIC},
        {"address", offsetof(struct cuda_texture, address), 12345},
        {"address", offsetof(struct cuda_texture, address) + 4, 1u << 8},
        {"pitch", offsetof(struct cuda_texture, pitch) + 4, 0x7fffffff},
        {"width", offsetof(struct cuda_texture, width), 0},
        {"width", offsetof(struct cuda_texture, width), 0x7fffffff},
        {"width", offsetof(struct cuda_texture, width), 0xffffffff},
        {"height", offsetof(struct cuda_texture, height), 0},
        {"depth", offsetof(struct cuda_texture, depth), 0x80000000},
        {"format", offsetof(struct cuda_texture, format), 0xc0},
        {"channels", offsetof(struct cuda_texture, channels), 3},
        {"channels", offsetof(struct cuda_texture, channels), 0x40000000},
        {"mode", offsetof(struct cuda_texture, modes), 4},
        {"filter", offsetof(struct cuda_texture, filter), 2},
    };
    struct cuda_texture good = texture(CU_AD_FORMAT_FLOAT, 4);
    uint32_t out[THREADS][4] = {{0}};
    struct parameters kept = parameters;

    (void)state;
    fill(good.format);
    for (unsigned i = 0; i < THREADS; i++)
        at[i][0] = at[i][1] = 1e30f; /* the last texel */
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct cuda_texture t = good;

        memcpy((char *)&t + changes[i].offset, &changes[i].value, 4);
        if (!go("k2d", &t, out))
            fail_msg("A wrong %s (%#x) was taken", changes[i].what, changes[i].value);
        assert_int_equal(run.result.fault, PTX_FAULT_ADDRESS);
    }
    parameters.texture = 0;
    assert_int_not_equal(ptx_go(&run, 1, 1, &parameters, sizeof(parameters)), 0);
    parameters.texture = kept.texture + 64; /* does not end inside */
    assert_int_not_equal(ptx_go(&run, 1, 1, &parameters, sizeof(parameters)), 0);
    parameters = kept;
    for (unsigned i = 0; i < THREADS; i++) {
        at[i][0] = i % 3 ? NAN : i % 2 ? INFINITY : -INFINITY;
        at[i][1] = i % 2 ? -NAN : 1e38f;
    }
    good.filter = 1;
    for (uint32_t i = 0; i < 8; i++) {
        good.modes[0] = good.modes[1] = i & 3;
        good.flags = i & 4 ? CU_TRSF_NORMALIZED_COORDINATES : 0;
        assert_int_equal(go("k2d", &good, out), 0);
    }
}

static void test_refused(void **state)
{
    static const char *const wrong[] = {
        "tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, {%f0}];",
        "tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, %d0, %d0, {%f0, %f1}];",
        "tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, %r0, {%f0, %f1}];",
        "tex.2d.v4.f32.f32 {%f0, %f1, %f2}, [%d0, {%f0, %f1}];",
        "tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%f0, {%f0, %f1}];",
        "tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0+8, {%f0, %f1}];",
        "tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0];",
        "tex.2d.v2.f32.f32 {%f0, %f1}, [%d0, {%f0, %f1}];",
        "tex.5d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, {%f0, %f1}];",
        "tex;",
        "tld4.x.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, {%f0, %f1}];",
        "suld.b.2d.v4.b64.trap {%d0, %d1, %d2, %d3}, [%d0, {%r0, %r1}];",
        "suld.b.2d.b32.none {%r0}, [%d0, {%r0, %r1}];",
        "suld.p.2d.b32.trap {%r0}, [%d0, {%r0, %r1}];",
        "sust.b.2d.b32.trap [%d0, {%r0, %r1}], {%r0, %r1};",
        "sust.b.1d.b64.trap [%d0, {%r0}], {%r0};",
        "txq.colour.b32 %r0, [%d0];",
    };
    struct ptx_context *context;
    struct ptx_options options = {.threads = 1};

    (void)state;
    assert_int_equal(ptx_context_create(&options, &context), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct ptx_module *module;
        char all[512], log[256];
        int n = snprintf(all, sizeof(all),
                         PTX_HEAD ".entry k()\n{ .reg .b32 %%r<4>; .reg .b64 %%d<4>; "
                                  ".reg .f32 %%f<4>;\n%s\nret; }\n",
                         wrong[i]);

        if (!ptx_module_create(context, all, (size_t)n, log, sizeof(log), &module))
            fail_msg("This was taken: %s", wrong[i]);
    }
    ptx_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),           cmocka_unit_test(test_linear_memory),
        cmocka_unit_test(test_gather_cube_query), cmocka_unit_test(test_surfaces),
        cmocka_unit_test(test_hostile),           cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests_name("ptx_texture", tests, setup, teardown);
}
