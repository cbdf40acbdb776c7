/* SPDX-License-Identifier: MIT */
#include "special.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "compute/npu/client/proto_writer.h"
#include "compute/npu/interp/proto.h"
#include "outline.h"

/* Fields of onnx.proto. */
enum {
    MODEL_GRAPH = 7,
    GRAPH_INPUT = 11,
    INFO_NAME = 1,
    INFO_TYPE = 2,
    TYPE_TENSOR = 1,
    TENSOR_ELEMENT = 1,
    TENSOR_SHAPE = 2,
    SHAPE_DIM = 1,
    DIM_VALUE = 1,
};

void special_source_destroy(struct special_source *s)
{
    if (!s)
        return;
    if (s->bytes)
        s->free(s->bytes);
    onnx_model_destroy(s->outline);
    free(s->rows);
    free(s);
}

bool special_wanted(const struct provider *provider, const char *device,
                    const struct provider_description *about)
{
    bool open = false;

    if (!provider->wants_shapes || !provider->wants_shapes(device))
        return false;
    for (size_t i = 0; i < about->input_count; i++) {
        const struct onnx_io *io = &about->inputs[i];

        /* What is no tensor of numbers such a device refuses anyway. */
        if (io->kind != ONNX_TENSOR || io->optional)
            return false;
        open = open || io->rank < 0;
        for (int j = 0; j < io->rank; j++)
            open = open || io->dims[j] < 0;
    }
    return open;
}

bool special_wanted_by(const struct provider *provider, const char *device, const void *bytes,
                       uint64_t size)
{
    struct provider_description about;
    struct outline outline;
    char error[64];
    bool wanted;

    if (!provider->wants_shapes || !provider->wants_shapes(device) ||
        outline_init(&outline, bytes, size, error, sizeof(error)))
        return false;
    outline_describe(&outline, NULL, &about);
    wanted = special_wanted(provider, device, &about);
    outline_finish(&outline);
    return wanted;
}

int special_describe(struct shelf_model *model, uint8_t *bytes, uint64_t size,
                     void (*free_bytes)(void *bytes), char *error, size_t error_size)
{
    struct special_source *s = calloc(1, sizeof(*s));
    struct outline outline;
    int err = s ? outline_init(&outline, bytes, size, error, error_size) : VD_ERR_MEMORY;

    if (err) {
        if (!s)
            snprintf(error, error_size, "out of memory");
        free(s);
        return err;
    }
    snprintf(s->placement, sizeof(s->placement), "%s, made for each set of shapes", model->device);
    outline_describe(&outline, s->placement, &model->description);
    s->outline = outline.model;
    s->rows = outline.rows;
    s->bytes = bytes;
    s->size = size;
    s->free = free_bytes;
    model->source = s;
    return 0;
}

static void write_type(struct proto_writer *w, const struct onnx_value *value)
{
    size_t type = proto_writer_open(w, INFO_TYPE), tensor = proto_writer_open(w, TYPE_TENSOR),
           shape;

    proto_writer_number(w, TENSOR_ELEMENT, (uint64_t)value->dtype);
    shape = proto_writer_open(w, TENSOR_SHAPE);
    for (int i = 0; i < value->rank; i++) {
        size_t dim = proto_writer_open(w, SHAPE_DIM);

        proto_writer_number(w, DIM_VALUE, (uint64_t)value->dims[i]);
        proto_writer_close(w, dim);
    }
    proto_writer_close(w, shape);
    proto_writer_close(w, tensor);
    proto_writer_close(w, type);
}

/* The value of a run that is this input; NULL: none is, as for a constant of the model. */
static const struct onnx_value *value_of(const struct provider_description *about,
                                         const struct onnx_value *values, const uint32_t *indices,
                                         uint32_t count, struct proto info)
{
    struct proto_field field;
    struct proto name = onnx_proto_of("", 0);

    while (onnx_proto_next(&info, &field) > 0) {
        if (field.number == INFO_NAME && field.type == PROTO_BYTES)
            name = field.bytes;
    }
    for (uint32_t i = 0; i < count; i++) {
        const char *is = about->inputs[indices[i]].name;

        if (values[i].kind == ONNX_TENSOR && strlen(is) == onnx_proto_size(name) &&
            !memcmp(is, name.at, onnx_proto_size(name)))
            return &values[i];
    }
    return NULL;
}

/* Everything as it is, but for the types of inputs. */
static void write_graph(struct proto_writer *w, struct proto graph,
                        const struct provider_description *about, const struct onnx_value *values,
                        const uint32_t *indices, uint32_t count)
{
    const uint8_t *from = graph.at;
    struct proto_field field;

    for (; onnx_proto_next(&graph, &field) > 0; from = graph.at) {
        const struct onnx_value *value = NULL;
        struct proto info = field.bytes;
        struct proto_field part;
        const uint8_t *at = info.at;
        size_t opened;

        if (field.number == GRAPH_INPUT && field.type == PROTO_BYTES)
            value = value_of(about, values, indices, count, info);
        if (!value) {
            proto_writer_raw(w, from, (size_t)(graph.at - from));
            continue;
        }
        opened = proto_writer_open(w, GRAPH_INPUT);
        for (; onnx_proto_next(&info, &part) > 0; at = info.at) {
            if (part.number != INFO_TYPE)
                proto_writer_raw(w, at, (size_t)(info.at - at));
        }
        write_type(w, value);
        proto_writer_close(w, opened);
    }
}

