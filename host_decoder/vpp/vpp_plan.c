/* SPDX-License-Identifier: MIT */
#include "vpp_plan.h"

#include <math.h>
#include <string.h>
#include <va/va.h>
#include <va/va_vpp.h>
#include <viaduct/errors.h>

#include "vpp_caps.h"

enum { PQ = 16, HLG = 18 };

/* Places in VAHdrMetaDataHDR10. */
#define HDR_MAX_LUMINANCE 8 /* in 0.0001 cd/m2 */
#define HDR_MAX_CLL       10
#define PEAK_LEAST        1.0
#define PEAK_MOST         100.0
/* What HDR without metadata is taken for: mastered to 1000 cd/m2. */
#define PEAK_DEFAULT 10.0

static float as_float(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* A value of the table of filters, clipped to its range. NaN is refused. */
static int read_value(uint32_t bits, float least, float most, float *ret_value)
{
    float value = as_float(bits);

    if (isnan(value))
        return VD_ERR_PARAMETER;
    *ret_value = value < least ? least : value > most ? most : value;
    return 0;
}

/* The part of `region` that is in a picture; all of the picture if there is none. */
static void plan_source(const struct vpp_pipeline *pipeline, struct vpp_plan *plan)
{
    const uint32_t *region = pipeline->params->source;
    int64_t width = pipeline->input.width, height = pipeline->input.height;
    int64_t x0 = 0, y0 = 0, x1 = width, y1 = height;

    if (pipeline->params->flags & VD_PROC_SOURCE) {
        x0 = (int32_t)region[0];
        y0 = (int32_t)region[1];
        x1 = x0 + region[2];
        y1 = y0 + region[3];
    }
    x0 = x0 < 0 ? 0 : x0;
    y0 = y0 < 0 ? 0 : y0;
    x1 = x1 > width ? width : x1;
    y1 = y1 > height ? height : y1;
    if (x0 >= x1 || y0 >= y1)
        plan->nothing = true;
    else
        plan->source = (struct vpp_rect){(int)x0, (int)y0, (int)(x1 - x0), (int)(y1 - y0)};
}

static int plan_dest(const struct vpp_pipeline *pipeline, const struct pixels *target,
                     struct vpp_plan *plan)
{
    const uint32_t *region = pipeline->params->dest;
    struct vpp_rect dest = {0, 0, (int)target->width, (int)target->height};

    if (pipeline->params->flags & VD_PROC_DEST) {
        if (region[2] > VD_MAX_SURFACE_SIZE || region[3] > VD_MAX_SURFACE_SIZE)
            return VD_ERR_PARAMETER;
        dest = (struct vpp_rect){(int32_t)region[0], (int32_t)region[1], (int)region[2],
                                 (int)region[3]};
        /* Out of sight in any case, and sums would overflow. */
        if (dest.x > VD_MAX_SURFACE_SIZE || dest.y > VD_MAX_SURFACE_SIZE ||
            dest.x < -VD_MAX_SURFACE_SIZE || dest.y < -VD_MAX_SURFACE_SIZE) {
            plan->nothing = true;
            return 0;
        }
    }
    if (dest.width <= 0 || dest.height <= 0 || dest.x >= (int)target->width ||
        dest.y >= (int)target->height || dest.x + dest.width <= 0 || dest.y + dest.height <= 0)
        plan->nothing = true;
    plan->dest = dest;
    return 0;
}

static int plan_turn(const struct vd_proc_pipeline *params, struct vpp_plan *plan)
{
    static const struct {
        bool transpose, flip_x, flip_y;
    } turns[] = {
        [VA_ROTATION_NONE] = {false, false, false},
        [VA_ROTATION_90] = {true, true, false},
        [VA_ROTATION_180] = {false, true, true},
        [VA_ROTATION_270] = {true, false, true},
    };

    if (params->rotation >= sizeof(turns) / sizeof(turns[0]) ||
        params->mirror & ~(uint32_t)(VA_MIRROR_HORIZONTAL | VA_MIRROR_VERTICAL))
        return VD_ERR_PARAMETER;
    plan->transpose = turns[params->rotation].transpose;
    plan->flip_x = turns[params->rotation].flip_x != !!(params->mirror & VA_MIRROR_HORIZONTAL);
    plan->flip_y = turns[params->rotation].flip_y != !!(params->mirror & VA_MIRROR_VERTICAL);
    return 0;
}

static int plan_deinterlace(const struct vd_proc_filter *filter, struct vpp_plan *plan)
{
    bool bottom_first = filter->filter_flags & VA_DEINTERLACING_BOTTOM_FIELD_FIRST;

    if (filter->algorithm > 31 || (filter->algorithm != VAProcDeinterlacingNone &&
                                   !(vpp_caps_deinterlacing() & 1u << filter->algorithm)))
        return VD_ERR_UNSUPPORTED;
    /* One field is a picture of its own, which gets scaled. */
    if (filter->filter_flags & VA_DEINTERLACING_ONE_FIELD)
        return 0;
    plan->deinterlace = (int)filter->algorithm;
    plan->bottom = filter->filter_flags & VA_DEINTERLACING_BOTTOM_FIELD;
    plan->second = plan->bottom != bottom_first;
    return 0;
}

static int plan_balance(const struct vd_proc_filter *filter, struct vpp_plan *plan)
{
    float *values[VAProcColorBalanceCount] = {
        [VAProcColorBalanceHue] = &plan->balance.hue,
        [VAProcColorBalanceSaturation] = &plan->balance.saturation,
        [VAProcColorBalanceBrightness] = &plan->balance.brightness,
        [VAProcColorBalanceContrast] = &plan->balance.contrast,
    };
    static const struct {
        uint32_t attribute;
        float least, most;
    } ranges[] = {
#define VD_FILTER(type, attribute, least, most, initial, step) \
    {VAProcColorBalance##attribute, (least), (most)},
#include <viaduct/vpp.def>
    };

    if (filter->algorithm >= VAProcColorBalanceCount || !values[filter->algorithm])
        return VD_ERR_UNSUPPORTED;
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (ranges[i].attribute == filter->algorithm)
            return read_value(filter->value, ranges[i].least, ranges[i].most,
                              values[filter->algorithm]);
    }
    return VD_ERR_UNSUPPORTED;
}

static bool is_hdr(int transfer)
{
    return transfer == PQ || transfer == HLG;
}

static double clip_peak(double peak)
{
    return peak < PEAK_LEAST ? PEAK_LEAST : peak > PEAK_MOST ? PEAK_MOST : peak;
}

/* As FFmpeg's tonemap filter finds it. */
static double peak_of(const uint32_t *hdr, int transfer)
{
    double peak = PEAK_DEFAULT;

    if (transfer == PQ && hdr && hdr[HDR_MAX_CLL])
        peak = hdr[HDR_MAX_CLL] / 100.0;
    else if (transfer == PQ && hdr && hdr[HDR_MAX_LUMINANCE])
        peak = hdr[HDR_MAX_LUMINANCE] / 1e6;
    return clip_peak(peak);
}

/*
 * HDR stays HDR, for another display: what that one can show stands in the metadata of the output.
 * Without, or if it shows all, nothing is to be done.
 */
static void plan_display(const struct vd_proc_pipeline *params, const uint32_t *hdr,
                         struct vpp_plan *plan)
{
    double to =
        params->flags & VD_PROC_OUTPUT_HDR ? params->output_hdr[HDR_MAX_LUMINANCE] / 1e6 : 0;
    double from = peak_of(hdr, plan->from_color.transfer);

    if (to > 0 && clip_peak(to) < from) {
        plan->peak = from;
        plan->to_peak = clip_peak(to);
    }
}

/* The filter names its input only by its metadata: programs that give no colours mean HDR10. */
static void assume_hdr10(const struct vd_proc_pipeline *params, struct vpp_plan *plan)
{
    struct vpp_color *from = &plan->from_color, *to = &plan->to_color;
    bool hdr;

    if (from->transfer == VPP_COLOR_UNSPECIFIED)
        from->transfer = PQ;
    if (!is_hdr(from->transfer))
        return;
    if (from->primaries == VPP_COLOR_UNSPECIFIED)
        from->primaries = 9;
    if (from->matrix == VPP_COLOR_UNSPECIFIED && !plan->from->rgb)
        from->matrix = 9;
    /* va_vpp.h, output_hdr_metadata: without them the output is SDR. */
    if (to->transfer == VPP_COLOR_UNSPECIFIED)
        to->transfer = params->flags & VD_PROC_OUTPUT_HDR ? PQ : 1;
    hdr = is_hdr(to->transfer);
    if (to->primaries == VPP_COLOR_UNSPECIFIED)
        to->primaries = hdr ? 9 : 1;
    if (to->matrix == VPP_COLOR_UNSPECIFIED && !plan->to->rgb)
        to->matrix = hdr ? 9 : 1;
}

static int plan_color(const struct vpp_pipeline *pipeline, const struct vd_proc_filter *tone_map,
                      struct vpp_plan *plan)
{
    const struct vd_proc_pipeline *params = pipeline->params;
    struct vpp_color *from = &plan->from_color, *to = &plan->to_color;

    vpp_color_read(params->surface_standard, params->input_color, plan->from->rgb, from);
    vpp_color_read(params->output_standard, params->output_color, plan->to->rgb, to);
    if (tone_map)
        assume_hdr10(params, plan);
    vpp_color_agree(from, plan->from->rgb, to, plan->to->rgb);
    if (is_hdr(from->transfer) && !is_hdr(to->transfer))
        plan->peak = peak_of(tone_map ? tone_map->hdr : NULL, from->transfer);
    else if (tone_map && is_hdr(from->transfer))
        plan_display(params, tone_map->hdr, plan);
    plan->light = vpp_color_light(from, to) || plan->to_peak > 0;
    plan->recolor = plan->light || from->matrix != to->matrix;
    if (plan->light && (!vpp_color_light_known(from) || !vpp_color_light_known(to)))
        return VD_ERR_UNSUPPORTED;
    if ((plan->recolor || plan->from->rgb != plan->to->rgb) &&
        (!vpp_color_matrix_known(from->matrix) || !vpp_color_matrix_known(to->matrix)))
        return VD_ERR_UNSUPPORTED;
    return 0;
}

static int plan_filters(const struct vpp_pipeline *pipeline, struct vpp_plan *plan)
{
    const uint32_t fields = pipeline->params->filter_flags & (VA_TOP_FIELD | VA_BOTTOM_FIELD);
    const struct vd_proc_filter *tone_map = NULL;

    plan->balance = (struct vpp_balance){.saturation = 1, .contrast = 1};
    /* The old way to ask for one field. */
    if (fields == VA_TOP_FIELD || fields == VA_BOTTOM_FIELD) {
        plan->deinterlace = VAProcDeinterlacingBob;
        plan->bottom = fields == VA_BOTTOM_FIELD;
    }
    for (uint32_t i = 0; i < pipeline->params->filter_count; i++) {
        const struct vd_proc_filter *filter = &pipeline->filters[i];
        int err = 0;

        if (filter->type > 31 || !(vpp_caps_filters() & 1u << filter->type))
            return VD_ERR_UNSUPPORTED;
        switch (filter->type) {
        case VAProcFilterNoiseReduction:
            err = read_value(filter->value, 0, 64, &plan->denoise);
            break;
        case VAProcFilterDeinterlacing:
            err = plan_deinterlace(filter, plan);
            break;
        case VAProcFilterSharpening:
            err = read_value(filter->value, 0, 64, &plan->sharpen);
            break;
        case VAProcFilterColorBalance:
            err = plan_balance(filter, plan);
            break;
        default:
            tone_map = filter;
            break;
        }
        if (err)
            return err;
    }
    plan->balanced = plan->balance.hue != 0 || plan->balance.saturation != 1 ||
                     plan->balance.brightness != 0 || plan->balance.contrast != 1;
    return plan_color(pipeline, tone_map, plan);
}

static int plan_blend(const struct vd_proc_pipeline *params, struct vpp_plan *plan)
{
    const bool given = params->flags & VD_PROC_BLEND;
    uint32_t flags = given ? params->blend_flags : 0;

    if (flags & ~vpp_caps_blend())
        return VD_ERR_UNSUPPORTED;
    plan->alpha = 1;
    if (flags & VA_BLEND_GLOBAL_ALPHA && read_value(params->global_alpha, 0, 1, &plan->alpha))
        return VD_ERR_PARAMETER;
    /* Alpha of the lowest picture counts only if asked for: there is only a background. */
    plan->pixel_alpha = plan->from->alpha && (plan->stream || flags);
    plan->premultiplied = plan->pixel_alpha && flags & VA_BLEND_PREMULTIPLIED_ALPHA;
    plan->blend = plan->pixel_alpha || plan->alpha < 1;
    return 0;
}

int vpp_plan_make(const struct vpp_pipeline *pipeline, const struct pixels *target, int index,
                  struct vpp_plan *ret_plan)
{
    const struct vd_proc_pipeline *params = pipeline->params;
    struct vpp_plan plan = {.stream = index};
    int err;

    plan.from = vpp_format_find(pipeline->input.format->fourcc);
    plan.to = vpp_format_find(target->format->fourcc);
    if (!plan.from || !plan.to)
        return VD_ERR_UNSUPPORTED;
    plan_source(pipeline, &plan);
    err = plan_dest(pipeline, target, &plan);
    if (!err)
        err = plan_turn(params, &plan);
    if (!err)
        err = plan_filters(pipeline, &plan);
    if (!err)
        err = plan_blend(params, &plan);
    if (err)
        return err;
    switch (params->filter_flags & VA_FILTER_SCALING_MASK) {
    case VA_FILTER_SCALING_FAST:
        plan.quality = VPP_QUALITY_FAST;
        break;
    case VA_FILTER_SCALING_HQ:
        plan.quality = VPP_QUALITY_HIGH;
        break;
    default:
        plan.quality = VPP_QUALITY_DEFAULT;
        break;
    }
    *ret_plan = plan;
    return 0;
}
