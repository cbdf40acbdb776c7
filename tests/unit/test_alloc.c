/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <errno.h>
#include <stdatomic.h>

/*
 * The n-th allocation or thread of a session fails, for every n there is. Linked with
 * --wrap: only calls from Viaduct's own objects come here, libavcodec's do not. The test's own
 * thread is spared.
 */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *bytes, size_t size);
int __real_posix_memalign(void **ret, size_t align, size_t size);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *bytes, size_t size);
int __wrap_posix_memalign(void **ret, size_t align, size_t size);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);

static atomic_int countdown; /* 0: nothing fails */
static atomic_int failures;
static _Thread_local bool spared;

static bool fails(void)
{
    if (spared || !atomic_load(&countdown) || atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    atomic_fetch_add(&failures, 1);
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *bytes, size_t size)
{
    return fails() ? NULL : __real_realloc(bytes, size);
}

int __wrap_posix_memalign(void **ret, size_t align, size_t size)
{
    return fails() ? ENOMEM : __real_posix_memalign(ret, align, size);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg)
{
    return fails() ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

#define CONTEXT 0x20000001u
#define SURFACE 0x30000000u

/* Goes on as far as the host lets it; what was lost on the way is an error, never a wait. */
static int script(struct guest *g, uint32_t fourcc)
{
    struct vd_surface_back_req back = {SURFACE + 3, 0};
    struct vd_surface_back_rep rep;
    struct picture p;
    int err = guest_hello(g);

    if (!err)
        err = guest_context(g, CONTEXT, 16, 16);
    if (!err)
        err = guest_surfaces(g, fourcc, SURFACE, 4);
    for (uint32_t i = 0; i < 6 && !err; i++) {
        if (i)
            picture_p(&p, SURFACE + i % 3, SURFACE + (i - 1) % 3, i);
        else
            picture_idr(&p, SURFACE);
        err = guest_submit(g, CONTEXT, SURFACE + i % 3, i / 3 + 1, &p);
        if (!err)
            err = guest_kick(g, CONTEXT, i + 1);
        if (!err && guest_wait(g, SURFACE + i % 3, i / 3 + 1) == VD_ERR_TIMEOUT)
            fail();
    }
    if (!err)
        err = guest_call(g, VD_OP_surface_back, &back, NULL, 0, &rep);
    if (!err)
        err = guest_surface_destroy(g, SURFACE);
    if (!err)
        err = guest_context(g, CONTEXT + 1, 16, 16);
    if (!err)
        err = guest_context_destroy(g, CONTEXT);
    return err;
}

static void fail_each(const struct backend *backend, uint32_t fourcc)
{
    int n = 1, before;

    spared = true;
    /* Once without, so that what is made only once exists. */
    for (bool failed = true; failed; n++) {
        static struct guest g;

        atomic_store(&countdown, 0);
        before = check_descriptors();
        atomic_store(&failures, 0);
        atomic_store(&countdown, n - 1);
        assert_int_equal(guest_start(&g, backend), 0);
        script(&g, fourcc);
        guest_stop(&g);
        assert_true(g.result == 0 || g.result == VD_ERR_MEMORY || g.result == VD_ERR_PROTOCOL);
        failed = n == 1 || atomic_load(&failures) > 0;
        atomic_store(&countdown, 0);
        assert_int_equal(check_descriptors(), before);
        assert_true(n < 2000);
    }
    assert_true(n > 10);
}

static void test_null(void **state)
{
    (void)state;
    fail_each(&backend_null, VA_FOURCC_I420);
}

static void test_avcodec(void **state)
{
    static const struct backend_options options = {.threads = 2};
    static struct backend_set set;

    (void)state;
    if (engine_select("avcodec:software", &options, &set))
        skip();
    fail_each(set.at[0].backend, VA_FOURCC_I420);
    fail_each(set.at[0].backend, VA_FOURCC_NV12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_avcodec),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
