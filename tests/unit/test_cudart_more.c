/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <compute/cuda/runtime/runtime.h>

/*
 * The runtime API: managed variables, libraries that are loaded by hand, hints, graphs whose
 * parameters change, entry points; once a major version, whose signatures differ.
 */

void **__cudaRegisterFatBinary(void *image);
void __cudaRegisterFatBinaryEnd(void **handle);
void __cudaUnregisterFatBinary(void **handle);
void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name,
                            int limit, void *tid, void *bid, void *block, void *grid, int *warp);
void __cudaRegisterManagedVar(void **handle, void **host, char *device, const char *name, int ext,
                              size_t size, int constant, int global);
char __cudaInitModule(void **handle);
cudaError_t cudaDeviceReset(void);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaGetLastError(void);
cudaError_t cudaMalloc(void **memory, size_t size);
cudaError_t cudaMallocManaged(void **memory, size_t size, unsigned flags);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int kind);
cudaError_t cudaMemcpyPeer(void *to, int to_device, const void *from, int from_device, size_t size);
cudaError_t cudaMemcpyToSymbol(const void *host, const void *from, size_t count, size_t offset,
                               int kind);
cudaError_t cudaGetSymbolAddress(void **address, const void *host);
cudaError_t cudaMemset3D(struct pitched memory, int value, struct extent extent);
cudaError_t cudaLaunchKernel(const void *host, struct dim3 grid, struct dim3 block, void **args,
                             size_t shared, CUstream stream);
cudaError_t cudaLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jit,
                                void **jit_values, unsigned jit_count, CUlibraryOption *options,
                                void **values, unsigned count);
cudaError_t cudaLibraryUnload(CUlibrary library);
cudaError_t cudaLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name);
cudaError_t cudaLibraryGetKernelCount(unsigned *count, CUlibrary library);
cudaError_t cudaLibraryGetGlobal(void **address, size_t *bytes, CUlibrary library,
                                 const char *name);
cudaError_t cudaLibraryGetManaged(void **address, size_t *bytes, CUlibrary library,
                                  const char *name);
cudaError_t cudaStreamCreate(CUstream *stream);
cudaError_t cudaStreamDestroy(CUstream stream);
cudaError_t cudaStreamSetAttribute(CUstream stream, int attribute,
                                   const CUlaunchAttributeValue *value);
cudaError_t cudaStreamGetAttribute(CUstream stream, int attribute, CUlaunchAttributeValue *value);
cudaError_t cudaStreamCopyAttributes(CUstream to, CUstream from);
cudaError_t cudaGetDriverEntryPoint(const char *name, void **function, unsigned long long flags,
                                    int *status);
cudaError_t cudaGLGetDevices(void);
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags);
cudaError_t cudaDeviceGetP2PAttribute(int *value, int attribute, int from, int to);
cudaError_t cudaMemRangeGetAttribute(void *data, size_t size, int attribute, const void *memory,
                                     size_t count);
cudaError_t cudaStreamBeginCapture(CUstream stream, int mode);
cudaError_t cudaStreamEndCapture(CUstream stream, CUgraph *graph);
cudaError_t cudaGraphCreate(CUgraph *graph, unsigned flags);
cudaError_t cudaGraphDestroy(CUgraph graph);
cudaError_t cudaGraphInstantiate(CUgraphExec *exec, CUgraph graph, unsigned long long flags);
cudaError_t cudaGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo *info);
cudaError_t cudaGraphLaunch(CUgraphExec exec, CUstream stream);
cudaError_t cudaGraphExecDestroy(CUgraphExec exec);
struct node_kernel {
    const void *func;
    struct dim3 grid, block;
    unsigned shared;
    void **args, **extra;
};
cudaError_t cudaGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                   size_t count, const struct node_kernel *p);
cudaError_t cudaGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                             const struct node_kernel *p);
cudaError_t cudaGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                   size_t count, const CUDA_MEMSET_NODE_PARAMS *p);
cudaError_t cudaGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                             const CUDA_MEMSET_NODE_PARAMS *p);
#if CUDART_MAJOR == 12
cudaError_t cudaMemPrefetchAsync(const void *memory, size_t count, int device, CUstream stream);
cudaError_t cudaMemAdvise(const void *memory, size_t count, int advice, int device);
cudaError_t cudaThreadSynchronize(void);
cudaError_t cudaGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                     size_t count);
#else
cudaError_t cudaMemPrefetchAsync(const void *memory, size_t count, CUmemLocation place,
                                 unsigned flags, CUstream stream);
