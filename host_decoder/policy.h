/* SPDX-License-Identifier: MIT */
#ifndef HOST_POLICY_H
#define HOST_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "listen.h"

/*
 * Rules of viaductd.conf ("[client NAME]"): whom they are for, whether they are served, and what
 * they may have. The first rule that matches a client is its rule. What a client is matched by is
 * known from its socket, before it says a word, or from its handshake of TLS.
 */

#define POLICY_MAX_RULES    32
#define POLICY_MAX_FROM     16
#define POLICY_MAX_ON       8
#define POLICY_NAME_BYTES   32
#define POLICY_MAX_BACKENDS 8 /* lists of engines beside --backend */

enum policy_what {
    POLICY_USER, /* of this machine: a program's, or a relay's */
    POLICY_GROUP,
    POLICY_VM,          /* by the name that its relay says; * and ? as in file names */
    POLICY_CID,         /* by its number, where the kernel has vsock */
    POLICY_ADDRESS,     /* of another machine, or a network of them */
    POLICY_CERTIFICATE, /* tls: a name in it, * and ? as in file names */
    POLICY_SECRET,      /* tls: the name of the secret that it knows, likewise */
};

struct policy_match {
    enum policy_what what;
    uint32_t number; /* user, group, CID */
    char text[VD_PROOF_NAME_BYTES];
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned bits;       /* of it that count */
};

enum policy_serve {
    POLICY_AS_OTHERS, /* as --allow-... has it */
    POLICY_YES,
    POLICY_NO,
};

struct policy_rule {
    char name[POLICY_NAME_BYTES];
    const char *on[POLICY_MAX_ON]; /* "vm", or "tcp:127.0.0.1:7474"; not owned */
    int on_count;                  /* 0: wherever it comes in */
    struct policy_match from[POLICY_MAX_FROM];
    int from_count; /* 0: whoever it is */
    enum policy_serve serve;
    /* 0: what all others may have. */
    uint32_t max_clients; /* of this rule, at a time */
    uint32_t max_contexts, max_surfaces;
    uint64_t max_bytes, max_pixels, max_cuda_bytes;
    bool no_cuda;
    const char *backend; /* NULL: the service's; not owned */
    const char *region;  /* folder of the machine's regions (region.h), NULL: none; not owned */
};

struct policy {
    struct policy_rule rule[POLICY_MAX_RULES];
    int count;
};

/*
 * "user:jellyfin", "group:render", "vm:web-*", "cid:3", "address:10.0.0.0/8", "certificate:*.lan",
 * "secret:vm1". NULL, or what is wrong with it, for people. Looks users and groups up.
 */
const char *policy_from(const char *text, struct policy_match *ret_match);
/* "vm", "tcp:127.0.0.1:7474": NULL or what is wrong with it. */
const char *policy_on(const char *text);
/*
 * Whether the rule of a client depends on whom it proves to be, which its socket does not tell.
 */
bool policy_asks(const struct policy *policy, const struct listener *listener,
                 const struct listen_peer *peer);
/* The rule of a client, NULL if there is none. */
const struct policy_rule *policy_find(const struct policy *policy, const struct listener *listener,
                                      const struct listen_peer *peer);
/*
 * The lists of engines that rules choose, each once, in the order of the rules; returns how many.
 * `room` of POLICY_MAX_BACKENDS is enough for what options.c lets through.
 */
int policy_backends(const struct policy *policy, const char **ret_backends, int room);
/* Whether a process is in a group: its own, or one of its further ones. */
bool policy_in_group(pid_t pid, gid_t own, gid_t wanted);

#endif
