/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_GRAPH_H
#define VIADUCT_CUDA_GRAPH_H

#include "internal.h"

/* Graphs, and streams that are captured. All with the lock. */

/* Attributes of kernel nodes that can be set: graph_attribute.c says which. */
#define GRAPH_ATTRIBUTES 7
/* Bodies of a switch: CUDA names no limit. */
#define MAX_CONDITION_BODIES 1024

/*
 * Device memory of graphs: what an allocation node gives, or the word of a condition, whose address
 * is its handle. Nodes hold it, also those of instantiated graphs.
 */
struct graph_block {
    struct CUctx_st *context; /* while the memory is there */
    int device;
    uint64_t address, size;
    unsigned references;
    unsigned executables; /* instantiated graphs with the node that allocates it */
    bool live;            /* a launch has allocated it, and nothing has freed it yet */
    bool reserved;        /* it is counted: some launch has had it */
    uint32_t value;       /* of a condition when a launch begins */
    unsigned flags;
    bool used; /* a condition: there is a node */
};

struct CUgraphNode_st {
    struct CUgraph_st *graph;
    uint64_t id, origin; /* origin: the id of the node that this one is a clone of, or 0 */
    CUgraphNodeType type;
    CUgraphNodeParams params; /* as the program gave them; arrays in it are in `owned` */
    void *owned;
    struct cuda_command command;                         /* kernel, memcpy, memset */
    size_t value_count;                                  /* kernel: of params.kernel.kernelParams */
    CUlaunchAttributeValue attributes[GRAPH_ATTRIBUTES]; /* kernel */
    bool disabled;
    struct graph_block *block;  /* allocation, condition: held */
    struct CUgraph_st **bodies; /* child graph: one; condition: as many as it has; owned */
    unsigned body_count;
    struct CUgraphNode_st **needs;
    CUgraphEdgeData *edges; /* one a need */
    size_t need_count;
    bool done;    /* while they are brought in order */
    size_t place; /* while its graph is cloned */
};

struct CUgraph_st {
    struct CUgraphNode_st **nodes;
    size_t count, room;
    bool owned;                    /* by a node, or a capture that goes on */
    unsigned references;           /* further ones, of launches that go on */
    struct CUgraphNode_st **order; /* of an instantiated graph */
    struct graph_block **conditions;
    size_t condition_count;
    struct graph_user {
        CUuserObject object;
        unsigned count;
        struct graph_user *next;
    } * users;
};

struct CUgraphExec_st {
    struct CUgraph_st *graph;
    unsigned long long flags;
    struct graph_runner *runner; /* NULL: it has no conditions */
};

/* graph.c */
CUresult graph_create(struct CUgraph_st **ret_graph);
/* Also gives up a reference. */
void graph_destroy(struct CUgraph_st *g);
/* To instantiate: allocation nodes are cloned, too. */
CUresult graph_clone(const struct CUgraph_st *g, bool instantiate, struct CUgraph_st **ret_graph);
/* A node without parameters. Takes `needs`, which may hold a node more than once; `edges` may be
 * NULL. */
CUresult graph_add(struct CUgraph_st *g, CUgraphNodeType type, struct CUgraphNode_st *const *needs,
                   const CUgraphEdgeData *edges, size_t count, struct CUgraphNode_st **ret_node);
void graph_remove(struct CUgraphNode_st *n);
/* Its nodes in `order`, and those of the graphs in it, so that each comes behind what it needs.
 * CUDA_ERROR_INVALID_VALUE: a cycle. */
CUresult graph_settle(struct CUgraph_st *g);
/* Whether it, or a graph in it, has nodes of this kind. */
bool graph_has(const struct CUgraph_st *g, CUgraphNodeType type);
/* Take the lock. */
CUresult graph_enter(CUgraph graph);
CUresult graph_enter_node(CUgraphNode node, int type);

/* graph_edge.c */
bool graph_edge_valid(const struct CUgraphNode_st *from, const CUgraphEdgeData *edge);
void graph_edge_forget(struct CUgraphNode_st *n, const struct CUgraphNode_st *need);

/* graph_node.c: what nodes do, by their kind. */

/* Parameters of a node, for the first time or again. What allocations and conditions give is
 * written into `p`. On failure they stay. */
CUresult graph_node_set(struct CUgraphNode_st *n, CUgraphNodeParams *p);
/* A captured launch. */
CUresult graph_node_set_launch(struct CUgraphNode_st *n, CUfunction function,
                               struct CUctx_st *context, const struct cuda_command *c);
/* What the node points to belongs to the node. */
void graph_node_get(const struct CUgraphNode_st *n, CUgraphNodeParams *ret);
CUresult graph_node_copy(const struct CUgraphNode_st *from, struct CUgraphNode_st *to);
void graph_node_clear(struct CUgraphNode_st *n);
/* Gives the work of a node to a stream; not of a graph in it. */
CUresult graph_node_submit(const struct CUgraphNode_st *n, struct CUstream_st *s);
/* Whether one may take the other's place in an instantiated graph. */
CUgraphExecUpdateResult graph_node_compare(const struct CUgraphNode_st *a,
                                           const struct CUgraphNode_st *b);
bool graph_node_in_body(CUgraphNodeType type); /* of a condition */
bool graph_node_can_disable(CUgraphNodeType type);
/* Kinds whose parameters can be set again. */
bool graph_node_can_set(CUgraphNodeType type);
const char *graph_node_name(CUgraphNodeType type);

