/* SPDX-License-Identifier: MIT */
#ifndef WIRE_NPU_H
#define WIRE_NPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <viaduct/protocol.h>

/*
 * Values of inference as they lie in memory: what both ends must compute alike. Numbers of types
 * are those of TensorProto.DataType, which are OrtApi's ONNXTensorElementDataType, too.
 */

#define NPU_STRING    8u
#define NPU_INT64_KEY 7u
#define NPU_DTYPES    24u

/* Name of a type as people write it ("float32"), or "type N". Never NULL. */
const char *npu_dtype_name(uint32_t dtype);
/* By that name, 0 if there is none. */
uint32_t npu_dtype_find(const char *name);
/* Bits of an element, 0 for strings and what is no type. */
unsigned npu_dtype_bits(uint32_t dtype);

/* Product of dimensions; none makes 1. 0, or -VD_ERR_PARAMETER if it is no number of elements. */
int npu_count(const int64_t *dims, uint32_t rank, uint64_t *ret_count);
/* Bytes of a tensor of numbers. 0, or -VD_ERR_PARAMETER. */
int npu_bytes(uint32_t dtype, const int64_t *dims, uint32_t rank, uint64_t *ret_bytes);

/* Whether a value of this kind is made of tensors: a sequence, a map, a sequence of maps. */
static inline bool npu_has_items(uint32_t kind)
{
    return kind == VD_NPU_SEQUENCE || kind == VD_NPU_MAP || kind == VD_NPU_MAPS;
}

void npu_value_dims(const struct vd_npu_value *value, int64_t *ret_dims);
void npu_value_set_dims(struct vd_npu_value *value, const int64_t *dims, uint32_t rank);
/*
 * Whether kind, type, dimensions and size of a value can be, without a look at its bytes. 0 or
 * -VD_ERR_PROTOCOL.
 */
int npu_value_check(const struct vd_npu_value *value);
/*
 * Whether the bytes of a checked value, which nobody else can change, are what it says: strings and
 * sequences end where they should. 0 or -VD_ERR_PROTOCOL.
 */
int npu_value_check_bytes(const struct vd_npu_value *value, const uint8_t *bytes);

#endif
