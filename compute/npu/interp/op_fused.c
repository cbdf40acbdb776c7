/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/*
 * com.microsoft: what ONNX Runtime's optimiser writes in place of several operators, and the
 * normalisations of transformers.
 */

/* Bias along the last dimension, then Gelu. arg: UN_GELU or UN_GELU_TANH. */
int onnx_op_bias_gelu(struct call *call)
{
    const struct value *x = call->in[0], *bias = onnx_in(call, 1);
    int64_t n = x->rank ? x->dims[x->rank - 1] : 1;
    float *to;

    if (bias && bias->count != n)
        return BAD(call, "its bias has %lld values for %lld columns", (long long)bias->count,
                   (long long)n);
    to = onnx_out_like(call, 0, x);
    if (!to)
        return VD_ERR_MEMORY;
    memcpy(to, x->data, (size_t)x->count * sizeof(*to));
    for (int64_t i = 0; bias && i < x->count; i++)
        to[i] += ((const float *)bias->data)[i % n];
    onnx_unary_f32(call->arg, to, to, x->count, 1, 0);
    return 0;
}

/* x * sigmoid(alpha x) */
int onnx_op_quick_gelu(struct call *call)
{
    const struct value *x = call->in[0];
    float alpha = onnx_attr_float(call->node, "alpha", 1.702f);
    float *to = onnx_out_like(call, 0, x);
    const float *from = x->data;

    for (int64_t i = 0; to && i < x->count; i++)
        to[i] = from[i] / (1 + expf(-alpha * from[i]));
    return to ? 0 : VD_ERR_MEMORY;
}

/* An activation of FusedConv and FusedGemm, in place. */
static int activate(struct call *call, float *data, int64_t count)
{
    static const struct {
        const char *name;
        int function;
        float a, b;
    } names[] = {
        {"Relu", UN_RELU, 1, 0},
        {"Tanh", UN_TANH, 1, 0},
        {"Sigmoid", UN_SIGMOID, 1, 0},
        {"LeakyRelu", UN_LEAKY, 0.01f, 0},
        {"HardSigmoid", UN_HARD_SIGMOID, 0.2f, 0.5f},
        {"HardSwish", UN_HARD_SWISH, 1, 0},
    };
    const char *name = onnx_attr_string(call->node, "activation", "");
    const struct attribute *with = onnx_attr(call->node, "activation_params");
    float a, b;

    if (with && (with->type != ATTR_FLOATS || !with->count))
        with = NULL;
    a = with ? with->floats[0] : onnx_attr_float(call->node, "activation_alpha", 0);
    b = with && with->count > 1 ? with->floats[1]
                                : onnx_attr_float(call->node, "activation_beta", 0);
    if (!*name)
        return 0;
    if (!strcmp(name, "Clip") && with && with->count == 2) {
        for (int64_t i = 0; i < count; i++)
            data[i] = data[i] < a ? a : data[i] > b ? b : data[i];
        return 0;
    }
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (!strcmp(name, names[i].name)) {
            bool said = with || onnx_attr(call->node, "activation_alpha");

            onnx_unary_f32(names[i].function, data, data, count, said ? a : names[i].a,
                           said ? b : names[i].b);
            return 0;
        }
    return CANT(call, "with activation %.40s", name);
}

/* Conv, plus a fourth input, then an activation. */
int onnx_op_fused_conv(struct call *call)
{
    const struct value *plus = onnx_in(call, 3);
    struct call conv = *call;
    float *to;

    conv.in_count = call->in_count < 3 ? call->in_count : 3;
    TRY(onnx_op_conv(&conv));
    to = call->out[0]->data;
    if (plus && (plus->rank != call->out[0]->rank ||
                 memcmp(plus->dims, call->out[0]->dims, (size_t)plus->rank * sizeof(int64_t))))
        return BAD(call, "its fourth input is not like its output");
    for (int64_t i = 0; plus && i < plus->count; i++)
        to[i] += ((const float *)plus->data)[i];
    return activate(call, to, call->out[0]->count);
}