cudaError_t cudaMemAdvise(const void *memory, size_t count, int advice, CUmemLocation place);
cudaError_t cudaMemPrefetchBatchAsync(CUdeviceptr *memory, size_t *sizes, size_t count,
                                      CUmemLocation *places, size_t *firsts, size_t place_count,
                                      unsigned long long flags, CUstream stream);
cudaError_t cudaMemDiscardBatchAsync(CUdeviceptr *memory, size_t *sizes, size_t count,
                                     unsigned long long flags, CUstream stream);
cudaError_t cudaMemGetMemPool(CUmemoryPool *pool, CUmemLocation *place, int type);
cudaError_t cudaMemSetMemPool(CUmemLocation *place, int type, CUmemoryPool pool);
cudaError_t cudaGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                     const CUgraphEdgeData *edges, size_t count);
#endif

#define OK(call) assert_int_equal(call, 0)

/* counter and table are managed, with what they begin with; work writes p[0] = plain + add. */
#define HEAD ".version 7.0\n.target sm_70\n.address_size 64\n"
#define WORK                                                                       \
    ".visible .global .align 4 .u32 plain = 7;\n"                                  \
    ".visible .entry work(.param .u64 p, .param .u32 add)\n"                       \
    "{\n.reg .b64 %d; .reg .b32 %r<3>;\n"                                          \
    "ld.param.u64 %d, [p]; ld.param.u32 %r0, [add]; ld.global.u32 %r1, [plain];\n" \
    "add.u32 %r2, %r0, %r1; st.global.u32 [%d], %r2; ret;\n}\n"
static const char ptx[] =
    HEAD ".visible .global .attribute(.managed) .align 4 .u32 counter = 41;\n"
         ".visible .global .attribute(.managed) .align 8 .b8 table[40] = {1, 2};\n" WORK
         ".visible .entry count()\n"
         "{\n.reg .b32 %r<2>;\n"
         "ld.global.u32 %r0, [counter]; add.u32 %r0, %r0, 1; st.global.u32 [counter], %r0;\n"
         "ld.global.u32 %r1, [table+4]; add.u32 %r1, %r1, %r0; st.global.u32 [table+8], %r1; "
         "ret;\n}\n";

static const struct dim3 one = {1, 1, 1};

static int teardown(void **state)
{
    (void)state;
    cudaDeviceReset();
    cudaGetLastError();
    return 0;
}

/* Where only copies reach the program's memory nothing can be managed. */
static void need_managed(void)
{
    void *memory = NULL;
    cudaError_t err = cudaMallocManaged(&memory, 64, 1);

    cudaGetLastError();
    if (err == RT_NOT_SUPPORTED)
        skip();
    OK(err);
    OK(cudaFree(memory));
}

static CUlibrary load(const char *text)
{
    CUlibrary library = NULL;

    OK(cudaLibraryLoadData(&library, text, NULL, NULL, 0, NULL, NULL, 0));
    return library;
}

