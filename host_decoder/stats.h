/* SPDX-License-Identifier: MIT */
#ifndef HOST_STATS_H
#define HOST_STATS_H

#include <stdint.h>
#include <viaduct/limits.h>

/*
 * What a worker counts. One page a worker, shared with the listener, which only reads it: a
 * worker that was taken over can lie about itself and about nobody else.
 *
 * The listener answers whoever connects to "<socket>.stats" (same policy as the service) with
 * one struct stats_reply and then a struct stats_row a client, and closes. Same machine, same
 * build: this is not part of the guest's protocol.
 */
#define STATS_MAGIC 0x54535644u /* "DVST" */

struct stats_counters {
    uint64_t decoded;     /* pictures decoded without errors */
    uint64_t concealed;   /* pictures decoded with damage that was concealed */
    uint64_t failed;      /* pictures lost */
    uint64_t encoded;     /* pictures encoded */
    uint64_t processed;   /* pictures made by video processing */
    uint64_t mapped;      /* pictures the guest looked at, as it says */
    uint64_t bytes_in;    /* slice data received */
    uint64_t bytes_out;   /* coded data made */
    uint64_t frame_bytes; /* frame memory now */
    uint64_t inferences;  /* runs of models that came to an end */
    uint64_t launches;    /* kernels of CUDA given to a queue */
    uint64_t cuda_bytes;  /* device memory now */
    uint32_t contexts;    /* now */
    uint32_t surfaces;    /* now */
    uint32_t models;      /* for inference, now */
    uint32_t zero;
    char backend[VD_NAME_BYTES];
    char engine[VD_ENGINE_BYTES]; /* of the context that was opened last */
    char name[VD_NAME_BYTES];     /* what the guest says it is */
};

struct stats_reply {
    uint32_t magic;
    uint32_t rows;
    uint64_t clients_served; /* since start */
    uint64_t clients_refused;
    uint64_t workers_died;       /* by a signal or the sandbox */
    struct stats_counters ended; /* sums over clients that are gone */
    char backend[VD_NAME_BYTES];
};

struct stats_row {
    uint32_t pid; /* of the worker */
    uint32_t uid; /* of the client */
    uint32_t client_pid;
    uint32_t zero;
    struct stats_counters counters;
};

/* The listener may look at any time. */
static inline void stats_set(uint64_t *value, uint64_t now)
{
    __atomic_store_n(value, now, __ATOMIC_RELAXED);
}

/* What others wrote with the functions above, of either width. */
#define STATS_GET(counters, member) __atomic_load_n(&(counters).member, __ATOMIC_RELAXED)

static inline void stats_add(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

#endif
