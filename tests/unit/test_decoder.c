/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include "decoder.h"

/*
 * Decoders that outlive their contexts, seen from a session: its back end counts decoders, and
 * its builder counts the pictures of each.
 */

#define CONTEXT 0x20000001u
#define SURFACE 0x30000000u
#define ROOM    16

struct fake {
    struct backend_context_info info;
    _Atomic int number, adopted;
    _Atomic uint32_t pictures;
    _Atomic bool destroyed;
};

static struct {
    pthread_mutex_t lock;
    struct fake fakes[ROOM];
    _Atomic int count, last; /* opened; that took the last picture */
    _Atomic uint64_t built;  /* the builder's count at that picture */
    _Atomic bool hold;
} b = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct guest g;
static const struct backend *backend;

static int test_build(void *state, const struct va_picture *picture,
                      struct bitstream_packet *ret_packet)
{
    uint64_t *count = state;

    *ret_packet = (struct bitstream_packet){
        .data = picture->slices[0].data,
        .size = (size_t)++ * count, /* told through the packet: not a size */
    };
    return 0;
}

static const struct bitstream_builder test_builder = {
    .name = "test",
    .state_size = sizeof(uint64_t),
    .gap = BITSTREAM_SLICE_GAP,
    .survives = true,
    .build = test_build,
};

static const struct bitstream_builder *fake_builder(enum vd_codec codec)
{
    (void)codec;
    return &test_builder;
}

static uint32_t fake_caps(struct vd_cap *ret_caps, uint32_t room)
{
    return backend_null.caps(ret_caps, room);
}

static int fake_create(const struct backend_context_info *info, void **ret_context,
                       struct backend_context_traits *ret_traits)
{
    struct fake *fake;

    pthread_mutex_lock(&b.lock);
    assert_true(b.count < ROOM);
    fake = &b.fakes[b.count];
    *fake = (struct fake){.info = *info, .number = b.count++};
    pthread_mutex_unlock(&b.lock);
    *ret_context = fake;
    *ret_traits = (struct backend_context_traits){.depth = 4};
    return 0;
}

static void fake_adopt(void *context, const struct backend_context_info *info)
{
    struct fake *fake = context;

    fake->info = *info;
    fake->adopted++;
}

static void fake_submit(void *context, struct backend_job *job)
{
    struct fake *fake = context;

    pthread_mutex_lock(&b.lock);
    assert_false(fake->destroyed);
    fake->pictures++;
    b.last = fake->number;
    b.built = job->packet.size;
    pthread_mutex_unlock(&b.lock);
    job->status = job->refused;
    if (!job->refused)
        job->status = pool_get(job->surface, &job->backing);
    if (!b.hold)
        fake->info.done(fake->info.done_arg, job);
}

static void fake_flush(void *context, uint64_t number)
{
    (void)context, (void)number;
}

static void fake_destroy(void *context)
{
    struct fake *fake = context;

    pthread_mutex_lock(&b.lock);
    assert_false(fake->destroyed);
    fake->destroyed = true;
    pthread_mutex_unlock(&b.lock);
}

#define FAKE(is_immediate, adopt)                                                                \
    {                                                                                            \
        .name = "fake", .immediate = (is_immediate), .caps = fake_caps, .builder = fake_builder, \
        .context_create = fake_create, .context_adopt = (adopt), .submit = fake_submit,          \
        .flush = fake_flush, .context_destroy = fake_destroy                                     \
    }

static const struct backend immediate = FAKE(true, fake_adopt);
static const struct backend threaded = FAKE(false, fake_adopt);
static const struct backend keeps_none = FAKE(false, NULL);

static int start(const struct backend *with)
{
    b.count = 0;
    b.hold = false;
    return guest_start(&g, with) || guest_hello(&g) ||
           guest_surfaces(&g, VA_FOURCC_I420, SURFACE, 8);
}

static int setup(void **state)
{
    (void)state;
    return start(backend);
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(guest_stop(&g), 0);
    for (int i = 0; i < b.count; i++)
        assert_true(b.fakes[i].destroyed);
    return 0;
}

