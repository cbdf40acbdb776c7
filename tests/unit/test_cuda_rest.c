/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <compute/cuda/cuda.h>

/* What of the driver API few programs use: launches as of old, advice that is asked back, pools by
 * place, values in batches, peers. */

#define OK(call)      assert_int_equal(call, CUDA_SUCCESS)
#define INVALID(call) assert_int_equal(call, CUDA_ERROR_INVALID_VALUE)
#define PAGE          4096u

static const char text[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".visible .entry mix(.param .u64 out, .param .u32 a, .param .f32 b, .param .u64 c) {\n"
    "  .reg .b32 %r<6>; .reg .f32 %f<3>; .reg .b64 %d<4>;\n"
    "  ld.param.u64 %d1, [out]; ld.param.u32 %r1, [a]; ld.param.f32 %f1, [b];\n"
    "  ld.param.u64 %d3, [c]; cvt.u32.u64 %r5, %d3;\n"
    "  mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x;\n"
    "  mad.lo.u32 %r2, %r2, %r3, %r4; mul.wide.u32 %d2, %r2, 4; add.u64 %d1, %d1, %d2;\n"
    "  cvt.rn.f32.u32 %f2, %r1; mul.f32 %f1, %f1, %f2; cvt.rzi.u32.f32 %r1, %f1;\n"
    "  add.u32 %r1, %r1, %r5; add.u32 %r1, %r1, %r2; st.global.u32 [%d1], %r1; ret; }\n";

static CUcontext context;
static CUfunction mix;

static int open_context(void **state)
{
    CUmodule module;

    (void)state;
    OK(cuInit(0));
    OK(cuCtxCreate_v2(&context, 0, 0));
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&mix, module, "mix"));
    return 0;
}

static int close_context(void **state)
{
    (void)state;
    OK(cuCtxDestroy_v2(context));
    return 0;
}

static void test_old_launch(void **state)
{
    unsigned words[64] = {0};
    CUdeviceptr out;
    uint64_t c = 1000;
    CUstream stream;

    (void)state;
    OK(cuMemAlloc_v2(&out, sizeof(words)));
    OK(cuMemsetD8_v2(out, 0, sizeof(words)));
    /* Nothing was said of it. */
    INVALID(cuLaunch(mix));
    OK(cuFuncSetBlockShape(mix, 16, 1, 1));
    OK(cuFuncSetSharedSize(mix, 128));
    OK(cuParamSetv(mix, 0, &out, 8));
    OK(cuParamSeti(mix, 8, 7));
    OK(cuParamSetf(mix, 12, 2.5f));
    OK(cuParamSetv(mix, 16, &c, 8));
    /* Too few. */
    OK(cuParamSetSize(mix, 16));
    INVALID(cuLaunchGrid(mix, 3, 1));
    OK(cuParamSetSize(mix, 24));
    OK(cuLaunchGrid(mix, 3, 1));
    OK(cuMemcpyDtoH_v2(words, out, sizeof(words)));
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(words[i], i < 48 ? 17 + 1000 + i : 0);
    /* Parameters stay, and are those of the call. */
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuParamSeti(mix, 8, 2));
    OK(cuLaunchGridAsync(mix, 4, 1, stream));
    OK(cuParamSeti(mix, 8, 100));
    OK(cuStreamSynchronize(stream));
    OK(cuMemcpyDtoH_v2(words, out, sizeof(words)));
    assert_int_equal(words[63], 5 + 1000 + 63);
    OK(cuLaunch(mix));
    OK(cuMemcpyDtoH_v2(words, out, sizeof(words)));
    assert_int_equal(words[15], 250 + 1000 + 15);
    assert_int_equal(words[16], 5 + 1000 + 16);
    INVALID(cuFuncSetBlockShape(mix, 0, 1, 1));
    INVALID(cuLaunchGrid(mix, 0, 1));
    INVALID(cuParamSetSize(mix, 5000));
    INVALID(cuParamSetv(mix, 4090, &c, 8));
    INVALID(cuParamSetv(mix, -1, &c, 8));
    assert_int_equal(cuParamSeti(NULL, 0, 1), CUDA_ERROR_INVALID_HANDLE);
    OK(cuStreamDestroy_v2(stream));
    OK(cuMemFree_v2(out));
}

