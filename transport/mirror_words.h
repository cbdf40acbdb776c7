/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_MIRROR_WORDS_H
#define TRANSPORT_MIRROR_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "channel.h"

/* Messages that carry bytes: struct vd_word elements behind a fixed part. */

/* Bytes of one message: so many that what they cost stays small, and others get their turn. */
#define MIRROR_PIECE (256u << 10)

/* Sends one; `size` at most MIRROR_PIECE, padded to whole words. As message_send. */
int mirror_words_send(struct channel *channel, uint32_t op, const void *fixed, size_t fixed_size,
                      const uint8_t *bytes, uint32_t size, int timeout_ms);
/* The header of such a message. */
struct vd_header mirror_words_header(uint32_t op, size_t fixed_size, uint32_t size);

#endif
