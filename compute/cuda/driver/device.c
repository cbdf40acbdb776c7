/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include <compute/cuda/ptx/ptx.h>

#include "internal.h"

/* Devices: what was learnt of them by cuInit. */

static CUresult find(CUdevice device, const struct cuda_properties **ret)
{
    CUresult err = enter();

    if (err)
        return err;
    *ret = device_properties(device);
    return leave(*ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE);
}

API cuDeviceGetCount(int *ret_count)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!ret_count)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *ret_count = (int)device_count();
    return leave(CUDA_SUCCESS);
}

API cuDeviceGet(CUdevice *device, int ordinal)
{
    const struct cuda_properties *p;
    CUresult err = find(ordinal, &p);

    if (!err && !device)
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err)
        *device = ordinal;
    return err;
}

API cuDeviceGetName(char *name, int size, CUdevice device)
{
    const struct cuda_properties *p;
    CUresult err = find(device, &p);

    if (!err && (!name || size < 1))
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err)
        snprintf(name, (size_t)size, "%s", p->name);
    return err;
}

API cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device)
{
    const struct cuda_properties *p;
    CUresult err = find(device, &p);

    if (!err && !uuid)
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err)
        memcpy(uuid->bytes, p->uuid, sizeof(uuid->bytes));
    return err;
}

API cuDeviceGetUuid(CUuuid *uuid, CUdevice device)
{
    return cuDeviceGetUuid_v2(uuid, device);
}

API cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    const struct cuda_properties *p;
    CUresult err = find(device, &p);

    if (!err && !bytes)
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err)
        *bytes = p->memory;
    return err;
}

CUresult device_attribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    const struct cuda_properties *p = device_properties(device);

    switch (attribute) {
#define CUDA_ATTRIBUTE(name, number, is) \
    case number:                         \
        *value = is;                     \
        return CUDA_SUCCESS;
#include <compute/cuda/attributes.def>
#undef CUDA_ATTRIBUTE
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

API cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    const struct cuda_properties *p;
    CUresult err = find(device, &p);

    if (!err && !value)
        err = CUDA_ERROR_INVALID_VALUE;
    return err ? err : device_attribute(value, attribute, device);
}

API cuDeviceComputeCapability(int *major, int *minor, CUdevice device)
{
    const struct cuda_properties *p;
    CUresult err = find(device, &p);

    if (!err && (!major || !minor))
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err) {
        *major = CUDA_CAPABILITY / 10;
        *minor = CUDA_CAPABILITY % 10;
    }
    return err;
}

API cuDeviceGetPCIBusId(char *id, int size, CUdevice device)
{
    const struct cuda_properties *p;
    CUresult err = find(device, &p);

    if (!err && (!id || size <= 0))
        err = CUDA_ERROR_INVALID_VALUE;
    /* What there is room for is written in any case. */
    if (!err && snprintf(id, (size_t)size, "%04x:%02x:%02x.0", 0, p->index + 1, 0) >= size)
        err = CUDA_ERROR_INVALID_VALUE;
    return err;
}

API cuDeviceGetByPCIBusId(CUdevice *device, const char *id)
{
    unsigned domain = 0, bus, slot;
    CUresult err = enter();

    if (err)
        return err;
    if (!device || !id ||
        (sscanf(id, "%x:%x:%x", &domain, &bus, &slot) != 3 &&
         (domain = 0, sscanf(id, "%x:%x", &bus, &slot) != 2)))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (domain || slot || !bus || bus > device_count())
        return leave(CUDA_ERROR_INVALID_DEVICE);
    *device = (CUdevice)bus - 1;
    return leave(CUDA_SUCCESS);
}

API cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer)
{
    const struct cuda_properties *p;
    CUresult err = find(device, &p);

    if (!err)
        err = find(peer, &p);
    if (!err && !can)
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err)
        *can = 0;
    return err;
}

API cuDeviceGetExecAffinitySupport(int *support, CUexecAffinityType type, CUdevice device)
{
    const struct cuda_properties *p;
    CUresult err = find(device, &p);

    (void)type;
    if (!err && !support)
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err)
        *support = 0;
    return err;
}

API cuDeviceGetProperties(CUdevprop *prop, CUdevice device)
{
    const struct cuda_properties *p;
    CUresult err = find(device, &p);

    if (!err && !prop)
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err)
        *prop = (CUdevprop){1024,
                            {1024, 1024, 64},
                            {INT32_MAX, 65535, 65535},
                            48 << 10,
                            64 << 10,
                            32,
                            INT32_MAX,
                            65536,
                            p->clock_khz,
                            512};
    return err;
}
