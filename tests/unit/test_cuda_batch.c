/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <compute/cuda/cuda.h>

/* Batches of copies: when their sources are read, and what is refused. */

#define OK(call) assert_int_equal(call, CUDA_SUCCESS)
#define SIZE     4096

static CUcontext context;
static CUstream stream;
static CUdeviceptr memory, gate;

static int open_all(void **state)
{
    (void)state;
    OK(cuInit(0));
    OK(cuCtxCreate_v2(&context, 0, 0));
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuMemAlloc_v2(&memory, 4 * SIZE));
    OK(cuMemAlloc_v2(&gate, 4));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    OK(cuCtxDestroy_v2(context));
    return 0;
}

/* What is submitted waits until it is opened. */
static void close_gate(void)
{
    OK(cuMemsetD32_v2(gate, 0, 1));
    OK(cuCtxSynchronize());
    OK(cuStreamWaitValue32_v2(stream, gate, 1, CU_STREAM_WAIT_VALUE_EQ));
}

static void open_gate(void)
{
    CUstream other;

    OK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    OK(cuStreamWriteValue32_v2(other, gate, 1, 0));
    OK(cuStreamSynchronize(other));
    OK(cuStreamDestroy_v2(other));
    OK(cuStreamSynchronize(stream));
}

static uint64_t address(const void *p)
{
    return (uintptr_t)p;
}

/* The source changes behind the call: each order has its own idea of what is copied. */
static void test_orders(void **state)
{
    static uint32_t ordinary[SIZE / 4], out[SIZE / 4];
    CUmemcpyAttributes how[3] = {{.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM},
                                 {.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL},
                                 {.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL,
                                  .flags = CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE}};
    size_t firsts[3] = {0, 1, 2}, sizes[4] = {SIZE, SIZE, SIZE, 0}, failed = 77;
    CUdeviceptr to[4], from[4];
    uint32_t *pinned;

    (void)state;
    OK(cuMemAllocHost_v2((void **)&pinned, SIZE));
    for (unsigned i = 0; i < 4; i++)
        to[i] = memory + i * SIZE;
    from[0] = from[1] = from[3] = address(ordinary);
    from[2] = address(pinned);
    ordinary[5] = pinned[5] = 1;
    close_gate();
    OK(cuMemcpyBatchAsync(to, from, sizes, 4, how, firsts, 3, &failed, stream));
    assert_int_equal(failed, 77);
    ordinary[5] = pinned[5] = 2;
    open_gate();
    for (unsigned i = 0; i < 3; i++) {
        OK(cuMemcpyDtoH_v2(out, to[i], SIZE));
        assert_int_equal(out[5], i ? 1 : 2);
    }
    /* Within the device and to the program, without a place for errors. */
    OK(cuMemsetD8_v2(to[2], 0, SIZE));
    OK(cuCtxSynchronize());
    how[0].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
    from[0] = to[1];
    to[0] = to[2];
    from[1] = to[0];
    to[1] = address(out);
    OK(cuMemcpyBatchAsync_v2(to, from, sizes, 1, how, firsts, 1, stream));
    OK(cuStreamSynchronize(stream));
    OK(cuMemcpyBatchAsync_v2_ptsz(to + 1, from + 1, sizes, 1, how + 1, firsts, 1, NULL));
    OK(cuCtxSynchronize());
    assert_int_equal(out[5], 1);
    OK(cuMemFreeHost(pinned));
}

