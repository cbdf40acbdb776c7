/* SPDX-License-Identifier: MIT */
#include "vpp_color.h"

#include <math.h>
#include <stddef.h>
#include <string.h>
#include <va/va.h>
#include <va/va_vpp.h>

enum { PQ = 16, HLG = 18, SRGB = 13 };

/* VAProcColorStandardType in numbers, from the comments of va_vpp.h. */
static const struct {
    uint32_t standard;
    int primaries, transfer, matrix;
} standards[] = {
    {VAProcColorStandardBT601, 6, 6, 6},     {VAProcColorStandardBT709, 1, 1, 1},
    {VAProcColorStandardBT470BG, 5, 6, 5},   {VAProcColorStandardSMPTE170M, 6, 6, 6},
    {VAProcColorStandardSMPTE240M, 7, 7, 7}, {VAProcColorStandardSRGB, 1, 13, 0},
    {VAProcColorStandardBT2020, 9, 14, 9},
};

void vpp_color_read(uint32_t standard, const uint32_t *properties, bool rgb,
                    struct vpp_color *ret_color)
{
    struct vpp_color color = {2, 2, 2, rgb, VPP_COLOR_ANYWHERE, VPP_COLOR_ANYWHERE};
    uint32_t siting = properties[0];

    for (size_t i = 0; i < sizeof(standards) / sizeof(standards[0]); i++) {
        if (standards[i].standard != standard)
            continue;
        color.primaries = standards[i].primaries;
        color.transfer = standards[i].transfer;
        color.matrix = standards[i].matrix;
    }
    if (standard == VAProcColorStandardExplicit) {
        color.primaries = properties[2] < 256 && properties[2] ? (int)properties[2] : 2;
        color.transfer = properties[3] < 256 && properties[3] ? (int)properties[3] : 2;
        color.matrix = properties[4] < 256 && properties[4] ? (int)properties[4] : 2;
    }
    /* A matrix of 0 is RGB; in surfaces of YUV it can only be a mistake. */
    if (rgb || !color.matrix)
        color.matrix = VPP_COLOR_UNSPECIFIED;
    /* Two names of one thing each. */
    if (color.matrix == 5)
        color.matrix = 6;
    if (color.primaries == 7)
        color.primaries = 6;
    if (!rgb && properties[1] == VA_SOURCE_RANGE_FULL)
        color.full_range = true;
    if (siting & 0xc)
        color.chroma_x = siting & VA_CHROMA_SITING_HORIZONTAL_LEFT ? 0 : 128;
    if (siting & 3)
        color.chroma_y = (siting & 3) == VA_CHROMA_SITING_VERTICAL_TOP      ? 0
                         : (siting & 3) == VA_CHROMA_SITING_VERTICAL_CENTER ? 128
                                                                            : 256;
    *ret_color = color;
}

static void agree(int *a, int *b, int otherwise)
{
    if (*a == VPP_COLOR_UNSPECIFIED)
        *a = *b;
    if (*b == VPP_COLOR_UNSPECIFIED)
        *b = *a;
    if (*a == VPP_COLOR_UNSPECIFIED)
        *a = *b = otherwise;
}

/* BT.601, 709 and 2020 have the same curve, and what is unspecified is taken for it. */
static bool is_video_curve(int transfer)
{
    return transfer == 1 || transfer == 2 || transfer == 6 || transfer == 14 || transfer == 15;
}

void vpp_color_agree(struct vpp_color *from, bool from_rgb, struct vpp_color *to, bool to_rgb)
{
    if (from_rgb != to_rgb) {
        struct vpp_color *rgb = from_rgb ? from : to, *yuv = from_rgb ? to : from;

        if (yuv->matrix == VPP_COLOR_UNSPECIFIED)
            yuv->matrix = 6;
        rgb->matrix = yuv->matrix;
        /* sRGB for video shows the signal as it is, as players do. */
        if (is_video_curve(yuv->transfer) &&
            (rgb->transfer == SRGB || is_video_curve(rgb->transfer)))
            rgb->transfer = yuv->transfer;
        if (rgb->primaries == 1 && (yuv->primaries == 5 || yuv->primaries == 6))
            rgb->primaries = yuv->primaries;
    }
    agree(&from->matrix, &to->matrix, 6);
    agree(&from->primaries, &to->primaries, VPP_COLOR_UNSPECIFIED);
    agree(&from->transfer, &to->transfer, VPP_COLOR_UNSPECIFIED);
}

bool vpp_color_light(const struct vpp_color *from, const struct vpp_color *to)
{
    if (from->primaries != to->primaries) {
        bool known = from->primaries != 2 && to->primaries != 2;
        /*
         * The gamuts of BT.601 are so near to that of BT.709 that drivers convert the matrix
         * alone.
         */
        bool near = (from->primaries == 1 || (from->primaries >= 5 && from->primaries <= 7)) &&
                    (to->primaries == 1 || (to->primaries >= 5 && to->primaries <= 7));

        if (known && !near)
            return true;
    }
    if (from->transfer == to->transfer ||
        (is_video_curve(from->transfer) && is_video_curve(to->transfer)))
        return false;
    return true;
}

struct vpp_color_weights vpp_color_weights(int matrix)
{
    switch (matrix) {
    case 1:
        return (struct vpp_color_weights){0.2126, 0.0722};
    case 4:
        return (struct vpp_color_weights){0.30, 0.11};
    case 7:
        return (struct vpp_color_weights){0.212, 0.087};
    case 9:
        return (struct vpp_color_weights){0.2627, 0.0593};
    default:
        return (struct vpp_color_weights){0.299, 0.114};
    }
}