/* Waits for the picture and the decoder that took it. */
static int decode(uint32_t context, uint32_t surface, uint32_t sequence, uint32_t reference)
{
    struct picture p;
    int last;

    picture_idr(&p, surface);
    if (reference)
        p.param.ReferenceFrames[0].picture_id = reference;
    assert_int_equal(guest_submit(&g, context, surface, sequence, &p), 0);
    assert_int_equal(guest_wait(&g, surface, sequence), 0);
    pthread_mutex_lock(&b.lock);
    last = b.last;
    pthread_mutex_unlock(&b.lock);
    return last;
}

static void open_context(uint32_t id)
{
    assert_int_equal(guest_context(&g, id, 16, 16), 0);
}

static void close_context(uint32_t id)
{
    assert_int_equal(guest_context_destroy(&g, id), 0);
}

static void destroy_surface(uint32_t id)
{
    assert_int_equal(guest_surface_destroy(&g, id), 0);
    /* A round trip: it was read. */
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE + 39, 1), 0);
    assert_int_equal(guest_surface_destroy(&g, SURFACE + 39), 0);
}

/* The usual: from context to context, by references. */
static void test_goes_on(void **state)
{
    struct vd_context_slot *slot;

    (void)state;
    open_context(CONTEXT);
    assert_int_equal(decode(CONTEXT, SURFACE, 1, 0), 0);
    assert_int_equal(decode(CONTEXT, SURFACE + 1, 1, SURFACE), 0);
    for (uint32_t i = 1; i < 4; i++) {
        close_context(CONTEXT + i - 1);
        assert_false(b.fakes[0].destroyed);
        open_context(CONTEXT + i);
        assert_int_equal(decode(CONTEXT + i, SURFACE + 1 + i, 1, SURFACE + i), 0);
        assert_true(b.fakes[i].destroyed);
        assert_int_equal(b.fakes[0].adopted, i);
        assert_int_equal(b.built, 2 * i + 1);
        assert_int_equal(decode(CONTEXT + i, SURFACE, i + 1, 0), 0);
        slot = &g.arena.status->contexts[VD_SLOT(CONTEXT + i)];
        assert_int_equal(
            fence_wait(&slot->done, &slot->waiters, 2, GUEST_MS * 1000000ull, guest_host_alive, &g),
            0);
    }
    assert_int_equal(STATS_GET(g.stats, contexts), 1);
}

/* Nothing is referred to: a decoder that has seen nothing. The parked one waits. */
static void test_fresh(void **state)
{
    (void)state;
    open_context(CONTEXT);
    assert_int_equal(decode(CONTEXT, SURFACE, 1, 0), 0);
    assert_int_equal(decode(CONTEXT, SURFACE + 1, 1, 0), 0);
    close_context(CONTEXT);
    open_context(CONTEXT);
    /* Not the surface itself, nor one that was not decoded, nor one that is not there. */
    assert_int_equal(decode(CONTEXT, SURFACE, 2, SURFACE), 1);
    assert_int_equal(b.built, 1);
    assert_int_equal(decode(CONTEXT, SURFACE, 3, SURFACE + 1), 1);
    assert_false(b.fakes[0].destroyed);
    open_context(CONTEXT + 1);
    assert_int_equal(decode(CONTEXT + 1, SURFACE + 2, 1, SURFACE + 3), 2);
    open_context(CONTEXT + 2);
    assert_int_equal(decode(CONTEXT + 2, SURFACE + 3, 1, SURFACE + 30), 3);
    /* It still can. */
    close_context(CONTEXT + 2);
    open_context(CONTEXT + 2);
    assert_int_equal(decode(CONTEXT + 2, SURFACE + 4, 1, SURFACE + 1), 0);
}

/* A decoder whose surfaces are gone, destroyed or another's, is not kept. */
static void test_last_surface(void **state)
{
    (void)state;
    open_context(CONTEXT);
    assert_int_equal(decode(CONTEXT, SURFACE, 1, 0), 0);
    assert_int_equal(decode(CONTEXT, SURFACE + 1, 1, 0), 0);
    close_context(CONTEXT);
    destroy_surface(SURFACE);
    assert_false(b.fakes[0].destroyed);
    destroy_surface(SURFACE + 1);
    assert_true(b.fakes[0].destroyed);
    open_context(CONTEXT);
    assert_int_equal(decode(CONTEXT, SURFACE + 2, 1, 0), 1);
    close_context(CONTEXT);
    open_context(CONTEXT);
    assert_int_equal(decode(CONTEXT, SURFACE + 2, 2, 0), 2);
    assert_true(b.fakes[1].destroyed);
    destroy_surface(SURFACE + 2);
    assert_false(b.fakes[2].destroyed);
    close_context(CONTEXT);
    assert_true(b.fakes[2].destroyed);
    /* Never used. */
    open_context(CONTEXT);
    close_context(CONTEXT);
    assert_true(b.fakes[3].destroyed);
}

