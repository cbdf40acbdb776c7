/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_NVML_H
#define VIADUCT_CUDA_NVML_H

/*
 * The part of NVIDIA's management library (NVML) that Viaduct has, over its own libcuda: what
 * frameworks and tools ask of devices before they use them. Own declarations after the public
 * documentation; names, numbers and layouts are the API's. Functions may be called on any thread.
 */

typedef enum {
    NVML_SUCCESS = 0,
    NVML_ERROR_UNINITIALIZED = 1,
    NVML_ERROR_INVALID_ARGUMENT = 2,
    NVML_ERROR_NOT_SUPPORTED = 3,
    NVML_ERROR_NOT_FOUND = 6,
    NVML_ERROR_INSUFFICIENT_SIZE = 7,
    NVML_ERROR_DRIVER_NOT_LOADED = 9,
    NVML_ERROR_GPU_IS_LOST = 15,
    NVML_ERROR_MEMORY = 20,
    NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
    NVML_ERROR_UNKNOWN = 999,
} nvmlReturn_t;

/* A device of libcuda; never freed. */
typedef struct nvmlDevice_st *nvmlDevice_t;

typedef struct {
    char busIdLegacy[16]; /* 0000:01:00.0 */
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32]; /* 00000000:01:00.0 */
} nvmlPciInfo_t;

typedef struct {
    char busId[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId, reserved[4];
} nvmlPciInfo_v2_t;

/* Bytes. */
typedef struct {
    unsigned long long total, free, used;
} nvmlMemory_t;

typedef struct {
    unsigned version; /* NVML_MEMORY_V2 */
    unsigned long long total, reserved, free, used;
} nvmlMemory_v2_t;

#define NVML_MEMORY_V2 ((unsigned)(sizeof(nvmlMemory_v2_t) | 2u << 24))

typedef enum {
    NVML_CLOCK_GRAPHICS,
    NVML_CLOCK_SM,
    NVML_CLOCK_MEM,
    NVML_CLOCK_VIDEO,
} nvmlClockType_t;

#define NVML_DEVICE_ARCH_AMPERE  7
#define NVML_DEVICE_ARCH_UNKNOWN 0xffffffffu

#define NVML_FUNCTION(name, ...) \
    __attribute__((visibility("default"))) nvmlReturn_t name(__VA_ARGS__)

NVML_FUNCTION(nvmlInit, void);
NVML_FUNCTION(nvmlInit_v2, void);
NVML_FUNCTION(nvmlInitWithFlags, unsigned flags);
NVML_FUNCTION(nvmlShutdown, void);
__attribute__((visibility("default"))) const char *nvmlErrorString(nvmlReturn_t result);
NVML_FUNCTION(nvmlSystemGetDriverVersion, char *version, unsigned length);
NVML_FUNCTION(nvmlSystemGetNVMLVersion, char *version, unsigned length);
NVML_FUNCTION(nvmlSystemGetCudaDriverVersion, int *version);
NVML_FUNCTION(nvmlSystemGetCudaDriverVersion_v2, int *version);
NVML_FUNCTION(nvmlSystemGetProcessName, unsigned pid, char *name, unsigned length);
NVML_FUNCTION(nvmlUnitGetCount, unsigned *count);
NVML_FUNCTION(nvmlDeviceGetCount, unsigned *count);
NVML_FUNCTION(nvmlDeviceGetCount_v2, unsigned *count);
NVML_FUNCTION(nvmlDeviceGetHandleByIndex, unsigned index, nvmlDevice_t *device);
NVML_FUNCTION(nvmlDeviceGetHandleByIndex_v2, unsigned index, nvmlDevice_t *device);
NVML_FUNCTION(nvmlDeviceGetHandleByUUID, const char *uuid, nvmlDevice_t *device);
NVML_FUNCTION(nvmlDeviceGetHandleByPciBusId, const char *id, nvmlDevice_t *device);
NVML_FUNCTION(nvmlDeviceGetHandleByPciBusId_v2, const char *id, nvmlDevice_t *device);
NVML_FUNCTION(nvmlDeviceGetIndex, nvmlDevice_t device, unsigned *index);
NVML_FUNCTION(nvmlDeviceGetMinorNumber, nvmlDevice_t device, unsigned *number);
NVML_FUNCTION(nvmlDeviceGetName, nvmlDevice_t device, char *name, unsigned length);
NVML_FUNCTION(nvmlDeviceGetUUID, nvmlDevice_t device, char *uuid, unsigned length);
NVML_FUNCTION(nvmlDeviceGetBrand, nvmlDevice_t device, unsigned *brand);
NVML_FUNCTION(nvmlDeviceGetArchitecture, nvmlDevice_t device, unsigned *architecture);
NVML_FUNCTION(nvmlDeviceGetPciInfo_v2, nvmlDevice_t device, nvmlPciInfo_v2_t *pci);
NVML_FUNCTION(nvmlDeviceGetPciInfo_v3, nvmlDevice_t device, nvmlPciInfo_t *pci);
NVML_FUNCTION(nvmlDeviceGetMemoryInfo, nvmlDevice_t device, nvmlMemory_t *memory);
NVML_FUNCTION(nvmlDeviceGetMemoryInfo_v2, nvmlDevice_t device, nvmlMemory_v2_t *memory);
NVML_FUNCTION(nvmlDeviceGetMemoryBusWidth, nvmlDevice_t device, unsigned *bits);
NVML_FUNCTION(nvmlDeviceGetCudaComputeCapability, nvmlDevice_t device, int *major, int *minor);
NVML_FUNCTION(nvmlDeviceGetMaxClockInfo, nvmlDevice_t device, nvmlClockType_t type, unsigned *mhz);
NVML_FUNCTION(nvmlDeviceGetComputeMode, nvmlDevice_t device, unsigned *mode);
NVML_FUNCTION(nvmlDeviceGetDisplayMode, nvmlDevice_t device, unsigned *mode);
NVML_FUNCTION(nvmlDeviceGetDisplayActive, nvmlDevice_t device, unsigned *active);
NVML_FUNCTION(nvmlDeviceGetMultiGpuBoard, nvmlDevice_t device, unsigned *multiple);

#endif
