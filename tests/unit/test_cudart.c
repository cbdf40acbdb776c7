/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <pthread.h>

#include <compute/cuda/runtime/runtime.h>

/*
 * The runtime API as a compiler's stubs use it: a fatbin with PTX, registered by hand, kernels
 * launched by the address of a host function.
 */

/* Of the runtime; the compiler declares them in programs. */
void **__cudaRegisterFatBinary(void *image);
void __cudaRegisterFatBinaryEnd(void **handle);
void __cudaUnregisterFatBinary(void **handle);
void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name,
                            int limit, void *tid, void *bid, void *block, void *grid, int *warp);
void __cudaRegisterVar(void **handle, char *host, char *device, const char *name, int ext,
                       size_t size, int constant, int global);
unsigned __cudaPushCallConfiguration(struct dim3 grid, struct dim3 block, size_t shared,
                                     CUstream stream);
cudaError_t __cudaPopCallConfiguration(struct dim3 *grid, struct dim3 *block, size_t *shared,
                                       CUstream *stream);
cudaError_t __cudaGetKernel(const void **ret_kernel, const void *host);
cudaError_t __cudaLaunchKernel(const void *kernel, struct dim3 grid, struct dim3 block, void **args,
                               size_t shared, CUstream stream);
cudaError_t cudaLaunchKernel(const void *host, struct dim3 grid, struct dim3 block, void **args,
                             size_t shared, CUstream stream);
cudaError_t cudaLaunchKernel_ptsz(const void *host, struct dim3 grid, struct dim3 block,
                                  void **args, size_t shared, CUstream stream);
cudaError_t cudaMalloc(void **memory, size_t size);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int kind);
cudaError_t cudaMemcpy_ptds(void *to, const void *from, size_t size, int kind);
cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                         size_t width, size_t height, int kind);
cudaError_t cudaMallocPitch(void **memory, size_t *pitch, size_t width, size_t height);
cudaError_t cudaMemset(void *memory, int value, size_t size);
cudaError_t cudaMemcpyToSymbol(const void *host, const void *from, size_t count, size_t offset,
                               int kind);
cudaError_t cudaMemcpyFromSymbol(void *to, const void *host, size_t count, size_t offset, int kind);
cudaError_t cudaGetSymbolSize(size_t *ret_size, const void *host);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
const char *cudaGetErrorName(cudaError_t err);
const char *cudaGetErrorString(cudaError_t err);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaDeviceReset(void);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaStreamCreate(CUstream *stream);
cudaError_t cudaStreamDestroy(CUstream stream);
cudaError_t cudaStreamSynchronize(CUstream stream);
cudaError_t cudaStreamBeginCapture(CUstream stream, int mode);
cudaError_t cudaStreamEndCapture(CUstream stream, CUgraph *graph);
cudaError_t cudaGraphInstantiate(CUgraphExec *exec, CUgraph graph, unsigned long long flags);
struct node_kernel {
    const void *func;
    struct dim3 grid, block;
    unsigned shared;
    void **args, **extra;
};
cudaError_t cudaGraphCreate(CUgraph *graph, unsigned flags);
cudaError_t cudaGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                   size_t count, const struct node_kernel *p);
cudaError_t cudaGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                   size_t count, const CUDA_MEMSET_NODE_PARAMS *p);
cudaError_t cudaGraphAddMemcpyNode1D(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                     size_t count, void *to, const void *from, size_t size,
                                     int kind);
cudaError_t cudaDeviceGetDefaultMemPool(CUmemoryPool *pool, int device);
cudaError_t cudaMallocFromPoolAsync(void **memory, size_t size, CUmemoryPool pool, CUstream stream);
cudaError_t cudaProfilerStart(void);
cudaError_t cudaGraphLaunch(CUgraphExec exec, CUstream stream);
cudaError_t cudaGraphExecDestroy(CUgraphExec exec);
cudaError_t cudaGraphDestroy(CUgraph graph);

