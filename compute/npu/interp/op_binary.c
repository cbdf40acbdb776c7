/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/* Two numbers in, one out; the inputs are spread over each other (multidirectional broadcasting).
 */

typedef void (*kernel)(void *to, const void *a, const void *b, int64_t n, int64_t a_step,
                       int64_t b_step);

#define KERNEL(name, type, out, expression)                                                        \
    static void name(void *to_, const void *a_, const void *b_, int64_t n, int64_t as, int64_t bs) \
    {                                                                                              \
        out *to = to_;                                                                             \
        const type *pa = a_, *pb = b_;                                                             \
        if (as && bs) {                                                                            \
            for (int64_t i = 0; i < n; i++) {                                                      \
                type a = pa[i], b = pb[i];                                                         \
                to[i] = (out)(expression);                                                         \
            }                                                                                      \
        } else if (as) {                                                                           \
            type b = *pb;                                                                          \
            for (int64_t i = 0; i < n; i++) {                                                      \
                type a = pa[i];                                                                    \
                to[i] = (out)(expression);                                                         \
            }                                                                                      \
        } else {                                                                                   \
            type a = *pa;                                                                          \
            for (int64_t i = 0; i < n; i++) {                                                      \
                type b = pb[bs ? i : 0];                                                           \
                to[i] = (out)(expression);                                                         \
            }                                                                                      \
        }                                                                                          \
    }

