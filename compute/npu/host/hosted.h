/* SPDX-License-Identifier: MIT */
#ifndef NPU_HOSTED_H
#define NPU_HOSTED_H

#include <stdbool.h>
#include <stddef.h>
#include <transport/arena.h>
#include <viaduct/protocol.h>

#include "pictures.h"
#include "shelf.h"

/*
 * A model of a client and its jobs: loads, runs and fetches, done in their order on a thread of its
 * own. Who asks is never kept waiting, but for runs that were quick each time: those are done at
 * once, on the caller's thread, since waking another one costs more.
 *
 * All functions are called on the session's thread. What comes from the guest has passed the checks
 * of dispatch; -VD_ERR_PROTOCOL says that the session must end.
 */
struct hosted;

struct hosted_setup {
    uint32_t id;
    struct arena *arena;   /* outlives the model */
    struct shelf *shelf;   /* of all models of the client; outlives the model */
    uint64_t size;         /* of the model, in bytes */
    uint32_t threads;      /* of a run, 0: as the provider likes */
    bool require;          /* one of `devices` or none */
    uint32_t milliseconds; /* most time of a run, 0: no limit but what it says itself */
    char devices[VD_ENGINE_BYTES];
    /* Memory on the client's account; any thread. */
    int (*alloc)(void *owner, size_t size, void **ret_memory);
    void (*free)(void *memory);
    void *owner;
    uint64_t *runs; /* counts those that came to an end; relaxed */
    /* Inputs that are surfaces; NULL: there are none. */
    const struct pictures_ops *pictures;
    void *pictures_owner;
};

/* 0, -VD_ERR_LIMIT, -VD_ERR_MEMORY. */
int hosted_create(const struct hosted_setup *setup, struct hosted **ret_model);
uint32_t hosted_id(const struct hosted *model);
/* The next bytes. 0 or -VD_ERR_PROTOCOL. */
int hosted_data(struct hosted *model, const struct vd_npu_data_req *req);
/* Whether a model of this hash is there; then it needs no bytes. 0 or -VD_ERR_PROTOCOL. */
int hosted_have(struct hosted *model, const struct vd_npu_have_req *req, bool *ret_known);
/* Jobs. 0, -VD_ERR_PROTOCOL or -VD_ERR_MEMORY. */
int hosted_load(struct hosted *model, const struct vd_npu_load_req *req);
int hosted_run(struct hosted *model, const struct vd_npu_run_req *req,
               const struct vd_npu_value *values, uint32_t count);
int hosted_fetch(struct hosted *model, const struct vd_npu_fetch_req *req,
                 const struct vd_npu_value *values, uint32_t count);
void hosted_cancel(struct hosted *model, uint32_t job);
/* Somebody waits for this job: what the pictures of it and of those before it need is told. */
void hosted_kick(struct hosted *model, uint32_t job);
/* Gives up all jobs: none is published any more. What runs may still write where it was told to. */
void hosted_leave(struct hosted *model);
/*
 * Frees a model that has left, if its thread ends within `milliseconds`. False: it goes on with
 * what cannot be interrupted.
 */
bool hosted_reap(struct hosted *model, int milliseconds);

#endif
