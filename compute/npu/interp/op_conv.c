/* SPDX-License-Identifier: MIT */
#include "gemm.h"
#include "kernels.h"
#include "ops.h"
#include "spatial.h"

/* Conv is a product of the weights and the windows, which are gathered as the product needs them.
 */

struct windows {
    const struct spatial *s;
    const float *x; /* first channel of the group */
};

/* One row (a channel's tap) of `count` windows from the n-th on. */
static void gather(const struct windows *w, int64_t row, int64_t n, int64_t count, float *to)
{
    const struct spatial *s = w->s;
    int64_t channel = row / s->kernel_count, tap = row % s->kernel_count;
    int64_t kx = tap % s->kernel[2], ky = tap / s->kernel[2] % s->kernel[1];
    int64_t kz = tap / s->kernel[2] / s->kernel[1];
    const float *x = w->x + channel * s->in_count;
    int64_t ox = n % s->out[2], oy = n / s->out[2] % s->out[1], oz = n / s->out[2] / s->out[1];

    while (count) {
        int64_t run = s->out[2] - ox < count ? s->out[2] - ox : count;
        int64_t iz = oz * s->stride[0] - s->before[0] + kz * s->dilation[0];
        int64_t iy = oy * s->stride[1] - s->before[1] + ky * s->dilation[1];
        int64_t ix = ox * s->stride[2] - s->before[2] + kx * s->dilation[2];

        if (iz < 0 || iz >= s->in[0] || iy < 0 || iy >= s->in[1]) {
            memset(to, 0, (size_t)run * sizeof(*to));
        } else {
            const float *line = x + (iz * s->in[1] + iy) * s->in[2];

            if (s->stride[2] == 1 && ix >= 0 && ix + run <= s->in[2])
                memcpy(to, line + ix, (size_t)run * sizeof(*to));
            else
                for (int64_t i = 0; i < run; i++, ix += s->stride[2])
                    to[i] = ix >= 0 && ix < s->in[2] ? line[ix] : 0;
        }
        to += run;
        count -= run;
        ox = 0;
        if (++oy == s->out[1]) {
            oy = 0;
            oz++;
        }
    }
}

static void pack_windows(void *arg, int64_t k, int64_t kc, int64_t n, int64_t count, int nr,
                         float *to)
{
    for (int64_t i = 0; i < kc; i++, to += nr) {
        gather(arg, k + i, n, count, to);
        for (int64_t j = count; j < nr; j++)
            to[j] = 0;
    }
}

/* One line of one channel and one filter: its taps are added up. */
static void depthwise_line(const struct spatial *s, const float *x, const float *w, int64_t oz,
                           int64_t oy, float *y)
{
    const struct onnx_kernels *kernels = onnx_kernels();
    int64_t step = s->stride[2], in = s->in[2];

    for (int64_t line = 0; line < s->kernel[0] * s->kernel[1]; line++) {
        int64_t iz = oz * s->stride[0] - s->before[0] + line / s->kernel[1] * s->dilation[0];
        int64_t iy = oy * s->stride[1] - s->before[1] + line % s->kernel[1] * s->dilation[1];

        if (iz < 0 || iz >= s->in[0] || iy < 0 || iy >= s->in[1])
            continue;
        for (int64_t kx = 0; kx < s->kernel[2]; kx++) {
            /* From the first to the last output whose tap is inside. */
            int64_t shift = kx * s->dilation[2] - s->before[2];
            int64_t first = shift >= 0 ? 0 : step == 1 ? -shift : (-shift + step - 1) / step;
            int64_t last = in - 1 - shift < 0 ? -1
                           : step == 1        ? in - 1 - shift
                                              : (in - 1 - shift) / step;

            if (last >= s->out[2])
                last = s->out[2] - 1;
            if (first <= last)
                kernels->add_scaled(y + first, x + (iz * s->in[1] + iy) * in + first * step + shift,
                                    step, w[line * s->kernel[2] + kx], last - first + 1);
        }
    }
}

