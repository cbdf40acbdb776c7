/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "driver.h"

#include <va/va_backend_vpp.h>

/*
 * What video processing can do, answered from the cap that came with HELLO: apps ask for every
 * picture.
 */

static const struct proc_range {
    VAProcFilterType type;
    VAProcColorBalanceType attribute;
    float least, most, usual, step;
} proc_ranges[] = {
#define VD_FILTER(type, attribute, least, most, usual, step) \
    {VAProcFilter##type, VAProcColorBalance##attribute,      \
     (float)(least),     (float)(most),                      \
     (float)(usual),     (float)(step)},
#include <viaduct/vpp.def>
};

static const struct vd_cap *proc_cap(const struct driver *driver)
{
    return config_cap(driver, VAProfileNone, VAEntrypointVideoProc);
}

/* A mask of what can be done; nothing if the host does not say. */
static uint32_t mask_of(const struct vd_cap *cap, uint32_t attribute)
{
    uint32_t mask = cap ? config_attribute(cap, attribute) : 0;

    return mask == VA_ATTRIB_NOT_SUPPORTED ? 0 : mask;
}

/* Begins a query: locks, and checks that the context processes. */
static VAStatus enter(VADriverContextP ctx, VAContextID id, struct driver **ret_driver)
{
    const struct context *context;
    VAStatus status = driver_enter(ctx, ret_driver);

    if (status)
        return status;
    context = object_find(&(*ret_driver)->contexts, id);
    if (!context)
        status = VA_STATUS_ERROR_INVALID_CONTEXT;
    else if (context->entrypoint != VAEntrypointVideoProc || !proc_cap(*ret_driver))
        status = VA_STATUS_ERROR_UNSUPPORTED_ENTRYPOINT;
    if (status)
        driver_leave(*ret_driver);
    return status;
}

static VAStatus proc_QueryFilters(VADriverContextP ctx, VAContextID id, VAProcFilterType *filters,
                                  unsigned *count)
{
    struct driver *driver;
    unsigned room, n = 0;
    uint32_t mask;
    VAStatus status = enter(ctx, id, &driver);

    if (status)
        return status;
    mask = mask_of(proc_cap(driver), VD_ATTRIBUTE_FILTERS);
    driver_leave(driver);
    if (!count)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    room = filters ? *count : 0;
    for (unsigned type = 1; type < VAProcFilterCount; type++) {
        if (!(mask & 1u << type))
            continue;
        if (n < room)
            filters[n] = (VAProcFilterType)type;
        n++;
    }
    *count = n;
    return filters && n > room ? VA_STATUS_ERROR_MAX_NUM_EXCEEDED : VA_STATUS_SUCCESS;
}

static VAProcFilterValueRange range_of(const struct proc_range *r)
{
    return (VAProcFilterValueRange){
        .min_value = r->least,
        .max_value = r->most,
        .default_value = r->usual,
        .step = r->step,
    };
}

/* Writes element *n of a list of caps if there is room for it, and counts it. */
static void put_cap(void *list, unsigned room, unsigned *n, const void *cap, size_t size)
{
    if (list && *n < room)
        memcpy((uint8_t *)list + *n * size, cap, size);
    ++*n;
}

static unsigned list_deinterlacing(uint32_t mask, void *list, unsigned room)
{
    unsigned n = 0;

    for (unsigned i = 1; i < VAProcDeinterlacingCount; i++) {
        VAProcFilterCapDeinterlacing cap = {.type = (VAProcDeinterlacingType)i};

        if (mask & 1u << i)
            put_cap(list, room, &n, &cap, sizeof(cap));
    }
    return n;
}

static unsigned list_balance(uint32_t mask, void *list, unsigned room)
{
    unsigned n = 0;

    for (size_t i = 0; i < sizeof(proc_ranges) / sizeof(proc_ranges[0]); i++) {
        const struct proc_range *r = &proc_ranges[i];
        VAProcFilterCapColorBalance cap = {.type = r->attribute, .range = range_of(r)};

        if (r->type == VAProcFilterColorBalance && mask & 1u << r->attribute)
            put_cap(list, room, &n, &cap, sizeof(cap));
    }
    return n;
}

static unsigned list_tone_mapping(uint32_t flags, void *list, unsigned room)
{
    VAProcFilterCapHighDynamicRange cap = {
        .metadata_type = VAProcHighDynamicRangeMetadataHDR10,
        .caps_flag = (uint16_t)flags,
    };
    unsigned n = 0;

    if (flags)
        put_cap(list, room, &n, &cap, sizeof(cap));
    return n;
}

static unsigned list_range(VAProcFilterType type, void *list, unsigned room)
{
    unsigned n = 0;

    for (size_t i = 0; i < sizeof(proc_ranges) / sizeof(proc_ranges[0]); i++) {
        VAProcFilterCap cap = {.range = range_of(&proc_ranges[i])};

        if (proc_ranges[i].type == type)
            put_cap(list, room, &n, &cap, sizeof(cap));
    }
    return n;
}

