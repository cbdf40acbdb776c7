/* SPDX-License-Identifier: MIT */
#ifndef HOST_HEVC_ATTRIBUTES_H
#define HOST_HEVC_ATTRIBUTES_H

#include <stddef.h>
#include <stdint.h>

/* Config attributes of H.265 encoding: what libx265 can be told to keep to (encode_codec). */
uint32_t hevc_attributes(int profile, uint32_t *ret_types, uint32_t *ret_values, uint32_t room);

/*
 * For encoders that cannot be told, as those of GPUs: VAConfigAttribEncHEVCFeatures and
 * VAConfigAttribEncHEVCBlockSizes so that apps make parameter sets like those in `packet`, an IDR
 * picture that the encoder has made. VD_ERR_DECODE if there are none in it, VD_ERR_UNSUPPORTED if
 * no app can be made to follow.
 */
int hevc_attributes_probe(const uint8_t *packet, size_t size, uint32_t *ret_features,
                          uint32_t *ret_block_sizes);

#endif
