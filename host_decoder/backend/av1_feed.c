/* SPDX-License-Identifier: MIT */
#include "av1_feed.h"

#include <string.h>
#include <wire/log.h>

/* Whether the log may be needed, and what that costs at most can be paid. */
static bool may_guess(struct av1_feed *feed)
{
    uint32_t credit = feed->saved + AV1_FEED_LOAN - feed->borrowed;

    return feed->log.complete &&
           (feed->log.count <= credit || av1_log_select(&feed->log) <= credit);
}

static void pay(struct av1_feed *feed, uint32_t count)
{
    uint32_t saved = count < feed->saved ? count : feed->saved;

    feed->saved -= saved;
    feed->borrowed += count - saved;
    if (feed->borrowed > AV1_FEED_LOAN)
        feed->borrowed = AV1_FEED_LOAN;
}

static void earn(struct av1_feed *feed)
{
    uint32_t repaid = feed->borrowed < AV1_FEED_WORTH ? feed->borrowed : AV1_FEED_WORTH;

    feed->borrowed -= repaid;
    feed->saved += AV1_FEED_WORTH - repaid;
    if (feed->saved > AV1_FEED_SAVED)
        feed->saved = AV1_FEED_SAVED;
}

/* Decodes an open picture that waits: with the guess, or without keeping it. */
static void show_open(struct av1_feed *feed, struct av1_feed_open *open, bool guess)
{
    struct backend_job *job = open->job;

    if (!job)
        return;
    open->job = NULL;
    feed->watched = true;
    if (guess && open->guess && may_guess(feed)) {
        open->used = open->guess;
        av1_log_set_refresh(open->data, open->open_at, open->used);
    }
    feed->decode(feed->arg, job, open->block, open->data, open->size);
    feed->done(feed->arg, job);
}

/* After a wrong guess: from a frame that replaces all references on, in the same order. */
static void rebuild(struct av1_feed *feed)
{
    struct av1_log *log = &feed->log;
    uint32_t count = av1_log_select(log);

    log_debug("AV1: a guess was wrong, %u of %u packets are decoded again", count, log->count);
    for (uint32_t i = 0; i < log->count; i++) {
        const struct av1_log_entry *entry = &log->entries[i];

        if (entry->needed)
            feed->decode(feed->arg, NULL, NULL, log->bytes + entry->at, entry->size);
    }
    pay(feed, count);
}

/* `lost`: the packet that comes next replaces all references. */
static void settle_open(struct av1_feed *feed, const struct bitstream_refresh *refresh, bool lost)
{
    struct av1_feed_open *open = feed->open;
    uint8_t flags = refresh->refresh_frame_flags;

    /* They are settled in the order they came. */
    if (feed->open_count == 0 || open->number != refresh->open)
        return;
    av1_log_settle(&feed->log, open->number, flags);
    if (open->job) {
        av1_log_set_refresh(open->data, open->open_at, flags);
        feed->decode(feed->arg, open->job, open->block, open->data, open->size);
        feed->done(feed->arg, open->job);
    } else if (open->used == flags) {
        if (flags)
            earn(feed);
    } else if (lost) {
        /* Nobody will refer to them. */
    } else if (open->used) {
        rebuild(feed);
    } else {
        av1_log_set_refresh(open->data, open->open_at, flags);
        feed->decode(feed->arg, NULL, open->block, open->data, open->size);
    }
    block_unref(&open->block);
    feed->open_count--;
    memmove(open, open + 1, feed->open_count * sizeof(*open));
}

/*
 * The log costs memory: only for those who look at pictures before the next one is submitted. Who
 * did not since the last start is expected not to.
 */
static void start_log(struct av1_feed *feed)
{
    av1_log_start(&feed->log);
    feed->log.complete = feed->watched || !feed->not_first;
    feed->not_first = true;
    feed->watched = false;
}

void av1_feed_submit(struct av1_feed *feed, struct backend_job *job)
{
    const struct bitstream_packet *packet = &job->packet;
    bool reset = !job->refused && packet->flags & BITSTREAM_RESET;

    for (uint32_t i = 0; i < packet->refresh_count; i++)
        settle_open(feed, &packet->refresh[i], reset);
    for (uint32_t i = 0; i < feed->open_count; i++)
        show_open(feed, &feed->open[i], false);
    if (job->refused) {
        job->status = job->refused;
        feed->done(feed->arg, job);
        return;
    }
    if (reset)
        start_log(feed);
    if (!feed->watched && feed->log.count >= AV1_FEED_BLIND)
        feed->log.complete = false;
    av1_log_add(&feed->log, packet);
    if (packet->open && feed->open_count < BITSTREAM_MAX_OPEN) {
        feed->open[feed->open_count++] = (struct av1_feed_open){
            .number = packet->open,
            .job = job,
            .block = block_ref(job->block),
            .data = packet->data,
            .size = packet->size,
            .open_at = packet->open_at,
            .guess = packet->guess,
        };
        return;
    }
    feed->decode(feed->arg, job, job->block, packet->data, packet->size);
    feed->done(feed->arg, job);
}

void av1_feed_flush(struct av1_feed *feed, uint64_t number)
{
    for (uint32_t i = 0; i < feed->open_count; i++) {
        if (feed->open[i].job && feed->open[i].job->number <= number)
            show_open(feed, &feed->open[i], true);
    }
}

void av1_feed_finish(struct av1_feed *feed)
{
    for (uint32_t i = 0; i < feed->open_count; i++)
        block_unref(&feed->open[i].block);
    feed->open_count = 0;
    av1_log_finish(&feed->log);
}
