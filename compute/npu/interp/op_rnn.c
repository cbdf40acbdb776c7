/* SPDX-License-Identifier: MIT */
#include "gemm.h"
#include "ops.h"

/* RNN, GRU, LSTM (arg 0, 1, 2): floats, one direction after the other. */

#define GATES(arg) ((arg) == 0 ? 1 : (arg) == 1 ? 3 : 4)

struct activation {
    int function;
    float a, b;
};

static const struct {
    const char *name;
    int function;
    float a, b;
} activations[] = {
    {"Sigmoid", UN_SIGMOID, 0, 0},
    {"Tanh", UN_TANH, 0, 0},
    {"Relu", UN_RELU, 0, 0},
    {"Affine", UN_AFFINE, 1, 0},
    {"LeakyRelu", UN_LEAKY, 0.01f, 0},
    {"ThresholdedRelu", UN_THRESHOLDED, 1, 0},
    {"ScaledTanh", UN_SCALED_TANH, 1, 1},
    {"HardSigmoid", UN_HARD_SIGMOID, 0.2f, 0.5f},
    {"Elu", UN_ELU, 1, 0},
    {"Softsign", UN_SOFTSIGN, 0, 0},
    {"Softplus", UN_SOFTPLUS, 0, 0},
};

static int find_activations(struct call *call, int64_t directions, struct activation *to)
{
    static const char *const defaults[3][3] = {
        {"Tanh"}, {"Sigmoid", "Tanh"}, {"Sigmoid", "Tanh", "Tanh"}};
    const struct attribute *names = onnx_attr(call->node, "activations");
    const struct attribute *alpha = onnx_attr(call->node, "activation_alpha");
    const struct attribute *beta = onnx_attr(call->node, "activation_beta");
    size_t each = call->arg == 0 ? 1 : call->arg == 1 ? 2 : 3;

    if (names && (names->type != ATTR_STRINGS || names->count != each * (size_t)directions))
        return BAD(call, "has %zu activations", names->count);
    if ((alpha || beta) && !names)
        return CANT(call, "has parameters for activations without names");
    for (size_t i = 0; i < each * (size_t)directions; i++) {
        const char *name = names ? names->strings[i].data : defaults[call->arg][i % each];
        size_t k = 0;

        while (k < ARRAY_COUNT(activations) && strcasecmp(activations[k].name, name))
            k++;
        if (k == ARRAY_COUNT(activations))
            return CANT(call, "with activation %.20s", name);
        to[i] = (struct activation){activations[k].function, activations[k].a, activations[k].b};
        if (alpha && alpha->type == ATTR_FLOATS && i < alpha->count)
            to[i].a = alpha->floats[i];
        if (beta && beta->type == ATTR_FLOATS && i < beta->count)
            to[i].b = beta->floats[i];
    }
    return 0;
}

struct rnn {
    int64_t steps, batch, in, hidden, directions;
    bool batch_first;
    float clip; /* 0: none */
    const float *x;
    const struct value *lens;
};

static void activate(const struct activation *f, float clip, float *v, int64_t n)
{
    for (int64_t i = 0; clip > 0 && i < n; i++)
        v[i] = v[i] > clip ? clip : v[i] < -clip ? -clip : v[i];
    onnx_unary_f32(f->function, v, v, n, f->a, f->b);
}

static int product(struct call *call, const float *a, const float *w, float *c, int64_t m,
                   int64_t n, int64_t k, float beta)
{
    struct gemm gemm = {.m = m,
                        .n = n,
                        .k = k,
                        .a = a,
                        .a_row = k,
                        .a_col = 1,
                        .b = w,
                        .b_row = 1,
                        .b_col = k,
                        .c = c,
                        .c_row = n,
                        .beta = beta};

    return onnx_gemm(call, &gemm);
}

/* One step for one sequence: g holds W x + both biases, or for GRU just Wb (rb apart). */
static int step_rnn(struct call *call, const struct rnn *r, const struct activation *f, float *g,
                    const float *w, float *h)
{
    TRY(product(call, h, w, g, 1, r->hidden, r->hidden, 1));
    activate(&f[0], r->clip, g, r->hidden);
    memcpy(h, g, (size_t)r->hidden * sizeof(*h));
    return 0;
}

