/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <viaduct/limits.h>

#include "emit.h"

#define MAX_RANK 64

/* A fused node: a model at the host. Any thread runs it. */
struct kernel {
    struct ort_compute_info base;
    struct npu *npu;
    struct npu_model *model;
    uint32_t input_count, output_count; /* of the node */
    uint32_t *inputs, *outputs;         /* the model's index of each; NAMES_NONE: not read there */
};

/* Of one run. */
struct kernel_run {
    struct npu_tensor *inputs[VD_MAX_NPU_VALUES], *outputs[VD_MAX_NPU_VALUES];
    uint32_t input_index[VD_MAX_NPU_VALUES], output_index[VD_MAX_NPU_VALUES];
    uint32_t input_count, output_count;
};

static struct ort_status *no_memory(void)
{
    return ep_status(ORT_FAIL, "out of memory");
}

/* A tensor of strings for the host. */
static struct ort_status *make_texts(struct kernel *k, const struct ort_value *value,
                                     const int64_t *dims, size_t rank, size_t count,
                                     struct npu_tensor **ret_tensor)
{
    const struct ort_api *api = ep_runtime.api;
    size_t size = 0, *lengths = calloc(count + 1, sizeof(*lengths));
    const char **texts = calloc(count + 1, sizeof(*texts));
    struct ort_status *status = api->GetStringTensorDataLength(value, &size);
    char *bytes = status ? NULL : malloc(size + 1);

    if (!status && (!lengths || !texts || !bytes))
        status = no_memory();
    if (!status && count)
        status = api->GetStringTensorContent(value, bytes, size, lengths, count);
    /* What came are the offsets. */
    for (size_t i = 0; i < count && !status; i++)
        texts[i] = bytes + lengths[i];
    for (size_t i = 0; i < count && !status; i++)
        lengths[i] = (i + 1 < count ? lengths[i + 1] : size) - lengths[i];
    if (!status)
        status = ep_npu_status(
            npu_tensor_create_texts(k->npu, texts, lengths, dims, (int)rank, ret_tensor));
    free(lengths);
    free(texts);
    free(bytes);
    return status;
}

static struct ort_status *make_input(struct kernel *k, const struct ort_value *value,
                                     struct npu_tensor **ret_tensor)
{
    const struct ort_api *api = ep_runtime.api;
    struct ort_tensor_type_and_shape_info *shape = NULL;
    size_t rank = 0, count = 0, bytes = 0;
    int64_t dims[MAX_RANK];
    const void *data = NULL;
    int dtype = 0;
    struct ort_status *status = api->GetTensorTypeAndShape(value, &shape);

    if (status)
        return status;
    status = api->GetTensorElementType(shape, &dtype);
    if (!status)
        status = api->GetDimensionsCount(shape, &rank);
    if (!status)
        status = api->GetTensorShapeElementCount(shape, &count);
    if (!status && rank > NPU_MAX_RANK)
        status = ep_status(ORT_NOT_IMPLEMENTED, "a tensor of %zu dimensions: %d are carried", rank,
                           NPU_MAX_RANK);
    if (!status)
        status = api->GetDimensions(shape, dims, rank);
    api->ReleaseTensorTypeAndShapeInfo(shape);
    if (status)
        return status;
    if (dtype == NPU_TEXT)
        return make_texts(k, value, dims, rank, count, ret_tensor);
    status = api->GetTensorSizeInBytes(value, &bytes);
    if (!status)
        status = api->GetTensorData(value, &data);
    /* It is only read: an input. */
    return status ? status
                  : ep_npu_status(npu_tensor_wrap(k->npu, dtype, dims, (int)rank,
                                                  (void *)(uintptr_t)data, bytes, ret_tensor));
}

static struct ort_status *give_texts(const struct npu_tensor *from, struct ort_value *to)
{
    struct ort_status *status = NULL;

    for (size_t i = 0; i < npu_tensor_count(from) && !status; i++) {
        size_t length = 0;
        const char *text = npu_tensor_text(from, i, &length);
        char *room = NULL;

        status = ep_runtime.api->GetResizedStringTensorElementBuffer(to, i, length, &room);
        if (!status && length)
            memcpy(room, text, length);
    }
    return status;
}

