/* SPDX-License-Identifier: MIT */
#include "internal.h"

/*
 * Resolves names to slots. Nodes must be in an order in which they can run, as the specification
 * asks: so there is no cycle. A subgraph sees what its parents have made before its node.
 */

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;

    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return hash;
}

int onnx_graph_find(const struct graph *graph, const char *name)
{
    if (!graph->hash_size)
        return -1;
    for (size_t at = hash_of(name);; at++) {
        int32_t slot = graph->hash[at & (graph->hash_size - 1)];

        if (!slot)
            return -1;
        if (strcmp(graph->slots[slot - 1].name, name) == 0)
            return slot - 1;
    }
}

static void enter(struct graph *graph, int slot)
{
    size_t at = hash_of(graph->slots[slot].name);

    while (graph->hash[at & (graph->hash_size - 1)])
        at++;
    graph->hash[at & (graph->hash_size - 1)] = slot + 1;
}

int onnx_graph_add(struct graph *graph, const char *name)
{
    struct onnx_model *model = graph->model;

    if (graph->slot_count == graph->slot_room) {
        size_t room = graph->slot_room ? graph->slot_room * 2 : 16;
        struct slot *slots = onnx_model_alloc(model, room, sizeof(*slots));
        int32_t *hash = onnx_model_alloc(model, room * 4, sizeof(*hash));

        if (!slots || !hash)
            return model->error->status;
        if (graph->slot_count)
            memcpy(slots, graph->slots, graph->slot_count * sizeof(*slots));
        graph->slots = slots;
        graph->slot_room = room;
        graph->hash = hash;
        graph->hash_size = room * 4;
        for (size_t i = 0; i < graph->slot_count; i++)
            enter(graph, (int)i);
    }
    graph->slots[graph->slot_count] = (struct slot){.name = name, .last = -1};
    enter(graph, (int)graph->slot_count);
    return (int)graph->slot_count++;
}

static int find_up(struct graph *graph, const char *name, struct reference *ret)
{
    ret->up = 0;
    for (struct graph *g = graph; g; g = g->parent, ret->up++) {
        ret->slot = onnx_graph_find(g, name);
        if (ret->slot < 0)
            continue;
        if (g->slots[ret->slot].last < g->at)
            g->slots[ret->slot].last = g->at;
        return 0;
    }
    return -1;
}

static int find_row(struct graph *graph, struct node *node)
{
    struct onnx_model *model = graph->model;
    int64_t version = 0;
    bool known;

    for (size_t i = 0; i < model->opset_count; i++)
        if (strcmp(model->opsets[i].domain, node->domain) == 0)
            version = model->opsets[i].version;
    if (!version)
        return onnx_fail(model->error, VD_ERR_PARAMETER,
                         "node %s (%s): the model does not import domain \"%s\"", node->name,
                         node->op, node->domain);
    node->opset = version > 1000 ? 1000 : (int)version;
    node->row = onnx_op_find(node->domain, node->op, version, &known);
    if (!node->row)
        return onnx_fail(model->error, VD_ERR_UNSUPPORTED,
                         known ? "node %s: operator %s%s%s is not known in version %lld of its set"
                               : "node %s: operator %s%s%s is not known (operator set %lld)",
                         node->name, node->domain, *node->domain ? "." : "", node->op,
                         (long long)version);
    if (node->input_count < (size_t)node->row->in_min ||
        node->input_count > (size_t)node->row->in_max)
        return onnx_fail(model->error, VD_ERR_PARAMETER,
                         "node %s (%s) has %zu inputs, not %d to %d", node->name, node->op,
                         node->input_count, node->row->in_min, node->row->in_max);
    if (node->output_count < 1 || node->output_count > (size_t)node->row->out_max)
        return onnx_fail(model->error, VD_ERR_PARAMETER,
                         "node %s (%s) has %zu outputs, not 1 to %d", node->name, node->op,
                         node->output_count, node->row->out_max);
    return 0;
}

