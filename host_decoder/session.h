/* SPDX-License-Identifier: MIT */
#ifndef HOST_SESSION_H
#define HOST_SESSION_H

#include <transport/channel.h>

struct cuda_backend;

#include "backend.h"
#include "stats.h"

/* Memory that a virtual machine shows to one of its programs (VD_FEATURE_REGION): a piece of a
 * file. */
struct session_region {
    int fd; /* of an open file of its own: it is locked */
    uint64_t offset, bytes;
};

#define SESSION_MAX_REGIONS 8 /* of one machine */

/* What a session may use; the host's configurable limits. */
struct session_limits {
    uint32_t contexts, surfaces;
    uint64_t bytes;                  /* frame memory */
    uint64_t pixels;                 /* a second, 0: no limit (budget.h) */
    const struct cuda_backend *cuda; /* what runs CUDA, NULL: nothing */
    uint64_t cuda_bytes;             /* device memory */
    uint32_t run_seconds;            /* of one run of a model, 0: no limit */
    /* The session takes the descriptors over. */
    struct session_region regions[SESSION_MAX_REGIONS];
    uint32_t region_count;
};

/* Address space of the frame zone: more than the limit, since huge pages leave gaps. */
uint64_t session_frame_zone(const struct session_limits *limits);

/*
 * Loads what inference needs, in the process that forks the workers. Returns whether it wants
 * devices in their sandbox.
 */
bool session_npu_prepare(void);
/* In the nursery, now and then: keeps the cache of compiled models within its limit. */
void session_npu_sweep(void);

/*
 * Serves one client on the calling thread until it leaves or breaks the protocol. Returns 0 when
 * the client left, else the reason. The channel stays the caller's. `ready` (may be NULL) is
 * called once everything that needs the system is set up, before the first message is read: the
 * place to close the sandbox; a failure ends the session.
 */
int session_serve(struct channel *channel, const struct backend_set *set,
                  const struct backend_options *options, const struct session_limits *limits,
                  struct stats_counters *stats, int (*ready)(void *arg, bool devices), void *arg);

#endif
