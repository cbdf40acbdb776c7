/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

#include "ort.h"

/* Memory that goes with the run's results; NULL if there is none. */
static void *take_memory(struct ort_run *m, size_t size)
{
    void *memory;

    if (m->memory_count == m->memory_room) {
        size_t room = m->memory_room ? 2 * m->memory_room : 16;
        void **grown = realloc(m->memory, room * sizeof(*grown));

        if (!grown)
            return NULL;
        m->memory = grown;
        m->memory_room = room;
    }
    memory = calloc(1, size ? size : 1);
    if (memory)
        m->memory[m->memory_count++] = memory;
    return memory;
}

static int hold(struct ort_run *m, struct ort_value *value)
{
    if (m->held_count == m->held_room) {
        size_t room = m->held_room ? 2 * m->held_room : 16;
        struct ort_value **grown = realloc(m->held, room * sizeof(struct ort_value *));

        if (!grown) {
            ort_library.api->ReleaseValue(value);
            return VD_ERR_MEMORY;
        }
        m->held = grown;
        m->held_room = room;
    }
    m->held[m->held_count++] = value;
    return 0;
}

void ort_value_forget(struct ort_run *m)
{
    for (size_t i = 0; i < m->held_count; i++)
        ort_library.api->ReleaseValue(m->held[i]);
    m->held_count = 0;
    for (size_t i = 0; i < m->memory_count; i++)
        free(m->memory[i]);
    m->memory_count = 0;
}

static int make_strings(const struct onnx_value *from, struct ort_value **ret_value, char *error,
                        size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    const struct onnx_string *strings = from->data;
    size_t count = from->size / sizeof(*strings);
    struct ort_value *value = NULL;
    int err = ort_result(api->CreateTensorAsOrtValue(ort_library.allocator, from->dims,
                                                     (size_t)from->rank, (int)from->dtype, &value),
                         error, error_size);

    for (size_t i = 0; i < count && !err; i++) {
        char *place;

        err =
            ort_result(api->GetResizedStringTensorElementBuffer(value, i, strings[i].size, &place),
                       error, error_size);
        if (!err && strings[i].size)
            memcpy(place, strings[i].data, strings[i].size);
    }
    if (err && value)
        api->ReleaseValue(value);
    else
        *ret_value = value;
    return err;
}

/* Rows of keys and values become maps; `count` of these. The caller releases them. */
static int make_maps(const struct onnx_value *from, struct ort_value **maps, size_t count,
                     char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    int err = 0;

    for (size_t i = 0; i < count && !err; i++) {
        struct ort_value *parts[2] = {NULL, NULL};

        for (size_t k = 0; k < 2 && !err; k++)
            err = ort_value_make(&from->items[2 * i + k], &parts[k], error, error_size);
        if (!err)
            err = ort_result(
                api->CreateValue((const struct ort_value *const *)parts, 2, ORT_TYPE_MAP, &maps[i]),
                error, error_size);
        for (size_t k = 0; k < 2; k++) {
            if (parts[k])
                api->ReleaseValue(parts[k]);
        }
    }
    return err;
}

static int make_sequence(const struct onnx_value *from, struct ort_value **ret_value, char *error,
                         size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    struct ort_value **items = calloc(from->item_count + 1, sizeof(struct ort_value *));
    size_t count = from->kind == ONNX_SEQUENCE ? from->item_count : from->item_count / 2;
    int err = items ? 0 : VD_ERR_MEMORY;

    if (!err && from->kind != ONNX_SEQUENCE)
        err = make_maps(from, items, count, error, error_size);
    for (size_t i = 0; from->kind == ONNX_SEQUENCE && i < count && !err; i++)
        err = ort_value_make(&from->items[i], &items[i], error, error_size);
    if (!err && from->kind == ONNX_MAP) {
        *ret_value = items[0];
        items[0] = NULL;
    } else if (!err) {
        err = ort_result(api->CreateValue((const struct ort_value *const *)items, count,
                                          ORT_TYPE_SEQUENCE, ret_value),
                         error, error_size);
    }
    for (size_t i = 0; items && i < count; i++) {
        if (items[i])
            api->ReleaseValue(items[i]);
    }
    free(items);
    return err;
}

