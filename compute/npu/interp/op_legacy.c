/* SPDX-License-Identifier: MIT */
#include "ops.h"

/*
 * Operators before version 7 of the set, which spread their second input by "broadcast" and "axis":
 * its dimensions lie along those of the first from the axis on, or its last ones.
 */

/* Calls `then` with input 1 of as many dimensions as it takes to spread it as today. */
static int spread_second(struct call *call, int64_t axis, int (*then)(struct call *call))
{
    const struct value *a = call->in[0], *b = call->in[1];
    struct value *in[2], turned;
    struct call inner = *call;

    if (axis < 0 || axis + b->rank > a->rank)
        return BAD(call, "its second input does not lie along the first from axis %lld on",
                   (long long)axis);
    turned = *b;
    turned.rank = a->rank - (int)axis;
    for (int i = b->rank; i < turned.rank; i++)
        turned.dims[i] = 1;
    /* Lent for this node: nobody may keep it, or write over it. */
    turned.fixed = true;
    in[0] = call->in[0];
    in[1] = &turned;
    inner.in = in;
    inner.dying &= 1;
    return then(&inner);
}

static int legacy(struct call *call, int (*then)(struct call *call))
{
    const struct value *a = call->in[0], *b = call->in[1];
    int64_t axis = onnx_attr_int(call->node, "axis", a->rank - b->rank);

    if (!onnx_attr_int(call->node, "broadcast", 0)) {
        if (a->rank != b->rank || memcmp(a->dims, b->dims, (size_t)a->rank * sizeof(int64_t)))
            return BAD(call, "the shapes of its inputs are not the same");
        return then(call);
    }
    if (axis < 0)
        axis += a->rank;
    return spread_second(call, axis, then);
}

int onnx_op_legacy_binary(struct call *call)
{
    return legacy(call, onnx_op_binary);
}

int onnx_op_legacy_pow(struct call *call)
{
    return legacy(call, onnx_op_pow);
}

/* A slope for each channel, or one. */
int onnx_op_legacy_prelu(struct call *call)
{
    return spread_second(call, call->in[1]->count > 1 ? 1 : 0, onnx_op_binary);
}

/* Its statistics are those of training unless it says that it is a test. */
int onnx_op_legacy_batch_norm(struct call *call)
{
    if (call->node->opset < 7 && !onnx_attr_int(call->node, "is_test", 0))
        return CANT(call, "in training");
    if (!onnx_attr_int(call->node, "spatial", 1))
        return CANT(call, "for each place");
    return onnx_op_batch_norm(call);
}
