/* SPDX-License-Identifier: MIT */
#include "vpp_format.h"

#include <libavutil/pixdesc.h>
#include <stddef.h>
#include <va/va.h>

#define F(name, direct, planar, a, b, c, rgb, alpha)                                      \
    {                                                                                     \
        VA_FOURCC_##name, AV_PIX_FMT_##direct, AV_PIX_FMT_##planar, {a, b, c}, rgb, alpha \
    }

/*
 * Best first, the order that apps see. Of P012, Y212 and Y412 all 16 bits are taken: 12 bits are
 * the upper ones.
 */
static const struct vpp_format vpp_formats_table[] = {
    F(NV12, NV12, YUV420P, 0, 1, 2, false, false),
    F(I420, YUV420P, YUV420P, 0, 1, 2, false, false),
    F(YV12, YUV420P, YUV420P, 0, 2, 1, false, false),
    F(P010, P010LE, YUV420P10LE, 0, 1, 2, false, false),
    F(P012, P016LE, YUV420P16LE, 0, 1, 2, false, false),
    F(YUY2, YUYV422, YUV422P, 0, 1, 2, false, false),
    F(UYVY, UYVY422, YUV422P, 0, 1, 2, false, false),
    F(422H, YUV422P, YUV422P, 0, 1, 2, false, false),
    F(444P, YUV444P, YUV444P, 0, 1, 2, false, false),
    F(AYUV, NONE, YUV444P, 0, 1, 2, false, false),
    F(XYUV, NONE, YUV444P, 0, 1, 2, false, false),
    F(Y210, NONE, YUV422P10LE, 0, 1, 2, false, false),
    F(Y410, NONE, YUV444P10LE, 0, 1, 2, false, false),
    F(Y212, NONE, YUV422P16LE, 0, 1, 2, false, false),
    F(Y412, NONE, YUV444P16LE, 0, 1, 2, false, false),
    F(Y800, GRAY8, YUV420P, 0, 1, 2, false, false),
    F(BGRA, BGRA, YUV444P, 0, 1, 2, true, true),
    F(BGRX, BGR0, YUV444P, 0, 1, 2, true, false),
    F(RGBA, RGBA, YUV444P, 0, 1, 2, true, true),
    F(RGBX, RGB0, YUV444P, 0, 1, 2, true, false),
    F(ARGB, ARGB, YUV444P, 0, 1, 2, true, true),
    F(XRGB, 0RGB, YUV444P, 0, 1, 2, true, false),
    /* VA's order is R, G, B. */
    F(RGBP, GBRP, YUV444P, 1, 2, 0, true, false),
    F(I010, YUV420P10LE, YUV420P10LE, 0, 1, 2, false, false),
};

#define FORMATS (sizeof(vpp_formats_table) / sizeof(vpp_formats_table[0]))

const struct vpp_format *vpp_format_find(uint32_t fourcc)
{
    for (size_t i = 0; i < FORMATS; i++) {
        if (vpp_formats_table[i].fourcc == fourcc)
            return &vpp_formats_table[i];
    }
    return NULL;
}

const struct vpp_format *vpp_format_at(unsigned index)
{
    return index < FORMATS ? &vpp_formats_table[index] : NULL;
}

bool vpp_format_loose(const struct vpp_format *format)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(format->direct);

    return desc && desc->comp[0].depth > 8 && desc->comp[0].depth + desc->comp[0].shift < 16;
}

int vpp_format_bits(enum AVPixelFormat format)
{
    return av_pix_fmt_desc_get(format)->comp[0].depth;
}

int vpp_format_shift_w(enum AVPixelFormat format)
{
    return av_pix_fmt_desc_get(format)->log2_chroma_w;
}

int vpp_format_shift_h(enum AVPixelFormat format)
{
    return av_pix_fmt_desc_get(format)->log2_chroma_h;
}

bool vpp_format_rgb(enum AVPixelFormat format)
{
    return av_pix_fmt_desc_get(format)->flags & AV_PIX_FMT_FLAG_RGB;
}

bool vpp_format_planar(enum AVPixelFormat format)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(format);

    return av_pix_fmt_count_planes(format) == desc->nb_components;
}