static void test_library(void **state)
{
    uint32_t *counter = NULL, *table = NULL, got = 0;
    CUkernel kernel = NULL;
    CUlibrary library;
    void *plain = NULL;
    unsigned count = 0;
    size_t bytes = 0;

    (void)state;
    need_managed();
    library = load(ptx);
    OK(cudaLibraryGetKernelCount(&count, library));
    assert_int_equal(count, 2);
    OK(cudaLibraryGetManaged((void **)&counter, &bytes, library, "counter"));
    assert_int_equal(bytes, 4);
    OK(cudaLibraryGetManaged((void **)&table, &bytes, library, "table"));
    assert_int_equal(bytes, 40);
    assert_int_equal(*counter, 41);
    assert_int_equal(table[0], 0x0201);
    assert_int_equal(table[9], 0);
    OK(cudaLibraryGetGlobal(&plain, &bytes, library, "plain"));
    OK(cudaMemcpy(&got, plain, 4, RT_DEVICE_TO_HOST));
    assert_int_equal(got, 7);
    assert_int_equal(cudaLibraryGetManaged(&plain, &bytes, library, "plain"), CUDA_ERROR_NOT_FOUND);
    OK(cudaLibraryGetKernel(&kernel, library, "count"));
    *counter = 100;
    table[1] = 5;
    OK(cudaLaunchKernel(kernel, one, one, NULL, 0, NULL));
    OK(cudaDeviceSynchronize());
    assert_int_equal(*counter, 101);
    assert_int_equal(table[2], 106);
    /* It is the library's. */
    assert_int_equal(cudaFree(counter), RT_INVALID_VALUE);
    OK(cudaLibraryUnload(library));
    assert_int_equal(cudaLaunchKernel(kernel, one, one, NULL, 0, NULL), RT_INVALID_DEVICE_FUNCTION);
}

/* As the stubs of a compiler: the host's code has a pointer for each variable. */
static void test_managed(void **state)
{
    static struct {
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
    } fatbin = {0xba55ed50, 1,     16, 64 + sizeof(fatbin.text),
                1,          0x101, 64, sizeof(fatbin.text),
                0,          0,     0,  7,
                70,         0,     0,  0,
                0,          ""};
    static struct {
        uint32_t magic, version;
        const void *data, *more;
    } wrapper = {0x466243b1, 1, &fatbin, NULL};
    static char host_count;
    static uint32_t *host_counter;
    void **binary, *address = NULL;
    uint32_t seven = 7;

    (void)state;
    need_managed();
    memcpy(fatbin.text, ptx, sizeof(ptx));
    binary = __cudaRegisterFatBinary(&wrapper);
    __cudaRegisterFunction(binary, &host_count, &host_count, "count", -1, NULL, NULL, NULL, NULL,
                           NULL);
    __cudaRegisterManagedVar(binary, (void **)&host_counter, NULL, "counter", 0, 4, 0, 0);
    __cudaRegisterFatBinaryEnd(binary);
    assert_null(host_counter);
    assert_int_equal(__cudaInitModule(binary), 1);
    assert_non_null(host_counter);
    assert_int_equal(*host_counter, 41);
    *host_counter = 1;
    OK(cudaLaunchKernel(&host_count, one, one, NULL, 0, NULL));
    OK(cudaDeviceSynchronize());
    assert_int_equal(*host_counter, 2);
    /* Programs name it by its address. */
    OK(cudaGetSymbolAddress(&address, host_counter));
    assert_ptr_equal(address, host_counter);
    OK(cudaMemcpyToSymbol(host_counter, &seven, 4, 0, RT_HOST_TO_DEVICE));
    assert_int_equal(*host_counter, 7);
    /* A launch is enough after a reset; what it was is gone. */
    cudaDeviceReset();
    OK(cudaLaunchKernel(&host_count, one, one, NULL, 0, NULL));
    OK(cudaDeviceSynchronize());
    assert_int_equal(*host_counter, 42);
    __cudaUnregisterFatBinary(binary);
}

