/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <fcntl.h>
#include <sys/mman.h>

/* Descriptors that a guest sends: with SURFACE_IMPORT, and where nobody asked for one. */

#define CONTEXT 0x20000001u
#define SURFACE 0x30000000u

static struct guest g;
static int descriptors;

static int setup(void **state)
{
    (void)state;
    descriptors = check_descriptors();
    return guest_start(&g, &backend_null) || guest_hello(&g) ||
           guest_context(&g, CONTEXT, 16, 16) || guest_surfaces(&g, VA_FOURCC_I420, SURFACE, 4);
}

static int teardown(void **state)
{
    (void)state;
    guest_stop(&g);
    assert_int_equal(check_descriptors(), descriptors);
    return 0;
}

static void ended(int reason)
{
    guest_join(&g);
    assert_int_equal(g.result, reason);
}

/* Pictures go to memory of the app's own, if it cannot be taken away and is large enough. */
static int import(uint32_t surface, int fd, uint32_t planes, uint64_t size)
{
    const struct dispatch_call *call = dispatch_find(VD_OP_surface_import);
    struct vd_surface_import_req req = {surface, planes, size, {64, 64, 64, 0}, {0, 4096, 8192, 0}};
    struct vd_surface_import_rep rep;
    struct dispatch_message message;
    const uint8_t *bytes;
    size_t got;
    int err, none;

    err = message_send(g.channel, VD_OP_surface_import, ++g.serial, &req, sizeof(req), NULL, 0, 0,
                       fd, GUEST_MS);
    if (fd >= 0)
        close(fd);
    if (!err)
        err = message_read(&g.reader, GUEST_MS, &bytes, &got, &none);
    if (err)
        return err;
    assert_int_equal(dispatch_check_reply(bytes, got, call, g.serial, &message), 0);
    memcpy(&rep, message.fixed, sizeof(rep));
    return -(int)rep.status;
}

static int memory(uint64_t size, int seals)
{
    int fd = memfd_create("import", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_true(!seals || !fcntl(fd, F_ADD_SEALS, seals));
    return fd;
}

static void test_import(void **state)
{
    struct picture p;
    int pair[2];

    (void)state;
    assert_int_equal(pipe(pair), 0);
    close(pair[1]);
    assert_int_equal(import(SURFACE, memory(12288, 0), 3, 12288), VD_ERR_PARAMETER);
    assert_int_equal(import(SURFACE, memory(12288, F_SEAL_GROW), 3, 12288), VD_ERR_PARAMETER);
    assert_int_equal(import(SURFACE, memory(8192, F_SEAL_SHRINK), 3, 12288), VD_ERR_PARAMETER);
    assert_int_equal(import(SURFACE, memory(12288, F_SEAL_SHRINK), 2, 12288), VD_ERR_PARAMETER);
    assert_int_equal(import(SURFACE, memory(12288, F_SEAL_SHRINK), 3, 8500), VD_ERR_PARAMETER);
    assert_int_equal(import(SURFACE, memory(12288, F_SEAL_SHRINK), 3, 0), VD_ERR_PARAMETER);
    assert_int_equal(import(SURFACE, memory(12288, F_SEAL_SHRINK), 3, UINT64_MAX),
                     VD_ERR_PARAMETER);
    assert_int_equal(import(SURFACE, pair[0], 3, 12288), VD_ERR_PARAMETER);
    assert_int_equal(import(SURFACE, memory(12288, F_SEAL_SHRINK), 3, 12288), 0);
    assert_int_equal(import(SURFACE, memory(12288, F_SEAL_SHRINK), 3, 12288), VD_ERR_PARAMETER);
    picture_idr(&p, SURFACE);
    assert_int_equal(guest_submit(&g, CONTEXT, SURFACE, 1, &p), 0);
    assert_int_equal(guest_wait(&g, SURFACE, 1), 0);
}

/* A file can be cut short at any time, whatever it lies on. */
static void test_import_file(void **state)
{
    char path[] = "./viaduct-import-XXXXXX";
    int file = mkstemp(path);

    (void)state;
    unlink(path);
    assert_int_equal(ftruncate(file, 12288), 0);
    assert_int_equal(import(SURFACE, file, 3, 12288), VD_ERR_PARAMETER);
}

static void test_import_nothing(void **state)
{
    (void)state;
    assert_int_equal(import(SURFACE, -1, 3, 12288), VD_ERR_GONE);
    ended(VD_ERR_PROTOCOL);
}

static void test_import_foreign(void **state)
{
    (void)state;
    assert_int_equal(import(SURFACE + 30, memory(12288, F_SEAL_SHRINK), 3, 12288), VD_ERR_GONE);
    ended(VD_ERR_PROTOCOL);
}

/* Descriptors nobody asked for are closed. */
static void test_unwanted_descriptor(void **state)
{
    struct vd_kick_req req = {CONTEXT, 1};

    (void)state;
    for (int i = 0; i < 50; i++) {
        int fd = memory(4096, 0);

        assert_int_equal(
            message_send(g.channel, VD_OP_kick, 0, &req, sizeof(req), NULL, 0, 0, fd, GUEST_MS), 0);
        close(fd);
    }
    assert_int_equal(guest_surfaces(&g, VA_FOURCC_NV12, SURFACE + 39, 1), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_import),         TEST(test_import_file),         TEST(test_import_nothing),
        TEST(test_import_foreign), TEST(test_unwanted_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
