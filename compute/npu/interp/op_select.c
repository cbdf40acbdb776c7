/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ops.h"

/* TopK, NonMaxSuppression, Unique, Dropout as it is in inference. */

struct ranked {
    double value;
    int64_t index;
    uint64_t exact; /* 64-bit integers, in an order that compares unsigned */
};

static int by_largest(const void *a_, const void *b_)
{
    const struct ranked *a = a_, *b = b_;

    if (a->exact != b->exact)
        return a->exact < b->exact ? 1 : -1;
    if (a->value != b->value)
        return a->value < b->value ? 1 : -1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static int by_smallest(const void *a_, const void *b_)
{
    const struct ranked *a = a_, *b = b_;

    if (a->exact != b->exact)
        return a->exact > b->exact ? 1 : -1;
    if (a->value != b->value)
        return a->value > b->value ? 1 : -1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static struct ranked rank_of(const struct value *x, int64_t at, int64_t index)
{
    struct ranked r = {0, index, 0};

    if (x->dtype == ONNX_I64 || x->dtype == ONNX_U64)
        r.exact = ((const uint64_t *)x->data)[at] ^ (x->dtype == ONNX_I64 ? 1ull << 63 : 0);
    else
        r.value = onnx_number(x, at);
    return r;
}

static void copy_one(const struct value *x, int64_t from, struct value *y, int64_t to)
{
    size_t size = onnx_dtype_size(x->dtype);

    memcpy((uint8_t *)y->data + (size_t)to * size, (const uint8_t *)x->data + (size_t)from * size,
           size);
}

int onnx_op_top_k(struct call *call)
{
    const struct value *x = call->in[0];
    bool largest = onnx_attr_int(call->node, "largest", 1);
    int64_t axis = onnx_attr_int(call->node, "axis", -1), k, n, outer, inner, dims[RANK], *indices;
    struct ranked *all;

    TRY(onnx_in_int(call, 1, &k));
    TRY(onnx_axis(call, &axis, x->rank));
    n = x->dims[axis];
    if (k < 0 || k > n)
        return BAD(call, "wants %lld of %lld", (long long)k, (long long)n);
    memcpy(dims, x->dims, sizeof(dims));
    dims[axis] = k;
    all = onnx_scratch(call, (uint64_t)n, sizeof(*all));
    if (!onnx_out(call, 0, x->dtype, x->rank, dims) || !all ||
        !(indices = onnx_out(call, 1, ONNX_I64, x->rank, dims)))
        return VD_ERR_MEMORY;
    outer = onnx_product(x->dims, 0, (int)axis);
    inner = onnx_product(x->dims, (int)axis + 1, x->rank);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            for (int64_t j = 0; j < n; j++)
                all[j] = rank_of(x, (o * n + j) * inner + i, j);
            qsort(all, (size_t)n, sizeof(*all), largest ? by_largest : by_smallest);
            for (int64_t j = 0; j < k; j++) {
                copy_one(x, (o * n + all[j].index) * inner + i, call->out[0],
                         (o * k + j) * inner + i);
                indices[(o * k + j) * inner + i] = all[j].index;
            }
        }
    return 0;
}

struct box {
    float x1, y1, x2, y2;
};

static struct box read_box(const float *b, bool center)
{
    struct box r;

    if (center)
        return (struct box){b[0] - b[2] / 2, b[1] - b[3] / 2, b[0] + b[2] / 2, b[1] + b[3] / 2};
    r.y1 = fminf(b[0], b[2]);
    r.y2 = fmaxf(b[0], b[2]);
    r.x1 = fminf(b[1], b[3]);
    r.x2 = fmaxf(b[1], b[3]);
    return r;
}

static float overlap(struct box a, struct box b)
{
    float w = fminf(a.x2, b.x2) - fmaxf(a.x1, b.x1), h = fminf(a.y2, b.y2) - fmaxf(a.y1, b.y1);
    float both, one = (a.x2 - a.x1) * (a.y2 - a.y1), two = (b.x2 - b.x1) * (b.y2 - b.y1);

    if (w <= 0 || h <= 0 || one <= 0 || two <= 0)
        return 0;
    both = w * h;
    return both / (one + two - both);
}

int onnx_op_nms(struct call *call)
{
    const struct value *boxes = call->in[0], *scores = call->in[1];
    bool center = onnx_attr_int(call->node, "center_point_box", 0);
    int64_t most = 0, classes, n, kept = 0, dims[2] = {0, 3}, *picked;
    double iou = 0, low = -INFINITY;
    struct ranked *all;

    if (onnx_in(call, 2))
        TRY(onnx_in_int(call, 2, &most));
    if (onnx_in(call, 3))
        TRY(onnx_in_double(call, 3, &iou));
    if (onnx_in(call, 4))
        TRY(onnx_in_double(call, 4, &low));
    if (boxes->rank != 3 || scores->rank != 3 || boxes->dims[2] != 4 ||
        boxes->dims[0] != scores->dims[0] || boxes->dims[1] != scores->dims[2])
        return BAD(call, "its boxes and scores do not fit");
    n = boxes->dims[1];
    classes = scores->dims[1];
    most = most < 0 ? 0 : most > n ? n : most;
    all = onnx_scratch(call, (uint64_t)n, sizeof(*all));
    picked = onnx_scratch(call, (uint64_t)scores->count * 3, sizeof(*picked));
    if (!all || !picked)
        return VD_ERR_MEMORY;
    for (int64_t b = 0; b < boxes->dims[0]; b++)
        for (int64_t c = 0; c < classes; c++) {
            int64_t first = kept, count = 0;

            for (int64_t i = 0; i < n; i++) {
                double s = onnx_number(scores, (b * classes + c) * n + i);

                if (s > low)
                    all[count++] = (struct ranked){s, i, 0};
            }
            qsort(all, (size_t)count, sizeof(*all), by_largest);
            for (int64_t i = 0; i < count && kept - first < most; i++) {
                const float *base = (const float *)boxes->data + b * n * 4;
                struct box box = read_box(base + all[i].index * 4, center);
                bool keep = true;

                TRY(onnx_work(call, (double)(kept - first)));
                for (int64_t k = first; keep && k < kept; k++)
                    keep = !(overlap(box, read_box(base + picked[k * 3 + 2] * 4, center)) >
                             (float)iou);
                if (keep) {
                    picked[kept * 3] = b;
                    picked[kept * 3 + 1] = c;
                    picked[kept++ * 3 + 2] = all[i].index;
                }
            }
        }
    dims[0] = kept;
    if (!onnx_out(call, 0, ONNX_I64, 2, dims))
        return VD_ERR_MEMORY;
    memcpy(call->out[0]->data, picked, (size_t)kept * 3 * sizeof(*picked));
    return 0;
}

/* Compares parts i and j of a tensor along an axis. */
static int compare_parts(const struct value *x, int64_t outer, int64_t n, int64_t inner, int64_t i,
                         int64_t j)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < inner; k++) {
            struct ranked a = rank_of(x, (o * n + i) * inner + k, 0);
            struct ranked b = rank_of(x, (o * n + j) * inner + k, 0);
            int order = by_smallest(&a, &b);

            if (order)
                return order;
        }
    return 0;
}

