/* SPDX-License-Identifier: MIT */
#ifndef HOST_DECODER_H
#define HOST_DECODER_H

#include "backend.h"

/*
 * A decoder and its builder's state: what has to go on where an app makes a new VAContext between
 * two key frames, as it does when the picture size changes. The references are in the decoder.
 *
 * A context creates one. When it ends, a decoder whose pictures may be referred to later
 * (bitstream_builder.survives) is parked in the session, until another context's first picture
 * refers to a surface it decoded, or none of those surfaces exist any more.
 */
struct decoder {
    const struct backend *backend;
    const struct bitstream_builder *builder; /* NULL: the back end gets no packets */
    void *builder_state;
    const struct encode_codec *encode; /* NULL: it decodes or processes */
    void *read_state;                  /* of `encode`; the dispatcher's */
    void *context;                     /* the back end's */
    enum vd_codec codec;
    uint64_t number; /* of the session, from 1, not used again */
};

int decoder_create(const struct backend *backend, const struct backend_context_info *info,
                   uint64_t number, struct decoder **ret_decoder,
                   struct backend_context_traits *ret_traits);
/* NULL is fine. */
void decoder_destroy(struct decoder *decoder);
/* Whether it can go on in another context. */
bool decoder_survives(const struct decoder *decoder);

/* Each has threads and references: more are not kept. */
#define DECODER_PARK_MAX 4

/* Decoders without a context, the one that came last at the end. The session's thread. */
struct decoder_park {
    struct decoder *at[DECODER_PARK_MAX];
    uint32_t count;
};

/* Takes it over; the oldest one goes if there is no room. NULL is fine. */
void decoder_park_put(struct decoder_park *park, struct decoder *decoder);
/* How late the decoder with this number came, from 1; 0 if it is not there. */
uint32_t decoder_park_find(const struct decoder_park *park, uint64_t number);
/* Takes it out again if it is of that codec and back end, else NULL. `place` is from _find. */
struct decoder *decoder_park_take(struct decoder_park *park, uint32_t place,
                                  const struct backend *backend, enum vd_codec codec);
/* Destroys those that `needed` does not want. */
void decoder_park_sweep(struct decoder_park *park, bool (*needed)(void *arg, uint64_t number),
                        void *arg);
/* Destroys all. */
void decoder_park_finish(struct decoder_park *park);

#endif
