/* SPDX-License-Identifier: MIT */
#ifndef NPU_PROTO_WRITER_H
#define NPU_PROTO_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Writes protobuf messages. Zeroed is empty. After a failure (no memory, or more than one message
 * can have) calls do nothing, and `failed` says so.
 */
struct proto_writer {
    uint8_t *data;
    size_t size, room;
    bool failed;
};

void proto_writer_number(struct proto_writer *w, uint32_t field, uint64_t value);
void proto_writer_float(struct proto_writer *w, uint32_t field, float value);
void proto_writer_bytes(struct proto_writer *w, uint32_t field, const void *bytes, size_t size);
/* As bytes that the caller puts there before it writes more. NULL after a failure. */
uint8_t *proto_writer_room(struct proto_writer *w, uint32_t field, size_t size);
/* Bytes as they are: whole fields. */
void proto_writer_raw(struct proto_writer *w, const void *bytes, size_t size);
/* More room at once, for what is known to come. */
void proto_writer_expect(struct proto_writer *w, size_t size);
void proto_writer_text(struct proto_writer *w, uint32_t field, const char *text);
/* A message within: what is written until it is closed. Returns what to close. */
size_t proto_writer_open(struct proto_writer *w, uint32_t field);
void proto_writer_close(struct proto_writer *w, size_t opened);
void proto_writer_finish(struct proto_writer *w);

#endif
