/* SPDX-License-Identifier: MIT */
#ifndef HOST_SESSION_CUDA_MIRROR_H
#define HOST_SESSION_CUDA_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include <transport/arena.h>
#include <transport/channel.h>

/*
 * What a guest of CUDA that shares no memory is told (docs/PROTOCOL.md, in-band sessions): how far
 * queues are, and before that the times and bytes that their commands brought. A thread of its own
 * sends, so backends do not wait for a guest that reads slowly; of a queue the newest number
 * counts.
 */
struct cuda_mirror;

/* `channel`, `arena` (with its mirror) stay the caller's and outlive it. 0 or -VD_ERR_MEMORY. */
int cuda_mirror_create(struct channel *channel, const struct arena *arena,
                       struct cuda_mirror **ret_mirror);
/* Nothing is told any more, and the channel ends. NULL is fine. */
void cuda_mirror_destroy(struct cuda_mirror *mirror);

/* The session's thread alone. A queue begins in a slot; 0 or -VD_ERR_MEMORY. */
int cuda_mirror_begin(struct cuda_mirror *mirror, uint32_t slot, uint32_t context);
/* It is gone: what was not told is not told any more. */
void cuda_mirror_end(struct cuda_mirror *mirror, uint32_t slot);
/*
 * Before the command with this number is submitted: it brings `bytes` at an offset of the arena, or
 * with 0 bytes a stamp. 0, or an error that ends the session. May wait for a guest that is slow.
 */
int cuda_mirror_keep(struct cuda_mirror *mirror, uint32_t slot, uint64_t number, uint64_t at,
                     uint64_t bytes);
/* Tells bytes of the arena, before a reply that refers to them. 0, or an error of the channel. */
int cuda_mirror_bytes(struct cuda_mirror *mirror, uint64_t offset, uint64_t bytes);

/* A command is over. Any thread, any locks; never waits for the guest. */
void cuda_mirror_passed(struct cuda_mirror *mirror, uint32_t slot, uint64_t number, uint32_t error,
                        bool printed);

#endif
