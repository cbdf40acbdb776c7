/* SPDX-License-Identifier: MIT */
#include <stdarg.h>

#include "internal.h"

/*
 * Reads ModelProto, GraphProto, NodeProto and ValueInfoProto; field numbers are those of onnx.proto
 * (github.com/onnx/onnx). Everything is copied into memory of the model.
 */

int onnx_fail(struct onnx_error *error, int status, const char *format, ...)
{
    va_list arguments;

    if (error->status)
        return error->status;
    error->status = status;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return status;
}

int onnx_model_bad(struct onnx_model *model, const char *what)
{
    return onnx_fail(model->error, VD_ERR_PARAMETER, "the model is broken: %s", what);
}

void *onnx_model_alloc(struct onnx_model *model, uint64_t count, size_t size)
{
    struct chunk *chunk;
    /* A tensor in the file may be a few times its size in memory, no more. */
    uint64_t most = 64ull * model->options.model_bytes, bytes;

    if (count > most / size || model->chunk_bytes + count * size > most) {
        onnx_fail(model->error, VD_ERR_LIMIT, "the model needs more memory than is allowed");
        return NULL;
    }
    bytes = (sizeof(*chunk) + 63) / 64 * 64 + (count * size + 63) / 64 * 64;
    chunk = aligned_alloc(64, bytes);
    if (!chunk) {
        onnx_fail(model->error, VD_ERR_MEMORY, "there is no memory for the model");
        return NULL;
    }
    memset(chunk, 0, bytes);
    model->chunk_bytes += bytes;
    chunk->next = model->chunks;
    model->chunks = chunk;
    return (uint8_t *)chunk + 64;
}

const char *onnx_model_text(struct onnx_model *model, struct proto bytes)
{
    char *text = onnx_model_alloc(model, onnx_proto_size(bytes) + 1, 1);

    if (text && onnx_proto_size(bytes))
        memcpy(text, bytes.at, onnx_proto_size(bytes));
    return text;
}

/* How often a field of bytes is there. */
static int count_fields(struct onnx_model *model, struct proto proto, uint32_t number, size_t *ret)
{
    struct proto_field f;
    size_t count = 0;
    int more;

    while ((more = onnx_proto_next(&proto, &f)) > 0)
        count += f.number == number && f.type == PROTO_BYTES;
    if (more < 0)
        return onnx_model_bad(model, "a message is cut off");
    *ret = count;
    return 0;
}

static int read_shape(struct onnx_model *model, struct proto shape, struct onnx_io *io)
{
    struct proto_field f, g;

    io->rank = 0;
    while (onnx_proto_next(&shape, &f) > 0) {
        if (f.number != 1 || f.type != PROTO_BYTES)
            continue;
        if (io->rank == RANK)
            return onnx_fail(model->error, VD_ERR_UNSUPPORTED, "%s has more than %d dimensions",
                             io->name, RANK);
        io->dims[io->rank] = -1;
        while (onnx_proto_next(&f.bytes, &g) > 0) {
            if (g.number == 1 && g.type == PROTO_VARINT)
                io->dims[io->rank] = (int64_t)g.value < 0 ? -1 : (int64_t)g.value;
            if (g.number == 2 && g.type == PROTO_BYTES &&
                !(io->symbols[io->rank] = onnx_model_text(model, g.bytes)))
                return model->error->status;
        }
        io->rank++;
    }
    return 0;
}

