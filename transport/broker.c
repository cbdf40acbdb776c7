/* SPDX-License-Identifier: MIT */
#include "broker.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <viaduct/errors.h>

/* It may have to be started first. */
#define BROKER_WAIT_S 10

static int dial(const char *path, int *ret_fd)
{
    struct timeval limit = {.tv_sec = BROKER_WAIT_S};
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd;

    if (!*path || strlen(path) >= sizeof(sun.sun_path))
        return VD_ERR_PARAMETER;
    strcpy(sun.sun_path, path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return VD_ERR_IO;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
        close(fd);
        return errno == EACCES || errno == EPERM ? VD_ERR_DENIED : VD_ERR_GONE;
    }
    *ret_fd = fd;
    return 0;
}

/* The answer, and the descriptor that came with it or -1. */
static int receive(int fd, struct broker_reply *reply, int *ret_fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {reply, sizeof(*reply)};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *c;
    ssize_t n;

    *ret_fd = -1;
    do {
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? VD_ERR_TIMEOUT : VD_ERR_GONE;
    c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    return n == sizeof(*reply) && reply->magic == BROKER_MAGIC ? 0 : VD_ERR_PROTOCOL;
}

int broker_take(const char *path, const uint64_t token[2], int *ret_fd)
{
    struct broker_request request = {
        .magic = BROKER_MAGIC,
        .version = BROKER_VERSION,
        .token = {token[0], token[1]},
    };
    struct broker_reply reply;
    int fd, device = -1, err;

    err = dial(path, &fd);
    if (err)
        return err;
    if (send(fd, &request, sizeof(request), MSG_NOSIGNAL) != sizeof(request))
        err = VD_ERR_GONE;
    if (!err)
        err = receive(fd, &reply, &device);
    if (!err)
        err = errors_from_wire(reply.status);
    if (!err && device < 0)
        err = VD_ERR_PROTOCOL;
    if (err && device >= 0)
        close(device);
    if (!err)
        *ret_fd = device;
    close(fd);
    return err;
}
