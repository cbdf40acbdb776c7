/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_WAKER_H
#define TRANSPORT_WAKER_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "channel.h"

/*
 * The host's side of a session whose arena is memory that two kernels have in common
 * (VD_FEATURE_REGION). Both sides see the status page, but a futex of one kernel wakes nobody in
 * the other: where somebody sleeps, an event is sent, and the guest's mirror (mirror.h) passes it
 * on.
 *
 * A thread of its own sends, so no decoder waits for a slow guest; replies are sent through here,
 * too, between events.
 */
struct waker;

/* `channel`, `arena` stay the caller's and outlive it. 0 or -VD_ERR_MEMORY. */
int waker_create(struct channel *channel, struct arena *arena, struct waker **ret_waker);
/* Nobody signals any more. Ends the channel. NULL is fine. */
void waker_destroy(struct waker *waker);
/* A reply, as message_send. Session's thread. */
int waker_reply(struct waker *waker, uint32_t op, uint32_t serial, const void *fixed,
                size_t fixed_size, const void *tail, uint32_t tail_count, size_t tail_element);
/*
 * Whoever sleeps on this word, the first of a line of 64 bytes of the status page, is woken. Never
 * waits for the guest; any thread, any lock.
 */
void waker_wake(struct waker *waker, const uint32_t *word);

#endif
