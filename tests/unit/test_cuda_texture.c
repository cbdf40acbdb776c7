/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <compute/cuda/cuda.h>

/* Arrays, textures and surfaces, as a program uses them; what filters do is in test_ptx_texture.c.
 */

static const char text[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".visible .entry read(.param .u64 t, .param .u64 out, .param .f32 scale) {\n"
    "  .reg .b32 %r<8>; .reg .b64 %d<4>; .reg .f32 %f<8>;\n"
    "  ld.param.u64 %d0, [t]; ld.param.u64 %d1, [out]; ld.param.f32 %f6, [scale];\n"
    "  mov.u32 %r0, %tid.x; mov.u32 %r1, %tid.y; mov.u32 %r2, %ntid.x;\n"
    "  cvt.rn.f32.u32 %f0, %r0; cvt.rn.f32.u32 %f1, %r1;\n"
    "  add.f32 %f0, %f0, 0f3F000000; add.f32 %f1, %f1, 0f3F000000;\n"
    "  mul.f32 %f0, %f0, %f6; mul.f32 %f1, %f1, %f6;\n"
    "  tex.2d.v4.f32.f32 {%f2, %f3, %f4, %f5}, [%d0, {%f0, %f1}];\n"
    "  mad.lo.u32 %r3, %r1, %r2, %r0; mul.wide.u32 %d2, %r3, 4; add.u64 %d1, %d1, %d2;\n"
    "  st.global.f32 [%d1], %f2; ret; }\n"
    ".global .texref named; .global .surfref board; .global .align 4 .b32 other;\n"
    ".visible .entry by_name(.param .u64 out) {\n"
    "  .reg .b32 %r<8>; .reg .b64 %d<4>; .reg .f32 %f<8>;\n"
    "  ld.param.u64 %d1, [out]; mov.u32 %r0, %tid.x; cvt.rn.f32.u32 %f0, %r0;\n"
    "  tex.2d.v4.f32.f32 {%f2, %f3, %f4, %f5}, [named, {%f0, %f0}];\n"
    "  mul.wide.u32 %d2, %r0, 4; add.u64 %d1, %d1, %d2; st.global.f32 [%d1], %f2; ret; }\n"
    ".visible .entry stamp() {\n"
    "  .reg .b32 %r<8>; mov.u32 %r0, %tid.x; shl.b32 %r1, %r0, 2;\n"
    "  sust.b.2d.b32.trap [board, {%r1, %r0}], {%r0}; ret; }\n"
    ".visible .entry fetch(.param .u64 t, .param .u64 out) {\n"
    "  .reg .b32 %r<8>; .reg .b64 %d<4>;\n"
    "  ld.param.u64 %d0, [t]; ld.param.u64 %d1, [out]; mov.u32 %r0, %tid.x;\n"
    "  tex.1d.v4.s32.s32 {%r1, %r2, %r3, %r4}, [%d0, {%r0}];\n"
    "  mul.wide.u32 %d2, %r0, 4; add.u64 %d1, %d1, %d2; st.global.u32 [%d1], %r1; ret; }\n"
    ".visible .entry draw(.param .u64 s) {\n"
    "  .reg .b32 %r<8>; .reg .b64 %d<4>;\n"
    "  ld.param.u64 %d0, [s]; mov.u32 %r0, %tid.x; mov.u32 %r1, %tid.y; shl.b32 %r2, %r0, 2;\n"
    "  suld.b.2d.b32.trap {%r3}, [%d0, {%r2, %r1}]; mad.lo.u32 %r3, %r1, 100, %r3;\n"
    "  sust.b.2d.b32.trap [%d0, {%r2, %r1}], {%r3}; ret; }\n";

#define W 8
#define H 4

static CUcontext context;
static CUmodule module;
static CUfunction read_it, fetch, draw;

#define OK(call) assert_int_equal(call, CUDA_SUCCESS)

static int open_all(void **state)
{
    (void)state;
    OK(cuInit(0));
    OK(cuCtxCreate_v2(&context, 0, 0));
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&read_it, module, "read"));
    OK(cuModuleGetFunction(&fetch, module, "fetch"));
    OK(cuModuleGetFunction(&draw, module, "draw"));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    OK(cuCtxDestroy_v2(context));
    return 0;
}