static int asked(CUmem_range_attribute which, CUdeviceptr at, size_t bytes)
{
    int value = -77;

    OK(cuMemRangeGetAttribute(&value, sizeof(value), which, at, bytes));
    return value;
}

static void test_advice(void **state)
{
    CUmem_range_attribute both[] = {CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY,
                                    CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION};
    int mostly = 5, preferred = 5, by[3];
    void *data[] = {&mostly, &preferred};
    size_t sizes[] = {4, 4};
    CUdeviceptr m, plain;
    int has = 0;

    (void)state;
    OK(cuDeviceGetAttribute(&has, CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 0));
    if (!has)
        skip();
    OK(cuMemAllocManaged(&m, 8 * PAGE, CU_MEM_ATTACH_GLOBAL));
    OK(cuMemAlloc_v2(&plain, PAGE));
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, m, 8 * PAGE), 0);
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, m, 8 * PAGE),
                     CU_DEVICE_INVALID);
    OK(cuMemAdvise(m + PAGE, 2 * PAGE, CU_MEM_ADVISE_SET_READ_MOSTLY, 0));
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, m + PAGE, 2 * PAGE), 1);
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, m, 2 * PAGE), 0);
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, m + PAGE, 3 * PAGE), 0);
    OK(cuMemAdvise(m + 2 * PAGE, 6 * PAGE, CU_MEM_ADVISE_SET_READ_MOSTLY, 0));
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, m + PAGE, 7 * PAGE), 1);
    OK(cuMemAdvise(m, 8 * PAGE, CU_MEM_ADVISE_UNSET_READ_MOSTLY, 0));
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, m + 2 * PAGE, PAGE), 0);
    OK(cuMemAdvise(m, 8 * PAGE, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, 0));
    OK(cuMemAdvise(m + PAGE, PAGE, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CU_DEVICE_CPU));
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, m, PAGE), 0);
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, m + PAGE, PAGE),
                     CU_DEVICE_CPU);
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, m, 2 * PAGE),
                     CU_DEVICE_INVALID);
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE, m + PAGE, 8),
                     CU_MEM_LOCATION_TYPE_HOST);
    OK(cuMemAdvise(m, PAGE, CU_MEM_ADVISE_SET_ACCESSED_BY, 0));
    OK(cuMemAdvise(m, PAGE, CU_MEM_ADVISE_SET_ACCESSED_BY, CU_DEVICE_CPU));
    OK(cuMemRangeGetAttribute(by, sizeof(by), CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, m, PAGE));
    assert_int_equal(by[0], 0);
    assert_int_equal(by[1], CU_DEVICE_CPU);
    assert_int_equal(by[2], CU_DEVICE_INVALID);
    OK(cuMemAdvise(m, PAGE, CU_MEM_ADVISE_UNSET_ACCESSED_BY, 0));
    OK(cuMemRangeGetAttribute(by, 4, CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, m, PAGE));
    assert_int_equal(by[0], CU_DEVICE_CPU);
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, m, PAGE),
                     CU_DEVICE_INVALID);
    OK(cuMemPrefetchAsync(m, 4 * PAGE, 0, NULL));
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, m, 4 * PAGE), 0);
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, m, 5 * PAGE),
                     CU_DEVICE_INVALID);
    /* Whole pages are advised and prefetched. */
    OK(cuMemPrefetchAsync(m + 4 * PAGE + 1000, PAGE, 0, NULL));
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, m, 6 * PAGE), 0);
    OK(cuMemAdvise(m + 6 * PAGE + 1000, 8, CU_MEM_ADVISE_SET_READ_MOSTLY, 0));
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, m + 6 * PAGE, PAGE), 1);
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, m + 6 * PAGE, PAGE + 1), 0);
    /* All of it or none is a stream's, but not the legacy one's. */
    OK(cuStreamAttachMemAsync(NULL, m, 0, CU_MEM_ATTACH_HOST));
    OK(cuStreamAttachMemAsync(NULL, m, 8 * PAGE, CU_MEM_ATTACH_GLOBAL));
    INVALID(cuStreamAttachMemAsync(NULL, m, PAGE, CU_MEM_ATTACH_GLOBAL));
    INVALID(cuStreamAttachMemAsync(NULL, m, 0, CU_MEM_ATTACH_SINGLE));
    OK(cuStreamAttachMemAsync(CU_STREAM_PER_THREAD, m, 0, CU_MEM_ATTACH_SINGLE));
    INVALID(cuStreamAttachMemAsync(NULL, m, 0, 3));
    OK(cuMemRangeGetAttributes(data, sizes, both, 2, m + PAGE, PAGE));
    assert_int_equal(mostly, 0);
    assert_int_equal(preferred, CU_DEVICE_CPU);
    sizes[1] = 8;
    INVALID(cuMemRangeGetAttributes(data, sizes, both, 2, m, PAGE));
    INVALID(cuMemRangeGetAttribute(by, 4, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, plain, PAGE));
    INVALID(cuMemRangeGetAttribute(by, 4, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, m, 9 * PAGE));
    INVALID(cuMemRangeGetAttribute(by, 4, 99, m, PAGE));
    OK(cuMemFree_v2(plain));
    OK(cuMemFree_v2(m));
}

