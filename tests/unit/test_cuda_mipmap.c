/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <compute/cuda/cuda.h>

/* Mipmapped arrays and views, as a program uses them; what filters do is in test_ptx_sampling.c. */

static const char text[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".global .texref named = { normalized_coords = 1, addr_mode_0 = clamp_to_edge };\n"
    ".visible .entry read(.param .u64 t, .param .u64 out, .param .f32 level) {\n"
    "  .reg .b32 %r<8>; .reg .b64 %d<4>; .reg .f32 %f<8>;\n"
    "  ld.param.u64 %d0, [t]; ld.param.u64 %d1, [out]; ld.param.f32 %f6, [level];\n"
    "  mov.u32 %r0, %tid.x; mov.u32 %r2, %ntid.x; cvt.rn.f32.u32 %f0, %r0;\n"
    "  cvt.rn.f32.u32 %f1, %r2; add.f32 %f0, %f0, 0f3F000000; div.rn.f32 %f0, %f0, %f1;\n"
    "  tex.level.2d.v4.u32.f32 {%r4, %r5, %r6, %r7}, [%d0, {%f0, %f0}], %f6;\n"
    "  mul.wide.u32 %d2, %r0, 16; add.u64 %d1, %d1, %d2;\n"
    "  st.global.v4.u32 [%d1], {%r4, %r5, %r6, %r7}; ret; }\n"
    ".visible .entry layer(.param .u64 t, .param .u64 out, .param .f32 level) {\n"
    "  .reg .b32 %r<8>; .reg .b64 %d<4>; .reg .f32 %f<8>;\n"
    "  ld.param.u64 %d0, [t]; ld.param.u64 %d1, [out]; ld.param.f32 %f6, [level];\n"
    "  mov.u32 %r0, %tid.x; mov.f32 %f0, 0f3F000000;\n"
    "  tex.level.a2d.v4.u32.f32 {%r4, %r5, %r6, %r7}, [%d0, {%r0, %f0, %f0, %f0}], %f6;\n"
    "  mul.wide.u32 %d2, %r0, 16; add.u64 %d1, %d1, %d2;\n"
    "  st.global.v4.u32 [%d1], {%r4, %r5, %r6, %r7}; ret; }\n"
    ".visible .entry by_name(.param .u64 t, .param .u64 out, .param .f32 level) {\n"
    "  .reg .b32 %r<8>; .reg .b64 %d<4>; .reg .f32 %f<8>;\n"
    "  ld.param.u64 %d1, [out]; ld.param.f32 %f6, [level];\n"
    "  mov.u32 %r0, %tid.x; mov.f32 %f0, 0f3F800000;\n"
    "  tex.level.2d.v4.u32.f32 {%r4, %r5, %r6, %r7}, [named, {%f0, %f0}], %f6;\n"
    "  mul.wide.u32 %d2, %r0, 16; add.u64 %d1, %d1, %d2;\n"
    "  st.global.v4.u32 [%d1], {%r4, %r5, %r6, %r7}; ret; }\n"
    ".visible .entry draw(.param .u64 s) {\n"
    "  .reg .b32 %r<4>; .reg .b64 %d<2>; ld.param.u64 %d0, [s]; mov.u32 %r0, %tid.x;\n"
    "  mul.lo.u32 %r1, %r0, 4; sust.b.2d.b32.trap [%d0, {%r1, %r0}], %r0; ret; }\n";

#define W      16
#define H      8
#define LEVELS 5

static CUcontext context;
static CUmodule module;
static CUdeviceptr memory;
static uint32_t out[32][4];

#define OK(call) assert_int_equal(call, CUDA_SUCCESS)

static int open_all(void **state)
{
    (void)state;
    OK(cuInit(0));
    OK(cuCtxCreate_v2(&context, 0, 0));
    OK(cuModuleLoadData(&module, text));
    OK(cuMemAlloc_v2(&memory, sizeof(out)));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    OK(cuCtxDestroy_v2(context));
    return 0;
}

static void run(const char *kernel, CUtexObject texture, float level, unsigned threads)
{
    void *parameters[] = {&texture, &memory, &level};
    CUfunction function;

    OK(cuModuleGetFunction(&function, module, kernel));
    OK(cuLaunchKernel(function, 1, 1, 1, threads, 1, 1, 0, NULL, parameters, NULL));
    OK(cuMemcpyDtoH_v2(out, memory, sizeof(out)));
}

/* Texel x, y of layer z of a level. */
static uint32_t value(unsigned level, size_t x, size_t y, size_t z)
{
    return (uint32_t)(level << 24 | z << 16 | y << 8 | x);
}

/* Of one number a texel, by copies to each level. */
static CUmipmappedArray mipmap_of(size_t depth, unsigned flags)
{
    CUDA_ARRAY3D_DESCRIPTOR d = {.Width = W,
                                 .Height = H,
                                 .Depth = depth,
                                 .Format = CU_AD_FORMAT_UNSIGNED_INT32,
                                 .NumChannels = 1,
                                 .Flags = flags};
    CUmipmappedArray m;

    OK(cuMipmappedArrayCreate(&m, &d, LEVELS));
    for (unsigned level = 0; level < LEVELS; level++) {
        static uint32_t texels[W * H * 4];
        CUDA_MEMCPY3D c = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                           .srcHost = texels,
                           .dstMemoryType = CU_MEMORYTYPE_ARRAY};
        size_t n = 0;

        OK(cuMipmappedArrayGetLevel(&c.dstArray, m, level));
        OK(cuArray3DGetDescriptor_v2(&d, c.dstArray));
        assert_int_equal(d.Width, W >> level);
        assert_int_equal(d.Height, H >> level ? H >> level : 1);
        assert_int_equal(d.Depth, depth);
        for (size_t z = 0; z < (depth ? depth : 1); z++)
            for (size_t y = 0; y < d.Height; y++)
                for (size_t x = 0; x < d.Width; x++)
                    texels[n++] = value(level, x, y, z);
        c.srcPitch = c.WidthInBytes = d.Width * 4;
        c.srcHeight = c.Height = d.Height;
        c.Depth = depth ? depth : 1;
        OK(cuMemcpy3D_v2(&c));
    }
    return m;
}

