/* SPDX-License-Identifier: MIT */
#include "emit.h"

#include <stdlib.h>
#include <string.h>

#define MAX_RANK  64
#define MAX_DEPTH 32
/* The first version of ONNX's format whose constants need not be inputs. */
#define LEAST_IR 4

/* Fields of messages of onnx.proto. */
enum { MODEL_IR = 1, MODEL_PRODUCER = 2, MODEL_GRAPH = 7, MODEL_OPSET = 8 };
enum { OPSET_DOMAIN = 1, OPSET_VERSION = 2 };
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_CONSTANT = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { NODE_INPUT = 1, NODE_OUTPUT, NODE_NAME, NODE_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN = 7 };
enum {
    ATTR_NAME = 1,
    ATTR_F,
    ATTR_I,
    ATTR_S,
    ATTR_T,
    ATTR_G,
    ATTR_FLOATS,
    ATTR_INTS,
    ATTR_STRINGS,
    ATTR_TYPE = 20
};
enum { AS_FLOAT = 1, AS_INT, AS_STRING, AS_TENSOR, AS_GRAPH, AS_FLOATS, AS_INTS, AS_STRINGS };
enum { TENSOR_DIM = 1, TENSOR_DTYPE = 2, TENSOR_TEXT = 6, TENSOR_NAME = 8, TENSOR_RAW = 9 };
enum { VALUE_NAME = 1, VALUE_TYPE = 2 };
enum { TYPE_TENSOR = 1, TYPE_SEQUENCE = 4, TYPE_OPTIONAL = 9 };
enum { TYPE_ELEMENT = 1, TYPE_SHAPE = 2, SHAPE_DIM = 1, DIM_VALUE = 1, DIM_NAME = 2 };

/* A model that is written: the first failure stays. */
struct emit {
    struct proto_writer *w;
    struct ort_status *status;
    struct names domains; /* that its nodes have */
    struct names known;   /* inputs, and constants that were written */
    unsigned depth;
};

static void keep(struct emit *e, struct ort_status *status)
{
    if (status && e->status)
        ep_runtime.api->ReleaseStatus(status);
    else if (status)
        e->status = status;
}

/* Whether to go on. */
static bool good(struct emit *e, struct ort_status *status)
{
    keep(e, status);
    return !e->status;
}

/* Drops the failure of something that may fail. */
static bool worked(struct ort_status *status)
{
    if (status)
        ep_runtime.api->ReleaseStatus(status);
    return !status;
}

/* Values of an object, by the two slots that count and give them. */
#define LIST(kind, from, count_slot, get_slot)                                               \
    static struct ort_status *kind##_list(const struct from *object, struct emit_values *to) \
    {                                                                                        \
        struct ort_status *status = ep_runtime.count_slot(object, &to->count);               \
                                                                                             \
        to->at = status ? NULL : calloc(to->count + 1, sizeof(*to->at));                     \
        if (!status && !to->at)                                                              \
            return ep_status(ORT_FAIL, "out of memory");                                     \
        return status ? status : ep_runtime.get_slot(object, to->at, to->count);             \
    }

LIST(inputs, ort_node, Node_GetNumInputs, Node_GetInputs)
LIST(implicit, ort_node, Node_GetNumImplicitInputs, Node_GetImplicitInputs)
LIST(outputs, ort_node, Node_GetNumOutputs, Node_GetOutputs)
LIST(graph_inputs, ort_graph, Graph_GetNumInputs, Graph_GetInputs)
LIST(graph_outputs, ort_graph, Graph_GetNumOutputs, Graph_GetOutputs)
LIST(graph_constants, ort_graph, Graph_GetNumInitializers, Graph_GetInitializers)

struct ort_status *emit_node_inputs(const struct ort_node *node, struct emit_values *ret_values)
{
    return inputs_list(node, ret_values);
}

struct ort_status *emit_node_outputs(const struct ort_node *node, struct emit_values *ret_values)
{
    return outputs_list(node, ret_values);
}

static struct ort_status *node_read(struct emit_node *n)
{
    struct ort_status *status = ep_runtime.Node_GetOperatorType(n->node, &n->type);

    if (!status)
        status = ep_runtime.Node_GetDomain(n->node, &n->domain);
    if (!status && !strcmp(n->domain, "ai.onnx"))
        n->domain = "";
    if (!status)
        status = inputs_list(n->node, &n->inputs);
    if (!status)
        status = implicit_list(n->node, &n->implicit);
    return status ? status : outputs_list(n->node, &n->outputs);
}

