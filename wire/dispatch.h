/* SPDX-License-Identifier: MIT */
#ifndef WIRE_DISPATCH_H
#define WIRE_DISPATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <viaduct/protocol.h>

/*
 * The one place where the length, state, tail and reserved fields of messages are checked, for
 * both directions, from the tables. Handlers get typed pointers and contain no length check.
 */

enum dispatch_kind { DISPATCH_CALL, DISPATCH_ONEWAY };

enum dispatch_field_kind {
    DISPATCH_U32,
    DISPATCH_U64,
    DISPATCH_U32N,
    DISPATCH_TEXT,
    DISPATCH_ZERO,
    DISPATCH_FLAGS,
};

struct dispatch_field {
    const char *name;
    const char *doc;
    enum dispatch_field_kind kind;
    uint32_t size;  /* bytes; fields follow each other without padding */
    uint32_t count; /* elements of U32N, bytes of TEXT, mask of FLAGS */
};

struct dispatch_struct {
    const char *name;
    uint32_t size;
    const struct dispatch_field *fields;
    uint32_t field_count;
};

struct dispatch_call {
    uint32_t number;
    const char *name;
    uint32_t since;
    enum dispatch_kind kind;
    uint32_t states;
    const struct dispatch_struct *req, *rep; /* rep is NULL for one-way calls */
    const struct dispatch_struct *req_tail, *rep_tail;
    uint32_t req_tail_max, rep_tail_max;
};

/* What the host sends unasked (events.def). */
struct dispatch_event {
    uint32_t number; /* with VD_EVENT */
    const char *name;
    uint32_t since;
    const struct dispatch_struct *fixed, *tail;
    uint32_t tail_max;
};

/* A message that passed the checks; pointers into the caller's bytes. */
struct dispatch_message {
    const struct dispatch_call *call;   /* NULL for an event */
    const struct dispatch_event *event; /* NULL for others */
    uint32_t serial;
    const void *fixed;
    const void *tail;
    uint32_t tail_count;
};

/*
 * What a handler of a CALL answers. `fixed` is the zeroed reply struct, `tail` has room for the
 * table's most elements; the handler sets tail_count and may name a descriptor to send (-1:
 * none; it stays the handler's, or with `close_fd` is closed when it was sent). `request_fd` is
 * what came with the request (-1: nothing); who keeps it sets -1, else it is closed.
 */
struct dispatch_reply {
    void *fixed;
    void *tail;
    uint32_t tail_count;
    int fd;
    bool close_fd;
    int request_fd;
};

/*
 * Handlers by call. `fixed`, `tail` live until the handler returns. 0: go on. Negative: the
 * session ends (the client broke the protocol or nothing can be answered any more); errors of
 * the API are data in the reply instead.
 */
struct dispatch_handlers {
#define VD_CALL(number, name, since, kind, states, rt, rn, pt, pn)                    \
    int (*name)(void *self, const struct vd_##name##_req *req, const struct rt *tail, \
                uint32_t tail_count, struct dispatch_reply *reply);
#include <viaduct/calls.def>
};

/* The i-th row of calls.def, NULL behind the last. */
const struct dispatch_call *dispatch_at(size_t index);
/* By number, NULL if there is none. */
const struct dispatch_call *dispatch_find(uint32_t number);
/* The i-th struct of structs.def, NULL behind the last. */
const struct dispatch_struct *dispatch_struct_at(size_t index);

/*
 * Checks a whole request of `size` bytes in `state`. The bytes must be private to the caller and
 * 8-byte aligned. 0 and the message, or -VD_ERR_PROTOCOL.
 */
int dispatch_check_request(const void *bytes, size_t size, uint32_t state,
                           struct dispatch_message *ret_message);
/* The same for the reply to `call` with `serial`. */
int dispatch_check_reply(const void *bytes, size_t size, const struct dispatch_call *call,
                         uint32_t serial, struct dispatch_message *ret_message);
/* The same for an event. */
int dispatch_check_event(const void *bytes, size_t size, struct dispatch_message *ret_message);
/* The i-th row of events.def, NULL behind the last. */
const struct dispatch_event *dispatch_event_at(size_t index);
/* Calls the handler of a checked request. */
int dispatch_run(const struct dispatch_handlers *handlers, void *self,
                 const struct dispatch_message *message, struct dispatch_reply *reply);
/* Most bytes of a reply to this call, header included; 0 for one-way calls. */
size_t dispatch_reply_room(const struct dispatch_call *call);

#endif
