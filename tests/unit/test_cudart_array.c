/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <compute/cuda/runtime/runtime.h>

/* The runtime API: mipmapped arrays, views, copies between arrays, batches; once a major version.
 */

struct resource_desc {
    int type;
    union {
        CUarray array;
        CUmipmappedArray mipmap;
        int reserved[32];
    } res;
    unsigned flags;
};
struct texture_desc {
    int address_mode[3], filter_mode, read_mode, srgb;
    float border[4];
    int normalized;
    unsigned anisotropy;
    int mipmap_filter;
    float bias, least, most;
    int no_trilinear_optimization, seamless_cubemap;
};
struct view_desc {
    unsigned format;
    size_t width, height, depth;
    unsigned first_level, last_level, first_layer, last_layer;
    unsigned reserved[16]; /* of 13 */
};
struct copy_peer {
    CUarray from_array;
    size_t from_at[3];
    struct pitched from;
    int from_device;
    CUarray to_array;
    size_t to_at[3];
    struct pitched to;
    int to_device;
    struct extent extent;
};

cudaError_t cudaDeviceReset(void);
cudaError_t cudaMallocMipmappedArray(CUmipmappedArray *mipmap, const struct channel_desc *desc,
                                     struct extent extent, unsigned levels, unsigned flags);
cudaError_t cudaFreeMipmappedArray(CUmipmappedArray mipmap);
cudaError_t cudaGetMipmappedArrayLevel(CUarray *array, CUmipmappedArray mipmap, unsigned level);
cudaError_t cudaMipmappedArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *properties,
                                                  CUmipmappedArray mipmap);
cudaError_t cudaMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements,
                                                    CUmipmappedArray mipmap, int device);
cudaError_t cudaArrayGetPlane(CUarray *plane, CUarray array, unsigned index);
cudaError_t cudaArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *properties, CUarray array);
cudaError_t cudaArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements,
                                           CUarray array, int device);
cudaError_t cudaDeviceGetTexture1DLinearMaxWidth(size_t *width, const struct channel_desc *desc,
                                                 int device);
cudaError_t cudaMalloc(void **memory, size_t size);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMallocPitch(void **memory, size_t *pitch, size_t width, size_t height);
cudaError_t cudaMalloc3D(struct pitched *memory, struct extent extent);
cudaError_t cudaMallocArray(CUarray *array, const struct channel_desc *desc, size_t width,
                            size_t height, unsigned flags);
cudaError_t cudaFreeArray(CUarray array);
cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int kind);
cudaError_t cudaMemcpy2DToArray(CUarray to, size_t x, size_t y, const void *from, size_t pitch,
                                size_t width, size_t height, int kind);
cudaError_t cudaMemcpy2DFromArray(void *to, size_t pitch, CUarray from, size_t x, size_t y,
                                  size_t width, size_t height, int kind);
cudaError_t cudaMemcpyArrayToArray(CUarray to, size_t to_x, size_t to_y, CUarray from, size_t x,
                                   size_t y, size_t count, int kind);
cudaError_t cudaMemcpyArrayToArray_ptds(CUarray to, size_t to_x, size_t to_y, CUarray from,
                                        size_t x, size_t y, size_t count, int kind);
cudaError_t cudaMemcpy2DArrayToArray_ptds(CUarray to, size_t to_x, size_t to_y, CUarray from,
                                          size_t x, size_t y, size_t width, size_t height,
                                          int kind);
cudaError_t cudaMemcpy3D(const struct copy_3d *p);
cudaError_t cudaMemcpy3DAsync(const struct copy_3d *p, CUstream stream);
cudaError_t cudaMemcpy3DPeer(const struct copy_peer *p);
cudaError_t cudaMemcpy3DPeer_ptds(const struct copy_peer *p);
cudaError_t cudaStreamCreate(CUstream *stream);
cudaError_t cudaStreamSynchronize(CUstream stream);
cudaError_t cudaCreateTextureObject(CUtexObject *object, const struct resource_desc *resource,
                                    const struct texture_desc *texture,
                                    const struct view_desc *view);
cudaError_t cudaDestroyTextureObject(CUtexObject object);
cudaError_t cudaGetTextureObjectResourceDesc(struct resource_desc *resource, CUtexObject object);
cudaError_t cudaGetTextureObjectTextureDesc(struct texture_desc *texture, CUtexObject object);
cudaError_t cudaGetTextureObjectResourceViewDesc(struct view_desc *view, CUtexObject object);
#if CUDART_MAJOR == 12
#define FAILED_TYPE size_t *failed,
#define FAILED      &failed,
#else
#define FAILED_TYPE
#define FAILED
#endif
cudaError_t cudaMemcpyBatchAsync(void *const *to, const void *const *from, const size_t *sizes,
                                 size_t count, CUmemcpyAttributes *how, size_t *firsts,
                                 size_t kinds, FAILED_TYPE CUstream stream);
