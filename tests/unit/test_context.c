/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include "context.h"

/*
 * The context's ring and thread, with a back end that holds every picture until it is told, as a
 * decoder with frame threads does.
 */

#define CONTEXT 0x20000003u
#define SURFACE 0x30000002u

static struct holder {
    struct backend_context_info info;
    pthread_mutex_t lock;
    struct backend_job *held[2 * VD_MAX_IN_FLIGHT];
    uint64_t taken, given; /* jobs */
    uint64_t flushed;      /* last number asked for */
    int flushes, destroyed;
    int status; /* that pictures get */
    bool hold;
} holder = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint32_t holder_caps(struct vd_cap *ret_caps, uint32_t room)
{
    return backend_null.caps(ret_caps, room);
}

static int holder_create(const struct backend_context_info *info, void **ret_context,
                         struct backend_context_traits *ret_traits)
{
    if (holder.status == VD_ERR_UNSUPPORTED)
        return VD_ERR_UNSUPPORTED;
    holder.info = *info;
    *ret_context = &holder;
    *ret_traits = (struct backend_context_traits){VD_CONTEXT_KICK, 7};
    return 0;
}

static void give(struct backend_job *job)
{
    job->status = job->refused ? job->refused : holder.status;
    if (!job->status && pool_get(job->surface, &job->backing))
        job->status = VD_ERR_LIMIT;
    holder.info.done(holder.info.done_arg, job);
}

static void holder_submit(void *context, struct backend_job *job)
{
    assert_ptr_equal(context, &holder);
    pthread_mutex_lock(&holder.lock);
    holder.held[++holder.taken % COUNT(holder.held)] = job;
    pthread_mutex_unlock(&holder.lock);
    if (!holder.hold) {
        holder.given++;
        give(job);
    }
}

static void holder_flush(void *context, uint64_t number)
{
    assert_ptr_equal(context, &holder);
    pthread_mutex_lock(&holder.lock);
    holder.flushed = number;
    holder.flushes++;
    pthread_mutex_unlock(&holder.lock);
    while (holder.given < number && holder.given < holder.taken)
        give(holder.held[++holder.given % COUNT(holder.held)]);
}

static void holder_destroy(void *context)
{
    assert_ptr_equal(context, &holder);
    holder.destroyed++;
}

static const struct backend backend_holder = {
    .name = "holder",
    .caps = holder_caps,
    .context_create = holder_create,
    .submit = holder_submit,
    .flush = holder_flush,
    .context_destroy = holder_destroy,
};

static void reset(bool hold)
{
    holder.taken = holder.given = holder.flushed = 0;
    holder.flushes = holder.destroyed = holder.status = 0;
    holder.hold = hold;
}

/* Directly: without a session around it. */
static struct fixture {
    struct arena arena;
    struct pool *pool;
    struct block_pool *blocks;
    struct stats_counters stats;
    struct surface *surface;
    struct context *context;
    struct backend_context_traits traits;
} f;

static int setup(void **state)
{
    struct context_setup setup = {
        .id = CONTEXT,
        .arena = &f.arena,
        .backend = &backend_holder,
        .info = {.codec = VD_CODEC_H264},
        .stats = &f.stats,
    };

    (void)state;
    memset(&f, 0, sizeof(f));
    reset(true);
    f.blocks = block_pool_create(NULL);
    if (arena_create(&f.arena, 16 << 20) || pool_create(&f.arena, 16 << 20, &f.pool) ||
        surface_create(f.pool, SURFACE, format_find(VA_FOURCC_I420), 16, 16, &f.surface))
        return 1;
    f.arena.status->contexts[VD_SLOT(CONTEXT)].done = 99;
    return context_create(&setup, &f.context, &f.traits);
}

static int teardown(void **state)
{
    (void)state;
    context_destroy(f.context);
    assert_int_equal(holder.destroyed, 1);
    /* Nothing keeps the surface or its memory. */
    assert_int_equal(f.surface->refs, 1);
    surface_unref(&f.surface);
    pool_trim(f.pool);
    assert_int_equal(pool_bytes(f.pool), 0);
    pool_destroy(f.pool);
    block_pool_destroy(f.blocks);
    arena_finish(&f.arena);
    return 0;
}

