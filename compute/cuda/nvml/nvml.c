/* SPDX-License-Identifier: MIT */
#include "nvml.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <compute/cuda/cuda.h>
#include <compute/cuda/functions.h>

/*
 * What programs compare with what a release of CUDA needs at least: CUDA 13.0 came with 580. It is
 * no driver of NVIDIA's; the device's name says whose it is.
 */
#define DRIVER_VERSION "580.0"
#define NVML_VERSION   "13." DRIVER_VERSION

struct nvmlDevice_st {
    CUdevice device;
    int domain, bus, slot;
    char uuid[48];
};

static pthread_mutex_t nvml_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned nvml_users, nvml_count;
/* Made once: handles outlive nvmlShutdown, as programs that start twice expect. */
static struct nvmlDevice_st *nvml_devices;

static int attribute(CUdevice device, CUdevice_attribute which)
{
    int value = 0;

    return cuDeviceGetAttribute(&value, which, device) ? 0 : value;
}

static nvmlReturn_t find_devices(void)
{
    struct nvmlDevice_st *devices;
    int count = 0;

    if (cuInit(0) || cuDeviceGetCount(&count) || count < 0)
        return NVML_ERROR_DRIVER_NOT_LOADED;
    devices = calloc((size_t)count + 1, sizeof(*devices));
    if (!devices)
        return NVML_ERROR_MEMORY;
    for (int i = 0; i < count; i++) {
        struct nvmlDevice_st *d = &devices[i];
        CUuuid uuid = {{0}};
        int at = snprintf(d->uuid, sizeof(d->uuid), "GPU-");

        if (cuDeviceGet(&d->device, i) || cuDeviceGetUuid_v2(&uuid, d->device)) {
            free(devices);
            return NVML_ERROR_UNKNOWN;
        }
        for (int k = 0; k < 16; k++)
            at += snprintf(d->uuid + at, sizeof(d->uuid) - (size_t)at, "%s%02x",
                           k == 4 || k == 6 || k == 8 || k == 10 ? "-" : "",
                           (unsigned)(uint8_t)uuid.bytes[k]);
        d->domain = attribute(d->device, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID);
        d->bus = attribute(d->device, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
        d->slot = attribute(d->device, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID);
    }
    nvml_devices = devices;
    nvml_count = (unsigned)count;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlInit_v2(void)
{
    nvmlReturn_t result = NVML_SUCCESS;

    pthread_mutex_lock(&nvml_lock);
    if (!nvml_devices)
        result = find_devices();
    nvml_users += !result;
    pthread_mutex_unlock(&nvml_lock);
    return result;
}

nvmlReturn_t nvmlInit(void)
{
    return nvmlInit_v2();
}

/* 1: fine without devices, 2: do not attach; both are so anyway. */
nvmlReturn_t nvmlInitWithFlags(unsigned flags)
{
    return flags & ~3u ? NVML_ERROR_INVALID_ARGUMENT : nvmlInit_v2();
}

static bool in_use(void)
{
    bool used;

    pthread_mutex_lock(&nvml_lock);
    used = nvml_users > 0;
    pthread_mutex_unlock(&nvml_lock);
    return used;
}

nvmlReturn_t nvmlShutdown(void)
{
    nvmlReturn_t result = NVML_SUCCESS;

    pthread_mutex_lock(&nvml_lock);
    if (nvml_users)
        nvml_users--;
    else
        result = NVML_ERROR_UNINITIALIZED;
    pthread_mutex_unlock(&nvml_lock);
    return result;
}

const char *nvmlErrorString(nvmlReturn_t result)
{
    switch (result) {
    case NVML_SUCCESS:
        return "Success";
    case NVML_ERROR_UNINITIALIZED:
        return "Uninitialized";
    case NVML_ERROR_INVALID_ARGUMENT:
        return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED:
        return "Not Supported";
    case NVML_ERROR_NOT_FOUND:
        return "Not Found";
    case NVML_ERROR_INSUFFICIENT_SIZE:
        return "Insufficient Size";
    case NVML_ERROR_DRIVER_NOT_LOADED:
        return "Driver Not Loaded";
    case NVML_ERROR_GPU_IS_LOST:
        return "GPU is lost";
    case NVML_ERROR_MEMORY:
        return "Insufficient Memory";
    case NVML_ERROR_ARGUMENT_VERSION_MISMATCH:
        return "Argument version mismatch";
    default:
        return "Unknown Error";
    }
}

/* A text into the caller's memory. */
static nvmlReturn_t give(const char *text, char *to, unsigned length)
{
    if (!in_use())
        return NVML_ERROR_UNINITIALIZED;
    if (!to)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (strlen(text) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(to, text);
    return NVML_SUCCESS;
}

static nvmlReturn_t give_number(unsigned value, unsigned *to)
{
    if (!in_use())
        return NVML_ERROR_UNINITIALIZED;
    if (!to)
        return NVML_ERROR_INVALID_ARGUMENT;
    *to = value;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    return give(DRIVER_VERSION, version, length);
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned length)
{
    return give(NVML_VERSION, version, length);
}

/* Works without nvmlInit, as it is documented. */
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    if (!version)
        return NVML_ERROR_INVALID_ARGUMENT;
    return cuDriverGetVersion(version) ? NVML_ERROR_UNKNOWN : NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version)
{
    return nvmlSystemGetCudaDriverVersion_v2(version);
}

nvmlReturn_t nvmlSystemGetProcessName(unsigned pid, char *name, unsigned length)
{
    char path[32], text[1024];
    size_t size;
    FILE *file;

    if (!in_use())
        return NVML_ERROR_UNINITIALIZED;
    if (!name || !length)
        return NVML_ERROR_INVALID_ARGUMENT;
    snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
    file = fopen(path, "re");
    if (!file)
        return NVML_ERROR_NOT_FOUND;
    size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[size] = 0;
    /* Cut, not refused: names may be of any length. */
    snprintf(name, length, "%s", text);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlUnitGetCount(unsigned *count)
{
    return give_number(0, count);
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count)
{
    return give_number(nvml_count, count);
}

nvmlReturn_t nvmlDeviceGetCount(unsigned *count)
{
    return nvmlDeviceGetCount_v2(count);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device)
{
    if (!in_use())
        return NVML_ERROR_UNINITIALIZED;
    if (!device || index >= nvml_count)
        return NVML_ERROR_INVALID_ARGUMENT;
    *device = &nvml_devices[index];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t *device)
{
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    if (!in_use())
        return NVML_ERROR_UNINITIALIZED;
    if (!uuid || !device)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned i = 0; i < nvml_count; i++) {
        if (!strcmp(uuid, nvml_devices[i].uuid)) {
            *device = &nvml_devices[i];
            return NVML_SUCCESS;
        }
    }
    return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *id, nvmlDevice_t *device)
{
    unsigned domain, bus, slot;

    if (!in_use())
        return NVML_ERROR_UNINITIALIZED;
    if (!id || !device || sscanf(id, "%x:%x:%x", &domain, &bus, &slot) != 3)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned i = 0; i < nvml_count; i++) {
        const struct nvmlDevice_st *d = &nvml_devices[i];

        if ((unsigned)d->domain == domain && (unsigned)d->bus == bus && (unsigned)d->slot == slot) {
            *device = &nvml_devices[i];
            return NVML_SUCCESS;
        }
    }
    return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *id, nvmlDevice_t *device)
{
    return nvmlDeviceGetHandleByPciBusId_v2(id, device);
}

/* A handle that was given out. */
static nvmlReturn_t check(nvmlDevice_t device, const void *to)
{
    if (!in_use())
        return NVML_ERROR_UNINITIALIZED;
    for (unsigned i = 0; to && i < nvml_count; i++) {
        if (device == &nvml_devices[i])
            return NVML_SUCCESS;
    }
    return NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned *index)
{
    nvmlReturn_t result = check(device, index);

    if (!result)
        *index = (unsigned)(device - nvml_devices);
    return result;
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned *number)
{
    return nvmlDeviceGetIndex(device, number);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned length)
{
    nvmlReturn_t result = check(device, name);
    char text[96];

    if (result)
        return result;
    if (cuDeviceGetName(text, sizeof(text), device->device))
        return NVML_ERROR_UNKNOWN;
    return give(text, name, length);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned length)
{
    nvmlReturn_t result = check(device, uuid);

    return result ? result : give(device->uuid, uuid, length);
}

/* NVML_BRAND_UNKNOWN */
nvmlReturn_t nvmlDeviceGetBrand(nvmlDevice_t device, unsigned *brand)
{
    nvmlReturn_t result = check(device, brand);

    return result ? result : give_number(0, brand);
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    nvmlReturn_t result = check(device, major && minor ? major : NULL);

    if (result)
        return result;
    *major = attribute(device->device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    *minor = attribute(device->device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t device, unsigned *architecture)
{
    int major, minor;
    nvmlReturn_t result = architecture ? nvmlDeviceGetCudaComputeCapability(device, &major, &minor)
                                       : NVML_ERROR_INVALID_ARGUMENT;

    if (!result)
        *architecture =
            major == 8 && minor < 9 ? NVML_DEVICE_ARCH_AMPERE : NVML_DEVICE_ARCH_UNKNOWN;
    return result;
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    nvmlReturn_t result = check(device, pci);

    if (result)
        return result;
    *pci = (nvmlPciInfo_t){.domain = (unsigned)device->domain & 0xffff,
                           .bus = (unsigned)device->bus & 0xff,
                           .device = (unsigned)device->slot & 0x1f};
    snprintf(pci->busIdLegacy, sizeof(pci->busIdLegacy), "%04X:%02X:%02X.0", pci->domain, pci->bus,
             pci->device);
    snprintf(pci->busId, sizeof(pci->busId), "%08X:%02X:%02X.0", pci->domain, pci->bus,
             pci->device);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t device, nvmlPciInfo_v2_t *pci)
{
    nvmlPciInfo_t whole;
    nvmlReturn_t result =
        pci ? nvmlDeviceGetPciInfo_v3(device, &whole) : NVML_ERROR_INVALID_ARGUMENT;

    if (result)
        return result;
    *pci = (nvmlPciInfo_v2_t){.domain = whole.domain, .bus = whole.bus, .device = whole.device};
    memcpy(pci->busId, whole.busIdLegacy, sizeof(pci->busId));
    return NVML_SUCCESS;
}

/* Only a context knows what is free: the primary one, which is let go again. */
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    nvmlReturn_t result = check(device, memory);
    size_t left = 0, total = 0;
    CUcontext context;
    CUresult status;

    if (result)
        return result;
    if (cuDevicePrimaryCtxRetain(&context, device->device))
        return NVML_ERROR_GPU_IS_LOST;
    status = cuCtxPushCurrent_v2(context);
    if (!status) {
        status = cuMemGetInfo_v2(&left, &total);
        cuCtxPopCurrent_v2(&context);
    }
    cuDevicePrimaryCtxRelease_v2(device->device);
    if (status)
        return NVML_ERROR_GPU_IS_LOST;
    *memory = (nvmlMemory_t){.total = total, .free = left, .used = total - left};
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
    nvmlMemory_t plain;
    nvmlReturn_t result;

    if (memory && memory->version != NVML_MEMORY_V2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    result = memory ? nvmlDeviceGetMemoryInfo(device, &plain) : NVML_ERROR_INVALID_ARGUMENT;
    if (!result)
        *memory = (nvmlMemory_v2_t){.version = NVML_MEMORY_V2,
                                    .total = plain.total,
                                    .free = plain.free,
                                    .used = plain.used};
    return result;
}

nvmlReturn_t nvmlDeviceGetMemoryBusWidth(nvmlDevice_t device, unsigned *bits)
{
    nvmlReturn_t result = check(device, bits);

    if (!result)
        *bits = (unsigned)attribute(device->device, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
    return result;
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned *mhz)
{
    nvmlReturn_t result = check(device, mhz);

    if (result)
        return result;
    if (type != NVML_CLOCK_GRAPHICS && type != NVML_CLOCK_SM && type != NVML_CLOCK_MEM)
        return type == NVML_CLOCK_VIDEO ? NVML_ERROR_NOT_SUPPORTED : NVML_ERROR_INVALID_ARGUMENT;
    *mhz = (unsigned)attribute(device->device, type == NVML_CLOCK_MEM
                                                   ? CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE
                                                   : CU_DEVICE_ATTRIBUTE_CLOCK_RATE) /
           1000;
    return NVML_SUCCESS;
}

/* Any number of processes; no display; a board of its own. */
nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t device, unsigned *mode)
{
    nvmlReturn_t result = check(device, mode);

    return result ? result : give_number(0, mode);
}

nvmlReturn_t nvmlDeviceGetDisplayMode(nvmlDevice_t device, unsigned *mode)
{
    nvmlReturn_t result = check(device, mode);

    return result ? result : give_number(0, mode);
}

nvmlReturn_t nvmlDeviceGetDisplayActive(nvmlDevice_t device, unsigned *active)
{
    return nvmlDeviceGetDisplayMode(device, active);
}

nvmlReturn_t nvmlDeviceGetMultiGpuBoard(nvmlDevice_t device, unsigned *multiple)
{
    return nvmlDeviceGetDisplayMode(device, multiple);
}

/* Their arguments do not matter: by the calling convention the caller removes them. */
#define NVML_MISSING(name)                                                     \
    NVML_FUNCTION(name, void);                                                 \
    nvmlReturn_t name(void)                                                    \
    {                                                                          \
        return in_use() ? NVML_ERROR_NOT_SUPPORTED : NVML_ERROR_UNINITIALIZED; \
    }
#include "missing.def"
