/* SPDX-License-Identifier: MIT */
#include "ops.h"

/* If, Loop, Scan, SequenceMap: subgraphs. Sequences and optional values. */

static void drop_all(struct call *call, struct value **values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        onnx_value_drop(call->run, values[i]);
}

static struct value **room(struct call *call, size_t count)
{
    struct value **values = onnx_scratch(call, count, sizeof(*values));

    if (values)
        memset(values, 0, count * sizeof(*values));
    return values;
}

int onnx_op_if(struct call *call)
{
    const struct value *c = call->in[0];
    const struct graph *graph;

    if (c->count != 1)
        return BAD(call, "its condition is not one value");
    graph = onnx_attr_graph(call->node, *(const uint8_t *)c->data ? "then_branch" : "else_branch");
    if (!graph)
        return BAD(call, "lacks a branch");
    return onnx_exec_graph(call, graph, NULL, 0, call->out, call->out_count);
}

/* All tensors of a list behind each other along a new axis. */
static struct value *stack(struct call *call, struct value **items, size_t count, int64_t axis,
                           bool reverse)
{
    int64_t dims[RANK], outer, inner;
    struct value *to;
    size_t row;

    if (items[0]->kind != ONNX_TENSOR || items[0]->rank == RANK || axis > items[0]->rank) {
        BAD(call, "an output of its graph cannot be stacked");
        return NULL;
    }
    for (int i = 0; i <= items[0]->rank; i++)
        dims[i] = i == axis ? (int64_t)count : items[0]->dims[i - (i > axis)];
    to = onnx_value_tensor(call->run, items[0]->dtype, items[0]->rank + 1, dims);
    if (!to)
        return NULL;
    outer = onnx_product(items[0]->dims, 0, (int)axis);
    inner = onnx_product(items[0]->dims, (int)axis, items[0]->rank);
    row = (size_t)inner * onnx_dtype_size(to->dtype);
    for (size_t i = 0; i < count; i++) {
        const struct value *x = items[reverse ? count - 1 - i : i];

        if (x->kind != ONNX_TENSOR || x->dtype != to->dtype || x->rank != items[0]->rank ||
            memcmp(x->dims, items[0]->dims, sizeof(x->dims[0]) * (size_t)x->rank)) {
            BAD(call, "an output of its graph changes its shape");
            onnx_value_drop(call->run, to);
            return NULL;
        }
        for (int64_t o = 0; o < outer; o++)
            memcpy((uint8_t *)to->data + ((size_t)o * count + i) * row,
                   (const uint8_t *)x->data + (size_t)o * row, row);
    }
    return to;
}

/* A growing list of values of each scanned output. */
struct lists {
    struct value **items;
    size_t each, room, count;
};

static int lists_add(struct call *call, struct lists *l, struct value **values)
{
    if (l->count == l->room) {
        size_t more = l->room ? l->room * 2 : 16;
        struct value **items = onnx_memory_get(call->run, more * l->each * sizeof(*items));

        if (!items)
            return VD_ERR_MEMORY;
        for (size_t e = 0; e < l->each && l->count; e++)
            memcpy(items + e * more, l->items + e * l->room, l->count * sizeof(*items));
        onnx_memory_put(call->run, l->items);
        l->items = items;
        l->room = more;
    }
    for (size_t e = 0; e < l->each; e++)
        l->items[e * l->room + l->count] = values[e];
    l->count++;
    return 0;
}

static void lists_free(struct call *call, struct lists *l)
{
    for (size_t e = 0; e < l->each; e++)
        drop_all(call, l->items + e * l->room, l->count);
    onnx_memory_put(call->run, l->items);
}

static struct value *scalar(struct call *call, enum onnx_dtype dtype, const void *element)
{
    struct value *value = onnx_value_tensor(call->run, dtype, 0, NULL);

    if (value)
        memcpy(value->data, element, onnx_dtype_size(dtype));
    return value;
}

