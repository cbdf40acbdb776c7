/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/* Reduce*, ArgMax, ArgMin, Softmax and its family, CumSum. */

/* A kept index, and how to go over what is reduced: at most RANK dimensions each. */
struct walk {
    int kept, gone;
    int64_t kept_dims[RANK], kept_strides[RANK], gone_dims[RANK], gone_strides[RANK];
    int64_t count; /* reduced to one */
};

static double reduce_one(int function, const struct value *x, int64_t base, const struct walk *w)
{
    int64_t at[RANK] = {0};
    double sum = function == RED_PROD                                 ? 1
                 : function == RED_MAX || function == RED_LOG_SUM_EXP ? -INFINITY
                 : function == RED_MIN                                ? INFINITY
                                                                      : 0;
    double total = 0;

    if (!w->count)
        return function == RED_LOG_SUM ? -INFINITY : sum;
    do {
        int64_t offset = base;
        double v;

        for (int i = 0; i < w->gone; i++)
            offset += at[i] * w->gone_strides[i];
        v = onnx_number(x, offset);
        switch (function) {
        case RED_PROD:
            sum *= v;
            break;
        case RED_MAX:
        case RED_LOG_SUM_EXP:
            sum = v != v || v > sum ? v : sum;
            break;
        case RED_MIN:
            sum = v != v || v < sum ? v : sum;
            break;
        case RED_L1:
            sum += fabs(v);
            break;
        case RED_L2:
        case RED_SUM_SQUARE:
            sum += v * v;
            break;
        default:
            sum += v;
        }
    } while (onnx_next(w->gone, w->gone_dims, at));
    if (function != RED_LOG_SUM_EXP)
        return function == RED_MEAN      ? sum / (double)w->count
               : function == RED_L2      ? sqrt(sum)
               : function == RED_LOG_SUM ? log(sum)
                                         : sum;
    if (isinf(sum))
        return sum;
    memset(at, 0, sizeof(at));
    do {
        int64_t offset = base;

        for (int i = 0; i < w->gone; i++)
            offset += at[i] * w->gone_strides[i];
        total += exp(onnx_number(x, offset) - sum);
    } while (onnx_next(w->gone, w->gone_dims, at));
    return sum + log(total);
}

/* 64-bit integers do not fit in a double. */
static uint64_t reduce_int(int function, const struct value *x, int64_t base, const struct walk *w)
{
    const uint64_t *data = x->data;
    bool is_signed = x->dtype == ONNX_I64, first = true;
    int64_t at[RANK] = {0};
    uint64_t sum = function == RED_PROD;

    if (!w->count)
        return sum;
    do {
        int64_t offset = base;
        uint64_t v;

        for (int i = 0; i < w->gone; i++)
            offset += at[i] * w->gone_strides[i];
        v = data[offset];
        if (function == RED_PROD)
            sum *= v;
        else if (function == RED_MAX || function == RED_MIN)
            sum = first || (is_signed ? ((int64_t)v > (int64_t)sum) : v > sum) ==
                               (function == RED_MAX)
                      ? v
                      : sum;
        else if (function == RED_SUM_SQUARE)
            sum += v * v;
        else if (function == RED_L1)
            sum += is_signed && (int64_t)v < 0 ? 0 - v : v;
        else
            sum += v;
        first = false;
    } while (onnx_next(w->gone, w->gone_dims, at));
    if (function == RED_MEAN)
        return is_signed ? (uint64_t)((int64_t)sum / w->count) : sum / (uint64_t)w->count;
    return sum;
}

