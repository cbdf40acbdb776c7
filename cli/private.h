/* SPDX-License-Identifier: MIT */
#ifndef CLI_PRIVATE_H
#define CLI_PRIVATE_H

#include <signal.h>
#include <sys/types.h>

/*
 * A viaductd of one's own: for a user, in a directory of its own, gone when we are, however we
 * end (it watches the other end of a pipe).
 */
/* Options of viaductd, NULL for its defaults. */
struct private_options {
    const char *backend, *threads, *surface_format;
};

struct private_service {
    pid_t pid; /* 0: none */
    int lifeline;
    char directory[64];
    char uri[96];
};

/*
 * Starts one and waits until it serves; prints what went wrong.
 * `signals` are blocked in the caller: one of them but SIGCHLD ends the wait and is returned
 * (positive). Zeroes the struct on failure.
 */
int private_start(const struct private_options *options, const sigset_t *signals,
                  struct private_service *ret_service);
/* Stops it and removes its directory; fine for a zeroed struct. */
void private_stop(struct private_service *service);

#endif
