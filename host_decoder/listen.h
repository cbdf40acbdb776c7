/* SPDX-License-Identifier: MIT */
#ifndef HOST_LISTEN_H
#define HOST_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <transport/channel.h>
#include <transport/tls_proof.h>
#include <transport/vm.h>

/*
 * The sockets that viaductd listens on beside its own (--listen), and the kinds of channel that a
 * worker makes of a client's socket: one row a kind in listen.c.
 */
enum listen_kind {
    LISTEN_UNIX,
    LISTEN_TCP,
    LISTEN_VSOCK,
    LISTEN_TLS,
    LISTEN_VM, /* relays of virtual machines, transport/vm.h */
    LISTEN_KINDS,
};

struct listener {
    int fd;
    enum listen_kind kind;
    const char *uri;  /* as the user wrote it; not owned */
    const char *path; /* to be removed when it closes, or NULL; not owned */
};

/* What is known of a client before it says a word; with TLS later, whom it proved to be. */
struct listen_peer {
    uid_t uid;              /* unix: its user, vm: the relay's, else -1 */
    gid_t gid;              /* the same one's group, else -1 */
    pid_t pid;              /* unix: its process, vm: the relay, else 0 */
    char vm[VM_NAME_BYTES]; /* vm: the machine, "" for none */
    uint32_t cid;           /* vsock: the machine */
    uint8_t address[16];    /* tcp, tls; IPv4 as ::ffff:a.b.c.d */
    bool has_address;
    const struct tls_proof *proof;       /* NULL: not known (yet); not owned */
    char text[96 + VD_PROOF_NAME_BYTES]; /* for people */
};

/*
 * Opens "scheme:address"; says on the log what is wrong with it. A Unix socket gets that mode. 0
 * or an error code.
 */
int listen_open(const char *uri, mode_t mode, struct listener *ret_listener);
void listen_close(struct listener *listener);
/* "unix", "tcp", ... */
const char *listen_scheme(enum listen_kind kind);
/* Accepts a client; -1: nobody is there any more. */
int listen_accept(const struct listener *listener, struct listen_peer *ret_peer);
/* The worker's end of a client of this kind, which takes the socket over. */
int listen_channel(enum listen_kind kind, int fd, struct channel **ret_channel);

#endif
