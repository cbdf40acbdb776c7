/* SPDX-License-Identifier: MIT */
#ifndef HOST_HEVC_REWRITE_H
#define HOST_HEVC_REWRITE_H

#include "encode.h"
#include "hevc_params.h"
#include "hevc_sets.h"

/*
 * An H.265 encoder's packets under the app's parameter sets: see hevc.c for what that takes.
 */

#define HEVC_REWRITE_SET_BYTES 512 /* of a parameter set of the encoder */
#define HEVC_REWRITE_REFS      16

/* A parameter set of the encoder as it came. */
struct hevc_rewrite_set {
    size_t size; /* 0: there is none */
    uint8_t data[HEVC_REWRITE_SET_BYTES];
};

/* A picture that a decoder of the written stream has. */
struct hevc_rewrite_ref {
    int32_t encoder_poc, poc;
};

/* Memory of a context, zeroed at first: the `state` of `write`. */
struct hevc_rewrite {
    struct hevc_rewrite_set vps, sps_set, pps_set;
    struct hevc_sps sps; /* the encoder's */
    struct hevc_set sets[HEVC_SETS_RPS];
    struct hevc_pps pps[HEVC_SETS_PPS];
    uint64_t pps_known;
    uint8_t pps_set_id;         /* of several, the last one is kept */
    int32_t encoder_poc;        /* of prevTid0Pic (8.3.1), the encoder's */
    int32_t poc;                /* of the picture before, as written */
    int32_t app_poc;            /* the same, VA's */
    int64_t shift;              /* written less encoder's, while they count alike */
    int64_t step, encoder_step; /* from picture to picture, while they are steady; 0: not known */
    bool has_sps, counts_alike, steady;
    bool extra_sent;
    uint8_t extra_id;
    struct hevc_rewrite_ref ref[HEVC_REWRITE_REFS];
    unsigned ref_count;
};

/* encode_codec.write */
int hevc_rewrite_write(void *state, const struct encode_request *request,
                       const struct encode_packet *packet, struct encode_output *output);

#endif