/* Sums and means of rows of floats, and over leading axes. */
static bool reduce_rows(int function, const struct value *x, struct value *to, unsigned gone)
{
    int first = 0;
    int64_t n, rows;

    if (x->dtype != ONNX_F32 || (function != RED_SUM && function != RED_MEAN))
        return false;
    while (first < x->rank && !(gone >> first & 1))
        first++;
    for (int i = first; i < x->rank; i++)
        if (!(gone >> i & 1))
            return false;
    n = onnx_product(x->dims, first, x->rank);
    rows = onnx_product(x->dims, 0, first);
    if (!n)
        return false;
    for (int64_t r = 0; r < rows; r++) {
        const float *from = (const float *)x->data + r * n;
        float part[8] = {0};
        double sum = 0;
        int64_t i = 0;

        for (; i + 8 <= n; i += 8)
            for (int k = 0; k < 8; k++)
                part[k] += from[i + k];
        for (int k = 0; k < 8; k++)
            sum += part[k];
        for (; i < n; i++)
            sum += from[i];
        ((float *)to->data)[r] = (float)(function == RED_MEAN ? sum / (double)n : sum);
    }
    return true;
}

int onnx_op_reduce(struct call *call)
{
    struct value *x = call->in[0];
    struct walk w = {.count = 1};
    int64_t axes[RANK], dims[RANK], strides[RANK], at[RANK] = {0}, i = 0;
    bool keep = onnx_attr_int(call->node, "keepdims", 1);
    bool noop = onnx_attr_int(call->node, "noop_with_empty_axes", 0);
    unsigned gone = 0;
    int count, rank = 0;
    struct value *to;

    TRY(count = onnx_axes(call, 1, x->rank, axes));
    if (count == 0 && noop)
        return onnx_out_share(call, 0, x);
    for (int k = 0; k < count; k++)
        gone |= 1u << axes[k];
    if (count == 0)
        gone = (1u << x->rank) - 1;
    onnx_strides(x->rank, x->dims, strides);
    for (int k = 0; k < x->rank; k++) {
        if (gone >> k & 1) {
            w.gone_dims[w.gone] = x->dims[k];
            w.gone_strides[w.gone++] = strides[k];
            w.count *= x->dims[k];
            if (keep)
                dims[rank++] = 1;
        } else {
            w.kept_dims[w.kept] = x->dims[k];
            w.kept_strides[w.kept++] = strides[k];
            dims[rank++] = x->dims[k];
        }
    }
    if (!onnx_out(call, 0, x->dtype, rank, dims))
        return VD_ERR_MEMORY;
    to = call->out[0];
    if (!to->count || reduce_rows(call->arg, x, to, gone))
        return 0;
    if (!w.count && (call->arg == RED_MAX || call->arg == RED_MIN) && !(M(x->dtype) & M_FLOAT))
        return BAD(call, "has nothing to choose from");
    do {
        int64_t base = 0;

        for (int k = 0; k < w.kept; k++)
            base += at[k] * w.kept_strides[k];
        if ((x->dtype == ONNX_I64 || x->dtype == ONNX_U64) && call->arg != RED_L2 &&
            call->arg != RED_LOG_SUM && call->arg != RED_LOG_SUM_EXP)
            ((uint64_t *)to->data)[i++] = reduce_int(call->arg, x, base, &w);
        else
            onnx_set(to, i++, reduce_one(call->arg, x, base, &w));
    } while (onnx_next(w.kept, w.kept_dims, at));
    return 0;
}

int onnx_op_arg(struct call *call)
{
    const struct value *x = call->in[0];
    int64_t axis = onnx_attr_int(call->node, "axis", 0), outer, inner, n, *to;
    bool last = onnx_attr_int(call->node, "select_last_index", 0);
    bool keep = onnx_attr_int(call->node, "keepdims", 1);
    int64_t dims[RANK];
    int rank = 0;

    TRY(onnx_axis(call, &axis, x->rank));
    for (int i = 0; i < x->rank; i++)
        if (i != axis || keep)
            dims[rank++] = i == axis ? 1 : x->dims[i];
    to = onnx_out(call, 0, ONNX_I64, rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    n = x->dims[axis];
    outer = onnx_product(x->dims, 0, (int)axis);
    inner = onnx_product(x->dims, (int)axis + 1, x->rank);
    if (!n && outer && inner)
        return BAD(call, "has nothing to choose from");
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < inner; k++) {
            int64_t best = 0;
            double value = onnx_number(x, o * n * inner + k);

            for (int64_t i = 1; i < n; i++) {
                double v = onnx_number(x, (o * n + i) * inner + k);
                bool better = call->arg == RED_ARG_MAX ? v > value : v < value;

                if (better || (last && v == value)) {
                    best = i;
                    value = v;
                }
            }
            to[o * inner + k] = best;
        }
    return 0;
}