static void depthwise(const struct spatial *s, const float *x, const float *w, float *y)
{
    for (int64_t line = 0; line < s->out[0] * s->out[1]; line++)
        depthwise_line(s, x, w, line / s->out[1], line % s->out[1], y + line * s->out[2]);
}

static int check_conv(struct call *call, const struct value *x, const struct value *w,
                      int64_t group)
{
    if (w->rank != x->rank || x->rank < 3)
        return BAD(call, "its input has %d dimensions and its weights %d", x->rank, w->rank);
    if (group < 1 || !w->count || w->dims[0] % group || x->dims[1] != w->dims[1] * group)
        return BAD(call, "%lld channels, %lld filters of %lld, %lld groups", (long long)x->dims[1],
                   (long long)w->dims[0], (long long)w->dims[1], (long long)group);
    return 0;
}

static bool is_pointwise(const struct spatial *s)
{
    bool plain = s->kernel_count == 1;

    for (int i = 0; i < 3; i++)
        plain &= s->stride[i] == 1 && s->before[i] == 0 && s->after[i] == 0;
    return plain;
}

/* Apart, so that the loop is a loop over a vector. */
static void fill(float *to, float value, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = value;
}

int onnx_op_conv(struct call *call)
{
    const struct value *x = call->in[0], *w = call->in[1], *bias = onnx_in(call, 2);
    int64_t group = onnx_attr_int(call->node, "group", 1), dims[RANK], k, filters;
    struct spatial s;
    float *y;

    TRY(check_conv(call, x, w, group));
    TRY(onnx_spatial_read(call, x, w->dims + 2, &s));
    if (bias && bias->count != w->dims[0])
        return BAD(call, "has %lld biases for %lld filters", (long long)bias->count,
                   (long long)w->dims[0]);
    onnx_spatial_dims(&s, x->dims[0], w->dims[0], dims);
    y = onnx_out(call, 0, ONNX_F32, x->rank, dims);
    if (!y)
        return VD_ERR_MEMORY;
    if (!call->out[0]->count)
        return 0;
    k = w->dims[1] * s.kernel_count;
    filters = w->dims[0] / group;
    for (int64_t i = 0; i < x->dims[0] * w->dims[0]; i++) {
        float b = bias ? ((const float *)bias->data)[i % w->dims[0]] : 0;

        fill(y + i * s.out_count, b, s.out_count);
    }
    for (int64_t n = 0; n < x->dims[0]; n++)
        for (int64_t g = 0; g < group; g++) {
            const float *in = (const float *)x->data + (n * group + g) * w->dims[1] * s.in_count;
            const float *weights = (const float *)w->data + g * filters * k;
            struct windows windows = {&s, in};
            struct gemm gemm = {.m = filters,
                                .n = s.out_count,
                                .k = k,
                                .a = weights,
                                .a_row = k,
                                .a_col = 1,
                                .b = in,
                                .b_row = s.in_count,
                                .b_col = 1,
                                .c = y + (n * group + g) * filters * s.out_count,
                                .c_row = s.out_count,
                                .beta = 1};

            if (w->dims[1] == 1 && filters == 1) {
                TRY(onnx_work(call, (double)s.out_count * (double)k));
                depthwise(&s, in, weights, gemm.c);
                continue;
            }
            if (!is_pointwise(&s)) {
                gemm.pack = pack_windows;
                gemm.pack_arg = &windows;
            }
            TRY(onnx_gemm(call, &gemm));
        }
    return 0;
}

/* ---- ConvTranspose: the same product the other way round, its columns added to the output ---- */

static int transpose_size(struct call *call, const struct value *x, const struct value *w,
                          struct spatial *s)
{
    const char *mode = onnx_attr_string(call->node, "auto_pad", "NOTSET");
    int64_t extra[RANK] = {0}, shape[RANK], pads[2 * RANK] = {0};
    int rank = x->rank - 2, shapes;

