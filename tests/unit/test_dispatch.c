/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <viaduct/errors.h>
#include <wire/dispatch.h>

/*
 * Everything from the tables: what holds for one message holds for all, also for those that are
 * added later. A refusal breaks one thing in a message that passes otherwise.
 */

/* A message under construction, header included. */
struct built {
    const struct dispatch_call *call;
    const struct dispatch_event *event; /* instead of a call */
    const struct dispatch_struct *fixed, *tail;
    uint32_t tail_max;
    bool reply;
    struct vd_header header;
    uint8_t bytes[VD_MAX_MESSAGE + 4096];
    size_t size;
};

static struct built built; /* too large for a stack */

/* Distinct values, never zero where zero is not demanded; flags have all known bits. */
static void fill(const struct dispatch_struct *s, uint8_t *at, uint32_t *counter)
{
    for (uint32_t i = 0; i < s->field_count; i++) {
        const struct dispatch_field *f = &s->fields[i];

        memset(at, 0, f->size);
        switch (f->kind) {
        case DISPATCH_U32:
        case DISPATCH_U32N:
            for (uint32_t j = 0; j < f->count; j++) {
                *counter += 0x01010101;
                memcpy(at + 4 * (size_t)j, counter, sizeof(*counter));
            }
            break;
        case DISPATCH_U64:
            *counter += 0x01010101;
            memcpy(at, counter, sizeof(*counter));
            *counter += 0x01010101;
            memcpy(at + 4, counter, sizeof(*counter));
            break;
        case DISPATCH_TEXT:
            memset(at, 'a' + (int)(i % 26), f->count - 1);
            break;
        case DISPATCH_FLAGS:
            memcpy(at, &f->count, sizeof(f->count));
            break;
        case DISPATCH_ZERO:
            break;
        }
        at += f->size;
    }
}

static void put_header(struct built *b, uint32_t tail)
{
    b->size = sizeof(b->header) + b->fixed->size + (b->tail ? (size_t)tail * b->tail->size : 0);
    b->header.size = (uint32_t)b->size;
    b->header.tail = tail;
    memcpy(b->bytes, &b->header, sizeof(b->header));
}

/* Makes the message anew with so many tail elements. */
static void rebuild(uint32_t tail)
{
    struct built *b = &built;
    uint32_t counter = 0x01020304;

    put_header(b, tail);
    assert_in_range(b->size, sizeof(b->header), sizeof(b->bytes));
    fill(b->fixed, b->bytes + sizeof(b->header), &counter);
    for (uint32_t i = 0; i < tail; i++)
        fill(b->tail, b->bytes + sizeof(b->header) + b->fixed->size + (size_t)i * b->tail->size,
             &counter);
}

/* A message that passes. */
static void build(const struct dispatch_call *call, bool reply, uint32_t tail)
{
    struct built *b = &built;

    b->call = call;
    b->event = NULL;
    b->reply = reply;
    b->fixed = reply ? call->rep : call->req;
    b->tail = reply ? call->rep_tail : call->req_tail;
    b->tail_max = reply ? call->rep_tail_max : call->req_tail_max;
    b->header.op = call->number | (reply ? VD_REPLY : 0);
    b->header.serial = call->kind == DISPATCH_ONEWAY ? 0 : 77;
    rebuild(tail);
}

static void build_event(const struct dispatch_event *event, uint32_t tail)
{
    struct built *b = &built;

    b->call = NULL;
    b->event = event;
    b->reply = false;
    b->fixed = event->fixed;
    b->tail = event->tail;
    b->tail_max = event->tail_max;
    b->header.op = event->number;
    b->header.serial = 0;
    rebuild(tail);
}

/* In memory of exactly this size. */
static int check(struct dispatch_message *message)
{
    uint8_t *copy = check_exact(built.bytes, built.size);
    int err;

    if (built.event)
        err = dispatch_check_event(copy, built.size, message);
    else if (built.reply)
        err = dispatch_check_reply(copy, built.size, built.call, 77, message);
    else
        err = dispatch_check_request(copy, built.size, built.call->states, message);
    if (!err) {
        assert_ptr_equal(message->call, built.call);
        assert_ptr_equal(message->event, built.event);
        assert_ptr_equal(message->fixed, copy + sizeof(struct vd_header));
        assert_ptr_equal(message->tail, copy + sizeof(struct vd_header) + built.fixed->size);
        assert_int_equal(message->serial, built.header.serial);
        assert_int_equal(message->tail_count, built.header.tail);
    }
    free(copy);
    return err;
}