/* A loop that never ran has nothing to say of its outputs' shapes but what the graph declares. */
static struct value *stack_or_empty(struct call *call, struct lists *l, size_t e, int64_t axis,
                                    bool reverse, const struct onnx_io *io)
{
    int64_t dims[RANK] = {0};

    if (l->count)
        return stack(call, l->items + e * l->room, l->count, axis, reverse);
    for (int i = 0; i < io->rank && i < RANK - 1; i++)
        dims[i + 1] = io->dims[i] < 0 ? 0 : io->dims[i];
    return onnx_value_tensor(call->run, io->dtype ? io->dtype : ONNX_F32,
                             io->rank < 0      ? 1
                             : io->rank < RANK ? io->rank + 1
                                               : RANK,
                             dims);
}

int onnx_op_loop(struct call *call)
{
    const struct graph *graph = onnx_attr_graph(call->node, "body");
    const struct value *m = onnx_in(call, 0), *c = onnx_in(call, 1);
    size_t carried = call->in_count > 2 ? call->in_count - 2 : 0;
    int64_t trips = INT64_MAX;
    struct lists lists = {0};
    struct value **in, **out;
    uint8_t go = 1;
    int status = 0;

    if (m)
        TRY(onnx_in_int(call, 0, &trips));
    if (c && c->count != 1)
        return BAD(call, "its condition is not one value");
    if (c)
        go = *(const uint8_t *)c->data;
    if (!graph || call->in_count < 2 || call->out_count < carried ||
        graph->output_count != call->out_count + 1 || graph->input_count != carried + 2)
        return BAD(call, "its body does not fit");
    in = room(call, carried + 2);
    out = room(call, graph->output_count);
    if (!in || !out)
        return VD_ERR_MEMORY;
    lists.each = call->out_count - carried;
    for (size_t i = 0; i < carried; i++)
        in[i + 2] = onnx_value_keep(call->in[i + 2]);
    for (int64_t i = 0; status == 0 && go && i < trips; i++) {
        in[0] = scalar(call, ONNX_I64, &i);
        in[1] = scalar(call, ONNX_BOOL, &go);
        status = !in[0] || !in[1] ? VD_ERR_MEMORY : onnx_work(call, 1);
        if (status == 0)
            status = onnx_exec_graph(call, graph, in, carried + 2, out, graph->output_count);
        drop_all(call, in, 2);
        if (status < 0)
            break;
        if (out[0]->kind != ONNX_TENSOR || out[0]->dtype != ONNX_BOOL || out[0]->count != 1)
            status = BAD(call, "its body gives no condition");
        else
            go = *(const uint8_t *)out[0]->data;
        onnx_value_drop(call->run, out[0]);
        drop_all(call, in + 2, carried);
        memcpy(in + 2, out + 1, carried * sizeof(*in));
        if (status < 0 || (status = lists.each ? lists_add(call, &lists, out + 1 + carried) : 0))
            drop_all(call, out + 1 + carried, lists.each);
    }
    for (size_t i = 0; status == 0 && i < call->out_count; i++) {
        call->out[i] = i < carried ? onnx_value_keep(in[i + 2])
                                   : stack_or_empty(call, &lists, i - carried, 0, false,
                                                    &graph->outputs[i + 1]);
        if (!call->out[i])
            status = BAD(call, "does not make output %zu", i);
    }
    drop_all(call, in + 2, carried);
    lists_free(call, &lists);
    return status;
}

/* Part i of a tensor along an axis. */
static struct value *part(struct call *call, const struct value *x, int64_t axis, int64_t i)
{
    int64_t dims[RANK], outer, n;
    struct value *to;
    size_t row;

    for (int d = 0; d < x->rank - 1; d++)
        dims[d] = x->dims[d + (d >= axis)];
    to = onnx_value_tensor(call->run, x->dtype, x->rank - 1, dims);
    if (!to)
        return NULL;
    n = x->dims[axis];
    outer = onnx_product(x->dims, 0, (int)axis);
    row = (size_t)onnx_product(x->dims, (int)axis + 1, x->rank) * onnx_dtype_size(x->dtype);
    for (int64_t o = 0; o < outer; o++)
        memcpy((uint8_t *)to->data + (size_t)o * row,
               (const uint8_t *)x->data + (size_t)(o * n + i) * row, row);
    return to;
}

