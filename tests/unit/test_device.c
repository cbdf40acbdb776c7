/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <va/va.h>

#include "pool.h"

/* Pictures that lie on a device, and engines that have one: with a device of ours. */

#define SURFACE 0x30000002u
#define CONTEXT 0x20000001u

struct fake_frame {
    struct device_frame frame;
    uint8_t value; /* its first byte */
    int fetched, freed, err;
};

static int fake_fetch(struct device_frame *frame, const struct surface *surface, uint8_t *bytes)
{
    struct fake_frame *fake = (struct fake_frame *)frame;

    fake->fetched++;
    assert_non_null(surface);
    if (!fake->err)
        bytes[0] = fake->value;
    return fake->err;
}

static void fake_free(struct device_frame *frame)
{
    ((struct fake_frame *)frame)->freed++;
}

static const struct device_frame_ops fake_ops = {.fetch = fake_fetch, .free = fake_free};

static struct fake_frame fake(uint8_t value)
{
    return (struct fake_frame){.frame = {.ops = &fake_ops, .refs = 1}, .value = value};
}

static struct arena arena;
static struct pool *pool;
static struct surface *surface;

static int setup(void **state)
{
    (void)state;
    return arena_create(&arena, 16 << 20) || pool_create(&arena, 16 << 20, &pool) ||
           surface_create(pool, SURFACE, format_find(VA_FOURCC_I420), 16, 16, &surface);
}

static int teardown(void **state)
{
    (void)state;
    surface_unref(&surface);
    pool_trim(pool);
    assert_int_equal(pool_bytes(pool), 0);
    pool_destroy(pool);
    arena_finish(&arena);
    return 0;
}

static struct vd_surface_slot *slot(void)
{
    return &arena.status->surfaces[VD_SLOT(SURFACE)];
}

static void complete(struct fake_frame *frame, uint32_t sequence, bool fixed)
{
    struct device_frame *ref = &frame->frame;

    surface_complete_device(surface, sequence, ref, fixed, false, 0, 0);
    assert_int_equal(slot()->done, sequence);
    device_frame_unref(&ref);
}

static uint8_t look(void)
{
    uint32_t index;

    assert_int_equal(surface_back(surface, &index), 0);
    assert_int_equal(slot()->backing, index);
    return arena.base[arena.status->backings[index].offset];
}

static void test_lazy(void **state)
{
    struct fake_frame a = fake(1), b = fake(2);

    (void)state;
    complete(&a, 1, false);
    assert_int_equal(slot()->backing, VD_NO_BACKING);
    assert_int_equal(a.fetched, 0);
    assert_int_equal(a.freed, 0);
    assert_int_equal(look(), 1);
    assert_int_equal(look(), 1);
    assert_int_equal(a.fetched, 1);
    assert_int_equal(a.freed, 1);
    /* The next picture is not in that memory. */
    complete(&b, 2, false);
    assert_int_equal(slot()->backing, VD_NO_BACKING);
    assert_int_equal(look(), 2);
}

static void test_unseen(void **state)
{
    struct fake_frame a = fake(1), b = fake(2);

    (void)state;
    complete(&a, 1, false);
    complete(&b, 2, false);
    assert_int_equal(a.freed, 1);
    assert_int_equal(a.fetched, 0);
    assert_int_equal(pool_bytes(pool), 0);
    surface_retire(surface);
    surface_unref(&surface);
    assert_int_equal(b.freed, 1);
    assert_int_equal(surface_create(pool, SURFACE, format_find(VA_FOURCC_I420), 16, 16, &surface),
                     0);
}

static void test_fixed(void **state)
{
    struct fake_frame a = fake(1), b = fake(2);
    uint32_t index;

    (void)state;
    assert_int_equal(surface_back(surface, &index), 0);
    complete(&a, 1, true);
    assert_int_equal(slot()->backing, index);
    assert_int_equal(a.fetched, 1);
    assert_int_equal(arena.base[arena.status->backings[index].offset], 1);
    complete(&b, 2, true);
    assert_int_equal(slot()->backing, index);
    assert_int_equal(arena.base[arena.status->backings[index].offset], 2);
}

