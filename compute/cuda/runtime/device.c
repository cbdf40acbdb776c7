/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "runtime.h"

/* Devices, their properties, errors. */

static _Thread_local int device_last;    /* error for cudaGetLastError */
static _Thread_local int device_current; /* ordinal that this thread has chosen */

/* The primary context of the thread's device becomes current. */
static CUresult device_bind(void)
{
    CUdevice device;
    CUcontext context;
    CUresult err = cuDeviceGet(&device, device_current);

    if (!err)
        err = cuDevicePrimaryCtxRetain(&context, device);
    return err ? err : cuCtxSetCurrent(context);
}

cudaError_t runtime_enter(void)
{
    CUcontext context = NULL;
    CUresult err = cuCtxGetCurrent(&context);

    if (err == CUDA_ERROR_NOT_INITIALIZED)
        err = cuInit(0);
    if (!err && !context)
        err = device_bind();
    return (int)err;
}

cudaError_t runtime_leave(cudaError_t err)
{
    if (err && err != RT_NOT_READY)
        device_last = err;
    return err;
}

/* For what needs a driver, but no context. */
static cudaError_t device_init(void)
{
    return (int)cuInit(0);
}

RT cudaError_t cudaGetLastError(void);
RT cudaError_t cudaGetLastError(void)
{
    int err = device_last;

    device_last = 0;
    return err;
}

RT cudaError_t cudaPeekAtLastError(void);
RT cudaError_t cudaPeekAtLastError(void)
{
    return device_last;
}

RT const char *cudaGetErrorName(cudaError_t err);
RT const char *cudaGetErrorName(cudaError_t err)
{
    switch (err) {
    case 0:
        return "cudaSuccess";
#define CUDART_ERROR(name, number, ...) \
    case number:                        \
        return "cudaError" #name;
#include "errors.def"
    default:
        return "unrecognized error code";
    }
}

RT const char *cudaGetErrorString(cudaError_t err);
RT const char *cudaGetErrorString(cudaError_t err)
{
    const char *text = NULL;

    switch (err) {
#define CUDART_ERROR(name, number, own) \
    case number:                        \
        text = own;                     \
        break;
#include "errors.def"
    default:
        break;
    }
    return !text && cuGetErrorString((CUresult)err, &text) ? "unrecognized error code" : text;
}

RT cudaError_t cudaDriverGetVersion(int *version);
RT cudaError_t cudaDriverGetVersion(int *version)
{
    return runtime_leave((int)cuDriverGetVersion(version));
}

RT cudaError_t cudaRuntimeGetVersion(int *version);
RT cudaError_t cudaRuntimeGetVersion(int *version)
{
    if (!version)
        return runtime_leave(RT_INVALID_VALUE);
    *version = CUDART_MAJOR * 1000;
    return 0;
}

RT cudaError_t cudaGetDeviceCount(int *count);
RT cudaError_t cudaGetDeviceCount(int *count)
{
    cudaError_t err = device_init();

    return runtime_leave(err ? err : (int)cuDeviceGetCount(count));
}

RT cudaError_t cudaSetDevice(int device);
RT cudaError_t cudaSetDevice(int device)
{
    cudaError_t err = device_init();
    CUdevice found;

    if (!err && cuDeviceGet(&found, device))
        err = RT_INVALID_DEVICE;
    if (!err) {
        device_current = device;
        err = (int)device_bind();
    }
    return runtime_leave(err);
}

RT cudaError_t cudaInitDevice(int device, unsigned flags, unsigned more);
RT cudaError_t cudaInitDevice(int device, unsigned flags, unsigned more)
{
    CUcontext context;
    cudaError_t err = device_init();

    (void)flags, (void)more;
    return runtime_leave(err ? err : (int)cuDevicePrimaryCtxRetain(&context, device));
}

RT cudaError_t cudaGetDevice(int *device);
RT cudaError_t cudaGetDevice(int *device)
{
    if (!device)
        return runtime_leave(RT_INVALID_VALUE);
    *device = device_current;
    return 0;
}

