/* SPDX-License-Identifier: MIT */
#include "ops.h"

/* What changes shapes alone (outputs are the inputs' memory), or makes tensors from shapes. */

int onnx_op_identity(struct call *call)
{
    return onnx_out_share(call, 0, call->in[0]);
}

int onnx_op_reshape(struct call *call)
{
    struct value *x = call->in[0];
    int64_t dims[RANK], known = 1, guess = -1;
    bool zero = onnx_attr_int(call->node, "allowzero", 0);
    int rank;

    TRY(rank = onnx_in_ints(call, 1, dims, RANK));
    for (int i = 0; i < rank; i++) {
        if (dims[i] == 0 && !zero) {
            if (i >= x->rank)
                return BAD(call, "copies dimension %d, which is not there", i);
            dims[i] = x->dims[i];
        }
        if (dims[i] == -1) {
            if (guess >= 0)
                return BAD(call, "has two sizes to guess");
            guess = i;
        } else if (dims[i] < 0 || (dims[i] && known > (int64_t)ONNX_MAX_BYTES / dims[i])) {
            return BAD(call, "to an impossible shape");
        } else {
            known *= dims[i];
        }
    }
    if (guess >= 0) {
        if (known == 0 || x->count % known)
            return BAD(call, "of %lld elements to rows of %lld", (long long)x->count,
                       (long long)known);
        dims[guess] = x->count / known;
        known *= dims[guess];
    }
    if (known != x->count)
        return BAD(call, "of %lld elements to %lld", (long long)x->count, (long long)known);
    return onnx_out_alias(call, 0, x, rank, dims);
}

int onnx_op_flatten(struct call *call)
{
    struct value *x = call->in[0];
    int64_t axis = onnx_attr_int(call->node, "axis", 1), dims[2];

    if (axis != x->rank)
        TRY(onnx_axis(call, &axis, x->rank));
    dims[0] = onnx_product(x->dims, 0, (int)axis);
    dims[1] = onnx_product(x->dims, (int)axis, x->rank);
    return onnx_out_alias(call, 0, x, 2, dims);
}

int onnx_op_squeeze(struct call *call)
{
    struct value *x = call->in[0];
    int64_t axes[RANK], dims[RANK];
    unsigned gone = 0;
    int count, rank = 0;

    TRY(count = onnx_axes(call, 1, x->rank, axes));
    for (int i = 0; i < count; i++) {
        if (x->dims[axes[i]] != 1)
            return BAD(call, "axis %lld is not 1", (long long)axes[i]);
        gone |= 1u << axes[i];
    }
    for (int i = 0; i < x->rank; i++)
        if (count ? !(gone >> i & 1) : x->dims[i] != 1)
            dims[rank++] = x->dims[i];
    return onnx_out_alias(call, 0, x, rank, dims);
}

int onnx_op_unsqueeze(struct call *call)
{
    struct value *x = call->in[0];
    int64_t axes[RANK], dims[RANK];
    unsigned added = 0;
    int count = onnx_attr_ints(call->node, "axes", axes, RANK), at = 0, rank;

    if (count == 0)
        TRY(count = onnx_in_ints(call, 1, axes, RANK));
    rank = x->rank + count;
    if (count < 0 || rank > RANK)
        return CANT(call, "to more than %d dimensions", RANK);
    for (int i = 0; i < count; i++) {
        TRY(onnx_axis(call, &axes[i], rank));
        if (added >> axes[i] & 1)
            return BAD(call, "names an axis twice");
        added |= 1u << axes[i];
    }
    for (int i = 0; i < rank; i++)
        dims[i] = added >> i & 1 ? 1 : x->dims[at++];
    return onnx_out_alias(call, 0, x, rank, dims);
}

int onnx_op_shape(struct call *call)
{
    const struct value *x = call->in[0];
    int64_t start = onnx_attr_int(call->node, "start", 0);
    int64_t end = onnx_attr_int(call->node, "end", x->rank), count, *to;

    start = start < -x->rank ? 0 : start < 0 ? start + x->rank : start;
    end = end < -x->rank ? 0 : end < 0 ? end + x->rank : end;
    start = start > x->rank ? x->rank : start;
    end = end > x->rank ? x->rank : end;
    count = end > start ? end - start : 0;
    to = onnx_out(call, 0, ONNX_I64, 1, &count);
    for (int64_t i = 0; to && i < count; i++)
        to[i] = x->dims[start + i];
    return to ? 0 : VD_ERR_MEMORY;
}

int onnx_op_size(struct call *call)
{
    int64_t *to = onnx_out(call, 0, ONNX_I64, 0, NULL);

    if (to)
        *to = call->in[0]->count;
    return to ? 0 : VD_ERR_MEMORY;
}