/* TypeProto */
static int read_type(struct onnx_model *model, struct proto type, struct onnx_io *io, int depth)
{
    struct proto_field f, g;

    if (depth > 3)
        return onnx_fail(model->error, VD_ERR_UNSUPPORTED, "%s has a type within types", io->name);
    while (onnx_proto_next(&type, &f) > 0) {
        if (f.type != PROTO_BYTES)
            continue;
        if (f.number == 1) {
            while (onnx_proto_next(&f.bytes, &g) > 0) {
                if (g.number == 1 && g.type == PROTO_VARINT)
                    io->dtype = g.value < ONNX_DTYPES ? (enum onnx_dtype)g.value : ONNX_UNKNOWN;
                if (g.number == 2 && g.type == PROTO_BYTES && io->kind == ONNX_TENSOR)
                    TRY(read_shape(model, g.bytes, io));
            }
        } else if (f.number == 4 || f.number == 9) {
            if (f.number == 4)
                io->kind = ONNX_SEQUENCE;
            else
                io->optional = true;
            while (onnx_proto_next(&f.bytes, &g) > 0)
                if (g.number == 1 && g.type == PROTO_BYTES)
                    TRY(read_type(model, g.bytes, io, depth + 1));
        } else if (f.number == 5) {
            io->kind = io->kind == ONNX_SEQUENCE ? ONNX_MAPS : ONNX_MAP;
            while (onnx_proto_next(&f.bytes, &g) > 0) {
                if (g.number == 1 && g.type == PROTO_VARINT)
                    io->key = g.value < ONNX_DTYPES ? (enum onnx_dtype)g.value : ONNX_UNKNOWN;
                if (g.number == 2 && g.type == PROTO_BYTES)
                    TRY(read_type(model, g.bytes, io, depth + 1));
            }
            if (io->key != ONNX_I64 && io->key != ONNX_STRING)
                return onnx_fail(model->error, VD_ERR_UNSUPPORTED,
                                 "%s is a map whose keys are of another type than int64 and string",
                                 io->name);
        } else if (f.number == 7 || f.number == 8) {
            return onnx_fail(model->error, VD_ERR_UNSUPPORTED,
                             "%s is neither tensor, sequence nor map", io->name);
        }
    }
    return 0;
}

int onnx_model_type(struct onnx_model *model, struct proto type, struct onnx_io *io)
{
    io->rank = -1;
    if (!io->name)
        io->name = "a type";
    return read_type(model, type, io, 0);
}

/* ValueInfoProto */
int onnx_model_io(struct onnx_model *model, struct proto proto, struct onnx_io *io)
{
    struct proto_field f;
    struct proto type = {NULL, NULL};

    io->name = "";
    while (onnx_proto_next(&proto, &f) > 0) {
        if (f.number == 1 && f.type == PROTO_BYTES && !(io->name = onnx_model_text(model, f.bytes)))
            return model->error->status;
        if (f.number == 2 && f.type == PROTO_BYTES)
            type = f.bytes;
    }
    return onnx_model_type(model, type, io);
}

static int read_node(struct onnx_model *model, struct graph *graph, struct proto proto,
                     struct node *node)
{
    size_t inputs = 0, outputs = 0, attributes = 0;
    struct proto_field f;

    TRY(count_fields(model, proto, 1, &inputs));
    TRY(count_fields(model, proto, 2, &outputs));
    TRY(count_fields(model, proto, 5, &attributes));
    if (inputs > ONNX_MAX_ARITY || outputs > ONNX_MAX_ARITY)
        return onnx_fail(model->error, VD_ERR_LIMIT, "a node has too many inputs or outputs");
    node->name = node->op = node->domain = "";
    node->input_names = onnx_model_alloc(model, inputs, sizeof(*node->input_names));
    node->output_names = onnx_model_alloc(model, outputs, sizeof(*node->output_names));
    node->inputs = onnx_model_alloc(model, inputs, sizeof(*node->inputs));
    node->outputs = onnx_model_alloc(model, outputs, sizeof(*node->outputs));
    node->attributes = onnx_model_alloc(model, attributes, sizeof(*node->attributes));
    if (model->error->status)
        return model->error->status;
    while (onnx_proto_next(&proto, &f) > 0) {
        const char **text = NULL;

        if (f.type != PROTO_BYTES)
            continue;
        switch (f.number) {
        case 1:
            text = &node->input_names[node->input_count++];
            break;
        case 2:
            text = &node->output_names[node->output_count++];
            break;
        case 3:
            text = &node->name;
            break;
        case 4:
            text = &node->op;
            break;
        case 5: {
            struct attribute *a = &node->attributes[node->attribute_count++];

            TRY(onnx_attr_read(model, graph, f.bytes, a));
            node->has_graph |= a->graph != NULL;
            break;
        }
        case 7:
            text = &node->domain;
            break;
        }
        if (text && !(*text = onnx_model_text(model, f.bytes)))
            return model->error->status;
    }
    if (strcmp(node->domain, "ai.onnx") == 0)
        node->domain = "";
    return 0;
}

