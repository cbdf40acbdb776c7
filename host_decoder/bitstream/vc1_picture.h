/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_VC1_PICTURE_H
#define VIADUCT_VC1_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <va/va.h>

/*
 * Length in bits of a picture header of the Advanced profile (7.1, 9.1), if POSTPROCFLAG is as
 * given: what follows is the macroblock layer. `data` starts behind the start code. Only for intra
 * pictures; VD_ERR_UNSUPPORTED for others, VD_ERR_DECODE if this is no header of such a picture.
 */
int vc1_picture_header_bits(const VAPictureParameterBufferVC1 *param, bool postprocflag,
                            const uint8_t *data, size_t size, uint64_t *ret_bits);

#endif
