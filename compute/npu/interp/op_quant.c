/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <math.h>

#include "ops.h"

/* Cast, and numbers as small integers. */

static int parse(struct call *call, const struct onnx_string *s, struct value *to, int64_t at)
{
    char text[64], *end;
    size_t n = s->size < sizeof(text) ? s->size : sizeof(text) - 1;

    if (n)
        memcpy(text, s->data, n);
    text[n] = 0;
    if (to->dtype == ONNX_I64) {
        ((int64_t *)to->data)[at] = strtoll(text, &end, 10);
        if (n && !*end)
            return 0;
    }
    onnx_set(to, at, strtod(text, &end));
    while (isspace((unsigned char)*end))
        end++;
    return n && !*end ? 0 : BAD(call, "\"%.40s\" is no number", text);
}

static int print(struct call *call, const struct value *x, int64_t at, struct onnx_string *to)
{
    char text[64], *copy;
    int n;

    if (x->dtype == ONNX_BOOL)
        n = snprintf(text, sizeof(text), "%s", onnx_number(x, at) != 0 ? "True" : "False");
    else if (x->dtype == ONNX_I64)
        n = snprintf(text, sizeof(text), "%lld", (long long)((const int64_t *)x->data)[at]);
    else if (M(x->dtype) & (M_INT))
        n = snprintf(text, sizeof(text), "%.0f", onnx_number(x, at));
    else
        for (int digits = x->dtype == ONNX_F64 ? 15 : 6; digits <= 17; digits++) {
            double v = onnx_number(x, at), back;

            n = snprintf(text, sizeof(text), "%.*g", digits, v);
            back = strtod(text, NULL);
            if (x->dtype == ONNX_F64 ? back == v : (float)back == (float)v)
                break;
        }
    copy = onnx_text(call->run, (uint64_t)n);
    if (!copy)
        return VD_ERR_MEMORY;
    memcpy(copy, text, (size_t)n);
    *to = (struct onnx_string){copy, (size_t)n};
    return 0;
}

/* Integers wrap to fewer bits, floats are cut. */
static void convert(const struct value *x, struct value *y)
{
    bool whole = M(y->dtype) & M_INT;

    for (int64_t i = 0; i < x->count; i++) {
        if (x->dtype == ONNX_I64 && y->dtype == ONNX_F32) {
            ((float *)y->data)[i] = (float)((const int64_t *)x->data)[i];
        } else if (whole && (M(x->dtype) & (M_INT | M(ONNX_BOOL)))) {
            uint64_t v = x->dtype == ONNX_I64 || x->dtype == ONNX_U64
                             ? ((const uint64_t *)x->data)[i]
                             : (uint64_t)(int64_t)onnx_number(x, i);

            memcpy((uint8_t *)y->data + (size_t)i * onnx_dtype_size(y->dtype), &v,
                   onnx_dtype_size(y->dtype));
        } else {
            onnx_set(y, i, onnx_number(x, i));
        }
    }
}

/* arg 1: CastLike */
int onnx_op_cast(struct call *call)
{
    struct value *x = call->in[0];
    int64_t to = call->arg ? (int64_t)call->in[1]->dtype : onnx_attr_int(call->node, "to", 0);
    struct value *y;

    if (to < 0 || to >= ONNX_DTYPES || !onnx_dtype_size((enum onnx_dtype)to))
        return CANT(call, "to type %lld", (long long)to);
    if (x->dtype == (enum onnx_dtype)to)
        return onnx_out_share(call, 0, x);
    if (!onnx_out(call, 0, (enum onnx_dtype)to, x->rank, x->dims))
        return VD_ERR_MEMORY;
    y = call->out[0];
    if (x->dtype != ONNX_STRING && to != ONNX_STRING) {
        convert(x, y);
        return 0;
    }
    for (int64_t i = 0; i < x->count; i++)
        if (x->dtype == ONNX_STRING)
            TRY(parse(call, (const struct onnx_string *)x->data + i, y, i));
        else
            TRY(print(call, x, i, (struct onnx_string *)y->data + i));
    return 0;
}

/* One scale, or one for each index of the axis. */
static int read_axis(struct call *call, const struct value *x, const struct value *scale,
                     const struct value *zero, int64_t *n, int64_t *inner)
{
    int64_t axis = onnx_attr_int(call->node, "axis", 1);

    *n = *inner = 1;
    if (zero && zero->count != scale->count)
        return BAD(call, "its scale and zero point do not fit");
    if (scale->rank == 0 || (scale->rank == 1 && scale->count == 1))
        return 0;
    TRY(onnx_axis(call, &axis, x->rank));
    *n = x->dims[axis];
    *inner = onnx_product(x->dims, (int)axis + 1, x->rank);
    return scale->rank == 1 && scale->count == *n ? 0 : CANT(call, "with scales of that shape");
}

int onnx_op_quantize(struct call *call)
{
    const struct value *x = call->in[0], *scale = call->in[1], *zero = onnx_in(call, 2);
    int64_t n, inner;

    if (onnx_attr_int(call->node, "block_size", 0) || onnx_attr_int(call->node, "output_dtype", 0))
        return CANT(call, "with attributes of version 21");
    TRY(read_axis(call, x, scale, zero, &n, &inner));
    if (zero && !(M(zero->dtype) & M_BYTE))
        return CANT(call, "to %s", onnx_dtype_name(zero->dtype));
    if (!onnx_out(call, 0, zero ? zero->dtype : ONNX_U8, x->rank, x->dims))
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t k = i / inner % n;
        float by = (float)onnx_number(scale, k);
        double q = rint((double)((float)onnx_number(x, i) / by));

        onnx_set(call->out[0], i, q + (zero ? onnx_number(zero, k) : 0));
    }
    return 0;
}

int onnx_op_dequantize(struct call *call)
{
    const struct value *x = call->in[0], *scale = call->in[1], *zero = onnx_in(call, 2);
    int64_t n, inner;
    float *to;

    if (onnx_attr_int(call->node, "block_size", 0))
        return CANT(call, "with attributes of version 21");
    TRY(read_axis(call, x, scale, zero, &n, &inner));
    if (zero && zero->dtype != x->dtype)
        return BAD(call, "its zero point is of another type");
    to = onnx_out(call, 0, ONNX_F32, x->rank, x->dims);
    if (!to)
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t k = i / inner % n;

        to[i] = (float)((onnx_number(x, i) - (zero ? onnx_number(zero, k) : 0)) *
                        onnx_number(scale, k));
    }
    return 0;
}

int onnx_op_dynamic_quantize(struct call *call)
{
    const struct value *x = call->in[0];
    const float *f = x->data;
    float low = 0, high = 0, *scale, q;
    uint8_t *to = onnx_out(call, 0, ONNX_U8, x->rank, x->dims), *zero;

    for (int64_t i = 0; i < x->count; i++) {
        low = f[i] < low ? f[i] : low;
        high = f[i] > high ? f[i] : high;
    }
    scale = onnx_out(call, 1, ONNX_F32, 0, NULL);
    zero = onnx_out(call, 2, ONNX_U8, 0, NULL);
    if (!to || !scale || !zero)
        return VD_ERR_MEMORY;
    *scale = (high - low) / 255;
    q = *scale > 0 ? rintf(-low / *scale) : 0;
    *zero = (uint8_t)(q < 0 ? 0 : q > 255 ? 255 : q);
    for (int64_t i = 0; i < x->count; i++) {
        q = *scale > 0 ? rintf(f[i] / *scale) + *zero : 0;
        to[i] = (uint8_t)(q > 0 ? (q > 255 ? 255 : q) : 0);
    }
    return 0;
}