static void test_place(void **state)
{
    void *memory = NULL, *plain = NULL;
    int got = -7;

    (void)state;
    need_managed();
    OK(cudaMallocManaged(&memory, 4096, 1));
    OK(cudaMalloc(&plain, 4096));
#if CUDART_MAJOR == 12
    OK(cudaMemPrefetchAsync(memory, 4096, 0, NULL));
    OK(cudaMemPrefetchAsync((char *)memory + 96, 4000, -1, NULL));
    OK(cudaMemRangeGetAttribute(&got, 4, CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION,
                                (char *)memory + 96, 100));
    assert_int_equal(got, CU_DEVICE_CPU);
    OK(cudaMemAdvise(memory, 4096, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, 0));
    assert_int_equal(cudaMemPrefetchAsync(memory, 4096, 99, NULL), RT_INVALID_DEVICE);
    assert_int_equal(cudaMemPrefetchAsync(memory, 4097, 0, NULL), RT_INVALID_VALUE);
    assert_int_equal(cudaMemPrefetchAsync(plain, 4096, 0, NULL), RT_INVALID_VALUE);
    assert_int_equal(cudaMemAdvise(memory, 4096, 99, 0), RT_INVALID_VALUE);
    OK(cudaThreadSynchronize());
#else
    CUmemLocation device = {CU_MEM_LOCATION_TYPE_DEVICE, 0}, far = device,
                  host = {CU_MEM_LOCATION_TYPE_HOST, 0};
    CUdeviceptr at = (uintptr_t)memory;
    size_t bytes = 4096, first = 0;
    CUmemoryPool pool;

    far.id = 99;
    OK(cudaMemPrefetchAsync(memory, 4096, device, 0, NULL));
    OK(cudaMemPrefetchAsync((char *)memory + 96, 4000, host, 0, NULL));
    OK(cudaMemRangeGetAttribute(&got, 4, CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION,
                                (char *)memory + 96, 100));
    assert_int_equal(got, CU_DEVICE_CPU);
    OK(cudaMemPrefetchBatchAsync(&at, &bytes, 1, &device, &first, 1, 0, NULL));
    OK(cudaMemDiscardBatchAsync(&at, &bytes, 1, 0, NULL));
    OK(cudaMemGetMemPool(&pool, &device, CU_MEM_ALLOCATION_TYPE_PINNED));
    OK(cudaMemSetMemPool(&device, CU_MEM_ALLOCATION_TYPE_PINNED, pool));
    OK(cudaMemAdvise(memory, 4096, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, device));
    assert_int_equal(cudaMemPrefetchAsync(memory, 4096, far, 0, NULL), RT_INVALID_VALUE);
    assert_int_equal(cudaMemPrefetchAsync(memory, 4096, device, 1, NULL), RT_INVALID_VALUE);
    assert_int_equal(cudaMemPrefetchAsync(memory, 4097, device, 0, NULL), RT_INVALID_VALUE);
    assert_int_equal(cudaMemPrefetchAsync(plain, 4096, device, 0, NULL), RT_INVALID_VALUE);
    assert_int_equal(cudaMemAdvise(memory, 4096, 99, device), RT_INVALID_VALUE);
#endif
    OK(cudaMemRangeGetAttribute(&got, 4, CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, memory, 4096));
    assert_int_equal(got, 0);
    assert_int_equal(
        cudaMemRangeGetAttribute(&got, 4, CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, plain, 4096),
        RT_INVALID_VALUE);
    assert_int_equal(cudaDeviceGetP2PAttribute(&got, 1, 0, 0), RT_INVALID_DEVICE);
    OK(cudaFree(memory));
    OK(cudaFree(plain));
}

