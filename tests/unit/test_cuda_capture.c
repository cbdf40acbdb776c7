/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <pthread.h>

#include <compute/cuda/cuda.h>

/* What may not be done while a stream is captured, by which thread, and what becomes of the
 * capture. */

#define OK(call)      assert_int_equal(call, CUDA_SUCCESS)
#define INVALID(call) assert_int_equal(call, CUDA_ERROR_INVALID_VALUE)
#define UNSAFE(call)  assert_int_equal(call, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)

static CUcontext context;
static CUstream stream, other;
static CUevent event;
static CUdeviceptr memory;

static int open_context(void **state)
{
    (void)state;
    OK(cuInit(0));
    OK(cuCtxCreate_v2(&context, 0, 0));
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    OK(cuEventCreate(&event, 0));
    OK(cuMemAlloc_v2(&memory, 4096));
    return 0;
}

static int close_context(void **state)
{
    (void)state;
    OK(cuEventDestroy_v2(event));
    OK(cuCtxDestroy_v2(context));
    return 0;
}

static CUresult alloc(void)
{
    CUdeviceptr p;
    CUresult err = cuMemAlloc_v2(&p, 64);

    return err ? err : cuMemFree_v2(p);
}

static CUresult pinned(void)
{
    void *p;
    CUresult err = cuMemHostAlloc(&p, 64, 0);

    return err ? err : cuMemFreeHost(p);
}

static CUresult query_stream(void)
{
    return cuStreamQuery(other);
}

static CUresult wait_stream(void)
{
    return cuStreamSynchronize(other);
}

static CUresult query_event(void)
{
    return cuEventQuery(event);
}

static CUresult wait_event(void)
{
    return cuEventSynchronize(event);
}

static CUresult (*const unsafe[])(void) = {alloc,       pinned,      query_stream,
                                           wait_stream, query_event, wait_event};
#define CALLS (sizeof(unsafe) / sizeof(unsafe[0]))

/* What the calls say in a thread of their own, whose mode may be another. */
struct
try {
    CUstreamCaptureMode mode;
    CUresult said[CALLS], ended;
};

static void *try_them(void *data)
{
    struct try *t = data;
    CUgraph graph;

    cuCtxSetCurrent(context);
    cuThreadExchangeStreamCaptureMode(&t->mode);
    t->ended = cuStreamEndCapture(stream, &graph);
    for (unsigned i = 0; i < CALLS; i++)
        t->said[i] = unsafe[i]();
    return NULL;
}

static struct try elsewhere(CUstreamCaptureMode mode)
{
    struct try t = {.mode = mode};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, try_them, &t), 0);
    pthread_join(thread, NULL);
    return t;
}

/* Ends the capture, of which a call has made nothing, or has not. */
static void end(bool broken)
{
    CUgraph graph;

    if (broken) {
        assert_int_equal(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        return;
    }
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphDestroy(graph));
}

static void test_own_thread(void **state)
{
    CUstreamCaptureMode mode;

    (void)state;
    OK(cuEventRecord(event, other));
    OK(cuStreamSynchronize(other));
    for (mode = CU_STREAM_CAPTURE_MODE_GLOBAL; mode <= CU_STREAM_CAPTURE_MODE_RELAXED; mode++)
        for (unsigned i = 0; i < CALLS; i++) {
            bool strict = mode != CU_STREAM_CAPTURE_MODE_RELAXED;

            OK(cuStreamBeginCapture_v2(stream, mode));
            assert_int_equal(unsafe[i](), strict ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : 0);
            end(strict);
            OK(unsafe[i]());
        }
    /* A thread that says that it knows what it does. */
    mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuThreadExchangeStreamCaptureMode(&mode));
    for (unsigned i = 0; i < CALLS; i++)
        OK(unsafe[i]());
    OK(cuThreadExchangeStreamCaptureMode(&mode));
    end(false);
}

