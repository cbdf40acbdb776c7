/* SPDX-License-Identifier: MIT */
#include "internal.h"

/* Reads TensorProto: raw bytes or typed lists, packed or not. Data outside the file is refused. */

static const struct {
    const char *name;
    size_t size;
} types[ONNX_DTYPES] = {
    [ONNX_UNKNOWN] = {"unknown", 0},
    [ONNX_F32] = {"float", 4},
    [ONNX_U8] = {"uint8", 1},
    [ONNX_I8] = {"int8", 1},
    [ONNX_U16] = {"uint16", 2},
    [ONNX_I16] = {"int16", 2},
    [ONNX_I32] = {"int32", 4},
    [ONNX_I64] = {"int64", 8},
    [ONNX_STRING] = {"string", sizeof(struct onnx_string)},
    [ONNX_BOOL] = {"bool", 1},
    [ONNX_F16] = {"float16", 2},
    [ONNX_F64] = {"double", 8},
    [ONNX_U32] = {"uint32", 4},
    [ONNX_U64] = {"uint64", 8},
    [ONNX_BF16] = {"bfloat16", 2},
};

size_t onnx_dtype_size(enum onnx_dtype dtype)
{
    return (unsigned)dtype < ONNX_DTYPES ? types[dtype].size : 0;
}

const char *onnx_dtype_name(enum onnx_dtype dtype)
{
    return (unsigned)dtype < ONNX_DTYPES && types[dtype].name ? types[dtype].name : "unknown";
}

int64_t onnx_count(enum onnx_dtype dtype, int rank, const int64_t *dims)
{
    uint64_t most = ONNX_MAX_BYTES / (onnx_dtype_size(dtype) ? onnx_dtype_size(dtype) : 1);
    uint64_t count = 1;
    bool empty = false;

    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0 || (uint64_t)dims[i] > most)
            return -1;
        empty |= dims[i] == 0;
    }
    if (empty)
        return 0;
    for (int i = 0; i < rank; i++) {
        if ((uint64_t)dims[i] > most / count)
            return -1;
        count *= (uint64_t)dims[i];
    }
    return (int64_t)count;
}

/* Puts numbers of a typed list, bit by bit, where the element belongs. */
static void put(struct value *value, int64_t at, uint64_t number)
{
    size_t size = onnx_dtype_size(value->dtype);

    if (value->dtype == ONNX_BOOL)
        number = number != 0;
    memcpy((uint8_t *)value->data + (size_t)at * size, &number, size);
}

/* The list in which a type's elements are: its field, and the bytes of a packed element, 0 varint.
 */
static void list_of(enum onnx_dtype dtype, uint32_t *field, size_t *width)
{
    *width = 0;
    switch (dtype) {
    case ONNX_F32:
        *field = 4;
        *width = 4;
        return;
    case ONNX_F64:
        *field = 10;
        *width = 8;
        return;
    case ONNX_I64:
        *field = 7;
        return;
    case ONNX_U32:
    case ONNX_U64:
        *field = 11;
        return;
    case ONNX_STRING:
        *field = 6;
        return;
    default:
        *field = 5;
    }
}

static int read_list(struct onnx_model *model, struct proto proto, struct value *value,
                     int64_t *ret_count)
{
    uint32_t field;
    size_t width;
    struct proto_field f;
    int64_t at = 0;

    list_of(value->dtype, &field, &width);
    while (onnx_proto_next(&proto, &f) > 0) {
        uint64_t number;
        int more = 1;

        if (f.number != field)
            continue;
        if (value->dtype == ONNX_STRING) {
            struct onnx_string *string = (struct onnx_string *)value->data + at;

            if (f.type != PROTO_BYTES || at == value->count)
                return onnx_model_bad(model, "a tensor has more elements than its shape says");
            string->data = onnx_model_text(model, f.bytes);
            string->size = onnx_proto_size(f.bytes);
            if (!string->data)
                return model->error->status;
            at++;
            continue;
        }
        if (f.type != PROTO_BYTES) {
            if (at == value->count)
                return onnx_model_bad(model, "a tensor has more elements than its shape says");
            put(value, at++, f.value);
            continue;
        }
        for (;;) {
            if (width) {
                if (onnx_proto_size(f.bytes) < width)
                    break;
                number = 0;
                memcpy(&number, f.bytes.at, width);
                f.bytes.at += width;
            } else if ((more = onnx_proto_varint(&f.bytes, &number)) <= 0) {
                break;
            }
            if (at == value->count)
                return onnx_model_bad(model, "a tensor has more elements than its shape says");
            put(value, at++, number);
        }
        if (more < 0 || onnx_proto_size(f.bytes))
            return onnx_model_bad(model, "a tensor's list is cut off");
    }
    *ret_count = at;
    return 0;
}

static int add_dim(struct onnx_model *model, struct value *value, uint64_t dim)
{
    if (value->rank == RANK)
        return onnx_fail(model->error, VD_ERR_UNSUPPORTED, "a tensor has more than %d dimensions",
                         RANK);
    value->dims[value->rank++] = (int64_t)dim;
    return 0;
}

int onnx_tensor_read(struct onnx_model *model, struct proto proto, const char **ret_name,
                     struct value **ret_value)
{
    struct value *value = onnx_model_alloc(model, 1, sizeof(*value));
    struct proto walk = proto, raw = {NULL, NULL};
    struct proto_field f;
    size_t size;
    int64_t listed = 0;
    uint64_t number;
    int more;

