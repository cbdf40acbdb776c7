/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "gemm.h"
#include "ops.h"

/* MatMul, Gemm, MatMulInteger, QLinearMatMul, Det. */

/* Two stacks of matrices; vectors get a dimension that the result loses again. */
struct stack {
    int64_t m, n, k;
    int rank; /* of the leading dimensions */
    int64_t dims[RANK], a_steps[RANK], b_steps[RANK];
    int out_rank;
    int64_t out_dims[RANK + 2];
};

static int read_stack(struct call *call, const struct value *a, const struct value *b,
                      struct stack *s)
{
    bool row = a->rank == 1, column = b->rank == 1;
    struct value lead_a = *a, lead_b = *b;

    memset(s, 0, sizeof(*s));
    if (!a->rank || !b->rank)
        return BAD(call, "of a scalar");
    s->m = row ? 1 : a->dims[a->rank - 2];
    s->k = a->dims[a->rank - 1];
    s->n = column ? 1 : b->dims[b->rank - 1];
    if (b->dims[column ? 0 : b->rank - 2] != s->k)
        return BAD(call, "of %lld columns and %lld rows", (long long)s->k,
                   (long long)b->dims[column ? 0 : b->rank - 2]);
    lead_a.rank = row ? 0 : a->rank - 2;
    lead_b.rank = column ? 0 : b->rank - 2;
    s->rank = lead_a.rank;
    memcpy(s->dims, lead_a.dims, sizeof(s->dims));
    if (!onnx_broadcast(&lead_b, &s->rank, s->dims))
        return BAD(call, "the shapes of its inputs do not fit");
    onnx_spread(&lead_a, s->rank, s->dims, s->a_steps);
    onnx_spread(&lead_b, s->rank, s->dims, s->b_steps);
    memcpy(s->out_dims, s->dims, sizeof(s->dims));
    s->out_rank = s->rank;
    if (!row)
        s->out_dims[s->out_rank++] = s->m;
    if (!column)
        s->out_dims[s->out_rank++] = s->n;
    return 0;
}

/* Which matrices make the i-th result. */
static void pick(const struct stack *s, int64_t i, int64_t *a, int64_t *b)
{
    *a = *b = 0;
    for (int d = s->rank - 1; d >= 0; d--) {
        *a += i % s->dims[d] * s->a_steps[d];
        *b += i % s->dims[d] * s->b_steps[d];
        i /= s->dims[d];
    }
}

#define SLOW(type)                                                        \
    do {                                                                  \
        const type *pa = (const type *)a->data + at_a * s.m * s.k;        \
        const type *pb = (const type *)b->data + at_b * s.k * s.n;        \
        type *pc = (type *)y + i * s.m * s.n;                             \
        memset(pc, 0, (size_t)(s.m * s.n) * sizeof(*pc));                 \
        for (int64_t r = 0; r < s.m; r++)                                 \
            for (int64_t k = 0; k < s.k; k++)                             \
                for (int64_t c = 0; c < s.n; c++)                         \
                    pc[r * s.n + c] += pa[r * s.k + k] * pb[k * s.n + c]; \
    } while (0)