static struct ort_status *give_output(struct ort_kernel_context *context, size_t index,
                                      const struct npu_tensor *from)
{
    const struct ort_api *api = ep_runtime.api;
    struct ort_status *status;
    struct ort_value *to = NULL;
    void *data = NULL;
    size_t room = 0;

    if (npu_tensor_kind(from) != NPU_KIND_TENSOR)
        return ep_status(ORT_EP_FAIL, "output %zu of the host is no tensor", index);
    status = ep_runtime.KernelContext_GetOutput(context, index, npu_tensor_dims(from),
                                                (size_t)npu_tensor_rank(from), &to);
    /* Nobody wants it. */
    if (status || !to)
        return status;
    if (npu_tensor_dtype(from) == NPU_TEXT)
        return give_texts(from, to);
    status = api->GetTensorSizeInBytes(to, &room);
    /* The type is the graph's, the bytes are the host's. */
    if (!status && room != npu_tensor_bytes(from))
        status = ep_status(ORT_EP_FAIL, "output %zu of the host has %zu bytes, and not %zu", index,
                           npu_tensor_bytes(from), room);
    if (!status && room)
        status = api->GetTensorMutableData(to, &data);
    if (!status && room)
        memcpy(data, npu_tensor_data(from), room);
    return status;
}

static struct ort_status *run(struct kernel *k, struct kernel_run *r,
                              struct ort_kernel_context *context)
{
    struct npu_call call = {
        .inputs = r->inputs,
        .input_index = r->input_index,
        .outputs = r->outputs,
        .output_index = r->output_index,
    };
    struct ort_status *status = NULL;

    for (uint32_t i = 0; i < k->input_count && !status; i++) {
        const struct ort_value *value = NULL;

        if (k->inputs[i] == NAMES_NONE)
            continue;
        status = ep_runtime.KernelContext_GetInput(context, i, &value);
        if (!status && !value)
            status = ep_status(ORT_INVALID_ARGUMENT, "input %u is not there", i);
        if (!status)
            status = make_input(k, value, &r->inputs[r->input_count]);
        if (!status)
            r->input_index[r->input_count++] = k->inputs[i];
    }
    if (status)
        return status;
    for (uint32_t i = 0; i < k->output_count; i++)
        r->output_index[i] = k->outputs[i];
    call.input_count = r->input_count;
    call.output_count = r->output_count = k->output_count;
    status = ep_npu_status(npu_run(k->model, &call));
    for (uint32_t i = 0; i < k->output_count && !status; i++)
        status = give_output(context, i, r->outputs[i]);
    return status;
}

static struct ort_status *compute(struct ort_compute_info *self, void *state,
                                  struct ort_kernel_context *context)
{
    struct kernel *k = (struct kernel *)self;
    struct kernel_run r;
    struct ort_status *status;

    (void)state;
    r.input_count = r.output_count = 0;
    for (uint32_t i = 0; i < k->input_count; i++)
        r.inputs[i] = NULL;
    for (uint32_t i = 0; i < k->output_count; i++)
        r.outputs[i] = NULL;
    status = run(k, &r, context);
    for (uint32_t i = 0; i < r.input_count; i++)
        npu_tensor_destroy(r.inputs[i]);
    for (uint32_t i = 0; i < r.output_count; i++)
        npu_tensor_destroy(r.outputs[i]);
    return status;
}

static struct ort_status *create_state(struct ort_compute_info *self, void *context,
                                       void **ret_state)
{
    (void)context;
    *ret_state = self;
    return NULL;
}

static void release_state(struct ort_compute_info *self, void *state)
{
    (void)self, (void)state;
}

static uint32_t find(const struct npu_io *ios, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(ios[i].name, name))
            return (uint32_t)i;
    }
    return NAMES_NONE;
}

/* Where the model has the node's values. False: it is not that node's model. */
static bool fits(const struct npu_info *info, const struct emit_values *inputs,
                 const struct emit_values *outputs, struct kernel *k)
{
    size_t found = 0;

    for (size_t i = 0; i < inputs->count; i++) {
        const char *name = emit_name(inputs->at[i]);

        k->inputs[i] = name ? find(info->inputs, info->input_count, name) : NAMES_NONE;
        found += k->inputs[i] != NAMES_NONE;
    }
    if (found != info->input_count)
        return false;
    for (size_t i = 0; i < outputs->count; i++) {
        const char *name = emit_name(outputs->at[i]);

        k->outputs[i] = name ? find(info->outputs, info->output_count, name) : NAMES_NONE;
        if (k->outputs[i] == NAMES_NONE)
            return false;
    }
    return true;
}

