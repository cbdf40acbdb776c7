/* SPDX-License-Identifier: MIT */
#include "vpp_lut.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "vpp_lut_rows.h"
#include "vpp_slices.h"

enum { PQ = 16, HLG = 18 };

/* Rows of luma that are worked on at a time: whole rows of chroma. */
#define PART_ROWS 32
/* Rows of 16 bits that a worker needs: luma, chroma above and at, two results. */
#define WORKER_ROWS 6

/* Compared as bytes. */
struct lut_key {
    struct vpp_color from, to;
    double peak, to_peak;
    bool light;
    int from_bits, to_bits;
};

struct vpp_lut {
    struct lut_key key;
    uint64_t used;
    uint64_t table[3][LUT_WORDS]; /* see lut_place */
};

/* Luma weights of BT.2020, which FFmpeg's tonemap takes for all. */
static const double luma_2020[3] = {0.2627, 0.6780, 0.0593};

static double hable(double x)
{
    const double a = 0.15, b = 0.50, c = 0.10, d = 0.20, e = 0.02, f = 0.30;

    return (x * (x * a + b * c) + d * e) / (x * (x * a + b) + d * f) - e / f;
}

/*
 * FFmpeg's "tonemap=hable" with its own desaturation: what is much brighter than white loses
 * colour, then the brightest of the three decides how much all are dimmed.
 */
static void tone_map(double light[3], double peak)
{
    const double desaturate = 2, tiny = 1e-6;
    double luma = 0, most, mapped;

    for (int i = 0; i < 3; i++)
        luma += luma_2020[i] * light[i];
    if (luma > desaturate) {
        double over = (luma - desaturate) / luma;

        for (int i = 0; i < 3; i++)
            light[i] += (luma - light[i]) * over;
    }
    most = fmax(fmax(light[0], fmax(light[1], light[2])), tiny);
    mapped = hable(most) / hable(peak);
    for (int i = 0; i < 3; i++)
        light[i] *= mapped / most;
}

/*
 * For a display that shows less: the EETF of ITU-R BT.2390-10, 5.4.1, with black at 0. In PQ, what
 * is below the knee stays, and a Hermite spline brings the peak of the one to that of the other.
 * The brightest of the three decides how much all are dimmed, so hues stay.
 */
static void fit_display(double light[3], double peak, double to_peak)
{
    const double whole = vpp_color_to_signal(PQ, peak);
    const double most = vpp_color_to_signal(PQ, to_peak) / whole;
    const double knee = 1.5 * most - 0.5;
    double brightest = fmax(light[0], fmax(light[1], light[2]));
    double e = vpp_color_to_signal(PQ, brightest) / whole, t, gain;

    if (e <= knee || brightest <= 0)
        return;
    t = ((e > 1 ? 1 : e) - knee) / (1 - knee);
    e = (2 * t * t * t - 3 * t * t + 1) * knee + (t * t * t - 2 * t * t + t) * (1 - knee) +
        (-2 * t * t * t + 3 * t * t) * most;
    gain = vpp_color_to_light(PQ, e * whole) / brightest;
    for (int i = 0; i < 3; i++)
        light[i] *= gain;
}

/* HLG's system gamma for a display of 1000 cd/m2, there and back. */
static void hlg_display(double light[3], bool back)
{
    double luma = 0, gain;

    if (back) {
        for (int i = 0; i < 3; i++)
            light[i] /= 10;
    }
    for (int i = 0; i < 3; i++)
        luma += luma_2020[i] * light[i];
    gain = luma > 1e-9 ? pow(luma, back ? 1 / 1.2 - 1 : 0.2) : 0;
    for (int i = 0; i < 3; i++)
        light[i] *= gain * (back ? 1 : 10);
}

static void convert_light(const struct lut_key *key, double gamut[3][3], double rgb[3])
{
    double light[3], other[3];

    for (int i = 0; i < 3; i++) {
        double signal = rgb[i];

        if (key->from.transfer == PQ || key->from.transfer == HLG)
            signal = signal > 1 ? 1 : signal;
        light[i] = vpp_color_to_light(key->from.transfer, signal);
    }
    if (key->from.transfer == HLG)
        hlg_display(light, false);
    if (key->to_peak > 0)
        fit_display(light, key->peak, key->to_peak);
    else if (key->peak > 0)
        tone_map(light, key->peak);
    for (int i = 0; i < 3; i++)
        other[i] = gamut[i][0] * light[0] + gamut[i][1] * light[1] + gamut[i][2] * light[2];
    if (key->to.transfer == HLG)
        hlg_display(other, true);
    for (int i = 0; i < 3; i++)
        rgb[i] = vpp_color_to_signal(key->to.transfer, other[i]);
}

/* Codes of samples, as fractions of 2 to the number of their bits, to and from YUV around 0. */
static double code_scale(bool full_range, int bits, bool chroma)
{
    return full_range ? 1 - pow(2, -bits) : (chroma ? 224.0 : 219.0) / 256;
}