static int resolve_node(struct graph *graph, struct node *node)
{
    struct onnx_model *model = graph->model;

    TRY(find_row(graph, node));
    for (size_t i = 0; i < node->input_count; i++) {
        if (!*node->input_names[i]) {
            node->inputs[i].slot = -1;
            if (i < (size_t)node->row->in_min)
                return onnx_fail(model->error, VD_ERR_PARAMETER,
                                 "node %s (%s) leaves out input %zu, which it needs", node->name,
                                 node->op, i);
            continue;
        }
        if (find_up(graph, node->input_names[i], &node->inputs[i]) < 0)
            return onnx_fail(
                model->error, VD_ERR_PARAMETER,
                "node %s (%s): nothing before it makes %s; its nodes are out of order, "
                "in a cycle, or one is missing",
                node->name, node->op, node->input_names[i]);
    }
    for (size_t i = 0; i < node->attribute_count; i++)
        if (node->attributes[i].graph)
            TRY(onnx_graph_resolve(node->attributes[i].graph));
    for (size_t i = 0; i < node->output_count; i++) {
        int slot = -1;

        if (*node->output_names[i]) {
            if (onnx_graph_find(graph, node->output_names[i]) >= 0)
                return onnx_fail(model->error, VD_ERR_PARAMETER,
                                 "node %s (%s) makes %s, which is there already", node->name,
                                 node->op, node->output_names[i]);
            TRY(slot = onnx_graph_add(graph, node->output_names[i]));
            graph->slots[slot].maker = node;
            graph->slots[slot].last = graph->at;
        }
        node->outputs[i] = slot;
    }
    return 0;
}

static int list_dead(struct graph *graph)
{
    for (size_t i = 0; i < graph->slot_count; i++) {
        struct slot *slot = &graph->slots[i];

        if (slot->last >= 0 && !slot->kept && !slot->initial)
            graph->nodes[slot->last].dead_room++;
    }
    for (size_t i = 0; i < graph->node_count; i++) {
        struct node *node = &graph->nodes[i];

        node->dead = onnx_model_alloc(graph->model, node->dead_room, sizeof(*node->dead));
        if (!node->dead)
            return graph->model->error->status;
    }
    for (size_t i = 0; i < graph->slot_count; i++) {
        struct slot *slot = &graph->slots[i];

        if (slot->last >= 0 && !slot->kept && !slot->initial) {
            struct node *node = &graph->nodes[slot->last];

            node->dead[node->dead_count++] = (int)i;
        }
    }
    return 0;
}

/* A Constant of a tensor is an initialiser. */
static void fold_constant(struct graph *graph, struct node *node)
{
    const struct attribute *a = onnx_attr(node, "value");

    if (!a)
        a = onnx_attr(node, "sparse_value");
    if (strcmp(node->op, "Constant") == 0 && !*node->domain && a && a->tensor &&
        node->outputs[0] >= 0)
        graph->slots[node->outputs[0]].initial = a->tensor;
}

int onnx_graph_resolve(struct graph *graph)
{
    struct onnx_model *model = graph->model;

    for (graph->at = 0; graph->at < (int)graph->node_count; graph->at++) {
        TRY(resolve_node(graph, &graph->nodes[graph->at]));
        fold_constant(graph, &graph->nodes[graph->at]);
    }
    graph->at = (int)graph->node_count - 1;
    for (size_t i = 0; i < graph->output_count; i++) {
        struct reference *ref = &graph->output_refs[i];

        if (find_up(graph, graph->outputs[i].name, ref) < 0)
            return onnx_fail(model->error, VD_ERR_PARAMETER, "no node makes output %s of graph %s",
                             graph->outputs[i].name, graph->name);
        if (ref->up == 0)
            graph->slots[ref->slot].kept = true;
    }
    return list_dead(graph);
}
