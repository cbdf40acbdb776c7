/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <wire/npu.h>

#include "front.h"

static void shape_finish(struct ort_tensor_type_and_shape_info *info)
{
    for (size_t i = 0; i < FRONT_MAX_RANK; i++)
        free(info->symbols[i]);
}

void ort_ReleaseTypeInfo(struct ort_type_info *input)
{
    if (!input)
        return;
    shape_finish(&input->tensor);
    ort_ReleaseTypeInfo(input->sequence.element);
    ort_ReleaseTypeInfo(input->map.value);
    ort_ReleaseTypeInfo(input->optional.contained);
    free(input);
}

void ort_ReleaseTensorTypeAndShapeInfo(struct ort_tensor_type_and_shape_info *input)
{
    if (input)
        shape_finish(input);
    free(input);
}

/* It belongs to its type info. */
void ort_ReleaseSequenceTypeInfo(struct ort_sequence_type_info *input)
{
    (void)input;
}

/* The same. */
void ort_ReleaseMapTypeInfo(struct ort_map_type_info *input)
{
    (void)input;
}

static int shape_copy(struct ort_tensor_type_and_shape_info *to,
                      const struct ort_tensor_type_and_shape_info *from)
{
    *to = *from;
    memset(to->symbols, 0, sizeof(to->symbols));
    for (size_t i = 0; i < FRONT_MAX_RANK; i++) {
        if (from->symbols[i] && !(to->symbols[i] = strdup(from->symbols[i])))
            return -1;
    }
    return 0;
}

static struct ort_type_info *type_copy(const struct ort_type_info *from)
{
    struct ort_type_info *to = calloc(1, sizeof(*to));

    if (!to)
        return NULL;
    to->type = from->type;
    if (shape_copy(&to->tensor, &from->tensor))
        goto fail;
    if (from->sequence.element && !(to->sequence.element = type_copy(from->sequence.element)))
        goto fail;
    to->map.key = from->map.key;
    if (from->map.value && !(to->map.value = type_copy(from->map.value)))
        goto fail;
    if (from->optional.contained && !(to->optional.contained = type_copy(from->optional.contained)))
        goto fail;
    return to;
fail:
    ort_ReleaseTypeInfo(to);
    return NULL;
}

static int fill_shape(struct ort_tensor_type_and_shape_info *shape, const struct npu_io *io,
                      const struct ort_key_value_pairs *overrides)
{
    shape->dtype = io->dtype;
    shape->shaped = io->rank >= 0;
    shape->rank = io->rank > 0 ? (size_t)io->rank : 0;
    for (size_t i = 0; i < shape->rank; i++) {
        const char *symbol = io->symbols[i];
        const char *value = symbol ? front_pairs_get(overrides, symbol) : NULL;

        shape->dims[i] = value ? strtoll(value, NULL, 10) : io->dims[i];
        if (symbol && !value && !(shape->symbols[i] = strdup(symbol)))
            return -1;
    }
    return 0;
}

/* One within another: optional of sequence of tensor. */
struct ort_type_info *front_type_of(const struct npu_io *io,
                                    const struct ort_key_value_pairs *overrides)
{
    struct ort_type_info *type = calloc(1, sizeof(*type));
    struct npu_io inner = *io;

    if (!type)
        return NULL;
    if (io->optional) {
        type->type = ORT_TYPE_OPTIONAL;
        inner.optional = false;
        type->optional.contained = front_type_of(&inner, overrides);
        if (!type->optional.contained)
            goto fail;
    } else if (io->kind == NPU_KIND_SEQUENCE || io->kind == NPU_KIND_MAPS) {
        type->type = ORT_TYPE_SEQUENCE;
        inner.kind = io->kind == NPU_KIND_MAPS ? NPU_KIND_MAP : NPU_KIND_TENSOR;
        type->sequence.element = front_type_of(&inner, overrides);
        if (!type->sequence.element)
            goto fail;
    } else if (io->kind == NPU_KIND_MAP) {
        type->type = ORT_TYPE_MAP;
        type->map.key = io->key;
        inner.kind = NPU_KIND_TENSOR;
        inner.rank = 0;
        type->map.value = front_type_of(&inner, overrides);
        if (!type->map.value)
            goto fail;
    } else if (io->kind == NPU_KIND_TENSOR) {
        type->type = ORT_TYPE_TENSOR;
        if (fill_shape(&type->tensor, io, overrides))
            goto fail;
    }
    return type;
fail:
    ort_ReleaseTypeInfo(type);
    return NULL;
}

