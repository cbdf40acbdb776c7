/* SPDX-License-Identifier: MIT */
#include "internal.h"

int64_t onnx_product(const int64_t *dims, int from, int to)
{
    int64_t product = 1;

    for (int i = from; i < to; i++)
        product *= dims[i];
    return product;
}

void onnx_strides(int rank, const int64_t *dims, int64_t *strides)
{
    int64_t stride = 1;

    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= dims[i];
    }
}

bool onnx_broadcast(const struct value *value, int *rank, int64_t *dims)
{
    int both = value->rank > *rank ? value->rank : *rank;

    for (int i = both - 1; i >= 0; i--) {
        int theirs = i - (both - *rank), ours = i - (both - value->rank);
        int64_t a = theirs >= 0 ? dims[theirs] : 1, b = ours >= 0 ? value->dims[ours] : 1;

        if (a != b && a != 1 && b != 1)
            return false;
        dims[i] = a == 1 ? b : a;
    }
    *rank = both;
    return true;
}

void onnx_spread(const struct value *value, int rank, const int64_t *dims, int64_t *strides)
{
    int64_t stride = 1;

    (void)dims;
    for (int i = rank - 1; i >= 0; i--) {
        int ours = i - (rank - value->rank);

        strides[i] = ours >= 0 && value->dims[ours] != 1 ? stride : 0;
        stride *= ours >= 0 ? value->dims[ours] : 1;
    }
}

bool onnx_next(int rank, const int64_t *dims, int64_t *at)
{
    for (int i = rank - 1; i >= 0; i--) {
        if (++at[i] < dims[i])
            return true;
        at[i] = 0;
    }
    return false;
}

#define COPY(type)                                        \
    do {                                                  \
        type *t = (type *)(void *)to;                     \
        const type *f = (const type *)(const void *)from; \
        for (int64_t i = 0; i < count; i++)               \
            t[i * to_step] = f[i * from_step];            \
    } while (0)

static void copy_row(size_t size, uint8_t *to, int64_t to_step, const uint8_t *from,
                     int64_t from_step, int64_t count)
{
    if (to_step == 1 && from_step == 1) {
        memcpy(to, from, (size_t)count * size);
        return;
    }
    switch (size) {
    case 1:
        COPY(uint8_t);
        break;
    case 2:
        COPY(uint16_t);
        break;
    case 4:
        COPY(uint32_t);
        break;
    case 8:
        COPY(uint64_t);
        break;
    default:
        COPY(struct onnx_string);
    }
}

void onnx_copy(size_t size, void *to, const int64_t *to_strides, const void *from,
               const int64_t *from_strides, int rank, const int64_t *dims)
{
    int64_t d[RANK], t[RANK], f[RANK], at[RANK] = {0};
    int n = 0;

    /* Dimensions that follow each other in both places are one. */
    for (int i = 0; i < rank; i++) {
        if (dims[i] == 0)
            return;
        if (dims[i] == 1)
            continue;
        if (n && t[n - 1] == to_strides[i] * dims[i] && f[n - 1] == from_strides[i] * dims[i]) {
            d[n - 1] *= dims[i];
        } else {
            d[n++] = dims[i];
        }
        t[n - 1] = to_strides[i];
        f[n - 1] = from_strides[i];
    }
    if (!n) {
        memcpy(to, from, size);
        return;
    }
    do {
        int64_t to_at = 0, from_at = 0;

        for (int i = 0; i < n - 1; i++) {
            to_at += at[i] * t[i];
            from_at += at[i] * f[i];
        }
        copy_row(size, (uint8_t *)to + to_at * (int64_t)size, t[n - 1],
                 (const uint8_t *)from + from_at * (int64_t)size, f[n - 1], d[n - 1]);
    } while (onnx_next(n - 1, d, at));
}

double onnx_number(const struct value *value, int64_t at)
{
    switch (value->dtype) {
#define CASE(name, type) \
    case name:           \
        return (double)((const type *)value->data)[at];
        CASE(ONNX_F32, float)
        CASE(ONNX_F64, double)
        CASE(ONNX_U8, uint8_t)
        CASE(ONNX_I8, int8_t)
        CASE(ONNX_U16, uint16_t)
        CASE(ONNX_I16, int16_t)
        CASE(ONNX_I32, int32_t)
        CASE(ONNX_I64, int64_t)
        CASE(ONNX_U32, uint32_t)
        CASE(ONNX_U64, uint64_t)
        CASE(ONNX_BOOL, uint8_t)
#undef CASE
    case ONNX_F16:
        return onnx_half_to_float(((const uint16_t *)value->data)[at]);
    case ONNX_BF16:
        return onnx_bfloat_to_float(((const uint16_t *)value->data)[at]);
    default:
        return 0;
    }
}

/* Out of range becomes the nearest; NaN 0. */
static int64_t whole(double number, double low, double high)
{
    return number != number ? 0 : (int64_t)(number < low ? low : number > high ? high : number);
}

void onnx_set(struct value *value, int64_t at, double number)
{
    switch (value->dtype) {
#define CASE(name, type, low, high)                                 \
    case name:                                                      \
        ((type *)value->data)[at] = (type)whole(number, low, high); \
        return;
        CASE(ONNX_U8, uint8_t, 0, UINT8_MAX)
        CASE(ONNX_I8, int8_t, INT8_MIN, INT8_MAX)
        CASE(ONNX_U16, uint16_t, 0, UINT16_MAX)
        CASE(ONNX_I16, int16_t, INT16_MIN, INT16_MAX)
        CASE(ONNX_I32, int32_t, INT32_MIN, INT32_MAX)
        CASE(ONNX_I64, int64_t, -0x1p63, 0x1.fffffffffffffp62)
        CASE(ONNX_U32, uint32_t, 0, UINT32_MAX)
#undef CASE
    case ONNX_U64:
        ((uint64_t *)value->data)[at] = number >= 0x1p63 && number < 0x1p64
                                            ? (uint64_t)number
                                            : (uint64_t)whole(number, 0, 0x1.fffffffffffffp62);
        return;
    case ONNX_BOOL:
        ((uint8_t *)value->data)[at] = number != 0;
        return;
    case ONNX_F32:
        ((float *)value->data)[at] = (float)number;
        return;
    case ONNX_F64:
        ((double *)value->data)[at] = number;
        return;
    case ONNX_F16:
        ((uint16_t *)value->data)[at] = onnx_float_to_half((float)number);
        return;
    case ONNX_BF16:
        ((uint16_t *)value->data)[at] = onnx_float_to_bfloat((float)number);
        return;
    default:
        return;
    }
}

double *onnx_doubles(struct call *call, const struct value *value)
{
    double *numbers = onnx_scratch(call, (uint64_t)value->count, sizeof(*numbers));

    for (int64_t i = 0; numbers && i < value->count; i++)
        numbers[i] = onnx_number(value, i);
    return numbers;
}
