/* SPDX-License-Identifier: MIT */
#include "vpp_blend.h"

#include <libavutil/pixdesc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Any sample of a frame that FFmpeg knows. Samples are bytes or little endian words. */
struct component {
    uint8_t *first;
    ptrdiff_t linesize;
    int step, shift, bits, shift_w, shift_h;
    bool wide;
};

static struct component component_of(const AVFrame *frame, int which)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(frame->format);
    const AVComponentDescriptor *comp = &desc->comp[which];
    const bool chroma = !(desc->flags & AV_PIX_FMT_FLAG_RGB) && (which == 1 || which == 2);

    return (struct component){
        .first = frame->data[comp->plane] + comp->offset,
        .linesize = frame->linesize[comp->plane],
        .step = comp->step,
        .shift = comp->shift,
        .bits = comp->depth,
        .shift_w = chroma ? desc->log2_chroma_w : 0,
        .shift_h = chroma ? desc->log2_chroma_h : 0,
        .wide = comp->depth > 8,
    };
}

static inline int sample_get(const struct component *c, const uint8_t *at)
{
    uint16_t word;

    if (!c->wide)
        return *at;
    memcpy(&word, at, 2);
    return word >> c->shift;
}

static inline void sample_put(const struct component *c, uint8_t *at, int value)
{
    uint16_t word = (uint16_t)(value << c->shift);

    if (c->wide)
        memcpy(at, &word, 2);
    else
        *at = (uint8_t)value;
}

enum AVPixelFormat vpp_blend_layer(enum AVPixelFormat target)
{
    int bits;

    switch (target) {
    case AV_PIX_FMT_BGRA:
    case AV_PIX_FMT_BGR0:
        return AV_PIX_FMT_BGRA;
    case AV_PIX_FMT_RGBA:
    case AV_PIX_FMT_RGB0:
        return AV_PIX_FMT_RGBA;
    case AV_PIX_FMT_ARGB:
    case AV_PIX_FMT_0RGB:
        return AV_PIX_FMT_ARGB;
    case AV_PIX_FMT_GBRP:
        return AV_PIX_FMT_GBRAP;
    default:
        bits = vpp_format_bits(target);
        return bits > 10  ? AV_PIX_FMT_YUVA444P16LE
               : bits > 8 ? AV_PIX_FMT_YUVA444P10LE
                          : AV_PIX_FMT_YUVA444P;
    }
}

/* Pixels of the target that the layer covers, and where it begins. */
struct blend {
    const struct vpp_plan *plan;
    const AVFrame *target;
    struct component alpha;
    int x, y;           /* of the layer */
    int x0, y0, x1, y1; /* of the visible part, in the target */
    float most_alpha;
    bool opaque;
};

/*
 * One sample of the target from all pixels of the layer that lie over it. Without premultiplied
 * alpha: target + sum(alpha * (layer - target)) / n; with: target + sum(layer - black - alpha *
 * (target - black)) / n.
 */
static void blend_component(const struct blend *b, const struct component *from,
                            const struct component *to, int black)
{
    const int bw = 1 << to->shift_w, bh = 1 << to->shift_h;
    const int cx0 = b->x0 >> to->shift_w, cx1 = (b->x1 - 1) >> to->shift_w;
    const int cy0 = b->y0 >> to->shift_h, cy1 = (b->y1 - 1) >> to->shift_h;
    const int most = (1 << to->bits) - 1;

    for (int cy = cy0; cy <= cy1; cy++) {
        uint8_t *at = to->first + cy * to->linesize + (ptrdiff_t)cx0 * to->step;
        int ya = cy << to->shift_h < b->y0 ? b->y0 : cy << to->shift_h;
        int yb = (cy << to->shift_h) + bh > b->y1 ? b->y1 : (cy << to->shift_h) + bh;
        /* Below and right of the target there are no pixels for chroma to share. */
        int rows = (cy << to->shift_h) + bh > b->target->height
                       ? b->target->height - (cy << to->shift_h)
                       : bh;

        for (int cx = cx0; cx <= cx1; cx++, at += to->step) {
            int xa = cx << to->shift_w < b->x0 ? b->x0 : cx << to->shift_w;
            int xb = (cx << to->shift_w) + bw > b->x1 ? b->x1 : (cx << to->shift_w) + bw;
            int columns = (cx << to->shift_w) + bw > b->target->width
                              ? b->target->width - (cx << to->shift_w)
                              : bw;
            float alphas = 0, values = 0;
            int old = sample_get(to, at), new;

            for (int y = ya; y < yb; y++) {
                const uint8_t *alpha = b->alpha.first + (y - b->y) * b->alpha.linesize +
                                       (ptrdiff_t)(xa - b->x) * b->alpha.step;
                const uint8_t *value =
                    from->first + (y - b->y) * from->linesize + (ptrdiff_t)(xa - b->x) * from->step;

                for (int x = xa; x < xb; x++, alpha += b->alpha.step, value += from->step) {
                    float a = b->opaque ? b->most_alpha : (float)sample_get(&b->alpha, alpha);

                    alphas += a;
                    if (b->plan->premultiplied)
                        values += (float)(sample_get(from, value) - black) * b->most_alpha;
                    else if (a > 0)
                        values += a * (float)sample_get(from, value);
                }
            }
            if (alphas <= 0 && values == 0)
                continue;
            if (b->plan->premultiplied)
                values -= alphas * (float)(old - black);
            else
                values -= alphas * (float)old;
            /* A little more than a half: floats round exact halves down now and then. */
            new = (int)floorf((float)old +
                              values * b->plan->alpha / (b->most_alpha * (float)(columns * rows)) +
                              0.50003f);
            sample_put(to, at, new < 0 ? 0 : new > most ? most : new);
        }
    }
}