static CUarray array_of(size_t width, size_t height, size_t depth, CUarray_format format,
                        unsigned channels, unsigned flags)
{
    CUDA_ARRAY3D_DESCRIPTOR d = {.Width = width,
                                 .Height = height,
                                 .Depth = depth,
                                 .Format = format,
                                 .NumChannels = channels,
                                 .Flags = flags};
    CUarray array;

    OK(cuArray3DCreate_v2(&array, &d));
    return array;
}

static void test_arrays(void **state)
{
    static const struct {
        size_t width, height, depth;
        CUarray_format format;
        unsigned channels, flags;
        CUresult err;
    } rows[] = {
        {0, 4, 0, CU_AD_FORMAT_FLOAT, 1, 0, CUDA_ERROR_INVALID_VALUE},
        {4, 0, 4, CU_AD_FORMAT_FLOAT, 1, 0, CUDA_ERROR_INVALID_VALUE},
        {4, 4, 0, CU_AD_FORMAT_FLOAT, 3, 0, CUDA_ERROR_INVALID_VALUE},
        {1 << 20, 0, 0, CU_AD_FORMAT_FLOAT, 1, 0, CUDA_ERROR_INVALID_VALUE},
        {4, 1 << 20, 0, CU_AD_FORMAT_FLOAT, 1, 0, CUDA_ERROR_INVALID_VALUE},
        {4, 4, 1 << 20, CU_AD_FORMAT_FLOAT, 1, 0, CUDA_ERROR_INVALID_VALUE},
        {4, 4, 4096, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_LAYERED, CUDA_ERROR_INVALID_VALUE},
        {4, 4, 5, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP, CUDA_ERROR_INVALID_VALUE},
        {4, 4, 0, CU_AD_FORMAT_NV12, 1, 0, CUDA_ERROR_NOT_SUPPORTED},
        {4, 4, 0, CU_AD_FORMAT_FLOAT, 1, 0x40, CUDA_ERROR_NOT_SUPPORTED},
        {16384, 16384, 16384, CU_AD_FORMAT_FLOAT, 4, 0, CUDA_ERROR_OUT_OF_MEMORY},
        {4, 4, 8, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP | CUDA_ARRAY3D_LAYERED,
         CUDA_ERROR_INVALID_VALUE},
        {4, 0, 0, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_TEXTURE_GATHER, CUDA_ERROR_INVALID_VALUE},
        {65536, 4, 0, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_TEXTURE_GATHER, CUDA_ERROR_INVALID_VALUE},
        {4, 4, 12, CU_AD_FORMAT_HALF, 2, CUDA_ARRAY3D_CUBEMAP | CUDA_ARRAY3D_LAYERED, CUDA_SUCCESS},
        {4, 4, 0, CU_AD_FORMAT_HALF, 2, CUDA_ARRAY3D_TEXTURE_GATHER, CUDA_SUCCESS},
        {4, 4, 6, CU_AD_FORMAT_HALF, 2, CUDA_ARRAY3D_CUBEMAP, CUDA_SUCCESS},
        {4, 0, 9, CU_AD_FORMAT_HALF, 2, CUDA_ARRAY3D_LAYERED, CUDA_SUCCESS},
    };
    CUDA_ARRAY_DESCRIPTOR flat = {
        .Width = 5, .Height = 3, .Format = CU_AD_FORMAT_SIGNED_INT16, .NumChannels = 2};
    CUDA_ARRAY3D_DESCRIPTOR d;
    CUDA_ARRAY_SPARSE_PROPERTIES sparse;
    CUDA_ARRAY_MEMORY_REQUIREMENTS need;
    CUarray array, plane;
    size_t width;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        d = (CUDA_ARRAY3D_DESCRIPTOR){rows[i].width,  rows[i].height,   rows[i].depth,
                                      rows[i].format, rows[i].channels, rows[i].flags};
        if (cuArray3DCreate_v2(&array, &d) != rows[i].err)
            fail_msg("row %zu", i);
        if (!rows[i].err)
            OK(cuArrayDestroy(array));
    }
    OK(cuArrayCreate_v2(&array, &flat));
    memset(&flat, 0, sizeof(flat));
    OK(cuArrayGetDescriptor_v2(&flat, array));
    assert_int_equal(flat.Height, 3);
    OK(cuArray3DGetDescriptor_v2(&d, array));
    assert_int_equal(d.Width, 5);
    assert_int_equal(d.Format, CU_AD_FORMAT_SIGNED_INT16);
    /* Neither planes nor sparse, nor waiting for memory. */
    assert_int_equal(cuArrayGetPlane(&plane, array, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuArrayGetSparseProperties(&sparse, array), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuArrayGetMemoryRequirements(&need, array, 0), CUDA_ERROR_INVALID_VALUE);
    OK(cuArrayDestroy(array));
    assert_int_equal(cuArrayGetPlane(&plane, array, 0), CUDA_ERROR_INVALID_HANDLE);
    OK(cuDeviceGetTexture1DLinearMaxWidth(&width, CU_AD_FORMAT_FLOAT, 4, 0));
    assert_int_equal(width, 1 << 28);
    assert_int_equal(cuDeviceGetTexture1DLinearMaxWidth(&width, CU_AD_FORMAT_FLOAT, 3, 0),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuArrayDestroy(array), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(cuArrayGetDescriptor_v2(&flat, array), CUDA_ERROR_INVALID_HANDLE);
}

static void test_copies(void **state)
{
    CUarray box = array_of(W, H, 3, CU_AD_FORMAT_UNSIGNED_INT32, 1, 0);
    CUarray line = array_of(64, 0, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1, 0);
    CUarray other = array_of(64, 0, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1, 0);
    uint32_t in[3][H][W], out[3][H][W];
    unsigned char bytes[64], back[64] = {0};
    CUDA_MEMCPY3D c = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                       .srcHost = in,
                       .srcPitch = W * 4,
                       .srcHeight = H,
                       .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                       .dstArray = box,
                       .WidthInBytes = W * 4,
                       .Height = H,
                       .Depth = 3};
    CUDA_MEMCPY3D r = {.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                       .srcArray = box,
                       .srcXInBytes = 8,
                       .srcY = 1,
                       .srcZ = 1,
                       .dstMemoryType = CU_MEMORYTYPE_HOST,
                       .dstHost = out,
                       .dstPitch = W * 4,
                       .dstHeight = H,
                       .WidthInBytes = 12,
                       .Height = 2,
                       .Depth = 2};
    CUDA_MEMCPY2D flat = {.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                          .srcArray = box,
                          .dstMemoryType = CU_MEMORYTYPE_HOST,
                          .dstHost = out,
                          .WidthInBytes = W * 4,
                          .Height = H + 1};
    CUdeviceptr memory;
    CUstream stream;

    (void)state;
    for (unsigned i = 0; i < 3 * H * W; i++)
        ((uint32_t *)in)[i] = i * 3 + 1;
    OK(cuMemcpy3D_v2(&c));
    memset(out, 0, sizeof(out));
    OK(cuMemcpy3D_v2(&r));
    assert_int_equal(out[0][0][0], in[1][1][2]);
    assert_int_equal(out[1][1][2], in[2][2][4]);
    assert_int_equal(out[1][1][3], 0);
    /* Not all of it is inside. */
    r.srcZ = 2;
    assert_int_equal(cuMemcpy3D_v2(&r), CUDA_ERROR_INVALID_VALUE);
    r.srcZ = (size_t)-1;
    assert_int_equal(cuMemcpy3D_v2(&r), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpy2D_v2(&flat), CUDA_ERROR_INVALID_VALUE);
    flat.Height = H;
    OK(cuMemcpy2D_v2(&flat));
    assert_memory_equal(out, in, sizeof(in[0]));
    for (unsigned i = 0; i < 64; i++)
        bytes[i] = (unsigned char)(i + 100);
    OK(cuMemAlloc_v2(&memory, 64));
    OK(cuStreamCreate(&stream, 0));
    OK(cuMemcpyHtoAAsync_v2(line, 0, bytes, 64, stream));
    OK(cuStreamSynchronize(stream));
    OK(cuMemcpyAtoA_v2(other, 4, line, 0, 60));
    OK(cuMemcpyAtoD_v2(memory, other, 4, 60));
    OK(cuMemcpyDtoA_v2(line, 10, memory, 50));
    OK(cuMemcpyAtoH_v2(back, line, 10, 50));
    assert_memory_equal(back, bytes, 50);
    OK(cuMemcpyHtoA_v2(line, 0, bytes + 8, 8));
    OK(cuMemcpyAtoHAsync_v2(back, line, 0, 16, stream));
    OK(cuStreamSynchronize(stream));
    assert_memory_equal(back, bytes + 8, 8);
    assert_memory_equal(back + 10, bytes, 6);
    assert_int_equal(cuMemcpyHtoA_v2(line, 60, bytes, 8), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpyAtoD_v2(memory, line, 0, 65), CUDA_ERROR_INVALID_VALUE);
    OK(cuStreamDestroy_v2(stream));
    OK(cuMemFree_v2(memory));
    OK(cuArrayDestroy(line));
    assert_int_equal(cuMemcpyAtoA_v2(other, 0, line, 0, 4), CUDA_ERROR_INVALID_VALUE);
    OK(cuArrayDestroy(other));
    OK(cuArrayDestroy(box));
}