cudaError_t cudaMemcpy3DBatchAsync(size_t count, CUDA_MEMCPY3D_BATCH_OP *list,
                                   FAILED_TYPE unsigned long long flags, CUstream stream);

#define OK(call) assert_int_equal(call, 0)

static const struct channel_desc bytes4 = {8, 8, 8, 8, 1}, bad = {8, 16, 0, 0, 1};

static int teardown(void **state)
{
    (void)state;
    return cudaDeviceReset();
}

static const char text[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".visible .entry read(.param .u64 t, .param .u64 out) {\n"
    "  .reg .b32 %r<8>; .reg .b64 %d<4>; .reg .f32 %f<8>;\n"
    "  ld.param.u64 %d0, [t]; ld.param.u64 %d1, [out]; mov.u32 %r0, %tid.x;\n"
    "  cvt.rn.f32.u32 %f1, %r0; mov.f32 %f0, 0f3F000000;\n"
    "  tex.level.2d.v4.u32.f32 {%r4, %r5, %r6, %r7}, [%d0, {%f0, %f0}], %f1;\n"
    "  mul.wide.u32 %d2, %r0, 16; add.u64 %d1, %d1, %d2;\n"
    "  st.global.v4.u32 [%d1], {%r4, %r5, %r6, %r7}; ret; }\n";

static void test_mipmaps(void **state)
{
    static const unsigned char texels[8 * 4 * 4] = {[2 * 32 + 4 * 4] = 255, 1, 2, 128};
    static const unsigned char small[4 * 2 * 4] = {[4 * 4 + 2 * 4] = 9, 10, 11, 12};
    struct resource_desc resource = {.type = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY};
    struct texture_desc how = {.read_mode = 1, .srgb = 1, .normalized = 1, .most = 9};
    struct view_desc view = {.format = 3, .width = 8, .height = 4, .last_level = 1}, got;
    CUDA_ARRAY_MEMORY_REQUIREMENTS need;
    CUDA_ARRAY_SPARSE_PROPERTIES sparse;
    CUmipmappedArray m;
    CUtexObject texture;
    CUfunction function;
    CUmodule module;
    CUarray level;
    void *memory;
    void *parameters[] = {&texture, &memory};
    float out[3][4];

    (void)state;
    OK(cudaMalloc(&memory, sizeof(out)));
    assert_int_equal(cudaMallocMipmappedArray(&m, &bad, (struct extent){8, 4, 0}, 3, 0),
                     RT_INVALID_VALUE);
    OK(cudaMallocMipmappedArray(&m, &bytes4, (struct extent){8, 4, 0}, 3, 0));
    OK(cudaGetMipmappedArrayLevel(&level, m, 0));
    OK(cudaMemcpy2DToArray(level, 0, 0, texels, 32, 32, 4, RT_HOST_TO_DEVICE));
    assert_int_equal(cudaArrayGetPlane(&level, level, 0), RT_INVALID_VALUE);
    assert_int_equal(cudaArrayGetSparseProperties(&sparse, level), RT_INVALID_VALUE);
    assert_int_equal(cudaArrayGetMemoryRequirements(&need, level, 0), RT_INVALID_VALUE);
    assert_int_equal(cudaMipmappedArrayGetSparseProperties(&sparse, m), RT_INVALID_VALUE);
    assert_int_equal(cudaMipmappedArrayGetMemoryRequirements(&need, m, 0), RT_INVALID_VALUE);
    OK(cudaGetMipmappedArrayLevel(&level, m, 1));
    OK(cudaMemcpy2DToArray(level, 0, 0, small, 16, 16, 2, RT_HOST_TO_DEVICE));
    assert_int_equal(cudaGetMipmappedArrayLevel(&level, m, 3), RT_INVALID_VALUE);
    resource.res.mipmap = m;
    OK(cudaCreateTextureObject(&texture, &resource, &how, &view));
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&function, module, "read"));
    OK(cuLaunchKernel(function, 1, 1, 1, 3, 1, 1, 0, NULL, parameters, NULL));
    OK(cudaMemcpy(out, memory, sizeof(out), RT_DEVICE_TO_HOST));
    assert_true(out[0][0] == 1 && out[0][3] == 128.0f / 255);
    assert_true(out[1][3] == 12.0f / 255);
    assert_true(out[2][3] == 12.0f / 255); /* the view has two levels */
    memset(&resource, 0, sizeof(resource));
    memset(&how, 0, sizeof(how));
    memset(&got, 0, sizeof(got));
    OK(cudaGetTextureObjectResourceDesc(&resource, texture));
    OK(cudaGetTextureObjectTextureDesc(&how, texture));
    OK(cudaGetTextureObjectResourceViewDesc(&got, texture));
    assert_int_equal(resource.type, CU_RESOURCE_TYPE_MIPMAPPED_ARRAY);
    assert_ptr_equal(resource.res.mipmap, m);
    assert_true(how.srgb && how.most == 9 && !how.seamless_cubemap);
    assert_memory_equal(&got, &view, offsetof(struct view_desc, reserved));
    OK(cudaDestroyTextureObject(texture));
    OK(cudaCreateTextureObject(&texture, &resource, &how, NULL));
    assert_int_equal(cudaGetTextureObjectResourceViewDesc(&got, texture), RT_INVALID_VALUE);
    OK(cudaDestroyTextureObject(texture));
    OK(cudaFreeMipmappedArray(m));
    OK(cudaFreeMipmappedArray(NULL));
}

