/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <unistd.h>

#include <compute/cuda/cuda.h>
#include <compute/cuda/functions.h>
#include <compute/cuda/nvml/nvml.h>

/* libnvidia-ml says of each device what libcuda says, and of what it does not know that. */

/* One of missing.def: called as programs do, with arguments. */
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned *celsius);

static void test_before(void **state)
{
    unsigned number = 7;
    nvmlDevice_t device;
    char text[80];

    (void)state;
    assert_int_equal(nvmlDeviceGetCount_v2(&number), NVML_ERROR_UNINITIALIZED);
    assert_int_equal(nvmlDeviceGetHandleByIndex_v2(0, &device), NVML_ERROR_UNINITIALIZED);
    assert_int_equal(nvmlSystemGetDriverVersion(text, sizeof(text)), NVML_ERROR_UNINITIALIZED);
    assert_int_equal(nvmlDeviceGetTemperature(NULL, 0, &number), NVML_ERROR_UNINITIALIZED);
    assert_int_equal(nvmlShutdown(), NVML_ERROR_UNINITIALIZED);
    assert_int_equal(number, 7);
    assert_string_equal(nvmlErrorString(NVML_ERROR_UNINITIALIZED), "Uninitialized");
    assert_string_equal(nvmlErrorString((nvmlReturn_t)12345), "Unknown Error");
}

