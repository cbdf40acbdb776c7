/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#include <compute/cuda/cuda.h>

/* A program for the driver API, linked with libcuda.so.1 as any other is. */

static const char text[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".global .align 4 .u32 counter = 7;\n"
    ".visible .entry add(.param .u64 out, .param .u32 n, .param .u32 value) {\n"
    "  .reg .pred %p; .reg .b32 %r<6>; .reg .b64 %d<3>;\n"
    "  ld.param.u64 %d1, [out]; ld.param.u32 %r1, [n]; ld.param.u32 %r2, [value];\n"
    "  mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n"
    "  mad.lo.u32 %r3, %r3, %r4, %r5; setp.ge.u32 %p, %r3, %r1; @%p bra done;\n"
    "  mul.wide.u32 %d2, %r3, 4; add.u64 %d1, %d1, %d2;\n"
    "  ld.global.u32 %r4, [%d1]; add.u32 %r4, %r4, %r2; st.global.u32 [%d1], %r4;\n"
    "done: ret; }\n"
    ".visible .entry bad() { .reg .b64 %d; mov.u64 %d, 16; st.global.u32 [%d], 0; ret; }\n";

static CUcontext context;
static CUmodule module;
static CUfunction add;

#define OK(call) assert_int_equal(call, CUDA_SUCCESS)

static int open_all(void **state)
{
    (void)state;
    OK(cuInit(0));
    OK(cuCtxCreate_v2(&context, 0, 0));
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&add, module, "add"));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    OK(cuCtxDestroy_v2(context));
    return 0;
}

static CUresult go(CUdeviceptr out, unsigned n, unsigned value, CUstream stream)
{
    void *parameters[] = {&out, &n, &value};

    return cuLaunchKernel(add, (n + 127) / 128, 1, 1, 128, 1, 1, 0, stream, parameters, NULL);
}

static void test_device(void **state)
{
    CUdevice device;
    int n, value;
    size_t bytes, available;
    char name[64];

    (void)state;
    OK(cuDeviceGetCount(&n));
    assert_int_equal(n, 1);
    OK(cuDeviceGet(&device, 0));
    assert_int_equal(cuDeviceGet(&device, 1), CUDA_ERROR_INVALID_DEVICE);
    OK(cuDeviceGetName(name, sizeof(name), 0));
    assert_non_null(strstr(name, "Viaduct"));
    OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0));
    assert_int_equal(value, 32);
    OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, 0));
    assert_int_equal(value, 0);
    assert_int_equal(cuDeviceGetAttribute(&value, 100000, 0), CUDA_ERROR_INVALID_VALUE);
    OK(cuDeviceTotalMem_v2(&bytes, 0));
    OK(cuMemGetInfo_v2(&available, &bytes));
    assert_true(available <= bytes);
}

