/* SPDX-License-Identifier: MIT */
#include "ops.h"

/* Gather*, Scatter*, OneHot, NonZero: elements by index. Every index is checked. */

static int fix(struct call *call, int64_t *index, int64_t n)
{
    if (*index < -n || *index >= n)
        return BAD(call, "index %lld is not one of %lld", (long long)*index, (long long)n);
    if (*index < 0)
        *index += n;
    return 0;
}

int onnx_op_gather(struct call *call)
{
    const struct value *x = call->in[0], *indices = call->in[1];
    int64_t axis = onnx_attr_int(call->node, "axis", 0), dims[RANK], outer, n;
    int rank = x->rank - 1 + indices->rank;
    size_t row;
    uint8_t *to;

    TRY(onnx_axis(call, &axis, x->rank));
    if (rank > RANK)
        return CANT(call, "to more than %d dimensions", RANK);
    for (int i = 0; i < rank; i++)
        dims[i] = i < axis                   ? x->dims[i]
                  : i < axis + indices->rank ? indices->dims[i - axis]
                                             : x->dims[i - indices->rank + 1];
    to = onnx_out(call, 0, x->dtype, rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    n = x->dims[axis];
    outer = onnx_product(x->dims, 0, (int)axis);
    row = (size_t)onnx_product(x->dims, (int)axis + 1, x->rank) * onnx_dtype_size(x->dtype);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < indices->count; i++) {
            int64_t k = onnx_index(indices, i);

            TRY(fix(call, &k, n));
            memcpy(to, (const uint8_t *)x->data + (size_t)(o * n + k) * row, row);
            to += row;
        }
    return 0;
}

int onnx_op_gather_elements(struct call *call)
{
    const struct value *x = call->in[0], *indices = call->in[1];
    int64_t axis = onnx_attr_int(call->node, "axis", 0), strides[RANK], at[RANK] = {0}, i = 0;
    size_t size = onnx_dtype_size(x->dtype);
    uint8_t *to;

    TRY(onnx_axis(call, &axis, x->rank));
    if (indices->rank != x->rank)
        return BAD(call, "its inputs are of different rank");
    for (int d = 0; d < x->rank; d++)
        if (d != axis && indices->dims[d] > x->dims[d])
            return BAD(call, "its indices are larger than the data");
    to = onnx_out(call, 0, x->dtype, x->rank, indices->dims);
    if (!to)
        return VD_ERR_MEMORY;
    onnx_strides(x->rank, x->dims, strides);
    if (!indices->count)
        return 0;
    do {
        int64_t k = onnx_index(indices, i++), from = 0;

        TRY(fix(call, &k, x->dims[axis]));
        for (int d = 0; d < x->rank; d++)
            from += (d == axis ? k : at[d]) * strides[d];
        memcpy(to, (const uint8_t *)x->data + (size_t)from * size, size);
        to += size;
    } while (onnx_next(x->rank, indices->dims, at));
    return 0;
}

/* The place, in elements, of tuple `at` of indices of the data's dimensions from `first` on. */
static int place(struct call *call, const struct value *x, const struct value *indices, int64_t at,
                 int depth, int first, int64_t *ret)
{
    int64_t strides[RANK];

    onnx_strides(x->rank, x->dims, strides);
    for (int d = 0; d < depth; d++) {
        int64_t k = onnx_index(indices, at * depth + d);

        TRY(fix(call, &k, x->dims[first + d]));
        *ret += k * strides[first + d];
    }
    return 0;
}