    *ret_name = "";
    if (!value)
        return model->error->status;
    value->fixed = true;
    value->kind = ONNX_TENSOR;
    while ((more = onnx_proto_next(&walk, &f)) > 0) {
        if (f.number == 1 && f.type == PROTO_VARINT)
            TRY(add_dim(model, value, f.value));
        if (f.number == 1 && f.type == PROTO_BYTES)
            while (onnx_proto_varint(&f.bytes, &number) > 0)
                TRY(add_dim(model, value, number));
        if (f.number == 2 && f.type == PROTO_VARINT)
            value->dtype = f.value < ONNX_DTYPES ? (enum onnx_dtype)f.value : ONNX_UNKNOWN;
        if (f.number == 8 && f.type == PROTO_BYTES &&
            !(*ret_name = onnx_model_text(model, f.bytes)))
            return model->error->status;
        if (f.number == 9 && f.type == PROTO_BYTES)
            raw = f.bytes;
        if ((f.number == 14 && f.value == 1) || f.number == 13)
            return onnx_fail(model->error, VD_ERR_UNSUPPORTED,
                             "tensor %s is in a file of its own: put it into the model", *ret_name);
    }
    if (more < 0)
        return onnx_model_bad(model, "a tensor is cut off");
    size = onnx_dtype_size(value->dtype);
    if (!size)
        return onnx_fail(model->error, VD_ERR_UNSUPPORTED, "tensor %s is of an unknown type",
                         *ret_name);
    value->count = onnx_count(value->dtype, value->rank, value->dims);
    if (value->count < 0)
        return onnx_fail(model->error, VD_ERR_PARAMETER, "tensor %s has an impossible shape",
                         *ret_name);
    /* Before memory is taken: every element is at least a byte of the file. */
    if ((uint64_t)value->count > onnx_proto_size(proto))
        return onnx_fail(model->error, VD_ERR_PARAMETER,
                         "tensor %s is larger than what the model holds", *ret_name);
    value->data = onnx_model_alloc(model, (uint64_t)value->count, size);
    if (!value->data)
        return model->error->status;
    if (raw.at) {
        if (value->dtype == ONNX_STRING || onnx_proto_size(raw) != (uint64_t)value->count * size)
            return onnx_fail(model->error, VD_ERR_PARAMETER,
                             "tensor %s has %zu bytes, not those of its shape", *ret_name,
                             onnx_proto_size(raw));
        memcpy(value->data, raw.at, onnx_proto_size(raw));
        for (int64_t i = 0; value->dtype == ONNX_BOOL && i < value->count; i++)
            ((uint8_t *)value->data)[i] = ((uint8_t *)value->data)[i] != 0;
    } else {
        TRY(read_list(model, proto, value, &listed));
        if (listed != value->count)
            return onnx_fail(model->error, VD_ERR_PARAMETER,
                             "tensor %s has fewer elements than its shape says", *ret_name);
    }
    *ret_value = value;
    return 0;
}

/* Flat indices, or one a dimension. */
static int scatter(struct onnx_model *model, struct value *to, const struct value *values,
                   const struct value *indices)
{
    size_t size = onnx_dtype_size(to->dtype);
    int64_t n = values->count;
    bool flat = indices->rank == 1;

    if (values->rank != 1 || indices->dtype != ONNX_I64 ||
        indices->count != (flat ? n : n * to->rank))
        return onnx_model_bad(model, "a sparse tensor's indices do not fit");
    for (int64_t i = 0; i < n; i++) {
        const int64_t *index = (const int64_t *)indices->data + (flat ? i : i * to->rank);
        int64_t at = flat ? *index : 0;

        for (int d = 0; !flat && d < to->rank; d++) {
            if (index[d] < 0 || index[d] >= to->dims[d])
                return onnx_model_bad(model, "an index of a sparse tensor is out of range");
            at = at * to->dims[d] + index[d];
        }
        if (at < 0 || at >= to->count)
            return onnx_model_bad(model, "an index of a sparse tensor is out of range");
        memcpy((uint8_t *)to->data + (size_t)at * size,
               (const uint8_t *)values->data + (size_t)i * size, size);
    }
    return 0;
}

/* SparseTensorProto: values 1, indices 2, dims 3. Becomes a dense one. */
int onnx_tensor_sparse(struct onnx_model *model, struct proto proto, const char **ret_name,
                       struct value **ret_value)
{
    struct value *value = onnx_model_alloc(model, 1, sizeof(*value));
    struct value *values = NULL, *indices = NULL;
    const char *unused;
    struct proto_field f;
    uint64_t number;

    *ret_name = "";
    if (!value)
        return model->error->status;
    while (onnx_proto_next(&proto, &f) > 0) {
        if (f.number == 1 && f.type == PROTO_BYTES)
            TRY(onnx_tensor_read(model, f.bytes, ret_name, &values));
        if (f.number == 2 && f.type == PROTO_BYTES)
            TRY(onnx_tensor_read(model, f.bytes, &unused, &indices));
        if (f.number == 3 && f.type == PROTO_VARINT)
            TRY(add_dim(model, value, f.value));
        if (f.number == 3 && f.type == PROTO_BYTES)
            while (onnx_proto_varint(&f.bytes, &number) > 0)
                TRY(add_dim(model, value, number));
    }
    if (!values || !indices || values->dtype == ONNX_STRING)
        return onnx_model_bad(model, "a sparse tensor lacks its values");
    value->fixed = true;
    value->dtype = values->dtype;
    value->count = onnx_count(value->dtype, value->rank, value->dims);
    if (value->count < 0)
        return onnx_model_bad(model, "a sparse tensor has an impossible shape");
    value->data = onnx_model_alloc(model, (uint64_t)value->count, onnx_dtype_size(value->dtype));
    if (!value->data)
        return model->error->status;
    TRY(scatter(model, value, values, indices));
    *ret_value = value;
    return 0;
}