static void read_texture(CUtexObject texture, float scale, float (*out)[W])
{
    CUdeviceptr memory;
    void *parameters[] = {&texture, &memory, &scale};

    OK(cuMemAlloc_v2(&memory, W * H * 4));
    OK(cuLaunchKernel(read_it, 1, 1, 1, W, H, 1, 0, NULL, parameters, NULL));
    OK(cuMemcpyDtoH_v2(out, memory, W * H * 4));
    OK(cuMemFree_v2(memory));
}

static void test_textures(void **state)
{
    CUarray array = array_of(W, H, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1, 0);
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = array};
    CUDA_TEXTURE_DESC how = {.addressMode = {CU_TR_ADDRESS_MODE_BORDER, CU_TR_ADDRESS_MODE_CLAMP},
                             .borderColor = {-2}};
    unsigned char texels[H][W];
    CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                       .srcHost = texels,
                       .srcPitch = W,
                       .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                       .dstArray = array,
                       .WidthInBytes = W,
                       .Height = H};
    CUDA_RESOURCE_VIEW_DESC view = {.width = W};
    CUtexObject texture, second;
    CUdeviceptr memory;
    int words[W];
    size_t pitch;
    float out[H][W];

    (void)state;
    for (unsigned i = 0; i < W * H; i++)
        ((unsigned char *)texels)[i] = (unsigned char)(i * 8);
    OK(cuMemcpy2D_v2(&c));
    OK(cuTexObjectCreate(&texture, &resource, &how, NULL));
    read_texture(texture, 1, out);
    for (unsigned y = 0; y < H; y++)
        for (unsigned x = 0; x < W; x++)
            assert_true(out[y][x] == (float)texels[y][x] / 255);
    read_texture(texture, 2, out);
    assert_true(out[1][W / 2 - 1] == (float)texels[H - 1][W - 1] / 255 && out[1][W / 2] == -2);
    /* What it was made of. */
    memset(&resource, 0, sizeof(resource));
    memset(&how, 0, sizeof(how));
    OK(cuTexObjectGetResourceDesc(&resource, texture));
    OK(cuTexObjectGetTextureDesc(&how, texture));
    assert_ptr_equal(resource.res.array.hArray, array);
    assert_int_equal(how.addressMode[0], CU_TR_ADDRESS_MODE_BORDER);
    assert_int_equal(cuTexObjectGetResourceViewDesc(&view, texture), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuSurfObjectDestroy(texture), CUDA_ERROR_INVALID_VALUE);
    /* What is not there, and what has no meaning. */
    assert_int_equal(cuTexObjectCreate(&second, &resource, &how, &view), CUDA_ERROR_INVALID_VALUE);
    how.flags = CU_TRSF_SRGB | CU_TRSF_READ_AS_INTEGER;
    assert_int_equal(cuTexObjectCreate(&second, &resource, &how, NULL), CUDA_ERROR_NOT_SUPPORTED);
    how.flags = CU_TRSF_SEAMLESS_CUBEMAP;
    assert_int_equal(cuTexObjectCreate(&second, &resource, &how, NULL), CUDA_ERROR_INVALID_VALUE);
    how.flags = CU_TRSF_READ_AS_INTEGER;
    how.filterMode = CU_TR_FILTER_MODE_LINEAR;
    assert_int_equal(cuTexObjectCreate(&second, &resource, &how, NULL), CUDA_ERROR_INVALID_VALUE);
    how.filterMode = CU_TR_FILTER_MODE_POINT;
    resource.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY;
    assert_int_equal(cuTexObjectCreate(&second, &resource, &how, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuTexObjectDestroy(texture + 1), CUDA_ERROR_INVALID_VALUE);
    OK(cuTexObjectDestroy(texture));
    assert_int_equal(cuTexObjectDestroy(texture), CUDA_ERROR_INVALID_VALUE);
    OK(cuArrayDestroy(array));
    /* Rows of the program's memory. */
    OK(cuMemAllocPitch_v2(&memory, &pitch, W * 4, H, 4));
    for (unsigned y = 0; y < H; y++) {
        for (unsigned x = 0; x < W; x++)
            out[y][x] = (float)(y * 10 + x);
        OK(cuMemcpyHtoD_v2(memory + y * pitch, out[y], sizeof(out[y])));
    }
    resource = (CUDA_RESOURCE_DESC){.resType = CU_RESOURCE_TYPE_PITCH2D,
                                    .res.pitch2D = {.devPtr = memory,
                                                    .format = CU_AD_FORMAT_FLOAT,
                                                    .numChannels = 1,
                                                    .width = W,
                                                    .height = H,
                                                    .pitchInBytes = pitch}};
    how = (CUDA_TEXTURE_DESC){.addressMode = {CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP},
                              .filterMode = CU_TR_FILTER_MODE_LINEAR};
    OK(cuTexObjectCreate(&texture, &resource, &how, NULL));
    read_texture(texture, 0.5f, out);
    assert_true(out[0][0] == 0); /* at 0.25, 0.25 */
    assert_true(out[2][3] == 0.75f * 10 + 1.25f);
    OK(cuTexObjectDestroy(texture));
    resource.res.pitch2D.height = H + 1;
    assert_int_equal(cuTexObjectCreate(&texture, &resource, &how, NULL), CUDA_ERROR_INVALID_VALUE);
    resource.res.pitch2D.height = H;
    resource.res.pitch2D.devPtr = memory + 4;
    assert_int_equal(cuTexObjectCreate(&texture, &resource, &how, NULL), CUDA_ERROR_INVALID_VALUE);
    /* A line of it. */
    resource = (CUDA_RESOURCE_DESC){.resType = CU_RESOURCE_TYPE_LINEAR,
                                    .res.linear = {.devPtr = memory,
                                                   .format = CU_AD_FORMAT_SIGNED_INT8,
                                                   .numChannels = 1,
                                                   .sizeInBytes = 5}};
    how = (CUDA_TEXTURE_DESC){.flags = CU_TRSF_READ_AS_INTEGER};
    OK(cuMemcpyHtoD_v2(memory, "\1\xff\3\x80\5\6", 6));
    OK(cuTexObjectCreate(&texture, &resource, &how, NULL));
    {
        CUdeviceptr to = memory + 512;
        void *parameters[] = {&texture, &to};

        OK(cuLaunchKernel(fetch, 1, 1, 1, W, 1, 1, 0, NULL, parameters, NULL));
        OK(cuMemcpyDtoH_v2(words, to, sizeof(words)));
    }
    assert_int_equal(words[1], -1);
    assert_int_equal(words[3], -128);
    assert_int_equal(words[4], 5);
    assert_int_equal(words[5], 0); /* outside */
    OK(cuTexObjectDestroy(texture));
    OK(cuMemFree_v2(memory));
}

