/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#include <compute/cuda/cuda.h>

/*
 * Pinned and registered memory in asynchronous copies: it is read when the stream comes to the
 * copy, wherever the device is, and no call waits for the device.
 */

#define OK(call) assert_int_equal(call, CUDA_SUCCESS)

enum { WORDS = 3000, BYTES = WORDS * 4 };

static CUcontext context;
static CUdeviceptr device, other, flag;
static CUstream stream, second;
/* What is copied, of two kinds: pinned by the driver, and the program's own, not at a page's start.
 */
static unsigned *pinned, own[WORDS + 3], *kinds[2];

static int open_all(void **state)
{
    (void)state;
    OK(cuInit(0));
    OK(cuCtxCreate_v2(&context, 0, 0));
    OK(cuMemAlloc_v2(&device, BYTES));
    OK(cuMemAlloc_v2(&other, BYTES));
    OK(cuMemAlloc_v2(&flag, 4));
    OK(cuMemHostAlloc((void **)&pinned, BYTES, 0));
    OK(cuMemHostRegister_v2(own + 1, BYTES, CU_MEMHOSTREGISTER_PORTABLE));
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    kinds[0] = pinned;
    kinds[1] = own + 1;
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    OK(cuMemHostUnregister(own + 1));
    OK(cuMemFreeHost(pinned));
    OK(cuCtxDestroy_v2(context));
    return 0;
}

static void put(unsigned *words, unsigned value)
{
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = value + i;
}

static void expect(CUdeviceptr d, unsigned value)
{
    static unsigned got[WORDS];

    memset(got, 0xee, sizeof(got));
    OK(cuMemcpyDtoH_v2(got, d, BYTES));
    for (unsigned i = 0; i < WORDS; i++)
        assert_int_equal(got[i], value + i);
}

/* Holds `stream` until let_go. */
static void hold(void)
{
    OK(cuMemsetD32_v2(flag, 0, 1));
    OK(cuCtxSynchronize());
    OK(cuStreamWaitValue32_v2(stream, flag, 1, CU_STREAM_WAIT_VALUE_EQ));
}

static void let_go(void)
{
    OK(cuStreamWriteValue32_v2(second, flag, 1, 0));
}

/* To and fro while the stream stands: neither call waits. */
static void test_no_wait(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 2; k++) {
        put(kinds[k], 100);
        hold();
        OK(cuMemcpyHtoDAsync_v2(device, kinds[k], BYTES, stream));
        OK(cuMemcpyDtoHAsync_v2(kinds[k], device, BYTES, stream));
        assert_int_equal(cuStreamQuery(stream), CUDA_ERROR_NOT_READY);
        let_go();
        OK(cuStreamSynchronize(stream));
        expect(device, 100);
        assert_int_equal(kinds[k][WORDS - 1], 100 + WORDS - 1);
    }
}

/* What a copy brings is there for the next one, in its stream and in one that waits for it. */
static void test_chain(void **state)
{
    CUevent e;

    (void)state;
    OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
    for (unsigned k = 0; k < 2; k++) {
        static unsigned start[WORDS];

        put(start, 7000);
        OK(cuMemcpyHtoD_v2(device, start, BYTES));
        put(kinds[k], 1);
        hold();
        OK(cuMemcpyDtoHAsync_v2(kinds[k], device, BYTES, stream));
        OK(cuMemcpyHtoDAsync_v2(other, kinds[k], BYTES, stream));
        let_go();
        OK(cuStreamSynchronize(stream));
        expect(other, 7000);

        OK(cuMemsetD32_v2(other, 0, WORDS));
        put(kinds[k], 1);
        hold();
        OK(cuMemcpyDtoHAsync_v2(kinds[k], device, BYTES, stream));
        OK(cuEventRecord(e, stream));
        let_go();
        OK(cuStreamWaitEvent(second, e, 0));
        OK(cuMemcpyHtoDAsync_v2(other, kinds[k], BYTES, second));
        OK(cuStreamSynchronize(second));
        expect(other, 7000);
        OK(cuStreamSynchronize(stream));
    }
    OK(cuEventDestroy_v2(e));
}

static void write_some(void *user)
{
    put(user, 50000);
}

struct seen {
    const unsigned *words;
    unsigned first, last;
};

static void look(void *user)
{
    struct seen *s = user;

    s->first = s->words[0];
    s->last = s->words[WORDS - 1];
}

/* Functions of the program write what is copied after them, and see what was copied before. */
static void test_functions(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 2; k++) {
        struct seen seen = {.words = kinds[k]};

        put(kinds[k], 3);
        hold();
        OK(cuLaunchHostFunc(stream, write_some, kinds[k]));
        OK(cuMemcpyHtoDAsync_v2(device, kinds[k], BYTES, stream));
        OK(cuMemsetD32Async(other, 9, WORDS, stream));
        OK(cuMemcpyDtoHAsync_v2(kinds[k], other, BYTES, stream));
        OK(cuLaunchHostFunc(stream, look, &seen));
        let_go();
        OK(cuStreamSynchronize(stream));
        expect(device, 50000);
        assert_int_equal(seen.first, 9);
        assert_int_equal(seen.last, 9);
    }
}

/* The program writes as long as the stream waits for its word. */
static void test_value(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 2; k++) {
        put(kinds[k], 1);
        hold();
        OK(cuMemcpyHtoDAsync_v2(device, kinds[k], BYTES, stream));
        put(kinds[k], 600);
        let_go();
        OK(cuStreamSynchronize(stream));
        expect(device, 600);
    }
}

