/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/limits.h>

#include "emit.h"

/*
 * Which nodes the host takes. The whole graph, if it loads it. Else each kind of node is asked
 * for with a model of its own, as only the host knows what it can; then nodes that it takes form
 * parts, and those parts that it loads are its.
 */

#define NO_PART NAMES_NONE

struct plan {
    struct ep_session *session;
    struct ort_support_info *info;
    struct emit_graph graph;
    struct names producers; /* node of a value */
    size_t *node_ids;       /* the runtime's, by node */
    uint32_t *part;         /* of a node, NO_PART: the runtime's own */
    uint32_t parts;
    char reason[400]; /* why the host did not take the newest model */
};

/* What it cannot carry it need not be asked for. */
static bool is_carried(int dtype)
{
    return (dtype >= NPU_FLOAT32 && dtype <= NPU_UINT64) || dtype == NPU_BFLOAT16;
}

static bool add_value(struct emit_values *to, size_t *room, const struct ort_value_info *info)
{
    if (to->count == *room) {
        size_t more = *room ? *room * 2 : 16;
        const struct ort_value_info **at = realloc(to->at, more * sizeof(*at));

        if (!at)
            return false;
        to->at = at;
        *room = more;
    }
    to->at[to->count++] = info;
    return true;
}

/* The node of this id; the graph's count if none here has it. */
static size_t node_of(const struct plan *p, const struct ort_node *node)
{
    size_t id = 0, i = 0;
    struct ort_status *status = ep_runtime.Node_GetId(node, &id);

    if (status) {
        ep_runtime.api->ReleaseStatus(status);
        return p->graph.count;
    }
    while (i < p->graph.count && p->node_ids[i] != id)
        i++;
    return i;
}

/* Whether nodes outside the part, or the graph's user, read a value. */
static bool leaves(const struct plan *p, const struct ort_value_info *value, uint32_t which)
{
    const struct ort_node **nodes = NULL;
    struct ort_status *status;
    int64_t *indices = NULL;
    bool is_output = false;
    size_t count = 0;

    status = ep_runtime.ValueInfo_IsGraphOutput(value, &is_output);
    if (!status && !is_output)
        status = ep_runtime.ValueInfo_GetValueNumConsumers(value, &count);
    if (!status && count) {
        nodes = calloc(count, sizeof(*nodes));
        indices = calloc(count, sizeof(*indices));
        if (!nodes || !indices)
            is_output = true;
        else
            status = ep_runtime.ValueInfo_GetValueConsumers(value, nodes, indices, count);
    }
    /* What cannot be said is given: that is never wrong. */
    if (status) {
        ep_runtime.api->ReleaseStatus(status);
        is_output = true;
    }
    for (size_t i = 0; i < count && !is_output; i++) {
        size_t at = nodes[i] ? node_of(p, nodes[i]) : p->graph.count;

        is_output = at == p->graph.count || p->part[at] != which;
    }
    free(nodes);
    free(indices);
    return is_output;
}

/* What a part reads from outside, once each. False if there is no memory. */
static bool collect_inputs(const struct plan *p, const struct emit_values *values, uint32_t which,
                           struct names *seen, struct emit_values *inputs, size_t *room)
{
    for (size_t i = 0; i < values->count; i++) {
        const char *name = emit_name(values->at[i]);
        uint32_t producer = name ? names_get(&p->producers, name) : NAMES_NONE;

        if (!name || names_get(seen, name) != NAMES_NONE ||
            (producer != NAMES_NONE && p->part[producer] == which) ||
            emit_is_constant(values->at[i]))
            continue;
        if (!names_set(seen, name, 0) || !add_value(inputs, room, values->at[i]))
            return false;
    }
    return true;
}

static bool collect(const struct plan *p, uint32_t which, struct emit_values *inputs,
                    struct emit_values *outputs)
{
    size_t in_room = 0, out_room = 0;
    struct names seen = {0};
    bool done = true;

