/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#include <va/va.h>
#include <viaduct/errors.h>

#include "surface_read.h"

/*
 * Reading a surface's picture while others write to it. The test is the dispatcher: it says which
 * picture was submitted, and completes them as a context's thread would.
 */

#define SURFACE 0x30000002u
#define WRITER  0x20000001u

static struct fixture {
    struct arena arena;
    struct pool *pool;
    struct surface *surface;
} f;

static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof(f));
    if (arena_create(&f.arena, 16 << 20) || pool_create(&f.arena, 16 << 20, &f.pool) ||
        surface_create(f.pool, SURFACE, format_find(VA_FOURCC_NV12), 16, 16, &f.surface))
        return 1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    /* No read left anything behind. */
    assert_null(f.surface->reads);
    assert_int_equal(f.surface->refs, 1);
    surface_unref(&f.surface);
    pool_trim(f.pool);
    assert_int_equal(pool_bytes(f.pool), 0);
    pool_destroy(f.pool);
    arena_finish(&f.arena);
    return 0;
}

/* A picture is submitted that will be written to the surface. */
static void submit(uint32_t sequence)
{
    f.surface->submitted = true;
    f.surface->written = sequence;
    f.surface->writer = WRITER;
    f.surface->writer_picture = sequence;
}

/* It is complete; all its bytes are `value`. */
static void complete(uint32_t sequence, uint8_t value, int status)
{
    struct backing *backing = NULL;

    if (status != VD_ERR_DECODE) {
        assert_int_equal(pool_get(f.surface, &backing), 0);
        memset(backing->bytes, value, (size_t)f.surface->layout.size);
    }
    surface_complete(f.surface, sequence, backing, status, 0);
    pool_unref(&backing);
}

static uint8_t first_byte(struct surface_read *read)
{
    struct pixels pixels;

    assert_int_equal(surface_read_pixels(read, &pixels), 0);
    assert_int_equal(pixels.width, 16);
    assert_ptr_equal(pixels.format, f.surface->format);
    return pixels.bytes[0];
}

/* Nobody ever wrote to it. */
static void test_never_written(void **state)
{
    struct surface_read read;

    (void)state;
    surface_read_begin(f.surface, &read);
    assert_int_equal(surface_read_wait(&read), 0);
    assert_int_equal(first_byte(&read), 0);
    surface_read_end(&read);
    surface_read_end(&read);
}

static void test_complete(void **state)
{
    struct surface_read read;

    (void)state;
    submit(1);
    complete(1, 11, 0);
    surface_read_begin(f.surface, &read);
    assert_int_equal(surface_read_wait(&read), 0);
    assert_int_equal(first_byte(&read), 11);
    surface_read_end(&read);
}

/* A read is of the picture that was the last one when it began. */
static void test_newer_picture(void **state)
{
    struct surface_read old, new;

    (void)state;
    submit(1);
    surface_read_begin(f.surface, &old);
    assert_false(old.ready);
    submit(2);
    surface_read_begin(f.surface, &new);
    complete(1, 11, 0);
    assert_true(old.ready);
    assert_false(new.ready);
    complete(2, 22, 0);
    assert_true(new.ready);
    assert_int_equal(first_byte(&old), 11);
    assert_int_equal(first_byte(&new), 22);
    surface_read_end(&old);
    assert_int_equal(first_byte(&new), 22);
    surface_read_end(&new);
}

/* Two contexts write to one surface, and the second is faster: the newer picture stays. */
static void test_out_of_order(void **state)
{
    struct surface_read old, new, late;

    (void)state;
    submit(1);
    surface_read_begin(f.surface, &old);
    submit(2);
    surface_read_begin(f.surface, &new);
    complete(2, 22, 0);
    assert_true(new.ready);
    assert_true(old.ready);
    assert_int_equal(first_byte(&new), 22);
    /* The older one will never be the surface's. */
    assert_int_equal(first_byte(&old), 22);
    complete(1, 11, 0);
    surface_read_begin(f.surface, &late);
    assert_int_equal(surface_read_wait(&late), 0);
    assert_int_equal(first_byte(&late), 22);
    surface_read_end(&old);
    surface_read_end(&new);
    surface_read_end(&late);
}

/* Sequence numbers wrap. */
static void test_wrap(void **state)
{
    struct surface_read read;

    (void)state;
    f.surface->bound = f.surface->published = UINT32_MAX;
    submit(0);
    surface_read_begin(f.surface, &read);
    assert_false(read.ready);
    complete(0, 33, 0);
    assert_int_equal(surface_read_wait(&read), 0);
    assert_int_equal(first_byte(&read), 33);
    surface_read_end(&read);
}

