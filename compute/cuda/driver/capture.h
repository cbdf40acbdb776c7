/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_CAPTURE_H
#define VIADUCT_CUDA_CAPTURE_H

#include "graph.h"

/* Streams that are captured; all with the lock. */

struct capture {
    struct CUgraph_st *graph;
    struct CUstream_st *origin;
    uint64_t id;
    CUstreamCaptureMode mode;
    uint64_t thread; /* which began it: its id */
    bool broken;
    bool given; /* the graph is the program's: cuStreamBeginCaptureToGraph */
    unsigned streams;
    struct CUgraphNode_st **left; /* what a stream needed, until the program set what it needs */
    size_t left_count;
    struct branch {
        struct CUstream_st *stream;
        struct CUgraphNode_st **tail; /* what its next node needs */
        size_t count;
        struct branch *next;
    } * branches;
};

/* capture_mode.c: a capture begins or ends, by the thread that calls. */
void capture_count(struct capture *c);
void capture_discount(const struct capture *c);
/* Whether the thread that calls may end it. */
bool capture_is_mine(const struct capture *c);

#endif