struct ort_status *emit_graph_read(struct emit_graph *g, const struct ort_graph *graph)
{
    const struct ort_node **nodes = NULL;
    struct ort_status *status;
    size_t count = 0;

    *g = (struct emit_graph){.graph = graph};
    status = ep_runtime.Graph_GetNumNodes(graph, &count);
    if (status)
        return status;
    nodes = calloc(count + 1, sizeof(*nodes));
    g->nodes = calloc(count + 1, sizeof(*g->nodes));
    if (!nodes || !g->nodes)
        status = ep_status(ORT_FAIL, "out of memory");
    if (!status)
        status = ep_runtime.Graph_GetNodes(graph, nodes, count);
    if (!status)
        g->count = count;
    for (size_t i = 0; i < count && !status; i++) {
        g->nodes[i].node = nodes[i];
        status = node_read(&g->nodes[i]);
    }
    free(nodes);
    return status;
}

void emit_graph_finish(struct emit_graph *g)
{
    for (size_t i = 0; i < g->count; i++) {
        free(g->nodes[i].inputs.at);
        free(g->nodes[i].implicit.at);
        free(g->nodes[i].outputs.at);
    }
    free(g->nodes);
    *g = (struct emit_graph){0};
}

const char *emit_name(const struct ort_value_info *info)
{
    const char *name = NULL;

    return info && worked(ep_runtime.GetValueInfoName(info, &name)) && name && *name ? name : NULL;
}

bool emit_is_constant(const struct ort_value_info *info)
{
    bool constant = false;

    return worked(ep_runtime.ValueInfo_IsConstantInitializer(info, &constant)) && constant;
}

static const struct ort_type_info *type_of(const struct ort_value_info *info)
{
    const struct ort_type_info *type = NULL;

    return worked(ep_runtime.GetValueInfoTypeInfo(info, &type)) ? type : NULL;
}

static const struct ort_tensor_type_and_shape_info *tensor_of(const struct ort_type_info *type)
{
    const struct ort_tensor_type_and_shape_info *tensor = NULL;
    int kind = ORT_TYPE_UNKNOWN;

    if (!type || !worked(ep_runtime.api->GetOnnxTypeFromTypeInfo(type, &kind)) ||
        kind != ORT_TYPE_TENSOR)
        return NULL;
    return worked(ep_runtime.api->CastTypeInfoToTensorInfo(type, &tensor)) ? tensor : NULL;
}

int emit_dtype(const struct ort_value_info *info)
{
    const struct ort_tensor_type_and_shape_info *tensor = tensor_of(type_of(info));
    int dtype = 0;

    return tensor && worked(ep_runtime.api->GetTensorElementType(tensor, &dtype)) ? dtype : 0;
}

static void write_shape(struct emit *e, const struct ort_tensor_type_and_shape_info *tensor)
{
    const struct ort_api *api = ep_runtime.api;
    const char *names[MAX_RANK] = {NULL};
    int64_t dims[MAX_RANK];
    size_t rank = 0, shape;

    if (!good(e, api->GetDimensionsCount(tensor, &rank)) || rank > MAX_RANK)
        return;
    /* Before 1.24 nothing tells a scalar from what has no shape. */
    if (ep_runtime.virtual_devices ? !api->TensorTypeAndShape_HasShape(tensor) : !rank)
        return;
    if (!good(e, api->GetDimensions(tensor, dims, rank)) ||
        !good(e, api->GetSymbolicDimensions(tensor, names, rank)))
        return;
    shape = proto_writer_open(e->w, TYPE_SHAPE);
    for (size_t i = 0; i < rank; i++) {
        size_t dim = proto_writer_open(e->w, SHAPE_DIM);

        if (dims[i] >= 0)
            proto_writer_number(e->w, DIM_VALUE, (uint64_t)dims[i]);
        else if (names[i] && *names[i])
            proto_writer_text(e->w, DIM_NAME, names[i]);
        proto_writer_close(e->w, dim);
    }
    proto_writer_close(e->w, shape);
}