struct scan {
    const struct graph *graph;
    size_t states, inputs, outputs;
    int64_t in_axes[64], out_axes[64], in_back[64], out_back[64];
    int64_t steps;
};

/* in: states and scanned inputs of one batch; out likewise. */
static int scan_run(struct call *call, struct scan *s, struct value **from, struct value **to)
{
    size_t in_count = s->states + s->inputs, out_count = s->states + s->outputs;
    struct value **in = room(call, in_count), **out = room(call, out_count);
    struct lists lists = {.each = s->outputs};
    int status = in && out ? 0 : VD_ERR_MEMORY;

    for (size_t i = 0; status == 0 && i < s->states; i++)
        in[i] = onnx_value_keep(from[i]);
    for (int64_t t = 0; status == 0 && t < s->steps; t++) {
        for (size_t i = 0; i < s->inputs; i++) {
            in[s->states + i] = part(call, from[s->states + i], s->in_axes[i],
                                     s->in_back[i] ? s->steps - 1 - t : t);
            if (!in[s->states + i])
                status = VD_ERR_MEMORY;
        }
        if (status == 0)
            status = onnx_exec_graph(call, s->graph, in, in_count, out, out_count);
        drop_all(call, in + s->states, s->inputs);
        memset(in + s->states, 0, s->inputs * sizeof(*in));
        if (status < 0)
            break;
        drop_all(call, in, s->states);
        memcpy(in, out, s->states * sizeof(*in));
        status = s->outputs ? lists_add(call, &lists, out + s->states) : 0;
        if (status < 0)
            drop_all(call, out + s->states, s->outputs);
    }
    for (size_t i = 0; status == 0 && i < s->states; i++)
        to[i] = onnx_value_keep(in[i]);
    for (size_t i = 0; status == 0 && i < s->outputs; i++) {
        to[s->states + i] = stack_or_empty(call, &lists, i, s->out_axes[i], s->out_back[i],
                                           &s->graph->outputs[s->states + i]);
        if (!to[s->states + i])
            status = BAD(call, "does not make output %zu", s->states + i);
    }
    if (in)
        drop_all(call, in, s->states);
    lists_free(call, &lists);
    return status;
}

int onnx_op_scan(struct call *call)
{
    struct scan s = {.graph = onnx_attr_graph(call->node, "body")};
    int64_t inputs = onnx_attr_int(call->node, "num_scan_inputs", 0);
    bool old = call->node->opset < 9;
    struct value **from = call->in + old;
    size_t count = call->in_count - old;
    int status = 0;

    if (!s.graph || inputs < 1 || inputs > 64 || (size_t)inputs > count || call->out_count > 64)
        return BAD(call, "its body does not fit");
    s.inputs = (size_t)inputs;
    s.states = count - s.inputs;
    if (call->out_count < s.states)
        return BAD(call, "its body does not fit");
    s.outputs = call->out_count - s.states;
    if (onnx_attr_ints(call->node, "scan_input_axes", s.in_axes, 64) < 0 ||
        onnx_attr_ints(call->node, "scan_output_axes", s.out_axes, 64) < 0 ||
        onnx_attr_ints(call->node, old ? "directions" : "scan_input_directions", s.in_back, 64) <
            0 ||
        onnx_attr_ints(call->node, "scan_output_directions", s.out_back, 64) < 0)
        return BAD(call, "has too many axes");
    for (size_t i = 0; i < count; i++)
        if (!from[i] || from[i]->kind != ONNX_TENSOR || (old && from[i]->rank < 1))
            return BAD(call, "an input is no tensor");
    for (size_t i = 0; i < s.outputs; i++)
        if (s.out_axes[i] < 0)
            return CANT(call, "with a negative axis of an output");
    if (old)
        for (size_t i = 0; i < s.inputs; i++)
            s.in_axes[i]++;
    for (size_t i = 0; i < s.inputs; i++) {
        const struct value *x = from[s.states + i];

        TRY(onnx_axis(call, &s.in_axes[i], x->rank));
        if (i && x->dims[s.in_axes[i]] != s.steps)
            return BAD(call, "its inputs are of different lengths");
        s.steps = x->dims[s.in_axes[i]];
    }
    if (!old)
        return scan_run(call, &s, from, call->out);
    /* Version 8: a batch of scans, each of its own length. */
    if (call->in[0])
        return CANT(call, "with lengths");
    {
        int64_t batch = from[0]->dims[0];
        struct value **all, **in = room(call, count);

        if (batch < 1 || batch > 65536)
            return CANT(call, "with %lld in a batch", (long long)batch);
        for (size_t i = 0; i < count; i++)
            if (from[i]->dims[0] != batch)
                return BAD(call, "its batches differ");
        for (size_t i = 0; i < s.inputs; i++)
            s.in_axes[i]--;
        all = room(call, call->out_count * (size_t)batch + call->out_count);
        if (!all || !in)
            return VD_ERR_MEMORY;
        for (int64_t b = 0; status == 0 && b < batch; b++) {
            struct value **out = all + call->out_count * (size_t)batch;

            for (size_t i = 0; i < count; i++)
                if (!(in[i] = part(call, from[i], 0, b)))
                    status = VD_ERR_MEMORY;
            memset(out, 0, call->out_count * sizeof(*out));
            if (status == 0)
                status = scan_run(call, &s, in, out);
            for (size_t i = 0; i < call->out_count; i++)
                all[i * (size_t)batch + (size_t)b] = out[i];
            drop_all(call, in, count);
            memset(in, 0, count * sizeof(*in));
        }
        for (size_t i = 0; status == 0 && i < call->out_count; i++)
            if (!(call->out[i] = stack(call, all + i * (size_t)batch, (size_t)batch, 0, false)))
                status = VD_ERR_MEMORY;
        drop_all(call, all, call->out_count * (size_t)batch);
    }
    return status;
}

