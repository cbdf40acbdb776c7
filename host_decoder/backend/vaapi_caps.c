/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "vaapi.h"

/* What a device serves, as HELLO tells it. */

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

/* Formats and sizes of surfaces. */
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

uint32_t vaapi_caps_formats(const struct vaapi_device *device, VAProfile profile,
                            VAEntrypoint entrypoint, uint32_t *ret_formats)
{
    struct vd_cap cap = {
        .profile = (uint32_t)profile,
        .entrypoint = (uint32_t)entrypoint,
        .rt_formats = UINT32_MAX,
    };

    if (query_surfaces(device, &cap))
        return 0;
    memcpy(ret_formats, cap.formats, cap.format_count * sizeof(cap.formats[0]));
    return cap.format_count;
}

static bool usable(uint32_t value)
{
    return value && value != VA_ATTRIB_NOT_SUPPORTED;
}

/*
 * What apps ask an encoder for, but that which says something of buffers that the protocol does not
 * carry. The mask has what is left of it: all, or the bits that can be asked for here.
 */
static const struct {
    VAConfigAttribType type;
    uint32_t mask;
} encode_attributes[] = {
    {VAConfigAttribRateControl, UINT32_MAX},
    {VAConfigAttribEncPackedHeaders, UINT32_MAX},
    {VAConfigAttribEncInterlaced, UINT32_MAX},
    {VAConfigAttribEncMaxRefFrames, UINT32_MAX},
    {VAConfigAttribEncMaxSlices, UINT32_MAX},
    {VAConfigAttribEncSliceStructure, UINT32_MAX},
    {VAConfigAttribEncJPEG, UINT32_MAX},
    {VAConfigAttribEncQualityRange, UINT32_MAX},
    {VAConfigAttribEncQuantization, UINT32_MAX},
    {VAConfigAttribEncIntraRefresh, UINT32_MAX},
    {VAConfigAttribEncSkipFrame, UINT32_MAX},
    {VAConfigAttribEncROI, UINT32_MAX},
    {VAConfigAttribEncRateControlExt, UINT32_MAX},
    {VAConfigAttribEncParallelRateControl, UINT32_MAX},
    {VAConfigAttribEncDynamicScaling, UINT32_MAX},
    {VAConfigAttribFrameSizeToleranceSupport, UINT32_MAX},
    {VAConfigAttribEncTileSupport, UINT32_MAX},
    {VAConfigAttribCustomRoundingControl, UINT32_MAX},
    {VAConfigAttribQPBlockSize, UINT32_MAX},
    {VAConfigAttribMaxFrameSize, 1}, /* sizes for several passes are a pointer */
    {VAConfigAttribPredictionDirection, UINT32_MAX},
    {VAConfigAttribEncHEVCFeatures, UINT32_MAX},
    {VAConfigAttribEncHEVCBlockSizes, UINT32_MAX},
    {VAConfigAttribEncAV1, UINT32_MAX},
    {VAConfigAttribEncAV1Ext1, UINT32_MAX},
    {VAConfigAttribEncAV1Ext2, UINT32_MAX},
};
#define ENCODE_ATTRIBUTES (sizeof(encode_attributes) / sizeof(encode_attributes[0]))
_Static_assert(ENCODE_ATTRIBUTES <= VD_MAX_CAP_ATTRIBUTES, "a cap carries all of them");

static uint32_t limit_roi(uint32_t value)
{
    VAConfigAttribValEncROI roi = {.value = value};

    if (roi.bits.num_roi_regions > VD_MAX_ROI)
        roi.bits.num_roi_regions = VD_MAX_ROI;
    return roi.value;
}

static bool query_encode(const struct vaapi_device *device, struct vd_cap *cap)
{
    VAConfigAttrib list[ENCODE_ATTRIBUTES];

    for (size_t i = 0; i < ENCODE_ATTRIBUTES; i++)
        list[i] = (VAConfigAttrib){encode_attributes[i].type, VA_ATTRIB_NOT_SUPPORTED};
    if (vaGetConfigAttributes(device->display, (VAProfile)cap->profile,
                              (VAEntrypoint)cap->entrypoint, list, ENCODE_ATTRIBUTES))
        return false;
    for (size_t i = 0; i < ENCODE_ATTRIBUTES; i++) {
        uint32_t value = list[i].value;

        if (value == VA_ATTRIB_NOT_SUPPORTED)
            continue;
        value &= encode_attributes[i].mask;
        if (list[i].type == VAConfigAttribEncROI)
            value = limit_roi(value);
        cap->attributes[cap->attribute_count] = list[i].type;
        cap->values[cap->attribute_count++] = value;
    }
    return true;
}

