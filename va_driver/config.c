/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "driver.h"

/* Profiles, entry points and configs: answered from the snapshot that came with HELLO. */

const struct vd_cap *config_cap(const struct driver *driver, VAProfile profile,
                                VAEntrypoint entrypoint)
{
    for (uint32_t i = 0; i < driver->cap_count; i++) {
        if (driver->caps[i].profile == (uint32_t)profile &&
            driver->caps[i].entrypoint == (uint32_t)entrypoint)
            return &driver->caps[i];
    }
    return NULL;
}

static bool profile_known(const struct driver *driver, VAProfile profile)
{
    for (uint32_t i = 0; i < driver->cap_count; i++) {
        if (driver->caps[i].profile == (uint32_t)profile)
            return true;
    }
    return false;
}

VAStatus driver_QueryConfigProfiles(VADriverContextP ctx, VAProfile *list, int *count)
{
    struct driver *driver;
    VAStatus status = driver_enter(ctx, &driver);
    int n = 0;

    if (status)
        return status;
    for (uint32_t i = 0; i < driver->cap_count; i++) {
        bool seen = false;

        for (int j = 0; j < n; j++)
            seen = seen || list[j] == (VAProfile)driver->caps[i].profile;
        if (!seen)
            list[n++] = (VAProfile)driver->caps[i].profile;
    }
    *count = n;
    driver_leave(driver);
    return VA_STATUS_SUCCESS;
}

VAStatus driver_QueryConfigEntrypoints(VADriverContextP ctx, VAProfile profile, VAEntrypoint *list,
                                       int *count)
{
    struct driver *driver;
    VAStatus status = driver_enter(ctx, &driver);
    int n = 0;

    if (status)
        return status;
    for (uint32_t i = 0; i < driver->cap_count && n < DRIVER_MAX_ENTRYPOINTS; i++) {
        if (driver->caps[i].profile == (uint32_t)profile)
            list[n++] = (VAEntrypoint)driver->caps[i].entrypoint;
    }
    *count = n;
    driver_leave(driver);
    return n ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_UNSUPPORTED_PROFILE;
}

/* Profile and entry point served, or which of them is not. */
static VAStatus find_cap(const struct driver *driver, VAProfile profile, VAEntrypoint entrypoint,
                         const struct vd_cap **ret_cap)
{
    *ret_cap = config_cap(driver, profile, entrypoint);
    if (*ret_cap)
        return VA_STATUS_SUCCESS;
    return profile_known(driver, profile) ? VA_STATUS_ERROR_UNSUPPORTED_ENTRYPOINT
                                          : VA_STATUS_ERROR_UNSUPPORTED_PROFILE;
}

/* All formats with as much chroma as this one. */
static uint32_t sampling(uint32_t rt_format)
{
    static const uint32_t kinds[] = {
        VA_RT_FORMAT_YUV420 | VA_RT_FORMAT_YUV420_10 | VA_RT_FORMAT_YUV420_12,
        VA_RT_FORMAT_YUV422 | VA_RT_FORMAT_YUV422_10 | VA_RT_FORMAT_YUV422_12,
        VA_RT_FORMAT_YUV444 | VA_RT_FORMAT_YUV444_10 | VA_RT_FORMAT_YUV444_12,
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i] & rt_format)
            return kinds[i];
    }
    return rt_format;
}

/*
 * The render-target formats that programs are told of. Encoders take surfaces of more than their
 * codec's own samples, but GStreamer's elements offer all that they are told of to what is in front
 * of them, and then refuse to encode RGB, or 4:2:2 as 4:2:0: `videoconvert ! vah264enc` would fail
 * for screens and webcams. A config that asks for none has them all.
 */
static uint32_t told_rt_formats(const struct vd_cap *cap)
{
    const struct format_info *first = cap->format_count ? format_find(cap->formats[0]) : NULL;

    if (cap->entrypoint == VAEntrypointVLD || cap->entrypoint == VAEntrypointVideoProc || !first)
        return cap->rt_formats;
    if (cap->profile == VAProfileJPEGBaseline)
        return cap->rt_formats & ~(uint32_t)VA_RT_FORMAT_RGB32;
    return cap->rt_formats & sampling(first->rt_format);
}

uint32_t config_attribute(const struct vd_cap *cap, uint32_t type)
{
    for (uint32_t i = 0; i < cap->attribute_count && i < VD_MAX_CAP_ATTRIBUTES; i++) {
        if (cap->attributes[i] == type)
            return cap->values[i];
    }
    switch (type) {
    case VAConfigAttribRTFormat:
        return told_rt_formats(cap);
    case VAConfigAttribDecSliceMode:
        return cap->entrypoint == VAEntrypointVLD ? VA_DEC_SLICE_MODE_NORMAL
                                                  : VA_ATTRIB_NOT_SUPPORTED;
    case VAConfigAttribMaxPictureWidth:
        return cap->max_width;
    case VAConfigAttribMaxPictureHeight:
        return cap->max_height;
    default:
        return VA_ATTRIB_NOT_SUPPORTED;
    }
}