static void test_prefetch_batch(void **state)
{
    CUmemLocation places[] = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, {CU_MEM_LOCATION_TYPE_HOST, 0}};
    size_t sizes[] = {PAGE, PAGE, PAGE}, firsts[] = {0, 2};
    CUdeviceptr at[3], m;
    int has = 0;

    (void)state;
    OK(cuDeviceGetAttribute(&has, CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 0));
    if (!has)
        skip();
    OK(cuMemAllocManaged(&m, 8 * PAGE, CU_MEM_ATTACH_GLOBAL));
    for (unsigned i = 0; i < 3; i++)
        at[i] = m + 2 * i * PAGE;
    memset((void *)(uintptr_t)m, 3, 8 * PAGE);
    OK(cuMemPrefetchBatchAsync(at, sizes, 3, places, firsts, 2, 0, NULL));
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, at[0], PAGE), 0);
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, at[1], PAGE), 0);
    assert_int_equal(asked(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, at[2], PAGE),
                     CU_DEVICE_CPU);
    OK(cuMemDiscardBatchAsync(at, sizes, 1, 0, NULL));
    OK(cuMemDiscardAndPrefetchBatchAsync(at, sizes, 2, places, firsts, 1, 0, NULL));
    assert_int_equal(((unsigned char *)(uintptr_t)m)[PAGE], 3);
    firsts[0] = 1;
    INVALID(cuMemPrefetchBatchAsync(at, sizes, 3, places, firsts, 2, 0, NULL));
    firsts[0] = firsts[1] = 0;
    INVALID(cuMemPrefetchBatchAsync(at, sizes, 3, places, firsts, 2, 0, NULL));
    INVALID(cuMemPrefetchBatchAsync(at, sizes, 3, NULL, NULL, 0, 0, NULL));
    at[2] = 16;
    INVALID(cuMemDiscardBatchAsync(at, sizes, 3, 0, NULL));
    OK(cuMemFree_v2(m));
}