static void test_damaged(void **state)
{
    struct surface_read read;

    (void)state;
    submit(1);
    complete(1, 11, 0);
    submit(2);
    surface_read_begin(f.surface, &read);
    complete(2, 0, VD_ERR_DECODE);
    assert_int_equal(surface_read_wait(&read), VD_ERR_DECODE);
    /* What the app would see, too: the picture before. */
    assert_int_equal(first_byte(&read), 11);
    surface_read_end(&read);
}

static void test_given_up(void **state)
{
    struct surface_read read, after;

    (void)state;
    submit(1);
    surface_read_begin(f.surface, &read);
    surface_give_up(f.surface, 1);
    assert_int_equal(surface_read_wait(&read), VD_ERR_GONE);
    surface_read_end(&read);
    /* Who comes later does not wait for it. */
    surface_read_begin(f.surface, &after);
    assert_int_equal(surface_read_wait(&after), 0);
    assert_int_equal(first_byte(&after), 0);
    surface_read_end(&after);
}

static void test_cancelled(void **state)
{
    struct surface_read read[3];

    (void)state;
    submit(1);
    for (size_t i = 0; i < COUNT(read); i++)
        surface_read_begin(f.surface, &read[i]);
    surface_read_cancel(&read[1], VD_ERR_GONE);
    surface_read_cancel(&read[1], VD_ERR_DECODE); /* too late */
    assert_int_equal(surface_read_wait(&read[1]), VD_ERR_GONE);
    assert_false(read[0].ready || read[2].ready);
    surface_read_end(&read[0]); /* while it waits */
    complete(1, 11, 0);
    assert_int_equal(surface_read_wait(&read[2]), 0);
    surface_read_cancel(&read[2], VD_ERR_GONE);
    assert_int_equal(surface_read_wait(&read[2]), 0);
    surface_read_end(&read[1]);
    surface_read_end(&read[2]);
}

static void *wait_for(void *arg)
{
    struct surface_read *read = arg;

    return (void *)(intptr_t)surface_read_wait(read);
}

/* Another thread waits: it is woken by completion, and by who cancels. */
static void test_threads(void **state)
{
    struct surface_read read;
    pthread_t thread;
    void *result;

    (void)state;
    for (uint32_t i = 1; i <= 200; i++) {
        submit(i);
        surface_read_begin(f.surface, &read);
        assert_int_equal(pthread_create(&thread, NULL, wait_for, &read), 0);
        if (i % 2)
            complete(i, (uint8_t)i, 0);
        else
            surface_read_cancel(&read, VD_ERR_GONE);
        assert_int_equal(pthread_join(thread, &result), 0);
        assert_int_equal((intptr_t)result, i % 2 ? 0 : VD_ERR_GONE);
        if (i % 2)
            assert_int_equal(first_byte(&read), (uint8_t)i);
        surface_read_end(&read);
    }
}

/* The surface goes, the picture that is being read stays. */
static void test_destroyed(void **state)
{
    struct surface_read read;
    struct surface *surface;

    (void)state;
    assert_int_equal(
        surface_create(f.pool, SURFACE + 1, format_find(VA_FOURCC_NV12), 16, 16, &surface), 0);
    surface->written = surface->writer = 1;
    surface_read_begin(surface, &read);
    surface_retire(surface);
    surface_unref(&surface);
    surface_give_up(read.surface, 1);
    assert_int_equal(surface_read_wait(&read), VD_ERR_GONE);
    surface_read_end(&read);
}

/* Memory of the app's own is read as it is now: it may have been written without us. */
static void test_imported(void **state)
{
    struct vd_surface_import_req req = {
        .surface = SURFACE, .planes = 2, .size = 8192, .pitch = {32, 32}, .offset = {0, 4096}};
    int fd = memfd_create("test", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    struct surface_read read;
    struct pixels pixels;
    uint8_t *bytes;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 8192), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    bytes = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(bytes, MAP_FAILED);
    assert_int_equal(surface_import(f.surface, fd, &req), 0);
    bytes[0] = 77;
    surface_read_begin(f.surface, &read);
    assert_int_equal(surface_read_wait(&read), 0);
    assert_int_equal(surface_read_pixels(&read, &pixels), 0);
    assert_int_equal(pixels.bytes[0], 77);
    assert_int_equal(pixels.layout->pitch[0], 32);
    assert_int_equal(pixels.layout->offset[1], 4096);
    surface_read_end(&read);
    /* Pictures are copied into it before a read of them is ready. */
    submit(1);
    surface_read_begin(f.surface, &read);
    complete(1, 55, 0);
    assert_int_equal(surface_read_wait(&read), 0);
    assert_int_equal(first_byte(&read), 55);
    assert_int_equal(bytes[0], 55);
    surface_read_end(&read);
    munmap(bytes, 8192);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_never_written), TEST(test_complete),  TEST(test_newer_picture),
        TEST(test_out_of_order),  TEST(test_wrap),      TEST(test_damaged),
        TEST(test_given_up),      TEST(test_cancelled), TEST(test_threads),
        TEST(test_destroyed),     TEST(test_imported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
