/* SPDX-License-Identifier: MIT */
#ifndef GPU_SESSION_H
#define GPU_SESSION_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <vhost/vhost.h>

#include "window.h"

/*
 * One guest process's session with viaductd: moves bytes between its window and a socket, and holds
 * the answers of commands that wait. The bytes go from the guest's pages into the socket and back
 * without being looked at: viaductd checks every one, as it does for other guests.
 */
#define SESSION_MAX_IDLE 4    /* kicks whose answer waits until there is something to tell */
#define SESSION_WAIT_MS  5000 /* a wait is answered after this */

/* Gives the answer of a held request to the guest. */
typedef void session_answer(void *arg, struct vhost_token token, uint32_t written);

struct session_held {
    bool held;
    struct vhost_token token;
    uint32_t written;
    uint32_t seen;   /* WAIT */
    uint64_t due_ns; /* WAIT: answered by then in any case */
};

struct gpu_session {
    const struct gpu_resource *resource; /* of the window */
    struct window window;
    int fd;           /* to viaductd; -1: ended */
    bool room_wanted; /* the socket is full */
    bool data_wanted; /* the ring to the guest has room */
    struct session_held waits[VD_VIRTGPU_WAITS];
    struct session_held idle[SESSION_MAX_IDLE];
    uint64_t to_host, to_guest; /* bytes so far */
    session_answer *answer;
    void *arg; /* of answer */
};

/* Takes `fd`, a stream that does not block, over on success; the window must be open. */
int session_init(struct gpu_session *session, const struct gpu_resource *resource,
                 const struct window *window, int fd, session_answer *answer, void *arg);
/* Answers all, says `err` (0: regular) in the page if the window is still there, closes. */
void session_finish(struct gpu_session *session, int err);
/* Moves what can be moved without waiting. -VD_ERR_GONE or -VD_ERR_PROTOCOL: finish it. */
int session_run(struct gpu_session *session);
/* Holds a WAIT, or returns false: answer it now. */
bool session_wait(struct gpu_session *session, enum vd_virtgpu_wait kind, uint32_t seen,
                  struct vhost_token token, uint32_t written);
/* Holds the answer of a KICK that nobody waits for, or returns false. */
bool session_idle(struct gpu_session *session, struct vhost_token token, uint32_t written);
/* Answers all that is held. */
void session_answer_all(struct gpu_session *session);
/* Answers what is due; milliseconds until the next is, or -1. */
int session_due(struct gpu_session *session, uint64_t now_ns);
/* What to poll for; fd -1: nothing. */
struct pollfd session_poll(const struct gpu_session *session);

#endif
