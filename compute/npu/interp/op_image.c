/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/* GridSample, RoiAlign: samples between the pixels. */

enum padding { PAD_ZEROS, PAD_BORDER, PAD_REFLECTION };
enum method { SAMPLE_LINEAR, SAMPLE_NEAREST, SAMPLE_CUBIC };

#define MOST_SPACE   3  /* dimensions of a picture */
#define MOST_TAPS    4  /* along one of them */
#define MOST_SAMPLES 16 /* of two cubic dimensions, or three linear ones */

struct sampler {
    enum padding padding;
    enum method method;
    bool corners; /* -1 and 1 are the middles of the outer pixels, not their edges */
    int space;
    int64_t dims[MOST_SPACE], strides[MOST_SPACE];
};

/* Folds x back into [low, high]. */
static double reflect(double x, double low, double high)
{
    double range = high - low, over = x < low ? low - x : x > high ? x - high : 0, rest;
    bool odd;

    if (over == 0 || range <= 0)
        return range <= 0 ? low : x;
    rest = fmod(over, range);
    odd = fmod(floor(over / range), 2) != 0;
    return (x < low) == odd ? high - rest : low + rest;
}

static double padded(const struct sampler *s, int axis, double x)
{
    double low = s->corners ? 0 : -0.5, high = (double)(s->dims[axis] - 1) - low;

    if (x >= low && x <= high)
        return x;
    if (s->padding == PAD_BORDER)
        return fmin(fmax(x, 0), (double)(s->dims[axis] - 1));
    return s->padding == PAD_REFLECTION ? reflect(x, low, high) : x;
}

/* The pixel of a whole coordinate, -1: none. */
static int64_t pixel(const struct sampler *s, int axis, double x)
{
    x = padded(s, axis, x);
    x = s->padding == PAD_ZEROS ? x : fmin(fmax(nearbyint(x), 0), (double)(s->dims[axis] - 1));
    return x >= 0 && x <= (double)(s->dims[axis] - 1) ? (int64_t)x : -1;
}

/* Cubic convolution with a = -0.75. */
static void cubic(double t, double *weights)
{
    const double a = -0.75;
    double d[4] = {t + 1, t, 1 - t, 2 - t};

    for (int i = 0; i < 4; i++) {
        double x = d[i];

        weights[i] = i == 0 || i == 3 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
                                      : ((a + 2) * x - (a + 3)) * x * x + 1;
    }
}

/* Pixels along one axis and their weights. */
static int taps(const struct sampler *s, int axis, double at, int64_t *offsets, double *weights)
{
    double size = (double)s->dims[axis];
    double x = s->corners ? (at + 1) / 2 * (size - 1) : ((at + 1) * size - 1) / 2;
    double first;
    int count;

    /* Not a number, or so far away that nothing is between: outside. */
    if (!(fabs(x) < 1e15))
        x = s->padding == PAD_ZEROS ? -1e9 : 0;
    if (s->method != SAMPLE_CUBIC)
        x = padded(s, axis, x);
    first = s->method == SAMPLE_NEAREST ? nearbyint(x) : floor(x);
    if (s->method == SAMPLE_NEAREST) {
        weights[0] = 1;
        count = 1;
    } else if (s->method == SAMPLE_LINEAR) {
        weights[1] = x - first;
        weights[0] = 1 - weights[1];
        count = 2;
    } else {
        cubic(x - first, weights);
        first--;
        count = 4;
    }
    for (int i = 0; i < count; i++) {
        int64_t p = pixel(s, axis, first + i);

        offsets[i] = p < 0 ? 0 : p * s->strides[axis];
        weights[i] = p < 0 ? 0 : weights[i];
    }
    return count;
}

/* All pixels around a point and their weights. */
struct sample {
    int count;
    int64_t offsets[MOST_SAMPLES];
    double weights[MOST_SAMPLES];
};

/* `at` has the coordinates, last axis first. */
static void sample_at(const struct sampler *s, const struct value *grid, int64_t at,
                      struct sample *ret)
{
    struct sample all = {.count = 1, .weights = {1}};