/* arg 0 Softmax, 1 LogSoftmax, 2 Hardmax. Before version 13 all from the axis on is one row. */
int onnx_op_softmax(struct call *call)
{
    const struct value *x = call->in[0];
    bool flat = call->node->opset < 13;
    int64_t axis = onnx_attr_int(call->node, "axis", flat ? 1 : -1), n, outer, inner;
    void *to = onnx_out_like(call, 0, x);
    struct value *y = call->out[0];

    if (!to)
        return VD_ERR_MEMORY;
    if (flat && axis == x->rank)
        axis = x->rank, n = 1;
    else if (x->rank == 0)
        axis = 0, n = 1;
    else
        TRY(onnx_axis(call, &axis, x->rank));
    outer = onnx_product(x->dims, 0, (int)axis);
    n = axis == x->rank ? 1 : flat ? onnx_product(x->dims, (int)axis, x->rank) : x->dims[axis];
    inner = flat || axis == x->rank ? 1 : onnx_product(x->dims, (int)axis + 1, x->rank);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < inner; k++) {
            int64_t base = o * n * inner + k, best = 0;
            double most = -INFINITY, sum = 0;

            for (int64_t i = 0; i < n; i++) {
                double v = onnx_number(x, base + i * inner);

                if (v > most)
                    best = i, most = v;
            }
            if (call->arg == 2) {
                for (int64_t i = 0; i < n; i++)
                    onnx_set(y, base + i * inner, i == best);
                continue;
            }
            if (x->dtype == ONNX_F32 && inner == 1 && call->arg == 0) {
                const float *f = (const float *)x->data + base;
                float *t = (float *)to + base, scale;

                for (int64_t i = 0; i < n; i++) {
                    t[i] = expf(f[i] - (float)most);
                    sum += t[i];
                }
                scale = (float)(1 / sum);
                for (int64_t i = 0; i < n; i++)
                    t[i] *= scale;
                continue;
            }
            for (int64_t i = 0; i < n; i++)
                sum += exp(onnx_number(x, base + i * inner) - most);
            for (int64_t i = 0; i < n; i++) {
                double v = onnx_number(x, base + i * inner) - most;

                onnx_set(y, base + i * inner, call->arg ? v - log(sum) : exp(v) / sum);
            }
        }
    return 0;
}

int onnx_op_cumsum(struct call *call)
{
    const struct value *x = call->in[0];
    bool exclusive = onnx_attr_int(call->node, "exclusive", 0);
    bool reverse = onnx_attr_int(call->node, "reverse", 0);
    int64_t axis, n, outer, inner;
    struct value *y;

    TRY(onnx_in_int(call, 1, &axis));
    TRY(onnx_axis(call, &axis, x->rank));
    if (!onnx_out_like(call, 0, x))
        return VD_ERR_MEMORY;
    y = call->out[0];
    n = x->dims[axis];
    outer = onnx_product(x->dims, 0, (int)axis);
    inner = onnx_product(x->dims, (int)axis + 1, x->rank);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < inner; k++) {
            double sum = 0;
            uint64_t whole = 0;

            for (int64_t i = 0; i < n; i++) {
                int64_t at = (o * n + (reverse ? n - 1 - i : i)) * inner + k;
                double v = onnx_number(x, at);

                if (x->dtype == ONNX_I64 || x->dtype == ONNX_U64) {
                    uint64_t w = ((const uint64_t *)x->data)[at];

                    ((uint64_t *)y->data)[at] = exclusive ? whole : whole + w;
                    whole += w;
                } else {
                    onnx_set(y, at, exclusive ? sum : sum + v);
                    sum += v;
                }
            }
        }
    return 0;
}
