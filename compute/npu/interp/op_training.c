/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/* The steps of optimisers (ai.onnx.preview.training): Adagrad, Adam, Momentum. */

enum optimizer { ADAGRAD, ADAM, MOMENTUM };

struct step {
    double rate;
    int64_t time;
    double alpha, beta, epsilon, norm, norm_post, decay;
    bool nesterov;
};

static void one(enum optimizer kind, const struct step *s, double x, double gradient,
                const double *state, double *ret_x, double *ret_state)
{
    double g = s->norm * x + gradient;

    switch (kind) {
    case ADAGRAD:
        ret_state[0] = state[0] + g * g;
        *ret_x =
            x - s->rate / (1 + (double)s->time * s->decay) * g / (sqrt(ret_state[0]) + s->epsilon);
        break;
    case ADAM: {
        double rate = s->rate;

        ret_state[0] = s->alpha * state[0] + (1 - s->alpha) * g;
        ret_state[1] = s->beta * state[1] + (1 - s->beta) * g * g;
        if (s->time > 0)
            rate *= sqrt(1 - pow(s->beta, (double)s->time)) / (1 - pow(s->alpha, (double)s->time));
        *ret_x = (1 - s->norm_post) * (x - rate * ret_state[0] / (sqrt(ret_state[1]) + s->epsilon));
        break;
    }
    case MOMENTUM:
        ret_state[0] = s->alpha * state[0] + (s->time > 0 ? s->beta : 1) * g;
        *ret_x = x - s->rate * (s->nesterov ? g + s->alpha * ret_state[0] : ret_state[0]);
        break;
    }
}

/* Inputs: rate, count, then all tensors, all gradients, all of each state. */
int onnx_op_optimizer(struct call *call)
{
    const enum optimizer kind = (enum optimizer)call->arg;
    const size_t states = kind == ADAM ? 2 : 1, groups = 2 + states;
    const size_t n = (call->in_count - 2) / groups;
    struct step s = {
        .alpha = onnx_attr_float(call->node, "alpha", 0.9f),
        .beta = onnx_attr_float(call->node, "beta", 0.999f),
        .epsilon = onnx_attr_float(call->node, "epsilon", kind == ADAM ? 1e-6f : 0),
        .norm = onnx_attr_float(call->node, "norm_coefficient", 0),
        .norm_post = onnx_attr_float(call->node, "norm_coefficient_post", 0),
        .decay = onnx_attr_float(call->node, "decay_factor", 0),
        .nesterov = onnx_attr_is(call->node, "mode", "standard", "nesterov"),
    };

    if (!n || n * groups + 2 != call->in_count || call->out_count != n * (1 + states))
        return BAD(call, "has %zu inputs and %zu outputs", call->in_count, call->out_count);
    /* Its default in the specification is not that of ONNX's own cases. */
    if (kind == ADAM && !onnx_attr(call->node, "epsilon"))
        return CANT(call, "does not say its epsilon");
    if (!onnx_in(call, 0) || !onnx_in(call, 1))
        return BAD(call, "has no rate or count");
    TRY(onnx_in_double(call, 0, &s.rate));
    TRY(onnx_in_int(call, 1, &s.time));
    for (size_t i = 0; i < n; i++) {
        const struct value *x = onnx_in(call, 2 + i);

        for (size_t k = 0; k < groups; k++) {
            const struct value *v = onnx_in(call, 2 + k * n + i);

            if (!v || !x || v->count != x->count || v->dtype != x->dtype)
                return BAD(call, "its tensors do not fit each other");
            if (k != 1 && !onnx_out_like(call, (k ? k - 1 : 0) * n + i, x))
                return VD_ERR_MEMORY;
        }
        TRY(onnx_work(call, 8 * (double)x->count));
        for (int64_t j = 0; j < x->count; j++) {
            double state[2] = {0}, new_state[2] = {0}, new_x = 0;

            for (size_t k = 0; k < states; k++)
                state[k] = onnx_number(call->in[2 + (2 + k) * n + i], j);
            one(kind, &s, onnx_number(x, j), onnx_number(call->in[2 + n + i], j), state, &new_x,
                new_state);
            onnx_set(call->out[i], j, new_x);
            for (size_t k = 0; k < states; k++)
                onnx_set(call->out[(1 + k) * n + i], j, new_state[k]);
        }
    }
    return 0;
}
