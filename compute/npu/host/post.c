/* SPDX-License-Identifier: MIT */
#include "post.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

#include "post_private.h"

int post_fail(struct post_work *w, int err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(w->error, w->error_size, format, args);
    va_end(args);
    return err;
}

float post_float(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

float post_number(const struct onnx_value *value, uint64_t index)
{
    switch (value->dtype) {
    case ONNX_F32:
        return ((const float *)value->data)[index];
    case ONNX_F16:
        return onnx_half_to_float(((const uint16_t *)value->data)[index]);
    case ONNX_I64:
        return (float)((const int64_t *)value->data)[index];
    case ONNX_I32:
        return (float)((const int32_t *)value->data)[index];
    case ONNX_U8:
        return (float)((const uint8_t *)value->data)[index];
    default:
        return 0;
    }
}

float post_sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

int post_scratch(struct post_work *w, uint64_t size, void **ret_memory)
{
    struct post *p = w->post;
    int err;

    if (size > p->scratch_size) {
        p->free(p->scratch);
        p->scratch = NULL;
        p->scratch_size = 0;
        err = p->alloc(p->owner, size, &p->scratch);
        if (err)
            return post_fail(w, err, "there is no memory to look at an output");
        p->scratch_size = size;
    }
    *ret_memory = p->scratch;
    return 0;
}

int post_add(struct post_work *w, const float *row)
{
    struct post *p = w->post;
    uint64_t bytes = w->columns * sizeof(float), used = p->row_count * bytes;

    if (p->row_count == VD_MAX_NPU_ROWS)
        return post_fail(w, VD_ERR_LIMIT,
                         "an output has more than %u results; a higher threshold or a limit helps",
                         VD_MAX_NPU_ROWS);
    if (used + bytes > p->rows_size) {
        uint64_t size = p->rows_size ? 2 * p->rows_size : 4096;
        void *memory;
        int err = p->alloc(p->owner, size, &memory);

        if (err)
            return post_fail(w, err, "there is no memory for what an output has");
        if (used)
            memcpy(memory, p->rows, used);
        p->free(p->rows);
        p->rows = memory;
        p->rows_size = size;
    }
    memcpy((uint8_t *)p->rows + used, row, bytes);
    p->row_count++;
    return 0;
}

int post_left(struct post_work *w)
{
    return w->post->left && w->post->left(w->post->left_arg)
               ? post_fail(w, VD_ERR_GONE, "the job was cancelled")
               : 0;
}

static float bounded(float x, float most)
{
    return x > 0 ? x < most ? x : most : 0;
}

void post_to_picture(const struct post_view *v, uint64_t item, float box[4])
{
    const struct npu_place *place;

    if (item >= v->place_count)
        return;
    place = &v->places[item];
    for (int i = 0; i < 4; i += 2) {
        box[i] = bounded(place->x + place->step_x * box[i], (float)v->picture_width);
        box[i + 1] = bounded(place->y + place->step_y * box[i + 1], (float)v->picture_height);
    }
}

/* The sum that scores are divided by, and the largest of them, which is 0 for what is not softmax.
 */
static float softmax_sum(const struct onnx_value *v, uint64_t at, uint64_t step, uint64_t count,
                         float *ret_most)
{
    float most = -FLT_MAX, sum = 0;

    for (uint64_t i = 0; i < count; i++)
        most = fmaxf(most, post_number(v, at + i * step));
    for (uint64_t i = 0; i < count; i++)
        sum += expf(post_number(v, at + i * step) - most);
    *ret_most = most;
    return sum;
}

/* The best of `count` numbers, and its score. */
static uint64_t best(const struct post_work *w, uint64_t at, uint64_t step, uint64_t count,
                     float *ret_score)
{
    float most = post_number(w->value, at), ignored;
    uint64_t which = 0;

    for (uint64_t i = 1; i < count; i++) {
        float x = post_number(w->value, at + i * step);

        if (x > most) {
            most = x;
            which = i;
        }
    }
    if (w->how->activation == VD_NPU_SCORE_SIGMOID)
        most = post_sigmoid(most);
    else if (w->how->activation == VD_NPU_SCORE_SOFTMAX)
        most = 1.0f / softmax_sum(w->value, at, step, count, &ignored);
    *ret_score = most;
    return which;
}

struct ranked {
    float score;
    uint32_t which;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->which < y->which ? -1 : 1;
}

static int classes_of(struct post_work *w, uint64_t item, uint64_t count, struct ranked *ranked)
{
    uint64_t most = w->how->most ? w->how->most : VD_MAX_NPU_ROWS, used = 0;
    float peak = 0, sum = 1;
    int err = 0;

    if (w->how->activation == VD_NPU_SCORE_SOFTMAX)
        sum = softmax_sum(w->value, item * count, 1, count, &peak);
    for (uint64_t i = w->how->flags & VD_NPU_POST_BACKGROUND ? 1 : 0; i < count; i++) {
        float score = post_number(w->value, item * count + i);

        if (w->how->activation == VD_NPU_SCORE_SOFTMAX)
            score = expf(score - peak) / sum;
        else if (w->how->activation == VD_NPU_SCORE_SIGMOID)
            score = post_sigmoid(score);
        /* What is no number is no score, either. */
        if (score >= w->threshold)
            ranked[used++] = (struct ranked){score, (uint32_t)i};
    }
    qsort(ranked, used, sizeof(*ranked), by_rank);
    for (uint64_t i = 0; i < used && i < most && !err; i++) {
        uint32_t first = w->how->flags & VD_NPU_POST_BACKGROUND ? 1 : 0;
        float row[3] = {(float)item, (float)(ranked[i].which - first), ranked[i].score};

        err = post_add(w, row);
    }
    return err;
}

static int post_classes(struct post_work *w)
{
    const struct onnx_value *v = w->value;
    uint64_t count = v->rank ? (uint64_t)v->dims[v->rank - 1] : 1, items = 1;
    struct ranked *ranked;
    void *memory = NULL;
    int err;

    for (int i = 0; i + 1 < v->rank; i++)
        items *= (uint64_t)v->dims[i];
    if (!count || !items)
        return 0;
    /* [N, C, 1, 1], as poolings leave it. */
    if (count == 1 && v->rank >= 3) {
        count = items / (uint64_t)v->dims[0];
        items = (uint64_t)v->dims[0];
    }
    err = post_scratch(w, count * sizeof(*ranked), &memory);
    ranked = memory;
    for (uint64_t item = 0; item < items && !err; item++) {
        err = post_left(w);
        if (!err)
            err = classes_of(w, item, count, ranked);
    }
    return err;
}

/*
 * The best class of each step; the same again and the blank say nothing (A. Graves et al.,
 * "Connectionist Temporal Classification", 3.2: best path).
 */
static int post_text(struct post_work *w)
{
    const struct onnx_value *v = w->value;
    bool turned = w->how->flags & VD_NPU_POST_TURNED;
    uint64_t items, steps, count, most = w->how->most ? w->how->most : VD_MAX_NPU_ROWS;
    int err = 0;

    if (v->rank != 2 && v->rank != 3)
        return post_fail(w, VD_ERR_PARAMETER, "an output of %d dimensions is no text", v->rank);
    count = (uint64_t)v->dims[v->rank - 1];
    items = v->rank == 2 ? 1 : (uint64_t)v->dims[turned ? 1 : 0];
    steps = (uint64_t)(v->rank == 2 ? v->dims[0] : v->dims[turned ? 0 : 1]);
    for (uint64_t item = 0; item < items && count && !err; item++) {
        uint64_t last = UINT64_MAX, used = 0;

        err = post_left(w);
        for (uint64_t t = 0; t < steps && used < most && !err; t++) {
            float score;
            uint64_t at = (turned ? t * items + item : item * steps + t) * count;
            uint64_t which = best(w, at, 1, count, &score);
            float row[3] = {(float)item, (float)which, score};

            if (which != w->how->blank && which != last && score >= w->threshold) {
                err = post_add(w, row);
                used++;
            }
            last = which;
        }
    }
    return err;
}

/* Of one class: whether it is there. */
static int post_map(struct post_work *w)
{
    const struct onnx_value *v = w->value;
    uint64_t outer = 1, inner = 1, count;
    struct onnx_value *r = w->result;
    uint32_t axis = w->how->axis;
    void *memory;
    uint8_t *to;
    int err;

    if (axis >= (uint32_t)v->rank || v->dims[axis] < 1 || v->dims[axis] > 256)
        return post_fail(w, VD_ERR_PARAMETER,
                         "no map can be made of dimension %u: it must be there and have 1 to 256",
                         axis);
    count = (uint64_t)v->dims[axis];
    *r = (struct onnx_value){.kind = ONNX_TENSOR, .dtype = ONNX_U8};
    for (int i = 0; i < v->rank; i++) {
        outer *= i < (int)axis ? (uint64_t)v->dims[i] : 1;
        inner *= i > (int)axis ? (uint64_t)v->dims[i] : 1;
        if (i != (int)axis)
            r->dims[r->rank++] = v->dims[i];
    }
    err = post_scratch(w, outer * inner + 1, &memory);
    if (err)
        return err;
    to = memory;
    for (uint64_t o = 0; o < outer && !err; o++) {
        err = post_left(w);
        for (uint64_t i = 0; i < inner && !err; i++) {
            float score;
            uint64_t which = best(w, o * count * inner + i, inner, count, &score);

            to[o * inner + i] = count == 1 ? score >= w->threshold : (uint8_t)which;
        }
    }
    r->data = to;
    r->size = outer * inner;
    return err;
}

static const struct {
    const char *name;
    uint32_t columns; /* 0: the kind makes its result itself */
    int (*run)(struct post_work *w);
} kinds[VD_NPU_POSTS] = {
    [VD_NPU_POST_CLASSES] = {"classes", 3, post_classes},
    [VD_NPU_POST_BOXES] = {"boxes", 7, post_boxes},
    [VD_NPU_POST_TEXT] = {"text", 3, post_text},
    [VD_NPU_POST_MAP] = {"map", 0, post_map},
    [VD_NPU_POST_REGIONS] = {"regions", 7, post_regions},
};

void post_needs(const struct vd_npu_post *how, uint32_t ret_outputs[2])
{
    bool boxes = how->kind == VD_NPU_POST_BOXES && how->scores_output != VD_NPU_NOWHERE;

    ret_outputs[0] = boxes ? how->scores_output : VD_NPU_NOWHERE;
    ret_outputs[1] = boxes ? how->class_at : VD_NPU_NOWHERE;
}

static int check_value(struct post_work *w, const struct onnx_value *value)
{
    uint64_t bytes;
    bool known = value->dtype == ONNX_F32 || value->dtype == ONNX_F16 || value->dtype == ONNX_I64 ||
                 value->dtype == ONNX_I32 || value->dtype == ONNX_U8;

    if (value->kind != ONNX_TENSOR || !known)
        return post_fail(w, VD_ERR_UNSUPPORTED, "an output of type %s has no %s",
                         npu_dtype_name((uint32_t)value->dtype), kinds[w->how->kind].name);
    if (npu_bytes((uint32_t)value->dtype, value->dims, (uint32_t)value->rank, &bytes) ||
        value->size < bytes)
        return post_fail(w, VD_ERR_INTERNAL, "an output has another size than it says");
    return 0;
}

int post_run(struct post *post, const struct vd_npu_post *how, const struct onnx_value *value,
             const struct onnx_value *scores, const struct onnx_value *classes,
             const struct post_view *view, struct onnx_value *ret_value, char *error,
             size_t error_size)
{
    struct post_work w = {
        .post = post,
        .how = how,
        .value = value,
        .scores = scores,
        .classes = classes,
        .view = view,
        .threshold = post_float(how->threshold),
        .result = ret_value,
        .error = error,
        .error_size = error_size,
    };
    int err;

    post->row_count = 0;
    if (!how->kind || how->kind >= VD_NPU_POSTS || how->activation >= VD_NPU_SCORES ||
        how->form >= VD_NPU_BOXES)
        return post_fail(&w, VD_ERR_PARAMETER, "this host cannot make that of an output");
    w.columns = kinds[how->kind].columns;
    err = check_value(&w, value);
    if (!err && scores)
        err = check_value(&w, scores);
    if (!err && classes)
        err = check_value(&w, classes);
    if (!err)
        err = kinds[how->kind].run(&w);
    if (err || !w.columns)
        return err;
    *ret_value = (struct onnx_value){
        .kind = ONNX_TENSOR,
        .dtype = ONNX_F32,
        .rank = 2,
        .dims = {(int64_t)post->row_count, (int64_t)w.columns},
        .data = post->rows,
        .size = post->row_count * w.columns * sizeof(float),
    };
    return 0;
}

void post_finish(struct post *post)
{
    if (!post->free)
        return;
    post->free(post->rows);
    post->free(post->scratch);
}