int ort_value_make(const struct onnx_value *from, struct ort_value **ret_value, char *error,
                   size_t error_size)
{
    static uint64_t nothing;

    if (npu_has_items((uint32_t)from->kind))
        return make_sequence(from, ret_value, error, error_size);
    if (from->dtype == ONNX_STRING)
        return make_strings(from, ret_value, error, error_size);
    return ort_result(ort_library.api->CreateTensorWithDataAsOrtValue(
                          ort_library.memory, from->size ? from->data : &nothing, from->size,
                          from->dims, (size_t)from->rank, (int)from->dtype, ret_value),
                      error, error_size);
}

/* Type and dimensions of a tensor. */
static int take_shape(const struct ort_value *from, struct onnx_value *ret, char *error,
                      size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    struct ort_tensor_type_and_shape_info *info = NULL;
    size_t rank = 0;
    int dtype = 0;
    int err = ort_result(api->GetTensorTypeAndShape(from, &info), error, error_size);

    if (!err)
        err = ort_result(api->GetTensorElementType(info, &dtype), error, error_size);
    if (!err)
        err = ort_result(api->GetDimensionsCount(info, &rank), error, error_size);
    if (!err && rank > ONNX_MAX_RANK) {
        snprintf(error, error_size, "a result has %zu dimensions; %d are carried", rank,
                 ONNX_MAX_RANK);
        err = VD_ERR_UNSUPPORTED;
    }
    if (!err)
        err = ort_result(api->GetDimensions(info, ret->dims, rank), error, error_size);
    ret->dtype = (enum onnx_dtype)dtype;
    ret->rank = (int)rank;
    if (info)
        api->ReleaseTensorTypeAndShapeInfo(info);
    return err;
}

static int take_strings(struct ort_run *m, const struct ort_value *from, uint64_t count,
                        struct onnx_value *ret, char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    struct onnx_string *strings;
    size_t bytes = 0, *offsets;
    char *text;
    int err = ort_result(api->GetStringTensorDataLength(from, &bytes), error, error_size);

    if (err)
        return err;
    strings = take_memory(m, count * sizeof(*strings));
    offsets = take_memory(m, count * sizeof(*offsets));
    text = take_memory(m, bytes);
    if (!strings || !offsets || !text) {
        snprintf(error, error_size, "out of memory");
        return VD_ERR_MEMORY;
    }
    if (count)
        err = ort_result(api->GetStringTensorContent(from, text, bytes, offsets, count), error,
                         error_size);
    for (uint64_t i = 0; i < count && !err; i++) {
        size_t end = i + 1 < count ? offsets[i + 1] : bytes;

        strings[i] = (struct onnx_string){text + offsets[i], end - offsets[i]};
    }
    ret->data = strings;
    ret->size = count * sizeof(*strings);
    return err;
}

static int take_tensor(struct ort_run *m, struct ort_value *from, struct onnx_value *ret,
                       char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    int err = take_shape(from, ret, error, error_size);
    uint64_t count, size;

    if (err)
        return err;
    if (npu_count(ret->dims, (uint32_t)ret->rank, &count)) {
        snprintf(error, error_size, "a result has dimensions that cannot be");
        return VD_ERR_UNSUPPORTED;
    }
    if (ret->dtype == ONNX_STRING)
        return take_strings(m, from, count, ret, error, error_size);
    if (npu_bytes((uint32_t)ret->dtype, ret->dims, (uint32_t)ret->rank, &size)) {
        snprintf(error, error_size, "a result is of type %d, which is not carried", ret->dtype);
        return VD_ERR_UNSUPPORTED;
    }
    ret->size = size;
    return ort_result(api->GetTensorMutableData(from, &ret->data), error, error_size);
}

