/* SPDX-License-Identifier: MIT */
#ifndef HOST_PIXELS_H
#define HOST_PIXELS_H

#include <stdint.h>
#include <wire/format.h>

/*
 * A picture in memory, whoever it belongs to. The guest may share the memory and write to it at any
 * time: pixels are data, and nothing may be decided by reading one twice.
 */
struct pixels {
    const struct format_info *format;
    const struct format_layout *layout;
    uint8_t *bytes; /* where the layout starts */
    uint32_t width, height;
};

#endif
