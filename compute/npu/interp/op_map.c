/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ml.h"
#include "ops.h"

/*
 * ZipMap, CastMap, DictVectorizer. A map is two tensors, keys and values; a sequence of maps is all
 * of theirs in a row.
 */

static struct value *maps(struct call *call, enum onnx_kind kind, struct value **items,
                          size_t count, enum onnx_dtype dtype)
{
    struct value *value = onnx_value_sequence(call->run, items, count);

    if (value) {
        value->kind = kind;
        value->dtype = dtype;
    }
    return value;
}

/* A map for each row: from labels to its numbers. */
int onnx_op_zip_map(struct call *call)
{
    const struct value *x = call->in[0];
    int64_t rows = 0, columns = 0;
    struct value *keys, **items;
    struct ml_labels labels;
    size_t made = 0;
    int status = 0;

    TRY(ml_rows(call, x, &rows, &columns));
    TRY(ml_labels(call, &labels));
    if (labels.count != columns)
        return BAD(call, "has %lld labels for %lld columns", (long long)labels.count,
                   (long long)columns);
    items = onnx_scratch(call, 2 * (uint64_t)rows + 1, sizeof(*items));
    keys = onnx_value_tensor(call->run, labels.ints ? ONNX_I64 : ONNX_STRING, 1, &columns);
    if (!items || !keys) {
        onnx_value_drop(call->run, keys);
        return VD_ERR_MEMORY;
    }
    for (int64_t i = 0; i < columns; i++)
        ml_label(&labels, i, keys->data, i);
    for (int64_t r = 0; r < rows && status == 0; r++) {
        struct value *row = onnx_value_tensor(call->run, ONNX_F32, 1, &columns);

        if (!row) {
            status = VD_ERR_MEMORY;
            break;
        }
        memcpy(row->data, (const float *)x->data + r * columns, (size_t)columns * sizeof(float));
        items[made++] = keys;
        items[made++] = row;
    }
    if (status == 0) {
        call->out[0] = maps(call, ONNX_MAPS, items, made, ONNX_F32);
        status = call->out[0] ? 0 : VD_ERR_MEMORY;
    }
    for (size_t i = 1; i < made; i += 2)
        onnx_value_drop(call->run, items[i]);
    onnx_value_drop(call->run, keys);
    return status;
}

static int read_map(struct call *call, const struct value **ret_keys,
                    const struct value **ret_values)
{
    const struct value *map = call->in[0];

    if (map->kind != ONNX_MAP || map->item_count != 2)
        return BAD(call, "its input is no map");
    *ret_keys = map->items[0];
    *ret_values = map->items[1];
    if ((*ret_keys)->count != (*ret_values)->count)
        return BAD(call, "its map has other keys than values");
    return 0;
}

/* The values of words, or numbers, that are known beforehand; 0 for what the map lacks. */
int onnx_op_dict_vectorizer(struct call *call)
{
    const struct attribute *ints = ml_ints(call, "int64_vocabulary");
    const struct attribute *strings = ml_strings(call, "string_vocabulary");
    const struct value *keys = NULL, *values = NULL;
    struct value *y;
    int64_t dims[2] = {1, 0};

    TRY(read_map(call, &keys, &values));
    if (!ints == !strings || keys->dtype != (ints ? ONNX_I64 : ONNX_STRING))
        return BAD(call, "has no vocabulary of the type of its map's keys");
    if (!(M(values->dtype) & (M_FLOAT | M(ONNX_I64) | M(ONNX_STRING))))
        return CANT(call, "of values of type %s", onnx_dtype_name(values->dtype));
    dims[1] = (int64_t)(ints ? ints->count : strings->count);
    if (!onnx_out(call, 0, values->dtype, 2, dims))
        return VD_ERR_MEMORY;
    y = call->out[0];
    TRY(onnx_work(call, (double)dims[1] * (double)keys->count));
    if (y->dtype != ONNX_STRING)
        memset(y->data, 0, (size_t)y->count * onnx_dtype_size(y->dtype));
    for (int64_t i = 0; i < dims[1]; i++)
        for (int64_t k = 0; k < keys->count; k++) {
            const struct onnx_string *s = (const struct onnx_string *)keys->data + k;
            size_t size = onnx_dtype_size(y->dtype);

            if (ints ? ((const int64_t *)keys->data)[k] != ints->ints[i]
                     : s->size != strings->strings[i].size ||
                           memcmp(s->data, strings->strings[i].data, s->size))
                continue;
            memcpy((uint8_t *)y->data + (size_t)i * size,
                   (const uint8_t *)values->data + (size_t)k * size, size);
        }
    return 0;
}

/* Values in the order of their keys; SPARSE: each at the place that its key names. */
int onnx_op_cast_map(struct call *call)
{
    const char *to = onnx_attr_string(call->node, "cast_to", "TO_FLOAT");
    bool sparse = onnx_attr_is(call->node, "map_form", "DENSE", "SPARSE");
    int64_t most = onnx_attr_int(call->node, "max_map", 1), dims[2] = {1, 0}, *order;
    const struct value *keys = NULL, *values = NULL;
    enum onnx_dtype dtype = !strcmp(to, "TO_INT64") ? ONNX_I64 : ONNX_F32;

    TRY(read_map(call, &keys, &values));
    if (keys->dtype != ONNX_I64 || values->dtype != ONNX_F32)
        return CANT(call, "of a map from %s to %s", onnx_dtype_name(keys->dtype),
                    onnx_dtype_name(values->dtype));
    if (strcmp(to, "TO_FLOAT") && strcmp(to, "TO_INT64"))
        return CANT(call, "with cast_to = %.40s", to);
    if (sparse && (most < 0 || most > 1 << 24))
        return BAD(call, "its max_map is %lld", (long long)most);
    dims[1] = sparse ? most : keys->count;
    order = onnx_scratch(call, (uint64_t)keys->count + 1, sizeof(*order));
    if (!order || !onnx_out(call, 0, dtype, 2, dims))
        return VD_ERR_MEMORY;
    TRY(onnx_work(call, (double)keys->count * (double)keys->count));
    memset(call->out[0]->data, 0, (size_t)dims[1] * onnx_dtype_size(dtype));
    /* By insertion: maps are small. */
    for (int64_t k = 0, n = 0; k < keys->count; k++, n++) {
        int64_t key = ((const int64_t *)keys->data)[k], at = n;

        for (; at > 0 && ((const int64_t *)keys->data)[order[at - 1]] > key; at--)
            order[at] = order[at - 1];
        order[at] = k;
    }
    for (int64_t k = 0; k < keys->count; k++) {
        int64_t key = ((const int64_t *)keys->data)[order[k]], at = sparse ? key : k;
        float v = ((const float *)values->data)[order[k]];

        if (at < 0 || at >= dims[1])
            return BAD(call, "its map has key %lld, and max_map is %lld", (long long)key,
                       (long long)most);
        onnx_set(call->out[0], at, dtype == ONNX_I64 ? trunc((double)v) : (double)v);
    }
    return 0;
}
