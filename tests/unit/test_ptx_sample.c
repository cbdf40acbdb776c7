/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ptx_fixture.h"

#include <compute/cuda/texture.h>

/*
 * Fetches of 32 lanes at once (sample.c) against those of one lane at a time (texture.c), which an
 * offset of nothing leads to: all bits of all kinds of textures, at places that are drawn. What is
 * right is in test_ptx_texture.c and test_ptx_sampling.c.
 */

#define THREADS 64
#define TRIES   150
#define TEXELS  4096 /* bytes */

#define QUICK "{%%r0, %%r1, %%r2, %%r3}"
#define SLOW  "{%%r4, %%r5, %%r6, %%r7}"

static const char head[] = PTX_HEAD
    ".visible .entry %s(.param .u64 t, .param .u64 in, .param .u64 out)\n{\n"
    ".reg .b32 %%r<12>; .reg .b64 %%d<8>; .reg .f32 %%f<4>; .reg .b32 %%i<8>; .reg .pred %%p;\n"
    "ld.param.u64 %%d0, [t]; ld.param.u64 %%d1, [in]; ld.param.u64 %%d2, [out];\n"
    "mov.u32 %%r8, %%tid.x; mul.wide.u32 %%d3, %%r8, 32; add.s64 %%d1, %%d1, %%d3;\n"
    "add.s64 %%d2, %%d2, %%d3; mov.u32 %%i4, 0;\n"
    "ld.global.v4.f32 {%%f0, %%f1, %%f2, %%f3}, [%%d1];\n"
    "ld.global.v4.u32 {%%i0, %%i1, %%i2, %%i3}, [%%d1];\n"
    "mov.u32 %%r0, 7; mov.u32 %%r1, 7; mov.u32 %%r2, 7; mov.u32 %%r3, 7;\n"
    "mov.u32 %%r4, 7; mov.u32 %%r5, 7; mov.u32 %%r6, 7; mov.u32 %%r7, 7;\n"
    /* Lanes that are told to. */
    "ld.global.u32 %%r9, [%%d1+16]; setp.ne.u32 %%p, %%r9, 0; @!%%p bra done;\n"
    "%s%sdone:\n"
    "st.global.v4.u32 [%%d2], {%%r0, %%r1, %%r2, %%r3};\n"
    "st.global.v4.u32 [%%d2+16], {%%r4, %%r5, %%r6, %%r7};\nret; }\n";

/* A geometry, its coordinates, and offsets of nothing. */
static const struct kind {
    const char *name, *geometry, *at, *offset;
    bool integer, layered;
    unsigned dimensions;
} kinds[] = {
    {"f1", "1d.v4.u32.f32", "{%f0}", "{%i4}", false, false, 1},
    {"f2", "2d.v4.u32.f32", "{%f0, %f1}", "{%i4, %i4}", false, false, 2},
    {"f3", "3d.v4.u32.f32", "{%f0, %f1, %f2, %f2}", "{%i4, %i4, %i4, %i4}", false, false, 3},
    {"fa1", "a1d.v4.u32.f32", "{%i3, %f0}", "{%i4}", false, true, 1},
    {"fa2", "a2d.v4.u32.f32", "{%i3, %f0, %f1, %f1}", "{%i4, %i4}", false, true, 2},
    {"i1", "1d.v4.u32.s32", "{%i0}", "{%i4}", true, false, 1},
    {"i2", "2d.v4.u32.s32", "{%i0, %i1}", "{%i4, %i4}", true, false, 2},
    {"i3", "3d.v4.u32.s32", "{%i0, %i1, %i2, %i2}", "{%i4, %i4, %i4, %i4}", true, false, 3},
};

static const uint32_t formats[] = {
    CU_AD_FORMAT_UNSIGNED_INT8, CU_AD_FORMAT_SIGNED_INT8,    CU_AD_FORMAT_UNSIGNED_INT16,
    CU_AD_FORMAT_SIGNED_INT16,  CU_AD_FORMAT_UNSIGNED_INT32, CU_AD_FORMAT_SIGNED_INT32,
    CU_AD_FORMAT_HALF,          CU_AD_FORMAT_FLOAT,
};

static uint64_t seed = 12345;