void vpp_blend_draw(const struct vpp_plan *plan, const AVFrame *layer, const AVFrame *target, int x,
                    int y)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(target->format);
    const bool rgb = vpp_format_rgb(target->format);
    struct blend b = {
        .plan = plan,
        .target = target,
        .alpha = component_of(layer, 3),
        .x = x,
        .y = y,
        .x0 = x < 0 ? 0 : x,
        .y0 = y < 0 ? 0 : y,
        .x1 = x + layer->width > target->width ? target->width : x + layer->width,
        .y1 = y + layer->height > target->height ? target->height : y + layer->height,
        .opaque = !plan->pixel_alpha,
    };
    const int bits = vpp_format_bits(layer->format);
    uint16_t opaque = (uint16_t)((1 << bits) - 1);

    if (b.x0 >= b.x1 || b.y0 >= b.y1)
        return;
    b.most_alpha = (float)((1 << bits) - 1);
    for (int i = 0; i < desc->nb_components; i++) {
        struct component from = component_of(layer, i), to = component_of(target, i);
        int black = rgb                         ? 0
                    : i                         ? 1 << (bits - 1)
                    : plan->to_color.full_range ? 0
                                                : 16 << (bits - 8);

        /* Alpha itself comes nearer to opaque. */
        if (i == 3) {
            black = 0;
            if (!plan->premultiplied)
                from = (struct component){.first = (uint8_t *)&opaque, .wide = bits > 8};
        }
        blend_component(&b, &from, &to, black);
    }
}

static void fill_component(const AVFrame *target, int which, int value)
{
    const struct component c = component_of(target, which);
    const int width = AV_CEIL_RSHIFT(target->width, c.shift_w);
    const int height = AV_CEIL_RSHIFT(target->height, c.shift_h);

    for (int y = 0; y < height; y++) {
        uint8_t *row = c.first + y * c.linesize;

        if (!c.wide && c.step == 1) {
            memset(row, value, (size_t)width);
            continue;
        }
        for (int x = 0; x < width; x++)
            sample_put(&c, row + (ptrdiff_t)x * c.step, value);
    }
}

static int in_range(double value, int bits)
{
    int most = (1 << bits) - 1, code = (int)lrint(value);

    return code < 0 ? 0 : code > most ? most : code;
}

void vpp_blend_fill(const AVFrame *target, const struct vpp_color *color, uint32_t argb)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(target->format);
    const double rgb[3] = {(argb >> 16 & 255) / 255.0, (argb >> 8 & 255) / 255.0,
                           (argb & 255) / 255.0};
    const int bits = vpp_format_bits(target->format);
    const double unit = (double)(1 << (bits - 8)), most = (double)((1 << bits) - 1);
    int codes[4] = {0, 0, 0, in_range((argb >> 24) / 255.0 * most, bits)};

    if (vpp_format_rgb(target->format)) {
        for (int i = 0; i < 3; i++)
            codes[i] = in_range(rgb[i] * most, bits);
    } else {
        struct vpp_color_weights w = vpp_color_weights(color->matrix);
        double luma = w.red * rgb[0] + (1 - w.red - w.blue) * rgb[1] + w.blue * rgb[2];
        double u = (rgb[2] - luma) / (2 - 2 * w.blue), v = (rgb[0] - luma) / (2 - 2 * w.red);
        double luma_scale = color->full_range ? most : 219 * unit;
        double chroma_scale = color->full_range ? most : 224 * unit;

        codes[0] = in_range(luma * luma_scale + (color->full_range ? 0 : 16 * unit), bits);
        codes[1] = in_range(u * chroma_scale + 128 * unit, bits);
        codes[2] = in_range(v * chroma_scale + 128 * unit, bits);
    }
    for (int i = 0; i < desc->nb_components; i++)
        fill_component(target, i, codes[i]);
}
