/* SPDX-License-Identifier: MIT */
#ifndef HOST_CONTEXT_H
#define HOST_CONTEXT_H

#include <stdint.h>

#include "backend.h"
#include "decoder.h"
#include "stats.h"

/*
 * A context: one decoder session and the thread it runs on. The session's dispatcher puts
 * pictures into a ring of fixed size and never waits for a decoder; completion goes straight to
 * the status page.
 */
struct context;

struct context_setup {
    uint32_t id;
    struct arena *arena;
    const struct backend *backend;
    struct backend_context_info info; /* done, done_arg are filled in here */
    struct stats_counters *stats;
    uint64_t decoder; /* number of the decoder that it opens */
};

/* Where a picture goes. */
struct context_target {
    struct surface *surface;
    uint32_t sequence;
    uint32_t flags;          /* VD_SUBMIT_* */
    struct surface *display; /* with film grain, or NULL */
    uint32_t display_sequence;
    struct backend_work *work; /* in the block; NULL: decoding */
};

/* Pictures of other contexts that one reads: its own is not complete before they are. */
#define CONTEXT_MAX_NEEDS VD_MAX_CONTEXTS
struct context_need {
    uint32_t context, picture; /* id, number in it */
};

/* Opens the decoder and starts the thread. */
int context_create(const struct context_setup *setup, struct context **ret_context,
                   struct backend_context_traits *ret_traits);
/* Stops the thread after the picture it is at; pictures not complete are given up. */
void context_destroy(struct context *context);
/*
 * The same, but the decoder stays and is the caller's, if it can go on in another context and
 * nothing was given up. Else NULL.
 */
struct decoder *context_leave(struct context *context);
/*
 * Goes on with the decoder at this place (decoder_park_find), if it is of the same codec and back
 * end. Only before the first picture.
 */
void context_adopt(struct context *context, struct decoder_park *park, uint32_t place);
/* Whether no picture was submitted yet. */
bool context_fresh(const struct context *context);
/* Number of its decoder. */
uint64_t context_decoder(const struct context *context);
uint32_t context_id(const struct context *context);
enum vd_codec context_codec(const struct context *context);
/* Bytes that its builder wants in front of every slice. */
size_t context_gap(const struct context *context);
/*
 * Queues a picture. References of surfaces and block are taken over. `refused`: an error the
 * dispatcher found; the picture only passes through to keep the order. -VD_ERR_PROTOCOL if the
 * client has more than VD_MAX_IN_FLIGHT pictures in flight (nothing is taken then).
 */
int context_submit(struct context *context, const struct context_target *target,
                   struct block *block, const struct va_picture *picture, int refused);
/* The client waits for the picture whose count has these low 32 bits. */
void context_kick(struct context *context, uint32_t picture);
/*
 * What pictures up to that one, not complete yet, need: the caller kicks those, too. At most `room`
 * are written, the youngest of each context. Dispatcher's thread.
 */
uint32_t context_needs(struct context *context, uint32_t picture, struct context_need *ret_needs,
                       uint32_t room);
/* Pictures submitted so far: the number of the last one. Dispatcher's thread. */
uint32_t context_submitted(const struct context *context);
/* Whether it decodes into its surfaces; else it encodes (from them) or processes (into them). */
bool context_decodes(const struct context *context);
bool context_encodes(const struct context *context);
/* What reads its requests (encode.h), NULL: its back end takes the app's buffers as they are. */
const struct encode_codec *context_encode(const struct context *context, void **ret_state);
const struct backend_context_info *context_info(const struct context *context);

#endif
