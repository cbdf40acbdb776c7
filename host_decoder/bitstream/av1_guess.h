/* SPDX-License-Identifier: MIT */
#ifndef BITSTREAM_AV1_GUESS_H
#define BITSTREAM_AV1_GUESS_H

#include <stdbool.h>
#include <stdint.h>
#include <va/va.h>

/*
 * Guesses which of the app's 8 references an AV1 frame will replace, before the next frame's map
 * tells (VA-API does not say refresh_frame_flags). Encoders follow rules: that of libaom is known,
 * others are learned from what earlier frames did. A wrong guess costs the back end a lot
 * (av1_feed.h), so only a rule that was right many times in a row is believed, and only if no
 * other one that was contradicts it.
 */

#define AV1_GUESS_MAP      8
#define AV1_GUESS_RULES    4
#define AV1_GUESS_TABLES   (AV1_GUESS_RULES - 1)
#define AV1_GUESS_CONTEXTS 128
#define AV1_GUESS_RECENT   2

/* Instead of an index. */
enum {
    AV1_GUESS_NOT_KEPT = -1, /* the frame is no reference */
    AV1_GUESS_UNSURE = -2,
};

struct av1_guess_picture {
    uint32_t surface;
    uint32_t born;  /* counts frames, from 1; 0: nothing is known of it */
    uint32_t order; /* of display: order hints, continued over their wrap; differences count */
    bool base;      /* of the lowest layer, which libaom keeps longest */
};

/* What frames did that came after the same ones. */
struct av1_guess_context {
    uint32_t key;
    int8_t outcome;
    uint8_t count; /* in a row */
};

/* All zeros to start with. */
struct av1_guess {
    struct av1_guess_picture map[AV1_GUESS_MAP];
    struct av1_guess_picture recent[AV1_GUESS_RECENT]; /* the last frames, newest first */
    uint32_t born, order, hint;
    uint32_t history; /* 2 bits a frame: shown, kept; the newest are the lowest */
    struct av1_guess_context tables[AV1_GUESS_TABLES][AV1_GUESS_CONTEXTS];
    uint16_t streak[AV1_GUESS_RULES]; /* how often in a row each rule was right */
    uint16_t need[AV1_GUESS_RULES];   /* the streak from which on it is believed */
    /* The last frame, until the next map tells what became of it. */
    bool pending, pending_shown;
    bool open; /* it was guessed at: */
    int8_t guess[AV1_GUESS_RULES];
    bool settled[AV1_GUESS_RULES]; /* the rule has seen enough to say so */
    struct av1_guess_context *context[AV1_GUESS_TABLES];
    uint32_t key[AV1_GUESS_TABLES];
};

/*
 * The next frame, in coding order. Learns from its map what the one before did. Returns an index of
 * ref_frame_map or one of the values above.
 */
int av1_guess_next(struct av1_guess *guess, const VADecPictureParameterBufferAV1 *param);

#endif
