/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/* NegativeLogLikelihoodLoss; with arg 1 SoftmaxCrossEntropyLoss, which takes the logarithms first.
 */

struct loss {
    int64_t n, c, d; /* batch, classes, positions */
    int reduction;   /* 0 none, 1 sum, 2 mean */
    bool ignores;
    int64_t ignored;
    const struct value *target, *weight;
};

static int read_loss(struct call *call, const struct value *x, struct loss *l)
{
    const char *name = onnx_attr_string(call->node, "reduction", "mean");
    const struct attribute *ignore = onnx_attr(call->node, "ignore_index");

    l->target = call->in[1];
    l->weight = onnx_in(call, 2);
    l->ignores = ignore != NULL;
    l->ignored = ignore ? ignore->i : 0;
    l->reduction = strcmp(name, "none") == 0 ? 0 : strcmp(name, "sum") == 0 ? 1 : 2;
    if (x->rank < 2 || l->target->rank != x->rank - 1 || l->target->dims[0] != x->dims[0])
        return BAD(call, "its target does not fit");
    for (int i = 2; i < x->rank; i++)
        if (l->target->dims[i - 1] != x->dims[i])
            return BAD(call, "its target does not fit");
    if (l->weight && l->weight->count != x->dims[1])
        return BAD(call, "its weights do not fit");
    l->n = x->dims[0];
    l->c = x->dims[1];
    l->d = onnx_product(x->dims, 2, x->rank);
    return 0;
}

static void log_softmax(double *x, const struct loss *l)
{
    for (int64_t n = 0; n < l->n; n++)
        for (int64_t d = 0; d < l->d; d++) {
            double *at = x + n * l->c * l->d + d, most = -INFINITY, sum = 0;

            for (int64_t c = 0; c < l->c; c++)
                most = at[c * l->d] > most ? at[c * l->d] : most;
            for (int64_t c = 0; c < l->c; c++)
                sum += exp(at[c * l->d] - most);
            for (int64_t c = 0; c < l->c; c++)
                at[c * l->d] -= most + log(sum);
        }
}

int onnx_op_loss(struct call *call)
{
    const struct value *x = call->in[0];
    struct loss l = {0};
    double *logs, sum = 0, weights = 0;

    TRY(read_loss(call, x, &l));
    logs = onnx_doubles(call, x);
    if (!logs)
        return VD_ERR_MEMORY;
    if (call->arg)
        log_softmax(logs, &l);
    if (!onnx_out(call, 0, x->dtype, l.reduction ? 0 : l.target->rank, l.target->dims))
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < l.n * l.d; i++) {
        int64_t k = onnx_index(l.target, i);
        bool skip = l.ignores && k == l.ignored;
        double w, loss;

        if (!skip && (k < 0 || k >= l.c))
            return BAD(call, "target %lld is not one of %lld classes", (long long)k,
                       (long long)l.c);
        w = skip ? 0 : l.weight ? onnx_number(l.weight, k) : 1;
        loss = skip ? 0 : -logs[(i / l.d * l.c + k) * l.d + i % l.d] * w;
        sum += loss;
        weights += w;
        if (!l.reduction)
            onnx_set(call->out[0], i, loss);
    }
    if (l.reduction)
        onnx_set(call->out[0], 0, l.reduction == 1 ? sum : sum / weights);
    if (!onnx_wanted(call, 1))
        return 0;
    if (!onnx_out_like(call, 1, x))
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < x->count; i++)
        onnx_set(call->out[1], i, logs[i]);
    return 0;
}