static int refused(void)
{
    struct dispatch_message message = {.serial = 0xabcd}, before = message;
    int err = check(&message);

    assert_true(err == 0 || err == VD_ERR_PROTOCOL);
    if (err)
        assert_memory_equal(&message, &before, sizeof(message));
    return err != 0;
}

/* Most tail elements of a message that still fits. */
static uint32_t tail_fit(const struct built *b)
{
    size_t room = (VD_MAX_MESSAGE - sizeof(b->header) - b->fixed->size);

    if (!b->tail)
        return 0;
    return room / b->tail->size < b->tail_max ? (uint32_t)(room / b->tail->size) : b->tail_max;
}

/* Runs `one` on every request, every reply and every event, without and with a tail. */
static void for_all(void (*one)(void))
{
    const struct dispatch_event *event;
    const struct dispatch_call *call;

    for (size_t i = 0; (event = dispatch_event_at(i)); i++) {
        build_event(event, 0);
        one();
        if (built.tail) {
            build_event(event, 2);
            one();
        }
    }

    for (size_t i = 0; (call = dispatch_at(i)); i++) {
        for (int reply = 0; reply <= (call->rep != NULL); reply++) {
            build(call, reply, 0);
            one();
            if (built.tail) {
                build(call, reply, 2);
                one();
            }
        }
    }
}

static void one_passes(void)
{
    assert_false(refused());
}

static void one_length(void)
{
    size_t size = built.size;

    /* The header says the truth or the old length: both are wrong. */
    for (size_t n = 0; n < size; n++) {
        built.size = n;
        assert_true(refused());
        built.header.size = (uint32_t)n;
        memcpy(built.bytes, &built.header, sizeof(built.header));
        assert_true(refused());
        built.header.size = (uint32_t)size;
        memcpy(built.bytes, &built.header, sizeof(built.header));
    }
    built.size = size + 1;
    built.bytes[size] = 0;
    assert_true(refused());
    built.header.size++;
    memcpy(built.bytes, &built.header, sizeof(built.header));
    assert_true(refused());
    /* Only the header is longer than the message. */
    built.size = size;
    assert_true(refused());
}

static void break_fields(const struct dispatch_struct *s, uint8_t *at)
{
    for (uint32_t i = 0; i < s->field_count; at += s->fields[i++].size) {
        const struct dispatch_field *f = &s->fields[i];
        uint8_t saved[256];

        assert_in_range(f->size, 1, sizeof(saved));
        memcpy(saved, at, f->size);
        for (unsigned bit = 0; bit < 32; bit++) {
            uint32_t value = 1u << bit;

            if (f->kind == DISPATCH_FLAGS && !(value & f->count)) {
                value |= f->count;
                memcpy(at, &value, sizeof(value));
                assert_true(refused());
            }
            if (f->kind == DISPATCH_ZERO) {
                memcpy(at, &value, sizeof(value));
                assert_true(refused());
            }
        }
        if (f->kind == DISPATCH_TEXT) {
            memset(at, 'x', f->size);
            assert_true(refused());
        }
        /* Any other value is the handler's business. */
        if (f->kind == DISPATCH_U32 || f->kind == DISPATCH_U64 || f->kind == DISPATCH_U32N) {
            memset(at, 0xff, f->size);
            assert_false(refused());
            memset(at, 0, f->size);
            assert_false(refused());
        }
        memcpy(at, saved, f->size);
        assert_false(refused());
    }
}

static void one_fields(void)
{
    uint8_t *at = built.bytes + sizeof(built.header);

    break_fields(built.fixed, at);
    at += built.fixed->size;
    for (uint32_t i = 0; i < built.header.tail; i++, at += built.tail->size)
        break_fields(built.tail, at);
}

static void one_tail(void)
{
    uint32_t fit = tail_fit(&built);

    if (built.header.tail)
        return;
    if (!built.tail) {
        built.header.tail = 1;
        memcpy(built.bytes, &built.header, sizeof(built.header));
        assert_true(refused());
        return;
    }
    rebuild(fit);
    assert_false(refused());
    /* A count that matches the length, one over the limit. */
    rebuild(fit + 1);
    assert_true(refused());
    /* A count whose product with the element wraps. */
    rebuild(0);
    built.header.tail = 0x80000000u;
    memcpy(built.bytes, &built.header, sizeof(built.header));
    assert_true(refused());
    built.header.tail = 1;
    memcpy(built.bytes, &built.header, sizeof(built.header));
    assert_true(refused());
}