static void convert(const struct lut_key *key, double gamut[3][3], double yuv[3])
{
    const struct vpp_color_weights in = vpp_color_weights(key->from.matrix);
    const struct vpp_color_weights out = vpp_color_weights(key->to.matrix);
    const double in_black = key->from.full_range ? 0 : 16.0 / 256;
    const double out_black = key->to.full_range ? 0 : 16.0 / 256;
    double luma = (yuv[0] - in_black) / code_scale(key->from.full_range, key->from_bits, false);
    double u = (yuv[1] - 0.5) / code_scale(key->from.full_range, key->from_bits, true);
    double v = (yuv[2] - 0.5) / code_scale(key->from.full_range, key->from_bits, true);
    double rgb[3];

    rgb[0] = luma + 2 * (1 - in.red) * v;
    rgb[2] = luma + 2 * (1 - in.blue) * u;
    rgb[1] = (luma - in.red * rgb[0] - in.blue * rgb[2]) / (1 - in.red - in.blue);
    if (key->light)
        convert_light(key, gamut, rgb);
    luma = out.red * rgb[0] + (1 - out.red - out.blue) * rgb[1] + out.blue * rgb[2];
    u = (rgb[2] - luma) / (2 * (1 - out.blue));
    v = (rgb[0] - luma) / (2 * (1 - out.red));
    yuv[0] = luma * code_scale(key->to.full_range, key->to_bits, false) + out_black;
    yuv[1] = u * code_scale(key->to.full_range, key->to_bits, true) + 0.5;
    yuv[2] = v * code_scale(key->to.full_range, key->to_bits, true) + 0.5;
}

/* Values far outside get clipped, so that differences of neighbours fit into what loops have. */
static uint16_t entry(double value)
{
    double near = value < -1 ? -1 : value > 2 ? 2 : value;

    return (uint16_t)(int16_t)lrint(near * (1 << LUT_ONE));
}

/* Puts a value into all words that have it. */
static void place(uint64_t *table, int y, int u, uint64_t value)
{
    for (int i = 0; i < 4; i++) {
        const int at_y = y - i % 2, at_u = u - i / 2;

        if (at_y >= 0 && at_y < LUT_LUMA && at_u >= 0 && at_u < LUT_CHROMA)
            table[at_u * LUT_LUMA + at_y] |= value << 16 * i;
    }
}

static void fill(struct vpp_lut *lut)
{
    const struct lut_key *key = &lut->key;
    double gamut[3][3];

    vpp_color_gamut(key->from.primaries, key->to.primaries, gamut);
    memset(lut->table, 0, sizeof(lut->table));
    for (int v = 0; v <= LUT_CHROMA; v++) {
        for (int u = 0; u <= LUT_CHROMA; u++) {
            for (int y = 0; y <= LUT_LUMA; y++) {
                double yuv[3] = {(double)y / LUT_LUMA, (double)u / LUT_CHROMA,
                                 (double)v / LUT_CHROMA};

                convert(key, gamut, yuv);
                for (int i = 0; i < 3; i++)
                    place(lut->table[i] + (size_t)v * LUT_NEXT_V, y, u, entry(yuv[i]));
            }
        }
    }
}

static int lut_get(struct vpp *vpp, const struct lut_key *key, struct vpp_lut **ret_lut)
{
    struct vpp_lut *lut;
    int oldest = 0;

    for (int i = 0; i < VPP_LUTS; i++) {
        lut = vpp->luts[i];
        if (!lut) {
            oldest = i;
            break;
        }
        if (!memcmp(&lut->key, key, sizeof(*key))) {
            lut->used = ++vpp->clock;
            *ret_lut = lut;
            return 0;
        }
        if (lut->used < vpp->luts[oldest]->used)
            oldest = i;
    }
    lut = vpp->luts[oldest];
    if (!lut) {
        if (posix_memalign((void **)&lut, 64, sizeof(*lut)))
            return VD_ERR_MEMORY;
        vpp->luts[oldest] = lut;
    }
    lut->key = *key;
    lut->used = ++vpp->clock;
    fill(lut);
    *ret_lut = lut;
    return 0;
}

void vpp_lut_finish(struct vpp *vpp)
{
    for (int i = 0; i < VPP_LUTS; i++) {
        free(vpp->luts[i]);
        vpp->luts[i] = NULL;
    }
    free(vpp->lut_rows);
    vpp->lut_rows = NULL;
    vpp->lut_rows_size = 0;
}

struct job {
    const struct vpp_lut *lut;
    const AVFrame *from, *to;
    uint16_t *rows; /* WORKER_ROWS of `room` samples for each worker */
    size_t room;
    int from_bits, to_bits, shift_w, shift_h;
    bool top; /* chroma is at the lines of even luma */
};

static const uint8_t *from_row(const struct job *job, int plane, int y)
{
    return job->from->data[plane] + (ptrdiff_t)y * job->from->linesize[plane];
}

static uint8_t *to_row(const struct job *job, int plane, int y)
{
    return job->to->data[plane] + (ptrdiff_t)y * job->to->linesize[plane];
}

