/* SPDX-License-Identifier: MIT */
#include <time.h>

#include "internal.h"

/* Runs graphs node by node. Tensors nothing needs any more are freed at once. */

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int onnx_work(struct call *call, double steps)
{
    struct onnx_run *run = call->run;

    if (atomic_load_explicit(&run->stop, memory_order_relaxed))
        return onnx_fail(&run->error, VD_ERR_GONE, "the run was cancelled");
    if (run->deadline && now() > run->deadline)
        return onnx_fail(&run->error, VD_ERR_TIMEOUT, "the run took more than the %u ms it may",
                         run->model->options.milliseconds);
    if (!(steps <= (double)(run->model->options.work - run->work)))
        return onnx_call_fail(call, VD_ERR_LIMIT,
                              "the run needs more than the %llu steps it may take",
                              (unsigned long long)run->model->options.work);
    run->work += (uint64_t)steps;
    return 0;
}

static struct value *to_float(struct onnx_run *run, const struct value *half)
{
    struct value *value = onnx_value_tensor(run, ONNX_F32, half->rank, half->dims);
    const uint16_t *from = half->data;

    if (!value)
        return NULL;
    for (int64_t i = 0; i < half->count; i++)
        ((float *)value->data)[i] =
            half->dtype == ONNX_F16 ? onnx_half_to_float(from[i]) : onnx_bfloat_to_float(from[i]);
    return value;
}

static struct value *to_half(struct onnx_run *run, const struct value *full, enum onnx_dtype dtype)
{
    struct value *value = onnx_value_tensor(run, dtype, full->rank, full->dims);
    const float *from = full->data;

    if (!value)
        return NULL;
    for (int64_t i = 0; i < full->count; i++)
        ((uint16_t *)value->data)[i] =
            dtype == ONNX_F16 ? onnx_float_to_half(from[i]) : onnx_float_to_bfloat(from[i]);
    return value;
}

/* Checks the inputs against the row; *ret_half becomes the type to compute as floats, or 0. */
static int check_types(struct call *call, enum onnx_dtype *ret_half)
{
    const struct op *row = call->node->row;
    enum onnx_dtype same = ONNX_UNKNOWN;
    const char *type = row->types;

    *ret_half = ONNX_UNKNOWN;
    for (size_t i = 0; i < call->in_count; i++, type += type[1] != 0) {
        const struct value *value = call->in[i];
        uint32_t mask;

        if (!value || *type == 'K')
            continue;
        if (value->kind != ONNX_TENSOR)
            return BAD(call, "input %zu is no tensor", i);
        mask = *type == 'I'   ? M(ONNX_I32) | M(ONNX_I64)
               : *type == 'L' ? M(ONNX_I64)
               : *type == 'B' ? M(ONNX_BOOL)
               : *type == 'S' ? M(ONNX_STRING)
               : *type == 'f' ? M_F32
               : *type == '8' ? M_BYTE
               : *type == 'N' ? M_NUMBER | M_HALF
               : *type == 'T' ? row->mask
                              : M_ANY;
        if ((M(value->dtype) & M_HALF & ~mask) && (mask & M_F32)) {
            *ret_half = value->dtype;
        } else if (!(mask & M(value->dtype))) {
            return CANT(call, "input %zu is of type %s", i, onnx_dtype_name(value->dtype));
        }
        if (*type == 'T') {
            if (same != ONNX_UNKNOWN && value->dtype != same)
                return BAD(call, "inputs are of types %s and %s", onnx_dtype_name(same),
                           onnx_dtype_name(value->dtype));
            same = value->dtype;
        }
    }
    return 0;
}

static int run_half(struct call *call, enum onnx_dtype half)
{
    struct onnx_run *run = call->run;
    struct value **in = onnx_memory_get(run, call->in_count * sizeof(*in));
    struct value **was = call->in;
    int status = 0;

    if (!in)
        return run->error.status;
    for (size_t i = 0; i < call->in_count; i++) {
        if (was[i] && was[i]->kind == ONNX_TENSOR && (M(was[i]->dtype) & M_HALF))
            in[i] = to_float(run, was[i]);
        else
            in[i] = onnx_value_keep(was[i]);
        if (was[i] && !in[i])
            status = run->error.status;
    }
    if (status == 0) {
        call->in = in;
        call->dying = 0;
        status = call->node->row->run(call);
        call->in = was;
    }
    for (size_t i = 0; status == 0 && i < call->out_count; i++) {
        struct value *value = call->out[i];

        if (value && value->kind == ONNX_TENSOR && value->dtype == ONNX_F32) {
            call->out[i] = to_half(run, value, half);
            onnx_value_drop(run, value);
            if (!call->out[i])
                status = run->error.status;
        }
    }
    for (size_t i = 0; i < call->in_count; i++)
        onnx_value_drop(run, in[i]);
    onnx_memory_put(run, in);
    return status;
}