bool front_bytes(int dtype, const int64_t *dims, size_t rank, size_t *ret_count, size_t *ret_bytes)
{
    uint64_t count = 1;
    unsigned bits = npu_dtype_bits((uint32_t)dtype);

    for (size_t i = 0; i < rank; i++) {
        if (dims[i] < 0 || (dims[i] && count > (UINT64_C(1) << 56) / (uint64_t)dims[i]))
            return false;
        count *= (uint64_t)dims[i];
    }
    if (rank > FRONT_MAX_RANK || (!bits && dtype != NPU_TEXT))
        return false;
    *ret_count = count;
    *ret_bytes = bits < 8 ? (count * bits + 7) / 8 : count * (bits / 8);
    return true;
}

struct ort_status *ort_GetOnnxTypeFromTypeInfo(const struct ort_type_info *type_info, int *out)
{
    *out = type_info->type;
    return NULL;
}

struct ort_status *ort_CastTypeInfoToTensorInfo(const struct ort_type_info *type_info,
                                                const struct ort_tensor_type_and_shape_info **out)
{
    *out = type_info->type == ORT_TYPE_TENSOR ? &type_info->tensor : NULL;
    return NULL;
}

struct ort_status *ort_CastTypeInfoToMapTypeInfo(const struct ort_type_info *type_info,
                                                 const struct ort_map_type_info **out)
{
    *out = type_info->type == ORT_TYPE_MAP ? &type_info->map : NULL;
    return NULL;
}

struct ort_status *ort_GetMapKeyType(const struct ort_map_type_info *map, int *out)
{
    *out = map->key;
    return NULL;
}

struct ort_status *ort_GetMapValueType(const struct ort_map_type_info *map,
                                       struct ort_type_info **type_info)
{
    *type_info = type_copy(map->value);
    return *type_info ? NULL : front_no_memory();
}

struct ort_status *ort_CastTypeInfoToSequenceTypeInfo(const struct ort_type_info *type_info,
                                                      const struct ort_sequence_type_info **out)
{
    *out = type_info->type == ORT_TYPE_SEQUENCE ? &type_info->sequence : NULL;
    return NULL;
}

struct ort_status *ort_CastTypeInfoToOptionalTypeInfo(const struct ort_type_info *type_info,
                                                      const struct ort_optional_type_info **out)
{
    *out = type_info->type == ORT_TYPE_OPTIONAL ? &type_info->optional : NULL;
    return NULL;
}

struct ort_status *ort_GetSequenceElementType(const struct ort_sequence_type_info *sequence,
                                              struct ort_type_info **type_info)
{
    *type_info = type_copy(sequence->element);
    return *type_info ? NULL : front_no_memory();
}

struct ort_status *ort_GetOptionalContainedTypeInfo(const struct ort_optional_type_info *optional,
                                                    struct ort_type_info **out)
{
    *out = type_copy(optional->contained);
    return *out ? NULL : front_no_memory();
}

struct ort_status *ort_GetDenotationFromTypeInfo(const struct ort_type_info *type_info,
                                                 const char **const denotation, size_t *len)
{
    (void)type_info;
    *denotation = "";
    *len = 0;
    return NULL;
}

struct ort_status *ort_CreateTensorTypeAndShapeInfo(struct ort_tensor_type_and_shape_info **out)
{
    *out = calloc(1, sizeof(**out));
    return *out ? NULL : front_no_memory();
}

struct ort_status *ort_SetTensorElementType(struct ort_tensor_type_and_shape_info *info, int type)
{
    info->dtype = type;
    return NULL;
}

struct ort_status *ort_SetDimensions(struct ort_tensor_type_and_shape_info *info,
                                     const int64_t *dim_values, size_t dim_count)
{
    if (dim_count > FRONT_MAX_RANK)
        return front_status(ORT_INVALID_ARGUMENT, "%zu dimensions are too many", dim_count);
    memcpy(info->dims, dim_values, dim_count * sizeof(*dim_values));
    info->rank = dim_count;
    info->shaped = true;
    return NULL;
}

