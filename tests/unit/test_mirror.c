/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <transport/mirror.h>

/*
 * The two mirrors against each other over a channel in one process: what one side publishes the
 * other one sees, in an order in which nobody sees a completion before what it completes.
 */
#define SURFACE 0x30000002u
#define CONTEXT 0x20000001u
#define BYTES   600001u /* more than one piece, no multiple of 8 */

static struct pair {
    struct channel *host_end, *guest_end;
    struct arena host, guest;
    struct message_reader reader, requests;
    struct mirror_host *out;
    struct mirror_guest *in;
    uint8_t *bytes;
    int released, descriptors;
} p;

static void release(void *hold)
{
    __atomic_add_fetch((int *)hold, 1, __ATOMIC_SEQ_CST);
}

static int setup(void **state)
{
    struct vd_hello_rep hello = {0};

    (void)state;
    memset(&p, 0, sizeof(p));
    p.descriptors = check_descriptors();
    assert_int_equal(arena_create(&p.host, 8 << 20), 0);
    hello.arena_size = p.host.size;
    hello.upload_offset = p.host.upload_offset;
    hello.upload_size = p.host.upload_size;
    hello.frame_offset = p.host.frame_offset;
    hello.frame_size = p.host.frame_size;
    assert_int_equal(arena_twin(&p.guest, &hello), 0);
    assert_int_equal(mem_create_pair_in_band(&p.host_end, &p.guest_end), 0);
    assert_false(p.host_end->ops->shares_memory);
    message_init(&p.reader, p.guest_end);
    message_init(&p.requests, p.host_end);
    assert_int_equal(mirror_host_create(p.host_end, &p.host, release, &p.out), 0);
    assert_int_equal(mirror_guest_create(&p.reader, &p.guest, &p.in), 0);
    p.bytes = malloc(BYTES);
    for (uint32_t i = 0; i < BYTES; i++)
        p.bytes[i] = (uint8_t)(i * 7 + i / 251);
    assert_null(mirror_host_reset(p.out, SURFACE));
    mirror_guest_expect_surface(p.in, SURFACE, BYTES);
    mirror_guest_expect_context(p.in, CONTEXT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mirror_guest_destroy(p.in);
    mirror_host_destroy(p.out);
    message_finish(&p.reader);
    message_finish(&p.requests);
    channel_destroy(&p.host_end);
    channel_destroy(&p.guest_end);
    arena_finish(&p.host);
    arena_finish(&p.guest);
    free(p.bytes);
    assert_int_equal(check_descriptors(), p.descriptors);
    return 0;
}

static bool alive(void *arg)
{
    (void)arg;
    return mirror_guest_alive(p.in);
}

static struct vd_surface_slot *slot(void)
{
    return &p.guest.status->surfaces[VD_SLOT(SURFACE)];
}

static int wait_done(uint32_t sequence)
{
    return fence_wait(&slot()->done, &slot()->waiters, sequence, GUEST_MS * 1000000ull, alive,
                      NULL);
}

/* Publishes a picture, with pixels if they are wanted; whether they were. */
static bool publish(uint32_t sequence, bool fresh)
{
    struct mirror_picture picture = {
        .surface = SURFACE, .done = sequence, .errors = 5, .fresh = fresh};
    void *old;

    if (fresh && mirror_host_wants(p.out, SURFACE)) {
        picture.bytes = p.bytes;
        picture.size = BYTES;
        picture.hold = &p.released;
    }
    old = mirror_host_picture(p.out, &picture);
    if (old)
        release(old);
    return picture.bytes != NULL;
}

static const uint8_t *pixels(void)
{
    uint32_t backing = slot()->backing;

    assert_in_range(backing, 0, VD_MAX_BACKINGS - 1);
    return p.guest.base + p.guest.status->backings[backing].offset;
}

static void fetch(void)
{
    struct vd_surface_back_rep rep = {.backing = 77};
    const uint8_t *bytes;
    size_t size;

    assert_int_equal(mirror_host_pixels(p.out, SURFACE, p.bytes, BYTES), 0);
    assert_int_equal(
        mirror_host_reply(p.out, VD_OP_surface_back | VD_REPLY, 9, &rep, sizeof(rep), NULL, 0, 0),
        0);
    assert_int_equal(mirror_guest_reply(p.in, GUEST_MS, &bytes, &size), 0);
    assert_int_equal(size, sizeof(struct vd_header) + sizeof(rep));
    assert_memory_equal(bytes + sizeof(struct vd_header), &rep, sizeof(rep));
    /* The pixels came before the reply. */
    assert_memory_equal(pixels(), p.bytes, BYTES);
}

static void test_pictures(void **state)
{
    int sent = 0, held = 0;

    (void)state;
    assert_int_equal(slot()->backing, VD_NO_BACKING);
    /* Nobody has looked at one: without pixels. */
    assert_false(publish(1, true));
    assert_int_equal(wait_done(1), 0);
    assert_int_equal(slot()->errors, 5);
    assert_int_equal(slot()->backing, VD_NO_BACKING);
    fetch();
    for (uint32_t i = 2; i < 60; i++) {
        bool came;

        p.bytes[i] ^= 0xff;
        came = publish(i, true);
        assert_int_equal(wait_done(i), 0);
        sent += came;
        held += !came;
        if (!came) {
            assert_int_equal(slot()->backing, VD_NO_BACKING);
            fetch();
        } else {
            assert_memory_equal(pixels(), p.bytes, BYTES);
        }
    }
    assert_in_range(held, 1, 6); /* samples */
    assert_in_range(sent, 50, 58);
    /* One that only read the surface leaves the pixels as they are. */
    assert_false(publish(60, false));
    assert_int_equal(wait_done(60), 0);
    assert_in_range(slot()->backing, 0, VD_MAX_BACKINGS - 1);
    /* Nobody looks any more: soon they stay where they are. */
    sent = 0;
    for (uint32_t i = 61; i < 200; i++) {
        sent += publish(i, true);
        assert_int_equal(wait_done(i), 0);
    }
    assert_false(publish(200, true));
    assert_in_range(sent, 0, 100);
}

/* What the app shows is not overwritten; what is fixed is. */
static void test_pins(void **state)
{
    const uint8_t *first;
    uint32_t backing;

    (void)state;
    publish(1, true);
    fetch();
    backing = slot()->backing;
    first = pixels();
    __atomic_add_fetch(&p.guest.status->backings[backing].pins, 1, __ATOMIC_SEQ_CST);
    p.bytes[0] = 99;
    fetch();
    assert_int_not_equal(slot()->backing, backing);
    assert_int_not_equal(first[0], 99);
    backing = slot()->backing;
    first = pixels();
    __atomic_add_fetch(&p.guest.status->backings[backing].pins, 1, __ATOMIC_SEQ_CST);
    mirror_guest_fix(p.in, SURFACE, true);
    mirror_host_fix(p.out, SURFACE, true);
    p.bytes[0] = 98;
    assert_true(publish(2, true));
    assert_int_equal(wait_done(2), 0);
    assert_int_equal(slot()->backing, backing);
    assert_int_equal(first[0], 98);
}

/* A completion for an older surface of the slot is not one of the new surface. */
static void test_generations(void **state)
{
    uint32_t newer = SURFACE | 1u << 20;

    (void)state;
    mirror_guest_forget(p.in, SURFACE);
    mirror_guest_expect_surface(p.in, newer, 64);
    publish(5, true);
    mirror_host_context(p.out, CONTEXT | 1u << 20, 9);
    mirror_host_context(p.out, CONTEXT, 3);
    assert_int_equal(fence_wait(&p.guest.status->contexts[1].done,
                                &p.guest.status->contexts[1].waiters, 3, GUEST_MS * 1000000ull,
                                alive, NULL),
                     0);
    assert_int_equal(p.guest.status->contexts[1].done, 3);
    assert_int_equal(slot()->done, 0);
    assert_true(mirror_guest_alive(p.in));
}

static void test_coded(void **state)
{
    struct vd_context_slot *context = &p.guest.status->contexts[VD_SLOT(CONTEXT)];

    (void)state;
    for (uint32_t i = 1; i < 100; i++) {
        uint64_t offset = p.host.upload_offset + i * 4096ull;
        uint32_t size = i == 50 ? BYTES : i * 3;

        memcpy(p.host.base + offset, p.bytes + i, size - i * (i == 50));
        mirror_host_coded(p.out, offset, size - i * (i == 50));
        mirror_host_context(p.out, CONTEXT, i);
        assert_int_equal(
            fence_wait(&context->done, &context->waiters, i, GUEST_MS * 1000000ull, alive, NULL),
            0);
        assert_memory_equal(p.guest.base + offset, p.bytes + i, size - i * (i == 50));
    }
}

/* The next request at the host, checked. */
static void next_request(struct dispatch_message *message)
{
    const uint8_t *bytes;
    size_t size;
    int fd;

    assert_int_equal(message_read(&p.requests, GUEST_MS, &bytes, &size, &fd), 0);
    assert_int_equal(dispatch_check_request(bytes, size, VD_STATE_READY, message), 0);
}

/* Uploads arrive whole, in order, and before the message behind them. */
static void test_upload(void **state)
{
    static const uint32_t sizes[] = {1, 8, 40001, 100, 32768, 32769, 7, BYTES, 12};
    struct vd_kick_req kick = {CONTEXT, 4};
    uint64_t offset = p.guest.upload_offset;
    struct dispatch_message message;

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        memcpy(p.guest.base + offset, p.bytes, sizes[i]);
        assert_int_equal(mirror_guest_upload(p.in, offset, sizes[i], GUEST_MS), 0);
        offset += (sizes[i] + 63) & ~63u;
    }
    assert_int_equal(
        mirror_guest_send(p.in, VD_OP_kick, 0, &kick, sizeof(kick), NULL, 0, 0, GUEST_MS), 0);
    for (;;) {
        const struct vd_arena_write_req *req;

        next_request(&message);
        if (message.call->number == VD_OP_kick)
            break;
        assert_int_equal(message.call->number, VD_OP_arena_write);
        req = message.fixed;
        memcpy(p.host.base + req->offset, message.tail, message.tail_count * (size_t)8);
    }
    assert_memory_equal(p.host.base + p.host.upload_offset, p.guest.base + p.guest.upload_offset,
                        offset - p.guest.upload_offset);
}

