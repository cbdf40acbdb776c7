/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/* One number in, one out. The list is expanded for float and for double. */

#define UNARY_LIST(X)                                                                    \
    X(ABS, F(fabs)(x))                                                                   \
    X(NEG, -x)                                                                           \
    X(SIGN, (T)((x > 0) - (x < 0)))                                                      \
    X(FLOOR, F(floor)(x))                                                                \
    X(CEIL, F(ceil)(x))                                                                  \
    X(ROUND, F(rint)(x))                                                                 \
    X(SQRT, F(sqrt)(x))                                                                  \
    X(RECIPROCAL, 1 / x)                                                                 \
    X(EXP, F(exp)(x))                                                                    \
    X(LOG, F(log)(x))                                                                    \
    X(SIN, F(sin)(x))                                                                    \
    X(COS, F(cos)(x))                                                                    \
    X(TAN, F(tan)(x))                                                                    \
    X(ASIN, F(asin)(x))                                                                  \
    X(ACOS, F(acos)(x))                                                                  \
    X(ATAN, F(atan)(x))                                                                  \
    X(SINH, F(sinh)(x))                                                                  \
    X(COSH, F(cosh)(x))                                                                  \
    X(TANH, F(tanh)(x))                                                                  \
    X(ASINH, F(asinh)(x))                                                                \
    X(ACOSH, F(acosh)(x))                                                                \
    X(ATANH, F(atanh)(x))                                                                \
    X(ERF, F(erf)(x))                                                                    \
    X(SIGMOID, 1 / (1 + F(exp)(-x)))                                                     \
    X(RELU, x < 0 ? 0 : x)                                                               \
    X(LEAKY, x < 0 ? x * a : x)                                                          \
    X(ELU, x < 0 ? a * F(expm1)(x) : x)                                                  \
    X(SELU, x > 0 ? b * x : b * a * F(expm1)(x))                                         \
    X(CELU, x > 0 ? x : a * F(expm1)(x / a))                                             \
    X(HARD_SIGMOID, F(fmax)(0, F(fmin)(1, a * x + b)))                                   \
    X(HARD_SWISH, x *F(fmax)(0, F(fmin)(1, x / 6 + (T)0.5)))                             \
    X(SOFTPLUS, x > 0 ? x + F(log1p)(F(exp)(-x)) : F(log1p)(F(exp)(x)))                  \
    X(SOFTSIGN, x / (1 + F(fabs)(x)))                                                    \
    X(THRESHOLDED, x > a ? x : 0)                                                        \
    X(SHRINK, x<-b ? x + a : x> b ? x - a : 0)                                           \
    X(MISH, x *F(tanh)(x > 0 ? x + F(log1p)(F(exp)(-x)) : F(log1p)(F(exp)(x))))          \
    X(GELU, (T)0.5 * x * (1 + F(erf)(x * (T)M_SQRT1_2)))                                 \
    X(GELU_TANH,                                                                         \
      (T)0.5 * x * (1 + F(tanh)((T)0.7978845608028654 * (x + (T)0.044715 * x * x * x)))) \
    X(AFFINE, a *x + b)                                                                  \
    X(SCALED_TANH, a *F(tanh)(b * x))

#define T       float
#define F(name) name##f
#define X(name, expression)                                                           \
    static void f32_##name(float *to, const float *from, int64_t n, float a, float b) \
    {                                                                                 \
        (void)a, (void)b;                                                             \
        for (int64_t i = 0; i < n; i++) {                                             \
            float x = from[i];                                                        \
            to[i] = expression;                                                       \
        }                                                                             \
    }
UNARY_LIST(X)
#undef X
#undef T
#undef F

#define T       double
#define F(name) name
#define X(name, expression)                                                               \
    static void f64_##name(double *to, const double *from, int64_t n, double a, double b) \
    {                                                                                     \
        (void)a, (void)b;                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                 \
            double x = from[i];                                                           \
            to[i] = expression;                                                           \
        }                                                                                 \
    }
UNARY_LIST(X)
#undef X
#undef T
#undef F

static void (*const f32_functions[])(float *, const float *, int64_t, float, float) = {
#define X(name, expression) [UN_##name] = f32_##name,
    UNARY_LIST(X)
#undef X
};
static void (*const f64_functions[])(double *, const double *, int64_t, double, double) = {
#define X(name, expression) [UN_##name] = f64_##name,
    UNARY_LIST(X)
#undef X
};

void onnx_unary_f32(int function, float *to, const float *from, int64_t n, float a, float b)
{
    f32_functions[function](to, from, n, a, b);
}

#pragma GCC diagnostic ignored "-Wtype-limits"
#define INTEGER(dtype, type)                                                                       \
    case dtype: {                                                                                  \
        const type *f = from;                                                                      \
        type *t = to;                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            t[i] = (type)(function == UN_ABS    ? (f[i] < 0 ? 0 - (uint64_t)f[i] : (uint64_t)f[i]) \
                          : function == UN_NEG  ? 0 - (uint64_t)f[i]                               \
                          : function == UN_SIGN ? (uint64_t)((f[i] > 0) - (f[i] < 0))              \
                          : f[i] > 0            ? (uint64_t)f[i]                                   \
                                                : 0);                                                         \
        return true;                                                                               \
    }

static bool unary_int(int function, enum onnx_dtype dtype, void *to, const void *from, int64_t n)
{
    switch (dtype) {
        INTEGER(ONNX_I8, int8_t)
        INTEGER(ONNX_I16, int16_t)
        INTEGER(ONNX_I32, int32_t)
        INTEGER(ONNX_I64, int64_t)
        INTEGER(ONNX_U8, uint8_t)
        INTEGER(ONNX_U16, uint16_t)
        INTEGER(ONNX_U32, uint32_t)
        INTEGER(ONNX_U64, uint64_t)
    default:
        return false;
    }
}