/* A tensor is an initialiser already; here are numbers and strings. */
int onnx_op_constant(struct call *call)
{
    for (size_t n = 0; n < call->node->attribute_count; n++) {
        const struct attribute *a = &call->node->attributes[n];
        int64_t count = (int64_t)a->count;
        void *to;

        if (strcmp(a->name, "value_float") == 0) {
            if ((to = onnx_out(call, 0, ONNX_F32, 0, NULL)))
                memcpy(to, &a->f, sizeof(a->f));
        } else if (strcmp(a->name, "value_int") == 0) {
            if ((to = onnx_out(call, 0, ONNX_I64, 0, NULL)))
                memcpy(to, &a->i, sizeof(a->i));
        } else if (strcmp(a->name, "value_string") == 0) {
            if ((to = onnx_out(call, 0, ONNX_STRING, 0, NULL)))
                memcpy(to, &a->s, sizeof(a->s));
        } else if (strcmp(a->name, "value_floats") == 0 && a->type == ATTR_FLOATS) {
            if ((to = onnx_out(call, 0, ONNX_F32, 1, &count)))
                memcpy(to, a->floats, a->count * sizeof(*a->floats));
        } else if (strcmp(a->name, "value_ints") == 0 && a->type == ATTR_INTS) {
            if ((to = onnx_out(call, 0, ONNX_I64, 1, &count)))
                memcpy(to, a->ints, a->count * sizeof(*a->ints));
        } else if (strcmp(a->name, "value_strings") == 0 && a->type == ATTR_STRINGS) {
            if ((to = onnx_out(call, 0, ONNX_STRING, 1, &count)))
                memcpy(to, a->strings, a->count * sizeof(*a->strings));
        } else if (a->tensor) {
            return onnx_out_share(call, 0, a->tensor);
        } else {
            continue;
        }
        return to ? 0 : VD_ERR_MEMORY;
    }
    return BAD(call, "has no value");
}

static void fill(struct value *to, const void *element)
{
    size_t size = onnx_dtype_size(to->dtype);

    for (int64_t i = 0; i < to->count; i++)
        memcpy((uint8_t *)to->data + (size_t)i * size, element, size);
}

int onnx_op_constant_of_shape(struct call *call)
{
    const struct attribute *a = onnx_attr(call->node, "value");
    int64_t dims[RANK];
    float zero = 0;
    int rank;

    TRY(rank = onnx_in_ints(call, 0, dims, RANK));
    if (a && (!a->tensor || a->tensor->count != 1))
        return BAD(call, "its value is not one element");
    if (!onnx_out(call, 0, a ? a->tensor->dtype : ONNX_F32, rank, dims))
        return VD_ERR_MEMORY;
    fill(call->out[0], a ? a->tensor->data : &zero);
    return 0;
}

int onnx_op_expand(struct call *call)
{
    struct value *x = call->in[0];
    int64_t dims[RANK], strides[RANK], to_strides[RANK];
    int rank;
    void *to;

    TRY(rank = onnx_in_ints(call, 1, dims, RANK));
    if (!onnx_broadcast(x, &rank, dims))
        return BAD(call, "the shape does not fit");
    if (rank == x->rank && memcmp(dims, x->dims, (size_t)rank * sizeof(*dims)) == 0)
        return onnx_out_share(call, 0, x);
    to = onnx_out(call, 0, x->dtype, rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    onnx_spread(x, rank, dims, strides);
    onnx_strides(rank, dims, to_strides);
    onnx_copy(onnx_dtype_size(x->dtype), to, to_strides, x->data, strides, rank, dims);
    return 0;
}

int onnx_op_eyelike(struct call *call)
{
    const struct value *x = call->in[0];
    int64_t dtype = onnx_attr_int(call->node, "dtype", x->dtype),
            k = onnx_attr_int(call->node, "k", 0);

    if (x->rank != 2)
        return BAD(call, "its input is no matrix");
    if (dtype < 0 || dtype >= ONNX_DTYPES || !(M_FIXED >> dtype & 1))
        return CANT(call, "of type %lld", (long long)dtype);
    if (!onnx_out(call, 0, (enum onnx_dtype)dtype, 2, x->dims))
        return VD_ERR_MEMORY;
    for (int64_t r = 0; r < x->dims[0]; r++)
        for (int64_t c = 0; c < x->dims[1]; c++)
            onnx_set(call->out[0], r * x->dims[1] + c, c - r == k);
    return 0;
}

int onnx_op_range(struct call *call)
{
    const struct value *a = call->in[0];
    double start, limit, delta, count;
    int64_t n;

    TRY(onnx_in_double(call, 0, &start));
    TRY(onnx_in_double(call, 1, &limit));
    TRY(onnx_in_double(call, 2, &delta));
    count = (limit - start) / delta;
    if (delta == 0 || !(count < 1e12))
        return BAD(call, "has no end");
    n = count > 0 ? (int64_t)count : 0;
    n += n < count;
    if (!onnx_out(call, 0, a->dtype, 1, &n))
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < n; i++)
        onnx_set(call->out[0], i, start + (double)i * delta);
    return 0;
}

int onnx_op_trilu(struct call *call)
{
    const struct value *x = call->in[0];
    bool upper = onnx_attr_int(call->node, "upper", 1);
    size_t size = onnx_dtype_size(x->dtype);
    int64_t k = 0, rows, columns;
    uint8_t *to;

    if (x->rank < 2)
        return BAD(call, "its input is no matrix");
    if (onnx_in(call, 1))
        TRY(onnx_in_int(call, 1, &k));
    to = onnx_out_like(call, 0, x);
    if (!to)
        return VD_ERR_MEMORY;
    memcpy(to, x->data, (size_t)x->count * size);
    rows = x->dims[x->rank - 2];
    columns = x->dims[x->rank - 1];
    for (int64_t i = 0; i < x->count; i++) {
        int64_t c = i % columns, r = i / columns % rows;

        if (upper ? c - r < k : c - r > k)
            memset(to + (size_t)i * size, 0, size);
    }
    return 0;
}