VAStatus driver_GetConfigAttributes(VADriverContextP ctx, VAProfile profile,
                                    VAEntrypoint entrypoint, VAConfigAttrib *list, int count)
{
    const struct vd_cap *cap;
    struct driver *driver;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    status = find_cap(driver, profile, entrypoint, &cap);
    for (int i = 0; i < count && !status; i++)
        list[i].value = config_attribute(cap, list[i].type);
    driver_leave(driver);
    return status;
}

/* Checks one attribute an app wants a config with; some narrow the config. */
static VAStatus check_attribute(const struct vd_cap *cap, const VAConfigAttrib *attribute,
                                struct config *config)
{
    uint32_t can = config_attribute(cap, attribute->type);

    switch (attribute->type) {
    case VAConfigAttribRTFormat:
        /* None is no wish: GStreamer 1.26's vavp8enc says that. */
        if (!attribute->value)
            return VA_STATUS_SUCCESS;
        if (!(attribute->value & can))
            return VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT;
        config->rt_format = attribute->value & can;
        return VA_STATUS_SUCCESS;
    case VAConfigAttribRateControl:
        /* One of those that are offered. */
        if (can == VA_ATTRIB_NOT_SUPPORTED || !attribute->value ||
            attribute->value & (attribute->value - 1) || attribute->value & ~can)
            return VA_STATUS_ERROR_INVALID_VALUE;
        config->rate_control = attribute->value;
        return VA_STATUS_SUCCESS;
    case VAConfigAttribEncPackedHeaders:
        if (can == VA_ATTRIB_NOT_SUPPORTED || attribute->value & ~can)
            return VA_STATUS_ERROR_INVALID_VALUE;
        config->packed_headers = attribute->value;
        return VA_STATUS_SUCCESS;
    case VAConfigAttribEncInterlaced:
        return can == VA_ATTRIB_NOT_SUPPORTED || attribute->value & ~can
                   ? VA_STATUS_ERROR_INVALID_VALUE
                   : VA_STATUS_SUCCESS;
    case VAConfigAttribDecSliceMode:
        return attribute->value == can ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_VALUE;
    case VAConfigAttribMaxPictureWidth:
    case VAConfigAttribMaxPictureHeight:
        return VA_STATUS_SUCCESS; /* read-only: apps hand back what they were told */
    default:
        /* Others of an encoder say what can be asked for later, picture by picture. */
        return can == VA_ATTRIB_NOT_SUPPORTED ? VA_STATUS_ERROR_INVALID_VALUE : VA_STATUS_SUCCESS;
    }
}

/* What an encoder does whose app asks for nothing: the first mode that an app would try. */
static uint32_t default_rate_control(const struct vd_cap *cap)
{
    static const uint32_t modes[] = {VA_RC_CQP, VA_RC_CBR, VA_RC_VBR, VA_RC_NONE};
    uint32_t can = config_attribute(cap, VAConfigAttribRateControl);

    for (size_t i = 0; can != VA_ATTRIB_NOT_SUPPORTED && i < sizeof(modes) / sizeof(modes[0]);
         i++) {
        if (can & modes[i])
            return modes[i];
    }
    return 0;
}

VAStatus driver_CreateConfig(VADriverContextP ctx, VAProfile profile, VAEntrypoint entrypoint,
                             VAConfigAttrib *list, int count, VAConfigID *id)
{
    const struct vd_cap *cap;
    struct driver *driver;
    struct config *config, asked = {0};
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    status = find_cap(driver, profile, entrypoint, &cap);
    if (!status && (!id || count < 0 || (count && !list)))
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
    for (int i = 0; i < count && !status; i++)
        status = check_attribute(cap, &list[i], &asked);
    if (status)
        goto out;
    config = object_create(&driver->configs);
    if (!config) {
        status = VA_STATUS_ERROR_ALLOCATION_FAILED;
        goto out;
    }
    config->profile = profile;
    config->entrypoint = entrypoint;
    config->rt_format = asked.rt_format ? asked.rt_format : cap->rt_formats;
    config->rate_control = asked.rate_control ? asked.rate_control : default_rate_control(cap);
    config->packed_headers = asked.packed_headers;
    *id = config->object.id;
out:
    driver_leave(driver);
    return status;
}

VAStatus driver_DestroyConfig(VADriverContextP ctx, VAConfigID id)
{
    struct driver *driver;
    struct config *config;
    VAStatus status = driver_enter(ctx, &driver);

    if (status)
        return status;
    config = object_find(&driver->configs, id);
    if (config)
        object_remove(&driver->configs, config);
    driver_leave(driver);
    return config ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_CONFIG;
}

