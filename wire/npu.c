/* SPDX-License-Identifier: MIT */
#include "npu.h"

#include <string.h>
#include <viaduct/errors.h>

/* TensorProto.DataType: name, bits of an element. */
static const struct {
    const char *name;
    uint8_t bits;
} npu_dtypes[NPU_DTYPES] = {
    [1] = {"float32", 32},    [2] = {"uint8", 8},           [3] = {"int8", 8},
    [4] = {"uint16", 16},     [5] = {"int16", 16},          [6] = {"int32", 32},
    [7] = {"int64", 64},      [8] = {"string", 0},          [9] = {"bool", 8},
    [10] = {"float16", 16},   [11] = {"float64", 64},       [12] = {"uint32", 32},
    [13] = {"uint64", 64},    [14] = {"complex64", 64},     [15] = {"complex128", 128},
    [16] = {"bfloat16", 16},  [17] = {"float8e4m3fn", 8},   [18] = {"float8e4m3fnuz", 8},
    [19] = {"float8e5m2", 8}, [20] = {"float8e5m2fnuz", 8}, [21] = {"uint4", 4},
    [22] = {"int4", 4},       [23] = {"float4e2m1", 4},
};

const char *npu_dtype_name(uint32_t dtype)
{
    return dtype && dtype < NPU_DTYPES ? npu_dtypes[dtype].name : "unknown type";
}

uint32_t npu_dtype_find(const char *name)
{
    for (uint32_t i = 1; i < NPU_DTYPES; i++) {
        if (!strcmp(npu_dtypes[i].name, name))
            return i;
    }
    return 0;
}

unsigned npu_dtype_bits(uint32_t dtype)
{
    return dtype < NPU_DTYPES ? npu_dtypes[dtype].bits : 0;
}

int npu_count(const int64_t *dims, uint32_t rank, uint64_t *ret_count)
{
    uint64_t count = 1;
    bool empty = false;

    if (rank > VD_MAX_NPU_RANK)
        return VD_ERR_PARAMETER;
    for (uint32_t i = 0; i < rank; i++) {
        /* Also where another one is 0: what multiplies the others must not overflow. */
        if (dims[i] < 0 || (dims[i] && count > (UINT64_C(1) << 56) / (uint64_t)dims[i]))
            return VD_ERR_PARAMETER;
        empty = empty || !dims[i];
        count *= dims[i] ? (uint64_t)dims[i] : 1;
    }
    *ret_count = empty ? 0 : count;
    return 0;
}

int npu_bytes(uint32_t dtype, const int64_t *dims, uint32_t rank, uint64_t *ret_bytes)
{
    unsigned bits = npu_dtype_bits(dtype);
    uint64_t count;

    if (!bits || npu_count(dims, rank, &count))
        return VD_ERR_PARAMETER;
    /* Two elements of 4 bits share a byte. */
    *ret_bytes = bits < 8 ? (count + 1) / 2 : count * (bits / 8);
    return 0;
}

void npu_value_dims(const struct vd_npu_value *value, int64_t *ret_dims)
{
    memcpy(ret_dims, value->dims, sizeof(value->dims));
}

void npu_value_set_dims(struct vd_npu_value *value, const int64_t *dims, uint32_t rank)
{
    value->rank = rank;
    memset(value->dims, 0, sizeof(value->dims));
    memcpy(value->dims, dims, rank * sizeof(*dims));
}

int npu_value_check(const struct vd_npu_value *value)
{
    int64_t dims[VD_MAX_NPU_RANK];
    uint64_t count, bytes;

    npu_value_dims(value, dims);
    if (value->rank > VD_MAX_NPU_RANK || npu_count(dims, value->rank, &count))
        return VD_ERR_PROTOCOL;
    switch (value->kind) {
    case VD_NPU_NONE:
        return value->size ? VD_ERR_PROTOCOL : 0;
    case VD_NPU_MAP:
    case VD_NPU_MAPS:
        /* Keys and values, for each map. */
        if (dims[0] % 2 || (value->kind == VD_NPU_MAP && dims[0] != 2))
            return VD_ERR_PROTOCOL;
        return value->rank != 1 || value->size / sizeof(*value) < count ? VD_ERR_PROTOCOL : 0;
    case VD_NPU_SEQUENCE:
        return value->rank != 1 || value->size / sizeof(*value) < count ? VD_ERR_PROTOCOL : 0;
    case VD_NPU_TENSOR:
        if (value->dtype == NPU_STRING)
            return value->size / sizeof(uint32_t) < count ? VD_ERR_PROTOCOL : 0;
        if (npu_bytes(value->dtype, dims, value->rank, &bytes) || bytes != value->size)
            return VD_ERR_PROTOCOL;
        return 0;
    default:
        return VD_ERR_PROTOCOL;
    }
}

/* Lengths and their bytes fill the size exactly. */
static int check_strings(const uint8_t *bytes, uint64_t size, uint64_t count)
{
    uint64_t at = count * sizeof(uint32_t);

    for (uint64_t i = 0; i < count; i++) {
        uint32_t length;

        memcpy(&length, bytes + i * sizeof(length), sizeof(length));
        if (length > size - at)
            return VD_ERR_PROTOCOL;
        at += length;
    }
    return at == size ? 0 : VD_ERR_PROTOCOL;
}

/* Rows of keys, int64 or strings, and of values of the type that was said, as many. */
static int check_map_item(const struct vd_npu_value *value, uint64_t i,
                          const struct vd_npu_value *item, struct vd_npu_value *keys)
{
    if (item->rank != 1)
        return VD_ERR_PROTOCOL;
    if (i % 2)
        return item->dtype == value->dtype && !memcmp(item->dims, keys->dims, sizeof(item->dims))
                   ? 0
                   : VD_ERR_PROTOCOL;
    if ((item->dtype != NPU_INT64_KEY && item->dtype != NPU_STRING) ||
        (i && item->dtype != keys->dtype))
        return VD_ERR_PROTOCOL;
    *keys = *item;
    return 0;
}

int npu_value_check_bytes(const struct vd_npu_value *value, const uint8_t *bytes)
{
    int64_t dims[VD_MAX_NPU_RANK];
    struct vd_npu_value keys = {0};
    uint64_t count = 0;
    int err = 0;

    npu_value_dims(value, dims);
    err = npu_count(dims, value->rank, &count);
    if (!err && value->kind == VD_NPU_TENSOR && value->dtype == NPU_STRING)
        return check_strings(bytes, value->size, count);
    if (!npu_has_items(value->kind))
        return err;
    for (uint64_t i = 0; i < count && !err; i++) {
        struct vd_npu_value item;

        memcpy(&item, bytes + i * sizeof(item), sizeof(item));
        /* A sequence holds tensors of its type. */
        if (item.kind != VD_NPU_TENSOR || npu_value_check(&item) ||
            (value->kind == VD_NPU_SEQUENCE ? item.dtype != value->dtype
                                            : check_map_item(value, i, &item, &keys) != 0) ||
            item.offset % 8 || item.offset > value->size || item.size > value->size - item.offset)
            return VD_ERR_PROTOCOL;
        err = npu_value_check_bytes(&item, bytes + item.offset);
    }
    return err;
}