    TRY(onnx_spatial_read(call, x, w->dims + 2, s));
    if (onnx_attr_ints(call->node, "output_padding", extra, 3) < 0)
        return BAD(call, "has too many sizes");
    shapes = onnx_attr_ints(call->node, "output_shape", shape, RANK);
    onnx_attr_ints(call->node, "pads", pads, 6);
    if (shapes != 0 && shapes != rank && shapes != rank + 2)
        return BAD(call, "its output shape has %d dimensions", shapes);
    s->out_count = 1;
    for (int i = 0; i < 3; i++) {
        int own = i - (3 - rank);
        int64_t span = (s->kernel[i] - 1) * s->dilation[i] + 1, total;
        int64_t full = (s->in[i] - 1) * s->stride[i] + span + (own < 0 ? 0 : extra[own]);

        s->before[i] = own < 0 ? 0 : pads[own];
        s->out[i] = full - (own < 0 ? 0 : pads[own] + pads[rank + own]);
        if (own >= 0 && (shapes || strncmp(mode, "SAME", 4) == 0)) {
            s->out[i] = shapes ? shape[shapes - rank + own] : s->in[i] * s->stride[i];
            total = full - s->out[i];
            s->before[i] = strcmp(mode, "SAME_UPPER") == 0 ? total / 2 : total - total / 2;
            if (total < 0)
                s->before[i] = 0;
        }
        if (own >= 0 && (extra[own] < 0 || extra[own] > 1 << 24))
            return BAD(call, "its output padding is out of range");
        if (s->out[i] < 0 || s->out[i] > (int64_t)1 << 32)
            return BAD(call, "has no possible output");
        s->out_count *= s->out[i];
    }
    return 0;
}

static void add_columns(const struct spatial *s, const float *columns, float *y)
{
    for (int64_t tap = 0; tap < s->kernel_count; tap++) {
        int64_t kx = tap % s->kernel[2], ky = tap / s->kernel[2] % s->kernel[1];
        int64_t kz = tap / s->kernel[2] / s->kernel[1];

        for (int64_t i = 0; i < s->in_count; i++) {
            int64_t x = i % s->in[2] * s->stride[2] + kx * s->dilation[2] - s->before[2];
            int64_t yy =
                i / s->in[2] % s->in[1] * s->stride[1] + ky * s->dilation[1] - s->before[1];
            int64_t z = i / s->in[2] / s->in[1] * s->stride[0] + kz * s->dilation[0] - s->before[0];

            if (x >= 0 && x < s->out[2] && yy >= 0 && yy < s->out[1] && z >= 0 && z < s->out[0])
                y[(z * s->out[1] + yy) * s->out[2] + x] += columns[tap * s->in_count + i];
        }
    }
}

int onnx_op_conv_transpose(struct call *call)
{
    const struct value *x = call->in[0], *w = call->in[1], *bias = onnx_in(call, 2);
    int64_t group = onnx_attr_int(call->node, "group", 1), dims[RANK], channels, filters, rows,
            count;
    struct spatial s;
    float *y, *columns;

    if (w->rank != x->rank || x->rank < 3 || group < 1 || x->dims[1] % group ||
        w->dims[0] != x->dims[1])
        return BAD(call, "its weights do not fit its input");
    TRY(transpose_size(call, x, w, &s));
    channels = x->dims[1] / group;
    filters = w->dims[1];
    if (filters > (1 << 30) / group || (bias && bias->count != filters * group))
        return BAD(call, "its biases do not fit");
    onnx_spatial_dims(&s, x->dims[0], filters * group, dims);
    y = onnx_out(call, 0, ONNX_F32, x->rank, dims);
    rows = filters * s.kernel_count;
    count = onnx_count(ONNX_F32, 2, (const int64_t[]){rows, s.in_count});
    columns = count < 0 ? NULL : onnx_scratch(call, (uint64_t)count, sizeof(*columns));
    if (!y || !columns)
        return VD_ERR_LIMIT;
    for (int64_t i = 0; s.out_count && i < x->dims[0] * filters * group; i++)
        for (int64_t j = 0; j < s.out_count; j++)
            y[i * s.out_count + j] = bias ? ((const float *)bias->data)[i % (filters * group)] : 0;
    for (int64_t n = 0; n < x->dims[0]; n++)
        for (int64_t g = 0; g < group; g++) {
            struct gemm gemm = {.m = rows,
                                .n = s.in_count,
                                .k = channels,
                                .a = (const float *)w->data + g * channels * rows,
                                .a_row = 1,
                                .a_col = rows,
                                .b = (const float *)x->data +
                                     (n * group + g) * channels * s.in_count,
                                .b_row = s.in_count,
                                .b_col = 1,
                                .c = columns,
                                .c_row = s.in_count};

            TRY(onnx_gemm(call, &gemm));
            for (int64_t f = 0; f < filters; f++)
                add_columns(&s, columns + f * s.kernel_count * s.in_count,
                            y + ((n * group + g) * filters + f) * s.out_count);
        }
    return 0;
}

