/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "backend/av1_feed.h"

/*
 * Packets through the feed to a model of a decoder: what it has in its 8 slots is a number made of
 * the frame's and of those in the slots it refers to. Another model gets each frame once, with the
 * right flags. Both must show the same for every frame.
 */

#define FLAGS_AT 11 /* a bit that is no byte's first */
#define NAME_AT  4
#define REFS_AT  3
#define SMALL    32

static struct {
    struct av1_feed feed;
    struct block_pool *pool;
    uint64_t slots[8], truth[8];
    uint64_t shown[2 * VD_MAX_IN_FLIGHT]; /* by number of job, modulo */
    uint64_t want[2 * VD_MAX_IN_FLIGHT];
    struct backend_job jobs[2 * VD_MAX_IN_FLIGHT];
    uint64_t submitted, done, opened;
    unsigned decodes;
    struct bitstream_refresh settled[BITSTREAM_MAX_OPEN];
    uint32_t settled_count;
} f;

static uint64_t mix(uint64_t value)
{
    value *= UINT64_C(0x9e3779b97f4a7c15);
    return value ^ value >> 29;
}

static uint64_t picture_of(const uint64_t *slots, uint32_t name, uint8_t references)
{
    uint64_t value = mix(name + 1);

    for (int i = 0; i < 8; i++) {
        if (references >> i & 1)
            value = mix(value ^ slots[i]);
    }
    return value;
}

static void keep(uint64_t *slots, uint64_t picture, uint8_t flags)
{
    for (int i = 0; i < 8; i++) {
        if (flags >> i & 1)
            slots[i] = picture;
    }
}

static void decode(void *arg, struct backend_job *job, struct block *block, const uint8_t *bytes,
                   size_t size)
{
    uint64_t picture;
    uint32_t name;
    uint8_t flags;

    (void)arg, (void)block;
    assert_true(size >= SMALL);
    memcpy(&name, bytes + NAME_AT, sizeof(name));
    flags = (uint8_t)(bytes[FLAGS_AT / 8] << FLAGS_AT % 8 |
                      bytes[FLAGS_AT / 8 + 1] >> (8 - FLAGS_AT % 8));
    picture = picture_of(f.slots, name, bytes[REFS_AT]);
    keep(f.slots, picture, flags);
    f.decodes++;
    if (job)
        f.shown[job->number % (2 * VD_MAX_IN_FLIGHT)] = picture;
}

static void done(void *arg, struct backend_job *job)
{
    uint64_t at = job->number % (2 * VD_MAX_IN_FLIGHT);

    (void)arg;
    assert_int_equal(job->number, f.done + 1);
    f.done++;
    if (!job->refused)
        assert_true(f.shown[at] == f.want[at]);
    block_unref(&job->block);
}

static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof(f));
    f.pool = block_pool_create(NULL);
    f.feed.decode = decode;
    f.feed.done = done;
    return !f.pool;
}

static int teardown(void **state)
{
    (void)state;
    av1_feed_finish(&f.feed);
    for (uint64_t n = f.done + 1; n <= f.submitted; n++)
        block_unref(&f.jobs[n % (2 * VD_MAX_IN_FLIGHT)].block);
    block_pool_destroy(f.pool);
    return 0;
}

/*
 * A frame that will be kept in `flags`. `open`: they are not in the packet, but `guess` may be; the
 * next frame settles it.
 */
static void send_sized(uint8_t flags, uint8_t references, bool open, uint8_t guess, size_t size)
{
    uint64_t at = ++f.submitted % (2 * VD_MAX_IN_FLIGHT);
    struct backend_job *job = &f.jobs[at];
    uint32_t name = (uint32_t)f.submitted;

    *job = (struct backend_job){.number = f.submitted};
    assert_int_equal(block_get(f.pool, size, &job->block), 0);
    memset(job->block->bytes, 0, size);
    memcpy(job->block->bytes + NAME_AT, &name, sizeof(name));
    job->block->bytes[REFS_AT] = references;
    if (!open)
        av1_log_set_refresh(job->block->bytes, FLAGS_AT, flags);
    job->packet.data = job->block->bytes;
    job->packet.size = size;
    job->packet.references = references;
    job->packet.flags = flags == 0xff && references == 0 ? BITSTREAM_RESET : 0;
    memcpy(job->packet.refresh, f.settled, sizeof(f.settled));
    job->packet.refresh_count = f.settled_count;
    f.settled_count = 0;
    if (open) {
        job->packet.open = ++f.opened;
        job->packet.open_at = FLAGS_AT;
        job->packet.guess = guess;
        f.settled[f.settled_count++] =
            (struct bitstream_refresh){.open = f.opened, .refresh_frame_flags = flags};
    } else {
        job->packet.refresh_frame_flags = flags;
    }
    f.want[at] = picture_of(f.truth, name, references);
    keep(f.truth, f.want[at], flags);
    av1_feed_submit(&f.feed, job);
}

static void send(uint8_t flags, uint8_t references, bool open, uint8_t guess)
{
    send_sized(flags, references, open, guess, SMALL);
}

static void start(void)
{
    send(0xff, 0, false, 0);
    for (int i = 1; i < 8; i++)
        send((uint8_t)(1 << i), 0x01, false, 0);
    f.decodes = 0;
}

static void flush(void)
{
    av1_feed_flush(&f.feed, f.submitted);
    assert_int_equal(f.done, f.submitted);
}

