/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_GRAPH_H
#define VIADUCT_CUDA_GRAPH_H

#include "internal.h"

/* Graphs, and streams that are captured. All with the lock. */

struct CUgraphNode_st {
    struct CUgraph_st *graph;
    uint64_t id, origin; /* origin: the id of the node that this one is a clone of, or 0 */
    CUgraphNodeType type;
    struct cuda_command command; /* kernel (its parameters are owned), memcpy, memset */
    CUfunction function;         /* as the program named it */
    CUDA_HOST_NODE_PARAMS host;
    struct CUgraph_st *child; /* owned */
    CUevent event;
    struct CUgraphNode_st **needs;
    size_t need_count;
    bool done; /* while they are brought in order */
};

struct CUgraph_st {
    struct CUgraphNode_st **nodes;
    size_t count, room;
    bool owned; /* by a node, or a capture that goes on */
};

CUresult graph_create(struct CUgraph_st **ret_graph);
void graph_destroy(struct CUgraph_st *g);
CUresult graph_clone(const struct CUgraph_st *g, struct CUgraph_st **ret_graph);
/* Takes `needs`, which may hold a node more than once. */
CUresult graph_add(struct CUgraph_st *g, CUgraphNodeType type, struct CUgraphNode_st *const *needs,
                   size_t count, struct CUgraphNode_st **ret_node);
void graph_remove(struct CUgraphNode_st *n);
CUresult graph_set_launch(struct CUgraphNode_st *n, CUfunction function,
                          const struct cuda_command *c);
/* The nodes so that each comes behind what it needs; to be freed. CUDA_ERROR_INVALID_VALUE: a
 * cycle. */
CUresult graph_order(const struct CUgraph_st *g, struct CUgraphNode_st ***ret_nodes);

/* Params of the first version, which is how the second begins. */
CUresult graph_set_kernel(struct CUgraphNode_st *n, const CUDA_KERNEL_NODE_PARAMS_v1 *p,
                          CUkernel kernel);

CUresult launch_prepare(CUfunction function, const CUlaunchConfig *g, bool cooperative,
                        void **parameters, void **extra, struct CUctx_st *context,
                        struct cuda_command *ret_command, void **ret_owned);
CUresult copy_prepare(const CUDA_MEMCPY3D *c, struct cuda_command *ret_command);
CUresult set_prepare(const CUDA_MEMSET_NODE_PARAMS *p, struct cuda_command *ret_command);

/* capture.c: what a captured stream is given becomes nodes. */
CUresult capture_command(struct CUstream_st *s, const struct cuda_command *c);
CUresult capture_launch(struct CUstream_st *s, const struct cuda_command *c, CUfunction function);
CUresult capture_host(struct CUstream_st *s, CUhostFn function, void *user);
CUresult capture_record(struct CUstream_st *s, CUevent event);
CUresult capture_wait(struct CUstream_st *s, CUevent event);
/* For what cannot be captured: the capture is of no use any more. */
CUresult capture_refuse(struct CUstream_st *s);
/* The stream goes. */
void capture_drop(struct CUstream_st *s);

#endif
