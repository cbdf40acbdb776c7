/* SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <viaduct/errors.h>

#include "post_private.h"

/*
 * Boxes of detectors: one tensor with coordinates and scores (YOLO and its kin), or coordinates,
 * scores and perhaps classes in tensors of their own (SSD, DETR, what ends in NonMaxSuppression).
 */

/* Of an item; better ones are looked at first, so what is beyond is weak. */
#define BOXES_LOOKED_AT 8192u
/* An item has more: nobody meant that. */
#define BOXES_FOUND (1u << 20)

struct box {
    float score, side[4]; /* left, top, right, bottom */
    uint32_t class, order;
};

/* An output as items, boxes and what each has. */
struct grid {
    const struct onnx_value *value;
    uint64_t items, boxes, features;
    bool turned;
};

/* [N, boxes, features], [boxes, features], or with `flat` [N, boxes], [boxes]. */
static int open_grid(struct post_work *w, const struct onnx_value *v, bool flat, struct grid *ret)
{
    bool turned = w->how->flags & VD_NPU_POST_TURNED && !flat;
    int rank = v->rank + flat;
    const int64_t *d = v->dims;

    /* [N, 1, boxes, features] and the like. */
    while (rank > 3 && (d[1] == 1 || d[0] == 1)) {
        d++;
        rank--;
    }
    if (rank != 2 && rank != 3)
        return post_fail(w, VD_ERR_PARAMETER, "an output of %d dimensions has no boxes", v->rank);
    *ret = (struct grid){.value = v, .items = 1, .turned = turned, .features = 1};
    if (rank == 3)
        ret->items = (uint64_t)*d++;
    ret->boxes = (uint64_t)d[turned ? 1 : 0];
    if (!flat)
        ret->features = (uint64_t)d[turned ? 0 : 1];
    return 0;
}

static float grid_get(const struct grid *g, uint64_t item, uint64_t box, uint64_t feature)
{
    uint64_t at = g->turned ? (item * g->features + feature) * g->boxes + box
                            : (item * g->boxes + box) * g->features + feature;

    return post_number(g->value, at);
}

/* Where things are, once it is known that they are there. */
struct layout {
    struct grid boxes, scores, classes;
    uint64_t scores_at, count, first;
    bool has_classes, has_objectness;
};

static int open_layout(struct post_work *w, struct layout *l)
{
    const struct vd_npu_post *how = w->how;
    int err;

    *l = (struct layout){.first = how->flags & VD_NPU_POST_BACKGROUND ? 1 : 0};
    err = open_grid(w, w->value, false, &l->boxes);
    if (err)
        return err;
    l->scores = l->boxes;
    if (w->scores) {
        err = open_grid(w, w->scores, w->scores->rank < w->value->rank, &l->scores);
        l->has_classes = w->classes;
        if (!err && w->classes)
            err = open_grid(w, w->classes, w->classes->rank < w->value->rank, &l->classes);
        if (err)
            return err;
    } else if (how->class_at != VD_NPU_NOWHERE) {
        l->has_classes = true;
        l->classes = l->boxes;
    }
    l->has_objectness = how->objectness_at != VD_NPU_NOWHERE;
    l->scores_at = how->scores_at;
    if (how->boxes_at > l->boxes.features || l->boxes.features - how->boxes_at < 4 ||
        l->scores_at >= l->scores.features || how->classes > l->scores.features - l->scores_at ||
        (l->has_objectness && how->objectness_at >= l->boxes.features) ||
        (l->has_classes && !w->classes && how->class_at >= l->boxes.features))
        return post_fail(w, VD_ERR_PARAMETER,
                         "boxes have %llu numbers, scores %llu: less than they are said to have",
                         (unsigned long long)l->boxes.features,
                         (unsigned long long)l->scores.features);
    if (l->scores.items != l->boxes.items || l->scores.boxes != l->boxes.boxes ||
        (w->classes && (l->classes.items != l->boxes.items || l->classes.boxes != l->boxes.boxes)))
        return post_fail(w, VD_ERR_PARAMETER, "there are other numbers of boxes than of scores");
    l->count = how->classes ? how->classes : l->scores.features - l->scores_at;
    if (l->has_classes)
        l->count = 1;
    if (how->flags & VD_NPU_POST_NORMAL && (!w->view->width || !w->view->height))
        return post_fail(w, VD_ERR_PARAMETER,
                         "boxes between 0 and 1 need an input that says what 1 is");
    return 0;
}

static float score_of(const struct post_work *w, const struct layout *l, uint64_t item,
                      uint64_t box, uint64_t i)
{
    float score = grid_get(&l->scores, item, box, l->scores_at + i);

    return w->how->activation == VD_NPU_SCORE_SIGMOID ? post_sigmoid(score) : score;
}