/* One stream waits for the other, again and again: what is told of both at once has an order, too.
 */
static void test_order(void **state)
{
    CUevent e;

    (void)state;
    OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
    for (unsigned i = 0; i < 200; i++) {
        OK(cuMemsetD32Async(device, i, WORDS, stream));
        pinned[0] = pinned[WORDS - 1] = ~0u;
        OK(cuMemcpyDtoHAsync_v2(pinned, device, BYTES, stream));
        OK(cuEventRecord(e, stream));
        OK(cuMemsetD32Async(other, i, 1, second));
        OK(cuStreamWaitEvent(second, e, 0));
        OK(cuMemsetD32Async(other, i, 1, second));
        OK(cuStreamSynchronize(second));
        assert_int_equal(cuEventQuery(e), CUDA_SUCCESS);
        assert_int_equal(pinned[0], i);
        assert_int_equal(pinned[WORDS - 1], i);
    }
    OK(cuEventDestroy_v2(e));
}

static atomic_int stage;

static void stand(void *user)
{
    (void)user;
    atomic_store(&stage, 1);
    for (unsigned i = 0; i < 5000 && atomic_load(&stage) < 2; i++)
        usleep(1000);
}

/* A function that stands holds up no copy of another stream. */
static void test_apart(void **state)
{
    (void)state;
    atomic_store(&stage, 0);
    put(pinned, 31);
    OK(cuLaunchHostFunc(stream, stand, NULL));
    while (!atomic_load(&stage))
        usleep(1000);
    OK(cuMemcpyHtoDAsync_v2(device, pinned, BYTES, second));
    OK(cuStreamSynchronize(second));
    expect(device, 31);
    assert_int_equal(atomic_exchange(&stage, 2), 1);
    OK(cuStreamSynchronize(stream));
}

/* Ordinary memory is the program's again when the call returns; of a graph it is read in its turn.
 */
static void test_ordinary(void **state)
{
    static unsigned words[WORDS];
    CUgraphExec exec;
    CUgraph graph;

    (void)state;
    put(words, 10);
    hold();
    OK(cuMemcpyHtoDAsync_v2(device, words, BYTES, stream));
    put(words, 20);
    let_go();
    OK(cuStreamSynchronize(stream));
    expect(device, 10);

    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuLaunchHostFunc(stream, write_some, words));
    OK(cuMemcpyHtoDAsync_v2(device, words, BYTES, stream));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    expect(device, 50000);
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(graph));
}

/* Larger than a piece of staging memory, in rows with gaps. */
static void test_rows(void **state)
{
    enum { PITCH = 10000, WIDTH = 9000, ROWS = 1500 };
    unsigned char *rows, *back;
    CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                       .srcPitch = PITCH,
                       .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                       .dstPitch = WIDTH,
                       .WidthInBytes = WIDTH,
                       .Height = ROWS};
    CUdeviceptr d;

    (void)state;
    OK(cuMemHostAlloc((void **)&rows, PITCH * ROWS, 0));
    OK(cuMemHostAlloc((void **)&back, WIDTH * ROWS, 0));
    OK(cuMemAlloc_v2(&d, WIDTH * ROWS));
    memset(rows, 1, PITCH * ROWS);
    hold();
    c.srcHost = rows;
    c.dstDevice = d;
    OK(cuMemcpy2DAsync_v2(&c, stream));
    OK(cuMemcpyDtoHAsync_v2(back, d, WIDTH * ROWS, stream));
    for (unsigned i = 0; i < PITCH * ROWS; i++)
        rows[i] = (unsigned char)(i * 7 + i / PITCH);
    let_go();
    OK(cuStreamSynchronize(stream));
    for (unsigned y = 0; y < ROWS; y++)
        assert_memory_equal(back + y * WIDTH, rows + y * PITCH, WIDTH);
    OK(cuMemFreeHost(rows));
    OK(cuMemFreeHost(back));
    OK(cuMemFree_v2(d));
}

/* What a program is told of it. */
static void test_told(void **state)
{
    int maps, reaches;
    CUdeviceptr d;
    unsigned type, flags;
    unsigned char mapped;

    (void)state;
    OK(cuDeviceGetAttribute(&maps, CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 0));
    OK(cuDeviceGetAttribute(&reaches, CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM,
                            0));
    for (unsigned k = 0; k < 2; k++) {
        uint64_t address = (uintptr_t)kinds[k];
        bool kernels = k ? reaches : maps;

        OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address + 8));
        assert_int_equal(type, CU_MEMORYTYPE_HOST);
        OK(cuPointerGetAttribute(&mapped, CU_POINTER_ATTRIBUTE_MAPPED, address));
        assert_int_equal(mapped, kernels);
        assert_int_equal(cuPointerGetAttribute(&d, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, address),
                         kernels ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
        assert_int_equal(cuMemHostGetDevicePointer_v2(&d, kinds[k], 0),
                         kernels ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED);
        OK(cuMemHostGetFlags(&flags, kinds[k]));
    }
    assert_int_equal(flags, CU_MEMHOSTREGISTER_PORTABLE);
    assert_int_equal(cuMemHostRegister_v2(own, 8, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    assert_int_equal(cuMemHostUnregister(own), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_wait),   cmocka_unit_test(test_chain),
        cmocka_unit_test(test_functions), cmocka_unit_test(test_value),
        cmocka_unit_test(test_order),     cmocka_unit_test(test_apart),
        cmocka_unit_test(test_ordinary),  cmocka_unit_test(test_rows),
        cmocka_unit_test(test_told),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