static void test_pass(void **state)
{
    (void)state;
    for_all(one_passes);
}

static void test_length(void **state)
{
    (void)state;
    for_all(one_length);
}

static void test_fields(void **state)
{
    (void)state;
    for_all(one_fields);
}

static void test_tail(void **state)
{
    (void)state;
    for_all(one_tail);
}

static void test_state(void **state)
{
    static const uint32_t all[] = {
        0, VD_STATE_NEW, VD_STATE_READY, VD_STATE_CUDA, VD_STATE_CLOSED, 1u << 31};
    struct dispatch_message message;
    const struct dispatch_call *call;

    (void)state;
    for (size_t i = 0; (call = dispatch_at(i)); i++) {
        build(call, false, 0);
        for (size_t j = 0; j < COUNT(all); j++) {
            assert_int_equal(dispatch_check_request(built.bytes, built.size, all[j], &message),
                             all[j] & call->states ? 0 : VD_ERR_PROTOCOL);
        }
        /* HELLO and nothing else opens a session; nothing is legal after the end. */
        assert_int_equal(call->states,
                         call->number == VD_OP_hello         ? VD_STATE_NEW
                         : call->number == VD_OP_arena_write ? VD_STATE_READY | VD_STATE_CUDA
                         : call->number >> 5 == 1 || call->number >> 5 == 3 ? VD_STATE_CUDA
                                                                            : VD_STATE_READY);
    }
}

static void test_serial(void **state)
{
    struct dispatch_message message;
    const struct dispatch_call *call;

    (void)state;
    for (size_t i = 0; (call = dispatch_at(i)); i++) {
        for (uint32_t serial = 0; serial < 2; serial++) {
            bool fine = (call->kind == DISPATCH_ONEWAY) == (serial == 0);

            build(call, false, 0);
            built.header.serial = serial;
            memcpy(built.bytes, &built.header, sizeof(built.header));
            assert_int_equal(
                dispatch_check_request(built.bytes, built.size, call->states, &message),
                fine ? 0 : VD_ERR_PROTOCOL);
        }
    }
}

static void test_operation(void **state)
{
    struct dispatch_message message;
    const struct dispatch_call *call;

    (void)state;
    for (size_t i = 0; (call = dispatch_at(i)); i++) {
        static const uint32_t wrong[] = {VD_REPLY, 0x10000, 1u << 30};

        build(call, false, 0);
        for (size_t j = 0; j < COUNT(wrong); j++) {
            built.header.op = call->number | wrong[j];
            memcpy(built.bytes, &built.header, sizeof(built.header));
            assert_true(refused());
        }
    }
    for (uint32_t op = 0; op < 300; op++) {
        build(dispatch_at(1), false, 0);
        built.header.op = op;
        memcpy(built.bytes, &built.header, sizeof(built.header));
        if (!dispatch_find(op))
            assert_int_equal(
                dispatch_check_request(built.bytes, built.size, VD_STATE_READY, &message),
                VD_ERR_PROTOCOL);
    }
}

static void test_event(void **state)
{
    const struct dispatch_event *event;

    (void)state;
    for (size_t i = 0; (event = dispatch_event_at(i)); i++) {
        assert_int_equal(event->number & (VD_EVENT | VD_REPLY), VD_EVENT);
        assert_null(dispatch_find(event->number));
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(event->number, dispatch_event_at(j)->number);
        /* Nobody asked for it: no serial; no other number, and no call. */
        build_event(event, 0);
        built.header.serial = 1;
        memcpy(built.bytes, &built.header, sizeof(built.header));
        assert_true(refused());
        built.header.serial = 0;
        for (uint32_t wrong = 0; wrong < 3; wrong++) {
            static const uint32_t ops[] = {0x4fffffff, VD_OP_hello, VD_REPLY | VD_EVENT | 1};

            built.header.op = ops[wrong];
            memcpy(built.bytes, &built.header, sizeof(built.header));
            assert_true(refused());
        }
    }
}

