/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <unistd.h>

#include "check.h"

#include <compute/cuda/cuda.h>

/*
 * Addresses and memory apart (cuMemAddressReserve, cuMemCreate, cuMemMap, ...): a list that grows
 * as those of frameworks do, one memory at two places, what faults where nothing may be accessed.
 */

#define OK(call)      assert_int_equal(call, CUDA_SUCCESS)
#define INVALID(call) assert_int_equal(call, CUDA_ERROR_INVALID_VALUE)
#define PIECE         ((size_t)2 << 20)
#define WORDS         ((unsigned)(PIECE / 4))

static const char text[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    /* Lane i adds to word i * step. */
    ".visible .entry add(.param .u64 out, .param .u32 step, .param .u32 value) {\n"
    "  .reg .b32 %r<6>; .reg .b64 %d<3>;\n"
    "  ld.param.u64 %d1, [out]; ld.param.u32 %r1, [step]; ld.param.u32 %r2, [value];\n"
    "  mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n"
    "  mad.lo.u32 %r3, %r3, %r4, %r5; mul.lo.u32 %r3, %r3, %r1;\n"
    "  mul.wide.u32 %d2, %r3, 4; add.u64 %d1, %d1, %d2;\n"
    "  ld.global.u32 %r4, [%d1]; add.u32 %r4, %r4, %r2; st.global.u32 [%d1], %r4;\n"
    "  ret; }\n"
    ".visible .entry get(.param .u64 from, .param .u64 to) {\n"
    "  .reg .b32 %r<2>; .reg .b64 %d<3>;\n"
    "  ld.param.u64 %d1, [from]; ld.param.u64 %d2, [to];\n"
    "  ld.global.u32 %r1, [%d1]; st.global.u32 [%d2], %r1; ret; }\n";

static CUcontext context;
static CUfunction add, get;
static CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                   .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
static CUmemAccessDesc all = {.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0},
                              .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};

static int open_context(void **state)
{
    CUmodule module;

    (void)state;
    OK(cuInit(0));
    OK(cuCtxCreate_v2(&context, 0, 0));
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&add, module, "add"));
    OK(cuModuleGetFunction(&get, module, "get"));
    return 0;
}

static int close_context(void **state)
{
    (void)state;
    OK(cuCtxDestroy_v2(context));
    return 0;
}

static int attribute(CUdevice_attribute which)
{
    int value = -1;

    OK(cuDeviceGetAttribute(&value, which, 0));
    return value;
}

static CUresult launch_add(CUdeviceptr out, unsigned threads, unsigned step, unsigned value)
{
    void *parameters[] = {&out, &step, &value};
    CUresult err =
        cuLaunchKernel(add, (threads + 127) / 128, 1, 1, 128, 1, 1, 0, NULL, parameters, NULL);

    return err ? err : cuCtxSynchronize();
}

static unsigned word(CUdeviceptr at)
{
    unsigned value = 0;

    OK(cuMemcpyDtoH_v2(&value, at, 4));
    return value;
}

static CUdeviceptr reserve(size_t size)
{
    CUdeviceptr at = 0;

    OK(cuMemAddressReserve(&at, size, 0, 0, 0));
    assert_int_equal(at % PIECE, 0);
    return at;
}

/* Maps fresh memory, which lives as long as the mapping. */
static void map(CUdeviceptr at, size_t size)
{
    CUmemGenericAllocationHandle h;

    OK(cuMemCreate(&h, size, &prop, 0));
    OK(cuMemMap(at, size, 0, h, 0));
    OK(cuMemRelease(h));
}