static void write_type(struct emit *e, uint32_t field, const struct ort_type_info *type,
                       unsigned depth)
{
    const struct ort_api *api = ep_runtime.api;
    const struct ort_tensor_type_and_shape_info *tensor = tensor_of(type);
    const struct ort_sequence_type_info *sequence = NULL;
    const struct ort_optional_type_info *optional = NULL;
    struct ort_type_info *within = NULL;
    size_t message, inner;
    int dtype = 0, kind = 0;

    if (!type || depth > MAX_DEPTH || !good(e, api->GetOnnxTypeFromTypeInfo(type, &kind)))
        return;
    message = proto_writer_open(e->w, field);
    if (tensor && good(e, api->GetTensorElementType(tensor, &dtype))) {
        inner = proto_writer_open(e->w, TYPE_TENSOR);
        proto_writer_number(e->w, TYPE_ELEMENT, (uint64_t)dtype);
        write_shape(e, tensor);
        proto_writer_close(e->w, inner);
    } else if (kind == ORT_TYPE_SEQUENCE) {
        if (good(e, api->CastTypeInfoToSequenceTypeInfo(type, &sequence)) && sequence)
            good(e, api->GetSequenceElementType(sequence, &within));
    } else if (kind == ORT_TYPE_OPTIONAL) {
        if (good(e, api->CastTypeInfoToOptionalTypeInfo(type, &optional)) && optional)
            good(e, api->GetOptionalContainedTypeInfo(optional, &within));
    } else
        keep(e, ep_status(ORT_NOT_IMPLEMENTED, "a value of type %d is not carried", kind));
    if (within) {
        inner = proto_writer_open(e->w, kind == ORT_TYPE_SEQUENCE ? TYPE_SEQUENCE : TYPE_OPTIONAL);
        write_type(e, TYPE_ELEMENT, within, depth + 1);
        proto_writer_close(e->w, inner);
        api->ReleaseTypeInfo(within);
    }
    proto_writer_close(e->w, message);
}

static void write_value(struct emit *e, uint32_t field, const struct ort_value_info *info)
{
    const char *name = emit_name(info);
    size_t message = proto_writer_open(e->w, field);

    proto_writer_text(e->w, VALUE_NAME, name ? name : "");
    write_type(e, VALUE_TYPE, type_of(info), 0);
    proto_writer_close(e->w, message);
}

static void write_texts(struct emit *e, const struct ort_value *value, size_t count)
{
    const struct ort_api *api = ep_runtime.api;

    for (size_t i = 0; i < count && !e->status; i++) {
        size_t size = 0;
        char *text;

        if (!good(e, api->GetStringTensorElementLength(value, i, &size)))
            return;
        text = malloc(size + 1);
        if (!text)
            keep(e, ep_status(ORT_FAIL, "out of memory"));
        else if (good(e, api->GetStringTensorElement(value, size, i, text)))
            proto_writer_bytes(e->w, TENSOR_TEXT, text, size);
        free(text);
    }
}

static void write_tensor(struct emit *e, uint32_t field, const char *name,
                         const struct ort_value *value)
{
    const struct ort_api *api = ep_runtime.api;
    struct ort_tensor_type_and_shape_info *shape = NULL;
    size_t message, rank = 0, count = 0, size = 0;
    int64_t dims[MAX_RANK];
    const void *data = NULL;
    int dtype = 0;

    if (!good(e, api->GetTensorTypeAndShape(value, &shape)))
        return;
    if (good(e, api->GetTensorElementType(shape, &dtype)) &&
        good(e, api->GetTensorShapeElementCount(shape, &count)) &&
        good(e, api->GetDimensionsCount(shape, &rank))) {
        if (rank > MAX_RANK)
            keep(e, ep_status(ORT_NOT_IMPLEMENTED, "a constant of %zu dimensions", rank));
        else
            good(e, api->GetDimensions(shape, dims, rank));
    }
    api->ReleaseTensorTypeAndShapeInfo(shape);
    if (e->status)
        return;
    message = proto_writer_open(e->w, field);
    for (size_t i = 0; i < rank; i++)
        proto_writer_number(e->w, TENSOR_DIM, (uint64_t)dims[i]);
    proto_writer_number(e->w, TENSOR_DTYPE, (uint64_t)dtype);
    if (name)
        proto_writer_text(e->w, TENSOR_NAME, name);
    if (dtype == NPU_TEXT)
        write_texts(e, value, count);
    else if (good(e, api->GetTensorSizeInBytes(value, &size)) &&
             (!size || good(e, api->GetTensorData(value, &data))))
        proto_writer_bytes(e->w, TENSOR_RAW, data, size);
    proto_writer_close(e->w, message);
}

