/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODE_H264_NAL_H
#define HOST_ENCODE_H264_NAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../bitstream/bits.h"
#include "encode.h"

/* NAL units of H.264: taken out of what an app or an encoder gives, and written to the output. */

enum {
    H264_NAL_SLICE = 1,
    H264_NAL_IDR = 5,
    H264_NAL_SEI = 6,
    H264_NAL_SPS = 7,
    H264_NAL_PPS = 8,
    H264_NAL_AUD = 9,
    H264_NAL_END_OF_SEQUENCE = 10,
    H264_NAL_END_OF_STREAM = 11,
    H264_NAL_FILLER = 12,
};

/* One NAL unit, its header first; never empty, and without zeros behind it. */
struct h264_nal {
    const uint8_t *data;
    size_t size;
    bool escaped; /* it has its emulation prevention bytes */
};

static inline unsigned h264_nal_type(const struct h264_nal *nal)
{
    return nal->data[0] & 0x1f;
}

static inline bool h264_nal_is_slice(const struct h264_nal *nal)
{
    return h264_nal_type(nal) == H264_NAL_SLICE || h264_nal_type(nal) == H264_NAL_IDR;
}

/*
 * Bytes to take NAL units from. What is not escaped is one NAL unit behind a start code, as
 * GStreamer sends it: there may be start codes in it, which are none.
 */
struct h264_nals {
    const uint8_t *data;
    size_t size;
    bool escaped;
};

/* False: there are no more. */
bool h264_nal_next(struct h264_nals *from, struct h264_nal *ret_nal);

/* Start code and NAL unit, escaped if it is not yet. */
void h264_nal_put(struct encode_output *output, const struct h264_nal *nal);

/*
 * A slice: start code, then the header in `writer` (its NAL header first, not yet escaped, perhaps
 * with bits left in the writer's cache, and with room for one byte more), then the payload of
 * `nal`, an escaped one, from the bit `position` of its unescaped bytes on. `aligned`: the payload
 * begins at the next whole byte, in both, behind ones (CABAC).
 */
void h264_nal_put_slice(struct encode_output *output, struct bits_writer *writer,
                        const struct h264_nal *nal, uint64_t position, bool aligned);

#endif