static int add_initial(struct onnx_model *model, struct graph *graph, struct proto proto,
                       bool sparse)
{
    const char *name;
    struct value *value;
    int slot;

    TRY(sparse ? onnx_tensor_sparse(model, proto, &name, &value)
               : onnx_tensor_read(model, proto, &name, &value));
    slot = onnx_graph_find(graph, name);
    if (slot >= 0 && graph->slots[slot].initial)
        return onnx_fail(model->error, VD_ERR_PARAMETER, "two initialisers are called %s", name);
    if (slot < 0)
        TRY(slot = onnx_graph_add(graph, name));
    graph->slots[slot].initial = value;
    return 0;
}

int onnx_model_graph(struct onnx_model *model, struct graph *parent, struct proto proto,
                     struct graph **ret_graph)
{
    struct graph *graph = onnx_model_alloc(model, 1, sizeof(*graph));
    size_t nodes = 0, inputs = 0, outputs = 0;
    struct proto_field f;
    struct proto walk = proto;

    if (!graph)
        return model->error->status;
    graph->model = model;
    graph->parent = parent;
    graph->depth = parent ? parent->depth + 1 : 0;
    graph->name = "";
    if (graph->depth > ONNX_MAX_DEPTH)
        return onnx_fail(model->error, VD_ERR_LIMIT, "graphs are nested more than %d deep",
                         ONNX_MAX_DEPTH);
    TRY(count_fields(model, proto, 1, &nodes));
    TRY(count_fields(model, proto, 11, &inputs));
    TRY(count_fields(model, proto, 12, &outputs));
    model->metadata.node_count += nodes;
    if (model->metadata.node_count > model->options.nodes)
        return onnx_fail(model->error, VD_ERR_LIMIT, "the model has more than %u nodes",
                         model->options.nodes);
    graph->nodes = onnx_model_alloc(model, nodes, sizeof(*graph->nodes));
    graph->inputs = onnx_model_alloc(model, inputs, sizeof(*graph->inputs));
    graph->input_slots = onnx_model_alloc(model, inputs, sizeof(*graph->input_slots));
    graph->outputs = onnx_model_alloc(model, outputs, sizeof(*graph->outputs));
    graph->output_refs = onnx_model_alloc(model, outputs, sizeof(*graph->output_refs));
    if (model->error->status)
        return model->error->status;
    while (onnx_proto_next(&walk, &f) > 0) {
        if (f.type != PROTO_BYTES)
            continue;
        if (f.number == 2 && !(graph->name = onnx_model_text(model, f.bytes)))
            return model->error->status;
        if (f.number == 11) {
            struct onnx_io *io = &graph->inputs[graph->input_count];
            int slot;

            TRY(onnx_model_io(model, f.bytes, io));
            if (onnx_graph_find(graph, io->name) >= 0)
                return onnx_fail(model->error, VD_ERR_PARAMETER, "two inputs are called %s",
                                 io->name);
            TRY(slot = onnx_graph_add(graph, io->name));
            graph->input_slots[graph->input_count++] = slot;
        }
        if (f.number == 12)
            TRY(onnx_model_io(model, f.bytes, &graph->outputs[graph->output_count++]));
    }
    for (walk = proto; onnx_proto_next(&walk, &f) > 0;)
        if (f.type == PROTO_BYTES && (f.number == 5 || f.number == 15))
            TRY(add_initial(model, graph, f.bytes, f.number == 15));
    for (walk = proto; !model->options.outline && onnx_proto_next(&walk, &f) > 0;)
        if (f.type == PROTO_BYTES && f.number == 1)
            TRY(read_node(model, graph, f.bytes, &graph->nodes[graph->node_count++]));
    *ret_graph = graph;
    return 0;
}

static int read_opset(struct onnx_model *model, struct proto proto)
{
    struct opset *opset = &model->opsets[model->opset_count];
    struct proto_field f;

    if (model->opset_count == ARRAY_COUNT(model->opsets))
        return onnx_fail(model->error, VD_ERR_UNSUPPORTED, "the model uses too many domains");
    opset->domain = "";
    while (onnx_proto_next(&proto, &f) > 0) {
        if (f.number == 1 && f.type == PROTO_BYTES &&
            !(opset->domain = onnx_model_text(model, f.bytes)))
            return model->error->status;
        if (f.number == 2 && f.type == PROTO_VARINT)
            opset->version = (int64_t)f.value;
    }
    if (strcmp(opset->domain, "ai.onnx") == 0)
        opset->domain = "";
    if (!*opset->domain)
        model->metadata.opset = opset->version;
    model->opset_count++;
    return 0;
}

