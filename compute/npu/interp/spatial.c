/* SPDX-License-Identifier: MIT */
#include "spatial.h"

static int read_three(struct call *call, const char *name, int rank, int64_t low, int64_t *to)
{
    int64_t values[RANK];
    int count = onnx_attr_ints(call->node, name, values, RANK);

    for (int i = 0; i < 3; i++)
        to[i] = 1;
    if (count == 0)
        return 0;
    if (count != rank)
        return BAD(call, "%s has %d sizes for %d dimensions", name, count, rank);
    for (int i = 0; i < rank; i++) {
        if (values[i] < low || values[i] > 1 << 24)
            return BAD(call, "%s is out of range", name);
        to[3 - rank + i] = values[i];
    }
    return 0;
}

int onnx_spatial_read(struct call *call, const struct value *x, const int64_t *kernel,
                      struct spatial *s)
{
    const char *mode = onnx_attr_string(call->node, "auto_pad", "NOTSET");
    bool ceil = onnx_attr_int(call->node, "ceil_mode", 0);
    bool same = strncmp(mode, "SAME", 4) == 0, valid = strcmp(mode, "VALID") == 0;
    int64_t pads[6] = {0};
    int count;

    memset(s, 0, sizeof(*s));
    s->rank = x->rank - 2;
    if (s->rank < 1 || s->rank > 3)
        return CANT(call, "over %d dimensions", s->rank);
    TRY(read_three(call, "kernel_shape", s->rank, 1, s->kernel));
    TRY(read_three(call, "strides", s->rank, 1, s->stride));
    TRY(read_three(call, "dilations", s->rank, 1, s->dilation));
    for (int i = 0; kernel && i < s->rank; i++)
        s->kernel[3 - s->rank + i] = kernel[i];
    count = onnx_attr_ints(call->node, "pads", pads, 6);
    if (count && count != 2 * s->rank)
        return BAD(call, "pads has %d sizes", count);
    s->in_count = s->out_count = s->kernel_count = 1;
    for (int i = 0; i < 3; i++) {
        int own = i - (3 - s->rank);
        int64_t span, total;

        s->in[i] = own < 0 ? 1 : x->dims[2 + own];
        if (own >= 0 && !same && !valid) {
            s->before[i] = pads[own];
            s->after[i] = pads[s->rank + own];
            if (pads[own] < 0 || pads[own] > 1 << 24 || pads[s->rank + own] < 0 ||
                pads[s->rank + own] > 1 << 24)
                return BAD(call, "pads is out of range");
        }
        if (s->kernel[i] < 1 || s->kernel[i] > 1 << 24)
            return BAD(call, "has an empty kernel");
        span = (s->kernel[i] - 1) * s->dilation[i] + 1;
        if (same) {
            s->out[i] = (s->in[i] + s->stride[i] - 1) / s->stride[i];
            total = (s->out[i] - 1) * s->stride[i] + span - s->in[i];
            total = total < 0 ? 0 : total;
            s->before[i] = strcmp(mode, "SAME_LOWER") == 0 ? (total + 1) / 2 : total / 2;
            s->after[i] = total - s->before[i];
        } else {
            total = s->in[i] + s->before[i] + s->after[i] - span;
            s->out[i] = total < 0 ? 0 : (total + (ceil ? s->stride[i] - 1 : 0)) / s->stride[i] + 1;
            /* No window starts in the padding behind. */
            if (ceil && s->out[i] && (s->out[i] - 1) * s->stride[i] >= s->in[i] + s->before[i])
                s->out[i]--;
        }
        if (s->kernel_count > (1 << 30) / s->kernel[i])
            return BAD(call, "has too large a kernel");
        s->in_count *= s->in[i];
        s->out_count *= s->out[i];
        s->kernel_count *= s->kernel[i];
    }
    return 0;
}

void onnx_spatial_dims(const struct spatial *s, int64_t n, int64_t c, int64_t *dims)
{
    dims[0] = n;
    dims[1] = c;
    for (int i = 0; i < s->rank; i++)
        dims[2 + i] = s->out[3 - s->rank + i];
}