/* Codecs whose encoders' buffers the protocol carries. */
static bool encodes(enum vd_codec codec)
{
    static const enum vd_codec codecs[] = {
#define VD_VA_ENCODE(codec, type, kind, name, size, slot)
#define VD_VA_CODED(codec, name, field) VD_CODEC_##codec,
#include <viaduct/va_encode.def>
    };

    for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
        if (codecs[i] == codec)
            return true;
    }
    return false;
}

static bool carried(enum vd_codec codec, VAEntrypoint entrypoint)
{
    switch (entrypoint) {
    case VAEntrypointVLD:
        return codec != VD_CODEC_NONE && codec != VD_CODEC_PROC;
    case VAEntrypointEncSlice:
    case VAEntrypointEncSliceLP:
    case VAEntrypointEncPicture:
        return encodes(codec);
    case VAEntrypointVideoProc:
        return codec == VD_CODEC_PROC;
    default:
        return false;
    }
}

static bool query(const struct vaapi_device *device, VAProfile profile, VAEntrypoint entrypoint,
                  struct vd_cap *ret_cap)
{
    VAConfigAttrib attributes[] = {{VAConfigAttribRTFormat, 0},
                                   {VAConfigAttribMaxPictureWidth, 0},
                                   {VAConfigAttribMaxPictureHeight, 0}};
    struct vd_cap cap = {
        .profile = (uint32_t)profile,
        .entrypoint = (uint32_t)entrypoint,
        .min_width = 1,
        .min_height = 1,
        .max_width = VD_MAX_WIDTH,
        .max_height = VD_MAX_HEIGHT,
    };

    const bool proc = entrypoint == VAEntrypointVideoProc;

    if (!carried(codecs_of(profile, entrypoint), entrypoint) ||
        vaGetConfigAttributes(device->display, profile, entrypoint, attributes, 3) ||
        (!usable(attributes[0].value) && !proc))
        return false;
    /* Drivers may say less of what a video processor takes than they list. */
    cap.rt_formats = proc ? UINT32_MAX : attributes[0].value;
    if (usable(attributes[1].value) && attributes[1].value < cap.max_width)
        cap.max_width = attributes[1].value;
    if (usable(attributes[2].value) && attributes[2].value < cap.max_height)
        cap.max_height = attributes[2].value;
    if (query_surfaces(device, &cap) || !cap.format_count)
        return false;
    if (proc) {
        cap.rt_formats = 0;
        for (uint32_t i = 0; i < cap.format_count; i++)
            cap.rt_formats |= format_find(cap.formats[i])->rt_format;
        if (!vaapi_proc_caps(device, &cap))
            return false;
    } else if (entrypoint != VAEntrypointVLD && !query_encode(device, &cap)) {
        return false;
    }
    *ret_cap = cap;
    return true;
}

static uint32_t query_entrypoints(const struct vaapi_device *device, VAProfile profile,
                                  VAEntrypoint *list, struct vd_cap *ret_caps, uint32_t room)
{
    uint32_t n = 0;
    int count = 0;

    if (vaQueryConfigEntrypoints(device->display, profile, list, &count))
        return 0;
    for (int i = 0; i < count && n < room; i++)
        n += query(device, profile, list[i], &ret_caps[n]);
    return n;
}

uint32_t vaapi_caps(void *opaque, struct vd_cap *ret_caps, uint32_t room)
{
    const struct vaapi_device *device = opaque;
    int profiles = vaMaxNumProfiles(device->display);
    int entrypoints = vaMaxNumEntrypoints(device->display);
    VAProfile *list = calloc((size_t)(profiles > 0 ? profiles : 0) + 1, sizeof(*list));
    VAEntrypoint *points = calloc((size_t)(entrypoints > 0 ? entrypoints : 0) + 1, sizeof(*points));
    uint32_t n = 0;
    int count = 0;

    if (list && points && !vaQueryConfigProfiles(device->display, list, &count)) {
        for (int i = 0; i < count; i++) {
            if (list[i] != VAProfileNone)
                n += query_entrypoints(device, list[i], points, &ret_caps[n], room - n);
        }
        /* Not all drivers list it among the profiles. */
        n += query_entrypoints(device, VAProfileNone, points, &ret_caps[n], room - n);
    }
    free(points);
    free(list);
    return n;
}