int onnx_op_fused_gemm(struct call *call)
{
    TRY(onnx_op_gemm(call));
    return activate(call, call->out[0]->data, call->out[0]->count);
}

/* One row of a layer's normalisation. `mean` false: only its size (RMS). */
static void normalise(float *to, const float *x, int64_t n, const float *scale, const float *bias,
                      double epsilon, bool centred, float *ret_mean, float *ret_by)
{
    double sum = 0, squares = 0, mean = 0;
    float by;

    for (int64_t i = 0; centred && i < n; i++)
        sum += (double)x[i];
    mean = n ? sum / (double)n : 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)x[i] - mean;

        squares += d * d;
    }
    by = (float)(1 / sqrt(squares / (double)(n ? n : 1) + epsilon));
    for (int64_t i = 0; i < n; i++)
        to[i] = (x[i] - (float)mean) * by * scale[i] + (bias ? bias[i] : 0);
    *ret_mean = (float)mean;
    *ret_by = by;
}

/* SimplifiedLayerNormalization: without a mean. */
int onnx_op_rms_norm(struct call *call)
{
    const struct value *x = call->in[0], *scale = call->in[1];
    int64_t axis = onnx_attr_int(call->node, "axis", -1), rows, n, dims[RANK];
    double epsilon = (double)onnx_attr_float(call->node, "epsilon", 1e-5f);
    float *to, mean, by;

    TRY(onnx_axis(call, &axis, x->rank));
    rows = onnx_product(x->dims, 0, (int)axis);
    n = onnx_product(x->dims, (int)axis, x->rank);
    if (scale->count != n)
        return CANT(call, "with a scale that is spread");
    to = onnx_out_like(call, 0, x);
    for (int i = 0; i < x->rank; i++)
        dims[i] = i < axis ? x->dims[i] : 1;
    if (!to || (onnx_wanted(call, 1) && !onnx_out(call, 1, ONNX_F32, x->rank, dims)))
        return VD_ERR_MEMORY;
    for (int64_t r = 0; r < rows; r++) {
        normalise(to + r * n, (const float *)x->data + r * n, n, scale->data, NULL, epsilon, false,
                  &mean, &by);
        if (onnx_wanted(call, 1))
            ((float *)call->out[1]->data)[r] = by;
    }
    return 0;
}

/* Input + skip + bias, normalised. arg 1: SkipSimplifiedLayerNormalization, which has no beta. */
int onnx_op_skip_norm(struct call *call)
{
    const struct value *x = call->in[0], *skip = call->in[1], *gamma = call->in[2];
    const struct value *beta = call->arg ? NULL : onnx_in(call, 3);
    const struct value *bias = onnx_in(call, call->arg ? 3 : 4);
    double epsilon = (double)onnx_attr_float(call->node, "epsilon", 1e-12f);
    int64_t n, rows;
    float *to, *sum, *sums = NULL, mean, by;

    if (x->rank < 1)
        return BAD(call, "of a scalar");
    n = x->dims[x->rank - 1];
    if (gamma->count != n || (beta && beta->count != n) || (bias && bias->count != n) ||
        skip->rank < 1 || !skip->count || x->count % skip->count || skip->dims[skip->rank - 1] != n)
        return BAD(call, "its inputs do not fit");
    if (skip->count != x->count && x->rank == 3 && skip->count != onnx_product(x->dims, 1, x->rank))
        return CANT(call, "with a skip that is spread");
    if (onnx_wanted(call, 1) || onnx_wanted(call, 2))
        return CANT(call, "has outputs of training");
    rows = n ? x->count / n : 0;
    to = onnx_out_like(call, 0, x);
    if (to && onnx_wanted(call, 3))
        sums = onnx_out_like(call, 3, x);
    sum = onnx_scratch(call, (uint64_t)n + 1, sizeof(*sum));
    if (!to || !sum || (onnx_wanted(call, 3) && !sums))
        return VD_ERR_MEMORY;
    for (int64_t r = 0; r < rows; r++) {
        const float *a = (const float *)x->data + r * n;
        const float *b = (const float *)skip->data + r * n % skip->count;

        for (int64_t i = 0; i < n; i++)
            sum[i] = a[i] + b[i] + (bias ? ((const float *)bias->data)[i] : 0);
        if (sums)
            memcpy(sums + r * n, sum, (size_t)n * sizeof(*sum));
        normalise(to + r * n, sum, n, gamma->data, beta ? beta->data : NULL, epsilon, !call->arg,
                  &mean, &by);
    }
    return 0;
}