static void write_constant(struct emit *e, const struct ort_value_info *info)
{
    const struct ort_value *value = NULL;
    const char *name = emit_name(info);

    if (!good(e, ep_runtime.ValueInfo_GetInitializerValue(info, &value)))
        return;
    if (value)
        write_tensor(e, GRAPH_CONSTANT, name, value);
    else
        keep(e, ep_status(ORT_NOT_IMPLEMENTED, "the constant %s has no value", name));
}

/* Constants that a node of the topmost graph reads, each once. */
static void write_constants(struct emit *e, const struct emit_values *values)
{
    for (size_t i = 0; i < values->count && !e->status; i++) {
        const char *name = emit_name(values->at[i]);

        if (!name || names_get(&e->known, name) != NAMES_NONE || !emit_is_constant(values->at[i]))
            continue;
        if (!names_set(&e->known, name, 0))
            keep(e, ep_status(ORT_FAIL, "out of memory"));
        else
            write_constant(e, values->at[i]);
    }
}

/* The bytes of an attribute; the caller's. */
static void *attribute_bytes(struct emit *e, const struct ort_op_attr *attribute, int type,
                             size_t *ret_size)
{
    char *bytes;

    *ret_size = 0;
    /* Too little room is an error that says how much it takes. */
    worked(ep_runtime.ReadOpAttr(attribute, type, NULL, 0, ret_size));
    bytes = calloc(1, *ret_size + 1);
    if (!bytes)
        keep(e, ep_status(ORT_FAIL, "out of memory"));
    else if (*ret_size)
        good(e, ep_runtime.ReadOpAttr(attribute, type, bytes, *ret_size, ret_size));
    return bytes;
}

static void write_list(struct emit *e, const struct ort_op_attr *attribute, int type)
{
    size_t size;
    char *bytes = attribute_bytes(e, attribute, type, &size);

    if (!bytes || e->status) {
        free(bytes);
        return;
    }
    switch (type) {
    case EP_ATTRIBUTE_INTS:
        for (size_t i = 0; i + sizeof(int64_t) <= size; i += sizeof(int64_t)) {
            uint64_t value;

            memcpy(&value, bytes + i, sizeof(value));
            proto_writer_number(e->w, ATTR_INTS, value);
        }
        break;
    case EP_ATTRIBUTE_FLOATS:
        for (size_t i = 0; i + sizeof(float) <= size; i += sizeof(float)) {
            float value;

            memcpy(&value, bytes + i, sizeof(value));
            proto_writer_float(e->w, ATTR_FLOATS, value);
        }
        break;
    case EP_ATTRIBUTE_STRINGS:
        for (size_t i = 0; i < size; i += strlen(bytes + i) + 1)
            proto_writer_text(e->w, ATTR_STRINGS, bytes + i);
        break;
    default:
        proto_writer_bytes(e->w, ATTR_S, bytes, size);
    }
    free(bytes);
}

static void write_attribute(struct emit *e, const struct emit_node *n,
                            const struct ort_op_attr *attribute)
{
    static const uint8_t kinds[] = {
        [EP_ATTRIBUTE_INT] = AS_INT,       [EP_ATTRIBUTE_INTS] = AS_INTS,
        [EP_ATTRIBUTE_FLOAT] = AS_FLOAT,   [EP_ATTRIBUTE_FLOATS] = AS_FLOATS,
        [EP_ATTRIBUTE_STRING] = AS_STRING, [EP_ATTRIBUTE_STRINGS] = AS_STRINGS,
        [EP_ATTRIBUTE_TENSOR] = AS_TENSOR,
    };
    struct ort_value *tensor = NULL;
    const char *name = NULL;
    size_t message, size;
    int type = EP_ATTRIBUTE_UNDEFINED;
    int64_t number = 0;
    float real = 0;

    if (!good(e, ep_runtime.OpAttr_GetType(attribute, &type)) || type == EP_ATTRIBUTE_GRAPH ||
        !good(e, ep_runtime.OpAttr_GetName(attribute, &name)))
        return;
    if (type < EP_ATTRIBUTE_INT || type > EP_ATTRIBUTE_TENSOR) {
        keep(e, ep_status(ORT_NOT_IMPLEMENTED, "%s's attribute %s is of a kind that is not carried",
                          n->type, name));
        return;
    }
    message = proto_writer_open(e->w, NODE_ATTRIBUTE);
    proto_writer_text(e->w, ATTR_NAME, name);
    proto_writer_number(e->w, ATTR_TYPE, kinds[type]);
    if (type == EP_ATTRIBUTE_INT) {
        if (good(e, ep_runtime.ReadOpAttr(attribute, type, &number, sizeof(number), &size)))
            proto_writer_number(e->w, ATTR_I, (uint64_t)number);
    } else if (type == EP_ATTRIBUTE_FLOAT) {
        if (good(e, ep_runtime.ReadOpAttr(attribute, type, &real, sizeof(real), &size)))
            proto_writer_float(e->w, ATTR_F, real);
    } else if (type == EP_ATTRIBUTE_TENSOR) {
        if (good(e, ep_runtime.OpAttr_GetTensorAttributeAsOrtValue(attribute, &tensor)) && tensor)
            write_tensor(e, ATTR_T, NULL, tensor);
        ep_runtime.api->ReleaseValue(tensor);
    } else
        write_list(e, attribute, type);
    proto_writer_close(e->w, message);
}

