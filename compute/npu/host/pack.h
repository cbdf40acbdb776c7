/* SPDX-License-Identifier: MIT */
#ifndef NPU_PACK_H
#define NPU_PACK_H

#include "provider.h"

/* Values and descriptions as they travel, from and to what providers know (provider.h). */

/* Bytes that a value takes on its way. 0, or -VD_ERR_UNSUPPORTED if it cannot travel. */
int pack_size(const struct onnx_value *value, uint64_t *ret_size);
/* Its row; `size` as above, `offset` and `index` are the caller's. */
void pack_row(const struct onnx_value *value, uint64_t size, struct vd_npu_value *ret_row);
/* Writes those bytes. What they lie in already is left alone. */
void pack_write(const struct onnx_value *value, uint8_t *to);

/* Whether the bytes of this value are only looked at by who computes with them. */
bool pack_in_place(const struct vd_npu_value *row);
/* Bytes of private memory that pack_read wants for this value, 0 if it is used in place. */
uint64_t pack_room(const struct vd_npu_value *row);
/*
 * The value of a checked row whose bytes are in shared memory at `from`; `memory` has pack_room
 * bytes, is aligned to 64 and lives as long as the value. 0 or -VD_ERR_PARAMETER: strings or a
 * sequence that end elsewhere than they say.
 */
int pack_read(const struct vd_npu_value *row, uint8_t *from, uint8_t *memory,
              struct onnx_value *ret_value);

/* npu_info and all behind it, to be freed. NULL if there is no memory. */
uint8_t *pack_info(const struct provider_description *description, uint64_t *ret_size);

#endif
