/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_ONNX_BUILD_H
#define VIADUCT_TEST_ONNX_BUILD_H

#include "check.h"

#include <compute/npu/interp/onnx.h>

/* Models are built here, field by field of onnx.proto. */

struct message {
    uint8_t bytes[8192];
    size_t size;
};

static inline void varint(struct message *m, uint64_t value)
{
    do {
        m->bytes[m->size++] = (uint8_t)((value & 127) | (value > 127 ? 128 : 0));
        value >>= 7;
    } while (value);
}

static inline void number(struct message *m, unsigned field, uint64_t value)
{
    varint(m, field << 3);
    varint(m, value);
}

static inline void bytes(struct message *m, unsigned field, const void *data, size_t size)
{
    varint(m, field << 3 | 2);
    varint(m, size);
    assert_true(m->size + size <= sizeof(m->bytes));
    memcpy(m->bytes + m->size, data, size);
    m->size += size;
}

static inline void text(struct message *m, unsigned field, const char *string)
{
    bytes(m, field, string, strlen(string));
}

static inline void nest(struct message *m, unsigned field, const struct message *inner)
{
    bytes(m, field, inner->bytes, inner->size);
}

/* -1: a dimension called N */
static inline void io(struct message *graph, unsigned field, const char *name, unsigned dtype,
                      int rank, const int64_t *dims)
{
    struct message value = {.size = 0}, type = {.size = 0}, tensor = {.size = 0};
    struct message shape = {.size = 0};

    for (int i = 0; i < rank; i++) {
        struct message dim = {.size = 0};

        if (dims[i] < 0)
            text(&dim, 2, "N");
        else
            number(&dim, 1, (uint64_t)dims[i]);
        nest(&shape, 1, &dim);
    }
    number(&tensor, 1, dtype);
    nest(&tensor, 2, &shape);
    nest(&type, 1, &tensor);
    text(&value, 1, name);
    nest(&value, 2, &type);
    nest(graph, field, &value);
}

static inline void node(struct message *graph, const char *op, const char *a, const char *b,
                        const char *out, const struct message *attribute)
{
    struct message n = {.size = 0};

    if (a)
        text(&n, 1, a);
    if (b)
        text(&n, 1, b);
    text(&n, 2, out);
    text(&n, 3, "the_node");
    text(&n, 4, op);
    if (attribute)
        nest(&n, 5, attribute);
    nest(graph, 1, &n);
}

static inline void finish(struct message *model, const struct message *graph)
{
    struct message opset = {.size = 0}, pair = {.size = 0};

    number(&opset, 2, 13);
    text(&pair, 1, "key");
    text(&pair, 2, "value");
    number(model, 1, 8);
    text(model, 2, "test");
    nest(model, 7, graph);
    nest(model, 8, &opset);
    nest(model, 14, &pair);
}

static const int64_t row[] = {-1, 3};

/* y = x op w, w = {1, 2, 3} */
static inline void simple(struct message *model, const char *op)
{
    struct message graph = {.size = 0}, w = {.size = 0};
    const float numbers[] = {1, 2, 3};

    model->size = 0;
    number(&w, 1, 3);
    number(&w, 2, ONNX_F32);
    text(&w, 8, "w");
    bytes(&w, 9, numbers, sizeof(numbers));
    nest(&graph, 5, &w);
    node(&graph, op, "x", "w", "y", NULL);
    text(&graph, 2, "the_graph");
    io(&graph, 11, "x", ONNX_F32, 2, row);
    io(&graph, 12, "y", ONNX_F32, 2, row);
    finish(model, &graph);
}

/* x doubled in length 2^40 times, or for ever: memory, work, time and cancelling end it. */
static inline void endless(struct message *m, const char *op)
{
    struct message body = {.size = 0}, attribute = {.size = 0}, graph = {.size = 0};
    struct message outer = {.size = 0}, n = {.size = 0}, axis = {.size = 0};

    node(&body, "Identity", "go", NULL, "more", NULL);
    text(&n, 1, "s");
    text(&n, 1, "s");
    text(&n, 2, "t");
    text(&n, 4, op);
    text(&axis, 1, "axis");
    number(&axis, 3, 0);
    number(&axis, 20, 2);
    if (strcmp(op, "Concat") == 0)
        nest(&n, 5, &axis);
    nest(&body, 1, &n);
    io(&body, 11, "i", ONNX_I64, 0, NULL);
    io(&body, 11, "go", ONNX_BOOL, 0, NULL);
    io(&body, 11, "s", ONNX_F32, 2, row);
    io(&body, 12, "more", ONNX_BOOL, 0, NULL);
    io(&body, 12, "t", ONNX_F32, 2, row);
    text(&attribute, 1, "body");
    nest(&attribute, 6, &body);
    number(&attribute, 20, 5);
    text(&outer, 1, "");
    text(&outer, 1, "");
    text(&outer, 1, "x");
    text(&outer, 2, "y");
    text(&outer, 3, "the_loop");
    text(&outer, 4, "Loop");
    nest(&outer, 5, &attribute);
    nest(&graph, 1, &outer);
    io(&graph, 11, "x", ONNX_F32, 2, row);
    io(&graph, 12, "y", ONNX_F32, 2, row);
    m->size = 0;
    finish(m, &graph);
}

#endif
