/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "ort.h"

/* A copy that the model keeps. NULL if there is no memory. */
static const char *keep(struct ort_model *m, const char *text)
{
    char *copy;

    if (m->text_count == m->text_room) {
        size_t room = m->text_room ? 2 * m->text_room : 32;
        char **grown = realloc(m->texts, room * sizeof(*grown));

        if (!grown)
            return NULL;
        m->texts = grown;
        m->text_room = room;
    }
    copy = strdup(text);
    if (copy)
        m->texts[m->text_count++] = copy;
    return copy;
}

/* The same of a text by the library's allocator. */
static const char *keep_and_free(struct ort_model *m, char *text)
{
    const char *copy = keep(m, text ? text : "");

    if (text)
        ort_library.allocator->free(ort_library.allocator, text);
    return copy;
}

void ort_describe_free(struct ort_model *m)
{
    for (size_t i = 0; i < m->text_count; i++)
        free(m->texts[i]);
    free(m->texts);
    free(m->rows);
    free(m->pairs);
}

static int describe_tensor(struct ort_model *m, const struct ort_type_info *type,
                           struct onnx_io *row, char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    const struct ort_tensor_type_and_shape_info *info = NULL;
    const char *symbols[ONNX_MAX_RANK] = {NULL};
    size_t rank = 0;
    int dtype = 0;
    bool shaped = true;
    int err = ort_result(api->CastTypeInfoToTensorInfo(type, &info), error, error_size);

    if (!err && !info)
        return VD_ERR_INTERNAL;
    if (!err)
        err = ort_result(api->GetTensorElementType(info, &dtype), error, error_size);
    if (!err)
        err = ort_result(api->GetDimensionsCount(info, &rank), error, error_size);
    if (err)
        return err;
    row->kind = rank > ONNX_MAX_RANK ? PROVIDER_OTHER : ONNX_TENSOR;
    row->dtype = (enum onnx_dtype)dtype;
    if (ort_library.version >= 24)
        shaped = api->TensorTypeAndShape_HasShape(info);
    /* Before that a shape that is not known looks like that of a scalar: it is not checked here. */
    else
        shaped = rank > 0;
    row->rank = shaped ? (int)rank : -1;
    if (!shaped || rank > ONNX_MAX_RANK)
        return 0;
    err = ort_result(api->GetDimensions(info, row->dims, rank), error, error_size);
    if (!err)
        err = ort_result(api->GetSymbolicDimensions(info, symbols, rank), error, error_size);
    for (size_t i = 0; i < rank && !err; i++) {
        if (row->dims[i] < 0)
            row->dims[i] = -1;
        if (symbols[i] && *symbols[i]) {
            row->symbols[i] = keep(m, symbols[i]);
            err = row->symbols[i] ? 0 : VD_ERR_MEMORY;
        }
    }
    return err;
}

/* The types of keys and values. A map of other things than tensors is not carried. */
static int describe_map(const struct ort_type_info *type, enum onnx_kind kind, struct onnx_io *row,
                        char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    const struct ort_tensor_type_and_shape_info *info = NULL;
    const struct ort_map_type_info *map = NULL;
    struct ort_type_info *value = NULL;
    int value_kind = 0, key = 0, dtype = 0;
    int err = ort_result(api->CastTypeInfoToMapTypeInfo(type, &map), error, error_size);

    row->kind = PROVIDER_OTHER;
    row->rank = -1;
    if (!err && map)
        err = ort_result(api->GetMapKeyType(map, &key), error, error_size);
    if (!err && map)
        err = ort_result(api->GetMapValueType(map, &value), error, error_size);
    if (!err && value)
        err = ort_result(api->GetOnnxTypeFromTypeInfo(value, &value_kind), error, error_size);
    if (!err && value_kind == ORT_TYPE_TENSOR) {
        err = ort_result(api->CastTypeInfoToTensorInfo(value, &info), error, error_size);
        if (!err && info)
            err = ort_result(api->GetTensorElementType(info, &dtype), error, error_size);
        if (key == ONNX_I64 || key == ONNX_STRING) {
            row->kind = kind;
            row->key = (enum onnx_dtype)key;
            row->dtype = (enum onnx_dtype)dtype;
        }
    }
    if (value)
        api->ReleaseTypeInfo(value);
    return err;
}

static int describe_sequence(const struct ort_type_info *type, struct onnx_io *row, char *error,
                             size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    const struct ort_tensor_type_and_shape_info *info = NULL;
    const struct ort_sequence_type_info *sequence = NULL;
    struct ort_type_info *element = NULL;
    int kind = 0, dtype = 0;
    int err = ort_result(api->CastTypeInfoToSequenceTypeInfo(type, &sequence), error, error_size);

    row->kind = PROVIDER_OTHER;
    row->rank = -1;
    if (!err)
        err = ort_result(api->GetSequenceElementType(sequence, &element), error, error_size);
    if (!err)
        err = ort_result(api->GetOnnxTypeFromTypeInfo(element, &kind), error, error_size);
    if (!err && kind == ORT_TYPE_TENSOR) {
        row->kind = ONNX_SEQUENCE;
        err = ort_result(api->CastTypeInfoToTensorInfo(element, &info), error, error_size);
        if (!err && info)
            err = ort_result(api->GetTensorElementType(info, &dtype), error, error_size);
        row->dtype = (enum onnx_dtype)dtype;
    }
    if (!err && kind == ORT_TYPE_MAP)
        err = describe_map(element, ONNX_MAPS, row, error, error_size);
    if (element)
        api->ReleaseTypeInfo(element);
    return err;
}