/* The best class of a box. */
static float best_of(const struct post_work *w, const struct layout *l, uint64_t item, uint64_t box,
                     uint32_t *ret_class)
{
    uint64_t first = l->has_classes ? 0 : l->first, which = first;
    float most = -FLT_MAX, sum = 0, peak = -FLT_MAX, class;

    for (uint64_t i = 0; i < l->count; i++) {
        float score = score_of(w, l, item, box, i);

        peak = fmaxf(peak, score);
        if (i >= first && score > most) {
            most = score;
            which = i;
        }
    }
    if (w->how->activation == VD_NPU_SCORE_SOFTMAX) {
        for (uint64_t i = 0; i < l->count; i++)
            sum += expf(score_of(w, l, item, box, i) - peak);
        most = expf(most - peak) / sum;
    }
    if (l->has_objectness) {
        float there = grid_get(&l->boxes, item, box, w->how->objectness_at);

        most *= w->how->activation == VD_NPU_SCORE_SIGMOID ? post_sigmoid(there) : there;
    }
    *ret_class = (uint32_t)(which - first);
    if (l->has_classes) {
        class = grid_get(&l->classes, item, box, w->classes ? 0 : w->how->class_at);
        *ret_class = class >= 0 && class < 16777216.0f ? (uint32_t) class : 0;
        /* The background may be a class of its own here, too. */
        if (l->first && *ret_class)
            --*ret_class;
        else if (l->first)
            most = -FLT_MAX;
    }
    return most;
}

static void sides_of(const struct post_work *w, const struct layout *l, uint64_t item, uint64_t box,
                     float side[4])
{
    float v[4], half_w, half_h;

    for (uint64_t i = 0; i < 4; i++)
        v[i] = grid_get(&l->boxes, item, box, w->how->boxes_at + i);
    half_w = v[2] / 2;
    half_h = v[3] / 2;
    switch (w->how->form) {
    case VD_NPU_BOX_CENTRE:
        side[0] = v[0] - half_w, side[1] = v[1] - half_h;
        side[2] = v[0] + half_w, side[3] = v[1] + half_h;
        break;
    case VD_NPU_BOX_YXYX:
        side[0] = v[1], side[1] = v[0], side[2] = v[3], side[3] = v[2];
        break;
    case VD_NPU_BOX_XYWH:
        side[0] = v[0], side[1] = v[1], side[2] = v[0] + v[2], side[3] = v[1] + v[3];
        break;
    default:
        side[0] = v[0], side[1] = v[1], side[2] = v[2], side[3] = v[3];
    }
    if (w->how->flags & VD_NPU_POST_NORMAL) {
        side[0] *= (float)w->view->width, side[2] *= (float)w->view->width;
        side[1] *= (float)w->view->height, side[3] *= (float)w->view->height;
    }
}

static int by_score(const void *a, const void *b)
{
    const struct box *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static float area(const float side[4])
{
    float w = side[2] - side[0], h = side[3] - side[1];

    return w > 0 && h > 0 ? w * h : 0;
}

static float overlap(const struct box *a, const struct box *b)
{
    float both[4] = {fmaxf(a->side[0], b->side[0]), fmaxf(a->side[1], b->side[1]),
                     fminf(a->side[2], b->side[2]), fminf(a->side[3], b->side[3])};
    float shared = area(both), all = area(a->side) + area(b->side) - shared;

    return all > 0 ? shared / all : 0;
}

/* Moves those that stay to the front; how many there are. */
static uint64_t suppress(const struct post_work *w, struct box *boxes, uint64_t count,
                         uint64_t most)
{
    float limit = post_float(w->how->overlap);
    uint64_t kept = 0;

    for (uint64_t i = 0; i < count && kept < most; i++) {
        bool stays = true;

        for (uint64_t j = 0; j < kept && stays && limit < 1; j++) {
            if (boxes[j].class == boxes[i].class || w->how->flags & VD_NPU_POST_ACROSS)
                stays = overlap(&boxes[j], &boxes[i]) <= limit;
        }
        if (stays)
            boxes[kept++] = boxes[i];
    }
    return kept;
}

static int find_boxes(struct post_work *w, const struct layout *l, uint64_t item, struct box *boxes,
                      uint64_t room, uint64_t *ret_count)
{
    uint64_t count = 0;

    for (uint64_t i = 0; i < l->boxes.boxes; i++) {
        struct box box = {.order = (uint32_t)i};

        box.score = best_of(w, l, item, i, &box.class);
        if (!(box.score >= w->threshold))
            continue;
        if (count == room)
            return post_fail(w, VD_ERR_LIMIT,
                             "more than %llu boxes reach the threshold; a higher one helps",
                             (unsigned long long)room);
        sides_of(w, l, item, i, box.side);
        boxes[count++] = box;
    }
    *ret_count = count;
    return 0;
}

int post_boxes(struct post_work *w)
{
    uint64_t room, count = 0, most = w->how->most ? w->how->most : VD_MAX_NPU_ROWS;
    struct box *boxes;
    struct layout l;
    void *memory = NULL;
    int err = open_layout(w, &l);

    if (err)
        return err;
    room = l.boxes.boxes < BOXES_FOUND ? l.boxes.boxes : BOXES_FOUND;
    err = post_scratch(w, (room + 1) * sizeof(*boxes), &memory);
    boxes = memory;
    for (uint64_t item = 0; item < l.boxes.items && !err; item++) {
        err = post_left(w);
        if (!err)
            err = find_boxes(w, &l, item, boxes, room, &count);
        if (err)
            break;
        qsort(boxes, count, sizeof(*boxes), by_score);
        count = count < BOXES_LOOKED_AT ? count : BOXES_LOOKED_AT;
        count = suppress(w, boxes, count, most);
        for (uint64_t i = 0; i < count && !err; i++) {
            float row[7] = {(float)item,      (float)boxes[i].class, boxes[i].score,
                            boxes[i].side[0], boxes[i].side[1],      boxes[i].side[2],
                            boxes[i].side[3]};

            post_to_picture(w->view, item, row + 3);
            err = post_add(w, row);
        }
    }
    return err;
}
