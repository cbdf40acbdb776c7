/* SPDX-License-Identifier: MIT */
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#include <compute/cuda/cuda.h>

/*
 * Memory and events of one process in another: this program twice, the second made before either
 * knows of CUDA, which does not survive a fork.
 */

#define OK(call)      assert_int_equal(call, CUDA_SUCCESS)
#define INVALID(call) assert_int_equal(call, CUDA_ERROR_INVALID_VALUE)
#define WORDS         300000u

struct letter {
    int supported;
    CUipcMemHandle memory;
    CUipcEventHandle event;
};

static int to_other[2], from_other[2];
static pid_t other;
static CUcontext context;

static void tell(int fd, const void *bytes, size_t size)
{
    assert_int_equal(write(fd, bytes, size), size);
}

static void hear(int fd, void *bytes, size_t size)
{
    size_t n = 0;

    while (n < size) {
        ssize_t got = read(fd, (char *)bytes + n, size - n);

        assert_true(got > 0);
        n += (size_t)got;
    }
}

static unsigned word(CUdeviceptr at)
{
    unsigned value = 0;

    OK(cuMemcpyDtoH_v2(&value, at, 4));
    return value;
}

/* The other process: 0 if all was as it should be. It has no cmocka around it. */
#define NEED(what)                     \
    do {                               \
        if (!(what)) {                 \
            _exit(__LINE__ % 250 + 1); \
        }                              \
    } while (0)