static void test_arrays(void **state)
{
    static const struct {
        size_t width, height, depth;
        unsigned flags, levels, got;
        CUresult err;
    } rows[] = {
        {0, 4, 0, 0, 1, 0, CUDA_ERROR_INVALID_VALUE},
        {65536, 0, 0, 0, 1, 0, CUDA_ERROR_INVALID_VALUE},
        {65536, 4, 0, 0, 1, 0, CUDA_ERROR_INVALID_VALUE},
        {4, 4, 7, CUDA_ARRAY3D_CUBEMAP, 1, 0, CUDA_ERROR_INVALID_VALUE},
        {4, 4, 0, 0x40, 1, 0, CUDA_ERROR_NOT_SUPPORTED},
        {16384, 16384, 16384, 0, 9, 0, CUDA_ERROR_OUT_OF_MEMORY},
        {100, 0, 0, 0, 0, 1, CUDA_SUCCESS},
        {100, 0, 0, 0, 99, 7, CUDA_SUCCESS},
        {32768, 1, 0, 0, 99, 16, CUDA_SUCCESS},
        {4, 4, 100, 0, 99, 7, CUDA_SUCCESS},
        {4, 4, 100, CUDA_ARRAY3D_LAYERED, 99, 3, CUDA_SUCCESS},
        {8, 8, 12, CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP, 2, 2, CUDA_SUCCESS},
    };
    CUDA_ARRAY_SPARSE_PROPERTIES sparse;
    CUDA_ARRAY_MEMORY_REQUIREMENTS need;
    CUmipmappedArray m;
    CUarray array, again;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CUDA_ARRAY3D_DESCRIPTOR d = {
            rows[i].width, rows[i].height, rows[i].depth, CU_AD_FORMAT_FLOAT, 1, rows[i].flags};

        if (cuMipmappedArrayCreate(&m, &d, rows[i].levels) != rows[i].err)
            fail_msg("row %zu", i);
        if (rows[i].err)
            continue;
        OK(cuMipmappedArrayGetLevel(&array, m, rows[i].got - 1));
        assert_int_equal(cuMipmappedArrayGetLevel(&array, m, rows[i].got),
                         CUDA_ERROR_INVALID_VALUE);
        OK(cuMipmappedArrayDestroy(m));
    }
    m = mipmap_of(3, CUDA_ARRAY3D_LAYERED);
    assert_int_equal(cuMipmappedArrayGetSparseProperties(&sparse, m), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMipmappedArrayGetMemoryRequirements(&need, m, 0), CUDA_ERROR_INVALID_VALUE);
    OK(cuMipmappedArrayGetLevel(&array, m, 1));
    OK(cuMipmappedArrayGetLevel(&again, m, 1));
    assert_ptr_equal(array, again);
    /* A level is the mipmapped array's. */
    assert_int_equal(cuArrayDestroy(array), CUDA_ERROR_INVALID_HANDLE);
    OK(cuMipmappedArrayDestroy(m));
    assert_int_equal(cuMipmappedArrayDestroy(m), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(cuMipmappedArrayGetLevel(&array, m, 0), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(cuArrayDestroy(again), CUDA_ERROR_INVALID_HANDLE);
}

static CUDA_TEXTURE_DESC plain_texture(void)
{
    return (CUDA_TEXTURE_DESC){
        .addressMode = {CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP},
        .flags = CU_TRSF_NORMALIZED_COORDINATES,
        .maxMipmapLevelClamp = 99,
    };
}

static void test_textures(void **state)
{
    CUmipmappedArray m = mipmap_of(0, CUDA_ARRAY3D_SURFACE_LDST);
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY,
                                   .res.mipmap.hMipmappedArray = m};
    CUDA_TEXTURE_DESC how = plain_texture();
    CUtexObject texture;
    CUsurfObject surface;
    CUfunction function;
    void *parameters[] = {&surface};

    (void)state;
    OK(cuTexObjectCreate(&texture, &resource, &how, NULL));
    for (unsigned level = 0; level < LEVELS; level++) {
        run("read", texture, (float)level, 8);
        for (size_t i = 0; i < 8; i++) {
            float at = ((float)i + 0.5f) / 8;
            size_t x = (size_t)(at * (float)(W >> level));
            size_t y = (size_t)(at * (float)(H >> level ? H >> level : 1));

            assert_int_equal(out[i][0], value(level, x, y, 0));
            assert_int_equal(out[i][1], 0);
        }
    }
    OK(cuTexObjectDestroy(texture));
    /* The range that the sampler has; and the bias. */
    how.mipmapLevelBias = 1;
    how.minMipmapLevelClamp = 2;
    how.maxMipmapLevelClamp = 3;
    OK(cuTexObjectCreate(&texture, &resource, &how, NULL));
    run("read", texture, 0, 8);
    assert_int_equal(out[0][0] >> 24, 2);
    run("read", texture, 2, 8);
    assert_int_equal(out[0][0] >> 24, 3);
    run("read", texture, 4, 8);
    assert_int_equal(out[0][0] >> 24, 3);
    memset(&how, 0, sizeof(how));
    OK(cuTexObjectGetTextureDesc(&how, texture));
    assert_true(how.mipmapLevelBias == 1);
    OK(cuTexObjectDestroy(texture));
    /* Coordinates have to be normalised. */
    how = plain_texture();
    how.flags = 0;
    assert_int_equal(cuTexObjectCreate(&texture, &resource, &how, NULL), CUDA_ERROR_INVALID_VALUE);
    how = plain_texture();
    how.mipmapFilterMode = 2;
    assert_int_equal(cuTexObjectCreate(&texture, &resource, &how, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuSurfObjectCreate(&surface, &resource), CUDA_ERROR_INVALID_VALUE);
    /* A level is a surface, and shows in the texture. */
    how = plain_texture();
    OK(cuTexObjectCreate(&texture, &resource, &how, NULL));
    resource = (CUDA_RESOURCE_DESC){.resType = CU_RESOURCE_TYPE_ARRAY};
    OK(cuMipmappedArrayGetLevel(&resource.res.array.hArray, m, 2));
    OK(cuSurfObjectCreate(&surface, &resource));
    OK(cuModuleGetFunction(&function, module, "draw"));
    OK(cuLaunchKernel(function, 1, 1, 1, 2, 1, 1, 0, NULL, parameters, NULL));
    run("read", texture, 2, 8);
    assert_int_equal(out[0][0], 0);
    assert_int_equal(out[3][0], value(2, 1, 0, 0));
    OK(cuSurfObjectDestroy(surface));
    OK(cuTexObjectDestroy(texture));
    OK(cuMipmappedArrayDestroy(m));
}

static void test_views(void **state)
{
    CUmipmappedArray m = mipmap_of(4, CUDA_ARRAY3D_LAYERED);
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY,
                                   .res.mipmap.hMipmappedArray = m};
    CUDA_TEXTURE_DESC how = plain_texture();
    CUDA_RESOURCE_VIEW_DESC good = {.format = 0x03, /* four bytes */
                                    .width = W,
                                    .height = H,
                                    .depth = 4,
                                    .firstMipmapLevel = 1,
                                    .lastMipmapLevel = 3,
                                    .firstLayer = 1,
                                    .lastLayer = 2},
                            v;
    static const struct {
        size_t offset;
        unsigned value;
        CUresult err;
    } changes[] = {
        {offsetof(CUDA_RESOURCE_VIEW_DESC, format), 0x02, CUDA_ERROR_INVALID_VALUE},
        {offsetof(CUDA_RESOURCE_VIEW_DESC, format), 0x23, CUDA_ERROR_INVALID_VALUE},
        {offsetof(CUDA_RESOURCE_VIEW_DESC, format), 0x19, CUDA_ERROR_NOT_SUPPORTED},
        {offsetof(CUDA_RESOURCE_VIEW_DESC, width), W / 2, CUDA_ERROR_INVALID_VALUE},
        {offsetof(CUDA_RESOURCE_VIEW_DESC, height), 0, CUDA_ERROR_INVALID_VALUE},
        {offsetof(CUDA_RESOURCE_VIEW_DESC, depth), 2, CUDA_ERROR_INVALID_VALUE},
        {offsetof(CUDA_RESOURCE_VIEW_DESC, firstMipmapLevel), 4, CUDA_ERROR_INVALID_VALUE},
        {offsetof(CUDA_RESOURCE_VIEW_DESC, lastMipmapLevel), LEVELS, CUDA_ERROR_INVALID_VALUE},
        {offsetof(CUDA_RESOURCE_VIEW_DESC, firstLayer), 3, CUDA_ERROR_INVALID_VALUE},
        {offsetof(CUDA_RESOURCE_VIEW_DESC, lastLayer), 4, CUDA_ERROR_INVALID_VALUE},
    };
    CUtexObject texture;

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        v = good;
        memcpy((char *)&v + changes[i].offset, &changes[i].value, 4);
        if (cuTexObjectCreate(&texture, &resource, &how, &v) != changes[i].err)
            fail_msg("change %zu", i);
    }
    how.flags |= CU_TRSF_READ_AS_INTEGER;
    OK(cuTexObjectCreate(&texture, &resource, &how, &good));
    run("layer", texture, 0, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(out[i][0], W / 2 / 2);
        assert_int_equal(out[i][1], H / 2 / 2);
        assert_int_equal(out[i][2], i ? 2 : 1);
        assert_int_equal(out[i][3], 1);
    }
    run("layer", texture, 9, 1);
    assert_int_equal(out[0][3], 3);
    memset(&v, 0, sizeof(v));
    OK(cuTexObjectGetResourceViewDesc(&v, texture));
    assert_memory_equal(&v, &good, sizeof(v));
    OK(cuTexObjectDestroy(texture));
    /* Of an array that is none of these; memory has no views. */
    how = plain_texture();
    resource = (CUDA_RESOURCE_DESC){.resType = CU_RESOURCE_TYPE_ARRAY};
    OK(cuMipmappedArrayGetLevel(&resource.res.array.hArray, m, 1));
    v = (CUDA_RESOURCE_VIEW_DESC){.width = W / 2, .height = H / 2, .depth = 4, .lastLayer = 3};
    OK(cuTexObjectCreate(&texture, &resource, &how, &v));
    run("layer", texture, 0, 4);
    assert_int_equal(out[3][0], value(1, W / 4, H / 4, 3));
    OK(cuTexObjectDestroy(texture));
    v.lastMipmapLevel = 1;
    assert_int_equal(cuTexObjectCreate(&texture, &resource, &how, &v), CUDA_ERROR_INVALID_VALUE);
    resource = (CUDA_RESOURCE_DESC){
        .resType = CU_RESOURCE_TYPE_LINEAR,
        .res.linear = {
            .devPtr = memory, .format = CU_AD_FORMAT_FLOAT, .numChannels = 1, .sizeInBytes = 64}};
    assert_int_equal(cuTexObjectCreate(&texture, &resource, &how, &v), CUDA_ERROR_INVALID_VALUE);
    OK(cuMipmappedArrayDestroy(m));
}

