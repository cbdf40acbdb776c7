/* SPDX-License-Identifier: MIT */
#include "region_device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <transport/arena.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#define DEVICES "/sys/bus/dax/devices"
#define DRIVER  "/sys/bus/nd/drivers/dax_pmem/"
/* Mappings of these devices are of whole such pieces. */
#define PIECE (2u << 20)

/* Whether the memory of the device is what `token` names. */
static bool has_token(int fd, const uint64_t token[2])
{
    struct vd_status_page *page;
    bool same;

    if (arena_region_bytes(fd) < ARENA_REGION_LEAST)
        return false;
    page = mmap(NULL, PIECE, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return false;
    same = page->region[0] == token[0] && page->region[1] == token[1];
    munmap(page, PIECE);
    return same;
}

/* `ret_name`: of the device in DEVICES. */
static int find(const uint64_t token[2], char ret_name[NAME_MAX + 1], int *ret_fd)
{
    DIR *list = opendir(DEVICES);
    int err = VD_ERR_UNSUPPORTED;
    struct dirent *entry;

    while (err && list && (entry = readdir(list))) {
        char path[NAME_MAX + 8];
        int fd;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
        fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
            continue;
        if (has_token(fd, token)) {
            snprintf(ret_name, NAME_MAX + 1, "%s", entry->d_name);
            *ret_fd = fd;
            err = 0;
        } else {
            close(fd);
        }
    }
    if (list)
        closedir(list);
    return err;
}

static int tell_driver(const char *what, const char *device)
{
    char path[64];
    ssize_t n = -1;
    int fd;

    snprintf(path, sizeof(path), DRIVER "%s", what);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = write(fd, device, strlen(device));
        close(fd);
    }
    if (n >= 0)
        return 0;
    log_error("%s <- %s: %s", path, device, strerror(errno));
    return VD_ERR_IO;
}

/* Whoever has the device open or mapped has it no more. */
static int take_back(const char *name)
{
    char link[sizeof(DEVICES) + NAME_MAX + 2], real[PATH_MAX], path[sizeof(DRIVER) + NAME_MAX + 1];
    char *slash;
    int err;

    snprintf(link, sizeof(link), DEVICES "/%s", name);
    if (!realpath(link, real))
        return VD_ERR_IO;
    /* .../regionN/daxN.M, the driver's device, and in it the one of the same kind that is mapped.
     */
    slash = strrchr(real, '/');
    *slash = 0;
    slash = strrchr(real, '/');
    if (!slash || strlen(slash + 1) > NAME_MAX)
        return VD_ERR_IO;
    snprintf(path, sizeof(path), DRIVER "%s", slash + 1);
    if (access(path, F_OK)) {
        log_error("%s is no memory of virtio-pmem: %s: %s", name, path, strerror(errno));
        return VD_ERR_IO;
    }
    err = tell_driver("unbind", slash + 1);
    return err ? err : tell_driver("bind", slash + 1);
}

int region_device_open(const uint64_t token[2], int *ret_fd)
{
    char name[NAME_MAX + 1];
    int fd = -1, err;

    /* What an empty device has is no name. */
    if (!token[0] && !token[1])
        return VD_ERR_PARAMETER;
    err = find(token, name, &fd);
    if (!err && flock(fd, LOCK_EX | LOCK_NB) < 0)
        err = errno == EWOULDBLOCK ? VD_ERR_BUSY : VD_ERR_IO;
    if (fd >= 0)
        close(fd);
    if (!err)
        err = take_back(name);
    /* It is another device now, if of the same name. */
    if (!err)
        err = find(token, name, ret_fd);
    if (!err && flock(*ret_fd, LOCK_EX | LOCK_NB) < 0) {
        close(*ret_fd);
        err = VD_ERR_BUSY;
    }
    return err;
}
