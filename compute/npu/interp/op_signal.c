/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/* DFT, STFT, their windows, and the matrix that makes mel bands of a spectrum. */

#define PI 3.14159265358979323846

/*
 * A transform of a fixed length. Powers of two go by Cooley and Tukey, other lengths by the
 * definition; both look roots of unity up.
 */
struct transform {
    int64_t n;
    bool inverse;
    double *roots; /* n pairs: cos, sin of 2 pi i / n */
    double *from, *to;
};

static int prepare(struct call *call, struct transform *t)
{
    t->roots = onnx_scratch(call, 2 * (uint64_t)t->n, sizeof(double));
    t->from = onnx_scratch(call, 2 * (uint64_t)t->n, sizeof(double));
    t->to = onnx_scratch(call, 2 * (uint64_t)t->n, sizeof(double));
    if (!t->roots || !t->from || !t->to)
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < t->n; i++) {
        double angle = 2 * PI * (double)i / (double)t->n;

        t->roots[2 * i] = cos(angle);
        t->roots[2 * i + 1] = t->inverse ? sin(angle) : -sin(angle);
    }
    return 0;
}

static double steps_of(int64_t n)
{
    return n & (n - 1) ? (double)n * (double)n : (double)n * (log2((double)n) + 1);
}

static void by_definition(const struct transform *t)
{
    for (int64_t k = 0; k < t->n; k++) {
        double real = 0, imaginary = 0;

        for (int64_t i = 0, at = 0; i < t->n; i++) {
            const double *x = t->from + 2 * i, *w = t->roots + 2 * at;

            real += x[0] * w[0] - x[1] * w[1];
            imaginary += x[0] * w[1] + x[1] * w[0];
            at += k;
            at = at >= t->n ? at - t->n : at;
        }
        t->to[2 * k] = real;
        t->to[2 * k + 1] = imaginary;
    }
}

static void by_halves(const struct transform *t)
{
    int64_t n = t->n;

    for (int64_t i = 0, reversed = 0; i < n; i++) {
        int64_t bit = n >> 1;

        t->to[2 * reversed] = t->from[2 * i];
        t->to[2 * reversed + 1] = t->from[2 * i + 1];
        for (; bit && reversed & bit; bit >>= 1)
            reversed ^= bit;
        reversed |= bit;
    }
    for (int64_t half = 1; half < n; half *= 2) {
        for (int64_t start = 0; start < n; start += 2 * half) {
            for (int64_t i = 0; i < half; i++) {
                const double *w = t->roots + 2 * (i * (n / (2 * half)));
                double *a = t->to + 2 * (start + i), *b = a + 2 * half;
                double real = b[0] * w[0] - b[1] * w[1], imaginary = b[0] * w[1] + b[1] * w[0];

                b[0] = a[0] - real;
                b[1] = a[1] - imaginary;
                a[0] += real;
                a[1] += imaginary;
            }
        }
    }
}

static void run(const struct transform *t)
{
    if (t->n & (t->n - 1))
        by_definition(t);
    else
        by_halves(t);
    for (int64_t i = 0; t->inverse && i < 2 * t->n; i++)
        t->to[i] /= (double)t->n;
}

/* Before version 20 the axis was an attribute. */
static int dft_axis(struct call *call, int rank, int64_t *ret_axis)
{
    int64_t axis = call->node->opset < 20 ? onnx_attr_int(call->node, "axis", 1) : -2;

    if (call->node->opset >= 20 && onnx_in(call, 2))
        TRY(onnx_in_int(call, 2, &axis));
    TRY(onnx_axis(call, &axis, rank));
    if (axis == rank - 1)
        return BAD(call, "along real and imaginary parts");
    *ret_axis = axis;
    return 0;
}