static VAStatus proc_QueryFilterCaps(VADriverContextP ctx, VAContextID id, VAProcFilterType type,
                                     void *list, unsigned *count)
{
    const struct vd_cap *cap;
    struct driver *driver;
    unsigned room, n;
    VAStatus status = enter(ctx, id, &driver);

    if (status)
        return status;
    cap = proc_cap(driver);
    if (!count)
        status = VA_STATUS_ERROR_INVALID_PARAMETER;
    else if ((unsigned)type >= VAProcFilterCount ||
             !(mask_of(cap, VD_ATTRIBUTE_FILTERS) & 1u << type))
        status = VA_STATUS_ERROR_UNSUPPORTED_FILTER;
    if (status)
        goto out;
    room = list ? *count : 0;
    switch (type) {
    case VAProcFilterDeinterlacing:
        n = list_deinterlacing(mask_of(cap, VD_ATTRIBUTE_DEINTERLACING), list, room);
        break;
    case VAProcFilterColorBalance:
        n = list_balance(mask_of(cap, VD_ATTRIBUTE_COLOR_BALANCE), list, room);
        break;
    case VAProcFilterHighDynamicRangeToneMapping:
        n = list_tone_mapping(mask_of(cap, VD_ATTRIBUTE_TONE_MAPPING), list, room);
        break;
    default:
        n = list_range(type, list, room);
        break;
    }
    *count = n;
    if (list && n > room)
        status = VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
out:
    driver_leave(driver);
    return status;
}

static uint32_t fill_standards(VAProcColorStandardType *list, uint32_t mask)
{
    uint32_t n = 0;

    for (unsigned i = 1; i < VAProcColorStandardCount; i++) {
        if (mask & 1u << i)
            list[n++] = (VAProcColorStandardType)i;
    }
    return n;
}

/* References are for deinterlacing with motion. */
static void fill_references(struct driver *driver, const struct vd_cap *cap,
                            const VABufferID *filters, unsigned count, VAProcPipelineCaps *caps)
{
    uint32_t refs = mask_of(cap, VD_ATTRIBUTE_REFS);

    for (unsigned i = 0; i < count && filters; i++) {
        const struct buffer *buffer = object_find(&driver->buffers, filters[i]);
        VAProcFilterParameterBufferDeinterlacing f = {0};

        if (!buffer || buffer->type != VAProcFilterParameterBufferType || !buffer->heap)
            continue;
        memcpy(&f, buffer->heap, buffer->size < sizeof(f) ? buffer->size : sizeof(f));
        if (f.type != VAProcFilterDeinterlacing ||
            (f.algorithm != VAProcDeinterlacingMotionAdaptive &&
             f.algorithm != VAProcDeinterlacingMotionCompensated))
            continue;
        caps->num_forward_references = refs >> 16;
        caps->num_backward_references = refs & 0xffff;
    }
}

static VAStatus proc_QueryPipelineCaps(VADriverContextP ctx, VAContextID id, VABufferID *filters,
                                       unsigned count, VAProcPipelineCaps *caps)
{
    const struct vd_cap *cap;
    struct driver *driver;
    /* The lists are the driver's: apps leave the struct as it is, pointers and all. */
    uint32_t *formats;
    VAStatus status = enter(ctx, id, &driver);

    if (status)
        return status;
    if (!caps) {
        driver_leave(driver);
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    }
    cap = proc_cap(driver);
    formats = driver->caps[cap - driver->caps].formats;
    *caps = (VAProcPipelineCaps){
        .filter_flags = VA_FILTER_SCALING_FAST | VA_FILTER_SCALING_HQ,
        .rotation_flags = mask_of(cap, VD_ATTRIBUTE_ROTATION),
        .mirror_flags = mask_of(cap, VD_ATTRIBUTE_MIRROR),
        .blend_flags = mask_of(cap, VD_ATTRIBUTE_BLEND),
        .max_input_width = cap->max_width,
        .max_input_height = cap->max_height,
        .min_input_width = cap->min_width,
        .min_input_height = cap->min_height,
        .max_output_width = cap->max_width,
        .max_output_height = cap->max_height,
        .min_output_width = cap->min_width,
        .min_output_height = cap->min_height,
        .num_input_pixel_formats = cap->format_count,
        .input_pixel_format = formats,
        .num_output_pixel_formats = cap->format_count,
        .output_pixel_format = formats,
    };
    caps->input_color_standards = driver->standards[0];
    caps->num_input_color_standards =
        fill_standards(driver->standards[0], mask_of(cap, VD_ATTRIBUTE_STANDARDS_IN));
    caps->output_color_standards = driver->standards[1];
    caps->num_output_color_standards =
        fill_standards(driver->standards[1], mask_of(cap, VD_ATTRIBUTE_STANDARDS_OUT));
    fill_references(driver, cap, filters, count, caps);
    driver_leave(driver);
    return VA_STATUS_SUCCESS;
}

void proc_caps_fill(VADriverContextP ctx)
{
    struct VADriverVTableVPP *v = ctx->vtable_vpp;

    if (!v)
        return; /* a libva older than video processing */
    v->version = VA_DRIVER_VTABLE_VPP_VERSION;
    v->vaQueryVideoProcFilters = proc_QueryFilters;
    v->vaQueryVideoProcFilterCaps = proc_QueryFilterCaps;
    v->vaQueryVideoProcPipelineCaps = proc_QueryPipelineCaps;
}