RT cudaError_t cudaSetValidDevices(int *list, int count);
RT cudaError_t cudaSetValidDevices(int *list, int count)
{
    return count > 0 && list ? cudaSetDevice(list[0]) : runtime_leave(RT_INVALID_VALUE);
}

RT cudaError_t cudaDeviceGetAttribute(int *value, int attribute, int device);
RT cudaError_t cudaDeviceGetAttribute(int *value, int attribute, int device)
{
    cudaError_t err = device_init();

    /* The numbers are the driver API's. */
    return runtime_leave(
        err ? err : (int)cuDeviceGetAttribute(value, (CUdevice_attribute)attribute, device));
}

/* What programs allocate: the layout is the ABI of that major version. */
struct cudaDeviceProp {
#define CUDART_PROPERTY(type, name, count, attribute) type name[count];
#define CUDART_PROPERTY_12(type, name, count, attribute) \
    CUDART_PROPERTY(type, name, count, attribute)
#define CUDART_PROPERTY_13(type, name, count, attribute) \
    CUDART_PROPERTY(type, name, count, attribute)
#include "properties.def"
};

#if CUDART_MAJOR == 12
_Static_assert(sizeof(struct cudaDeviceProp) == 1032, "as in the headers of 12");
#else
_Static_assert(sizeof(struct cudaDeviceProp) == 1008, "as in the headers of 13");
#endif

static int device_attribute(CUdevice_attribute attribute, int device)
{
    int value = 0;

    return cuDeviceGetAttribute(&value, attribute, device) ? 0 : value;
}

static cudaError_t device_properties(struct cudaDeviceProp *prop, int device)
{
    cudaError_t err = device_init();
    CUdevice found;

    if (!prop)
        err = RT_INVALID_VALUE;
    if (!err && cuDeviceGet(&found, device))
        err = RT_INVALID_DEVICE;
    if (err)
        return runtime_leave(err);
    memset(prop, 0, sizeof(*prop));
#define NONE (-1)
#define CUDART_PROPERTY(type, name, count, attribute)     \
    for (int i = 0; i < (count) && (attribute) >= 0; i++) \
        prop->name[i] = (type)device_attribute((CUdevice_attribute)((attribute) + i), device);
#define CUDART_PROPERTY_12(type, name, count, attribute) \
    CUDART_PROPERTY(type, name, count, attribute)
#define CUDART_PROPERTY_13(type, name, count, attribute) \
    CUDART_PROPERTY(type, name, count, attribute)
#include "properties.def"
    err = (int)cuDeviceGetName(prop->name, sizeof(prop->name), device);
    if (!err)
        err = (int)cuDeviceGetUuid_v2((CUuuid *)prop->uuid, device);
    if (!err)
        err = (int)cuDeviceTotalMem_v2(prop->totalGlobalMem, device);
    return runtime_leave(err);
}

/* Since 12 the compiler says _v2; since 13 there is but one. */
#if CUDART_MAJOR == 12
RT cudaError_t cudaGetDeviceProperties_v2(struct cudaDeviceProp *prop, int device);
RT cudaError_t cudaGetDeviceProperties_v2(struct cudaDeviceProp *prop, int device)
{
    return device_properties(prop, device);
}
#else
RT cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device);
RT cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device)
{
    return device_properties(prop, device);
}
#endif

/* The one whose properties fit best: without a wish that several could fulfil, the first. */
RT cudaError_t cudaChooseDevice(int *device, const struct cudaDeviceProp *prop);
RT cudaError_t cudaChooseDevice(int *device, const struct cudaDeviceProp *prop)
{
    if (!device || !prop)
        return runtime_leave(RT_INVALID_VALUE);
    *device = 0;
    return 0;
}

RT cudaError_t cudaDeviceSynchronize(void);
RT cudaError_t cudaDeviceSynchronize(void)
{
    RT_RETURN(cuCtxSynchronize());
}

RT cudaError_t cudaDeviceReset(void);
RT cudaError_t cudaDeviceReset(void)
{
    cudaError_t err = runtime_enter();

    if (!err)
        err = (int)cuDevicePrimaryCtxReset_v2(device_current);
    register_forget();
    cuCtxSetCurrent(NULL);
    return runtime_leave(err);
}