int onnx_op_matmul(struct call *call)
{
    const struct value *a = call->in[0], *b = call->in[1];
    struct stack s;
    int64_t count, at_a, at_b;
    uint8_t *y;

    TRY(read_stack(call, a, b, &s));
    y = onnx_out(call, 0, a->dtype, s.out_rank, s.out_dims);
    if (!y)
        return VD_ERR_MEMORY;
    count = call->out[0]->count ? onnx_product(s.dims, 0, s.rank) : 0;
    /* One matrix for all: the rows of all are those of one large matrix. */
    if (count > 1 && b->rank <= 2 && a->rank > 2) {
        s.m *= count;
        count = 1;
    }
    for (int64_t i = 0; i < count; i++) {
        pick(&s, i, &at_a, &at_b);
        if (a->dtype == ONNX_F32) {
            struct gemm gemm = {.m = s.m,
                                .n = s.n,
                                .k = s.k,
                                .a = (const float *)a->data + at_a * s.m * s.k,
                                .a_row = s.k,
                                .a_col = 1,
                                .b = (const float *)b->data + at_b * s.k * s.n,
                                .b_row = s.n,
                                .b_col = 1,
                                .c = (float *)y + i * s.m * s.n,
                                .c_row = s.n};

            TRY(onnx_gemm(call, &gemm));
            continue;
        }
        TRY(onnx_work(call, (double)s.m * (double)s.n * (double)s.k));
        switch (a->dtype) {
        case ONNX_F64:
            SLOW(double);
            break;
        case ONNX_I32:
        case ONNX_U32:
            SLOW(uint32_t);
            break;
        default:
            SLOW(uint64_t);
        }
    }
    return 0;
}

/* The last two dimensions change their places. */
static struct value turned(const struct value *v, bool turn)
{
    struct value t = *v;

    if (turn && v->rank > 1) {
        t.dims[v->rank - 1] = v->dims[v->rank - 2];
        t.dims[v->rank - 2] = v->dims[v->rank - 1];
    }
    return t;
}

/* alpha A B, of floats, either turned. */
int onnx_op_fused_matmul(struct call *call)
{
    bool ta = onnx_attr_int(call->node, "transA", 0) && call->in[0]->rank > 1;
    bool tb = onnx_attr_int(call->node, "transB", 0) && call->in[1]->rank > 1;
    struct value a = turned(call->in[0], ta), b = turned(call->in[1], tb);
    float alpha = onnx_attr_float(call->node, "alpha", 1), *y;
    int64_t count, at_a, at_b;
    struct stack s;

    if (onnx_attr_int(call->node, "transBatchA", 0) || onnx_attr_int(call->node, "transBatchB", 0))
        return CANT(call, "with the batch turned");
    TRY(read_stack(call, &a, &b, &s));
    y = onnx_out(call, 0, ONNX_F32, s.out_rank, s.out_dims);
    if (!y)
        return VD_ERR_MEMORY;
    count = call->out[0]->count ? onnx_product(s.dims, 0, s.rank) : 0;
    for (int64_t i = 0; i < count; i++) {
        pick(&s, i, &at_a, &at_b);
        TRY(onnx_gemm(call, &(struct gemm){.m = s.m,
                                           .n = s.n,
                                           .k = s.k,
                                           .a = (const float *)a.data + at_a * s.m * s.k,
                                           .a_row = ta ? 1 : s.k,
                                           .a_col = ta ? s.m : 1,
                                           .b = (const float *)b.data + at_b * s.k * s.n,
                                           .b_row = tb ? 1 : s.n,
                                           .b_col = tb ? s.k : 1,
                                           .c = y + i * s.m * s.n,
                                           .c_row = s.n}));
    }
    for (int64_t i = 0; alpha != 1 && i < call->out[0]->count; i++)
        y[i] *= alpha;
    return 0;
}

