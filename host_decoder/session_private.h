/* SPDX-License-Identifier: MIT */
#ifndef HOST_SESSION_PRIVATE_H
#define HOST_SESSION_PRIVATE_H

#include <transport/message.h>
#include <transport/mirror.h>
#include <wire/dispatch.h>

#include "budget.h"
#include "collect.h"
#include "collect_encode.h"
#include "context.h"
#include "engine.h"
#include "session.h"

/*
 * A session's own things, shared by its files: session.c (its life), session_offer.c (what it says
 * it can), session_context.c, session_surface.c, session_submit.c, session_npu.c (a handler for
 * each call of calls.def). All of it is the session's thread's.
 */

struct session {
    struct channel *channel;
    const struct backend_set *set;
    const struct backend_options *options;
    const struct session_limits *limits;
    struct stats_counters *stats;
    uint32_t state;
    struct arena arena;
    struct pool *pool;
    struct block_pool *blocks;
    struct collect collect;
    struct collect_encode collect_encode;
    struct vd_cap caps[VD_MAX_CAPS];
    uint8_t cap_engine[VD_MAX_CAPS]; /* index into the set */
    uint32_t cap_count;
    void *devices[BACKEND_SET_MAX]; /* of the set's engines that were opened */
    uint32_t context_count, surface_count;
    struct context *contexts[VD_MAX_CONTEXTS];
    struct surface *surfaces[VD_MAX_SURFACES];
    uint32_t consumed;
    uint64_t decoder_count; /* ever opened */
    uint32_t engine;        /* of the newest context; index into the set */
    struct decoder_park park;
    /* Of the picture that is being collected: its surface, and the parked decoder it refers to. */
    uint32_t target, wanted;
    struct budget budget;
    /* Inference (session_npu.c): by slot, where no context is; those that have left and still run.
     */
    struct hosted *models[VD_MAX_CONTEXTS], *leaving[2 * VD_MAX_CONTEXTS];
    uint32_t model_count, leaving_count;
    struct shelf *shelf; /* what they have loaded; NULL until one comes */
    /* session_region.c: what the client may get one of, until HELLO; what says which it got. */
    struct session_region regions[SESSION_MAX_REGIONS];
    uint32_t region_count;
    uint64_t region[2];
    struct cuda_session *cuda; /* sessions with VD_FEATURE_CUDA; else NULL */
};

/* The object of this id, or NULL. */
struct context *session_find_context(struct session *s, uint32_t id);
struct surface *session_find_surface(struct session *s, uint32_t id);
/* The latter as backend_context_info.find_surface. */
struct surface *session_surface_of(void *arg, uint32_t id);
/* mirror_host's release: drops a backing; NULL is fine. */
void session_release(void *hold);
/* For decoder_park_sweep: whether a surface that this decoder decoded is left. */
bool session_decoder_needed(void *arg, uint64_t number);

/*
 * What the engines offer together: for each profile and entry point the first one that has it.
 * Devices are opened here, if they have something to do; returns how many.
 */
uint32_t session_offer(struct session *s);
/* Takes all other surface formats, and what is left without one, out of the offer. */
void session_offer_keep(struct session *s, uint32_t fourcc);
const struct vd_cap *session_offer_find(const struct session *s, uint32_t profile,
                                        uint32_t entrypoint);
/* Whether the engine of this index offers surfaces of that format. */
bool session_offer_has_format(const struct session *s, uint32_t engine,
                              const struct format_info *format);

/* Somebody waits for this picture of a context: it is not held back for more input. */
void session_kick_picture(struct session *s, uint32_t context, uint32_t picture);

/*
 * Memory that the machine has in common with the host (session_region.c). start: the guest can use
 * it; if there is some that nobody has, it becomes the arena, with a waker, before anything is in
 * the other one. Not 0: the session cannot go on. close: those that the client does not get.
 */
int session_region_start(struct session *s);
void session_region_close(struct session *s);

/*
 * Ends all inference. False: something goes on that cannot be interrupted, and what belongs to the
 * session must stay until the process ends.
 */
bool session_npu_finish(struct session *s);

/*
 * CUDA (session_cuda.h), or functions that say that there is none. start: the guest asked for it;
 * 0, or why not. idle: reads the next message, and until it comes looks after the ring. drain: what
 * stands in the ring now; `ret_any`: whether there was something.
 */
int session_cuda_start(struct session *s);
void session_cuda_finish(struct session *s);
int session_cuda_idle(struct session *s, struct message_reader *reader, const uint8_t **ret_bytes,
                      size_t *ret_size, int *ret_fd);
int session_cuda_drain(struct session *s, bool *ret_any);

/* The handlers (dispatch.h). */
#define VD_CALL(number, name, since, kind, states, rt, rn, pt, pn)                           \
    int session_##name(void *self, const struct vd_##name##_req *req, const struct rt *tail, \
                       uint32_t tail_count, struct dispatch_reply *reply);
#include <viaduct/calls.def>

#endif