static int read_pair(struct onnx_model *model, struct proto proto, const char **key,
                     const char **value)
{
    struct proto_field f;

    *key = *value = "";
    while (onnx_proto_next(&proto, &f) > 0)
        if ((f.number == 1 || f.number == 2) && f.type == PROTO_BYTES &&
            !(*(f.number == 1 ? key : value) = onnx_model_text(model, f.bytes)))
            return model->error->status;
    return 0;
}

static int read_model(struct onnx_model *model, struct proto proto)
{
    struct onnx_metadata *meta = &model->metadata;
    struct proto graph = {NULL, NULL}, walk = proto;
    struct proto_field f;
    const char **keys, **values;
    size_t pairs = 0, functions = 0;

    meta->producer = meta->producer_version = meta->domain = meta->description = meta->graph = "";
    TRY(count_fields(model, proto, 14, &pairs));
    TRY(count_fields(model, proto, 25, &functions));
    if (functions)
        return onnx_fail(model->error, VD_ERR_UNSUPPORTED, "the model has functions of its own");
    keys = onnx_model_alloc(model, pairs, sizeof(*keys));
    values = onnx_model_alloc(model, pairs, sizeof(*values));
    if (!keys || !values)
        return model->error->status;
    while (onnx_proto_next(&walk, &f) > 0) {
        const char **text = f.number == 2   ? &meta->producer
                            : f.number == 3 ? &meta->producer_version
                            : f.number == 4 ? &meta->domain
                            : f.number == 6 ? &meta->description
                                            : NULL;

        if (f.type == PROTO_VARINT && f.number == 1)
            meta->ir_version = (int64_t)f.value;
        if (f.type == PROTO_VARINT && f.number == 5)
            meta->model_version = (int64_t)f.value;
        if (f.type != PROTO_BYTES)
            continue;
        if (text && !(*text = onnx_model_text(model, f.bytes)))
            return model->error->status;
        if (f.number == 7)
            graph = f.bytes;
        if (f.number == 8)
            TRY(read_opset(model, f.bytes));
        if (f.number == 14) {
            TRY(read_pair(model, f.bytes, &keys[meta->pair_count], &values[meta->pair_count]));
            meta->pair_count++;
        }
    }
    meta->keys = keys;
    meta->values = values;
    if (!graph.at)
        return onnx_model_bad(model, "there is no graph in it");
    if (!model->opset_count)
        return onnx_model_bad(model, "it does not say which operator set it uses");
    TRY(onnx_model_graph(model, NULL, graph, &model->graph));
    meta->graph = model->graph->name;
    if (!model->options.outline)
        TRY(onnx_graph_resolve(model->graph));
    model->inputs = onnx_model_alloc(model, model->graph->input_count, sizeof(*model->inputs));
    if (!model->inputs)
        return model->error->status;
    for (size_t i = 0; i < model->graph->input_count; i++)
        if (!model->graph->slots[model->graph->input_slots[i]].initial)
            model->inputs[model->input_count++] = (int)i;
    return 0;
}

static struct onnx_model *model_new(const struct onnx_options *options)
{
    struct onnx_model *model = calloc(1, sizeof(*model));

    if (!model)
        return NULL;
    if (options)
        model->options = *options;
    if (!model->options.model_bytes)
        model->options.model_bytes = (size_t)2 << 30;
    if (!model->options.nodes)
        model->options.nodes = 100000;
    if (!model->options.memory)
        model->options.memory = 4ull << 30;
    if (!model->options.work)
        model->options.work = 1ull << 44;
    model->error = &model->own_error;
    return model;
}

int onnx_model_create(const void *bytes, size_t size, const struct onnx_options *options,
                      struct onnx_model **ret_model, char *error, size_t error_size)
{
    struct onnx_model *model = model_new(options);
    int status;

    if (error_size)
        error[0] = 0;
    if (!model)
        return VD_ERR_MEMORY;
    if (size > model->options.model_bytes)
        status =
            onnx_fail(model->error, VD_ERR_LIMIT, "the model has %zu bytes, and %zu are allowed",
                      size, model->options.model_bytes);
    else
        status = read_model(model, onnx_proto_of(bytes, size));
    if (status == 0) {
        *ret_model = model;
        return 0;
    }
    if (error_size)
        snprintf(error, error_size, "%s", model->error->text);
    onnx_model_destroy(model);
    return status;
}