/* Channels in groups; scales are of channels, before version 21 of groups. */
int onnx_op_group_norm(struct call *call)
{
    const struct value *x = call->in[0], *scale = call->in[1], *bias = call->in[2];
    int64_t groups = onnx_attr_int(call->node, "num_groups", 0), channels, inner, n;
    double epsilon = (double)onnx_attr_float(call->node, "epsilon", 1e-5f);
    bool old = call->node->opset < 21;
    struct value *y;

    if (x->rank < 2)
        return BAD(call, "has no channels");
    channels = x->dims[1];
    if (groups < 1 || channels % groups || scale->count != (old ? groups : channels) ||
        bias->count != scale->count)
        return BAD(call, "%lld groups, %lld channels, %lld scales", (long long)groups,
                   (long long)channels, (long long)scale->count);
    inner = onnx_product(x->dims, 2, x->rank);
    n = channels / groups * inner;
    if (!onnx_out_like(call, 0, x))
        return VD_ERR_MEMORY;
    y = call->out[0];
    for (int64_t g = 0; x->count && g < x->dims[0] * groups; g++) {
        double sum = 0, squares = 0, mean, by;

        for (int64_t i = g * n; i < (g + 1) * n; i++)
            sum += onnx_number(x, i);
        mean = sum / (double)n;
        for (int64_t i = g * n; i < (g + 1) * n; i++) {
            double d = onnx_number(x, i) - mean;

            squares += d * d;
        }
        by = 1 / sqrt(squares / (double)n + epsilon);
        for (int64_t i = g * n; i < (g + 1) * n; i++) {
            int64_t channel = i / inner % channels;
            int64_t k = old ? channel / (channels / groups) : channel;

            onnx_set(y, i,
                     (onnx_number(x, i) - mean) * by * onnx_number(scale, k) +
                         onnx_number(bias, k));
        }
    }
    return 0;
}

/* LpNormalization: along one axis, by the sum of absolute values or of squares. */
int onnx_op_lp_norm(struct call *call)
{
    const struct value *x = call->in[0];
    int64_t axis = onnx_attr_int(call->node, "axis", -1), p = onnx_attr_int(call->node, "p", 2);
    int64_t n, inner;

    TRY(onnx_axis(call, &axis, x->rank));
    if (p != 1 && p != 2)
        return BAD(call, "its p is %lld", (long long)p);
    n = x->dims[axis];
    inner = onnx_product(x->dims, (int)axis + 1, x->rank);
    if (!onnx_out_like(call, 0, x))
        return VD_ERR_MEMORY;
    for (int64_t i = 0; n && i < x->count / n; i++) {
        int64_t at = i / inner * n * inner + i % inner;
        double sum = 0;

        for (int64_t k = 0; k < n; k++) {
            double v = onnx_number(x, at + k * inner);

            sum += p == 1 ? fabs(v) : v * v;
        }
        sum = p == 1 ? sum : sqrt(sum);
        for (int64_t k = 0; k < n; k++)
            onnx_set(call->out[0], at + k * inner,
                     sum != 0 ? onnx_number(x, at + k * inner) / sum : 0);
    }
    return 0;
}