/* More than one block of objects, all different, used again after some are gone. */
static void test_many(void **state)
{
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_LINEAR,
                                   .res.linear = {.format = CU_AD_FORMAT_SIGNED_INT32,
                                                  .numChannels = 1,
                                                  .sizeInBytes = W * 4}};
    CUDA_TEXTURE_DESC how = {.flags = CU_TRSF_READ_AS_INTEGER};
    CUtexObject textures[150];
    CUdeviceptr memory;
    int words[W];

    (void)state;
    OK(cuMemAlloc_v2(&memory, 151 * 512));
    for (int i = 0; i < 150; i++) {
        resource.res.linear.devPtr = memory + (unsigned)i * 512;
        OK(cuMemcpyHtoD_v2(resource.res.linear.devPtr, &i, 4));
        OK(cuTexObjectCreate(&textures[i], &resource, &how, NULL));
    }
    OK(cuTexObjectDestroy(textures[20]));
    resource.res.linear.devPtr = memory + 149 * 512;
    OK(cuTexObjectCreate(&textures[20], &resource, &how, NULL));
    for (int i = 0; i < 150; i++) {
        CUdeviceptr to = memory + 150 * 512;
        void *parameters[] = {&textures[i], &to};

        OK(cuLaunchKernel(fetch, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
        OK(cuMemcpyDtoH_v2(words, to, 4));
        assert_int_equal(words[0], i == 20 ? 149 : i);
    }
    for (int i = 0; i < 150; i++)
        OK(cuTexObjectDestroy(textures[i]));
    OK(cuMemFree_v2(memory));
}

static void test_surfaces(void **state)
{
    CUarray array = array_of(W, H, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1, CUDA_ARRAY3D_SURFACE_LDST);
    CUarray plain = array_of(W, H, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1, 0);
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = plain};
    CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                       .srcArray = array,
                       .dstMemoryType = CU_MEMORYTYPE_HOST,
                       .WidthInBytes = W * 4,
                       .Height = H};
    uint32_t out[H][W];
    CUsurfObject surface;
    void *parameters[] = {&surface};

    (void)state;
    assert_int_equal(cuSurfObjectCreate(&surface, &resource), CUDA_ERROR_INVALID_VALUE);
    OK(cuArrayDestroy(plain));
    resource.res.array.hArray = array;
    OK(cuSurfObjectCreate(&surface, &resource));
    OK(cuLaunchKernel(draw, 1, 1, 1, W, H, 1, 0, NULL, parameters, NULL));
    OK(cuLaunchKernel(draw, 1, 1, 1, W, H, 1, 0, NULL, parameters, NULL));
    c.dstHost = out;
    OK(cuMemcpy2D_v2(&c));
    for (unsigned y = 0; y < H; y++)
        for (unsigned x = 0; x < W; x++)
            assert_int_equal(out[y][x], y * 200);
    memset(&resource, 0, sizeof(resource));
    OK(cuSurfObjectGetResourceDesc(&resource, surface));
    assert_ptr_equal(resource.res.array.hArray, array);
    OK(cuSurfObjectDestroy(surface));
    OK(cuArrayDestroy(array));
}

