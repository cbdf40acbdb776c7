/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>
#include <viaduct/errors.h>

#include "vaapi_proc.h"

/* What the device's video processor can do of what the protocol carries. */

#define BIT(number) (UINT32_C(1) << (number))
#define FILTERS                                                         \
    (BIT(VAProcFilterNoiseReduction) | BIT(VAProcFilterDeinterlacing) | \
     BIT(VAProcFilterSharpening) | BIT(VAProcFilterColorBalance) |      \
     BIT(VAProcFilterHighDynamicRangeToneMapping))
/* Drivers to come may have more of anything than we have names for. */
#define LIST_ROOM 32

static const struct vaapi_range guest_ranges[VAAPI_RANGES] = {
#define VD_FILTER(type, attribute, least, most, usual, step)                           \
    {VAProcFilter##type, VAProcColorBalance##attribute, (float)(least), (float)(most), \
     (float)(usual)},
#include <viaduct/vpp.def>
};

static void set_range(struct vaapi_range *range, const VAProcFilterValueRange *value)
{
    range->least = value->min_value;
    range->most = value->max_value;
    range->usual = value->default_value;
}

/* Numbers of which nothing can be made are as good as no filter. */
static bool sane(const struct vaapi_range *r)
{
    return isfinite(r->least) && isfinite(r->most) && r->least < r->most && r->usual >= r->least &&
           r->usual <= r->most;
}

/* Ranges of one filter; a bit for each attribute (None: 0) of it that there is. */
static uint32_t query_filter(const struct vaapi_device *device, VAContextID context,
                             VAProcFilterType type, struct vaapi_range *ranges)
{
    VAProcFilterCapColorBalance balance[LIST_ROOM] = {{0}};
    VAProcFilterCap one = {0};
    const bool is_balance = type == VAProcFilterColorBalance;
    unsigned count = is_balance ? LIST_ROOM : 1;
    uint32_t mask = 0;

    if (vaQueryVideoProcFilterCaps(device->display, context, type,
                                   is_balance ? (void *)balance : (void *)&one, &count))
        return 0;
    if (!is_balance) {
        balance[0].range = one.range;
        balance[0].type = VAProcColorBalanceNone;
    }
    for (int i = 0; i < VAAPI_RANGES; i++) {
        for (unsigned j = 0; j < count && j < LIST_ROOM; j++) {
            if (ranges[i].type != type || ranges[i].attribute != balance[j].type)
                continue;
            set_range(&ranges[i], &balance[j].range);
            if (sane(&ranges[i]))
                mask |= BIT(balance[j].type);
            else
                ranges[i] = guest_ranges[i];
        }
    }
    return mask;
}

void vaapi_proc_ranges(const struct vaapi_device *device, VAContextID context,
                       struct vaapi_range *ret_ranges)
{
    memcpy(ret_ranges, guest_ranges, sizeof(guest_ranges));
    query_filter(device, context, VAProcFilterNoiseReduction, ret_ranges);
    query_filter(device, context, VAProcFilterSharpening, ret_ranges);
    query_filter(device, context, VAProcFilterColorBalance, ret_ranges);
}

float vaapi_proc_value(const struct vaapi_range *ranges, uint32_t type, uint32_t attribute,
                       float value)
{
    for (int i = 0; i < VAAPI_RANGES; i++) {
        const struct vaapi_range *from = &guest_ranges[i], *to = &ranges[i];

        if (from->type != type || from->attribute != attribute)
            continue;
        /* Not a number is the least, too. */
        if (!(value >= from->least))
            value = from->least;
        if (value > from->most)
            value = from->most;
        if (!memcmp(from, to, sizeof(*from)))
            return value;
        if (value < from->usual)
            return to->least +
                   (value - from->least) / (from->usual - from->least) * (to->usual - to->least);
        if (value > from->usual)
            return to->usual +
                   (value - from->usual) / (from->most - from->usual) * (to->most - to->usual);
        return to->usual;
    }
    return 0;
}

static uint32_t query_deinterlacing(const struct vaapi_device *device, VAContextID context)
{
    VAProcFilterCapDeinterlacing list[LIST_ROOM] = {{0}};
    unsigned count = LIST_ROOM;
    uint32_t mask = 0;

    if (vaQueryVideoProcFilterCaps(device->display, context, VAProcFilterDeinterlacing, list,
                                   &count))
        return 0;
    for (unsigned i = 0; i < count && i < LIST_ROOM; i++) {
        if (list[i].type > VAProcDeinterlacingNone && list[i].type < VAProcDeinterlacingCount)
            mask |= BIT(list[i].type);
    }
    return mask;
}

static uint32_t query_tone_mapping(const struct vaapi_device *device, VAContextID context)
{
    VAProcFilterCapHighDynamicRange list[LIST_ROOM] = {{0}};
    unsigned count = LIST_ROOM;
    uint32_t flags = 0;

    if (vaQueryVideoProcFilterCaps(device->display, context,
                                   VAProcFilterHighDynamicRangeToneMapping, list, &count))
        return 0;
    for (unsigned i = 0; i < count && i < LIST_ROOM; i++) {
        if (list[i].metadata_type == VAProcHighDynamicRangeMetadataHDR10)
            flags |= list[i].caps_flag;
    }
    return flags;
}

static void put(struct vd_cap *cap, uint32_t type, uint32_t value)
{
    if (!value || cap->attribute_count == VD_MAX_CAP_ATTRIBUTES)
        return;
    cap->attributes[cap->attribute_count] = type;
    cap->values[cap->attribute_count++] = value;
}

