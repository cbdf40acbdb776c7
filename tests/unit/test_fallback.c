/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>
#include <va/va_backend.h>

/*
 * The driver under another driver's name, as packages install it. Arguments of the program: the
 * driver, and other_driver.c.
 */

static const char *driver_file, *other_file;
static char folder[] = "/tmp/viaduct-fallback-XXXXXX";
static char own[64], taken[64], kept[64];

static void copy(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    struct stat st;

    assert_true(in >= 0 && out >= 0 && !fstat(in, &st));
    while (st.st_size > 0) {
        ssize_t n = sendfile(out, in, NULL, (size_t)st.st_size);

        assert_true(n > 0);
        st.st_size -= n;
    }
    close(in);
    close(out);
}

static int setup(void **state)
{
    (void)state;
    setenv("VIADUCT_HOST", "unix:/nonexistent/viaduct.sock", 1);
    if (!mkdtemp(folder))
        return 1;
    snprintf(own, sizeof(own), "%s/viaduct_drv_video.so", folder);
    snprintf(taken, sizeof(taken), "%s/virtio_gpu_drv_video.so", folder);
    snprintf(kept, sizeof(kept), "%s/virtio_gpu_drv_video.so.distrib", folder);
    copy(driver_file, own);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(own);
    unlink(taken);
    unlink(kept);
    return rmdir(folder);
}

static VAStatus init(const char *path, struct VADriverContext *ctx)
{
    void *module = dlopen(path, RTLD_NOW);
    VADriverInit function;
    VAStatus status;

    if (!module)
        fail_msg("%s", dlerror());
    *(void **)&function = dlsym(module, "__vaDriverInit_1_0");
    assert_non_null(function);
    status = function(ctx);
    dlclose(module);
    return status;
}

/* Only under another name, and only if that one was there before. */
static void test_fallback(void **state)
{
    struct VADriverVTable vtable = {0};
    struct VADriverContext ctx = {.vtable = &vtable};

    (void)state;
    assert_int_equal(symlink("viaduct_drv_video.so", taken), 0);
    assert_int_equal(init(taken, &ctx), VA_STATUS_ERROR_OPERATION_FAILED);
    /* Not a module at all. */
    copy("/proc/self/cmdline", kept);
    assert_int_equal(init(taken, &ctx), VA_STATUS_ERROR_OPERATION_FAILED);
    assert_int_equal(unlink(kept), 0);
    copy(other_file, kept);
    assert_int_equal(init(own, &ctx), VA_STATUS_ERROR_OPERATION_FAILED);
    assert_null(ctx.str_vendor);
    assert_int_equal(init(taken, &ctx), VA_STATUS_SUCCESS);
    assert_string_equal(ctx.str_vendor, "other");
    ctx.x11_screen = 1;
    assert_int_equal(init(taken, &ctx), VA_STATUS_ERROR_HW_BUSY);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fallback, setup, teardown),
    };

    if (argc < 3)
        return 2;
    driver_file = argv[1];
    other_file = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
