/* SPDX-License-Identifier: MIT */
#ifndef HOST_HEVC_COUNTS_H
#define HOST_HEVC_COUNTS_H

#include "hevc_head.h"
#include "hevc_rewrite.h"

/*
 * Picture order counts and references of a rewritten stream: the app's counts, and the encoder's
 * references.
 */

/* One picture on its way. */
struct hevc_picture {
    struct hevc_rewrite *state;
    const struct hevc_app *app;
    const struct encode_packet *packet;
    struct hevc_head first; /* header of its first slice */
    bool has_sets;          /* the packet brings parameter sets */
    /* Of all slices: */
    unsigned slices;
    bool intra, sao, temporal_mvp;
    unsigned refs; /* that are needed, of those the encoder counts as used */
    /* How it is written: */
    const struct hevc_sps *sps;
    struct hevc_pps pps;
    bool extra; /* the PPS is one more than the app knows */
    enum hevc_nal nal;
    int32_t encoder_poc, poc;
    struct hevc_set set;
};

/*
 * The picture's NAL unit type and counts. VD_ERR_DECODE if it cannot be what the app wants it to
 * be, or its motion vectors would mean something else in the app's counts.
 */
int hevc_counts_name(struct hevc_picture *p);
/* Its reference picture set. VD_ERR_DECODE if decoders do not have what it refers to. */
int hevc_counts_set(struct hevc_picture *p);
/* It was written: later ones can refer to it. */
void hevc_counts_done(struct hevc_picture *p);

#endif
