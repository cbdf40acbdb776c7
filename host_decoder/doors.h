/* SPDX-License-Identifier: MIT */
#ifndef HOST_DOORS_H
#define HOST_DOORS_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <transport/tls_proof.h>
#include <viaduct/limits.h>

#include "listen.h"

/*
 * The listener's handshakes of TLS that are not over: each is a porter's (porter.h), has a time,
 * and there are so many at most, so many of one address, so that nobody who proves nothing keeps
 * others out. One thread.
 */

struct door {
    bool used;
    bool leaving;    /* refused: only what it was told is on its way */
    int refusal;     /* what it will be told whoever it is, 0: that depends */
    int proof;       /* the porter tells who it is */
    int plain;       /* the client's bytes, -1: given away */
    uint64_t opened; /* the order of them */
    uint64_t until;  /* milliseconds */
    const struct listener *listener;
    struct listen_peer peer;
};

struct doors {
    struct door at[VD_MAX_DOORS];
    uint64_t opened;
};

/*
 * Hands a client's socket, which stays the caller's, to a porter. Where all doors are taken the
 * oldest of the address that has the most is shut. 0, -VD_ERR_BUSY (this address has its share), or
 * what the sockets' or the nursery's failure is.
 */
int door_open(struct doors *doors, int nursery, const struct listener *listener,
              const struct listen_peer *peer, int client, int refusal, uint64_t now);
/*
 * Who it is, when there is something to read. -VD_ERR_GONE: the porter is at its end, with the
 * handshake failed, or what a refused client was told delivered.
 */
int door_read(struct door *door, struct tls_proof *ret_proof);
/* The client was told why not, on `plain`, which is closed: a little time for its way there. */
void door_refused(struct door *door, uint64_t now);
/* The porter goes its way: with a client that is served, or to its end. */
void door_leave(struct door *door);
/* The time is over, or was: ends the porter. */
void door_shut(struct doors *doors, int nursery, struct door *door);
/* Fills one entry a door; returns the time until the first one's end, -1 for none. */
int doors_poll(struct doors *doors, struct pollfd *p, uint64_t now);
/* The nursery is gone, and all porters with it. */
void doors_clear(struct doors *doors);

#endif