struct resource_desc {
    int type;
    union {
        CUarray array;
        struct {
            void *memory;
            struct channel_desc desc;
            size_t size;
        } linear;
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
struct copy_parms {
    CUarray from_array;
    size_t from_at[3];
    struct {
        void *memory;
        size_t pitch, width, height;
    } from;
    CUarray to_array;
    size_t to_at[3];
    struct {
        void *memory;
        size_t pitch, width, height;
    } to;
    struct extent extent;
    int kind;
};
struct channel_desc cudaCreateChannelDesc(int x, int y, int z, int w, int kind);
cudaError_t cudaMallocArray(CUarray *array, const struct channel_desc *desc, size_t width,
                            size_t height, unsigned flags);
cudaError_t cudaMalloc3DArray(CUarray *array, const struct channel_desc *desc, struct extent extent,
                              unsigned flags);
cudaError_t cudaFreeArray(CUarray array);
cudaError_t cudaArrayGetInfo(struct channel_desc *desc, struct extent *extent, unsigned *flags,
                             CUarray array);
cudaError_t cudaMemcpy2DToArray(CUarray to, size_t x, size_t y, const void *from, size_t pitch,
                                size_t width, size_t height, int kind);
cudaError_t cudaMemcpy2DFromArray(void *to, size_t pitch, CUarray from, size_t x, size_t y,
                                  size_t width, size_t height, int kind);
cudaError_t cudaMemcpy2DToArray_ptds(CUarray to, size_t x, size_t y, const void *from, size_t pitch,
                                     size_t width, size_t height, int kind);
cudaError_t cudaMemcpyFromArray_ptds(void *to, CUarray from, size_t x, size_t y, size_t count,
                                     int kind);
cudaError_t cudaMemcpyToArray(CUarray to, size_t x, size_t y, const void *from, size_t count,
                              int kind);
cudaError_t cudaMemcpyFromArray(void *to, CUarray from, size_t x, size_t y, size_t count, int kind);
cudaError_t cudaMemcpy3D(const struct copy_parms *p);
cudaError_t cudaCreateTextureObject(CUtexObject *object, const struct resource_desc *resource,
                                    const struct texture_desc *texture, const void *view);
cudaError_t cudaDestroyTextureObject(CUtexObject object);
cudaError_t cudaGetTextureObjectResourceDesc(struct resource_desc *resource, CUtexObject object);
cudaError_t cudaGetTextureObjectTextureDesc(struct texture_desc *texture, CUtexObject object);
cudaError_t cudaCreateSurfaceObject(CUsurfObject *object, const struct resource_desc *resource);
cudaError_t cudaDestroySurfaceObject(CUsurfObject object);

/* x[i] = x[i] * factor + add, and a kernel that reads nowhere. */
static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                          ".const .align 4 .u32 factor;\n"
                          ".visible .entry work(.param .u64 p, .param .u32 add)\n"
                          "{\n"
                          ".reg .b32 %r<6>; .reg .b64 %d<3>;\n"
                          "ld.param.u64 %d0, [p]; ld.param.u32 %r0, [add];\n"
                          "mov.u32 %r1, %tid.x; mul.wide.u32 %d1, %r1, 4; add.u64 %d2, %d0, %d1;\n"
                          "ld.global.u32 %r2, [%d2]; ld.const.u32 %r3, [factor];\n"
                          "mad.lo.u32 %r4, %r2, %r3, %r0; st.global.u32 [%d2], %r4;\n"
                          "ret;\n}\n"
                          ".visible .entry sample(.param .u64 t, .param .u64 p)\n"
                          "{\n.reg .b64 %d<4>; .reg .b32 %r0; .reg .f32 %f<6>;\n"
                          "ld.param.u64 %d0, [t]; ld.param.u64 %d1, [p]; mov.u32 %r0, %tid.x;\n"
                          "cvt.rn.f32.u32 %f0, %r0; mov.f32 %f1, 0f3FC00000;\n"
                          "tex.2d.v4.f32.f32 {%f2, %f3, %f4, %f5}, [%d0, {%f0, %f1}];\n"
                          "mul.wide.u32 %d2, %r0, 4; add.u64 %d1, %d1, %d2;\n"
                          "st.global.f32 [%d1], %f2; ret;\n}\n"
                          ".visible .entry fault()\n"
                          "{\n.reg .b64 %d0; .reg .b32 %r0;\n"
                          "mov.u64 %d0, 64; ld.global.u32 %r0, [%d0]; st.global.u32 [%d0], %r0;\n"
                          "ret;\n}\n";

/* A fatbin as compilers write it: wrapper, header, one entry of PTX as it is. */
static struct {
    struct {
        uint32_t magic, version;
        const void *data, *more;
    } wrapper;
    struct {
        uint32_t magic;
        uint16_t version, header_bytes;
        uint64_t bytes;
        uint16_t kind, entry_version;
        uint32_t entry_header;
        uint64_t entry_bytes;
        uint32_t compressed, unknown;
        uint16_t minor, major;
        uint32_t target;
        uint64_t names, flags, reserved, plain;
        char text[(sizeof(ptx) + 7) / 8 * 8];
    } fatbin;
} image;

/* Stand for kernels and variables in the program. */
static char host_work, host_sample, host_fault, host_missing, host_factor, host_unknown;
static void **binary;

static void enroll(void)
{
    image.wrapper.magic = 0x466243b1;
    image.wrapper.version = 1;
    image.wrapper.data = &image.fatbin;
    image.fatbin.magic = 0xba55ed50;
    image.fatbin.version = 1;
    image.fatbin.header_bytes = 16;
    image.fatbin.kind = 1;
    image.fatbin.entry_version = 0x101;
    image.fatbin.entry_header = 64;
    image.fatbin.entry_bytes = sizeof(image.fatbin.text);
    image.fatbin.minor = 0;
    image.fatbin.major = 7;
    image.fatbin.target = 70;
    image.fatbin.bytes = 64 + sizeof(image.fatbin.text);
    memcpy(image.fatbin.text, ptx, sizeof(ptx));
    binary = __cudaRegisterFatBinary(&image.wrapper);
    assert_non_null(binary);
    __cudaRegisterFunction(binary, &host_sample, &host_sample, "sample", -1, NULL, NULL, NULL, NULL,
                           NULL);
    __cudaRegisterFunction(binary, &host_work, &host_work, "work", -1, NULL, NULL, NULL, NULL,
                           NULL);
    __cudaRegisterFunction(binary, &host_fault, &host_fault, "fault", -1, NULL, NULL, NULL, NULL,
                           NULL);
    __cudaRegisterFunction(binary, &host_missing, &host_missing, "missing", -1, NULL, NULL, NULL,
                           NULL, NULL);
    __cudaRegisterVar(binary, &host_factor, &host_factor, "factor", 0, 4, 1, 0);
    __cudaRegisterFatBinaryEnd(binary);
}

static int setup(void **state)
{
    (void)state;
    enroll();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cudaDeviceReset();
    __cudaUnregisterFatBinary(binary);
    cudaGetLastError();
    return 0;
}

/* As the stub of a kernel: what was pushed is taken and launched. */
static cudaError_t stub_work(void *memory, unsigned more)
{
    struct dim3 grid, block;
    size_t shared;
    CUstream stream;
    void *args[] = {&memory, &more};

    if (__cudaPopCallConfiguration(&grid, &block, &shared, &stream))
        return -1;
    return cudaLaunchKernel(&host_work, grid, block, args, shared, stream);
}

static unsigned *fill_numbers(void)
{
    unsigned numbers[64], *memory = NULL, two = 2;

    for (unsigned i = 0; i < 64; i++)
        numbers[i] = i;
    assert_int_equal(cudaMalloc((void **)&memory, sizeof(numbers)), 0);
    assert_int_equal(cudaMemcpy(memory, numbers, sizeof(numbers), RT_HOST_TO_DEVICE), 0);
    assert_int_equal(cudaMemcpyToSymbol(&host_factor, &two, 4, 0, RT_HOST_TO_DEVICE), 0);
    return memory;
}

static void expect_numbers(const unsigned *memory, unsigned factor, unsigned more)
{
    unsigned numbers[64];

    assert_int_equal(cudaMemcpy(numbers, memory, sizeof(numbers), RT_DEFAULT), 0);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(numbers[i], i * factor + more);
}

static void test_launch(void **state)
{
    struct dim3 one = {1, 1, 1}, lanes = {64, 1, 1};
    unsigned *memory = fill_numbers(), more = 1;
    void *args[] = {&memory, &more};
    const void *kernel;

    (void)state;
    assert_int_equal(__cudaPushCallConfiguration(one, lanes, 0, NULL), 0);
    assert_int_equal(stub_work(memory, 5), 0);
    expect_numbers(memory, 2, 5);
    /* The ways of newer compilers, and of a default stream per thread. */
    assert_int_equal(__cudaGetKernel(&kernel, &host_work), 0);
    assert_int_equal(__cudaLaunchKernel(kernel, one, lanes, args, 0, NULL), 0);
    expect_numbers(memory, 4, 11);
    assert_int_equal(cudaLaunchKernel_ptsz(&host_work, one, lanes, args, 0, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), 0);
    expect_numbers(memory, 8, 23);
    assert_int_equal(stub_work(memory, 5), -1); /* nothing was pushed */
    assert_int_equal(cudaGetLastError(), 52);
    assert_int_equal(cudaFree(memory), 0);
}

static void test_errors(void **state)
{
    struct dim3 one = {1, 1, 1}, many = {2048, 1, 1};
    unsigned *memory = fill_numbers(), more = 1, number;
    void *args[] = {&memory, &more};
    size_t size;

    (void)state;
    assert_int_equal(cudaLaunchKernel(&host_work, one, many, args, 0, NULL),
                     RT_INVALID_CONFIGURATION);
    /* It stays until it is fetched, whatever succeeds meanwhile. */
    assert_int_equal(cudaDeviceSynchronize(), 0);
    assert_int_equal(cudaPeekAtLastError(), RT_INVALID_CONFIGURATION);
    assert_int_equal(cudaGetLastError(), RT_INVALID_CONFIGURATION);
    assert_int_equal(cudaGetLastError(), 0);
    assert_string_equal(cudaGetErrorName(RT_INVALID_CONFIGURATION),
                        "cudaErrorInvalidConfiguration");
    assert_string_equal(cudaGetErrorName(0), "cudaSuccess");
    assert_string_equal(cudaGetErrorName(98765), "unrecognized error code");
    /* One of the runtime's own, one that both have, one that nobody has. */
    assert_string_equal(cudaGetErrorString(12), "invalid pitch argument");
    assert_string_equal(cudaGetErrorString(904), "capturing stream has unjoined work");
    assert_string_equal(cudaGetErrorString(12345), "unrecognized error code");
    assert_string_equal(cudaGetErrorString(RT_INVALID_CONFIGURATION),
                        "invalid configuration argument");
    assert_int_equal(cudaLaunchKernel(&host_missing, one, one, NULL, 0, NULL),
                     RT_INVALID_DEVICE_FUNCTION);
    assert_int_equal(cudaLaunchKernel(&host_unknown, one, one, NULL, 0, NULL),
                     RT_INVALID_DEVICE_FUNCTION);
    assert_int_equal(cudaMemcpyFromSymbol(&number, &host_unknown, 4, 0, RT_DEVICE_TO_HOST),
                     RT_INVALID_SYMBOL);
    assert_int_equal(cudaMemcpyFromSymbol(&number, &host_factor, 4, 1, RT_DEVICE_TO_HOST),
                     RT_INVALID_VALUE);
    assert_int_equal(cudaMemcpy(&number, memory, 4, 9), RT_INVALID_MEMCPY_DIRECTION);
    assert_int_equal(cudaMemcpyFromSymbol(&number, &host_factor, 4, 0, RT_HOST_TO_DEVICE),
                     RT_INVALID_MEMCPY_DIRECTION);
    assert_int_equal(cudaSetDevice(99), RT_INVALID_DEVICE);
    assert_int_equal(cudaGetSymbolSize(&size, &host_factor), 0);
    assert_int_equal(size, 4);
    assert_int_equal(cudaMemcpyFromSymbol(&number, &host_factor, 4, 0, RT_DEVICE_TO_HOST), 0);
    assert_int_equal(number, 2);
    cudaGetLastError();
}

/* A fault poisons the context; after a reset the same program goes on. */
static void test_fault(void **state)
{
    struct dim3 one = {1, 1, 1}, lanes = {64, 1, 1};
    unsigned *memory;

    (void)state;
    assert_int_equal(cudaLaunchKernel(&host_fault, one, one, NULL, 0, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(cudaMalloc((void **)&memory, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
    cudaDeviceReset();
    cudaGetLastError();
    memory = fill_numbers();
    __cudaPushCallConfiguration(one, lanes, 0, NULL);
    assert_int_equal(stub_work(memory, 3), 0);
    expect_numbers(memory, 2, 3);
}

/* memset, kernel, copy, one after the other: 3 * 2 + 1. */
static void test_nodes(void **state)
{
    unsigned *memory = fill_numbers(), more = 1, got[64], *pooled = NULL;
    void *args[] = {&memory, &more};
    struct node_kernel kernel = {&host_work, {1, 1, 1}, {64, 1, 1}, 0, args, NULL};
    CUDA_MEMSET_NODE_PARAMS set = {(CUdeviceptr)(uintptr_t)memory, 0, 3, 4, 64, 1};
    CUgraphNode nodes[3];
    CUgraphExec exec;
    CUmemoryPool pool;
    CUgraph graph;

    (void)state;
    assert_int_equal(cudaProfilerStart(), 0);
    assert_int_equal(cudaGraphCreate(&graph, 0), 0);
    assert_int_equal(cudaGraphAddMemsetNode(&nodes[0], graph, NULL, 0, &set), 0);
    assert_int_equal(cudaGraphAddKernelNode(&nodes[1], graph, &nodes[0], 1, &kernel), 0);
    assert_int_equal(cudaGraphAddMemcpyNode1D(&nodes[2], graph, &nodes[1], 1, got, memory,
                                              sizeof(got), RT_DEVICE_TO_HOST),
                     0);
    assert_int_equal(cudaGraphAddMemcpyNode1D(&nodes[2], graph, NULL, 0, got, memory, 4, 9),
                     RT_INVALID_MEMCPY_DIRECTION);
    kernel.func = &host_unknown;
    assert_int_equal(cudaGraphAddKernelNode(&nodes[1], graph, NULL, 0, &kernel),
                     RT_INVALID_DEVICE_FUNCTION);
    assert_int_equal(cudaGraphInstantiate(&exec, graph, 0), 0);
    assert_int_equal(cudaGraphLaunch(exec, NULL), 0);
    assert_int_equal(cudaDeviceSynchronize(), 0);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(got[i], 7);
    assert_int_equal(cudaGraphExecDestroy(exec), 0);
    assert_int_equal(cudaGraphDestroy(graph), 0);
    assert_int_equal(cudaDeviceGetDefaultMemPool(&pool, 0), 0);
    assert_int_equal(cudaMallocFromPoolAsync((void **)&pooled, 64, pool, NULL), 0);
    assert_int_equal(cudaMemcpy(pooled, got, 64, RT_HOST_TO_DEVICE), 0);
    assert_int_equal(cudaFree(pooled), 0);
    cudaGetLastError();
}

static void test_graph(void **state)
{
    struct dim3 one = {1, 1, 1}, lanes = {64, 1, 1};
    unsigned *memory = fill_numbers();
    CUgraphExec exec;
    CUstream stream;
    CUgraph graph;

    (void)state;
    assert_int_equal(cudaStreamCreate(&stream), 0);
    assert_int_equal(cudaStreamBeginCapture(stream, 0), 0);
    __cudaPushCallConfiguration(one, lanes, 0, stream);
    assert_int_equal(stub_work(memory, 1), 0);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), 0);
    assert_int_equal(cudaGraphInstantiate(&exec, graph, 0), 0);
    expect_numbers(memory, 1, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cudaGraphLaunch(exec, stream), 0);
    assert_int_equal(cudaStreamSynchronize(stream), 0);
    expect_numbers(memory, 8, 7);
    assert_int_equal(cudaGraphExecDestroy(exec), 0);
    assert_int_equal(cudaGraphDestroy(graph), 0);
    assert_int_equal(cudaStreamDestroy(stream), 0);
}

static void test_memory(void **state)
{
    char from[5][33], to[5][33], *memory;
    size_t pitch;

    (void)state;
    memset(from, 7, sizeof(from));
    from[2][3] = 9;
    assert_int_equal(cudaMallocPitch((void **)&memory, &pitch, 33, 5), 0);
    assert_true(pitch >= 33);
    assert_int_equal(cudaMemset(memory, 1, pitch), 0);
    assert_int_equal(cudaMemcpy2D(memory, pitch, from, 33, 33, 5, RT_HOST_TO_DEVICE), 0);
    assert_int_equal(cudaMemcpy2D(to, 32, memory, pitch, 33, 5, RT_DEFAULT), RT_INVALID_PITCH);
    assert_int_equal(cudaMemcpy2D(to, 33, memory, 32, 33, 5, RT_DEFAULT), RT_INVALID_PITCH);
    assert_int_equal(cudaMemcpy2D(to, 33, memory, pitch, 33, 5, RT_DEFAULT), 0);
    assert_memory_equal(to, from, sizeof(to));
    memset(to, 0, sizeof(to));
    assert_int_equal(cudaMemcpy_ptds(to, memory, 33, RT_DEVICE_TO_HOST), 0);
    assert_memory_equal(to, from, 33);
    assert_int_equal(cudaFree(memory), 0);
    assert_int_equal(cudaFree(memory), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cudaFree(NULL), 0);
    assert_int_equal(cudaMalloc((void **)&memory, 0), 0);
    cudaGetLastError();
}

static void *thread_run(void *arg)
{
    struct dim3 one = {1, 1, 1}, lanes = {64, 1, 1};

    for (int i = 0; i < 20; i++) {
        unsigned *memory = fill_numbers();

        __cudaPushCallConfiguration(one, lanes, 0, NULL);
        assert_int_equal(stub_work(memory, (unsigned)i), 0);
        expect_numbers(memory, 2, (unsigned)i);
        assert_int_equal(cudaFree(memory), 0);
    }
    /* Each thread has its own last error. */
    assert_int_equal(cudaPeekAtLastError(), 0);
    return arg;
}

static void test_threads(void **state)
{
    pthread_t threads[4];

    (void)state;
    assert_int_equal(cudaSetDevice(99), RT_INVALID_DEVICE);
    for (size_t i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, thread_run, NULL), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(cudaGetLastError(), RT_INVALID_DEVICE);
}

#define CUDA_OK(call) assert_int_equal(call, 0)

static void test_texture(void **state)
{
    struct channel_desc desc = cudaCreateChannelDesc(32, 0, 0, 0, 2), got = {0};
    struct channel_desc bad = cudaCreateChannelDesc(32, 16, 0, 0, 2);
    struct resource_desc resource = {.type = 0};
    struct texture_desc how = {.address_mode = {1, 1, 1}, .filter_mode = 1};
    struct extent extent = {0};
    float texels[3][4], back[3][4] = {{0}}, *out;
    CUtexObject texture;
    CUsurfObject surface;
    CUarray array, box;
    struct copy_parms c = {.kind = 1};
    void *args[] = {&texture, &out};
    unsigned flags;

    (void)state;
    for (int i = 0; i < 12; i++)
        ((float *)texels)[i] = (float)(i * i);
    CUDA_OK(cudaMallocArray(&array, &desc, 4, 3, 0));
    assert_int_equal(cudaMallocArray(&box, &bad, 4, 3, 0), RT_INVALID_VALUE);
    CUDA_OK(cudaArrayGetInfo(&got, &extent, &flags, array));
    assert_memory_equal(&got, &desc, sizeof(got));
    assert_int_equal(extent.width, 4);
    assert_int_equal(extent.depth, 0);
    CUDA_OK(cudaMemcpy2DToArray(array, 0, 0, texels, 16, 16, 3, 1));
    CUDA_OK(cudaMemcpy2DFromArray(back, 16, array, 4, 1, 12, 2, 2));
    assert_true(back[0][0] == texels[1][1] && back[1][2] == texels[2][3]);
    CUDA_OK(cudaMemcpyFromArray(back, array, 8, 0, 32, 2)); /* over three rows */
    assert_memory_equal(back, &texels[0][2], 32);
    CUDA_OK(cudaMemcpy2DToArray_ptds(array, 0, 0, texels, 16, 16, 3, 1));
    memset(back, 0, sizeof(back));
    CUDA_OK(cudaMemcpyFromArray_ptds(back, array, 0, 1, 16, 2));
    assert_memory_equal(back, texels[1], 16);
    resource.res.array = array;
    CUDA_OK(cudaCreateTextureObject(&texture, &resource, &how, NULL));
    CUDA_OK(cudaMalloc((void **)&out, 16));
    CUDA_OK(cudaLaunchKernel(&host_sample, (struct dim3){1, 1, 1}, (struct dim3){4, 1, 1}, args, 0,
                             NULL));
    CUDA_OK(cudaMemcpy(back, out, 16, 2));
    assert_true(back[0][0] == texels[1][0]);
    assert_true(back[0][2] == (texels[1][1] + texels[1][2]) / 2);
    memset(&how, 0, sizeof(how));
    CUDA_OK(cudaGetTextureObjectTextureDesc(&how, texture));
    assert_int_equal(how.filter_mode, 1);
    CUDA_OK(cudaGetTextureObjectResourceDesc(&resource, texture));
    assert_ptr_equal(resource.res.array, array);
    CUDA_OK(cudaDestroyTextureObject(texture));
    assert_int_equal(cudaCreateSurfaceObject(&surface, &resource), RT_INVALID_VALUE);
    CUDA_OK(cudaFreeArray(array));
    /* Positions and widths count texels where an array takes part. */
    CUDA_OK(cudaMalloc3DArray(&box, &desc, (struct extent){4, 2, 2}, CUDA_ARRAY3D_SURFACE_LDST));
    resource.res.array = box;
    CUDA_OK(cudaCreateSurfaceObject(&surface, &resource));
    CUDA_OK(cudaDestroySurfaceObject(surface));
    c.from.memory = texels;
    c.from.pitch = 16;
    c.from.height = 1;
    c.to_array = box;
    c.to_at[0] = 1;
    c.to_at[2] = 1;
    c.extent = (struct extent){3, 1, 1};
    CUDA_OK(cudaMemcpy3D(&c));
    CUDA_OK(cudaMemcpy2DFromArray(back, 16, box, 0, 0, 16, 1, 2));
    assert_true(back[0][1] == 0);
    c = (struct copy_parms){.from_array = box, .from_at = {2, 0, 1}, .kind = 2};
    c.to.memory = back;
    c.to.pitch = 16;
    c.to.height = 1;
    c.extent = (struct extent){2, 1, 1};
    CUDA_OK(cudaMemcpy3D(&c));
    assert_memory_equal(back, &texels[0][1], 8);
    CUDA_OK(cudaFreeArray(box));
    CUDA_OK(cudaFree(out));
}

/* A context that takes the place of one that is gone has the kernels, too. */
static void test_contexts(void **state)
{
    static const struct dim3 one = {1, 1, 1}, many = {64, 1, 1};
    unsigned *memory, three = 3, got;
    void *args[] = {&memory, &three};
    CUcontext context;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(cuCtxCreate_v2(&context, 0, 0), CUDA_SUCCESS);
        memory = fill_numbers();
        assert_int_equal(cudaLaunchKernel(&host_work, one, many, args, 0, NULL), 0);
        assert_int_equal(cudaMemcpy(&got, memory + 5, 4, RT_DEVICE_TO_HOST), 0);
        assert_int_equal(got, 5 * 2 + 3);
        assert_int_equal(cuCtxDestroy_v2(context), CUDA_SUCCESS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_launch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_contexts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(test_graph, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_texture, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
