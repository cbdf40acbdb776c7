/* SPDX-License-Identifier: MIT */
#include <stdarg.h>

#include "internal.h"

/* What operators ask of the node they run: its inputs as numbers, its outputs. */

int onnx_call_fail(struct call *call, int status, const char *format, ...)
{
    char text[200];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return onnx_fail(&call->run->error, status, "node %.60s (%.40s): %s", call->node->name,
                     call->node->op, text);
}

bool onnx_wanted(const struct call *call, size_t i)
{
    return i < call->out_count && call->node->outputs[i] >= 0;
}

static void *set_out(struct call *call, size_t i, struct value *value)
{
    if (!value)
        return NULL;
    if (i >= call->out_count || call->out[i]) {
        onnx_value_drop(call->run, value);
        onnx_call_fail(call, VD_ERR_PARAMETER, "has no output %zu", i);
        return NULL;
    }
    call->out[i] = value;
    return value->data;
}

void *onnx_out(struct call *call, size_t i, enum onnx_dtype dtype, int rank, const int64_t *dims)
{
    return set_out(call, i, onnx_value_tensor(call->run, dtype, rank, dims));
}

void *onnx_out_like(struct call *call, size_t i, const struct value *like)
{
    return onnx_out(call, i, like->dtype, like->rank, like->dims);
}

void *onnx_out_over(struct call *call, size_t i, size_t from)
{
    struct value *value = call->in[from];

    if (from < 64 && (call->dying >> from & 1) && value->refs == 1 && !value->fixed &&
        !value->borrowed)
        return set_out(call, i, onnx_value_keep(value));
    return onnx_out_like(call, i, value);
}

int onnx_out_share(struct call *call, size_t i, struct value *value)
{
    if (i >= call->out_count || call->out[i])
        return BAD(call, "has no output %zu", i);
    call->out[i] = onnx_value_keep(value);
    return 0;
}

int onnx_out_alias(struct call *call, size_t i, struct value *of, int rank, const int64_t *dims)
{
    struct value *value = onnx_value_alias(call->run, of, rank, dims);

    if (!value)
        return call->run->error.status;
    return set_out(call, i, value) || !value->data ? 0 : call->run->error.status;
}

int64_t onnx_index(const struct value *value, int64_t at)
{
    return value->dtype == ONNX_I32 ? ((const int32_t *)value->data)[at]
                                    : ((const int64_t *)value->data)[at];
}

int onnx_in_ints(struct call *call, size_t i, int64_t *values, int most)
{
    const struct value *value = onnx_in(call, i);

    if (!value)
        return 0;
    if (value->kind != ONNX_TENSOR || (value->dtype != ONNX_I32 && value->dtype != ONNX_I64))
        return BAD(call, "input %zu holds no integers", i);
    if (value->rank > 1 || value->count > most)
        return BAD(call, "input %zu has more than %d values", i, most);
    for (int64_t k = 0; k < value->count; k++)
        values[k] = onnx_index(value, k);
    return (int)value->count;
}

int onnx_in_double(struct call *call, size_t i, double *ret)
{
    const struct value *value = onnx_in(call, i);

    if (!value || value->kind != ONNX_TENSOR || value->count != 1 || value->dtype == ONNX_STRING)
        return BAD(call, "input %zu is not one number", i);
    *ret = onnx_number(value, 0);
    return 0;
}

int onnx_in_int(struct call *call, size_t i, int64_t *ret)
{
    const struct value *value = onnx_in(call, i);
    double number = 0;

    if (value && value->kind == ONNX_TENSOR && value->count == 1 && value->dtype == ONNX_I64) {
        *ret = *(const int64_t *)value->data;
        return 0;
    }
    TRY(onnx_in_double(call, i, &number));
    if (!(number >= -9e18 && number <= 9e18))
        return BAD(call, "input %zu is out of range", i);
    *ret = (int64_t)number;
    return 0;
}

int onnx_axis(struct call *call, int64_t *axis, int rank)
{
    if (*axis < -rank || *axis >= rank)
        return BAD(call, "axis %lld is not one of %d", (long long)*axis, rank);
    if (*axis < 0)
        *axis += rank;
    return 0;
}

int onnx_axes(struct call *call, size_t i, int rank, int64_t *axes)
{
    int count = onnx_attr_ints(call->node, "axes", axes, RANK);
    unsigned seen = 0;

    if (count == 0)
        TRY(count = onnx_in_ints(call, i, axes, RANK));
    if (count < 0)
        return BAD(call, "names more than %d axes", RANK);
    for (int k = 0; k < count; k++) {
        TRY(onnx_axis(call, &axes[k], rank));
        if (seen >> axes[k] & 1)
            return BAD(call, "names an axis twice");
        seen |= 1u << axes[k];
    }
    return count;
}
