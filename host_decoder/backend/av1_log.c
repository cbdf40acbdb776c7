/* SPDX-License-Identifier: MIT */
#include "av1_log.h"

#include <stdlib.h>
#include <string.h>

/* First sizes; they double up to the limits and are kept. */
#define FIRST_PICTURES 64
#define FIRST_BYTES    (256u << 10)
/* Dropping packets must make so much room that it is worth while. */
#define WORTH_WHILE(n) ((n) / 2)

void av1_log_set_refresh(uint8_t *data, size_t at, uint8_t flags)
{
    uint8_t *byte = data + at / 8;
    unsigned shift = at % 8;

    byte[0] |= (uint8_t)(flags >> shift);
    if (shift > 0)
        byte[1] |= (uint8_t)(flags << (8 - shift));
}

void av1_log_start(struct av1_log *log)
{
    log->count = 0;
    log->used = 0;
    log->complete = true;
}

uint32_t av1_log_select(struct av1_log *log)
{
    unsigned wanted = UINT8_MAX;
    uint32_t count = 0;

    for (uint32_t i = log->count; i-- > 0;) {
        struct av1_log_entry *entry = &log->entries[i];

        entry->needed = entry->refresh_frame_flags & wanted;
        if (!entry->needed)
            continue;
        wanted = (wanted & ~(unsigned)entry->refresh_frame_flags) | entry->references;
        count++;
    }
    return count;
}

/* Drops what nothing depends on; what is open may become a reference yet. */
static void drop_dead(struct av1_log *log)
{
    uint32_t count = 0;
    size_t used = 0;

    av1_log_select(log);
    for (uint32_t i = 0; i < log->count; i++) {
        struct av1_log_entry *entry = &log->entries[i];

        if (!entry->needed && !entry->open)
            continue;
        memmove(log->bytes + used, log->bytes + entry->at, entry->size);
        entry->at = used;
        used += entry->size;
        log->entries[count++] = *entry;
    }
    log->count = count;
    log->used = used;
}

static bool grow_entries(struct av1_log *log)
{
    uint32_t room = log->entry_room ? log->entry_room * 2 : FIRST_PICTURES;
    struct av1_log_entry *entries;

    if (room > AV1_LOG_PICTURES)
        return false;
    entries = realloc(log->entries, room * sizeof(*entries));
    if (!entries)
        return false;
    log->entries = entries;
    log->entry_room = room;
    return true;
}

static bool grow_bytes(struct av1_log *log, size_t need)
{
    size_t room = log->room ? log->room : FIRST_BYTES;
    uint8_t *bytes;

    while (room < need && room < AV1_LOG_BYTES)
        room *= 2;
    if (room < need)
        return false;
    bytes = realloc(log->bytes, room);
    if (!bytes)
        return false;
    log->bytes = bytes;
    log->room = room;
    return true;
}

static bool make_room(struct av1_log *log, size_t size)
{
    if (log->count == log->entry_room && !grow_entries(log)) {
        drop_dead(log);
        if (log->count > WORTH_WHILE(log->entry_room))
            return false;
    }
    if (size > log->room - log->used && !grow_bytes(log, log->used + size)) {
        drop_dead(log);
        if (log->used > WORTH_WHILE(log->room) || size > log->room - log->used)
            return false;
    }
    return true;
}

void av1_log_add(struct av1_log *log, const struct bitstream_packet *packet)
{
    if (!log->complete)
        return;
    if (packet->size > AV1_LOG_BYTES || !make_room(log, packet->size)) {
        log->complete = false;
        return;
    }
    memcpy(log->bytes + log->used, packet->data, packet->size);
    log->entries[log->count++] = (struct av1_log_entry){
        .at = log->used,
        .size = packet->size,
        .open = packet->open,
        .open_at = packet->open_at,
        .refresh_frame_flags = packet->refresh_frame_flags,
        .references = packet->references,
    };
    log->used += packet->size;
}

void av1_log_settle(struct av1_log *log, uint64_t open, uint8_t refresh_frame_flags)
{
    /* Those that are open are the last ones. */
    for (uint32_t i = log->count; log->complete && i-- > 0;) {
        struct av1_log_entry *entry = &log->entries[i];

        if (entry->open != open)
            continue;
        entry->open = 0;
        entry->refresh_frame_flags = refresh_frame_flags;
        av1_log_set_refresh(log->bytes + entry->at, entry->open_at, refresh_frame_flags);
        return;
    }
}

void av1_log_finish(struct av1_log *log)
{
    free(log->entries);
    free(log->bytes);
    *log = (struct av1_log){0};
}