static int run_node(struct call *call)
{
    const struct node *node = call->node;
    struct onnx_run *run = call->run;
    struct block *outer = run->scratch;
    enum onnx_dtype half;
    int status = check_types(call, &half);

    run->scratch = NULL;
    if (status == 0)
        status = half ? run_half(call, half) : node->row->run(call);
    while (run->scratch) {
        void *memory = run->scratch;

        memcpy(&run->scratch, memory, sizeof(run->scratch));
        onnx_memory_put(run, memory);
    }
    run->scratch = outer;
    if (status < 0 && !run->error.status)
        status = onnx_call_fail(call, status, "failed");
    else if (status < 0)
        status = run->error.status;
    for (size_t i = 0; status == 0 && i < node->output_count; i++)
        if (node->outputs[i] >= 0 && !call->out[i])
            status = CANT(call, "does not make output %zu", i);
    return status;
}

static bool dies(const struct node *node, int slot)
{
    for (size_t i = 0; i < node->dead_count; i++)
        if (node->dead[i] == slot)
            return true;
    return false;
}

static int step(struct onnx_run *run, struct frame *frame, const struct node *node)
{
    struct value *small[32] = {NULL};
    size_t count = node->input_count + node->output_count;
    struct value **values = small;
    struct call call = {.run = run, .frame = frame, .node = node, .arg = node->row->arg};
    double steps = 1;
    int status;

    if (node->outputs[0] >= 0 && frame->graph->slots[node->outputs[0]].initial)
        return 0;
    if (count > ARRAY_COUNT(small)) {
        values = onnx_memory_get(run, count * sizeof(*values));
        if (!values)
            return run->error.status;
        memset(values, 0, count * sizeof(*values));
    }
    call.in = values;
    call.out = values + node->input_count;
    call.in_count = node->input_count;
    call.out_count = node->output_count;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct reference *ref = &node->inputs[i];
        struct frame *from = frame;

        if (ref->slot < 0)
            continue;
        for (int up = ref->up; up; up--)
            from = from->parent;
        call.in[i] = from->values[ref->slot];
        if (i < 64 && !ref->up && !node->has_graph && dies(node, ref->slot))
            call.dying |= 1ull << i;
        steps += call.in[i] ? (double)call.in[i]->count : 0;
    }
    status = onnx_work(&call, steps);
    if (status == 0)
        status = run_node(&call);
    for (size_t i = 0; i < node->output_count; i++) {
        if (status == 0 && node->outputs[i] >= 0)
            frame->values[node->outputs[i]] = call.out[i];
        else
            onnx_value_drop(run, call.out[i]);
    }
    if (values != small)
        onnx_memory_put(run, values);
    for (size_t i = 0; i < node->dead_count; i++) {
        onnx_value_drop(run, frame->values[node->dead[i]]);
        frame->values[node->dead[i]] = NULL;
    }
    return status;
}

static int run_graph(struct onnx_run *run, struct frame *parent, const struct graph *graph,
                     struct value **inputs, size_t input_count, struct value **outputs)
{
    struct frame frame = {.graph = graph, .parent = parent};
    size_t bytes = graph->slot_count * sizeof(*frame.values);
    int status = 0;

    frame.values = onnx_memory_get(run, bytes);
    if (!frame.values)
        return run->error.status;
    memset(frame.values, 0, bytes);
    for (size_t i = 0; i < graph->slot_count; i++)
        frame.values[i] = graph->slots[i].initial;
    for (size_t i = 0; i < input_count; i++)
        frame.values[graph->input_slots[i]] = onnx_value_keep(inputs[i]);
    for (size_t i = 0; status == 0 && i < graph->node_count; i++)
        status = step(run, &frame, &graph->nodes[i]);
    for (size_t i = 0; status == 0 && i < graph->output_count; i++) {
        const struct reference *ref = &graph->output_refs[i];
        struct frame *from = &frame;

        for (int up = ref->up; up; up--)
            from = from->parent;
        outputs[i] = onnx_value_keep(from->values[ref->slot]);
        if (!outputs[i])
            status = onnx_fail(&run->error, VD_ERR_PARAMETER, "output %s was not made",
                               graph->outputs[i].name);
    }
    for (size_t i = 0; status < 0 && i < graph->output_count; i++) {
        onnx_value_drop(run, outputs[i]);
        outputs[i] = NULL;
    }
    for (size_t i = 0; i < graph->slot_count; i++)
        onnx_value_drop(run, frame.values[i]);
    onnx_memory_put(run, frame.values);
    return status;
}