int onnx_op_gemm(struct call *call)
{
    const struct value *a = call->in[0], *b = call->in[1], *c = onnx_in(call, 2);
    bool ta = onnx_attr_int(call->node, "transA", 0), tb = onnx_attr_int(call->node, "transB", 0);
    float alpha = onnx_attr_float(call->node, "alpha", 1);
    float beta = onnx_attr_float(call->node, "beta", 1);
    int64_t dims[2], k, strides[2] = {0, 0}, wanted[2];
    int rank = 2;
    struct value *y;

    if (a->rank != 2 || b->rank != 2)
        return BAD(call, "of tensors that are no matrices");
    dims[0] = a->dims[ta];
    k = a->dims[!ta];
    dims[1] = b->dims[!tb];
    if (b->dims[tb] != k)
        return BAD(call, "of %lld columns and %lld rows", (long long)k, (long long)b->dims[tb]);
    memcpy(wanted, dims, sizeof(wanted));
    if (c &&
        (c->rank > 2 || !onnx_broadcast(c, &rank, wanted) || memcmp(wanted, dims, sizeof(dims))))
        return BAD(call, "its third input does not fit");
    if (!onnx_out(call, 0, a->dtype, 2, dims))
        return VD_ERR_MEMORY;
    y = call->out[0];
    if (a->dtype == ONNX_F32) {
        struct gemm gemm = {.m = dims[0],
                            .n = dims[1],
                            .k = k,
                            .a = a->data,
                            .a_row = ta ? 1 : a->dims[1],
                            .a_col = ta ? a->dims[1] : 1,
                            .b = b->data,
                            .b_row = tb ? 1 : b->dims[1],
                            .b_col = tb ? b->dims[1] : 1,
                            .c = y->data,
                            .c_row = dims[1]};

        TRY(onnx_gemm(call, &gemm));
    } else {
        TRY(onnx_work(call, (double)dims[0] * (double)dims[1] * (double)k));
        for (int64_t i = 0; i < y->count; i++) {
            double sum = 0;

            for (int64_t j = 0; j < k; j++)
                sum += onnx_number(a, ta ? j * a->dims[1] + i / dims[1] : i / dims[1] * k + j) *
                       onnx_number(b, tb ? i % dims[1] * k + j : j * b->dims[1] + i % dims[1]);
            onnx_set(y, i, sum);
        }
    }
    if (c)
        onnx_spread(c, 2, dims, strides);
    for (int64_t i = 0; (c || alpha != 1) && i < y->count; i++) {
        int64_t at = i / dims[1] * strides[0] + i % dims[1] * strides[1];

        if (a->dtype == ONNX_F32)
            ((float *)y->data)[i] =
                alpha * ((float *)y->data)[i] + (c ? beta * ((const float *)c->data)[at] : 0);
        else
            onnx_set(y, i,
                     (double)alpha * onnx_number(y, i) +
                         (c ? (double)beta * onnx_number(c, at) : 0));
    }
    return 0;
}

/* A byte less its zero point. */
static int16_t byte_less(const struct value *v, int64_t at, int16_t zero)
{
    return (int16_t)((v->dtype == ONNX_U8 ? ((const uint8_t *)v->data)[at]
                                          : ((const int8_t *)v->data)[at]) -
                     zero);
}

static int16_t zero_at(const struct value *zero, int64_t at)
{
    return zero ? (int16_t)onnx_number(zero, zero->count == 1 ? 0 : at) : 0;
}

/* A zero point for each row of A or column of B, or one for all. */
static int sums(struct call *call, const struct value *a, const struct value *az,
                const struct value *b, const struct value *bz, struct stack *s, int32_t **ret)
{
    int64_t count, at_a, at_b;
    int16_t *row, *columns;
    int32_t *y;

    TRY(read_stack(call, a, b, s));
    if ((az && az->count != 1 && az->count != s->m) || (bz && bz->count != 1 && bz->count != s->n))
        return BAD(call, "its zero points do not fit");
    count = onnx_count(ONNX_I32, s->out_rank, s->out_dims);
    y = count < 0 ? NULL : onnx_scratch(call, (uint64_t)count + 1, sizeof(*y));
    if (!y)
        return BAD(call, "is too large");
    row = onnx_scratch(call, (uint64_t)s->k + 1, sizeof(*row));
    columns = onnx_scratch(call, (uint64_t)(s->k * s->n) + 1, sizeof(*columns));
    if (!row || !columns)
        return VD_ERR_MEMORY;
    memset(y, 0, (size_t)count * sizeof(*y));
    *ret = y;
    for (int64_t i = 0; count && i < count / (s->m * s->n); i++) {
        pick(s, i, &at_a, &at_b);
        for (int64_t k = 0; k < s->k; k++)
            for (int64_t c = 0; c < s->n; c++)
                columns[k * s->n + c] =
                    byte_less(b, at_b * s->k * s->n + k * s->n + c, zero_at(bz, c));
        for (int64_t r = 0; r < s->m; r++, y += s->n) {
            int16_t zero = zero_at(az, r);

            TRY(onnx_work(call, (double)s->n * (double)s->k));
            for (int64_t k = 0; k < s->k; k++)
                row[k] = byte_less(a, (at_a * s->m + r) * s->k + k, zero);
            for (int64_t k = 0; k < s->k; k++)
                for (int64_t c = 0; c < s->n; c++)
                    y[c] += row[k] * columns[k * s->n + c];
        }
    }
    return 0;
}