static int step_gru(struct call *call, const struct rnn *r, const struct activation *f, float *g,
                    const float *w, const float *rb, float *h, float *t)
{
    int64_t n = r->hidden;
    float *z = g, *reset = g + n, *c = g + 2 * n;
    bool linear = onnx_attr_int(call->node, "linear_before_reset", 0);

    for (int64_t i = 0; rb && i < 2 * n; i++)
        g[i] += rb[i];
    TRY(product(call, h, w, g, 1, 2 * n, n, 1));
    activate(&f[0], r->clip, g, 2 * n);
    for (int64_t i = 0; i < n; i++)
        t[i] = linear ? (rb ? rb[2 * n + i] : 0) : reset[i] * h[i];
    if (linear) {
        TRY(product(call, h, w + 2 * n * n, t, 1, n, n, 1));
        for (int64_t i = 0; i < n; i++)
            c[i] += reset[i] * t[i];
    } else {
        TRY(product(call, t, w + 2 * n * n, c, 1, n, n, 1));
        for (int64_t i = 0; rb && i < n; i++)
            c[i] += rb[2 * n + i];
    }
    activate(&f[1], r->clip, c, n);
    for (int64_t i = 0; i < n; i++)
        h[i] = (1 - z[i]) * c[i] + z[i] * h[i];
    return 0;
}

static int step_lstm(struct call *call, const struct rnn *r, const struct activation *f, float *g,
                     const float *w, const float *p, float *h, float *cell, float *t)
{
    int64_t n = r->hidden;
    float *in = g, *out = g + n, *forget = g + 2 * n, *c = g + 3 * n;
    bool couple = onnx_attr_int(call->node, "input_forget", 0);

    TRY(product(call, h, w, g, 1, 4 * n, n, 1));
    for (int64_t i = 0; p && i < n; i++) {
        in[i] += p[i] * cell[i];
        forget[i] += p[2 * n + i] * cell[i];
    }
    activate(&f[0], r->clip, in, n);
    activate(&f[0], r->clip, forget, n);
    activate(&f[1], r->clip, c, n);
    for (int64_t i = 0; i < n; i++) {
        cell[i] = (couple ? 1 - in[i] : forget[i]) * cell[i] + in[i] * c[i];
        out[i] += p ? p[n + i] * cell[i] : 0;
        t[i] = cell[i];
    }
    activate(&f[0], r->clip, out, n);
    activate(&f[2], 0, t, n);
    for (int64_t i = 0; i < n; i++)
        h[i] = out[i] * t[i];
    return 0;
}

static bool is(const struct value *v, int64_t a, int64_t b, int64_t c)
{
    return !v || (v->rank == 3 && v->dims[0] == a && v->dims[1] == b && v->dims[2] == c);
}

static int read_rnn(struct call *call, struct rnn *r)
{
    const struct value *x = call->in[0], *w = call->in[1], *rec = call->in[2];
    const struct value *bias = onnx_in(call, 3), *p = onnx_in(call, 7);
    const char *direction = onnx_attr_string(call->node, "direction", "forward");
    int64_t gates = GATES(call->arg), a, b;

    r->batch_first = onnx_attr_int(call->node, "layout", 0);
    r->directions = strcmp(direction, "bidirectional") == 0 ? 2 : 1;
    r->clip = onnx_attr_float(call->node, "clip", 0);
    if (x->rank != 3 || w->rank != 3 || rec->rank != 3)
        return BAD(call, "its inputs need three dimensions");
    r->steps = x->dims[r->batch_first];
    r->batch = x->dims[!r->batch_first];
    r->in = x->dims[2];
    r->hidden = rec->dims[2];
    r->x = x->data;
    r->lens = onnx_in(call, 4);
    a = r->batch_first ? r->batch : r->directions;
    b = r->batch_first ? r->directions : r->batch;
    if (r->hidden < 1 || r->hidden > 1 << 20 || r->in > 1 << 24 ||
        !is(w, r->directions, gates * r->hidden, r->in) ||
        !is(rec, r->directions, gates * r->hidden, r->hidden))
        return BAD(call, "its weights do not fit");
    if ((bias && bias->count != r->directions * 2 * gates * r->hidden) ||
        !is(onnx_in(call, 5), a, b, r->hidden) ||
        (call->arg == 2 && !is(onnx_in(call, 6), a, b, r->hidden)) ||
        (p && p->count != r->directions * 3 * r->hidden))
        return BAD(call, "its bias or first state does not fit");
    if (r->lens && (r->lens->dtype != ONNX_I32 || r->lens->count != r->batch))
        return BAD(call, "its lengths do not fit");
    for (int64_t i = 0; r->lens && i < r->batch; i++)
        if (onnx_index(r->lens, i) < 0 || onnx_index(r->lens, i) > r->steps)
            return BAD(call, "a length is out of range");
    return 0;
}

