/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODE_H264_H
#define HOST_ENCODE_H264_H

#include <va/va.h>
#include <va/va_enc_h264.h>

#include "h264_dpb.h"
#include "h264_sets.h"
#include "h264_slice.h"

/* The parts of encode_h264, which is in h264.c, and what they tell each other. */

/* Parameter sets that are made here: start codes and all. */
#define H264_SETS_ROOM 192

/* encode_request.own: what `write` has to know of the app's picture besides its headers. */
struct h264_own {
    struct h264_sps sps; /* the app's, or made for it: in force for this picture */
    struct h264_pps pps;
    uint8_t pps_id;
    uint8_t spare_pps_id;         /* that the app does not use */
    uint8_t last_picture;         /* H264_LAST_PICTURE_* */
    uint8_t sets_size;            /* 0: the app sends its own */
    struct h264_picture picture;  /* as the app's slice headers have it */
    uint8_t sets[H264_SETS_ROOM]; /* SPS, PPS, or one of them, for an app without its own */
};
_Static_assert(sizeof(struct h264_own) <= ENCODE_PRIVATE, "own");

struct h264_read_state {
    struct encode_misc_state misc;
    VAEncSequenceParameterBufferH264 sequence;
    bool sequence_known;
    bool packed_sps, packed_pps; /* the app has sent its own: it knows what it does */
    struct h264_sets sets;
    uint32_t reference; /* surface of the picture before; none if nothing may refer to it */
};

struct h264_write_state {
    struct h264_sets sets; /* the encoder's */
    struct h264_dpb encoder, app;
    uint32_t serial;
    struct h264_pps spare; /* the extra PPS as last put out, under spare_id */
    uint8_t spare_id;
    uint8_t sets_size; /* the same of the sets that were made */
    uint8_t made_sets[H264_SETS_ROOM];
};

/* h264_read.c and h264_write.c: see struct encode_codec. */
int h264_read(void *state, const struct encode_picture *picture,
              struct encode_request *ret_request);
int h264_write(void *state, const struct encode_request *request,
               const struct encode_packet *packet, struct encode_output *output);

/*
 * h264_make.c: parameter sets as NAL units behind a start code. VD_ERR_PARAMETER if a value breaks
 * the standard or what the profile allows, VD_ERR_UNSUPPORTED, VD_ERR_LIMIT if `room` is too small.
 */
int h264_make_sps(const VAEncSequenceParameterBufferH264 *sequence, int profile, uint8_t *data,
                  size_t room, size_t *ret_size);
int h264_make_pps(const struct h264_pps *pps, uint32_t id, const struct h264_sps *sps,
                  uint8_t *data, size_t room, size_t *ret_size);

#endif