int onnx_op_dft(struct call *call)
{
    const struct value *x = call->in[0];
    bool onesided = onnx_attr_int(call->node, "onesided", 0);
    struct transform t = {.inverse = onnx_attr_int(call->node, "inverse", 0)};
    int64_t axis = 0, dims[RANK], outer, inner, parts, bins;
    struct value *y;

    if (x->rank < 2 || (x->dims[x->rank - 1] != 1 && x->dims[x->rank - 1] != 2))
        return BAD(call, "its last dimension is not 1 or 2");
    TRY(dft_axis(call, x->rank, &axis));
    t.n = x->dims[axis];
    if (onnx_in(call, 1))
        TRY(onnx_in_int(call, 1, &t.n));
    if (t.n < 1 || t.n > INT64_C(1) << 32)
        return BAD(call, "of length %lld", (long long)t.n);
    if (onesided && t.inverse)
        return CANT(call, "is inverse and one-sided");
    parts = x->dims[x->rank - 1];
    bins = onesided ? t.n / 2 + 1 : t.n;
    memcpy(dims, x->dims, sizeof(dims));
    dims[axis] = bins;
    dims[x->rank - 1] = 2;
    outer = onnx_product(x->dims, 0, (int)axis);
    inner = onnx_product(x->dims, (int)axis + 1, x->rank - 1);
    if (!onnx_out(call, 0, x->dtype, x->rank, dims))
        return VD_ERR_MEMORY;
    TRY(prepare(call, &t));
    y = call->out[0];
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            TRY(onnx_work(call, steps_of(t.n)));
            memset(t.from, 0, 2 * (size_t)t.n * sizeof(double));
            for (int64_t k = 0; k < t.n && k < x->dims[axis]; k++)
                for (int64_t p = 0; p < parts; p++)
                    t.from[2 * k + p] =
                        onnx_number(x, ((o * x->dims[axis] + k) * inner + i) * parts + p);
            run(&t);
            for (int64_t k = 0; k < 2 * bins; k++)
                onnx_set(y, ((o * bins + k / 2) * inner + i) * 2 + k % 2, t.to[k]);
        }
    return 0;
}

int onnx_op_stft(struct call *call)
{
    const struct value *x = call->in[0], *window = onnx_in(call, 2);
    bool onesided = onnx_attr_int(call->node, "onesided", 1);
    struct transform t = {.n = 0};
    int64_t step, frames, bins, dims[4], parts;
    struct value *y;

    if (x->rank < 2 || x->rank > 3 || (x->rank == 3 && x->dims[2] != 1 && x->dims[2] != 2))
        return BAD(call, "its signal has a wrong shape");
    parts = x->rank == 3 ? x->dims[2] : 1;
    TRY(onnx_in_int(call, 1, &step));
    if (onnx_in(call, 3))
        TRY(onnx_in_int(call, 3, &t.n));
    else if (window)
        t.n = window->count;
    if (t.n < 1 || step < 1 || t.n > x->dims[1] || (window && window->count != t.n))
        return BAD(call, "has frames of %lld, %lld apart, of %lld samples", (long long)t.n,
                   (long long)step, (long long)x->dims[1]);
    if (onesided && parts == 2)
        return BAD(call, "is one-sided, of complex numbers");
    frames = (x->dims[1] - t.n) / step + 1;
    bins = onesided ? t.n / 2 + 1 : t.n;
    memcpy(dims, (int64_t[4]){x->dims[0], frames, bins, 2}, sizeof(dims));
    if (!onnx_out(call, 0, x->dtype, 4, dims))
        return VD_ERR_MEMORY;
    TRY(prepare(call, &t));
    y = call->out[0];
    for (int64_t b = 0, at = 0; b < x->dims[0]; b++)
        for (int64_t f = 0; f < frames; f++) {
            TRY(onnx_work(call, steps_of(t.n)));
            memset(t.from, 0, 2 * (size_t)t.n * sizeof(double));
            for (int64_t k = 0; k < t.n; k++)
                for (int64_t p = 0; p < parts; p++)
                    t.from[2 * k + p] =
                        onnx_number(x, (b * x->dims[1] + f * step + k) * parts + p) *
                        (window ? onnx_number(window, k) : 1);
            run(&t);
            for (int64_t k = 0; k < 2 * bins; k++)
                onnx_set(y, at++, t.to[k]);
        }
    return 0;
}

