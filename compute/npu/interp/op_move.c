/* SPDX-License-Identifier: MIT */
#include "ops.h"

/* Transpose, Slice, Concat, Split, Pad, Tile, DepthToSpace, ReverseSequence, Compress. */

int onnx_op_transpose(struct call *call)
{
    struct value *x = call->in[0];
    int64_t perm[RANK], dims[RANK], strides[RANK], from[RANK], to_strides[RANK];
    int count = onnx_attr_ints(call->node, "perm", perm, RANK);
    unsigned seen = 0;
    void *to;

    if (count == 0)
        for (int i = 0; i < x->rank; i++)
            perm[i] = x->rank - 1 - i;
    else if (count != x->rank)
        return BAD(call, "has %d of %d axes", count, x->rank);
    onnx_strides(x->rank, x->dims, strides);
    for (int i = 0; i < x->rank; i++) {
        TRY(onnx_axis(call, &perm[i], x->rank));
        if (seen >> perm[i] & 1)
            return BAD(call, "names an axis twice");
        seen |= 1u << perm[i];
        dims[i] = x->dims[perm[i]];
        from[i] = strides[perm[i]];
    }
    to = onnx_out(call, 0, x->dtype, x->rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    onnx_strides(x->rank, dims, to_strides);
    onnx_copy(onnx_dtype_size(x->dtype), to, to_strides, x->data, from, x->rank, dims);
    return 0;
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

int onnx_op_slice(struct call *call)
{
    struct value *x = call->in[0];
    int64_t starts[RANK], ends[RANK], axes[RANK], steps[RANK], dims[RANK], from[RANK];
    int64_t strides[RANK], to_strides[RANK], offset = 0;
    size_t size = onnx_dtype_size(x->dtype);
    int count, n;
    bool whole = true;
    uint8_t *to;

    if (call->node->opset < 10) {
        count = onnx_attr_ints(call->node, "starts", starts, RANK);
        if (count < 0 || onnx_attr_ints(call->node, "ends", ends, RANK) != count)
            return BAD(call, "its starts and ends do not fit");
        n = onnx_attr_ints(call->node, "axes", axes, RANK);
    } else {
        TRY(count = onnx_in_ints(call, 1, starts, RANK));
        TRY(n = onnx_in_ints(call, 2, ends, RANK));
        if (n != count)
            return BAD(call, "its starts and ends do not fit");
        TRY(n = onnx_in_ints(call, 3, axes, RANK));
    }
    if (n && n != count)
        return BAD(call, "its starts and axes do not fit");
    for (int i = 0; n == 0 && i < count; i++)
        axes[i] = i;
    TRY(n = call->node->opset < 10 ? 0 : onnx_in_ints(call, 4, steps, RANK));
    if (n && n != count)
        return BAD(call, "its starts and steps do not fit");
    memcpy(dims, x->dims, sizeof(dims));
    onnx_strides(x->rank, x->dims, strides);
    memcpy(from, strides, sizeof(from));
    for (int i = 0; i < count; i++) {
        int64_t step = n ? steps[i] : 1, start = starts[i], end = ends[i], size_here;

        TRY(onnx_axis(call, &axes[i], x->rank));
        size_here = x->dims[axes[i]];
        if (step == 0 || step < -(1ll << 62))
            return BAD(call, "has step 0");
        start = clamp(start < 0 ? start + size_here : start, step < 0 ? (size_here ? 0 : -1) : 0,
                      step < 0 ? size_here - 1 : size_here);
        end = end < 0 ? end + size_here : end;
        end = clamp(end, step < 0 ? -1 : 0, size_here);
        dims[axes[i]] = step > 0 ? (end > start ? (end - start - 1) / step + 1 : 0)
                                 : (end < start ? (start - end - 1) / -step + 1 : 0);
        whole &= dims[axes[i]] == size_here && step == 1;
        if (dims[axes[i]] > 1 || start > 0)
            offset += start * strides[axes[i]];
        from[axes[i]] = dims[axes[i]] > 1 ? strides[axes[i]] * step : strides[axes[i]];
    }
    if (whole)
        return onnx_out_share(call, 0, x);
    to = onnx_out(call, 0, x->dtype, x->rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    onnx_strides(x->rank, dims, to_strides);
    onnx_copy(size, to, to_strides, (uint8_t *)x->data + offset * (int64_t)size, from, x->rank,
              dims);
    return 0;
}

int onnx_op_concat(struct call *call)
{
    const struct value *first = call->in[0];
    int64_t axis = onnx_attr_int(call->node, "axis", 1), dims[RANK], outer;
    size_t size, row, done = 0;
    uint8_t *to;

    if (!first)
        return BAD(call, "its first input is missing");
    TRY(onnx_axis(call, &axis, first->rank));
    memcpy(dims, first->dims, sizeof(dims));
    for (size_t k = 1; k < call->in_count; k++) {
        const struct value *x = call->in[k];

        if (!x || x->rank != first->rank)
            return BAD(call, "its inputs are of different rank");
        for (int i = 0; i < x->rank; i++)
            if (i != axis && x->dims[i] != dims[i])
                return BAD(call, "dimension %d of its inputs differs", i);
        dims[axis] += x->dims[axis];
    }
    to = onnx_out(call, 0, first->dtype, first->rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    size = onnx_dtype_size(first->dtype) *
           (call->out[0]->count ? (size_t)onnx_product(dims, (int)axis + 1, first->rank) : 0);
    outer = call->out[0]->count ? onnx_product(dims, 0, (int)axis) : 0;
    row = size * (size_t)dims[axis];
    for (size_t k = 0; k < call->in_count; k++) {
        const struct value *x = call->in[k];
        size_t part = size * (size_t)x->dims[axis];

        for (int64_t o = 0; o < outer; o++)
            memcpy(to + (size_t)o * row + done, (const uint8_t *)x->data + (size_t)o * part, part);
        done += part;
    }
    return 0;
}

int onnx_op_split(struct call *call)
{
    const struct value *x = call->in[0], *sizes = onnx_in(call, 1);
    const struct attribute *a = onnx_attr(call->node, "split");
    int64_t axis = onnx_attr_int(call->node, "axis", 0), n, outer, inner, at = 0;
    int64_t count = (int64_t)call->out_count, each, dims[RANK];
    size_t size = onnx_dtype_size(x->dtype);

    TRY(onnx_axis(call, &axis, x->rank));
    n = x->dims[axis];
    each = (n + count - 1) / count;
    if (sizes ? sizes->count != count : a && (a->type != ATTR_INTS || a->count != call->out_count))
        return BAD(call, "has not as many sizes as outputs");
    if (!sizes && !a && n % count && call->node->opset < 18)
        return BAD(call, "of %lld into %lld equal parts", (long long)n, (long long)count);
    outer = onnx_product(x->dims, 0, (int)axis);
    inner = onnx_product(x->dims, (int)axis + 1, x->rank);
    memcpy(dims, x->dims, sizeof(dims));
    for (int64_t k = 0; k < count; k++) {
        int64_t part = sizes ? ((const int64_t *)sizes->data)[k] : a ? a->ints[k] : each;
        uint8_t *to;

        if (!sizes && !a && part > n - at)
            part = n - at;
        if (part < 0 || part > n - at)
            return BAD(call, "into more than there is");
        dims[axis] = part;
        to = onnx_out(call, (size_t)k, x->dtype, x->rank, dims);
        if (!to)
            return VD_ERR_MEMORY;
        for (int64_t o = 0; o < outer; o++)
            memcpy(to + (size_t)(o * part * inner) * size,
                   (const uint8_t *)x->data + (size_t)((o * n + at) * inner) * size,
                   (size_t)(part * inner) * size);
        at += part;
    }
    return at == n ? 0 : BAD(call, "its sizes do not add up");
}

/* Where an index outside reads from: -1 the constant. */
static int64_t outside(int mode, int64_t i, int64_t n)
{
    if (i >= 0 && i < n)
        return i;
    if (mode == 0 || n == 0)
        return -1;
    if (mode == 1)
        return i < 0 ? 0 : n - 1;
    if (mode == 3)
        return (i % n + n) % n;
    if (n == 1)
        return 0;
    i = i < 0 ? -i : i;
    i %= 2 * (n - 1);
    return i < n ? i : 2 * (n - 1) - i;
}

int onnx_op_pad(struct call *call)
{
    const struct value *x = call->in[0], *constant = onnx_in(call, 2);
    const char *name = onnx_attr_string(call->node, "mode", "constant");
    int mode = strcmp(name, "edge") == 0      ? 1
               : strcmp(name, "reflect") == 0 ? 2
               : strcmp(name, "wrap") == 0    ? 3
                                              : 0;
    size_t size = onnx_dtype_size(x->dtype);
    int64_t pads[2 * RANK], before[RANK] = {0}, dims[RANK], axes[RANK], strides[RANK];
    int64_t at[RANK] = {0};
    float number = onnx_attr_float(call->node, "value", 0);
    uint8_t zero[16] = {0};
    int count, n = 0;
    uint8_t *to;

    if (!mode && strcmp(name, "constant"))
        return CANT(call, "in mode %.20s", name);
    if (call->node->opset < 11)
        count = onnx_attr_ints(call->node, "pads", pads, 2 * RANK);
    else
        TRY(count = onnx_in_ints(call, 1, pads, 2 * RANK));
    if (onnx_in(call, 3))
        TRY(n = onnx_in_ints(call, 3, axes, RANK));
    for (int i = 0; !onnx_in(call, 3) && i < x->rank; i++)
        axes[n++] = i;
    if (count != 2 * n)
        return BAD(call, "has %d sizes for %d axes", count, n);
    if (constant && (constant->count != 1 || constant->dtype != x->dtype))
        return BAD(call, "its constant is not one element of the same type");
    memcpy(dims, x->dims, sizeof(dims));
    for (int i = 0; i < n; i++) {
        TRY(onnx_axis(call, &axes[i], x->rank));
        if (pads[i] < -(1ll << 40) || pads[i] > 1ll << 40 || pads[n + i] < -(1ll << 40) ||
            pads[n + i] > 1ll << 40)
            return BAD(call, "by an impossible size");
        before[axes[i]] = pads[i];
        dims[axes[i]] += pads[i] + pads[n + i];
    }
    to = onnx_out(call, 0, x->dtype, x->rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    if (constant)
        memcpy(zero, constant->data, size);
    else if (x->dtype == ONNX_F32)
        memcpy(zero, &number, sizeof(number));
    if (!call->out[0]->count)
        return 0;
    onnx_strides(x->rank, x->dims, strides);
    do {
        int64_t from = 0;
        bool in = true;

        for (int i = 0; in && i < x->rank; i++) {
            int64_t k = outside(mode, at[i] - before[i], x->dims[i]);

            in = k >= 0;
            from += k * strides[i];
        }
        memcpy(to, in ? (const uint8_t *)x->data + (size_t)from * size : zero, size);
        to += size;
    } while (onnx_next(x->rank, dims, at));
    return 0;
}

int onnx_op_tile(struct call *call)
{
    const struct value *x = call->in[0];
    size_t size = onnx_dtype_size(x->dtype);
    int64_t repeats[RANK], dims[RANK], strides[RANK], at[RANK] = {0};
    int count;
    uint8_t *to;

    TRY(count = onnx_in_ints(call, 1, repeats, RANK));
    if (count != x->rank)
        return BAD(call, "has %d counts for %d axes", count, x->rank);
    for (int i = 0; i < x->rank; i++) {
        if (repeats[i] < 0 || repeats[i] > 1ll << 40 || x->dims[i] > 1ll << 20)
            return BAD(call, "by an impossible count");
        dims[i] = x->dims[i] * repeats[i];
    }
    to = onnx_out(call, 0, x->dtype, x->rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    if (!call->out[0]->count)
        return 0;
    onnx_strides(x->rank, x->dims, strides);
    do {
        int64_t from = 0;

        for (int i = 0; i < x->rank; i++)
            from += at[i] % x->dims[i] * strides[i];
        memcpy(to, (const uint8_t *)x->data + (size_t)from * size, size);
        to += size;
    } while (onnx_next(x->rank, dims, at));
    return 0;
}

/* arg 0 DepthToSpace, 1 SpaceToDepth: transposes of a view in six dimensions. */
int onnx_op_depth_space(struct call *call)
{
    const struct value *x = call->in[0];
    int64_t b = onnx_attr_int(call->node, "blocksize", 0), n, c, h, w;
    bool crd = onnx_attr_is(call->node, "mode", "DCR", "CRD");
    int64_t dims[4], strides[6], to_strides[6];
    void *to;

    if (x->rank != 4 || b < 1 || b > 65536)
        return BAD(call, "needs four dimensions and a block size");
    n = x->dims[0], c = x->dims[1], h = x->dims[2], w = x->dims[3];
    if (call->arg ? h % b || w % b : c % (b * b))
        return BAD(call, "the block size does not fit");
    dims[0] = n;
    if (call->arg) {
        int64_t view[6] = {n, c, h / b, b, w / b, b};
        int order[6] = {0, 3, 5, 1, 2, 4};
        int64_t from[6], d[6];

        dims[1] = c * b * b, dims[2] = h / b, dims[3] = w / b;
        if (!(to = onnx_out(call, 0, x->dtype, 4, dims)))
            return VD_ERR_MEMORY;
        onnx_strides(6, view, strides);
        for (int i = 0; i < 6; i++)
            d[i] = view[order[i]], from[i] = strides[order[i]];
        onnx_strides(6, d, to_strides);
        onnx_copy(onnx_dtype_size(x->dtype), to, to_strides, x->data, from, 6, d);
    } else {
        int64_t deep = c / (b * b);
        int64_t view[6] = {n, crd ? deep : b, b, crd ? b : deep, h, w};
        int order[6] = {0, crd ? 1 : 3, 4, crd ? 2 : 1, 5, crd ? 3 : 2};
        int64_t from[6], d[6];

        dims[1] = deep, dims[2] = h * b, dims[3] = w * b;
        if (!(to = onnx_out(call, 0, x->dtype, 4, dims)))
            return VD_ERR_MEMORY;
        onnx_strides(6, view, strides);
        for (int i = 0; i < 6; i++)
            d[i] = view[order[i]], from[i] = strides[order[i]];
        onnx_strides(6, d, to_strides);
        onnx_copy(onnx_dtype_size(x->dtype), to, to_strides, x->data, from, 6, d);
    }
    return 0;
}

int onnx_op_reverse_sequence(struct call *call)
{
    const struct value *x = call->in[0], *lens = call->in[1];
    int64_t time = onnx_attr_int(call->node, "time_axis", 0);
    int64_t batch = onnx_attr_int(call->node, "batch_axis", 1), inner;
    size_t size = onnx_dtype_size(x->dtype);
    uint8_t *to;

    if (x->rank < 2 || time < 0 || time > 1 || batch != 1 - time || lens->count != x->dims[batch])
        return BAD(call, "its axes or lengths do not fit");
    to = onnx_out_like(call, 0, x);
    if (!to)
        return VD_ERR_MEMORY;
    inner = onnx_product(x->dims, 2, x->rank);
    for (int64_t b = 0; b < x->dims[batch]; b++) {
        int64_t len = ((const int64_t *)lens->data)[b];

        if (len < 0 || len > x->dims[time])
            return BAD(call, "a length is out of range");
        for (int64_t t = 0; t < x->dims[time]; t++) {
            int64_t from = t < len ? len - 1 - t : t;
            int64_t a = time ? b * x->dims[1] + t : t * x->dims[1] + b;
            int64_t c = time ? b * x->dims[1] + from : from * x->dims[1] + b;

            memcpy(to + (size_t)(a * inner) * size,
                   (const uint8_t *)x->data + (size_t)(c * inner) * size, (size_t)inner * size);
        }
    }
    return 0;
}

int onnx_op_compress(struct call *call)
{
    const struct value *x = call->in[0], *c = call->in[1];
    const struct attribute *a = onnx_attr(call->node, "axis");
    int64_t axis = a ? a->i : 0, outer = 1, inner = 1, n = x->count, kept = 0, dims[RANK];
    size_t size = onnx_dtype_size(x->dtype);
    uint8_t *to;

    if (a) {
        TRY(onnx_axis(call, &axis, x->rank));
        outer = onnx_product(x->dims, 0, (int)axis);
        inner = onnx_product(x->dims, (int)axis + 1, x->rank);
        n = x->dims[axis];
    }
    if (c->rank != 1 || c->count > n)
        return BAD(call, "its condition does not fit");
    for (int64_t i = 0; i < c->count; i++)
        kept += ((const uint8_t *)c->data)[i];
    memcpy(dims, x->dims, sizeof(dims));
    dims[axis] = kept;
    to = onnx_out(call, 0, x->dtype, a ? x->rank : 1, dims);
    if (!to)
        return VD_ERR_MEMORY;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < c->count; i++)
            if (((const uint8_t *)c->data)[i]) {
                memcpy(to, (const uint8_t *)x->data + (size_t)((o * n + i) * inner) * size,
                       (size_t)inner * size);
                to += (size_t)inner * size;
            }
    return 0;
}
