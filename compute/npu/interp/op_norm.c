/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/* BatchNormalization and its kind. Statistics are doubles, data may be float or double. */

static void affine(const struct value *x, struct value *y, int64_t from, int64_t n, double scale,
                   double shift)
{
    if (x->dtype == ONNX_F32) {
        const float *f = (const float *)x->data + from;
        float *t = (float *)y->data + from, a = (float)scale, b = (float)shift;

        for (int64_t i = 0; i < n; i++)
            t[i] = f[i] * a + b;
        return;
    }
    for (int64_t i = from; i < from + n; i++)
        onnx_set(y, i, onnx_number(x, i) * scale + shift);
}

static void moments(const struct value *x, int64_t from, int64_t n, double *mean, double *variance)
{
    double sum = 0, squares = 0;

    if (x->dtype == ONNX_F32) {
        const float *f = (const float *)x->data + from;

        for (int64_t i = 0; i < n; i++)
            sum += (double)f[i];
        *mean = n ? sum / (double)n : 0;
        for (int64_t i = 0; i < n; i++)
            squares += ((double)f[i] - *mean) * ((double)f[i] - *mean);
        *variance = n ? squares / (double)n : 0;
        return;
    }
    for (int64_t i = from; i < from + n; i++)
        sum += onnx_number(x, i);
    *mean = n ? sum / (double)n : 0;
    for (int64_t i = from; i < from + n; i++) {
        double d = onnx_number(x, i) - *mean;

        squares += d * d;
    }
    *variance = n ? squares / (double)n : 0;
}

int onnx_op_batch_norm(struct call *call)
{
    const struct value *x = call->in[0];
    double epsilon = onnx_attr_float(call->node, "epsilon", 1e-5f);
    double momentum = onnx_attr_float(call->node, "momentum", 0.9f);
    bool training = call->node->opset >= 14 && onnx_attr_int(call->node, "training_mode", 0);
    int64_t channels, inner, batch;
    double *scale, *shift;

    if (x->rank < 1)
        return BAD(call, "of a scalar");
    channels = x->rank > 1 ? x->dims[1] : 1;
    batch = x->dims[0];
    inner = onnx_product(x->dims, 2, x->rank);
    for (int i = 1; i < 5; i++)
        if (call->in[i]->count != channels)
            return BAD(call, "input %d has %lld values for %lld channels", i,
                       (long long)call->in[i]->count, (long long)channels);
    if (call->out_count > 1 && !training)
        return CANT(call, "has outputs of training");
    scale = onnx_scratch(call, (uint64_t)channels, sizeof(*scale));
    shift = onnx_scratch(call, (uint64_t)channels, sizeof(*shift));
    if (!scale || !shift)
        return VD_ERR_MEMORY;
    for (size_t i = 1; i < 3 && training; i++)
        if (onnx_wanted(call, i) && !onnx_out_like(call, i, call->in[i + 2]))
            return VD_ERR_MEMORY;
    for (int64_t c = 0; c < channels; c++) {
        double mean = onnx_number(call->in[3], c), variance = onnx_number(call->in[4], c);

        if (training) {
            double sum = 0, squares = 0, n = (double)(batch * inner);

            for (int64_t b = 0; b < batch; b++)
                for (int64_t i = 0; i < inner; i++)
                    sum += onnx_number(x, (b * channels + c) * inner + i);
            sum /= n;
            for (int64_t b = 0; b < batch; b++)
                for (int64_t i = 0; i < inner; i++) {
                    double d = onnx_number(x, (b * channels + c) * inner + i) - sum;

                    squares += d * d;
                }
            squares /= n;
            if (onnx_wanted(call, 1))
                onnx_set(call->out[1], c, mean * momentum + sum * (1 - momentum));
            if (onnx_wanted(call, 2))
                onnx_set(call->out[2], c, variance * momentum + squares * (1 - momentum));
            mean = sum;
            variance = squares;
        }
        scale[c] = onnx_number(call->in[1], c) / sqrt(variance + epsilon);
        shift[c] = onnx_number(call->in[2], c) - mean * scale[c];
    }
    if (!onnx_out_over(call, 0, 0))
        return VD_ERR_MEMORY;
    for (int64_t i = 0; x->count && i < batch * channels; i++)
        affine(x, call->out[0], i * inner, inner, scale[i % channels], shift[i % channels]);
    return 0;
}

int onnx_op_instance_norm(struct call *call)
{
    const struct value *x = call->in[0];
    double epsilon = onnx_attr_float(call->node, "epsilon", 1e-5f);
    int64_t channels, inner;

    if (x->rank < 2 || call->in[1]->count != x->dims[1] || call->in[2]->count != x->dims[1])
        return BAD(call, "its scales do not fit");
    channels = x->dims[1];
    inner = onnx_product(x->dims, 2, x->rank);
    if (!onnx_out_like(call, 0, x))
        return VD_ERR_MEMORY;
    for (int64_t i = 0; x->count && i < x->dims[0] * channels; i++) {
        double mean, variance, scale;

        moments(x, i * inner, inner, &mean, &variance);
        scale = onnx_number(call->in[1], i % channels) / sqrt(variance + epsilon);
        affine(x, call->out[0], i * inner, inner, scale,
               onnx_number(call->in[2], i % channels) - mean * scale);
    }
    return 0;
}

static void norm_row(float *to, const float *x, int64_t n, float mean, float by, const float *scale,
                     const float *bias)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = (x[i] - mean) * by * scale[i] + (bias ? bias[i] : 0);
}