static void write_graph(struct emit *e, uint32_t field, const struct ort_graph *graph);

static void write_subgraphs(struct emit *e, const struct emit_node *n)
{
    const struct ort_graph **graphs = NULL;
    const char **names = NULL;
    size_t count = 0;

    if (!good(e, ep_runtime.Node_GetNumSubgraphs(n->node, &count)) || !count)
        return;
    graphs = calloc(count, sizeof(*graphs));
    names = calloc(count, sizeof(*names));
    if (!graphs || !names)
        keep(e, ep_status(ORT_FAIL, "out of memory"));
    else
        good(e, ep_runtime.Node_GetSubgraphs(n->node, graphs, count, names));
    for (size_t i = 0; i < count && !e->status; i++) {
        size_t message = proto_writer_open(e->w, NODE_ATTRIBUTE);

        proto_writer_text(e->w, ATTR_NAME, names[i]);
        proto_writer_number(e->w, ATTR_TYPE, AS_GRAPH);
        write_graph(e, ATTR_G, graphs[i]);
        proto_writer_close(e->w, message);
    }
    free(graphs);
    free(names);
}

static void write_node(struct emit *e, const struct emit_node *n)
{
    const struct ort_op_attr **attributes = NULL;
    size_t message, count = 0;
    const char *name = NULL;

    if (!names_set(&e->domains, n->domain, 0))
        keep(e, ep_status(ORT_FAIL, "out of memory"));
    message = proto_writer_open(e->w, GRAPH_NODE);
    for (size_t i = 0; i < n->inputs.count; i++) {
        name = emit_name(n->inputs.at[i]);
        proto_writer_text(e->w, NODE_INPUT, name ? name : "");
    }
    for (size_t i = 0; i < n->outputs.count; i++) {
        name = emit_name(n->outputs.at[i]);
        proto_writer_text(e->w, NODE_OUTPUT, name ? name : "");
    }
    if (good(e, ep_runtime.Node_GetName(n->node, &name)))
        proto_writer_text(e->w, NODE_NAME, name ? name : "");
    proto_writer_text(e->w, NODE_TYPE, n->type);
    proto_writer_text(e->w, NODE_DOMAIN, n->domain);
    if (good(e, ep_runtime.Node_GetNumAttributes(n->node, &count)) && count) {
        attributes = calloc(count, sizeof(*attributes));
        if (!attributes)
            keep(e, ep_status(ORT_FAIL, "out of memory"));
        else
            good(e, ep_runtime.Node_GetAttributes(n->node, attributes, count));
    }
    for (size_t i = 0; i < count && !e->status; i++)
        write_attribute(e, n, attributes[i]);
    free(attributes);
    write_subgraphs(e, n);
    proto_writer_close(e->w, message);
}

