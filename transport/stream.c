/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "stream.h"

/*
 * Connected stream sockets of any family. Waits with a limit happen in poll, never in send or recv,
 * so that every one of them is bounded.
 */

/*
 * Waking a sleeper on another core costs more than a short exchange itself. So when messages
 * lately came in quick succession, a receiver without a limit looks for STREAM_EAGER_NS before it
 * sleeps. A gap of a picture's decoding time ends that at once.
 */
#define STREAM_EAGER_NS 50000
#define STREAM_QUICK_NS 100000

struct stream_channel {
    struct channel base;
    int fd;
    bool eager; /* the last message came quickly; receiver's thread */
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static int wait_for(int fd, short events, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int n;

    do {
        n = poll(&p, 1, timeout_ms);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return VD_ERR_IO;
    return n ? 0 : VD_ERR_TIMEOUT;
}

static int send_error(void)
{
    return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? VD_ERR_GONE : VD_ERR_IO;
}

int stream_send(struct channel *channel, const struct iovec *iov, int count, int fd, int timeout_ms)
{
    struct stream_channel *self = (struct stream_channel *)channel;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec left[8];
    struct msghdr msg = {.msg_iov = left, .msg_iovlen = (size_t)count};
    int err;

    if (count < 1 || count > (int)(sizeof(left) / sizeof(left[0])))
        return VD_ERR_PARAMETER;
    memcpy(left, iov, (size_t)count * sizeof(left[0]));
    if (fd >= 0) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof(control));
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    while (msg.msg_iovlen) {
        ssize_t n = sendmsg(self->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            err = wait_for(self->fd, POLLOUT, timeout_ms);
            if (err)
                return err;
            continue;
        }
        if (n < 0)
            return send_error();
        /* The descriptor went with the first byte. */
        msg.msg_control = NULL;
        msg.msg_controllen = 0;
        while (msg.msg_iovlen && (size_t)n >= msg.msg_iov->iov_len) {
            n -= (ssize_t)msg.msg_iov->iov_len;
            msg.msg_iov++;
            msg.msg_iovlen--;
        }
        if (msg.msg_iovlen) {
            msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + n;
            msg.msg_iov->iov_len -= (size_t)n;
        }
    }
    return 0;
}

/* Keeps the first descriptor of a message, closes all others: the protocol never sends more. */
static int take_descriptor(struct msghdr *msg)
{
    int kept = -1;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (kept < 0)
                kept = fd;
            else
                close(fd);
        }
    }
    return kept;
}

int stream_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size, int *ret_fd,
                int timeout_ms)
{
    struct stream_channel *self = (struct stream_channel *)channel;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec iov = {bytes, room};
    uint64_t start = timeout_ms < 0 ? now_ns() : 0;
    bool sleep = timeout_ms < 0 && !self->eager;

    for (;;) {
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
        /* Without a limit the kernel may do the waiting: one call instead of three. */
        ssize_t n = recvmsg(self->fd, &msg, (sleep ? 0 : MSG_DONTWAIT) | MSG_CMSG_CLOEXEC);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && timeout_ms < 0) {
            sleep = now_ns() - start > STREAM_EAGER_NS;
            /* The sender may be waiting for this very core. */
            sched_yield();
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            int err = wait_for(self->fd, POLLIN, timeout_ms);

            if (err)
                return err;
            continue;
        }
        if (n < 0)
            return send_error();
        *ret_fd = take_descriptor(&msg);
        if (n == 0) {
            if (*ret_fd >= 0)
                close(*ret_fd);
            *ret_fd = -1;
            return VD_ERR_GONE;
        }
        *ret_size = (size_t)n;
        if (timeout_ms < 0)
            self->eager = now_ns() - start < STREAM_QUICK_NS;
        return 0;
    }
}

bool stream_alive(struct channel *channel)
{
    struct stream_channel *self = (struct stream_channel *)channel;
    struct pollfd p = {.fd = self->fd, .events = POLLRDHUP};

    return poll(&p, 1, 0) <= 0 || !(p.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL));
}

void stream_shut(struct channel *channel)
{
    shutdown(((struct stream_channel *)channel)->fd, SHUT_RDWR);
}

void stream_destroy(struct channel *channel)
{
    struct stream_channel *self = (struct stream_channel *)channel;

    close(self->fd);
    free(self);
}

int stream_create(int fd, const struct channel_ops *ops, struct channel **ret_channel)
{
    struct stream_channel *self = calloc(1, sizeof(*self));

    if (!self)
        return VD_ERR_MEMORY;
    self->base.ops = ops;
    self->fd = fd;
    *ret_channel = &self->base;
    return 0;
}