int special_write(const struct special_source *source, const struct provider_description *about,
                  const struct onnx_value *values, const uint32_t *indices, uint32_t count,
                  uint8_t **ret_bytes, size_t *ret_size, char *error, size_t error_size)
{
    struct proto model = onnx_proto_of(source->bytes, source->size);
    struct proto_writer w = {0};
    const uint8_t *from = model.at;
    struct proto_field field;

    proto_writer_expect(&w, source->size + 4096);
    for (; onnx_proto_next(&model, &field) > 0; from = model.at) {
        if (field.number == MODEL_GRAPH && field.type == PROTO_BYTES) {
            size_t opened = proto_writer_open(&w, MODEL_GRAPH);

            write_graph(&w, field.bytes, about, values, indices, count);
            proto_writer_close(&w, opened);
        } else {
            proto_writer_raw(&w, from, (size_t)(model.at - from));
        }
    }
    if (w.failed) {
        proto_writer_finish(&w);
        snprintf(error, error_size, "out of memory");
        return VD_ERR_MEMORY;
    }
    *ret_bytes = w.data;
    *ret_size = w.size;
    return 0;
}

/* The hash of the model and these shapes. */
static void name_it(const struct shelf_model *model, const struct provider_run *run,
                    struct shelf_key *ret)
{
    struct sha256 hash;

    *ret = model->key;
    memset(ret->devices, 0, sizeof(ret->devices));
    snprintf(ret->devices, sizeof(ret->devices), "%s", model->device);
    sha256_init(&hash);
    sha256_add(&hash, model->key.hash, sizeof(model->key.hash));
    for (uint32_t i = 0; i < run->input_count; i++) {
        const struct onnx_value *v = &run->inputs[i];
        uint32_t head[3] = {run->input_index[i], (uint32_t)v->dtype, (uint32_t)v->rank};

        sha256_add(&hash, head, sizeof(head));
        sha256_add(&hash, v->dims, (size_t)v->rank * sizeof(v->dims[0]));
    }
    sha256_finish(&hash, ret->hash);
}

struct making {
    const struct shelf_model *model;
    const struct provider_run *run;
};

static int make(void *owner, struct shelf_model *to)
{
    const struct making *making = owner;
    const struct shelf_model *of = making->model;
    const struct provider_run *run = making->run;
    struct provider_load load = {
        .device = of->device, .threads = of->key.threads, .alone = of->key.require};
    uint8_t *bytes = NULL;
    size_t size = 0;
    int err = special_write(of->source, &of->description, run->inputs, run->input_index,
                            run->input_count, &bytes, &size, run->error, run->error_size);

    if (err)
        return err;
    load.bytes = bytes;
    load.size = size;
    memcpy(load.hash, to->key.hash, sizeof(load.hash));
    err = of->provider->load(&load, &to->model, run->error, run->error_size);
    free(bytes);
    if (err)
        return err;
    to->provider = of->provider;
    memcpy(to->device, of->device, sizeof(to->device));
    of->provider->describe(to->model, &to->description);
    log_info("inference: a model was made for shapes that are new (%s)",
             to->description.placement ? to->description.placement : to->device);
    return 0;
}

/* The model's rows are not changed by what a special one says, as long as names agree. */
static int agree(const struct shelf_model *model, const struct shelf_model *one, char *error,
                 size_t error_size)
{
    const struct provider_description *a = &model->description, *b = &one->description;
    bool same = a->input_count == b->input_count && a->output_count == b->output_count;

    for (size_t i = 0; same && i < a->input_count; i++)
        same = !strcmp(a->inputs[i].name, b->inputs[i].name);
    for (size_t i = 0; same && i < a->output_count; i++)
        same = !strcmp(a->outputs[i].name, b->outputs[i].name);
    if (!same)
        snprintf(error, error_size, "%s names inputs or outputs otherwise than the model",
                 one->device);
    return same ? 0 : VD_ERR_INTERNAL;
}

static void drop(struct special_one *one, struct shelf *shelf)
{
    if (one->run)
        one->model->provider->close(one->run);
    shelf_put(shelf, one->model);
    *one = (struct special_one){0};
}

int special_take(struct special *s, struct shelf *shelf, const struct shelf_model *model,
                 const struct provider_run *run, struct special_one **ret_one)
{
    struct making making = {model, run};
    struct special_one *one = &s->at[0], made = {0};
    struct shelf_key key;
    int err;

    name_it(model, run, &key);
    for (size_t i = 0; i < SPECIAL_KEPT; i++) {
        struct special_one *at = &s->at[i];

        if (at->model && !memcmp(at->model->key.hash, key.hash, sizeof(key.hash))) {
            at->used = ++s->clock;
            *ret_one = at;
            return 0;
        }
        /* A free one, or that which was not used for longest. */
        if (one->model && (!at->model || at->used < one->used))
            one = at;
    }
    snprintf(run->error, run->error_size, "out of memory");
    err = shelf_take(shelf, &key, make, &making, &made.model);
    if (!err)
        err = agree(model, made.model, run->error, run->error_size);
    if (!err)
        err = made.model->provider->open(made.model->model, &made.run, run->error, run->error_size);
    if (err) {
        drop(&made, shelf);
        return err;
    }
    drop(one, shelf);
    made.used = ++s->clock;
    *one = made;
    *ret_one = one;
    return 0;
}

void special_finish(struct special *s, struct shelf *shelf)
{
    for (size_t i = 0; i < SPECIAL_KEPT; i++)
        drop(&s->at[i], shelf);
}
