/* SPDX-License-Identifier: MIT */
#ifndef HOST_HEVC_ATTRIBUTES_H
#define HOST_HEVC_ATTRIBUTES_H

#include <stdint.h>

/* Config attributes of H.265 encoding: what libx265 can be told to keep to (encode_codec). */
uint32_t hevc_attributes(int profile, uint32_t *ret_types, uint32_t *ret_values, uint32_t room);

#endif