/* The part that was loaded when the runtime asked for it, if it is this one. */
static bool take_candidate(struct ep_session *session, const struct emit_values *inputs,
                           const struct emit_values *outputs, struct kernel *k)
{
    for (struct ep_candidate **at = &session->candidates; *at; at = &(*at)->next) {
        struct ep_candidate *candidate = *at;

        if (!fits(npu_model_info(candidate->model), inputs, outputs, k))
            continue;
        k->model = candidate->model;
        *at = candidate->next;
        free(candidate);
        return true;
    }
    return false;
}

static struct ort_status *load(struct ep_session *session, const struct ort_graph *graph,
                               const struct emit_values *inputs, const struct emit_values *outputs,
                               struct kernel *k)
{
    struct proto_writer w = {0};
    struct emit_graph g;
    struct ort_status *status = emit_graph_read(&g, graph);

    if (!status)
        status = emit_model(&g, NULL, 0, inputs, outputs, &w);
    if (!status)
        status = ep_npu_status(ep_load(session, w.data, w.size, &k->model));
    if (!status && !fits(npu_model_info(k->model), inputs, outputs, k))
        status = ep_status(ORT_EP_FAIL, "the host has other inputs and outputs of the graph");
    proto_writer_finish(&w);
    emit_graph_finish(&g);
    return status;
}

static void destroy(struct kernel *k)
{
    if (!k)
        return;
    npu_unload(k->model);
    npu_close(k->npu);
    free(k->inputs);
    free(k->outputs);
    free(k);
}

static struct ort_status *create(struct ep_session *session, const struct ort_graph *graph,
                                 const struct ort_node *fused, struct ort_compute_info **ret_info)
{
    struct emit_values inputs = {NULL, 0}, outputs = {NULL, 0};
    struct kernel *k = calloc(1, sizeof(*k));
    struct ort_status *status;

    if (!k)
        return no_memory();
    status = emit_node_inputs(fused, &inputs);
    if (!status)
        status = emit_node_outputs(fused, &outputs);
    if (!status && inputs.count + outputs.count > VD_MAX_NPU_VALUES)
        status = ep_status(ORT_NOT_IMPLEMENTED, "%zu inputs and outputs; %d can be",
                           inputs.count + outputs.count, VD_MAX_NPU_VALUES);
    if (status)
        goto out;
    k->base = (struct ort_compute_info){EP_ABI_VERSION, create_state, compute, release_state};
    k->npu = npu_ref(session->npu);
    k->input_count = (uint32_t)inputs.count;
    k->output_count = (uint32_t)outputs.count;
    k->inputs = calloc(inputs.count + 1, sizeof(*k->inputs));
    k->outputs = calloc(outputs.count + 1, sizeof(*k->outputs));
    if (!k->inputs || !k->outputs)
        status = no_memory();
    else if (!take_candidate(session, &inputs, &outputs, k))
        status = load(session, graph, &inputs, &outputs, k);
out:
    free(inputs.at);
    free(outputs.at);
    if (status)
        destroy(k);
    else
        *ret_info = &k->base;
    return status;
}

struct ort_status *kernel_compile(struct ort_ep *self, const struct ort_graph **graphs,
                                  const struct ort_node **fused, size_t count,
                                  struct ort_compute_info **ret_infos,
                                  struct ort_node **ret_context_nodes)
{
    struct ep_session *session = (struct ep_session *)self;
    struct ort_status *status = NULL;

    (void)ret_context_nodes;
    if (session->refusal[0])
        return ep_status(ORT_EP_FAIL, "the host does not take the model: %s", session->refusal);
    for (size_t i = 0; i < count && !status; i++)
        status = create(session, graphs[i], fused[i], &ret_infos[i]);
    return status;
}

void kernel_release(struct ort_ep *self, struct ort_compute_info **infos, size_t count)
{
    (void)self;
    for (size_t i = 0; i < count; i++)
        destroy((struct kernel *)infos[i]);
}
