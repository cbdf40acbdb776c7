/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <transport/arena.h>
#include <unistd.h>
#include <viaduct/errors.h>

#define SMALL (1ull << 20)

static const uint64_t align = 2ull << 20;

static struct vd_hello_rep describe(const struct arena *arena)
{
    return (struct vd_hello_rep){
        .arena_size = arena->size,
        .upload_offset = arena->upload_offset,
        .upload_size = arena->upload_size,
        .frame_offset = arena->frame_offset,
        .frame_size = arena->frame_size,
    };
}

static void test_create(void **state)
{
    int before = check_descriptors(), seals;
    struct arena arena;
    struct stat st;

    (void)state;
    assert_int_equal(arena_create(&arena, SMALL), 0);
    assert_ptr_equal(arena.status, arena.base);
    assert_true(arena.upload_offset >= sizeof(struct vd_status_page));
    assert_true(arena.frame_offset >= arena.upload_offset + arena.upload_size);
    assert_true(arena.size >= arena.frame_offset + arena.frame_size);
    assert_int_equal(arena.upload_size, VD_UPLOAD_BYTES);
    assert_int_equal(arena.frame_size, align);
    assert_int_equal(arena.frame_offset % align, 0);
    assert_int_equal((uintptr_t)arena.base % 4096, 0);
    assert_int_equal(fstat(arena.fd, &st), 0);
    assert_int_equal(st.st_size, arena.size);
    assert_true(st.st_blocks < 64); /* sparse */
    assert_int_equal(fcntl(arena.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    seals = fcntl(arena.fd, F_GET_SEALS);
    assert_int_equal(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
                     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    assert_true(ftruncate(arena.fd, 4096) < 0);
    assert_true(ftruncate(arena.fd, (off_t)arena.size + 4096) < 0);
    /* All of it can be touched. */
    arena.base[0] = 1;
    arena.base[arena.size - 1] = 2;
    arena_finish(&arena);
    assert_int_equal(arena.fd, -1);
    assert_null(arena.base);
    arena_finish(&arena);
    assert_int_equal(check_descriptors(), before);
}

static void test_share(void **state)
{
    int before = check_descriptors();
    struct arena host, guest;
    struct vd_hello_rep hello;

    (void)state;
    assert_int_equal(arena_create(&host, SMALL), 0);
    hello = describe(&host);
    assert_int_equal(arena_open(&guest, dup(host.fd), &hello), 0);
    assert_ptr_not_equal(guest.base, host.base);
    host.status->consumed = 0x12345678;
    assert_int_equal(guest.status->consumed, 0x12345678);
    guest.base[guest.upload_offset + 5] = 77;
    assert_int_equal(host.base[host.upload_offset + 5], 77);
    host.base[host.frame_offset + host.frame_size - 1] = 78;
    assert_int_equal(guest.base[guest.frame_offset + guest.frame_size - 1], 78);
    /* Given back to the system: zero again, also in the middle of nothing. */
    arena_discard(&host, host.frame_offset, host.frame_size);
    assert_int_equal(guest.base[guest.frame_offset + guest.frame_size - 1], 0);
    assert_int_equal(guest.base[guest.upload_offset + 5], 77);
    arena_finish(&guest);
    arena_finish(&host);
    assert_int_equal(check_descriptors(), before);
}

static void test_view(void **state)
{
    struct arena arena;
    uint8_t *shared, *own;

    (void)state;
    assert_int_equal(arena_create(&arena, SMALL), 0);
    shared = arena_view(arena.fd, arena.frame_offset, arena.frame_size, false);
    own = arena_view(arena.fd, arena.frame_offset, arena.frame_size, true);
    assert_non_null(shared);
    assert_non_null(own);
    arena.base[arena.frame_offset] = 1;
    assert_int_equal(shared[0], 1);
    assert_int_equal(own[0], 1);
    own[0] = 2;
    own[arena.frame_size - 1] = 2;
    assert_int_equal(arena.base[arena.frame_offset], 1);
    shared[1] = 3;
    assert_int_equal(arena.base[arena.frame_offset + 1], 3);
    /* Odd places and sizes map, too. */
    assert_int_equal(munmap(shared, arena.frame_size), 0);
    shared = arena_view(arena.fd, arena.upload_offset + 4096, 12288, false);
    assert_non_null(shared);
    shared[12287] = 9;
    assert_int_equal(arena.base[arena.upload_offset + 4096 + 12287], 9);
    munmap(shared, 12288);
    munmap(own, arena.frame_size);
    assert_null(arena_view(-1, 0, 4096, false));
    arena_finish(&arena);
}

/* The fd belongs to the arena also when it is refused. */
static void refuse(int fd, const struct vd_hello_rep *hello)
{
    struct arena arena;

    assert_int_equal(arena_open(&arena, fd, hello), VD_ERR_PROTOCOL);
    assert_int_equal(arena.fd, -1);
    assert_null(arena.base);
    assert_true(fd < 0 || fcntl(fd, F_GETFD) < 0);
}

static int make_memfd(uint64_t size, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_true(!seals || fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

static void test_refuse_descriptor(void **state)
{
    struct vd_hello_rep hello;
    struct arena arena;
    int pair[2];

    (void)state;
    assert_int_equal(arena_create(&arena, SMALL), 0);
    hello = describe(&arena);
    refuse(-1, &hello);
    refuse(make_memfd(arena.size, 0), &hello);
    refuse(make_memfd(arena.size, F_SEAL_GROW), &hello);
    refuse(make_memfd(arena.size - 4096, F_SEAL_SHRINK), &hello);
    refuse(make_memfd(arena.size + 4096, F_SEAL_SHRINK), &hello);
    refuse(make_memfd(0, F_SEAL_SHRINK), &hello);
    assert_int_equal(pipe(pair), 0);
    refuse(pair[0], &hello);
    close(pair[1]);
    refuse(open("/dev/zero", O_RDWR | O_CLOEXEC), &hello);
    arena_finish(&arena);
}

static void test_refuse_zones(void **state)
{
    const uint64_t page = 4096;
    struct vd_hello_rep good, hello;
    struct arena arena, guest;

    (void)state;
    assert_int_equal(arena_create(&arena, SMALL), 0);
    good = describe(&arena);
    assert_int_equal(arena_open(&guest, dup(arena.fd), &good), 0);
    arena_finish(&guest);
#define REFUSE(field, value)           \
    do {                               \
        hello = good;                  \
        hello.field = (value);         \
        refuse(dup(arena.fd), &hello); \
    } while (0)
    REFUSE(arena_size, 0);
    REFUSE(arena_size, good.arena_size - page);
    REFUSE(arena_size, UINT64_MAX);
    REFUSE(upload_offset, 0);
    REFUSE(upload_offset, page);
    REFUSE(upload_offset, good.upload_offset + 8);
    REFUSE(upload_offset, good.arena_size + page);
    REFUSE(upload_offset, UINT64_MAX - page + 1);
    REFUSE(upload_size, good.arena_size);
    REFUSE(upload_size, UINT64_MAX);
    REFUSE(upload_size, UINT64_MAX - good.upload_offset + 1);
    REFUSE(frame_offset, 0);
    REFUSE(frame_offset, page);
    REFUSE(frame_offset, good.frame_offset + 64);
    REFUSE(frame_offset, good.frame_offset + page);
    REFUSE(frame_offset, UINT64_MAX - page + 1);
    REFUSE(frame_size, good.frame_size + 1);
    REFUSE(frame_size, UINT64_MAX);
    REFUSE(frame_size, UINT64_MAX - good.frame_offset + 1);
#undef REFUSE
    arena_finish(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),       cmocka_unit_test(test_share),
        cmocka_unit_test(test_view),         cmocka_unit_test(test_refuse_descriptor),
        cmocka_unit_test(test_refuse_zones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