/* Memory that somebody has mapped is not what the next picture is fetched into. */
static void test_pinned(void **state)
{
    struct fake_frame a = fake(1), b = fake(2);
    uint32_t index;

    (void)state;
    complete(&a, 1, false);
    assert_int_equal(look(), 1);
    index = slot()->backing;
    arena.status->backings[index].pins++;
    complete(&b, 2, false);
    assert_int_equal(look(), 2);
    assert_int_not_equal(slot()->backing, index);
    assert_int_equal(arena.base[arena.status->backings[index].offset], 1);
    arena.status->backings[index].pins--;
}

/* A picture that cannot be fetched is an error, not an old one. */
static void test_fetch_fails(void **state)
{
    /* The surface has one of them until teardown. */
    static struct fake_frame a, b;
    uint32_t index;

    (void)state;
    a = fake(1);
    b = fake(2);
    a.err = b.err = VD_ERR_IO;
    complete(&a, 1, false);
    assert_int_equal(surface_back(surface, &index), VD_ERR_IO);
    assert_int_equal(slot()->backing, VD_NO_BACKING);
    complete(&b, 2, true);
    assert_int_equal(slot()->status, -VD_ERR_IO);
}

static void test_software_after(void **state)
{
    struct fake_frame a = fake(1);
    struct backing *backing;

    (void)state;
    complete(&a, 1, false);
    assert_int_equal(pool_get(surface, &backing), 0);
    backing->bytes[0] = 7;
    surface_complete(surface, 2, backing, 0, 0);
    pool_unref(&backing);
    assert_int_equal(a.freed, 1);
    assert_int_equal(look(), 7);
}

/* Who looks at each picture gets them without asking, and no longer when he stops. */
static void test_adapts(void **state)
{
    struct fake_frame frame;
    uint32_t sequence = 0;
    int unasked = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        frame = fake((uint8_t)i);
        complete(&frame, ++sequence, false);
        if (slot()->backing != VD_NO_BACKING)
            unasked++;
        assert_int_equal(look(), (uint8_t)i);
        assert_int_equal(frame.fetched, 1);
        assert_int_equal(frame.freed, 1);
    }
    assert_in_range(unasked, 70, 95);
    for (int i = 0; i < 100; i++) {
        struct device_frame *old;

        frame = fake(1);
        complete(&frame, ++sequence, false);
        /* The frame is on this stack: it goes before the next one comes. */
        old = surface->frame;
        surface->frame = NULL;
        if (old) {
            struct fake_frame next = fake(2);

            surface->frame = old;
            complete(&next, ++sequence, false);
            if (surface->frame) {
                assert_int_equal(next.fetched, 0);
                device_frame_unref(&surface->frame);
            }
        }
    }
    frame = fake(1);
    complete(&frame, ++sequence, false);
    assert_int_equal(slot()->backing, VD_NO_BACKING);
    device_frame_unref(&surface->frame);
}

static void test_native(void **state)
{
    struct fake_frame a = fake(1), b = fake(2);

    (void)state;
    surface_set_native(surface, &a.frame);
    surface_complete_device(surface, 1, &a.frame, false, false, 0, 0);
    surface_set_native(surface, &b.frame);
    assert_int_equal(a.freed, 0);
    assert_int_equal(look(), 1);
    assert_int_equal(a.freed, 1);
    surface_set_native(surface, NULL);
    assert_int_equal(b.freed, 1);
}

/* Engines in a session. */

static struct {
    int opens, closes, contexts, err;
} device;

static int device_open(const char *name, const struct backend_options *options, void **ret_device)
{
    assert_string_equal(name, "fake0");
    assert_non_null(options);
    if (device.err)
        return device.err;
    device.opens++;
    *ret_device = &device;
    return 0;
}

static void device_close(void *opaque)
{
    assert_ptr_equal(opaque, &device);
    device.closes++;
}

