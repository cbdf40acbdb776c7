/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_HEVC_SLICE_H
#define VIADUCT_HEVC_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hevc_ps.h"
#include "hevc_rps.h"

/*
 * H.265 slice segment headers (7.3.6.1), read and written anew with another reference picture
 * set. The bits around the set and all of the payload stay as they are: entry points count bytes
 * of the payload only.
 */

/* Bytes that a header can grow by at most, if entry points are few. */
#define HEVC_SLICE_GROWTH 320

struct hevc_slice {
    enum hevc_nal nal;
    unsigned temporal_id;
    bool first;     /* first_slice_segment_in_pic_flag */
    bool dependent; /* dependent_slice_segment_flag: what follows was not read */
    uint32_t pps_id;
    /* The rest is 0 for slices whose header stays: dependent and IDR ones. */
    uint64_t set_start, set_end; /* the bits of slice_pic_order_cnt_lsb to the long-term pictures */
    uint64_t end;                /* the bits of the header, without byte_alignment() */
    size_t payload;              /* where slice_segment_data() starts, a byte of the NAL unit */
    /* Of list 0 and 1; `entry` is list_entry_lX if the list is `modified`. */
    unsigned active[2];
    bool modified[2];
    uint8_t entry[2][HEVC_REFS + 1];
};

/* The first bits, up to the id of the PPS. VD_ERR_DECODE if this is no slice. */
int hevc_slice_read_start(const uint8_t *nal, size_t size, struct hevc_slice *ret_slice);

/*
 * The whole header. `total_curr` is NumPicTotalCurr. VD_ERR_DECODE if it is not legal,
 * VD_ERR_UNSUPPORTED if VA leaves out what is needed to read it.
 */
int hevc_slice_read(const uint8_t *nal, size_t size, const struct hevc_params *params,
                    unsigned total_curr, struct hevc_slice *ret_slice);

/*
 * Writes the NAL unit up to its payload to `data`, with a start code in front. VD_ERR_LIMIT if it
 * does not fit into `room`.
 */
int hevc_slice_write(const struct hevc_slice *slice, const uint8_t *nal, const struct hevc_rps *rps,
                     uint8_t *data, size_t room, size_t *ret_size);

#endif
