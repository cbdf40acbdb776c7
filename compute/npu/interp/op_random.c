/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/*
 * RandomUniform, RandomNormal and what is made of them. A node that has a seed gives the same
 * numbers in each run, others go on where the last one ended: each run of the same model that is
 * new gives the same ones.
 */

static uint64_t *begin(struct call *call, uint64_t *own)
{
    const struct attribute *seed = onnx_attr(call->node, "seed");

    if (!seed || seed->type != ATTR_FLOAT)
        return &call->run->random;
    memcpy(own, &seed->f, sizeof(seed->f));
    *own = (*own + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return own;
}

/* From 0 to below 1 (splitmix64). */
static double uniform(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* Box and Muller's, half of it. */
static double normal(uint64_t *state)
{
    double radius = sqrt(-2 * log(1 - uniform(state)));

    return radius * cos(2 * M_PI * uniform(state));
}

/* arg: 1 normal; +2: of the shape of the input, else of "shape". */
int onnx_op_random(struct call *call)
{
    const struct value *like = call->arg & 2 ? call->in[0] : NULL;
    int64_t dtype = onnx_attr_int(call->node, "dtype", like ? (int64_t)like->dtype : ONNX_F32);
    double low = (double)onnx_attr_float(call->node, "low", 0);
    double high = (double)onnx_attr_float(call->node, "high", 1);
    double mean = (double)onnx_attr_float(call->node, "mean", 0);
    double scale = (double)onnx_attr_float(call->node, "scale", 1);
    int64_t dims[RANK] = {0};
    int rank = like ? like->rank : onnx_attr_ints(call->node, "shape", dims, RANK);
    uint64_t own = 0, *state = begin(call, &own);
    struct value *y;

    if (dtype != ONNX_F32 && dtype != ONNX_F64 && dtype != ONNX_F16)
        return CANT(call, "of type %lld", (long long)dtype);
    if (rank < 0)
        return CANT(call, "of more than %d dimensions", RANK);
    for (int i = 0; i < rank && !like; i++)
        if (dims[i] < 0)
            return BAD(call, "of %lld elements", (long long)dims[i]);
    if (!onnx_out(call, 0, (enum onnx_dtype)dtype, rank, like ? like->dims : dims))
        return VD_ERR_MEMORY;
    y = call->out[0];
    TRY(onnx_work(call, (double)y->count * 16));
    for (int64_t i = 0; i < y->count; i++)
        onnx_set(y, i,
                 call->arg & 1 ? mean + scale * normal(state)
                               : low + (high - low) * uniform(state));
    return 0;
}

/* 1 as often as the input says. */
int onnx_op_bernoulli(struct call *call)
{
    const struct value *x = call->in[0];
    int64_t dtype = onnx_attr_int(call->node, "dtype", (int64_t)x->dtype);
    uint64_t own = 0, *state = begin(call, &own);

    if (dtype <= 0 || dtype >= ONNX_DTYPES || !(M(dtype) & M_FIXED))
        return CANT(call, "of type %lld", (long long)dtype);
    if (!onnx_out(call, 0, (enum onnx_dtype)dtype, x->rank, x->dims))
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < x->count; i++)
        onnx_set(call->out[0], i, uniform(state) < onnx_number(x, i));
    return 0;
}

/* Numbers of classes, drawn by the logarithms of their weights. */
int onnx_op_multinomial(struct call *call)
{
    const struct value *x = call->in[0];
    int64_t dtype = onnx_attr_int(call->node, "dtype", ONNX_I32);
    int64_t samples = onnx_attr_int(call->node, "sample_size", 1), classes, dims[2];
    uint64_t own = 0, *state = begin(call, &own);
    double *sums;

    if (x->rank != 2 || x->dims[1] < 1)
        return BAD(call, "its input is not rows of classes");
    if (dtype != ONNX_I32 && dtype != ONNX_I64)
        return CANT(call, "of type %lld", (long long)dtype);
    if (samples < 1 || samples > 1 << 24)
        return BAD(call, "cannot draw %lld", (long long)samples);
    classes = x->dims[1];
    dims[0] = x->dims[0];
    dims[1] = samples;
    sums = onnx_scratch(call, (uint64_t)classes, sizeof(*sums));
    if (!sums || !onnx_out(call, 0, (enum onnx_dtype)dtype, 2, dims))
        return VD_ERR_MEMORY;
    TRY(onnx_work(call, (double)call->out[0]->count * (double)classes));
    for (int64_t r = 0; r < dims[0]; r++) {
        double most = -INFINITY, sum = 0;

        for (int64_t c = 0; c < classes; c++) {
            double v = onnx_number(x, r * classes + c);

            most = v > most ? v : most;
        }
        for (int64_t c = 0; c < classes; c++)
            sums[c] = sum += exp(onnx_number(x, r * classes + c) - most);
        for (int64_t i = 0; i < samples; i++) {
            double at = uniform(state) * sum;
            int64_t c = 0;

            while (c < classes - 1 && !(at < sums[c]))
                c++;
            onnx_set(call->out[0], r * samples + i, (double)c);
        }
    }
    return 0;
}
