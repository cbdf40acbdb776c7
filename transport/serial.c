/* SPDX-License-Identifier: MIT */
#include "serial.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "serial_marks.h"

/*
 * virtio-serial: a port of a virtual machine, /dev/virtio-ports/NAME, which one program at a time
 * can open. Slower than vsock, but it takes no more of QEMU than a character device.
 */
#define SERIAL_CONNECT_MS 10000
#define SERIAL_AGAIN_MS   1000 /* the mark is sent again: what was on the line may have hidden it */
#define SERIAL_PIECE      65536u
#define SERIAL_PARTS      16 /* of one writev */

struct serial_channel {
    struct channel base;
    int fd;
    pid_t owner; /* a child of its has no say */
    int wake;    /* readable: ended */
    int null;    /* takes the port's place then */
    atomic_bool ended;
    char number[SERIAL_DIGITS + 1];
    /* Sender's thread. */
    unsigned sign_sent;
    /* Receiver's thread. */
    struct serial_marks marks;
    size_t raw_at, raw_size, plain_at, plain_size;
    uint8_t raw[SERIAL_PIECE];
    uint8_t plain[SERIAL_PIECE + SERIAL_SIGN_BYTES];
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/*
 * The session is over: whoever waits is woken, and the port is free for the next session, also of
 * this program, which may keep what it made in this one for long. Any thread.
 */
static void end(struct serial_channel *self)
{
    const uint64_t one = 1;

    atomic_store(&self->ended, true);
    if (write(self->wake, &one, sizeof(one)) < 0)
        log_debug("serial: ended twice");
    if (dup3(self->null, self->fd, O_CLOEXEC) < 0)
        log_debug("serial: %s", strerror(errno));
}

/* 0, -VD_ERR_TIMEOUT, or -VD_ERR_GONE: ended, or nobody is at the host's end of the port. */
static int wait_for(struct serial_channel *self, short events, int timeout_ms)
{
    struct pollfd p[2] = {{.fd = self->fd, .events = events}, {.fd = self->wake, .events = POLLIN}};
    int n;

    do
        n = poll(p, 2, timeout_ms);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return VD_ERR_IO;
    if (!n)
        return VD_ERR_TIMEOUT;
    if (p[1].revents || (!(p[0].revents & events) && p[0].revents))
        return VD_ERR_GONE;
    return 0;
}

/* Writes all parts, in order. */
static int write_parts(struct serial_channel *self, struct iovec *parts, int count, int timeout_ms)
{
    while (count) {
        ssize_t n;

        if (!parts->iov_len) {
            parts++;
            count--;
            continue;
        }
        n = writev(self->fd, parts, count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            int err = wait_for(self, POLLOUT, timeout_ms);

            if (err)
                return err;
            continue;
        }
        if (n < 0)
            return errno == EPIPE || errno == ENODEV || errno == ECONNRESET ? VD_ERR_GONE
                                                                            : VD_ERR_IO;
        while (count && (size_t)n >= parts->iov_len) {
            n -= (ssize_t)parts->iov_len;
            parts++;
            count--;
        }
        if (count) {
            parts->iov_base = (uint8_t *)parts->iov_base + n;
            parts->iov_len -= (size_t)n;
        }
    }
    return 0;
}

static int serial_send(struct channel *channel, const struct iovec *iov, int count, int fd,
                       int timeout_ms)
{
    struct serial_channel *self = (struct serial_channel *)channel;
    struct iovec parts[SERIAL_PARTS];
    int used = 0, err = 0;

    if (fd >= 0)
        return VD_ERR_PARAMETER;
    for (int i = 0; i < count && !err; i++) {
        uint8_t *at = iov[i].iov_base;
        size_t left = iov[i].iov_len;

        while (left && !err) {
            bool due;
            size_t n = serial_marks_scan(&self->sign_sent, at, left, &due);

            parts[used++] = (struct iovec){at, n};
            if (due)
                parts[used++] = (struct iovec){(void *)(uintptr_t) "L", 1};
            at += n;
            left -= n;
            if (used > SERIAL_PARTS - 2) {
                err = write_parts(self, parts, used, timeout_ms);
                used = 0;
            }
        }
    }
    if (!err && self->sign_sent) {
        parts[used++] = (struct iovec){(void *)(uintptr_t)serial_nothing, sizeof(serial_nothing)};
        self->sign_sent = 0;
    }
    if (!err && used)
        err = write_parts(self, parts, used, timeout_ms);
    if (!err && atomic_load(&self->ended))
        err = VD_ERR_GONE;
    return err;
}

/* Reads what there is. 0, -VD_ERR_TIMEOUT, -VD_ERR_GONE. */
static int fill(struct serial_channel *self, int timeout_ms)
{
    for (;;) {
        ssize_t n = read(self->fd, self->raw, sizeof(self->raw));
        int err;

        if (n > 0) {
            self->raw_at = 0;
            self->raw_size = (size_t)n;
            return 0;
        }
        if (n < 0 && errno == EINTR)
            continue;
        /* 0: nobody is at the other end, or will be. */
        if (n == 0 || errno != EAGAIN)
            return VD_ERR_GONE;
        err = wait_for(self, POLLIN, timeout_ms);
        if (err)
            return err;
    }
}

static bool is_mine(const struct serial_channel *self)
{
    return !memcmp(self->marks.number, self->number, SERIAL_DIGITS);
}

static bool ends_me(const struct serial_channel *self)
{
    return is_mine(self) || strspn(self->marks.number, "0") >= SERIAL_DIGITS;
}

static int serial_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size,
                       int *ret_fd, int timeout_ms)
{
    struct serial_channel *self = (struct serial_channel *)channel;
    size_t n;

    while (self->plain_at == self->plain_size) {
        char mark;
        int err;

        if (atomic_load(&self->ended))
            return VD_ERR_GONE;
        if (self->raw_at == self->raw_size) {
            err = fill(self, timeout_ms);
            if (err)
                return err;
        }
        self->plain_at = 0;
        self->raw_at +=
            serial_marks_read(&self->marks, self->raw + self->raw_at, self->raw_size - self->raw_at,
                              self->plain, &self->plain_size, &mark);
        /* What was said before the end is still given out. */
        if (mark == '?' || (mark == 'C' && ends_me(self)))
            end(self);
    }
    n = self->plain_size - self->plain_at < room ? self->plain_size - self->plain_at : room;
    memcpy(bytes, self->plain + self->plain_at, n);
    self->plain_at += n;
    *ret_size = n;
    *ret_fd = -1;
    return 0;
}