static int submit(uint32_t sequence, int refused)
{
    struct block *block = NULL;
    struct context_target target = {.surface = surface_ref(f.surface), .sequence = sequence};
    struct va_picture picture = {0};
    int err;

    if (!refused)
        assert_int_equal(block_get(f.blocks, 100, &block), 0);
    err = context_submit(f.context, &target, block, &picture, refused);
    if (err) {
        surface_unref(&target.surface);
        block_unref(&block);
    }
    return err;
}

static bool yes(void *arg)
{
    (void)arg;
    return true;
}

static void wait_done(uint32_t count)
{
    struct vd_context_slot *slot = &f.arena.status->contexts[VD_SLOT(CONTEXT)];

    assert_int_equal(fence_wait(&slot->done, &slot->waiters, count, 20000000000ull, yes, NULL), 0);
    assert_int_equal(slot->done, count);
}

static uint64_t taken(void)
{
    uint64_t n;

    pthread_mutex_lock(&holder.lock);
    n = holder.taken;
    pthread_mutex_unlock(&holder.lock);
    return n;
}

static void wait_taken(uint64_t count)
{
    for (int i = 0; i < 20000 && taken() < count; i++)
        usleep(1000);
    assert_int_equal(taken(), count);
}

static void test_create(void **state)
{
    (void)state;
    assert_int_equal(context_id(f.context), CONTEXT);
    assert_int_equal(context_codec(f.context), VD_CODEC_H264);
    assert_int_equal(f.traits.flags, VD_CONTEXT_KICK);
    assert_int_equal(f.traits.depth, 7);
    assert_int_equal(f.arena.status->contexts[VD_SLOT(CONTEXT)].done, 0);
    context_destroy(NULL);
}

static void test_in_order(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= 20; i++)
        assert_int_equal(submit(i, 0), 0);
    wait_taken(20);
    for (uint32_t i = 1; i <= 20; i++) {
        assert_int_equal(holder.held[i]->number, i);
        assert_int_equal(holder.held[i]->sequence, i);
        assert_ptr_equal(holder.held[i]->surface, f.surface);
    }
    context_kick(f.context, 7);
    wait_done(7);
    assert_int_equal(f.arena.status->surfaces[VD_SLOT(SURFACE)].done, 7);
    context_kick(f.context, 20);
    wait_done(20);
    assert_int_equal(STATS_GET(f.stats, decoded), 20);
}

/* A number that was not submitted yet means all that were; an old one changes nothing. */
static void test_kick_numbers(void **state)
{
    (void)state;
    context_kick(f.context, 1000);
    for (uint32_t i = 1; i <= 5; i++)
        assert_int_equal(submit(i, 0), 0);
    wait_taken(5);
    context_kick(f.context, 3);
    wait_done(3);
    context_kick(f.context, 2);
    context_kick(f.context, 1000);
    wait_done(5);
    assert_int_equal(holder.flushed, 5);
}

static void test_refused(void **state)
{
    (void)state;
    assert_int_equal(submit(1, 0), 0);
    assert_int_equal(submit(2, VD_ERR_PARAMETER), 0);
    assert_int_equal(submit(3, 0), 0);
    wait_taken(3);
    assert_int_equal(holder.held[1]->refused, 0);
    assert_int_equal(holder.held[2]->refused, VD_ERR_PARAMETER);
    context_kick(f.context, 2);
    wait_done(2);
    assert_int_equal(f.arena.status->surfaces[VD_SLOT(SURFACE)].status, -VD_ERR_PARAMETER);
    context_kick(f.context, 3);
    wait_done(3);
    assert_int_equal(f.arena.status->surfaces[VD_SLOT(SURFACE)].status, 0);
    assert_int_equal(STATS_GET(f.stats, decoded), 2);
    assert_int_equal(STATS_GET(f.stats, failed), 1);
}

