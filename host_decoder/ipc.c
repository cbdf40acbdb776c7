/* SPDX-License-Identifier: MIT */
#include "ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <viaduct/errors.h>

union ipc_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(IPC_CLIENT_FDS * sizeof(int))];
};

int ipc_send(int fd, const void *bytes, size_t size, const int *fds, int fd_count)
{
    union ipc_control control;
    struct iovec iov = {(void *)(uintptr_t)bytes, size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (fd_count) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof(control));
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE((size_t)fd_count * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)fd_count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)fd_count * sizeof(int));
    }
    do {
        n = sendmsg(fd, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)size ? 0 : VD_ERR_GONE;
}

int ipc_recv(int fd, void *bytes, size_t size, int *ret_fds, int fd_count)
{
    union ipc_control control;
    struct iovec iov = {bytes, size};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *c;
    ssize_t n;

    for (int i = 0; i < fd_count; i++)
        ret_fds[i] = -1;
    do {
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return VD_ERR_TIMEOUT;
    if (n <= 0)
        return VD_ERR_GONE;
    c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        int got = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

        for (int i = 0; i < got; i++) {
            int one;

            memcpy(&one, CMSG_DATA(c) + (size_t)i * sizeof(int), sizeof(int));
            if (i < fd_count)
                ret_fds[i] = one;
            else
                close(one);
        }
    }
    return n == (ssize_t)size ? 0 : VD_ERR_GONE;
}
