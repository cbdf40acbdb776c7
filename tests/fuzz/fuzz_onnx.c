/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>

#include "fuzz.h"

#include <compute/npu/interp/onnx.h>

/* Hostile models: read, and what can be read runs, on little memory and few steps. */

/* A message that is built field by field; sizes take two bytes. */
struct message {
    uint8_t bytes[2048];
    size_t size;
};

static void put(struct message *m, unsigned field, const void *bytes, size_t size)
{
    if (m->size + size + 4 > sizeof(m->bytes))
        abort();
    m->bytes[m->size++] = (uint8_t)(field << 3 | 2);
    m->bytes[m->size++] = (uint8_t)(size & 127) | 128;
    m->bytes[m->size++] = (uint8_t)(size >> 7);
    memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
}

static void put_number(struct message *m, unsigned field, unsigned value)
{
    uint8_t bytes[] = {(uint8_t)(field << 3), (uint8_t)value};

    memcpy(m->bytes + m->size, bytes, 2);
    m->size += 2;
}

static void put_message(struct message *m, unsigned field, const struct message *inner)
{
    put(m, field, inner->bytes, inner->size);
}

static void put_io(struct message *graph, unsigned field, const char *name, unsigned dtype,
                   const uint8_t *dims, size_t rank)
{
    struct message io = {.size = 0}, type = {.size = 0}, tensor = {.size = 0}, shape = {.size = 0};

    for (size_t i = 0; i < rank; i++) {
        struct message dim = {.size = 0};

        put_number(&dim, 1, dims[i]);
        put_message(&shape, 1, &dim);
    }
    put_number(&tensor, 1, dtype);
    put_message(&tensor, 2, &shape);
    put_message(&type, 1, &tensor);
    put(&io, 1, name, strlen(name));
    put_message(&io, 2, &type);
    put_message(graph, field, &io);
}

static void put_node(struct message *graph, const char *op, const char *in, const char *in2,
                     const char *out)
{
    struct message node = {.size = 0};

    put(&node, 1, in, strlen(in));
    if (in2)
        put(&node, 1, in2, strlen(in2));
    put(&node, 2, out, strlen(out));
    put(&node, 4, op, strlen(op));
    put_message(graph, 1, &node);
}

static void put_initial(struct message *graph, const char *name, unsigned dtype,
                        const uint8_t *dims, size_t rank, const void *raw, size_t size)
{
    struct message tensor = {.size = 0};

    for (size_t i = 0; i < rank; i++)
        put_number(&tensor, 1, dims[i]);
    put_number(&tensor, 2, dtype);
    put(&tensor, 8, name, strlen(name));
    put(&tensor, 9, raw, size);
    put_message(graph, 5, &tensor);
}

static void put_list(struct message *node, const char *name, unsigned field, unsigned type,
                     const void *values, size_t count, size_t each)
{
    struct message a = {.size = 0};

    put(&a, 1, name, strlen(name));
    for (size_t i = 0; i < count; i++) {
        if (field == 8) {
            put_number(&a, 8, ((const uint8_t *)values)[i]);
        } else if (field == 7) {
            a.bytes[a.size++] = 7 << 3 | 5;
            memcpy(a.bytes + a.size, (const uint8_t *)values + i * each, each);
            a.size += each;
        } else {
            put(&a, field, ((const char *const *)values)[i],
                strlen(((const char *const *)values)[i]));
        }
    }
    a.bytes[a.size++] = (20 << 3 & 127) | 128;
    a.bytes[a.size++] = 1;
    a.bytes[a.size++] = (uint8_t)type;
    put_message(node, 5, &a);
}

#define INTS(node, name, ...)                                  \
    put_list(node, name, 8, 7, (const uint8_t[]){__VA_ARGS__}, \
             sizeof((const uint8_t[]){__VA_ARGS__}), 1)
#define FLOATS(node, name, ...)                              \
    put_list(node, name, 7, 6, (const float[]){__VA_ARGS__}, \
             sizeof((const float[]){__VA_ARGS__}) / 4, 4)

