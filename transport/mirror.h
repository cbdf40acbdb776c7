/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_MIRROR_H
#define TRANSPORT_MIRROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "channel.h"
#include "message.h"

/*
 * Sessions whose sides share no memory (VD_FEATURE_IN_BAND). Each side has an arena of its own with
 * the same layout, and the mirror carries what changes in it: the guest's uploads as calls, the
 * host's completions, coded bytes and pixels as events. All else on either side works as with
 * shared memory.
 *
 * Status is state, not history: the host sends the newest of each surface and context, so a guest
 * that reads slowly costs it no memory. Pixels travel when the guest maps a surface (surface_back),
 * and unasked for surfaces whose last pictures were mapped.
 */

/*
 * The host's side. A thread of its own sends events, so that neither decoders nor the session's
 * thread wait for a slow guest; replies are sent through here, too, between events.
 */
struct mirror_host;

/* A picture that is complete. */
struct mirror_picture {
    uint32_t surface, done, status, errors;
    bool fresh;           /* the surface holds another picture than before */
    const uint8_t *bytes; /* its pixels, if mirror_host_wants; else NULL */
    uint32_t size;
    void *hold; /* keeps `bytes` until `release` is called with it */
};

/*
 * `channel`, `arena` stay the caller's and outlive the mirror. `release`: drops a picture's hold;
 * any thread, no lock of the mirror is held. 0 or -VD_ERR_MEMORY.
 */
int mirror_host_create(struct channel *channel, struct arena *arena, void (*release)(void *hold),
                       struct mirror_host **ret_mirror);
/* Nothing publishes any more. Ends the channel. NULL is fine. */
void mirror_host_destroy(struct mirror_host *mirror);
/* A reply, as message_send. Session's thread. */
int mirror_host_reply(struct mirror_host *mirror, uint32_t op, uint32_t serial, const void *fixed,
                      size_t fixed_size, const void *tail, uint32_t tail_count,
                      size_t tail_element);
/* Whole messages as they are, one after the other. As message_send; any thread. */
int mirror_host_write(struct mirror_host *mirror, const void *bytes, size_t size);
/* One with a fixed part and `size` bytes, MIRROR_PIECE at most. The same. */
int mirror_host_bytes(struct mirror_host *mirror, uint32_t op, const void *fixed, size_t fixed_size,
                      const uint8_t *bytes, uint32_t size);
/* A new surface: what is known of an older one in its slot is forgotten. Returns its hold, or NULL.
 */
void *mirror_host_reset(struct mirror_host *mirror, uint32_t surface);
/* Its memory at the guest is mapped or exported: all its pictures are sent. */
void mirror_host_fix(struct mirror_host *mirror, uint32_t surface, bool fixed);
/* Whether the pixels of the next picture of the surface are to be sent with it. Any thread. */
bool mirror_host_wants(struct mirror_host *mirror, uint32_t surface);
/*
 * Publishes a picture. Never waits for the guest; any thread, any lock. Takes the hold, and returns
 * that of an older picture which is not sent any more, or NULL.
 */
void *mirror_host_picture(struct mirror_host *mirror, const struct mirror_picture *picture);
/* `done` pictures of the context are complete. As above. */
void mirror_host_context(struct mirror_host *mirror, uint32_t context, uint32_t done);
/* Bytes of the upload zone that a picture of the context wrote, before it is counted. As above. */
void mirror_host_coded(struct mirror_host *mirror, uint64_t offset, uint32_t size);
/* The guest asked for the surface's pixels: sends them before the reply. Session's thread. */
int mirror_host_pixels(struct mirror_host *mirror, uint32_t surface, const uint8_t *bytes,
                       uint32_t size);

/* The guest's side. A thread reads the channel, applies events and hands replies over. */
struct mirror_guest;

/* `reader` belongs to the mirror's thread from now on. 0 or -VD_ERR_MEMORY. */
int mirror_guest_create(struct message_reader *reader, struct arena *arena,
                        struct mirror_guest **ret_mirror);
/*
 * The same where the arena is shared with a host under another kernel (waker.h): it hands replies
 * over and wakes who sleeps. Nothing of what is said below of memory holds.
 */
int mirror_guest_create_region(struct message_reader *reader, struct arena *arena,
                               struct mirror_guest **ret_mirror);
/*
 * Events that are not of surfaces and contexts are given to `event`, on the mirror's thread, when
 * they have been compared with the tables. 0, or an error, which ends the session. Without it they
 * are an error.
 */
struct dispatch_message;
void mirror_guest_watch(struct mirror_guest *mirror,
                        int (*event)(void *arg, const struct dispatch_message *message), void *arg);
/* Ends the channel. NULL is fine. */
void mirror_guest_destroy(struct mirror_guest *mirror);
/* False once the channel or the host is broken. Any thread. */
bool mirror_guest_alive(struct mirror_guest *mirror);
/* Sends a message behind what was written. As message_send; one call at a time waits for its
 * reply. */
int mirror_guest_send(struct mirror_guest *mirror, uint32_t op, uint32_t serial, const void *fixed,
                      size_t fixed_size, const void *tail, uint32_t tail_count, size_t tail_element,
                      int timeout_ms);
/* The next reply; valid until the next call. As message_read. */
int mirror_guest_reply(struct mirror_guest *mirror, int timeout_ms, const uint8_t **ret_bytes,
                       size_t *ret_size);
/* A new surface of `size` bytes, a new context: its slot starts anew. Before the host hears of it.
 */
void mirror_guest_expect_surface(struct mirror_guest *mirror, uint32_t surface, uint64_t size);
void mirror_guest_expect_context(struct mirror_guest *mirror, uint32_t context);
/* The surface is gone; its memory may be used for others. */
void mirror_guest_forget(struct mirror_guest *mirror, uint32_t surface);
/* Pictures of the surface go to the memory that it has. */
void mirror_guest_fix(struct mirror_guest *mirror, uint32_t surface, bool fixed);
/* Memory for a surface that holds nothing yet: zeros. Its slot names it. 0 or -VD_ERR_LIMIT. */
int mirror_guest_memory(struct mirror_guest *mirror, uint32_t surface);
/*
 * The surface's memory as a dma-buf, if the channel has such memory (channel_ops.share), else
 * -VD_ERR_UNSUPPORTED. The caller has pinned it, and the descriptor is the caller's. Its pictures
 * go there as long as it is fixed.
 */
int mirror_guest_share(struct mirror_guest *mirror, uint32_t surface, int *ret_fd);
/* Whether that was done with this memory: a view of the arena's descriptor is not what it shows. */
bool mirror_guest_shared(struct mirror_guest *mirror, uint32_t backing);
/* Sends bytes of the upload zone, at the latest with the next message. */
int mirror_guest_upload(struct mirror_guest *mirror, uint64_t offset, uint64_t size,
                        int timeout_ms);
/* A whole message as it is, copied; it may wait for others, but not longer than to the next flush.
 */
int mirror_guest_put(struct mirror_guest *mirror, const void *bytes, size_t size, int timeout_ms);
int mirror_guest_flush(struct mirror_guest *mirror, int timeout_ms);
/* Sends what was written to a surface's memory. */
int mirror_guest_write(struct mirror_guest *mirror, uint32_t surface, const uint8_t *bytes,
                       uint64_t size, int timeout_ms);

#endif