/* alpha and beta, or what the operator calls them. */
static void parameters(const struct node *node, int function, float *a, float *b)
{
    *a = onnx_attr_float(node, "alpha", 1);
    *b = onnx_attr_float(node, "beta", 0);
    switch (function) {
    case UN_LEAKY:
        *a = onnx_attr_float(node, "alpha", 0.01f);
        break;
    case UN_SELU:
        *a = onnx_attr_float(node, "alpha", 1.67326319217681884765625f);
        *b = onnx_attr_float(node, "gamma", 1.05070102214813232421875f);
        break;
    case UN_HARD_SIGMOID:
        *a = onnx_attr_float(node, "alpha", 0.2f);
        *b = onnx_attr_float(node, "beta", 0.5f);
        break;
    case UN_SHRINK:
        *a = onnx_attr_float(node, "bias", 0);
        *b = onnx_attr_float(node, "lambd", 0.5f);
        break;
    }
}

int onnx_op_unary(struct call *call)
{
    const struct value *x = call->in[0];
    int function = call->arg;
    void *to = onnx_out_over(call, 0, 0);
    float a, b;

    if (!to)
        return VD_ERR_MEMORY;
    if (function == UN_GELU && onnx_attr_is(call->node, "approximate", "none", "tanh"))
        function = UN_GELU_TANH;
    parameters(call->node, function, &a, &b);
    if (x->dtype == ONNX_F32) {
        f32_functions[function](to, x->data, x->count, a, b);
    } else if (x->dtype == ONNX_F64) {
        f64_functions[function](to, x->data, x->count, a, b);
    } else if (function == UN_SHRINK) {
        for (int64_t i = 0; i < x->count; i++) {
            double v = onnx_number(x, i);

            onnx_set(call->out[0], i, v < -(double)b ? v + a : v > b ? v - a : 0);
        }
    } else if (!unary_int(function, x->dtype, to, x->data, x->count)) {
        return CANT(call, "not for %s", onnx_dtype_name(x->dtype));
    }
    return 0;
}

int onnx_op_bitwise_not(struct call *call)
{
    const struct value *x = call->in[0];
    size_t bytes = (size_t)x->count * onnx_dtype_size(x->dtype);
    uint8_t *to = onnx_out_like(call, 0, x);

    for (size_t i = 0; to && i < bytes; i++)
        to[i] = (uint8_t) ~((const uint8_t *)x->data)[i];
    return to ? 0 : VD_ERR_MEMORY;
}

int onnx_op_not(struct call *call)
{
    const struct value *x = call->in[0];
    uint8_t *to = onnx_out_like(call, 0, x);

    for (int64_t i = 0; to && i < x->count; i++)
        to[i] = !((const uint8_t *)x->data)[i];
    return to ? 0 : VD_ERR_MEMORY;
}

int onnx_op_is(struct call *call)
{
    const struct value *x = call->in[0];
    bool negative = onnx_attr_int(call->node, "detect_negative", 1);
    bool positive = onnx_attr_int(call->node, "detect_positive", 1);
    uint8_t *to = onnx_out(call, 0, ONNX_BOOL, x->rank, x->dims);

    for (int64_t i = 0; to && i < x->count; i++) {
        double v = onnx_number(x, i);

        to[i] = call->arg ? isinf(v) && (v > 0 ? positive : negative) : isnan(v);
    }
    return to ? 0 : VD_ERR_MEMORY;
}

/* Clip: bounds are attributes before version 11. */
int onnx_op_clip(struct call *call)
{
    const struct value *x = call->in[0], *low = onnx_in(call, 1), *high = onnx_in(call, 2);
    float fl = onnx_attr_float(call->node, "min", -INFINITY);
    float fh = onnx_attr_float(call->node, "max", INFINITY);
    size_t size = onnx_dtype_size(x->dtype);
    void *to = onnx_out_over(call, 0, 0);

    if (!to)
        return VD_ERR_MEMORY;
    if ((low && low->count != 1) || (high && high->count != 1))
        return BAD(call, "a bound is not one number");
    if (x->dtype == ONNX_F32) {
        const float *f = x->data;

        if (low)
            fl = *(const float *)low->data;
        if (high)
            fh = *(const float *)high->data;
        for (int64_t i = 0; i < x->count; i++) {
            float v = f[i] < fl ? fl : f[i];

            ((float *)to)[i] = v > fh ? fh : v;
        }
        return 0;
    }
    memmove(to, x->data, (size_t)x->count * size);
#define CLIP(dtype_, type)                              \
    case dtype_:                                        \
        for (int64_t i = 0; i < x->count; i++) {        \
            type *t = (type *)to + i;                   \
            if (low && *t < *(const type *)low->data)   \
                *t = *(const type *)low->data;          \
            if (high && *t > *(const type *)high->data) \
                *t = *(const type *)high->data;         \
        }                                               \
        return 0;
    switch (x->dtype) {
        CLIP(ONNX_F64, double)
        CLIP(ONNX_I8, int8_t)
        CLIP(ONNX_I16, int16_t)
        CLIP(ONNX_I32, int32_t)
        CLIP(ONNX_I64, int64_t)
        CLIP(ONNX_U8, uint8_t)
        CLIP(ONNX_U16, uint16_t)
        CLIP(ONNX_U32, uint32_t)
        CLIP(ONNX_U64, uint64_t)
    default:
        return CANT(call, "not for %s", onnx_dtype_name(x->dtype));
    }
}
