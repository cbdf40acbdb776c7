/* SPDX-License-Identifier: MIT */
#include "porter.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <transport/tls.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "sandbox.h"

#define PORTER_BYTES (64u << 10)
/* A client that takes nothing for this long is given up, as by a worker (SESSION_SEND_MS). */
#define PORTER_SEND_MS 10000
/* What was sent last arrives before the socket closes, if the client ends its side within this. */
#define PORTER_END_S 1

struct porter {
    struct channel *tls;
    int plain;
    uint8_t in[PORTER_BYTES], out[PORTER_BYTES];
};

static bool send_plain(int fd, const uint8_t *at, size_t size)
{
    while (size) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

/* The client's bytes, until it ends. */
static void *carry_in(void *arg)
{
    struct porter *p = arg;
    bool wanted = true;
    size_t size;
    int fd;

    /* What nobody wants is read nevertheless: unread, it would make the kernel drop what was sent.
     */
    while (!p->tls->ops->recv(p->tls, p->in, sizeof(p->in), &size, &fd, -1))
        wanted = wanted && send_plain(p->plain, p->in, size);
    shutdown(p->plain, SHUT_WR);
    return NULL;
}

/* The worker's, until it ends; a client that is gone ends the worker. */
static void carry_out(struct porter *p)
{
    int err = 0;

    while (!err) {
        ssize_t n = recv(p->plain, p->out, sizeof(p->out), 0);
        struct iovec iov = {p->out, n > 0 ? (size_t)n : 0};

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        err = p->tls->ops->send(p->tls, &iov, 1, -1, PORTER_SEND_MS);
    }
    shutdown(p->plain, SHUT_RDWR);
    if (!err)
        tls_end(p->tls);
}

void porter_run(int client, int plain, int proof, uint64_t max_memory)
{
    struct porter *p = calloc(1, sizeof(*p));
    struct tls_proof whom;
    struct timespec until;
    pthread_t thread;
    int err;

    if (!p)
        _exit(1);
    p->plain = plain;
    err = tls_accept(client, &p->tls);
    if (!err)
        err = sandbox_enter(max_memory, false);
    if (!err)
        err = tls_prove(p->tls, &whom);
    /* Its end stays open as long as this process is there: the listener sees that. */
    if (!err && send(proof, &whom, sizeof(whom), MSG_NOSIGNAL) != (ssize_t)sizeof(whom))
        err = VD_ERR_GONE;
    if (!err && pthread_create(&thread, NULL, carry_in, p))
        err = VD_ERR_MEMORY;
    if (err) {
        log_warn("a client's handshake of TLS is not made: %s", errors_text(err));
        _exit(1);
    }
    carry_out(p);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PORTER_END_S;
    pthread_timedjoin_np(thread, NULL, &until);
    _exit(0);
}

void porters_add(struct porters *porters, uint32_t door, pid_t pid)
{
    porters_shut(porters, door);
    porters->door[door] = pid;
}

void porters_adopt(struct porters *porters, uint32_t door, uint32_t slot)
{
    /* The last client's, which had its time to bring what was on its way. */
    if (porters->client[slot])
        kill(porters->client[slot], SIGKILL);
    porters->client[slot] = porters->door[door];
    porters->door[door] = 0;
}

void porters_shut(struct porters *porters, uint32_t door)
{
    /* It is ours, and a number that was not waited for is nobody else's. */
    if (porters->door[door])
        kill(porters->door[door], SIGKILL);
    porters->door[door] = 0;
}

void porters_ended(struct porters *porters, pid_t pid)
{
    for (uint32_t i = 0; i < VD_MAX_DOORS; i++)
        porters->door[i] = porters->door[i] == pid ? 0 : porters->door[i];
    for (uint32_t i = 0; i < VD_MAX_STATS_CLIENTS; i++)
        porters->client[i] = porters->client[i] == pid ? 0 : porters->client[i];
}

void porters_stop(struct porters *porters)
{
    for (uint32_t i = 0; i < VD_MAX_DOORS; i++)
        porters_shut(porters, i);
    for (uint32_t i = 0; i < VD_MAX_STATS_CLIENTS; i++) {
        if (porters->client[i])
            kill(porters->client[i], SIGKILL);
    }
}