    for (int axis = 0; axis < s->space; axis++) {
        struct sample next = {.count = 0};
        int64_t offsets[MOST_TAPS];
        double weights[MOST_TAPS];
        int count = taps(s, axis, onnx_number(grid, at + s->space - 1 - axis), offsets, weights);

        for (int i = 0; i < all.count; i++)
            for (int k = 0; k < count && next.count < MOST_SAMPLES; k++) {
                next.offsets[next.count] = all.offsets[i] + offsets[k];
                next.weights[next.count++] = all.weights[i] * weights[k];
            }
        all = next;
    }
    *ret = all;
}

static double sample(const struct sample *s, const struct value *x, int64_t base)
{
    double sum = 0;

    for (int i = 0; i < s->count; i++)
        if (s->weights[i] != 0)
            sum += s->weights[i] * onnx_number(x, base + s->offsets[i]);
    return sum;
}

static int read_sampler(struct call *call, struct sampler *s)
{
    /* Version 20 calls the methods by other names. */
    static const char *const methods[][2] = {
        {"bilinear", "linear"}, {"nearest", "nearest"}, {"bicubic", "cubic"}};
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    const char *mode = onnx_attr_string(call->node, "mode", "linear");
    const char *padding = onnx_attr_string(call->node, "padding_mode", "zeros");
    const struct value *x = call->in[0], *grid = call->in[1];
    int found = 0;

    s->space = x->rank - 2;
    if (x->rank < 3 || s->space > MOST_SPACE || grid->rank != x->rank ||
        grid->dims[grid->rank - 1] != s->space || grid->dims[0] != x->dims[0])
        return BAD(call, "its grid does not fit");
    for (int i = 0; i < 3; i++) {
        if (!strcmp(mode, methods[i][0]) || !strcmp(mode, methods[i][1])) {
            s->method = (enum method)i;
            found |= 1;
        }
        if (!strcmp(padding, paddings[i])) {
            s->padding = (enum padding)i;
            found |= 2;
        }
    }
    if (found != 3)
        return BAD(call, "with mode %.40s, padding_mode %.40s", mode, padding);
    if (s->method == SAMPLE_CUBIC && s->space > 2)
        return CANT(call, "is cubic in %d dimensions", s->space);
    s->corners = onnx_attr_int(call->node, "align_corners", 0);
    for (int i = 0; i < s->space; i++) {
        s->dims[i] = x->dims[i + 2];
        s->strides[i] = onnx_product(x->dims, i + 3, x->rank);
    }
    return 0;
}

int onnx_op_grid_sample(struct call *call)
{
    const struct value *x = call->in[0], *grid = call->in[1];
    struct sampler s = {.padding = PAD_ZEROS};
    int64_t dims[RANK], points, channels, inner;
    struct value *y;

    TRY(read_sampler(call, &s));
    channels = x->dims[1];
    inner = onnx_product(x->dims, 2, x->rank);
    memcpy(dims, grid->dims, sizeof(dims));
    for (int i = s.space; i > 0; i--)
        dims[i + 1] = grid->dims[i];
    dims[1] = channels;
    if (!onnx_out(call, 0, x->dtype, x->rank, dims))
        return VD_ERR_MEMORY;
    y = call->out[0];
    points = onnx_product(dims, 2, x->rank);
    TRY(onnx_work(call, (double)y->count * 16));
    if (y->count && !inner)
        return BAD(call, "of a picture without pixels");
    for (int64_t b = 0; b < x->dims[0]; b++)
        for (int64_t p = 0; p < points; p++) {
            struct sample at;

            sample_at(&s, grid, (b * points + p) * s.space, &at);
            for (int64_t c = 0; c < channels; c++)
                onnx_set(y, (b * channels + c) * points + p,
                         sample(&at, x, (b * channels + c) * inner));
        }
    return 0;
}

/* Four pixels around a point and their weights; all 0 outside. */
struct corners {
    int64_t at[4];
    double weight[4];
};

static struct corners corners_of(double y, double x, int64_t height, int64_t width)
{
    struct corners c = {.at = {0}};
    int64_t y0, x0, y1, x1;