/* A node's graph. What it reads of the graphs around has the same names there. */
static void write_graph(struct emit *e, uint32_t field, const struct ort_graph *graph)
{
    struct emit_values inputs = {NULL, 0}, outputs = {NULL, 0}, constants = {NULL, 0};
    struct emit_graph g = {0};
    const char *name = NULL;
    size_t message;

    if (++e->depth > MAX_DEPTH) {
        keep(e, ep_status(ORT_NOT_IMPLEMENTED, "%u graphs within graphs", e->depth));
        return;
    }
    message = proto_writer_open(e->w, field);
    if (good(e, emit_graph_read(&g, graph)) && good(e, graph_inputs_list(graph, &inputs)) &&
        good(e, graph_outputs_list(graph, &outputs)) &&
        good(e, graph_constants_list(graph, &constants)) &&
        good(e, ep_runtime.Graph_GetName(graph, &name))) {
        proto_writer_text(e->w, GRAPH_NAME, name && *name ? name : "graph");
        for (size_t i = 0; i < inputs.count; i++)
            write_value(e, GRAPH_INPUT, inputs.at[i]);
        for (size_t i = 0; i < outputs.count; i++)
            write_value(e, GRAPH_OUTPUT, outputs.at[i]);
        for (size_t i = 0; i < constants.count && !e->status; i++)
            write_constant(e, constants.at[i]);
        for (size_t i = 0; i < g.count && !e->status; i++)
            write_node(e, &g.nodes[i]);
    }
    proto_writer_close(e->w, message);
    free(inputs.at);
    free(outputs.at);
    free(constants.at);
    emit_graph_finish(&g);
    e->depth--;
}

/* Those that the nodes have: the host may know no others. */
static void write_opsets(struct emit *e, const struct ort_graph *graph)
{
    const char **domains = NULL;
    int64_t *versions = NULL;
    size_t count = 0;

    if (!good(e, ep_runtime.Graph_GetNumOperatorSets(graph, &count)))
        return;
    domains = calloc(count + 1, sizeof(*domains));
    versions = calloc(count + 1, sizeof(*versions));
    if (!domains || !versions)
        keep(e, ep_status(ORT_FAIL, "out of memory"));
    else
        good(e, ep_runtime.Graph_GetOperatorSets(graph, domains, versions, count));
    for (size_t i = 0; i < count && !e->status; i++) {
        const char *domain = strcmp(domains[i], "ai.onnx") ? domains[i] : "";
        size_t message;

        /* ONNX's own must be there. */
        if (*domain && names_get(&e->domains, domain) == NAMES_NONE)
            continue;
        message = proto_writer_open(e->w, MODEL_OPSET);
        proto_writer_text(e->w, OPSET_DOMAIN, domain);
        proto_writer_number(e->w, OPSET_VERSION, (uint64_t)versions[i]);
        proto_writer_close(e->w, message);
    }
    free(domains);
    free(versions);
}

struct ort_status *emit_model(const struct emit_graph *g, const uint32_t *part, uint32_t which,
                              const struct emit_values *inputs, const struct emit_values *outputs,
                              struct proto_writer *writer)
{
    struct emit e = {.w = writer};
    const char *name = NULL;
    int64_t ir = 0;
    size_t graph;

    if (good(&e, ep_runtime.Graph_GetOnnxIRVersion(g->graph, &ir)))
        proto_writer_number(writer, MODEL_IR, ir < LEAST_IR ? LEAST_IR : (uint64_t)ir);
    proto_writer_text(writer, MODEL_PRODUCER, "viaduct");
    good(&e, ep_runtime.Graph_GetName(g->graph, &name));
    graph = proto_writer_open(writer, MODEL_GRAPH);
    proto_writer_text(writer, GRAPH_NAME, name && *name ? name : "graph");
    for (size_t i = 0; i < inputs->count && !e.status; i++) {
        const char *input = emit_name(inputs->at[i]);

        if (!input)
            continue;
        if (!names_set(&e.known, input, 0))
            keep(&e, ep_status(ORT_FAIL, "out of memory"));
        write_value(&e, GRAPH_INPUT, inputs->at[i]);
    }
    for (size_t i = 0; i < outputs->count && !e.status; i++) {
        if (emit_name(outputs->at[i]))
            write_value(&e, GRAPH_OUTPUT, outputs->at[i]);
    }
    for (size_t i = 0; i < g->count && !e.status; i++) {
        if (part && part[i] != which)
            continue;
        write_constants(&e, &g->nodes[i].inputs);
        write_constants(&e, &g->nodes[i].implicit);
        write_node(&e, &g->nodes[i]);
    }
    proto_writer_close(writer, graph);
    write_opsets(&e, g->graph);
    names_finish(&e.domains);
    names_finish(&e.known);
    if (!e.status && writer->failed)
        return ep_status(ORT_FAIL, "the model is too large to be sent, or memory is short");
    return e.status;
}