static void test_copies(void **state)
{
    unsigned char back[4 * 8 * 3] = {0};
    struct pitched box = {NULL, 8, 8, 4};
    void *to = NULL;

    (void)state;
    OK(cudaMalloc(&box.ptr, sizeof(back)));
    OK(cudaMalloc(&to, sizeof(back)));
    OK(cudaMemset3D(box, 1, (struct extent){8, 4, 3}));
    OK(cudaMemset3D(box, 2, (struct extent){5, 3, 2}));
    OK(cudaMemset3D(box, 3, (struct extent){5, 0, 2}));
    OK(cudaMemcpyPeer(to, 0, box.ptr, 0, sizeof(back)));
    OK(cudaMemcpy(back, to, sizeof(back), RT_DEVICE_TO_HOST));
    for (int z = 0; z < 3; z++)
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 8; x++)
                assert_int_equal(back[(z * 4 + y) * 8 + x], x < 5 && y < 3 && z < 2 ? 2 : 1);
    assert_int_equal(cudaMemcpyPeer(to, 0, box.ptr, 99, 1), RT_INVALID_DEVICE);
    assert_int_equal(cudaDeviceEnablePeerAccess(0, 0), RT_INVALID_DEVICE);
    OK(cudaFree(box.ptr));
    OK(cudaFree(to));
}

static void test_attributes(void **state)
{
    CUlaunchAttributeValue set = {.syncPolicy = 2}, got = {.syncPolicy = 9};
    CUstream stream, other;

    (void)state;
    OK(cudaStreamCreate(&stream));
    OK(cudaStreamCreate(&other));
    OK(cudaStreamSetAttribute(stream, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY, &set));
    OK(cudaStreamGetAttribute(other, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY, &got));
    assert_int_equal(got.syncPolicy, 0);
    OK(cudaStreamCopyAttributes(other, stream));
    OK(cudaStreamGetAttribute(other, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY, &got));
    assert_int_equal(got.syncPolicy, 2);
    OK(cudaStreamGetAttribute(stream, CU_LAUNCH_ATTRIBUTE_PRIORITY, &got));
    assert_int_equal(got.priority, 0);
    assert_int_equal(cudaStreamSetAttribute(stream, CU_LAUNCH_ATTRIBUTE_PRIORITY, &set),
                     RT_INVALID_VALUE);
    assert_int_equal(cudaStreamGetAttribute(stream, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, &got),
                     RT_INVALID_VALUE);
    OK(cudaStreamDestroy(stream));
    OK(cudaStreamDestroy(other));
}

/* The nodes that a graph was instantiated from change what the instance does. */
static void test_exec(void **state)
{
    uint32_t *memory = NULL, add = 10, got[2] = {0};
    struct node_kernel kernel = {NULL, one, one, 0, (void *[]){&memory, &add}, NULL};
    CUDA_MEMSET_NODE_PARAMS set = {0, 0, 3, 4, 2, 1};
    CUgraphExecUpdateResultInfo info;
    CUgraphNode nodes[2], strange;
    CUgraph graph, other;
    CUlibrary library = load(HEAD WORK);
    CUgraphExec exec;
    CUkernel work;

    (void)state;
    OK(cudaLibraryGetKernel(&work, library, "work"));
    OK(cudaMalloc((void **)&memory, 8));
    kernel.func = work;
    set.dst = (CUdeviceptr)(uintptr_t)memory;
    OK(cudaGraphCreate(&graph, 0));
    OK(cudaGraphAddMemsetNode(&nodes[0], graph, NULL, 0, &set));
    OK(cudaGraphAddKernelNode(&nodes[1], graph, NULL, 0, &kernel));
#if CUDART_MAJOR == 12
    OK(cudaGraphAddDependencies(graph, &nodes[0], &nodes[1], 1));
#else
    OK(cudaGraphAddDependencies(graph, &nodes[0], &nodes[1], NULL, 1));
#endif
    OK(cudaGraphInstantiate(&exec, graph, 0));
    for (unsigned i = 0; i < 3; i++) {
        add = 20 + i;
        set.value = 30 + i;
        if (i == 1) {
            OK(cudaGraphExecKernelNodeSetParams(exec, nodes[1], &kernel));
            OK(cudaGraphExecMemsetNodeSetParams(exec, nodes[0], &set));
        } else if (i == 2) {
            /* After an update they still name the same. */
            OK(cudaGraphExecUpdate(exec, graph, &info));
            OK(cudaGraphExecMemsetNodeSetParams(exec, nodes[0], &set));
        }
        OK(cudaGraphLaunch(exec, NULL));
        OK(cudaMemcpy(got, memory, 8, RT_DEVICE_TO_HOST));
        assert_int_equal(got[0], i == 1 ? 28 : 17);
        assert_int_equal(got[1], i == 0 ? 3 : 30 + i);
    }
    OK(cudaGraphCreate(&other, 0));
    OK(cudaGraphAddMemsetNode(&strange, other, NULL, 0, &set));
    assert_int_equal(cudaGraphExecMemsetNodeSetParams(exec, strange, &set), RT_INVALID_VALUE);
    assert_int_equal(cudaGraphExecMemsetNodeSetParams(exec, nodes[1], &set), RT_INVALID_VALUE);
    OK(cudaGraphDestroy(other));
    OK(cudaGraphExecDestroy(exec));
    OK(cudaGraphDestroy(graph));
    OK(cudaFree(memory));
    OK(cudaLibraryUnload(library));
}