static void test_references(void **state)
{
    CUmipmappedArray m = mipmap_of(0, 0), got;
    float least, most, bias, colour[4] = {1, 2, 3, 4}, back[4];
    CUtexref reference, own;
    CUfilter_mode filter;
    CUaddress_mode mode;
    unsigned flags;
    int anisotropy;

    (void)state;
    /* A host's own driver has none. */
    if (cuModuleGetTexRef(&reference, module, "named") == CUDA_ERROR_NOT_SUPPORTED)
        skip();
    OK(cuModuleGetTexRef(&reference, module, "named"));
    /* As the module says. */
    OK(cuTexRefGetFlags(&flags, reference));
    OK(cuTexRefGetAddressMode(&mode, reference, 0));
    assert_int_equal(flags, CU_TRSF_NORMALIZED_COORDINATES);
    assert_int_equal(mode, CU_TR_ADDRESS_MODE_CLAMP);
    OK(cuTexRefSetFlags(reference, 0));
    OK(cuTexRefSetMipmappedArray(reference, m, CU_TRSA_OVERRIDE_FORMAT));
    OK(cuTexRefSetFlags(reference, CU_TRSF_NORMALIZED_COORDINATES));
    OK(cuTexRefSetMipmapLevelClamp(reference, 0, 3));
    OK(cuTexRefSetAddressMode(reference, 1, CU_TR_ADDRESS_MODE_CLAMP));
    run("by_name", 0, 2, 1);
    assert_int_equal(out[0][0], value(2, (W >> 2) - 1, (H >> 2) - 1, 0));
    OK(cuTexRefSetMipmapLevelBias(reference, 9));
    run("by_name", 0, 0, 1);
    assert_int_equal(out[0][0] >> 24, 3);
    OK(cuTexRefSetBorderColor(reference, colour));
    OK(cuTexRefSetAddressMode(reference, 0, CU_TR_ADDRESS_MODE_BORDER));
    run("by_name", 0, 0, 1);
    assert_int_equal(out[0][1], 0x40000000);
    OK(cuTexRefSetMipmapFilterMode(reference, CU_TR_FILTER_MODE_LINEAR));
    OK(cuTexRefSetMaxAnisotropy(reference, 8));
    OK(cuTexRefGetMipmapFilterMode(&filter, reference));
    OK(cuTexRefGetMipmapLevelBias(&bias, reference));
    OK(cuTexRefGetMipmapLevelClamp(&least, &most, reference));
    OK(cuTexRefGetMaxAnisotropy(&anisotropy, reference));
    OK(cuTexRefGetBorderColor(back, reference));
    OK(cuTexRefGetMipmappedArray(&got, reference));
    assert_int_equal(filter, CU_TR_FILTER_MODE_LINEAR);
    assert_true(bias == 9 && least == 0 && most == 3 && anisotropy == 8 && back[2] == 3);
    assert_ptr_equal(got, m);
    assert_int_equal(cuTexRefSetMipmapFilterMode(reference, 2), CUDA_ERROR_INVALID_VALUE);
    /* What cannot be leaves it as it is. */
    assert_int_equal(cuTexRefSetFilterMode(reference, CU_TR_FILTER_MODE_LINEAR),
                     CUDA_ERROR_INVALID_VALUE);
    OK(cuTexRefGetFilterMode(&filter, reference));
    assert_int_equal(filter, CU_TR_FILTER_MODE_POINT);
    assert_int_equal(cuTexRefDestroy(reference), CUDA_ERROR_INVALID_VALUE);
    /* One that is no module's. */
    OK(cuTexRefCreate(&own));
    OK(cuTexRefSetMipmappedArray(own, m, CU_TRSA_OVERRIDE_FORMAT));
    OK(cuTexRefSetFilterMode(own, CU_TR_FILTER_MODE_LINEAR));
    OK(cuTexRefDestroy(own));
    assert_int_equal(cuTexRefDestroy(own), CUDA_ERROR_INVALID_VALUE);
    OK(cuTexRefCreate(&own)); /* goes with its context */
    OK(cuMipmappedArrayDestroy(m));
    mipmap_of(0, 0); /* this, too */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_textures),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_references),
    };

    return cmocka_run_group_tests_name("cuda_mipmap", tests, open_all, close_all);
}