static void free_prepared(struct graph *graph)
{
    for (size_t i = 0; graph && i < graph->node_count; i++) {
        struct node *node = &graph->nodes[i];

        free(atomic_load(&node->prepared));
        for (size_t a = 0; a < node->attribute_count; a++)
            free_prepared(node->attributes[a].graph);
    }
}

void onnx_model_destroy(struct onnx_model *model)
{
    if (!model)
        return;
    free_prepared(model->graph);
    while (model->chunks) {
        struct chunk *chunk = model->chunks;

        model->chunks = chunk->next;
        free(chunk);
    }
    free(model);
}

size_t onnx_model_input_count(const struct onnx_model *model)
{
    return model->input_count;
}

size_t onnx_model_output_count(const struct onnx_model *model)
{
    return model->graph->output_count;
}

const struct onnx_io *onnx_model_input(const struct onnx_model *model, size_t index)
{
    return index < model->input_count ? &model->graph->inputs[model->inputs[index]] : NULL;
}

const struct onnx_io *onnx_model_output(const struct onnx_model *model, size_t index)
{
    return index < model->graph->output_count ? &model->graph->outputs[index] : NULL;
}

const struct onnx_metadata *onnx_model_metadata(const struct onnx_model *model)
{
    return &model->metadata;
}

/* ---- Values in files ---- */

struct onnx_store {
    struct onnx_model *model;
};

static int store_tensor(struct onnx_model *model, struct proto proto, struct onnx_value *ret)
{
    const char *name;
    struct value *value;

    TRY(onnx_tensor_read(model, proto, &name, &value));
    *ret = (struct onnx_value){.kind = ONNX_TENSOR,
                               .dtype = value->dtype,
                               .rank = value->rank,
                               .data = value->data,
                               .size = (size_t)value->count * onnx_dtype_size(value->dtype)};
    memcpy(ret->dims, value->dims, sizeof(ret->dims));
    return 0;
}

/* SequenceProto: elem_type 2, tensor_values 3. */
static int store_sequence(struct onnx_model *model, struct proto proto, struct onnx_value *ret)
{
    struct onnx_value *items;
    struct proto_field f;
    size_t count = 0, at = 0;

    TRY(count_fields(model, proto, 3, &count));
    items = onnx_model_alloc(model, count, sizeof(*items));
    if (!items)
        return model->error->status;
    while (onnx_proto_next(&proto, &f) > 0)
        if (f.number == 3 && f.type == PROTO_BYTES)
            TRY(store_tensor(model, f.bytes, &items[at++]));
    *ret = (struct onnx_value){.kind = ONNX_SEQUENCE, .items = items, .item_count = count};
    return 0;
}

/* OptionalProto: elem_type 2, tensor_value 3, sequence_value 5. */
static int store_optional(struct onnx_model *model, struct proto proto, struct onnx_value *ret)
{
    struct proto_field f;

    *ret = (struct onnx_value){.kind = ONNX_NONE};
    while (onnx_proto_next(&proto, &f) > 0) {
        if (f.number == 3 && f.type == PROTO_BYTES)
            TRY(store_tensor(model, f.bytes, ret));
        if (f.number == 5 && f.type == PROTO_BYTES)
            TRY(store_sequence(model, f.bytes, ret));
    }
    return 0;
}

int onnx_value_read(const void *bytes, size_t size, const struct onnx_io *like,
                    struct onnx_value *ret_value, struct onnx_store **ret_store, char *error,
                    size_t error_size)
{
    struct onnx_store *store = calloc(1, sizeof(*store));
    struct proto proto = onnx_proto_of(bytes, size);
    int status = VD_ERR_MEMORY;

    if (error_size)
        error[0] = 0;
    if (!store || !(store->model = model_new(NULL)))
        goto fail;
    status = like->optional                ? store_optional(store->model, proto, ret_value)
             : like->kind == ONNX_SEQUENCE ? store_sequence(store->model, proto, ret_value)
                                           : store_tensor(store->model, proto, ret_value);
    if (status == 0) {
        *ret_store = store;
        return 0;
    }
    if (error_size)
        snprintf(error, error_size, "%s", store->model->error->text);
fail:
    onnx_store_destroy(store);
    return status;
}

void onnx_store_destroy(struct onnx_store *store)
{
    if (store)
        onnx_model_destroy(store->model);
    free(store);
}
