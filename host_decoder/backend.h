/* SPDX-License-Identifier: MIT */
#ifndef HOST_BACKEND_H
#define HOST_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <viaduct/codecs.h>
#include <viaduct/protocol.h>

#include "bitstream/bitstream.h"
#include "block.h"
#include "pool.h"

/*
 * What a back end is to the rest of the host. It sees this header and what it includes, nothing
 * else of the service.
 */

struct backend_options {
    int threads; /* decoder threads a context, 0: as many as the machine has (16 at most) */
    uint32_t surface_format; /* VA_FOURCC_* to offer alone, 0: all */
};

/*
 * One picture on its way. It belongs to the context (context.c); the back end holds it from
 * submit until it calls backend_done, exactly once.
 */
struct backend_job {
    struct surface *surface;
    uint32_t sequence;   /* of the surface */
    uint32_t flags;      /* VD_SUBMIT_* */
    struct surface *display; /* gets the picture with film grain, or NULL */
    uint32_t display_sequence;
    uint64_t number;     /* of the context, from 1 */
    int refused;         /* not 0: the picture could not be built; only ordering is left to do */
    struct block *block; /* holds the packet */
    struct bitstream_packet packet; /* empty for back ends without a builder */
    /* The back end's own: */
    struct backing *backing; /* memory this picture is decoded into, one reference */
    struct backing *display_backing;
    void *frame;
    struct backend_job *pair; /* a first field that completes with this second one */
    int status;
    uint32_t errors;
    bool done;
};

struct backend_context_info {
    uint32_t profile, entrypoint, rt_format, width, height;
    enum vd_codec codec;
    const struct backend_options *options;
    /* Called by the back end, on the context's thread, when a picture is complete. */
    void (*done)(void *arg, struct backend_job *job);
    void *done_arg;
};

struct backend_context_traits {
    uint32_t flags; /* VD_CONTEXT_* */
    uint32_t depth; /* pictures in flight that keep it busy, 1 to VD_MAX_IN_FLIGHT */
};

struct backend {
    const char *name;
    /*
     * submit and flush only pass work on and take microseconds: they run on the session's thread,
     * which saves a wake-up a picture. Otherwise each context has a thread of its own.
     */
    bool immediate;
    /*
     * Before the sandbox closes, in the process that later forks the workers: load libraries,
     * open devices. 0 if the back end can serve here. Optional.
     */
    int (*probe)(const struct backend_options *options);
    /* Profiles and entry points it serves; returns how many rows were written. */
    uint32_t (*caps)(struct vd_cap *ret_caps, uint32_t room);
    /* The builder a codec's pictures go through; NULL: submit gets no packet. Optional. */
    const struct bitstream_builder *(*builder)(enum vd_codec codec);
    /* Opens a decoder and fills in what the guest must know of it. */
    int (*context_create)(const struct backend_context_info *info, void **ret_context,
                          struct backend_context_traits *ret_traits);
    /* All below are called by one thread at a time. */
    /*
     * The decoder goes on in another context of the same codec, with no picture on its way: `info`
     * replaces that of context_create. Optional: without it no decoder outlives its context.
     */
    void (*context_adopt)(void *context, const struct backend_context_info *info);
    /* Takes the job; completes it and maybe earlier ones, now or in later calls. */
    void (*submit)(void *context, struct backend_job *job);
    /*
     * Completes all jobs up to `number` without more input. Later ones may stay (a first field
     * whose second is about to come must).
     */
    void (*flush)(void *context, uint64_t number);
    /* Gives up what is not complete (no more done calls). */
    void (*context_destroy)(void *context);
};

#define BACKEND_SET_MAX 8

/* The back ends of a service, best first: each profile is served by the first that has it. */
struct backend_set {
    const struct backend *at[BACKEND_SET_MAX];
    uint32_t count;
    char name[VD_NAME_BYTES]; /* "avcodec+dav1d" */
};

/*
 * backend/list.c: by name, or all that can serve (but null) if name is NULL or empty.
 * -VD_ERR_UNSUPPORTED if none.
 */
int backend_select(const char *name, const struct backend_options *options,
                   struct backend_set *ret_set);

extern const struct backend backend_avcodec;
extern const struct backend backend_dav1d;
extern const struct backend backend_null;

#endif
