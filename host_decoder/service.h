/* SPDX-License-Identifier: MIT */
#ifndef HOST_SERVICE_H
#define HOST_SERVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "policy.h"
#include "stats.h"

/* The listener: accepts clients by policy and hands them to the nursery. Holds no codec. */

#define SERVICE_MAX_ALLOWED 32
#define SERVICE_MAX_LISTEN  8
/* Made if missing: where the system's service listens. */
#define SERVICE_RUN_DIR "/run/viaduct"

struct service_options {
    const char *socket;                     /* path */
    const char *listen[SERVICE_MAX_LISTEN]; /* further ones, as listen_open has them */
    int listen_count;
    /* Files for tls: listeners, "" for none; see transport/tls.h. */
    const char *tls_certificate, *tls_key, *tls_authority, *tls_secret;
    const char *backend;     /* "" for the best */
    uint32_t surface_format; /* VA_FOURCC_* to offer alone, 0: all */
    int threads;             /* a context, 0: as the machine has */
    uint32_t max_clients, max_contexts, max_surfaces;
    uint64_t max_bytes;
    uint64_t max_pixels; /* a second, 0: no limit */
    const char *cuda;    /* what runs CUDA (cuda_engine.h), "" for the best */
    uint64_t max_cuda_bytes;
    uint32_t max_cuda_seconds; /* of a launch, 0: no limit */
    uint32_t max_run_seconds;  /* of a model, 0: no limit */
    const char *npu_cache;     /* folder of compiled models, NULL: none */
    uint64_t npu_cache_bytes;  /* 0: the default */
    bool once;                 /* end after the last client has left */
    int lifeline;              /* end when this descriptor does, -1: none */
    bool allow_any;
    uid_t allow_uid[SERVICE_MAX_ALLOWED];
    gid_t allow_gid[SERVICE_MAX_ALLOWED];
    int allow_uids, allow_gids;
    struct policy policy; /* rules for some clients, which come first */
};

/* Serves until a signal, the lifeline or the last client ends it. The exit code. */
int service_run(const struct service_options *options);

/* clients.c: who is served now, and what was counted. One thread. */

struct client {
    bool used;
    pid_t worker; /* 0 until the nursery said it started */
    uid_t uid;
    pid_t pid;
    const struct policy_rule *rule; /* or NULL */
    struct stats_counters *stats;   /* the worker's page, read only */
};

struct clients {
    struct client slot[VD_MAX_STATS_CLIENTS];
    uint32_t count;
    struct stats_reply totals; /* rows is filled in when asked */
};

/* A free slot with a fresh stats page; ret_stats_fd goes to the worker, the caller closes it. */
int clients_add(struct clients *clients, const struct listen_peer *peer,
                const struct policy_rule *rule, uint32_t *ret_slot, int *ret_stats_fd);
/* How many clients of a rule are served now. */
uint32_t clients_of(const struct clients *clients, const struct policy_rule *rule);
/* The worker is gone: sums its counters up. `died`: by a signal. */
void clients_remove(struct clients *clients, uint32_t slot, bool died);
/* Writes the whole answer of "<socket>.stats" to a descriptor, without blocking. */
void clients_report(struct clients *clients, int fd);

#endif