int onnx_op_gather_nd(struct call *call)
{
    const struct value *x = call->in[0], *indices = call->in[1];
    int64_t batch = onnx_attr_int(call->node, "batch_dims", 0), dims[RANK], tuples, batches;
    int depth, rank = 0;
    size_t row;
    uint8_t *to;

    if (indices->rank < 1 || batch < 0 || batch >= indices->rank || batch >= x->rank)
        return BAD(call, "its ranks do not fit");
    if (indices->dims[indices->rank - 1] < 1 || indices->dims[indices->rank - 1] > x->rank - batch)
        return BAD(call, "its indices do not fit");
    depth = (int)indices->dims[indices->rank - 1];
    if (indices->rank - 1 + x->rank - depth - batch > RANK)
        return CANT(call, "to more than %d dimensions", RANK);
    for (int i = 0; i < indices->rank - 1; i++)
        dims[rank++] = indices->dims[i];
    for (int i = (int)batch + depth; i < x->rank; i++)
        dims[rank++] = x->dims[i];
    for (int i = 0; i < batch; i++)
        if (x->dims[i] != indices->dims[i])
            return BAD(call, "its batches differ");
    to = onnx_out(call, 0, x->dtype, rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    row = (size_t)onnx_product(x->dims, (int)batch + depth, x->rank) * onnx_dtype_size(x->dtype);
    tuples = indices->count / depth;
    batches = onnx_product(indices->dims, 0, (int)batch);
    for (int64_t i = 0; i < tuples; i++) {
        int64_t from = i / (tuples / batches) * onnx_product(x->dims, (int)batch, x->rank);

        TRY(place(call, x, indices, i, depth, (int)batch, &from));
        memcpy(to + (size_t)i * row,
               (const uint8_t *)x->data + (size_t)from * onnx_dtype_size(x->dtype), row);
    }
    return 0;
}

/* 0 none, else a binary function's number + 1. */
static int reduction(struct call *call, int *ret)
{
    const char *name = onnx_attr_string(call->node, "reduction", "none");

    *ret = strcmp(name, "none") == 0  ? 0
           : strcmp(name, "add") == 0 ? BIN_ADD + 1
           : strcmp(name, "mul") == 0 ? BIN_MUL + 1
           : strcmp(name, "min") == 0 ? BIN_MIN + 1
           : strcmp(name, "max") == 0 ? BIN_MAX + 1
                                      : -1;
    return *ret < 0 ? CANT(call, "with reduction %.20s", name) : 0;
}

static int put(struct call *call, int function, struct value *to, int64_t at,
               const struct value *from, int64_t from_at)
{
    size_t size = onnx_dtype_size(to->dtype);
    uint8_t *t = (uint8_t *)to->data + (size_t)at * size;
    uint8_t *f = (uint8_t *)from->data + (size_t)from_at * size;
    struct value a = {.dtype = to->dtype, .count = 1, .data = t}, b = a;

    b.data = f;
    if (function)
        return onnx_binary(call, function - 1, &a, &b, &a);
    memcpy(t, f, size);
    return 0;
}

int onnx_op_scatter_elements(struct call *call)
{
    const struct value *x = call->in[0], *indices = call->in[1], *updates = call->in[2];
    int64_t axis = onnx_attr_int(call->node, "axis", 0), strides[RANK], at[RANK] = {0}, i = 0;
    int function;
    void *to;

    TRY(reduction(call, &function));
    TRY(onnx_axis(call, &axis, x->rank));
    if (indices->rank != x->rank || updates->rank != x->rank || updates->dtype != x->dtype ||
        memcmp(indices->dims, updates->dims, sizeof(indices->dims[0]) * (size_t)x->rank))
        return BAD(call, "its inputs do not fit");
    for (int d = 0; d < x->rank; d++)
        if (d != axis && indices->dims[d] > x->dims[d])
            return BAD(call, "its indices are larger than the data");
    to = onnx_out_like(call, 0, x);
    if (!to)
        return VD_ERR_MEMORY;
    memcpy(to, x->data, (size_t)x->count * onnx_dtype_size(x->dtype));
    onnx_strides(x->rank, x->dims, strides);
    if (!indices->count)
        return 0;
    do {
        int64_t k = onnx_index(indices, i), place_at = 0;

        TRY(fix(call, &k, x->dims[axis]));
        for (int d = 0; d < x->rank; d++)
            place_at += (d == axis ? k : at[d]) * strides[d];
        TRY(put(call, function, call->out[0], place_at, updates, i++));
    } while (onnx_next(x->rank, indices->dims, at));
    return 0;
}

int onnx_op_scatter_nd(struct call *call)
{
    const struct value *x = call->in[0], *indices = call->in[1], *updates = call->in[2];
    int64_t tuples, row;
    int depth, function;
    void *to;

    TRY(reduction(call, &function));
    if (indices->rank < 1 || indices->dims[indices->rank - 1] < 1 ||
        indices->dims[indices->rank - 1] > x->rank || updates->dtype != x->dtype)
        return BAD(call, "its inputs do not fit");
    depth = (int)indices->dims[indices->rank - 1];
    tuples = indices->count / depth;
    row = onnx_product(x->dims, depth, x->rank);
    if (updates->count != tuples * row)
        return BAD(call, "its updates do not fit");
    to = onnx_out_like(call, 0, x);
    if (!to)
        return VD_ERR_MEMORY;
    memcpy(to, x->data, (size_t)x->count * onnx_dtype_size(x->dtype));
    for (int64_t i = 0; i < tuples; i++) {
        int64_t at = 0;

        TRY(place(call, x, indices, i, depth, 0, &at));
        for (int64_t k = 0; k < row; k++)
            TRY(put(call, function, call->out[0], at + k, updates, i * row + k));
    }
    return 0;
}

int onnx_op_one_hot(struct call *call)
{
    const struct value *x = call->in[0], *values = call->in[2];
    int64_t axis = onnx_attr_int(call->node, "axis", -1), depth, dims[RANK], outer, inner;
    size_t size = onnx_dtype_size(values->dtype);
    uint8_t *to;

    TRY(onnx_in_int(call, 1, &depth));
    if (x->rank == RANK || depth < 1 || values->count != 2)
        return BAD(call, "its depth or values do not fit");
    TRY(onnx_axis(call, &axis, x->rank + 1));
    for (int i = 0; i <= x->rank; i++)
        dims[i] = i == axis ? depth : x->dims[i - (i > axis)];
    to = onnx_out(call, 0, values->dtype, x->rank + 1, dims);
    if (!to)
        return VD_ERR_MEMORY;
    outer = onnx_product(dims, 0, (int)axis);
    inner = onnx_product(dims, (int)axis + 1, x->rank + 1);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t d = 0; d < depth; d++)
            for (int64_t i = 0; i < inner; i++) {
                double index = onnx_number(x, o * inner + i);
                bool hit = index == (double)d || index + (double)depth == (double)d;

                memcpy(to, (const uint8_t *)values->data + (hit ? size : 0), size);
                to += size;
            }
    return 0;
}

int onnx_op_non_zero(struct call *call)
{
    const struct value *x = call->in[0];
    int64_t count = 0, dims[2] = {x->rank, 0}, strides[RANK], *to;

    for (int64_t i = 0; i < x->count; i++)
        count += onnx_number(x, i) != 0;
    dims[1] = count;
    to = onnx_out(call, 0, ONNX_I64, 2, dims);
    if (!to)
        return VD_ERR_MEMORY;
    onnx_strides(x->rank, x->dims, strides);
    for (int64_t i = 0, n = 0; i < x->count; i++) {
        if (onnx_number(x, i) == 0)
            continue;
        for (int d = 0; d < x->rank; d++)
            to[d * count + n] = i / strides[d] % x->dims[d];
        n++;
    }
    return 0;
}