static void by_name(float *out)
{
    CUdeviceptr memory;
    CUfunction function;
    void *parameters[] = {&memory};

    OK(cuModuleGetFunction(&function, module, "by_name"));
    OK(cuMemAlloc_v2(&memory, W * 4));
    OK(cuLaunchKernel(function, 1, 1, 1, W, 1, 1, 0, NULL, parameters, NULL));
    OK(cuMemcpyDtoH_v2(out, memory, W * 4));
    OK(cuMemFree_v2(memory));
}

/* Bound to an array, to memory, under other modes; each shows in the next launch. */
static void test_references(void **state)
{
    CUarray array = array_of(W, H, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1, CUDA_ARRAY3D_SURFACE_LDST);
    CUarray floats = array_of(W, H, 0, CU_AD_FORMAT_FLOAT, 1, 0), got;
    CUDA_ARRAY_DESCRIPTOR shape = {
        .Width = W, .Height = 2, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
    CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                       .srcPitch = W * 4,
                       .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                       .dstArray = floats,
                       .WidthInBytes = W * 4,
                       .Height = H};
    CUdeviceptr memory, address;
    CUarray_format format;
    CUtexref reference;
    CUsurfref surface;
    CUfunction function;
    CUfilter_mode filter;
    CUaddress_mode mode;
    unsigned flags;
    uint32_t words[H][W];
    float texels[H][W], out[W];
    size_t offset;
    int channels;

    (void)state;
    assert_int_equal(cuModuleGetTexRef(&reference, module, "nothing"), CUDA_ERROR_NOT_FOUND);
    /* A host's own driver has none. */
    if (cuModuleGetTexRef(&reference, module, "named") == CUDA_ERROR_NOT_SUPPORTED)
        skip();
    assert_int_equal(cuModuleGetTexRef(&reference, module, "other"), CUDA_ERROR_NOT_FOUND);
    OK(cuModuleGetTexRef(&reference, module, "named"));
    assert_int_equal(cuTexRefGetArray(&got, reference), CUDA_ERROR_INVALID_VALUE);
    for (unsigned i = 0; i < W * H; i++)
        ((float *)texels)[i] = (float)(i * i);
    c.srcHost = texels;
    OK(cuMemcpy2D_v2(&c));
    OK(cuTexRefSetFilterMode(reference, CU_TR_FILTER_MODE_LINEAR));
    OK(cuTexRefSetAddressMode(reference, 0, CU_TR_ADDRESS_MODE_CLAMP));
    OK(cuTexRefSetAddressMode(reference, 1, CU_TR_ADDRESS_MODE_CLAMP));
    OK(cuTexRefSetArray(reference, floats, CU_TRSA_OVERRIDE_FORMAT));
    by_name(out);
    assert_true(out[1] == (texels[0][0] + texels[0][1] + texels[1][0] + texels[1][1]) / 4);
    OK(cuTexRefSetFilterMode(reference, CU_TR_FILTER_MODE_POINT));
    by_name(out);
    assert_true(out[1] == texels[1][1] && out[7] == texels[3][7]);
    OK(cuTexRefGetArray(&got, reference));
    assert_ptr_equal(got, floats);
    OK(cuTexRefGetFilterMode(&filter, reference));
    OK(cuTexRefGetAddressMode(&mode, reference, 1));
    OK(cuTexRefGetFormat(&format, &channels, reference));
    assert_int_equal(filter, CU_TR_FILTER_MODE_POINT);
    assert_int_equal(mode, CU_TR_ADDRESS_MODE_CLAMP);
    assert_int_equal(format, CU_AD_FORMAT_FLOAT);
    /* What cannot be leaves it as it is. */
    assert_int_equal(cuTexRefSetArray(reference, NULL, CU_TRSA_OVERRIDE_FORMAT),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuTexRefSetFlags(reference, CU_TRSF_SRGB), CUDA_ERROR_NOT_SUPPORTED);
    by_name(out);
    assert_true(out[2] == texels[2][2]);
    /* Memory. */
    OK(cuMemAlloc_v2(&memory, W * 2 * 4));
    OK(cuMemcpyHtoD_v2(memory, texels[2], W * 2 * 4));
    OK(cuTexRefSetAddress2D_v3(reference, &shape, memory, W * 4));
    by_name(out);
    assert_true(out[0] == texels[2][0] && out[1] == texels[3][1] && out[5] == texels[3][5]);
    OK(cuTexRefGetAddress_v2(&address, reference));
    assert_int_equal(address, memory);
    OK(cuTexRefSetFormat(reference, CU_AD_FORMAT_UNSIGNED_INT8, 1));
    OK(cuTexRefSetFlags(reference, 0));
    OK(cuTexRefGetFlags(&flags, reference));
    assert_int_equal(flags, 0);
    assert_int_equal(cuTexRefSetAddress_v2(NULL, reference, memory + 4, 8),
                     CUDA_ERROR_INVALID_VALUE);
    OK(cuTexRefSetAddress_v2(&offset, reference, memory + 4, 8));
    assert_int_equal(offset, 4);
    /* A surface. */
    OK(cuModuleGetSurfRef(&surface, module, "board"));
    assert_int_equal(cuSurfRefSetArray(surface, floats, 0), CUDA_ERROR_INVALID_VALUE);
    OK(cuSurfRefSetArray(surface, array, 0));
    OK(cuSurfRefGetArray(&got, surface));
    assert_ptr_equal(got, array);
    OK(cuModuleGetFunction(&function, module, "stamp"));
    OK(cuLaunchKernel(function, 1, 1, 1, H, 1, 1, 0, NULL, NULL, NULL));
    c = (CUDA_MEMCPY2D){.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                        .srcArray = array,
                        .dstMemoryType = CU_MEMORYTYPE_HOST,
                        .dstHost = words,
                        .WidthInBytes = W * 4,
                        .Height = H};
    OK(cuMemcpy2D_v2(&c));
    assert_int_equal(words[3][3], 3);
    assert_int_equal(words[3][2], 0);
    OK(cuMemFree_v2(memory));
    OK(cuArrayDestroy(array));
    OK(cuArrayDestroy(floats));
}

