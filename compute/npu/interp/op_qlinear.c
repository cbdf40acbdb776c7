/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/*
 * com.microsoft: operators on small integers with a scale and a zero point each, as quantised
 * models have them. What they mean is the same on numbers, quantised to the nearest, ties to even.
 */

struct quantity {
    const struct value *value;
    float scale;
    int zero;
    enum onnx_dtype dtype;
};

/* Three inputs: the tensor (not for a result), its scale, its zero point, which may be left out. */
static int read_quantity(struct call *call, size_t at, bool tensor, struct quantity *ret)
{
    const struct value *zero = onnx_in(call, at + tensor + 1);
    double scale = 0;

    *ret = (struct quantity){.value = tensor ? onnx_in(call, at) : NULL, .dtype = ONNX_U8};
    if (tensor && !ret->value)
        return BAD(call, "input %zu is missing", at);
    TRY(onnx_in_double(call, at + tensor, &scale));
    if (zero && (zero->count != 1 || !(M(zero->dtype) & M_BYTE)))
        return CANT(call, "with zero point %zu of another form", at + tensor + 1);
    ret->scale = (float)scale;
    ret->zero = zero ? (int)onnx_number(zero, 0) : 0;
    if (tensor)
        ret->dtype = ret->value->dtype;
    else if (zero)
        ret->dtype = zero->dtype;
    else if (call->in[0]->kind == ONNX_TENSOR && (M(call->in[0]->dtype) & M_BYTE))
        ret->dtype = call->in[0]->dtype;
    return 0;
}

static float number(const struct quantity *q, int64_t at)
{
    int v = q->dtype == ONNX_U8 ? ((const uint8_t *)q->value->data)[at]
                                : ((const int8_t *)q->value->data)[at];

    return (float)(v - q->zero) * q->scale;
}

static uint8_t quantise(const struct quantity *q, float v)
{
    float low = q->dtype == ONNX_U8 ? 0 : -128, high = q->dtype == ONNX_U8 ? 255 : 127;
    float to = rintf(v / q->scale) + (float)q->zero;

    return (uint8_t)(int)(to >= low ? (to > high ? high : to) : low);
}