    for (size_t i = 0; i < p->graph.count && done; i++) {
        const struct emit_node *n = &p->graph.nodes[i];

        if (p->part[i] != which)
            continue;
        done = collect_inputs(p, &n->inputs, which, &seen, inputs, &in_room) &&
               collect_inputs(p, &n->implicit, which, &seen, inputs, &in_room);
        for (size_t j = 0; j < n->outputs.count && done; j++) {
            if (emit_name(n->outputs.at[j]) && leaves(p, n->outputs.at[j], which))
                done = add_value(outputs, &out_room, n->outputs.at[j]);
        }
    }
    names_finish(&seen);
    return done;
}

static bool all_carried(const struct emit_values *values)
{
    for (size_t i = 0; i < values->count; i++) {
        if (!is_carried(emit_dtype(values->at[i])))
            return false;
    }
    return true;
}

/* Takes the message of a status. */
static int refuse(struct plan *p, struct ort_status *status)
{
    snprintf(p->reason, sizeof(p->reason), "%s", ep_runtime.api->GetErrorMessage(status));
    ep_runtime.api->ReleaseStatus(status);
    return -NPU_UNSUPPORTED;
}

/* Loads a part at the host. 0 or a negative error, with the reason in the plan. */
static int load(struct plan *p, uint32_t which, struct npu_model **ret_model)
{
    struct emit_values inputs = {NULL, 0}, outputs = {NULL, 0};
    struct proto_writer w = {0};
    struct ort_status *status;
    int err = -NPU_UNSUPPORTED;

    if (!collect(p, which, &inputs, &outputs)) {
        snprintf(p->reason, sizeof(p->reason), "out of memory");
        err = -NPU_MEMORY;
    } else if (!outputs.count)
        snprintf(p->reason, sizeof(p->reason), "nothing comes out of it");
    else if (inputs.count + outputs.count > VD_MAX_NPU_VALUES)
        snprintf(p->reason, sizeof(p->reason), "%zu inputs and outputs; %d can be",
                 inputs.count + outputs.count, VD_MAX_NPU_VALUES);
    else if (!all_carried(&inputs) || !all_carried(&outputs))
        snprintf(p->reason, sizeof(p->reason),
                 "an input or output is of a type that is not carried");
    else if ((status = emit_model(&p->graph, p->part, which, &inputs, &outputs, &w)))
        err = refuse(p, status);
    else {
        err = ep_load(p->session, w.data, w.size, ret_model);
        if (err)
            snprintf(p->reason, sizeof(p->reason), "%s", npu_message());
    }
    proto_writer_finish(&w);
    free(inputs.at);
    free(outputs.at);
    return err;
}

static struct ort_status *claim(struct plan *p, uint32_t which, struct npu_model *model)
{
    const struct ort_fusion_options options = {EP_ABI_VERSION, true};
    const struct ort_node **nodes = calloc(p->graph.count + 1, sizeof(*nodes));
    struct ep_candidate *candidate = calloc(1, sizeof(*candidate));
    struct ort_status *status;
    size_t count = 0;

    for (size_t i = 0; nodes && i < p->graph.count; i++) {
        if (p->part[i] == which)
            nodes[count++] = p->graph.nodes[i].node;
    }
    status = nodes && candidate ? ep_runtime.ep->add_nodes_to_fuse(p->info, nodes, count, &options)
                                : ep_status(ORT_FAIL, "out of memory");
    if (!status && model) {
        const struct npu_info *about = npu_model_info(model);

        ep_log(p->session->logger, EP_LOG_INFO, "%zu of %zu nodes run on the host's %s%s%s", count,
               p->graph.count, about->device, about->reason[0] ? "; " : "", about->reason);
        *candidate = (struct ep_candidate){model, p->session->candidates};
        p->session->candidates = candidate;
    } else {
        npu_unload(model);
        free(candidate);
    }
    free(nodes);
    return status;
}