int onnx_op_unique(struct call *call)
{
    const struct value *x = call->in[0];
    const struct attribute *a = onnx_attr(call->node, "axis");
    bool sorted = onnx_attr_int(call->node, "sorted", 1);
    int64_t axis = a ? a->i : 0, outer = 1, inner = 1, n = x->count, count = 0, dims[RANK];
    int64_t *first, *which, *counts, *order;

    if (a) {
        TRY(onnx_axis(call, &axis, x->rank));
        outer = onnx_product(x->dims, 0, (int)axis);
        inner = onnx_product(x->dims, (int)axis + 1, x->rank);
        n = x->dims[axis];
    }
    TRY(onnx_work(call, (double)n * (double)n));
    first = onnx_scratch(call, (uint64_t)n, sizeof(*first));
    which = onnx_scratch(call, (uint64_t)n, sizeof(*which));
    counts = onnx_scratch(call, (uint64_t)n, sizeof(*counts));
    order = onnx_scratch(call, (uint64_t)n, sizeof(*order));
    if (!first || !which || !counts || !order)
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        int64_t k = 0;

        if (i % 256 == 0)
            TRY(onnx_work(call, 0));
        while (k < count && compare_parts(x, outer, n, inner, first[k], i))
            k++;
        if (k == count) {
            first[count] = i;
            counts[count++] = 0;
        }
        which[i] = k;
        counts[k]++;
    }
    /* order[r]: the r-th value of the result. */
    for (int64_t i = 0; i < count; i++) {
        int64_t at = i;

        while (sorted && at &&
               compare_parts(x, outer, n, inner, first[order[at - 1]], first[i]) > 0) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    memcpy(dims, x->dims, sizeof(dims));
    dims[axis] = count;
    if (!onnx_out(call, 0, x->dtype, a ? x->rank : 1, dims))
        return VD_ERR_MEMORY;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t r = 0; r < count; r++)
            for (int64_t k = 0; k < inner; k++)
                copy_one(x, (o * n + first[order[r]]) * inner + k, call->out[0],
                         (o * count + r) * inner + k);
    for (size_t i = 1; i < call->out_count; i++) {
        int64_t size = i == 2 ? n : count, *to;

        if (!onnx_wanted(call, i))
            continue;
        to = onnx_out(call, i, ONNX_I64, 1, &size);
        if (!to)
            return VD_ERR_MEMORY;
        for (int64_t r = 0; r < count; r++) {
            if (i == 1)
                to[r] = first[order[r]];
            if (i == 3)
                to[r] = counts[order[r]];
            for (int64_t k = 0; i == 2 && k < n; k++)
                if (which[k] == order[r])
                    to[k] = r;
        }
    }
    return 0;
}

int onnx_op_dropout(struct call *call)
{
    struct value *x = call->in[0];
    const struct value *training = onnx_in(call, 2), *ratio = onnx_in(call, 1);
    uint8_t *mask;

    if (training && (training->count != 1 || *(const uint8_t *)training->data) &&
        !(ratio && ratio->count == 1 && onnx_number(ratio, 0) == 0))
        return CANT(call, "in training");
    if (onnx_wanted(call, 1)) {
        mask = onnx_out(call, 1, call->node->opset < 10 ? x->dtype : ONNX_BOOL, x->rank, x->dims);
        if (!mask)
            return VD_ERR_MEMORY;
        for (int64_t i = 0; i < x->count; i++)
            onnx_set(call->out[1], i, 1);
    }
    return onnx_out_share(call, 0, x);
}
