/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/* Resize and Upsample: axis by axis, each output a weighted sum of at most four inputs. */

struct tap {
    int64_t at[4];
    double weight[4];
    int count; /* 0: the extrapolation value */
};

struct resize {
    int mode; /* 0 nearest, 1 linear, 2 cubic */
    const char *coordinates, *nearest;
    double cubic;
    bool outside; /* exclude_outside */
    double value;
};

static double original(const struct resize *r, double i, double scale, int64_t in, int64_t out,
                       double start, double end)
{
    const char *c = r->coordinates;

    if (strcmp(c, "asymmetric") == 0)
        return i / scale;
    if (strcmp(c, "align_corners") == 0)
        /* By scales, the length is not rounded: so do the conformance cases. */
        return out == 1 ? 0 : i * (double)(in - 1) / (scale * (double)in - 1);
    if (strcmp(c, "pytorch_half_pixel") == 0)
        return out > 1 ? (i + 0.5) / scale - 0.5 : 0;
    if (strcmp(c, "tf_half_pixel_for_nn") == 0)
        return (i + 0.5) / scale;
    if (strcmp(c, "tf_crop_and_resize") == 0)
        return out > 1 ? start * (double)(in - 1) +
                             i * (end - start) * (double)(in - 1) / (double)(out - 1)
                       : 0.5 * (start + end) * (double)(in - 1);
    return (i + 0.5) / scale - 0.5;
}

static double cubic(double d, double a)
{
    d = fabs(d);
    return d <= 1  ? ((a + 2) * d - (a + 3)) * d * d + 1
           : d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
                   : 0;
}

static int64_t clamp(double v, int64_t n)
{
    return v < 0 ? 0 : v > (double)(n - 1) ? n - 1 : (int64_t)v;
}

static void make_tap(const struct resize *r, double x, int64_t n, struct tap *t)
{
    double low = floor(x), sum = 0;

    t->count = r->mode == 0 ? 1 : r->mode == 1 ? 2 : 4;
    if (r->mode == 0) {
        double k = strcmp(r->nearest, "floor") == 0               ? floor(x)
                   : strcmp(r->nearest, "ceil") == 0              ? ceil(x)
                   : strcmp(r->nearest, "round_prefer_ceil") == 0 ? floor(x + 0.5)
                                                                  : ceil(x - 0.5);

        t->at[0] = clamp(k, n);
        t->weight[0] = 1;
        return;
    }
    for (int i = 0; i < t->count; i++) {
        double k = low + (r->mode == 1 ? i : i - 1);

        t->weight[i] = r->mode == 1 ? (i ? x - low : 1 - (x - low)) : cubic(x - k, r->cubic);
        if (r->outside && (k < 0 || k > (double)(n - 1)))
            t->weight[i] = 0;
        t->at[i] = clamp(k, n);
        sum += t->weight[i];
    }
    for (int i = 0; r->outside && i < t->count; i++)
        t->weight[i] /= sum;
}

/* Shrinks or grows one axis: from[outer][in][inner] to to[outer][out][inner]. */
static void one_axis(const struct tap *taps, const struct resize *r, const float *from, float *to,
                     int64_t outer, int64_t in, int64_t out, int64_t inner)
{
    for (int64_t o = 0; r->mode == 0 && inner == 1 && o < outer; o++)
        for (int64_t i = 0; i < out; i++)
            to[o * out + i] = taps[i].count ? from[o * in + taps[i].at[0]] : (float)r->value;
    if (r->mode == 0 && inner == 1)
        return;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < out; i++) {
            const struct tap *t = &taps[i];
            float *row = to + (o * out + i) * inner;

            if (r->mode == 0 && t->count) {
                memcpy(row, from + (o * in + t->at[0]) * inner, (size_t)inner * sizeof(*row));
                continue;
            }
            for (int64_t k = 0; k < inner; k++)
                row[k] = t->count ? 0 : (float)r->value;
            for (int p = 0; p < t->count; p++) {
                const float *f = from + (o * in + t->at[p]) * inner;
                float w = (float)t->weight[p];

                for (int64_t k = 0; k < inner; k++)
                    row[k] += f[k] * w;
            }
        }
}

