/* SPDX-License-Identifier: MIT */
#include "vpp_caps.h"

#include <va/va.h>
#include <va/va_vpp.h>

#include "vpp.h"
#include "vpp_format.h"
#include "vpp_graph.h"

#define BIT(number) (UINT32_C(1) << (number))

uint32_t vpp_caps_deinterlacing(void)
{
    uint32_t mask = BIT(VAProcDeinterlacingBob) | BIT(VAProcDeinterlacingWeave);

    if (vpp_graph_have("yadif"))
        mask |= BIT(VAProcDeinterlacingMotionAdaptive);
    if (vpp_graph_have("bwdif"))
        mask |= BIT(VAProcDeinterlacingMotionCompensated);
    return mask;
}

uint32_t vpp_caps_filters(void)
{
    uint32_t mask = BIT(VAProcFilterDeinterlacing) | BIT(VAProcFilterColorBalance) |
                    BIT(VAProcFilterHighDynamicRangeToneMapping);

    if (vpp_graph_have("hqdn3d"))
        mask |= BIT(VAProcFilterNoiseReduction);
    if (vpp_graph_have("unsharp"))
        mask |= BIT(VAProcFilterSharpening);
    return mask;
}

uint32_t vpp_caps_blend(void)
{
    return VA_BLEND_GLOBAL_ALPHA | VA_BLEND_PREMULTIPLIED_ALPHA;
}

static uint32_t rotations(void)
{
    uint32_t mask = BIT(VA_ROTATION_NONE);

    if (vpp_graph_have("transpose"))
        mask |= BIT(VA_ROTATION_90) | BIT(VA_ROTATION_270);
    if (vpp_graph_have("hflip") && vpp_graph_have("vflip"))
        mask |= BIT(VA_ROTATION_180);
    return mask;
}

static uint32_t mirrors(void)
{
    return (vpp_graph_have("hflip") ? VA_MIRROR_HORIZONTAL : 0) |
           (vpp_graph_have("vflip") ? VA_MIRROR_VERTICAL : 0);
}

static uint32_t standards(void)
{
    return BIT(VAProcColorStandardBT601) | BIT(VAProcColorStandardBT709) |
           BIT(VAProcColorStandardBT470BG) | BIT(VAProcColorStandardSMPTE170M) |
           BIT(VAProcColorStandardSMPTE240M) | BIT(VAProcColorStandardSRGB) |
           BIT(VAProcColorStandardBT2020) | BIT(VAProcColorStandardExplicit);
}

uint32_t vpp_formats(uint32_t *ret_formats, uint32_t room)
{
    uint32_t count = 0;

    for (; count < room && vpp_format_at(count); count++)
        ret_formats[count] = vpp_format_at(count)->fourcc;
    return count;
}

uint32_t vpp_attributes(uint32_t *ret_types, uint32_t *ret_values, uint32_t room)
{
    const struct {
        uint32_t type, value;
    } attributes[] = {
        {VD_ATTRIBUTE_FILTERS, vpp_caps_filters()},
        {VD_ATTRIBUTE_DEINTERLACING, vpp_caps_deinterlacing()},
        {VD_ATTRIBUTE_COLOR_BALANCE,
         BIT(VAProcColorBalanceHue) | BIT(VAProcColorBalanceSaturation) |
             BIT(VAProcColorBalanceBrightness) | BIT(VAProcColorBalanceContrast)},
        {VD_ATTRIBUTE_TONE_MAPPING, VA_TONE_MAPPING_HDR_TO_SDR | VA_TONE_MAPPING_HDR_TO_HDR},
        {VD_ATTRIBUTE_ROTATION, rotations()},
        {VD_ATTRIBUTE_MIRROR, mirrors()},
        {VD_ATTRIBUTE_BLEND, vpp_caps_blend()},
        {VD_ATTRIBUTE_STANDARDS_IN, standards()},
        {VD_ATTRIBUTE_STANDARDS_OUT, standards()},
        /* The motion adaptive ways look at one picture before and one behind. */
        {VD_ATTRIBUTE_REFS, 1u << 16 | 1u},
    };
    uint32_t count = 0;

    for (; count < room && count < sizeof(attributes) / sizeof(attributes[0]); count++) {
        ret_types[count] = attributes[count].type;
        ret_values[count] = attributes[count].value;
    }
    return count;
}
