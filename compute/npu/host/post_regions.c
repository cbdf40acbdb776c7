/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <viaduct/errors.h>

#include "post_private.h"

/*
 * Regions of a map of probabilities, [N, 1, height, width], as detectors of text give it: what is
 * connected, diagonals too, becomes a box. In the order of their first places.
 */

struct region {
    double sum;
    uint32_t count, left, top, right, bottom; /* right, bottom: behind the last */
};

static uint32_t root(uint32_t *parent, uint32_t at)
{
    while (parent[at] != at) {
        parent[at] = parent[parent[at]];
        at = parent[at];
    }
    return at;
}

static void join(uint32_t *parent, uint32_t a, uint32_t b)
{
    a = root(parent, a);
    b = root(parent, b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

struct map {
    uint64_t items, width, height;
    uint32_t *parent; /* by place; UINT32_MAX: below the threshold */
    struct region *regions;
};

static float score_at(const struct post_work *w, const struct map *m, uint64_t item, uint64_t at)
{
    float score = post_number(w->value, item * m->width * m->height + at);

    return w->how->activation == VD_NPU_SCORE_SIGMOID ? post_sigmoid(score) : score;
}

static void connect(const struct post_work *w, const struct map *m, uint64_t item)
{
    for (uint64_t y = 0; y < m->height; y++) {
        for (uint64_t x = 0; x < m->width; x++) {
            uint32_t at = (uint32_t)(y * m->width + x);

            m->parent[at] = UINT32_MAX;
            if (!(score_at(w, m, item, at) >= w->threshold))
                continue;
            m->parent[at] = at;
            if (x && m->parent[at - 1] != UINT32_MAX)
                join(m->parent, at, at - 1);
            for (uint64_t i = x ? x - 1 : 0; y && i <= x + 1 && i < m->width; i++) {
                uint32_t above = (uint32_t)((y - 1) * m->width + i);

                if (m->parent[above] != UINT32_MAX)
                    join(m->parent, at, above);
            }
        }
    }
}

/* Regions lie where their first place is. */
static void measure(const struct post_work *w, const struct map *m, uint64_t item)
{
    for (uint64_t y = 0; y < m->height; y++) {
        for (uint64_t x = 0; x < m->width; x++) {
            uint32_t at = (uint32_t)(y * m->width + x);
            struct region *r = &m->regions[at];

            *r = (struct region){.left = UINT32_MAX, .top = (uint32_t)y};
            if (m->parent[at] == UINT32_MAX)
                continue;
            r = &m->regions[root(m->parent, at)];
            r->sum += score_at(w, m, item, at);
            r->count++;
            r->left = r->left < x ? r->left : (uint32_t)x;
            r->right = r->right > x + 1 ? r->right : (uint32_t)x + 1;
            r->bottom = (uint32_t)y + 1;
        }
    }
}

static int report(struct post_work *w, const struct map *m, uint64_t item)
{
    const struct post_view *v = w->view;
    float step_x = v->width ? (float)v->width / (float)m->width : 1;
    float step_y = v->height ? (float)v->height / (float)m->height : 1;
    uint64_t used = 0, most = w->how->most ? w->how->most : VD_MAX_NPU_ROWS;
    int err = 0;

    for (uint64_t at = 0; at < m->width * m->height && used < most && !err; at++) {
        const struct region *r = &m->regions[at];

        if (r->count) {
            float row[7] = {
                (float)item,
                0,
                (float)(r->sum / r->count),
                (float)r->left * step_x,
                (float)r->top * step_y,
                (float)r->right * step_x,
                (float)r->bottom * step_y,
            };

            post_to_picture(v, item, row + 3);
            err = post_add(w, row);
            used++;
        }
    }
    return err;
}

int post_regions(struct post_work *w)
{
    const struct onnx_value *v = w->value;
    struct map m = {.items = 1};
    uint64_t places;
    void *memory;
    int err;

    if (v->rank < 2)
        return post_fail(w, VD_ERR_PARAMETER, "an output of %d dimensions has no regions", v->rank);
    m.width = (uint64_t)v->dims[v->rank - 1];
    m.height = (uint64_t)v->dims[v->rank - 2];
    for (int i = 0; i < v->rank - 2; i++)
        m.items *= (uint64_t)v->dims[i];
    places = m.width * m.height;
    if (places > INT32_MAX)
        return post_fail(w, VD_ERR_LIMIT, "a map of %llu places is too large",
                         (unsigned long long)places);
    if (!places)
        return 0;
    err = post_scratch(w, places * (sizeof(*m.regions) + sizeof(*m.parent)), &memory);
    if (err)
        return err;
    m.regions = memory;
    m.parent = (uint32_t *)(m.regions + places);
    for (uint64_t item = 0; item < m.items && !err; item++) {
        err = post_left(w);
        if (err)
            break;
        connect(w, &m, item);
        measure(w, &m, item);
        err = report(w, &m, item);
    }
    return err;
}