static void test_symbols(void **state)
{
    void *old, *newer, *thread;
    CUdriverProcAddressQueryResult status;
    int version;

    (void)state;
    OK(cuDriverGetVersion(&version));
    assert_true(version >= 13000);
    /* One name, two functions. */
    OK(cuGetProcAddress_v2("cuCtxGetDevice", &old, 2000, 0, &status));
    OK(cuGetProcAddress_v2("cuCtxGetDevice", &newer, 13000, 0, &status));
    assert_ptr_equal(old, (void *)(uintptr_t)cuCtxGetDevice);
    assert_ptr_equal(newer, (void *)(uintptr_t)cuCtxGetDevice_v2);
    OK(cuGetProcAddress_v2("cuLaunchKernel", &old, 12000, 1, &status));
    OK(cuGetProcAddress_v2("cuLaunchKernel", &thread, 12000, 2, &status));
    assert_ptr_equal(old, (void *)(uintptr_t)cuLaunchKernel);
    assert_ptr_equal(thread, (void *)(uintptr_t)cuLaunchKernel_ptsz);
    OK(cuGetProcAddress_v2("cuLibraryLoadData", &old, 11000, 0, &status));
    assert_int_equal(status, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    assert_null(old);
    OK(cuGetProcAddress_v2("cuNothing", &old, 13000, 0, &status));
    assert_int_equal(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    assert_int_equal(cuGetProcAddress("cuNothing", &old, 13000, 0), CUDA_ERROR_NOT_FOUND);
}

static void test_launch(void **state)
{
    unsigned host[1000];
    CUdeviceptr d, base;
    size_t size;

    (void)state;
    OK(cuMemAlloc_v2(&d, sizeof(host)));
    OK(cuMemsetD32_v2(d, 5, COUNT(host)));
    OK(go(d, COUNT(host), 7, NULL));
    OK(cuMemcpyDtoH_v2(host, d, sizeof(host)));
    for (unsigned i = 0; i < COUNT(host); i++)
        assert_int_equal(host[i], 12);
    OK(cuMemGetAddressRange_v2(&base, &size, d + 17));
    assert_true(base == d && size == sizeof(host));
    assert_int_equal(cuMemcpyDtoH_v2(host, d + 4, sizeof(host)), CUDA_ERROR_INVALID_VALUE);
    OK(cuMemFree_v2(d));
    assert_int_equal(cuMemFree_v2(d), CUDA_ERROR_INVALID_VALUE);
}

static void test_extra(void **state)
{
    struct {
        CUdeviceptr out;
        unsigned n, value;
    } p = {.n = 3, .value = 4};
    size_t size = sizeof(p);
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &p, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    unsigned host[3] = {1, 2, 3};

    (void)state;
    OK(cuMemAlloc_v2(&p.out, sizeof(host)));
    OK(cuMemcpyHtoD_v2(p.out, host, sizeof(host)));
    OK(cuLaunchKernel(add, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, extra));
    OK(cuMemcpyDtoH_v2(host, p.out, sizeof(host)));
    assert_true(host[0] == 5 && host[1] == 6 && host[2] == 7);
    size = 4;
    assert_int_equal(cuLaunchKernel(add, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, extra),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuLaunchKernel(add, 1, 1, 1, 2048, 1, 1, 0, NULL, NULL, extra),
                     CUDA_ERROR_INVALID_VALUE);
    OK(cuMemFree_v2(p.out));
}

static void test_memory(void **state)
{
    unsigned *pinned, *managed, own[4096] = {0};
    CUdeviceptr m, d;
    unsigned type;
    size_t pitch;
    CUmemorytype kind;
    unsigned char is;
    int maps, manages, registers, reaches;

    (void)state;
    OK(cuDeviceGetAttribute(&maps, CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 0));
    OK(cuDeviceGetAttribute(&manages, CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 0));
    OK(cuDeviceGetAttribute(&registers, CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED, 0));
    OK(cuDeviceGetAttribute(&reaches, CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM,
                            0));
    OK(cuMemHostAlloc((void **)&pinned, 4096, 0));
    if (maps) {
        OK(cuMemHostGetDevicePointer_v2(&d, pinned, 0));
        assert_true(d == (uintptr_t)pinned);
        pinned[9] = 1;
        OK(go(d, 1024, 2, NULL));
        OK(cuCtxSynchronize());
        assert_int_equal(pinned[9], 3);
    } else {
        assert_int_equal(cuMemHostGetDevicePointer_v2(&d, pinned, 0), CUDA_ERROR_NOT_SUPPORTED);
    }
    d = (uintptr_t)pinned;
    OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, d));
    assert_int_equal(type, CU_MEMORYTYPE_HOST);
    OK(cuMemFreeHost(pinned));

    if (!manages) {
        assert_int_equal(cuMemAllocManaged(&m, 4096, CU_MEM_ATTACH_GLOBAL),
                         CUDA_ERROR_NOT_SUPPORTED);
        goto registered;
    }
    OK(cuMemAllocManaged(&m, 4096, CU_MEM_ATTACH_GLOBAL));
    managed = (unsigned *)(uintptr_t)m;
    managed[1023] = 40;
    OK(go(m, 1024, 2, NULL));
    OK(cuCtxSynchronize());
    assert_int_equal(managed[1023], 42);
    OK(cuPointerGetAttribute(&is, CU_POINTER_ATTRIBUTE_IS_MANAGED, m));
    assert_int_equal(is, 1);
    OK(cuMemFree_v2(m));

registered:
    assert_int_equal(registers, 1);
    OK(cuMemHostRegister_v2(own, sizeof(own), 0));
    assert_int_equal(cuMemHostRegister_v2(own, (size_t)1 << 40, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemHostRegister_v2(own, 4, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    if (reaches) {
        OK(go((uintptr_t)own, 4096, 1, NULL));
        OK(cuCtxSynchronize());
        assert_int_equal(own[4095], 1);
    }
    OK(cuMemHostUnregister(own));
    assert_int_equal(cuMemHostUnregister(own), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    assert_int_equal(cuPointerGetAttribute(&kind, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (uintptr_t)own),
                     CUDA_ERROR_INVALID_VALUE);
    OK(cuMemAllocPitch_v2(&d, &pitch, 100, 10, 4));
    assert_true(pitch >= 100 && pitch % 512 == 0);
    OK(cuMemFree_v2(d));
    assert_int_equal(cuMemAlloc_v2(&d, (size_t)1 << 60), CUDA_ERROR_OUT_OF_MEMORY);
}

static void test_boxes(void **state)
{
    unsigned char host[4 * 5 * 7], back[4 * 5 * 7] = {0};
    CUDA_MEMCPY3D c = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                       .srcHost = host,
                       .srcPitch = 7,
                       .srcHeight = 5,
                       .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                       .dstPitch = 16,
                       .dstHeight = 8,
                       .WidthInBytes = 5,
                       .Height = 3,
                       .Depth = 2,
                       .srcXInBytes = 1,
                       .srcY = 1,
                       .srcZ = 1};
    CUDA_MEMCPY2D b = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                       .srcPitch = 16,
                       .srcY = 8,
                       .dstMemoryType = CU_MEMORYTYPE_HOST,
                       .dstHost = back,
                       .WidthInBytes = 5,
                       .Height = 3};

    (void)state;
    for (unsigned i = 0; i < sizeof(host); i++)
        host[i] = (unsigned char)i;
    OK(cuMemAlloc_v2(&c.dstDevice, 16 * 8 * 2));
    b.srcDevice = c.dstDevice;
    OK(cuMemcpy3D_v2(&c));
    OK(cuMemcpy2D_v2(&b)); /* the second image */
    for (unsigned y = 0; y < 3; y++)
        for (unsigned x = 0; x < 5; x++)
            assert_int_equal(back[y * 5 + x], host[2 * 35 + (y + 1) * 7 + x + 1]);
    c.Depth = 3;
    assert_int_equal(cuMemcpy3D_v2(&c), CUDA_ERROR_INVALID_VALUE);
    OK(cuMemFree_v2(c.dstDevice));
}

static atomic_int called;

static void count(void *user)
{
    int n;

    /* Functions in streams may not use the API. */
    if (cuDeviceGetCount(&n) == CUDA_ERROR_NOT_PERMITTED)
        atomic_fetch_add(&called, *(int *)user);
}

static void test_streams(void **state)
{
    unsigned flag[2] = {0}, host = 0;
    CUstream a, b;
    CUevent start, end;
    CUdeviceptr d, f;
    float ms;
    int three = 3;

    (void)state;
    OK(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreateWithPriority(&b, CU_STREAM_DEFAULT, -2));
    OK(cuEventCreate(&start, 0));
    OK(cuEventCreate(&end, 0));
    OK(cuMemAlloc_v2(&d, 4));
    OK(cuMemAlloc_v2(&f, 8));
    OK(cuMemcpyHtoD_v2(f, flag, 8));
    OK(cuMemsetD32_v2(d, 0, 1));
    OK(cuCtxSynchronize());
    /* a waits for a value, b for a; neither holds the other up for good. */
    OK(cuStreamWaitValue32_v2(a, f, 1, CU_STREAM_WAIT_VALUE_EQ));
    OK(cuEventRecord(start, a));
    OK(go(d, 1, 10, a));
    OK(cuLaunchHostFunc(a, count, &three));
    OK(cuEventRecord(end, a));
    OK(cuStreamWaitEvent(b, end, 0));
    OK(go(d, 1, 1, b));
    /* The default stream is behind b, and so behind a; nobody waits for what stays in the device.
     */
    OK(cuMemcpyDtoD_v2(f + 4, d, 4));
    assert_int_equal(cuStreamQuery(b), CUDA_ERROR_NOT_READY);
    assert_int_equal(cuEventQuery(end), CUDA_ERROR_NOT_READY);
    assert_int_equal(cuEventElapsedTime(NULL, NULL, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuEventElapsedTime(&ms, start, end), CUDA_ERROR_NOT_READY);
    assert_int_equal(atomic_load(&called), 0);
    {
        CUstream c;

        OK(cuStreamCreate(&c, CU_STREAM_NON_BLOCKING));
        OK(cuStreamWriteValue32_v2(c, f, 1, 0));
        OK(cuStreamDestroy_v2(c));
    }
    OK(cuMemcpyDtoH_v2(&host, f + 4, 4));
    assert_int_equal(host, 11);
    assert_int_equal(atomic_load(&called), 3);
    OK(cuEventElapsedTime(&ms, start, end));
    assert_true(ms >= 0);
    OK(cuStreamSynchronize(b));
    OK(cuStreamQuery(b));
    OK(cuStreamDestroy_v2(a));
    OK(cuStreamDestroy_v2(b));
    assert_int_equal(cuStreamDestroy_v2(b), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(cuStreamQuery(b), CUDA_ERROR_INVALID_HANDLE);
    OK(cuEventDestroy_v2(start));
    OK(cuEventDestroy_v2(end));
    OK(cuMemFree_v2(d));
    OK(cuMemFree_v2(f));
}

static void test_pool(void **state)
{
    CUmemoryPool pool;
    cuuint64_t used;
    CUstream s;
    CUdeviceptr d;
    unsigned host[64];

    (void)state;
    OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    OK(cuDeviceGetDefaultMemPool(&pool, 0));
    OK(cuMemAllocAsync(&d, sizeof(host), s));
    OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
    assert_int_equal(used, sizeof(host));
    OK(cuMemsetD32Async(d, 1, 64, s));
    OK(go(d, 64, 1, s));
    OK(cuMemcpyDtoHAsync_v2(host, d, sizeof(host), s));
    OK(cuMemFreeAsync(d, s));
    OK(cuStreamSynchronize(s));
    assert_int_equal(host[63], 2);
    OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
    assert_int_equal(used, 0);
    assert_int_equal(cuMemFreeAsync(d, s), CUDA_ERROR_INVALID_VALUE);
    OK(cuStreamDestroy_v2(s));
}

static void test_module(void **state)
{
    char log[512] = "";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)sizeof(log)};
    static const unsigned char elf[64] = {0x7f, 'E', 'L', 'F'};
    CUdeviceptr d;
    CUfunction f;
    CUmodule m;
    size_t size;
    unsigned counter, n;
    int value;

    (void)state;
    OK(cuModuleGetGlobal_v2(&d, &size, module, "counter"));
    assert_int_equal(size, 4);
    OK(cuMemcpyDtoH_v2(&counter, d, 4));
    assert_int_equal(counter, 7);
    OK(cuModuleGetFunctionCount(&n, module));
    assert_int_equal(n, 2);
    assert_int_equal(cuModuleGetFunction(&f, module, "none"), CUDA_ERROR_NOT_FOUND);
    OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, add));
    assert_int_equal(value, 1024);
    OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, add, 256, 0));
    assert_true(value > 0);
    assert_int_equal(cuModuleLoadDataEx(&m, ".version 7.8\nwrong", 2, options, values),
                     CUDA_ERROR_INVALID_PTX);
    assert_non_null(strstr(log, "ptxas"));
    values[1] = (void *)sizeof(log);
    assert_int_equal(cuModuleLoadDataEx(&m, elf, 2, options, values), CUDA_ERROR_NO_BINARY_FOR_GPU);
    assert_non_null(strstr(log, "PTX"));
    assert_int_equal(cuModuleLoad(&m, "/nonexistent"), CUDA_ERROR_FILE_NOT_FOUND);
}

