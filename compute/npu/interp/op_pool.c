/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"
#include "spatial.h"

/* Pooling. Windows are cut to what is inside; the padding counts only where it is asked for. */

struct window {
    int64_t from[3], to[3]; /* taps inside, in steps of the dilation */
    int64_t start[3];       /* position of tap 0 */
    int64_t padded;         /* taps inside the input and its padding */
};

static void place_window(const struct spatial *s, int64_t o, struct window *w)
{
    int64_t at[3] = {o / s->out[2] / s->out[1], o / s->out[2] % s->out[1], o % s->out[2]};

    w->padded = 1;
    for (int i = 0; i < 3; i++) {
        int64_t start = at[i] * s->stride[i] - s->before[i], d = s->dilation[i];
        int64_t end = s->in[i] + s->after[i];
        int64_t inside = end <= start ? 0 : (end - start + d - 1) / d;

        w->start[i] = start;
        w->from[i] = start < 0 ? (-start + d - 1) / d : 0;
        w->to[i] = s->in[i] <= start ? 0 : (s->in[i] - start + d - 1) / d;
        if (w->to[i] > s->kernel[i])
            w->to[i] = s->kernel[i];
        w->padded *= inside < s->kernel[i] ? inside : s->kernel[i];
    }
}

static int64_t tap(const struct spatial *s, const struct window *w, int64_t z, int64_t y, int64_t x)
{
    return ((w->start[0] + z * s->dilation[0]) * s->in[1] + w->start[1] + y * s->dilation[1]) *
               s->in[2] +
           w->start[2] + x * s->dilation[2];
}

#define EACH_TAP(s, w)                                      \
    for (int64_t z = (w)->from[0]; z < (w)->to[0]; z++)     \
        for (int64_t y = (w)->from[1]; y < (w)->to[1]; y++) \
            for (int64_t x = (w)->from[2]; x < (w)->to[2]; x++)

static float most_f32(const struct spatial *s, const struct window *w, const float *in)
{
    float most = -INFINITY;

    EACH_TAP(s, w)
    {
        float v = in[tap(s, w, z, y, x)];

        most = v > most || v != v ? v : most;
    }
    return most;
}

/* Columns first in the index of storage_order 1. */
static int64_t index_of(const struct spatial *s, int64_t plane, int64_t at, bool columns)
{
    if (columns) {
        int64_t x = at % s->in[2], y = at / s->in[2] % s->in[1], z = at / s->in[2] / s->in[1];

        at = (x * s->in[1] + y) * s->in[0] + z;
    }
    return plane * s->in_count + at;
}

int onnx_op_max_pool(struct call *call)
{
    const struct value *in = call->in[0];
    bool columns = onnx_attr_int(call->node, "storage_order", 0), wanted = onnx_wanted(call, 1);
    int64_t dims[RANK], planes, *indices = NULL;
    struct spatial s;

    TRY(onnx_spatial_read(call, in, NULL, &s));
    onnx_spatial_dims(&s, in->dims[0], in->dims[1], dims);
    if (!onnx_out(call, 0, in->dtype, in->rank, dims) ||
        (wanted && !(indices = onnx_out(call, 1, ONNX_I64, in->rank, dims))))
        return VD_ERR_MEMORY;
    TRY(onnx_work(call, (double)call->out[0]->count * (double)s.kernel_count));
    planes = call->out[0]->count ? in->dims[0] * in->dims[1] : 0;
    for (int64_t o = 0; o < (planes ? s.out_count : 0); o++) {
        struct window w;

        place_window(&s, o, &w);
        if (o % 1024 == 0)
            TRY(onnx_work(call, 0));
        for (int64_t p = 0; p < planes; p++) {
            double most = -INFINITY;
            int64_t where = 0;

            if (in->dtype == ONNX_F32 && !wanted) {
                ((float *)call->out[0]->data)[p * s.out_count + o] =
                    most_f32(&s, &w, (const float *)in->data + p * s.in_count);
                continue;
            }
            EACH_TAP(&s, &w)
            {
                int64_t at = tap(&s, &w, z, y, x);
                double v = onnx_number(in, p * s.in_count + at);

                if (v > most) {
                    most = v;
                    where = at;
                }
            }
            onnx_set(call->out[0], p * s.out_count + o, most);
            if (wanted)
                indices[p * s.out_count + o] = index_of(&s, p, where, columns);
        }
    }
    return 0;
}

/* arg 0 AveragePool, 1 LpPool */
int onnx_op_average_pool(struct call *call)
{
    const struct value *in = call->in[0];
    bool all = onnx_attr_int(call->node, "count_include_pad", 0);
    double p = (double)onnx_attr_int(call->node, "p", 2);
    int64_t dims[RANK], planes;
    struct spatial s;

    TRY(onnx_spatial_read(call, in, NULL, &s));
    onnx_spatial_dims(&s, in->dims[0], in->dims[1], dims);
    if (!onnx_out(call, 0, in->dtype, in->rank, dims))
        return VD_ERR_MEMORY;
    TRY(onnx_work(call, (double)call->out[0]->count * (double)s.kernel_count));
    planes = call->out[0]->count ? in->dims[0] * in->dims[1] : 0;
    for (int64_t o = 0; o < (planes ? s.out_count : 0); o++) {
        struct window w;
        int64_t inside = 1;

        place_window(&s, o, &w);
        for (int i = 0; i < 3; i++)
            inside *= w.to[i] > w.from[i] ? w.to[i] - w.from[i] : 0;
        if (o % 1024 == 0)
            TRY(onnx_work(call, 0));
        for (int64_t plane = 0; plane < planes; plane++) {
            double sum = 0;

            EACH_TAP(&s, &w)
            {
                double v = onnx_number(in, plane * s.in_count + tap(&s, &w, z, y, x));

                sum += call->arg ? pow(fabs(v), p) : v;
            }
            onnx_set(call->out[0], plane * s.out_count + o,
                     call->arg ? pow(sum, 1 / p) : sum / (double)(all ? w.padded : inside));
        }
    }
    return 0;
}