static void test_says_so(void **state)
{
    size_t granularity = 0;

    (void)state;
    assert_int_equal(attribute(CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED), 1);
    OK(cuMemGetAllocationGranularity(&granularity, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    assert_int_equal(granularity, PIECE);
    OK(cuMemGetAllocationGranularity(&granularity, &prop, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED));
    INVALID(cuMemGetAllocationGranularity(NULL, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    INVALID(cuMemGetAllocationGranularity(&granularity, NULL, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
}

/* As expandable segments: one stretch of addresses, memory added to its end; kernels and copies do
 * not see where one piece ends. */
static void test_grows(void **state)
{
    CUdeviceptr at = reserve(8 * PIECE);
    unsigned *words = malloc(3 * PIECE), wrong = 0;
    CUdeviceptr base = 0;
    size_t size = 0;

    (void)state;
    assert_non_null(words);
    for (unsigned i = 0; i < 3; i++) {
        map(at + i * PIECE, PIECE);
        OK(cuMemSetAccess(at + i * PIECE, PIECE, &all, 1));
        /* Fresh memory is zero. */
        assert_int_equal(word(at + i * PIECE), 0);
    }
    for (unsigned i = 0; i < 3 * WORDS; i++)
        words[i] = i;
    OK(cuMemcpyHtoD_v2(at, words, 3 * PIECE));
    OK(launch_add(at, 3 * WORDS, 1, 5));
    /* A warp whose lanes are in all pieces. */
    OK(launch_add(at, 128, WORDS / 64, 1));
    memset(words, 0, 3 * PIECE);
    OK(cuMemcpyDtoH_v2(words, at, 3 * PIECE));
    for (unsigned i = 0; i < 3 * WORDS; i++)
        wrong += words[i] != i + 5 + (i < 2 * WORDS && i % (WORDS / 64) == 0);
    assert_int_equal(wrong, 0);
    OK(cuMemsetD32_v2(at + PIECE / 2, 9, WORDS));
    assert_int_equal(word(at + PIECE), 9);
    OK(cuMemcpyDtoD_v2(at + 2 * PIECE, at + PIECE / 2, PIECE));
    assert_int_equal(word(at + 3 * PIECE - 4), 9);
    OK(cuMemGetAddressRange_v2(&base, &size, at + PIECE + 8));
    assert_int_equal(base, at + PIECE);
    assert_int_equal(size, PIECE);
    /* No piece of a mapping, but several at once. */
    INVALID(cuMemUnmap(at, PIECE / 2));
    INVALID(cuMemUnmap(at, 4 * PIECE));
    INVALID(cuMemAddressFree(at, 8 * PIECE));
    OK(cuMemUnmap(at, 3 * PIECE));
    INVALID(cuMemUnmap(at, PIECE));
    INVALID(cuMemAddressFree(at, 7 * PIECE));
    OK(cuMemAddressFree(at, 8 * PIECE));
    INVALID(cuMemAddressFree(at, 8 * PIECE));
    free(words);
}

/* What is written at one place is there at the other, and where it is mapped next. */
static void test_twice(void **state)
{
    CUdeviceptr at = reserve(4 * PIECE);
    CUmemGenericAllocationHandle h, same;
    CUmemAllocationProp is;

    (void)state;
    OK(cuMemCreate(&h, 2 * PIECE, &prop, 0));
    OK(cuMemMap(at, 2 * PIECE, 0, h, 0));
    OK(cuMemMap(at + 2 * PIECE, PIECE, PIECE, h, 0));
    INVALID(cuMemMap(at + 2 * PIECE, PIECE, 0, h, 0));
    INVALID(cuMemMap(at + 3 * PIECE, PIECE, 2 * PIECE, h, 0));
    INVALID(cuMemMap(at + 3 * PIECE, 2 * PIECE, 0, h, 0));
    INVALID(cuMemMap(at + 3 * PIECE + 4096, PIECE, 0, h, 0));
    OK(cuMemSetAccess(at, 3 * PIECE, &all, 1));
    OK(cuMemsetD32_v2(at + PIECE, 77, 1));
    assert_int_equal(word(at + 2 * PIECE), 77);
    OK(launch_add(at + 2 * PIECE, 1, 1, 3));
    assert_int_equal(word(at + PIECE), 80);
    OK(cuMemRetainAllocationHandle(&same, (void *)(uintptr_t)(at + 2 * PIECE + 12)));
    assert_int_equal(same, h);
    OK(cuMemRelease(same));
    OK(cuMemGetAllocationPropertiesFromHandle(&is, h));
    assert_memory_equal(&is, &prop, sizeof(is));
    OK(cuMemUnmap(at, 2 * PIECE));
    OK(cuMemUnmap(at + 2 * PIECE, PIECE));
    OK(cuMemMap(at, 2 * PIECE, 0, h, 0));
    OK(cuMemRelease(h));
    INVALID(cuMemRelease(h));
    INVALID(cuMemMap(at + 2 * PIECE, PIECE, 0, h, 0));
    OK(cuMemSetAccess(at, 2 * PIECE, &all, 1));
    assert_int_equal(word(at + PIECE), 80);
    OK(cuMemUnmap(at, 2 * PIECE));
    OK(cuMemAddressFree(at, 4 * PIECE));
}

static void test_access(void **state)
{
    CUdeviceptr at = reserve(4 * PIECE), other;
    CUmemAccessDesc none = all, reads = all;
    CUmemLocation here = all.location;
    unsigned long long flags = 9;
    unsigned value = 5;
    CUmemorytype type = 0;
    CUmemAccess_flags may = CU_MEM_ACCESS_FLAGS_PROT_NONE;
    void *p[] = {&at, &other};

    (void)state;
    none.flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
    reads.flags = CU_MEM_ACCESS_FLAGS_PROT_READ;
    OK(cuMemAlloc_v2(&other, 4));
    /* Reserved alone, and mapped alone. */
    INVALID(cuMemcpyHtoD_v2(at, &value, 4));
    INVALID(cuMemcpy(at, other, 4));
    INVALID(cuMemSetAccess(at, PIECE, &all, 1));
    INVALID(cuMemGetAccess(&flags, &here, at));
    map(at, PIECE);
    INVALID(cuMemcpyHtoD_v2(at, &value, 4));
    OK(cuMemGetAccess(&flags, &here, at));
    assert_int_equal(flags, CU_MEM_ACCESS_FLAGS_PROT_NONE);
    OK(cuMemSetAccess(at, PIECE, &all, 1));
    OK(cuMemGetAccess(&flags, &here, at + 100));
    assert_int_equal(flags, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    OK(cuMemcpyHtoD_v2(at, &value, 4));
    /* Past its end. */
    INVALID(cuMemcpyHtoD_v2(at + PIECE - 2, &value, 4));
    OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at));
    assert_int_equal(type, CU_MEMORYTYPE_DEVICE);
    OK(cuPointerGetAttribute(&may, CU_POINTER_ATTRIBUTE_ACCESS_FLAGS, at));
    assert_int_equal(may, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    /* To be read alone: by copies and kernels. */
    OK(cuMemSetAccess(at, PIECE, &reads, 1));
    assert_int_equal(word(at), 5);
    INVALID(cuMemcpyHtoD_v2(at, &value, 4));
    INVALID(cuMemsetD8_v2(at, 0, 1));
    OK(cuLaunchKernel(get, 1, 1, 1, 1, 1, 1, 0, NULL, p, NULL));
    assert_int_equal(word(other), 5);
    OK(cuMemSetAccess(at, PIECE, &none, 1));
    INVALID(cuMemcpyDtoH_v2(&value, at, 4));
    OK(cuMemSetAccess(at, PIECE, &all, 1));
    assert_int_equal(word(at), 5);
    OK(cuMemFree_v2(other));
    INVALID(cuMemFree_v2(at));
    OK(cuMemUnmap(at, PIECE));
    OK(cuMemAddressFree(at, 4 * PIECE));
}

/* A kernel's access where it may not is a fault, in a context of its own. */
static void expect_fault(CUdeviceptr at)
{
    CUcontext own;
    CUmodule module;
    CUfunction function;
    unsigned step = 1, value = 1;
    void *parameters[] = {&at, &step, &value};

    OK(cuCtxCreate_v2(&own, 0, 0));
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&function, module, "add"));
    OK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(cuCtxDestroy_v2(own));
}

static void test_faults(void **state)
{
    CUdeviceptr at = reserve(4 * PIECE);
    CUmemAccessDesc reads = all;

    (void)state;
    reads.flags = CU_MEM_ACCESS_FLAGS_PROT_READ;
    expect_fault(at);
    map(at, 2 * PIECE);
    map(at + 2 * PIECE, PIECE);
    expect_fault(at);
    OK(cuMemSetAccess(at, 3 * PIECE, &all, 1));
    expect_fault(at + 3 * PIECE);
    OK(cuMemSetAccess(at + 2 * PIECE, PIECE, &reads, 1));
    expect_fault(at + 2 * PIECE);
    OK(cuMemUnmap(at, 2 * PIECE));
    expect_fault(at + 4);
    OK(cuCtxSetCurrent(context));
    OK(cuMemUnmap(at + 2 * PIECE, PIECE));
    OK(cuMemAddressFree(at, 4 * PIECE));
    expect_fault(at);
    OK(cuCtxSetCurrent(context));
}

static void test_places(void **state)
{
    CUdeviceptr at = reserve(PIECE), next = 0, big = 0;

    (void)state;
    /* A hint is taken where the place is free. */
    OK(cuMemAddressReserve(&next, 64 * PIECE, 0, at + 1024 * PIECE, 0));
    assert_int_equal(next, at + 1024 * PIECE);
    OK(cuMemAddressReserve(&big, PIECE, 0, at, 0));
    assert_int_not_equal(big, at);
    OK(cuMemAddressFree(big, PIECE));
    OK(cuMemAddressReserve(&big, (size_t)1 << 36, (size_t)1 << 30, 0, 0));
    assert_int_equal(big % ((size_t)1 << 30), 0);
    OK(cuMemAddressFree(big, (size_t)1 << 36));
    INVALID(cuMemAddressReserve(&big, 0, 0, 0, 0));
    INVALID(cuMemAddressReserve(&big, 100, 0, 0, 0));
    INVALID(cuMemAddressReserve(&big, PIECE, 3, 0, 0));
    INVALID(cuMemAddressReserve(&big, PIECE, 0, 0, 1));
    assert_int_equal(cuMemAddressReserve(&big, (size_t)1 << 52, 0, 0, 0), CUDA_ERROR_OUT_OF_MEMORY);
    OK(cuMemAddressFree(at, PIECE));
    OK(cuMemAddressFree(next, 64 * PIECE));
}

static void test_create_errors(void **state)
{
    CUmemGenericAllocationHandle h = 0;
    CUmemAllocationProp other = prop;

    (void)state;
    INVALID(cuMemCreate(&h, PIECE / 2, &prop, 0));
    INVALID(cuMemCreate(&h, 0, &prop, 0));
    INVALID(cuMemCreate(&h, PIECE, NULL, 0));
    INVALID(cuMemCreate(NULL, PIECE, &prop, 0));
    assert_int_equal(cuMemCreate(&h, (size_t)1 << 50, &prop, 0), CUDA_ERROR_OUT_OF_MEMORY);
    other.type = CU_MEM_ALLOCATION_TYPE_INVALID;
    INVALID(cuMemCreate(&h, PIECE, &other, 0));
    other = prop;
    other.location.id = 77;
    assert_int_equal(cuMemCreate(&h, PIECE, &other, 0), CUDA_ERROR_INVALID_DEVICE);
    other = prop;
    other.location.type = CU_MEM_LOCATION_TYPE_HOST;
    assert_int_equal(cuMemCreate(&h, PIECE, &other, 0), CUDA_ERROR_NOT_SUPPORTED);
    other = prop;
    other.requestedHandleTypes = CU_MEM_HANDLE_TYPE_WIN32;
    assert_int_equal(cuMemCreate(&h, PIECE, &other, 0), CUDA_ERROR_NOT_SUPPORTED);
    INVALID(cuMemRelease(0));
    INVALID(cuMemRelease(12345));
}

/* Memory counts, and counts no longer when it is gone. */
static void test_counts(void **state)
{
    size_t before, during, after, total;
    CUmemGenericAllocationHandle h;

    (void)state;
    OK(cuMemGetInfo_v2(&before, &total));
    OK(cuMemCreate(&h, 64 * PIECE, &prop, 0));
    OK(cuMemGetInfo_v2(&during, &total));
    OK(cuMemRelease(h));
    OK(cuMemGetInfo_v2(&after, &total));
    (void)before;
    assert_true(during <= total - 64 * PIECE);
    assert_true(after >= during);
}

/* One memory by a descriptor: twice in this process; another process has it as ordinary bytes. */
static void test_shares(void **state)
{
    CUmemAllocationProp shared = prop;
    CUmemGenericAllocationHandle h, again;
    CUdeviceptr at = reserve(4 * PIECE);
    int fd = -1, wrong;

    (void)state;
    shared.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    if (!attribute(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED)) {
        assert_int_equal(cuMemCreate(&h, PIECE, &shared, 0), CUDA_ERROR_NOT_SUPPORTED);
        OK(cuMemAddressFree(at, 4 * PIECE));
        return;
    }
    OK(cuMemCreate(&h, PIECE, &shared, 0));
    OK(cuMemExportToShareableHandle(&fd, h, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    assert_true(fd >= 0);
    OK(cuMemImportFromShareableHandle(&again, (void *)(uintptr_t)fd,
                                      CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    OK(cuMemMap(at, PIECE, 0, h, 0));
    OK(cuMemMap(at + PIECE, PIECE, 0, again, 0));
    OK(cuMemSetAccess(at, 2 * PIECE, &all, 1));
    OK(cuMemsetD32_v2(at, 0x1234567, WORDS));
    assert_int_equal(word(at + 2 * PIECE - 4), 0x1234567);
    OK(launch_add(at + PIECE, WORDS, 1, 1));
    assert_int_equal(word(at), 0x1234568);
    assert_int_equal(pread(fd, &wrong, 4, 8), 4);
    assert_int_equal(wrong, 0x1234568);
    close(fd);
    OK(cuMemUnmap(at, 2 * PIECE));
    OK(cuMemRelease(h));
    OK(cuMemRelease(again));
    OK(cuMemAddressFree(at, 4 * PIECE));
    /* What is no such memory, and what was not meant to be shared. */
    wrong = open("/dev/null", O_RDWR);
    INVALID(cuMemImportFromShareableHandle(&again, (void *)(uintptr_t)wrong,
                                           CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    close(wrong);
    OK(cuMemCreate(&h, PIECE, &prop, 0));
    INVALID(cuMemExportToShareableHandle(&fd, h, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    OK(cuMemRelease(h));
}

/* What a program leaves is given back with it: the sanitizers and the next test look. */
static void test_leaves(void **state)
{
    CUdeviceptr at = reserve(4 * PIECE);

    (void)state;
    map(at, 2 * PIECE);
    OK(cuMemSetAccess(at, 2 * PIECE, &all, 1));
    OK(launch_add(at, 4, 1, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_so), cmocka_unit_test(test_grows),
        cmocka_unit_test(test_twice),   cmocka_unit_test(test_access),
        cmocka_unit_test(test_faults),  cmocka_unit_test(test_places),
        cmocka_unit_test(test_counts),  cmocka_unit_test(test_create_errors),
        cmocka_unit_test(test_shares),  cmocka_unit_test(test_leaves),
    };

    return cmocka_run_group_tests(tests, open_context, close_context);
}