static void other_process(void)
{
    CUdeviceptr at = 0, again = 0, base = 0;
    struct letter l;
    CUipcMemHandle wrong;
    CUevent event;
    CUstream stream;
    size_t size = 0;
    unsigned value = 0;
    char go;

    NEED(read(to_other[0], &l, sizeof(l)) == sizeof(l));
    if (!l.supported)
        _exit(0);
    NEED(!cuInit(0) && !cuCtxCreate_v2(&context, 0, 0));
    NEED(!cuIpcOpenMemHandle_v2(&at, l.memory, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) && at);
    NEED(!cuMemcpyDtoH_v2(&value, at + 4ull * (WORDS - 1), 4) && value == 5);
    NEED(!cuIpcOpenMemHandle_v2(&again, l.memory, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) &&
         again == at);
    NEED(!cuMemGetAddressRange_v2(&base, &size, at + 8) && base == at && size == 4ull * WORDS);
    NEED(cuMemFree_v2(at) == CUDA_ERROR_INVALID_VALUE);
    /* A handle that says something else. */
    wrong = l.memory;
    wrong.reserved[20] ^= 1;
    NEED(cuIpcOpenMemHandle_v2(&again, wrong, 1) == CUDA_ERROR_INVALID_HANDLE);
    memset(&wrong, 0, sizeof(wrong));
    NEED(cuIpcOpenMemHandle_v2(&again, wrong, 1) == CUDA_ERROR_INVALID_HANDLE);
    NEED(cuIpcOpenMemHandle_v2(&again, l.memory, 8) == CUDA_ERROR_INVALID_VALUE);
    NEED(!cuIpcOpenEventHandle(&event, l.event));
    NEED(!cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    /* What the first has not come to yet is waited for. */
    NEED(!cuStreamWaitEvent(stream, event, 0));
    NEED(!cuMemsetD32Async(at, 8, 10, stream));
    NEED(cuStreamQuery(stream) == CUDA_ERROR_NOT_READY);
    NEED(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
    NEED(write(from_other[1], "w", 1) == 1);
    NEED(!cuStreamSynchronize(stream));
    NEED(!cuEventQuery(event));
    NEED(!cuMemcpyDtoH_v2(&value, at + 40, 4) && value == 6);
    /* And the other way round. */
    NEED(!cuMemsetD32Async(at + 40, 9, 1, stream) && !cuEventRecord(event, stream));
    NEED(write(from_other[1], "r", 1) == 1);
    NEED(!cuEventDestroy_v2(event));
    NEED(!cuIpcCloseMemHandle(at));
    NEED(!cuMemcpyDtoH_v2(&value, at, 4));
    NEED(!cuIpcCloseMemHandle(at));
    NEED(cuIpcCloseMemHandle(at) == CUDA_ERROR_INVALID_VALUE);
    NEED(read(to_other[0], &go, 1) == 1);
    NEED(!cuCtxDestroy_v2(context));
    _exit(0);
}

static void test_processes(void **state)
{
    CUdeviceptr at, flag, opened;
    struct letter l = {0}, same;
    CUstream stream, second;
    CUevent event, plain;
    int status = -1;
    char got = 0;

    (void)state;
    OK(cuInit(0));
    OK(cuCtxCreate_v2(&context, 0, 0));
    OK(cuDeviceGetAttribute(&l.supported, CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED, 0));
    OK(cuMemAlloc_v2(&at, 4ull * WORDS));
    OK(cuMemAlloc_v2(&flag, 4));
    INVALID(cuEventCreate(&event, CU_EVENT_INTERPROCESS));
    if (!l.supported) {
        assert_int_equal(cuIpcGetMemHandle(&l.memory, at), CUDA_ERROR_NOT_SUPPORTED);
        assert_int_equal(cuEventCreate(&event, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING),
                         CUDA_ERROR_NOT_SUPPORTED);
        tell(to_other[1], &l, sizeof(l));
        goto out;
    }
    OK(cuMemsetD32_v2(at, 5, WORDS));
    OK(cuMemsetD32_v2(flag, 0, 1));
    OK(cuIpcGetMemHandle(&l.memory, at));
    OK(cuIpcGetMemHandle(&same.memory, at + 40));
    assert_memory_equal(&l.memory, &same.memory, sizeof(l.memory));
    INVALID(cuIpcGetMemHandle(&same.memory, 16));
    assert_int_equal(cuIpcOpenMemHandle_v2(&opened, l.memory, 1), CUDA_ERROR_INVALID_CONTEXT);
    /* It is as it was, and goes on as such. */
    assert_int_equal(word(at + 4), 5);
    OK(cuEventCreate(&event, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING));
    OK(cuEventCreate(&plain, CU_EVENT_DISABLE_TIMING));
    INVALID(cuIpcGetEventHandle(&l.event, plain));
    OK(cuIpcGetEventHandle(&l.event, event));
    OK(cuEventQuery(event));
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    /* Its record is held up until the other process waits for it. */
    OK(cuStreamWaitValue32_v2(stream, flag, 1, CU_STREAM_WAIT_VALUE_EQ));
    OK(cuMemsetD32Async(at, 6, 20, stream));
    OK(cuEventRecord(event, stream));
    assert_int_equal(cuEventQuery(event), CUDA_ERROR_NOT_READY);
    tell(to_other[1], &l, sizeof(l));
    hear(from_other[0], &got, 1);
    OK(cuStreamWriteValue32_v2(second, flag, 1, 0));
    OK(cuEventSynchronize(event));
    hear(from_other[0], &got, 1);
    assert_int_equal(got, 'r');
    OK(cuStreamWaitEvent(second, event, 0));
    OK(cuStreamSynchronize(second));
    OK(cuEventSynchronize(event));
    assert_int_equal(word(at), 8);
    assert_int_equal(word(at + 40), 9);
    assert_int_equal(word(at + 44), 6);
    tell(to_other[1], "g", 1);
    OK(cuEventDestroy_v2(event));
    OK(cuEventDestroy_v2(plain));
out:
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(status, 0);
    OK(cuMemFree_v2(at));
    OK(cuMemFree_v2(flag));
    OK(cuCtxDestroy_v2(context));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_processes),
    };

    if (pipe(to_other) || pipe(from_other))
        return 1;
    other = fork();
    if (!other) {
        prctl(PR_SET_PDEATHSIG, 9);
        close(to_other[1]);
        other_process();
    }
    return other < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