/* Nodes that another provider has, and values that are not carried, stay out of parts. */
static bool may_be_asked(const struct emit_node *n)
{
    const char *provider = NULL;
    struct ort_status *status = ep_runtime.Node_GetEpName(n->node, &provider);

    if (status)
        ep_runtime.api->ReleaseStatus(status);
    if (provider && *provider)
        return false;
    for (size_t i = 0; i < n->inputs.count; i++) {
        if (emit_name(n->inputs.at[i]) && !emit_is_constant(n->inputs.at[i]) &&
            !is_carried(emit_dtype(n->inputs.at[i])))
            return false;
    }
    for (size_t i = 0; i < n->outputs.count; i++) {
        if (emit_name(n->outputs.at[i]) && !is_carried(emit_dtype(n->outputs.at[i])))
            return false;
    }
    return true;
}

/* What nodes are alike in, as far as the host's answer goes. The caller frees it. */
static char *kind_of(const struct emit_node *n)
{
    size_t room = strlen(n->type) + strlen(n->domain) + 8 * (n->inputs.count + 2), at;
    char *kind = malloc(room);

    if (!kind)
        return NULL;
    at = (size_t)snprintf(kind, room, "%s:%s", n->domain, n->type);
    for (size_t i = 0; i < n->inputs.count && at < room; i++)
        at += (size_t)snprintf(kind + at, room - at, ",%d",
                               emit_name(n->inputs.at[i]) ? emit_dtype(n->inputs.at[i]) : -1);
    return kind;
}

/*
 * Asks which nodes the host takes: for each kind of node once, or for `each` node. Nodes with
 * graphs in them differ too much to be of a kind. False if there is no memory, or the host is gone.
 */
static bool ask(struct plan *p, bool each, bool *ret_taken)
{
    char **kinds = calloc(p->graph.count + 1, sizeof(*kinds));
    struct names answers = {0};
    bool done = kinds != NULL;

    for (size_t i = 0; i < p->graph.count && done; i++) {
        const struct emit_node *n = &p->graph.nodes[i];
        struct npu_model *model = NULL;
        uint32_t answer = NAMES_NONE;
        int err = 0;

        ret_taken[i] = false;
        if (!may_be_asked(n))
            continue;
        kinds[i] = kind_of(n);
        if (!kinds[i]) {
            done = false;
            break;
        }
        if (!each && !n->implicit.count)
            answer = names_get(&answers, kinds[i]);
        if (answer == NAMES_NONE) {
            p->part[i] = 0;
            err = load(p, 0, &model);
            p->part[i] = NO_PART;
            answer = !err;
            if (err)
                ep_log(p->session->logger, EP_LOG_VERBOSE, "the host does not take %s: %s", n->type,
                       p->reason);
            npu_unload(model);
            done = names_set(&answers, kinds[i], answer) && err != -NPU_GONE;
        }
        ret_taken[i] = answer == 1;
    }
    names_finish(&answers);
    for (size_t i = 0; kinds && i < p->graph.count; i++)
        free(kinds[i]);
    free(kinds);
    return done;
}

/*
 * Numbers parts so that no way leads out of one and back: along each way numbers only grow, and
 * grow where the host's nodes follow the runtime's. Nodes are in an order of computing.
 */
static bool number(struct plan *p, const bool *taken)
{
    uint32_t *level = calloc(p->graph.count + 1, sizeof(*level));

    if (!level)
        return false;
    for (size_t i = 0; i < p->graph.count; i++) {
        const struct emit_node *n = &p->graph.nodes[i];

        for (size_t j = 0; j < n->inputs.count + n->implicit.count; j++) {
            const char *name = emit_name(j < n->inputs.count ? n->inputs.at[j]
                                                             : n->implicit.at[j - n->inputs.count]);
            uint32_t from = name ? names_get(&p->producers, name) : NAMES_NONE;
            uint32_t least;

            if (from == NAMES_NONE || from >= i)
                continue;
            least = level[from] + (taken[i] && !taken[from]);
            if (level[i] < least)
                level[i] = least;
        }
        p->part[i] = taken[i] ? level[i] : NO_PART;
        if (level[i] >= p->parts)
            p->parts = level[i] + 1;
    }
    free(level);
    return true;
}