static int read_sizes(struct call *call, const struct value *x, const struct value *scales,
                      const struct value *sizes, double *scale, int64_t *dims)
{
    if (sizes && sizes->count) {
        if (sizes->count != x->rank || onnx_attr(call->node, "axes"))
            return CANT(call, "with sizes for some axes");
        for (int i = 0; i < x->rank; i++) {
            dims[i] = onnx_index(sizes, i);
            scale[i] = x->dims[i] ? (double)dims[i] / (double)x->dims[i] : 1;
        }
        return 0;
    }
    if (!scales || scales->count != x->rank)
        return CANT(call, "with scales for some axes");
    for (int i = 0; i < x->rank; i++) {
        scale[i] = ((const float *)scales->data)[i];
        if (!(scale[i] > 0) || scale[i] > 1e6)
            return BAD(call, "has an impossible scale");
        dims[i] = (int64_t)floor((double)x->dims[i] * scale[i]);
    }
    return 0;
}

/* arg 1: Upsample, whose only way is asymmetric and floor. */
int onnx_op_resize(struct call *call)
{
    struct value *x = call->in[0];
    bool old = call->arg || call->node->opset < 11;
    const struct value *scales = onnx_in(call, old ? 1 : 2), *sizes = old ? NULL : onnx_in(call, 3);
    const struct value *roi = old ? NULL : onnx_in(call, 1);
    const char *mode = onnx_attr_string(call->node, "mode", "nearest");
    struct resize r = {.cubic = onnx_attr_float(call->node, "cubic_coeff_a", -0.75f),
                       .outside = onnx_attr_int(call->node, "exclude_outside", 0),
                       .value = onnx_attr_float(call->node, "extrapolation_value", 0)};
    double scale[RANK];
    int64_t dims[RANK], now[RANK];
    const float *from = x->data;
    bool crop;

    r.mode = strcmp(mode, "linear") == 0 ? 1 : strcmp(mode, "cubic") == 0 ? 2 : 0;
    r.coordinates =
        old ? "asymmetric"
            : onnx_attr_string(call->node, "coordinate_transformation_mode", "half_pixel");
    r.nearest = old ? "floor" : onnx_attr_string(call->node, "nearest_mode", "round_prefer_floor");
    crop = strcmp(r.coordinates, "tf_crop_and_resize") == 0;
    if (onnx_attr_int(call->node, "antialias", 0) || onnx_attr(call->node, "axes") ||
        strcmp(r.coordinates, "half_pixel_symmetric") == 0 ||
        !onnx_attr_is(call->node, "keep_aspect_ratio_policy", "stretch", "stretch"))
        return CANT(call, "with attributes of version 18");
    TRY(read_sizes(call, x, scales, sizes, scale, dims));
    if (crop && (!roi || roi->count != 2 * x->rank))
        return BAD(call, "its region does not fit");
    if (!onnx_out(call, 0, x->dtype, x->rank, dims))
        return VD_ERR_MEMORY;
    memcpy(now, x->dims, sizeof(now));
    if (!call->out[0]->count)
        return 0;
    if (!x->count)
        return BAD(call, "of nothing to something");
    for (int a = 0, last = -1; a < x->rank; a++) {
        struct tap *taps;
        float *to;
        int64_t out = dims[a];

        if (dims[a] == x->dims[a] && scale[a] == 1 && !crop)
            continue;
        taps = onnx_scratch(call, (uint64_t)out, sizeof(*taps));
        if (!taps)
            return VD_ERR_MEMORY;
        for (int64_t i = 0; i < out; i++) {
            double start = crop ? onnx_number(roi, a) : 0;
            double end = crop ? onnx_number(roi, a + x->rank) : 1;
            double at = original(&r, (double)i, scale[a], x->dims[a], out, start, end);

            make_tap(&r, at, x->dims[a], &taps[i]);
            if (crop && (at < 0 || at > (double)(x->dims[a] - 1)))
                taps[i].count = 0;
        }
        now[a] = out;
        to = onnx_scratch(call, (uint64_t)onnx_product(now, 0, x->rank), sizeof(*to));
        if (!to)
            return VD_ERR_MEMORY;
        TRY(onnx_work(call, (double)onnx_product(now, 0, x->rank)));
        one_axis(taps, &r, from, to, onnx_product(now, 0, a), x->dims[a], out,
                 onnx_product(now, a + 1, x->rank));
        from = to;
        last = a;
        (void)last;
    }
    memcpy(call->out[0]->data, from, (size_t)call->out[0]->count * sizeof(float));
    return 0;
}