int onnx_op_sequence_map(struct call *call)
{
    const struct graph *graph = onnx_attr_graph(call->node, "body");
    struct lists lists = {.each = call->out_count};
    struct value **in = room(call, call->in_count), **out = room(call, call->out_count);
    int status = 0;

    if (!in || !out)
        return VD_ERR_MEMORY;
    if (!graph || call->in[0]->kind != ONNX_SEQUENCE)
        return BAD(call, "needs a body and a sequence");
    for (size_t k = 0; status == 0 && k < call->in[0]->item_count; k++) {
        for (size_t i = 0; status == 0 && i < call->in_count; i++) {
            in[i] = call->in[i];
            if (!in[i] || (in[i]->kind == ONNX_SEQUENCE && k >= in[i]->item_count))
                status = BAD(call, "a sequence is shorter than the first");
            else if (in[i]->kind == ONNX_SEQUENCE)
                in[i] = in[i]->items[k];
        }
        if (status == 0)
            status = onnx_exec_graph(call, graph, in, call->in_count, out, call->out_count);
        if (status == 0 && (status = lists_add(call, &lists, out)))
            drop_all(call, out, call->out_count);
    }
    for (size_t i = 0; status == 0 && i < call->out_count; i++)
        if (!(call->out[i] =
                  onnx_value_sequence(call->run, lists.items + i * lists.room, lists.count)))
            status = VD_ERR_MEMORY;
    lists_free(call, &lists);
    return status;
}

static int sequence_of(struct call *call, struct value **items, size_t count)
{
    call->out[0] = onnx_value_sequence(call->run, items, count);
    return call->out[0] ? 0 : VD_ERR_MEMORY;
}

int onnx_op_sequence_construct(struct call *call)
{
    for (size_t i = 0; i < call->in_count; i++)
        if (!call->in[i] || call->in[i]->kind != ONNX_TENSOR)
            return BAD(call, "an input is no tensor");
    return sequence_of(call, call->in, call->in_count);
}

int onnx_op_sequence_empty(struct call *call)
{
    return sequence_of(call, NULL, 0);
}

static int position(struct call *call, size_t input, int64_t count, int64_t *at)
{
    if (call->in[0]->kind != ONNX_SEQUENCE)
        return BAD(call, "its first input is no sequence");
    if (!onnx_in(call, input))
        return 0;
    TRY(onnx_in_int(call, input, at));
    if (*at < 0)
        *at += (int64_t)call->in[0]->item_count;
    return *at < 0 || *at >= count ? BAD(call, "position %lld is out of range", (long long)*at) : 0;
}