/* Nobody looks before the next frame comes: no frame is decoded twice. */
static void test_waits(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 20; i++) {
        send((uint8_t)(1 << i % 8), 0xff, true, 0);
        assert_int_equal(f.done + 1, f.submitted);
    }
    send(1, 0xff, false, 0);
    assert_int_equal(f.decodes, 21);
    assert_int_equal(f.done, f.submitted);
}

/* Without a guess a frame that is kept is decoded twice, one that is not only once. */
static void test_twice(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 20; i++) {
        send(i % 2 ? 4 : 0, 0xff, true, 0);
        flush();
    }
    send(1, 0xff, false, 0);
    assert_int_equal(f.decodes, 31);
}

static void test_right(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 3000; i++) {
        send((uint8_t)(1 << i % 8), 0xff, true, (uint8_t)(1 << i % 8));
        flush();
    }
    send(1, 0xff, false, 0);
    /* As long as the log has room. */
    assert_true(f.decodes < 3001 + 3000 - AV1_LOG_PICTURES + 20);
    assert_true(f.decodes > 3000);
}

/* The references are made again, of the packets they depend on. */
static void test_wrong(void **state)
{
    (void)state;
    start();
    send(2, 0x01, true, 4);
    flush();
    send(0, 0xff, true, 8);
    flush();
    send(16, 0xff, false, 0);
    /* Three frames, and twice the eight that are alive. */
    assert_int_equal(f.decodes, 3 + 8 + 8);
    /* What was rebuilt is right, slot by slot. */
    for (int i = 0; i < 8; i++)
        send(0, (uint8_t)(1 << i), false, 0);
    assert_memory_equal(f.slots, f.truth, sizeof(f.slots));
}

/* A client whose guesses are always wrong makes the host do the loan's work in vain, no more. */
static void test_loan(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 1000; i++) {
        send(2, 0xff, true, 4);
        flush();
    }
    send(1, 0xff, false, 0);
    assert_true(f.decodes <= 2 * 1001 + 2 * AV1_FEED_LOAN);
    assert_memory_equal(f.slots, f.truth, sizeof(f.slots));
}

/* What comes next replaces everything: a wrong guess does no harm. */
static void test_reset(void **state)
{
    (void)state;
    start();
    send(2, 0xff, true, 4);
    flush();
    send(0xff, 0, false, 0);
    assert_int_equal(f.decodes, 2);
    send(0, 0xff, false, 0);
}

/* Frames that are refused settle others all the same. */
static void test_refused(void **state)
{
    struct backend_job *job;

    (void)state;
    start();
    send(2, 0xff, true, 4);
    flush();
    job = &f.jobs[++f.submitted % (2 * VD_MAX_IN_FLIGHT)];
    *job = (struct backend_job){.number = f.submitted, .refused = VD_ERR_DECODE};
    memcpy(job->packet.refresh, f.settled, sizeof(f.settled));
    job->packet.refresh_count = f.settled_count;
    f.settled_count = 0;
    av1_feed_submit(&f.feed, job);
    assert_int_equal(job->status, VD_ERR_DECODE);
    send(1, 0xff, false, 0);
    assert_memory_equal(f.slots, f.truth, sizeof(f.slots));
}

/* A log that is full drops what nothing depends on, or gives up until the next key frame. */
static void test_limits(void **state)
{
    const size_t large = AV1_LOG_BYTES / 8;

    (void)state;
    start();
    send(0, 0x01, true, 0);
    flush();
    for (int i = 0; i < 3 * AV1_LOG_PICTURES; i++)
        send(2, 0x01, false, 0);
    assert_true(f.feed.log.complete);
    assert_true(f.feed.log.count <= AV1_LOG_PICTURES);
    for (int i = 0; i < 20; i++)
        send_sized(2, 0x01, false, 0, large);
    assert_true(f.feed.log.complete);
    assert_true(f.feed.log.room <= AV1_LOG_BYTES);
    send(2, 0xff, true, 4);
    flush();
    send(1, 0xff, false, 0);
    assert_memory_equal(f.slots, f.truth, sizeof(f.slots));
    for (int i = 0; i < 20; i++)
        send_sized(2, 0xff, false, 0, large);
    assert_false(f.feed.log.complete);
    f.decodes = 0;
    send(2, 0xff, true, 4);
    flush();
    send(1, 0xff, false, 0);
    assert_int_equal(f.decodes, 3);
    assert_memory_equal(f.slots, f.truth, sizeof(f.slots));
}

/* Who never looks early pays for no log but the first. */
static void test_not_watched(void **state)
{
    (void)state;
    start();
    assert_true(f.feed.log.complete);
    start();
    assert_false(f.feed.log.complete);
    send(2, 0xff, true, 4);
    flush();
    start();
    assert_true(f.feed.log.complete);
    for (int i = 0; i < 2 * AV1_FEED_BLIND; i++)
        send(2, 0x01, false, 0);
    assert_false(f.feed.log.complete);
}

/* All of it at random. */
static void test_random(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        unsigned r = (seed = seed * 1664525u + 1013904223u) >> 8;
        uint8_t flags = r % 3 ? (uint8_t)(1 << (r >> 4) % 8) : 0;
        uint8_t guess = (r >> 8) % 8 ? flags : (uint8_t)(1 << (r >> 12) % 8);

        if (i == 0 || r % 97 == 0)
            start();
        else
            send(flags, (uint8_t)(r >> 11 | 1), (r >> 20) % 4 > 0, guess);
        if ((r >> 17) % 8)
            flush();
    }
    send(0, 0xff, false, 0);
    assert_memory_equal(f.slots, f.truth, sizeof(f.slots));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_right, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loan, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_watched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