static void test_copies(void **state)
{
    static unsigned char in[4][32], out[4][32], line[64], back[64];
    CUmemcpyAttributes how = {.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM};
    struct copy_peer peer = {.extent = {3, 2, 1}, .from_at = {2, 1, 0}, .to_at = {1, 0, 0}};
    CUDA_MEMCPY3D_BATCH_OP op;
    void *memory, *to[2];
    const void *from[2];
    size_t sizes[2] = {64, 16}, first = 0, width;
    CUarray a, b;
    CUstream stream;
#if CUDART_MAJOR == 12
    size_t failed;
#endif

    (void)state;
    for (unsigned i = 0; i < sizeof(in); i++)
        ((unsigned char *)in)[i] = line[i % 64] = (unsigned char)(i * 3 + 1);
    OK(cudaMallocArray(&a, &bytes4, 8, 4, 0));
    OK(cudaMallocArray(&b, &bytes4, 4, 8, 0));
    OK(cudaMemcpy2DToArray(a, 0, 0, in, 32, 32, 4, RT_HOST_TO_DEVICE));
    /* 60 bytes from the middle of a row, into rows of half the width. */
    OK(cudaMemcpyArrayToArray(b, 8, 1, a, 20, 1, 60, RT_DEVICE_TO_DEVICE));
    OK(cudaMemcpy2DFromArray(out, 16, b, 0, 0, 16, 8, RT_DEVICE_TO_HOST));
    assert_memory_equal((unsigned char *)out + 24, (unsigned char *)in + 52, 60);
    assert_int_equal(cudaMemcpyArrayToArray(b, 0, 0, a, 32, 0, 4, RT_DEVICE_TO_DEVICE),
                     RT_INVALID_VALUE);
    assert_int_equal(cudaMemcpyArrayToArray(b, 0, 0, a, 0, 3, 64, RT_DEVICE_TO_DEVICE),
                     RT_INVALID_VALUE);
    OK(cudaMemcpyArrayToArray_ptds(b, 0, 0, a, 0, 0, 16, RT_DEVICE_TO_DEVICE));
    OK(cudaMemcpy2DArrayToArray_ptds(b, 0, 2, a, 16, 2, 16, 2, RT_DEVICE_TO_DEVICE));
    OK(cudaStreamSynchronize(RT_PER_THREAD));
    OK(cudaMemcpy2DFromArray(out, 16, b, 0, 0, 16, 8, RT_DEVICE_TO_HOST));
    assert_memory_equal(out, in, 16);
    assert_memory_equal((unsigned char *)out + 32, &in[2][16], 16);
    assert_memory_equal((unsigned char *)out + 48, &in[3][16], 16);
    peer.from_array = a;
    peer.to_array = b;
    OK(cudaMemcpy3DPeer(&peer));
    OK(cudaMemcpy3DPeer_ptds(&peer));
    OK(cudaStreamSynchronize(RT_PER_THREAD));
    OK(cudaMemcpy2DFromArray(out, 16, b, 0, 0, 16, 8, RT_DEVICE_TO_HOST));
    assert_memory_equal((unsigned char *)out + 4, &in[1][8], 12);
    peer.to_device = 99;
    assert_int_equal(cudaMemcpy3DPeer(&peer), RT_INVALID_DEVICE);
    OK(cudaMalloc(&memory, 128));
    OK(cudaStreamCreate(&stream));
    to[0] = memory;
    to[1] = (char *)memory + 64;
    from[0] = from[1] = line;
    OK(cudaMemcpyBatchAsync(to, from, sizes, 2, &how, &first, 1, FAILED stream));
    memset(&op, 0, sizeof(op));
    op.src = (CUmemcpy3DOperand){.type = CU_MEMCPY_OPERAND_TYPE_POINTER,
                                 .op.ptr.ptr = (uintptr_t)memory};
    op.dst =
        (CUmemcpy3DOperand){.type = CU_MEMCPY_OPERAND_TYPE_POINTER, .op.ptr.ptr = (uintptr_t)back};
    op.extent.width = 64;
    op.extent.height = op.extent.depth = 1;
    op.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
    OK(cudaMemcpy3DBatchAsync(1, &op, FAILED 0, stream));
    OK(cudaStreamSynchronize(stream));
    assert_memory_equal(back, line, 64);
    how.srcAccessOrder = 9;
    assert_int_equal(cudaMemcpyBatchAsync(to, from, sizes, 2, &how, &first, 1, FAILED stream),
                     RT_INVALID_VALUE);
    OK(cudaDeviceGetTexture1DLinearMaxWidth(&width, &bytes4, 0));
    assert_int_equal(width, 1 << 28);
    OK(cudaFree(memory));
    OK(cudaFreeArray(a));
    OK(cudaFreeArray(b));
}