static int run_direction(struct call *call, const struct rnn *r, int64_t d,
                         const struct activation *f, float *y, float *yh, float *yc)
{
    int64_t n = r->hidden, gates = GATES(call->arg), wide = gates * n;
    const float *w = (const float *)call->in[1]->data + d * wide * r->in;
    const float *rec = (const float *)call->in[2]->data + d * wide * n;
    const struct value *bias = onnx_in(call, 3), *h0 = onnx_in(call, 5), *c0 = onnx_in(call, 6);
    const struct value *peep = call->arg == 2 ? onnx_in(call, 7) : NULL;
    const float *wb = bias ? (const float *)bias->data + d * 2 * wide : NULL;
    bool backward = d == 1 || onnx_attr_is(call->node, "direction", "forward", "reverse");
    float *all = onnx_scratch(call, (uint64_t)(r->steps * r->batch), (size_t)wide * sizeof(float));
    float *state = onnx_scratch(call, (uint64_t)(3 * n), sizeof(float));

    if (!all || !state)
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < r->steps * r->batch; i++)
        for (int64_t k = 0; k < wide; k++)
            all[i * wide + k] = wb ? wb[k] + (call->arg == 1 ? 0 : wb[wide + k]) : 0;
    TRY(product(call, r->x, w, all, r->steps * r->batch, wide, r->in, 1));
    for (int64_t b = 0; b < r->batch; b++) {
        int64_t len = r->lens ? onnx_index(r->lens, b) : r->steps;
        int64_t at = (r->batch_first ? b * r->directions + d : d * r->batch + b) * n;
        float *h = state, *cell = state + n, *t = state + 2 * n;

        memset(state, 0, (size_t)(2 * n) * sizeof(*state));
        if (h0)
            memcpy(h, (const float *)h0->data + at, (size_t)n * sizeof(*h));
        if (call->arg == 2 && c0)
            memcpy(cell, (const float *)c0->data + at, (size_t)n * sizeof(*h));
        for (int64_t i = 0; i < r->steps; i++) {
            int64_t s = backward && i < len ? len - 1 - i : i;
            float *g = all + (r->batch_first ? b * r->steps + s : s * r->batch + b) * wide;
            int64_t place = r->batch_first ? (b * r->steps + s) * r->directions + d
                                           : (s * r->directions + d) * r->batch + b;

            if (i < len && call->arg == 0)
                TRY(step_rnn(call, r, f, g, rec, h));
            else if (i < len && call->arg == 1)
                TRY(step_gru(call, r, f, g, rec, wb ? wb + wide : NULL, h, t));
            else if (i < len)
                TRY(step_lstm(call, r, f, g, rec,
                              peep ? (const float *)peep->data + d * 3 * n : NULL, h, cell, t));
            if (y && i < len)
                memcpy(y + place * n, h, (size_t)n * sizeof(*h));
            else if (y)
                memset(y + place * n, 0, (size_t)n * sizeof(*h));
        }
        if (yh)
            memcpy(yh + at, h, (size_t)n * sizeof(*h));
        if (yc)
            memcpy(yc + at, cell, (size_t)n * sizeof(*h));
    }
    return 0;
}

int onnx_op_rnn(struct call *call)
{
    struct rnn r = {0};
    struct activation f[6];
    float *to[3] = {NULL};

    TRY(read_rnn(call, &r));
    TRY(find_activations(call, r.directions, f));
    for (size_t i = 0; i < call->out_count; i++) {
        int64_t y_dims[2][4] = {{r.steps, r.directions, r.batch, r.hidden},
                                {r.batch, r.steps, r.directions, r.hidden}};
        int64_t h_dims[2][3] = {{r.directions, r.batch, r.hidden},
                                {r.batch, r.directions, r.hidden}};

        if (!onnx_wanted(call, i))
            continue;
        to[i] = i ? onnx_out(call, i, ONNX_F32, 3, h_dims[r.batch_first])
                  : onnx_out(call, 0, ONNX_F32, 4, y_dims[r.batch_first]);
        if (!to[i])
            return VD_ERR_MEMORY;
    }
    for (int64_t d = 0; d < r.directions; d++)
        TRY(run_direction(call, &r, d,
                          f + d * (call->arg == 0   ? 1
                                   : call->arg == 1 ? 2
                                                    : 3),
                          to[0], to[1], to[2]));
    return 0;
}