/* arg 0 insert, 1 erase */
int onnx_op_sequence_change(struct call *call)
{
    struct value *s = call->in[0], **items;
    int64_t count = (int64_t)s->item_count, at = call->arg ? count - 1 : count;
    size_t n = 0;

    TRY(position(call, call->arg ? 1 : 2, call->arg ? count : count + 1, &at));
    if (call->arg ? count == 0 : !call->in[1] || call->in[1]->kind != ONNX_TENSOR)
        return BAD(call, "has nothing to insert or erase");
    items = room(call, s->item_count + 1);
    if (!items)
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i <= count; i++) {
        if (i == at && !call->arg)
            items[n++] = call->in[1];
        if (i < count && !(call->arg && i == at))
            items[n++] = s->items[i];
    }
    return sequence_of(call, items, n);
}

int onnx_op_sequence_at(struct call *call)
{
    int64_t at = 0;

    TRY(position(call, 1, (int64_t)call->in[0]->item_count, &at));
    return onnx_out_share(call, 0, call->in[0]->items[at]);
}

/* A part of x along an axis, which is dropped if `squeeze`. NULL with the error set. */
static struct value *slice_of(struct call *call, const struct value *x, int64_t axis, int64_t from,
                              int64_t length, bool squeeze)
{
    int64_t outer = onnx_product(x->dims, 0, (int)axis), dims[RANK];
    int64_t inner = onnx_product(x->dims, (int)axis + 1, x->rank);
    size_t size = onnx_dtype_size(x->dtype), bytes = (size_t)(length * inner) * size;
    struct value *part;
    int rank = 0;

    for (int i = 0; i < x->rank; i++)
        if (i != axis || !squeeze)
            dims[rank++] = i == axis ? length : x->dims[i];
    part = onnx_value_tensor(call->run, x->dtype, rank, dims);
    for (int64_t o = 0; part && bytes && o < outer; o++)
        memcpy((uint8_t *)part->data + (size_t)o * bytes,
               (const uint8_t *)x->data + (size_t)((o * x->dims[axis] + from) * inner) * size,
               bytes);
    return part;
}

/* Lengths of the parts: of equal size, as the second input has them, or of one each. */
static int split_lengths(struct call *call, int64_t n, int64_t *ret_count, int64_t **ret_lengths)
{
    const struct value *split = onnx_in(call, 1);
    int64_t size = 1, sum = 0, count;

    if (split && split->rank > 0) {
        count = split->count;
    } else {
        if (split)
            TRY(onnx_in_int(call, 1, &size));
        if (size < 1)
            return BAD(call, "into parts of %lld", (long long)size);
        count = n / size + (n % size != 0);
    }
    *ret_lengths = onnx_scratch(call, (uint64_t)count, sizeof(**ret_lengths));
    if (!*ret_lengths)
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < count; i++) {
        int64_t length = split && split->rank > 0 ? onnx_index(split, i)
                         : size < n - i * size    ? size
                                                  : n - i * size;

        if (length < 0 || length > n - sum)
            return BAD(call, "its parts are longer than what is split");
        (*ret_lengths)[i] = length;
        sum += length;
    }
    if (sum != n)
        return BAD(call, "its parts are %lld of %lld", (long long)sum, (long long)n);
    *ret_count = count;
    return 0;
}

