/* SPDX-License-Identifier: MIT */
#include "bridge_conn.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vhost/vhost.h>
#include <viaduct/errors.h>

#include "bridge.h"

/*
 * When the guest is told that there is room again. Linux cuts what it may send to the size of its
 * own buffer, 256 KiB: told only after that much it waits for ever.
 */
#define CONN_TELL (64u << 10)

int bridge_conn_open(struct bridge_conn *conn, int fd, const struct virtio_vsock_hdr *request)
{
    uint8_t *bytes = malloc(BRIDGE_BUFFER);

    if (!bytes)
        return VD_ERR_MEMORY;
    *conn = (struct bridge_conn){
        .used = true,
        .fd = fd,
        .guest_port = request->src_port,
        .host_port = request->dst_port,
        .bytes = bytes,
        .pending = BRIDGE_SAY_RESPONSE,
        .readable = true,
    };
    bridge_conn_credit(conn, request);
    return 0;
}

void bridge_conn_close(struct bridge_conn *conn)
{
    if (!conn->used)
        return;
    close(conn->fd);
    free(conn->bytes);
    *conn = (struct bridge_conn){.fd = -1};
}

void bridge_conn_credit(struct bridge_conn *conn, const struct virtio_vsock_hdr *header)
{
    conn->guest_room = header->buf_alloc;
    conn->guest_taken = header->fwd_cnt;
}

uint32_t bridge_conn_room(const struct bridge_conn *conn)
{
    uint32_t room = conn->guest_room - (conn->sent - conn->guest_taken);

    /* It made its buffer smaller than what is on its way. */
    return room > conn->guest_room ? 0 : room;
}

/* The service has taken these, or never will. */
static void conn_took(struct bridge_conn *conn, uint32_t size)
{
    conn->taken += size;
    if (conn->taken - conn->told >= CONN_TELL)
        conn->pending |= BRIDGE_SAY_CREDIT;
}

static void conn_drop_held(struct bridge_conn *conn)
{
    conn_took(conn, conn->held);
    conn->held = 0;
}

/* All that the guest said is with the service: pass on that it says no more. */
static void conn_ended(struct bridge_conn *conn)
{
    if (!conn->guest_ended || conn->held)
        return;
    shutdown(conn->fd, SHUT_WR);
    /* It waits for nothing: the answer to both ends of it (5.10.6.6). */
    if (conn->guest_deaf)
        conn->pending |= BRIDGE_SAY_RST;
}

/* The service reads no more. It may have said why before: that is still delivered. */
static void conn_deaf(struct bridge_conn *conn)
{
    conn->host_deaf = true;
    conn->readable = true;
    conn_drop_held(conn);
    conn_ended(conn);
    if (conn->host_ended && !(conn->shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV)) {
        conn->shutdown |= VIRTIO_VSOCK_SHUTDOWN_RCV;
        conn->pending |= BRIDGE_SAY_SHUTDOWN;
    }
}

/* Sends what the socket takes at once. */
static uint32_t conn_send(struct bridge_conn *conn, struct iovec *iov, unsigned count)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    ssize_t n;

    do
        n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        conn_deaf(conn);
    return n < 0 ? 0 : (uint32_t)n;
}

void bridge_conn_data(struct bridge_conn *conn, const struct iovec *iov, unsigned count,
                      uint64_t offset, uint32_t size)
{
    uint32_t n = 0;

    if (conn->guest_ended || size > BRIDGE_BUFFER - conn->held) {
        /* It knows better. */
        conn->pending |= BRIDGE_SAY_RST;
        return;
    }
    if (!conn->held && !conn->host_deaf) {
        struct iovec part[64];
        unsigned parts = vhost_iov_slice(iov, count, offset, size, part, 64);

        n = conn_send(conn, part, parts);
        conn_took(conn, n);
    }
    if (conn->host_deaf) {
        conn_took(conn, size - n);
        return;
    }
    while (n < size) {
        uint32_t at = (conn->start + conn->held) % BRIDGE_BUFFER, some = size - n;

        if (some > BRIDGE_BUFFER - at)
            some = BRIDGE_BUFFER - at;
        /* The guest's own memory: as long as it was checked to be. */
        vhost_iov_get(iov, count, offset + n, conn->bytes + at, some);
        conn->held += some;
        n += some;
    }
}

void bridge_conn_flush(struct bridge_conn *conn)
{
    while (conn->held) {
        uint32_t first = BRIDGE_BUFFER - conn->start;
        struct iovec iov[2] = {{conn->bytes + conn->start, conn->held}};
        uint32_t n;

        if (conn->held > first) {
            iov[0].iov_len = first;
            iov[1] = (struct iovec){conn->bytes, conn->held - first};
        }
        n = conn_send(conn, iov, conn->held > first ? 2 : 1);
        if (!n)
            break;
        conn->start = (conn->start + n) % BRIDGE_BUFFER;
        conn->held -= n;
        conn_took(conn, n);
    }
    conn_ended(conn);
}

void bridge_conn_shutdown(struct bridge_conn *conn, uint32_t flags)
{
    if (flags & VIRTIO_VSOCK_SHUTDOWN_RCV && !conn->guest_deaf) {
        conn->guest_deaf = true;
        shutdown(conn->fd, SHUT_RD);
    }
    if (flags & VIRTIO_VSOCK_SHUTDOWN_SEND)
        conn->guest_ended = true;
    conn_ended(conn);
}

/* The service closes: only its own side, or all. */
static void conn_host_ended(struct bridge_conn *conn)
{
    struct pollfd p = {.fd = conn->fd, .events = POLLIN};

    conn->host_ended = true;
    conn->shutdown = VIRTIO_VSOCK_SHUTDOWN_SEND;
    conn->pending |= BRIDGE_SAY_SHUTDOWN;
    if (conn->host_deaf || (poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR))) {
        conn->shutdown |= VIRTIO_VSOCK_SHUTDOWN_RCV;
        conn->host_deaf = true;
        conn_drop_held(conn);
    }
}

size_t bridge_conn_read(struct bridge_conn *conn, const struct iovec *iov, unsigned count)
{
    ssize_t n;

    do
        n = readv(conn->fd, iov, (int)count);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        conn->sent += (uint32_t)n;
        return (size_t)n;
    }
    conn->readable = false;
    if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
        conn_host_ended(conn);
    return 0;
}

bool bridge_conn_wants(const struct bridge_conn *conn)
{
    return conn->used && !conn->host_ended && !conn->guest_deaf &&
           !(conn->pending & BRIDGE_SAY_RST) && bridge_conn_room(conn);
}

short bridge_conn_events(const struct bridge_conn *conn, bool room)
{
    short events = 0;

    if (!conn->used || conn->pending & BRIDGE_SAY_RST)
        return 0;
    if (room && !conn->readable && bridge_conn_wants(conn))
        events |= POLLIN;
    if (conn->held)
        events |= POLLOUT;
    return events;
}
