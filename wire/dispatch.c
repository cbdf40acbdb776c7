/* SPDX-License-Identifier: MIT */
#include "dispatch.h"

#include <string.h>
#include <viaduct/errors.h>

/*
 * Security model: whoever is on the other side of the channel may send any bytes at any time.
 * Nothing in a message is believed before it was compared with the tables: the length must be
 * exactly header + fixed part + tail, the call must be legal in the session's state, the tail not
 * longer than its limit, reserved fields and unknown flags zero, texts terminated. What needs an
 * object (ids) is looked up by the handlers in the session's own tables on every use.
 * A failure here is a violation of the protocol and ends the session; nothing is repaired.
 */

/* No struct has padding, which the assertions behind prove: the fields' sizes add up to sizeof. */
#define VD_STRUCT(n) static const struct dispatch_field dispatch_fields_##n[] = {
#define VD_END(n) \
    }             \
    ;
#define VD_U32(n, doc)         {#n, doc, DISPATCH_U32, 4, 1},
#define VD_U64(n, doc)         {#n, doc, DISPATCH_U64, 8, 1},
#define VD_U32N(n, count, doc) {#n, doc, DISPATCH_U32N, 4 * (count), (count)},
#define VD_TEXT(n, bytes, doc) {#n, doc, DISPATCH_TEXT, (bytes), (bytes)},
#define VD_ZERO(n, doc)        {#n, doc, DISPATCH_ZERO, 4, 1},
#define VD_FLAGS(n, mask, doc) {#n, doc, DISPATCH_FLAGS, 4, (mask)},
#include <viaduct/structs.def>

#define VD_STRUCT(n)           _Static_assert(sizeof(struct vd_##n) == 0
#define VD_END(n)              , "padding in vd_" #n);
#define VD_U32(n, doc)         +4
#define VD_U64(n, doc)         +8
#define VD_U32N(n, count, doc) +4 * (count)
#define VD_TEXT(n, bytes, doc) +(bytes)
#define VD_ZERO(n, doc)        +4
#define VD_FLAGS(n, mask, doc) +4
#include <viaduct/structs.def>