static void test_link(void **state)
{
    static char other[] = ".version 7.8\n.target sm_80\n.address_size 64\n"
                          ".visible .entry second() { ret; }\n";
    CUlinkState link;
    CUmodule m;
    CUfunction f;
    void *image;
    size_t size;

    (void)state;
    OK(cuLinkCreate_v2(0, NULL, NULL, &link));
    assert_int_equal(
        cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, ".version 7.8\nwrong", 18, "a", 0, NULL, NULL),
        CUDA_ERROR_INVALID_PTX);
    assert_int_equal(cuLinkComplete(link, &image, &size), CUDA_ERROR_INVALID_VALUE);
    OK(cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, (void *)(uintptr_t)text, sizeof(text), "b", 0, NULL,
                        NULL));
    OK(cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, other, sizeof(other), "c", 0, NULL, NULL));
    assert_int_equal(cuLinkAddFile_v2(link, CU_JIT_INPUT_PTX, "/nonexistent", 0, NULL, NULL),
                     CUDA_ERROR_FILE_NOT_FOUND);
    OK(cuLinkComplete(link, &image, &size));
    assert_int_equal(
        cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, other, sizeof(other), "d", 0, NULL, NULL),
        CUDA_ERROR_INVALID_VALUE);
    OK(cuModuleLoadData(&m, image));
    OK(cuLinkDestroy(link));
    OK(cuModuleGetFunction(&f, m, "add"));
    OK(cuModuleGetFunction(&f, m, "second"));
    OK(cuModuleUnload(m));
    assert_int_equal(cuModuleUnload(m), CUDA_ERROR_INVALID_HANDLE);
    /* Two of one name. */
    OK(cuLinkCreate_v2(0, NULL, NULL, &link));
    OK(cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, other, sizeof(other), "a", 0, NULL, NULL));
    OK(cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, other, sizeof(other), "b", 0, NULL, NULL));
    assert_int_equal(cuLinkComplete(link, &image, &size), CUDA_ERROR_INVALID_PTX);
    OK(cuLinkDestroy(link));
}

