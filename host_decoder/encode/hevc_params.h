/* SPDX-License-Identifier: MIT */
#ifndef HOST_HEVC_PARAMS_H
#define HOST_HEVC_PARAMS_H

#include <va/va.h>

#include "encode.h"
#include "hevc_sets.h"

/* H.265: what the app wants, from VA buffers and packed headers. */

/* What the app wants of a picture: encode_request.own. */
struct hevc_app {
    struct hevc_sps sps;
    struct hevc_pps pps;
    uint64_t pps_ids;  /* those that the app has used: a bit each */
    enum hevc_nal nal; /* IDR_*, CRA or TRAIL_R */
    int32_t poc;       /* in VA's terms */
    uint8_t last;      /* HEVC_LAST_PICTURE_* */
    bool has_sps;      /* else the encoder's sets are sent */
    bool has_pps;      /* else the encoder's PPS is */
    bool has_sets;     /* this picture brings an SPS or a PPS */
    bool no_output;    /* no_output_of_prior_pics_flag */
};
_Static_assert(sizeof(struct hevc_app) <= ENCODE_PRIVATE, "does not fit into a request");

/* Memory of a context, zeroed at first: the `state` of `read`. */
struct hevc_params_state {
    struct encode_misc_state misc;
    VAEncSequenceParameterBufferHEVC sequence;
    struct hevc_sps sps;
    struct hevc_set sets[HEVC_SETS_RPS];
    struct hevc_pps pps[HEVC_SETS_PPS];
    uint64_t pps_known;
    bool has_sequence, has_sps;
    bool ended; /* the last picture ended its sequence */
};

/* encode_codec.read */
int hevc_params_read(void *state, const struct encode_picture *picture,
                     struct encode_request *ret_request);

#endif
