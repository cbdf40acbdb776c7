/* SPDX-License-Identifier: MIT */
#ifndef HOST_IPC_H
#define HOST_IPC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "session.h"
#include "stats.h"

/*
 * Between the listener and the nursery, the process that has the codecs loaded and forks one
 * worker a client. Both are Viaduct's own and trust each other; a SOCK_SEQPACKET pair, one struct
 * a message.
 */

/* Listener to nursery. */
enum ipc_what {
    /*
     * A worker for a client; with two descriptors and more: the client's socket, its stats page,
     * and its machine's regions, each opened for this client.
     */
    IPC_SERVE,
    /* A porter (porter.h), with its three descriptors; `slot` is the door's number. */
    IPC_SHAKE,
    /* The porter of that door has had its time. */
    IPC_SHUT,
};

#define IPC_CLIENT_FDS (2 + SESSION_MAX_REGIONS)

struct ipc_client {
    uint32_t what;     /* enum ipc_what */
    uint32_t slot;     /* the listener's number for this client */
    uint32_t kind;     /* enum listen_kind: of the socket */
    uint32_t door;     /* IPC_SERVE: that it came in by, and 1; 0: none */
    uint32_t backends; /* which list of engines: 0 the service's, then policy_backends' */
    /* What it may have; cuda_bytes 0: no CUDA. */
    uint32_t contexts, surfaces;
    uint32_t run_seconds; /* of a model, 0: no limit */
    uint64_t bytes, pixels, cuda_bytes;
};

/* Nursery to listener. */
enum ipc_event_kind {
    IPC_READY,   /* the nursery can serve; `text` names the back end */
    IPC_STARTED, /* slot, pid */
    IPC_ENDED,   /* slot, pid, status as of waitpid */
    IPC_FAILED,  /* nothing can be served; `text` says why */
};

struct ipc_event {
    uint32_t kind;
    uint32_t slot;
    int32_t pid;
    int32_t status;
    char text[128];
};

/* The descriptor the nursery finds its end of the pair on. */
#define IPC_FD 3

/*
 * Its arguments: its name, engines, threads, surface format, certificate, key, authority, secret,
 * CUDA, its bytes and seconds; then the further lists of engines.
 */
#define IPC_ARGUMENTS 11

/* Sends one message with up to IPC_CLIENT_FDS descriptors. 0 or -VD_ERR_GONE. */
int ipc_send(int fd, const void *bytes, size_t size, const int *fds, int fd_count);
/*
 * Receives one message of exactly `size` bytes; descriptors not sent are -1. 0, -VD_ERR_GONE, or
 * -VD_ERR_TIMEOUT if nothing is there.
 */
int ipc_recv(int fd, void *bytes, size_t size, int *ret_fds, int fd_count);

#endif