static const struct dispatch_struct dispatch_structs[] = {
#define VD_STRUCT(n)                                 \
    {#n, sizeof(struct vd_##n), dispatch_fields_##n, \
     sizeof(dispatch_fields_##n) / sizeof(dispatch_fields_##n[0])},
#define VD_END(n)
#define VD_U32(n, doc)
#define VD_U64(n, doc)
#define VD_U32N(n, count, doc)
#define VD_TEXT(n, bytes, doc)
#define VD_ZERO(n, doc)
#define VD_FLAGS(n, mask, doc)
#include <viaduct/structs.def>
};

enum dispatch_struct_index {
#define VD_STRUCT(n) DISPATCH_INDEX_vd_##n,
#define VD_END(n)
#define VD_U32(n, doc)
#define VD_U64(n, doc)
#define VD_U32N(n, count, doc)
#define VD_TEXT(n, bytes, doc)
#define VD_ZERO(n, doc)
#define VD_FLAGS(n, mask, doc)
#include <viaduct/structs.def>
    DISPATCH_INDEX_COUNT,
    DISPATCH_INDEX_vd_none = -1,
};

#define DISPATCH_STRUCT(n)         \
    (DISPATCH_INDEX_##n < 0 ? NULL \
                            : &dispatch_structs[DISPATCH_INDEX_##n < 0 ? 0 : DISPATCH_INDEX_##n])
#define DISPATCH_REP_CALL(name)   (&dispatch_structs[DISPATCH_INDEX_vd_##name##_rep])
#define DISPATCH_REP_ONEWAY(name) NULL

static const struct dispatch_call dispatch_calls[] = {
#define VD_CALL(number, name, since, kind, states, rt, rn, pt, pn) \
    {(number),                                                     \
     #name,                                                        \
     (since),                                                      \
     DISPATCH_##kind,                                              \
     (states),                                                     \
     &dispatch_structs[DISPATCH_INDEX_vd_##name##_req],            \
     DISPATCH_REP_##kind(name),                                    \
     DISPATCH_STRUCT(rt),                                          \
     DISPATCH_STRUCT(pt),                                          \
     (rn),                                                         \
     (pn)},
#include <viaduct/calls.def>
};

static const struct dispatch_event dispatch_events[] = {
#define VD_EVENT_ROW(number, name, since, rt, rn)                                              \
    {(number) | VD_EVENT, #name, (since), &dispatch_structs[DISPATCH_INDEX_vd_##name##_event], \
     DISPATCH_STRUCT(rt), (rn)},
#include <viaduct/events.def>
};

const struct dispatch_event *dispatch_event_at(size_t index)
{
    return index < sizeof(dispatch_events) / sizeof(dispatch_events[0]) ? &dispatch_events[index]
                                                                        : NULL;
}

const struct dispatch_call *dispatch_at(size_t index)
{
    return index < sizeof(dispatch_calls) / sizeof(dispatch_calls[0]) ? &dispatch_calls[index]
                                                                      : NULL;
}

const struct dispatch_call *dispatch_find(uint32_t number)
{
    const struct dispatch_call *call;

    for (size_t i = 0; (call = dispatch_at(i)); i++) {
        if (call->number == number)
            return call;
    }
    return NULL;
}

const struct dispatch_struct *dispatch_struct_at(size_t index)
{
    return index < DISPATCH_INDEX_COUNT ? &dispatch_structs[index] : NULL;
}

/* A terminated text with nothing behind its end. */
static bool text_ok(const uint8_t *text, uint32_t size)
{
    const uint8_t *end = memchr(text, 0, size);

    for (; end && end < text + size; end++) {
        if (*end)
            return false;
    }
    return end != NULL;
}

/* Whether some field may be wrong: what carries bytes need not be looked at word by word. */
static bool has_rules(const struct dispatch_struct *s)
{
    bool rules = false;

    for (uint32_t i = 0; i < s->field_count; i++) {
        enum dispatch_field_kind kind = s->fields[i].kind;

        rules = rules || kind == DISPATCH_ZERO || kind == DISPATCH_FLAGS || kind == DISPATCH_TEXT;
    }
    return rules;
}

/* Reserved fields zero, flags known, texts terminated. */
static bool fields_ok(const struct dispatch_struct *s, const uint8_t *bytes)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < s->field_count; i++) {
        const struct dispatch_field *f = &s->fields[i];
        uint32_t value = 0;

        if (f->kind == DISPATCH_ZERO || f->kind == DISPATCH_FLAGS)
            memcpy(&value, bytes + at, sizeof(value));
        if (f->kind == DISPATCH_ZERO && value)
            return false;
        if (f->kind == DISPATCH_FLAGS && (value & ~f->count))
            return false;
        if (f->kind == DISPATCH_TEXT && !text_ok(bytes + at, f->count))
            return false;
        at += f->size;
    }
    return true;
}

/* Length, tail and fields against one column pair of the table. */
static int check_body(const uint8_t *bytes, size_t size, const struct dispatch_struct *fixed,
                      const struct dispatch_struct *tail, uint32_t tail_max,
                      struct dispatch_message *ret_message)
{
    struct vd_header header;
    size_t want;

    memcpy(&header, bytes, sizeof(header));
    if (header.size != size || header.tail > tail_max)
        return VD_ERR_PROTOCOL;
    want = sizeof(header) + fixed->size + (tail ? (size_t)header.tail * tail->size : 0);
    if (size != want || !fields_ok(fixed, bytes + sizeof(header)))
        return VD_ERR_PROTOCOL;
    for (uint32_t i = 0; tail && has_rules(tail) && i < header.tail; i++) {
        if (!fields_ok(tail, bytes + sizeof(header) + fixed->size + (size_t)i * tail->size))
            return VD_ERR_PROTOCOL;
    }
    ret_message->serial = header.serial;
    ret_message->fixed = bytes + sizeof(header);
    ret_message->tail = bytes + sizeof(header) + fixed->size;
    ret_message->tail_count = header.tail;
    return 0;
}

int dispatch_check_request(const void *bytes, size_t size, uint32_t state,
                           struct dispatch_message *ret_message)
{
    struct dispatch_message message = {0};
    struct vd_header header;
    int err;

    if (size < sizeof(header) || size > VD_MAX_MESSAGE)
        return VD_ERR_PROTOCOL;
    memcpy(&header, bytes, sizeof(header));
    message.call = dispatch_find(header.op);
    if (!message.call || !(message.call->states & state))
        return VD_ERR_PROTOCOL;
    if ((message.call->kind == DISPATCH_ONEWAY) != (header.serial == 0))
        return VD_ERR_PROTOCOL;
    err = check_body(bytes, size, message.call->req, message.call->req_tail,
                     message.call->req_tail_max, &message);
    if (!err)
        *ret_message = message;
    return err;
}

int dispatch_check_reply(const void *bytes, size_t size, const struct dispatch_call *call,
                         uint32_t serial, struct dispatch_message *ret_message)
{
    struct dispatch_message message = {.call = call};
    struct vd_header header;
    int err;

    if (size < sizeof(header) || size > VD_MAX_MESSAGE || !call->rep)
        return VD_ERR_PROTOCOL;
    memcpy(&header, bytes, sizeof(header));
    if (header.op != (call->number | VD_REPLY) || header.serial != serial)
        return VD_ERR_PROTOCOL;
    err = check_body(bytes, size, call->rep, call->rep_tail, call->rep_tail_max, &message);
    if (!err)
        *ret_message = message;
    return err;
}

int dispatch_check_event(const void *bytes, size_t size, struct dispatch_message *ret_message)
{
    struct dispatch_message message = {0};
    struct vd_header header;
    int err;

    if (size < sizeof(header) || size > VD_MAX_MESSAGE)
        return VD_ERR_PROTOCOL;
    memcpy(&header, bytes, sizeof(header));
    for (size_t i = 0; dispatch_event_at(i); i++) {
        if (dispatch_event_at(i)->number == header.op)
            message.event = dispatch_event_at(i);
    }
    if (!message.event || header.serial)
        return VD_ERR_PROTOCOL;
    err = check_body(bytes, size, message.event->fixed, message.event->tail,
                     message.event->tail_max, &message);
    if (!err)
        *ret_message = message;
    return err;
}

int dispatch_run(const struct dispatch_handlers *handlers, void *self,
                 const struct dispatch_message *message, struct dispatch_reply *reply)
{
    switch (message->call->number) {
#define VD_CALL(number, name, since, kind, states, rt, rn, pt, pn) \
    case (number):                                                 \
        return handlers->name(self, message->fixed, message->tail, message->tail_count, reply);
#include <viaduct/calls.def>
    default:
        return VD_ERR_PROTOCOL;
    }
}

size_t dispatch_reply_room(const struct dispatch_call *call)
{
    if (!call->rep)
        return 0;
    return sizeof(struct vd_header) + call->rep->size +
           (call->rep_tail ? (size_t)call->rep_tail_max * call->rep_tail->size : 0);
}
