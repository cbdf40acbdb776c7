/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_CAPS_H
#define HOST_VPP_CAPS_H

#include <stdint.h>

/* What the processor can do with the libraries as they are built. Masks as in VD_ATTRIBUTE_*. */
uint32_t vpp_caps_filters(void);
uint32_t vpp_caps_deinterlacing(void);
uint32_t vpp_caps_blend(void);

#endif