static float mean_f32(const float *x, int64_t n)
{
    float part[16] = {0};
    double sum = 0;
    int64_t i = 0;

    for (; i + 16 <= n; i += 16)
        for (int k = 0; k < 16; k++)
            part[k] += x[i + k];
    for (; i < n; i++)
        sum += x[i];
    for (int k = 0; k < 16; k++)
        sum += part[k];
    return (float)(sum / (double)n);
}

/* arg: a RED_ function */
int onnx_op_global_pool(struct call *call)
{
    const struct value *x = call->in[0];
    double p = (double)onnx_attr_int(call->node, "p", 2);
    int64_t dims[RANK], planes, n;

    if (x->rank < 2)
        return BAD(call, "needs channels");
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    for (int i = 2; i < x->rank; i++)
        dims[i] = 1;
    if (!onnx_out(call, 0, x->dtype, x->rank, dims))
        return VD_ERR_MEMORY;
    planes = dims[0] * dims[1];
    n = onnx_product(x->dims, 2, x->rank);
    for (int64_t i = 0; i < planes; i++) {
        double sum = call->arg == RED_MAX ? -INFINITY : 0;

        if (call->arg == RED_MEAN && x->dtype == ONNX_F32 && n) {
            ((float *)call->out[0]->data)[i] = mean_f32((const float *)x->data + i * n, n);
            continue;
        }

        for (int64_t k = 0; k < n; k++) {
            double v = onnx_number(x, i * n + k);

            if (call->arg == RED_MAX)
                sum = v > sum ? v : sum;
            else
                sum += call->arg == RED_L2 ? pow(fabs(v), p) : v;
        }
        onnx_set(call->out[0], i,
                 call->arg == RED_MEAN ? sum / (double)n
                 : call->arg == RED_L2 ? pow(sum, 1 / p)
                                       : sum);
    }
    return 0;
}

int onnx_op_max_unpool(struct call *call)
{
    const struct value *x = call->in[0], *indices = call->in[1];
    int64_t dims[RANK], sizes[RANK], strides[RANK], pads[2 * RANK] = {0}, inner, in_inner;
    int rank = x->rank - 2, count;
    size_t size = onnx_dtype_size(x->dtype);

    if (rank < 1 || indices->count != x->count)
        return BAD(call, "its indices do not fit");
    if (onnx_attr_ints(call->node, "kernel_shape", sizes, RANK) != rank)
        return BAD(call, "its kernel does not fit");
    count = onnx_attr_ints(call->node, "strides", strides, RANK);
    onnx_attr_ints(call->node, "pads", pads, 2 * RANK);
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    for (int i = 0; i < rank; i++) {
        int64_t step = count == rank ? strides[i] : 1;

        if (step < 1 || step > 1 << 20 || sizes[i] < 1 || sizes[i] > 1 << 20)
            return BAD(call, "its sizes are out of range");
        dims[2 + i] = (x->dims[2 + i] - 1) * step - pads[i] - pads[rank + i] + sizes[i];
    }
    in_inner = onnx_product(dims, 2, x->rank);
    if (onnx_in(call, 2)) {
        TRY(count = onnx_in_ints(call, 2, dims, RANK));
        if (count != x->rank || dims[0] != x->dims[0] || dims[1] != x->dims[1])
            return BAD(call, "its output shape does not fit");
    }
    if (!onnx_out(call, 0, x->dtype, x->rank, dims))
        return VD_ERR_MEMORY;
    memset(call->out[0]->data, 0, (size_t)call->out[0]->count * size);
    inner = onnx_product(dims, 2, x->rank);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = ((const int64_t *)indices->data)[i], place = at;

        /* Indices are those of the smallest output: into a larger one, by coordinates. */
        if (in_inner > 0 && in_inner != inner && onnx_in(call, 2)) {
            int64_t rest = at % in_inner, wide[RANK];

            place = at / in_inner * inner;
            for (int d = rank - 1; d >= 0; d--) {
                int64_t step = count && onnx_attr(call->node, "strides") ? strides[d] : 1;
                int64_t small = (x->dims[2 + d] - 1) * step - pads[d] - pads[rank + d] + sizes[d];

                wide[d] = small > 0 ? rest % small : 0;
                rest = small > 0 ? rest / small : 0;
            }
            for (int d = 0; d < rank; d++)
                place += wide[d] * onnx_product(dims, 3 + d, x->rank);
        }
        if (place < 0 || place >= call->out[0]->count)
            return BAD(call, "an index is out of range");
        memcpy((uint8_t *)call->out[0]->data + (size_t)place * size,
               (const uint8_t *)x->data + (size_t)i * size, size);
    }
    return 0;
}
