/* SPDX-License-Identifier: MIT */
#include "vaapi.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <va/va_drm.h>
#include <viaduct/errors.h>
#include <wire/log.h>
#include <xf86drm.h>

#define NODE_FIRST 128
#define NODE_LAST  191

int vaapi_error(VAStatus status)
{
    switch (status) {
    case VA_STATUS_SUCCESS:
        return 0;
    case VA_STATUS_ERROR_ALLOCATION_FAILED:
    case VA_STATUS_ERROR_MAX_NUM_EXCEEDED:
        return VD_ERR_MEMORY;
    case VA_STATUS_ERROR_DECODING_ERROR:
        return VD_ERR_DECODE;
    case VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED:
        return VD_ERR_RESOLUTION;
    case VA_STATUS_ERROR_INVALID_PARAMETER:
    case VA_STATUS_ERROR_INVALID_VALUE:
        return VD_ERR_PARAMETER;
    case VA_STATUS_ERROR_UNSUPPORTED_PROFILE:
    case VA_STATUS_ERROR_UNSUPPORTED_ENTRYPOINT:
    case VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT:
    case VA_STATUS_ERROR_INVALID_IMAGE_FORMAT:
    case VA_STATUS_ERROR_UNIMPLEMENTED:
        return VD_ERR_UNSUPPORTED;
    default:
        /* The device is busy for good, was reset or is gone. */
        return VD_ERR_IO;
    }
}

/* What libva says is about devices: details for who looks for them. */
static void vaapi_log(void *context, const char *message)
{
    (void)context;
    log_debug("libva: %.*s", (int)strcspn(message, "\n"), message);
}

/* A node that libva would put Viaduct's own driver on: the service would be its own client. */
static bool is_own_node(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    drmVersionPtr version = fd < 0 ? NULL : drmGetVersion(fd);
    bool own = version && !strcmp(version->name, "viaduct");

    drmFreeVersion(version);
    if (fd >= 0)
        close(fd);
    return own;
}

static uint32_t vaapi_devices(bool asked, char (*ret_devices)[BACKEND_DEVICE_BYTES], uint32_t room)
{
    const char *driver = getenv("LIBVA_DRIVER_NAME");
    uint32_t count = 0;

    if (!asked && driver && strstr(driver, "viaduct"))
        return 0;
    for (int n = NODE_FIRST; n <= NODE_LAST && count < room; n++) {
        snprintf(ret_devices[count], BACKEND_DEVICE_BYTES, "/dev/dri/renderD%d", n);
        if (!access(ret_devices[count], F_OK) && (asked || !is_own_node(ret_devices[count])))
            count++;
    }
    return count;
}

static void vaapi_close(void *opaque)
{
    struct vaapi_device *device = opaque;

    if (device->display) {
        vaapi_surface_finish(device);
        vaapi_lent_sweep(device, true);
        vaTerminate(device->display);
    }
    if (device->fd >= 0)
        close(device->fd);
    pthread_mutex_destroy(&device->lock);
    free(device->image_formats);
    free(device);
}

static int vaapi_open(const char *path, const struct backend_options *options, void **ret_device)
{
    struct vaapi_device *device = calloc(1, sizeof(*device));
    int major, minor;
    VAStatus status;

    (void)options;
    if (!device)
        return VD_ERR_MEMORY;
    pthread_mutex_init(&device->lock, NULL);
    for (int i = 0; i < VAAPI_IMAGES; i++)
        device->images[i].va.image_id = VA_INVALID_ID;
    device->fd = open(path, O_RDWR | O_CLOEXEC);
    if (device->fd >= 0)
        device->display = vaGetDisplayDRM(device->fd);
    if (!device->display)
        goto fail;
    vaSetInfoCallback(device->display, vaapi_log, NULL);
    vaSetErrorCallback(device->display, vaapi_log, NULL);
    status = vaInitialize(device->display, &major, &minor);
    if (status) {
        log_debug("vaapi: %s: %s", path, vaErrorStr(status));
        goto fail;
    }
    log_debug("vaapi: %s: VA-API %d.%d, %s", path, major, minor,
              vaQueryVendorString(device->display));
    device->image_format_count = vaMaxNumImageFormats(device->display);
    device->image_formats =
        calloc((size_t)device->image_format_count + 1, sizeof(*device->image_formats));
    if (!device->image_formats ||
        vaQueryImageFormats(device->display, device->image_formats, &device->image_format_count))
        goto fail;
    *ret_device = device;
    return 0;
fail:
    vaapi_close(device);
    return VD_ERR_UNSUPPORTED;
}

const VAImageFormat *vaapi_image_format(const struct vaapi_device *device, uint32_t fourcc)
{
    for (int i = 0; i < device->image_format_count; i++) {
        if (format_find(device->image_formats[i].fourcc) == format_find(fourcc))
            return &device->image_formats[i];
    }
    return NULL;
}

static int context_create(const struct backend_context_info *info, void **ret_context,
                          struct backend_context_traits *ret_traits)
{
    return info->entrypoint == VAEntrypointVLD ? vaapi_context_create(info, ret_context, ret_traits)
                                               : vaapi_work_create(info, ret_context, ret_traits);
}

static const struct vaapi_context_ops *ops_of(void *context)
{
    return *(const struct vaapi_context_ops **)context;
}

static void context_submit(void *context, struct backend_job *job)
{
    ops_of(context)->submit(context, job);
}

static void context_flush(void *context, uint64_t number)
{
    ops_of(context)->flush(context, number);
}

static void context_destroy(void *context)
{
    ops_of(context)->destroy(context);
}

const struct backend backend_vaapi = {
    .name = "vaapi",
    .immediate = true,
    .devices = vaapi_devices,
    .open = vaapi_open,
    .device_caps = vaapi_caps,
    .close = vaapi_close,
    .surface_native = vaapi_surface_native,
    .context_create = context_create,
    .submit = context_submit,
    .flush = context_flush,
    .context_destroy = context_destroy,
};