static void test_write(void **state)
{
    uint32_t at = 0;

    (void)state;
    assert_int_equal(mirror_guest_memory(p.in, SURFACE), 0);
    assert_int_equal(pixels()[0], 0);
    assert_int_equal(mirror_guest_write(p.in, SURFACE, p.bytes, BYTES, GUEST_MS), 0);
    while (at < BYTES) {
        const struct vd_surface_write_req *req;
        struct dispatch_message message;
        uint32_t size;

        next_request(&message);
        assert_int_equal(message.call->number, VD_OP_surface_write);
        req = message.fixed;
        assert_int_equal(req->surface, SURFACE);
        assert_int_equal(req->offset, at);
        size = message.tail_count * 8;
        assert_memory_equal(message.tail, p.bytes + at, size < BYTES - at ? size : BYTES - at);
        at += size;
    }
}

/* What a host that is broken sends ends the session, and nobody waits for ever. */
static void test_broken_host(void **state)
{
    struct vd_pixels_event wrong[] = {
        {SURFACE, 0, BYTES + 8, 0},          /* of another size */
        {SURFACE, 64, (BYTES + 7) & ~7u, 0}, /* does not begin */
        {VD_MAX_SURFACES, 0, 64, 0},         /* no slot */
    };

    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        const uint8_t *bytes;
        size_t size;

        assert_int_equal(message_send(p.host_end, VD_EVENT_pixels, 0, &wrong[i], sizeof(wrong[i]),
                                      p.bytes, 4, 8, -1, GUEST_MS),
                         0);
        assert_int_equal(mirror_guest_reply(p.in, GUEST_MS, &bytes, &size), VD_ERR_GONE);
        assert_false(mirror_guest_alive(p.in));
        assert_int_equal(wait_done(1), VD_ERR_GONE);
        teardown(state);
        setup(state);
    }
    mirror_host_destroy(p.out);
    p.out = NULL;
    assert_int_equal(wait_done(1), VD_ERR_GONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pictures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_generations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_coded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_upload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_host, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
