/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_CHILD_H
#define VIADUCT_PTX_CHILD_H

#include "internal.h"

/*
 * Launches by kernels: CUDA's device runtime (dynamic parallelism of CUDA 12, "CDP2").
 *
 * What a grid launches, copies and fills waits until its blocks have ended. Then it is done one
 * after the other, in the order in which it was asked for, each with all that it launches in turn;
 * what was given to the tail stream comes last. That is one of the orders that streams and events
 * of kernels allow, so both need no more than a handle. Nothing of a grid can wait for its
 * children, so nobody sees that they come late.
 */

/*
 * What a grid was asked for. Kernels see the parameters alone, and any thread may name any place:
 * what is taken is one thread's, with the lock it goes from hand to hand.
 */
struct child {
    enum child_kind {
        CHILD_FREE,
        CHILD_TAKEN,
        CHILD_READY, /* its parameters are the kernel's */
        CHILD_LAUNCH,
        CHILD_COPY,
        CHILD_SET
    } kind;
    struct ptx_function *function;
    struct ptx_launch request;
    uint64_t to, from, pitch_to, pitch_from, width, height; /* copies and fills */
    uint8_t value;
    uint32_t depth;
    struct child *next;
};

struct child_list {
    struct child *first, **end;
};

/* Of a context. */
struct children {
    pthread_mutex_t lock;
    struct ptx_context *context;
    uint64_t address, texts; /* device memory: parameters; names and texts of errors */
    uint8_t *parameters;     /* the same, for the host */
    struct child *slots, *free[2];
    uint32_t taken;
    uint32_t depth; /* of the grid that runs */
    struct child_list waiting, tail;
};

int children_create(struct ptx_context *context, struct children **ret_children);
/* Its memory is the context's. NULL is fine. */
void children_destroy(struct children *c);
/* Before a grid of the host runs. */
void children_start(struct children *c);
/* Behind it: all that it and its children have asked for; `l` gets what happens. */
void children_run(struct children *c, struct launch *l);

/* For the functions that kernels call; on any thread of a launch. */

/* A place, with room for so many bytes of parameters. NULL: too many wait. */
struct child *child_take(struct children *c, uint32_t bytes);
/* Where its parameters go. */
uint64_t child_address(const struct children *c, const struct child *one);
/* Whoever knows its address may claim it. */
void child_offer(struct children *c, struct child *one);
/* What was offered, by its address: taken again, by the caller. NULL: nothing was. */
struct child *child_claim(struct children *c, uint64_t address);
/* Whether grids would be nested too deeply. */
bool child_deep(const struct child *one);
/* What is taken: away with it. */
void child_give(struct children *c, struct child *one);
/* The same: it waits for its turn. */
void child_queue(struct children *c, struct child *one, enum child_kind kind, bool tail);

/* child_call.c: the builtin of a name, or NULL. */
const struct ptx_builtin *child_builtin(const char *name, size_t size);
/* Whether it is used even where a text has a function of that name: programs are linked with the
 * device runtime of CUDA's toolkit, whose functions call what only NVIDIA's driver has. */
bool child_replaces(const char *name, size_t size);
/* Names and texts of errors, in device memory that kernels can read. */
int child_texts(struct memory *m, uint64_t *ret_address);

#endif