static void invert(const double m[3][3], double ret[3][3])
{
    double det = 0;

    for (int i = 0; i < 3; i++)
        det += m[0][i] *
               (m[1][(i + 1) % 3] * m[2][(i + 2) % 3] - m[1][(i + 2) % 3] * m[2][(i + 1) % 3]);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++)
            ret[j][i] = (m[(i + 1) % 3][(j + 1) % 3] * m[(i + 2) % 3][(j + 2) % 3] -
                         m[(i + 1) % 3][(j + 2) % 3] * m[(i + 2) % 3][(j + 1) % 3]) /
                        det;
    }
}

/* Linear RGB to XYZ. All that are known have D65 for white. */
static void to_xyz(int primaries, double ret[3][3])
{
    static const double chromaticities[][6] = {
        {0.640, 0.330, 0.300, 0.600, 0.150, 0.060}, /* BT.709 */
        {0.640, 0.330, 0.290, 0.600, 0.150, 0.060}, /* BT.470 B, G */
        {0.630, 0.340, 0.310, 0.595, 0.155, 0.070}, /* SMPTE 170M, 240M */
        {0.708, 0.292, 0.170, 0.797, 0.131, 0.046}, /* BT.2020 */
        {0.680, 0.320, 0.265, 0.690, 0.150, 0.060}, /* Display P3 */
    };
    static const double white[3] = {0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290};
    const double *c = chromaticities[primaries == 5                     ? 1
                                     : primaries == 6 || primaries == 7 ? 2
                                     : primaries == 9                   ? 3
                                     : primaries == 12                  ? 4
                                                                        : 0];
    double columns[3][3], inverse[3][3];

    for (int i = 0; i < 3; i++) {
        double x = c[2 * i], y = c[2 * i + 1];

        columns[0][i] = x / y;
        columns[1][i] = 1;
        columns[2][i] = (1 - x - y) / y;
    }
    invert((const double(*)[3])columns, inverse);
    for (int i = 0; i < 3; i++) {
        double scale = 0;

        for (int j = 0; j < 3; j++)
            scale += inverse[i][j] * white[j];
        for (int j = 0; j < 3; j++)
            ret[j][i] = columns[j][i] * scale;
    }
}

void vpp_color_gamut(int from, int to, double ret_matrix[3][3])
{
    double a[3][3], b[3][3], inverse[3][3];

    to_xyz(from, a);
    to_xyz(to, b);
    invert((const double(*)[3])b, inverse);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            ret_matrix[i][j] = 0;
            for (int k = 0; k < 3; k++)
                ret_matrix[i][j] += inverse[i][k] * a[k][j];
        }
    }
}

bool vpp_color_matrix_known(int matrix)
{
    return matrix == 1 || matrix == 4 || matrix == 6 || matrix == 7 || matrix == 9;
}

bool vpp_color_light_known(const struct vpp_color *color)
{
    const int p = color->primaries, t = color->transfer;

    return (is_video_curve(t) || t == 4 || t == 5 || t == 7 || t == 8 || t == SRGB || t == PQ ||
            t == HLG) &&
           (p == 1 || p == 2 || p == 5 || p == 6 || p == 9 || p == 12);
}

/* Constants of SMPTE ST 2084 and of BT.2100. */
#define PQ_M1 0.1593017578125
#define PQ_M2 78.84375
#define PQ_C1 0.8359375
#define PQ_C2 18.8515625
#define PQ_C3 18.6875
#define HLG_A 0.17883277
#define HLG_B 0.28466892
#define HLG_C 0.55991073

double vpp_color_to_light(int transfer, double signal)
{
    double x = signal, p;

    switch (transfer) {
    case PQ:
        p = pow(x > 0 ? x : 0, 1 / PQ_M2);
        return 100 * pow((p > PQ_C1 ? p - PQ_C1 : 0) / (PQ_C2 - PQ_C3 * p), 1 / PQ_M1);
    case HLG:
        x = x > 0 ? x : 0;
        return x <= 0.5 ? x * x / 3 : (exp((x - HLG_C) / HLG_A) + HLG_B) / 12;
    case SRGB:
        return x <= 0.04045 ? x / 12.92 : pow((x + 0.055) / 1.055, 2.4);
    case 4:
        return x > 0 ? pow(x, 2.2) : 0;
    case 5:
        return x > 0 ? pow(x, 2.8) : 0;
    case 8:
        return x;
    default:
        return x > 0 ? pow(x, 2.4) : 0;
    }
}

double vpp_color_to_signal(int transfer, double light)
{
    double x = light, p;

    switch (transfer) {
    case PQ:
        p = pow(x > 0 ? x / 100 : 0, PQ_M1);
        return pow((PQ_C1 + PQ_C2 * p) / (1 + PQ_C3 * p), PQ_M2);
    case HLG:
        x = x > 0 ? x : 0;
        return x <= 1.0 / 12 ? sqrt(3 * x) : HLG_A * log(12 * x - HLG_B) + HLG_C;
    case SRGB:
        return x <= 0.0031308 ? x * 12.92 : 1.055 * pow(x, 1 / 2.4) - 0.055;
    case 4:
        return x > 0 ? pow(x, 1 / 2.2) : 0;
    case 5:
        return x > 0 ? pow(x, 1 / 2.8) : 0;
    case 8:
        return x;
    default:
        return x > 0 ? pow(x, 1 / 2.4) : 0;
    }
}