/* arg 0: QLinearAdd, 1: QLinearMul */
int onnx_op_qlinear_binary(struct call *call)
{
    int64_t dims[RANK], at[RANK] = {0}, a_steps[RANK], b_steps[RANK], i = 0;
    struct quantity a, b, c;
    uint8_t *to;
    int rank;

    TRY(read_quantity(call, 0, true, &a));
    TRY(read_quantity(call, 3, true, &b));
    TRY(read_quantity(call, 6, false, &c));
    rank = a.value->rank;
    memcpy(dims, a.value->dims, sizeof(dims));
    if (!onnx_broadcast(b.value, &rank, dims))
        return BAD(call, "the shapes of its inputs do not fit");
    onnx_spread(a.value, rank, dims, a_steps);
    onnx_spread(b.value, rank, dims, b_steps);
    to = onnx_out(call, 0, c.dtype, rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    for (bool more = call->out[0]->count > 0; more; more = onnx_next(rank, dims, at)) {
        int64_t from_a = 0, from_b = 0;
        float x, y;

        for (int d = 0; d < rank; d++) {
            from_a += at[d] * a_steps[d];
            from_b += at[d] * b_steps[d];
        }
        x = number(&a, from_a);
        y = number(&b, from_b);
        to[i++] = quantise(&c, call->arg ? x * y : x + y);
    }
    return 0;
}

/* A table of 256 serves all. arg: a unary function. */
int onnx_op_qlinear_unary(struct call *call)
{
    float alpha = onnx_attr_float(call->node, "alpha", 0.01f), numbers[256];
    uint8_t table[256], all[256], *to;
    struct quantity x, y;
    struct value every = {.dtype = ONNX_U8, .data = all};

    TRY(read_quantity(call, 0, true, &x));
    TRY(read_quantity(call, 3, false, &y));
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    every.dtype = x.dtype;
    for (int i = 0; i < 256; i++)
        numbers[i] = number(&(struct quantity){&every, x.scale, x.zero, x.dtype}, i);
    onnx_unary_f32(call->arg, numbers, numbers, 256, alpha, 0);
    for (int i = 0; i < 256; i++)
        table[i] = quantise(&y, numbers[i]);
    to = onnx_out(call, 0, y.dtype, x.value->rank, x.value->dims);
    for (int64_t i = 0; to && i < x.value->count; i++)
        to[i] = table[((const uint8_t *)x.value->data)[i]];
    return to ? 0 : VD_ERR_MEMORY;
}

int onnx_op_qlinear_global_pool(struct call *call)
{
    bool last = onnx_attr_int(call->node, "channels_last", 0);
    int64_t channels, inner, dims[RANK];
    const struct value *v;
    struct quantity x, y;
    uint8_t *to;

    TRY(read_quantity(call, 0, true, &x));
    TRY(read_quantity(call, 3, false, &y));
    v = x.value;
    if (v->rank < 3)
        return BAD(call, "its input has %d dimensions", v->rank);
    channels = v->dims[last ? v->rank - 1 : 1];
    for (int i = 0; i < v->rank; i++)
        dims[i] = i == 0 || i == (last ? v->rank - 1 : 1) ? v->dims[i] : 1;
    inner = last ? onnx_product(v->dims, 1, v->rank - 1) : onnx_product(v->dims, 2, v->rank);
    if (!inner)
        return BAD(call, "its input is empty");
    to = onnx_out(call, 0, y.dtype, v->rank, dims);
    for (int64_t i = 0; to && i < v->dims[0] * channels; i++) {
        double sum = 0;

        for (int64_t k = 0; k < inner; k++)
            sum += (double)number(&x, last ? (i / channels * inner + k) * channels + i % channels
                                           : i * inner + k);
        to[i] = quantise(&y, (float)(sum / (double)inner));
    }
    return to ? 0 : VD_ERR_MEMORY;
}

/* A scale and a zero point of the result, then three inputs for each part. */
int onnx_op_qlinear_concat(struct call *call)
{
    int64_t axis = onnx_attr_int(call->node, "axis", 0), dims[RANK], outer, inner, at = 0;
    size_t parts = (call->in_count - 2) / 3;
    struct quantity y, x;
    uint8_t *to;

    if (call->in_count != 2 + 3 * parts || !parts)
        return BAD(call, "has %zu inputs", call->in_count);
    TRY(read_quantity(call, 0, false, &y));
    TRY(read_quantity(call, 2, true, &x));
    memcpy(dims, x.value->dims, sizeof(dims));
    TRY(onnx_axis(call, &axis, x.value->rank));
    for (size_t i = 1; i < parts; i++) {
        struct quantity more;

        TRY(read_quantity(call, 2 + 3 * i, true, &more));
        if (more.value->rank != x.value->rank)
            return BAD(call, "its parts do not fit");
        for (int d = 0; d < x.value->rank; d++)
            if (d != axis && more.value->dims[d] != dims[d])
                return BAD(call, "its parts do not fit");
        dims[axis] += more.value->dims[axis];
    }
    to = onnx_out(call, 0, y.dtype, x.value->rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    outer = onnx_product(dims, 0, (int)axis);
    inner = onnx_product(dims, (int)axis + 1, x.value->rank);
    for (size_t i = 0; i < parts; i++) {
        int64_t n;

        TRY(read_quantity(call, 2 + 3 * i, true, &x));
        n = x.value->dims[axis] * inner;
        for (int64_t o = 0; o < outer; o++)
            for (int64_t k = 0; k < n; k++)
                to[o * dims[axis] * inner + at + k] = quantise(&y, number(&x, o * n + k));
        at += n;
    }
    return 0;
}

/* A row or column each, or one for all. */
static double per(const struct value *v, int64_t at, double otherwise)
{
    return v ? onnx_number(v, v->count == 1 ? 0 : at) : otherwise;
}

/* Products of small integers as numbers: A is quantised already (arg 0), or is here (arg 1). */
static int product(struct call *call, const struct value *a, float a_scale, int a_zero,
                   const struct value *a_scales, const struct value *a_zeros, size_t b_at,
                   const struct value *b_scales, const struct value *b_zeros,
                   const struct value *bias)
{
    const struct value *b = call->in[b_at];
    int64_t m, n, k, dims[RANK];
    float *to;

    if (a->rank < 2 || b->rank != 2 || a->dims[a->rank - 1] != b->dims[0])
        return a->rank < 2 || b->rank == 2 ? BAD(call, "the shapes of its inputs do not fit")
                                           : CANT(call, "with a stack of matrices");
    k = b->dims[0];
    n = b->dims[1];
    m = onnx_product(a->dims, 0, a->rank - 1);
    if ((b_scales && b_scales->count != 1 && b_scales->count != n) ||
        (b_zeros && b_zeros->count != 1 && b_zeros->count != n) ||
        (a_scales && a_scales->count != 1) || (a_zeros && a_zeros->count != 1) ||
        (bias && bias->count != n))
        return CANT(call, "with scales of that shape");
    memcpy(dims, a->dims, sizeof(dims));
    dims[a->rank - 1] = n;
    TRY(onnx_work(call, (double)m * (double)n * (double)k));
    to = onnx_out(call, 0, ONNX_F32, a->rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    a_scale = (float)per(a_scales, 0, (double)a_scale);
    a_zero = (int)per(a_zeros, 0, a_zero);
    for (int64_t r = 0; r < m; r++)
        for (int64_t c = 0; c < n; c++) {
            int zero = (int)per(b_zeros, c, 0);
            int64_t sum = 0;

            for (int64_t i = 0; i < k; i++)
                sum += ((int64_t)onnx_number(a, r * k + i) - a_zero) *
                       ((int64_t)onnx_number(b, i * n + c) - zero);
            to[r * n + c] = (float)sum * (a_scale * (float)per(b_scales, c, 1)) +
                            (float)per(bias ? bias : NULL, c, 0);
        }
    return 0;
}

int onnx_op_matmul_to_float(struct call *call)
{
    return product(call, call->in[0], 1, 0, call->in[2], onnx_in(call, 4), 1, call->in[3],
                   onnx_in(call, 5), onnx_in(call, 6));
}

/* As DynamicQuantizeLinear does it for A. */
int onnx_op_dynamic_matmul(struct call *call)
{
    const struct value *a = call->in[0];
    const float *f = a->data;
    float low = 0, high = 0, scale, zero;
    struct value quantised = *a;
    uint8_t *bytes = onnx_scratch(call, (uint64_t)a->count + 1, 1);

    if (!bytes)
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < a->count; i++) {
        low = f[i] < low ? f[i] : low;
        high = f[i] > high ? f[i] : high;
    }
    scale = (high - low) / 255;
    zero = scale > 0 ? rintf(-low / scale) : 0;
    zero = zero > 255 ? 255 : zero < 0 ? 0 : zero;
    for (int64_t i = 0; i < a->count; i++) {
        float q = scale > 0 ? rintf(f[i] / scale) + zero : zero;

        bytes[i] = (uint8_t)(q > 0 ? (q > 255 ? 255 : q) : 0);
    }
    quantised.data = bytes;
    quantised.dtype = ONNX_U8;
    return product(call, &quantised, scale, (int)zero, NULL, NULL, 1, call->in[2], onnx_in(call, 3),
                   onnx_in(call, 4));
}
