/* SPDX-License-Identifier: MIT */
/* Both names of every call are defined below, so no macro may turn one into the other. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include "display_shim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <drm.h>

/*
 * For programs with a libdrm of their own inside (browsers, static builds of FFmpeg), whose
 * functions cannot be replaced: what that reads of /sys about the node's device, as if it were on
 * the platform bus, and the one ioctl that names the driver.
 */
#define NEXT(name) ((__typeof__(&name))display_next(&next_##name, NULL, #name))
#define SLOT(name) static display_function next_##name

#define NODE   "/sys/dev/char/226:128"
#define DEVICE NODE "/device"

SLOT(readlink);
SLOT(readlinkat);
SLOT(fopen);
SLOT(fopen64);
SLOT(ioctl);

/* libdrm's drmParsePlatformBusInfo and drmParsePlatformDeviceInfo */
static const char device_uevent[] = "DRIVER=viaduct\nOF_FULLNAME=/viaduct\nOF_COMPATIBLE_N=1\n"
                                    "OF_COMPATIBLE_0=viaduct\nMODALIAS=platform:viaduct\n";

static const char node_uevent[] =
    "MAJOR=226\nMINOR=128\nDEVNAME=dri/" DISPLAY_NAME "\nDEVTYPE=drm_minor\n";

static bool is_device(const char *path, const char *name)
{
    size_t prefix = sizeof(DEVICE) - 1;

    return path && !strncmp(path, DEVICE, prefix) && !strcmp(path + prefix, name) &&
           display_active();
}

bool display_sysfs_list(const char *path)
{
    return is_device(path, "/drm");
}

bool display_sysfs_dir(const char *path)
{
    return is_device(path, "") || display_sysfs_list(path);
}

/* The text behind a path, opened for reading; NULL: not ours. */
static FILE *answer_file(const char *path, const char *mode)
{
    const char *text = NULL;

    if (!mode || mode[0] != 'r')
        return NULL;
    if (is_device(path, "/uevent"))
        text = device_uevent;
    else if (path && !strcmp(path, NODE "/uevent") && display_active())
        text = node_uevent;
    return text ? fmemopen((void *)(uintptr_t)text, strlen(text), "r") : NULL;
}

static bool answer_link(const char *path, char *bytes, size_t room, ssize_t *ret_size)
{
    static const char target[] = "../../../../bus/platform";
    size_t size = sizeof(target) - 1;

    if (!is_device(path, "/subsystem"))
        return false;
    if (size > room)
        size = room;
    memcpy(bytes, target, size);
    *ret_size = (ssize_t)size;
    return true;
}

DISPLAY_EXPORT ssize_t readlink(const char *restrict path, char *restrict bytes, size_t room)
{
    ssize_t size;

    return answer_link(path, bytes, room, &size) ? size : NEXT(readlink)(path, bytes, room);
}

DISPLAY_EXPORT ssize_t readlinkat(int dir, const char *restrict path, char *restrict bytes,
                                  size_t room)
{
    ssize_t size;

    return answer_link(path, bytes, room, &size) ? size : NEXT(readlinkat)(dir, path, bytes, room);
}

#define FOPEN(name)                                                                 \
    DISPLAY_EXPORT FILE *name(const char *restrict path, const char *restrict mode) \
    {                                                                               \
        FILE *file = answer_file(path, mode);                                       \
                                                                                    \
        return file ? file : NEXT(name)(path, mode);                                \
    }

FOPEN(fopen)
FOPEN(fopen64)

static void fill(char *to, size_t *length, const char *text)
{
    size_t size = strlen(text);

    if (to && *length)
        memcpy(to, text, size < *length ? size : *length);
    *length = size;
}

/* libc's third argument is whatever the request says; all of them are as wide as a pointer. */
DISPLAY_EXPORT int ioctl(int fd, unsigned long request, ...)
{
    struct drm_version *version;
    va_list args;
    void *arg;

    va_start(args, request);
    arg = va_arg(args, void *);
    va_end(args);
    if (request != DRM_IOCTL_VERSION || !display_owns(fd))
        return NEXT(ioctl)(fd, request, arg);
    version = arg;
    if (!version) {
        errno = EFAULT;
        return -1;
    }
    version->version_major = 1;
    version->version_minor = version->version_patchlevel = 0;
    fill(version->name, &version->name_len, DISPLAY_DRIVER);
    fill(version->date, &version->date_len, DISPLAY_DATE);
    fill(version->desc, &version->desc_len, DISPLAY_DESCRIPTION);
    return 0;
}