/* graph_memory.c */
CUresult graph_block_create(struct CUctx_st *c, uint64_t size, struct graph_block **ret_block);
void graph_block_hold(struct graph_block *b);
/* The last reference of memory that is not live gives it back, behind all work of its context. */
void graph_block_release(struct graph_block *b);
/* Its memory goes with its context. */
void graph_block_lost(struct graph_block *b);
/* A launch allocates or frees; a program frees. */
CUresult graph_block_take(struct graph_block *b);
CUresult graph_block_give(struct graph_block *b);
/* The allocation that begins at an address, or NULL. */
struct graph_block *graph_block_at(uint64_t address);
/* The allocations of a graph that live, before it is launched. `again`: they count as freed. */
CUresult graph_memory_prepare(const struct CUgraph_st *g, bool again);
CUresult graph_memory_check(const CUDA_MEM_ALLOC_NODE_PARAMS *p);

/* graph_condition.c, graph_runner.c */
struct graph_block *graph_condition_at(const struct CUgraph_st *g, CUgraphConditionalHandle handle);
/* Commands that set conditions to their defaults. */
CUresult graph_condition_reset(const struct CUgraph_st *g, struct CUstream_st *s);
/* A thread that decides which bodies run: a graph with conditions is not known when it is
 * launched. */
CUresult graph_runner_create(struct graph_runner **ret_runner);
/* What was launched goes on. */
void graph_runner_destroy(struct graph_runner *r);
CUresult graph_runner_launch(struct graph_runner *r, struct CUgraph_st *g, struct CUstream_st *s);
/* Waits for what was launched; gives up the lock meanwhile. */
void graph_runner_settle(struct graph_runner *r);

/* graph_params.c: parameters of the first version as those of the last. */
CUDA_KERNEL_NODE_PARAMS graph_params_kernel(const CUDA_KERNEL_NODE_PARAMS_v1 *p);
CUDA_MEMSET_NODE_PARAMS_v2 graph_params_memset(const CUDA_MEMSET_NODE_PARAMS *p, CUcontext context);
/* Whether the fields that mean nothing yet are zero. */
bool graph_params_plain(const CUgraphNodeParams *p);

/* graph_exec.c */
/* All nodes of a settled graph without conditions. */
CUresult graph_exec_submit(const struct CUgraph_st *g, struct CUstream_st *s);
/* Whether both have nodes of one kind, that need one another alike. */
CUgraphExecUpdateResult graph_exec_compare(const struct CUgraph_st *a, const struct CUgraph_st *b,
                                           CUgraphNode *ret_node);
/* A copy of `graph`, which compares, in the place of an instantiated one; nodes go by their names
 * there. */
CUresult graph_exec_replace(const struct CUgraph_st *graph, struct CUgraph_st **at);

/* graph_exec_params.c: whether a node of an instantiated graph may get other parameters: copies
 * between the same kinds of memory, memsets of as many rows. */
bool graph_copy_fits(const CUDA_MEMCPY3D *now, const CUDA_MEMCPY3D *then);
bool graph_memset_fits(const CUDA_MEMSET_NODE_PARAMS_v2 *now,
                       const CUDA_MEMSET_NODE_PARAMS_v2 *then);

/* hints.c: whether a window of the cache can be meant. */
bool hints_window_is_sane(const CUaccessPolicyWindow *w);

/* user_object.c */
CUresult user_object_hold(CUuserObject object, unsigned count);
CUresult user_object_drop(CUuserObject object, unsigned count);

/* launch.c, copy.c, set.c, value.c: commands of parameters. */
CUresult launch_prepare(CUfunction function, const CUlaunchConfig *g, bool cooperative,
                        void **parameters, void **extra, struct CUctx_st *context,
                        struct cuda_command *ret_command, void **ret_owned);
CUresult copy_prepare(const CUDA_MEMCPY3D *c, struct cuda_command *ret_command);
CUresult set_prepare(const CUDA_MEMSET_NODE_PARAMS *p, struct cuda_command *ret_command);
CUresult value_prepare(const CUstreamBatchMemOpParams *p, struct cuda_command *ret_command);
#define VALUE_MOST 256u /* operations of a batch */

/* capture.c: what a captured stream is given becomes nodes. */
CUresult capture_command(struct CUstream_st *s, const struct cuda_command *c);
CUresult capture_launch(struct CUstream_st *s, const struct cuda_command *c, CUfunction function);
/* A node of these parameters, behind all that the stream has. */
CUresult capture_node(struct CUstream_st *s, CUgraphNodeParams *p);
CUresult capture_record(struct CUstream_st *s, CUevent event);
CUresult capture_wait(struct CUstream_st *s, CUevent event);
/* For what cannot be captured: the capture is of no use any more. */
CUresult capture_refuse(struct CUstream_st *s);
/* capture_mode.c. For calls that might wait: no thread that captures makes them, nor, as a rule,
 * another. A capture is of no use after one. */
CUresult capture_unsafe(void);
/* enter_context for such a call. */
CUresult capture_enter(struct CUctx_st **ret_context);
/* For what concerns all streams of a context. */
CUresult capture_refuse_context(const struct CUctx_st *c);
/* capture.c. Whether the capture that an event was recorded in goes on. */
bool capture_has(const struct CUevent_st *event);
/* The stream goes. */
void capture_drop(struct CUstream_st *s);

#endif