int onnx_op_layer_norm(struct call *call)
{
    const struct value *x = call->in[0], *scale = call->in[1], *bias = onnx_in(call, 2);
    int64_t axis = onnx_attr_int(call->node, "axis", -1), rows, n, dims[RANK];
    double epsilon = onnx_attr_float(call->node, "epsilon", 1e-5f);
    struct value *y;

    TRY(onnx_axis(call, &axis, x->rank));
    rows = onnx_product(x->dims, 0, (int)axis);
    n = onnx_product(x->dims, (int)axis, x->rank);
    if (scale->count != n || (bias && bias->count != n))
        return CANT(call, "with a scale that is spread");
    if (!onnx_out_like(call, 0, x))
        return VD_ERR_MEMORY;
    y = call->out[0];
    for (int i = 0; i < x->rank; i++)
        dims[i] = i < axis ? x->dims[i] : 1;
    for (size_t i = 1; i < call->out_count; i++)
        if (onnx_wanted(call, i) && !onnx_out(call, i, ONNX_F32, x->rank, dims))
            return VD_ERR_MEMORY;
    for (int64_t r = 0; r < rows; r++) {
        bool floats = x->dtype == ONNX_F32 && scale->dtype == ONNX_F32;
        double mean, variance, by;

        moments(x, r * n, n, &mean, &variance);
        by = 1 / sqrt(variance + epsilon);
        if (floats)
            norm_row((float *)y->data + r * n, (const float *)x->data + r * n, n, (float)mean,
                     (float)by, scale->data, bias ? bias->data : NULL);
        for (int64_t i = 0; i < n && !floats; i++)
            onnx_set(y, r * n + i,
                     (onnx_number(x, r * n + i) - mean) * by * onnx_number(scale, i) +
                         (bias ? onnx_number(bias, i) : 0));
        if (onnx_wanted(call, 1))
            onnx_set(call->out[1], r, mean);
        if (onnx_wanted(call, 2))
            onnx_set(call->out[2], r, by);
    }
    return 0;
}

int onnx_op_lrn(struct call *call)
{
    const struct value *x = call->in[0];
    double alpha = onnx_attr_float(call->node, "alpha", 0.0001f);
    double beta = onnx_attr_float(call->node, "beta", 0.75f);
    double bias = onnx_attr_float(call->node, "bias", 1);
    int64_t size = onnx_attr_int(call->node, "size", 0), channels, inner;

    if (x->rank < 2 || size < 1 || size > 1 << 20)
        return BAD(call, "its size is out of range");
    channels = x->dims[1];
    inner = onnx_product(x->dims, 2, x->rank);
    if (!onnx_out_like(call, 0, x))
        return VD_ERR_MEMORY;
    TRY(onnx_work(call, (double)x->count * (double)size));
    for (int64_t i = 0; i < x->count; i++) {
        int64_t c = i / inner % channels, base = i - c * inner;
        int64_t low = c - (size - 1) / 2, high = c + size / 2;
        double sum = 0;

        for (int64_t k = low < 0 ? 0 : low; k <= high && k < channels; k++) {
            double v = onnx_number(x, base + k * inner);

            sum += v * v;
        }
        onnx_set(call->out[0], i, onnx_number(x, i) / pow(bias + alpha / (double)size * sum, beta));
    }
    return 0;
}

/* MeanVarianceNormalization, LpNormalization (arg 1). */
int onnx_op_mvn(struct call *call)
{
    const struct value *x = call->in[0];
    int64_t axes[RANK] = {0, 2, 3}, at[RANK] = {0}, strides[RANK];
    int count = onnx_attr_ints(call->node, "axes", axes, RANK);
    double *sums, *squares, *n;
    unsigned gone = 0;

    if (count == 0)
        count = 3;
    for (int i = 0; i < count; i++) {
        TRY(onnx_axis(call, &axes[i], x->rank));
        gone |= 1u << axes[i];
    }
    if (!onnx_out_like(call, 0, x))
        return VD_ERR_MEMORY;
    sums = onnx_scratch(call, (uint64_t)x->count, sizeof(*sums));
    squares = onnx_scratch(call, (uint64_t)x->count, sizeof(*squares));
    n = onnx_scratch(call, (uint64_t)x->count, sizeof(*n));
    if (!sums || !squares || !n)
        return VD_ERR_MEMORY;
    memset(sums, 0, (size_t)x->count * sizeof(*sums));
    memset(squares, 0, (size_t)x->count * sizeof(*squares));
    memset(n, 0, (size_t)x->count * sizeof(*n));
    onnx_strides(x->rank, x->dims, strides);
    for (int pass = 0; x->count && pass < 3; pass++) {
        int64_t i = 0;

        memset(at, 0, sizeof(at));
        do {
            int64_t group = 0;
            double v = onnx_number(x, i);

            for (int d = 0; d < x->rank; d++)
                group += gone >> d & 1 ? 0 : at[d] * strides[d];
            if (pass == 0) {
                sums[group] += v;
                n[group]++;
            } else if (pass == 1) {
                v -= sums[group] / n[group];
                squares[group] += v * v;
            } else {
                onnx_set(call->out[0], i,
                         (v - sums[group] / n[group]) / (sqrt(squares[group] / n[group]) + 1e-9));
            }
            i++;
        } while (onnx_next(x->rank, x->dims, at));
    }
    return 0;
}
