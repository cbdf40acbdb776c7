/* SPDX-License-Identifier: MIT */
#ifndef HOST_HEVC_VUI_H
#define HOST_HEVC_VUI_H

#include "../bitstream/bits.h"

/* Reads past vui_parameters(), E.2.1 of H.265; `sub_layers`: sps_max_sub_layers_minus1 + 1. */
void hevc_vui_skip(struct bits_reader *reader, unsigned sub_layers);

#endif
