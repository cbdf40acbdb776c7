/* SPDX-License-Identifier: MIT */
#ifndef BACKEND_AV1_FEED_H
#define BACKEND_AV1_FEED_H

#include "../backend.h"
#include "av1_log.h"

/*
 * Brings AV1 packets to a decoder, where the builder could not tell which slot a picture is kept in
 * (struct bitstream_packet: `open`). Such a picture waits for the next packet, which tells. If
 * somebody wants to see it before that there are two ways:
 *
 * - The builder has a guess. The picture is decoded as if it were true. If it was wrong, the
 *   references are made again from the log of packets.
 * - It is decoded without being kept, and, if it turns out to be needed, once more.
 *
 * A wrong guess may cost as many decodes as the log is long, a right one saves one. So guesses are
 * used as long as the next wrong one could be paid with what the right ones earned, and a loan: a
 * client can make the host do so much work in vain, and no more.
 */

#define AV1_FEED_LOAN  128  /* decodes */
#define AV1_FEED_WORTH 2    /* what a right guess earns: wrong ones are rare */
#define AV1_FEED_SAVED 4096 /* no more are put aside */
#define AV1_FEED_BLIND 256  /* pictures that are kept for who may never look early */

/* An open picture that is not settled. */
struct av1_feed_open {
    uint64_t number;
    struct backend_job *job; /* not decoded yet; NULL once it was shown */
    struct block *block;     /* holds the packet */
    uint8_t *data;
    size_t size, open_at;
    uint8_t guess; /* of the builder */
    uint8_t used;  /* the flags it was decoded with, if it was */
};

struct av1_feed {
    /*
     * Decodes a packet, for `job` or (NULL) only to have the picture as a reference. `block` holds
     * the bytes; NULL: they are valid during the call only.
     */
    void (*decode)(void *arg, struct backend_job *job, struct block *block, const uint8_t *bytes,
                   size_t size);
    /* The job is complete. */
    void (*done)(void *arg, struct backend_job *job);
    void *arg;
    /* The feed's own, zero to start with. */
    struct av1_log log;
    struct av1_feed_open open[BITSTREAM_MAX_OPEN];
    uint32_t open_count;
    uint32_t saved, borrowed; /* decodes */
    bool watched;             /* a picture was wanted before it was settled since the log started */
    bool not_first;           /* a log was started before */
};

/* struct backend.submit and flush. */
void av1_feed_submit(struct av1_feed *feed, struct backend_job *job);
void av1_feed_flush(struct av1_feed *feed, uint64_t number);
void av1_feed_finish(struct av1_feed *feed);

#endif