static void test_pools(void **state)
{
    CUmemLocation here = {CU_MEM_LOCATION_TYPE_DEVICE, 0}, host = {CU_MEM_LOCATION_TYPE_HOST, 0};
    CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = here};
    CUmemoryPool standard, own, got;

    (void)state;
    OK(cuMemGetDefaultMemPool(&standard, &here, CU_MEM_ALLOCATION_TYPE_PINNED));
    OK(cuDeviceGetDefaultMemPool(&got, 0));
    assert_ptr_equal(got, standard);
    OK(cuMemPoolCreate(&own, &props));
    OK(cuMemSetMemPool(&here, CU_MEM_ALLOCATION_TYPE_PINNED, own));
    OK(cuMemGetMemPool(&got, &here, CU_MEM_ALLOCATION_TYPE_PINNED));
    assert_ptr_equal(got, own);
    OK(cuMemSetMemPool(&here, CU_MEM_ALLOCATION_TYPE_PINNED, standard));
    OK(cuMemPoolDestroy(own));
    assert_int_equal(cuMemGetMemPool(&got, &host, CU_MEM_ALLOCATION_TYPE_PINNED),
                     CUDA_ERROR_NOT_SUPPORTED);
    INVALID(cuMemGetMemPool(&got, &here, CU_MEM_ALLOCATION_TYPE_INVALID));
    INVALID(cuMemGetMemPool(&got, NULL, CU_MEM_ALLOCATION_TYPE_PINNED));
}