int onnx_exec_graph(struct call *call, const struct graph *graph, struct value **inputs,
                    size_t input_count, struct value **outputs, size_t output_count)
{
    memset(outputs, 0, output_count * sizeof(*outputs));
    if (input_count != graph->input_count || output_count != graph->output_count)
        return BAD(call, "its graph has %zu inputs and %zu outputs, not %zu and %zu",
                   graph->input_count, graph->output_count, input_count, output_count);
    return run_graph(call->run, call->frame, graph, inputs, input_count, outputs);
}

/* ---- The public face ---- */

int onnx_run_create(const struct onnx_model *model, struct onnx_run **ret_run)
{
    struct onnx_run *run;

    if (model->options.outline)
        return VD_ERR_PARAMETER;
    run = calloc(1, sizeof(*run));
    if (!run)
        return VD_ERR_MEMORY;
    run->model = model;
    run->all.next = run->all.previous = &run->all;
    run->random = 0x9e3779b97f4a7c15u;
    *ret_run = run;
    return 0;
}

/* Drops what the last execution gave out. */
static void clear(struct onnx_run *run)
{
    for (size_t i = 0; run->results && i < run->model->graph->output_count; i++)
        onnx_value_drop(run, run->results[i]);
    onnx_memory_put(run, run->results);
    run->results = NULL;
    while (run->texts) {
        void *memory = run->texts;

        memcpy(&run->texts, memory, sizeof(run->texts));
        onnx_memory_put(run, memory);
    }
}

void onnx_run_destroy(struct onnx_run *run)
{
    if (!run)
        return;
    clear(run);
    onnx_memory_finish(run);
    free(run);
}

void onnx_run_cancel(struct onnx_run *run)
{
    atomic_store(&run->stop, 1);
}

void onnx_run_resume(struct onnx_run *run)
{
    atomic_store(&run->stop, 0);
}

const char *onnx_run_error(const struct onnx_run *run)
{
    return run->error.text;
}

uint64_t onnx_run_peak(const struct onnx_run *run)
{
    return run->peak;
}

static int check_input(struct onnx_run *run, const struct onnx_io *io, const struct value *value)
{
    if (value->kind == ONNX_NONE && io->optional)
        return 0;
    if (value->kind != io->kind)
        return onnx_fail(&run->error, VD_ERR_PARAMETER, "input %s is not a %s", io->name,
                         io->kind == ONNX_TENSOR     ? "tensor"
                         : io->kind == ONNX_SEQUENCE ? "sequence"
                         : io->kind == ONNX_MAP      ? "map"
                                                     : "sequence of maps");
    if (io->dtype != ONNX_UNKNOWN && value->dtype != io->dtype &&
        (io->kind == ONNX_TENSOR || value->item_count))
        return onnx_fail(&run->error, VD_ERR_PARAMETER, "input %s is of type %s, not %s", io->name,
                         onnx_dtype_name(value->dtype), onnx_dtype_name(io->dtype));
    if (io->kind != ONNX_TENSOR || io->rank < 0)
        return 0;
    if (io->rank != value->rank)
        return onnx_fail(&run->error, VD_ERR_PARAMETER, "input %s has %d dimensions, not %d",
                         io->name, value->rank, io->rank);
    for (int i = 0; i < io->rank; i++)
        if (io->dims[i] >= 0 && io->dims[i] != value->dims[i])
            return onnx_fail(&run->error, VD_ERR_PARAMETER,
                             "dimension %d of input %s is %lld, not %lld", i, io->name,
                             (long long)value->dims[i], (long long)io->dims[i]);
    return 0;
}

static int find_input(const struct onnx_model *model, const char *name)
{
    for (size_t i = 0; i < model->input_count; i++)
        if (strcmp(onnx_model_input(model, i)->name, name) == 0)
            return (int)i;
    return -1;
}