/* Loads all parts; which there is no model of stay the runtime's. Returns how many were refused. */
static uint32_t load_parts(struct plan *p, struct npu_model **models)
{
    uint32_t refused = 0;

    for (uint32_t which = 0; which < p->parts; which++) {
        size_t count = 0;

        for (size_t i = 0; i < p->graph.count; i++)
            count += p->part[i] == which;
        if (count && count >= p->session->least && load(p, which, &models[which])) {
            ep_log(p->session->logger, EP_LOG_VERBOSE, "%zu nodes together are refused: %s", count,
                   p->reason);
            refused++;
        }
    }
    return refused;
}

static void unload(struct plan *p, struct npu_model **models)
{
    for (uint32_t which = 0; models && which < p->parts; which++)
        npu_unload(models[which]);
    free(models);
}

static struct ort_status *by_parts(struct plan *p)
{
    bool *taken = calloc(p->graph.count + 1, sizeof(*taken)), again = true;
    struct npu_model **models = NULL;
    struct ort_status *status = NULL;

    /* Nodes of a kind may differ in what the host takes: then each is asked for. */
    for (unsigned round = 0; round < 2 && again && taken; round++) {
        unload(p, models);
        models = NULL;
        p->parts = 0;
        for (size_t i = 0; i < p->graph.count; i++)
            p->part[i] = NO_PART;
        if (!ask(p, round > 0, taken) || !number(p, taken))
            break;
        models = calloc(p->parts + 1, sizeof(struct npu_model *));
        again = models && load_parts(p, models) > 0;
    }
    if (!models)
        ep_log(p->session->logger, EP_LOG_WARNING, "no node runs on the host: %s", p->reason);
    for (uint32_t which = 0; models && which < p->parts && !status; which++) {
        if (models[which])
            status = claim(p, which, models[which]);
        models[which] = NULL;
    }
    unload(p, models);
    free(taken);
    return status;
}

static struct ort_status *make(struct plan *p)
{
    struct npu_model *model = NULL;
    struct ort_status *status;
    int err;

    err = load(p, 0, &model);
    if (!err)
        return claim(p, 0, model);
    if (p->session->require) {
        /* What this call returns the runtime only logs: the error is for compile. */
        snprintf(p->session->refusal, sizeof(p->session->refusal), "%s", p->reason);
        status = claim(p, 0, NULL);
    } else {
        ep_log(p->session->logger, EP_LOG_INFO, "the host does not take the graph as a whole: %s",
               p->reason);
        if (err == -NPU_GONE || err == -NPU_MEMORY || err == -NPU_LIMIT)
            ep_log(p->session->logger, EP_LOG_WARNING, "no node runs on the host: %s", p->reason);
        status = err == -NPU_GONE || err == -NPU_MEMORY || err == -NPU_LIMIT ? NULL : by_parts(p);
    }
    return status;
}

struct ort_status *plan_get_capability(struct ort_ep *self, const struct ort_graph *graph,
                                       struct ort_support_info *info)
{
    struct plan p = {.session = (struct ep_session *)self, .info = info};
    const struct ort_node *parent = NULL;
    struct ort_status *status = ep_runtime.Graph_GetParentNode(graph, &parent);

    /* Graphs of nodes go with their nodes. */
    if (status || parent)
        return status;
    status = emit_graph_read(&p.graph, graph);
    if (status || !p.graph.count)
        goto out;
    p.part = calloc(p.graph.count, sizeof(*p.part));
    p.node_ids = calloc(p.graph.count, sizeof(*p.node_ids));
    if (!p.part || !p.node_ids)
        status = ep_status(ORT_FAIL, "out of memory");
    for (size_t i = 0; i < p.graph.count && !status; i++) {
        const struct emit_values *outputs = &p.graph.nodes[i].outputs;

        status = ep_runtime.Node_GetId(p.graph.nodes[i].node, &p.node_ids[i]);
        for (size_t j = 0; j < outputs->count && !status; j++) {
            const char *name = emit_name(outputs->at[j]);

            if (name && !names_set(&p.producers, name, (uint32_t)i))
                status = ep_status(ORT_FAIL, "out of memory");
        }
    }
    if (!status)
        status = make(&p);
out:
    free(p.part);
    free(p.node_ids);
    names_finish(&p.producers);
    emit_graph_finish(&p.graph);
    return status;
}
