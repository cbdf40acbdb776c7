/* SPDX-License-Identifier: MIT */
#include "vpp_blend.h"

#include <libavutil/pixdesc.h>
#include <math.h>
#include <string.h>

#include "vpp_blend_rows.h"
#include "vpp_slices.h"

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

/* Cells, samples of the target, that are worked on at a time. */
#define CELLS 256
/* Rows of pixels of one part of the work. */
#define PART_ROWS 32

/* Pixels of the target that the layer covers, and where it begins. */
struct blend {
    const struct vpp_plan *plan;
    const AVFrame *layer, *target;
    int x, y;              /* of the layer */
    int x0, y0, x1, y1;    /* of the visible part, in the target */
    float most;            /* alpha that hides all */
    const uint8_t *opaque; /* a row of it */
};

/* Some components of the target with their source. */
struct blend_pair {
    struct component from, alpha, to;
    int black;
    bool constant; /* all of `from` is opaque */
};

/*
 * `n` samples of a row of the target from sample `cx` on, whose first pixel is x and which have
 * `pixels` pixels each, from rows ya to yb of the layer.
 */
static void blend_cells(const struct blend *b, const struct blend_pair *pair, int cx, int cy, int n,
                        int x, int pixels, int ya, int yb)
{
    const struct component *to = &pair->to;
    const int left_w = b->target->width - (cx << to->shift_w);
    const int left_h = b->target->height - (cy << to->shift_h);
    /* Beyond the target there are no pixels that share its chroma. */
    const int columns = left_w < 1 << to->shift_w ? left_w : 1 << to->shift_w;
    const int rows = left_h < 1 << to->shift_h ? left_h : 1 << to->shift_h;
    const bool weigh = !b->plan->premultiplied;
    const ptrdiff_t step = pair->alpha.step;
    float alphas[CELLS], values[CELLS];
    bool any = false;

    for (int done = 0; done < n; done += CELLS) {
        const int count = n - done < CELLS ? n - done : CELLS;
        const struct blend_target target = {
            .first = to->first + cy * to->linesize + (ptrdiff_t)(cx + done) * to->step,
            .step = to->step,
            .shift = to->shift,
            .bits = to->bits,
            .wide = to->wide,
            .black = weigh ? 0 : pair->black,
            .scale = b->plan->alpha / (b->most * (float)(columns * rows)),
        };

        memset(alphas, 0, (size_t)count * sizeof(*alphas));
        memset(values, 0, (size_t)count * sizeof(*values));
        for (int y = ya; y < yb; y++) {
            const ptrdiff_t at = (x - b->x + (ptrdiff_t)done * pixels) * step;
            const struct blend_source source = {
                .alpha = b->plan->pixel_alpha
                             ? pair->alpha.first + (y - b->y) * pair->alpha.linesize + at
                             : b->opaque,
                .value = pair->constant ? b->opaque
                                        : pair->from.first + (y - b->y) * pair->from.linesize + at,
                .step = (int)step,
                .wide = pair->alpha.wide,
                .weigh = weigh,
                .black = pair->black,
                .most = b->most,
                .pixels = pixels,
            };

            vpp_blend_rows()->add(alphas, values, &source, (size_t)count);
        }
        /* Most of a picture of subtitles is nothing. */
        for (int i = 0; i < count && !any; i++)
            any = alphas[i] != 0 || values[i] != 0;
        if (any)
            vpp_blend_rows()->apply(&target, alphas, values, (size_t)count);
        any = false;
    }
}

static void blend_row(const struct blend *b, const struct blend_pair *pair, int cy)
{
    const int shift_w = pair->to.shift_w, shift_h = pair->to.shift_h;
    const int top = cy << shift_h, bottom = (cy + 1) << shift_h;
    const int ya = top < b->y0 ? b->y0 : top, yb = bottom > b->y1 ? b->y1 : bottom;
    int x0 = b->x0, x1 = b->x1;

    /* Samples of chroma at the ends that are covered by half. */
    if (shift_w && x0 % 2) {
        blend_cells(b, pair, x0 / 2, cy, 1, x0, 1, ya, yb);
        x0++;
    }
    if (shift_w && x1 % 2 && x1 > x0) {
        x1--;
        blend_cells(b, pair, x1 / 2, cy, 1, x1, 1, ya, yb);
    }
    if (x1 > x0)
        blend_cells(b, pair, x0 >> shift_w, cy, (x1 - x0) >> shift_w, x0, 1 << shift_w, ya, yb);
}

static void blend_part(void *argument, int part, int worker)
{
    const struct blend *b = argument;
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(b->target->format);
    const bool rgb = vpp_format_rgb(b->target->format);
    const int bits = vpp_format_bits(b->layer->format);
    const int first = part * PART_ROWS > b->y0 ? part * PART_ROWS : b->y0;
    const int last = (part + 1) * PART_ROWS < b->y1 ? (part + 1) * PART_ROWS : b->y1;

    (void)worker;
    for (int i = 0; i < desc->nb_components && first < last; i++) {
        struct blend_pair pair = {
            .from = component_of(b->layer, i),
            .alpha = component_of(b->layer, 3),
            .to = component_of(b->target, i),
            /* Alpha itself comes nearer to opaque. */
            .constant = i == 3 && !b->plan->premultiplied,
        };

        if (!rgb && i < 3)
            pair.black = i ? 1 << (bits - 1) : b->plan->to_color.full_range ? 0 : 16 << (bits - 8);
        for (int cy = first >> pair.to.shift_h; cy <= (last - 1) >> pair.to.shift_h; cy++)
            blend_row(b, &pair, cy);
    }
}

void vpp_blend_draw(struct vpp *vpp, const struct vpp_plan *plan, const AVFrame *layer,
                    const AVFrame *target, int x, int y)
{
    const int bits = vpp_format_bits(layer->format);
    /* Of bytes or of words, and for any step. */
    uint16_t opaque[CELLS * 4];
    struct blend b = {
        .plan = plan,
        .layer = layer,
        .target = target,
        .x = x,
        .y = y,
        .x0 = x < 0 ? 0 : x,
        .y0 = y < 0 ? 0 : y,
        .x1 = x + layer->width > target->width ? target->width : x + layer->width,
        .y1 = y + layer->height > target->height ? target->height : y + layer->height,
        .most = (float)((1 << bits) - 1),
        .opaque = (const uint8_t *)opaque,
    };

    if (b.x0 >= b.x1 || b.y0 >= b.y1)
        return;
    for (size_t i = 0; i < sizeof(opaque) / sizeof(opaque[0]); i++)
        opaque[i] = bits > 8 ? (uint16_t)((1 << bits) - 1) : 0xffff;
    vpp_slices_run(vpp->slices, blend_part, &b, (b.y1 + PART_ROWS - 1) / PART_ROWS);
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