static void test_reply(void **state)
{
    struct dispatch_message message;
    const struct dispatch_call *call, *other;

    (void)state;
    for (size_t i = 0; (call = dispatch_at(i)); i++) {
        if (!call->rep) {
            assert_int_equal(call->kind, DISPATCH_ONEWAY);
            assert_int_equal(dispatch_reply_room(call), 0);
            build(call, false, 0);
            assert_int_equal(dispatch_check_reply(built.bytes, built.size, call, 0, &message),
                             VD_ERR_PROTOCOL);
            continue;
        }
        build(call, true, 0);
        assert_true(dispatch_reply_room(call) >=
                    built.size + (call->rep_tail ? call->rep_tail_max * call->rep_tail->size : 0));
        assert_int_equal(dispatch_check_reply(built.bytes, built.size, call, 77, &message), 0);
        assert_int_equal(dispatch_check_reply(built.bytes, built.size, call, 78, &message),
                         VD_ERR_PROTOCOL);
        assert_int_equal(dispatch_check_reply(built.bytes, built.size, call, 0, &message),
                         VD_ERR_PROTOCOL);
        for (size_t j = 0; (other = dispatch_at(j)); j++) {
            if (j != i)
                assert_int_equal(dispatch_check_reply(built.bytes, built.size, other, 77, &message),
                                 VD_ERR_PROTOCOL);
        }
        built.header.op = call->number;
        memcpy(built.bytes, &built.header, sizeof(built.header));
        assert_true(refused());
    }
}

static void test_tables(void **state)
{
    const struct dispatch_call *call, *other;
    const struct dispatch_struct *s;

    (void)state;
    for (size_t i = 0; (call = dispatch_at(i)); i++) {
        assert_ptr_equal(dispatch_find(call->number), call);
        assert_int_equal(call->number & VD_REPLY, 0);
        assert_true(call->number != 0);
        assert_in_range(call->since, 0, VD_MINOR);
        for (size_t j = 0; j < i; j++) {
            other = dispatch_at(j);
            assert_int_not_equal(call->number, other->number);
            assert_string_not_equal(call->name, other->name);
        }
    }
    assert_null(dispatch_find(0));
    assert_null(dispatch_find(VD_REPLY));
    assert_null(dispatch_at(SIZE_MAX));
    for (size_t i = 0; (s = dispatch_struct_at(i)); i++) {
        uint32_t size = 0;

        assert_true(s->field_count > 0);
        for (uint32_t j = 0; j < s->field_count; j++) {
            assert_true(s->fields[j].size % 4 == 0);
            /* Natural alignment. */
            assert_true(s->fields[j].kind != DISPATCH_U64 || size % 8 == 0);
            size += s->fields[j].size;
        }
        assert_int_equal(size, s->size);
    }
    assert_null(dispatch_struct_at(SIZE_MAX));
}

/* One handler a call that only remembers. */
static struct seen {
    uint32_t number;
    void *self;
    const void *fixed, *tail;
    uint32_t tail_count;
    struct dispatch_reply *reply;
} seen;

#define VD_CALL(number, name, since, kind, states, rt, rn, pt, pn)                                 \
    static int handle_##name(void *self, const struct vd_##name##_req *req, const struct rt *tail, \
                             uint32_t tail_count, struct dispatch_reply *reply)                    \
    {                                                                                              \
        seen = (struct seen){number, self, req, tail, tail_count, reply};                          \
        return -1000 - (number);                                                                   \
    }
#include <viaduct/calls.def>

static void test_run(void **state)
{
    static const struct dispatch_handlers handlers = {
#define VD_CALL(number, name, since, kind, states, rt, rn, pt, pn) .name = handle_##name,
#include <viaduct/calls.def>
    };
    const struct dispatch_call *call;
    int self;

    (void)state;
    for (size_t i = 0; (call = dispatch_at(i)); i++) {
        struct dispatch_message message;
        struct dispatch_reply reply;

        build(call, false, call->req_tail ? 2 : 0);
        assert_int_equal(dispatch_check_request(built.bytes, built.size, call->states, &message),
                         0);
        assert_int_equal(dispatch_run(&handlers, &self, &message, &reply),
                         -1000 - (int)call->number);
        assert_int_equal(seen.number, call->number);
        assert_ptr_equal(seen.self, &self);
        assert_ptr_equal(seen.fixed, message.fixed);
        assert_ptr_equal(seen.tail, message.tail);
        assert_int_equal(seen.tail_count, call->req_tail ? 2 : 0);
        assert_ptr_equal(seen.reply, &reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pass),      cmocka_unit_test(test_length),
        cmocka_unit_test(test_fields),    cmocka_unit_test(test_tail),
        cmocka_unit_test(test_state),     cmocka_unit_test(test_serial),
        cmocka_unit_test(test_operation), cmocka_unit_test(test_reply),
        cmocka_unit_test(test_tables),    cmocka_unit_test(test_run),
        cmocka_unit_test(test_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