/* What the config was made with, where an attribute offers a choice. */
static uint32_t chosen_value(const struct config *config, uint32_t type, uint32_t value)
{
    switch (type) {
    case VAConfigAttribRTFormat:
        return config->rt_format & value;
    case VAConfigAttribRateControl:
        return config->rate_control;
    case VAConfigAttribEncPackedHeaders:
        return config->packed_headers;
    default:
        return value;
    }
}

VAStatus driver_QueryConfigAttributes(VADriverContextP ctx, VAConfigID id, VAProfile *profile,
                                      VAEntrypoint *entrypoint, VAConfigAttrib *list, int *count)
{
    static const VAConfigAttribType types[] = {
        VAConfigAttribRTFormat,
        VAConfigAttribDecSliceMode,
        VAConfigAttribMaxPictureWidth,
        VAConfigAttribMaxPictureHeight,
    };
    const int type_count = sizeof(types) / sizeof(types[0]);
    const struct vd_cap *cap;
    struct driver *driver;
    struct config *config;
    VAStatus status = driver_enter(ctx, &driver);
    int n = 0;

    if (status)
        return status;
    config = object_find(&driver->configs, id);
    if (!config) {
        driver_leave(driver);
        return VA_STATUS_ERROR_INVALID_CONFIG;
    }
    cap = config_cap(driver, config->profile, config->entrypoint);
    *profile = config->profile;
    *entrypoint = config->entrypoint;
    for (int i = 0; i < type_count && cap; i++) {
        uint32_t value = config_attribute(cap, types[i]);

        if (value != VA_ATTRIB_NOT_SUPPORTED)
            list[n++] = (VAConfigAttrib){types[i], chosen_value(config, types[i], value)};
    }
    for (uint32_t i = 0; cap && i < cap->attribute_count && i < VD_MAX_CAP_ATTRIBUTES; i++) {
        uint32_t type = cap->attributes[i];

        if (type < VD_ATTRIBUTE_FILTERS)
            list[n++] = (VAConfigAttrib){(VAConfigAttribType)type,
                                         chosen_value(config, type, cap->values[i])};
    }
    *count = n;
    driver_leave(driver);
    return VA_STATUS_SUCCESS;
}

static void put_attribute(VASurfaceAttrib *list, unsigned room, unsigned *n,
                          VASurfaceAttribType type, uint32_t flags, int value)
{
    if (list && *n < room) {
        list[*n] = (VASurfaceAttrib){
            .type = type,
            .flags = flags,
            .value = {.type = VAGenericValueTypeInteger, .value = {.i = value}},
        };
    }
    ++*n;
}

VAStatus driver_QuerySurfaceAttributes(VADriverContextP ctx, VAConfigID id, VASurfaceAttrib *list,
                                       unsigned *count)
{
    const uint32_t get = VA_SURFACE_ATTRIB_GETTABLE;
    const uint32_t both = VA_SURFACE_ATTRIB_GETTABLE | VA_SURFACE_ATTRIB_SETTABLE;
    const struct vd_cap *cap;
    struct driver *driver;
    struct config *config;
    VAStatus status = driver_enter(ctx, &driver);
    unsigned room, n = 0;
    int memory = VA_SURFACE_ATTRIB_MEM_TYPE_VA;

    if (status)
        return status;
    config = object_find(&driver->configs, id);
    if (!config || !count) {
        driver_leave(driver);
        return config ? VA_STATUS_ERROR_INVALID_PARAMETER : VA_STATUS_ERROR_INVALID_CONFIG;
    }
    room = list ? *count : 0;
    cap = config_cap(driver, config->profile, config->entrypoint);
    for (uint32_t i = 0; i < cap->format_count; i++) {
        const struct format_info *format = format_find(cap->formats[i]);

        /* Only what surfaces of this config's render-target formats can be. */
        if (format && format->rt_format & config->rt_format)
            put_attribute(list, room, &n, VASurfaceAttribPixelFormat, both, (int)format->fourcc);
    }
    put_attribute(list, room, &n, VASurfaceAttribMinWidth, get, (int)cap->min_width);
    put_attribute(list, room, &n, VASurfaceAttribMinHeight, get, (int)cap->min_height);
    put_attribute(list, room, &n, VASurfaceAttribMaxWidth, get, (int)cap->max_width);
    put_attribute(list, room, &n, VASurfaceAttribMaxHeight, get, (int)cap->max_height);
    if (export_offered(driver))
        memory |= VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2;
    put_attribute(list, room, &n, VASurfaceAttribMemoryType, both, memory);
    put_attribute(list, room, &n, VASurfaceAttribExternalBufferDescriptor,
                  VA_SURFACE_ATTRIB_SETTABLE, 0);
    if (list && n <= room)
        list[n - 1].value.type = VAGenericValueTypePointer;
    driver_leave(driver);
    *count = n;
    return list && n > room ? VA_STATUS_ERROR_MAX_NUM_EXCEEDED : VA_STATUS_SUCCESS;
}
