/* SPDX-License-Identifier: MIT */
#include "vm.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "stream.h"

#define VM_PREFIX "viaduct-vm/"

static size_t name_length(const char *name, size_t room)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t n = 0;

    while (n < room && name[n] && strchr(allowed, name[n]))
        n++;
    return n;
}

bool vm_name_is_valid(const char *name)
{
    size_t n = name_length(name, VM_NAME_BYTES);

    return n && n < VM_NAME_BYTES && !name[n];
}

/* An address that nobody else has: a name serves many connections. */
static int bind_name(int fd, const char *name)
{
    static atomic_uint last;

    for (int tries = 0; tries < 64; tries++) {
        struct sockaddr_un own = {.sun_family = AF_UNIX};
        int n = snprintf(own.sun_path + 1, sizeof(own.sun_path) - 1, VM_PREFIX "%s/%x-%x", name,
                         (unsigned)getpid(), atomic_fetch_add(&last, 1));

        if (!bind(fd, (struct sockaddr *)&own,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)))
            return 0;
        if (errno != EADDRINUSE)
            break;
    }
    return VD_ERR_IO;
}

static int dial(const char *path, const char *name, int *ret_fd)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd, err = 0;

    if (!*path || strlen(path) >= sizeof(sun.sun_path) || (name && !vm_name_is_valid(name)))
        return VD_ERR_PARAMETER;
    strcpy(sun.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return VD_ERR_IO;
    if (name)
        err = bind_name(fd, name);
    if (!err && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
        err = errno == EAGAIN                            ? VD_ERR_BUSY
              : errno == EACCES || errno == EPERM        ? VD_ERR_DENIED
              : errno == ENOENT || errno == ECONNREFUSED ? VD_ERR_GONE
                                                         : VD_ERR_IO;
    if (err) {
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

int vm_dial(const char *path, const char *name, int *ret_fd)
{
    return name ? dial(path, name, ret_fd) : VD_ERR_PARAMETER;
}

int vm_dial_unnamed(const char *path, int *ret_fd)
{
    return dial(path, NULL, ret_fd);
}

bool vm_peer(int fd, char ret_name[VM_NAME_BYTES])
{
    struct sockaddr_un other;
    socklen_t size = sizeof(other);
    const char *name = other.sun_path + 1 + sizeof(VM_PREFIX) - 1;
    size_t n;

    memset(&other, 0, sizeof(other));
    if (getpeername(fd, (struct sockaddr *)&other, &size) < 0 || other.sun_path[0] ||
        memcmp(other.sun_path + 1, VM_PREFIX, sizeof(VM_PREFIX) - 1))
        return false;
    n = name_length(name, VM_NAME_BYTES);
    if (!n || n == VM_NAME_BYTES || name[n] != '/')
        return false;
    memcpy(ret_name, name, n);
    ret_name[n] = 0;
    return true;
}

/* Guests cannot send descriptors; whoever else is on the other side must not either. */
static int vm_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size, int *ret_fd,
                   int timeout_ms)
{
    int err = stream_recv(channel, bytes, room, ret_size, ret_fd, timeout_ms);

    if (!err && *ret_fd >= 0) {
        close(*ret_fd);
        *ret_fd = -1;
        err = VD_ERR_PROTOCOL;
    }
    return err;
}

static int vm_send(struct channel *channel, const struct iovec *iov, int count, int fd,
                   int timeout_ms)
{
    return fd >= 0 ? VD_ERR_PARAMETER : stream_send(channel, iov, count, -1, timeout_ms);
}

int vm_create(int fd, struct channel **ret_channel)
{
    return stream_create(fd, &vm_ops, ret_channel);
}

/* Not for guests: they have no such address. */
const struct channel_ops vm_ops = {
    .scheme = "vm",
    .send = vm_send,
    .recv = vm_recv,
    .alive = stream_alive,
    .shut = stream_shut,
    .destroy = stream_destroy,
};
