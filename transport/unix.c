/* SPDX-License-Identifier: MIT */
#include "unix.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "stream.h"

/* Unix sockets: containers and programs on the same kernel. */

int unix_listen(const char *path, mode_t mode, int *ret_fd)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct stat st;
    mode_t before;
    int fd = -1, failed, why;

    if (!*path || strlen(path) >= sizeof(sun.sun_path))
        return VD_ERR_PARAMETER;
    strcpy(sun.sun_path, path);
    /* A socket nobody answers on is a leftover; anything else is not ours to remove. */
    if (!lstat(path, &st) && S_ISSOCK(st.st_mode)) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
            return VD_ERR_IO;
        failed = connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 && errno != EAGAIN;
        close(fd);
        if (!failed)
            return VD_ERR_BUSY;
        unlink(path);
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return VD_ERR_IO;
    before = umask(0777 & ~mode);
    failed = bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, 64) < 0;
    why = errno;
    umask(before);
    if (failed) {
        close(fd);
        errno = why;
        return VD_ERR_IO;
    }
    *ret_fd = fd;
    return 0;
}

int unix_create(int fd, struct channel **ret_channel)
{
    return stream_create(fd, &unix_ops, ret_channel);
}

static int unix_connect(const char *address, struct channel **ret_channel)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd, err = 0;

    if (!*address || strlen(address) >= sizeof(sun.sun_path))
        return VD_ERR_PARAMETER;
    strcpy(sun.sun_path, address);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return VD_ERR_IO;
    while (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
        if (errno == EINTR)
            continue;
        err = errno == ENOENT || errno == ECONNREFUSED ? VD_ERR_GONE
              : errno == EACCES || errno == EPERM      ? VD_ERR_DENIED
                                                       : VD_ERR_IO;
        goto fail;
    }
    err = unix_create(fd, ret_channel);
    if (!err)
        return 0;
fail:
    close(fd);
    return err;
}

const struct channel_ops unix_ops = {
    .scheme = "unix",
    .shares_memory = true,
    .send = stream_send,
    .recv = stream_recv,
    .alive = stream_alive,
    .shut = stream_shut,
    .destroy = stream_destroy,
    .connect = unix_connect,
};
