/* SPDX-License-Identifier: MIT */
#ifndef BACKEND_AV1_LOG_H
#define BACKEND_AV1_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../bitstream/bitstream.h"

/*
 * Copies of the AV1 packets since the last frame that replaced all references, with the slots they
 * were kept in, so that a decoder's references can be made again. Packets that nothing alive
 * depends on are left out then, and dropped when there is no more room.
 */

/* Of one context. */
#define AV1_LOG_PICTURES 2048
#define AV1_LOG_BYTES    (64u << 20)

struct av1_log_entry {
    size_t at, size; /* in the log's bytes */
    uint64_t open;   /* as in the packet */
    size_t open_at;
    uint8_t refresh_frame_flags;
    uint8_t references; /* slots, a bit each */
    bool needed;        /* result of av1_log_select */
};

/* All zeros to start with. */
struct av1_log {
    struct av1_log_entry *entries;
    uint32_t count, entry_room;
    uint8_t *bytes;
    size_t used, room;
    bool complete; /* nothing is missing since the last BITSTREAM_RESET */
};

/* Starts anew with what comes next, which is a BITSTREAM_RESET. */
void av1_log_start(struct av1_log *log);
/* Keeps a packet, if the log is complete and stays so. */
void av1_log_add(struct av1_log *log, const struct bitstream_packet *packet);
/* The refresh_frame_flags of an open picture are known. */
void av1_log_settle(struct av1_log *log, uint64_t open, uint8_t refresh_frame_flags);
/* Marks the packets that make the references as they are now; returns how many. */
uint32_t av1_log_select(struct av1_log *log);
void av1_log_finish(struct av1_log *log);

/* Writes refresh_frame_flags, which are zero, at bit `at` of the data. */
void av1_log_set_refresh(uint8_t *data, size_t at, uint8_t flags);

#endif