/* ---- Integers: ConvInteger, and QLinearConv on top ---- */

static int64_t zero_of(const struct value *zero, int64_t i)
{
    return zero ? (int64_t)onnx_number(zero, zero->count == 1 ? 0 : i) : 0;
}

/* Bytes less their zero point; `each`: elements that have one of `zero`'s in common. */
static int16_t *centred(struct call *call, const struct value *v, const struct value *zero,
                        int64_t each)
{
    int16_t *to = onnx_scratch(call, (uint64_t)v->count + 1, sizeof(*to));

    for (int64_t i = 0; to && i < v->count; i += each) {
        int16_t z = (int16_t)zero_of(zero, i / each);

        for (int64_t k = i; k < i + each; k++)
            to[k] = (int16_t)((v->dtype == ONNX_U8 ? ((const uint8_t *)v->data)[k]
                                                   : ((const int8_t *)v->data)[k]) -
                              z);
    }
    return to;
}

/* Outputs of a dimension whose input under this tap is there: *from to below the result. */
static int64_t covered(const struct spatial *s, int d, int64_t tap, int64_t *from)
{
    int64_t shift = tap * s->dilation[d] - s->before[d], stride = s->stride[d], to;

    *from = shift < 0 ? (-shift + stride - 1) / stride : 0;
    to = s->in[d] - shift > 0 ? (s->in[d] - shift - 1) / stride + 1 : 0;
    return to < s->out[d] ? to : s->out[d];
}

/* One weight on one plane of the input, where both are. */
static void add_tap(const struct spatial *s, const int64_t tap[3], int32_t weight, const int16_t *x,
                    int32_t *y)
{
    int64_t from[3], to[3], shift[3];

    for (int d = 0; d < 3; d++) {
        to[d] = covered(s, d, tap[d], &from[d]);
        shift[d] = tap[d] * s->dilation[d] - s->before[d];
    }
    for (int64_t oz = from[0]; oz < to[0]; oz++)
        for (int64_t oy = from[1]; oy < to[1]; oy++) {
            const int16_t *row =
                x + ((oz * s->stride[0] + shift[0]) * s->in[1] + oy * s->stride[1] + shift[1]) *
                        s->in[2];
            int32_t *sums = y + (oz * s->out[1] + oy) * s->out[2];
            int64_t step = s->stride[2];

            if (step == 1)
                for (int64_t ox = from[2]; ox < to[2]; ox++)
                    sums[ox] += weight * row[ox + shift[2]];
            else
                for (int64_t ox = from[2]; ox < to[2]; ox++)
                    sums[ox] += weight * row[ox * step + shift[2]];
        }
}