/* What is wrong with a copy is said as the runtime says it. */
static void test_refused(void **state)
{
    static const struct channel_desc byte = {8, 0, 0, 0, 1};
    static unsigned char in[4][16];
    CUarray a, b;
    struct copy_3d p = {.srcPtr = {in, 16, 16, 4}, .extent = {4, 4, 1}, .kind = RT_HOST_TO_DEVICE};

    (void)state;
    OK(cudaMallocArray(&a, &bytes4, 4, 4, 0));
    OK(cudaMallocArray(&b, &byte, 16, 4, 0));
    assert_int_equal(cudaMemcpy3D(&p), RT_INVALID_VALUE); /* to nothing */
    p.dstArray = a;
    OK(cudaMemcpy3D(&p));
    p.kind = -1;
    assert_int_equal(cudaMemcpy3D(&p), RT_INVALID_MEMCPY_DIRECTION);
    assert_int_equal(cudaMemcpy3DAsync(&p, NULL), RT_INVALID_MEMCPY_DIRECTION);
    p.kind = RT_HOST_TO_DEVICE;
    p.srcPtr.pitch = 15;
    assert_int_equal(cudaMemcpy3D(&p), RT_INVALID_PITCH);
    assert_int_equal(cudaMemcpy3DAsync(&p, NULL), RT_INVALID_PITCH);
    p.srcPtr.pitch = 16;
    p.srcArray = b; /* beside memory */
    assert_int_equal(cudaMemcpy3D(&p), RT_INVALID_VALUE);
    p.srcPtr.ptr = NULL; /* of elements of another size */
    p.kind = RT_DEVICE_TO_DEVICE;
    assert_int_equal(cudaMemcpy3D(&p), RT_INVALID_VALUE);
    p.srcArray = a;
    OK(cudaMemcpy3D(&p));
    assert_int_equal(cudaMemcpy3D(NULL), RT_INVALID_VALUE);
    OK(cudaFreeArray(b));
    OK(cudaFreeArray(a));
}

/* Nothing of nothing, and too much. */
static void test_sizes(void **state)
{
    const size_t most = SIZE_MAX;
    struct pitched p;
    size_t pitch;
    void *memory = &pitch;

    (void)state;
    OK(cudaMallocPitch(&memory, &pitch, 0, 4));
    assert_null(memory);
    memory = &pitch;
    OK(cudaMallocPitch(&memory, &pitch, 4, 0));
    assert_null(memory);
    OK(cudaMalloc3D(&p, (struct extent){4, 4, 0}));
    assert_null(p.ptr);
    assert_int_equal(cudaMalloc3D(NULL, (struct extent){4, 4, 4}), RT_INVALID_VALUE);
    assert_int_equal(cudaMallocPitch(&memory, NULL, 4, 4), RT_INVALID_VALUE);
    assert_int_equal(cudaMallocPitch(NULL, &pitch, 4, 4), RT_INVALID_VALUE);
    assert_int_equal(cudaMallocPitch(&memory, &pitch, most, 1), RT_INVALID_VALUE);
    assert_int_equal(cudaMallocPitch(&memory, &pitch, 1, most), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(cudaMalloc3D(&p, (struct extent){1, 1, most}), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(cudaMalloc3D(&p, (struct extent){1, most, 2}), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(cudaMalloc3D(&p, (struct extent){most, most, most}), RT_INVALID_VALUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_mipmaps, teardown),
        cmocka_unit_test_teardown(test_copies, teardown),
        cmocka_unit_test_teardown(test_refused, teardown),
        cmocka_unit_test_teardown(test_sizes, teardown),
    };

    return cmocka_run_group_tests_name("cudart_array", tests, NULL, NULL);
}
