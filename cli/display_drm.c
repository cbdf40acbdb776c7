/* SPDX-License-Identifier: MIT */
#include "display_shim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xf86drm.h>

/*
 * libdrm's questions about a node of ours. What is returned is laid out as libdrm itself does
 * it, so its own drmFreeVersion and drmFreeDevice take it back. Not answered here: whatever ends
 * in an ioctl, which fails on our descriptor as it would on a device without that feature.
 */
#define NEXT(name) ((__typeof__(&name))display_next(&next_##name, "libdrm.so.2", #name))
#define SLOT(name) static display_function next_##name

SLOT(drmGetNodeTypeFromFd);
SLOT(drmGetVersion);
SLOT(drmIsMaster);
SLOT(drmGetDevice);
SLOT(drmGetDevice2);
SLOT(drmGetDevices);
SLOT(drmGetDevices2);
SLOT(drmGetDeviceNameFromFd);
SLOT(drmGetDeviceNameFromFd2);
SLOT(drmGetRenderDeviceNameFromFd);
SLOT(drmGetPrimaryDeviceNameFromFd);

DISPLAY_EXPORT int drmGetNodeTypeFromFd(int fd)
{
    if (display_owns(fd))
        return DRM_NODE_RENDER;
    return NEXT(drmGetNodeTypeFromFd) ? NEXT(drmGetNodeTypeFromFd)(fd) : -1;
}

DISPLAY_EXPORT drmVersionPtr drmGetVersion(int fd)
{
    drmVersionPtr version;

    if (!display_owns(fd))
        return NEXT(drmGetVersion) ? NEXT(drmGetVersion)(fd) : NULL;
    version = calloc(1, sizeof(*version));
    if (!version)
        return NULL;
    version->version_major = 1;
    version->name = strdup(DISPLAY_DRIVER);
    version->date = strdup(DISPLAY_DATE);
    version->desc = strdup(DISPLAY_DESCRIPTION);
    if (!version->name || !version->date || !version->desc) {
        free(version->name);
        free(version->date);
        free(version->desc);
        free(version);
        return NULL;
    }
    version->name_len = (int)strlen(version->name);
    version->date_len = (int)strlen(version->date);
    version->desc_len = (int)strlen(version->desc);
    return version;
}

DISPLAY_EXPORT int drmIsMaster(int fd)
{
    if (display_owns(fd))
        return 0;
    return NEXT(drmIsMaster) ? NEXT(drmIsMaster)(fd) : 0;
}

/* One block: drmFreeDevice frees the device and, on the platform bus, nothing else of it. */
struct device {
    drmDevice device;
    char *nodes[DRM_NODE_MAX];
    drmPlatformBusInfo bus;
    drmPlatformDeviceInfo info;
    char path[sizeof(DISPLAY_NODE)];
    char none[1];
};

static int device_create(drmDevicePtr *ret_device)
{
    struct device *device = calloc(1, sizeof(*device));

    if (!device)
        return -ENOMEM;
    memcpy(device->path, DISPLAY_NODE, sizeof(device->path));
    strcpy(device->bus.fullname, "viaduct");
    for (int i = 0; i < DRM_NODE_MAX; i++)
        device->nodes[i] = device->none;
    device->nodes[DRM_NODE_RENDER] = device->path;
    device->device.nodes = device->nodes;
    device->device.available_nodes = 1 << DRM_NODE_RENDER;
    device->device.bustype = DRM_BUS_PLATFORM;
    device->device.businfo.platform = &device->bus;
    device->device.deviceinfo.platform = &device->info;
    *ret_device = &device->device;
    return 0;
}

DISPLAY_EXPORT int drmGetDevice2(int fd, uint32_t flags, drmDevicePtr *ret_device)
{
    if (display_owns(fd))
        return ret_device ? device_create(ret_device) : -EINVAL;
    return NEXT(drmGetDevice2) ? NEXT(drmGetDevice2)(fd, flags, ret_device) : -ENODEV;
}

DISPLAY_EXPORT int drmGetDevice(int fd, drmDevicePtr *ret_device)
{
    if (display_owns(fd))
        return ret_device ? device_create(ret_device) : -EINVAL;
    return NEXT(drmGetDevice) ? NEXT(drmGetDevice)(fd, ret_device) : -ENODEV;
}

/*
 * Ours alone, without asking libdrm: in a container it would see the host's devices in /sys,
 * whose nodes are not there.
 */
static int list_devices(drmDevicePtr devices[], int room)
{
    int err = devices && room > 0 ? device_create(&devices[0]) : 0;

    return err ? err : 1;
}

DISPLAY_EXPORT int drmGetDevices2(uint32_t flags, drmDevicePtr devices[], int room)
{
    if (display_active())
        return list_devices(devices, room);
    return NEXT(drmGetDevices2) ? NEXT(drmGetDevices2)(flags, devices, room) : -ENODEV;
}

DISPLAY_EXPORT int drmGetDevices(drmDevicePtr devices[], int room)
{
    if (display_active())
        return list_devices(devices, room);
    return NEXT(drmGetDevices) ? NEXT(drmGetDevices)(devices, room) : -ENODEV;
}

DISPLAY_EXPORT char *drmGetDeviceNameFromFd(int fd)
{
    if (display_owns(fd))
        return strdup(DISPLAY_NODE);
    return NEXT(drmGetDeviceNameFromFd) ? NEXT(drmGetDeviceNameFromFd)(fd) : NULL;
}

DISPLAY_EXPORT char *drmGetDeviceNameFromFd2(int fd)
{
    if (display_owns(fd))
        return strdup(DISPLAY_NODE);
    return NEXT(drmGetDeviceNameFromFd2) ? NEXT(drmGetDeviceNameFromFd2)(fd) : NULL;
}

DISPLAY_EXPORT char *drmGetRenderDeviceNameFromFd(int fd)
{
    if (display_owns(fd))
        return strdup(DISPLAY_NODE);
    return NEXT(drmGetRenderDeviceNameFromFd) ? NEXT(drmGetRenderDeviceNameFromFd)(fd) : NULL;
}

DISPLAY_EXPORT char *drmGetPrimaryDeviceNameFromFd(int fd)
{
    if (display_owns(fd))
        return NULL;
    return NEXT(drmGetPrimaryDeviceNameFromFd) ? NEXT(drmGetPrimaryDeviceNameFromFd)(fd) : NULL;
}