static void test_system(void **state)
{
    char text[80], tiny[2];
    int version, cuda;
    unsigned number;

    (void)state;
    assert_int_equal(nvmlInitWithFlags(4), NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(nvmlInit_v2(), NVML_SUCCESS);
    assert_int_equal(nvmlInitWithFlags(1), NVML_SUCCESS);
    assert_int_equal(nvmlShutdown(), NVML_SUCCESS);
    assert_int_equal(nvmlSystemGetDriverVersion(text, sizeof(text)), NVML_SUCCESS);
    assert_int_equal(nvmlSystemGetDriverVersion(tiny, sizeof(tiny)), NVML_ERROR_INSUFFICIENT_SIZE);
    assert_int_equal(nvmlSystemGetDriverVersion(NULL, 4), NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(nvmlSystemGetNVMLVersion(text, sizeof(text)), NVML_SUCCESS);
    assert_int_equal(nvmlSystemGetCudaDriverVersion_v2(&version), NVML_SUCCESS);
    assert_int_equal(cuDriverGetVersion(&cuda), CUDA_SUCCESS);
    assert_int_equal(version, cuda);
    assert_int_equal(nvmlSystemGetProcessName((unsigned)getpid(), text, sizeof(text)),
                     NVML_SUCCESS);
    assert_non_null(strstr(text, "test_nvml"));
    assert_int_equal(nvmlSystemGetProcessName(0x7fffffff, text, sizeof(text)),
                     NVML_ERROR_NOT_FOUND);
    assert_int_equal(nvmlUnitGetCount(&number), NVML_SUCCESS);
    assert_int_equal(number, 0);
    assert_int_equal(nvmlShutdown(), NVML_SUCCESS);
    assert_int_equal(nvmlShutdown(), NVML_ERROR_UNINITIALIZED);
}

static void check_memory(nvmlDevice_t device, CUdevice number)
{
    nvmlMemory_t memory;
    nvmlMemory_v2_t second = {.version = 1};
    CUcontext context, current;
    size_t total;

    assert_int_equal(nvmlDeviceGetMemoryInfo(device, &memory), NVML_SUCCESS);
    assert_int_equal(cuDeviceTotalMem_v2(&total, number), CUDA_SUCCESS);
    assert_int_equal(memory.total, total);
    assert_int_equal(memory.free + memory.used, memory.total);
    assert_int_equal(nvmlDeviceGetMemoryInfo_v2(device, &second),
                     NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    second.version = NVML_MEMORY_V2;
    assert_int_equal(nvmlDeviceGetMemoryInfo_v2(device, &second), NVML_SUCCESS);
    assert_int_equal(second.total, total);
    assert_int_equal(second.free + second.used, total);
    /* A program's own context is left as it is. */
    assert_int_equal(cuDevicePrimaryCtxRetain(&context, number), CUDA_SUCCESS);
    assert_int_equal(cuCtxSetCurrent(context), CUDA_SUCCESS);
    assert_int_equal(nvmlDeviceGetMemoryInfo(device, &memory), NVML_SUCCESS);
    assert_int_equal(cuCtxGetCurrent(&current), CUDA_SUCCESS);
    assert_ptr_equal(current, context);
    assert_int_equal(cuCtxSetCurrent(NULL), CUDA_SUCCESS);
    assert_int_equal(cuDevicePrimaryCtxRelease_v2(number), CUDA_SUCCESS);
}

static void check_device(unsigned index)
{
    char name[96], want[96], uuid[48], tiny[4];
    nvmlDevice_t device, found;
    nvmlPciInfo_v2_t second;
    nvmlPciInfo_t pci;
    unsigned number;
    int major, minor, cuda;
    CUdevice cu;

    assert_int_equal(cuDeviceGet(&cu, (int)index), CUDA_SUCCESS);
    assert_int_equal(nvmlDeviceGetHandleByIndex_v2(index, &device), NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetIndex(device, &number), NVML_SUCCESS);
    assert_int_equal(number, index);
    assert_int_equal(nvmlDeviceGetName(device, name, sizeof(name)), NVML_SUCCESS);
    assert_int_equal(cuDeviceGetName(want, sizeof(want), cu), CUDA_SUCCESS);
    assert_string_equal(name, want);
    assert_int_equal(nvmlDeviceGetName(device, tiny, sizeof(tiny)), NVML_ERROR_INSUFFICIENT_SIZE);
    assert_int_equal(nvmlDeviceGetUUID(device, uuid, sizeof(uuid)), NVML_SUCCESS);
    assert_int_equal(strlen(uuid), 40);
    assert_int_equal(nvmlDeviceGetHandleByUUID(uuid, &found), NVML_SUCCESS);
    assert_ptr_equal(found, device);
    assert_int_equal(nvmlDeviceGetHandleByUUID("GPU-none", &found), NVML_ERROR_NOT_FOUND);
    assert_int_equal(nvmlDeviceGetPciInfo_v3(device, &pci), NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetPciInfo_v2(device, &second), NVML_SUCCESS);
    assert_string_equal(second.busId, pci.busIdLegacy);
    assert_int_equal(nvmlDeviceGetHandleByPciBusId_v2(pci.busId, &found), NVML_SUCCESS);
    assert_ptr_equal(found, device);
    assert_int_equal(nvmlDeviceGetHandleByPciBusId_v2(pci.busIdLegacy, &found), NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetHandleByPciBusId_v2("0:ff:1f.0", &found), NVML_ERROR_NOT_FOUND);
    assert_int_equal(nvmlDeviceGetHandleByPciBusId_v2("here", &found), NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(nvmlDeviceGetCudaComputeCapability(device, &major, &minor), NVML_SUCCESS);
    assert_int_equal(cuDeviceGetAttribute(&cuda, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, cu),
                     CUDA_SUCCESS);
    assert_int_equal(major, cuda);
    assert_int_equal(nvmlDeviceGetComputeMode(device, &number), NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetTemperature(device, 0, &number), NVML_ERROR_NOT_SUPPORTED);
    check_memory(device, cu);
}

static void test_devices(void **state)
{
    unsigned count;
    int cuda;
    nvmlDevice_t device;

    (void)state;
    assert_int_equal(nvmlInit_v2(), NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetCount_v2(&count), NVML_SUCCESS);
    assert_int_equal(cuDeviceGetCount(&cuda), CUDA_SUCCESS);
    assert_int_equal(count, cuda);
    assert_true(count > 0);
    for (unsigned i = 0; i < count; i++)
        check_device(i);
    assert_int_equal(nvmlDeviceGetHandleByIndex_v2(count, &device), NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(nvmlDeviceGetName((nvmlDevice_t)(uintptr_t)&count, (char[64]){0}, 64),
                     NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(nvmlShutdown(), NVML_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before),
        cmocka_unit_test(test_system),
        cmocka_unit_test(test_devices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