static void put_filters(const struct vaapi_device *device, VAContextID context, struct vd_cap *cap,
                        uint32_t *ret_deinterlacing)
{
    VAProcFilterType list[LIST_ROOM];
    struct vaapi_range ranges[VAAPI_RANGES];
    uint32_t mask = 0, balance = 0, tone = 0;
    unsigned count = LIST_ROOM;

    *ret_deinterlacing = 0;
    memcpy(ranges, guest_ranges, sizeof(ranges));
    if (vaQueryVideoProcFilters(device->display, context, list, &count))
        return;
    for (unsigned i = 0; i < count && i < LIST_ROOM; i++) {
        if ((unsigned)list[i] < 32)
            mask |= BIT(list[i]) & FILTERS;
    }
    if (mask & BIT(VAProcFilterDeinterlacing))
        *ret_deinterlacing = query_deinterlacing(device, context);
    if (mask & BIT(VAProcFilterColorBalance))
        balance = query_filter(device, context, VAProcFilterColorBalance, ranges);
    if (mask & BIT(VAProcFilterHighDynamicRangeToneMapping))
        tone = query_tone_mapping(device, context);
    /* One that does nothing we could ask for is none. */
    if (!*ret_deinterlacing)
        mask &= ~BIT(VAProcFilterDeinterlacing);
    if (!balance)
        mask &= ~BIT(VAProcFilterColorBalance);
    if (!tone)
        mask &= ~BIT(VAProcFilterHighDynamicRangeToneMapping);
    for (int type = VAProcFilterNoiseReduction; type <= VAProcFilterSharpening;
         type += VAProcFilterSharpening - VAProcFilterNoiseReduction) {
        if (mask & BIT(type) && !query_filter(device, context, (VAProcFilterType)type, ranges))
            mask &= ~BIT(type);
    }
    put(cap, VD_ATTRIBUTE_FILTERS, mask);
    put(cap, VD_ATTRIBUTE_DEINTERLACING, *ret_deinterlacing);
    put(cap, VD_ATTRIBUTE_COLOR_BALANCE, balance);
    put(cap, VD_ATTRIBUTE_TONE_MAPPING, tone);
}

/* How many references the best way of deinterlacing looks at. */
static uint32_t query_references(const struct vaapi_device *device, VAContextID context,
                                 uint32_t deinterlacing)
{
    VAProcFilterParameterBufferDeinterlacing filter = {.type = VAProcFilterDeinterlacing};
    VAProcPipelineCaps caps = {0};
    VABufferID id;
    VAStatus status;

    if (deinterlacing & BIT(VAProcDeinterlacingMotionCompensated))
        filter.algorithm = VAProcDeinterlacingMotionCompensated;
    else if (deinterlacing & BIT(VAProcDeinterlacingMotionAdaptive))
        filter.algorithm = VAProcDeinterlacingMotionAdaptive;
    else
        return 0;
    if (vaCreateBuffer(device->display, context, VAProcFilterParameterBufferType, sizeof(filter), 1,
                       &filter, &id))
        return 0;
    status = vaQueryVideoProcPipelineCaps(device->display, context, &id, 1, &caps);
    vaDestroyBuffer(device->display, id);
    if (status || caps.num_forward_references > VD_MAX_PROC_REFS ||
        caps.num_backward_references > VD_MAX_PROC_REFS)
        return 0;
    return caps.num_forward_references << 16 | caps.num_backward_references;
}

static uint32_t standards(const VAProcColorStandardType *list, uint32_t count)
{
    uint32_t mask = 0;

    for (uint32_t i = 0; list && i < count && i < VAProcColorStandardCount; i++) {
        if (list[i] > VAProcColorStandardNone && list[i] < VAProcColorStandardCount)
            mask |= BIT(list[i]);
    }
    return mask;
}

/* Not told is no limit. */
static uint32_t lower(uint32_t value, uint32_t limit)
{
    return limit && limit < value ? limit : value;
}

static void put_pipeline(const struct vaapi_device *device, VAContextID context, struct vd_cap *cap,
                         uint32_t deinterlacing)
{
    VAProcPipelineCaps caps = {0};

    if (vaQueryVideoProcPipelineCaps(device->display, context, NULL, 0, &caps))
        return;
    put(cap, VD_ATTRIBUTE_ROTATION, caps.rotation_flags);
    put(cap, VD_ATTRIBUTE_MIRROR, caps.mirror_flags);
    put(cap, VD_ATTRIBUTE_BLEND, caps.blend_flags);
    put(cap, VD_ATTRIBUTE_STANDARDS_IN,
        standards(caps.input_color_standards, caps.num_input_color_standards));
    put(cap, VD_ATTRIBUTE_STANDARDS_OUT,
        standards(caps.output_color_standards, caps.num_output_color_standards));
    put(cap, VD_ATTRIBUTE_REFS, query_references(device, context, deinterlacing));
    cap->max_width = lower(lower(cap->max_width, caps.max_input_width), caps.max_output_width);
    cap->max_height = lower(lower(cap->max_height, caps.max_input_height), caps.max_output_height);
}

bool vaapi_proc_caps(const struct vaapi_device *device, struct vd_cap *cap)
{
    uint32_t deinterlacing;
    VAConfigID config;
    VAContextID context;

    if (vaCreateConfig(device->display, VAProfileNone, VAEntrypointVideoProc, NULL, 0, &config))
        return false;
    if (vaCreateContext(device->display, config, VAAPI_PROC_SIZE, VAAPI_PROC_SIZE, 0, NULL, 0,
                        &context)) {
        vaDestroyConfig(device->display, config);
        return false;
    }
    put_filters(device, context, cap, &deinterlacing);
    put_pipeline(device, context, cap, deinterlacing);
    vaDestroyContext(device->display, context);
    vaDestroyConfig(device->display, config);
    return true;
}