static int device_create(const struct backend_context_info *info, void **ret_context,
                         struct backend_context_traits *ret_traits)
{
    assert_ptr_equal(info->device, &device);
    device.contexts++;
    return backend_null.context_create(info, ret_context, ret_traits);
}

static struct backend backend_fake;
static struct guest g;

static int start(void)
{
    struct vd_cap cap = {.profile = VAProfileH264High,
                         .entrypoint = VAEntrypointVLD,
                         .rt_formats = VA_RT_FORMAT_YUV420,
                         .min_width = 16,
                         .min_height = 16,
                         .max_width = 64,
                         .max_height = 64,
                         .format_count = 1,
                         .formats = {VA_FOURCC_NV12}};

    backend_fake = backend_null;
    backend_fake.name = "fake";
    backend_fake.caps = NULL;
    backend_fake.open = device_open;
    backend_fake.close = device_close;
    backend_fake.context_create = device_create;
    memset(&device, 0, sizeof(device));
    memset(&g, 0, sizeof(g));
    g.arena.fd = -1;
    g.backends.count = 2;
    g.backends.at[0] = (struct engine){.backend = &backend_fake,
                                       .name = "fake:fake0",
                                       .device = "fake0",
                                       .caps = {cap},
                                       .cap_count = 1};
    g.backends.at[1] = (struct engine){.backend = &backend_null, .name = "null"};
    strcpy(g.backends.name, "fake+null");
    g.limits = (struct session_limits){.contexts = 4, .surfaces = 40, .bytes = 64 << 20};
    return mem_create_pair(&g.channel, &g.host_end);
}

static void run(void)
{
    message_init(&g.reader, g.channel);
    g.running = pthread_create(&g.thread, NULL, guest_serve, &g) == 0;
    assert_true(g.running);
    assert_int_equal(guest_hello(&g), 0);
}

static const struct vd_cap *cap_of(uint32_t profile)
{
    for (uint32_t i = 0; i < g.cap_count; i++) {
        if (g.caps[i].profile == profile)
            return &g.caps[i];
    }
    return NULL;
}

static void test_engine(void **state)
{
    (void)state;
    assert_int_equal(start(), 0);
    run();
    assert_string_equal(cap_of(VAProfileH264High)->engine, "fake:fake0");
    assert_int_equal(cap_of(VAProfileH264High)->max_width, 64);
    assert_string_equal(cap_of(VAProfileH264Main)->engine, "null");
    assert_int_equal(guest_context(&g, CONTEXT, 64, 64), 0);
    assert_int_equal(device.contexts, 1);
    assert_string_equal(g.stats.engine, "fake:fake0");
    assert_int_equal(guest_stop(&g), 0);
    assert_int_equal(device.opens, 1);
    assert_int_equal(device.closes, 1);
}

static void test_engine_gone(void **state)
{
    (void)state;
    assert_int_equal(start(), 0);
    device.err = VD_ERR_IO;
    run();
    assert_string_equal(cap_of(VAProfileH264High)->engine, "null");
    assert_int_equal(guest_context(&g, CONTEXT, 128, 128), 0);
    assert_int_equal(guest_stop(&g), 0);
    assert_int_equal(device.closes, 0);
}

/* A device that has nothing to do is not opened. */
static void test_engine_idle(void **state)
{
    struct engine first;

    (void)state;
    assert_int_equal(start(), 0);
    first = g.backends.at[0];
    g.backends.at[0] = g.backends.at[1];
    g.backends.at[1] = first;
    run();
    assert_string_equal(cap_of(VAProfileH264High)->engine, "null");
    assert_int_equal(guest_stop(&g), 0);
    assert_int_equal(device.opens, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lazy),
        TEST(test_unseen),
        TEST(test_fixed),
        TEST(test_pinned),
        TEST(test_fetch_fails),
        TEST(test_software_after),
        TEST(test_adapts),
        TEST(test_native),
        cmocka_unit_test(test_engine),
        cmocka_unit_test(test_engine_gone),
        cmocka_unit_test(test_engine_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