/* Chroma of one row of luma, for each pixel. */
static void spread_chroma(const struct job *job, int plane, int y, uint16_t *row, uint16_t *ret)
{
    const int rows = vpp_frame_rows(job->from, plane), at = y >> job->shift_h;
    const size_t n = ((size_t)job->from->width + (1u << job->shift_w) - 1) >> job->shift_w;
    int other = at, weight = 0; /* of the other row, in quarters */

    if (job->shift_h) {
        if (y % 2)
            other = at + 1 < rows ? at + 1 : at;
        else if (!job->top)
            other = at ? at - 1 : at;
        weight = !job->top ? 1 : y % 2 ? 2 : 0;
    }
    vpp_lut_rows()->mix(row, from_row(job, plane, at), from_row(job, plane, other), n, weight,
                        job->from_bits);
    if (job->shift_w)
        vpp_lut_rows()->spread(ret, row, n);
    else
        memcpy(ret, row, n * sizeof(*row));
}

/* Chroma of 4:2:0: where it lies, luma is the mean of two lines. */
static void convert_chroma(const struct job *job, int y, uint16_t *rows)
{
    uint16_t *luma = rows, *u = rows + job->room, *v = u + job->room, *mixed = v + job->room;
    const size_t n = ((size_t)job->from->width + (1u << job->shift_w) - 1) >> job->shift_w;
    int first = y << job->shift_h, second = first + job->shift_h;

    if (second >= job->from->height)
        second = first;
    vpp_lut_rows()->mix(mixed, from_row(job, 0, first), from_row(job, 0, second),
                        (size_t)job->from->width, first == second || job->top ? 0 : 2,
                        job->from_bits);
    if (job->shift_w)
        vpp_lut_rows()->thin(luma, mixed, n, (size_t)job->from->width);
    else
        memcpy(luma, mixed, n * sizeof(*luma));
    vpp_lut_rows()->mix(u, from_row(job, 1, y), from_row(job, 1, y), n, 0, job->from_bits);
    vpp_lut_rows()->mix(v, from_row(job, 2, y), from_row(job, 2, y), n, 0, job->from_bits);
    for (int i = 1; i < 3; i++)
        vpp_lut_rows()->look(to_row(job, i, y), luma, u, v, n, job->lut->table[i], job->to_bits);
}

static void work(void *argument, int part, int worker)
{
    const struct job *job = argument;
    uint16_t *rows = job->rows + (size_t)worker * WORKER_ROWS * job->room;
    uint16_t *luma = rows, *u = rows + job->room, *v = u + job->room, *mixed = v + job->room;
    const int first = part * PART_ROWS;
    const int last = first + PART_ROWS < job->from->height ? first + PART_ROWS : job->from->height;
    const size_t width = (size_t)job->from->width;

    for (int y = first; y < last; y++) {
        vpp_lut_rows()->mix(luma, from_row(job, 0, y), from_row(job, 0, y), width, 0,
                            job->from_bits);
        spread_chroma(job, 1, y, mixed, u);
        spread_chroma(job, 2, y, mixed, v);
        vpp_lut_rows()->look(to_row(job, 0, y), luma, u, v, width, job->lut->table[0],
                             job->to_bits);
        if (!(y & ((1 << job->shift_h) - 1)))
            convert_chroma(job, y >> job->shift_h, rows);
    }
}

int vpp_lut_run(struct vpp *vpp, const struct vpp_plan *plan, const struct vpp_color *from_color,
                const AVFrame *from, AVFrame *to)
{
    struct job job = {
        .from = from,
        .to = to,
        .from_bits = vpp_format_bits(from->format),
        .to_bits = vpp_format_bits(to->format),
        .shift_w = vpp_format_shift_w(from->format),
        .shift_h = vpp_format_shift_h(from->format),
        .room = ((size_t)from->width + 2 + 63) / 64 * 64,
        .top = from_color->chroma_y == 0,
    };
    const size_t size =
        job.room * WORKER_ROWS * sizeof(uint16_t) * (size_t)vpp_slices_threads(vpp->slices);
    struct vpp_lut *lut;
    struct lut_key key;
    int err;

    memset(&key, 0, sizeof(key));
    key.from = *from_color;
    key.to = plan->to_color;
    key.from.chroma_x = key.from.chroma_y = key.to.chroma_x = key.to.chroma_y = 0;
    key.peak = plan->peak;
    key.to_peak = plan->to_peak;
    key.light = plan->light;
    key.from_bits = job.from_bits;
    key.to_bits = job.to_bits;
    err = lut_get(vpp, &key, &lut);
    if (err)
        return err;
    if (vpp->lut_rows_size < size) {
        void *rows;

        if (posix_memalign(&rows, 64, size))
            return VD_ERR_MEMORY;
        free(vpp->lut_rows);
        vpp->lut_rows = rows;
        vpp->lut_rows_size = size;
    }
    job.lut = lut;
    job.rows = vpp->lut_rows;
    vpp_slices_run(vpp->slices, work, &job, (from->height + PART_ROWS - 1) / PART_ROWS);
    if (from->data[3] && from->format == to->format)
        vpp_frame_copy_plane(to, from, 3);
    return 0;
}