static void test_capture(void **state)
{
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
    const CUgraphNode *needs = NULL;
    CUgraph graph = NULL, ended;
    CUstream stream;
    cuuint64_t id = 9;
    size_t count = 9;

    (void)state;
    OK(cudaStreamCreate(&stream));
    OK(cuStreamGetCaptureInfo_v2(stream, &status, &id, &graph, &needs, &count));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_NONE);
    assert_int_equal(count, 0);
    OK(cudaStreamBeginCapture(stream, 0));
    OK(cuMemcpyDtoDAsync_v2(0, 0, 0, stream));
    OK(cuStreamGetCaptureInfo_v2(stream, &status, &id, &graph, &needs, &count));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
    assert_int_not_equal(id, 0);
    assert_non_null(graph);
    OK(cudaStreamEndCapture(stream, &ended));
    assert_ptr_equal(ended, graph);
    OK(cudaGraphDestroy(ended));
    OK(cudaStreamDestroy(stream));
}

static void test_entries(void **state)
{
    int (*version)(int *) = NULL, status = 9, number = 0;
    CUlibrary library = NULL;
    void *found = NULL;

    (void)state;
    OK(cudaGetDriverEntryPoint("cuDriverGetVersion", &found, 0, &status));
    assert_int_equal(status, 0);
    memcpy(&version, &found, sizeof(found));
    OK(version(&number));
    assert_true(number >= CUDART_MAJOR * 1000);
    OK(cudaGetDriverEntryPoint("cuNothing", &found, 0, &status));
    assert_int_equal(status, 1);
    assert_null(found);
    /* Exported, and says so. */
    assert_int_equal(cudaGLGetDevices(), RT_NOT_SUPPORTED);
    assert_int_equal(cudaGetLastError(), RT_NOT_SUPPORTED);
    /* A kernel calls what nobody has. */
    assert_int_equal(cudaLibraryLoadData(&library,
                                         ".version 7.0\n.target sm_70\n.address_size 64\n"
                                         ".extern .func nobody();\n"
                                         ".visible .entry k() { call nobody, (); ret; }\n",
                                         NULL, NULL, 0, NULL, NULL, 0),
                     CUDA_ERROR_INVALID_PTX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_library, teardown),
        cmocka_unit_test_teardown(test_managed, teardown),
        cmocka_unit_test_teardown(test_place, teardown),
        cmocka_unit_test_teardown(test_copies, teardown),
        cmocka_unit_test_teardown(test_attributes, teardown),
        cmocka_unit_test_teardown(test_exec, teardown),
        cmocka_unit_test_teardown(test_capture, teardown),
        cmocka_unit_test_teardown(test_entries, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