/* A map's keys and values. */
static int take_map(struct ort_run *m, struct ort_value *from, struct onnx_value parts[2],
                    char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    int err = 0;

    for (int i = 0; i < 2 && !err; i++) {
        struct ort_value *part;

        err = ort_result(api->GetValue(from, i, ort_library.allocator, &part), error, error_size);
        if (!err)
            err = ort_value_take(m, part, &parts[i], error, error_size);
    }
    return err;
}

/* A sequence of maps is all of their keys and values in a row. */
static int take_maps(struct ort_run *m, struct ort_value *from, size_t count,
                     struct onnx_value *ret, char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    struct onnx_value *items = take_memory(m, 2 * count * sizeof(*items));
    int err = items ? 0 : VD_ERR_MEMORY;

    if (err)
        snprintf(error, error_size, "out of memory");
    for (size_t i = 0; i < count && !err; i++) {
        struct ort_value *map;

        err =
            ort_result(api->GetValue(from, (int)i, ort_library.allocator, &map), error, error_size);
        if (err)
            break;
        err = hold(m, map);
        if (!err)
            err = take_map(m, map, items + 2 * i, error, error_size);
    }
    ret->kind = ONNX_MAPS;
    ret->items = items;
    ret->item_count = 2 * count;
    if (count && !err)
        ret->dtype = items[1].dtype;
    return err;
}

static int take_sequence(struct ort_run *m, struct ort_value *from, struct onnx_value *ret,
                         char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    struct onnx_value *items;
    size_t count = 0;
    int err = ort_result(api->GetValueCount(from, &count), error, error_size);

    if (err)
        return err;
    if (count) {
        struct ort_value *first;
        int type = 0;

        err = ort_result(api->GetValue(from, 0, ort_library.allocator, &first), error, error_size);
        if (!err)
            err = ort_result(api->GetValueType(first, &type), error, error_size);
        if (!err)
            api->ReleaseValue(first);
        if (err || type == ORT_TYPE_MAP)
            return err ? err : take_maps(m, from, count, ret, error, error_size);
    }
    items = take_memory(m, count * sizeof(*items));
    if (!items) {
        snprintf(error, error_size, "out of memory");
        return VD_ERR_MEMORY;
    }
    for (size_t i = 0; i < count && !err; i++) {
        struct ort_value *item;

        err = ort_result(api->GetValue(from, (int)i, ort_library.allocator, &item), error,
                         error_size);
        if (!err)
            err = ort_value_take(m, item, &items[i], error, error_size);
        if (!err && items[i].kind != ONNX_TENSOR) {
            snprintf(error, error_size, "a result is a sequence of other things than tensors");
            err = VD_ERR_UNSUPPORTED;
        }
    }
    ret->kind = ONNX_SEQUENCE;
    ret->items = items;
    ret->item_count = count;
    if (count)
        ret->dtype = items[0].dtype;
    return err;
}

int ort_value_take(struct ort_run *m, struct ort_value *from, struct onnx_value *ret, char *error,
                   size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    int type = 0, has = 0;
    int err = hold(m, from);

    *ret = (struct onnx_value){.kind = ONNX_NONE};
    if (err) {
        snprintf(error, error_size, "out of memory");
        return err;
    }
    err = ort_result(api->HasValue(from, &has), error, error_size);
    if (err || !has)
        return err;
    err = ort_result(api->GetValueType(from, &type), error, error_size);
    if (err)
        return err;
    ret->kind = ONNX_TENSOR;
    if (type == ORT_TYPE_TENSOR)
        return take_tensor(m, from, ret, error, error_size);
    if (type == ORT_TYPE_SEQUENCE)
        return take_sequence(m, from, ret, error, error_size);
    if (type == ORT_TYPE_MAP) {
        struct onnx_value *parts = take_memory(m, 2 * sizeof(*parts));

        err = parts ? take_map(m, from, parts, error, error_size) : VD_ERR_MEMORY;
        if (!err)
            *ret = (struct onnx_value){
                .kind = ONNX_MAP, .dtype = parts[1].dtype, .items = parts, .item_count = 2};
        return err;
    }
    snprintf(error, error_size, "a result is neither a tensor, a sequence nor a map");
    return VD_ERR_UNSUPPORTED;
}