static void test_in_flight(void **state)
{
    uint32_t done = 0;

    (void)state;
    /* Several times around the ring. */
    for (uint32_t i = 1; i <= VD_MAX_IN_FLIGHT; i++)
        assert_int_equal(submit(i, 0), 0);
    for (; done < 3 * VD_MAX_IN_FLIGHT; done++) {
        assert_int_equal(submit(done, 0), VD_ERR_PROTOCOL);
        context_kick(f.context, done + 1);
        wait_done(done + 1);
        assert_int_equal(submit(done + 1 + VD_MAX_IN_FLIGHT, 0), 0);
    }
    context_kick(f.context, done + VD_MAX_IN_FLIGHT);
    wait_done(done + VD_MAX_IN_FLIGHT);
}

/* Pictures that are not complete are given up without a word. */
static void test_destroy(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= 30; i++)
        assert_int_equal(submit(i, 0), 0);
    wait_taken(30);
    context_kick(f.context, 10);
    wait_done(10);
}

static void test_destroy_at_once(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= 30; i++)
        assert_int_equal(submit(i, i % 3 ? 0 : VD_ERR_LIMIT), 0);
}

/* The same through a session. */
static struct guest g;

static int setup_session(void **state)
{
    (void)state;
    reset(true);
    return guest_start(&g, &backend_holder) || guest_hello(&g) ||
           guest_context(&g, CONTEXT, 16, 16) || guest_surfaces(&g, VA_FOURCC_I420, SURFACE, 4);
}

static int teardown_session(void **state)
{
    (void)state;
    guest_stop(&g);
    return 0;
}

static void test_session_too_many(void **state)
{
    struct picture p;

    (void)state;
    picture_idr(&p, SURFACE);
    for (uint32_t i = 1; i <= VD_MAX_IN_FLIGHT; i++)
        assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, i, &p), 0);
    /* So many are fine; the guest waits before it sends more. */
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_I420, SURFACE + 8, 1), 0);
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, VD_MAX_IN_FLIGHT + 1, &p), 0);
    guest_join(&g);
    assert_int_equal(g.result, VD_ERR_PROTOCOL);
    assert_int_equal(holder.destroyed, 1);
}

static void test_session_kick(void **state)
{
    struct vd_context_slot *slot = &g.arena.status->contexts[VD_SLOT(CONTEXT)];
    struct picture p;

    (void)state;
    picture_idr(&p, SURFACE);
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, 1, &p), 0);
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE + 1, 1, &p), 0);
    assert_int_equal(guest_kick(&g, CONTEXT, 1), 0);
    assert_int_equal(guest_wait(&g, SURFACE, 1), 0);
    assert_int_equal(guest_slot(&g, SURFACE + 1)->done, 0);
    /* Its surface is gone, the picture still comes to its end, unseen. */
    assert_int_equal(guest_surface_destroy(&g, SURFACE + 1), 0);
    assert_int_equal(guest_kick(&g, CONTEXT, 2), 0);
    assert_int_equal(
        fence_wait(&slot->done, &slot->waiters, 2, GUEST_MS * 1000000ull, guest_host_alive, &g), 0);
    assert_int_equal(guest_slot(&g, SURFACE + 1)->done, 0);
    assert_int_equal(guest_context_destroy(&g, CONTEXT), 0);
    assert_int_equal(guest_stop(&g), 0);
}

static void test_session_refused_context(void **state)
{
    (void)state;
    holder.status = VD_ERR_UNSUPPORTED;
    assert_int_equal(guest_context(&g, CONTEXT + 1, 16, 16), VD_ERR_UNSUPPORTED);
    holder.status = 0;
    assert_int_equal(guest_context(&g, CONTEXT + 1, 16, 16), 0);
    assert_int_equal(STATS_GET(g.stats, contexts), 2);
}

#define TEST(name)    cmocka_unit_test_setup_teardown(name, setup, teardown)
#define SESSION(name) cmocka_unit_test_setup_teardown(name, setup_session, teardown_session)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create),          TEST(test_in_order),
        TEST(test_kick_numbers),    TEST(test_refused),
        TEST(test_in_flight),       TEST(test_destroy),
        TEST(test_destroy_at_once), SESSION(test_session_too_many),
        SESSION(test_session_kick), SESSION(test_session_refused_context),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