/* The oldest goes when there are too many; the latest is preferred. */
static void test_many(void **state)
{
    struct picture p;

    (void)state;
    for (uint32_t i = 0; i <= DECODER_PARK_MAX; i++) {
        open_context(CONTEXT);
        assert_int_equal(decode(CONTEXT, SURFACE + i, 1, 0), i);
        close_context(CONTEXT);
        assert_int_equal(b.fakes[0].destroyed, i == DECODER_PARK_MAX);
    }
    picture_idr(&p, SURFACE + 7);
    p.param.ReferenceFrames[3].picture_id = SURFACE + 2;
    p.param.ReferenceFrames[5].picture_id = SURFACE + 3;
    p.param.ReferenceFrames[8].picture_id = SURFACE + 1;
    open_context(CONTEXT);
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE + 7, 1, &p), 0);
    assert_int_equal(guest_wait(&g, SURFACE + 7, 1), 0);
    assert_int_equal(b.fakes[3].adopted, 1);
    assert_int_equal(b.fakes[1].adopted + b.fakes[2].adopted, 0);
}

/* Pictures that were not complete: what is in the decoder is not known. */
static void test_given_up(void **state)
{
    struct picture p;

    (void)state;
    open_context(CONTEXT);
    assert_int_equal(decode(CONTEXT, SURFACE, 1, 0), 0);
    b.hold = true;
    picture_idr(&p, SURFACE + 1);
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE + 1, 1, &p), 0);
    close_context(CONTEXT);
    assert_true(b.fakes[0].destroyed);
}

static int setup_none(void **state)
{
    (void)state;
    return start(&keeps_none);
}

static void test_cannot(void **state)
{
    (void)state;
    open_context(CONTEXT);
    assert_int_equal(decode(CONTEXT, SURFACE, 1, 0), 0);
    close_context(CONTEXT);
    assert_true(b.fakes[0].destroyed);
    open_context(CONTEXT);
    assert_int_equal(decode(CONTEXT, SURFACE + 1, 1, SURFACE), 1);
}

/* Another codec or back end never gets it. */
static void test_take(void **state)
{
    struct backend_context_info info = {.codec = VD_CODEC_VP9};
    struct backend_context_traits traits;
    struct decoder_park park = {0};
    struct decoder *decoder;

    (void)state;
    b.count = 0;
    assert_int_equal(decoder_create(&immediate, &info, 7, &decoder, &traits), 0);
    assert_true(decoder_survives(decoder));
    decoder_park_put(&park, decoder);
    decoder_park_put(&park, NULL);
    assert_int_equal(decoder_park_find(&park, 6), 0);
    assert_int_equal(decoder_park_find(&park, 7), 1);
    assert_null(decoder_park_take(&park, 0, &immediate, VD_CODEC_VP9));
    assert_null(decoder_park_take(&park, 2, &immediate, VD_CODEC_VP9));
    assert_null(decoder_park_take(&park, 1, &threaded, VD_CODEC_VP9));
    assert_null(decoder_park_take(&park, 1, &immediate, VD_CODEC_AV1));
    assert_ptr_equal(decoder_park_take(&park, 1, &immediate, VD_CODEC_VP9), decoder);
    assert_int_equal(park.count, 0);
    decoder_park_put(&park, decoder);
    decoder_park_finish(&park);
    assert_true(b.fakes[0].destroyed);
    decoder_destroy(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_goes_on),
        TEST(test_fresh),
        TEST(test_last_surface),
        TEST(test_many),
        TEST(test_given_up),
        cmocka_unit_test_setup_teardown(test_cannot, setup_none, teardown),
        cmocka_unit_test(test_take),
    };
    int failed;

    backend = &immediate;
    failed = cmocka_run_group_tests_name("immediate", tests, NULL, NULL);
    backend = &threaded;
    return failed + cmocka_run_group_tests_name("threaded", tests, NULL, NULL);
}
