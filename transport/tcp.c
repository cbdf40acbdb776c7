/* SPDX-License-Identifier: MIT */
#include "tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "stream.h"

/*
 * TCP without encryption, on this machine only: whoever sees the packets sees the video, and may
 * take the session over. For other machines there is tls.
 */
#define TCP_CONNECT_MS 10000

/* Splits "host:port"; the brackets of an IPv6 address go. */
static int tcp_split(const char *address, char *host, size_t room, const char **ret_port)
{
    const char *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : 0;

    if (!colon || !colon[1] || !n || n >= room)
        return VD_ERR_PARAMETER;
    if (address[0] == '[') {
        if (n < 3 || address[n - 1] != ']')
            return VD_ERR_PARAMETER;
        address++;
        n -= 2;
    }
    memcpy(host, address, n);
    host[n] = 0;
    *ret_port = colon + 1;
    return 0;
}

static bool tcp_is_loopback(const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;

    if (address->sa_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static int tcp_lookup(const char *address, int flags, struct addrinfo **ret_list)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    char host[256];
    const char *port;
    int err = tcp_split(address, host, sizeof(host), &port);

    if (err)
        return err;
    if (flags & AI_PASSIVE && !strcmp(host, "*"))
        return getaddrinfo(NULL, port, &hints, ret_list) ? VD_ERR_PARAMETER : 0;
    return getaddrinfo(host, port, &hints, ret_list) ? VD_ERR_PARAMETER : 0;
}

/* Connects without waiting longer than that; leaves the socket blocking. */
static int tcp_connect_within(int fd, const struct addrinfo *at, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0, n, flags = fcntl(fd, F_GETFL);
    socklen_t size = sizeof(error);

    if (connect(fd, at->ai_addr, at->ai_addrlen) < 0) {
        if (errno != EINPROGRESS)
            return VD_ERR_GONE;
        do {
            n = poll(&p, 1, timeout_ms);
        } while (n < 0 && errno == EINTR);
        if (!n)
            return VD_ERR_TIMEOUT;
        if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error)
            return VD_ERR_GONE;
    }
    fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    return 0;
}

void tcp_tune(int fd)
{
    int on = 1, idle = 20, interval = 10, count = 4;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

int tcp_dial(const char *address, bool loopback, int timeout_ms, int *ret_fd)
{
    struct addrinfo *list = NULL;
    int err = tcp_lookup(address, 0, &list), fd = -1;

    if (err)
        return err;
    err = VD_ERR_GONE;
    for (const struct addrinfo *at = list; at && err; at = at->ai_next) {
        if (loopback && !tcp_is_loopback(at->ai_addr)) {
            err = VD_ERR_DENIED;
            continue;
        }
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
            continue;
        err = tcp_connect_within(fd, at, timeout_ms);
        if (err)
            close(fd);
    }
    freeaddrinfo(list);
    if (!err) {
        tcp_tune(fd);
        *ret_fd = fd;
    }
    return err;
}

int tcp_listen(const char *address, bool loopback, int *ret_fd)
{
    struct addrinfo *list = NULL;
    int err = tcp_lookup(address, AI_PASSIVE, &list), on = 1, fd;

    if (err)
        return err;
    err = VD_ERR_IO;
    for (const struct addrinfo *at = list; at && err; at = at->ai_next) {
        if (loopback && !tcp_is_loopback(at->ai_addr)) {
            err = VD_ERR_DENIED;
            continue;
        }
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (!bind(fd, at->ai_addr, at->ai_addrlen) && !listen(fd, 64)) {
            *ret_fd = fd;
            err = 0;
        } else {
            close(fd);
        }
    }
    freeaddrinfo(list);
    return err;
}

int tcp_create(int fd, struct channel **ret_channel)
{
    return stream_create(fd, &tcp_ops, ret_channel);
}

static int tcp_connect(const char *address, struct channel **ret_channel)
{
    int fd, err = tcp_dial(address, true, TCP_CONNECT_MS, &fd);

    if (err)
        return err;
    err = tcp_create(fd, ret_channel);
    if (err)
        close(fd);
    return err;
}

const struct channel_ops tcp_ops = {
    .scheme = "tcp",
    .send = stream_send,
    .recv = stream_recv,
    .alive = stream_alive,
    .shut = stream_shut,
    .destroy = stream_destroy,
    .connect = tcp_connect,
};