/* Fills the values of all the graph's inputs. */
static int take_inputs(struct onnx_run *run, const char *const *names,
                       const struct onnx_value *inputs, size_t count, struct value **values)
{
    const struct onnx_model *model = run->model;

    if (count > model->input_count)
        return onnx_fail(&run->error, VD_ERR_PARAMETER, "the model has %zu inputs, not %zu",
                         model->input_count, count);
    for (size_t i = 0; i < count; i++) {
        int which = names ? find_input(model, names[i]) : (int)i;
        struct value **value;

        if (which < 0)
            return onnx_fail(&run->error, VD_ERR_PARAMETER, "the model has no input %s", names[i]);
        value = &values[model->inputs[which]];
        if (*value)
            return onnx_fail(&run->error, VD_ERR_PARAMETER, "input %s is there twice", names[i]);
        *value = onnx_value_borrow(run, &inputs[i]);
        if (!*value)
            return run->error.status;
        TRY(check_input(run, onnx_model_input(model, (size_t)which), *value));
    }
    for (size_t i = 0; i < model->graph->input_count; i++) {
        const struct slot *slot = &model->graph->slots[model->graph->input_slots[i]];

        if (!values[i] && !slot->initial)
            return onnx_fail(&run->error, VD_ERR_PARAMETER, "input %s is missing", slot->name);
        if (!values[i])
            values[i] = slot->initial;
    }
    return 0;
}

static int give_value(struct onnx_run *run, const struct value *value, struct onnx_value *ret)
{
    size_t size = (size_t)value->count * onnx_dtype_size(value->dtype), room = ret->size;
    void *place = value->kind == ONNX_TENSOR ? ret->data : NULL;
    int status = 0;

    *ret = (struct onnx_value){.kind = value->kind,
                               .dtype = value->dtype,
                               .rank = value->rank,
                               .data = value->data,
                               .item_count = value->item_count};
    memcpy(ret->dims, value->dims, sizeof(ret->dims));
    if (value->kind == ONNX_TENSOR)
        ret->size = size;
    if (place) {
        ret->data = place;
        if (size > room)
            status = onnx_fail(&run->error, VD_ERR_ROOM,
                               "an output has %zu bytes, and there is room for %zu", size, room);
        else if (size)
            memcpy(place, value->data, size);
    }
    if (value->kind != ONNX_TENSOR && value->kind != ONNX_NONE) {
        struct onnx_value *items =
            (void *)onnx_text(run, (value->item_count + 1) * sizeof(struct onnx_value));

        if (!items)
            return run->error.status;
        memset(items, 0, value->item_count * sizeof(*items));
        for (size_t i = 0; i < value->item_count; i++)
            give_value(run, value->items[i], &items[i]);
        ret->items = items;
    }
    return status;
}

int onnx_run_execute(struct onnx_run *run, const char *const *names,
                     const struct onnx_value *inputs, size_t input_count,
                     struct onnx_value *outputs, size_t output_count)
{
    const struct onnx_model *model = run->model;
    const struct graph *graph = model->graph;
    struct value **values = NULL;
    int status = 0;

    clear(run);
    memset(&run->error, 0, sizeof(run->error));
    run->work = 0;
    run->deadline =
        model->options.milliseconds ? now() + model->options.milliseconds * 1000000ull : 0;
    if (output_count != graph->output_count)
        return onnx_fail(&run->error, VD_ERR_PARAMETER, "the model has %zu outputs, not %zu",
                         graph->output_count, output_count);
    values = onnx_memory_get(run, graph->input_count * sizeof(*values));
    run->results = onnx_memory_get(run, graph->output_count * sizeof(*run->results));
    if (!values || !run->results) {
        onnx_memory_put(run, values);
        onnx_memory_put(run, run->results);
        run->results = NULL;
        return run->error.status;
    }
    memset(values, 0, graph->input_count * sizeof(*values));
    memset(run->results, 0, graph->output_count * sizeof(*run->results));
    status = take_inputs(run, names, inputs, input_count, values);
    if (status == 0)
        status = run_graph(run, NULL, graph, values, graph->input_count, run->results);
    for (size_t i = 0; status == 0 && i < output_count; i++)
        status = give_value(run, run->results[i], &outputs[i]);
    for (size_t i = 0; i < graph->input_count; i++)
        onnx_value_drop(run, values[i]);
    onnx_memory_put(run, values);
    atomic_store(&run->stop, 0);
    return status;
}