static float fmod_floor_f32(float a, float b)
{
    float r = fmodf(a, b);

    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static double fmod_floor_f64(double a, double b)
{
    double r = fmod(a, b);

    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

#define COMPARE(s, type)                          \
    KERNEL(s##_equal, type, uint8_t, a == b)      \
    KERNEL(s##_less, type, uint8_t, a < b)        \
    KERNEL(s##_greater, type, uint8_t, a > b)     \
    KERNEL(s##_less_equal, type, uint8_t, a <= b) \
    KERNEL(s##_greater_equal, type, uint8_t, a >= b)

#define FLOATS(s, type, f)                               \
    KERNEL(s##_add, type, type, a + b)                   \
    KERNEL(s##_sub, type, type, a - b)                   \
    KERNEL(s##_mul, type, type, a *b)                    \
    KERNEL(s##_div, type, type, a / b)                   \
    KERNEL(s##_mod, type, type, fmod_floor_##s(a, b))    \
    KERNEL(s##_fmod, type, type, fmod##f(a, b))          \
    KERNEL(s##_min, type, type, a != a || a < b ? a : b) \
    KERNEL(s##_max, type, type, a != a || a > b ? a : b) \
    KERNEL(s##_prelu, type, type, a < 0 ? a * b : a)     \
    COMPARE(s, type)

/* Division by zero gives 0, and the lowest number by -1 itself: no trap. Sums wrap. */
#define INTEGERS(s, type)                                                               \
    KERNEL(s##_add, type, type, (uint64_t)a + (uint64_t)b)                              \
    KERNEL(s##_sub, type, type, (uint64_t)a - (uint64_t)b)                              \
    KERNEL(s##_mul, type, type, (uint64_t)a *(uint64_t)b)                               \
    KERNEL(s##_div, type, type,                                                         \
           b == 0                          ? 0                                          \
           : (type)-1 < 0 && b == (type)-1 ? (type)(0 - (uint64_t)a)                    \
                                           : a / b)                                     \
    KERNEL(s##_fmod, type, type, b == 0 || ((type)-1 < 0 && b == (type)-1) ? 0 : a % b) \
    KERNEL(s##_mod, type, type,                                                         \
           b == 0 || ((type)-1 < 0 && b == (type)-1) ? 0                                \
           : a % b != 0 && ((a < 0) != (b < 0))      ? a % b + b                        \
                                                     : a % b)                                \
    KERNEL(s##_min, type, type, a < b ? a : b)                                          \
    KERNEL(s##_max, type, type, a > b ? a : b)                                          \
    KERNEL(s##_prelu, type, type, a < 0 ? (uint64_t)a * (uint64_t)b : (uint64_t)a)      \
    KERNEL(s##_bit_and, type, type, a &b)                                               \
    KERNEL(s##_bit_or, type, type, a | b)                                               \
    KERNEL(s##_bit_xor, type, type, a ^ b)                                              \
    COMPARE(s, type)

#define SHIFTS(s, type)                                                    \
    KERNEL(s##_left, type, type, b < sizeof(a) * 8 ? (uint64_t)a << b : 0) \
    KERNEL(s##_right, type, type, b < sizeof(a) * 8 ? a >> b : 0)

#pragma GCC diagnostic ignored "-Wtype-limits"
FLOATS(f32, float, f)
FLOATS(f64, double, )
INTEGERS(i8, int8_t)
INTEGERS(i16, int16_t)
INTEGERS(i32, int32_t)
INTEGERS(i64, int64_t)
INTEGERS(u8, uint8_t)
INTEGERS(u16, uint16_t)
INTEGERS(u32, uint32_t)
INTEGERS(u64, uint64_t)
SHIFTS(u8, uint8_t)
SHIFTS(u16, uint16_t)
SHIFTS(u32, uint32_t)
SHIFTS(u64, uint64_t)
KERNEL(bool_and, uint8_t, uint8_t, a &b)
KERNEL(bool_or, uint8_t, uint8_t, a | b)
KERNEL(bool_xor, uint8_t, uint8_t, a ^ b)
KERNEL(bool_equal, uint8_t, uint8_t, a == b)
KERNEL(string_equal, struct onnx_string, uint8_t,
       a.size == b.size && (!a.size || memcmp(a.data, b.data, a.size) == 0))

#define ROW(s)                                                                            \
    [BIN_ADD] = s##_add, [BIN_SUB] = s##_sub, [BIN_MUL] = s##_mul, [BIN_DIV] = s##_div,   \
    [BIN_MOD] = s##_mod, [BIN_FMOD] = s##_fmod, [BIN_MIN] = s##_min, [BIN_MAX] = s##_max, \
    [BIN_PRELU] = s##_prelu, [BIN_EQUAL] = s##_equal, [BIN_LESS] = s##_less,              \
    [BIN_GREATER] = s##_greater, [BIN_LESS_EQUAL] = s##_less_equal,                       \
    [BIN_GREATER_EQUAL] = s##_greater_equal

#define BITS(s) \
    ROW(s), [BIN_BIT_AND] = s##_bit_and, [BIN_BIT_OR] = s##_bit_or, [BIN_BIT_XOR] = s##_bit_xor

static const kernel kernels[ONNX_DTYPES][BIN_GREATER_EQUAL + 1] = {
    [ONNX_F32] = {ROW(f32)},
    [ONNX_F64] = {ROW(f64)},
    [ONNX_I8] = {BITS(i8)},
    [ONNX_I16] = {BITS(i16)},
    [ONNX_I32] = {BITS(i32)},
    [ONNX_I64] = {BITS(i64)},
    [ONNX_U8] = {BITS(u8), [BIN_LEFT] = u8_left, [BIN_RIGHT] = u8_right},
    [ONNX_U16] = {BITS(u16), [BIN_LEFT] = u16_left, [BIN_RIGHT] = u16_right},
    [ONNX_U32] = {BITS(u32), [BIN_LEFT] = u32_left, [BIN_RIGHT] = u32_right},
    [ONNX_U64] = {BITS(u64), [BIN_LEFT] = u64_left, [BIN_RIGHT] = u64_right},
    [ONNX_BOOL] =
        {[BIN_AND] = bool_and, [BIN_OR] = bool_or, [BIN_XOR] = bool_xor, [BIN_EQUAL] = bool_equal},
    [ONNX_STRING] = {[BIN_EQUAL] = string_equal},
};

int onnx_binary(struct call *call, int function, const struct value *a, const struct value *b,
                struct value *to)
{
    kernel k = kernels[a->dtype][function];
    int64_t as[RANK], bs[RANK], d[RANK], at[RANK] = {0};
    size_t in = onnx_dtype_size(a->dtype), out = onnx_dtype_size(to->dtype);
    uint8_t *place = to->data;
    int n = 0;

    if (!k)
        return CANT(call, "not for %s", onnx_dtype_name(a->dtype));
    if (!to->count)
        return 0;
    onnx_spread(a, to->rank, to->dims, as);
    onnx_spread(b, to->rank, to->dims, bs);
    for (int i = 0; i < to->rank; i++) {
        if (to->dims[i] == 1)
            continue;
        if (n && as[n - 1] == as[i] * to->dims[i] && bs[n - 1] == bs[i] * to->dims[i])
            d[n - 1] *= to->dims[i];
        else
            d[n++] = to->dims[i];
        as[n - 1] = as[i];
        bs[n - 1] = bs[i];
    }
    if (!n) {
        k(place, a->data, b->data, 1, 1, 1);
        return 0;
    }
    do {
        int64_t a_at = 0, b_at = 0;

        for (int i = 0; i < n - 1; i++) {
            a_at += at[i] * as[i];
            b_at += at[i] * bs[i];
        }
        k(place, (const uint8_t *)a->data + (size_t)a_at * in,
          (const uint8_t *)b->data + (size_t)b_at * in, d[n - 1], as[n - 1], bs[n - 1]);
        place += (size_t)d[n - 1] * out;
    } while (onnx_next(n - 1, d, at));
    return 0;
}

static int mix(struct call *call, const struct value *a, const struct value *b, int *rank,
               int64_t *dims)
{
    *rank = a->rank;
    memcpy(dims, a->dims, sizeof(a->dims));
    if (!onnx_broadcast(b, rank, dims))
        return BAD(call, "the shapes of its inputs do not fit");
    return 0;
}

static bool has_shape(const struct value *value, int rank, const int64_t *dims)
{
    return value->rank == rank && memcmp(value->dims, dims, (size_t)rank * sizeof(*dims)) == 0;
}

int onnx_op_binary(struct call *call)
{
    const struct value *a = call->in[0], *b = call->in[1];
    int function = call->arg, rank;
    int64_t dims[RANK];
    void *to;

    if (function == BIN_MOD && onnx_attr_int(call->node, "fmod", 0))
        function = BIN_FMOD;
    else if (function == BIN_MOD && (M(a->dtype) & M_FLOAT))
        return BAD(call, "of floats needs fmod = 1");
    if (function == BIN_LEFT && onnx_attr_is(call->node, "direction", "", "RIGHT"))
        function = BIN_RIGHT;
    TRY(mix(call, a, b, &rank, dims));
    if (function >= BIN_EQUAL)
        to = onnx_out(call, 0, ONNX_BOOL, rank, dims);
    else if (has_shape(a, rank, dims))
        to = onnx_out_over(call, 0, 0);
    else if (has_shape(b, rank, dims))
        to = onnx_out_over(call, 0, 1);
    else
        to = onnx_out(call, 0, a->dtype, rank, dims);
    return to ? onnx_binary(call, function, a, b, call->out[0]) : VD_ERR_MEMORY;
}

/* Sum, Mean, Min, Max of any number of inputs. arg: the binary function, +100 for Mean. */
int onnx_op_variadic(struct call *call)
{
    const struct value *first = call->in[0];
    int rank = first->rank;
    int64_t dims[RANK];
    struct value *sum;
    struct value one = {.rank = 0, .count = 1, .dtype = first->dtype, .fixed = true};
    double number = 0;

    memcpy(dims, first->dims, sizeof(dims));
    for (size_t i = 1; i < call->in_count; i++)
        if (!call->in[i] || !onnx_broadcast(call->in[i], &rank, dims))
            return BAD(call, "the shapes of its inputs do not fit");
    if (!onnx_out(call, 0, first->dtype, rank, dims))
        return VD_ERR_MEMORY;
    sum = call->out[0];
    if (call->in_count == 1) {
        memcpy(sum->data, first->data, (size_t)first->count * onnx_dtype_size(first->dtype));
    } else {
        TRY(onnx_binary(call, call->arg % 100, first, call->in[1], sum));
        for (size_t i = 2; i < call->in_count; i++)
            TRY(onnx_binary(call, call->arg % 100, sum, call->in[i], sum));
    }
    if (call->arg < 100)
        return 0;
    one.data = &number;
    onnx_set(&one, 0, (double)call->in_count);
    return onnx_binary(call, BIN_DIV, sum, &one, sum);
}

/* Where one input is int and the other float: as doubles, but integers to integer powers exactly.
 */
static int64_t power(int64_t base, int64_t exponent)
{
    uint64_t result = 1, factor = (uint64_t)base;

    if (exponent < 0)
        return base == 1 ? 1 : base == -1 ? (exponent & 1 ? -1 : 1) : 0;
    for (; exponent; exponent >>= 1, factor *= factor)
        if (exponent & 1)
            result *= factor;
    return (int64_t)result;
}

int onnx_op_pow(struct call *call)
{
    const struct value *a = call->in[0], *b = call->in[1];
    int64_t dims[RANK], as[RANK], bs[RANK], at[RANK] = {0}, i = 0;
    int rank;
    struct value *to;

    TRY(mix(call, a, b, &rank, dims));
    if (!onnx_out(call, 0, a->dtype, rank, dims))
        return VD_ERR_MEMORY;
    to = call->out[0];
    if (!to->count)
        return 0;
    if (a->dtype == ONNX_F32 && b->dtype == ONNX_F32 && b->count == 1 &&
        *(const float *)b->data == 2) {
        for (; i < a->count; i++)
            ((float *)to->data)[i] = ((const float *)a->data)[i] * ((const float *)a->data)[i];
        return 0;
    }
    onnx_spread(a, rank, dims, as);
    onnx_spread(b, rank, dims, bs);
    do {
        int64_t x = 0, y = 0;

        for (int d = 0; d < rank; d++) {
            x += at[d] * as[d];
            y += at[d] * bs[d];
        }
        if ((M(a->dtype) & (M(ONNX_I32) | M(ONNX_I64))) &&
            (M(b->dtype) & (M(ONNX_I32) | M(ONNX_I64)))) {
            int64_t p = power(onnx_index(a, x), onnx_index(b, y));

            if (a->dtype == ONNX_I32)
                ((int32_t *)to->data)[i++] = (int32_t)p;
            else
                ((int64_t *)to->data)[i++] = p;
        } else {
            onnx_set(to, i++, pow(onnx_number(a, x), onnx_number(b, y)));
        }
    } while (onnx_next(rank, dims, at));
    return 0;
}

int onnx_op_where(struct call *call)
{
    const struct value *c = call->in[0], *a = call->in[1], *b = call->in[2];
    size_t size = onnx_dtype_size(a->dtype);
    int64_t dims[RANK], cs[RANK], as[RANK], bs[RANK], at[RANK] = {0};
    int rank;
    uint8_t *to;

    TRY(mix(call, a, b, &rank, dims));
    if (!onnx_broadcast(c, &rank, dims) || a->dtype != b->dtype)
        return BAD(call, "its inputs do not fit");
    to = onnx_out(call, 0, a->dtype, rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    if (!call->out[0]->count)
        return 0;
    onnx_spread(c, rank, dims, cs);
    onnx_spread(a, rank, dims, as);
    onnx_spread(b, rank, dims, bs);
    do {
        int64_t k = 0, x = 0, y = 0;

        for (int d = 0; d < rank; d++) {
            k += at[d] * cs[d];
            x += at[d] * as[d];
            y += at[d] * bs[d];
        }
        memcpy(to,
               ((const uint8_t *)c->data)[k] ? (const uint8_t *)a->data + (size_t)x * size
                                             : (const uint8_t *)b->data + (size_t)y * size,
               size);
        to += size;
    } while (onnx_next(rank, dims, at));
    return 0;
}