struct ort_status *ort_SetSymbolicDimensions(struct ort_tensor_type_and_shape_info *info,
                                             const char *dim_params[], size_t dim_params_length)
{
    if (dim_params_length > FRONT_MAX_RANK)
        return front_status(ORT_INVALID_ARGUMENT, "%zu dimensions are too many", dim_params_length);
    for (size_t i = 0; i < dim_params_length; i++) {
        free(info->symbols[i]);
        info->symbols[i] = strdup(dim_params[i]);
        if (!info->symbols[i])
            return front_no_memory();
    }
    return NULL;
}

struct ort_status *ort_GetTensorElementType(const struct ort_tensor_type_and_shape_info *info,
                                            int *out)
{
    *out = info->dtype;
    return NULL;
}

struct ort_status *ort_GetDimensionsCount(const struct ort_tensor_type_and_shape_info *info,
                                          size_t *out)
{
    *out = info->rank;
    return NULL;
}

struct ort_status *ort_GetDimensions(const struct ort_tensor_type_and_shape_info *info,
                                     int64_t *dim_values, size_t dim_values_length)
{
    for (size_t i = 0; i < dim_values_length && i < info->rank; i++)
        dim_values[i] = info->dims[i];
    return NULL;
}

struct ort_status *ort_GetSymbolicDimensions(const struct ort_tensor_type_and_shape_info *info,
                                             const char *dim_params[], size_t dim_params_length)
{
    for (size_t i = 0; i < dim_params_length && i < info->rank; i++)
        dim_params[i] = info->symbols[i] ? info->symbols[i] : "";
    return NULL;
}

struct ort_status *ort_GetTensorShapeElementCount(const struct ort_tensor_type_and_shape_info *info,
                                                  size_t *out)
{
    size_t count = 1;

    for (size_t i = 0; i < info->rank; i++) {
        if (info->dims[i] < 0)
            return front_status(ORT_FAIL, "dimension %zu is not known", i);
        count *= (size_t)info->dims[i];
    }
    *out = count;
    return NULL;
}

bool ort_TensorTypeAndShape_HasShape(const struct ort_tensor_type_and_shape_info *info)
{
    return info->shaped;
}

struct ort_status *ort_GetTensorTypeAndShape(const struct ort_value *value,
                                             struct ort_tensor_type_and_shape_info **out)
{
    struct ort_tensor_type_and_shape_info *info;

    if (value->type != ORT_TYPE_TENSOR)
        return front_status(ORT_INVALID_ARGUMENT, "the value is not a tensor");
    info = calloc(1, sizeof(*info));
    if (!info)
        return front_no_memory();
    info->dtype = value->dtype;
    info->shaped = true;
    info->rank = value->rank;
    memcpy(info->dims, value->dims, sizeof(info->dims));
    *out = info;
    return NULL;
}

struct ort_status *ort_GetTypeInfo(const struct ort_value *value, struct ort_type_info **out)
{
    static const struct ort_key_value_pairs none;
    bool maps =
        value->type == ORT_TYPE_SEQUENCE && value->count && value->items[0]->type == ORT_TYPE_MAP;
    const struct ort_value *map = maps ? value->items[0] : value;
    struct npu_io io = {
        .kind = maps                               ? NPU_KIND_MAPS
                : value->type == ORT_TYPE_SEQUENCE ? NPU_KIND_SEQUENCE
                : value->type == ORT_TYPE_MAP      ? NPU_KIND_MAP
                                                   : NPU_KIND_TENSOR,
        .key = map->type == ORT_TYPE_MAP ? map->items[0]->dtype : 0,
        .dtype = value->dtype,
        .rank = -1,
    };
    struct ort_type_info *type;

    if (value->type == ORT_TYPE_UNKNOWN) {
        *out = NULL;
        return NULL;
    }
    type = front_type_of(&io, &none);
    if (!type)
        return front_no_memory();
    if (type->type == ORT_TYPE_TENSOR) {
        type->tensor.shaped = true;
        type->tensor.rank = value->rank;
        memcpy(type->tensor.dims, value->dims, sizeof(value->dims));
    }
    *out = type;
    return NULL;
}