    if (!(y >= -1 && y <= (double)height && x >= -1 && x <= (double)width))
        return c;
    y = fmin(fmax(y, 0), (double)(height - 1));
    x = fmin(fmax(x, 0), (double)(width - 1));
    y0 = (int64_t)y;
    x0 = (int64_t)x;
    y1 = y0 + 1 < height ? y0 + 1 : y0;
    x1 = x0 + 1 < width ? x0 + 1 : x0;
    y -= (double)y0;
    x -= (double)x0;
    return (struct corners){
        .at = {y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1},
        .weight = {(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x},
    };
}

struct region {
    double y, x, height, width; /* of a bin's first corner, and of a bin */
    int64_t steps_y, steps_x;   /* samples in a bin */
};

static double pool_bin(const struct value *x, int64_t base, const struct region *r, bool most)
{
    double result = 0;
    int64_t n = 0;

    for (int64_t i = 0; i < r->steps_y; i++)
        for (int64_t j = 0; j < r->steps_x; j++) {
            struct corners c = corners_of(r->y + ((double)i + 0.5) * r->height / (double)r->steps_y,
                                          r->x + ((double)j + 0.5) * r->width / (double)r->steps_x,
                                          x->dims[2], x->dims[3]);

            for (int k = 0; k < 4; k++) {
                double v = c.weight[k] * onnx_number(x, base + c.at[k]);

                result = !most ? result + v : n++ == 0 || v > result ? v : result;
            }
        }
    return most || !r->steps_y || !r->steps_x ? result : result / (double)(r->steps_y * r->steps_x);
}

int onnx_op_roi_align(struct call *call)
{
    const struct value *x = call->in[0], *rois = call->in[1], *batch = call->in[2];
    bool half =
        call->node->opset >= 16 &&
        onnx_attr_is(call->node, "coordinate_transformation_mode", "half_pixel", "half_pixel");
    bool most = onnx_attr_is(call->node, "mode", "avg", "max");
    int64_t h = onnx_attr_int(call->node, "output_height", 1);
    int64_t w = onnx_attr_int(call->node, "output_width", 1);
    int64_t ratio = onnx_attr_int(call->node, "sampling_ratio", 0), dims[4];
    double scale = onnx_attr_float(call->node, "spatial_scale", 1), shift = half ? 0.5 : 0;

    if (x->rank != 4 || rois->rank != 2 || rois->dims[1] != 4 || batch->count != rois->dims[0] ||
        h < 1 || w < 1 || ratio < 0 || ratio > 1 << 16 || !x->dims[2] || !x->dims[3])
        return BAD(call, "its regions do not fit");
    memcpy(dims, (int64_t[4]){rois->dims[0], x->dims[1], h, w}, sizeof(dims));
    if (!onnx_out(call, 0, x->dtype, 4, dims))
        return VD_ERR_MEMORY;
    for (int64_t n = 0, at = 0; n < rois->dims[0]; n++) {
        int64_t image = onnx_index(batch, n);
        double x1 = onnx_number(rois, 4 * n) * scale - shift;
        double y1 = onnx_number(rois, 4 * n + 1) * scale - shift;
        double width = onnx_number(rois, 4 * n + 2) * scale - shift - x1;
        double height = onnx_number(rois, 4 * n + 3) * scale - shift - y1;
        struct region r = {.steps_y = ratio, .steps_x = ratio};

        if (image < 0 || image >= x->dims[0] || !(fabs(x1) < 1e9) || !(fabs(y1) < 1e9) ||
            !(fabs(width) < 1e9) || !(fabs(height) < 1e9))
            return BAD(call, "region %lld is out of range", (long long)n);
        r.width = (half ? width : fmax(width, 1)) / (double)w;
        r.height = (half ? height : fmax(height, 1)) / (double)h;
        if (!ratio) {
            r.steps_y = (int64_t)fmax(ceil(r.height), 0);
            r.steps_x = (int64_t)fmax(ceil(r.width), 0);
        }
        TRY(onnx_work(call, (double)(x->dims[1] * h * w) * (double)r.steps_y * (double)r.steps_x));
        for (int64_t c = 0; c < x->dims[1]; c++)
            for (int64_t i = 0; i < h; i++)
                for (int64_t j = 0; j < w; j++) {
                    r.y = y1 + (double)i * r.height;
                    r.x = x1 + (double)j * r.width;
                    onnx_set(
                        call->out[0], at++,
                        pool_bin(x, (image * x->dims[1] + c) * x->dims[2] * x->dims[3], &r, most));
                }
    }
    return 0;
}