static bool serial_alive(struct channel *channel)
{
    struct serial_channel *self = (struct serial_channel *)channel;
    struct pollfd p = {.fd = self->fd};

    return !atomic_load(&self->ended) && poll(&p, 1, 0) <= 0;
}

static int send_mark(struct serial_channel *self, char letter, int timeout_ms)
{
    uint8_t mark[SERIAL_MARK_BYTES];
    struct iovec part = {mark, sizeof(mark)};

    serial_marks_make(mark, letter, self->number);
    return write_parts(self, &part, 1, timeout_ms);
}

static void serial_shut(struct channel *channel)
{
    struct serial_channel *self = (struct serial_channel *)channel;

    if (atomic_exchange(&self->ended, true))
        return;
    /* In between what a sender may just be writing: it is over all the same. */
    send_mark(self, 'C', 0);
    end(self);
}

static void serial_free(struct serial_channel *self)
{
    if (self->wake >= 0)
        close(self->wake);
    if (self->null >= 0)
        close(self->null);
    free(self);
}

static void serial_destroy(struct channel *channel)
{
    struct serial_channel *self = (struct serial_channel *)channel;

    /* Else the host learns it when the port is opened again. */
    if (!atomic_load(&self->ended) && self->owner == getpid())
        send_mark(self, 'C', 0);
    close(self->fd);
    serial_free(self);
}

/* Until the host says that this session has begun. What comes before is of another. */
static int begin(struct serial_channel *self, int timeout_ms)
{
    int64_t end = now_ms() + timeout_ms;
    int err = send_mark(self, 'O', timeout_ms);

    while (!err) {
        int64_t left = end - now_ms();
        char mark;

        if (left <= 0)
            return VD_ERR_TIMEOUT;
        if (self->raw_at == self->raw_size) {
            err = fill(self, left < SERIAL_AGAIN_MS ? (int)left : SERIAL_AGAIN_MS);
            if (err == VD_ERR_TIMEOUT && left > SERIAL_AGAIN_MS)
                err = send_mark(self, 'O', timeout_ms);
            continue;
        }
        self->raw_at +=
            serial_marks_read(&self->marks, self->raw + self->raw_at, self->raw_size - self->raw_at,
                              self->plain, &self->plain_size, &mark);
        self->plain_size = 0;
        if (mark == 'A' && is_mine(self))
            return 0;
        if (mark == 'C' && is_mine(self))
            return VD_ERR_GONE;
    }
    return err;
}

int serial_create(int fd, int timeout_ms, struct channel **ret_channel)
{
    struct serial_channel *self = calloc(1, sizeof(*self));
    uint64_t number;
    int err = 0;

    if (!self)
        return VD_ERR_MEMORY;
    self->base.ops = &serial_ops;
    self->fd = fd;
    self->owner = getpid();
    self->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (self->wake < 0 || self->null < 0 ||
        getrandom(&number, sizeof(number), 0) != sizeof(number) ||
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        err = VD_ERR_IO;
    if (!err) {
        snprintf(self->number, sizeof(self->number), "%016llx", (unsigned long long)number);
        err = begin(self, timeout_ms);
    }
    if (err) {
        serial_free(self);
        return err;
    }
    *ret_channel = &self->base;
    return 0;
}

static int serial_connect(const char *address, struct channel **ret_channel)
{
    int fd = open(address, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY), err;

    if (fd < 0 && errno == EBUSY) {
        log_error("%s is in use: a virtio-serial port serves one program at a time. End the other "
                  "one (fuser %s), give the machine another port, or use vsock",
                  address, address);
        return VD_ERR_BUSY;
    }
    if (fd < 0)
        return errno == EACCES || errno == EPERM ? VD_ERR_DENIED : VD_ERR_GONE;
    err = serial_create(fd, SERIAL_CONNECT_MS, ret_channel);
    if (err)
        close(fd);
    return err;
}

const struct channel_ops serial_ops = {
    .scheme = "serial",
    .send = serial_send,
    .recv = serial_recv,
    .alive = serial_alive,
    .shut = serial_shut,
    .destroy = serial_destroy,
    .connect = serial_connect,
};