int onnx_op_matmul_integer(struct call *call)
{
    struct stack s;
    int32_t *from;
    void *y;

    TRY(sums(call, call->in[0], onnx_in(call, 2), call->in[1], onnx_in(call, 3), &s, &from));
    y = onnx_out(call, 0, ONNX_I32, s.out_rank, s.out_dims);
    if (!y)
        return VD_ERR_MEMORY;
    memcpy(y, from, (size_t)call->out[0]->count * sizeof(*from));
    return 0;
}

int onnx_op_qlinear_matmul(struct call *call)
{
    const struct value *yz = call->in[7];
    double a_scale, b_scale, y_scale, y_zero;
    struct stack s;
    int32_t *from;

    TRY(onnx_in_double(call, 1, &a_scale));
    TRY(onnx_in_double(call, 4, &b_scale));
    TRY(onnx_in_double(call, 6, &y_scale));
    TRY(onnx_in_double(call, 7, &y_zero));
    TRY(sums(call, call->in[0], call->in[2], call->in[3], call->in[5], &s, &from));
    if (!onnx_out(call, 0, yz->dtype, s.out_rank, s.out_dims))
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < call->out[0]->count; i++)
        onnx_set(call->out[0], i, __builtin_rint(from[i] * (a_scale * b_scale / y_scale)) + y_zero);
    return 0;
}

/* Gauss's elimination with the largest pivot of each column. */
static double determinant(double *m, int64_t n)
{
    double result = 1;

    for (int64_t c = 0; c < n; c++) {
        int64_t pivot = c;

        for (int64_t r = c + 1; r < n; r++)
            pivot = fabs(m[r * n + c]) > fabs(m[pivot * n + c]) ? r : pivot;
        if (m[pivot * n + c] == 0)
            return 0;
        for (int64_t i = c; pivot != c && i < n; i++) {
            double swap = m[c * n + i];

            m[c * n + i] = m[pivot * n + i];
            m[pivot * n + i] = swap;
        }
        result *= pivot == c ? m[c * n + c] : -m[c * n + c];
        for (int64_t r = c + 1; r < n; r++) {
            double factor = m[r * n + c] / m[c * n + c];

            for (int64_t i = c + 1; i < n; i++)
                m[r * n + i] -= factor * m[c * n + i];
        }
    }
    return result;
}

int onnx_op_det(struct call *call)
{
    const struct value *x = call->in[0];
    double *m;
    int64_t n;

    if (x->rank < 2 || x->dims[x->rank - 1] != x->dims[x->rank - 2])
        return BAD(call, "of what is no square");
    n = x->dims[x->rank - 1];
    m = onnx_scratch(call, (uint64_t)n * (uint64_t)n, sizeof(*m));
    if (!m || !onnx_out(call, 0, x->dtype, x->rank - 2, x->dims))
        return VD_ERR_MEMORY;
    TRY(onnx_work(call, (double)x->count * (double)n));
    for (int64_t i = 0; i < call->out[0]->count; i++) {
        for (int64_t k = 0; k < n * n; k++)
            m[k] = onnx_number(x, i * n * n + k);
        onnx_set(call->out[0], i, determinant(m, n));
    }
    return 0;
}