static void test_other_threads(void **state)
{
    struct try t;

    (void)state;
    OK(cuEventRecord(event, other));
    OK(cuStreamSynchronize(other));
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    t = elsewhere(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    assert_int_equal(t.ended, CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    for (unsigned i = 0; i < CALLS; i++)
        OK(t.said[i]);
    t = elsewhere(CU_STREAM_CAPTURE_MODE_GLOBAL);
    for (unsigned i = 0; i < CALLS; i++)
        UNSAFE(t.said[i]);
    end(true);
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    t = elsewhere(CU_STREAM_CAPTURE_MODE_GLOBAL);
    assert_int_equal(t.ended, CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    for (unsigned i = 0; i < CALLS; i++)
        OK(t.said[i]);
    end(false);
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(elsewhere(CU_STREAM_CAPTURE_MODE_GLOBAL).ended);
    assert_int_equal(cuStreamEndCapture(stream, &(CUgraph){NULL}), CUDA_ERROR_ILLEGAL_STATE);
}

/* These have to do with the capture itself, whatever its mode. */
static void test_in_any_mode(void **state)
{
    CUstreamCaptureStatus status;
    CUstream blocking;

    (void)state;
    for (int mode = CU_STREAM_CAPTURE_MODE_GLOBAL; mode <= CU_STREAM_CAPTURE_MODE_RELAXED; mode++) {
        OK(cuStreamBeginCapture_v2(stream, (CUstreamCaptureMode)mode));
        UNSAFE(cuCtxSynchronize());
        end(true);
        OK(cuStreamBeginCapture_v2(stream, (CUstreamCaptureMode)mode));
        OK(cuEventRecord(event, stream));
        assert_int_equal(cuEventQuery(event), CUDA_ERROR_CAPTURED_EVENT);
        assert_int_equal(cuEventSynchronize(event), CUDA_ERROR_CAPTURED_EVENT);
        end(false);
    }
    OK(cuStreamCreate(&blocking, 0));
    OK(cuStreamBeginCapture_v2(blocking, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    assert_int_equal(cuStreamIsCapturing(NULL, &status), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    assert_int_equal(cuStreamGetCaptureInfo(NULL, &status, NULL),
                     CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    OK(cuStreamIsCapturing(other, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_NONE);
    OK(cuStreamDestroy_v2(blocking));
    OK(cuStreamIsCapturing(NULL, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_NONE);
}

/* What was joined stays joined, though the program says that its stream needs something else. */
static void test_joined(void **state)
{
    CUstreamCaptureStatus status;
    CUgraph graph;
    CUgraphNode node;

    (void)state;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    OK(cuEventRecord(event, stream));
    OK(cuStreamWaitEvent(other, event, 0));
    OK(cuMemsetD8Async(memory, 1, 64, other));
    OK(cuEventRecord(event, other));
    OK(cuStreamWaitEvent(stream, event, 0));
    OK(cuStreamGetCaptureInfo_v2(stream, &status, NULL, &graph, NULL, NULL));
    OK(cuGraphAddEmptyNode(&node, graph, NULL, 0));
    OK(cuStreamUpdateCaptureDependencies(stream, &node, 1, CU_STREAM_SET_CAPTURE_DEPENDENCIES));
    OK(cuMemsetD8Async(memory + 64, 2, 64, stream));
    end(false);
    /* What was not is missed. */
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    OK(cuEventRecord(event, stream));
    OK(cuStreamWaitEvent(other, event, 0));
    OK(cuMemsetD8Async(memory, 1, 64, other));
    OK(cuStreamUpdateCaptureDependencies(stream, NULL, 0, CU_STREAM_SET_CAPTURE_DEPENDENCIES));
    assert_int_equal(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
}

/* A window of the cache that cannot be meant. */
static void test_window(void **state)
{
    CUlaunchAttributeValue v = {.accessPolicyWindow = {.hitRatio = 0.5f, .hitProp = 2}};

    (void)state;
    OK(cuStreamSetAttribute(stream, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, &v));
    v.accessPolicyWindow.num_bytes = 64;
    INVALID(cuStreamSetAttribute(stream, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, &v));
    v.accessPolicyWindow.base_ptr = (void *)(uintptr_t)memory;
    OK(cuStreamSetAttribute(stream, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, &v));
    v.accessPolicyWindow.hitRatio = 1.1f;
    INVALID(cuStreamSetAttribute(stream, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, &v));
    v.accessPolicyWindow.hitRatio = -0.1f;
    INVALID(cuStreamSetAttribute(stream, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, &v));
    v.accessPolicyWindow.hitRatio = 1;
    v.accessPolicyWindow.missProp = CU_ACCESS_PROPERTY_PERSISTING;
    INVALID(cuStreamSetAttribute(stream, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_thread),  cmocka_unit_test(test_other_threads),
        cmocka_unit_test(test_in_any_mode), cmocka_unit_test(test_joined),
        cmocka_unit_test(test_window),
    };

    return cmocka_run_group_tests_name("cuda_capture", tests, open_context, close_context);
}
