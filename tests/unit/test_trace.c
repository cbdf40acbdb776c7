/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <wire/dispatch.h>
#include <wire/trace.h>

/*
 * The trace shows what peers sent, so it must take anything.
 */

static char text[1 << 20];

/* In memory of exactly the given sizes: every room gives the same text, cut and terminated. */
static size_t format(const void *bytes, size_t size, const char *want)
{
    uint8_t *copy = check_exact(bytes, size);
    size_t length = trace_format("->", copy, size, text, sizeof(text));

    assert_int_equal(length, strlen(text));
    assert_non_null(strstr(text, want));
    for (size_t room = 0; room < 80; room++) {
        char *small = check_exact(NULL, room);

        assert_int_equal(trace_format("->", copy, size, small, room), length);
        if (room) {
            size_t shown = length < room - 1 ? length : room - 1;

            assert_int_equal(strlen(small), shown);
            assert_memory_equal(small, text, shown);
        }
        free(small);
    }
    free(copy);
    return length;
}

static size_t make(uint8_t *bytes, const struct dispatch_call *call, bool reply, uint32_t tail)
{
    const struct dispatch_struct *fixed = reply ? call->rep : call->req;
    const struct dispatch_struct *element = reply ? call->rep_tail : call->req_tail;
    struct vd_header header = {
        .op = call->number | (reply ? VD_REPLY : 0), .serial = 4711, .tail = element ? tail : 0};

    header.size = (uint32_t)(sizeof(header) + fixed->size + (element ? tail * element->size : 0));
    memset(bytes, 0xff, header.size);
    memcpy(bytes, &header, sizeof(header));
    return header.size;
}

static void test_messages(void **state)
{
    static uint8_t bytes[65536];
    const struct dispatch_call *call;

    (void)state;
    for (size_t i = 0; (call = dispatch_at(i)); i++) {
        for (int reply = 0; reply <= (call->rep != NULL); reply++) {
            const struct dispatch_struct *s = reply ? call->rep : call->req;
            size_t size = make(bytes, call, reply, 20);

            format(bytes, size, call->name);
            assert_non_null(strstr(text, "#4711"));
            assert_true(!reply == !strstr(text, " reply"));
            /* Every field by name; what must be zero is marked where it is not. */
            for (uint32_t j = 0; j < s->field_count; j++)
                assert_non_null(strstr(text, s->fields[j].name));
            /* Every prefix; of long messages, whose ends are all alike, some. */
            for (size_t n = 0; n < size; n += n < 512 ? 1 : 61)
                format(bytes, n, "->");
        }
    }
}

static void test_many_elements(void **state)
{
    static uint8_t bytes[65536];
    size_t size = make(bytes, dispatch_find(VD_OP_surface_create), false, 1000);

    (void)state;
    assert_true(format(bytes, size, "surface_create") < 1000);
    assert_non_null(strstr(text, "more"));
}

static void test_lies(void **state)
{
    static uint8_t bytes[65536];
    uint32_t tail = UINT32_MAX;
    size_t size = make(bytes, dispatch_find(VD_OP_submit), false, 1);

    (void)state;
    memcpy(bytes + offsetof(struct vd_header, tail), &tail, sizeof(tail));
    format(bytes, size, "submit");
    format("", 0, "fragment");
    memset(bytes, 0xff, 64);
    format(bytes, 64, "unknown");
    memset(bytes, 0, 64);
    format(bytes, 64, "unknown");
    /* A reply to what has none. */
    make(bytes, dispatch_find(VD_OP_kick), false, 0);
    bytes[7] = 0x80;
    format(bytes, 24, "unknown");
}

static void test_garbage(void **state)
{
    uint64_t random = 77;
    uint8_t bytes[400];

    (void)state;
    for (int run = 0; run < 2000; run++) {
        size_t size = check_random(&random) % sizeof(bytes);

        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)check_random(&random);
        if (size > 8 && run % 2) {
            memset(bytes + 4, 0, 4);
            bytes[4] = (uint8_t)(run % 12);
            bytes[7] = run % 4 == 1 ? 0x80 : 0;
        }
        format(bytes, size, "->");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_many_elements),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_garbage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