static void test_refused(void **state)
{
    static char ordinary[64];
    CUmemcpyAttributes how[2] = {{.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_ANY},
                                 {.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_ANY}};
    size_t firsts[2] = {0, 1}, sizes[2] = {4, 4}, failed = 0;
    CUdeviceptr to[2] = {memory, memory + 4}, from[2] = {address(ordinary), address(ordinary)};
    uint32_t out = 0;

#define BATCH(count, kinds) \
    cuMemcpyBatchAsync(to, from, sizes, count, how, firsts, kinds, &failed, stream)
    (void)state;
    OK(cuMemsetD8_v2(memory, 7, 8));
    assert_int_equal(BATCH(0, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(BATCH(1, 2), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpyBatchAsync(to, from, sizes, 1, how, firsts, 1, &failed, NULL),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(failed, SIZE_MAX);
    firsts[0] = 1;
    assert_int_equal(BATCH(2, 1), CUDA_ERROR_INVALID_VALUE);
    firsts[0] = 0;
    firsts[1] = 0;
    assert_int_equal(BATCH(2, 2), CUDA_ERROR_INVALID_VALUE);
    firsts[1] = 1;
    how[1].srcAccessOrder = 0;
    assert_int_equal(BATCH(2, 2), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(failed, 1);
    how[1].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
    /* The second is wrong: the first is not done either. */
    to[1] = memory + SIZE;
    sizes[1] = 1 << 20;
    failed = 0;
    assert_int_equal(BATCH(2, 2), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(failed, 1);
    OK(cuMemcpyDtoH_v2(&out, memory, 4));
    assert_int_equal(out, 0x07070707);
}

static void test_boxes(void **state)
{
    enum { W = 8, H = 4, D = 2 };
    static uint16_t in[D][H + 1][W + 3], out[D][H][W];
    CUDA_ARRAY3D_DESCRIPTOR d = {.Width = W,
                                 .Height = H,
                                 .Depth = D,
                                 .Format = CU_AD_FORMAT_UNSIGNED_INT16,
                                 .NumChannels = 1};
    CUDA_MEMCPY3D_BATCH_OP ops[2];
    CUarray array, second, wide;
    size_t failed;

    (void)state;
    for (unsigned i = 0; i < sizeof(in) / 2; i++)
        ((uint16_t *)in)[i] = (uint16_t)(i * 7);
    OK(cuArray3DCreate_v2(&array, &d));
    OK(cuArray3DCreate_v2(&second, &d));
    d.NumChannels = 2;
    OK(cuArray3DCreate_v2(&wide, &d));
    memset(ops, 0, sizeof(ops));
    ops[0].src = (CUmemcpy3DOperand){
        .type = CU_MEMCPY_OPERAND_TYPE_POINTER,
        .op.ptr = {.ptr = address(in), .rowLength = W + 3, .layerHeight = H + 1}};
    ops[0].dst = (CUmemcpy3DOperand){.type = CU_MEMCPY_OPERAND_TYPE_ARRAY, .op.array.array = array};
    ops[0].extent.width = W;
    ops[0].extent.height = H;
    ops[0].extent.depth = D;
    ops[0].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
    OK(cuMemcpy3DBatchAsync(1, ops, &failed, 0, stream));
    /* A part from array to array, and all of it back, tightly packed. */
    ops[0].src = ops[0].dst;
    ops[0].src.op.array.offset.x = 2;
    ops[0].src.op.array.offset.y = 1;
    ops[0].src.op.array.offset.z = 1;
    ops[0].dst.op.array.array = second;
    ops[0].extent.width = 3;
    ops[0].extent.height = 2;
    ops[0].extent.depth = 1;
    OK(cuMemcpy3DBatchAsync_v2(1, ops, 0, stream));
    ops[1].src = ops[0].dst;
    ops[1].dst =
        (CUmemcpy3DOperand){.type = CU_MEMCPY_OPERAND_TYPE_POINTER, .op.ptr.ptr = address(out)};
    ops[1].extent.width = W;
    ops[1].extent.height = H;
    ops[1].extent.depth = D;
    ops[1].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
    OK(cuMemcpy3DBatchAsync_v2(1, ops + 1, 0, stream));
    OK(cuStreamSynchronize(stream));
    for (unsigned y = 0; y < 2; y++)
        for (unsigned x = 0; x < 3; x++)
            assert_int_equal(out[0][y][x], in[1][1 + y][2 + x]);
    /* What is wrong, and where. */
    ops[0].dst.op.array.array = wide;
    assert_int_equal(cuMemcpy3DBatchAsync(1, ops, &failed, 0, stream), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(failed, 0);
    ops[0].dst.op.array.array = second;
    ops[1].extent.depth = 0;
    assert_int_equal(cuMemcpy3DBatchAsync(2, ops, &failed, 0, stream), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(failed, 1);
    ops[1].extent.depth = D;
    ops[1].dst.op.ptr.rowLength = W - 1;
    assert_int_equal(cuMemcpy3DBatchAsync(2, ops, &failed, 0, stream), CUDA_ERROR_INVALID_VALUE);
    ops[1].dst.op.ptr.rowLength = 0;
    ops[1].dst.op.ptr.layerHeight = H - 1;
    assert_int_equal(cuMemcpy3DBatchAsync(2, ops, &failed, 0, stream), CUDA_ERROR_INVALID_VALUE);
    ops[1].dst.op.ptr.layerHeight = 0;
    ops[1].src.type = 0;
    assert_int_equal(cuMemcpy3DBatchAsync(2, ops, &failed, 0, stream), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpy3DBatchAsync(1, ops, &failed, 1, stream), CUDA_ERROR_INVALID_VALUE);
    OK(cuArrayDestroy(array));
    OK(cuArrayDestroy(second));
    OK(cuArrayDestroy(wide));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_boxes),
    };

    return cmocka_run_group_tests_name("cuda_batch", tests, open_all, close_all);
}