RT cudaError_t cudaSetDeviceFlags(unsigned flags);
RT cudaError_t cudaSetDeviceFlags(unsigned flags)
{
    cudaError_t err = device_init();

    /* 8 (host memory can be mapped) has always been so. */
    return runtime_leave(err ? err
                             : (int)cuDevicePrimaryCtxSetFlags_v2(device_current, flags & ~8u));
}

RT cudaError_t cudaGetDeviceFlags(unsigned *flags);
RT cudaError_t cudaGetDeviceFlags(unsigned *flags)
{
    cudaError_t err = runtime_enter();

    if (!err)
        err = (int)cuCtxGetFlags(flags);
    if (!err)
        *flags |= 8u;
    return runtime_leave(err);
}

RT cudaError_t cudaDeviceGetLimit(size_t *value, int limit);
RT cudaError_t cudaDeviceGetLimit(size_t *value, int limit)
{
    RT_RETURN(cuCtxGetLimit(value, (CUlimit)limit));
}

RT cudaError_t cudaDeviceSetLimit(int limit, size_t value);
RT cudaError_t cudaDeviceSetLimit(int limit, size_t value)
{
    RT_RETURN(cuCtxSetLimit((CUlimit)limit, value));
}

RT cudaError_t cudaDeviceGetCacheConfig(int *config);
RT cudaError_t cudaDeviceGetCacheConfig(int *config)
{
    CUfunc_cache cache = 0;
    cudaError_t err = runtime_enter();

    if (!err)
        err = (int)cuCtxGetCacheConfig(config ? &cache : NULL);
    if (!err)
        *config = (int)cache;
    return runtime_leave(err);
}

RT cudaError_t cudaDeviceSetCacheConfig(int config);
RT cudaError_t cudaDeviceSetCacheConfig(int config)
{
    RT_RETURN(cuCtxSetCacheConfig((CUfunc_cache)config));
}

RT cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest);
RT cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    RT_RETURN(cuCtxGetStreamPriorityRange(least, greatest));
}

RT cudaError_t cudaDeviceGetPCIBusId(char *id, int size, int device);
RT cudaError_t cudaDeviceGetPCIBusId(char *id, int size, int device)
{
    cudaError_t err = device_init();

    return runtime_leave(err ? err : (int)cuDeviceGetPCIBusId(id, size, device));
}

RT cudaError_t cudaDeviceGetByPCIBusId(int *device, const char *id);
RT cudaError_t cudaDeviceGetByPCIBusId(int *device, const char *id)
{
    cudaError_t err = device_init();

    return runtime_leave(err ? err : (int)cuDeviceGetByPCIBusId(device, id));
}

RT cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer);
RT cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer)
{
    cudaError_t err = device_init();

    return runtime_leave(err ? err : (int)cuDeviceCanAccessPeer(can, device, peer));
}

/* The old names of the same, which the headers of 12 still have. */
#if CUDART_MAJOR == 12
RT cudaError_t cudaThreadSynchronize(void);
RT cudaError_t cudaThreadSynchronize(void)
{
    return cudaDeviceSynchronize();
}

RT cudaError_t cudaThreadExit(void);
RT cudaError_t cudaThreadExit(void)
{
    return cudaDeviceReset();
}

RT cudaError_t cudaThreadGetLimit(size_t *value, int limit);
RT cudaError_t cudaThreadGetLimit(size_t *value, int limit)
{
    return cudaDeviceGetLimit(value, limit);
}

RT cudaError_t cudaThreadSetLimit(int limit, size_t value);
RT cudaError_t cudaThreadSetLimit(int limit, size_t value)
{
    return cudaDeviceSetLimit(limit, value);
}

RT cudaError_t cudaThreadGetCacheConfig(int *config);
RT cudaError_t cudaThreadGetCacheConfig(int *config)
{
    return cudaDeviceGetCacheConfig(config);
}

RT cudaError_t cudaThreadSetCacheConfig(int config);
RT cudaError_t cudaThreadSetCacheConfig(int config)
{
    return cudaDeviceSetCacheConfig(config);
}
#endif
