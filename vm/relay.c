/* SPDX-License-Identifier: MIT */
#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <transport/serial_marks.h>
#include <transport/vm.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#define RELAY_PIECE 65536u
/* A piece that is all signs, and marks. */
#define RELAY_ROOM (RELAY_PIECE + RELAY_PIECE / SERIAL_SIGN_BYTES + 8 * SERIAL_MARK_BYTES)

struct flow {
    size_t at, size;
    uint8_t bytes[RELAY_ROOM];
};

struct relay {
    const struct relay_options *options;
    int port, service;              /* service -1: no session */
    char number[SERIAL_DIGITS + 1]; /* of the session */
    bool ending;                    /* the guest has said its last; the rest goes out */
    bool scolded;                   /* a guest that speaks outside of a session was told */
    bool failing;                   /* said on the log */
    unsigned sign_sent;
    struct serial_marks marks;
    struct flow to_service, to_port;
    size_t raw_at, raw_size;
    uint8_t raw[RELAY_PIECE];
};

/* What waits for the guest is of a session that is over: only marks matter now. */
static void relay_say(struct relay *r, char letter, const char *number)
{
    if (r->to_port.size + SERIAL_MARK_BYTES > sizeof(r->to_port.bytes))
        return;
    serial_marks_make(r->to_port.bytes + r->to_port.size, letter, number);
    r->to_port.size += SERIAL_MARK_BYTES;
}

static void close_service(struct relay *r)
{
    if (r->service >= 0)
        close(r->service);
    r->service = -1;
    r->ending = false;
    r->to_service.at = r->to_service.size = 0;
    r->sign_sent = 0;
}

static void begin(struct relay *r)
{
    int err;

    /* Said again, because the answer took its time. */
    if (r->service >= 0 && !r->ending && !memcmp(r->number, r->marks.number, SERIAL_DIGITS)) {
        relay_say(r, 'A', r->number);
        return;
    }
    close_service(r);
    r->to_port.at = r->to_port.size = 0;
    r->scolded = false;
    memcpy(r->number, r->marks.number, sizeof(r->number));
    r->number[SERIAL_DIGITS] = 0;
    err = vm_dial(r->options->service, r->options->name, &r->service);
    if (err) {
        r->service = -1;
        if (!r->failing)
            log_warn("virtual machine %s: its port is not served: %s: %s", r->options->name,
                     r->options->service,
                     err == VD_ERR_GONE ? "nobody listens there; is viaductd running?"
                                        : errors_text(err));
        r->failing = true;
        relay_say(r, 'C', r->number);
        return;
    }
    r->failing = false;
    relay_say(r, 'A', r->number);
}

/* Bytes of the guest that belong to no session: its program does not know that it has ended. */
static void scold(struct relay *r)
{
    if (!r->scolded)
        relay_say(r, 'C', NULL);
    r->scolded = true;
}

static void flush_service(struct relay *r)
{
    struct flow *f = &r->to_service;

    while (f->at < f->size) {
        ssize_t n =
            send(r->service, f->bytes + f->at, f->size - f->at, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            /* What it said before is still read; its end ends the session. */
            f->at = f->size;
            break;
        }
        f->at += (size_t)n;
    }
    f->at = f->size = 0;
    if (r->ending)
        close_service(r);
}

/* Takes what was read from the port apart, as far as the service takes it. */
static void work_off(struct relay *r)
{
    while (r->raw_at < r->raw_size && !r->to_service.size) {
        char mark;
        size_t size;

        r->raw_at += serial_marks_read(&r->marks, r->raw + r->raw_at, r->raw_size - r->raw_at,
                                       r->to_service.bytes, &size, &mark);
        if (size && (r->service < 0 || r->ending)) {
            scold(r);
            size = 0;
        }
        r->to_service.size = size;
        if (size)
            flush_service(r);
        if (mark == 'O') {
            begin(r);
        } else if (mark == '?' && r->service >= 0) {
            /* Bytes were lost or added: no session can go on. */
            close_service(r);
            relay_say(r, 'C', r->number);
        } else if (mark == 'C' && r->service >= 0 &&
                   !memcmp(r->number, r->marks.number, SERIAL_DIGITS)) {
            r->ending = true;
            flush_service(r);
        }
    }
}