/* Of ai.onnx.ml: a forest, a map, an encoder. */
static size_t seed_ml(int which, uint8_t *buffer, size_t room)
{
    static const char *const ops[] = {"TreeEnsembleRegressor", "TreeEnsembleClassifier", "ZipMap",
                                      "LabelEncoder", "LinearClassifier"};
    static const char *const modes[] = {"BRANCH_LEQ", "LEAF", "LEAF"};
    static const char *const labels[] = {"a", "b", "c"};
    const uint8_t dims[] = {2, 3};
    struct message graph = {.size = 0}, model = {.size = 0}, opset = {.size = 0}, ml = {.size = 0};
    struct message node = {.size = 0};

    put(&node, 1, "x", 1);
    put(&node, 2, "y", 1);
    put(&node, 4, ops[which], strlen(ops[which]));
    if (which < 2) {
        const char *prefix = which ? "class" : "target";
        char name[32];

        INTS(&node, "nodes_treeids", 0, 0, 0);
        INTS(&node, "nodes_nodeids", 0, 1, 2);
        INTS(&node, "nodes_featureids", 1, 0, 0);
        INTS(&node, "nodes_truenodeids", 1, 0, 0);
        INTS(&node, "nodes_falsenodeids", 2, 0, 0);
        FLOATS(&node, "nodes_values", 0.5f, 0, 0);
        put_list(&node, "nodes_modes", 9, 8, modes, 3, 0);
        snprintf(name, sizeof(name), "%s_treeids", prefix);
        INTS(&node, name, 0, 0);
        snprintf(name, sizeof(name), "%s_nodeids", prefix);
        INTS(&node, name, 1, 2);
        snprintf(name, sizeof(name), "%s_ids", prefix);
        INTS(&node, name, 0, 0);
        snprintf(name, sizeof(name), "%s_weights", prefix);
        FLOATS(&node, name, 0.25f, 0.75f);
    }
    if (which == 1 || which == 2 || which == 4)
        put_list(&node, "classlabels_strings", 9, 8, labels, which == 1 ? 2 : 3, 0);
    if (which == 3) {
        FLOATS(&node, "keys_floats", 0.5f, 1);
        INTS(&node, "values_int64s", 4, 5);
    }
    if (which == 4) {
        FLOATS(&node, "coefficients", 1, 2, 3, 4, 5, 6, 7, 8, 9);
        FLOATS(&node, "intercepts", 1, 2, 3);
    }
    put(&node, 7, "ai.onnx.ml", 10);
    put_message(&graph, 1, &node);
    put(&graph, 2, "g", 1);
    put_io(&graph, 11, "x", ONNX_F32, dims, 2);
    put_io(&graph, 12, "y", ONNX_F32, dims, 0);
    put_number(&opset, 2, 13);
    put(&ml, 1, "ai.onnx.ml", 10);
    put_number(&ml, 2, 3);
    put_number(&model, 1, 8);
    put_message(&model, 7, &graph);
    put_message(&model, 8, &opset);
    put_message(&model, 8, &ml);
    if (model.size > room)
        return 0;
    memcpy(buffer, model.bytes, model.size);
    return model.size;
}

size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    static const char *const ops[] = {"Conv", "MatMul", "Gather", "Reshape", "Slice",
                                      "Pad",  "Resize", "TopK",   "Loop",    "Concat"};
    const uint8_t dims[] = {1, 2, 6, 6}, weights[] = {2, 2, 3, 3}, four[] = {4};
    const float numbers[36] = {1, -1, 0.5f};
    const int64_t shape[4] = {1, 2, 36, -1};
    struct message graph = {.size = 0}, model = {.size = 0}, opset = {.size = 0};
    bool conv = index == 0 || index == 1;

    if (index >= (int)(sizeof(ops) / sizeof(ops[0])) + 5)
        return 0;
    if (index >= (int)(sizeof(ops) / sizeof(ops[0])))
        return seed_ml(index - (int)(sizeof(ops) / sizeof(ops[0])), buffer, room);
    if (conv)
        put_initial(&graph, "w", ONNX_F32, weights, 4, numbers, sizeof(numbers));
    else
        put_initial(&graph, "w", ONNX_I64, four, 1, shape, sizeof(shape));
    put_node(&graph, "Relu", "x", NULL, "a");
    put_node(&graph, ops[index], "a", "w", "b");
    put_node(&graph, "Add", "b", "b", "y");
    put(&graph, 2, "g", 1);
    put_io(&graph, 11, "x", ONNX_F32, dims, 4);
    put_io(&graph, 12, "y", ONNX_F32, dims, 0);
    put_number(&opset, 2, 13);
    put_number(&model, 1, 8);
    put_message(&model, 7, &graph);
    put_message(&model, 8, &opset);
    if (model.size > room)
        return 0;
    memcpy(buffer, model.bytes, model.size);
    return model.size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct onnx_options options = {.model_bytes = 1 << 16,
                                   .nodes = 200,
                                   .memory = 1 << 22,
                                   .work = 1 << 20,
                                   .milliseconds = 500};
    static double numbers[8192];
    struct onnx_value in[8], out[8];
    struct onnx_model *model;
    struct onnx_run *run;
    char error[200];
    size_t inputs, outputs;

    if (onnx_model_create(data, size, &options, &model, error, sizeof(error)) < 0) {
        /* A refusal comes with its reason. */
        if (!error[0])
            abort();
        return 0;
    }
    inputs = onnx_model_input_count(model);
    outputs = onnx_model_output_count(model);
    if (inputs <= 8 && outputs <= 8 && onnx_run_create(model, &run) == 0) {
        memset(in, 0, sizeof(in));
        for (size_t i = 0; i < inputs; i++) {
            const struct onnx_io *io = onnx_model_input(model, i);

            in[i].dtype = io->dtype && io->dtype != ONNX_STRING ? io->dtype : ONNX_F32;
            in[i].rank = io->rank < 0 ? 1 : io->rank;
            for (int d = 0; d < in[i].rank; d++)
                in[i].dims[d] = io->dims[d] < 0 ? 2 : io->dims[d];
            in[i].data = numbers;
            in[i].size = sizeof(numbers);
        }
        for (int round = 0; round < 2; round++) {
            memset(out, 0, sizeof(out));
            if (onnx_run_execute(run, NULL, in, inputs, out, outputs) < 0 && !*onnx_run_error(run))
                abort();
        }
        onnx_run_destroy(run);
    }
    onnx_model_destroy(model);
    return 0;
}