static void test_values(void **state)
{
    CUstreamBatchMemOpParams ops[4];
    CUdeviceptr at;
    uint64_t words[2] = {0};
    CUstream first, second;

    (void)state;
    OK(cuMemAlloc_v2(&at, 16));
    OK(cuMemsetD8_v2(at, 0, 16));
    OK(cuCtxSynchronize());
    OK(cuStreamCreate(&first, CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    memset(ops, 0, sizeof(ops));
    ops[0].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
    ops[0].waitValue.address = at;
    ops[0].waitValue.value64 = 3;
    ops[0].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
    ops[1].operation = CU_STREAM_MEM_OP_BARRIER;
    ops[2].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_64;
    ops[2].writeValue.address = at + 8;
    ops[2].writeValue.value64 = 0x123456789a;
    ops[3].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    ops[3].writeValue.address = at + 4;
    ops[3].writeValue.value64 = 9;
    OK(cuStreamBatchMemOp_v2(first, 4, ops, 0));
    assert_int_equal(cuStreamQuery(first), CUDA_ERROR_NOT_READY);
    OK(cuStreamWriteValue32(second, at, 3, 0));
    OK(cuStreamSynchronize(first));
    OK(cuMemcpyDtoH_v2(words, at, 16));
    assert_int_equal(words[0], 9ull << 32 | 3);
    assert_int_equal(words[1], 0x123456789a);
    OK(cuStreamWaitValue64(first, at + 8, 0x123456789a, CU_STREAM_WAIT_VALUE_EQ));
    OK(cuStreamSynchronize(first));
    OK(cuStreamBatchMemOp(first, 0, NULL, 0));
    ops[1].operation = 77;
    INVALID(cuStreamBatchMemOp_v2(first, 2, ops, 0));
    INVALID(cuStreamBatchMemOp_v2(first, 257, ops, 0));
    INVALID(cuStreamBatchMemOp_v2(first, 1, NULL, 0));
    /* None of those that were refused is waited for. */
    OK(cuStreamQuery(first));
    OK(cuMemFree_v2(at));
}

static void test_pointers(void **state)
{
    CUdeviceptr at;
    unsigned on = 1;
    unsigned char is = 9;
    CUdevice device = 0;

    (void)state;
    (void)device;
    OK(cuMemAlloc_v2(&at, 1 << 20));
    OK(cuPointerGetAttribute(&is, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, at));
    assert_int_equal(is, 0);
    OK(cuPointerSetAttribute(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, at + 4));
    OK(cuPointerGetAttribute(&is, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, at));
    assert_int_equal(is, 1);
    OK(cuMemsetD32_v2(at, 4, 1 << 18));
    OK(cuStreamQuery(NULL));
    INVALID(cuPointerSetAttribute(&on, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at));
    INVALID(cuPointerSetAttribute(NULL, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, at));
    INVALID(cuPointerSetAttribute(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, 16));
    OK(cuMemFree_v2(at));
}

/* Memory that is none is refused when it is named; variables are memory, whether the host knows
 * their names or not. */
static void test_nowhere(void **state)
{
    static const char code[] =
        ".version 7.8\n.target sm_80\n.address_size 64\n.global .u32 inner[4];\n"
        ".visible .entry where(.param .u64 out) {\n.reg .b64 %d<3>;\n"
        "ld.param.u64 %d1, [out]; mov.u64 %d2, inner; cvta.global.u64 %d2, %d2;\n"
        "st.global.u64 [%d1], %d2; ret; }\n";
    CUdeviceptr memory, inner = 0;
    void *args[] = {&memory};
    unsigned word = 0;
    CUfunction where;
    CUmodule module;

    (void)state;
    OK(cuMemAlloc_v2(&memory, 64));
    INVALID(cuMemsetD8_v2(memory + 65, 1, 64));
    INVALID(cuMemsetD8Async(memory + 4096, 1, 64, NULL));
    INVALID(cuMemsetD2D8_v2(memory + 64 + 1, 64, 1, 8, 2));
    INVALID(cuMemcpyHtoD_v2(memory + 4096, &word, 4));
    INVALID(cuMemcpyDtoH_v2(&word, memory + 4096, 4));
    INVALID(cuMemcpyDtoD_v2(memory, memory + 4096, 4));
    OK(cuModuleLoadData(&module, code));
    OK(cuModuleGetFunction(&where, module, "where"));
    OK(cuLaunchKernel(where, 1, 1, 1, 1, 1, 1, 0, NULL, args, NULL));
    OK(cuMemcpyDtoH_v2(&inner, memory, sizeof(inner)));
    OK(cuMemsetD32_v2(inner, 42, 4));
    INVALID(cuMemsetD32_v2(inner, 42, 5));
    OK(cuMemcpyDtoH_v2(&word, inner + 12, 4));
    assert_int_equal(word, 42);
    OK(cuModuleUnload(module));
    INVALID(cuMemcpyDtoH_v2(&word, inner, 4));
    OK(cuMemFree_v2(memory));
    INVALID(cuMemsetD8_v2(memory, 1, 64));
    OK(cuCtxSynchronize());
}

static void test_peers(void **state)
{
    CUcontext other;
    int value = 5;

    (void)state;
    OK(cuCtxCreate_v2(&other, 0, 0));
    OK(cuCtxSetCurrent(context));
    assert_int_equal(cuCtxEnablePeerAccess(other, 0), CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
    assert_int_equal(cuCtxEnablePeerAccess(context, 0), CUDA_ERROR_INVALID_CONTEXT);
    assert_int_equal(cuCtxEnablePeerAccess(NULL, 0), CUDA_ERROR_INVALID_CONTEXT);
    INVALID(cuCtxEnablePeerAccess(other, 1));
    assert_int_equal(cuCtxDisablePeerAccess(other), CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
    assert_int_equal(cuCtxDisablePeerAccess(NULL), CUDA_ERROR_INVALID_CONTEXT);
    assert_int_equal(
        cuDeviceGetP2PAttribute(&value, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0, 0),
        CUDA_ERROR_INVALID_DEVICE);
    assert_int_equal(
        cuDeviceGetP2PAttribute(&value, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0, 99),
        CUDA_ERROR_INVALID_DEVICE);
    INVALID(cuDeviceGetP2PAttribute(&value, 0, 0, 1));
    OK(cuCtxDestroy_v2(other));
    OK(cuCtxSetCurrent(context));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_old_launch),     cmocka_unit_test(test_advice),
        cmocka_unit_test(test_prefetch_batch), cmocka_unit_test(test_pools),
        cmocka_unit_test(test_values),         cmocka_unit_test(test_pointers),
        cmocka_unit_test(test_nowhere),        cmocka_unit_test(test_peers),
    };

    return cmocka_run_group_tests(tests, open_context, close_context);
}
