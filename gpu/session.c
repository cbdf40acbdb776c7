/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>

/* Pieces of memory in one call, and bytes of one session before the others get their turn. */
#define SESSION_PIECES 128u
#define SESSION_TURN   (1u << 20)

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

int session_init(struct gpu_session *session, const struct gpu_resource *resource,
                 const struct window *window, int fd, session_answer *answer, void *arg)
{
    *session = (struct gpu_session){
        .resource = resource,
        .window = *window,
        .fd = fd,
        .data_wanted = true,
        .answer = answer,
        .arg = arg,
    };
    window_took(&session->window, 0);
    window_gave(&session->window, 0);
    window_sleeps(&session->window, true);
    window_full(&session->window, false);
    window_state(&session->window, VD_VIRTGPU_OPEN, 0);
    return 0;
}

static void release(struct gpu_session *session, struct session_held *held)
{
    if (held->held)
        session->answer(session->arg, held->token, held->written);
    held->held = false;
}

void session_answer_all(struct gpu_session *session)
{
    for (size_t i = 0; i < SESSION_MAX_IDLE; i++)
        release(session, &session->idle[i]);
    for (size_t i = 0; i < VD_VIRTGPU_WAITS; i++)
        release(session, &session->waits[i]);
}

void session_finish(struct gpu_session *session, int err)
{
    if (session->window.page)
        window_state(&session->window, VD_VIRTGPU_CLOSED, err);
    session_answer_all(session);
    window_finish(&session->window);
    if (session->fd >= 0)
        close(session->fd);
    session->fd = -1;
}

/*
 * Kicks are answered with the wait: on kernels before 6.4 every command has a fence on one time
 * line, and a later one's answer wakes all that wait for earlier ones.
 */
static void wake(struct gpu_session *session, enum vd_virtgpu_wait kind)
{
    if (!session->waits[kind].held)
        return;
    for (size_t i = 0; i < SESSION_MAX_IDLE; i++)
        release(session, &session->idle[i]);
    release(session, &session->waits[kind]);
}

static int socket_error(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : VD_ERR_GONE;
}

/* From the ring into the socket. */
static int run_to_host(struct gpu_session *session)
{
    struct iovec iov[SESSION_PIECES];
    struct msghdr msg = {.msg_iov = iov};
    uint32_t turn = 0;
    int err;

    session->room_wanted = false;
    window_sleeps(&session->window, false);
    for (;;) {
        unsigned count;
        ssize_t n;

        err = window_to_host(&session->window, iov, SESSION_PIECES, &count);
        if (err)
            return err;
        if (!count) {
            window_sleeps(&session->window, true);
            /* What came before the guest could see that is not announced. */
            err = window_to_host(&session->window, iov, SESSION_PIECES, &count);
            if (err || !count)
                break;
            window_sleeps(&session->window, false);
        }
        if (turn >= SESSION_TURN) {
            session->room_wanted = true;
            break;
        }
        msg.msg_iovlen = count;
        n = sendmsg(session->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            err = socket_error();
            session->room_wanted = true;
            break;
        }
        window_took(&session->window, (uint32_t)n);
        session->to_host += (uint64_t)n;
        turn += (uint32_t)n;
    }
    if (turn)
        wake(session, VD_VIRTGPU_FOR_ROOM);
    return err;
}

/* From the socket into the ring. */
static int run_to_guest(struct gpu_session *session)
{
    struct iovec iov[SESSION_PIECES];
    struct msghdr msg = {.msg_iov = iov};
    uint32_t turn = 0;
    int err = 0;

    session->data_wanted = true;
    window_full(&session->window, false);
    while (turn < SESSION_TURN) {
        uint32_t room;
        unsigned count;
        ssize_t n;

        err = window_to_guest(&session->window, iov, SESSION_PIECES, &count, &room);
        if (err)
            break;
        /* Many small reads cost more than one that waits for room. */
        if (room < session->window.to_guest / 4) {
            window_full(&session->window, true);
            err = window_to_guest(&session->window, iov, SESSION_PIECES, &count, &room);
            session->data_wanted = false;
            if (err || room < session->window.to_guest / 4)
                break;
            session->data_wanted = true;
            window_full(&session->window, false);
        }
        msg.msg_iovlen = count;
        n = recvmsg(session->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n <= 0) {
            err = n ? socket_error() : VD_ERR_GONE;
            break;
        }
        window_gave(&session->window, (uint32_t)n);
        session->to_guest += (uint64_t)n;
        turn += (uint32_t)n;
    }
    if (turn)
        wake(session, VD_VIRTGPU_FOR_DATA);
    return err;
}

int session_run(struct gpu_session *session)
{
    int err = run_to_host(session), err_guest;

    if (err == VD_ERR_PROTOCOL)
        return err;
    /* Who refuses a client says why and closes: that is still to be read. */
    err_guest = run_to_guest(session);
    return err_guest ? err_guest : err;
}

bool session_wait(struct gpu_session *session, enum vd_virtgpu_wait kind, uint32_t seen,
                  struct vhost_token token, uint32_t written)
{
    uint32_t now = kind == VD_VIRTGPU_FOR_DATA ? session->window.filled : session->window.taken;

    release(session, &session->waits[kind]);
    if (now != seen || session->fd < 0)
        return false;
    session->waits[kind] = (struct session_held){
        .held = true,
        .token = token,
        .written = written,
        .seen = seen,
        .due_ns = now_ns() + SESSION_WAIT_MS * 1000000ull,
    };
    return true;
}

bool session_idle(struct gpu_session *session, struct vhost_token token, uint32_t written)
{
    if (!session->waits[VD_VIRTGPU_FOR_DATA].held)
        return false;
    for (size_t i = 0; i < SESSION_MAX_IDLE; i++) {
        if (!session->idle[i].held) {
            session->idle[i] =
                (struct session_held){.held = true, .token = token, .written = written};
            return true;
        }
    }
    /* One wake-up for all of them. */
    for (size_t i = 0; i < SESSION_MAX_IDLE; i++)
        release(session, &session->idle[i]);
    return false;
}

int session_due(struct gpu_session *session, uint64_t now)
{
    int next = -1;

    for (size_t i = 0; i < VD_VIRTGPU_WAITS; i++) {
        struct session_held *held = &session->waits[i];
        int ms;

        if (held->held && held->due_ns <= now)
            wake(session, (enum vd_virtgpu_wait)i);
        if (!held->held)
            continue;
        ms = (int)((held->due_ns - now) / 1000000u) + 1;
        next = next < 0 || ms < next ? ms : next;
    }
    return next;
}

struct pollfd session_poll(const struct gpu_session *session)
{
    short events =
        (short)((session->room_wanted ? POLLOUT : 0) | (session->data_wanted ? POLLIN : 0));

    /* A socket whose other end is gone is always ready. */
    return (struct pollfd){.fd = events ? session->fd : -1, .events = events};
}