static uint32_t draw(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static float draw_place(const struct cuda_texture *t, uint32_t size)
{
    static const float odd[] = {INFINITY, -INFINITY, NAN,     1e30f,  -1e30f,  0x1p30f,
                                0x1p31f,  -0x1p31f,  0x1p41f, 1e-30f, -1e-30f, 0};
    float v;

    switch (draw(8)) {
    case 0:
        return odd[draw(sizeof(odd) / sizeof(odd[0]))];
    case 1: /* centres and edges of texels */
        v = (float)((int)draw(6 * size + 6) - 2 * (int)size) / 2;
        break;
    default:
        v = ((float)draw(1 << 20) / (1 << 18) - 1.5f) * (float)size;
    }
    return t->flags & CU_TRSF_NORMALIZED_COORDINATES ? v / (float)size : v;
}

static int32_t draw_number(uint32_t size)
{
    static const int32_t odd[] = {INT32_MAX, INT32_MIN, -1, 0};

    return draw(8) ? (int32_t)draw(3 * size) - (int32_t)size : odd[draw(4)];
}

static void draw_texture(const struct kind *kind, uint64_t memory, struct cuda_texture *t)
{
    static const uint32_t channels[] = {1, 2, 4};
    uint32_t format = formats[draw(8)], most = kind->dimensions == 3 ? 5 : 9;

    *t = (struct cuda_texture){
        .magic = CUDA_TEXTURE_MAGIC,
        .address = memory,
        .width = 1 + draw(most),
        .height = kind->dimensions > 1 ? 1 + draw(most) : 1,
        .depth = kind->dimensions > 2 || kind->layered ? 1 + draw(4) : 1,
        .format = format,
        .channels = channels[draw(3)],
        .flags = (draw(2) ? CU_TRSF_NORMALIZED_COORDINATES : 0) |
                 (draw(2) ? CU_TRSF_READ_AS_INTEGER : 0),
        .modes = {draw(4), draw(4), draw(4)},
        .filter = draw(2) ? CU_TR_FILTER_MODE_LINEAR : CU_TR_FILTER_MODE_POINT,
        .border = {1.5f, -2, 0.25f, 3},
        .layout = kind->layered                       ? CUDA_TEXTURE_LAYERED
                  : kind->dimensions == 1 && !draw(4) ? CUDA_TEXTURE_LINEAR
                                                      : 0,
    };
    t->pitch = ((uint64_t)t->width * cuda_texture_bytes(format) * t->channels + 31) / 32 * 32;
    t->slice = t->pitch * t->height;
}

/* Which of several numbers that are none comes of a sum is left open. */
static bool is_same(uint32_t a, uint32_t b, const struct cuda_texture *t)
{
    return a == b || (cuda_texture_floats(t->format, t->flags) && (a & 0x7fffffff) > 0x7f800000 &&
                      (b & 0x7fffffff) > 0x7f800000);
}

static void compare(const struct kind *kind, struct ptx_run *run)
{
    static union {
        float f[8];
        int32_t i[8];
    } at[THREADS];
    static uint32_t out[THREADS][8], bytes[TEXELS / 4];
    struct {
        uint64_t texture, in, out;
    } parameters = {ptx_buffer(run, NULL, CUDA_TEXTURE_BYTES), ptx_buffer(run, NULL, sizeof(at)),
                    ptx_buffer(run, NULL, sizeof(out))};
    uint64_t memory = ptx_buffer(run, NULL, sizeof(bytes));

    for (unsigned round = 0; round < TRIES; round++) {
        struct cuda_texture t;
        bool some = draw(2);

        draw_texture(kind, memory, &t);
        for (unsigned i = 0; i < TEXELS / 4; i++) {
            float v = (float)draw(1 << 16) / 1000 - 30;

            bytes[i] = draw(1u << 31) << 1 | draw(2);
            if (t.format == CU_AD_FORMAT_FLOAT && draw(16))
                memcpy(&bytes[i], &v, 4);
        }
        for (unsigned i = 0; i < THREADS; i++) {
            const uint32_t size[3] = {t.width, t.height, t.depth};

            for (unsigned n = 0; n < 3; n++) {
                if (kind->integer)
                    at[i].i[n] = draw_number(size[n]);
                else
                    at[i].f[n] = draw_place(&t, size[n]);
            }
            at[i].i[3] = draw_number(t.depth);
            at[i].i[4] = some ? (int32_t)draw(3) : 1;
        }
        assert_int_equal(ptx_memory_write(run->context, memory, bytes, sizeof(bytes)), 0);
        assert_int_equal(ptx_memory_write(run->context, parameters.texture, &t, sizeof(t)), 0);
        assert_int_equal(ptx_memory_write(run->context, parameters.in, at, sizeof(at)), 0);
        if (ptx_go(run, 1, THREADS, &parameters, sizeof(parameters)))
            fail_msg("%s: %s", kind->name, run->result.text);
        assert_int_equal(ptx_memory_read(run->context, parameters.out, out, sizeof(out)), 0);
        for (unsigned i = 0; i < THREADS; i++)
            for (unsigned n = 0; n < 4; n++) {
                if (!at[i].i[4])
                    assert_int_equal(out[i][n], 7);
                if (!is_same(out[i][n], out[i][n + 4], &t))
                    fail_msg("%s, round %u, thread %u, value %u: %08x, not %08x", kind->name, round,
                             i, n, out[i][n], out[i][n + 4]);
            }
    }
}

static void test_same(void **state)
{
    static char text[8192], quick[512], slow[512];

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const struct kind *k = &kinds[i];
        struct ptx_run run;

        snprintf(quick, sizeof(quick), "tex.%s " QUICK ", [%%d0, %s];\n", k->geometry, k->at);
        snprintf(slow, sizeof(slow), "tex.%s " SLOW ", [%%d0, %s], %s;\n", k->geometry, k->at,
                 k->offset);
        snprintf(text, sizeof(text), head, k->name, quick, slow);
        ptx_open(&run, text, k->name);
        compare(k, &run);
        ptx_close(&run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same)};

    return cmocka_run_group_tests_name("ptx_sample", tests, NULL, NULL);
}
