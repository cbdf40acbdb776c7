/* SPDX-License-Identifier: MIT */
#ifndef EP_EMIT_H
#define EP_EMIT_H

#include "compute/npu/client/proto_writer.h"
#include "ep.h"
#include "names.h"

/*
 * A part of a graph of the runtime's as an ONNX model: nodes, in an order in which they can be
 * computed, the values that come in and go out. Constants that the nodes read become part of the
 * model, those in files beside it, too.
 */

/* Values of nodes. Owned by who fetched them, the texts and objects by the runtime. */
struct emit_values {
    const struct ort_value_info **at; /* NULL: an optional one that is not there */
    size_t count;
};

struct emit_node {
    const struct ort_node *node;
    const char *type, *domain;                    /* domain "" is ONNX's own */
    struct emit_values inputs, implicit, outputs; /* implicit: those of its subgraphs */
};

struct emit_graph {
    const struct ort_graph *graph;
    struct emit_node *nodes;
    size_t count;
};

/* Fetches a graph's nodes; to be finished in any case. */
struct ort_status *emit_graph_read(struct emit_graph *g, const struct ort_graph *graph);
void emit_graph_finish(struct emit_graph *g);
struct ort_status *emit_node_inputs(const struct ort_node *node, struct emit_values *ret_values);
struct ort_status *emit_node_outputs(const struct ort_node *node, struct emit_values *ret_values);

/* NULL for a value that is not there. */
const char *emit_name(const struct ort_value_info *info);
/* Whether it never changes: then it is part of the model. */
bool emit_is_constant(const struct ort_value_info *info);
/* Type of elements of a tensor; 0 if it is no tensor, or its type is not known. */
int emit_dtype(const struct ort_value_info *info);

/*
 * Writes the model of those nodes whose `part[i]` is `which` (NULL: all). A writer that failed, or
 * what the runtime or the host has no words for, is a status.
 */
struct ort_status *emit_model(const struct emit_graph *g, const uint32_t *part, uint32_t which,
                              const struct emit_values *inputs, const struct emit_values *outputs,
                              struct proto_writer *writer);

#endif
