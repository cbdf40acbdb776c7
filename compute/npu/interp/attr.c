/* SPDX-License-Identifier: MIT */
#include "internal.h"

/* AttributeProto: floats 7 and ints 8 may be packed. */
static int read_numbers(struct onnx_model *model, struct proto proto, struct attribute *a)
{
    struct proto_field f;
    struct proto walk = proto;
    size_t floats = 0, ints = 0, strings = 0, at_float = 0, at_int = 0, at_string = 0;
    uint64_t number;

    while (onnx_proto_next(&walk, &f) > 0) {
        if (f.number == 7)
            floats += f.type == PROTO_BYTES ? onnx_proto_size(f.bytes) / 4 : 1;
        if (f.number == 8)
            ints += f.type == PROTO_BYTES ? onnx_proto_size(f.bytes) : 1;
        if (f.number == 9)
            strings++;
    }
    a->floats = onnx_model_alloc(model, floats, sizeof(*a->floats));
    a->ints = onnx_model_alloc(model, ints, sizeof(*a->ints));
    a->strings = onnx_model_alloc(model, strings, sizeof(*a->strings));
    if (!a->floats || !a->ints || !a->strings)
        return model->error->status;
    for (walk = proto; onnx_proto_next(&walk, &f) > 0;) {
        if (f.number == 7 && f.type == PROTO_FIXED32)
            a->floats[at_float++] = onnx_proto_float(&f);
        if (f.number == 7 && f.type == PROTO_BYTES && onnx_proto_size(f.bytes) / 4) {
            memcpy(a->floats + at_float, f.bytes.at, onnx_proto_size(f.bytes) / 4 * 4);
            at_float += onnx_proto_size(f.bytes) / 4;
        }
        if (f.number == 8 && f.type == PROTO_VARINT)
            a->ints[at_int++] = (int64_t)f.value;
        if (f.number == 8 && f.type == PROTO_BYTES)
            while (onnx_proto_varint(&f.bytes, &number) > 0)
                a->ints[at_int++] = (int64_t)number;
        if (f.number == 9 && f.type == PROTO_BYTES) {
            a->strings[at_string].data = onnx_model_text(model, f.bytes);
            a->strings[at_string].size = onnx_proto_size(f.bytes);
            if (!a->strings[at_string++].data)
                return model->error->status;
        }
    }
    a->count = at_float + at_int + at_string;
    if ((at_float != 0) + (at_int != 0) + (at_string != 0) > 1)
        return onnx_model_bad(model, "an attribute has lists of two types");
    if (a->type == ATTR_NONE && a->count)
        a->type = at_float ? ATTR_FLOATS : at_int ? ATTR_INTS : ATTR_STRINGS;
    return 0;
}

int onnx_attr_read(struct onnx_model *model, struct graph *graph, struct proto proto,
                   struct attribute *a)
{
    struct proto walk = proto;
    struct proto_field f;
    const char *unused;
    enum attribute_type guess = ATTR_NONE;
    int more;

    a->name = "";
    a->s.data = "";
    while ((more = onnx_proto_next(&walk, &f)) > 0) {
        bool bytes = f.type == PROTO_BYTES;

        if (f.number == 1 && bytes && !(a->name = onnx_model_text(model, f.bytes)))
            return model->error->status;
        if (f.number == 20 && f.type == PROTO_VARINT)
            a->type = f.value < 16 ? (enum attribute_type)f.value : ATTR_NONE;
        if (f.number == 2 && f.type == PROTO_FIXED32) {
            a->f = onnx_proto_float(&f);
            guess = ATTR_FLOAT;
        }
        if (f.number == 3 && f.type == PROTO_VARINT) {
            a->i = (int64_t)f.value;
            guess = ATTR_INT;
        }
        if (f.number == 4 && bytes) {
            a->s.data = onnx_model_text(model, f.bytes);
            a->s.size = onnx_proto_size(f.bytes);
            if (!a->s.data)
                return model->error->status;
            guess = ATTR_STRING;
        }
        if (f.number == 5 && bytes) {
            TRY(onnx_tensor_read(model, f.bytes, &unused, &a->tensor));
            guess = ATTR_TENSOR;
        }
        if (f.number == 22 && bytes) {
            TRY(onnx_tensor_sparse(model, f.bytes, &unused, &a->tensor));
            guess = ATTR_SPARSE;
        }
        if (f.number == 6 && bytes) {
            if (a->graph)
                return onnx_model_bad(model, "an attribute has two graphs");
            TRY(onnx_model_graph(model, graph, f.bytes, &a->graph));
            guess = ATTR_GRAPH;
        }
        if (f.number == 14 && bytes) {
            TRY(onnx_model_type(model, f.bytes, &a->io));
            guess = ATTR_TYPE;
        }
    }
    if (more < 0)
        return onnx_model_bad(model, "an attribute is cut off");
    if (a->type == ATTR_NONE)
        a->type = guess;
    return read_numbers(model, proto, a);
}

const struct attribute *onnx_attr(const struct node *node, const char *name)
{
    for (size_t i = 0; i < node->attribute_count; i++)
        if (strcmp(node->attributes[i].name, name) == 0)
            return &node->attributes[i];
    return NULL;
}

int64_t onnx_attr_int(const struct node *node, const char *name, int64_t otherwise)
{
    const struct attribute *a = onnx_attr(node, name);

    return a && a->type == ATTR_INT ? a->i : otherwise;
}

float onnx_attr_float(const struct node *node, const char *name, float otherwise)
{
    const struct attribute *a = onnx_attr(node, name);

    return a && a->type == ATTR_FLOAT ? a->f : otherwise;
}

const char *onnx_attr_string(const struct node *node, const char *name, const char *otherwise)
{
    const struct attribute *a = onnx_attr(node, name);

    return a && a->type == ATTR_STRING ? a->s.data : otherwise;
}

bool onnx_attr_is(const struct node *node, const char *name, const char *otherwise,
                  const char *value)
{
    return strcmp(onnx_attr_string(node, name, otherwise), value) == 0;
}

int onnx_attr_ints(const struct node *node, const char *name, int64_t *values, int most)
{
    const struct attribute *a = onnx_attr(node, name);

    if (!a || a->type != ATTR_INTS)
        return 0;
    if (a->count > (size_t)most)
        return -1;
    memcpy(values, a->ints, a->count * sizeof(*values));
    return (int)a->count;
}

struct graph *onnx_attr_graph(const struct node *node, const char *name)
{
    const struct attribute *a = onnx_attr(node, name);

    return a ? a->graph : NULL;
}