static int output_type(struct call *call, enum onnx_dtype *ret_type)
{
    int64_t type = onnx_attr_int(call->node, "output_datatype", 1);

    if (type < 0 || type > 31 || !(M_NUMBER >> type & 1))
        return CANT(call, "of type %lld", (long long)type);
    *ret_type = (enum onnx_dtype)type;
    return 0;
}

/* a - b cos(2 pi i / n) + c cos(4 pi i / n): 0 Hann, 1 Hamming, 2 Blackman. */
int onnx_op_window(struct call *call)
{
    static const double terms[3][3] = {{0.5, 0.5, 0}, {25.0 / 46, 21.0 / 46, 0}, {0.42, 0.5, 0.08}};
    const double *w = terms[call->arg];
    enum onnx_dtype type = ONNX_F32;
    int64_t size, n;

    TRY(output_type(call, &type));
    TRY(onnx_in_int(call, 0, &size));
    if (size < 0)
        return BAD(call, "of size %lld", (long long)size);
    if (!onnx_out(call, 0, type, 1, &size))
        return VD_ERR_MEMORY;
    TRY(onnx_work(call, (double)size));
    n = onnx_attr_int(call->node, "periodic", 1) ? size : size - 1;
    for (int64_t i = 0; i < size; i++) {
        double angle = n ? 2 * PI * (double)i / (double)n : 0;

        onnx_set(call->out[0], i, w[0] - w[1] * cos(angle) + w[2] * cos(2 * angle));
    }
    return 0;
}

/* The DFT bin in which a corner of a band lies. */
static int64_t mel_bin(double mel, int64_t length, int64_t rate)
{
    double hertz = 700 * (pow(10, mel / 2595) - 1);

    return (int64_t)floor((double)(length + 1) * hertz / (double)rate);
}

int onnx_op_mel_weights(struct call *call)
{
    int64_t bands, length, rate, bins, dims[2];
    double low, high, step;
    enum onnx_dtype type = ONNX_F32;

    TRY(output_type(call, &type));
    TRY(onnx_in_int(call, 0, &bands));
    TRY(onnx_in_int(call, 1, &length));
    TRY(onnx_in_int(call, 2, &rate));
    TRY(onnx_in_double(call, 3, &low));
    TRY(onnx_in_double(call, 4, &high));
    bins = length / 2 + 1;
    if (bands < 1 || length < 1 || rate < 1 || length > INT64_C(1) << 32 || !(low >= 0) ||
        !(high >= low) || !(high <= (double)rate))
        return BAD(call, "of %lld bands from %lld samples at %lld Hz", (long long)bands,
                   (long long)length, (long long)rate);
    low = 2595 * log10(1 + low / 700);
    high = 2595 * log10(1 + high / 700);
    step = (high - low) / (double)(bands + 2);
    dims[0] = bins;
    dims[1] = bands;
    if (!onnx_out(call, 0, type, 2, dims))
        return VD_ERR_MEMORY;
    memset(call->out[0]->data, 0, (size_t)call->out[0]->count * onnx_dtype_size(type));
    TRY(onnx_work(call, (double)call->out[0]->count));
    for (int64_t band = 0; band < bands; band++) {
        int64_t a = mel_bin(low + (double)band * step, length, rate);
        int64_t b = mel_bin(low + (double)(band + 1) * step, length, rate);
        int64_t c = mel_bin(low + (double)(band + 2) * step, length, rate);

        for (int64_t i = a; i <= b && i < bins; i++)
            onnx_set(call->out[0], i * bands + band,
                     b == a ? 1 : (double)(i - a) / (double)(b - a));
        for (int64_t i = b; i < c && i < bins; i++)
            onnx_set(call->out[0], i * bands + band, (double)(c - i) / (double)(c - b));
    }
    return 0;
}
