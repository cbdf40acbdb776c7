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

static void add_format(const struct vaapi_device *device, struct vd_cap *cap, uint32_t fourcc)
{
    const struct format_info *format = format_find(fourcc);

    if (!format || !(format->rt_format & cap->rt_formats) || !vaapi_image_format(device, fourcc) ||
        cap->format_count == VD_MAX_CAP_FORMATS)
        return;
    for (uint32_t i = 0; i < cap->format_count; i++) {
        if (cap->formats[i] == format->fourcc)
            return;
    }
    cap->formats[cap->format_count++] = format->fourcc;
}

static void take_attribute(const struct vaapi_device *device, const VASurfaceAttrib *attribute,
                           struct vd_cap *cap)
{
    uint32_t value = (uint32_t)attribute->value.value.i;

    switch (attribute->type) {
    case VASurfaceAttribPixelFormat:
        add_format(device, cap, value);
        break;
    case VASurfaceAttribMinWidth:
        cap->min_width = value;
        break;
    case VASurfaceAttribMinHeight:
        cap->min_height = value;
        break;
    case VASurfaceAttribMaxWidth:
        if (value < cap->max_width)
            cap->max_width = value;
        break;
    case VASurfaceAttribMaxHeight:
        if (value < cap->max_height)
            cap->max_height = value;
        break;
    default:
        break;
    }
}

/* Formats and sizes of what the driver decodes into. */
static int query_surfaces(const struct vaapi_device *device, struct vd_cap *cap)
{
    VASurfaceAttrib *list = NULL;
    unsigned count = 0;
    VAConfigID config;
    int err = vaapi_error(vaCreateConfig(device->display, (VAProfile)cap->profile,
                                         (VAEntrypoint)cap->entrypoint, NULL, 0, &config));

    if (err)
        return err;
    err = vaapi_error(vaQuerySurfaceAttributes(device->display, config, NULL, &count));
    if (!err) {
        list = calloc(count + 1, sizeof(*list));
        err = list ? vaapi_error(vaQuerySurfaceAttributes(device->display, config, list, &count))
                   : VD_ERR_MEMORY;
    }
    for (unsigned i = 0; i < count && !err; i++)
        take_attribute(device, &list[i], cap);
    free(list);
    vaDestroyConfig(device->display, config);
    return err;
}

static bool usable(uint32_t value)
{
    return value && value != VA_ATTRIB_NOT_SUPPORTED;
}

static bool query_profile(const struct vaapi_device *device, VAProfile profile,
                          struct vd_cap *ret_cap)
{
    VAConfigAttrib attributes[] = {{VAConfigAttribRTFormat, 0},
                                   {VAConfigAttribMaxPictureWidth, 0},
                                   {VAConfigAttribMaxPictureHeight, 0}};
    struct vd_cap cap = {
        .profile = (uint32_t)profile,
        .entrypoint = VAEntrypointVLD,
        .min_width = 1,
        .min_height = 1,
        .max_width = VD_MAX_WIDTH,
        .max_height = VD_MAX_HEIGHT,
    };

    if (vaGetConfigAttributes(device->display, profile, VAEntrypointVLD, attributes, 3) ||
        !usable(attributes[0].value))
        return false;
    cap.rt_formats = attributes[0].value;
    if (usable(attributes[1].value) && attributes[1].value < cap.max_width)
        cap.max_width = attributes[1].value;
    if (usable(attributes[2].value) && attributes[2].value < cap.max_height)
        cap.max_height = attributes[2].value;
    if (query_surfaces(device, &cap) || !cap.format_count)
        return false;
    *ret_cap = cap;
    return true;
}

static bool has_decoder(const struct vaapi_device *device, VAProfile profile, VAEntrypoint *list)
{
    bool found = false;
    int count = 0;

    if (vaQueryConfigEntrypoints(device->display, profile, list, &count))
        return false;
    for (int i = 0; i < count; i++)
        found = found || list[i] == VAEntrypointVLD;
    return found;
}

static uint32_t vaapi_caps(void *opaque, struct vd_cap *ret_caps, uint32_t room)
{
    const struct vaapi_device *device = opaque;
    int profiles = vaMaxNumProfiles(device->display);
    int entrypoints = vaMaxNumEntrypoints(device->display);
    VAProfile *list = calloc((size_t)(profiles > 0 ? profiles : 0) + 1, sizeof(*list));
    VAEntrypoint *points = calloc((size_t)(entrypoints > 0 ? entrypoints : 0) + 1, sizeof(*points));
    uint32_t n = 0;
    int count = 0;

    if (list && points && !vaQueryConfigProfiles(device->display, list, &count)) {
        for (int i = 0; i < count && n < room; i++) {
            /* The protocol carries the buffers of these. */
            if (codecs_of_profile(list[i]) != VD_CODEC_NONE &&
                has_decoder(device, list[i], points) &&
                query_profile(device, list[i], &ret_caps[n]))
                n++;
        }
    }
    free(points);
    free(list);
    return n;
}

const struct backend backend_vaapi = {
    .name = "vaapi",
    .immediate = true,
    .devices = vaapi_devices,
    .open = vaapi_open,
    .device_caps = vaapi_caps,
    .close = vaapi_close,
    .surface_native = vaapi_surface_native,
    .context_create = vaapi_context_create,
    .submit = vaapi_context_submit,
    .flush = vaapi_context_flush,
    .context_destroy = vaapi_context_destroy,
};
