/* SPDX-License-Identifier: MIT */
/*
 * What a program with a libdrm inside (browsers, static builds of FFmpeg) finds on a machine
 * without a render node, under `viaduct exec`: one device on the platform bus, which opens.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xf86drm.h>

#include <cmocka.h>

#define NODE "/dev/dri/renderD128"

static void test_devices(void **state)
{
    drmDevicePtr devices[4] = {NULL}, device = NULL;
    drmVersionPtr version;
    char *name;
    int fd;

    (void)state;
    /* Not by libc, which would be answered for. */
    if (!syscall(SYS_faccessat, AT_FDCWD, NODE, F_OK)) {
        print_message("a real render node is here\n");
        skip();
    }
    assert_int_equal(drmGetDevices2(0, NULL, 0), 1);
    assert_int_equal(drmGetDevices2(0, devices, 4), 1);
    assert_int_equal(devices[0]->bustype, DRM_BUS_PLATFORM);
    assert_int_equal(devices[0]->available_nodes, 1 << DRM_NODE_RENDER);
    assert_string_equal(devices[0]->nodes[DRM_NODE_RENDER], NODE);
    assert_string_equal(devices[0]->businfo.platform->fullname, "/viaduct");
    drmFreeDevices(devices, 1);

    fd = open(NODE, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(drmGetNodeTypeFromFd(fd), DRM_NODE_RENDER);
    version = drmGetVersion(fd);
    assert_non_null(version);
    assert_string_equal(version->name, "viaduct");
    drmFreeVersion(version);
    assert_int_equal(drmGetDevice2(fd, 0, &device), 0);
    assert_string_equal(device->nodes[DRM_NODE_RENDER], NODE);
    drmFreeDevice(&device);
    name = drmGetRenderDeviceNameFromFd(fd);
    assert_string_equal(name, NODE);
    free(name);
    name = drmGetDeviceNameFromFd2(fd);
    assert_string_equal(name, NODE);
    free(name);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_devices)};

    return cmocka_run_group_tests_name("static_drm", tests, NULL, NULL);
}