/* Sums of (x - xz) * (w - wz), weight by weight. */
static int conv_sums(struct call *call, const struct value *x, const struct value *xz,
                     const struct value *w, const struct value *wz, struct spatial *s,
                     int32_t **ret)
{
    int64_t group = onnx_attr_int(call->node, "group", 1), filters, taps, channels;
    int16_t *xs, *ws;
    int32_t *sums;

    TRY(check_conv(call, x, w, group));
    TRY(onnx_spatial_read(call, x, w->dims + 2, s));
    if ((xz && xz->count != 1) || (wz && wz->count != 1 && wz->count != w->dims[0]))
        return BAD(call, "its zero points do not fit");
    channels = w->dims[1];
    taps = channels * s->kernel_count;
    sums =
        onnx_scratch(call, (uint64_t)(x->dims[0] * w->dims[0] * s->out_count) + 1, sizeof(*sums));
    xs = sums ? centred(call, x, xz, x->count ? x->count : 1) : NULL;
    ws = xs ? centred(call, w, wz, wz && wz->count > 1 ? taps : w->count) : NULL;
    if (!ws)
        return VD_ERR_MEMORY;
    *ret = sums;
    filters = w->dims[0] / group;
    for (int64_t i = 0; i < x->dims[0] * w->dims[0]; i++, sums += s->out_count) {
        int64_t f = i % w->dims[0];
        const int16_t *plane = xs + (i / w->dims[0] * group + f / filters) * channels * s->in_count;

        TRY(onnx_work(call, (double)taps * (double)s->out_count));
        memset(sums, 0, (size_t)s->out_count * sizeof(*sums));
        for (int64_t r = 0; r < taps; r++) {
            int64_t k = r % s->kernel_count;
            const int64_t tap[3] = {k / s->kernel[2] / s->kernel[1],
                                    k / s->kernel[2] % s->kernel[1], k % s->kernel[2]};

            if (ws[f * taps + r])
                add_tap(s, tap, ws[f * taps + r], plane + r / s->kernel_count * s->in_count, sums);
        }
    }
    return 0;
}

int onnx_op_conv_integer(struct call *call)
{
    const struct value *x = call->in[0], *w = call->in[1];
    struct spatial s;
    int32_t *sums, *y;
    int64_t dims[RANK];

    TRY(conv_sums(call, x, onnx_in(call, 2), w, onnx_in(call, 3), &s, &sums));
    onnx_spatial_dims(&s, x->dims[0], w->dims[0], dims);
    y = onnx_out(call, 0, ONNX_I32, x->rank, dims);
    if (!y)
        return VD_ERR_MEMORY;
    memcpy(y, sums, (size_t)call->out[0]->count * sizeof(*y));
    return 0;
}

int onnx_op_qlinear_conv(struct call *call)
{
    const struct value *x = call->in[0], *w = call->in[3], *ws = call->in[4], *yz = call->in[7];
    const struct value *bias = onnx_in(call, 8);
    double x_scale, y_scale, y_zero;
    struct spatial s;
    int32_t *sums;
    int64_t dims[RANK];

    TRY(onnx_in_double(call, 1, &x_scale));
    TRY(onnx_in_double(call, 6, &y_scale));
    TRY(onnx_in_double(call, 7, &y_zero));
    TRY(conv_sums(call, x, call->in[2], w, call->in[5], &s, &sums));
    if ((ws->count != 1 && ws->count != w->dims[0]) || (bias && bias->count != w->dims[0]))
        return BAD(call, "its scales or biases do not fit");
    onnx_spatial_dims(&s, x->dims[0], w->dims[0], dims);
    if (!onnx_out(call, 0, yz->dtype, x->rank, dims))
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < call->out[0]->count; i++) {
        int64_t f = i / s.out_count % w->dims[0];
        double sum = (double)sums[i] + (bias ? onnx_number(bias, f) : 0);
        double scale = x_scale * onnx_number(ws, ws->count == 1 ? 0 : f) / y_scale;

        onnx_set(call->out[0], i, __builtin_rint(sum * scale) + y_zero);
    }
    return 0;
}