/* A handle that is gone poisons its context; the last test. */
static void test_stale(void **state)
{
    CUarray array = array_of(W, H, 0, CU_AD_FORMAT_FLOAT, 1, 0);
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = array};
    CUDA_TEXTURE_DESC how = {.flags = 0};
    CUdeviceptr memory;
    CUtexObject texture;
    float scale = 1;
    void *parameters[] = {&texture, &memory, &scale};

    (void)state;
    OK(cuMemAlloc_v2(&memory, W * H * 4));
    OK(cuTexObjectCreate(&texture, &resource, &how, NULL));
    OK(cuLaunchKernel(read_it, 1, 1, 1, W, H, 1, 0, NULL, parameters, NULL));
    OK(cuCtxSynchronize());
    OK(cuTexObjectDestroy(texture));
    OK(cuLaunchKernel(read_it, 1, 1, 1, W, H, 1, 0, NULL, parameters, NULL));
    assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays),   cmocka_unit_test(test_copies),
        cmocka_unit_test(test_textures), cmocka_unit_test(test_many),
        cmocka_unit_test(test_surfaces), cmocka_unit_test(test_references),
        cmocka_unit_test(test_stale),
    };

    return cmocka_run_group_tests_name("cuda_texture", tests, open_all, close_all);
}