/* A fatbin with PTX of two targets, one a block of LZ4 of literals alone. */
static void test_library(void **state)
{
    uint32_t length = sizeof(text) - 1;
    size_t room = 16 + 2 * (64 + length + 300);
    unsigned char *image = calloc(1, room), *at = image + 16;
    uint64_t total = 0;
    CUlibrary library;
    CUkernel kernel;
    CUdeviceptr d;
    unsigned host = 1, n = 1, value = 6;
    void *parameters[] = {&d, &n, &value};

    (void)state;
    for (int i = 0; i < 2; i++) {
        uint16_t kind = 1, version = 0x101;
        uint32_t header = 64, target = i ? 75 : 52, packed = 0;
        uint64_t bytes, flags = i ? 0x2000 : 0, plain = length;
        unsigned char *data = at + 64;

        if (i) {
            uint32_t left = length - 15;

            *data++ = 0xf0;
            for (; left >= 255; left -= 255)
                *data++ = 255;
            *data++ = (unsigned char)left;
            memcpy(data, text, length);
            data += length;
        } else {
            memcpy(data, "no PTX", 7);
            data += 8;
        }
        packed = i ? (uint32_t)(data - at - 64) : 0;
        bytes = (uint64_t)(data - at - 64 + 7) / 8 * 8;
        memcpy(at, &kind, 2);
        memcpy(at + 2, &version, 2);
        memcpy(at + 4, &header, 4);
        memcpy(at + 8, &bytes, 8);
        memcpy(at + 16, &packed, 4);
        memcpy(at + 28, &target, 4);
        memcpy(at + 40, &flags, 8);
        memcpy(at + 56, &plain, 8);
        at += 64 + bytes;
        total += 64 + bytes;
    }
    memcpy(image, "\x50\xed\x55\xba\x01\x00\x10\x00", 8);
    memcpy(image + 8, &total, 8);
    OK(cuLibraryLoadData(&library, image, NULL, NULL, 0, NULL, NULL, 0));
    free(image);
    OK(cuLibraryGetKernel(&kernel, library, "add"));
    OK(cuMemAlloc_v2(&d, 4));
    OK(cuMemcpyHtoD_v2(d, &host, 4));
    /* A kernel is a function where one is launched. */
    OK(cuLaunchKernel((CUfunction)(void *)kernel, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    OK(cuMemcpyDtoH_v2(&host, d, 4));
    assert_int_equal(host, 7);
    OK(cuMemFree_v2(d));
    OK(cuLibraryUnload(library));
    assert_int_equal(cuLibraryGetKernel(&kernel, library, "add"), CUDA_ERROR_INVALID_HANDLE);
}

static void test_graph(void **state)
{
    unsigned host[64] = {0}, n = 64, value = 3;
    int five = 5;
    CUdeviceptr d;
    void *parameters[] = {&d, &n, &value};
    CUDA_KERNEL_NODE_PARAMS kernel = {.func = add,
                                      .gridDimX = 1,
                                      .gridDimY = 1,
                                      .gridDimZ = 1,
                                      .blockDimX = 64,
                                      .blockDimY = 1,
                                      .blockDimZ = 1,
                                      .kernelParams = parameters};
    CUDA_MEMSET_NODE_PARAMS set = {.value = 1, .elementSize = 4, .width = 64, .height = 1};
    CUDA_HOST_NODE_PARAMS call = {count, &five};
    CUDA_MEMCPY3D copy = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstMemoryType = CU_MEMORYTYPE_HOST,
                          .dstHost = host,
                          .WidthInBytes = sizeof(host),
                          .Height = 1,
                          .Depth = 1};
    CUgraphExecUpdateResultInfo info;
    CUgraphNode a, b, c, h, list[8];
    CUgraphExec exec;
    CUgraph graph, child;
    CUstream s;
    size_t nodes = COUNT(list);

    (void)state;
    atomic_store(&called, 0);
    OK(cuMemAlloc_v2(&d, sizeof(host)));
    set.dst = copy.srcDevice = d;
    OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    OK(cuGraphCreate(&graph, 0));
    /* Added against their order. */
    OK(cuGraphAddMemcpyNode(&c, graph, NULL, 0, &copy, context));
    OK(cuGraphAddKernelNode_v2(&b, graph, NULL, 0, &kernel));
    OK(cuGraphAddMemsetNode(&a, graph, NULL, 0, &set, context));
    OK(cuGraphAddHostNode(&h, graph, &c, 1, &call));
    OK(cuGraphAddDependencies(graph, &b, &c, 1));
    OK(cuGraphAddDependencies(graph, &a, &b, 1));
    OK(cuGraphGetNodes(graph, list, &nodes));
    assert_int_equal(nodes, 4);
    nodes = COUNT(list);
    OK(cuGraphGetRootNodes(graph, list, &nodes));
    assert_int_equal(nodes, 1);
    assert_ptr_equal(list[0], a);
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    value = 90; /* parameters were taken */
    OK(cuGraphLaunch(exec, s));
    OK(cuGraphLaunch(exec, s));
    OK(cuStreamSynchronize(s));
    assert_int_equal(host[63], 4);
    assert_int_equal(atomic_load(&called), 10);
    OK(cuGraphKernelNodeSetParams_v2(b, &kernel));
    OK(cuGraphExecUpdate_v2(exec, graph, &info));
    OK(cuGraphLaunch(exec, s));
    OK(cuStreamSynchronize(s));
    assert_int_equal(host[0], 91);
    /* A cycle is none to instantiate, another form none to update. */
    OK(cuGraphAddDependencies(graph, &h, &a, 1));
    assert_int_equal(cuGraphExecUpdate_v2(exec, graph, &info),
                     CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    OK(cuGraphExecDestroy(exec));
    assert_int_equal(cuGraphInstantiateWithFlags(&exec, graph, 0), CUDA_ERROR_INVALID_VALUE);
    OK(cuGraphDestroyNode(h));
    OK(cuGraphCreate(&child, 0));
    OK(cuGraphAddChildGraphNode(&a, child, NULL, 0, graph));
    OK(cuGraphDestroy(graph));
    OK(cuGraphInstantiateWithFlags(&exec, child, 0));
    memset(host, 0, sizeof(host));
    OK(cuGraphLaunch(exec, s));
    OK(cuStreamSynchronize(s));
    assert_int_equal(host[5], 91);
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(child));
    OK(cuStreamDestroy_v2(s));
    OK(cuMemFree_v2(d));
}

static void test_capture(void **state)
{
    unsigned host[64] = {0};
    CUstreamCaptureStatus status;
    CUgraphExec exec;
    CUgraph graph;
    CUstream s, t;
    CUevent e;
    CUdeviceptr d;

    (void)state;
    OK(cuMemAlloc_v2(&d, sizeof(host)));
    OK(cuMemsetD32_v2(d, 50, 64));
    OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
    OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
    OK(cuCtxSynchronize());
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuMemsetD32Async(d, 1, 64, s));
    OK(cuEventRecord(e, s));
    OK(cuStreamWaitEvent(t, e, 0));
    OK(go(d, 64, 2, t));
    OK(cuStreamIsCapturing(t, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
    OK(cuEventRecord(e, t));
    OK(cuStreamWaitEvent(s, e, 0));
    OK(cuMemcpyDtoHAsync_v2(host, d, sizeof(host), s));
    assert_int_equal(host[0], 0);
    OK(cuStreamEndCapture(s, &graph));
    OK(cuStreamIsCapturing(t, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_NONE);
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphDestroy(graph));
    OK(cuGraphLaunch(exec, s));
    OK(cuStreamSynchronize(s));
    assert_int_equal(host[0], 3);
    OK(cuGraphExecDestroy(exec));
    /* Left alone by the first. */
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuEventRecord(e, s));
    OK(cuStreamWaitEvent(t, e, 0));
    OK(go(d, 64, 2, t));
    assert_int_equal(cuStreamEndCapture(s, &graph), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_int_equal(cuStreamSynchronize(s), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_int_equal(go(d, 64, 2, s), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_int_equal(cuStreamEndCapture(s, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_int_equal(cuStreamBeginCapture_v2(NULL, 0), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuStreamDestroy_v2(s));
    OK(cuStreamDestroy_v2(t));
    OK(cuEventDestroy_v2(e));
    OK(cuMemFree_v2(d));
}

/* A fault is the context's alone, and stays. */
/* Memory by a descriptor is the same for kernels and whoever else has it. */
static void test_external(void **state)
{
    enum { BYTES = 65536, OFFSET = 8192 + 64, COUNT = 1000 };
    CUDA_EXTERNAL_MEMORY_HANDLE_DESC d = {.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD,
                                          .size = BYTES};
    CUDA_EXTERNAL_MEMORY_BUFFER_DESC whole = {.size = BYTES},
                                     part = {.offset = OFFSET, .size = COUNT * 4};
    int fd = memfd_create("frames", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CUexternalMemory m;
    CUdeviceptr all, some;
    unsigned *words, host[COUNT];
    int maps;

    (void)state;
    assert_int_equal(ftruncate(fd, BYTES), 0);
    words = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(words, MAP_FAILED);
    for (unsigned i = 0; i < BYTES / 4; i++)
        words[i] = i;
    d.handle.fd = -1;
    assert_int_equal(cuImportExternalMemory(&m, &d), CUDA_ERROR_INVALID_HANDLE);
    d.handle.fd = fd;
    d.size = BYTES + 1;
    assert_int_equal(cuImportExternalMemory(&m, &d), CUDA_ERROR_INVALID_VALUE);
    d.size = BYTES;
    d.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_WIN32;
    assert_int_equal(cuImportExternalMemory(&m, &d), CUDA_ERROR_NOT_SUPPORTED);
    d.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD;
    /* What could shrink is nothing for a host. */
    d.handle.fd = dup(fd);
    OK(cuImportExternalMemory(&m, &d));
    OK(cuDeviceGetAttribute(&maps, CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 0));
    if (!strcmp(getenv("VIADUCT_CUDA"), "remote")) {
        CUresult refused = cuExternalMemoryGetMappedBuffer(&all, m, &whole);

        assert_true(refused == CUDA_ERROR_INVALID_HANDLE ||
                    (!maps && refused == CUDA_ERROR_NOT_SUPPORTED));
    }
    OK(cuDestroyExternalMemory(m));
    assert_int_equal(cuDestroyExternalMemory(m), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    d.handle.fd = fd;
    OK(cuImportExternalMemory(&m, &d));
    whole.size = BYTES + 1;
    assert_int_equal(cuExternalMemoryGetMappedBuffer(&all, m, &whole), CUDA_ERROR_INVALID_VALUE);
    whole.size = BYTES;
    if (!maps) {
        assert_int_equal(cuExternalMemoryGetMappedBuffer(&all, m, &whole),
                         CUDA_ERROR_NOT_SUPPORTED);
        OK(cuDestroyExternalMemory(m));
        munmap(words, BYTES);
        return;
    }
    OK(cuExternalMemoryGetMappedBuffer(&all, m, &whole));
    OK(cuExternalMemoryGetMappedBuffer(&some, m, &part));
    OK(cuDestroyExternalMemory(m));
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    OK(go(all, BYTES / 4, 10, NULL));
    OK(go(some, COUNT, 100, NULL));
    OK(cuMemcpyDtoH_v2(host, some, sizeof(host)));
    for (unsigned i = 0; i < BYTES / 4; i++) {
        bool in = i >= OFFSET / 4 && i < OFFSET / 4 + COUNT;

        assert_int_equal(words[i], i + 10 + (in ? 100 : 0));
        if (in)
            assert_int_equal(host[i - OFFSET / 4], words[i]);
    }
    words[OFFSET / 4] = 5;
    OK(cuMemcpyDtoH_v2(host, some, 4));
    assert_int_equal(host[0], 5);
    OK(cuMemFree_v2(some));
    OK(cuMemFree_v2(all));
    assert_int_equal(cuMemFree_v2(all), CUDA_ERROR_INVALID_VALUE);
    munmap(words, BYTES);
}

static void test_fault(void **state)
{
    CUcontext other;
    CUmodule m;
    CUfunction bad;
    CUdeviceptr d;
    size_t limit;

    (void)state;
    OK(cuCtxSetLimit(CU_LIMIT_MAX_L2_FETCH_GRANULARITY, 64));
    OK(cuCtxGetLimit(&limit, CU_LIMIT_MAX_L2_FETCH_GRANULARITY));
    assert_int_equal(limit, 64);
    assert_int_equal(cuCtxGetLimit(&limit, CU_LIMIT_PERSISTING_L2_CACHE_SIZE),
                     CUDA_ERROR_UNSUPPORTED_LIMIT);
    assert_int_equal(cuCtxSetLimit((CUlimit)4711, 0), CUDA_ERROR_INVALID_VALUE);
    /* Two ways to wait at a time, and a bit that there is not. */
    assert_int_equal(cuCtxCreate_v2(&other, 3, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuCtxCreate_v2(&other, 0x100, 0), CUDA_ERROR_INVALID_VALUE);
    OK(cuCtxCreate_v2(&other, 0, 0));
    OK(cuModuleLoadData(&m, text));
    OK(cuModuleGetFunction(&bad, m, "bad"));
    OK(cuLaunchKernel(bad, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(cuMemAlloc_v2(&d, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(cuCtxDestroy_v2(other));
    OK(cuMemAlloc_v2(&d, 4));
    OK(go(d, 1, 1, NULL));
    OK(cuCtxSynchronize());
    OK(cuMemFree_v2(d));
}

static void test_primary(void **state)
{
    CUcontext primary, is;
    unsigned flags;
    int active;

    (void)state;
    OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    assert_int_equal(active, 0);
    OK(cuDevicePrimaryCtxRetain(&primary, 0));
    OK(cuCtxPushCurrent_v2(primary));
    OK(cuCtxGetCurrent(&is));
    assert_ptr_equal(is, primary);
    assert_int_equal(cuCtxDestroy_v2(primary), CUDA_ERROR_INVALID_CONTEXT);
    OK(cuDevicePrimaryCtxRelease_v2(0));
    assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    OK(cuCtxPopCurrent_v2(&is));
    OK(cuCtxGetCurrent(&is));
    assert_ptr_equal(is, context);
}

/* Its own default stream, its own memory, the one context. */
static void *work(void *argument)
{
    unsigned host[256], value = *(unsigned *)argument;
    CUdeviceptr d;
    long wrong = 0;

    if (cuCtxSetCurrent(context))
        return (void *)1;
    for (unsigned round = 0; round < 20; round++) {
        if (cuMemAlloc_v2(&d, sizeof(host)) ||
            cuMemsetD32Async(d, round, 256, CU_STREAM_PER_THREAD) ||
            go(d, 256, value, CU_STREAM_PER_THREAD) ||
            cuMemcpyDtoHAsync_v2(host, d, sizeof(host), CU_STREAM_PER_THREAD) ||
            cuStreamSynchronize(CU_STREAM_PER_THREAD) || cuMemFree_v2(d))
            wrong++;
        for (unsigned i = 0; i < 256; i++)
            wrong += host[i] != value + round;
    }
    return (void *)wrong;
}

static void test_threads(void **state)
{
    pthread_t threads[6];
    unsigned values[6];
    void *wrong;

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        values[i] = 1000 * i;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &values[i]), 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
}

static long resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long size, pages = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &size, &pages), 2);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static void test_cycles(void **state)
{
    long before = 0;

    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        CUstream s;
        CUevent e;
        CUdeviceptr d;

        OK(cuStreamCreate(&s, i % 2));
        OK(cuEventCreate(&e, 0));
        OK(cuMemAllocAsync(&d, 1000, s));
        OK(cuMemsetD8Async(d, 1, 1000, s));
        OK(cuEventRecord(e, s));
        OK(cuMemFreeAsync(d, s));
        OK(cuEventDestroy_v2(e));
        OK(cuStreamDestroy_v2(s));
        if (i % 100 == 99)
            OK(cuCtxSynchronize());
        if (i == 2000)
            before = resident();
    }
    /* Sanitizers keep what is freed for a while. */
    assert_true(resident() - before < 64 << 20);
}

static void test_fork(void **state)
{
    int status;
    pid_t child;

    (void)state;
    child = fork();
    assert_true(child >= 0);
    if (!child) {
        int n;

        _exit(cuDeviceGetCount(&n) == CUDA_ERROR_NOT_INITIALIZED &&
                      cuInit(0) == CUDA_ERROR_NOT_INITIALIZED
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_not_initialised(void **state)
{
    int n;

    (void)state;
    assert_int_equal(cuDeviceGetCount(&n), CUDA_ERROR_NOT_INITIALIZED);
    assert_int_equal(cuInit(1), CUDA_ERROR_INVALID_VALUE);
}

static void test_errors(void **state)
{
    const char *s;

    (void)state;
    OK(cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &s));
    assert_string_equal(s, "CUDA_ERROR_ILLEGAL_ADDRESS");
    OK(cuGetErrorString(CUDA_SUCCESS, &s));
    assert_string_equal(s, "no error");
    assert_int_equal(cuGetErrorName((CUresult)12345, &s), CUDA_ERROR_INVALID_VALUE);
    assert_null(s);
}

int main(void)
{
    const struct CMUnitTest first[] = {
        cmocka_unit_test(test_not_initialised),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),   cmocka_unit_test(test_device),
        cmocka_unit_test(test_symbols),  cmocka_unit_test(test_launch),
        cmocka_unit_test(test_extra),    cmocka_unit_test(test_memory),
        cmocka_unit_test(test_boxes),    cmocka_unit_test(test_streams),
        cmocka_unit_test(test_pool),     cmocka_unit_test(test_module),
        cmocka_unit_test(test_link),     cmocka_unit_test(test_library),
        cmocka_unit_test(test_graph),    cmocka_unit_test(test_capture),
        cmocka_unit_test(test_external), cmocka_unit_test(test_fault),
        cmocka_unit_test(test_primary),  cmocka_unit_test(test_threads),
        cmocka_unit_test(test_cycles),   cmocka_unit_test(test_fork),
    };

    return cmocka_run_group_tests(first, NULL, NULL) +
           cmocka_run_group_tests(tests, open_all, close_all);
}
