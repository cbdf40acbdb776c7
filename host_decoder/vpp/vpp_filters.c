/* SPDX-License-Identifier: MIT */
#include "vpp_filters.h"

#include <libavutil/pixdesc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "vpp_graph.h"
#include "vpp_input.h"
#include "vpp_rows.h"

/*
 * Half of the range of noise reduction is hqdn3d with its own defaults (4, 3, 6, 4.5), and of
 * sharpening, 44, which is the default, is unsharp's own amount of 1.
 */
#define DENOISE_DEFAULT 32.0
#define SHARPEN_DEFAULT 44.0

#define PI 3.14159265358979323846

int vpp_filters_denoise(struct vpp *vpp, const struct vpp_plan *plan, AVFrame *from,
                        AVFrame **ret_frame)
{
    double strength = (double)plan->denoise / DENOISE_DEFAULT;
    char text[96];

    snprintf(text, sizeof(text), "hqdn3d=%.4f:%.4f:%.4f:%.4f", 4 * strength, 3 * strength,
             6 * strength, 4.5 * strength);
    return vpp_graph_run(vpp, text, from, plan->stream, ret_frame);
}

int vpp_filters_sharpen(struct vpp *vpp, const struct vpp_plan *plan, AVFrame *from,
                        AVFrame **ret_frame)
{
    char text[64];

    snprintf(text, sizeof(text), "unsharp=5:5:%.4f:5:5:0", (double)plan->sharpen / SHARPEN_DEFAULT);
    return vpp_graph_run(vpp, text, from, plan->stream, ret_frame);
}

static uint8_t *row_of(const AVFrame *frame, int plane, int y)
{
    return frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane];
}

/* What luma becomes; kept while nothing changes. */
struct vpp_levels {
    float brightness, contrast;
    int bits;
    bool full_range;
    uint16_t table[1 << 16];
};

/* Contrast is around black, as graphics processors have it; brightness in steps of 8 bits. */
static int levels_get(struct vpp *vpp, const struct vpp_balance *balance, int bits, bool full_range,
                      const uint16_t **ret_table)
{
    const int most = (1 << bits) - 1;
    const double unit = (double)(1 << (bits - 8)), black = full_range ? 0 : 16 * unit;
    struct vpp_levels *levels = vpp->levels;

    if (!levels) {
        levels = vpp->levels = calloc(1, sizeof(*levels));
        if (!levels)
            return VD_ERR_MEMORY;
    }
    *ret_table = levels->table;
    if (levels->bits == bits && levels->full_range == full_range &&
        levels->brightness == balance->brightness && levels->contrast == balance->contrast)
        return 0;
    levels->bits = bits;
    levels->full_range = full_range;
    levels->brightness = balance->brightness;
    levels->contrast = balance->contrast;
    for (int i = 0; i <= most; i++) {
        double value =
            (i - black) * (double)balance->contrast + black + (double)balance->brightness * unit;

        levels->table[i] = (uint16_t)(value < 0 ? 0 : value > most ? most : lrint(value));
    }
    return 0;
}

static int balance_luma(struct vpp *vpp, const struct vpp_balance *balance, bool full_range,
                        AVFrame *from, AVFrame *to)
{
    const int bits = vpp_format_bits(from->format);
    const uint16_t *table;
    int err = levels_get(vpp, balance, bits, full_range, &table);

    for (int y = 0; !err && y < from->height; y++) {
        if (bits > 8)
            vpp_rows()->look16(row_of(to, 0, y), row_of(from, 0, y), (size_t)from->width, table,
                               (1 << bits) - 1);
        else
            vpp_rows()->look8(row_of(to, 0, y), row_of(from, 0, y), (size_t)from->width, table);
    }
    return err;
}

void vpp_filters_finish(struct vpp *vpp)
{
    free(vpp->levels);
    vpp->levels = NULL;
}

static void balance_chroma(const struct vpp_balance *balance, AVFrame *from, AVFrame *to)
{
    const double angle = (double)balance->hue * PI / 180, gain = (double)balance->saturation;
    const int32_t c = (int32_t)lrint(cos(angle) * gain * (1 << 14));
    const int32_t s = (int32_t)lrint(sin(angle) * gain * (1 << 14));
    const int32_t matrix[4] = {c, -s, s, c};
    const int bits = vpp_format_bits(from->format);
    const size_t n = (size_t)AV_CEIL_RSHIFT(from->width, vpp_format_shift_w(from->format));

    for (int y = 0; y < vpp_frame_rows(from, 1); y++) {
        if (bits > 8)
            vpp_rows()->turn16(row_of(to, 1, y), row_of(to, 2, y), row_of(from, 1, y),
                               row_of(from, 2, y), n, matrix, bits);
        else
            vpp_rows()->turn8(row_of(to, 1, y), row_of(to, 2, y), row_of(from, 1, y),
                              row_of(from, 2, y), n, matrix);
    }
}

int vpp_filters_balance(struct vpp *vpp, const struct vpp_plan *plan, bool full_range,
                        AVFrame *from, AVFrame **ret_frame)
{
    const struct vpp_balance *balance = &plan->balance;
    AVFrame *to =
        vpp_frame_scratch(vpp, VPP_SCRATCH_BALANCE, from->format, from->width, from->height);
    int err = 0;

    if (!to)
        return VD_ERR_MEMORY;
    if (balance->brightness != 0 || balance->contrast != 1)
        err = balance_luma(vpp, balance, full_range, from, to);
    else
        vpp_frame_copy_plane(to, from, 0);
    if (from->data[1] && (balance->hue != 0 || balance->saturation != 1)) {
        balance_chroma(balance, from, to);
    } else if (from->data[1]) {
        vpp_frame_copy_plane(to, from, 1);
        vpp_frame_copy_plane(to, from, 2);
    }
    *ret_frame = to;
    return err;
}

int vpp_filters_turn(struct vpp *vpp, const struct vpp_plan *plan, AVFrame *from,
                     AVFrame **ret_frame)
{
    const bool subsampled = vpp_format_shift_w(from->format) != vpp_format_shift_h(from->format);
    enum AVPixelFormat format = from->format;
    char text[64];
    int err;

    /* Chroma of 4:2:2 has no place when turned; pairs of pixels cannot be mirrored. */
    if (plan->transpose && subsampled)
        format = vpp_format_bits(format) > 8 ? AV_PIX_FMT_YUV444P10LE : AV_PIX_FMT_YUV444P;
    else if (subsampled && !from->data[1])
        format = AV_PIX_FMT_YUV422P;
    err = vpp_input_frame_planes(vpp, VPP_SCRATCH_TURN, from, format, &plan->from_color, &from);
    if (err)
        return err;
    if (plan->transpose)
        /* 0: x and y change places, 1: and left and right do, 2: and top and bottom do */
        snprintf(text, sizeof(text), "transpose=dir=%d", plan->flip_x | plan->flip_y << 1);
    else
        snprintf(text, sizeof(text), "%s%s%s", plan->flip_x ? "hflip" : "",
                 plan->flip_x && plan->flip_y ? "," : "", plan->flip_y ? "vflip" : "");
    return vpp_graph_run(vpp, text, from, plan->stream, ret_frame);
}