static int describe_type(struct ort_model *m, const struct ort_type_info *type, struct onnx_io *row,
                         char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    const struct ort_optional_type_info *optional = NULL;
    struct ort_type_info *inner = NULL;
    int kind = 0;
    int err = ort_result(api->GetOnnxTypeFromTypeInfo(type, &kind), error, error_size);

    if (err)
        return err;
    switch (kind) {
    case ORT_TYPE_TENSOR:
        return describe_tensor(m, type, row, error, error_size);
    case ORT_TYPE_SEQUENCE:
        return describe_sequence(type, row, error, error_size);
    case ORT_TYPE_MAP:
        return describe_map(type, ONNX_MAP, row, error, error_size);
    case ORT_TYPE_OPTIONAL:
        err = ort_result(api->CastTypeInfoToOptionalTypeInfo(type, &optional), error, error_size);
        if (!err)
            err =
                ort_result(api->GetOptionalContainedTypeInfo(optional, &inner), error, error_size);
        if (!err)
            err = describe_type(m, inner, row, error, error_size);
        if (inner)
            api->ReleaseTypeInfo(inner);
        row->optional = true;
        return err;
    default:
        row->kind = PROVIDER_OTHER;
        row->rank = -1;
        return 0;
    }
}

static int describe_row(struct ort_model *m, bool output, size_t index, struct onnx_io *row,
                        char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    struct ort_type_info *type = NULL;
    char *name = NULL;
    int err;

    err = ort_result((output ? api->SessionGetOutputName : api->SessionGetInputName)(
                         m->session, index, ort_library.allocator, &name),
                     error, error_size);
    if (err)
        return err;
    row->name = keep_and_free(m, name);
    if (!row->name)
        return VD_ERR_MEMORY;
    err = ort_result((output ? api->SessionGetOutputTypeInfo
                             : api->SessionGetInputTypeInfo)(m->session, index, &type),
                     error, error_size);
    if (!err)
        err = describe_type(m, type, row, error, error_size);
    if (type)
        api->ReleaseTypeInfo(type);
    return err;
}

static int describe_pairs(struct ort_model *m, const struct ort_model_metadata *metadata,
                          char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    struct ort_allocator *allocator = ort_library.allocator;
    char **keys = NULL;
    int64_t count = 0;
    int err =
        ort_result(api->ModelMetadataGetCustomMetadataMapKeys(metadata, allocator, &keys, &count),
                   error, error_size);

    if (err || !keys || count <= 0)
        return err;
    m->pairs = calloc(2 * (size_t)count, sizeof(*m->pairs));
    for (int64_t i = 0; i < count; i++) {
        char *value = NULL;

        if (!err)
            err = m->pairs ? 0 : VD_ERR_MEMORY;
        if (!err)
            err = ort_result(
                api->ModelMetadataLookupCustomMetadataMap(metadata, allocator, keys[i], &value),
                error, error_size);
        if (!err) {
            m->pairs[i] = keep(m, keys[i]);
            m->pairs[count + i] = keep_and_free(m, value);
            err = m->pairs[i] && m->pairs[count + i] ? 0 : VD_ERR_MEMORY;
        }
        allocator->free(allocator, keys[i]);
    }
    allocator->free(allocator, keys);
    m->metadata.pair_count = (size_t)count;
    m->metadata.keys = m->pairs;
    m->metadata.values = m->pairs + count;
    return err;
}

static int describe_metadata(struct ort_model *m, char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    const struct {
        struct ort_status *(*get)(const struct ort_model_metadata *, struct ort_allocator *,
                                  char **);
        const char **place;
    } texts[] = {
        {api->ModelMetadataGetProducerName, &m->metadata.producer},
        {api->ModelMetadataGetDomain, &m->metadata.domain},
        {api->ModelMetadataGetDescription, &m->metadata.description},
        {api->ModelMetadataGetGraphName, &m->metadata.graph},
    };
    struct ort_model_metadata *metadata = NULL;
    int err = ort_result(api->SessionGetModelMetadata(m->session, &metadata), error, error_size);

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && !err; i++) {
        char *text = NULL;

        err = ort_result(texts[i].get(metadata, ort_library.allocator, &text), error, error_size);
        if (!err) {
            *texts[i].place = keep_and_free(m, text);
            err = *texts[i].place ? 0 : VD_ERR_MEMORY;
        }
    }
    if (!err)
        err = ort_result(api->ModelMetadataGetVersion(metadata, &m->metadata.model_version), error,
                         error_size);
    if (!err)
        err = describe_pairs(m, metadata, error, error_size);
    if (metadata)
        api->ReleaseModelMetadata(metadata);
    return err;
}

int ort_describe(struct ort_model *m, char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    int err = ort_result(api->SessionGetInputCount(m->session, &m->input_count), error, error_size);

    if (!err)
        err =
            ort_result(api->SessionGetOutputCount(m->session, &m->output_count), error, error_size);
    if (err)
        return err;
    m->rows = calloc(m->input_count + m->output_count + 1, sizeof(*m->rows));
    err = m->rows ? 0 : VD_ERR_MEMORY;
    for (size_t i = 0; i < m->input_count && !err; i++)
        err = describe_row(m, false, i, &m->rows[i], error, error_size);
    for (size_t i = 0; i < m->output_count && !err; i++)
        err = describe_row(m, true, i, &m->rows[m->input_count + i], error, error_size);
    if (!err)
        err = describe_metadata(m, error, error_size);
    if (err == VD_ERR_MEMORY)
        snprintf(error, error_size, "out of memory");
    return err;
}