int onnx_op_split_to_sequence(struct call *call)
{
    const struct value *x = call->in[0];
    bool squeeze = !onnx_in(call, 1) && !onnx_attr_int(call->node, "keepdims", 1);
    int64_t axis = onnx_attr_int(call->node, "axis", 0), count = 0, at = 0, *lengths = NULL;
    struct value **parts;
    int status = 0;

    TRY(onnx_axis(call, &axis, x->rank));
    TRY(split_lengths(call, x->dims[axis], &count, &lengths));
    parts = onnx_scratch(call, (uint64_t)count, sizeof(*parts));
    if (!parts)
        return VD_ERR_MEMORY;
    memset(parts, 0, (size_t)count * sizeof(struct value *));
    for (int64_t i = 0; i < count && !status; at += lengths[i++]) {
        parts[i] = slice_of(call, x, axis, at, lengths[i], squeeze);
        status = parts[i] ? onnx_work(call, (double)parts[i]->count) : VD_ERR_MEMORY;
    }
    if (!status) {
        call->out[0] = onnx_value_sequence(call->run, parts, (size_t)count);
        status = call->out[0] ? 0 : VD_ERR_MEMORY;
    }
    for (int64_t i = 0; i < count; i++)
        if (parts[i])
            onnx_value_drop(call->run, parts[i]);
    return status;
}

int onnx_op_concat_from_sequence(struct call *call)
{
    const struct value *s = call->in[0], *first;
    bool anew = onnx_attr_int(call->node, "new_axis", 0);
    int64_t axis = onnx_attr_int(call->node, "axis", 0), dims[RANK], total = 0, outer, inner;
    uint8_t *to;
    size_t size;

    if (s->kind != ONNX_SEQUENCE || !s->item_count)
        return BAD(call, "its input is no sequence of tensors");
    first = s->items[0];
    if (first->rank + anew > RANK)
        return BAD(call, "makes %d dimensions", first->rank + 1);
    TRY(onnx_axis(call, &axis, first->rank + anew));
    for (size_t i = 0; i < s->item_count; i++) {
        const struct value *item = s->items[i];

        for (int d = 0; d < first->rank; d++)
            if (item->rank == first->rank && item->dims[d] != first->dims[d] && (anew || d != axis))
                return BAD(call, "its tensors do not fit each other");
        if (item->kind != ONNX_TENSOR || item->rank != first->rank || item->dtype != first->dtype)
            return BAD(call, "its tensors do not fit each other");
        total += anew ? 1 : item->dims[axis];
    }
    for (int d = 0, from = 0; d < first->rank + anew; d++)
        dims[d] = d == axis ? (from += !anew, total) : first->dims[from++];
    outer = onnx_product(dims, 0, (int)axis);
    inner = onnx_product(dims, (int)axis + 1, first->rank + anew);
    to = onnx_out(call, 0, first->dtype, first->rank + anew, dims);
    if (!to)
        return VD_ERR_MEMORY;
    TRY(onnx_work(call, (double)call->out[0]->count));
    size = onnx_dtype_size(first->dtype);
    for (int64_t o = 0; o < outer; o++)
        for (size_t i = 0; i < s->item_count; i++) {
            int64_t length = anew ? 1 : s->items[i]->dims[axis];
            size_t bytes = (size_t)(length * inner) * size;

            if (bytes)
                memcpy(to, (const uint8_t *)s->items[i]->data + (size_t)o * bytes, bytes);
            to += bytes;
        }
    return 0;
}

int onnx_op_sequence_length(struct call *call)
{
    int64_t *to;

    if (call->in[0]->kind != ONNX_SEQUENCE)
        return BAD(call, "its input is no sequence");
    to = onnx_out(call, 0, ONNX_I64, 0, NULL);
    if (to)
        *to = (int64_t)call->in[0]->item_count;
    return to ? 0 : VD_ERR_MEMORY;
}

int onnx_op_optional(struct call *call)
{
    if (onnx_in(call, 0))
        return onnx_out_share(call, 0, call->in[0]);
    call->out[0] = onnx_value_none(call->run);
    return call->out[0] ? 0 : VD_ERR_MEMORY;
}

int onnx_op_optional_get(struct call *call)
{
    if (call->in[0]->kind == ONNX_NONE)
        return BAD(call, "of a value that is not there");
    return onnx_out_share(call, 0, call->in[0]);
}

int onnx_op_optional_has(struct call *call)
{
    uint8_t *to = onnx_out(call, 0, ONNX_BOOL, 0, NULL);

    if (to)
        *to = onnx_in(call, 0) && call->in[0]->kind != ONNX_NONE;
    return to ? 0 : VD_ERR_MEMORY;
}
