/* SPDX-License-Identifier: MIT */
#ifndef HOST_HEVC_UNIT_H
#define HOST_HEVC_UNIT_H

#include "../bitstream/hevc_rps.h"
#include "encode.h"

/* H.265 NAL units in and out of byte streams (annex B). */

struct hevc_unit {
    enum hevc_nal type;
    const uint8_t *data; /* begins with the NAL unit header */
    size_t size;         /* 2 or more; zeros at the end are taken off */
    bool escaped;        /* it has its emulation prevention bytes */
};

/* All zero but for what is to be read: starts at the first one. */
struct hevc_unit_reader {
    const uint8_t *data;
    size_t size;
    bool escaped; /* if not, it is a single one, and what looks like a start code is none */
    size_t at;
};

/* The next one. False: there is none. */
bool hevc_unit_next(struct hevc_unit_reader *reader, struct hevc_unit *ret_unit);

/* Appends it with a start code of four bytes, and with its emulation prevention bytes. */
void hevc_unit_put(struct encode_output *output, const struct hevc_unit *unit);

#endif
