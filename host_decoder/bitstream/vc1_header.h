/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_VC1_HEADER_H
#define VIADUCT_VC1_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <va/va.h>

/* Headers of VC-1 (SMPTE 421M) from VA's picture parameters. */

/* Room that each of them fits into, start code and emulation prevention included. */
#define VC1_HEADER_ROOM 32
#define VC1_SIZE_MOST   8192 /* of a picture: 12 bits, in units of two samples */

enum vc1_profile {
    VC1_PROFILE_SIMPLE,
    VC1_PROFILE_MAIN,
    VC1_PROFILE_COMPLEX, /* never standardized */
    VC1_PROFILE_ADVANCED,
};

/* Start code suffixes, table 255 (annex E.5). */
enum vc1_start_code {
    VC1_START_SLICE = 0x0b,
    VC1_START_FIELD = 0x0c,
    VC1_START_FRAME = 0x0d,
    VC1_START_ENTRY_POINT = 0x0e,
    VC1_START_SEQUENCE = 0x0f,
};

/*
 * Simple and Main profile: STRUCT_C and STRUCT_A of annex J, which containers keep beside the
 * stream. The codec's private data starts with the first; the second has the size. Returns bytes.
 */
size_t vc1_header_write_struct(const VAPictureParameterBufferVC1 *param, uint8_t *room);

/* Advanced profile: sequence and entry-point layer (6.1, 6.2) with start codes. Return bytes. */
size_t vc1_header_write_sequence(const VAPictureParameterBufferVC1 *param, bool postprocflag,
                                 uint8_t *room);
size_t vc1_header_write_entry_point(const VAPictureParameterBufferVC1 *param, uint8_t *room);

#endif
