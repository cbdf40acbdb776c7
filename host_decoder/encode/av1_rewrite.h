/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODE_AV1_REWRITE_H
#define HOST_ENCODE_AV1_REWRITE_H

#include "av1_frame.h"
#include "encode.h"

/* An AV1 encoder's temporal units under the app's sequence header: see av1.c. */

#define AV1_REWRITE_BYTES 256 /* of a sequence header OBU */

/* Memory of a context, zeroed at first: the `state` of `write`. */
struct av1_rewrite {
    uint8_t app_bytes[AV1_REWRITE_BYTES]; /* the OBU as the app made it */
    size_t app_size;                      /* 0: it sent none */
    struct av1_sequence app, encoder;
    bool has_encoder;
    bool foreign; /* the encoder does not keep to the app's: its units are sent as they are */
    struct av1_frame frame;
};

/* The sequence header OBU among a picture's headers. False if there is none that can be read. */
bool av1_rewrite_find(const struct encode_header *headers, uint32_t count,
                      struct av1_sequence *ret_sequence, struct av1_obu *ret_obu);
/* encode_codec.write */
int av1_rewrite_write(void *state, const struct encode_request *request,
                      const struct encode_packet *packet, struct encode_output *output);

#endif