static int read_port(struct relay *r)
{
    ssize_t n = recv(r->port, r->raw, sizeof(r->raw), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return VD_ERR_GONE;
    r->raw_at = 0;
    r->raw_size = (size_t)n;
    return 0;
}

static int flush_port(struct relay *r)
{
    struct flow *f = &r->to_port;
    ssize_t n;

    if (f->at == f->size)
        return 0;
    n = send(r->port, f->bytes + f->at, f->size - f->at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return VD_ERR_GONE;
    f->at += n > 0 ? (size_t)n : 0;
    if (f->at == f->size)
        f->at = f->size = 0;
    return 0;
}

/* The stream, with the signs that are in it marked as such. */
static void put_stream(struct relay *r, const uint8_t *bytes, size_t size)
{
    struct flow *f = &r->to_port;

    while (size) {
        bool due;
        size_t n = serial_marks_scan(&r->sign_sent, bytes, size, &due);

        memcpy(f->bytes + f->size, bytes, n);
        f->size += n;
        if (due)
            f->bytes[f->size++] = 'L';
        bytes += n;
        size -= n;
    }
    if (r->sign_sent) {
        memcpy(f->bytes + f->size, serial_nothing, sizeof(serial_nothing));
        f->size += sizeof(serial_nothing);
        r->sign_sent = 0;
    }
}

/* Only with nothing waiting for the port. */
static void read_service(struct relay *r)
{
    uint8_t piece[RELAY_PIECE];
    ssize_t n = recv(r->service, piece, sizeof(piece), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        put_stream(r, piece, (size_t)n);
        return;
    }
    close_service(r);
    r->scolded = true;
    relay_say(r, 'C', r->number);
}

int relay_create(int fd, const struct relay_options *options, struct relay **ret_relay)
{
    struct relay *r = calloc(1, sizeof(*r));

    if (!r)
        return VD_ERR_MEMORY;
    r->options = options;
    r->port = fd;
    r->service = -1;
    /* Whatever session there was has ended with the relay before this one. */
    relay_say(r, 'C', NULL);
    *ret_relay = r;
    return 0;
}

void relay_destroy(struct relay **relay)
{
    if (!*relay)
        return;
    close_service(*relay);
    close((*relay)->port);
    free(*relay);
    *relay = NULL;
}

void relay_poll(const struct relay *r, struct pollfd *polls)
{
    short port = 0, service = 0;

    if (r->raw_at == r->raw_size)
        port |= POLLIN;
    if (r->to_port.size)
        port |= POLLOUT;
    if (r->to_service.size)
        service |= POLLOUT;
    if (!r->to_port.size && !r->ending)
        service |= POLLIN;
    polls[0] = (struct pollfd){.fd = r->port, .events = port};
    /* A service that has left would be told again and again while it cannot be read. */
    polls[1] = (struct pollfd){.fd = service ? r->service : -1, .events = service};
}

int relay_handle(struct relay *r, const struct pollfd *polls)
{
    int err = 0;

    if (polls[1].revents & (POLLOUT | POLLERR) && r->to_service.size)
        flush_service(r);
    if (polls[1].revents & (POLLIN | POLLHUP | POLLERR) && r->service >= 0 && !r->to_port.size &&
        !r->ending)
        read_service(r);
    if (polls[0].revents & (POLLIN | POLLHUP | POLLERR) && r->raw_at == r->raw_size)
        err = read_port(r);
    else if (polls[0].revents & (POLLHUP | POLLERR))
        err = VD_ERR_GONE;
    work_off(r);
    return err ? err : flush_port(r);
}
